"""Command-line options made from dataclasses: a field is an option, with the help that it carries."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import typer

from lse_material.errors import InvalidInputError

option = functools.partial(typer.Option, show_default=False)  # one that is left out by default


def with_options(function: Callable[..., Any], kinds: Mapping[str, type]) -> Callable[..., Any]:
    """The same function as a command that has an option for every field of some dataclasses as well.

    Args:
        function: its last parameter, `chosen`, takes the dataclasses that were made, by the names of their types. An option of
            its own takes the place of a field of the same name, which keeps its default.
        kinds: prefix of the options -> dataclass, whose fields all have defaults.
    """
    hints = get_type_hints(function, include_extras=True)
    fields = {(prefix + f.name).replace("-", "_"): (k, f) for prefix, k in kinds.items() for f in dataclasses.fields(k)}
    fields = {name: each for name, each in fields.items() if name not in hints}
    own = [p.replace(annotation=hints[n]) for n, p in inspect.signature(function).parameters.items() if n != "chosen"]
    added = [_parameter(name, kind, field) for name, (kind, field) in fields.items()]

    def command(**values: Any) -> Any:
        chosen: dict[str, dict[str, Any]] = {kind.__name__: {} for kind in kinds.values()}
        for name, (kind, field) in fields.items():
            chosen[kind.__name__][field.name] = _value(name, kind, field, values.pop(name))
        try:
            made = {kind.__name__: kind(**chosen[kind.__name__]) for kind in kinds.values()}
        except InvalidInputError as error:
            raise typer.BadParameter(str(error)) from None
        return function(**values, chosen=made)

    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (*own, *added)]
    command.__name__, command.__doc__ = function.__name__, function.__doc__
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    return command


def number(value: float) -> float:
    """The value of an option; nan passes any limit that Typer checks."""
    if value != value:
        raise typer.BadParameter("nan is no number.")
    return value


def _words(kind: type, field: dataclasses.Field[Any]) -> tuple[str, ...]:
    """Words that a field takes in place of a number."""
    hint = get_type_hints(kind)[field.name]
    return tuple(w for part in get_args(hint) if get_origin(part) is Literal for w in get_args(part))


def _parameter(name: str, kind: type, field: dataclasses.Field[Any]) -> inspect.Parameter:
    hint = str if _words(kind, field) else get_type_hints(kind)[field.name]
    default = str(field.default) if _words(kind, field) else field.default
    option = typer.Option(
        f"--{name.replace('_', '-')}" + (f"/--no-{name.replace('_', '-')}" if hint is bool else ""),
        help=field.metadata["help"],
    )
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[hint, option])


def _value(name: str, kind: type, field: dataclasses.Field[Any], value: Any) -> Any:
    words = _words(kind, field)
    if not words or value in words:
        return value
    try:
        return int(value)
    except ValueError:
        flag = f"--{name.replace('_', '-')}"
        raise typer.BadParameter(f"{flag} is {value!r}: neither a whole number nor {' or '.join(words)}.") from None
