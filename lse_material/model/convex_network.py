"""One mode of the potential: an input convex neural network, with its gradient and Hessian in closed form."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from lse_material._arrays import Array, entries, expect_shape, float_array, frozen
from lse_material.errors import InvalidInputError
from lse_material.model.activations import ACTIVATIONS, expect_activation, sigmoid, sigmoid_slope, softplus
from lse_material.model.mode import Mode, expect_inputs, expect_some

_TENSOR = re.compile(r"(z_weight|x_weight|bias)\.(0|[1-9][0-9]{0,8})|quadratic")  # one spelling for each layer


@dataclass(frozen=True, eq=False)
class ConvexNetwork(Mode):
    """One mode: an input convex neural network with L hidden layers, pass-through from x, and a convex quadratic term.

        z_0 = act(x_weights[0] x + biases[0])
        z_l = act(z_weights[l-1] z_{l-1} + x_weights[l] x + biases[l]),    l = 1 .. L-1
        psi = z_weights[L-1] z_{L-1} + x_weights[L] x + biases[L] + |quadratic x|^2 / 2

    It is convex in x because every z-weight is >= 0 and the activation is convex and non-decreasing; x-weights, biases
    and `quadratic` are free. With L = 0 the mode is affine plus quadratic.

    Attributes:
        z_weights: L arrays, layer l of shape (n_l, n_{l-1}); n_L = 1.
        x_weights: L+1 arrays of shape (n_l, d).
        biases: L+1 arrays of shape (n_l,).
        activation: a name in `lse_material.model.activations.ACTIVATIONS`.
        quadratic: (m, d) or None; any real matrix keeps the mode convex.

    Raises:
        InvalidInputError: a shape does not fit, an entry is not finite, or a z-weight is negative (named).

    >>> mode = lse.ConvexNetwork.from_arrays([], [[[-1.0]]], [[0.5]], quadratic=[[1.0]])  # (x - 1)^2 / 2
    >>> mode.energy([[0.0], [1.0]])
    array([0.5, 0. ])
    """

    z_weights: tuple[Array, ...]
    x_weights: tuple[Array, ...]
    biases: tuple[Array, ...]
    activation: str = "softplus"
    quadratic: Array | None = None

    def __post_init__(self) -> None:
        expect_activation(self.activation)
        given = {"x_weight": (self.x_weights, 2, 0), "bias": (self.biases, 1, 0), "z_weight": (self.z_weights, 2, 1)}
        x_weights, biases, z_weights = (
            tuple(
                frozen(float_array(f"{name}.{i}", array, axes)) for i, array in enumerate(entries(name, arrays), first)
            )
            for name, (arrays, axes, first) in given.items()
        )
        layers = len(x_weights)
        if layers == 0 or len(biases) != layers or len(z_weights) != layers - 1:
            raise InvalidInputError(
                f"a network with {layers} x_weights needs as many biases and one z_weight less; "
                f"it got {len(biases)} biases and {len(z_weights)} z_weights."
            )
        d = x_weights[0].shape[1]
        if d == 0:
            raise InvalidInputError("x_weight.0 has no columns: a mode needs at least one input.")
        for i in range(layers):
            width = 1 if i == layers - 1 else x_weights[i].shape[0]
            expect_shape(f"x_weight.{i}", x_weights[i], (width, d))
            expect_shape(f"bias.{i}", biases[i], (width,))
            if i > 0:
                expect_shape(f"z_weight.{i}", z_weights[i - 1], (width, x_weights[i - 1].shape[0]))
                if (z_weights[i - 1] < 0.0).any():
                    where = tuple(int(j) for j in np.argwhere(z_weights[i - 1] < 0.0)[0])
                    raise InvalidInputError(
                        f"z_weight.{i} is {z_weights[i - 1][where]:.3e} at entry {where}: the mode is not convex. "
                        "Give the weights as they act (after softplus, say), not the raw parameters."
                    )
        quadratic = None
        if self.quadratic is not None:
            quadratic = frozen(float_array("quadratic", self.quadratic, 2))
            expect_shape("quadratic", quadratic, (quadratic.shape[0], d))
        for name, value in (
            ("x_weights", x_weights),
            ("biases", biases),
            ("z_weights", z_weights),
            ("quadratic", quadratic),
        ):
            object.__setattr__(self, name, value)

    @classmethod
    def from_arrays(
        cls,
        z_weights: Sequence[Any],
        x_weights: Sequence[Any],
        biases: Sequence[Any],
        *,
        activation: str = "softplus",
        quadratic: Any = None,
    ) -> ConvexNetwork:
        """Bring in a network trained elsewhere; arguments as the attributes of the class, as arrays or nested lists.

        The z-weights are those that act. An example: the state_dict of a torch network whose positive layers pass their
        raw weights through softplus and whose activation is softplus(a)^2 / 12, as in the NN-EUCLID family (Thakolkaran
        et al., JMPS 169, 105076, 2022). `squared_softplus` is softplus(a)^2 / 2, so the factor 1/6 goes into the
        z-weight that follows, and biases that a layer lacks are zeros::

            state = {name: value.double().numpy() for name, value in network.state_dict().items()}
            positive = lambda raw: numpy.logaddexp(0.0, raw)              # torch's softplus
            first = positive(state["layers.1.weights"])                   # acts on a linear layer: affine in x
            mode = ConvexNetwork.from_arrays(
                z_weights=[positive(state["layers.2.weights"]) / 6],
                x_weights=[first @ state["layers.0.weight"] + state["skip_layers.1.weight"],
                           positive(state["skip_layers.2.weights"])],
                biases=[first @ state["layers.0.bias"] + state["skip_layers.1.bias"], numpy.zeros(1)],
                activation="squared_softplus",
            )

        Such a network takes (I1bar - 3, I2bar - 3, (J - 1)^2): `IsotropicInvariants(dim=2)`.
        """
        return cls(z_weights, x_weights, biases, activation, quadratic)  # type: ignore[arg-type]  # made tuples there

    @property
    def size(self) -> int:
        """Number d of inputs."""
        return int(self.x_weights[0].shape[1])

    @property
    def monotone_inputs(self) -> tuple[int, ...]:  # noqa: D102
        rises = np.all([(weight >= 0.0).all(axis=0) for weight in self.x_weights], axis=0)
        if self.quadratic is not None:
            rises &= ~self.quadratic.any(axis=0)
        return tuple(np.flatnonzero(rises).tolist())

    def tensors(self) -> dict[str, Array]:  # noqa: D102
        tensors: dict[str, Array] = {}
        for i, (weight, bias) in enumerate(zip(self.x_weights, self.biases)):
            tensors |= {f"x_weight.{i}": weight, f"bias.{i}": bias}
        tensors |= {f"z_weight.{i}": weight for i, weight in enumerate(self.z_weights, start=1)}
        return tensors if self.quadratic is None else {**tensors, "quadratic": self.quadratic}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Array], options: Mapping[str, Any]) -> ConvexNetwork:  # noqa: D102
        for name in tensors:
            if not _TENSOR.fullmatch(name):
                raise InvalidInputError(f"tensor {name} is not part of a {cls.type}.")
        layers = sum(name.startswith("x_weight.") for name in tensors)
        parts = {}
        for kind, first in (("x_weight", 0), ("bias", 0), ("z_weight", 1)):
            found = sorted(int(name[len(kind) + 1 :]) for name in tensors if name.startswith(f"{kind}."))
            if found != list(range(first, layers)):
                raise InvalidInputError(
                    f"it has {layers} x_weights, and {kind} of layers {found}; needed are {first} .. {layers - 1}."
                )
            parts[kind] = tuple(tensors[f"{kind}.{i}"] for i in found)
        activation = options.get("activation", "")
        return cls(parts["z_weight"], parts["x_weight"], parts["bias"], activation, tensors.get("quadratic"))

    def options(self) -> dict[str, Any]:  # noqa: D102
        return {"activation": self.activation}

    def describe(self) -> dict[str, Any]:  # noqa: D102
        return {"layers": [len(b) for b in self.biases[:-1]], "quadratic": self.quadratic is not None}

    def holding(self, values: Mapping[int, float]) -> ConvexNetwork:  # noqa: D102
        expect_some(values, self.size)
        held, fixed = list(values), np.array(list(values.values()))
        x_weights = [np.delete(w, held, axis=1) for w in self.x_weights]
        biases = [b + w[:, held] @ fixed for b, w in zip(self.biases, self.x_weights)]
        if self.quadratic is None:
            return ConvexNetwork(self.z_weights, tuple(x_weights), tuple(biases), self.activation)
        Q, level = np.delete(self.quadratic, held, axis=1), self.quadratic[:, held] @ fixed  # |level + Q x|^2 / 2
        x_weights[-1] = x_weights[-1] + (level @ Q)[None]
        biases[-1] = biases[-1] + 0.5 * level @ level
        return ConvexNetwork(self.z_weights, tuple(x_weights), tuple(biases), self.activation, np.linalg.qr(Q)[1])

    def reading(self, inputs: Any, size: int) -> ConvexNetwork:  # noqa: D102
        indices = expect_inputs(inputs, self.size, size)

        def wide(weight: Array) -> Array:
            result = np.zeros((len(weight), size))
            result[:, indices] = weight
            return result

        quadratic = None if self.quadratic is None else wide(self.quadratic)
        return replace(self, x_weights=tuple(wide(weight) for weight in self.x_weights), quadratic=quadratic)

    def plus(self, slope: Array, quadratic: Array | None = None, constant: float = 0.0) -> ConvexNetwork:
        """The network with constant + slope.x + |quadratic x|^2 / 2 added."""
        x_weights = (*self.x_weights[:-1], self.x_weights[-1] + slope)
        biases = (*self.biases[:-1], self.biases[-1] + constant)
        if quadratic is None:
            return replace(self, x_weights=x_weights, biases=biases)
        stacked = np.concatenate([*([] if self.quadratic is None else [self.quadratic]), quadratic])
        return replace(self, x_weights=x_weights, biases=biases, quadratic=np.asarray(np.linalg.qr(stacked, mode="r")))

    def mean_over(self, maps: Array) -> ConvexNetwork:
        """The network of mean psi(A x) over maps A (h, d, d): copies of the neurons side by side, each reading A x."""
        h, last = len(maps), len(self.z_weights)
        copies = [np.concatenate([weight @ A for A in maps]) for weight in self.x_weights[:-1]]
        z_weights = [np.asarray(np.kron(np.eye(h), weight), dtype=np.float64) for weight in self.z_weights[:-1]]
        if last > 0:
            z_weights.append(np.tile(self.z_weights[-1], h) / h)
        quadratic = None
        if self.quadratic is not None:
            stacked = np.concatenate([self.quadratic @ A for A in maps]) / np.sqrt(h)
            quadratic = np.asarray(np.linalg.qr(stacked, mode="r")) if h > 1 else stacked
        x_weights = (*copies, self.x_weights[-1] @ maps.mean(axis=0))
        biases = (*(np.tile(bias, h) for bias in self.biases[:-1]), self.biases[-1])
        return ConvexNetwork(tuple(z_weights), x_weights, biases, self.activation, quadratic)

    def values(self, x: Array) -> NetworkValues:  # noqa: D102
        return NetworkValues(self, x)


class NetworkValues:
    """One network at one batch of points (n, d): keeps what energy, gradient and Hessian share."""

    def __init__(self, network: Any, x: Array) -> None:
        self._network, self._x = network, x
        self._activation = ACTIVATIONS[network.activation]
        self._hidden: list[tuple[Array, Array]] = []  # of each layer: a and softplus(a), (n, n_l)
        z: Array | None = None
        for i, (weight, bias) in enumerate(zip(network.x_weights, network.biases)):
            a = x @ weight.T + bias
            if z is not None:
                a = a + z @ network.z_weights[i - 1].T
            if i == len(network.x_weights) - 1:
                self.energy: Array = a[:, 0]
            else:
                self._hidden.append((a, softplus(a)))
                z = self._activation.value(self._hidden[-1][1])
        if network.quadratic is not None:
            self.energy = self.energy + 0.5 * ((x @ network.quadratic.T) ** 2).sum(axis=1)

    @cached_property
    def _slopes(self) -> list[Array]:
        """Derivatives of the activations in each hidden layer, (n, n_l)."""
        return [self._activation.slope(s, sigmoid(a)) for a, s in self._hidden]

    def _adjoints(self) -> Iterator[tuple[int, Array]]:
        """d psi / d z_l for l = L-1 .. 0, each (n, n_l): the reverse sweep, non-negative throughout."""
        above = np.ones((len(self._x), 1))  # d psi / d a_{l+1}
        for i in range(len(self._hidden) - 1, -1, -1):
            adjoint = above @ self._network.z_weights[i]
            yield i, adjoint
            above = adjoint * self._slopes[i]

    @cached_property
    def gradient(self) -> Array:
        """(n, d)."""
        network = self._network
        result: Array = np.tile(network.x_weights[-1][0], (len(self._x), 1))
        for i, adjoint in self._adjoints():
            result = result + (adjoint * self._slopes[i]) @ network.x_weights[i]
        if network.quadratic is not None:
            result = result + self._x @ (network.quadratic.T @ network.quadratic)
        return result

    @cached_property
    def hessian(self) -> Array:
        """(n, d, d): sum over layers and neurons of (d psi/d z_l) act''(a_l) da_l/dx (da_l/dx)^T."""
        network = self._network
        n, d = self._x.shape
        jacobians: list[Array] = []  # da_l/dx, each (n, n_l, d)
        for i in range(len(self._hidden)):
            jacobian = np.broadcast_to(network.x_weights[i], (n, *network.x_weights[i].shape))
            if i > 0:
                jacobian = jacobian + network.z_weights[i - 1] @ (self._slopes[i - 1][:, :, None] * jacobians[-1])
            jacobians.append(jacobian)
        result = np.zeros((n, d, d))
        for i, adjoint in self._adjoints():
            a, s = self._hidden[i]
            weight = adjoint * self._activation.curvature(s, sigmoid(a), sigmoid_slope(a))
            result += np.swapaxes(jacobians[i] * weight[:, :, None], 1, 2) @ jacobians[i]
        if network.quadratic is not None:
            result += network.quadratic.T @ network.quadratic
        return result
