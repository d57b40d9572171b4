"""A growth term: energy that goes to infinity as the volume vanishes, added to what the network says."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from lse_material._arrays import Array, positive
from lse_material.model.hyperdual import HyperDual, log, sqrt, variables
from lse_material.model.strain import cofactor, determinant_second_derivative, positive_determinant


@dataclass(frozen=True)
class Growth:
    """coefficient * (J - 1 - ln J): zero, with its derivative, at J = 1, convex in J, infinite as J -> 0 (NaN where J <= 0).

    Attributes:
        coefficient: > 0, in energy units.

    Raises:
        InvalidInputError: the coefficient is not a positive finite number.

    >>> lse.Growth(2.0).energy(np.array([np.eye(2), 0.5 * np.eye(2)])).round(4)
    array([0.    , 1.2726])
    """

    coefficient: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "coefficient", positive("growth coefficient", self.coefficient))

    def of_volume(self, J: Any) -> Any:
        """The term as a function of J, a scalar of any kind; NaN with its derivatives where J < 0, as sqrt(J) is."""
        return self.coefficient * (J - 1.0 - 2.0 * log(sqrt(J)))

    def energy(self, F: Array) -> Array:
        """(n, dim, dim) -> (n,)."""
        return np.asarray(self.of_volume(positive_determinant(F)))

    def stress(self, F: Array) -> Array:
        """P: (n, dim, dim) -> (n, dim, dim)."""
        slope, _ = self._derivatives(F)
        return slope[:, None, None] * cofactor(F)

    def tangent(self, F: Array) -> Array:
        """dP/dF: (n, dim, dim) -> (n, dim, dim, dim, dim)."""
        slope, curvature = (values[:, None, None, None, None] for values in self._derivatives(F))
        dJ = cofactor(F)
        return np.asarray(curvature * np.einsum("niJ,nkL->niJkL", dJ, dJ) + slope * determinant_second_derivative(F))

    def _derivatives(self, F: Array) -> tuple[Array, Array]:
        """First and second derivative in J, (n,) each."""
        (J,) = variables([positive_determinant(F)], 2)
        number: HyperDual = self.of_volume(J)
        assert number.first is not None
        assert number.second is not None
        return number.first[0], number.second[0, 0]

    def to_dict(self) -> dict[str, Any]:
        """Type and parameters, for the file."""
        return {"type": "Growth", "coefficient": self.coefficient}
