"""Command-line options made from dataclasses: a field is an option, its line in the docstring the help."""

from __future__ import annotations

import dataclasses
import inspect
import re
from typing import Any, Literal, get_args, get_origin, get_type_hints

import click
import typer.core

from lse_material.errors import InvalidInputError


class NumberOr(click.ParamType):
    """A whole number, or one of some words."""

    def __init__(self, words: tuple[str, ...]) -> None:
        self.words = words
        self.name = "|".join(("integer", *words))

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number or the word."""
        if value in self.words or isinstance(value, int):
            return value
        try:
            return int(value)
        except ValueError:
            self.fail(f"{value!r} is neither a whole number nor {' or '.join(map(repr, self.words))}.", param, ctx)


class PlainCommand(typer.core.TyperCommand):
    """A command whose help is plain text in sections: Typer's tables cut long options off on a narrow terminal."""

    def get_help(self, ctx: click.Context) -> str:
        """The help, without the backslashes that Typer writes for rich."""
        return super().get_help(ctx).replace("\\[", "[")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """A section of arguments, one of options, and one for each dataclass."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            argument = isinstance(param, click.Argument)
            title = getattr(param, "rich_help_panel", None) or ("Arguments" if argument else "Options")
            if record is not None:
                sections.setdefault(title, []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


def options_of(kind: type, *, prefix: str = "") -> list[click.Parameter]:
    """One option per field of a dataclass whose fields all have defaults; its value lands in `ctx.meta`."""
    types, texts = get_type_hints(kind), attribute_texts(kind)
    panel = f"{kind.__name__}: {(inspect.getdoc(kind) or '').splitlines()[0].rstrip('.')}"
    return [
        _option(kind, f, types[f.name], texts.get(f.name, ""), prefix, panel)
        for f in dataclasses.fields(kind)
        if f.init
    ]


def made(kind: type, ctx: click.Context) -> Any:
    """The dataclass from the options that were given.

    Raises:
        click.UsageError: the dataclass refuses a value.
    """
    try:
        return kind(**ctx.meta.get(_key(kind), {}))
    except InvalidInputError as error:
        raise click.UsageError(str(error), ctx) from None


def attribute_texts(kind: type) -> dict[str, str]:
    """What the section `Attributes:` of a docstring says of each name."""
    texts: dict[str, str] = {}
    names: list[str] = []
    section = (inspect.getdoc(kind) or "").partition("Attributes:\n")[2]
    for line in section.splitlines():
        if line and not line.startswith(" "):
            break
        match = re.match(r"    (\w+(?:, \w+)*): (.*)", line)
        if match:
            names = match[1].split(", ")
            texts |= dict.fromkeys(names, match[2])
        elif line.strip():
            texts |= {name: f"{texts[name]} {line.strip()}" for name in names}
    return texts


def _key(kind: type) -> str:
    return f"lse_material.{kind.__name__}"


def _option(kind: type, field: dataclasses.Field[Any], hint: Any, text: str, prefix: str, panel: str) -> click.Option:
    flag = f"--{prefix}{field.name.replace('_', '-')}"
    words = tuple(w for part in get_args(hint) if get_origin(part) is Literal for w in get_args(part))
    value_type = (
        NumberOr(words) if words else {int: click.INT, float: click.FLOAT, bool: click.BOOL}.get(hint, click.STRING)
    )

    def keep(ctx: click.Context, _: click.Parameter, value: Any) -> None:
        ctx.meta.setdefault(_key(kind), {})[field.name] = value

    return typer.core.TyperOption(
        param_decls=[f"{flag}/--{prefix}no-{field.name.replace('_', '-')}" if hint is bool else flag],
        type=value_type,
        default=field.default,
        is_flag=hint is bool,
        show_default=True,
        expose_value=False,
        callback=keep,
        help=text,
        rich_help_panel=panel,
    )
