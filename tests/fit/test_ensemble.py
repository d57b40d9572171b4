"""An ensemble: the best of several fits, and a spread that grows where the data end."""

from dataclasses import replace

import numpy as np
import pytest

import lse_material as lse
from lse_material.fit import Architecture, Design, Training, fit, fit_ensemble
from tests.materials import random_material

GREEN_LAGRANGE = lse.GreenLagrange(2)
QUICK = {
    "kinematics": GREEN_LAGRANGE,
    "architecture": Architecture(modes=1, width=4),
    "training": Training(restarts=1, adam_steps=40, lbfgs_steps=40),
    "progress": False,
}


@pytest.fixture(scope="module")
def samples():
    rng = np.random.default_rng(0)
    truth = random_material(rng, GREEN_LAGRANGE)
    F = np.eye(2) + rng.uniform(-0.1, 0.1, (150, 2, 2))
    return lse.Samples(F=F, energy=truth.energy(F), stress=truth.stress(F))


@pytest.fixture(scope="module")
def ensemble(samples):
    return fit_ensemble(samples, members=3, seed=4, **QUICK)


def test_members_are_fits_of_successive_seeds_and_the_best_comes_first(samples, ensemble):
    alone = [fit(samples, seed=seed, **QUICK) for seed in (4, 5, 6)]
    errors = sorted(result.train_errors.worst for result in alone)
    assert [result.train_errors.worst for result in ensemble.results] == errors
    best = min(alone, key=lambda result: result.train_errors.worst)
    assert np.array_equal(ensemble.material.stress(samples.F), best.material.stress(samples.F))


def test_the_spread_is_the_standard_deviation_of_the_members(ensemble):
    F = np.eye(2) + np.random.default_rng(1).uniform(-0.2, 0.2, (2, 5, 2, 2))
    stresses = [result.material.stress(F) for result in ensemble.results]
    assert np.allclose(ensemble.spread(F) ** 2, np.var(stresses, axis=0, ddof=1).sum(axis=(-2, -1)), rtol=1e-9)


def test_members_of_one_transition_scale_are_joined_to_their_soft_mean(samples, ensemble):
    """-rho log( mean_e exp(-W_e/rho) ), whose stress is the mean of the members' with these weights."""
    whole = {**QUICK, "training": Training(restarts=1, adam_steps=20, lbfgs_steps=20, validation=0.0)}
    found = fit_ensemble(samples, members=3, **whole)
    results = tuple(
        replace(each, fitted=replace(each.material, potential=replace(each.material.potential, scaled_rho=0.4)))
        for each in found.results
    )
    joined = replace(found, results=results).joined()
    rho, W = joined.potential.transition_scale, np.stack([each.material.energy(samples.F) for each in results])
    weights = np.exp(-W / rho)
    np.testing.assert_allclose(joined.energy(samples.F), -rho * np.log(weights.mean(axis=0)), rtol=1e-10, atol=1e-12)
    P = np.stack([each.material.stress(samples.F) for each in results])
    mean = (weights[:, :, None, None] * P).sum(axis=0) / weights.sum(axis=0)[:, None, None]
    np.testing.assert_allclose(joined.stress(samples.F), mean, rtol=1e-9, atol=1e-12)
    with pytest.raises(lse.InvalidInputError, match="scales of their own"):
        ensemble.joined()  # each of these held back other rows
    two = replace(results[0].material, growth=lse.Growth(1.0))
    mixed = replace(found, results=(results[1], replace(results[0], fitted=two)))
    with pytest.raises(lse.InvalidInputError, match="growth or caloric terms of their own"):
        mixed.joined()


def test_a_fit_goes_on_from_the_joined_members(samples):
    whole = {**QUICK, "training": Training(restarts=1, adam_steps=20, lbfgs_steps=20, validation=0.0)}
    found = fit_ensemble(samples, members=2, **whole)
    options = {"kinematics": GREEN_LAGRANGE, "training": replace(whole["training"], adam_steps=0), "progress": False}
    result = fit(samples, start=found.joined(), **options)
    assert len(result.material.potential.modes) == 2
    assert result.train_errors.worst < found.results[0].train_errors.worst


def test_the_spread_grows_away_from_the_data(samples, ensemble):
    within = ensemble.spread(samples.F).mean()
    far = ensemble.spread(np.eye(2) + 4.0 * (samples.F - np.eye(2))).mean()
    assert far > 5.0 * within


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"members": 1}, "members is 1; it must be a whole number"),
        ({"checkpoint": "fit.npz"}, "cannot share one checkpoint"),
        ({"kinematics": None}, "an ensemble is of materials"),
    ],
)
def test_what_makes_no_ensemble_is_refused(samples, changes, message):
    with pytest.raises(lse.InvalidInputError, match=message):
        fit_ensemble(samples, **{**QUICK, **changes})


def test_the_spread_of_materials_with_fields_is_that_at_their_values(samples):
    c = np.random.default_rng(1).uniform(0.0, 1.0, (len(samples), 1))
    charged = lse.Samples(F=samples.F, stress=(1.0 + c[:, :, None]) * samples.stress, fields=c, field_names=("c",))
    few = {**QUICK, "training": Training(restarts=1, adam_steps=20, lbfgs_steps=20)}
    found = fit_ensemble(charged, members=2, **few)
    one, other = (result.material.stress(samples.F, c) for result in found.results)
    expected = np.linalg.norm(one - other, axis=(1, 2)) / np.sqrt(2.0)
    np.testing.assert_allclose(found.spread(samples.F, c), expected, rtol=1e-12)


def test_one_material_comes_closer_to_the_mean_of_the_members_than_they_are_to_it(samples):
    c = np.random.default_rng(1).uniform(0.0, 1.0, (len(samples), 1))
    stiffer = {"energy": (1.0 + c[:, 0]) * samples.energy, "stress": (1.0 + c[:, :, None]) * samples.stress}
    designed = lse.Samples(F=samples.F, **stiffer, fields=c, field_names=("c",))
    training = Training(restarts=1, adam_steps=40, lbfgs_steps=40, validation=0.0)
    options = {"kinematics": GREEN_LAGRANGE, "parameters": {"c": Design()}, "progress": False, "training": training}
    found = fit_ensemble(designed, members=2, architecture=Architecture(1, 3, features=0), **options)
    averaged = found.averaged(designed)
    assert averaged.fields.min() >= c.min()
    assert averaged.fields.max() <= c.max()
    one, other = (result.material for result in found.results)
    mean = 0.5 * (one.stress(averaged.F, averaged.fields) + other.stress(averaged.F, averaged.fields))
    np.testing.assert_allclose(averaged.stress, mean, rtol=1e-12, atol=1e-12)
    result = fit(averaged, start=found.joined(), **options)
    new_c = np.random.default_rng(2).permutation(c)
    P, first, second = (material.stress(samples.F, new_c) for material in (result.material, one, other))
    away = np.linalg.norm(P - 0.5 * (first + second)), 0.5 * np.linalg.norm(first - second)
    assert away[0] < 0.2 * away[1]


def test_a_mean_is_taken_at_the_fields_that_the_members_depend_on(samples, ensemble):
    assert len(ensemble.averaged(samples)) == len(samples)
    other = lse.Samples(F=samples.F, energy=samples.energy, fields=samples.energy[:, None], field_names=("c",))
    with pytest.raises(lse.InvalidInputError, match=r"\['c'\], not \[\]"):
        ensemble.averaged(other)
    with pytest.raises(lse.InvalidInputError, match="at samples of F"):
        ensemble.averaged(lse.Samples(x=[[0.0]], energy=[0.0]))
