"""Pictures of a potential and a material: sections of the landscape with its wells and modes, and curves along load paths.

Needs matplotlib. Colours survive grey print: energies in grey steps, modes told apart by dash patterns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from lse_material._arrays import Array
from lse_material.analysis.ellipticity import acoustic_minimum
from lse_material.analysis.stationary import StationaryPoint
from lse_material.model.material import Material, potential_of
from lse_material.model.soft_minimum import SoftMinimum
from lse_material.model.strain import (
    GreenLagrange,
    IsotropicInvariants,
    SmallStrain,
    StrainMeasure,
    from_mandel,
    positive_determinant,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Box = tuple[Array, Array]

GRID = 161
MARGIN = 22
COARSE = 5  # every so many points of the grid is looked at for ellipticity
LEVELS = 14
DASHES = ("-", "--", ":", "-.")
LETTERS: dict[type[StrainMeasure], str] = {GreenLagrange: "E", SmallStrain: "ε"}

LOAD_PATHS: dict[str, tuple[str, str, Callable[[float, int], Array], tuple[int, int]]] = {
    "uniaxial": ("stretch along 1, sides held", "stretch - 1", lambda s, dim: _stretched(dim, {0: s}), (0, 0)),
    "biaxial": ("equal stretch along 1 and 2", "stretch - 1", lambda s, dim: _stretched(dim, {0: s, 1: s}), (0, 0)),
    "pure_shear": ("stretch along 1, inverse along 2", "stretch - 1", lambda s, dim: _pure_shear(dim, s), (0, 0)),
    "simple_shear": ("simple shear 12", "shear", lambda s, dim: _sheared(dim, s), (0, 1)),
}


def box_of(fitted: Material | SoftMinimum) -> Box:
    """Where to look: the training box, or what `input_scale` and `input_shift` suggest (three scales to each side)."""
    potential = potential_of(fitted)
    if isinstance(fitted, Material) and fitted.training_box is not None:
        lower, upper = fitted.training_box.lower, fitted.training_box.upper
        width = np.maximum(upper - lower, 1e-3 * potential.input_scale)  # a component that did not vary has no width
        middle = 0.5 * (lower + upper)
        return middle - 0.5 * width, middle + 0.5 * width
    reach = 3.0 * potential.input_scale
    return potential.input_shift - reach, potential.input_shift + reach


def held(material: Material) -> Material:
    """The material with its fields, if it has any, held in the middle of the box."""
    if not material.fields:
        return material
    lower, upper = box_of(material)
    return material.at(0.5 * (lower + upper)[: len(material.fields)])


def input_names(fitted: Material | SoftMinimum) -> list[str]:
    """What the inputs are called on axes."""
    if not isinstance(fitted, Material):
        return [f"x{i + 1}" for i in range(fitted.size)]
    if type(fitted.kinematics) is IsotropicInvariants:
        volume = "(J-1)²" if fitted.kinematics.squared_volume else "J-1"
        return [*fitted.fields, "J^(-2/3) I1 - 3", "J^(-4/3) I2 - 3", volume]
    if type(fitted.kinematics) not in LETTERS:
        return [*fitted.fields, *(f"x{i + 1}" for i in range(fitted.kinematics.size))]
    letter = LETTERS[type(fitted.kinematics)]
    pairs = {2: ("11", "22", "12"), 3: ("11", "22", "33", "23", "13", "12")}[fitted.dim]
    return [*fitted.fields, *(f"{letter}{p}" if p[0] == p[1] else f"√2 {letter}{p}" for p in pairs)]


def planes(potential: SoftMinimum, wells: Sequence[StationaryPoint], most: int = 3) -> list[tuple[int, int]]:
    """Pairs of inputs to draw sections in: those along which the wells lie farthest apart, in units of input_scale."""
    places = np.array([well.x for well in wells]) if wells else potential.input_shift[None]
    spread = np.ptp(places / potential.input_scale, axis=0)
    return sorted(combinations(range(potential.size), 2), key=lambda ab: -(spread[ab[0]] + spread[ab[1]]))[:most]


def picture(
    fitted: Material | SoftMinimum,
    wells: Sequence[StationaryPoint],
    saddles: Sequence[StationaryPoint] = (),
    *,
    paths: Sequence[str] = ("uniaxial", "simple_shear"),
) -> Figure:
    """One figure: sections of the landscape above, curves along load paths below (for materials).

    Args:
        fitted: a material or a potential.
        wells: as `lse_material.analysis.landscape` finds them: numbered dots, hollow where they lie outside the plane.
        saddles: likewise: crosses.
        paths: names in `LOAD_PATHS`; none for a potential.
    """
    from matplotlib.figure import Figure

    potential = potential_of(fitted)
    pairs = planes(potential, wells)
    paths = paths if isinstance(fitted, Material) else ()
    width = 4.2 * max(1, len(pairs), len(paths))
    figure = Figure(figsize=(width, 3.7 + (3.2 if paths else 0.0)), layout="constrained")
    parts = figure.subfigures(2 if paths else 1, 1, squeeze=False, height_ratios=[3.7, 3.2] if paths else None)[:, 0]
    above = parts[0].subplots(1, max(1, len(pairs)), squeeze=False)[0]
    if potential.size == 1:
        _line(above[0], fitted, wells, saddles)
    for ax, pair in zip(above, pairs):
        _section(ax, fitted, pair, wells, saddles)
    if isinstance(fitted, Material) and paths:
        alone = held(fitted)
        for ax, name in zip(parts[1].subplots(1, len(paths), squeeze=False)[0], paths):
            _path(ax, alone, name)
    return figure


def load_path(material: Material, name: str, points: int = 121) -> dict[str, Array]:
    """Values along a load path, as far as the training box reaches: "amount", "energy", "stress", "mode_weights".

    The amount is stretch - 1 or the shear; the stress is the component of P that works on it (P11, or P12).
    """
    _, _, deformation, (i, j) = LOAD_PATHS[name]
    material = held(material)
    amounts = np.linspace(-0.6, 1.0, 1601)
    F = np.array([deformation(s, material.dim) for s in amounts])
    x = material.kinematics.strain(F)
    lower, upper = box_of(material)
    reached = (positive_determinant(F) > 0.0) & ((x >= lower - 1e-9) & (x <= upper + 1e-9))[:, _moving(x)].all(axis=1)
    middle = int(np.argmin(np.abs(amounts)))
    first = last = middle
    while first > 0 and reached[first - 1]:
        first -= 1
    while last < len(amounts) - 1 and reached[last + 1]:
        last += 1
    if first == last:  # the reference state lies at the rim of the box
        first, last = max(0, middle - 50), min(len(amounts) - 1, middle + 50)
    amount = np.linspace(amounts[first], amounts[last], points)
    values = material.evaluate(np.array([deformation(s, material.dim) for s in amount]))
    return {
        "amount": amount,
        "energy": values.energy,
        "stress": values.stress[:, i, j],
        "mode_weights": values.mode_weights,
    }


def _moving(x: Array) -> Array:
    """Which inputs a path changes at all."""
    result: Array = np.ptp(x, axis=0) > 1e-12
    return result


def _section(ax: Axes, fitted: Material | SoftMinimum, pair: tuple[int, int], wells: Any, saddles: Any) -> None:
    """Contours of W in the plane of two inputs, the others where the wells are on average; modes by their borders."""
    potential = potential_of(fitted)
    lower, upper = box_of(fitted)
    a, b = pair
    first, second = (
        np.linspace(lower[i] - 0.05 * w, upper[i] + 0.05 * w, GRID) for i in pair for w in [upper[i] - lower[i]]
    )
    base = np.mean([p.x for p in wells], axis=0) if len(wells) else 0.5 * (lower + upper)
    x = np.tile(base, (GRID, GRID, 1))
    x[..., a], x[..., b] = first[None, :], second[:, None]
    values = potential.evaluate(x.reshape(-1, potential.size))
    W = values.energy.reshape(GRID, GRID)
    low = W.min()
    levels = low + (np.quantile(W, 0.9) - low) * np.linspace(0.0, 1.0, LEVELS + 1) ** 2
    drawn = ax.contourf(first, second, W, levels=levels, cmap="Greys_r", extend="max", alpha=0.6)
    ax.contour(first, second, W, levels=levels, colors="0.35", linewidths=0.4)
    if isinstance(fitted, Material) and type(fitted.kinematics) is GreenLagrange:
        _hatch_unstable(ax, fitted, x[::COARSE, ::COARSE], first[::COARSE], second[::COARSE])
    if len(potential.modes) > 1:
        leading = values.mode_weights.argmax(axis=1).reshape(GRID, GRID)
        for k in np.unique(leading):
            ax.contour(first, second, (leading == k).astype(float), levels=[0.5], colors="tab:orange", linewidths=1.4)
            weight = values.mode_weights[:, k].reshape(GRID, GRID)[MARGIN:-MARGIN, MARGIN:-MARGIN]
            row, column = np.array(np.unravel_index(weight.argmax(), weight.shape)) + MARGIN  # where it leads most
            ax.text(
                first[column], second[row], f"mode {k}", color="tab:orange", ha="center", va="center", weight="bold"
            )
    scale = potential.input_scale
    for n, point in enumerate(wells):
        here = np.linalg.norm(np.delete((point.x - base) / scale, pair)) < 0.05
        face = "tab:blue" if here else "none"
        ax.plot(point.x[a], point.x[b], "o", color="tab:blue", markerfacecolor=face, markersize=8, clip_on=True)
        ax.annotate(
            str(n), (point.x[a], point.x[b]), (6, 6), textcoords="offset points", color="tab:blue", weight="bold"
        )
    for point in saddles:
        ax.plot(point.x[a], point.x[b], "x", color="tab:red", markersize=8, markeredgewidth=2)
    names = input_names(fitted)
    ax.set(xlabel=names[a], ylabel=names[b], xlim=first[[0, -1]], ylim=second[[0, -1]])
    ax.figure.colorbar(drawn, ax=ax, label=f"W{_unit(fitted)}", format="%.2g", pad=0.02)
    others = [f"{names[i]} = {round(base[i], 3) + 0.0:g}" for i in range(potential.size) if i not in pair]
    elastic = isinstance(fitted, Material) and type(fitted.kinematics) is GreenLagrange
    ax.set_title(", ".join([*others[:3], *(["hatched: not elliptic"] if elastic else [])]), fontsize="small")


def _hatch_unstable(ax: Axes, material: Material, x: Array, first: Array, second: Array) -> None:
    """Hatch where W is not strongly elliptic, at F = sqrt(I + 2E); strains that no deformation has are left out."""
    m = len(material.fields)
    stretches, axes = np.linalg.eigh(np.eye(material.dim) + 2.0 * from_mandel(x[..., m:]))
    possible = np.asarray((stretches > 0.0).all(axis=-1))
    root = np.sqrt(np.where(possible[..., None], stretches, 1.0))
    F = (axes * root[..., None, :]) @ np.swapaxes(axes, -1, -2)
    tangent = material.evaluate(F.reshape(-1, material.dim, material.dim), _fields(x, m)).tangent
    least = acoustic_minimum(tangent).value.reshape(possible.shape)
    lost = (possible & (least <= 0.0)).astype(float)
    drawn = ax.contourf(first, second, lost, levels=[0.5, 1.5], colors="none", hatches=["//"])
    drawn.set(edgecolor="0.4", linewidth=0.0)


def _fields(x: Array, m: int) -> Array | None:
    return x[..., :m].reshape(-1, m) if m else None


def _line(ax: Axes, fitted: Material | SoftMinimum, wells: Any, saddles: Any) -> None:
    """W of one input."""
    potential = potential_of(fitted)
    lower, upper = box_of(fitted)
    x = np.linspace(lower[0], upper[0], 401)
    ax.plot(x, potential.energy(x[:, None]), color="0.2")
    for points, marker, color in ((wells, "o", "tab:blue"), (saddles, "x", "tab:red")):
        ax.plot([p.x[0] for p in points], [p.energy for p in points], marker, color=color)
    ax.set(xlabel=input_names(fitted)[0], ylabel=f"W{_unit(fitted)}")


def _path(ax: Axes, material: Material, name: str) -> None:
    """Stress along a load path, and the mode weights in the same picture."""
    title, amount, _, (i, j) = LOAD_PATHS[name]
    curve = load_path(material, name)
    ax.plot(curve["amount"], curve["stress"], color="black", linewidth=2, label=f"P{i + 1}{j + 1}")
    ax.axhline(0.0, color="0.8", linewidth=0.8, zorder=0)
    ax.set(
        xlabel=amount,
        ylabel=f"P{i + 1}{j + 1}{_unit(material, 'stress')}",
    )
    ax.set_title(title, fontsize="small")
    right = ax.twinx()
    for k, weight in enumerate(curve["mode_weights"].T):
        right.plot(
            curve["amount"], weight, color="tab:orange", linestyle=DASHES[k % 4], linewidth=1.0, label=f"mode {k}"
        )
    right.set(ylim=(-0.02, 1.25), yticks=np.linspace(0.0, 1.0, 6), ylabel="mode weight")
    lines, labels = ax.get_legend_handles_labels()
    more, names = right.get_legend_handles_labels()
    right.legend(lines + more[:3], labels + names[:3], fontsize="small", loc="upper center", ncols=4, framealpha=0.9)


def _unit(fitted: Material | SoftMinimum, quantity: str = "energy") -> str:
    unit = fitted.units.get(quantity, "") if isinstance(fitted, Material) else ""
    return f" [{unit}]" if unit else ""


def _stretched(dim: int, by: dict[int, float]) -> Array:
    F = np.eye(dim)
    for i, s in by.items():
        F[i, i] = 1.0 + s
    return F


def _pure_shear(dim: int, s: float) -> Array:
    F = _stretched(dim, {0: s})
    F[1, 1] = 1.0 / (1.0 + s)
    return F


def _sheared(dim: int, s: float) -> Array:
    F = np.eye(dim)
    F[0, 1] = s
    return F
