"""Cells of mixed energies: exact where nothing varies, and buckling where displacements alone lock."""

import numpy as np
import pytest
import ufl
from basix.ufl import element
from dolfinx import mesh
from mpi4py import MPI

import lse_material as lse
from lse_material.fem import PeriodicCell, QuadratureStress, three_field_energy, two_field_energy
from tests.fem.porous import UNIAXIAL, compressed, porous_domain

WORLD = MPI.COMM_WORLD
PRESSURE = element("DPC", "quadrilateral", 1)


def rubber(mu, bulk):
    """W = mu/2 (J^(-2/3) I1 - 3) + bulk/2 (J - 1)^2."""
    mode = lse.ConvexNetwork.from_arrays([], [[[mu / 2.0, 0.0, bulk / 2.0]]], [[0.0]])
    return lse.Material(lse.SoftMinimum((mode,), 1.0), lse.IsotropicInvariants(dim=3))


def plane_strain(F):
    return ufl.as_matrix([[F[0, 0], F[0, 1], 0.0], [F[1, 0], F[1, 1], 0.0], [0.0, 0.0, 1.0]])


@pytest.mark.mpi
def test_a_mixed_cell_without_structure_is_its_material():
    length, mu, bulk = 1e-3, 1e6, 1e9
    material = rubber(mu, bulk)
    F, whole = np.array([[1.02, 0.03], [0.0, 0.985]]), np.eye(3)
    whole[:2, :2] = F
    P, A = material.stress(whole)[:2, :2], material.tangent(whole)[:2, :2, :2, :2]
    ends = [(0.0, 0.0), (length, length)]
    for shape, fields, energy in (
        ("quadrilateral", [PRESSURE] * 2, lambda F, p, e: three_field_energy(material, plane_strain(F), p, e)),
        (
            "triangle",
            [element("Lagrange", "triangle", 1)],
            lambda F, p: two_field_energy(material, plane_strain(F), p, bulk=bulk),
        ),
    ):
        domain = mesh.create_rectangle(WORLD, ends, (3, 3), mesh.CellType[shape])
        state = PeriodicCell(domain, energy, fields=fields).minimum(F)
        assert state.negative == 0
        np.testing.assert_allclose(state.stress, P, atol=1e-11 * np.abs(A).max())
        np.testing.assert_allclose(state.tangent, A, atol=1e-10 * np.abs(A).max())


@pytest.mark.mpi
def test_a_nearly_incompressible_cell_buckles_without_locking():
    """The critical strain of fine meshes is 0.0297 by either energy; on these few cells displacements give 0.036."""
    material = rubber(1.0, 50.0)
    cell = PeriodicCell(
        porous_domain(WORLD),
        lambda F, p, e: three_field_energy(material, plane_strain(F), p, e),
        fields=[PRESSURE] * 2,
    )
    critical = cell.critical(compressed, 0.02, 0.045, UNIAXIAL, tolerance=1e-5)
    assert critical == pytest.approx(0.0297, rel=0.06)
    cell.equilibrium(compressed(critical + 0.01), UNIAXIAL)
    assert cell.negative_eigenvalues() == 1
    saddle = cell.state(tangent=False).energy
    minimum = cell.minimum(compressed(critical + 0.01), UNIAXIAL)
    assert minimum.buckled
    assert minimum.negative == 0
    assert minimum.energy < saddle
    h = 1e-5
    ahead, behind = (cell.minimum(minimum.F + np.diag([0.0, sign * h]), tangent=False) for sign in (1.0, -1.0))
    assert minimum.stress[1, 1] == pytest.approx((ahead.energy - behind.energy) / (2.0 * h), rel=1e-5)
    stiffness = (ahead.stress[1, 1] - behind.stress[1, 1]) / (2.0 * h)
    assert minimum.tangent[1, 1, 1, 1] == pytest.approx(stiffness, rel=1e-4)


def test_a_mixed_energy_and_stored_stresses_do_not_go_together():
    square, material = mesh.create_unit_square(MPI.COMM_SELF, 2, 2), rubber(1.0, 50.0)
    with pytest.raises(lse.InvalidInputError, match="either `fields`"):
        PeriodicCell(
            square,
            lambda F, p: two_field_energy(material, plane_strain(F), p),
            fields=[element("DG", "triangle", 0)],
            stresses=lambda F: [QuadratureStress(material, plane_strain(F), degree=2)],
        )
