"""Homogenised cells: exact where theory is, consistent in their derivatives, and on stable branches beyond buckling."""

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

import lse_material as lse
from lse_material.fem import CellPath, PeriodicCell, PeriodicMap, sample
from tests.fem.porous import BUCKLING_PATHS, POROSITY, UNIAXIAL, compressed, neo_hookean, porous
from tests.materials import mild_material

WORLD, SELF = MPI.COMM_WORLD, MPI.COMM_SELF


@pytest.fixture(scope="module")
def cell():
    return porous(SELF)


@pytest.mark.mpi
def test_a_cell_without_structure_is_its_material():
    rng = np.random.default_rng(2)
    material = mild_material(rng, lse.GreenLagrange(2), modes=1)
    domain = mesh.create_unit_square(WORLD, 3, 3)
    cell = PeriodicCell(domain, lambda F: lse.fem.energy(material, F), degree=1, quadrature_degree=1)
    F = np.eye(2) + 0.05 * rng.normal(size=(2, 2))
    cell.equilibrium(F)
    state = cell.state()
    assert state.energy == pytest.approx(material.energy(F), rel=1e-12)
    np.testing.assert_allclose(state.stress, material.stress(F), atol=1e-11 * np.abs(material.tangent(F)).max())
    np.testing.assert_allclose(state.tangent, material.tangent(F), atol=1e-10 * np.abs(material.tangent(F)).max())


@pytest.mark.mpi
def test_a_laminate_has_the_exact_moduli():
    """Layers across X_1, small strain: G. E. Backus, J. Geophys. Res. 67, 4427 (1962)."""
    lame, mu = np.array([1.0, 7.0]), np.array([1.0, 3.0])
    domain = mesh.create_rectangle(WORLD, [[0.0, 0.0], [2.0, 1.0]], [8, 3])
    x = ufl.SpatialCoordinate(domain)

    def energy(F):
        e = ufl.sym(F - ufl.Identity(2))
        first = x[0] < 0.5  # a quarter of the length, along the cells' borders
        a, b = (ufl.conditional(first, *pair) for pair in (lame, mu))
        return 0.5 * a * ufl.tr(e) ** 2 + b * ufl.inner(e, e)

    cell = PeriodicCell(domain, energy, degree=1, quadrature_degree=1)
    cell.equilibrium(np.array([[1.02, 0.01], [0.01, 0.99]]))
    A = cell.state().tangent
    share = np.array([0.25, 0.75])
    stiff = lame + 2.0 * mu
    across = 1.0 / (share @ (1.0 / stiff))
    coupling = across * (share @ (lame / stiff))
    along = share @ (stiff - lame**2 / stiff) + coupling**2 / across
    shear = 1.0 / (share @ (1.0 / mu))
    found = A[0, 0, 0, 0], A[0, 0, 1, 1], A[1, 1, 1, 1], A[0, 1, 0, 1], A[0, 1, 1, 0]
    np.testing.assert_allclose(found, [across, coupling, along, shear, shear], rtol=1e-11)


@pytest.mark.parametrize("F", [compressed(0.02, 0.01), compressed(0.06), compressed(0.08, 0.03)])
def test_stress_and_tangent_are_derivatives_on_either_branch(cell, F):
    """Central differences, h^2 = 1e-10 and rounding 1e-8 of a stress of order 1e-2."""
    cell.reset()
    state, h = cell.minimum(F), 1e-5
    assert state.buckled == (F[1, 1] < 0.95)
    stress, tangent = np.zeros((2, 2)), np.zeros((2, 2, 2, 2))
    for k in range(2):
        for L in range(2):
            step = np.zeros((2, 2))
            step[k, L] = h
            ahead, behind = (cell.minimum(F + sign * step, tangent=False) for sign in (1.0, -1.0))
            stress[k, L] = (ahead.energy - behind.energy) / (2.0 * h)
            tangent[:, :, k, L] = (ahead.stress - behind.stress) / (2.0 * h)
    assert np.abs(stress - state.stress).max() < 1e-6 * np.abs(state.tangent).max()
    assert np.abs(tangent - state.tangent).max() < 1e-6 * np.abs(state.tangent).max()
    np.testing.assert_allclose(state.stress @ F.T, F @ state.stress.T, atol=1e-9)  # no power in a spin


@pytest.mark.mpi
def test_the_cell_buckles_at_the_root_of_its_lowest_eigenvalue_and_to_lower_energy():
    cell = porous()
    critical = cell.critical(compressed, 0.02, 0.06, UNIAXIAL, tolerance=1e-7)
    assert 0.03 < critical < 0.04  # this mesh is coarse; benchmarks/porous_cell.py refines it
    cell.reset()
    cell.equilibrium(compressed(critical + 1e-5), UNIAXIAL)
    assert cell.negative_eigenvalues() == 1
    cell.reset()
    below = cell.minimum(compressed(critical - 1e-5), UNIAXIAL)
    assert not below.buckled
    assert below.perturbations == 0
    cell.equilibrium(compressed(critical + 0.005), UNIAXIAL)
    saddle = cell.state(tangent=False)
    assert saddle.negative == 1
    minimum = cell.minimum(compressed(critical + 0.005), UNIAXIAL)
    assert minimum.buckled
    assert minimum.negative == 0
    assert minimum.energy < saddle.energy * (1.0 - 1e-3)
    assert minimum.F[0, 0] < saddle.F[0, 0] - 1e-3  # it contracts across: the Poisson ratio turns negative
    assert abs(minimum.stress[0, 0]) < 1e-9
    held = cell.minimum(minimum.F)  # the same by holding what was free
    assert held.energy == pytest.approx(minimum.energy, rel=1e-10)
    assert abs(held.stress[0, 0]) < 1e-8


@pytest.mark.mpi
def test_the_map_of_a_box_holds_affine_fields_and_as_many_unknowns_as_a_torus():
    domain = mesh.create_box(WORLD, [[0.0, 0.0, 0.0], [1.0, 2.0, 1.0]], [2, 3, 2])
    V = fem.functionspace(domain, ("Lagrange", 1, (3,)))
    periodic = PeriodicMap(V)
    assert periodic.size == 3 * (2 * 3 * 2 - 1) + 9
    q, x = periodic.T.createVecRight(), periodic.T.createVecLeft()
    H = np.arange(9.0).reshape(3, 3)
    periodic.set_average(q, H)
    np.testing.assert_array_equal(periodic.gather_average(q), H)
    periodic.T.mult(q, x)
    owned = V.dofmap.index_map.size_local
    places = V.tabulate_dof_coordinates()[:owned]
    np.testing.assert_allclose(x.array_r.reshape(-1, 3), places @ H.T, atol=1e-13)


@pytest.mark.mpi
def test_samples_are_those_of_one_rank_and_a_second_run_reads_them(tmp_path):
    folder = Path(WORLD.bcast(str(tmp_path), root=0))
    paths = [CellPath.straight(compressed(0.05), 3, UNIAXIAL), CellPath.straight(compressed(-0.02, 0.02), 2)]
    found = sample(porous, paths, folder / "cell.npz", units={"energy": "mu"}, progress=False)
    assert found.lost == 0
    np.testing.assert_array_equal(found.path, [0, 0, 0, 1, 1])
    np.testing.assert_array_equal(found.buckled, [False, False, True, False, False])
    assert (found.negative == 0).all()
    assert found.volume == pytest.approx(4.0)
    assert found.solid_volume == pytest.approx(4.0 * (1.0 - POROSITY), rel=1e-4)
    read = lse.read_samples(folder / "cell.npz")
    assert read.digest() == found.samples.digest()
    alone = porous(SELF)
    for i, path in enumerate(paths):
        alone.reset()
        for row, F in zip(np.flatnonzero(found.path == i), path.F):
            state = alone.minimum(F, path.free)
            np.testing.assert_allclose(found.samples.energy[row], state.energy, rtol=1e-9)
            np.testing.assert_allclose(found.samples.stress[row], state.stress, atol=1e-9)
    WORLD.barrier()
    if WORLD.rank == 0:
        (folder / "cell.paths" / "path_00001.npz").unlink()  # killed before the last path
    WORLD.barrier()
    again = sample(porous, paths, folder / "cell.npz", progress=False)
    np.testing.assert_array_equal(again.seconds[:3], found.seconds[:3])  # read, not followed again
    np.testing.assert_allclose(again.samples.energy, found.samples.energy, rtol=1e-12)
    assert again.seconds[3] != found.seconds[3]
    other = sample(lambda comm: porous(comm, porosity=0.5), paths[1:], folder / "cell.npz", progress=False)
    assert other.samples.energy[0] > 1.1 * found.samples.energy[3]  # another cell: nothing is taken over


KILLED_IN_ITS_MIDST = """
import os, signal, sys
from mpi4py import MPI
from lse_material.fem import sample
from tests.fem.porous import BUCKLING_PATHS, porous

cell, states = porous(MPI.COMM_SELF), []
minimum = cell.minimum

def until_the_fourth(F, free=None):
    if len(states) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    states.append(minimum(F, free))
    return states[-1]

cell.minimum = until_the_fourth
sample(lambda comm: cell, BUCKLING_PATHS, sys.argv[1], comm=MPI.COMM_SELF, progress=False)
"""


@pytest.mark.slow
def test_samples_after_a_kill_are_those_of_an_uninterrupted_run(cell, tmp_path):
    """A process is killed by SIGKILL on its second path; the next one goes on."""
    child = [sys.executable, "-c", KILLED_IN_ITS_MIDST, str(tmp_path / "cell.npz")]
    outside = ("OMPI_", "PMIX_", "PRTE_", "PMI_")
    alone = {name: value for name, value in os.environ.items() if not name.startswith(outside)}
    done = subprocess.run(child, cwd=Path(__file__).parents[3], env=alone, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    kept = tmp_path / "cell.paths"
    assert [path.name for path in kept.iterdir()] == ["path_00000.npz"]
    assert not (tmp_path / "cell.npz").exists()
    with np.load(kept / "path_00000.npz") as first:
        spent = first["seconds"]
    again = sample(lambda comm: cell, BUCKLING_PATHS, tmp_path / "cell.npz", comm=SELF, progress=False)
    np.testing.assert_array_equal(again.seconds[:2], spent)  # the path that was whole is read
    whole = sample(lambda comm: cell, BUCKLING_PATHS, tmp_path / "whole.npz", comm=SELF, progress=False)
    for name in ("path", "tangent", "negative", "order", "perturbations", "iterations"):
        np.testing.assert_array_equal(getattr(again, name), getattr(whole, name))
    assert again.samples.digest() == whole.samples.digest()


def test_a_path_that_fails_ends_and_says_so(tmp_path, caplog):
    """The chains of a Gent material are straight at I1 - 2 = 0.5: no deformation goes beyond (A. N. Gent, 1996)."""

    def gent(F):
        return neo_hookean(F) - 0.25 * ufl.ln(1.0 - (ufl.tr(F.T * F) - 2.0) / 0.5)

    cell = PeriodicCell(mesh.create_unit_square(SELF, 3, 3), gent, degree=1)
    impossible = np.diag([1.0, 1.8])
    paths = [CellPath(np.array([compressed(0.01), impossible]))]
    with caplog.at_level(logging.WARNING, logger="lse_material"):
        found = sample(lambda comm: cell, paths, tmp_path / "cell.npz", comm=SELF, progress=False)
    assert found.lost == 1
    assert "ends after 1 of 2" in caplog.text
    with pytest.raises(lse.LseError, match="no state was found"):
        sample(lambda comm: cell, [CellPath(impossible[None])], tmp_path / "no.npz", comm=SELF, progress=False)


def test_a_mean_that_is_turned_inside_out_is_refused(cell):
    with pytest.raises(lse.InvalidInputError, match=r"det F = -0.2: it turns the cell inside out"):
        cell.minimum(np.diag([1.0, -0.2]))
    with pytest.raises(lse.InvalidInputError, match=r"step 1 of a path has det F = -0.2"):
        CellPath(np.array([np.eye(2), np.diag([1.0, -0.2])]))


def test_bad_input_is_refused(cell, tmp_path):
    domain = mesh.create_unit_square(SELF, 3, 3)
    domain.geometry.x[:, 1] += 0.05 * np.sin(np.pi * domain.geometry.x[:, 1]) * (domain.geometry.x[:, 0] > 0.5)
    with pytest.raises(lse.InvalidInputError, match="mesh both alike"):
        PeriodicCell(domain, neo_hookean, degree=1)
    with pytest.raises(lse.InvalidInputError, match="vectors with 2"):
        PeriodicMap(fem.functionspace(domain, ("Lagrange", 1)))
    with pytest.raises(lse.InvalidInputError, match="shape"):
        cell.minimum(np.eye(3))
    with pytest.raises(lse.InvalidInputError, match="could rotate"):
        cell.minimum(np.eye(2), dict.fromkeys([(0, 0), (0, 1), (1, 0), (1, 1)], 0.0))
    for free in ({(0, 2): 0.0}, {0: 0.0}, {"00": 0.0}, [(0, 0)]):
        with pytest.raises(lse.InvalidInputError, match="pairs of indices"):
            cell.minimum(np.eye(2), free)
    with pytest.raises(lse.InvalidInputError, match="stresses of `free`"):
        cell.minimum(np.eye(2), {(0, 0): "none"})
    for options in ({"degree": 0}, {"degree": "2"}, {"quadrature_degree": -1}, {"quadrature_degree": 2.5}):
        with pytest.raises(lse.InvalidInputError, match="whole number"):
            PeriodicCell(mesh.create_unit_square(SELF, 1, 1), neo_hookean, **options)
    for energy in (lambda F: None, lambda F: F * ufl.as_vector((1.0, 0.0))):
        with pytest.raises(lse.InvalidInputError, match="a UFL scalar of the F"):
            PeriodicCell(mesh.create_unit_square(SELF, 1, 1), energy)
    square = mesh.create_unit_square(SELF, 1, 1)
    for name in ("stresses", "internal"):
        for made in ([1], lambda F: 1, lambda F: [1]):
            with pytest.raises(lse.InvalidInputError, match=f"{name} must be a function of F that returns a list"):
                PeriodicCell(square, neo_hookean, degree=1, **{name: made})
    with pytest.raises(lse.InvalidInputError, match="a list of elements"):
        PeriodicCell(square, neo_hookean, fields="p")
    with pytest.raises(lse.InvalidInputError, match="a continuous space"):
        PeriodicMap(fem.functionspace(domain, ("DG", 1, (2,))))
    with pytest.raises(lse.InvalidInputError, match=r"shape \(3, 2\)"):
        CellPath.straight(np.ones((3, 2)), 2)
    with pytest.raises(lse.LseError, match="make_cell returned None"):
        sample(lambda comm: None, [CellPath.straight(np.eye(2), 1)], tmp_path / "cell.npz", comm=SELF)
    with pytest.raises(lse.InvalidInputError, match="lowest eigenvalue"):
        cell.critical(compressed, 0.001, 0.002)
    with pytest.raises(lse.InvalidInputError, match=r"\.npz"):
        sample(lambda comm: cell, [CellPath.straight(np.eye(2), 1)], tmp_path / "cell.csv", comm=SELF)
    with pytest.raises(lse.InvalidInputError, match="shape"):
        CellPath(np.eye(2))
