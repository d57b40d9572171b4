"""The commands by name."""

from __future__ import annotations

from typing import Annotated

import typer

import lse_material
from lse_material.cli.check import check
from lse_material.cli.codes import MEANINGS
from lse_material.cli.demo import demo
from lse_material.cli.doctor import doctor
from lse_material.cli.export import export
from lse_material.cli.fit import FitCommand, fit
from lse_material.cli.options import PlainCommand
from lse_material.cli.plot import plot
from lse_material.cli.show import show

app = typer.Typer(
    help="Multi-well strain energies (LSE-ICNN) as hyperelastic materials in FEniCSx.",
    epilog="Exit codes: " + "; ".join(f"{code} {meaning}" for code, meaning in MEANINGS.items()) + ".",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command(cls=FitCommand)(fit)
for command in (show, check, plot, export, demo, doctor):
    app.command(cls=PlainCommand)(command)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"lse_material {lse_material.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; anywhere on the line.")
    ] = False,
) -> None:
    """Options before the command; `--debug` is taken out of the line before it gets here."""
