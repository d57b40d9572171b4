"""Modes that go over from one convex network to another: values, derivatives, convexity, and what becomes of them."""

import re

import numpy as np
import pytest
import ufl

import lse_material as lse
from lse_material.analysis import verify
from lse_material.analysis.verification import check_concavity, check_convexity
from lse_material.export import export
from tests.exported import compiled, python_module
from tests.materials import (
    central_difference,
    quadratic_well,
    random_deformations,
    random_interpolated,
    random_network,
    relative_error,
    softening,
    temperature_material,
)
from tests.translations import BOUNDS, compiled_potential, expanded_ufl_potential, torch_potential, ufl_potential

SCALES = ([0.2, 0.1, 0.0, -0.1], [1.5, 1.0, 2.0, 0.7], 1.7, -0.3)  # of potentials of four inputs


def potential(seed, depths=(1, 1), modes=3, **options):
    rng = np.random.default_rng(seed)
    return lse.SoftMinimum(tuple(random_interpolated(rng, 4, depths, **options) for _ in range(modes)), 0.4, *SCALES)


def inputs(p, n, seed=1):
    """Points with t in its range, 0 to 1 where scaled."""
    rng = np.random.default_rng(seed)
    t, x = rng.uniform(0.0, 1.0, (n, 1)), rng.normal(size=(n, p.size - 1))
    return p.input_shift + p.input_scale * np.concatenate([t, x], axis=1)


@pytest.mark.parametrize("depths", [(0, 0), (1, 1), (2, 2), (3, 1), (0, 2)])
def test_it_is_the_mean_of_its_ends_in_the_share_of_t(depths):
    rng = np.random.default_rng(0)
    lower, upper = (random_network(rng, 3, depth=depth) for depth in depths)
    mode, x = lse.InterpolatedNetwork(lower, upper), rng.normal(size=(50, 4))
    t = x[:, 0]
    exact = (1.0 - t) * lower.energy(x[:, 1:]) + t * upper.energy(x[:, 1:])
    np.testing.assert_allclose(mode.energy(x), exact, rtol=1e-12, atol=1e-12)
    assert relative_error(central_difference(mode.energy, x, 1, 1e-3), mode.gradient(x)) < 1e-10
    assert relative_error(central_difference(mode.gradient, x, 1, 1e-3), mode.hessian(x)) < 1e-10
    assert len(mode.lower.z_weights) == max(depths)


def test_ends_of_the_same_hidden_layers_share_them():
    rng = np.random.default_rng(1)
    lower, other = random_network(rng, 3), random_network(rng, 3)
    upper = lse.ConvexNetwork(
        (*lower.z_weights[:-1], np.ones_like(lower.z_weights[-1])),
        (*lower.x_weights[:-1], other.x_weights[-1]),
        (*lower.biases[:-1], other.biases[-1]),
        quadratic=other.quadratic,
    )
    mode = lse.InterpolatedNetwork(lower, upper)
    assert [len(b) for b in mode.lower.biases] == [len(b) for b in lower.biases]
    assert mode.parameters < lower.parameters + upper.parameters
    apart = lse.InterpolatedNetwork(lower, other)
    assert [len(b) for b in apart.at([0.5]).biases] == [10, 12, 1]


@pytest.mark.parametrize("activation", ["softplus", "squared_softplus"])
@pytest.mark.parametrize("depths", [(0, 0), (1, 1), (2, 1), (3, 3)])
def test_every_backend_says_what_numpy_says(depths, activation):
    p = potential(3, depths, activation=activation)
    x = inputs(p, 20)
    exact = {"W": p.energy(x), "P": p.gradient(x), "A": p.hessian(x)}
    translations = [compiled_potential, ufl_potential]
    for translation in [*translations, *([expanded_ufl_potential] if max(depths) < 2 else [])]:
        for name, value in translation(p, x).items():
            error = relative_error(value, exact[name])
            assert error < BOUNDS[name], f"{name} {translation.__name__}: {error:.1e}"
    plain, x = lse.SoftMinimum(p.modes, 0.4), (x - p.input_shift) / p.input_scale
    for name, value in torch_potential(plain, x).items():
        exact = {"W": plain.energy, "P": plain.gradient, "A": plain.hessian}[name](x)
        assert relative_error(value, exact) < BOUNDS[name]


def test_beside_convex_networks_in_one_soft_minimum_it_says_the_same():
    rng = np.random.default_rng(4)
    modes = random_interpolated(rng, 4), random_network(rng, 4), random_interpolated(rng, 4, (2, 2))
    p = lse.SoftMinimum(modes, 0.3, *SCALES)
    x = inputs(p, 16)
    for name, value in compiled_potential(p, x).items():
        exact = {"W": p.energy, "P": p.gradient, "A": p.hessian}[name](x)
        assert relative_error(value, exact) < BOUNDS[name]


def test_far_outside_its_range_values_are_finite_and_nan_stays_nan():
    p = potential(5)
    x = inputs(p, 30)
    x[:10, 0] = np.linspace(-100.0, 100.0, 10)
    exact = p.energy(x)
    assert np.isfinite(exact).all()
    assert np.isfinite(p.hessian(x)).all()
    assert relative_error(compiled_potential(p, x)["W"], exact) < 1e-12
    x[3, 0] = np.nan
    np.testing.assert_array_equal(np.isnan(compiled_potential(p, x)["W"]), np.isnan(p.energy(x)))


@pytest.mark.parametrize("depths", [(0, 0), (1, 2), (2, 2)])
def test_modes_are_convex_in_x_and_the_soft_minimum_is_concave_in_t_at_ten_thousand_points(depths):
    p = potential(6, depths)
    x = inputs(p, 10_000)
    assert p.kinds == ("temperature", "convex", "convex", "convex")
    for mode in p.modes:
        eigenvalues = np.linalg.eigvalsh(mode.hessian((x - p.input_shift) / p.input_scale)[:, 1:, 1:])
        assert eigenvalues.min() > -1e-12 * eigenvalues.max()
    assert check_convexity(p, x).passed
    second = p.hessian(x)[:, 0, 0]
    assert second.max() <= 0.0
    assert second.min() < -1e-3


@pytest.mark.parametrize("depths", [(0, 0), (1, 1), (2, 1)])
def test_at_a_temperature_it_is_a_convex_network(depths):
    p = potential(7, depths)
    x = inputs(p, 20)
    for T in (p.input_shift[0], 0.9, p.input_shift[0] + p.input_scale[0]):
        held = p.at([T])
        assert {type(mode) for mode in held.modes} == {lse.ConvexNetwork}
        both = np.column_stack([np.full(20, T), x[:, 1:]])
        np.testing.assert_allclose(held.energy(x[:, 1:]), p.energy(both), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(held.hessian(x[:, 1:]), p.hessian(both)[:, 1:, 1:], rtol=1e-9, atol=1e-9)
    two = p.at([0.9, 0.3])
    both = np.column_stack([np.full(20, 0.9), np.full(20, 0.3), x[:, 2:]])
    np.testing.assert_allclose(two.energy(x[:, 2:]), p.energy(both), rtol=1e-12, atol=1e-12)


def test_what_a_mode_can_be_made_into_keeps_its_meaning():
    rng = np.random.default_rng(8)
    mode, x = random_interpolated(rng, 3, (1, 1)), rng.normal(size=(20, 3))
    slope, root = rng.normal(size=3), np.column_stack([np.zeros(2), rng.normal(size=(2, 2))])
    added = mode.energy(x) + x @ slope + 0.5 * ((x @ root.T) ** 2).sum(axis=1)
    np.testing.assert_allclose(mode.plus(slope, root).energy(x), added, rtol=1e-12, atol=1e-12)
    wide = np.column_stack([x[:, 0], rng.normal(size=20), x[:, 1:]])
    np.testing.assert_allclose(mode.reading([0, 2, 3], 4).energy(wide), mode.energy(x), rtol=1e-12)
    maps = np.array([np.eye(3), np.diag([1.0, -1.0, 1.0])])
    mean = np.mean([mode.energy(x @ A.T) for A in maps], axis=0)
    np.testing.assert_allclose(mode.mean_over(maps).energy(x), mean, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda m: lse.InterpolatedNetwork(m.lower, quadratic_well(np.zeros(5), np.eye(5))), "agree in inputs"),
        (lambda m: lse.InterpolatedNetwork(m.lower, "hot"), "upper is a str"),
        (lambda m: m.at([1.2]), "the scaled temperature is 1.2"),
        (lambda m: m.at([0.1, 0.2, 0.3]), "3 of 3 inputs"),
        (lambda m: m.reading([1, 2], 3), "must begin with 0"),
        (lambda m: m.plus(np.zeros(3), np.eye(3)), "affine in t"),
        (lambda m: m.mean_over(np.eye(3)[None, ::-1]), "must leave the first input"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(lse.InvalidInputError, match=re.escape(message)):
        make(random_interpolated(np.random.default_rng(9), 3))


# ---- materials ----------------------------------------------------------------------------------------------------------


def test_outputs_of_a_material_are_derivatives_of_its_energy():
    m = temperature_material()
    rng = np.random.default_rng(10)
    F, T = random_deformations(rng, 8, 2), rng.uniform(300.0, 400.0, (8, 1))
    h = 0.05

    def by_temperature(function):
        return (function(F, T + h) - function(F, T - h)) / (2.0 * h)

    np.testing.assert_allclose(m.conjugates(F, T)[:, 0], by_temperature(m.energy), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(m.entropy(F, T), -m.conjugates(F, T)[:, 0])
    np.testing.assert_allclose(m.stress_by_fields(F, T)[..., 0], by_temperature(m.stress), rtol=1e-5, atol=1e-8)
    second = by_temperature(lambda F, T: m.conjugates(F, T)[:, 0])
    np.testing.assert_allclose(m.conjugates_by_fields(F, T)[:, 0, 0], second, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(m.heat_capacity(F, T), -T[:, 0] * second, rtol=1e-5, atol=1e-7)
    assert (m.heat_capacity(F, T) >= m.caloric.heat_capacity).all()


def test_at_a_temperature_a_material_is_one_of_deformation_alone():
    m, F = temperature_material(), random_deformations(np.random.default_rng(11), 6, 2)
    held = m.at(T=330.0)
    assert (held.fields, held.caloric) == ((), None)
    for name in ("energy", "stress", "tangent", "mode_weights"):
        np.testing.assert_allclose(getattr(held, name)(F), getattr(m, name)(F, [330.0]), rtol=1e-11, atol=1e-11)
    for fields, named, message in (
        ([410.0], {}, "T = 410 is outside its range, 300 to 400"),
        (None, {"t": 1.0}, "one value each is needed"),
        (None, {}, "one value each is needed"),
    ):
        with pytest.raises(lse.InvalidInputError, match=message):
            m.at(fields, **named)


def test_a_modulus_that_falls_with_temperature_is_met_exactly():
    """E(T) e^2 / 2 with E linear in T, which no function convex in T and e together is."""
    m, T = softening(2.0, 1.0), np.linspace(300.0, 400.0, 5)[:, None]
    F = np.tile(np.diag([1.1, 1.0]), (5, 1, 1))
    np.testing.assert_allclose(m.energy(F, T), (2.0 - (T[:, 0] - 300.0) / 100.0) * 0.1**2 / 2.0, rtol=1e-12)
    assert m.kinds == {"T": "temperature"}
    assert m.ranges == {"T": (300.0, 400.0)}


def test_checks_hold_and_fail_where_it_is_not_concave():
    m = temperature_material()
    checks = {check.name: check for check in verify(m)}
    assert all(check.passed for check in checks.values()), [c for c in checks.values() if not c.passed]
    assert checks["concavity in temperature"].value == 0.0

    class Curved(lse.Mode):
        """A mode that says it is affine in t, and is not."""

        size, affine_inputs, convex_inputs = 4, (0,), (1, 2, 3)

        def tensors(self):
            return {"none": np.zeros(1)}

        @classmethod
        def from_tensors(cls, tensors, options):
            return cls()

        def formula(self, x):
            return x[0] * x[0] + x[1] * x[1] + x[2] * x[2] + x[3] * x[3]

    wrong = lse.Material(lse.SoftMinimum((Curved(),), 1.0), m.kinematics, fields=("T",))
    assert not check_concavity(wrong).passed


def test_a_caloric_term_needs_one_absolute_temperature():
    plain = softening(2.0, 1.0)
    celsius = lse.SoftMinimum(plain.potential.modes, 1.0, [-20.0, 0.0, 0.0, 0.0], [60.0, 1.0, 1.0, 1.0])
    for potential, fields, message in (
        (celsius, ("T",), "begins at -20"),
        (plain.at([300.0]).potential, (), "of one temperature"),
    ):
        with pytest.raises(lse.InvalidInputError, match=message):
            lse.Material(potential, plain.kinematics, fields=fields, caloric=lse.Caloric(1.0, 300.0))
    with pytest.raises(lse.InvalidInputError, match="a material with one temperature"):
        plain.at([300.0]).entropy(np.eye(2))
    for wrong in (0.0, -1.0, np.inf, "1", None, True):
        with pytest.raises(lse.InvalidInputError, match="caloric heat_capacity is"):
            lse.Caloric(wrong, 300.0)


# ---- file and export ----------------------------------------------------------------------------------------------------


def test_the_file_is_of_format_2_and_gives_the_same_bits(tmp_path):
    m, path = temperature_material(), tmp_path / "m.safetensors"
    lse.save(m, path)
    assert b'"format":"lse-material/2"' in path.read_bytes()
    back = lse.load(path)
    F, T = random_deformations(np.random.default_rng(12), 6, 2), np.linspace(300.0, 400.0, 6)[:, None]
    for name in ("energy", "stress", "tangent", "entropy", "heat_capacity"):
        np.testing.assert_array_equal(getattr(back, name)(F, T), getattr(m, name)(F, T))
    assert (back.fields, back.caloric, back.kinds) == (m.fields, m.caloric, m.kinds)
    lse.save(m.at(T=350.0), path)
    assert b'"format":"lse-material/1"' in path.read_bytes()


@pytest.mark.parametrize("depths", [(0, 0), (1, 1), (2, 1)])
def test_exported_files_give_its_numbers(depths, tmp_path):
    rng = np.random.default_rng(13)
    modes = random_interpolated(rng, 4, depths), random_network(rng, 4), random_interpolated(rng, 4)
    p = lse.SoftMinimum(modes, 0.4, *SCALES)
    x = inputs(p, 7)
    exact = p.energy(x), p.gradient(x), p.hessian(x), p.mode_weights(x)
    for name in ("p.py", "p.c"):
        export(p, tmp_path / name)
    shapes = [(), (4,), (4, 4), (3,)]
    for found in (python_module(tmp_path / "p.py").evaluate(x), compiled(tmp_path / "p.c", "p_potential", x, shapes)):
        for got, value in zip(found, exact):
            assert relative_error(got, value) < 1e-12
    export(p, tmp_path / "form.py", language="ufl")
    W = python_module(tmp_path / "form.py").potential([float(xi) for xi in x[0]])
    assert W(()) == pytest.approx(exact[0][0], rel=1e-12)


@pytest.mark.parametrize("growth", [None, lse.Growth(0.3)])
def test_exported_numpy_and_ufl_take_the_fields(growth, tmp_path):
    m = temperature_material(growth=growth)
    F, T = random_deformations(np.random.default_rng(14), 6, 2), np.linspace(300.0, 400.0, 6)[:, None]
    export(m, tmp_path / "cell.py")
    found = python_module(tmp_path / "cell.py").evaluate(F, T)
    names = ("energy", "stress", "tangent", "mode_weights", "conjugates", "conjugates_by_fields", "stress_by_fields")
    for got, name in zip(found, names, strict=True):
        assert relative_error(got, getattr(m, name)(F, T)) < 1e-12
    export(m, tmp_path / "form.py", language="ufl")
    module = python_module(tmp_path / "form.py")
    W = module.energy(ufl.as_matrix(F[0].tolist()), [ufl.as_ufl(T[0, 0])])
    assert W(()) == pytest.approx(m.energy(F[0], T[0]), rel=1e-12)
    with pytest.raises(lse.InvalidInputError, match=r"export to c takes materials of F alone.*T: fix them"):
        export(m, tmp_path / "cell.c")
