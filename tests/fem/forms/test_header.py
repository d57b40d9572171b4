"""Potentials in forms: found by their number for as long as a form, an expression or a user keeps them."""

import gc

import numpy as np
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

import lse_material as lse
from lse_material.fem import energy
from lse_material.fem.forms import header
from tests.materials import random_material


def test_a_potential_that_nothing_holds_is_forgotten():
    gc.collect()
    before = set(header._numbered)
    F = ufl.variable(ufl.as_matrix([[1.0, 0.1], [0.0, 1.2]]))
    for seed in range(100, 105):
        energy(random_material(np.random.default_rng(seed), lse.GreenLagrange(2)), F)
    gc.collect()
    assert set(header._numbered) <= before


def test_a_form_keeps_its_potential_where_its_material_is_gone():
    domain = mesh.create_unit_square(MPI.COMM_SELF, 2, 2)
    u = fem.Function(fem.functionspace(domain, ("Lagrange", 1, (2,))))
    exact = random_material(np.random.default_rng(9), lse.GreenLagrange(2)).energy(np.eye(2))
    W = energy(random_material(np.random.default_rng(9), lse.GreenLagrange(2)), ufl.Identity(2) + ufl.grad(u)) * ufl.dx
    gc.collect()
    residual = ufl.derivative(W, u)
    tangent = ufl.derivative(residual, u)
    del residual
    gc.collect()
    np.testing.assert_allclose(fem.assemble_scalar(fem.form(W)), exact, rtol=1e-12)
    assert fem.assemble_matrix(fem.form(tangent)).squared_norm() > 0.0
