"""Samples: the data a fit takes. Deformation gradients F or points x, with energies, stresses or gradients, in rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lse_material._arrays import Array, Mask, digest_of, expect_shape, field_names, float_array, frozen, generator
from lse_material.data.groups import Labels, are_apart, group_labels, path_numbers, rows_of_whole_groups
from lse_material.errors import InvalidInputError
from lse_material.model.strain import StrainMeasure

ARRAYS = ("F", "x", "energy", "stress", "gradient", "weight", "fields", "conjugates")  # with one entry for each row
MASKED = {  # what goes when a mask has no True
    "energy_mask": ("energy", "energy_mask"),
    "stress_mask": ("conjugates",),
    "stress_known": ("stress", "gradient", "stress_mask", "stress_known"),
}


@dataclass(frozen=True, eq=False)
class Samples:
    """Rows of data of one material or one potential.

    Give either `F`, with `energy` and/or `stress`, or `x`, with `energy` and/or `gradient`. Energies of F may depend on further
    scalars, `fields`, with `conjugates`. A value that is missing in some rows is NaN there and False in its mask; without a
    mask every row must hold a finite value.

    Attributes:
        F: deformation gradients (n, dim, dim), det F > 0; dim 2 is plane strain.
        x: points (n, d).
        energy: (n,), per reference volume.
        stress: first Piola-Kirchhoff stress P = dW/dF, (n, dim, dim).
        gradient: dW/dx, (n, d).
        weight: of each row in a fit, (n,), >= 0 and one of them > 0; all 1 if left out. Only ratios matter.
        energy_mask, stress_mask: (n,) bool, True where the row has the value, a stress as a whole (`stress_mask` also serves
            `gradient`).
        stress_known: which components of the stress (n, dim, dim), or of the gradient (n, d), the row has: P11 alone, say. It
            follows from `stress_mask` if left out, and `stress_mask` from it.
        units: quantity -> unit, as text.
        fields: values of further scalars that W of F depends on, (n, m): a concentration, say.
        field_names: of these scalars.
        conjugates: dW/dfields (chemical potentials), (n, m); known in the rows where `stress_mask` is True.
        group: the load path, test or simulation that each row comes from, (n,) whole numbers or texts. `split` separates whole
            groups.

    Raises:
        InvalidInputError: naming the field and the row (counted from 0) at fault.

    >>> F = np.array([np.eye(2), np.diag([1.1, 1.0])])
    >>> samples = lse.Samples(F=F, stress=material.stress(F))
    >>> len(samples), samples.dim
    (2, 2)
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
    stress_known: Mask | None = None
    group: Labels | None = None

    def __post_init__(self) -> None:
        if (self.F is None) == (self.x is None):
            raise InvalidInputError("samples need either F (deformation gradients) or x (points), and not both.")
        if self.F is not None and self.gradient is not None:
            raise InvalidInputError("samples of F take `stress` (P = dW/dF), not `gradient` (dW/dx).")
        if self.x is not None and self.stress is not None:
            raise InvalidInputError("samples of x take `gradient` (dW/dx), not `stress` (P = dW/dF).")
        name = "F" if self.F is not None else "x"
        where = checked_deformations(self.F) if self.F is not None else _rows("x", self.x, 2)
        object.__setattr__(self, name, where)
        n, shape = len(where), where.shape[1:]
        if n == 0:
            raise InvalidInputError("there are no samples: 0 rows.")
        m = self._freeze_fields(n)
        derivative = "stress" if self.F is not None else "gradient"
        if self.energy is None and getattr(self, derivative) is None:
            raise InvalidInputError(f"samples need `energy` or `{derivative}`, or both; they have neither.")
        self._freeze_derivative(derivative, (n, *shape))
        if self.conjugates is not None:
            if m == 0 or self.stress is None:
                raise InvalidInputError("conjugates are dW/dfields: they need `fields`, and `stress` in the same rows.")
            self._freeze("conjugates", "stress_mask", (n, m))
        self._freeze("energy", "energy_mask", (n,))
        if self.group is not None:
            object.__setattr__(self, "group", group_labels(self.group, n))
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

    def _freeze_derivative(self, name: str, shape: tuple[int, ...]) -> None:
        """Freeze stresses or gradients with the masks of their components and of their rows."""
        if self.stress_known is None:
            mask = self._freeze(name, "stress_mask", shape)
            known = None if mask is None else np.broadcast_to(mask.reshape(-1, *(1,) * (len(shape) - 1)), shape)
        else:
            given, known = self.stress_mask, self._freeze(name, "stress_known", shape, shape)
            whole: Mask | None = None if known is None else np.all(known.reshape(len(known), -1), axis=1)
            if given is not None and not np.array_equal(given, whole):  # type: ignore[arg-type]
                raise InvalidInputError("stress_mask and stress_known contradict each other: give one of them.")
            object.__setattr__(self, "stress_mask", None if whole is None else frozen(whole))
        object.__setattr__(self, "stress_known", None if known is None else frozen(known))

    def _freeze(
        self, name: str, mask_name: str, shape: tuple[int, ...], known_shape: tuple[int, ...] = ()
    ) -> Mask | None:
        """Freeze the values `name`, NaN where they are missing, and their mask; the mask."""
        value, mask = getattr(self, name), getattr(self, mask_name)
        if value is None:
            if mask is not None:
                raise InvalidInputError(f"{mask_name} is given, but there is no {name}.")
            return None
        array = float_array(name, value, len(shape), finite=False)
        expect_shape(name, array, shape)
        known_shape = known_shape or shape[:1]
        known: npt.NDArray[Any] = np.ones(known_shape, dtype=bool) if mask is None else np.asarray(mask)
        if known.shape != known_shape or known.dtype != np.bool_:
            size = known_shape[0] if len(known_shape) == 1 else known_shape
            raise InvalidInputError(f"{mask_name} must be {size} booleans; it is {known.dtype} of shape {known.shape}.")
        entries = known.reshape(*known_shape, *(1,) * (len(shape) - len(known_shape)))
        bad = (~np.isfinite(array) & entries).reshape(shape[0], -1).any(axis=1)
        if bad.any():
            row = int(np.argmax(bad))
            raise InvalidInputError(
                f"{name} in row {row} is not finite: {array[row].tolist()}. Mend the row, or mark it as missing "
                f"with {mask_name}[{row}] = False."
            )
        if not known.any():
            raise InvalidInputError(f"{mask_name} marks every row as missing: leave {name} out instead.")
        object.__setattr__(self, name, frozen(np.where(entries, array, np.nan)))
        object.__setattr__(self, mask_name, frozen(known))
        return known

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

    def with_fields(self, names: Sequence[str]) -> Samples:
        """The samples with their fields, and conjugates, in the order of these names.

        Raises:
            InvalidInputError: they have other fields.
        """
        names = tuple(names)
        if sorted(names) != sorted(self.field_names):
            raise InvalidInputError(f"the samples have the fields {list(self.field_names)}, not {list(names)}.")
        order = [self.field_names.index(name) for name in names]
        fields, conjugates = (None if part is None else part[:, order] for part in (self.fields, self.conjugates))
        return replace(self, field_names=names, fields=fields, conjugates=conjugates)

    def take(self, rows: npt.NDArray[np.integer[Any]]) -> Samples:
        """The samples in `rows` (indices), in that order. A value that no chosen row has is left out."""
        names = (*ARRAYS, "energy_mask", "stress_mask", "stress_known", "group")
        chosen: dict[str, Any] = {name: None if (v := getattr(self, name)) is None else v[rows] for name in names}
        for mask, values in MASKED.items():
            if chosen[mask] is not None and not chosen[mask].any():
                chosen.update(dict.fromkeys(values))
        return replace(self, **chosen)

    def split(self, fraction: float, *, seed: int) -> tuple[Samples, Samples]:
        """A random part with `fraction` of the rows (at least one), and the rest.

        Samples with a `group` are split by whole groups: the first part has about `fraction` of the rows.

        Raises:
            InvalidInputError: fraction outside (0, 1), fewer than 2 rows, or all rows in one group.
        """
        if not 0.0 < fraction < 1.0:
            raise InvalidInputError(f"fraction is {fraction}; it must lie between 0 and 1.")
        if len(self) < 2:
            raise InvalidInputError("one sample cannot be split.")
        rng = generator(seed)
        if self.group is not None:
            first, rest = rows_of_whole_groups(self.group, fraction, rng)
            return self.take(first), self.take(rest)
        rows = rng.permutation(len(self))
        cut = min(max(round(fraction * len(self)), 1), len(self) - 1)
        return self.take(rows[:cut]), self.take(rows[cut:])

    def with_groups_found(self) -> Samples:
        """The samples with the load paths on which consecutive rows lie as groups: a path ends where F (or x) jumps.

        Raises:
            InvalidInputError: the rows are in no such order: consecutive ones are as far apart as any.
        """
        group = path_numbers(self._coordinates())
        if group is None:
            raise InvalidInputError(
                "the rows do not follow load paths: consecutive ones are about as far apart as rows drawn at random. Give "
                "`group` where the paths are known."
            )
        return replace(self, group=group)

    @property
    def follows_paths(self) -> bool:
        """Whether rows lie densely on load paths that are far apart: a random split is then no test of a fit."""
        points = self._coordinates()
        group = path_numbers(points)
        return group is not None and are_apart(points, group)

    def _coordinates(self) -> Array:
        """Rows as points whose distances can be compared: F as it is, x and fields over their spread."""
        if self.F is None:
            assert self.x is not None
            return _over_spread(self.x)
        F = self.F.reshape(len(self), -1)
        if self.fields is None:
            return F
        return np.concatenate([F, _over_spread(self.fields) * np.linalg.norm(F.std(axis=0))], axis=1)

    def digest(self) -> str:
        """A hash of the data, for provenance: the same rows in the same order give the same 16 hexadecimal digits."""
        return digest_of({name: getattr(self, name) for name in ARRAYS}, self.group)


def checked_deformations(value: Any) -> Array:
    """Deformation gradients F (n, 2, 2) or (n, 3, 3), finite and with det F > 0, as a read-only array.

    Raises InvalidInputError: naming the row at fault.
    """
    F = _rows("F", value, 3)
    if F.shape[1:] not in ((2, 2), (3, 3)):
        raise InvalidInputError(f"F has shape {F.shape}; it needs (n, 2, 2) or (n, 3, 3).")
    with np.errstate(over="ignore", invalid="ignore"):
        J = np.linalg.det(F)
    possible = (J > 0.0) & np.isfinite(J)
    if not possible.all():
        row = int(np.argmin(possible))
        raise InvalidInputError(
            f"F in row {row} has determinant {J[row]:.6g}; it must be positive and finite. F = {F[row].tolist()}."
        )
    return F


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


def _over_spread(values: Array) -> Array:
    spread = values.std(axis=0)
    return values / np.where(spread > 0.0, spread, np.inf)
