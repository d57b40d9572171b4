"""Symmetric factors that count eigenvalues: A = L D L^T by MUMPS. D has as many negative entries as A negative eigenvalues."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
from mpi4py import MPI
from petsc4py import PETSc

from lse_material._arrays import Array
from lse_material.fem._lifetime import temporary
from lse_material.fem.solve.fields import diagonal_of, product
from lse_material.fem.solve.options import NEEDS_WORK_SPACE, WORK_SPACES, mumps_error

EMPTY_ROW = 1e-12  # of the largest row sum: rows of cells without any stiffness are raised by a share of it


class SymmetricFactor:
    """A direct solver for symmetric matrices, one after another, that counts their eigenvalues; a context manager."""

    def __init__(self, comm: Any) -> None:
        self._comm = comm
        self._ksp: PETSc.KSP | None = None
        self._scale: Array | None = None  # of the unknowns, where the matrix is that of a saddle

    def __enter__(self) -> SymmetricFactor:
        return self

    def __exit__(self, *_: object) -> None:
        if self._ksp is not None:
            self._ksp.destroy()

    def inertia(self, A: PETSc.Mat) -> tuple[int, int, int]:
        """Factor A, and return its numbers of negative, zero and positive eigenvalues; A must be symmetric. Collective."""
        self._scale = saddle_scale(A)
        A = scaled(A, self._scale)
        A.setOption(PETSc.Mat.Option.SYMMETRIC, True)  # type: ignore[arg-type]
        for work_space in (None, *WORK_SPACES):
            ksp = self._factor(A, work_space)
            if mumps_error(ksp) not in NEEDS_WORK_SPACE:
                break
        if self._scale is not None:
            A.destroy()  # the solver keeps it
        negative, zero, positive = ksp.getPC().getFactorMatrix().getInertia()
        return int(negative), int(zero), int(positive)

    def _factor(self, A: PETSc.Mat, work_space: int | None) -> PETSc.KSP:
        """The solver, with a factor of A that was made in a work space: see `count_pivots`."""
        if self._ksp is not None:
            self._ksp.destroy()
        ksp = self._ksp = PETSc.KSP().create(self._comm)
        ksp.setType("preonly")
        ksp.setOperators(A)
        pc = ksp.getPC()
        pc.setType("cholesky")
        pc.setFactorSolverType("mumps")
        count_pivots(pc, work_space)
        ksp.setUp()
        return ksp

    def is_positive(self, A: PETSc.Mat, multipliers: int = 0) -> bool:
        """Factor A, and return whether it is positive definite once `multipliers` unknowns are eliminated.

        Eliminating Lagrange multipliers leaves a matrix with as many negative eigenvalues fewer (Sylvester).
        """
        return self.inertia(A)[:2] == (multipliers, 0)

    def solve(self, b: PETSc.Vec, x: PETSc.Vec) -> None:
        """x = A^-1 b, with A the matrix that was factored last."""
        assert self._ksp is not None
        if self._scale is None:
            self._ksp.solve(b, x)
            return
        with temporary(b.copy()) as (right,):
            right.array[:] *= self._scale
            self._ksp.solve(right, x)
        x.array[:] *= self._scale


def saddle_scale(A: PETSc.Mat) -> Array | None:
    """Factors of the unknowns by which the rows of a saddle's matrix become comparable; None if its diagonal is positive.

    Pressures and displacements have different units. Without these factors MUMPS takes small pivots for zero, in some units.
    The signs of the eigenvalues do not change (Sylvester). Collective.
    """
    diagonal = np.abs(diagonal_of(A))
    comm = A.comm.tompi4py()
    if not comm.allreduce(bool((diagonal_of(A) <= 0.0).any()), MPI.LOR):
        return None
    scale = np.divide(1.0, np.sqrt(diagonal), out=np.zeros_like(diagonal), where=diagonal > 0.0)
    coupling = product(A, [scale], absolute=True)[0]
    rest = np.divide(1.0, coupling, out=np.ones_like(coupling), where=coupling > 0.0)
    return np.where(diagonal > 0.0, scale, rest)


def scaled(A: PETSc.Mat, scale: Array | None) -> PETSc.Mat:
    """s_i A_ij s_j in a new matrix, or A itself without a scale."""
    if scale is None:
        return A
    result = A.copy()
    with temporary(A.createVecLeft()) as (s,):
        s.array[:] = scale
        result.diagonalScale(s, s)
    return result


def count_pivots(pc: PETSc.PC, work_space: int | None = None) -> None:
    """Make MUMPS count the signs of all pivots, and those that vanish; with so many per cent of additional work space."""
    pc.setFactorSetUpSolverType()
    factor: Any = pc.getFactorMatrix()
    if work_space is not None:
        factor.setMumpsIcntl(14, work_space)
    factor.setMumpsIcntl(13, 1)  # no parallel root: its pivots would not be counted
    factor.setMumpsIcntl(24, 1)


def with_raised_diagonal(A: PETSc.Mat, shares: Sequence[float], rows: Array | None = None) -> Generator[PETSc.Mat]:
    """A with its diagonal raised by growing shares of the absolute sums of its rows; a share of 2 makes any A positive.

    It is A itself, symmetric, that changes. Close the iterator, for it then destroys what it uses. `rows` are 1 for the owned
    rows to raise, whose sums are over the same columns, and 0 for the others; all are raised if it is left out.
    """
    raised = np.ones(A.getLocalSize()[1]) if rows is None else rows
    with temporary(A.createVecLeft(), A.createVecLeft()) as (sums, more):
        sums.array[:] = raised * product(A, [raised], absolute=True)[0]
        sums.array[:] = np.maximum(sums.array_r, raised * EMPTY_ROW * sums.max()[1])
        for share, before in zip(shares, (0.0, *shares)):
            sums.copy(more)
            more.scale(share - before)
            A.setDiagonal(more, PETSc.InsertMode.ADD_VALUES)
            yield A
