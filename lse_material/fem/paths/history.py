"""What has happened on a path: a table with a row for each state, counts of repeated steps, and checkpoints.

Load paths, arc length and evolution each define how states follow one another. Each is a `RecordedPath` with a `History`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import ufl
from dolfinx import fem

from lse_material._arrays import Array, float_array
from lse_material._files import write_table
from lse_material.errors import FormatError, InvalidInputError
from lse_material.fem._mpi import on_every_rank, on_rank_0
from lse_material.fem.paths.checkpoint import OWN, load_state, save_state
from lse_material.fem.paths.fingerprint import Fingerprint, differences_from, to_text
from lse_material.fem.quadrature.dissipation import Memory
from lse_material.fem.solve.fields import restorer

FINGERPRINT, COUNTS = "fingerprint", "counts"  # of the problem, and of repeated steps, in a checkpoint


class InternalVariables(Protocol):
    """What a body remembers of its past: it changes when a state is accepted, and not within a solve."""

    @property
    def functions(self) -> Mapping[str, fem.Function]:
        """The memory, by names."""
        ...

    def advance(self) -> None:
        """Take the present state into the memory; collective."""
        ...


def memory_of(internal: Sequence[InternalVariables]) -> dict[str, fem.Function]:
    """The functions of internal variables, by names in a checkpoint."""
    return {f"{name} {k}": function for k, one in enumerate(internal) for name, function in one.functions.items()}


def check_memory(energy: ufl.Form, internal: Sequence[InternalVariables]) -> None:
    """Raise InvalidInputError for an energy whose memory would not follow, and for memory that is not in the energy."""
    if not isinstance(internal, Sequence) or not all(hasattr(one, "functions") for one in internal):
        raise InvalidInputError(
            f"internal is {internal!r}; give a list of what remembers, a Dissipation or a CellStress: internal=[hysteresis]."
        )
    known = {id(f): f.name for f in memory_of(internal).values() if isinstance(f, Memory)}
    read = {id(f): f.name for f in energy.coefficients() if isinstance(f, Memory)}
    for name in (name for key, name in read.items() if key not in known):
        raise InvalidInputError(
            f"the energy has {name!r} of internal variables that are not in internal=, so that they would never follow: "
            "give internal=[...] with every Dissipation and CellStress in the energy."
        )
    for name in (name for key, name in known.items() if key not in read):
        raise InvalidInputError(
            f"internal= has the {name!r} of a Dissipation that is not in the energy, so that it would cost nothing: add "
            "its `functional` to the energy."
        )


def fingerprints_of(internal: Sequence[InternalVariables]) -> Fingerprint:
    """The fingerprints of internal variables that have one of their own, such as that of the cells of a `CellStress`."""
    return {
        f"{part} of the internal variables {k}": values
        for k, one in enumerate(internal)
        for part, values in getattr(one, "fingerprint", dict)().items()
    }


def advance(internal: Sequence[InternalVariables]) -> float:
    """Let internal variables follow; returns the energy that those dissipate which have a method `dissipated`; collective."""

    def total() -> float:
        return sum(getattr(one, "dissipated", float)() for one in internal)

    before = total()
    for variables in internal:
        variables.advance()
    return total() - before


class History:
    """A table, counts, and the checkpoint of one function.

    Args:
        state: the function that a checkpoint stores.
        columns: names of what the path itself records of each state.
        observe: name -> further number to record, the same on every rank.
        numbers: names of what a checkpoint stores beside the table.
        checkpoint: npz file, if checkpoints are written.
        memory: further functions that it stores, by names.

    Attributes:
        table: name -> values so far, one for each state.
        failed: solves that failed and were repeated with a smaller step.
        rejected: steps that were repeated with a smaller one, for any reason.
        increases: states that were accepted although the energy had risen by more than the supply brought.

    Raises:
        InvalidInputError: an observable has a name that the table or the checkpoint uses.

    >>> history = lse.fem.History(u, ["load"], {"size": lambda: float(np.abs(u.x.array).max())})
    >>> history.add(load=0.1)
    >>> history.arrays()
    {'load': array([0.1]), 'size': array([0.])}
    """

    def __init__(
        self,
        state: fem.Function,
        columns: Sequence[str],
        observe: Mapping[str, Callable[[], float]],
        *,
        numbers: Collection[str] = (),
        checkpoint: Path | str | None = None,
        memory: Mapping[str, fem.Function] | None = None,
    ) -> None:
        if checkpoint is not None and not isinstance(checkpoint, (str, Path)):
            raise InvalidInputError(f"checkpoint is {checkpoint!r}; it must be the name of a file, or a Path.")
        for name in _names(observe):
            if name in (*columns, *numbers, FINGERPRINT, COUNTS) or name.startswith(OWN):
                raise InvalidInputError(f"the table has a column {name!r} of its own; observe it under another name.")
        self._functions = {"u": state, **(memory or {})}
        self._state, self._observe, self._numbers, self._checkpoint = state, dict(observe), tuple(numbers), checkpoint
        self.table: dict[str, list[float]] = {name: [] for name in (*columns, *observe)}
        self.failed = self.rejected = self.increases = 0

    def __len__(self) -> int:
        """The number of states."""
        return len(next(iter(self.table.values())))

    def last(self, name: str, default: float = 0.0) -> float:
        """The value at the last state, or `default` if there is none."""
        return self.table[name][-1] if len(self) else default

    def add(self, **values: float) -> None:
        """Add a row, with the present values of what is observed; collective."""
        comm = self._state.function_space.mesh.comm
        observed = {name: on_every_rank(comm, partial(_number, name, of)) for name, of in self._observe.items()}
        for name, value in {**values, **observed}.items():
            self.table[name].append(value)

    def arrays(self) -> dict[str, Array]:
        """The table so far."""
        return {name: np.array(values) for name, values in self.table.items()}

    def save_table(self, path: Path | str) -> None:
        """Write the table as .csv or .npz, whole or not at all. Collective.

        Raises:
            FormatError: the name has another ending.
            OSError: the file cannot be written.
        """
        on_rank_0(self._state.function_space.mesh.comm, lambda: write_table(path, self.table))

    def save(self, parts: Fingerprint, **numbers: Any) -> None:
        """Write state, table, counts, the fingerprint of the problem and further numbers to the checkpoint; collective.

        Raises:
            InvalidInputError: the path has no checkpoint file.
        """
        counts = np.array([self.rejected, self.increases, self.failed])
        own = {FINGERPRINT: to_text(parts), COUNTS: counts}
        save_state(self._file(), self._functions, {**numbers, **own, **self.arrays()})

    def resume(
        self, differences: Callable[[Mapping[str, Array]], list[str]], changed: Collection[str]
    ) -> dict[str, Array] | None:
        """Read state, table and counts from the checkpoint; returns its content, None if there is no file. Collective.

        Args:
            differences: names of the parts in which a checkpoint, whose state the function then has, differs from the problem.
            changed: parts that may differ.

        Raises:
            FormatError: the checkpoint cannot be read, or is of another mesh, space, table or problem; state and table are
                then as before the call.
            InvalidInputError: the path has no checkpoint file.
        """
        restore = restorer(self._functions.values())
        data = load_state(self._file(), self._functions, {FINGERPRINT, COUNTS, *self._numbers, *self.table})
        if data is None:
            return None
        other = [name for name in differences(data) if name not in changed]
        if other:
            restore()
            raise FormatError(
                f"the checkpoint {self._file()} is of another problem; what differs: {', '.join(other)}. Remove it to start "
                f"anew, or go on from it nevertheless by resume(changed={other})."
            )
        self.table = {name: data[name].tolist() for name in self.table}
        self.rejected, self.increases, self.failed = (int(count) for count in data[COUNTS])
        return data

    def _file(self) -> Path:
        if self._checkpoint is None:
            raise InvalidInputError("there is no checkpoint: give checkpoint=..., the name of a file, at the start.")
        return Path(self._checkpoint)


class RecordedPath(ABC):
    """A path that records its states in a `History`."""

    @property
    @abstractmethod
    def history(self) -> History:
        """What has happened so far."""

    def resume(self, *, changed: Collection[str] = ()) -> int:
        """Read state and table from the checkpoint if there is one; returns the number of states in it. Collective.

        The checkpoint must be of this problem: the same formula and potentials, mesh and tags, and the same values of constants
        and coefficients, under the last load of a path of equilibria, whose Dirichlet values u must have. If your script
        changes a value in time (a current, say), set it to its value at the checkpoint, or name it in `changed`. Steps,
        tolerances, halvings and options of the solver may differ: they apply from there on.

        Args:
            changed: parts that may differ, by the names that the error gives them, to continue with another material, say.

        Raises:
            FormatError: the checkpoint cannot be read, or is of another mesh, space, table or problem; state and table are
                then as before the call.
        """
        data = self.history.resume(self._differences, changed)
        if data is None:
            return 0
        self._continue_from(data)
        return len(self.history)

    def _differences(self, data: Mapping[str, Array]) -> list[str]:
        """Parts in which a checkpoint, whose state the functions have, differs from this problem; collective."""
        return differences_from(data[FINGERPRINT], self._fingerprint())

    @abstractmethod
    def _fingerprint(self) -> Fingerprint: ...

    @abstractmethod
    def _continue_from(self, data: Mapping[str, Array]) -> None:
        """Take from a checkpoint what it has beside state and table."""

    @property
    def table(self) -> dict[str, list[float]]:
        """Name -> values so far, one for each state."""
        return self.history.table

    @property
    def failed(self) -> int:
        """Solves that failed and were repeated with a smaller step."""
        return self.history.failed

    @property
    def rejected(self) -> int:
        """Steps that were repeated with a smaller one, for any reason."""
        return self.history.rejected

    def arrays(self) -> dict[str, Array]:
        """The table so far."""
        return self.history.arrays()

    def save_table(self, path: Path | str) -> None:
        """Write the table as .csv or .npz; see `History.save_table`. Collective."""
        self.history.save_table(path)


def _names(observe: Mapping[str, Callable[[], float]]) -> list[str]:
    """The names of what is observed, if they are names of functions."""
    if not isinstance(observe, Mapping) or not all(isinstance(k, str) and callable(of) for k, of in observe.items()):
        raise InvalidInputError(
            f"observe is {observe!r}; give names and functions without arguments, such as "
            '{"force": lambda: problem.reaction(bc)}.'
        )
    return list(observe)


def _number(name: str, observable: Callable[[], float]) -> float:
    """What is observed, as a float; infinite and NaN are facts too."""
    found = observable()
    if found is None:
        raise InvalidInputError(f"the function observe[{name!r}] returns nothing; it must return a number.")
    return float(float_array(f"observe[{name!r}]()", found, 0, finite=False))
