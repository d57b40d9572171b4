"""Groups: load paths found in consecutive rows, and splits that leave them whole."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lse_material import InvalidInputError, Samples


def paths(ends, rows, dim=2):
    """Straight load paths from F = I to each of `ends`, `rows` rows each, and the number of the path of every row."""
    t = np.linspace(0.0, 1.0, rows)[:, None, None]
    F = np.concatenate([np.eye(dim) + t * (np.asarray(end) - np.eye(dim)) for end in ends])
    return F, np.repeat(np.arange(len(ends)), rows)


ENDS = [np.diag([1.4, 0.9]), np.diag([0.7, 1.2]), [[1.0, 0.5], [0.0, 1.0]], np.diag([1.3, 1.3])]


@given(
    rows=st.integers(15, 60),
    order=st.permutations(range(4)),
    powers=st.lists(st.floats(0.7, 1.5), min_size=4, max_size=4),
)
def test_paths_from_the_reference_state_are_found_whatever_their_steps(rows, order, powers):
    """Steps grow or shrink along a path, as an adaptive load stepping chooses them."""
    t = np.linspace(0.0, 1.0, rows)
    F = np.concatenate(
        [np.eye(2) + (t**p)[:, None, None] * (np.asarray(ENDS[k]) - np.eye(2)) for k, p in zip(order, powers)]
    )
    found = Samples(F=F, energy=np.zeros(len(F))).with_groups_found()
    np.testing.assert_array_equal(found.group, np.repeat(np.arange(4), rows))


def test_a_path_that_pauses_stays_one():
    F, _ = paths([np.diag([1.4, 0.9])], 20)
    F = np.concatenate([F[:10], np.repeat(F[10:11], 15, axis=0), F[10:]])
    np.testing.assert_array_equal(Samples(F=F, energy=np.zeros(len(F))).with_groups_found().group, 0)


@given(n=st.integers(3, 80), d=st.integers(2, 9), seed=st.integers(0, 1000))
def test_rows_drawn_at_random_follow_no_paths(n, d, seed):
    samples = Samples(x=np.random.default_rng(seed).uniform(size=(n, d)), energy=np.zeros(n))
    if n > 10:  # of few points some are a path by chance
        assert not samples.follows_paths
        with pytest.raises(InvalidInputError, match="the rows do not follow load paths"):
            samples.with_groups_found()


def test_lines_of_a_grid_are_no_load_paths_far_apart():
    F, _ = paths(ENDS, 50)
    assert Samples(F=F, energy=np.zeros(len(F))).follows_paths
    line = np.linspace(0.0, 1.0, 25)
    grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    assert not Samples(x=grid, energy=np.zeros(len(grid))).follows_paths
    assert not Samples(x=line[:, None], energy=np.zeros(25)).follows_paths


def test_inputs_of_other_units_are_compared_by_their_spread():
    """A temperature of hundreds of kelvins beside F: the path does not depend on its unit."""
    F, number = paths(ENDS, 30)
    T = np.tile(np.linspace(300.0, 320.0, 30), 4)
    for unit in (1.0, 1e-6, 1e9):
        samples = Samples(F=F, energy=T, fields=unit * T[:, None], field_names=("T",))
        np.testing.assert_array_equal(samples.with_groups_found().group, number)


@given(
    sizes=st.lists(st.integers(1, 20), min_size=2, max_size=8), fraction=st.floats(0.01, 0.99), seed=st.integers(0, 99)
)
def test_a_split_leaves_groups_whole_and_is_as_near_to_the_fraction_as_its_order_allows(sizes, fraction, seed):
    group = np.repeat([f"test {k}" for k in range(len(sizes))], sizes)
    n = len(group)
    samples = Samples(x=np.arange(n, dtype=float)[:, None], energy=np.arange(n), group=group)
    first, rest = samples.split(fraction, seed=seed)
    assert not set(first.group) & set(rest.group)
    assert set(first.group) | set(rest.group) == set(group)
    np.testing.assert_array_equal(np.sort(np.concatenate([first.x, rest.x]), axis=0), samples.x)
    for part in (first, rest):
        np.testing.assert_array_equal(part.group, group[part.x[:, 0].astype(int)])
    assert abs(len(first) - fraction * n) <= max(max(sizes), len(rest) - (1 - fraction) * n)


def test_one_group_cannot_be_split():
    samples = Samples(x=np.zeros((3, 1)), energy=np.zeros(3), group=["a"] * 3)
    with pytest.raises(InvalidInputError, match=r"the group 'a'.*group=None"):
        samples.split(0.5, seed=0)
    assert len(dataclasses.replace(samples, group=None).split(0.5, seed=0)[0]) == 2


@pytest.mark.parametrize("group", [["a", "b"], [0.5, 1.0, 2.0], [[1], [2], [3]], [None, "a", "b"]])
def test_labels_are_numbers_or_texts_one_a_row(group):
    with pytest.raises(InvalidInputError, match="group must be 3 whole numbers or 3 texts"):
        Samples(x=np.zeros((3, 1)), energy=np.zeros(3), group=group)


def test_groups_are_data_for_the_digest_and_go_with_rows():
    plain = Samples(x=np.arange(4.0)[:, None], energy=np.zeros(4))
    grouped = dataclasses.replace(plain, group=[3, 3, 7, 7])
    assert len({plain.digest(), grouped.digest(), dataclasses.replace(plain, group=[3, 7, 7, 7]).digest()}) == 3
    np.testing.assert_array_equal(grouped.take(np.array([3, 0])).group, [7, 3])
