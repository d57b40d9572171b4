"""Long runs on several ranks keep no PETSc objects: petsc4py files what Python drops until it is told to destroy it."""

import os
from pathlib import Path

import numpy as np
import pytest
import ufl
from dolfinx import mesh
from mpi4py import MPI

from lse_material.fem import PeriodicCell
from tests.fem.porous import neo_hookean

WORLD = MPI.COMM_WORLD


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@pytest.mark.slow
@pytest.mark.mpi
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="Linux tells resident memory there")
def test_minima_of_a_cell_leave_no_memory_behind():
    """A layer that wrinkles, compressed and released: benchmarks/memory.py in small. A Newton step that left its matrix behind
    would cost 0.25 MB a solve."""
    domain = mesh.create_unit_square(WORLD, 10, 10)
    height = ufl.SpatialCoordinate(domain)[1]
    layer = ufl.conditional(ufl.lt(abs(height - 0.5), 0.1), 20.0, 1.0)
    cell, perturbations = PeriodicCell(domain, lambda F: layer * neo_hookean(F) / 30.0), 0

    def solve(i):
        strain = 0.2 * abs((i % 6) / 3.0 - 1.0)
        if i % 6 == 3:
            cell.reset()
        return cell.minimum(np.array([[1.0 - strain, 0.01], [0.0, 1.0]]), {(1, 1): 0.0}).perturbations

    for i in range(12):
        perturbations += solve(i)
    before = resident()
    for i in range(20):
        solve(i)
    assert perturbations > 0
    assert WORLD.allreduce(resident() - before, MPI.MAX) < 2.0
