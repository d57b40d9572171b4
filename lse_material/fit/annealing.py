"""Particles that are annealed from a box to a target: points where p matters, in all of its modes.

They follow p^b with b from 0 to 1 (P. Del Moral, A. Doucet, A. Jasra, J. R. Stat. Soc. B 68, 411 (2006)): weighted by the
change of p^b, drawn anew, and moved by Langevin steps that leave p^b as it is.
"""

from collections.abc import Callable

import numpy as np
import torch
from scipy.cluster.hierarchy import linkage
from torch import Tensor

from lse_material._arrays import Array
from lse_material.analysis.density import mala, summed, systematic
from lse_material.errors import ConvergenceError, InvalidInputError
from lse_material.fit.options import Inference
from lse_material.fit.session import Session, default_device, made_on
from lse_material.model.box import Box

GAP = 3.0  # ratio of successive links between points above which they part groups
RUNAWAY = 1000.0  # half widths of the box, beyond which most particles have left it for good
MOST_TEMPERATURES = 1000  # of an annealing; some 100 find peaks of a millionth of the box
# of differences, in units of the box, of which the best counts at each point
STEPS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
GRADIENT_ERROR = 0.2  # median relative error of a gradient against them, above which it belongs to another function
COINCIDE = 1e-6  # spread of particles along an input, in units of the box, below which they count as one point

Target = Callable[[Tensor], Tensor]


class Counted:
    """A target in NumPy: energies -ln p and their gradients, counted. Its argument is on torch's default device."""

    def __init__(self, target: Target, size: int) -> None:
        self.target, self.size, self.evaluations, self.device = target, size, 0, default_device()

    def __call__(self, x: Array) -> tuple[Array, Array]:
        """Energies (n,) and gradients (n, d) at x (n, d).

        Raises InvalidInputError: the target gives another shape, a NaN, or +inf.
        """
        with made_on(self.device):
            t = torch.tensor(x, dtype=torch.float64, requires_grad=True)
            log_p = self.target(t.clone())  # which it may change in place
        if not isinstance(log_p, Tensor) or log_p.shape != (len(x),) or log_p.is_complex():
            found = f"a {type(log_p).__name__} of {getattr(log_p, 'dtype', '')} of shape {tuple(getattr(log_p, 'shape', ()))}"
            raise InvalidInputError(
                f"the target returned {found} for points {x.shape}; it must return a real Tensor of shape ({len(x)},)."
            )
        if not log_p.requires_grad:
            raise InvalidInputError("the target has no gradient: it must be made of torch operations on its argument.")
        (score,) = torch.autograd.grad(log_p.sum(), t)
        self.evaluations += len(x)
        energy, gradient = -log_p.detach().cpu().double().numpy(), -score.cpu().numpy()
        if np.isnan(energy).any():
            row = int(np.argmax(np.isnan(energy)))
            raise InvalidInputError(f"the target is NaN at {x[row].tolist()}; outside its support let it be -inf.")
        if np.isneginf(energy).any():
            row = int(np.argmin(energy))
            raise InvalidInputError(f"the target is +inf at {x[row].tolist()}: exp of it has no finite integral.")
        return energy, np.where(np.isfinite(gradient), gradient, 0.0)


def annealed(target: Counted, box: Box, inference: Inference, rng: np.random.Generator, session: Session) -> Array:
    """Points where p matters and around: particles at p, and those that were at p^b with b >= 1/4 on the way."""
    n = inference.particles
    x = rng.uniform(box.lower, box.upper, (n, target.size))
    power, kept, size = 0.0, [], None
    energy, _ = target(x)
    if np.isposinf(energy).all():
        raise InvalidInputError(
            f"the target is -inf at all {n} points of the box from {box.lower.tolist()} to {box.upper.tolist()}: give a box "
            "that its support fills better, or more Inference.particles."
        )
    if (energy == energy[0]).all():
        raise InvalidInputError(
            f"the target is {0.0 - energy[0]:g} at all {n} points of the box: a constant has no finite integral. Let it fall "
            "off outside its support."
        )
    expect_gradient(target, x, box.upper - box.lower)
    half, centre = 0.5 * (box.upper - box.lower), 0.5 * (box.upper + box.lower)
    for _ in range(MOST_TEMPERATURES):
        if power >= 1.0:
            break
        session.expect_time()
        step = _step(energy, 1.0 - power, inference.even)
        power += step
        weights = summed(-step * energy)[2]
        x = x[systematic(weights, n, rng)]

        def tempered(y: Array, power: float = power) -> tuple[Array, Array]:
            value, gradient = target(y)
            return power * value, power * gradient

        scale = np.maximum(x.std(axis=0), COINCIDE * (box.upper - box.lower))
        x, size = mala(tempered, x, inference.moves, rng, scale=scale, step=size)
        if not (np.median(np.abs(x - centre) / half, axis=0) <= RUNAWAY).all():
            raise ConvergenceError(
                f"half of the particles are more than {RUNAWAY:g} half widths away from the box, where the target is larger "
                "still: exp of it has no finite integral, or the box is far from where it has one."
            )
        energy, _ = target(x)
        if power >= 0.25:
            kept.append(x)
    else:
        raise ConvergenceError(
            f"{MOST_TEMPERATURES} temperatures did not bring the particles to the target: it has no finite integral, or peaks "
            "that are too narrow for the box."
        )
    return np.concatenate([kept[-1], *(part[:: len(kept)] for part in kept[:-1])])


def expect_gradient(target: Counted, x: Array, width: Array) -> None:
    """Compare gradients of the target with its differences along random directions, at 100 of the points x (n, d) at most.

    Raises InvalidInputError: they belong to another function: a part is detached, or a backward written by hand is wrong.
    """
    energy, gradient = target(x[:100])
    direction = width * np.random.default_rng(0).normal(size=gradient.shape)
    wanted, errors = (gradient * direction).sum(axis=1), []
    with np.errstate(invalid="ignore"):
        for step in STEPS:
            after, before = (target(x[:100] + sign * step * direction)[0] for sign in (1.0, -1.0))
            found = (after - before) / (2.0 * step)
            errors.append(np.abs(found - wanted) / np.maximum(np.abs(found), np.abs(wanted)))
    known = np.isfinite(energy) & np.isfinite(errors).any(axis=0)
    error = np.median(np.nanmin(np.array(errors)[:, known], axis=0)) if known.any() else 0.0
    if error > GRADIENT_ERROR:
        raise InvalidInputError(
            f"the gradient of the target differs from its differences by {error:.0%} in the median of {known.sum()} points: is "
            "a part of its argument detached, or a backward written by hand wrong?"
        )


def _step(energy: Array, most: float, even: float) -> float:
    """How much the power may grow until the weights' effective share falls to `even`, by bisection."""

    def share(step: float) -> float:
        weights = summed(-step * energy)[2]
        return float(1.0 / (weights**2).sum() / len(weights))

    if share(most) >= even:
        return most
    low, high = 0.0, most
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if share(middle) >= even else (low, middle)
    return max(low, 2.0**-40)


def separate_places(x: Array) -> int:
    """How many groups points (n, d) form: single linkage, cut where the next gap is `GAP` times as wide; 1 if none is."""
    some = x[:: max(len(x) // 1000, 1)]
    gaps = linkage(some / np.maximum(some.std(axis=0), np.finfo(float).tiny), "single")[:, 2]
    wider = gaps[1:] / np.maximum(gaps[:-1], np.finfo(float).tiny)
    top = len(wider) - len(wider) // 5  # links within a group are many; those between groups come last
    last = top + int(np.argmax(wider[top:]))
    return len(some) - 1 - last if wider[last] > GAP else 1
