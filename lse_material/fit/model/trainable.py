"""A soft minimum in torch: the same formula as `SoftMinimum` with parameters that can be trained.

`TrainablePotential` holds what is the same for modes of every type: the transition scale, which is bounded through a sigmoid of
its logarithm, constraints, masks of weights that pruning has left out, the soft minimum itself. A subclass for each mode type
holds the parameters, in tensors whose first axis counts the modes; `MODES` says which.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter

from lse_material._arrays import Array
from lse_material.errors import InvalidInputError
from lse_material.fit.model.constraints import Constraints, Reference
from lse_material.fit.options import Architecture
from lse_material.model.mode import Mode
from lse_material.model.soft_minimum import SoftMinimum
from lse_material.model.strain import StrainMeasure

RHO_BOUNDS = (2e-3, 5.0)  # of the transition scale, in units of the energy scale
MODES: dict[str, type[TrainablePotential]] = {}  # by the mode type


class TrainablePotential(torch.nn.Module, ABC):
    """A trainable soft minimum in scaled variables: xh = (x - input_shift)/input_scale -> Psi(xh).

    It is made by `of` or `from_potential`. A subclass for a mode type of your own has `set_up`, `evaluate`, `start`, `written`,
    `read`, and stands in `lse_material.fit.MODES` under the type's name.

    Args:
        architecture: number and shape of the modes.
        size: number d of inputs.
        scaled_rho: transition scale to start from, in scaled energy.
        scaled_rho_bounds: the interval that it is kept in.
        constraints: what holds by construction; with a symmetry each of the `architecture.count` trained modes stands for
            its variants.

    Attributes:
        layered: whether the modes are networks with layers, affine and quadratic terms. Only such are split, merged, widened
            and pruned by discovery; for others these moves are left out.
        temperatures: how many of the first inputs the modes are affine in, from 0 to 1.
        written_out: whether `by_weights` is there. Without it Levenberg-Marquardt differentiates row by row.

    >>> import torch
    >>> model = lse.fit.TrainablePotential.from_potential(material.potential)
    >>> energy, gradient, mode_weights = model(torch.tensor([[0.05, -0.05, 0.0]], dtype=torch.float64))
    >>> model.to_potential().size
    3
    """

    layered: ClassVar[bool] = False
    temperatures: ClassVar[int] = 0
    written_out: ClassVar[bool] = False

    def __init__(
        self,
        architecture: Architecture,
        size: int,
        *,
        scaled_rho: float = 0.3,
        scaled_rho_bounds: tuple[float, float] = RHO_BOUNDS,
        constraints: Constraints | None = None,
    ) -> None:
        super().__init__()
        self.architecture, self.size, self.scaled_rho_bounds = architecture, size, scaled_rho_bounds
        self.constraints = constraints or Constraints()
        self.set_up(architecture, size)
        # with one mode rho has no effect: it is no parameter then, or the optimiser would let it drift
        several = architecture.count * self.constraints.variants > 1
        self.raw_rho = Parameter(torch.zeros((), dtype=torch.float64), requires_grad=several)
        self.set_scaled_rho(scaled_rho)
        self.masks: dict[str, Tensor] = self.masks_of_states()

    # ---- what a mode type provides ---------------------------------------------------------------------------------------

    @abstractmethod
    def set_up(self, architecture: Architecture, size: int) -> None:
        """Make the parameters, float64; the first axis of each counts the `architecture.count` modes."""

    @abstractmethod
    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Energies (K, n) and gradients (K, n, d) of the trained modes at xh (n, d), or (K, n, d) of their own points."""

    @abstractmethod
    def start(self, centres: Array, energies: Array, rng: np.random.Generator) -> None:
        """Random values for the parameters, mode k with about its minimum at centres[k] (d,), where it is energies[k]."""

    @abstractmethod
    def written(self) -> tuple[Mode, ...]:
        """The trained modes as modes of the NumPy floor."""

    @abstractmethod
    def read(self, modes: Sequence[Mode]) -> None:
        """Take the values of the parameters from modes that `architecture_of` these gave the architecture for."""

    @classmethod
    def architecture_of(cls, modes: Sequence[Mode]) -> Architecture:
        """The architecture of given modes."""
        return cls.adapted(Architecture(modes=len(modes), mode_type=modes[0].type))

    @classmethod
    def adapted(cls, architecture: Architecture) -> Architecture:
        """The architecture without layers and quadratic terms if these modes have none."""
        return architecture if cls.layered else replace(architecture, depth=0, quadratic=False)

    @classmethod
    def expect_inputs(cls, kinematics: StrainMeasure | None, inputs: int, seen: int) -> None:
        """Raise InvalidInputError where modes cannot read these inputs: fields and strains, of which the data show `seen`."""

    def masks_of_states(self) -> dict[str, Tensor]:
        """The masks by which each mode reads the inputs of its natural state alone; none without such states."""
        if self.constraints.reads is None:
            return {}
        raise InvalidInputError(f"modes of the type {self.architecture.mode_type} have no natural states: networks do.")

    def by_weights(self, x: Tensor) -> dict[str, Tensor]:
        """Derivatives of the trained modes' energies and gradients in their m weights of each name at xh: (K, n, 1 + d, m).

        The points are (n, d), or (K, n, d) of their own.
        """
        raise NotImplementedError(f"modes of the type {self.architecture.mode_type} are differentiated row by row.")

    @property
    def outputs(self) -> int:
        """Number of sets of output weights of a mode, one for each end of a temperature."""
        return 1 + self.temperatures

    def shares(self, x: Tensor) -> Tensor:
        """What each set counts at x (..., d): (..., outputs), with sum 1."""
        t = x[..., : self.temperatures]
        return torch.cat([1.0 - t, t], dim=-1) if self.temperatures else torch.ones_like(x[..., :1])

    def restraints(self) -> dict[str, Tensor]:
        """What the squares of weights count in `restraint`, by their names."""
        return {}

    # ---- what is the same for all ----------------------------------------------------------------------------------------

    @classmethod
    def of(cls, architecture: Architecture, size: int, **options: object) -> TrainablePotential:
        """A trainable potential of the mode type that the architecture names; arguments as the class.

        Raises:
            InvalidInputError: the type has no translation into torch.
        """
        kind = trainable_kind(architecture.mode_type)
        return kind(kind.adapted(architecture), size, **options)  # type: ignore[arg-type]

    @classmethod
    def from_potential(cls, potential: SoftMinimum, constraints: Constraints | None = None) -> TrainablePotential:
        """The trainable form of a potential, in its scaled variables, to train it further.

        A potential does not say what constrained it. With `constraints.monotone` its modes stay polyconvex.

        Raises:
            InvalidInputError: the modes differ in type or activation, or the type has no translation into torch.
        """
        kinds = sorted({mode.type for mode in potential.modes})
        if len(kinds) > 1:
            raise InvalidInputError(f"the modes are of the types {kinds}: a trainable potential has modes of one type.")
        is_polyconvex = constraints is not None and constraints.monotone is not None
        kind, rho = trainable_kind("PolyconvexNetwork" if is_polyconvex else kinds[0]), potential.scaled_rho
        bounds = (0.1 * rho, 10.0 * rho)
        model = kind(
            kind.architecture_of(potential.modes),
            potential.size,
            scaled_rho=rho,
            scaled_rho_bounds=bounds,
            constraints=constraints,
        )
        with torch.no_grad():
            model.read(potential.modes)
        return model

    def restraint(self) -> Tensor:
        """A factor >= 1 of the loss in each search: 1 + squares of the weights that `restraints` names.

        It restrains weights that data with errors leave open, and leaves data without errors alone, whose loss goes to 0. (It
        is the prior of weights with a normal distribution where the variance of the errors is not known.)
        """
        one = torch.ones((), dtype=torch.float64)
        return one + sum((each * self.get_parameter(name) ** 2).sum() for name, each in self.restraints().items())

    def mask(self, name: str) -> Tensor:
        """1 where a weight of the parameter `name` acts and 0 where it has been left out."""
        return self.masks[name] if name in self.masks else torch.ones_like(self.get_parameter(name))

    def acting(self, name: str, values: Tensor) -> Tensor:
        """Values of the parameter `name`, zero where a weight has been left out."""
        return values * self.masks[name] if name in self.masks else values

    @property
    def scaled_rho(self) -> Tensor:
        """Transition scale in scaled energy, a scalar tensor."""
        low, high = (math.log(bound) for bound in self.scaled_rho_bounds)
        return torch.exp(low + (high - low) * torch.sigmoid(self.raw_rho))

    def set_scaled_rho(self, rho: float, margin: float = 0.0) -> None:
        """Take another transition scale, kept within its bounds by this share of their logarithms' distance."""
        low, high = (math.log(bound) for bound in self.scaled_rho_bounds)
        share = min(max((math.log(rho) - low) / (high - low), margin), 1.0 - margin)
        with torch.no_grad():
            self.raw_rho.fill_(math.log(share / (1.0 - share)))

    @property
    def scaled_rho_value(self) -> float:
        """Transition scale as a number."""
        return float(self.scaled_rho.detach())

    def modes(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Energies (K, n) and gradients (K, n, d) of the modes at xh (n, d), the variants of each one after another."""
        orbit = self.constraints.orbit
        return self.trained_modes(x) if orbit is None else orbit.modes(*self.trained_modes(orbit.images(x)))

    def trained_modes(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The same of the modes that are trained: without symmetry these are all."""
        energy, gradient = self._stiffened(x)
        if self.constraints.rest is not None:
            at_rest = self._gradients_at_rest()
            energy, gradient = energy - (x @ at_rest.unsqueeze(2))[:, :, 0], gradient - at_rest.unsqueeze(1)
        return energy, gradient

    def _stiffened(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Energies and gradients of the modes as their weights and the stiffness give them."""
        energy, gradient = self.evaluate(x)
        if self.architecture.stiffness:
            linear, quadratic = (self.architecture.stiffness * part for part in self.stiffening())
            energy = energy + x @ linear + 0.5 * (x * x) @ quadratic
            gradient = gradient + linear + x * quadratic
        return energy, gradient

    def stiffening(self) -> tuple[Tensor, Tensor]:
        """Of a stiffness 1: gradient and second derivatives, (d,) each, at xh = 0."""
        quadratic = torch.ones(self.size, dtype=torch.float64)
        quadratic[: self.temperatures + self.architecture.design] = 0.0
        return torch.zeros_like(quadratic), quadratic

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Energy (n,), gradient (n, d) and mode weights (n, K) at xh (n, d), all in scaled variables.

        The variants of a mode count as one in its weight.
        """
        energy, gradient, weights = self._soft_minimum(x)
        if self.constraints.reference is not None:
            at_reference = self._gradient_at_reference()[0]
            energy, gradient = energy - x @ at_reference, gradient - at_reference
        return energy, gradient, weights.reshape(self.architecture.count, -1, len(x)).sum(1).T

    def _soft_minimum(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Energy, gradient and weights (K, n) of all modes, as the networks give them."""
        psi, gradients = self.modes(x)
        rho = self.scaled_rho
        weights = torch.softmax(-psi / rho, dim=0)
        energy = -rho * torch.logsumexp(-psi / rho, dim=0)
        return energy, (weights.unsqueeze(2) * gradients).sum(0), weights

    def _gradient_at_reference(self) -> Tensor:
        """The gradient that all modes must lose, (1, d)."""
        reference = self.constraints.reference
        assert reference is not None
        return self.lost(self._soft_minimum(reference.at)[1], reference)

    def _gradients_at_rest(self) -> Tensor:
        """The gradient that each mode must lose, (K, d)."""
        rest = self.constraints.rest
        assert rest is not None
        return self.lost(self._stiffened(rest.at.unsqueeze(1))[1][:, 0], rest)

    def lost(self, gradient: Tensor, reference: Reference) -> Tensor:
        """What gradients (m, d) at the points of a reference must lose so that they give no stress there, (m, d)."""
        return (gradient.unsqueeze(1) @ reference.projector)[:, 0]

    def to_potential(
        self,
        input_shift: np.ndarray | None = None,
        input_scale: np.ndarray | None = None,
        energy_scale: float = 1.0,
        energy_shift: float = 0.0,
    ) -> SoftMinimum:
        """The same potential for the numpy floor, with the scales of the data it was trained on.

        Raises:
            InvalidInputError: the mode type cannot hold what the constraints or the stiffness ask for.
        """
        zero = np.zeros(self.size)
        with torch.no_grad():
            modes = self.written()
            rho = self.scaled_rho_value
            lost = np.zeros((1, self.size))
            if self.constraints.reference is not None:
                lost = self._gradient_at_reference().numpy()
            if self.constraints.rest is not None:
                lost = self._gradients_at_rest().numpy()
        if self.architecture.stiffness:
            linear, quadratic = (self.architecture.stiffness * part.numpy() for part in self.stiffening())
            stiff = np.diag(np.sqrt(quadratic))[quadratic > 0.0]
            modes = tuple(mode.plus(linear, stiff) for mode in modes)
        if self.constraints.orbit is not None:
            orbit = self.constraints.orbit.maps.numpy()
            modes = tuple(mode.mean_over(maps) for mode in modes for maps in orbit)
        if lost.any():
            modes = tuple(mode.plus(-each) for mode, each in zip(modes, np.broadcast_to(lost, (len(modes), self.size))))
        shift = zero if input_shift is None else input_shift
        scale = np.ones(self.size) if input_scale is None else input_scale
        return SoftMinimum(modes, rho, shift, scale, energy_scale, energy_shift)


def trainable_kind(mode_type: str) -> type[TrainablePotential]:
    """The trainable form of a mode type. Raises InvalidInputError: it has none."""
    if mode_type not in MODES:
        raise InvalidInputError(
            f"the mode type {mode_type} has no translation into torch: write a subclass of lse_material.fit.TrainablePotential "
            "and put it into lse_material.fit.MODES."
        )
    return MODES[mode_type]
