"""The growth term: its values, derivatives, limits and convexity in J."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lse_material import Growth, InvalidInputError
from tests.materials import central_difference, random_deformations, relative_error


def with_volume(J, dim):
    F = np.eye(dim)
    F[0, 0] = J
    return F[None]


@pytest.mark.parametrize("dim", [2, 3])
def test_the_reference_state_has_no_energy_and_no_stress(dim):
    growth = Growth(3.0)
    np.testing.assert_array_equal(growth.energy(np.eye(dim)[None]), [0.0])
    np.testing.assert_array_equal(growth.stress(np.eye(dim)[None]), np.zeros((1, dim, dim)))


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("J", [1e-8, 0.1, 2.0])
def test_closed_form_under_a_uniaxial_change_of_volume(J, dim):
    growth, F = Growth(3.0), with_volume(J, dim)
    assert growth.energy(F)[0] == pytest.approx(3.0 * (J - 1.0 - np.log(J)), rel=1e-14)
    assert growth.stress(F)[0, 0, 0] == pytest.approx(3.0 * (1.0 - 1.0 / J), rel=1e-14)  # dW/dF11
    assert growth.stress(F)[0, 1, 1] == pytest.approx(3.0 * (J - 1.0), rel=1e-14)  # J dW/dJ / F22
    assert growth.tangent(F)[0, 0, 0, 0, 0] == pytest.approx(3.0 / J**2, rel=1e-14)


@pytest.mark.parametrize("dim", [2, 3])
def test_derivatives_against_central_differences(dim):
    growth, F = Growth(0.7), random_deformations(np.random.default_rng(0), 20, dim)
    assert relative_error(central_difference(growth.energy, F, 2, 1e-3), growth.stress(F)) < 1e-9
    assert relative_error(central_difference(growth.stress, F, 2, 1e-3), growth.tangent(F)) < 1e-9


@given(a=st.floats(1e-6, 10.0), b=st.floats(1e-6, 10.0), t=st.floats(0.0, 1.0))
def test_energy_is_convex_in_the_volume_and_never_negative(a, b, t):
    growth = Growth(1.0)
    Wa, Wb, Wt = (growth.energy(with_volume(J, 2))[0] for J in (a, b, t * a + (1.0 - t) * b))
    assert -1e-15 <= Wt <= t * Wa + (1.0 - t) * Wb + 1e-14 * (1.0 + Wa + Wb)


def test_energy_grows_without_bound_as_the_volume_vanishes():
    energies = [Growth(1.0).energy(with_volume(J, 3))[0] for J in (1e-1, 1e-2, 1e-4, 1e-100)]
    assert (np.diff(energies) > 0.0).all()
    assert energies[-1] > 200.0


@pytest.mark.parametrize("J", [0.0, -0.5, np.nan])
def test_no_volume_no_value(J):
    growth, F = Growth(1.0), with_volume(J, 2)
    for got in (growth.energy(F), growth.stress(F)[:, [0, 1], [0, 1]], growth.tangent(F)[:, 0, 0, 0, 0]):
        assert np.isnan(got).all()


@pytest.mark.parametrize("coefficient", [0.0, -1.0, np.nan, np.inf, "2", None])
def test_a_coefficient_is_a_positive_number(coefficient):
    with pytest.raises(InvalidInputError, match="growth coefficient is"):
        Growth(coefficient)


def test_a_coefficient_of_any_number_type_becomes_a_float():
    assert Growth(np.float32(0.5)).to_dict() == {"type": "Growth", "coefficient": 0.5}
