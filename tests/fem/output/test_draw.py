"""Polygons that are drawn are the body: their areas add up to its area, their values to the integral of the field."""

import subprocess
import sys

import numpy as np
import pytest
from dolfinx import fem, mesh
from mpi4py import MPI

import lse_material as lse
from lse_material.fem import draw_cells, gather_cells

COMM = MPI.COMM_WORLD


def areas(corners):
    """Of flat polygons (n, k, 2 or 3) with their corners in order."""
    corners = np.pad(corners, ((0, 0), (0, 0), (0, 3 - corners.shape[2])))
    return 0.5 * np.linalg.norm(np.cross(corners, np.roll(corners, -1, axis=1)).sum(axis=1), axis=1)


def stretched(domain, factors):
    """The displacement of a homogeneous stretch."""
    u = fem.Function(fem.functionspace(domain, ("Lagrange", 2, (len(factors),))))
    u.interpolate(lambda x: (np.array(factors) - 1.0)[:, None] * x[: len(factors)])
    return u


@pytest.mark.mpi
@pytest.mark.parametrize("kind", [mesh.CellType.triangle, mesh.CellType.quadrilateral])
def test_polygons_cover_the_deformed_body_once(kind):
    domain = mesh.create_rectangle(COMM, [[0.0, 0.0], [3.0, 1.0]], [7, 4], kind)
    field = fem.Function(fem.functionspace(domain, ("DG", 0, (2,))))
    field.interpolate(lambda x: np.stack([x[0], x[1]]))
    cells = gather_cells(field, displacement=stretched(domain, (1.5, 0.5)), component=1)
    assert (cells is None) == (COMM.rank > 0)
    if cells is not None:
        assert areas(cells.corners).sum() == pytest.approx(3.0 * 1.5 * 0.5, rel=1e-12)
        assert areas(cells.corners) @ cells.values == pytest.approx(
            3.0 * 0.5 * 1.5 * 0.5, rel=1e-12
        )  # the mean of y is 1/2
    continuous = fem.Function(fem.functionspace(domain, ("Lagrange", 2)))
    continuous.interpolate(lambda x: 2.0 * x[0] - x[1])
    cells = gather_cells(continuous)
    if cells is not None:
        assert cells.values == pytest.approx(2.0 * cells.corners[..., 0] - cells.corners[..., 1], abs=1e-12)


@pytest.mark.mpi
@pytest.mark.parametrize("kind", [mesh.CellType.tetrahedron, mesh.CellType.hexahedron])
def test_of_a_solid_the_surface_is_drawn(kind):
    domain = mesh.create_box(COMM, [[0.0] * 3, [2.0, 1.0, 1.0]], [4, 3, 2], kind)
    field = fem.Function(fem.functionspace(domain, ("DG", 0)))
    field.x.array[:] = 1.0
    cells = gather_cells(field, displacement=stretched(domain, (1.0, 2.0, 3.0)))  # 2 x 2 x 3
    if cells is not None:
        assert areas(cells.corners).sum() == pytest.approx(2.0 * (4.0 + 6.0 + 6.0), rel=1e-12)
        assert len(cells.values) == len(cells.corners)


def test_prisms_have_facets_of_two_shapes():
    domain = mesh.create_box(MPI.COMM_SELF, [[0.0] * 3, [1.0] * 3], [1, 1, 1], mesh.CellType.prism)
    with pytest.raises(lse.InvalidInputError, match="prism are of two shapes"):
        gather_cells(fem.Function(fem.functionspace(domain, ("DG", 0))))


def test_a_mesh_is_no_field():
    domain = mesh.create_unit_square(MPI.COMM_SELF, 1, 1)
    for refused in (lambda: gather_cells(domain), lambda: draw_cells(domain, "mesh.png", label="mesh")):
        with pytest.raises(lse.InvalidInputError, match="the field is a Mesh; it must be a dolfinx Function"):
            refused()


@pytest.mark.slow
def test_what_lies_behind_does_not_show(tmp_path):
    """Seen from (1, 1, 1), a cube of eight cells hides the one at the origin; cells that are no number are left out."""
    from matplotlib.image import imread

    domain = mesh.create_unit_cube(MPI.COMM_SELF, 2, 2, 2, mesh.CellType.hexahedron)
    field = fem.Function(fem.functionspace(domain, ("DG", 0)))
    pictures = []
    for hidden, corner in ((1.0, 1.0), (0.0, 1.0), (0.0, np.nan), (np.nan, np.nan)):
        field.interpolate(lambda x, a=hidden, b=corner: np.where(sum(x) < 1.0, a, np.where(sum(x) > 2.0, b, 1.0)))
        draw_cells(field, tmp_path / "cube.png", label="q", limits=(0.0, 1.0))
        pictures.append(imread(tmp_path / "cube.png"))
    centre = [(picture[300:600, 400:700] < 0.999).any(axis=2).mean() for picture in pictures]
    assert np.array_equal(pictures[0], pictures[1])
    assert centre[0] == 1.0
    assert centre[3] < centre[2]  # where both are missing, one sees through


@pytest.mark.mpi
def test_panels_of_a_figure():
    from matplotlib.figure import Figure

    domain = mesh.create_unit_square(COMM, 4, 4, mesh.CellType.quadrilateral)
    flat, solid = fem.functionspace(domain, ("DG", 0)), mesh.create_unit_cube(COMM, 2, 2, 2)
    figure = Figure()
    left, middle = figure.add_subplot(1, 3, 1), figure.add_subplot(1, 3, 2)
    right = figure.add_subplot(1, 3, 3, projection="3d")
    draw_cells(fem.Function(flat), axes=left, label="W in MPa", title="energy", unit="mm")
    on_surface = gather_cells(fem.Function(fem.functionspace(solid, ("DG", 0))))
    smooth = gather_cells(fem.Function(fem.functionspace(domain, ("Lagrange", 1))))
    if COMM.rank == 0:
        assert left.get_xlabel() == "x in mm"
        assert left.get_xlim()[0] <= 0.0 < 1.0 <= left.get_xlim()[1]
        assert on_surface.draw(right, limits=(0.0, 3.0)).get_clim() == (0.0, 3.0)
        smooth.draw(middle, cmap="viridis")
        with pytest.raises(lse.InvalidInputError, match="in a plane"):
            smooth.draw(right)
        figure.draw_without_rendering()
    for both in ({}, {"path": "x.png", "axes": left}):
        with pytest.raises(lse.InvalidInputError, match="either the path"):
            draw_cells(fem.Function(flat), label="", **both)


def test_the_backend_stays_the_users(tmp_path):
    script = (
        "import matplotlib, sys; matplotlib.use('svg')\n"
        "from dolfinx import fem, mesh\nfrom mpi4py import MPI\nfrom lse_material.fem.output.draw import draw_cells\n"
        "domain = mesh.create_unit_square(MPI.COMM_SELF, 2, 2)\n"
        "draw_cells(fem.Function(fem.functionspace(domain, ('DG', 0))), 'x.png', label='')\n"
        "print(matplotlib.get_backend(), 'matplotlib.pyplot' in sys.modules)"
    )
    if COMM.size == 1:
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path)
        assert done.stdout.split() == ["svg", "False"]
