"""Rows on the load paths that the order of a table shows: steps from row to row, noise, and where paths meet again."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from lse_material._arrays import Array, Mask
from lse_material.data.groups import path_numbers
from lse_material.data.samples import Samples
from lse_material.fit.problem.rows import Index, Rows, least_squares, some_of

FEW = 8  # steps or crossings, of which no error is taken
NEAR = 0.05  # distance of a row from another pass, in steps of that pass: stresses across the path may be stiffer than along it
OWN = 3  # steps before and after a row that are its own pass
NEIGHBOURS = 16  # steps among which another pass is looked for
OF_MEDIAN = 0.455  # median of the square of a standard normal variable
ZERO = 1e-9  # strain or stress, as a share of the largest, that is none
ROWS = 3000  # steps, and rows, that are looked at


@dataclass(frozen=True, eq=False)
class LoadPaths:
    """Rows in the order of the table: x (n, d), energies (n,) or NaN, and the path of each; steps that stay on one."""

    rows: Rows
    x: Array
    energy: Array
    path: Index
    place: Index  # of the row's stress among the stresses, -1 if it has none
    unit: Array  # of the inputs
    undeformed: Index  # rows with F = I

    def gradient(self, at: Index, shift: int = 0) -> Array:
        """dW/dx (m, d) at rows by the stresses that stand `shift` rows further down, NaN where there are none."""
        of = at + shift
        inside = (of >= 0) & (of < len(self.x))
        place, own = self.place[np.where(inside, of, 0)], self.place[at]
        known = inside & (place >= 0) & (own >= 0)
        result = np.full((len(at), self.x.shape[1]), np.nan)
        stress, derivative = self.rows.stress[place[known]], self.rows.derivative[own[known]] / self.rows.balance
        result[known] = least_squares(derivative, stress) / self.rows.balance[:, 0] * self.unit
        return result

    def stress(self, at: Index) -> Array:
        """Stresses (m, q) at rows, NaN where there are none."""
        place = self.place[at]
        result = np.full((len(at), self.rows.stress.shape[1]), np.nan)
        result[place >= 0] = self.rows.stress[place[place >= 0]]
        return result

    def runs(self, steps: int = 1) -> Index:
        """Rows from which so many steps lead on along a path, at most `ROWS` of them."""
        one: Mask = (np.diff(self.path) == 0) & (np.diff(self.x, axis=0) != 0.0).any(axis=1)
        count = max(len(one) - steps + 1, 0)
        rows = np.flatnonzero(np.logical_and.reduce([one[k : k + count] for k in range(steps)]))
        return some_of(rows, ROWS)

    def noise(self, values: Callable[[Index], Array]) -> float:
        """Standard deviation of the noise of values (m, q) at rows, by third differences along the paths; 0 if they are few."""
        at = self.runs(3)
        square = (third_difference(values, at) ** 2).sum(axis=1) / 20.0
        square = square[np.isfinite(square)]
        return float(np.sqrt(np.median(square) / OF_MEDIAN)) if len(square) >= FEW else 0.0

    def energies(self, at: Index) -> Array:
        """Energies (m, 1) at rows."""
        return self.energy[at][:, None]


def load_paths(samples: Samples, rows: Rows, x: Array, unit: Array) -> LoadPaths:
    """The rows on their paths, x (n, d) their inputs in `unit`; each on one of its own if their order follows none."""
    path = path_numbers(x)
    if path is None:
        path = np.arange(len(x))
    if samples.group is not None:
        ends = samples.group[1:] != samples.group[:-1]
        path = path + np.concatenate([[0], np.cumsum(ends)])
    energy, place = np.full(len(x), np.nan), np.full(len(x), -1)
    energy[rows.energy_rows] = rows.energy
    place[rows.stress_rows] = np.arange(len(rows.stress_rows))
    undeformed = np.zeros(0, dtype=np.int64)
    if samples.F is not None and samples.fields is None:
        undeformed = np.flatnonzero(np.abs(samples.F - np.eye(samples.F.shape[-1])).max(axis=(1, 2)) <= ZERO)
    return LoadPaths(rows, x, energy, path.astype(np.int64), place.astype(np.int64), unit, undeformed)


def third_difference(values: Callable[[Index], Array], at: Index) -> Array:
    """Of values (m, q) at rows from which three steps lead on."""
    result: Array = values(at + 3) - 3.0 * values(at + 2) + 3.0 * values(at + 1) - values(at)
    return result


def crossings_of(paths: LoadPaths) -> tuple[Index, Index, Array]:
    """Rows (m,) beside steps of another pass, the first rows (m,) of these steps, and how far along (m,) the rows lie."""
    x, steps = paths.x, paths.runs()
    nothing = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0)
    if len(steps) < 2:
        return nothing
    way = x[steps + 1] - x[steps]
    length = np.linalg.norm(way, axis=1)
    rows = some_of(np.arange(len(x)), ROWS, 1)
    count = min(NEIGHBOURS, len(steps))
    near: Index = cKDTree(x[steps] + 0.5 * way).query(x[rows], count)[1].reshape(len(rows), count)
    i, k = np.repeat(rows, count), near.ravel()
    j = steps[k]
    along = ((x[i] - x[j]) * way[k]).sum(axis=1) / length[k] ** 2
    beside = np.linalg.norm(x[i] - x[j] - along[:, None] * way[k], axis=1) / length[k]
    own = (paths.path[i] == paths.path[j]) & (j - OWN < i) & (i <= j + OWN)
    slack = 1e-9
    met = ~own & (along >= -slack) & (along <= 1.0 + slack) & (beside <= NEAR)
    return i[met], j[met], along[met]


def spread_of_gradients(paths: LoadPaths) -> float:
    """Of the gradients, their root mean square distance from the mean."""
    g = paths.gradient(some_of(np.flatnonzero(paths.place >= 0), ROWS, 2))
    return float(np.sqrt(((g - g.mean(axis=0)) ** 2).sum(axis=1).mean()))
