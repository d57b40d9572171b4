"""Wells and barriers of a material as figures: what `lse-material show` prints and what a report of a fit has."""

from itertools import combinations
from typing import Any

from lse_material.analysis.landscape import (
    Landscape,
    at_middle_of_fields,
    at_values,
    field_to_vary,
    landscape,
    search_box,
)
from lse_material.analysis.merged_wells import merged_modes
from lse_material.analysis.stationary import wells
from lse_material.model.material import Material, potential_of
from lse_material.model.soft_minimum import SoftMinimum

Fitted = Material | SoftMinimum


def landscapes(fitted: Fitted) -> dict[float | None, tuple[Fitted, Landscape]]:
    """The landscape within `search_box`: of a material at three values of its `field_to_vary`, by value, if it has one.

    With several temperatures and designs it is that of the material of F alone at the middle of all of them.
    """
    each: dict[float | None, Fitted] = {None: fitted}
    if isinstance(fitted, Material) and set(fitted.kinds.values()) - {"convex"}:
        field = field_to_vary(fitted)
        values = {} if field is None else at_values(fitted, field)
        each = dict(values.items()) if values else {None: at_middle_of_fields(fitted)}
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
