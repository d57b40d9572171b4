"""Newton's method on a periodic cell: plain, which stays on its branch, or down the energy with a positive tangent.

Where the tangent K is not positive definite on the way down, it is raised to K + share M, M the inner product of the cell. J.
Nocedal, S. J. Wright, Numerical Optimization, Springer 2006, section 3.4.
"""

from __future__ import annotations

import numpy as np
from petsc4py import PETSc

from lse_material.checks import Array
from lse_material.errors import ConvergenceError
from lse_material.fem.cell_system import CellSystem
from lse_material.fem.inertia import SymmetricFactor

ITERATIONS = 60
ARMIJO = 1e-4
SHORTEST = 1e-6
RAISED = 1e-3, 1e-2, 1e-1, 1.0, 10.0  # shares, in units of the stiffness


class CellNewton:
    """Equilibria of a system, from and to its q.

    Args:
        system: the cell.
        tolerance: of the residual, as a share of the forces that a strain of 1e-2 makes.
    """

    def __init__(self, system: CellSystem, tolerance: float) -> None:
        self._system, self.comm, self.q = system, system.comm, system.q
        self._force = system.stiffness_scale * system.volume
        self._allowed = tolerance * 1e-2 * self._force

    def enter(self, change: Array) -> None:
        """Change the components of F that are held, by (dim, dim), and spread that over the cell by one linear step.

        Raises:
            ConvergenceError: elements would be turned inside out.
        """
        change = change.copy()
        for place in self._system.free:
            change[place] = 0.0
        g, K = self._system.gradient(), self._system.tangent()
        moved = self.q.duplicate()
        moved.set(0.0)
        self._system.map.set_average(moved, change)
        right = self.q.duplicate()
        K.mult(moved, right)
        right.axpy(1.0, g)
        self._system.hold(right)
        step = self.q.duplicate()
        with SymmetricFactor(self.comm) as factor:
            stable = factor.is_positive(self._system.held(K))
            if stable:
                factor.solve(right, step)
        before = self.q.copy()
        self.q.axpy(1.0, moved)
        if stable:
            self.q.axpy(-1.0, step)
            if not np.isfinite(self._system.potential()):
                before.copy(self.q)
                self.q.axpy(1.0, moved)
        if not np.isfinite(self._system.potential()):
            raise ConvergenceError("the step turns elements inside out.")

    def solve(self, *, descend: bool) -> int:
        """From the present q to an equilibrium; the number of iterations. Collective.

        Args:
            descend: lower the energy in every step, with a positive definite tangent; plain Newton otherwise.

        Raises:
            ConvergenceError: it did not converge.
        """
        energy = self._system.potential()
        step = self.q.duplicate()
        for iteration in range(ITERATIONS):
            g = self._system.hold(self._system.gradient())
            norm = g.norm()
            if not np.isfinite(norm):
                raise ConvergenceError("the cell's residual is not finite: an element was turned inside out.")
            if norm <= self._allowed:
                return iteration
            with SymmetricFactor(self.comm) as factor:
                K = self._system.held(self._system.tangent())
                if not factor.is_positive(K) and descend:
                    self._raise(K, factor)
                factor.solve(g, step)
            slope, length, before = -g.dot(step), 1.0, self.q.copy()
            hidden = 1e-13 * abs(energy) + 1e-15 * self._force
            while True:
                before.copy(self.q)
                self.q.axpy(-length, step)
                new = self._system.potential()
                if np.isfinite(new) and (not descend or new <= energy + ARMIJO * length * slope + hidden):
                    break
                length *= 0.5
                if length < SHORTEST:
                    raise ConvergenceError(f"no step lowers the cell's energy, residual norm {norm:.3e}.")
            energy = new
        raise ConvergenceError(f"the cell did not converge in {ITERATIONS} iterations.", iterations=ITERATIONS)

    def _raise(self, K: PETSc.Mat, factor: SymmetricFactor) -> None:
        """Factor K + share M, positive definite, with the least share that makes it so."""
        M = self._system.held(self._system.inner_product.copy(), diagonal=0.0)
        for share in RAISED:
            raised = K.copy()
            raised.axpy(share * self._system.stiffness_scale, M)
            if factor.is_positive(raised):
                return
        raise ConvergenceError("no multiple of the inner product makes the cell's tangent positive definite.")
