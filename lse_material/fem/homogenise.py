"""Homogenised response of a periodic cell that may buckle: W, P and dP/dF of the average F, on stable branches.

    W(F) = 1/|V| min over periodic w of int W_local(F + grad w) dV,    P = dW/dF = average of P_local,
    dP/dF = 1/|V| (K_FF - K_Fw K_ww^-1 K_wF),

|V| the volume of the box, holes included. Beyond a critical F the periodic equilibrium that started at F = I is a saddle; it is
left along its lowest mode. The cell must hold as many unit cells as the pattern needs: microscopic buckling has a wavelength of
its own. G. Geymonat, S. Mueller, N. Triantafyllidis, Arch. Ration. Mech. Anal. 122, 231 (1993); K. Bertoldi et al., J. Mech.
Phys. Solids 56, 2642 (2008), for the porous elastomer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from dolfinx import mesh
from petsc4py import PETSc
from scipy.optimize import brentq

from lse_material.checks import Array, float_array, frozen
from lse_material.errors import ConvergenceError, InvalidInputError
from lse_material.fem.cell_newton import CellNewton
from lse_material.fem.cell_system import CellSystem

KICKS = 4  # after one solve
HALVINGS = 8

Free = Mapping[tuple[int, int], float]
Snapshot = tuple[PETSc.Vec, Array, PETSc.Vec | None]


@dataclass(frozen=True, eq=False)
class CellState:
    """A homogenised state.

    Attributes:
        F: average deformation gradient, (dim, dim).
        energy: W per volume of the box.
        stress: average first Piola-Kirchhoff stress P, (dim, dim).
        tangent: dP/dF, (dim, dim, dim, dim); None if it was not asked for.
        negative: negative eigenvalues of the cell's tangent; 0 for a minimum.
        kicks: how often a saddle was left on the way from the state before.
        order: amplitude of the fluctuation along the mode in which the cell buckled last, a length; 0 before.
        iterations: of Newton's method, all steps and kicks together.
    """

    F: Array
    energy: float
    stress: Array
    tangent: Array | None
    negative: int
    kicks: int
    order: float
    iterations: int

    @property
    def buckled(self) -> bool:
        """Whether the cell is on a branch that it was kicked to."""
        return abs(self.order) > 1e-6


class PeriodicCell:
    """A cell under an average deformation gradient, or average stresses in place of some of its components.

    Args:
        domain: mesh of a box, with or without holes, opposite sides meshed alike. Mirror-symmetric meshes keep bifurcations
            sharp; any other is itself an imperfection.
        energy: W_local(F), a UFL scalar of a UFL deformation gradient: `lambda F: lse.fem.energy(material, F)`, say.
        degree: of the displacement.
        quadrature_degree: of the energy.
        kick_size: largest displacement with which a saddle is left; a hundredth of the smallest side if left out.
        tolerance: of the residual, as a share of the forces that a strain of 1e-2 makes.

    Attributes:
        u: the displacement (fem.Function).
        F: average deformation gradient at present, (dim, dim).
        volume: of the box.
        solid_volume: of the mesh.
        unknowns: independent ones.

    Raises:
        InvalidInputError: opposite sides are meshed differently.
    """

    def __init__(
        self,
        domain: mesh.Mesh,
        energy: Callable[[Any], Any],
        *,
        degree: int = 2,
        quadrature_degree: int = 4,
        kick_size: float | None = None,
        tolerance: float = 1e-10,
    ) -> None:
        self._system = CellSystem(domain, energy, degree, quadrature_degree)
        self.comm, self.dim, self.u, self.q = domain.comm, self._system.dim, self._system.u, self._system.q
        self.volume, self.solid_volume = self._system.volume, self._system.solid_volume
        self.unknowns = self._system.map.size
        lengths = self._system.map.lengths
        self.kick_size = 0.01 * float(lengths.min()) if kick_size is None else kick_size
        self._mode: PETSc.Vec | None = None
        self.F = np.eye(self.dim)
        self._newton = CellNewton(self._system, tolerance)

    def signature(self) -> str:
        """Of mesh and energy, the same for any number of ranks; numbers in the energy count if they are plain numbers."""
        return f"{self._system.signature} {self.kick_size:.3e}"

    # ---- states ----------------------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Back to F = I without fluctuation."""
        self.q.set(0.0)
        self.F, self._mode, self._system.free = np.eye(self.dim), None, {}

    def snapshot(self) -> Snapshot:
        """What `restore` takes."""
        return self.q.copy(), self.F.copy(), self._mode

    def restore(self, snapshot: Snapshot) -> None:
        """Back to an earlier state."""
        snapshot[0].copy(self.q)
        self.F, self._mode = snapshot[1].copy(), snapshot[2]

    def equilibrium(self, F: Any, free: Free | None = None) -> int:
        """An equilibrium at F by plain Newton, which stays on its branch, saddle or not; returns the iterations. Collective.

        Args:
            F: average deformation gradient, (dim, dim); where a component is free, its value is not looked at.
            free: (i, J) -> average P_iJ, for components of F that are unknown; hold enough to exclude rotations.

        Raises:
            ConvergenceError: it did not converge in small steps either; the state is as before.
        """
        return self._go(F, free, descend=False)

    def minimum(self, F: Any, free: Free | None = None, *, tangent: bool = True) -> CellState:
        """A stable equilibrium at F, found from the present state: saddles are left along their lowest mode. Collective.

        Arguments and errors are those of `equilibrium`.
        """
        before = self.snapshot()
        iterations = self._go(F, free, descend=True)
        for kicks in range(KICKS + 1):
            if self.negative_eigenvalues() == 0:
                return self.state(tangent=tangent, kicks=kicks, iterations=iterations)
            if kicks < KICKS:
                self._kick()
                iterations += self._solve(descend=True)
        self.restore(before)
        raise ConvergenceError(f"still a saddle after {KICKS} kicks of {self.kick_size:g}: take another kick_size.")

    def state(self, *, tangent: bool = True, kicks: int = 0, iterations: int = 0) -> CellState:
        """The present state, homogenised; collective."""
        negative = self.negative_eigenvalues()
        W = self._system.potential(loads=False) / self.volume
        P = self._system.map.gather_average(self._system.gradient()) / self.volume
        return CellState(
            frozen(self.F.copy()), W, frozen(P), frozen(self._system.homogenised_tangent()) if tangent else None,
            negative, kicks, self._order(), iterations,
        )  # fmt: skip

    # ---- stability -------------------------------------------------------------------------------------------------------

    def negative_eigenvalues(self) -> int:
        """Of the tangent at the present state, with the free components of F among the unknowns; collective."""
        return self._system.negative_eigenvalues()

    def lowest_mode(self) -> tuple[float, PETSc.Vec]:
        """The lowest eigenvalue of the tangent and its mode, as unknowns q with largest entry 1; collective."""
        return self._system.lowest_mode()

    def critical(
        self,
        path: Callable[[float], Any],
        low: float,
        high: float,
        free: Free | None = None,
        *,
        tolerance: float = 1e-8,
    ) -> float:
        """The load between `low` and `high` at which the equilibrium that starts at F = I ceases to be stable; collective.

        The state is then at that load (to `tolerance`).

        Args:
            path: load -> F.
            low: a load at which it is stable.
            high: one at which it is not.
            free: as in `equilibrium`.
            tolerance: of the load.

        Raises:
            InvalidInputError: it is unstable at `low`, or stable at `high`.
        """

        def eigenvalue(load: float) -> float:
            self.restore(stable)  # a solve that starts near the critical point may leave the branch
            self._go(path(load), free, descend=False)
            return self.lowest_mode()[0]

        self.reset()
        self._go(path(low), free, descend=False)
        stable = self.snapshot()
        ends = eigenvalue(low), eigenvalue(high)
        if not ends[0] > 0.0 > ends[1]:
            raise InvalidInputError(
                f"the lowest eigenvalue is {ends[0]:.3g} at the load {low:g} and {ends[1]:.3g} at {high:g}: it must be "
                "positive at the first and negative at the second."
            )
        return float(brentq(eigenvalue, low, high, xtol=tolerance))

    # ---- solving ---------------------------------------------------------------------------------------------------------

    def _go(self, F: Any, free: Free | None, *, descend: bool) -> int:
        """To F, in smaller steps if need be."""
        target = float_array("F", F, 2)
        if target.shape != (self.dim, self.dim):
            raise InvalidInputError(f"F has shape {target.shape}; the cell is {self.dim}D.")
        free = {} if free is None else dict(free)
        for place, stress in free.items():
            if len(place) != 2 or not all(0 <= i < self.dim for i in place) or not np.isfinite(stress):
                raise InvalidInputError(
                    f"free is {free}; it maps pairs of indices below {self.dim} to finite stresses."
                )
        if len(free) == self.dim**2:
            raise InvalidInputError("every component of F is free: the cell could turn. Hold some.")
        before, self._system.free = self.snapshot(), free
        start, done, step, iterations = self.F.copy(), 0.0, 1.0, 0
        while done < 1.0:
            here = self.snapshot()
            share = min(done + step, 1.0)
            try:
                iterations += self._step(start + share * (target - start), here, descend=descend)
            except ConvergenceError:
                self.restore(here)
                step *= 0.5
                if step < 0.5**HALVINGS:
                    self.restore(before)
                    raise
                continue
            done, step = share, 1.5 * step
        return iterations

    def _step(self, F: Array, here: Snapshot, *, descend: bool) -> int:
        """To F by plain Newton, which stays on its branch; where that fails, down the energy if it is to descend."""
        self._newton.enter(F - self.F)
        try:
            return self._solve(descend=False)
        except ConvergenceError:
            if not descend:
                raise
        self.restore(here)
        self._newton.enter(F - self.F)
        return self._solve(descend=True)

    def _solve(self, *, descend: bool) -> int:
        iterations = self._newton.solve(descend=descend)
        self.F = self._system.average()
        return iterations

    def _kick(self) -> None:
        """Move along the lowest mode to the side of lower energy."""
        _, mode = self.lowest_mode()
        before, energies = self.q.copy(), []
        for sign in (1.0, -1.0):
            before.copy(self.q)
            self.q.axpy(sign * self.kick_size, mode)
            value = self._system.potential()
            energies.append(value if np.isfinite(value) else np.inf)
        before.copy(self.q)
        if not np.isfinite(min(energies)):
            raise ConvergenceError(f"a kick of {self.kick_size:g} turns elements inside out; take a smaller kick_size.")
        sign = 1.0 if energies[0] <= energies[1] + 1e-9 * abs(energies[1]) else -1.0
        self.q.axpy(sign * self.kick_size, mode)
        self._mode = mode

    def _order(self) -> float:
        """The fluctuation along the last kick's mode."""
        if self._mode is None:
            return 0.0
        w, Mm = self.q.copy(), self.q.duplicate()
        self._system.map.set_average(w, np.zeros((self.dim, self.dim)))
        self._system.inner_product.mult(self._mode, Mm)
        return float(w.dot(Mm) / self._mode.dot(Mm))
