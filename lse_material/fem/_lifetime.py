"""When PETSc objects are destroyed, and what keeps them alive until then.

The destruction of a PETSc object is collective, but Python drops objects at any time: an exception that one rank keeps holds
the frames below it, and with them a problem. So petsc4py only files what a rank drops, on the object's communicator, and
`PETSc.garbage_cleanup` destroys what all ranks of that communicator have filed. DOLFINx gives each mesh a communicator of its
own, which nobody cleans once the mesh is gone. Therefore the solver of a problem is kept by an object on a communicator that
all problems on the same ranks share.
"""

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from mpi4py import MPI
from petsc4py import PETSc

_shared: list[MPI.Comm] = []  # one for each set of ranks


def collect_garbage(comm: Any) -> None:
    """Destroy what all ranks of `comm` have dropped, on it and on what problems on these ranks share. Collective."""
    if comm.size > 1:  # on one rank nothing is filed: what is dropped is destroyed
        PETSc.garbage_cleanup(shared_communicator(comm))
        PETSc.garbage_cleanup(comm)


def shared_communicator(comm: MPI.Comm) -> Any:
    """The communicator of all problems on the ranks of `comm`, always the same; collective."""
    for known in (MPI.COMM_SELF, MPI.COMM_WORLD, *_shared):
        if MPI.Comm.Compare(known, comm) in (MPI.IDENT, MPI.CONGRUENT):
            return known
    _shared.append(comm.Dup())
    return _shared[-1]


def keeper_of(item: PETSc.Object, comm: Any) -> PETSc.IS:
    """An object that keeps `item` alive, and with it what `item` uses: to be dropped after it. Collective."""
    keeper = PETSc.IS().createStride(0, comm=shared_communicator(comm))
    keeper.compose("kept", item)
    return keeper


@contextmanager
def temporary(*items: Any) -> Iterator[tuple[Any, ...]]:
    """PETSc objects that are destroyed at the end. Collective."""
    try:
        yield items
    finally:
        for item in items:
            item.destroy()


def weak_method(method: Callable[..., Any]) -> Callable[..., Any]:
    """A bound method for a PETSc solver that belongs to the method's object, with a weak reference to that object.

    A cycle through the solver would leave both to Python's garbage collector, which runs at another time on each rank.

    Raises ReferenceError: it is called when the object is gone.
    """
    weak = weakref.WeakMethod(method)
    name = type(getattr(method, "__self__", None)).__name__

    def call(*args: Any, **kargs: Any) -> Any:
        alive = weak()
        if alive is None:
            raise ReferenceError(f"this SNES belongs to a {name} that is gone: keep the problem, not only its solver.")
        return alive(*args, **kargs)

    return call
