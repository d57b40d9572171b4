"""The lattice of a periodic cell: its vectors, found from the mesh, and the facets and nodes that they bring onto others.

A cell may have any shape that fills space with its translates: a parallelepiped, a hexagon, the Y of a honeycomb. Voids may cut
its border. A facet of the border is one that some lattice vector n a, with integers n, brings onto another exterior facet, seen
from its other side; all other exterior facets are free surfaces.
"""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from dolfinx import mesh
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import ConvexHull, cKDTree

from lse_material._arrays import Array, float_array
from lse_material.errors import InvalidInputError

PLACE_TOLERANCE = 1e-6  # of positions, relative to the shortest lattice vector; of unit normals
KEY = np.array([1.0, 0.7548776662, 0.569840291])  # orders the nodes of a class, which differ by lattice vectors


@dataclass(frozen=True, eq=False)
class Facets:
    """Exterior facets of a mesh, those of all ranks on each rank."""

    corners: Array  # (n, corners, dim)
    middle: Array  # (n, dim)
    normal: Array  # outward, (n, dim)
    size: Array  # distance of the corners, (n,)


def exterior_facets(domain: mesh.Mesh) -> Facets:
    """The exterior facets of a mesh; collective. Raises InvalidInputError: it is a surface in space."""
    comm, dim, topology = domain.comm, domain.geometry.dim, domain.topology
    if topology.dim != dim:
        raise InvalidInputError(
            f"a cell is solid, and this mesh has cells of dimension {topology.dim} in a space of {dim}."
        )
    for pair in ((dim - 1, dim), (dim, dim - 1), (dim - 1, 0)):
        topology.create_connectivity(*pair)
    facets = mesh.exterior_facet_indices(topology)
    links = topology.connectivity(dim - 1, dim)
    corners = np.zeros((0, 1, dim))
    if len(facets):
        count = len(topology.connectivity(dim - 1, 0).links(facets[0]))
        corners = domain.geometry.x[mesh.entities_to_geometry(domain, dim - 1, facets)[:, :count], :dim]
    middle = mesh.compute_midpoints(domain, dim - 1, facets).reshape(-1, 3)[:, :dim]
    cells = links.array[links.offsets[facets]]
    outward = middle - mesh.compute_midpoints(domain, dim, cells).reshape(-1, 3)[:, :dim]
    if dim > 1 and len(facets):
        along = np.linalg.qr(np.swapaxes(corners[:, 1:dim] - corners[:, :1], 1, 2))[0]
        outward = outward - np.einsum("nij,nkj,nk->ni", along, along, outward)
    normal = outward / np.linalg.norm(outward, axis=1, keepdims=True)
    found = [part for part in comm.allgather((corners, middle, normal)) if len(part[1])]
    corners, middle, normal = (np.concatenate(parts) for parts in zip(*found))
    return Facets(corners, middle, normal, np.ptp(corners, axis=1).max(axis=1))


def lattice_of(facets: Facets) -> Array:
    """Lattice vectors of a cell, (dim, dim): the edges of its bounding box if it fills that, else from parallel sides.

    Raises InvalidInputError: its outline is not convex, or its sides are no pairs that are meshed alike.
    """
    points = facets.corners.reshape(-1, facets.corners.shape[-1])
    low, high, dim = points.min(axis=0), points.max(axis=0), points.shape[1]
    tolerance = PLACE_TOLERANCE * (high - low)
    flat = np.ptp(facets.corners, axis=1) < tolerance
    if all((flat & (np.abs(facets.middle - end) < tolerance)).any(axis=0).all() for end in (low, high)):
        return np.diag(high - low)
    hull = ConvexHull(points)
    distance = (points[hull.vertices] @ facets.normal.T).max(axis=0) - (facets.middle * facets.normal).sum(axis=1)
    left = np.flatnonzero(distance < tolerance.min())
    moves = []
    while len(left):
        normals = facets.normal[left]
        ahead, behind = (np.abs(normals - sign * normals[0]).max(axis=1) < PLACE_TOLERANCE for sign in (1.0, -1.0))
        if ahead.sum() == behind.sum():
            here, there = facets.middle[left[ahead]], facets.middle[left[behind]]
            move = here.mean(axis=0) - there.mean(axis=0)
            if cKDTree(here).query(there + move)[0].max() < tolerance.min():
                moves.append(move * np.sign(move[np.argmax(np.abs(move))]))
        left = left[~(ahead | behind)]
    bases = [np.array(basis) for basis in itertools.combinations(moves, dim)]
    volumes = np.array([abs(np.linalg.det(basis)) for basis in bases])
    fits = np.abs(volumes - hull.volume) < PLACE_TOLERANCE * hull.volume  # otherwise the translates would leave gaps
    if not fits.any():
        raise InvalidInputError(
            f"the lattice of the cell is not found from its mesh: its outline, of volume {hull.volume:.4g}, has {len(moves)} "
            f"pairs of parallel sides that are meshed alike; {dim} of them span the volumes {listed(volumes)}. "
            "Mesh opposite sides alike (gmsh.model.mesh.setPeriodic); or give the lattice vectors, lattice=[[..], [..]], if "
            "the outline is not convex, and fewer of them for a cell with free sides."
        )
    return bases[int(np.argmax(fits))]


def checked_lattice(lattice: Any, dim: int) -> Array:
    """Lattice vectors that a user gives, as an array (k, dim) of 1 <= k <= dim rows.

    Raises:
        InvalidInputError: another shape; they lie in a plane or a line; or, if k < dim, they do not lie along k of the axes.
    """
    found = float_array("lattice", lattice, 2)
    if found.shape[1] != dim or not 1 <= len(found) <= dim:
        raise InvalidInputError(
            f"lattice has shape {found.shape}; its rows are {dim} lattice vectors, ({dim}, {dim}), or fewer if the cell "
            "repeats in some directions only."
        )
    if not volume_of(found) > PLACE_TOLERANCE * np.prod(np.linalg.norm(found, axis=1)):
        raise InvalidInputError(f"lattice vectors {found.tolist()} do not span a cell: they lie in a plane or a line.")
    if len(found) < dim and len(axes_of(found)) != len(found):
        raise InvalidInputError(
            f"the lattice vectors {found.tolist()} of a cell that repeats in {len(found)} of {dim} directions must lie along "
            f"{len(found)} of the coordinate axes, whose components of F are then those of the cell: turn the mesh."
        )
    return found


def volume_of(lattice: Array) -> float:
    """The volume that lattice vectors span, (k, dim): an area or a length if k < dim."""
    return float(np.sqrt(np.linalg.det(lattice @ lattice.T)))


def axes_of(lattice: Array) -> Any:
    """The coordinate axes along which a cell repeats."""
    return np.flatnonzero(np.abs(lattice).max(axis=0) > PLACE_TOLERANCE * np.abs(lattice).max())


def shifts(lattice: Array, points: Array) -> Array:
    """Integers n, one of each n and -n, (m, k), whose n a brings the bounding box of the points onto itself or beside."""
    box = np.ptp(points, axis=0) + PLACE_TOLERANCE * np.linalg.norm(lattice, axis=1).min()
    most = np.floor(box @ np.abs(np.linalg.pinv(lattice)) + PLACE_TOLERANCE).astype(int)
    n = np.array(list(itertools.product(*(range(-m, m + 1) for m in most))))
    return n[len(n) // 2 + 1 :][(np.abs(n[len(n) // 2 + 1 :] @ lattice) <= box).all(axis=1)]


def check_border(facets: Facets, lattice: Array) -> None:
    """Refuse a cell whose translates do not meet facet by facet, two at each facet.

    Raises InvalidInputError: the translates that meet are not those of all lattice vectors; more than two meet at a facet;
    facets overlap without being equal; or, if the cell is a parallelepiped of the lattice, a facet of its sides meets none.
    """
    corners, middle, normal = facets.corners, facets.middle, facets.normal
    tolerance = PLACE_TOLERANCE * np.linalg.norm(lattice, axis=1).min()
    tree, partners, joined, gaps = cKDTree(middle), np.zeros(len(middle), dtype=int), [], np.full(len(middle), np.inf)
    candidates = [sign * n for n in shifts(lattice, corners.reshape(-1, corners.shape[-1])) for sign in (1, -1)]
    for n in candidates:
        distance, other = tree.query(middle + n @ lattice)
        same = np.abs(normal + normal[other]).max(axis=1) < PLACE_TOLERANCE
        gaps = np.minimum(gaps, np.where(same, distance, np.inf))
        same &= (distance < tolerance) & (np.abs(facets.size - facets.size[other]) < tolerance)
        partners += same
        joined += [n] if same.any() else []
    alone = np.flatnonzero(partners == 0)
    s = corners @ np.linalg.pinv(lattice)
    low, high = s.min(axis=(0, 1)), s.max(axis=(0, 1))
    on_side = np.zeros(len(middle), dtype=bool)
    if np.abs(high - low - 1.0).max() < PLACE_TOLERANCE:
        on_side = np.any([(np.abs(s - end) < PLACE_TOLERANCE).all(axis=1).any(axis=1) for end in (low, high)], axis=0)
    for n in candidates if len(alone) else ():
        place = middle[alone] + n @ lattice
        distance, near = cKDTree(middle[alone]).query(place)
        other, gap = alone[near], middle[alone][near] - place
        facing = (np.abs(normal[alone] + normal[other]).max(axis=1) < PLACE_TOLERANCE) & (
            np.abs((gap * normal[alone]).sum(axis=1)) < tolerance
        )
        on_side[alone[facing & (distance < 0.5 * (facets.size[alone] + facets.size[other]))]] = True
    bad = np.flatnonzero(on_side & (partners == 0))
    if len(bad):
        worst = bad[np.argmax(np.where(np.isfinite(gaps[bad]), gaps[bad], -1.0))]
        raise InvalidInputError(
            f"a facet on a side of the cell, at {listed(middle[worst])}, lies {gaps[worst]:.3g} away from any facet of the "
            "opposite side: mesh both alike (mirror one half of the cell, or gmsh.model.mesh.setPeriodic). If that side is "
            "free, leave its lattice vector out."
        )
    minors = [round(np.linalg.det(np.array(some))) for some in itertools.combinations(joined, len(lattice))]
    if np.gcd.reduce([0, *minors]) != 1 or partners.max() > 1:
        raise InvalidInputError(
            f"the mesh extends over {listed(high - low)} of the lattice vectors {lattice.tolist()}, and its translates by "
            "these overlap, or do not meet: each facet of the border must lie on one other exterior facet when it is moved by "
            "a lattice vector. Check the lattice vectors, or leave out that of a free direction."
        )


def node_classes(points: Array, lattice: Array) -> Array:
    """For each of the nodes on exterior facets, of all ranks, the number of that which stands for all its translates."""
    tree, tolerance = cKDTree(points), PLACE_TOLERANCE * np.linalg.norm(lattice, axis=1).min()
    left, right = [np.arange(0)], [np.arange(0)]
    for n in shifts(lattice, points):
        distance, other = tree.query(points + n @ lattice)
        close = np.flatnonzero(distance < tolerance)
        left.append(close)
        right.append(other[close])
    rows, columns = np.concatenate(left), np.concatenate(right)
    graph = coo_array((np.ones(len(rows)), (rows, columns)), (len(points), len(points)))
    labels = connected_components(graph, directed=False)[1]
    order = np.lexsort((node_order(points), labels))
    first = order[np.unique(labels[order], return_index=True)[1]]
    return np.asarray(first[labels])


def node_order(points: Array) -> Array:
    """A number for each place, the same on any number of ranks, by which nodes are ordered."""
    return np.asarray(points @ KEY[: points.shape[1]])


def listed(values: Array) -> str:
    """Numbers in a message."""
    return "(" + ", ".join(f"{value:.4g}" for value in values) + ")"
