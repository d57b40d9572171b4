"""Equilibria of a periodic cell at a new average deformation gradient: a linear step, then Newton's method or a descent."""

from __future__ import annotations

import numpy as np

from lse_material.checks import Array
from lse_material.errors import ConvergenceError
from lse_material.fem.cell_system import CellSystem
from lse_material.fem.inertia import SymmetricFactor
from lse_material.fem.minimise import minimise, newton

ITERATIONS = 60  # of Newton's method on its branch
DESCENT = 400  # of steps down; where the minimum is nearly degenerate, each halves the residual


class CellNewton:
    """Equilibria of a system, from and to its q."""

    def __init__(self, system: CellSystem) -> None:
        self._system, self.comm, self.q = system, system.comm, system.q
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
        K = self._system.stiffness()
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
        try:
            iterations = minimise(self._system, DESCENT) if descend else newton(self._system, ITERATIONS)
        except ConvergenceError as error:
            self._system.residual(self._g)
            norm = self._g.norm()
            where = (
                f"the residual is {norm / self._system.force_scale:.2e} of the force of a strain of one"
                if np.isfinite(norm)
                else "the residual is not finite: an element was turned inside out"
            )
            raise ConvergenceError(
                f"the cell did not converge; {where}. Take smaller steps of F, or a smoother energy. ({error})",
                iterations=error.iterations,
            ) from error
        smallest = self._system.inverted_cells.smallest()
        if not smallest > 0.0:
            raise ConvergenceError(
                f"an element of the cell is turned inside out between its quadrature points: det F is {smallest:.3g} at a "
                "corner or an edge of it. Take smaller steps of F, a higher quadrature_degree, or a finer mesh."
            )
        return iterations
