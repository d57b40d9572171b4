"""Evolution in time: steps as long as an error estimate allows, a record of mass and energy, checkpoints.

Each step is made twice, at once and in two halves, and goes on from the halves. Of a method of order one,

    error = | state after two halves - state after the whole |

is the error of the halves to leading order (E. Hairer, S. P. Norsett, G. Wanner, Solving Ordinary Differential Equations I,
II.4), that of lagged mode weights included, which estimates from the past of the solution do not see.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import ufl
from dolfinx import fem
from mpi4py import MPI

from lse_material.checks import Array
from lse_material.errors import ConvergenceError, FormatError, InvalidInputError
from lse_material.fem.cahn_hilliard import CahnHilliard
from lse_material.fem.checkpoint import load_state, save_state
from lse_material.fem.fingerprint import Fingerprint, differences_from, fingerprint, to_text
from lse_material.fem.ranks import on_rank_0
from lse_material.fem.training_box import BoxWatch
from lse_material.table import write_table

Expr = Any  # a UFL expression
SAFETY, SHRINK, GROW = 0.8, 0.3, 1.4  # of the step that the estimate asks for; least and largest factor of the next
ROUNDING = 1e-11  # of the terms that make up an energy
OWN = ("time", "dt", "energy", "mass", "supplied", "work", "error", "iterations", "excess")
FINGERPRINT = "fingerprint"  # of the problem, in a checkpoint


@dataclass
class Evolution:
    """A run of a `CahnHilliard` problem from its present state, at time 0.

    Attributes:
        flow: whose steps are made.
        dt: the first step that is tried, later the next.
        tolerance: of the error of a step, the root mean square over the body of what `compare` holds.
        compare: UFL scalars of the state of order one; the concentration if left out.
        shortest: step below which the run is given up.
        longest: step that is not exceeded.
        watch: the training box of the potential, looked at after each step.
        observe: name -> what is recorded after each step, a number that is the same on every rank.
        checkpoint: npz file to which the state goes every `every` steps; any number of ranks can go on from it.
        every: steps between checkpoints.
        table: name -> values so far, the first row being the initial state: time; dt; energy; mass; mass `supplied` and
            `work` that came with it since the beginning; the estimated error; Newton iterations of the step; `excess` over
            the training box as a share of its width (0 without `watch`); and what is observed.
        rejected: steps that were repeated with a smaller dt: the error was too large, the energy rose, or Newton failed.
        increases: steps after which the energy had risen by more than the supply brought; such steps are rejected, so that one
            is counted only where the shortest step was reached.

    Raises:
        InvalidInputError: a number is not positive, or an observable has a name that the table uses.
    """

    flow: CahnHilliard
    dt: float
    tolerance: float = 1e-3
    compare: Sequence[Expr] = ()
    shortest: float = 0.0
    longest: float = np.inf
    watch: BoxWatch | None = None
    observe: Mapping[str, Callable[[], float]] = field(default_factory=dict)
    checkpoint: Path | str | None = None
    every: int = 1
    table: dict[str, list[float]] = field(default_factory=dict)
    rejected: int = 0
    increases: int = 0

    def __post_init__(self) -> None:
        for name in ("dt", "tolerance", "longest", "every"):
            if not getattr(self, name) > 0.0:
                raise InvalidInputError(f"{name} is {getattr(self, name)!r}; it must be > 0.")
        self.shortest = self.shortest or 1e-9 * self.dt
        if not self.shortest <= self.dt <= self.longest:
            raise InvalidInputError(f"dt is {self.dt}; it must lie between {self.shortest} and {self.longest}.")
        for name in self.observe:
            if name in (*OWN, FINGERPRINT, "next_dt", "counts"):
                raise InvalidInputError(f"the table has a column {name!r} of its own; observe it under another name.")
        state = self.flow.state
        self._other = fem.Function(state.function_space)
        compared = list(self.compare) or [ufl.split(state)[0]]
        squares = [(value - ufl.replace(value, {state: self._other})) ** 2 for value in compared]
        self._difference = fem.form(sum(squares[1:], squares[0]) * ufl.dx)
        one = fem.Constant(state.function_space.mesh, 1.0)
        self._volume = self._sum(fem.form(one * ufl.dx))
        self.table = {name: [] for name in (*OWN, *self.observe)}

    def run(self, until: float, *, steps: int | None = None) -> dict[str, Array]:
        """Go on to the time `until`, or for a number of accepted steps if that is less; returns the table as arrays.

        Raises:
            ConvergenceError: the step would have to be shorter than `shortest`; the table and the state are those of the last
                step that was accepted.
        """
        if not self.table["time"]:
            self._note(0.0, 0.0, 0.0, 0.0, 0.0, 0)
        made = 0
        while self._time < until * (1.0 - 1e-12) and (steps is None or made < steps):
            self._advance(until)
            made += 1
            if self.checkpoint is not None and (len(self.table["time"]) - 1) % self.every == 0:
                self.save()
        return self.arrays()

    def arrays(self) -> dict[str, Array]:
        """The table so far."""
        return {name: np.array(values) for name, values in self.table.items()}

    def save_table(self, path: Path | str) -> None:
        """Write the table as .csv or .npz, whole or not at all. Collective.

        Raises:
            FormatError: the name has another ending.
            OSError: the file cannot be written.
        """
        on_rank_0(self.flow.comm, lambda: write_table(path, self.table))

    def save(self) -> None:
        """Write the checkpoint now."""
        counts = np.array([self.rejected, self.increases])
        own = {"next_dt": self.dt, "counts": counts, FINGERPRINT: to_text(self._fingerprint())}
        save_state(self._path(), self.flow.state, {**own, **self.arrays()})

    def resume(self, *, changed: Collection[str] = ()) -> int:
        """Take state and table from the checkpoint if there is one; returns the number of steps that it holds. Collective.

        The checkpoint must be of this problem: the same formula and potentials, mesh and tags, and the same values of constants
        and coefficients as when it was written. Set what a script changes in the course of time (a current, say) to what it
        was before, or name it in `changed`. Steps, tolerances and options of the solver may be others.

        Args:
            changed: parts that may differ from what they were, by the names that the error gives them.

        Raises:
            FormatError: the checkpoint cannot be read, or is of another mesh, space, table or problem; the state is then as
                before the call.
        """
        state = self.flow.state
        before = state.x.array.copy()
        data = load_state(self._path(), state, {*self.table, "next_dt", "counts", FINGERPRINT})
        if data is None:
            return 0
        other = [name for name in differences_from(data[FINGERPRINT], self._fingerprint()) if name not in changed]
        if other:
            state.x.array[:] = before
            raise FormatError(
                f"the checkpoint {self._path()} is of another problem; what differs: {', '.join(other)}. Remove it to start "
                f"anew, or go on from it nevertheless by resume(changed={other})."
            )
        self.dt = float(data["next_dt"])
        self.rejected, self.increases = (int(count) for count in data["counts"])
        self.table = {name: data[name].tolist() for name in self.table}
        return len(self.table["time"]) - 1

    def _fingerprint(self) -> Fingerprint:
        flow = self.flow
        where = fem.Function(flow.state.function_space)
        for bc in flow.bcs:
            where.x.array[bc.dof_indices()[0]] = 1.0
        where.x.scatter_forward()
        return fingerprint(
            {"step": flow.residual},
            without=(flow.state, flow.before, flow.dt),
            functions={"places of conditions": where},
        )

    # ---- one step --------------------------------------------------------------------------------------------------------

    @property
    def _time(self) -> float:
        return self.table["time"][-1]

    def _advance(self, until: float) -> None:
        """One accepted step, with `dt` adapted for the next."""
        flow, left = self.flow, until - self._time
        start = flow.state.x.array.copy()
        while True:
            last = self.dt >= left * (1.0 - 1e-9)
            dt = left if last else self.dt
            try:
                supplied, work, iterations = self._two_halves(dt)
                error = float(np.sqrt(self._sum(self._difference) / self._volume))
                factor = self._factor(dt, max(error, 1e-300))
                failure = f"its error {error:.3g} exceeds {self.tolerance:.3g}" if error > self.tolerance else None
                if failure is None and self._rose(work):
                    failure, factor = "the energy rose", 0.5
            except ConvergenceError as reason:
                failure, factor = str(reason), 0.5
            if failure is None or (failure == "the energy rose" and factor * dt < self.shortest):
                break
            self.rejected += 1
            flow.state.x.array[:] = start
            if factor * dt < self.shortest:
                raise ConvergenceError(f"the step at time {self._time:g} was given up at dt = {dt:.3g}: {failure}.")
            self.dt = factor * dt
        self.increases += failure is not None
        self._note(until if last else self._time + dt, dt, supplied, work, error, iterations)
        if not last or factor < 1.0:
            self.dt = min(factor * dt, self.longest)

    def _factor(self, dt: float, error: float) -> float:
        """By how much the next step may differ from one of length dt with this error.

        The error is k dt^2, and where k has grown since the step before it is taken to grow on (K. Gustafsson, ACM Trans. Math.
        Softw. 20, 496 (1994)).
        """
        growth = 1.0
        before, at_that = self.table["dt"][-1], self.table["error"][-1]
        if before > 0.0 and at_that > 0.0:
            growth = max(error / at_that * (before / dt) ** 2, 1.0)
        return float(np.clip(SAFETY * np.sqrt(self.tolerance / (error * growth)), SHRINK, GROW))

    def _two_halves(self, dt: float) -> tuple[float, float, int]:
        """The state after two halves, that after the whole step in `_other`; mass and work supplied, Newton iterations."""
        flow = self.flow
        start = flow.state.x.array.copy()
        flow.step(dt)
        whole, iterations = flow.state.x.array.copy(), flow.iterations
        flow.state.x.array[:] = start
        supplied = work = 0.0
        for guess in (0.5 * (start + whole), whole):
            flow.step(0.5 * dt, guess)
            supplied, work = supplied + flow.supplied(), work + flow.work()
            iterations += flow.iterations
        self._other.x.array[:] = whole
        return supplied, work, iterations

    def _rose(self, work: float) -> bool:
        before = self.table["energy"][-1]
        return bool(self.flow.energy() > before + work + ROUNDING * (self.flow.energy_size() + abs(work)))

    def _note(self, time: float, dt: float, supplied: float, work: float, error: float, iterations: int) -> None:
        before = {name: self.table[name][-1] if self.table[name] else 0.0 for name in ("supplied", "work")}
        values = {
            "time": time,
            "dt": dt,
            "energy": self.flow.energy(),
            "mass": self.flow.mass(),
            "supplied": before["supplied"] + supplied,
            "work": before["work"] + work,
            "error": error,
            "iterations": iterations,
            "excess": 0.0 if self.watch is None else self.watch.excess(),
            **{name: float(function()) for name, function in self.observe.items()},
        }
        for name, value in values.items():
            self.table[name].append(float(value))

    def _sum(self, form: fem.Form) -> float:
        return float(self.flow.comm.allreduce(fem.assemble_scalar(form), MPI.SUM))

    def _path(self) -> Path:
        if self.checkpoint is None:
            raise InvalidInputError("this run has no checkpoint: give Evolution(checkpoint=...).")
        return Path(self.checkpoint)
