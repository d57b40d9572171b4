"""Bodies that move."""

import numpy as np
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

import lse_material as lse
from tests.materials import square_to_rectangle


def displacement(dim, comm=MPI.COMM_SELF, cells=3, degree=1):
    make = {2: mesh.create_unit_square, 3: mesh.create_unit_cube}[dim]
    return fem.Function(fem.functionspace(make(comm, *[cells] * dim), ("Lagrange", degree, (dim,))))


def stored(material, u, degree=2):
    return lse.fem.energy(material, ufl.Identity(len(u)) + ufl.grad(u)) * ufl.dx(degree=degree)


def thrown(density=1.0, damping=None, **options):
    """Displacement and run of a body with hysteresis; the options are those of `Dynamics`."""
    u, material = displacement(2), square_to_rectangle(0.05)
    F = ufl.Identity(2) + ufl.grad(u)
    hysteresis = lse.fem.Dissipation(material, F, 0.002, degree=2)
    motion = lse.fem.Motion(
        lse.fem.energy(material, F) * hysteresis.dx + hysteresis.functional,
        u,
        density=density,
        damping=damping,
        petsc_options_prefix="thrown_",
    )
    motion.velocity.interpolate(lambda x: np.array([0.4, -0.4])[:, None] * x[:2])
    return u, lse.fem.Dynamics(motion, 0.05, internal=[hysteresis], tolerance=1e-3, progress=False, **options)
