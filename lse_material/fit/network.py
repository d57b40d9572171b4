"""The twin of `SoftMinimum` in torch: the same formula with parameters that can be trained.

Its modes share one architecture, so that their weights are batched along a first axis. z-weights pass through softplus and
are positive; the transition scale is bounded through a sigmoid of its logarithm. The input gradient is written out by a
reverse sweep, so that a loss on stresses needs one backward pass.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter, ParameterList

from lse_material.errors import InvalidInputError
from lse_material.fit.options import Architecture
from lse_material.network import ConvexNetwork
from lse_material.potential import SoftMinimum

RHO_BOUNDS = (2e-3, 5.0)  # of the transition scale, in units of the energy scale


class TorchPotential(torch.nn.Module):
    """A trainable soft minimum in scaled variables: xh = (x - input_shift)/input_scale -> Psi(xh).

    Args:
        architecture: number and shape of the modes.
        size: number d of inputs.
        rho: transition scale to start from, in scaled energy.
        rho_bounds: the interval that rho is kept in.
    """

    def __init__(
        self, architecture: Architecture, size: int, *, rho: float = 0.3, rho_bounds: tuple[float, float] = RHO_BOUNDS
    ) -> None:
        super().__init__()
        self.architecture, self.size, self.rho_bounds = architecture, size, rho_bounds
        widths = [architecture.width] * architecture.depth + [1]
        k = architecture.count
        self.x_weights = ParameterList([_zeros(k, n, size) for n in widths])
        self.biases = ParameterList([_zeros(k, n) for n in widths])
        self.raw_z_weights = ParameterList([_zeros(k, n, m) for m, n in pairwise(widths)])
        self.quadratic = _zeros(k, size, size) if architecture.quadratic else None
        low, high = (math.log(bound) for bound in rho_bounds)
        share = (math.log(rho) - low) / (high - low)
        # with one mode rho has no effect: it is no parameter then, or the optimiser would let it drift
        raw = torch.tensor(math.log(share / (1.0 - share)), dtype=torch.float64)
        self.raw_rho = Parameter(raw, requires_grad=k > 1)

    @property
    def rho(self) -> Tensor:
        """Transition scale in scaled energy, a scalar tensor."""
        low, high = (math.log(bound) for bound in self.rho_bounds)
        return torch.exp(low + (high - low) * torch.sigmoid(self.raw_rho))

    @property
    def rho_value(self) -> float:
        """Transition scale as a number."""
        return float(self.rho.detach())

    def modes(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Energies (K, n) and gradients (K, n, d) of the modes at xh (n, d)."""
        z_weights = [_softplus(raw) for raw in self.raw_z_weights]
        slopes: list[Tensor] = []
        last = len(self.x_weights) - 1
        z: Tensor | None = None
        for i, (weight, bias) in enumerate(zip(self.x_weights, self.biases, strict=True)):
            a = x @ weight.transpose(1, 2) + bias.unsqueeze(1)
            if z is not None:
                a = a + z @ z_weights[i - 1].transpose(1, 2)
            if i < last:
                z, slope = _activation(self.architecture.activation, a)
                slopes.append(slope)
        energy = a.squeeze(2)
        gradient = self.x_weights[last].expand(-1, len(x), -1)
        above: Tensor | None = None
        for i in range(last - 1, -1, -1):
            adjoint = z_weights[i].expand(-1, len(x), -1) if above is None else above @ z_weights[i]
            above = adjoint * slopes[i]
            gradient = gradient + above @ self.x_weights[i]
        if self.quadratic is not None:
            y = x @ self.quadratic.transpose(1, 2)
            energy = energy + 0.5 * (y * y).sum(2)
            gradient = gradient + y @ self.quadratic
        return energy, gradient

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Energy (n,), gradient (n, d) and mode weights (n, K) at xh (n, d), all in scaled variables."""
        psi, gradients = self.modes(x)
        rho = self.rho
        weights = torch.softmax(-psi / rho, dim=0)
        energy = -rho * torch.logsumexp(-psi / rho, dim=0)
        return energy, (weights.unsqueeze(2) * gradients).sum(0), weights.T

    def to_potential(
        self,
        input_shift: np.ndarray | None = None,
        input_scale: np.ndarray | None = None,
        energy_scale: float = 1.0,
        energy_shift: float = 0.0,
    ) -> SoftMinimum:
        """The same potential for the numpy floor, with the scales of the data it was trained on."""
        with torch.no_grad():
            arrays = [[p.numpy() for p in group] for group in (self.x_weights, self.biases)]
            z_weights = [_softplus(raw).numpy() for raw in self.raw_z_weights]
            quadratic = None if self.quadratic is None else self.quadratic.numpy()
            modes = tuple(
                ConvexNetwork(
                    tuple(w[k] for w in z_weights),
                    tuple(w[k] for w in arrays[0]),
                    tuple(b[k] for b in arrays[1]),
                    self.architecture.activation,
                    None if quadratic is None else quadratic[k],
                )
                for k in range(self.architecture.count)
            )
            rho = self.rho_value
        shift = np.zeros(self.size) if input_shift is None else input_shift
        scale = np.ones(self.size) if input_scale is None else input_scale
        return SoftMinimum(modes, rho, shift, scale, energy_scale, energy_shift)

    @classmethod
    def from_potential(cls, potential: SoftMinimum) -> TorchPotential:
        """The twin of a potential in its scaled variables, to train it further.

        Raises:
            InvalidInputError: the modes differ in their layers, or their hidden layers in width.
        """
        first = potential.modes[0]
        shape = [w.shape for w in first.x_weights], first.activation, first.quadratic is None
        for k, mode in enumerate(potential.modes):
            if ([w.shape for w in mode.x_weights], mode.activation, mode.quadratic is None) != shape:
                raise InvalidInputError(
                    f"mode {k} has another architecture than mode 0: the twin batches equal modes only."
                )
        widths = {w.shape[0] for w in first.x_weights[:-1]}
        if len(widths) > 1:
            raise InvalidInputError(
                f"hidden layers of widths {sorted(widths)}: the twin has hidden layers of one width."
            )
        architecture = Architecture(
            modes=len(potential.modes),
            width=widths.pop() if widths else 1,
            depth=len(first.x_weights) - 1,
            activation=first.activation,
            quadratic=first.quadratic is not None,
        )
        rho = potential.rho
        twin = cls(architecture, potential.size, rho=rho, rho_bounds=(0.1 * rho, 10.0 * rho))
        with torch.no_grad():
            for i in range(architecture.depth + 1):
                twin.x_weights[i].copy_(_stack([mode.x_weights[i] for mode in potential.modes]))
                twin.biases[i].copy_(_stack([mode.biases[i] for mode in potential.modes]))
            for i in range(architecture.depth):
                twin.raw_z_weights[i].copy_(inverse_softplus(_stack([mode.z_weights[i] for mode in potential.modes])))
            if twin.quadratic is not None:
                twin.quadratic.copy_(_stack([_square(mode.quadratic) for mode in potential.modes]))
        return twin


def inverse_softplus(w: Tensor) -> Tensor:
    """The raw weight whose softplus is w >= 0; a zero becomes 1e-300."""
    w = torch.clamp(w, min=1e-300)
    return w + torch.log(-torch.expm1(-w))


def _square(quadratic: np.ndarray | None) -> np.ndarray:
    """A (d, d) matrix R with |R x| = |quadratic x|, for a quadratic term of any number of rows."""
    assert quadratic is not None
    rows, d = quadratic.shape
    if rows > d:
        return np.asarray(np.linalg.qr(quadratic, mode="r"))
    return np.concatenate([quadratic, np.zeros((d - rows, d))])


def _zeros(*shape: int) -> Parameter:
    return Parameter(torch.zeros(*shape, dtype=torch.float64))


def _softplus(a: Tensor) -> Tensor:
    """log(1 + exp(a)); above 40 the two sides of the sum differ by less than rounding."""
    return torch.nn.functional.softplus(a, threshold=40.0)


def _activation(name: str, a: Tensor) -> tuple[Tensor, Tensor]:
    """An activation of `lse_material.activations` and its slope."""
    value, slope = _softplus(a), torch.sigmoid(a)
    if name == "softplus":
        return value, slope
    return 0.5 * value * value, value * slope


def _stack(arrays: list[np.ndarray]) -> Tensor:
    return torch.tensor(np.stack(arrays), dtype=torch.float64)
