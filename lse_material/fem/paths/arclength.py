"""Equilibrium paths through limit points: loads followed by arc length, over a peak and down on the other side.

    r(u, f) = 0,     |u - u0| = s      for the load factor f and u, from the state (u0, f0) before

Beyond a limit point of f no equilibrium is near at a larger f. Here f is an unknown, and each state lies a distance s from the
state before: dead loads and pressures fall after a peak, prescribed displacements turn back. PETSc's SNESNEWTONAL takes each
step; its sign is that of the step before along the tangent of the path. M. Ritto-Correa, D. Camotim, Comput. Struct. 86, 1353
(2008); M. A. Crisfield, Comput. Struct. 13, 55 (1981).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import ufl
from dolfinx import fem
from dolfinx.fem.petsc import assign
from petsc4py import PETSc
from scipy.interpolate import BarycentricInterpolator
from scipy.optimize import minimize_scalar

from lse_material._arrays import Array, float_array, positive, whole_number
from lse_material.errors import ConvergenceError, InvalidInputError
from lse_material.fem._lifetime import temporary
from lse_material.fem._mpi import expect_same
from lse_material.fem.paths.equilibrium_path import EquilibriumPath
from lse_material.fem.paths.history import History, InternalVariables, advance, check_memory
from lse_material.fem.paths.loads import Load, load_of
from lse_material.fem.solve._energy import FieldEnergy
from lse_material.fem.solve.arguments import check_energy_problem
from lse_material.fem.solve.fields import restorer
from lse_material.fem.solve.inertia import SymmetricFactor
from lse_material.fem.solve.newton_inertia import norm_of
from lse_material.fem.solve.options import (
    WORK_SPACES,
    checked_options,
    in_database,
    set_outside,
    warn_of_unread_options,
)

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
    last: fem.Function  # the step before, in units of the fields
    sign: float = 1.0  # of the next change of the load factor
    options_checked: bool = False  # whether options that PETSc has not read were warned of


@dataclass(frozen=True, eq=False)
class ArcLength(EquilibriumPath):
    """A path of equilibria of a problem under a load whose factor is an unknown.

    Attributes:
        problem: its energy may contain constant dead loads.
        load: the load that is followed, either of two. A UFL functional of the problem's u, its work for the factor 1, which
            the energy does not contain: inner(traction, u)*ds for a dead load, the enclosed volume for a pressure, such as
            -inner(X + u, det(F) inv(F).T N)/dim * ds on the inner surface of a cavity whose opening, if it has one, is fixed
            or slides in a plane through the origin. Or a function of the factor, as in `LoadPath`, that sets Dirichlet values
            or constants in the energy, affine in the factor.
        size: longest step, as root mean square of all entries of the change of u: a displacement, whatever the mesh. In a mixed
            space the entries of other fields count in units in which their mean stiffness is that of the displacement.
        observe: name -> number to record at each state, the same on every rank.
        halvings: how often `size` may be halved before the path fails.
        iterations: of one step, before it is repeated with half the length.
        petsc_options: of the linear solver (ksp_*, pc_*) and of SNESNEWTONAL.
        internal: internal variables that follow each state, a `Dissipation`, say; checkpoints contain them.
        checkpoint: npz file, written after each step; any number of ranks can go on from it.
        history: what has happened so far. Its table has a row for each state: factor, length (of the path so far, in the
            measure of `size`), energy (of `problem`, without the load), negative (eigenvalues of the tangent), iterations, and
            what is observed.

    Raises:
        InvalidInputError: `size` is not positive, `load` is neither a functional nor affine in its factor, or does no work in
            any free displacement, or an observable has a name that the table uses.

    >>> loaded = lse.fem.EnergyProblem(W * dx, u, bcs=bcs[:1], petsc_options_prefix="dead_")
    >>> path = lse.fem.ArcLength(loaded, u[0] * ufl.ds(degree=1), size=0.02)
    >>> table = path.run(3)
    >>> len(table["factor"])
    4
    """

    problem: FieldEnergy
    load: ufl.Form | Callable[[float], None]
    size: float
    observe: Mapping[str, Callable[[], float]] = field(default_factory=dict)
    halvings: int = 8
    iterations: int = 12
    petsc_options: Mapping[str, Any] = field(default_factory=dict)
    internal: Sequence[InternalVariables] = ()
    checkpoint: Path | str | None = None

    def __post_init__(self) -> None:
        positive("size", self.size)
        whole_number("halvings", self.halvings)
        whole_number("iterations", self.iterations, 1)
        check_energy_problem(self.problem, "an ArcLength")
        kind = checked_options("arc_", self.petsc_options).get("snes_type", "newtonal")
        if kind != "newtonal":
            raise InvalidInputError(
                f"snes_type is {kind!r}; an ArcLength is followed by newtonal, whose load is an unknown."
            )
        check_memory(self.problem.functional, self.internal)
        self.history  # noqa: B018 (it checks the names of what is observed)
        self._load  # noqa: B018 (it checks the load)

    @cached_property
    def history(self) -> History:
        """What has happened so far."""
        return self._new_history(COLUMNS, last_step=self._continuation.last)

    @cached_property
    def _continuation(self) -> _Continuation:
        return _Continuation(self.size, fem.Function(self.problem.u.function_space))

    @cached_property
    def _load(self) -> Load:
        """The load as it enters residual and tangent."""
        return load_of(self.problem, self.load)

    def run(self, steps: int, *, low: float = -UNBOUNDED, high: float = UNBOUNDED) -> dict[str, Array]:
        """Follow the path for so many steps, or until the load factor is exactly `low` or `high`; returns the table as arrays.

        The first call solves `problem` at the factor 0, which becomes the first row, and starts towards larger factors. Further
        calls continue the path, and so does a call after `resume`.

        Raises:
            InvalidInputError: no steps, the path does not lie between `low` and `high`, or ranks have others.
            ConvergenceError: a step failed even with the shortest length; table and u end with the state before.
        """
        expect_same(self.problem.comm, "(steps, low, high)", (steps, low, high))
        whole_number("steps", steps, 1)
        low, high = (float(float_array(name, f, 0, finite=False)) for name, f in (("low", low), ("high", high)))
        at = self.history.last("factor")
        if not low <= at <= high or low >= high:
            raise InvalidInputError(
                f"the path is at the load factor {at:g}, which is not between {low:g} and {high:g}."
            )
        if not self.table["factor"]:
            self._start()
            self._save()
        for _ in range(steps):
            if self._room(low, high) == 0.0:
                break
            self._advance(low, high)
            self._save()
        return self.history.arrays()

    def _room(self, low: float, high: float) -> float:
        """How far the load factor may change in the direction of the path."""
        at = self.table["factor"][-1]
        return high - at if self._continuation.sign > 0.0 else at - low

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

    def _start(self) -> None:
        """Solve without load; forces that are small beside a coming load of given forces count as zero."""
        problem, scale = self.problem, self.problem.force_scale
        self._load.set(0.0)
        with temporary(problem.x.duplicate()) as (Q,):
            self._load.rate(Q)
            size = norm_of(Q)
        if not np.isfinite(size):
            raise InvalidInputError("the load is not finite: it holds NaN, or is infinite.")
        self._load.check()
        if size == 0.0:
            raise InvalidInputError("the load does no work in any displacement that is free.")
        try:
            if self._load.has_given_forces:
                problem.force_scale = max(scale, size)
            problem.solve()
            self._note(0.0, 0.0, problem.iterations)
        finally:
            problem.force_scale = scale

    def _advance(self, low: float, high: float) -> None:
        """Take one step, shorter if it fails, and record it."""
        u, at = self.problem.u, self.table["factor"][-1]
        before, restore = u.x.array.copy(), restorer((u, *self.problem.start_values.values()))
        shortest = self.size / 2.0**self.halvings
        while True:
            factor, iterations = self._solve(at, low, high)
            if factor is not None:
                break
            self.history.failed += 1
            self.history.rejected += 1
            restore()
            self._load.set(at)
            self._continuation.step *= 0.5
            if self._continuation.step < shortest * (1.0 - 1e-9):
                self._continuation.step = self.size
                raise ConvergenceError(
                    f"the path could not be followed from the load factor {at:.6g} with steps as short as {shortest:.3g}: "
                    "does it branch there? Look at the lowest modes, and perturb u along one."
                )
        free, last = self.problem.fields.free[0], self._continuation.last.x
        step = np.where(free, (u.x.array - before)[: len(free)], 0.0)
        self.problem.scales.divide(step)
        last.array[: len(free)] = step
        last.scatter_forward()
        square = u.function_space.mesh.comm.allreduce(float(step @ step))
        length = float(np.sqrt(square / self.problem.x.getSize()))
        self._note(factor, self.table["length"][-1] + length, iterations)
        if iterations <= FEW_ITERATIONS:
            self._continuation.step = min(1.5 * self._continuation.step, self.size)

    def _solve(self, at: float, low: float, high: float) -> tuple[float | None, int]:
        """One increment of SNESNEWTONAL; the load factor, None if it failed, and the iterations."""
        problem, sign, scales = self.problem, self._continuation.sign, self.problem.scales
        Reason = PETSc.SNES.ConvergedReason
        arrived: list[float] = []

        made = PETSc.SNES().create(problem.x.comm), *(problem.x.duplicate() for _ in range(3))
        with temporary(*made) as (snes, x, physical, b):

            def take(snes: PETSc.SNES, y: PETSc.Vec) -> float:
                factor = at + sign * snes.getNewtonALLoadParameter()
                problem.set_iterate(scales.to_physical(y, physical))
                self._load.set(factor)
                return factor

            def residual(snes: PETSc.SNES, y: PETSc.Vec, b: PETSc.Vec) -> None:
                take(snes, y)
                self._load.residual(b)
                scales.multiply(b.array)

            def tangent(snes: PETSc.SNES, y: PETSc.Vec, A: PETSc.Mat, P: PETSc.Mat) -> None:
                take(snes, y)
                scales.scale(self._load.tangent())

            def rate(snes: PETSc.SNES, y: PETSc.Vec, q: PETSc.Vec) -> None:
                take(snes, y)
                self._load.rate(q)
                q.scale(sign)
                scales.multiply(q.array)

            def converged(snes: PETSc.SNES, iteration: int, norms: tuple[float, float, float]) -> Any:
                if iteration == 0:
                    return Reason.CONVERGED_ITERATING
                if not np.isfinite(norms[2]):
                    return Reason.DIVERGED_FUNCTION_NANORINF
                factor = take(snes, snes.getSolution())
                snes.getFunction()[0].copy(physical)
                scales.divide(physical.array)
                if not problem.is_converged(physical):
                    return Reason.CONVERGED_ITERATING
                arrived.append(factor)
                return Reason.CONVERGED_FNORM_ABS

            snes.setType("newtonal")
            snes.setFunction(residual, b)
            snes.setJacobian(tangent, problem.A)
            snes.setNewtonALFunction(rate)
            self._set_options(snes, self._room(low, high))
            snes.setConvergenceTest(converged)
            assign(problem.u, x)
            scales.divide(x.array)
            snes.solve(None, x)
            iterations = int(snes.getIterationNumber())
            if not self._continuation.options_checked:
                self._continuation.options_checked = True
                warn_of_unread_options(snes, tuple(self.petsc_options), stacklevel=6)
            if not arrived:
                return None, iterations
            take(snes, x)
            if not problem.inverted_cells.smallest() > 0.0:
                return None, iterations
            bound = high if sign > 0.0 else low
            reached = abs(arrived[-1] - bound) <= 1e-12 * max(abs(bound), abs(at))
            return bound if reached else arrived[-1], iterations

    def _set_options(self, snes: PETSc.SNES, room: float) -> None:
        """One increment of the present length, by at most `room` in the load factor."""
        options = {
            "snes_newtonal_step_size": self._continuation.step * np.sqrt(self.problem.x.getSize()),
            "snes_newtonal_max_continuation_steps": 1,
            "snes_newtonal_psisq": 0.0,
            "snes_newtonal_lambda_min": -UNBOUNDED,
            "snes_newtonal_lambda_max": room,
            "snes_newtonal_correction_type": "exact",
            "snes_max_it": self.iterations,
            "ksp_type": "preonly",
            "pc_type": "cholesky",
            "pc_factor_mat_solver_type": "mumps",
            "mat_mumps_icntl_14": WORK_SPACES[0],
        }
        prefix = f"{self.problem.solver.getOptionsPrefix() or ''}arc_"
        outside = set_outside(prefix)
        options = {name: value for name, value in options.items() if name not in outside}
        options.update(self.petsc_options)
        database: Any = PETSc.Options(prefix)
        snes.setOptionsPrefix(prefix)
        with in_database(prefix, options):
            for name, value in options.items():
                database[name] = value
            snes.setFromOptions()

    def _note(self, factor: float, length: float, iterations: int) -> None:
        """Find the sign of the next step with the factor of the tangent, let internal variables follow, and add a state."""
        A = self._load.tangent()
        with temporary(self.problem.x.duplicate(), self.problem.x.duplicate()) as (q, rate):
            self._load.rate(q)
            with SymmetricFactor(A.comm) as factorised:
                negative = factorised.inertia(A)[0] - self.problem.multipliers
                factorised.solve(q, rate)
            self.problem.scales.divide(rate.array)
            last = self._continuation.last.x.array[: rate.getLocalSize()]
            along = A.comm.tompi4py().allreduce(float(rate.array_r @ last))
        self._continuation.sign = 1.0 if along >= 0.0 else -1.0
        advance(self.internal)
        energy = self.problem.energy()
        self.history.add(factor=factor, length=length, energy=energy, negative=negative, iterations=iterations)

    def _set_load(self, load: float) -> None:
        """Set a factor, and u to its Dirichlet values."""
        self._load.set(load)

    def _functionals(self) -> dict[str, ufl.Form]:
        """The energy, and the work of the load if that is a form."""
        work = {"work of the load": self.load} if isinstance(self.load, ufl.Form) else {}
        return {**super()._functionals(), **work}

    def _numbers(self) -> dict[str, Any]:
        """How the path continues, beside the step before; lengths are measured in units of the fields."""
        path, scales = self._continuation, self.problem.scales
        further = {"next_step": path.step, "direction": path.sign, "field_scales": scales.factors}
        return {**super()._numbers(), **further}

    def _continue_from(self, data: Mapping[str, Array]) -> None:
        super()._continue_from(data)
        self.problem.scales.set(data["field_scales"])
        self._continuation.step = min(float(data["next_step"]), self.size)
        self._continuation.sign = float(data["direction"])
        self._load.check()
