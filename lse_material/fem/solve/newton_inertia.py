"""Newton's method on an energy, with a positive definite matrix in every step: slow, direct and robust.

MUMPS factors each tangent as L D L^T and counts its negative eigenvalues. If there are any, the first positive definite matrix
among those that the energy offers near the tangent replaces it. The step then lowers the energy, at a length that
`fem/solve/line_search.py` finds. J. Nocedal, S. Wright, Numerical Optimization, 2006, ch. 3.4. `newton` is the plain method,
which stays on its branch of equilibria, stable or not.
"""

from collections.abc import Generator
from contextlib import closing

import numpy as np
from petsc4py import PETSc

from lse_material.errors import ConvergenceError
from lse_material.fem._lifetime import temporary
from lse_material.fem.solve._energy import Energy
from lse_material.fem.solve.inertia import SymmetricFactor, with_raised_diagonal
from lse_material.fem.solve.line_search import armijo, set_along

MAX_ITERATIONS = 400
TANGENT_SHARES = (0.5, 0.0)  # of the tangent, blended with the frozen-weight tangent
DIAGONAL_SHARES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 2.0)  # of the absolute row sums, by which the diagonal is raised


def minimise(problem: Energy, iterations: int = MAX_ITERATIONS, multipliers: int = 0) -> int:
    """Minimise an energy from its present unknowns, which become the minimum; returns the iterations. Collective.

    So many unknowns are eliminated Lagrange `multipliers` (`EliminatedEnergy`). Raises ConvergenceError if it did not converge;
    the unknowns are then the last iterate.
    """
    energy = problem.value()
    with temporary(*(problem.x.duplicate() for _ in range(3))) as (residual, d, here):
        problem.residual(residual)
        norm = norm_of(residual)
        for iteration in range(iterations + 1):
            A = problem.tangent()
            if problem.is_converged(residual):
                return iteration
            if iteration == iterations:
                break
            plain = _positive_direction(problem, A, residual, d, multipliers)
            problem.iterate(here)
            length, energy, inverted = armijo(problem, here, d, energy, residual.dot(d))
            if length == 0.0 and plain:  # rounding hides the decrease; the residual still shows it
                set_along(problem, here, d, 1.0)
                problem.residual(residual)
                if norm_of(residual) < 0.5 * norm and np.isfinite(problem.value()):
                    energy, norm = problem.value(), norm_of(residual)
                    continue
                problem.set_iterate(here)
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
            norm = norm_of(residual)
    raise ConvergenceError(
        f"the minimiser ran out of its {iterations} iterations, residual norm {norm:.3e}: take smaller load steps.",
        iterations=iterations,
    )


def newton(problem: Energy, iterations: int) -> int:
    """Find an equilibrium, saddle or minimum, by Newton's method; steps are halved where the energy is not finite.

    Unknowns, result and error are those of `minimise`.
    """
    with temporary(*(problem.x.duplicate() for _ in range(3))) as (residual, d, here):
        for iteration in range(iterations):
            problem.residual(residual)
            A = problem.tangent()
            if problem.is_converged(residual):
                return iteration
            with SymmetricFactor(A.comm) as factor:
                factor.inertia(A)
                factor.solve(residual, d)
            d.scale(-1.0)
            problem.iterate(here)
            if armijo(problem, here, d, np.inf, 0.0)[0] == 0.0:
                raise ConvergenceError(
                    f"no step along Newton's direction has a finite energy after {iteration} iterations, residual norm "
                    f"{norm_of(residual):.3e}: take smaller load steps.",
                    iterations=iteration,
                )
        norm = norm_of(residual)
    raise ConvergenceError(
        f"Newton's method ran out of its {iterations} iterations, residual norm {norm:.3e}: take smaller load steps.",
        iterations=iterations,
    )


def perturb(problem: Energy, mode: PETSc.Vec, size: float, equal: float = 0.0) -> bool:
    """Move by `size` times +mode or -mode, to the side of lower energy; along +mode if both are equal. Collective.

    Two energies count as equal if they differ by less than `equal`, or by rounding. Returns False, with the unknowns unchanged,
    if the energy is not finite on either side.
    """
    energies = []
    with temporary(mode.duplicate()) as (here,):
        problem.iterate(here)
        for sign in (1.0, -1.0):
            set_along(problem, here, mode, sign * size)
            value = problem.value()
            energies.append(value if np.isfinite(value) else np.inf)
        if not np.isfinite(min(energies)):
            problem.set_iterate(here)
            return False
        forwards = energies[0] <= energies[1] * (1.0 + np.sign(energies[1]) * 1e-12) + equal
        set_along(problem, here, mode, size if forwards else -size)
    return True


def blended_and_raised(A: PETSc.Mat, P: PETSc.Mat | None) -> Generator[PETSc.Mat, None, None]:
    """C = t A + (1 - t) P for t = 1/2, 0, then C with its diagonal raised; C = A without P. C is destroyed at the end."""
    with temporary(A.copy()) as (C,):
        if P is not None:
            for share in TANGENT_SHARES:
                P.copy(C)
                C.scale(1.0 - share)
                C.axpy(share, A)
                yield C
        yield from with_raised_diagonal(C, DIAGONAL_SHARES)


def _positive_direction(problem: Energy, A: PETSc.Mat, residual: PETSc.Vec, d: PETSc.Vec, multipliers: int) -> bool:
    """Set d = -C^-1 residual, with C = A or the first positive definite matrix near it; returns whether C is A."""
    with SymmetricFactor(A.comm) as factor:
        plain = factor.is_positive(A, multipliers)
        if plain:
            factor.solve(residual, d)
        else:
            with closing(problem.positive_tangents()) as matrices:
                if not any(factor.is_positive(C, multipliers) for C in matrices):
                    raise ConvergenceError(
                        "no matrix near the tangent is positive definite: an entry of it is not finite."
                    )
                factor.solve(residual, d)
    d.scale(-1.0)
    return plain


def norm_of(b: PETSc.Vec) -> float:
    """The 2-norm of a vector; collective."""
    return float(b.norm(PETSc.NormType.NORM_2))  # type: ignore[arg-type]
