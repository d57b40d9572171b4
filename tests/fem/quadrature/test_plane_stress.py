"""Plane stress at points: the stress across vanishes, the tangent is exact, wells have solutions of their own."""

from pathlib import Path

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

import lse_material as lse
from lse_material.fem import EnergyProblem, LoadPath, PlaneStress, QuadratureStress, on_rank_0
from tests.materials import (
    central_difference,
    mild_material,
    quadratic_well,
    random_deformations,
    relative_error,
    rotation,
    saint_venant_kirchhoff,
    well,
)


def material(kind=lse.GreenLagrange):
    if kind is lse.SmallStrain:
        rng = np.random.default_rng(5)
        factor = np.eye(6) + 0.15 * rng.normal(size=(6, 6))
        modes = tuple(quadratic_well(0.02 * rng.normal(size=6), factor @ factor.T) for _ in range(2))
        return lse.Material(lse.SoftMinimum(modes, 0.05), lse.SmallStrain(3))
    return mild_material(np.random.default_rng(4), kind(3), modes=3, growth=lse.Growth(2.0))


def solid(F, across):
    """F in three dimensions."""
    result = np.zeros((len(F), 3, 3))
    result[:, :2, :2], result[:, :, 2] = F, across
    return result


@pytest.mark.parametrize("kind", [lse.GreenLagrange, lse.SmallStrain, lse.IsotropicInvariants])
def test_the_stress_across_vanishes_and_the_tangent_follows_it(kind):
    full, F = material(kind), random_deformations(np.random.default_rng(0), 60, 2, 0.1)
    plane = PlaneStress(full)
    found = plane.evaluate(F)
    P = full.stress(solid(F, found.across))
    assert np.abs(P[:, :, 2]).max() < 1e-11 * np.abs(P).max()
    assert np.abs(P[:, :2, :2] - found.stress).max() < 1e-13 * np.abs(P).max()
    assert np.allclose(full.energy(solid(F, found.across)), found.energy, rtol=1e-13)
    K = full.tangent(solid(F, found.across))[:, :, 2, :, 2]
    assert np.linalg.eigvalsh(K).min() > 0.0  # minima in the third column
    energy, stress = (
        lambda F, name=name: getattr(plane.evaluate(F, found.across), name) for name in ("energy", "stress")
    )
    assert relative_error(central_difference(energy, F, 2, 1e-3), found.stress) < 1e-7
    assert relative_error(central_difference(stress, F, 2, 1e-3), found.tangent) < 1e-6


def test_it_is_objective():
    F, Q = random_deformations(np.random.default_rng(1), 20, 2, 0.1), rotation(0.7, 2)
    first, turned = (PlaneStress(material()).evaluate(G) for G in (F, Q @ F))
    assert np.allclose(turned.energy, first.energy, rtol=1e-12)
    assert np.abs(turned.stress - Q @ first.stress).max() < 1e-10 * np.abs(first.stress).max()


def test_of_a_linear_material_it_is_hookes_law_of_plane_stress():
    lame, shear = 3.0, 2.0
    full = saint_venant_kirchhoff(3, lame, shear, lse.SmallStrain)
    strain = np.array([[0.02, 0.003], [0.003, -0.01]])
    found = PlaneStress(full).evaluate((np.eye(2) + strain)[None])
    reduced = 2.0 * lame * shear / (lame + 2.0 * shear)
    assert np.allclose(found.stress[0], reduced * np.trace(strain) * np.eye(2) + 2.0 * shear * strain, atol=1e-14)
    assert found.across[0, 2] - 1.0 == pytest.approx(-lame / (lame + 2.0 * shear) * np.trace(strain), rel=1e-10)


def two_thicknesses(height=0.003):
    """Wells at E33 = 0.1 and, higher, at E33 = -0.1."""
    centres = np.zeros((2, 6))
    centres[:, 2] = 0.1, -0.1
    return lse.Material(
        lse.SoftMinimum((well(2.0, centres[0]), well(2.0, centres[1], height)), 1e-3), lse.GreenLagrange(3)
    )


def test_a_point_stays_in_its_well_and_all_solutions_are_listed():
    plane = PlaneStress(two_thicknesses())
    stretches = np.sqrt(1.0 + 2.0 * np.array([0.1, -0.1]))
    listed = plane.solutions(np.eye(2))
    assert [one.across[0, 2] for one in listed] == pytest.approx(stretches, abs=1e-3)
    assert listed[0].energy[0] < listed[1].energy[0]
    for stretch in stretches:
        across = np.array([[0.0, 0.0, stretch]])
        for scale in (1.0, 1.01, 1.02, 1.0):
            found = plane.evaluate(scale * np.eye(2)[None], across)
            across = found.across
        assert found.across[0, 2] == pytest.approx(stretch, abs=1e-3)


def test_on_the_barrier_between_equal_wells_it_goes_to_a_minimum():
    """F13 = 0 is an equilibrium by symmetry, and no minimum."""
    centres = np.zeros((2, 6))
    centres[:, 4] = 0.1, -0.1
    full = lse.Material(lse.SoftMinimum(tuple(well(2.0, c) for c in centres), 1e-4), lse.GreenLagrange(3))
    found = PlaneStress(full).evaluate(np.eye(2)[None])
    assert abs(found.across[0, 0]) > 0.05
    assert found.energy[0] < full.energy(np.eye(3)) - 1e-3


def test_a_thickness_that_vanishes_and_an_inverted_plane_have_no_solution():
    mode = lse.ConvexNetwork.from_arrays([], [[[0.0, 0.0, 1.0, 0.0, 0.0, 0.0]]], [[0.0]], quadratic=np.eye(6) / 2)
    falling = lse.Material(lse.SoftMinimum((mode,), 1.0), lse.GreenLagrange(3))  # down to F33 = 0
    assert np.isnan(PlaneStress(falling).evaluate(np.eye(2)[None]).stress).all()
    F = np.array([np.eye(2), np.diag([1.0, -1.0])])
    found = PlaneStress(material()).evaluate(F)
    assert np.isfinite(found.stress[0]).all()
    assert np.isnan(found.stress[1]).all()


@pytest.mark.parametrize("given", [saint_venant_kirchhoff(2), saint_venant_kirchhoff(2).potential])
def test_what_is_no_material_of_a_solid_is_refused(given):
    with pytest.raises(lse.InvalidInputError, match="plane stress is found of a Material in three dimensions"):
        PlaneStress(given)


class Sheet:
    """A sheet that is pulled, of a material with two thicknesses; a constant shifts its energy."""

    def __init__(self, material=None, cells=2, comm=MPI.COMM_WORLD):
        domain = mesh.create_unit_square(comm, cells, cells)
        V = fem.functionspace(domain, ("Lagrange", 1, (2,)))
        self.u, v = fem.Function(V), ufl.TestFunction(V)
        ends = [fem.locate_dofs_geometrical(V, lambda x, at=at: np.isclose(x[0], at)) for at in (0.0, 1.0)]
        self.end = fem.Function(V)
        plane = PlaneStress(material or two_thicknesses())
        self.P = QuadratureStress(plane, ufl.Identity(2) + ufl.grad(self.u), degree=1)
        self.problem = EnergyProblem(
            self.P.energy * self.P.dx,
            self.u,
            residual=ufl.inner(self.P.operator, ufl.grad(v)) * self.P.dx,
            stresses=[self.P],
            bcs=[fem.dirichletbc(np.zeros(2), ends[0], V), fem.dirichletbc(self.end, ends[1])],
            petsc_options_prefix=f"sheet_{id(self)}_",
        )

    def pull(self, e):
        self.end.x.array[0::2] = e

    def start(self, stretch):
        self.P.across.x.array[2::3] = stretch

    def stretches(self):
        """F33 in the cells of this rank, a copy."""
        return self.P.across.x.array[2::3][: self.u.function_space.mesh.topology.index_map(2).size_local].copy()

    def path(self, checkpoint=None):
        return LoadPath(self.problem, self.pull, checkpoint=checkpoint, progress=False)


@pytest.mark.mpi
def test_a_path_that_is_resumed_stays_in_its_wells(tmp_path_factory):
    file = MPI.COMM_WORLD.bcast(str(tmp_path_factory.mktemp("sheet") / "path.npz"))
    sheet, levels = Sheet(), [0.0, 0.01, 0.02, 0.03]
    sheet.start(0.9)  # near the higher well
    sheet.path(file).run(levels[:3])
    thin = sheet.stretches()
    assert (np.abs(thin - np.sqrt(0.8)) < 0.01).all()
    content = on_rank_0(MPI.COMM_WORLD, Path(file).read_bytes)
    energies = []
    for stretch in (np.sqrt(1.2), 1.0):  # the lower well, where the path would go on
        on_rank_0(MPI.COMM_WORLD, lambda: Path(file).write_bytes(content))
        resumed = Sheet()
        resumed.start(stretch)
        path = resumed.path(file)
        assert path.resume() == 3
        np.testing.assert_allclose(resumed.stretches(), thin, rtol=1e-12)
        energies.append(path.run(levels)["energy"])
        assert (np.abs(resumed.stretches() - thin) < 0.01).all()
    np.testing.assert_allclose(*energies, rtol=1e-12)
    with pytest.raises(lse.FormatError, match=r"coefficient 0 of the energy \(W\)"):
        Sheet(two_thicknesses(0.004)).path(file).resume()
    with pytest.raises(lse.FormatError, match="another mesh"):
        Sheet(cells=3).path(file).resume()


@pytest.mark.mpi
def test_a_solve_that_fails_and_a_step_that_is_repeated_leave_the_thickness_as_it_was():
    sheet = Sheet()
    sheet.start(np.sqrt(0.8))
    sheet.problem.solve()
    before = sheet.P.across.x.array.copy()
    sheet.pull(-3.0)
    with pytest.raises(lse.ConvergenceError):
        sheet.problem.solve()
    np.testing.assert_array_equal(sheet.P.across.x.array, before)
    solve, seen = sheet.problem.solve, []

    def fails_once():
        seen.append(sheet.P.across.x.array.copy())
        if len(seen) == 2:
            sheet.start(np.sqrt(1.2))
            raise lse.ConvergenceError("too far")
        return solve()

    sheet.problem.solve = fails_once
    sheet.path().run([0.0, 0.01])
    np.testing.assert_array_equal(seen[2], seen[1])
    assert (np.abs(sheet.stretches() - np.sqrt(0.8)) < 0.01).all()


def test_a_start_of_ones_own_counts_at_once_and_each_stress_has_its_own():
    """Two stresses of one `PlaneStress`, one in each well; without a change of u."""
    sheet = Sheet()
    other = QuadratureStress(PlaneStress(two_thicknesses()), ufl.Identity(2) + ufl.grad(sheet.u), degree=1)
    found = []
    for stretch in np.sqrt([1.2, 0.8, 1.2]):
        sheet.start(stretch)
        sheet.P.update_tangent()
        other.update_stress()
        found.append((sheet.P.energy.x.array.mean(), sheet.stretches().mean(), other.across.x.array.copy()))
    assert found[0][:2] == pytest.approx(found[2][:2], abs=1e-12)
    assert found[1][0] > found[0][0] + 0.002
    assert found[1][1] == pytest.approx(np.sqrt(0.8), abs=1e-3)
    np.testing.assert_array_equal(found[0][2], found[1][2])


@pytest.mark.parametrize("start", [[0.0, 0.0, 1.0], [[0.0, np.nan, 1.0]], [[1.0, 2.0]]])
def test_a_start_of_another_shape_is_refused(start):
    with pytest.raises(lse.InvalidInputError, match="across"):
        PlaneStress(two_thicknesses()).evaluate(np.eye(2)[None], start)


def test_points_without_a_solution_are_no_numbers_alone_or_among_others():
    """Also where no point has one, or a rank has no points."""
    F = np.array([np.diag([1.03, 0.98]), np.diag([1.0, -1.0]), np.full((2, 2), np.nan)])
    plane = PlaneStress(saint_venant_kirchhoff(3))
    assert np.isfinite(plane.evaluate(F).energy).tolist() == [True, False, False]
    for none in (F[1:], F[:0]):
        values = plane.evaluate(none)
        assert np.isnan(values.stress).all()
        assert values.tangent.shape == (len(none), 2, 2, 2, 2)
