"""A body with inertia: its displacement and velocity, its energies and momenta."""

from typing import Any

import numpy as np
import ufl
from dolfinx import fem
from mpi4py import MPI
from ufl.core.expr import Expr

from lse_material._arrays import Array
from lse_material.errors import InvalidInputError
from lse_material.fem._cells import require_double
from lse_material.fem._mpi import integral
from lse_material.fem.forms.measures import with_quadrature_degree
from lse_material.fem.solve.arguments import check_displacement, check_functional, check_scalar, check_unknowns


class MovingBody:
    """What all steps in time share; arguments and attributes are those of `Motion`."""

    def __init__(
        self, energy: ufl.Form, u: fem.Function, *, density: Any, lumped: bool, options: dict[str, Any]
    ) -> None:
        check_functional(energy, "the energy of a motion")
        check_scalar("density", density)
        check_displacement(u)
        require_double(u, what="a motion")
        check_unknowns(energy, (u,))
        V = u.function_space
        self.u, self.before, self.velocity = u, fem.Function(V), fem.Function(V, name="velocity")
        self.before.x.array[:] = u.x.array
        self.comm: MPI.Comm = V.mesh.comm
        self.iterations, self.work, self.dissipated = 0, 0.0, 0.0
        self.functional = with_quadrature_degree(energy)
        self.mass_measure = _mass_measure(V, lumped)
        self._energy = fem.form(self.functional, **options)
        speed = ufl.inner(self.velocity, self.velocity)
        kinetic = 0.5 * density * speed * self.mass_measure
        self.formulas = {"energy": self.functional, "kinetic energy": kinetic}  # all that decides on the motion
        self._kinetic = fem.form(kinetic, **options)
        momenta = _momenta(u, self.velocity, density)
        self._momenta = [fem.form(momentum * self.mass_measure, **options) for momentum in momenta]

    def energy(self) -> float:
        """The stored energy less the work of dead loads, the same on every rank; collective, as the following."""
        return integral(self.comm, self._energy)

    def kinetic(self) -> float:
        """The kinetic energy."""
        return integral(self.comm, self._kinetic)

    def momentum(self) -> Array:
        """Linear momentum, then angular momentum about the origin: (1,), (2 + 1,) or (3 + 3,) by the dimension of u."""
        return np.array([integral(self.comm, form) for form in self._momenta])


def _mass_measure(V: fem.FunctionSpace, lumped: bool) -> ufl.Measure:
    element, degree = V.ufl_element(), V.element.basix_element.degree
    if not lumped:
        return ufl.Measure("dx", domain=V.mesh, metadata={"quadrature_degree": 2 * degree})
    if degree != 1 or element.family_name != "P" or element.discontinuous:
        raise InvalidInputError(
            f"a lumped mass is for continuous Lagrange spaces of degree 1; that of u has degree {degree}: {element}."
        )
    return ufl.Measure("dx", domain=V.mesh, metadata={"quadrature_degree": 1, "quadrature_rule": "vertex"})


def _momenta(u: fem.Function, velocity: fem.Function, density: Any) -> list[Expr]:
    """Densities of the components of linear and angular momentum."""
    if not u.ufl_shape:
        return [density * velocity]
    v, x = velocity, ufl.SpatialCoordinate(u.function_space.mesh) + u
    linear = [density * v[i] for i in range(len(u))]
    pairs = {1: [], 2: [(0, 1)], 3: [(1, 2), (2, 0), (0, 1)]}[len(u)]
    return [*linear, *(density * (x[i] * v[j] - x[j] * v[i]) for i, j in pairs)]
