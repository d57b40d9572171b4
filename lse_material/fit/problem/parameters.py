"""Parameters among the inputs of a fit, a temperature or designs: ranges, caloric term, and the order of the inputs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Literal

import numpy as np

from lse_material._arrays import Array
from lse_material.data.observations import Observations
from lse_material.data.samples import Samples
from lse_material.errors import InvalidInputError
from lse_material.fit.options import Architecture
from lse_material.model.caloric import Caloric
from lse_material.model.convex_network import ConvexNetwork
from lse_material.model.design_network import DesignNetwork
from lse_material.model.interpolated_design import InterpolatedDesign
from lse_material.model.interpolated_network import InterpolatedNetwork
from lse_material.model.material import Material, potential_of
from lse_material.model.soft_minimum import SoftMinimum


@dataclass(frozen=True)
class Temperature:
    """A scalar that each mode is affine in, and convex in the strain at every value of: fit(parameters={"T": Temperature()}).

    A modulus may fall with it, and W is concave in it, as a Helmholtz energy is. The range is where modes are convex; data
    must lie within.

    Attributes:
        lower: end of the range; the lowest value in the data if left out.
        upper: end of the range; the highest value in the data if left out.
        heat_capacity: of a caloric term (see `lse_material.Caloric`) that the energies of the data hold; "auto" fits it. None
            if the energies hold none.
        reference: the absolute temperature of the caloric term; `lower` if left out.

    Raises:
        InvalidInputError: the range is empty, or a value is no number.

    >>> lse.fit.Temperature(280.0, 400.0, heat_capacity="auto").upper
    400.0
    """

    lower: float | None = None
    upper: float | None = None
    heat_capacity: float | Literal["auto"] | None = None
    reference: float | None = None

    def __post_init__(self) -> None:
        for name in ("lower", "upper", "heat_capacity", "reference"):
            value = getattr(self, name)
            if value is None or (name == "heat_capacity" and isinstance(value, str) and value == "auto"):
                continue
            if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
                raise InvalidInputError(f"Temperature.{name} is {value!r}; it must be a number or None.")
        if self.lower is not None and self.upper is not None and not self.lower < self.upper:
            raise InvalidInputError(f"the range of a Temperature is {self.lower} to {self.upper}: it is empty.")

    def of_data(self, values: Array, name: str) -> Temperature:
        """The same with the range and the reference that the data give where they are left out.

        Raises:
            InvalidInputError: a row lies outside the range, or all have the same value.
        """
        lower = float(values.min()) if self.lower is None else float(self.lower)
        upper = float(values.max()) if self.upper is None else float(self.upper)
        if not lower < upper:
            raise InvalidInputError(
                f"{name} is {lower:g} in all rows: give more temperatures, or the range by Temperature(lower, upper)."
            )
        slack = 1e-9 * (upper - lower)
        outside = (values < lower - slack) | (values > upper + slack)
        if outside.any():
            row = int(np.argmax(outside))
            raise InvalidInputError(
                f"{name} in row {row} is {values[row]:g}, outside its range, {lower:g} to {upper:g}."
            )
        result = Temperature(lower, upper, self.heat_capacity, lower if self.reference is None else self.reference)
        result.caloric  # noqa: B018  (raises where the term is not possible)
        return result

    @property
    def caloric(self) -> Caloric | None:
        """The caloric term, of heat capacity 1 where it is to be fitted; None without."""
        if self.heat_capacity is None:
            return None
        assert self.lower is not None
        assert self.reference is not None
        if not self.lower > 0.0:
            raise InvalidInputError(f"a caloric term needs absolute temperatures; the range begins at {self.lower:g}.")
        return Caloric(1.0 if self.heat_capacity == "auto" else self.heat_capacity, self.reference)


@dataclass(frozen=True)
class Design:
    """A scalar that the weights of each mode depend on smoothly, in any way: fit(parameters={"porosity": Design()}).

    Modes are convex in the strain at every value of it. Where data are sparse in it, what lies between is a guess.

    >>> parameters = {"porosity": lse.fit.Design()}
    """


Parameters = Mapping[str, Temperature | Design]


def declared(
    parameters: Parameters | None,
    samples: Samples | Observations,
    start: Material | SoftMinimum | None,
    periods: Sequence[float | None] | None,
) -> tuple[Samples | Observations, Temperature | None, int]:
    """The samples with the parameters as their first inputs, the temperature among them, and the number of designs.

    Raises InvalidInputError: there are no such inputs, or a parameter is of no known kind, or they do not go together.
    """
    parameters = dict(parameters or {})
    if isinstance(start, Material) and isinstance(samples, Samples) and samples.field_names:
        samples = samples.with_fields(start.fields)
    if start is not None:
        parameters |= _of_start(start, parameters)
    if not parameters:
        return samples, None, 0
    if periods is not None:
        raise InvalidInputError("periods and parameters do not go together: modes know either, not both.")
    temperatures = [name for name, each in parameters.items() if isinstance(each, Temperature)]
    if len(temperatures) > 1 or not all(isinstance(each, (Temperature, Design)) for each in parameters.values()):
        raise InvalidInputError(
            f"parameters are {parameters!r}; they take one lse.fit.Temperature at most, and lse.fit.Design as many as there "
            "are, by their names."
        )
    names = (*temperatures, *(name for name in parameters if name not in temperatures))
    if isinstance(samples, Observations):
        raise InvalidInputError("observations are of one material: fit samples of F with fields for parameters.")
    if samples.x is not None:
        wanted = tuple(f"x{i + 1}" for i in range(len(names)))
        if names != wanted or len(names) >= samples.x.shape[1]:
            raise InvalidInputError(
                f"parameters of samples of x are its first inputs, {list(wanted)}, a temperature the first of them, "
                f"not {list(names)}."
            )
        values = samples.x[:, 0]
    else:
        missing = [name for name in names if name not in samples.field_names]
        if missing:
            raise InvalidInputError(
                f"the samples have no field {missing[0]!r}; their fields are {list(samples.field_names)}. Read it by "
                f'read_samples(path, fields=["{missing[0]}"]), or give fields= and field_names= to Samples.'
            )
        samples = samples.with_fields((*names, *(other for other in samples.field_names if other not in names)))
        assert samples.fields is not None
        values = samples.fields[:, 0]
    first = parameters[names[0]]
    temperature = first.of_data(values, names[0]) if isinstance(first, Temperature) else None
    return samples, temperature, len(names) - len(temperatures)


def _of_start(start: Material | SoftMinimum, given: Parameters) -> dict[str, Temperature]:
    """The temperature of an earlier fit, with its caloric term unless another is given.

    Raises InvalidInputError: a parameter is given that is none there, or as another kind, or with another range.
    """
    potential = potential_of(start)
    names = start.fields if isinstance(start, Material) else [f"x{i + 1}" for i in range(potential.size)]
    kinds = dict(zip(names, potential.kinds))
    for name, each in given.items():
        if kinds.get(name, "") != type(each).__name__.lower():
            raise InvalidInputError(
                f"a fit from `start` keeps its parameters, and {name} is not the {type(each).__name__} of any: its inputs are "
                f"{kinds}. Leave `parameters` out."
            )
    term, result = start.caloric if isinstance(start, Material) else None, {}
    for k, name in enumerate(names):
        if kinds[name] != "temperature" or not (given or isinstance(start, Material)):
            continue
        new, lower = given.get(name, Temperature()), float(potential.input_shift[k])
        assert isinstance(new, Temperature)
        upper = lower + float(potential.input_scale[k])
        ends = [own if wanted is None else wanted for own, wanted in ((lower, new.lower), (upper, new.upper))]
        if np.abs(np.subtract(ends, (lower, upper))).max() > 1e-9 * (upper - lower):
            raise InvalidInputError(
                f"the modes of `start` are convex for {name} from {lower:g} to {upper:g}: leave its range out of `parameters`."
            )
        new = replace(new, lower=lower, upper=upper)
        if term is not None and new.heat_capacity is None:
            new = replace(new, heat_capacity=term.heat_capacity)
        if term is not None and new.reference is None:
            new = replace(new, reference=term.reference)
        result[name] = new
    return result


def architecture_of(architecture: Architecture | None, temperature: Temperature | None, designs: int) -> Architecture:
    """The architecture whose modes know of the parameters, if there are any.

    Raises InvalidInputError: its mode type does not.
    """
    architecture = architecture or Architecture()
    of_parameters = InterpolatedNetwork.type, DesignNetwork.type, InterpolatedDesign.type
    if temperature is None and designs == 0:
        if architecture.mode_type in of_parameters:
            raise InvalidInputError(
                f"modes of the type {architecture.mode_type} need the names of parameters: fit(..., parameters=)."
            )
        return replace(architecture, design=0)
    kind = of_parameters[0 if designs == 0 else 1 if temperature is None else 2]
    if architecture.mode_type not in (ConvexNetwork.type, kind):
        raise InvalidInputError(f"modes of the type {architecture.mode_type} cannot depend on parameters; {kind} can.")
    return replace(architecture, mode_type=kind, design=designs)
