"""Samples for a fit from trajectories: the drift between two records is a noisy measurement of -grad Psi / gamma.

x(t + dt) - x(t) = -grad Psi dt / gamma + noise of variance 2 T dt / gamma per component
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from lse_material._arrays import Array, float_array, positive, whole_number
from lse_material.data.samples import Samples
from lse_material.errors import InvalidInputError

FEWEST = 2  # increments in a bin


@dataclass(frozen=True, eq=False)
class DriftData:
    """What trajectories say about the landscape.

    Attributes:
        samples: points with gradients -gamma <dx>/dt, each with the number of increments that it is the mean of as its weight;
            increments count by their duration.
        temperature: T, from the spread of the increments about their means.
        noise: standard deviation (n,) of each component of each gradient.
    """

    samples: Samples
    temperature: float
    noise: Array


def from_trajectories(
    x: Any, dt: float | None = None, *, times: Any = None, friction: float = 1.0, bins: int | None = None
) -> DriftData:
    """Gradients at the points that walkers passed, with the temperature of their noise.

    Args:
        x: records (m, n, d) of n walkers, m >= 2; (m, d) of a single one. NaN marks a record that is missing: a gap.
        dt: time between records, short against the relaxation in a well: the gradient must not change on the way.
        times: (m,) of the records, in the place of `dt` where the times between them differ.
        friction: gamma.
        bins: cells along each input in which increments are averaged; gradients are then given at the mean position. None
            keeps every increment as a row of its own.

    Raises:
        InvalidInputError: wrong shapes, times that do not increase, dt or friction not > 0, or too few increments.
    """
    array = float_array("x", x, finite=False)
    array = array[:, None] if array.ndim == 2 else array
    if array.ndim != 3 or len(array) < 2 or array.shape[2] == 0:
        raise InvalidInputError(f"x has shape {array.shape}; it needs (records, walkers, d), 2 records or more.")
    if np.isinf(array).any():
        raise InvalidInputError("x holds infinite values; NaN marks a record that is missing.")
    step = _steps(dt, times, len(array))
    friction = positive("friction", friction)
    d = array.shape[2]
    change = np.diff(array, axis=0)
    known = np.isfinite(change).all(axis=2)
    if not known.any():
        raise InvalidInputError("no two records follow each other without a gap: there are no increments.")
    place, increment, time = array[:-1][known], change[known], np.broadcast_to(step[:, None], known.shape)[known]
    if bins is None:
        temperature = _temperature_of_neighbours(change, step, friction)
        duration, mean = time, increment
    else:
        whole_number("bins", bins, 1)
        low, span = place.min(axis=0), np.ptp(place, axis=0)
        cell = np.minimum((bins * (place - low) / np.where(span > 0.0, span, 1.0)).astype(np.int64), bins - 1)
        _, which, number = np.unique(cell, axis=0, return_inverse=True, return_counts=True)
        which = which.ravel()
        duration, displacement, centre = (_sums(v, which, len(number)) for v in (time[:, None], increment, place))
        drift = displacement / duration
        enough = number >= FEWEST
        if not enough.any():
            raise InvalidInputError(f"no bin holds {FEWEST} increments: give fewer bins (now {bins}), or more records.")
        rest = ((increment - drift[which] * time[:, None]) ** 2 / time[:, None])[enough[which]]
        temperature = 0.5 * friction * float(rest.sum() / (d * (number[enough] - 1).sum()))
        place, mean, duration = (centre / number[:, None])[enough], displacement[enough], duration[enough, 0]
    samples = Samples(x=place, gradient=-friction * mean / duration[:, None], weight=duration / time.mean())
    return DriftData(samples, temperature, np.sqrt(2.0 * temperature * friction / duration))


def _steps(dt: float | None, times: Any, records: int) -> Array:
    """The time from each record to the next, (records - 1,)."""
    if (dt is None) == (times is None):
        raise InvalidInputError("give either dt, the time between records, or their times.")
    if dt is None:
        steps = np.diff(float_array("times", times, 1))
        if len(steps) != records - 1 or not (steps > 0.0).all():
            raise InvalidInputError(f"times must be {records} increasing numbers, one for each record.")
        return steps
    if np.ndim(dt):
        raise InvalidInputError(f"dt is {dt!r}; it is one number. Records at other times take `times`.")
    return np.full(records - 1, positive("dt", dt))


def _temperature_of_neighbours(change: Array, step: Array, friction: float) -> float:
    """T from increments that follow each other: both see nearly the same gradient, so that their velocities differ by noise."""
    velocity = change / step[:, None, None]
    if len(change) > 1:
        square = np.diff(velocity, axis=0) ** 2 / (1.0 / step[1:] + 1.0 / step[:-1])[:, None, None]
    else:
        walkers = int(np.isfinite(velocity).all(axis=2).sum())
        square = (velocity - np.nanmean(velocity, axis=1, keepdims=True)) ** 2 * step[:, None, None]
        square *= walkers / (walkers - 1.0) if walkers > 1 else np.nan  # one of them tells the mean
    if not np.isfinite(square).any():
        raise InvalidInputError("no three records follow each other without a gap: the noise is unknown. Give bins.")
    return 0.5 * friction * float(np.nanmean(square))


def _sums(values: Array, which: Any, size: int) -> Array:
    """Sums of values (n, d) over groups."""
    sums = np.zeros((size, values.shape[1]))
    np.add.at(sums, which, values)
    return sums
