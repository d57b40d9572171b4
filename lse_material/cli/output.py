"""What a command prints: one JSON object, or a text for people made from the same figures."""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from lse_material._files import plain

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a text.")]


def print_json(figures: Mapping[str, Any]) -> None:
    """One line of JSON; what is not finite becomes null, which JSON can hold."""
    print(json.dumps(plain(figures), allow_nan=False))


def print_table(title: str, header: list[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table for people; its cells are texts as they stand."""
    table = Table(title=title or None, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for name in header:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:  # nothing is coloured, cut or wrapped
        console = Console(highlight=False, markup=False, emoji=False, width=10_000, soft_wrap=True)
    console.print(table)


def figure(value: float | None, digits: int = 4) -> str:
    """A number for people."""
    return "-" if value is None else f"{value:.{digits}g}"


def vector(values: Any, digits: int = 4) -> str:
    """Several numbers for people."""
    return ", ".join(figure(float(v), digits) for v in np.ravel(values))


def _cell(value: Any) -> str:
    return figure(value) if isinstance(value, float) else str(value)
