"""One mode of a potential that depends on a temperature and on a design: it goes over from one design network to another.

    psi(t, p, x) = (1 - t) psi_0(p, x) + t psi_1(p, x)

It is convex in x for every t in [0, 1] and every p, and affine in t, as `lse_material.model.interpolated_network` has it; p may
act in any way, as `lse_material.model.design_network` has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from lse_material._arrays import Array
from lse_material.errors import InvalidInputError
from lse_material.model.convex_network import ConvexNetwork
from lse_material.model.design_network import DesignNetwork
from lse_material.model.interpolated_network import InterpolatedMode, InterpolatedNetwork, share_of_upper
from lse_material.model.mode import Mode, expect_some

SHARED = ("feature_weight", "feature_bias", "x_weight", "bias")  # of both ends: all up to the activations
OF_ENDS = ("z_root", "slope", "level", "quadratic")


@dataclass(frozen=True, eq=False)
class InterpolatedDesign(InterpolatedMode):
    """One mode: (1 - t) lower(p, x) + t upper(p, x) of the inputs (t, p, x).

    The two networks share features and neurons, so that the activations are those of one network. Networks with features or
    neurons of their own are put side by side.

    Attributes:
        lower: psi at t = 0.
        upper: psi at t = 1.

    Raises:
        InvalidInputError: the two differ in activation or in their numbers of parameters or of other inputs.

    >>> shapes = {"feature_weight": (0, 1), "feature_bias": 0, "x_weight": (0, 1), "bias": (0, 2), "z_root": (0, 2)}
    >>> none = {name: np.zeros(shape) for name, shape in shapes.items()}
    >>> none |= {"slope": [[0.0, 0.0]], "level": [0.0, 0.0]}
    >>> ends = [lse.DesignNetwork(**none, quadratic=[[root]]) for root in ([1.0, 2.0], [1.0, 0.0])]
    >>> lse.InterpolatedDesign(*ends).energy([0.5, 1.0, 1.0])  # ((1 - t) (1 + 2 p)^2 + t) x^2 / 2
    array(2.5)
    """

    lower: DesignNetwork
    upper: DesignNetwork

    end_type: ClassVar[type[Mode]] = DesignNetwork
    agreeing: ClassVar[dict[str, str]] = {"parameters": "design", **InterpolatedMode.agreeing}

    def __post_init__(self) -> None:
        super().__post_init__()
        if not all(np.array_equal(*(getattr(end, name) for end in self.ends)) for name in SHARED):
            for name, end in zip(("lower", "upper"), _side_by_side(*self.ends)):
                object.__setattr__(self, name, end)

    @property
    def design(self) -> int:
        """Number of parameters p."""
        return self.lower.design

    @property
    def read_inputs(self) -> tuple[int, ...]:
        """All inputs but the parameters that no weight of either end reads."""
        return (0, *sorted({1 + i for end in self.ends for i in end.read_inputs}))

    @property
    def by_design(self) -> dict[str, Array]:
        """The weights by parameters and features, of each tensor that has any."""
        lower, upper = (
            {name: each.reshape(-1, each.shape[-1]) for name, each in end.by_design.items()} for end in self.ends
        )
        return {name: each if name in SHARED else np.concatenate([each, upper[name]]) for name, each in lower.items()}

    def trimmed(self) -> InterpolatedDesign:
        """The same mode without features that act on nothing, and without neurons and quadratic rows of no weight."""
        features, neurons = (np.any([getattr(end, of) for end in self.ends], axis=0) for of in ("features", "neurons"))
        return InterpolatedDesign(*(end.with_only(features, neurons) for end in self.ends))

    def tensors(self) -> dict[str, Array]:  # noqa: D102
        lower, upper = (end.tensors() for end in self.ends)
        of_ends = {f"{name}.{k}": end[name] for k, end in enumerate((lower, upper)) for name in OF_ENDS}
        return {name: lower[name] for name in SHARED} | of_ends

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Array], options: Mapping[str, Any]) -> InterpolatedDesign:  # noqa: D102
        wanted = {*SHARED, *(f"{name}.{k}" for name in OF_ENDS for k in (0, 1))}
        if set(tensors) != wanted:
            raise InvalidInputError(f"its tensors are {sorted(tensors)}; those of a {cls.type} are {sorted(wanted)}.")
        shared = {name: tensors[name] for name in SHARED}
        ends = ({**shared, **{name: tensors[f"{name}.{k}"] for name in OF_ENDS}} for k in (0, 1))
        return cls(*(DesignNetwork.from_tensors(end, options) for end in ends))

    def holding(self, values: Mapping[int, float]) -> Mode:
        """A `DesignNetwork` where t is held, an `InterpolatedNetwork` where p is, a `ConvexNetwork` where both are.

        Raises:
            InvalidInputError: t is not between 0 and 1.
        """
        expect_some(values, self.size)
        rest = {i - 1: value for i, value in values.items() if i > 0}
        ends = [end.holding(rest) for end in self.ends] if rest else self.ends
        lower, upper = ends
        if isinstance(lower, ConvexNetwork) and isinstance(upper, ConvexNetwork):
            network = InterpolatedNetwork(lower, upper)
            return network.at([values[0]]) if 0 in values else network
        mode = InterpolatedDesign(*ends) if rest else self
        return _at_temperature(mode, share_of_upper(values[0])) if 0 in values else mode


def _at_temperature(mode: InterpolatedDesign, t: float) -> DesignNetwork:
    """(1 - t) (V_0 phi)^2.z + t (V_1 phi)^2.z are two squares, of each neuron twice; at an end of t it is one."""
    lower, upper, shares = mode.lower, mode.upper, (1.0 - t, t)
    both = replace(
        lower,
        x_weight=np.tile(lower.x_weight, (2, 1)),
        bias=np.tile(lower.bias, (2, 1)),
        z_root=np.concatenate([np.sqrt(share) * end.z_root for share, end in zip(shares, mode.ends)]),
        slope=shares[0] * lower.slope + t * upper.slope,
        level=shares[0] * lower.level + t * upper.level,
        quadratic=np.concatenate([np.sqrt(share) * end.quadratic for share, end in zip(shares, mode.ends)]),
    )
    return both.with_only(np.ones(len(lower.feature_bias), dtype=bool), both.neurons)


def _side_by_side(lower: DesignNetwork, upper: DesignNetwork) -> list[DesignNetwork]:
    """The same two networks on common features and neurons."""
    m, sizes = lower.design, [len(end.feature_bias) for end in (lower, upper)]
    neurons = [len(end.x_weight) for end in (lower, upper)]

    def wide(k: int, weights: Array) -> Array:
        """Weights by phi of network k as weights by the features of both."""
        none = [np.zeros((*weights.shape[:-1], size)) for size in sizes]
        none[k] = weights[..., 1 + m :]
        return np.concatenate([weights[..., : 1 + m], *none], axis=-1)

    ends, shared = (lower, upper), {}
    for name in ("feature_weight", "feature_bias", "x_weight"):
        shared[name] = np.concatenate([getattr(end, name) for end in ends])
    shared["bias"] = np.concatenate([wide(k, end.bias) for k, end in enumerate(ends)])
    result = []
    for k, end in enumerate(ends):
        own = {name: wide(k, getattr(end, name)) for name in OF_ENDS}
        z_root = np.zeros((sum(neurons), own["z_root"].shape[1]))
        z_root[sum(neurons[:k]) :][: neurons[k]] = own["z_root"]
        result.append(DesignNetwork(**shared, **{**own, "z_root": z_root}, activation=end.activation))
    return result
