"""The fingerprint of a problem: a few numbers that show whether a cache or checkpoint belongs to it.

A form's signature contains its formula, quadrature degrees, and the content of its potentials, but no values. Values of
constants are stored as they are. Coefficients, the mesh's coordinates and tags are stored as their root mean square and some
projections on fixed irregular vectors. These follow the order in which cells came into the mesh, so that they are equal on any
number of ranks, to rounding, and a change of one value in a million shows.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

from lse_material._arrays import Array
from lse_material.fem.paths.checkpoint import cell_numbers, values_by_cell, vertices_by_cell

EQUAL = 1e-9  # two values count as one if they differ by less than this share of their size
RATES = np.sqrt(np.array([2.0, 3.0, 5.0]))  # of the irregular vectors

Fingerprint = dict[str, Any]  # name of a part -> str, or list of floats, the first of which is the size of the others


def fingerprint(
    forms: Mapping[str, ufl.Form],  # by names
    *,
    unknown: fem.Function,  # a coefficient whose values do not count
    bcs: Sequence[fem.DirichletBC] = (),  # on it; their places count, not their values, which are loads
    without: Iterable[Any] = (),  # further coefficients and constants whose values do not count
    numbers: Mapping[str, Any] | None = None,  # name -> further numbers, (n,), the same on every rank
) -> Fingerprint:
    """The fingerprint of forms with all that they depend on; collective."""
    left_out = [unknown, *without]
    parts: Fingerprint = {}
    meshes: list[mesh.Mesh] = []
    for name, form in forms.items():
        parts[f"formula of the {name}"] = form.signature()
        for k, c in enumerate(form.constants()):
            if isinstance(c, fem.Constant) and not any(c is other for other in left_out):
                parts[f"constant {k} of the {name}"] = _plain_numbers(c.value)
        for k, f in enumerate(form.coefficients()):
            if isinstance(f, fem.Function) and not any(f is other for other in left_out):
                parts[f"coefficient {k} of the {name} ({f.name})"] = _of_function(f)
        for domain, by_type in form.subdomain_data().items():
            meshes.append(mesh.Mesh(domain.ufl_cargo(), domain))
            for kind, data in by_type.items():
                tags = [d for d in data if d is not None]
                if tags:
                    parts[f"tags of the {name} ({kind})"] = _of_tags(meshes[-1], kind, tags[0])
    parts["mesh"] = _projections(meshes[0], vertices_by_cell(meshes[0]))
    if bcs:
        prescribed = fem.Function(unknown.function_space)
        for bc in bcs:
            prescribed.x.array[bc.dof_indices()[0]] = 1.0
        prescribed.x.scatter_forward()
        parts["places of Dirichlet conditions"] = _of_function(prescribed)
    parts.update({name: _plain_numbers(values) for name, values in (numbers or {}).items()})
    return parts


def differences(one: Fingerprint, other: Fingerprint) -> list[str]:
    """Names of the parts that differ or are missing in one of the two."""
    return [name for name in sorted({*one, *other}) if not _same(one.get(name), other.get(name))]


def to_text(parts: Fingerprint) -> str:
    """As text, for a file."""
    return json.dumps(parts)


def differences_from(text: Any, parts: Fingerprint) -> list[str]:
    """`differences` from the text in a file; all parts if it is no fingerprint."""
    try:
        stored = json.loads(str(text))
    except ValueError:
        stored = None
    return differences(stored, parts) if isinstance(stored, dict) else sorted(parts)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, list) and isinstance(b, list):
        x, y = np.array(a), np.array(b)
        return x.shape == y.shape and bool((np.abs(x - y) <= EQUAL * abs(x[0])).all())
    return type(a) is type(b) and a == b


def _plain_numbers(values: Any) -> list[float]:
    """The largest modulus, and the values."""
    flat = _real(np.asarray(values).reshape(1, -1)).ravel()
    return [float(np.abs(flat).max(initial=0.0)), *flat.tolist()]


def _of_function(f: fem.Function) -> list[float]:
    domain = f.function_space.mesh
    values = values_by_cell(f)
    if values is None:  # degrees of freedom depend on the orientation of edges: take values inside the cells
        cells = domain.topology.index_map(domain.topology.dim).size_local
        points = np.asarray(f.function_space.element.interpolation_points)
        found = fem.Expression(f, points).eval(domain, np.arange(cells, dtype=np.int32))
        values = np.asarray(found).reshape(cells, int(np.prod(found.shape[1:], dtype=int)))
    return _projections(domain, values)


def _projections(domain: mesh.Mesh, values: Array) -> list[float]:
    """Root mean square and projections of the values of cells, (cells, n), with or without ghosts."""
    owned = domain.topology.index_map(domain.topology.dim).size_local
    rows = _real(values[:owned].reshape(owned, int(np.prod(values.shape[1:], dtype=int))))
    place = (cell_numbers(domain)[:owned, None] * rows.shape[1] + np.arange(rows.shape[1])).ravel()
    return _reduced(domain.comm, rows.ravel(), [np.sin(rate * (place + 1.0)) for rate in RATES])


def _real(values: Array) -> Array:
    parts = (values.real, values.imag) if np.iscomplexobj(values) else (values,)
    return np.concatenate(parts, axis=1).astype(float)


def _of_tags(domain: mesh.Mesh, kind: str, tags: Any) -> list[float]:
    """Of the values of mesh tags, or of pairs (id, entities), by the places of the entities."""
    values, middles = [], []
    if isinstance(tags, Sequence):
        columns = {"cell": 1, "interior_facet": 4}.get(kind, 2)  # cells, or pairs of a cell and its facet
        for number, entities in tags:
            table = np.asarray(entities).reshape(-1, columns)
            for k in range(0, columns, 2):
                values.append(float(number) + 0.1 * table[:, k + 1 : k + 2].sum(axis=1))
                middles.append(_middles(domain, domain.topology.dim, table[:, k]))
    else:
        own = tags.indices < domain.topology.index_map(tags.dim).size_local
        values.append(tags.values[own].astype(float))
        middles.append(_middles(domain, tags.dim, tags.indices[own]))
    x = np.concatenate([np.empty((0, 3)), *middles])
    size = float(domain.comm.allreduce(np.abs(domain.geometry.x).max(initial=0.0), MPI.MAX)) or 1.0
    weights = [np.sin(1e3 * rate * (x / size) @ np.array([1.0, 0.7, 0.4])) for rate in RATES]
    return _reduced(domain.comm, np.concatenate([np.empty(0), *values]), weights)


def _middles(domain: mesh.Mesh, dim: int, entities: Any) -> Any:
    domain.topology.create_connectivity(dim, domain.topology.dim)
    return mesh.compute_midpoints(domain, dim, np.asarray(entities, dtype=np.int32))


def _reduced(comm: MPI.Comm, values: Array, weights: Sequence[Array]) -> list[float]:
    sums = [float(len(values)), float(values @ values), *(float(values @ w) for w in weights)]
    total = np.array(comm.allreduce(np.array(sums)))
    count = max(total[0], 1.0)
    size = float(np.sqrt(total[1] / count))
    return [size, size * count, *(total[2:] / np.sqrt(count)).tolist()]
