"""One mode of a potential that depends on a temperature: it goes over from one convex network to another.

    psi(t, x) = (1 - t) psi_0(x) + t psi_1(x)

It is convex in x for every t in [0, 1], and affine in t. A soft minimum of functions that are concave in t is concave in t: a
free energy of such modes has a heat capacity >= 0. It is not convex in t and x together: a stiffness may fall with t.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from lse_material._arrays import Array, expect_shape, float_array
from lse_material.errors import InvalidInputError
from lse_material.model.convex_network import ConvexNetwork
from lse_material.model.mode import Mode

ROUNDING = 1e-9  # of t, by which a value may lie outside [0, 1]
_QUADRATIC = re.compile(r"quadratic\.[01]")


@dataclass(frozen=True, eq=False)
class InterpolatedNetwork(Mode):
    """One mode: (1 - t) lower(x) + t upper(x) of the inputs (t, x).

    The two networks share their hidden layers, so that a mode costs hardly more than one network and is one where t is fixed.
    Networks of other hidden layers are put side by side: each then reads its own part of the neurons.

    Attributes:
        lower: psi at t = 0.
        upper: psi at t = 1.

    Raises:
        InvalidInputError: the two differ in activation or in number of inputs.

    >>> stiff, soft = (lse.ConvexNetwork.from_arrays([], [[[0.0]]], [[0.0]], quadratic=[[c]]) for c in (2.0, 1.0))
    >>> mode = lse.InterpolatedNetwork(stiff, soft)  # (4 (1 - t) + t) x^2 / 2
    >>> mode.energy([[0.0, 1.0], [1.0, 1.0]])
    array([2. , 0.5])
    """

    lower: ConvexNetwork
    upper: ConvexNetwork

    def __post_init__(self) -> None:
        lower, upper = self.lower, self.upper
        for name, end in (("lower", lower), ("upper", upper)):
            if not isinstance(end, ConvexNetwork):
                raise InvalidInputError(f"{name} is a {type(end).__name__}; it must be a ConvexNetwork.")
        for what, first, second in (
            ("inputs", lower.size, upper.size),
            ("activation", lower.activation, upper.activation),
        ):
            if first != second:
                raise InvalidInputError(f"lower and upper must agree in {what}: they have {first} and {second}.")
        if not all(map(np.array_equal, _hidden(lower), _hidden(upper))) or len(_hidden(lower)) != len(_hidden(upper)):
            lower, upper = _side_by_side(lower, upper)
            object.__setattr__(self, "lower", lower)
            object.__setattr__(self, "upper", upper)

    @property
    def ends(self) -> tuple[ConvexNetwork, ConvexNetwork]:
        """The networks at t = 0 and at t = 1."""
        return self.lower, self.upper

    @property
    def size(self) -> int:
        """Number d of inputs, t among them."""
        return 1 + self.lower.size

    @property
    def convex_inputs(self) -> tuple[int, ...]:
        """All but t."""
        return tuple(range(1, self.size))

    @property
    def monotone_inputs(self) -> tuple[int, ...]:  # noqa: D102
        cold, hot = (set(end.monotone_inputs) for end in self.ends)
        return tuple(sorted(1 + i for i in cold & hot))

    @property
    def affine_inputs(self) -> tuple[int, ...]:
        """That of t."""
        return (0,)

    @property
    def activation(self) -> str:
        """Of both networks."""
        return self.lower.activation

    def tensors(self) -> dict[str, Array]:  # noqa: D102
        lower, upper = (end.tensors() for end in self.ends)
        last = len(self.lower.z_weights)
        tensors = {name: tensor for name, tensor in lower.items() if name != "quadratic"}
        for name in [f"x_weight.{last}", f"bias.{last}", *([f"z_weight.{last}"] if last else [])]:
            tensors[name] = np.concatenate([lower[name], upper[name]])
        for end, of_end in enumerate((lower, upper)):
            if "quadratic" in of_end:
                tensors[f"quadratic.{end}"] = of_end["quadratic"]
        return tensors

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Array], options: Mapping[str, Any]) -> InterpolatedNetwork:  # noqa: D102
        last = sum(name.startswith("x_weight.") for name in tensors) - 1
        outputs = [f"x_weight.{last}", f"bias.{last}", *([f"z_weight.{last}"] if last > 0 else [])]
        shared = {name: tensor for name, tensor in tensors.items() if not _QUADRATIC.fullmatch(name)}
        ends = []
        for end in (0, 1):
            own = dict(shared)
            for name in outputs:
                rows = float_array(name, tensors[name]) if name in tensors else np.zeros((2, 0))
                expect_shape(name, rows, (2, *rows.shape[1:]))
                own[name] = rows[end : end + 1]
            if f"quadratic.{end}" in tensors:
                own["quadratic"] = tensors[f"quadratic.{end}"]
            ends.append(ConvexNetwork.from_tensors(own, options))
        return cls(*ends)

    def options(self) -> dict[str, Any]:  # noqa: D102
        return self.lower.options()

    def describe(self) -> dict[str, Any]:  # noqa: D102
        return {"type": self.type, **self.lower.describe()}

    def at(self, first: Any) -> ConvexNetwork:
        """The network of the other inputs where the first ones, t among them, have these values: first (m,), 0 < m < d.

        Raises:
            InvalidInputError: t is not between 0 and 1.
        """
        first = float_array("first", first, 1)
        if not 0 < len(first) < self.size:
            raise InvalidInputError(f"{len(first)} of {self.size} inputs cannot be fixed: at least one, and not all.")
        t = share_of_upper(float(first[0]))
        lower, upper = self.ends
        rows = [
            np.asarray(root * end.quadratic)
            for root, end in ((np.sqrt(1.0 - t), lower), (np.sqrt(t), upper))
            if root > 0.0 and end.quadratic is not None
        ]
        network = ConvexNetwork(
            (*lower.z_weights[:-1], *(_between(t, *(end.z_weights[-1:] for end in self.ends)))),
            (*lower.x_weights[:-1], *(_between(t, *(end.x_weights[-1:] for end in self.ends)))),
            (*lower.biases[:-1], *(_between(t, *(end.biases[-1:] for end in self.ends)))),
            self.activation,
            np.asarray(np.linalg.qr(np.concatenate(rows), mode="r")) if rows else None,
        )
        return network if len(first) == 1 else network.at(first[1:])

    def holding(self, values: Mapping[int, float]) -> ConvexNetwork | InterpolatedNetwork:  # noqa: D102
        rest = {i - 1: value for i, value in values.items() if i > 0}
        if 0 in values:
            held = self.at([values[0]])
            return held.holding(rest) if rest else held
        return InterpolatedNetwork(*(end.holding(rest) for end in self.ends))

    def reading(self, inputs: Any, size: int) -> InterpolatedNetwork:  # noqa: D102
        if len(inputs) == 0 or inputs[0] != 0:
            raise InvalidInputError("an InterpolatedNetwork reads its first input, t: the inputs must begin with 0.")
        return InterpolatedNetwork(*(end.reading(np.asarray(inputs[1:]) - 1, size - 1) for end in self.ends))

    def plus(self, slope: Array, quadratic: Array | None = None) -> InterpolatedNetwork:
        """The mode with slope.(t, x) + |quadratic (t, x)|^2 / 2 added; the quadratic term may not read t."""
        if quadratic is not None and quadratic[:, 0].any():
            raise InvalidInputError("an InterpolatedNetwork is affine in t: no quadratic term in it can be added.")
        rest = None if quadratic is None else quadratic[:, 1:]
        lower, upper = (end.plus(slope[1:], rest) for end in self.ends)
        return InterpolatedNetwork(lower, replace(upper, biases=(*upper.biases[:-1], upper.biases[-1] + slope[0])))

    def mean_over(self, maps: Array) -> InterpolatedNetwork:  # noqa: D102
        if not np.array_equal(maps[:, 0], np.broadcast_to(np.eye(self.size)[0], maps[:, 0].shape)):
            raise InvalidInputError("a symmetry must leave the first input of an InterpolatedNetwork, t, as it is.")
        return InterpolatedNetwork(*(end.mean_over(maps[:, 1:, 1:]) for end in self.ends))

    def values(self, x: Array) -> InterpolatedValues:  # noqa: D102
        return InterpolatedValues(self, x)


def share_of_upper(t: float) -> float:
    """A scaled temperature as the share of the upper end. Raises InvalidInputError: it is not between 0 and 1."""
    if not -ROUNDING <= t <= 1.0 + ROUNDING:
        raise InvalidInputError(
            f"the scaled temperature is {t:.6g}; the mode is convex from 0 to 1, the range of the parameter."
        )
    return min(max(t, 0.0), 1.0)


def _hidden(network: ConvexNetwork) -> list[Array]:
    """The arrays of the hidden layers."""
    return [*network.x_weights[:-1], *network.biases[:-1], *network.z_weights[:-1]]


def _between(t: float, lower: tuple[Array, ...], upper: tuple[Array, ...]) -> tuple[Array, ...]:
    return tuple((1.0 - t) * a + t * b for a, b in zip(lower, upper))


def _side_by_side(lower: ConvexNetwork, upper: ConvexNetwork) -> list[ConvexNetwork]:
    """The same two networks on common hidden layers; one with fewer layers takes the upper ones."""
    depth = max(len(lower.z_weights), len(upper.z_weights))
    a, b = (_lifted(end, depth - len(end.z_weights)) for end in (lower, upper))
    x_weights = [np.concatenate(pair) for pair in zip(a["x_weights"][:-1], b["x_weights"][:-1])]
    biases = [np.concatenate(pair) for pair in zip(a["biases"][:-1], b["biases"][:-1])]
    z_weights = [_blocks(*pair) for pair in zip(a["z_weights"], b["z_weights"])]
    return [
        ConvexNetwork(
            (*z_weights[:-1], *(output[end : end + 1] for output in z_weights[-1:])),
            (*x_weights, part["x_weights"][-1]),
            (*biases, part["biases"][-1]),
            lower.activation,
            part["quadratic"],
        )
        for end, part in enumerate((a, b))
    ]


def _lifted(network: ConvexNetwork, layers: int) -> dict[str, Any]:
    """The arrays of a network above so many empty layers."""
    sizes = [0] * layers + [len(bias) for bias in network.biases]
    return {
        "x_weights": [*(np.zeros((0, network.size)) for _ in range(layers)), *network.x_weights],
        "biases": [*(np.zeros(0) for _ in range(layers)), *network.biases],
        "z_weights": [*(np.zeros((sizes[i + 1], 0)) for i in range(layers)), *network.z_weights],
        "quadratic": network.quadratic,
    }


def _blocks(a: Array, b: Array) -> Array:
    """The block-diagonal matrix of two."""
    result = np.zeros((len(a) + len(b), a.shape[1] + b.shape[1]))
    result[: len(a), : a.shape[1]], result[len(a) :, a.shape[1] :] = a, b
    return result


class InterpolatedValues:
    """A mode between two others, `mode.lower` and `mode.upper`, at one batch of points (n, d)."""

    def __init__(self, mode: Any, x: Array) -> None:
        self._t = x[:, 0]
        self._lower, self._upper = (end.values(x[:, 1:]) for end in (mode.lower, mode.upper))
        self.energy: Array = (1.0 - self._t) * self._lower.energy + self._t * self._upper.energy

    @cached_property
    def gradient(self) -> Array:
        """(n, d)."""
        t = self._t[:, None]
        along = (1.0 - t) * self._lower.gradient + t * self._upper.gradient
        return np.concatenate([(self._upper.energy - self._lower.energy)[:, None], along], axis=1)

    @cached_property
    def hessian(self) -> Array:
        """(n, d, d)."""
        t, (n, d) = self._t[:, None, None], self.gradient.shape
        result = np.zeros((n, d, d))
        result[:, 1:, 1:] = (1.0 - t) * self._lower.hessian + t * self._upper.hessian
        result[:, 0, 1:] = result[:, 1:, 0] = self._upper.gradient - self._lower.gradient
        return result
