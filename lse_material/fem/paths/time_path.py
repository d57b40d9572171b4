"""What runs in time share, of a composition or of a motion: steps up to a time, and their checkpoint."""

import math
from abc import abstractmethod
from collections.abc import Collection
from numbers import Real
from pathlib import Path
from typing import Any

from mpi4py import MPI

from lse_material._arrays import Array, whole_number
from lse_material._progress import progress_bar
from lse_material.errors import InvalidInputError
from lse_material.fem._mpi import expect_same
from lse_material.fem.paths.fingerprint import Fingerprint, differences_from
from lse_material.fem.paths.history import FINGERPRINT, RecordedPath


class StepEstimate:
    """What estimates the error of a step; and the length of the next step."""

    next_dt: float


class TimePath(RecordedPath):
    """A run in time from its present state, at time 0; the table of its states has a column `time`.

    Attributes:
        dt: a step, by which progress is counted.
        checkpoint: npz file, written every `every` steps.
        every: steps between checkpoints.
        progress: show a progress bar on a terminal.
    """

    dt: float
    checkpoint: Path | str | None
    every: int
    progress: bool = False

    def run(self, until: float, *, steps: int | None = None) -> dict[str, Array]:
        """Continue to the time `until`, or for `steps` accepted steps if that is less; returns the table as arrays.

        Raises:
            InvalidInputError: `until` is not finite, `steps` no whole number, or ranks have others.
            ConvergenceError: a step would have to be shorter than `shortest`; table and state end with the last accepted step.
        """
        _check_end(self._comm, until, steps)
        if not self.table["time"]:
            self._begin()
        made, shown = 0, round(self._time / self.dt)
        show = self.progress and self._comm.rank == 0
        with progress_bar("time", round(until / self.dt), show=show, done=shown) as show_progress:
            while self._time < until * (1.0 - 1e-12) and (steps is None or made < steps):
                self._advance(until)
                made += 1
                show_progress(round(self._time / self.dt) - shown, f"t = {self._time:.4g}")
                shown = round(self._time / self.dt)
                if self.checkpoint is not None and (len(self.history) - 1) % self.every == 0:
                    self.save()
        return self.arrays()

    def save(self) -> None:
        """Write the checkpoint now."""
        self.history.save(self._fingerprint(), next_dt=self._estimate.next_dt)

    def resume(self, *, changed: Collection[str] = ()) -> int:
        """Read state and table from the checkpoint if there is one; returns the number of steps in it. Collective.

        The checkpoint must be of this problem: the same formula and potentials, mesh and tags, and the same values of constants
        and coefficients as when it was written. If your script changes a value in time (a current, say), set it to its value
        at the checkpoint, or name it in `changed`. Steps, tolerances and options of the solver may differ.

        Args:
            changed: parts that may differ, by the names that the error gives them.

        Raises:
            FormatError: the checkpoint cannot be read, or is of another mesh, space, table or problem; the state is then as
                before the call.
        """
        data = self.history.resume(lambda data: differences_from(data[FINGERPRINT], self._fingerprint()), changed)
        if data is None:
            return 0
        self._estimate.next_dt = float(data["next_dt"])
        return len(self.history) - 1

    @property
    def _time(self) -> float:
        return self.table["time"][-1]

    @property
    @abstractmethod
    def _comm(self) -> MPI.Comm: ...

    @property
    @abstractmethod
    def _estimate(self) -> StepEstimate: ...

    @abstractmethod
    def _begin(self) -> None:
        """Note the initial state."""

    @abstractmethod
    def _advance(self, until: float) -> None:
        """Make one accepted step, and choose the next."""

    @abstractmethod
    def _fingerprint(self) -> Fingerprint: ...


def _check_end(comm: MPI.Comm, until: Any, steps: Any) -> None:
    """A run in time ends at a finite time, or after so many steps, the same on all ranks. Collective."""
    expect_same(comm, "(until, steps)", (until, steps))
    if isinstance(until, bool) or not isinstance(until, Real) or not math.isfinite(until):
        raise InvalidInputError(f"until is {until!r}; it must be a finite time.")
    if steps is not None:
        whole_number("steps", steps)
