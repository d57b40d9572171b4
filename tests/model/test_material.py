"""Materials: exact stresses of known energies, derivatives, objectivity, and deformations that are none."""

import numpy as np
import pytest

from lse_material import (
    Box,
    ConvexNetwork,
    GreenLagrange,
    Growth,
    InvalidInputError,
    IsotropicInvariants,
    Material,
    SmallStrain,
    SoftMinimum,
)
from lse_material.analysis import random_rotations
from lse_material.model import mandel
from lse_material.model.mode import CHUNK
from tests.materials import (
    OBJECTIVE,
    STRAIN_MEASURES,
    central_difference,
    measure_name,
    random_deformations,
    random_material,
    relative_error,
    rotation,
    square_to_rectangle,
)

GROWTHS = (None, Growth(0.8))
every_measure = pytest.mark.parametrize("kinematics", STRAIN_MEASURES, ids=measure_name)


def affine(coefficients):
    return ConvexNetwork.from_arrays([], [[coefficients]], [[0.0]])


def quadratic(matrix):
    return ConvexNetwork.from_arrays([], [np.zeros((1, matrix.shape[1]))], [[0.0]], quadratic=matrix)


def root_of_stiffness(lame, shear, dim):
    """R with R^T R = the isotropic stiffness in Mandel components."""
    trace = mandel(np.eye(dim))
    return np.linalg.cholesky(2.0 * shear * np.eye(len(trace)) + lame * np.outer(trace, trace)).T


@pytest.mark.parametrize("dim", [2, 3])
def test_an_affine_mode_of_the_invariants_is_a_neo_hookean_material(dim):
    # W = mu/2 (J^(-2/3) I1 - 3) + kappa/2 (J-1)^2,  P = mu J^(-2/3) (F - I1/3 F^-T) + kappa (J-1) J F^-T
    mu, kappa = 1.3, 7.0
    potential = SoftMinimum((affine([mu / 2.0, 0.0, kappa / 2.0]),), scaled_rho=0.1)
    material = Material(potential, IsotropicInvariants(dim))
    F = random_deformations(np.random.default_rng(0), 30, dim, 0.3)
    J, F_inv_T = np.linalg.det(F), np.swapaxes(np.linalg.inv(F), 1, 2)
    I1 = (F**2).sum(axis=(1, 2)) + (3 - dim)
    W = mu / 2.0 * (J ** (-2 / 3) * I1 - 3.0) + kappa / 2.0 * (J - 1.0) ** 2
    P = (mu * J ** (-2 / 3))[:, None, None] * (F - (I1 / 3.0)[:, None, None] * F_inv_T)
    P = P + (kappa * (J - 1.0) * J)[:, None, None] * F_inv_T
    np.testing.assert_allclose(material.energy(F), W, rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(material.stress(F), P, rtol=0.0, atol=1e-13)


def test_tangent_of_the_neo_hookean_material_in_simple_shear_and_at_rest():
    mu, kappa = 1.3, 7.0
    material = Material(SoftMinimum((affine([mu / 2.0, 0.0, kappa / 2.0]),), 0.1), IsotropicInvariants(3))
    # at F = I the tangent is that of linear elasticity: mu (dik dJL + diL dJk - 2/3 diJ dkL) + kappa diJ dkL
    eye = np.eye(3)
    linear = mu * (np.einsum("ik,JL->iJkL", eye, eye) + np.einsum("iL,Jk->iJkL", eye, eye))
    linear += (kappa - 2.0 / 3.0 * mu) * np.einsum("iJ,kL->iJkL", eye, eye)
    np.testing.assert_allclose(material.tangent(eye), linear, rtol=0.0, atol=1e-13)
    # P12 = mu gamma in simple shear, whose slope along gamma is mu
    gamma = 0.6
    F = np.eye(3)
    F[0, 1] = gamma
    assert material.stress(F)[0, 1] == pytest.approx(mu * gamma, rel=1e-14)
    assert material.tangent(F)[0, 1, 0, 1] == pytest.approx(mu, rel=1e-13)


@pytest.mark.parametrize("dim", [2, 3])
def test_a_quadratic_mode_of_green_lagrange_strain_is_saint_venant_kirchhoff(dim):
    root = root_of_stiffness(1.1, 0.8, dim)
    material = Material(SoftMinimum((quadratic(root),), 0.1), GreenLagrange(dim))
    F = random_deformations(np.random.default_rng(1), 30, dim)
    E = 0.5 * (np.swapaxes(F, 1, 2) @ F - np.eye(dim))
    S = 1.1 * np.trace(E, axis1=1, axis2=2)[:, None, None] * np.eye(dim) + 1.6 * E
    np.testing.assert_allclose(material.energy(F), 0.5 * (S * E).sum(axis=(1, 2)), rtol=1e-13)
    np.testing.assert_allclose(material.stress(F), F @ S, rtol=0.0, atol=1e-14)
    # A_iJkL = delta_ik S_JL + F_iM F_kN C_MJNL
    eye = np.eye(dim)
    stiffness = 1.1 * np.einsum("MJ,NL->MJNL", eye, eye)
    stiffness += 0.8 * (np.einsum("MN,JL->MJNL", eye, eye) + np.einsum("ML,JN->MJNL", eye, eye))
    A = np.einsum("ik,nJL->niJkL", eye, S) + np.einsum("niM,nkN,MJNL->niJkL", F, F, stiffness)
    np.testing.assert_allclose(material.tangent(F), A, rtol=0.0, atol=1e-13)


@pytest.mark.parametrize("dim", [2, 3])
def test_a_quadratic_mode_of_small_strain_is_linear_elasticity(dim):
    root = root_of_stiffness(1.1, 0.8, dim)
    material = Material(SoftMinimum((quadratic(root),), 0.1), SmallStrain(dim))
    F = random_deformations(np.random.default_rng(2), 30, dim)
    strain = 0.5 * (F + np.swapaxes(F, 1, 2)) - np.eye(dim)
    P = 1.1 * np.trace(strain, axis1=1, axis2=2)[:, None, None] * np.eye(dim) + 1.6 * strain
    np.testing.assert_allclose(material.stress(F), P, rtol=0.0, atol=1e-14)


def test_two_wells_of_a_square_to_rectangle_transformation_are_free_of_stress():
    a, b = 0.9, 1.15
    material = square_to_rectangle(1e-3, a, b)
    for k, U in enumerate((np.diag([a, b]), np.diag([b, a]))):
        F = rotation(0.4, 2) @ U
        assert abs(material.energy(F)) < 1e-15
        assert np.abs(material.stress(F)).max() < 1e-14
        assert material.mode_weights(F)[k] == pytest.approx(1.0, abs=1e-15)
    assert material.mode_weights(np.eye(2)) == pytest.approx([0.5, 0.5], rel=1e-14)  # the square is on the ridge


@every_measure
@pytest.mark.parametrize("growth", GROWTHS, ids=["", "growth"])
def test_stress_and_tangent_against_central_differences(kinematics, growth):
    rng = np.random.default_rng(3)
    material = random_material(rng, kinematics, growth=growth, rho=0.5)
    F = random_deformations(rng, 10, material.dim)
    # ridges are rho energy_scale / |jump of P|, some 0.05 wide: h = 3e-4 is well below
    assert relative_error(central_difference(material.energy, F, 2, 3e-4), material.stress(F)) < 1e-9
    assert relative_error(central_difference(material.stress, F, 2, 3e-4), material.tangent(F)) < 1e-8


@pytest.mark.parametrize("kinematics", OBJECTIVE, ids=measure_name)
@pytest.mark.parametrize("growth", GROWTHS, ids=["", "growth"])
def test_objectivity(kinematics, growth):
    rng = np.random.default_rng(4)
    material = random_material(rng, kinematics, growth=growth)
    F = random_deformations(rng, 10, material.dim)
    W, P, A = material.energy(F), material.stress(F), material.tangent(F)
    for Q in random_rotations(5, material.dim, seed=6):
        np.testing.assert_allclose(material.energy(Q @ F), W, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(material.stress(Q @ F), Q @ P, rtol=0.0, atol=1e-12 * np.abs(A).max())
        turned = np.einsum("ij,kl,njJlL->niJkL", Q, Q, A)
        np.testing.assert_allclose(material.tangent(Q @ F), turned, rtol=0.0, atol=1e-11 * np.abs(A).max())


@pytest.mark.parametrize("kinematics", OBJECTIVE, ids=measure_name)
def test_a_rotation_of_a_stress_free_body_keeps_it_free_of_stress(kinematics):
    is_flat = (
        isinstance(kinematics, IsotropicInvariants) and kinematics.squared_volume
    )  # no input has a derivative there
    mode = affine([0.5, 0.3, 2.0]) if is_flat else quadratic(np.eye(kinematics.size))
    material = Material(SoftMinimum((mode,), 0.1), kinematics, Growth(0.5))
    for Q in random_rotations(10, material.dim, seed=7):
        assert np.abs(material.stress(Q)).max() < 1e-14
        assert abs(material.energy(Q)) < 1e-14


@every_measure
def test_balance_of_moments_and_major_symmetry(kinematics):
    rng = np.random.default_rng(8)
    material = random_material(rng, kinematics)
    F = random_deformations(rng, 10, material.dim)
    A = material.tangent(F)
    np.testing.assert_allclose(A, A.transpose(0, 3, 4, 1, 2), rtol=0.0, atol=1e-13 * np.abs(A).max())
    # P F^T is symmetric for objective energies; P itself is for small strains
    moment = material.stress(F) @ (np.swapaxes(F, 1, 2) if kinematics.objective else np.eye(material.dim))
    np.testing.assert_allclose(moment, np.swapaxes(moment, 1, 2), rtol=0.0, atol=1e-13 * np.abs(moment).max())


@pytest.mark.parametrize("batch", [(), (1,), (2, 3), (0,), (2, 0)])
def test_any_batch_shape(batch):
    rng = np.random.default_rng(9)
    material = random_material(rng, GreenLagrange(2), growth=Growth(0.1))
    F = np.eye(2) + 0.1 * rng.normal(size=(*batch, 2, 2))
    shapes = {"energy": (), "stress": (2, 2), "tangent": (2, 2, 2, 2), "mode_weights": (3,)}
    for method, shape in shapes.items():
        got = getattr(material, method)(F)
        assert got.shape == (*batch, *shape)
        for index in np.ndindex(*batch):
            np.testing.assert_allclose(got[index], getattr(material, method)(F[index]), rtol=1e-12, atol=1e-13)


def test_chunks_do_not_show_and_agree_with_one_evaluation():
    rng = np.random.default_rng(10)
    material = random_material(rng, GreenLagrange(2), modes=2, depth=1, width=2)
    F = random_deformations(rng, CHUNK + 3, 2)
    values = material.evaluate(F)
    for method in ("energy", "stress", "tangent", "mode_weights"):
        whole = getattr(values, method)
        np.testing.assert_allclose(getattr(material, method)(F), whole, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("method", ["energy", "stress", "tangent", "mode_weights"])
@pytest.mark.parametrize("kinematics", [GreenLagrange(2), SmallStrain(2), IsotropicInvariants(2)], ids=measure_name)
def test_a_deformation_turned_inside_out_is_named(method, kinematics):
    material = random_material(np.random.default_rng(11), kinematics)
    F = np.tile(np.eye(2), (5, 1, 1))
    F[3] = [[0.0, 1.0], [1.0, 0.5]]
    with pytest.raises(InvalidInputError, match=r"point 3 of 5, \[\[0.0, 1.0\], \[1.0, 0.5\]\], has determinant -1:"):
        getattr(material, method)(F)
    F[3] = [[1.0, 2.0], [0.5, 1.0]]
    with pytest.raises(InvalidInputError, match=r"point 3 of 5, .* has determinant 0:"):
        getattr(material, method)(F)
    F[3, 0, 1] = np.nan
    with pytest.raises(InvalidInputError, match=r"point 3 of 5, .* is not finite"):
        getattr(material, method)(F)


def test_a_nearly_singular_deformation_is_named_whatever_the_rounding_of_its_determinant():
    # the third row is a combination of the others: the sign of a computed determinant is that of its rounding
    material = random_material(np.random.default_rng(12), GreenLagrange(3))
    F = np.random.default_rng(13).normal(size=(2000, 3, 3))
    F[:, 2] = F[:, 0] + 0.3 * F[:, 1]
    refusals = []
    for one in F:
        try:
            material.energy(one)
        except InvalidInputError as error:
            refusals.append(str(error))
    assert 500 < len(refusals) < 2000
    assert all("has determinant" in text for text in refusals)


def test_evaluate_gives_nan_where_the_energy_is_not_defined_so_that_a_solver_can_step_back():
    F = np.stack([np.eye(2), np.diag([-1.0, 1.0]), np.full((2, 2), np.nan)])
    for kinematics, growth in ((GreenLagrange(2), Growth(1.0)), (IsotropicInvariants(2), None)):
        values = random_material(np.random.default_rng(14), kinematics, growth=growth).evaluate(F)
        np.testing.assert_array_equal(np.isnan(values.energy), [False, True, True])
        assert np.isfinite(values.stress[0]).all()
        assert np.isnan(values.stress[1, [0, 1], [0, 1]]).all()
        assert np.isnan(values.tangent[2]).all()


@pytest.mark.parametrize("shape", [(3, 3), (5, 3, 3), (4,), (), (2, 3)])
def test_a_deformation_of_the_wrong_dimension_is_refused(shape):
    material = random_material(np.random.default_rng(15), GreenLagrange(2))
    with pytest.raises(InvalidInputError, match=r"a 2D strain measure needs \(..., 2, 2\)"):
        material.energy(np.ones(shape))


def test_a_strain_measure_of_the_wrong_dimension_is_refused():
    potential = random_material(np.random.default_rng(16), GreenLagrange(2)).potential
    with pytest.raises(InvalidInputError, match="the potential has 3 inputs, but GreenLagrange in 3D gives 6"):
        Material(potential, GreenLagrange(3))
    with pytest.raises(InvalidInputError, match="training_box has 2 components; the potential has 3"):
        Material(potential, GreenLagrange(2), training_box=Box([0.0, 0.0], [1.0, 1.0]))
    with pytest.raises(InvalidInputError, match="potential is a ConvexNetwork, not a SoftMinimum"):
        Material(potential.modes[0], GreenLagrange(2))
    with pytest.raises(InvalidInputError, match="kinematics is a int, not a StrainMeasure"):
        Material(potential, 2)


def test_rho_is_given_in_energy_units():
    material = random_material(np.random.default_rng(17), GreenLagrange(2), rho=0.3)
    assert material.transition_scale == pytest.approx(0.3 * material.potential.energy_scale, rel=1e-15)
    assert material.modes == 3


def test_how_far_points_lie_outside_the_training_box():
    box = Box([0.0, -1.0, 2.0], [1.0, 1.0, 2.0])
    inside, beyond, below = [0.5, 1.0, 2.0], [1.5, 0.0, 2.0], [0.5, -5.0, 2.0]
    np.testing.assert_allclose(box.excess(np.array([inside, beyond, below])), [0.0, 0.5, 2.0], rtol=1e-15)
    assert box.excess(np.array([0.5, 0.0, 40.0])) > 1e300  # outside a box without width
    assert np.isnan(box.excess(np.array([0.5, np.nan, 2.0])))
    with pytest.raises(InvalidInputError, match="the box is empty"):
        Box([0.0, 1.0], [1.0, 0.0])
    with pytest.raises(InvalidInputError, match="box upper has shape"):
        Box([0.0, 1.0], [1.0])
