"""One mode of a potential that depends on a temperature: it goes over from one convex network to another.

    psi(t, x) = (1 - t) psi_0(x) + t psi_1(x)

It is convex in x for every t in [0, 1], and affine in t. A soft minimum of functions that are concave in t is concave in t: a
free energy of such modes has a heat capacity >= 0. It is not convex in t and x together: a stiffness may fall with t.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from lse_material._arrays import Array, expect_shape, float_array
from lse_material.errors import InvalidInputError
from lse_material.model.convex_network import ConvexNetwork
from lse_material.model.mode import Mode, expect_some

ROUNDING = 1e-9  # of t, by which a value may lie outside [0, 1]
_QUADRATIC = re.compile(r"quadratic\.[01]")


@dataclass(frozen=True, eq=False)
class InterpolatedMode(Mode):
    """A mode between two others: (1 - t) lower + t upper of the inputs t, the first, and those of `lower` and `upper`.

    A class says of which type its ends are, and in which of their attributes they must agree; it puts ends that share too
    little side by side.
    """

    lower: Any
    upper: Any
    end_type: ClassVar[type[Mode]]
    agreeing: ClassVar[dict[str, str]] = {"inputs": "size", "activation": "activation"}  # words -> attribute

    def __post_init__(self) -> None:
        for name in ("lower", "upper"):
            if not isinstance(getattr(self, name), self.end_type):
                raise InvalidInputError(
                    f"{name} is a {type(getattr(self, name)).__name__}; it must be a {self.end_type.type}."
                )
        for what, attribute in self.agreeing.items():
            first, second = (getattr(end, attribute) for end in self.ends)
            if first != second:
                raise InvalidInputError(f"lower and upper must agree in {what}: they have {first} and {second}.")

    @property
    def ends(self) -> tuple[Any, Any]:
        """The modes at t = 0 and at t = 1."""
        return self.lower, self.upper

    @property
    def size(self) -> int:
        """Number d of inputs, t among them."""
        return 1 + int(self.lower.size)

    @property
    def convex_inputs(self) -> tuple[int, ...]:
        """Those of the ends: all but t, and but the parameters of a design."""
        return tuple(1 + i for i in self.lower.convex_inputs)

    @property
    def affine_inputs(self) -> tuple[int, ...]:
        """That of t."""
        return (0,)

    @property
    def activation(self) -> str:
        """Of both ends."""
        return str(self.lower.activation)

    def options(self) -> dict[str, Any]:  # noqa: D102
        return dict(self.lower.options())

    def describe(self) -> dict[str, Any]:  # noqa: D102
        return {"type": self.type, **self.lower.describe()} | {"type": self.type}

    def reading(self, inputs: Any, size: int) -> Any:  # noqa: D102
        if len(inputs) == 0 or inputs[0] != 0:
            raise InvalidInputError(f"an {self.type} reads its first input, t: the inputs must begin with 0.")
        return type(self)(*(end.reading(np.asarray(inputs[1:]) - 1, size - 1) for end in self.ends))

    def plus(self, slope: Array, quadratic: Array | None = None) -> Any:
        """The mode with slope.(t, ..) + |quadratic (t, ..)|^2 / 2 added; the quadratic term may not read t."""
        if quadratic is not None and quadratic[:, 0].any():
            raise InvalidInputError(f"an {self.type} is affine in t: no quadratic term in it can be added.")
        rest = None if quadratic is None else quadratic[:, 1:]
        return type(self)(self.lower.plus(slope[1:], rest), self.upper.plus(slope[1:], rest, slope[0]))

    def mean_over(self, maps: Array) -> Any:  # noqa: D102
        if not np.array_equal(maps[:, 0], np.broadcast_to(np.eye(self.size)[0], maps[:, 0].shape)):
            raise InvalidInputError(f"a symmetry must leave the first input of an {self.type}, t, as it is.")
        return type(self)(*(end.mean_over(maps[:, 1:, 1:]) for end in self.ends))

    def values(self, x: Array) -> InterpolatedValues:  # noqa: D102
        return InterpolatedValues(self, x)


@dataclass(frozen=True, eq=False)
class InterpolatedNetwork(InterpolatedMode):
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
    end_type: ClassVar[type[Mode]] = ConvexNetwork

    def __post_init__(self) -> None:
        super().__post_init__()
        hidden = [[*end.x_weights[:-1], *end.biases[:-1], *end.z_weights[:-1]] for end in self.ends]
        if len(hidden[0]) != len(hidden[1]) or not all(map(np.array_equal, *hidden)):
            for name, end in zip(("lower", "upper"), _side_by_side(*self.ends)):
                object.__setattr__(self, name, end)

    @property
    def monotone_inputs(self) -> tuple[int, ...]:  # noqa: D102
        cold, hot = (set(end.monotone_inputs) for end in self.ends)
        return tuple(sorted(1 + i for i in cold & hot))

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

    def holding(self, values: Mapping[int, float]) -> ConvexNetwork | InterpolatedNetwork:
        """The mode of the other inputs where these have these values; a `ConvexNetwork` where t is among them.

        Raises:
            InvalidInputError: t is not between 0 and 1.
        """
        expect_some(values, self.size)
        rest = {i - 1: value for i, value in values.items() if i > 0}
        if 0 not in values:
            return InterpolatedNetwork(*(end.holding(rest) for end in self.ends))
        held = _at_temperature(self, share_of_upper(values[0]))
        return held.holding(rest) if rest else held


def share_of_upper(t: float) -> float:
    """A scaled temperature as the share of the upper end. Raises InvalidInputError: it is not between 0 and 1."""
    if not -ROUNDING <= t <= 1.0 + ROUNDING:
        raise InvalidInputError(
            f"the scaled temperature is {t:.6g}; the mode is convex from 0 to 1, the range of the parameter."
        )
    return min(max(t, 0.0), 1.0)


def _at_temperature(mode: InterpolatedNetwork, t: float) -> ConvexNetwork:
    """(1 - t) lower + t upper as one network; |Q_0 x|^2 and |Q_1 x|^2 are stacked."""
    lower, upper = mode.ends
    rows = [
        np.asarray(root * end.quadratic)
        for root, end in ((np.sqrt(1.0 - t), lower), (np.sqrt(t), upper))
        if root > 0.0 and end.quadratic is not None
    ]
    return ConvexNetwork(
        (*lower.z_weights[:-1], *(_between(t, lower.z_weights[-1:], upper.z_weights[-1:]))),
        (*lower.x_weights[:-1], *(_between(t, lower.x_weights[-1:], upper.x_weights[-1:]))),
        (*lower.biases[:-1], *(_between(t, lower.biases[-1:], upper.biases[-1:]))),
        mode.activation,
        np.asarray(np.linalg.qr(np.concatenate(rows), mode="r")) if rows else None,
    )


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
