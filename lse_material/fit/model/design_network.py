"""Design networks in torch: convex networks whose weights depend on parameters, batched along a first axis."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter

from lse_material._arrays import Array
from lse_material.errors import InvalidInputError
from lse_material.fit.model.trainable import MODES, TrainablePotential
from lse_material.fit.options import Architecture
from lse_material.model.activations import ACTIVATIONS
from lse_material.model.design_network import DesignNetwork

FEATURES = 4  # of the parameters, beside 1 and themselves
RESTRAINT = 0.01  # lattice cells that are left out are missed by 8.9 % with it, and by 11.1 % without
BY_DESIGN = ("bias", "z_root", "slope", "level", "quadratic")  # of weights by 1, by the parameters, by the features
NAMES = ("feature_weight", "feature_bias", "x_weight", "bias", "z_root", "slope", "level", "quadratic")


class TrainableDesign(TrainablePotential):
    """A trainable soft minimum of design networks; arguments as `TrainablePotential`."""

    @classmethod
    def adapted(cls, architecture: Architecture) -> Architecture:
        """The architecture without layers that discovery could leave out: a mode has one, always."""
        return replace(architecture, depth=0)

    def set_up(self, architecture: Architecture, size: int) -> None:  # noqa: D102
        k, n, m, r = architecture.count, architecture.width, architecture.design, FEATURES
        d, q = size - m, 1 + m + r
        rows = d if architecture.quadratic else 0
        shapes = ((r, m), (r,), (n, d), (n, q), (n, q), (d, q), (q,), (rows, d, q))
        for name, shape in zip(NAMES, shapes):
            setattr(self, name, Parameter(torch.zeros(k, *shape, dtype=torch.float64)))

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:  # noqa: D102
        m, k = self.architecture.design, self.architecture.count
        p, x = x[..., :m].expand(k, -1, m), x[..., m:].expand(k, -1, self.size - m)
        features, steep = _feature(p @ self.feature_weight.transpose(1, 2) + self.feature_bias.unsqueeze(1))
        phi = torch.cat([torch.ones_like(p[..., :1]), p, features], dim=2)
        a = x @ self.x_weight.transpose(1, 2) + phi @ self.bias.transpose(1, 2)
        act, s, t = (
            ACTIVATIONS[self.architecture.activation],
            torch.nn.functional.softplus(a, threshold=40.0),
            torch.sigmoid(a),
        )
        z, dz = act.value(s), act.slope(s, t)
        v = phi @ self.z_root.transpose(1, 2)
        f, df = v * v, 2.0 * v
        slope = phi @ self.slope.transpose(1, 2)
        root = (phi @ self.quadratic.flatten(1, 2).transpose(1, 2)).unflatten(2, self.quadratic.shape[1:3])  # (K,n,i,d)
        y = (root @ x.unsqueeze(3)).squeeze(3)
        energy = (f * z).sum(2) + (slope * x).sum(2) + (phi @ self.level.unsqueeze(2)).squeeze(2) + 0.5 * (y * y).sum(2)
        along = (f * dz) @ self.x_weight + slope + (y.unsqueeze(2) @ root).squeeze(2)
        by_phi = (df * z) @ self.z_root + (f * dz) @ self.bias + x @ self.slope + self.level.unsqueeze(1)
        yx = (y.unsqueeze(3) * x.unsqueeze(2)).flatten(2)  # (K, n, i d)
        by_phi = by_phi + yx @ self.quadratic.flatten(1, 2)
        by_p = by_phi[..., 1 : 1 + m] + (by_phi[..., 1 + m :] * steep) @ self.feature_weight
        return energy, torch.cat([by_p, along], dim=2)

    def restraint(self) -> Tensor:
        """1 + `RESTRAINT` times the squares of the weights by which the modes depend on the design."""
        squares = [(self.get_parameter(name)[..., 1:] ** 2).sum() for name in BY_DESIGN]
        return 1.0 + RESTRAINT * torch.stack(squares).sum()

    def start(self, centres: Array, energies: Array, rng: np.random.Generator) -> None:  # noqa: D102
        m, d, k, n = self.architecture.design, self.x_weight.shape[2], self.architecture.count, self.architecture.width
        weight = rng.standard_normal((k, n, d)) / math.sqrt(d)
        hinge = centres[:, None, m:] + 0.7 * rng.standard_normal((k, n, d))
        self.feature_weight.copy_(torch.tensor(rng.standard_normal(self.feature_weight.shape) / math.sqrt(m)))
        self.feature_bias.copy_(torch.tensor(rng.standard_normal(self.feature_bias.shape)))
        self.x_weight.copy_(torch.tensor(weight))
        for name in ("bias", "z_root", "slope", "level"):
            parameter = self.get_parameter(name)
            parameter.copy_(0.05 * torch.tensor(rng.standard_normal(parameter.shape)))
        self.bias[:, :, 0] = torch.tensor(-(weight * hinge).sum(axis=2))
        wanted = np.abs(rng.standard_normal((k, n))) * 0.5 / n + 0.05
        self.z_root[:, :, 0] = torch.tensor(np.sqrt(wanted))
        self.quadratic.copy_(0.03 * torch.tensor(rng.standard_normal(self.quadratic.shape)))
        self.quadratic[:, :, :, 0] += 0.7 * torch.eye(d, dtype=torch.float64)[: self.quadratic.shape[1]]
        at, diagonal = torch.tensor(centres), torch.arange(k)
        self.slope[:, :, 0] -= self.trained_modes(at)[1][diagonal, diagonal, m:]
        self.level[:, 0] += torch.tensor(energies) - self.trained_modes(at)[0][diagonal, diagonal]

    def written(self) -> tuple[DesignNetwork, ...]:  # noqa: D102
        arrays = {name: self.get_parameter(name).detach().numpy() for name in NAMES}
        options, count = {"activation": self.architecture.activation}, self.architecture.count
        return tuple(
            DesignNetwork.from_tensors({name: arrays[name][k] for name in NAMES}, options) for k in range(count)
        )

    @classmethod
    def architecture_of(cls, modes: Sequence[Any]) -> Architecture:  # noqa: D102
        width, first = max(len(mode.x_weight) for mode in modes), modes[0]
        quadratic = any(len(mode.quadratic) for mode in modes)
        return Architecture(
            len(modes), width, 0, first.activation, quadratic, mode_type=first.type, design=first.design
        )

    def read(self, modes: Sequence[Any]) -> None:
        """Take the weights of design networks; neurons, features and rows that one lacks are without effect."""
        for k, mode in enumerate(modes):
            for name in NAMES:
                array, parameter = getattr(mode, name), self.get_parameter(name)
                if any(own > there for own, there in zip(array.shape, parameter.shape[1:])):
                    raise InvalidInputError(
                        f"mode {k} has {name} of shape {array.shape}; a trainable potential takes at most "
                        f"{tuple(parameter.shape[1:])}."
                    )
                parameter[(k, *(slice(0, own) for own in array.shape))] = torch.tensor(np.array(array))


def _feature(v: Tensor) -> tuple[Tensor, Tensor]:
    """The feature of `lse_material.model.design_network.feature` and its slope."""
    root = torch.sqrt(1.0 + v * v)
    return root, v / root


MODES[DesignNetwork.type] = TrainableDesign
