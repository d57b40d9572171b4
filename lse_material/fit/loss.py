"""The Sobolev loss: relative mean square errors of energies and of stresses (or gradients).

    loss = a mean( (W - W_data)^2 ) / var(W_data) + b mean( |P - P_data|^2 ) / mean( |P_data|^2 ),   P = dx/dF^T dW/dx

All means are weighted with the weights of the rows.

dx/dF is a fixed array of each row, computed once by the numpy floor: the loss knows no strain measure. W. M. Czarnecki
et al., "Sobolev training for neural networks", NeurIPS 2017.

A growth term c h(J) whose coefficient is not known is linear in it: the loss is the least over c >= 0, and c follows from the
weights (variable projection, G. H. Golub and V. Pereyra, SIAM J. Numer. Anal. 10, 413 (1973)).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from copy import copy

import numpy as np
import torch
from torch import Tensor

from lse_material.checks import Array
from lse_material.errors import InvalidInputError
from lse_material.fit.network import TorchPotential
from lse_material.fit.rows import Index, Rows, Scales


def _tensor(array: Array) -> Tensor:
    return torch.tensor(np.ascontiguousarray(array), dtype=torch.float64)


def _size(rows: Rows) -> float:
    """RMS of the slopes."""
    if not (rows.slope.size and rows.slope[rows.weight[rows.slope_rows] > 0.0].any()):
        return 1.0
    return math.sqrt(float(rows.mean((rows.slope**2).mean(axis=1), rows.slope_rows)))


def _root(rows: Rows, index: Index) -> Tensor:
    """Square roots of the weights of some rows, over their mean."""
    weight = rows.weight[index]
    return _tensor(np.sqrt(weight / weight.mean())) if len(weight) else torch.zeros(0, dtype=torch.float64)


class Loss:
    """The loss of a twin on rows of data, in scaled variables; weights are relative to each other.

    A growth coefficient that is to be fitted follows from the rows of `growth_from`, or from these rows.
    """

    def __init__(
        self,
        rows: Rows,
        scales: Scales,
        energy_weight: float,
        stress_weight: float,
        *,
        growth_from: Loss | None = None,
    ) -> None:
        self._x = _tensor((rows.x - scales.input_shift) / scales.input_scale)
        self._energy_rows, self._slope_rows = torch.tensor(rows.energy_rows), torch.tensor(rows.slope_rows)
        self._energy = _tensor((rows.energy - scales.energy_shift) / scales.energy_scale)
        size = _size(rows)
        self._energy_root, self._slope_root = _root(rows, rows.energy_rows), _root(rows, rows.slope_rows)
        self._slope = _tensor(rows.slope / size)
        self._derivative = _tensor(rows.derivative * (scales.energy_scale / scales.input_scale / size)[:, None])
        total = energy_weight * (len(self._energy) > 0) + stress_weight * (len(self._slope) > 0)
        if total <= 0.0:
            raise InvalidInputError("the only kind of data there is has weight 0 in Training.")
        self._weights = energy_weight / total, stress_weight / total
        self._growth: tuple[Tensor, Tensor] | None = None
        if rows.growth_energy is not None and rows.growth_slope is not None:
            self._growth = _tensor(rows.growth_energy / scales.energy_scale), _tensor(rows.growth_slope / size)
        self._growth_from = growth_from

    def __call__(self, twin: TorchPotential) -> Tensor:
        """A scalar; about 1 for a constant potential."""
        return self.with_mode_weights(twin)[0]

    def with_mode_weights(self, twin: TorchPotential) -> tuple[Tensor, Tensor]:
        """The loss, and the mode weights (n, K) at all rows."""
        energy, gradient, weights = twin(self._x)
        loss = torch.zeros((), dtype=torch.float64)
        for part, weight in zip(self._squares(twin, energy, gradient), self._weights):
            if weight and part is not None:
                loss = loss + weight * part
        return loss, weights

    def errors(self, twin: TorchPotential) -> tuple[float | None, float | None]:
        """Relative RMS errors of energies and slopes; None where there are none."""
        with torch.no_grad():
            energy, gradient, _ = twin(self._x)
            parts = self._squares(twin, energy, gradient)
        return tuple(None if part is None else math.sqrt(float(part)) for part in parts)  # type: ignore[return-value]

    def by_row(self, twin: TorchPotential) -> Tensor:
        """What each row adds to the loss: (n,)."""
        result = torch.zeros(len(self._x), dtype=torch.float64)
        with torch.no_grad():
            energy, gradient, _ = twin(self._x)
            wrong_energy, wrong_slope = self._wrong(energy, gradient, self._coefficient(twin, energy, gradient))
            if self._weights[0] and len(self._energy):
                result[self._energy_rows] += self._weights[0] / len(self._energy) * wrong_energy**2
            if self._weights[1] and len(self._slope):
                result[self._slope_rows] += self._weights[1] / len(self._slope) * (wrong_slope**2).mean(1)
        return result

    def growth_coefficient(self, twin: TorchPotential) -> float:
        """The growth coefficient, in energy units, that goes best with the twin's weights; 0 if none is looked for."""
        if self._growth is None:
            return 0.0
        if self._growth_from is not None:
            return self._growth_from.growth_coefficient(twin)
        with torch.no_grad():
            return float(self._coefficient(twin, *twin(self._x)[:2]))

    def worst_error(self, twin: TorchPotential) -> float:
        """The larger of the relative RMS errors that have a weight in the loss."""
        errors = [e for e, weight in zip(self.errors(twin), self._weights) if e is not None and weight]
        return max(errors)

    def _coefficient(self, twin: TorchPotential, energy: Tensor, gradient: Tensor) -> Tensor | float:
        """The same, from energies and gradients at these rows: c = -<h, r>/<h, h> or 0, r the residuals without the term."""
        if self._growth is None:
            return 0.0
        if self._growth_from is not None:
            return self._growth_from.growth_coefficient(twin)
        with torch.no_grad():
            above = below = torch.zeros((), dtype=torch.float64)
            parts = zip(self._wrong(energy, gradient, 0.0), self._growth_parts(), self._weights)
            for wrong, h, weight in parts:
                if weight and h.numel():
                    above, below = above + weight * (h * wrong).mean(), below + weight * (h * h).mean()
            return torch.clamp(-above / below, min=0.0) if float(below) > 0.0 else 0.0

    def _growth_parts(self) -> tuple[Tensor, Tensor]:
        """What a growth coefficient of 1 adds to the residuals of energies and of slopes."""
        assert self._growth is not None
        return self._energy_root * self._growth[0], self._slope_root.unsqueeze(1) * self._growth[1]

    def _wrong(self, energy: Tensor, gradient: Tensor, coefficient: Tensor | float) -> tuple[Tensor, Tensor]:
        """Residuals of energies and of slopes, times the roots of the rows' weights."""
        first = self._energy_root * (energy[self._energy_rows] - self._energy)
        slope = (gradient[self._slope_rows].unsqueeze(1) @ self._derivative).squeeze(1)
        second = self._slope_root.unsqueeze(1) * (slope - self._slope)
        if self._growth is None:
            return first, second
        h = self._growth_parts()
        return first + coefficient * h[0], second + coefficient * h[1]

    def _squares(self, twin: TorchPotential, energy: Tensor, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Mean squares of the two kinds of residual."""
        first, second = self._wrong(energy, gradient, self._coefficient(twin, energy, gradient))
        return (first**2).mean() if len(first) else None, (second**2).mean() if len(second) else None

    def residuals(
        self, rows: slice, energy: Tensor, gradient: Tensor, J: Tensor, coefficient: float = 0.0
    ) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """Residuals of some rows, and their Jacobians, scaled so that the squares of all rows sum to the loss.

        Args:
            rows: a slice of all rows.
            energy: of these rows, (m,).
            gradient: of these rows, (m, d).
            J: derivatives of energy and gradient in the weights, (m, 1 + d, p).
            coefficient: of the growth term; its derivative comes third, or None without such a term.
        """
        part = self.part(rows)
        wrong = part._wrong(energy, gradient, coefficient)
        growth = (None, None) if self._growth is None else part._growth_parts()
        if self._weights[0] and len(self._energy):
            factor = math.sqrt(self._weights[0] / len(self._energy))
            JW = J[part._energy_rows, 0] * (factor * part._energy_root)[:, None]
            yield factor * wrong[0], JW, None if growth[0] is None else factor * growth[0]
        if self._weights[1] and len(self._slope):
            factor = math.sqrt(self._weights[1] / self._slope.numel())
            D = part._derivative * (factor * part._slope_root)[:, None, None]
            JD = torch.einsum("ndq,ndp->nqp", D, J[part._slope_rows, 1:]).reshape(-1, J.shape[2])
            yield factor * wrong[1].reshape(-1), JD, None if growth[1] is None else factor * growth[1].reshape(-1)

    def pulled_back_residual(self, twin: TorchPotential) -> Tensor:
        """How wrong the slope is, as a direction in scaled inputs: (n, d), zero where no slope is known."""
        with torch.no_grad():
            energy, gradient, _ = twin(self._x)
            result = torch.zeros_like(gradient)
            wrong = self._wrong(energy, gradient, self._coefficient(twin, energy, gradient))[1]
            result[self._slope_rows] = (self._derivative @ wrong.unsqueeze(2)).squeeze(2)
        return result

    def part(self, rows: slice) -> Loss:
        """The loss of some of the rows, in the same units."""
        result = copy(self)
        start, stop = rows.start or 0, min(rows.stop, len(self._x))
        result._x = self._x[start:stop]
        for kind in ("_energy", "_slope"):
            index = getattr(self, f"{kind}_rows")
            which = (index >= start) & (index < stop)
            setattr(result, f"{kind}_rows", index[which] - start)
            setattr(result, kind, getattr(self, kind)[which])
            setattr(result, f"{kind}_root", getattr(self, f"{kind}_root")[which])
            if kind == "_slope":
                result._derivative = self._derivative[which]
            if self._growth is not None and result._growth is not None:
                kept = self._growth[kind == "_slope"][which]
                result._growth = (result._growth[0], kept) if kind == "_slope" else (kept, result._growth[1])
        return result

    def batch(self, step: int, size: int) -> Loss:
        """The loss of the rows of one step: all if they are at most `size`, else one stretch after another."""
        n = len(self._x)
        if n <= size:
            return self
        start = step % (n // size) * size
        return self.part(slice(start, start + size))

    @property
    def inputs(self) -> Tensor:
        """Scaled inputs (n, d)."""
        return self._x

    @property
    def slopes(self) -> Tensor | None:
        """Gradients in scaled inputs (n, d) of all rows, or None if some are missing or they are stresses."""
        square = self._derivative.shape[1] == self._derivative.shape[2]
        if len(self._slope) < len(self._x) or not square:
            return None
        return torch.linalg.solve(self._derivative.transpose(1, 2), self._slope)

    @property
    def energies(self) -> Tensor | None:
        """Scaled energies of all rows, or None if some are missing."""
        return self._energy if len(self._energy) == len(self._x) else None
