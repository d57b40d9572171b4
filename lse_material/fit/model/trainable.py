"""`SoftMinimum` in torch: the same formula with parameters that can be trained.

Its modes share one architecture, so that their weights are batched along a first axis. z-weights pass through softplus and
are positive; the transition scale is bounded through a sigmoid of its logarithm. The input gradient is written out by a
reverse sweep, so that a loss on stresses needs one backward pass. Weights that pruning has left out are masked.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter, ParameterList

from lse_material.errors import InvalidInputError
from lse_material.fit.model.constraints import Constraints, variants_of
from lse_material.fit.model.simplify import trimmed
from lse_material.fit.options import Architecture
from lse_material.model.activations import ACTIVATIONS
from lse_material.model.convex_network import ConvexNetwork
from lse_material.model.soft_minimum import SoftMinimum

RHO_BOUNDS = (2e-3, 5.0)  # of the transition scale, in units of the energy scale


class TrainablePotential(torch.nn.Module):
    """A trainable soft minimum in scaled variables: xh = (x - input_shift)/input_scale -> Psi(xh).

    Args:
        architecture: number and shape of the modes.
        size: number d of inputs.
        scaled_rho: transition scale to start from, in scaled energy.
        scaled_rho_bounds: the interval that it is kept in.
        constraints: what holds by construction; with a symmetry each of the `architecture.count` trained modes stands for
            its variants.

    """

    def __init__(
        self,
        architecture: Architecture,
        size: int,
        *,
        scaled_rho: float = 0.3,
        scaled_rho_bounds: tuple[float, float] = RHO_BOUNDS,
        constraints: Constraints | None = None,
    ) -> None:
        super().__init__()
        self.architecture, self.size, self.scaled_rho_bounds = architecture, size, scaled_rho_bounds
        self.constraints = constraints or Constraints()
        widths = [architecture.width] * architecture.depth + [1]
        k = architecture.count
        self.x_weights = ParameterList([_zeros(k, n, size) for n in widths])
        self.biases = ParameterList([_zeros(k, n) for n in widths])
        self.raw_z_weights = ParameterList([_zeros(k, n, m) for m, n in pairwise(widths)])
        self.quadratic = _zeros(k, size, size) if architecture.quadratic else None
        low, high = (math.log(bound) for bound in scaled_rho_bounds)
        share = (math.log(scaled_rho) - low) / (high - low)
        # with one mode rho has no effect: it is no parameter then, or the optimiser would let it drift
        raw = torch.tensor(math.log(share / (1.0 - share)), dtype=torch.float64)
        self.raw_rho = Parameter(raw, requires_grad=k * self.constraints.variants > 1)
        self.masks: dict[str, Tensor] = {}

    def mask(self, name: str) -> Tensor:
        """1 where a weight of the parameter `name` acts and 0 where it has been left out."""
        return self.masks[name] if name in self.masks else torch.ones_like(self.get_parameter(name))

    def _acting(self, name: str, values: Tensor) -> Tensor:
        return values * self.masks[name] if name in self.masks else values

    @property
    def scaled_rho(self) -> Tensor:
        """Transition scale in scaled energy, a scalar tensor."""
        low, high = (math.log(bound) for bound in self.scaled_rho_bounds)
        return torch.exp(low + (high - low) * torch.sigmoid(self.raw_rho))

    @property
    def scaled_rho_value(self) -> float:
        """Transition scale as a number."""
        return float(self.scaled_rho.detach())

    def modes(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Energies (K, n) and gradients (K, n, d) of the modes at xh (n, d), the variants of each one after another."""
        orbit = self.constraints.orbit
        return self.trained_modes(x) if orbit is None else orbit.modes(*self.trained_modes(orbit.images(x)))

    def trained_modes(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The same of the networks that are trained: without symmetry these are the modes."""
        z_weights = self._z_weights()
        x_weights = [self._acting(f"x_weights.{i}", weight) for i, weight in enumerate(self.x_weights)]
        slopes: list[Tensor] = []
        last = len(x_weights) - 1
        z: Tensor | None = None
        for i, (weight, bias) in enumerate(zip(x_weights, self.biases, strict=True)):
            a = x @ weight.transpose(1, 2) + bias.unsqueeze(1)
            if z is not None:
                a = a + z @ z_weights[i - 1].transpose(1, 2)
            if i < last:
                z, slope = _activation(self.architecture.activation, a)
                slopes.append(slope)
        energy = a.squeeze(2)
        gradient = x_weights[last].expand(-1, len(x), -1)
        above: Tensor | None = None
        for i in range(last - 1, -1, -1):
            adjoint = z_weights[i].expand(-1, len(x), -1) if above is None else above @ z_weights[i]
            above = adjoint * slopes[i]
            gradient = gradient + above @ x_weights[i]
        if self.quadratic is not None:
            quadratic = self._acting("quadratic", self.quadratic)
            y = x @ quadratic.transpose(1, 2)
            energy = energy + 0.5 * (y * y).sum(2)
            gradient = gradient + y @ quadratic
        if self.architecture.stiffness:
            energy = energy + 0.5 * self.architecture.stiffness * (x * x).sum(1)
            gradient = gradient + self.architecture.stiffness * x
        return energy, gradient

    def _z_weights(self) -> list[Tensor]:
        return [self._acting(f"raw_z_weights.{i}", _softplus(raw)) for i, raw in enumerate(self.raw_z_weights)]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Energy (n,), gradient (n, d) and mode weights (n, K) at xh (n, d), all in scaled variables.

        The variants of a mode count as one in its weight.
        """
        energy, gradient, weights = self._soft_minimum(x)
        if self.constraints.reference is not None:
            at_reference = self._gradient_at_reference()
            energy, gradient = energy - x @ at_reference, gradient - at_reference
        return energy, gradient, weights.reshape(self.architecture.count, -1, len(x)).sum(1).T

    def _soft_minimum(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Energy, gradient and weights (K, n) of all modes, as the networks give them."""
        psi, gradients = self.modes(x)
        rho = self.scaled_rho
        weights = torch.softmax(-psi / rho, dim=0)
        energy = -rho * torch.logsumexp(-psi / rho, dim=0)
        return energy, (weights.unsqueeze(2) * gradients).sum(0), weights

    def _gradient_at_reference(self) -> Tensor:
        """The gradient that the reference point must lose: (d,)."""
        reference = self.constraints.reference
        assert reference is not None
        return self._soft_minimum(reference.at)[1][0] @ reference.projector

    def to_potential(
        self,
        input_shift: np.ndarray | None = None,
        input_scale: np.ndarray | None = None,
        energy_scale: float = 1.0,
        energy_shift: float = 0.0,
    ) -> SoftMinimum:
        """The same potential for the numpy floor, with the scales of the data it was trained on."""
        with torch.no_grad():
            arrays = [
                [self._acting(f"{name}.{i}", p).numpy() for i, p in enumerate(getattr(self, name))]
                for name in ("x_weights", "biases")
            ]
            z_weights = [w.numpy() for w in self._z_weights()]
            quadratic = None if self.quadratic is None else self._acting("quadratic", self.quadratic).numpy()
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
            rho = self.scaled_rho_value
            at_reference = None if self.constraints.reference is None else self._gradient_at_reference().numpy()
        if self.masks:
            modes = tuple(trimmed(mode) for mode in modes)
        if self.architecture.stiffness:
            modes = tuple(_stiffened(mode, self.architecture.stiffness) for mode in modes)
        if self.constraints.orbit is not None:
            modes = tuple(variant for mode in modes for variant in variants_of(mode, self.constraints.orbit))
        if at_reference is not None:
            modes = tuple(
                replace(mode, x_weights=(*mode.x_weights[:-1], mode.x_weights[-1] - at_reference)) for mode in modes
            )
        shift = np.zeros(self.size) if input_shift is None else input_shift
        scale = np.ones(self.size) if input_scale is None else input_scale
        return SoftMinimum(modes, rho, shift, scale, energy_scale, energy_shift)

    @classmethod
    def from_potential(cls, potential: SoftMinimum) -> TrainablePotential:
        """The trainable form of a potential, in its scaled variables, to train it further.

        Modes of fewer layers or neurons than others are filled up with masked ones, which stay without effect. A potential
        does not say what constrained it: the result has no constraints.

        Raises:
            InvalidInputError: the modes differ in their activation.
        """
        first = potential.modes[0].activation
        for k, mode in enumerate(potential.modes):
            if mode.activation != first:
                raise InvalidInputError(
                    f"mode {k} has the activation {mode.activation!r}, mode 0 {first!r}: a trainable "
                    "potential has one activation."
                )
        architecture = Architecture(
            modes=len(potential.modes),
            width=max((w.shape[0] for mode in potential.modes for w in mode.x_weights[:-1]), default=1),
            depth=max(len(mode.z_weights) for mode in potential.modes),
            activation=first,
            quadratic=any(mode.quadratic is not None for mode in potential.modes),
        )
        rho = potential.scaled_rho
        model = cls(architecture, potential.size, scaled_rho=rho, scaled_rho_bounds=(0.1 * rho, 10.0 * rho))
        there = {name: torch.zeros_like(p) for name, p in model.named_parameters() if name != "raw_rho"}
        with torch.no_grad():
            for k, mode in enumerate(potential.modes):
                for name, array in _named(mode, architecture.depth):
                    part = (k, *(slice(0, n) for n in array.shape))
                    value = torch.tensor(np.array(array))
                    value = inverse_softplus(value) if name.startswith("raw_z_weights") else value
                    model.get_parameter(name)[part] = value
                    there[name][part] = 1.0
        model.masks = {name: m for name, m in there.items() if not name.startswith("biases") and not m.all()}
        return model


def _named(mode: ConvexNetwork, depth: int) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays of a mode by the names of the parameters; a shallower mode takes the upper layers."""
    lift = depth - len(mode.z_weights)
    for i, (weight, bias) in enumerate(zip(mode.x_weights, mode.biases, strict=True)):
        yield f"x_weights.{i + lift}", weight
        yield f"biases.{i + lift}", bias
    for i, weight in enumerate(mode.z_weights):
        yield f"raw_z_weights.{i + lift}", weight
    if mode.quadratic is not None:
        yield "quadratic", _square(mode.quadratic)


def inverse_softplus(w: Tensor) -> Tensor:
    """The raw weight whose softplus is w >= 0; a zero becomes 1e-300."""
    w = torch.clamp(w, min=1e-300)
    return w + torch.log(-torch.expm1(-w))


def _square(quadratic: np.ndarray) -> np.ndarray:
    """A (d, d) matrix R with |R x| = |quadratic x|, for a quadratic term of any number of rows."""
    rows, d = quadratic.shape
    if rows > d:
        return np.asarray(np.linalg.qr(quadratic, mode="r"))
    return np.concatenate([quadratic, np.zeros((d - rows, d))])


def _stiffened(mode: ConvexNetwork, stiffness: float) -> ConvexNetwork:
    """The same with stiffness/2 |x|^2 added, in the quadratic term."""
    d = mode.x_weights[-1].shape[1]
    parts = [] if mode.quadratic is None else [mode.quadratic]
    parts.append(math.sqrt(stiffness) * np.eye(d))
    return replace(mode, quadratic=np.asarray(np.linalg.qr(np.concatenate(parts), mode="r")))


def _zeros(*shape: int) -> Parameter:
    return Parameter(torch.zeros(*shape, dtype=torch.float64))


def _softplus(a: Tensor) -> Tensor:
    """log(1 + exp(a)); above 40 the two sides of the sum differ by less than rounding."""
    return torch.nn.functional.softplus(a, threshold=40.0)


def _activation(name: str, a: Tensor) -> tuple[Tensor, Tensor]:
    """An activation of `lse_material.model.activations` and its slope."""
    f, s, t = ACTIVATIONS[name], _softplus(a), torch.sigmoid(a)
    return f.value(s), f.slope(s, t)
