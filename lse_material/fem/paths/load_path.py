"""Load paths: steps that halve where a solve fails, a stability check after each, a balance of energy, and checkpoints.

A path through wells jumps: each step ends with a check of the tangent, and the path leaves a saddle along its lowest mode.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

from lse_material._arrays import Array, float_array, not_negative, whole_number
from lse_material._progress import progress_bar
from lse_material.errors import ConvergenceError, InvalidInputError
from lse_material.fem._mpi import expect_same, on_every_rank, warn_together
from lse_material.fem.paths.equilibrium_path import EquilibriumPath
from lse_material.fem.paths.history import History, InternalVariables, advance, check_memory
from lse_material.fem.paths.step_work import StepWork
from lse_material.fem.solve._energy import FieldEnergy
from lse_material.fem.solve.arguments import check_energy_problem
from lse_material.fem.solve.fields import restorer
from lse_material.fem.solve.multigrid import is_direct
from lse_material.fem.solve.stability import MOST_ROWS, StabilityWarning, is_stable, perturb_along_mode

MAX_PERTURBATIONS = 5  # after one solve
JUMP_HALVINGS = 8  # of the step between two levels, within which a jump is located
ADDED = ("work", "dissipated", "released", "iterations", "perturbations")  # up over the parts of a step
SUMS = ADDED[:3]  # since the first level
COLUMNS = ("load", "energy", *ADDED)


class _JumpError(Exception):
    """The body jumps."""


@dataclass(frozen=True, eq=False)
class LoadPath(EquilibriumPath):
    """Equilibria of a problem at given levels of a load.

    Attributes:
        problem: whose conditions `apply` changes.
        apply: sets the load; u is then that of the step before, unless `apply` changes it.
        observe: name -> number to record after each step, the same on every rank: a reaction, a fraction,
            `lambda: lowest_modes(problem).values[0]`.
        perturbation_size: largest displacement of the perturbation that leaves a saddle, about a thousandth of the body. Left
            out, the path goes on from a saddle, and the first one raises a `StabilityWarning`; 0 turns the check off. The check
            takes a factor at each level: with an iterative solver, bodies of more than 100,000 unknowns have none.
        halvings: how often a step may be halved before the path fails.
        checkpoint: npz file, written after each step; any number of ranks can go on from it.
        internal: internal variables that follow each state that is accepted, a `Dissipation`, say; checkpoints contain them.
            With them a step in which the body jumps is halved until the load of the jump is known to 1/256 of the step: the
            memory follows up to there, and what is dissipated does not depend on the levels.
        progress: show a progress bar on a terminal.
        history: what has happened so far. Its table has a row for each level: load; energy; work of supports and changes of
            loads, energy dissipated by internal variables, and energy released in jumps, each since the first level; iterations
            and perturbations; and what is observed. energy + dissipated + released - work does not change; see
            `lse_material.fem.paths.step_work`.

    Raises:
        InvalidInputError: a number is out of its range; an observable has a name that the table uses; the energy has a
            `Dissipation` that is not in `internal`, or the reverse.

    >>> def stretch(e):
    ...     pull.value[0] = e
    >>> force = {"force": lambda: problem.reaction(bcs[1])}
    >>> path = lse.fem.LoadPath(problem, stretch, force, perturbation_size=1e-3, progress=False)
    >>> table = path.run([0.0, 0.05, 0.1])
    >>> table["load"]
    array([0.  , 0.05, 0.1 ])
    """

    problem: FieldEnergy
    apply: Callable[[float], None]
    observe: Mapping[str, Callable[[], float]] = field(default_factory=dict)
    perturbation_size: float | None = None
    halvings: int = 6
    checkpoint: Path | str | None = None
    progress: bool = True
    internal: Sequence[InternalVariables] = ()

    def __post_init__(self) -> None:
        whole_number("halvings", self.halvings)
        if self.perturbation_size is not None:
            not_negative("perturbation_size", self.perturbation_size)
        if not callable(self.apply):
            raise InvalidInputError(f"apply is {self.apply!r}; it must be a function of the load.")
        check_energy_problem(self.problem, "a LoadPath")
        check_memory(self.problem.functional, self.internal)
        self.history  # noqa: B018 (it checks the names of what is observed)

    @cached_property
    def history(self) -> History:
        """What has happened so far."""
        return self._new_history(COLUMNS)

    @cached_property
    def _saddles(self) -> list[str]:
        """What was said of states that are no minima."""
        return []

    def run(self, levels: Sequence[float]) -> dict[str, Array]:
        """Solve at each level, from the end of the table on; returns the table as arrays.

        Levels already in the table, after `resume` for example, are skipped. At the end u is at the last level.

        Raises:
            InvalidInputError: a level is not finite or equal to the one before it, the table is not a start of these levels, or
                ranks have other levels.
            ConvergenceError: a step failed even with its smallest parts; the table ends before it.
        """
        levels = on_every_rank(self.problem.comm, lambda: float_array("levels", levels, 1).tolist())
        expect_same(self.problem.comm, "levels", levels)
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
        show = self.progress and self.problem.comm.rank == 0
        with progress_bar("load", len(levels), show=show, done=len(done)) as show_progress:
            for level in levels[len(done) :]:
                row = self._to(level)
                self.history.add(energy=self.problem.energy(), **row)
                self._save()
                show_progress(1, f"{level:.4g}: {row['iterations']} iterations")
        return self.history.arrays()

    def _to(self, level: float) -> dict[str, float]:
        """Solve at a level, in smaller steps where a step fails or must be located; returns the row of the table."""
        state, at = (self.problem.u, *self.problem.start_values.values()), self.history.last("load")
        row = {name: self.history.last(name) for name in SUMS} | {
            "load": level,
            "iterations": 0.0,
            "perturbations": 0.0,
        }
        step, jump = level - at, at  # a jump is located between `at` and `jump`
        smallest, located = (abs(step) / 2**halvings * (1.0 + 1e-9) for halvings in (self.halvings, JUMP_HALVINGS))
        while True:
            restore, u = restorer(state), self.problem.u.x.array.copy()
            begun = StepWork(self.problem) if self.table["load"] else None
            target = level if abs(level - at) <= abs(step) * (1.0 + 1e-9) else at + step
            seek = bool(self.internal) and begun is not None and abs(target - at) > located
            try:
                self._step(target, begun, row, seek=seek)
            except (ConvergenceError, _JumpError) as stopped:
                restore()
                self._set_load(at)
                self.problem.u.x.array[:] = u
                step = 0.5 * (target - at)
                self.history.rejected += 1
                if isinstance(stopped, _JumpError):
                    jump = target
                    continue
                self.history.failed += 1
                if abs(step) < smallest * (1.0 - 2e-9) or step == 0.0:
                    raise
                continue
            if target == level:
                return row
            at, step = target, 1.5 * step
            if (jump - at) * step > 0.0:
                step = (jump - at) * (1.0 if abs(jump - at) <= located else 0.5)

    def _warn_of_saddle(self) -> None:
        """Warn, once, of a state that is no minimum; collective."""
        A = self.problem.solver.getJacobian()[0]
        if self._saddles or not (is_direct(self.problem.solver.getKSP()) or A.getSize()[0] <= MOST_ROWS):
            return
        try:
            found = "" if is_stable(self.problem) else "the path goes on from a state that is no minimum: a saddle."
        except ConvergenceError as error:
            found = f"it is not known whether the states of this path are minima: {error}"
        if found:
            self._saddles.append(found)
            text = f"{found} Give perturbation_size=, about a thousandth of the body, to leave saddles, or 0 to follow them."
            warn_together(self.problem.comm, text, StabilityWarning)

    def _set_load(self, load: float) -> None:
        """Set a level, whatever that does to u."""
        on_every_rank(self.problem.comm, partial(self.apply, load))

    def _step(self, target: float, begun: StepWork | None, row: dict[str, float], *, seek: bool) -> None:
        """Solve under a load, let internal variables follow, and add to the row.

        Raises:
            _JumpError: the body jumps, and this step is too long to say where.
        """
        self._set_load(target)
        if begun is not None:
            begun.loads_changed()
        iterations, perturbations = self._minimum(seek=seek)
        work, released = (0.0, 0.0) if begun is None else begun.work()
        if seek and begun is not None and begun.jumped:
            raise _JumpError
        for name, value in zip(ADDED, (work, advance(self.internal), released, iterations, perturbations)):
            row[name] += value

    def _minimum(self, *, seek: bool) -> tuple[int, int]:
        """Solve, and leave saddles unless they are sought; returns iterations and perturbations."""
        self.problem.solve()
        iterations, size = self.problem.iterations, self.perturbation_size
        if not size:
            if size is None:
                self._warn_of_saddle()
            return iterations, 0
        for perturbations in range(MAX_PERTURBATIONS + 1):
            if is_stable(self.problem):
                return iterations, perturbations
            if seek:
                raise _JumpError
            if perturbations < MAX_PERTURBATIONS:
                perturb_along_mode(self.problem, size)
                self.problem.solve()
                iterations += self.problem.iterations
        raise ConvergenceError(
            f"still a saddle after {MAX_PERTURBATIONS} perturbations of {size:g} along the lowest mode: take "
            "another perturbation_size."
        )
