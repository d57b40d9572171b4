"""Minimum-energy paths between wells: which saddles are on the way, and how high it is.

A minimum-energy path x(s) has no slope across its tangent t,

    (I - t t^T) grad Psi(x(s)) = 0,

so that it consists of descents from saddles. The string method finds which saddles lie on the path: a chain of images relaxes
across its tangent while it is spaced evenly (W. E, W. Ren, E. Vanden-Eijnden, J. Chem. Phys. 126, 164103 (2007); tangents from
the higher neighbour: G. Henkelman, H. Jonsson, J. Chem. Phys. 113, 9978 (2000)). Newton's method then finds the saddle near
each maximum along the string, and the path is made of the descents from there: it is as exact as they are, however coarse the
string.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from lse_material._arrays import Array, expect_shape, float_array, frozen, points, whole_number
from lse_material.analysis.descent import Pass, descend, descents, downhill, is_at, metric_of
from lse_material.analysis.stationary import StationaryPoint, described, stationary_point
from lse_material.errors import ConvergenceError, InvalidInputError
from lse_material.model.soft_minimum import SoftMinimum

STRING = 600  # steps of a string
STRAIGHT = 0.01  # slope across it that is none, as a share of the largest slope on it
COURANT = 0.5  # step of an image, as a share of the distance to the next one
STRINGS = 12  # between two wells, at most


@dataclass(frozen=True, eq=False)
class MinimumEnergyPath:
    """A minimum-energy path from one well to another.

    Attributes:
        x: points (m, d); the wells and saddles are among them.
        energy: there, (m,).
        saddles: on the way, in order.
        wells: from the first end to the last, in order; one more than saddles.

    >>> path = lse.analysis.minimum_energy_path(material.potential, [0.05, -0.05, 0.0], [-0.05, 0.05, 0.0])
    >>> len(path.wells), len(path.saddles)
    (2, 1)
    """

    x: Array
    energy: Array
    saddles: tuple[StationaryPoint, ...]
    wells: tuple[StationaryPoint, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "x", frozen(float_array("x", self.x, 2)))
        object.__setattr__(self, "energy", frozen(float_array("energy", self.energy, 1)))
        expect_shape("energy", self.energy, self.x.shape[:1])
        if len(self.wells) != len(self.saddles) + 1:
            raise InvalidInputError(f"{len(self.wells)} wells and {len(self.saddles)} saddles do not make a path.")

    @cached_property
    def length(self) -> Array:
        """Way from the first end to each point, (m,)."""
        return _arc(self.x)

    @property
    def saddle(self) -> StationaryPoint:
        """The highest one."""
        return max(self.saddles, key=lambda s: s.energy)

    @property
    def barrier(self) -> float:
        """Energy from the first well up to the highest saddle."""
        return self.saddle.energy - self.wells[0].energy

    @property
    def reverse_barrier(self) -> float:
        """Energy from the last well up to the highest saddle."""
        return self.saddle.energy - self.wells[-1].energy


def minimum_energy_path(
    potential: SoftMinimum,
    a: StationaryPoint | Any,
    b: StationaryPoint | Any,
    *,
    images: int = 31,
    through: Any = None,
    scale: Any = None,
) -> MinimumEnergyPath:
    """The way from well a to well b over the lowest of the saddles that strings between them show.

    Args:
        potential: any soft minimum.
        a: a well, or a point (d,): the well that it flows to.
        b: another.
        images: points of a string, which starts as a straight line.
        through: points (m, d) that it passes instead in this order: several paths may join the same wells.
        scale: (d,), lengths that inputs of different units are divided by before directions are measured. Saddles and
            barriers do not depend on it, the way between them does; 1 if left out.

    Raises:
        InvalidInputError: a and b are the same well, fewer than 5 images, or arrays of another length.
        ConvergenceError: a or b flow to no well, or no chain of saddles was found between them.

    >>> a, b = lse.analysis.wells(material.potential)
    >>> path = lse.analysis.minimum_energy_path(material.potential, a, b)
    >>> round(path.barrier, 5)  # 0.005 of the sharp ridge - rho ln 2
    0.00431
    """
    whole_number("images", images, 5)
    scale = metric_of(potential, scale)
    ends = [_well(potential, name, value, scale) for name, value in (("a", a), ("b", b))]
    if is_at(potential, ends[0].x, ends[1]):
        raise InvalidInputError(f"a and b are the same well, at {ends[0].x.tolist()}: there is no path between them.")
    led = np.zeros((0, potential.size)) if through is None else points("through", through, potential.size)
    graph = Graph(potential, list(ends))
    pair, tried = (0, 1), set[tuple[int, int]]()
    for _ in range(STRINGS):
        u, v = (graph.wells[k].x for k in pair)
        knots = np.concatenate([u[None], led.reshape(-1, potential.size), v[None]])
        guess = _spread(knots / scale, images)
        for string in (_string(potential, guess, scale), guess):
            for crest in _crests(potential, string * scale):
                graph.add(crest, scale)
        tried.add(pair)
        led = np.zeros((0, potential.size))
        chain = graph.chain(0, 1)
        if chain:
            return _joined(potential, chain)
        left = graph.open_pairs(0, tried)
        if not left:
            break
        pair = left[0]
    raise ConvergenceError(
        f"no chain of saddles was found from {ends[0].x.tolist()} to {ends[1].x.tolist()}. Lead the string by `through`."
    )


def barrier(potential: SoftMinimum, a: StationaryPoint | Any, b: StationaryPoint | Any) -> float:
    """Energy from well a up to the highest saddle on the way to well b. Arguments and errors as `minimum_energy_path`.

    >>> round(lse.analysis.barrier(material.potential, [0.05, -0.05, 0.0], [-0.05, 0.05, 0.0]), 5)
    0.00431
    """
    return minimum_energy_path(potential, a, b).barrier


class Graph:
    """Wells, and the passes that join them."""

    def __init__(self, potential: SoftMinimum, wells: Sequence[StationaryPoint]) -> None:
        self.potential, self.wells = potential, list(wells)
        self.passes: list[tuple[int, int, Pass]] = []

    def add(self, saddle: StationaryPoint, scale: Array | None = None) -> None:
        """Follow the descents from a saddle; wells that are new are added. A saddle that leads to no well is left out."""
        if any(is_at(self.potential, saddle.x, known.saddle) for _, _, known in self.passes):
            return
        for metric in (scale, self.potential.input_scale):  # the ways depend on it, and their ends hardly
            with contextlib.suppress(ConvergenceError):
                found = descents(self.potential, saddle, scale=metric)
                self.passes.append((*(self._number(well) for well in found.wells), found))  # type: ignore[arg-type]
                return

    def _number(self, well: StationaryPoint) -> int:
        for k, known in enumerate(self.wells):
            if is_at(self.potential, well.x, known):
                return k
        self.wells.append(well)
        return len(self.wells) - 1

    def chain(self, a: int, b: int) -> list[tuple[Pass, bool]]:
        """Passes from a to b whose highest saddle is lowest, each with whether it is gone backwards; empty without any."""
        level = sorted(self.passes, key=lambda entry: entry[2].saddle.energy)
        for count in range(1, len(level) + 1):
            reached: dict[int, list[tuple[Pass, bool]]] = {a: []}
            grown = True
            while grown:
                grown = False
                for i, j, each in level[:count]:
                    for start, end, backwards in ((i, j, False), (j, i, True)):
                        if start in reached and end not in reached:
                            reached[end], grown = [*reached[start], (each, backwards)], True
            if b in reached:
                return reached[b]
        return []

    def open_pairs(self, a: int, tried: set[tuple[int, int]]) -> list[tuple[int, int]]:
        """Pairs of a well that is reached from a and one that is not, not yet tried, the nearest first."""
        inside = [k for k in range(len(self.wells)) if k == a or self.chain(a, k)]
        pairs = [(i, j) for i in inside for j in range(len(self.wells)) if j not in inside and (i, j) not in tried]

        def apart(pair: tuple[int, int]) -> float:
            away = self.wells[pair[0]].x - self.wells[pair[1]].x
            return float(np.linalg.norm(away / self.potential.input_scale))

        return sorted(pairs, key=apart)


def _well(potential: SoftMinimum, name: str, value: StationaryPoint | Any, scale: Array) -> StationaryPoint:
    x = float_array(name, value.x if isinstance(value, StationaryPoint) else value, 1)
    expect_shape(name, x, (potential.size,))
    if isinstance(value, StationaryPoint) and value.index == 0:
        return value
    end, rest = descend(potential, x[None], scale=scale)
    well = described(potential, end[0])
    if not rest[0] or well.index != 0:
        raise ConvergenceError(f"{name} = {x.tolist()} flows to no well.")
    return well


def _string(potential: SoftMinimum, y: Array, scale: Array) -> Array:
    """Move a string of images y = x/scale towards a minimum-energy path."""
    for _ in range(STRING):
        values = potential.evaluate(y * scale)
        tangent = _tangents(y, values.energy)
        slope = (values.gradient * scale)[1:-1]
        along = (slope * tangent).sum(axis=1, keepdims=True) * tangent
        if np.linalg.norm(slope - along, axis=1).max() <= STRAIGHT * np.linalg.norm(slope, axis=1).max():
            break
        arc = _arc(y)
        spacing = arc[-1] / (len(y) - 1)
        # implicit in the curvature across, explicit along: slopes are carried from image to image along the string
        rate = np.maximum(np.linalg.norm(slope, axis=1) / (COURANT * spacing), 1e-300)  # an image may be at a saddle
        across = slope - along
        step = downhill(across, (values.hessian * np.outer(scale, scale))[1:-1], np.linalg.norm(across, axis=1) / rate)
        step -= (step * tangent).sum(axis=1, keepdims=True) * tangent
        away = np.linspace(0.0, arc[-1], len(y))[1:-1] - arc[1:-1]  # from equal distances
        y = y.copy()
        y[1:-1] += step + np.clip(away, -COURANT * spacing, COURANT * spacing)[:, None] * tangent
    return y


def _tangents(y: Array, energy: Array) -> Array:
    """Unit tangents at the inner images, from the higher neighbour; at crests and troughs from both, weighted."""
    before, after = y[1:-1] - y[:-2], y[2:] - y[1:-1]
    rise, fall = energy[2:] - energy[1:-1], energy[1:-1] - energy[:-2]
    most, least = np.maximum(np.abs(rise), np.abs(fall)), np.minimum(np.abs(rise), np.abs(fall))
    bent, higher = (rise > 0.0) != (fall > 0.0), energy[2:] > energy[:-2]
    ahead = np.where(bent, np.where(higher, most, least), rise > 0.0)
    behind = np.where(bent, np.where(higher, least, most), rise <= 0.0)
    tangent = ahead[:, None] * after + behind[:, None] * before
    result: Array = tangent / np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-300)
    return result


def _crests(potential: SoftMinimum, x: Array) -> list[StationaryPoint]:
    """The saddles that Newton's method finds from the local maxima along a string (m, d)."""
    energy = potential.energy(x)
    inner = np.arange(1, len(x) - 1)
    tops = inner[(energy[inner] >= energy[inner - 1]) & (energy[inner] > energy[inner + 1])]
    if len(tops) == 0:  # the barrier is shorter than the distance of the images: look next to the higher end
        tops = np.array([1 if energy[0] > energy[-1] else len(x) - 2])
    radius = 0.3 * float(np.linalg.norm(np.diff(x, axis=0) / potential.input_scale, axis=1).max())
    found = (stationary_point(potential, x[i], 1, radius=radius) for i in tops)
    return [saddle for saddle in found if saddle is not None]


def _joined(potential: SoftMinimum, chain: list[tuple[Pass, bool]]) -> MinimumEnergyPath:
    """One path of the descents from the saddles of a chain."""
    parts: list[Array] = []
    wells: list[StationaryPoint] = []
    for each, backwards in chain:
        (first, second), ends = each.down, each.wells
        if backwards:
            first, second, ends = second, first, (ends[1], ends[0])
        parts += [first[::-1], second[1:]]
        wells += [ends[0]] if not wells else []
        wells.append(ends[1])
    x = np.concatenate(parts)
    keep = np.concatenate([[True], np.linalg.norm(np.diff(x, axis=0), axis=1) > 0.0])
    return MinimumEnergyPath(x[keep], potential.energy(x[keep]), tuple(each.saddle for each, _ in chain), tuple(wells))


def _arc(y: Array) -> Array:
    """Length of the polygon up to each of its points."""
    return np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(y, axis=0), axis=1))])


def _spread(y: Array, n: int) -> Array:
    """N points at equal distances along the polygon through y."""
    arc = _arc(y)
    at = np.linspace(0.0, arc[-1], n)
    return np.stack([np.interp(at, arc, column) for column in y.T], axis=1)
