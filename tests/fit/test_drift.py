"""Fits to gradients only, as rates of change and trajectories give them: wells and barriers without a single energy."""

import numpy as np
import pytest

import lse_material as lse
from lse_material import analysis
from lse_material.analysis import Dynamics, trajectories
from lse_material.data.trajectories import from_trajectories
from lse_material.fit import Architecture, Training, fit

SMALL = Training(restarts=1, adam_steps=200, lbfgs_steps=200)


class DoubleWell:
    """Psi = (x^2 - 1)^2: wells at -1 and 1, the barrier 1."""

    def gradient(self, x):
        return 4.0 * x * (x**2 - 1.0)


def fitted(samples):
    potential = fit(samples, architecture=Architecture(modes=2), training=SMALL, progress=False).potential
    land = analysis.landscape(potential, [-1.6], [1.6], starts=8)
    assert len(land.wells) == 2
    return sorted(float(well.x[0]) for well in land.wells), float(land.barriers[0, 1])


def test_noisy_rates_of_change_give_wells_and_the_barrier():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1.5, 1.5, (400, 1))
    gradient = DoubleWell().gradient(x)
    places, barrier = fitted(lse.Samples(x=x, gradient=gradient + 0.1 * rng.normal(size=x.shape)))
    assert places == pytest.approx([-1.0, 1.0], rel=0.02)
    assert barrier == pytest.approx(1.0, rel=0.05)


def test_trajectories_give_them_too_and_their_temperature():
    start = np.random.default_rng(1).uniform(-1.4, 1.4, (4000, 1))
    x = trajectories(DoubleWell(), start, Dynamics(temperature=0.2, step=0.005), records=40, seed=2)
    data = from_trajectories(x, 0.005, bins=60)
    places, barrier = fitted(data.samples)
    assert data.temperature == pytest.approx(0.2, rel=0.02)
    assert places == pytest.approx([-1.0, 1.0], rel=0.05)
    assert barrier == pytest.approx(1.0, rel=0.1)
