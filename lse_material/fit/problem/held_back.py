"""Rows held back from training: whole load paths or simulations where the samples have enough of them, else rows at random.

Rows of one path are neighbours. A fit that has seen every other one meets the rest without having learnt anything about another
path; so the weights and the number of modes are chosen by whole groups, and only then fitted to all rows.
"""

import numpy as np

from lse_material._arrays import Array, Mask
from lse_material.data.groups import Labels
from lse_material.data.observations import Observations
from lse_material.data.samples import Samples
from lse_material.errors import InvalidInputError

FEWEST_FOR_VALIDATION = 10  # with fewer rows than this every one is used for training
FEWEST_GROUPS = 5  # for one of them to be held back whole
MOST_FOR_VALIDATION = 20_000


def with_groups(samples: Samples) -> Samples:
    """The samples with their groups, which are the load paths that the rows lie on where none are given."""
    return samples.with_groups_found() if samples.group is None and samples.follows_paths else samples


def has_enough_groups(group: Labels | None) -> bool:
    """Whether whole groups can be held back, of those that the rows belong to."""
    return group is not None and len(np.unique(group)) >= FEWEST_GROUPS


def path_warnings(samples: Samples, share: float) -> tuple[str, ...]:
    """A sentence where rows of the same load paths are on both sides of a split."""
    paths = 0 if samples.group is None else len(np.unique(samples.group))
    if share == 0.0 or not 1 < paths < FEWEST_GROUPS or not samples.follows_paths:
        return ()
    return (
        f"the rows lie on {paths} load paths, too few to hold whole ones back: the rows held back are neighbours of those "
        "trained on, and their error says nothing of other paths. lse.fit.leave_one_group_out tells what to expect there.",
    )


def rows_outside(x: Array, others: Array) -> Mask:
    """Which of the inputs x (n, d) leave the box of others (m, d): (n,)."""
    low, high = others.min(axis=0), others.max(axis=0)
    slack = 1e-6 * np.abs(others).max()
    outside: Mask = ((x < low - slack) | (x > high + slack)).any(axis=1)
    return outside


def inner_groups(group: Labels, x: Array, share: float, rng: np.random.Generator) -> Mask:
    """The rows (n,) of groups that make up about `share` of all, those first that stay in the box of the others.

    What leaves it is a guess for any weights, and chooses none.
    """
    names, number, counts = np.unique(group, return_inverse=True, return_counts=True)
    outside = [rows_outside(x[number == k], x[number != k]).mean() for k in range(len(names))]
    order = np.lexsort((rng.random(len(names)), np.round(outside, 1)))
    total = np.cumsum(counts[order])[:-1] / len(x)
    held: Mask = np.isin(number, order[: int(np.argmin(np.abs(total - share))) + 1])
    return held


def split(samples: Samples, x: Array, share: float, rng: np.random.Generator) -> tuple[Samples, Samples | None]:
    """Rows for training and for validation, x (n, d) their inputs; None if there are too few to hold any back."""
    n = len(samples)
    held = min(round(share * n), MOST_FOR_VALIDATION) if n >= FEWEST_FOR_VALIDATION else 0
    if held == 0:
        return samples, None
    if samples.group is not None and has_enough_groups(samples.group):
        inner = inner_groups(samples.group, x, share, rng)
        held_rows, used_rows = np.flatnonzero(inner), np.flatnonzero(~inner)
    else:
        rows = rng.permutation(n)
        held_rows, used_rows = rows[:held], rows[held:]
    try:
        used, held_back = samples.take(used_rows), samples.take(held_rows)
    except InvalidInputError:  # all weight, or all values, on one side
        return samples, None
    kinds = [(s.energy is not None, s.stress is not None, s.gradient is not None) for s in (samples, used, held_back)]
    if kinds[1] != kinds[0] or kinds[2] != kinds[0]:  # so few values of one kind that a part has none
        return samples, None
    return used, held_back


def split_observations(
    observations: Observations, share: float, rng: np.random.Generator
) -> tuple[Observations, Observations | None]:
    """Values for training and for validation: whole groups where there are enough, else single values."""
    n = len(observations)
    group = np.arange(n)
    if observations.group is not None and has_enough_groups(observations.group):
        group = np.unique(observations.group, return_inverse=True)[1].ravel()
    labels = rng.permutation(group.max() + 1)
    held = np.isin(group, labels[: round(share * len(labels))])
    if n < FEWEST_FOR_VALIDATION or not held.any() or not observations.values[held].any():
        return observations, None
    return observations.take(np.flatnonzero(~held)), observations.take(np.flatnonzero(held))
