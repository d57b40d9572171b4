"""How large a residual rounding alone makes: what a solver may call none, in the unit of each field of the problem.

The residual is a sum of forces that cancel. With the tangent A, a change dx of u changes them by no more than |A| |dx|, where
|A| holds the absolute entries. So u, which is known to rounding, leaves forces of some 1e-16 |A| |u|; and F = I + grad(u),
whose entries are of order one whatever u is, leaves forces of some 1e-16 |A| h with h the size of the cells. Nothing here has a
unit of its own: the same body in millimetres and in metres has the same ratio of residual and rounding. N. J. Higham, Accuracy
and Stability of Numerical Algorithms, SIAM 2002, ch. 7, for |A| |x| as the measure of what rounding does to A x.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from dolfinx import fem, la
from mpi4py import MPI
from petsc4py import PETSc

from lse_material._arrays import Array

FARTHEST = 1e3  # diameters of the body, beyond which a displacement is no reason for larger forces
ROUNDING = 1e-13  # of the forces that cancel: those of a strain of 1e-13


@dataclass(frozen=True, eq=False)
class Field:
    """A leaf of the unknown's space.

    Attributes:
        block: which of the unknowns it belongs to.
        dofs: where its entries stand among those of that unknown that this rank owns.
        space: a space of its own.
        displacement: whether it may be one: as many components as space has dimensions, each with nodes of its own.
    """

    block: int
    dofs: Array
    space: fem.FunctionSpace
    displacement: bool

    @property
    def block_size(self) -> int:
        """Components at each node."""
        return int(self.space.dofmap.index_map_bs)

    @property
    def nodes(self) -> int:
        """Nodes that this rank owns."""
        return int(self.space.dofmap.index_map.size_local)


class RoundingForces:
    """Forces that rounding makes in the residual of a problem, field by field.

    A field is a leaf of the unknown's space: each entry of a list of unknowns, and each sub-space of a mixed one. Its rows are
    compared with its own forces only, for a pressure's residual is a volume and a displacement's a force.

    Args:
        u: the unknown, or the unknowns of a block problem.
        bcs: Dirichlet conditions; their rows hold no forces and are left out.

    Attributes:
        fields: the fields.
        sizes: entries of each unknown that this rank owns.
        free: which of them no condition holds.
    """

    def __init__(self, u: fem.Function | Sequence[fem.Function], bcs: Sequence[fem.DirichletBC] = ()) -> None:
        self._unknowns = tuple(u) if isinstance(u, Sequence) else (u,)
        self.comm: MPI.Comm = self._unknowns[0].function_space.mesh.comm
        spaces = [unknown.function_space for unknown in self._unknowns]
        self.sizes = [V.dofmap.index_map.size_local * V.dofmap.index_map_bs for V in spaces]
        self.free: list[Array] = []
        self.fields: list[Field] = []
        for block, (V, size, held) in enumerate(zip(spaces, self.sizes, held_by_block(spaces, bcs))):
            free = np.ones(size, dtype=bool)
            for bc in held:
                dofs = bc.dof_indices()[0]
                free[dofs[dofs < size]] = False
            self.free.append(free)
            for leaf, dofs in leaves(V):
                self.fields.append(Field(block, dofs[dofs < size], leaf, is_displacement(leaf)))
        self._lengths: list[Array] | None = None
        self._farthest = np.inf
        self._largest = [np.zeros(size) for size in self.sizes]

    def __len__(self) -> int:
        """Number of fields."""
        return len(self.fields)

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
        blocks = self.split(residual)
        squares = [float((np.abs(blocks[f.block][f.dofs[self.free[f.block][f.dofs]]]) ** 2).sum()) for f in self.fields]
        result: Array = np.sqrt(self.comm.allreduce(np.array(squares)))
        return result

    def held_norms(self, forces: Array) -> Array:
        """Norm of forces over the rows of each field that are held: reactions, if these are what balances u; collective.

        Args:
            forces: the owned entries on this rank, of the one unknown, with those of ghosts behind them or not.
        """
        (free,) = self.free
        squares = [float((forces[f.dofs[~free[f.dofs]]] ** 2).sum()) for f in self.fields]
        result: Array = np.sqrt(self.comm.allreduce(np.array(squares)))
        return result

    def allowed(self, A: PETSc.Mat, x: PETSc.Vec | None = None, *, sparing: bool = False) -> Array:
        """Norm of the residual that counts as none, of each field, with the tangent A; collective.

        It is `ROUNDING` times the norm of |A| (|u| + h), with h the mean size of the cells at a node for displacements (vectors
        of the dimension of the space), of which |u| counts up to a thousand diameters of the body: one that slides away without
        end is not at rest. Other fields have the largest value that `note` has seen in place of h.

        Args:
            A: assembled tangent, its held rows and columns empty up to the diagonal, as DOLFINx makes them.
            x: values of the unknowns, those of `u` if left out.
            sparing: take |A_ii| for |A|, which needs no memory for another matrix: of one unknown, without pressures.
        """
        if x is None:
            scales = [np.abs(unknown.x.array[:size]) for unknown, size in zip(self._unknowns, self.sizes)]
        else:
            scales = [np.abs(part) for part in self.split(x)]
        if self._lengths is None:
            self._lengths = [node_sizes(unknown.function_space) for unknown in self._unknowns]
            self._farthest = FARTHEST * body_diameter(self._unknowns[0].function_space.mesh)
        for field in self.fields:
            block, dofs = field.block, field.dofs
            if field.displacement:
                scales[block][dofs] = np.fmin(scales[block][dofs], self._farthest) + self._lengths[block][dofs]
            else:
                scales[block][dofs] = np.fmax(scales[block][dofs], self._largest[block][dofs])
        if sparing:
            diagonal = A.getDiagonal()
            forces = np.abs(diagonal.array_r) * scales[0]
            diagonal.destroy()
        else:
            forces = np.concatenate(product(A, scales, absolute=True))
        return ROUNDING * self.norms(forces)

    def held_rows(self, diagonal: PETSc.Vec) -> Array:
        """What gives the rows of conditions, u - g, the unit of their field's forces: factors of the owned rows; collective.

        Args:
            diagonal: of the tangent. Its mean size over the free rows of a field is the factor; 1 if these vanish.
        """
        blocks = self.split(diagonal)
        factors = [np.ones(size) for size in self.sizes]
        for field in self.fields:
            block, dofs, free = field.block, field.dofs, field.dofs[self.free[field.block][field.dofs]]
            total, count = self.comm.allreduce(np.array([float(np.abs(blocks[block][free]).sum()), float(len(free))]))
            if 0.0 < total < np.inf:
                factors[block][dofs[~self.free[block][dofs]]] = total / count
        return np.concatenate(factors)

    def rows_as_first(self, A: PETSc.Mat) -> Array:
        """What brings rows of each field to the forces of the first: factors of the owned rows; collective.

        Args:
            A: assembled tangent at the present u.
        """
        forces = self.allowed(A)
        factors = [np.ones(size) for size in self.sizes]
        for force, field in zip(forces, self.fields):
            if 0.0 < force < np.inf and 0.0 < forces[0] < np.inf:
                factors[field.block][field.dofs] = forces[0] / force
        return np.concatenate(factors)

    def split(self, values: PETSc.Vec | Array) -> list[Array]:
        """Entries that this rank owns, of each unknown."""
        return np.split(owned_entries(values), np.cumsum(self.sizes)[:-1])

    def values(self, field: Field) -> Array:
        """The present values of a field that this rank owns."""
        unknown = self._unknowns[field.block]
        result: Array = unknown.x.array[: self.sizes[field.block]][field.dofs]
        return result


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
            own, dofs = space.collapse()
            yield own, np.ravel(dofs)

    yield from walk(V)


def is_displacement(space: fem.FunctionSpace) -> bool:
    """See `Field`."""
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


def product(A: PETSc.Mat, x: list[Array], *, absolute: bool = False) -> list[Array]:
    """A x, or |A| x with the absolute entries of A: entries that this rank owns, of each unknown. Collective."""
    if A.getType() == PETSc.Mat.Type.NEST:
        pairs = [[A.getNestSubMatrix(i, j) for j in range(len(x))] for i in range(len(x))]
        return [
            sum((product(B, [y], absolute=absolute)[0] for B, y in zip(row, x) if B), np.zeros(len(z)))
            for row, z in zip(pairs, x)
        ]
    right, left = A.createVecRight(), A.createVecLeft()
    right.array[:] = np.concatenate(x)
    if absolute:
        pointers, columns, values = A.getValuesCSR()
        entries = PETSc.Mat().createAIJ(A.getSizes(), csr=(pointers, columns, np.abs(values)), comm=A.comm)
        entries.mult(right, left)
        entries.destroy()
    else:
        A.mult(right, left)
    result = np.split(left.array.copy(), np.cumsum([len(y) for y in x])[:-1])
    right.destroy()
    left.destroy()
    return result


def absolute_row_sums(A: PETSc.Mat) -> PETSc.Vec:
    """sum_j |A_ij|, a vector that the caller destroys; collective."""
    sums = A.createVecLeft()
    sums.array[:] = product(A, [np.ones(A.getLocalSize()[1])], absolute=True)[0]
    return sums


def body_diameter(domain: Any) -> float:
    """The diagonal of the bounding box of a mesh, the same on every rank; collective."""
    x = domain.geometry.x
    low, high = (np.zeros(3) for _ in range(2))
    domain.comm.Allreduce(x.min(axis=0) if len(x) else np.full(3, np.inf), low, MPI.MIN)
    domain.comm.Allreduce(x.max(axis=0) if len(x) else np.full(3, -np.inf), high, MPI.MAX)
    return float(np.linalg.norm(high - low))
