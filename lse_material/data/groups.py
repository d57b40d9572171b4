"""Groups of samples: the load path, test or simulation that a row comes from.

Rows of one load path are neighbours: a fit that has seen every other one meets the rest without having learnt anything about
another path. Whether a material predicts paths that it has not seen is judged on whole groups.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from lse_material._arrays import Array
from lse_material.errors import InvalidInputError

JUMP = 5.0  # a path ends where the step to the next row is longer than this many of its neighbours
REACH = 3  # the steps on each side that are its neighbours
PATH_STEP = 0.3  # rows follow paths if the median step is below this share of the median distance of two random rows
PAIRS = 10_000  # of rows drawn for that distance
FAR = 3.0  # paths are apart if a row is this many median steps from the nearest of another path, in the median
DRAWN = 100  # rows for that distance

Labels = npt.NDArray[Any]  # int64 or text, one for each row


def group_labels(value: Any, rows: int) -> Labels:
    """Labels of groups (rows,), int64 or text, checked and read-only.

    Raises InvalidInputError: another number of labels, or labels that are neither whole numbers nor texts.
    """
    labels = np.asarray(value)
    if labels.shape != (rows,) or labels.dtype.kind not in "iuU":
        raise InvalidInputError(
            f"group must be {rows} whole numbers or {rows} texts, one for each row; it is {labels.dtype} of shape "
            f"{labels.shape}."
        )
    labels = labels.astype(np.int64) if labels.dtype.kind in "iu" else labels.copy()
    labels.flags.writeable = False
    return labels


def path_numbers(points: Array) -> Labels | None:
    """The number of the path (n,) that each of the points (n, d) lies on, counted from 0 in the order of the rows.

    A new path starts where the step from the row before is more than `JUMP` times as long as the steps around it. Two paths of
    which one ends where the other starts count as one. None if consecutive rows are about as far apart as rows drawn at
    random: these rows do not follow paths.
    """
    n = len(points)
    if n < 3:
        return None
    step = np.linalg.norm(np.diff(points, axis=0), axis=1)
    moving = step > 0.0
    if not moving.any():
        return np.zeros(n, dtype=np.int64)
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, n, (2, PAIRS))
    apart = np.linalg.norm(points[first] - points[second], axis=1)
    if np.median(step) >= PATH_STEP * np.median(apart[first != second]):
        return None
    around = np.full((n - 1, 2 * REACH), np.nan)
    for k in range(1, REACH + 1):
        around[k:, k - 1] = np.where(moving, step, np.nan)[:-k]
        around[:-k, REACH + k - 1] = np.where(moving, step, np.nan)[k:]
    overall = np.median(step[moving])
    nothing = np.isnan(around).all(axis=1)
    around[nothing] = overall
    jump = step > JUMP * np.maximum(np.nanmedian(around, axis=1), 1e-3 * overall)
    return np.concatenate([[0], np.cumsum(jump)]).astype(np.int64)


def are_apart(points: Array, path: Labels) -> bool:
    """Whether rows have their nearest neighbours on their own path: not so on the lines of a grid, which fill their box."""
    step = np.linalg.norm(np.diff(points, axis=0), axis=1)[np.diff(path) == 0]
    if path[-1] == 0:  # a single path, which fills its box if it has one coordinate
        return bool(points.shape[1] > 1)
    rows = np.random.default_rng(0).choice(len(points), min(DRAWN, len(points)), replace=False)
    nearest = [np.linalg.norm(points[path != path[row]] - points[row], axis=1).min() for row in rows]
    return bool(np.median(nearest) > FAR * np.median(step))


def rows_of_whole_groups(labels: Labels, fraction: float, rng: np.random.Generator) -> tuple[Any, Any]:
    """Indices of the rows of randomly chosen groups that make up about `fraction` of all rows, and of the others.

    Both parts have one group or more.

    Raises InvalidInputError: all rows belong to one group.
    """
    names, number, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if len(names) < 2:
        raise InvalidInputError(
            f"all rows belong to the group {names[0].item()!r}: whole groups cannot be split off. Leave the group out to split "
            'by rows: dataclasses.replace(samples, group=None), or columns={"unused": NAME} when the table is read.'
        )
    order = rng.permutation(len(names))
    share = np.cumsum(counts[order])[:-1] / len(labels)
    chosen = order[: int(np.argmin(np.abs(share - fraction))) + 1]
    part = np.isin(number, chosen)
    return np.flatnonzero(part), np.flatnonzero(~part)
