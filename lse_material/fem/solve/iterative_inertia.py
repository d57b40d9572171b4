"""Negative eigenvalues of a large body's tangent without a factor of it: the lowest ones, found by iteration.

With the tangent A and the frozen-weight tangent P, positive definite, A x = s P x has as many negative eigenvalues as A has
(Sylvester). Most s are 1: P leaves out what lowers the energy where mode weights change, so that all others lie below. LOBPCG,
preconditioned by multigrid on P, finds the lowest of these in a few dozen iterations. A. V. Knyazev, SIAM J. Sci. Comput. 23,
517 (2001); SLEPc.

An eigenvalue lies within |A x - s P x| (norm of P^-1) of each s that is found, so that its sign is known where |s| is larger.
That none is missed is not proved, as the pivots of a factor prove it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from petsc4py import PETSc
from slepc4py import SLEPc

from lse_material._arrays import Array
from lse_material.errors import ConvergenceError
from lse_material.fem._lifetime import temporary
from lse_material.fem.solve._energy import FieldEnergy
from lse_material.fem.solve.continuation import positive_preconditioner
from lse_material.fem.solve.fields import diagonal_of
from lse_material.fem.solve.missing_stiffness import prescribe_rows

BLOCK = 4  # eigenvalues that are looked for first
TOLERANCES = (1e-2, 1e-4, 1e-6)  # of s; an eigenvalue whose sign is not known with the last one vanishes
LEAST_ROWS = 5  # for each of them: LOBPCG's limit
ITERATIONS = 500  # of LOBPCG


def iterative_inertia(problem: FieldEnergy, supports: Sequence[int], *, count_all: bool) -> tuple[int, int] | None:
    """Numbers of negative and of vanishing eigenvalues of the tangent at the present u; collective.

    None if they are more than a fifth of all, which LOBPCG cannot find. `supports` are rows that this rank owns, prescribed
    against rigid motions. Without `count_all` those among the first are counted, which saves time if there are very many.
    Raises ConvergenceError if they were not found, or the frozen-weight tangent is not positive definite.
    """
    A = problem.tangent()
    prescribe_rows(A, supports)
    with positive_preconditioner(problem, supports) as (P, _):
        problem.scales.scale(A)
        count = BLOCK
        while LEAST_ROWS * count <= A.getSize()[0]:
            for tolerance in TOLERANCES:
                values, errors = _lowest(A, P, problem.solver.getKSP().getPC(), count, tolerance)
                known = np.abs(values) > errors
                if known.all():
                    break
            negative, vanishing = int((known & (values < 0.0)).sum()), int((~known).sum())
            if not count_all or negative + vanishing < count:
                return negative, vanishing
            count *= 2
    return None


def _lowest(A: PETSc.Mat, P: PETSc.Mat, pc: PETSc.PC, count: int, tolerance: float) -> tuple[Array, Array]:
    """The `count` lowest eigenvalues of A x = s P x, ascending, and bounds of their errors, about the tolerance."""
    mean = P.comm.tompi4py().allreduce(float(diagonal_of(P).sum())) / P.getSize()[0]
    with temporary(SLEPc.EPS().create(A.comm)) as (eps,):
        eps.setOperators(A, P)
        eps.setProblemType(SLEPc.EPS.ProblemType.GHEP)
        eps.setType(SLEPc.EPS.Type.LOBPCG)
        eps.setDimensions(count)
        eps.setLOBPCGBlockSize(count)
        eps.setWhichEigenpairs(SLEPc.EPS.Which.SMALLEST_REAL)
        eps.setConvergenceTest(SLEPc.EPS.Conv.ABS)
        eps.setTolerances(tolerance * np.sqrt(mean), ITERATIONS)
        transform = eps.getST()
        transform.setType("precond")
        transform.setPreconditionerMat(P)
        ksp = transform.getKSP()
        ksp.setType("richardson")  # one step: PETSc 3.25 applies multigrid wrongly to several vectors on two ranks
        ksp.setTolerances(max_it=1)
        ksp.setNormType(PETSc.KSP.NormType.NONE)
        ksp.setPC(pc)
        del transform, ksp  # petsc4py would keep them alive beyond eps on some ranks
        eps.solve()
        if eps.getConverged() < count:
            raise ConvergenceError(
                f"LOBPCG found {eps.getConverged()} of the {count} lowest eigenvalues of the tangent in {ITERATIONS} "
                "iterations: take a factor of it (factor=True) if there is memory for one."
            )
        return _pairs(eps, A, P, pc, count)


def _pairs(eps: Any, A: PETSc.Mat, P: PETSc.Mat, pc: PETSc.PC, count: int) -> tuple[Array, Array]:
    """Rayleigh quotients of the vectors that were found, ascending, and bounds of their errors."""
    pairs = []
    with temporary(*(A.createVecRight() for _ in range(3))) as (x, Ax, Px):
        for i in range(count):
            eps.getEigenvector(i, x)
            A.mult(x, Ax)
            P.mult(x, Px)
            square = Px.dot(x)
            if not square > 0.0:
                raise ConvergenceError(
                    "the frozen-weight tangent is not positive definite: take a factor (factor=True)."
                )
            value = Ax.dot(x) / square
            Ax.axpy(-value, Px)
            pc.apply(Ax, x)
            pairs.append((value, np.sqrt(max(Ax.dot(x), 0.0) / square)))
    values, errors = np.array(sorted(pairs)).T
    return values, errors
