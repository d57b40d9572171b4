"""A motion in time: steps that are repeated shorter where they fail or are wrong, a table of energies, and checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import ufl
from dolfinx import fem
from mpi4py import MPI

from lse_material._arrays import Array, float_array, positive, whole_number
from lse_material.errors import ConvergenceError, InvalidInputError
from lse_material.fem._mpi import integral, on_every_rank
from lse_material.fem.dynamics.explicit import ExplicitMotion
from lse_material.fem.dynamics.motion import Motion
from lse_material.fem.paths.fingerprint import Fingerprint, fingerprint
from lse_material.fem.paths.history import History, InternalVariables, advance, check_memory, memory_of
from lse_material.fem.paths.time_path import StepEstimate, TimePath

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
        InvalidInputError: a number is not positive, an observable has a name that the table uses, or the energy has a
            `Dissipation` that is not in `internal`, or the reverse.

    >>> motion = lse.fem.Motion(W * dx, u, density=1.0, petsc_options_prefix="motion_")
    >>> motion.velocity.interpolate(lambda x: 0.1 * x[:2])
    >>> table = lse.fem.Dynamics(motion, 0.1, progress=False).run(0.5)
    >>> bool(np.ptp(table["kinetic"] + table["energy"]) < 1e-12)
    True
    """

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
        positive("dt", self.dt)
        whole_number("every", self.every, 1)
        if not float_array("tolerance", self.tolerance, 0) >= 0.0:
            raise InvalidInputError(f"tolerance is {self.tolerance!r}; it must be >= 0.")
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

    @property
    def _comm(self) -> MPI.Comm:
        return self.motion.comm

    def _begin(self) -> None:
        self._note(0.0, 0.0, 0.0, 0.0, 0.0)
        if self.tolerance > 0.0:
            self._estimate.start(PROBE * self.dt)

    def _fingerprint(self) -> Fingerprint:
        motion = self.motion
        without = (motion.before, motion.velocity, *memory_of(self.internal).values())
        return fingerprint(motion.formulas, unknown=motion.u, bcs=motion.bcs, without=without)

    def _advance(self, until: float) -> None:
        motion, estimate, history, start = self.motion, self._estimate, self.history, self._time
        shortest = self.shortest or 1e-6 * self.dt
        before, velocity = motion.u.x.array.copy(), motion.velocity.x.array.copy()
        while True:
            last = estimate.next_dt >= (until - start) * (1.0 - 1e-9)
            dt = until - start if last else estimate.next_dt
            if self.supports is not None:
                on_every_rank(motion.comm, partial(self.supports, start + dt))
            try:
                motion.step(dt)
                error = estimate.error(velocity, dt) if self.tolerance > 0.0 else 0.0
                factor = LARGEST_GROWTH
                if self.tolerance > 0.0 and error > 0.0:
                    factor = min(SAFETY * (self.tolerance / error) ** (1.0 / 3.0), LARGEST_GROWTH)
                if self.tolerance == 0.0 or error <= self.tolerance or dt <= shortest:
                    break
                reason = f"its error {error:.3g} exceeds {self.tolerance:.3g}"
            except ConvergenceError as failure:
                factor, reason = 0.5, str(failure)
                history.failed += 1
            history.rejected += 1
            motion.u.x.array[:], motion.velocity.x.array[:] = before, velocity
            estimate.next_dt = max(factor, SMALLEST_FACTOR) * dt
            if estimate.next_dt < shortest:
                raise ConvergenceError(f"the step at time {start:g} failed down to dt = {dt:.3g}: {reason}.")
        paid = motion.dissipated + advance(self.internal)
        estimate.accept(velocity, dt)
        self._note(until if last else start + dt, dt, error, paid, motion.work)
        if not last or factor < 1.0:
            estimate.next_dt = min(factor * dt, self.dt)

    def _note(self, time: float, dt: float, error: float, paid: float, work: float) -> None:
        self.history.add(
            time=time,
            dt=dt,
            kinetic=self.motion.kinetic(),
            energy=self.motion.energy(),
            dissipated=self.history.last("dissipated") + paid,
            work=self.history.last("work") + work,
            error=error,
            iterations=float(self.motion.iterations),
        )


class _Estimate(StepEstimate):
    """The error of a step, dt^2 (a1 - a0) / 12 with the mean accelerations of two steps; and the next step.

    A step with the exact acceleration a(t) errs by dt^3 da/dt / 12 in u.
    """

    def __init__(self, motion: Motion | ExplicitMotion, dt: float) -> None:
        V = motion.u.function_space
        self.next_dt, self._motion = dt, motion
        self.acceleration, self._difference = fem.Function(V), fem.Function(V)
        one = fem.Constant(V.mesh, 1.0) * ufl.dx
        self._square = fem.form(ufl.inner(self._difference, self._difference) * ufl.dx)
        self._volume = integral(motion.comm, fem.form(one))

    def start(self, dt: float) -> None:
        """Measure the initial acceleration by a short step, which is taken back; collective."""
        u, velocity = self._motion.u.x.array.copy(), self._motion.velocity.x.array.copy()
        self._motion.step(dt)
        self.accept(velocity, dt)
        self._motion.u.x.array[:], self._motion.velocity.x.array[:] = u, velocity

    def error(self, velocity: Array, dt: float) -> float:
        """Of the last step, which began with a velocity; collective."""
        new = (self._motion.velocity.x.array - velocity) / dt
        self._difference.x.array[:] = dt**2 / 12.0 * (new - self.acceleration.x.array)
        return float(np.sqrt(integral(self._motion.comm, self._square) / self._volume))

    def accept(self, velocity: Array, dt: float) -> None:
        """Remember the acceleration of a step."""
        self.acceleration.x.array[:] = (self._motion.velocity.x.array - velocity) / dt
