"""Pictures of a potential, a material and a fit, drawn into Axes that the caller makes. Needs matplotlib.

    >>> from matplotlib.figure import Figure
    >>> land = lse.analysis.landscape(material.potential, [-0.1, -0.1, -0.1], [0.1, 0.1, 0.1])
    >>> figure = Figure(layout="constrained")  # or one of pyplot: no backend is selected here
    >>> lse.plotting.landscape(figure.subplots(), material, land)
    >>> figure.savefig("landscape.png")

Colours survive grey print: energies are grey, modes have dash patterns. `lse_material.fem.draw_cells` draws
fields on meshes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from lse_material._arrays import Array, float_array
from lse_material.analysis.ellipticity import acoustic_minimum
from lse_material.analysis.landscape import Landscape, given_inputs, search_box
from lse_material.analysis.stress_curves import stress_curve as curve_of
from lse_material.errors import InvalidInputError
from lse_material.model.box import Box
from lse_material.model.material import Material, potential_of
from lse_material.model.soft_minimum import SoftMinimum
from lse_material.model.strain import GreenLagrange, from_mandel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["discovery_path", "input_labels", "landscape", "picture", "planes", "stress_curve"]

GRID = 161  # points along each axis of a section
BORDER = 22  # of these: labels of modes are at least so far from the frame
ELLIPTICITY_STRIDE = 5  # ellipticity is computed at one grid point in so many, along each axis
LEVELS = 14  # contours of the energy
SAME_PLANE = 0.05  # distance of a well from the section, in units of input_scale, below which it is drawn as a full dot
DASHES = ("-", "--", ":", "-.")


def input_labels(fitted: Material | SoftMinimum) -> list[str]:
    """What the inputs of the potential are called on axes: fields, then the components of the strain measure.

    >>> lse.plotting.input_labels(material)
    ['E11', 'E22', '√2 E12']
    """
    if isinstance(fitted, Material):
        return [*fitted.fields, *fitted.kinematics.labels]
    return [f"x{i + 1}" for i in range(fitted.size)]


def labels_left(fitted: Material | SoftMinimum, left: Material | SoftMinimum) -> list[str]:
    """The same of what is left of it where its temperatures and designs are given."""
    given = set(given_inputs(fitted).values()) if isinstance(left, SoftMinimum) else set()
    return [name for k, name in enumerate(input_labels(fitted)) if k not in given] if given else input_labels(left)


def planes(potential: SoftMinimum, land: Landscape, most: int = 3) -> list[tuple[int, int]]:
    """At most `most` pairs of inputs to draw sections in, along which the wells lie farthest apart in units of input_scale.

    >>> lse.plotting.planes(material.potential, land, most=1)
    [(0, 1)]
    """
    places = np.array([well.x for well in land.wells]) if land.wells else potential.input_shift[None]
    spread = np.ptp(places / potential.input_scale, axis=0)
    return sorted(combinations(range(potential.size), 2), key=lambda ab: -(spread[ab[0]] + spread[ab[1]]))[:most]


def landscape(
    axes: Axes,
    fitted: Material | SoftMinimum,
    land: Landscape,
    *,
    inputs: Sequence[int] | None = None,
    box: Box | None = None,
    at: Any = None,
    labels: Sequence[str] | None = None,
    energy_label: str | None = None,
    top: float | None = None,
    modes: bool = True,
) -> None:
    """Draw the energy over one or two inputs, with its wells, its saddles and the ways down from them.

    Wells are numbered dots, hollow where they lie outside the section; saddles are crosses. Where W of a Green-Lagrange
    material is not elliptic, the section is hatched.

    Args:
        axes: of any figure.
        fitted: a material or a potential.
        land: as `lse_material.analysis.landscape` finds it.
        inputs: the one or two that are shown; the first two if left out (the first of one).
        box: that is shown; `lse_material.analysis.search_box` if left out, with a margin.
        at: (d,), values of the inputs that are not shown; the mean of the wells if left out.
        labels: of all inputs, with their units; `input_labels` if left out.
        energy_label: with its unit.
        top: energy of the highest contour; that below which nine tenths of the section lie if left out.
        modes: draw the borders between regions in which different modes have the largest weight.

    Raises:
        InvalidInputError: `inputs` names no input, or more than two.

    >>> lse.plotting.landscape(figure.subplots(), material.potential, land, inputs=(0,))  # along E11
    """
    potential = potential_of(fitted)
    shown = tuple(range(min(potential.size, 2))) if inputs is None else tuple(inputs)
    if not 1 <= len(shown) <= 2 or len(set(shown)) < len(shown) or any(not 0 <= k < potential.size for k in shown):
        raise InvalidInputError(f"inputs is {shown}; choose one or two of the inputs 0 .. {potential.size - 1}.")
    margin = 0.05 if box is None else 0.0
    frame = search_box(fitted) if box is None else box
    width = frame.upper - frame.lower
    grid = [np.linspace(frame.lower[k] - margin * width[k], frame.upper[k] + margin * width[k], GRID) for k in shown]
    wells = np.array([well.x for well in land.wells])
    middle = wells.mean(axis=0) if len(wells) else 0.5 * (frame.lower + frame.upper)
    base = middle if at is None else float_array("at", at, 1)
    x = np.tile(base, (*(GRID,) * len(shown), 1))
    for k, coordinate in zip(shown, np.meshgrid(*grid)):
        x[..., k] = coordinate
    names = input_labels(fitted) if labels is None else list(labels)
    energy_label = f"W{unit_label(fitted, 'energy')}" if energy_label is None else energy_label
    axes.set(xlabel=names[shown[0]], xlim=grid[0][[0, -1]])
    if len(shown) == 1:
        axes.plot(grid[0], potential.energy(x), color="0.2")
        axes.set_ylabel(energy_label)
    else:
        values = potential.evaluate(x.reshape(-1, potential.size))
        _contours(axes, grid, values.energy.reshape(GRID, GRID), energy_label, top)
        elliptic = isinstance(fitted, Material) and type(fitted.kinematics) is GreenLagrange
        if isinstance(fitted, Material) and elliptic:
            _hatch_unstable(axes, fitted, x, grid)
        if modes and len(potential.modes) > 1:
            _borders_of_modes(axes, grid, values.mode_weights.reshape(GRID, GRID, -1))
        others = [f"{names[i]} = {round(base[i], 3) + 0.0:g}" for i in range(potential.size) if i not in shown]
        axes.set(ylabel=names[shown[1]], ylim=grid[1][[0, -1]])
        axes.set_title(", ".join([*others[:3], *(["hatched: not elliptic"] if elliptic else [])]), fontsize="small")
    _stationary_points(axes, potential, land, shown, base)


def picture(
    fitted: Material | SoftMinimum,
    land: Landscape,
    *,
    deformations: Sequence[str] = ("uniaxial", "simple_shear"),
    labels: Sequence[str] | None = None,
) -> Figure:
    """One figure: sections of the landscape above, stress curves below (for materials).

    Args:
        fitted: a material or a potential.
        land: as `lse_material.analysis.landscape` finds it.
        deformations: names in `lse_material.analysis.DEFORMATIONS`; none for a potential.
        labels: as for `landscape`.

    >>> lse.plotting.picture(material, land).savefig("cell.png")
    """
    from matplotlib.figure import Figure

    potential = potential_of(fitted)
    sections: list[Sequence[int]] = [*planes(potential, land)] or [(0,)]
    curves = deformations if isinstance(fitted, Material) else ()
    width = 4.2 * max(len(sections), len(curves))
    figure = Figure(figsize=(width, 3.7 + (3.2 if curves else 0.0)), layout="constrained")
    parts = figure.subfigures(2 if curves else 1, 1, squeeze=False, height_ratios=[3.7, 3.2] if curves else None)[:, 0]
    for axes, section in zip(parts[0].subplots(1, len(sections), squeeze=False)[0], sections):
        landscape(axes, fitted, land, inputs=section, labels=labels)
    if isinstance(fitted, Material) and curves:
        for axes, name in zip(parts[1].subplots(1, len(curves), squeeze=False)[0], curves):
            stress_curve(axes, fitted, name)
    return figure


def stress_curve(axes: Axes, material: Material, name: str) -> None:
    """Draw the stress along a deformation of `lse_material.analysis.DEFORMATIONS`, and the mode weights on a second axis.

    >>> axes = figure.subplots()
    >>> lse.plotting.stress_curve(axes, material, "uniaxial")
    >>> axes.get_xlabel()
    'stretch - 1'
    """
    curve = curve_of(material, name)
    stress = "P" + "".join(str(i + 1) for i in curve.deformation.component)
    axes.plot(curve.amount, curve.stress, color="black", linewidth=2, label=stress)
    axes.axhline(0.0, color="0.8", linewidth=0.8, zorder=0)
    axes.set(xlabel=curve.deformation.amount, ylabel=stress + unit_label(material, "stress"))
    axes.set_title(curve.deformation.title, fontsize="small")
    right = axes.twinx()
    for k, weight in enumerate(curve.mode_weights.T):
        style = DASHES[k % len(DASHES)]
        right.plot(curve.amount, weight, color="tab:orange", linestyle=style, linewidth=1.0, label=f"mode {k}")
    right.set(ylim=(-0.02, 1.25), yticks=np.linspace(0.0, 1.0, 6), ylabel="mode weight")
    lines, names = axes.get_legend_handles_labels()
    more, modes = right.get_legend_handles_labels()
    right.legend(lines + more[:3], names + modes[:3], fontsize="small", loc="upper center", ncols=4, framealpha=0.9)


def discovery_path(left: Axes, right: Axes, result: Any) -> None:
    """Draw how many modes a fit needed: its error against their number on the left, the usage of each mode on the right.

    Args:
        left: axes of the error.
        right: axes of the usage.
        result: what `lse_material.fit.fit` returned.

    Raises:
        InvalidInputError: the number of modes was given, so that there is no path to draw.

    >>> x = np.linspace(-1.0, 1.0, 40)[:, None]
    >>> auto = lse.fit.Architecture(modes="auto", max_modes=2)
    >>> result = lse.fit.fit(lse.Samples(x=x, energy=x[:, 0] ** 2), architecture=auto, progress=False)
    >>> lse.plotting.discovery_path(*figure.subplots(1, 2), result)
    """
    if not result.path:
        raise InvalidInputError('there is no path of errors: the number of modes was given. Fit with modes="auto".')
    left.semilogy(*zip(*result.path), "o-")
    left.axhline(result.tolerance, color="0.6", linestyle="--", label="tolerance")
    left.axvline(len(result.potential.modes), color="0.85", linewidth=8, zorder=0, label="chosen")
    left.set(xlabel="number of modes", ylabel="relative error on validation rows", xticks=[k for k, _ in result.path])
    left.legend(frameon=False)
    right.bar(range(len(result.usage)), result.usage)
    right.set(xlabel="mode", ylabel="mean mode weight", xticks=range(len(result.usage)), ylim=(0.0, 1.0))


def _contours(axes: Axes, grid: Sequence[Array], W: Array, label: str, top: float | None) -> None:
    high = float(np.quantile(W, 0.9)) if top is None else top
    levels = W.min() + (high - W.min()) * np.linspace(0.0, 1.0, LEVELS + 1) ** 2
    drawn = axes.contourf(*grid, W, levels=levels, cmap="Greys", extend="max", alpha=0.6)
    axes.contour(*grid, W, levels=levels, colors="0.35", linewidths=0.4, linestyles="solid")
    axes.figure.colorbar(drawn, ax=axes, label=label, format="%.2g", pad=0.02)


def _borders_of_modes(axes: Axes, grid: Sequence[Array], weights: Array) -> None:
    """Lines between the regions of the modes, and each mode's number where its weight is largest."""
    leading = weights.argmax(axis=-1)
    for k in np.unique(leading):
        axes.contour(*grid, (leading == k).astype(float), levels=[0.5], colors="tab:orange", linewidths=1.4)
        inner = weights[BORDER:-BORDER, BORDER:-BORDER, k]
        row, column = np.array(np.unravel_index(inner.argmax(), inner.shape)) + BORDER
        place = grid[0][column], grid[1][row]
        axes.annotate(f"mode {k}", place, (0, -9), textcoords="offset points", color="tab:orange", weight="bold",
                      ha="center", va="top")  # fmt: skip


def _hatch_unstable(axes: Axes, material: Material, x: Array, grid: Sequence[Array]) -> None:
    """Hatch where W is not strongly elliptic, at F = sqrt(I + 2E); strains that no deformation has are left out."""
    x, m = x[::ELLIPTICITY_STRIDE, ::ELLIPTICITY_STRIDE], len(material.fields)
    squares, directions = np.linalg.eigh(np.eye(material.dim) + 2.0 * from_mandel(x[..., m:]))
    possible = np.asarray((squares > 0.0).all(axis=-1))
    stretches = np.sqrt(np.where(possible[..., None], squares, 1.0))
    F = (directions * stretches[..., None, :]) @ np.swapaxes(directions, -1, -2)
    fields = x[..., :m].reshape(-1, m) if m else None
    tangent = material.evaluate(F.reshape(-1, material.dim, material.dim), fields).tangent
    lost = possible & (acoustic_minimum(tangent).value.reshape(possible.shape) <= 0.0)
    coarse = [values[::ELLIPTICITY_STRIDE] for values in grid]
    drawn = axes.contourf(*coarse, lost.astype(float), levels=[0.5, 1.5], colors="none", hatches=["//"])
    drawn.set(edgecolor="0.4", linewidth=0.0)


def _stationary_points(axes: Axes, potential: SoftMinimum, land: Landscape, shown: Sequence[int], base: Array) -> None:
    """Wells, saddles and, in a plane, the steepest descents between them."""

    def place(x: Array, energy: float) -> tuple[float, float]:
        return (x[shown[0]], energy) if len(shown) == 1 else (x[shown[0]], x[shown[1]])

    for each in land.passes if len(shown) == 2 else ():
        for way in each.down:
            axes.plot(way[:, shown[0]], way[:, shown[1]], color="tab:blue", linewidth=1.2, linestyle=":")
    for number, well in enumerate(land.wells):
        away = np.delete((well.x - base) / potential.input_scale, shown)
        face = "tab:blue" if np.linalg.norm(away) < SAME_PLANE else "none"
        at = place(well.x, well.energy)
        axes.plot(*at, "o", color="tab:blue", markerfacecolor=face, markersize=8)
        axes.annotate(str(number), at, (6, 6), textcoords="offset points", color="tab:blue", weight="bold")
    for saddle in land.saddles:
        axes.plot(*place(saddle.x, saddle.energy), "x", color="tab:red", markersize=8, markeredgewidth=2)


def unit_label(fitted: Material | SoftMinimum, quantity: str) -> str:
    """The unit of a quantity behind its name, empty if it is not known."""
    unit = fitted.units.get(quantity, "")
    return f" [{unit}]" if unit else ""
