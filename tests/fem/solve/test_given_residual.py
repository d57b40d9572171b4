"""A residual that stands beside an energy is its derivative, in any unit; another one is refused before anything is solved."""

import itertools

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

import lse_material as lse
from lse_material.fem import EnergyProblem, PlaneStress, QuadratureStress, energy, micromorphic, two_field_energy
from tests.fem.problems import clamped, mixed
from tests.materials import saint_venant_kirchhoff, two_variants

names = itertools.count()
SOLID = saint_venant_kirchhoff(2, 3.0, 2.0)
UNIT = 1e6  # of stresses, and of 1 / length


def square(side=1.0):
    domain = mesh.create_rectangle(MPI.COMM_WORLD, [[0.0, 0.0], [side, side]], [4, 4])
    u = fem.Function(fem.functionspace(domain, ("Lagrange", 1, (2,))))
    return domain, u, ufl.TestFunction(u.function_space), ufl.Identity(2) + ufl.grad(u)


def solve(functional, u, residual, **kwargs):
    rim = clamped(
        u.function_space, lambda x: 0.05 * np.stack([x[0] ** 2, x[0] * x[1]]) / max(x[0].max(initial=0), 1e-99)
    )
    problem = EnergyProblem(
        functional, u, residual=residual, bcs=[rim], petsc_options_prefix=f"given_{next(names)}_", **kwargs
    )
    problem.solve()
    return problem


@pytest.mark.mpi
@pytest.mark.parametrize("side", [1e-6, 1e4])
@pytest.mark.parametrize("fault", ["none", "material", "load", "sign"])
def test_stored_stresses_of_another_energy_are_refused(side, fault):
    domain, u, v, F = square(side)
    material = two_variants(rho=1e-3)
    P = QuadratureStress(material, F, degree=1)
    weight, other_weight = (fem.Constant(domain, np.array([0.0, 1e-5 / side])) for _ in range(2))
    other_weight.value *= 1.1 if fault == "load" else 1.0
    other = two_variants(rho=1.1e-3) if fault == "material" else material
    functional = energy(other, F) * P.dx - ufl.inner(weight, u) * ufl.dx(domain)
    residual = ufl.inner(P.operator, ufl.grad(v)) * P.dx - ufl.inner(other_weight, v) * ufl.dx(domain)
    if fault == "none":
        assert solve(functional, u, residual, stresses=[P]).fallbacks == 0
        return
    before = u.x.array.copy()
    with pytest.raises(lse.InvalidInputError, match="`residual` is not the derivative of the energy: in field 0"):
        solve(functional, u, -residual if fault == "sign" else residual, stresses=[P])
    np.testing.assert_array_equal(u.x.array, before)


@pytest.mark.parametrize("factor", [1.0, 1.0 + 1e-4])
def test_the_energy_of_an_evaluator_is_differentiated_by_its_stress(factor):
    _, u, v, F = square()
    P = QuadratureStress(PlaneStress(saint_venant_kirchhoff(3)), F, degree=1)
    residual = factor * ufl.inner(P.operator, ufl.grad(v)) * P.dx
    if factor == 1.0:
        assert solve(P.energy * P.dx, u, residual, stresses=[P]).energy() > 0.0
    else:
        with pytest.raises(lse.InvalidInputError, match="is not the derivative"):
            solve(P.energy * P.dx, u, residual, stresses=[P])


def test_a_pressure_that_follows_the_surface_has_no_energy_of_the_undeformed_body():
    domain, u, v, F = square()
    P = QuadratureStress(SOLID, F, degree=1)
    push = 0.01 * ufl.inner(ufl.det(F) * ufl.inv(F).T * ufl.FacetNormal(domain), v) * ufl.ds
    with pytest.raises(lse.InvalidInputError, match="MaterialProblem"):
        solve(energy(SOLID, F) * P.dx, u, ufl.inner(P.operator, ufl.grad(v)) * P.dx + push, stresses=[P])


@pytest.mark.parametrize("wrong", [0.0, 1e-3])
@pytest.mark.parametrize("kind", ["micromorphic", "two fields"])
def test_each_field_is_compared_in_its_own_unit(kind, wrong):
    """A tenth of a per cent of a strain's, or a pressure's, own term."""
    domain = square(1.0 / UNIT)[0]
    solid = saint_venant_kirchhoff(2, 3.0 * UNIT, 2.0 * UNIT)
    w = mixed(domain, (1, (2,)), (1, (2, 2))) if kind == "micromorphic" else mixed(domain, (2, (2,)), 1)
    u, p = ufl.split(w)
    F = ufl.Identity(2) + ufl.grad(u)
    if kind == "micromorphic":
        W = energy(solid, F) + micromorphic(ufl.grad(u), p, length=0.2 / UNIT, modulus=UNIT, penalty=20.0 * UNIT)
        term = UNIT * ufl.inner(p, p)
    else:
        W = two_field_energy(solid, F, p, bulk=50.0 * UNIT)
        term = ufl.inner(p, p) / UNIT
    residual = ufl.derivative((W + fem.Constant(domain, wrong) * term) * ufl.dx(degree=3), w)
    V = w.function_space.sub(0)
    rim = fem.Function(V.collapse()[0])
    rim.interpolate(lambda x: 0.02 * np.stack([x[0], x[1] + UNIT * x[0] * x[1]]))
    domain.topology.create_connectivity(1, 2)
    sides = mesh.exterior_facet_indices(domain.topology)
    bc = fem.dirichletbc(rim, fem.locate_dofs_topological((V, rim.function_space), 1, sides), V)
    problem = EnergyProblem(
        W * ufl.dx(degree=3), w, residual=residual, bcs=[bc], petsc_options_prefix=f"given_{next(names)}_"
    )
    if wrong:
        with pytest.raises(lse.InvalidInputError, match="in field 1"):
            problem.solve()
    else:
        problem.solve()
        assert problem.fallbacks == 0
