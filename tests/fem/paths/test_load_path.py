"""Load paths do not depend on how they are cut, killed or spread over ranks; regularised boundaries cost what theory says."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import basix.ufl
import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

import lse_material as lse
from lse_material.fem import (
    EnergyProblem,
    LoadPath,
    MeshWarning,
    check_resolution,
    interior_penalty,
    micromorphic,
    viscous,
)

sys.path.insert(0, str(Path(__file__).parents[3] / "demos"))
from phase_transforming_bar import E_T, LENGTH, Bar, E, Theory

RHO = 0.03


def cycle(cells=60, comm=MPI.COMM_WORLD, **options):
    bar = Bar(RHO, cells, regularised=True, comm=comm)
    path = LoadPath(bar.problem, bar.pull, {"stress": bar.stress, "fraction": bar.fraction}, kick_size=1e-3, **options)
    return bar, path


LEVELS = np.concatenate([np.linspace(0.0, 1.3, 14), np.linspace(1.2, 0.0, 13)])


@pytest.mark.mpi
def test_the_path_nucleates_runs_along_the_maxwell_stress_and_comes_back():
    theory = Theory(RHO)
    bar, path = cycle(200)
    table = path.run(LEVELS)
    assert path.failed == 0
    assert bar.problem.fallbacks == 0
    slopes = [theory.slope(e) for e in np.linspace(0.0, 0.6, 600)]
    assert 0.9 * max(slopes) < table["stress"].max() <= max(slopes)  # it nucleates where the homogeneous bar gives way
    between = (table["fraction"] > 0.2) & (table["fraction"] < 0.8)
    assert between.sum() >= 6  # states on the plateau, out and back
    assert np.abs(table["stress"][between] - theory.stress).max() < 1e-3 * E * E_T
    assert abs(table["stress"][-1]) < 1e-6
    assert table["fraction"][-1] < 1e-3
    assert np.trapezoid(table["stress"], table["load"]) > 0.05  # energy is lost on the way round
    assert table["kicks"].sum() >= 1


@pytest.mark.mpi
def test_ranks_share_the_path_of_one():
    """Where the mesh resolves the boundary; where it does not, steps amplify what solvers leave."""
    _, shared = cycle(200)
    _, alone = cycle(200, comm=MPI.COMM_SELF)
    levels = LEVELS[:10]
    tables = shared.run(levels), alone.run(levels)
    assert tables[0]["fraction"][-1] > 0.1  # it has nucleated
    for name in ("load", "energy", "stress", "fraction"):
        assert np.abs(tables[0][name] - tables[1][name]).max() < 1e-9, name


def test_a_step_too_large_is_halved_and_ends_where_small_steps_do():
    bar, path = cycle()
    solve = bar.problem.solve
    seen = []

    def fails_for_large_steps():
        far = abs(bar.end.value - (seen[-1] if seen else 0.0))
        if far > 0.06:
            raise lse.ConvergenceError("too far")
        seen.append(float(bar.end.value))
        return solve()

    bar.problem.solve = fails_for_large_steps
    path.run([0.1, 0.2])
    assert path.failed >= 2
    assert path.table["load"] == [0.1, 0.2]
    other, small = cycle()
    small.run([0.05, 0.1, 0.15, 0.2])
    assert np.abs(other.u.x.array - bar.u.x.array).max() < 1e-8
    bar.problem.solve = lambda: (_ for _ in ()).throw(lse.ConvergenceError("never"))
    with pytest.raises(lse.ConvergenceError, match="never"):
        path.run([0.1, 0.2, 0.3])
    assert path.table["load"] == [0.1, 0.2]
    assert np.abs(other.u.x.array - bar.u.x.array).max() < 1e-8


KILLED = """
import dataclasses, os, signal, sys
sys.path.insert(0, {demos!r}); sys.path.insert(0, {root!r})
from tests.fem.paths.test_load_path import LEVELS, cycle
bar, path = cycle(checkpoint={file!r}, progress=False)
apply = path.apply
count = 0
def counted(load):
    global count
    count += 1
    if count > 9: os.kill(os.getpid(), signal.SIGKILL)
    apply(load)
path = dataclasses.replace(path, apply=counted)
path.run(LEVELS)
"""


def test_a_killed_path_resumes_from_its_last_whole_step(tmp_path):
    root = Path(__file__).parents[3]
    file = tmp_path / "path.npz"
    script = KILLED.format(demos=str(root / "demos"), root=str(root), file=str(file))
    alone = {k: v for k, v in os.environ.items() if not k.startswith(("OMPI_", "PMIX_", "PRTE_", "PMI_"))}
    done = subprocess.run([sys.executable, "-c", script], check=False, env=alone, timeout=120)
    assert done.returncode == -signal.SIGKILL
    _, path = cycle(checkpoint=file)
    assert path.resume() == 9
    table = path.run(LEVELS)
    whole = cycle()[1].run(LEVELS)
    for name in ("load", "energy", "stress", "fraction"):
        assert np.abs(table[name] - whole[name]).max() < 1e-9, name
    _, wrong = cycle(cells=50, checkpoint=file)
    with pytest.raises(lse.FormatError, match="another mesh"):
        wrong.resume()
    path.save_table(tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_text().startswith("load,energy,iterations,kicks,stress,fraction\n0.0,")
    path.save_table(tmp_path / "table.npz")
    assert np.array_equal(np.load(tmp_path / "table.npz")["stress"], table["stress"])


def test_levels_that_do_not_go_with_the_table_are_refused():
    _, path = cycle()
    path.run([0.0, 0.1])
    with pytest.raises(lse.InvalidInputError, match="no start of these levels"):
        path.run([0.0, 0.2, 0.3])
    with pytest.raises(lse.InvalidInputError, match="not finite"):
        path.run([0.0, 0.1, np.nan])
    with pytest.raises(lse.InvalidInputError, match="levels 2 and 3 "):
        path.run([0.0, 0.1, 0.2, 0.2])
    with pytest.raises(lse.InvalidInputError, match="column 'load'"):
        LoadPath(path.problem, path.apply, {"load": lambda: 0.0})


def boundary_cost(cells):
    theory, bar = Theory(RHO), Bar(RHO, cells, regularised=True)
    bar.coexist(theory, 0.5)
    bar.problem.solve()
    low = theory.ridge - theory.half
    tangent = float(theory.potential.energy(np.array([[low]]))[0]) + theory.stress * (float(bar.end.value) - low)
    return (bar.problem.energy() - tangent) / theory.boundary_energy(E * LENGTH**2) - 1.0


def test_a_boundary_costs_what_theory_says_to_second_order():
    """C0 interior penalty of degree 2 with h = l/2, l/4, l/8: the exact cost is int sqrt(2 kappa (W - tangent)) de."""
    errors = [abs(boundary_cost(cells)) for cells in (100, 200, 400)]
    assert errors[1] < 3e-3
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    assert (orders > 1.8).all()


def test_a_micromorphic_boundary_costs_the_same_as_its_penalty_grows():
    theory = Theory(RHO)
    low, high = theory.ridge - theory.half, theory.ridge + theory.half
    domain = mesh.create_interval(MPI.COMM_SELF, 400, [0.0, 1.0])
    costs = []
    for penalty in (10.0, 100.0):
        u, phi = (fem.functionspace(domain, ("Lagrange", degree)) for degree in (2, 1))
        V = fem.functionspace(domain, basix.ufl.mixed_element([u.ufl_element(), phi.ufl_element()]))
        w = fem.Function(V)
        displacement, strain = ufl.split(w)
        e = displacement.dx(0)
        W = lse.fem.potential_energy(theory.potential, [e]) * ufl.dx(degree=6)
        density = micromorphic(e, strain, length=LENGTH, modulus=E, penalty=penalty * E)
        space, _ = V.sub(0).collapse()
        ends = []
        for at, value in ((0.0, 0.0), (1.0, 0.5 * (low + high))):
            held = fem.Function(space)
            held.x.array[:] = value
            where = fem.locate_dofs_geometrical((V.sub(0), space), lambda x, at=at: np.isclose(x[0], at))
            ends.append(fem.dirichletbc(held, where, V.sub(0)))
        kink = lambda x: low * x[0] + (high - low) * 0.004 * np.logaddexp(0.0, (x[0] - 0.5) / 0.004)  # noqa: E731
        w.sub(0).interpolate(kink)
        w.sub(1).interpolate(lambda x: low + (high - low) / (1.0 + np.exp(-(x[0] - 0.5) / 0.004)))
        problem = EnergyProblem(W + density * ufl.dx, w, bcs=ends, petsc_options_prefix=f"micro{penalty}_")
        problem.solve()
        tangent = float(theory.potential.energy(np.array([[low]]))[0]) + theory.stress * (0.5 * (low + high) - low)
        costs.append((problem.energy() - tangent) / theory.boundary_energy(E * LENGTH**2))
    assert costs[0] < costs[1] < 1.0 + 3e-3
    assert abs(costs[1] - 1.0) < 0.02
    assert abs(costs[1] - 1.0) < 0.3 * abs(costs[0] - 1.0)


def test_bad_regularisation_is_refused_or_warned_of():
    domain = mesh.create_unit_square(MPI.COMM_SELF, 8, 8)
    u = fem.Function(fem.functionspace(domain, ("Lagrange", 1, (2,))))
    with pytest.raises(lse.InvalidInputError, match="degree 2 or more"):
        interior_penalty(u, length=0.1, modulus=1.0, degree=2)
    with pytest.raises(lse.InvalidInputError, match="length is -1"):
        micromorphic(ufl.grad(u), ufl.grad(u), length=-1.0, modulus=1.0, penalty=1.0)
    with pytest.raises(lse.InvalidInputError, match="must be equal"):
        micromorphic(ufl.grad(u), u, length=0.1, modulus=1.0, penalty=1.0)
    with pytest.raises(lse.InvalidInputError, match="dt is 0"):
        viscous(ufl.grad(u), ufl.grad(u), viscosity=1.0, dt=0.0)
    with pytest.warns(MeshWarning, match="stick to the mesh"):
        assert check_resolution(domain, 0.25) == pytest.approx(2.0)
    assert check_resolution(domain, 0.5) == pytest.approx(4.0)
