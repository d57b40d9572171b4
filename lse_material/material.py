"""A material: a potential of a strain measure, W(F) = potential(x(F)) + growth(J), with P = dW/dF and A = dP/dF."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from lse_material.checks import Array, deformation_gradients, expect_shape, float_array, frozen
from lse_material.errors import InvalidInputError
from lse_material.growth import Growth
from lse_material.kinematics import Kinematics, cofactor, positive_determinant
from lse_material.network import CHUNK
from lse_material.potential import SoftMinimum

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, eq=False)
class TrainingBox:
    """The smallest box that holds every x the fit has seen: `lower` and `upper`, each (d,)."""

    lower: Array
    upper: Array

    def __post_init__(self) -> None:
        for name in ("lower", "upper"):
            object.__setattr__(self, name, frozen(float_array(f"training_box {name}", getattr(self, name), 1)))
        expect_shape("training_box upper", self.upper, self.lower.shape)
        if (self.lower > self.upper).any():
            raise InvalidInputError(f"training_box is empty: lower {self.lower}, upper {self.upper}.")

    def excess(self, x: Array) -> Array:
        """How far x (..., d) lies outside, as a share of the box's width, largest component; 0 inside: (...)."""
        width = np.maximum(self.upper - self.lower, np.finfo(float).tiny)
        with np.errstate(over="ignore"):  # outside a box without width: infinitely far
            result: Array = np.maximum(np.maximum(self.lower - x, x - self.upper) / width, 0.0).max(axis=-1)
        return result


@dataclass(frozen=True, eq=False)
class Material:
    """A hyperelastic material with a trained multi-well energy.

    Attributes:
        potential: W as a function of x; its `size` must be that of `kinematics`.
        kinematics: the strain measure x(F); 2D is plane strain.
        growth: optional term that sends W to infinity as J -> 0.
        units: quantity -> unit, as text, for people: {"energy": "MPa"}.
        training_box: where x was seen by the fit, if known.
        provenance: anything JSON can hold: package version, date, data hash, errors.

    Raises:
        InvalidInputError: potential and strain measure do not fit together.
    """

    potential: SoftMinimum
    kinematics: Kinematics
    growth: Growth | None = None
    units: Mapping[str, str] = field(default_factory=dict)
    training_box: TrainingBox | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, kind in (("potential", SoftMinimum), ("kinematics", Kinematics)):
            if not isinstance(getattr(self, name), kind):
                raise InvalidInputError(f"{name} is a {type(getattr(self, name)).__name__}, not a {kind.__name__}.")
        if self.potential.size != self.kinematics.size:
            raise InvalidInputError(
                f"the potential has {self.potential.size} inputs, but {type(self.kinematics).__name__} in "
                f"{self.kinematics.dim}D gives {self.kinematics.size}: choose the strain measure it was trained with."
            )
        if self.training_box is not None and self.training_box.lower.shape != (self.potential.size,):
            raise InvalidInputError(
                f"training_box has {self.training_box.lower.size} components; the potential has {self.potential.size}."
            )

    @property
    def dim(self) -> int:
        """2 (plane strain) or 3."""
        return self.kinematics.dim

    @property
    def rho(self) -> float:
        """Transition scale in energy units."""
        return self.potential.transition_scale

    @property
    def modes(self) -> int:
        """Number of modes."""
        return len(self.potential.modes)

    def evaluate(self, F: Any) -> MaterialValues:
        """Everything at F (n, dim, dim) from one pass through the network: what solvers call.

        Stress and tangent are finished when asked for. Where W is not defined (J <= 0 with a growth term or invariants,
        NaN in F) the values are NaN, so that a solver can step back. Memory grows with n; `energy`, `stress` and
        `tangent` work through chunks.
        """
        return MaterialValues(self, deformation_gradients(F, self.dim).reshape(-1, self.dim, self.dim))

    def energy(self, F: Any) -> Array:
        """W per reference volume, energy units: F (..., dim, dim) -> (...).

        Raises:
            InvalidInputError: an F with det F <= 0 (named), or of the wrong shape.
        """
        return self._by_chunks(F, (), lambda values: values.energy)

    def stress(self, F: Any) -> Array:
        """First Piola-Kirchhoff stress P = dW/dF: F (..., dim, dim) -> (..., dim, dim). Raises as `energy`."""
        return self._by_chunks(F, (self.dim,) * 2, lambda values: values.stress)

    def tangent(self, F: Any) -> Array:
        """A = dP/dF, index [..., i, J, k, L]: F (..., dim, dim) -> (..., dim, dim, dim, dim). Raises as `energy`."""
        return self._by_chunks(F, (self.dim,) * 4, lambda values: values.tangent)

    def mode_weights(self, F: Any) -> Array:
        """Phase fractions, rows sum to 1: F (..., dim, dim) -> (..., K). Raises as `energy`."""
        return self._by_chunks(F, (self.modes,), lambda values: values.mode_weights)

    def save(self, path: str | Path) -> None:
        """Write the material to one .safetensors file; see `lse_material.storage`."""
        from lse_material.storage import save

        save(self, path)

    def _by_chunks(self, F: Any, shape: tuple[int, ...], pick: Callable[[MaterialValues], Array]) -> Array:
        array = deformation_gradients(F, self.dim)
        flat = array.reshape(-1, self.dim, self.dim)
        determinant = positive_determinant(flat)
        if np.isnan(determinant).any():
            _refuse_deformation(flat, int(np.argmax(np.isnan(determinant))))
        result = np.empty((len(flat), *shape))
        for start in range(0, len(flat), CHUNK):
            result[start : start + CHUNK] = pick(MaterialValues(self, flat[start : start + CHUNK]))
        return result.reshape((*array.shape[:-2], *shape))


class MaterialValues:
    """A material at one batch of deformation gradients (n, dim, dim); arrays as `Material` returns them."""

    def __init__(self, material: Material, F: Array) -> None:
        self._material, self._F = material, F
        self.strain: Array = material.kinematics.strain(F)
        self._potential = material.potential.evaluate(self.strain)

    @property
    def mode_weights(self) -> Array:
        """(n, K)."""
        return self._potential.mode_weights

    @cached_property
    def energy(self) -> Array:
        """(n,)."""
        growth = self._material.growth
        return self._potential.energy + (growth.energy(self._F) if growth else 0.0)

    @cached_property
    def _derivative(self) -> Array:
        derivative = self._material.kinematics.derivative(self._F)
        return derivative.reshape(len(self._F), self._material.potential.size, self._material.dim**2)

    @cached_property
    def stress(self) -> Array:
        """(n, dim, dim)."""
        growth = self._material.growth
        stress = (self._potential.gradient[:, None, :] @ self._derivative).reshape(self._F.shape)
        return stress + growth.stress(self._F) if growth else stress

    @cached_property
    def tangent(self) -> Array:
        """(n, dim, dim, dim, dim)."""
        growth, kinematics = self._material.growth, self._material.kinematics
        material = np.swapaxes(self._derivative, 1, 2) @ self._potential.hessian @ self._derivative
        tangent = material.reshape(len(self._F), *(kinematics.dim,) * 4)
        tangent = tangent + kinematics.geometric(self._F, self._potential.gradient)
        return tangent + growth.tangent(self._F) if growth else tangent


def _refuse_deformation(F: Array, i: int) -> NoReturn:
    where = f"the deformation gradient at point {i} of {len(F)}, {F[i].tolist()},"
    if not np.isfinite(F[i]).all():
        raise InvalidInputError(f"{where} is not finite: a displacement before it was NaN or has overflowed.")
    raise InvalidInputError(
        f"{where} has determinant {np.vdot(F[i, 0], cofactor(F[i : i + 1])[0, 0]):.6g}: it must be positive (the "
        "material may not be turned inside out). Check the order of its components."
    )
