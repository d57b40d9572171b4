"""An axis-parallel box of potential inputs: where a fit has seen data, or where a search looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lse_material._arrays import Array, Mask, expect_shape, float_array, frozen, generator, points, whole_number
from lse_material.errors import InvalidInputError


@dataclass(frozen=True, eq=False)
class Box:
    """All x between two corners: `lower` and `upper`, each (d,).

    Raises:
        InvalidInputError: a corner is no vector of finite numbers, or lower exceeds upper.

    >>> box = lse.Box([0.0, -1.0], [1.0, 1.0])
    >>> box.holds([[0.5, 0.0], [0.5, 2.0]])
    array([ True, False])
    """

    lower: Array
    upper: Array

    def __post_init__(self) -> None:
        for name in ("lower", "upper"):
            object.__setattr__(self, name, frozen(float_array(f"box {name}", getattr(self, name), 1)))
        expect_shape("box upper", self.upper, self.lower.shape)
        if (self.lower > self.upper).any():
            raise InvalidInputError(f"the box is empty: lower {self.lower}, upper {self.upper}.")

    @classmethod
    def of(cls, lower: object, upper: object, size: int) -> Box | None:
        """The box of a search in `size` dimensions; None if neither corner is given.

        Raises:
            InvalidInputError: one corner is missing, of another length than `size`, or lower is not below upper.
        """
        if lower is None and upper is None:
            return None
        if lower is None or upper is None:
            raise InvalidInputError("a box needs both its lower and its upper corner.")
        low, high = (float_array(name, value, 1) for name, value in (("lower", lower), ("upper", upper)))
        for name, value in (("lower", low), ("upper", high)):
            expect_shape(name, value, (size,))
        if not (low < high).all():
            raise InvalidInputError(f"lower {low.tolist()} must be below upper {high.tolist()} in every component.")
        return cls(low, high)

    @property
    def size(self) -> int:
        """Number d of components."""
        return len(self.lower)

    def without(self, components: Sequence[int]) -> Box:
        """The box of all components but these."""
        return Box(*(np.delete(corner, components) for corner in (self.lower, self.upper)))

    def holds(self, x: Array) -> Mask:
        """Which of the points (..., d) lie inside: (...)."""
        x = points("x", x, self.size)
        inside = (x >= self.lower) & (x <= self.upper)
        return np.asarray(inside.all(axis=-1))

    def excess(self, x: Array) -> Array:
        """How far x (..., d) lies outside, as a share of the box's width, largest component; 0 inside: (...)."""
        x = points("x", x, self.size)
        width = np.maximum(self.upper - self.lower, np.finfo(float).tiny)
        with np.errstate(over="ignore"):  # outside a box without width: infinitely far
            result: Array = np.maximum(np.maximum(self.lower - x, x - self.upper) / width, 0.0).max(axis=-1)
        return result

    def random(self, n: int, seed: int) -> Array:
        """Points spread uniformly, (n, d)."""
        return generator(seed).uniform(self.lower, self.upper, (whole_number("n", n), len(self.lower)))
