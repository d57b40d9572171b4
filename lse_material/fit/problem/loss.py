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
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from lse_material._arrays import Array
from lse_material.errors import InvalidInputError
from lse_material.fit.model.trainable import TrainablePotential
from lse_material.fit.problem.rows import Index, Rows, Scales
from lse_material.fit.problem.sums import ROWS, Sums
from lse_material.fit.session import Session

Linearised = Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]
Residuals = tuple[Tensor, Tensor, Tensor | None]  # with their Jacobian and derivative in a growth coefficient


def _tensor(array: Array) -> Tensor:
    return torch.tensor(np.ascontiguousarray(array), dtype=torch.float64)


def _size(rows: Rows) -> float:
    """RMS of the stresses."""
    if not (rows.stress.size and rows.stress[rows.weight[rows.stress_rows] > 0.0].any()):
        return 1.0
    return math.sqrt(float(rows.mean((rows.stress**2).mean(axis=1), rows.stress_rows)))


def _root(rows: Rows, index: Index) -> Tensor:
    """Square roots of the weights of some rows, over their mean."""
    weight = rows.weight[index]
    return _tensor(np.sqrt(weight / weight.mean())) if len(weight) else torch.zeros(0, dtype=torch.float64)


@dataclass(frozen=True, eq=False)
class Targets:
    """Known energies, or known stresses, in scaled variables."""

    rows: Tensor  # at which they are known, (n,)
    values: Tensor  # (n,), or (n, q) of stresses
    root: Tensor  # of the weight of each row, of the shape of `values` to broadcasting
    derivative: Tensor | None = None  # that takes gradients to stresses, (n, d, q); None for energies
    growth: Tensor | None = None  # what a growth coefficient of 1 adds to the residuals; None without a growth term

    def __len__(self) -> int:
        """The number of rows at which they are known."""
        return len(self.rows)

    def part(self, start: int, stop: int) -> Targets:
        """Those of a stretch of the rows, which then count from its start."""
        which = (self.rows >= start) & (self.rows < stop)
        derivative, growth = (None if item is None else item[which] for item in (self.derivative, self.growth))
        return Targets(self.rows[which] - start, self.values[which], self.root[which], derivative, growth)

    def residual(self, found: Tensor, coefficient: Tensor | float) -> Tensor:
        """Of energies, or of gradients, at all rows: what is wrong, times the roots of the weights."""
        found = found[self.rows]
        if self.derivative is not None:
            found = (found.unsqueeze(1) @ self.derivative).squeeze(1)
        plain = self.root * (found - self.values)
        return plain if self.growth is None else plain + coefficient * self.growth


@dataclass(frozen=True, eq=False)
class Loss:
    """The loss of a model on rows of data, in scaled variables; `Loss.on` makes one.

    A growth coefficient that is to be fitted follows from the rows of `growth_from`, or from these rows.
    """

    inputs: Tensor  # scaled inputs (n, d)
    known_energies: Targets  # and at which rows
    # the same of stresses, or of gradients where the data are samples of x; or known sums of stresses
    known_stresses: Targets | Sums
    weights: tuple[float, float]  # of the two, with sum 1
    growth_from: Loss | None = None  # the loss that a growth coefficient follows from, if not this one
    session: Session = field(default_factory=Session)  # in which the loss is minimised

    @classmethod
    def on(
        cls, rows: Rows, scales: Scales, energy_weight: float, stress_weight: float, *, growth_from: Loss | None = None
    ) -> Loss:
        """The loss on rows of data; weights are relative to each other."""
        rows = rows.in_like_units(scales)
        size = _size(rows)
        growth: tuple[Tensor | None, Tensor | None] = None, None
        roots = _root(rows, rows.energy_rows), _root(rows, rows.stress_rows).unsqueeze(1)
        if rows.growth_energy is not None and rows.growth_stress is not None:
            by_growth = rows.growth_energy / scales.energy_scale, rows.growth_stress / size
            growth = roots[0] * _tensor(by_growth[0]), roots[1] * _tensor(by_growth[1])
        W, D = (
            (rows.energy - scales.energy_shift) / scales.energy_scale,
            scales.energy_scale / scales.input_scale / size,
        )
        energies = Targets(torch.tensor(rows.energy_rows), _tensor(W), roots[0], None, growth[0])
        derivative = _tensor(rows.derivative * D[:, None])
        stresses = Targets(torch.tensor(rows.stress_rows), _tensor(rows.stress / size), roots[1], derivative, growth[1])
        total = energy_weight * (len(energies) > 0) + stress_weight * (len(stresses) > 0)
        if total <= 0.0:
            raise InvalidInputError("the only kind of data there is has weight 0 in Training.")
        inputs = _tensor((rows.x - scales.input_shift) / scales.input_scale)
        return cls(inputs, energies, stresses, (energy_weight / total, stress_weight / total), growth_from)

    @classmethod
    def on_sums(cls, x: Array, sums: Sums, scales: Scales, *, growth_from: Loss | None = None) -> Loss:
        """The loss on known sums of stresses at x (n, d)."""
        nothing = torch.zeros(0, dtype=torch.float64)
        energies = Targets(nothing.long(), nothing, nothing, growth=None if sums.growth is None else nothing)
        return cls(_tensor((x - scales.input_shift) / scales.input_scale), energies, sums, (0.0, 1.0), growth_from)

    def __call__(self, model: TrainablePotential) -> Tensor:
        """A scalar; about 1 for a constant potential."""
        return self.with_mode_weights(model)[0]

    def with_mode_weights(self, model: TrainablePotential) -> tuple[Tensor, Tensor]:
        """The loss, and the mode weights (n, K) at all rows."""
        energy, gradient, weights = model(self.inputs)
        loss = torch.zeros((), dtype=torch.float64)
        for part, weight in zip(self._squares(model, energy, gradient), self.weights):
            if weight and part is not None:
                loss = loss + weight * part
        return loss, weights

    def errors(self, model: TrainablePotential) -> tuple[float | None, float | None]:
        """Relative RMS errors of energies and stresses; None where there are none."""
        with torch.no_grad():
            energy, gradient, _ = model(self.inputs)
            parts = self._squares(model, energy, gradient)
        return tuple(None if part is None else math.sqrt(float(part)) for part in parts)  # type: ignore[return-value]

    def by_row(self, model: TrainablePotential) -> Tensor:
        """What each row adds to the loss: (n,)."""
        result = torch.zeros(len(self.inputs), dtype=torch.float64)
        with torch.no_grad():
            energy, gradient, _ = model(self.inputs)
            wrong_energy, wrong_stress = self._wrong(energy, gradient, self._coefficient(model, energy, gradient))
            energies, stresses = self.known_energies, self.known_stresses
            if self.weights[0] and len(energies):
                result[energies.rows] += self.weights[0] / len(energies) * wrong_energy**2
            if isinstance(stresses, Sums):
                result += stresses.by_row(wrong_stress) / len(stresses)
            elif self.weights[1] and len(stresses):
                result[stresses.rows] += self.weights[1] / len(stresses) * (wrong_stress**2).mean(1)
        return result

    def growth_coefficient(self, model: TrainablePotential) -> float:
        """The growth coefficient, in energy units, that goes best with the model's weights; 0 if none is looked for."""
        if self.known_energies.growth is None:
            return 0.0
        if self.growth_from is not None:
            return self.growth_from.growth_coefficient(model)
        with torch.no_grad():
            return float(self._coefficient(model, *model(self.inputs)[:2]))

    def worst_error(self, model: TrainablePotential) -> float:
        """The larger of the relative RMS errors that have a weight in the loss."""
        errors = [e for e, weight in zip(self.errors(model), self.weights) if e is not None and weight]
        return max(errors)

    def _coefficient(self, model: TrainablePotential, energy: Tensor, gradient: Tensor) -> Tensor | float:
        """The same, from energies and gradients at these rows: c = -<h, r>/<h, h> or 0, r the residuals without the term."""
        if self.known_energies.growth is None:
            return 0.0
        if self.growth_from is not None:
            return self.growth_from.growth_coefficient(model)
        with torch.no_grad():
            above = below = torch.zeros((), dtype=torch.float64)
            by_growth = self.known_energies.growth, self.known_stresses.growth
            for wrong, h, weight in zip(self._wrong(energy, gradient, 0.0), by_growth, self.weights):
                if weight and h is not None and h.numel():
                    above, below = above + weight * (h * wrong).mean(), below + weight * (h * h).mean()
            return torch.clamp(-above / below, min=0.0) if float(below) > 0.0 else 0.0

    def _wrong(self, energy: Tensor, gradient: Tensor, coefficient: Tensor | float) -> tuple[Tensor, Tensor]:
        """Residuals of energies and of stresses, times the roots of the rows' weights."""
        return self.known_energies.residual(energy, coefficient), self.known_stresses.residual(gradient, coefficient)

    def _squares(
        self, model: TrainablePotential, energy: Tensor, gradient: Tensor
    ) -> tuple[Tensor | None, Tensor | None]:
        """Mean squares of the two kinds of residual."""
        first, second = self._wrong(energy, gradient, self._coefficient(model, energy, gradient))
        return (first**2).mean() if len(first) else None, (second**2).mean() if len(second) else None

    def residuals(self, linearised: Linearised, coefficient: float = 0.0) -> Iterator[Residuals]:
        """Residuals and their Jacobians, some rows at a time, scaled so that the squares of all sum to the loss.

        Args:
            linearised: takes inputs (m, d) to energies (m,), gradients (m, d) and the derivatives of both in the weights,
                (m, 1 + d, p).
            coefficient: of the growth term; its derivative comes third, or None without such a term.
        """
        if isinstance(self.known_stresses, Sums):
            yield self._residuals_of_sums(self.known_stresses, linearised, coefficient)
            return
        for start in range(0, len(self.inputs), ROWS):
            rows = slice(start, start + ROWS)
            yield from self._residuals_of_rows(rows, *linearised(self.inputs[rows]), coefficient)

    def _residuals_of_sums(self, sums: Sums, linearised: Linearised, coefficient: float) -> Residuals:
        gradients, total, factor = [], None, 1.0 / math.sqrt(len(sums))
        for start in range(0, len(self.inputs), ROWS):
            _, gradient, J = linearised(self.inputs[start : start + ROWS])
            gradients.append(gradient)
            total = torch.zeros(len(sums), J.shape[2], dtype=torch.float64) if total is None else total
            sums.add_jacobian(total, start, J[:, 1:])
        assert total is not None
        h = None if sums.growth is None else factor * sums.growth
        return factor * sums.residual(torch.cat(gradients), coefficient), factor * total, h

    def _residuals_of_rows(
        self, rows: slice, energy: Tensor, gradient: Tensor, J: Tensor, coefficient: float
    ) -> Iterator[Residuals]:
        some = self.part(rows)
        energies, stresses = some.known_energies, some.known_stresses
        if self.weights[0] and len(self.known_energies):
            factor = math.sqrt(self.weights[0] / len(self.known_energies))
            JW = J[energies.rows, 0] * (factor * energies.root)[:, None]
            h = None if energies.growth is None else factor * energies.growth
            yield factor * energies.residual(energy, coefficient), JW, h
        if self.weights[1] and len(self.known_stresses):
            assert isinstance(stresses, Targets)
            assert stresses.derivative is not None
            factor = math.sqrt(self.weights[1] / self.known_stresses.values.numel())
            D = stresses.derivative * (factor * stresses.root)[:, :, None]
            JD = torch.einsum("ndq,ndp->nqp", D, J[stresses.rows, 1:]).reshape(-1, J.shape[2])
            h = None if stresses.growth is None else factor * stresses.growth.reshape(-1)
            yield factor * stresses.residual(gradient, coefficient).reshape(-1), JD, h

    def pulled_back_residual(self, model: TrainablePotential) -> Tensor:
        """How wrong the stress is, as a direction in scaled inputs: (n, d), zero where no stress is known."""
        with torch.no_grad():
            energy, gradient, _ = model(self.inputs)
            result = torch.zeros_like(gradient)
            wrong = self._wrong(energy, gradient, self._coefficient(model, energy, gradient))[1]
            stresses = self.known_stresses
            if isinstance(stresses, Sums):
                return stresses.pulled_back(wrong)
            assert stresses.derivative is not None
            result[stresses.rows] = (stresses.derivative @ wrong.unsqueeze(2)).squeeze(2)
        return result

    def part(self, rows: slice) -> Loss:
        """The loss of some of the rows, in the same units; of all where sums of their stresses are known."""
        if isinstance(self.known_stresses, Sums):
            return self
        start, stop = rows.start or 0, min(rows.stop, len(self.inputs))
        return replace(
            self,
            inputs=self.inputs[start:stop],
            known_energies=self.known_energies.part(start, stop),
            known_stresses=self.known_stresses.part(start, stop),
        )

    def batch(self, step: int, size: int) -> Loss:
        """The loss of the rows of one step, at most `size`: all rows in turn, in stretches of equal length."""
        n = len(self.inputs)
        if n <= size:
            return self
        count = -(-n // size)
        k = step % count
        return self.part(slice(k * n // count, (k + 1) * n // count))

    @property
    def is_of_sums(self) -> bool:
        """Whether sums of stresses are known, so that no row can be taken alone."""
        return isinstance(self.known_stresses, Sums)

    @property
    def gradients(self) -> Tensor | None:
        """Gradients in scaled inputs (n, d) of all rows, or None if some are missing or they are stresses."""
        D, known = self.known_stresses.derivative, self.known_stresses.values
        assert D is not None
        if isinstance(self.known_stresses, Sums) or len(known) < len(self.inputs) or D.shape[1] != D.shape[2]:
            return None
        found, failed = torch.linalg.solve_ex(D.transpose(1, 2), known)
        return None if failed.any() else found

    @property
    def energies(self) -> Tensor | None:
        """Scaled energies of all rows, or None if some are missing."""
        known = self.known_energies.values
        return known if len(known) == len(self.inputs) else None
