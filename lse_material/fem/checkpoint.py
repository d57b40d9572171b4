"""The state of a run in one file, whole or not there, for any number of ranks however they share the cells.

Values are kept cell by cell, in the order in which the cells came into the mesh: partitions, and with them the numbers of
vertices and degrees of freedom, change from one run to the next, even on as many ranks. Vertices of each cell are kept
beside them, so that the state of another mesh is refused.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from dolfinx import fem, mesh
from mpi4py import MPI

from lse_material.checks import Array
from lse_material.errors import FormatError, InvalidInputError
from lse_material.fem.compat import geometry_dofmap
from lse_material.fem.ranks import on_rank_0
from lse_material.storage import write_atomically
from lse_material.table import npz

OWN = ("space", "vertices", "u")  # what the file holds beside the caller's arrays


def save_state(path: Path, u: fem.Function, values: Mapping[str, Array]) -> None:
    """Write u, and what goes with it, to `path`. Collective.

    Args:
        path: of the file, which is npz whatever its name.
        u: in a space whose values do not depend on the orientation of edges and faces: Lagrange of degree 1 or 2,
            discontinuous, quadrature, and what is made of these by blocks and mixing.
        values: arrays under names of their own, the same on every rank; those of rank 0 are written.

    Raises:
        InvalidInputError: u is in another space, or a name is one of `OWN`.
        OSError: the file cannot be written; on every rank.
    """
    comm, domain = u.function_space.mesh.comm, u.function_space.mesh
    _check(u, values)
    owned = domain.topology.index_map(domain.topology.dim).size_local
    parts = comm.gather((_numbers(domain)[:owned], _vertices(domain)[:owned], _by_cell(u)[:owned]))

    def write() -> None:
        order = np.argsort(np.concatenate([numbers for numbers, _, _ in parts]))
        arrays: dict[str, Any] = {
            "space": np.array(_space(u)),
            "vertices": np.concatenate([vertices for _, vertices, _ in parts])[order],
            "u": np.concatenate([rows for _, _, rows in parts])[order],
            **values,
        }
        write_atomically(path, npz(arrays))

    on_rank_0(comm, write)


def load_state(path: Path, u: fem.Function, names: set[str]) -> dict[str, Array] | None:
    """Bring u, ghosts included, to the values in the file, and return what goes with them; None without a file. Collective.

    Args:
        path: as it was saved.
        u: of the same space on the same mesh, on any number of ranks.
        names: what must be there, no more and no less.

    Raises:
        FormatError: the file cannot be read, or is of another mesh or function space; on every rank.
        InvalidInputError: as in `save_state`.
    """
    comm, domain = u.function_space.mesh.comm, u.function_space.mesh
    _check(u, {})
    wanted = comm.gather(_numbers(domain))
    cells = comm.reduce(domain.topology.index_map(domain.topology.dim).size_local, MPI.SUM)
    data: dict[str, Array] = {}
    problem: str | None = None
    rows: list[Any] | None = None
    there = True
    if comm.rank == 0:
        there = path.exists()
        if there:
            data, problem = _read(path, _space(u), cells, names)
        if there and problem is None:
            rows = [(data["vertices"][numbers], data["u"][numbers]) for numbers in wanted]
        data = {name: data[name] for name in names if name in data}
    there, problem, data = comm.bcast((there, problem, data))
    if not there:
        return None
    if problem is None:
        vertices, of_cells = comm.scatter(rows)
        here = _vertices(domain)
        same = vertices.shape == here.shape and np.allclose(
            vertices, here, rtol=1e-12, atol=1e-12 * np.abs(here).max(initial=0.0)
        )
        if not comm.allreduce(bool(same), MPI.LAND):
            problem = "is of another mesh"
    if problem is not None:
        raise FormatError(f"the checkpoint {path} {problem}. Remove it to start anew.")
    bs = u.function_space.dofmap.index_map_bs
    u.x.array.reshape(-1, bs)[u.function_space.dofmap.list.ravel()] = of_cells.reshape(-1, bs)
    return data


def _read(path: Path, space: str, cells: int, names: set[str]) -> tuple[dict[str, Array], str | None]:
    """The arrays in the file, or what is wrong with them."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            data = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        return {}, f"cannot be read: {error}"
    if set(data) != {*OWN, *names}:
        return {}, f"holds {sorted(set(data) - set(OWN))}, not {sorted(names)}"
    if str(data["space"]) != space:
        return {}, f"is of another function space, {data['space']}, not {space}"
    if len(data["u"]) != cells or len(data["vertices"]) != cells:
        return {}, f"is of another mesh, of {len(data['u'])} cells, not {cells}"
    return data, None


def _check(u: fem.Function, values: Mapping[str, Array]) -> None:
    taken = [name for name in values if name in OWN]
    if taken:
        raise InvalidInputError(f"a checkpoint has an array {taken[0]!r} of its own; give another name.")
    if not _plain(u.function_space.ufl_element()):
        raise InvalidInputError(
            f"states in {_space(u)} are not kept: their values depend on how edges and faces are turned."
        )


def _plain(element: Any) -> bool:
    """Whether degrees of freedom of a cell are the same however its vertices are numbered."""
    parts = element.sub_elements
    if parts:
        return all(_plain(part) for part in parts)
    return element.family_name == "quadrature" or bool(element.basix_element.dof_transformations_are_identity)


def _space(u: fem.Function) -> str:
    return str(u.function_space.ufl_element())


def _numbers(domain: mesh.Mesh) -> Any:
    """The number of each cell, ghosts included, in the order in which cells came into the mesh."""
    cells = domain.topology.index_map(domain.topology.dim)
    if _from_input(domain, cells.size_local):
        return np.asarray(domain.topology.original_cell_index)
    return cells.local_to_global(np.arange(cells.size_local + cells.num_ghosts, dtype=np.int32))


def _from_input(domain: mesh.Mesh, owned: int) -> bool:
    """Whether the mesh tells where its cells came from; submeshes do not. Collective."""
    try:
        numbers = np.asarray(domain.topology.original_cell_index)[:owned]
    except RuntimeError:
        numbers = np.empty(0, dtype=np.int64)
    every = np.sort(np.concatenate(domain.comm.allgather(numbers)))
    total = domain.topology.index_map(domain.topology.dim).size_global
    return len(every) == total and bool((every == np.arange(total)).all())


def _vertices(domain: mesh.Mesh) -> Any:
    """Coordinates of the geometry's nodes, shape (cells, nodes of a cell, 3)."""
    return domain.geometry.x[geometry_dofmap(domain)]


def _by_cell(u: fem.Function) -> Any:
    """Values of u, shape (cells, degrees of freedom of a cell)."""
    dofmap = u.function_space.dofmap
    size = dofmap.list.shape[1] * dofmap.index_map_bs  # said, since -1 has no meaning on a rank without cells
    return u.x.array.reshape(-1, dofmap.index_map_bs)[dofmap.list].reshape(len(dofmap.list), size)
