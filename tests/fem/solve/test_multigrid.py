"""Without a factor of a matrix the same minima are found, also where nodes are held in some directions only."""

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

import lse_material as lse
from lse_material.fem import MULTIGRID, EnergyProblem
from lse_material.fem.solve.stability import is_stable, negative_eigenvalues
from tests.materials import two_variants

WORLD = MPI.COMM_WORLD


def pulled_block(options, **more):
    """A cube of two variants between ends that slide; the function pulls it to a mean strain and returns stress and energy."""
    domain = mesh.create_unit_cube(WORLD, 4, 4, 4)
    V = fem.functionspace(domain, ("Lagrange", 1, (3,)))
    u = fem.Function(V)
    end, zero = fem.Constant(domain, 0.0), fem.Constant(domain, 0.0)

    def held(component, where, value):
        Vi = V.sub(component).collapse()[0]
        return fem.dirichletbc(value, fem.locate_dofs_geometrical((V.sub(component), Vi), where)[0], V.sub(component))

    bcs = [held(i, lambda x, i=i: np.isclose(x[i], 0.0), zero) for i in range(3)]
    bcs.append(held(0, lambda x: np.isclose(x[0], 1.0), end))
    W = lse.fem.energy(two_variants(rho=1e-3, dim=3), ufl.Identity(3) + ufl.grad(u))
    problem = EnergyProblem(
        W * ufl.dx(degree=1), u, bcs=bcs, petsc_options_prefix=f"pulled_{id(u)}_", petsc_options=options, **more
    )
    u.interpolate(lambda x: np.stack([-0.05 * x[0], 0.05 * x[1], 0.0 * x[2]]))

    def pull(strain):
        end.value = strain
        problem.solve()
        return problem.reaction(bcs[-1]), problem.energy()

    return problem, pull


@pytest.mark.mpi
def test_sliding_ends_give_the_states_that_a_direct_solver_finds():
    _, direct = pulled_block({})
    problem, iterative = pulled_block(MULTIGRID, tolerance=1e-8, fallback=False)
    for strain in (-0.045, -0.03, -0.015):
        stress, energy = direct(strain)
        same_stress, same_energy = iterative(strain)
        assert same_stress == pytest.approx(stress, rel=1e-6)
        assert same_energy == pytest.approx(energy, rel=1e-8)
    assert problem.iterations < 10
    assert problem.fallbacks == 0


@pytest.mark.mpi
def test_a_preconditioner_that_is_kept_through_a_solve_leads_to_the_same_states():
    _, anew = pulled_block({**MULTIGRID, "snes_lag_preconditioner": 1}, tolerance=1e-8, fallback=False)
    _, kept = pulled_block(MULTIGRID, tolerance=1e-8, fallback=False)
    for strain in (-0.045, -0.015):
        assert kept(strain) == pytest.approx(anew(strain), rel=1e-6)


@pytest.mark.mpi
def test_a_linear_solve_that_fails_by_a_kept_preconditioner_is_repeated_by_a_new_one():
    _, direct = pulled_block({})
    problem, pull = pulled_block(MULTIGRID, tolerance=1e-8, fallback=False)
    limits = []

    def fail_at_the_second_iteration(snes, iteration, norm):
        limits.append(1 if iteration == 1 and 1 not in limits else 200)
        snes.getKSP().setTolerances(max_it=limits[-1])

    problem.solver.setMonitor(fail_at_the_second_iteration)
    assert pull(-0.03) == pytest.approx(direct(-0.03), rel=1e-6)
    assert 1 in limits


@pytest.mark.mpi
def test_what_is_held_stays_held_where_conjugate_gradients_stop_early():
    problem, pull = pulled_block({**MULTIGRID, "ksp_rtol": 0.3}, tolerance=1e-7, fallback=False)
    pull(-0.02)
    for bc in problem.bcs:
        wanted = problem.u.x.array.copy()
        bc.set(wanted, None, 1.0)
        assert np.abs(problem.u.x.array - wanted).max(initial=0.0) < 1e-14


@pytest.mark.mpi
def test_multigrid_is_positive_where_the_tangent_is_not():
    """M of the frozen-weight tangent P, with the tangent as operator: the eigenvalues of M P are those of P alone."""
    problem, _ = pulled_block(MULTIGRID)
    problem.u.x.array[:] = 0.0  # F = I, between the wells
    assert lse.fem.stability.negative_eigenvalues(problem) > 0
    P, ksp = problem.convex_tangent(), problem.solver.getKSP()
    ksp.setOperators(problem.tangent(), P)
    x, Px, MPx = (problem.x.duplicate() for _ in range(3))
    x.setRandom()
    free = problem.fields.free[0]
    for _ in range(50):  # power iteration on I - M P
        x.array[~free] = 0.0
        P.mult(x, Px)
        ksp.getPC().apply(Px, MPx)
        MPx.aypx(-1.0, x)
        MPx.copy(x)
        x.normalize()
    P.mult(x, Px)
    ksp.getPC().apply(Px, MPx)
    assert 0.0 < MPx.dot(x) < 2.0


@pytest.mark.mpi
def test_without_a_factor_as_many_negative_eigenvalues_are_found_as_a_factor_counts():
    problem, pull = pulled_block(MULTIGRID, tolerance=1e-8)
    problem.u.interpolate(lambda x: 0.03 * np.stack([x[0] * np.sin(9.0 * x[1]), 0.0 * x[1], 0.0 * x[2]]))
    counted = negative_eigenvalues(problem, factor=True)
    assert counted > 4  # more than are looked for first
    assert negative_eigenvalues(problem, factor=False) == counted
    assert not is_stable(problem, factor=False)
    pull(-0.03)
    assert negative_eigenvalues(problem, factor=False) == negative_eigenvalues(problem, factor=True) == 0
    assert is_stable(problem, factor=False)
    direct, _ = pulled_block({})
    with pytest.raises(lse.InvalidInputError, match="iterative solver"):
        is_stable(direct, factor=False)
