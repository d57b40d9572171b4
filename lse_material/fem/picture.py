"""Pictures of cellwise fields on the deformed body: one PNG, drawn by rank 0, of the whole mesh.

For 3D and for films, write XDMF or VTX files and open them in ParaView; this is the quick look.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from dolfinx import fem, plot

from lse_material.checks import Array
from lse_material.errors import InvalidInputError
from lse_material.fem.ranks import on_rank_0


def draw_cells(
    field: fem.Function,
    path: Path | str,
    *,
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
        label: of the colour bar, with its unit.
        title: over the picture.
        displacement: by which the body is deformed, if given.
        component: of a field with several.
        limits: of the colours; those of the field if left out.
        unit: of lengths, for the axes.

    Raises:
        InvalidInputError: the field is not of degree 0, or has no such component.
        OSError: the file cannot be written; on every rank.
    """
    V = field.function_space
    if V.element.basix_element.degree != 0:
        raise InvalidInputError(f"a field of degree {V.element.basix_element.degree} is not constant in each cell.")
    if not 0 <= component < V.dofmap.bs:
        raise InvalidInputError(f"component is {component}; the field has {V.dofmap.bs}.")
    topology, kinds, x, values = _gathered(field, component, displacement)
    limits = _range(values) if limits is None else limits

    def draw() -> None:
        if V.mesh.topology.dim == 2:
            _draw_2d(topology, x, values, Path(path), label, title, limits, unit)
        else:
            _draw_3d(topology, kinds, x, values, Path(path), label, title, limits)

    on_rank_0(V.mesh.comm, draw)


def _gathered(
    field: fem.Function, component: int, displacement: fem.Function | None
) -> tuple[list[Array], list[Array], list[Array], Array]:
    """VTK cells, their types, positions (all per rank) and values of the whole mesh on rank 0; collective."""
    domain = field.function_space.mesh
    nodes = fem.functionspace(domain, ("Lagrange", 1, (domain.geometry.dim,)))
    topology, kinds, x = plot.vtk_mesh(nodes)
    if displacement is not None:
        u = fem.Function(nodes)
        u.interpolate(displacement)
        x = x.copy()
        x[:, : domain.geometry.dim] += u.x.array.reshape(-1, domain.geometry.dim)[: len(x)]
    place = field.function_space.dofmap.list[: len(kinds), 0]
    values = field.x.array.reshape(-1, field.function_space.dofmap.bs)[place, component]
    parts = domain.comm.gather((topology, kinds, x, values))
    parts = [(topology, kinds, x, values)] if parts is None else parts
    whole = [list(part) for part in zip(*parts)]
    return whole[0], whole[1], whole[2], np.concatenate(whole[3])


def _range(values: Array) -> tuple[float, float]:
    """From the least to the largest number among the values; 0 to 1 if there is none."""
    numbers = values[np.isfinite(values)]
    return (float(numbers.min()), float(numbers.max())) if len(numbers) else (0.0, 1.0)


def _draw_2d(
    topology: list[Array], x: list[Array], values: Array, path: Path, label: str, title: str, limits: Any, unit: str
) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.collections import PolyCollection
    from matplotlib.figure import Figure

    corners = [points[cells.reshape(-1, cells[0] + 1)[:, 1:], :2] for cells, points in zip(topology, x) if len(cells)]
    figure = Figure(figsize=(5.6, 4.6), layout="constrained")
    FigureCanvasAgg(figure)  # the user's backend stays as it is
    axes = figure.subplots()
    cells = PolyCollection(
        list(np.concatenate(corners)), array=values, cmap="cividis", edgecolors="face", linewidths=0.1, rasterized=True
    )
    cells.set_clim(*limits)
    axes.add_collection(cells)
    axes.autoscale()
    suffix = f" in {unit}" if unit else ""
    axes.set(aspect="equal", xlabel=f"x{suffix}", ylabel=f"y{suffix}", title=title)
    figure.colorbar(cells, ax=axes, label=label, shrink=0.9)
    figure.savefig(path, dpi=120)


def _draw_3d(
    topology: list[Array], kinds: list[Array], x: list[Array], values: Array, path: Path, label: str, title: str,
    limits: Any,
) -> None:  # fmt: skip
    import pyvista

    grids = [pyvista.UnstructuredGrid(*part) for part in zip(topology, kinds, x) if len(part[1])]
    start = 0
    for grid in grids:
        grid.cell_data[label] = values[start : start + grid.n_cells]
        start += grid.n_cells
    plotter = pyvista.Plotter(off_screen=True, window_size=(1100, 900))
    for grid in grids:
        plotter.add_mesh(
            grid.extract_surface(), scalars=label, cmap="cividis", clim=limits, nan_opacity=0.0, show_scalar_bar=False
        )
    plotter.add_scalar_bar(title=label, vertical=True, fmt="%.2g")
    plotter.add_axes()
    plotter.add_title(title, font_size=12)
    plotter.screenshot(str(path))
    plotter.close()
