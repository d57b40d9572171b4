"""Newton's method on an energy with the inertia of its tangent under control: slow, direct, and hard to defeat.

Each tangent is factored as L D L^T by MUMPS, which counts its negative eigenvalues. If there are any, it is blended with the
frozen-weight tangent, C = t A + (1 - t) P for t = 1/2, 0, and then its diagonal raised, until there are none: the step then
lowers the energy, and its length is found by halving (Armijo). J. Nocedal, S. Wright, Numerical Optimization, 2006, ch. 3.4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from dolfinx import fem
from dolfinx.fem.petsc import assemble_jacobian, assign
from dolfinx.la import InsertMode
from petsc4py import PETSc

from lse_material.errors import ConvergenceError
from lse_material.fem.inertia import SymmetricFactor

if TYPE_CHECKING:
    from lse_material.fem.energy_problem import EnergyProblem

ITERATIONS = 400
BLEND = (0.5, 0.0)
RAISED = (1e-3, 1e-2, 1e-1, 1.0, 10.0)  # shares by which the diagonal is raised
ARMIJO = 1e-4
SHORTEST = 1e-8
EXACT = 1e-14  # relative energy decrease that rounding hides


def minimise(problem: EnergyProblem, iterations: int = ITERATIONS) -> int:
    """Minimise the energy of `problem` from its present `u`, which takes the result; returns the iterations.

    Raises:
        ConvergenceError: it did not converge; `u` is then the last iterate.
    """
    u, x = problem.u, problem.x
    energy, residual = problem.energy(), free_residual(problem)
    step = fem.Function(u.function_space)
    d = x.duplicate()
    with SymmetricFactor(x.comm) as factor:
        try:
            for iteration in range(iterations):
                if _norm(residual) <= problem.allowed_residual():
                    return iteration
                plain = _positive_tangent(problem, factor)
                factor.solve(residual, d)
                d.scale(-1.0)
                slope = residual.dot(d)
                assign(d, step)
                step.x.scatter_forward()
                norm, length, new = _norm(residual), *_armijo(problem, step, energy, slope)
                small = plain and abs(slope) <= EXACT * max(abs(energy), 1e-300)
                if length == 0.0 and plain:  # rounding hides the decrease: the residual sees it still
                    problem.u.x.array[:] += step.x.array
                    residual = free_residual(problem, residual)
                    if _norm(residual) < 0.5 * norm:
                        energy = problem.energy()
                        continue
                    problem.u.x.array[:] -= step.x.array
                    if small:
                        return iteration
                if length == 0.0:
                    raise ConvergenceError(
                        f"the minimiser found no lower energy along a direction of descent after {iteration} iterations, "
                        f"residual norm {norm:.3e}: is `residual` the derivative of `energy`?",
                        iterations=iteration,
                    )
                energy, residual = new, free_residual(problem, residual)
                if small and _norm(residual) >= 0.5 * norm:
                    return iteration + 1
        finally:
            d.destroy()
            norm = _norm(residual)
            residual.destroy()
    raise ConvergenceError(
        f"the minimiser ran out of its {iterations} iterations, residual norm {norm:.3e}: take smaller load steps.",
        iterations=iterations,
    )


def free_residual(problem: EnergyProblem, b: PETSc.Vec | None = None) -> PETSc.Vec:
    """The gradient of the energy at the present u, zero where u is held."""
    b = problem.b.duplicate() if b is None else b
    problem._update_stresses()
    values = fem.assemble_vector(problem.F)
    values.scatter_reverse(InsertMode.add)
    owned = b.getLocalSize()
    for bc in problem._bcs:
        values.array[bc.dof_indices()[0]] = 0.0
    b.array[:] = values.array[:owned]
    return b


def _norm(b: PETSc.Vec) -> float:
    return float(b.norm(PETSc.NormType.NORM_2))  # type: ignore[arg-type]


def _positive_tangent(problem: EnergyProblem, factor: SymmetricFactor) -> bool:
    """Factor the tangent, changed until it is positive definite; returns whether it had to be changed not at all."""
    A, P = assembled_tangent(problem)
    if factor.is_positive(A):
        return True
    C = A
    for share in BLEND if P is not None else ():
        assert P is not None
        C = P.copy()
        C.scale(1.0 - share)
        C.axpy(share, A)
        if factor.is_positive(C):
            return False
    diagonal = C.getDiagonal()
    diagonal.abs()
    for share in RAISED:
        raised, more = C.copy(), diagonal.copy()
        more.scale(share)
        raised.setDiagonal(more, PETSc.InsertMode.ADD_VALUES)
        if factor.is_positive(raised):
            return False
    raise ConvergenceError(
        "no multiple of its diagonal makes the tangent positive definite: is an entry of it not finite?"
    )


def assembled_tangent(problem: EnergyProblem) -> tuple[PETSc.Mat, PETSc.Mat | None]:
    """The tangent and the frozen-weight tangent at the present u; rows where u is held have a 1 on the diagonal."""
    problem._update_tangents()
    assign(problem.u, problem.x)
    assemble_jacobian(
        None, problem.x, problem.A, problem.P_mat, problem.u, problem.J, problem.preconditioner, problem._bcs
    )
    return problem.A, problem.P_mat


def _armijo(problem: EnergyProblem, step: fem.Function, energy: float, slope: float) -> tuple[float, float]:
    """Length of the step and the energy there; 0 and the old one, at the old u, if no length lowers it."""
    u, before, length = problem.u, problem.u.x.array.copy(), 1.0
    hidden = 1e-13 * abs(energy)
    while length > SHORTEST:
        u.x.array[:] = before + length * step.x.array
        new = problem.energy()
        if np.isfinite(new) and new <= energy + ARMIJO * length * slope + hidden:
            return length, new
        length *= 0.5
    u.x.array[:] = before
    return 0.0, energy
