"""Units for the fields of one unknown, so that a solver's norms do not mix metres with strains.

A trust region bounds the 2-norm of a step. Where the unknown holds several fields (a displacement and a micromorphic strain,
say) that norm adds numbers of different units, and what a solver does would change from metres to millimetres. So the solver
is given y = u / s with one number s for each field: 1 for displacements, and for each other field the s by which the mean
stiffness of a degree of freedom is that of a displacement, s^2 mean |A_ii| = mean |A_uu|. Both sides are then in one unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from dolfinx import fem
from mpi4py import MPI
from petsc4py import PETSc

from lse_material._arrays import Array
from lse_material.fem.solve.force_scale import body_diameter, is_displacement, leaves


class FieldScales:
    """The scale s of each entry of an unknown. With one field they are 1, and nothing is scaled.

    Args:
        u: the unknown.
        bcs: Dirichlet conditions: rows that they hold say nothing of stiffness.

    Attributes:
        known: whether the scales have been measured; they are 1 until then.
        has_displacement: whether one of the fields is a displacement.
    """

    def __init__(self, u: fem.Function, bcs: Sequence[fem.DirichletBC]) -> None:
        V = u.function_space
        self._comm: MPI.Comm = V.mesh.comm
        parts = [(is_displacement(space), dofs) for space, dofs in leaves(V)]
        self._first = next((i for i, (displacement, _) in enumerate(parts) if displacement), 0)
        self.has_displacement = any(displacement for displacement, _ in parts)
        self._dofs = [dofs for _, dofs in parts]
        self._owned = V.dofmap.index_map.size_local * V.dofmap.index_map_bs
        self._free = np.ones(self._owned, dtype=bool)
        for bc in bcs:
            dofs, owned = bc.dof_indices()
            self._free[dofs[:owned]] = False
        self._scale: Array | None = None
        self._size = len(u.x.array)
        self._entries = V.dofmap.index_map.size_global * V.dofmap.index_map_bs
        self._dim = V.mesh.topology.dim
        self._diameter = body_diameter(V.mesh)
        self.known = len(parts) == 1

    def __len__(self) -> int:
        """Number of fields."""
        return len(self._dofs)

    def measure(self, A: PETSc.Mat) -> None:
        """Find the scales from the diagonal of a tangent; collective."""
        diagonal = A.getDiagonal()
        stiffness = np.abs(diagonal.array_r)
        diagonal.destroy()
        own = [dofs[dofs < self._owned] for dofs in self._dofs]
        sums = np.array([(stiffness[dofs][self._free[dofs]].sum(), self._free[dofs].sum()) for dofs in own])
        sums = self._comm.allreduce(sums)
        means = sums[:, 0] / np.maximum(sums[:, 1], 1.0)
        usable = np.isfinite(means) & (means > 0.0)
        reference = means[self._first] if usable[self._first] else 0.0
        factors = np.sqrt(np.divide(reference, means, out=np.ones_like(means), where=usable & (reference > 0.0)))
        self._scale = np.ones(self._size)
        for dofs, factor in zip(self._dofs, factors):
            self._scale[dofs] = factor
        self.known = True

    def multiply(self, values: Any) -> None:
        """values *= s, in place; an array of the entries that this rank owns, with those of ghosts behind them or not."""
        if self._scale is not None:
            values *= self._scale[: len(values)]

    def divide(self, values: Any) -> None:
        """values /= s, in place."""
        if self._scale is not None:
            values /= self._scale[: len(values)]

    def to_physical(self, y: PETSc.Vec, out: PETSc.Vec) -> None:
        """Set out = s y."""
        y.copy(out)
        self.multiply(out.array)

    def scale(self, A: PETSc.Mat) -> None:
        """A_ij *= s_i s_j; collective."""
        if self._scale is not None:
            s = A.createVecLeft()
            s.array[:] = self._scale[: self._owned]
            A.diagonalScale(s, s)
            s.destroy()

    def unscale(self, M: PETSc.Mat) -> None:
        """M_ij /= s_i s_j: an inner product of u / s; collective."""
        if self._scale is not None:
            s = M.createVecLeft()
            s.array[:] = 1.0 / self._scale[: self._owned]
            M.diagonalScale(s, s)
            s.destroy()

    def largest_step(self, u: fem.Function, residual: Array, A: PETSc.Mat) -> float:
        """Norm of the largest y that a first step may have: the body's diameter at each entry; collective.

        Without a displacement there is no length to compare with. It is then the norm of u, or that of the step that the
        residual asks of the softest mode, whose stiffness is a share (entries)^(-2/dim) of the diagonal.

        Args:
            u: the present state.
            residual: the owned entries of the energy's gradient, zero where u is held.
            A: the tangent, or the frozen-weight tangent.
        """
        if self.has_displacement:
            return self._diameter * float(np.sqrt(self._entries))
        diagonal = A.getDiagonal()
        stiffness = np.abs(diagonal.array_r)
        diagonal.destroy()
        step = np.divide(residual, stiffness, out=np.zeros_like(residual), where=stiffness > 0.0)
        values = u.x.array[: self._owned].copy()
        self.divide(step)
        self.divide(values)
        squares = self._comm.allreduce(np.array([step @ step, values @ values]))
        size = float(np.sqrt(squares[1]) + self._entries ** (2 / self._dim) * np.sqrt(squares[0]))
        return size if np.isfinite(size) and size > 0.0 else 1.0  # nothing to do: any radius serves
