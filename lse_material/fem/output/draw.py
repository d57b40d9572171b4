"""Pictures of fields on the deformed body: a PNG of its own, or panels of a Matplotlib figure of the user's.

    draw_cells(fields.mode_weights, "weights.png", label="mode weight", displacement=u)     # one picture
    draw_cells(fields.mode_weights, axes=left, label="mode weight", displacement=u)         # one panel
    cells = gather_cells(fields.mode_weights, displacement=u)                               # now, to be drawn later
    if cells is not None:                                                                   # on rank 0
        cells.draw(left, limits=(0.0, 1.0))

No Matplotlib backend is selected. For large bodies and for films, write XDMF or VTX files and open them in ParaView.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import basix
import numpy as np
import numpy.typing as npt
from dolfinx import fem, mesh

from lse_material._arrays import Array, whole_number
from lse_material._files import write_figure
from lse_material.errors import InvalidInputError
from lse_material.fem._cells import same_topology
from lse_material.fem._mpi import on_rank_0

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Indices = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False)
class Cells:
    """The cells of a whole mesh as polygons, or the facets of its surface where cells are solid, and a field on them.

    Attributes:
        corners: positions (n, corners, 2 or 3), in order around each polygon.
        values: of each polygon, (n,), or at each of its corners, (n, corners).

    >>> det_F = fem.Function(fem.functionspace(domain, ("DG", 0)))
    >>> cells = lse.fem.gather_cells(det_F)
    >>> cells.corners.shape, cells.values.shape
    ((32, 3, 2), (32,))
    """

    corners: Array
    values: Array

    def draw(self, axes: Axes, *, limits: tuple[float, float] | None = None, **style: Any) -> Any:
        """Draw the polygons into these axes, in space if they are 3D axes, and return the collection, for a colour bar.

        Args:
            axes: of any figure; the limits of the axes are set to the polygons, other properties stay.
            limits: of the colours; those of the values if left out.
            style: properties of the collection: `cmap`, `edgecolors`, `linewidths`, `rasterized`, ...
        """
        low, high = _range(self.values) if limits is None else limits
        style = {"cmap": "cividis", **style}
        drawn: Any
        if self.values.ndim == 2:
            if axes.name == "3d":
                raise InvalidInputError("values at corners are drawn in a plane: in space take a field of degree 0.")
            drawn = axes.tripcolor(*_triangles(self), shading="gouraud", **{"rasterized": True, **style})
        elif axes.name == "3d":
            from mpl_toolkits.mplot3d.art3d import Poly3DCollection

            drawn = Poly3DCollection(list(self.corners), array=self.values, **style)
            axes.add_collection3d(drawn)  # type: ignore[attr-defined]
            ends = np.transpose([self.corners.min(axis=(0, 1)), self.corners.max(axis=(0, 1))])
            axes.set(**dict(zip(("xlim", "ylim", "zlim"), ends.tolist())))
        else:
            from matplotlib.collections import PolyCollection

            style = {"edgecolors": "face", "linewidths": 0.3, **style}
            drawn = PolyCollection(list(self.corners[..., :2]), array=self.values, **style)
            axes.add_collection(drawn)
            axes.autoscale()
        drawn.set_clim(low, high)
        return drawn


def gather_cells(field: fem.Function, *, displacement: fem.Function | None = None, component: int = 0) -> Cells | None:
    """The polygons of the whole mesh and the field on them, as they are now: on rank 0; None elsewhere. Collective.

    Args:
        field: of degree 0, which has a value in each cell; or continuous, of which the values at the corners are taken.
        displacement: by which the body is deformed, if given.
        component: of a field with several.

    Raises:
        InvalidInputError: the field has no such component, or the facets of the solid cells are of two shapes (prisms).

    >>> det_F = fem.Function(fem.functionspace(domain, ("DG", 0)))
    >>> cells = lse.fem.gather_cells(det_F, displacement=u)
    >>> len(cells.values)
    32
    """
    _expect_component(field, component)
    V = field.function_space
    domain, tdim = V.mesh, V.mesh.topology.dim
    if V.element.basix_element.degree > 0:
        space = fem.functionspace(domain, ("Lagrange", 1, tuple(field.ufl_shape)))
        corner_field = fem.Function(space, dtype=field.dtype)
        corner_field.interpolate(field)
        field = corner_field
    nodes, x = _positions(domain, displacement)
    if tdim == 3:
        cells, within = _surface(domain)
    else:
        cells = np.arange(domain.topology.index_map(tdim).size_local)
        within = np.broadcast_to(_around(nodes.dofmap.list.shape[1]), (len(cells), nodes.dofmap.list.shape[1]))
    corners = np.take_along_axis(nodes.dofmap.list[cells], within, axis=1)
    values = field.x.array.reshape(-1, field.function_space.dofmap.bs)[:, component]
    places = field.function_space.dofmap.list[cells]
    whole = values[places[:, 0]] if places.shape[1] == 1 else values[np.take_along_axis(places, within, axis=1)]
    parts = domain.comm.gather((x[corners][..., : domain.geometry.dim], whole))
    return None if parts is None else Cells(*(np.concatenate(part) for part in zip(*parts)))


def draw_cells(
    field: fem.Function,
    path: Path | str | None = None,
    *,
    axes: Axes | None = None,
    label: str,
    title: str = "",
    displacement: fem.Function | None = None,
    component: int = 0,
    limits: tuple[float, float] | None = None,
    unit: str = "",
) -> None:
    """Draw a field that is constant in each cell; collective. 2D by Matplotlib, 3D by PyVista off-screen.

    Cells where the field is not a number, as `MaterialFields` are where there is no material, are left blank.

    Args:
        field: of degree 0, as those of `MaterialFields`.
        path: of the PNG, whose folder exists.
        axes: of a Matplotlib figure to draw into, instead of `path`; every rank gives some, and rank 0 draws into its own.
        label: of the colour bar, with its unit.
        title: over the picture.
        displacement: by which the body is deformed, if given.
        component: of a field with several.
        limits: of the colours; those of the field if left out.
        unit: of lengths, for the axes.

    Raises:
        InvalidInputError: the field is not of degree 0, or has no such component; or not one of path and axes is given.
        OSError: the file cannot be written; on every rank.

    >>> fields = lse.fem.MaterialFields(material, F)
    >>> fields.update()
    >>> lse.fem.draw_cells(fields.functions[0], "energy.png", label="W in MPa", displacement=u)
    """
    _expect_component(field, component)
    V = field.function_space
    if (path is None) == (axes is None):
        raise InvalidInputError("give either the path of a PNG or axes to draw into.")
    if V.element.basix_element.degree != 0:
        raise InvalidInputError(f"a field of degree {V.element.basix_element.degree} is not constant in each cell.")
    cells = gather_cells(field, displacement=displacement, component=component)

    def draw() -> None:
        assert cells is not None  # on rank 0
        if axes is not None:
            _panel(axes, cells, label, title, limits, unit)
            return
        if V.mesh.topology.dim == 3:
            _draw_3d(cells, Path(str(path)), label, title, limits)
            return
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(5.6, 4.6), layout="constrained")
        FigureCanvasAgg(figure)  # the user's backend stays as it is
        _panel(figure.subplots(), cells, label, title, limits, unit)
        write_figure(figure, Path(str(path)), dpi=120)

    on_rank_0(V.mesh.comm, draw)


def _panel(axes: Axes, cells: Cells, label: str, title: str, limits: tuple[float, float] | None, unit: str) -> None:
    drawn = cells.draw(axes, limits=limits, rasterized=True)
    suffix = f" in {unit}" if unit else ""
    axes.set(aspect="equal", xlabel=f"x{suffix}", ylabel=f"y{suffix}", title=title)
    axes.figure.colorbar(drawn, ax=axes, label=label, shrink=0.9)


def _expect_component(field: fem.Function, component: int) -> None:
    if not isinstance(field, fem.Function):
        raise InvalidInputError(
            f"the field is a {type(field).__name__}; it must be a dolfinx Function, on the mesh to draw."
        )
    if whole_number("component", component) >= (blocks := field.function_space.dofmap.bs):
        raise InvalidInputError(f"component is {component}; the field has {blocks}.")


def _positions(domain: mesh.Mesh, displacement: fem.Function | None) -> tuple[fem.FunctionSpace, Array]:
    """A space of degree 1 and where its nodes are, (nodes, 3); collective."""
    dim = domain.geometry.dim
    nodes = fem.functionspace(domain, ("Lagrange", 1, (dim,)))
    x = nodes.tabulate_dof_coordinates()
    if displacement is not None:
        if not same_topology(displacement.function_space.mesh.topology, domain.topology) or displacement.ufl_shape != (
            dim,
        ):
            raise InvalidInputError(
                f"the displacement must be a function of {dim} components on the mesh of the field."
            )
        u = fem.Function(nodes, dtype=displacement.dtype)
        u.interpolate(displacement)
        x = x.copy()
        x[:, :dim] += u.x.array.reshape(-1, dim)[: len(x)]
    return nodes, x


def _around(corners: int) -> Indices:
    """Corners in order around the polygon: DOLFINx counts those of a quadrilateral row by row."""
    return np.array([0, 1, 3, 2]) if corners == 4 else np.arange(corners)


def _surface(domain: mesh.Mesh) -> tuple[Indices, Indices]:
    """Of each facet of the surface that this rank owns: its cell, and its corners as numbered in that cell, around it."""
    local = basix.topology(domain.basix_cell())[2]
    if len({len(corners) for corners in local}) > 1:
        raise InvalidInputError(
            f"facets of a {domain.topology.cell_type.name} are of two shapes: write the field to a file, by VTKFile of "
            "dolfinx.io."
        )
    domain.topology.create_connectivity(2, 3)
    domain.topology.create_connectivity(3, 2)
    facets = mesh.exterior_facet_indices(domain.topology)
    to_cell, to_facet = domain.topology.connectivity(2, 3), domain.topology.connectivity(3, 2)
    cells = to_cell.array[to_cell.offsets[facets]]
    number = (to_facet.array.reshape(-1, len(local))[cells] == facets[:, None]).argmax(axis=1)
    return cells, np.array(local)[:, _around(len(local[0]))][number]


def _triangles(cells: Cells) -> tuple[Any, Array]:
    """A triangulation that joins no two polygons, and the values at its points."""
    from matplotlib.tri import Triangulation

    count, corners = cells.values.shape
    first = corners * np.arange(count)[:, None, None]
    fan = np.array([[0, k, k + 1] for k in range(1, corners - 1)])
    points = cells.corners[..., :2].reshape(-1, 2)
    return Triangulation(points[:, 0], points[:, 1], (first + fan).reshape(-1, 3)), cells.values.reshape(-1)


def _range(values: Array) -> tuple[float, float]:
    """From the least to the largest number among the values; 0 to 1 if there is none."""
    numbers = values[np.isfinite(values)]
    return (float(numbers.min()), float(numbers.max())) if len(numbers) else (0.0, 1.0)


def _draw_3d(cells: Cells, path: Path, label: str, title: str, limits: tuple[float, float] | None) -> None:
    import pyvista

    numbers = np.isfinite(cells.values)
    drawn = (
        numbers if numbers.any() else ~numbers
    )  # transparent ones hide nothing, and VTK would draw all as if they were
    places, values = cells.corners[drawn], cells.values[drawn]
    count, corners = places.shape[:2]
    polygons = np.column_stack([np.full(count, corners), np.arange(count * corners).reshape(count, corners)])
    surface = pyvista.PolyData(places.reshape(-1, 3), polygons.ravel())
    surface.cell_data[label] = values
    colours = _range(values) if limits is None else limits
    plotter = pyvista.Plotter(off_screen=True, window_size=(1100, 900))
    blank = {} if numbers.any() else {"nan_opacity": 0.0}
    plotter.add_mesh(surface, scalars=label, cmap="cividis", clim=colours, show_scalar_bar=False, **blank)
    plotter.add_scalar_bar(title=label, vertical=True, fmt="%.2g")
    plotter.add_axes()
    plotter.add_title(title, font_size=12)
    plotter.screenshot(str(path))
    plotter.close()
