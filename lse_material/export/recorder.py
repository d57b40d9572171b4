"""Formulas on scalars of any kind, recorded as operations and written in another language, with their derivatives.

`components(F)` of a strain measure, `of_volume(J)` of a growth term and `formula(x)` of a mode are each written once, on
scalars of any kind. Called with hyper-dual numbers whose values are the scalars of this module, they leave a list of
operations: those of the values and of their first and second derivatives. Equal operations are recorded once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lse_material._arrays import Array
from lse_material.errors import InvalidInputError
from lse_material.model.activations import ACTIVATIONS
from lse_material.model.hyperdual import HyperDual, variables
from lse_material.model.material import Material
from lse_material.model.mode import Mode
from lse_material.model.strain import determinant, expect_components, tensor

_LONGEST = 72  # an operation that is used once is written where it is used, unless that text is longer
_BINDS = {"+": 1, "-": 1, "*": 2, "/": 2, "**": 3}  # what binds more tightly has the greater number


class Language(NamedTuple):
    """How a language writes what was recorded."""

    number: Callable[[float], str]  # a double, so that it reads back to the same bits
    function: Callable[[str], str]  # the name of "sqrt", "log" and "exp"
    power: str  # a to the b
    temporary: str  # name of the n-th intermediate result


class Scalar:
    """A recorded scalar: a variable, or an operation on scalars and numbers."""

    __slots__ = ("kind", "operands", "place", "recorder")

    def __init__(self, recorder: Recorder, place: int, kind: str, operands: tuple[Any, ...]) -> None:
        self.recorder, self.place, self.kind, self.operands = recorder, place, kind, operands

    def __add__(self, other: Any) -> Any:
        if isinstance(other, np.ndarray):
            return NotImplemented
        if not isinstance(other, Scalar) and other == 0.0:
            return self
        first, second = sorted((self, other), key=_order)
        for a, b in ((first, second), (second, first)):
            if isinstance(b, Scalar) and b.kind == "*" and b.operands[0] == -1.0:
                return self.recorder.scalar("-", a, b.operands[1])
        return self.recorder.scalar("+", first, second)

    def __mul__(self, other: Any) -> Any:
        if isinstance(other, np.ndarray):
            return NotImplemented
        if not isinstance(other, Scalar):
            factor = float(other)
            if factor in (0.0, 1.0):
                return self if factor else 0.0
            if self.kind == "*" and not isinstance(self.operands[0], Scalar):
                return self.operands[1] * (factor * self.operands[0])
            return self.recorder.scalar("*", factor, self)
        return self.recorder.scalar("*", *sorted((self, other), key=_order))

    def __pow__(self, power: float) -> Any:
        if power == -1.0:
            return self.recorder.scalar("/", 1.0, self)
        return self * self if power == 2 else self.recorder.scalar("**", self, float(power))

    def __neg__(self) -> Any:
        return self * -1.0

    def __sub__(self, other: Any) -> Any:
        return NotImplemented if isinstance(other, np.ndarray) else self + -other

    def __rsub__(self, other: Any) -> Any:
        return -self + other

    def __truediv__(self, other: Any) -> Any:
        return self * (other**-1.0 if isinstance(other, Scalar) else 1.0 / other)

    def __rtruediv__(self, other: Any) -> Any:
        return self**-1.0 * other

    __radd__, __rmul__ = __add__, __mul__

    def sqrt(self) -> Scalar:
        """What `numpy.sqrt` of it calls, as `numpy.log` and `numpy.exp` call the next."""
        return self.recorder.scalar("sqrt", self)

    def log(self) -> Scalar:
        """The natural logarithm."""
        return self.recorder.scalar("log", self)

    def exp(self) -> Scalar:
        """The exponential."""
        return self.recorder.scalar("exp", self)


def _order(operand: Any) -> tuple[bool, float]:
    """Numbers before scalars, scalars in the order in which they were recorded."""
    return (True, operand.place) if isinstance(operand, Scalar) else (False, float(operand))


class Recorder:
    """What has been recorded, in an order in which it can be computed."""

    def __init__(self) -> None:
        self._scalars: dict[tuple[Any, ...], Scalar] = {}

    def scalar(self, kind: str, *operands: Any) -> Scalar:
        """The scalar of this operation, "+" say, or variable: ("variable", its text)."""
        operands = tuple(a if isinstance(a, (Scalar, str)) else float(a) for a in operands)
        key = (kind, *(a.place if isinstance(a, Scalar) else (a,) for a in operands))
        if key not in self._scalars:
            self._scalars[key] = Scalar(self, len(self._scalars), kind, operands)
        return self._scalars[key]

    def variables(self, texts: Sequence[str]) -> list[Scalar]:
        """Variables that the other language calls by these texts."""
        return [self.scalar("variable", text) for text in texts]

    def written(self, results: Mapping[str, Any], language: Language) -> tuple[list[str], int]:
        """Statements `name = ...`, one after another, that compute the results; and how many are intermediate."""
        uses = dict.fromkeys(self._scalars.values(), 0)
        ends = [value for value in results.values() if isinstance(value, Scalar)]
        needed, waiting = set(ends), list(ends)
        while waiting:
            for operand in (a for a in waiting.pop().operands if isinstance(a, Scalar)):
                uses[operand] += 1
                if operand not in needed:
                    needed.add(operand)
                    waiting.append(operand)
        for end in ends:
            uses[end] += 1
        statements: list[str] = []
        texts: dict[Scalar, tuple[str, int]] = {}
        count = 0
        for scalar in (each for each in self._scalars.values() if each in needed):
            text, binds = _text(scalar, texts, language)
            if scalar.kind != "variable" and (uses[scalar] > 1 or len(text) > _LONGEST):
                count += 1
                name = language.temporary.format(count)
                statements.append(f"{name} = {text}")
                text, binds = name, 9
            texts[scalar] = text, binds
        for name, value in results.items():
            text = texts[value][0] if isinstance(value, Scalar) else language.number(float(value))
            statements.append(f"{name} = {text}")
        return statements, count


def _text(scalar: Scalar, texts: Mapping[Scalar, tuple[str, int]], language: Language) -> tuple[str, int]:
    """The expression of a scalar, and how tightly it binds."""
    kind, operands = scalar.kind, scalar.operands
    if kind == "variable":
        return operands[0], 9
    if kind not in _BINDS:
        return f"{language.function(kind)}({texts[operands[0]][0]})", 9
    if kind == "*" and operands[0] == -1.0:
        return f"-{_within(operands[1], 3, texts, language)}", 0
    level = _BINDS[kind]
    if kind == "**":
        base, power = (_within(operand, 4, texts, language) for operand in operands)
        return language.power.format(base, power), level
    if kind == "+" and not isinstance(operands[0], Scalar) and operands[0] < 0.0:
        return f"{_within(operands[1], level, texts, language)} - {language.number(-operands[0])}", level
    left = _within(operands[0], level, texts, language)
    return f"{left} {kind} {_within(operands[1], level + (kind not in '+*'), texts, language)}", level


def _within(operand: Any, level: int, texts: Mapping[Scalar, tuple[str, int]], language: Language) -> str:
    """An operand, in parentheses where it binds less tightly than this level."""
    if isinstance(operand, Scalar):
        text, binds = texts[operand]
        return text if binds >= level else f"({text})"
    text = language.number(operand)
    return f"({text})" if operand < 0.0 else text


class RecordedKinematics(NamedTuple):
    """What a material says of F beside its potential, in m = dim^2 entries of F, row by row."""

    recorder: Recorder  # of all that follows
    x: Array  # strain, (d,)
    dx: Array  # its derivative, (d, m)
    energy: Any  # growth term
    stress: Array  # its derivative, (m,)
    geometric: Array  # sum_i g_i d2x_i/dF dF and the growth term's second derivative, (m, m)


def recorded_kinematics(material: Material, F: Sequence[str], g: Sequence[str]) -> RecordedKinematics:
    """The strain and growth of a material of F; F and g: what the other language calls the entries of F and of dW/dx."""
    recorder, m = Recorder(), material.dim**2
    array = tensor(_duals(recorder.variables(F)), material.dim)
    found = expect_components(material.kinematics, material.kinematics.components(array))
    strain = [_derivatives(each, m) for each in found]
    growth = _derivatives(0.0 if material.growth is None else material.growth.of_volume(determinant(array)), m)
    geometric = growth[2]
    for (_, _, second), weight in zip(strain, recorder.variables(g), strict=True):
        geometric = geometric + second * weight
    x, dx = np.array([each[0] for each in strain], dtype=object), np.array([each[1] for each in strain], dtype=object)
    return RecordedKinematics(recorder, x, dx, growth[0], growth[1], geometric)


def recorded_mode(mode: Mode, x: Sequence[str], into: str) -> tuple[Recorder, Any, Array, Array]:
    """psi, gradient (d,) and Hessian (d, d) of a mode by its formula; InvalidInputError: it has none, `into` a language."""
    if type(mode).formula is Mode.formula:
        raise InvalidInputError(
            f"the mode type {mode.type} has no translation into {into}: write formula(x), as only ConvexNetwork needs none."
        )
    recorder = Recorder()
    return recorder, *_derivatives(mode.formula(_duals(recorder.variables(x))), mode.size)


def recorded_activation(name: str, of_softplus: Sequence[str]) -> tuple[Recorder, Any, Any, Any]:
    """Value, slope and curvature of an activation, from what the other language calls those of softplus."""
    recorder, f = Recorder(), ACTIVATIONS[name]
    s, t, c = recorder.variables(of_softplus)
    return recorder, f.value(s), f.slope(s, t), f.curvature(s, t, c)


def _duals(scalars: list[Scalar]) -> list[HyperDual]:
    return variables(scalars, 2)  # type: ignore[arg-type]  # a scalar stands for the values at any point


def _derivatives(value: Any, m: int) -> tuple[Any, Array, Array]:
    """Value, gradient (m,) and Hessian (m, m) of a hyper-dual number, or of a plain one."""
    first, second = np.zeros(m, dtype=object), np.zeros((m, m), dtype=object)
    if not isinstance(value, HyperDual):
        return float(value), first, second
    first[:] = 0.0 if value.first is None else value.first[:, 0]
    second[:] = 0.0 if value.second is None else value.second[:, :, 0]
    lower = np.tril_indices(m, -1)
    second[lower] = second.T[lower]
    return value.value, first, second
