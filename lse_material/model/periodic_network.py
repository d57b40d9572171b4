"""A convex network of inputs of which some are angles: it reads the cosine and the sine of each, and is periodic in it.

    psi(x) = N((z(x) - shift) / scale),    z = (cos x_i, sin x_i) for an angle, x_i for another input

    dpsi/dx = Dz^T g,    d2psi/dx2 = Dz^T H Dz + sum_j g_j d2z_j/dx2

with g and H of N(z). N is convex in z. So psi is convex in the inputs that are no angles. In an angle it cannot be convex, for
no periodic function is; a mode that is linear in z has one minimum on the circle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from lse_material._arrays import Array, expect_shape, float_array, frozen
from lse_material.errors import InvalidInputError
from lse_material.model.convex_network import ConvexNetwork
from lse_material.model.mode import Mode

OWN = ("circle_shift", "circle_scale")  # tensors that are not the network's


def on_circles(x: Array, angles: Sequence[bool]) -> tuple[Array, Array, Array]:
    """z, dz/dx and d2z_j/dx_i^2 at x (n, d): (n, m), (n, m, d), (n, m, d); mixed second derivatives vanish."""
    columns, first, second = [], [], []
    for i, angle in enumerate(angles):
        t, one = x[:, i], np.eye(len(angles))[i]
        c, s, zero = np.cos(t), np.sin(t), np.zeros_like(t)
        for z, dz, d2z in ((c, -s, -c), (s, c, -s)) if angle else ((t, zero + 1.0, zero),):
            columns.append(z)
            first.append(dz[:, None] * one)
            second.append(d2z[:, None] * one)
    return np.stack(columns, axis=1), np.stack(first, axis=1), np.stack(second, axis=1)


@dataclass(frozen=True, eq=False)
class PeriodicNetwork(Mode):
    """A convex network on the circles of some inputs, of the period 2 pi in scaled inputs.

    Attributes:
        network: N, of m inputs: two for each angle, one for each other input.
        angles: which of the d inputs are angles.
        shift, scale: of z, (m,); scale > 0.

    Raises:
        InvalidInputError: they do not fit together.

    >>> bowl = lse.ConvexNetwork.from_arrays([], [[[-1.0, 0.0]]], [[0.0]])  # -cos x
    >>> mode = lse.model.PeriodicNetwork(bowl, [True], np.zeros(2), np.ones(2))
    >>> mode.energy([[0.0], [np.pi], [2.0 * np.pi]]).round(6)
    array([-1.,  1., -1.])
    """

    network: ConvexNetwork
    angles: tuple[bool, ...]
    shift: Array
    scale: Array

    def __post_init__(self) -> None:
        if not all(isinstance(angle, bool) for angle in self.angles):
            raise InvalidInputError(f"angles is {self.angles!r}; it must say True or False of each input.")
        object.__setattr__(self, "angles", tuple(self.angles))
        m = len(self.angles) + sum(self.angles)
        if self.network.size != m:
            raise InvalidInputError(f"the network has {self.network.size} inputs; {self.angles} need {m}.")
        for name in ("shift", "scale"):
            value = float_array(name, getattr(self, name), 1)
            expect_shape(name, value, (m,))
            object.__setattr__(self, name, frozen(value))
        if not (self.scale > 0.0).all():
            raise InvalidInputError(f"scale is {self.scale}; every entry must be > 0.")

    @property
    def size(self) -> int:  # noqa: D102
        return len(self.angles)

    @property
    def convex_inputs(self) -> tuple[int, ...]:  # noqa: D102
        return tuple(i for i, angle in enumerate(self.angles) if not angle)

    @property
    def periods(self) -> Array:  # noqa: D102
        return np.where(self.angles, 2.0 * np.pi, np.inf)

    def tensors(self) -> dict[str, Array]:  # noqa: D102
        return {**self.network.tensors(), **dict(zip(OWN, (self.shift, self.scale)))}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Array], options: Mapping[str, Any]) -> PeriodicNetwork:  # noqa: D102
        of_network = {name: tensor for name, tensor in tensors.items() if name not in OWN}
        network = ConvexNetwork.from_tensors(of_network, options)
        return cls(network, tuple(options["angles"]), *(tensors[name] for name in OWN))

    def options(self) -> dict[str, Any]:  # noqa: D102
        return {**self.network.options(), "angles": list(self.angles)}

    def describe(self) -> dict[str, Any]:  # noqa: D102
        return {**self.network.describe(), "angles": list(self.angles)}

    def values(self, x: Array) -> PeriodicValues:  # noqa: D102
        return PeriodicValues(self, x)


class PeriodicValues:
    """A periodic network at one batch of points (n, d)."""

    def __init__(self, mode: PeriodicNetwork, x: Array) -> None:
        z, self._first, self._second = on_circles(x, mode.angles)
        self._scale, self._network = mode.scale, mode.network.values((z - mode.shift) / mode.scale)

    @property
    def energy(self) -> Array:
        """(n,)."""
        return self._network.energy

    @cached_property
    def gradient(self) -> Array:
        """(n, d)."""
        return np.asarray(np.einsum("nj,nji->ni", self._network.gradient / self._scale, self._first))

    @cached_property
    def hessian(self) -> Array:
        """(n, d, d)."""
        H = self._network.hessian / np.outer(self._scale, self._scale)
        result = np.swapaxes(self._first, 1, 2) @ H @ self._first
        i = np.arange(result.shape[1])
        result[:, i, i] += np.einsum("nj,nji->ni", self._network.gradient / self._scale, self._second)
        return np.asarray(result)
