"""One element driven by the exported UMAT alone: Newton's method is quadratic, and the result is that of FEniCSx."""

import itertools

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

import lse_material as lse
from lse_material import GreenLagrange, Growth, IsotropicInvariants
from lse_material.model import mandel
from tests.export.umat import GFORTRAN, VOIGT, library, umat
from tests.materials import random_material, relative_error, well

pytestmark = pytest.mark.skipif(GFORTRAN is None, reason="no gfortran")
CORNERS = np.array(list(itertools.product((0.0, 1.0), repeat=3)))
GAUSS = 0.5 + np.array(list(itertools.product((-1.0, 1.0), repeat=3))) / np.sqrt(12.0)


def tensors(stress, tangent):
    """Cauchy stress (3, 3) and tangent of the Truesdell rate (3, 3, 3, 3): that of the Jaumann rate less the stretching."""
    s, c, one = np.empty((3, 3)), np.empty((3, 3, 3, 3)), np.eye(3)
    for n, (i, j) in enumerate(VOIGT[6]):
        s[i, j] = s[j, i] = stress[n]
        for m, (k, l) in enumerate(VOIGT[6]):
            c[i, j, k, l] = c[j, i, k, l] = c[i, j, l, k] = c[j, i, l, k] = tangent[n, m]
    stretching = np.einsum("il,jk->ijkl", s, one) + np.einsum("ik,jl->ijkl", s, one)
    return s, c - 0.5 * (stretching + stretching.swapaxes(0, 1))


def element(compiled, u):
    """Energy, forces (8, 3) and stiffness (8, 3, 8, 3) of the unit cube with these displacements of its corners."""
    energy, forces, stiffness = 0.0, np.zeros((8, 3)), np.zeros((8, 3, 8, 3))
    for point in GAUSS:
        each = np.where(CORNERS == 1.0, point, 1.0 - point)
        gradients = np.where(CORNERS == 1.0, 1.0, -1.0) * each[:, [1, 2, 0]] * each[:, [2, 0, 1]]
        F = np.eye(3) + u.T @ gradients
        W, stress, tangent, *_ = umat(compiled, F)
        s, c = tensors(stress, tangent)
        B, volume = gradients @ np.linalg.inv(F), np.linalg.det(F) / 8.0
        energy += W / 8.0
        forces += volume * B @ s
        stiffness += volume * np.einsum("aj,ijkl,bl->aibk", B, c + np.einsum("jl,ik->ijkl", s, np.eye(3)), B)
    return energy, forces, stiffness


def newton(compiled, prescribed, u):
    """Displacements in equilibrium where `prescribed` (8, 3) is NaN, and the residual of each iteration."""
    free = np.isnan(prescribed)
    u, residuals = np.where(free, u, prescribed), []
    for _ in range(20):
        _, forces, stiffness = element(compiled, u)
        residuals.append(np.abs(forces[free]).max())
        if residuals[-1] < 1e-14 * np.abs(forces).max():
            break
        step = np.linalg.solve(stiffness.reshape(24, 24)[np.ix_(free.ravel(), free.ravel())], -forces[free])
        u = u.copy()
        u[free] += step
    return u, np.array(residuals)


def by_fenicsx(material, prescribed, start):
    """Displacements and forces at the corners, from the same trilinear element."""
    domain = mesh.create_unit_cube(MPI.COMM_SELF, 1, 1, 1, mesh.CellType.hexahedron)
    V = fem.functionspace(domain, ("Lagrange", 1, (3,)))
    u = fem.Function(V)
    at = [int(np.argmin(np.abs(V.tabulate_dof_coordinates() - corner).sum(1))) for corner in CORNERS]
    u.x.array.reshape(-1, 3)[at] = start
    bcs = [
        fem.dirichletbc(prescribed[a, i], np.array([3 * at[a] + i], dtype=np.int32), V.sub(int(i)))
        for a, i in np.argwhere(~np.isnan(prescribed))
    ]
    W = lse.fem.energy(material, ufl.Identity(3) + ufl.grad(u)) * ufl.dx(degree=3)
    residual = ufl.derivative(W, u, ufl.TestFunction(V))
    lse.fem.MaterialProblem(residual, u, bcs=bcs, petsc_options_prefix="element_").solve()
    forces = fem.assemble_vector(fem.form(residual)).array.reshape(-1, 3)[at]
    return u.x.array.reshape(-1, 3)[at], forces


@pytest.mark.parametrize("load", ["tension", "shear"])
@pytest.mark.parametrize("kinematics", [GreenLagrange(3), IsotropicInvariants(3)], ids=["E", "invariants"])
def test_a_clamped_element_deforms_as_in_fenicsx(kinematics, load, tmp_path):
    material = random_material(np.random.default_rng(0), kinematics, growth=Growth(20.0), modes=2, rho=0.5)
    if isinstance(kinematics, GreenLagrange):
        centres = (
            mandel(0.5 * (np.diag(stretches) ** 2 - np.eye(3))) for stretches in ([1.1, 0.95, 0.95], [0.95, 0.95, 1.1])
        )
        material = lse.Material(lse.SoftMinimum(tuple(well(2.0, centre) for centre in centres), 0.02), kinematics)
    compiled = library(material, tmp_path)
    prescribed, top = np.full((8, 3), np.nan), CORNERS[:, 2] == 1.0
    prescribed[~top] = 0.0
    prescribed[top, 2 if load == "tension" else 0] = 0.1
    start = 0.1 * CORNERS[:, [2]] * np.array([load == "shear", 0.0, load == "tension"])
    u, residuals = newton(compiled, prescribed, start)
    exact, forces = by_fenicsx(material, prescribed, start)
    assert relative_error(u, exact) < 1e-9
    assert relative_error(element(compiled, u)[1], forces) < 1e-9
    assert len(residuals) < 10
    scale = np.abs(forces).max()
    fast = [k for k in range(1, len(residuals)) if residuals[k] / scale > 1e-11 and residuals[k - 1] / scale < 1e-1]
    assert fast
    assert all(residuals[k] / scale < 50.0 * (residuals[k - 1] / scale) ** 2 for k in fast)
