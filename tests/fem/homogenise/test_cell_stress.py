"""A cell at every quadrature point (FE2): the same answers as the cell alone, and as a material without structure."""

from functools import cache

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

import lse_material as lse
from lse_material.errors import ConvergenceError, FormatError, InvalidInputError, LseError
from lse_material.fem import CellStress, EnergyProblem, LoadPath, MaterialProblem, PeriodicCell, QuadratureStress
from tests.fem.porous import UNIAXIAL, compressed, neo_hookean, porous
from tests.fem.problems import clamped
from tests.materials import mild_material, saint_venant_kirchhoff

WORLD, SELF = MPI.COMM_WORLD, MPI.COMM_SELF


def layered(comm, contrast=5.0):
    """A cell of two neo-Hookean layers."""
    domain = mesh.create_unit_square(comm, 2, 2, mesh.CellType.quadrilateral)
    x = ufl.SpatialCoordinate(domain)
    stiffness = ufl.conditional(x[0] < 0.5, 1.0, fem.Constant(domain, contrast))
    return PeriodicCell(domain, lambda F: stiffness * neo_hookean(F), degree=1, quadrature_degree=2)


@cache
def square(cells):
    """One mesh for all plates: made twice, it may be shared among ranks in another way."""
    return mesh.create_unit_square(WORLD, cells, cells)


class Plate:
    """A square of cells between two sliding plates, compressed along X2, or clamped all around."""

    def __init__(self, make_cell, name, *, cells=1, clamp=None, minimise=False, degree=1):
        self.domain = square(cells)
        V = fem.functionspace(self.domain, ("Lagrange", 1, (2,)))
        self.u, v = fem.Function(V), ufl.TestFunction(V)
        F = ufl.Identity(2) + ufl.grad(self.u)
        if isinstance(make_cell, lse.Material):
            self.P = QuadratureStress(make_cell, F, degree=degree)
        else:
            self.P = CellStress(make_cell, F, degree=degree)
        self.residual = ufl.inner(self.P.operator, ufl.grad(v)) * self.P.dx
        self.bcs = [clamped(V, clamp)] if clamp else self._sliding(V)
        options = {"bcs": self.bcs, "stresses": [self.P], "petsc_options_prefix": f"cells_{name}_"}
        if minimise:
            self.problem = EnergyProblem(self.P.energy * self.P.dx, self.u, residual=self.residual, **options)
        else:
            self.problem = MaterialProblem(self.residual, self.u, **options)

    def _sliding(self, V):
        def condition(i, side):
            part = V.sub(i).collapse()[0]
            value = fem.Function(part)
            return value, fem.dirichletbc(value, fem.locate_dofs_geometrical((V.sub(i), part), side), V.sub(i))

        self.push, top = condition(1, lambda x: np.isclose(x[1], 1.0))
        return [condition(0, lambda x: np.isclose(x[0], 0.0))[1], condition(1, lambda x: np.isclose(x[1], 0.0))[1], top]

    def compress(self, strain):
        self.push.x.array[:] = -strain

    def force(self):
        return self.problem.reaction(self.bcs[-1])

    def path(self, **options):
        return LoadPath(
            self.problem, self.compress, {"force": self.force}, internal=[self.P], progress=False, **options
        )


def bent(x):
    """A displacement of the rim with which F varies in the plate."""
    return np.array([0.04 * x[0] * x[1], -0.05 * x[1] + 0.03 * x[0] ** 2])


@pytest.mark.mpi
def test_a_plate_under_homogeneous_load_is_its_cell_before_and_after_buckling():
    plate, cell = Plate(porous, "porous"), porous(SELF)
    for strain in (0.02, 0.05):
        plate.compress(strain)
        plate.problem.solve()
        plate.P.advance()
        state = cell.minimum(compressed(strain), UNIAXIAL)
        assert state.buckled == (strain > 0.03)
        assert plate.force() == pytest.approx(state.stress[1, 1], abs=1e-10)
        owned = plate.P.values.x.array.reshape(-1, 4)[: plate.domain.topology.index_map(2).size_local]
        np.testing.assert_allclose(owned, np.tile(state.stress.ravel(), (len(owned), 1)), atol=1e-10)
        assert ((np.abs(plate.P.order.x.array) > 0.05) == state.buckled).all()
    plate.P.reset()
    plate.u.x.array[:] = 0.0
    plate.P.advance()
    assert (plate.P.order.x.array == 0.0).all()
    assert np.abs(plate.P.values.x.array).max(initial=0.0) < 1e-12


@pytest.mark.mpi
def test_cells_without_structure_are_the_material_on_any_number_of_ranks():
    material = mild_material(np.random.default_rng(2), lse.GreenLagrange(2), modes=1)

    def make_cell(comm):
        domain = mesh.create_unit_square(comm, 1, 1)
        return PeriodicCell(domain, lambda F: lse.fem.energy(material, F), degree=1, quadrature_degree=1)

    nested, stored = (Plate(one, f"same{k}", cells=4, clamp=bent) for k, one in enumerate((make_cell, material)))
    nested.problem.solve()
    stored.problem.solve()
    np.testing.assert_allclose(nested.u.x.array, stored.u.x.array, atol=1e-11)


@pytest.mark.mpi
def test_newtons_method_is_quadratic_with_the_tangent_of_the_cells():
    plate = Plate(layered, "quadratic", cells=2, clamp=lambda x: 3.0 * bent(x))
    plate.problem.solve()
    norms = np.array(plate.problem.norms) / plate.problem.norms[0]
    norms = norms[norms > 1e-14]
    assert len(norms) >= 4
    assert (np.log(norms[2:]) / np.log(norms[1:-1]) > 1.7).all()


@pytest.mark.mpi
def test_the_minimum_of_the_energy_is_the_equilibrium():
    newton, minimum = (Plate(layered, f"m{m}", cells=2, clamp=bent, minimise=m) for m in (False, True))
    newton.problem.solve()
    minimum.problem.solve()
    np.testing.assert_allclose(minimum.u.x.array, newton.u.x.array, atol=1e-8)
    assert minimum.problem.fallbacks == 0
    assert lse.fem.stability.is_stable(minimum.problem)


@pytest.mark.mpi
def test_a_trial_that_a_cell_refuses_is_shortened_and_leaves_nothing_behind():
    refused = []

    def make_cell(comm):
        cell = layered(comm)
        minimum = cell.minimum

        def fragile(F, *given, **options):
            if F[1, 1] < 0.93 and not refused:
                refused.append(F)
                raise ConvergenceError("the glue has not set.")
            return minimum(F, *given, **options)

        cell.minimum = fragile
        return cell

    plate, whole = Plate(make_cell, "fragile"), Plate(layered, "whole")
    for each in (plate, whole):
        each.compress(0.1)
        each.problem.solve()
    assert WORLD.allreduce(len(refused)) > 0
    assert plate.problem.failure is None
    np.testing.assert_allclose(plate.u.x.array, whole.u.x.array, atol=1e-10)


@pytest.mark.mpi
def test_a_cell_that_fails_is_named_with_rank_cell_point_and_F_and_the_next_solve_is_right():
    broken = True

    def make_cell(comm):
        cell = layered(comm)
        minimum = cell.minimum

        def fails(F, *given, **options):
            if broken and F[1, 1] < 0.95 and WORLD.rank == WORLD.size - 1:
                raise ConvergenceError("the glue has not set.")
            return minimum(F, *given, **options)

        cell.minimum = fails
        return cell

    plate = Plate(make_cell, "broken", cells=2)
    plate.compress(0.04)
    plate.problem.solve()
    plate.P.advance()
    before, states = plate.u.x.array.copy(), plate.P.functions["cell states"].x.array.copy()
    plate.compress(0.1)
    where = rf"point 0 of cell \d on rank {WORLD.size - 1} has no state at F = \[\[.*the glue has not set"
    with pytest.raises(ConvergenceError, match=where):
        plate.problem.solve()
    np.testing.assert_array_equal(plate.u.x.array, before)
    np.testing.assert_array_equal(plate.P.functions["cell states"].x.array, states)
    plate.u.x.array[:] = np.where(before == 0.0, 0.0, 3.0 * before)
    with pytest.raises(ConvergenceError, match="cannot be accepted"):
        plate.P.advance()
    np.testing.assert_array_equal(plate.P.functions["cell states"].x.array, states)
    plate.u.x.array[:] = before
    broken = False
    plate.problem.solve()
    assert plate.force() == pytest.approx(layered(SELF).minimum(compressed(0.1), UNIAXIAL).stress[1, 1], abs=1e-10)


@pytest.mark.slow
@pytest.mark.mpi
def test_a_path_resumes_with_the_states_of_its_cells_and_refuses_those_of_other_cells(tmp_path):
    checkpoint = f"{WORLD.bcast(str(tmp_path))}/path.npz"
    whole = Plate(porous, "path", minimise=True)
    whole.path(checkpoint=checkpoint).run([0.02, 0.05])
    other = Plate(porous, "resumed", minimise=True)
    path = other.path(checkpoint=checkpoint)
    assert path.resume() == 2
    np.testing.assert_allclose(np.abs(other.P.order.x.array), np.abs(whole.P.order.x.array), rtol=1e-12)
    assert np.abs(other.P.order.x.array).min(initial=1.0) > 0.05  # a rank may have no cell
    table = path.run([0.02, 0.05, 0.052])
    state = porous(SELF)
    for strain in table["load"]:
        found = state.minimum(compressed(strain), UNIAXIAL)
    assert table["force"][-1] == pytest.approx(found.stress[1, 1], abs=1e-9)
    assert table["energy"][-1] == pytest.approx(found.energy, abs=1e-10)
    stiffer = Plate(lambda comm: layered(comm, 5.0), "five", minimise=True)
    stiffer.path(checkpoint=checkpoint + "2").run([0.01])
    with pytest.raises(FormatError, match="constant 0 of the energy of the internal variables 0"):
        Plate(lambda comm: layered(comm, 6.0), "six", minimise=True).path(checkpoint=checkpoint + "2").resume()


@pytest.mark.mpi
def test_what_is_no_cell_of_this_rank_is_refused_on_every_rank():
    with pytest.raises(InvalidInputError, match="must return a PeriodicCell"):
        Plate(lambda comm: "cell", "none")
    if WORLD.size > 1:
        with pytest.raises(InvalidInputError, match=f"a PeriodicCell on {WORLD.size} ranks"):
            Plate(lambda comm: layered(WORLD), "several")

        def on_one_rank(comm):
            if WORLD.rank == 1:
                raise InvalidInputError("no paper")
            return layered(comm)

        with pytest.raises(LseError, match="no paper"):
            Plate(on_one_rank, "one")
    box = mesh.create_unit_cube(WORLD, 1, 1, 1)
    u = fem.Function(fem.functionspace(box, ("Lagrange", 1, (3,))))
    with pytest.raises(InvalidInputError, match="the cell is 2D"):
        CellStress(layered, ufl.Identity(3) + ufl.grad(u), degree=1)
    with pytest.raises(InvalidInputError, match="F is a ndarray; it must be a UFL expression"):
        CellStress(layered, np.eye(2), degree=1)
    plate = Plate(layered, "derivative")
    with pytest.raises(InvalidInputError, match="give residual="):
        EnergyProblem(plate.P.energy * plate.P.dx, plate.u, stresses=[plate.P], petsc_options_prefix="without_")


@pytest.mark.slow
@pytest.mark.mpi
def test_cells_in_space_in_a_part_of_a_body_beside_a_material():
    """A brick whose left half has cells of the material of its right half, on ranks that may have no cells."""
    material = saint_venant_kirchhoff(3)
    domain = mesh.create_unit_cube(WORLD, 2, 1, 1)
    V = fem.functionspace(domain, ("Lagrange", 1, (3,)))
    u, v = fem.Function(V), ufl.TestFunction(V)
    F = ufl.Identity(3) + ufl.grad(u)
    count = domain.topology.index_map(3).size_local + domain.topology.index_map(3).num_ghosts
    cells = np.arange(count, dtype=np.int32)
    where = 1 + (mesh.compute_midpoints(domain, 3, cells)[:, 0] > 0.5)
    tags = mesh.meshtags(domain, 3, cells, where.astype(np.int32))

    def energy(F):
        E = 0.5 * (F.T * F - ufl.Identity(3))
        return 0.5 * ufl.tr(E) ** 2 + ufl.inner(E, E)

    def make_cell(comm):
        return PeriodicCell(mesh.create_unit_cube(comm, 1, 1, 1), energy, degree=1, quadrature_degree=1)

    bcs, solutions = [clamped(V, lambda x: np.array([0.1 * x[0] * x[1], 0.05 * x[2], -0.1 * x[0] ** 2]))], []
    for first in (CellStress(make_cell, F, degree=1, tags=tags, tag=1), None):
        first = first or QuadratureStress(material, F, degree=1, tags=tags, tag=1)
        second = QuadratureStress(material, F, degree=1, tags=tags, tag=2)
        residual = sum(ufl.inner(P.operator, ufl.grad(v)) * P.dx for P in (first, second))
        u.x.array[:] = 0.0
        prefix = f"brick_{len(solutions)}_"
        MaterialProblem(residual, u, stresses=[first, second], bcs=bcs, petsc_options_prefix=prefix).solve()
        solutions.append((u.x.array.copy(), first.stress_function().x.array.copy()))
    np.testing.assert_allclose(solutions[0][0], solutions[1][0], atol=1e-11)
    np.testing.assert_allclose(solutions[0][1], solutions[1][1], atol=1e-9 * np.abs(solutions[1][1]).max())
