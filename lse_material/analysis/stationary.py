"""Stationary points of a potential: its wells, and the saddles between them.

    grad Psi(x) = 0;    a well has no negative eigenvalue of Hess Psi, the saddle of a barrier has one.

Newton's method in the eigenvectors of the Hessian: along the `index` lowest of them a step goes uphill, along the others
downhill, whatever the signs of the curvatures are. A trust radius keeps steps where the quadratic model is true. The search
starts from the minima of the single modes: the wells of their soft minimum lie close to them. C. J. Cerjan, W. H. Miller,
J. Chem. Phys. 75, 2800 (1981). Lengths are measured in units of the potential's `input_scale`; inputs whose sizes differ by
more than 1e4 need it.
"""

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lse_material._arrays import Array, expect_shape, float_array, frozen, positive, whole_number
from lse_material.errors import InvalidInputError
from lse_material.model.box import Box
from lse_material.model.soft_minimum import SoftMinimum, expect_potential

NEWTON_STEPS = 300  # at most
NO_STEP = 1e-11  # Newton step, in lengths of the landscape (see `length`), that is none
SAME_POINT = 1e-5  # distance, in the same lengths, of two points that count as one
LEVEL = 1e-10  # difference of energies, as a share of their scale, that is none
NO_CURVATURE = 1e-9  # eigenvalue of the Hessian, as a share of the largest, that counts as 0
FIRST_RADIUS = 0.1  # trust radius of the first step, in the same lengths
FIRST_RADIUS_FROM_LINE = 0.02  # the same of a search from the line between two wells, as a share of their distance
STEP_OFF_SADDLE = 1e-3  # step, in the same lengths, off a stationary point of another index
LOST = 20.0  # distance from the middle of the starts, in the same lengths, beyond which a search is given up
REACHES = (1.0, 1e2, 1e4, 1e6, 1e8)  # of the searches for the minimum of one mode, in the size of the inputs
BOWL = 1e-6  # least curvature of a minimum far away, as a share of that at the start
CLOSE = 1e-6  # distance of modes' minima, in units of input_scale, that may be rounding
POINTS_BETWEEN_WELLS = 65  # on the line between two wells, on which a search for a saddle begins at the highest


@dataclass(frozen=True, eq=False)
class StationaryPoint:
    """A point where the gradient vanishes.

    Attributes:
        x: (d,).
        energy: W(x), energy units.
        gradient_norm: |dW/dx| that is left.
        eigenvalues: of d2W/dx2, (d,), ascending.
        inside: whether x lies in the box that the search was given; True without a box.

    >>> well = lse.analysis.wells(material.potential)[0]
    >>> well.index, well.eigenvalues.round(3)
    (0, array([2., 2., 4.]))
    """

    x: Array
    energy: float
    gradient_norm: float
    eigenvalues: Array
    inside: bool = True

    def __post_init__(self) -> None:
        for name in ("x", "eigenvalues"):
            object.__setattr__(self, name, frozen(float_array(name, getattr(self, name), 1)))
        expect_shape("eigenvalues", self.eigenvalues, self.x.shape)

    @property
    def is_flat(self) -> bool:
        """Whether the energy has no curvature in some direction."""
        return bool((np.abs(self.eigenvalues) <= NO_CURVATURE * np.abs(self.eigenvalues).max()).any())

    @property
    def index(self) -> int:
        """Number of directions in which the energy falls: 0 for a well, 1 for a saddle, d for a maximum."""
        return int((self.eigenvalues < -NO_CURVATURE * np.abs(self.eigenvalues).max()).sum())


def wells(
    potential: SoftMinimum, lower: object = None, upper: object = None, *, starts: int = 64, seed: int = 0
) -> tuple[StationaryPoint, ...]:
    """Minima of a potential, the lowest first. Where W is level along a straight line, its minima count as one.

    Args:
        potential: any soft minimum; the searches start at the minima of its modes.
        lower: lowest corner (d,) of a box: further searches start at random places in it, and `inside` tells which wells
            lie there. Outside the data a network's wells mean nothing.
        upper: its highest corner.
        starts: number of random places.
        seed: of these.

    Raises:
        InvalidInputError: a corner is missing or of another length, or the box is empty.

    >>> np.abs([well.x for well in lse.analysis.wells(material.potential)]).round(4)
    array([[0.05, 0.05, 0.  ],
           [0.05, 0.05, 0.  ]])
    """
    box = Box.of(lower, upper, expect_potential(potential).size)
    minima = mode_minima(potential, box)
    begin = minima if box is None else np.concatenate([minima, box.random(starts, seed)])
    return _points(potential, follow_eigenvectors(potential, begin, 0, length(potential, box)), 0, box)


def saddles(
    potential: SoftMinimum,
    lower: object = None,
    upper: object = None,
    *,
    between: Sequence[StationaryPoint] | None = None,
    index: int = 1,
    starts: int = 64,
    seed: int = 0,
) -> tuple[StationaryPoint, ...]:
    """Saddles of a potential, the lowest first.

    Args:
        potential: any soft minimum.
        lower: lowest corner (d,) of a box, as for `wells`.
        upper: its highest corner.
        between: wells; searches start at the highest point of the line between each two. Those of `wells` if left out.
        index: number of directions of descent; 1 for the passes between wells, d for maxima.
        starts: number of random places in the box where further searches start.
        seed: of these.

    Raises:
        InvalidInputError: index outside 1 .. d, or a box as it must not be.

    >>> [saddle.index for saddle in lse.analysis.saddles(material.potential)]
    [1]
    """
    box = Box.of(lower, upper, expect_potential(potential).size)
    _expect_index(potential, index, 1)
    found = wells(potential, lower, upper, starts=starts, seed=seed) if between is None else between
    span = length(potential, box)
    begin = [np.zeros((0, potential.size)), *([] if box is None else [box.random(starts, seed)])]
    radius = [FIRST_RADIUS * span] * sum(map(len, begin))
    share = np.linspace(0.0, 1.0, POINTS_BETWEEN_WELLS)[:, None]
    for a, b in itertools.combinations(found, 2):
        line = (1.0 - share) * a.x + share * b.x
        begin.append(line[[int(np.argmax(potential.energy(line)))]])
        radius.append(FIRST_RADIUS_FROM_LINE * float(np.linalg.norm((a.x - b.x) / potential.input_scale)))
    ends = follow_eigenvectors(potential, np.concatenate(begin), index, span, np.array(radius))
    return _points(potential, ends, index, box)


def stationary_point(
    potential: SoftMinimum, x: object, index: int, *, radius: float | None = None
) -> StationaryPoint | None:
    """The stationary point of this index that a search from x (d,) ends at, or None.

    `radius` bounds its first step, in units of input_scale.

    Raises:
        InvalidInputError: index outside 0 .. d, a radius that is not > 0, or x of another length.

    >>> lse.analysis.stationary_point(material.potential, [0.001, 0.0, 0.0], index=1).eigenvalues.round(2)
    array([-18.,   2.,   4.])
    """
    begin = float_array("x", x, 1)
    expect_shape("x", begin, (expect_potential(potential).size,))
    _expect_index(potential, index, 0)
    first = None if radius is None else positive("radius", radius)
    ends = follow_eigenvectors(potential, begin[None], index, length(potential, None), first)
    found = _points(potential, ends, index, None)
    return found[0] if found else None


def _expect_index(potential: SoftMinimum, index: int, least: int) -> None:
    if whole_number("index", index, least) > potential.size:
        raise InvalidInputError(
            f"index is {index}; a potential of {potential.size} inputs has {least} to {potential.size}."
        )


def mode_minima(potential: SoftMinimum, box: Box | None = None, span: float | None = None) -> Array:
    """Minima of the single modes, (m, d); a mode without one (an affine one, say) is left out, or clipped to the box.

    Without a box the search begins within `span`, in units of input_scale; their own size if left out.
    """
    result = []
    for k in range(len(potential.modes)):
        alone = potential.alone(k)
        if box is None:
            end = _minimum(alone, float(np.sqrt(potential.size)) if span is None else span)
            result += [] if end is None else [end]
        else:
            middle = 0.5 * (box.lower + box.upper)
            ends, _ = follow_eigenvectors(alone, middle[None], 0, length(potential, box))
            result.append(np.clip(ends[0], box.lower, box.upper))
    return np.array(result).reshape(-1, potential.size) if result else potential.input_shift[None].copy()


def _minimum(mode: SoftMinimum, span: float) -> Array | None:
    """Where a single mode is lowest, searched for farther and farther away: inputs may be hundreds of `input_scale`.

    Far away its curvature must be positive: a function that falls for ever also comes to rest, where it has no digits left.
    """
    for reach in REACHES:
        (end,), (done,) = follow_eigenvectors(mode, mode.input_shift[None], 0, reach * span)
        if done and reach > 1.0:
            scale = np.outer(mode.input_scale, mode.input_scale)
            first, last = (np.linalg.eigvalsh(mode.hessian(x) * scale) for x in (mode.input_shift, end))
            done = last[0] > NO_CURVATURE * last[-1] and last[-1] > BOWL * first[-1]
        if done:
            result: Array = end
            return result
    return None


def length(potential: SoftMinimum, box: Box | None) -> float:
    """How large the landscape is, in units of input_scale: the box's diagonal, or how far the modes' minima are apart."""
    if box is not None:
        return float(np.linalg.norm((box.upper - box.lower) / potential.input_scale))
    return _apart(potential)


def same_point(potential: SoftMinimum, box: Box | None) -> float:
    """Distance of two points that count as one, in units of input_scale: a box may be far larger than the landscape in it."""
    return SAME_POINT * min(length(potential, box), length(potential, None))


@functools.lru_cache(maxsize=16)
def _apart(potential: SoftMinimum) -> float:
    """How far the modes' minima are apart; it is asked for often."""
    apart = _spread(potential, mode_minima(potential))
    if 0.0 < apart < CLOSE:  # rounding, or a landscape that is so small: a search of that size finds it once more
        close = _spread(potential, mode_minima(potential, span=apart))
        apart = close if 0.5 * apart < close < 2.0 * apart else 0.0
    return apart or float(np.sqrt(potential.size))


def _spread(potential: SoftMinimum, minima: Array) -> float:
    scaled = minima / potential.input_scale
    return float(np.linalg.norm(scaled[:, None] - scaled[None], axis=-1).max())


def follow_eigenvectors(
    potential: SoftMinimum, x: Array, index: int, span: float, radius: Array | float | None = None
) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Search from each of x (n, d): where it ended (n, d), and whether at a stationary point of this index (n,).

    The search climbs along `index` lowest eigenvectors. `span` is the length of the landscape, in units of input_scale.
    `radius`, (n,), is that of the first steps, a tenth of `span` if left out; it grows to 3 times that at most.
    """
    scale = potential.input_scale
    x = x.copy()
    n = len(x)
    middle = x.mean(axis=0) if n else x.sum(axis=0)
    radius = np.full(n, FIRST_RADIUS * span) if radius is None else np.broadcast_to(radius, n).astype(float)
    longest = 3.0 * radius
    done, lost = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
    sign = np.where(np.arange(potential.size) < index, 1.0, -1.0)
    for _ in range(NEWTON_STEPS):
        at = np.flatnonzero(~done & ~lost)
        if len(at) == 0:
            break
        here = potential.evaluate(x[at])
        finite = np.isfinite(here.hessian).all(axis=(1, 2))
        if not finite.all():  # of an energy that has overflowed there are no eigenvectors
            lost[at[~finite]] = True
            continue
        curvature, vectors = np.linalg.eigh(here.hessian * np.outer(scale, scale))
        slope = np.einsum("nij,ni->nj", vectors, here.gradient * scale)
        least = np.maximum(NO_CURVATURE * np.abs(curvature).max(axis=1), 1e-300)[:, None]
        flat = np.linalg.norm(slope, axis=1, keepdims=True) / (1e6 * span)  # no overflow where there is no curvature
        along = sign * slope / np.maximum(np.abs(curvature), np.maximum(least, flat))
        size = np.linalg.norm(along, axis=1)
        still, right = size <= NO_STEP * span, (curvature < -least).sum(axis=1) == index
        done[at] = still & right
        along[still & ~right, 0] = STEP_OFF_SADDLE * span  # stationary, of another index (on a plane of symmetry, say)
        size = np.linalg.norm(along, axis=1)
        along *= np.minimum(1.0, radius[at] / np.maximum(size, 1e-300))[:, None]
        there = x[at] + scale * np.einsum("nij,nj->ni", vectors, along)
        expected = (slope * along + 0.5 * curvature * along**2).sum(axis=1)
        energy = potential.energy(there)
        rounding = 1e-13 * np.maximum(np.abs(energy), potential.energy_scale)
        error = np.abs(energy - here.energy - expected)
        good = error <= 0.5 * np.abs(expected) + rounding
        fine = error <= 0.1 * np.abs(expected) + rounding
        radius[at] = np.where(good, np.where(fine, np.minimum(2.0 * radius[at], longest[at]), radius[at]),
                              0.25 * np.minimum(size, radius[at]))  # fmt: skip
        x[at[good]] = there[good]
        lost[at] = ~(np.linalg.norm((x[at] - middle) / scale, axis=1) <= LOST * span)
    return x, done


def in_one_valley(potential: SoftMinimum, x: Array, y: Array, near: float) -> bool:
    """Whether x and y (d,), stationary points, lie on one straight line along which the energy is level, to `near`."""
    scale = potential.input_scale
    curvature, vectors = np.linalg.eigh(potential.hessian(x[None])[0] * np.outer(scale, scale))
    stiff = np.abs(curvature) > NO_CURVATURE * np.abs(curvature).max()
    if stiff.all() or np.linalg.norm((((x - y) / scale) @ vectors)[stiff]) > near:
        return False
    energy = potential.energy(np.stack([x, 0.5 * (x + y), y]))
    return bool(np.ptp(energy) <= LEVEL * max(np.abs(energy).max(), potential.energy_scale))


def described(potential: SoftMinimum, x: Array, box: Box | None = None) -> StationaryPoint:
    """What is at x (d,)."""
    values = potential.evaluate(x[None])
    norm = float(np.linalg.norm(values.gradient[0]))
    inside = box is None or bool(box.holds(x))
    return StationaryPoint(x, float(values.energy[0]), norm, np.linalg.eigvalsh(values.hessian[0]), inside)


def _points(
    potential: SoftMinimum, ends: tuple[Array, npt.NDArray[np.bool_]], index: int, box: Box | None
) -> tuple[StationaryPoint, ...]:
    """The different ones among the ends of searches, by energy."""
    x, done = ends
    same = same_point(potential, box)
    kept: list[Array] = []
    for each in x[done] if box is None else potential.wrapped(x[done], box.lower):
        apart = np.linalg.norm((each - np.reshape(kept, (-1, len(each)))) / potential.input_scale, axis=1) > same
        if apart.all() and not any(in_one_valley(potential, each, other, same) for other in kept):
            kept.append(each)
    found = [described(potential, each, box) for each in kept]
    return tuple(sorted((p for p in found if p.index == index), key=lambda p: p.energy))
