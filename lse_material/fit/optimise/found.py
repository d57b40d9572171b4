"""What a search for weights found, how it went, and the bar that shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from lse_material.fit.model.trainable import TrainablePotential


@dataclass(frozen=True)
class Record:
    """One line of a fit's history: losses on the training and validation rows (equal if none are held back)."""

    phase: str
    step: int
    train: float
    validation: float


@dataclass(frozen=True, eq=False)
class Found:
    """The model that a search ends with.

    Attributes:
        model: with the best weights.
        history: losses, or errors of a discovery, as the search went.
        interrupted: whether Ctrl-C ended it.
        errors: relative error on the rows held back for each number of trained modes, of a discovery.
        scaled_rho_interval: of the transition scales that fit the data alike, in scaled energy, if it was looked for.
    """

    model: TrainablePotential
    history: tuple[Record, ...]
    interrupted: bool
    errors: Mapping[int, float] = field(default_factory=dict)
    scaled_rho_interval: tuple[float, float] | None = None


@contextmanager
def progress_bar(description: str, total: int | None, *, show: bool) -> Iterator[Callable[[int, str], None]]:
    """A bar on a terminal, or none; its value takes a number of steps and a line of status."""
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    status = TextColumn("{task.fields[status]}")
    with Progress(*columns, status, console=console, disable=not (show and console.is_terminal), transient=True) as bar:
        task = bar.add_task(description, total=total, status="")
        yield lambda steps, status: bar.update(task, advance=steps, status=status)
