"""What a tangent does not resist: rows without stiffness, and rigid motions of parts that no Dirichlet condition fixes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from mpi4py import MPI
from petsc4py import PETSc

from lse_material._arrays import Array
from lse_material.fem._cells import connected_parts
from lse_material.fem.solve.fields import Field, Fields, diagonal_of, product

FREE_MOTION = 1e-8  # share of the forces that cancel: a motion against less is free
EMPTY_ROW = 1e-14  # share of the largest row that is rounding
MOST_PARTS = 50  # that are examined


def missing_stiffness(fields: Fields, A: PETSc.Mat) -> str | None:
    """What the tangent A at the present u does not resist, and what to do about it; None if there is nothing. Collective.

    Of a u that is not finite nothing is known.
    """
    if not fields.comm.allreduce(all(np.isfinite(fields.values(one)).all() for one in fields.fields), MPI.LAND):
        return None
    empty = rows_without_stiffness(fields, A)
    if empty is not None:
        count, place = empty
        return (
            f"the tangent has {count} free rows that are zero at the start, one of them at x = {place}: nothing resists "
            "there, as in cells that no integral of the residual covers (check tags), an unknown that is not in the residual, "
            "or a slack membrane, which has no stiffness across its plane at F = I. Prescribe these degrees of freedom, or "
            "start from a state that has stiffness (prestretched)"
        )
    motion = next(free_motions(fields, A), None)
    if motion is not None:
        part = "the body" if motion.share == 1.0 else f"a part of the body ({100 * motion.share:.2g} % of its nodes)"
        return (
            f"{part} around x = {motion.centre} can move rigidly without force, because no Dirichlet condition fixes it: the "
            "tangent is singular. Fix it, connect it, or put it on springs"
        )
    return None


def unmarked_multipliers(fields: Fields, A: PETSc.Mat) -> str | None:
    """Which fields an energy is linear in without a mark of multipliers, and what to do; None if there are none. Collective."""
    means = fields.mean_stiffnesses(diagonal_of(A))
    coupling = fields.mean_stiffnesses(np.concatenate(product(A, [np.ones(n) for n in fields.sizes], absolute=True)))
    linear = [i for i, f in enumerate(fields.fields) if f not in fields.determined and means[i] == 0.0 < coupling[i]]
    if not linear:
        return None
    return (
        f"the energy is linear in the fields {linear} of u, as in a Lagrange multiplier, and has no minimum: take "
        "MaterialProblem(ufl.derivative(energy, u), u, ...), or, for a pressure, lse.fem.two_field_energy"
    )


def rows_without_stiffness(fields: Fields, A: PETSc.Mat) -> tuple[int, list[float]] | None:
    """Number of free rows of A that are zero up to rounding, and the place of one; None if there are none. Collective."""
    count, place = 0, None
    zero = [fields.is_free(field) for field in fields.fields]
    for column in fields.fields:  # one by one: entries of different fields have different units
        ones = [np.zeros(size) for size in fields.sizes]
        ones[column.block][column.dofs] = 1.0
        sums = product(A, ones, absolute=True)
        for rows, field in zip(zero, fields.fields):
            size = sums[field.block][field.dofs]
            largest = fields.comm.allreduce(size[fields.is_free(field)].max(initial=0.0), MPI.MAX)
            rows &= size <= EMPTY_ROW * largest
    for rows, field in zip(zero, fields.fields):
        number = fields.comm.allreduce(int(rows.sum()))
        if number and place is None:
            nodes = np.repeat(_owned_nodes(field), field.space.dofmap.index_map_bs, axis=0)
            place = _rounded(next(part[0] for part in fields.comm.allgather(nodes[rows][:1]) if len(part)))
        count += number
    return None if place is None else (count, place)


@dataclass(frozen=True, eq=False)
class FreeMotion:
    """A rigid motion of a connected part of a body that the conditions allow and a tangent does not resist."""

    entries: list[Array]  # its change of each unknown
    share: float  # of the nodes that belong to the part
    centre: list[float]  # of the part


def free_motions(fields: Fields, A: PETSc.Mat) -> Iterator[FreeMotion]:
    """The rigid motions of connected parts that the conditions allow and A does not resist. Collective."""
    comm = fields.comm
    for field in (one for one in fields.fields if one.displacement):
        dim = field.space.dofmap.index_map_bs
        x = _owned_nodes(field)[:, :dim] + fields.values(field).reshape(-1, dim)
        nodes = field.space.dofmap.index_map
        keys = nodes.local_to_global(np.arange(nodes.size_local + nodes.num_ghosts, dtype=np.int32))
        parts, number = connected_parts(field.space, keys, np.isin(keys, nodes.ghosts))
        prescribed = ~fields.is_free(field).reshape(-1, dim)
        total = comm.allreduce(len(x))
        for part in range(min(number, MOST_PARTS)):
            inside = parts[: len(x)] == part
            count, centre = comm.allreduce(int(inside.sum())), comm.allreduce(x[inside].sum(axis=0))
            if count == 0:
                continue
            centre /= count
            motions = _rigid_motions(x - centre, inside, comm)
            against = np.array([motion[prescribed] for motion in motions])  # what the conditions forbid of each motion
            values, combinations = np.linalg.eigh(comm.allreduce(against @ against.T))
            for c in combinations.T[values <= 1e-12 * count]:
                motion = np.tensordot(c, motions, axes=1)
                entries = [np.zeros(size) for size in fields.sizes]
                entries[field.block][field.dofs] = motion.ravel()
                if _is_free_motion(fields, A, entries):
                    yield FreeMotion(entries, count / total, _rounded(centre))


def isostatic_supports(fields: Fields, A: PETSc.Mat) -> list[int]:
    """Owned rows of A, in PETSc's numbers, that suppress its free rigid motions if prescribed, and nothing else. Collective.

    A has the same number of negative eigenvalues without these rows and columns, and as many fewer that vanish.
    """
    comm, start, rows = fields.comm, A.getOwnershipRange()[0], []
    motions = list(free_motions(fields, A))
    entries = np.array([one.entries[0] for one in motions]).reshape(len(motions), fields.sizes[0])
    for k, motion in enumerate(entries):
        here = int(np.abs(motion).argmax()) if len(motion) else -1
        _, owner = comm.allreduce((float(abs(motion[here])) if here >= 0 else -1.0, -comm.rank), MPI.MAX)
        column = comm.bcast(entries[:, here] if comm.rank == -owner else None, -owner)
        if comm.rank == -owner:
            rows.append(start + here)
        entries[k + 1 :] -= np.outer(column[k + 1 :] / column[k], motion)
    return rows


def prescribe_rows(A: PETSc.Mat, rows: Sequence[int]) -> None:
    """Prescribe the owned rows in A, as a Dirichlet condition does; their diagonal is its largest entry. Collective."""
    if A.comm.tompi4py().allreduce(len(rows)):
        A.zeroRowsColumns(list(rows), diag=float(np.abs(A.getDiagonal().max()[1])))


def _is_free_motion(fields: Fields, A: PETSc.Mat, entries: list[Array]) -> bool:
    forces = fields.norms(np.concatenate(product(A, entries)))
    cancelling = fields.norms(np.concatenate(product(A, [np.abs(block) for block in entries], absolute=True)))
    return bool((forces <= FREE_MOTION * cancelling).all() and cancelling.any())


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


def _owned_nodes(field: Field) -> Array:
    """Coordinates of the nodes that this rank owns."""
    return field.space.tabulate_dof_coordinates()[: field.space.dofmap.index_map.size_local]


def _rounded(place: Array) -> list[float]:
    return [round(float(x), 6) for x in place]
