"""`lse-material plot`: the landscape and curves along load paths as a picture."""

from pathlib import Path
from typing import Annotated

import typer

from lse_material._files import expect_place, write_figure
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
    """Draw 2D sections of the landscape with its modes and wells, and stresses along load paths.

    Of a material that depends on a temperature or on a design one picture at each end of its range and one in the middle.
    """
    need("matplotlib.figure", "plotting")
    from lse_material.analysis import DEFORMATIONS, field_to_vary, stress_curve
    from lse_material.analysis.landscape import landscapes
    from lse_material.plotting import labels_left, picture, planes

    names = path or ["uniaxial", "pure_shear", "simple_shear"]
    unknown = [name for name in names if name not in DEFORMATIONS]
    if unknown:
        raise InvalidInputError(f"there is no load path {unknown[0]!r}; there are {', '.join(DEFORMATIONS)}.")
    target = output or file.with_suffix(".png")
    if target.suffix not in FORMATS:
        raise InvalidInputError(f"{target}: pictures are {', '.join(FORMATS)}.")
    expect_place(target)
    fitted = read(file)
    drawn = []
    for value, (one, land) in landscapes(fitted).items():
        held = (
            "" if value is None else f"-{field_to_vary(fitted)}{'' if isinstance(fitted, Material) else '='}{value:g}"
        )
        file_name = target.with_stem(target.stem + held)
        labels = labels_left(fitted, one)
        write_figure(picture(one, land, deformations=names, labels=labels), file_name, dpi=150)
        found = [(name, stress_curve(one, name)) for name in names] if json and isinstance(one, Material) else []
        curves = {name: {q: getattr(curve, q) for q in QUANTITIES} for name, curve in found}
        sections = [[labels[a], labels[b]] for a, b in planes(potential_of(one), land)]
        numbers = {"wells": len(land.wells), "saddles": len(land.saddles)}
        drawn.append({"file": str(file_name), **numbers, "sections": sections, "paths": curves})
        if not json:
            print(f"wrote {file_name}: {len(land.wells)} wells, {len(land.saddles)} saddles.")
    if json:
        print_json(drawn[0] if len(drawn) == 1 else {"pictures": drawn})
