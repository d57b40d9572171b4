"""Equilibrium paths through limit points: dead loads followed by arc length, over a peak and down on the other side.

    dPi(u; v) - f L(v) = 0 for every v,     |u - u0| = s      for the load factor f and u, from the state (u0, f0) before

Under a dead load f L there is no minimum beyond a limit point. Here f is an unknown, and each state lies a distance s from the
state before. PETSc's SNESNEWTONAL takes each step; its sign is that of the step before along the tangent of the path.
M. Ritto-Correa, D. Camotim, Comput. Struct. 86, 1353 (2008); M. A. Crisfield, Comput. Struct. 13, 55 (1981).

A displacement is controlled by a Dirichlet condition and a `LoadPath`, whose load is then the reaction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import ufl
from dolfinx import fem
from dolfinx.fem.petsc import assign
from petsc4py import PETSc
from scipy.interpolate import BarycentricInterpolator
from scipy.optimize import minimize_scalar

from lse_material._arrays import Array
from lse_material.errors import ConvergenceError, InvalidInputError
from lse_material.fem._mpi import assembled
from lse_material.fem.paths.history import History, RecordedPath
from lse_material.fem.solve._energy import FieldEnergy
from lse_material.fem.solve.inertia import SymmetricFactor

COLUMNS = ("factor", "length", "energy", "negative", "iterations")
UNBOUNDED = 1e100  # load factor that is no bound
PEAK_TOLERANCE = 1e-9  # of the place of a limit point, relative to the distance between the states around it
FEW_ITERATIONS = 4  # of a step, after which the next step may be longer


@dataclass(frozen=True)
class LimitPoint:
    """A limit point: the load factor has a maximum or a minimum.

    Attributes:
        factor: the load factor there, by the polynomial in the path's length through the (up to five) states around it.
        maximum: whether it is a maximum.
        step: the nearest row of the table.

    >>> loaded = lse.fem.EnergyProblem(W * dx, u, bcs=bcs[:1], petsc_options_prefix="dead_")
    >>> path = lse.fem.ArcLength(loaded, u[0] * ufl.ds(degree=1), size=0.02)
    >>> table = path.run(3)
    >>> [point.maximum for point in path.limit_points()]
    [True]
    """

    factor: float
    maximum: bool
    step: int


@dataclass
class _Continuation:
    """How the path continues from its last state."""

    step: float  # length of the next step
    sign: float = 1.0  # of its change of the load factor
    last: Array = field(default_factory=lambda: np.zeros(0))  # the step before, on this rank


@dataclass(frozen=True, eq=False)
class ArcLength(RecordedPath):
    """A path of equilibria of a problem under a dead load whose factor is an unknown.

    Attributes:
        problem: its energy does not contain the load that is followed; it may contain constant dead loads.
        work: UFL functional, linear in the problem's u: the work of the load for the load factor 1.
        size: longest step, as root mean square of all entries of the change of u: a displacement, whatever the mesh. In a mixed
            space the entries of other fields count in units in which their mean stiffness is that of the displacement.
        observe: name -> number to record at each state, the same on every rank.
        halvings: how often `size` may be halved before the path fails.
        iterations: of one step, before it is repeated with half the length.
        petsc_options: of the linear solver (ksp_*, pc_*) and of SNESNEWTONAL.
        history: what has happened so far. Its table has a row for each state: factor, length (of the path so far, in the
            measure of `size`), energy (of `problem`, without the load), negative (eigenvalues of the tangent), iterations, and
            what is observed.

    Raises:
        InvalidInputError: `size` is not positive, `work` is no functional linear in u or vanishes in all free displacements,
            or an observable has a name that the table uses.

    >>> loaded = lse.fem.EnergyProblem(W * dx, u, bcs=bcs[:1], petsc_options_prefix="dead_")
    >>> path = lse.fem.ArcLength(loaded, u[0] * ufl.ds(degree=1), size=0.02)
    >>> table = path.run(3)
    >>> len(table["factor"])
    4
    """

    problem: FieldEnergy
    work: ufl.Form
    size: float
    observe: Mapping[str, Callable[[], float]] = field(default_factory=dict)
    halvings: int = 8
    iterations: int = 12
    petsc_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (np.isfinite(self.size) and self.size > 0.0):
            raise InvalidInputError(f"size is {self.size!r}; the length of a step must be > 0.")
        self.history  # noqa: B018 (it checks the names of what is observed)
        if not isinstance(self.work, ufl.Form) or self.work.arguments():
            raise InvalidInputError("work is a UFL form without test function, such as inner(traction, u)*ds.")
        self._load  # noqa: B018 (it checks that the load is a dead load)

    @cached_property
    def history(self) -> History:
        """What has happened so far."""
        return History(self.problem.u, COLUMNS, self.observe)

    @cached_property
    def _continuation(self) -> _Continuation:
        return _Continuation(self.size)

    @cached_property
    def _load(self) -> fem.Form | None:
        """The load for the factor 1, compiled; None if it vanishes."""
        u = self.problem.u
        load = ufl.algorithms.expand_derivatives(ufl.derivative(self.work, u))
        if u in load.coefficients():
            raise InvalidInputError("work is not linear in u: only dead loads are followed, whose direction stays.")
        return self.problem.compiled(load) if load.integrals() else None

    def run(self, steps: int, *, low: float = -UNBOUNDED, high: float = UNBOUNDED) -> dict[str, Array]:
        """Follow the path for so many steps, or until the load factor is exactly `low` or `high`; returns the table as arrays.

        The first call solves `problem` at the factor 0, which becomes the first row, and starts towards larger factors. Further
        calls continue the path.

        Raises:
            InvalidInputError: no steps, or the path does not lie between `low` and `high`.
            ConvergenceError: a step failed even with the shortest length; table and u end with the state before.
        """
        if steps < 1:
            raise InvalidInputError(f"steps is {steps}; it must be >= 1.")
        at = self.history.last("factor")
        if not low <= at <= high or low >= high:
            raise InvalidInputError(
                f"the path is at the load factor {at:g}, which is not between {low:g} and {high:g}."
            )
        Q = self._load_vector()
        if not self.table["factor"]:
            self._start(Q)
            self._continuation.last = np.zeros(Q.getLocalSize())
            self._note(0.0, 0.0, self.problem.iterations, Q)
        try:
            for _ in range(steps):
                if self._advance(Q, low, high) in (low, high):
                    break
        finally:
            Q.destroy()
        return self.history.arrays()

    def limit_points(self) -> list[LimitPoint]:
        """The limit points so far."""
        f, s = (np.array(self.table[name]) for name in ("factor", "length"))
        found = []
        for i in range(1, len(f) - 1):
            if (f[i] - f[i - 1]) * (f[i + 1] - f[i]) < 0.0:
                near = slice(max(i - 2, 0), i + 3)
                sign = np.sign(f[i] - f[i - 1])
                through = BarycentricInterpolator(s[near], sign * f[near])
                ends = s[i - 1], s[i + 1]
                precise = {"xatol": PEAK_TOLERANCE * (ends[1] - ends[0])}
                peak = minimize_scalar(lambda at, g=through: -g(at), bounds=ends, method="bounded", options=precise)
                found.append(LimitPoint(float(-sign * peak.fun), bool(sign > 0.0), i))
        return found

    def _start(self, Q: PETSc.Vec) -> None:
        """Solve without load; forces that are small beside the coming load count as zero."""
        scale = self.problem.force_scale
        self.problem.force_scale = max(scale, _norm(Q))
        try:
            self.problem.solve()
        finally:
            self.problem.force_scale = scale

    def _advance(self, Q: PETSc.Vec, low: float, high: float) -> float:
        """Take one step, shorter if it fails, and record it; returns the load factor."""
        u = self.problem.u
        before, at = u.x.array.copy(), self.table["factor"][-1]
        shortest = self.size / 2.0**self.halvings
        while True:
            factor, iterations = self._solve(Q, at, low, high)
            if factor is not None:
                break
            self.history.failed += 1
            self.history.rejected += 1
            u.x.array[:] = before
            self._continuation.step *= 0.5
            if self._continuation.step < shortest * (1.0 - 1e-9):
                self._continuation.step = self.size
                raise ConvergenceError(
                    f"the path could not be followed from the load factor {at:.6g} with steps as short as {shortest:.3g}: "
                    "does it branch there? Look at the lowest modes, and perturb u along one."
                )
        self._continuation.last = (u.x.array - before)[: Q.getLocalSize()]
        self.problem.scales.divide(self._continuation.last)
        square = u.function_space.mesh.comm.allreduce(float(self._continuation.last @ self._continuation.last))
        length = float(np.sqrt(square / Q.getSize()))
        self._note(factor, self.table["length"][-1] + length, iterations, Q)
        if iterations <= FEW_ITERATIONS:
            self._continuation.step = min(1.5 * self._continuation.step, self.size)
        return factor

    def _solve(self, Q: PETSc.Vec, at: float, low: float, high: float) -> tuple[float | None, int]:
        """One increment of SNESNEWTONAL; the load factor, None if it failed, and the iterations."""
        problem, sign, scales = self.problem, self._continuation.sign, self.problem.scales
        Reason = PETSc.SNES.ConvergedReason
        snes = PETSc.SNES().create(problem.x.comm)
        arrived, x, physical, b = [], problem.x.duplicate(), problem.x.duplicate(), problem.x.duplicate()

        def residual(snes: PETSc.SNES, y: PETSc.Vec, b: PETSc.Vec) -> None:
            problem.set_iterate(scales.to_physical(y, physical))
            problem.residual(b)
            b.axpy(-(at + sign * snes.getNewtonALLoadParameter()), Q)
            scales.multiply(b.array)

        def tangent(snes: PETSc.SNES, y: PETSc.Vec, A: PETSc.Mat, P: PETSc.Mat) -> None:
            problem.set_iterate(scales.to_physical(y, physical))
            scales.scale(problem.tangent())

        def load(snes: PETSc.SNES, y: PETSc.Vec, q: PETSc.Vec) -> None:
            Q.copy(q)
            q.scale(sign)
            scales.multiply(q.array)

        def converged(snes: PETSc.SNES, iteration: int, norms: tuple[float, float, float]) -> Any:
            if iteration == 0:
                return Reason.CONVERGED_ITERATING
            if not np.isfinite(norms[2]):
                return Reason.DIVERGED_FUNCTION_NANORINF
            problem.set_iterate(scales.to_physical(snes.getSolution(), physical))
            snes.getFunction()[0].copy(physical)
            scales.divide(physical.array)
            if not problem.is_converged(physical):
                return Reason.CONVERGED_ITERATING
            arrived.append(at + sign * snes.getNewtonALLoadParameter())
            return Reason.CONVERGED_FNORM_ABS

        try:
            snes.setType("newtonal")
            snes.setFunction(residual, b)
            snes.setJacobian(tangent, problem.A)
            snes.setNewtonALFunction(load)
            self._set_options(snes, high - at if sign > 0.0 else at - low, Q)
            snes.setConvergenceTest(converged)
            assign(problem.u, x)
            scales.divide(x.array)
            snes.solve(None, x)
            iterations = int(snes.getIterationNumber())
            if not arrived:
                return None, iterations
            problem.set_iterate(scales.to_physical(x, physical))
            if not problem.inverted_cells.smallest() > 0.0:
                return None, iterations
            bound = high if sign > 0.0 else low
            reached = abs(arrived[-1] - bound) <= 1e-12 * max(abs(bound), abs(at))
            return bound if reached else arrived[-1], iterations
        finally:
            snes.destroy()
            for vector in (x, physical, b):
                vector.destroy()

    def _set_options(self, snes: PETSc.SNES, room: float, Q: PETSc.Vec) -> None:
        """One increment of the present length, by at most `room` in the load factor."""
        options = {
            "snes_newtonal_step_size": self._continuation.step * np.sqrt(Q.getSize()),
            "snes_newtonal_max_continuation_steps": 1,
            "snes_newtonal_psisq": 0.0,
            "snes_newtonal_lambda_min": -UNBOUNDED,
            "snes_newtonal_lambda_max": room,
            "snes_newtonal_correction_type": "exact",
            "snes_max_it": self.iterations,
            "ksp_type": "preonly",
            "pc_type": "cholesky",
            "pc_factor_mat_solver_type": "mumps",
            **self.petsc_options,
        }
        prefix = f"{self.problem.solver.getOptionsPrefix() or ''}arc_"
        database: Any = PETSc.Options(prefix)
        for name, value in options.items():
            database[name] = value
        snes.setOptionsPrefix(prefix)
        snes.setFromOptions()
        for name in options:
            del database[name]

    def _note(self, factor: float, length: float, iterations: int, Q: PETSc.Vec) -> None:
        """Add a state to the table, and find the sign of the next step with the factor of its tangent."""
        A = self.problem.tangent()
        rate = Q.duplicate()
        with SymmetricFactor(A.comm) as factorised:
            negative = factorised.inertia(A)[0] - self.problem.multipliers
            factorised.solve(Q, rate)
        self.problem.scales.divide(rate.array)
        along = A.comm.tompi4py().allreduce(float(rate.array_r @ self._continuation.last))
        self._continuation.sign = 1.0 if along >= 0.0 else -1.0
        rate.destroy()
        energy = self.problem.energy()
        self.history.add(factor=factor, length=length, energy=energy, negative=negative, iterations=iterations)

    def _load_vector(self) -> PETSc.Vec:
        """The load for the factor 1, zero where u is prescribed."""
        Q = self.problem.x.duplicate()
        Q.set(0.0)
        if self._load is not None:
            Q.array[:] = np.where(self.problem.fields.free[0], assembled(self._load)[: Q.getLocalSize()], 0.0)
        if _norm(Q) == 0.0:
            Q.destroy()
            raise InvalidInputError("the load does no work in any displacement that is free.")
        return Q


def _norm(b: PETSc.Vec) -> float:
    return float(b.norm(PETSc.NormType.NORM_2))  # type: ignore[arg-type]
