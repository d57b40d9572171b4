"""Results of a solve, cell by cell: mode weights, energy, stress, det F, distance from the data, ellipticity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as default
from typing import Any

import basix
import numpy as np
import ufl
from dolfinx import fem, io, mesh
from ufl.core.expr import Expr

from lse_material._arrays import Array
from lse_material.analysis.ellipticity import acoustic_minimum
from lse_material.errors import InvalidInputError
from lse_material.fem._cells import (
    known_in,
    marked_cells,
    mesh_of,
    owned_cells,
    require_degree,
    require_known,
    require_points,
    require_real,
    same_topology,
    stored_at_points,
    tag_values,
    values_at,
)
from lse_material.fem.forms.energy import expect_shape
from lse_material.model.material import Material
from lse_material.model.strain import SmallStrain, cofactor

Tag = int | tuple[int, ...]


class MaterialFields:
    """Fields of materials at the present deformation, constant in each cell; `update` brings them up to date.

    One material of the whole body, or of the cells of a tag; or several, each of its own cells:

        MaterialFields(material, F)
        MaterialFields(material, F, tags=cell_tags, tag=(1, 2))
        MaterialFields({1: matrix, (2, 3): particles}, F, tags=cell_tags)

    Means are over the volume of the cell, by the quadrature rule. Cells without a material are NaN and are left out of every
    integral. A cell with det F <= 0 at a quadrature point, or with an F that is not a number, is NaN in all fields but
    `det_F`; small strain takes any F. Making one and `update` are collective.

    Args:
        material: any material, or a mapping tag -> material (a key may be several tags); the numbers of modes may differ.
        F: UFL deformation gradient (dim, dim), as in the form.
        tags: cell tags, of the mesh of the fields or of one that `entity_maps` joins to it.
        tag: the cells of a single material, one tag or several; all cells if left out.
        degree: of the quadrature rule at whose points F is looked at, and at which functions of F may be stored.
        ellipticity: whether to look for weak waves too, the costly part.
        domain: the mesh of the fields; that of the functions in F if left out.
        entity_maps: as DOLFINx takes them, where F or `tags` live on other meshes than the fields.

    Attributes:
        energy: mean of W over the cell.
        stress: mean of P, (dim, dim).
        mode_weights: mean of the mode weights (phase fractions), (largest number of modes,): those that a material does not
            have are 0.
        det_F: the smallest det F at the quadrature points and at the corners of the cell, where a displacement of degree 2 or
            more turns it inside out first (not at corners if F has functions that are stored at quadrature points).
        outside: largest distance of x(F) from the training box, in units of the box's sides; 0 inside, NaN in cells whose
            material has no box. None without any box.
        ellipticity: least q = m.Q(N)m, see `lse_material.analysis.ellipticity`; negative where it is lost. None unless
            asked for.

    Raises:
        InvalidInputError: on every rank, if F has another shape than a material's, is complex, or lives on no mesh or on one
            that is not joined to that of the fields; if tags are missing, of facets or of a foreign mesh, or mark no cell.

    >>> fields = lse.fem.MaterialFields(material, F)
    >>> fields.update()
    >>> fields.phase_fractions().round(6)
    array([0.5, 0.5])
    """

    def __init__(
        self,
        material: Material | Mapping[Tag, Material],
        F: Expr,
        *,
        tags: mesh.MeshTags | None = None,
        tag: int | Sequence[int] | None = None,
        degree: int = 1,
        ellipticity: bool = True,
        domain: mesh.Mesh | None = None,
        entity_maps: Sequence[mesh.EntityMap] = (),
    ) -> None:
        require_degree(degree)
        chosen = _chosen(material, tags, tag)
        every = [one for one, _ in chosen.values()]
        for one in every:
            expect_shape(one, F)
            one.without_fields("MaterialFields")
        require_real(F, "F")
        self._mesh = domain = mesh_of(F, domain)
        self._parts = {
            key: _Part(one, _cells(F, domain, tags, wanted, entity_maps)) for key, (one, wanted) in chosen.items()
        }
        self._cells = np.concatenate([part.cells for part in self._parts.values()])
        self._dim = F.ufl_shape[0]
        real = domain.geometry.x.dtype
        corners = basix.geometry(domain.basix_cell())
        if stored_at_points(F):
            require_points(F, degree, "these MaterialFields")
            corners = corners[:0]
        points, weights = basix.make_quadrature(domain.basix_cell(), degree)
        self._weights = weights
        self._F = fem.Expression(
            F, np.vstack([points, corners]).astype(real), dtype=real, entity_maps=list(entity_maps)
        )
        volume = abs(ufl.JacobianDeterminant(domain))
        self._volume = fem.Expression(volume, points.astype(real), dtype=real)

        def cellwise(name: str, *shape: int) -> fem.Function:
            field = fem.Function(fem.functionspace(domain, ("DG", 0, shape)), name=name, dtype=real)
            field.x.array[:] = np.nan
            return field

        self.energy = cellwise("energy")
        self.stress = cellwise("stress", self._dim, self._dim)
        self.mode_weights = cellwise("mode_weights", max(one.modes for one in every))
        self.det_F = cellwise("det_F")
        self.outside = None if all(one.training_box is None for one in every) else cellwise("outside")
        self.ellipticity = cellwise("ellipticity") if ellipticity else None
        self.update()

    @property
    def functions(self) -> tuple[fem.Function, ...]:
        """Those that there are, for a writer."""
        every = (self.energy, self.stress, self.mode_weights, self.det_F, self.outside, self.ellipticity)
        return tuple(field for field in every if field is not None)

    @property
    def materials(self) -> dict[Tag | None, Material]:
        """The material of each tag; a single material of the whole body, or of the cells of `tag`, has the key None."""
        return {key: part.material for key, part in self._parts.items()}

    def update(self) -> None:
        """Take F, and the positions of the nodes, as they are now."""
        for part in self._parts.values():
            part.volumes = values_at(self._volume, self._mesh, part.cells) * self._weights
            F = values_at(self._F, self._mesh, part.cells)
            F[~np.isfinite(F)] = np.nan
            self._set(self.det_F, part, _smallest(_determinant(F), len(self._weights)))
            self._evaluate(part, F[:, : len(self._weights)])
        for field in self.functions:
            field.x.scatter_forward()

    def integral(self, field: fem.Function, tag: Tag | None = None) -> Array:
        """The integral of a field over the cells with a material, or over those of one of several materials; collective.

        Args:
            field: one of these fields, or any other that is constant in each cell of this mesh.
            tag: as in `materials`.

        Raises:
            InvalidInputError: the field is not constant in each cell of this mesh, or `tag` is none of the materials'.
        """
        V = field.function_space if isinstance(field, fem.Function) else None
        if V is None or V.element.basix_element.degree or not same_topology(V.mesh.topology, self._mesh.topology):
            raise InvalidInputError("only a field of degree 0 of the mesh of these MaterialFields is integrated here.")
        values = field.x.array.reshape(len(field.x.array) // V.dofmap.bs, V.dofmap.bs)
        local = np.zeros(V.dofmap.bs)
        for part in [self._part(tag)] if tag is not None else self._parts.values():
            local += part.volumes.sum(axis=1) @ values[V.dofmap.list[part.cells, 0]]
        result: Array = self._mesh.comm.allreduce(local)
        return result.reshape(field.ufl_shape)

    def phase_fractions(self, tag: Tag | None = None) -> Array:
        """Mode weights averaged over the cells of a material, (modes,); NaN where a cell has none. Collective.

        Args:
            tag: which material, as in `materials`; may be left out where there is one.

        Raises:
            InvalidInputError: there are several materials and no tag, or another one than theirs.
        """
        if tag is None and len(self._parts) > 1:
            raise InvalidInputError(
                f"the modes of several materials have nothing in common: say whose, phase_fractions(tag) with a tag of "
                f"{list(self._parts)}."
            )
        modes = next(iter(self._parts.values())).material.modes if tag is None else self._part(tag).material.modes
        weights = self.integral(self.mode_weights, tag)[:modes]
        result: Array = weights / weights.sum()
        return result

    def smallest_det_F(self) -> float:
        """The smallest det F of all cells with a material; NaN if F is not a number in one of them. Collective."""
        place = self.det_F.function_space.dofmap.list[self._cells, 0]
        here = float(self.det_F.x.array[place].min(initial=np.inf))  # of NaN it is NaN, and so is that of all ranks
        return float(np.min(self._mesh.comm.allgather(here)))

    def write(self, file: io.XDMFFile, t: float) -> None:
        """Write all of them to a file that has the mesh already; collective."""
        for field in self.functions:
            file.write_function(field, t)

    def _evaluate(self, part: _Part, F: Array) -> None:
        """Fields of one material at F (cells, points, dim, dim)."""
        material, (n, points) = part.material, F.shape[:2]
        if not isinstance(material.kinematics, SmallStrain):
            F = np.where((_determinant(F) > 0.0)[..., None, None], F, np.nan)
        flat = F.reshape(n * points, self._dim, self._dim)
        values = material.evaluate(flat)
        self._set(self.energy, part, part.mean(values.energy))
        self._set(self.stress, part, part.mean(values.stress))
        spare = self.mode_weights.function_space.dofmap.bs - material.modes
        self._set(self.mode_weights, part, np.pad(part.mean(values.mode_weights), ((0, 0), (0, spare))))
        if self.outside is not None and material.training_box is not None:
            excess = material.training_box.excess(material.kinematics.strain(flat))
            self._set(self.outside, part, excess.reshape(n, points).max(axis=1))
        if self.ellipticity is not None:
            self._set(self.ellipticity, part, acoustic_minimum(values.tangent).value.reshape(n, points).min(axis=1))

    def _set(self, field: fem.Function, part: _Part, values: Array) -> None:
        bs = field.function_space.dofmap.bs
        place = field.function_space.dofmap.list[part.cells, 0]
        field.x.array.reshape(len(field.x.array) // bs, bs)[place] = values.reshape(len(part.cells), bs)

    def _part(self, tag: Tag) -> _Part:
        if tag not in self._parts:
            raise InvalidInputError(f"there is no material of tag {tag!r}; there are {list(self._parts)}.")
        return self._parts[tag]


@dataclass
class _Part:
    """One material, its cells on this rank, and the volume that each quadrature point of them stands for (cells, points)."""

    material: Material
    cells: Array
    volumes: Array = default(default_factory=lambda: np.empty((0, 0)))

    def mean(self, values: Array) -> Array:
        """Over the volume of each cell: (cells * points, ...) -> (cells, ...)."""
        at_points = values.reshape(*self.volumes.shape, *values.shape[1:])
        shares = self.volumes / self.volumes.sum(axis=1, keepdims=True)
        return np.einsum("cp...,cp->c...", at_points, shares)


def share_not_elliptic(fields: MaterialFields) -> float:
    """The share of the materials' volume where ellipticity is lost; collective. Cells with NaN do not count as lost.

    Raises:
        InvalidInputError: the fields were made with ellipticity=False.

    >>> fields = lse.fem.MaterialFields(material, F)
    >>> fields.update()
    >>> lse.fem.share_not_elliptic(fields)  # F = I everywhere, between the wells
    1.0
    """
    if fields.ellipticity is None:
        raise InvalidInputError("these fields were made with ellipticity=False.")
    lost, whole = (fem.Function(fields.ellipticity.function_space, dtype=fields.ellipticity.dtype) for _ in range(2))
    lost.x.array[:] = fields.ellipticity.x.array < 0.0
    whole.x.array[:] = 1.0
    return float(fields.integral(lost) / fields.integral(whole))


def _chosen(
    material: Material | Mapping[Tag, Material], tags: mesh.MeshTags | None, tag: int | Sequence[int] | None
) -> dict[Tag | None, tuple[Material, Any]]:
    """Each material, and the tags of its cells; a single one has the key None, and no tags if it is that of all cells."""
    if isinstance(material, Material):
        if (tags is None) != (tag is None):
            raise InvalidInputError("give both tags and tag for a material of some cells, or neither for all.")
        return {None: (material, tag)}
    if not isinstance(material, Mapping):
        raise InvalidInputError(f"this is a {type(material).__name__}; give a Material, or a mapping tag -> Material.")
    if tags is None or tag is not None:
        raise InvalidInputError("a mapping tag -> material needs tags=..., and no tag: its keys are the tags.")
    every = [one for key in material for one in tag_values(key).tolist()]
    if not every or len(set(every)) < len(every):
        raise InvalidInputError(f"the materials are of the tags {every}: each tag needs one material, and no more.")
    return {key: (one, key) for key, one in material.items()}


def _cells(
    F: Expr, domain: mesh.Mesh, tags: mesh.MeshTags | None, wanted: Any, entity_maps: Sequence[mesh.EntityMap]
) -> Array:
    """The owned cells of a material: those of the tags wanted, all of which F must know, or all that F knows. Collective."""
    if tags is None:
        cells = owned_cells(domain)
        cells = cells[known_in(F, domain, cells, entity_maps)]
        if domain.comm.allreduce(len(cells)) == 0:
            raise InvalidInputError("F is known in no cell of this mesh: give the mesh of its functions, or a part.")
        return cells
    cells = marked_cells(domain, tags, wanted, entity_maps=entity_maps)
    require_known(F, domain, cells, entity_maps)
    return cells


def _determinant(F: Array) -> Array:
    """det F, (...): with the sign of the stable formula that `Material` refuses by."""
    *shape, dim, _ = F.shape
    flat = F.reshape(int(np.prod(shape, dtype=np.int64)), dim, dim)
    return np.einsum("nj,nj->n", flat[:, 0], cofactor(flat)[:, 0]).reshape(shape)


def _smallest(det: Array, inside: int) -> Array:
    """Over the points of each cell, the first `inside` of them in it, the rest its corners: (cells, points) -> (cells,).

    A corner where F is not a number, as u_r/r is on an axis, does not count; a point within does.
    """
    return np.minimum(det[:, :inside].min(axis=1), np.fmin.reduce(det[:, inside:], axis=1, initial=np.inf))
