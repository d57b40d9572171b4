"""`lse-material check`: is the material sound, and does it meet the data?"""

from pathlib import Path
from typing import Annotated, Any

import typer

from lse_material.cli import tables
from lse_material.cli.codes import FAILED
from lse_material.cli.files import MaterialFile, read, read_symmetry
from lse_material.cli.options import number
from lse_material.cli.output import Json, print_json, print_table
from lse_material.cli.tables import ColumnsOption, DecimalOption, PlaneStrainOption, SheetOption
from lse_material.errors import InvalidInputError


def check(
    file: MaterialFile,
    data: Annotated[Path | None, typer.Option(help="A table of rows that the material must meet.")] = None,
    columns: ColumnsOption = None,
    decimal: DecimalOption = None,
    sheet: SheetOption = None,
    plane_strain: PlaneStrainOption = False,
    tolerance: Annotated[
        float, typer.Option(help="Relative error on --data that passes.", min=0.0, callback=number)
    ] = 0.05,
    symmetry: Annotated[
        str | None, typer.Option(help="Point group, PARENT:VARIANT (square:rectangle); else that of the file.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the deformations that are drawn.", min=0)] = 0,
    json: Json = False,
) -> int:
    """Check convexity of every mode, derivatives, objectivity, symmetry, ellipticity and extrapolation.

    Exit code 1 if a check fails.
    """
    from lse_material.analysis.validation import check_data, check_without_data
    from lse_material.model.material import Material

    fitted = read(file)
    if symmetry and not isinstance(fitted, Material):
        raise InvalidInputError(f"--symmetry acts on strains, and {file} is a plain potential: leave it out.")
    group = read_symmetry(symmetry, fitted.dim) if symmetry and isinstance(fitted, Material) else None
    checks = check_without_data(fitted, group, seed=seed)
    if data is not None:
        fields = fitted.fields if isinstance(fitted, Material) else ()
        report = None if json else print
        samples = tables.read(
            [data], columns, sheet=sheet, decimal=decimal, plane_strain=plane_strain, fields=fields, report=report
        )
        if samples.dim != (fitted.dim if isinstance(fitted, Material) else None):
            found = "x" if samples.dim is None else f"F in {samples.dim}D"
            takes = f"F in {fitted.dim}D" if isinstance(fitted, Material) else "x: it is a plain potential"
            raise InvalidInputError(f"{data} has rows of {found}, and {file} takes {takes}.")
        checks += check_data(fitted, samples, tolerance=tolerance)
    passed = all(c.passed for c in checks)
    if json:
        print_json({"file": str(file), "passed": passed, "checks": [vars(c) for c in checks]})
    else:
        rows: list[list[Any]] = [["passed" if c.passed else "FAILED", c.name, c.detail] for c in checks]
        print_table("", ["", "check", "what was found"], rows)
    return 0 if passed else FAILED
