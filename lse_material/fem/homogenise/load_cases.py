"""Samples of a cell along paths through F-space, each followed from F = I step by step on stable branches, and restartable.

Groups of ranks share the paths; each group has its own cell. A finished path is written at once, so a process that is killed
loses only unfinished paths, and the next run reads the others. The result is the same for any number of groups.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI

from lse_material._arrays import Array, deformation_gradients, float_array, frozen, whole_number
from lse_material._files import npz, write_atomically
from lse_material._progress import progress_bar
from lse_material.data.sample_files import write_samples
from lse_material.data.samples import Samples
from lse_material.errors import ConvergenceError, FormatError, InvalidInputError, LseError
from lse_material.fem._mpi import on_every_rank, on_rank_0
from lse_material.fem.homogenise.periodic_cell import Free, PeriodicCell, cell_on
from lse_material.fem.paths.fingerprint import differences_from, to_text

COLUMNS = ("F", "energy", "stress", "tangent", "negative", "perturbations", "order", "iterations", "buckled", "seconds")
FINGERPRINT = "fingerprint"  # of cell and path, in the file of a path

logger = logging.getLogger("lse_material")


@dataclass(frozen=True, eq=False)
class CellPath:
    """Average deformation gradients, one after another.

    Attributes:
        F: (m, dim, dim), det F > 0; steps of a percent or so, since branches are followed.
        free: as in `PeriodicCell.equilibrium`.

    Raises:
        InvalidInputError: F is empty or not finite, or det F <= 0 where no component is free.

    >>> path = lse.fem.CellPath.straight(np.diag([1.1, 1.0]), 3)
    >>> path.F[:, 0, 0].round(4)
    array([1.0333, 1.0667, 1.1   ])
    """

    F: Array
    free: Free = field(default_factory=dict)

    def __post_init__(self) -> None:
        F = float_array("F of a path", self.F)
        if F.ndim != 3 or len(F) == 0:
            raise InvalidInputError(f"a path has F of shape (m, dim, dim), m > 0; this is {F.shape}.")
        object.__setattr__(self, "F", frozen(deformation_gradients(F, F.shape[-1])))
        volume = np.linalg.det(F)
        if not self.free and not volume.min() > 0.0:
            step = int(np.argmin(volume > 0.0))
            raise InvalidInputError(f"step {step} of a path has det F = {volume[step]:.3g}; it must be > 0.")

    @classmethod
    def straight(cls, end: Any, steps: int, free: Free | None = None) -> CellPath:
        """From I (left out) to `end` (dim, dim) in equal steps; `free` as of the class."""
        steps = whole_number("steps", steps, 1)
        end = deformation_gradients(end, len(float_array("end", end, 2)))
        shares = np.arange(1, steps + 1) / steps
        return cls(np.eye(len(end)) + shares[:, None, None] * (end - np.eye(len(end))), free or {})


@dataclass(frozen=True, eq=False)
class CellSamples:
    """What `sample` found, in rows: path by path, step by step.

    Attributes:
        samples: F, energy and stress.
        path: the path of each row, (n,).
        tangent: dP/dF, (n, dim, dim, dim, dim).
        negative: negative eigenvalues of the cell's tangent, 0 where it is stable, (n,).
        order: amplitude along the mode in which it buckled, 0 on the branch of F = I, a length, (n,).
        buckled: whether it has left the branch of F = I along a mode, (n,).
        perturbations, iterations, seconds: effort of each row; CPU time of one rank.
        volume, solid_volume: of the box and of the solid.
        lost: states that were not found, at the ends of paths.

    >>> def make_cell(comm):
    ...     square = mesh.create_unit_square(comm, 2, 2)
    ...     return lse.fem.PeriodicCell(square, lambda F: lse.fem.energy(material, F), degree=1, quadrature_degree=1)
    >>> paths = [lse.fem.CellPath.straight(np.diag([1.1, 1.0]), 2)]
    >>> found = lse.fem.sample(make_cell, paths, "samples.npz", progress=False)
    >>> found.samples.F.shape, found.lost
    ((2, 2, 2), 0)
    """

    samples: Samples
    path: Array
    tangent: Array
    negative: Array
    order: Array
    buckled: Array
    perturbations: Array
    iterations: Array
    seconds: Array
    volume: float
    solid_volume: float
    lost: int


def sample(
    make_cell: Callable[[MPI.Comm], PeriodicCell],
    paths: Sequence[CellPath],
    out: Path | str,
    *,
    comm: MPI.Comm = MPI.COMM_WORLD,
    ranks_per_cell: int = 1,
    units: Mapping[str, str] | None = None,
    progress: bool = True,
) -> CellSamples:
    """Follow every path and write `out`, an archive of `Samples`, and beside it STEM.states.npz with the other columns.

    Finished paths are stored in the folder STEM.paths; a path found there is read, not followed, if it is of the same cell: the
    same formula and potentials, values of constants and coefficients, mesh, lattice, size of perturbations and tolerance.
    Collective.

    Args:
        make_cell: makes a cell on a communicator.
        paths: to follow, each from F = I.
        out: a .npz file.
        comm: all ranks.
        ranks_per_cell: ranks that share a cell. The number of cells follows from it, and is 1 at least.
        units: of the samples.
        progress: show a progress bar on a terminal, for the paths of the first cell.

    Raises:
        InvalidInputError: `out` is no .npz file, or there are no paths.
        LseError: no state was found at all, the cell has internal variables, or it failed for another reason; the same on every
            rank.

    >>> def make_cell(comm):
    ...     square = mesh.create_unit_square(comm, 2, 2)
    ...     return lse.fem.PeriodicCell(square, lambda F: lse.fem.energy(material, F), degree=1, quadrature_degree=1)
    >>> paths = [lse.fem.CellPath.straight(np.diag([1.1, 1.0]), 2)]
    >>> found = lse.fem.sample(make_cell, paths, "samples.npz", progress=False)
    >>> len(lse.read_samples("samples.npz"))
    2
    """
    out = Path(out)
    if out.suffix != ".npz":
        raise InvalidInputError(f"{out}: samples of a cell are written as .npz.")
    whole_number("ranks_per_cell", ranks_per_cell, 1)
    if not paths or not all(isinstance(path, CellPath) for path in paths):
        raise InvalidInputError("paths must be a list of one CellPath or more.")
    folder = out.with_suffix(".paths")
    on_rank_0(comm, lambda: folder.mkdir(parents=True, exist_ok=True))
    groups = max(1, comm.size // ranks_per_cell)
    mine = min(comm.rank // ranks_per_cell, groups - 1)
    own = comm.Split(mine, comm.rank)

    def follow() -> tuple[dict[int, dict[str, Any]], tuple[float, float]]:
        cell = cell_on(own, make_cell)
        if cell.internal:
            raise InvalidInputError(
                "the cell dissipates: its stress is no derivative of a W(F), so that its states are no samples. Follow them by "
                "`PeriodicCell.minimum`."
            )
        own_paths = {i: paths[i] for i in range(mine, len(paths), groups)}
        return _follow_all(cell, own_paths, folder, progress and mine == 0), (cell.volume, cell.solid_volume)

    try:
        parts, volumes = on_every_rank(comm, follow)
    except Exception as error:
        raise LseError(f"a cell failed: {type(error).__name__}: {error}") from error
    found = comm.gather(parts if own.rank == 0 else {}, root=0)
    own.Free()

    def write() -> CellSamples:
        merged = {index: part for group in found or () for index, part in group.items()}
        result = _assembled(merged, paths, volumes, dict(units or {}))
        write_samples(result.samples, out)
        names = ("path", *COLUMNS[3:], "volume", "solid_volume", "lost")
        content = npz({name: np.asarray(getattr(result, name)) for name in names})
        write_atomically(out.with_suffix(".states.npz"), content)
        return result

    written: CellSamples = on_rank_0(comm, write)
    return written


def _follow_all(
    cell: PeriodicCell, paths: Mapping[int, CellPath], folder: Path, progress: bool
) -> dict[int, dict[str, Any]]:
    """The states of these paths, read where they are stored, else followed and stored."""
    parts: dict[int, dict[str, Any]] = {}
    with progress_bar("paths", len(paths), show=progress and cell.comm.rank == 0) as advance:
        for index, path in paths.items():
            file = folder / f"path_{index:05d}.npz"
            key = _key(cell, path)
            part = on_rank_0(cell.comm, partial(_read, file, key))
            if part is None:
                part = _follow(cell, path)
                content = npz({FINGERPRINT: np.array(key), **part})
                on_rank_0(cell.comm, partial(write_atomically, file, content))
            parts[index] = part
            advance(1, "")
    return parts


def _follow(cell: PeriodicCell, path: CellPath) -> dict[str, Any]:
    """The states of a path, up to the first that is not found."""
    cell.reset()
    rows: list[tuple[Any, ...]] = []
    for F in path.F:
        start = time.process_time()
        try:
            s = cell.minimum(F, path.free)
        except ConvergenceError as error:
            if cell.comm.rank == 0:
                logger.warning("A path ends after %d of %d states: %s", len(rows), len(path.F), error)
            break
        seconds = cell.comm.bcast(time.process_time() - start, root=0)
        rows.append((*(getattr(s, name) for name in COLUMNS[:-1]), seconds))
    return {name: np.array(column) for name, column in zip(COLUMNS, zip(*rows))} if rows else {}


def _assembled(
    parts: Mapping[int, dict[str, Any]], paths: Sequence[CellPath], volumes: tuple[float, float], units: dict[str, str]
) -> CellSamples:
    whole = [index for index in range(len(paths)) if parts[index]]
    if not whole:
        raise LseError("no state was found on any path: take smaller steps.")
    rows = {name: np.concatenate([parts[index][name] for index in whole]) for name in COLUMNS}
    path = np.concatenate([np.full(len(parts[index]["energy"]), index) for index in whole])
    samples = Samples(F=rows["F"], energy=rows["energy"], stress=rows["stress"], units=units)
    others = {name: rows[name] for name in COLUMNS[3:]}
    lost = sum(len(p.F) for p in paths) - len(path)
    return CellSamples(samples, path, **others, volume=volumes[0], solid_volume=volumes[1], lost=lost)


def _read(file: Path, key: str) -> dict[str, Any] | None:
    """The stored states of a path; None if there are none, or those of another cell or path."""
    if not file.exists():
        return None
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as archive:
            if differences_from(archive[FINGERPRINT], json.loads(key)):
                return None
            return {name: archive[name] for name in COLUMNS if name in archive.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise FormatError(f"{file} cannot be read: {error}. Remove it.") from None


def _key(cell: PeriodicCell, path: CellPath) -> str:
    """The fingerprint of cell and path; collective."""
    loads = np.array([[*place, stress] for place, stress in sorted(path.free.items())])
    return to_text({**cell.fingerprint(), "path": hashlib.sha256(path.F.tobytes() + loads.tobytes()).hexdigest()})
