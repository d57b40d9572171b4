"""The work of a load step, and the energy that a body releases where it jumps.

Along a branch of equilibria the work of loads and supports is the change of the energy and what is dissipated. Forces and
displacements of both ends of the step bound it: with loads l, prescribed displacements g and reactions f,

    work >= min(W_0, W_1),     W_k = E(l_1, u_k) - E(l_0, u_k) + f_k . (g_1 - g_0)     for the states k = 0, 1,

unless the force is lower in between than at both ends. A body that jumps loses energy at one load, where no work is done: its
energy then rises by less than W_0 and W_1. The lesser is taken for the work, and the rest is released, as vibration and heat.
"""

import numpy as np
from dolfinx import fem
from mpi4py import MPI

from lse_material._arrays import Array
from lse_material.fem.solve._energy import FieldEnergy

JUMP = 0.2  # of the works at its ends: a step that releases more has jumped


class StepWork:
    """The work of the step that begins in the present state, an equilibrium. Constructor and methods are collective."""

    def __init__(self, problem: FieldEnergy) -> None:
        self._problem = problem
        self._u, self._forces, self._energy = problem.u.x.array.copy(), problem.forces(), problem.value()
        functions = [f for f in problem.functional.coefficients() if isinstance(f, fem.Function) and f is not problem.u]
        constants = [c for c in problem.functional.constants() if isinstance(c, fem.Constant)]
        self._loads = [*(f.x.array for f in functions), *(c.value for c in constants)]
        self._before = [values.copy() for values in self._loads]
        self._changed: list[tuple[Array, Array, Array]] = []  # values, before and after
        self._ends = np.zeros(2)
        self.jumped = False  # whether the body has released more than a fifth of the works at both ends

    def loads_changed(self) -> None:
        """Note the loads of the end of the step, before it is solved."""
        problem = self._problem
        self._changed = [
            (values, before, values.copy())
            for values, before in zip(self._loads, self._before)
            if not np.array_equal(values, before)
        ]
        self._ends[:] = 0.0
        if self._in_energy():
            guess = problem.u.x.array.copy()
            problem.u.x.array[:] = self._u
            self._ends[0] = problem.value() - self._energy
            problem.u.x.array[:] = guess

    def work(self) -> tuple[float, float]:
        """The work, and the energy released, once the step is solved and before internal variables follow."""
        problem, ends = self._problem, self._ends.copy()
        after = problem.value()
        if self._in_energy():
            self._set(1)
            ends[1] = after - problem.value()
            self._set(2)
        fixed = ~problem.fields.free[0]
        moved = (problem.u.x.array - self._u)[: len(fixed)][fixed]
        forces = np.stack([forces[: len(fixed)][fixed] for forces in (self._forces, problem.forces())])
        ends += problem.comm.allreduce(forces @ moved)
        least, change = float(np.fmin(*ends)), after - self._energy
        self.jumped = least - change > JUMP * float(np.nanmax(np.abs(ends), initial=0.0))
        return max(change, least), max(least - change, 0.0)

    def _in_energy(self) -> bool:
        return bool(self._problem.comm.allreduce(bool(self._changed), MPI.LOR))

    def _set(self, place: int) -> None:
        """Give the loads their values before (1) or after (2) they changed."""
        for changed in self._changed:
            np.copyto(changed[0], changed[place])
