"""Stored stresses of materials that depend on fields: those of UFL, with all derivatives, as fields vary and are solved for."""

import basix.ufl
import numpy as np
import pytest
import ufl
from dolfinx import fem, la, mesh
from mpi4py import MPI

import lse_material as lse
from lse_material.fem import MaterialProblem, QuadratureStress, conjugates, energy, stress
from tests.materials import material_with_fields, temperature_and_design_material, temperature_material


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


@pytest.mark.parametrize(("dim", "growth"), [(2, lse.Growth(0.3)), pytest.param(3, None, marks=pytest.mark.slow)])
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
    "material",
    [temperature_material(growth=lse.Growth(0.3)), material_with_fields(), temperature_and_design_material()],
    ids=["T", "c", "T and porosity"],
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


@pytest.mark.parametrize("expanded", [False, True])
def test_ufl_has_the_mixed_derivatives_of_a_temperature_and_a_porosity(expanded):
    m, rng = temperature_and_design_material(modes=2 - expanded), np.random.default_rng(0)
    F, fields = np.eye(2) + 0.1 * rng.uniform(-1.0, 1.0, (2, 2)), np.array([271.0, 0.32])
    domain = mesh.create_unit_square(MPI.COMM_SELF, 1, 1)
    G = ufl.variable(ufl.as_matrix(fem.Constant(domain, F)))
    T, p = (ufl.variable(fem.Constant(domain, value)) for value in fields)
    options = {"fields": [T, p], "expanded": expanded}
    W, P, mu = (write(m, G, **options) for write in (energy, stress, conjugates))
    exact = {
        W: m.energy(F, fields),
        P: m.stress(F, fields),
        mu: m.conjugates(F, fields),
        ufl.diff(P, G): m.tangent(F, fields),
        ufl.diff(P, T): m.stress_by_fields(F, fields)[..., 0],
        ufl.diff(P, p): m.stress_by_fields(F, fields)[..., 1],
        ufl.diff(mu, T): m.conjugates_by_fields(F, fields)[:, 0],
        ufl.diff(mu, p): m.conjugates_by_fields(F, fields)[:, 1],
    }
    bounds = dict(zip(exact, (1e-12, 1e-11, 1e-11, *[1e-10] * 5)))
    for expression, value in exact.items():
        compiled = fem.Expression(expression, np.array([[0.3, 0.3]]))
        found = compiled.eval(domain, np.array([0], dtype=np.int32)).reshape(value.shape)
        assert np.abs(found - value).max() < bounds[expression] * np.abs(value).max()


@pytest.mark.mpi
@pytest.mark.parametrize("route", ["stored", "form"])
def test_a_strip_whose_porosity_varies_and_that_is_heated_stretches_as_its_compliances_say(route):
    """Confined layers in series, E = (3 - 2 p)^2 (1 - t) + (2 - p)^2 t: u = s sum of h / E under the traction s."""
    none = {"feature_weight": np.zeros((0, 1)), "feature_bias": [], "x_weight": np.zeros((0, 3)), "level": [0.0, 0.0]}
    none |= {"bias": np.zeros((0, 2)), "z_root": np.zeros((0, 2)), "slope": np.zeros((3, 2))}
    ends = (
        lse.DesignNetwork(**none, quadratic=np.eye(3)[:, :, None] * root)
        for root in (np.array([3.0, -2.0]), np.array([2.0, -1.0]))
    )
    potential = lse.SoftMinimum((lse.InterpolatedDesign(*ends),), 1.0, [250.0, 0, 0, 0, 0], [60.0, 1, 1, 1, 1])
    m = lse.Material(potential, lse.SmallStrain(2), fields=("T", "porosity"))
    domain = mesh.create_rectangle(MPI.COMM_WORLD, [[0.0, 0.0], [1.0, 0.25]], [8, 2])
    V, Q = fem.functionspace(domain, ("Lagrange", 1, (2,))), fem.functionspace(domain, ("DG", 0))
    u, v, p, T = fem.Function(V), ufl.TestFunction(V), fem.Function(Q), fem.Constant(domain, 265.0)
    layers = 0.5 * np.sin(np.arange(8.0)) ** 2
    cells = np.arange(len(p.x.array), dtype=np.int32)
    middle = mesh.compute_midpoints(domain, 2, cells)[:, 0]
    p.x.array[:] = layers[np.minimum((8.0 * middle).astype(int), 7)]
    F, traction = ufl.Identity(2) + ufl.grad(u), 0.03
    right = mesh.locate_entities_boundary(domain, 1, lambda x: np.isclose(x[0], 1.0))
    ds = ufl.Measure("ds", domain, subdomain_data=mesh.meshtags(domain, 1, right, np.full(len(right), 1, np.int32)))
    load = ufl.inner(ufl.as_vector([traction, 0.0]), v) * ds(1)
    held = fem.locate_dofs_geometrical(V, lambda x: np.isclose(x[0], 0.0))
    flat = fem.locate_dofs_geometrical((V.sub(1), V.sub(1).collapse()[0]), lambda x: np.full(x.shape[1], True))
    bcs = [fem.dirichletbc(np.zeros(2), held, V), fem.dirichletbc(fem.Function(V.sub(1).collapse()[0]), flat, V.sub(1))]
    stored = [QuadratureStress(m, F, fields=[T, p], degree=1)] if route == "stored" else []
    if stored:
        residual = ufl.inner(stored[0].operator, ufl.grad(v)) * stored[0].dx - load
    else:
        residual = ufl.inner(stress(m, F, fields=[T, p]), ufl.grad(v)) * ufl.dx(degree=1) - load
    name = f"layers_{route}_"
    problem = MaterialProblem(residual, u, bcs=bcs, stresses=stored, petsc_options_prefix=name)
    for value in (265.0, 300.0):
        T.value, t = value, (value - 250.0) / 60.0
        problem.solve()
        E = (3.0 - 2.0 * layers) ** 2 * (1.0 - t) + (2.0 - layers) ** 2 * t
        end = domain.comm.allreduce(float(u.x.array[::2].max(initial=0.0)), MPI.MAX)
        assert end == pytest.approx(traction * (0.125 / E).sum(), rel=1e-9)
