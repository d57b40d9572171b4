"""Random starts in processes of their own, with the results of one process: each start depends on nothing but itself.

Processes are spawned, so that threads and MPI of the parent are not inherited; a script that asks for them needs
`if __name__ == "__main__":`. A process that is itself one of several (of MPI, of multiprocessing) starts none.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

import torch

from lse_material.errors import LseError

Job = TypeVar("Job")
Done = TypeVar("Done")

RANKS = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS")  # set by mpirun of OpenMPI, of MPICH


def one_after_another(function: Callable[[Job], Done], jobs: Sequence[Job], processes: int) -> Generator[Done]:
    """The results in the order of the jobs, each as soon as it and those before it are there.

    In one process a job begins when its result is asked for; in several all begin at once, and those that were not asked for
    are thrown away.

    Raises LseError: a process died, most often because the script has no `if __name__ == "__main__":`.
    """
    one_of_several = multiprocessing.parent_process() or any(int(os.environ.get(name, "1")) > 1 for name in RANKS)
    processes = min(processes, len(jobs))
    if processes <= 1 or one_of_several:
        yield from map(function, jobs)
        return
    context = _Spawn()
    pool = ProcessPoolExecutor(processes, context, _begin, (torch.get_num_threads(),))
    try:
        for each in [pool.submit(function, job) for job in jobs]:
            yield each.result()
    except BrokenProcessPool:
        raise LseError(
            f"one of the {processes} processes of the fit ended before its work did. A script that asks for processes must "
            'call fit below `if __name__ == "__main__":`; if it does, memory may be short: ask for fewer.'
        ) from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in context.started:
            process.terminate()


class _Spawn(SpawnContext):
    """The way to spawn processes, which remembers those that it has made."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[BaseProcess] = []

    def Process(self, *arguments: Any, **options: Any) -> BaseProcess:  # type: ignore[override]
        """A new process."""
        self.started.append(SpawnProcess(*arguments, **options))
        return self.started[-1]


def _begin(threads: int) -> None:
    """In a new process: as many threads as in the parent, which alone answers Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)
