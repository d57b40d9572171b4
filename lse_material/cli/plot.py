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
    from lse_material.analysis.landscape import landscape
    from lse_material.plotting import LOAD_PATHS, box_of, input_names, load_path, picture, planes

    paths = path or ["uniaxial", "pure_shear", "simple_shear"]
    unknown = [name for name in paths if name not in LOAD_PATHS]
    if unknown:
        raise InvalidInputError(f"there is no load path {unknown[0]!r}; there are {', '.join(LOAD_PATHS)}.")
    target = output or file.with_suffix(".png")
    if target.suffix not in FORMATS:
        raise InvalidInputError(f"{target}: pictures are {', '.join(FORMATS)}.")
    fitted = read(file)
    material = fitted if isinstance(fitted, Material) else None
    potential = potential_of(fitted)
    land = landscape(potential, *box_of(fitted))
    picture(fitted, land.wells, land.saddles, paths=paths).savefig(target, dpi=150)
    if json:
        names = input_names(fitted)
        curves = {} if material is None else {name: load_path(material, name) for name in paths}
        sections = [[names[a], names[b]] for a, b in planes(potential, land.wells)]
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
