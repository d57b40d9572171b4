"""Known sums of stresses, as targets of a loss: values_i = sum_j A_ij P_j, in place of a stress known at each row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lse_material._arrays import Array
from lse_material.data.observations import Observations
from lse_material.errors import InvalidInputError
from lse_material.fit.problem.rows import Scales
from lse_material.model.growth import Growth
from lse_material.model.strain import StrainMeasure

ROWS = 1000  # of the data whose Jacobian is held at a time


@dataclass(frozen=True, eq=False)
class Sums:
    """Observations in scaled variables: each value over its error, and over the RMS of all such.

    Attributes:
        blocks: take the stresses of `ROWS` rows at a time, one row after the other, to the values: sparse (k, m q) each.
        values: (k,).
        derivative: takes gradients in scaled inputs to stresses, (n, d, q).
        growth: what a growth coefficient of 1 adds to the values; None without a growth term.
    """

    blocks: tuple[Tensor, ...]
    values: Tensor
    derivative: Tensor
    growth: Tensor | None = None

    @classmethod
    def of(
        cls, observations: Observations, kinematics: StrainMeasure, growth: Growth | str | None, scales: Scales
    ) -> Sums:
        """The targets of a fit, less what a known growth term adds to them."""
        derivative = _derivative(observations, kinematics)
        error = np.ones(len(observations)) if observations.errors is None else observations.errors
        values = observations.values
        added = None
        if isinstance(growth, Growth):
            values = values - observations.of_stress(growth.stress(observations.F))
        elif growth is not None:
            added = observations.of_stress(Growth(1.0).stress(observations.F))
        size = float(np.sqrt(np.mean((observations.values / error) ** 2)))
        unit = 1.0 / (error * size)
        D = torch.tensor(derivative * (scales.energy_scale / scales.input_scale)[:, None])
        return cls(
            _blocks(observations, unit),
            torch.tensor(values * unit),
            D,
            None if added is None else torch.tensor(added * unit),
        )

    def __len__(self) -> int:
        """The number of values."""
        return len(self.values)

    def growth_part(self) -> Tensor:
        """What a growth coefficient of 1 adds to the residuals."""
        assert self.growth is not None
        return self.growth

    def residual(self, gradient: Tensor, coefficient: Tensor | float) -> Tensor:
        """Of gradients (n, d) at all rows: what is wrong, (k,)."""
        stress = (gradient.unsqueeze(1) @ self.derivative).squeeze(1)
        found = sum(torch.sparse.mm(A, P.reshape(-1, 1))[:, 0] for A, P in zip(self.blocks, stress.split(ROWS)))
        plain = found - self.values
        return plain if self.growth is None else plain + coefficient * self.growth

    def jacobian(self, start: int, J: Tensor) -> Tensor:
        """What `ROWS` rows from `start` on add to the Jacobian of the values (k, p), J (m, d, p) that of their gradients."""
        stress = torch.einsum("ndq,ndp->nqp", self.derivative[start : start + ROWS], J).reshape(-1, J.shape[2])
        return torch.sparse.mm(self.blocks[start // ROWS], stress)

    def pulled_back(self, wrong: Tensor) -> Tensor:
        """How wrong the gradients are in the direction that the residuals (k,) ask for: (n, d)."""
        stress = torch.cat([torch.sparse.mm(A.t(), wrong[:, None]) for A in self.blocks])
        return (self.derivative @ stress.reshape(len(self.derivative), -1, 1)).squeeze(2)

    def by_row(self, wrong: Tensor) -> Tensor:
        """Squares of the residuals (k,) handed to the rows by the size of their coefficients: (n,)."""
        sizes = [A.abs() for A in self.blocks]
        share = sum(torch.sparse.sum(A, dim=1).to_dense() for A in sizes)
        weight = wrong**2 / torch.as_tensor(share)
        parts = [torch.sparse.mm(A.t(), weight[:, None]) for A in sizes]
        return torch.cat(parts).reshape(len(self.derivative), -1).sum(1)


def _blocks(observations: Observations, unit: Array) -> tuple[Tensor, ...]:
    """The coefficients in units of the values, cut where the rows are."""
    size = observations.dim**2
    order = np.argsort(observations.column, kind="stable")
    row, column = observations.row[order], observations.column[order]
    value = (observations.coefficient * unit[observations.row])[order]
    result = []
    for start in range(0, len(observations.F), ROWS):
        rows = min(ROWS, len(observations.F) - start)
        a, b = np.searchsorted(column, [start * size, (start + rows) * size])
        index = torch.tensor(np.stack([row[a:b], column[a:b] - start * size]))
        shape = len(unit), rows * size
        part = torch.sparse_coo_tensor(index, torch.tensor(value[a:b]), shape, check_invariants=True)
        result.append(part.coalesce())
    return tuple(result)


def _derivative(observations: Observations, kinematics: StrainMeasure) -> Array:
    """dx/dF of every point, (n, d, q)."""
    return kinematics.derivative(observations.F).reshape(len(observations.F), kinematics.size, -1)


def scales_of_observations(observations: Observations, kinematics: StrainMeasure) -> Scales:
    """Scales that make inputs and values of order one: the energy is that of a quadratic well whose values are as large.

    Raises:
        InvalidInputError: all values are zero.
    """
    x = kinematics.strain(observations.F)
    shift = x.mean(axis=0)
    scale = np.sqrt(((x - shift) ** 2).mean(axis=0))
    scale = np.where(scale > 1e-12 * np.abs(x).max(initial=1e-300), scale, 1.0)
    natural = kinematics.strain(np.eye(kinematics.dim)[None])[0]
    stress = np.einsum("nd,ndq->nq", (x - natural) / scale**2, _derivative(observations, kinematics))
    error = np.ones(len(observations)) if observations.errors is None else observations.errors
    measured, linear = observations.values / error, observations.of_stress(stress.reshape(observations.F.shape)) / error
    if not measured.any():
        raise InvalidInputError("all observed values are zero: nothing says how large the stresses are.")
    known = measured != 0.0
    size = np.linalg.norm(linear[known])
    return Scales(shift, scale, float(np.linalg.norm(measured) / size) if size > 0.0 else 1.0, 0.0)
