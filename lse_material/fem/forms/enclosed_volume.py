"""The volume of a cavity, from the displacement of the surface around it: a functional for pressures and prescribed volumes.

    V = -int w(x) . cof(F) N dA,     x = X + u,  div w = 1,  N out of the body and so into the cavity

by the divergence theorem; w = (x - origin)/dim, or of fewer axes. It is exact for the interpolated displacement, in curved
cells too: the integrand is a polynomial in the coordinates of the facet. Its derivative by u is the force of a unit pressure,
which follows the surface.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import ufl
from dolfinx import fem, mesh
from ufl.core.expr import Expr

from lse_material._arrays import Array
from lse_material.errors import InvalidInputError
from lse_material.fem._cells import require_one_shape
from lse_material.fem._mpi import integral
from lse_material.fem.forms.measures import estimated_degree
from lse_material.fem.forms.reduced import circumference

CLOSED = 1e-8  # of the area, or its moment: smaller sums of normals, and differences of volumes, are rounding


def enclosed_volume(
    u: Expr,
    ds: ufl.Measure,
    *,
    axes: Sequence[int] | None = None,
    origin: Sequence[float] | None = None,
    axisymmetric: bool = False,
) -> ufl.Form:
    """The volume of a cavity in the deformed body, a functional of u; in two dimensions its area. Collective.

    A cavity may be open where the model is cut, or at a mouth, if the rim stays in a plane across a coordinate axis. What is
    missing of its surface adds nothing if that plane goes through the origin, or if the axis is left out of `axes`. One half of
    a cavity has one half of its volume.

    Args:
        u: displacement, UFL vector.
        ds: measure of the surface of the cavity alone. Without a quadrature degree it gets one that is exact.
        axes: coordinates whose flux is summed; all if left out. They must agree on the volume of the undeformed cavity.
        origin: a point in the planes of all openings across `axes`, (dim,). If left out there must be none.
        axisymmetric: the mesh is one of (r, z), and the volume that of the whole revolution. The axis r = 0 is no opening.

    Raises:
        InvalidInputError: `u`, `ds`, `axes` or `origin` are not of the kind above; `ds` has no facets; there is an opening
            that needs an origin or other axes; the volume is negative, as it is for the outer surface of a body.

    >>> plate = mesh.create_rectangle(MPI.COMM_WORLD, [(1.0, 0.0), (2.0, 1.0)], (2, 2))  # in (r, z)
    >>> bore = mesh.locate_entities_boundary(plate, 1, lambda x: np.isclose(x[0], 1.0))
    >>> tags = mesh.meshtags(plate, 1, np.sort(bore), np.ones(len(bore), dtype=np.int32))
    >>> ds = ufl.Measure("ds", plate, subdomain_data=tags)(1)
    >>> u = fem.Function(fem.functionspace(plate, ("Lagrange", 1, (2,))))
    >>> volume = lse.fem.enclosed_volume(u, ds, axes=[0], axisymmetric=True)  # open at z = 0 and z = 1
    >>> round(fem.assemble_scalar(fem.form(volume)) / np.pi, 12)
    1.0
    """
    domain: Any = ufl.domain.extract_unique_domain(u) if isinstance(u, Expr) else None
    dim = 0 if domain is None else domain.geometric_dimension
    shape = getattr(u, "ufl_shape", None)
    if dim not in (2, 3) or shape != (dim,) or domain.topological_dimension != dim:
        raise InvalidInputError(
            f"the displacement has UFL shape {shape} on a mesh of dimension {dim}: a cavity lies in a body in two or three "
            "dimensions, of which u has as many components."
        )
    if not isinstance(ds, ufl.Measure) or ds.integral_type() != "exterior_facet":
        raise InvalidInputError("ds is a measure of exterior facets, those of the cavity: ufl.Measure('ds', ...)(tag).")
    require_one_shape(mesh.Mesh(domain.ufl_cargo(), domain), "enclosed_volume", facets=True)
    axes = tuple(range(dim)) if axes is None else tuple(axes)
    if not axes or len(set(axes)) < len(axes) or not set(axes) <= set(range(dim)):
        raise InvalidInputError(f"axes is {list(axes)}: give numbers from 0 to {dim - 1}, each once.")
    place = np.zeros(dim) if origin is None else np.asarray(origin, dtype=float)
    if place.shape != (dim,) or not np.isfinite(place).all() or (axisymmetric and place[0] != 0.0):
        raise InvalidInputError(
            f"origin is {origin}: give {dim} coordinates" + (", the first of which is r = 0." if axisymmetric else ".")
        )
    degree = max(estimated_degree(u), domain.ufl_coordinate_element().embedded_superdegree)
    exact = ds(degree=(3 if axisymmetric else dim) * degree)
    surface = _Surface(domain, exact, place, axisymmetric)
    _require_cavity(surface, axes, given=origin is not None)
    fluxes, whole = surface.fluxes(u), sum(surface.weight(i) for i in axes)
    density = sum(surface.weight(i) / whole * fluxes[i] for i in axes)
    return density * (ds if "quadrature_degree" in ds.metadata() else exact)


class _Surface:
    """The surface of a cavity, and the volume by the flux along each axis; axisymmetric if the coordinates are (r, z)."""

    def __init__(self, domain: Any, ds: ufl.Measure, origin: Array, axisymmetric: bool) -> None:
        self._domain, self._ds, self._origin, self._axisymmetric = domain, ds, origin, axisymmetric
        self._ring = circumference(domain) if axisymmetric else ufl.as_ufl(1.0)  # of the undeformed body

    def weight(self, axis: int) -> int:
        """Of an axis in the divergence of the coordinates: the radial one counts for two."""
        return 2 if self._axisymmetric and axis == 0 else 1

    def fluxes(self, u: Expr) -> list[Expr]:
        """The integrand of the volume by each axis, for a displacement."""
        X, N = ufl.SpatialCoordinate(self._domain), ufl.FacetNormal(self._domain)
        ring = 2.0 * ufl.pi * (X[0] + u[0]) if self._axisymmetric else 1.0
        normal = ufl.dot(ufl.cofac(ufl.Identity(len(N)) + ufl.grad(u)), N)
        place = [X[i] + u[i] - float(self._origin[i]) for i in range(len(N))]
        return [-ring * place[i] * normal[i] / self.weight(i) for i in range(len(N))]

    def undeformed(self) -> tuple[float, float, Array, Array]:
        """Area, its moment about the origin, the volume by each axis, and the normal summed over the surface; collective."""
        domain = mesh.Mesh(self._domain.ufl_cargo(), self._domain)
        N, dim = ufl.FacetNormal(domain), domain.geometry.dim
        place = ufl.SpatialCoordinate(domain) - ufl.as_vector(self._origin.tolist())
        by_axis = [-place[i] * N[i] / self.weight(i) for i in range(dim)]
        integrands = [1.0, ufl.sqrt(ufl.inner(place, place)), *by_axis, *(N[i] for i in range(dim))]
        wanted = fem.Constant(domain, np.zeros(len(integrands)))
        form = fem.form(ufl.inner(wanted, ufl.as_vector(integrands)) * self._ring * self._ds)
        found = np.zeros(len(integrands))
        for i in range(len(integrands)):
            wanted.value[:] = np.arange(len(integrands)) == i
            found[i] = integral(domain.comm, form)
        return found[0], found[1], found[2 : dim + 2], found[dim + 2 :]


def _require_cavity(surface: _Surface, axes: Sequence[int], *, given: bool) -> None:
    """Refuse a surface without facets, with openings that add to the volume, or around a body; collective."""
    area, moment, volumes, normal = surface.undeformed()
    if not area > 0.0:
        raise InvalidInputError("ds has no facets: do its tags mark the surface of the cavity, and does it have them?")
    crossed = [i for i in axes if surface.weight(i) == 1 and abs(normal[i]) > CLOSED * area]
    if crossed and not given:
        raise InvalidInputError(
            f"the surface has an opening across axis {crossed[0]} (its normals add up to {normal[crossed[0]] / area:.3g} of "
            "its area), so that the volume depends on the place of the opening: give origin=, a point in its plane, or axes= "
            f"without {crossed[0]}."
        )
    chosen = volumes[list(axes)]
    size = CLOSED * moment
    if np.ptp(chosen) > size:
        said = ", ".join(f"{volumes[i]:.6g} by axis {i}" for i in axes)
        raise InvalidInputError(
            f"the volume of the undeformed cavity is {said}: the surface has an opening. Leave out the axes that go through it "
            "(axes=), or give a point in its plane (origin=)."
        )
    if chosen[0] < -size:
        raise InvalidInputError(
            f"the volume of the undeformed cavity is {chosen[0]:.6g}: the normals of the body point away from it. Does ds mark "
            "the outer surface, or does origin lie beyond the cavity?"
        )
