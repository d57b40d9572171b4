"""Langevin dynamics against what is exact: harmonic wells, and mean first passage times in one dimension by quadrature."""

import numpy as np
import pytest

import lse_material as lse
from lse_material import analysis
from lse_material.analysis import Dynamics, first_passage_times, kramers_rate, stationary_samples, trajectories
from tests.materials import well


def double_well(rho=0.05):
    return lse.SoftMinimum((well(2.0, [0.0]), well(2.0, [1.0])), rho)


def mean_first_passage_time(p, start, end, temperature):
    """(1/T) int_start^end exp(W(y)/T) int_-inf^y exp(-W(z)/T) dz dy, by the trapezoidal rule (friction 1)."""
    x = np.linspace(-1.0, end, 40_001)
    W = p.energy(x[:, None]) / temperature
    h = x[1] - x[0]
    below = np.cumsum(np.exp(-W)) * h
    inner = np.where(x >= start, np.exp(W) * below, 0.0)
    return float(inner.sum() * h / temperature)


@pytest.mark.parametrize("step", [0.05, 0.4])
def test_the_variance_in_a_harmonic_well_is_that_of_the_scheme(step):
    # Euler-Maruyama: T/k / (1 - k dt/2); with averaged kicks T/k for any step
    k, temperature, walkers = 2.0, 0.3, 20_000
    p = lse.SoftMinimum((well(k, [0.5]),), 0.1)
    dynamics = Dynamics(temperature, step)
    start = np.full((walkers, 1), 0.5)
    every = int(np.ceil(3.0 / (k * step)))
    euler = trajectories(p, start, dynamics, records=8, every=every, seed=1)[3:].reshape(-1)
    better = stationary_samples(p, start, dynamics, records=6, every=every, burn_in=2 * every, seed=2)[:, 0]
    spread = 5.0 * np.sqrt(2.0 / len(better))  # five standard errors of a variance
    assert euler.var() == pytest.approx(temperature / k / (1.0 - 0.5 * k * step), rel=spread + 0.01)
    assert better.var() == pytest.approx(temperature / k, rel=spread)


def test_kramers_rate_tends_to_the_exact_one_as_the_temperature_falls():
    p = double_well()
    a, b = analysis.wells(p)
    (saddle,) = analysis.saddles(p)
    errors = []
    for temperature in (0.01, 0.005, 0.0025):
        exact = mean_first_passage_time(p, a.x[0], b.x[0], temperature)
        exact = exact if a.x[0] < b.x[0] else mean_first_passage_time(p, b.x[0], a.x[0], temperature)
        errors.append(abs(kramers_rate(a, saddle, temperature) * exact - 1.0))
    assert errors[0] < 0.1
    assert errors[2] < errors[1] < errors[0]
    assert errors[2] == pytest.approx(0.5 * errors[1], rel=0.3)  # the next term is of the order T / barrier


def test_friction_slows_a_rate_down_in_proportion():
    a, _ = analysis.wells(double_well())
    (saddle,) = analysis.saddles(double_well())
    assert kramers_rate(a, saddle, 0.05, friction=4.0) == pytest.approx(0.25 * kramers_rate(a, saddle, 0.05), rel=1e-14)


def test_first_passage_times_have_the_exact_mean():
    p, temperature = double_well(0.1), 0.12
    start, end = (float(w.x[0]) for w in sorted(analysis.wells(p), key=lambda w: w.x[0]))
    step, walkers, radius = 0.01, 1000, 0.1
    times = first_passage_times(
        p,
        np.full((walkers, 1), start),
        Dynamics(temperature, step),
        target=[[end]],
        radius=radius,
        longest=200.0,
        seed=0,
    )
    assert np.isfinite(times).all()
    # a barrier that is looked at every dt acts 0.58 sqrt(2 T dt) farther on (D. Siegmund, Adv. Appl. Probab. 11, 701 (1979))
    exact = mean_first_passage_time(p, start, end - radius + 0.5826 * np.sqrt(2.0 * temperature * step), temperature)
    assert times.mean() == pytest.approx(exact, rel=4.0 / np.sqrt(walkers))


def test_a_seed_gives_the_same_walk_and_another_one_another():
    p, dynamics = double_well(), Dynamics(0.1, 0.01)
    walks = [trajectories(p, [[0.0]], dynamics, records=5, seed=seed) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(walks[0], walks[1])
    assert (walks[0][1:] != walks[2][1:]).all()
    assert walks[0][0, 0, 0] == 0.0


def test_what_makes_no_sense_is_refused():
    p = double_well()
    a, b = analysis.wells(p)
    (saddle,) = analysis.saddles(p)
    with pytest.raises(lse.InvalidInputError, match=r"step is 0\.0"):
        Dynamics(1.0, 0.0)
    with pytest.raises(lse.InvalidInputError, match="is no well"):
        kramers_rate(saddle, saddle, 0.1)
    with pytest.raises(lse.InvalidInputError, match="no saddle of index 1"):
        kramers_rate(a, b, 0.1)
    with pytest.raises(lse.InvalidInputError, match="temperature"):
        kramers_rate(a, saddle, 0.0)
    with pytest.raises(lse.InvalidInputError, match="records"):
        trajectories(p, [[0.0]], Dynamics(0.1, 0.01), records=0)
    with pytest.raises(lse.InvalidInputError, match="burn_in is -3"):
        analysis.stationary_samples(p, [[0.0]], Dynamics(0.1, 0.01), records=1, every=1, burn_in=-3)
    with pytest.raises(lse.InvalidInputError, match="target has shape"):  # of two inputs, where the walkers have one
        first_passage_times(p, [[0.0]], Dynamics(0.1, 0.01), target=[[0.0, 1.0]], radius=0.1, longest=1.0)
    with np.errstate(all="ignore"), pytest.raises(lse.InvalidInputError, match="left all bounds"):
        trajectories(p, [[0.3]], Dynamics(0.1, 1e6), records=200)
