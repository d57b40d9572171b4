"""Cells with internal variables: memory that follows accepted states alone, consistent tangents, FE2, and what is refused."""

from functools import cache

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

import lse_material as lse
from lse_material.fem import (
    CellPath,
    CellStress,
    Dissipation,
    EnergyProblem,
    LoadPath,
    PeriodicCell,
    QuadratureStress,
    sample,
)
from tests.materials import square_to_rectangle

WORLD, SELF = MPI.COMM_WORLD, MPI.COMM_SELF
PRICE = 0.002


@cache
def two_wells():
    return square_to_rectangle(0.05)


def dissipative(comm=SELF, cells=2):
    """A square with two wells, and a stiffer half."""
    domain = mesh.create_unit_square(comm, cells, cells)
    stiffness = ufl.conditional(ufl.SpatialCoordinate(domain)[0] < 0.5, 1.0, 1.3)
    return PeriodicCell(
        domain,
        lambda F: stiffness * lse.fem.energy(two_wells(), F),
        degree=1,
        quadrature_degree=2,
        internal=lambda F: [Dissipation(two_wells(), F, PRICE, degree=2)],
    )


def sheared(share):
    return np.diag(np.sqrt(1.0 + 0.1 * share * np.array([1.0, -1.0])))


SHARES = [-1.0, -0.6, -0.3, 0.0, 0.4, 1.0, 0.5, 0.0, -0.5, -1.0]


@pytest.mark.mpi
def test_a_cell_remembers_and_loses_the_work_of_a_cycle():
    """Its stress is the mean of those of its material and of prices, and a cycle needs what it dissipates."""
    cell = dissipative(WORLD)
    rows = [
        cell.minimum(sheared(share), tangent=False) for share in np.r_[np.arange(-1, 1, 0.1), np.arange(1, -1.01, -0.1)]
    ]
    F, P, W, paid = (np.array([getattr(s, name) for s in rows]) for name in ("F", "stress", "energy", "dissipated"))
    work = np.r_[0.0, np.cumsum(0.5 * np.einsum("nij,nij->n", P[1:] + P[:-1], np.diff(F, axis=0)))]
    assert np.diff(paid).min() >= 0.0
    lost = paid - paid[0]
    assert lost[-1] > 1e-3
    np.testing.assert_allclose(work, W - W[0] + lost, rtol=0.0, atol=0.03 * lost[-1])  # of the trapezoidal rule


def test_stress_and_tangent_are_derivatives_of_what_a_step_stores_and_dissipates():
    cell, h = dissipative(), 1e-5
    for share in (-1.0, -0.4):
        cell.minimum(sheared(share), tangent=False)
    start, F = cell.snapshot(), sheared(-0.1) + np.array([[0.0, 0.02], [0.0, 0.0]])
    state = cell.minimum(F)
    stress, tangent = np.zeros((2, 2)), np.zeros((2, 2, 2, 2))
    for k in range(2):
        for L in range(2):
            ends = []
            for sign in (1.0, -1.0):
                step = np.zeros((2, 2))
                step[k, L] = sign * h
                cell.restore(start)
                ends.append(cell.minimum(F + step, tangent=False))
            ahead, behind = ends
            change = ahead.energy + ahead.dissipated - behind.energy - behind.dissipated
            stress[k, L] = change / (2.0 * h)
            tangent[:, :, k, L] = (ahead.stress - behind.stress) / (2.0 * h)
    assert state.dissipated > 1e-5
    assert np.abs(stress - state.stress).max() < 1e-6 * np.abs(state.tangent).max()
    assert np.abs(tangent - state.tangent).max() < 1e-5 * np.abs(state.tangent).max()
    cell.restore(start)
    cell.equilibrium(F)
    again = cell.state()  # the tangent of the step, not one of the two sides of its end
    np.testing.assert_allclose(again.tangent, state.tangent, rtol=0.0, atol=1e-9)
    assert again.energy == pytest.approx(state.energy, abs=1e-14)


def test_reset_and_a_state_that_is_not_found_leave_the_memory_as_it_was():
    cell = dissipative()
    first = [cell.minimum(sheared(share), tangent=False).stress for share in SHARES[:3]]
    before = cell.snapshot()
    with pytest.raises(lse.InvalidInputError, match="inside out"):
        cell.minimum(np.diag([1.0, -1.0]))
    with pytest.raises(lse.errors.ConvergenceError):
        cell.minimum(np.diag([1e-3, 1e-3]))
    for now, then in zip(cell.snapshot().memory, before.memory):
        np.testing.assert_array_equal(now, then)
    cell.reset()
    second = [cell.minimum(sheared(share), tangent=False).stress for share in SHARES[:3]]
    np.testing.assert_array_equal(second, first)


def test_stored_stresses_take_the_same_memory():
    domain, found = mesh.create_unit_square(SELF, 2, 2), []
    for stored in (None, lambda F: [QuadratureStress(two_wells(), F, degree=2)]):
        cell = PeriodicCell(
            domain,
            lambda F: lse.fem.energy(two_wells(), F),
            degree=1,
            quadrature_degree=2,
            stresses=stored,
            internal=lambda F: [Dissipation(two_wells(), F, PRICE, degree=2)],
        )
        found.append([cell.minimum(sheared(share)) for share in (-1.0, -0.2, -0.5)])
    for one, other in zip(*found):
        assert one.dissipated == pytest.approx(other.dissipated, abs=1e-10)
        np.testing.assert_allclose(one.stress, other.stress, rtol=0.0, atol=1e-8)
        np.testing.assert_allclose(one.tangent, other.tangent, rtol=0.0, atol=1e-6)
    assert found[0][1].dissipated > 1e-5


def plate(name, nested):
    """A square of two wells under shear of its sides: a cell without structure at each point, or the material itself."""
    domain = mesh.create_unit_square(WORLD, 2, 2)
    V = fem.functionspace(domain, ("Lagrange", 1, (2,)))
    u, v = fem.Function(V), ufl.TestFunction(V)
    F = ufl.Identity(2) + ufl.grad(u)
    sides = fem.locate_dofs_geometrical(V, lambda x: np.isclose(x[0], 0.0) | np.isclose(x[0], 1.0))
    given = fem.Function(V)
    options = {"bcs": [fem.dirichletbc(given, sides)], "petsc_options_prefix": f"{name}_"}

    def make_cell(comm):
        square = mesh.create_unit_square(comm, 1, 1)
        internal = lambda F: [Dissipation(two_wells(), F, PRICE, degree=1)]  # noqa: E731
        W = lambda F: lse.fem.energy(two_wells(), F)  # noqa: E731
        return PeriodicCell(square, W, degree=1, quadrature_degree=1, internal=internal)

    if nested:
        P = CellStress(make_cell, F, degree=1)
        residual = ufl.inner(P.operator, ufl.grad(v)) * P.dx
        problem = EnergyProblem(P.energy * P.dx, u, residual=residual, stresses=[P], **options)
        memory = P
    else:
        memory = Dissipation(two_wells(), F, PRICE, degree=1)
        problem = EnergyProblem(lse.fem.energy(two_wells(), F) * memory.dx + memory.functional, u, **options)

    def shear(share):
        given.interpolate(lambda x: np.array([0.06 * share * x[0], -0.05 * share * x[1] * x[0]]))

    return problem, shear, memory


@pytest.mark.mpi
def test_a_body_of_cells_without_structure_has_the_hysteresis_of_their_material(tmp_path):
    levels, found = [0.0, 1.0, 0.4], []
    for nested in (False, True):
        problem, shear, memory = plate(f"fe2_{nested}", nested)
        path = LoadPath(problem, shear, internal=[memory], progress=False)
        found.append(path.run(levels))
        found[-1]["u"] = problem.u.x.array
    stored, nested = found
    assert stored["dissipated"][-1] > 1e-5
    for name in ("energy", "dissipated", "work", "u"):
        np.testing.assert_allclose(nested[name], stored[name], rtol=0.0, atol=1e-8)
    file = tmp_path / "fe2.npz"
    for steps in (2, 3):
        problem, shear, memory = plate("fe2_again", True)
        path = LoadPath(problem, shear, internal=[memory], progress=False, checkpoint=WORLD.bcast(file))
        path.resume()
        table = path.run(levels[:steps])
    for name in ("energy", "dissipated", "work"):
        np.testing.assert_allclose(table[name], nested[name], rtol=0.0, atol=1e-12)


def test_memory_that_would_not_follow_is_refused():
    domain = mesh.create_unit_square(SELF, 1, 1)

    def forgotten(F):
        one = Dissipation(two_wells(), F, PRICE, degree=2)
        return lse.fem.energy(two_wells(), F) * one.dx + one.functional

    with pytest.raises(lse.InvalidInputError, match="give internal=lambda F"):
        PeriodicCell(domain, forgotten)
    other = fem.Function(fem.functionspace(domain, ("Lagrange", 1, (2,))))
    foreign = Dissipation(two_wells(), ufl.Identity(2) + ufl.grad(other), PRICE, degree=2)
    with pytest.raises(lse.InvalidInputError, match="made of the F"):
        PeriodicCell(domain, lambda F: lse.fem.energy(two_wells(), F), internal=lambda F: [foreign])
    problem, shear, _ = plate("fe2_refused", True)
    with pytest.raises(lse.InvalidInputError, match="would never follow"):
        LoadPath(problem, shear)


def test_a_cell_that_dissipates_gives_no_samples(tmp_path):
    with pytest.raises(lse.LseError, match="no derivative of a W"):
        sample(dissipative, [CellPath.straight(sheared(1.0), 2)], tmp_path / "cell.npz", comm=SELF, progress=False)
