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

ITERATIONS = 60  # of Newton's method on its branch
DESCENT = 400  # of steps down; where the minimum is nearly degenerate, each halves the residual
ARMIJO = 1e-4
SHORTEST = 1e-6  # share of a Newton step
STRAIN = 1e-2  # whose forces the tolerance is a share of
ROUNDING = 1e-15  # of the forces that cancel in the residual
HIDDEN = 1e-13  # share of the energy, and
HIDDEN_STRAIN = 1e-15  # of the energy of a strain of order one, below which a rise counts as rounding
RAISED = 1e-3, 1e-2, 1e-1, 1.0, 10.0  # shares, in units of the modulus


class CellNewton:
    """Equilibria of a system, from and to its q.

    Args:
        system: the cell.
        tolerance: of the residual, as a share of the force on a side of the cell that a strain of 1e-2 makes.
    """

    def __init__(self, system: CellSystem, tolerance: float) -> None:
        self._system, self.comm, self.q = system, system.comm, system.q
        self._allowed = tolerance * STRAIN * system.force_scale
        self._g, self._step, self._before, self._moved = (self.q.duplicate() for _ in range(4))

    def enter(self, change: Array) -> None:
        """Change the components of F that are held, by (dim, dim), and spread that over the cell by one linear step.

        Raises:
            ConvergenceError: elements would be turned inside out.
        """
        change = change.copy()
        for place in self._system.free:
            change[place] = 0.0
        right, moved, step = self._g, self._moved, self._step
        K = self._system.tangent()
        moved.set(0.0)
        self._system.map.set_average(moved, change)
        K.mult(moved, right)
        self._system.gradient(step)
        right.axpy(1.0, step)
        self._system.hold(right)
        held = self._system.held(K)
        with SymmetricFactor(self.comm) as factor:
            stable = factor.is_positive(held)
            if stable:
                factor.solve(right, step)
        held.destroy()
        self.q.copy(self._before)
        self.q.axpy(1.0, moved)
        if stable:
            self.q.axpy(-1.0, step)
            if not np.isfinite(self._system.potential()):
                self._before.copy(self.q)
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
        g, step, before = self._g, self._step, self._before
        most = DESCENT if descend else ITERATIONS
        for iteration in range(most):
            self._system.hold(self._system.gradient(g))
            norm = g.norm()
            if not np.isfinite(norm):
                raise ConvergenceError(
                    "the cell's residual is not finite: an element was turned inside out. Take smaller steps of F."
                )
            K = self._system.tangent()
            if norm <= self._allowed + ROUNDING * self._system.uncancelled_force():
                self._refuse_inverted_cells()
                return iteration
            self._newton_step(K, descend=descend)
            slope, length = -g.dot(step), 1.0
            self.q.copy(before)
            hidden = HIDDEN * abs(energy) + HIDDEN_STRAIN * self._system.energy_scale
            while True:
                before.copy(self.q)
                self.q.axpy(-length, step)
                new = self._system.potential()
                if np.isfinite(new) and (not descend or new <= energy + ARMIJO * length * slope + hidden):
                    break
                length *= 0.5
                if length < SHORTEST:
                    raise ConvergenceError(
                        f"no step lowers the cell's energy; the residual is {norm / self._system.force_scale:.2e} of the force "
                        "of a strain of one. Take smaller steps of F, or a smoother energy."
                    )
            energy = new
        raise ConvergenceError(
            f"the cell did not converge in {most} iterations; the residual is "
            f"{norm / self._system.force_scale:.2e} of the force of a strain of one. Take smaller steps of F.",
            iterations=most,
        )

    def _refuse_inverted_cells(self) -> None:
        smallest = self._system.inverted_cells.smallest()
        if not smallest > 0.0:
            raise ConvergenceError(
                f"an element of the cell is turned inside out between its quadrature points: det F is {smallest:.3g} at a "
                "corner or an edge of it. Take smaller steps of F, a higher quadrature_degree, or a finer mesh."
            )

    def _newton_step(self, K: PETSc.Mat, *, descend: bool) -> None:
        """K step = g, with K raised where it must be positive."""
        held = self._system.held(K)
        try:
            with SymmetricFactor(self.comm) as factor:
                if not factor.is_positive(held) and descend:
                    self._raise(held, factor)
                factor.solve(self._g, self._step)
        finally:
            held.destroy()

    def _raise(self, K: PETSc.Mat, factor: SymmetricFactor) -> None:
        """Factor K + share M, positive definite, with the least share that makes it so; K takes it."""
        M, before = self._system.held(self._system.inner_product, diagonal=0.0), 0.0
        try:
            for share in RAISED:
                K.axpy((share - before) * self._system.modulus, M)
                before = share
                if factor.is_positive(K):
                    return
        finally:
            M.destroy()
        raise ConvergenceError("no multiple of the inner product makes the cell's tangent positive definite.")
