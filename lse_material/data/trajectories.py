"""Samples for a fit from trajectories: the drift between two records is a noisy measurement of -grad Psi / gamma.

x(t + dt) - x(t) = -grad Psi dt / gamma + noise of variance 2 T dt / gamma per component
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lse_material._arrays import Array, float_array
from lse_material.data.samples import Samples
from lse_material.errors import InvalidInputError

FEWEST = 2  # increments in a bin


@dataclass(frozen=True, eq=False)
class DriftData:
    """What trajectories say about the landscape.

    Attributes:
        samples: points with gradients -gamma <dx>/dt and the number of increments that each is the mean of as its weight.
        temperature: T, from the spread of the increments about their means.
        noise: standard deviation (n,) of each component of each gradient.
    """

    samples: Samples
    temperature: float
    noise: Array


def from_trajectories(x: Any, dt: float, *, friction: float = 1.0, bins: int | None = None) -> DriftData:
    """Gradients at the points that walkers passed, with the temperature of their noise.

    Args:
        x: records (m, n, d) of n walkers, m >= 2, `dt` apart; (m, d) of a single one.
        dt: time between records, short against the relaxation in a well: the slope must not change on the way.
        friction: gamma.
        bins: cells along each input in which increments are averaged; gradients are then given at the mean position. None
            keeps every increment as a row of its own.

    Raises:
        InvalidInputError: wrong shapes, dt or friction not > 0, or no bin with at least 2 increments.
    """
    array = float_array("x", x)
    array = array[:, None] if array.ndim == 2 else array
    if array.ndim != 3 or len(array) < 2 or array.shape[2] == 0:
        raise InvalidInputError(
            f"x has shape {array.shape}; trajectories are (records, walkers, d), 2 records or more."
        )
    for name, value in (("dt", dt), ("friction", friction)):
        if not 0.0 < value < np.inf:
            raise InvalidInputError(f"{name} is {value!r}; it must be > 0 and finite.")
    d = array.shape[2]
    start, change = array[:-1].reshape(-1, d), np.diff(array, axis=0).reshape(-1, d)
    if bins is None:
        # neighbours in time see nearly the same slope: half the variance of the difference of their increments is that of one
        pairs = (
            np.diff(np.diff(array, axis=0), axis=0).reshape(-1, d) if len(array) > 2 else change - change.mean(axis=0)
        )
        variance = float((pairs**2).mean()) * (0.5 if len(array) > 2 else 1.0)
        count, place, mean = np.ones(len(start)), start, change
    else:
        if bins < 1:
            raise InvalidInputError(f"bins is {bins}; it must be at least 1.")
        low, span = start.min(axis=0), np.ptp(start, axis=0)
        cell = np.minimum((bins * (start - low) / np.where(span > 0.0, span, 1.0)).astype(np.int64), bins - 1)
        _, which, number = np.unique(cell, axis=0, return_inverse=True, return_counts=True)
        place, mean = (_means(values, which.ravel(), number) for values in (start, change))
        rest = change - mean[which.ravel()]
        kept = number >= FEWEST
        if not kept.any():
            raise InvalidInputError(f"no bin holds {FEWEST} increments: give fewer bins (now {bins}), or more records.")
        free = d * (number[kept] - 1).sum()
        variance = float((rest[kept[which.ravel()]] ** 2).sum() / free)
        count, place, mean = number[kept].astype(float), place[kept], mean[kept]
    samples = Samples(x=place, gradient=-friction * mean / dt, weight=count)
    return DriftData(samples, 0.5 * friction * variance / dt, friction / dt * np.sqrt(variance / count))


def _means(values: Array, which: Any, number: Any) -> Array:
    """Means of values (n, d) over groups."""
    sums = np.zeros((len(number), values.shape[1]))
    np.add.at(sums, which, values)
    result: Array = sums / number[:, None]
    return result
