"""Detects extrapolation: records quadrature points whose inputs lie outside the training data, and warns once."""

from collections.abc import Sequence

import basix
import numpy as np
import ufl
from dolfinx import fem, mesh
from ufl.core.expr import Expr

from lse_material._arrays import Array
from lse_material.errors import InvalidInputError
from lse_material.fem._cells import material_cells, mesh_of, require_degree, require_points, require_real, values_at
from lse_material.fem._mpi import warn_together
from lse_material.model.box import Box


class ExtrapolationWarning(UserWarning):
    """A solution has left the box of the data that its potential was fitted to.

    >>> import warnings
    >>> monitor = lse.fem.ExtrapolationMonitor(x, material.training_box)
    >>> u.interpolate(lambda x: 0.5 * x[:2])
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     far = monitor.excess()
    >>> [each.category.__name__ for each in caught]
    ['ExtrapolationWarning']
    """


class ExtrapolationMonitor:
    """Watches the inputs x of a potential at quadrature points.

    Args:
        x: UFL scalars, in the order of the potential's inputs.
        box: where the fit has seen them.
        names: of the inputs, for the message.
        degree: of the quadrature.
        tolerance: share of the box's width by which x may lie outside without a warning.
        tags, tag: cell tags and those of the cells that are watched, one tag or several; all cells if left out.

    Raises:
        InvalidInputError: there is no box, or x, names and box are of different lengths; x has no Function; the tags mark no
            cells.

    >>> monitor = lse.fem.ExtrapolationMonitor(x, material.training_box)
    >>> monitor.excess()
    0.0
    """

    def __init__(
        self,
        x: Sequence[Expr],
        box: Box,
        *,
        names: Sequence[str] = (),
        degree: int = 2,
        tolerance: float = 0.0,
        tags: mesh.MeshTags | None = None,
        tag: int | Sequence[int] | None = None,
    ) -> None:
        if not isinstance(box, Box):
            raise InvalidInputError(
                "there is no training box: the material was made without data, so that all is extrapolation."
            )
        self.box, self.tolerance, self.warned = box, tolerance, False
        self.names = tuple(names) or tuple(f"x{i + 1}" for i in range(len(x)))
        if not len(x) == len(self.names) == box.lower.size:
            raise InvalidInputError(
                f"the training box has {box.lower.size} components; x has {len(x)}, with {len(self.names)} names."
            )
        require_degree(degree)
        if not 0.0 <= tolerance < np.inf:
            raise InvalidInputError(f"tolerance is {tolerance}; it must be >= 0 and finite.")
        vector = ufl.as_vector(list(x))
        self._mesh = mesh_of(vector)
        require_real(vector, "x")
        require_points(vector, degree, "this ExtrapolationMonitor")
        points, _ = basix.make_quadrature(self._mesh.basix_cell(), degree)
        real = self._mesh.geometry.x.dtype
        self._expression = fem.Expression(vector, points.astype(real), dtype=real)
        self._cells, _ = material_cells(self._mesh, tags, tag, degree=degree)

    def excess(self) -> float:
        """How far x lies outside now, as a share of the box's width; 0 inside; the same on every rank. Collective.

        Warns:
            ExtrapolationWarning: the first time that it exceeds the tolerance; the input and its value are named.
        """
        lower, upper, x = self.box.lower, self.box.upper, self._here()
        low, high = x.min(axis=0, initial=np.inf), x.max(axis=0, initial=-np.inf)
        parts = self._mesh.comm.allgather((low, high))
        low, high = np.min([p[0] for p in parts], axis=0), np.max([p[1] for p in parts], axis=0)
        # one point for each input, with the others inside the box: what lies furthest out names its input
        inside = np.tile(lower, (lower.size, 1))
        furthest = [np.where(np.eye(lower.size, dtype=bool), end, inside) for end in (low, high)]
        each = np.maximum(*(self.box.excess(points) for points in furthest))
        worst = int(np.argmax(each))
        if each[worst] > self.tolerance and not self.warned:
            self.warned = True
            value = low[worst] if lower[worst] - low[worst] > high[worst] - upper[worst] else high[worst]
            text = (
                f"{self.names[worst]} is {value:.4g}, outside the box [{lower[worst]:.4g}, {upper[worst]:.4g}] of the data "
                "that the potential was fitted to: what it says there is extrapolation."
            )
            warn_together(self._mesh.comm, text, ExtrapolationWarning)
        return float(each[worst])

    def inputs(self) -> Array:
        """x at the points of all ranks now, (m, d), in ascending order of their components; the same on every rank. Collective.

        >>> monitor = lse.fem.ExtrapolationMonitor(x, material.training_box)
        >>> monitor.inputs().shape  # 32 cells with 3 points each
        (96, 3)
        """
        x = np.concatenate(self._mesh.comm.allgather(self._here()))
        return np.asarray(x[np.lexsort(x.T[::-1])])

    def outside(self) -> Array:
        """Those of `inputs` that lie outside the box by more than the tolerance: the strains that the data lack. Collective."""
        x = self.inputs()
        return np.asarray(x[self.box.excess(x) > self.tolerance])

    def _here(self) -> Array:
        """x at the points of this rank."""
        values = values_at(self._expression, self._mesh, self._cells)
        return values.reshape(values.shape[0] * values.shape[1], self.box.size)
