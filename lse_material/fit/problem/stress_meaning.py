"""What stresses may be if they were no P = dW/dF: another measure, transposed, or with a component of another sign or unit.

Two tests know P. Along a load path the energy changes by its work, W_j - W_i = (P_i + P_j) : (F_j - F_i) / 2, and what an
objective energy cannot give of it vanishes, as P F^T is symmetric. Where P fails one of them, what else the columns may be is
tried, and named if it leaves a third of the error or less.
"""

from collections.abc import Callable, Iterator

import numpy as np

from lse_material._arrays import Array, rms
from lse_material.data.stress_measures import SYMMETRIC, first_piola_kirchhoff
from lse_material.fit.problem.load_paths import FEW, LoadPaths, third_difference
from lse_material.fit.problem.rows import Index, missed_stress

EXPLAINS = 1.0 / 3.0  # share of the error that another meaning leaves, at most, where it explains the error
OF_NORMAL = (-1.0, 1e-3, 1e3, 1e-6, 1e6)  # factors of one component: its sign, prefixes of its unit
FACTORS = (*OF_NORMAL, 0.5, 2.0)  # of a shear, which may be that of engineers
ROTATED = 0.01  # share of the stress that no strain energy can give
WORK = 0.05  # share of the change of energy that is no work of the stresses, below which nothing is said
STRAIGHT = 0.7  # cosine of the angle between steps that follow each other, below which the path turns
MEASURES = {"sigma": "the Cauchy stress", "tau": "the Kirchhoff stress", "S": "the second Piola-Kirchhoff stress"}


def other_meanings(P: Array, F: Array) -> Iterator[tuple[str, Array]]:
    """What stresses (n, dim, dim) may be as a whole, in words, and P if they were."""
    for measure, name in MEASURES.items():
        yield f"they were {name}", first_piola_kirchhoff(measure, P, F)
    yield "they were P transposed", np.swapaxes(P, 1, 2)


def rotation_cause(P: Array, F: Array, derivative: Array) -> str:
    """A sentence on what stresses (n, dim, dim) are of which energies of inputs with dx/dF (n, d, q) do not give a part."""
    if np.abs(P - np.swapaxes(P, 1, 2)).max() <= SYMMETRIC * np.abs(P).max():
        return "They are symmetric, as Cauchy and second Piola-Kirchhoff stresses are: name them sigma or S."

    def missed(stress: Array) -> float:
        flat = stress.reshape(len(stress), -1)
        return rms(missed_stress(flat, derivative)) / (rms(flat) or 1.0)

    found = [(missed(other), words) for words, other in other_meanings(P, F)]
    for i, j in np.ndindex(P.shape[1:]):
        for factor in FACTORS if i != j else OF_NORMAL:
            scaled = P.copy()
            scaled[:, i, j] *= factor
            if factor != -1.0 and rms(scaled[:, i, j]) > rms(scaled):  # it would hide the others
                continue
            found.append((missed(scaled), _of_component(f"component {i + 1}{j + 1}", factor)))
    left, words = min(found)
    if left <= EXPLAINS * missed(P):
        return f"It would be symmetric if {words}."
    return "Is it P (first Piola-Kirchhoff), and not transposed?"


def work_warnings(paths: LoadPaths, F: Array | None) -> list[str]:
    """A sentence where energies change along the paths by more, or less, than the work of the stresses.

    The trapezoidal rule is wrong by W''' h^3 / 12, noise of W by 1.4 standard deviations. Third differences of W are W''' h^3,
    and 4.5 standard deviations of the noise: an error that is larger is neither.
    """
    y = paths.x if F is None else F.reshape(len(F), -1)
    g: Callable[[Index], Array] = paths.gradient if F is None else paths.stress
    at = _straight(paths.runs(3), y)
    if len(at) < FEW or g(at[:1]).shape[1] != y.shape[1]:
        return []
    way = y[at + 1] - y[at]
    change = (paths.energies(at + 1) - paths.energies(at))[:, 0]
    parts = 0.5 * (g(at) + g(at + 1)) * way
    curved = third_difference(paths.energies, at)[:, 0], (third_difference(g, at) * way).sum(axis=1)
    known = np.isfinite(change) & np.isfinite(parts).all(axis=1) & np.isfinite(curved).all(axis=0)
    at, change, parts = at[known], change[known], parts[known]
    if len(at) < FEW:
        return []
    error, size = rms(change - parts.sum(axis=1)), rms(change)
    if error <= max(WORK * size, sum(rms(each[known]) for each in curved)):
        return []
    found = [*_as_a_whole(paths, F, at, change), *_in_parts(change, parts, 0 if F is None else F.shape[-1])]
    left, words = min(found)
    cause = (
        words
        if left <= EXPLAINS * min(error, size)
        else "Do they belong together, and is P = dW/dF (with W per volume)?"
    )
    return [
        f"along the load paths energies change by other than the work of the stresses ({error / size:.0%} RMS). {cause}"
    ]


def _straight(at: Index, y: Array) -> Index:
    """Those rows from which three steps lead on without a turn."""
    steps = [y[at + k + 1] - y[at + k] for k in range(3)]
    sizes = [np.linalg.norm(step, axis=1) for step in steps]
    cosine = [(steps[k] * steps[k + 1]).sum(axis=1) - STRAIGHT * sizes[k] * sizes[k + 1] for k in (0, 1)]
    return at[np.min(cosine, axis=0) >= 0.0]


def _as_a_whole(paths: LoadPaths, F: Array | None, at: Index, change: Array) -> Iterator[tuple[float, str]]:
    """Errors of the work of the stresses as other measures, and what these are."""
    if F is None:
        return
    here, there = F[at], F[at + 1]
    first, last = (paths.stress(rows).reshape(here.shape) for rows in (at, at + 1))
    for (words, one), (_, other) in zip(other_meanings(first, here), other_meanings(last, there)):
        yield rms(change - 0.5 * ((one + other) * (there - here)).sum(axis=(1, 2))), f"It would be the work if {words}."


def _in_parts(change: Array, parts: Array, dim: int) -> Iterator[tuple[float, str]]:
    """Errors of the work times a number, and with one component times a likely one, and what these mean."""
    work = parts.sum(axis=1)
    factor = float(change @ work / ((work @ work) or 1.0))
    yield (
        rms(change - factor * work),
        f"They change by {factor:.3g} times the work: are the units of energies and stresses the same, and the signs?",
    )
    for k, part in enumerate(parts.T if len(parts.T) > 1 else ()):
        name = f"component {k // dim + 1}{k % dim + 1}" if dim else f"component {k + 1}"
        for factor in FACTORS if dim and k // dim != k % dim else OF_NORMAL:
            words = _of_component(f"{name} of stress or strain", factor)
            yield rms(change - work + (1.0 - factor) * part), f"It would be the work if {words}."


def _of_component(name: str, factor: float) -> str:
    if factor == -1.0:
        return f"{name} had the other sign"
    what = "a shear of engineers" if factor in (0.5, 2.0) else "another unit"
    return f"{name} counted {factor:g} times ({what})"
