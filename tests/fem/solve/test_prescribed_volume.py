"""Bodies around a cavity of given volume: exact pressures beyond their maximum, stability, jumps, units and both routes."""

import functools

import numpy as np
import pytest
import ufl
from basix.ufl import element, mixed_element
from dolfinx import fem, mesh
from mpi4py import MPI
from scipy.integrate import quad

import lse_material as lse
from lse_material.fem import (
    ArcLength,
    EnergyProblem,
    LoadPath,
    enclosed_volume,
    global_constraint,
    with_global_unknowns,
)
from lse_material.fem.solve.stability import is_stable, negative_eigenvalues
from tests.fem.cook import neo_hookean
from tests.materials import isotropic_stiffness, quadratic_well

WORLD = MPI.COMM_WORLD
A, B = 1.0, 1.3  # radii of the sphere
MU, BULK = 1.0, 2e4


class Sphere:
    """A thick sphere by its radius, with the enclosed volume as a share of that at the start; stress-free at volume 1."""

    def __init__(self, material, unit=1.0, cells=12, degree=2):
        domain = mesh.create_interval(WORLD, cells, [unit * A, unit * B])
        self.state = fem.Function(with_global_unknowns(fem.functionspace(domain, ("Lagrange", degree))))
        u, p = ufl.split(self.state)
        r = ufl.SpatialCoordinate(domain)[0]
        stretches = 1.0 + u.dx(0), 1.0 + u / r, 1.0 + u / r
        F = ufl.as_matrix([[stretches[i] if i == j else 0.0 for j in range(3)] for i in range(3)])
        inside = ufl.conditional(ufl.lt(r, 0.5 * unit * (A + B)), 1.0, 0.0)
        self.start, self.volume = 4.0 / 3.0 * np.pi * (unit * A) ** 3, fem.Constant(domain, 0.0)
        W = 4.0 * np.pi * r**2 * lse.fem.energy(material, F) * ufl.dx(degree=6)
        W += global_constraint(p, 4.0 / 3.0 * np.pi * (r + u) ** 3 * inside * ufl.ds, self.volume)
        self.problem = EnergyProblem(W, self.state, petsc_options_prefix=f"sphere_{id(self)}_")

    def inflate(self, ratio):
        self.volume.value = ratio * self.start

    def pressure(self):
        return float(self.state.sub(1).collapse().x.array[0])

    @property
    def observed(self):
        return {"pressure": self.pressure, "negative": lambda: negative_eigenvalues(self.problem)}


def exact_pressure(ratio):
    """Of the sphere: mu (2/b + 1/(2 b^4) - 2/a - 1/(2 a^4)) by the hoop stretches b outside and a inside."""
    a = np.cbrt(ratio)
    b = np.cbrt(B**3 + A**3 * (a**3 - 1.0)) / B
    return MU * (2.0 / b + 0.5 / b**4 - 2.0 / a - 0.5 / a**4)


@pytest.mark.mpi
@pytest.mark.parametrize("unit", [1.0, 1e-6])
def test_a_balloon_of_given_volume_is_stable_beyond_its_largest_pressure(unit):
    sphere, levels = Sphere(neo_hookean(3, MU, BULK), unit), np.array([1.0, 1.5, 2.5, 4.0, 6.0, 10.0, 16.0])
    path = LoadPath(sphere.problem, sphere.inflate, sphere.observed, perturbation_size=0.01 * unit, progress=False)
    table = path.run(levels)
    np.testing.assert_allclose(table["pressure"], exact_pressure(levels), atol=1e-3 * exact_pressure(levels).max())
    assert 2 <= np.argmax(table["pressure"]) <= 4
    assert (table["negative"] == 0).all()
    assert sphere.problem.multipliers == 1
    assert path.failed == sphere.problem.fallbacks == 0
    assert (table["iterations"] <= 6).all()
    work = quad(lambda v: exact_pressure(v), 1.0, levels[-1])[0] * sphere.start
    assert table["energy"][-1] == pytest.approx(work, rel=1e-3)
    assert table["work"][-1] + table["energy"][0] == pytest.approx(table["energy"][-1], rel=1e-12)
    assert lse.fem.stability.lowest_modes(sphere.problem).values[0] > 0.0


@pytest.mark.mpi
def test_arc_length_follows_the_volume_to_the_states_of_a_load_path():
    sphere = Sphere(neo_hookean(3, MU, BULK))
    table = ArcLength(sphere.problem, lambda more: sphere.inflate(1.0 + more), 0.2, {"pressure": sphere.pressure}).run(
        8
    )
    ratios = 1.0 + table["factor"]
    assert ratios[-1] > 5.0
    np.testing.assert_allclose(table["pressure"], exact_pressure(ratios), atol=1e-3 * exact_pressure(ratios).max())
    assert (table["negative"] == 0).all()


@functools.cache
def foam():
    """Two wells: at rest, and 80 % larger in every length squared."""
    stiffness = isotropic_stiffness(3, 0.5, 1.0)
    wells = quadratic_well(np.zeros(6), stiffness), quadratic_well([0.4] * 3 + [0.0] * 3, stiffness, 0.03)
    return lse.Material(lse.SoftMinimum(wells, 0.001), lse.GreenLagrange(3), growth=lse.Growth(0.05))


@pytest.mark.mpi
def test_a_balloon_with_two_wells_transforms_from_minimum_to_minimum():
    """Cell by cell: where a state loses its stability at given volume, the pressure falls at once, and energy is released."""
    sphere = Sphere(foam(), cells=8, degree=1)
    path = LoadPath(sphere.problem, sphere.inflate, sphere.observed, progress=False)
    table = path.run(np.linspace(1.7, 2.4, 15))
    assert (table["negative"] == 0).all()
    assert sphere.problem.fallbacks >= 1
    assert path.failed == 0
    assert (np.diff(table["pressure"]) < 0.0).sum() >= 1
    assert (np.diff(table["released"]) >= 0.0).all()
    assert np.ptp(table["energy"] + table["released"] - table["work"]) < 1e-12
    volume = 4.0 / 3.0 * np.pi * (A + _inner(sphere.state)) ** 3
    assert volume == pytest.approx(2.4 * sphere.start, rel=1e-10)


def _inner(state):
    """Displacement of the inner radius."""
    u = state.sub(0).collapse()
    at = np.flatnonzero(np.isclose(u.function_space.tabulate_dof_coordinates()[:, 0], A))
    return float(np.concatenate(WORLD.allgather(u.x.array[at]))[0])


class Tube:
    """A slice of a tube that keeps its length, in (r, z), from radii 1 and 2."""

    def __init__(self, cells=(8, 1), fields=(), energy=None, residual=None, name="tube"):
        domain = mesh.create_rectangle(WORLD, [(1.0, 0.0), (2.0, 0.25)], cells)
        parts = [element("Lagrange", "triangle", 2, shape=(2,)), *fields]
        whole = mixed_element(parts) if fields else parts[0]
        self.state = fem.Function(with_global_unknowns(fem.functionspace(domain, whole)))
        u, *p, self.force = ufl.split(self.state)
        self.F, self.ring = ufl.Identity(3) + lse.fem.axisymmetric_gradient(u), lse.fem.circumference(domain)
        domain.topology.create_connectivity(1, 2)
        bore = np.sort(mesh.locate_entities_boundary(domain, 1, lambda x: np.isclose(x[0], 1.0)))
        tags = mesh.meshtags(domain, 1, bore, np.ones(len(bore), dtype=np.int32))
        inner = enclosed_volume(u, ufl.Measure("ds", domain, subdomain_data=tags)(1), axes=[0], axisymmetric=True)
        self.volume = fem.Constant(domain, 0.25 * np.pi)
        self.constraint = global_constraint(self.force, inner, self.volume)
        axial = self.state.function_space.sub(0).sub(1)
        space = axial.collapse()[0]
        ends = fem.locate_dofs_geometrical((axial, space), lambda x: np.isclose(x[1] * (0.25 - x[1]), 0.0))
        self.bcs = [fem.dirichletbc(fem.Function(space), ends, axial)]
        self.energy = energy(self.F, *p) * self.ring * ufl.dx(degree=5) + self.constraint
        self.options = {"bcs": self.bcs, "petsc_options_prefix": f"{name}_"}

    def inflate(self, radius):
        self.volume.value = 0.25 * np.pi * radius**2

    def pressure(self):
        return float(self.state.sub(self.state.function_space.num_sub_spaces - 1).collapse().x.array[0])


@pytest.mark.mpi
def test_an_incompressible_tube_takes_the_exact_pressure():
    """p = int mu (s^2 - 1/s^2) dr/r with the hoop stretch s = r/R; both multipliers, of the bulk and the bore, are exact."""
    material, pressure = neo_hookean(3, 1.0, 1e6), element("Lagrange", "triangle", 1)
    tube = Tube(fields=[pressure], energy=lambda F, p: lse.fem.two_field_energy(material, F, p, bulk=np.inf))
    problem = EnergyProblem(tube.energy, tube.state, **tube.options)
    path = LoadPath(problem, tube.inflate, {"pressure": tube.pressure}, perturbation_size=0.01, progress=False)
    table = path.run([1.0, 1.25, 1.6, 2.0])

    def exact(a):
        stretch = lambda r: r / np.sqrt(r**2 + 1.0 - a**2)  # noqa: E731
        return quad(lambda r: (stretch(r) ** 2 - stretch(r) ** -2) / r, a, np.sqrt(3.0 + a**2))[0]

    assert table["pressure"] == pytest.approx([exact(a) for a in table["load"]], rel=1e-4, abs=1e-10)
    assert is_stable(problem)


@pytest.mark.mpi
def test_stored_stresses_take_the_constraint_as_a_form():
    material = neo_hookean(3, 1.0, 3.0)
    tube = Tube(cells=(3, 1), energy=lambda F: lse.fem.energy(material, F), name="whole")
    tube.inflate(1.3)
    EnergyProblem(tube.energy, tube.state, **tube.options).solve()
    expected = tube.state.x.array.copy()
    tube.state.x.array[:] = 0.0
    v, P = ufl.TestFunction(tube.state.function_space), lse.fem.QuadratureStress(material, tube.F, degree=5)
    virtual = lse.fem.axisymmetric_gradient(ufl.split(v)[0])
    residual = ufl.inner(P.operator, virtual) * tube.ring * P.dx + ufl.derivative(tube.constraint, tube.state, v)
    lse.fem.MaterialProblem(residual, tube.state, stresses=[P], **tube.options).solve()
    assert np.abs(tube.state.x.array - expected).max() < 1e-9 * np.abs(expected).max()


def test_a_volume_that_no_state_has_is_an_error_that_names_it():
    sphere = Sphere(neo_hookean(3, MU, BULK))
    sphere.inflate(-0.5)
    with pytest.raises(lse.ConvergenceError):
        sphere.problem.solve()
