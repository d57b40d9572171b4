"""What has happened on a path: a table with a row for each state, counts of what was repeated, and checkpoints.

Load paths, arc length and evolution each say how states follow one another; each has a `History`, to which they report.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from dolfinx import fem

from lse_material._arrays import Array
from lse_material._files import write_table
from lse_material.errors import FormatError, InvalidInputError
from lse_material.fem._mpi import on_rank_0
from lse_material.fem.paths.checkpoint import load_state, save_state
from lse_material.fem.paths.fingerprint import Fingerprint, to_text

FINGERPRINT = "fingerprint"  # of the problem, in a checkpoint


class History:
    """A table, counts, and the checkpoint of one function.

    Args:
        state: the function that a checkpoint holds.
        columns: what is known of each state.
        observe: name -> what is recorded beside it, a number that is the same on every rank.
        numbers: names of what a checkpoint holds beside the table.
        checkpoint: npz file, if one is kept.

    Attributes:
        table: name -> values so far, one for each state.
        failed: solves that failed and were repeated with a smaller step.
        rejected: steps that were repeated with a smaller one, for whatever reason.
        increases: states that were accepted although the energy had risen.

    Raises:
        InvalidInputError: an observable has a name that the table or the checkpoint uses.
    """

    def __init__(
        self,
        state: fem.Function,
        columns: Sequence[str],
        observe: Mapping[str, Callable[[], float]],
        *,
        numbers: Collection[str] = (),
        checkpoint: Path | str | None = None,
    ) -> None:
        for name in observe:
            if name in (*columns, *numbers, FINGERPRINT):
                raise InvalidInputError(f"the table has a column {name!r} of its own; observe it under another name.")
        self._state, self._observe, self._numbers, self._checkpoint = state, dict(observe), tuple(numbers), checkpoint
        self.table: dict[str, list[float]] = {name: [] for name in (*columns, *observe)}
        self.failed = self.rejected = self.increases = 0

    def __len__(self) -> int:
        """The number of states."""
        return len(next(iter(self.table.values())))

    def last(self, name: str, default: float = 0.0) -> float:
        """The value of the last state, or `default` if there is none."""
        values = self.table[name]
        return values[-1] if values else default

    def add(self, **values: float) -> None:
        """A row, with what is observed now; collective."""
        row = {**values, **{name: float(function()) for name, function in self._observe.items()}}
        for name, value in row.items():
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
        """Write state, table, the fingerprint of the problem and further numbers to the checkpoint; collective.

        Raises:
            InvalidInputError: no checkpoint is kept.
        """
        save_state(self._file(), self._state, {**numbers, FINGERPRINT: to_text(parts), **self.arrays()})

    def resume(
        self, differences: Callable[[Mapping[str, Array]], list[str]], changed: Collection[str]
    ) -> dict[str, Array] | None:
        """Take state and table from the checkpoint; returns what it holds, None if there is none. Collective.

        Args:
            differences: names of what differs in a checkpoint, whose state the function has then, from the problem now.
            changed: those that may.

        Raises:
            FormatError: the checkpoint cannot be read, or is of another mesh, space, table or problem; state and table are
                then as before the call.
            InvalidInputError: no checkpoint is kept.
        """
        before = self._state.x.array.copy()
        data = load_state(self._file(), self._state, {FINGERPRINT, *self._numbers, *self.table})
        if data is None:
            return None
        other = [name for name in differences(data) if name not in changed]
        if other:
            self._state.x.array[:] = before
            raise FormatError(
                f"the checkpoint {self._file()} is of another problem; what differs: {', '.join(other)}. Remove it to start "
                f"anew, or go on from it nevertheless by resume(changed={other})."
            )
        self.table = {name: data[name].tolist() for name in self.table}
        return data

    def _file(self) -> Path:
        if self._checkpoint is None:
            raise InvalidInputError("no checkpoint is kept: give checkpoint=..., the name of a file, at the start.")
        return Path(self._checkpoint)
