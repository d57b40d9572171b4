"""Inputs with periods, dihedral angles say: they are fitted on circles, and the fit is periodic in them to rounding.

An input x of the period p becomes z = (cos t, sin t), t = 2 pi x / p. A mode is a convex network of z, of which dz/dx makes the
gradients that the data know, as dx/dF makes stresses.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np

from lse_material._arrays import Array
from lse_material.errors import InvalidInputError
from lse_material.fit.problem.rows import Rows
from lse_material.model.box import Box
from lse_material.model.convex_network import ConvexNetwork
from lse_material.model.periodic_network import PeriodicNetwork, on_circles
from lse_material.model.soft_minimum import SoftMinimum

ALL_ROUND = 0.2  # widest gap between data, as a share of the period, with which they go all the way round
# that rows span, or whose inverse they span, above which inputs and period seem to be in other units
MANY_PERIODS = 20.0


@dataclass(frozen=True, eq=False)
class Periods:
    """Periods of the inputs x of a fit."""

    angles: tuple[bool, ...]  # which inputs have one
    unit: Array  # p / 2 pi of these, the spread of the others, (d,)

    @classmethod
    def of(cls, periods: Sequence[Any], x: Array) -> Periods:
        """The periods of inputs x (n, d), None or 0 for an input without one.

        Raises InvalidInputError: there are more or fewer than inputs, or one is no positive number.
        """
        if np.ndim(periods) != 1:
            raise InvalidInputError(f"periods is {periods!r}; it must be a list with an entry for each input.")
        if len(periods) != x.shape[1]:
            raise InvalidInputError(f"periods: {len(periods)} entries for {x.shape[1]} inputs, None for one without.")
        if any(p is not None and not (isinstance(p, Real) and 0.0 <= float(p) < math.inf) for p in periods):
            raise InvalidInputError(f"periods is {list(periods)}: each must be a number > 0, or None.")
        spread = x.std(axis=0)
        unit = [p / (2.0 * math.pi) if p else s or 1.0 for p, s in zip(periods, spread.tolist())]
        return cls(tuple(bool(p) for p in periods), np.array(unit))

    def warnings(self, x: Array) -> tuple[str, ...]:
        """A sentence on each input x (n, d) that spans many periods or next to nothing of one: its unit may be another."""
        periods = 2.0 * math.pi * self.unit
        turns = np.where(self.angles, np.ptp(x, axis=0) / periods, 1.0)
        return tuple(
            f"input {k} (counted from 0) spans {turns[k]:.2g} of its periods of {periods[k]:.4g}: are both in degrees, or both "
            "in radians?"
            for k in np.flatnonzero((turns > MANY_PERIODS) | (turns < 1.0 / MANY_PERIODS))
        )

    def on_circles(self, rows: Rows) -> Rows:
        """The rows in z, with gradients in x / unit."""
        z, first, _ = on_circles(rows.x / self.unit, self.angles)
        return replace(
            rows, x=z, stress=rows.stress * self.unit, derivative=first[rows.stress_rows], has_like_units=True
        )

    def potential(self, of_z: SoftMinimum) -> SoftMinimum:
        """A potential of z, whose modes are convex networks, as one of x."""
        modes = []
        for mode in of_z.modes:
            assert isinstance(mode, ConvexNetwork)
            modes.append(PeriodicNetwork(mode, self.angles, of_z.input_shift, of_z.input_scale))
        return replace(of_z, modes=tuple(modes), input_shift=np.zeros(len(self.angles)), input_scale=self.unit)

    def box(self, x: Array) -> Box:
        """Where the data x (n, d) lie: a whole period where they go all the way round."""
        low, high = x.min(axis=0), x.max(axis=0)
        for i in np.flatnonzero(self.angles):
            t = np.sort(np.mod(x[:, i] / self.unit[i], 2.0 * np.pi))
            if np.diff(t, append=t[0] + 2.0 * np.pi).max() <= ALL_ROUND * 2.0 * np.pi:
                high[i] = low[i] + 2.0 * np.pi * self.unit[i]
        return Box(low, high)
