"""Regularised boundaries cost what theory says; regularisations that cannot be right are refused."""

import basix.ufl
import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

import lse_material as lse
from lse_material.fem import EnergyProblem, MeshWarning, check_resolution, interior_penalty, micromorphic, viscous
from tests.fem.bar import HIGH, LENGTH, LOW, POTENTIAL, Bar, boundary_energy, common_tangent


def boundary_cost(cells):
    bar = Bar(cells)
    bar.start_with_both_phases()
    bar.problem.solve()
    return (bar.problem.energy() - common_tangent(float(bar.end.value))) / boundary_energy() - 1.0


def test_a_boundary_costs_what_theory_says_to_second_order():
    """C0 interior penalty of degree 2 with h = l/2, l/4, l/8: the exact cost is int sqrt(2 kappa (W - tangent)) de."""
    errors = [abs(boundary_cost(cells)) for cells in (100, 200, 400)]
    assert errors[1] < 3e-3
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    assert (orders > 1.8).all()


def test_a_micromorphic_boundary_costs_the_same_as_its_penalty_grows():
    domain = mesh.create_interval(MPI.COMM_SELF, 400, [0.0, 1.0])
    costs = []
    for penalty in (10.0, 100.0):
        u, phi = (fem.functionspace(domain, ("Lagrange", degree)) for degree in (2, 1))
        V = fem.functionspace(domain, basix.ufl.mixed_element([u.ufl_element(), phi.ufl_element()]))
        w = fem.Function(V)
        displacement, strain = ufl.split(w)
        e = displacement.dx(0)
        W = lse.fem.potential_energy(POTENTIAL, [e]) * ufl.dx(degree=6)
        density = micromorphic(e, strain, length=LENGTH, modulus=1.0, penalty=penalty)
        space, _ = V.sub(0).collapse()
        ends = []
        for at, value in ((0.0, 0.0), (1.0, 0.5 * (LOW + HIGH))):
            held = fem.Function(space)
            held.x.array[:] = value
            where = fem.locate_dofs_geometrical((V.sub(0), space), lambda x, at=at: np.isclose(x[0], at))
            ends.append(fem.dirichletbc(held, where, V.sub(0)))
        kink = lambda x: LOW * x[0] + (HIGH - LOW) * 0.004 * np.logaddexp(0.0, (x[0] - 0.5) / 0.004)  # noqa: E731
        w.sub(0).interpolate(kink)
        w.sub(1).interpolate(lambda x: LOW + (HIGH - LOW) / (1.0 + np.exp(-(x[0] - 0.5) / 0.004)))
        problem = EnergyProblem(W + density * ufl.dx, w, bcs=ends, petsc_options_prefix=f"micro{penalty}_")
        problem.solve()
        costs.append((problem.energy() - common_tangent(0.5 * (LOW + HIGH))) / boundary_energy())
    assert costs[0] < costs[1] < 1.0 + 3e-3
    assert abs(costs[1] - 1.0) < 0.02
    assert abs(costs[1] - 1.0) < 0.3 * abs(costs[0] - 1.0)


def test_bad_regularisation_is_refused_or_warned_of():
    domain = mesh.create_unit_square(MPI.COMM_SELF, 8, 8)
    u = fem.Function(fem.functionspace(domain, ("Lagrange", 1, (2,))))
    with pytest.raises(lse.InvalidInputError, match="degree 2 or more"):
        interior_penalty(u, length=0.1, modulus=1.0, degree=2)
    with pytest.raises(lse.InvalidInputError, match="length is -1"):
        micromorphic(ufl.grad(u), ufl.grad(u), length=-1.0, modulus=1.0, penalty=1.0)
    with pytest.raises(lse.InvalidInputError, match="must be equal"):
        micromorphic(ufl.grad(u), u, length=0.1, modulus=1.0, penalty=1.0)
    with pytest.raises(lse.InvalidInputError, match=r"before has the shape \(2,\)"):
        viscous(ufl.grad(u), u, viscosity=1.0, dt=0.1)
    with pytest.raises(lse.InvalidInputError, match="dt is 0"):
        viscous(ufl.grad(u), ufl.grad(u), viscosity=1.0, dt=0.0)
    with pytest.warns(MeshWarning, match="pinned to the mesh"):
        assert check_resolution(domain, 0.25) == pytest.approx(2.0)
    assert check_resolution(domain, 0.5) == pytest.approx(4.0)
