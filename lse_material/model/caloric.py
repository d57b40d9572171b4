"""A caloric term: the free energy that a heat capacity of its own adds, whatever the strain."""

from dataclasses import dataclass
from typing import Any

from lse_material._arrays import positive
from lse_material.model.hyperdual import log


@dataclass(frozen=True)
class Caloric:
    """-heat_capacity (T ln(T / reference) - T + reference): zero, with its derivative, at T = reference, concave in T > 0.

    Attributes:
        heat_capacity: of a unit of volume at constant strain, > 0, in energy units per unit of T.
        reference: the absolute temperature, > 0, at which the term and its entropy vanish.

    Raises:
        InvalidInputError: one of them is not a positive finite number.

    >>> float(lse.Caloric(2.0, 300.0).energy(np.array(330.0)).round(4))
    -2.9047
    """

    heat_capacity: float
    reference: float

    def __post_init__(self) -> None:
        for name in ("heat_capacity", "reference"):
            object.__setattr__(self, name, positive(f"caloric {name}", getattr(self, name)))

    def energy(self, T: Any) -> Any:
        """The term at an absolute temperature, a scalar of any kind or an array."""
        return self.heat_capacity * (T - self.reference - T * log(T / self.reference))

    def derivative(self, T: Any) -> Any:
        """Its derivative in T, minus its entropy."""
        return -self.heat_capacity * log(T / self.reference)

    def second_derivative(self, T: Any) -> Any:
        """Its second derivative in T."""
        return -self.heat_capacity / T

    def to_dict(self) -> dict[str, Any]:
        """Type and parameters, for the file."""
        return {"type": "Caloric", "heat_capacity": self.heat_capacity, "reference": self.reference}
