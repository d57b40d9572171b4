"""Functions that the user stores at quadrature points: growth, eigenstrains, angles of grains, temperatures."""

import basix.ufl
import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

import lse_material as lse
from lse_material.fem import EnergyProblem, MaterialFields, MaterialProblem, QuadratureStress, energy
from tests.materials import saint_venant_kirchhoff


class Growing:
    """A square on rollers whose cells grow by 2 %: W(F Fg^-1), with Fg stored at the points of degree 2."""

    def __init__(self):
        domain = mesh.create_unit_square(MPI.COMM_SELF, 2, 2)
        V = fem.functionspace(domain, ("Lagrange", 2, (2,)))
        self.u = fem.Function(V)
        stored = basix.ufl.quadrature_element("triangle", value_shape=(2, 2), degree=2)
        self.growth = fem.Function(fem.functionspace(domain, stored), name="growth")
        self.growth.x.array.reshape(-1, 4)[:] = 1.02 * np.eye(2).ravel()
        self.F = (ufl.Identity(2) + ufl.grad(self.u)) * ufl.inv(self.growth)
        self.bcs = []
        for i in (0, 1):
            part = V.sub(i).collapse()[0]
            side = fem.locate_dofs_geometrical((V.sub(i), part), lambda x, i=i: np.isclose(x[i], 0.0))
            self.bcs.append(fem.dirichletbc(fem.Function(part), side, V.sub(i)))


@pytest.mark.parametrize("route", ["energy", "stored"])
def test_a_body_that_grows_freely_has_its_growth_as_deformation(route):
    body, material = Growing(), saint_venant_kirchhoff(2)
    u, v = body.u, ufl.TestFunction(body.u.function_space)
    arguments = {"bcs": body.bcs, "petsc_options_prefix": f"growing_{route}_"}
    if route == "energy":  # with plain dx, whose degree is then that of the points
        problem = EnergyProblem(energy(material, body.F) * ufl.dx, u, **arguments)
    else:
        P = QuadratureStress(material, body.F, degree=2)
        problem = MaterialProblem(
            ufl.inner(P.operator, ufl.derivative(body.F, u, v)) * P.dx, u, stresses=[P], **arguments
        )
    problem.solve()
    x = u.function_space.tabulate_dof_coordinates()[:, :2]
    np.testing.assert_allclose(u.x.array.reshape(-1, 2), 0.02 * x, atol=1e-9)
    fields = MaterialFields(material, body.F, degree=2)
    np.testing.assert_allclose(fields.det_F.x.array, 1.0, atol=1e-9)


def test_points_of_another_rule_are_refused_with_the_degree_that_fits():
    body, material = Growing(), saint_venant_kirchhoff(2)
    match = r"'growth' is stored at 3 quadrature points .* give the degree of its element, 2"
    with pytest.raises(lse.InvalidInputError, match=match):
        EnergyProblem(energy(material, body.F) * ufl.dx(degree=4), body.u, petsc_options_prefix="other_")
    with pytest.raises(lse.InvalidInputError, match=match):
        QuadratureStress(material, body.F, degree=3)
    with pytest.raises(lse.InvalidInputError, match=match):
        MaterialFields(material, body.F)
