"""Steps in time without an equation to solve, for waves: central differences with the mass at the nodes.

    v(1/2) = v0 - dt/2 f(u0) / m,     u1 = u0 + dt v(1/2),     v1 = v(1/2) - dt/2 f(u1) / m

They are stable for dt < 2 / w, w the highest frequency; Gershgorin's theorem bounds it, w^2 <= max_i sum_j |K_ij| / m_i. Linear
momentum and, for objective energies, angular momentum are conserved; the error of the energy stays bounded. E. Hairer, C.
Lubich, G. Wanner, Acta Numerica 12, 399 (2003), doi:10.1017/S0962492902000144.
"""

from collections.abc import Sequence
from typing import Any

import dolfinx.fem.petsc
import numpy as np
import ufl
from dolfinx import fem
from mpi4py import MPI

from lse_material._arrays import Array, positive
from lse_material.errors import ConvergenceError, InvalidInputError
from lse_material.fem._lifetime import temporary
from lse_material.fem._mpi import assembled
from lse_material.fem.dynamics.body import MovingBody
from lse_material.fem.solve.arguments import conditions
from lse_material.fem.solve.fields import Fields, with_prescribed

SAFETY = 0.9  # share of the bound of a stable step


class ExplicitMotion(MovingBody):
    """A body with inertia in central differences; `Dynamics` runs it as it runs a `Motion`.

    Args:
        energy: functional of u: energies of `lse.fem.energy`, springs, minus the work of dead loads.
        u: the displacement, in a Lagrange space of degree 1: a scalar field, or a vector field of the dimension of the mesh.
        density: mass per reference volume, a UFL scalar > 0.
        bcs: Dirichlet conditions; where they change in time, the supports move.
        kwargs: passed on to `dolfinx.fem.form`.

    Attributes:
        bcs: the Dirichlet conditions. Others are those of `Motion`.

    Raises:
        InvalidInputError: the space has another degree than 1; a node has no mass.

    >>> waves = lse.fem.ExplicitMotion(W * dx, u, density=1.0)
    >>> waves.velocity.interpolate(lambda x: 0.1 * x[:2])
    >>> before = waves.kinetic() + waves.energy()
    >>> dt = waves.stable_step()
    >>> table = lse.fem.Dynamics(waves, dt, progress=False).run(5 * dt)
    >>> bool(abs(waves.kinetic() + waves.energy() - before) < 0.05 * before)
    True
    """

    def __init__(
        self, energy: ufl.Form, u: fem.Function, *, density: Any, bcs: Sequence[fem.DirichletBC] = (), **kwargs: Any
    ) -> None:
        super().__init__(energy, u, density=density, lumped=True, options=kwargs)
        V = u.function_space
        self.bcs = conditions(bcs)
        fields = Fields(u, self.bcs)
        self._owned, self._fixed = fields.sizes[0], np.flatnonzero(~fields.free[0])
        v = ufl.TestFunction(V)
        ones = fem.Function(V)
        ones.x.array[:] = 1.0
        mass = fem.form(density * ufl.inner(ones, v) * self.mass_measure, **kwargs)
        self._mass = assembled(mass)[: self._owned]
        if not self.comm.allreduce(bool((self._mass > 0.0).all()), MPI.LAND):
            raise InvalidInputError("a node has no mass: density must be > 0 everywhere.")
        first = ufl.derivative(self.functional, u, v)
        self._forces = fem.form(first, **kwargs)
        self._tangent = fem.form(ufl.derivative(first, u), **kwargs)
        self._inputs = [f.x.array for f in self.functional.coefficients() if isinstance(f, fem.Function)]
        self._inputs += [c.value for c in self.functional.constants() if isinstance(c, fem.Constant)]
        self._known: tuple[list[Array], Array] | None = None  # values that the forces depend on, and these forces

    def stable_step(self) -> float:
        """A step that is stable at the present u: 0.9 times a lower bound of 2 / w, infinite without stiffness; collective."""
        with temporary(dolfinx.fem.petsc.assemble_matrix(self._tangent)) as (K,):
            K.assemble()
            sums = np.array([np.abs(K.getRow(row)[1]).sum() for row in range(*K.getOwnershipRange())])
        highest = float(self.comm.allreduce((sums / self._mass).max(initial=0.0), MPI.MAX))
        return SAFETY * 2.0 / float(np.sqrt(highest)) if highest != 0.0 else np.inf

    def step(self, dt: float) -> None:
        """One step of length dt from the present displacement and velocity; collective.

        Raises:
            InvalidInputError: dt is not positive.
            ConvergenceError: the forces are not finite after it; the state is as before.
        """
        dt = positive("dt", dt)
        u, v, owned, fixed = self.u.x.array, self.velocity.x.array, self._owned, self._fixed
        self.before.x.array[:] = u
        forces = self._forces_now()
        half = v[:owned] - 0.5 * dt * forces / self._mass
        u[:owned] += dt * half
        u[:] = with_prescribed(u, self.bcs)
        self.u.x.scatter_forward()
        after = self._forces_now()
        if not self.comm.allreduce(bool(np.isfinite(after).all()), MPI.LAND):
            u[:] = self.before.x.array
            raise ConvergenceError(f"the forces are not finite after a step of {dt:.3g}: shorter steps are needed.")
        moved = (u - self.before.x.array)[fixed]
        new = half - 0.5 * dt * after / self._mass
        new[fixed] = 2.0 * moved / dt - v[fixed]
        reaction = 0.5 * (forces + after)[fixed] + self._mass[fixed] * (new - v[:owned])[fixed] / dt
        self.work = float(self.comm.allreduce(reaction @ moved, MPI.SUM))
        v[:owned] = new
        self.velocity.x.scatter_forward()

    def _forces_now(self) -> Array:
        """The derivative of the energy at the present u, owned entries; computed once for each u and each load."""
        known = self._known
        same = known is not None and all(map(np.array_equal, self._inputs, known[0]))
        if known is None or not self.comm.allreduce(same, MPI.LAND):
            known = [values.copy() for values in self._inputs], assembled(self._forces)[: self._owned]
            self._known = known
        return known[1]
