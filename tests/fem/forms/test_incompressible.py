"""Mixed energies: no locking, no oscillating pressure, exact solutions of bodies that keep their volume."""

import numpy as np
import pytest
import ufl
from basix.ufl import element, mixed_element
from dolfinx import fem, mesh
from mpi4py import MPI
from scipy.integrate import quad

import lse_material as lse
from lse_material.fem import QuadratureStress, axisymmetric_gradient, circumference, volume_constraint, with_volume
from lse_material.fem._compat import geometry_dofmap
from tests.fem.cook import LOAD, TIP, Cook, neo_hookean
from tests.fem.problems import total
from tests.materials import isotropic_stiffness, mild_material, quadratic_well

WORLD = MPI.COMM_WORLD


def checkerboard(cook):
    """The part of the cells' pressures that alternates from cell to cell, as a share of them."""
    p = cook.state.sub(1).collapse()
    X, Y = cook.domain.geometry.x[:, 0], cook.domain.geometry.x[:, 1]
    cells = geometry_dofmap(cook.domain)
    n = round(np.sqrt(len(cells)))
    column = (X[cells].mean(axis=1) / 48 * n).astype(int)
    bottom, top = 44 * X[cells].mean(axis=1) / 48, 44 + 16 * X[cells].mean(axis=1) / 48
    row = ((Y[cells].mean(axis=1) - bottom) / (top - bottom) * n).astype(int)
    values = p.x.array[p.function_space.dofmap.list[: len(cells), 0]]
    return abs(((-1.0) ** (row + column) * values).sum()) / np.abs(values).sum()


@pytest.mark.parametrize(
    ("kind", "error"), [("P2-P1", 0.001), ("Q2-P1", 0.002), ("Q1-P0", 0.005), ("F-bar", 0.005), ("P1-P1", 0.02)]
)
def test_cooks_membrane_does_not_lock_and_its_pressure_does_not_oscillate(kind, error):
    cook = Cook(16, kind)
    cook.apply(LOAD)
    cook.problem.solve()
    assert cook.problem.iterations <= 7  # full steps, from no load in one step: convergence is quadratic
    assert cook.problem.fallbacks == 0
    assert abs(cook.tip() / TIP - 1.0) < error
    if kind in ("Q1-P0", "F-bar"):
        assert checkerboard(cook) < 0.015
    assert lse.fem.stability.negative_eigenvalues(cook.problem) == 0
    assert lse.fem.stability.lowest_modes(cook.problem).values[0] > 0.0


def test_without_stabilisation_constant_pressures_alternate_from_cell_to_cell():
    cook = Cook(16, "Q1-P0", stabilised=False)
    cook.apply(LOAD)
    cook.problem.solve()
    assert checkerboard(cook) > 0.1


def test_a_constant_pressure_on_triangles_locks():
    """Why the spaces matter: with linear displacements the volume of each triangle is fixed by itself."""
    domain = Cook(8, "P1-P1").domain
    V = fem.functionspace(domain, ("Lagrange", 1, (2,)))
    u = fem.Function(V)
    W = lse.fem.energy(neo_hookean(), ufl.Identity(2) + ufl.grad(u)) * ufl.dx(degree=1)
    right = mesh.locate_entities_boundary(domain, 1, lambda x: np.isclose(x[0], 48.0))
    tags = mesh.meshtags(domain, 1, right, np.ones(len(right), dtype=np.int32))
    W -= 0.01 * LOAD * u[1] * ufl.Measure("ds", domain, subdomain_data=tags)(1)
    left = fem.dirichletbc(np.zeros(2), fem.locate_dofs_geometrical(V, lambda x: np.isclose(x[0], 0.0)), V)
    lse.fem.EnergyProblem(W, u, bcs=[left], petsc_options_prefix="locks_").solve()
    cook = Cook(8, "P1-P1")
    cook.apply(0.01 * LOAD)
    cook.problem.solve()
    assert u.x.array[1::2].max() < 0.65 * cook.tip()


@pytest.mark.mpi
@pytest.mark.parametrize("kind", ["P2-P1", "Q1-P0"])
def test_stored_stresses_find_the_state_of_the_energy(kind):
    material = neo_hookean(bulk=8e3)
    cook = Cook(4, kind, material)
    cook.apply(LOAD)
    cook.problem.solve()
    expected = cook.state.x.array.copy()
    state = cook.state
    state.x.array[:] = 0.0
    _, p, e = ufl.split(state)
    v = ufl.TestFunction(state.function_space)
    Fv = with_volume(material, cook.F, e)
    P = QuadratureStress(material, Fv, degree=2 * cook.degree)
    constraint = volume_constraint(material, cook.F, p, e) * ufl.dx(degree=2 * cook.degree, domain=cook.domain)
    load = ufl.Form([i for i in cook.energy.integrals() if i.integral_type() != "cell"])
    residual = ufl.inner(P.operator, ufl.derivative(Fv, state, v)) * P.dx + ufl.derivative(constraint + load, state, v)
    stored = lse.fem.MaterialProblem(
        residual,
        state,
        bcs=cook.bcs,
        stresses=[P],
        petsc_options_prefix=f"stored_cook_{kind}_",
        petsc_options={"snes_linesearch_type": "basic"},
    )
    stored.solve()
    assert np.abs(state.x.array - expected).max() < 1e-8 * np.abs(expected).max()
    assert stored.fields.multipliers == cook.problem.multipliers > 0


@pytest.mark.parametrize("bulk", [None, 1e5, np.inf])
def test_a_thick_tube_that_keeps_its_volume_takes_the_exact_pressure(bulk):
    """Inner radius 1 to 1.5; p = int mu (s^2 - 1/s^2) dr/r with the hoop stretch s = r/R and R^2 = r^2 - 1.25."""
    inner, outer, height, a = 1.0, 2.0, 0.5, 1.5
    material = neo_hookean(3, 1.0, 1e6)
    domain = mesh.create_rectangle(WORLD, [(inner, 0.0), (outer, height)], (12, 2))
    parts = [
        element("Lagrange", "triangle", 2, shape=(2,)),
        *[element("Lagrange", "triangle", 1)] * (2 - (bulk is not None)),
    ]
    state = fem.Function(fem.functionspace(domain, mixed_element(parts)))
    u, p, *e = ufl.split(state)
    F, ring = ufl.Identity(3) + axisymmetric_gradient(u), circumference(domain)
    W = (
        lse.fem.three_field_energy(material, F, p, *e)
        if bulk is None
        else lse.fem.two_field_energy(material, F, p, bulk=bulk)
    )
    V, bcs = state.function_space.sub(0), []
    given = [(0, lambda x: np.isclose(x[0], inner)), (1, lambda x: np.isclose(x[1] * (height - x[1]), 0.0))]
    boundaries = []
    for i, where in given:
        space = V.sub(i).collapse()[0]
        boundaries.append(fem.Function(space))
        dofs = fem.locate_dofs_geometrical((V.sub(i), space), where)
        bcs.append(fem.dirichletbc(boundaries[-1], dofs, V.sub(i)))
    problem = lse.fem.EnergyProblem(
        W * ring * ufl.dx(degree=5), state, bcs=bcs, petsc_options_prefix=f"exact_tube_{bulk}_"
    )

    def inflate(radius):
        boundaries[0].x.array[:] = radius - inner

    lse.fem.LoadPath(problem, inflate, perturbation_size=1e-3, progress=False).run([1.0, 1.25, a])
    shift = a**2 - inner**2
    stretch = lambda r: r / np.sqrt(r**2 - shift)  # noqa: E731
    pressure = quad(lambda r: (stretch(r) ** 2 - stretch(r) ** -2) / r, a, np.sqrt(outer**2 + shift))[0]
    assert problem.reaction(bcs[0]) == pytest.approx(2.0 * np.pi * a * height * pressure, rel=1e-4)


BEAMS = {
    "tetrahedron": (2, ("Lagrange", 1)),
    "hexahedron": (2, ("DPC", 1)),
    "hexahedron, mean dilatation": (1, ("DG", 0)),
}


@pytest.mark.slow
def test_beams_of_tetrahedra_and_hexahedra_bend_alike():
    """K / mu = 1e4."""
    tips = {}
    for name, (degree, pressure) in BEAMS.items():
        cell = name.split(",")[0]
        n = {("tetrahedron", 2): (8, 2, 2), ("hexahedron", 2): (4, 2, 2), ("hexahedron", 1): (16, 4, 4)}[cell, degree]
        domain = mesh.create_box(WORLD, [[0, 0, 0], [4, 1, 1]], n, mesh.CellType[cell])
        scalar = element(pressure[0], cell, pressure[1])
        parts = [element("Lagrange", cell, degree, shape=(3,)), scalar, scalar]
        state = fem.Function(fem.functionspace(domain, mixed_element(parts)))
        u, p, e = ufl.split(state)
        F = ufl.Identity(3) + ufl.grad(u)
        W = lse.fem.three_field_energy(neo_hookean(3, 1.0, 1e4), F, p, e) * ufl.dx(degree=2 * degree)
        W -= 0.002 * u[1] * ufl.dx(degree=2 * degree)
        V = state.function_space.sub(0)
        space = V.collapse()[0]
        dofs = fem.locate_dofs_geometrical((V, space), lambda x: np.isclose(x[0], 0.0))
        bcs = [fem.dirichletbc(fem.Function(space), dofs, V)]
        problem = lse.fem.EnergyProblem(W, state, bcs=bcs, petsc_options_prefix=f"beam_{cell}{degree}_")
        problem.solve()
        assert problem.iterations <= 6
        tips[name] = state.sub(0).collapse().x.array[1::3].max()
    exact = tips["hexahedron"]
    assert all(abs(tip / exact - 1.0) < 0.03 for tip in tips.values()), tips


@pytest.mark.parametrize("kind", [lse.GreenLagrange, lse.SmallStrain, lse.IsotropicInvariants])
def test_where_the_dilatation_is_that_of_f_the_energy_is_that_of_f(kind):
    material = mild_material(np.random.default_rng(2), kind(2))
    domain = mesh.create_unit_square(WORLD, 2, 2)
    u = fem.Function(fem.functionspace(domain, ("Lagrange", 1, (2,))))
    u.interpolate(lambda x: (0.1 * x[0] + 0.05 * x[1], -0.08 * x[1]))
    F = ufl.Identity(2) + ufl.grad(u)
    J = ufl.tr(F) - 1.0 if kind is lse.SmallStrain else ufl.det(F)
    dx = ufl.dx(degree=1)
    p = fem.Constant(domain, 0.7)
    mixed = lse.fem.three_field_energy(material, F, p, J - 1.0)
    assert total(mixed * dx) == pytest.approx(total(lse.fem.energy(material, F) * dx), rel=1e-12)
    Fv = with_volume(material, F, 0.2)
    volume = ufl.tr(Fv) - 1.0 if kind is lse.SmallStrain else ufl.det(Fv)
    assert total(volume * dx) == pytest.approx(1.2, rel=1e-13)


def test_at_small_strain_the_mixed_problem_is_linear():
    """Incompressible in the limit: K / mu = 1e6, and one step of Newton's method."""
    stiffness = isotropic_stiffness(2, 1e6, 1.0)
    material = lse.Material(lse.SoftMinimum((quadratic_well(np.zeros(3), stiffness),), 1.0), lse.SmallStrain(2))
    cook = Cook(8, "P2-P1", material)
    cook.apply(1e-3)
    cook.problem.solve()
    assert cook.problem.iterations <= 2
    change = total((ufl.tr(cook.F) - 2.0) ** 2 * ufl.dx(domain=cook.domain)) / total(
        ufl.inner(cook.F - ufl.Identity(2), cook.F - ufl.Identity(2)) * ufl.dx(domain=cook.domain)
    )
    assert change < 1e-2  # the volume is kept in the mean over the pressure's shape functions


def test_a_bulk_modulus_that_is_not_positive_is_refused():
    domain = mesh.create_unit_square(WORLD, 1, 1)
    u = fem.Function(fem.functionspace(domain, ("Lagrange", 1, (2,))))
    with pytest.raises(lse.InvalidInputError, match=r"bulk is -1.0; it must be a positive modulus"):
        lse.fem.two_field_energy(neo_hookean(), ufl.Identity(2) + ufl.grad(u), fem.Constant(domain, 0.0), bulk=-1.0)
