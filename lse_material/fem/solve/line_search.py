"""Line searches: the length of a step along a direction in which an energy falls.

With the energy W and its derivative W' < 0 along the step d, both at the start, a length t is taken

    if W(x + t d) <= W + c1 t W'                                  (Armijo),
    and the derivative along d there is at least c2 W'            (weak Wolfe conditions, with it)

Newton's step is right in length where the energy is nearly quadratic, so it is only halved. A quasi-Newton step also grows, by
doubling and bisection: A. S. Lewis, M. L. Overton, Math. Program. 141, 135 (2013). Both judge by the energy: the residual must
rise on the way from one well to the next.
"""

from collections.abc import Callable

import numpy as np
from petsc4py import PETSc

from lse_material.fem._lifetime import temporary
from lse_material.fem.solve._energy import Energy

ARMIJO = 1e-4  # c1
CURVATURE = 0.9  # c2
SHORTEST_STEP = 1e-8  # of Newton's step
ENERGY_ROUNDING = 1e-13  # relative change of the energy that rounding hides
SCALE_ROUNDING = 1e-15  # the same, of `energy_scale`
TRIALS = 30  # of a quasi-Newton length
SHORTER = (0.1, 0.5)  # share of a length whose energy is too high that is tried next

Operator = Callable[[PETSc.Vec, PETSc.Vec], None]  # writes a product with the first vector to the second


def armijo(problem: Energy, here: PETSc.Vec, d: PETSc.Vec, energy: float, slope: float) -> tuple[float, float, bool]:
    """Halve the step along d until the energy is lower.

    Returns the length of the step, 0 if no length lowers the energy (the unknowns are then unchanged); the energy; and whether
    a longer step turned a cell inside out.
    """
    length, inverted, hidden = 1.0, False, ENERGY_ROUNDING * abs(energy) + SCALE_ROUNDING * problem.energy_scale
    while length > SHORTEST_STEP:
        set_along(problem, here, d, length)
        new = problem.value()
        if np.isfinite(new) and new <= energy + ARMIJO * length * slope + hidden:
            return length, new, inverted
        inverted = inverted or not np.isfinite(new)
        if length == 1.0 and np.isfinite(new) and np.isfinite(energy):
            rounding = _rounding(problem, here, d, energy, slope)
            if rounding > max(abs(slope), abs(new - energy)):  # it hides the whole decrease
                set_along(problem, here, d, length)
                return length, new, inverted
        length *= 0.5
    problem.set_iterate(here)
    return 0.0, energy, inverted


def _rounding(problem: Energy, here: PETSc.Vec, d: PETSc.Vec, energy: float, slope: float) -> float:
    """What rounding makes of an energy: how far it is off its slope along steps that are too short to bend it."""
    off = []
    for length in (1e-4, 2e-4, 3e-4):
        set_along(problem, here, d, length)
        off.append(abs(problem.value() - energy - length * slope))
    return 3.0 * float(np.max(off))


def set_along(problem: Energy, here: PETSc.Vec, d: PETSc.Vec, length: float) -> None:
    """Set the unknowns to here + length d."""
    with temporary(here.duplicate()) as (there,):
        there.array[:] = here.array_r + length * d.array_r
        problem.set_iterate(there)


def wolfe(
    energy: Callable[[PETSc.Vec], float],  # at a vector, the same on every rank; not finite where there is none
    gradient: Operator,  # writes the derivative at the vector whose energy was evaluated last to another
    x: PETSc.Vec,
    d: PETSc.Vec,
    value: float,  # of the energy at x
    derivative: float,  # along d at x; negative
    trial: PETSc.Vec,  # becomes x + length d
    new: PETSc.Vec,  # becomes the gradient there
) -> tuple[float, float]:
    """Double and bisect the step d from x until the weak Wolfe conditions hold; collective.

    Returns the length, 0 if none was found, and the energy there.
    """
    shortest, longest, length = 0.0, np.inf, 1.0
    for _ in range(TRIALS):
        trial.waxpy(length, d, x)
        there = energy(trial)
        if not (np.isfinite(there) and there <= value + ARMIJO * length * derivative):
            longest = length
            if np.isfinite(there) and shortest == 0.0:  # the minimum of a parabola
                share = -0.5 * derivative * length / (there - value - derivative * length)
                length *= float(np.clip(share, *SHORTER))
                continue
        else:
            gradient(trial, new)
            if new.dot(d) >= CURVATURE * derivative:
                return length, there
            shortest = length
        length = 0.5 * (shortest + longest) if np.isfinite(longest) else 2.0 * length
    return 0.0, value
