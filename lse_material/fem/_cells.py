"""The mesh on which an expression lives, and the cells that a tag marks or an integral covers, on this rank.

Tags may be of the mesh itself, or of one that an entity map joins to it.
"""

from collections.abc import Sequence
from typing import Any

import basix
import numpy as np
import numpy.typing as npt
import scipy.sparse
import ufl
from dolfinx import default_scalar_type, fem, mesh
from mpi4py import MPI
from scipy.sparse.csgraph import connected_components
from ufl.core.expr import Expr

from lse_material._arrays import Array, Mask
from lse_material.errors import InvalidInputError
from lse_material.fem._mpi import expect_same


def owned_cells(domain: mesh.Mesh) -> Array:
    """The cells that this rank owns, int32; none on a rank without cells."""
    return np.arange(domain.topology.index_map(domain.topology.dim).size_local, dtype=np.int32)


def marked_cells(
    domain: mesh.Mesh, tags: mesh.MeshTags, tag: int | Sequence[int], *, entity_maps: Sequence[mesh.EntityMap] = ()
) -> Array:
    """Those owned cells of `domain` that have one of the tags, in ascending order. Collective.

    Args:
        domain: the mesh whose cells are returned.
        tags: of its cells, or of the cells of a mesh that one of `entity_maps` joins to it (a submesh and its parent).
        tag: one tag or several.
        entity_maps: as DOLFINx takes them, for tags of another mesh.

    Raises:
        InvalidInputError: on every rank, if the tags are of facets or of a mesh that is not joined, or a tag marks no cell.
    """
    wanted = tag_values(tag)
    dim = domain.topology.dim
    if not isinstance(tags, mesh.MeshTags):
        raise InvalidInputError(f"tags is a {type(tags).__name__}; make the cell tags by dolfinx.mesh.meshtags.")
    if tags.dim != dim:
        raise InvalidInputError(
            f"the tags mark entities of dimension {tags.dim}; a material fills cells, of dimension {dim}: give the cell tags."
        )
    cells, values = where_on(domain, tags, tags.indices, entity_maps, "`tags`"), tags.values
    count = domain.topology.index_map(dim).size_local
    cells, values = cells[(cells >= 0) & (cells < count)], values[(cells >= 0) & (cells < count)]
    found = np.array([np.count_nonzero(values == one) for one in wanted], dtype=np.int64)
    domain.comm.Allreduce(MPI.IN_PLACE, found, MPI.SUM)
    if not found.all():
        here = sorted(set().union(*domain.comm.allgather(set(values.tolist()))))
        missing = [int(one) for one in wanted[found == 0]]
        raise InvalidInputError(f"no cell of this mesh has the tag {missing[0]}; the tags of its cells are {here}.")
    return np.sort(cells[np.isin(values, wanted)]).astype(np.int32)


def material_cells(
    domain: mesh.Mesh, tags: mesh.MeshTags | None, tag: int | Sequence[int] | None, *, degree: int
) -> tuple[Array, ufl.Measure]:
    """The owned cells of a material, those of the tags or all, and the measure dx on them with a quadrature rule. Collective.

    Raises:
        InvalidInputError: on every rank, if one of `tags` and `tag` is missing, a tag is given twice, or ranks differ in tag
            or degree; and as `marked_cells`.
    """
    expect_same(domain.comm, "(degree, tag)", (int(degree), None if tag is None else np.atleast_1d(tag).tolist()))
    if (tags is None) != (tag is None):
        raise InvalidInputError("give both tags and tag for a material of some cells, or neither for all.")
    metadata = {"quadrature_degree": degree, "quadrature_scheme": "default"}
    measure = ufl.Measure("dx", domain=domain, subdomain_data=tags, metadata=metadata)
    if tags is None or tag is None:
        return owned_cells(domain), measure
    marks = tuple(tag_values(tag).tolist())
    if not marks or len(set(marks)) < len(marks):
        raise InvalidInputError(f"tag is {tag!r}: give one value, or several that differ.")
    return marked_cells(domain, tags, marks), measure(marks)


def tag_values(tag: int | Sequence[int]) -> npt.NDArray[np.int64]:
    """One tag or several, as an array. Raises InvalidInputError: they are no whole numbers."""
    values = np.atleast_1d(np.asarray(tag))
    if values.size and values.dtype.kind not in "iu":
        raise InvalidInputError(f"tag is {tag!r}; tags are whole numbers.")
    return values.astype(np.int64)


def covered_cells(integral: ufl.Integral, domain: mesh.Mesh) -> Array:
    """The owned cells of `domain` that a cell integral covers, in ascending order."""
    marks, data, cells = integral.subdomain_id(), integral.subdomain_data(), owned_cells(domain)
    if marks in (None, "everywhere", "otherwise") or data is None:
        return cells
    marks = [int(mark) for mark in np.atleast_1d(marks)]
    if isinstance(data, mesh.MeshTags):
        parts = [data.find(mark) for mark in marks]
    else:
        parts = [np.asarray(part) for mark, part in data if mark in marks]
    return np.intersect1d(np.concatenate([cells[:0], *parts]), cells)


def where_on(
    end: mesh.Mesh | mesh.MeshTags,
    start: mesh.Mesh | mesh.MeshTags,
    cells: Array,
    entity_maps: Sequence[mesh.EntityMap],
    what: str,
) -> Array:
    """The numbers that cells of the mesh of `start` have in the mesh of `end`; -1 for those that it lacks.

    Raises InvalidInputError, with the name `what` of what lives on the other mesh, if no entity map joins the two.
    """
    if same_topology(start.topology, end.topology):
        return np.asarray(cells)
    for joined in entity_maps:
        if joined.dim != start.topology.dim:
            continue
        for whole, part, inverse in (
            (joined.topology, joined.sub_topology, True),
            (joined.sub_topology, joined.topology, False),
        ):
            if same_topology(whole, start.topology) and same_topology(part, end.topology):
                return np.asarray(joined.sub_topology_to_topology(cells, inverse))
    raise InvalidInputError(
        f"{what} lives on another mesh than the cells of the material, and no entity map joins the two: give "
        "entity_maps=[...], as mesh.create_submesh returns them, or tags of this mesh (dolfinx.mesh.transfer_meshtag)."
    )


def connected_parts(V: fem.FunctionSpace, keys: Any, shared: Any) -> tuple[Array, int]:
    """The connected part to which each node of V on this rank belongs, a number equal on all ranks; and how many there are.

    Nodes of one cell are connected, and nodes of the same key are one: `keys` has an integer for each node of this rank, ghosts
    included. `shared`: whether other nodes, on any rank, may have the same key.
    """
    cells, comm = V.dofmap.list, V.mesh.comm
    rows = np.repeat(np.arange(len(cells)), cells.shape[1])
    size = len(cells) + len(keys)
    graph = scipy.sparse.coo_array((np.ones(len(rows)), (rows, len(cells) + cells.ravel())), (size, size))
    local = connected_components(graph, directed=False)[1][len(cells) :]
    common = np.unique(np.concatenate(comm.allgather(keys[shared])))
    mine = np.isin(keys, common)
    links = comm.allgather((local.max(initial=-1) + 1, local[mine], keys[mine]))
    starts = np.concatenate([[0], np.cumsum([count for count, _, _ in links])])
    left = np.concatenate([start + labels for start, (_, labels, _) in zip(starts, links)])
    right = starts[-1] + np.searchsorted(common, np.concatenate([nodes for _, _, nodes in links]))
    size = starts[-1] + len(common)
    joined = scipy.sparse.coo_array((np.ones(len(left)), (left, right)), (size, size))
    number = connected_components(joined, directed=False)[1][: starts[-1]]
    parts: Array = np.unique(number, return_inverse=True)[1][starts[comm.rank] + local]
    return parts, len(np.unique(number))


def meshes_of(expression: Any) -> list[mesh.Mesh]:
    """The meshes of the functions in a UFL expression, each once."""
    found: list[mesh.Mesh] = []
    for function in functions_of(expression):
        domain = function.function_space.mesh
        if not any(same_topology(domain.topology, known.topology) for known in found):
            found.append(domain)
    return found


def mesh_of(F: Any, domain: mesh.Mesh | None = None) -> mesh.Mesh:
    """The mesh on which F lives: `domain` if it is given, else the only one of its functions.

    Raises InvalidInputError: there is none, or several, or F is no UFL expression.
    """
    if not isinstance(F, Expr):
        raise InvalidInputError(
            f"F is a {type(F).__name__}; it must be a UFL expression, such as Identity(dim) + grad(u)."
        )
    if not ufl.domain.extract_domains(F):
        raise InvalidInputError(
            "F is the same number everywhere: write it by a dolfinx Function or Constant of the mesh."
        )
    if domain is not None:
        return domain
    if len(found := meshes_of(F)) != 1:
        raise InvalidInputError(
            f"the functions in F live on {len(found)} meshes: give domain=..., the mesh that is integrated over, with the "
            "entity_maps between several meshes; or F = Identity(dim) + grad(u) of a dolfinx Function u."
        )
    return found[0]


def known_in(expression: Any, domain: mesh.Mesh, cells: Array, entity_maps: Sequence[mesh.EntityMap]) -> Mask:
    """Whether all functions in a UFL expression live in each of some cells."""
    known = np.ones(len(cells), dtype=bool)
    for other in meshes_of(expression):
        known &= where_on(other, domain, cells, entity_maps, "a function in F") >= 0
    return known


def require_known(expression: Any, domain: mesh.Mesh, cells: Array, entity_maps: Sequence[mesh.EntityMap]) -> None:
    """Raise InvalidInputError unless all functions in a UFL expression live in all of these cells; collective."""
    unknown = domain.comm.allreduce(int(np.count_nonzero(~known_in(expression, domain, cells, entity_maps))))
    if unknown:
        raise InvalidInputError(
            f"a function of F does not live in {unknown} of the cells of the material: give tags= and tag= of those in which "
            "it does."
        )


def functions_of(expression: Any) -> list[fem.Function]:
    """The functions in a UFL expression."""
    return [f for f in ufl.algorithms.extract_coefficients(expression) if isinstance(f, fem.Function)]


def stored_at_points(expression: Any) -> list[fem.Function]:
    """The functions in a UFL expression that have values at the points of a quadrature rule alone."""
    return [f for f in functions_of(expression) if f.function_space.ufl_element().has_custom_quadrature]


def values_at(expression: fem.Expression, domain: mesh.Mesh, cells: Array) -> Array:
    """The values of an expression at its points in some cells, (cells, points, ...), float64, also where there is no cell."""
    shape = len(cells), len(expression.X()), *expression.ufl_expression.ufl_shape
    return np.asarray(expression.eval(domain, cells), dtype=np.float64).reshape(shape)


def require_degree(degree: Any, least: int = 0) -> None:
    """Raise InvalidInputError unless the degree of a quadrature rule is a whole number."""
    if isinstance(degree, bool) or not isinstance(degree, (int, np.integer)) or degree < least:
        raise InvalidInputError(f"quadrature degree is {degree!r}; it must be a whole number, at least {least}.")


def require_points(expression: Any, degree: int, what: str) -> None:
    """Check that all functions of an expression have values at the points of a rule.

    Raises InvalidInputError: one is stored at the points of another rule.
    """
    for function in stored_at_points(expression):
        element = function.function_space.ufl_element()
        points, _ = basix.make_quadrature(element.cell_type, degree)
        own, _ = element.custom_quadrature()
        if own.shape != points.shape or not np.allclose(own, points):
            raise InvalidInputError(
                f"the function {function.name!r} is stored at {len(own)} quadrature points of each cell, which are not those "
                f"of degree {degree} of {what}: give the degree of its element, {element.embedded_superdegree}."
            )


def require_double(*functions: fem.Function, what: str, real: bool = False, domain: mesh.Mesh | None = None) -> None:
    """Raise InvalidInputError unless functions and meshes are of double precision.

    Functions may be complex in a complex build of PETSc, except with `real`.
    """
    scalars = (np.float64,) if real else (np.float64, default_scalar_type)
    found = [(f"the function {f.name!r}", f.x.array.dtype) for f in functions]
    meshes = [f.function_space.mesh for f in functions] if domain is None else [domain]
    for name, dtype in found + [("the mesh", one.geometry.x.dtype) for one in meshes]:
        if dtype not in scalars:
            raise InvalidInputError(
                f"{what} needs float64, and {name} is {dtype}: compiled potentials and stored stresses are float64, and PETSc "
                "has one precision only. Make the mesh with dtype=np.float64, and functions with the default dtype of a real "
                "build of PETSc."
            )


def require_real(expression: Any, what: str) -> None:
    """Raise InvalidInputError if a function in a UFL expression is complex."""
    if any(np.issubdtype(f.dtype, np.complexfloating) for f in functions_of(expression)):
        raise InvalidInputError(f"{what} has complex functions; materials are real: take its real part.")


def require_one_shape(domain: mesh.Mesh, what: str, *, facets: bool = False) -> None:
    """Raise InvalidInputError unless all cells have one shape; with `facets`, all their facets too (those of prisms do not)."""
    shapes = domain.topology.entity_types
    kinds = [("cells", shapes[domain.topology.dim])]
    if facets:
        kinds.append(("facets", shapes[domain.topology.dim - 1]))
    for kind, found in kinds:
        if len(found) > 1:
            raise InvalidInputError(
                f"{what} needs a mesh whose {kind} have one shape, and this one has "
                f"{' and '.join(each.name for each in found)}: mesh the body with triangles or quadrilaterals alone, in space "
                "with tetrahedra or hexahedra alone."
            )


def same_topology(a: Any, b: Any) -> bool:
    """Whether two topologies are the same object, in DOLFINx's Python or beneath it."""
    return bool(getattr(a, "_cpp_object", a) == getattr(b, "_cpp_object", b))
