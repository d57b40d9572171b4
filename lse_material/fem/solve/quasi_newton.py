"""Quasi-Newton descent from a fixed preconditioner: cheap steps for as long as the tangent is indefinite.

Where boundaries between wells move, the tangent is indefinite over a hundred steps, and a new tangent with a new preconditioner
serves each step no better than the old ones. Limited-memory BFGS needs a gradient and one application of the preconditioner a
step, a tenth of the cost. It learns from the last steps how the energy curves. J. Nocedal, Math. Comp. 35, 773 (1980). The
preconditioner P^-1 is too stiff along the steps: with s the last step and y the change of the gradient, it is multiplied by
s.P s / s.y.

A step along which the energy curves down grows until it curves up (`fem/solve/line_search.py`), so the approximation stays
positive definite.
"""

from collections import deque
from collections.abc import Callable

import numpy as np
from petsc4py import PETSc

from lse_material.fem.solve.line_search import Operator, wolfe

MEMORY = 12  # steps that the approximation is made of
SCALES = (0.2, 5.0)  # of the preconditioner, at most
REMAINDER = 1e-4  # see `descend`

Pair = tuple[PETSc.Vec, PETSc.Vec, float]  # step, change of the gradient, 1 / their product
DESCENT_STEPS = 100  # at most, before another method has a turn


def descend(
    energy: Callable[[PETSc.Vec], float],  # at a vector, the same on every rank; not finite where there is none
    gradient: Operator,  # writes the derivative at the vector whose energy was evaluated last to another
    metric: Operator,  # applies P, a tangent or near one
    precondition: Operator,  # applies a positive definite matrix near the inverse of P
    x: PETSc.Vec,
    remainder: float = REMAINDER,  # share of the decrease so far; the descent ends where less is left to gain
    iterations: int = DESCENT_STEPS,  # at most
) -> int:
    """Lower the energy from x, which becomes the last iterate; returns the number of steps. Collective."""
    g, d, trial, new = (x.duplicate() for _ in range(4))
    pairs: deque[Pair] = deque()
    value = first = energy(x)
    gradient(x, g)
    try:
        for iteration in range(iterations):
            _direction(g, pairs, metric, precondition, d)
            derivative = g.dot(d)
            if not -0.5 * derivative > remainder * (first - value):
                return iteration
            length, value_there = wolfe(energy, gradient, x, d, value, derivative, trial, new)
            if length == 0.0:
                return iteration
            value = value_there
            _remember(pairs, x, trial, g, new)
            trial.copy(x)
            new.copy(g)
    finally:
        for vector in (g, d, trial, new, *(v for s, y, _ in pairs for v in (s, y))):
            vector.destroy()
    return iterations


def _direction(g: PETSc.Vec, pairs: deque[Pair], metric: Operator, precondition: Operator, d: PETSc.Vec) -> None:
    """d = -H g, where H is the preconditioner, scaled and corrected by the pairs."""
    q, shares = g.copy(), []
    for s, y, inverse in reversed(pairs):
        shares.append(inverse * s.dot(q))
        q.axpy(-shares[-1], y)
    precondition(q, d)
    if pairs:
        s, _, inverse = pairs[-1]
        metric(s, q)
        d.scale(float(np.clip(s.dot(q) * inverse, *SCALES)))
    q.destroy()
    for (s, y, inverse), share in zip(pairs, reversed(shares)):
        d.axpy(share - inverse * y.dot(d), s)
    d.scale(-1.0)


def _remember(pairs: deque[Pair], x: PETSc.Vec, trial: PETSc.Vec, g: PETSc.Vec, new: PETSc.Vec) -> None:
    """Add the step and the change of the gradient, and forget the oldest."""
    s, y = trial.copy(), new.copy()
    s.axpy(-1.0, x)
    y.axpy(-1.0, g)
    pairs.append((s, y, 1.0 / s.dot(y)))
    if len(pairs) > MEMORY:
        for vector in pairs.popleft()[:2]:
            vector.destroy()
