"""Modes whose weights depend on design parameters: derivatives, convexity at every design, and what becomes of them."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

import lse_material as lse
from lse_material.analysis import verify
from lse_material.analysis.verification import check_convexity
from lse_material.export import export
from lse_material.fit import Architecture, Design, TrainablePotential, Training, fit
from tests.exported import python_module
from tests.materials import central_difference, random_deformations, random_design, random_network, relative_error
from tests.translations import BOUNDS, compiled_potential, expanded_ufl_potential, torch_potential, ufl_potential


def potential(seed, design=2, size=3, **options):
    rng = np.random.default_rng(seed)
    modes = tuple(random_design(rng, design, size, **options) for _ in range(3))
    d = design + size
    return lse.SoftMinimum(modes, 0.4, 0.1 * rng.normal(size=d), rng.uniform(0.5, 2.0, d), 1.7, -0.3)


@pytest.mark.parametrize("activation", ["softplus", "squared_softplus"])
@pytest.mark.parametrize(("design", "size", "rows"), [(1, 1, 0), (2, 3, 2), (3, 6, 4)])
def test_derivatives_are_those_of_the_energy(design, size, rows, activation):
    rng = np.random.default_rng(0)
    mode = random_design(rng, design, size, rows=rows, activation=activation)
    x = rng.normal(size=(20, design + size))
    assert relative_error(central_difference(mode.energy, x, 1, 1e-3), mode.gradient(x)) < 1e-9
    assert relative_error(central_difference(mode.gradient, x, 1, 1e-3), mode.hessian(x)) < 1e-9


@pytest.mark.parametrize("activation", ["softplus", "squared_softplus"])
def test_every_backend_says_what_numpy_says(activation):
    p = potential(1, activation=activation)
    small = potential(1, activation=activation, width=2, features=2)  # written out, its Hessian takes gcc a minute
    affine = potential(1, activation=activation, width=2, features=0)
    x = np.random.default_rng(2).normal(size=(12, 5)) * np.array([1.0, 3.0, 1.0, 1.0, 1.0])
    plain = lse.SoftMinimum(p.modes, 0.4)
    backends = ((compiled_potential, p), (compiled_potential, affine), (ufl_potential, p), (ufl_potential, affine))
    backends += ((expanded_ufl_potential, small), (torch_potential, plain))
    for translation, of in backends:
        exact = {"W": of.energy(x), "P": of.gradient(x), "A": of.hessian(x)}
        for name, value in translation(of, x).items():
            error = relative_error(value, exact[name])
            assert error < BOUNDS[name], f"{name} {translation.__name__}: {error:.1e}"


def test_arguments_far_away_and_vanishing_ones_agree():
    p = potential(10, rows=0)
    x = np.random.default_rng(11).normal(size=(9, 5)) * np.logspace(-3, 3, 9)[:, None]
    x[0] = p.input_shift
    exact = {"W": p.energy(x), "P": p.gradient(x), "A": p.hessian(x)}
    for name, value in compiled_potential(p, x).items():
        assert np.isfinite(exact[name]).all()
        assert relative_error(value, exact[name]) < BOUNDS[name]
    zero = {name: np.zeros_like(tensor) for name, tensor in p.modes[0].tensors().items()}
    still = lse.SoftMinimum((lse.DesignNetwork(**zero),), 1.0)
    for name, value in compiled_potential(still, np.zeros((1, 5))).items():
        np.testing.assert_allclose(
            value, {"W": still.energy, "P": still.gradient, "A": still.hessian}[name](np.zeros((1, 5)))
        )
    x[4, 0] = np.nan
    np.testing.assert_array_equal(np.isnan(compiled_potential(p, x)["W"]), np.isnan(p.energy(x)))


def test_every_mode_is_convex_at_ten_thousand_points_whatever_the_design():
    p = potential(3)
    x = 3.0 * np.random.default_rng(4).normal(size=(10_000, 5))
    assert p.kinds == ("design", "design", "convex", "convex", "convex")
    assert check_convexity(p, x).passed
    for mode in p.modes:
        eigenvalues = np.linalg.eigvalsh(mode.hessian(x)[:, 2:, 2:])
        assert eigenvalues.min() > -1e-12 * eigenvalues.max()
        assert np.linalg.eigvalsh(mode.hessian(x)).min() < -1e-3  # and not in both together


def test_at_a_design_it_is_a_convex_network():
    p, rng = potential(5), np.random.default_rng(6)
    x, design = rng.normal(size=(20, 3)), [0.7, -1.1]
    held = p.at(design)
    assert {type(mode) for mode in held.modes} == {lse.ConvexNetwork}
    both = np.concatenate([np.tile(design, (20, 1)), x], axis=1)
    np.testing.assert_allclose(held.energy(x), p.energy(both), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(held.hessian(x), p.hessian(both)[:, 2:, 2:], rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(
        p.at([*design, 0.2]).energy(x[:, 1:]), p.energy(both * [1, 1, 0, 1, 1] + [0, 0, 0.2, 0, 0])
    )


def test_what_a_mode_can_be_made_into_keeps_its_meaning():
    rng = np.random.default_rng(7)
    mode, x = random_design(rng, 2, 2), rng.normal(size=(20, 4))
    slope, root = rng.normal(size=4), np.column_stack([np.zeros((2, 2)), rng.normal(size=(2, 2))])
    added = mode.energy(x) + x @ slope + 0.5 * ((x @ root.T) ** 2).sum(axis=1)
    np.testing.assert_allclose(mode.plus(slope, root).energy(x), added, rtol=1e-12, atol=1e-12)
    wide = np.column_stack([x[:, :2], rng.normal(size=20), x[:, 2:]])
    np.testing.assert_allclose(mode.reading([0, 1, 3, 4], 5).energy(wide), mode.energy(x), rtol=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda m: m.at(np.zeros(4)), "4 of 4 inputs"),
        (lambda m: m.reading([1, 0, 2, 3], 4), "must begin with those"),
        (lambda m: m.plus(np.zeros(4), np.eye(4)), "quadratic term in the parameters"),
        (lambda m: lse.DesignNetwork(**{**m.tensors(), "level": [0.0]}), "level has shape (1,)"),
        (lambda m: lse.DesignNetwork(**m.tensors(), activation="relu"), "'relu' is not known"),
        (lambda m: lse.DesignNetwork.from_tensors({}, {}), "its tensors are []"),
        (
            lambda m: TrainablePotential.from_potential(lse.SoftMinimum((m,), 1.0)),
            "has quadratic of shape (3, 2, 6); a trainable",
        ),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(lse.InvalidInputError, match=re.escape(message)):
        make(random_design(np.random.default_rng(8), 2, 2, rows=3))


@pytest.mark.parametrize("rows", [0, 2, 40])
def test_the_mean_over_images_of_the_strain_is_a_mode_of_the_same_kind(rows):
    mode = random_design(np.random.default_rng(6), 2, 3, rows=rows)
    maps = lse.Symmetry.crystal("square", "rectangle", dim=2).on(5, first=2).group
    x = np.random.default_rng(7).normal(size=(30, 5))
    for some in (maps[1:2], maps):
        images = [mode.energy(x @ A.T) for A in some]
        assert relative_error(mode.mean_over(some).energy(x), np.mean(images, axis=0)) < 1e-12
    with pytest.raises(lse.InvalidInputError, match="leave the parameters"):
        mode.mean_over(np.eye(5)[::-1][None])


def test_file_and_export_keep_it(tmp_path):
    rng = np.random.default_rng(9)
    modes = random_design(rng, 1, 3), random_network(rng, 4, depth=1)
    m = lse.Material(lse.SoftMinimum(modes, 0.3), lse.GreenLagrange(2), fields=("porosity",))
    lse.save(m, tmp_path / "m.safetensors")
    back, F = lse.load(tmp_path / "m.safetensors"), random_deformations(rng, 5, 2)
    np.testing.assert_array_equal(back.tangent(F, [0.3]), m.tangent(F, [0.3]))
    assert back.kinds == {"porosity": "design"}
    assert all(check.passed for check in verify(m))
    export(m.potential, tmp_path / "p.py")
    x = rng.normal(size=(6, 4))
    for got, exact in zip(
        python_module(tmp_path / "p.py").evaluate(x), (m.potential.energy(x), m.potential.gradient(x))
    ):
        assert relative_error(got, exact) < 1e-12
    export(m.at(porosity=0.3), tmp_path / "m.c")


@pytest.mark.parametrize(
    ("value", "inside"), [(0.1, True), (0.5 + 1e-12, True), (0.51, False), (-3.0, False), (1e9, False)]
)
def test_a_design_outside_the_data_is_refused_unless_it_is_asked_for(value, inside):
    rng = np.random.default_rng(9)
    modes = random_design(rng, 1, 3), random_network(rng, 4, depth=1)
    box = lse.Box([0.1, *[-0.2] * 3], [0.5, *[0.2] * 3])
    m = lse.Material(lse.SoftMinimum(modes, 0.3), lse.GreenLagrange(2), training_box=box, fields=("porosity",))
    if inside:
        assert m.at([value]).training_box.size == 3
    else:
        with pytest.raises(lse.InvalidInputError, match=r"porosity = .* is outside the data of the fit, 0\.1 to 0\.5"):
            m.at(porosity=value)
        far = m.at([value], extrapolate=True)
        np.testing.assert_allclose(far.energy(np.eye(2)), m.energy(np.eye(2), [value]), rtol=1e-9)
    assert replace(m, training_box=None).at(porosity=value).fields == ()


@pytest.mark.slow
def test_a_stiffness_that_depends_on_a_design_in_any_way_is_learnt():
    """E(p) e^2/2 + F(p) e with E and F not monotonic, at twelve designs, between which it is met."""

    def samples(designs, seed):
        rng = np.random.default_rng(seed)
        p, e = np.repeat(designs, 12), rng.uniform(-1.0, 1.0, 12 * len(designs))
        E, level = 1.5 + np.cos(2.0 * p), np.sin(2.0 * p)
        slopes = np.column_stack([-np.sin(2.0 * p) * e**2 + 2.0 * np.cos(2.0 * p) * e, E * e + level])
        return lse.Samples(x=np.column_stack([p, e]), energy=0.5 * E * e**2 + level * e, gradient=slopes)

    result = fit(
        samples(np.linspace(0.0, 2.0, 12), 0),
        architecture=Architecture(modes=1, width=4),
        parameters={"x1": Design()},
        training=Training(restarts=2, adam_steps=800, lbfgs_steps=800, validation=0.0),
        progress=False,
    )
    assert result.potential.kinds == ("design", "convex")
    assert result.error(samples([0.4, 1.0, 1.7], 1)).stress < 0.02
    model = TrainablePotential.from_potential(result.potential)
    x = torch.zeros(1, 2, dtype=torch.float64)
    assert float(model(x)[0].detach()[0]) == pytest.approx(float(model.to_potential().energy(x.numpy())[0]), rel=1e-12)
