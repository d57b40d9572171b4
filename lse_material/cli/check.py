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
    from lse_material.analysis import check_data, check_extrapolation
    from lse_material.model.material import Material

    fitted = read(file)
    if symmetry and not isinstance(fitted, Material):
        raise InvalidInputError(f"--symmetry acts on strains, and {file} is a plain potential: leave it out.")
    checks = _of_material(fitted, symmetry, seed) if isinstance(fitted, Material) else _of_potential(fitted, seed)
    tried = _at_middle_of_parameters(fitted)
    if tried.training_box is not None:
        box = tried.training_box
        checks.append(check_extrapolation(tried, (box.lower, box.upper), seed=seed))
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


def _of_material(material: Any, symmetry: str | None, seed: int) -> list[Any]:
    from lse_material import analysis

    checks = list(analysis.verify(material, seed=seed))
    material = analysis.at_middle_of_fields(material)
    group = read_symmetry(symmetry, material.dim) if symmetry else material.symmetry
    F = analysis.sample_deformations(material, 256, seed=seed)
    if group is not None:
        checks.append(analysis.check_symmetry(material, group, F))
    return [*checks, analysis.check_ellipticity(material, F)]


def _at_middle_of_parameters(fitted: Any) -> Any:
    """What depends on parameters where these are in the middle: outside their range, modes need not be convex."""
    from lse_material import analysis
    from lse_material.model.material import Material, potential_of

    count = len([kind for kind in potential_of(fitted).kinds if kind in ("temperature", "design")])
    if count == 0:
        return fitted
    if isinstance(fitted, Material):
        return analysis.at_middle_of_fields(fitted)
    box = analysis.search_box(fitted)
    return fitted.at(0.5 * (box.lower + box.upper)[:count])


def _of_potential(potential: Any, seed: int) -> list[Any]:
    import numpy as np

    from lse_material.analysis.verification import check_convexity

    x = np.random.default_rng(seed).normal(size=(256, potential.size))
    return [check_convexity(potential, potential.input_shift + potential.input_scale * x)]
