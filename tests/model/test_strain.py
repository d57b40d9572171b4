"""Strain measures: known deformations, derivatives, invariance, and 2D as plane strain."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lse_material import FormatError, GreenLagrange, InvalidInputError, IsotropicInvariants, SmallStrain
from lse_material.analysis import random_rotations
from lse_material.model import from_mandel, mandel
from lse_material.model.strain import (
    cofactor,
    determinant_second_derivative,
    positive_determinant,
    strain_measure_from_dict,
)
from tests.materials import (
    OBJECTIVE,
    STRAIN_MEASURES,
    central_difference,
    measure_name,
    random_deformations,
    relative_error,
    rotation,
)

ROOT2 = np.sqrt(2.0)
KEPT_IN_THE_PLANE = {
    "IsotropicInvariants": [0, 1, 2],
    "PrincipalInvariants": [0, 2],
    "TransverseInvariants": [2, 3, 4],
    "OrthotropicInvariants": [0, 3, 6],
}


every_measure = pytest.mark.parametrize("kinematics", STRAIN_MEASURES, ids=measure_name)
objective_measures = pytest.mark.parametrize("kinematics", OBJECTIVE, ids=measure_name)


def in_space(F):
    """The plane-strain deformation (n, 2, 2) as one of space (n, 3, 3), F33 = 1."""
    F3 = np.tile(np.eye(3), (len(F), 1, 1))
    F3[:, :2, :2] = F
    return F3


@given(st.lists(st.floats(-10.0, 10.0), min_size=18, max_size=18))
def test_mandel_dot_products_are_tensor_products(entries):
    for dim in (2, 3):
        A, B = (np.array(entries[i : i + dim * dim]).reshape(dim, dim) for i in (0, 9))
        A, B = A + A.T, B + B.T
        assert mandel(A) @ mandel(B) == pytest.approx(np.tensordot(A, B), rel=1e-13, abs=1e-13)
        np.testing.assert_allclose(from_mandel(mandel(A)), A, rtol=1e-15, atol=1e-300)


def test_the_order_of_components_is_mandels():
    A = np.array([[11.0, 12.0, 13.0], [12.0, 22.0, 23.0], [13.0, 23.0, 33.0]])
    np.testing.assert_allclose(mandel(A), [11, 22, 33, 23 * ROOT2, 13 * ROOT2, 12 * ROOT2], rtol=1e-15)
    np.testing.assert_allclose(mandel(A[:2, :2]), [11, 22, 12 * ROOT2], rtol=1e-15)


@pytest.mark.parametrize("gamma", [0.0, 0.3, -2.0])
def test_simple_shear(gamma):
    F = np.array([[[1.0, gamma], [0.0, 1.0]]])
    np.testing.assert_allclose(GreenLagrange(2).strain(F), [[0.0, gamma**2 / 2, ROOT2 * gamma / 2]], atol=1e-15)
    np.testing.assert_allclose(SmallStrain(2).strain(F), [[0.0, 0.0, ROOT2 * gamma / 2]], atol=1e-15)
    # I1 = I2 = 3 + gamma^2, J = 1
    np.testing.assert_allclose(IsotropicInvariants(2).strain(F), [[gamma**2, gamma**2, 0.0]], atol=4e-15)
    np.testing.assert_allclose(IsotropicInvariants(3).strain(in_space(F)), [[gamma**2, gamma**2, 0.0]], atol=4e-15)


@pytest.mark.parametrize("stretch", [0.2, 0.9, 1.7])
def test_uniform_stretch_changes_volume_only(stretch):
    F = stretch * np.eye(3)[None]
    np.testing.assert_allclose(IsotropicInvariants(3).strain(F), [[0.0, 0.0, (stretch**3 - 1.0) ** 2]], atol=1e-14)
    volume = IsotropicInvariants(3, squared_volume=False).strain(F)
    np.testing.assert_allclose(volume, [[0.0, 0.0, stretch**3 - 1.0]], atol=1e-14)
    E = (stretch**2 - 1.0) / 2.0
    np.testing.assert_allclose(GreenLagrange(3).strain(F), [[E, E, E, 0.0, 0.0, 0.0]], atol=1e-15)


@pytest.mark.parametrize("dim", [2, 3])
def test_uniaxial_stretch_of_the_invariants(dim):
    a = 1.3
    F = np.diag([a, 1.0, 1.0][:dim])[None]
    I1, I2 = a**2 + 2.0, 2.0 * a**2 + 1.0
    exact = [[a ** (-2 / 3) * I1 - 3.0, a ** (-4 / 3) * I2 - 3.0, (a - 1.0) ** 2]]
    np.testing.assert_allclose(IsotropicInvariants(dim).strain(F), exact, atol=2e-15)


@objective_measures
def test_a_rotation_is_no_strain(kinematics):
    Q = np.concatenate([np.eye(kinematics.dim)[None], random_rotations(20, kinematics.dim, seed=1)])
    np.testing.assert_allclose(kinematics.strain(Q), 0.0, atol=5e-15)


@objective_measures
def test_a_rotation_on_top_changes_nothing(kinematics):
    F = random_deformations(np.random.default_rng(2), 20, kinematics.dim)
    for Q in random_rotations(5, kinematics.dim, seed=3):
        np.testing.assert_allclose(kinematics.strain(Q @ F), kinematics.strain(F), rtol=0.0, atol=1e-14)


def test_small_strain_takes_a_rotation_for_a_strain():
    strain = SmallStrain(2).strain(rotation(0.2, 2)[None])
    np.testing.assert_allclose(strain, [[np.cos(0.2) - 1.0, np.cos(0.2) - 1.0, 0.0]], atol=1e-15)
    assert not SmallStrain(2).objective


@pytest.mark.parametrize(
    "kinematics", [k for k in STRAIN_MEASURES if isinstance(k, IsotropicInvariants)], ids=measure_name
)
def test_invariants_are_isotropic(kinematics):
    F = random_deformations(np.random.default_rng(4), 20, kinematics.dim)
    for Q in random_rotations(5, kinematics.dim, seed=5):
        np.testing.assert_allclose(kinematics.strain(F @ Q), kinematics.strain(F), rtol=0.0, atol=1e-14)


@every_measure
def test_first_and_second_derivatives_against_central_differences(kinematics):
    rng = np.random.default_rng(6)
    F = random_deformations(rng, 10, kinematics.dim)
    # h = 1e-3: the polynomials GreenLagrange and SmallStrain are exact to rounding eps / h = 2e-13
    derivative = kinematics.derivative(F)
    assert relative_error(central_difference(kinematics.strain, F, 2, 1e-3), derivative) < 1e-10
    g = rng.normal(size=(10, kinematics.size))

    def weighted(F):
        return np.einsum("ni,niJK->nJK", g, kinematics.derivative(F))

    geometric = kinematics.geometric(F, g)
    assert geometric.shape == (10, *(kinematics.dim,) * 4)
    np.testing.assert_allclose(central_difference(weighted, F, 2, 1e-3), geometric, rtol=0.0, atol=1e-9)


@every_measure
def test_geometric_part_has_major_symmetry(kinematics):
    rng = np.random.default_rng(7)
    F = random_deformations(rng, 10, kinematics.dim)
    geometric = kinematics.geometric(F, rng.normal(size=(10, kinematics.size)))
    np.testing.assert_allclose(geometric, geometric.transpose(0, 3, 4, 1, 2), rtol=0.0, atol=1e-14)


@pytest.mark.parametrize(
    "plane", [k for k in STRAIN_MEASURES if k.dim == 2 and k.symmetry != "cubic"], ids=measure_name
)
def test_two_dimensions_are_plane_strain(plane):
    """x, and dx/dF in the plane, are those of space with F33 = 1.

    E13 = E23 = E33 = 0 are left out of x, as are invariants that depend on the others in the plane.
    """
    flat = plane.to_dict()
    space = strain_measure_from_dict({**flat, "dim": 3, **{n: (*flat[n], 0.0) for n in "ab" if n in flat}})
    keep = KEPT_IN_THE_PLANE.get(plane.name, [0, 1, 5, 6][: plane.size])
    rng = np.random.default_rng(8)
    F = random_deformations(rng, 10, 2)
    F3 = in_space(F)
    x, x3 = plane.strain(F), space.strain(F3)
    np.testing.assert_allclose(x, x3[:, keep], rtol=0.0, atol=1e-14)
    if plane.name not in KEPT_IN_THE_PLANE:
        np.testing.assert_array_equal(np.delete(x3, keep, axis=1), 0.0)
    derivative = space.derivative(F3)[:, keep, :2, :2]
    np.testing.assert_allclose(plane.derivative(F), derivative, rtol=0.0, atol=1e-14)
    g, g3 = rng.normal(size=(10, plane.size)), np.zeros((10, space.size))
    g3[:, keep] = g
    geometric = space.geometric(F3, g3)[:, :2, :2, :2, :2]
    np.testing.assert_allclose(plane.geometric(F, g), geometric, rtol=0.0, atol=1e-13)


@pytest.mark.parametrize("dim", [2, 3])
def test_determinant_and_its_derivatives(dim):
    F = random_deformations(np.random.default_rng(9), 10, dim, 0.4 if dim == 2 else 0.3)
    np.testing.assert_allclose(positive_determinant(F), np.linalg.det(F), rtol=1e-13)
    inverse_transposed = np.swapaxes(np.linalg.inv(F), 1, 2)
    np.testing.assert_allclose(
        cofactor(F), np.linalg.det(F)[:, None, None] * inverse_transposed, rtol=1e-12, atol=1e-14
    )
    # quadratic in F at most: differences are exact to rounding
    assert relative_error(central_difference(cofactor, F, 2, 1e-1), determinant_second_derivative(F)) < 1e-13


@pytest.mark.parametrize("dim", [2, 3])
def test_volumes_that_are_not_positive_give_nan_and_no_warning(dim):
    flipped, flat = np.eye(dim), np.eye(dim)
    flipped[0, 0], flat[1, 1] = -1.0, 0.0
    F = np.stack([flipped, flat, np.eye(dim)])
    np.testing.assert_array_equal(np.isnan(positive_determinant(F)), [True, True, False])
    invariants = IsotropicInvariants(dim)
    for got in (
        invariants.strain(F)[:, :2],
        invariants.derivative(F)[:, :2],
        invariants.geometric(F, np.ones((3, 3))),
    ):
        np.testing.assert_array_equal(np.isnan(got.reshape(3, -1)).all(axis=1), [True, True, False])


@every_measure
def test_no_deformations_give_no_strains(kinematics):
    F = np.empty((0, kinematics.dim, kinematics.dim))
    assert kinematics.strain(F).shape == (0, kinematics.size)
    assert kinematics.derivative(F).shape == (0, kinematics.size, *F.shape[1:])
    assert kinematics.geometric(F, np.empty((0, kinematics.size))).shape == (0, *(kinematics.dim,) * 4)


@every_measure
def test_a_description_gives_the_measure_back(kinematics):
    assert strain_measure_from_dict(kinematics.to_dict()) == kinematics


@pytest.mark.parametrize(
    "data",
    [
        None,
        "GreenLagrange",
        {},
        {"type": "Hencky", "dim": 2},
        {"type": []},
        {"type": "GreenLagrange"},
        {"type": "GreenLagrange", "dim": 4},
        {"type": "GreenLagrange", "dim": 2.0},
        {"type": "GreenLagrange", "dim": "2"},
        {"type": "GreenLagrange", "dim": 2, "squared_volume": True},
        {"type": "IsotropicInvariants", "dim": 2, "squared_volume": "no"},
    ],
)
def test_an_unknown_description_is_refused(data):
    with pytest.raises(FormatError, match="the strain measure"):
        strain_measure_from_dict(data)


@pytest.mark.parametrize("dim", [1, 4, 2.0, "2", None])
def test_only_two_and_three_dimensions(dim):
    with pytest.raises(InvalidInputError, match="must be 2 \\(plane strain\\) or 3"):
        GreenLagrange(dim)


def test_a_dimension_from_numpy_is_kept_as_an_integer():
    assert type(SmallStrain(np.int64(3)).dim) is int


@pytest.mark.parametrize("kinematics", STRAIN_MEASURES, ids=measure_name)
def test_deformations_may_stand_in_any_shape_and_others_are_refused(kinematics):
    F = random_deformations(np.random.default_rng(1), 6, kinematics.dim)
    g = np.random.default_rng(2).normal(size=(6, kinematics.size))
    for flat, block, one in (
        (kinematics.strain(F), kinematics.strain(F.reshape(2, 3, *F.shape[1:])), kinematics.strain(F[4])),
        (kinematics.derivative(F), kinematics.derivative(F.reshape(2, 3, *F.shape[1:])), kinematics.derivative(F[4])),
        (
            kinematics.geometric(F, g),
            kinematics.geometric(F.reshape(2, 3, *F.shape[1:]), g.reshape(2, 3, -1)),
            kinematics.geometric(F[4], g[4]),
        ),
    ):
        np.testing.assert_array_equal(block.reshape(flat.shape), flat)
        np.testing.assert_allclose(one, flat[4], rtol=1e-14, atol=1e-14)
    with pytest.raises(InvalidInputError, match="strain measure needs"):
        kinematics.strain(np.eye(kinematics.dim + 1)[None])
