"""Tables of samples as commands take them: what the columns are, and which one tells the groups."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from lse_material.cli.options import option
from lse_material.data.sample_files import read_samples
from lse_material.data.samples import Samples

ColumnsOption = Annotated[
    str | None,
    option(
        "--columns",
        metavar="F11=NAME,...",
        help="What the columns are where their names do not tell (F12=0: 0 in every row), or all names in their order.",
    ),
]
GroupOption = Annotated[
    str | None,
    option(
        "--group",
        metavar="COLUMN|found",
        help="The column with the load path of each row; found: a path ends where F jumps.",
    ),
]

DecimalOption = Annotated[str | None, option("--decimal", help="The decimal mark of tables, if it is not to be found.")]
SheetOption = Annotated[list[str] | None, option("--sheet", help="Of a spreadsheet, more than once: each a group.")]
PlaneStrainOption = Annotated[
    bool, typer.Option("--plane-strain", help="Take the 2D part of 3D columns, checked to be plane strain.")
]


def read(
    paths: Sequence[Path],
    columns: str | None,
    group: str | None = None,
    sheet: Sequence[str] | None = None,
    *,
    decimal: str | None = None,
    plane_strain: bool = False,
    fields: Sequence[str] = (),
    report: Callable[[Any], Any] | None = None,
) -> Samples:
    """Samples of one file, or of several, each a group. Raises as `read_samples`.

    Raises typer.BadParameter: `columns` is not written F11=NAME,F12=NAME or NAME,NAME.
    """
    chosen: dict[str, Any] | list[str | None] = _parsed(columns) if columns else {}
    if group not in (None, "found"):
        if isinstance(chosen, list):
            raise typer.BadParameter("--columns names all columns: name the one of the groups `group` there.")
        chosen["group"] = group
    samples = read_samples(
        paths[0] if len(paths) == 1 else paths,
        columns=chosen or None,
        decimal=decimal,
        sheet=sheet[0] if sheet and len(sheet) == 1 else sheet or None,
        plane_strain=plane_strain,
        fields=fields,
        report=report,
    )
    return samples.with_groups_found() if group == "found" else samples


def _parsed(text: str) -> dict[str, Any] | list[str | None]:
    """{"F11": "defgrad_1", "F12": 0.0} of F11=defgrad_1,F12=0, or the list of names of one without =."""
    if "=" not in text:
        return [name.strip() or None for name in text.split(",")]
    pairs: dict[str, Any] = {}
    for part in re.split(r",(?=[^,=]*=)", text):  # names of columns may have commas
        name, equals, column = (piece.strip() for piece in part.partition("="))
        if not (name and equals and column):
            raise typer.BadParameter(f"--columns {part!r} is not written QUANTITY=COLUMN, as F11=defgrad_1.")
        number = re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", column)
        pairs[name] = float(column) if number else column
    return pairs
