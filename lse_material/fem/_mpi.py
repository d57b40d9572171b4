"""What one rank does for all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mpi4py import MPI


def on_rank_0(comm: MPI.Comm, work: Callable[[], Any]) -> Any:
    """What `work` returns on rank 0, for every rank; an error there is raised on all, so that nobody waits. Collective.

    For what one rank alone should do: read or write a file, fit. Result and error must be such that pickle takes them.
    """
    result, error = None, None
    if comm.rank == 0:
        try:
            result = work()
        except Exception as caught:
            error = caught
    result, error = comm.bcast((result, error))
    if error is not None:
        raise error
    return result
