"""What minimisers, stability checks and paths need of an energy: seams between the solvers and the problems that they solve.

`Energy` is a discrete energy and its derivatives, in any unknowns: those of `EnergyProblem` are degrees of freedom, those of
the periodic cell are fluctuation and average gradient. `FieldEnergy` is the energy of a finite-element function with Dirichlet
conditions.
"""

from collections.abc import Generator, Mapping, Sequence
from typing import Any, Protocol

import ufl
from dolfinx import fem
from petsc4py import PETSc

from lse_material._arrays import Array
from lse_material.fem.forms.orientation import InvertedCells
from lse_material.fem.solve.fields import Fields
from lse_material.fem.solve.scaling import FieldScales


class Energy(Protocol):
    """An energy of unknowns x that a minimiser can go down. All methods are collective."""

    x: PETSc.Vec  # of the layout of the unknowns; its values do not count
    energy_scale: float  # changes below a tiny share of it are rounding, even where the energy vanishes; 0 if unknown

    def iterate(self, out: PETSc.Vec) -> None:
        """Write the present unknowns to `out`."""

    def set_iterate(self, x: PETSc.Vec) -> None:
        """Take the unknowns from x."""

    def value(self) -> float:
        """The energy at the present unknowns, up to a constant, the same on every rank; not finite where an element is turned
        inside out."""

    def residual(self, out: PETSc.Vec) -> None:
        """Write the gradient of the energy to `out`, zero where the unknowns are prescribed."""

    def tangent(self) -> PETSc.Mat:
        """The second derivative, symmetric; prescribed rows have a positive diagonal alone. The next call changes it."""

    def positive_tangents(self) -> Generator[PETSc.Mat, None, None]:
        """Symmetric matrices near the tangent that was assembled last, each nearer to a positive definite one.

        The next step of the iterator changes the matrix. Close the iterator, for it then destroys the matrix.
        """

    def is_converged(self, residual: PETSc.Vec) -> bool:
        """Whether the residual of the present unknowns, at which `tangent` was called, counts as zero."""


class FieldEnergy(Energy, Protocol):
    """An energy of a function u that can be solved, and whose equilibria a path follows. All methods are collective."""

    functional: ufl.Form  # the energy
    u: fem.Function  # the unknown
    comm: Any
    bcs: Sequence[fem.DirichletBC]
    start_values: Mapping[str, fem.Function]  # beside u, from which a solve starts, by names
    fields: Fields  # of u
    scales: FieldScales  # units of these fields, in which steps are measured
    solver: PETSc.SNES
    A: PETSc.Mat  # the matrix of the tangent
    P_mat: PETSc.Mat | None  # that of the preconditioner; None if it is A
    b: PETSc.Vec  # of the layout of the residual
    J: fem.Form  # the tangent, compiled
    convex_form: fem.Form | None  # the frozen-weight tangent, compiled; None if there is none
    predictor: bool  # whether a linear step extends changed Dirichlet values into the body
    iterations: int  # of the last solve
    force_scale: float  # norm of forces that the tolerance is relative to if reactions are smaller
    inverted_cells: InvertedCells  # checks det F between the quadrature points
    multipliers: int  # number of free unknowns that are Lagrange multipliers; 0 for a minimum

    def compiled(self, form: ufl.Form) -> fem.Form:
        """A form compiled as those of this energy are."""

    def solve(self) -> Any:
        """Minimise from the present u."""

    def energy(self) -> float:
        """The value with its constant."""

    def apply_bcs(self) -> None:
        """Set u to its Dirichlet values."""

    def update_stored(self) -> None:
        """Bring stored stresses and tangents, with which `J` is assembled, to the present u."""

    def forces(self) -> Array:
        """The derivative of the energy, reactions included, with entries for ghosts."""

    def convex_tangent(self) -> PETSc.Mat | None:
        """The frozen-weight tangent, as `tangent`; None if there is none."""
