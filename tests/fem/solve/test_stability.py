"""Eigenvalues of bodies that can move rigidly: those motions do not count, on any number of ranks."""

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

from lse_material.fem import MULTIGRID, EnergyProblem, energy
from lse_material.fem.solve.stability import is_stable, negative_eigenvalues
from tests.materials import saint_venant_kirchhoff, two_variants

WORLD = MPI.COMM_WORLD
WELL = np.sqrt([1.1, 0.9]) - 1.0  # E = (0.05, -0.05)


def free_square(comm, material, bcs=lambda V: (), *, iterative=False, cells=3):
    V = fem.functionspace(mesh.create_unit_square(comm, cells, cells), ("Lagrange", 1, (2,)))
    u = fem.Function(V)
    W = energy(material, ufl.Identity(2) + ufl.grad(u)) * ufl.dx(degree=1)
    return EnergyProblem(
        W,
        u,
        bcs=bcs(V),
        petsc_options_prefix=f"free_{comm.size}_{iterative}_",
        petsc_options=MULTIGRID if iterative else {},
    )


def rollers(V):
    """The left side may slide."""
    V0 = V.sub(0).collapse()[0]
    left = fem.locate_dofs_geometrical((V.sub(0), V0), lambda x: np.isclose(x[0], 0.0))
    return [fem.dirichletbc(fem.Function(V0), left, V.sub(0))]


@pytest.mark.mpi
@pytest.mark.parametrize("factor", [True, False])
@pytest.mark.parametrize("bcs", [lambda V: (), rollers], ids=["free", "rollers"])
def test_rigid_motions_that_nothing_resists_do_not_count(bcs, factor):
    problem = free_square(WORLD, saint_venant_kirchhoff(2), bcs, iterative=not factor)
    assert is_stable(problem, factor=factor)
    if not problem.bcs:  # turned by 0.4, an angle at which rotations are other displacements
        c, s = np.cos(0.4) - 1.0, np.sin(0.4)
        problem.u.interpolate(lambda x: np.vstack([c * x[0] - s * x[1] + 0.3, s * x[0] + c * x[1]]))
        assert is_stable(problem, factor=factor)


@pytest.mark.mpi
def test_instabilities_of_a_free_body_are_counted_all_the_same():
    alone = free_square(MPI.COMM_SELF, two_variants(rho=1e-3))
    values = np.linalg.eigvalsh(fem.assemble_matrix(alone.J).to_dense())
    expected = int((values < -1e-10 * values.max()).sum())
    assert expected > 0
    for factor in (True, False):  # which counts more than a fifth of all by a factor after all
        problem = free_square(WORLD, two_variants(rho=1e-3), iterative=not factor)
        assert negative_eigenvalues(problem, factor=factor) == expected
        assert not is_stable(problem, factor=factor)


@pytest.mark.mpi
def test_an_iteration_counts_the_instabilities_of_a_free_body():
    """Some wells of one square in a body without conditions, most of it in one well: few negative eigenvalues."""
    problem = free_square(WORLD, two_variants(rho=1e-3), iterative=True, cells=10)
    problem.u.interpolate(
        lambda x: np.vstack([WELL[0] * x[0], WELL[1] * x[1]]) + 0.1 * np.vstack([-(x[0] ** 8), x[1] ** 8])
    )
    expected = negative_eigenvalues(problem, factor=True)
    assert 0 < expected < 32  # of 242
    assert negative_eigenvalues(problem, factor=False) == expected
