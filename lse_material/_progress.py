"""A progress bar on a terminal, for what takes long."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


@contextmanager
def progress_bar(
    description: str, total: int | None, *, show: bool, done: int = 0
) -> Iterator[Callable[[int, str], None]]:
    """A bar on a terminal, or none, with the time that is left if the total number of steps is known; `done` at the start.

    Its value takes a number of steps and a line of status.
    """
    console = Console(stderr=True)
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()]
    if total is not None:
        columns += [TextColumn("left"), TimeRemainingColumn()]
    columns.append(TextColumn("{task.fields[status]}"))
    with Progress(*columns, console=console, disable=not (show and console.is_terminal), transient=True) as bar:
        task = bar.add_task(description, total=total, completed=done, status="")
        yield lambda steps, status: bar.update(task, advance=steps, status=status)
