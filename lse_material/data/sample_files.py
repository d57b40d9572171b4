"""Samples from files and to files: .npz archives, tables of text, JSON, spreadsheets.

The names of the columns of a table say what they are (`column_names`), or the user does. The arrays of an archive have the same
names, `F` (n, dim, dim) or F11 (n,), or those of `Samples`. A `Reading` says what was taken for what.
"""

import csv
import io
import json
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lse_material._arrays import Array, entries, float_array
from lse_material._files import file_path, npz, write_atomically
from lse_material.data.assigned_columns import Columns
from lse_material.data.column_names import DEFORMATIONS, FIELDS, STRESSES, component_names, meanings, name_and_unit
from lse_material.data.foreign_files import remedy
from lse_material.data.samples import ARRAYS, Samples
from lse_material.data.table_numbers import decimal_mark, is_value, to_number
from lse_material.data.table_reader import Missing, Table, table_of_text, unzipped
from lse_material.data.table_samples import Reading, samples_of_table
from lse_material.errors import FormatError, InvalidInputError

SPREADSHEETS = (".xlsx", ".xls", ".ods")
ENGINES = {".ods": "odfpy", ".xls": "xlrd", ".parquet": "pyarrow", ".feather": "pyarrow"}  # of pandas, not in our extra
DATA_FRAMES = {".parquet": "read_parquet", ".feather": "read_feather"}  # readers of pandas, by the ending of the name
# NumPy lets through what zipfile, zlib and tokenize say about damaged bytes, and believes a header that tells of terabytes
DAMAGED: tuple[type[Exception], ...] = (
    OSError,
    ValueError,
    TypeError,
    EOFError,
    RuntimeError,
    SystemError,
    MemoryError,
)
DAMAGED += (zipfile.BadZipFile, zlib.error, tokenize.TokenError)
MASKS = {"energy_mask": "energy", "stress_mask": "stress", "stress_known": "stress"}  # True where a value is known


def read_samples(
    path: str | Path | Sequence[str | Path],
    *,
    columns: Columns = None,
    separator: str | None = None,
    decimal: str | None = None,
    missing: str | Sequence[str] | None = None,
    sheet: str | Sequence[str] | None = None,
    plane_strain: bool = False,
    fields: str | Sequence[str] = (),
    report: Callable[[Reading], Any] | None = None,
) -> Samples:
    """Read samples from a table of text, a .npz archive, JSON or a spreadsheet; from several files, each a group of its own.

    Args:
        path: a file, or several. Text may be compressed by gzip; JSON (.json, .jsonl) has columns or rows by name. Spreadsheets
            (.xlsx, .ods, .parquet, .feather) need pandas.
        columns: what names do not tell: quantity -> name of its column, {"F11": "defgrad_1", "sigma12": "S4"}, or a number for
            every row, {"F12": 0}; or the names of all columns in their order, for a table without a header.
        separator: between cells, if it is not to be found: comma, semicolon, bar, tab or blank.
        decimal: "." or ",", if it is not to be found.
        missing: texts that mark a missing value, beside the empty cell, NaN, NA, null, - and their like.
        sheet: of a spreadsheet, if several hold tables; or several, each a group of its own.
        plane_strain: take the 2D part of 3D columns, after a check that the deformation is plane.
        fields: names of the columns with scalars that W depends on beside the strain: ("T",), say.
        report: called with the `Reading` of each file: print, say.

    Raises:
        FormatError: the file is not such a table, or can be read in two ways; line and column are named.
        InvalidInputError: the values cannot be samples (a det F <= 0, say); the row is named.
        FileNotFoundError: there is no such file.

    >>> samples = lse.read_samples("cell.csv")
    >>> samples.F.shape, samples.stress.shape
    ((200, 2, 2), (200, 2, 2))
    """
    options: dict[str, Any] = {"columns": columns, "separator": separator, "decimal": decimal, "missing": missing}
    options |= {"plane_strain": plane_strain, "fields": fields, "report": report}
    if not isinstance(path, str | bytes | Path):
        paths = [file_path(each) for each in entries("path", path)]
        stems = [each.stem for each in paths]
        names = stems if len(set(stems)) == len(stems) else [str(each) for each in paths]
        return _joined([read_samples(each, sheet=sheet, **options) for each in paths], names)
    if not (sheet is None or isinstance(sheet, str)):
        return _joined([read_samples(path, sheet=each, **options) for each in sheet], list(sheet))
    table, columns = table_of_file(path, columns, separator=separator, decimal=decimal, missing=missing, sheet=sheet)
    fields = (fields,) if isinstance(fields, str) else fields
    named = {f"field {name}": name for name in fields if f"field {name}" not in table.names}
    if named and not (columns is None or isinstance(columns, Mapping)):
        raise InvalidInputError(f"columns names all columns: name those of {list(fields)} there, {', '.join(named)}.")
    columns = {**named, **(columns or {})} if named else columns  # type: ignore[dict-item]
    samples, reading = samples_of_table(table, columns, plane_strain=plane_strain)
    if report is not None:
        report(reading)
    return samples


def table_of_file(
    path: str | Path,
    columns: Columns = None,
    *,
    separator: str | None = None,
    decimal: str | None = None,
    missing: Missing = None,
    sheet: str | None = None,
) -> tuple[Table, Columns]:
    """The columns of a file, and what `columns` says of them by name. Arguments and errors are those of `read_samples`."""
    path = file_path(path)
    ending = path.with_suffix("").suffix.lower() if path.suffix.lower() == ".gz" else path.suffix.lower()
    content = path.read_bytes()
    if ending in SPREADSHEETS and content[:2] in (b"PK", b"\xd0\xcf"):  # instruments write text under these names too
        return _table_of_spreadsheet(path, decimal, missing, sheet), columns
    if sheet is not None:
        raise InvalidInputError(f"{path} is no spreadsheet: it has no sheet {sheet!r}.")
    if ending in (".npz", ".npy"):
        return _table_of_arrays(_arrays(content, str(path)), str(path), columns)
    if ending in (".json", ".jsonl"):
        return _table_of_arrays(_arrays_of_json(content, str(path)), str(path), columns)
    if ending in DATA_FRAMES:
        frame = _by_pandas(DATA_FRAMES[ending], path)
        return _table_of_arrays({str(name): frame[name].to_numpy() for name in frame}, str(path), None)[0], columns
    try:
        return table_of_text(content, str(path), separator=separator, decimal=decimal, missing=missing), columns
    except FormatError as error:
        if way := remedy(content, str(path)):
            raise FormatError(f"{error} {way}") from None
        raise


def write_samples(samples: Samples, path: str | Path) -> None:
    """Write samples to `path`, a .npz or .csv file that `read_samples` reads back; whole or not at all.

    >>> lse.write_samples(lse.Samples(x=[[0.0], [1.0]], energy=[0.0, 0.5]), "spring.csv")
    >>> np.loadtxt("spring.csv", delimiter=",", skiprows=1)
    array([[0. , 0. ],
           [1. , 0.5]])
    """
    path = file_path(path)
    if path.suffix == ".npz":
        arrays = {name: getattr(samples, name) for name in (*ARRAYS, "group") if getattr(samples, name) is not None}
        if samples.field_names:
            arrays["field_names"] = np.array(samples.field_names)
        write_atomically(path, npz({**arrays, "units": np.array(json.dumps(dict(samples.units)))}))
    elif path.suffix == ".csv":
        write_atomically(path, _to_csv(samples).encode())
    else:
        raise FormatError(f"{path}: samples are written to .npz or .csv files, by the ending of the name.")


def _joined(parts: Sequence[Samples], names: Sequence[str]) -> Samples:
    """The rows of several files or sheets; each is a group with its name, or has groups of its own within."""
    if not parts:
        raise InvalidInputError("there are no files to read samples from.")
    first = parts[0]
    for name, part in zip(names, parts):
        for what in ("dim", "field_names", "units"):
            if getattr(part, what) != getattr(first, what):
                raise FormatError(
                    f"{name} and {names[0]} differ in {what}: {getattr(part, what)} and {getattr(first, what)}."
                )
    data: dict[str, Any] = {}
    for name in (*ARRAYS, "energy_mask", "stress_known"):
        arrays = [getattr(part, name) for part in parts]
        shape = next((array.shape[1:] for array in arrays if array is not None), None)
        if shape is not None:
            fill: Any = 1.0 if name == "weight" else np.nan if name in ARRAYS else False
            data[name] = np.concatenate(
                [np.full((len(part), *shape), fill) if a is None else a for part, a in zip(parts, arrays)]
            )
    data["group"] = [
        name if part.group is None else f"{name}/{part.group[row]}"
        for name, part in zip(names, parts)
        for row in range(len(part))
    ]
    return Samples(**data, field_names=first.field_names, units=first.units)


def _by_pandas(reader: str, path: Path, **options: Any) -> Any:
    """What pandas reads. Raises FormatError: pandas, or what it needs, is not installed; or it cannot read the file."""
    try:
        import pandas
    except ImportError:
        raise FormatError(
            f"{path}: spreadsheets and data frames are read by pandas: pip install 'lse-material[data]'. Tables of text need "
            "numpy alone."
        ) from None
    try:
        return getattr(pandas, reader)(path, **options)
    except ImportError:  # of what it reads such files with
        package = ENGINES.get(path.suffix.lower(), "openpyxl")
        raise FormatError(f"{path}: pandas reads such files by {package}: pip install {package}.") from None
    except Exception as error:  # pandas passes on what its many engines raise
        raise FormatError(f"{path} cannot be read by pandas: {' '.join(str(error).split())}.") from None


def _table_of_spreadsheet(path: Path, decimal: str | None, missing: Missing, sheet: str | None) -> Table:
    """The table of a sheet, by default of the only one that has columns whose names mean something.

    Raises FormatError: there is no such sheet, several sheets hold tables, or what is wrong with the table.
    """
    frames = _by_pandas("read_excel", path, header=None, sheet_name=None, dtype=object)  # 2E12 is a name
    if sheet is not None and sheet not in frames:
        raise FormatError(f"{path} has no sheet {sheet!r}: its sheets are {list(frames)}.")
    tables: dict[str, Table] = {}
    errors: list[str] = []
    for name in frames if sheet is None else [sheet]:
        try:
            tables[name] = _table_of_sheet(path, name, frames[name], decimal, missing)
        except FormatError as error:
            errors.append(str(error))
    of_samples = [name for name, table in tables.items() if any(meanings(name_and_unit(n)[0]) for n in table.names)]
    if len(of_samples) > 1:
        raise FormatError(
            f"{path}: the sheets {of_samples} hold tables. Say sheet={of_samples[0]!r}, or sheet={of_samples} for the rows of "
            "all of them, each sheet a group."
        )
    if not tables:
        raise FormatError(" ".join(errors) or f"{path} has no sheets.")
    name = of_samples[0] if of_samples else next(iter(tables))
    others = [other for other in frames if other != name]
    table = tables[name]
    return replace(table, dialect=f"{table.dialect}; sheets left alone: {', '.join(others)}") if others else table


def _table_of_sheet(path: Path, name: str, frame: Any, decimal: str | None, missing: Missing) -> Table:
    """The cells as text, in which the table is found as in a file."""
    source = f"{path}, sheet {name}"
    texts = [cell for column in frame for cell in frame[column] if isinstance(cell, str) and is_value(cell.strip())]
    if (decimal or decimal_mark(texts, source)) == ",":  # numbers that were typed as text

        def with_point(cell: Any) -> Any:
            return repr(to_number(cell.strip(), ",")) if isinstance(cell, str) and is_value(cell.strip()) else cell

        try:
            frame = frame.apply(lambda column: column.map(with_point))
        except ValueError as error:
            raise FormatError(f"{source}: a cell {error}.") from None
    text = frame.to_csv(header=False, index=False, sep="\t")
    table = table_of_text(text.encode(), source, separator="\t", decimal=".", missing=missing)
    return replace(table, dialect=table.dialect.replace("columns between tabs, decimal point, ", ""))


def _arrays(content: bytes, source: str) -> dict[str, Any]:
    """The arrays of an archive."""
    try:
        archive = np.load(io.BytesIO(content), allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            if archive.dtype.names:
                return {name: archive[name] for name in archive.dtype.names}
            raise ValueError(
                "it holds a single array without a name. Write each with its name, numpy.savez(path, F=..., W=...)"
            )
        arrays = {name: archive[name] for name in archive.files}
        for name, array in arrays.items():
            if not isinstance(array, np.ndarray):
                raise ValueError(f"its member {name!r} is no array")
            if array.dtype.kind == "U":
                array.tolist()  # raises on characters that there are not
        return arrays
    except DAMAGED as error:
        raise FormatError(f"{source} is not a whole .npz archive of arrays: {error}. Pickles are not read.") from None


def _arrays_of_json(content: bytes, source: str) -> dict[str, Any]:
    """The columns of a file, lists by name, or of rows, each with its values by name: in a list, or one on each line."""
    text = unzipped(content, source).decode("utf-8-sig", errors="replace")
    try:
        try:
            data = json.loads(text)
        except ValueError:
            data = [json.loads(line) for line in text.splitlines() if line.strip()]
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{source} is not JSON: {error}.") from None
    if isinstance(data, dict):
        data = _rows_of_pandas(data)
    if isinstance(data, list) and all(isinstance(row, dict) for row in data):
        data = {name: [row.get(name) for row in data] for name in dict.fromkeys(name for row in data for name in row)}
    if not isinstance(data, dict):
        raise FormatError(f'{source} has neither columns, {{"F11": [...], ...}}, nor rows, [{{"F11": ..., ...}}, ...].')
    arrays: dict[str, Any] = {}
    for name, values in data.items():
        if name == "units":
            arrays[name] = json.dumps(values)
            continue
        try:
            array = np.asarray(list(values.values()) if isinstance(values, dict) else values)
        except ValueError:
            raise FormatError(f"{source}: the rows of {name} differ in their shapes.") from None
        try:
            arrays[name] = array.astype(np.float64) if array.dtype == object else array  # null is a missing value
        except (TypeError, ValueError):
            arrays[name] = array.astype(str)
    return arrays


def _rows_of_pandas(data: dict[str, Any]) -> Any:
    """What pandas writes by orient="split", "table" or "index" as rows, each a dict; other data as they are."""
    if {"columns", "data"} <= set(data) <= {"columns", "index", "data"}:
        return [dict(zip(data["columns"], row)) for row in data["data"]]
    if set(data) == {"schema", "data"}:
        return data["data"]
    if data and all(key.isdigit() and isinstance(row, dict) for key, row in data.items()):
        return list(data.values())
    return data


def _table_of_arrays(data: dict[str, Any], source: str, columns: Columns) -> tuple[Table, Columns]:
    """Arrays as columns: F (n, 2, 2) is F11, F12, F21, F22. `columns` may give the names of all components of one array."""
    data = dict(data)
    fields = [str(name) for name in np.atleast_1d(data.pop("field_names", np.zeros(0, str)))]
    comments = (f"units: {data.pop('units')}",) if "units" in data else ()
    for mask, name in MASKS.items():
        if mask in data:
            name = name if name in data or name == "energy" else "gradient"
            data[name] = _masked(data.get(name), np.asarray(data.pop(mask)), f"{source}: {mask}")
    chosen: dict[str, list[str]] = {}  # names of the components of an array
    if isinstance(columns, Mapping):
        for key, of in columns.items():
            parts = [] if key.startswith(FIELDS) else key.split()
            if key in (*DEFORMATIONS, *STRESSES) and isinstance(of, str) and np.ndim(data.get(of)) == 3:  # type: ignore[arg-type]
                parts = component_names(key, np.shape(data[of])[-1])
            if len(parts) > 1:
                chosen[of] = parts
        named = {name: name for parts in chosen.values() for name in parts}
        columns = {**{key: of for key, of in columns.items() if isinstance(of, list) or of not in chosen}, **named}
    names: list[str] = []
    arrays: list[Any] = []
    with_F = "F11" in data or any(m.quantity == "F" for name in data for m in meanings(f"{name}11"))
    rows = next((len(a) for name in ("F", "x", "energy", *data) if np.ndim(a := data.get(name)) > 0), 0)  # type: ignore[arg-type]
    if rows == 0:
        raise FormatError(f"{source} holds no rows.")
    for name, array in data.items():
        parts = chosen.get(name) or _column_names(name, np.asarray(array), fields, with_F, source)
        flat = np.reshape(array, (len(array), -1)) if np.ndim(array) > 0 and len(parts) > 1 else np.asarray(array)
        if len(parts) > 1 and flat.shape[1] != len(parts):
            raise FormatError(
                f"{source}: {name} has the shape {np.shape(array)}, which is not that of {len(parts)} columns: {parts}."
            )
        flat = flat.reshape(len(flat)) if flat.ndim == 2 and flat.shape[1] == 1 else flat
        names += parts
        arrays += list(flat.T) if len(parts) > 1 else [flat]
    return Table(source, tuple(names), arrays, range(rows), comments=comments), columns


def _column_names(name: str, array: npt.NDArray[Any], fields: Sequence[str], with_F: bool, source: str) -> list[str]:
    """Names of columns for the components of an array; its own name if it is one column, or none that is known.

    `stress` is that of `Samples`, P, beside deformation gradients, and may be any other beside strains.
    """
    name = {"stress": "P" if with_F else "stress", "gradient": "g", "energy": "W"}.get(name, name)
    size = int(np.prod(array.shape[1:]))
    name = "x" if name == "X" and array.ndim == 2 else name
    if name in ("fields", "conjugates"):
        return [f"{name[:-1]} {field}" for field in fields] if len(fields) == size else [name]
    if array.ndim == 2 and name in ("x", "g"):
        return [f"{name}{k + 1}" for k in range(size)]
    if array.ndim < 2 or size == 1 or not meanings(f"{name}11"):
        return [name]
    dim = {4: 2, 9: 3}.get(size, 0)
    by_rows, by_columns = component_names(name, dim), component_names(name, dim, transposed=True)
    if array.shape[1:] == (dim, dim):
        return by_rows
    if (
        dim
        and array.ndim == 2
        and np.array_equal(array, np.swapaxes(array.reshape(-1, dim, dim), 1, 2).reshape(array.shape))
    ):
        return by_rows  # symmetric: the same either way
    if array.ndim > 2 or size == 2:
        last = array.ndim == 3 and array.shape[:2] in ((2, 2), (3, 3))
        raise FormatError(
            f"{source}: {name} has the shape {array.shape}; it should be (n, 2, 2) or (n, 3, 3), one tensor in each of n rows"
            + (f": numpy.moveaxis({name}, -1, 0) is." if last else ".")
        )
    ways = [f'columns={{"{" ".join(way)}": "{name}"}}' for way in (by_rows, by_columns) if way]
    ways = ways or [f'columns={{"{name}11 {name}22 ...": "{name}"}} with the names of its components in their order']
    raise FormatError(
        f"{source}: {name} has the shape {array.shape}, and nothing tells the order of its components. Say {' or '.join(ways)}."
    )


def _masked(array: Any, known: npt.NDArray[Any], what: str) -> Array:
    """Values with NaN where a mask is False."""
    try:
        values = float_array("the values", np.zeros(0) if array is None else array, finite=False)
    except InvalidInputError as error:
        raise InvalidInputError(f"{what}: {error}") from None
    if known.dtype != np.bool_ or known.shape != values.shape[: known.ndim]:
        raise FormatError(f"{what} is {known.dtype} of shape {known.shape}, and does not fit values {values.shape}.")
    return np.where(known.reshape(*known.shape, *(1,) * (values.ndim - known.ndim)), values, np.nan)


def _to_csv(samples: Samples) -> str:
    """A table with the names that the reader knows, numbers to the last bit, and groups as text."""
    columns: list[str] = []
    values: list[Array] = []
    letters = {"F": "F", "x": "x", "energy": "W", "stress": "P", "gradient": "g", "weight": "weight"}
    for name in ARRAYS:
        array = getattr(samples, name)
        if array is None:
            continue
        flat = array.reshape(len(samples), -1)
        if name in ("F", "stress"):
            columns += component_names(letters[name], array.shape[-1])
        elif name in ("fields", "conjugates"):
            columns += [f"{name[:-1]} {field}" for field in samples.field_names]
        else:
            columns += [letters[name]] if array.ndim == 1 else [f"{letters[name]}{k + 1}" for k in range(flat.shape[1])]
        values.append(flat)
    rows = [["" if np.isnan(v) else repr(float(v)) for v in row] for row in np.hstack(values)]
    if samples.group is not None:
        columns.append("group")
        for row, label in zip(rows, samples.group.tolist()):
            row.append(str(label) if isinstance(label, int) else '"' + label.replace('"', '""') + '"')
    text = io.StringIO()
    if samples.units:
        text.write(f"# units: {json.dumps(dict(samples.units))}\n")
    csv.writer(text, lineterminator="\n").writerow(columns)
    text.writelines(",".join(row) + "\n" for row in rows)
    return text.getvalue()
