"""When the residual of an energy counts as zero: in each field by a share of the reactions, or as rounding.

A body without loads has no reactions, so the tolerance is a share of the forces of a small strain where these are larger.
"""

from collections.abc import Collection

import numpy as np
from petsc4py import PETSc

from lse_material._arrays import Array
from lse_material.fem.solve.fields import ROUNDING, Fields

TOLERANCE_STRAIN = 1e-4  # the tolerance is relative to reactions, or to the forces of this strain if they are larger


class Convergence:
    """Whether the residual of a state counts as zero.

    It also does if the norm of the whole residual is below snes_atol, or has fallen by snes_rtol, where the user has `chosen`
    these options.
    """

    def __init__(self, fields: Fields, solver: PETSc.SNES, chosen: Collection[str]) -> None:
        self._fields, self._solver = fields, solver
        self._absolute, self._relative = ("snes_atol" in chosen, "snes_rtol" in chosen)
        self._uncancelled = np.zeros(len(fields))  # forces of the tangent that was assembled last
        self.first_norm = np.inf  # of the whole residual, at the start of the solve
        self._reactions: Array | None = None
        self._noted_at = solver.getFunction()[0].duplicate()

    def note_tangent(self, A: PETSc.Mat, *, diagonal_only: bool) -> None:
        """Record the size of the forces that cancel in the residual; large bodies without factors must save memory."""
        self._uncancelled = self._fields.rounding(A, diagonal_only=diagonal_only) / ROUNDING

    def note_forces(self, x: PETSc.Vec, forces: Array) -> None:
        """Record the reactions at x, of which the solver asks once it has accepted x; collective."""
        x.copy(self._noted_at)
        self._reactions = self._fields.norms(forces, prescribed=True)

    def forget_forces(self) -> None:
        """Forget the reactions: what is noted is right under one load only."""
        self._reactions = None

    def reactions_at(self, x: PETSc.Vec) -> Array | None:
        """The reactions that were noted, if it was at x; collective."""
        return self._reactions if self._reactions is not None and self._noted_at.equal(x) else None

    def is_reached(
        self,
        residual: PETSc.Vec,  # at a state near that of the tangent noted last
        reactions: Array,  # norms by field
        *,
        tolerance: float,  # of the residual, relative to the reactions ...
        force_scale: float,  # ... or to forces of this norm if reactions are smaller
        rounding: float,  # share of the forces that cancel, below which a residual is rounding
    ) -> bool:
        """Whether a residual counts as zero beside these reactions; collective."""
        norms = self._fields.norms(residual)
        forces = np.maximum(reactions, TOLERANCE_STRAIN * self._uncancelled)
        if (norms <= tolerance * np.maximum(forces, force_scale) + rounding * self._uncancelled).all():
            return True
        whole = float(np.linalg.norm(norms))
        absolute = self._absolute and whole <= self._solver.atol
        return absolute or (self._relative and whole <= self._solver.rtol * self.first_norm)
