"""Lagged mode weights: an energy that touches the true one and lies above it."""

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

import lse_material as lse
from lse_material.fem import lagged, mode_energies, potential_energy
from tests.fem.problems import total
from tests.materials import mild_network, well

WORLD = MPI.COMM_WORLD


def test_the_soft_minimum_of_the_mode_energies_is_the_potential():
    rng = np.random.default_rng(0)
    networks = tuple(mild_network(rng, 2, (3,)) for _ in range(3))
    p = lse.SoftMinimum(networks, 0.4, [0.3, -0.1], [0.7, 1.2], energy_scale=1.5, energy_shift=-0.2)
    domain = mesh.create_unit_square(WORLD, 3, 3)
    x = list(ufl.SpatialCoordinate(domain))
    shares = sum(ufl.exp(-psi / p.transition_scale) for psi in mode_energies(p, x))
    difference = -p.transition_scale * ufl.ln(shares) - potential_energy(p, x)
    assert total(difference**2 * ufl.dx(degree=4)) < 1e-24


def test_lagged_weights_touch_the_energy_and_stay_above_it():
    rng = np.random.default_rng(1)
    networks = tuple(mild_network(rng, 1, (3,)) for _ in range(3))
    p = lse.SoftMinimum(networks, 2.0, [0.1], [0.6], energy_scale=1.3)
    domain = mesh.create_unit_interval(WORLD, 7)
    V = fem.functionspace(domain, ("Lagrange", 1))
    u, before, v = fem.Function(V), fem.Function(V), ufl.TestFunction(V)
    energy = (potential_energy(p, [u]) + 0.1 * u.dx(0) ** 2) * ufl.dx(degree=4)
    above = lagged(energy, u, before)
    before.interpolate(lambda x: np.sin(3.0 * x[0]))
    u.x.array[:] = before.x.array
    touching = total(above) - total(energy)
    slopes = [fem.assemble_vector(fem.form(ufl.derivative(form, u, v))) for form in (energy, above)]
    assert np.abs(slopes[0].array - slopes[1].array).max() < 1e-12
    for amplitude in (0.01, 0.3, 1.0):
        u.interpolate(lambda x, a=amplitude: np.sin(3.0 * x[0]) + a * np.cos(5.0 * x[0]))
        assert total(above) - total(energy) > touching


def test_weights_of_stresses_cannot_be_lagged():
    domain = mesh.create_unit_interval(MPI.COMM_SELF, 2)
    u, before = (fem.Function(fem.functionspace(domain, ("Lagrange", 1))) for _ in range(2))
    W = potential_energy(lse.SoftMinimum((well(32.0, 0.0), well(32.0, 1.0)), 1.0), [u])
    with pytest.raises(lse.InvalidInputError, match="energies only"):
        lagged(W.at(1) * ufl.dx, u, before)
    for energy, state, said in (
        (W, u, "only a functional"),
        (ufl.derivative(W * ufl.dx, u), u, "a form with a test function"),
        (W**2 * ufl.dx, u, "linear in its compiled potentials"),
        (W * ufl.dx, fem.Function(u.function_space), "does not depend on the state"),
    ):
        with pytest.raises(lse.InvalidInputError, match=said):
            lagged(energy, state, before)
    with pytest.raises(lse.InvalidInputError, match="only a functional"):
        lse.fem.frozen_tangent(W, u)
    with pytest.raises(lse.InvalidInputError, match="does not depend on u"):
        lse.fem.frozen_tangent(W * ufl.dx, before)
