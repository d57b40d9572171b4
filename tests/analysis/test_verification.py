"""The checks pass what is right and fail what is wrong: each is shown a material with exactly that fault."""

import dataclasses

import numpy as np
import pytest

import lse_material as lse
from lse_material import (
    Box,
    ConvexNetwork,
    GreenLagrange,
    Growth,
    InvalidInputError,
    IsotropicInvariants,
    Material,
    SmallStrain,
)
from lse_material.analysis import (
    check_convexity,
    check_derivatives,
    check_objectivity,
    check_polyconvexity,
    check_reference,
    check_symmetry_of_tangent,
    random_rotations,
    sample_deformations,
    verify,
)
from lse_material.model.material import MaterialValues
from tests.materials import STRAIN_MEASURES, measure_name, random_deformations, random_material, square_to_rectangle


class Faulty(Material):
    """A material whose `fault` maps (attribute, F, value) to a wrong value."""

    def evaluate(self, F):
        values = super().evaluate(F)
        for attribute, change in self.faults.items():
            values.__dict__[attribute] = change(
                np.asarray(F).reshape(-1, self.dim, self.dim), getattr(values, attribute)
            )
        return values


def faulty(material, **faults):
    kind = type("Faulty", (Faulty,), {"faults": faults})
    return kind(**{field.name: getattr(material, field.name) for field in dataclasses.fields(material)})


def material_of(kinematics, **options):
    return random_material(np.random.default_rng(20), kinematics, **options)


@pytest.mark.parametrize("kinematics", STRAIN_MEASURES, ids=measure_name)
@pytest.mark.parametrize("rho", [1e-2, 1.0])
def test_random_materials_pass_every_check(kinematics, rho):
    material = material_of(kinematics, rho=rho, growth=Growth(0.5))
    checks = verify(material, seed=1)
    assert [check.name for check in checks if not check.passed] == []
    assert ("objectivity" in [check.name for check in checks]) == kinematics.objective
    assert all(check.value <= check.tolerance and check.detail for check in checks)


def test_a_constant_in_the_energy_neither_fails_what_is_right_nor_hides_what_is_wrong():
    plain = material_of(GreenLagrange(2))
    shifted = dataclasses.replace(plain.potential, energy_shift=-3e9)
    material = dataclasses.replace(plain, potential=shifted)
    assert [check.name for check in verify(material) if not check.passed] == []
    twisted = faulty(material, stress=lambda F, P: P + 1e-6 * (F[:, :1, 1:] - F[:, 1:, :1]))
    assert "objectivity" in [check.name for check in verify(twisted) if not check.passed]


@pytest.mark.parametrize("rho", [1e-4, 1e-3])
def test_sharp_ridges_do_not_look_like_wrong_derivatives(rho):
    material = square_to_rectangle(rho)
    # on the ridge by symmetry, and a few of its widths (about rho over the difference of the wells' strains) beside it
    F = np.stack([np.eye(2), 0.95 * np.eye(2), np.diag([1.0 + rho, 1.0 - rho])])
    assert (material.mode_weights(F).min(axis=1) > 0.1).all()
    assert check_derivatives(material, F).passed
    assert not check_derivatives(faulty(material, tangent=lambda F, A: 1.0001 * A), F).passed


@pytest.mark.parametrize("factor", [1.0 + 1e-4, 0.0, -1.0])
def test_a_wrong_stress_or_tangent_is_found(factor):
    material = material_of(GreenLagrange(3))
    F = random_deformations(np.random.default_rng(2), 5, 3)
    assert check_derivatives(material, F).passed
    assert not check_derivatives(faulty(material, stress=lambda F, P: factor * P), F).passed
    assert not check_derivatives(faulty(material, tangent=lambda F, A: factor * A), F).passed


def test_a_tangent_without_its_geometric_part_is_found():
    material = material_of(GreenLagrange(2))
    F = random_deformations(np.random.default_rng(3), 5, 2)

    def without(F, A):
        x = material.kinematics.strain(F)
        return A - material.kinematics.geometric(F, material.potential.gradient(x))

    wrong = check_derivatives(faulty(material, tangent=without), F)
    assert not wrong.passed
    assert wrong.value > 1e-3


def test_a_tangent_without_major_symmetry_is_found():
    material = material_of(GreenLagrange(2))
    F = random_deformations(np.random.default_rng(4), 5, 2)
    assert check_symmetry_of_tangent(material, F).passed

    def skewed(F, A):
        A = A.copy()
        A[:, 0, 0, 1, 1] *= 1.0 + 1e-6
        return A

    assert not check_symmetry_of_tangent(faulty(material, tangent=skewed), F).passed


def test_an_energy_that_sees_a_rotation_is_found():
    rng = np.random.default_rng(5)
    material, Q = material_of(GreenLagrange(2)), random_rotations(3, 2, seed=6)
    F = random_deformations(rng, 5, 2)
    assert check_objectivity(material, F, Q).passed
    assert not check_objectivity(faulty(material, energy=lambda F, W: W + 1e-3 * F[:, 0, 1]), F, Q).passed
    assert not check_objectivity(faulty(material, stress=lambda F, P: P + 1e-3 * np.eye(2)), F, Q).passed
    # a stress that turns with the body, but whose moments do not balance
    moments = faulty(material, stress=lambda F, P: P + F @ np.array([[0.0, 1e-3], [-1e-3, 0.0]]))
    assert not check_objectivity(moments, F, Q).passed


def test_a_mode_that_is_not_convex_is_found():
    # z-weights are checked when a network is made; a mode can be spoiled only behind its back
    material = material_of(GreenLagrange(2), quadratic=False, depth=1)
    x = np.random.default_rng(7).normal(size=(20, 3))
    assert check_convexity(material.potential, x).passed
    mode = material.potential.modes[1]
    object.__setattr__(mode, "z_weights", (-mode.z_weights[0],))
    check = check_convexity(material.potential, x)
    assert not check.passed
    assert "mode 1" in check.detail
    assert check.value > 0.1


def test_modes_without_curvature_are_convex():
    flat = ConvexNetwork.from_arrays([], [[[1.0, 2.0, 3.0]]], [[0.0]])
    potential = dataclasses.replace(material_of(GreenLagrange(2)).potential, modes=(flat,))
    check = check_convexity(potential, np.zeros((1, 3)))
    assert check.passed
    assert check.value == 0.0


def test_nan_passes_no_check():
    material = material_of(GreenLagrange(2))
    F = random_deformations(np.random.default_rng(8), 3, 2)
    nan = {name: (lambda F, v: np.nan * v) for name in ("energy", "stress", "tangent")}
    wrong = faulty(material, **nan)
    assert not check_derivatives(wrong, F).passed
    assert not check_symmetry_of_tangent(wrong, F).passed
    assert not check_objectivity(wrong, F, random_rotations(2, 2)).passed
    assert not check_reference(wrong).passed
    assert not check_convexity(material.potential, [[0.0, np.nan, 0.0]]).passed


def test_derivatives_are_checked_at_stress_free_wells_too():
    mode = ConvexNetwork.from_arrays([], [np.zeros((1, 3))], [[5.0]], quadratic=np.eye(3))
    potential = dataclasses.replace(material_of(GreenLagrange(2)).potential, modes=(mode,), input_shift=np.zeros(3))
    material = Material(potential, GreenLagrange(2))
    assert np.abs(material.stress(np.eye(2))).max() == 0.0
    assert check_derivatives(material, np.eye(2)).passed
    biased = faulty(material, stress=lambda F, P: P + 1e-4)
    assert not check_derivatives(biased, np.eye(2)).passed


def test_the_reference_state_is_reported_with_its_stress():
    material = dataclasses.replace(material_of(GreenLagrange(2)), units={"stress": "MPa"})
    check = check_reference(material)
    assert check.passed
    assert check.value == np.abs(material.stress(np.eye(2))).max()
    assert "MPa" in check.detail


@pytest.mark.parametrize("dim", [2, 3])
def test_rotations_are_rotations_and_spread_over_all_directions(dim):
    Q = random_rotations(2000, dim, seed=9)
    np.testing.assert_allclose(np.swapaxes(Q, 1, 2) @ Q, np.tile(np.eye(dim), (2000, 1, 1)), atol=1e-14)
    np.testing.assert_allclose(np.linalg.det(Q), 1.0, rtol=1e-13)
    # the mean over all rotations is 0; 2000 samples with variance 1/dim leave 1/sqrt(2000 dim), here 5 times that
    assert np.abs(Q.mean(axis=0)).max() < 5.0 / np.sqrt(2000.0 * dim)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("measure", [GreenLagrange, SmallStrain])
def test_deformations_are_drawn_from_the_training_box(measure, dim):
    kinematics = measure(dim)
    lower, upper = np.full(kinematics.size, -0.05), np.full(kinematics.size, 0.1)
    material = dataclasses.replace(material_of(kinematics), training_box=Box(lower, upper))
    F = sample_deformations(material, 40, seed=10)
    assert F.shape == (40, dim, dim)
    assert (np.linalg.det(F) > 0.0).all()
    x = kinematics.strain(F)
    assert (x >= lower - 1e-14).all()
    assert (x <= upper + 1e-14).all()
    np.testing.assert_array_equal(F, sample_deformations(material, 40, seed=10))
    assert np.abs(F - sample_deformations(material, 40, seed=11)).max() > 0.01


def test_deformations_for_invariants_lie_in_the_box_and_without_a_box_around_the_identity():
    kinematics = IsotropicInvariants(3)
    box = Box([0.0, 0.0, 0.0], [0.1, 0.1, 0.05])
    material = dataclasses.replace(material_of(kinematics), training_box=box)
    assert box.excess(kinematics.strain(sample_deformations(material, 40))).max() <= 1e-12
    F = sample_deformations(material_of(kinematics), 40)
    assert F.shape == (40, 3, 3)
    assert (np.linalg.det(F) > 0.0).all()


def test_a_box_of_impossible_strains_still_gives_deformations():
    # E11 <= -1/2 is a stretch that is not real
    box = Box([-3.0, -0.1, -0.1], [-2.0, 0.1, 0.1])
    material = dataclasses.replace(material_of(GreenLagrange(2)), training_box=box)
    F = sample_deformations(material, 10)
    assert F.shape == (10, 2, 2)
    assert (np.linalg.det(F) > 0.0).all()


def test_a_check_that_cannot_be_made_says_why():
    material = material_of(GreenLagrange(2))
    with pytest.raises(InvalidInputError, match="SmallStrain is not objective"):
        check_objectivity(material_of(SmallStrain(2)), np.eye(2), np.eye(2))
    with pytest.raises(InvalidInputError, match=r"rotations\[1\] .* is not a rotation"):
        check_objectivity(material, np.eye(2), np.stack([np.eye(2), np.diag([1.0, -1.0])]))
    with pytest.raises(InvalidInputError, match="holds no points"):
        check_derivatives(material, np.empty((0, 2, 2)))
    with pytest.raises(InvalidInputError, match=r"point 0 of 1, .* has determinant -1"):
        verify(material, np.diag([1.0, -1.0]))
    assert isinstance(material.evaluate(np.eye(2)), MaterialValues)


@pytest.mark.parametrize(("weight", "expected"), [(1.0, "2 of 2"), (-0.1, "1 of 2")])
def test_polyconvex_modes_are_told_by_their_weights(weight, expected):
    modes = [lse.ConvexNetwork.from_arrays([], [[[w, 0.0]]], [[0.0]], quadratic=[[0.0, 2.0]]) for w in (1.0, weight)]
    material = lse.Material(lse.SoftMinimum(modes, 1.0), lse.PrincipalInvariants(2))
    check = next(check for check in verify(material) if check.name == "polyconvexity")
    assert check.passed
    assert check.detail.startswith(expected)
    with pytest.raises(lse.InvalidInputError, match="does not say when a mode is polyconvex"):
        check_polyconvexity(lse.Material(material.potential, PlainStretch(2)), np.eye(2))


class PlainStretch(lse.StrainMeasure):
    """|F|^2 - 2 and J - 1, with nothing said of polyconvexity."""

    size = 2

    def components(self, F):
        return [(F * F).sum() - 2.0, lse.model.determinant(F) - 1.0]
