"""What PETSc's trust region is given beside residual and tangent."""

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI
from petsc4py import PETSc

import lse_material as lse
from lse_material.fem import EnergyProblem
from lse_material.fem.solve.trust_region import EnergyDifferences
from tests.materials import saint_venant_kirchhoff


@pytest.mark.parametrize("energy_far_off", [np.inf, 0.0])
def test_a_newton_step_that_raises_the_energy_is_tried_once_however_large_the_radius(energy_far_off):
    """Pi = sqrt(1 + x^2): Newton's step from x leads to -x^3. Beyond 100 the energy may not be finite."""
    x, tried = PETSc.Vec().createSeq(1, comm=MPI.COMM_SELF), []
    A = PETSc.Mat().createAIJ((1, 1), nnz=1, comm=MPI.COMM_SELF)

    def energy(y):
        tried.append(y.array_r[0])
        return np.hypot(1.0, y.array_r[0]) + (energy_far_off if abs(y.array_r[0]) > 100.0 else 0.0)

    def gradient(y, out):
        out.array[0] = y.array_r[0] / np.hypot(1.0, y.array_r[0])

    def tangent(snes, y, A, P):
        A.setValue(0, 0, np.hypot(1.0, y.array_r[0]) ** -3)
        A.assemble()

    snes = PETSc.SNES().create(MPI.COMM_SELF)
    snes.setType("newtontr")
    snes.getKSP().setType("stcg")
    snes.getKSP().getPC().setType("jacobi")
    snes.setFunction(lambda snes, y, out: gradient(y, out), x.duplicate())
    snes.setJacobian(tangent, A)
    snes.setObjective(EnergyDifferences(energy, gradient, x))
    snes.setTRTolerances(delta_min=1e-12, delta_0=1e6)
    x.array[0] = 10.0
    snes.solve(None, x)
    assert snes.getConvergedReason() > 0
    assert x.array[0] == pytest.approx(0.0, abs=1e-6)
    refused = [y for y in tried if abs(y) > 10.0]
    assert len(refused) == len(set(refused)) <= 3
    for thing in (snes, A, x):
        thing.destroy()


def test_a_preconditioner_of_the_tangent_itself_is_refused_where_there_is_another_and_right_where_there_is_none():
    """The same square by eisenstat on the residual, and by the default of the energy."""
    domain = mesh.create_unit_square(MPI.COMM_SELF, 3, 3)  # PETSc's eisenstat is for one rank
    V = fem.functionspace(domain, ("Lagrange", 1, (2,)))
    u = fem.Function(V)
    left, right = (fem.locate_dofs_geometrical(V, lambda x, at=at: np.isclose(x[0], at)) for at in (0.0, 1.0))
    bcs = [fem.dirichletbc(np.zeros(2), left, V), fem.dirichletbc(np.array([0.07, 0.0]), right, V)]
    W = lse.fem.energy(saint_venant_kirchhoff(2), ufl.Identity(2) + ufl.grad(u)) * ufl.dx(degree=1)
    options = {"ksp_type": "cg", "pc_type": "eisenstat", "ksp_rtol": 1e-12}
    with pytest.raises(lse.InvalidInputError, match="eisenstat is made of the tangent itself"):
        EnergyProblem(W, u, bcs=bcs, petsc_options_prefix="split_", petsc_options=options)
    problems = [
        EnergyProblem(W, u, bcs=bcs, petsc_options_prefix="default_"),
        lse.fem.MaterialProblem(ufl.derivative(W, u), u, bcs=bcs, petsc_options_prefix="split_", petsc_options=options),
    ]
    forces = []
    for problem in problems:
        u.x.array[:] = 0.0
        problem.solve()
        forces.append(problem.reaction(bcs[1]))
    assert forces[0] == pytest.approx(forces[1], rel=1e-9)
