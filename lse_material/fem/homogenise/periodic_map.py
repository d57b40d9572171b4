"""Displacements of a periodic cell: an average gradient and a periodic fluctuation, as a linear map of fewer unknowns.

    u(X) = (F - I) (X - X_0) + w(X),   w equal at X and X + a_i,   w = 0 at X_0        u = T q,  q = (w, L (F - I))

with the lattice vectors a_i, one node X_0 and the length L of the longest vector. A cell that repeats in k directions only has
k columns of F as unknowns; those of the other axes would be part of w. A multi-point constraint (dolfinx_mpc) would not make
the average gradient an unknown; here an energy can be minimised in q, and the inertia of T^T A T tells stability. All unknowns
q are lengths: norms, factors and eigenvectors do not mix units. Energy, residual and tangent of q are Pi(T q), T^T b, T^T A T.
J.-C. Michel, H. Moulinec, P. Suquet, Comput. Methods Appl. Mech. Eng. 172, 109 (1999).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from dolfinx import fem, mesh
from mpi4py import MPI
from petsc4py import PETSc

from lse_material._arrays import Array
from lse_material.errors import InvalidInputError
from lse_material.fem._cells import connected_parts
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


class PeriodicMap:
    """The matrix T of a vector-valued Lagrange space on a cell whose translates fill space, and meet facet by facet.

    Voids and inclusions may cut the sides. Sides need not lie on one rank.

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

    Raises:
        InvalidInputError: the translates of the mesh do not meet facet by facet, no lattice is found, or parts of the mesh are
            not connected to the rest.

    >>> periodic = lse.fem.PeriodicMap(V)
    >>> periodic.size, round(periodic.volume, 6)
    (34, 1.0)
    """

    def __init__(self, V: fem.FunctionSpace, lattice: Any = None) -> None:
        comm, dim = V.mesh.comm, V.mesh.geometry.dim
        if V.dofmap.index_map_bs != dim:
            raise InvalidInputError(
                f"a periodic cell needs a space of vectors with {dim} components, such as "
                f'functionspace(domain, ("Lagrange", 2, ({dim},))).'
            )
        facets = exterior_facets(V.mesh)
        self.lattice = lattice_of(facets) if lattice is None else checked_lattice(lattice, dim)
        check_border(facets, self.lattice)
        self.axes, self.volume = axes_of(self.lattice), volume_of(self.lattice)
        self.lengths = np.linalg.norm(self.lattice, axis=1)
        self.length = float(self.lengths.max())

        owned = V.dofmap.index_map.size_local
        X = V.tabulate_dof_coordinates()[:owned, :dim]
        outside = fem.locate_dofs_topological(V, dim - 1, mesh.exterior_facet_indices(V.mesh.topology))
        outside = outside[outside < owned]
        counts = comm.allgather(len(outside))
        places, start = np.concatenate(comm.allgather(X[outside])), sum(counts[: comm.rank])
        classes = node_classes(places, self.lattice)
        pinned = int(classes[np.argmin(node_order(places[classes]))])

        own = np.arange(start, start + len(outside))  # numbers of this rank's nodes outside
        image = np.zeros(owned, dtype=bool)
        image[outside[classes[own] != own]] = True
        independent = ~image
        independent[outside[own == pinned]] = False
        counts = comm.allgather(int(independent.sum()))
        number = np.full(owned, -1, dtype=np.int64)  # of the independent node, over all ranks; -1: it is X_0
        number[independent] = sum(counts[: comm.rank]) + np.arange(counts[comm.rank])
        number[outside] = np.concatenate(comm.allgather(number[outside]))[classes[own]]
        _check_connected(V, number, image, X)

        last = comm.rank == comm.size - 1
        total = dim * sum(counts)
        self.size = total + dim * len(self.axes)
        self.average = np.arange(total, self.size, dtype=PETSc.IntType)
        self._local = dim * counts[comm.rank] + (dim * len(self.axes) if last else 0)
        self._independent = (X[independent] - places[pinned]) / self.length
        self.fixed = self._against_spin(comm, number[independent]) if dim == 3 and len(self.axes) == 1 else None
        self.T = self._matrix(comm, number, (X - places[pinned])[:, self.axes] / self.length, dim)

    def _against_spin(self, comm: MPI.Comm, number: Array) -> int | None:
        """The displacement of a node away from the axis of a rod, across that axis and the way to it."""
        across = np.delete(np.arange(3), self.axes)
        reach = np.abs(self._independent[:, across])
        farthest = comm.allreduce((float(reach.max(initial=-1.0)), comm.rank), MPI.MAXLOC)
        if farthest[1] != comm.rank:
            return None
        node, axis = np.unravel_index(np.argmax(reach), reach.shape)
        return int(3 * number[node] + across[1 - axis])

    def _matrix(self, comm: MPI.Comm, number: Array, X: Array, dim: int) -> PETSc.Mat:
        """T: in each row the independent node, unless it is X_0, and the average gradient in k columns."""
        k = len(self.axes)
        rows = np.repeat(number, dim)
        component = np.tile(np.arange(dim), len(number))
        columns = np.column_stack([dim * rows + component, self.average[k * component[:, None] + np.arange(k)]])
        values = np.column_stack([np.ones(len(rows)), np.repeat(X, dim, axis=0)])
        used = np.column_stack([rows >= 0, np.ones((len(rows), k), dtype=bool)])
        starts = np.concatenate([[0], np.cumsum(used.sum(axis=1))])
        csr = [array.astype(PETSc.IntType) for array in (starts, columns[used])]
        size = ((len(rows), None), (self._local, self.size))
        return PETSc.Mat().createAIJ(size, csr=(*csr, values[used]), comm=comm)  # type: ignore[arg-type]

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
        """Unknowns without symmetry, the same on any number of ranks, as a start for modes. The caller destroys them."""
        q = self.T.createVecRight()
        dim = self.lattice.shape[1]
        rates = np.array([[np.sqrt(2.0 + 3.0 * i + 5.0 * j) * (3.0 + j) for j in range(dim)] for i in range(dim)])
        w = np.sin(self._independent @ rates + np.arange(1.0, dim + 1.0)) + 0.3 * self._independent
        q.array[: w.size] = self.length * w.reshape(-1)
        self.set_average(q, np.cos(np.arange(1.0, dim * dim + 1.0)).reshape(dim, dim))
        return q


def _check_connected(V: fem.FunctionSpace, number: Array, image: Array, X: Array) -> None:
    """Refuse parts of the mesh that are connected to the rest neither by a node nor by periodicity; collective.

    Raises:
        InvalidInputError: there are such parts, on every rank.
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
