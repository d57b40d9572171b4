"""Paths through limit points: a von Mises truss and a bar with a phase change, both exact, and what is refused."""

import shutil

import basix.ufl
import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI
from scipy.optimize import brentq, minimize_scalar

import lse_material as lse
from lse_material.fem import ArcLength, EnergyProblem, potential_energy
from tests.materials import quadratic_well, saint_venant_kirchhoff

WORLD = MPI.COMM_WORLD
SPAN, RISE, STIFFNESS = 1.0, 0.3, 2.0  # half the span, of the apex, EA of the bars
LENGTH, SOFT = 1.0, 0.12  # of a third bar that presses the apex, and its EA


def frame(bars):
    """Pin-jointed bars, two of which lean on each other: mesh, displacement, strain, and what the apex descends."""
    points = np.array([[-SPAN, 0.0], [0.0, RISE], [SPAN, 0.0], [0.0, RISE + LENGTH]])[: bars + 1]
    cells = np.array([[0, 1], [1, 2], [1, 3]])[:bars]
    if WORLD.rank > 0:
        points, cells = points[:0], cells[:0]
    element = basix.ufl.element("Lagrange", "interval", 1, shape=(2,))
    domain = mesh.create_mesh(WORLD, cells, element, points, max_facet_to_cell_links=3)
    V = fem.functionspace(domain, ("Lagrange", 1, (2,)))
    u = fem.Function(V)
    along = ufl.Jacobian(domain)[:, 0]
    along = along / ufl.sqrt(ufl.inner(along, along))
    stretched = along + ufl.dot(ufl.grad(u), along)
    apex = fem.locate_dofs_geometrical(V, lambda x: np.isclose(x[0], 0.0) & np.isclose(x[1], RISE))

    def descent():
        owned = [i for i in apex if i < V.dofmap.index_map.size_local]
        return WORLD.allreduce(float(-u.x.array[2 * owned[0] + 1]) if owned else 0.0, MPI.SUM)

    feet = fem.locate_dofs_geometrical(V, lambda x: np.isclose(abs(x[0]), SPAN))
    return u, 0.5 * (ufl.inner(stretched, stretched) - 1.0), fem.dirichletbc(np.zeros(2), feet, V), descent


def truss():
    """The two bars, W = EA/2 E^2 per length with Green-Lagrange strain; the apex carries the load 1."""
    u, strain, feet, descent = frame(2)
    problem = EnergyProblem(0.5 * STIFFNESS * strain**2 * ufl.dx, u, bcs=[feet], petsc_options_prefix=f"truss_{id(u)}_")
    return problem, -u[1] / np.hypot(SPAN, RISE) * ufl.dx, descent


def exact_load(w):
    """The load on the apex when it has descended by w."""
    return STIFFNESS * w * (w - RISE) * (w - 2.0 * RISE) / np.hypot(SPAN, RISE) ** 3


@pytest.mark.mpi
def test_a_truss_follows_its_exact_path_over_both_limit_points():
    problem, work, descent = truss()
    path = ArcLength(problem, work, 0.02, {"descent": descent})
    table = path.run(60)
    w, length = table["descent"], np.hypot(SPAN, RISE)
    exact = exact_load(w)
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
    assert exact_load(descent()) == pytest.approx(0.5 * limit, rel=1e-7)
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


def snapping_back(unit=1.0, soft=SOFT, **options):
    """The path of the truss under a bar whose upper end is pressed down by the factor over the unit."""
    u, strain, feet, descent = frame(3)
    V, x = u.function_space, ufl.SpatialCoordinate(u.function_space.mesh)
    top = fem.locate_dofs_geometrical(V, lambda x: np.isclose(x[1], RISE + LENGTH))
    pressed = fem.Constant(V.mesh, np.zeros(2))
    bcs = [feet, fem.dirichletbc(pressed, top, V)]
    EA = ufl.conditional(ufl.gt(x[1], RISE), fem.Constant(V.mesh, soft), STIFFNESS)
    problem = EnergyProblem(0.5 * EA * strain**2 * ufl.dx, u, bcs=bcs, petsc_options_prefix=f"back_{id(u)}_")

    def press(end):
        pressed.value[1] = -end / unit

    observed = {"w": descent, "force": lambda: -problem.reaction(bcs[1])}
    return ArcLength(problem, press, 0.02, observed, **options)


@pytest.mark.mpi
@pytest.mark.parametrize("unit", [1.0, 1e3])
def test_a_displacement_prescribed_through_a_soft_bar_snaps_back(unit):
    """The bar is softer than the truss is negative: its end must turn back, and a path of growing ends jumps there."""
    path = snapping_back(unit)
    descent = path.observe["w"]
    while descent() < 2.0 * RISE:
        path.run(1)
    table = path.arrays()
    w = table["w"]
    bar = [brentq(lambda s, P=P: 0.5 * SOFT * s * (s * s - 1.0) + P, 0.6, 1.5, xtol=1e-15) for P in exact_load(w)]
    end = unit * (w + LENGTH * (1.0 - np.array(bar)))
    np.testing.assert_allclose(table["factor"], end, atol=1e-7 * unit)
    np.testing.assert_allclose(table["force"], exact_load(w), atol=1e-8)
    forth, back = path.limit_points()
    assert (forth.maximum, back.maximum) == (True, False)
    assert back.factor < 0.9 * forth.factor
    between = slice(forth.step + 1, back.step)
    assert (table["negative"][between] == 1).all()  # no minimum at a prescribed end: only arc length finds these states
    assert path.failed == 0


def test_a_constant_of_the_energy_may_be_the_load_and_must_be_affine():
    """A spring between the apex and a point that moves: k/2 (w - end)^2."""
    problem, _, descent = truss()
    u, k = problem.u, 0.1
    end, length = fem.Constant(u.function_space.mesh, 0.0), np.hypot(SPAN, RISE)
    spring = (
        0.5 * k * (3.0 * u[1] ** 2 / 2.0 + 2.0 * end * u[1] + end**2) / length * ufl.dx(degree=2)
    )  # u linear in a bar
    sprung = EnergyProblem(problem.functional + spring, u, bcs=problem.bcs, petsc_options_prefix="spring_")
    path = ArcLength(sprung, lambda f: setattr(end, "value", f), 0.02, {"w": descent})
    table = path.run(50)
    np.testing.assert_allclose(table["factor"], table["w"] + exact_load(table["w"]) / k, atol=1e-7)
    assert len(path.limit_points()) == 2
    with pytest.raises(lse.InvalidInputError, match="not affine"):
        ArcLength(sprung, lambda f: setattr(end, "value", f**2), 0.02).run(1)


@pytest.mark.mpi
def test_a_stored_stress_is_followed_as_the_energy_in_the_form_is():
    """A block pulled by its end: how the residual changes with the end comes from the stored tangent."""
    tables = []
    for stored in (False, True):
        domain = mesh.create_unit_square(WORLD, 2, 2)
        V = fem.functionspace(domain, ("Lagrange", 1, (2,)))
        u, v, pull = fem.Function(V), ufl.TestFunction(V), fem.Constant(domain, np.zeros(2))
        sides = [fem.locate_dofs_geometrical(V, lambda x, at=at: np.isclose(x[0], at)) for at in (0.0, 1.0)]
        bcs = [fem.dirichletbc(np.zeros(2), sides[0], V), fem.dirichletbc(pull, sides[1], V)]
        material, F = saint_venant_kirchhoff(2, 0.7, 0.4), ufl.Identity(2) + ufl.grad(u)
        P = lse.fem.QuadratureStress(material, F, degree=1)
        options = {"residual": ufl.inner(P.operator, ufl.grad(v)) * P.dx, "stresses": [P]} if stored else {}
        energy = lse.fem.energy(material, F) * ufl.dx(degree=1)
        problem = EnergyProblem(energy, u, bcs=bcs, petsc_options_prefix=f"pulled_{stored}_", **options)

        def stretch(end, pull=pull):
            pull.value[0] = end

        path = ArcLength(problem, stretch, 0.02)
        tables.append(path.run(3))
    for name in ("factor", "energy"):
        np.testing.assert_allclose(tables[1][name], tables[0][name], rtol=1e-9)
    assert tables[0]["factor"][-1] > 0.05


@pytest.mark.mpi
def test_a_balloon_passes_its_largest_pressure():
    """A thick sphere of neo-Hookean rubber, by its radius: p = mu (2/a + 1/(2 a^4)), from inside to outside (Rivlin 1949)."""
    A, B, mu, bulk = 1.0, 1.3, 1.0, 2e4
    domain = mesh.create_interval(WORLD, 12, [A, B])
    V = fem.functionspace(domain, ("Lagrange", 2))
    u, r = fem.Function(V), ufl.SpatialCoordinate(domain)[0]
    radial, hoop = 1.0 + u.dx(0), 1.0 + u / r
    J = radial * hoop**2
    W = 0.5 * mu * (radial**2 + 2.0 * hoop**2 - 3.0 - 2.0 * ufl.ln(J)) + 0.5 * bulk * (J - 1.0) ** 2
    problem = EnergyProblem(4.0 * np.pi * r**2 * W * ufl.dx(degree=6), u, petsc_options_prefix=f"balloon_{id(u)}_")
    inside = ufl.conditional(ufl.lt(r, 0.5 * (A + B)), 1.0, 0.0)
    volume = 4.0 / 3.0 * np.pi * (r + u) ** 3 * inside * ufl.ds
    enclosed = problem.compiled(volume)
    found = {"volume": lambda: WORLD.allreduce(fem.assemble_scalar(enclosed), MPI.SUM)}
    path = ArcLength(problem, volume, 0.1, found)
    table = path.run(12)

    def pressure(a):
        b = np.cbrt(B**3 + A**3 * (a**3 - 1.0)) / B
        return mu * (2.0 / b + 0.5 / b**4 - 2.0 / a - 0.5 / a**4)

    a = np.cbrt(table["volume"] * 3.0 / 4.0 / np.pi) / A
    np.testing.assert_allclose(table["factor"], pressure(a), atol=1e-3 * pressure(a).max())
    (peak,) = path.limit_points()
    assert peak.maximum
    assert (np.diff(table["volume"]) > 0.0).all()
    assert np.array_equal(table["negative"] > 0, pressure(a + 1e-6) < pressure(a))  # unstable where the pressure falls


@pytest.mark.mpi
def test_a_path_that_was_interrupted_goes_on_where_it_was_in_direction_and_length_of_its_steps(tmp_path):
    file = WORLD.bcast(str(tmp_path / "path.npz"))
    few = {"iterations": 3}  # some steps take more, and are halved
    whole = snapping_back(**few)
    table = whole.run(24)
    forth, back = whole.limit_points()
    interrupted = snapping_back(checkpoint=file, **few)
    assert interrupted.resume() == 0  # there is no file
    interrupted.run((forth.step + back.step) // 2)  # on the way back
    resumed = snapping_back(checkpoint=file, **few)
    rows = resumed.resume()
    assert rows == len(interrupted.history) > forth.step
    assert resumed.failed == interrupted.failed > 0
    found = resumed.run(25 - rows)
    for name in table:
        np.testing.assert_allclose(found[name], table[name], rtol=1e-9, atol=1e-12, err_msg=name)
    other = snapping_back(soft=0.13, checkpoint=file)
    with pytest.raises(lse.FormatError, match="constant 0 of the energy"):
        other.resume()
    assert other.table["factor"] == []
    with pytest.raises(lse.FormatError, match="Dirichlet values"):
        snapping_back(2.0, checkpoint=file).resume()
    with pytest.raises(lse.FormatError, match="another mesh"):
        ArcLength(*truss()[:2], 0.02, observe=resumed.observe, checkpoint=file).resume()
    with pytest.raises(lse.InvalidInputError, match="there is no checkpoint"):
        snapping_back().resume()


def two_fields(comm, traction=1.0, **options):
    """A block pulled at an end, with a strain-like field that couples to its elongation: entries of two units."""
    domain = mesh.create_unit_square(comm, 3, 3)
    domain.geometry.x[:] *= 1e-3
    P1, P1_vector = (basix.ufl.element("Lagrange", "triangle", 1, shape=shape) for shape in ((), (2,)))
    V = fem.functionspace(domain, basix.ufl.mixed_element([P1_vector, P1]))
    w = fem.Function(V)
    u, chi = ufl.split(w)
    C = (ufl.Identity(2) + ufl.grad(u)).T * (ufl.Identity(2) + ufl.grad(u))
    W = 0.25 * ufl.inner(C - ufl.Identity(2), C - ufl.Identity(2)) + 0.5 * (chi - u[0].dx(0)) ** 2
    W += 0.5 * 1e-7 * ufl.inner(ufl.grad(chi), ufl.grad(chi))
    left = mesh.locate_entities_boundary(domain, 1, lambda x: np.isclose(x[0], 0.0))
    zero = fem.Function(V.sub(0).collapse()[0])
    fixed = fem.dirichletbc(zero, fem.locate_dofs_topological((V.sub(0), zero.function_space), 1, left), V.sub(0))
    problem = EnergyProblem(W * ufl.dx(degree=2), w, bcs=[fixed], petsc_options_prefix=f"two_{id(w)}_")
    x = ufl.SpatialCoordinate(domain)
    load = fem.Constant(domain, traction) * x[0] / 1e-3 * u[0] * ufl.ds
    return ArcLength(problem, load, 2e-5, **options)


@pytest.mark.mpi
def test_a_path_of_two_fields_goes_on_on_another_number_of_ranks_in_the_same_units(tmp_path):
    file = WORLD.bcast(str(tmp_path / "path.npz"))
    whole = two_fields(WORLD)
    table, resumed = whole.run(5), two_fields(MPI.COMM_SELF, checkpoint=f"{file}.{WORLD.rank}")
    two_fields(WORLD, checkpoint=file).run(3)
    shutil.copy(file, resumed.checkpoint)
    assert resumed.resume() == 4
    found = resumed.run(2)
    for name in table:
        np.testing.assert_allclose(found[name], table[name], rtol=1e-9, atol=1e-15, err_msg=name)
    assert (table["energy"][1:] > 0.0).all()
    with pytest.raises(lse.FormatError, match="constant 0 of the work of the load"):
        two_fields(WORLD, 2.0, checkpoint=file).resume()


def test_bad_input_is_refused():
    problem, work, _ = truss()
    u = problem.u
    for size in (0.0, -1.0, np.nan):
        with pytest.raises(lse.InvalidInputError, match="size"):
            ArcLength(problem, work, size)
    with pytest.raises(lse.InvalidInputError, match="no work"):
        ArcLength(problem, u[1] ** 2 * ufl.dx, 0.1).run(1)  # no force at u = 0
    with pytest.raises(lse.InvalidInputError, match="no work"):
        ArcLength(problem, lambda factor: None, 0.1).run(1)
    with pytest.raises(lse.InvalidInputError, match="without test function"):
        ArcLength(problem, ufl.derivative(work, u), 0.1)
    with pytest.raises(lse.InvalidInputError, match="'factor'"):
        ArcLength(problem, work, 0.1, {"factor": lambda: 0.0})
    with pytest.raises(lse.InvalidInputError, match="steps is 0"):
        ArcLength(problem, work, 0.1).run(0)
    with pytest.raises(lse.InvalidInputError, match="not between"):
        ArcLength(problem, work, 0.1).run(1, low=1.0, high=2.0)
    for kind in ("low", "high"):
        with pytest.raises(lse.InvalidInputError, match=f"{kind} cannot be read"):
            ArcLength(problem, work, 0.1).run(1, **{kind: "all"})
    with pytest.raises(lse.InvalidInputError, match="newtonal"):
        ArcLength(problem, work, 0.1, petsc_options={"snes_type": "newtonls"})
    with pytest.raises(lse.InvalidInputError, match="refused to set up"):
        ArcLength(problem, work, 0.1, petsc_options={"ksp_type": "no such solver"}).run(1)
    with pytest.raises(lse.InvalidInputError, match="not finite"):
        ArcLength(problem, fem.Constant(u.function_space.mesh, np.nan) * u[1] * ufl.dx, 0.1).run(1)
    nothing = fem.Constant(u.function_space.mesh, 0.0)
    with pytest.raises(lse.InvalidInputError, match="no work"):
        ArcLength(problem, nothing * u[1] * ufl.dx, 0.1).run(1)


def test_a_path_that_has_come_to_its_bound_stays_there():
    """The load of a truss falls beyond its peak; at the bound the path neither turns back nor adds a state."""
    problem, work, _ = truss()
    path = ArcLength(problem, work, 0.02)
    while len(path.table["factor"]) < 3 or path.table["factor"][-1] > path.table["factor"][-2]:
        path.run(1)
    low = 0.9 * path.table["factor"][-1]
    table = path.run(50, low=low)
    assert table["factor"][-1] == low
    assert len(path.run(2, low=low)["factor"]) == len(table["factor"])
    assert path.run(1)["factor"][-1] < low


def test_options_of_the_solver_of_a_path_are_read_or_named():
    problem, work, _ = truss()
    with pytest.warns(lse.fem.OptionWarning, match=r"\['ksp_tipe'\]") as caught:
        ArcLength(problem, work, 0.02, petsc_options={"ksp_tipe": "gmres", "mat_mumps_icntl_14": 60}).run(2)
    assert len(caught) == 1


def test_a_step_that_fails_in_its_shortest_form_says_so_and_keeps_what_came_before():
    problem, work, _ = truss()
    path = ArcLength(problem, work, 10.0, halvings=0, iterations=1)
    with pytest.raises(lse.ConvergenceError, match="could not be followed"):
        path.run(3)
    assert path.table["factor"] == [0.0]
    assert path.failed == 1
