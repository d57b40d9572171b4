"""A new activation is one entry of one table: every backend, fit and export take it from there."""

import numpy as np
import pytest
import torch

import lse_material as lse
from lse_material.export import export, source
from lse_material.fit import Architecture, TrainablePotential, Training, fit
from lse_material.fit.model.convex_network import activation
from lse_material.fit.optimise import jacobian
from lse_material.model import ACTIVATIONS, Activation
from lse_material.model.activations import activated
from tests.exported import compiled, expected
from tests.materials import random_deformations, random_material, relative_error
from tests.translations import TRANSLATIONS, assert_agreement

CUBED = Activation(lambda s: s * s * s / 6.0, lambda s, t: 0.5 * s * s * t, lambda s, t, c: s * t * t + 0.5 * s * s * c)


@pytest.fixture
def material(monkeypatch):
    monkeypatch.setitem(ACTIVATIONS, "cubed_softplus", CUBED)
    options = {"activation": "cubed_softplus", "modes": 2, "width": 3, "equal_widths": True}
    return random_material(np.random.default_rng(0), lse.GreenLagrange(2), **options)


def test_every_backend_says_what_numpy_says(material):
    assert_agreement(material, random_deformations(np.random.default_rng(1), 8, 2), *TRANSLATIONS)


def test_it_is_saved_fitted_and_exported(material, tmp_path):
    F = random_deformations(np.random.default_rng(2), 60, 2)
    lse.save(material, tmp_path / "cubed.safetensors")
    np.testing.assert_array_equal(lse.load(tmp_path / "cubed.safetensors").stress(F), material.stress(F))
    export(material, tmp_path / "cell.c")
    shapes = [(), (2, 2), (2,) * 4, (2,)]
    for got, exact in zip(compiled(tmp_path / "cell.c", "cell", F, shapes), expected(material, F)):
        assert relative_error(got, exact) < 1e-12
    for language in ("numpy", "ufl"):  # whose files hold the text of the table
        with pytest.raises(lse.InvalidInputError, match="'cubed_softplus' has no text in the table"):
            source(material, language)
    result = fit(
        lse.Samples(F=F, energy=material.energy(F), stress=material.stress(F)),
        kinematics=lse.GreenLagrange(2),
        architecture=Architecture(modes=2, width=4, activation="cubed_softplus"),
        training=Training(restarts=1, adam_steps=100, lbfgs_steps=100),
        progress=False,
    )
    assert {mode.activation for mode in result.potential.modes} == {"cubed_softplus"}
    assert relative_error(result.material.stress(F), material.stress(F)) < 0.05


@pytest.mark.parametrize("name", [*sorted(ACTIVATIONS), "cubed_softplus"])
def test_an_activation_means_the_same_in_torch_as_in_numpy_with_its_slope_and_curvature(name, material):
    a = np.linspace(-6.0, 6.0, 25)
    for got, exact in zip(activation(name, torch.tensor(a)), activated(name, a)):
        np.testing.assert_allclose(got.numpy(), exact, rtol=1e-13)


def test_the_written_out_jacobian_of_the_fit_is_that_of_differentiation(monkeypatch):
    monkeypatch.setitem(ACTIVATIONS, "cubed_softplus", CUBED)
    options = {"activation": "cubed_softplus", "modes": 2, "width": 3, "depth": 1, "equal_widths": True}
    potential = random_material(np.random.default_rng(3), lse.GreenLagrange(2), **options).potential
    model = TrainablePotential.from_potential(potential)
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    x = torch.tensor(np.random.default_rng(4).normal(size=(7, 3)))
    written = jacobian.values_and_jacobian(model, x, names)[2]
    assert relative_error(written.numpy(), jacobian.differentiated(model, x, names).detach().numpy()) < 1e-10
