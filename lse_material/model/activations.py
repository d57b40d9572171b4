"""Activations: convex, non-decreasing functions with their first two derivatives, stable for any argument.

A mode is convex because its activations are convex and non-decreasing and its z-weights are non-negative (Amos, Xu and
Kolter, "Input convex neural networks", ICML 2017, Prop. 1). Every floor translates the names of `ACTIVATIONS`: each keeps a
table by name and reads it with `translation`, which refuses a name that the table lacks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from lse_material._arrays import Array
from lse_material.errors import InvalidInputError

T = TypeVar("T")


@dataclass(frozen=True)
class Activation:
    """An activation f with f', f'' >= 0, each a function of an array, elementwise.

    >>> softplus = lse.model.ACTIVATIONS["softplus"]
    >>> [f(np.zeros(1)).item() for f in (softplus.slope, softplus.curvature)]
    [0.5, 0.25]
    """

    value: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    curvature: Callable[[Array], Array]


def softplus(a: Array) -> Array:
    """log(1 + exp(a)), without overflow and exact in the tails."""
    result: Array = np.maximum(a, 0.0) + np.log1p(np.exp(-np.abs(a)))
    return result


def sigmoid(a: Array) -> Array:
    """1 / (1 + exp(-a)), without overflow and exact in the tails."""
    e = np.exp(-np.abs(a))
    result: Array = np.where(a >= 0.0, 1.0, e) / (1.0 + e)
    return result


def _sigmoid_slope(a: Array) -> Array:
    e = np.exp(-np.abs(a))
    result: Array = e / (1.0 + e) ** 2
    return result


ACTIVATIONS: dict[str, Activation] = {
    "softplus": Activation(softplus, sigmoid, _sigmoid_slope),
    "squared_softplus": Activation(
        value=lambda a: 0.5 * softplus(a) ** 2,
        slope=lambda a: softplus(a) * sigmoid(a),
        curvature=lambda a: sigmoid(a) ** 2 + softplus(a) * _sigmoid_slope(a),
    ),
}


def translation(table: Mapping[str, T], name: str, into: str) -> T:
    """The entry of one floor's table for an activation.

    Args:
        table: what the floor knows, by the names of `ACTIVATIONS`.
        name: of the activation.
        into: what the floor is called, for the message.

    Raises:
        InvalidInputError: the floor does not know the name.
    """
    if name not in table:
        raise InvalidInputError(
            f"the activation {name!r} has no translation into {into}; take one of {sorted(table)}, or add it to that table."
        )
    return table[name]
