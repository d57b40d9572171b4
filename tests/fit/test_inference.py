"""Densities fitted to targets of which everything is known."""

import numpy as np
import pytest
import torch

from lse_material import InvalidInputError
from lse_material.fit import Architecture, Training
from lse_material.fit.inference import Counted, Inference, annealed, infer
from lse_material.stationary import Box

WEIGHTS = torch.tensor([0.3, 0.7], dtype=torch.float64)
PLACES = torch.tensor([[-2.0, 0.0], [2.0, 1.0]], dtype=torch.float64)


def two_gaussians(x):
    square = ((x[:, None] - PLACES) ** 2).sum(2)
    return torch.logsumexp(torch.log(WEIGHTS) - 0.5 * square / 0.36 - np.log(2.0 * np.pi * 0.36), 1)


def quadrature(log_q):
    """KL(p || q) and the mass of q on the right side."""
    axis = np.linspace(-6.0, 6.0, 241)
    x = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    p = two_gaussians(torch.tensor(x)).numpy()
    cell = (axis[1] - axis[0]) ** 2
    q = log_q(x)
    return float((np.exp(p) * (p - q)).sum() * cell), float(np.exp(q[x[:, 0] > 0.0]).sum() * cell)


def test_two_gaussians_of_unequal_weight_are_found():
    result = infer(
        lambda x: two_gaussians(x) + 5.0,
        [-6.0, -6.0],
        [6.0, 6.0],
        architecture=Architecture(modes=3, width=2, stiffness=1e-3),
        training=Training(restarts=1, adam_steps=150, lbfgs_steps=120, batch=300),
        inference=Inference(particles=400, rounds=1, moves=5),
        seed=0,
    )
    kl, right = quadrature(result.density.log_density)
    assert -0.01 < kl < 0.02  # ln Z is known to some thousandths
    assert right == pytest.approx(0.7, abs=0.03)
    assert result.ess > 0.9
    assert result.log_evidence == pytest.approx(5.0, abs=0.05)


def test_annealed_particles_have_the_weights_of_the_target():
    rng = np.random.default_rng(1)
    box = Box.of([-6.0, -6.0], [6.0, 6.0], 2)
    x = annealed(Counted(two_gaussians, 2), box, Inference(particles=4000, moves=5), rng)[:4000]
    assert (x[:, 0] > 0.0).mean() == pytest.approx(0.7, abs=0.06)
    assert x[x[:, 0] > 0.0].var(axis=0) == pytest.approx([0.36, 0.36], rel=0.15)


def test_a_target_may_end_somewhere():
    def half(x):  # a Gaussian on the right side only
        return torch.where(x[:, 0] > 0.0, -0.5 * (x**2).sum(1), -torch.inf)

    box = Box.of([-4.0, -4.0], [4.0, 4.0], 2)
    x = annealed(Counted(half, 2), box, Inference(particles=1000, moves=5), np.random.default_rng(3))[:1000]
    assert (x[:, 0] > 0.0).all()
    assert x[:, 0].mean() == pytest.approx(np.sqrt(2.0 / np.pi), abs=0.08)


def test_the_gradient_of_a_target_is_exact():
    x = np.random.default_rng(2).normal(size=(4, 2))
    energy, gradient = Counted(lambda t: -0.5 * (t**2).sum(1), 2)(x)
    np.testing.assert_allclose(energy, 0.5 * (x**2).sum(axis=1))
    np.testing.assert_allclose(gradient, x)


def test_targets_and_settings_that_cannot_be_are_refused():
    with pytest.raises(InvalidInputError, match="must return"):
        Counted(lambda x: x, 2)(np.zeros((3, 2)))
    with pytest.raises(InvalidInputError, match="NaN at"):
        Counted(lambda x: x.sum(1) * torch.nan, 2)(np.zeros((3, 2)))
    with pytest.raises(InvalidInputError, match="particles"):
        Inference(particles=5)
    with pytest.raises(InvalidInputError, match="auto"):
        infer(two_gaussians, [-6.0] * 2, [6.0] * 2, architecture=Architecture(modes="auto"))
    with pytest.raises(InvalidInputError, match="below upper"):
        infer(two_gaussians, [6.0] * 2, [-6.0] * 2)
