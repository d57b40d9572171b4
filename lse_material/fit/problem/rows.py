"""Data of a fit as rows of inputs, energies and stresses of the potential, and the scales that make them of order one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from lse_material._arrays import Array, Mask
from lse_material.data.samples import Samples
from lse_material.errors import InvalidInputError
from lse_material.model.growth import Growth
from lse_material.model.strain import StrainMeasure
from lse_material.model.symmetry import Symmetry

Index: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Scales:
    """Units of the scaled problem: xh = (x - shift)/scale, W = energy_scale Psi + energy_shift."""

    input_shift: Array
    input_scale: Array
    energy_scale: float
    energy_shift: float


@dataclass(frozen=True, eq=False)
class Rows:
    """Data without their growth term: x (n, d); energies with their rows; stresses (m, q) with rows and dx/dF (m, d, q), or
    gradients where the data are samples of x; weights of all
    rows (n,); energies and stresses of a growth term of coefficient 1, where the coefficient is to be fitted.
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

    def mean(self, values: Array, rows: Index) -> Array:
        """Weighted mean of values (m, ...) that belong to these rows."""
        result: Array = np.tensordot(self.weight[rows], values, 1) / self.weight[rows].sum()
        return result


def rows_of(samples: Samples, kinematics: StrainMeasure | None, growth: Growth | Literal["auto"] | None) -> Rows:
    """The rows of `samples` that have values, with the growth term taken off if its coefficient is known.

    Raises:
        InvalidInputError: samples and strain measure do not fit together, or a growth term for samples of x.
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
    stress_rows = _known(samples.stress_mask)
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
    if samples.conjugates is not None:
        stress, derivative = _with_conjugates(samples.conjugates[stress_rows], stress, derivative)
        if growth_stress is not None:
            growth_stress = np.pad(growth_stress, ((0, 0), (samples.conjugates.shape[1], 0)))
    weight = np.ones(len(x)) if samples.weight is None else samples.weight
    for name, rows in (("energies", energy_rows), ("stresses", stress_rows)):
        if len(rows) and not weight[rows].any():
            raise InvalidInputError(f"all rows with {name} have weight 0: leave these {name} out instead.")
    x = np.ascontiguousarray(x)
    return Rows(x, energy_rows, energy, stress_rows, stress, derivative, weight, growth_energy, growth_stress)


def _with_conjugates(conjugates: Array, stress: Array, derivative: Array) -> tuple[Array, Array]:
    """Slopes (n, m + q) and their derivative, the conjugates first, in units that make each as large as the stresses."""
    n, m = conjugates.shape
    size = np.sqrt((conjugates**2).mean(axis=0))
    unit = np.where(size > 0.0, np.sqrt((stress**2).mean()) / np.where(size > 0.0, size, 1.0), 1.0)
    unit = np.where(unit > 0.0, unit, 1.0)
    own = np.zeros((n, derivative.shape[1], m))
    own[:, np.arange(m), np.arange(m)] = unit
    return np.concatenate([conjugates * unit, stress], axis=1), np.concatenate([own, derivative], axis=2)


def _known(mask: Mask | None) -> Index:
    return np.zeros(0, dtype=np.int64) if mask is None else np.flatnonzero(mask).astype(np.int64)


def scales_of(rows: Rows, symmetry: Symmetry | None = None) -> Scales:
    """Scales that make inputs, energies and gradients of order one; with a symmetry, of the data and all their images.

    Raises:
        InvalidInputError: all energies are equal, or all stresses vanish: there is nothing to learn.
    """
    group = np.eye(rows.x.shape[1])[None] if symmetry is None else symmetry.group
    shift = group.mean(axis=0) @ rows.x.mean(axis=0)
    away = rows.x - shift
    scale = np.sqrt(np.einsum("gij,jk,gik->i", group, away.T @ away / len(away), group) / len(group))
    scale = np.where(scale > 1e-12 * np.abs(rows.x).max(initial=1e-300), scale, 1.0)
    if len(rows.energy) > 1:
        mean = float(rows.mean(rows.energy, rows.energy_rows))
        spread = math.sqrt(float(rows.mean((rows.energy - mean) ** 2, rows.energy_rows)))
        if spread > 1e-12 * np.abs(rows.energy).max():
            return Scales(shift, scale, spread, mean)
    if len(rows.stress) == 0:
        raise InvalidInputError(
            "all energies are equal: there is no landscape to learn. Check the column, or add stresses."
        )
    if not rows.stress.any():
        raise InvalidInputError("all stresses are zero and there are no varying energies: there is nothing to learn.")
    gradient = np.einsum("nqd,nq->nd", np.linalg.pinv(np.swapaxes(rows.derivative, 1, 2)).swapaxes(1, 2), rows.stress)
    return Scales(shift, scale, float(np.sqrt(((gradient * scale) ** 2).sum(axis=1).mean())), 0.0)
