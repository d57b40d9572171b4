"""Load paths: steps that halve where a solve fails and grow again, a stability check after each, a record, and checkpoints.

A path through wells jumps: at the end of each step the tangent is looked at, and a state that has become a saddle is left along
its lowest mode. Checkpoints are whole or not there, so that a process that is killed loses the step it was in, no more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from dolfinx import fem
from mpi4py import MPI
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from lse_material.checks import Array
from lse_material.errors import ConvergenceError, FormatError, InvalidInputError
from lse_material.fem.checkpoint import load_state, save_state
from lse_material.fem.energy_protocol import PathEnergy
from lse_material.fem.fingerprint import SAME, Fingerprint, differences_from, fingerprint, to_text
from lse_material.fem.ranks import on_rank_0
from lse_material.fem.stability import is_stable, kick
from lse_material.table import write_table

KICKS = 5  # after one solve
FINGERPRINT = "fingerprint"  # of the problem, in a checkpoint
DIRICHLET = "Dirichlet values"


@dataclass
class LoadPath:
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
        table: name -> values so far, one for each state: load, energy, iterations, kicks, and what is observed.
        failed: solves that failed and were repeated with smaller steps.

    Raises:
        InvalidInputError: an observable has a name that the table uses.
    """

    problem: PathEnergy
    apply: Callable[[float], None]
    observe: Mapping[str, Callable[[], float]] = field(default_factory=dict)
    kick_size: float = 0.0
    halvings: int = 6
    checkpoint: Path | str | None = None
    progress: bool = True
    table: dict[str, list[float]] = field(default_factory=dict)
    failed: int = 0

    def __post_init__(self) -> None:
        own = ("load", "energy", "iterations", "kicks")
        for name in self.observe:
            if name in (*own, FINGERPRINT, "force_scale"):
                raise InvalidInputError(f"the table has a column {name!r} of its own; observe it under another name.")
        self.table = {name: [] for name in (*own, *self.observe)}

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
                self._note(level, iterations, kicks)
                if self.checkpoint is not None:
                    self._save()
                bar.update(task, advance=1, description=f"{level:.4g}: {iterations} iterations")
        return {name: np.array(values) for name, values in self.table.items()}

    def save_table(self, path: Path | str) -> None:
        """Write the table as .csv or .npz, whole or not at all. Collective.

        Raises:
            FormatError: the name has another ending.
            OSError: the file cannot be written.
        """
        on_rank_0(self.problem.u.function_space.mesh.comm, lambda: write_table(path, self.table))

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
        data = load_state(self._path(), u, {FINGERPRINT, "force_scale", *self.table})
        if data is None:
            return 0
        values = u.x.array.copy()
        if len(data["load"]):
            self.apply(float(data["load"][-1]))
        other = differences_from(data[FINGERPRINT], self._fingerprint())
        if len(data["load"]) and not self._keeps_dirichlet_values(values):
            other.append(DIRICHLET)
        other = [name for name in other if name not in changed]
        if other:
            u.x.array[:] = before
            if self.table["load"]:
                self.apply(self.table["load"][-1])
                u.x.array[:] = before
            raise FormatError(
                f"the checkpoint {self._path()} is of another problem; what differs: {', '.join(other)}. Remove it to start "
                f"anew, or go on from it nevertheless by resume(changed={other})."
            )
        u.x.array[:] = values
        self.problem.force_scale = float(data["force_scale"])
        self.table = {name: data[name].tolist() for name in self.table}
        return len(self.table["load"])

    # ---- one step --------------------------------------------------------------------------------------------------------

    def _to(self, level: float) -> tuple[int, int]:
        """Solve at a level, in smaller steps if need be; returns iterations and kicks."""
        u, iterations, kicks = self.problem.u, 0, 0
        start = at = self.table["load"][-1] if self.table["load"] else 0.0
        step = level - start
        smallest = abs(step) / 2**self.halvings
        while True:
            target = level if abs(level - at) <= abs(step) * (1.0 + 1e-9) else at + step
            before = u.x.array.copy()
            self.apply(target)
            try:
                count, more = self._minimum()
            except ConvergenceError:
                self.failed += 1
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
                kick(self.problem, self.kick_size)
                self.problem.solve()
                iterations += self.problem.iterations
        raise ConvergenceError(f"still a saddle after {KICKS} kicks of {self.kick_size:g}.")

    def _note(self, level: float, iterations: int, kicks: int) -> None:
        values = {"load": level, "energy": self.problem.energy(), "iterations": iterations, "kicks": kicks}
        values.update({name: float(function()) for name, function in self.observe.items()})
        for name, value in values.items():
            self.table[name].append(value)

    # ---- checkpoints -----------------------------------------------------------------------------------------------------

    def _save(self) -> None:
        columns = {name: np.array(values) for name, values in self.table.items()}
        own = {"force_scale": self.problem.force_scale, FINGERPRINT: to_text(self._fingerprint())}
        save_state(self._path(), self.problem.u, {**own, **columns})

    def _fingerprint(self) -> Fingerprint:
        u = self.problem.u
        where = fem.Function(u.function_space, name="where u is held")
        for bc in self.problem.bcs:
            where.x.array[bc.dof_indices()[0]] = 1.0
        where.x.scatter_forward()
        return fingerprint(
            {"energy": self.problem.functional}, without=(u,), functions={"places where u is held": where}
        )

    def _keeps_dirichlet_values(self, values: Array) -> bool:
        """Whether values of u are those that the Dirichlet conditions prescribe now; collective."""
        wanted = values.copy()
        for bc in self.problem.bcs:
            bc.set(wanted, None, 1.0)
        comm = self.problem.u.function_space.mesh.comm
        apart, largest = (comm.allreduce(float(np.abs(v).max(initial=0.0)), MPI.MAX) for v in (wanted - values, wanted))
        return apart <= SAME * largest

    def _path(self) -> Path:
        if self.checkpoint is None:
            raise InvalidInputError("this path has no checkpoint: give LoadPath(checkpoint=...).")
        return Path(self.checkpoint)
