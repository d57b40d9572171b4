"""The state of a run in one file, complete or absent, for any number of ranks however they share the cells.

Values are stored cell by cell, in the order in which the cells came into the mesh: partitions, and with them the numbers of
vertices and degrees of freedom, change from one run to the next, even on as many ranks. The vertices of each cell are stored
too, so that the state of another mesh is refused. Limit: rank 0 gathers all values and writes the file, so its memory must
suffice for the states and coordinates of the whole mesh.
"""

import zipfile
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from dolfinx import fem, mesh
from mpi4py import MPI

from lse_material._arrays import Array
from lse_material._files import npz, write_atomically
from lse_material.errors import FormatError, InvalidInputError
from lse_material.fem._cells import owned_cells
from lse_material.fem._compat import geometry_dofmap
from lse_material.fem._mpi import on_rank_0

OWN = ("function:", "space:", "vertices:")  # how the names of the file's own arrays begin

States: TypeAlias = "fem.Function | Mapping[str, fem.Function]"


def save_state(path: Path | str, states: States, values: Mapping[str, Any] | None = None) -> None:
    """Write functions, and numbers that go with them, to one file. Collective.

        save_state("run.npz", {"u": u, "damage": d}, {"time": t, "history": table})

    Args:
        path: of the file, which is npz whatever its name; it is replaced when the new one is whole.
        states: a function, or name -> function; meshes may differ, ranks may not. The values of their spaces must not depend on
            the orientation of edges and faces: Lagrange of degree 1 or 2, discontinuous, quadrature, and blocks and mixed
            spaces of these.
        values: numbers or arrays under names of their own, the same on every rank; rank 0 writes its own.

    Raises:
        InvalidInputError: a function is in another space, or a name cannot be used.
        OSError: the file cannot be written; on every rank.

    >>> lse.fem.save_state("state.npz", {"u": u}, {"load": 0.1})
    >>> lse.fem.load_state("state.npz", {"u": u})
    {'load': array(0.1)}
    """
    path, functions = _file(path), _by_name(states)
    arrays = _arrays(values or {})
    _check(functions)
    comm = next(iter(functions.values())).function_space.mesh.comm
    own = {}
    for name, f in functions.items():
        owned = slice(len(owned_cells(f.function_space.mesh)))
        own[name] = [table[owned] for table in _tables(f)]
    parts = comm.gather(own)

    def write() -> None:
        for name, f in functions.items():
            numbers, vertices, rows = (np.concatenate([part[name][k] for part in parts or ()]) for k in range(3))
            order = np.argsort(numbers)
            arrays[f"vertices:{name}"], arrays[f"function:{name}"] = vertices[order], rows[order]
            arrays[f"space:{name}"] = np.array(_space(f))
        write_atomically(path, npz(arrays))

    on_rank_0(comm, write)


def load_state(path: Path | str, states: States, names: Collection[str] | None = None) -> dict[str, Array] | None:
    """Set functions, ghosts included, to the values in a file, and return the numbers in it. Collective.

    Args:
        path: as it was saved.
        states: under the same names, in the same spaces on the same meshes, on any number of ranks.
        names: of the numbers that must be in the file, no more and no less; any if left out.

    Returns:
        name -> array; None if there is no file. If the file does not fit, no function is changed.

    Raises:
        FormatError: the file cannot be read, or is of other functions, meshes or spaces; on every rank.
        InvalidInputError: as in `save_state`.

    >>> lse.fem.save_state("state.npz", {"u": u})
    >>> u.x.array[:] = 1.0
    >>> _ = lse.fem.load_state("state.npz", {"u": u})
    >>> float(u.x.array.max())
    0.0
    """
    path, functions = _file(path), _by_name(states)
    _check(functions)
    comm = next(iter(functions.values())).function_space.mesh.comm
    tables = {name: _tables(f) for name, f in functions.items()}
    wanted = comm.gather({name: numbers for name, (numbers, _, _) in tables.items()})
    rows: list[Any] = []

    def read() -> dict[str, Array] | None:
        if not path.exists():
            return None
        data = _read(path, functions, names)
        for cells in wanted or ():
            every = {name: [data[f"{kind}:{name}"][cells[name]] for kind in ("vertices", "function")] for name in cells}
            rows.append(every)
        return {name: values for name, values in data.items() if not name.startswith(OWN)}

    data = on_rank_0(comm, read)
    if data is None:
        return None
    found = comm.scatter(rows if comm.rank == 0 else None)
    for name, (_, here, values) in tables.items():
        vertices, rows_here = found[name]
        size = np.abs(here).max(initial=0.0)
        whole = vertices.shape == here.shape and rows_here.shape == values.shape
        same = whole and np.allclose(vertices, here, rtol=1e-12, atol=1e-12 * size)
        if not comm.allreduce(bool(same), MPI.LAND):
            raise _refusal(path, f"is of another mesh, as the vertices under {name!r} say")
    for name, f in functions.items():
        dofmap = f.function_space.dofmap
        bs = dofmap.index_map_bs
        places = dofmap.list.ravel()
        f.x.array.reshape(len(f.x.array) // bs, bs)[places] = found[name][1].reshape(len(places), bs)
    return data


def _file(path: Any) -> Path:
    if not isinstance(path, (str, Path)):
        raise InvalidInputError(f"path is {path!r}; it must be the name of a file, or a Path.")
    return Path(path)


def _by_name(states: States) -> dict[str, fem.Function]:
    if isinstance(states, fem.Function):
        return {"u": states}
    if not isinstance(states, Mapping) or not all(
        isinstance(f, fem.Function) and isinstance(name, str) for name, f in states.items()
    ):
        raise InvalidInputError(f'states is {states!r}; give a Function, or names and Functions: {{"u": u}}.')
    return dict(states)


def _refusal(path: Path, problem: str) -> FormatError:
    return FormatError(f"the checkpoint {path} {problem}. Remove it to start anew.")


def _read(path: Path, functions: Mapping[str, fem.Function], names: Collection[str] | None) -> dict[str, Array]:
    """The arrays in the file; raises FormatError."""
    try:
        with path.open("rb") as file, np.lib.npyio.NpzFile(file, allow_pickle=False) as archive:
            data = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise _refusal(path, f"cannot be read: {error}") from None
    stored = {name.removeprefix("function:") for name in data if name.startswith("function:")}
    if stored != set(functions):
        raise _refusal(path, f"holds the functions {sorted(stored)}, not {sorted(functions)}")
    others = {name for name in data if not name.startswith(OWN)}
    if names is not None and others != set(names):
        raise _refusal(path, f"holds {sorted(others)}, not {sorted(names)}")
    for name, f in functions.items():
        if not {f"space:{name}", f"vertices:{name}"} <= set(data):
            raise _refusal(path, f"cannot be read: it lacks what belongs to {name!r}")
        if str(data[f"space:{name}"]) != _space(f):
            raise _refusal(path, f"is of another function space, {data[f'space:{name}']}, not {_space(f)}")
        topology, count = f.function_space.mesh.topology, len(data[f"vertices:{name}"])
        cells = topology.index_map(topology.dim).size_global
        if len(data[f"function:{name}"]) != cells or count != cells:
            raise _refusal(path, f"is of another mesh, of {count} cells, not {cells}")
    return data


def _arrays(values: Any) -> dict[str, Any]:
    """Numbers and arrays that go with functions, as arrays; what only Python can read is refused, as `None`."""
    if not isinstance(values, Mapping) or not all(isinstance(name, str) for name in values):
        raise InvalidInputError(f"values is {values!r}; give numbers or arrays by names.")
    arrays = {}
    for name, value in values.items():
        if name.startswith(OWN):
            raise InvalidInputError(f"names in a checkpoint do not begin with {OWN}; {name!r} does.")
        try:
            arrays[name] = np.asarray(value)
        except ValueError:  # rows of different lengths
            arrays[name] = np.array(None)
        if arrays[name].dtype.hasobject:
            raise InvalidInputError(f"{name} is {value!r}; a checkpoint takes numbers, texts and arrays of these.")
    return arrays


def _check(functions: Mapping[str, fem.Function]) -> None:
    if not functions:
        raise InvalidInputError("there is no function to save: give one, or name -> function.")
    comm = next(iter(functions.values())).function_space.mesh.comm
    for f in functions.values():
        if not _plain(f.function_space.ufl_element()):
            raise InvalidInputError(
                f"states in {_space(f)} cannot be stored: their values depend on the orientation of edges and faces."
            )
        if MPI.Comm.Compare(f.function_space.mesh.comm, comm) not in (MPI.IDENT, MPI.CONGRUENT):
            raise InvalidInputError("the functions of a checkpoint must have meshes on the same ranks.")


def _tables(f: fem.Function) -> tuple[Array, Array, Array]:
    """Of each cell of this rank, ghosts included: number, vertices and values."""
    domain = f.function_space.mesh
    return cell_numbers(domain), vertices_by_cell(domain), _by_cell(f)


def _plain(element: Any) -> bool:
    """Whether degrees of freedom of a cell do not depend on the numbers of its vertices."""
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
    """Whether the mesh knows the input numbers of its cells; submeshes do not. Collective."""
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
    """Values of u, (cells, degrees of freedom of a cell); None if they depend on the orientation of edges and faces."""
    return _by_cell(u) if _plain(u.function_space.ufl_element()) else None


def _by_cell(u: fem.Function) -> Any:
    dofmap = u.function_space.dofmap
    bs = dofmap.index_map_bs
    cells, nodes = dofmap.list.shape
    return u.x.array.reshape(len(u.x.array) // bs, bs)[dofmap.list].reshape(cells, nodes * bs)
