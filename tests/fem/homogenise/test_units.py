"""A cell gives the same in any unit of length and energy, on lattices of any shape, and says truthfully what it refuses."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

import lse_material as lse
from lse_material.fem import PeriodicCell, PeriodicMap
from tests.fem.porous import UNIAXIAL, compressed, neo_hookean, porous_domain
from tests.materials import saint_venant_kirchhoff

WORLD, SELF = MPI.COMM_WORLD, MPI.COMM_SELF
LENGTHS = [1.0, 3e-3, 7e-6, 2e3]


def scaled(length, modulus, comm=SELF):
    domain = porous_domain(comm)
    domain.geometry.x[:] *= length
    return PeriodicCell(domain, lambda F: modulus * neo_hookean(F))


def history(cell, modulus):
    """Dimensionless: numbers, and counts."""
    numbers, counts = [], []
    for strain in (0.015, 0.045, 0.09):
        s = cell.minimum(compressed(strain), UNIAXIAL)
        numbers += [s.energy / modulus, s.F[0, 0], s.stress[1, 1] / modulus, s.order / s.size]
        numbers += list((s.tangent / modulus).ravel())
        counts += [s.iterations, s.perturbations, s.negative, s.buckled]
    return np.array(numbers), counts


@pytest.mark.mpi
@pytest.mark.parametrize(("length", "modulus"), [(3e-3, 1.0), (7e-6, 4e9), (2e3, 1e-7)])
def test_a_cell_that_buckles_is_the_same_in_any_unit_and_on_any_number_of_ranks(length, modulus):
    expected, counts = history(scaled(1.0, 1.0, SELF), 1.0)
    found, same = history(scaled(length, modulus, WORLD), modulus)
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-8)
    assert same == counts
    assert counts[3::4] == [False, True, True]


@pytest.mark.parametrize(("length", "modulus"), [(5e-5, 1e5), (40.0, 1e-3)])
def test_critical_loads_and_lowest_modes_in_any_unit(length, modulus):
    found = []
    for cell, unit in ((scaled(1.0, 1.0), 1.0), (scaled(length, modulus), modulus)):
        critical = cell.critical(compressed, 0.02, 0.055, UNIAXIAL)
        assert cell.negative_eigenvalues() <= 1
        cell.equilibrium(compressed(0.055), UNIAXIAL)
        value, mode = cell.lowest_mode()
        assert value < 0.0
        cell.restore(replace(cell.snapshot(), q=mode.array_r.copy()))
        cell._system.push()  # u is then the mode
        assert np.abs(cell.u.x.array).max() == pytest.approx(1.0)
        found.append([critical, value / unit])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-7)


@pytest.mark.mpi
@pytest.mark.parametrize("length", LENGTHS)
def test_a_homogeneous_cell_of_any_size_converges(length):
    rng = np.random.default_rng(5)
    material = saint_venant_kirchhoff(2, 0.7, 0.4)
    domain = mesh.create_rectangle(WORLD, [[0.0, 0.0], [length, 1.5 * length]], [3, 4])
    F = np.eye(2) + 0.03 * rng.normal(size=(2, 2))
    state = PeriodicCell(domain, lambda F: lse.fem.energy(material, F)).minimum(F)
    scale = np.abs(material.tangent(F)).max()
    np.testing.assert_allclose(state.stress, material.stress(F), atol=1e-11 * scale)
    np.testing.assert_allclose(state.tangent, material.tangent(F), atol=1e-10 * scale)
    assert state.iterations <= 2


def test_the_lowest_mode_is_the_lowest_where_many_are_negative():
    """Beyond several bifurcations, against all eigenvalues of the dense matrices."""
    cell = scaled(1e-3, 1.0)
    cell.equilibrium(np.diag([0.93, 0.9]))
    system = cell._system
    K, M = (A.convert("dense").getDenseArray() for A in (system.tangent(), system.inner_product.copy()))
    free = np.delete(np.arange(cell.unknowns), system.map.average)
    exact = scipy.linalg.eigh(K[np.ix_(free, free)], M[np.ix_(free, free)], eigvals_only=True)
    assert (exact < 0.0).sum() >= 3
    assert cell.negative_eigenvalues() == (exact < 0.0).sum()
    value, mode = cell.lowest_mode()
    assert value == pytest.approx(exact[0], rel=1e-8)
    mode.destroy()


# ---- lattices -------------------------------------------------------------------------------------------------------------


def layers(x):
    """Stiffness that depends on the height alone, with period 1."""
    return 1.0 + 3.0 * ufl.conditional(ufl.lt(x[1], 0.5), 1.0, 0.0)


def linear(c):
    def energy(F):
        e = ufl.sym(F - ufl.Identity(2))
        return c * (0.35 * ufl.tr(e) ** 2 + 0.8 * ufl.inner(e, e))

    return energy


@pytest.mark.mpi
@pytest.mark.parametrize("shear", [0.5, -0.3])
def test_a_sheared_cell_of_layers_has_the_moduli_of_a_box(shear):
    F = np.array([[1.01, 0.02], [0.0, 0.97]])
    states = []
    for tilt in (0.0, shear):
        domain = mesh.create_rectangle(WORLD, [[0.0, 0.0], [0.8, 1.0]], [3, 4])
        domain.geometry.x[:, 0] += tilt * domain.geometry.x[:, 1]
        c = layers(ufl.SpatialCoordinate(domain))
        cell = PeriodicCell(domain, linear(c), degree=1, quadrature_degree=1)
        assert cell.volume == pytest.approx(0.8)
        states.append(cell.minimum(F))
    np.testing.assert_allclose(states[1].tangent, states[0].tangent, rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(states[1].stress, states[0].stress, atol=1e-12)


@pytest.mark.mpi
def test_a_rhombus_on_its_corner_is_a_cell_of_its_lattice():
    """It touches its bounding box in corners, which would be tied and nothing else."""
    a, b = np.array([0.6, 0.9]), np.array([0.6, -0.9])
    domain = mesh.create_unit_square(WORLD, 4, 4)
    domain.geometry.x[:, :2] = 1e-3 * (domain.geometry.x[:, :1] * a + domain.geometry.x[:, 1:2] * b)
    material = saint_venant_kirchhoff(2, 1.1, 0.6)
    energy = lambda F: lse.fem.energy(material, F)  # noqa: E731
    cell = PeriodicCell(domain, energy, lattice=[1e-3 * a, 1e-3 * b])
    assert cell.unknowns == 2 * (8 * 8 - 1) + 4
    F = np.array([[1.02, 0.01], [-0.02, 0.98]])
    np.testing.assert_allclose(
        cell.minimum(F).stress, material.stress(F), atol=1e-11 * np.abs(material.tangent(F)).max()
    )
    found = PeriodicCell(domain, energy).lattice
    np.testing.assert_allclose(np.abs(found), 1e-3 * np.abs([a, b]), rtol=1e-12)
    assert abs(np.linalg.det(found)) == pytest.approx(1.08e-6, rel=1e-12)
    with pytest.raises(lse.InvalidInputError, match=r"extends over \(.*\) of the lattice vectors"):
        PeriodicCell(domain, energy, lattice=[1.1e-3 * a, 1e-3 * b])
    with pytest.raises(lse.InvalidInputError, match="do not span"):
        PeriodicCell(domain, energy, lattice=[a, 2.0 * a])
    with pytest.raises(lse.InvalidInputError, match="shape"):
        PeriodicCell(domain, energy, lattice=[1.0, 2.0])


# ---- what hangs loose -----------------------------------------------------------------------------------------------------


def without(cells, keep):
    """A square of `cells` x `cells` in which cells are left out by their middles."""
    whole = mesh.create_unit_square(WORLD, cells, cells)
    owned = np.arange(whole.topology.index_map(2).size_local, dtype=np.int32)
    kept = owned[keep(mesh.compute_midpoints(whole, 2, owned))]
    return mesh.create_submesh(whole, 2, kept)[0]


@pytest.mark.mpi
@pytest.mark.parametrize("length", [1.0, 1e-6])
def test_a_loose_island_is_named(length):
    domain = without(
        8, lambda x: (np.abs(x[:, :2] - 0.5).max(axis=1) > 0.25) | (np.abs(x[:, :2] - 0.5).max(axis=1) < 0.125)
    )
    domain.geometry.x[:] *= length
    with pytest.raises(lse.InvalidInputError, match=r"2 pieces .* centre at") as caught:
        PeriodicCell(domain, linear(1.0), degree=1)
    middle = str(caught.value).split("centre at (")[1].split(")")[0].split(", ")
    np.testing.assert_allclose([float(v) for v in middle], 0.5 * length, rtol=1e-3)


@pytest.mark.mpi
def test_pieces_that_meet_by_periodicity_are_one():
    """A cross cut into four corners and more: the whole is one piece only on the torus."""
    domain = without(8, lambda x: np.abs(x[:, 0] - 0.5) > 0.25)
    cell = PeriodicCell(domain, linear(1.0), degree=1, quadrature_degree=1)
    assert cell.minimum(np.diag([1.0, 1.01])).negative == 0


def test_a_deformation_that_costs_nothing_is_named():
    """Half of the cell resists changes of its volume alone."""
    domain = mesh.create_unit_square(SELF, 4, 4)
    stiff = ufl.conditional(ufl.lt(ufl.SpatialCoordinate(domain)[1], 0.5), 1.0, 0.0)

    def energy(F):
        e = ufl.sym(F - ufl.Identity(2))
        return 0.5 * ufl.tr(e) ** 2 + stiff * ufl.inner(e, e)

    cell = PeriodicCell(domain, energy, degree=2, quadrature_degree=2)
    with pytest.raises(lse.ConvergenceError, match="costs no energy"):
        cell.minimum(np.array([[1.0, 0.01], [0.0, 1.01]]))
    with pytest.raises(lse.InvalidInputError, match="modulus of the cell at F = I is 0"):
        PeriodicCell(domain, lambda F: (ufl.tr(F) - 2.0) ** 4, degree=1)
    with pytest.raises(lse.InvalidInputError, match="UFL scalar of the F"):
        PeriodicCell(domain, lambda F: stiff, degree=1)
    for name in ("perturbation_size", "tolerance"):
        with pytest.raises(lse.InvalidInputError, match=name):
            PeriodicCell(domain, energy, **{name: 0.0})


# ---- one rule for all forms -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("own", ["one degree", "measures of its own, no degree", "measures of its own, one without"])
def test_stress_and_tangent_are_those_of_the_energy_that_is_summed(own):
    """A rule that is far from exact for this energy: derivatives agree only if all forms have the same."""
    domain = mesh.create_unit_square(SELF, 3, 3)
    middles = mesh.compute_midpoints(domain, 2, np.arange(18, dtype=np.int32))
    tags = mesh.meshtags(domain, 2, np.arange(18, dtype=np.int32), (1 + (middles[:, 0] > 0.5)).astype(np.int32))
    dx = ufl.Measure("dx", domain, subdomain_data=tags)

    def density(F):
        C = F.T * F
        return ufl.exp(0.3 * ufl.inner(C, C)) + (ufl.det(F) - 1.0) ** 4 + ufl.inner(F, F) ** 3 / 9.0

    energies = {
        "one degree": lambda F: density(F) * (1.0 + ufl.SpatialCoordinate(domain)[0]),
        "measures of its own, no degree": lambda F: density(F) * dx(1) + 3.0 * density(F) * dx(2),
        "measures of its own, one without": lambda F: density(F) * dx(1) + 3.0 * density(F) * dx(2, degree=1),
    }
    cell = PeriodicCell(domain, energies[own], degree=2, quadrature_degree=1 if own == "one degree" else 4)
    rng, system = np.random.default_rng(4), cell._system
    system.map.set_average(cell.q, 0.05 * rng.normal(size=(2, 2)))
    cell.q.array[:] += 0.01 * rng.normal(size=cell.unknowns)
    here, direction, h = cell.q.array_r.copy(), rng.normal(size=cell.unknowns), 2e-6
    energies_at, gradients_at = [], []
    for sign in (1.0, -1.0):
        cell.q.array[:] = here + sign * h * direction
        energies_at.append(system.energy())
        gradients_at.append(system.gradient().array_r.copy())
    cell.q.array[:] = here
    slope, image = system.gradient().array_r @ direction, system.q.duplicate()
    moved = cell.q.duplicate()
    moved.array[:] = direction
    system.stiffness().mult(moved, image)
    assert slope == pytest.approx((energies_at[0] - energies_at[1]) / (2.0 * h), rel=1e-6)
    difference = (gradients_at[0] - gradients_at[1]) / (2.0 * h)
    assert np.abs(image.array_r - difference).max() < 1e-5 * np.abs(difference).max()


@pytest.mark.mpi
def test_ranks_without_cells_do_not_wait():
    """Two cells: some ranks have none, the last of them the average gradient."""
    domain = mesh.create_unit_square(WORLD, 1, 1)
    material = saint_venant_kirchhoff(2, 1.1, 0.6)
    cell = PeriodicCell(domain, lambda F: lse.fem.energy(material, F))
    F = np.array([[1.01, 0.02], [0.0, 0.99]])
    state = cell.minimum(F, {(1, 1): float(material.stress(F)[1, 1])})
    np.testing.assert_allclose(state.F, F, atol=1e-9)
    assert cell.lowest_mode()[0] > 0.0
    assert cell.fingerprint() == WORLD.bcast(cell.fingerprint())
    V = fem.functionspace(domain, ("Lagrange", 1, (2,)))
    assert PeriodicMap(V).size == 4
