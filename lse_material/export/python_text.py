"""Python source of this package, or of a user's module, cut down to what a file needs: the text that the tests have tested.

`PythonText` collects functions, classes and tables with all that they use, in the order in which Python needs them. Annotations
do not count as use: the file begins with `from __future__ import annotations`.
"""

import ast
import dataclasses
import functools
import inspect
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lse_material.errors import InvalidInputError
from lse_material.export.preamble import number
from lse_material.model.material import Material
from lse_material.model.mode import Mode
from lse_material.model.soft_minimum import SoftMinimum
from lse_material.model.strain import StrainMeasure

_PACKAGE = Path(__file__).parents[1]
_SCALES = ("scaled_rho", "input_shift", "input_scale", "energy_scale", "energy_shift")


class PythonText:
    """Source text under construction; `instead`, (module, name) -> text, has definitions that take the place of others."""

    def __init__(self, instead: Mapping[tuple[str, str], str] | None = None) -> None:
        self._instead = dict(instead or {})
        self._imports: set[str] = set()
        self._parts: list[str] = []
        self._taken: dict[str, str] = {}  # the module that each name was taken from

    def __str__(self) -> str:
        return "\n\n\n".join(["\n".join(sorted(self._imports)), *self._parts]) + "\n"

    def add(self, module: str, name: str) -> None:
        """What a module calls `name`, after all that it uses; nothing if the module does not define it (a builtin, say).

        Raises InvalidInputError: its source cannot be had, or two modules define different things of one name.
        """
        source = _source(module)
        if name in source.definitions:
            if self._take(module, name):
                instead = self._instead.get((module, name))
                parts = [instead] if instead else [self._whole(module, node) for node in source.definitions[name]]
                self._parts += parts
        elif name in source.imports:
            self._add_import(module, name, *source.imports[name])

    def instance(self, thing: Any, methods: Sequence[str], attributes: Sequence[str] = ()) -> str:
        """An expression that makes an object with the numbers of `thing` and with these methods, as its class defines them.

        What the methods use of `self` comes with them, and `attributes` of the class. Raises InvalidInputError: the source of a
        method cannot be had, or an attribute cannot be written as text.
        """
        kind = type(thing)
        found = list(_reached(kind, methods))
        own = [f.name for f in dataclasses.fields(thing)] if dataclasses.is_dataclass(thing) else list(vars(thing))
        values = dict.fromkeys([*own, *attributes, *(name for name, owner in found if owner is None)])
        if self._take(kind.__module__, kind.__name__):
            doc = (inspect.getdoc(kind) or kind.__name__).split("\n")[0].replace('"""', "")
            bodies = [self._whole(owner.__module__, _method(owner, name)) for name, owner in found if owner is not None]
            head = f'class {kind.__name__}(SimpleNamespace):\n    """{doc}"""'
            self._imports.add("from types import SimpleNamespace")
            self._parts.append("\n\n".join([head, *bodies]))
        written = {name: getattr(thing, name) for name in values}
        texts = {
            name: self.instance(value, methods, attributes)  # a mode, or a measure, made of others
            if isinstance(value, (Mode, StrainMeasure))
            else literal(value, f"{kind.__name__}.{name}")
            for name, value in written.items()
        }
        listed = ",\n".join(f"    {name}={text}" for name, text in texts.items())
        return f"{kind.__name__}(\n{listed},\n)"

    def potential(self, potential: SoftMinimum, methods: Sequence[str]) -> str:
        """The same for a soft minimum, with these methods of its modes."""
        table = _source("lse_material.model.activations")
        known = "\n".join(table.segment(node) for node in table.definitions["ACTIVATIONS"])
        modes = []
        for mode in potential.modes:
            activation = mode.options().get("activation")
            if activation is not None and f'"{activation}"' not in known:
                raise InvalidInputError(
                    f"the activation {activation!r} has no text in the table of lse_material.model.activations: write it there."
                )
            own = [m for m in methods if m != "formula" or type(mode).formula is not Mode.formula]
            modes.append(textwrap.indent(self.instance(mode, own, ["type"]), "    ") + ",\n")
        scales = [f"{name}={literal(getattr(potential, name), name)},\n" for name in _SCALES]
        return (
            "SimpleNamespace(\n"
            + textwrap.indent("modes=[\n" + "".join(modes) + "],\n" + "".join(scales), "    ")
            + ")"
        )

    def terms(self, material: Material, **methods: Sequence[str]) -> dict[str, str]:
        """The same for what a material adds to its potential: its strain, growth and caloric term, each with its methods."""
        parts = {"strain": material.kinematics, "growth": material.growth, "caloric": material.caloric}
        texts = {
            name.upper(): "None" if part is None else self.instance(part, methods[name]) for name, part in parts.items()
        }
        T = None if material.caloric is None else material.temperature("a caloric term")
        return {**texts, "TEMPERATURE": str(T), "FIELDS": repr(material.fields)}

    def _take(self, module: str, name: str) -> bool:
        """Whether the name is taken for the first time."""
        before = self._taken.get(name)
        if before not in (None, module):
            raise InvalidInputError(f"{before} and {module} both define {name}, and one file holds one: rename yours.")
        self._taken[name] = module
        return before is None

    def _whole(self, module: str, node: ast.stmt) -> str:
        """The text of a definition; what it uses is added before."""
        for used in _names(node, annotations=_registered_with(node) is not None):
            self.add(module, used)
        return _source(module).segment(node)

    def _add_import(self, module: str, name: str, origin: str, original: str | None) -> None:
        if origin.split(".")[0] not in ("lse_material", module.split(".")[0]):
            line = f"from {origin} import {original}" if original else f"import {origin}"
            self._imports.add(line if name == (original or origin) else f"{line} as {name}")
        elif original == name:
            self.add(origin, name)
        else:
            raise InvalidInputError(
                f"{module} uses {origin} as {name}: import what an exported file needs by its own name, from ... import ..."
            )


def python_file(head: Sequence[str], text: PythonText, things: Mapping[str, str], rest: str) -> str:
    """A module: what it says of itself, source text, the objects it evaluates, and what it offers."""
    docstring = '"""' + "\n".join(head) + '\n"""'
    objects = "\n".join(f"{name} = {value}" for name, value in things.items())
    return f"{docstring}\n\nfrom __future__ import annotations\n\n{text}\n\n{objects}\n{rest}"


def literal(value: Any, what: str) -> str:
    """A number, text, array, or a list of such, as Python; InvalidInputError names `what` cannot be written."""
    if isinstance(value, np.ndarray) and value.dtype == np.float64:
        return f"np.array({value.tolist()})" if value.size else f"np.zeros({value.shape})"
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(literal(each, what) for each in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {literal(each, what)}" for key, each in value.items()) + "}"
    if value is None or isinstance(value, (bool, int, str)):
        return repr(value)
    if isinstance(value, (float, np.floating)):
        return number(float(value))
    raise InvalidInputError(f"{what} is a {type(value).__name__}, which an exported file cannot hold.")


class _Source:
    """A parsed module."""

    def __init__(self, module: str, text: str) -> None:
        self._lines = text.splitlines()
        # functions, classes and assignments at the top level; what is registered with a function counts to it
        self.definitions: dict[str, list[ast.stmt]] = {}
        self.imports: dict[str, tuple[str, str | None]] = {}  # name -> (module, its name there, or None for a module)
        for node in ast.parse(text).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                self.definitions.setdefault(_registered_with(node) or node.name, []).append(node)
            elif isinstance(node, (ast.Assign, ast.AnnAssign)):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                for target in targets:
                    if isinstance(target, ast.Name):
                        self.definitions.setdefault(target.id, []).append(node)
            elif isinstance(node, ast.Import):
                self.imports |= {alias.asname or alias.name: (alias.name, None) for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                self.imports |= {alias.asname or alias.name: (node.module, alias.name) for alias in node.names}

    def segment(self, node: ast.stmt) -> str:
        """The lines of a definition, decorators included."""
        decorators = getattr(node, "decorator_list", [])
        first = min([node.lineno, *(decorator.lineno for decorator in decorators)])
        lines = _without_examples(self._lines[first - 1 : node.end_lineno])
        return "\n".join(line.split("  # noqa")[0] for line in lines)


def _without_examples(lines: Sequence[str]) -> Iterator[str]:
    """Lines without the examples of docstrings."""
    example = False
    for line in lines:
        text = line.strip()
        example = text.startswith(">>>") or (example and text not in ("", '"""'))
        if not example:
            yield line


@functools.cache
def _source(module: str) -> _Source:
    """A module's source; one of this package is not imported for it."""
    if module.split(".")[0] == "lse_material":
        path = _PACKAGE.joinpath(*module.split(".")[1:])
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        return _Source(module, path.read_text())
    try:
        return _Source(module, inspect.getsource(sys.modules[module]))
    except (KeyError, OSError, TypeError):
        raise InvalidInputError(
            f"the source of the module {module} cannot be had: put what an exported file needs into a file of Python."
        ) from None


def _registered_with(node: ast.stmt) -> str | None:
    """The function of `functools.singledispatch` that a function is registered with."""
    for decorator in getattr(node, "decorator_list", []):
        inner = decorator.func if isinstance(decorator, ast.Call) else decorator
        if isinstance(inner, ast.Attribute) and inner.attr == "register" and isinstance(inner.value, ast.Name):
            return inner.value.id
    return None


def _names(node: ast.AST, *, annotations: bool) -> Iterator[str]:
    """Names that a piece of text uses and does not bind itself, those in its annotations if they count."""
    own: set[str] = set()
    if isinstance(node, ast.FunctionDef):
        own = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        own |= {n.arg for n in ast.walk(node) if isinstance(n, ast.arg)}
    if isinstance(node, ast.Name):
        yield node.id
    for field, value in ast.iter_fields(node):
        if annotations or field not in ("annotation", "returns"):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from (name for name in _names(child, annotations=annotations) if name not in own)


def _reached(kind: type, methods: Sequence[str]) -> Iterator[tuple[str, type | None]]:
    """The attributes of a class that these methods use through `self`, and the class that defines each; None for data."""
    seen: set[str] = set()
    waiting = list(methods)
    while waiting:
        name = waiting.pop(0)
        owner = next((each for each in kind.__mro__ if name in vars(each)), None)
        if name in seen or owner is None:
            continue
        seen.add(name)
        found = vars(owner)[name]
        if not inspect.isfunction(getattr(found, "fget", None) or getattr(found, "func", None) or found):
            yield name, None
            continue
        yield name, owner
        for each in ast.walk(_method(owner, name)):
            if isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name) and each.value.id == "self":
                waiting.append(each.attr)


def _method(owner: type, name: str) -> ast.FunctionDef:
    """A method in the text of the class that defines it."""
    for node in _source(owner.__module__).definitions.get(owner.__name__, []):
        for method in ast.iter_child_nodes(node):
            if isinstance(method, ast.FunctionDef) and method.name == name:
                return method
    raise InvalidInputError(
        f"the source of {owner.__name__}.{name} cannot be had: define {owner.__name__} at the top level of a file."
    )
