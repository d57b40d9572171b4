"""Rows held back from training: whole load paths or simulations where the samples have enough of them, else rows at random.

Rows of one path are neighbours. A fit that has seen every other one meets the rest without having learnt anything about another
path; so the weights and the number of modes are chosen by whole groups, and only then fitted to all rows.
"""

from __future__ import annotations

import numpy as np

from lse_material.data.groups import Labels, rows_of_whole_groups
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
    if samples.group is None or share == 0.0 or has_enough_groups(samples.group) or not samples.follows_paths:
        return ()
    paths = len(np.unique(samples.group))
    return (
        f"the rows lie on {paths} load path{'s' if paths > 1 else ''}: the rows held back are neighbours of those trained "
        "on, and their error says nothing of other paths. "
        + (
            "lse.fit.leave_one_group_out tells what to expect there."
            if paths > 1
            else "Add other paths to judge the fit."
        ),
    )


def split(samples: Samples, share: float, rng: np.random.Generator) -> tuple[Samples, Samples | None]:
    """Rows for training and for validation; None if there are too few to hold any back."""
    n = len(samples)
    held = min(round(share * n), MOST_FOR_VALIDATION) if n >= FEWEST_FOR_VALIDATION else 0
    if held == 0:
        return samples, None
    if samples.group is not None and has_enough_groups(samples.group):
        held_rows, used_rows = rows_of_whole_groups(samples.group, share, rng)
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
