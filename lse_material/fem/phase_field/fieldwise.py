"""When Newton's method on a mixed problem has converged: each field for itself, whatever units the fields have.

A concentration, a chemical potential and a displacement have three units, and a norm over all of them is that of the one whose
numbers are largest. Here the last step of each field is judged by what it changes in the equations: with A the Jacobian, x_f
and dx_f the parts of iterate and step that belong to field f, and |.|_g the norm over the rows of equation g,

    |A dx_f|_g <= tolerance max_h |A x_h|_g        for all f and g,

each side in the unit of the equation, so that no unit decides. A field that is at rest consists of rounding and is never small
against itself: what is multiplied with |x_g| has the unit of energy in every equation, and a change is also small where

    |A dx_f|_g |x_g| <= epsilon max_h,i |A x_h|_i |x_i|,

so that the energy of the whole cannot hold it. No further step is made where next to nothing is left of the residual of each
equation, as after the first step of a problem that is linear.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from dolfinx import fem
from mpi4py import MPI
from petsc4py import PETSc

from lse_material._arrays import Array

NOTHING_LEFT = 1e-11  # residual of an equation, of its largest term


class FieldwiseTest:
    """A convergence test for the SNES of a mixed problem, for `snes.setConvergenceTest`.

    The SNES's own tolerances: stol is that of the test above; rtol and atol, norms over all fields, count where they are not 0;
    the divergence of the residual is judged as usual.

    Args:
        V: a mixed space.
        bcs: Dirichlet conditions, whose rows are no equations.
    """

    def __init__(self, V: fem.FunctionSpace, bcs: Sequence[fem.DirichletBC]) -> None:
        owned = V.dofmap.index_map.size_local * V.dofmap.index_map_bs
        held = np.zeros(owned, dtype=bool)
        for bc in bcs:
            dofs, count = bc.dof_indices()
            held[dofs[:count]] = True
        self._comm = V.mesh.comm
        self._fields: list[Array] = []
        self._equations: list[Array] = []
        for i in range(V.num_sub_spaces):
            dofs = np.asarray(V.sub(i).collapse()[1])
            dofs = np.unique(dofs[dofs < owned])
            self._fields.append(dofs)
            self._equations.append(dofs[~held[dofs]])
        self._first = 0.0  # norm of the residual where the solve began

    def __call__(
        self, snes: PETSc.SNES, iteration: int, norms: tuple[float, float, float]
    ) -> PETSc.SNES.ConvergedReason:
        """Collective."""
        reasons: Any = PETSc.SNES.ConvergedReason
        rtol, atol, stol, _ = snes.getTolerances()
        size = norms[2]
        if iteration == 0:
            self._first = size
        if not np.isfinite(size):
            return reasons.DIVERGED_FUNCTION_NANORINF
        if size <= atol:
            return reasons.CONVERGED_FNORM_ABS
        if iteration == 0:
            return reasons.ITERATING
        if size <= rtol * self._first:
            return reasons.CONVERGED_FNORM_RELATIVE
        if self._small(snes, stol):
            return reasons.CONVERGED_SNORM_RELATIVE
        return reasons.ITERATING

    def _small(self, snes: PETSc.SNES, tolerance: float) -> bool:
        """Whether the last step is small in every field, or nothing is left of the residual in every equation."""
        A, x = snes.getJacobian()[0], snes.getSolution()
        terms, sizes = self._terms(A, x), self._norms(x)
        lost = np.finfo(float).eps * (terms * sizes).max()

        def negligible(changes: Array, share: float) -> bool:
            return bool(((changes <= share * terms.max(axis=0)) | (changes * sizes <= lost)).all())

        if negligible(self._norms(snes.getFunction()[0]), NOTHING_LEFT):
            return True
        return negligible(self._terms(A, snes.getSolutionUpdate()).max(axis=0), tolerance)

    def _terms(self, A: PETSc.Mat, x: PETSc.Vec) -> Array:
        """|A x_f|_g, (fields, equations)."""
        part, product = A.createVecRight(), A.createVecLeft()
        terms = np.empty((len(self._fields),) * 2)
        for f, dofs in enumerate(self._fields):
            part.set(0.0)
            part.array_w[dofs] = x.array_r[dofs]
            A.mult(part, product)
            terms[f] = self._norms(product)
        part.destroy()
        product.destroy()
        return terms

    def _norms(self, b: PETSc.Vec) -> Array:
        """|b|_g of each equation, (equations,)."""
        squares = np.array([np.sum(b.array_r[rows] ** 2) for rows in self._equations])
        return np.sqrt(self._comm.allreduce(squares, MPI.SUM))
