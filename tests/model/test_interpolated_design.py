"""Modes of a temperature and a design together: affine in the one, of any kind in the other, convex in the strain."""

import re
from dataclasses import replace

import numpy as np
import pytest

import lse_material as lse
from lse_material.analysis import verify
from lse_material.analysis.verification import check_convexity
from lse_material.export import export
from lse_material.model.design_network import independence
from tests.exported import COMPILER, compiled, python_module
from tests.materials import (
    central_difference,
    random_deformations,
    random_design,
    random_interpolated,
    random_interpolated_design,
    relative_error,
    temperature_and_design_material,
)
from tests.translations import BOUNDS, compiled_potential, expanded_ufl_potential, ufl_potential


def potential(seed, design=2, size=3, modes=3, **options):
    """Of t, whose range is 270 to 310, of parameters, and of strains."""
    rng = np.random.default_rng(seed)
    chosen = tuple(random_interpolated_design(rng, design, size, **options) for _ in range(modes))
    shift, scale = 0.1 * rng.normal(size=1 + design + size), rng.uniform(0.5, 2.0, 1 + design + size)
    shift[0], scale[0] = 270.0, 40.0
    return lse.SoftMinimum(chosen, 0.4, shift, scale, 1.7, -0.3)


def points(p, n, seed):
    x = np.random.default_rng(seed).normal(size=(n, p.size))
    x[:, 0] = np.random.default_rng(seed + 1).uniform(0.0, 1.0, n)
    return p.input_shift + p.input_scale * x


def derivatives(p, x):
    return {"W": p.energy(x), "P": p.gradient(x), "A": p.hessian(x)}


@pytest.mark.parametrize("activation", ["softplus", "squared_softplus"])
@pytest.mark.parametrize(("design", "size", "rows"), [(1, 1, 0), (2, 3, 2), (3, 6, 4)])
def test_derivatives_are_those_of_the_energy(design, size, rows, activation):
    rng = np.random.default_rng(0)
    mode = random_interpolated_design(rng, design, size, rows=rows, activation=activation)
    x = rng.normal(size=(20, mode.size))
    assert relative_error(central_difference(mode.energy, x, 1, 1e-3), mode.gradient(x)) < 1e-9
    assert relative_error(central_difference(mode.gradient, x, 1, 1e-3), mode.hessian(x)) < 1e-9


SHAPES = {
    "softplus": {"activation": "softplus"},
    "squared softplus, no features, more neurons than lanes": {"width": 9, "features": 0},
    "no neurons": {"width": 0, "rows": 0},
}


@pytest.mark.parametrize("name", SHAPES)
def test_what_compiles_says_what_numpy_says(name):
    p = potential(1, modes=2, **SHAPES[name])
    x = points(p, 12, 2)
    exact = derivatives(p, x)
    for translation in (compiled_potential, ufl_potential):
        for quantity, value in translation(p, x).items():
            error = relative_error(value, exact[quantity])
            assert error < BOUNDS[quantity], f"{quantity} {translation.__name__}: {error:.1e}"


def test_expanded_ufl_says_what_numpy_says():
    p = potential(3, design=1, size=2, modes=2, width=2, features=1, rows=1)
    x = points(p, 12, 4)
    for name, value in expanded_ufl_potential(p, x).items():
        assert relative_error(value, derivatives(p, x)[name]) < BOUNDS[name]


def test_ends_of_their_own_neurons_features_and_rows_are_put_side_by_side():
    rng = np.random.default_rng(5)
    lower, upper = (random_design(rng, 2, 3, width=w, features=r, rows=k) for w, r, k in ((4, 1, 0), (3, 2, 5)))
    mode, x = lse.InterpolatedDesign(lower, upper), rng.normal(size=(15, 6))
    t, rest = rng.uniform(size=15), x[:, 1:]
    x[:, 0] = t
    assert relative_error(mode.energy(x), (1.0 - t) * lower.energy(rest) + t * upper.energy(rest)) < 1e-13
    p = lse.SoftMinimum((mode,), 1.0)
    for name, value in compiled_potential(p, x).items():
        assert relative_error(value, derivatives(p, x)[name]) < BOUNDS[name]


def test_modes_are_convex_in_the_strain_and_the_energy_is_concave_in_the_temperature_at_ten_thousand_points():
    p = potential(6)
    x = points(p, 10_000, 7)
    assert p.kinds == ("temperature", "design", "design", "convex", "convex", "convex")
    scaled = (x - p.input_shift) / p.input_scale
    for mode in p.modes:
        eigenvalues = np.linalg.eigvalsh(mode.hessian(scaled)[:, 3:, 3:])
        assert eigenvalues.min() > -1e-12 * eigenvalues.max()
        assert (mode.hessian(scaled)[:, 0, 0] == 0.0).all()
    curvature = p.hessian(x)[:, 0, 0]
    assert curvature.max() <= 0.0
    assert curvature.min() < -1e-6
    assert check_convexity(p, x).passed


def at_all(p, held, rest):
    """Points (n, d) of values by number and of the others."""
    x = np.empty((len(rest), p.size))
    x[:, [i for i in range(p.size) if i not in held]] = rest
    for i, value in held.items():
        x[:, i] = value
    return x


KINDS = {
    "temperature": ({0: 283.0}, lse.DesignNetwork),
    "lower end": ({0: 270.0}, lse.DesignNetwork),
    "upper end": ({0: 310.0}, lse.DesignNetwork),
    "one parameter": ({2: -0.4}, lse.InterpolatedDesign),
    "parameters": ({1: 0.7, 2: -0.4}, lse.InterpolatedNetwork),
    "temperature and a parameter": ({0: 301.0, 1: 0.7}, lse.DesignNetwork),
    "all": ({2: -0.4, 0: 301.0, 1: 0.7}, lse.ConvexNetwork),
    "all and a strain": ({0: 301.0, 1: 0.7, 2: -0.4, 4: 0.1}, lse.ConvexNetwork),
    "parameters and a strain": ({1: 0.7, 2: -0.4, 4: 0.1}, lse.InterpolatedNetwork),
}


@pytest.mark.parametrize("name", KINDS)
def test_what_is_held_gives_a_mode_of_the_rest(name):
    held, kind = KINDS[name]
    p = potential(8)
    part = p.holding(held)
    assert {type(mode) for mode in part.modes} == {kind}
    left = [i for i in range(p.size) if i not in held]
    rest = points(p, 20, 9)[:, left]
    exact, x = derivatives(p, at_all(p, held, rest)), rest
    assert relative_error(part.energy(x), exact["W"]) < 1e-12
    assert relative_error(part.gradient(x), exact["P"][:, left]) < 1e-11
    assert relative_error(part.hessian(x), exact["A"][:, left][:, :, left]) < 1e-10


def test_a_held_end_costs_one_network():
    p = potential(8)
    for T, neurons in ((270.0, 5), (290.0, 10), (310.0, 5)):
        assert {len(mode.x_weight) for mode in p.at([T]).modes} == {neurons}
        assert {len(mode.biases[0]) for mode in p.at([T, 0.7, -0.4]).modes} == {5}


def test_a_material_holds_its_fields_by_name_in_any_order():
    m, F = temperature_and_design_material(), random_deformations(np.random.default_rng(10), 6, 2)
    W, P = m.energy(F, [271.0, 0.3]), m.stress(F, [271.0, 0.3])
    cases = (m.at([271.0, 0.3]), m.at(T=271.0).at(porosity=0.3), m.at(porosity=0.3).at(T=271.0))
    for held in (*cases, m.at(porosity=0.3, T=271.0)):
        assert held.fields == ()
        assert held.caloric is None
        assert held.training_box.size == 3
        assert held.provenance["fields fixed"] == {"T": 271.0, "porosity": 0.3}
        assert relative_error(held.energy(F), W) < 1e-12
        assert relative_error(held.stress(F), P) < 1e-11
    warm, porous = m.at(T=271.0), m.at(porosity=0.3)
    assert (warm.kinds, porous.kinds) == ({"porosity": "design"}, {"T": "temperature"})
    assert (warm.caloric, porous.caloric, porous.ranges) == (None, m.caloric, {"T": (250.0, 310.0)})
    assert relative_error(porous.heat_capacity(F, [300.0]), m.heat_capacity(F, [300.0, 0.3])) < 1e-11
    assert relative_error(warm.conjugates(F, [0.4])[:, 0], m.conjugates(F, [271.0, 0.4])[:, 1]) < 1e-11
    for values, message in (
        ({"T": 320.0}, "T = 320 is outside its range, 250 to 310"),
        ({"porosity": 0.6}, "porosity = 0.6 is outside the data of the fit, 0.1 to 0.5"),
        ({"porosity": None}, "one value each"),
        ({"phi": 0.1}, "one value each"),
    ):
        with pytest.raises(lse.InvalidInputError, match=re.escape(message)):
            m.at(**values)


def test_checks_pass():
    checks = verify(temperature_and_design_material())
    assert {"convexity of every mode", "concavity in temperature"} <= {check.name for check in checks}
    assert all(check.passed for check in checks)


def test_file_and_exports_keep_it(tmp_path):
    rng = np.random.default_rng(11)
    modes = random_interpolated_design(rng, 1, 3, width=3), random_interpolated(rng, 5)
    m = lse.Material(
        lse.SoftMinimum(modes, 0.3, [270.0, 0, 0, 0, 0], [40.0, 1, 1, 1, 1]),
        lse.GreenLagrange(2),
        fields=("T", "p"),
    )
    assert m.kinds == {"T": "temperature", "p": "design"}
    lse.save(m, tmp_path / "m.safetensors")
    back, F, fields = lse.load(tmp_path / "m.safetensors"), random_deformations(rng, 5, 2), [281.0, 0.3]
    np.testing.assert_array_equal(back.tangent(F, fields), m.tangent(F, fields))
    export(m, tmp_path / "m.py")
    W, P, A, *_ = python_module(tmp_path / "m.py").evaluate(F, fields)
    for got, exact in ((W, m.energy(F, fields)), (P, m.stress(F, fields)), (A, m.tangent(F, fields))):
        assert relative_error(got, exact) < 1e-12


@pytest.mark.skipif(COMPILER is None, reason="no C compiler")
def test_plain_c_keeps_it(tmp_path):
    p = potential(14)
    x = points(p, 8, 15)
    export(p, tmp_path / "p.c")
    found = compiled(tmp_path / "p.c", "p_potential", x, [(), (6,), (6, 6), (3,)])
    for got, exact in zip(found, (*derivatives(p, x).values(), p.mode_weights(x)), strict=True):
        assert relative_error(got, exact) < 1e-12


def test_designs_that_no_end_reads_are_named():
    rng = np.random.default_rng(16)
    mode = random_interpolated_design(rng, 2, 2, features=0)
    parts = [{name: each.copy() for name, each in end.tensors().items()} for end in mode.ends]
    for part in parts:
        for name in ("bias", "z_root", "slope", "level", "quadratic"):
            part[name][..., 2] = 0.0  # of the second parameter
    unread = lse.InterpolatedDesign(*(lse.DesignNetwork(**part) for part in parts))
    assert independence(lse.SoftMinimum((unread,), 1.0), ("T", "p", "q")) == ["no mode depends on q"]
    assert independence(lse.SoftMinimum((unread, mode), 1.0), ("T", "p", "q")) == ["mode 0 does not depend on q"]
    parts[1]["slope"][0, 2] = 0.3  # at the upper end of the temperature alone
    one = lse.InterpolatedDesign(*(lse.DesignNetwork(**part) for part in parts))
    assert independence(lse.SoftMinimum((one,), 1.0), ("T", "p", "q")) == []


def test_what_a_mode_can_be_made_into_keeps_its_meaning():
    rng = np.random.default_rng(12)
    mode, x = random_interpolated_design(rng, 2, 2), rng.normal(size=(20, 5))
    slope, root = rng.normal(size=5), np.column_stack([np.zeros((2, 3)), rng.normal(size=(2, 2))])
    added = mode.energy(x) + x @ slope + 0.5 * ((x @ root.T) ** 2).sum(axis=1)
    np.testing.assert_allclose(mode.plus(slope, root).energy(x), added, rtol=1e-12, atol=1e-12)
    wide = np.column_stack([x[:, :3], rng.normal(size=20), x[:, 3:]])
    np.testing.assert_allclose(mode.reading([0, 1, 2, 4, 5], 6).energy(wide), mode.energy(x), rtol=1e-12)
    maps = lse.Symmetry.crystal("square", "rectangle", dim=2).on(6, first=3).group
    three, y = random_interpolated_design(rng, 2, 3), rng.normal(size=(20, 6))
    images = [three.energy(y @ A.T) for A in maps]
    assert relative_error(three.mean_over(maps).energy(y), np.mean(images, axis=0)) < 1e-12
    np.testing.assert_allclose(mode.trimmed().energy(x), mode.energy(x), rtol=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda m: m.at([]), "0 of 5 inputs"),
        (lambda m: m.at([1.5, 0.0, 0.0]), "the scaled temperature is 1.5"),
        (lambda m: m.reading([1, 0, 2, 3, 4], 5), "must begin with 0"),
        (lambda m: m.plus(np.zeros(5), np.eye(5)), "affine in t"),
        (lambda m: m.mean_over(np.eye(5)[::-1][None]), "leave the first input"),
        (lambda m: lse.InterpolatedDesign.from_tensors({}, {}), "its tensors are []"),
        (lambda m: lse.InterpolatedDesign(m.lower, m), "upper is a InterpolatedDesign"),
        (
            lambda m: lse.InterpolatedDesign(m.lower, random_design(np.random.default_rng(0), 1, 3)),
            "agree in parameters",
        ),
        (lambda m: lse.InterpolatedDesign(m.lower, replace(m.upper, activation="softplus")), "agree in activation"),
        (lambda m: lse.SoftMinimum((m,), 1.0).holding({3: 0.1}), "where all its parameters are"),
        (lambda m: lse.SoftMinimum((m,), 1.0).holding({7: 0.1}), "1 of 5 inputs cannot be fixed"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(lse.InvalidInputError, match=re.escape(message)):
        make(random_interpolated_design(np.random.default_rng(13), 2, 2))
