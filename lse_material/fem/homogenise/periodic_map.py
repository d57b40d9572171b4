"""Displacements of a periodic cell: an average gradient and a periodic fluctuation, as a linear map of fewer unknowns.

    u(X) = (F - I) (X - X_0) + w(X),   w equal at X and X + a_i,   w = 0 at one node        u = T q,  q = (w, L (F - I))

with the lattice vectors a_i and the length L of the longest. A multi-point constraint (dolfinx_mpc) would not make the average
gradient an unknown; here an energy can be minimised in q, and the inertia of T^T A T tells stability. All unknowns q are
lengths: norms, factors and eigenvectors do not mix units. Energy, residual and tangent of q are Pi(T q), T^T b and T^T A T.
J.-C. Michel, H. Moulinec, P. Suquet, Comput. Methods Appl. Mech. Eng. 172, 109 (1999).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from dolfinx import fem, mesh
from mpi4py import MPI
from petsc4py import PETSc
from scipy.spatial import cKDTree

from lse_material._arrays import Array, float_array
from lse_material.errors import InvalidInputError
from lse_material.fem._cells import connected_parts

PLACE_TOLERANCE = 1e-6  # of positions, relative to the lattice vectors


class PeriodicMap:
    """The matrix T of a vector-valued Lagrange space on a cell whose opposite sides are meshed identically.

    Holes and inclusions may cut the sides. Sides need not lie on one rank.

    Args:
        V: the space. lattice: rows are the lattice vectors, (dim, dim), parallel to the sides of the cell; those of the mesh's
            bounding box if left out.

    Attributes:
        T: PETSc matrix, unknowns of u by unknowns q.
        lattice: rows are the lattice vectors, (dim, dim).
        lengths: of the lattice vectors, (dim,).
        volume: of the cell, holes included.
        average: global indices in q of L (F - I), row-major, (dim^2,); they lie on the last rank.
        size: number of unknowns q.

    Raises:
        InvalidInputError: a node on one side has no partner on the opposite one, the cell is no parallelepiped of the lattice,
            or parts of it are not connected to the rest.

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
        owned = V.dofmap.index_map.size_local
        X = V.tabulate_dof_coordinates()[:owned, :dim]
        self.lattice = _checked_lattice(np.diag(np.subtract(*_ends(comm, X))) if lattice is None else lattice, dim)
        s = X @ np.linalg.inv(self.lattice)  # in units of the lattice vectors
        high, low = _ends(comm, s)
        if np.abs(high - low - 1.0).max() > PLACE_TOLERANCE:
            raise InvalidInputError(
                f"the mesh extends over {_listed(high - low)} of the lattice vectors: it must be the parallelepiped "
                "that they span, with sides along them."
            )
        self.lengths = np.linalg.norm(self.lattice, axis=1)
        self.length = float(self.lengths.max())
        self.volume = float(abs(np.linalg.det(self.lattice)))
        s = s - low
        if lattice is None:
            _check_sides(V.mesh, self.lattice, low)
        upper, lower = np.abs(s - 1.0) < PLACE_TOLERANCE, np.abs(s) < PLACE_TOLERANCE
        image = upper.any(axis=1)
        partner = np.where(upper, 0.0, s)  # where the independent node of an image lies
        candidate = np.flatnonzero(lower.any(axis=1) & ~image)
        places = np.concatenate(comm.allgather(s[candidate]))
        if len(places) == 0:
            raise InvalidInputError("no node of the mesh lies on a lower side of the cell alone: no cell repeats.")
        pinned = int(np.lexsort(np.round(places / PLACE_TOLERANCE).T)[0])

        independent = np.flatnonzero(~image)
        first = sum(comm.allgather(len(candidate))[: comm.rank])
        if first <= pinned < first + len(candidate):
            independent = independent[independent != candidate[pinned - first]]
        counts = comm.allgather(len(independent))
        start = sum(counts[: comm.rank])
        number = np.full(owned, -1, dtype=np.int64)  # of the independent node, over all ranks; -1: it is fixed
        number[independent] = start + np.arange(len(independent))
        numbers = np.concatenate(comm.allgather(number[candidate]))
        distance, nearest = cKDTree(places).query(partner[image]) if image.any() else (np.zeros(0), np.zeros(0, int))
        gap = np.linalg.norm((partner[image] - places[nearest]) @ self.lattice, axis=1).max(initial=0.0)
        gap = comm.allreduce(float(gap), MPI.MAX)
        if comm.allreduce(float(distance.max(initial=0.0)), MPI.MAX) > PLACE_TOLERANCE:
            raise InvalidInputError(
                f"a node on a side of the cell lies {gap:.3g} away from any node of the opposite side: mesh both alike "
                "(mirror one half of the cell, or gmsh.model.mesh.setPeriodic)."
            )
        number[image] = numbers[nearest]
        _check_connected(V, number, image, X)

        last = comm.rank == comm.size - 1
        total = dim * sum(counts)
        self.size = total + dim * dim
        self.average = np.arange(total, self.size, dtype=PETSc.IntType)
        self._local = dim * len(independent) + (dim * dim if last else 0)
        self._independent = s[independent]
        self.T = self._matrix(comm, number, (s @ self.lattice) / self.length, dim)

    def _matrix(self, comm: MPI.Comm, number: Array, X: Array, dim: int) -> PETSc.Mat:
        """T: in each row the independent node, unless it is fixed, and the average gradient in `dim` columns."""
        rows = np.repeat(number, dim)
        component = np.tile(np.arange(dim), len(number))
        columns = np.column_stack([dim * rows + component, self.average[dim * component[:, None] + np.arange(dim)]])
        values = np.column_stack([np.ones(len(rows)), np.repeat(X, dim, axis=0)])
        used = np.column_stack([rows >= 0, np.ones((len(rows), dim), dtype=bool)])
        starts = np.concatenate([[0], np.cumsum(used.sum(axis=1))])
        csr = [array.astype(PETSc.IntType) for array in (starts, columns[used])]
        size = ((len(rows), None), (self._local, self.size))
        return PETSc.Mat().createAIJ(size, csr=(*csr, values[used]), comm=comm)  # type: ignore[arg-type]

    def gather_average(self, q: PETSc.Vec) -> Any:
        """F - I of the unknowns q, (dim, dim), on every rank; collective."""
        return self._gather(q) / self.length

    def gather_average_force(self, g: PETSc.Vec) -> Any:
        """The derivative by F, (dim, dim), where g is that by q, on every rank; collective."""
        return self._gather(g) * self.length

    def _gather(self, q: PETSc.Vec) -> Any:
        dim = len(self.lengths)
        first, end = q.getOwnershipRange()
        own = q.array_r[self.average - first].copy() if end == self.size and end - first >= dim * dim else None
        return q.comm.tompi4py().bcast(own, root=q.comm.size - 1).reshape(dim, dim)

    def set_average(self, q: PETSc.Vec, value: Array) -> None:
        """Enter F - I, (dim, dim), into q; every rank gives the same."""
        first = q.getOwnershipRange()[0]
        if q.comm.rank == q.comm.size - 1:
            q.array[self.average - first] = self.length * np.asarray(value).reshape(-1)

    def irregular(self) -> PETSc.Vec:
        """Unknowns without symmetry, the same on any number of ranks, as a start for modes. The caller destroys them."""
        q = self.T.createVecRight()
        dim = len(self.lengths)
        rates = np.array([[np.sqrt(2.0 + 3.0 * i + 5.0 * j) * (3.0 + j) for j in range(dim)] for i in range(dim)])
        w = np.sin(self._independent @ rates + np.arange(1.0, dim + 1.0)) + 0.3 * self._independent
        q.array[: w.size] = self.length * w.reshape(-1)
        self.set_average(q, np.cos(np.arange(1.0, dim * dim + 1.0)).reshape(dim, dim))
        return q


def _listed(values: Array) -> str:
    return "(" + ", ".join(f"{value:.4g}" for value in values) + ")"


def _ends(comm: MPI.Comm, X: Array) -> tuple[Array, Array]:
    """Largest and smallest coordinates, over all ranks."""
    dim = X.shape[1]
    low, high = np.empty(dim), np.empty(dim)
    comm.Allreduce(X.min(axis=0, initial=np.inf), low, MPI.MIN)
    comm.Allreduce(X.max(axis=0, initial=-np.inf), high, MPI.MAX)
    return high, low


def _checked_lattice(lattice: Any, dim: int) -> Array:
    found = float_array("lattice", lattice, 2)
    if found.shape != (dim, dim):
        raise InvalidInputError(f"lattice has shape {found.shape}; its rows are {dim} lattice vectors, ({dim}, {dim}).")
    if not abs(np.linalg.det(found)) > PLACE_TOLERANCE * np.prod(np.linalg.norm(found, axis=1)):
        raise InvalidInputError(
            f"the lattice vectors {found.tolist()} do not span a cell: they lie in a plane or a line."
        )
    return found


def _check_sides(domain: mesh.Mesh, box: Array, low: Array) -> None:
    """Refuse a mesh that touches a side of its bounding box in points only, as a rhombus does; collective."""
    comm, dim = domain.comm, len(box)
    for axis in range(dim):

        def at_end(x: Array, axis: int = axis) -> Array:
            on: Array = np.abs(x[axis] / box[axis, axis] - low[axis] - 1.0) < PLACE_TOLERANCE
            return on

        if comm.allreduce(len(mesh.locate_entities_boundary(domain, dim - 1, at_end))) == 0:
            raise InvalidInputError(
                f"the mesh meets the side of its bounding box at the end of axis {axis} in points only: its cell is no box "
                "along the axes. Give the lattice vectors along which its sides lie, PeriodicCell(..., lattice=[[..], [..]]); "
                "only parallelepipeds are taken."
            )


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
            f"centre at {_listed(centre)}. They could move freely: remove them, or fill the gap with a soft material."
        )
