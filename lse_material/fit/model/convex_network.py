"""Convex networks in torch, of one shape, batched along a first axis; and modes that go over from one to another.

z-weights pass through softplus and are positive. The input gradient is written out by a reverse sweep, so that a loss on
stresses needs one backward pass. A mode has one output row and one quadratic term, or two of each, which its first input t
weighs by 1 - t and t.
"""

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
from lse_material.fit.model.simplify import trim, without_empty_rows
from lse_material.fit.model.trainable import MODES, TrainablePotential
from lse_material.fit.options import Architecture
from lse_material.model.activations import ACTIVATIONS
from lse_material.model.convex_network import ConvexNetwork
from lse_material.model.interpolated_network import InterpolatedNetwork
from lse_material.model.mode import Mode


class TrainableNetworks(TrainablePotential):
    """A trainable soft minimum of convex networks; arguments as `TrainablePotential`."""

    layered: ClassVar[bool] = True
    mode_type: ClassVar[str] = ConvexNetwork.type

    def set_up(self, architecture: Architecture, size: int) -> None:  # noqa: D102
        widths = [architecture.width] * architecture.depth + [self.outputs]
        k, d = architecture.count, size - self.temperatures
        self.x_weights = ParameterList([zeros(k, n, d) for n in widths])
        self.set_up_output(architecture)
        self.quadratic = zeros(k, self.outputs * d, d) if architecture.quadratic else None

    def set_up_output(self, architecture: Architecture) -> None:
        """Make the biases, and the weights between layers."""
        widths, k = [architecture.width] * architecture.depth + [self.outputs], architecture.count
        self.biases = ParameterList([zeros(k, n) for n in widths])
        self.raw_z_weights = ParameterList([zeros(k, n, m) for m, n in pairwise(widths)])

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:  # noqa: D102
        shares, x = self.shares(x), x[..., self.temperatures :]
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
                z, slope, _ = activation(self.architecture.activation, a)
                slopes.append(slope)
        gradient = shares @ x_weights[last]
        above = shares
        for i in range(last - 1, -1, -1):
            above = (above @ z_weights[i]) * slopes[i]
            gradient = gradient + above @ x_weights[i]
        if self.quadratic is not None:
            quadratic = self.acting("quadratic", self.quadratic)
            y = x @ quadratic.transpose(1, 2)
            a = a + 0.5 * (y * y).unflatten(2, (self.outputs, -1)).sum(3)
            gradient = gradient + (y * shares.repeat_interleave(x.shape[-1], dim=-1)) @ quadratic
        if self.temperatures:
            gradient = torch.cat([a[..., 1:] - a[..., :1], gradient], dim=2)
        return (a * shares).sum(2), gradient

    def add_affine(self, mode: int, slope: Tensor, level: Tensor | float) -> None:
        """Add slope.x + level to a mode."""
        self.x_weights[-1][mode] += slope[self.temperatures :]
        self.biases[-1][mode] += level
        if self.temperatures:
            self.biases[-1][mode, 1] += slope[0]

    def masks_of_states(self) -> dict[str, Tensor]:  # noqa: D102
        reads = self.constraints.reads
        if reads is None or len(reads) != self.architecture.count:
            return {}
        weights = {f"x_weights.{i}": weight for i, weight in enumerate(self.x_weights)}
        weights |= {} if self.quadratic is None else {"quadratic": self.quadratic}
        return {n: reads[:, None, self.temperatures :].expand_as(weight).clone() for n, weight in weights.items()}

    def _z_weights(self) -> list[Tensor]:
        return [self.acting(f"raw_z_weights.{i}", softplus(raw)) for i, raw in enumerate(self.raw_z_weights)]

    def start(self, centres: Array, energies: Array, rng: np.random.Generator) -> None:  # noqa: D102
        architecture, d = self.architecture, self.size - self.temperatures
        k, width, places = architecture.count, architecture.width, centres[:, None, self.temperatures :]
        for i in range(architecture.depth):
            weight = rng.standard_normal((k, width, d)) / math.sqrt(d)
            hinge = places + 0.7 * rng.standard_normal((k, width, d))
            self.x_weights[i].copy_(torch.tensor(weight))
            self.biases[i].copy_(torch.tensor(-(weight * hinge).sum(axis=2)))
        self.start_output(centres, energies, rng)

    def start_output(self, centres: Array, energies: Array, rng: np.random.Generator) -> None:
        """Random weights between layers, and an affine function that gives each mode its minimum at its centre."""
        k, d = self.architecture.count, self.size - self.temperatures
        self.start_z_weights(rng)
        if self.quadratic is not None:
            one = np.tile(np.eye(d), (self.outputs, 1))
            self.quadratic.copy_(torch.tensor(0.7 * one + 0.1 * rng.standard_normal((k, *one.shape))))
        # the last layer is affine in x: it gives each mode zero gradient and the data's energy at its centre
        self.settle(
            range(k), torch.tensor(centres), torch.zeros(k, self.size, dtype=torch.float64), torch.tensor(energies)
        )

    def start_z_weights(self, rng: np.random.Generator) -> None:
        """Random weights between layers."""
        for raw in self.raw_z_weights:
            positive = np.abs(rng.standard_normal(raw.shape)) * 0.5 / raw.shape[2] + 0.05
            raw.copy_(inverse_softplus(torch.tensor(positive)))

    def settle(self, modes: Sequence[int], at: Tensor, gradients: Tensor, energies: Tensor) -> None:
        """Add affine functions to some modes, so that each has its gradient (d,) and its energy at its own point at[i] (d,)."""
        of_mode = torch.tensor(list(modes)), torch.arange(len(at))
        for mode, slope in zip(modes, gradients - self.trained_modes(at)[1][of_mode]):
            self.add_affine(mode, slope, 0.0)
        for mode, level in zip(modes, energies - self.trained_modes(at)[0][of_mode]):
            self.add_affine(mode, torch.zeros(self.size, dtype=torch.float64), level)

    def written(self) -> tuple[Mode, ...]:  # noqa: D102
        x_weights, biases = (
            [self.acting(f"{name}.{i}", p).numpy() for i, p in enumerate(getattr(self, name))]
            for name in ("x_weights", "biases")
        )
        z_weights = [w.numpy() for w in self._z_weights()]
        quadratic = None if self.quadratic is None else self.acting("quadratic", self.quadratic).numpy()
        modes = []
        for k in range(self.architecture.count):
            x, b, z = ([w[k] for w in part] for part in (x_weights, biases, z_weights))
            if self.masks:
                trim(x, b, z, self.architecture.activation)
            terms = [None] * self.outputs if quadratic is None else np.split(quadratic[k], self.outputs)
            ends = [
                ConvexNetwork(
                    (*z[:-1], *(output[row : row + 1] for output in z[-1:])),
                    (*x[:-1], x[-1][row : row + 1]),
                    (*b[:-1], b[-1][row : row + 1]),
                    self.architecture.activation,
                    without_empty_rows(term) if self.masks else term,
                )
                for row, term in enumerate(terms)
            ]
            modes.append(InterpolatedNetwork(*ends) if self.temperatures else ends[0])
        return tuple(modes)

    @classmethod
    def architecture_of(cls, modes: Sequence[Any]) -> Architecture:  # noqa: D102
        first = modes[0].activation
        for k, mode in enumerate(modes):
            if mode.activation != first:
                raise InvalidInputError(
                    f"mode {k} has the activation {mode.activation!r}, mode 0 {first!r}: a trainable "
                    "potential has one activation."
                )
        networks = [network for mode in modes for network in mode.ends]
        return Architecture(
            modes=len(modes),
            width=max((w.shape[0] for network in networks for w in network.x_weights[:-1]), default=1),
            depth=max(len(network.z_weights) for network in networks),
            activation=first,
            quadratic=any(network.quadratic is not None for network in networks),
            mode_type=cls.mode_type,
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
        own = self.masks_of_states()
        there = {name: mask * own.get(name, 1.0) for name, mask in there.items() if not name.startswith("biases")}
        self.masks = {name: mask for name, mask in there.items() if not mask.all()}


def _named(mode: ConvexNetwork | InterpolatedNetwork, depth: int) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays of a mode by the names of the parameters; a shallower mode takes the upper layers."""
    first = mode.ends[0]
    last, lift = len(first.z_weights), depth - len(first.z_weights)
    for i in range(last):
        yield f"x_weights.{i + lift}", first.x_weights[i]
        yield f"biases.{i + lift}", first.biases[i]
    for i in range(last - 1):
        yield f"raw_z_weights.{i + lift}", first.z_weights[i]
    yield f"x_weights.{depth}", np.concatenate([end.x_weights[-1] for end in mode.ends])
    yield f"biases.{depth}", np.concatenate([end.biases[-1] for end in mode.ends])
    if last:
        yield f"raw_z_weights.{depth - 1}", np.concatenate([end.z_weights[-1] for end in mode.ends])
    if any(end.quadratic is not None for end in mode.ends):
        nothing = np.zeros((0, first.size))
        terms = [nothing if end.quadratic is None else end.quadratic for end in mode.ends]
        yield "quadratic", np.concatenate([_square(term) for term in terms])


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


def softplus(a: Tensor) -> Tensor:
    """log(1 + exp(a)); above 40 the two sides of the sum differ by less than rounding."""
    return torch.nn.functional.softplus(a, threshold=40.0)


def activation(name: str, a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """An activation of `lse_material.model.activations`, its slope and its second derivative."""
    f, s, t = ACTIVATIONS[name], softplus(a), torch.sigmoid(a)
    return f.value(s), f.slope(s, t), f.curvature(s, t, t * (1.0 - t))


class TrainableInterpolated(TrainableNetworks):
    """A trainable soft minimum of interpolated networks; arguments as `TrainablePotential`."""

    temperatures: ClassVar[int] = 1
    mode_type: ClassVar[str] = InterpolatedNetwork.type


for _kind in (TrainableNetworks, TrainableInterpolated):
    MODES[_kind.mode_type] = _kind
