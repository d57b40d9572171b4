"""Samples from files and to files: .npz archives and .csv tables.

A .npz archive holds arrays named as the attributes of `Samples`, and `units` as a JSON text.

A .csv table has a header line. Its columns are F11, F12, ... (row-major, 2D or 3D) or x1, x2, ...; W or energy; and
P11, P12, ... or g1, g2, ... for stress or gradient; weight; `field NAME` and `conjugate NAME` for each further scalar that W of
F depends on and dW/d of it; in any order. An empty cell is a missing value; a stress is missing
as a whole. Lines that begin with '#' are comments; `# units: {"energy": "MPa"}` gives the units.
"""

from __future__ import annotations

import csv
import io
import json
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from lse_material._arrays import Array
from lse_material._files import write_atomically
from lse_material.data.samples import ARRAYS, Samples
from lse_material.errors import FormatError, InvalidInputError

FIELD, CONJUGATE = "field ", "conjugate "  # before the names of fields, in column names
EXACT = ("energy_mask", "stress_mask", "stress_known", "group")  # arrays of a .npz archive that are no numbers


def read_samples(path: str | Path) -> Samples:
    """Read samples from a .npz or .csv file.

    Raises:
        FormatError: the file is not such a table; the line (counted from 1, as editors do) and the column are named.
        InvalidInputError: the values cannot be samples (a det F <= 0, say); the row is named.
        FileNotFoundError: there is no such file.
    """
    path = Path(path)
    if path.suffix == ".npz":
        return _read_npz(path)
    if path.suffix == ".csv":
        return _read_csv(path)
    raise FormatError(f"{path}: samples are read from .npz or .csv files, by the ending of the name.")


def write_samples(samples: Samples, path: str | Path) -> None:
    """Write samples to a .npz or .csv file that `read_samples` reads back; whole or not at all."""
    path = Path(path)
    if path.suffix == ".npz":
        buffer = io.BytesIO()
        arrays = {name: getattr(samples, name) for name in (*ARRAYS, *EXACT) if getattr(samples, name) is not None}
        if samples.field_names:
            arrays["field_names"] = np.array(samples.field_names)
        np.savez_compressed(buffer, units=np.array(json.dumps(dict(samples.units))), **arrays)
        write_atomically(path, buffer.getvalue())
    elif path.suffix == ".csv":
        write_atomically(path, _to_csv(samples).encode())
    else:
        raise FormatError(f"{path}: samples are written to .npz or .csv files, by the ending of the name.")


def _read_npz(path: Path) -> Samples:
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ValueError("it holds a single array without a name; write it with numpy.savez")
            data: dict[str, Any] = {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise
    # NumPy lets through what zipfile, zlib and tokenize say about damaged bytes, and believes a header that tells of terabytes
    except (
        OSError,
        ValueError,
        TypeError,
        EOFError,
        RuntimeError,
        MemoryError,
        zipfile.BadZipFile,
        zlib.error,
        tokenize.TokenError,
    ) as error:
        raise FormatError(
            f"{path} is not a whole .npz archive of plain arrays: {error}. Pickles are not read."
        ) from None
    names = [*ARRAYS, *EXACT, "field_names", "units"]
    unknown = set(data) - set(names)
    if unknown:
        raise FormatError(f"{path} holds {sorted(unknown)}; samples are named {names}.")
    if "field_names" in data:
        data["field_names"] = tuple(str(name) for name in np.atleast_1d(data["field_names"]))
    if "units" in data:
        data["units"] = _units(path, str(data["units"]))
    try:
        return Samples(**data)
    except InvalidInputError as error:
        raise InvalidInputError(f"{path}: {error}") from None


def _read_csv(path: Path) -> Samples:
    units: dict[str, str] = {}
    header: list[str] | None = None
    rows: list[list[float]] = []
    lines: list[int] = []
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(f"{path} is not a text file: {error}.") from None
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("#"):
            if line[1:].strip().startswith("units:"):
                units = _units(path, line.split(":", 1)[1])
            continue
        try:
            cells = [cell.strip() for cell in next(csv.reader([line]), [])]
        except csv.Error as error:
            raise FormatError(f"{path}, line {number}: {error}.") from None
        if not any(cells):
            continue
        if header is None:
            header = cells
            _check_header(path, number, header)
            continue
        if len(cells) != len(header):
            raise FormatError(f"{path}, line {number}: {len(cells)} cells, but the header names {len(header)} columns.")
        rows.append([_number(path, number, name, cell) for name, cell in zip(header, cells)])
        lines.append(number)
    if header is None or not rows:
        raise FormatError(f"{path} holds {'no header line' if header is None else 'no rows below its header'}.")
    table = dict(zip(header, np.array(rows).T))
    return _samples_from_table(path, table, lines, units)


def _samples_from_table(path: Path, table: dict[str, Array], lines: list[int], units: dict[str, str]) -> Samples:
    data: dict[str, Any] = {"units": units}
    for field, letter, mask in (
        ("F", "F", None),
        ("stress", "P", "stress_mask"),
        ("x", "x", None),
        ("gradient", "g", "stress_mask"),
        ("fields", FIELD, None),
        ("conjugates", CONJUGATE, "stress_mask"),
    ):
        columns = _columns(letter, table)
        if not columns:
            continue
        values = np.stack([table[name] for name in columns], axis=1)
        missing = np.isnan(values)
        partial = missing.any(axis=1) & ~missing.all(axis=1) if mask else missing.any(axis=1)
        if partial.any():
            row = int(np.argmax(partial))
            name = columns[int(np.argmax(missing[row]))]
            advice = "a stress is given or missing as a whole" if mask else "every row needs it"
            raise FormatError(f"{path}, line {lines[row]}: column {name} is empty, and {advice}.")
        if mask:
            data[mask] = ~missing.any(axis=1)
        dim = int(np.sqrt(len(columns)))
        data[field] = values.reshape(-1, dim, dim) if letter in "FP" else values
    data["field_names"] = tuple(name.removeprefix(FIELD) for name in _columns(FIELD, table))
    if "weight" in table:
        data["weight"] = table["weight"]
    for name in ("W", "energy"):
        if name in table:
            data["energy"], data["energy_mask"] = table[name], ~np.isnan(table[name])
    try:
        return Samples(**data)
    except InvalidInputError as error:
        raise InvalidInputError(f"{path}: {error} (Row 0 stands on line {lines[0]}.)") from None


def _columns(letter: str, table: dict[str, Any]) -> list[str]:
    """The table's columns of one quantity, in row-major order."""
    if letter in "FP":
        for dim in (3, 2):
            names = [f"{letter}{i}{j}" for i in range(1, dim + 1) for j in range(1, dim + 1)]
            if all(name in table for name in names):
                return names
        return []
    if letter in (FIELD, CONJUGATE):
        fields = [name.removeprefix(FIELD) for name in table if name.startswith(FIELD)]
        names = [letter + name for name in fields]
        return names if all(name in table for name in names) else []
    names = []
    while f"{letter}{len(names) + 1}" in table:
        names.append(f"{letter}{len(names) + 1}")
    return names


def _check_header(path: Path, number: int, header: list[str]) -> None:
    if len(set(header)) != len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise FormatError(f"{path}, line {number}: the column {twice!r} appears twice.")
    table = dict.fromkeys(header)
    used = {name for letter in (*"FPxg", FIELD, CONJUGATE) for name in _columns(letter, table)} | {
        "W",
        "energy",
        "weight",
    } & set(header)
    unused = [name for name in header if name not in used]
    if unused or {"W", "energy"} <= used:
        raise FormatError(
            f"{path}, line {number}: columns {unused or ['W', 'energy']} do not fit together or are not known. A table "
            "has F11, F12, F21, F22 (or the nine of 3D) or x1, x2, ...; W; P11, ... or g1, ...; weight; field NAME and "
            "conjugate NAME; with a header line."
        )


def _number(path: Path, line: int, column: str, cell: str) -> float:
    if cell == "":
        return float("nan")
    try:
        value = float(cell)
    except ValueError:
        raise FormatError(f"{path}, line {line}, column {column}: {cell!r} is not a number.") from None
    if not np.isfinite(value):
        raise FormatError(
            f"{path}, line {line}, column {column}: {cell!r} is not finite; leave the cell empty if it is missing."
        )
    return value


def _units(path: Path, text: str) -> dict[str, str]:
    try:
        units = json.loads(text)
    except (ValueError, RecursionError) as error:  # also a number of 5,000 digits
        raise FormatError(f"{path}: units are not JSON: {error}.") from None
    if not isinstance(units, dict) or not all(isinstance(value, str) for value in units.values()):
        raise FormatError(f'{path}: units must map names to texts, as {{"energy": "MPa"}}; they are {text.strip()}.')
    return units


def _to_csv(samples: Samples) -> str:
    columns: list[str] = []
    values: list[Array] = []
    for field, letter in (
        ("F", "F"),
        ("x", "x"),
        ("energy", "W"),
        ("stress", "P"),
        ("gradient", "g"),
        ("weight", "weight"),
        ("fields", FIELD),
        ("conjugates", CONJUGATE),
    ):
        array = getattr(samples, field)
        if array is None:
            continue
        flat = array.reshape(len(samples), -1)
        dim = samples.dim
        if letter in "FP" and dim is not None:
            columns += [f"{letter}{i}{j}" for i in range(1, dim + 1) for j in range(1, dim + 1)]
        elif letter in (FIELD, CONJUGATE):
            columns += [letter + name for name in samples.field_names]
        else:
            columns += [letter] if letter in ("W", "weight") else [f"{letter}{i + 1}" for i in range(flat.shape[1])]
        values.append(flat)
    lines = [f"# units: {json.dumps(dict(samples.units))}"] if samples.units else []
    lines.append(",".join(columns))
    for row in np.hstack(values):
        lines.append(",".join("" if np.isnan(v) else repr(float(v)) for v in row))
    return "\n".join(lines) + "\n"
