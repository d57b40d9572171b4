"""The state of a run in one file, whole or not there, for any number of ranks however they share the cells.

Values are kept cell by cell, in the order in which the cells came into the mesh: partitions, and with them the numbers of
vertices and degrees of freedom, change from one run to the next, even on as many ranks. Vertices of each cell are kept
beside them, so that the state of another mesh is refused.
"""

from __future__ import annotations

import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from dolfinx import fem, mesh
from mpi4py import MPI

from lse_material._arrays import Array
from lse_material._files import npz, write_atomically
from lse_material.errors import FormatError, InvalidInputError
from lse_material.fem._compat import geometry_dofmap
from lse_material.fem._mpi import on_rank_0

OWN = ("function:", "space:", "mesh:", "vertices:")  # how names of the file's own arrays begin

States: TypeAlias = "fem.Function | Mapping[str, fem.Function]"


def save_state(path: Path | str, states: States, values: Mapping[str, Any] | None = None) -> None:
    """Write functions, and numbers that go with them, to one file. Collective.

        save_state("run.npz", {"u": u, "damage": d}, {"time": t, "history": table})

    Args:
        path: of the file, which is npz whatever its name; it is replaced when the new one is whole.
        states: a function, or name -> function; meshes may differ, ranks may not. Their spaces must be such that values do
            not depend on the orientation of edges and faces: Lagrange of degree 1 or 2, discontinuous, quadrature, and what is
            made of these by blocks and mixing.
        values: numbers or arrays under names of their own, the same on every rank; those of rank 0 are written.

    Raises:
        InvalidInputError: a function is in another space, or a name cannot be used.
        OSError: the file cannot be written; on every rank.
    """
    path, functions = Path(path), _by_name(states)
    arrays = {name: np.asarray(value) for name, value in (values or {}).items()}
    _check(functions, arrays)
    comm = next(iter(functions.values())).function_space.mesh.comm
    meshes = _meshes(functions)
    parts = comm.gather(
        (
            [(cell_numbers(domain)[:owned], vertices_by_cell(domain)[:owned]) for domain, owned in meshes],
            {name: _by_cell(f)[: _owned(f.function_space.mesh)] for name, f in functions.items()},
        )
    )
    of_mesh = {name: _index(meshes, f.function_space.mesh) for name, f in functions.items()}

    def write() -> None:
        assert parts is not None
        orders = []
        for k in range(len(meshes)):
            order = np.argsort(np.concatenate([on_mesh[k][0] for on_mesh, _ in parts]))
            arrays[f"vertices:{k}"] = np.concatenate([on_mesh[k][1] for on_mesh, _ in parts])[order]
            orders.append(order)
        for name, f in functions.items():
            rows = np.concatenate([rows[name] for _, rows in parts])
            arrays[f"function:{name}"] = rows[orders[of_mesh[name]]]
            arrays[f"space:{name}"], arrays[f"mesh:{name}"] = np.array(_space(f)), np.array(of_mesh[name])
        write_atomically(path, npz(arrays))

    on_rank_0(comm, write)


def load_state(path: Path | str, states: States, names: Collection[str] | None = None) -> dict[str, Array] | None:
    """Bring functions, ghosts included, to the values in a file, and return the numbers with them. Collective.

    Args:
        path: as it was saved.
        states: under the same names, in the same spaces on the same meshes, on any number of ranks.
        names: of the numbers that must be there, no more and no less; whatever is there if left out.

    Returns:
        name -> array; None if there is no file. If the file does not fit, no function is changed.

    Raises:
        FormatError: the file cannot be read, or is of other functions, meshes or spaces; on every rank.
        InvalidInputError: as in `save_state`.
    """
    path, functions = Path(path), _by_name(states)
    _check(functions, {})
    comm = next(iter(functions.values())).function_space.mesh.comm
    meshes = _meshes(functions)
    of_mesh = {name: _index(meshes, f.function_space.mesh) for name, f in functions.items()}
    wanted = comm.gather([cell_numbers(domain) for domain, _ in meshes])
    cells = {name: f.function_space.mesh.topology.index_map(f.function_space.mesh.topology.dim).size_global
             for name, f in functions.items()}  # fmt: skip
    data: dict[str, Array] = {}
    problem: str | None = None
    rows: list[Any] | None = None
    there = True
    if comm.rank == 0:
        there = path.exists()
        if there:
            data, problem = _read(path, {name: (_space(f), cells[name]) for name, f in functions.items()}, names)
        if there and problem is None:
            rows = [
                {
                    name: (data[f"vertices:{int(data[f'mesh:{name}'])}"][of[k]], data[f"function:{name}"][of[k]])
                    for name, k in of_mesh.items()
                }
                for of in wanted or ()
            ]
        data = {name: values for name, values in data.items() if not name.startswith(OWN)}
    there, problem, data = comm.bcast((there, problem, data))
    if not there:
        return None
    found: dict[str, Any] = {}
    if problem is None:
        found = comm.scatter(rows)
        for name, f in functions.items():
            here, vertices = vertices_by_cell(f.function_space.mesh), found[name][0]
            same = vertices.shape == here.shape and np.allclose(
                vertices, here, rtol=1e-12, atol=1e-12 * np.abs(here).max(initial=0.0)
            )
            if not comm.allreduce(bool(same), MPI.LAND):
                problem = problem or f"is of another mesh, as the vertices under {name!r} say"
    if problem is not None:
        raise FormatError(f"the checkpoint {path} {problem}. Remove it to start anew.")
    for name, f in functions.items():
        dofmap = f.function_space.dofmap
        bs = dofmap.index_map_bs
        places = dofmap.list.ravel()
        f.x.array.reshape(len(f.x.array) // bs, bs)[places] = found[name][1].reshape(len(places), bs)
    return data


def _by_name(states: States) -> dict[str, fem.Function]:
    return {"u": states} if isinstance(states, fem.Function) else dict(states)


def _read(
    path: Path, expected: Mapping[str, tuple[str, int]], names: Collection[str] | None
) -> tuple[dict[str, Array], str | None]:
    """The arrays in the file, or what is wrong with them."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            data = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        return {}, f"cannot be read: {error}"
    functions = {name.removeprefix("function:") for name in data if name.startswith("function:")}
    if functions != set(expected):
        return {}, f"holds the functions {sorted(functions)}, not {sorted(expected)}"
    others = {name for name in data if not name.startswith(OWN)}
    if names is not None and others != set(names):
        return {}, f"holds {sorted(others)}, not {sorted(names)}"
    for name, (space, cells) in expected.items():
        missing = [key for key in (f"space:{name}", f"mesh:{name}") if key not in data]
        if missing or f"vertices:{int(data[f'mesh:{name}'])}" not in data:
            return {}, f"cannot be read: it lacks what belongs to {name!r}"
        if str(data[f"space:{name}"]) != space:
            return {}, f"is of another function space, {data[f'space:{name}']}, not {space}"
        of_mesh = data[f"vertices:{int(data[f'mesh:{name}'])}"]
        if len(data[f"function:{name}"]) != cells or len(of_mesh) != cells:
            return {}, f"is of another mesh, of {len(of_mesh)} cells, not {cells}"
    return data, None


def _check(functions: Mapping[str, fem.Function], values: Mapping[str, Array]) -> None:
    if not functions:
        raise InvalidInputError("there is no function to save: give one, or name -> function.")
    taken = [name for name in values if name.startswith(OWN)]
    if taken:
        raise InvalidInputError(f"names in a checkpoint do not begin with {OWN}; {taken[0]!r} does.")
    comm = next(iter(functions.values())).function_space.mesh.comm
    for f in functions.values():
        if not _plain(f.function_space.ufl_element()):
            raise InvalidInputError(
                f"states in {_space(f)} are not kept: their values depend on how edges and faces are turned."
            )
        if MPI.Comm.Compare(f.function_space.mesh.comm, comm) not in (MPI.IDENT, MPI.CONGRUENT):
            raise InvalidInputError("the functions of a checkpoint must have meshes on the same ranks.")


def _owned(domain: mesh.Mesh) -> int:
    return int(domain.topology.index_map(domain.topology.dim).size_local)


def _meshes(functions: Mapping[str, fem.Function]) -> list[tuple[mesh.Mesh, int]]:
    """The meshes, each once, and how many cells of each this rank owns."""
    found: list[tuple[mesh.Mesh, int]] = []
    for f in functions.values():
        domain = f.function_space.mesh
        if not any(domain is other for other, _ in found):
            found.append((domain, _owned(domain)))
    return found


def _index(meshes: list[tuple[mesh.Mesh, int]], domain: mesh.Mesh) -> int:
    return next(k for k, (other, _) in enumerate(meshes) if other is domain)


def _plain(element: Any) -> bool:
    """Whether degrees of freedom of a cell are the same however its vertices are numbered."""
    parts = element.sub_elements
    if parts:
        return all(_plain(part) for part in parts)
    return element.family_name == "quadrature" or bool(element.basix_element.dof_transformations_are_identity)


def _space(u: fem.Function) -> str:
    return str(u.function_space.ufl_element())


def cell_numbers(domain: mesh.Mesh) -> Any:
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


def vertices_by_cell(domain: mesh.Mesh) -> Any:
    """Coordinates of the geometry's nodes, shape (cells, nodes of a cell, 3)."""
    return domain.geometry.x[geometry_dofmap(domain)]


def values_by_cell(u: fem.Function) -> Any:
    """Values of u, shape (cells, degrees of freedom of a cell); None if they depend on how edges and faces are turned."""
    return _by_cell(u) if _plain(u.function_space.ufl_element()) else None


def _by_cell(u: fem.Function) -> Any:
    dofmap = u.function_space.dofmap
    bs = dofmap.index_map_bs
    cells, nodes = dofmap.list.shape
    return u.x.array.reshape(len(u.x.array) // bs, bs)[dofmap.list].reshape(cells, nodes * bs)
