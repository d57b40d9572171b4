"""Failures are told for what they are, and solvers of every kind work or are refused with the remedy."""

import itertools

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI
from petsc4py import PETSc

import lse_material as lse
from lse_material.fem import MaterialProblem, QuadratureStress, energy
from tests.materials import saint_venant_kirchhoff

WORLD = MPI.COMM_WORLD
NUMBER = itertools.count()


def problem_of(domain, hold=lambda x: np.isclose(x[0], 0.0), *, tags=None, springs=0.0, prefix=None, **options):
    """A body of Saint Venant-Kirchhoff material under its weight."""
    dim = domain.geometry.dim
    V = fem.functionspace(domain, ("Lagrange", 1, (dim,)))
    u, v = fem.Function(V), ufl.TestFunction(V)
    P = QuadratureStress(
        saint_venant_kirchhoff(dim, 0.9, 0.6),
        ufl.Identity(dim) + ufl.grad(u),
        degree=1,
        tags=tags,
        tag=None if tags is None else 1,
    )
    weight = ufl.as_vector([0.02, -0.05, 0.01][:dim])
    residual = ufl.inner(P.operator, ufl.grad(v)) * P.dx - ufl.inner(weight - springs * u, v) * ufl.dx
    bcs = [] if hold is None else [fem.dirichletbc(np.zeros(dim), fem.locate_dofs_geometrical(V, hold), V)]
    prefix = f"advice_{next(NUMBER)}_" if prefix is None else prefix
    return MaterialProblem(residual, u, bcs=bcs, stresses=[P], petsc_options_prefix=prefix, petsc_options=options)


def square(n=6, comm=WORLD):
    return mesh.create_rectangle(comm, [[0.0, 0.0], [1.2, 1.0]], [n, n])


def cut(domain, low, high):
    """The mesh without the cells between two vertical lines."""
    cells = [mesh.locate_entities(domain, 2, side) for side in (lambda x: x[0] <= low, lambda x: x[0] >= high)]
    owned = domain.topology.index_map(2).size_local
    cells = np.unique(np.concatenate(cells))
    return mesh.create_submesh(domain, 2, cells[cells < owned].astype(np.int32))[0]


@pytest.mark.mpi
def test_a_part_that_nothing_holds_is_named_with_its_place():
    domain = cut(square(), 0.41, 0.79)
    problem = problem_of(domain)
    with pytest.raises(
        lse.ConvergenceError, match=r"a part of the body \(50 % of its nodes\) around x = \[1\.0, 0\.5\] can move"
    ):
        problem.solve()
    assert (problem.u.x.array == 0.0).all()
    sprung = problem_of(domain, springs=2.0)
    sprung.solve()
    assert WORLD.allreduce(np.abs(sprung.u.x.array).max(initial=0.0), MPI.MAX) > 0.01


@pytest.mark.mpi
def test_a_body_without_support_or_with_one_pin_can_move():
    with pytest.raises(
        lse.ConvergenceError, match=r"the body around .* can move rigidly.*no Dirichlet condition fixes it"
    ):
        problem_of(square(), None).solve()
    pinned = problem_of(square(), lambda x: np.isclose(x[0], 0.6) & np.isclose(x[1], 0.5))
    with pytest.raises(lse.ConvergenceError, match=r"can move rigidly"):
        pinned.solve()
    hinge = problem_of(mesh.create_unit_cube(WORLD, 2, 2, 2), lambda x: np.isclose(x[0], 0.5) & np.isclose(x[1], 0.5))
    with pytest.raises(lse.ConvergenceError, match=r"can move rigidly"):
        hinge.solve()


@pytest.mark.mpi
def test_rows_without_stiffness_are_named_with_a_place():
    domain = square()
    cells = mesh.locate_entities(domain, 2, lambda x: x[0] <= 0.61).astype(np.int32)
    tags = mesh.meshtags(domain, 2, cells, np.ones(len(cells), dtype=np.int32))
    with pytest.raises(lse.ConvergenceError, match=r"42 free rows that are zero .* \(check tags\)"):
        problem_of(domain, tags=tags).solve()


def test_a_slack_membrane_is_told_as_such_and_a_prestretched_one_is_solved():
    V = fem.functionspace(square(), ("Lagrange", 1, (3,)))
    u, v = fem.Function(V), ufl.TestFunction(V)
    g = ufl.grad(u)
    F = ufl.as_matrix([[1 + g[0, 0], g[0, 1]], [g[1, 0], 1 + g[1, 1]], [g[2, 0], g[2, 1]]])
    E = (F.T * F - ufl.Identity(2)) / 2
    W = (ufl.tr(E) ** 2 / 2 + ufl.inner(E, E) - 0.01 * u[2]) * ufl.dx(degree=2)
    V.mesh.topology.create_connectivity(1, 2)
    rim = fem.locate_dofs_topological(V, 1, mesh.exterior_facet_indices(V.mesh.topology))
    stretched = fem.Function(V)
    problem = MaterialProblem(
        ufl.derivative(W, u, v), u, bcs=[fem.dirichletbc(stretched, rim)], petsc_options_prefix="membrane_"
    )
    with pytest.raises(lse.ConvergenceError, match=r"25 free rows that are zero .*slack membrane.*prestretched"):
        problem.solve()
    for f in (stretched, u):
        f.interpolate(lambda x: 0.05 * np.vstack([x[0], x[1], 0 * x[0]]))
    problem.solve()
    assert u.x.array.reshape(-1, 3)[:, 2].max() > 1e-3


def test_a_saddle_that_a_factorisation_cannot_take_is_told_from_a_body_that_is_loose():
    domain = square(4, MPI.COMM_SELF)
    V, Q = fem.functionspace(domain, ("Lagrange", 2, (2,))), fem.functionspace(domain, ("Lagrange", 1))
    u, p = fem.Function(V), fem.Function(Q)
    v, q = ufl.TestFunction(V), ufl.TestFunction(Q)
    F = ufl.Identity(2) + ufl.grad(u)
    residual = [
        (ufl.inner(F - ufl.inv(F).T + p * ufl.cofac(F), ufl.grad(v)) - 0.03 * v[1]) * ufl.dx(degree=4),
        q * (ufl.det(F) - 1) * ufl.dx(degree=4),
    ]
    left = fem.dirichletbc(np.zeros(2), fem.locate_dofs_geometrical(V, lambda x: np.isclose(x[0], 0.0)), V)
    for package, solves in (("mumps", True), ("petsc", False)):
        problem = MaterialProblem(
            residual,
            [u, p],
            bcs=[left],
            kind="mpi",
            petsc_options_prefix=f"saddle_{package}_",
            petsc_options={"pc_factor_mat_solver_type": package},
        )
        u.x.array[:], p.x.array[:] = 0.0, 0.25
        if solves:
            problem.solve()
            assert problem.reaction(left) != 0.0
        else:
            with pytest.raises(
                lse.ConvergenceError, match=r"needs an entry in every place of the diagonal.*pressure.*mumps"
            ):
                problem.solve()
            assert (p.x.array == 0.25).all()
            assert (u.x.array == 0.0).all()


def test_what_the_linear_solver_says_is_passed_on():
    with pytest.raises(lse.ConvergenceError, match="MAX_IT: it ran out of iterations: raise ksp_max_it"):
        problem_of(square(), ksp_type="cg", pc_type="none", ksp_max_it=3).solve()


def test_out_of_iterations_says_whether_the_residual_was_falling():
    with pytest.raises(
        lse.ConvergenceError, match=r"snes_max_it = 3\) while the residual was falling: raise snes_max_it"
    ):
        problem_of(square(), snes_max_it=3, snes_rtol=1e-14).solve()


def test_a_start_that_is_not_finite_is_told_from_a_step():
    problem = problem_of(square())
    problem.u.x.array[:] = np.nan
    with pytest.raises(lse.ConvergenceError, match="at the start, an element of the initial guess"):
        problem.solve()


@pytest.mark.mpi
@pytest.mark.parametrize("kind", ["qn", "anderson", "ncg", "newtontr", "ms"])
def test_solvers_with_and_without_a_jacobian_find_the_same_state(kind):
    domain = square(3)  # one mesh: made twice, it may be shared among ranks in another way
    expected = problem_of(domain)
    expected.solve()
    problem = problem_of(domain, snes_type=kind, snes_max_it=2000)
    problem.solve()
    size = WORLD.allreduce(np.abs(expected.u.x.array).max(initial=0.0), MPI.MAX)
    assert np.abs(problem.u.x.array - expected.u.x.array).max(initial=0.0) < 1e-7 * size


def test_solvers_that_cannot_work_are_refused_with_the_remedy():
    with pytest.raises(
        lse.InvalidInputError, match=r"snes_type fas needs what a problem on one mesh does not have.*newtonls"
    ):
        problem_of(square(), snes_type="fas")
    with pytest.raises(lse.InvalidInputError, match=r"line search bt needs the Jacobian.*cp, or leave it out"):
        problem_of(square(), snes_type="qn", snes_linesearch_type="bt")


def test_one_linear_solve_is_enough_for_a_linear_problem_only():
    with pytest.raises(lse.ConvergenceError, match=r"ksponly solved one linear problem.*not linear"):
        problem_of(square(), snes_type="ksponly").solve()
    V = fem.functionspace(square(), ("Lagrange", 1, (2,)))
    u, v = fem.Function(V), ufl.TestFunction(V)
    material = saint_venant_kirchhoff(2, measure=lse.SmallStrain)
    W = energy(material, ufl.Identity(2) + ufl.grad(u)) * ufl.dx(degree=1) - 0.1 * u[1] * ufl.dx
    left = fem.dirichletbc(np.zeros(2), fem.locate_dofs_geometrical(V, lambda x: np.isclose(x[0], 0.0)), V)
    linear = MaterialProblem(
        ufl.derivative(W, u, v), u, bcs=[left], petsc_options_prefix="linear_", petsc_options={"snes_type": "ksponly"}
    )
    linear.solve()
    once = u.x.array.copy()
    u.x.array[:] = 0.0
    MaterialProblem(ufl.derivative(W, u, v), u, bcs=[left], petsc_options_prefix="newton_").solve()
    assert np.abs(once - u.x.array).max() < 1e-12 * np.abs(once).max()


def test_an_option_that_petsc_refuses_takes_no_later_options_away():
    for wrong in ({"snes_type": "newtonsl"}, {"pc_type": "ul"}):
        with pytest.raises(lse.InvalidInputError, match="PETSc refused"):
            problem_of(square(), **wrong)
    later = problem_of(square(), snes_rtol=3e-7)
    assert later.solver.getTolerances()[0] == 3e-7
    assert later.solver.getKSP().getPC().getType() == "lu"
    assert not [name for name in PETSc.Options().getAll() if "newtonsl" in PETSc.Options().getAll()[name]]


def test_a_prefix_used_again_starts_from_the_defaults():
    problem_of(square(2), prefix="same_", snes_atol=0.5, snes_max_it=1)
    again = problem_of(square(2), prefix="same_")
    assert again.solver.getTolerances()[1] < 1e-40
    again.solve()
    assert again.solver.getIterationNumber() > 2


def test_an_energy_that_leaves_cells_out_is_told_so_wherever_petsc_stops():
    """Rows without any entry end PETSc's change of a diagonal with an error of its own."""
    domain = square(3, MPI.COMM_SELF)
    cells = mesh.locate_entities(domain, 2, lambda x: x[0] <= 0.67).astype(np.int32)
    tags = mesh.meshtags(domain, 2, cells, np.ones(len(cells), dtype=np.int32))
    V = fem.functionspace(domain, ("Lagrange", 1, (2,)))
    u = fem.Function(V)
    W = lse.fem.energy(saint_venant_kirchhoff(2), ufl.Identity(2) + ufl.grad(u))
    W = W * ufl.dx(1, degree=1, subdomain_data=tags, domain=domain)
    left = fem.locate_dofs_geometrical(V, lambda x: np.isclose(x[0], 0.0))
    problem = lse.fem.EnergyProblem(
        W - 0.01 * u[1] * ufl.ds, u, bcs=[fem.dirichletbc(np.zeros(2), left, V)], petsc_options_prefix="left_out_"
    )
    with pytest.raises(lse.ConvergenceError, match=r"16 free rows that are zero .* \(check tags\)"):
        problem.solve()
