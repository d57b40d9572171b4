"""Known sums of stresses, as targets of a loss: values_i = sum_j A_ij P_j, in place of a stress known at each row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lse_material._arrays import Array, rms
from lse_material.data.observations import Observations
from lse_material.errors import InvalidInputError
from lse_material.fit.problem.rows import Scales, expect_size, input_scales
from lse_material.model.growth import Growth
from lse_material.model.strain import StrainMeasure

ROWS = 1000  # of the data whose Jacobian is held at a time
DENSE = 0.1  # share of entries that are not zero above which a block is kept as a full matrix


@dataclass(frozen=True, eq=False)
class Block:
    """What the stresses of some rows add to the values."""

    values: Tensor  # numbers of the values that they add to, (b,)
    matrix: Tensor  # their coefficients, full or sparse, (b, m q)

    def applied_to(self, stress: Tensor) -> Tensor:
        """Of stresses, or of their derivatives, (m q, p): (b, p)."""
        return torch.sparse.mm(self.matrix, stress) if self.matrix.is_sparse else self.matrix @ stress

    def transposed(self, values: Tensor, *, size: bool = False) -> Tensor:
        """The transpose applied to values (b,), (m q,); of the sizes of the coefficients if asked for."""
        matrix = self.matrix.abs() if size else self.matrix
        column = values[:, None]
        return (torch.sparse.mm(matrix.t(), column) if matrix.is_sparse else matrix.T @ column)[:, 0]

    def row_sums(self) -> Tensor:
        """Sums of the sizes of the coefficients of each value, (b,)."""
        size = self.matrix.abs()
        return torch.sparse.sum(size, dim=1).to_dense() if size.is_sparse else size.sum(1)


@dataclass(frozen=True, eq=False)
class Sums:
    """Observations in scaled variables: each value over its error, and over the RMS of all such."""

    blocks: tuple[Block, ...]  # of `ROWS` rows each, one after the other
    values: Tensor  # (k,)
    derivative: Tensor  # takes gradients in scaled inputs to stresses, (n, d, q)
    growth: Tensor | None = None  # what a growth coefficient of 1 adds to the values; None without a growth term

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
        size = rms(observations.values / error)
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

    def residual(self, gradient: Tensor, coefficient: Tensor | float) -> Tensor:
        """Of gradients (n, d) at all rows: what is wrong, (k,)."""
        stress = (gradient.unsqueeze(1) @ self.derivative).squeeze(1)
        plain = -self.values
        for block, P in zip(self.blocks, stress.split(ROWS)):
            plain = plain.index_add(0, block.values, block.applied_to(P.reshape(-1, 1))[:, 0])
        return plain if self.growth is None else plain + coefficient * self.growth

    def add_jacobian(self, total: Tensor, start: int, J: Tensor) -> None:
        """Add to the Jacobian of the values (k, p) what `ROWS` rows from `start` on do, J (m, d, p) that of their gradients."""
        stress = torch.einsum("ndq,ndp->nqp", self.derivative[start : start + ROWS], J).reshape(-1, J.shape[2])
        block = self.blocks[start // ROWS]
        total.index_add_(0, block.values, block.applied_to(stress))

    def pulled_back(self, wrong: Tensor) -> Tensor:
        """How wrong the gradients are in the direction that the residuals (k,) ask for: (n, d)."""
        stress = torch.cat([block.transposed(wrong[block.values]) for block in self.blocks])
        return (self.derivative @ stress.reshape(len(self.derivative), -1, 1)).squeeze(2)

    def by_row(self, wrong: Tensor) -> Tensor:
        """Squares of the residuals (k,) handed to the rows by the size of their coefficients: (n,)."""
        share = torch.zeros_like(wrong)
        for block in self.blocks:
            share.index_add_(0, block.values, block.row_sums())
        weight = wrong**2 / share
        parts = [block.transposed(weight[block.values], size=True) for block in self.blocks]
        return torch.cat(parts).reshape(len(self.derivative), -1).sum(1)


def _blocks(observations: Observations, unit: Array) -> tuple[Block, ...]:
    """The coefficients in units of the values, cut where the rows are."""
    size = observations.dim**2
    order = np.argsort(observations.column, kind="stable")
    row, column = observations.row[order], observations.column[order]
    value = (observations.coefficient * unit[observations.row])[order]
    result = []
    for start in range(0, len(observations.F), ROWS):
        width = min(ROWS, len(observations.F) - start) * size
        a, b = np.searchsorted(column, [start * size, start * size + width])
        values, place = np.unique(row[a:b], return_inverse=True)
        index, shape = np.stack([place.ravel(), column[a:b] - start * size]), (len(values), width)
        if b - a > DENSE * shape[0] * shape[1]:
            full = np.zeros(shape)
            np.add.at(full, tuple(index), value[a:b])
            matrix = torch.from_numpy(full)
        else:
            with torch.sparse.check_sparse_tensor_invariants():  # without it torch 2.11 warns
                matrix = torch.sparse_coo_tensor(torch.tensor(index), torch.tensor(value[a:b]), shape).coalesce()
        result.append(Block(torch.from_numpy(values), matrix))
    return tuple(result)


def _derivative(observations: Observations, kinematics: StrainMeasure) -> Array:
    """dx/dF of every point, (n, d, q)."""
    return kinematics.derivative(observations.F).reshape(len(observations.F), kinematics.size, -1)


def scales_of_observations(observations: Observations, kinematics: StrainMeasure) -> Scales:
    """Scales that make inputs and values of order one: the energy is that of a quadratic well whose values are as large.

    Raises InvalidInputError: all values are zero.
    """
    x = kinematics.strain(observations.F)
    shift = x.mean(axis=0)
    scale = input_scales(x, kinematics.size, kinematics.is_tensor)
    scale = np.where(scale > 0.0, scale, 1.0)
    natural = kinematics.strain(np.eye(kinematics.dim)[None])[0]
    stress = np.einsum("nd,ndq->nq", (x - natural) / scale**2, _derivative(observations, kinematics))
    error = np.ones(len(observations)) if observations.errors is None else observations.errors
    measured, linear = observations.values / error, observations.of_stress(stress.reshape(observations.F.shape)) / error
    expect_size("observed values (over their errors)", measured)
    if not measured.any():
        raise InvalidInputError("all observed values are zero: nothing says how large the stresses are.")
    known = measured != 0.0
    size = np.linalg.norm(linear[known])
    return Scales(shift, scale, float(np.linalg.norm(measured) / size) if size > 0.0 else 1.0, 0.0)
