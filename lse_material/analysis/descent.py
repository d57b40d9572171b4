"""Steepest descent: which well a point flows to, and the two ways down from a saddle.

    dx/dt = -grad Psi(x)

Steps are (I/tau + H+)^-1 slope, with the positive part H+ of the Hessian: stiff valleys cost nothing, and near a well they
become those of Newton's method. They are shortened where the energy is not what its quadratic model says.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lse_material._arrays import Array, float_array, points
from lse_material.analysis.stationary import SAME_POINT, StationaryPoint, described, in_one_valley, length
from lse_material.errors import ConvergenceError, InvalidInputError
from lse_material.model.soft_minimum import SoftMinimum, expect_potential

LONGEST = 0.02  # step, as a share of the landscape's length
SHORTEST = 1e-10  # step that counts as none
STEPS = 5000
AWAY = 10.0  # lengths from the start beyond which a point falls without end
ASIDE = 1e-4  # where a descent from a saddle begins, as a share of the length


@dataclass(frozen=True, eq=False)
class Pass:
    """A saddle and the two ways down from it.

    Attributes:
        saddle: of index 1.
        down: two polygons (m, d), each from the saddle to a well.
        wells: where they end.

    >>> way = lse.analysis.landscape(material.potential).passes[0]
    >>> way.saddle.index, [well.index for well in way.wells]
    (1, [0, 0])
    """

    saddle: StationaryPoint
    down: tuple[Array, Array]
    wells: tuple[StationaryPoint, StationaryPoint]


def descend(potential: SoftMinimum, x: Any, *, scale: Any = None) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Where the points x (n, d) flow to, (n, d), and whether they came to rest (n,).

    Args:
        potential: any soft minimum.
        x: points (n, d).
        scale: (d,), lengths that inputs of different units are divided by before directions are measured; 1 if left out.

    >>> ends, at_rest = lse.analysis.descend(material.potential, [[0.01, 0.0, 0.02]])
    >>> np.abs(ends).round(4), at_rest
    (array([[0.05, 0.05, 0.  ]]), array([ True]))
    """
    begin = float_array("x", points("x", x, expect_potential(potential).size).reshape(-1, potential.size))
    ends, rest, _ = _flow(potential, begin, metric_of(potential, scale))
    return ends, rest


def basins(
    potential: SoftMinimum, x: Any, wells: Sequence[StationaryPoint], *, scale: Any = None
) -> npt.NDArray[np.int64]:
    """Which well each of the points x (n, d) flows to: (n,), counted as `wells` are, -1 where it is none; `scale` as `descend`.

    >>> wells = lse.analysis.wells(material.potential)
    >>> ways = lse.analysis.basins(material.potential, [w.x for w in wells], wells)
    >>> ways.tolist()
    [0, 1]
    """
    ends, _ = descend(potential, x, scale=scale)
    result = np.full(len(ends), -1, dtype=np.int64)
    for k, well in enumerate(wells):
        result[[is_at(potential, end, well) for end in ends]] = k
    return result


def descents(potential: SoftMinimum, saddle: StationaryPoint, *, scale: Any = None) -> Pass:
    """The ways down from a saddle; `scale` as `descend`.

    Raises:
        ConvergenceError: one of them does not end at a well; the energy falls without bound there, say.

    >>> saddle = lse.analysis.saddles(material.potential)[0]
    >>> way = lse.analysis.descents(material.potential, saddle)
    >>> [np.abs(well.x).round(4).tolist() for well in way.wells]
    [[0.05, 0.05, 0.0], [0.05, 0.05, 0.0]]
    """
    metric = metric_of(potential, scale)
    hessian = potential.hessian(saddle.x) * np.outer(metric, metric)
    out = np.linalg.eigh(hessian)[1][:, 0] * metric
    out *= ASIDE * length(potential, None) / np.linalg.norm(out / potential.input_scale)
    ends, rest, ways = _flow(potential, saddle.x + np.array([out, -out]), metric)
    wells = [described(potential, end) for end in ends]
    if not rest.all() or any(well.index != 0 for well in wells):
        raise ConvergenceError(f"the way down from the saddle at {saddle.x.tolist()} ends at no well.")
    first, second = (np.concatenate([saddle.x[None], way]) for way in ways)
    return Pass(saddle, (first, second), (wells[0], wells[1]))


def is_at(potential: SoftMinimum, x: Array, point: StationaryPoint) -> bool:
    """Whether x is this stationary point, up to what a descent leaves open."""
    near = 100.0 * SAME_POINT * length(potential, None)
    close = bool(np.linalg.norm((x - point.x) / potential.input_scale) <= near)
    return close or (point.is_flat and in_one_valley(potential, point.x, x, near))


def _flow(potential: SoftMinimum, x: Array, scale: Array) -> tuple[Array, npt.NDArray[np.bool_], list[Array]]:
    """Ends (n, d), whether they are at rest (n,), and the ways as polygons."""
    span = length(potential, None) * float(np.linalg.norm(potential.input_scale / scale) / np.sqrt(len(scale)))
    x = x.copy()
    longest, rest = np.full(len(x), LONGEST * span), np.zeros(len(x), dtype=bool)
    ways = [[each.copy()] for each in x]
    lost = np.zeros(len(x), dtype=bool)
    start = x.copy()
    for _ in range(STEPS):
        at = np.flatnonzero(~rest & ~lost)
        if len(at) == 0:
            break
        here = potential.evaluate(x[at])
        step = downhill(here.gradient * scale, here.hessian * np.outer(scale, scale), longest[at])
        there = x[at] + scale * step
        model = here.hessian * np.outer(scale, scale)
        expected = ((here.gradient * scale + 0.5 * np.einsum("nij,nj->ni", model, step)) * step).sum(axis=1)
        rounding = 1e-13 * np.maximum(np.abs(here.energy), potential.energy_scale)
        energy = potential.energy(there)
        good = np.abs(energy - here.energy - expected) <= 0.25 * np.abs(expected) + rounding
        size = np.linalg.norm(step, axis=1)
        x[at[good]] = there[good]
        longest[at] = np.where(good, np.minimum(1.5 * longest[at], LONGEST * span), np.minimum(size, longest[at]) / 4.0)
        lost[at] = np.linalg.norm((x[at] - start[at]) / scale, axis=1) > AWAY * span
        rest[at] = good & (size <= SHORTEST * span)
        for i in at[good]:
            ways[i].append(x[i].copy())
    return x, rest, [np.array(way) for way in ways]


def downhill(slope: Array, hessian: Array, longest: Array) -> Array:
    """Steps (n, d) down slopes (n, d): tau of each is such that without curvature it would be `longest` (n,)."""
    curvature, vectors = np.linalg.eigh(hessian)
    rate = np.linalg.norm(slope, axis=1) / np.maximum(longest, 1e-300)  # 0 where both are 0
    floor = 1e-12 * np.abs(curvature).max(axis=1) + 1e-300
    stiff = np.maximum(curvature, 0.0) + np.maximum(rate, floor)[:, None]
    result: Array = -np.einsum("nij,nj->ni", vectors, np.einsum("nij,ni->nj", vectors, slope) / stiff)
    return result


def metric_of(potential: SoftMinimum, scale: Any) -> Array:
    """The lengths (d,) that inputs are divided by, checked; 1 if `scale` is None."""
    size = expect_potential(potential).size
    metric = np.ones(size) if scale is None else points("scale", scale, size)
    if metric.ndim != 1 or not (metric > 0.0).all() or not np.isfinite(metric).all():
        raise InvalidInputError(f"scale is {metric.tolist()}; it needs {size} numbers > 0.")
    return metric
