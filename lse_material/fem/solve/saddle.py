"""Saddles of mixed energies as minima: at each displacement the multipliers and dilatations are eliminated.

For given u, the other fields y of a mixed energy Pi(u, y) follow from dPi/dy = 0, and E(u) = Pi(u, y(u)) is an energy of u
alone. Its gradient is dPi/du, and Newton's step of Pi is Newton's step of E. The second derivative of E is positive definite
where the tangent of Pi has as many negative eigenvalues as there are multipliers (Sylvester). So `minimise` goes down E by the
tangents of Pi, with the rows of u raised where they have more. J. Nocedal, S. Wright, Numerical Optimization, 2006, ch. 16.1.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
from petsc4py import PETSc

from lse_material.errors import ConvergenceError
from lse_material.fem.solve._energy import FieldEnergy
from lse_material.fem.solve.inertia import SymmetricFactor, with_raised_diagonal
from lse_material.fem.solve.newton_inertia import DIAGONAL_SHARES, minimise

MAX_ITERATIONS = 20  # of the elimination, which is linear in two of three fields


class EliminatedEnergy:
    """The energy of u alone: an `Energy` of the unknowns of a problem, whose multipliers and dilatations follow u."""

    def __init__(self, problem: FieldEnergy) -> None:
        self._problem = problem
        self.x, self.energy_scale = problem.x, problem.energy_scale
        fields = problem.fields
        self._follows = np.array([field in fields.determined for field in fields.fields])
        rows = np.concatenate([field.dofs for field in fields.determined]) + problem.x.getOwnershipRange()[0]
        self._rows = PETSc.IS().createGeneral(list(np.sort(rows)), comm=problem.x.comm)
        self._moves = np.ones(problem.x.getLocalSize())  # 1 for the entries of the fields that are not eliminated
        for field in fields.determined:
            self._moves[field.dofs] = 0.0

    def destroy(self) -> None:
        """Free what PETSc has allocated."""
        self._rows.destroy()

    def iterate(self, out: PETSc.Vec) -> None:
        """Write the unknowns to `out`."""
        self._problem.iterate(out)

    def set_iterate(self, x: PETSc.Vec) -> None:
        """Take u from x, and find the other fields."""
        self._problem.set_iterate(x)
        self.eliminate()

    def energy(self) -> float:
        """E of the present u."""
        return self._problem.energy()

    def residual(self, out: PETSc.Vec) -> None:
        """The gradient of Pi: that of E in the rows of u, zero up to rounding in the others."""
        self._problem.residual(out)

    def tangent(self) -> PETSc.Mat:
        """The second derivative of Pi."""
        return self._problem.tangent()

    def positive_tangents(self) -> Generator[PETSc.Mat, None, None]:
        """The last tangent with the diagonal of u raised, more and more."""
        C = self._problem.A.copy()
        try:
            yield from with_raised_diagonal(C, DIAGONAL_SHARES, self._moves)
        finally:
            C.destroy()

    def is_converged(self, residual: PETSc.Vec) -> bool:
        """Whether the residual counts as zero."""
        return self._problem.is_converged(residual)

    def eliminate(self) -> None:
        """Find the fields that follow u, by Newton's method in them; collective.

        Raises:
            ConvergenceError: u does not determine them, as it does not for an infinite bulk modulus.
        """
        b, problem = self.x.duplicate(), self._problem
        try:
            for _ in range(MAX_ITERATIONS):
                problem.residual(b)
                norms = problem.fields.norms(b)[self._follows]
                if not np.isfinite(norms).all():
                    return  # an inverted state, whose energy is NaN
                A = problem.tangent()
                if bool((norms <= problem.fields.rounding(A)[self._follows]).all()):
                    return
                self._step(A, b)
        finally:
            b.destroy()

    def _step(self, A: PETSc.Mat, b: PETSc.Vec) -> None:
        """Move the fields that follow u by one step of Newton's method."""
        K, g = A.createSubMatrix(self._rows, self._rows), b.getSubVector(self._rows)
        change: Any = g.duplicate()
        try:
            with SymmetricFactor(A.comm) as factor:
                if factor.inertia(K)[1]:
                    raise ConvergenceError(
                        "the displacement does not determine the pressure, as for an infinite bulk modulus, so that there is "
                        "no energy to go down: give a finite one, or take smaller load steps with fallback=False."
                    )
                factor.solve(g, change)
            moved = self.x.duplicate()
            self._problem.iterate(moved)
            part = moved.getSubVector(self._rows)
            part.axpy(-1.0, change)
            moved.restoreSubVector(self._rows, part)
            self._problem.set_iterate(moved)
            moved.destroy()
        finally:
            b.restoreSubVector(self._rows, g)
            change.destroy()
            K.destroy()


def minimise_eliminated(problem: FieldEnergy) -> int:
    """Go down the energy of u alone from the present state; returns the iterations. Collective.

    Raises:
        ConvergenceError: no minimum was found, or u does not determine the other fields.
    """
    energy = EliminatedEnergy(problem)
    try:
        energy.eliminate()
        return minimise(energy, multipliers=problem.fields.multipliers)
    finally:
        energy.destroy()
