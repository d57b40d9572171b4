"""Bodies that move."""

import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

import lse_material as lse


def displacement(dim, comm=MPI.COMM_SELF, cells=3, degree=1):
    make = {2: mesh.create_unit_square, 3: mesh.create_unit_cube}[dim]
    return fem.Function(fem.functionspace(make(comm, *[cells] * dim), ("Lagrange", degree, (dim,))))


def stored(material, u, degree=2):
    return lse.fem.energy(material, ufl.Identity(len(u)) + ufl.grad(u)) * ufl.dx(degree=degree)
