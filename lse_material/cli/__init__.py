"""The command line, `lse-material` or `python -m lse_material`: the top floor.

A command imports what it needs inside itself: showing, checking and exporting need NumPy alone (and Typer and rich, the
extra `cli`), fitting needs torch, plotting matplotlib.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from lse_material.cli.codes import INTERRUPTED, MISSING, OK, UNEXPECTED, UNUSABLE, USAGE, WITHOUT_TYPER, MissingError

__all__ = ["main", "run"]


def main() -> None:
    """Run the command line on `sys.argv` and exit with one of the codes that `lse-material --help` lists."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; errors are a paragraph on stderr, with --debug a traceback too."""
    arguments = list(arguments)
    end = arguments.index("--") if "--" in arguments else len(arguments)
    debug = "--debug" in arguments[:end]
    arguments = [a for i, a in enumerate(arguments) if a != "--debug" or i > end]
    try:
        import click

        from lse_material.cli.app import app
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("typer", "click", "rich"):
            raise
        return _tell(WITHOUT_TYPER, MISSING)
    from lse_material.errors import LseError

    try:
        result = app(arguments, standalone_mode=False, prog_name="lse-material")
        return result if isinstance(result, int) else OK
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.ctx.get_help(), file=sys.stderr)
        return USAGE
    except click.UsageError as error:
        where = "" if error.ctx is None else f" Try '{error.ctx.command_path} --help'."
        return _tell(error.format_message() + where, USAGE)
    except (KeyboardInterrupt, click.Abort):
        return _tell("interrupted.", INTERRUPTED)
    except BrokenPipeError:  # `lse-material show FILE | head`
        sys.stderr.close()
        return OK
    except Exception as error:
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


def _tell(text: str, code: int) -> int:
    print(f"lse-material: {' '.join(text.split())}", file=sys.stderr)
    return code
