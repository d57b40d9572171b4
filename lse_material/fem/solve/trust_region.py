"""What PETSc's trust region needs beside residual and tangent: an objective, and a preconditioner that is positive.

**Objective.** Near a minimum a step lowers the energy by some |residual|^2 / stiffness, which soon is less than the last digit
of the energy. Rounding then decides whether a step is accepted, and the trust region shrinks until the solver gives up. There
the difference is taken from the gradients at both ends instead, in which nothing cancels:

    Pi(x + s) - Pi(x) = 1/2 (g(x) + g(x + s)) . s,    right up to terms of third order in s.

A. R. Conn, N. I. M. Gould, Ph. L. Toint, Trust-Region Methods, SIAM 2000, 17.4.2, for the problem.

**Radius.** PETSc quarters the radius where a trial is refused. A step that lies far inside the radius is then found, and
refused, a dozen times. So the next radius is also a share of the refused step: the minimum of a parabola (6.3.3 there).

**Preconditioner.** Conjugate gradients in a trust region need a positive definite preconditioner. The frozen-weight tangent is
positive where every mode is strictly convex and the other terms of the energy are convex. It is singular where a network is
flat, and may be indefinite where terms of the user's own are not convex (a matrix in compression, say). MUMPS counts negative
pivots as it factors, so that the check of a positive matrix costs nothing.
"""

from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

import numpy as np
from petsc4py import PETSc

from lse_material.errors import InvalidInputError
from lse_material.fem.solve.inertia import count_pivots, with_raised_diagonal
from lse_material.fem.solve.line_search import Operator

HIDDEN_BY_ROUNDING = 1e-10  # relative difference of two energies below which it is taken from gradients
INFINITE_ENERGY = 1e300  # value of a state whose energy is not finite: minimisers step back from it
LARGEST_RADIUS = 1e100  # in any unit of length
SHORTER = (0.05, 0.5)  # share of a refused step that is the next radius
DIAGONAL_SHARES = (1e-6, 1e-4, 1e-2, 1e-1, 1.0, 2.0)  # of the row sums, by which the preconditioner is raised


class EnergyDifferences:
    """The energy less that of the first state at which it was evaluated."""

    def __init__(
        self,
        energy: Callable[[PETSc.Vec], float],  # of a solver's vector; collective, the same on every rank
        gradient: Operator,  # writes the derivative at a vector to another
        layout: PETSc.Vec,
    ) -> None:
        self._energy, self._gradient = energy, gradient
        # the iterate and the state evaluated last, each with its energy and the value that was returned for it
        self._base, self._last, self._gradients, self._step = (layout.duplicate() for _ in range(4))
        self._base_known: tuple[float, float] | None = None
        self._last_known: tuple[float, float] | None = None
        self._largest = 0.0  # energy of an accepted state of this solve: rounding of it may be that of an unloaded body

    def restart(self) -> None:
        """Forget the states of the solve before."""
        self._base_known = self._last_known = None
        self._largest = 0.0

    def __call__(self, snes: PETSc.SNES, y: PETSc.Vec) -> float:
        """The value at y, as `SNES.setObjective` takes it; `INFINITE_ENERGY` where the energy is not finite."""
        if self._last_known is not None and self._last.equal(snes.getSolution()):  # the solver has accepted that state
            self._last.copy(self._base)
            self._base_known = self._last_known
            self._largest = max(self._largest, abs(self._base_known[0]))
        if self._last_known is None or not self._last.equal(y):
            energy = self._energy(y)
            if not abs(energy) < INFINITE_ENERGY:
                self._bound_radius(snes, y, INFINITE_ENERGY)
                return INFINITE_ENERGY
            value = 0.0 if self._base_known is None else self._base_known[1] + self._difference(snes, y, energy)
            y.copy(self._last)
            self._last_known = energy, value
        self._bound_radius(snes, y, self._last_known[1])
        return self._last_known[1]

    def _bound_radius(self, snes: PETSc.SNES, y: PETSc.Vec, value: float) -> None:
        """Bound the next radius of a trust region by a share of the step to y, if that raises the energy."""
        if snes.getType() != "newtontr":
            return
        radius = LARGEST_RADIUS
        if self._base_known is not None and value > self._base_known[1]:
            y.copy(self._step)
            self._step.axpy(-1.0, snes.getSolution())
            derivative = float(snes.getFunction()[0].dot(self._step).real)
            rise = value - self._base_known[1]
            share = 0.5 * derivative / (derivative - rise) if derivative < 0.0 else SHORTER[1]
            radius = float(np.clip(share, *SHORTER) * np.sqrt(self._step.dot(self._step).real))
        snes.setTRTolerances(delta_max=radius)

    def _difference(self, snes: PETSc.SNES, y: PETSc.Vec, energy: float) -> float:
        """Energy at y less that at the base."""
        assert self._base_known is not None
        plain = energy - self._base_known[0]
        visible = abs(plain) > HIDDEN_BY_ROUNDING * max(abs(energy), self._largest)
        if visible or not self._base.equal(snes.getSolution()):
            return plain
        self._gradient(y, self._gradients)
        self._gradients.axpy(1.0, snes.getFunction()[0])
        y.copy(self._step)
        self._step.axpy(-1.0, self._base)
        return float(0.5 * self._gradients.dot(self._step).real)


def require_two_matrices(chosen: Mapping[str, Any]) -> None:
    """Raise InvalidInputError for a preconditioner that must be made of the tangent, not of the frozen-weight tangent."""
    if chosen.get("pc_type") == "eisenstat":
        raise InvalidInputError(
            "pc_type eisenstat is made of the tangent itself, and an EnergyProblem preconditions with its frozen-weight "
            "tangent: take pc_type sor, or MaterialProblem(ufl.derivative(energy, u), u, ...)."
        )


def keep_preconditioner_positive(ksp: PETSc.KSP) -> None:
    """Before each linear solve, raise the diagonal of the preconditioner's matrix until MUMPS finds no negative pivot.

    Nothing is done for other preconditioners than a Cholesky factor by MUMPS.
    """
    if not counts_pivots(ksp):
        return

    def raise_until_positive(ksp: PETSc.KSP, b: PETSc.Vec, x: PETSc.Vec) -> None:
        A, P = ksp.getOperators()
        if not np.isfinite(P.norm()):
            return
        if is_factored_positive(ksp):
            return
        if A.handle == P.handle:  # the preconditioner is made of the tangent, which must not change
            P = A.copy()
            ksp.setOperators(A, P)
            P.destroy()
            P = ksp.getOperators()[1]
        with closing(with_raised_diagonal(P, DIAGONAL_SHARES)) as matrices:
            any(is_factored_positive(ksp) for _ in matrices)

    ksp.setPreSolve(raise_until_positive)


def counts_pivots(ksp: PETSc.KSP) -> bool:
    """Whether the preconditioner is a Cholesky factor by MUMPS."""
    pc = ksp.getPC()
    return bool(pc.getType() == "cholesky" and pc.getFactorSolverType() == "mumps")


def is_factored_positive(ksp: PETSc.KSP) -> bool:
    """Factor the matrix of the preconditioner, and return whether it is positive definite; see `counts_pivots`."""
    count_pivots(ksp.getPC())
    ksp.setUp()
    reason: Any = ksp.getPC().getFailedReason()
    if reason != 0:
        return False
    negative, zero, _ = ksp.getPC().getFactorMatrix().getInertia()
    return int(negative) + int(zero) == 0
