"""Cells of any outline, found from the mesh or given; strips, plates and rods with free sides; several materials by tags."""

import gmsh
import numpy as np
import pytest
import ufl
from dolfinx import mesh
from dolfinx.io import gmsh as gmshio
from mpi4py import MPI

import lse_material as lse
from lse_material.fem import PeriodicCell, QuadratureStress
from meshes import honeycomb
from tests.fem.porous import neo_hookean
from tests.materials import mild_material, saint_venant_kirchhoff

WORLD = MPI.COMM_WORLD
E, NU = 2.0, 0.3
MU, LAME = E / 2.0 / (1.0 + NU), E * NU / (1.0 + NU) / (1.0 - 2.0 * NU)


def linear(F):
    """W of small strains."""
    e = ufl.sym(F - ufl.Identity(F.ufl_shape[0]))
    return 0.5 * LAME * ufl.tr(e) ** 2 + MU * ufl.inner(e, e)


def honeycomb_cell(outline, cells, *, length=1.0, found=False):
    gmsh.initialize()
    gmsh.option.setNumber("General.Terminal", 0)
    if WORLD.rank == 0:
        honeycomb.build(cells, outline=outline, thickness=0.1, fineness=(3, 1))
    domain = gmshio.model_to_mesh(gmsh.model, WORLD, 0, gdim=2).mesh
    gmsh.finalize()
    domain.geometry.x[:] *= length
    lattice = None if found else length * honeycomb.vectors(cells, outline=outline)
    return PeriodicCell(domain, neo_hookean, lattice=lattice)


@pytest.mark.mpi
@pytest.mark.parametrize("length", [1.0, 2e-6])
def test_a_honeycomb_is_isotropic_at_small_strain_and_its_hexagon_is_found(length):
    cell = honeycomb_cell("hexagon", (1, 1), length=length, found=True)
    assert cell.volume == pytest.approx(1.5 * np.sqrt(3.0) * length**2, rel=1e-10)
    lengths = np.linalg.norm(cell.lattice, axis=1)
    np.testing.assert_allclose(lengths, np.sqrt(3.0) * length, rtol=1e-9)
    A = cell.state().tangent
    one = np.eye(2)
    mu, lame = A[0, 1, 0, 1], A[0, 0, 1, 1]
    isotropic = lame * np.einsum("iJ,kL->iJkL", one, one) + mu * (
        np.einsum("ik,JL->iJkL", one, one) + np.einsum("iL,Jk->iJkL", one, one)
    )
    assert np.abs(A - isotropic).max() < 1e-10 * np.abs(A).max()


@pytest.mark.mpi
def test_hexagons_and_the_rectangle_of_the_same_lattice_agree():
    """Two hexagons repeat by (sqrt(3), 0) and (sqrt(3), 3), the rectangle by (sqrt(3), 0) and (0, 3): the same lattice."""
    cells = honeycomb_cell("hexagon", (1, 2)), honeycomb_cell("rectangle", (1, 1), found=True)
    assert cells[0].unknowns == cells[1].unknowns
    F = np.array([[0.999, 0.001], [0.0, 0.998]])
    states = [cell.minimum(F) for cell in cells]
    np.testing.assert_allclose(states[1].tangent, states[0].tangent, atol=1e-9 * np.abs(states[0].tangent).max())
    strains = [cell.critical(lambda e: np.diag([1.0 - e, 1.0 - e]), 1e-4, 4e-3, tolerance=1e-9) for cell in cells]
    assert strains[1] == pytest.approx(strains[0], rel=1e-8)


@pytest.mark.mpi
def test_a_strip_of_two_materials_has_its_force():
    """One Poisson ratio: each layer contracts freely, and the force is that of plane strain, E/(1 - nu^2) per thickness."""
    domain = mesh.create_rectangle(WORLD, [(0.0, 0.0), (1.5, 0.8)], (3, 4))
    cells = np.arange(domain.topology.index_map(2).size_local, dtype=np.int32)
    upper = mesh.compute_midpoints(domain, 2, cells)[:, 1] > 0.6
    dx = ufl.Measure("dx", domain, subdomain_data=mesh.meshtags(domain, 2, cells, np.int32(1) + upper))
    dx = dx(degree=2)
    cell = PeriodicCell(domain, lambda F: linear(F) * dx(1) + 7.0 * linear(F) * dx(2), degree=1, lattice=[[1.5, 0.0]])
    state = cell.minimum(np.array([[1.01, 5.0], [0.0, 5.0]]))
    stiffness = E / (1.0 - NU**2) * (0.6 + 7.0 * 0.2)
    assert cell.volume == 1.5
    assert state.stress[0, 0] == pytest.approx(0.01 * stiffness, rel=1e-10)
    assert state.energy == pytest.approx(0.5e-4 * stiffness, rel=1e-10)
    np.testing.assert_array_equal(state.F, [[1.01, 0.0], [0.0, 1.0]])
    assert state.tangent[0, 0, 0, 0] == pytest.approx(stiffness, rel=1e-10)
    assert np.abs(state.stress[:, 1]).max() == 0.0


@pytest.mark.mpi
@pytest.mark.parametrize("length", [1.0, 1e-5])
def test_plates_and_rods_have_the_forces_of_their_theories(length):
    domain = mesh.create_box(WORLD, length * np.array([(0.0, 0.0, 0.0), (1.0, 0.7, 0.2)]), (2, 2, 1))
    lattice = length * np.diag([1.0, 0.7, 0.2])
    plate = PeriodicCell(domain, linear, degree=1, quadrature_degree=1, lattice=lattice[:2])
    state = plate.minimum(np.diag([1.01, 1.02, 1.0]))
    expected = 0.2 * length * E / (1.0 - NU**2) * (0.01 + NU * 0.02)
    assert state.stress[0, 0] == pytest.approx(expected, rel=1e-9)
    assert np.abs(state.stress[:, 2]).max() == 0.0
    rod = PeriodicCell(domain, linear, degree=1, quadrature_degree=1, lattice=lattice[1:2])
    state = rod.minimum(np.diag([1.0, 1.01, 1.0]))  # nothing but the section stops it from turning about its axis
    assert state.negative == 0
    assert state.stress[1, 1] == pytest.approx(0.01 * 0.2 * length**2 * E, rel=1e-9)
    assert rod.lowest_mode()[0] > 0.0


@pytest.mark.mpi
def test_a_straight_strip_buckles_at_the_load_of_euler():
    """Half a wave is half the period: strain (2 pi)^2/12 (h/L)^2, less what shear takes, a share of a few (h/L)^2.

    Beyond it the wave may slide along the uniform strip at no cost, so that there is no minimum to ask for.
    """
    slender = 0.02
    domain = mesh.create_rectangle(WORLD, [(0.0, 0.0), (1.0, slender)], (16, 1), mesh.CellType.quadrilateral)
    strip = PeriodicCell(domain, neo_hookean, lattice=[[1.0, 0.0]])
    euler = (2.0 * np.pi * slender) ** 2 / 12.0
    critical = strip.critical(lambda e: np.diag([1.0 - e, 1.0]), 0.5 * euler, 1.5 * euler)
    assert critical == pytest.approx(euler, rel=0.01)


def test_a_brick_whose_translates_are_offset_is_a_cell():
    """The lattice of running bond: no parallelepiped of its vectors, and homogeneous all the same."""
    domain = mesh.create_rectangle(MPI.COMM_SELF, [(0.0, 0.0), (2.0, 1.0)], (4, 2))
    cell = PeriodicCell(domain, linear, degree=1, quadrature_degree=1, lattice=[[2.0, 0.0], [1.0, 1.0]])
    F = np.array([[1.01, 0.02], [0.0, 1.0]])
    e = 0.5 * (F + F.T) - np.eye(2)
    np.testing.assert_allclose(cell.minimum(F).stress, LAME * np.trace(e) * np.eye(2) + 2.0 * MU * e, atol=1e-12)


def test_lattices_that_do_not_fit_are_refused():
    square = mesh.create_unit_square(MPI.COMM_SELF, 4, 4)
    for lattice, text in [
        ([[1.1, 0.0], [0.0, 1.0]], "overlap, or do not meet"),
        ([[0.5, 0.0], [0.0, 1.0]], "overlap, or do not meet"),
        ([[0.5, 0.0], [0.0, 0.5]], "overlap, or do not meet"),
        ([[0.5, 0.0]], "overlap, or do not meet"),
        ([[1.0, 0.0], [0.4, 1.0]], "mesh both alike"),  # offset by less than a facet
        ([[1.0, 1.0]], "coordinate axes"),
        ([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], "shape"),
        ([[1.0, 0.0], [2.0, 0.0]], "do not span"),
    ]:
        with pytest.raises(lse.InvalidInputError, match=text):
            PeriodicCell(square, linear, degree=1, lattice=lattice)
    strip = PeriodicCell(square, linear, degree=1, quadrature_degree=1, lattice=[[0.0, 1.0]])
    with pytest.raises(lse.InvalidInputError, match="does not repeat along axis 0"):
        strip.minimum(np.eye(2), {(0, 0): 0.0})
    with pytest.raises(lse.InvalidInputError, match="could rotate"):
        strip.minimum(np.eye(2), {(0, 1): 0.0, (1, 1): 0.0})
    trapezium = mesh.create_unit_square(MPI.COMM_SELF, 4, 4)
    trapezium.geometry.x[:, 0] *= 1.0 + 0.5 * trapezium.geometry.x[:, 1]
    with pytest.raises(lse.InvalidInputError, match="has 0 pairs of parallel sides"):
        PeriodicCell(trapezium, linear, degree=1)


@pytest.mark.mpi
def test_stored_stresses_give_the_same_states_and_must_be_those_of_the_energy():
    rng = np.random.default_rng(3)
    parts = [mild_material(rng, lse.GreenLagrange(2), modes=2), saint_venant_kirchhoff(2, 1.1, 0.6)]
    domain = mesh.create_rectangle(WORLD, [(0.0, 0.0), (2.0, 1.0)], (4, 2))
    cells = np.arange(domain.topology.index_map(2).size_local, dtype=np.int32)
    tags = mesh.meshtags(domain, 2, cells, np.int32(1) + (mesh.compute_midpoints(domain, 2, cells)[:, 0] > 1.0))
    dx = ufl.Measure("dx", domain, subdomain_data=tags)(degree=3)

    def energy(F):
        return sum(lse.fem.energy(part, F) * dx(k + 1) for k, part in enumerate(parts))

    def stored(F):
        return [QuadratureStress(part, F, degree=3, tags=tags, tag=k + 1) for k, part in enumerate(parts)]

    F = np.array([[1.03, 0.02], [0.0, 0.98]])
    states = [PeriodicCell(domain, energy, stresses=route).minimum(F) for route in (None, stored)]
    scale = np.abs(states[0].tangent).max()
    np.testing.assert_allclose(states[1].stress, states[0].stress, atol=1e-10 * scale)
    np.testing.assert_allclose(states[1].tangent, states[0].tangent, atol=1e-9 * scale)
    assert states[1].iterations == states[0].iterations
    with pytest.raises(lse.InvalidInputError, match="not the derivative"):
        PeriodicCell(domain, energy, stresses=lambda F: stored(F)[:1])
