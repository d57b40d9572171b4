"""Data that contradict themselves are reported before a fit, and named; sound data, noisy ones too, are not."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lse_material as lse
from lse_material.fit import DataWarning, Training, fit
from lse_material.fit.problem.diagnostics import ROWS, data_warnings
from lse_material.fit.problem.rows import are_determined, least_squares, missed_stress, rows_of
from tests.materials import random_material, samples_of, three_wells, two_wells

SHORT = Training(restarts=1, adam_steps=5, lbfgs_steps=5)


def found(samples, kinematics=None):
    return data_warnings(samples, rows_of(samples, kinematics, None))


def changed(samples, **values):
    fields = {"x": samples.x, "energy": samples.energy, "gradient": samples.gradient}
    return lse.Samples(**{**fields, **values})


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    d=st.integers(1, 4),
    n=st.sampled_from([60, 300, 1000]),
    noise=st.sampled_from([0.0, 0.01, 0.03]),
    unit=st.sampled_from([1e-9, 1.0, 1e9]),
)
def test_sound_data_raise_no_warning(seed, d, n, noise, unit):
    rng = np.random.default_rng(seed)
    exact = two_wells(d, rho=rng.uniform(0.05, 0.5), distance=rng.uniform(0.2, 1.0))
    x = rng.uniform(-1.3, 1.3, (n, d))
    W, g = exact.energy(x), exact.gradient(x)
    W = W + noise * W.std() * rng.normal(size=W.shape)
    g = g + noise * np.sqrt((g**2).mean()) * rng.normal(size=g.shape)
    assert found(lse.Samples(x=x * unit, energy=W, gradient=g / unit)) == ()


@pytest.mark.parametrize("dim", [2, 3])
def test_sound_stresses_raise_no_warning(dim):
    material = random_material(np.random.default_rng(0), lse.GreenLagrange(dim))
    F = np.eye(dim) + np.random.default_rng(1).uniform(-0.2, 0.2, (300, dim, dim))
    samples = lse.Samples(F=F, energy=material.energy(F), stress=material.stress(F))
    assert found(samples, material.kinematics) == ()


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e5, 1e9])
def test_stresses_beside_conjugates_of_a_field_are_sound_in_any_unit_of_the_field(unit):
    material, rng = random_material(np.random.default_rng(0), lse.GreenLagrange(2)), np.random.default_rng(2)
    F, c = np.eye(2) + rng.uniform(-0.1, 0.1, (800, 2, 2)), rng.uniform(1.0, 1.2, 800)
    W, P = material.energy(F), material.stress(F)
    of_field = {"fields": unit * c[:, None], "field_names": ("c",), "conjugates": W[:, None] / unit}
    samples = lse.Samples(F=F, energy=c * W, stress=c[:, None, None] * P, **of_field)
    assert found(samples, lse.GreenLagrange(2)) == ()


@pytest.mark.parametrize("dim", [2, 3])
def test_stresses_split_into_those_of_an_energy_and_the_rest_as_singular_vectors_say(dim):
    rng = np.random.default_rng(4)
    F = np.eye(dim) + 0.2 * rng.normal(size=(50, dim, dim))
    for measure in (lse.GreenLagrange(dim), lse.StrainAndVolume(dim), lse.IsotropicInvariants(dim)):
        derivative = measure.derivative(F).reshape(50, measure.size, -1)
        stress, inverse = rng.normal(size=(50, dim**2)), np.linalg.pinv(derivative.swapaxes(1, 2), rcond=1e-6)
        wanted = np.einsum("ndq,nq->nd", inverse, stress)
        np.testing.assert_allclose(
            least_squares(derivative, stress), wanted, rtol=1e-7, atol=1e-7 * np.abs(wanted).max()
        )
        given = np.einsum("nd,ndq->nq", wanted, derivative)
        np.testing.assert_allclose(missed_stress(stress, derivative), stress - given, atol=1e-9)
        full = np.linalg.matrix_rank(derivative, rtol=1e-6) == measure.size
        np.testing.assert_array_equal(are_determined(derivative), full)


def test_many_rows_at_one_place_are_compared_within_a_second():
    wells = two_wells(2)  # 50,000 rows at one place are 1.2e9 pairs
    x = np.concatenate([np.random.default_rng(0).uniform(-1.3, 1.3, (100, 2)), np.full((50_000, 2), 0.4)])
    energy = wells.energy(x)
    assert found(lse.Samples(x=x, energy=energy)) == ()
    energy[200::2] += 0.1
    (text,) = found(lse.Samples(x=x, energy=energy))
    assert "rows at the same place have different energies" in text


def test_rows_at_the_same_place_with_different_energies_are_named():
    data = samples_of(three_wells(), 100, 0)
    x, energy = data.x.copy(), data.energy.copy()
    x[70], energy[70] = x[5], energy[5] + 0.5 * energy.std()
    (text,) = found(lse.Samples(x=x, energy=energy))
    assert "rows 5 and 70" in text
    energy[70] = energy[5]
    assert found(lse.Samples(x=x, energy=energy)) == ()


def test_rows_at_the_same_place_with_different_gradients_are_named():
    data = samples_of(three_wells(), 100, 0)
    x, gradient = data.x.copy(), data.gradient.copy()
    x[70], gradient[70] = x[5], 2.0 * gradient[5]
    (text,) = found(lse.Samples(x=x, gradient=gradient))
    assert "different stresses (or gradients), rows 5 and 70" in text
    gradient[70] = 1.01 * gradient[5]  # as noise of a test that was repeated
    assert found(lse.Samples(x=x, gradient=gradient)) == ()


@pytest.mark.parametrize("zero", ["energy", "gradient"])
def test_a_column_of_zeros_is_reported(zero):
    data = samples_of(three_wells(), 300, 0)
    (text,) = found(changed(data, **{zero: 0.0 * getattr(data, zero)}))
    assert re.search(f"all {zero}.* are 0", text)


def test_the_group_whose_unit_is_another_is_named():
    data = samples_of(three_wells(), 300, 0)
    group = np.repeat(["a", "b", "c"], 100)
    factor = np.where(group == "b", 1e3, 1.0)
    samples = lse.Samples(x=data.x, energy=data.energy, gradient=factor[:, None] * data.gradient, group=group)
    (text,) = [each for each in found(samples) if "units" in each]
    assert "in the group b the energies change by 0.00" in text
    assert found(lse.Samples(x=data.x, energy=data.energy, gradient=data.gradient, group=group)) == ()


@pytest.mark.parametrize(("factor", "word"), [(-1.0, "sign"), (3.0, "units"), (1e-3, "units")])
def test_gradients_of_another_sign_or_unit_are_reported(factor, word):
    data = samples_of(three_wells(), 300, 0)
    (text,) = found(changed(data, gradient=factor * data.gradient))
    assert word in text
    assert float(re.search(r"by (\S+) times", text).group(1)) == pytest.approx(1.0 / factor, rel=0.05)


def test_rows_in_another_order_are_told():
    data = samples_of(three_wells(), 300, 0)
    text = " ".join(found(changed(data, gradient=np.roll(data.gradient, 7, axis=0))))
    assert "same order" in text
    assert "gradient of no energy" in text


def test_a_field_with_circulation_is_the_gradient_of_no_energy():
    x = np.random.default_rng(0).normal(size=(200, 2))
    (text,) = found(lse.Samples(x=x, gradient=x @ np.array([[1.0, 2.0], [-2.0, 1.0]])))
    assert "gradient of no energy" in text
    share = 2.0 / np.sqrt(5.0)  # of [[1, 2], [-2, 1]] that is skew
    assert f"{share:.0%}" in text


def test_a_transposed_stress_is_told_with_its_row():
    material = random_material(np.random.default_rng(0), lse.GreenLagrange(2))
    F = np.eye(2) + np.random.default_rng(1).uniform(-0.3, 0.3, (200, 2, 2))
    P = material.stress(F)
    text = " ".join(found(lse.Samples(F=F, stress=np.swapaxes(P, 1, 2)), material.kinematics))
    assert "transposed" in text
    row = int(re.search(r"row (\d+)", text).group(1))
    Q = P[row].T @ F[row].T
    assert np.abs(Q - Q.T).max() > 0.1 * np.abs(Q).max()


@pytest.mark.parametrize("dim", [2, 3])
def test_invariants_of_a_right_stress_raise_no_warning(dim):
    """In 2D three invariants are functions of two stretches: the stress does not say all of the gradient."""
    F = np.eye(dim) + np.random.default_rng(0).uniform(-0.25, 0.25, (400, dim, dim))
    log_J, inverse = np.log(np.linalg.det(F)), np.swapaxes(np.linalg.inv(F), 1, 2)
    W = 0.5 * ((F**2).sum(axis=(1, 2)) - dim) - log_J + log_J**2
    P = F - inverse + 2.0 * log_J[:, None, None] * inverse
    samples = lse.Samples(F=F, energy=W, stress=P)
    for measure in (lse.GreenLagrange(dim), lse.IsotropicInvariants(dim, squared_volume=False)):
        assert found(samples, measure) == ()


def test_few_rows_and_inputs_that_do_not_vary_are_told():
    exact = two_wells(3)
    few = samples_of(exact, 12, 0)
    assert any("12 rows for 3 inputs" in text for text in found(few))
    x = np.random.default_rng(0).uniform(-1.0, 1.0, (200, 3))
    x[:, 1] = 0.25
    assert any("input 1 " in text for text in found(lse.Samples(x=x, energy=exact.energy(x))))


def test_a_fit_warns_and_its_summary_repeats_the_warning():
    data = samples_of(two_wells(2), 100, 0)
    with pytest.warns(DataWarning, match="sign") as record:
        result = fit(changed(data, gradient=-data.gradient), training=SHORT, progress=False)
    assert len(record) == 1
    assert "sign" in result.summary()


def orthotropic(F, share):
    """W = |E|^2 / 2 + share E11^2 / 2 in 2D, and its P."""
    E = 0.5 * (np.swapaxes(F, 1, 2) @ F - np.eye(2))
    S = E.copy()
    S[:, 0, 0] += share * E[:, 0, 0]
    return lse.Samples(F=F, energy=0.5 * (E**2).sum((1, 2)) + 0.5 * share * E[:, 0, 0] ** 2, stress=F @ S)


@pytest.mark.parametrize("way", [np.eye(2), [[1.0, 0.3], [0.3, 1.0]]], ids=["volume", "volume and shear"])
@pytest.mark.parametrize(("share", "named"), [(0.0, False), (0.1, False), (1.0, True)])
def test_stresses_that_contradict_the_symmetry_are_named(way, share, named):
    F = np.eye(2) + np.linspace(-0.2, 0.3, 60)[:, None, None] * np.asarray(way)
    samples = orthotropic(F, share)
    rows, square = rows_of(samples, lse.GreenLagrange(2), None), lse.Symmetry.crystal("square", "square", dim=2)
    assert any("contradict the symmetry" in text for text in data_warnings(samples, rows, square)) == named
    rectangle = lse.Symmetry.crystal("rectangle", "rectangle", dim=2)
    assert not any("contradict the symmetry" in text for text in data_warnings(samples, rows, rectangle))


def test_two_paths_that_are_images_of_each_other_show_a_broken_symmetry():
    amounts = np.linspace(0.0, 0.2, 30)[:, None, None]
    samples = orthotropic(np.concatenate([np.eye(2) + amounts * np.diag(way) for way in ([1.0, 0.0], [0.0, 1.0])]), 1.0)
    rows, square = rows_of(samples, lse.GreenLagrange(2), None), lse.Symmetry.crystal("square", "square", dim=2)
    assert any("contradict the symmetry" in text for text in data_warnings(samples, rows, square))


def test_what_only_later_rows_of_a_long_table_show_is_seen():
    """3,000 sound rows, or one path, come first: gradients of the other sign, circulation, a broken symmetry come after."""
    data = samples_of(three_wells(), 9000, 0)
    later = np.arange(len(data.x)) >= ROWS
    signs = found(changed(data, gradient=np.where(later[:, None], -data.gradient, data.gradient)))
    assert any("between near rows the energies change" in text for text in signs)
    turned = data.x @ np.array([[0.0, 9.0], [-9.0, 0.0]])
    circulation = lse.Samples(x=data.x, gradient=data.gradient + np.where(later[:, None], turned, 0.0))
    assert any("gradient of no energy" in text for text in found(circulation))
    amounts = np.linspace(0.0, 0.2, ROWS)[:, None, None]
    samples = orthotropic(np.concatenate([np.eye(2) + amounts * np.diag(way) for way in ([1.0, 0.0], [0.0, 1.0])]), 1.0)
    rows, square = rows_of(samples, lse.GreenLagrange(2), None), lse.Symmetry.crystal("square", "square", dim=2)
    assert any("contradict the symmetry" in text for text in data_warnings(samples, rows, square))


def edges(path):
    """Gradients F = diag(a, a, c) of pairs (a, c)."""
    return np.array([np.diag([a, a, c]) for a, c in path])


@pytest.mark.parametrize("group", [None, "tetragonal", "cubic"])
def test_energies_alone_along_paths_leave_stresses_across_them_open(group):
    """At F = diag(a, a, c) W shows dW/da and dW/dc, and P11 - P22 is 0 by symmetry alone, if there is one."""
    a, c = np.meshgrid(np.linspace(0.9, 1.1, 8), np.linspace(0.8, 1.2, 10))
    plane, line = edges(zip(a.ravel(), c.ravel())), edges(zip(np.linspace(0.9, 1.1, 80), np.linspace(0.8, 1.2, 80)))
    scattered = np.eye(3) + 0.1 * np.random.default_rng(0).normal(size=(80, 3, 3))
    symmetry = group and lse.Symmetry.crystal(group, group, dim=3)
    material, measure = random_material(np.random.default_rng(0), lse.GreenLagrange(3)), lse.GreenLagrange(3)
    for F, open_to_all in ((line, True), (plane, False), (scattered, False)):
        samples = lse.Samples(F=F, energy=material.energy(F))
        said = [text for text in data_warnings(samples, rows_of(samples, measure, None), symmetry) if "alone" in text]
        assert bool(said) == (open_to_all or (F is plane and group is None))
        known = lse.Samples(F=F, energy=material.energy(F), stress=material.stress(F))
        assert not [text for text in found(known, measure) if "alone" in text]
