"""Paths through limit points: a von Mises truss and a bar with a phase change, both exact, and what is refused."""

import basix.ufl
import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI
from scipy.optimize import minimize_scalar

import lse_material as lse
from lse_material.fem import ArcLength, EnergyProblem, potential_energy
from tests.materials import quadratic_well

WORLD = MPI.COMM_WORLD
SPAN, RISE, STIFFNESS = 1.0, 0.3, 2.0  # half the span, of the apex, EA of the bars


def truss():
    """Two bars that lean on each other, W = EA/2 E^2 per length with Green-Lagrange strain; the apex carries the load 1."""
    points = np.array([[-SPAN, 0.0], [0.0, RISE], [SPAN, 0.0]]) if WORLD.rank == 0 else np.zeros((0, 2))
    cells = np.array([[0, 1], [1, 2]]) if WORLD.rank == 0 else np.zeros((0, 2), dtype=np.int64)
    domain = mesh.create_mesh(WORLD, cells, basix.ufl.element("Lagrange", "interval", 1, shape=(2,)), points)
    V = fem.functionspace(domain, ("Lagrange", 1, (2,)))
    u = fem.Function(V)
    along = ufl.Jacobian(domain)[:, 0]
    along = along / ufl.sqrt(ufl.inner(along, along))
    stretched = along + ufl.dot(ufl.grad(u), along)
    strain = 0.5 * (ufl.inner(stretched, stretched) - 1.0)
    feet = fem.locate_dofs_geometrical(V, lambda x: np.isclose(abs(x[0]), SPAN))
    bcs = [fem.dirichletbc(np.zeros(2), feet, V)]
    problem = EnergyProblem(0.5 * STIFFNESS * strain**2 * ufl.dx, u, bcs=bcs, petsc_options_prefix=f"truss_{id(u)}_")
    length = np.hypot(SPAN, RISE)
    apex = fem.locate_dofs_geometrical(V, lambda x: np.isclose(x[0], 0.0))

    def descent():
        owned = [i for i in apex if i < V.dofmap.index_map.size_local]
        return WORLD.allreduce(float(-u.x.array[2 * owned[0] + 1]) if owned else 0.0)

    return problem, -u[1] / length * ufl.dx, descent


@pytest.mark.mpi
def test_a_truss_follows_its_exact_path_over_both_limit_points():
    problem, work, descent = truss()
    path = ArcLength(problem, work, 0.02, {"descent": descent})
    table = path.run(60)
    w, length = table["descent"], np.hypot(SPAN, RISE)
    exact = STIFFNESS * w * (w - RISE) * (w - 2.0 * RISE) / length**3
    limit = STIFFNESS * 2.0 * RISE**3 / (3.0 * np.sqrt(3.0) * length**3)
    assert w[-1] > 2.0 * RISE  # through, and beyond
    assert np.abs(table["factor"] - exact).max() < 1e-7 * limit
    assert path.failed == 0
    # the load is the slope of the energy, and the state is unstable just where the load falls
    strain = (w**2 - 2.0 * RISE * w) / (2.0 * length**2)
    assert np.abs(table["energy"] - STIFFNESS * length * strain**2).max() < 1e-10
    inner = np.abs(w - RISE) < RISE / np.sqrt(3.0)
    assert np.array_equal(table["negative"] > 0, inner)
    peak, trough = path.limit_points()
    assert (peak.maximum, trough.maximum) == (True, False)
    assert peak.factor == pytest.approx(limit, rel=1e-3)
    assert trough.factor == pytest.approx(-limit, rel=1e-3)
    assert problem.fallbacks == 0


def test_limit_loads_converge_with_the_third_power_of_the_step_or_better_and_bounds_are_met_exactly():
    limit = STIFFNESS * 2.0 * RISE**3 / (3.0 * np.sqrt(3.0) * np.hypot(SPAN, RISE) ** 3)
    errors = []
    for size in (0.04, 0.01):
        problem, work, _ = truss()
        path = ArcLength(problem, work, size)
        path.run(int(0.8 / size))
        errors.append(abs(path.limit_points()[0].factor - limit))
    assert errors[1] < errors[0] / 4.0**3 + 1e-9
    problem, work, descent = truss()
    path = ArcLength(problem, work, 0.03)
    path.run(100, high=0.5 * limit)
    assert path.table["factor"][-1] == 0.5 * limit
    w = descent()
    load = STIFFNESS * w * (w - RISE) * (w - 2.0 * RISE) / np.hypot(SPAN, RISE) ** 3
    assert load == pytest.approx(0.5 * limit, rel=1e-7)
    rows = len(path.table["factor"])
    path.run(100, high=2.0 * limit)  # goes on, over the peak, and comes to the bound on the far branch
    assert len(path.table["factor"]) > rows + 5
    assert path.table["factor"][-1] == 2.0 * limit
    assert descent() > 2.0 * RISE


@pytest.mark.mpi
def test_a_bar_of_two_phases_has_its_limit_loads_at_the_spinodals():
    """One cell strains homogeneously: its force is W'(e), whose extrema are the limit loads."""
    E, e_t, dg, rho = 1.0, 1.0, 0.05, 0.02
    wells = tuple(quadratic_well([centre], np.array([[E]]), depth) for centre, depth in ((0.0, 0.0), (e_t, dg)))
    potential = lse.SoftMinimum(wells, rho)
    domain = mesh.create_interval(WORLD, 1, [0.0, 1.0])
    V = fem.functionspace(domain, ("Lagrange", 1))
    u = fem.Function(V)
    held = fem.dirichletbc(0.0, fem.locate_dofs_geometrical(V, lambda x: np.isclose(x[0], 0.0)), V)
    problem = EnergyProblem(
        potential_energy(potential, [u.dx(0)]) * ufl.dx, u, bcs=[held], petsc_options_prefix="arc_bar_"
    )
    path = ArcLength(problem, u.dx(0) * ufl.dx, 0.015)
    path.run(60)

    def slope(e):
        return float(potential.gradient(np.array([[e]]))[0, 0])

    exact = [
        slope(
            minimize_scalar(lambda e, s=sign: -s * slope(e), bounds=ends, method="bounded", options={"xatol": 1e-9}).x
        )
        for sign, ends in ((1.0, (0.2, 0.55)), (-1.0, (0.55, 1.0)))
    ]
    found = [point.factor for point in path.limit_points()]
    assert found == pytest.approx(exact, rel=1e-3)


def test_bad_input_is_refused():
    problem, work, _ = truss()
    u = problem.u
    for size in (0.0, -1.0, np.nan):
        with pytest.raises(lse.InvalidInputError, match="size"):
            ArcLength(problem, work, size)
    with pytest.raises(lse.InvalidInputError, match="not linear"):
        ArcLength(problem, u[1] ** 2 * ufl.dx, 0.1)
    with pytest.raises(lse.InvalidInputError, match="without test function"):
        ArcLength(problem, ufl.derivative(work, u), 0.1)
    with pytest.raises(lse.InvalidInputError, match="'factor'"):
        ArcLength(problem, work, 0.1, {"factor": lambda: 0.0})
    with pytest.raises(lse.InvalidInputError, match="steps is 0"):
        ArcLength(problem, work, 0.1).run(0)
    with pytest.raises(lse.InvalidInputError, match="not between"):
        ArcLength(problem, work, 0.1).run(1, low=1.0, high=2.0)
    nothing = fem.Constant(u.function_space.mesh, 0.0)
    with pytest.raises(lse.InvalidInputError, match="no work"):
        ArcLength(problem, nothing * u[1] * ufl.dx, 0.1).run(1)


def test_a_step_that_fails_in_its_shortest_form_says_so_and_keeps_what_came_before():
    problem, work, _ = truss()
    path = ArcLength(problem, work, 10.0, halvings=0, iterations=1)
    with pytest.raises(lse.ConvergenceError, match="could not be followed"):
        path.run(3)
    assert path.table["factor"] == [0.0]
    assert path.failed == 1
