"""The potential: a soft minimum of convex modes, in closed form. This module is the meaning of the formula.

    Psi(x) = -rho * log( sum_k exp( -psi_k(x) / rho ) )

Each mode psi_k is convex: an input convex neural network, say. With the mode weights w_k = softmax(-psi_k / rho) and g_k, H_k
the gradient and Hessian of mode k,

    grad Psi = sum_k w_k g_k
    Hess Psi = sum_k w_k H_k - sum_k w_k (g_k - grad Psi)(g_k - grad Psi)^T / rho

after Jones, Buganza Tepole and Fuhg, arXiv 2506.17242 (2025). The second term, a covariance, is the only source of
non-convexity. It is computed centred: the difference of its two moments would lose digits where rho is small.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from lse_material._arrays import Array, entries, expect_shape, float_array, frozen, points, positive
from lse_material.errors import InvalidInputError
from lse_material.model.box import Box
from lse_material.model.mode import Mode, by_chunks, expect_some


def expect_origin(fitted: Any, size: int) -> None:
    """Raise InvalidInputError unless units and provenance are mappings and the training box, if any, is one of this size."""
    for name in ("units", "provenance"):
        if not isinstance(getattr(fitted, name), Mapping):
            raise InvalidInputError(f'{name} is {getattr(fitted, name)!r}; give a mapping, {{"energy": "MPa"}} say.')
    expect_part("training_box", fitted.training_box, Box, size)


def expect_part(name: str, part: Any, kind: type[Any], size: int) -> None:
    """Raise InvalidInputError unless a part is None, or of this type and of as many components as the potential."""
    if part is None:
        return
    if not isinstance(part, kind):
        raise InvalidInputError(f"{name} is a {type(part).__name__}; it must be a {kind.__name__} or None.")
    if part.size != size:
        raise InvalidInputError(f"{name} has {part.size} components; the potential has {size}.")


def expect_potential(potential: Any, inputs: int | None = None) -> SoftMinimum:
    """The potential. Raises InvalidInputError: it is none, a Material say, or has another number of inputs than this."""
    if not isinstance(potential, SoftMinimum):
        raise InvalidInputError(
            f"a {type(potential).__name__} is no potential, which is needed here: give a SoftMinimum, material.potential."
        )
    if inputs not in (None, potential.size):
        raise InvalidInputError(f"the potential has {potential.size} inputs; it was given {inputs} expressions.")
    return potential


@dataclass(frozen=True, eq=False)
class SoftMinimum:
    """The trained potential W(x) = energy_scale * Psi((x - input_shift) / input_scale) + energy_shift.

    Attributes:
        modes: K modes, of any type, with the same number d of inputs.
        scaled_rho: transition scale in scaled energy, > 0; `transition_scale` gives it in energy units.
        input_shift, input_scale: (d,); scale > 0.
        energy_scale, energy_shift: in energy units; scale > 0.
        units, training_box, provenance: as those of a `Material`, for potentials that are no part of one.

    Raises:
        InvalidInputError: naming the field at fault.

    >>> modes = [lse.ConvexNetwork.from_arrays([], [[[-c]]], [[0.5]], quadratic=[[1.0]]) for c in (-1.0, 1.0)]
    >>> W = lse.SoftMinimum(modes, 0.1)  # wells (x - c)^2 / 2 at c = -1 and 1
    >>> W.mode_weights([[0.0], [1.0]]).round(3)
    array([[0.5, 0.5],
           [0. , 1. ]])
    """

    modes: tuple[Mode, ...]
    scaled_rho: float
    input_shift: Array = field(default_factory=lambda: np.zeros(0))
    input_scale: Array = field(default_factory=lambda: np.ones(0))
    energy_scale: float = 1.0
    energy_shift: float = 0.0
    units: Mapping[str, str] = field(default_factory=dict)
    training_box: Box | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.modes, Mode):
            raise InvalidInputError(f"modes is one {self.modes.type}; give a tuple of them, (mode,) for a single one.")
        modes = entries("modes", self.modes)
        if not modes:
            raise InvalidInputError("a soft minimum needs at least one mode.")
        for k, mode in enumerate(modes):
            if not isinstance(mode, Mode):
                raise InvalidInputError(f"mode {k} is a {type(mode).__name__}, not a Mode, a ConvexNetwork say.")
            if mode.size != modes[0].size:
                raise InvalidInputError(f"mode {k} has {mode.size} inputs, mode 0 has {modes[0].size}.")
        object.__setattr__(self, "modes", modes)
        for name, default in (("input_shift", 0.0), ("input_scale", 1.0)):
            value = float_array(name, getattr(self, name), 1)
            value = np.full(self.size, default) if value.size == 0 else value
            expect_shape(name, value, (self.size,))
            object.__setattr__(self, name, frozen(value))
        for name, what in (("scaled_rho", "rho, the transition scale,"), ("energy_scale", "energy_scale")):
            object.__setattr__(self, name, positive(what, getattr(self, name)))
        object.__setattr__(self, "energy_shift", float(float_array("energy_shift", self.energy_shift, 0)))
        if not (self.input_scale > 0.0).all():
            raise InvalidInputError(f"input_scale is {self.input_scale}; every entry must be > 0.")
        expect_origin(self, self.size)

    @property
    def size(self) -> int:
        """Number d of inputs."""
        return self.modes[0].size

    @property
    def transition_scale(self) -> float:
        """Rho in energy units."""
        return self.scaled_rho * self.energy_scale

    @property
    def kinds(self) -> tuple[str, ...]:
        """Of each input what its modes are in it: "convex" together with others, affine ("temperature"), "periodic", or any
        ("design").
        """
        convex = set.intersection(*(set(mode.convex_inputs) for mode in self.modes))
        affine = set.intersection(*({*mode.convex_inputs, *mode.affine_inputs} for mode in self.modes))
        periodic = set(np.flatnonzero(np.isfinite(np.max([mode.periods for mode in self.modes], axis=0))).tolist())
        known = {i: "periodic" for i in periodic} | {i: "temperature" for i in affine} | {i: "convex" for i in convex}
        return tuple(known.get(i, "design") for i in range(self.size))

    def wrapped(self, x: Array, lower: Array) -> Array:
        """Points x (..., d) moved by whole periods, where all modes have one, to between `lower` (d,) and a period above."""
        period = self.input_scale * np.max([mode.periods for mode in self.modes], axis=0)
        turns = np.where(np.isfinite(period), np.floor((x - lower) / period), 0.0)
        return np.where(turns == 0.0, x, x - turns * np.where(np.isfinite(period), period, 0.0))

    def alone(self, k: int) -> SoftMinimum:
        """Mode k as a potential of its own."""
        return replace(self, modes=(self.modes[k],))

    def at(self, first: Any) -> SoftMinimum:
        """The potential of the other inputs where the first ones have these values: first (m,), m < d."""
        return self.holding(dict(enumerate(float_array("first", first, 1).tolist())))

    def holding(self, values: Mapping[int, float]) -> SoftMinimum:
        """The potential of the other inputs, in their order, where the inputs of these numbers have these values.

        >>> mode = lse.ConvexNetwork.from_arrays([], [[[1.0, 10.0]]], [[0.0]])  # x1 + 10 x2
        >>> lse.SoftMinimum((mode,), 1.0).holding({1: 2.0}).energy([[3.0]])
        array([23.])
        """
        expect_some(values, self.size)
        scaled = {i: (value - self.input_shift[i]) / self.input_scale[i] for i, value in values.items()}
        modes, held = tuple(mode.holding(scaled) for mode in self.modes), list(values)
        box = None if self.training_box is None else self.training_box.without(held)
        shift, scale = (np.delete(each, held) for each in (self.input_shift, self.input_scale))
        return replace(self, modes=modes, input_shift=shift, input_scale=scale, training_box=box)

    def evaluate(self, x: Any) -> PotentialValues:
        """Everything at points x (n, d) from one pass through the network; derivatives are finished when asked for."""
        return PotentialValues(self, points("x", x, self.size).reshape(-1, self.size))

    def energy(self, x: Any) -> Array:
        """W(x), energy units: x (..., d) -> (...)."""
        return by_chunks(x, self.size, (), lambda chunk: PotentialValues(self, chunk).energy)

    def gradient(self, x: Any) -> Array:
        """dW/dx: x (..., d) -> (..., d)."""
        return by_chunks(x, self.size, (self.size,), lambda chunk: PotentialValues(self, chunk).gradient)

    def hessian(self, x: Any) -> Array:
        """d2W/dx2: x (..., d) -> (..., d, d)."""
        return by_chunks(x, self.size, (self.size, self.size), lambda chunk: PotentialValues(self, chunk).hessian)

    def mode_weights(self, x: Any) -> Array:
        """Softmax(-psi_k / rho), the phase fractions: x (..., d) -> (..., K); rows sum to 1."""
        return by_chunks(x, self.size, (len(self.modes),), lambda chunk: PotentialValues(self, chunk).mode_weights)


class PotentialValues:
    """A soft minimum at one batch of points (n, d); arrays as the methods of `SoftMinimum` return them."""

    def __init__(self, potential: Any, x: Array) -> None:
        self._potential = potential
        scaled = (x - potential.input_shift) / potential.input_scale
        self._modes = [mode.values(scaled) for mode in potential.modes]
        psi = np.stack([mode.energy for mode in self._modes], axis=1)  # (n, K)
        lowest = psi.min(axis=1, keepdims=True)
        # inf - inf where all modes overflowed: NaN, as it should be; a difference / rho that overflows: weight 0
        with np.errstate(invalid="ignore", over="ignore"):
            share = np.exp(-(psi - lowest) / potential.scaled_rho)
        total = share.sum(axis=1)
        psi_min = lowest[:, 0] - potential.scaled_rho * np.log(total)
        self.energy: Array = potential.energy_scale * psi_min + potential.energy_shift
        self.mode_weights: Array = share / total[:, None]

    @cached_property
    def _scaled_gradient(self) -> Array:
        weighted = [w[:, None] * mode.gradient for w, mode in zip(self.mode_weights.T, self._modes)]
        return np.asarray(np.sum(weighted, axis=0))

    @cached_property
    def gradient(self) -> Array:
        """(n, d)."""
        p = self._potential
        return np.asarray(self._scaled_gradient * (p.energy_scale / p.input_scale))

    @cached_property
    def hessian(self) -> Array:
        """(n, d, d)."""
        p = self._potential
        result = np.zeros((len(self.energy), *2 * p.input_scale.shape))
        for weight, mode in zip(self.mode_weights.T, self._modes):
            deviation = mode.gradient - self._scaled_gradient
            result += weight[:, None, None] * mode.hessian
            result -= (weight / p.scaled_rho)[:, None, None] * deviation[:, :, None] * deviation[:, None, :]
        result *= p.energy_scale / np.outer(p.input_scale, p.input_scale)
        return result
