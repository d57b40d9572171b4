"""What one rank does for all: results, errors and warnings."""

import warnings

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

import lse_material as lse
from lse_material.fem import (
    EnergyProblem,
    ExtrapolationMonitor,
    ExtrapolationWarning,
    MeshWarning,
    OptionWarning,
    QuadratureStress,
    check_resolution,
    on_rank_0,
)
from lse_material.fem._mpi import on_every_rank
from lse_material.kernel.evaluator import _warn_once
from tests.fem.problems import clamped
from tests.materials import saint_venant_kirchhoff

WORLD = MPI.COMM_WORLD


@pytest.mark.mpi
def test_the_result_and_the_error_of_rank_0_are_everybodys():
    calls = []
    assert on_rank_0(WORLD, lambda: calls.append(1) or 42) == 42
    assert len(calls) == (WORLD.rank == 0)
    with pytest.raises(ZeroDivisionError):
        on_rank_0(WORLD, lambda: 1 // 0)
    WORLD.barrier()


@pytest.mark.mpi
def test_an_error_that_pickle_refuses_reaches_all_ranks_as_its_text():
    class OwnError(Exception):
        pass

    def fails():
        if WORLD.rank == WORLD.size - 1:
            raise OwnError("three words here")

    error = OwnError if WORLD.rank == WORLD.size - 1 else RuntimeError
    with pytest.raises(error, match="three words here"):
        on_every_rank(WORLD, fails)
    WORLD.barrier()


def pulled():
    """A square that is pulled: its displacement, problem and load."""
    domain = mesh.create_unit_square(WORLD, 3, 3)
    V = fem.functionspace(domain, ("Lagrange", 1, (2,)))
    u, amount = fem.Function(V), fem.Function(V)
    rim = fem.locate_dofs_geometrical(V, lambda x: np.isclose(x[0], 0.0) | np.isclose(x[0], 1.0))
    W = lse.fem.energy(saint_venant_kirchhoff(2), ufl.Identity(2) + ufl.grad(u)) * ufl.dx(degree=1)
    problem = EnergyProblem(W, u, bcs=[fem.dirichletbc(amount, rim)], petsc_options_prefix="pulled_")
    return u, problem, lambda load: amount.interpolate(lambda x: np.stack([load * x[0], 0.0 * x[0]]))


@pytest.mark.mpi
def test_ranks_with_other_levels_or_times_are_refused_together():
    if WORLD.size == 1:
        pytest.skip("one rank")
    u, problem, pull = pulled()
    with pytest.raises(lse.InvalidInputError, match=r"levels is \[.*\] on rank 0 and \[.*\] on rank 1"):
        lse.fem.LoadPath(problem, pull, progress=False).run([0.01, 0.02][: 2 - min(WORLD.rank, 1)])
    with pytest.raises(lse.InvalidInputError, match="on rank 0"):
        lse.fem.ArcLength(problem, u[0] * ufl.dx, 0.1).run(1 + WORLD.rank)
    motion = lse.fem.Motion(problem.functional, u, density=1.0, bcs=problem.bcs, petsc_options_prefix="other_times_")
    with pytest.raises(lse.InvalidInputError, match="on rank 0"):
        lse.fem.Dynamics(motion, 0.1, progress=False).run(0.1 * (1 + WORLD.rank))


@pytest.mark.parametrize("until", [float("nan"), float("inf"), "1", None, True])
def test_a_run_in_time_ends_at_a_finite_time(until):
    u, problem, _ = pulled()
    motion = lse.fem.Motion(problem.functional, u, density=1.0, bcs=problem.bcs, petsc_options_prefix="no_time_")
    with pytest.raises(lse.InvalidInputError, match=r"until is .* it must be a finite time"):
        lse.fem.Dynamics(motion, 0.1, progress=False).run(until)


def square():
    domain = mesh.create_unit_square(WORLD, 3, 3)
    u = fem.Function(fem.functionspace(domain, ("Lagrange", 1, (2,))))
    u.interpolate(lambda x: 0.3 * x[:2])
    return domain, u, ufl.Identity(2) + ufl.grad(u)


def an_option_is_misspelt():
    _, u, F = square()
    W = lse.fem.energy(saint_venant_kirchhoff(2), F) * ufl.dx(degree=2)
    options = {"petsc_options": {"snes_maxit": 5} if WORLD.rank == WORLD.size - 1 else {}}  # on one rank alone
    rim = clamped(u.function_space, lambda x: 0.1 * x[:2] ** 2)
    EnergyProblem(W, u, bcs=[rim], petsc_options_prefix="misspelt_", **options).solve()


def a_strain_leaves_its_box():
    ExtrapolationMonitor([square()[2][0, 0] - 1.0], lse.Box([-0.05], [0.1])).excess()


def a_mesh_is_coarse():
    check_resolution(square()[0], 0.1)


def there_is_no_compiler():
    _warn_once.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CC", "no-such-compiler")
        QuadratureStress(saint_venant_kirchhoff(2), square()[2], degree=1)


@pytest.mark.mpi
@pytest.mark.parametrize(
    ("case", "category"),
    [
        (an_option_is_misspelt, OptionWarning),
        (a_strain_leaves_its_box, ExtrapolationWarning),
        (a_mesh_is_coarse, MeshWarning),
        (there_is_no_compiler, RuntimeWarning),
    ],
)
def test_a_warning_is_printed_by_one_rank_and_is_an_error_on_all_ranks_where_a_filter_makes_it_one(case, category):
    with pytest.raises(category):  # as pytest's filter says
        case()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        case()
    assert [w.category for w in caught] == [category] * (WORLD.rank == 0)
    assert all(w.filename == __file__ for w in caught if category is not RuntimeWarning)
    _warn_once.cache_clear()
    assert np.isfinite(WORLD.allreduce(1.0))  # nobody waits
