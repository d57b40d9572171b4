"""Meshes with folded cells are refused: integrals take the absolute volume of a cell, so a fold would count as material, twice.

Two signs of a fold: the determinant of a cell's map changes its sign within the cell (a quadrilateral that is not convex), or
two cells lie on the same side of the face between them. The orientation of a whole cell is no sign: that of simplices is free.
"""

import basix
import numpy as np
from dolfinx import mesh
from mpi4py import MPI

from lse_material._arrays import Array
from lse_material.errors import InvalidInputError
from lse_material.fem._compat import geometry_dofmap

ROUNDING = 1e-12  # of the square of a determinant
MOST_CELLS = 500_000  # of a rank, whose faces are looked at: larger meshes save the memory


def refuse_folded(*domains: mesh.Mesh) -> None:
    """Raise InvalidInputError if cells of a mesh are folded; collective.

    Faces are looked at in straight meshes of simplices, of up to 500,000 cells on each rank.
    """
    for domain in {id(domain): domain for domain in domains}.values():
        found = [place for there in domain.comm.allgather(_folds(domain)[:1].tolist()) for place in there]
        if found:
            raise InvalidInputError(
                f"the mesh is folded near {np.round(found[0], 6).tolist()}: a cell there is turned inside out, or lies over "
                "its neighbour. Mesh the body anew, or move its nodes by less."
            )


def _folds(domain: mesh.Mesh) -> Array:
    """The places of folds on this rank; collective."""
    tdim, gdim = domain.topology.dim, domain.geometry.dim
    if tdim != gdim or len(domain.topology.entity_types[tdim]) > 1:
        return np.empty((0, gdim))
    nodes = domain.geometry.x[geometry_dofmap(domain)][:, :, :gdim]
    if nodes.shape[1] > tdim + 1:
        return _changing_sign(domain, nodes)
    if domain.comm.allreduce(len(nodes), MPI.MAX) <= MOST_CELLS:
        return _across_faces(domain, nodes)
    return np.empty((0, gdim))


def _changing_sign(domain: mesh.Mesh, nodes: Array) -> Array:
    """Centres of cells in which the determinant of the map has both signs at corners and middles of edges, or vanishes at all.

    It may vanish at some of them: at the collapsed corner of a quadrilateral, or where nodes lie at quarters of edges.
    """
    element = domain.ufl_domain().ufl_coordinate_element().sub_elements[0].basix_element
    points = basix.create_lattice(element.cell_type, 2, basix.LatticeType.equispaced, True)
    gradients = element.tabulate(1, points)[1:, :, :, 0]
    volumes = np.linalg.det(np.einsum("dpn,cni->cpid", gradients, nodes))
    size = np.abs(volumes).max(axis=1, initial=0.0)
    both_signs = volumes.min(axis=1, initial=np.inf) * volumes.max(axis=1, initial=-np.inf) < -ROUNDING * size**2
    folded: Array = nodes[both_signs | (size == 0.0)]
    return folded.mean(axis=1)


def _across_faces(domain: mesh.Mesh, nodes: Array) -> Array:
    """Centres of faces whose two simplices lie on the same side."""
    topology, tdim = domain.topology, domain.topology.dim
    topology.create_connectivity(tdim - 1, tdim)
    joined = topology.connectivity(tdim - 1, tdim)
    faces = np.flatnonzero(np.diff(joined.offsets) == 2).astype(np.int32)
    cells = joined.array[joined.offsets[faces][:, None] + np.arange(2)]
    topology.create_connectivity(tdim - 1, 0)
    corners = domain.geometry.x[mesh.entities_to_geometry(domain, tdim - 1, faces)][:, :, : nodes.shape[2]]
    edges = corners[:, 1:] - corners[:, :1]
    centres = nodes.mean(axis=1)[cells] - corners[:, :1]
    sides = [np.linalg.det(np.concatenate([edges, centres[:, k : k + 1]], axis=1)) for k in range(2)]
    folded: Array = corners[sides[0] * sides[1] >= 0.0]
    return folded.mean(axis=1)
