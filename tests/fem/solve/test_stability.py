"""Eigenvalues of bodies that can move rigidly: those motions do not count, on any number of ranks."""

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

from lse_material.fem import EnergyProblem, energy
from lse_material.fem.solve.stability import is_stable, negative_eigenvalues
from tests.materials import saint_venant_kirchhoff, two_variants

WORLD = MPI.COMM_WORLD


def free_square(comm, material, bcs=lambda V: ()):
    V = fem.functionspace(mesh.create_unit_square(comm, 3, 3), ("Lagrange", 1, (2,)))
    u = fem.Function(V)
    W = energy(material, ufl.Identity(2) + ufl.grad(u)) * ufl.dx(degree=1)
    return EnergyProblem(W, u, bcs=bcs(V), petsc_options_prefix=f"free_{comm.size}_")


def rollers(V):
    """The left side may slide."""
    V0 = V.sub(0).collapse()[0]
    left = fem.locate_dofs_geometrical((V.sub(0), V0), lambda x: np.isclose(x[0], 0.0))
    return [fem.dirichletbc(fem.Function(V0), left, V.sub(0))]


@pytest.mark.mpi
@pytest.mark.parametrize("bcs", [lambda V: (), rollers], ids=["free", "rollers"])
def test_rigid_motions_that_nothing_resists_do_not_count(bcs):
    problem = free_square(WORLD, saint_venant_kirchhoff(2), bcs)
    assert is_stable(problem)
    if not problem.bcs:  # turned by 0.4, an angle at which rotations are other displacements
        c, s = np.cos(0.4) - 1.0, np.sin(0.4)
        problem.u.interpolate(lambda x: np.vstack([c * x[0] - s * x[1] + 0.3, s * x[0] + c * x[1]]))
        assert is_stable(problem)


@pytest.mark.mpi
def test_instabilities_of_a_free_body_are_counted_all_the_same():
    alone = free_square(MPI.COMM_SELF, two_variants(rho=1e-3))
    values = np.linalg.eigvalsh(fem.assemble_matrix(alone.J).to_dense())
    expected = int((values < -1e-10 * values.max()).sum())
    assert expected > 0
    problem = free_square(WORLD, two_variants(rho=1e-3))
    assert negative_eigenvalues(problem) == expected
    assert not is_stable(problem)
