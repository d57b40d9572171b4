"""What minimisers, stability checks and paths need of an energy: seams between the solvers and the problems that they solve.

`Energy` is a discrete energy and its derivatives, in whatever unknowns: `EnergyProblem`, in degrees of freedom, and the
periodic cell, in fluctuation and average gradient, are two of them. `FieldEnergy` is one of a finite-element function with
Dirichlet conditions, which can be solved, and `PathEnergy` one whose equilibria a path follows.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, Protocol

import ufl
from dolfinx import fem
from petsc4py import PETSc

from lse_material._arrays import Array
from lse_material.fem.forms.orientation import InvertedCells
from lse_material.fem.solve.field_scales import FieldScales


class Energy(Protocol):
    """An energy of unknowns x that a minimiser can go down. All methods are collective.

    Attributes:
        x: a vector of the layout of the unknowns; its values are not looked at.
        energy_scale: an energy, a tiny share of which is rounding also where the energy itself vanishes; 0 if none is known.
    """

    x: PETSc.Vec
    energy_scale: float

    def iterate(self, out: PETSc.Vec) -> None:
        """Write the present unknowns to `out`."""

    def set_iterate(self, x: PETSc.Vec) -> None:
        """Take the unknowns from x."""

    def energy(self) -> float:
        """The energy at the present unknowns, the same on every rank; not finite where an element is turned inside out."""

    def residual(self, out: PETSc.Vec) -> None:
        """Write the gradient of the energy to `out`, zero where the unknowns are held."""

    def tangent(self) -> PETSc.Mat:
        """The second derivative, symmetric; of what is held a positive diagonal alone. The next call changes it."""

    def positive_tangents(self) -> Generator[PETSc.Mat, None, None]:
        """Symmetric matrices near the tangent that was assembled last, each nearer to a positive one than that before.

        The next step of the iterator changes the matrix. It is to be closed, for it destroys the matrix then.
        """

    def is_converged(self, residual: PETSc.Vec) -> bool:
        """Whether a residual, that of the present unknowns, counts as none; `tangent` was called there."""


class FieldEnergy(Energy, Protocol):
    """An energy of a function u, a minimum of which `solve` finds. All methods are collective.

    Attributes:
        u: the unknown.
        comm: its communicator.
        bcs: Dirichlet conditions.
        solver: a PETSc SNES.
        b: a vector of the layout of the residual.
        J: the tangent, compiled.
        convex_form: the frozen-weight tangent, compiled; None if there is none.
        predictor: whether a linear step takes the body with changed Dirichlet values.
    """

    u: fem.Function
    comm: Any
    bcs: Sequence[fem.DirichletBC]
    solver: PETSc.SNES
    b: PETSc.Vec
    J: fem.Form
    convex_form: fem.Form | None
    predictor: bool

    def solve(self) -> Any:
        """Minimise from the present u."""

    def apply_bcs(self) -> None:
        """Set u to its Dirichlet values."""

    def forces(self) -> Array:
        """The derivative of the energy, reactions included, with entries for ghosts."""

    def convex_tangent(self) -> PETSc.Mat | None:
        """The frozen-weight tangent, as `tangent`; None if there is none."""


class PathEnergy(FieldEnergy, Protocol):
    """An energy whose equilibria are followed along a path. All methods are collective.

    Attributes:
        functional: the energy, a UFL form.
        A: the matrix of the tangent.
        iterations: of the last solve.
        force_scale: norm of forces that the tolerance is relative to if reactions are smaller.
        scales: units of the fields of u, in which steps are measured.
        inverted_cells: looks at det F between the quadrature points.
    """

    functional: ufl.Form
    A: PETSc.Mat
    iterations: int
    force_scale: float
    scales: FieldScales
    inverted_cells: InvertedCells

    def compiled(self, form: ufl.Form) -> fem.Form:
        """A form compiled as those of this energy are."""
