"""Design networks in torch: convex networks whose weights depend on parameters, batched along a first axis.

A mode has one set of weights behind its neurons, or two, which its first input t weighs by 1 - t and t: the second axis.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter

from lse_material._arrays import Array
from lse_material.errors import InvalidInputError
from lse_material.fit.model.convex_network import activation
from lse_material.fit.model.trainable import MODES, TrainablePotential
from lse_material.fit.options import Architecture
from lse_material.model.design_network import DesignNetwork
from lse_material.model.interpolated_design import OF_ENDS, InterpolatedDesign
from lse_material.model.mode import Mode

RESTRAINT = 0.01  # lattice cells that are left out are missed by 8.9 % with it, and by 11.1 % without
BY_DESIGN = ("bias", "z_root", "slope", "level", "quadratic")  # of weights by 1, by the parameters, by the features
NAMES = ("feature_weight", "feature_bias", "x_weight", "bias", "z_root", "slope", "level", "quadratic")


class TrainableDesign(TrainablePotential):
    """A trainable soft minimum of design networks; arguments as `TrainablePotential`."""

    written_out: ClassVar[bool] = True

    @classmethod
    def adapted(cls, architecture: Architecture) -> Architecture:
        """The architecture without layers that discovery could leave out: a mode has one, always."""
        return replace(architecture, depth=0)

    def set_up(self, architecture: Architecture, size: int) -> None:  # noqa: D102
        k, n, m, e = architecture.count, architecture.width, architecture.design, self.outputs
        r = architecture.features
        d, q = size - self.temperatures - m, 1 + m + r
        rows = d if architecture.quadratic else 0
        shapes = ((r, m), (r,), (n, d), (n, q), (e, n, q), (e, d, q), (e, q), (e, rows, d, q))
        for name, shape in zip(NAMES, shapes):
            setattr(self, name, Parameter(torch.zeros(k, *shape, dtype=torch.float64)))

    def weights(self) -> dict[str, Tensor]:
        """All weights as they act, by name."""
        # getattr: they are tensors, where weights are substituted
        return {name: self.acting(name, getattr(self, name)) for name in NAMES}

    def features(self, x: Tensor) -> Tensor:
        """Phi (K, n, q) of the modes at xh (n, d)."""
        p, w = x[:, self.temperatures :][:, : self.architecture.design], self.weights()
        value = _feature(p @ w["feature_weight"].transpose(1, 2) + w["feature_bias"].unsqueeze(1))[0]
        given = torch.cat([torch.ones_like(p[:, :1]), p], dim=1)
        return torch.cat([given.expand(len(value), *given.shape), value], dim=2)

    def leave_out(self, group: Mapping[str, Tensor]) -> None:
        """Leave weights out; features that are then constant go over into the weights by 1."""
        with torch.no_grad():
            for name, gone in group.items():
                self.masks[name] = self.mask(name) * ~gone
                self.get_parameter(name).mul_(self.masks[name])
            first = 1 + self.architecture.design
            constant = self.mask("feature_weight").sum(2) == 0.0  # (K, r)
            value = _feature(self.feature_bias)[0] * constant
            for name in BY_DESIGN:
                weight, mask = self.get_parameter(name), self.mask(name).clone()
                row = [len(constant), *(1,) * (weight.ndim - 2), -1]
                weight[..., 0] += (weight[..., first:] * value.reshape(row)).sum(-1)
                mask[..., first:] *= ~constant.reshape(row)
                weight.mul_(mask)
                self.masks[name] = mask

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:  # noqa: D102
        m, k, w = self.architecture.design, self.architecture.count, self.weights()
        shares, x = self.shares(x).expand(k, -1, self.outputs).unsqueeze(3), x[..., self.temperatures :]
        p, x = x[..., :m].expand(k, -1, m), x[..., m:].expand(k, -1, x.shape[-1] - m)
        features, steep, _ = _feature(p @ w["feature_weight"].transpose(1, 2) + w["feature_bias"].unsqueeze(1))
        phi = torch.cat([torch.ones_like(p[..., :1]), p, features], dim=2)
        z, dz, _ = activation(
            self.architecture.activation, x @ w["x_weight"].transpose(1, 2) + phi @ w["bias"].transpose(1, 2)
        )
        z_root, slopes, quadratic = w["z_root"].flatten(1, 2), w["slope"].flatten(1, 2), w["quadratic"].flatten(1, 3)
        v = (phi @ z_root.transpose(1, 2)).unflatten(2, w["z_root"].shape[1:3])  # (K, n, outputs, neurons)
        slope = (phi @ slopes.transpose(1, 2)).unflatten(2, w["slope"].shape[1:3])
        root = (phi @ quadratic.transpose(1, 2)).unflatten(2, (-1, x.shape[2]))  # (K, n, outputs rows, d)
        y = (root @ x.unsqueeze(3)).squeeze(3).unflatten(2, w["quadratic"].shape[1:3])
        ends = (v * v * z.unsqueeze(2)).sum(3) + (slope * x.unsqueeze(2)).sum(3)
        ends = ends + phi @ w["level"].transpose(1, 2) + 0.5 * (y * y).sum(3)  # (K, n, outputs)
        f, of_y = (v * v * shares).sum(2), (y * shares).flatten(2)
        along = (f * dz) @ w["x_weight"] + (slope * shares).sum(2) + (of_y.unsqueeze(2) @ root).squeeze(2)
        by_phi = (2.0 * v * z.unsqueeze(2) * shares).flatten(2) @ z_root + (f * dz) @ w["bias"]
        by_phi = by_phi + (x.unsqueeze(2) * shares).flatten(2) @ slopes + shares.squeeze(3) @ w["level"]
        by_phi = by_phi + (of_y.unsqueeze(3) * x.unsqueeze(2)).flatten(2) @ quadratic
        by_p = by_phi[..., 1 : 1 + m] + (by_phi[..., 1 + m :] * steep) @ w["feature_weight"]
        by_t = ends[..., 1:] - ends[..., :1]
        return (ends * shares.squeeze(3)).sum(2), torch.cat([by_t, by_p, along], dim=2)

    def by_weights(self, x: Tensor) -> dict[str, Tensor]:
        """Each number below stands with its derivatives in the inputs, value first, along the third axis."""
        m, (d, k), w = self.architecture.design, (self.size, self.architecture.count), self.weights()
        x, first, e = x.expand(k, -1, d), self.temperatures, self.outputs
        inputs = torch.cat([x.unsqueeze(2), torch.eye(d, dtype=torch.float64).expand(*x.shape, d)], dim=2)
        t, p, y = inputs[..., :first], inputs[..., first : first + m], inputs[..., first + m :]
        z_root, slope, flat = w["z_root"].flatten(1, 2), w["slope"].flatten(1, 2), w["quadratic"].flatten(1, 3)

        def linear(a: Tensor, weight: Tensor) -> Tensor:
            return a @ weight.unsqueeze(1).transpose(2, 3)

        a = linear(p, w["feature_weight"])
        a[:, :, 0] += w["feature_bias"].unsqueeze(1)
        value, slopes, curvature = _feature(a[:, :, 0])
        steep, one = _function(a, slopes, curvature), torch.zeros_like(p[..., :1])
        one[:, :, 0] = 1.0
        shares = torch.cat([one - t, t], dim=3) if first else one

        def weighed(number: Tensor) -> Tensor:
            """Numbers of each set, (..., outputs, any), by their share."""
            return _product(number, shares.unsqueeze(4)) if first else number

        phi = torch.cat([one, p, _function(a, value, slopes)], dim=3)
        u, v = linear(y, w["x_weight"]) + linear(phi, w["bias"]), linear(phi, z_root).unflatten(3, (e, -1))
        value, slopes, curvature = activation(self.architecture.activation, u[:, :, 0])
        by_u = _product(_product(weighed(v), v).sum(3), _function(u, slopes, curvature))
        by_v = 2.0 * _product(weighed(v), _function(u, value, slopes).unsqueeze(3)).flatten(3)
        root = linear(phi, flat).unflatten(3, self.quadratic.shape[1:4])
        of_rows = weighed(_product(root, y[..., None, None, :]).sum(5)).unsqueeze(5)
        by_root = _product(of_rows, y[..., None, None, :]).flatten(3)
        of_x = weighed(y.unsqueeze(3)).flatten(3)
        by_phi = linear(by_v, z_root.transpose(1, 2)) + linear(by_u, w["bias"].transpose(1, 2))
        by_phi += linear(of_x, slope.transpose(1, 2)) + linear(by_root, flat.transpose(1, 2))
        by_phi += linear(shares, w["level"].transpose(1, 2))
        by_a = _product(by_phi[..., 1 + m :], steep)
        factors = {"feature_weight": (by_a, p), "x_weight": (by_u, y), "bias": (by_u, phi), "z_root": (by_v, phi)}
        factors |= {"slope": (of_x, phi), "quadratic": (by_root, phi), "level": (shares, phi)}
        blocks = {name: _product(b.unsqueeze(4), a.unsqueeze(3)).flatten(3) for name, (b, a) in factors.items()}
        return {**blocks, "feature_bias": by_a}

    def restraints(self) -> dict[str, Tensor]:
        """`RESTRAINT` for the weights by which the modes depend on the design."""
        result = {name: torch.full_like(self.get_parameter(name), RESTRAINT) for name in BY_DESIGN}
        for each in result.values():
            each[..., 0] = 0.0
        return result

    def start(self, centres: Array, energies: Array, rng: np.random.Generator) -> None:  # noqa: D102
        m, d, k, n = self.architecture.design, self.x_weight.shape[2], self.architecture.count, self.architecture.width
        first = self.size - d  # of the inputs that the modes are convex in
        weight = rng.standard_normal((k, n, d)) / math.sqrt(d)
        hinge = centres[:, None, first:] + 0.7 * rng.standard_normal((k, n, d))
        self.feature_weight.copy_(torch.tensor(rng.standard_normal(self.feature_weight.shape) / math.sqrt(m)))
        self.feature_bias.copy_(torch.tensor(rng.standard_normal(self.feature_bias.shape)))
        self.x_weight.copy_(torch.tensor(weight))
        for name in ("bias", "z_root", "slope", "level"):
            parameter = self.get_parameter(name)
            parameter.copy_(0.05 * torch.tensor(rng.standard_normal(parameter.shape)))
        self.bias[:, :, 0] = torch.tensor(-(weight * hinge).sum(axis=2))
        wanted = np.abs(rng.standard_normal((k, self.outputs, n))) * 0.5 / n + 0.05
        self.z_root[..., 0] = torch.tensor(np.sqrt(wanted))
        self.quadratic.copy_(0.03 * torch.tensor(rng.standard_normal(self.quadratic.shape)))
        self.quadratic[..., 0] += 0.7 * torch.eye(d, dtype=torch.float64)[: self.quadratic.shape[2]]
        at, diagonal = torch.tensor(centres), torch.arange(k)
        gradient = self.trained_modes(at)[1][diagonal, diagonal]
        self.slope[..., 0] -= gradient[:, None, first:]
        if self.temperatures:
            self.level[:, 1, 0] -= gradient[:, 0]
        self.level[:, :, 0] += (torch.tensor(energies) - self.trained_modes(at)[0][diagonal, diagonal]).unsqueeze(1)

    def written(self) -> tuple[Mode, ...]:  # noqa: D102
        arrays = {name: each.detach().numpy() for name, each in self.weights().items()}
        options, modes = {"activation": self.architecture.activation}, []
        for k in range(self.architecture.count):
            ends = [
                DesignNetwork.from_tensors({n: a[k, e] if n in OF_ENDS else a[k] for n, a in arrays.items()}, options)
                for e in range(self.outputs)
            ]
            mode = InterpolatedDesign(*ends) if self.temperatures else ends[0]
            modes.append(mode.trimmed() if self.masks else mode)
        return tuple(modes)

    @classmethod
    def architecture_of(cls, modes: Sequence[Any]) -> Architecture:  # noqa: D102
        ends = [end for mode in modes for end in mode.ends]
        width, quadratic = max(len(end.x_weight) for end in ends), any(len(end.quadratic) for end in ends)
        first, features = modes[0], max(len(end.feature_bias) for end in ends)
        of_type = {"mode_type": first.type, "design": first.design, "features": features}
        return Architecture(len(modes), width, 0, first.activation, quadratic, **of_type)

    def read(self, modes: Sequence[Any]) -> None:
        """Take the weights of design networks; neurons, features and rows that one lacks are without effect.

        Weights by the design that are zero stay so: a mode does not come to depend on what it has not depended on.
        """
        for (k, mode), e, name in product(enumerate(modes), range(self.outputs), NAMES):
            array, parameter = getattr(mode.ends[e], name), self.get_parameter(name)
            into = parameter[k, e] if name in OF_ENDS else parameter[k]
            if any(own > there for own, there in zip(array.shape, into.shape)):
                raise InvalidInputError(
                    f"mode {k} has {name} of shape {array.shape}; a trainable potential takes at most {tuple(into.shape)}."
                )
            into[tuple(slice(0, own) for own in array.shape)] = torch.tensor(np.array(array))
        for name in (*BY_DESIGN, "feature_weight"):
            mask = (self.get_parameter(name) != 0.0).to(torch.float64)
            if name in BY_DESIGN:
                mask[..., 0] = 1.0
            if not mask.all():
                self.masks[name] = mask


def _feature(v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The feature of `lse_material.model.design_network.feature`, its slope and its second derivative."""
    root = torch.sqrt(1.0 + v * v)
    return root, v / root, 1.0 / root**3


def _function(a: Tensor, value: Tensor, slope: Tensor) -> Tensor:
    """f(a) with its derivatives, of numbers with theirs, (K, n, 1 + d, ...), from f and its slope at the values."""
    return torch.cat([value.unsqueeze(2), slope.unsqueeze(2) * a[:, :, 1:]], dim=2)


def _product(a: Tensor, b: Tensor) -> Tensor:
    """The product of numbers with their derivatives, (K, n, 1 + d, ...)."""
    result = a * b[:, :, :1]
    result[:, :, 1:] += a[:, :, :1] * b[:, :, 1:]
    return result


class TrainableInterpolatedDesign(TrainableDesign):
    """A trainable soft minimum of interpolated design networks; arguments as `TrainablePotential`."""

    temperatures: ClassVar[int] = 1


MODES[DesignNetwork.type] = TrainableDesign
MODES[InterpolatedDesign.type] = TrainableInterpolatedDesign
