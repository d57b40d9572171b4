"""Modes that are sums over fibres and of the volume, for lattices of beams; written as convex networks.

    psi(E, J) = sum_j z_j softplus(+- n_j.E n_j + b_j) + sum_i z_i softplus(v_i (J - 1) + b_i) + an affine function,    z >= 0

n.E n is the strain of a fibre along n. A general neuron reads any combination of strain components, and data on few load paths
do not say which. A fibre has a direction and a stiffness only; with the symmetry of the cell it stands for all its images. The
modes grow linearly in E, as the stiffness of a beam in tension levels off.
"""

from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from lse_material._arrays import Array
from lse_material.errors import InvalidInputError
from lse_material.fit.model.convex_network import TrainableNetworks, zeros
from lse_material.fit.model.trainable import MODES
from lse_material.fit.options import Architecture
from lse_material.model.strain import MANDEL, GreenLagrange, SmallStrain, StrainAndVolume, StrainMeasure

DIM_AND_SCALARS = {3: (2, 0), 4: (2, 1), 6: (3, 0), 7: (3, 1)}  # by the number of inputs: a strain, and J - 1 beside it
SHARE = 3  # one neuron of so many reads the volume, and one of so many others grows as its fibre shortens


class TrainableFibres(TrainableNetworks):
    """A trainable soft minimum of sums over fibres; arguments as `TrainablePotential`.

    Raises InvalidInputError: the inputs are not those of `GreenLagrange`, `SmallStrain` or `StrainAndVolume`.
    """

    layered: ClassVar[bool] = False  # its weights depend on each other: none is pruned by itself

    @classmethod
    def adapted(cls, architecture: Architecture) -> Architecture:
        """The architecture with one hidden layer of softplus, and no quadratic term."""
        return replace(architecture, depth=1, activation="softplus", quadratic=False)

    @classmethod
    def expect_inputs(cls, kinematics: StrainMeasure | None, inputs: int, seen: int) -> None:  # noqa: D102
        of_strain = isinstance(kinematics, GreenLagrange | SmallStrain | StrainAndVolume)
        if kinematics is None or not of_strain or inputs != kinematics.size:
            name, fields = type(kinematics).__name__, inputs - (kinematics.size if kinematics else 0)
            raise InvalidInputError(
                "FibreNetwork reads a strain, or StrainAndVolume, without fields beside it; these data have "
                + (f"{fields} of them." if of_strain else f"inputs of {name}." if kinematics else f"{inputs} inputs x.")
            )
        if seen < inputs:
            raise InvalidInputError(
                "FibreNetwork reads the whole strain, and the data have a shear that is 0 in all rows: take StrainAndVolume, "
                "which leaves none out."
            )

    def set_up(self, architecture: Architecture, size: int) -> None:  # noqa: D102
        if size not in DIM_AND_SCALARS:
            raise InvalidInputError(
                f"FibreNetwork reads a strain, or StrainAndVolume, without fields beside it; these data have {size} inputs."
            )
        self.dim, scalars = DIM_AND_SCALARS[size]
        k, width = architecture.count, architecture.width
        of_volume = width // SHARE if scalars else 0
        self.fibres, self.volume = zeros(k, width - of_volume, self.dim), zeros(k, of_volume, scalars)
        self.volume.requires_grad_(of_volume > 0)
        self.affine = zeros(k, 1, size)
        super().set_up_output(architecture)
        self.quadratic = None
        sign = np.where(np.arange(width - of_volume) % SHARE == SHARE - 1, -1.0, 1.0)
        self.sign = torch.tensor(sign)[:, None]

    @property
    def unit(self) -> Tensor:
        """Units of the inputs, (d,)."""
        unit = self.constraints.unit
        return torch.ones(self.size, dtype=torch.float64) if unit is None else unit

    @property
    def x_weights(self) -> list[Tensor]:
        """Weights of the hidden layer in scaled inputs, from fibres and volume, and those of the affine function."""
        n, root2 = self.fibres, float(np.sqrt(2.0))
        dyads = torch.stack([n[..., a] * n[..., b] * (1.0 if a == b else root2) for a, b in MANDEL[self.dim]], dim=-1)
        strains = dyads.shape[-1]
        dyads = torch.nn.functional.pad(self.sign * dyads * self.unit[:strains], (0, self.size - strains))
        return [torch.cat([dyads, torch.nn.functional.pad(self.volume, (strains, 0))], dim=1), self.affine]

    def start(self, centres: Array, energies: Array, rng: np.random.Generator) -> None:  # noqa: D102
        fibres = rng.standard_normal(tuple(self.fibres.shape))
        fibres /= np.linalg.norm(fibres, axis=2, keepdims=True) * np.sqrt(float(self.unit[: self.dim].max()))
        self.fibres.copy_(torch.tensor(fibres))
        self.volume.copy_(torch.tensor(rng.standard_normal(tuple(self.volume.shape))))
        at_centre = (self.x_weights[0] @ torch.tensor(centres)[:, :, None])[:, :, 0]
        self.biases[0].copy_(0.7 * torch.tensor(rng.standard_normal(tuple(at_centre.shape))) - at_centre)
        self.start_output(centres, energies, rng)


MODES["FibreNetwork"] = TrainableFibres
