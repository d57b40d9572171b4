"""Displacements of a periodic cell: an average gradient and a periodic fluctuation, as a linear map of fewer unknowns.

    u(X) = (F - I) (X - X_0) + w(X),   w equal at X and X + a_i,   w = 0 at X_0        u = T q,  q = (w, L (F - I))

with the lattice vectors a_i, one node X_0 and the length L of the longest vector. A cell that repeats in k directions only has
k columns of F as unknowns; those of the other axes would be part of w. A multi-point constraint (dolfinx_mpc) would not make
the average gradient an unknown; here an energy can be minimised in q, and the inertia of T^T A T tells stability. All unknowns
q are lengths: norms, factors and eigenvectors do not mix units. Energy, residual and tangent of q are Pi(T q), T^T b, T^T A T.
J.-C. Michel, H. Moulinec, P. Suquet, Comput. Methods Appl. Mech. Eng. 172, 109 (1999).
"""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from dolfinx import fem, mesh
from mpi4py import MPI
from petsc4py import PETSc
from scipy.sparse import csr_array

from lse_material._arrays import Array
from lse_material.errors import InvalidInputError
from lse_material.fem._cells import connected_parts, require_one_shape
from lse_material.fem.homogenise.lattice import (
    axes_of,
    check_border,
    checked_lattice,
    exterior_facets,
    lattice_of,
    listed,
    node_classes,
    node_order,
    volume_of,
)

Part = tuple[fem.FunctionSpace, Any]


class PeriodicMap:
    """The matrix T of a vector-valued Lagrange space on a cell whose translates fill space, and meet facet by facet.

    Voids and inclusions may cut the sides. Sides need not lie on one rank. In a mixed space the displacement is the first
    part; the others, pressures for example, are periodic, and those of their unknowns that are independent stand in q.

    Args:
        V: the space. lattice: rows are the k lattice vectors, (k, dim); found from the mesh if left out, for a cell that
            repeats in all directions. With k < dim they lie along k of the coordinate axes.

    Attributes:
        T: PETSc matrix, unknowns of u by unknowns q.
        lattice: rows are the lattice vectors, (k, dim).
        axes: coordinate axes along which the cell repeats, all unless k < dim.
        lengths: of the lattice vectors, (k,).
        volume: of the cell, voids included; the area or length that the lattice vectors span if k < dim.
        average: global indices in q of L (F - I), its columns of `axes`, row-major, (dim k,); they lie on the last rank.
        fixed: global index in q, on the rank that owns it, of a displacement that is zero always: a rod, which repeats along
            one axis in space, would turn about it. None otherwise.
        size: number of unknowns q.
        displacements: positions of the displacement among the entries of V that this rank owns.
        others: for each further part of V, the positions of its unknowns among those of q that this rank owns, a slice.

    Raises:
        InvalidInputError: the translates of the mesh do not meet facet by facet, no lattice is found, parts of the mesh are
            not connected to the rest, or its cells or facets have several shapes.

    >>> periodic = lse.fem.PeriodicMap(V)
    >>> periodic.size, round(periodic.volume, 6)
    (34, 1.0)
    """

    def __init__(self, V: fem.FunctionSpace, lattice: Any = None) -> None:
        if not isinstance(V, fem.FunctionSpace):
            raise InvalidInputError(f"V is a {type(V).__name__}; it must be the function space of a displacement.")
        comm, dim = V.mesh.comm, V.mesh.geometry.dim
        parts = _parts(V)
        if parts[0][0].dofmap.index_map_bs != dim or parts[0][0].element.basix_element.discontinuous:
            raise InvalidInputError(
                f"a periodic cell needs a continuous space of vectors with {dim} components, such as "
                f'functionspace(domain, ("Lagrange", 2, ({dim},))).'
            )
        require_one_shape(V.mesh, "a PeriodicMap", facets=True)
        facets = exterior_facets(V.mesh)
        self.lattice = lattice_of(facets) if lattice is None else checked_lattice(lattice, dim)
        check_border(facets, self.lattice)
        self.axes, self.volume = axes_of(self.lattice), volume_of(self.lattice)
        self.lengths = np.linalg.norm(self.lattice, axis=1)
        self.length = float(self.lengths.max())

        nodes = [_PeriodicNodes(space, self.lattice, pinned=i == 0) for i, (space, _) in enumerate(parts)]
        last, k = comm.rank == comm.size - 1, len(self.axes)
        sizes = [space.dofmap.index_map_bs * int(one.independent.sum()) for (space, _), one in zip(parts, nodes)]
        self._local = sum(sizes) + (dim * k if last else 0)
        locals_ = comm.allgather(self._local)
        self.size, start = sum(locals_), sum(locals_[: comm.rank])
        self.average = np.arange(self.size - dim * k, self.size, dtype=PETSc.IntType)
        ends = np.cumsum(sizes)
        self.others = [slice(int(low), int(high)) for low, high in itertools.pairwise(ends)]
        self.displacements = parts[0][1]
        columns = [
            one.columns(start + int(end) - size, space.dofmap.index_map_bs)
            for (space, _), one, end, size in zip(parts, nodes, ends, sizes)
        ]
        first = nodes[0]
        _check_connected(parts[0][0], columns[0], first.image, first.X)
        self._independent = (first.X[first.independent] - first.origin) / self.length
        spins = dim == 3 and k == 1
        self.fixed = self._against_spin(comm, columns[0][first.independent]) if spins else None
        self.T = self._matrix(comm, parts, columns, (first.X - first.origin)[:, self.axes] / self.length)

    def _against_spin(self, comm: MPI.Comm, column: Array) -> int | None:
        """The displacement of a node away from the axis of a rod, across that axis and the way to it."""
        across = np.delete(np.arange(3), self.axes)
        reach = np.abs(self._independent[:, across])
        farthest = comm.allreduce((float(reach.max(initial=-1.0)), comm.rank), MPI.MAXLOC)
        if farthest[1] != comm.rank:
            return None
        node, axis = np.unravel_index(np.argmax(reach), reach.shape)
        return int(column[node] + across[1 - axis])

    def _matrix(self, comm: MPI.Comm, parts: Sequence[Part], columns: Sequence[Array], X: Array) -> PETSc.Mat:
        """T: in each row the independent node, unless it is X_0, and for displacements the average gradient in k columns."""
        rows, cols, values = [], [], []
        for (space, dofs), column in zip(parts, columns):
            bs = space.dofmap.index_map_bs
            to = (np.where(column >= 0, column, -bs)[:, None] + np.arange(bs)).reshape(-1)
            rows.append(dofs[to >= 0])
            cols.append(to[to >= 0])
            values.append(np.ones(len(rows[-1])))
        dim, k = self.lattice.shape[1], len(self.axes)
        component = np.tile(np.arange(dim), len(X))
        rows.append(np.repeat(self.displacements, k))
        cols.append(self.average[(k * component[:, None] + np.arange(k)).reshape(-1)])
        values.append(np.repeat(X, dim, axis=0).reshape(-1))
        count = sum(len(dofs) for _, dofs in parts)
        entries = csr_array((np.concatenate(values), (np.concatenate(rows), np.concatenate(cols))), (count, self.size))
        csr = entries.indptr.astype(PETSc.IntType), entries.indices.astype(PETSc.IntType), entries.data
        return PETSc.Mat().createAIJ(((count, None), (self._local, self.size)), csr=csr, comm=comm)  # type: ignore[arg-type]

    def place(self, i: int, J: int) -> int:
        """The index in q of component (i, J) of the average gradient."""
        return int(self.average[len(self.axes) * i + int(np.flatnonzero(self.axes == J)[0])])

    def gather_average(self, q: PETSc.Vec) -> Any:
        """F - I of the unknowns q, (dim, dim), zero in columns that are none, on every rank; collective."""
        return self._gather(q) / self.length

    def gather_average_force(self, g: PETSc.Vec) -> Any:
        """The derivative by F, (dim, dim), where g is that by q, on every rank; collective."""
        return self._gather(g) * self.length

    def _gather(self, q: PETSc.Vec) -> Any:
        dim = self.lattice.shape[1]
        first = q.getOwnershipRange()[0]
        own = q.array_r[self.average - first].copy() if q.comm.rank == q.comm.size - 1 else None
        result = np.zeros((dim, dim))
        result[:, self.axes] = q.comm.tompi4py().bcast(own, root=q.comm.size - 1).reshape(dim, -1)
        return result

    def set_average(self, q: PETSc.Vec, value: Array) -> None:
        """Enter F - I, (dim, dim), into q; every rank gives the same."""
        first = q.getOwnershipRange()[0]
        if q.comm.rank == q.comm.size - 1:
            q.array[self.average - first] = self.length * np.asarray(value)[:, self.axes].reshape(-1)

    def irregular(self) -> PETSc.Vec:
        """Unknowns without symmetry, the same on any number of ranks, as a start for modes."""
        q = self.T.createVecRight()
        dim = self.lattice.shape[1]
        rates = np.array([[np.sqrt(2.0 + 3.0 * i + 5.0 * j) * (3.0 + j) for j in range(dim)] for i in range(dim)])
        w = np.sin(self._independent @ rates + np.arange(1.0, dim + 1.0)) + 0.3 * self._independent
        q.array[: w.size] = self.length * w.reshape(-1)
        self.set_average(q, np.cos(np.arange(1.0, dim * dim + 1.0)).reshape(dim, dim))
        return q


class _PeriodicNodes:
    """The nodes of a space on this rank, and which of them stand for their translates; with `pinned`, one is left out: X_0."""

    def __init__(self, space: fem.FunctionSpace, lattice: Array, *, pinned: bool) -> None:
        domain, self._comm = space.mesh, space.mesh.comm
        owned = space.dofmap.index_map.size_local
        self.X = space.tabulate_dof_coordinates()[:owned, : domain.geometry.dim]
        facets = mesh.exterior_facet_indices(domain.topology)
        outside = fem.locate_dofs_topological(space, domain.topology.dim - 1, facets)
        self._outside = outside[outside < owned]
        counts = self._comm.allgather(len(self._outside))
        own = sum(counts[: self._comm.rank]) + np.arange(len(self._outside))
        places = np.concatenate(self._comm.allgather(self.X[self._outside]))
        classes = node_classes(places, lattice) if len(places) else own
        self._representatives = classes[own]
        self.image = np.zeros(owned, dtype=bool)
        self.image[self._outside[self._representatives != own]] = True
        self.independent = ~self.image
        if pinned:
            first = int(classes[np.argmin(node_order(places[classes]))])
            self.independent[self._outside[own == first]] = False
            self.origin = places[first]

    def columns(self, start: int, bs: int) -> Any:
        """The column of the first component of the independent node of each node, -1 where that is X_0; collective."""
        column = np.full(len(self.X), -1, dtype=np.int64)
        column[self.independent] = start + bs * np.arange(int(self.independent.sum()))
        column[self._outside] = np.concatenate(self._comm.allgather(column[self._outside]))[self._representatives]
        return column


def _parts(V: fem.FunctionSpace) -> list[Part]:
    """The parts of a mixed space, or V itself, with the positions of their entries among those that this rank owns."""
    if V.num_sub_spaces == 0 or V.dofmap.index_map_bs > 1:
        return [(V, np.arange(V.dofmap.index_map.size_local * V.dofmap.index_map_bs))]
    collapsed = [V.sub(i).collapse() for i in range(V.num_sub_spaces)]
    return [
        (space, np.ravel(dofs)[: space.dofmap.index_map.size_local * space.dofmap.index_map_bs])
        for space, dofs in collapsed
    ]


def _check_connected(V: fem.FunctionSpace, number: Array, image: Array, X: Array) -> None:
    """Refuse parts of the mesh that are connected to the rest neither by a node nor by periodicity; collective.

    Raises InvalidInputError: there are such parts, on every rank.
    """
    carried, bs, owned = fem.Function(V), V.dofmap.index_map_bs, len(number)  # to the ranks where a node is a ghost
    carried.x.array[: owned * bs] = np.repeat(number.astype(float), bs)
    carried.x.scatter_forward()
    keys = carried.x.array[::bs].astype(np.int64)
    shared = np.ones(len(keys), dtype=bool)
    shared[:owned] = image
    parts, count = connected_parts(V, keys, shared)
    if count > 1:
        sizes = V.mesh.comm.allreduce(np.bincount(parts[:owned], minlength=count))
        smallest = int(sizes.argmin())
        centre = V.mesh.comm.allreduce(X[parts[:owned] == smallest].sum(axis=0)) / sizes[smallest]
        raise InvalidInputError(
            f"the mesh of the cell falls into {count} pieces that share no node, not even by periodicity; the smallest has its "
            f"centre at {listed(centre)}. They could move freely: remove them, or fill the gap with a soft material."
        )
