"""Densities of soft minima against Gaussian mixtures, whose normalisers, shares and moments are exact."""

import numpy as np
import pytest

import lse_material as lse
from lse_material.analysis import Density, importance
from lse_material.analysis.density import mala, systematic
from tests.materials import line, well

STIFFNESS, PLACES, DEPTHS = [2.0, 0.5, 8.0], [[0.0, 0.0], [4.0, 0.0], [0.0, 3.0]], [0.0, 0.5, -0.5]


def mixture():
    """exp(-Psi) = sum_k exp(-depth_k - stiffness_k |x - place_k|^2 / 2): rho is 1."""
    return lse.SoftMinimum(tuple(map(well, STIFFNESS, PLACES, DEPTHS)), 1.0)


def shares():
    mass = np.exp(-np.array(DEPTHS)) * 2.0 * np.pi / np.array(STIFFNESS)
    return mass.sum(), mass / mass.sum()


def test_the_normaliser_and_the_shares_of_a_gaussian_mixture():
    q, (total, exact) = Density.of(mixture()), shares()
    assert q.error < 0.01
    assert q.log_normaliser == pytest.approx(np.log(total), abs=4.0 * q.error)
    np.testing.assert_allclose(q.mode_masses, exact, atol=0.01)
    x = np.random.default_rng(0).normal(size=(5, 2))
    np.testing.assert_allclose(q.log_density(x), -mixture().energy(x) - q.log_normaliser)


def test_the_stated_error_is_that_of_the_normaliser():
    exact = np.log(shares()[0])
    several = [Density.of(mixture(), draws=1000, seed=seed) for seed in range(25)]
    scaled = [(q.log_normaliser - exact) / q.error for q in several]
    assert np.sqrt(np.mean(np.square(scaled))) == pytest.approx(1.0, abs=0.4)


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_units_of_the_inputs_change_the_normaliser_by_their_factor(scale):
    stretched = lse.SoftMinimum(mixture().modes, 1.0, input_scale=np.full(2, scale))
    q, p = Density.of(stretched, seed=1), Density.of(mixture(), seed=1)
    assert q.log_normaliser == pytest.approx(p.log_normaliser + 2.0 * np.log(scale), abs=4.0 * (p.error + q.error))


def test_samples_have_the_moments_of_the_mixture():
    x, exact = Density.of(mixture()).sample(20_000, seed=3), shares()[1]
    mean = exact @ np.array(PLACES)
    second = np.einsum("k,ki,kj->ij", exact, PLACES, PLACES) + (exact / np.array(STIFFNESS)).sum() * np.eye(2)
    np.testing.assert_allclose(x.mean(axis=0), mean, atol=0.05)
    np.testing.assert_allclose(x.T @ x / len(x), second, atol=0.25)


def test_corrected_moves_leave_a_density_as_it_is_and_find_it_from_elsewhere():
    rng = np.random.default_rng(4)

    def quartic(x):  # exp(-x^4/4): <x^2> = 2 Gamma(3/4)/Gamma(1/4) = 0.675978
        return 0.25 * x[:, 0] ** 4, x**3

    x, _ = mala(quartic, rng.uniform(-2.0, 2.0, (4000, 1)), 200, rng, scale=np.ones(1))
    assert (x**2).mean() == pytest.approx(0.675978, abs=0.04)


def test_importance_weights_of_a_density_to_itself_are_one():
    log_q = np.random.default_rng(5).normal(size=100)
    log_z, error, ess = importance(log_q + 3.0, log_q)
    assert (log_z, error, ess) == (pytest.approx(3.0), pytest.approx(0.0, abs=1e-12), pytest.approx(1.0))


def test_weights_that_are_all_zero_count_for_nothing():
    assert importance(np.full(10, -np.inf), np.zeros(10)) == (-np.inf, np.inf, 0.0)


@pytest.mark.parametrize("unit", [1e-4, 1.0, 1e4])
def test_a_single_sample_is_moved_by_a_share_of_the_densitys_width_in_any_unit(unit):
    q = Density.of(lse.SoftMinimum(mixture().modes, 1.0, input_scale=np.full(2, unit)), draws=500)
    chosen, moved = (np.array([q.sample(1, seed=seed, moves=moves)[0] for seed in range(20)]) for moves in (0, 30))
    away = np.abs(moved - chosen) / unit
    assert 0.1 < np.median(away) < 5.0
    if unit != 1.0:
        same = Density.of(mixture(), draws=500)
        np.testing.assert_allclose(moved[:3] / unit, [same.sample(1, seed=seed)[0] for seed in range(3)], rtol=1e-6)


def test_samples_and_weights_that_cannot_be_are_refused():
    q = Density.of(mixture(), draws=500)
    for options in ({"n": 0}, {"n": 2.5}, {"n": 5, "moves": -1}):
        with pytest.raises(lse.InvalidInputError, match="whole number"):
            q.sample(**options)
    for weights in (np.zeros((5, 1)), np.zeros(4), []):
        with pytest.raises(lse.InvalidInputError, match="log_"):
            importance(weights, np.zeros(len(weights) if len(weights) < 4 else 5))


def test_systematic_resampling_gives_each_draw_its_share_to_within_one():
    rng = np.random.default_rng(6)
    weights = rng.dirichlet(np.ones(30))
    counts = np.bincount(systematic(weights, 1000, rng), minlength=30)
    assert (np.abs(counts - 1000 * weights) <= 1.0 + 1e-9).all()


def test_a_potential_that_falls_for_ever_has_no_normaliser():
    with pytest.raises(lse.InvalidInputError, match="grow in every direction"):
        Density.of(lse.SoftMinimum((well(1.0, [0.0]), line(-1.0, 3.0)), 1.0))
    with pytest.raises(lse.InvalidInputError, match="whole number >= 100"):
        Density.of(mixture(), draws=5)
