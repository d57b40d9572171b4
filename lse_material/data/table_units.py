"""Units of columns: read from names and comments, carried with the samples, and the same for W and P where both are known."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lse_material.data.assigned_columns import AssignedColumns
from lse_material.data.column_names import MEANINGS
from lse_material.errors import FormatError

NO_UNIT = ("", "-", "1", "m/m", "mm/mm", "none", "nd", "ratio", "dimensionless")
PASCALS = {  # of pressures, which are energies per volume
    "pa": 1.0, "n/m^2": 1.0, "n/m2": 1.0, "j/m^3": 1.0, "j/m3": 1.0,
    "kpa": 1e3, "kn/m^2": 1e3, "kn/m2": 1e3, "kj/m^3": 1e3, "kj/m3": 1e3,
    "mpa": 1e6, "n/mm^2": 1e6, "n/mm2": 1e6, "mj/m^3": 1e6, "mj/m3": 1e6, "j/cm^3": 1e6, "j/cm3": 1e6,
    "gpa": 1e9, "kn/mm^2": 1e9, "kn/mm2": 1e9, "gj/m^3": 1e9, "gj/m3": 1e9,
}  # fmt: skip


def check_dimensionless(given: AssignedColumns, quantity: str) -> None:
    """Turn strains in percent into numbers.

    Raises:
        FormatError: a strain has a unit.
    """
    for index, (source, factor) in given.parts[quantity].items():
        unit = given.unit(source) if isinstance(source, int) else ""
        if unit in ("%", "percent"):
            given.parts[quantity][index] = (source, 0.01 * factor)
            given.notes.append(f"{given.table.names[int(source)]} is in percent")
        elif unit.lower() not in NO_UNIT:
            raise FormatError(
                f"{given.table.source}: {given.table.names[int(source)]!r} is taken for the {MEANINGS[quantity]}, which has no "
                "unit; name the column without one, or say by columns={...} what it is."
            )


def common_units(given: AssignedColumns, data: dict[str, Any], quantities: Mapping[str, str]) -> dict[str, str]:
    """Units of the samples by quantity; energies in `data` are brought to the unit of the stresses where both are pressures.

    Args:
        given: columns with their units.
        data: arrays of the samples: `energy` may be scaled.
        quantities: quantity in names of columns -> key of `Samples.units`.

    Raises:
        FormatError: columns of one quantity have several units.
    """
    units = units_of_comments(given.table.source, given.table.comments)
    named: dict[str, str] = {}
    for quantity, key in quantities.items():
        parts = given.parts.get(quantity, {})
        for index in parts if quantity in ("field", "conjugate") else [None]:
            columns = [k for i, (k, _) in parts.items() if isinstance(k, int) and index in (None, i)]
            found = {given.unit(k) for k in columns} - {"", "-"}
            if len(found) > 1:
                raise FormatError(
                    f"{given.table.source}: the columns of {quantity} have the units {sorted(found)}; one is needed."
                )
            if found:
                named[key if index is None else f"{key}{index}"] = found.pop()
    energy, stress = named.get("energy", ""), named.get("stress", "")
    factor = PASCALS.get(_plain(energy), 0.0) / PASCALS.get(_plain(stress), 1.0)
    if factor not in (0.0, 1.0) and _plain(stress) in PASCALS:
        data["energy"] = factor * data["energy"]
        given.notes.append(f"W is brought from {energy} to {stress}, the unit of the stresses (factor {factor:g})")
        named["energy"] = stress
    return {**units, **named}


def units_of_comments(source: str, comments: Sequence[str]) -> dict[str, str]:
    """Units from comments that begin with "units:", in JSON or as words: energy MPa, stress MPa.

    Raises:
        FormatError: such a comment cannot be read.
    """
    units: dict[str, str] = {}
    for comment in comments:
        if not (match := re.match(r"units?\s*[:=]\s*(.*)", comment, re.IGNORECASE)):
            continue
        text = match[1].strip()
        found: Any = None
        if text.startswith("{"):
            found = _literal(text, source)
        elif words := re.findall(r"([A-Za-z]\w*)\s*(?:[:=]|\s)\s*\[?([^\s,;\]]+)\]?\s*(?:[,;]\s*|$)", text):
            found = dict(words)
        if not isinstance(found, dict) or not all(isinstance(value, str) for value in (*found, *found.values())):
            raise FormatError(
                f'{source}: units must map names to texts, as {{"energy": "MPa"}}; they are {text[:200]}.'
            )
        units.update(found)
    return units


def _literal(text: str, source: str) -> Any:
    parsers: tuple[Callable[[str], Any], ...] = (json.loads, ast.literal_eval)  # JSON, and as Python prints a dict
    error = ""
    for parse in parsers:
        try:
            return parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError) as why:
            error = error or str(why)
    raise FormatError(f"{source}: units are not JSON: {error}.")


def _plain(unit: str) -> str:
    """A unit in lower case, with plain digits and powers: J/m³ and J m^-3 are j/m3 and j m^-3. mPa is not MPa."""
    plain = unit.replace("²", "^2").replace("³", "^3").replace("**", "^").replace(" ", "")
    return "" if plain == "mPa" else plain.lower()
