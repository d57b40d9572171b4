"""What people look at after a solve, cell by cell: mode weights, energy, stress, distance from the data, ellipticity."""

from __future__ import annotations

from typing import Any

import basix
import numpy as np
import ufl
from dolfinx import fem, io

from lse_material.checks import Array
from lse_material.ellipticity import acoustic_minimum
from lse_material.errors import InvalidInputError
from lse_material.fem.quadrature import mesh_of
from lse_material.fem.symbolic import expect_shape
from lse_material.material import Material

Expr = Any  # a UFL expression


class MaterialFields:
    """Fields of a material at the present deformation, constant in each cell; `update` brings them up to date.

    Args:
        material: any material.
        F: UFL deformation gradient (dim, dim), as in the form.
        degree: of the quadrature rule at whose points F is looked at.
        ellipticity: whether to look for weak waves too, the costly part.

    Attributes:
        energy: mean of W over the cell.
        stress: mean of P, (dim, dim).
        mode_weights: mean of the mode weights (phase fractions), (modes,).
        outside: largest distance of x(F) from the training box, in units of the box's sides; 0 inside. None without a box.
        ellipticity: least q = m.Q(N)m, see `lse_material.ellipticity`; negative where it is lost. None unless asked for.

    Raises:
        InvalidInputError: F has another shape than the material's, or its mesh is not known.
    """

    def __init__(self, material: Material, F: Expr, *, degree: int = 1, ellipticity: bool = True) -> None:
        expect_shape(material.without_fields("MaterialFields"), F)
        domain = mesh_of(F)
        points, weights = basix.make_quadrature(domain.basix_cell(), degree)
        self.material = material
        self._weights = weights / weights.sum()
        self._expression = fem.Expression(F, points)
        self._cells = np.arange(domain.topology.index_map(domain.topology.dim).size_local, dtype=np.int32)
        self._mesh, dim = domain, material.dim

        def cellwise(name: str, *shape: int) -> fem.Function:
            return fem.Function(fem.functionspace(domain, ("DG", 0, shape)), name=name)

        self.energy = cellwise("energy")
        self.stress = cellwise("stress", dim, dim)
        self.mode_weights = cellwise("mode_weights", material.modes)
        self.outside = None if material.training_box is None else cellwise("outside")
        self.ellipticity = cellwise("ellipticity") if ellipticity else None
        self.update()

    @property
    def functions(self) -> tuple[fem.Function, ...]:
        """Those that there are, for a writer."""
        every = (self.energy, self.stress, self.mode_weights, self.outside, self.ellipticity)
        return tuple(field for field in every if field is not None)

    def update(self) -> None:
        """Take F as it is now."""
        dim, n = self.material.dim, len(self._cells)
        F = np.asarray(self._expression.eval(self._mesh, self._cells)).reshape(-1, dim, dim)
        values = self.material.evaluate(F)
        self._set(self.energy, self._mean(values.energy))
        self._set(self.stress, self._mean(values.stress))
        self._set(self.mode_weights, self._mean(values.mode_weights))
        if self.outside is not None and self.material.training_box is not None:
            excess = self.material.training_box.excess(self.material.kinematics.strain(F))
            self._set(self.outside, excess.reshape(n, -1).max(axis=1))
        if self.ellipticity is not None:
            self._set(self.ellipticity, acoustic_minimum(values.tangent).value.reshape(n, -1).min(axis=1))

    def integral(self, field: fem.Function) -> Array:
        """The integral of a field over the reference body, of the field's shape; collective."""
        form = [
            fem.form(component * ufl.dx(self._mesh, degree=0))
            for component in ([field[i] for i in np.ndindex(*field.ufl_shape)] if field.ufl_shape else [field])
        ]
        local = np.array([fem.assemble_scalar(f) for f in form])
        result: Array = self._mesh.comm.allreduce(local)
        return result.reshape(field.ufl_shape)

    def phase_fractions(self) -> Array:
        """Mode weights averaged over the reference body, (modes,); collective."""
        weights = self.integral(self.mode_weights)
        result: Array = weights / weights.sum()
        return result

    def write(self, file: io.XDMFFile, t: float) -> None:
        """Write all of them to a file that holds the mesh already; collective."""
        for field in self.functions:
            file.write_function(field, t)

    def _mean(self, values: Array) -> Array:
        """Over the points of each cell: (cells * points, ...) -> (cells, ...)."""
        at_points = values.reshape(len(self._cells), len(self._weights), *values.shape[1:])
        return np.einsum("cp...,p->c...", at_points, self._weights)

    def _set(self, field: fem.Function, values: Array) -> None:
        bs = field.function_space.dofmap.bs
        place = field.function_space.dofmap.list[: len(self._cells), 0]
        field.x.array.reshape(-1, bs)[place] = values.reshape(len(self._cells), bs)
        field.x.scatter_forward()


def share_not_elliptic(fields: MaterialFields) -> float:
    """The share of the body's volume where ellipticity is lost; collective.

    Raises:
        InvalidInputError: the fields were made with ellipticity=False.
    """
    if fields.ellipticity is None:
        raise InvalidInputError("these fields were made with ellipticity=False.")
    lost = fem.Function(fields.ellipticity.function_space)
    lost.x.array[:] = fields.ellipticity.x.array < 0.0
    whole = fem.Function(lost.function_space)
    whole.x.array[:] = 1.0
    return float(fields.integral(lost) / fields.integral(whole))
