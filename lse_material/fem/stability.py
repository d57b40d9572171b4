"""Is an equilibrium a minimum? Negative eigenvalues of its tangent, its lowest modes, and the way out of a saddle.

The lowest modes solve A m = s M m with the tangent A, and M of int grad(m).grad(v) + m.v/l^2 (l the size of the body), for m
that vanish where u is held. V. Hernandez, J. E. Roman, V. Vidal, SLEPc, ACM Trans. Math. Softw. 31, 351 (2005).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import dolfinx.fem.petsc
import numpy as np
import ufl
from dolfinx import fem
from mpi4py import MPI
from petsc4py import PETSc
from scipy.optimize import brentq
from slepc4py import SLEPc

from lse_material.checks import Array
from lse_material.errors import ConvergenceError, InvalidInputError
from lse_material.fem.energy_problem import EnergyProblem
from lse_material.fem.inertia import SymmetricFactor
from lse_material.fem.minimise import assembled_tangent

TOLERANCE = 1e-10  # of SLEPc
MOST = 30  # modes that are looked for at once


@dataclass(frozen=True, eq=False)
class Modes:
    """The modes nearest to instability.

    Attributes:
        values: eigenvalues s, lowest first; negative for directions in which the energy falls.
        shapes: one function of u's space for each, largest entry 1.
    """

    values: Array
    shapes: Sequence[fem.Function]


def negative_eigenvalues(problem: EnergyProblem) -> int:
    """Number of negative eigenvalues of the tangent at the present u: 0 at a minimum; collective.

    Raises:
        ConvergenceError: the tangent is singular.
    """
    A, _ = assembled_tangent(problem)
    with SymmetricFactor(A.comm) as factor:
        negative, zero, _ = factor.inertia(A)
    if zero:
        raise ConvergenceError(
            f"the tangent has {zero} eigenvalues that vanish: a critical point, or rigid motions that no Dirichlet condition "
            "stops."
        )
    return negative


def is_stable(problem: EnergyProblem) -> bool:
    """Whether the present u is a minimum as far as second derivatives say; collective."""
    A, _ = assembled_tangent(problem)
    with SymmetricFactor(A.comm) as factor:
        return factor.is_positive(A)


def lowest_modes(problem: EnergyProblem, count: int = 1, *, target: float | None = None) -> Modes:
    """The `count` modes of lowest eigenvalue at the present u, by shift and invert; collective.

    Args:
        problem: at equilibrium, usually.
        count: how many.
        target: where on the axis they are looked for, instead of at the lowest end.

    Raises:
        ConvergenceError: SLEPc found fewer.
    """
    if count < 1:
        raise InvalidInputError(f"count is {count}; it must be >= 1.")
    A, _ = assembled_tangent(problem)
    wanted = count
    if target is None:  # those below 0 first, wherever they are
        with SymmetricFactor(A.comm) as factor:
            wanted = min(max(count, factor.inertia(A)[0] + 1), MOST)
    V, bcs = problem.u.function_space, problem._bcs
    M = _inner_product(V, bcs)
    eps = SLEPc.EPS().create(A.comm)
    try:
        eps.setOperators(A, M)
        eps.setProblemType(SLEPc.EPS.ProblemType.GHEP)
        eps.setDimensions(wanted)
        eps.setTolerances(TOLERANCE, 500)
        eps.setTarget(0.0 if target is None else target)
        eps.setWhichEigenpairs(SLEPc.EPS.Which.TARGET_MAGNITUDE)
        transform = eps.getST()
        transform.setType("sinvert")
        pc = transform.getKSP().getPC()
        transform.getKSP().setType("preonly")
        pc.setType("cholesky")
        pc.setFactorSolverType("mumps")
        # the start must not hold what the Dirichlet rows do, and must be the same on any number of ranks
        x = A.createVecRight()
        x.set(1.0)
        M.mult(x.copy(), x)
        eps.setInitialSpace([x])
        eps.solve()
        found = eps.getConverged()
        if found < count:
            raise ConvergenceError(
                f"SLEPc found {found} of {count} modes of the tangent in {eps.getIterationNumber()} iterations."
            )
        values = np.array([eps.getEigenvalue(i).real for i in range(found)])
        order = np.argsort(values)[:count]
        shapes = []
        for i in order:
            eps.getEigenvector(int(i), x)
            shapes.append(_shape(V, x))
        x.destroy()
        return Modes(values[order], tuple(shapes))
    finally:
        eps.destroy()
        M.destroy()


def critical_load(
    problem: EnergyProblem, apply: Callable[[float], None], low: float, high: float, *, tolerance: float = 1e-8
) -> tuple[float, fem.Function]:
    """The load between `low` and `high` at which an eigenvalue of the tangent vanishes, and its mode; collective.

    The path must stay on one branch beyond that load: start each solve from a state of its symmetry, or use plain Newton
    (snes_type newtonls, ksp_type preonly), which does not leave a saddle.

    Args:
        problem: of which `apply` changes conditions.
        apply: sets the load, and the start of the solve if it likes.
        low: a load.
        high: another; an odd number of eigenvalues changes sign between the two.
        tolerance: of the load.

    Raises:
        InvalidInputError: the eigenvalue nearest to zero has the same sign at both ends.
    """
    nearest: dict[float, Modes] = {}

    def eigenvalue(load: float) -> float:
        apply(load)
        problem.solve()
        nearest[load] = lowest_modes(problem, 1, target=0.0)
        return float(nearest[load].values[0])

    ends = eigenvalue(low), eigenvalue(high)
    if ends[0] * ends[1] > 0.0:
        raise InvalidInputError(
            f"the eigenvalue nearest to zero is {ends[0]:.3g} at the load {low:g} and {ends[1]:.3g} at {high:g}: none changes "
            "its sign between them, or two do. Take other ends."
        )
    load = float(brentq(eigenvalue, low, high, xtol=tolerance))
    return load, nearest[load].shapes[0] if load in nearest else lowest_modes(problem, 1, target=0.0).shapes[0]


def kick(problem: EnergyProblem, size: float, mode: fem.Function | None = None) -> fem.Function:
    """Move u along its lowest mode by `size` (largest entry), to the side of lower energy; returns the mode. Collective."""
    mode = lowest_modes(problem).shapes[0] if mode is None else mode
    before = problem.u.x.array.copy()
    energies = []
    for sign in (1.0, -1.0):
        problem.u.x.array[:] = before + sign * size * mode.x.array
        value = problem.energy()
        energies.append(value if np.isfinite(value) else np.inf)
    if not np.isfinite(min(energies)):
        problem.u.x.array[:] = before
        raise InvalidInputError(f"a kick of {size:g} turns elements inside out; take a smaller one.")
    sign = 1.0 if energies[0] <= energies[1] * (1.0 + np.sign(energies[1]) * 1e-12) else -1.0
    problem.u.x.array[:] = before + sign * size * mode.x.array
    return mode


def solve_to_minimum(problem: EnergyProblem, *, size: float, kicks: int = 5) -> int:
    """Solve; while the result is a saddle, kick along its lowest mode and solve again. Returns the kicks that it took.

    Raises:
        ConvergenceError: a solve failed, or it is a saddle still after so many kicks.
    """
    for done in range(kicks + 1):
        problem.solve()
        if is_stable(problem):
            return done
        if done < kicks:
            kick(problem, size)
    raise ConvergenceError(
        f"still {negative_eigenvalues(problem)} negative eigenvalues after {kicks} kicks of {size:g}; try larger ones."
    )


def _inner_product(V: fem.FunctionSpace, bcs: Sequence[fem.DirichletBC]) -> PETSc.Mat:
    """M, without the rows and columns where u is held."""
    x = V.mesh.geometry.x
    comm = V.mesh.comm
    low, high = (np.zeros(3) for _ in range(2))
    comm.Allreduce(x.min(axis=0) if len(x) else np.full(3, np.inf), low, MPI.MIN)
    comm.Allreduce(x.max(axis=0) if len(x) else np.full(3, -np.inf), high, MPI.MAX)
    length = float(np.linalg.norm(high - low))
    m, v = ufl.TrialFunction(V), ufl.TestFunction(V)
    form = fem.form((ufl.inner(ufl.grad(m), ufl.grad(v)) + ufl.inner(m, v) / length**2) * ufl.dx)
    M = dolfinx.fem.petsc.assemble_matrix(form, bcs=list(bcs), diag=0.0)
    M.assemble()
    M.setOption(PETSc.Mat.Option.SYMMETRIC, True)
    return M


def _shape(V: fem.FunctionSpace, x: PETSc.Vec) -> fem.Function:
    """A mode as a function, largest entry 1; its sign is that of the entry that is largest."""
    mode = fem.Function(V, name="mode")
    mode.x.array[: x.getLocalSize()] = x.array_r
    mode.x.scatter_forward()
    values = mode.x.array
    largest = float(values[np.abs(values).argmax()]) if len(values) else 0.0
    sizes = V.mesh.comm.allgather(largest)
    mode.x.array[:] /= max(sizes, key=abs)
    return mode
