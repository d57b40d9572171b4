"""Strains from several natural states: mode k reads x(F U_k^-1), as a variant of martensite does."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from lse_material._arrays import Array, float_array
from lse_material.errors import InvalidInputError
from lse_material.model.strain import StrainMeasure, strain_measure_from_dict


@dataclass(frozen=True)
class NaturalStates(StrainMeasure):
    """The components of a measure at F U_1^-1, then at F U_2^-1, and so on: x_k = x(F U_k^-1), one block for each state.

    In a fit mode k reads block k alone and is free of stress at U_k, so that there are as many modes as states;
    `lse.fit.fit_states` finds the U_k. By hand `mode.reading(states.block(k), states.size)` makes such a mode. So W(F) is the
    soft minimum of psi_k(F U_k^-1), psi_k the energy of variant k about its own lattice: K. Bhattacharya, Microstructure of
    Martensite, Oxford University Press 2003. Guarantees: objective if the measure is; a mode is polyconvex in F where psi_k is
    so in F U_k^-1, on which F, cof F and J depend linearly. The axes of the measure are those of variant k. The number of
    inputs grows with that of states: prefer `symmetry=` for many variants.

    Attributes:
        measure: x, of this package; 2D or 3D.
        stretches: the U_k, symmetric and positive definite, or any matrix with a positive determinant.

    Raises:
        InvalidInputError: no stretches, or one of another shape or without a positive determinant.

    >>> variants = [np.diag([1.1, 0.9]), np.diag([0.9, 1.1])]
    >>> states = lse.NaturalStates(2, lse.PrincipalInvariants(2), variants)
    >>> states.strain(np.diag([1.1, 0.9])[None])[:, states.block(0)]
    array([[0., 0.]])
    """

    measure: StrainMeasure
    stretches: tuple[tuple[tuple[float, ...], ...], ...]
    is_tensor: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        measure: Any = self.measure
        if isinstance(measure, dict):
            measure = strain_measure_from_dict(measure)
        if not isinstance(measure, StrainMeasure) or measure.dim != self.dim or isinstance(measure, NaturalStates):
            raise InvalidInputError(f"the measure of natural states is {measure!r}; it must be one of {self.dim}D.")
        stretches = float_array("stretches", self.stretches, 3)
        if len(stretches) == 0 or stretches.shape[1:] != (self.dim, self.dim):
            raise InvalidInputError(
                f"stretches has shape {stretches.shape}; it needs (states, {self.dim}, {self.dim})."
            )
        if not (np.linalg.det(stretches) > 0.0).all():
            raise InvalidInputError(f"the stretches {stretches.tolist()} must have positive determinants.")
        object.__setattr__(self, "measure", measure)
        object.__setattr__(self, "stretches", tuple(tuple(map(tuple, U)) for U in stretches.tolist()))
        object.__setattr__(self, "objective", measure.objective)

    @property
    def size(self) -> int:  # noqa: D102
        return len(self.stretches) * self.measure.size

    @property
    def labels(self) -> tuple[str, ...]:  # noqa: D102
        return tuple(f"{label}, {k + 1}" for k in range(len(self.stretches)) for label in self.measure.labels)

    @property
    def monotone_inputs(self) -> tuple[int, ...] | None:  # noqa: D102
        own, d = self.measure.monotone_inputs, self.measure.size
        return None if own is None else tuple(k * d + i for k in range(len(self.stretches)) for i in own)

    def components(self, F: Any) -> Sequence[Any]:  # noqa: D102
        inverses = np.linalg.inv(np.array(self.stretches))
        return [x for V in inverses for x in self.measure.components(F @ V)]

    def to_dict(self) -> dict[str, Any]:  # noqa: D102
        return {**super().to_dict(), "measure": self.measure.to_dict()}

    def block(self, k: int) -> list[int]:
        """The components of state k."""
        d = self.measure.size
        return list(range(k * d, (k + 1) * d))

    def blocks(self) -> Array:
        """1 where mode k reads a component, (states, size)."""
        return np.repeat(np.eye(len(self.stretches)), self.measure.size, axis=1)
