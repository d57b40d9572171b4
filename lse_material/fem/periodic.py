"""Displacements of a periodic cell: an average gradient and a periodic fluctuation, as a linear map of fewer unknowns.

    u(X) = (F - I) (X - X_0) + w(X),   w equal at X and X + L_a e_a,   w = 0 at one node        u = T q,  q = (w, F - I)

Energy, residual and tangent of q follow from those of u: Pi(T q), T^T b, T^T A T. J.-C. Michel, H. Moulinec, P. Suquet, Comput.
Methods Appl. Mech. Eng. 172, 109 (1999).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from dolfinx import fem
from mpi4py import MPI
from petsc4py import PETSc
from scipy.spatial import cKDTree

from lse_material.checks import Array
from lse_material.errors import InvalidInputError

SAME_PLACE = 1e-6  # of the smallest side of the box


class PeriodicMap:
    """The matrix T of a vector-valued Lagrange space on a box whose opposite sides are meshed alike.

    Holes and inclusions may cut the sides. Sides need not lie on one rank.

    Attributes:
        T: PETSc matrix, unknowns of u by unknowns q.
        lengths: sides of the box, (dim,).
        volume: of the box, holes included.
        average: global indices in q of F - I, row-major, (dim^2,); they lie on the last rank.
        size: number of unknowns q.

    Raises:
        InvalidInputError: a node on one side has no partner on the opposite one, or no node lies on any side.
    """

    def __init__(self, V: fem.FunctionSpace) -> None:
        comm, dim = V.mesh.comm, V.mesh.geometry.dim
        if V.dofmap.index_map_bs != dim:
            raise InvalidInputError(
                f"a periodic cell needs a space of vectors with {dim} components, such as "
                f'functionspace(domain, ("Lagrange", 2, ({dim},))).'
            )
        owned = V.dofmap.index_map.size_local
        X = V.tabulate_dof_coordinates()[:owned, :dim]
        low, high = np.empty(dim), np.empty(dim)
        comm.Allreduce(X.min(axis=0) if owned else np.full(dim, np.inf), low, MPI.MIN)
        comm.Allreduce(X.max(axis=0) if owned else np.full(dim, -np.inf), high, MPI.MAX)
        self.lengths = high - low
        self.volume = float(np.prod(self.lengths))
        near = SAME_PLACE * self.lengths.min()
        upper, lower = np.abs(X - high) < near, np.abs(X - low) < near
        image = upper.any(axis=1)
        partner = np.where(upper, low, X)  # where the independent node of an image lies
        candidate = np.flatnonzero(lower.any(axis=1) & ~image)
        places = np.concatenate(comm.allgather(X[candidate]))
        if len(places) == 0:
            raise InvalidInputError(
                "no node of the mesh lies on a lower side of its bounding box alone: no cell repeats."
            )
        pinned = int(np.lexsort(np.round(places / near).T)[0])

        independent = np.flatnonzero(~image)
        first = sum(comm.allgather(len(candidate))[: comm.rank])
        if first <= pinned < first + len(candidate):
            independent = independent[independent != candidate[pinned - first]]
        counts = comm.allgather(len(independent))
        start = sum(counts[: comm.rank])
        number = np.full(owned, -1, dtype=np.int64)  # of the independent node, over all ranks; -1: it is held
        number[independent] = start + np.arange(len(independent))
        numbers = np.concatenate(comm.allgather(number[candidate]))
        distance, nearest = cKDTree(places).query(partner[image]) if image.any() else (np.zeros(0), np.zeros(0, int))
        worst = comm.allreduce(float(distance.max()) if len(distance) else 0.0, MPI.MAX)
        if worst > near:
            raise InvalidInputError(
                f"a node on a side of the cell lies {worst:.3g} away from any node of the opposite side: mesh both alike "
                "(mirror one half of the cell, or gmsh.model.mesh.setPeriodic)."
            )
        number[image] = numbers[nearest]

        last = comm.rank == comm.size - 1
        total = dim * sum(counts)
        self.size = total + dim * dim
        self.average = np.arange(total, self.size, dtype=PETSc.IntType)
        self._local = dim * len(independent) + (dim * dim if last else 0)
        self.T = self._matrix(comm, number, X - low, dim)

    def _matrix(self, comm: MPI.Comm, number: Array, X: Array, dim: int) -> PETSc.Mat:
        T = PETSc.Mat().createAIJ(((dim * len(X), None), (self._local, self.size)), nnz=1 + dim, comm=comm)  # type: ignore[arg-type]
        T.setUp()
        row = T.getOwnershipRange()[0]
        for node, (master, place) in enumerate(zip(number, X)):
            for i in range(dim):
                columns, values = list(self.average[dim * i : dim * (i + 1)]), list(place)
                if master >= 0:
                    columns.append(dim * master + i)
                    values.append(1.0)
                T.setValues([row + dim * node + i], columns, values)
        T.assemble()
        return T

    def gather_average(self, q: PETSc.Vec) -> Any:
        """The entries of q that belong to the average, (dim, dim), on every rank; collective."""
        dim = len(self.lengths)
        first, end = q.getOwnershipRange()
        own = q.array_r[self.average - first].copy() if end == self.size and end - first >= dim * dim else None
        return q.comm.tompi4py().bcast(own, root=q.comm.size - 1).reshape(dim, dim)

    def set_average(self, q: PETSc.Vec, value: Array) -> None:
        """Enter values (dim, dim) for the average into q; every rank gives the same."""
        first = q.getOwnershipRange()[0]
        if q.comm.rank == q.comm.size - 1:
            q.array[self.average - first] = np.asarray(value).reshape(-1)
