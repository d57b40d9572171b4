"""How a command ends: exit codes, the error that says what is not installed, and SIGTERM.

Batch systems announce the end of a job by SIGTERM: it ends a search as Ctrl-C does, once.
"""

import contextlib
import importlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from lse_material._extras import needed_by

OK = 0
FAILED = 1
USAGE = 2
UNUSABLE = 3
MISSING = 4
UNEXPECTED = 5
USELESS = 6
INTERRUPTED = 130
TERMINATED = 143

MEANINGS = {
    OK: "done",
    FAILED: "done, and a check failed",
    USAGE: "wrong usage",
    UNUSABLE: "a file or data that cannot be used",
    MISSING: "something is not installed",
    UNEXPECTED: "a defect of lse-material",
    USELESS: "a fit that is useless (its error is as large as the data), saved all the same; `--even-if-useless` makes it 0",
    INTERRUPTED: "interrupted",
    TERMINATED: "ended by SIGTERM; a fit has saved its best so far",
}

SIGTERM = "SIGTERM"  # what a KeyboardInterrupt that stands for it says
WITHOUT_TYPER = "the command line needs typer and rich: pip install 'lse-material[cli]'. The Python API works without."


def need(module: str, purpose: str) -> ModuleType:
    """Import a module. Raises ModuleNotFoundError: something that it needs is not installed; the message says how to get it."""
    with needed_by(purpose):
        found = importlib.import_module(module)
    return found


class TerminatedError(Exception):
    """SIGTERM ended a search before there was anything to save."""


@contextlib.contextmanager
def search_then_save() -> Iterator[Callable[[], None]]:
    """A search that SIGTERM ends by a KeyboardInterrupt, and after it what saves its outcome, which SIGTERM leaves alone.

    The value is called between the two. Outside the main thread, which alone gets signals, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    before = signal.signal(signal.SIGTERM, _end_search)
    try:
        yield _ignore
    except KeyboardInterrupt as error:
        if str(error) == SIGTERM:
            raise TerminatedError("ended by SIGTERM before there was anything to save.") from None
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def _ignore() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _end_search(number: int, frame: Any) -> None:
    _ignore()
    raise KeyboardInterrupt(SIGTERM)
