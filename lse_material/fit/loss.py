"""Scaled data and the Sobolev loss: relative mean square errors of energies and of stresses (or gradients).

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
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lse_material.checks import Array
from lse_material.errors import InvalidInputError
from lse_material.fit.network import TorchPotential
from lse_material.growth import Growth
from lse_material.kinematics import Kinematics
from lse_material.samples import Mask, Samples
from lse_material.symmetry import Symmetry

Index: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Scales:
    """Units of the scaled problem: xh = (x - shift)/scale, W = energy_scale Psi + energy_shift."""

    input_shift: Array
    input_scale: Array
    energy_scale: float
    energy_shift: float


@dataclass(frozen=True, eq=False)
class Rows:
    """Data without their growth term: x (n, d); energies with their rows; slopes (m, q) with rows and dx/dF (m, d, q); weights
    of all rows (n,); energies and slopes of a growth term of coefficient 1, where the coefficient is to be fitted.
    """

    x: Array
    energy_rows: Index
    energy: Array
    slope_rows: Index
    slope: Array
    derivative: Array
    weight: Array
    growth_energy: Array | None = None
    growth_slope: Array | None = None

    def mean(self, values: Array, rows: Index) -> Array:
        """Weighted mean of values (m, ...) that belong to these rows."""
        result: Array = np.tensordot(self.weight[rows], values, 1) / self.weight[rows].sum()
        return result


def rows_of(samples: Samples, kinematics: Kinematics | None, growth: Growth | Literal["auto"] | None) -> Rows:
    """The rows of `samples` that have values, with the growth term taken off if its coefficient is known.

    Raises:
        InvalidInputError: samples and strain measure do not fit together, or a growth term for samples of x.
    """
    x = samples.inputs(kinematics)
    d = x.shape[1]
    if growth is not None and samples.F is None:
        raise InvalidInputError("a growth term acts on samples of F; these are samples of x.")
    if not (growth is None or growth == "auto" or isinstance(growth, Growth)):
        raise InvalidInputError(f'growth is {growth!r}; it must be a lse.Growth, "auto" or None.')
    energy_rows = _known(samples.energy_mask)
    energy = np.zeros(0) if samples.energy is None else np.asarray(samples.energy[energy_rows])
    slopes = samples.stress if samples.F is not None else samples.gradient
    slope_rows = _known(samples.stress_mask)
    q = d if samples.F is None else samples.F.shape[-1] ** 2
    growth_energy = growth_slope = None
    slope = np.zeros((0, q)) if slopes is None else slopes[slope_rows].reshape(-1, q)
    derivative = np.broadcast_to(np.eye(d), (len(slope_rows), d, d))
    if samples.F is not None and kinematics is not None:
        derivative = kinematics.derivative(samples.F[slope_rows]).reshape(len(slope_rows), kinematics.size, q)
        derivative = np.concatenate([np.zeros((len(slope_rows), d - derivative.shape[1], q)), derivative], axis=1)
        if isinstance(growth, Growth):
            energy = energy - growth.energy(samples.F[energy_rows])
            slope = slope - growth.stress(samples.F[slope_rows]).reshape(-1, q)
        elif growth == "auto":
            growth_energy = Growth(1.0).energy(samples.F[energy_rows])
            growth_slope = Growth(1.0).stress(samples.F[slope_rows]).reshape(-1, q)
    if samples.conjugates is not None:
        slope, derivative = _with_conjugates(samples.conjugates[slope_rows], slope, derivative)
        if growth_slope is not None:
            growth_slope = np.pad(growth_slope, ((0, 0), (samples.conjugates.shape[1], 0)))
    weight = np.ones(len(x)) if samples.weight is None else samples.weight
    for name, rows in (("energies", energy_rows), ("slopes", slope_rows)):
        if len(rows) and not weight[rows].any():
            raise InvalidInputError(f"all rows with {name} have weight 0: leave these {name} out instead.")
    x = np.ascontiguousarray(x)
    return Rows(x, energy_rows, energy, slope_rows, slope, derivative, weight, growth_energy, growth_slope)


def _with_conjugates(conjugates: Array, slope: Array, derivative: Array) -> tuple[Array, Array]:
    """Slopes (n, m + q) and their derivative, the conjugates first, in units that make each as large as the stresses."""
    n, m = conjugates.shape
    size = np.sqrt((conjugates**2).mean(axis=0))
    unit = np.where(size > 0.0, np.sqrt((slope**2).mean()) / np.where(size > 0.0, size, 1.0), 1.0)
    unit = np.where(unit > 0.0, unit, 1.0)
    own = np.zeros((n, derivative.shape[1], m))
    own[:, np.arange(m), np.arange(m)] = unit
    return np.concatenate([conjugates * unit, slope], axis=1), np.concatenate([own, derivative], axis=2)


def _known(mask: Mask | None) -> Index:
    return np.zeros(0, dtype=np.int64) if mask is None else np.flatnonzero(mask).astype(np.int64)


def scales_of(rows: Rows, symmetry: Symmetry | None = None) -> Scales:
    """Scales that make inputs, energies and gradients of order one; with a symmetry, of the data and all their images.

    Raises:
        InvalidInputError: all energies are equal, or all stresses vanish: there is nothing to learn.
    """
    group = np.eye(rows.x.shape[1])[None] if symmetry is None else symmetry.group
    shift = group.mean(axis=0) @ rows.x.mean(axis=0)
    away = rows.x - shift
    scale = np.sqrt(np.einsum("gij,jk,gik->i", group, away.T @ away / len(away), group) / len(group))
    scale = np.where(scale > 1e-12 * np.abs(rows.x).max(initial=1e-300), scale, 1.0)
    if len(rows.energy) > 1:
        mean = float(rows.mean(rows.energy, rows.energy_rows))
        spread = math.sqrt(float(rows.mean((rows.energy - mean) ** 2, rows.energy_rows)))
        if spread > 1e-12 * np.abs(rows.energy).max():
            return Scales(shift, scale, spread, mean)
    if len(rows.slope) == 0:
        raise InvalidInputError(
            "all energies are equal: there is no landscape to learn. Check the column, or add stresses."
        )
    if not rows.slope.any():
        raise InvalidInputError("all stresses are zero and there are no varying energies: there is nothing to learn.")
    gradient = np.einsum("nqd,nq->nd", np.linalg.pinv(np.swapaxes(rows.derivative, 1, 2)).swapaxes(1, 2), rows.slope)
    return Scales(shift, scale, float(np.sqrt(((gradient * scale) ** 2).sum(axis=1).mean())), 0.0)


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
