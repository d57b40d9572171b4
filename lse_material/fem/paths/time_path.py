"""What runs in time share, of a composition or of a motion: steps up to a time, and their checkpoint."""

import math
from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from numbers import Real
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import ufl
from dolfinx import fem
from ufl.core.expr import Expr

from lse_material._arrays import Array, not_negative, positive, whole_number
from lse_material._progress import progress_bar
from lse_material.errors import ConvergenceError, InvalidInputError
from lse_material.fem._mpi import expect_same, integral
from lse_material.fem.paths.history import RecordedPath
from lse_material.fem.solve.fields import restorer


class Rejected(Enum):
    """Why a step is repeated with a shorter one.

    >>> [reason.name for reason in lse.fem.Rejected]
    ['ERROR', 'ENERGY', 'SOLVER']
    """

    ERROR = "its error is too large"
    ENERGY = "the energy rose"
    SOLVER = "Newton's method failed"


@dataclass(frozen=True)
class Trial:
    """A step that was tried."""

    factor: float  # to the next step, or to its repetition
    rejected: Rejected | None = None
    reason: str = ""  # of the rejection, in words
    row: Mapping[str, float] = field(default_factory=dict)  # what the table gets of the step


class StepEstimate:
    """The root mean square over a body of what estimates the error of a step; and the length of the next step."""

    def __init__(
        self,
        state: Sequence[fem.Function],  # what a step changes
        square: Expr,  # of the error, a scalar
        dt: float,  # the first step
        longest: float,  # of all steps
    ) -> None:
        domain = state[0].function_space.mesh
        self.state, self.next_dt, self.longest, self.comm = state, dt, longest, domain.comm
        self._square = fem.form(square * ufl.dx)
        self._volume = integral(self.comm, fem.form(fem.Constant(domain, 1.0) * ufl.dx))

    def root_mean_square(self) -> float:
        """Of the present values; collective."""
        return float(np.sqrt(integral(self.comm, self._square) / self._volume))


class TimePath(RecordedPath):
    """A run in time from its present state, at time 0; the table of its states has a column `time`."""

    dt: float  # a step, by which progress is counted
    shortest: float  # the run fails if a step would have to be shorter
    checkpoint: Path | str | None  # npz file, written every `every` steps
    every: int
    progress: bool = False  # show a progress bar on a terminal
    shortest_share: ClassVar[float]  # of dt, if `shortest` is 0

    def run(self, until: float, *, steps: int | None = None) -> dict[str, Array]:
        """Continue to the time `until`, or for `steps` accepted steps if that is less; returns the table as arrays.

        Raises:
            InvalidInputError: `until` is not finite, `steps` no whole number, or ranks have others.
            ConvergenceError: a step would have to be shorter than `shortest`; table and state end with the last accepted step.
        """
        expect_same(self._estimate.comm, "(until, steps)", (until, steps))
        end: Any = until
        if isinstance(end, bool) or not isinstance(end, Real) or not math.isfinite(end):
            raise InvalidInputError(f"until is {until!r}; it must be a finite time.")
        if steps is not None:
            whole_number("steps", steps)
        if not self.table["time"]:
            self._begin()
        made, shown = 0, round(self._time / self.dt)
        show = self.progress and self._estimate.comm.rank == 0
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
        """As `RecordedPath.resume`, but returns the number of steps. Collective."""
        return max(super().resume(changed=changed) - 1, 0)

    def _continue_from(self, data: Mapping[str, Array]) -> None:
        self._estimate.next_dt = float(data["next_dt"])

    @property
    def _time(self) -> float:
        return self.table["time"][-1]

    @property
    def _shortest(self) -> float:
        return self.shortest or self.shortest_share * self.dt

    @property
    @abstractmethod
    def _estimate(self) -> StepEstimate: ...

    @abstractmethod
    def _try(self, dt: float) -> Trial:
        """Make a step."""

    @abstractmethod
    def _accept(self, time: float, dt: float, trial: Trial) -> None:
        """Note the state after a step, or the initial one if dt is 0."""

    def _check_steps(self, longest: float) -> None:
        """Check the numbers that a run in time is given."""
        positive("dt", self.dt)
        not_negative("shortest", self.shortest)
        whole_number("every", self.every, 1)
        if not self._shortest <= self.dt <= longest:
            raise InvalidInputError(f"dt is {self.dt}; it must lie between {self._shortest} and {longest}.")

    def _begin(self) -> None:
        self._accept(0.0, 0.0, Trial(1.0))

    def _advance(self, until: float) -> None:
        """Make one accepted step, and choose the next."""
        estimate, history, left = self._estimate, self.history, until - self._time
        restore = restorer(estimate.state)
        while True:
            last = estimate.next_dt >= left * (1.0 - 1e-9)
            dt = left if last else estimate.next_dt
            trial = self._try(dt)
            too_short = trial.factor * dt < self._shortest
            if trial.rejected is None or (trial.rejected is Rejected.ENERGY and too_short):
                break
            history.rejected += 1
            history.failed += trial.rejected is Rejected.SOLVER
            restore()
            if too_short:
                raise ConvergenceError(f"the step at time {self._time:g} failed down to dt = {dt:.3g}: {trial.reason}.")
            estimate.next_dt = trial.factor * dt
        history.increases += trial.rejected is not None
        self._accept(until if last else self._time + dt, dt, trial)
        if not last or trial.factor < 1.0:
            estimate.next_dt = min(trial.factor * dt, estimate.longest)
