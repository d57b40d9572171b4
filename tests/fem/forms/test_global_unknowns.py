"""One number for the whole body: where it stands, what it prescribes, and what is refused."""

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

import lse_material as lse
from lse_material.fem import EnergyProblem, global_constraint, with_global_unknowns
from tests.fem.problems import mixed, total
from tests.materials import saint_venant_kirchhoff

WORLD = MPI.COMM_WORLD


def square(n=4):
    return mesh.create_unit_square(WORLD, n, n)


@pytest.mark.mpi
@pytest.mark.parametrize("several", [False, True])
def test_each_number_is_one_unknown_that_all_ranks_see(several):
    domain = square()
    V = mixed(domain, (2, (2,)), 1).function_space if several else fem.functionspace(domain, ("Lagrange", 1, (2,)))
    space = with_global_unknowns(V, 2)
    map_ = space.dofmap.index_map
    assert map_.size_global == V.dofmap.index_map.size_global * V.dofmap.index_map_bs + 2
    state = fem.Function(space)
    parts = space.num_sub_spaces
    state.sub(0).interpolate(lambda x: (x[0], x[0] * x[1]))
    for i, value in ((parts - 2, 3.0), (parts - 1, -5.0)):
        number, places = space.sub(i).collapse()
        assert number.dofmap.index_map.size_global == 1
        state.x.array[places] = value if WORLD.rank == 0 else 0.0
    state.x.scatter_forward()
    assert [float(state.sub(i).collapse().x.array[0]) for i in (parts - 2, parts - 1)] == [3.0, -5.0]
    u, *_, p, q = ufl.split(state)
    assert total((u[0] + p + 10.0 * q) * ufl.dx(domain)) == pytest.approx(0.5 + 3.0 - 50.0)
    assert total(u[1] * ufl.dx(domain)) == pytest.approx(0.25, rel=0.1)


@pytest.mark.mpi
def test_a_body_that_its_mean_motion_fixes_has_the_state_of_one_that_is_clamped():
    """Pulled by dead loads at both sides: the constraints take no force, and stresses do not know them."""
    material, domain = saint_venant_kirchhoff(2, 0.7, 0.4), square()
    x = ufl.SpatialCoordinate(domain)
    pull = 0.05 * ufl.sign(x[0] - 0.5) * ufl.conditional(ufl.gt(abs(x[0] - 0.5), 0.499), 1.0, 0.0)
    energies = []
    for fixed in (True, False):
        V = fem.functionspace(domain, ("Lagrange", 1, (2,)))
        state = fem.Function(V if fixed else with_global_unknowns(V, 3))
        u, *forces = (state,) if fixed else ufl.split(state)
        Pi = lse.fem.energy(material, ufl.Identity(2) + ufl.grad(u)) * ufl.dx(degree=1) - pull * u[0] * ufl.ds(degree=1)
        bcs = []
        if fixed:
            corner = fem.locate_dofs_geometrical(V, lambda x: np.isclose(x[0], 0.0) & np.isclose(x[1], 0.0))
            space = V.sub(1).collapse()[0]
            below = fem.locate_dofs_geometrical(
                (V.sub(1), space), lambda x: np.isclose(x[1], 0.0) & np.isclose(x[0], 1.0)
            )
            bcs = [fem.dirichletbc(np.zeros(2), corner, V), fem.dirichletbc(fem.Function(space), below, V.sub(1))]
        else:
            for force, motion in zip(forces, (u[0], u[1], x[0] * u[1] - x[1] * u[0])):
                Pi += global_constraint(force, motion * ufl.dx, 0.0)
        problem = EnergyProblem(Pi, state, bcs=bcs, petsc_options_prefix=f"fixed_{fixed}_")
        problem.solve()
        assert lse.fem.stability.is_stable(problem)
        energies.append(problem.energy())
    assert energies[0] < -1e-4
    assert energies[1] == pytest.approx(energies[0], rel=1e-9)
    assert problem.multipliers == 3
    assert np.abs([state.sub(i).collapse().x.array[0] for i in (1, 2, 3)]).max() < 1e-12


def test_what_is_no_global_unknown_or_no_functional_is_refused():
    domain = square(2)
    V = fem.functionspace(domain, ("Lagrange", 1, (2,)))
    state = fem.Function(with_global_unknowns(V))
    u, p = ufl.split(state)
    field = mixed(domain, (1, (2,)), 1)
    for number in (ufl.split(field)[1], u[0], u, ufl.as_ufl(1.0), 2.0 * p):
        with pytest.raises(lse.InvalidInputError, match="no global unknown"):
            global_constraint(number, u[0] * ufl.dx, 0.0)
    for functional in (ufl.derivative(u[0] * ufl.dx, state), u[0], ufl.Form([])):
        with pytest.raises(lse.InvalidInputError, match="UFL form without test function"):
            global_constraint(p, functional, 0.0)
    tags = mesh.meshtags(domain, 1, np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int32))
    with pytest.raises(lse.InvalidInputError, match="integrates over nothing"):
        global_constraint(p, u[0] * ufl.Measure("ds", domain, subdomain_data=tags)(1), 0.0)
    with pytest.raises(lse.InvalidInputError, match="count is 0"):
        with_global_unknowns(V, 0)
    with pytest.raises(lse.InvalidInputError, match="sub-space"):
        with_global_unknowns(V.sub(0))
    with pytest.raises(lse.InvalidInputError, match="already"):
        with_global_unknowns(state.function_space)
