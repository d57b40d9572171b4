"""Load paths do not depend on how they are cut, killed or spread over ranks; a bar nucleates and transforms as theory says."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

import lse_material as lse
from lse_material.fem import LoadPath
from tests.fem.bar import LEVELS, MAXWELL, homogeneous_stress, load_path
from tests.materials import two_variants


@pytest.mark.mpi
def test_the_path_nucleates_runs_along_the_maxwell_stress_and_comes_back():
    bar, path = load_path(200)
    table = path.run(LEVELS)
    assert path.failed == 0
    assert bar.problem.fallbacks == 0
    slopes = [homogeneous_stress(e) for e in np.linspace(0.0, 0.6, 600)]
    assert 0.9 * max(slopes) < table["stress"].max() <= max(slopes)  # it nucleates where the homogeneous bar gives way
    between = (table["fraction"] > 0.2) & (table["fraction"] < 0.8)
    assert between.sum() >= 6  # states on the plateau, out and back
    assert np.abs(table["stress"][between] - MAXWELL).max() < 1e-3
    assert abs(table["stress"][-1]) < 1e-6
    assert table["fraction"][-1] < 1e-3
    assert np.trapezoid(table["stress"], table["load"]) > 0.05  # energy is lost on the way round
    assert table["perturbations"].sum() >= 1


@pytest.mark.mpi
def test_ranks_share_the_path_of_one():
    """Where the mesh resolves the boundary; where it does not, steps amplify what solvers leave.

    Forces of second gradients cancel from cell to cell: 1e-13 of them, which rounding may leave, is 3e-6 of the reactions. The
    tolerance is below that, and iterations go on for as long as the residual falls.
    """
    (bar, shared), (own, alone) = load_path(200), load_path(200, comm=MPI.COMM_SELF)
    bar.problem.tolerance = own.problem.tolerance = 1e-11
    levels = LEVELS[:10]
    tables = shared.run(levels), alone.run(levels)
    assert tables[0]["fraction"][-1] > 0.1  # it has nucleated
    for name in ("load", "energy", "stress", "fraction"):
        assert np.abs(tables[0][name] - tables[1][name]).max() < 1e-9, name


def test_a_step_too_large_is_halved_and_ends_where_small_steps_do():
    bar, path = load_path()
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
    other, small = load_path()
    small.run([0.05, 0.1, 0.15, 0.2])
    assert np.abs(other.u.x.array - bar.u.x.array).max() < 1e-8
    bar.problem.solve = lambda: (_ for _ in ()).throw(lse.ConvergenceError("never"))
    with pytest.raises(lse.ConvergenceError, match="never"):
        path.run([0.1, 0.2, 0.3])
    assert path.table["load"] == [0.1, 0.2]
    assert np.abs(other.u.x.array - bar.u.x.array).max() < 1e-8


KILLED = """
import dataclasses, os, signal, sys
from tests.fast_compilation import compile_fast
from tests.fem.bar import LEVELS, load_path
compile_fast()  # as the run that it is compared with
bar, path = load_path(checkpoint={file!r}, progress=False)
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
    script = KILLED.format(file=str(file))
    alone = {k: v for k, v in os.environ.items() if not k.startswith(("OMPI_", "PMIX_", "PRTE_", "PMI_"))}
    done = subprocess.run([sys.executable, "-c", script], cwd=root, check=False, env=alone, timeout=120)
    assert done.returncode == -signal.SIGKILL
    _, path = load_path(checkpoint=file)
    assert path.resume() == 9
    table = path.run(LEVELS)
    whole = load_path()[1].run(LEVELS)
    for name in ("load", "energy", "stress", "fraction"):
        assert np.abs(table[name] - whole[name]).max() < 1e-9, name
    _, wrong = load_path(cells=50, checkpoint=file)
    with pytest.raises(lse.FormatError, match="another mesh"):
        wrong.resume()
    path.save_table(tmp_path / "table.csv")
    assert (
        (tmp_path / "table.csv")
        .read_text()
        .startswith("load,energy,work,dissipated,released,iterations,perturbations,stress,fraction\n0.0,")
    )
    path.save_table(tmp_path / "table.npz")
    assert np.array_equal(np.load(tmp_path / "table.npz")["stress"], table["stress"])


def test_levels_that_do_not_go_with_the_table_are_refused():
    _, path = load_path()
    path.run([0.0, 0.1])
    with pytest.raises(lse.InvalidInputError, match="no start of these levels"):
        path.run([0.0, 0.2, 0.3])
    with pytest.raises(lse.InvalidInputError, match="must be finite"):
        path.run([0.0, 0.1, np.nan])
    with pytest.raises(lse.InvalidInputError, match="levels 2 and 3 "):
        path.run([0.0, 0.1, 0.2, 0.2])
    with pytest.raises(lse.InvalidInputError, match="column 'load'"):
        LoadPath(path.problem, path.apply, {"load": lambda: 0.0})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"halvings": -1}, "halvings is -1"),
        ({"halvings": 1.5}, "halvings is 1.5"),
        ({"perturbation_size": -1e-3}, "perturbation_size is -0.001"),
        ({"perturbation_size": float("nan")}, "perturbation_size is nan"),
        ({"apply": None}, "apply is None"),
        ({"problem": None}, "takes an EnergyProblem, and not a NoneType"),
        ({"internal": None}, "internal is None"),
        ({"internal": [3]}, r"internal is \[3\]"),
        ({"observe": [len]}, "observe is .* names and functions"),
        ({"observe": {"force": 1.0}}, "observe is .* names and functions"),
        ({"checkpoint": 3}, "checkpoint is 3"),
    ],
)
def test_arguments_of_a_path_are_checked_when_it_is_made(wrong, message):
    bar, path = load_path(8)
    with pytest.raises(lse.InvalidInputError, match=message):
        replace(path, **wrong)
    for levels in ([0.0, np.nan], "ab", 3.0, [[1.0, 2.0]]):
        with pytest.raises(lse.InvalidInputError, match="levels"):
            path.run(levels)
    for count in (0, 1.5, True, "2"):
        with pytest.raises(lse.InvalidInputError, match="count is"):
            lse.fem.stability.lowest_modes(bar.problem, count)
    with pytest.raises(lse.InvalidInputError, match="target holds nan"):
        lse.fem.stability.lowest_modes(bar.problem, target=np.nan)
    with pytest.raises(lse.InvalidInputError, match="of another function space"):
        lse.fem.stability.perturb_along_mode(bar.problem, 0.1, load_path(9)[0].u)


@pytest.mark.parametrize(
    ("found", "message"), [(None, "returns nothing"), ("x", "cannot be read"), (np.zeros(2), "1 axes")]
)
def test_what_is_observed_is_a_number(found, message):
    _, path = load_path(4)
    with pytest.raises(lse.InvalidInputError, match=message):
        replace(path, observe={"force": lambda: found}).run([0.0])


def test_a_path_that_goes_on_from_saddles_says_so_once():
    """F = I is a saddle between two wells: by default it is followed with one warning, and without a check with none."""
    domain = mesh.create_unit_square(MPI.COMM_WORLD, 2, 2)
    V = fem.functionspace(domain, ("Lagrange", 1, (2,)))
    u = fem.Function(V)
    fixed = fem.dirichletbc(np.zeros(2), fem.locate_dofs_geometrical(V, lambda x: np.isclose(x[0], 0.0)), V)
    W = lse.fem.energy(two_variants(rho=5e-4), ufl.Identity(2) + ufl.grad(u)) * ufl.dx(degree=1)
    problem = lse.fem.EnergyProblem(W, u, bcs=[fixed], petsc_options_prefix="saddle_path_")
    with pytest.warns(lse.fem.StabilityWarning, match="no minimum: a saddle") as caught:
        LoadPath(problem, lambda load: None, progress=False).run([0.0, 1.0, 2.0])
    assert len(caught) == 1
    assert np.abs(u.x.array).max() == 0.0
    LoadPath(problem, lambda load: None, perturbation_size=0.0, progress=False).run([0.0, 1.0])
    left = LoadPath(problem, lambda load: None, perturbation_size=0.01, progress=False).run([0.0])
    assert left["perturbations"][0] > 0.0
    assert lse.fem.stability.is_stable(problem)
