"""New Dirichlet values before a minimisation: one linear step extends them into the body, away from inverted cells.

Imposed abruptly, they would push the adjacent cells across energy barriers or turn them inside out. The linear step is

    A_ff d_f = -(r_f + A_fc d_c),    d_c = new values - u.

A is the tangent if it is positive definite, and the frozen-weight tangent otherwise, because an indefinite tangent may lead
anywhere.
"""

from __future__ import annotations

import logging

import numpy as np
from dolfinx import fem
from dolfinx.la import InsertMode
from mpi4py import MPI
from petsc4py import PETSc

from lse_material._arrays import Array
from lse_material.errors import ConvergenceError
from lse_material.fem.solve._energy import FieldEnergy
from lse_material.fem.solve.inertia import SymmetricFactor
from lse_material.fem.solve.multigrid import is_direct, linear_step

MAX_HALVINGS = 20  # of the distance of an inverted initial guess from the undeformed state

logger = logging.getLogger("lse_material")


def enter_dirichlet_values(problem: FieldEnergy) -> None:
    """Bring u to its Dirichlet values: by a linear step from where it is, else at once; collective.

    Raises:
        ConvergenceError: cells are turned inside out by the new values, or no state near an inverted guess has a finite energy.
    """
    guess = problem.u.x.array.copy()
    _enter(problem)
    if not np.isfinite(problem.energy()):
        _leave_inverted_guess(problem, guess)


def _enter(problem: FieldEnergy) -> None:
    u = problem.u.x.array
    before = u.copy()
    problem.apply_bcs()
    entered = u.copy()
    if not problem.predictor or not problem.comm.allreduce(bool((entered != before).any()), MPI.LOR):
        return
    u[:] = before
    if _predict(problem, entered - before):
        problem.apply_bcs()
        if np.isfinite(problem.energy()):
            return
    u[:] = entered


def _leave_inverted_guess(problem: FieldEnergy, guess: Array) -> None:
    """Bring a guess with inverted cells nearer to u = 0 until the energy is finite, with new Dirichlet values."""
    u = problem.u.x.array
    u[:] = guess
    if not np.isfinite(problem.energy()):
        problem.apply_bcs()
        guess = u.copy()
        u[:] = 0.0
        _enter(problem)
        undeformed = u.copy()
        for halvings in range(1, MAX_HALVINGS + 1) if np.isfinite(problem.energy()) else ():
            u[:] = undeformed + 0.5**halvings * (guess - undeformed)
            if np.isfinite(problem.energy()):
                if problem.comm.rank == 0:
                    logger.warning(
                        "Cells of the initial guess are turned inside out (det F <= 0): u starts at %g of it.",
                        0.5**halvings,
                    )
                return
    raise ConvergenceError(
        "the energy is not finite once u has its Dirichlet values: a cell is turned inside out (det F <= 0), or the "
        "input holds NaN. Take smaller load steps (lse.fem.LoadPath halves them by itself)."
    )


def _predict(problem: FieldEnergy, change: Array) -> bool:
    """Move u by a linear step that includes the change of its prescribed values; False if no tangent is positive definite.

    Args:
        problem: at the old values.
        change: of u where it is prescribed, zero elsewhere, with entries for ghosts.
    """
    b, step = problem.b.duplicate(), problem.b.duplicate()
    try:
        for assemble, form in ((problem.tangent, problem.J), (problem.convex_tangent, problem.convex_form)):
            matrix = assemble()
            if matrix is None or form is None:
                continue
            _right_hand_side(problem, form, change, b)
            if np.isfinite(b.norm()) and _positive_step(problem, matrix, b, step):
                problem.u.x.array[: step.getLocalSize()] += step.array_r
                problem.u.x.scatter_forward()
                return True
        return False
    finally:
        b.destroy()
        step.destroy()


def _right_hand_side(problem: FieldEnergy, form: fem.Form, change: Array, out: PETSc.Vec) -> None:
    """Minus the residual after the change of the prescribed values, to first order; in prescribed rows the change itself."""
    moved = fem.Function(problem.u.function_space)
    fem.apply_lifting(moved.x.array, [form], [list(problem.bcs)], x0=[problem.u.x.array], alpha=-1.0)
    moved.x.scatter_reverse(InsertMode.add)
    total = -(problem.forces() + moved.x.array)
    for bc in problem.bcs:
        dofs = bc.dof_indices()[0]
        total[dofs] = change[dofs]
    out.array[:] = total[: out.getLocalSize()]


def _positive_step(problem: FieldEnergy, A: PETSc.Mat, b: PETSc.Vec, step: PETSc.Vec) -> bool:
    """Solve A step = b; False if A is not positive definite."""
    ksp = problem.solver.getKSP()
    if not is_direct(ksp):
        return linear_step(ksp, A, problem.convex_tangent() or A, b, step)
    with SymmetricFactor(A.comm) as factor:
        if not factor.is_positive(A, problem.multipliers):
            return False
        factor.solve(b, step)
    return True
