"""Observations: incompressible tests against closed forms, whatever the pressure, and stresses known in part."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lse_material import InvalidInputError, Samples
from lse_material.data.observations import Observations

L = np.linspace(0.6, 3.0, 9)
C1, C2 = 0.4, 0.07


def mooney_rivlin(F, pressure):
    """dW/dF of W = C1 (I1 - 3) + C2 (I2 - 3), less an arbitrary pressure p F^-T, which incompressible data cannot know."""
    C = np.swapaxes(F, 1, 2) @ F
    I1 = np.trace(C, axis1=1, axis2=2)[:, None, None]
    return 2.0 * F @ (C1 * np.eye(3) + C2 * (I1 * np.eye(3) - C)) - pressure * np.swapaxes(np.linalg.inv(F), 1, 2)


# nominal stresses of a Mooney-Rivlin material, from the textbooks (Treloar, The Physics of Rubber Elasticity, 1975)
TESTS = {
    "uniaxial": (Observations.uniaxial, 2.0 * (L - L**-2) * (C1 + C2 / L)),
    "equibiaxial": (Observations.equibiaxial, 2.0 * (L - L**-5) * (C1 + C2 * L**2)),
    "planar": (Observations.planar, 2.0 * (L - L**-3) * (C1 + C2)),
}


@pytest.mark.parametrize("test", TESTS)
@given(pressure=st.floats(-10.0, 10.0))
def test_incompressible_tests_give_the_textbook_stress_whatever_the_pressure(test, pressure):
    build, nominal = TESTS[test]
    observations = build(L, nominal)
    np.testing.assert_allclose(np.linalg.det(observations.F), 1.0, rtol=1e-14)
    np.testing.assert_allclose(observations.of_stress(mooney_rivlin(observations.F, pressure)), nominal, atol=2e-12)


def test_biaxial_tests_measure_one_stress_or_both():
    l2 = L[::-1] ** 0.5
    first = 2.0 * (L - 1.0 / (L**3 * l2**2)) * (C1 + C2 * l2**2)
    second = 2.0 * (l2 - 1.0 / (l2**3 * L**2)) * (C1 + C2 * L**2)
    partly = np.where(np.arange(9) % 2 == 0, second, np.nan)
    observations = Observations.biaxial(L, l2, first, partly, errors=0.01, group="sheet")
    np.testing.assert_allclose(observations.values, [*first, *second[::2]])
    np.testing.assert_allclose(
        observations.of_stress(mooney_rivlin(observations.F, 3.0)), observations.values, atol=1e-12
    )
    assert set(observations.group) == {"sheet"}
    assert (observations.errors == 0.01).all()


def test_a_balloon_has_its_limit_pressure_at_the_stretch_of_a_neo_hookean_sphere():
    """p = 4 C1 (H / R) (1/l - 1/l^7): its greatest value is at l = 7^(1/6)."""
    l = np.linspace(1.01, 3.0, 1000)
    pressure = 4.0 * C1 * (0.01 / 1.0) * (1.0 / l - l**-7)
    observations = Observations.inflation(l, pressure, thickness=0.01, radius=1.0)
    np.testing.assert_allclose(observations.of_stress(2.0 * C1 * observations.F), observations.values, rtol=1e-12)
    assert l[np.argmax(pressure)] == pytest.approx(7.0 ** (1.0 / 6.0), abs=2e-3)


def test_stresses_known_in_part_are_values_of_their_components():
    rng = np.random.default_rng(0)
    F = np.eye(2) + 0.1 * rng.normal(size=(6, 2, 2))
    P = rng.normal(size=(6, 2, 2))
    known = rng.random((6, 2, 2)) < 0.5
    observations = Observations.of_samples(Samples(F=F, stress=P, stress_known=known, group=np.arange(6) // 2))
    np.testing.assert_array_equal(observations.values, P[known])
    np.testing.assert_array_equal(observations.of_stress(P), P[known])
    np.testing.assert_array_equal(observations.group, np.nonzero(known)[0] // 2)


def test_joined_and_taken_observations_mean_the_same():
    parts = [build(L, nominal, errors=0.1) for build, nominal in TESTS.values()]
    joined = Observations.joined(parts)
    P = mooney_rivlin(joined.F, 1.0)
    np.testing.assert_allclose(joined.of_stress(P), joined.values, atol=1e-12)
    np.testing.assert_array_equal(joined.group, np.repeat(["0", "1", "2"], 9))
    rows = np.random.default_rng(1).permutation(27)[:11]
    part = joined.take(rows)
    np.testing.assert_array_equal(part.values, joined.values[rows])
    np.testing.assert_allclose(part.of_stress(mooney_rivlin(part.F, 1.0)), part.values, atol=1e-12)
    assert len(part.F) <= 11


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"row": [0, 5]}, "row must be 2 whole numbers from 0 to 1.*from 0 to 5"),
        ({"column": [0, 9]}, "column must be 2 whole numbers from 0 to 8"),
        ({"column": [0.0, 1.0]}, "column must be 2 whole numbers"),
        ({"coefficient": [1.0, 0.0]}, "value 1 has no coefficient"),
        ({"values": []}, "0 values"),
        ({"errors": [1.0, 0.0]}, "errors are standard deviations, > 0; value 1 has 0"),
        ({"group": [1.5, 2.5]}, "group must be 2 whole numbers"),
        ({"F": -np.eye(3)[None]}, "F in row 0 has determinant -1"),
    ],
)
def test_what_cannot_be_observations_is_refused(change, message):
    given = {"F": np.eye(3)[None], "row": [0, 1], "column": [0, 4], "coefficient": [1.0, 1.0], "values": [0.0, 0.0]}
    with pytest.raises(InvalidInputError, match=message):
        Observations(**{**given, **change})


def test_an_engineering_strain_in_the_place_of_a_stretch_is_refused():
    with pytest.raises(InvalidInputError, match=r"stretch in row 0 is 0; .*1 \+ engineering strain"):
        Observations.uniaxial([0.0, 0.1], [0.0, 1.0])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"stress": [0.1, np.inf, 0.3]}, "stress in row 1 is infinite"),
        ({"errors": [0.1, 0.2]}, r"errors has shape \(2,\).* 3 rows"),
        ({"group": ["a", "b"]}, r"group has shape \(2,\)"),
    ],
)
def test_tests_whose_columns_do_not_belong_together_are_refused(given, message):
    with pytest.raises(InvalidInputError, match=message):
        Observations.uniaxial(**{"stretch": [1.1, 1.2, 1.3], "stress": [0.1, 0.2, 0.3], **given})


@pytest.mark.parametrize("wall", [{"thickness": -0.02, "radius": 1.0}, {"thickness": 0.02, "radius": 0.0}])
def test_a_balloon_has_a_wall(wall):
    with pytest.raises(InvalidInputError, match="must be a finite number > 0"):
        Observations.inflation([1.1, 1.4], [0.01, 0.02], **wall)


def test_observations_are_taken_by_a_mask_as_by_numbers():
    whole = Observations.uniaxial([1.1, 1.5, 2.0], [0.1, 0.5, 0.9])
    np.testing.assert_array_equal(whole.take(whole.values > 0.3).values, whole.take(np.array([1, 2])).values)


def test_noise_is_the_share_of_the_values_that_their_errors_are():
    values = np.array([0.1, 0.5, 0.9])
    known = Observations.uniaxial([1.1, 1.5, 2.0], values, errors=0.02 * values)
    assert known.noise == pytest.approx(0.02)
    assert Observations.uniaxial([1.1, 1.5, 2.0], values).noise == 0.0
