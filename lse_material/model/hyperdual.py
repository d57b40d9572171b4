"""Numbers that carry their first and second derivatives, and `sqrt`, `log` and `exp` of scalars of any kind.

A hyper-dual number is a truncated Taylor series: + - * / ** and the functions here act on value, gradient and Hessian by
the rules of differentiation, so that derivatives are exact to rounding (Fike and Alonso, AIAA 2011-886). The values are
arrays, one entry a point; derivatives have the points last. What is the same at all points (the gradient of a variable, the
Hessian of a quadratic form) is stored once, what is zero not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import singledispatch
from typing import Any

import numpy as np

from lse_material._arrays import Array
from lse_material.errors import InvalidInputError


class HyperDual:
    """A scalar function of m variables at n points.

    Attributes:
        value: (n,).
        first: gradient (m, n) or (m, 1); None where it vanishes.
        second: Hessian (m, m, n) or (m, m, 1); None where it vanishes, or where it is not asked for.
        order: derivatives that are carried: 0, 1 or 2.
    """

    __slots__ = ("first", "order", "second", "value")
    __array_ufunc__ = None  # array * number is the product of this class, not an array of numbers

    def __init__(self, value: Any, first: Array | None = None, second: Array | None = None, *, order: int = 2) -> None:
        self.value, self.first, self.second, self.order = value, first, second, order

    def __add__(self, other: Any) -> Any:
        if isinstance(other, HyperDual):
            first, second = _sum(self.first, other.first), _sum(self.second, other.second)
            return HyperDual(self.value + other.value, first, second, order=self.order)
        if _is_tensor(other):
            return _each(self.__add__, other)
        return HyperDual(self.value + other, self.first, self.second, order=self.order)

    def __mul__(self, other: Any) -> Any:
        a, b = self, other
        if a is b:
            return a**2
        if not isinstance(b, HyperDual):
            if _is_tensor(b):
                return _each(a.__mul__, b)
            return HyperDual(a.value * b, _scaled(a.first, b), _scaled(a.second, b), order=a.order)
        if a.order == 0:
            return HyperDual(a.value * b.value, order=0)
        first = _sum(_scaled(a.first, b.value), _scaled(b.first, a.value))
        second = _sum(_scaled(a.second, b.value), _scaled(b.second, a.value))
        if a.order > 1 and a.first is not None and b.first is not None:
            product = a.first[:, None] * b.first[None]
            second = _sum(second, product + product.swapaxes(0, 1))
        return HyperDual(a.value * b.value, first, second, order=a.order)

    def __pow__(self, power: Any) -> Any:
        if isinstance(power, HyperDual):
            raise TypeError("the power of a hyper-dual number is a plain number; write exp(b * log(a)) for a to the b.")
        if power in (0, 1):
            return self * power + (1 - power)
        if power == 2:  # its curvature is the same everywhere
            return self.through(self.value * self.value, 2.0 * self.value, 2.0)
        slope = power * self.value ** (power - 1)
        return self.through(self.value**power, slope, power * (power - 1) * self.value ** (power - 2))

    def through(self, value: Any, slope: Any, curvature: Any) -> HyperDual:
        """f of this number, from f, f' and f'' at its value."""
        first, second = _scaled(self.first, slope), _scaled(self.second, slope)
        if self.order > 1 and self.first is not None:
            second = _sum(second, curvature * (self.first[:, None] * self.first[None]))
        return HyperDual(value, first, second, order=self.order)

    def __neg__(self) -> Any:
        return self * -1.0

    def __sub__(self, other: Any) -> Any:
        return self + -other

    def __rsub__(self, other: Any) -> Any:
        return -self + other

    def __truediv__(self, other: Any) -> Any:
        return self * (other**-1.0 if isinstance(other, HyperDual) else 1.0 / other)

    def __rtruediv__(self, other: Any) -> Any:
        return self**-1.0 * other

    __radd__, __rmul__ = __add__, __mul__


def _is_tensor(other: Any) -> bool:
    """Whether it is an array of scalars."""
    return isinstance(other, np.ndarray) and other.dtype == object


def _each(operation: Callable[[Any], Any], tensor: Array) -> Any:
    """The operation on each entry of a tensor of scalars."""
    return np.frompyfunc(operation, 1, 1)(tensor)


def _sum(a: Array | None, b: Array | None) -> Array | None:
    """a + b of derivatives, None for zero."""
    return b if a is None else a if b is None else a + b


def _scaled(a: Array | None, factor: Any) -> Array | None:
    """Factor * a of a derivative, None for zero."""
    return None if a is None else factor * a


def variables(values: Sequence[Array], order: int) -> list[HyperDual]:
    """The independent variables that have these values at n points, (n,) each."""
    unit = np.eye(len(values))[:, :, None]
    return [HyperDual(value, unit[i] if order else None, order=order) for i, value in enumerate(values)]


def on_scalars(what: str, formula: Callable[[Any], Any], scalars: Any) -> Any:
    """A user's formula of these scalars. Raises InvalidInputError: it does with them what scalars of any kind do not allow."""
    try:
        return formula(scalars)
    except InvalidInputError:
        raise
    except (TypeError, ValueError) as error:
        raise InvalidInputError(
            f"{what} fails on scalars of any kind: {error}. Use + - * / ** and sqrt, log, exp of the package's `model`; "
            "neither comparisons nor functions of NumPy on the scalars."
        ) from error


# ---- functions of scalars of any kind; other kinds register theirs, as `lse_material.fem.forms.energy` does for UFL ----


@singledispatch
def sqrt(a: Any) -> Any:
    """The square root of a number, an array, a hyper-dual number or a UFL scalar.

    >>> float(lse.model.sqrt(4.0))
    2.0
    """
    return np.sqrt(a)


@singledispatch
def log(a: Any) -> Any:
    """The natural logarithm; see `sqrt`.

    >>> float(lse.model.log(1.0))
    0.0
    """
    return np.log(a)


@singledispatch
def exp(a: Any) -> Any:
    """The exponential; see `sqrt`.

    >>> float(lse.model.exp(0.0))
    1.0
    """
    return np.exp(a)


@sqrt.register
def _(a: HyperDual) -> HyperDual:
    root = np.sqrt(a.value)
    return a.through(root, 0.5 / root, -0.25 / (root * a.value))


@log.register
def _(a: HyperDual) -> HyperDual:
    return a.through(np.log(a.value), 1.0 / a.value, -1.0 / a.value**2)


@exp.register
def _(a: HyperDual) -> HyperDual:
    value = np.exp(a.value)
    return a.through(value, value, value)
