"""Writing C: lines with indentation, and scalars whose operations write expressions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any


class Text:
    """C source under construction."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._depth = 0

    def __call__(self, *lines: str) -> None:
        """Add lines at the present depth."""
        self._lines += ["  " * self._depth + line for line in lines]

    def paste(self, text: str) -> None:
        """Add text as it is."""
        self._lines += text.strip("\n").splitlines()

    @contextmanager
    def braces(self, head: str = "") -> Iterator[None]:
        """`head {`, what is written inside, `}`."""
        self(f"{head} {{".lstrip())
        self._depth += 1
        yield
        self._depth -= 1
        self("}")

    @contextmanager
    def function(self, head: str, comment: str) -> Iterator[None]:
        """A function with a comment above it and an empty line below."""
        self(f"/* {comment} */", *_wrapped(head))
        with self.braces():
            yield
        self("")

    def __str__(self) -> str:
        return "\n".join(self._lines) + "\n"


def _operation(sign: str, *, reflected: bool = False) -> Callable[[Symbol, Any], Symbol]:
    def operation(self: Symbol, other: Any) -> Symbol:
        left, right = (other, self) if reflected else (self, other)
        return Symbol(f"({left} {sign} {right})")

    return operation


class Symbol:
    """A scalar of C: + - * / give the text of the expression, so that what is written on scalars of any kind becomes C."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text

    __add__, __sub__, __mul__, __truediv__ = (_operation(sign) for sign in "+-*/")
    __radd__, __rsub__, __rmul__ = (_operation(sign, reflected=True) for sign in "+-*")


def _wrapped(head: str) -> list[str]:
    """A long function head in two lines."""
    name, bracket, parameters = head.partition("(")
    return [head] if len(head) <= 100 else [name, f"  {bracket}{parameters}"]


def groups(count: int, size: int) -> list[tuple[str, int]]:
    """Heads of loops of i over `count` rows in groups of `size`, the rest in one group: (head, rows in the group)."""
    whole, rest = divmod(count, size)
    result = []
    if whole > 1:
        result.append((f"for (int i = 0; i < {whole * size}; i += {size})", size))
    elif whole == 1:
        result.append(("for (int i = 0; i < 1; i++)", size))
    if rest:
        result.append((f"for (int i = {whole * size}; i < {whole * size + 1}; i++)", rest))
    return result


def upper_triangle(size: int) -> list[tuple[int, int]]:
    """Row-major (row, column) pairs with row <= column: how symmetric matrices are stored."""
    return [(p, q) for p in range(size) for q in range(p, size)]


def total(terms: Sequence[str]) -> str:
    """The sum of C expressions."""
    return " + ".join(terms) if terms else "0.0"
