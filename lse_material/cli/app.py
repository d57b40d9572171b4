"""The commands by name."""

from typing import Annotated

import typer
import typer.core

import lse_material
from lse_material.cli.check import check
from lse_material.cli.codes import MEANINGS, USAGE
from lse_material.cli.demo import demo
from lse_material.cli.doctor import doctor
from lse_material.cli.export import export
from lse_material.cli.fit import fit, fit_command
from lse_material.cli.plot import plot
from lse_material.cli.show import show


def application(*, fits: bool) -> typer.Typer:
    """The command line; if `fit` is to be called its options need torch. Raises ModuleNotFoundError: torch is not installed."""
    typer.core.HAS_RICH = False  # Typer would escape the brackets of its help for rich, which we do not let it use
    app = typer.Typer(
        help="Multi-well strain energies (LSE-ICNN) as hyperelastic materials in FEniCSx.",
        epilog="Exit codes: " + "; ".join(f"{code} {meaning}" for code, meaning in MEANINGS.items()) + ".",
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback(invoke_without_command=True)(_options)
    app.command("fit")(fit_command() if fits else _named_only)
    for command in (show, check, plot, export, demo, doctor):
        app.command()(command)
    return app


def _named_only() -> None:
    raise NotImplementedError


_named_only.__doc__ = fit.__doc__


def _version(wanted: bool) -> None:
    if wanted:
        print(f"lse_material {lse_material.__version__}")
        raise typer.Exit


def _options(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show an error's traceback; anywhere on the line.")] = False,
) -> None:
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help(), err=True)
        raise typer.Exit(USAGE)
