"""Activations: convex, non-decreasing functions with their first two derivatives, stable for any argument.

A mode is convex because its activations are convex and non-decreasing and its z-weights are non-negative (Amos, Xu and
Kolter, "Input convex neural networks", ICML 2017, Prop. 1). An activation is written once, as a function of softplus, on
scalars of any kind: each backend computes softplus in its own way, stably, and calls the same three functions.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from lse_material._arrays import Array
from lse_material.errors import InvalidInputError


class Activation(NamedTuple):
    """An activation f(a) with f', f'' >= 0, written in s = softplus(a), t = s'(a) and c = s''(a); use + - * and / by numbers.

    >>> squared = lse.model.ACTIVATIONS["squared_softplus"]
    >>> squared.value(3.0), squared.slope(3.0, 0.5)
    (4.5, 1.5)

    Attributes:
        value: f of s.
        slope: f' of s and t.
        curvature: f'' of s, t and c.
    """

    value: Callable[[Any], Any]
    slope: Callable[[Any, Any], Any]
    curvature: Callable[[Any, Any, Any], Any]


ACTIVATIONS: dict[str, Activation] = {
    "softplus": Activation(lambda s: s, lambda s, t: t, lambda s, t, c: c),
    "squared_softplus": Activation(lambda s: 0.5 * s * s, lambda s, t: s * t, lambda s, t, c: t * t + s * c),
}


def expect_activation(name: Any) -> None:
    """Raise InvalidInputError unless this is the name of an activation."""
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise InvalidInputError(f"activation {name!r} is not known; choose from {sorted(ACTIVATIONS)}.")


def softplus(a: Array) -> Array:
    """log(1 + exp(a)), without overflow and exact in the tails."""
    return np.maximum(a, 0.0) + np.log1p(np.exp(-np.abs(a)))


def sigmoid(a: Array) -> Array:
    """1 / (1 + exp(-a)), the derivative of softplus."""
    e = np.exp(-np.abs(a))
    return np.where(a >= 0.0, 1.0, e) / (1.0 + e)


def sigmoid_slope(a: Array) -> Array:
    """The second derivative of softplus."""
    e = np.exp(-np.abs(a))
    return e / (1.0 + e) ** 2


def activated(name: str, a: Array) -> tuple[Array, Array, Array]:
    """The activation of this name and its first two derivatives, elementwise, exact in the tails too."""
    f, s, t = ACTIVATIONS[name], softplus(a), sigmoid(a)
    return f.value(s), f.slope(s, t), f.curvature(s, t, sigmoid_slope(a))
