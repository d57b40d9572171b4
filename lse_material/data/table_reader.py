"""Tables of text as programs and people write them: separator, decimal mark, header, units and comments are found.

A table is lines of cells. Its rows are the lines that have a number in a cell. The line before them is the header, or a line of
units below the header. Lines before the header are left alone. A line that begins with #, %, ! or // is a comment, and so is
what follows a # after a blank. If there is no header line, the last comment with as many words as columns is one. Tecplot's
names are its header. A header that comes once more, as in files that were put together, is left out.
"""

import csv
import gzip
import re
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lse_material._arrays import Array, expect_shape, float_array
from lse_material.data.table_numbers import decimal_mark, is_missing, is_number, is_value, numbers
from lse_material.errors import FormatError, InvalidInputError

SEPARATORS = {"\t": "tabs", ";": "semicolons", "|": "bars", ",": "commas", " ": "blanks"}
LOOKED_AT = 500  # lines that decide on the separator
MOSTLY_WORDS = 0.5  # share of cells that are no numbers; above it the separator is not the right one
SUMMARIES = frozenset({"mean", "average", "avg", "median", "std", "stdev", "sd", "min", "max", "sum", "total", "count"})
SUMMARIES |= {"minimum", "maximum", "std dev", "standard deviation", "mittelwert", "standardabweichung", "moyenne"}
NO_LABEL = ("", "nan", "<na>", "n/a", "#n/a", "null", "nat")  # of a group
_HASH = r"#(?!N/A|VALUE!|DIV/0!|NUM!)"  # those are missing values of spreadsheets
_COMMENT = re.compile(rf"[\s\ufeff]*(?:{_HASH}|%|!|//)[#%!/\s]*(.*)", re.IGNORECASE)
_RULE = re.compile(r"[\s|+:]*--[-\s|+:]*[|+][-\s|+:]*|\s*(?:-{8,}|={8,})\s*")  # of a table of Markdown, or all across
_INLINE = re.compile(rf"\s{_HASH}", re.IGNORECASE)
_UNIT_PART = r"(?:[kMGmuµn]?(?:Pa|N|J|m|g|s|K|bar|psi|eV)|lbf?|in|min|h|°C)(?:\^?-?[23]|[²³])?"
_UNIT = re.compile(rf"[\[(]?(?:-|1|%|percent|{_UNIT_PART}(?:[·*./ ]{_UNIT_PART})*)?[\])]?")  # in a line of units

Record = tuple[int, list[str]]  # line, counted from 1, and its cells
Missing = str | Sequence[str] | None  # texts that mark a missing value


@dataclass(frozen=True, eq=False)
class Table:
    """Columns with names, of cells or of values."""

    source: str  # the file, for messages
    names: tuple[str, ...]  # of the columns as they stand in the header; empty texts if there is none
    columns: Sequence[Any]  # lists of cells (text), or arrays of values, one for each name
    lines: Sequence[int]  # the line of each row in the file, or the number of the row (from 0) where there are no lines
    dialect: str = ""  # how the table was read, in words
    decimal: str = "."  # the decimal mark of the cells
    missing: tuple[str, ...] | None = None  # further texts that mark a missing value; None if the user has not said any
    units: tuple[str, ...] = ()  # of each column, from a line of units below the header; empty if there is none
    comments: tuple[str, ...] = ()  # the comments of the file, without their marks

    def numbers(self, column: int) -> Array:
        """The values of a column (n,), NaN where they are missing.

        Raises FormatError: naming the cell that is no number; InvalidInputError: an array is none of numbers, or has
        another length.
        """
        cells = self.columns[column]
        if isinstance(cells, list):
            return numbers(cells, self.decimal, self.missing or (), self.source, self.lines, self.names[column])
        try:
            values = float_array(self.names[column], cells, 1, finite=False)
            expect_shape(self.names[column], values, (len(self.lines),))
        except InvalidInputError as error:
            raise InvalidInputError(f"{self.source}: {error}") from None
        if np.isinf(values).any():
            row = int(np.argmax(np.isinf(values)))
            raise InvalidInputError(f"{self.source}: {self.names[column]} in row {row} is infinite; missing is NaN.")
        return values

    def labels(self, column: int) -> list[str] | list[int]:
        """The entries of a column as labels: whole numbers if all of them are, texts otherwise.

        Raises FormatError: an entry is empty.
        """
        cells = self.columns[column]
        texts = [(cell.decode(errors="replace") if isinstance(cell, bytes) else str(cell)).strip() for cell in cells]
        if empty := [row for row, text in enumerate(texts) if text.lower() in NO_LABEL]:
            raise FormatError(
                f"{self.at_row(empty[0])}, column {self.names[column]}: the label of the group is empty. One that stands in "
                "its first row alone, as in merged cells, must be filled down."
            )
        for ending in ("", ".0"):  # a whole number, or one that a program has written as a float
            if all(re.fullmatch(r"0|-?[1-9]\d{0,17}", text.removesuffix(ending)) for text in texts):
                return [int(text.removesuffix(ending)) for text in texts]
        return texts

    def expect_whole(self, what: str, values: Array) -> None:
        """Raise FormatError if a value (n, ...) is missing: NaN."""
        missing = np.isnan(values).reshape(len(values), -1).any(axis=1)
        if missing.any():
            raise FormatError(f"{self.at_row(int(np.argmax(missing)))}: {what} is missing, and every row needs it.")

    def at_row(self, row: int) -> str:
        """Where a row (from 0) stands, for messages."""
        return f"{self.source}, {'line' if self.dialect else 'row'} {self.lines[row]}"


def table_of_text(
    content: bytes,
    source: str,
    *,
    separator: str | None = None,
    decimal: str | None = None,
    missing: Missing = None,
) -> Table:
    """Find the dialect of a text and split it into columns. Other arguments and errors are those of `read_samples`."""
    for name, value, allowed in (("separator", separator, SEPARATORS), ("decimal", decimal, (".", ","))):
        if value is not None and value not in allowed:
            raise InvalidInputError(f"{name} is {value!r}; it must be one of {list(allowed)}.")
    text = _decoded(content, source)
    if not text.strip():
        raise FormatError(f"{source} is empty: it holds no header line.")
    lines, comments = _without_comments(re.split(r"\r\n|\n|\r", text))
    lines = _thermo_of_lammps(_without_keywords_of_tecplot(lines, source))
    if match := next((m for m in map(re.compile(r"sep=(.)$").match, lines[:1]) if m), None):  # as Excel writes it
        lines[0], separator = "", separator or match[1]
    separator = separator or _separator(lines, source)
    records = _records(lines, separator, source)
    header, units, rows = _parts(records, lines, comments, source)
    cells = [cell for _, row in rows for cell in row]
    columns = [list(column) for column in zip(*(row for _, row in rows))]
    decimal = decimal or decimal_mark(cells, source)
    found = [
        f"columns between {SEPARATORS.get(separator, repr(separator))}",
        f"decimal {'point' if decimal == '.' else 'comma'}",
        f"header in line {header[0]}" if header[0] else "header in a comment" if any(header[1]) else "no header",
        f"{len(rows)} rows from line {rows[0][0]}",
    ]
    return Table(
        source=source,
        names=tuple(header[1]),
        columns=columns,
        lines=[line for line, _ in rows],
        dialect=", ".join(found),
        decimal=decimal,
        missing=(missing,) if isinstance(missing, str) else None if missing is None else tuple(missing),
        units=tuple("" if unit.startswith("@") else unit.strip("[]() ") for unit in units),  # @Loc 1 of Abaqus
        comments=tuple(text for _, text in comments),
    )


def _decoded(content: bytes, source: str) -> str:
    """Text of UTF-8, UTF-16, UTF-32 with its mark or the code page of Western Windows; it may be compressed by gzip."""
    content = unzipped(content, source)
    first, second = (content[k : 2 * LOOKED_AT : 2].count(0) for k in (0, 1))
    if content[:4] in (b"\xff\xfe\0\0", b"\0\0\xfe\xff"):
        encodings: tuple[str, ...] = ("utf-32",)
    elif content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encodings = ("utf-16",)
    elif abs(first - second) > 0.4 * len(content[: 2 * LOOKED_AT]):  # every other byte is 0: UTF-16 without its mark
        encodings = ("utf-16-be",) if first > second else ("utf-16-le",)
    else:
        encodings = ("utf-8-sig", "cp1252")
    for encoding in encodings:
        try:
            text = content.decode(encoding).rstrip("\x00\x1a")  # what some programs fill a file up with
        except UnicodeDecodeError:
            continue
        if not re.search(r"[\x00-\x08\x0e-\x1b\x7f\ufffe\uffff]", text):
            return text
    archive = " A zip archive: a spreadsheet ends in .xlsx or .ods; unpack others." if content[:2] == b"PK" else ""
    raise FormatError(
        f"{source} is not a text file. Samples are read from tables of text, .npz archives and spreadsheets.{archive}"
    )


def unzipped(content: bytes, source: str) -> bytes:
    """The content of a file without the compression by gzip, if it has one.

    Raises FormatError: it is cut off or damaged.
    """
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise FormatError(f"{source} is not a whole gzip file: {error}.") from None


def _without_comments(lines: list[str]) -> tuple[list[str], list[tuple[int, str]]]:
    """The lines with comments blanked out, and the comments with their lines."""
    kept, comments = [], []
    for number, line in enumerate(lines, start=1):
        if _RULE.fullmatch(line):
            line = ""
        if (match := _COMMENT.match(line)) and not _are_units_after_percent(line):
            comments.append((number, match[1].strip()))
            kept.append("")
            continue
        ends = (m.start() for m in _INLINE.finditer(line) if line.count('"', 0, m.start()) % 2 == 0)
        kept.append(line[: next(ends, len(line))])
    return kept, comments


def _are_units_after_percent(line: str) -> bool:
    """Whether a line that begins with % is one of units, of a strain in percent first, and no comment."""
    return any(len(cells := line.split(s)) > 1 and all(map(_is_unit, cells)) for s in ",;\t|")


def _without_keywords_of_tecplot(lines: list[str], source: str) -> list[str]:
    """The lines with the names that follow VARIABLES as a header, and without the keywords of title and zones.

    Raises FormatError: the zones hold one variable after the other.
    """
    at = next((k for k, line in enumerate(lines) if re.match(r"\s*VARIABLES\s*=", line, re.IGNORECASE)), None)
    if at is None:
        return lines
    end = next((k for k in range(at + 1, len(lines)) if not lines[k].strip().startswith('"')), len(lines))
    names = " ".join(lines[at:end]).split("=", 1)[1]
    quoted = re.findall('"([^"]*)"', names)
    kept = list(lines)
    for k, line in enumerate(lines):
        if re.search(r"\b(?:F|DATAPACKING)\s*=\s*\w*BLOCK", line, re.IGNORECASE):
            raise FormatError(f"{source}, line {k + 1}: zones in blocks are not read: write points, one a row.")
        if at <= k < end or "=" in line or line.strip().upper().startswith("ZONE"):
            kept[k] = ""
    kept[at] = ",".join(f'"{name}"' for name in quoted) if quoted else names.strip()
    return kept


def _thermo_of_lammps(lines: list[str]) -> list[str]:
    """The lines of a log of LAMMPS that print thermodynamic quantities, others blanked out; other files as they are.

    Each run prints its first state, which is the last of the run before.
    """
    if not any(re.match(r"LAMMPS \(", line) for line in lines[:LOOKED_AT]):
        return lines
    kept, inside, steps = [""] * len(lines), False, set[str]()
    for k, line in enumerate(lines):
        cells = line.split()
        if cells[:1] == ["Step"]:
            inside = True
        elif line.startswith(("Loop time", "ERROR", "WARNING")):
            inside = inside and line.startswith("WARNING")
            continue
        if inside and (cells[:1] == ["Step"] or (all(map(is_number, cells)) and cells[0] not in steps)):
            kept[k] = line
            steps.update(cells[:1])
    return kept


def _records(lines: Sequence[str], separator: str, source: str) -> list[Record]:
    """Cells of every line that has any, without blanks around them."""
    if separator == " ":
        lines = [" ".join(line.split()) for line in lines]
    reader = csv.reader([f"{line}\n" for line in lines], delimiter=separator, skipinitialspace=separator != "\t")
    records: list[Record] = []
    start = 0
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cell[:1] == "'" for cell in cells):
                cells = [cell[1:-1] if len(cell) > 1 and cell[0] == cell[-1] == "'" else cell for cell in cells]
            if any(cells):
                records.append((start + 1, cells))
            start = reader.line_num
    except csv.Error as error:
        raise FormatError(f"{source}, line {start + 1}: {error}.") from None
    size = max((len(cells) for _, cells in records), default=0)
    if all(cells[-1] == "" for _, cells in records if len(cells) == size):  # a separator at the end of each line
        records = [(line, cells[:-1] if len(cells) == size else cells) for line, cells in records]
    return records


def _separator(lines: Sequence[str], source: str) -> str:
    """The separator under which the most lines have equally many cells that are numbers; blanks come last."""
    scores = {}
    for order, separator in enumerate(SEPARATORS):
        records = _records(lines[:LOOKED_AT], separator, source)
        size, start = _size_and_start(records)
        if size < 2:
            continue
        rows = [cells for _, cells in records[start:]]
        odd = sum(len(cells) != size for cells in rows)
        odd += start > 0 and len(records[start - 1][1]) != size
        other = [cell for cells in rows for cell in cells if not is_number(cell) and not is_missing(cell)]
        in_parts = [cell.split() for cell in other]
        odd += sum(len(parts) > 1 and all(map(is_number, parts)) for parts in in_parts)  # several cells in one
        words = len(other) / max(sum(map(len, rows)), 1)
        scores[not rows, odd / len(records), words > MOSTLY_WORDS, separator == " ", words, order] = separator
    if not scores:
        found = "header line" if not any(lines) else "line with two cells or more"
        raise FormatError(f"{source} holds no {found}. Cells stand between commas, semicolons, tabs, bars or blanks.")
    return scores[min(scores)]


def _size_and_start(records: Sequence[Record]) -> tuple[int, int]:
    """The number of cells of most lines with numbers, those below a header if there is one, and the first of these lines.

    Their end if no line has a number.
    """
    numeric = [k for k, (_, cells) in enumerate(records) if any(map(is_value, cells))]
    sizes = Counter(len(records[k][1]) for k in numeric) or Counter(len(cells) for _, cells in records)
    if not sizes:
        return 0, 0
    starts = {len(records[k][1]): k for k in reversed(numeric)}
    below_header = [
        len(records[k][1])
        for k in numeric
        if k > 0 and len(records[k - 1][1]) == len(records[k][1]) and not any(map(is_value, records[k - 1][1]))
    ]
    size = max(below_header or sizes, key=lambda size: sizes[size])
    return size, starts.get(size, len(records))


def _parts(
    records: list[Record], lines: Sequence[str], comments: Sequence[tuple[int, str]], source: str
) -> tuple[Record, list[str], list[Record]]:
    """Header (line 0 if it is none), units of the columns, and rows."""
    size, start = _size_and_start(records)
    if not records or start == len(records):
        raise FormatError(f"{source} holds {'no rows below its header' if records else 'no header line'}.")
    above = [cells for _, cells in records[:start] if len(cells) == size]
    rows = [row for row in records[start:] if row[1] not in above]
    units: list[str] = []
    line, names = -1, [""] * size
    for at in range(start - 1, max(start - 4, -1), -1):  # names, units and remarks
        found = _names(lines[records[at][0] - 1], records[at][1], size)
        if found is None and len(records[at][1]) == size - 1 and _are_row_names([cells[0] for _, cells in rows]):
            found = ["", *records[at][1]]
        if found is None or any(map(is_value, found)) or (line > 0 and not _are_units(names)):
            break
        units = names if line > 0 and not (units and all(map(_is_unit, units))) else units
        line, names = records[at][0], found
    if line < 0:
        line, names = next(((0, n) for _, text in reversed(comments) if (n := _names(text, [], size))), (line, names))
    if line < 0 and start > 0 and not any(map(is_value, records[start - 1][1])):
        line, cells = records[start - 1]
        raise FormatError(f"{source}, line {line}: a header of {len(cells)} names; the lines below have {size} cells.")
    first = [cell.removesuffix(".0") for cell in rows[0][1]]
    if line < 0 and len(rows) > 1 and first in ([str(k) for k in range(size)], [str(k + 1) for k in range(size)]):
        rows = rows[1:]  # columns that a program has numbered: no names
    if len(rows) > 1 and not units and _are_units_with_numbers(rows):
        units, rows = rows[0][1], rows[1:]
    if (joined := _names_of_two_levels(names, rows[0][1])) and len(rows) > 1:
        names, rows = joined, rows[1:]
        if len(rows) > 1 and all(bool(cell) != bool(name) for cell, name in zip(rows[0][1], names)):
            names = [name or cell for cell, name in zip(rows[0][1], names)]  # of the index, a line below
            rows = rows[1:]
    _expect_no_summary(rows, source)
    for at, cells in rows:
        if len(cells) != size:
            which = "but the header names" if any(names) else "where the others have"
            raise FormatError(f"{source}, line {at}: {len(cells)} cells, {which} {size} columns.")
    for at, cells in records[:start]:
        if at != line and len(cells) != size and all(is_number(cell) or is_missing(cell) for cell in cells):
            raise FormatError(f"{source}, line {at}: {len(cells)} cells, where the others have {size}.")
    return (max(line, 0), names), units, rows


def _names(line: str, cells: list[str], size: int) -> list[str] | None:
    """The names in a header line, which may have another separator than the rows; None if it has not `size` of them."""
    line = line.strip()
    ways = [cells, *(next(csv.reader([line], delimiter=s, skipinitialspace=True), []) for s in SEPARATORS if s != " ")]
    ways.append(re.split(r"\s+(?![\[(/])", line))  # blanks, but not before a unit
    ways.append(re.split(r"\s{2,}", line))  # names that have single blanks
    ways.append(re.split(r",(?![^(\[]*[)\]])", line))  # commas, but not in F(1,2)
    for way in ways:
        names = [name.strip().strip("\"'").strip() for name in way]
        if len(names) == size + 1 and names[-1] == "":
            names = names[:-1]
        if len(names) == size:
            return names
    return None


def _names_of_two_levels(names: Sequence[str], cells: Sequence[str]) -> list[str] | None:
    """Names F, F, ... above indices 11, 12, ... joined, as pandas writes them; None if the cells are no indices."""
    below = [cell for name, cell in zip(names, cells) if name and names.count(name) > 1]
    if not below or len(cells) != len(names) or not all(re.fullmatch("[0-3xyz]{2}", cell) for cell in below):
        return None
    joined = [f"{name} {cell}" if name and names.count(name) > 1 else name for name, cell in zip(names, cells)]
    return joined if len(set(filter(None, joined))) == len(list(filter(None, joined))) else None


def _expect_no_summary(rows: Sequence[Record], source: str) -> None:
    """Raise FormatError if one of the last rows is named as the mean, the largest value and so on of those above."""
    for line, cells in rows[-len(SUMMARIES) :]:
        word = next((cell for cell in cells if cell.lower().strip(" :.") in SUMMARIES), None)
        if word is not None and sum(word in other for _, other in rows) == 1:
            raise FormatError(
                f"{source}, line {line}: {word!r} names a summary of the rows above. Remove or rename it."
            )


def _are_row_names(cells: Sequence[str]) -> bool:
    """Whether cells count the rows: R writes them without a name in the header."""
    return any(list(cells) == [str(k + first) for k in range(len(cells))] for first in (0, 1))


def _are_units(names: Sequence[str]) -> bool:
    """Whether a line below a header looks like one of units: known ones, or short, with repeated entries or in brackets."""
    return all(name == "" or _is_unit(name) for name in names) or (
        all(len(name) <= 12 for name in names)
        and (len(set(names)) < len(names) or all(name[:1] in "[(" for name in names if name not in ("", "-")))
    )


def _are_units_with_numbers(rows: Sequence[Record]) -> bool:
    """Whether the first row is one of units, where 1 stands for none: the words in it stand above numbers alone."""
    words = [k for k, cell in enumerate(rows[0][1]) if cell and not is_number(cell) and not is_missing(cell)]
    below = (cells[k] for _, cells in rows[1:] for k in words if k < len(cells))
    return bool(words) and all(map(_is_unit, rows[0][1])) and all(is_number(c) or is_missing(c) for c in below)


def _is_unit(cell: str) -> bool:
    return bool(_UNIT.fullmatch(cell.strip().strip("\"'")))
