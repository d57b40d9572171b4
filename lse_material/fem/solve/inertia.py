"""Symmetric factors that count eigenvalues: A = L D L^T by MUMPS, whose D has as many negative entries as A (Sylvester)."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from petsc4py import PETSc


class SymmetricFactor:
    """A direct solver for symmetric matrices, one after another, that says their inertia; a context manager."""

    def __init__(self, comm: Any) -> None:
        self._comm = comm
        self._ksp: PETSc.KSP | None = None

    def __enter__(self) -> SymmetricFactor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._ksp is not None:
            self._ksp.destroy()

    def inertia(self, A: PETSc.Mat) -> tuple[int, int, int]:
        """Numbers of negative, zero and positive eigenvalues of A, which is factored; collective.

        A must be symmetric; the flag is set here.
        """
        A.setOption(PETSc.Mat.Option.SYMMETRIC, True)  # type: ignore[arg-type]
        if self._ksp is not None:
            self._ksp.destroy()
        ksp = self._ksp = PETSc.KSP().create(self._comm)
        ksp.setType("preonly")
        ksp.setOperators(A)
        pc = ksp.getPC()
        pc.setType("cholesky")
        pc.setFactorSolverType("mumps")
        pc.setFactorSetUpSolverType()
        factor = pc.getFactorMatrix()
        factor.setMumpsIcntl(13, 1)  # no parallel root: its pivots would not be counted
        factor.setMumpsIcntl(24, 1)  # count pivots that vanish
        ksp.setUp()
        negative, zero, positive = factor.getInertia()
        return int(negative), int(zero), int(positive)

    def is_positive(self, A: PETSc.Mat) -> bool:
        """Whether A is positive definite; it is factored."""
        negative, zero, _ = self.inertia(A)
        return negative + zero == 0

    def solve(self, b: PETSc.Vec, x: PETSc.Vec) -> None:
        """x = A^-1 b, with the A that was factored last."""
        assert self._ksp is not None
        self._ksp.solve(b, x)


def raise_diagonal(A: PETSc.Mat, amounts: PETSc.Vec, share: float) -> None:
    """A_ii += share * amounts_i; collective."""
    more = amounts.copy()
    more.scale(share)
    A.setDiagonal(more, PETSc.InsertMode.ADD_VALUES)
    more.destroy()
