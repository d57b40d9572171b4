"""The lowest eigenvalues, by spectra that are known: negative ones far from zero, multiple ones, and piles of them."""

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from dolfinx.fem.petsc import assemble_matrix
from mpi4py import MPI
from petsc4py import PETSc

import lse_material as lse
from lse_material.fem.solve.eigen import lowest_eigenpairs

WORLD = MPI.COMM_WORLD


def with_spectrum(values, held=3):
    """K and M with these eigenvalues: pairs of rows are coupled, M is not a multiple of I, and `held` rows are held."""
    n = len(values) + held
    K, M = (PETSc.Mat().createAIJ((n, n), nnz=3, comm=WORLD) for _ in range(2))
    mass = 1.0 + 0.5 * np.sin(np.arange(len(values)))
    c, s = np.cos(0.7), np.sin(0.7)
    first, end = K.getOwnershipRange()
    for i in range(first, end):
        if i >= len(values):
            K.setValue(i, i, 1.0)
            M.setValue(i, i, 0.0)
            continue
        j = i ^ 1
        if j >= len(values):
            K.setValue(i, i, values[i] * mass[i])
            M.setValue(i, i, mass[i])
            continue
        a, b = min(i, j), max(i, j)
        R = np.array([[c, s], [-s, c]])
        blocks = [R.T @ np.diag(v) @ R for v in (values[[a, b]] * mass[[a, b]], mass[[a, b]])]
        for A, block in zip((K, M), blocks):
            for column, k in ((a, 0), (b, 1)):
                A.setValue(i, column, block[i - a, k])
    for A in (K, M):
        A.assemble()
    return K, M


def residual(K, M, value, x):
    r, y = K.createVecLeft(), K.createVecLeft()
    K.mult(x, r)
    M.mult(x, y)
    r.axpy(-value, y)
    return r.norm() / y.norm()


RNG = np.random.default_rng(8)
SPECTRA = {
    "positive": np.linspace(0.3, 40.0, 60),
    "negative ones far from zero": np.r_[-900.0, -350.0, -3.0, -2.9, np.linspace(1e-3, 1e-2, 30), 50.0],
    "all negative": -np.linspace(5.0, 9.0, 41),
    "a pile at the lowest": np.r_[2.0 * (1.0 + 1e-6 * RNG.random(250)), 1e4 * (1.0 + RNG.random(50))],
    "a pile above a few": np.r_[-7.0, 1.5, 1.6, 3.0 * (1.0 + 1e-9 * RNG.random(300))],
    "a triple one": np.r_[-4.0, -4.0, -4.0, 1.0 + RNG.random(40)],
    "a singular matrix": np.r_[0.0, 2.0 + RNG.random(40)],
    "few": np.array([-3.0, 1.0, 5.0]),
}


@pytest.mark.mpi
@pytest.mark.parametrize("unit", [1.0, 1e-12, 1e9])
@pytest.mark.parametrize("name", SPECTRA)
def test_the_lowest_of_known_spectra_in_any_unit(name, unit):
    spectrum = SPECTRA[name]
    K, M = with_spectrum(unit * spectrum)
    expected = np.sort(spectrum)
    for count in (1, 3):
        values, vectors = lowest_eigenpairs(K, M, count)
        np.testing.assert_allclose(values / unit, expected[:count], atol=1e-9 * np.abs(expected).max(), rtol=2e-6)
        for value, x in zip(values, vectors):
            assert residual(K, M, value, x) < 1e-6 * unit * np.abs(expected).max()
        gram = []
        for x in vectors:
            y = x.duplicate()
            M.mult(x, y)
            gram.append([y.dot(other) for other in vectors])
        np.testing.assert_allclose(gram, np.eye(count), atol=1e-8)


@pytest.mark.mpi
@pytest.mark.parametrize("shift", [15.0, 45.0, 111.0, 260.0])
def test_the_lowest_modes_of_a_membrane_on_a_soft_ground(shift):
    """(grad u, grad v) - c (u, v) on the unit square: pi^2 (i^2 + j^2) - c, of which many are negative."""
    domain = mesh.create_unit_square(WORLD, 14, 14)
    V = fem.functionspace(domain, ("Lagrange", 2))
    u, v = ufl.TrialFunction(V), ufl.TestFunction(V)
    domain.topology.create_connectivity(1, 2)
    rim = fem.locate_dofs_topological(V, 1, mesh.exterior_facet_indices(domain.topology))
    bcs = [fem.dirichletbc(0.0, rim, V)]
    K = assemble_matrix(fem.form((ufl.inner(ufl.grad(u), ufl.grad(v)) - shift * u * v) * ufl.dx), bcs=bcs)
    M = assemble_matrix(fem.form(u * v * ufl.dx), bcs=bcs, diag=0.0)
    K.assemble()
    M.assemble()
    exact = np.sort([np.pi**2 * (i * i + j * j) - shift for i in range(1, 9) for j in range(1, 9)])
    for count in (1, 4):
        values, vectors = lowest_eigenpairs(K, M, count)
        assert len(vectors) == count
        np.testing.assert_allclose(values + shift, exact[:count] + shift, rtol=2e-3)


@pytest.mark.mpi
def test_all_that_there_are_without_held_rows():
    K, M = with_spectrum(np.array([3.0, -1.0, 2.0]), held=0)
    np.testing.assert_allclose(lowest_eigenpairs(K, M, 3)[0], [-1.0, 2.0, 3.0], rtol=1e-9)


@pytest.mark.mpi
def test_more_than_there_are_and_what_is_not_finite_are_refused():
    K, M = with_spectrum(np.array([1.0, 2.0]), held=2)
    with pytest.raises(lse.InvalidInputError, match="has 2 eigenvalues"):
        lowest_eigenpairs(K, M, 3)
    with pytest.raises(lse.InvalidInputError, match="not finite"):
        lowest_eigenpairs(*with_spectrum(np.array([1.0, np.nan])), 1)
