"""A material: a potential of a strain measure, W(F) = potential(x(F)) + growth(J), with P = dW/dF and A = dP/dF.

W may depend on further scalars, `fields`: W(f, F) = potential(f, x(F)) + growth(J) + caloric(T). Each has a conjugate dW/df (a
chemical potential, minus an entropy). What a field is follows from the modes, which are convex in it and the strain together
(a concentration), or affine in it over a range (a temperature): see `Material.kinds`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NoReturn

import numpy as np

from lse_material._arrays import Array, deformation_gradients, field_names, float_array, points
from lse_material.errors import InvalidInputError
from lse_material.model.box import Box
from lse_material.model.caloric import Caloric
from lse_material.model.growth import Growth
from lse_material.model.mode import CHUNK
from lse_material.model.soft_minimum import SoftMinimum, expect_origin, expect_part
from lse_material.model.strain import StrainMeasure, cofactor, positive_determinant
from lse_material.model.symmetry import Symmetry

ROUNDING = 1e-9  # of a range, or of its ends, by which a value may lie outside


@dataclass(frozen=True, eq=False)
class Material:
    """A hyperelastic material with a trained multi-well energy.

    Attributes:
        potential: W as a function of x, or of the fields and x, in this order.
        kinematics: the strain measure x(F); 2D is plane strain.
        growth: optional term that sends W to infinity as J -> 0.
        units: quantity -> unit, as text, for people: {"energy": "MPa"}.
        training_box: where x was seen by the fit, if known.
        provenance: anything JSON can hold: package version, date, data hash, errors.
        fields: names of the scalars that W depends on beside the strain, in the order of the potential's first inputs.
        symmetry: point group of the potential, and the part of it that each mode has, where a fit gave it one.
        caloric: what a heat capacity adds to W, where one of the fields is an absolute temperature.

    Raises:
        InvalidInputError: potential, fields and strain measure do not fit together.

    >>> material.stress(1.1 * np.eye(2)).round(4)  # P of a biaxial stretch
    array([[0.462, 0.   ],
           [0.   , 0.462]])
    >>> material.mode_weights(np.diag([1.1, 0.9]) ** 0.5).round(6)  # in a well
    array([1., 0.])
    """

    potential: SoftMinimum
    kinematics: StrainMeasure
    growth: Growth | None = None
    units: Mapping[str, str] = field(default_factory=dict)
    training_box: Box | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    fields: tuple[str, ...] = ()
    symmetry: Symmetry | None = None
    caloric: Caloric | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "fields", field_names(self.fields))
        for name, kind in (("potential", SoftMinimum), ("kinematics", StrainMeasure)):
            if not isinstance(getattr(self, name), kind):
                raise InvalidInputError(f"{name} is a {type(getattr(self, name)).__name__}, not a {kind.__name__}.")
        if self.growth is not None and type(self.growth) is not Growth:
            raise InvalidInputError(
                f"growth is a {type(self.growth).__name__}; a material takes a Growth or None (a subclass would be compiled "
                "and saved as its parent)."
            )
        if self.potential.size != len(self.fields) + self.kinematics.size:
            beside = f", beside the fields {', '.join(self.fields)}" if self.fields else ""
            raise InvalidInputError(
                f"the potential has {self.potential.size} inputs, but {type(self.kinematics).__name__} in "
                f"{self.kinematics.dim}D gives {self.kinematics.size}{beside}: choose the strain measure it was trained with."
            )
        expect_part("symmetry", self.symmetry, Symmetry, self.potential.size)
        expect_origin(self, self.potential.size)
        if self.caloric is not None:
            self._check_caloric()

    def _check_caloric(self) -> None:
        if type(self.caloric) is not Caloric:
            raise InvalidInputError(f"caloric is a {type(self.caloric).__name__}; a material takes a Caloric or None.")
        if len(self.ranges) != 1:
            raise InvalidInputError(
                f"a caloric term is of one temperature; the fields are {self.kinds or 'none'}. It needs modes that are affine "
                "in one of them: lse.InterpolatedNetwork."
            )
        ((name, (lower, _)),) = self.ranges.items()
        if lower <= 0.0:
            raise InvalidInputError(f"a caloric term needs absolute temperatures, > 0; {name} begins at {lower:g}.")

    @property
    def kinds(self) -> dict[str, str]:
        """What each field is: "convex" (modes are so in it and x), "temperature" (affine in it, convex in x), or "design"."""
        return dict(zip(self.fields, self.potential.kinds))

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """Between which values of each temperature the modes are known to be convex in x."""
        shift, scale = self.potential.input_shift, self.potential.input_scale
        of_temperature = [k for k, kind in enumerate(self.kinds.values()) if kind == "temperature"]
        return {self.fields[k]: (float(shift[k]), float(shift[k] + scale[k])) for k in of_temperature}

    def temperature(self, what: str) -> int:
        """Which of the fields is the temperature.

        Raises:
            InvalidInputError: none of them is, or several are, and `what` is of one.
        """
        if len(self.ranges) != 1:
            raise InvalidInputError(
                f"{what} is of a material with one temperature; the fields here are {self.kinds or 'none'}."
            )
        return self.fields.index(next(iter(self.ranges)))

    @property
    def polyconvex_modes(self) -> tuple[int, ...]:
        """The modes that are polyconvex at any fields by the signs of their weights, see `StrainMeasure.monotone_inputs`.

        >>> mode = lse.ConvexNetwork.from_arrays([], [[[1.0, 0.0]]], [[0.0]], quadratic=[[0.0, 2.0]])
        >>> lse.Material(lse.SoftMinimum((mode,), 1.0), lse.PrincipalInvariants(2)).polyconvex_modes
        (0,)
        """
        first, needed = len(self.fields), self.kinematics.monotone_inputs
        if needed is None:
            return ()
        strains = set(range(first, self.potential.size))
        return tuple(
            k
            for k, mode in enumerate(self.potential.modes)
            if {first + i for i in needed} <= set(mode.monotone_inputs) and strains <= set(mode.convex_inputs)
        )

    @property
    def is_polyconvex(self) -> bool:
        """Whether every mode is polyconvex by the signs of its weights."""
        return len(self.polyconvex_modes) == self.modes

    @property
    def dim(self) -> int:
        """2 (plane strain) or 3."""
        return self.kinematics.dim

    @property
    def transition_scale(self) -> float:
        """Transition scale in energy units."""
        return self.potential.transition_scale

    @property
    def modes(self) -> int:
        """Number of modes."""
        return len(self.potential.modes)

    def at(self, fields: Any = None, *, extrapolate: bool = False, **named: float) -> Material:
        """The material where fields have these values: an ordinary one of F, or one of F and of the fields that are not named.

        Args:
            fields: values of all fields, in their order.
            extrapolate: whether a design outside the data, which the training box knows, is taken.
            named: values of all or of some fields by name instead.

        Raises:
            InvalidInputError: it has no fields, or others; a temperature is outside its range, or a design outside the data; or
                a mode can fix these only together with others.

        >>> ends = [lse.ConvexNetwork.from_arrays([], [np.zeros((1, 3))], [[0.0]], quadratic=c * np.eye(3)) for c in (3.0, 2.0)]
        >>> potential = lse.SoftMinimum((lse.InterpolatedNetwork(*ends),), 1.0, [300.0, 0, 0, 0], [100.0, 1, 1, 1])
        >>> softening = lse.Material(potential, lse.SmallStrain(2), fields=("T",))  # stiffness 9 at 300 K, 4 at 400 K
        >>> softening.at(T=320.0).stress(np.diag([1.1, 1.0]))[0, 0].round(12)
        0.8
        """
        fixed = self._named_values(fields, named)
        self.check_fields(fixed, extrapolate=extrapolate)
        held = [self.fields.index(name) for name in fixed]
        potential = self.potential.holding(dict(zip(held, fixed.values())))
        caloric, box, before = self.caloric, self.training_box, self.provenance.get("fields fixed")
        if caloric is not None:
            name = self.fields[self.temperature("a caloric term")]
            if name in fixed:
                potential = replace(potential, energy_shift=potential.energy_shift + float(caloric.energy(fixed[name])))
                caloric = None
        return Material(
            potential,
            self.kinematics,
            self.growth,
            self.units,
            None if box is None else box.without(held),
            {**self.provenance, "fields fixed": {**(before if isinstance(before, Mapping) else {}), **fixed}},
            tuple(name for name in self.fields if name not in fixed),
            None if self.symmetry is None else self.symmetry.without(len(held)),  # it leaves all fields as they are
            caloric,
        )

    def _named_values(self, fields: Any, named: Mapping[str, float]) -> dict[str, float]:
        """The values that fields are held at, by name."""
        unknown = sorted(set(named) - set(self.fields))
        if unknown or (fields is None) == (not named) or any(value is None for value in named.values()):
            raise InvalidInputError(
                f"the fields are {list(self.fields)}; one value each is needed in this order, or values by name; "
                f"{sorted(named)} are named."
            )
        values = float_array("fields", list(named.values()) if fields is None else fields, 1)
        names = tuple(named) if fields is None else self.fields
        if not names or len(values) != len(names):
            raise InvalidInputError(f"{len(values)} values for the fields {list(self.fields)}: one each is needed.")
        return dict(zip(names, values.tolist()))

    def check_fields(self, values: Mapping[str, float], *, extrapolate: bool = False) -> None:
        """Check values of some fields, by name.

        Raises:
            InvalidInputError: one is not finite, a temperature outside its range, or a design outside the data; see `at`.
        """
        box = self.training_box
        for name, value in values.items():
            if not np.isfinite(value):
                raise InvalidInputError(f"{name} is {value}; it must be finite.")
            k = self.fields.index(name)
            if name in self.ranges:
                (lower, upper), where, advice = self.ranges[name], "its range", ""
            elif self.kinds[name] == "design" and box is not None and not extrapolate:
                lower, upper, where = float(box.lower[k]), float(box.upper[k]), "the data of the fit"
                advice = (
                    f": what is said there is extrapolation, which `at({name}={value:g}, extrapolate=True)` permits"
                )
            else:
                continue
            off = ROUNDING * max(upper - lower, abs(lower), abs(upper))
            if not lower - off <= value <= upper + off:
                raise InvalidInputError(f"{name} = {value:g} is outside {where}, {lower:g} to {upper:g}{advice}.")

    def without_fields(self, what: str) -> Material:
        """The material itself if W depends on F alone; `what` names the caller in the error.

        Raises:
            InvalidInputError: it has fields.
        """
        if self.fields:
            raise InvalidInputError(
                f"{what} takes materials of F alone, and this one also depends on {', '.join(self.fields)}: fix them by "
                "material.at(values), or use energy(material, F, fields=...) in a form."
            )
        return self

    def inputs(self, F: Any, fields: Any = None) -> Array:
        """What the potential is evaluated at, the fields and x(F): F (n, dim, dim), fields (n, m) or (m,) -> (n, d)."""
        array = deformation_gradients(F, self.dim).reshape(-1, self.dim, self.dim)
        return _inputs(self, array, _field_values(self, fields, array.shape[:1]))

    def evaluate(self, F: Any, fields: Any = None) -> MaterialValues:
        """Everything at F (n, dim, dim) from one pass through the network: what solvers call.

        Where W depends on fields too, these are (n, m) or (m,). Stress and tangent are finished when asked for. Where W is not
        defined (J <= 0 with a growth term or invariants, NaN in F) the values are NaN, so that a solver can step back. Memory
        grows with n; `energy`, `stress` and `tangent` work through chunks.
        """
        array = deformation_gradients(F, self.dim).reshape(-1, self.dim, self.dim)
        return MaterialValues(self, array, _field_values(self, fields, array.shape[:1]))

    def energy(self, F: Any, fields: Any = None) -> Array:
        """W per reference volume, energy units: F (..., dim, dim), fields (..., m) or (m,) if it has any -> (...).

        Raises:
            InvalidInputError: an F with det F <= 0 (named), or of the wrong shape; fields missing, or where there are none.
        """
        return self._by_chunks(F, fields, (), lambda values: values.energy)

    def conjugates(self, F: Any, fields: Any = None) -> Array:
        """dW/dfields, (..., m), of each field in its order. Arguments and errors as `energy`."""
        return self._by_chunks(F, fields, (len(self.fields),), lambda values: values.conjugates)

    def conjugates_by_fields(self, F: Any, fields: Any = None) -> Array:
        """d2W/dfields2, (..., m, m). Arguments and errors as `energy`."""
        return self._by_chunks(F, fields, (len(self.fields),) * 2, lambda values: values.conjugates_by_fields)

    def stress_by_fields(self, F: Any, fields: Any = None) -> Array:
        """dP/dfields, (..., dim, dim, m): what a field of its own adds to the stress. Arguments and errors as `energy`."""
        return self._by_chunks(F, fields, (self.dim, self.dim, len(self.fields)), lambda v: v.stress_by_fields)

    def entropy(self, F: Any, fields: Any = None) -> Array:
        """-dW/dT per reference volume, (...), of a material with one temperature. Arguments and errors as `energy`."""
        return -self.conjugates(F, fields)[..., self.temperature("an entropy")]

    def heat_capacity(self, F: Any, fields: Any = None) -> Array:
        """-T d2W/dT2 at constant strain, (...), >= 0 where T is absolute. Arguments and errors as `energy`."""
        k = self.temperature("a heat capacity")
        T = points("fields", fields, len(self.fields))[..., k]
        return -T * self.conjugates_by_fields(F, fields)[..., k, k]

    def stress(self, F: Any, fields: Any = None) -> Array:
        """First Piola-Kirchhoff stress P = dW/dF: F (..., dim, dim) -> (..., dim, dim). Raises as `energy`."""
        return self._by_chunks(F, fields, (self.dim,) * 2, lambda values: values.stress)

    def tangent(self, F: Any, fields: Any = None) -> Array:
        """A = dP/dF, index [..., i, J, k, L]: F (..., dim, dim) -> (..., dim, dim, dim, dim). Raises as `energy`."""
        return self._by_chunks(F, fields, (self.dim,) * 4, lambda values: values.tangent)

    def mode_weights(self, F: Any, fields: Any = None) -> Array:
        """Phase fractions, rows sum to 1: F (..., dim, dim) -> (..., K). Raises as `energy`."""
        return self._by_chunks(F, fields, (self.modes,), lambda values: values.mode_weights)

    def _by_chunks(self, F: Any, fields: Any, shape: tuple[int, ...], pick: Callable[[MaterialValues], Array]) -> Array:
        array = deformation_gradients(F, self.dim)
        flat = array.reshape(-1, self.dim, self.dim)
        values = _field_values(self, fields, array.shape[:-2])
        determinant = positive_determinant(flat)
        if np.isnan(determinant).any():
            _refuse_deformation(flat, int(np.argmax(np.isnan(determinant))))
        result = np.empty((len(flat), *shape))
        for start in range(0, len(flat), CHUNK):
            part = slice(start, start + CHUNK)
            result[part] = pick(MaterialValues(self, flat[part], values[part]))
        return result.reshape((*array.shape[:-2], *shape))


def potential_of(fitted: Material | SoftMinimum) -> SoftMinimum:
    """The potential of a material, or the potential itself. Raises InvalidInputError: it is neither."""
    potential = fitted.potential if isinstance(fitted, Material) else fitted
    if not isinstance(potential, SoftMinimum):
        raise InvalidInputError(f"a Material or a SoftMinimum is needed, not a {type(fitted).__name__}.")
    return potential


class MaterialValues:
    """A material at one batch of deformation gradients (n, dim, dim); arrays as `Material` returns them.

    Args:
        material: what is evaluated.
        F: (n, dim, dim).
        fields: (n, m).
        potential: what evaluates the material's potential in its place, compiled say.
    """

    def __init__(self, material: Material, F: Array, fields: Array, potential: Any = None) -> None:
        self._material, self._F, self._fields = material, F, fields
        self._first = len(material.fields)  # of the potential's inputs that are strains
        x = _inputs(material, F, fields)
        self.strain: Array = x[:, self._first :]
        self._potential = (potential or material.potential).evaluate(x)

    @property
    def mode_weights(self) -> Array:
        """(n, K)."""
        return self._potential.mode_weights

    @cached_property
    def energy(self) -> Array:
        """(n,)."""
        growth, caloric = self._material.growth, self._material.caloric
        energy = self._potential.energy + (growth.energy(self._F) if growth else 0.0)
        return energy + caloric.energy(self._temperature) if caloric else energy

    @property
    def _temperature(self) -> Array:
        return self._fields[:, self._material.temperature("a caloric term")]

    @cached_property
    def _derivative(self) -> Array:
        derivative = self._material.kinematics.derivative(self._F)
        return derivative.reshape(len(self._F), self._material.kinematics.size, self._material.dim**2)

    @cached_property
    def _slope(self) -> Array:
        """dW/dx."""
        return self._potential.gradient[:, self._first :]

    @property
    def conjugates(self) -> Array:
        """(n, m), dW/dfields."""
        result, caloric = self._potential.gradient[:, : self._first].copy(), self._material.caloric
        if caloric is not None:
            result[:, self._material.temperature("a caloric term")] += caloric.derivative(self._temperature)
        return np.asarray(result)

    @property
    def conjugates_by_fields(self) -> Array:
        """(n, m, m), d2W/dfields2."""
        result, caloric = self._potential.hessian[:, : self._first, : self._first].copy(), self._material.caloric
        if caloric is not None:
            k = self._material.temperature("a caloric term")
            result[:, k, k] += caloric.second_derivative(self._temperature)
        return np.asarray(result)

    @property
    def stress_by_fields(self) -> Array:
        """(n, dim, dim, m), dP/dfields."""
        mixed = self._potential.hessian[:, : self._first, self._first :] @ self._derivative
        return np.moveaxis(mixed.reshape(len(self._F), self._first, *self._F.shape[1:]), 1, -1)

    @cached_property
    def stress(self) -> Array:
        """(n, dim, dim)."""
        growth = self._material.growth
        stress = (self._slope[:, None, :] @ self._derivative).reshape(self._F.shape)
        return stress + growth.stress(self._F) if growth else stress

    @cached_property
    def tangent(self) -> Array:
        """(n, dim, dim, dim, dim)."""
        growth, kinematics = self._material.growth, self._material.kinematics
        hessian = self._potential.hessian[:, self._first :, self._first :]
        material = np.swapaxes(self._derivative, 1, 2) @ hessian @ self._derivative
        tangent = material.reshape(len(self._F), *(kinematics.dim,) * 4)
        tangent = tangent + kinematics.geometric(self._F, self._slope)
        return tangent + growth.tangent(self._F) if growth else tangent


def _field_values(material: Material, fields: Any, rows: tuple[int, ...]) -> Array:
    """Values of the fields at each F, (n, m): one for all or one for each."""
    m = len(material.fields)
    if fields is None:
        if m:
            raise InvalidInputError(
                f"W also depends on {', '.join(material.fields)}: give fields=, of shape (..., {m})."
            )
        return np.zeros((int(np.prod(rows)), 0))
    if m == 0:
        raise InvalidInputError("fields are given, but this material depends on F alone.")
    array = points("fields", fields, m)
    if array.shape not in ((m,), (*rows, m)):
        raise InvalidInputError(f"fields has shape {array.shape}; it needs ({m},), or {(*rows, m)} as F has.")
    return np.ascontiguousarray(np.broadcast_to(array, (*rows, m))).reshape(-1, m)


def _inputs(material: Material, F: Array, fields: Array) -> Array:
    """The fields and x(F), (n, d)."""
    x = material.kinematics.strain(F)
    return np.concatenate([fields, x], axis=1) if material.fields else x


def _refuse_deformation(F: Array, i: int) -> NoReturn:
    where = f"the deformation gradient at point {i} of {len(F)}, {F[i].tolist()},"
    if not np.isfinite(F[i]).all():
        raise InvalidInputError(f"{where} is not finite: a displacement before it was NaN or has overflowed.")
    raise InvalidInputError(
        f"{where} has determinant {np.vdot(F[i, 0], cofactor(F[i : i + 1])[0, 0]):.6g}: it must be positive (the "
        "material may not be turned inside out). Check the order of its components."
    )
