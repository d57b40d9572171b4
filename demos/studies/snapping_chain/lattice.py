"""The lattice that snaps: its solid, the mesh of its cell and of a stack of rows.

Beams turn far and stretch little, which is what the energy of Saint-Venant and Kirchhoff is for; in plane strain and in units
of the shear modulus:

    W = lambda/2 (tr E)^2 + mu E : E,    E = (F^T F - I)/2,    lambda = 1.5 mu (Poisson's ratio 0.3).

The mesh, with elements of degree 2, makes the cell 2.4 % too stiff (its peak stress, against a mesh twice as fine), in the
chain as in the data.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import gmsh
import ufl
from dolfinx import mesh
from dolfinx.io import gmsh as gmshio
from mpi4py import MPI

sys.path.insert(0, str(Path(__file__).parents[3] / "meshes"))  # its scripts make meshes of any size
import snapping_cell

MU, LAMBDA = 1.0, 1.5
UNITS = {"energy": "shear modulus", "stress": "shear modulus", "length": "cell width"}
HEIGHT = snapping_cell.Shape().height
TURNED = 2.0 * snapping_cell.Shape().rise / HEIGHT  # strain of a row whose beams have turned over


def energy(F: Any) -> Any:
    """W of a UFL deformation gradient (2, 2)."""
    E = 0.5 * (F.T * F - ufl.Identity(2))
    return LAMBDA / 2 * ufl.tr(E) ** 2 + MU * ufl.inner(E, E)


def material_tangent(F: Any, a: Any, b: Any) -> Any:
    """d2W(a, b) without what the stress does as the solid turns: positive at any F, what a preconditioner is built on."""
    Ea, Eb = (ufl.sym(F.T * gradient) for gradient in (a, b))
    return LAMBDA * ufl.tr(Ea) * ufl.tr(Eb) + 2.0 * MU * ufl.inner(Ea, Eb)


def lattice(comm: MPI.Comm, rows: int) -> mesh.Mesh:
    """A stack of rows, one cell wide."""
    gmsh.initialize()
    gmsh.option.setNumber("General.Terminal", 0)
    if comm.rank == 0:
        snapping_cell.build(rows)
    domain = gmshio.model_to_mesh(gmsh.model, comm, 0, gdim=2).mesh
    gmsh.finalize()
    return domain
