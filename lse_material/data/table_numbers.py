"""Numbers as programs and people write them: decimal marks, thousands marks, Fortran's exponents, missing values."""

import re
from collections.abc import Iterable, Sequence

import numpy as np

from lse_material._arrays import Array
from lse_material.errors import FormatError

MISSING = frozenset(
    {"", "na", "n/a", "n.a.", "#n/a", "<na>", "nan", "-nan", "+nan", "null", "none", "missing", "-", "--", "---"}
)
MISSING |= {"nan(ind)", "-nan(ind)", "1.#qnan", "1.#ind", "-1.#ind", "#num!", "#value!", "#div/0!", ".", "?", "*"}
_SIGNS = str.maketrans("−–—﹣－", "-----")  # minus sign, dashes, small and wide hyphens
_EXPONENT = r"(?:[eEdD][-+]?\d+)?"
_NUMBER = {
    mark: re.compile(
        rf"[-+]?(?:\d{{1,3}}(?:{other}\d{{3}})+(?:{point}\d+)?|\d{{1,3}}(?:[ \u00a0\u202f'’_]\d{{3}})+(?:{point}\d+)?"
        rf"|\d+(?:{point}{after})?|{point}\d+){_EXPONENT}|[-+]?\d*{point}\d+[-+]\d{{3}}"  # Fortran's 1.5-101 is 1.5e-101
    )
    for mark, point, other, after in ((".", r"\.", ",", r"\d*"), (",", ",", r"\.", r"\d+"))
}
_FORTRAN = re.compile(r"(?<=[\d.])(?:[dD]|(?=[-+]\d{3}$))")


def is_number(cell: str) -> bool:
    """Whether the cell is a number under one decimal mark or the other."""
    cell = cell.translate(_SIGNS)
    return any(pattern.fullmatch(cell) for pattern in _NUMBER.values())


def is_value(cell: str) -> bool:
    """Whether a cell is a number and no name: 2E12 alone can be that of an engineering shear."""
    return is_number(cell) and not re.fullmatch("2E[1-3]{2}", cell)


def is_missing(cell: str, missing: Iterable[str] = ()) -> bool:
    """Whether the cell says that there is no value; `missing` are further texts that do."""
    return cell.translate(_SIGNS).lower() in MISSING or cell in missing


def decimal_mark(cells: Iterable[str], where: str) -> str:
    """The decimal mark of a table, "." or ",".

    Raises FormatError: all commas can be thousands marks as well as decimal marks.
    """
    open_cell = ""
    for mark in ",.":  # cells with a comma decide; if they can be thousands, cells with a point do
        for cell in cells:
            if mark not in cell:
                continue
            fits = [other for other, pattern in _NUMBER.items() if pattern.fullmatch(cell.translate(_SIGNS))]
            if len(fits) == 1:
                return fits[0]
            open_cell = open_cell or (cell if fits else "")
        if not open_cell:
            return "."
    raise FormatError(
        f"{where}: {open_cell!r} is {to_number(open_cell, ','):g} if the comma is a decimal mark and "
        f'{to_number(open_cell, "."):g} if it separates thousands, and no other cell tells. Say decimal="," or decimal=".".'
    )


def to_number(cell: str, decimal: str) -> float:
    """The value of a cell. Raises ValueError: it is no number under this decimal mark, or not a finite one."""
    text = cell.translate(_SIGNS)
    if not _NUMBER[decimal].fullmatch(text):
        if is_number(cell):
            raise ValueError(f"has another decimal mark than the table, which has {decimal!r}")
        raise ValueError("is not finite" if text.lstrip("+-").lower() in ("inf", "infinity") else "is not a number")
    for mark in "., \u00a0\u202f'’_":
        if mark != decimal:
            text = text.replace(mark, "")
    return float(_FORTRAN.sub("e", text.replace(decimal, ".")))


def numbers(
    cells: Sequence[str], decimal: str, missing: Sequence[str], where: str, lines: Sequence[int], column: str
) -> Array:
    """The values of a column, NaN where they are missing.

    Raises FormatError: naming line and column of a cell that is neither a number nor missing.
    """
    text = "\n".join(cells)
    if "_" not in text and not (decimal == "," and "." in text) and not missing:
        try:  # plain numbers, which are most tables
            values = np.array([float(cell) for cell in text.replace(decimal, ".").split("\n")])
            if len(values) == len(cells) and np.isfinite(values).all():
                return values
        except ValueError:
            pass
    values = np.full(len(cells), np.nan)
    for k, cell in enumerate(cells):
        if is_missing(cell, missing):
            continue
        try:
            values[k] = to_number(cell, decimal)
        except ValueError as error:
            advice = " Leave the cell empty if it is missing." if "finite" in str(error) else ""
            raise FormatError(f"{where}, line {lines[k]}, column {column}: {cell!r} {error}.{advice}") from None
        if not np.isfinite(values[k]):
            raise FormatError(f"{where}, line {lines[k]}, column {column}: {cell!r} is too large for a number.")
    return values
