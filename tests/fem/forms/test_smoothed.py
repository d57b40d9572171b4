"""The smoothed energy is that of the material with a larger transition scale."""

import dataclasses

import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

import lse_material as lse
from tests.materials import two_variants


def test_a_factor_of_the_transition_scale_is_that_of_the_material():
    """Under a factor of the user's own, and with a term beside the energy."""
    domain = mesh.create_unit_square(MPI.COMM_SELF, 2, 2)
    u = fem.Function(fem.functionspace(domain, ("Lagrange", 1, (2,))))
    u.interpolate(lambda x: 0.02 * x[:2] ** 2)
    material, F = two_variants(rho=2e-4), ufl.Identity(2) + ufl.grad(u)

    def functional(material):
        return (3.0 * lse.fem.energy(material, F) + 0.5 * ufl.inner(u, u)) * ufl.dx(degree=2)

    potential = dataclasses.replace(material.potential, scaled_rho=4.0 * material.potential.scaled_rho)
    smoother = fem.assemble_scalar(fem.form(lse.fem.smoothed(functional(material), 4.0)))
    assert smoother == pytest.approx(
        fem.assemble_scalar(fem.form(functional(dataclasses.replace(material, potential=potential))))
    )
    with pytest.raises(lse.InvalidInputError, match="no compiled potential"):
        lse.fem.smoothed(0.5 * ufl.inner(u, u) * ufl.dx, 2.0)
