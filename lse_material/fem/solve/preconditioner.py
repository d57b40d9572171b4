"""A preconditioner that is positive: the diagonal of its matrix is raised where a factor of it says that it is not.

Conjugate gradients in a trust region need a positive definite preconditioner. The frozen-weight tangent is one where every
mode is strictly convex and what else is in the energy is convex. It is singular where a network is flat, and may be indefinite
where terms of the user's own are not convex at that state (a matrix in compression, say). MUMPS counts negative pivots as it
factors, so that a positive matrix costs nothing more.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from petsc4py import PETSc

from lse_material.fem.solve.force_scale import absolute_row_sums
from lse_material.fem.solve.inertia import raise_diagonal

RAISED = (
    1e-6,
    1e-4,
    1e-2,
    1e-1,
    1.0,
    2.0,
)  # shares of the absolute row sums; the last makes any symmetric matrix positive


def keep_positive(ksp: PETSc.KSP) -> None:
    """Before each linear solve, raise the diagonal of the preconditioner's matrix until MUMPS finds no negative pivot.

    Nothing is done for other preconditioners than a Cholesky factor by MUMPS.
    """
    pc = ksp.getPC()
    if pc.getType() != "cholesky" or pc.getFactorSolverType() != "mumps":
        return

    def raise_until_positive(ksp: PETSc.KSP, b: PETSc.Vec, x: PETSc.Vec) -> None:
        A, P = ksp.getOperators()
        if not np.isfinite(P.norm()):
            return
        count_pivots(ksp.getPC())
        ksp.setUp()
        if _is_positive(ksp):
            return
        if A.handle == P.handle:  # the tangent itself is what the preconditioner is made of: leave it as it is
            P = A.copy()
            ksp.setOperators(A, P)
            P.destroy()
            P = ksp.getOperators()[1]
        sums = absolute_row_sums(P)
        largest = sums.max()[1]
        sums.array[:] = np.maximum(sums.array_r, 1e-12 * largest)  # rows of cells without any stiffness
        for share, before in zip(RAISED, (0.0, *RAISED)):
            raise_diagonal(P, sums, share - before)
            ksp.setUp()
            if _is_positive(ksp):
                break
        sums.destroy()

    ksp.setPreSolve(raise_until_positive)


def count_pivots(pc: PETSc.PC) -> None:
    """Let MUMPS count the signs of all pivots, and those that vanish."""
    pc.setFactorSetUpSolverType()
    factor: Any = pc.getFactorMatrix()
    factor.setMumpsIcntl(13, 1)  # no parallel root: its pivots would not be counted
    factor.setMumpsIcntl(24, 1)


def _is_positive(ksp: PETSc.KSP) -> bool:
    reason: Any = ksp.getPC().getFailedReason()
    if reason != 0:
        return False
    negative, zero, _ = ksp.getPC().getFactorMatrix().getInertia()
    return int(negative) + int(zero) == 0
