"""A periodic cell with 2 x 2 holes that buckles under compression."""

import gmsh
import numpy as np
import ufl
from dolfinx.io import gmsh as gmshio
from mpi4py import MPI

from lse_material.fem import CellPath, PeriodicCell
from meshes import porous_cell

WORLD = MPI.COMM_WORLD
POROSITY = porous_cell.POROSITY
UNIAXIAL = {(0, 0): 0.0}  # no stress P11


def neo_hookean(F):
    """W of a nearly incompressible material."""
    J = ufl.det(F)
    return 0.5 * (ufl.inner(F, F) - 2.0 - 2.0 * ufl.ln(J)) + 25.0 * (J - 1.0) ** 2


def porous_domain(comm=WORLD, porosity=POROSITY):
    """2 x 2 holes, as coarse as can be."""
    gmsh.initialize()
    gmsh.option.setNumber("General.Terminal", 0)
    if comm.rank == 0:
        porous_cell.build((2, 2), porosity=porosity, fineness=(2, 1))
    domain = gmshio.model_to_mesh(gmsh.model, comm, 0, gdim=2).mesh
    gmsh.finalize()
    return domain


def porous(comm=WORLD, porosity=POROSITY):
    return PeriodicCell(porous_domain(comm, porosity), neo_hookean)


def compressed(strain, shear=0.0):
    """F of a compression along X2 and a shear."""
    return np.array([[1.0, shear], [0.0, 1.0 - strain]])


BUCKLING_PATHS = [CellPath.straight(compressed(0.06, 0.02), 2), CellPath.straight(compressed(0.06), 3, UNIAXIAL)]
