"""The soft minimum: its bounds and limits, its derivatives on ridges, its stability, and what scales and shifts do."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lse_material as lse
from lse_material import InvalidInputError, SoftMinimum
from lse_material.model.mode import CHUNK
from tests.materials import central_difference, line, random_network, random_potential, relative_error, well

RHOS = [1e-4, 1e-2, 1.0, 10.0]
SEED = st.integers(0, 2**16)
POINT = st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=3)


@pytest.mark.parametrize("rho", RHOS)
@given(x=POINT, seed=SEED, modes=st.integers(1, 5))
def test_the_soft_minimum_lies_below_the_minimum_by_at_most_rho_log_k(rho, x, seed, modes):
    potential = random_potential(np.random.default_rng(seed), 3, modes=modes, rho=rho, scaled=False)
    psi = np.array([mode.energy(x) for mode in potential.modes])
    energy = potential.energy(x)
    rounding = 1e-14 * np.abs(psi).max()
    assert psi.min() - rho * np.log(modes) - rounding <= energy <= psi.min() + rounding


def test_rho_to_zero_gives_the_minimum():
    rng = np.random.default_rng(0)
    modes = tuple(random_network(rng, 3) for _ in range(4))
    x = rng.normal(size=(200, 3))
    lowest = np.min([mode.energy(x) for mode in modes], axis=0)
    gaps = [np.abs(SoftMinimum(modes, rho).energy(x) - lowest).max() for rho in (1e-1, 1e-3, 1e-5, 1e-12)]
    assert all(gap <= rho * np.log(4) + 1e-13 for gap, rho in zip(gaps, (1e-1, 1e-3, 1e-5, 1e-12)))
    assert gaps[-1] < 1e-11


@pytest.mark.parametrize("rho", RHOS)
@pytest.mark.parametrize("modes", [1, 2, 7])
def test_equal_modes_are_one_mode_lowered_by_rho_log_k(rho, modes):
    rng = np.random.default_rng(1)
    mode = random_network(rng, 3)
    potential = SoftMinimum((mode,) * modes, rho)
    x = rng.normal(size=(20, 3))
    np.testing.assert_allclose(potential.energy(x), mode.energy(x) - rho * np.log(modes), rtol=1e-14, atol=1e-14)
    np.testing.assert_allclose(potential.gradient(x), mode.gradient(x), rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(potential.hessian(x), mode.hessian(x), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(potential.mode_weights(x), 1.0 / modes, rtol=1e-15)


@given(seed=SEED, x=POINT, rho=st.sampled_from(RHOS))
def test_mode_weights_are_a_partition_of_one(seed, x, rho):
    weights = random_potential(np.random.default_rng(seed), 3, modes=4, rho=rho).mode_weights(x)
    assert weights.shape == (4,)
    assert (weights >= 0.0).all()
    assert abs(weights.sum() - 1.0) < 1e-15


@given(seed=SEED, rho=st.sampled_from(RHOS), order=st.permutations(range(4)))
def test_the_order_of_modes_does_not_matter(seed, rho, order):
    rng = np.random.default_rng(seed)
    potential = random_potential(rng, 3, modes=4, rho=rho, scaled=False)
    shuffled = SoftMinimum(tuple(potential.modes[k] for k in order), rho)
    x = rng.normal(size=(5, 3))
    np.testing.assert_allclose(shuffled.energy(x), potential.energy(x), rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(shuffled.gradient(x), potential.gradient(x), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(shuffled.mode_weights(x), potential.mode_weights(x)[:, order], rtol=1e-10, atol=1e-300)


def test_two_lines_make_a_smooth_roof_known_in_closed_form():
    # modes a x and -a x: Psi = -rho log(2 cosh(a x / rho)), Psi' = -a tanh, Psi'' = -a^2 / rho sech^2
    a = 3.0
    for rho in RHOS:
        roof = SoftMinimum((line(a), line(-a)), rho)
        s = np.linspace(-4.0, 4.0, 33)  # a x / rho
        x = (rho * s / a)[:, None]
        np.testing.assert_allclose(roof.energy(x), -rho * np.log(2.0 * np.cosh(s)), rtol=1e-13)
        np.testing.assert_allclose(roof.gradient(x)[:, 0], -a * np.tanh(s), rtol=1e-13, atol=1e-14)
        np.testing.assert_allclose(roof.hessian(x)[:, 0, 0], -(a**2) / rho / np.cosh(s) ** 2, rtol=1e-12)
        np.testing.assert_allclose(roof.mode_weights(x)[:, 0], 1.0 / (1.0 + np.exp(2.0 * s)), rtol=1e-13)


def test_a_steep_common_slope_costs_the_curvature_of_a_ridge_no_digits():
    # the gradients are 1e8 -+ 1 and their covariance 1: two moments of size 1e16 would leave nothing of it
    rho = 0.5
    roof = SoftMinimum((line(1e8 + 1.0), line(1e8 - 1.0)), rho)
    assert roof.hessian([0.0])[0, 0] == pytest.approx(-1.0 / rho, rel=1e-12)


def test_two_equal_wells_turn_unstable_where_rho_is_less_than_a_quarter_of_k_times_the_squared_distance():
    # Psi'' on the ridge is k - (k a / 2)^2 / rho for wells a apart, negative iff rho < k a^2 / 4
    k, a = 2.0, 1.0
    critical = 0.25 * k * a**2
    for factor in (0.5, 0.99, 1.01, 2.0):
        potential = SoftMinimum((well(k, 0.0), well(k, a)), factor * critical)
        curvature = potential.hessian([0.5 * a])[0, 0]
        assert curvature == pytest.approx(k * (1.0 - 1.0 / factor), rel=1e-12)


@pytest.mark.parametrize("rho", RHOS)
def test_derivatives_near_ridges_against_central_differences(rho):
    """Points on a ridge are found by bisection between two wells; the ridge is about rho / |jump of slope| wide."""
    rng = np.random.default_rng(2)
    modes = (well(2.0, [0.0, 0.0, 0.0]), random_network(rng, 3), well(3.0, [1.0, -1.0, 0.5], 0.1))
    potential = SoftMinimum(modes, rho)
    low, high = np.zeros(3), np.array([1.0, -1.0, 0.5])
    for _ in range(60):
        middle = 0.5 * (low + high)
        if modes[0].energy(middle) < modes[2].energy(middle):
            low = middle
        else:
            high = middle
    jump = np.linalg.norm(modes[0].gradient(low) - modes[2].gradient(low))
    width = min(rho / jump, 1.0)
    x = low + width * rng.normal(size=(20, 3))
    assert (np.sort(potential.mode_weights(x), axis=1)[:, -2] > 1e-3).all()  # two modes live at every point
    # the stencil errs by about h^4 / (30 width^5) * rho and by rounding eps |psi| / h: h = width / 300 serves both
    h = width / 300.0
    energy_error = relative_error(central_difference(potential.energy, x, 1, h), potential.gradient(x))
    assert energy_error < 1e-8 + 1e-15 / h
    assert relative_error(central_difference(potential.gradient, x, 1, h), potential.hessian(x)) < 1e-8


@pytest.mark.parametrize("activation", ["softplus", "squared_softplus"])
@pytest.mark.parametrize("rho", [1e-4, 1e-2, 1.0, 10.0])
@pytest.mark.parametrize("reach", [1e-300, 1e-3, 1.0, 1e3])
def test_no_overflow_no_nan_and_no_warning_for_any_rho_and_argument(rho, reach, activation):
    rng = np.random.default_rng(3)
    potential = random_potential(rng, 6, modes=4, rho=rho, activation=activation, depth=3)
    x = reach * rng.uniform(-1.0, 1.0, (200, 6))
    x[:12] = reach * np.concatenate([np.eye(6), -np.eye(6)])
    for method in (potential.energy, potential.gradient, potential.hessian, potential.mode_weights):
        assert np.isfinite(method(x)).all()
    hessian = potential.hessian(x)
    largest = np.abs(hessian).max(axis=(1, 2), keepdims=True)
    assert (np.abs(hessian - hessian.transpose(0, 2, 1)) <= 1e-13 * largest).all()


def test_a_mode_out_of_reach_has_no_weight_and_does_no_harm():
    far = SoftMinimum((well(1.0, [0.0]), line(0.0, 1e306)), 1e-4)  # the difference / rho is no float64
    assert far.energy([2.0]) == 2.0
    np.testing.assert_array_equal(far.mode_weights([2.0]), [1.0, 0.0])
    assert far.hessian([2.0])[0, 0] == 1.0


def test_a_nan_in_a_point_makes_its_values_nan_and_no_others():
    rng = np.random.default_rng(4)
    potential = random_potential(rng, 3)
    clean = rng.normal(size=(4, 3))
    x = clean.copy()
    x[1, 0] = np.nan
    for method in (potential.energy, potential.gradient, potential.hessian, potential.mode_weights):
        assert np.isnan(method(x)[1]).all()
        np.testing.assert_allclose(np.delete(method(x), 1, 0), np.delete(method(clean), 1, 0), rtol=1e-13)
    values = potential.evaluate(x)
    for got in (values.energy, values.gradient, values.hessian, values.mode_weights):
        assert np.isnan(got[1]).all()
        assert np.isfinite(np.delete(got, 1, 0)).all()


@given(seed=SEED)
def test_scales_and_shifts_act_as_stated(seed):
    # W(x) = energy_scale Psi((x - input_shift) / input_scale) + energy_shift, derivatives by the chain rule
    rng = np.random.default_rng(seed)
    scaled = random_potential(rng, 3)
    plain = SoftMinimum(scaled.modes, scaled.scaled_rho)
    x = rng.normal(size=(6, 3))
    xh = (x - scaled.input_shift) / scaled.input_scale
    s, shift, d = scaled.energy_scale, scaled.energy_shift, scaled.input_scale
    np.testing.assert_allclose(scaled.energy(x), s * plain.energy(xh) + shift, rtol=1e-14, atol=1e-14)
    np.testing.assert_allclose(scaled.gradient(x), s * plain.gradient(xh) / d, rtol=1e-13)
    np.testing.assert_allclose(scaled.hessian(x), s * plain.hessian(xh) / np.outer(d, d), rtol=1e-12)
    np.testing.assert_array_equal(scaled.mode_weights(x), plain.mode_weights(xh))
    assert scaled.transition_scale == scaled.scaled_rho * s


def test_derivatives_of_a_scaled_potential_against_central_differences():
    rng = np.random.default_rng(5)
    potential = random_potential(rng, 4, modes=3, rho=0.5)
    x = rng.normal(size=(20, 4))
    # slopes of some 50 make ridges about rho / 50 = 1e-2 wide: h is a hundredth of that
    assert relative_error(central_difference(potential.energy, x, 1, 1e-4), potential.gradient(x)) < 1e-9
    assert relative_error(central_difference(potential.gradient, x, 1, 1e-4), potential.hessian(x)) < 1e-8


@pytest.mark.parametrize("batch", [(), (1,), (2, 3), (0,), (3, 0)])
def test_any_batch_shape(batch):
    potential = random_potential(np.random.default_rng(6), 3, modes=2)
    x = np.random.default_rng(7).normal(size=(*batch, 3))
    shapes = {"energy": (), "gradient": (3,), "hessian": (3, 3), "mode_weights": (2,)}
    for name, shape in shapes.items():
        got = getattr(potential, name)(x)
        assert got.shape == (*batch, *shape)
        for index in np.ndindex(*batch):
            np.testing.assert_allclose(got[index], getattr(potential, name)(x[index]), rtol=1e-12)


def test_chunks_do_not_show_and_agree_with_one_evaluation():
    rng = np.random.default_rng(8)
    potential = random_potential(rng, 2, modes=2, depth=1, width=3)
    x = rng.normal(size=(CHUNK + 5, 2))
    values = potential.evaluate(x)
    for name in ("energy", "gradient", "hessian", "mode_weights"):
        whole = getattr(values, name)
        np.testing.assert_allclose(getattr(potential, name)(x), whole, rtol=1e-11, atol=1e-12)
        np.testing.assert_allclose(getattr(potential, name)(x[CHUNK - 2 :]), whole[CHUNK - 2 :], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scaled_rho": 0.0}, "rho, the transition scale, is 0.0; it must be a finite number > 0"),
        ({"scaled_rho": -1.0}, "scale, is -1.0"),
        ({"scaled_rho": np.nan}, "scale, is nan"),
        ({"scaled_rho": [1.0]}, r"scale, is \[1.0\]"),
        ({"energy_scale": -1.0}, "energy_scale is -1.0; it must be a finite number > 0"),
        ({"energy_shift": np.inf}, "energy_shift holds inf"),
        ({"input_scale": [1.0, 0.0]}, "every entry must be > 0"),
        ({"input_scale": [1.0, 1.0, 1.0]}, r"input_scale has shape \(3,\); it should be \(2,\)"),
        ({"input_shift": [np.nan, 1.0]}, r"input_shift holds nan at entry \(0,\)"),
        ({"modes": ()}, "at least one mode"),
        ({"modes": well(1.0, [0.0, 0.0])}, r"give a tuple of them"),
        ({"modes": (well(1.0, [0.0, 0.0]), well(1.0, [0.0]))}, "mode 1 has 1 inputs, mode 0 has 2"),
        ({"modes": ("soft",)}, "mode 0 is a str, not a Mode"),
        ({"modes": None}, "modes is None; give a list"),
        ({"scaled_rho": 10**400}, "scale, is 1000"),
        ({"energy_scale": "1"}, "energy_scale is '1'"),
        ({"training_box": ([-1.0, -1.0], [1.0, 1.0])}, "training_box is a tuple; it must be a Box or None"),
        ({"training_box": lse.Box([0.0], [1.0])}, "training_box has 1 components; the potential has 2"),
        ({"units": "MPa"}, "units is 'MPa'; give a mapping"),  # a file of it could not be read
        ({"provenance": ["fit"]}, r"provenance is \['fit'\]; give a mapping"),
    ],
)
def test_a_malformed_potential_is_refused_by_name(change, message):
    good = {"modes": (well(1.0, [0.0, 0.0]),), "scaled_rho": 0.1}
    SoftMinimum(**good)
    with pytest.raises(InvalidInputError, match=message):
        SoftMinimum(**{**good, **change})
