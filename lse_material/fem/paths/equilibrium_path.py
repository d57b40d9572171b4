"""What paths of equilibria share, by load steps and by arc length: the checkpoint of a problem under its last load."""

from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import ufl
from dolfinx import fem
from mpi4py import MPI

from lse_material._arrays import Array
from lse_material.errors import FormatError
from lse_material.fem.paths.fingerprint import EQUAL, Fingerprint, fingerprint
from lse_material.fem.paths.history import (
    History,
    InternalVariables,
    RecordedPath,
    fingerprints_of,
    memory_of,
)
from lse_material.fem.solve._energy import FieldEnergy
from lse_material.fem.solve.fields import with_prescribed

DIRICHLET = "Dirichlet values"


class EquilibriumPath(RecordedPath):
    """A path of equilibria of one problem, each under the load that the first column of the table has."""

    problem: FieldEnergy  # whose equilibria they are
    observe: Mapping[str, Callable[[], float]]  # name -> number to record with each state
    internal: Sequence[InternalVariables]  # which follow each state
    checkpoint: Path | str | None  # npz file, written after each step

    def resume(self, *, changed: Collection[str] = ()) -> int:
        """As `RecordedPath.resume`. Collective."""
        u = self.problem.u
        before = u.x.array.copy()
        try:
            return super().resume(changed=changed)
        except FormatError:
            if len(self.history):
                self._set_load(next(iter(self.table.values()))[-1])
                u.x.array[:] = before
            raise

    def _new_history(self, columns: Sequence[str], **memory: fem.Function) -> History:
        """A history with these columns, whose checkpoint has what the problem and the path remember beside u."""
        memory |= {**memory_of(self.internal), **self.problem.start_values}
        numbers, file = self._numbers(), self.checkpoint
        return History(self.problem.u, columns, self.observe, numbers=numbers, checkpoint=file, memory=memory)

    @abstractmethod
    def _set_load(self, load: float) -> None:
        """Set the load of a state."""

    def _functionals(self) -> dict[str, ufl.Form]:
        """What must be the same where a checkpoint is resumed, by names."""
        return {"energy": self.problem.functional}

    def _numbers(self) -> dict[str, Any]:
        """What a checkpoint has beside state and table."""
        return {"force_scale": self.problem.force_scale}

    def _continue_from(self, data: Mapping[str, Array]) -> None:
        """Take these numbers from a checkpoint whose state is in u."""
        self.problem.force_scale = float(data["force_scale"])

    def _save(self) -> None:
        """Write the checkpoint if there is to be one."""
        if self.checkpoint is not None:
            self.history.save(self._fingerprint(), **self._numbers())

    def _differences(self, data: Mapping[str, Array]) -> list[str]:
        """As `RecordedPath`, under the last load."""
        values = self.problem.u.x.array.copy()
        loads = data[next(iter(self.table))]
        if len(loads):
            self._set_load(float(loads[-1]))
        self.problem.u.x.array[:] = values
        self.problem.energy()  # brings stored energies, which are in the fingerprint, up to date
        other = super()._differences(data)
        if len(loads) and not self._keeps_dirichlet_values(values):
            other.append(DIRICHLET)
        self.problem.u.x.array[:] = values
        return other

    def _fingerprint(self) -> Fingerprint:
        problem = self.problem
        memory = memory_of(self.internal).values()
        parts = fingerprint(self._functionals(), unknown=problem.u, bcs=problem.bcs, without=memory)
        return {**parts, **fingerprints_of(self.internal)}

    def _keeps_dirichlet_values(self, values: Array) -> bool:
        """Whether values of u are those that the Dirichlet conditions prescribe now; collective."""
        wanted = with_prescribed(values, self.problem.bcs)
        comm = self.problem.u.function_space.mesh.comm
        apart, largest = (comm.allreduce(float(np.abs(v).max(initial=0.0)), MPI.MAX) for v in (wanted - values, wanted))
        return apart <= EQUAL * largest
