"""The command line, `lse-material` or `python -m lse_material`: the top floor.

A command imports what it needs inside itself: showing, checking and exporting need NumPy alone (and Typer and rich, the
extra `cli`), fitting needs torch, plotting matplotlib.
"""

import contextlib
import io
import sys
from collections.abc import Iterator, Sequence

from lse_material.cli.codes import (
    INTERRUPTED,
    MISSING,
    OK,
    SIGTERM,
    TERMINATED,
    UNEXPECTED,
    UNUSABLE,
    USAGE,
    WITHOUT_TYPER,
    MissingError,
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
    """Run one command and return its exit code; errors are a paragraph on stderr, with --debug a traceback too."""
    debug = "--debug" in arguments
    arguments = [a for a in arguments if a != "--debug"]
    try:
        import typer

        from lse_material.cli.app import application
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("typer", "click", "rich"):
            raise
        return _tell(WITHOUT_TYPER, MISSING)
    usage_error = typer.BadParameter.__mro__[1]  # click's UsageError, which newer versions of Typer bring with them
    try:
        app = application(fits=next((a for a in arguments if not a.startswith("-")), "") == "fit")
        with _plain_help() if "--help" in arguments else contextlib.nullcontext():
            result = app(arguments, standalone_mode=False, prog_name="lse-material")
        return result if isinstance(result, int) else OK
    except (KeyboardInterrupt, typer.Abort) as error:
        if SIGTERM in str(error.__cause__ or error):
            return _tell("ended by SIGTERM before there was anything to save.", TERMINATED)
        return _tell("interrupted.", INTERRUPTED)
    except BrokenPipeError:  # `lse-material show FILE | head`
        sys.stderr.close()
        return OK
    except Exception as error:
        if isinstance(error, usage_error):
            context = getattr(error, "ctx", None)
            where = "" if context is None else f" Try '{context.command_path} --help'."
            return _tell(getattr(error, "format_message", error.__str__)() + where, USAGE)
        if debug:
            raise
        if isinstance(error, MissingError):
            return _tell(str(error), MISSING)
        if isinstance(error, (LseError, OSError)):
            return _tell(str(error), UNUSABLE)
        return _tell(
            f"{type(error).__name__}: {error} This is a defect of lse-material; please report it with what --debug shows.",
            UNEXPECTED,
        )


@contextlib.contextmanager
def _plain_help() -> Iterator[None]:
    """Take the backslashes out of the help that some versions of Typer put in for rich."""
    caught = io.StringIO()
    try:
        with contextlib.redirect_stdout(caught):
            yield
    finally:
        sys.stdout.write(caught.getvalue().replace("\\[", "["))


def _tell(text: str, code: int) -> int:
    print(f"lse-material: {' '.join(text.split())}", file=sys.stderr)
    return code
