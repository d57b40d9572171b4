"""Derivatives of energies and gradients in the weights that are written out are those of reverse differentiation."""

import numpy as np
import pytest
import torch

from lse_material import Symmetry
from lse_material.fit import Architecture, TrainablePotential
from lse_material.fit.model.constraints import Constraints, Orbit, Reference
from lse_material.fit.optimise import jacobian
from tests.materials import relative_error

SQUARE = Symmetry.crystal("square", "rectangle", dim=2)
CUBIC = Symmetry.crystal("cubic", "orthorhombic_110", dim=3)


def random_model(size, constraints=None, modes=2, depth=1, mode_type="ConvexNetwork"):
    torch.manual_seed(0)
    architecture = Architecture(modes=modes, width=4, depth=depth, mode_type=mode_type, stiffness=0.1)
    model = TrainablePotential.of(architecture, size, constraints=constraints)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(0.7 * torch.randn_like(p))
    return model


def orbit_of(symmetry, fields=0):
    """In scaled inputs, the first of which are fields, which the group leaves alone."""
    maps = Orbit.of(symmetry, np.random.default_rng(0).uniform(0.5, 2.0, symmetry.size)).maps
    wide = torch.eye(fields + symmetry.size, dtype=torch.float64).repeat(*maps.shape[:2], 1, 1)
    wide[:, :, fields:, fields:] = maps
    return Orbit(wide)


def reference_of(size, modes=1):
    """A point for each of some modes, where gradients in one direction give no stress."""
    rng = np.random.default_rng(1)
    axes = np.linalg.qr(rng.normal(size=(modes, size, size)))[0][:, :, 1:]
    return Reference(torch.tensor(rng.normal(size=(modes, size))), torch.tensor(axes @ axes.swapaxes(1, 2)))


def error_of_jacobian(model, rows=12):
    """Against reverse differentiation, relative; energies and gradients are exact."""
    names, x = [name for name, _ in model.named_parameters()], torch.rand(rows, model.size, dtype=torch.float64)
    assert jacobian.is_written_out(model)
    energy, gradient, J = jacobian.values_and_jacobian(model, x, names)
    exact = [value.detach().numpy() for value in model(x)]
    assert relative_error(energy.numpy(), exact[0]) < 1e-13
    assert relative_error(gradient.numpy(), exact[1]) < 1e-13
    return relative_error(J.numpy(), jacobian.differentiated(model, x, names).numpy())


@pytest.mark.parametrize("activation", ["softplus", "squared_softplus"])
@pytest.mark.parametrize("depth", [0, 1])
@pytest.mark.parametrize("quadratic", [True, False])
def test_derivatives_in_the_weights_that_are_written_out_are_those_of_differentiation(activation, depth, quadratic):
    torch.manual_seed(0)
    model = TrainablePotential.of(Architecture(3, 4, depth, activation, quadratic, stiffness=0.1), 3)
    x = torch.randn(20, 3, dtype=torch.float64)
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(torch.randn_like(p))
            if name.startswith(("x_weights", "raw_z_weights", "quadratic")):
                model.masks[name] = (torch.rand_like(p) > 0.3).to(p.dtype)
    names = [name for name, _ in model.named_parameters()]
    energy, gradient, J = jacobian.values_and_jacobian(model, x, names)
    assert relative_error(J.numpy(), jacobian.differentiated(model, x, names).numpy()) < 1e-13
    exact = [value.detach().numpy() for value in model(x)]
    assert relative_error(energy.numpy(), exact[0]) < 1e-14
    assert relative_error(gradient.numpy(), exact[1]) < 1e-13


@pytest.mark.parametrize("symmetry", [SQUARE, CUBIC], ids=lambda s: s.name)
@pytest.mark.parametrize("stress_free", [False, True])
def test_those_of_a_symmetric_model_pass_through_images_means_and_the_reference(symmetry, stress_free):
    reference = reference_of(symmetry.size) if stress_free else None
    for depth in (0, 1):
        model = random_model(symmetry.size, Constraints(orbit_of(symmetry), reference), depth=depth)
        assert error_of_jacobian(model) < 1e-12


def test_those_of_modes_that_a_temperature_weighs_pass_through_the_images():
    model = random_model(4, Constraints(orbit_of(SQUARE, fields=1), reference_of(4)), mode_type="InterpolatedNetwork")
    assert error_of_jacobian(model) < 1e-12


@pytest.mark.parametrize("symmetry", [None, SQUARE], ids=["no symmetry", "symmetry"])
def test_those_of_modes_without_stress_in_their_natural_states_pass_through_these_states(symmetry):
    orbit = None if symmetry is None else orbit_of(symmetry)
    model = random_model(3, Constraints(orbit, reads=torch.tensor([[1.0, 1, 0], [0, 1, 1]]), rest=reference_of(3, 2)))
    assert error_of_jacobian(model) < 1e-12


@pytest.mark.parametrize("symmetry", [None, SQUARE], ids=["no symmetry", "symmetry"])
@pytest.mark.parametrize("activation", ["softplus", "squared_softplus"])
@pytest.mark.parametrize("mode_type", ["DesignNetwork", "InterpolatedDesign"])
def test_those_of_modes_whose_weights_depend_on_designs_pass_through_features_masks_and_images(
    symmetry, activation, mode_type
):
    torch.manual_seed(0)
    fields = 2 if mode_type == "DesignNetwork" else 3
    constraints = None if symmetry is None else Constraints(orbit_of(symmetry, fields), reference_of(3 + fields))
    architecture = Architecture(2, 3, 0, activation, stiffness=0.1, mode_type=mode_type, design=2)
    model = TrainablePotential.of(architecture, 3 + fields, constraints=constraints)
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(0.5 * torch.randn_like(p))
            if symmetry is None and p.ndim:
                model.masks[name] = (torch.rand_like(p) > 0.2).to(p.dtype)
    assert error_of_jacobian(model) < 1e-12
