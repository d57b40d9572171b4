"""Natural states that a fit finds: stretches of martensite from rows that are not free of stress."""

from dataclasses import replace

import numpy as np
import pytest

import lse_material as lse
from lse_material.analysis import random_rotations
from lse_material.fit import Architecture, Training, fit_states
from tests.materials import random_deformations

VARIANTS = np.array([[[1.15, 0.03], [0.03, 0.9]], [[0.9, -0.02], [-0.02, 1.12]]])
SHORT = Training(restarts=1, adam_steps=40, lbfgs_steps=40)
SMALL = Architecture(width=3, mode_type="PolyconvexNetwork")
MEASURE = lse.PrincipalInvariants(2)


def martensite():
    """Two neo-Hookean variants."""
    states = lse.NaturalStates(2, MEASURE, VARIANTS)
    about_rest = lse.ConvexNetwork.from_arrays([], [[[1.0, 0.0]]], [[0.0]], quadratic=[[0.0, 2.0]])
    return lse.Material(lse.SoftMinimum([about_rest.reading(states.block(k), 4) for k in range(2)], 0.02), states)


def measured(rows, noise):
    rng, truth = np.random.default_rng(3), martensite()
    F = random_rotations(rows, 2, seed=1) @ random_deformations(rng, rows, 2, 0.05) @ VARIANTS[np.arange(rows) % 2]
    W, P = truth.energy(F), truth.stress(F)
    W = W + noise * W.std() * rng.standard_normal(W.shape)
    return lse.Samples(F=F, energy=W, stress=P + noise * P.std() * rng.standard_normal(P.shape))


@pytest.fixture(scope="module")
def found():
    return fit_states(measured(60, 0.01), MEASURE, 2, architecture=SMALL, training=SHORT, progress=False).material


def test_known_stretches_are_found_from_noisy_rows(found):
    stretches = np.array(found.kinematics.stretches)
    away = np.abs(stretches[:, None] - VARIANTS).max(axis=(2, 3))
    assert sorted(away.argmin(axis=1)) == [0, 1]
    assert away.min(axis=1).max() < 2e-3


def test_each_mode_is_free_of_stress_in_its_state_and_polyconvex(found):
    assert found.is_polyconvex
    for k, U in enumerate(found.kinematics.stretches):
        alone = replace(found, potential=found.potential.alone(k))
        assert np.abs(alone.stress(U)).max() < 1e-12 * np.abs(alone.tangent(U)).max()


def test_guesses_are_made_symmetric():
    """A guess stands for all its rotations in an isotropic measure."""
    guess = random_rotations(2, 2, seed=2) @ (VARIANTS + 0.005)
    training = replace(SHORT, adam_steps=10, lbfgs_steps=10)
    result = fit_states(measured(100, 0.0), MEASURE, guess, architecture=SMALL, training=training, progress=False)
    stretches = np.array(result.material.kinematics.stretches)
    np.testing.assert_allclose(stretches, np.swapaxes(stretches, 1, 2), atol=1e-15)
    np.testing.assert_allclose(stretches, VARIANTS, atol=0.02)


def test_data_without_deformation_gradients_are_refused():
    with pytest.raises(lse.InvalidInputError, match="natural states are found from Samples of F"):
        fit_states(lse.Samples(x=[[0.0], [1.0]], energy=[0.0, 1.0]), MEASURE, 2)
