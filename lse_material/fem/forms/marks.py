"""Marks on UFL expressions, by which later steps find parts of a form even after replacements in it; factors of parts.

A mark is a `ufl.variable` with one label for each meaning; it changes neither values nor derivatives nor generated code.
"""

import functools
import hashlib
from collections.abc import Hashable, Mapping
from typing import Any

import ufl
from ufl.core.expr import Expr
from ufl.variable import Label, Variable

from lse_material.fem.forms.measures import expanded_derivatives

_meanings: dict[int, Any] = {}


def marked(expression: Expr, meaning: Hashable) -> Variable:
    """The expression, with a mark by which `marks_in` finds it and its meaning."""
    return Variable(expression, _label(meaning))


def meaning_of(variable: Variable) -> Any:
    """The meaning of a mark; None if the variable is the user's own."""
    return _meanings.get(variable.label().count())


def marks_in(item: Any, kind: type) -> list[tuple[Variable, Any]]:
    """The marked expressions in a form or expression whose meaning is of a type, with their meanings, each once."""
    variables = sorted(ufl.algorithms.extract_type(item, Variable), key=repr)
    return [(v, meaning_of(v)) for v in variables if isinstance(meaning_of(v), kind)]


def factor_of(part: Expr, expression: Expr, instead: Mapping[Expr, Expr] | None = None) -> Expr | None:
    """What a scalar part of an expression is multiplied by, with `instead` of other parts; None if it is not affine in it."""
    value = ufl.variable(ufl.as_ufl(1.0))
    factor = expanded_derivatives(ufl.diff(ufl.replace(expression, {**(instead or {}), part: value}), value))
    return None if value in ufl.algorithms.extract_type(factor, Variable) else factor


@functools.cache
def _label(meaning: Any) -> Label:
    """The label of a meaning, one for all expressions with that mark.

    UFL sorts sums and products by the numbers of labels. A number that depended on what a process has made before would change
    the signature of a form, by which checkpoints know their problem.
    """
    name = f"{type(meaning).__module__}.{type(meaning).__qualname__} {meaning!r}"
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:6])
    while number in _meanings:
        number += 1
    _meanings[number] = meaning
    return Label(number)
