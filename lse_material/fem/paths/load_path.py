"""Load paths: steps that halve where a solve fails and grow again, a stability check after each, a record, and checkpoints.

A path through wells jumps: at the end of each step the tangent is looked at, and a state that has become a saddle is left along
its lowest mode. Checkpoints are whole or not there, so that a process that is killed loses the step it was in, no more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from mpi4py import MPI
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from lse_material._arrays import Array
from lse_material.errors import ConvergenceError, FormatError, InvalidInputError
from lse_material.fem.paths.fingerprint import EQUAL, Fingerprint, differences_from, fingerprint
from lse_material.fem.paths.history import FINGERPRINT, History, RecordedPath
from lse_material.fem.solve._energy import FieldEnergy
from lse_material.fem.solve.stability import is_stable, perturb_along_mode

KICKS = 5  # after one solve
DIRICHLET = "Dirichlet values"
OWN = ("load", "energy", "iterations", "kicks")


@dataclass(frozen=True, eq=False)
class LoadPath(RecordedPath):
    """Equilibria of a problem under a load that follows given levels.

    Attributes:
        problem: of which `apply` changes conditions.
        apply: sets the load; u is then that of the step before, unless `apply` changes it.
        observe: name -> what is recorded after each step, a number that is the same on every rank: a reaction, a fraction,
            `lambda: lowest_modes(problem).values[0]`.
        kick_size: largest entry of the displacement with which saddles are left; 0 turns the check off.
        halvings: how often a step may be halved before it is given up.
        checkpoint: npz file to which the state goes after each step; any number of ranks can go on from it.
        progress: show a bar on a terminal.
        history: what has happened so far. Its table has a row for each step: load, energy, iterations, kicks, and what is
            observed.

    Raises:
        InvalidInputError: an observable has a name that the table uses.
    """

    problem: FieldEnergy
    apply: Callable[[float], None]
    observe: Mapping[str, Callable[[], float]] = field(default_factory=dict)
    kick_size: float = 0.0
    halvings: int = 6
    checkpoint: Path | str | None = None
    progress: bool = True

    def __post_init__(self) -> None:
        self.history  # noqa: B018 (it looks at the names of what is observed)

    @cached_property
    def history(self) -> History:
        """What has happened so far."""
        return History(self.problem.u, OWN, self.observe, numbers=("force_scale",), checkpoint=self.checkpoint)

    def run(self, levels: Sequence[float]) -> dict[str, Array]:
        """Go through the levels, one after another, from where the table ends; returns the table as arrays.

        After `resume` the levels already in the table are passed over. u is at the last level in the end.

        Raises:
            InvalidInputError: a level is not finite or like the one before it, or the table is not a start of these levels.
            ConvergenceError: a step failed also in its smallest parts; the table holds what came before.
        """
        levels = [float(level) for level in levels]
        if not np.isfinite(levels).all():
            raise InvalidInputError("a load level is not finite.")
        still = [i for i in range(1, len(levels)) if levels[i] == levels[i - 1]]
        if still:
            raise InvalidInputError(
                f"levels {still[0] - 1} and {still[0]} (counted from 0) are both {levels[still[0]]:g}: a path goes up or down."
            )
        done = self.table["load"]
        if done and done != levels[: len(done)]:
            raise InvalidInputError(
                f"the path so far ends at the load {done[-1]:g} after {len(done)} steps, which is no start of these levels."
            )
        comm = self.problem.u.function_space.mesh.comm
        console = Console(stderr=True)
        with Progress(
            TextColumn("load"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"),
            console=console, disable=not (self.progress and comm.rank == 0 and console.is_terminal), transient=True,
        ) as bar:  # fmt: skip
            task = bar.add_task("", total=len(levels), completed=len(done))
            for level in levels[len(done) :]:
                iterations, kicks = self._to(level)
                energy = self.problem.energy()
                self.history.add(load=level, energy=energy, iterations=iterations, kicks=kicks)
                if self.checkpoint is not None:
                    self.history.save(self._fingerprint(), force_scale=self.problem.force_scale)
                bar.update(task, advance=1, description=f"{level:.4g}: {iterations} iterations")
        return self.history.arrays()

    def resume(self, *, changed: Collection[str] = ()) -> int:
        """Take state and table from the checkpoint if there is one; returns the number of steps that it holds. Collective.

        The checkpoint must be of this problem: the same formula and potentials, mesh and tags, the same values of constants
        and coefficients after `apply(last load)`, and u must keep the Dirichlet values of that load. Options of the
        solvers, levels to come, halvings and the like may be others.

        Args:
            changed: parts that may differ from what they were, by the names that the error gives them: a path is then continued
                with another material, say.

        Raises:
            FormatError: the checkpoint cannot be read, or is of another mesh, space, table or problem; u and table are then as
                before the call.
        """
        u = self.problem.u
        before = u.x.array.copy()
        try:
            data = self.history.resume(self._differences, changed)
        except FormatError:
            if self.table["load"]:
                self.apply(self.table["load"][-1])
                u.x.array[:] = before
            raise
        if data is None:
            return 0
        self.problem.force_scale = float(data["force_scale"])
        return len(self.history)

    # ---- one step --------------------------------------------------------------------------------------------------------

    def _to(self, level: float) -> tuple[int, int]:
        """Solve at a level, in smaller steps if need be; returns iterations and kicks."""
        u, iterations, kicks = self.problem.u, 0, 0
        start = at = self.history.last("load")
        step = level - start
        smallest = abs(step) / 2**self.halvings
        while True:
            target = level if abs(level - at) <= abs(step) * (1.0 + 1e-9) else at + step
            before = u.x.array.copy()
            self.apply(target)
            try:
                count, more = self._minimum()
            except ConvergenceError:
                self.history.failed += 1
                self.history.rejected += 1
                u.x.array[:] = before
                self.apply(at)
                u.x.array[:] = before
                step = 0.5 * (target - at)
                if abs(step) < smallest * (1.0 - 1e-9) or step == 0.0:
                    raise
                continue
            iterations, kicks, at = iterations + count, kicks + more, target
            if target == level:
                return iterations, kicks
            step *= 1.5

    def _minimum(self) -> tuple[int, int]:
        """Solve, and leave saddles; returns iterations and kicks."""
        self.problem.solve()
        iterations = self.problem.iterations
        for kicks in range(KICKS + 1):
            if self.kick_size == 0.0 or is_stable(self.problem):
                return iterations, kicks
            if kicks < KICKS:
                perturb_along_mode(self.problem, self.kick_size)
                self.problem.solve()
                iterations += self.problem.iterations
        raise ConvergenceError(f"still a saddle after {KICKS} kicks of {self.kick_size:g}.")

    # ---- checkpoints -----------------------------------------------------------------------------------------------------

    def _differences(self, data: Mapping[str, Array]) -> list[str]:
        """What differs between a checkpoint, whose state u is, and this problem under the last load of it; collective."""
        values = self.problem.u.x.array.copy()
        if len(data["load"]):
            self.apply(float(data["load"][-1]))
        other = differences_from(data[FINGERPRINT], self._fingerprint())
        if len(data["load"]) and not self._keeps_dirichlet_values(values):
            other.append(DIRICHLET)
        self.problem.u.x.array[:] = values
        return other

    def _fingerprint(self) -> Fingerprint:
        problem = self.problem
        return fingerprint({"energy": problem.functional}, unknown=problem.u, bcs=problem.bcs)

    def _keeps_dirichlet_values(self, values: Array) -> bool:
        """Whether values of u are those that the Dirichlet conditions prescribe now; collective."""
        wanted = values.copy()
        for bc in self.problem.bcs:
            bc.set(wanted, None, 1.0)
        comm = self.problem.u.function_space.mesh.comm
        apart, largest = (comm.allreduce(float(np.abs(v).max(initial=0.0)), MPI.MAX) for v in (wanted - values, wanted))
        return apart <= EQUAL * largest
