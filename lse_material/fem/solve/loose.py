"""What a tangent does not resist: rows without stiffness, and parts of the body that no Dirichlet condition holds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.sparse
from mpi4py import MPI
from petsc4py import PETSc
from scipy.sparse.csgraph import connected_components

from lse_material._arrays import Array
from lse_material.fem.solve.force_scale import Field, RoundingForces, product

NO_FORCE = 1e-8  # of the forces that would cancel: a motion that makes less is free
NOTHING = 1e-14  # of the largest row: rounding
MOST = 50  # parts that are looked at


def rows_without_stiffness(forces: RoundingForces, A: PETSc.Mat) -> tuple[int, list[float]] | None:
    """Number of free rows of A that are zero but for rounding, and the place of one; None if there are none. Collective."""
    count, place = 0, None
    zero = [np.ones(len(field.dofs), dtype=bool) for field in forces.fields]
    for column in forces.fields:  # one by one: entries of different fields have different units
        ones = [np.zeros(size) for size in forces.sizes]
        ones[column.block][column.dofs] = 1.0
        sums = product(A, ones, absolute=True)
        for rows, field in zip(zero, forces.fields):
            size = sums[field.block][field.dofs]
            free = forces.free[field.block][field.dofs]
            largest = forces.comm.allreduce(size[free].max(initial=0.0), MPI.MAX)
            rows &= free & (size <= NOTHING * largest)
    for rows, field in zip(zero, forces.fields):
        number = forces.comm.allreduce(int(rows.sum()))
        if number and place is None:
            nodes = np.repeat(_places(field)[: field.nodes], field.block_size, axis=0)
            place = _first(forces.comm, nodes[rows])
        count += number
    return None if place is None else (count, place)


def free_motion(forces: RoundingForces, A: PETSc.Mat) -> tuple[float, list[float]] | None:
    """A rigid motion of a connected part that the conditions allow and A does not resist. Collective.

    Returns:
        The part's share of the nodes and its centre; None if there is no such part.
    """
    for field in forces.fields:
        if not field.displacement:
            continue
        comm, dim = forces.comm, field.block_size
        places = _places(field)[:, :dim]
        x = places[: field.nodes] + forces.values(field).reshape(-1, dim)
        parts, number = _parts(field)
        free = forces.free[field.block][field.dofs].reshape(-1, dim)
        total = comm.allreduce(len(x))
        for part in range(min(number, MOST)):
            inside = parts[: field.nodes] == part
            count, centre = comm.allreduce(int(inside.sum())), comm.allreduce(x[inside].sum(axis=0))
            if count == 0:
                continue
            centre /= count
            motions = _rigid_motions(x - centre, inside, comm)
            held = np.array([motion[~free] for motion in motions])
            values, combinations = np.linalg.eigh(comm.allreduce(held @ held.T))
            for c in combinations.T[values <= 1e-12 * count]:
                motion = np.tensordot(c, motions, axes=1)
                if _resists_nothing(forces, A, field, motion):
                    return count / total, [round(float(v), 6) for v in centre]
    return None


def _resists_nothing(forces: RoundingForces, A: PETSc.Mat, field: Field, motion: Array) -> bool:
    blocks = [np.zeros(size) for size in forces.sizes]
    blocks[field.block][field.dofs] = motion.ravel()
    made = forces.norms(np.concatenate(product(A, blocks)))
    would = forces.norms(np.concatenate(product(A, [np.abs(block) for block in blocks], absolute=True)))
    return bool((made <= NO_FORCE * would).all() and would.any())


def _rigid_motions(x: Array, inside: Array, comm: MPI.Comm) -> Array:
    """Translations and rotations about the origin of the nodes inside, largest entry of order one: (motions, nodes, dim)."""
    dim = x.shape[1]
    size = comm.allreduce(np.abs(x[inside]).max(initial=0.0), MPI.MAX) or 1.0
    motions = [np.where(inside[:, None], np.eye(dim)[i], 0.0) for i in range(dim)]
    for i in range(dim):
        for j in range(i):
            spin = np.zeros_like(x)
            spin[:, i], spin[:, j] = x[:, j] / size, -x[:, i] / size
            motions.append(np.where(inside[:, None], spin, 0.0))
    return np.array(motions)


def _parts(field: Field) -> tuple[Array, int]:
    """A number for each node of this rank, the same for nodes that cells connect, on any rank; and how many there are."""
    V = field.space
    index_map, cells = V.dofmap.index_map, V.dofmap.list
    size = index_map.size_local + index_map.num_ghosts
    rows = np.repeat(np.arange(len(cells)), cells.shape[1])
    graph = scipy.sparse.coo_array((np.ones(len(rows)), (rows, len(cells) + cells.ravel())), (len(cells) + size,) * 2)
    local = connected_components(graph, directed=False)[1][len(cells) :]
    every = index_map.local_to_global(np.arange(size, dtype=np.int32))
    comm = V.mesh.comm
    shared = np.unique(np.concatenate(comm.allgather(index_map.ghosts)))
    mine = np.isin(every, shared)
    links = comm.allgather((local.max(initial=-1) + 1, local[mine], every[mine]))
    starts = np.concatenate([[0], np.cumsum([count for count, _, _ in links])])
    left = np.concatenate([start + labels for start, (_, labels, _) in zip(starts, links)])
    right = starts[-1] + np.searchsorted(shared, np.concatenate([nodes for _, _, nodes in links]))
    joined = scipy.sparse.coo_array((np.ones(len(left)), (left, right)), (starts[-1] + len(shared),) * 2)
    number = connected_components(joined, directed=False)[1][: starts[-1]]
    result: Array = np.unique(number, return_inverse=True)[1][starts[comm.rank] + local]
    return result, len(np.unique(number))


def _places(field: Field) -> Array:
    """Coordinates of the nodes of this rank, owned ones first."""
    result: Array = field.space.tabulate_dof_coordinates()
    return result


def _first(comm: MPI.Comm, places: Array) -> list[float]:
    found: Iterator[Array] = (part[0] for part in comm.allgather(places[:1]) if len(part))
    return [round(float(v), 6) for v in next(found)]
