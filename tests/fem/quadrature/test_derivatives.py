"""Derivatives carried through stored stresses: the Jacobian is that of the residual, wherever the stress stands in the form."""

import itertools

import basix.ufl
import dolfinx.fem.petsc
import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

import lse_material as lse
from lse_material.fem import MaterialProblem, QuadratureStress, energy
from tests.materials import mild_material, saint_venant_kirchhoff, two_variants

ALONE = MPI.COMM_SELF
CASES = {}


def case(make):
    CASES[make.__name__] = make
    return make


class OwnEvaluator:
    """P and dP/dF as a user's evaluator gives them."""

    def evaluate(self, F):
        return two_variants(rho=0.02).evaluate(F)


def plane(degree=2, cell=mesh.CellType.triangle):
    """Displacement, test function and deformation gradient on a distorted rectangle."""
    domain = mesh.create_rectangle(ALONE, [[0.3, 0.0], [1.7, 0.8]], [2, 2], cell)
    domain.geometry.x[:, 1] += 0.1 * domain.geometry.x[:, 0] ** 2
    V = fem.functionspace(domain, ("Lagrange", degree, (2,)))
    u = fem.Function(V)
    return u, ufl.TestFunction(V), ufl.Identity(2) + ufl.grad(u)


@case
def the_virtual_strain_as_a_derivative_of_F():
    u, v, F = plane()
    P = QuadratureStress(two_variants(rho=0.02), F, degree=2)
    return ufl.inner(P.operator, ufl.derivative(F, u, v)) * P.dx, u, [P]


@case
def the_virtual_strain_as_a_derivative_of_E():
    u, v, F = plane()
    P = QuadratureStress(two_variants(rho=0.02), F, degree=2)
    E = (F.T * F - ufl.Identity(2)) / 2
    S = ufl.inv(F) * P.operator
    return ufl.inner(S, ufl.derivative(E, u, v)) * P.dx, u, [P]


@case
def known_terms_in_the_same_integrand():
    u, v, F = plane()
    P = QuadratureStress(two_variants(rho=0.02), F, degree=3)
    load = ufl.inner(ufl.exp(u[0]) * u, v)
    viscous = ufl.inner(0.3 * ufl.det(F) * ufl.grad(u), ufl.derivative(F, u, v))
    return (ufl.inner(P.operator, ufl.grad(v)) + viscous - load) * P.dx + u[0] ** 3 * v[1] * ufl.ds, u, [P]


@case
def a_product_with_functions_of_u():
    u, v, F = plane()
    P = QuadratureStress(mild_material(np.random.default_rng(1), lse.GreenLagrange(2)), F, degree=2)
    damage = 1.0 / (1.0 + ufl.inner(u, u))
    return damage * ufl.inner(P.operator, ufl.derivative(F, u, v)) * ufl.det(F) * P.dx, u, [P]


@case
def a_stress_squared():
    u, v, F = plane()
    P = QuadratureStress(two_variants(rho=0.02), F, degree=2)
    return ufl.inner(P.operator, P.operator) * ufl.inner(P.operator, ufl.derivative(F, u, v)) * P.dx, u, [P]


@case
def a_stress_inside_a_conditional():
    u, v, F = plane()
    P = QuadratureStress(two_variants(rho=0.02), F, degree=2)
    above = ufl.gt(ufl.SpatialCoordinate(u.function_space.mesh)[0], 1.0)
    size = ufl.conditional(above, 1.0 + ufl.inner(P.operator, P.operator), ufl.exp(ufl.tr(P.operator)))
    return size * ufl.inner(P.operator, ufl.derivative(F, u, v)) * P.dx, u, [P]


@case
def two_stresses_in_one_integrand():
    u, v, F = plane()
    P = QuadratureStress(two_variants(rho=0.02), F, degree=2)
    Q = QuadratureStress(saint_venant_kirchhoff(2, 0.7, 0.3), 1.1 * F, degree=2)
    return ufl.inner(P.operator * (1 + Q.operator[0, 0]) + Q.operator, ufl.derivative(F, u, v)) * P.dx, u, [P, Q]


@case
def an_evaluators_stress():
    u, v, F = plane()
    P = QuadratureStress(OwnEvaluator(), F, degree=2)
    return ufl.inner(P.operator, ufl.derivative(F, u, v)) * ufl.det(F) * P.dx, u, [P]


@case
def an_evaluators_stress_beside_the_derivative_of_another():
    u, v, F = plane(degree=1)
    P = QuadratureStress(OwnEvaluator(), F, degree=1)
    tension = F * ufl.sym(F.T * F) / ufl.det(F)
    return ufl.inner(P.operator, ufl.derivative(tension, u, v)) * P.dx, u, [P]


@case
def growth_and_invariants():
    u, v, F = plane()
    material = mild_material(np.random.default_rng(4), lse.IsotropicInvariants(2), growth=lse.Growth(3.0))
    P = QuadratureStress(material, F, degree=2)
    return ufl.inner(P.operator, ufl.derivative(F, u, v)) * P.dx, u, [P]


@case
def a_variable_around_F():
    u, v, F = plane()
    F = ufl.variable(F)
    P = QuadratureStress(two_variants(rho=0.02), F, degree=2)
    neo = ufl.diff(0.4 * ufl.tr(F.T * F) - 0.4 * ufl.ln(ufl.det(F)), F)
    return ufl.inner(P.operator + neo, ufl.derivative(F, u, v)) * P.dx, u, [P]


@case
def integrals_without_a_degree():
    """Residual and Jacobian would get estimates of their own: one rule serves both."""
    u, v, F = plane()
    W = energy(two_variants(rho=0.02), F) * ufl.dx + ufl.exp(u[0]) * u[1] ** 2 * ufl.ds
    return ufl.derivative(W, u, v), u, []


@case
def f_bar_with_a_field_for_the_volume():
    """F-bar: the volume ratio is that of an own field theta, which follows det F weakly."""
    domain = mesh.create_rectangle(ALONE, [[0.0, 0.0], [1.3, 0.9]], [2, 2])
    cell = domain.basix_cell()
    parts = basix.ufl.element("Lagrange", cell, 2, shape=(2,)), basix.ufl.element("Lagrange", cell, 1)
    V = fem.functionspace(domain, basix.ufl.mixed_element(parts))
    w, dw = fem.Function(V), ufl.TestFunction(V)
    (u, theta), (_, q) = ufl.split(w), ufl.split(dw)
    F = ufl.Identity(2) + ufl.grad(u)
    J = ufl.det(F)
    F_bar = F * ((1 + theta) / J) ** 0.5
    P = QuadratureStress(two_variants(rho=0.02), F_bar, degree=3)
    return ufl.inner(P.operator, ufl.derivative(F_bar, w, dw)) * P.dx + q * (J - 1 - theta) * P.dx, w, [P]


@case
def displacement_and_pressure():
    domain = mesh.create_rectangle(ALONE, [[0.0, 0.0], [1.3, 0.9]], [2, 2])
    cell = domain.basix_cell()
    parts = basix.ufl.element("Lagrange", cell, 2, shape=(2,)), basix.ufl.element("Lagrange", cell, 1)
    V = fem.functionspace(domain, basix.ufl.mixed_element(parts))
    w = fem.Function(V)
    (u, p), (v, q) = ufl.split(w), ufl.TestFunctions(V)
    F = ufl.Identity(2) + ufl.grad(u)
    P = QuadratureStress(saint_venant_kirchhoff(2, 0.2, 0.9), F, degree=3)
    J = ufl.det(F)
    return (ufl.inner(P.operator + p * ufl.cofac(F), ufl.grad(v)) + q * (J - 1 - p / 40)) * P.dx, w, [P]


@case
def displacement_and_pressure_as_two_functions():
    domain = mesh.create_rectangle(ALONE, [[0.0, 0.0], [1.3, 0.9]], [2, 2])
    spaces = fem.functionspace(domain, ("Lagrange", 2, (2,))), fem.functionspace(domain, ("Lagrange", 1))
    u, p = unknowns = [fem.Function(V) for V in spaces]
    v, q = (ufl.TestFunction(V) for V in spaces)
    F = (1 + 0.2 * p) * (ufl.Identity(2) + ufl.grad(u))
    P = QuadratureStress(two_variants(rho=0.02), F, degree=3)
    forms = [
        ufl.inner(P.operator, ufl.derivative(F, u, v)) * P.dx,
        (ufl.inner(P.operator, ufl.derivative(F, p, q)) + p**3 * q) * P.dx,
    ]
    return forms, unknowns, [P]


@case
def axisymmetry():
    """A ring of three-dimensional material: the hoop stretch is 1 + u_r/r, and the measure is r dr dz."""
    u, v, _ = plane()
    r = ufl.SpatialCoordinate(u.function_space.mesh)[0]
    g = ufl.grad(u)
    F = ufl.as_matrix([[1 + g[0, 0], g[0, 1], 0], [g[1, 0], 1 + g[1, 1], 0], [0, 0, 1 + u[0] / r]])
    P = QuadratureStress(two_variants(rho=0.02, dim=3), F, degree=3)
    return ufl.inner(P.operator, ufl.derivative(F, u, v)) * 2 * ufl.pi * r * P.dx, u, [P]


@case
def quadrilaterals_and_an_intermediate_state():
    u, v, F = plane(degree=1, cell=mesh.CellType.quadrilateral)
    u_old = fem.Function(u.function_space)
    u_old.interpolate(lambda x: 0.03 * np.vstack([x[1] ** 2, x[0]]))
    F = ufl.replace(F, {u: 0.4 * u + 0.6 * u_old})
    P = QuadratureStress(two_variants(rho=0.02), F, degree=3)
    return ufl.inner(P.operator, ufl.derivative(ufl.Identity(2) + ufl.grad(u), u, v)) * P.dx, u, [P]


def unknowns_of(problem):
    return problem.u if isinstance(problem.u, list) else [problem.u]


def residual_of(problem, stresses):
    for P in stresses:
        P.update_stress()
    forms = problem.F if isinstance(problem.F, list) else [problem.F]
    return np.concatenate([fem.assemble_vector(form).array for form in forms])


def jacobian_of(problem, stresses):
    for P in stresses:
        P.update_tangent()
    forms = problem.J if isinstance(problem.J, list) else [[problem.J]]
    matrices = [[dolfinx.fem.petsc.assemble_matrix(form) for form in row] for row in forms]
    for matrix in itertools.chain(*matrices):
        matrix.assemble()
    return np.block([[matrix[:, :] for matrix in row] for row in matrices])


def error_of_jacobian(problem, stresses, amount=0.04, h=2e-5):
    """Of the Jacobian in a random direction against central differences of the residual of fourth order, relative."""
    rng = np.random.default_rng(7)
    states = [amount * rng.standard_normal(f.x.array.size) for f in unknowns_of(problem)]
    ways = [rng.standard_normal(f.x.array.size) for f in unknowns_of(problem)]
    residuals = []
    for step in (2.0, 1.0, -1.0, -2.0, 0.0):
        for f, x, d in zip(unknowns_of(problem), states, ways):
            f.x.array[:] = x + step * h * d
        residuals.append(residual_of(problem, stresses))
    exact = jacobian_of(problem, stresses) @ np.concatenate(ways)
    numeric = np.tensordot([-1.0, 8.0, -8.0, 1.0], residuals[:4], axes=1) / (12 * h)
    return np.abs(exact - numeric).max() / np.abs(numeric).max()


@pytest.mark.parametrize("name", CASES)
def test_the_jacobian_is_the_derivative_of_the_residual(name):
    residual, u, stresses = CASES[name]()
    problem = MaterialProblem(residual, u, stresses=stresses, petsc_options_prefix=f"{name}_")
    assert error_of_jacobian(problem, stresses, amount=0.02) < 1e-9


@pytest.mark.parametrize(
    "name", ["the_virtual_strain_as_a_derivative_of_F", "known_terms_in_the_same_integrand", "axisymmetry"]
)
def test_a_jacobian_that_the_user_derives_is_the_same_and_its_other_terms_stay(name):
    residual, u, stresses = CASES[name]()
    du = ufl.TrialFunction(u.function_space)
    v = residual.arguments()[0]
    extra = 0.7 * ufl.inner(du, v) * ufl.dx
    J = ufl.derivative(residual, u, du) + extra
    own = MaterialProblem(residual, u, J=J, P=J, stresses=stresses, petsc_options_prefix=f"own_{name}_")
    derived = MaterialProblem(residual, u, stresses=stresses, petsc_options_prefix=f"derived_{name}_")
    u.x.array[:] = 0.03 * np.random.default_rng(2).standard_normal(u.x.array.size)
    mass = fem.assemble_matrix(fem.form(extra)).to_dense()
    own_jacobian, derived_jacobian = jacobian_of(own, stresses), jacobian_of(derived, stresses)
    rounding = 1e-13 * np.abs(derived_jacobian).max()
    assert np.abs(mass).max() > 1e3 * rounding
    assert np.abs(own_jacobian - derived_jacobian - mass).max() < rounding
    assert np.abs(fem.assemble_matrix(own.preconditioner).to_dense() - own_jacobian).max() < rounding


def test_what_the_chain_rule_does_not_know_is_refused():
    u, v, F = plane(degree=1)
    P = QuadratureStress(two_variants(), F, degree=1)
    power = ufl.inner(P.operator, ufl.derivative(F, u, v))
    du = ufl.TrialFunction(u.function_space)
    options = {"stresses": [P], "petsc_options_prefix": "refused_"}
    with pytest.raises(lse.InvalidInputError, match=r"differentiates a QuadratureStress twice.*lse\.fem\.stress"):
        MaterialProblem(ufl.inner(ufl.derivative(P.operator, u, v), ufl.grad(u)) * P.dx, u, **options)
    with pytest.raises(lse.InvalidInputError, match="another F than it was made of"):
        MaterialProblem(ufl.replace(power * P.dx, {u: 2.0 * u}), u, **options)
    form = ufl.inner(P.operator, ufl.grad(v)) * P.dx
    J = ufl.algorithms.expand_derivatives(ufl.derivative(form, u, du))
    with pytest.raises(lse.InvalidInputError, match="without expand_derivatives"):
        MaterialProblem(form, u, J=J, **options)
    G = ufl.variable(F)
    Q = QuadratureStress(two_variants(), G, degree=1)
    with pytest.raises(lse.InvalidInputError, match=r"ufl\.diff of a QuadratureStress"):
        MaterialProblem(
            ufl.inner(ufl.diff(Q.operator[0, 0], G), ufl.grad(v)) * Q.dx,
            u,
            stresses=[Q],
            petsc_options_prefix="refused_",
        )
    X = ufl.SpatialCoordinate(u.function_space.mesh)
    with pytest.raises(lse.InvalidInputError, match="coordinates of the mesh"):
        MaterialProblem(ufl.derivative(power * P.dx, X, ufl.as_vector([1.0, 0.0])), u, **options)
