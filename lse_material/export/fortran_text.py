"""Fortran in fixed and in free form alike: statements in columns 7 to 72, `&` in column 73 and in column 6 of the next line."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lse_material.export.recorder import Language

_WIDTH = 72  # the last column of a statement
_AT_A_TIME = 32  # numbers in one DATA statement, which old compilers allow 19 continued lines


def fortran_number(value: float) -> str:
    """The shortest text that reads back to the same double."""
    text = repr(float(value))
    return text.replace("e", "d") if "e" in text else text + "d0"


FORTRAN = Language(fortran_number, lambda name: name, "{} ** {}", "t({})")


def laid_out(text: str) -> str:
    """Statements in columns 7 to 72, long ones continued where they have a space; lines that begin with `!` as they are."""
    lines: list[str] = []
    for line in text.splitlines():
        lines += [line] if line.startswith("!") or not line.strip() else _in_columns(line)
    return "\n".join(lines) + "\n"


def _in_columns(statement: str) -> Iterator[str]:
    line = " " * 6 + statement
    while len(line) > _WIDTH:
        cut = line.rfind(" ", 12, _WIDTH + 1)
        yield line[:cut].ljust(_WIDTH) + "&"
        line = " " * 5 + "&    " + line[cut + 1 :]
    yield line


def comment(lines: Sequence[str]) -> str:
    """Lines as comments."""
    return "".join(f"! {line}\n" for line in lines)


def data(name: str, values: Any) -> str:
    """A table of doubles, declared and filled; the implied loops need an integer `i`."""
    flat = np.ravel(values) if np.size(values) else np.zeros(1)
    statements = [f"double precision {name}({len(flat)})"]
    for start in range(0, len(flat), _AT_A_TIME):
        part = flat[start : start + _AT_A_TIME]
        listed = ", ".join(fortran_number(value) for value in part)
        statements.append(f"data ({name}(i), i = {start + 1}, {start + len(part)}) / {listed} /")
    return "\n".join(statements)


def integers(name: str, values: Sequence[int], first: int = 1) -> str:
    """The same for a table of integers, whose index begins at `first`."""
    bounds = f"{first}:{first + len(values) - 1}"
    return f"integer {name}({bounds})\ndata {name} / {', '.join(str(value) for value in values)} /"
