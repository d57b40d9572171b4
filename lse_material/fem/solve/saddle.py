"""Saddles of mixed energies as minima: at each displacement the multipliers and dilatations are eliminated.

For given u, the other fields y of a mixed energy Pi(u, y) follow from dPi/dy = 0, and E(u) = Pi(u, y(u)) is an energy of u
alone. Its gradient is dPi/du, and Newton's step of Pi is Newton's step of E. The second derivative of E is positive definite
where the tangent of Pi has as many negative eigenvalues as there are multipliers (Sylvester). So `minimise` goes down E by the
tangents of Pi, with the rows of u raised where they have more. J. Nocedal, S. Wright, Numerical Optimization, 2006, ch. 16.1.

A multiplier l in which Pi is linear, that of an infinite bulk modulus or of a prescribed volume, does not follow from u. Then
Pi - c (l - l_0)^2 / 2 takes its place, with a small compliance c: the energy E of the augmented Lagrangian. Its minimum is a
minimum under the constraint once l = l_0, the multiplier of the last minimum (method of multipliers, loc. cit., ch. 17.3).
"""

from collections.abc import Generator

import numpy as np
from mpi4py import MPI
from petsc4py import PETSc

from lse_material._arrays import Array
from lse_material.errors import ConvergenceError
from lse_material.fem._lifetime import temporary
from lse_material.fem.solve._energy import FieldEnergy
from lse_material.fem.solve.fields import diagonal_of, product
from lse_material.fem.solve.inertia import SymmetricFactor, with_raised_diagonal
from lse_material.fem.solve.newton_inertia import DIAGONAL_SHARES, minimise, newton

MAX_ITERATIONS = 20  # of the elimination, which is linear in two of three fields
MAX_MINIMA = 40  # of augmented Lagrangians
NEWTON_ITERATIONS = 8  # after each of them


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
        self._compliance = _compliance(problem.tangent(), self._moves, fields.free[0])
        self._last = problem.x.duplicate()  # unknowns, of which the multipliers of the last minimum count
        self.is_exact = not fields.comm.allreduce(bool(self._compliance.any()), MPI.LOR)
        self.note_minimum()

    def destroy(self) -> None:
        """Free what PETSc has allocated."""
        self._rows.destroy()
        self._last.destroy()

    def note_minimum(self) -> None:
        """Let compliant multipliers be measured from their present values."""
        self._problem.iterate(self._last)

    def iterate(self, out: PETSc.Vec) -> None:
        """Write the unknowns to `out`."""
        self._problem.iterate(out)

    def set_iterate(self, x: PETSc.Vec) -> None:
        """Take u from x, and find the other fields."""
        self._problem.set_iterate(x)
        self.eliminate()

    def value(self) -> float:
        """E of the present u."""
        energy = self._problem.value()
        if self.is_exact:
            return energy
        change = self._change()
        return energy - 0.5 * self._problem.comm.allreduce(float(change @ (self._compliance * change)))

    def residual(self, out: PETSc.Vec) -> None:
        """The gradient of Pi: that of E in the rows of u, zero up to rounding in the others."""
        self._problem.residual(out)
        if not self.is_exact:
            out.array[:] -= self._compliance * self._change()

    def tangent(self) -> PETSc.Mat:
        """The second derivative of Pi."""
        A = self._problem.tangent()
        if not self.is_exact:
            with temporary(self.x.duplicate()) as (diagonal,):
                diagonal.array[:] = -self._compliance
                A.setDiagonal(diagonal, PETSc.InsertMode.ADD_VALUES)
        return A

    def positive_tangents(self) -> Generator[PETSc.Mat, None, None]:
        """The last tangent with the diagonal of u raised, more and more."""
        with temporary(self._problem.A.copy()) as (C,):
            yield from with_raised_diagonal(C, DIAGONAL_SHARES, self._moves)

    def is_converged(self, residual: PETSc.Vec) -> bool:
        """Whether the residual counts as zero."""
        return self._problem.is_converged(residual)

    def eliminate(self) -> None:
        """Find the fields that follow u, by Newton's method in them; collective."""
        problem = self._problem
        with temporary(self.x.duplicate()) as (b,):
            for _ in range(MAX_ITERATIONS):
                self.residual(b)
                norms = problem.fields.norms(b)[self._follows]
                if not np.isfinite(norms).all():
                    return  # an inverted state, whose energy is NaN
                A = self.tangent()
                if bool((norms <= problem.fields.rounding(A)[self._follows]).all()):
                    return
                self._step(A, b)

    def _change(self) -> Array:
        """The unknowns less those of the last minimum."""
        with temporary(self.x.duplicate()) as (here,):
            self._problem.iterate(here)
            return here.array_r - self._last.array_r

    def _step(self, A: PETSc.Mat, b: PETSc.Vec) -> None:
        """Move the fields that follow u by one step of Newton's method."""
        g = b.getSubVector(self._rows)
        with temporary(A.createSubMatrix(self._rows, self._rows), g.duplicate(), self.x.duplicate()) as (
            K,
            change,
            moved,
        ):
            try:
                with SymmetricFactor(A.comm) as factor:
                    if factor.inertia(K)[1]:
                        raise ConvergenceError(
                            "the displacement does not determine the other fields of the mixed energy, so that there is no "
                            "energy to go down: take smaller load steps, or fallback=False."
                        )
                    factor.solve(g, change)
            finally:
                b.restoreSubVector(self._rows, g)
            self._problem.iterate(moved)
            part = moved.getSubVector(self._rows)
            part.axpy(-1.0, change)
            moved.restoreSubVector(self._rows, part)
            self._problem.set_iterate(moved)


def minimise_eliminated(problem: FieldEnergy) -> int:
    """Go down the energy of u alone from the present state; returns the iterations. Collective.

    Raises ConvergenceError: no minimum was found, or u does not determine the other fields.
    """
    with temporary(EliminatedEnergy(problem)) as (energy,):
        energy.eliminate()
        iterations = minimise(energy, multipliers=problem.multipliers)
        if energy.is_exact:
            return iterations
        for _ in range(MAX_MINIMA):
            energy.note_minimum()
            done = _newton_to_minimum(problem)
            if done is not None:
                return iterations + done
            iterations += minimise(energy, multipliers=problem.multipliers)
    raise ConvergenceError(
        f"the minima of {MAX_MINIMA} augmented Lagrangians did not come to one of the energy: take smaller load steps.",
        iterations=iterations,
    )


def _newton_to_minimum(problem: FieldEnergy) -> int | None:
    """Newton's method from near a minimum; returns the iterations, or None, with the state unchanged, if it finds none."""
    before = problem.u.x.array.copy()
    try:
        iterations = newton(problem, NEWTON_ITERATIONS)
        with SymmetricFactor(problem.comm) as factor:
            if factor.is_positive(problem.tangent(), problem.multipliers):
                return iterations
    except ConvergenceError:
        pass
    problem.u.x.array[:] = before
    return None


def _compliance(A: PETSc.Mat, moves: Array, free: Array) -> Array:
    """c of the owned unknowns: sum_j A_ij^2 / A_jj over the fields that move, where a multiplier couples to these alone.

    `moves` is 1 for the entries of the fields that are not eliminated, and `free` true where no condition prescribes them.
    """
    followers = product(A, [1.0 - moves], absolute=True)[0]
    diagonal = np.abs(diagonal_of(A))
    weights = np.divide(moves, diagonal, out=np.zeros_like(diagonal), where=diagonal > 0.0)
    pointers, columns, values = A.getValuesCSR()
    with temporary(PETSc.Mat().createAIJ(A.getSizes(), csr=(pointers, columns, values**2), comm=A.comm)) as (squares,):
        compliance = product(squares, [weights])[0]
    return np.where((moves == 0.0) & (followers == 0.0) & free, compliance, 0.0)
