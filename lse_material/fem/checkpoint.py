"""The state of a run in files that are whole or not there: one part per rank, which fits the same mesh and ranks only."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from dolfinx import fem

from lse_material.checks import Array
from lse_material.errors import FormatError
from lse_material.storage import write_atomically


def save_part(path: Path, u: fem.Function, values: Mapping[str, Array]) -> None:
    """Write this rank's values of u, and what goes with them, beside `path`."""
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {"signature": np.array(_signature(u)), "u": u.x.array, **values}
    np.savez_compressed(buffer, **arrays)
    write_atomically(_part(path, u), buffer.getvalue())


def load_part(path: Path, u: fem.Function, names: set[str], counter: str) -> dict[str, Array] | None:
    """Bring u to the values in the checkpoint, and return what goes with them; None where there is none. Collective.

    Args:
        path: as it was saved.
        u: of the same space, on the same mesh and number of ranks.
        names: what must be there.
        counter: an array among them whose length counts steps: it must be the same in all parts.

    Raises:
        FormatError: the checkpoint is of another mesh, space or number of ranks, or misses a rank's part.
    """
    comm, part = u.function_space.mesh.comm, _part(path, u)
    there = comm.allgather(part.exists())
    if not any(there):
        return None
    problem: str | None = None
    data: dict[str, Any] = {}
    if not all(there):
        problem = f"the checkpoint {path} has no part for rank {there.index(False)}"
    else:
        try:
            with np.load(part, allow_pickle=False) as archive:
                data = {name: archive[name] for name in archive.files}
            if str(data["signature"]) != _signature(u):
                problem = f"the checkpoint {part} is of another mesh, function space or number of ranks"
            elif set(data) != {"signature", "u", *names}:
                problem = f"the checkpoint {part} holds {sorted(data)}, not {sorted(names)}"
        except (OSError, ValueError, KeyError, EOFError) as error:
            problem = f"the checkpoint {part} cannot be read: {error}"
    problems = [text for text in comm.allgather(problem) if text is not None]
    if problems:
        raise FormatError(f"{problems[0]}. Remove it to start anew.")
    steps = comm.allgather(len(data[counter]))
    if min(steps) != max(steps):
        raise FormatError(f"the parts of the checkpoint {path} are of different steps. Remove them to start anew.")
    u.x.array[:] = data["u"]
    return {name: data[name] for name in names}


def _part(path: Path, u: fem.Function) -> Path:
    comm = u.function_space.mesh.comm
    return path.with_name(f"{path.stem}.rank{comm.rank}of{comm.size}.npz")


def _signature(u: fem.Function) -> str:
    """What a checkpoint must be of: mesh and space of this rank."""
    V = u.function_space
    h = hashlib.sha256(np.ascontiguousarray(V.mesh.geometry.x).tobytes())
    h.update(repr((V.mesh.comm.size, V.dofmap.index_map.size_global, V.dofmap.index_map_bs)).encode())
    h.update(np.ascontiguousarray(V.dofmap.list).tobytes())
    return h.hexdigest()[:16]
