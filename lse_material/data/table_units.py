"""Units of columns: read from names and comments, carried with the samples, and the same for W and P where both are known."""

import ast
import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lse_material.data.assigned_columns import AssignedColumns
from lse_material.data.column_names import MEANINGS
from lse_material.errors import FormatError

NO_UNIT = ("", "-", "1", "m/m", "mm/mm", "none", "nd", "ratio", "dimensionless")
PREFIXES = {"": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9}
PASCALS = {  # pressures, which are energies per volume
    "Pa": 1.0,
    "N/m^2": 1.0,
    "N/cm^2": 1e4,
    "N/mm^2": 1e6,
    "J/m^3": 1.0,
    "J/cm^3": 1e6,
    "J/mm^3": 1e9,
    "Nmm/mm^3": 1e6,
    "bar": 1e5,
    "psi": 6894.757293168361,
    "lbf/in^2": 6894.757293168361,
    "kgf/cm^2": 98066.5,
    "atm": 101325.0,
    "dyn/cm^2": 0.1,
    "eV/A^3": 1.602176634e11,
    "eV/nm^3": 1.602176634e8,
    "Ha/bohr^3": 2.9421015697e13,
    "Ry/bohr^3": 1.47105078485e13,
}
IN_ANY_CASE = {"mpa": "MPa", "kpa": "kPa", "gpa": "GPa", "pa": "Pa", "ksi": "kpsi", "kb": "kbar"}  # mPa is none of them


def strains_without_unit(given: AssignedColumns, quantity: str) -> None:
    """Turn strains in percent into numbers. Raises FormatError: a strain has a unit."""
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

    `quantities` gives, by the quantity in names of columns, the key of the units of `Samples`. Raises FormatError: columns of
    one quantity have several units.
    """
    units = units_of_comments(given.table.source, given.table.comments)
    named: dict[str, str] = {}
    for quantity, key in quantities.items():
        parts = given.parts.get(quantity, {})
        each = {index: given.unit(k) for index, (k, _) in parts.items() if isinstance(k, int)}
        found = {unit for unit in (named.get(key, ""), *each.values()) if unit not in ("", "-")}
        if len(found) > 1 and key in ("energy", "stress"):
            raise FormatError(f"{given.table.source}: columns of {quantity} have units {sorted(found)}; one is needed.")
        if len(found) == 1 and quantity not in ("field", "conjugate"):
            named[key] = found.pop()
        else:
            named.update({f"{key}{''.join(map(str, index))}": unit for index, unit in each.items() if unit})
    energy, stress = named.get("energy", ""), named.get("stress", "")
    if energy and stress and "energy" in data and _plain(energy) != _plain(stress):
        if not (_pascals(energy) and _pascals(stress)):
            raise FormatError(
                f"{given.table.source}: W is in {energy} and the stresses are in {stress}. P = dW/dF has the unit of W, an "
                "energy per reference volume: bring one to the unit of the other, or take the units out of the names."
            )
        factor = _pascals(energy) / _pascals(stress)
        data["energy"] = data["energy"] * factor if factor >= 1.0 else data["energy"] / (1.0 / factor)
        if factor != 1.0:
            given.notes.append(f"W is brought from {energy} to {stress}, the unit of the stresses (factor {factor:g})")
            named["energy"] = stress
    return {**units, **named}


def units_of_comments(source: str, comments: Sequence[str]) -> dict[str, str]:
    """Units from comments that begin with "units:", in JSON or as words: energy MPa, stress MPa.

    Raises FormatError: such a comment cannot be read.
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
            raise FormatError(f'{source}: units must map names to texts, as {{"energy": "MPa"}}, not {text[:200]}.')
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
    """A unit with plain digits and powers: J/m³ and J/m3 are J/m^3."""
    plain = unicodedata.normalize("NFKC", unit.replace("²", "^2").replace("³", "^3")).replace("\u00c5", "A")
    plain = re.sub(r"[·*. ]", "", re.sub("Ang(strom)?", "A", plain)).replace("Bohr", "bohr")
    return re.sub(r"(?<=m|A|n|r)(?=[23]$)", "^", plain)


def _pascals(unit: str) -> float:
    """The unit in pascals, 0 if it is not known as a pressure."""
    plain = _plain(unit) if unit == "mPa" else IN_ANY_CASE.get(unit.lower(), _plain(unit))
    for name, size in PASCALS.items():
        if plain.endswith(name) and plain[: -len(name)] in PREFIXES:
            return PREFIXES[plain[: -len(name)]] * size
    return 0.0
