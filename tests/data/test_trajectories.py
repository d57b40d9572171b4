"""Trajectories of known noise and drift give them back."""

import numpy as np
import pytest

import lse_material as lse
from lse_material.analysis import Dynamics, trajectories
from lse_material.data.trajectories import from_trajectories
from tests.materials import well

K, TEMPERATURE, GAMMA, DT = 2.0, 0.3, 2.0, 0.01


def walks(records=200, walkers=300):
    p = lse.SoftMinimum((well(K, [0.5, -0.2]),), 0.1)
    start = np.random.default_rng(1).normal(size=(walkers, 2))
    return trajectories(p, start, Dynamics(TEMPERATURE, DT, GAMMA), records=records, seed=2)


@pytest.mark.parametrize("bins", [None, 12])
def test_temperature_and_slope_of_a_harmonic_well_come_back(bins):
    data = from_trajectories(walks(), DT, friction=GAMMA, bins=bins)
    assert data.temperature == pytest.approx(TEMPERATURE, rel=0.02)
    away = data.samples.x - [0.5, -0.2]
    root = np.sqrt(data.samples.weight)[:, None]
    slope = np.linalg.lstsq(root * away, root * data.samples.gradient, rcond=None)[0]
    error = np.sqrt(2.0 * TEMPERATURE * GAMMA / DT / (root**2 * away**2).sum(axis=0)).max()  # standard error
    np.testing.assert_allclose(slope, K * np.eye(2), atol=3.5 * error)


def test_the_stated_noise_is_that_of_the_gradients():
    data = from_trajectories(walks(), DT, friction=GAMMA, bins=12)
    error = (data.samples.gradient - K * (data.samples.x - [0.5, -0.2])) / data.noise[:, None]
    assert error.std() == pytest.approx(1.0, rel=0.15)
    assert data.samples.weight.sum() > 0.99 * 200 * 300  # hardly an increment is alone in its cell


def test_a_single_walker_needs_no_axis_of_its_own():
    x = walks(walkers=1)
    one, many = from_trajectories(x[:, 0], DT), from_trajectories(x, DT)
    np.testing.assert_array_equal(one.samples.gradient, many.samples.gradient)


@pytest.mark.parametrize("walkers", [2, 3, 10])
def test_one_step_of_few_walkers_tells_the_temperature_without_bias(walkers):
    """dx = -K dt + sqrt(2 T dt) times normal numbers, in many dimensions: the mean of few walkers follows their noise."""
    drawn = np.random.default_rng(4).normal(size=(walkers, 40_000))
    x = np.stack([np.zeros_like(drawn), -0.3 * DT + np.sqrt(2.0 * TEMPERATURE * DT) * drawn])
    assert from_trajectories(x, DT).temperature == pytest.approx(TEMPERATURE, rel=0.03)
    with pytest.raises(lse.InvalidInputError, match="the noise is unknown"):
        from_trajectories(x[:, 0], DT)


def test_what_is_no_trajectory_is_refused():
    with pytest.raises(lse.InvalidInputError, match="2 records or more"):
        from_trajectories(np.zeros((1, 3, 2)), DT)
    with pytest.raises(lse.InvalidInputError, match="dt is"):
        from_trajectories(np.zeros((3, 3, 2)), 0.0)
    with pytest.raises(lse.InvalidInputError, match="fewer bins"):
        from_trajectories(np.random.default_rng(0).normal(size=(2, 3, 2)), DT, bins=1000)


@pytest.mark.parametrize("bins", [None, 12])
def test_times_that_differ_and_gaps_tell_the_same_well(bins):
    """Every third record left out at random, and a tenth of all lost: the drift and the temperature stay."""
    rng = np.random.default_rng(3)
    x = walks()
    kept = np.sort(rng.choice(len(x), 2 * len(x) // 3, replace=False))
    times, x = DT * kept, x[kept].copy()
    x[rng.random(x.shape[:2]) < 0.1] = np.nan
    data = from_trajectories(x, times=times, friction=GAMMA, bins=bins)
    assert data.temperature == pytest.approx(TEMPERATURE, rel=0.03)
    root = np.sqrt(data.samples.weight)[:, None]
    error = (data.samples.gradient - K * (data.samples.x - [0.5, -0.2])) / data.noise[:, None]
    assert error.std() == pytest.approx(1.0, rel=0.15)
    away = data.samples.x - [0.5, -0.2]
    slope = np.linalg.lstsq(root * away, root * data.samples.gradient, rcond=None)[0]
    np.testing.assert_allclose(slope, K * np.eye(2), rtol=0.1, atol=0.1)


def test_equal_times_are_a_step():
    x = walks(records=50, walkers=20)
    by_step, by_times = from_trajectories(x, DT, bins=5), from_trajectories(x, times=DT * np.arange(len(x)), bins=5)
    np.testing.assert_allclose(by_times.samples.gradient, by_step.samples.gradient, rtol=1e-10, atol=1e-10)
    assert by_times.temperature == pytest.approx(by_step.temperature, rel=1e-10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give either dt"),
        ({"dt": DT, "times": [0.0, 1.0, 2.0]}, "give either dt"),
        ({"dt": [DT, DT, DT]}, "Records at other times take `times`"),
        ({"times": [0.0, 1.0]}, "times must be 3 increasing numbers"),
        ({"times": [0.0, 2.0, 1.0]}, "times must be 3 increasing numbers"),
        ({"dt": DT, "friction": [1.0, 2.0]}, "friction is"),
    ],
)
def test_times_that_are_none_are_refused(options, message):
    with pytest.raises(lse.InvalidInputError, match=message):
        from_trajectories(np.zeros((3, 3, 2)), **options)


def test_records_with_nothing_but_gaps_are_refused():
    x = np.zeros((4, 1, 2))
    x[1::2] = np.nan
    with pytest.raises(lse.InvalidInputError, match="no two records follow each other"):
        from_trajectories(x, DT)
