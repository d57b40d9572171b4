"""Energies of concentration and strain in UFL agree with NumPy, and drive diffusion."""

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

import lse_material as lse
from lse_material.fem import (
    ExtrapolationMonitor,
    ExtrapolationWarning,
    QuadratureStress,
    conjugates,
    energy,
    mode_weights,
    stress,
)
from tests.materials import material_with_fields, random_design, random_network, saint_venant_kirchhoff

F = np.array([[1.05, 0.08], [-0.03, 0.94]])
VALUES = np.array([0.3, -0.2])


def at_a_point(expression):
    domain = mesh.create_unit_square(MPI.COMM_SELF, 1, 1)
    found = fem.Expression(expression(domain), np.array([[0.3, 0.3]])).eval(domain, np.array([0], dtype=np.int32))
    return np.asarray(found).reshape(-1)


@pytest.mark.parametrize("expanded", [False, True])
def test_ufl_says_what_numpy_says(expanded):
    m = material_with_fields(modes=2)

    def parts(domain):
        G = ufl.variable(ufl.as_matrix(fem.Constant(domain, F)))
        f = [ufl.variable(fem.Constant(domain, v)) for v in VALUES]
        options = {"fields": f, "expanded": expanded}
        W = energy(m, G, **options)
        P, mu, w = stress(m, G, **options), conjugates(m, G, **options), mode_weights(m, G, **options)
        P2 = ufl.diff(W, G)
        entries = [W, *[X[i, j] for X in (P, P2) for i in range(2) for j in range(2)]]
        return ufl.as_vector([*entries, mu[0], mu[1], ufl.diff(W, f[0]), ufl.diff(W, f[1]), w[0], w[1]])

    found = at_a_point(parts)
    P, mu = m.stress(F, VALUES).ravel(), m.conjugates(F, VALUES)
    expected = np.concatenate([[m.energy(F, VALUES)], P, P, mu, mu, m.mode_weights(F, VALUES)])
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-12)


def test_fields_that_are_missing_are_asked_for():
    m = material_with_fields()
    domain = mesh.create_unit_square(MPI.COMM_SELF, 1, 1)
    u = fem.Function(fem.functionspace(domain, ("Lagrange", 1, (2,))))
    G = ufl.Identity(2) + ufl.grad(u)
    with pytest.raises(lse.InvalidInputError, match="0 fields are given"):
        energy(m, G)
    with pytest.raises(lse.InvalidInputError, match="0 fields are given"):
        QuadratureStress(m, G, degree=1)
    with pytest.raises(lse.InvalidInputError, match="fields go with a Material"):
        QuadratureStress(m.at(VALUES).evaluate, G, degree=1, fields=[1.0])
    QuadratureStress(m.at(VALUES), G, degree=1)


def unit_square():
    return fem.functionspace(mesh.create_unit_square(MPI.COMM_SELF, 1, 1), ("Lagrange", 1, (2,)))


@pytest.mark.parametrize("given", [0.3, "c", {"c": 0.3}, ["c", 0.3], [np.zeros(2), 0.3]])
def test_fields_that_are_no_scalars_are_refused(given):
    m, G = material_with_fields(), ufl.Identity(2) + ufl.grad(fem.Function(unit_square()))
    for use in (energy, stress, conjugates, mode_weights):
        with pytest.raises(lse.InvalidInputError, match=r"give fields=\[\.\.\.\]|must be a number or a UFL scalar"):
            use(m, G, fields=given)


def test_designs_outside_the_data_are_refused_as_numbers_and_watched_as_functions():
    modes = random_design(np.random.default_rng(9), 1, 3), random_network(np.random.default_rng(8), 4, depth=1)
    box = lse.Box([0.1, *[-1.0] * 3], [0.5, *[1.0] * 3])
    m = lse.Material(lse.SoftMinimum(modes, 0.3), lse.GreenLagrange(2), training_box=box, fields=("porosity",))
    u = fem.Function(unit_square())
    G = ufl.Identity(2) + ufl.grad(u)
    for wrong in (-0.2, 0.6, 1e9, np.nan):
        for use in (energy, stress, conjugates, mode_weights, lambda *a, **k: QuadratureStress(*a, degree=1, **k)):
            with pytest.raises(lse.InvalidInputError, match=r"porosity = .* is outside the data|porosity is nan"):
                use(m, G, fields=[wrong])
    energy(m, G, fields=[0.1])
    p = fem.Constant(u.function_space.mesh, 2.0)
    P = QuadratureStress(m, G, degree=1, fields=[p])
    with pytest.warns(ExtrapolationWarning, match="porosity is 2, outside the box"):
        ExtrapolationMonitor(P.inputs, box, names=["porosity", "E11", "E22", "E12"]).excess()


def test_numbers_of_any_kind_are_fields():
    m, (c, T) = material_with_fields(), VALUES
    for kind in ((float(c), T), [np.array(c), np.float64(T)], ufl.as_vector([c, T])):
        found = at_a_point(lambda domain, kind=kind: energy(m, ufl.as_matrix(fem.Constant(domain, F)), fields=kind))
        np.testing.assert_allclose(found, m.energy(F, VALUES), rtol=1e-12)


def test_an_energy_of_f_alone_has_no_conjugates_and_a_potential_is_no_material():
    domain = mesh.create_unit_square(MPI.COMM_SELF, 1, 1)
    G, material = ufl.as_matrix(fem.Constant(domain, F)), saint_venant_kirchhoff(2)
    with pytest.raises(lse.InvalidInputError, match="F alone"):
        conjugates(material, G, fields=[])
    for made in (lse.fem.potential_energy, lse.fem.mode_energies):
        with pytest.raises(lse.InvalidInputError, match=r"material\.potential"):
            made(material, [G[0, 0], G[1, 1], G[0, 1]])
    with pytest.raises(lse.InvalidInputError, match="the angle is a str"):
        lse.fem.rotation("right")
