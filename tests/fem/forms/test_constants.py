"""Constants of energies are summed apart where no derivative can see them, and stay where one can."""

import dataclasses

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

import lse_material as lse
from lse_material.fem import EnergyProblem, PeriodicCell
from lse_material.fem.forms.constants import without_constants
from tests.materials import two_variants

CONSTANT = 2e6


@pytest.fixture(scope="module")
def body():
    plain = two_variants()
    potential = dataclasses.replace(plain.potential, energy_shift=CONSTANT)
    domain = mesh.create_rectangle(MPI.COMM_SELF, [(0.0, 0.0), (2.0, 1.5)], (2, 2))
    u = fem.Function(fem.functionspace(domain, ("Lagrange", 1, (2,))))
    u.interpolate(lambda x: (0.03 * x[0] + 0.02 * x[1], -0.01 * x[1] ** 2))
    F = ufl.Identity(2) + ufl.grad(u)
    return plain, dataclasses.replace(plain, potential=potential), u, F


def value(form):
    return fem.assemble_scalar(fem.form(form))


def test_what_is_left_is_the_energy_of_the_material_without_its_constant(body):
    plain, material, u, F = body
    share = fem.Constant(u.function_space.mesh, 0.5)
    dx = ufl.dx(degree=2)
    energies = [share * lse.fem.energy(one, F) * dx + lse.fem.energy(one, 0.5 * F) * dx for one in (plain, material)]
    rest, constants = without_constants(energies[1], u)
    assert value(rest) == value(energies[0])
    assert value(constants) == pytest.approx(1.5 * CONSTANT * 3.0, rel=1e-14)


@pytest.mark.parametrize("kind", ["per current volume", "squared", "small"])
def test_what_depends_on_u_or_costs_no_digits_stays(kind, body):
    plain, material, u, F = body
    W = lse.fem.energy(material, F)
    energy = {
        "per current volume": ufl.det(F) * W,
        "squared": W**2,
        "small": lse.fem.energy(
            dataclasses.replace(plain, potential=dataclasses.replace(plain.potential, energy_shift=1e-3)), F
        ),
    }[kind] * ufl.dx(degree=2)
    assert without_constants(energy, u) == (energy, None)


def test_energies_that_are_reported_have_their_constant(body):
    plain, material, u, F = body
    problem = EnergyProblem(lse.fem.energy(material, F) * ufl.dx(degree=2), u, petsc_options_prefix="constant_")
    assert problem.energy() - problem.value() == pytest.approx(3.0 * CONSTANT, rel=1e-12)
    states = [
        PeriodicCell(
            u.function_space.mesh, lambda F, one=one: lse.fem.energy(one, F), degree=1, quadrature_degree=1
        ).minimum(np.diag([1.02, 0.99]))
        for one in (plain, material)
    ]
    assert np.array_equal(states[0].stress, states[1].stress)
    assert states[1].energy - states[0].energy == pytest.approx(CONSTANT, rel=1e-12)
