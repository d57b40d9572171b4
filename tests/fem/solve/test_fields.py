"""What counts as no residual: proportional to the forces of the problem, field by field, on any number of ranks."""

import basix.ufl
import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from dolfinx.fem.petsc import NonlinearProblem, assign
from dolfinx.la import InsertMode
from mpi4py import MPI

from lse_material.fem.solve.fields import ROUNDING, Fields, node_sizes

WORLD = MPI.COMM_WORLD


def saddle(kind, side=1.0, modulus=1.0, comm=WORLD):
    """Displacement and pressure of a neo-Hookean square at rest: the assembled problem, its unknowns and its conditions."""
    domain = mesh.create_rectangle(comm, [[0.0, 0.0], [side, side]], [3, 4])
    spaces = fem.functionspace(domain, ("Lagrange", 2, (2,))), fem.functionspace(domain, ("Lagrange", 1))
    if kind is None:
        cell = domain.basix_cell()
        parts = basix.ufl.element("Lagrange", cell, 2, shape=(2,)), basix.ufl.element("Lagrange", cell, 1)
        both = fem.functionspace(domain, basix.ufl.mixed_element(parts))
        unknown = fem.Function(both)
        (u, p), (v, q) = ufl.split(unknown), ufl.TestFunctions(both)
        clamped = both.sub(0), spaces[0]
    else:
        unknown = u, p = [fem.Function(V) for V in spaces]
        v, q = (ufl.TestFunction(V) for V in spaces)
        clamped = spaces[0]
    F = ufl.Identity(2) + ufl.grad(u)
    forms = [
        ufl.inner(modulus * (F - ufl.inv(F).T) + p * ufl.cofac(F), ufl.grad(v)) * ufl.dx(degree=4),
        q * (ufl.det(F) - 1 - p / (50 * modulus)) * ufl.dx(degree=4),
    ]
    left = fem.locate_dofs_geometrical(clamped, lambda x: np.isclose(x[0], 0))
    bcs = [
        fem.dirichletbc(fem.Function(spaces[0]), left, both.sub(0))
        if kind is None
        else fem.dirichletbc(np.zeros(2), left, spaces[0])
    ]
    name = f"saddle_{kind}_{side}_{modulus}_"
    residual = sum(forms[1:], forms[0]) if kind is None else forms
    problem = NonlinearProblem(residual, unknown, bcs=bcs, kind=kind, petsc_options_prefix=name)
    assign(unknown, problem.x)
    problem.solver.computeJacobian(problem.x, problem.A)
    problem.solver.computeFunction(problem.x, problem.b)
    return problem, Fields(unknown, bcs)


@pytest.mark.mpi
@pytest.mark.parametrize("kind", [None, "mpi", "nest"])
def test_each_field_has_a_scale_of_its_own_unit_whatever_the_layout_and_the_ranks(kind):
    problem, rounding = saddle(kind)
    alone, serial = saddle("mpi", comm=MPI.COMM_SELF)
    assert len(rounding) == 2
    assert np.allclose(rounding.rounding(problem.A), serial.rounding(alone.A), rtol=1e-12)
    in_millimetres, small = saddle(kind, side=1e3, modulus=1e-6)  # newton and metre, newton and millimetre
    ratio = small.rounding(in_millimetres.A) / rounding.rounding(problem.A)
    assert np.allclose(ratio, [1e-3, 1e6], rtol=1e-12)  # 2D: forces per length, areas


def test_the_scale_is_that_of_a_strain_of_rounding():
    """A residual of that strain is as large as what is allowed; one a hundred times larger is not."""
    problem, rounding = saddle("mpi", side=3.0, modulus=7.0)
    allowed = rounding.rounding(problem.A)
    u = problem.u[0]
    for strain, counts in ((0.1 * ROUNDING, True), (100 * ROUNDING, False)):
        X = u.function_space.tabulate_dof_coordinates()[:, :2]
        u.x.array.reshape(-1, 2)[:] = strain * X[:, ::-1] * X[:, :1]
        assign(problem.u, problem.x)
        problem.solver.computeFunction(problem.x, problem.b)
        assert (rounding.norms(problem.b) <= allowed)[0] == counts


@pytest.mark.mpi
def test_a_field_that_is_no_displacement_is_compared_with_its_largest_value_so_far():
    V = fem.functionspace(mesh.create_unit_square(WORLD, 2, 2), ("Lagrange", 1))
    T, q = fem.Function(V), ufl.TestFunction(V)
    problem = NonlinearProblem(ufl.inner(T, q) * ufl.dx, T, petsc_options_prefix="temperature_")
    problem.solver.computeJacobian(problem.x, problem.A)
    rounding = Fields(T)
    assert rounding.rounding(problem.A)[0] == 0.0
    T.x.array[:] = -300.0
    rounding.note()
    T.x.array[:] = 0.0
    ones = fem.assemble_vector(fem.form(q * ufl.dx))  # the mass matrix has positive entries: |A| 300 = 300 int q
    ones.scatter_reverse(InsertMode.add)
    owned = V.dofmap.index_map.size_local
    norm = np.sqrt(WORLD.allreduce((ones.array[:owned] ** 2).sum()))
    assert rounding.rounding(problem.A)[0] == pytest.approx(300.0 * ROUNDING * norm, rel=1e-12)


@pytest.mark.mpi
def test_the_size_at_a_node_is_the_mean_over_its_cells_on_any_number_of_ranks():
    def sizes(comm):
        domain = mesh.create_rectangle(comm, [[0.0, 0.0], [3.0, 1.0]], [3, 2], mesh.CellType.quadrilateral)
        domain.geometry.x[:, 0] **= 2
        V = fem.functionspace(domain, ("Lagrange", 1))
        x = V.tabulate_dof_coordinates()[: V.dofmap.index_map.size_local]
        parts = comm.allgather((x, node_sizes(V)))
        x, h = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
        return h[np.lexsort(x.round(9).T)]

    expected = np.hypot([1.0, (1 + 3) / 2, (3 + 5) / 2, 5.0], 0.5)  # about: the mean of diagonals, not of sides
    found = sizes(WORLD)
    assert np.allclose(found, sizes(MPI.COMM_SELF), rtol=1e-13)
    assert np.allclose(found.reshape(3, 4), expected, rtol=0.03)
