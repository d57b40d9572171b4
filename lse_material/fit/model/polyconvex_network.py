"""Convex networks that do not decrease in some of their inputs: polyconvex modes of the measures that say in which.

Weights of these inputs are positive in every layer, and the quadratic term reads the other inputs alone (J - 1, of the
invariants of `lse_material.model.invariants`). The result is written as convex networks: nothing but the signs of their weights
says that they are polyconvex (`ConvexNetwork.monotone_inputs`), so that no file can contradict itself.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import ParameterList

from lse_material._arrays import Array
from lse_material.errors import InvalidInputError
from lse_material.fit.model.constraints import Reference
from lse_material.fit.model.convex_network import TrainableNetworks, inverse_softplus, softplus, zeros
from lse_material.fit.model.trainable import MODES
from lse_material.fit.options import Architecture


class TrainablePolyconvex(TrainableNetworks):
    """A trainable soft minimum of modes that do not decrease in `constraints.monotone`; arguments as `TrainablePotential`.

    Raises InvalidInputError: the constraints do not say in which inputs.
    """

    layered: ClassVar[bool] = False  # an affine function with any slope cannot be added
    mode_type: ClassVar[str] = "PolyconvexNetwork"

    @classmethod
    def adapted(cls, architecture: Architecture) -> Architecture:
        """The architecture itself."""
        return architecture

    @property
    def monotone(self) -> Tensor:
        """Whether modes must not decrease in each input, (d,)."""
        assert self.constraints.monotone is not None
        return self.constraints.monotone

    def set_up(self, architecture: Architecture, size: int) -> None:  # noqa: D102
        if self.constraints.monotone is None:
            raise InvalidInputError(
                "a PolyconvexNetwork needs a strain measure that says in which inputs modes must not decrease: "
                "PrincipalInvariants, TransverseInvariants, OrthotropicInvariants or CubicInvariants, say."
            )
        k, free = architecture.count, int((~self.monotone).sum())
        widths = [architecture.width] * architecture.depth + [1]
        self.x_weights_raw = ParameterList([zeros(k, n, size) for n in widths])
        self.set_up_output(architecture)
        self.quadratic_of_free = zeros(k, free, free) if architecture.quadratic and free else None

    @property
    def x_weights(self) -> list[Tensor]:
        """Weights of the inputs, not negative where modes must not decrease."""
        return [torch.where(self.monotone, softplus(raw), raw) for raw in self.x_weights_raw]

    @property
    def quadratic(self) -> Tensor | None:  # type: ignore[override]
        """The quadratic term, of the other inputs."""
        if self.quadratic_of_free is None:
            return None
        k, free, _ = self.quadratic_of_free.shape
        wide = torch.zeros(k, self.size, self.size, dtype=torch.float64)
        where = torch.nonzero(~self.monotone)[:, 0]
        return wide.index_put((torch.arange(k)[:, None, None], where[:free, None], where), self.quadratic_of_free)

    def start(self, centres: Array, energies: Array, rng: np.random.Generator) -> None:
        """Neurons that bend near the centre; the free inputs have no slope there."""
        for raw, bias in zip(self.x_weights_raw, self.biases):
            weight = torch.tensor(rng.standard_normal(tuple(raw.shape)) / np.sqrt(self.size))
            raw.copy_(torch.where(self.monotone, inverse_softplus(weight.abs()), weight))
            hinge = torch.tensor(centres[:, None] + 0.7 * rng.standard_normal((len(centres), raw.shape[1], self.size)))
            bias.copy_(-(torch.where(self.monotone, weight.abs(), weight) * hinge).sum(2))
        self.start_z_weights(rng)
        if self.quadratic_of_free is not None:
            free = self.quadratic_of_free
            free.copy_(0.7 * torch.eye(free.shape[1]).expand_as(free))
        at, own = torch.tensor(centres), torch.arange(len(centres))
        self.x_weights_raw[-1][:, 0] -= torch.where(self.monotone, 0.0, self.trained_modes(at)[1][own, own])
        self.biases[-1][:, 0] += torch.tensor(energies) - self.trained_modes(at)[0][own, own]

    def stiffening(self) -> tuple[Tensor, Tensor]:
        """Linear where modes must not decrease, which grows with the square of F as the invariants do."""
        return self.monotone.double(), (~self.monotone).double()

    def lost(self, gradient: Tensor, reference: Reference) -> Tensor:
        """What gradients must lose, nowhere more than 0 where modes must not decrease.

        The inputs among these that have a derivative at the reference have opposite ones, with sum zero: adding the same to all
        makes no stress.
        """
        lost, unit = super().lost(gradient, reference), self.constraints.unit
        assert unit is not None
        stressed = self.monotone & (reference.projector.diagonal(dim1=1, dim2=2) > 1e-12)
        more = torch.where(stressed, unit, 0.0)
        if float((more.unsqueeze(1) @ reference.projector).abs().max()) > 1e-9 * float(more.max()):
            raise InvalidInputError(
                "stress_free is not known of polyconvex modes with this strain measure: at F = I the derivatives of the inputs "
                "in which modes must not decrease need the sum 0."
            )
        lost = lost - more * torch.where(stressed, lost / unit, 0.0).amax(1, keepdim=True).clamp(min=0.0)
        return torch.where(self.monotone, lost.clamp(max=0.0), lost)

    def read(self, modes: Sequence[Any]) -> None:  # noqa: D102
        plain = TrainableNetworks(self.architecture, self.size)
        with torch.no_grad():
            plain.read(modes)
            for raw, weight in zip(self.x_weights_raw, plain.x_weights):
                raw.copy_(torch.where(self.monotone, inverse_softplus(weight), weight))
            for own, theirs in zip([*self.biases, *self.raw_z_weights], [*plain.biases, *plain.raw_z_weights]):
                own.copy_(theirs)
            if self.quadratic_of_free is not None and plain.quadratic is not None:
                of_free = plain.quadratic[:, :, ~self.monotone]
                self.quadratic_of_free.copy_(torch.linalg.qr(of_free)[1])
        self.masks = {n: m for n, m in plain.masks.items() if n.startswith("raw_z_weights")} | self.masks_of_states()


MODES[TrainablePolyconvex.mode_type] = TrainablePolyconvex
