"""New Dirichlet values before a minimisation: one linear step extends them into the body, away from inverted cells.

Imposed abruptly, they would push the adjacent cells across energy barriers or turn them inside out. The linear step is

    A_ff d_f = -(r_f + A_fc d_c),    d_c = new values - u.

A is the tangent if it is positive definite, and the frozen-weight tangent otherwise, because an indefinite tangent may lead
anywhere. There is then no such step if u is no equilibrium, |r_f| > |A_fc d_c| / 10, unless cells are turned inside out without
it: from such a guess a minimiser goes far, and it went to higher minima after the linear step.
"""

import logging
from typing import Any

import numpy as np
from dolfinx import fem
from dolfinx.la import InsertMode
from mpi4py import MPI
from petsc4py import PETSc

from lse_material._arrays import Array
from lse_material.errors import ConvergenceError
from lse_material.fem._lifetime import temporary
from lse_material.fem.solve._energy import FieldEnergy
from lse_material.fem.solve.fields import ROUNDING
from lse_material.fem.solve.inertia import SymmetricFactor
from lse_material.fem.solve.multigrid import is_direct, linear_step
from lse_material.fem.solve.trust_region import counts_pivots, is_factored_positive

EQUILIBRIUM = 0.1  # a state is one if its residual is a smaller share of the forces that new Dirichlet values add
SAME_PATTERN: Any = PETSc.Mat.Structure.SAME_NONZERO_PATTERN
MAX_HALVINGS = 20  # of the distance of an inverted initial guess from the undeformed state

logger = logging.getLogger("lse_material")


def enter_dirichlet_values(problem: FieldEnergy, *, rough: bool) -> bool:
    """Bring u to its new Dirichlet values: by a linear step from where it is, else at once; collective.

    A `rough` guess is not worth a linear step, unless cells are turned inside out without it. Returns whether the tangent was
    found not to be positive definite. Raises ConvergenceError if cells are turned inside out by the new values, or no state
    near an inverted guess has a finite energy.
    """
    guess = problem.u.x.array.copy()
    indefinite = _enter(problem, rough)
    if not np.isfinite(problem.value()):
        _leave_inverted_guess(problem, guess)
        return False
    return indefinite


def _enter(problem: FieldEnergy, rough: bool = False) -> bool:
    """Set u to its Dirichlet values; returns whether the tangent was found not to be positive definite."""
    u = problem.u.x.array
    before = u.copy()
    problem.apply_bcs()
    entered = u.copy()
    change = entered - before
    visible = np.abs(change) > ROUNDING * np.maximum(np.abs(entered), np.abs(before)).max(initial=0.0)
    may_be_abrupt = bool(np.isfinite(problem.value()))
    changed = problem.comm.allreduce(bool(visible.any()), MPI.LOR)
    if not problem.predictor or not changed or (rough and may_be_abrupt):
        return False
    u[:] = before
    tangent = _predict(problem, change, may_be_abrupt)
    if tangent is not None:
        problem.apply_bcs()
        if np.isfinite(problem.value()):
            return tangent is not problem.A
    u[:] = entered
    return tangent is None and may_be_abrupt


def _leave_inverted_guess(problem: FieldEnergy, guess: Array) -> None:
    """Bring a guess with inverted cells nearer to u = 0 until the energy is finite, with new Dirichlet values."""
    u = problem.u.x.array
    u[:] = guess
    if not np.isfinite(problem.value()):
        problem.apply_bcs()
        guess = u.copy()
        u[:] = 0.0
        _enter(problem)
        undeformed = u.copy()
        for halvings in range(1, MAX_HALVINGS + 1) if np.isfinite(problem.value()) else ():
            u[:] = undeformed + 0.5**halvings * (guess - undeformed)
            if np.isfinite(problem.value()):
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


def _predict(problem: FieldEnergy, change: Array, may_be_abrupt: bool) -> PETSc.Mat | None:
    """Move u by a linear step that includes the change of its prescribed values (zero elsewhere, with entries for ghosts).

    Returns the matrix of the step: the tangent, or the frozen-weight tangent. None, and no step, if neither is positive
    definite, or if the tangent is not, u is no equilibrium, and the change may also be imposed without a step.
    """
    P = None if is_direct(problem.solver.getKSP()) else problem.convex_tangent()
    with temporary(problem.b.duplicate(), problem.b.duplicate()) as (b, step):
        for form in (problem.J, problem.convex_form):
            matrix = problem.tangent() if form is problem.J else P or problem.convex_tangent()
            if matrix is None or form is None:
                continue
            balanced = _right_hand_side(problem, form, change, b)
            if form is not problem.J and may_be_abrupt and not balanced:
                return None
            if np.isfinite(b.norm()) and _positive_step(problem, matrix, P, b, step):
                problem.u.x.array[: step.getLocalSize()] += step.array_r
                problem.u.x.scatter_forward()
                return matrix
        return None


def _right_hand_side(problem: FieldEnergy, form: fem.Form, change: Array, out: PETSc.Vec) -> bool:
    """Minus the residual after the change of the prescribed values, to first order; in prescribed rows the change itself.

    Returns whether the residual before is small beside what the change adds.
    """
    moved = fem.Function(problem.u.function_space)
    fem.apply_lifting(moved.x.array, [form], [list(problem.bcs)], x0=[problem.u.x.array], alpha=-1.0)
    moved.x.scatter_reverse(InsertMode.add)
    owned, forces = out.getLocalSize(), problem.forces()
    total = -(forces + moved.x.array)
    for bc in problem.bcs:
        dofs = bc.dof_indices()[0]
        total[dofs] = change[dofs]
    out.array[:] = total[:owned]
    residual, added = problem.fields.norms(forces[:owned]), problem.fields.norms(moved.x.array[:owned])
    return bool((residual <= EQUILIBRIUM * added).all())


def _positive_step(problem: FieldEnergy, A: PETSc.Mat, P: PETSc.Mat | None, b: PETSc.Vec, step: PETSc.Vec) -> bool:
    """Solve A step = b; False if A is not positive definite."""
    ksp = problem.solver.getKSP()
    if not is_direct(ksp):
        return linear_step(ksp, A, P, b, step)
    matrix = problem.P_mat
    if matrix is not None and counts_pivots(ksp) and _same_pattern(problem, A, matrix):
        if A.handle != matrix.handle:
            A.copy(matrix, SAME_PATTERN)
        ksp.setOperators(problem.A, matrix)  # whose pattern all factors have: one analysis serves all
        if is_factored_positive(ksp):
            ksp.getPC().apply(b, step)
            return True
        return False
    with SymmetricFactor(A.comm) as factor:
        if not factor.is_positive(A, problem.multipliers):
            return False
        factor.solve(b, step)
    return True


def _same_pattern(problem: FieldEnergy, A: PETSc.Mat, P: PETSc.Mat) -> bool:
    """Whether A has entries where the preconditioner's matrix has them."""
    if not P.isAssembled():
        problem.convex_tangent()
    different = A.getInfo()["nz_used"] != P.getInfo()["nz_used"]
    return not problem.comm.allreduce(different, MPI.LOR)
