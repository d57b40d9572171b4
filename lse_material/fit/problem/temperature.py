"""A temperature among the inputs of a fit: its range, its caloric term, and the order of the inputs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from lse_material._arrays import Array
from lse_material.data.observations import Observations
from lse_material.data.samples import Samples
from lse_material.errors import InvalidInputError
from lse_material.fit.options import Architecture
from lse_material.model.caloric import Caloric
from lse_material.model.convex_network import ConvexNetwork
from lse_material.model.interpolated_network import InterpolatedNetwork
from lse_material.model.material import Material
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
            if value is None or (name == "heat_capacity" and value == "auto"):
                continue
            if isinstance(value, (bool, str)) or not np.isreal(value) or not math.isfinite(value):
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


def declared(
    parameters: Mapping[str, Temperature] | None, samples: Samples | Observations, start: Material | SoftMinimum | None
) -> tuple[Samples | Observations, Temperature | None]:
    """The samples with the temperature as their first input, and its range; that of `start` goes on.

    Raises:
        InvalidInputError: there is no such input, or a parameter is no temperature, or there are several.
    """
    parameters = dict(parameters or {})
    if not parameters and isinstance(start, Material):
        for name, (lower, upper) in start.ranges.items():
            term = start.caloric
            parameters[name] = Temperature(lower, upper, *((term.heat_capacity, term.reference) if term else ()))
    if not parameters:
        return samples, None
    if len(parameters) > 1 or not all(isinstance(each, Temperature) for each in parameters.values()):
        raise InvalidInputError(f"parameters are {parameters!r}; they take one lse.fit.Temperature, by its name.")
    ((name, temperature),) = parameters.items()
    if isinstance(samples, Observations):
        raise InvalidInputError("observations are at one temperature: fit samples of F with a field for others.")
    if samples.x is not None:
        if name != "x1":
            raise InvalidInputError(
                f'a temperature {name!r} is not the first input of x: parameters={{"x1": Temperature()}}.'
            )
        return samples, temperature.of_data(samples.x[:, 0], name)
    if name not in samples.field_names:
        raise InvalidInputError(
            f"the samples have no field {name!r}; their fields are {list(samples.field_names)}. Read it from its column by "
            f'columns={{"field {name}": "{name}"}}, or give fields= and field_names= to Samples.'
        )
    samples = samples.with_fields((name, *(other for other in samples.field_names if other != name)))
    assert samples.fields is not None
    return samples, temperature.of_data(samples.fields[:, 0], name)


def architecture_of(architecture: Architecture, temperature: Temperature | None) -> Architecture:
    """The architecture whose modes know of a temperature, if there is one.

    Raises:
        InvalidInputError: its mode type does not.
    """
    known = (ConvexNetwork.type, InterpolatedNetwork.type)
    if temperature is None and architecture.mode_type != InterpolatedNetwork.type:
        return architecture
    if temperature is None:
        raise InvalidInputError(
            'modes of a temperature need its name: fit(..., parameters={"T": lse.fit.Temperature()}).'
        )
    if architecture.mode_type not in known:
        raise InvalidInputError(
            f"modes of the type {architecture.mode_type} cannot depend on a temperature; known are {known}."
        )
    return replace(architecture, mode_type=InterpolatedNetwork.type)
