"""What a fitted potential obeys by construction: symmetry between its modes, and no stress at a reference point of all
modes, or of each mode in its natural state.

Both act in the scaled variables of a fit, xh = (x - shift)/scale, on energies and gradients of the modes that are trained.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lse_material._arrays import Array
from lse_material.model.natural_states import NaturalStates
from lse_material.model.strain import StrainMeasure
from lse_material.model.symmetry import Symmetry


@dataclass(frozen=True, eq=False)
class Orbit:
    """The variants of each mode: Psi_r(x) = mean over a in H of psi(a r^-1 x), see `lse_material.model.symmetry`."""

    maps: Tensor  # the elements a r^-1 of the group in scaled inputs, (c, h, d, d), for c variants; the identity is maps[0, 0]

    @classmethod
    def of(cls, symmetry: Symmetry, scale: Array) -> Orbit:
        """The orbit in inputs that are divided by `scale` (d,), about a point that the group leaves in place."""
        maps = np.stack([symmetry.maps_of(r) for r in range(len(symmetry.variants))])
        return cls(torch.tensor(maps * scale[None, :] / scale[:, None]))

    @property
    def variants(self) -> int:
        """Number of variants c of each mode."""
        return self.maps.shape[0]

    def images(self, x: Tensor) -> Tensor:
        """All images of the points x (n, d): (c h n, d)."""
        return torch.einsum("chij,nj->chni", self.maps, x).reshape(-1, x.shape[1])

    def modes(self, energy: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """From psi (K, c h n) and its gradient (K, c h n, d) at the images: energies (K c, n) and gradients (K c, n, d)."""
        k, (c, h, d, _) = len(energy), self.maps.shape
        psi = energy.reshape(k, c, h, -1).mean(2)
        gradient_of_modes = torch.einsum("kchni,chij->kcnj", gradient.reshape(k, c, h, -1, d), self.maps) / h
        return psi.reshape(k * c, -1), gradient_of_modes.reshape(k * c, -1, d)

    def home(self, x: Array) -> Array:
        """For each point x (n, d) the nearest of its images among those that a mode may have as its only minimum.

        These are the points that H leaves in place: the mean over H of a r^-1 x, for the variant r that moves it least.
        """
        maps = self.maps.numpy()
        single = np.einsum("cij,nj->cni", maps[:, 0], x)
        mean = np.einsum("cij,nj->cni", maps.mean(axis=1), x)
        nearest = ((single - mean) ** 2).sum(axis=2).argmin(axis=0)
        return mean[nearest, np.arange(len(x))]


@dataclass(frozen=True, eq=False)
class Reference:
    """A point where the gradient of the potential vanishes, or gives no stress; or one for each mode."""

    at: Tensor  # in scaled inputs, (m, d); m is 1, or the number of modes
    projector: Tensor  # onto the gradients that give a stress there, (m, d, d): the identity where x is a strain

    @classmethod
    def of(cls, x: Array, derivative: Array, shift: Array, scale: Array) -> Reference:
        """At x (m, d), where dx/dF is `derivative` (m, d, q)."""
        scaled = derivative / scale[:, None]
        return cls(torch.tensor((x - shift) / scale), torch.tensor(scaled @ np.linalg.pinv(scaled)))


@dataclass(frozen=True, eq=False)
class Constraints:
    """Both, or one, or none; the unit of each input (d,); and, (d,), in which polyconvex modes must not decrease, if known;
    and of natural states which inputs each mode reads, (K, d), and the state in which it has no stress.
    """

    orbit: Orbit | None = None
    reference: Reference | None = None
    unit: Tensor | None = None
    monotone: Tensor | None = None
    reads: Tensor | None = None
    rest: Reference | None = None

    @property
    def variants(self) -> int:
        """Number of modes that each trained one stands for."""
        return 1 if self.orbit is None else self.orbit.variants


def monotone_inputs(kinematics: StrainMeasure | None, size: int) -> Tensor | None:
    """In which of `size` inputs, the last of them those of the strain measure, polyconvex modes must not decrease: (d,).

    None where that is not known.
    """
    inputs = None if kinematics is None else kinematics.monotone_inputs
    if kinematics is None or inputs is None:
        return None
    result = torch.zeros(size, dtype=torch.bool)
    result[[size - kinematics.size + i for i in inputs]] = True
    return result


def of_states(kinematics: StrainMeasure | None, fields: int, shift: Array, scale: Array) -> dict[str, Any]:
    """`reads` and `rest` of natural states, in scaled inputs, the first of which are fields; nothing of other measures.

    With fields a state without stress is not defined.
    """
    if not isinstance(kinematics, NaturalStates):
        return {}
    U, reads = np.array(kinematics.stretches), kinematics.blocks()
    at, derivative = kinematics.strain(U), kinematics.derivative(U).reshape(*reads.shape, -1) * reads[:, :, None]
    derivative = np.concatenate([np.zeros((len(U), fields, derivative.shape[2])), derivative * (fields == 0)], axis=1)
    reads = np.concatenate([np.ones((len(reads), fields)), reads], axis=1)
    at = np.concatenate([np.tile(shift[:fields], (len(at), 1)), at], axis=1)
    return {"reads": torch.tensor(reads), "rest": Reference.of(at, derivative, shift, scale)}
