"""What all ranks do together: work of rank 0 for all of them, warnings, and forms summed over the ranks."""

import pickle
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from dolfinx import fem
from dolfinx.la import InsertMode
from mpi4py import MPI

from lse_material._arrays import Array
from lse_material.errors import InvalidInputError


def on_rank_0(comm: MPI.Comm, work: Callable[[], Any]) -> Any:
    """What `work` returns on rank 0, for every rank; an error there is raised on all, so that nobody waits. Collective.

    For what one rank alone should do: read or write a file, fit. Result and error must be such that pickle takes them.

    >>> lse.fem.on_rank_0(domain.comm, lambda: np.arange(3))
    array([0, 1, 2])
    """
    return comm.bcast(on_every_rank(comm, lambda: work() if comm.rank == 0 else None))


def on_every_rank(comm: MPI.Comm, work: Callable[[], Any]) -> Any:
    """What `work` returns on this rank; an error on any rank is raised on all, so that nobody waits. Collective.

    For functions of users, which may fail on one rank alone.
    """
    result, error = None, None
    try:
        result = work()
    except Exception as caught:
        error = caught
    first = comm.allreduce(comm.size if error is None else comm.rank, MPI.MIN)
    if first < comm.size:
        there = comm.bcast(_sendable(error) if comm.rank == first else None, first)
        raise there if error is None else error
    return result


def _sendable(error: Exception | None) -> Exception | None:
    """The error, or where pickle cannot take it, one with its text."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def expect_same(comm: MPI.Comm, name: str, value: Any) -> None:
    """Check that an argument is the same on all ranks, which would else wait for each other for ever. Collective.

    Raises:
        InvalidInputError: on all ranks, with the values of two.
    """
    values = comm.allgather(repr(value))
    other = next((rank for rank, there in enumerate(values) if there != values[0]), None)
    if other is not None:
        raise InvalidInputError(
            f"{name} is {values[0]} on rank 0 and {values[other]} on rank {other}: it must be the same on all."
        )


def expect_one_material(comm: MPI.Comm, potentials: Sequence[Any] | None) -> None:
    """Check that all ranks have the same potentials, by their names: each rank would integrate its own. Collective.

    None stands for a rank that cannot tell.

    Raises:
        InvalidInputError: on all ranks, if two differ.
    """
    if comm.size == 1:
        return
    told = [(rank, there) for rank, there in enumerate(comm.allgather(potentials)) if there is not None]
    for rank, there in told:
        if there != told[0][1]:
            raise InvalidInputError(
                f"rank {rank} has another material than rank {told[0][0]}, and each rank would take the energy of its own. "
                "Load or fit it once for all: material = lse.fem.on_rank_0(MPI.COMM_WORLD, lambda: lse.load(path))."
            )


def warn_together(comm: MPI.Comm, message: str, category: type[Warning], *, stacklevel: int = 2) -> None:
    """Warn once, on rank 0; where a filter makes the warning an error there, it is raised on all ranks. Collective.

    The stack level is that of `warnings.warn` in the caller's place.
    """
    on_rank_0(comm, lambda: warnings.warn(message, category, stacklevel=stacklevel + 5))


def integral(comm: Any, form: fem.Form) -> float:
    """The value of a functional, the same on every rank; collective."""
    return float(comm.allreduce(fem.assemble_scalar(form), MPI.SUM))


def assembled(form: fem.Form) -> Array:
    """The vector of a linear form; entries of ghosts are this rank's part alone. Collective."""
    b = fem.assemble_vector(form)
    b.scatter_reverse(InsertMode.add)
    return b.array
