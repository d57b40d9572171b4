"""What the four scripts of this story share: the elastomer, and where its files lie.

The solid is nearly incompressible neo-Hookean in plane strain, in units of its shear modulus; lengths are in unit cells:

    W = mu/2 (tr(F^T F) + 1 - 3 - 2 ln J) + (K - 2 mu/3)/2 (J - 1)^2,   K = 50 mu.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gmsh
import ufl
from dolfinx import mesh
from dolfinx.io import gmsh as gmshio
from mpi4py import MPI

MU, K = 1.0, 50.0
UNITS = {"energy": "shear modulus", "stress": "shear modulus", "length": "unit cell"}

DEMOS = Path(__file__).parents[2]
MESHES = DEMOS.parent / "meshes"
SAMPLES = DEMOS / "data" / "porous_cell.npz"
STATES = DEMOS / "data" / "porous_cell.states.npz"
MATERIAL = DEMOS / "materials" / "porous_cell.safetensors"
SINGLE_MODE = DEMOS / "materials" / "porous_cell_single_mode.safetensors"

FINENESS = (4, 2)  # of the cell that was sampled, and of specimens

sys.path.insert(0, str(MESHES))  # its scripts make meshes of any size


def neo_hookean(F: Any) -> Any:
    """W of a UFL deformation gradient (2, 2), plane strain."""
    J = ufl.det(F)
    return MU / 2 * (ufl.inner(F, F) - 2.0 - 2.0 * ufl.ln(J)) + (K - 2 * MU / 3) / 2 * (J - 1.0) ** 2


def positive_part(F: Any, a: Any, b: Any) -> Any:
    """d2W(a, b) without what the stress does as J bends: positive definite at any F, what a preconditioner is built on."""
    cofactor = ufl.cofac(F)
    bulk = MU / ufl.det(F) ** 2 + K - 2 * MU / 3
    return MU * ufl.inner(a, b) + bulk * ufl.inner(cofactor, a) * ufl.inner(cofactor, b)


def cell_mesh(comm: MPI.Comm, fineness: tuple[int, int] | None = None, porosity: float | None = None) -> mesh.Mesh:
    """The 2 x 2 cell, from its file, or as fine and porous as is wanted."""
    import porous_cell

    if fineness is not None:
        given = porous_cell.POROSITY if porosity is None else porosity
        return _from_gmsh(comm, lambda: porous_cell.build((2, 2), fineness=fineness, porosity=given))
    return _from_gmsh(comm, lambda: gmsh.open(str(MESHES / "porous_cell.msh")))


def specimen_mesh(comm: MPI.Comm, cells: tuple[int, int], fineness: tuple[int, int], porosity: Any = None) -> mesh.Mesh:
    """An array of cells[0] x cells[1], cut through the holes at its sides; `porosity` may be a function of their centres."""
    import porous_cell

    given = porous_cell.POROSITY if porosity is None else porosity
    return _from_gmsh(comm, lambda: porous_cell.build(cells, cut="through", fineness=fineness, porosity=given))


def _from_gmsh(comm: MPI.Comm, make: Callable[[], None]) -> mesh.Mesh:
    gmsh.initialize()
    gmsh.option.setNumber("General.Terminal", 0)
    if comm.rank == 0:
        make()
    domain = gmshio.model_to_mesh(gmsh.model, comm, 0, gdim=2).mesh
    gmsh.finalize()
    return domain
