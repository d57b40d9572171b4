"""Stresses of which rows know some components: what they know is met, and what they do not know is free."""

import numpy as np
import pytest

import lse_material as lse
from lse_material.analysis import check_data
from lse_material.fit import Architecture, Training, fit
from lse_material.fit.problem.rows import rows_of

TRAINING = Training(restarts=1, adam_steps=100, lbfgs_steps=300)


def bowl(growth=None):
    """A quadratic energy of E with coupled components: it is in the class of one mode."""
    root = np.array([[1.0, 0.3, 0.1], [0.0, 1.2, -0.2], [0.0, 0.0, 0.8]])
    mode = lse.ConvexNetwork.from_arrays([], [np.zeros((1, 3))], [[0.0]], quadratic=root)
    return lse.Material(lse.SoftMinimum((mode,), 1.0), lse.GreenLagrange(2), growth)


def partly_known(material, known, n=120, **values):
    rng = np.random.default_rng(0)
    F = np.eye(2) + rng.uniform(-0.3, 0.3, (n, 2, 2))
    return lse.Samples(F=F, stress=material.stress(F), stress_known=known(rng, n), **values), F


def half(rng, n):
    return rng.random((n, 2, 2)) < 0.5


def normal_stresses(rng, n):
    return np.broadcast_to(np.eye(2, dtype=bool), (n, 2, 2))


@pytest.mark.parametrize("known", [half, normal_stresses])
def test_components_that_no_row_has_follow_from_those_that_rows_have(known):
    """All stresses come from one energy: those of half the entries, or P11 and P22 alone, determine it."""
    material = bowl()
    samples, F = partly_known(material, known)
    result = fit(
        samples, kinematics=lse.GreenLagrange(2), architecture=Architecture(modes=1, width=1), training=TRAINING
    )
    P = material.stress(F)
    assert np.linalg.norm(result.material.stress(F) - P) < 1e-3 * np.linalg.norm(P)
    assert result.error(samples).stress < 1e-3
    assert all(check.passed for check in check_data(result.material, samples, tolerance=1e-3))


def test_a_growth_coefficient_is_found_from_normal_stresses():
    material = bowl(lse.Growth(0.7))
    samples, _ = partly_known(material, normal_stresses)
    result = fit(
        samples,
        kinematics=lse.GreenLagrange(2),
        architecture=Architecture(modes=1, width=1),
        training=TRAINING,
        growth="auto",
    )
    assert result.material.growth.coefficient == pytest.approx(0.7, rel=1e-2)


def test_gradients_known_in_part():
    """dW/dx1 without dW/dx2, and energies that tell the rest."""
    x = np.random.default_rng(1).normal(size=(80, 2))
    W = x[:, 0] ** 2 + 0.5 * x[:, 0] * x[:, 1] + x[:, 1] ** 2
    gradient = np.stack([2.0 * x[:, 0] + 0.5 * x[:, 1], np.full(80, np.nan)], axis=1)
    samples = lse.Samples(x=x, energy=W, gradient=gradient, stress_known=np.isfinite(gradient))
    result = fit(samples, kinematics=None, architecture=Architecture(modes=1, width=1), training=TRAINING)
    exact = np.stack([gradient[:, 0], 0.5 * x[:, 0] + 2.0 * x[:, 1]], axis=1)
    assert np.linalg.norm(result.potential.gradient(x) - exact) < 1e-3 * np.linalg.norm(exact)


def test_an_unknown_component_has_no_residual_whatever_the_material():
    samples, _ = partly_known(bowl(), half)
    rows = rows_of(samples, lse.GreenLagrange(2), None)
    unknown = ~samples.stress_known[rows.stress_rows].reshape(-1, 4)
    assert not rows.stress[unknown].any()
    assert not np.swapaxes(rows.derivative, 1, 2)[unknown].any()
