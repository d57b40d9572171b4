"""The fields of a problem's unknowns, and the residual that rounding alone makes in each of them.

A field is a leaf of the unknown's space: each entry of a list of unknowns, and each sub-space of a mixed one. Residuals are
compared within one field only, because a pressure's residual is a volume and a displacement's a force.

The residual is a sum of forces that cancel. With the tangent A, a change dx of u changes them by at most |A| |dx|, where |A|
holds the absolute entries. u is known to rounding, so forces of some 1e-16 |A| |u| remain. F = I + grad(u) has entries of order
one whatever u is, so forces of some 1e-16 |A| h remain, with h the size of the cells. This measure has no unit of its own: a
body has the same ratio of residual and rounding in millimetres and in metres. N. J. Higham, Accuracy and Stability of Numerical
Algorithms, SIAM 2002, ch. 7, for |A| |x| as the measure of rounding in A x.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import ufl
from dolfinx import fem, la
from mpi4py import MPI
from petsc4py import PETSc

from lse_material._arrays import Array
from lse_material.errors import InvalidInputError
from lse_material.fem._lifetime import temporary
from lse_material.fem.forms.incompressible import Dilatation, Multiplier
from lse_material.fem.forms.marks import marks_in

LARGEST_DISPLACEMENT = 1e3  # diameters of the body: a larger displacement allows no larger residual
ROUNDING = 1e-13  # of the forces that cancel: those of a strain of 1e-13


@dataclass(frozen=True, eq=False)
class Field:
    """A leaf of the unknown's space."""

    block: int  # which of the unknowns it belongs to
    dofs: Array  # positions of its entries among those of that unknown that this rank owns
    space: fem.FunctionSpace  # a space of its own
    displacement: bool  # whether it may be one: as many components as space has dimensions, each with nodes of its own


class Fields:
    """The fields of the unknowns of a problem."""

    def __init__(
        self,
        u: fem.Function | Sequence[fem.Function],
        bcs: Sequence[fem.DirichletBC] = (),
        forms: Sequence[ufl.Form] = (),  # in which mixed energies mark multipliers and dilatations
    ) -> None:
        self._unknowns = tuple(u) if isinstance(u, Sequence) else (u,)
        spaces = [unknown.function_space for unknown in self._unknowns]
        self.comm: MPI.Comm = spaces[0].mesh.comm
        self.diameter = body_diameter(spaces[0].mesh)
        self.sizes = [V.dofmap.index_map.size_local * V.dofmap.index_map_bs for V in spaces]  # owned by this rank
        self.free: list[Any] = []  # for each unknown, which of its owned entries no condition prescribes
        self.fields: list[Field] = []
        for block, (V, size, conditions) in enumerate(zip(spaces, self.sizes, bcs_by_block(spaces, bcs))):
            free = np.ones(size, dtype=bool)
            for bc in conditions:
                dofs, owned = bc.dof_indices()
                free[dofs[:owned]] = False
            self.free.append(free)
            for leaf, dofs in _leaves(V):
                self.fields.append(Field(block, dofs[dofs < size], leaf, _is_displacement(leaf)))
        self._parts = [(f.dofs[self.is_free(f)], f.dofs[~self.is_free(f)]) for f in self.fields]  # free and prescribed
        self._node_sizes: list[Array] | None = None
        self._largest = [np.zeros(size) for size in self.sizes]
        for meaning in (Multiplier, Dilatation):  # which are no displacements, in one dimension either
            for field in self._marked(forms, meaning):
                self.fields[self.fields.index(field)] = replace(field, displacement=False)
        pressures, dilatations = (self._marked(forms, meaning) for meaning in (Multiplier, Dilatation))
        self.determined = [*pressures, *dilatations]  # they follow from the other fields
        for field in dilatations:
            self._largest[field.block][field.dofs] = 1.0
        free_entries = sum(int(self.is_free(field).sum()) for field in pressures)
        self.multipliers = int(self.comm.allreduce(free_entries))  # free entries of Lagrange multipliers, on all ranks

    def _marked(self, forms: Sequence[ufl.Form], meaning: type) -> list[Field]:
        """The fields that forms mark with a meaning, as `ufl.split` gives them or as functions of their own."""
        found = {mark.expression() for form in forms for mark, _ in marks_in(form, meaning)}
        parts = [part for unknown in self._unknowns for part in _scalars(unknown)]
        return [field for field, part in zip(self.fields, parts, strict=True) if part in found]

    def __len__(self) -> int:
        """Number of fields."""
        return len(self.fields)

    def split(self, values: PETSc.Vec | Array) -> list[Array]:
        """Entries that this rank owns, of each unknown."""
        return np.split(owned_entries(values), np.cumsum(self.sizes)[:-1])

    def values(self, field: Field) -> Array:
        """The present values of a field that this rank owns."""
        return self._unknowns[field.block].x.array[field.dofs]

    def is_free(self, field: Field) -> Any:
        """Which of `field.dofs` no condition prescribes."""
        return self.free[field.block][field.dofs]

    def where_free(self, values: Array) -> Array:
        """Values at the entries of the one unknown that this rank owns, zero where it is prescribed."""
        free = self.free[0]
        return np.where(free, values[: len(free)], 0.0)

    def norms(self, values: PETSc.Vec | Array, *, prescribed: bool = False) -> Array:
        """Norm of a residual, or of its owned entries block after block, over the free entries of each field; collective.

        With `prescribed`, over the entries that conditions prescribe instead: of forces, these are the reactions.
        """
        blocks, squares = self.split(values), []
        for field, parts in zip(self.fields, self._parts):
            squares.append(float((np.abs(blocks[field.block][parts[prescribed]]) ** 2).sum()))
        return np.sqrt(self.comm.allreduce(np.array(squares)))

    def mean_stiffnesses(self, diagonal: PETSc.Vec | Array) -> Array:
        """Mean |A_ii| over the free entries of each field, 0 for a field without any; collective."""
        blocks = self.split(diagonal)
        free = [blocks[field.block][field.dofs[self.is_free(field)]] for field in self.fields]
        total, count = self.comm.allreduce(np.array([(np.abs(values).sum(), len(values)) for values in free])).T
        return total / np.maximum(count, 1.0)

    def note(self) -> None:
        """Record the size of the unknowns: a field that is no displacement has no other scale once it vanishes."""
        for largest, unknown in zip(self._largest, self._unknowns):
            values = np.abs(unknown.x.array[: len(largest)])
            np.fmax(largest, values, out=largest, where=np.isfinite(values))

    def rounding(self, A: PETSc.Mat, x: PETSc.Vec | None = None, *, diagonal_only: bool = False) -> Array:
        """Norm of the residual that rounding makes in each field, with the tangent A; collective.

        It is `ROUNDING` times the norm of |A| (|u| + h), with h the mean size of the cells at a node. |u| counts up to a
        thousand diameters of the body: a body that slides away without end is not at rest. A field that is no displacement has
        the largest value that `note` has recorded in place of h. The unknowns are x, or the present ones. |A_ii| alone for |A|
        needs no memory for another matrix, and serves one unknown without pressures.
        """
        if x is None:
            scales = [np.abs(unknown.x.array[:size]) for unknown, size in zip(self._unknowns, self.sizes)]
        else:
            scales = [np.abs(part) for part in self.split(x)]
        if self._node_sizes is None:
            self._node_sizes = [node_sizes(unknown.function_space) for unknown in self._unknowns]
        for field in self.fields:
            scale, dofs = scales[field.block], field.dofs
            if field.displacement:
                scale[dofs] = np.fmin(scale[dofs], LARGEST_DISPLACEMENT * self.diameter)
                scale[dofs] += self._node_sizes[field.block][dofs]
            else:
                scale[dofs] = np.fmax(scale[dofs], self._largest[field.block][dofs])
        if diagonal_only:
            return ROUNDING * self.norms(np.abs(diagonal_of(A)) * scales[0])
        return ROUNDING * self.norms(np.concatenate(product(A, scales, absolute=True)))


def bcs_by_block(
    spaces: Sequence[fem.FunctionSpace], bcs: Sequence[fem.DirichletBC]
) -> Sequence[Sequence[fem.DirichletBC]]:
    """The Dirichlet conditions on each space.

    Raises InvalidInputError: one is on another space, and would have no effect.
    """
    every = [V._cpp_object for V in spaces]
    for i, bc in enumerate(bcs):
        if not any(V.contains(bc.function_space) for V in every):
            raise InvalidInputError(
                f"bcs[{i}] is a condition on another function space than that of u, or a part of it, and would have no effect: "
                "make it with u.function_space; and in a part of a mixed space with V.sub(i), as in "
                "dirichletbc(g, locate_dofs_topological((V.sub(0), V0), dim, facets), V.sub(0)), V0 = V.sub(0).collapse()[0]."
            )
    return fem.bcs_by_block(every, bcs)


def with_prescribed(values: Array, bcs: Sequence[fem.DirichletBC]) -> Array:
    """Values of an unknown, with those that conditions on it prescribe in their places."""
    result = values.copy()
    for bc in bcs:
        bc.set(result, None, 1.0)
    return result


def node_sizes(V: fem.FunctionSpace) -> Array:
    """Mean size of the cells at each degree of freedom that this rank owns, for any number of ranks; collective."""
    tdim, index_map = V.mesh.topology.dim, V.dofmap.index_map
    cells = np.arange(V.mesh.topology.index_map(tdim).size_local, dtype=np.int32)
    sizes = V.mesh.h(tdim, cells).astype(np.float64) if len(cells) else np.empty(0)
    nodes = V.dofmap.list[: len(cells)]
    total, count = la.vector(index_map), la.vector(index_map)
    np.add.at(total.array, nodes.ravel(), np.repeat(sizes, nodes.shape[1]))
    np.add.at(count.array, nodes.ravel(), 1.0)
    for vector in (total, count):
        vector.scatter_reverse(la.InsertMode.add)
    means = total.array / np.maximum(count.array, 1.0)
    return np.repeat(means[: index_map.size_local], V.dofmap.index_map_bs)


def _scalars(u: fem.Function) -> Iterator[ufl.core.expr.Expr]:
    """A UFL expression for each leaf of the space of u, as forms have it if the leaf is a scalar."""
    if not (u.function_space.num_sub_spaces > 0 and u.function_space.ufl_element().block_size == 1):
        yield u
        return
    start = 0
    for leaf, _ in _leaves(u.function_space):
        yield u[start]
        start += int(np.prod(leaf.ufl_element().reference_value_shape, dtype=int))


def _leaves(V: fem.FunctionSpace) -> Iterator[tuple[fem.FunctionSpace, Array]]:
    """The spaces that a mixed one is made of, with their positions in the vector of V; V itself if it is not mixed."""

    def descend(space: fem.FunctionSpace) -> Iterator[tuple[fem.FunctionSpace, Array]]:
        if space.num_sub_spaces > 0 and space.ufl_element().block_size == 1:
            for i in range(space.num_sub_spaces):
                yield from descend(space.sub(i))
        elif space is V:
            yield V, np.arange(V.dofmap.index_map.size_local * V.dofmap.index_map_bs)
        else:
            own, dofs = space.collapse()
            yield own, np.ravel(dofs)

    yield from descend(V)


def _is_displacement(space: fem.FunctionSpace) -> bool:
    """See `Field`."""
    gdim = space.mesh.geometry.dim
    element = space.ufl_element()
    return bool(np.prod(element.reference_value_shape, dtype=int) == gdim == element.block_size)


def restorer(functions: Iterable[fem.Function]) -> Callable[[], None]:
    """What gives functions the values again that they have now."""
    before = [(function, function.x.array.copy()) for function in functions]

    def restore() -> None:
        for function, values in before:
            function.x.array[:] = values

    return restore


def owned_entries(values: Any) -> Array:
    """The entries of a vector that this rank owns, block after block; an array of them is returned as it is."""
    if isinstance(values, np.ndarray):
        return values
    if values.getType() == PETSc.Vec.Type.NEST:
        return np.concatenate([part.array_r for part in values.getNestSubVecs()])
    return values.array_r


def product(A: PETSc.Mat, x: list[Array], *, absolute: bool = False) -> list[Array]:
    """A x, or |A| x with the absolute entries of A: entries that this rank owns, of each unknown. Collective."""
    if A.getType() == PETSc.Mat.Type.NEST:
        pairs = [[A.getNestSubMatrix(i, j) for j in range(len(x))] for i in range(len(x))]
        return [
            sum((product(B, [y], absolute=absolute)[0] for B, y in zip(row, x) if B), np.zeros(len(z)))
            for row, z in zip(pairs, x)
        ]
    with temporary(A.createVecRight(), A.createVecLeft()) as (right, left):
        right.array[:] = np.concatenate(x)
        if absolute:
            pointers, columns, values = A.getValuesCSR()
            csr = pointers, columns, np.abs(values)
            with temporary(PETSc.Mat().createAIJWithArrays(A.getSizes(), csr=csr, comm=A.comm)) as (entries,):
                entries.mult(right, left)
        else:
            A.mult(right, left)
        return np.split(left.array.copy(), np.cumsum([len(y) for y in x])[:-1])


def diagonal_of(A: PETSc.Mat) -> Array:
    """The diagonal entries that this rank owns; collective."""
    with temporary(A.getDiagonal()) as (diagonal,):
        return owned_entries(diagonal).copy()


def body_diameter(domain: Any) -> float:
    """The diagonal of the bounding box of a mesh, the same on every rank; collective."""
    x = domain.geometry.x
    low, high = (np.zeros(3) for _ in range(2))
    domain.comm.Allreduce(x.min(axis=0) if len(x) else np.full(3, np.inf), low, MPI.MIN)
    domain.comm.Allreduce(x.max(axis=0) if len(x) else np.full(3, -np.inf), high, MPI.MAX)
    return float(np.linalg.norm(high - low))
