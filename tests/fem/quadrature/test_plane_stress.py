"""Plane stress at points: the stress across vanishes, the tangent is exact, wells have solutions of their own."""

import numpy as np
import pytest

import lse_material as lse
from lse_material.fem import PlaneStress
from tests.materials import (
    central_difference,
    mild_material,
    quadratic_well,
    random_deformations,
    relative_error,
    rotation,
    saint_venant_kirchhoff,
    well,
)


def material(kind=lse.GreenLagrange):
    if kind is lse.SmallStrain:
        rng = np.random.default_rng(5)
        factor = np.eye(6) + 0.15 * rng.normal(size=(6, 6))
        modes = tuple(quadratic_well(0.02 * rng.normal(size=6), factor @ factor.T) for _ in range(2))
        return lse.Material(lse.SoftMinimum(modes, 0.05), lse.SmallStrain(3))
    return mild_material(np.random.default_rng(4), kind(3), modes=3, growth=lse.Growth(2.0))


def solid(F, across):
    """F in three dimensions."""
    result = np.zeros((len(F), 3, 3))
    result[:, :2, :2], result[:, :, 2] = F, across
    return result


@pytest.mark.parametrize("kind", [lse.GreenLagrange, lse.SmallStrain, lse.IsotropicInvariants])
def test_the_stress_across_vanishes_and_the_tangent_follows_it(kind):
    full, F = material(kind), random_deformations(np.random.default_rng(0), 60, 2, 0.1)
    plane = PlaneStress(full)
    found = plane.evaluate(F)
    P = full.stress(solid(F, found.across))
    assert np.abs(P[:, :, 2]).max() < 1e-11 * np.abs(P).max()
    assert np.abs(P[:, :2, :2] - found.stress).max() < 1e-13 * np.abs(P).max()
    assert np.allclose(full.energy(solid(F, found.across)), found.energy, rtol=1e-13)
    K = full.tangent(solid(F, found.across))[:, :, 2, :, 2]
    assert np.linalg.eigvalsh(K).min() > 0.0  # minima in the third column
    start = plane.across.copy()

    def stress(F):
        plane.across = start.copy()
        return plane.evaluate(F).stress

    def energy(F):
        plane.across = start.copy()
        return plane.evaluate(F).energy

    assert relative_error(central_difference(energy, F, 2, 1e-3), found.stress) < 1e-7
    assert relative_error(central_difference(stress, F, 2, 1e-3), found.tangent) < 1e-6


def test_it_is_objective():
    F, Q = random_deformations(np.random.default_rng(1), 20, 2, 0.1), rotation(0.7, 2)
    first, turned = (PlaneStress(material()).evaluate(G) for G in (F, Q @ F))
    assert np.allclose(turned.energy, first.energy, rtol=1e-12)
    assert np.abs(turned.stress - Q @ first.stress).max() < 1e-10 * np.abs(first.stress).max()


def test_of_a_linear_material_it_is_hookes_law_of_plane_stress():
    lame, shear = 3.0, 2.0
    full = saint_venant_kirchhoff(3, lame, shear, lse.SmallStrain)
    strain = np.array([[0.02, 0.003], [0.003, -0.01]])
    found = PlaneStress(full).evaluate((np.eye(2) + strain)[None])
    reduced = 2.0 * lame * shear / (lame + 2.0 * shear)
    assert np.allclose(found.stress[0], reduced * np.trace(strain) * np.eye(2) + 2.0 * shear * strain, atol=1e-14)
    assert found.across[0, 2] - 1.0 == pytest.approx(-lame / (lame + 2.0 * shear) * np.trace(strain), rel=1e-10)


def two_thicknesses():
    """Wells at E33 = 0.1 and, higher, at E33 = -0.1."""
    centres = np.zeros((2, 6))
    centres[:, 2] = 0.1, -0.1
    return lse.Material(
        lse.SoftMinimum((well(2.0, centres[0]), well(2.0, centres[1], 0.003)), 1e-3), lse.GreenLagrange(3)
    )


def test_a_point_stays_in_its_well_and_all_solutions_are_listed():
    plane = PlaneStress(two_thicknesses())
    stretches = np.sqrt(1.0 + 2.0 * np.array([0.1, -0.1]))
    listed = plane.solutions(np.eye(2))
    assert [one.across[0, 2] for one in listed] == pytest.approx(stretches, abs=1e-3)
    assert listed[0].energy[0] < listed[1].energy[0]
    for stretch in stretches:
        plane.across = np.array([[0.0, 0.0, stretch]])
        for scale in (1.0, 1.01, 1.02, 1.0):
            found = plane.evaluate(scale * np.eye(2)[None])
        assert found.across[0, 2] == pytest.approx(stretch, abs=1e-3)


def test_on_the_barrier_between_equal_wells_it_goes_to_a_minimum():
    """F13 = 0 is an equilibrium by symmetry, and no minimum."""
    centres = np.zeros((2, 6))
    centres[:, 4] = 0.1, -0.1
    full = lse.Material(lse.SoftMinimum(tuple(well(2.0, c) for c in centres), 1e-4), lse.GreenLagrange(3))
    found = PlaneStress(full).evaluate(np.eye(2)[None])
    assert abs(found.across[0, 0]) > 0.05
    assert found.energy[0] < full.energy(np.eye(3)) - 1e-3


def test_a_thickness_that_vanishes_and_an_inverted_plane_have_no_solution():
    mode = lse.ConvexNetwork.from_arrays([], [[[0.0, 0.0, 1.0, 0.0, 0.0, 0.0]]], [[0.0]], quadratic=np.eye(6) / 2)
    falling = lse.Material(lse.SoftMinimum((mode,), 1.0), lse.GreenLagrange(3))  # down to F33 = 0
    assert np.isnan(PlaneStress(falling).evaluate(np.eye(2)[None]).stress).all()
    F = np.array([np.eye(2), np.diag([1.0, -1.0])])
    found = PlaneStress(material()).evaluate(F)
    assert np.isfinite(found.stress[0]).all()
    assert np.isnan(found.stress[1]).all()


@pytest.mark.parametrize("given", [saint_venant_kirchhoff(2), saint_venant_kirchhoff(2).potential])
def test_what_is_no_material_of_a_solid_is_refused(given):
    with pytest.raises(lse.InvalidInputError, match="plane stress is found of a Material in three dimensions"):
        PlaneStress(given)
