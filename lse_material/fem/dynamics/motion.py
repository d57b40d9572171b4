"""One step in time of a body with inertia, which conserves energy and momenta for energies with any number of wells.

    density (v1 - v0) / dt = - G(u0, u1) - damping,       u1 - u0 = dt (v0 + v1) / 2,

with the internal forces G of `discrete_gradient`, whose work over a step is the difference of the stored energies. Kinetic plus
stored energy then changes by the work of moving supports less what is dissipated, whatever the length of the step. Linear
momentum changes by the external forces, and angular momentum is conserved for objective energies. The order is two.
J. C. Simo and N. Tarnow, Z. angew. Math. Phys. 43, 757 (1992), doi:10.1007/BF00913408; O. Gonzalez (2000), see there.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import ufl
from dolfinx import fem
from mpi4py import MPI

from lse_material._arrays import positive
from lse_material.fem._mpi import assembled, integral
from lse_material.fem.dynamics.body import MovingBody
from lse_material.fem.dynamics.discrete_gradient import discrete_gradient
from lse_material.fem.forms.measures import with_quadrature_degree
from lse_material.fem.solve.arguments import check_functional
from lse_material.fem.solve.options import checked_options
from lse_material.fem.solve.problem import MaterialProblem

# The residual of a step times its displacement is the error of the energy: it must fall far. Steps are short, so that the first
# Newton step is near enough; a search on the norm of the residual, which carries the inertia, would only shorten it.
STEP_OPTIONS: Mapping[str, Any] = {
    "snes_type": "newtonls",
    "snes_linesearch_type": "basic",
    "snes_rtol": 1e-12,
    "snes_atol": 0.0,
    "snes_stol": 0.0,
    "snes_max_it": 25,
}


class Motion(MovingBody):
    """A body with inertia: its displacement, its velocity, and steps that conserve energy and momenta.

    Args:
        energy: functional of u: energies of `lse.fem.energy`, springs, minus the work of dead loads.
        u: the displacement: a scalar field, or a vector field of the dimension of the mesh. Its present values are the initial
            ones.
        density: mass per reference volume, a UFL scalar > 0.
        petsc_options_prefix: mandatory.
        bcs: Dirichlet conditions; where they change in time, the supports move.
        damping: of a velocity (a Function), the dissipation potential, a UFL functional: half the power if it is quadratic.
        objective: whether the energy depends on F^T F alone; see `discrete_gradient`.
        lumped: take the mass at the nodes: for spaces of degree 1.
        petsc_options: override single entries of `STEP_OPTIONS`.
        kwargs: passed on to `MaterialProblem` (jit_options, form_compiler_options).

    Attributes:
        problem: the `MaterialProblem` of one step.
        velocity: a function that you can set before the first step.
        before: the displacement at the beginning of the last step.
        functional: the energy, a UFL form.
        iterations: Newton iterations of the last step.
        work: of the supports in the last step.
        dissipated: energy that damping has dissipated in the last step.

    Raises:
        InvalidInputError: u is no displacement, or the energy is no functional.

    >>> motion = lse.fem.Motion(W * dx, u, density=1.0, petsc_options_prefix="motion_")
    >>> motion.velocity.interpolate(lambda x: 0.1 * x[:2])
    >>> before = motion.kinetic() + motion.energy()
    >>> motion.step(0.1)
    >>> bool(abs(motion.kinetic() + motion.energy() - before) < 1e-13)
    True
    """

    def __init__(
        self,
        energy: ufl.Form,
        u: fem.Function,
        *,
        density: Any,
        petsc_options_prefix: str,
        bcs: Sequence[fem.DirichletBC] = (),
        damping: Callable[[fem.Function], ufl.Form] | None = None,
        objective: bool = True,
        lumped: bool = False,
        petsc_options: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        options = {**STEP_OPTIONS, **checked_options(petsc_options_prefix, petsc_options)}
        compiled = {k: w for k, w in kwargs.items() if k != "kind"}
        super().__init__(energy, u, density=density, lumped=lumped, options=compiled)
        V, dx = u.function_space, self.mass_measure
        self.dt = fem.Constant(V.mesh, 1.0)
        v, rate = ufl.TestFunction(V), (u - self.before) / self.dt
        self.forces = discrete_gradient(self.functional, u, self.before, v, objective=objective)
        residual = 2.0 / self.dt * density * ufl.inner(rate - self.velocity, v) * dx + self.forces
        power = None
        if damping is not None:
            any_rate = fem.Function(V)
            potential = damping(any_rate) if callable(damping) else damping
            check_functional(potential, "the damping, a function of a velocity,")
            drag = ufl.derivative(with_quadrature_degree(potential), any_rate, v)
            self.formulas["damping"] = ufl.replace(drag, {any_rate: self.velocity})
            residual += ufl.replace(drag, {any_rate: rate})
            power = ufl.replace(drag, {any_rate: rate, v: rate})
        self.problem = MaterialProblem(
            residual,
            u,
            bcs=bcs,
            petsc_options_prefix=petsc_options_prefix,
            petsc_options=options,
            **kwargs,
        )
        self._power = None if power is None else fem.form(power, **compiled)

    @property
    def bcs(self) -> tuple[fem.DirichletBC, ...]:
        """The Dirichlet conditions."""
        return self.problem.bcs

    def step(self, dt: float) -> None:
        """One step of length dt from the present displacement and velocity; collective.

        Raises:
            InvalidInputError: dt is not positive.
            ConvergenceError: Newton did not converge, or a cell was turned inside out; the state is as before.
        """
        dt = positive("dt", dt)
        self.dt.value = dt
        u, start = self.u.x.array, self.before.x.array
        start[:] = u
        self.problem.solve()
        self.iterations = int(self.problem.solver.getIterationNumber())
        free = self.problem.fields.free[0]
        moved = np.where(free, 0.0, (u - start)[: len(free)])
        forces = assembled(self.problem.F)[: len(free)]  # in the middle of the step
        self.work = float(self.comm.allreduce(forces @ moved, MPI.SUM))
        self.dissipated = 0.0 if self._power is None else dt * integral(self.comm, self._power)
        self.velocity.x.array[:] = 2.0 / dt * (u - start) - self.velocity.x.array
