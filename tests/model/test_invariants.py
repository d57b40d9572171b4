"""Invariants of structural tensors: material symmetry, completeness, what they are at rest, and polyconvexity."""

import numpy as np
import pytest

import lse_material as lse
from lse_material.analysis import acoustic_minimum, random_rotations
from tests.materials import STRAIN_MEASURES, measure_name, random_deformations

STRUCTURAL = [k for k in STRAIN_MEASURES if k.monotone_inputs]
IN_SPACE = [k for k in STRUCTURAL if k.dim == 3]
every_measure = pytest.mark.parametrize("kinematics", STRUCTURAL, ids=measure_name)
A = np.array([1.0, 2.0, -2.0]) / 3.0
B = np.array([0.0, 1.0, 1.0]) / np.sqrt(2.0)
AXES = np.stack([A, B, np.cross(A, B)], axis=1)


def turn(axis, angle):
    K = np.cross(np.eye(3), np.asarray(axis) / np.linalg.norm(axis))
    return np.eye(3) - np.sin(angle) * K + (1.0 - np.cos(angle)) * K @ K


def far_from_rest(n, dim):
    """Deformations with J from 0.3 to 3, principal stretches mostly from 1/4 to 4, and any axes."""
    rng = np.random.default_rng(7)
    stretches, J = np.exp(0.7 * rng.normal(size=(n, dim))), rng.uniform(0.3, 3.0, n)
    stretches *= ((J / stretches.prod(axis=1)) ** (1.0 / dim))[:, None]
    left, right = (random_rotations(n, dim, seed=seed) for seed in (4, 5))
    return left @ (stretches[:, :, None] * np.swapaxes(right, 1, 2))


SYMMETRIES = {
    "PrincipalInvariants": [turn((1, 2, 3), 0.7), -np.eye(3)],
    "TransverseInvariants": [turn(A, 0.7), turn(B, np.pi), -np.eye(3)],
    "OrthotropicInvariants": [turn(A, np.pi), turn(B, np.pi), -np.eye(3)],
    "CubicInvariants": [turn(A, np.pi / 2), turn(AXES.sum(axis=1), 2 * np.pi / 3), -np.eye(3)],
}
OTHERS = {
    "TransverseInvariants": turn(B, 0.7),
    "OrthotropicInvariants": turn(A, np.pi / 2),
    "CubicInvariants": turn(A, np.pi / 4),
}


@pytest.mark.parametrize("kinematics", IN_SPACE, ids=measure_name)
def test_the_symmetry_of_the_material_and_no_more(kinematics):
    F = random_deformations(np.random.default_rng(1), 20, 3, 0.2)
    x = kinematics.strain(F)
    for Q in SYMMETRIES[kinematics.name]:
        image = (
            F @ Q if np.linalg.det(Q) > 0.0 else -F @ Q
        )  # F and F Q of an improper Q have mirror images as materials
        np.testing.assert_allclose(kinematics.strain(image), x, rtol=0.0, atol=1e-13)
    if kinematics.name in OTHERS:
        assert np.abs(kinematics.strain(F @ OTHERS[kinematics.name]) - x).max() > 0.01


@pytest.mark.parametrize(
    ("kinematics", "invariant"),
    [(k, n) for k, n in zip(STRUCTURAL, (2, 3, 3, 5, 6, 3, 6))],
    ids=lambda item: measure_name(item) if isinstance(item, lse.StrainMeasure) else str(item),
)
def test_they_tell_all_strains_apart_that_the_symmetry_does(kinematics, invariant):
    """rank dx/dF is the dimension of strains up to symmetry; of cubic materials in space one input is missing to it."""
    F = random_deformations(np.random.default_rng(2), 5, kinematics.dim, 0.3)
    values = np.linalg.svd(kinematics.derivative(F).reshape(5, kinematics.size, -1), compute_uv=False)
    rank = (values > 1e-8 * values[:, :1]).sum(axis=1)
    missing = kinematics.symmetry == "cubic" and kinematics.dim == 3
    np.testing.assert_array_equal(rank, invariant - missing)


@every_measure
def test_at_rest_all_but_the_fibres_and_the_volume_are_free_of_stress(kinematics):
    derivative = kinematics.derivative(np.eye(kinematics.dim)[None])[0]
    monotone = list(kinematics.monotone_inputs)
    np.testing.assert_allclose(derivative[monotone].sum(axis=0), 0.0, atol=1e-14)
    np.testing.assert_allclose(derivative[-1], np.eye(kinematics.dim), atol=1e-15)
    fibres = [i for i in monotone if np.abs(derivative[i]).max() > 1e-12]
    expected = {"transversely isotropic": 2, "orthotropic": 2 * kinematics.dim if kinematics.dim == 3 else 2}
    assert len(fibres) == expected.get(kinematics.symmetry, 0)


@every_measure
def test_convex_modes_that_do_not_decrease_are_elliptic_far_from_rest(kinematics):
    """Legendre-Hadamard for each input and for an increasing convex function of all, at J from 0.3 to 3 and large stretches."""
    rng, dim, d = np.random.default_rng(3), kinematics.dim, kinematics.size
    F = far_from_rest(200, dim)
    slope, neuron = rng.uniform(size=d), np.append(np.ones(d - 1), -3.0)
    for linear, hidden in [*zip(np.eye(d), np.zeros((d, d))), (slope, neuron)]:
        mode = lse.ConvexNetwork.from_arrays([[[1.0]]], [hidden[None], linear[None]], [[0.5], [0.0]])
        tangent = lse.Material(lse.SoftMinimum((mode,), 1.0), kinematics).tangent(F)
        m, N = rng.normal(size=(2, 50, 200, dim))
        waves = np.einsum("niJkL,pni,pnJ,pnk,pnL->pn", tangent, m, N, m, N, optimize=True)
        size = np.abs(tangent).max(axis=(1, 2, 3, 4)) * ((m**2).sum(axis=2) * (N**2).sum(axis=2))
        assert (waves > -1e-12 * size).all()
        assert (acoustic_minimum(tangent[:20]).value > -1e-12 * np.abs(tangent[:20]).max(axis=(1, 2, 3, 4))).all()


@every_measure
def test_quadratic_energies_of_the_strain_are_quadratic_in_the_inputs(kinematics):
    """E_ij E_kl, averaged over the symmetry: here tr(E)^2 and E:E, and (aEa)^2 where there is one fibre."""
    F = random_deformations(np.random.default_rng(8), 60, kinematics.dim, 0.3)
    E, x = 0.5 * (np.swapaxes(F, 1, 2) @ F - np.eye(kinematics.dim)), kinematics.strain(F)
    wanted = [np.trace(E, axis1=1, axis2=2) ** 2, (E**2).sum(axis=(1, 2))]
    if kinematics.symmetry == "transversely isotropic":
        wanted.append(np.einsum("i,nij,j->n", kinematics.a, E, kinematics.a) ** 2)
    features = np.concatenate([x, np.einsum("ni,nj->nij", x, x).reshape(60, -1)], axis=1)
    for values in wanted:
        found = features @ np.linalg.lstsq(features, values, rcond=None)[0]
        np.testing.assert_allclose(found, values, atol=1e-11 * np.abs(values).max())


def test_in_the_plane_a_fibre_makes_the_plane_orthotropic():
    F = random_deformations(np.random.default_rng(6), 4, 2)
    fibres, axes = (kind(2, a=(0.6, -0.8)) for kind in (lse.TransverseInvariants, lse.OrthotropicInvariants))
    np.testing.assert_array_equal(fibres.strain(F), axes.strain(F))


def test_a_measure_of_the_users_own_may_be_made_of_one():
    class Sums(lse.TransverseInvariants):
        """With the sum of both inputs of the fibres in the place of the second."""

        def components(self, F):
            *whole, along, across, volume = super().components(F)
            return *whole, along, along + across, volume

    F = random_deformations(np.random.default_rng(9), 4, 3)
    x = lse.TransverseInvariants(3).strain(F)
    np.testing.assert_allclose(Sums(3).strain(F)[:, 3], x[:, 2] + x[:, 3], atol=1e-15)
    assert Sums(3).labels == ("x1", "x2", "x3", "x4", "x5")
    assert Sums(3).symmetry == ""
    assert Sums(3).monotone_inputs is None  # what is known of the components of the parent is not known of others
    assert Sums(3).volume_shares is None


def test_axes_are_normalised_and_completed():
    assert lse.TransverseInvariants(3, a=[0, 0, 2]).a == (0.0, 0.0, 1.0)
    assert lse.CubicInvariants(3, a=(0, 1, 0)).b == (0.0, 0.0, 1.0)
    assert lse.OrthotropicInvariants(2, a=(3, 4)).b == (-0.8, 0.6)
    F = random_deformations(np.random.default_rng(6), 4, 3)
    some, same = (lse.CubicInvariants(3, a=axes[0], b=axes[1]) for axes in (AXES.T, -AXES.T[[2, 0]]))
    np.testing.assert_allclose(some.strain(F), same.strain(F), atol=1e-14)


@pytest.mark.parametrize(
    ("kind", "axes", "message"),
    [
        (lse.TransverseInvariants, {"a": (1, 0)}, r"axis a is \(1, 0\); it must be a direction with 3"),
        (lse.TransverseInvariants, {"a": (0, 0, 0)}, "not all 0"),
        (lse.TransverseInvariants, {"a": "x"}, "axis a cannot be read"),
        (lse.CubicInvariants, {"a": (1, 0, 0), "b": (1, 1, 0)}, "must be perpendicular"),
        (lse.OrthotropicInvariants, {"a": (1, 0, float("nan"))}, "every entry must be finite"),
    ],
)
def test_axes_that_are_none_are_refused(kind, axes, message):
    with pytest.raises(lse.InvalidInputError, match=message):
        kind(3, **axes)


@pytest.mark.parametrize("length", [1e-300, 1e-170, 1.0, 1e170, 1e300])
def test_a_direction_may_be_of_any_length(length):
    """The squares of these overflow or vanish; the stretch along (3, 4)/5 does not depend on them."""
    F = np.array([[1.2, 0.1], [0.0, 0.9]])
    x = lse.TransverseInvariants(2, a=(3.0 * length, 4.0 * length)).strain(F)
    assert x[0] == pytest.approx(((F @ [0.6, 0.8]) ** 2).sum() - 1.0, rel=1e-14)
