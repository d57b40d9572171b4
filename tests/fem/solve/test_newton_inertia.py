"""Newton's method with the inertia under control, on energies that are no finite-element problems but fit its protocol."""

import itertools
from contextlib import closing

import numpy as np
import pytest
from mpi4py import MPI
from petsc4py import PETSc
from scipy.sparse import block_array, diags_array, eye, random

import lse_material as lse
from lse_material.fem.solve.inertia import SymmetricFactor
from lse_material.fem.solve.newton_inertia import blended_and_raised, minimise, newton, perturb


def vector(values):
    x = PETSc.Vec().createSeq(len(values), comm=MPI.COMM_SELF)
    x.array[:] = values
    return x


def matrix(values):
    A = PETSc.Mat().createAIJ(np.shape(values), comm=MPI.COMM_SELF)
    A.setUp()
    for (i, j), value in np.ndenumerate(values):
        A.setValue(i, j, value)
    A.assemble()
    return A


class Wells:
    """E = sum_i (x_i^2 - 1)^2/4 + x_1 x_2/10 - tilt.x: saddles and a maximum between minima; no energy beyond `wall`."""

    energy_scale = 0.0

    def __init__(self, start, tilt=(0.0, 0.0), wall=np.inf):
        self.x, self.at, self.tilt, self.wall = vector([0.0, 0.0]), np.array(start), np.array(tilt), wall
        self.A, self.convex = None, matrix(np.diag([2.0, 2.0]))
        self.energies = []

    def iterate(self, out):
        out.array[:] = self.at

    def set_iterate(self, x):
        self.at = x.array_r.copy()

    def value(self):
        if np.abs(self.at).max() > self.wall:
            return np.nan
        return float((0.25 * (self.at**2 - 1.0) ** 2).sum() + 0.1 * self.at[0] * self.at[1] - self.tilt @ self.at)

    def residual(self, out):
        self.energies.append(self.value())
        out.array[:] = self.at**3 - self.at + 0.1 * self.at[::-1] - self.tilt

    def tangent(self):
        self.A = matrix(np.diag(3.0 * self.at**2 - 1.0) + 0.1 * np.eye(2)[::-1])
        return self.A

    def positive_tangents(self):
        return blended_and_raised(self.A, self.convex)

    def is_converged(self, residual):
        return residual.norm() < 1e-12


class Cables(Wells):
    """E = sum_i sqrt(1 + x_i^2), convex; Newton's method goes from x to -x^3, and so from 1 to -1 and back for ever."""

    def value(self):
        return float(np.sqrt(1.0 + self.at**2).sum())

    def residual(self, out):
        out.array[:] = self.at / np.sqrt(1.0 + self.at**2)

    def tangent(self):
        self.A = matrix(np.diag((1.0 + self.at**2) ** -1.5))
        return self.A


STARTS = list(itertools.product((-0.4, 0.05, 0.5), (-1.2, -0.03, 0.3)))


@pytest.mark.parametrize("start", STARTS)
def test_the_energy_falls_from_step_to_step_to_a_minimum_from_wherever_it_starts(start):
    wells = Wells(start, (0.02, -0.01))
    minimise(wells)
    assert (np.diff(wells.energies) <= 1e-13 * np.abs(wells.energies[1:])).all()
    assert (np.linalg.eigvalsh(np.diag(3.0 * wells.at**2 - 1.0) + 0.1 * np.eye(2)[::-1]) > 0.0).all()


@pytest.mark.parametrize("start", [(1.0, -1.0), (1.0, 0.3), (3.0, 1.0)])
def test_whole_steps_to_states_of_the_same_energy_are_halved(start):
    cables = Cables(start)
    assert minimise(cables) < 15
    np.testing.assert_allclose(cables.at, 0.0, atol=1e-12)


def test_plain_newton_stays_at_the_maximum_that_the_minimiser_leaves():
    plain, down = Wells((0.1, 0.05)), Wells((0.1, 0.05))
    assert newton(plain, 20) > 0
    np.testing.assert_allclose(plain.at, 0.0, atol=1e-12)
    minimise(down)
    assert down.value() < 0.1
    assert plain.value() == pytest.approx(0.5)


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_saddle_is_left_to_the_side_of_lower_energy(side):
    wells = Wells((0.0, 0.0), (1e-3 * side, 0.0))
    assert perturb(wells, vector([1.0, 0.0]), 0.1)
    np.testing.assert_array_equal(wells.at, [0.1 * side, 0.0])


def test_a_saddle_of_a_symmetric_energy_is_left_forwards_and_a_wall_on_both_sides_is_no_way():
    wells = Wells((0.0, 0.0), wall=1.0)
    assert perturb(wells, vector([-1.0, 0.5]), 0.1)
    np.testing.assert_allclose(wells.at, [-0.1, 0.05], atol=1e-17)
    assert not perturb(wells, vector([1.0, 0.5]), 3.0)
    np.testing.assert_allclose(wells.at, [-0.1, 0.05], atol=1e-17)
    wells.at = np.array([0.5, 0.0])
    assert perturb(wells, vector([1.0, 0.0]), 0.7)  # there is a wall ahead
    np.testing.assert_allclose(wells.at, [-0.2, 0.0], atol=1e-15)


def test_steps_into_a_wall_are_halved():
    for method in (minimise, lambda problem: newton(problem, 20)):
        wells = Wells((0.62, 1.0), wall=1.05)  # the first full step goes to about 1.3
        method(wells)
        assert np.abs(wells.at).max() < 1.05


@pytest.mark.parametrize("with_convex", [True, False])
def test_any_symmetric_matrix_becomes_positive(with_convex):
    rng = np.random.default_rng(3)
    for _ in range(5):
        A = rng.normal(size=(6, 6))
        A = matrix(A + A.T - 3.0 * np.eye(6))
        before = A.getValues(range(6), range(6))
        P = matrix(np.diag(-np.ones(6))) if with_convex else None
        with SymmetricFactor(A.comm) as factor, closing(blended_and_raised(A, P)) as matrices:
            assert any(factor.is_positive(C) for C in matrices)
        np.testing.assert_array_equal(A.getValues(range(6), range(6)), before)


def test_who_finds_no_minimum_says_so():
    class Slope(Wells):
        def is_converged(self, residual):
            return False

    with pytest.raises(lse.ConvergenceError, match="ran out of its 3 iterations"):
        minimise(Slope((0.9, 0.9)), 3)
    with pytest.raises(lse.ConvergenceError, match="ran out of its 3 iterations"):
        newton(Slope((0.9, 0.9)), 3)
    with pytest.raises(lse.ConvergenceError, match="no step along Newton's direction has a finite energy"):
        newton(Wells((2.0, 2.0), wall=0.5), 3)


def test_a_factor_that_needs_more_memory_than_was_foreseen_counts_right():
    """Pivots of a saddle that MUMPS delays: D of 400 positive entries from 1e-12 to 1, beside 199 constraints."""
    rng = np.random.default_rng(0)
    B = random(199, 400, density=0.02, random_state=rng) + eye(199, 400)
    K = block_array([[diags_array(10.0 ** rng.uniform(-12.0, 0.0, 400)), B.T], [B, None]], format="csr")
    K = K + diags_array(np.zeros(599))  # PETSc wants the diagonal to be there
    A = PETSc.Mat().createAIJ(K.shape, csr=(K.indptr, K.indices, K.data), comm=MPI.COMM_SELF)
    with SymmetricFactor(A.comm) as factor:
        assert factor.inertia(A) == (199, 0, 400)
