"""Units for the fields of a problem, so that a solver's norms do not add metres to strains.

**Unknowns.** A trust region bounds the 2-norm of a step. Where the unknown has several fields (a displacement and a
micromorphic strain, say) that norm adds numbers of different units, and the steps would change from metres to millimetres. So
the solver is given y = u / s with one number s for each field: 1 for displacements, and for each other field the s that gives
its degrees of freedom the mean stiffness of a displacement, s^2 mean |A_ii| = mean |A_uu|. A Lagrange multiplier, whose
diagonal is zero, gets the s that makes its coupling to the displacement as large, s mean |A_iu| = mean |A_uu|.

**Rows.** A row of a Dirichlet condition is u - g, a length, as DOLFINx makes it; a row of a pressure is a volume. Multiplied by
a stiffness, or by a force over a volume, they can be added to forces in one norm.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from dolfinx import fem
from petsc4py import PETSc

from lse_material._arrays import Array
from lse_material.fem._lifetime import temporary
from lse_material.fem.solve.fields import Fields, diagonal_of, product


class FieldScales:
    """The scale s of each entry of one unknown. With one field it is 1, and nothing is scaled."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields
        displacements = [i for i, field in enumerate(fields.fields) if field.displacement]
        self.has_displacement = bool(displacements)
        self._reference = displacements[0] if displacements else 0
        self._scale: Array | None = None
        self.known = len(fields) == 1  # whether the scales have been measured; they are 1 until then
        self.factors = np.ones(len(fields))  # the scale of each field

    def measure(self, A: PETSc.Mat) -> None:
        """Find the scales from the diagonal of a tangent; collective."""
        means = self._fields.mean_stiffnesses(diagonal_of(A))
        ones = np.zeros(self._fields.sizes[0])  # in the columns of the reference
        ones[self._fields.fields[self._reference].dofs] = 1.0
        coupling = self._fields.mean_stiffnesses(np.concatenate(product(A, [ones], absolute=True)))
        usable = np.isfinite(means) & (means > 0.0)
        reference = means[self._reference] if usable[self._reference] else 0.0
        factors = np.sqrt(np.divide(reference, means, out=np.ones_like(means), where=usable & (reference > 0.0)))
        zero = (means == 0.0) & (coupling > 0.0) & (reference > 0.0)
        factors[zero] = reference / coupling[zero]
        self.set(factors)

    def set(self, factors: Array) -> None:
        """Take the scale of each field."""
        self._scale = np.ones(self._fields.sizes[0])
        for field, factor in zip(self._fields.fields, factors):
            self._scale[field.dofs] = factor
        self.factors, self.known = factors, True

    def multiply(self, values: Any) -> None:
        """values *= s in place, for an array of the entries that this rank owns."""
        if self._scale is not None:
            values *= self._scale

    def divide(self, values: Any) -> None:
        """values /= s in place, for an array of the entries that this rank owns."""
        if self._scale is not None:
            values /= self._scale

    def to_physical(self, y: PETSc.Vec, out: PETSc.Vec) -> PETSc.Vec:
        """Set out = s y, and return it."""
        y.copy(out)
        self.multiply(out.array)
        return out

    def scale(self, A: PETSc.Mat, power: int = 1) -> None:
        """A_ij *= (s_i s_j)^power; with power -1, an inner product of u becomes one of u / s. Collective."""
        if self._scale is not None:
            with temporary(A.createVecLeft()) as (s,):
                s.array[:] = self._scale**power
                A.diagonalScale(s, s)

    def largest_step(self, u: fem.Function, residual: Array, A: PETSc.Mat) -> float:
        """Norm of the largest y that a first step may have: the body's diameter at each entry; collective.

        Without a displacement there is no length to compare with. It is then the norm of u, or that of the step that the
        residual (owned entries, zero where u is prescribed) asks of the softest mode, whose stiffness is a share
        (entries)^(-2/dim) of the diagonal of the tangent, or the frozen-weight tangent.
        """
        entries = A.getSize()[0]
        if self.has_displacement:
            return self._fields.diameter * float(np.sqrt(entries))
        stiffness = np.abs(diagonal_of(A))
        step = np.divide(residual, stiffness, out=np.zeros_like(residual), where=stiffness > 0.0)
        values = u.x.array[: len(step)].copy()
        self.divide(step)
        self.divide(values)
        squares = self._fields.comm.allreduce(np.array([step @ step, values @ values]))
        softest = entries ** (2 / u.function_space.mesh.topology.dim)
        size = float(np.sqrt(squares[1]) + softest * np.sqrt(squares[0]))
        return size if np.isfinite(size) and size > 0.0 else 1.0  # nothing to do: any radius serves


def condition_factors(fields: Fields, A: PETSc.Mat) -> Array:
    """Factors of the owned rows that give u - g of a condition the unit of its field's forces; collective.

    They are the mean |A_ii| of the tangent over the free rows of a field; 1 if these vanish.
    """
    factors = [np.ones(size) for size in fields.sizes]
    for field, mean in zip(fields.fields, fields.mean_stiffnesses(diagonal_of(A))):
        if 0.0 < mean < np.inf:
            factors[field.block][field.dofs[~fields.is_free(field)]] = mean
    return np.concatenate(factors)


def field_factors(fields: Fields, A: PETSc.Mat) -> Array:
    """Factors of the owned rows that bring each field to the forces of the first; A is the tangent at u. Collective."""
    forces = fields.rounding(A)
    factors = [np.ones(size) for size in fields.sizes]
    for force, field in zip(forces, fields.fields):
        if 0.0 < force < np.inf and 0.0 < forces[0] < np.inf:
            factors[field.block][field.dofs] = forces[0] / force
    return np.concatenate(factors)


def scale_rows(matrices: Sequence[PETSc.Mat | None], layout: PETSc.Vec, factors: Array) -> None:
    """Multiply the rows of matrices, each once, of the layout of a vector; collective."""
    with temporary(layout.duplicate()) as (left,):
        left.set(1.0)
        multiply_rows(left, factors)
        for matrix in {m.handle: m for m in matrices if m is not None}.values():
            matrix.diagonalScale(left, None)


def multiply_rows(b: PETSc.Vec, factors: Array) -> None:
    """Multiply the entries of a vector that this rank owns."""
    parts: Any = b.getNestSubVecs() if b.getType() == PETSc.Vec.Type.NEST else [b]
    start = 0
    for part in parts:
        part.array[:] *= factors[start : start + part.getLocalSize()]
        start += part.getLocalSize()
