"""The command line, `lse-material` or `python -m lse_material`: the top floor.

A command imports what it needs inside itself: showing, checking and exporting need NumPy alone (and Typer and rich, the
extra `cli`), fitting needs torch, plotting matplotlib.
"""

import io
import json
import sys
from collections.abc import Sequence

from lse_material.cli.codes import (
    INTERRUPTED,
    MISSING,
    OK,
    TERMINATED,
    UNEXPECTED,
    UNUSABLE,
    USAGE,
    WITHOUT_TYPER,
    TerminatedError,
)
from lse_material.errors import LseError

__all__ = ["main", "run"]


def main() -> None:
    """Run the command line on `sys.argv` and exit with one of the codes that `lse-material --help` lists."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # None if it is closed
            stream.reconfigure(errors="backslashreplace")  # of a terminal that lacks a letter of a file's name
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code.

    An error is a paragraph on stderr, with --json an object on stdout too, with --debug a traceback.
    """
    code, error = _outcome([a for a in arguments if a != "--debug"], debug="--debug" in arguments)
    if error:
        error = " ".join(error.split())
        print(f"lse-material: {error}", file=sys.stderr)
        if "--json" in arguments:
            print(json.dumps({"error": error, "exit_code": code}))
    return code


def _outcome(arguments: list[str], *, debug: bool) -> tuple[int, str]:
    """The exit code of a command, and what went wrong."""
    try:
        import typer

        from lse_material.cli.app import application
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("typer", "click", "rich"):
            raise
        return MISSING, WITHOUT_TYPER
    usage_error = typer.BadParameter.__mro__[1]  # click's UsageError, which newer versions of Typer bring with them
    try:
        app = application(fits=next((a for a in arguments if not a.startswith("-")), "") == "fit")
        result = app(arguments, standalone_mode=False, prog_name="lse-material")
        # some versions of Typer return this code where Ctrl-C ended a command, others raise
        return (INTERRUPTED, "interrupted.") if result == INTERRUPTED else (int(result or OK), "")
    except TerminatedError as error:
        return TERMINATED, str(error)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED, "interrupted."
    except BrokenPipeError:  # `lse-material show FILE | head`
        sys.stderr.close()
        return OK, ""
    except Exception as error:
        if isinstance(error, usage_error):
            context = getattr(error, "ctx", None)
            where = "" if context is None else f" Try '{context.command_path} --help'."
            return USAGE, getattr(error, "format_message", error.__str__)() + where
        if debug:
            raise
        if isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith("lse_material"):
            return MISSING, str(error)
        if isinstance(error, (LseError, OSError)):
            return UNUSABLE, str(error)
        text = f"{type(error).__name__}: {error} This is a defect of lse-material; please report it with what --debug shows."
        return UNEXPECTED, text
