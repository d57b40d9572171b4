"""Convergence of Newton's method on a mixed problem, field by field, independent of the fields' units.

A concentration, a chemical potential and a displacement have three units, and in a norm over all of them the largest numbers
decide. Here the last step of each field is judged by the change that it makes in each equation: with A the Jacobian, x_f and
dx_f the parts of iterate and step that belong to field f, and |.|_g the norm over the rows of equation g,

    |A dx_f|_g <= tolerance max_h |A x_h|_g        for all f and g.

Both sides have the unit of the equation. The values of a field at rest are rounding and never small against themselves. But
every equation times |x_g| has the unit of energy, so a change is also small if it is rounding of the whole energy,

    |A dx_f|_g |x_g| <= epsilon max_h,i |A x_h|_i |x_i|.

No further step is made if almost nothing is left of the residual of each equation, as after the first step of a linear problem.
"""

from typing import Any

import numpy as np
from petsc4py import PETSc

from lse_material._arrays import Array
from lse_material.fem._lifetime import temporary
from lse_material.fem.solve.fields import Fields

SOLVED = 1e-11  # residual of an equation, relative to its largest term, after which no further step is made


class FieldwiseTest:
    """A convergence test for the SNES of a mixed problem, for `snes.setConvergenceTest`. Rows of conditions are no equations.

    The SNES's stol is the tolerance above; rtol and atol, of norms over all fields, count where they are not 0.
    """

    def __init__(self, fields: Fields) -> None:
        self._fields = fields
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
        terms, sizes = self._terms(A, x), self._fields.norms(x)
        lost = np.finfo(float).eps * (terms * sizes).max()

        def negligible(changes: Array, share: float) -> bool:
            return bool(((changes <= share * terms.max(axis=0)) | (changes * sizes <= lost)).all())

        if negligible(self._fields.norms(snes.getFunction()[0]), SOLVED):
            return True
        return negligible(self._terms(A, snes.getSolutionUpdate()).max(axis=0), tolerance)

    def _terms(self, A: PETSc.Mat, x: PETSc.Vec) -> Array:
        """|A x_f|_g, (fields, equations)."""
        terms = np.empty((len(self._fields),) * 2)
        with temporary(A.createVecRight(), A.createVecLeft()) as (part, product):
            for f, field in enumerate(self._fields.fields):
                part.set(0.0)
                part.array_w[field.dofs] = x.array_r[field.dofs]
                A.mult(part, product)
                terms[f] = self._fields.norms(product)
        return terms
