"""Convex networks in torch, of one shape, batched along a first axis.

z-weights pass through softplus and are positive. The input gradient is written out by a reverse sweep, so that a loss on
stresses needs one backward pass.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter, ParameterList

from lse_material._arrays import Array
from lse_material.errors import InvalidInputError
from lse_material.fit.model.simplify import trimmed
from lse_material.fit.model.trainable import MODES, TrainablePotential
from lse_material.fit.options import Architecture
from lse_material.model.activations import ACTIVATIONS
from lse_material.model.convex_network import ConvexNetwork


class TrainableNetworks(TrainablePotential):
    """A trainable soft minimum of convex networks; arguments as `TrainablePotential`."""

    layered: ClassVar[bool] = True

    def set_up(self, architecture: Architecture, size: int) -> None:  # noqa: D102
        widths, k = [architecture.width] * architecture.depth + [1], architecture.count
        self.x_weights = ParameterList([zeros(k, n, size) for n in widths])
        self.set_up_output(architecture)
        self.quadratic = zeros(k, size, size) if architecture.quadratic else None

    def set_up_output(self, architecture: Architecture) -> None:
        """Make the biases, and the weights between layers."""
        widths, k = [architecture.width] * architecture.depth + [1], architecture.count
        self.biases = ParameterList([zeros(k, n) for n in widths])
        self.raw_z_weights = ParameterList([zeros(k, n, m) for m, n in pairwise(widths)])

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:  # noqa: D102
        z_weights = self._z_weights()
        x_weights = [self.acting(f"x_weights.{i}", weight) for i, weight in enumerate(self.x_weights)]
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
            quadratic = self.acting("quadratic", self.quadratic)
            y = x @ quadratic.transpose(1, 2)
            energy = energy + 0.5 * (y * y).sum(2)
            gradient = gradient + y @ quadratic
        return energy, gradient

    def _z_weights(self) -> list[Tensor]:
        return [self.acting(f"raw_z_weights.{i}", _softplus(raw)) for i, raw in enumerate(self.raw_z_weights)]

    def start(self, centres: Array, energies: Array, rng: np.random.Generator) -> None:  # noqa: D102
        architecture, d = self.architecture, self.size
        k, width = architecture.count, architecture.width
        for i in range(architecture.depth):
            weight = rng.standard_normal((k, width, d)) / math.sqrt(d)
            hinge = centres[:, None, :] + 0.7 * rng.standard_normal((k, width, d))
            self.x_weights[i].copy_(torch.tensor(weight))
            self.biases[i].copy_(torch.tensor(-(weight * hinge).sum(axis=2)))
        self.start_output(centres, energies, rng)

    def start_output(self, centres: Array, energies: Array, rng: np.random.Generator) -> None:
        """Random weights between layers, and an affine function that gives each mode its minimum at its centre."""
        k, d = centres.shape
        for raw in self.raw_z_weights:
            positive = np.abs(rng.standard_normal(raw.shape)) * 0.5 / raw.shape[2] + 0.05
            raw.copy_(inverse_softplus(torch.tensor(positive)))
        if self.quadratic is not None:
            self.quadratic.copy_(torch.tensor(0.7 * np.eye(d) + 0.1 * rng.standard_normal((k, d, d))))
        # the last layer is affine in x: it gives each mode zero gradient and the data's energy at its centre
        at, diagonal = torch.tensor(centres), torch.arange(k)
        self.x_weights[-1][:, 0, :] -= self.trained_modes(at)[1][diagonal, diagonal]
        self.biases[-1][:, 0] += torch.tensor(energies) - self.trained_modes(at)[0][diagonal, diagonal]

    def written(self) -> tuple[ConvexNetwork, ...]:  # noqa: D102
        x_weights, biases = (
            [self.acting(f"{name}.{i}", p).numpy() for i, p in enumerate(getattr(self, name))]
            for name in ("x_weights", "biases")
        )
        z_weights = [w.numpy() for w in self._z_weights()]
        quadratic = None if self.quadratic is None else self.acting("quadratic", self.quadratic).numpy()
        modes = tuple(
            ConvexNetwork(
                tuple(w[k] for w in z_weights),
                tuple(w[k] for w in x_weights),
                tuple(b[k] for b in biases),
                self.architecture.activation,
                None if quadratic is None else quadratic[k],
            )
            for k in range(self.architecture.count)
        )
        return tuple(trimmed(mode) for mode in modes) if self.masks else modes

    @classmethod
    def architecture_of(cls, modes: Sequence[Any]) -> Architecture:  # noqa: D102
        first = modes[0].activation
        for k, mode in enumerate(modes):
            if mode.activation != first:
                raise InvalidInputError(
                    f"mode {k} has the activation {mode.activation!r}, mode 0 {first!r}: a trainable "
                    "potential has one activation."
                )
        return Architecture(
            modes=len(modes),
            width=max((w.shape[0] for mode in modes for w in mode.x_weights[:-1]), default=1),
            depth=max(len(mode.z_weights) for mode in modes),
            activation=first,
            quadratic=any(mode.quadratic is not None for mode in modes),
        )

    def read(self, modes: Sequence[Any]) -> None:
        """Take the weights of networks; where one has fewer layers or neurons, masked ones without effect fill it up."""
        there = {name: torch.zeros_like(p) for name, p in self.named_parameters() if name != "raw_rho"}
        for k, mode in enumerate(modes):
            for name, array in _named(mode, self.architecture.depth):
                part = (k, *(slice(0, n) for n in array.shape))
                value = torch.tensor(np.array(array))
                self.get_parameter(name)[part] = inverse_softplus(value) if name.startswith("raw_z_weights") else value
                there[name][part] = 1.0
        self.masks = {name: m for name, m in there.items() if not name.startswith("biases") and not m.all()}


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


def zeros(*shape: int) -> Parameter:
    """A parameter of this shape, float64."""
    return Parameter(torch.zeros(*shape, dtype=torch.float64))


def _softplus(a: Tensor) -> Tensor:
    """log(1 + exp(a)); above 40 the two sides of the sum differ by less than rounding."""
    return torch.nn.functional.softplus(a, threshold=40.0)


def _activation(name: str, a: Tensor) -> tuple[Tensor, Tensor]:
    """An activation of `lse_material.model.activations` and its slope."""
    f, s, t = ACTIVATIONS[name], _softplus(a), torch.sigmoid(a)
    return f.value(s), f.slope(s, t)


MODES[ConvexNetwork.type] = TrainableNetworks
