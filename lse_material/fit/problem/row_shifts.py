"""Columns that come from other rows, and loading that differs from unloading: what the order of the rows tells of them.

Over a step from one row to the next the energy changes by the work of the stresses, W_j - W_i = (g_i + g_j) . (x_j - x_i) / 2
up to the third power of the step. Where one column comes from the row before, the error is of the second power. Where a path
comes back to a strain, or crosses another path, a potential has the stresses that it had there: those of a row are compared
with what lies between two rows of the other pass. And P F^T is symmetric. All three errors fall if the column is moved back.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from lse_material._arrays import Array, rms
from lse_material.fit.problem.load_paths import FEW, ROWS, ZERO, LoadPaths, crossings_of, spread_of_gradients
from lse_material.fit.problem.rows import Index, missed_stress, some_of
from lse_material.fit.problem.stress_meaning import ROTATED

SHIFTS = (-1, 1, -2, 2)  # rows by which a column may be moved
EXPLAINS = 1.0 / 3.0  # share of the error that a move leaves, at most, where it explains the error
OUTLIERS = 0.05  # share of the rows, those most in error, that do not count
DIFFER = 0.05  # difference of stresses from pass to pass that is none, as a share of their spread
LEAST = 3e-3  # the same, of which no move of a column is thought
NOISES = 4.0  # the same in units of the noise, which second differences along the paths show


def path_errors(paths: LoadPaths) -> list[str]:
    """A sentence where a column comes from other rows, or stresses differ from pass to pass."""
    if len(paths.rows.stress) == 0:
        return []
    crossings = crossings_of(paths)
    return _shifted(paths, crossings) or _from_pass_to_pass(paths, crossings)


def _shifted(paths: LoadPaths, crossings: tuple[Index, Index, Array]) -> list[str]:
    """Errors of energies, at crossings and of rotation as the table is, and with a column from other rows."""
    steps = paths.runs()
    tests: list[tuple[str, Callable[[int], Array]]] = [
        (what, partial(_work_errors, paths, steps, what)) for what in ("stresses", "strains", "energies")
    ]
    as_is = _pass_errors(paths, crossings, 0)
    met = as_is[np.isfinite(as_is).all(axis=1)]
    if len(met) and rms(met) > LEAST * spread_of_gradients(paths):
        tests.append(("stresses", partial(_pass_errors, paths, crossings)))
    if rms(_rotation_errors(paths, 0)) > ROTATED * rms(paths.rows.stress):
        tests.append(("stresses", partial(_rotation_errors, paths)))
    found = []
    for what, error in tests:
        as_is = error(0)
        found += [(_shares(as_is, error(shift)), what, shift) for shift in SHIFTS]
    likely = [(of_all, what, shift) for (without, of_all), what, shift in found if without <= EXPLAINS]
    if not likely:
        return _of_reference(paths)
    left, what, shift = min(likely, key=lambda each: each[0])
    return [_of_other_rows(what, shift, left)]


def _of_other_rows(what: str, shift: int, left: float) -> str:
    column = {"stresses": "stress", "strains": "strain", "energies": "energy"}[what]
    rows = "1 row" if abs(shift) == 1 else f"{abs(shift)} rows"
    where, back = ("below", "up") if shift > 0 else ("above", "down")
    return (
        f"the {what} of each row stand {rows} {where} it: with the columns of {column} moved {back} by {rows}, {left:.0%} is "
        "left of the error with which the rows contradict each other."
    )


def _shares(as_is: Array, moved: Array) -> tuple[float, float]:
    """The error that a move leaves, as a share: without the few rows that are most in error, and of all; infinite of none."""
    both = np.isfinite(as_is).all(axis=1) & np.isfinite(moved).all(axis=1)
    if both.sum() < FEW:
        return np.inf, np.inf
    order = np.argsort(np.linalg.norm(as_is[both], axis=1))
    most = order[: len(order) - 1 - round(OUTLIERS * len(order))]
    sizes = [(rms(as_is[both][rows]), rms(moved[both][rows])) for rows in (most, order)]
    without, of_all = (after / before if before > 0.0 else np.inf for before, after in sizes)
    return without, of_all


def _work_errors(paths: LoadPaths, steps: Index, what: str, shift: int) -> Array:
    """What the energy changes over steps less the work of the stresses (m, 1), if one quantity stands `shift` rows below."""
    x, n = paths.x, len(paths.x)
    first, last = int(min(0, shift)), int(max(0, shift))
    inside = (steps + first >= 0) & (steps + 1 + last < n)
    i = steps[inside]
    here = paths.path[i + first] == paths.path[i + 1 + last]
    i = i[here]
    error = np.full((len(steps), 1), np.nan)
    of_energy = i + (shift if what == "energies" else 0)
    of_strain = i + (shift if what == "strains" else 0)
    change = paths.energy[of_energy + 1] - paths.energy[of_energy]
    move = {"stresses": shift, "strains": -shift, "energies": 0}[what]
    g = paths.gradient(of_strain, move) + paths.gradient(of_strain + 1, move)
    where = np.flatnonzero(inside)[here]
    error[where, 0] = change - 0.5 * (g * (x[of_strain + 1] - x[of_strain])).sum(axis=1)
    return error


def _pass_errors(paths: LoadPaths, crossings: tuple[Index, Index, Array], shift: int) -> Array:
    """Stresses of rows less those between two rows of another pass, (m, d), if the stresses stand `shift` rows below."""
    i, j, along = crossings
    between = (1.0 - along)[:, None] * paths.gradient(j, shift) + along[:, None] * paths.gradient(j + 1, shift)
    return paths.gradient(i, shift) - between


def _rotation_errors(paths: LoadPaths, shift: int) -> Array:
    """The part (m, q) that no energy gives of the stresses `shift` rows below those of each row with one, at most `ROWS`."""
    at = some_of(np.flatnonzero(paths.place >= 0), ROWS, 3)
    of = at + shift
    inside = (of >= 0) & (of < len(paths.place))
    place = np.where(inside, paths.place[np.where(inside, of, 0)], -1)
    missed = missed_stress(paths.rows.stress[place], paths.rows.derivative[paths.place[at]] / paths.rows.balance)
    return np.where((place >= 0)[:, None], missed, np.nan)


def _from_pass_to_pass(paths: LoadPaths, crossings: tuple[Index, Index, Array]) -> list[str]:
    """Stresses that differ from pass to pass, by more than noise and than the curvature between rows."""
    i, j, _ = crossings
    error = np.linalg.norm(_pass_errors(paths, crossings, 0), axis=1)
    known = np.isfinite(error)
    spread = spread_of_gradients(paths)
    if known.sum() < FEW or spread == 0.0:
        return []
    gap = rms(error[known]) / spread
    inner = paths.runs(2)
    second = paths.gradient(inner + 2) - 2.0 * paths.gradient(inner + 1) + paths.gradient(inner)
    square = (second**2).sum(axis=1) / 6.0
    square = square[np.isfinite(square)]
    noise = float(np.sqrt(square.mean())) / spread if len(square) else np.inf
    if gap <= max(DIFFER, NOISES * noise):
        return []
    worst = np.flatnonzero(known)[int(np.argmax(error[known]))]
    return [
        f"where the load paths come back to a strain, the stresses differ by {gap:.0%} of their spread (RMS of {known.sum()} "
        f"places; most at row {i[worst]} and beside row {j[worst]}, counted from 0): loading and unloading differ, or the "
        "tests. A strain energy has no hysteresis, viscosity or damage, and a fit takes the mean: fit one of the branches, or "
        "the unloading, and model what dissipates (lse.fem.Dissipation). A drift, another temperature or slack in the grips "
        "look the same."
    ]


def _of_reference(paths: LoadPaths) -> list[str]:
    """A sentence where the undeformed rows have stresses, and the rows beside them none."""
    stress = np.abs(paths.rows.stress).max(axis=1)
    free = np.full(len(paths.x), False)
    free[paths.rows.stress_rows] = stress <= ZERO * stress.max()
    at = paths.undeformed
    if len(at) == 0 or free[at].any() or not free.any():
        return []
    for shift in (-1, 1):
        beside = (at + shift) % len(free)
        if np.array_equal(np.unique(beside), np.flatnonzero(free)):
            return [
                f"row {at[0]} (counted from 0) is undeformed and has a stress, and row {beside[0]} is deformed and has none: "
                f"do the stresses of each row stand 1 row {'below' if shift > 0 else 'above'} it?"
            ]
    return []
