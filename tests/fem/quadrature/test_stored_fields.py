"""Stored stresses of materials that depend on fields: those of UFL, with all derivatives, as fields vary and are solved for."""

import basix.ufl
import numpy as np
import pytest
import ufl
from dolfinx import fem, la, mesh
from mpi4py import MPI

import lse_material as lse
from lse_material.fem import MaterialProblem, QuadratureStress, conjugates, energy, stress
from tests.materials import material_with_fields, temperature_material


def at_points(expressions, dim=2, seed=0, box=(300.0, 400.0)):
    """UFL expressions of (F, T) at cells with a deformation and a temperature each: those, and the values."""
    n = 12
    rng = np.random.default_rng(seed)
    domain = mesh.create_interval(MPI.COMM_SELF, n, (0.0, 1.0))
    F, T = (fem.Function(fem.functionspace(domain, ("DG", 0, shape))) for shape in ((dim, dim), ()))
    values = np.eye(dim) + 0.15 * rng.uniform(-1.0, 1.0, (n, dim, dim)), rng.uniform(*box, (n, 1))
    F.x.array[:], T.x.array[:] = values[0].ravel(), values[1].ravel()
    variables = ufl.variable(F), ufl.variable(T)
    found = []
    for expression in expressions(*variables):
        compiled = fem.Expression(expression, np.array([[0.5]]))
        found.append(compiled.eval(domain, np.arange(n, dtype=np.int32)).reshape(n, *expression.ufl_shape))
    return (*values, *found)


@pytest.mark.parametrize(("dim", "growth"), [(2, lse.Growth(0.3)), (3, None)])
@pytest.mark.parametrize("expanded", [False, True])
def test_ufl_has_values_and_mixed_derivatives_of_numpy(expanded, dim, growth):
    m = temperature_material(dim=dim, growth=growth)

    def parts(F, T):
        W = energy(m, F, fields=[T], expanded=expanded)
        P, mu = stress(m, F, fields=[T], expanded=expanded), conjugates(m, F, fields=[T], expanded=expanded)
        return W, P, ufl.diff(P, F), ufl.diff(P, T), mu, ufl.diff(mu, T), ufl.diff(W, T), ufl.diff(W, F)

    F, T, W, P, A, by_T, mu, mu_by_T, slope, P_again = at_points(parts, dim)
    for found, exact, bound in (
        (W, m.energy(F, T), 1e-12),
        (P, m.stress(F, T), 1e-11),
        (P_again, m.stress(F, T), 1e-11),
        (A, m.tangent(F, T), 1e-10),
        (mu, m.conjugates(F, T), 1e-11),
        (slope, m.conjugates(F, T)[:, 0], 1e-11),
        (by_T, m.stress_by_fields(F, T)[..., 0], 1e-10),
        (mu_by_T[:, 0], m.conjugates_by_fields(F, T)[:, 0, 0], 1e-10),
    ):
        assert np.abs(found - exact).max() < bound * np.abs(exact).max()


def coupled(material, routes=("stored", "form")):
    """Residuals and Jacobians in (u, fields) of P : grad v + dW/dfields . q by both routes, assembled."""
    domain = mesh.create_unit_square(MPI.COMM_WORLD, 4, 4)
    m, cell = len(material.fields), domain.basix_cell()
    parts = [basix.ufl.element("Lagrange", cell, 1, shape=(2,)), basix.ufl.element("Lagrange", cell, 1, shape=(m,))]
    V = fem.functionspace(domain, basix.ufl.mixed_element(parts))
    w = fem.Function(V)
    box = material.training_box
    middle, half = 0.5 * (box.lower + box.upper)[:m], 0.4 * (box.upper - box.lower)[:m]
    w.sub(0).interpolate(lambda x: np.array([0.1 * x[0] * x[1], -0.05 * x[1] ** 2]))
    w.sub(1).interpolate(lambda x: middle[:, None] + half[:, None] * np.sin(3.0 * x[0] + x[1]))
    u, c = ufl.split(w)
    (v, q), F, fields = ufl.TestFunctions(V), ufl.Identity(2) + ufl.grad(u), [c[i] for i in range(m)]
    results = []
    for route in routes:
        if route == "stored":
            P = QuadratureStress(material, F, fields=fields, degree=2)
            residual, stresses = (ufl.inner(P.operator, ufl.grad(v)) + ufl.inner(P.conjugates, q)) * P.dx, [P]
        else:
            mu = conjugates(material, F, fields=fields)
            residual = ufl.inner(stress(material, F, fields=fields), ufl.grad(v)) + ufl.inner(mu, q)
            residual, stresses = residual * ufl.dx(degree=2), []
        problem = MaterialProblem(residual, w, stresses=stresses, petsc_options_prefix=f"coupled_{route}_")
        for one in stresses:
            one.update_tangent()
        vector, matrix = fem.assemble_vector(problem.F), fem.assemble_matrix(problem.J)
        vector.scatter_reverse(la.InsertMode.add)
        matrix.scatter_reverse()
        results.append((vector.array, matrix.to_dense()))
    return results


@pytest.mark.mpi
@pytest.mark.parametrize(
    "material", [temperature_material(growth=lse.Growth(0.3)), material_with_fields()], ids=["T", "c"]
)
def test_the_stored_route_has_residual_and_jacobian_of_the_form(material):
    (stored, J_stored), (form, J_form) = coupled(material)
    assert np.abs(stored - form).max() < 1e-11 * np.abs(form).max()
    assert np.abs(J_stored - J_form).max() < 1e-10 * np.abs(J_form).max()


def test_a_field_that_changes_between_solves_is_seen():
    m = temperature_material()
    domain = mesh.create_unit_square(MPI.COMM_SELF, 2, 2)
    V, Q = fem.functionspace(domain, ("Lagrange", 1, (2,))), fem.functionspace(domain, ("DG", 0))
    u, T, constant = fem.Function(V), fem.Function(Q), fem.Constant(domain, 320.0)
    for field, change in (
        (T, lambda value: T.x.array.__setitem__(slice(None), value)),
        (constant, lambda value: setattr(constant, "value", value)),
    ):
        P = QuadratureStress(m, ufl.Identity(2) + ufl.grad(u), fields=[field], degree=1)
        for value in (320.0, 390.0):
            change(value)
            P.update_stress()
            found = np.array([np.mean(P.stress_function().x.array[i::4]) for i in range(4)]).reshape(2, 2)
            np.testing.assert_allclose(found, m.stress(np.eye(2), [value]), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("route", ["stored", "form"])
def test_thermal_stress_of_a_body_that_is_kept_from_deforming_is_that_of_its_temperature(route):
    """Linear in T where one mode is alone: the reaction on a wall follows dP/dT."""
    m = temperature_material(modes=1)
    domain = mesh.create_unit_square(MPI.COMM_SELF, 3, 3)
    T = fem.Constant(domain, 300.0)
    F = ufl.Identity(2) + ufl.grad(fem.Function(fem.functionspace(domain, ("Lagrange", 1, (2,)))))
    n = ufl.as_vector([1.0, 0.0])
    found = []
    for value in (300.0, 350.0, 400.0):
        T.value = value
        if route == "stored":
            P = QuadratureStress(m, F, fields=[T], degree=1)
            P.update_stress()
            found.append(P.stress_function().x.array[0])
        else:
            P = stress(m, F, fields=[T])
            found.append(fem.assemble_scalar(fem.form(ufl.dot(P * n, n) * ufl.dx)))
    assert found[1] == pytest.approx(0.5 * (found[0] + found[2]), rel=1e-10)
    slope = m.stress_by_fields(np.eye(2), [350.0])[0, 0, 0]
    assert (found[2] - found[0]) / 100.0 == pytest.approx(slope, rel=1e-9)
