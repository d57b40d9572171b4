"""Inline code of the documentation against the package: what is named exists, and what is called takes these arguments.

Nothing is run. Names are resolved through the imported package, arguments are bound to signatures. `...` and `name=` stand for
what a page leaves out: such a call need not be complete.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import types
import typing
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import dolfinx.fem
import numpy
import ufl

import lse_material
from lse_material.fem import EnergyProblem, QuadratureStress
from lse_material.fit import FitResult

ROOT = Path(__file__).parents[1]
ROOTS: dict[str, tuple[Any, ...]] = {
    "lse": (lse_material,),
    "lse_material": (lse_material,),
    "fem": (lse_material.fem, dolfinx.fem),
    "ufl": (ufl,),
    "np": (numpy,),
    "numpy": (numpy,),
}
# what pages call objects of these classes
OBJECTS: dict[str, type] = {
    "material": lse_material.Material,
    "potential": lse_material.SoftMinimum,
    "samples": lse_material.Samples,
    "result": FitResult,
    "problem": EnergyProblem,
    "P": QuadratureStress,
}
FOREIGN = {"NonlinearProblem": dolfinx.fem.petsc.NonlinearProblem, "Expression": dolfinx.fem.Expression}
OF_THE_READER = {"strip.py"}  # files that a page tells the reader to make
PLACES = ("", "lse_material", "docs", "demos", "demos/studies")  # that paths of pages begin in


class MissingError(Exception):
    """Something that a page names and that is not there."""


class Instance:
    """An object of a class, of which nothing but the class is known."""

    def __init__(self, kind: type) -> None:
        self.kind = kind


UNKNOWN = object()


def spans(text: str) -> Iterator[str]:
    """Inline code of a Markdown page, fenced blocks left out."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    for span in re.findall(r"`([^`]+)`", text):
        yield " ".join(span.replace("\\|", "|").split())


@cache
def public() -> dict[str, list[Any]]:
    """Classes and functions of the package by their names, those with an underscore and the command line left out."""
    found: dict[str, list[Any]] = {}
    for info in pkgutil.walk_packages(lse_material.__path__, "lse_material."):
        if info.name.endswith("__main__") or info.name.startswith("lse_material.cli"):
            continue
        module = importlib.import_module(info.name)
        for name, value in vars(module).items():
            own = getattr(value, "__module__", None) == module.__name__
            if own and not name.startswith("_") and (inspect.isclass(value) or inspect.isroutine(value)):
                found.setdefault(name, []).append(value)
    return found


@cache
def parameters() -> set[str]:
    """Names of all parameters of public functions, classes and methods."""
    names: set[str] = set()
    for values in public().values():
        for value in values:
            methods = [m for n, m in vars(value).items() if not n.startswith("_")] if inspect.isclass(value) else []
            for function in (value, *methods):
                function = getattr(function, "__func__", function)
                if callable(function) and not (inspect.isclass(function) and issubclass(function, BaseException)):
                    try:
                        names |= set(inspect.signature(function).parameters)
                    except (TypeError, ValueError):  # protocols and builtins have none
                        continue
    return names


def methods_named(name: str) -> list[Callable[..., Any]]:
    """Functions of this name in public classes, which take an object first."""
    classes = [value for values in public().values() for value in values if inspect.isclass(value)]
    return [method for kind in classes if inspect.isfunction(method := vars(kind).get(name))]


def attribute(value: Any, name: str) -> Any:
    """value.name, where value may be an `Instance`.

    Raises:
        MissingError: there is none.
    """
    if value is UNKNOWN:
        return UNKNOWN
    if isinstance(value, types.ModuleType) and value.__name__.startswith("lse_material"):
        try:
            return getattr(value, name)
        except AttributeError:
            try:
                return importlib.import_module(f"{value.__name__}.{name}")
            except ModuleNotFoundError:
                raise MissingError(f"{value.__name__} has no {name!r}") from None
    if not isinstance(value, Instance):
        if name in getattr(value, "__dataclass_fields__", {}):  # a field without a default is no attribute of the class
            return UNKNOWN
        if not hasattr(value, name):
            raise MissingError(f"{getattr(value, '__name__', value)} has no {name!r}")
        return getattr(value, name)
    found = inspect.getattr_static(value.kind, name, UNKNOWN)
    if isinstance(found, property):
        return _instance_of(typing.get_type_hints(found.fget).get("return"))
    if isinstance(found, (classmethod, staticmethod)):
        return getattr(value.kind, name)
    if inspect.isfunction(found):
        return types.MethodType(found, value)
    hints = typing.get_type_hints(value.kind) if "__dataclass_fields__" in vars(value.kind) else {}
    if name in hints:
        return _instance_of(hints[name])
    sources = "".join(inspect.getsource(kind) for kind in value.kind.__mro__[:-1])
    if found is UNKNOWN and not re.search(rf"\bself\.{name}\b *(:|=|,)", sources):
        raise MissingError(f"a {value.kind.__name__} has no {name!r}")
    return UNKNOWN


def _instance_of(hint: Any) -> Any:
    kinds = [kind for kind in (typing.get_args(hint) or (hint,)) if inspect.isclass(kind) and kind is not type(None)]
    return Instance(kinds[0]) if kinds else UNKNOWN


def candidates(node: ast.expr) -> list[Any]:
    """What a dotted name may stand for; empty if it is none of the package's.

    Raises:
        MissingError: its beginning is known and its end is not.
    """
    if isinstance(node, ast.Name):
        if node.id in ROOTS:
            return list(ROOTS[node.id])
        if node.id in OBJECTS:
            return [Instance(OBJECTS[node.id])]
        return [*public().get(node.id, []), *([FOREIGN[node.id]] if node.id in FOREIGN else [])]
    if not isinstance(node, ast.Attribute):
        return []
    found, failure = [], None
    for value in candidates(node.value):
        try:
            found.append(attribute(value, node.attr))
        except MissingError as error:
            failure = error
    if failure is not None and not found:
        raise failure
    return found


def check_call(call: ast.Call) -> bool:
    """Whether the callee is known; its arguments are then bound.

    Raises:
        MissingError: they do not fit any signature that the name may stand for.
    """
    found = candidates(call.func)
    if isinstance(call.func, ast.Name) and not found:
        found = [types.MethodType(function, Instance) for function in methods_named(call.func.id)]
        if not found:
            return False
    positional = [object() for _ in call.args]
    named = {keyword.arg: object() for keyword in call.keywords if keyword.arg is not None}
    elided = any(
        isinstance(value, ast.Constant) and value.value is ...
        for value in (*call.args, *(keyword.value for keyword in call.keywords))
    )
    failure = None
    for function in found:
        if function is UNKNOWN:
            return False
        if not callable(function):
            failure = MissingError(f"{ast.unparse(call.func)} cannot be called")
            continue
        try:
            signature = inspect.signature(function)
        except ValueError:  # a builtin
            return False
        try:
            (signature.bind_partial if elided else signature.bind)(*positional, **named)
            return True
        except TypeError as error:
            failure = MissingError(f"{ast.unparse(call)}: {error}")
    if failure is not None:
        raise failure
    return False


def check_path(span: str) -> bool:
    """Whether the span is a path of the repository.

    Raises:
        MissingError: it looks like one and is not there.
    """
    if not re.fullmatch(r"[\w-][\w./-]*(\.(py|md|cff|yml|sh|csv|toml)|/)", span) or span in OF_THE_READER:
        return False
    if not any((ROOT / place / span).exists() for place in PLACES):
        raise MissingError(f"there is no {span} in {', '.join(place or 'the checkout' for place in PLACES)}")
    return True


def check(span: str) -> int:
    """How many names, calls and paths of a span were found to be right.

    Raises:
        MissingError: one is wrong.
    """
    if check_path(span):
        return 1
    try:
        tree = ast.parse(re.sub(r"=(?=[,)])", "=...", span))
    except SyntaxError:
        return 0  # a command, a formula, a name of a tensor
    known = 0
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            known += check_call(node)
        elif isinstance(node, ast.Attribute):
            known += bool(candidates(node))
        elif isinstance(node, ast.Name) and re.fullmatch(r"([A-Z][a-z]+){2,}", node.id):
            if not candidates(node):
                raise MissingError(f"there is no {node.id}")
            known += 1
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and "=" in span.split()[0]:
            name = node.targets[0].id  # a keyword argument, as in `expanded=True`
            if not name.isupper() and name not in parameters():
                raise MissingError(f"nothing takes an argument {name!r}")
            known += not name.isupper()
    return known
