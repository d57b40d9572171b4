"""A motion in time: steps that are repeated shorter where they fail or are wrong, a table of energies, and checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import ufl
from dolfinx import fem

from lse_material._arrays import Array, not_negative
from lse_material.errors import ConvergenceError, InvalidInputError
from lse_material.fem._mpi import on_every_rank
from lse_material.fem.dynamics.body import MovingBody
from lse_material.fem.dynamics.explicit import ExplicitMotion
from lse_material.fem.dynamics.motion import Motion
from lse_material.fem.paths.fingerprint import Fingerprint, fingerprint
from lse_material.fem.paths.history import History, InternalVariables, advance, check_memory, memory_of
from lse_material.fem.paths.time_path import Rejected, StepEstimate, TimePath, Trial
from lse_material.fem.solve.fields import restorer

COLUMNS = ("time", "dt", "kinetic", "energy", "dissipated", "work", "error", "iterations")
LARGEST_GROWTH = 2.0  # of a step over the one before
SAFETY = 0.9  # share of the step that the estimate allows, which is taken
SMALLEST_FACTOR = 0.1  # of a step over one that was rejected
PROBE = 1e-3  # of the longest step: one that measures the initial acceleration


@dataclass(frozen=True, eq=False)
class Dynamics(TimePath):
    """A run of a `Motion`, or an `ExplicitMotion`, from its present state, at time 0.

    Attributes:
        motion: makes the steps.
        dt: the longest step.
        supports: sets Dirichlet values to those of a time; called with the time at the end of each step.
        tolerance: of the error of a step: root mean square over the body, in units of length. Steps are as long as `dt` if 0,
            and shorter only where Newton's method fails.
        shortest: the run fails if a step would have to be shorter; 1e-6 of `dt` if 0.
        internal: internal variables that follow each step, a `Dissipation`, say, whose functional is in the energy.
        observe: name -> number to record after each step, the same on every rank.
        checkpoint: npz file, written every `every` steps; any number of ranks can go on from it.
        every: steps between checkpoints.
        progress: show a progress bar on a terminal.
        history: what has happened so far. Its table has a row for each state, beginning with the initial one: time; dt;
            kinetic energy; `energy`, stored less the work of dead loads; energy `dissipated` and `work` of the supports since
            the beginning; estimated error (0 without `tolerance`) and Newton iterations of the step; and what is observed. For
            loads that do not change, kinetic + energy + dissipated - work does not change either.

    Raises:
        InvalidInputError: an argument is none of these, an observable has a name that the table uses, or the energy has a
            `Dissipation` that is not in `internal`, or the reverse.

    >>> motion = lse.fem.Motion(W * dx, u, density=1.0, petsc_options_prefix="motion_")
    >>> motion.velocity.interpolate(lambda x: 0.1 * x[:2])
    >>> table = lse.fem.Dynamics(motion, 0.1, progress=False).run(0.5)
    >>> bool(np.ptp(table["kinetic"] + table["energy"]) < 1e-12)
    True
    """

    shortest_share = 1e-6

    motion: Motion | ExplicitMotion
    dt: float
    supports: Callable[[float], None] | None = None
    tolerance: float = 0.0
    shortest: float = 0.0
    internal: Sequence[InternalVariables] = ()
    observe: Mapping[str, Callable[[], float]] = field(default_factory=dict)
    checkpoint: Path | str | None = None
    every: int = 1
    progress: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.motion, MovingBody):
            raise InvalidInputError(
                f"a Dynamics takes a Motion or an ExplicitMotion, and not {type(self.motion).__name__}."
            )
        if self.supports is not None and not callable(self.supports):
            raise InvalidInputError(f"supports is {self.supports!r}; it must be a function of the time.")
        self._check_steps(self.dt)
        not_negative("tolerance", self.tolerance)
        check_memory(self.motion.functional, self.internal)
        self.history  # noqa: B018 (it checks the names of what is observed)
        self._estimate  # noqa: B018 (it is compiled, which is collective)

    @cached_property
    def history(self) -> History:
        """What has happened so far."""
        memory = {
            "velocity": self.motion.velocity,
            "acceleration": self._estimate.acceleration,
            **memory_of(self.internal),
        }
        return History(
            self.motion.u,
            COLUMNS,
            self.observe,
            numbers=("next_dt",),
            checkpoint=self.checkpoint,
            memory=memory,
        )

    @cached_property
    def _estimate(self) -> _Estimate:
        return _Estimate(self.motion, self.dt)

    def _begin(self) -> None:
        super()._begin()
        if self.tolerance > 0.0:
            self._estimate.start(PROBE * self.dt)

    def _fingerprint(self) -> Fingerprint:
        motion = self.motion
        without = (motion.before, motion.velocity, *memory_of(self.internal).values())
        return fingerprint(motion.formulas, unknown=motion.u, bcs=motion.bcs, without=without)

    def _try(self, dt: float) -> Trial:
        motion, estimate = self.motion, self._estimate
        if self.supports is not None:
            on_every_rank(motion.comm, partial(self.supports, self._time + dt))
        estimate.begin()
        try:
            motion.step(dt)
        except ConvergenceError as failure:
            return Trial(0.5, Rejected.SOLVER, str(failure))
        error = estimate.error(dt) if self.tolerance > 0.0 else 0.0
        row = {"dissipated": motion.dissipated, "work": motion.work, "error": error}
        factor = LARGEST_GROWTH
        if error > 0.0:
            factor = min(SAFETY * (self.tolerance / error) ** (1.0 / 3.0), LARGEST_GROWTH)
        if error <= self.tolerance or dt <= self._shortest:
            return Trial(factor, row=row)
        reason = f"its error {error:.3g} exceeds {self.tolerance:.3g}"
        return Trial(max(factor, SMALLEST_FACTOR), Rejected.ERROR, reason)

    def _accept(self, time: float, dt: float, trial: Trial) -> None:
        paid = trial.row.get("dissipated", 0.0)
        if dt > 0.0:
            paid += advance(self.internal)
            self._estimate.accept(dt)
        self.history.add(
            time=time,
            dt=dt,
            kinetic=self.motion.kinetic(),
            energy=self.motion.energy(),
            dissipated=self.history.last("dissipated") + paid,
            work=self.history.last("work") + trial.row.get("work", 0.0),
            error=trial.row.get("error", 0.0),
            iterations=float(self.motion.iterations),
        )


class _Estimate(StepEstimate):
    """The error of a step, dt^2 (a1 - a0) / 12 with the mean accelerations of two steps; and the next step.

    A step with the exact acceleration a(t) errs by dt^3 da/dt / 12 in u.
    """

    def __init__(self, motion: Motion | ExplicitMotion, dt: float) -> None:
        V = motion.u.function_space
        self._motion, self.acceleration, self._difference = motion, fem.Function(V), fem.Function(V)
        self._velocity = motion.velocity.x.array.copy()
        super().__init__((motion.u, motion.velocity), ufl.inner(self._difference, self._difference), dt, dt)

    def start(self, dt: float) -> None:
        """Measure the initial acceleration by a short step, which is taken back; collective."""
        restore = restorer(self.state)
        self.begin()
        self._motion.step(dt)
        self.accept(dt)
        restore()

    def begin(self) -> None:
        """Note the velocity at the beginning of a step."""
        self._velocity[:] = self._motion.velocity.x.array

    def error(self, dt: float) -> float:
        """Of the last step; collective."""
        self._difference.x.array[:] = dt**2 / 12.0 * (self._mean(dt) - self.acceleration.x.array)
        return self.root_mean_square()

    def accept(self, dt: float) -> None:
        """Remember the acceleration of the last step."""
        self.acceleration.x.array[:] = self._mean(dt)

    def _mean(self, dt: float) -> Array:
        """The mean acceleration of the last step."""
        return (self._motion.velocity.x.array - self._velocity) / dt
