"""Docstrings are written for people at a terminal; here they are made safe for reStructuredText."""

from __future__ import annotations

import re

SECTIONS = ("Args:", "Attributes:", "Raises:", "Returns:", "Warns:", "Yields:", "Example:")


def readable(app: object, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Indented formulas become literal blocks, and signs that mean something to docutils are escaped."""
    result: list[str] = []
    literal = section = False
    for i, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        before = lines[i - 1] if i else ""
        if line.strip() and indent == 0:
            literal = False
            section = line.strip() in SECTIONS
        elif line.strip() and indent >= 4 and not before.strip() and not section and not literal:
            literal = True
            if not (result and last_text(result).rstrip().endswith("::")):
                result += ["::", ""]
        result.append(line if literal else escaped(line))
        if line.rstrip().endswith("::") and not section:
            literal = True
    lines[:] = result


def last_text(lines: list[str]) -> str:
    """The last line that is not empty."""
    return next((line for line in reversed(lines) if line.strip()), "")


def escaped(line: str) -> str:
    """The same outside of backticks with |, * and trailing _ escaped."""
    parts = re.split(r"(``.*?``|`[^`]*`)", line)
    for k in range(0, len(parts), 2):
        parts[k] = re.sub(r"([|*\\])", r"\\\1", parts[k])
        parts[k] = re.sub(r"_(?=\W|$)", r"\\_", parts[k])
    return "".join(parts)
