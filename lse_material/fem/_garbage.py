"""Solvers and matrices that Python has dropped, destroyed when every rank has dropped them.

To destroy a PETSc object is collective, but Python drops objects where it likes: an exception that is kept on one rank holds
the frames below it, and with them a problem. So petsc4py only files what a rank drops, on the object's communicator, and
`PETSc.garbage_cleanup` destroys what all ranks of that communicator have filed. DOLFINx gives each mesh a communicator of its
own, at which nobody looks once the mesh is gone; therefore the solver of a problem is held by an object on a communicator that
all problems on the same ranks share.
"""

from __future__ import annotations

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


def holder_of(item: PETSc.Object, comm: Any) -> PETSc.IS:
    """An object that keeps `item` alive, and with it what `item` uses: to be dropped after it. Collective."""
    holder = PETSc.IS().createStride(0, comm=shared_communicator(comm))
    holder.compose("held", item)
    return holder
