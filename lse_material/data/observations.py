"""Observations: measured values that are linear in stresses, such as those of incompressible tests.

    values_i = sum_j A_ij P_j + error_i,    P_j the components of P at the deformation gradients F, one after the other

A has few entries. The stress of an incompressible material is P = dW/dF - p F^-T with a pressure p that W does not give. A
surface without load gives it: P_ff = 0 in the free direction f leaves, for F = diag(l_1, l_2, l_3),

    P_a = dW/dF_aa - (l_f / l_a) dW/dF_ff    nominal stress in the direction a,

which is linear in dW/dF. The tests of rubber are such (Treloar, Trans. Faraday Soc. 40, 59, 1944).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from lse_material._arrays import Array, digest_of, expect_shape, float_array, frozen, positive, rms
from lse_material.data.groups import Labels, group_labels
from lse_material.data.samples import Samples, checked_deformations
from lse_material.errors import InvalidInputError
from lse_material.model.strain import StrainMeasure

Index = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Observations:
    """Values that are sums of stress components, entry by entry: value `row` has `coefficient` times component `column`.

    Attributes:
        F: deformation gradients (n, dim, dim), det F > 0.
        row: (e,) which value each entry belongs to, 0 to k - 1.
        column: (e,) which component it takes: point * dim * dim + dim * i + j for P_ij at F[point].
        coefficient: (e,) its factor. Entries of one row and column add up.
        values: (k,) what was measured.
        errors: (k,) its standard deviations, > 0, in the unit of the values; None where they are not known.
        group: (k,) the test or load path that each value comes from, whole numbers or texts.
        units: quantity -> unit, as text.

    Raises:
        InvalidInputError: naming the array and the entry at fault.

    >>> pulled = lse.Observations.uniaxial([1.1, 1.5, 2.0], [0.16, 0.53, 0.84])
    >>> len(pulled), pulled.dim
    (3, 3)
    """

    F: Array
    row: Index
    column: Index
    coefficient: Array
    values: Array
    errors: Array | None = None
    group: Labels | None = None
    units: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "F", checked_deformations(self.F))
        object.__setattr__(self, "values", frozen(float_array("values", self.values, 1)))
        object.__setattr__(self, "coefficient", frozen(float_array("coefficient", self.coefficient, 1)))
        k, e = len(self.values), len(self.coefficient)
        if k == 0:
            raise InvalidInputError("there are no observations: 0 values.")
        for name, bound in (("row", k), ("column", self.F.size)):
            index = np.asarray(getattr(self, name))
            if (
                index.shape != (e,)
                or index.dtype.kind not in "iu"
                or (e and not 0 <= index.min() <= index.max() < bound)
            ):
                raise InvalidInputError(
                    f"{name} must be {e} whole numbers from 0 to {bound - 1}, one for each coefficient; it is {index.dtype} of "
                    f"shape {index.shape}" + (f" from {index.min()} to {index.max()}." if index.size else ".")
                )
            object.__setattr__(self, name, frozen(index.astype(np.int64)))
        without = np.bincount(self.row[self.coefficient != 0.0], minlength=k) == 0
        if without.any():
            raise InvalidInputError(f"value {int(np.argmax(without))} has no coefficient: it says nothing of stress.")
        if self.errors is not None:
            errors = float_array("errors", self.errors, 1)
            expect_shape("errors", errors, (k,))
            if (errors <= 0.0).any():
                raise InvalidInputError(
                    f"errors are standard deviations, > 0; value {int(np.argmin(errors))} has {errors.min():g}."
                )
            object.__setattr__(self, "errors", frozen(errors))
        if self.group is not None:
            object.__setattr__(self, "group", group_labels(self.group, k))
        object.__setattr__(self, "units", dict(self.units))

    def __len__(self) -> int:
        return len(self.values)

    @property
    def dim(self) -> int:
        """2 or 3."""
        return int(self.F.shape[-1])

    @property
    def noise(self) -> float:
        """RMS of the errors over that of the values, each value in units of its error; 0 where errors are not known."""
        if self.errors is None or not self.values.any():
            return 0.0
        return 1.0 / rms(self.values / self.errors)

    def inputs(self, kinematics: StrainMeasure | None) -> Array:
        """x(F) of every point, (n, d).

        Raises:
            InvalidInputError: no strain measure, or one of another dimension.
        """
        if kinematics is None or kinematics.dim != self.dim:
            found = "none" if kinematics is None else f"one in {kinematics.dim}D"
            raise InvalidInputError(
                f"observations at {self.dim}D F need a strain measure in {self.dim}D; there is {found}."
            )
        return kinematics.strain(self.F)

    def digest(self) -> str:
        """A hash of the data, for provenance: 16 hexadecimal digits."""
        names = ("F", "row", "column", "coefficient", "values", "errors")
        return digest_of({name: getattr(self, name) for name in names})

    def of_stress(self, P: Any) -> Array:
        """A P (k,): what the values would be for the stresses P (n, dim, dim) at F."""
        stress = float_array("P", P, finite=False)
        expect_shape("P", stress, self.F.shape)
        result = np.zeros(len(self))
        np.add.at(result, self.row, self.coefficient * stress.reshape(-1)[self.column])
        return result

    def take(self, rows: npt.NDArray[np.integer[Any]]) -> Observations:
        """The values in `rows` (indices, each once), in that order, with the F that they need."""
        rows, place = np.arange(len(self))[rows], np.full(len(self), -1)
        place[rows] = np.arange(len(rows))
        kept = place[self.row] >= 0
        size = self.dim**2
        point, column = np.unique(self.column[kept] // size, return_inverse=True)
        return Observations(
            self.F[point],
            place[self.row[kept]],
            column.ravel() * size + self.column[kept] % size,
            self.coefficient[kept],
            self.values[rows],
            None if self.errors is None else self.errors[rows],
            None if self.group is None else self.group[rows],
            self.units,
        )

    @classmethod
    def joined(cls, parts: Sequence[Observations]) -> Observations:
        """Several observations as one. Errors are kept where all parts have them; without groups, each part is one.

        Raises:
            InvalidInputError: parts of different dimensions or units.
        """
        if not parts or any(part.dim != parts[0].dim or part.units != parts[0].units for part in parts):
            raise InvalidInputError(
                "observations are joined from one part or more of the same dimension, in the same units."
            )
        values, points = (
            [0, *np.cumsum([len(a) for a in arrays])] for arrays in ([p.values for p in parts], [p.F for p in parts])
        )
        size = parts[0].dim ** 2
        errors = [part.errors for part in parts if part.errors is not None]
        group = [np.full(len(p), str(k)) if p.group is None else p.group.astype(str) for k, p in enumerate(parts)]
        return cls(
            np.concatenate([part.F for part in parts]),
            np.concatenate([part.row + start for part, start in zip(parts, values)]),
            np.concatenate([part.column + start * size for part, start in zip(parts, points)]),
            np.concatenate([part.coefficient for part in parts]),
            np.concatenate([part.values for part in parts]),
            np.concatenate(errors) if len(errors) == len(parts) else None,
            np.concatenate(group),
            parts[0].units,
        )

    @classmethod
    def of_samples(cls, samples: Samples) -> Observations:
        """Each known component of the stresses of `samples` as a value of its own.

        Raises:
            InvalidInputError: the samples have no stresses of F.
        """
        if samples.stress is None or samples.F is None or samples.stress_known is None:
            raise InvalidInputError("observations are made of samples of F with stresses; these have none.")
        column = np.flatnonzero(samples.stress_known)
        row = np.arange(len(column))
        group = None if samples.group is None else samples.group[column // samples.F[0].size]
        values = samples.stress.reshape(-1)[column]
        return cls(samples.F, row, column, np.ones(len(row)), values, group=group, units=samples.units)

    @classmethod
    def uniaxial(cls, stretch: Any, stress: Any, *, errors: Any = None, group: Any = None) -> Observations:
        """Tension or compression along 1 of an incompressible material: F = diag(l, l^-1/2, l^-1/2), sides 2 and 3 free.

        Args:
            stretch: l (n,), > 0.
            stress: nominal stress P_11 (n,): force over undeformed area.
            errors: standard deviation of the stress, one number or (n,).
            group: label of the test: one, or (n,).
        """
        along = float_array("stretch", stretch, 1)
        across = 1.0 / np.sqrt(_positive(along))
        return _incompressible((along, across, across), {(0,): stress}, (1, 2), errors, group)

    @classmethod
    def equibiaxial(cls, stretch: Any, stress: Any, *, errors: Any = None, group: Any = None) -> Observations:
        """Equal tension along 1 and 2 of an incompressible sheet: F = diag(l, l, l^-2), `stress` the mean of P_11 and P_22."""
        l = float_array("stretch", stretch, 1)
        return _incompressible((l, l, 1.0 / _positive(l) ** 2), {(0, 1): stress}, (2,), errors, group)

    @classmethod
    def planar(cls, stretch: Any, stress: Any, *, errors: Any = None, group: Any = None) -> Observations:
        """Planar tension (pure shear) of an incompressible sheet: F = diag(l, 1, 1/l), `stress` P_11, P_22 not measured."""
        l = float_array("stretch", stretch, 1)
        return cls.biaxial(l, np.ones_like(l), stress, errors=errors, group=group)

    @classmethod
    def biaxial(
        cls,
        stretch1: Any,
        stretch2: Any,
        stress1: Any = None,
        stress2: Any = None,
        *,
        errors: Any = None,
        group: Any = None,
    ) -> Observations:
        """Tension along 1 and 2 of an incompressible sheet, F = diag(l_1, l_2, 1 / (l_1 l_2)): P_11, P_22 or both.

        NaN marks a stress that was not measured.
        """
        l1, l2 = (float_array(name, value, 1) for name, value in (("stretch1", stretch1), ("stretch2", stretch2)))
        expect_shape("stretch2", l2, l1.shape)
        loads: dict[tuple[int, ...], Any] = {axes: P for axes, P in (((0,), stress1), ((1,), stress2)) if P is not None}
        return _incompressible((l1, l2, 1.0 / (_positive(l1) * _positive(l2))), loads, (2,), errors, group)

    @classmethod
    def inflation(
        cls, stretch: Any, pressure: Any, *, thickness: float, radius: float, errors: Any = None, group: Any = None
    ) -> Observations:
        """A thin incompressible sphere under inner pressure: an equibiaxial test with P = pressure l^2 radius / (2 thickness).

        Args:
            stretch: l (n,), the radius over the undeformed one.
            pressure: (n,).
            thickness: of the undeformed wall, small against its `radius`.
            radius: of the undeformed sphere.
            errors: standard deviation of the pressure, one number or (n,).
            group: label of the test: one, or (n,).
        """
        l = float_array("stretch", stretch, 1)
        factor = _positive(l) ** 2 * positive("radius", radius) / (2.0 * positive("thickness", thickness))
        p = float_array("pressure", pressure, 1)
        expect_shape("pressure", p, l.shape)
        known = None if errors is None else factor * _of_rows("errors", float_array("errors", errors), len(l))
        return cls.equibiaxial(l, factor * p, errors=known, group=group)


def _positive(stretch: Array) -> Array:
    if not (stretch > 0.0).all():
        row = int(np.argmin(stretch))
        raise InvalidInputError(f"stretch in row {row} is {stretch[row]:g}; a stretch is > 0 (1 + engineering strain).")
    return stretch


def _of_rows(name: str, value: Any, n: int) -> npt.NDArray[Any]:
    """One entry, or one for each row, as (n,)."""
    if np.shape(value) not in ((), (n,)):
        raise InvalidInputError(
            f"{name} has shape {np.shape(value)}; it is one entry, or one for each of the {n} rows."
        )
    return np.broadcast_to(np.asarray(value), (n,))


def _incompressible(
    stretches: tuple[Array, Array, Array],
    loads: Mapping[tuple[int, ...], Any],
    free: tuple[int, ...],
    errors: Any,
    group: Any,
) -> Observations:
    """Nominal stresses, each the mean over the axes of a load; the pressure makes the mean stress of `free` vanish."""
    n = len(stretches[0])
    point: list[Index] = []
    values: list[Array] = []
    entries: list[tuple[Index, Index, Array]] = []
    for axes, stress in loads.items():
        P = float_array("stress", stress, 1, finite=False)
        expect_shape("stress", P, (n,))
        if np.isinf(P).any():
            raise InvalidInputError(
                f"stress in row {int(np.argmax(np.isinf(P)))} is infinite; NaN marks one that is missing."
            )
        known = np.flatnonzero(np.isfinite(P))
        row = np.arange(len(known)) + sum(len(part) for part in values)
        for a in axes:
            entries.append((row, 9 * known + 4 * a, np.full(len(known), 1.0 / len(axes))))
            for f in free:
                ratio = stretches[f][known] / stretches[a][known] / (len(axes) * len(free))
                entries.append((row, 9 * known + 4 * f, -ratio))
        point.append(known)
        values.append(P[known])
    if not values:
        raise InvalidInputError("no stress is given: a test needs one.")
    where = np.concatenate(point)
    given = {"errors": errors, "group": group}
    each = [None if a is None else _of_rows(name, a, n)[where] for name, a in given.items()]
    F = np.stack(stretches, axis=1)[:, :, None] * np.eye(3)
    row, column, coefficient = (np.concatenate(part) for part in zip(*entries))
    return Observations(F, row, column, coefficient, np.concatenate(values), each[0], each[1])
