"""Data of a fit as rows of inputs, energies and stresses of the potential, and the scales that make them of order one."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from lse_material._arrays import Array, Mask
from lse_material.data.samples import Samples
from lse_material.errors import InvalidInputError
from lse_material.fit.problem.parameters import Temperature
from lse_material.model.growth import Growth
from lse_material.model.soft_minimum import SoftMinimum
from lse_material.model.strain import StrainMeasure
from lse_material.model.symmetry import Symmetry

Index: TypeAlias = npt.NDArray[np.int64]

ROUNDING = 1e-6  # spread of an input, as a share of its size, that is rounding (single precision: 6e-8)
LEAST_SHARE = 0.1  # on a lattice cell, median error on unseen paths: 9 % with 0, 10 % with 0.2, 12 % with 1
MOST = 1e100  # size of a value, and the inverse of the least, that is fitted
DEPENDENT = 1e-6  # ratio of singular values of dx/dF below which inputs depend on each other


class Scales(NamedTuple):
    """Units of the scaled problem: xh = (x - shift)/scale, W = energy_scale Psi + energy_shift."""

    input_shift: Array
    input_scale: Array
    energy_scale: float
    energy_shift: float

    @classmethod
    def of(cls, potential: SoftMinimum) -> Scales:
        """Those of a potential."""
        return cls(potential.input_shift, potential.input_scale, potential.energy_scale, potential.energy_shift)


@dataclass(frozen=True, eq=False)
class Rows:
    """Data without their growth and caloric terms: x (n, d); energies with their rows; stresses (m, q) with rows and dx/dF
    (m, d, q), or gradients where the data are samples of x; weights of all rows (n,); energies and stresses of a growth (or
    caloric) term of coefficient 1, where the coefficient is to be fitted.
    """

    x: Array
    energy_rows: Index
    energy: Array
    stress_rows: Index
    stress: Array
    derivative: Array
    weight: Array
    growth_energy: Array | None = None
    growth_stress: Array | None = None
    strains: int = 0
    is_tensor: bool = False
    has_like_units: bool = False  # of gradients, as those of periodic inputs

    @cached_property
    def gradients(self) -> Array:
        """DW/dx (m, d) from the stresses, by least squares."""
        return least_squares(self.derivative / self.balance, self.stress) / self.balance[:, 0]

    @cached_property
    def balance(self) -> Array:
        """Sizes (d, 1) of dx/dF by input, over which inputs are compared in any unit; 1 for strains, which have none."""
        size = np.abs(self.derivative).max(axis=(0, 2), initial=0.0)
        has_unit = (np.arange(len(size)) < len(size) - self.strains) & (size > 0.0)
        return np.where(has_unit, size, 1.0)[:, None]

    @property
    def missed(self) -> Array:
        """The part (m, q) of the stresses that no energy gives."""
        return self.stress - (self.gradients[:, None] @ self.derivative)[:, 0]

    def with_inputs(self, which: Index) -> Rows:
        """The same rows without the other inputs."""
        strains = int((which >= self.x.shape[1] - self.strains).sum())
        return replace(self, x=self.x[:, which], derivative=self.derivative[:, which], strains=strains)

    def in_like_units(self, scales: Scales) -> Rows:
        """The same rows; gradients in x, whose components may have units of their own, are those in the scaled inputs."""
        if self.strains or self.has_like_units:
            return self
        unit = scales.input_scale
        return replace(self, stress=self.stress * unit, derivative=self.derivative * unit)

    def mean(self, values: Array, rows: Index) -> Array:
        """Weighted mean of values (m, ...) that belong to these rows."""
        return np.tensordot(self.weight[rows], values, 1) / self.weight[rows].sum()


def rows_of(
    samples: Samples,
    kinematics: StrainMeasure | None,
    growth: Growth | Literal["auto"] | None,
    temperature: Temperature | None = None,
) -> Rows:
    """The rows of `samples` that have values, with growth and caloric terms taken off if their coefficients are known.

    Raises InvalidInputError: samples and strain measure do not fit together, or a growth term for samples of x.
    """
    x = samples.inputs(kinematics)
    d = x.shape[1]
    if growth is not None and samples.F is None:
        raise InvalidInputError("a growth term acts on samples of F; these are samples of x.")
    if not (growth is None or growth == "auto" or type(growth) is Growth):
        raise InvalidInputError(f'growth is {growth!r}; it must be a lse.Growth (no subclass of it), "auto" or None.')
    energy_rows = _known(samples.energy_mask)
    energy = np.zeros(0) if samples.energy is None else np.asarray(samples.energy[energy_rows])
    stresses = samples.stress if samples.F is not None else samples.gradient
    known = samples.stress_known
    stress_rows = _known(None if known is None else np.logical_or.reduce(known.reshape(len(x), -1), axis=1))
    q = d if samples.F is None else samples.F.shape[-1] ** 2
    growth_energy = growth_stress = None
    stress = np.zeros((0, q)) if stresses is None else stresses[stress_rows].reshape(-1, q)
    derivative = np.broadcast_to(np.eye(d), (len(stress_rows), d, d))
    if samples.F is not None and kinematics is not None:
        derivative = kinematics.derivative(samples.F[stress_rows]).reshape(len(stress_rows), kinematics.size, q)
        derivative = np.concatenate([np.zeros((len(stress_rows), d - derivative.shape[1], q)), derivative], axis=1)
        if isinstance(growth, Growth):
            energy = energy - growth.energy(samples.F[energy_rows])
            stress = stress - growth.stress(samples.F[stress_rows]).reshape(-1, q)
        elif growth == "auto":
            growth_energy = Growth(1.0).energy(samples.F[energy_rows])
            growth_stress = Growth(1.0).stress(samples.F[stress_rows]).reshape(-1, q)
    caloric = None if temperature is None else temperature.caloric
    is_fitted = temperature is not None and temperature.heat_capacity == "auto"
    if caloric is not None:
        if samples.F is None or (is_fitted and growth == "auto"):
            raise InvalidInputError(
                "a caloric term acts on samples of F, and its heat capacity is not fitted together with a growth coefficient: "
                "give one of the two."
            )
        of_caloric = caloric.energy(x[energy_rows, 0])
        energy = energy if is_fitted else energy - of_caloric
        if is_fitted:
            growth_energy, growth_stress = of_caloric, np.zeros_like(stress)
    if samples.conjugates is not None:
        conjugates = samples.conjugates[stress_rows].copy()
        of_caloric = np.zeros_like(conjugates)
        if caloric is not None:
            of_caloric[:, 0] = caloric.derivative(x[stress_rows, 0])
            conjugates -= 0.0 if is_fitted else of_caloric
        stress, derivative, unit = _with_conjugates(conjugates, stress, derivative)
        if growth_stress is not None:
            growth_stress = np.concatenate([of_caloric * unit, growth_stress], axis=1)
    unknown = np.isnan(stress)  # a component that a row does not have is 0 with the derivative 0: it has no residual
    if unknown.any():
        stress, derivative = np.where(unknown, 0.0, stress), np.where(unknown[:, None], 0.0, derivative)
        growth_stress = None if growth_stress is None else np.where(unknown, 0.0, growth_stress)
    for name, values in (("energies", energy), ("stresses (or gradients)", np.nan_to_num(stress)), ("inputs x", x)):
        expect_size(name, values)
    weight = weights_of(samples)
    for name, rows in (("energies", energy_rows), ("stresses", stress_rows)):
        if len(rows) and not weight[rows].any():
            raise InvalidInputError(f"all rows with {name} have weight 0: leave these {name} out instead.")
    x = np.ascontiguousarray(x)
    return Rows(
        x,
        energy_rows,
        energy,
        stress_rows,
        stress,
        derivative,
        weight,
        growth_energy,
        growth_stress,
        strains=0 if kinematics is None else kinematics.size,
        is_tensor=kinematics is not None and kinematics.is_tensor,
    )


def weights_of(samples: Samples) -> Array:
    """The weights of the rows, (n,), as multiples of a power of 2 with which they neither overflow nor vanish in sums."""
    if samples.weight is None:
        return np.ones(len(samples))
    return np.ldexp(samples.weight, -np.frexp(samples.weight.max())[1])


def expect_size(name: str, values: Array) -> None:
    """Raise InvalidInputError where squares of values, or what they are divided by, would leave the range of numbers."""
    largest = float(np.abs(values).max(initial=0.0))
    if largest > 0.0 and not 1.0 / MOST < largest < MOST:
        raise InvalidInputError(f"{name} are up to {largest:.3g}, whose squares are no numbers: give another unit.")


def _with_conjugates(conjugates: Array, stress: Array, derivative: Array) -> tuple[Array, Array, Array]:
    """Conjugates and stresses (n, m + q) and their derivative, the conjugates in units that make each as large as the stresses;
    the units.
    """
    n, m = conjugates.shape
    size = np.sqrt(np.nanmean(conjugates**2, axis=0))
    unit = np.where(size > 0.0, np.sqrt(np.nanmean(stress**2)) / np.where(size > 0.0, size, 1.0), 1.0)
    unit = np.where(unit > 0.0, unit, 1.0)
    own = np.zeros((n, derivative.shape[1], m))
    own[:, np.arange(m), np.arange(m)] = unit
    return np.concatenate([conjugates * unit, stress], axis=1), np.concatenate([own, derivative], axis=2), unit


def _known(mask: Mask | None) -> Index:
    return np.zeros(0, dtype=np.int64) if mask is None else np.flatnonzero(mask).astype(np.int64)


def spread_of(x: Array, strains: int, group: Array | None = None) -> Array:
    """Standard deviation of each input of x (n, d), over all images by a group; 0 where it is rounding.

    The last `strains` inputs have no unit: they are compared with the largest of them, other inputs with themselves.
    """
    group = np.eye(x.shape[1])[None] if group is None else group
    away = x - group.mean(axis=0) @ x.mean(axis=0)
    spread = np.sqrt(np.einsum("gij,jk,gik->i", group, away.T @ away / len(away), group) / len(group))
    least = ROUNDING * np.abs(x).max(axis=0)
    if strains:
        least[-strains:] = least[-strains:].max()
    return np.where(spread > least, spread, 0.0)


def some_of(rows: Index, most: int, seed: int = 0) -> Index:
    """At most so many of the rows, chosen at random, as the first rows of a table are its first load paths."""
    return rows if len(rows) <= most else np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))


def least_squares(derivative: Array, stress: Array) -> Array:
    """The g (m, d) with stress = g dx/dF, (m, q), nearly; 0 in directions that dx/dF (m, d, q) does not show.

    From the eigenvectors of dx/dF dx/dF^T, which cost much less than singular vectors of many small matrices.
    """
    sizes, axes = np.linalg.eigh(derivative @ derivative.swapaxes(1, 2))
    shown = sizes > DEPENDENT**2 * sizes[:, -1:]
    along = axes.swapaxes(1, 2) @ (derivative @ stress[:, :, None])
    return (axes @ (along * (shown / np.where(shown, sizes, 1.0))[:, :, None]))[:, :, 0]


def missed_stress(stress: Array, derivative: Array) -> Array:
    """The part of the stress (m, q) that no energy of inputs with dx/dF (m, d, q) gives, by least squares."""
    return stress - (least_squares(derivative, stress)[:, None] @ derivative)[:, 0]


def are_determined(derivative: Array) -> Mask:
    """Where stresses tell all of dW/dx: not so where inputs depend on each other, as three invariants in 2D do."""
    sizes = np.linalg.eigvalsh(derivative @ derivative.swapaxes(1, 2))
    determined: Mask = sizes[:, 0] > DEPENDENT**2 * sizes[:, -1]
    return determined


def input_scales(x: Array, strains: int, is_tensor: bool, group: Array | None = None) -> Array:
    """Unit of each input of x (n, d), the last of them strains: its standard deviation; 0 where it does not vary.

    A component of a tensor that hardly varies is no smaller thing than the others, and what it varies by may be rounding: its
    unit is not below `LEAST_SHARE` of the largest, and the largest where it is the same in all rows. Other inputs have units of
    their own.
    """
    scale = spread_of(x, strains, group)
    if is_tensor:
        own = scale[-strains:]
        scale[-strains:] = np.where(own > 0.0, np.maximum(own, LEAST_SHARE * own.max()), own.max())
    return scale


def scales_of(rows: Rows, symmetry: Symmetry | None = None, temperature: Temperature | None = None) -> Scales:
    """Scales that make inputs, energies and gradients of order one; with a symmetry, of the data and all their images.

    A temperature, the first input, goes from 0 to 1 over its range.

    Raises InvalidInputError: all energies are equal, or all stresses vanish: there is nothing to learn.
    """
    group = np.eye(rows.x.shape[1])[None] if symmetry is None else symmetry.group
    shift = group.mean(axis=0) @ rows.x.mean(axis=0)
    scale = input_scales(rows.x, rows.strains, rows.is_tensor, group)
    if len(rows.stress):  # an input that is the same in all rows has the unit in which its gradients are like others
        size = np.sqrt((rows.gradients**2).mean(axis=0))
        least = np.where(np.arange(len(size)) < len(size) - rows.strains, 0.0, DEPENDENT * size.max())
        level = float((size * scale).max())
        scale = np.divide(level, size, out=scale, where=(scale == 0.0) & (size > least))
    scale = np.where(scale > 0.0, scale, 1.0)
    if temperature is not None:
        assert temperature.lower is not None
        assert temperature.upper is not None
        shift[0], scale[0] = temperature.lower, temperature.upper - temperature.lower
    if len(rows.energy) > 1:
        mean = float(rows.mean(rows.energy, rows.energy_rows))
        spread = math.sqrt(float(rows.mean((rows.energy - mean) ** 2, rows.energy_rows)))
        if spread > 1e-12 * np.abs(rows.energy).max():
            return Scales(shift, scale, spread, mean)
    if len(rows.stress) == 0:
        raise InvalidInputError("all energies are equal: there is no landscape. Check the column, or add stresses.")
    if not rows.stress.any():
        raise InvalidInputError("all stresses are zero and there are no varying energies: there is nothing to learn.")
    gradients = least_squares(rows.derivative / scale[:, None], rows.stress)
    return Scales(shift, scale, float(np.sqrt((gradients**2).sum(axis=1).mean())), 0.0)
