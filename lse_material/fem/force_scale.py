"""How large a residual rounding alone makes: what a solver may call none, in the unit of each field of the problem.

The residual is a sum of forces that cancel. With the tangent A, a change dx of u changes them by no more than |A| |dx|, where
|A| holds the absolute entries. So u, which is known to rounding, leaves forces of some 1e-16 |A| |u|; and F = I + grad(u),
whose entries are of order one whatever u is, leaves forces of some 1e-16 |A| h with h the size of the cells. Nothing here has a
unit of its own: the same body in millimetres and in metres has the same ratio of residual and rounding. N. J. Higham, Accuracy
and Stability of Numerical Algorithms, SIAM 2002, ch. 7, for |A| |x| as the measure of what rounding does to A x.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from dolfinx import fem, la
from mpi4py import MPI
from petsc4py import PETSc

from lse_material.checks import Array

ROUNDING = 1e-13  # of the forces that cancel: those of a strain of 1e-13


class RoundingForces:
    """Forces that rounding makes in the residual of a problem, field by field.

    A field is a leaf of the unknown's space: each entry of a list of unknowns, and each sub-space of a mixed one. Its rows are
    compared with its own forces only, for a pressure's residual is a volume and a displacement's a force.

    Args:
        u: the unknown, or the unknowns of a block problem.
        bcs: Dirichlet conditions; their rows hold no forces and are left out.
    """

    def __init__(self, u: fem.Function | Sequence[fem.Function], bcs: Sequence[fem.DirichletBC] = ()) -> None:
        self._unknowns = tuple(u) if isinstance(u, Sequence) else (u,)
        self._comm: MPI.Comm = self._unknowns[0].function_space.mesh.comm
        spaces = [unknown.function_space for unknown in self._unknowns]
        self._sizes = [V.dofmap.index_map.size_local * V.dofmap.index_map_bs for V in spaces]
        self._free: list[Array] = []
        self._fields: list[tuple[int, Array, bool]] = []  # block, positions among its owned entries, a displacement?
        for block, (V, size, held) in enumerate(zip(spaces, self._sizes, held_by_block(spaces, bcs))):
            free = np.ones(size, dtype=bool)
            for bc in held:
                dofs = bc.dof_indices()[0]
                free[dofs[dofs < size]] = False
            self._free.append(free)
            for leaf, dofs in leaves(V):
                self._fields.append((block, dofs[dofs < size], is_displacement(leaf)))
        self._lengths: list[Array] | None = None
        self._largest = [np.zeros(size) for size in self._sizes]

    def __len__(self) -> int:
        """Number of fields."""
        return len(self._fields)

    def note(self) -> None:
        """Remember the size of the unknowns: fields that are no displacements have no other scale once they vanish."""
        for largest, unknown in zip(self._largest, self._unknowns):
            values = np.abs(unknown.x.array[: len(largest)])
            np.fmax(largest, values, out=largest, where=np.isfinite(values))

    def norms(self, residual: PETSc.Vec | Array) -> Array:
        """Norm of a residual over the rows of each field that are not held; collective.

        Args:
            residual: a vector of the problem's layout, or its owned entries on this rank, block after block.
        """
        blocks = self._blocks(residual)
        squares = [float((blocks[block][dofs[self._free[block][dofs]]] ** 2).sum()) for block, dofs, _ in self._fields]
        result: Array = np.sqrt(self._comm.allreduce(np.array(squares)))
        return result

    def held_norms(self, forces: Array) -> Array:
        """Norm of forces over the rows of each field that are held: reactions, if these are what balances u; collective.

        Args:
            forces: the owned entries on this rank, of the one unknown, with those of ghosts behind them or not.
        """
        (free,) = self._free
        squares = [float((forces[dofs[~free[dofs]]] ** 2).sum()) for _, dofs, _ in self._fields]
        result: Array = np.sqrt(self._comm.allreduce(np.array(squares)))
        return result

    def allowed(self, A: PETSc.Mat, x: PETSc.Vec | None = None) -> Array:
        """Norm of the residual that counts as none, of each field, with the tangent A; collective.

        It is `ROUNDING` times the norm of |A| (|u| + h), with h the mean size of the cells at a node for displacements (vectors
        of the dimension of the space). Other fields have the largest value that `note` has seen in place of h.

        Args:
            A: assembled tangent, its held rows and columns empty up to the diagonal, as DOLFINx makes them.
            x: values of the unknowns, those of `u` if left out.
        """
        if x is None:
            scales = [np.abs(unknown.x.array[:size]) for unknown, size in zip(self._unknowns, self._sizes)]
        else:
            scales = [np.abs(part) for part in self._blocks(x)]
        if self._lengths is None:
            self._lengths = [node_sizes(unknown.function_space) for unknown in self._unknowns]
        for block, dofs, displacement in self._fields:
            if displacement:
                scales[block][dofs] += self._lengths[block][dofs]
            else:
                scales[block][dofs] = np.fmax(scales[block][dofs], self._largest[block][dofs])
        return ROUNDING * self.norms(np.concatenate(_absolute_product(A, scales)))

    def held_rows(self, diagonal: PETSc.Vec) -> Array:
        """What gives the rows of conditions, u - g, the unit of their field's forces: factors of the owned rows; collective.

        Args:
            diagonal: of the tangent. Its mean size over the free rows of a field is the factor; 1 if these vanish.
        """
        blocks = self._blocks(diagonal)
        factors = [np.ones(size) for size in self._sizes]
        for block, dofs, _ in self._fields:
            free = dofs[self._free[block][dofs]]
            total, count = self._comm.allreduce(np.array([float(np.abs(blocks[block][free]).sum()), float(len(free))]))
            if 0.0 < total < np.inf:
                factors[block][dofs[~self._free[block][dofs]]] = total / count
        return np.concatenate(factors)

    def _blocks(self, values: PETSc.Vec | Array) -> list[Array]:
        return np.split(owned_entries(values), np.cumsum(self._sizes)[:-1])


def held_by_block(
    spaces: Sequence[fem.FunctionSpace], bcs: Sequence[fem.DirichletBC]
) -> Sequence[Sequence[fem.DirichletBC]]:
    """The Dirichlet conditions on each space."""
    return fem.bcs_by_block([V._cpp_object for V in spaces], bcs)


def node_sizes(V: fem.FunctionSpace) -> Array:
    """Mean size of the cells at each degree of freedom that this rank owns, whatever the number of ranks; collective."""
    domain = V.mesh
    tdim = domain.topology.dim
    cells = np.arange(domain.topology.index_map(tdim).size_local, dtype=np.int32)
    bs, index_map = V.dofmap.bs, V.dofmap.index_map
    nodes = V.dofmap.list[: len(cells)]
    total, count = (la.vector(index_map, V.dofmap.index_map_bs) for _ in range(2))
    size = domain.h(tdim, cells).astype(np.float64) if len(cells) else np.empty(0)
    for component in range(bs):
        places = (nodes * bs + component).ravel()
        np.add.at(total.array, places, np.repeat(size, nodes.shape[1]))
        np.add.at(count.array, places, 1.0)
    for vector in (total, count):
        vector.scatter_reverse(la.InsertMode.add)
    owned = index_map.size_local * V.dofmap.index_map_bs
    result: Array = total.array[:owned] / np.maximum(count.array[:owned], 1.0)
    return result


def leaves(V: fem.FunctionSpace) -> Iterator[tuple[fem.FunctionSpace, Array]]:
    """The spaces that a mixed one is made of, with their positions in the vector of V; V itself if it is not mixed."""

    def walk(space: fem.FunctionSpace) -> Iterator[tuple[fem.FunctionSpace, Array]]:
        if space.num_sub_spaces > 0 and space.ufl_element().block_size == 1:
            for i in range(space.num_sub_spaces):
                yield from walk(space.sub(i))
        elif space is V:
            yield V, np.arange(V.dofmap.index_map.size_local * V.dofmap.index_map_bs)
        else:
            yield space, np.ravel(space.collapse()[1])

    yield from walk(V)


def is_displacement(space: fem.FunctionSpace) -> bool:
    """Whether a field may be one: as many components as space has dimensions, each with nodes of its own."""
    gdim = space.mesh.geometry.dim
    element = space.ufl_element()
    return bool(np.prod(element.reference_value_shape, dtype=int) == gdim == element.block_size)


def owned_entries(values: Any) -> Array:
    """The entries of a vector that this rank owns, block after block; an array of them is returned as it is."""
    if isinstance(values, np.ndarray):
        return values
    if values.getType() == PETSc.Vec.Type.NEST:
        return np.concatenate([part.array_r for part in values.getNestSubVecs()])
    result: Array = values.array_r
    return result


def _absolute_product(A: PETSc.Mat, x: list[Array]) -> list[Array]:
    """|A| x, owned entries block by block."""
    if A.getType() == PETSc.Mat.Type.NEST:
        pairs = [[A.getNestSubMatrix(i, j) for j in range(len(x))] for i in range(len(x))]
        return [
            sum((_absolute_product(B, [y])[0] for B, y in zip(row, x) if B), np.zeros(len(z)))
            for row, z in zip(pairs, x)
        ]
    pointers, columns, values = A.getValuesCSR()
    absolute = PETSc.Mat().createAIJ(A.getSizes(), csr=(pointers, columns, np.abs(values)), comm=A.comm)
    right, left = absolute.createVecRight(), absolute.createVecLeft()
    right.array[:] = np.concatenate(x)
    absolute.mult(right, left)
    result = left.array.copy()
    for item in (absolute, right, left):
        item.destroy()
    return np.split(result, np.cumsum([len(y) for y in x])[:-1]) if len(x) > 1 else [result]


def absolute_row_sums(A: PETSc.Mat) -> PETSc.Vec:
    """sum_j |A_ij|, a vector that the caller destroys; collective."""
    sums = A.createVecLeft()
    sums.array[:] = _absolute_product(A, [np.ones(A.getLocalSize()[1])])[0]
    return sums
