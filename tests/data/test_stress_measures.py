"""Stress measures: conversions to P against their definitions, and what strains without a rotation can tell."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lse_material import InvalidInputError
from lse_material.data.stress_measures import first_piola_kirchhoff, stretch_of, symmetric

MEASURES = ("P", "S", "sigma", "tau", "Biot")


def deformations_and_stresses(seed, dim, n=7):
    """F, and the stresses of all measures that belong to random second Piola-Kirchhoff stresses, by their definitions."""
    rng = np.random.default_rng(seed)
    F = np.eye(dim) + rng.uniform(-0.3, 0.3, (n, dim, dim))
    S = rng.normal(size=(n, dim, dim))
    S = S + np.swapaxes(S, 1, 2)
    P = F @ S
    tau = P @ np.swapaxes(F, 1, 2)
    U = stretch_of(np.swapaxes(F, 1, 2) @ F)
    R = F @ np.linalg.inv(U)
    T = np.swapaxes(R, 1, 2) @ P
    sigma = tau / np.linalg.det(F)[:, None, None]
    return F, {"P": P, "S": S, "sigma": sigma, "tau": tau, "Biot": 0.5 * (T + np.swapaxes(T, 1, 2))}


@pytest.mark.parametrize("measure", MEASURES)
@given(seed=st.integers(0, 10_000), dim=st.sampled_from([2, 3]))
def test_every_measure_gives_the_same_first_piola_kirchhoff_stress(measure, seed, dim):
    F, stresses = deformations_and_stresses(seed, dim)
    P = first_piola_kirchhoff(measure, stresses[measure], F)
    np.testing.assert_allclose(P, stresses["P"], rtol=1e-12, atol=1e-12 * np.abs(stresses["P"]).max())


@given(seed=st.integers(0, 10_000), dim=st.sampled_from([2, 3]))
def test_the_stretch_is_the_root_of_the_right_cauchy_green_tensor(seed, dim):
    F, _ = deformations_and_stresses(seed, dim)
    C = np.swapaxes(F, 1, 2) @ F
    U = stretch_of(C)
    np.testing.assert_allclose(U @ U, C, rtol=1e-12, atol=1e-14)
    assert (np.linalg.eigvalsh(U) > 0.0).all()
    shear_free = np.array([np.diag(np.linspace(0.5, 1.5, dim))])
    np.testing.assert_array_equal(stretch_of(shear_free), np.sqrt(shear_free))


@given(seed=st.integers(0, 10_000))
def test_objective_stresses_need_no_rotation(seed):
    """With F = U the second Piola-Kirchhoff and Biot stresses give P of the unrotated body: R^T P."""
    F, stresses = deformations_and_stresses(seed, 3)
    U = stretch_of(np.swapaxes(F, 1, 2) @ F)
    R = F @ np.linalg.inv(U)
    unrotated = np.swapaxes(R, 1, 2) @ stresses["P"]
    for measure in ("S", "Biot"):
        P = first_piola_kirchhoff(measure, stresses[measure], U, rotation_known=False)
        np.testing.assert_allclose(P, unrotated, atol=1e-11 * np.abs(unrotated).max())
    np.testing.assert_array_equal(first_piola_kirchhoff("P", unrotated, U, rotation_known=False), unrotated)
    for measure in ("P", "sigma", "tau"):
        with pytest.raises(InvalidInputError, match="turn"):
            first_piola_kirchhoff(measure, stresses[measure], U, rotation_known=False)


def test_components_that_are_not_needed_may_be_unknown():
    """sigma_11 of a stretched bar gives P_11 = J sigma_11 / F_11; with shear it does not."""
    sigma = np.full((1, 2, 2), np.nan)
    sigma[0, 0, 0] = 3.0
    P = first_piola_kirchhoff("sigma", sigma, np.diag([1.2, 0.9])[None])
    np.testing.assert_allclose(P[0, 0, 0], 3.0 * 0.9)
    assert np.isnan(P).sum() == 3
    along = np.array([[[1.2, 0.0], [0.1, 0.9]]])  # F^-T_21 = 0: sigma_12 does not enter P_11
    np.testing.assert_allclose(first_piola_kirchhoff("sigma", sigma, along)[0, 0, 0], 1.2 * 0.9 * 3.0 / 1.2)
    across = np.array([[[1.2, 0.1], [0.0, 0.9]]])
    assert np.isnan(first_piola_kirchhoff("sigma", sigma, across)).all()


def test_biot_stresses_are_converted_as_a_whole():
    with pytest.raises(InvalidInputError, match="Biot stresses are converted as a whole; row 0"):
        first_piola_kirchhoff("Biot", np.array([[[1.0, np.nan], [np.nan, 1.0]]]), np.eye(2)[None])


def test_both_columns_of_a_symmetric_component_agree():
    upper, lower = np.array([1.0, np.nan, 2.0]), np.array([1.0, 5.0, np.nan])
    np.testing.assert_array_equal(symmetric(upper, lower, "S"), [1.0, 5.0, 2.0])
    with pytest.raises(InvalidInputError, match="S is symmetric, but its components in row 1 are 2 and 3"):
        symmetric(np.array([1.0, 2.0]), np.array([1.0, 3.0]), "S")


def test_an_impossible_strain_is_refused_by_row():
    with pytest.raises(InvalidInputError, match=r"in row 1 has the eigenvalue -0\.2"):
        stretch_of(np.array([np.eye(2), np.diag([1.0, -0.2])]))
