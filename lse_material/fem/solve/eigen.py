"""The lowest eigenvalues of K x = s M x, symmetric: the lowest, not those nearest to a target, and all of them.

K - s M has as many negative eigenvalues as the problem has eigenvalues below s (Sylvester). The shift of a shift-and-invert
Lanczos method moves down until no eigenvalue lies below it, so that those nearest to it are the lowest. The result is checked
by another count. B. N. Parlett, The Symmetric Eigenvalue Problem, SIAM 1998, section 3.3; V. Hernandez, J. E. Roman, V. Vidal,
SLEPc, ACM Trans. Math. Softw. 31, 351 (2005).
"""

import numpy as np
from mpi4py import MPI
from petsc4py import PETSc
from slepc4py import SLEPc

from lse_material._arrays import Array
from lse_material.errors import ConvergenceError, InvalidInputError
from lse_material.fem._lifetime import temporary
from lse_material.fem.solve.fields import diagonal_of
from lse_material.fem.solve.inertia import SymmetricFactor
from lse_material.fem.solve.options import WORK_SPACES

SLEPC_TOLERANCE = 1e-10  # relative to the distance of an eigenvalue from the shift
EQUAL = 1e-6  # two eigenvalues count as one if they differ by less than this share of their distance from the shift
INERTIA_ROUNDING = 1e-11  # of the largest Rayleigh quotient: no factor counts more finely
MAX_RESTARTS = 100  # of the Lanczos method, before the shift comes closer and the basis grows
FIRST_SHIFT = 1e-3  # below zero, in units of the largest Rayleigh quotient of a degree of freedom
SHIFT_GROWTH, MAX_SHIFTS = 4.0, 80
PREFIX = "lse_material_modes_"  # of the options of the factor
MAX_ATTEMPTS, BISECTIONS = 10, 3  # bisections bring the shift closer to the spectrum in each attempt after the first


def lowest_eigenpairs(
    K: PETSc.Mat,
    M: PETSc.Mat,
    count: int = 1,
    *,
    target: float | None = None,
    start: PETSc.Vec | None = None,
    multipliers: int = 0,
) -> tuple[Array, list[PETSc.Vec]]:
    """The `count` lowest eigenvalues s of K x = s M x, ascending, and their eigenvectors, x.M x = 1; collective.

    Eigenvectors of a multiple eigenvalue are some basis of its eigenspace, or of a part of it. The caller destroys them.

    Args:
        K: symmetric; on the null space of M it is positive, but for multipliers: prescribed rows have something positive on the
            diagonal alone.
        M: symmetric, positive semi-definite; prescribed rows are zero.
        count: how many.
        target: those nearest to it are found instead of the lowest.
        start: a vector that no wanted eigenvector is orthogonal to, for the same result on any number of ranks; one that
            follows the numbers of the rows if left out.
        multipliers: number of negative eigenvalues that K has on the null space of M.

    Raises:
        InvalidInputError: there are fewer than `count`, or an entry of K or M is not finite.
        ConvergenceError: they were not found.
    """
    most, lowest, scale = _rayleigh_quotients(K, M, count)
    low, high = _around_lowest(K, M, lowest, scale, multipliers) if target is None else (target, target)
    size = count + 2
    for attempt in range(MAX_ATTEMPTS):
        basis = min(max(2 * size, size + 18), max(most, count + 1), K.getSize()[0])
        values, vectors = _nearest(K, M, low, count, basis, start)
        if len(values) == count:
            margin = EQUAL * (values[-1] - low) + INERTIA_ROUNDING * scale
            below = int((values < values[-1] - margin).sum())
            if target is not None or _below(K, M, values[-1] - margin) - multipliers == below:
                return values, vectors
        for x in vectors:
            x.destroy()
        if attempt == MAX_ATTEMPTS - 1:
            break
        for _ in range(BISECTIONS):  # a shift close by separates eigenvalues that lie close together
            middle = 0.5 * (low + high)
            if not low < middle < high:
                break
            low, high = (middle, high) if _below(K, M, middle, zero=True) == multipliers else (low, middle)
        size = min(2 * size, most)
    raise ConvergenceError(
        f"SLEPc found {len(values)} of the {count} modes from {low:.6g} on, in a basis of {basis}: do very many lie between it "
        f"and {high:.6g}, or is K not symmetric?"
    )


def _around_lowest(K: PETSc.Mat, M: PETSc.Mat, quotient: float, scale: float, multipliers: int) -> tuple[float, float]:
    """Two numbers: no eigenvalue lies below the first, and one at least at or below the second."""
    low, high = 0.0, quotient
    for step in range(MAX_SHIFTS):
        if _below(K, M, low, zero=True) == multipliers:
            return low, high
        low, high = -FIRST_SHIFT * scale * SHIFT_GROWTH**step, min(low, high)
    raise ConvergenceError(f"eigenvalues lie below {low:.3g}, far below what the diagonal suggests ({scale:.3g}).")


def _rayleigh_quotients(K: PETSc.Mat, M: PETSc.Mat, count: int) -> tuple[int, float, float]:
    """Number, smallest and largest modulus of K_ii/M_ii over the free rows of all ranks, of which there must be `count`."""
    k, m = diagonal_of(K), diagonal_of(M)
    free = m != 0.0
    quotients = k[free] / m[free]
    comm = K.comm.tompi4py()
    if not comm.allreduce(bool(np.isfinite(quotients).all()), MPI.LAND):
        raise InvalidInputError("an entry of the matrices whose eigenvalues are wanted is not finite.")
    most = int(comm.allreduce(int(free.sum())))
    if not 1 <= count <= most:
        raise InvalidInputError(
            f"count is {count}; this problem of {K.getSize()[0]} rows has {most} eigenvalues, the other rows are prescribed."
        )
    for matrix in (K, M):
        matrix.setOption(PETSc.Mat.Option.SYMMETRIC, True)  # type: ignore[arg-type]
    lowest = comm.allreduce(quotients.min(initial=np.inf), MPI.MIN)
    return most, float(lowest), float(comm.allreduce(np.abs(quotients).max(initial=0.0), MPI.MAX))


def _below(K: PETSc.Mat, M: PETSc.Mat, shift: float, *, zero: bool = False) -> int:
    """The number of eigenvalues below the shift; with `zero`, at or below."""
    with temporary(K.copy()) as (shifted,), SymmetricFactor(K.comm) as factor:
        if shift != 0.0:
            shifted.axpy(-shift, M)
        negative, vanishing, _ = factor.inertia(shifted)
    return negative + vanishing * zero


def _nearest(
    K: PETSc.Mat, M: PETSc.Mat, shift: float, count: int, basis: int, start: PETSc.Vec | None
) -> tuple[Array, list[PETSc.Vec]]:
    """Up to `count` eigenpairs nearest to the shift, ascending, as far as SLEPc finds them with so large a basis."""
    made = SLEPc.EPS().create(K.comm), _start(M, start), K.createVecRight(), K.createVecRight()
    with temporary(*made) as (eps, first, x, y):
        eps.setOperators(K, M)
        eps.setProblemType(SLEPc.EPS.ProblemType.GHEP)
        eps.setDimensions(count, basis)
        eps.setTolerances(SLEPC_TOLERANCE, MAX_RESTARTS)
        eps.setTarget(shift)
        eps.setWhichEigenpairs(SLEPc.EPS.Which.TARGET_MAGNITUDE)
        transform = eps.getST()
        transform.setType("sinvert")
        ksp = transform.getKSP()
        ksp.setType("preonly")
        ksp.getPC().setType("cholesky")
        ksp.getPC().setFactorSolverType("mumps")
        ksp.setOptionsPrefix(PREFIX)
        eps.setInitialSpace([first])
        del transform, ksp  # petsc4py would file them, and the factor, if they outlived eps on several ranks
        PETSc.Options().setValue(f"{PREFIX}mat_mumps_icntl_14", str(WORK_SPACES[0]))
        try:
            eps.solve()
        finally:
            PETSc.Options().delValue(f"{PREFIX}mat_mumps_icntl_14")
        pairs = []
        for i in range(eps.getConverged()):
            eps.getEigenvector(i, x)
            M.mult(x, y)
            square = y.dot(x)
            if not square > 0.0:  # in prescribed rows alone: no eigenvector
                continue
            mode = x.copy()
            mode.scale(square**-0.5)
            K.mult(mode, y)
            pairs.append((float(y.dot(mode)), mode))
    pairs.sort(key=lambda pair: pair[0])
    for _, mode in pairs[count:]:
        mode.destroy()
    return np.array([value for value, _ in pairs[:count]]), [mode for _, mode in pairs[:count]]


def _start(M: PETSc.Mat, start: PETSc.Vec | None) -> PETSc.Vec:
    """M times a vector that has no symmetry: zero in prescribed rows."""
    first = M.createVecRight()
    with temporary(M.createVecRight()) as (raw,):
        if start is None:
            rows = np.arange(*raw.getOwnershipRange())
            raw.array[:] = 1.0 + np.sin(rows * (1.0 + np.sqrt(5.0)))
        else:
            start.copy(raw)
        M.mult(raw, first)
    return first
