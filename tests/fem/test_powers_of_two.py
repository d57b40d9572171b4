"""No number with a unit hides in a solver: in units that are powers of two of each other, results are equal to the bit.

A factor of two changes no rounding. So any difference, in an iteration or a branch that was taken, comes from a number that
ought to be relative to the problem.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pytest
import ufl
from basix.ufl import element, mixed_element
from dolfinx import fem, mesh
from mpi4py import MPI

import lse_material as lse
from lse_material.fem import Dissipation, Dynamics, EnergyProblem, ExplicitMotion, LoadPath, MaterialProblem, Motion


@dataclass(frozen=True)
class Units:
    """How many units of length, stress and density make one of the problem's own, and a constant that W has beside it."""

    length: float = 1.0
    stress: float = 1.0
    density: float = 1.0
    constant: float = 0.0

    @property
    def speed(self):
        return np.sqrt(self.stress / self.density)

    def square(self, cells, kind):
        L = self.length
        domain = mesh.create_rectangle(MPI.COMM_SELF, [(0, 0), (L, L)], (cells, cells))
        V = fem.functionspace(domain, kind)
        return V, [lambda x, at=at: np.isclose(x[0] / L, at) for at in (0.0, 1.0)]

    def two_wells(self):
        stretch, root = np.array([0.06, -0.05, 0.0]), np.diag([1.0, 1.2, 0.8]) * np.sqrt(self.stress)
        modes = []
        for centre in (stretch, -stretch):
            pull = root @ root @ centre
            modes.append(lse.ConvexNetwork.from_arrays([], [-pull[None]], [[0.5 * centre @ pull]], quadratic=root))
        potential = lse.SoftMinimum(tuple(modes), 6e-4 * self.stress, energy_shift=self.constant)
        return lse.Material(potential, lse.GreenLagrange(2))

    def neo_hookean(self, bulk):
        mode = lse.ConvexNetwork.from_arrays([], [[[self.stress / 2, 0.0, bulk * self.stress / 2]]], [[0.0]])
        return lse.Material(lse.SoftMinimum((mode,), self.stress), lse.IsotropicInvariants(3))


VECTORS = ("Lagrange", 1, (2,))
ALIKE = [Units(2.0**-20, 2.0**30, 2.0**10), Units(2.0**10, 2.0**-30, 2.0**-30)]  # FFCx writes numbers in forms, 1 / rho
# say, with 16 digits: with other powers a last digit may differ, and twins that compete then end otherwise


def motion(units):
    V, _ = units.square(4, VECTORS)
    u = fem.Function(V)
    W = lse.fem.energy(units.two_wells(), ufl.Identity(2) + ufl.grad(u)) * ufl.dx(degree=2)
    body = Motion(W, u, density=units.density, petsc_options_prefix="motion_")
    body.velocity.interpolate(lambda x: units.speed * np.stack([0.3 * (x[0] / units.length) ** 2, 0.0 * x[1]]))
    step = 0.05 * units.length / units.speed
    table = Dynamics(body, step, progress=False).run(8 * step)
    return [*u.x.array / units.length, *table["kinetic"] / (units.stress * units.length**2)]


def explicit_motion(units):
    V, _ = units.square(4, VECTORS)
    u = fem.Function(V)
    W = lse.fem.energy(units.two_wells(), ufl.Identity(2) + ufl.grad(u)) * ufl.dx(degree=2)
    body = ExplicitMotion(W, u, density=units.density)
    body.velocity.interpolate(lambda x: units.speed * np.stack([0.3 * (x[0] / units.length) ** 2, 0.0 * x[1]]))
    step = 0.5 * body.stable_step()
    Dynamics(body, step, progress=False).run(8 * step)
    return [step * units.speed / units.length, *u.x.array / units.length]


def hysteresis(units):
    """Twins compete here: a rounding error anywhere takes another path."""
    V, ends = units.square(4, VECTORS)
    u, material = fem.Function(V), units.two_wells()
    F = ufl.Identity(2) + ufl.grad(u)
    price = Dissipation(material, F, fem.Constant(V.mesh, 8e-4 * units.stress), degree=2)
    end = fem.Constant(V.mesh, (0.0, 0.0))
    left, right = (fem.locate_dofs_geometrical(V, where) for where in ends)
    bcs = [fem.dirichletbc(np.zeros(2), left, V), fem.dirichletbc(end, right, V)]
    W = lse.fem.energy(material, F) * price.dx + price.functional
    problem = EnergyProblem(W, u, bcs=bcs, petsc_options_prefix="hysteresis_")

    def move(stretch):
        end.value[0] = stretch * units.length

    table = LoadPath(problem, move, {"price": price.dissipated}, internal=[price], progress=False).run(
        [0.0, 0.04, 0.08, -0.03]
    )
    return [*u.x.array / units.length, *table["price"] / (units.stress * units.length**2), *table["iterations"]]


def plane_stress(units):
    V, ends = units.square(4, VECTORS)
    u, v = fem.Function(V), ufl.TestFunction(V)
    plane = lse.fem.PlaneStress(units.neo_hookean(3.0))
    P = lse.fem.QuadratureStress(plane, ufl.Identity(2) + ufl.grad(u), degree=1)
    left, right = (fem.locate_dofs_geometrical(V, where) for where in ends)
    bcs = [
        fem.dirichletbc(np.zeros(2), left, V),
        fem.dirichletbc(units.length * np.array([0.3, 0.1]), right, V),
    ]
    residual = ufl.inner(P.operator, ufl.grad(v)) * P.dx
    problem = MaterialProblem(residual, u, bcs=bcs, stresses=[P], petsc_options_prefix="plane_")
    problem.solve()
    return [*u.x.array / units.length, problem.solver.getIterationNumber()]


def nearly_incompressible(units):
    scalars = [element("Lagrange", "triangle", 1)] * 2
    V, ends = units.square(3, mixed_element([element("Lagrange", "triangle", 2, shape=(2,)), *scalars]))
    state = fem.Function(V)
    u, p, e = ufl.split(state)
    F = ufl.Identity(3) + lse.fem.plane_gradient(u)
    W = lse.fem.three_field_energy(units.neo_hookean(1000.0), F, p, e) * ufl.dx(degree=4)
    space, bcs = V.sub(0).collapse()[0], []
    for where, stretch in zip(ends, (0.0, 0.2), strict=True):
        given = fem.Function(space)
        given.interpolate(lambda x, stretch=stretch: np.stack([stretch * units.length + 0.0 * x[0], 0.0 * x[0]]))
        bcs.append(fem.dirichletbc(given, fem.locate_dofs_geometrical((V.sub(0), space), where), V.sub(0)))
    problem = EnergyProblem(W, state, bcs=bcs, petsc_options_prefix="rubber_")
    problem.solve()
    return [state.sub(i).collapse().x.array / unit for i, unit in ((0, units.length), (1, units.stress), (2, 1.0))]


def continuation(units):
    V, ends = units.square(4, VECTORS)
    u, L = fem.Function(V), units.length
    W = lse.fem.energy(units.two_wells(), ufl.Identity(2) + ufl.grad(u)) * ufl.dx(degree=1)
    u.interpolate(lambda x: 0.02 * np.stack([np.sin(7 * x[0] / L) * x[1], np.cos(5 * x[1] / L) * x[0]]))
    bcs = [fem.dirichletbc(np.zeros(2), fem.locate_dofs_geometrical(V, where), V) for where in ends]
    problem = EnergyProblem(W, u, bcs=bcs, continuation=(8, 2), petsc_options_prefix="smooth_")
    problem.solve()
    return u.x.array / units.length


@lru_cache
def in_units_of_its_own(problem):
    return problem(Units())


@pytest.mark.parametrize("units", ALIKE, ids=["small", "large"])
@pytest.mark.parametrize(
    "problem",
    [
        motion,
        explicit_motion,
        pytest.param(hysteresis, marks=pytest.mark.slow),
        plane_stress,
        nearly_incompressible,
        pytest.param(continuation, marks=pytest.mark.slow),
    ],
)
def test_results_are_equal_to_the_bit(problem, units):
    for value, expected in zip(problem(units), in_units_of_its_own(problem), strict=True):
        assert np.array_equal(value, expected)
        assert np.isfinite(value).all()


@pytest.mark.parametrize("problem", [motion, hysteresis])
def test_a_constant_in_the_energy_changes_no_result(problem):
    """It is 1e8 times what W varies by: in a sum over the body its rounding would hide every decrease."""
    for value, expected in zip(problem(Units(constant=-3e5)), in_units_of_its_own(problem), strict=True):
        assert np.array_equal(value, expected)
