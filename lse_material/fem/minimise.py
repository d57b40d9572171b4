"""Newton's method on an energy with the inertia of its tangent under control: slow, direct, and hard to defeat.

Each tangent is factored as L D L^T by MUMPS, which counts its negative eigenvalues. If there are any, it is blended with the
frozen-weight tangent, C = t A + (1 - t) P for t = 1/2, 0, and then its diagonal raised by shares of the sums of the absolute
entries of its rows, until there are none (a share of 2 makes any symmetric matrix positive): the step then lowers the energy,
and its length is found by halving (Armijo). J. Nocedal, S. Wright, Numerical Optimization, 2006, ch. 3.4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from dolfinx import fem
from dolfinx.fem.petsc import assign
from petsc4py import PETSc

from lse_material.errors import ConvergenceError
from lse_material.fem.force_scale import absolute_row_sums
from lse_material.fem.inertia import SymmetricFactor, raise_diagonal

if TYPE_CHECKING:
    from lse_material.fem.energy_problem import EnergyProblem

ITERATIONS = 400
BLEND = (0.5, 0.0)
RAISED = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 2.0)  # shares of the absolute row sums by which the diagonal is raised
ARMIJO = 1e-4
SHORTEST = 1e-8
HIDDEN = 1e-13  # relative change of the energy that rounding hides


def minimise(problem: EnergyProblem, iterations: int = ITERATIONS) -> int:
    """Minimise the energy of `problem` from its present `u`, which takes the result; returns the iterations.

    Raises:
        ConvergenceError: it did not converge; `u` is then the last iterate.
    """
    u = problem.u
    step = fem.Function(u.function_space)
    residual, d = problem.x.duplicate(), problem.x.duplicate()
    energy = problem.energy()
    problem.residual(residual)
    norm = _norm(residual)
    try:
        for iteration in range(iterations + 1):
            plain = _positive_direction(problem, residual, d)
            if problem.is_converged(residual):
                return iteration
            if iteration == iterations:
                break
            slope = residual.dot(d)
            assign(d, step)
            step.x.scatter_forward()
            length, energy, inverted = _armijo(problem, step, energy, slope)
            if length == 0.0 and plain:  # rounding hides the decrease; the residual sees it still
                u.x.array[:] += step.x.array
                problem.residual(residual)
                if _norm(residual) < 0.5 * norm and np.isfinite(problem.energy()):
                    energy, norm = problem.energy(), _norm(residual)
                    continue
                u.x.array[:] -= step.x.array
            if length == 0.0 and inverted:
                raise ConvergenceError(
                    f"the energy falls towards states in which a cell is turned inside out (det F <= 0), after {iteration} "
                    f"iterations, residual norm {norm:.3e}: take smaller load steps, a finer mesh there, or a material with a "
                    "growth term (lse.Growth), whose energy is infinite as a cell vanishes.",
                    iterations=iteration,
                )
            if length == 0.0:
                raise ConvergenceError(
                    f"the minimiser found no lower energy along a direction of descent after {iteration} iterations, "
                    f"residual norm {norm:.3e}: see that `residual` is the derivative of `energy`, or take smaller load steps.",
                    iterations=iteration,
                )
            problem.residual(residual)
            norm = _norm(residual)
    finally:
        d.destroy()
        residual.destroy()
    raise ConvergenceError(
        f"the minimiser ran out of its {iterations} iterations, residual norm {norm:.3e}: take smaller load steps.",
        iterations=iterations,
    )


def _norm(b: PETSc.Vec) -> float:
    return float(b.norm(PETSc.NormType.NORM_2))  # type: ignore[arg-type]


def _positive_direction(problem: EnergyProblem, residual: PETSc.Vec, d: PETSc.Vec) -> bool:
    """Set d = -C^-1 residual with C the tangent, changed until it is positive definite; whether it was not changed at all."""
    A = problem.tangent()
    with SymmetricFactor(A.comm) as factor:
        plain = factor.is_positive(A)
        if not plain:
            _factor_raised(A, problem.convex_tangent(), factor)
        factor.solve(residual, d)
    d.scale(-1.0)
    return plain


def _factor_raised(A: PETSc.Mat, P: PETSc.Mat | None, factor: SymmetricFactor) -> None:
    """Factor a positive definite matrix near A: a blend with P, or A or P with a raised diagonal."""
    C = A.copy()
    try:
        for share in BLEND if P is not None else ():
            assert P is not None
            P.copy(C)
            C.scale(1.0 - share)
            C.axpy(share, A)
            if factor.is_positive(C):
                return
        sums = absolute_row_sums(C)
        try:
            for share, before in zip(RAISED, (0.0, *RAISED)):
                raise_diagonal(C, sums, share - before)
                if factor.is_positive(C):
                    return
        finally:
            sums.destroy()
    finally:
        C.destroy()
    raise ConvergenceError(
        "no multiple of its diagonal makes the tangent positive definite: an entry of it is not finite."
    )


def _armijo(problem: EnergyProblem, step: fem.Function, energy: float, slope: float) -> tuple[float, float, bool]:
    """Length of the step and the energy there; 0 and the old one, at the old u, if no length lowers it.

    The last says whether a cell was turned inside out on the way.
    """
    u, before, length, inverted = problem.u, problem.u.x.array.copy(), 1.0, False
    hidden = HIDDEN * abs(energy)
    while length > SHORTEST:
        u.x.array[:] = before + length * step.x.array
        new = problem.energy()
        if np.isfinite(new) and new <= energy + ARMIJO * length * slope + hidden:
            return length, new, inverted
        inverted = inverted or not np.isfinite(new)
        length *= 0.5
    u.x.array[:] = before
    return 0.0, energy, inverted
