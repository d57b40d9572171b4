"""Ellipticity against closed forms, falling energies outside the data, groups, and errors on data."""

import numpy as np
import pytest

from lse_material import (
    ConvexNetwork,
    GreenLagrange,
    InvalidInputError,
    IsotropicInvariants,
    Material,
    PrincipalInvariants,
    Samples,
    SoftMinimum,
    Symmetry,
)
from lse_material.analysis import check_data, check_ellipticity, check_extrapolation, check_symmetry
from tests.materials import random_deformations, random_material, square_to_rectangle, temperature_and_design_material


def test_two_wells_are_elliptic_and_the_ridge_between_them_is_not():
    material = square_to_rectangle(1e-3)
    F = np.array([np.diag([0.9, 1.15]), np.eye(2)])
    check = check_ellipticity(material, F)
    assert check.passed
    assert check.value == 0.5
    assert [check_ellipticity(material, one).value for one in F] == [0.0, 1.0]


def test_a_material_that_falls_outside_its_box_fails_and_a_convex_one_does_not():
    slope = ConvexNetwork.from_arrays([], [[[-1.0, 0.0, 0.0]]], [[0.0]])
    falling = SoftMinimum((slope,), 1.0)
    box = np.full(3, -1.0), np.full(3, 1.0)
    check = check_extrapolation(falling, box)
    assert not check.passed
    assert check.value == pytest.approx(0.5, rel=0.02)  # W = -x: by 1, of a range of 2
    bowl = ConvexNetwork.from_arrays([], [np.zeros((1, 3))], [[0.0]], quadratic=np.eye(3))
    assert check_extrapolation(SoftMinimum((bowl,), 1.0), box).passed


@pytest.mark.parametrize("rises", [True, False])
def test_extrapolation_of_invariants_is_tried_where_deformations_are(rises):
    """|F|^2 - 2 - 2 ln J >= 0: an energy that rises with it falls only where no deformation is."""
    mode = ConvexNetwork.from_arrays([], [[[1.0 if rises else -1.0, 0.0]]], [[0.0]])
    rubber = Material(SoftMinimum((mode,), 1.0), PrincipalInvariants(2))
    box = np.array([0.0, -0.2]), np.array([0.2, 0.2])
    assert check_extrapolation(rubber, box).passed == rises


@pytest.mark.parametrize("measure", [PrincipalInvariants, IsotropicInvariants])
@pytest.mark.parametrize("rises", [True, False])
def test_extrapolation_after_tests_that_keep_the_volume_is_tried_at_that_volume(measure, rises):
    """At det F = 1 the first invariant is least at F = I; of two numbers in a box it may be anything."""
    mode = ConvexNetwork.from_arrays([], [[[1.0 if rises else -1.0, 0.0, 0.0]]], [[0.0]])
    rubber = Material(SoftMinimum((mode,), 1.0), measure(3))
    stretch = np.linspace(1.1, 2.7, 20)
    x = rubber.kinematics.strain(np.array([np.diag([s, s**-0.5, s**-0.5]) for s in stretch]))
    assert check_extrapolation(rubber, (x.min(axis=0), x.max(axis=0)), seed=3).passed == rises


def test_the_reference_state_lies_inside_where_random_rows_have_stayed_away_from_it():
    """Invariants of random deformations have their least values above those of F = I, at which W is least."""
    mode = ConvexNetwork.from_arrays([], [[[1.0, 0.0]]], [[0.0]], quadratic=np.diag([0.0, 2.0]))
    rubber = Material(SoftMinimum((mode,), 1.0), PrincipalInvariants(2))
    F = random_deformations(np.random.default_rng(0), 60, 2)
    x = rubber.kinematics.strain(F)
    assert x[:, 0].min() > 0.0
    check = check_extrapolation(rubber, (x.min(axis=0), x.max(axis=0)))
    assert check.passed
    assert check.value == 0.0


def test_a_material_has_its_own_point_group_and_no_other():
    material = square_to_rectangle(0.1)
    F = random_deformations(np.random.default_rng(0), 20, 2)
    assert check_symmetry(material, Symmetry.crystal("square", "rectangle", dim=2), F).passed
    assert not check_symmetry(material, Symmetry.crystal("hexagon", "rectangle", dim=2), F).passed
    cubic = Symmetry.crystal("cubic", "tetragonal", dim=3)
    with pytest.raises(InvalidInputError, match="acts on 6 inputs; the material has 3"):
        check_symmetry(material, cubic, F)
    with pytest.raises(InvalidInputError, match="symmetry has 6 components; the potential has 3"):
        Material(material.potential, material.kinematics, symmetry=cubic)


def test_errors_on_data_are_shares_of_the_data_and_leave_missing_values_out():
    material = random_material(np.random.default_rng(0), GreenLagrange(2))
    F = random_deformations(np.random.default_rng(1), 50, 2)
    W, P = material.energy(F), material.stress(F)
    spread = W.std()
    energy = W + 0.03 * spread
    energy[0] = np.nan
    mask = np.arange(50) > 0
    energies, slopes = check_data(material, Samples(F=F, energy=energy, stress=1.1 * P, energy_mask=mask))
    assert energies.value == pytest.approx(0.03, rel=0.05)
    assert energies.passed
    assert slopes.value == pytest.approx(0.1 / 1.1)
    assert not slopes.passed


def test_columns_of_fields_are_known_by_their_names_in_any_order():
    m, rng = temperature_and_design_material(), np.random.default_rng(4)
    F, fields = random_deformations(rng, 9, 2), np.column_stack([rng.uniform(255, 305, 9), rng.uniform(0.1, 0.5, 9)])
    rows = {"F": F, "energy": m.energy(F, fields), "stress": m.stress(F, fields)}
    swapped = Samples(**rows, fields=fields[:, ::-1], field_names=("porosity", "T"))
    *errors, _ = check_data(m, swapped, tolerance=1e-12)
    assert all(check.passed for check in errors)
    with pytest.raises(InvalidInputError, match=r"have the fields \['c', 'T'\], not \['T', 'porosity'\]"):
        check_data(m, Samples(**rows, fields=fields, field_names=("c", "T")))
