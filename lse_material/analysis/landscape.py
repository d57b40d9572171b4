"""The landscape of a potential: its wells, the saddles between them, how high the barriers are, and a picture of it.

    land = landscape(material.potential, box.lower, box.upper)
    land.wells, land.saddles, land.barriers[i, j]

`stationary`, `descent` and `minimum_energy_path` do the work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lse_material._arrays import Array, float_array, frozen
from lse_material.analysis.descent import Pass
from lse_material.analysis.minimum_energy_path import Graph
from lse_material.analysis.stationary import StationaryPoint, saddles, wells
from lse_material.errors import InvalidInputError
from lse_material.model.box import Box
from lse_material.model.soft_minimum import SoftMinimum


@dataclass(frozen=True, eq=False)
class Landscape:
    """Wells of a potential and the passes between them.

    Attributes:
        wells: the lowest first.
        passes: saddles with the ways down from them, the lowest first.
        links: of each pass, the numbers of the two wells that it joins.

    >>> land = lse.analysis.landscape(material.potential)
    >>> land.barriers.round(4)
    array([[0.    , 0.0043],
           [0.0043, 0.    ]])
    """

    wells: tuple[StationaryPoint, ...]
    passes: tuple[Pass, ...]
    links: tuple[tuple[int, int], ...]

    @property
    def saddles(self) -> tuple[StationaryPoint, ...]:
        """The saddles of the passes."""
        return tuple(each.saddle for each in self.passes)

    @property
    def barriers(self) -> Array:
        """Energy (w, w) from well i up to the highest saddle on the lowest way to well j; inf without one, 0 for i = j."""
        level = np.full((len(self.wells),) * 2, np.inf)
        for (i, j), each in zip(self.links, self.passes):
            level[i, j] = level[j, i] = min(level[i, j], each.saddle.energy)
        for k in range(len(level)):
            level = np.minimum(level, np.maximum(level[:, k, None], level[None, k]))
        result = level - np.array([well.energy for well in self.wells])[:, None]
        np.fill_diagonal(result, 0.0)
        return frozen(result)


def landscape(
    potential: SoftMinimum, lower: Any = None, upper: Any = None, *, starts: int = 64, seed: int = 0, scale: Any = None
) -> Landscape:
    """Wells and saddles of a potential, and which saddle joins which wells.

    Args:
        potential: any soft minimum.
        lower: lowest corner (d,) of the box that the data lie in; wells and saddles outside are left out.
        upper: its highest corner.
        starts: searches from random places in the box, besides those from the minima of the modes.
        seed: of these places.
        scale: (d,), lengths that inputs of different units are divided by before directions are measured; 1 if left out.

    Raises:
        InvalidInputError: a corner is missing or of another length, or the box is empty.

    >>> land = lse.analysis.landscape(material.potential, [-0.1, -0.1, -0.1], [0.1, 0.1, 0.1])
    >>> len(land.wells), len(land.saddles)
    (2, 1)
    """
    found = [well for well in wells(potential, lower, upper, starts=starts, seed=seed) if well.inside]
    graph = Graph(potential, found)
    metric = None if scale is None else float_array("scale", scale, 1)
    for saddle in saddles(potential, lower, upper, between=found, starts=starts, seed=seed):
        if saddle.inside:
            graph.add(saddle, metric)
    box = Box.of(lower, upper, potential.size)
    seen = [k for k, well in enumerate(graph.wells) if box is None or bool(box.holds(well.x))]
    seen.sort(key=lambda k: graph.wells[k].energy)
    number = {k: n for n, k in enumerate(seen)}
    kept = [entry for entry in graph.passes if entry[0] in number and entry[1] in number]  # others lead out of the box
    kept.sort(key=lambda entry: entry[2].saddle.energy)
    links = tuple((number[i], number[j]) for i, j, _ in kept)
    return Landscape(tuple(graph.wells[k] for k in seen), tuple(entry[2] for entry in kept), links)


def plot(
    potential: SoftMinimum,
    path: Path | str,
    lower: Any,
    upper: Any,
    *,
    axes: Sequence[int] | None = None,
    at: Any = None,
    labels: Sequence[str] | None = None,
    energy_label: str = "W",
    points: int = 161,
) -> None:
    """Draw the energy over one or two inputs with wells, saddles and the ways between them, as PNG; needs matplotlib.

    Args:
        potential: any soft minimum.
        path: of the picture.
        lower: lowest corner (d,) of the box that is shown and searched.
        upper: its highest corner.
        axes: the one or two inputs that are shown; the first two if left out (the first of one).
        at: (d,), values of the inputs that are not shown; those of the lowest well if left out. Wells are projected.
        labels: of all inputs, with their units; "x1", ... if left out.
        energy_label: with its unit.
        points: along each axis.

    Raises:
        InvalidInputError: axes name no input, or more than two.

    >>> lse.analysis.plot(material.potential, "wells.png", [-0.1, -0.1, -0.1], [0.1, 0.1, 0.1], points=41)
    """
    box = Box.of(lower, upper, potential.size)
    if box is None:
        raise InvalidInputError("a picture needs a box: give lower and upper.")
    shown = tuple(range(min(potential.size, 2))) if axes is None else tuple(axes)
    if not 1 <= len(shown) <= 2 or len(set(shown)) < len(shown) or any(not 0 <= k < potential.size for k in shown):
        raise InvalidInputError(f"axes is {shown}; choose one or two of the inputs 0 .. {potential.size - 1}.")
    from matplotlib.figure import Figure

    land = landscape(potential, box.lower, box.upper)
    names = [f"x{k + 1}" for k in range(potential.size)] if labels is None else list(labels)
    middle = land.wells[0].x if land.wells else 0.5 * (box.lower + box.upper)
    grid = [np.linspace(box.lower[k], box.upper[k], points) for k in shown]
    mesh = np.meshgrid(*grid, indexing="ij")
    x = np.broadcast_to(middle if at is None else float_array("at", at, 1), (*mesh[0].shape, potential.size)).copy()
    for k, values in zip(shown, mesh):
        x[..., k] = values
    energy = potential.energy(x)
    figure = Figure(figsize=(5.2, 4.2), layout="constrained")
    ax = figure.subplots()
    if len(shown) == 1:
        ax.plot(grid[0], energy, color="C0")
        ax.set_ylabel(energy_label)
    else:
        top = max([s.energy for s in land.saddles], default=float(np.quantile(energy, 0.5)))
        low = float(energy.min())
        levels = low + (2.5 * (top - low) if top > low else float(np.ptp(energy))) * np.linspace(0.0, 1.0, 26)
        filled = ax.contourf(*grid, energy.T, levels, cmap="Greys_r", extend="max")
        figure.colorbar(filled, ax=ax, label=energy_label)
        for each in land.passes:
            for way in each.down:
                ax.plot(way[:, shown[0]], way[:, shown[1]], color="C1", linewidth=1.5)
        ax.set_ylabel(names[shown[1]])
    for found, marker, name in ((land.wells, "o", "well"), (land.saddles, "X", "saddle")):
        if found:
            height = [p.energy if len(shown) == 1 else p.x[shown[1]] for p in found]
            ax.plot([p.x[shown[0]] for p in found], height, marker, label=name, color="C0" if marker == "o" else "C3",
                    markeredgecolor="white", markersize=8)  # fmt: skip
    ax.set_xlabel(names[shown[0]])
    ax.set_xlim(box.lower[shown[0]], box.upper[shown[0]])
    if len(shown) == 2:
        ax.set_ylim(box.lower[shown[1]], box.upper[shown[1]])
    if land.wells:
        ax.legend(loc="upper right")
    figure.savefig(path, dpi=130)
