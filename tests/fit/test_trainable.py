"""The torch model says what the NumPy potential says, with an exact gradient, and stays convex mode by mode."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import lse_material as lse
from lse_material.fit import TrainablePotential
from lse_material.model import ACTIVATIONS
from tests.fit.short_fits import random_trainable
from tests.materials import random_potential, relative_error


@pytest.mark.parametrize("activation", ["softplus", "squared_softplus"])
@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_written_out_gradient_is_that_of_automatic_differentiation(depth, activation):
    model = random_trainable(depth, size=3, modes=3, width=4, depth=depth, activation=activation)
    x = torch.randn(20, 3, dtype=torch.float64, requires_grad=True)
    energy, gradient, weights = model(x)
    (exact,) = torch.autograd.grad(energy.sum(), x)
    assert relative_error(gradient.detach().numpy(), exact.numpy()) < 1e-13
    assert torch.allclose(weights.sum(1), torch.ones(20, dtype=torch.float64), rtol=0, atol=1e-14)


@pytest.mark.parametrize("quadratic", [True, False])
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_model_and_potential_agree_and_come_back_from_each_other(depth, quadratic):
    model = random_trainable(7, size=3, modes=2, width=5, depth=depth, quadratic=quadratic)
    potential = model.to_potential()
    again = TrainablePotential.from_potential(potential)
    x = np.random.default_rng(0).normal(size=(30, 3))
    for each in (model, again):
        energy, gradient, weights = (value.detach().numpy() for value in each(torch.tensor(x)))
        assert relative_error(energy, potential.energy(x)) < 1e-13
        assert relative_error(gradient, potential.gradient(x)) < 1e-13
        assert relative_error(weights, potential.mode_weights(x)) < 1e-13


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_a_quadratic_term_of_any_number_of_rows_becomes_a_square_one(rows):
    rng = np.random.default_rng(rows)
    modes = tuple(
        lse.ConvexNetwork.from_arrays([], [rng.normal(size=(1, 3))], [[0.1]], quadratic=rng.normal(size=(rows, 3)))
        for _ in range(2)
    )
    potential = lse.SoftMinimum(modes, 0.2)
    x = rng.normal(size=(10, 3))
    energy = TrainablePotential.from_potential(potential)(torch.tensor(x))[0].detach().numpy()
    assert relative_error(energy, potential.energy(x)) < 1e-13


@given(seed=st.integers(0, 1000), depth=st.integers(0, 2), scale=st.floats(0.1, 3.0))
def test_every_mode_is_convex_whatever_its_parameters(seed, depth, scale):
    """psi((a + b)/2) <= (psi(a) + psi(b))/2 along random chords: no value of a parameter can break it."""
    model = random_trainable(seed, size=2, scale=scale, modes=2, width=3, depth=depth)
    rng = np.random.default_rng(seed)
    a, b = (torch.tensor(2.0 * rng.normal(size=(20, 2))) for _ in range(2))
    with torch.no_grad():
        middle, ends = model.modes((a + b) / 2)[0], (model.modes(a)[0] + model.modes(b)[0]) / 2
    assert (middle <= ends + 1e-12 * (1 + ends.abs())).all()


def test_the_smallest_transition_scale_and_large_inputs_give_finite_numbers():
    model = random_trainable(1, modes=3, width=4, depth=2, rho=2.1e-3)
    x = torch.tensor([[1e3, -1e3], [0.0, 0.0], [-1e3, 1e-3]], dtype=torch.float64, requires_grad=True)
    energy, gradient, _ = model(x)
    (energy.sum() + gradient.sum()).backward()
    for tensor in (energy, gradient, *(p.grad for p in model.parameters() if p.grad is not None)):
        assert torch.isfinite(tensor).all()


def test_modes_of_unlike_depth_and_width_are_filled_up_and_other_activations_refused():
    rng = np.random.default_rng(0)
    one, other = (random_potential(rng, 2, modes=1, depth=depth).modes[0] for depth in (1, 2))
    potential = lse.SoftMinimum((one, other), 0.1)
    x = rng.normal(size=(10, 2))
    gradient = TrainablePotential.from_potential(potential)(torch.tensor(x))[1].detach().numpy()
    assert relative_error(gradient, potential.gradient(x)) < 1e-13
    unlike = next(name for name in ACTIVATIONS if name != one.activation)
    with pytest.raises(lse.InvalidInputError, match=f"mode 1 has the activation '{unlike}'"):
        TrainablePotential.from_potential(lse.SoftMinimum((one, replace(one, activation=unlike)), 0.1))
