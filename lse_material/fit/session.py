"""One session of a fit: when it must end, and the stages that an earlier session, killed by now, has behind it.

A search draws its random numbers in a fixed order, and all that takes long in it are refits of models. A checkpoint is the
list of their outcomes: the next session makes the same search, and takes the weights of each refit from the list as long as
it lasts. So it ends with the weights that one session alone would have found.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lse_material._arrays import Array
from lse_material._files import write_atomically
from lse_material.errors import InvalidInputError

SAME_START = 1e-6  # relative difference of two sets of weights that is rounding, of another machine say
PROCESSOR = torch.device("cpu")
HEADER = "lse-material checkpoint of a fit: "


class TimeUpError(Exception):
    """The time limit of a fit has passed."""

    def __init__(self) -> None:
        super().__init__("the time limit")


ENDS = (KeyboardInterrupt, TimeUpError)  # what ends a search whose best weights so far are kept
CTRL_C = "Ctrl-C"


def reason_of(end: BaseException) -> str:
    """What has ended a search, in words: the text of the exception, or Ctrl-C."""
    return str(end) or CTRL_C


def made_on(device: torch.device) -> AbstractContextManager[Any]:
    """Tensors that name no device are made there inside. Fits are made on the processor, whatever torch's default is."""
    return contextlib.nullcontext() if default_device() == device else device


def default_device() -> torch.device:
    """Where torch makes tensors that name no device."""
    return torch.empty(0).device


@contextlib.contextmanager
def ctrl_c_interrupts() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt inside, also where a library has left it to end the process, as gmsh does."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


class Checkpoint:
    """The stages of a fit that are done, in a file to which each is added as soon as it is.

    Args:
        path: of the file, which need not be there.
        fit: what makes the fit the one that it is: data, options, seed.

    Raises:
        InvalidInputError: the file is there and belongs to another fit, or is no checkpoint.
    """

    def __init__(self, path: str | Path, fit: str) -> None:
        self.path, self.done = Path(path), 0
        if self.path.is_dir():
            raise InvalidInputError(f"checkpoint is {path}, which is a folder: give the name of a file in it.")
        if not self.path.exists():
            header = io.BytesIO()
            np.save(header, np.array(HEADER + fit))
            write_atomically(self.path, header.getvalue())
        with self.path.open("rb") as file:
            records = list(_records(file))
        if not records or str(records[0][0]) != HEADER + fit:
            raise InvalidInputError(
                f"{self.path} is not the checkpoint of this fit: data, options or seed are others, or it is another kind of "
                "file. Give another path, or remove it."
            )
        self.stages = [stage for stage, _ in records[1:]]
        self.ends = [end for _, end in records]  # in the file, of the header and of each stage

    def outcome(self, start: Array) -> Array | None:
        """The outcome of the next stage, which starts from these weights; None if it is not there."""
        if self.done == len(self.stages):
            return None
        stage = self.stages[self.done]
        known = stage[: len(start)]
        if len(known) < len(start) or np.abs(known - start).max(initial=0.0) > SAME_START * np.abs(start).max():
            return None
        self.done += 1
        return stage[len(start) :]

    def add(self, start: Array, outcome: Array) -> None:
        """Write a stage; others that were at its place, and what was written in part, are lost."""
        stage = np.concatenate([start, outcome])
        with self.path.open("r+b") as file:
            file.truncate(self.ends[self.done])
            file.seek(0, os.SEEK_END)
            np.save(file, stage)
            self.ends[self.done + 1 :] = [file.tell()]
        self.stages[self.done :] = [stage]
        self.done += 1


def _records(file: Any) -> Iterator[tuple[Any, int]]:
    """Arrays of a file with the places where they end, up to the first that is not whole."""
    with contextlib.suppress(ValueError, OSError, EOFError):
        while True:
            yield np.lib.format.read_array(file, allow_pickle=False), file.tell()


@dataclass(frozen=True)
class Session:
    """Attributes: the time (of `time.monotonic`) at which it must end, and the checkpoint of the fit, if it keeps one."""

    until: float = math.inf
    checkpoint: Checkpoint | None = None

    def __reduce__(self) -> tuple[type[Session], tuple[float]]:
        """Sent to another process, which keeps no checkpoint."""
        return Session, (self.until,)

    def part(self, share: float) -> Session:
        """A session of this share of the time that is left."""
        now = time.monotonic()
        return Session(now + share * (self.until - now), self.checkpoint)

    def expect_time(self) -> None:
        """Raise TimeUpError where no time is left."""
        if time.monotonic() > self.until:
            raise TimeUpError

    def recall(self, start: Tensor) -> Tensor | None:
        """The outcome (n,) of the next stage, which begins with these weights, if an earlier session has done it."""
        known = None if self.checkpoint is None else self.checkpoint.outcome(start.numpy())
        return None if known is None else torch.tensor(known)

    def keep(self, start: Tensor, outcome: Tensor) -> None:
        """Keep the outcome of a stage for a later session."""
        if self.checkpoint is not None:
            self.checkpoint.add(start.numpy(), outcome.numpy())
