"""Symmetry and a stress-free reference hold to rounding, whatever the weights; what they leave free is still fitted."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import lse_material as lse
from lse_material import Symmetry
from lse_material.fit import Architecture, TrainablePotential, Training, fit
from lse_material.fit.model.constraints import Constraints, Orbit, Reference
from lse_material.fit.optimise.levenberg_marquardt import normal_equations
from tests.fit.short_fits import loss_of
from tests.materials import relative_error, samples_of, two_wells

SYMMETRIES = [
    Symmetry.crystal("square", "rectangle", dim=2),
    Symmetry.crystal("hexagon", "rectangle", dim=2),
    Symmetry.crystal("cubic", "tetragonal", dim=3),
    Symmetry.crystal("cubic", "orthorhombic_110", dim=3),
    Symmetry.crystal("tetragonal", "triclinic", dim=3),
]


def variants(symmetry, centre, stiffness=8.0, rho=0.05):
    """Quadratic wells at the images of a point."""
    modes = []
    for r in symmetry.variants:
        c = r @ centre
        bias = [[stiffness * (c @ c) / 2]]
        modes.append(
            lse.ConvexNetwork.from_arrays(
                [], [-stiffness * c[None]], bias, quadratic=np.sqrt(stiffness) * np.eye(len(c))
            )
        )
    return lse.SoftMinimum(tuple(modes), rho)


def symmetric_model(symmetry, seed, scale, modes=2, depth=2, stiffness=0.0, reference=None):
    torch.manual_seed(seed)
    orbit = Orbit.of(symmetry, scale)
    constraints = Constraints(orbit, reference)
    architecture = Architecture(modes=modes, width=4, depth=depth, stiffness=stiffness)
    model = TrainablePotential.of(architecture, symmetry.size, constraints=constraints)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(0.7 * torch.randn_like(p))
    return model


@pytest.mark.parametrize("symmetry", SYMMETRIES, ids=lambda s: s.name)
def test_images_have_the_same_energy_in_the_model_and_in_what_it_becomes(symmetry):
    rng = np.random.default_rng(0)
    scale = rng.uniform(0.5, 2.0, symmetry.size)
    shift = symmetry.group.mean(axis=0) @ rng.normal(size=symmetry.size)
    model = symmetric_model(symmetry, 1, scale, stiffness=0.1)
    potential = model.to_potential(shift, scale, 3.0, 1.0)
    assert len(potential.modes) == 2 * len(symmetry.variants)
    x = shift + rng.normal(size=(30, symmetry.size))
    energy = potential.energy(x)
    for element in symmetry.group:
        assert np.abs(potential.energy(x @ element.T) - energy).max() < 1e-12 * np.abs(energy).max()
    scaled = torch.tensor((x - shift) / scale)
    values, gradients, weights = (v.detach().numpy() for v in model(scaled))
    assert relative_error(3.0 * values + 1.0, energy) < 1e-12
    assert relative_error(3.0 * gradients / scale, potential.gradient(x)) < 1e-12
    by_family = potential.mode_weights(x).reshape(len(x), 2, -1).sum(axis=2)
    assert np.abs(by_family - weights).max() < 1e-12


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), k=st.integers(0, len(SYMMETRIES) - 1), depth=st.integers(0, 2))
def test_the_modes_of_an_orbit_have_each_other_s_energies_at_images(seed, k, depth):
    """Mode r at r x is mode 0 at x, and each mode stays as it is under the symmetry of its variant."""
    symmetry = SYMMETRIES[k]
    potential = symmetric_model(symmetry, seed, np.ones(symmetry.size), modes=1, depth=depth).to_potential()
    x = np.random.default_rng(seed).normal(size=(10, symmetry.size))
    single = [lse.SoftMinimum((mode,), 1.0) for mode in potential.modes]
    first = single[0].energy(x)
    size = 1e-12 * (1.0 + np.abs(first).max())
    for r, mode in zip(symmetry.variants, single):
        assert np.abs(mode.energy(x @ r.T) - first).max() < size
    for a in symmetry.invariance:
        assert np.abs(single[0].energy(x @ a.T) - first).max() < size


def test_the_jacobian_of_a_constrained_model_agrees_with_finite_differences():
    """The residuals' derivatives in the weights pass through images, averages and the reference."""
    symmetry = SYMMETRIES[0]
    exact = variants(symmetry, np.array([0.5, -0.5, 0.0]))
    loss = loss_of(samples_of(exact, 40, 0))
    reference = Reference.of(np.zeros((1, 3)), np.eye(3)[None], np.zeros(3), np.ones(3))
    model = symmetric_model(symmetry, 3, np.ones(3), reference=reference, stiffness=0.2)
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    derivative = normal_equations(model, loss, names)[1]  # half the gradient of the loss
    value = loss(model)
    value.backward()
    parameters = dict(model.named_parameters())
    gradient = torch.cat([parameters[name].grad.reshape(-1) for name in names])
    assert relative_error(2.0 * derivative.numpy(), gradient.numpy()) < 1e-10


def landau(n, seed):
    """Rectangles made of a square: W = (e2^2 - 1)^2 + 3/2 e1^2 + 2 x_3^2 with e1, e2 = (x_1 +- x_2)/sqrt 2."""
    x = np.random.default_rng(seed).uniform(-1.0, 1.0, (n, 3)) * [1.4, 1.4, 1.0]
    T = np.array([[1.0, 1.0, 0.0], [1.0, -1.0, 0.0], [0.0, 0.0, np.sqrt(2.0)]]) / np.sqrt(2.0)
    e = x @ T.T
    derivative = np.stack([3.0 * e[:, 0], 4.0 * e[:, 1] * (e[:, 1] ** 2 - 1.0), 4.0 * e[:, 2]], axis=1) @ T
    return lse.Samples(
        x=x, energy=(e[:, 1] ** 2 - 1.0) ** 2 + 1.5 * e[:, 0] ** 2 + 2.0 * e[:, 2] ** 2, gradient=derivative
    )


@pytest.mark.slow
def test_one_trained_mode_becomes_the_two_variants_and_needs_fewer_samples():
    """With the symmetry half of the samples give at most the error; what was fitted are the variants."""
    symmetry, test = Symmetry.crystal("square", "rectangle", dim=2), landau(1000, 99)
    options = {"training": Training(restarts=2, adam_steps=300, lbfgs_steps=300), "progress": False}
    errors = {"with it": [], "without": []}
    for seed in range(3):
        with_it = fit(
            landau(80, seed), architecture=Architecture(modes=1, width=4), symmetry=symmetry, seed=seed, **options
        )
        without = fit(landau(160, seed), architecture=Architecture(modes=2, width=4), seed=seed, **options)
        for name, result in (("with it", with_it), ("without", without)):
            error = result.error(test)
            errors[name].append((error.energy, error.stress))
    medians = {name: np.median(values, axis=0) for name, values in errors.items()}
    assert (medians["with it"] <= medians["without"]).all()
    assert with_it.variants == len(with_it.potential.modes) == 2
    x = test.x
    image = x @ symmetry.variants[1].T
    energy = with_it.potential.energy(x)
    assert np.abs(with_it.potential.energy(image) - energy).max() < 1e-12 * np.abs(energy).max()


def test_the_training_box_holds_the_images_of_the_data():
    """A fit with a symmetry knows the images of its samples as well as the samples."""
    symmetry, data = Symmetry.crystal("square", "rectangle", dim=2), landau(200, 0)
    right = data.take(np.flatnonzero((data.x[:, 0] > data.x[:, 1]) & (data.x[:, 2] > 0.0)))
    short = Training(restarts=1, adam_steps=5, lbfgs_steps=5)
    options = {"architecture": Architecture(modes=1, width=2), "training": short, "progress": False}
    box = fit(right, symmetry=symmetry, **options).potential.training_box
    images = np.concatenate([right.x @ element.T for element in symmetry.group])
    np.testing.assert_array_equal([box.lower, box.upper], [images.min(axis=0), images.max(axis=0)])
    assert box.lower[0] == pytest.approx(box.lower[1], rel=1e-12)
    assert box.lower[2] == pytest.approx(-box.upper[2], rel=1e-12)


@pytest.mark.parametrize("kinematics", [lse.GreenLagrange(2), lse.SmallStrain(3)], ids=str)
def test_a_stress_free_reference_is_stress_free_to_rounding(kinematics):
    rng = np.random.default_rng(0)
    F = np.eye(kinematics.dim) + rng.uniform(-0.2, 0.2, (200, kinematics.dim, kinematics.dim))
    C = np.swapaxes(F, 1, 2) @ F
    W = ((C - np.eye(kinematics.dim)) ** 2).sum(axis=(1, 2))
    samples = lse.Samples(F=F, energy=W)
    short = Training(restarts=1, adam_steps=100, lbfgs_steps=150)
    options = {"kinematics": kinematics, "training": short, "progress": False}
    result, free = (fit(samples, architecture=Architecture(stress_free=flag), **options) for flag in (True, False))
    identity = np.eye(kinematics.dim)[None]
    assert np.abs(result.material.stress(identity)).max() < 1e-12 * np.abs(result.material.stress(F)).max()
    assert np.abs(free.material.stress(identity)).max() > 1e-6 * np.abs(free.material.stress(F)).max()
    assert result.train_errors.energy < 1.5 * free.train_errors.energy + 0.01


def test_a_stiffness_makes_the_energy_grow_in_every_direction():
    """Without it a mode may be flat, or fall, outside the data: W is then no energy to minimise."""
    x = np.random.default_rng(0).uniform(-1.0, 1.0, (200, 2))
    data = lse.Samples(
        x=x, energy=x[:, 0] ** 2 - 0.5 * x[:, 1], gradient=np.stack([2.0 * x[:, 0], 0.0 * x[:, 1] - 0.5], 1)
    )
    architecture = Architecture(modes=1, stiffness=0.02)
    result = fit(data, architecture=architecture, training=Training(restarts=1, adam_steps=300), progress=False)
    angles = np.linspace(0.0, 2.0 * np.pi, 100)
    ray = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    energies = [result.potential.energy(r * ray) for r in (30.0, 300.0, 3000.0)]
    assert (energies[1] > energies[0]).all()
    assert (energies[2] > 50.0 * energies[1]).all()
    assert result.train_errors.energy < 0.05


def test_symmetries_that_do_not_fit_the_data_are_refused():
    data = samples_of(two_wells(2), 60, 0)
    with pytest.raises(lse.InvalidInputError, match="acts on 3 inputs"):
        fit(data, symmetry=SYMMETRIES[0], progress=False)
    F = np.eye(2) + 0.1 * np.random.default_rng(0).normal(size=(60, 2, 2))
    samples = lse.Samples(F=F, energy=F[:, 0, 0])
    with pytest.raises(lse.InvalidInputError, match="every mode of IsotropicInvariants is isotropic already"):
        fit(samples, kinematics=lse.IsotropicInvariants(2), symmetry=SYMMETRIES[0], progress=False)
