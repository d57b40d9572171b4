"""Moves of a discovery: when a smaller number of modes, or another minimum, is taken."""

from dataclasses import replace

import numpy as np
import pytest

import lse_material as lse
from lse_material.fit import Architecture, Sparsity
from lse_material.fit.discovery import moves
from lse_material.fit.discovery.candidates import Candidates, Discovery, silent
from lse_material.fit.discovery.schedule import Refit, Schedule
from lse_material.fit.model.constraints import Constraints
from lse_material.fit.problem.loss import Loss
from lse_material.fit.problem.rows import rows_of, scales_of
from tests.materials import samples_of, two_wells


def noisy(data, share, seed):
    """The samples with that share of noise."""
    rng = np.random.default_rng(seed)
    energy = data.energy + share * data.energy.std() * rng.normal(size=data.energy.shape)
    gradient = data.gradient + share * np.sqrt((data.gradient**2).mean()) * rng.normal(size=data.gradient.shape)
    return lse.Samples(x=data.x, energy=energy, gradient=gradient)


def search_on(train, validation, tolerance):
    """A discovery of quadratic modes on these samples, with the smallest of trials."""
    rows, schedule = rows_of(train, None, None), Schedule()
    scales = scales_of(rows)
    losses = [Loss.on(each, scales, 1.0, 1.0) for each in (rows, rows_of(validation, None, None))]
    sparsity, candidates = Sparsity(tolerance=tolerance), Candidates(tolerance, schedule)
    architecture, rng = Architecture(modes="auto", max_modes=3, depth=0), np.random.default_rng(0)
    return Discovery(architecture, *losses, Constraints(), sparsity, rng, silent, schedule, candidates)


def unfinished(search, modes, iterations):
    """A candidate of random modes after some iterations of Levenberg-Marquardt."""
    return search.converged(search.random_start(modes), Refit(iterations, adam_steps=20), "start")


@pytest.mark.parametrize(("tolerance", "tried"), [(0.1, True), (1e-3, False)])
def test_a_refit_that_ended_near_the_tolerance_goes_on_before_a_number_of_modes_is_given_up(tolerance, tried):
    """The wells are quadratic and two, so that two modes meet them to rounding once they are refitted to convergence."""
    exact = two_wells(2)
    search = search_on(samples_of(exact, 120, 0), samples_of(exact, 60, 1), tolerance)
    smaller, larger = unfinished(search, 2, 2), unfinished(search, 3, 2)
    assert 1e-2 < smaller.error < 0.5
    found = moves.converge_smaller(search, larger)
    assert (found is not None) is tried
    assert found is None or found.error < 1e-6
    assert search.candidates.best[2] is (smaller if found is None else found)


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_another_minimum_is_taken_if_it_is_lower_on_the_rows_trained_on(noise):
    """Noise of the rows held back hides how much lower it is; noise of the rows trained on leaves no lower one."""
    exact = two_wells(2)
    train, validation = noisy(samples_of(exact, 120, 0), noise, 2), noisy(samples_of(exact, 60, 1), 0.2, 3)
    search = search_on(train, validation, 0.01)
    candidate = unfinished(search, 2, 60 if noise else 2)
    taken = moves.retry(search, candidate)
    errors = [search.train.worst_error(each.model) for each in (candidate, taken)]
    assert taken.error > 0.5 * candidate.error
    assert (taken is candidate) if noise else (errors[1] < 1e-6 < errors[0])


@pytest.mark.parametrize("share", [0.9, 1.1])
def test_a_number_of_modes_whose_errors_are_within_the_stated_ones_is_enough(share):
    """However much lower the errors of more modes are: the data contradict only what misses them by more than their errors."""
    exact = two_wells(2)
    search = search_on(samples_of(exact, 120, 0), samples_of(exact, 60, 1), 1e-3)
    one, two = unfinished(search, 1, 20), unfinished(search, 2, 60)
    assert two.error < 1e-3 < 0.1 < one.error
    assert not one.explained
    assert not search.candidates.acceptable(one)
    noise = share * search.train.worst_error(one.model), share * one.error
    again = replace(search, noise=noise).candidate(one.model, "start")
    assert again.explained is search.candidates.acceptable(again) is (share > 1.0)
