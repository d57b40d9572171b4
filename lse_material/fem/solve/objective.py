"""The objective of a minimiser: energies whose differences stay right where rounding of the energies themselves hides them.

Near a minimum a step lowers the energy by some |residual|^2 / stiffness, which soon is less than the last digit of the energy.
What decides whether a step is accepted is then noise, and a trust region shrinks until it is given up. There the difference is
taken from the gradients at both ends instead,

    Pi(x + s) - Pi(x) = 1/2 (g(x) + g(x + s)) . s,    right up to terms of third order in s,

in which nothing cancels. On the problem: A. R. Conn, N. I. M. Gould, Ph. L. Toint, Trust-Region Methods, SIAM 2000, 17.4.2.
"""

from __future__ import annotations

from collections.abc import Callable

from petsc4py import PETSc

HIDDEN = 1e-10  # relative difference of two energies below which it is taken from gradients
INFINITE = 1e300  # value of a state whose energy is not finite: minimisers step back from it


class EnergyDifferences:
    """The energy less that of the first state it was asked for.

    Args:
        energy: of a solver's vector; collective, the same on every rank.
        gradient: writes the derivative at a vector to another.
        like: a vector of the solver's layout.
    """

    def __init__(
        self, energy: Callable[[PETSc.Vec], float], gradient: Callable[[PETSc.Vec, PETSc.Vec], None], like: PETSc.Vec
    ) -> None:
        self._energy, self._gradient = energy, gradient
        # the iterate and the state asked for last, each with its energy and the value that was returned for it
        self._base, self._last, self._slopes, self._step = (like.duplicate() for _ in range(4))
        self._base_known: tuple[float, float] | None = None
        self._last_known: tuple[float, float] | None = None

    def restart(self) -> None:
        """Forget what was asked for in the solve before."""
        self._base_known = self._last_known = None

    def __call__(self, snes: PETSc.SNES, y: PETSc.Vec) -> float:
        """The value at y, as `SNES.setObjective` takes it; `INFINITE` where the energy is not finite."""
        energy = self._energy(y)
        if not abs(energy) < INFINITE:
            return INFINITE
        self._find_iterate(snes.getSolution())
        value = 0.0 if self._base_known is None else self._base_known[1] + self._difference(snes, y, energy)
        y.copy(self._last)
        self._last_known = energy, value
        return value

    def _find_iterate(self, x: PETSc.Vec) -> None:
        """Make the state asked for last the base, if the solver has accepted it."""
        if self._last_known is not None and self._last.equal(x):
            self._last.copy(self._base)
            self._base_known = self._last_known

    def _difference(self, snes: PETSc.SNES, y: PETSc.Vec, energy: float) -> float:
        """Energy at y less that at the base."""
        assert self._base_known is not None
        plain = energy - self._base_known[0]
        if abs(plain) > HIDDEN * max(abs(energy), abs(self._base_known[0])) or not self._base.equal(snes.getSolution()):
            return plain
        self._gradient(y, self._slopes)
        self._slopes.axpy(1.0, snes.getFunction()[0])
        y.copy(self._step)
        self._step.axpy(-1.0, self._base)
        return float(0.5 * self._slopes.dot(self._step).real)
