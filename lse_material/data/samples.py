"""Samples: the data a fit takes. Deformation gradients F or points x, with energies, stresses or gradients, in rows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lse_material._arrays import Array, Mask, expect_shape, field_names, float_array, frozen
from lse_material.errors import InvalidInputError
from lse_material.model.strain import StrainMeasure

ARRAYS = ("F", "x", "energy", "stress", "gradient", "weight", "fields", "conjugates")  # with one entry for each row
SLOPES = ("stress", "gradient", "conjugates")


@dataclass(frozen=True, eq=False)
class Samples:
    """Rows of data of one material or one potential.

    Give either `F`, with `energy` and/or `stress`, or `x`, with `energy` and/or `gradient`. Energies of F may depend on further
    scalars, `fields`, with `conjugates`. A value that is missing in
    some rows is NaN there and False in its mask; without a mask every row must hold a finite value.

    Attributes:
        F: deformation gradients (n, dim, dim), det F > 0; dim 2 is plane strain.
        x: points (n, d).
        energy: (n,), per reference volume.
        stress: first Piola-Kirchhoff stress P = dW/dF, (n, dim, dim).
        gradient: dW/dx, (n, d).
        weight: of each row in a fit, (n,), >= 0 and one of them > 0; all 1 if left out. Only ratios matter.
        energy_mask, stress_mask: (n,) bool, True where the row has the value (`stress_mask` also serves `gradient`).
        units: quantity -> unit, as text.
        fields: values of further scalars that W of F depends on, (n, m): a concentration, say.
        field_names: of these scalars.
        conjugates: dW/dfields (chemical potentials), (n, m); known in the rows that `stress_mask` tells.

    Raises:
        InvalidInputError: naming the field and the row (counted from 0) at fault.
    """

    F: Array | None = None
    x: Array | None = None
    energy: Array | None = None
    stress: Array | None = None
    gradient: Array | None = None
    weight: Array | None = None
    energy_mask: Mask | None = None
    stress_mask: Mask | None = None
    units: Mapping[str, str] = field(default_factory=dict)
    fields: Array | None = None
    field_names: tuple[str, ...] = ()
    conjugates: Array | None = None

    def __post_init__(self) -> None:
        if (self.F is None) == (self.x is None):
            raise InvalidInputError("samples need either F (deformation gradients) or x (points), and not both.")
        if self.F is not None and self.gradient is not None:
            raise InvalidInputError("samples of F take `stress` (P = dW/dF), not `gradient` (dW/dx).")
        if self.x is not None and self.stress is not None:
            raise InvalidInputError("samples of x take `gradient` (dW/dx), not `stress` (P = dW/dF).")
        name = "F" if self.F is not None else "x"
        where = _rows(name, getattr(self, name), 3 if self.F is not None else 2)
        object.__setattr__(self, name, where)
        n, shape = len(where), where.shape[1:]
        if n == 0:
            raise InvalidInputError("there are no samples: 0 rows.")
        if self.F is not None:
            if shape not in ((2, 2), (3, 3)):
                raise InvalidInputError(f"F has shape {where.shape}; it needs (n, 2, 2) or (n, 3, 3).")
            with np.errstate(over="ignore", invalid="ignore"):
                J = np.linalg.det(where)
            possible = (J > 0.0) & np.isfinite(J)
            if not possible.all():
                row = int(np.argmin(possible))
                raise InvalidInputError(
                    f"F in row {row} has determinant {J[row]:.6g}; it must be positive and finite. F = {where[row].tolist()}."
                )
        m = self._freeze_fields(n)
        slope = "stress" if self.F is not None else "gradient"
        if self.energy is None and getattr(self, slope) is None:
            raise InvalidInputError(f"samples need `energy` or `{slope}`, or both; they have neither.")
        if self.conjugates is not None:
            if m == 0 or self.stress is None:
                raise InvalidInputError("conjugates are dW/dfields: they need `fields`, and `stress` in the same rows.")
            self._freeze_values("conjugates", "stress_mask", (n, m))
        for value, mask, expected in (("energy", "energy_mask", ()), (slope, "stress_mask", shape)):
            self._freeze_values(value, mask, (n, *expected))
        if self.weight is not None:
            object.__setattr__(self, "weight", _weights(self.weight, n))
        object.__setattr__(self, "units", dict(self.units))

    def _freeze_fields(self, n: int) -> int:
        """Check the fields; how many they are."""
        names = field_names(self.field_names)
        object.__setattr__(self, "field_names", names)
        if self.fields is None:
            if names:
                raise InvalidInputError(f"field_names are {names}, but there are no values in `fields`.")
            return 0
        if self.F is None:
            raise InvalidInputError("fields go with samples of F; samples of x hold all inputs in x.")
        object.__setattr__(self, "fields", _rows("fields", self.fields, 2))
        expect_shape("fields", self.fields, (n, len(names)))
        return len(names)

    def _freeze_values(self, name: str, mask_name: str, shape: tuple[int, ...]) -> None:
        value, mask = getattr(self, name), getattr(self, mask_name)
        if value is None:
            if mask is not None:
                raise InvalidInputError(f"{mask_name} is given, but there is no {name}.")
            return
        array = float_array(name, value, len(shape), finite=False)
        expect_shape(name, array, shape)
        known: Mask = np.ones(shape[0], dtype=bool) if mask is None else np.asarray(mask)
        if known.shape != shape[:1] or known.dtype != np.bool_:
            raise InvalidInputError(
                f"{mask_name} must be {shape[0]} booleans; it is {known.dtype} of shape {known.shape}."
            )
        bad = ~np.isfinite(array.reshape(shape[0], -1)).all(axis=1) & known
        if bad.any():
            row = int(np.argmax(bad))
            raise InvalidInputError(
                f"{name} in row {row} is not finite: {array[row].tolist()}. Mend the row, or mark it as missing "
                f"with {mask_name}[{row}] = False."
            )
        if not known.any():
            raise InvalidInputError(f"{mask_name} marks every row as missing: leave {name} out instead.")
        array = array.copy()
        array[~known] = np.nan
        object.__setattr__(self, name, frozen(array))
        known = known.copy()
        known.flags.writeable = False
        object.__setattr__(self, mask_name, known)

    def __len__(self) -> int:
        return len(self.F if self.F is not None else self.x)  # type: ignore[arg-type]

    @property
    def dim(self) -> int | None:
        """2 or 3 for samples of F, None for samples of x."""
        return None if self.F is None else self.F.shape[-1]

    def inputs(self, kinematics: StrainMeasure | None) -> Array:
        """X of every row (n, d): the fields and x(F) by `kinematics`, or as given.

        Raises:
            InvalidInputError: F without a strain measure, x with one, or a strain measure of the wrong dimension.
        """
        if self.F is None:
            if kinematics is not None:
                raise InvalidInputError("samples of x take no strain measure: leave `kinematics` out.")
            assert self.x is not None
            return self.x
        if kinematics is None:
            raise InvalidInputError("samples of F need a strain measure: pass kinematics=GreenLagrange(dim=...), say.")
        if kinematics.dim != self.dim:
            raise InvalidInputError(
                f"the strain measure {type(kinematics).__name__} is {kinematics.dim}D, the samples' F are {self.dim}D."
            )
        x = kinematics.strain(self.F)
        return x if self.fields is None else np.concatenate([self.fields, x], axis=1)

    def take(self, rows: npt.NDArray[np.integer[Any]]) -> Samples:
        """The samples in `rows` (indices), in that order. A value that no chosen row has is left out."""
        chosen: dict[str, Any] = {}
        for name in (*ARRAYS, "energy_mask", "stress_mask"):
            value = getattr(self, name)
            chosen[name] = None if value is None else value[rows]
        for name, mask_name in (("energy", "energy_mask"), *((name, "stress_mask") for name in SLOPES)):
            mask = getattr(self, mask_name)
            if chosen[name] is not None and mask is not None and not mask[rows].any():
                chosen.update({name: None, mask_name: None})
        return replace(self, **chosen)

    def split(self, fraction: float, *, seed: int) -> tuple[Samples, Samples]:
        """A random part with `fraction` of the rows (at least one), and the rest.

        Raises:
            InvalidInputError: fraction outside (0, 1), or fewer than 2 rows.
        """
        if not 0.0 < fraction < 1.0:
            raise InvalidInputError(f"fraction is {fraction}; it must lie between 0 and 1.")
        if len(self) < 2:
            raise InvalidInputError("one sample cannot be split.")
        rows = np.random.default_rng(seed).permutation(len(self))
        cut = min(max(round(fraction * len(self)), 1), len(self) - 1)
        return self.take(rows[:cut]), self.take(rows[cut:])

    def digest(self) -> str:
        """A hash of the data, for provenance: the same rows in the same order give the same 16 hexadecimal digits."""
        h = hashlib.sha256()
        for name in ARRAYS:
            value = getattr(self, name)
            if value is not None:
                h.update(name.encode() + str(value.shape).encode() + np.ascontiguousarray(value).tobytes())
        return h.hexdigest()[:16]


def _rows(name: str, value: Any, ndim: int) -> Array:
    array = float_array(name, value, ndim, finite=False)
    bad = ~np.isfinite(array.reshape(len(array), -1)).all(axis=1) if len(array) else np.zeros(0, bool)
    if bad.any():
        row = int(np.argmax(bad))
        raise InvalidInputError(f"{name} in row {row} is not finite: {array[row].tolist()}. Mend or remove the row.")
    return frozen(array)


def _weights(value: Any, rows: int) -> Array:
    array = float_array("weight", value, 1)
    expect_shape("weight", array, (rows,))
    if (array < 0.0).any():
        row = int(np.argmax(array < 0.0))
        raise InvalidInputError(f"weight in row {row} is {array[row]:g}; weights must be >= 0.")
    if not array.any():
        raise InvalidInputError("all weights are 0: no row would count.")
    return frozen(array)
