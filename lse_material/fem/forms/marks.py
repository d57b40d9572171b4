"""Marks on UFL expressions: parts of a form that later steps must find again, whatever has been replaced in it since.

A mark is what `ufl.variable` makes, with a label of its own for each meaning; it changes neither values nor derivatives nor
the code that FFCx makes.
"""

from __future__ import annotations

import functools
from collections.abc import Hashable
from typing import Any

import ufl
from ufl.variable import Label, Variable

Expr = Any  # a UFL expression

_meanings: dict[int, Any] = {}


def marked(expression: Expr, meaning: Hashable) -> Variable:
    """The expression, with a mark by which `marks_in` finds it and its meaning."""
    return Variable(expression, _label(meaning))


def meaning_of(variable: Variable) -> Any:
    """What a variable was marked by; None if it is the user's own."""
    return _meanings.get(variable.label().count())


def marks_in(item: Any, kind: type) -> list[tuple[Variable, Any]]:
    """The marked expressions in a form or expression whose meaning is of a type, with their meanings, each once."""
    variables = sorted(ufl.algorithms.extract_type(item, Variable), key=repr)
    return [(v, meaning_of(v)) for v in variables if isinstance(meaning_of(v), kind)]


@functools.cache
def _label(meaning: Any) -> Label:
    """The label of a meaning: one for all expressions that bear it."""
    label = Label()
    _meanings[label.count()] = meaning
    return label
