"""The landscape of a potential: its wells, the saddles between them, and how high the barriers are.

    land = landscape(material.potential, box.lower, box.upper)
    land.wells, land.saddles, land.barriers[i, j]

`stationary`, `descent` and `minimum_energy_path` do the work; `lse_material.plotting.landscape` draws it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, TypeVar

import numpy as np

from lse_material._arrays import Array, frozen, whole_number
from lse_material.analysis.descent import Pass, is_at, metric_of
from lse_material.analysis.merged_wells import merged_modes
from lse_material.analysis.minimum_energy_path import Graph
from lse_material.analysis.stationary import StationaryPoint, saddles, wells
from lse_material.errors import InvalidInputError
from lse_material.model.box import Box
from lse_material.model.material import Material, potential_of
from lse_material.model.soft_minimum import SoftMinimum

Fitted = Material | SoftMinimum
AnyFitted = TypeVar("AnyFitted", bound=Fitted)


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
    metric = metric_of(potential, scale)
    for saddle in saddles(potential, lower, upper, between=found, starts=starts, seed=seed):
        if saddle.inside:
            graph.add(saddle, metric)
    box = Box.of(lower, upper, potential.size)
    seen = [k for k, well in enumerate(graph.wells) if box is None or bool(box.holds(well.x))]
    seen.sort(key=lambda k: graph.wells[k].energy)
    number = {k: n for n, k in enumerate(seen)}
    for k, well in enumerate(graph.wells):  # images of wells in the box by whole periods
        x = well.x if box is None else potential.wrapped(well.x, box.lower)
        number.setdefault(k, next((number[j] for j in seen if is_at(potential, x, graph.wells[j])), -1))
    kept = [entry for entry in graph.passes if min(number[entry[0]], number[entry[1]]) >= 0]  # not out of the box
    kept.sort(key=lambda entry: entry[2].saddle.energy)
    links = tuple((number[i], number[j]) for i, j, _ in kept)
    return Landscape(tuple(graph.wells[k] for k in seen), tuple(entry[2] for entry in kept), links)


def search_box(fitted: Material | SoftMinimum) -> Box:
    """Where to look for wells: the training box, or three `input_scale` to each side of `input_shift` if there is none.

    >>> lse.analysis.search_box(material).upper
    array([0.1, 0.1, 0.1])
    """
    potential = potential_of(fitted)
    if fitted.training_box is not None:
        lower, upper = fitted.training_box.lower, fitted.training_box.upper
        width = np.maximum(upper - lower, 1e-3 * potential.input_scale)  # a component that did not vary has no width
        middle = 0.5 * (lower + upper)
        return Box(middle - 0.5 * width, middle + 0.5 * width)
    reach = 3.0 * potential.input_scale
    low, high = potential.input_shift - reach, potential.input_shift + reach
    for k, between in _ranges(potential).items():  # beyond which modes are not convex
        low[k], high[k] = between
    return Box(low, high)


def _ranges(potential: SoftMinimum) -> dict[int, tuple[float, float]]:
    """Between which values of each temperature the modes are known to be convex, by the number of the input."""
    shift, scale = potential.input_shift, potential.input_scale
    of_temperature = [k for k, kind in enumerate(potential.kinds) if kind == "temperature"]
    return {k: (float(shift[k]), float(shift[k] + scale[k])) for k in of_temperature}


def given_inputs(fitted: Fitted) -> dict[str, int]:
    """The temperatures and designs, by name the numbers of the inputs; those of a plain potential are called x1, x2, ..."""
    if isinstance(fitted, Material):
        return {name: k for k, (name, kind) in enumerate(fitted.kinds.items()) if kind != "convex"}
    found = {f"x{k + 1}": k for k, kind in enumerate(fitted.kinds) if kind in ("temperature", "design")}
    return found if len(found) < fitted.size else {}


def _fields(fitted: Fitted) -> dict[str, int]:
    """The fields of a material, or the temperatures and designs of a plain potential, by name the numbers of the inputs."""
    return {name: k for k, name in enumerate(fitted.fields)} if isinstance(fitted, Material) else given_inputs(fitted)


def field_to_vary(fitted: Material | SoftMinimum) -> str | None:
    """The field at whose values a landscape is looked at, one by one: its only temperature or design, if it has just one.

    Wells are those of W over the strain; a temperature or a design is given. Where modes are convex in a field and the strain
    together, a concentration say, wells are those of both. The fields of a plain potential are as in `at_values`.

    >>> lse.analysis.field_to_vary(material) is None
    True
    """
    given = list(given_inputs(fitted))
    return given[0] if len(given) == 1 else None


def at_values(fitted: AnyFitted, field: str, count: int = 3) -> dict[float, AnyFitted]:
    """The material of F alone at `count` values of a field over its range, its other fields at the middle of `search_box`.

    The range of a temperature is that of `Material.ranges`, of any other field that of `search_box`. The fields of a plain
    potential are its inputs that are temperatures or designs, x1 say.

    Raises:
        InvalidInputError: it has no such field.

    >>> ends = [lse.ConvexNetwork.from_arrays([], [np.zeros((1, 3))], [[0.0]], quadratic=c * np.eye(3)) for c in (3.0, 2.0)]
    >>> potential = lse.SoftMinimum((lse.InterpolatedNetwork(*ends),), 1.0, [300.0, 0, 0, 0], [100.0, 1, 1, 1])
    >>> list(lse.analysis.at_values(lse.Material(potential, lse.SmallStrain(2), fields=("T",)), "T"))
    [300.0, 350.0, 400.0]
    """
    fields = _fields(fitted)
    if field not in fields:
        raise InvalidInputError(f"there is no field {field!r}; its fields are {list(fields)}.")
    whole_number("count", count, 1)
    k, box = fields[field], search_box(fitted)
    lower, upper = _ranges(potential_of(fitted)).get(k, (float(box.lower[k]), float(box.upper[k])))
    return {float(value): _held(fitted, {k: float(value)}) for value in np.linspace(lower, upper, count)}


def at_middle_of_fields(fitted: AnyFitted) -> AnyFitted:
    """The material of F alone, its fields (if it has any) at the middle of `search_box`; a potential likewise, as `at_values`.

    >>> lse.analysis.at_middle_of_fields(material) is material  # it has none
    True
    """
    middle: AnyFitted = _held(fitted, {})
    return middle


def _held(fitted: Fitted, values: Mapping[int, float]) -> Any:
    """What is left where the fields have these values, by number, or that of the middle of `search_box`."""
    held = _fields(fitted).values()
    if not held:
        return fitted
    box = search_box(fitted)
    middle = 0.5 * (box.lower + box.upper)
    chosen = {k: values.get(k, float(middle[k])) for k in held}
    return fitted.at(list(chosen.values())) if isinstance(fitted, Material) else fitted.holding(chosen)


def landscapes(fitted: Fitted) -> dict[float | None, tuple[Fitted, Landscape]]:
    """The landscape within `search_box`: at three values of its `field_to_vary`, by value, if it has one.

    With several temperatures and designs it is that at the middle of all of them.
    """
    field = field_to_vary(fitted)
    each: dict[float | None, Fitted] = {None: at_middle_of_fields(fitted) if given_inputs(fitted) else fitted}
    if field is not None:
        each = dict(at_values(fitted, field).items())
    found: dict[float | None, tuple[Fitted, Landscape]] = {}
    for value, one in each.items():
        box = search_box(one)
        found[value] = one, landscape(potential_of(one), box.lower, box.upper)
    return found


def landscape_figures(fitted: Fitted, land: Landscape) -> dict[str, Any]:
    """Wells (those outside the box too), the barriers between each two inside, and modes whose wells have merged."""
    potential, searched = potential_of(fitted), search_box(fitted)
    box = searched.lower, searched.upper
    rows = []
    for well in (*land.wells, *(w for w in wells(potential, *box) if not w.inside)):
        weight = potential.mode_weights(well.x)
        seen = None if fitted.training_box is None else well.inside
        row = {"x": well.x.tolist(), "energy": well.energy, "inside_box": seen}
        rows.append({**row, "mode": int(weight.argmax()), "least_curvature": float(well.eigenvalues[0])})
    height, scale = land.barriers, potential.transition_scale
    passes = [
        {
            "from": a,
            "to": b,
            "barrier": height[a, b],
            "back": height[b, a],
            "below_transition_scale": bool(min(height[[a, b], [b, a]]) < scale),
        }
        for a, b in combinations(range(len(land.wells)), 2)
    ]
    return {"wells": rows, "barriers": passes, "merged": [str(pair) for pair in merged_modes(potential, *box)]}


def landscape_rows(figures: Mapping[str, Any]) -> tuple[list[list[str]], list[list[str]]]:
    """Wells and barriers of `landscape_figures` in words.

    Wells by number, energy, place, mode, least curvature and whether they lie in the training box; barriers by from, to, there,
    back and remark.
    """
    in_the_box = {True: "yes", False: "NO", None: "not known"}
    remark = {True: "lower than the transition scale, which smooths it", False: ""}
    wells = []
    for number, well in enumerate(figures["wells"]):
        place = ", ".join(f"{value:.4g}" for value in well["x"])
        words = f"{well['energy']:.4g}", place, str(well["mode"]), f"{well['least_curvature']:.4g}"
        wells.append([str(number), *words, in_the_box[well["inside_box"]]])
    barriers = [
        [str(b["from"]), str(b["to"]), f"{b['barrier']:.4g}", f"{b['back']:.4g}", remark[b["below_transition_scale"]]]
        for b in figures["barriers"]
    ]
    return wells, barriers
