"""`lse-material plot`: the landscape and curves along load paths as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lse_material.cli.codes import need
from lse_material.cli.files import MaterialFile, read
from lse_material.cli.output import Json, print_json
from lse_material.errors import InvalidInputError
from lse_material.model.material import Material, potential_of

FORMATS = (".png", ".pdf", ".svg")
QUANTITIES = ("amount", "energy", "stress", "mode_weights")


def plot(
    file: MaterialFile,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The picture (.png, .pdf, .svg); beside FILE if left out.")
    ] = None,
    path: Annotated[
        list[str] | None, typer.Option(help="Load path, more than once: uniaxial, biaxial, pure_shear, simple_shear.")
    ] = None,
    json: Json = False,
) -> None:
    """Draw 2D sections of the landscape with its modes and wells, and stresses along load paths."""
    need("matplotlib.figure", "plotting")
    from lse_material.analysis import DEFORMATIONS, landscape, search_box, stress_curve
    from lse_material.plotting import input_labels, picture, planes

    names = path or ["uniaxial", "pure_shear", "simple_shear"]
    unknown = [name for name in names if name not in DEFORMATIONS]
    if unknown:
        raise InvalidInputError(f"there is no load path {unknown[0]!r}; there are {', '.join(DEFORMATIONS)}.")
    target = output or file.with_suffix(".png")
    if target.suffix not in FORMATS:
        raise InvalidInputError(f"{target}: pictures are {', '.join(FORMATS)}.")
    fitted = read(file)
    material = fitted if isinstance(fitted, Material) else None
    potential = potential_of(fitted)
    box = search_box(fitted)
    land = landscape(potential, box.lower, box.upper)
    picture(fitted, land, deformations=names).savefig(target, dpi=150)
    if json:
        labels = input_labels(fitted)
        found = [] if material is None else [(name, stress_curve(material, name)) for name in names]
        curves = {name: {q: getattr(curve, q) for q in QUANTITIES} for name, curve in found}
        sections = [[labels[a], labels[b]] for a, b in planes(potential, land)]
        print_json(
            {
                "file": str(target),
                "wells": len(land.wells),
                "saddles": len(land.saddles),
                "sections": sections,
                "paths": curves,
            }
        )
    else:
        print(f"wrote {target}: {len(land.wells)} wells, {len(land.saddles)} saddles.")
