"""The lattice: its solid, and the mesh of its cell and of a block of cells.

A cell is that of `meshes/snapping_cell.py` with flatter beams and thicker bars: two clamped beams, as in a truss of von Mises,
bear the bar above. As it comes down the beams lie down, and their force falls until they hang below their feet. Let go, they
stand up: along this path the energy has one well, and is not convex. The solid is that of Saint-Venant and Kirchhoff in plane
strain, in units of the shear modulus; lengths are in widths of the cell:

    W = lambda/2 (tr E)^2 + mu E : E,    E = (F^T F - I)/2,    lambda = 1.5 mu (Poisson's ratio 0.3).

The bars are thick, so that a row collapses as a whole. Two thirds as thick, they bend: with three columns one half of a row
collapsed, and the other half of the rows next to it. Specimens are meshed like the cell that is sampled, whose
largest stress is 1.5 % above that of a mesh three times as fine, and the least one beyond 11 %.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import gmsh
import numpy as np
import ufl
from basix.ufl import element
from dolfinx import mesh
from dolfinx.io import gmsh as gmshio
from mpi4py import MPI

import lse_material as lse

sys.path.insert(0, str(Path(__file__).parents[3] / "meshes"))  # its scripts make meshes of any size
import snapping_cell

MU, LAMBDA = 1.0, 1.5
UNITS = {"energy": "shear modulus", "stress": "shear modulus", "length": "cell width"}
SHAPE = snapping_cell.Shape(rise=0.055, thickness=0.03, bow=0.0, bar=0.24, clearance=0.02)
HEIGHT = SHAPE.height
FINENESS = (8, 1, 1)  # of the cell that is sampled, and of blocks
EQUAL = 1e-6  # distance of nodes that are one


class BarStretches(lse.StrainMeasure):
    """x = (|F e1| - 1, |F e2| - 1, sine of the change of the angle between the two); e1 along the bars, e2 across them.

    Where W is convex in x the stress P22 cannot fall as the bars come closer, as it may where W is convex in E.
    """

    size = 3
    is_tensor = (
        False  # the lattice is a thousand times as stiff along the bars as across them: each input has its own unit
    )

    def components(self, F: Any) -> Any:
        C = F.T @ F
        along, across = lse.model.sqrt(C[0, 0]), lse.model.sqrt(C[1, 1])
        return along - 1.0, across - 1.0, C[0, 1] / (along * across)


def energy(F: Any) -> Any:
    """W of a UFL deformation gradient (2, 2)."""
    E = 0.5 * (F.T * F - ufl.Identity(2))
    return LAMBDA / 2 * ufl.tr(E) ** 2 + MU * ufl.inner(E, E)


def material_tangent(F: Any, a: Any, b: Any) -> Any:
    """d2W(a, b) without what the stress does as the solid turns: positive at any F, what a preconditioner is built on."""
    Ea, Eb = (ufl.sym(F.T * gradient) for gradient in (a, b))
    return LAMBDA * ufl.tr(Ea) * ufl.tr(Eb) + 2.0 * MU * ufl.inner(Ea, Eb)


def nodes_of_cell() -> tuple[np.ndarray, np.ndarray]:
    """Nodes (n, 2) of one cell, [0, 1] x [0, HEIGHT], and those of its quadrilaterals (m, 4)."""
    gmsh.initialize()
    gmsh.option.setNumber("General.Terminal", 0)
    snapping_cell.build(shape=SHAPE, fineness=FINENESS)
    x = gmshio.extract_geometry(gmsh.model)[:, :2]
    parts = [entry["topology"] for entry in gmshio.extract_topology_and_markers(gmsh.model)[0].values()]
    gmsh.finalize()
    corners = next(part for part in parts if part.shape[1] == 4)
    return x, corners[:, [0, 1, 3, 2]]  # in the order of a tensor product


def block(comm: MPI.Comm, columns: int = 1, rows: int = 1) -> mesh.Mesh:
    """An array of cells, [0, columns] x [0, rows HEIGHT]."""
    nodes, cells = np.zeros((0, 2)), np.zeros((0, 4), dtype=np.int64)
    if comm.rank == 0:
        x, corners = nodes_of_cell()
        moves = [(column, row * HEIGHT) for column in range(columns) for row in range(rows)]
        places = np.concatenate([x[corners] + move for move in moves]).reshape(-1, 2)
        keys = np.round(places / EQUAL).astype(int)
        _, first, number = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        nodes, cells = places[first], number.reshape(-1, 4)
    return mesh.create_mesh(comm, cells, element("Lagrange", "quadrilateral", 1, shape=(2,)), nodes)
