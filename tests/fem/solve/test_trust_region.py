"""What PETSc's trust region is given beside residual and tangent."""

import numpy as np
import pytest
from mpi4py import MPI
from petsc4py import PETSc

from lse_material.fem.solve.trust_region import EnergyDifferences


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
