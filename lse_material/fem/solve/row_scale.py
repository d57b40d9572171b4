"""Rows of residuals and tangents multiplied by numbers of their own, so that all entries of a residual are forces.

A row of a Dirichlet condition is u - g, a length, as DOLFINx makes it; that of a pressure is a volume. Multiplied by a
stiffness, or by a force over a volume, they can be added in one norm. Which numbers: `lse_material.fem.solve.force_scale`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from petsc4py import PETSc

from lse_material._arrays import Array


def scale_rows(matrices: Sequence[PETSc.Mat | None], like: PETSc.Vec, factors: Array) -> None:
    """Multiply the rows of matrices, each once, of the layout of `like`; collective."""
    left = like.duplicate()
    left.set(1.0)
    multiply_rows(left, factors)
    for matrix in {m.handle: m for m in matrices if m is not None}.values():
        matrix.diagonalScale(left, None)
    left.destroy()


def multiply_rows(b: PETSc.Vec, factors: Array) -> None:
    """Multiply the entries of a vector that this rank owns."""
    parts: Any = b.getNestSubVecs() if b.getType() == PETSc.Vec.Type.NEST else [b]
    start = 0
    for part in parts:
        part.array[:] *= factors[start : start + part.getLocalSize()]
        start += part.getLocalSize()
