"""Solvers and matrices of problems that are gone, kept until every rank has let them go.

To destroy them is collective, but Python drops an object where it likes: an exception that is kept on one rank, with the frames
below it, or a cycle lets a problem live longer there, and the other ranks would wait in its destruction for ever. So what
is dropped is noted here, and the next problem on these ranks destroys what all of them have dropped.
"""

from __future__ import annotations

from typing import Any, ClassVar

from mpi4py import MPI


class Disposal:
    """What becomes of one problem on `comm`. To make one is collective, and destroys what all ranks have dropped by then.

    Attributes:
        number: of this problem, the same on its ranks, and given once.
    """

    _dropped: ClassVar[dict[int, tuple[MPI.Group, list[Any]]]] = {}
    _last: ClassVar[int] = 0

    def __init__(self, comm: MPI.Comm) -> None:
        self._alone, self._group = comm.size == 1, comm.group
        of_these = {
            number for number, (group, _) in self._dropped.items() if MPI.Group.Compare(group, self._group) == MPI.IDENT
        }
        for number in sorted(set.intersection(*comm.allgather(of_these))):
            for item in self._dropped.pop(number)[1]:
                item.destroy()
        self.number = Disposal._last = comm.allreduce(Disposal._last, MPI.MAX) + 1

    def drop(self, objects: list[Any]) -> None:
        """Note that this rank needs these PETSc objects no longer."""
        if self._alone:
            for item in objects:
                item.destroy()
        else:
            self._dropped[self.number] = self._group, objects
