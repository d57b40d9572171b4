"""Equilibrium of materials: exact solutions, convergence rates, both routes, any number of ranks."""

import gc
import re
import weakref
from functools import cached_property

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI
from petsc4py import PETSc

import lse_material as lse
from lse_material.fem import EnergyProblem, MaterialProblem, OptionWarning, QuadratureStress, energy, stress
from tests.fem.problems import clamped
from tests.materials import mild_material, saint_venant_kirchhoff, two_variants

WORLD = MPI.COMM_WORLD
ROUTES = ("energy", "stress", "quadrature")


def make_problem(route, material, u, bcs, *, degree=2, load=None, **options):
    """The equilibrium problem of `u`, by one of the routes; `load` is a UFL linear form of external work."""
    v = ufl.TestFunction(u.function_space)
    F = ufl.Identity(len(u)) + ufl.grad(u)
    stresses = []
    if route == "quadrature":
        stresses = [QuadratureStress(material, F, degree=degree)]
        residual = ufl.inner(stresses[0].operator, ufl.grad(v)) * stresses[0].dx
    elif route == "stress":
        residual = ufl.inner(stress(material, F), ufl.grad(v)) * ufl.dx(degree=degree)
    else:
        W = energy(material, F, expanded=route == "expanded")
        residual = ufl.derivative(W * ufl.dx(degree=degree), u, v)
    if load is not None:
        residual -= load(v)
    problem = MaterialProblem(
        residual,
        u,
        bcs=bcs,
        stresses=stresses,
        petsc_options_prefix=f"{route}_{id(u)}_",
        petsc_options={"snes_rtol": 1e-13, "snes_atol": 1e-13, **options},
    )
    problem.stresses = stresses
    return problem


def distorted_box(comm, dim, n):
    """A unit square or cube whose inner vertices are moved: no two cells alike."""
    if dim == 2:
        domain = mesh.create_unit_square(comm, n, n)
    else:
        domain = mesh.create_unit_cube(comm, n, n, n)
    x = domain.geometry.x
    bubble = np.prod(np.sin(np.pi * x[:, :dim]), axis=1)
    x[:, 0] += 0.08 * bubble * np.cos(5 * x[:, 1])
    x[:, 1] += 0.06 * bubble
    return domain


def collect(u):
    """Coordinates and values of every degree of freedom of `u` on every rank, sorted by place."""
    V = u.function_space
    owned = V.dofmap.index_map.size_local
    x = V.tabulate_dof_coordinates()[:owned]
    values = u.x.array.reshape(-1, V.dofmap.index_map_bs)[:owned]
    parts = V.mesh.comm.allgather((x, values))
    x, values = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
    order = np.lexsort(x.round(9).T)
    return x[order], values[order]


def shear_and_stretch(comm, material, route, n=6, amount=0.1, degree=2, **options):
    """A block whose left side is held and whose right side is moved: a smooth but not uniform state."""
    dim = getattr(material, "dim", 2)
    create = mesh.create_unit_square if dim == 2 else mesh.create_unit_cube
    V = fem.functionspace(create(comm, *(n,) * dim), ("Lagrange", degree, (dim,)))
    u = fem.Function(V)
    move = np.array([amount, amount / 2, 0.0])[:dim]
    sides = [fem.locate_dofs_geometrical(V, lambda x, a=a: np.isclose(x[0], a)) for a in (0.0, 1.0)]
    bcs = [fem.dirichletbc(np.zeros(dim), sides[0], V), fem.dirichletbc(move, sides[1], V)]
    problem = make_problem(route, material, u, bcs, **options)
    problem.moved = bcs[1]
    return problem


@pytest.mark.mpi
@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("route", ROUTES)
def test_patch_of_distorted_cells_under_affine_rim_deforms_affinely(route, dim):
    V = fem.functionspace(distorted_box(WORLD, dim, 3), ("Lagrange", 1, (dim,)))
    H = np.array([[0.05, 0.1, 0.02], [-0.04, 0.02, 0.0], [0.03, 0.01, -0.05]])[:dim, :dim]
    u = fem.Function(V)
    make_problem(route, saint_venant_kirchhoff(dim), u, [clamped(V, lambda x: H @ x[:dim])], degree=1).solve()
    expected = V.tabulate_dof_coordinates()[:, :dim] @ H.T
    assert np.abs(u.x.array.reshape(-1, dim) - expected).max(initial=0.0) < 1e-13


@pytest.mark.parametrize("dim", [2, 3])
def test_rotating_the_body_leaves_it_free_of_stress(dim):
    angle = 0.7
    Q = np.eye(dim)
    Q[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    V = fem.functionspace(distorted_box(WORLD, dim, 2), ("Lagrange", 1, (dim,)))
    for route in ROUTES:
        u = fem.Function(V)
        u.interpolate(lambda x: (Q - np.eye(dim)) @ x[:dim])
        problem = make_problem(
            route, saint_venant_kirchhoff(dim), u, [clamped(V, lambda x: (Q - np.eye(dim)) @ x[:dim])]
        )
        problem.solve()
        assert problem.solver.getIterationNumber() <= 1
        assert abs(problem.reaction(clamped(V, lambda x: x[:dim]))) < 1e-13


def test_turning_load_and_body_turns_the_answer():
    material = two_variants(rho=0.05)
    angle = 0.4
    Q = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    H = np.array([[0.04, 0.06], [0.01, -0.03]])
    V = fem.functionspace(distorted_box(WORLD, 2, 4), ("Lagrange", 1, (2,)))

    def rim(x):
        return H @ x[:2] + 0.02 * np.sin(np.pi * x[1]) * np.array([[1.0], [0.5]])

    still, turned = fem.Function(V), fem.Function(V)
    make_problem("quadrature", material, still, [clamped(V, rim)]).solve()
    turned.interpolate(lambda x: (Q - np.eye(2)) @ x[:2])
    make_problem("quadrature", material, turned, [clamped(V, lambda x: Q @ (x[:2] + rim(x)) - x[:2])]).solve()
    X = V.tabulate_dof_coordinates()[:, :2]
    place = X + still.x.array.reshape(-1, 2)
    assert np.allclose(X + turned.x.array.reshape(-1, 2), place @ Q.T, atol=1e-11)


def test_newton_converges_quadratically_and_the_routes_agree():
    material = two_variants(rho=0.1)
    answers = []
    for route in ROUTES:
        problem = shear_and_stretch(WORLD, material, route)
        norms = []
        problem.solver.setMonitor(lambda snes, iteration, norm, norms=norms: norms.append(norm))
        answers.append(problem.solve().x.array.copy())
        clear = [norm for norm in norms if norm > 1e-12 * norms[0]]  # above rounding
        order = np.log(clear[-1] / clear[-2]) / np.log(clear[-2] / clear[-3])
        assert order > 1.7, norms
    assert np.abs(answers[1] - answers[0]).max() < 1e-12
    assert np.abs(answers[2] - answers[0]).max() < 1e-12


@pytest.mark.mpi
@pytest.mark.parametrize("route", ["energy", "quadrature"])
def test_any_number_of_ranks_gives_the_same_displacement_and_reaction(route):
    material = two_variants(rho=0.1)
    parallel = shear_and_stretch(WORLD, material, route)
    serial = shear_and_stretch(MPI.COMM_SELF, material, route)
    (x, u), (x_serial, u_serial) = collect(parallel.solve()), collect(serial.solve())
    assert np.allclose(x, x_serial)
    assert np.abs(u - u_serial).max() < 1e-11
    force, force_serial = parallel.reaction(parallel.moved), serial.reaction(serial.moved)
    assert abs(force - force_serial) < 1e-11 * abs(force_serial)


@pytest.mark.mpi
def test_a_rank_without_cells_takes_part():
    def partitioner(comm, parts, cell_types, cells):
        from dolfinx.graph import adjacencylist

        count = sum(len(c) // 3 for c in cells)
        return adjacencylist(np.zeros((count, 1), dtype=np.int32))._cpp_object

    domain = mesh.create_unit_square(WORLD, 3, 3, partitioner=partitioner)
    assert domain.topology.index_map(2).size_local == (18 if WORLD.rank == 0 else 0)
    V = fem.functionspace(domain, ("Lagrange", 1, (2,)))
    H = np.array([[0.05, 0.1], [0.0, -0.02]])
    for route in ("energy", "quadrature"):
        u = fem.Function(V)
        make_problem(route, two_variants(), u, [clamped(V, lambda x: H @ x[:2])]).solve()
        expected = V.tabulate_dof_coordinates()[:, :2] @ H.T
        assert np.abs(u.x.array.reshape(-1, 2) - expected).max(initial=0.0) < 1e-13


@pytest.mark.parametrize("degree", [1, 2])
def test_manufactured_solution_converges_at_the_order_of_the_element(degree):
    """L2 error h^(p+1) for a material of two modes, with the body force -Div P(u_exact) from UFL."""
    material = two_variants(rho=0.2)
    errors = []
    sizes = (8, 16, 32) if degree == 1 else (4, 8, 16)
    for n in sizes:
        domain = mesh.create_unit_square(WORLD, n, n)
        X = ufl.SpatialCoordinate(domain)
        exact = 0.05 * ufl.as_vector([ufl.sin(np.pi * X[0]) * X[1], ufl.cos(np.pi * X[1]) * X[0]])
        force = -ufl.div(stress(material, ufl.Identity(2) + ufl.grad(exact)))
        V = fem.functionspace(domain, ("Lagrange", degree, (2,)))
        u = fem.Function(V)
        rim = clamped(V, lambda x: 0.05 * np.vstack([np.sin(np.pi * x[0]) * x[1], np.cos(np.pi * x[1]) * x[0]]))
        make_problem(
            "quadrature",
            material,
            u,
            [rim],
            degree=2 * degree,
            load=lambda v, b=force: ufl.inner(b, v) * ufl.dx(degree=4),
        ).solve()
        error = fem.assemble_scalar(fem.form(ufl.inner(u - exact, u - exact) * ufl.dx(degree=6)))
        errors.append(np.sqrt(WORLD.allreduce(error)))
    rates = np.log2(np.array(errors[:-1]) / errors[1:])
    assert rates[-1] == pytest.approx(degree + 1, abs=0.15), errors


def test_uniaxial_stress_of_a_bar_matches_the_closed_form():
    """SmallStrain, plane strain: sides free, so sigma_22 = 0 and sigma_11 = 4 shear (lame + shear)/(lame + 2 shear) eps."""
    lame, shear, strain = 1.3, 0.8, 0.01
    material = saint_venant_kirchhoff(2, lame, shear, measure=lse.SmallStrain)
    domain = mesh.create_rectangle(WORLD, [[0.0, 0.0], [2.0, 0.5]], [6, 3])
    V = fem.functionspace(domain, ("Lagrange", 2, (2,)))
    ends = [
        fem.locate_dofs_geometrical((V.sub(0), V.sub(0).collapse()[0]), lambda x, a=a: np.isclose(x[0], a))
        for a in (0, 2)
    ]
    floor = fem.locate_dofs_geometrical((V.sub(1), V.sub(1).collapse()[0]), lambda x: np.isclose(x[1], 0))
    zero, move = (fem.Function(V.sub(0).collapse()[0]) for _ in range(2))
    move.x.array[:] = 2.0 * strain
    bcs = [
        fem.dirichletbc(zero, ends[0], V.sub(0)),
        fem.dirichletbc(move, ends[1], V.sub(0)),
        fem.dirichletbc(fem.Function(V.sub(1).collapse()[0]), floor, V.sub(1)),
    ]
    expected = 0.5 * 4 * shear * (lame + shear) / (lame + 2 * shear) * strain
    for route in ROUTES:
        problem = make_problem(route, material, fem.Function(V), bcs)
        problem.solve()
        assert problem.solver.getIterationNumber() == 1  # linear
        assert problem.reaction(bcs[1]) == pytest.approx(expected, rel=1e-12)


def test_two_materials_on_tagged_cells_act_as_a_series():
    """Bar of two halves, lateral motion held: sigma = M1 eps1 = M2 eps2 with M = lame + 2 shear; both routes."""
    soft, stiff = (saint_venant_kirchhoff(2, c, c, measure=lse.SmallStrain) for c in (1.0, 4.0))
    domain = mesh.create_unit_square(WORLD, 6, 2)
    cells = mesh.locate_entities(domain, 2, lambda x: x[0] <= 0.5 + 1e-9)
    owned = domain.topology.index_map(2).size_local + domain.topology.index_map(2).num_ghosts
    values = np.full(owned, 2, dtype=np.int32)
    values[cells] = 1
    tags = mesh.meshtags(domain, 2, np.arange(owned, dtype=np.int32), values)
    V = fem.functionspace(domain, ("Lagrange", 1, (2,)))
    u, v = fem.Function(V), ufl.TestFunction(V)
    F = ufl.Identity(2) + ufl.grad(u)
    side = fem.locate_dofs_geometrical(V, lambda x: np.isclose(x[0], 1))
    bcs = [
        fem.dirichletbc(np.zeros(2), fem.locate_dofs_geometrical(V, lambda x: np.isclose(x[0], 0)), V),
        fem.dirichletbc(np.array([0.01, 0.0]), side, V),
        fem.dirichletbc(
            fem.Function(V.sub(1).collapse()[0]),
            fem.locate_dofs_geometrical((V.sub(1), V.sub(1).collapse()[0]), lambda x: np.ones(x.shape[1], bool)),
            V.sub(1),
        ),
    ]
    exact = 0.01 / (0.5 / 3.0 + 0.5 / 12.0)
    dx = ufl.Measure("dx", domain, subdomain_data=tags, metadata={"quadrature_degree": 1})
    symbolic = ufl.derivative(energy(soft, F) * dx(1) + energy(stiff, F) * dx(2), u, v)
    stresses = [QuadratureStress(m, F, degree=1, tags=tags, tag=t) for m, t in ((soft, 1), (stiff, 2))]
    numeric = sum(ufl.inner(P.operator, ufl.grad(v)) * P.dx for P in stresses)
    for prefix, residual, used in (("two_a_", symbolic, []), ("two_b_", numeric, stresses)):
        u.x.array[:] = 0.0
        problem = MaterialProblem(residual, u, bcs=bcs, stresses=used, petsc_options_prefix=prefix)
        problem.solve()
        b = fem.assemble_vector(problem.F)
        b.scatter_reverse(la_add())
        force = b.array[2 * side[side < V.dofmap.index_map.size_local]].sum()
        assert force == pytest.approx(exact, rel=1e-10)


def la_add():
    from dolfinx.la import InsertMode

    return InsertMode.add


class Counting:
    """A user's own evaluator that counts what it is asked for."""

    def __init__(self, material):
        self.material, self.stresses, self.tangents = material, 0, 0

    def evaluate(self, F):
        self.stresses += 1
        return CountingValues(self, self.material.evaluate(F))


class CountingValues:
    def __init__(self, owner, values):
        self.owner, self.values, self.stress = owner, values, values.stress

    @cached_property
    def tangent(self):
        self.owner.tangents += 1
        return self.values.tangent


def test_trials_of_a_line_search_cost_a_stress_each_and_iterations_one_tangent_each():
    """A load that sends the line search back many times."""
    counting = Counting(two_variants(rho=0.02))
    problem = shear_and_stretch(WORLD, counting, "quadrature", amount=-0.3, snes_max_it=20)
    with pytest.raises(lse.ConvergenceError, match="MAX_IT"):
        problem.solve()
    residuals, iterations = problem.solver.getFunctionEvaluations(), problem.solver.getIterationNumber()
    assert residuals > 3 * iterations
    assert residuals <= counting.stresses <= residuals + 2  # the start, and what the message of the failure looks at
    assert iterations <= counting.tangents <= iterations + 1
    assert problem.stresses[0].tangent_evaluations == counting.tangents


def test_without_a_line_search_one_evaluation_serves_residual_and_jacobian():
    counting = Counting(two_variants())
    problem = shear_and_stretch(WORLD, counting, "quadrature", snes_linesearch_type="basic")
    problem.solve()
    iterates = problem.solver.getIterationNumber() + 1  # the first and the last among them
    assert counting.tangents <= counting.stresses == iterates


def test_extra_terms_of_the_users_own_enter_residual_and_jacobian():
    """Springs k on the right side and a traction t: uniform stretch with M eps + k eps L = t in a laterally held strip."""
    lame = shear = 1.0
    spring, pull = 2.5, 0.03
    material = saint_venant_kirchhoff(2, lame, shear, measure=lse.SmallStrain)
    domain = mesh.create_unit_square(WORLD, 4, 2)
    V = fem.functionspace(domain, ("Lagrange", 1, (2,)))
    facets = mesh.locate_entities_boundary(domain, 1, lambda x: np.isclose(x[0], 1))
    ds = ufl.Measure(
        "ds", domain, subdomain_data=mesh.meshtags(domain, 1, np.sort(facets), np.ones(len(facets), dtype=np.int32))
    )
    u = fem.Function(V)
    bcs = [
        fem.dirichletbc(np.zeros(2), fem.locate_dofs_geometrical(V, lambda x: np.isclose(x[0], 0)), V),
        fem.dirichletbc(
            fem.Function(V.sub(1).collapse()[0]),
            fem.locate_dofs_geometrical((V.sub(1), V.sub(1).collapse()[0]), lambda x: np.ones(x.shape[1], bool)),
            V.sub(1),
        ),
    ]
    problem = make_problem("quadrature", material, u, bcs, load=lambda v: (pull - spring * u[0]) * v[0] * ds(1))
    problem.solve()
    assert problem.solver.getIterationNumber() == 1  # the springs are in the Jacobian too
    assert np.abs(u.x.array).max() == pytest.approx(pull / (lame + 2 * shear + spring), rel=1e-12)


def test_failure_raises_with_the_reason_and_leaves_the_displacement_as_it_was():
    problem = shear_and_stretch(WORLD, two_variants(rho=0.05), "energy", snes_max_it=1)
    problem.u.x.array[:] = 0.01
    with pytest.raises(lse.ConvergenceError, match=r"MAX_IT.*smaller load steps") as error:
        problem.solve()
    assert error.value.reason == problem.solver.getConvergedReason() < 0
    assert error.value.iterations == 1
    assert (problem.u.x.array == 0.01).all()


@pytest.mark.mpi
def test_an_evaluator_that_fails_on_one_rank_stops_every_rank_with_its_message():
    last = WORLD.size - 1

    broken = True

    class Unreliable:
        def evaluate(self, F):
            if broken and WORLD.rank == last:
                raise RuntimeError("the laboratory is closed")
            return two_variants().evaluate(F)

    problem = shear_and_stretch(WORLD, Unreliable(), "quadrature")
    with pytest.raises(lse.ConvergenceError, match=f"rank {last}.*the laboratory is closed"):
        problem.solve()
    broken = False  # and when it is open again, nothing of the failure is left
    problem.solve()
    sound = shear_and_stretch(WORLD, two_variants(), "quadrature")
    sound.solve()
    assert np.abs(collect(problem.u)[1] - collect(sound.u)[1]).max() < 1e-12  # two meshes, parted as they fall


def test_a_problem_is_destroyed_when_its_last_name_goes_and_not_by_the_garbage_collector():
    """Its destruction is collective: left to the collector, it happens at other times on other ranks, and they hang."""
    gc.disable()
    try:
        for route in ROUTES:
            problem = shear_and_stretch(WORLD, two_variants(), route)
            problem.solve()
            gone = [weakref.ref(problem), *map(weakref.ref, problem.stresses)]
            del problem
            assert [each() for each in gone] == [None] * len(gone)
    finally:
        gc.enable()


@pytest.mark.mpi
def test_a_problem_that_lives_longer_on_one_rank_holds_nobody_up_and_is_destroyed_when_all_have_dropped_it(capfd):
    """As where an exception is kept on one rank, with the frames below it. The second problem is on another mesh."""
    gc.collect()
    first = shear_and_stretch(WORLD, two_variants(), "energy")
    first.solve()
    kept = first if WORLD.rank == 0 else None
    communicators = WORLD, first.comm
    del first
    WORLD.barrier()
    second = shear_and_stretch(WORLD, two_variants(), "energy")
    second.solve()
    if kept is not None:
        assert kept.A.handle != 0
        assert kept.solver.getConvergedReason() > 0
    del kept
    WORLD.barrier()
    assert (filed(communicators, capfd) > 0) == (WORLD.size > 1)
    third = shear_and_stretch(WORLD, two_variants(), "energy")
    assert filed(communicators, capfd) == 0
    assert third.A.handle != 0


def filed(communicators, capfd):
    """How many objects of PETSc the ranks have dropped that are not destroyed yet."""
    capfd.readouterr()
    for comm in communicators:
        PETSc.garbage_view(comm)
    entries = re.findall(r"Total entries: (\d+)", capfd.readouterr().out)
    return WORLD.allreduce(sum(map(int, entries)))


@pytest.mark.mpi
def test_many_solves_and_many_problems_leave_nothing_behind(capfd):
    gc.collect()
    problem = shear_and_stretch(WORLD, two_variants(), "quadrature")
    communicators = WORLD, problem.comm
    for step in range(6):
        problem.u.x.array[:] = 0.01 * step
        problem.solve()
        other = shear_and_stretch(WORLD, two_variants(), "energy", n=2)
        other.solve()
    del other
    problem.solve()
    assert filed(communicators, capfd) == 0


def test_an_element_turned_inside_out_is_reported_as_such():
    material = lse.Material(two_variants().potential, lse.GreenLagrange(2), lse.Growth(1.0))
    for route in ("energy", "quadrature"):
        problem = shear_and_stretch(WORLD, material, route, amount=-1.5, snes_linesearch_type="basic")
        with pytest.raises(lse.ConvergenceError, match="turned inside out"):
            problem.solve()


def test_a_guess_that_is_not_a_number_is_named_for_what_it_is():
    problem = shear_and_stretch(WORLD, two_variants(), "energy")
    minimum = lse.fem.EnergyProblem(
        energy(two_variants(), ufl.Identity(2) + ufl.grad(problem.u)) * ufl.dx(degree=1),
        problem.u,
        bcs=problem.bcs,
        petsc_options_prefix="not_a_number_",
    )
    problem.u.x.array[:] = np.nan
    for one in (problem, minimum):
        with pytest.raises(lse.ConvergenceError, match="holds NaN"):
            one.solve()


def test_a_preconditioner_that_is_no_factor_leaves_out_the_options_of_factors():
    exact = shear_and_stretch(WORLD, two_variants(), "energy")
    exact.solve()
    iterative = shear_and_stretch(WORLD, two_variants(), "energy", ksp_type="gmres", pc_type="ilu", ksp_rtol=1e-10)
    iterative.solve()
    assert np.abs(iterative.u.x.array - exact.u.x.array).max() < 1e-8 * np.abs(exact.u.x.array).max()


def test_misuse_is_refused_with_the_remedy():
    material = two_variants()
    V = fem.functionspace(mesh.create_unit_square(WORLD, 2, 2), ("Lagrange", 1, (2,)))
    u, v = fem.Function(V), ufl.TestFunction(V)
    F = ufl.Identity(2) + ufl.grad(u)
    P = QuadratureStress(material, F, degree=2)
    form = ufl.inner(P.operator, ufl.grad(v)) * P.dx
    with pytest.raises(lse.InvalidInputError, match="stresses="):
        MaterialProblem(form, u, petsc_options_prefix="a_")
    with pytest.raises(lse.InvalidInputError, match=r"its own measure"):
        MaterialProblem(
            ufl.inner(P.operator, ufl.grad(v)) * ufl.dx(degree=4), u, stresses=[P], petsc_options_prefix="b_"
        )
    with pytest.raises(lse.InvalidInputError, match="at least 1"):
        QuadratureStress(material, F, degree=0)
    with pytest.raises(lse.InvalidInputError, match=r"needs \(3, 3\)"):
        QuadratureStress(saint_venant_kirchhoff(3), F, degree=1)
    with pytest.raises(lse.InvalidInputError, match="F is the same number everywhere"):
        QuadratureStress(material, ufl.Identity(2), degree=1)
    with pytest.raises(lse.InvalidInputError, match="both tags and tag"):
        QuadratureStress(material, F, degree=1, tag=3)
    for translate in (energy, stress):
        with pytest.raises(lse.InvalidInputError, match=r"UFL shape \(2, 2\)"):
            translate(saint_venant_kirchhoff(3), F)


def test_random_material_solves_alike_by_both_routes_in_3d():
    material = mild_material(np.random.default_rng(3), lse.IsotropicInvariants(3), growth=lse.Growth(20.0))
    answers = [
        shear_and_stretch(WORLD, material, route, n=2, amount=0.05).solve().x.array
        for route in ("stress", "quadrature")
    ]
    assert np.abs(answers[0]).max() > 0.04
    assert np.abs(answers[0] - answers[1]).max() < 1e-12


def stretched_square(**options):
    """A unit square between grips that move by 10 %, and its problem's arguments."""
    V = fem.functionspace(mesh.create_unit_square(MPI.COMM_SELF, 3, 3), ("Lagrange", 1, (2,)))
    u = fem.Function(V)
    bcs = grips(V)
    W = energy(saint_venant_kirchhoff(2), ufl.Identity(2) + ufl.grad(u)) * ufl.dx(degree=2)
    return W, u, {"bcs": bcs, "petsc_options_prefix": "stranger_", "petsc_options": options}


def grips(V):
    sides = [fem.locate_dofs_geometrical(V, lambda x, s=s: np.isclose(x[0], s)) for s in (0.0, 1.0)]
    return [fem.dirichletbc(np.array([0.1 * i, 0.0]), dofs, V) for i, dofs in enumerate(sides)]


@pytest.mark.parametrize("kind", ["energy", "residual"])
def test_an_option_that_petsc_does_not_read_is_named_once(kind):
    W, u, arguments = stretched_square(snes_maxit=5, snes_max_it=40)
    if kind == "energy":
        problem = EnergyProblem(W, u, **arguments)
    else:
        problem = MaterialProblem(ufl.derivative(W, u), u, **arguments)
    with pytest.warns(OptionWarning, match=r"\['snes_maxit'\]"):
        problem.solve()
    u.x.array[:] = 0.0
    problem.solve()  # without a warning, which would be an error here


def test_a_condition_on_another_space_is_refused():
    """It would have no effect: u and the space of the condition have the same numbers of degrees of freedom only."""
    W, u, arguments = stretched_square()
    other = fem.functionspace(u.function_space.mesh, ("Lagrange", 1, (2,)))
    arguments["bcs"] = [arguments["bcs"][0], grips(other)[1]]
    with pytest.raises(lse.InvalidInputError, match=r"bcs\[1\] is a condition on another function space"):
        MaterialProblem(ufl.derivative(W, u), u, **arguments)
    with pytest.raises(lse.InvalidInputError, match=r"bcs\[1\]"):
        EnergyProblem(W, u, **arguments)


@pytest.mark.parametrize("solver", ["ksponly", "ksptransposeonly"])
def test_one_linear_solve_of_a_problem_that_is_not_linear_is_no_solution(solver):
    W, u, arguments = stretched_square(snes_type=solver)
    with pytest.raises(lse.ConvergenceError, match="one linear problem"):
        MaterialProblem(ufl.derivative(W, u), u, **arguments).solve()
    problem = EnergyProblem(W, u, **arguments)
    problem.solve()  # and goes on to the minimum
    found = problem.energy()
    u.x.array[:] = 0.0
    EnergyProblem(W, u, **{**arguments, "petsc_options": {}}).solve()
    assert found == pytest.approx(problem.energy(), rel=1e-12)


def test_bounds_on_u_are_kept_by_a_material_problem_and_refused_by_an_energy_problem():
    W, u, arguments = stretched_square(snes_type="vinewtonrsls")
    arguments["bcs"] = arguments["bcs"][:1]
    W += 0.05 * u[1] * ufl.dx  # the free end sinks
    with pytest.raises(lse.InvalidInputError, match="bounds"):
        EnergyProblem(W, u, **arguments)
    problem = MaterialProblem(ufl.derivative(W, u), u, **arguments)
    lower, upper = fem.Function(u.function_space), fem.Function(u.function_space)
    lower.x.array[:], upper.x.array[:] = -1e20, 1e20
    lower.x.array[1::2] = -0.02
    problem.solver.setVariableBounds(lower.x.petsc_vec, upper.x.petsc_vec)
    problem.solve()
    forces = fem.assemble_vector(problem.F).array
    touching = np.isclose(u.x.array, lower.x.array, atol=1e-12)
    free = ~touching
    free[arguments["bcs"][0].dof_indices()[0]] = False
    assert touching.any()
    assert (u.x.array >= lower.x.array - 1e-12).all()
    assert np.abs(forces[free]).max() < 1e-9
    assert (forces[touching] > 0.0).all()
