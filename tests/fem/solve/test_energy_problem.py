"""Minima of energies with wells: found from any start, stable, the same by every route and on any number of ranks."""

import logging

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from dolfinx.fem.petsc import assemble_matrix
from mpi4py import MPI

import lse_material as lse
from lse_material.fem import MULTIGRID, EnergyProblem, QuadratureStress, energy, frozen_tangent
from lse_material.fem.solve.dirichlet import enter_dirichlet_values
from lse_material.fem.solve.newton_inertia import minimise
from lse_material.fem.solve.stability import (
    is_stable,
    lowest_modes,
    negative_eigenvalues,
    perturb_along_mode,
    solve_to_minimum,
)
from tests.fem.problems import clamped
from tests.materials import mild_material, two_variants

WORLD = MPI.COMM_WORLD


def square(n=8, comm=WORLD, degree=1):
    return fem.functionspace(mesh.create_unit_square(comm, n, n), ("Lagrange", degree, (2,)))


def twins(n=8, seed=0, noise=0.02, comm=WORLD, route="energy", **options):
    """A square of two variants, held all round in the mean of both: the energy wants a laminate, Newton a saddle."""
    V = square(n, comm)
    u = fem.Function(V)
    material = two_variants(rho=2e-4)
    F = ufl.Identity(2) + ufl.grad(u)
    dx = ufl.dx(degree=1)
    bcs = [clamped(V, lambda x: 0.0 * x[:2])]
    if route == "quadrature":
        P = QuadratureStress(material, F, degree=1)
        residual = ufl.inner(P.operator, ufl.grad(ufl.TestFunction(V))) * P.dx
        options = {"residual": residual, "stresses": [P], **options}
    W = energy(material, F, expanded=route == "expanded") * dx
    problem = EnergyProblem(W, u, bcs=bcs, petsc_options_prefix=f"twins_{route}_{n}_{seed}_", **options)
    x = V.tabulate_dof_coordinates()
    # the same start on any number of ranks: a function of the place
    wave = np.sin(37.0 * x[:, 0] + 3.0 * seed) * np.sin(29.0 * x[:, 1] + 5.0 * seed)
    u.x.array[:] = noise * np.stack([wave, 0.5 * wave], axis=1).reshape(-1)
    return problem, material


def derivative_along(problem, direction, h):
    before = problem.u.x.array.copy()
    values = []
    for sign in (1.0, -1.0):
        problem.u.x.array[:] = before + sign * h * direction
        values.append(problem.energy())
    problem.u.x.array[:] = before
    return (values[0] - values[1]) / (2.0 * h)


@pytest.mark.mpi
def test_the_result_is_a_stable_minimum_far_below_the_homogeneous_state():
    problem, _ = twins()
    flat = fem.Function(problem.u.function_space)
    start = problem.u.x.array.copy()
    problem.u.x.array[:] = flat.x.array
    homogeneous = problem.energy()
    assert negative_eigenvalues(problem) > 0  # between the wells: a maximum in many directions
    problem.u.x.array[:] = start
    solve_to_minimum(problem, size=0.01)
    assert problem.energy() < 0.5 * homogeneous
    assert negative_eigenvalues(problem) == 0
    assert is_stable(problem)


@pytest.mark.parametrize("route", ["energy", "expanded", "quadrature"])
def test_every_route_minimises(route):
    """Routes may find different minima; each is one by the energy of the form as well."""
    problem, _ = twins(6, route=route)
    reference, _ = twins(6, route="energy")
    problem.solve()
    reference.u.x.array[:] = problem.u.x.array
    assert problem.energy() == pytest.approx(reference.energy(), rel=1e-11)
    assert is_stable(problem)
    assert is_stable(reference)
    scale = abs(problem.energy())
    rng = np.random.default_rng(0)
    direction = rng.normal(size=len(problem.u.x.array))
    for bc in problem.bcs:
        direction[bc.dof_indices()[0]] = 0.0
    assert abs(derivative_along(problem, direction, 1e-6)) < 1e-4 * scale


def test_the_fallback_minimises_by_itself_and_says_so(caplog):
    """One iteration is too few: the trust region fails, and the minimiser takes over."""
    problem, _ = twins(petsc_options={"snes_max_it": 1}, predictor=False)
    with caplog.at_level(logging.WARNING, logger="lse_material"):
        problem.solve()
    assert problem.fallbacks == 1
    assert "inertia-controlled" in caplog.text
    assert is_stable(problem)
    stubborn, _ = twins(petsc_options={"snes_max_it": 1}, predictor=False, fallback=False, seed=1)
    before = stubborn.u.x.array.copy()
    with pytest.raises(lse.ConvergenceError):
        stubborn.solve()
    assert np.array_equal(stubborn.u.x.array, before)


@pytest.mark.mpi
def test_the_minimiser_alone_ends_in_a_minimum_whose_energy_never_rose():
    problem, _ = twins(seed=3)
    problem.apply_bcs()
    energies = [problem.energy()]
    for _ in range(100):  # one iteration at a time
        try:
            minimise(problem, 1)
        except lse.ConvergenceError:
            energies.append(problem.energy())
        else:
            break
    assert len(energies) > 3
    assert (np.diff(energies) <= 1e-12 * abs(energies[0])).all()
    assert energies[-1] < 0.5 * energies[0]
    assert is_stable(problem)


def test_the_frozen_tangent_is_positive_where_the_tangent_is_not_and_equal_where_one_mode_rules():
    V = square(4)
    u = fem.Function(V)
    u.interpolate(lambda x: 1e-3 * np.stack([np.sin(3.0 * x[0]), x[0] * x[1]]))
    bcs = [clamped(V, lambda x: 0.0 * x[:2])]

    def eigenvalues(form):
        A = assemble_matrix(fem.form(form), bcs=bcs)
        A.assemble()
        dense = A.convert("dense").getDenseArray().copy()
        assert np.abs(dense - dense.T).max() < 1e-12 * np.abs(dense).max()
        return np.linalg.eigvalsh(dense)

    W = energy(two_variants(rho=2e-4), ufl.Identity(2) + ufl.grad(u)) * ufl.dx(degree=1)
    tangent = ufl.derivative(ufl.derivative(W, u), u)
    assert eigenvalues(tangent)[0] < -1e-3
    assert eigenvalues(frozen_tangent(W, u))[0] > 1e-3
    # linear kinematics and one mode: nothing is left out
    single = lse.Material(lse.SoftMinimum(two_variants().potential.modes[:1], 1.0), lse.SmallStrain(2))
    W = energy(single, ufl.Identity(2) + ufl.grad(u)) * ufl.dx(degree=1) + ufl.inner(u, u) * ufl.dx
    full = assemble_matrix(fem.form(ufl.derivative(ufl.derivative(W, u), u)))
    full.assemble()
    frozen = assemble_matrix(fem.form(frozen_tangent(W, u)))
    frozen.assemble()
    full.axpy(-1.0, frozen)
    assert full.norm() < 1e-12 * frozen.norm()


def test_terms_beside_a_potential_in_the_same_integrand_keep_their_own_second_derivative():
    V = square(3)
    u = fem.Function(V)
    u.interpolate(lambda x: 1e-2 * np.stack([np.sin(3.0 * x[0]), x[0] * x[1]]))
    dx = ufl.dx(degree=2)
    F, x = ufl.Identity(2) + ufl.grad(u), ufl.SpatialCoordinate(V.mesh)
    W = energy(two_variants(rho=2e-4), F)
    beside = (1.0 + x[0]) * ufl.inner(ufl.grad(u), ufl.grad(u)) ** 2 + ufl.det(F) ** 2

    def matrix(form):
        A = assemble_matrix(fem.form(form))
        A.assemble()
        return A.convert("dense").getDenseArray().copy()

    whole = matrix(frozen_tangent((beside + 3.0 * x[1] * W + W / 2.0) * dx, u))
    parts = matrix(ufl.derivative(ufl.derivative(beside * dx, u), u))
    parts += matrix(frozen_tangent(3.0 * x[1] * W * dx, u)) + 0.5 * matrix(frozen_tangent(W * dx, u))
    assert np.abs(whole - parts).max() < 1e-12 * np.abs(parts).max()
    with pytest.raises(lse.InvalidInputError, match="not linear"):
        frozen_tangent(W**2 * dx, u)


def test_the_frozen_second_derivatives_are_the_weighted_hessians_of_the_modes():
    material = mild_material(np.random.default_rng(0), lse.SmallStrain(2), modes=3, widths=(5, 4))
    potential = material.potential
    domain = mesh.create_unit_square(MPI.COMM_SELF, 1, 1)
    value = np.array([[0.1, -0.2], [0.05, 0.3]])
    u = fem.Function(fem.functionspace(domain, ("Lagrange", 1, (2,))))
    u.interpolate(lambda x: value @ x[:2])
    x = material.kinematics.strain(np.eye(2)[None] + value)
    W = energy(material, ufl.Identity(2) + ufl.grad(u)) * ufl.dx(degree=1)
    A = assemble_matrix(fem.form(frozen_tangent(W, u)))
    A.assemble()
    direction = fem.Function(u.function_space)
    slope = np.array([[0.3, 0.7], [-0.4, 0.2]])
    direction.interpolate(lambda y: slope @ y[:2])
    e = material.kinematics.strain(np.eye(2)[None] + slope)[0]
    weights = potential.mode_weights(x)[0]
    H = sum(
        w
        * lse.SoftMinimum((mode,), 1.0, potential.input_shift, potential.input_scale, potential.energy_scale).hessian(
            x
        )[0]
        for w, mode in zip(weights, potential.modes)
    )
    vector = A.createVecRight()
    vector.array[:] = direction.x.array
    product = A.createVecLeft()
    A.mult(vector, product)
    assert product.dot(vector) == pytest.approx(e @ H @ e, rel=1e-11)


@pytest.mark.mpi
def test_the_lowest_mode_of_a_held_square_is_that_of_its_eigenvalue_problem():
    """One quadratic well in small strain at u = 0: A is linear elasticity; the modes are M-orthogonal and Ritz values."""
    V = square(6)
    u = fem.Function(V)
    single = lse.Material(lse.SoftMinimum(two_variants(stretch=0.0).potential.modes[:1], 1.0), lse.SmallStrain(2))
    W = energy(single, ufl.Identity(2) + ufl.grad(u)) * ufl.dx(degree=1)
    problem = EnergyProblem(W, u, bcs=[clamped(V, lambda x: 0.0 * x[:2])], petsc_options_prefix="modes_")
    modes = lowest_modes(problem, 3)
    assert (np.diff(modes.values) >= -1e-9).all()
    inner = lambda a, b: WORLD.allreduce(  # noqa: E731
        fem.assemble_scalar(fem.form((ufl.inner(ufl.grad(a), ufl.grad(b)) + ufl.inner(a, b) / 2.0) * ufl.dx))
    )
    for value, mode in zip(modes.values, modes.shapes):
        e = ufl.sym(ufl.grad(mode))
        lame, mu = 1.0, 1.0
        stiff = WORLD.allreduce(
            fem.assemble_scalar(fem.form((lame * ufl.tr(e) ** 2 + 2 * mu * ufl.inner(e, e)) * ufl.dx))
        )
        assert stiff / inner(mode, mode) == pytest.approx(value, rel=1e-7)
    assert abs(inner(modes.shapes[0], modes.shapes[2])) < 1e-6 * inner(modes.shapes[0], modes.shapes[0])


@pytest.mark.mpi
def test_a_kick_leaves_a_saddle():
    problem, _ = twins(noise=0.0)
    problem.solve()  # the homogeneous state is an equilibrium, and no minimum
    assert not is_stable(problem)
    before = problem.energy()
    perturb_along_mode(problem, 1e-3)
    assert problem.energy() < before


def test_bad_input_is_refused():
    V = square(2)
    u = fem.Function(V)
    W = energy(two_variants(), ufl.Identity(2) + ufl.grad(u)) * ufl.dx(degree=1)
    bcs = [clamped(V, lambda x: 0.0 * x[:2])]
    loose = EnergyProblem(W, u, petsc_options_prefix="loose_")
    for _ in range(2):  # it is refused again
        with pytest.raises(lse.InvalidInputError, match=r"no Dirichlet condition, and the body .* can move rigidly"):
            loose.solve()
    with pytest.raises(lse.InvalidInputError, match="without test function"):
        EnergyProblem(ufl.derivative(W, u), u, bcs=bcs, petsc_options_prefix="bad_")
    with pytest.raises(lse.InvalidInputError, match="tolerance"):
        EnergyProblem(W, u, bcs=bcs, petsc_options_prefix="bad_", tolerance=0.0)


@pytest.mark.mpi
@pytest.mark.parametrize("options", [{}, MULTIGRID], ids=["direct", "multigrid"])
def test_while_the_tangent_is_indefinite_quasi_newton_steps_lower_the_energy(options):
    """Few tangents are needed from a wild start, fewer than a trust region alone takes, and the end is a minimum."""
    problem, _ = twins(n=16, petsc_options=options, fallback=False)
    start = problem.energy()
    problem.solve()
    assert problem.quasi_newton_steps > problem.iterations
    assert problem.iterations <= 15
    assert problem.energy() < 0.5 * start
    assert is_stable(problem)
    problem.solve()  # from the minimum there is nothing to do
    assert problem.iterations + problem.quasi_newton_steps == 0


@pytest.mark.mpi
@pytest.mark.parametrize("options", [{}, MULTIGRID], ids=["direct", "multigrid"])
def test_an_inverted_guess_that_misses_its_dirichlet_values_ends_with_them(options):
    problem, _ = twins(n=16, noise=0.05, petsc_options=options, fallback=False)
    assert not np.isfinite(problem.energy())
    problem.solve()
    assert problem.iterations <= 15
    (bc,) = problem.bcs
    assert np.abs(problem.u.x.array[bc.dof_indices()[0]]).max(initial=0.0) < 1e-14
    assert is_stable(problem)


def test_dirichlet_values_that_differ_by_rounding_move_nothing():
    problem, _ = twins(n=16)
    (bc,) = problem.bcs
    guess = problem.u.x.array.copy()
    dofs = bc.dof_indices()[0]
    problem.u.x.array[dofs] = 1e-18 * np.cos(dofs)
    assert not enter_dirichlet_values(problem, rough=False)
    guess[dofs] = 0.0
    assert np.array_equal(problem.u.x.array, guess)


@pytest.mark.mpi
def test_continuation_finds_a_minimum_of_the_energy_itself_no_higher_than_without():
    energies = {}
    for factors in ((), (8.0, 4.0, 2.0)):
        problem, _ = twins(n=16, continuation=factors)
        problem.solve()
        assert is_stable(problem)
        energies[factors] = problem.energy()
    assert energies[8.0, 4.0, 2.0] <= energies[()] * (1.0 + 1e-9)
    with pytest.raises(lse.InvalidInputError, match=r"factor of the transition scale is 0\.5"):
        twins(continuation=(0.5,))
    with pytest.raises(lse.InvalidInputError, match="no compiled potential"):
        twins(route="expanded", continuation=(2.0,))
