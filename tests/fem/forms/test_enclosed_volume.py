"""The volume of a cavity by its surface is that of what fills it, exactly, in every dimension and on curved cells."""

import basix.ufl
import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

import lse_material as lse
from lse_material.fem import enclosed_volume
from tests.fem.problems import total

WORLD = MPI.COMM_WORLD
CELLS = ("triangle", "quadrilateral", "tetrahedron", "hexahedron")
MIDDLE = (0.25 - 1e-9, 0.75 + 1e-9)


def block(cell, low=0.0, high=1.0, n=4):
    dim = 2 if cell in CELLS[:2] else 3
    make = mesh.create_rectangle if dim == 2 else mesh.create_box
    return make(WORLD, [[low] * dim, [high] * dim], [n] * dim, mesh.CellType[cell])


def parts(domain, inside):
    """The body, and what fills its cavity: the cells whose middles are inside."""
    tdim = domain.topology.dim
    cells = np.arange(domain.topology.index_map(tdim).size_local, dtype=np.int32)
    within = inside(mesh.compute_midpoints(domain, tdim, cells).T)
    return [mesh.create_submesh(domain, tdim, cells[chosen])[0] for chosen in (~within, within)]


def surface(domain, where):
    """The measure of the exterior facets whose nodes are `where`."""
    tdim = domain.topology.dim
    domain.topology.create_connectivity(tdim - 1, tdim)
    facets = np.sort(mesh.locate_entities_boundary(domain, tdim - 1, where))
    tags = mesh.meshtags(domain, tdim - 1, facets, np.ones(len(facets), dtype=np.int32))
    return ufl.Measure("ds", domain, subdomain_data=tags)(1)


def in_the_middle(x):
    return ((x > MIDDLE[0]) & (x < MIDDLE[1])).all(axis=0)


def displacement(x):
    """A polynomial of degree 2, no rigid motion: (dim, n) -> (dim, n)."""
    numbers = np.random.default_rng(3).uniform(-0.2, 0.2, (len(x),) * 3)
    return np.einsum("ijk,jn,kn->in", numbers, x, x)


def moved(domain):
    """The body in its displacement."""
    dim = domain.geometry.dim
    u = fem.Function(fem.functionspace(domain, ("Lagrange", 2, (dim,))))
    u.interpolate(lambda x: displacement(x[:dim]))
    return u


@pytest.mark.mpi
@pytest.mark.parametrize("cell", CELLS)
def test_the_volume_of_a_hole_is_that_of_the_cells_that_would_fill_it(cell):
    dim = 2 if cell in CELLS[:2] else 3
    body, filling = parts(block(cell), lambda x: in_the_middle(x[:dim]))
    rim = surface(body, lambda x: in_the_middle(x[:dim]))
    expected = total(ufl.det(ufl.Identity(dim) + ufl.grad(moved(filling))) * ufl.dx(degree=8))
    assert abs(expected - 0.5**dim) > 0.01
    assert total(enclosed_volume(moved(body), rim)) == pytest.approx(expected, rel=1e-13)
    if dim == 2:
        alone = enclosed_volume(moved(body), rim, axes=[1], origin=(7.0, -5.0))
        assert total(alone) == pytest.approx(expected, rel=1e-12)


@pytest.mark.mpi
@pytest.mark.parametrize("axes", [None, [0], [1]])
def test_a_cavity_of_revolution_has_the_volume_of_what_fills_it(axes):
    """It touches the axis r = 0, which is no opening."""
    body, filling = parts(block("triangle"), lambda x: (x[0] < 0.5) & in_the_middle(x[1:2]))
    bore = surface(body, lambda x: (x[0] < 0.5 + 1e-9) & in_the_middle(x[1:2]))

    def turned(domain):
        u = moved(domain)
        return u, ufl.as_vector([ufl.SpatialCoordinate(domain)[0] * u[0], u[1]])  # u_r = 0 on the axis

    _, v = turned(filling)
    F = ufl.Identity(3) + lse.fem.axisymmetric_gradient(v)
    expected = total(ufl.det(F) * lse.fem.circumference(filling) * ufl.dx(degree=12))
    volume = enclosed_volume(turned(body)[1], bore, axes=axes, axisymmetric=True)
    assert total(volume) == pytest.approx(expected, rel=1e-12)
    assert abs(expected / (np.pi * 0.5**3) - 1.0) > 0.01


def test_curved_cells_are_exact_too():
    """A ring of cells of degree 2: each part of its inner rim is a parabola a, b, c, before and after."""
    angle = np.pi / 4.0
    places = [(1, 0), (2, 0), (1, 1), (2, 1), (1.5, 0), (1, 0.5), (2, 0.5), (1.5, 1), (1.5, 0.5)]
    points = [(r * np.cos(angle * (k + t)), r * np.sin(angle * (k + t))) for k in range(8) for r, t in places]
    unique, numbers = np.unique(np.round(points, 12), axis=0, return_inverse=True)
    element = basix.ufl.element("Lagrange", "quadrilateral", 2, shape=(2,))
    ring = mesh.create_mesh(MPI.COMM_SELF, numbers.reshape(8, 9), element, unique)
    volume = enclosed_volume(moved(ring), surface(ring, lambda x: np.hypot(x[0], x[1]) < 1.2))
    x = np.array([(np.cos(t), np.sin(t)) for t in 0.5 * angle * np.arange(17)]).T
    a, b, c = (y.T for y in ((x + displacement(x))[:, i : i + 15 : 2] for i in range(3)))
    cross = lambda p, q: p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]  # noqa: E731
    area = (2.0 / 3.0 * (cross(a, b) + cross(b, c)) - cross(a, c) / 6.0).sum()
    assert total(volume, MPI.COMM_SELF) == pytest.approx(area, rel=1e-10)  # the nodes are rounded to 1e-12


@pytest.fixture(scope="module")
def tube():
    """A square tube along the second axis, open at both ends, and the measure of its bore; the model may be cut."""
    body, _ = parts(block("quadrilateral", -1.0, 1.0), lambda x: np.abs(x[0]) < 0.5)
    return body, lambda where: surface(body, lambda x: np.isclose(np.abs(x[0]), 0.5) & where(x))


def test_openings_are_refused_until_they_add_nothing(tube):
    body, bore = tube
    u = moved(body)
    u.x.array[:] = 0.0
    whole, right = bore(lambda x: x[0] < 9.0), bore(lambda x: x[0] > 0.0)
    with pytest.raises(lse.InvalidInputError, match=r"2 by axis 0, 0 by axis 1: the surface has an opening"):
        enclosed_volume(u, whole)
    assert total(enclosed_volume(u, whole, axes=[0])) == pytest.approx(2.0)
    with pytest.raises(lse.InvalidInputError, match=r"opening across axis 0 .* give origin="):
        enclosed_volume(u, right, axes=[0])
    assert total(enclosed_volume(u, right, axes=[0], origin=(0.0, 0.0))) == pytest.approx(1.0)  # one half


def test_what_is_no_cavity_is_refused(tube):
    body, bore = tube
    u = moved(body)
    whole = bore(lambda x: x[0] < 9.0)
    with pytest.raises(lse.InvalidInputError, match="normals of the body point away"):
        enclosed_volume(u, surface(body, lambda x: np.isclose(np.abs(x[0]), 1.0)), axes=[0])
    with pytest.raises(lse.InvalidInputError, match="ds has no facets"):
        enclosed_volume(u, bore(lambda x: x[0] > 9.0))
    with pytest.raises(lse.InvalidInputError, match="measure of exterior facets"):
        enclosed_volume(u, ufl.dx)
    with pytest.raises(lse.InvalidInputError, match=r"axes is \[2\]: give numbers from 0 to 1"):
        enclosed_volume(u, whole, axes=[2])
    with pytest.raises(lse.InvalidInputError, match=r"origin is .*give 2 coordinates"):
        enclosed_volume(u, whole, origin=(0.0, 0.0, 0.0))
    with pytest.raises(lse.InvalidInputError, match=r"shape \(\)"):
        enclosed_volume(u[0], whole)
