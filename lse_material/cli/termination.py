"""SIGTERM, by which batch systems announce the end of a job: it ends a search as Ctrl-C does, once."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

SIGTERM = "SIGTERM"  # what a KeyboardInterrupt that stands for it says


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
    finally:
        signal.signal(signal.SIGTERM, before)


def _ignore() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _end_search(number: int, frame: Any) -> None:
    _ignore()
    raise KeyboardInterrupt(SIGTERM)
