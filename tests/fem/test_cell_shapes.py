"""Meshes of prisms carry exact fields; what needs facets, or cells, of one shape refuses others by name."""

import dolfinx
import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

import lse_material as lse
from tests.fem.problems import total
from tests.materials import saint_venant_kirchhoff

WORLD = MPI.COMM_WORLD


def prisms():
    return mesh.create_unit_cube(WORLD, 2, 2, 2, mesh.CellType.prism)


def square_and_triangle():
    """A trapezoid of two cells; DOLFINx makes no function space on it."""
    kinds = [mesh.CellType.quadrilateral, mesh.CellType.triangle]
    corners = [np.array(cell if WORLD.rank == 0 else [], dtype=np.int64) for cell in ([0, 1, 2, 3], [1, 4, 3])]
    x = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [2.0, 0.0]])[: 5 if WORLD.rank == 0 else 0]
    elements = [dolfinx.fem.coordinate_element(kind, 1)._cpp_object for kind in kinds]
    split = dolfinx.cpp.mesh.create_cell_partitioner(mesh.GhostMode.none, 2)
    return mesh.Mesh(dolfinx.cpp.mesh.create_mesh(WORLD, corners, elements, x, split, 2), None)


def test_prisms_carry_a_uniform_strain_exactly_and_make_no_periodic_cell_and_no_cavity():
    material, domain = saint_venant_kirchhoff(3, 0.7, 0.4), prisms()
    V = fem.functionspace(domain, ("Lagrange", 1, (3,)))
    H = np.array([[0.06, 0.02, 0.0], [-0.01, 0.03, 0.02], [0.0, 0.04, -0.05]])
    u = fem.Function(V)
    u.interpolate(lambda x: H @ x)
    W = lse.fem.energy(material, ufl.Identity(3) + ufl.grad(u)) * ufl.dx(degree=2)
    assert total(W) == pytest.approx(material.energy(np.eye(3) + H), rel=1e-12)
    for refused in (
        lambda: lse.fem.PeriodicCell(domain, lambda F: lse.fem.energy(material, F), degree=1, quadrature_degree=2),
        lambda: lse.fem.PeriodicMap(V),
        lambda: lse.fem.enclosed_volume(u, ufl.ds(domain)),
    ):
        with pytest.raises(lse.InvalidInputError, match="facets have one shape, and this one has"):
            refused()


@pytest.mark.skipif(WORLD.size > 1, reason="DOLFINx does not distribute such a mesh")
def test_a_mesh_of_squares_and_triangles_is_refused_by_name():
    domain = square_and_triangle()
    for refused in (
        lambda: lse.fem.check_resolution(domain, 1.0),
        lambda: lse.fem.PeriodicCell(domain, lambda F: F[0, 0] ** 2, degree=1, quadrature_degree=2),
    ):
        with pytest.raises(
            lse.InvalidInputError, match="cells have one shape, and this one has quadrilateral and triangle"
        ):
            refused()
