"""Choices of a fit, as frozen dataclasses that are checked when they are made."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from lse_material._arrays import whole_numbers
from lse_material.errors import InvalidInputError
from lse_material.model.activations import ACTIVATIONS


@dataclass(frozen=True)
class Architecture:
    """The shape of the potential: a soft minimum of `modes` modes of one type and shape.

    Attributes:
        modes: number of modes, >= 1, or "auto": found from the data (see `Sparsity`).
        width: neurons per hidden layer.
        depth: hidden layers; 0 leaves affine modes, with their quadratic terms.
        activation: a name in `lse_material.model.activations.ACTIVATIONS`.
        max_modes: number of modes that discovery starts with.
        quadratic: whether each mode has a term |Q x|^2 / 2, which is convex for any Q. It matters as much as the network.
        stiffness: least second derivative of each mode, in inputs and energies scaled by their spread. Above 0 W grows without
            bound in every direction outside the data (it is coercive); 0.01 is little. The data must bear it.
        stress_free: whether the stress vanishes at F = I (at x = 0 for samples of x), exactly.
        mode_type: name of the mode type, one of `lse_material.fit.MODES`; `width`, `depth`, `activation` and `quadratic` are of
            convex networks.

    Raises:
        InvalidInputError: naming the field.

    >>> lse.fit.Architecture(modes="auto", max_modes=4, width=6).activation
    'squared_softplus'
    """

    modes: int | Literal["auto"] = 2
    width: int = 8
    depth: int = 1
    activation: str = "squared_softplus"
    quadratic: bool = True
    max_modes: int = 8
    stiffness: float = 0.0
    stress_free: bool = False
    mode_type: str = "ConvexNetwork"

    def __post_init__(self) -> None:
        whole_numbers(self, width=1, depth=0, max_modes=1, **({} if self.modes == "auto" else {"modes": 1}))
        if self.activation not in ACTIVATIONS:
            raise InvalidInputError(f"Architecture.activation is {self.activation!r}; known are {sorted(ACTIVATIONS)}.")
        if not 0.0 <= self.stiffness < math.inf:
            raise InvalidInputError(f"Architecture.stiffness is {self.stiffness!r}; it must be >= 0 and finite.")

    @property
    def count(self) -> int:
        """The number of modes, where it is given."""
        if self.modes == "auto":
            raise InvalidInputError('the number of modes is "auto": it is not known before the fit.')
        return self.modes

    def with_modes(self, modes: int) -> Architecture:
        """The same with a number of modes."""
        return replace(self, modes=modes)


@dataclass(frozen=True)
class Sparsity:
    """How the number of modes and the transition scale are discovered.

    Attributes:
        tolerance: relative RMS error on the rows held back within which a smaller model is as good as a larger one.
        usage_weight: of the entropy of the mode usage in the loss.
        least_usage: mean mode weight below which a mode is dropped.
        rho_weight: of ln(rho) in the loss, a weak pull towards sharp transitions.
        rho_slack: factor by which the error may rise while rho is lowered.
        prune: factor by which the errors may rise (or up to a hundredth of the tolerance) while weights and neurons are left
            out; 1 keeps them all.
        restarts: random starts, at most; no further one is made once the tolerance is met or two of them end alike.
        adam_steps, learning_rate: of the over-complete start.
        trials: modes that are tried for leaving out, at each number.
        trial_rows: rows on which candidates are compared.

    Raises:
        InvalidInputError: naming the field.

    >>> lse.fit.Sparsity(tolerance=0.02).prune
    1.5
    """

    tolerance: float = 0.01
    usage_weight: float = 0.01
    least_usage: float = 0.01
    rho_weight: float = 1e-6
    rho_slack: float = 1.2
    prune: float = 1.5
    restarts: int = 3
    adam_steps: int = 1000
    learning_rate: float = 0.03
    trials: int = 3
    trial_rows: int = 300

    def __post_init__(self) -> None:
        whole_numbers(self, restarts=1, adam_steps=0, trials=1, trial_rows=2)
        for name, low, high in (
            ("tolerance", 0.0, 1.0),
            ("usage_weight", -1e-300, math.inf),
            ("least_usage", -1e-300, 1.0),
            ("rho_weight", -1e-300, math.inf),
            ("rho_slack", 1.0 - 1e-12, math.inf),
            ("prune", 1.0 - 1e-12, math.inf),
            ("learning_rate", 0.0, 1.0),
        ):
            value = getattr(self, name)
            if not low < value < high:
                raise InvalidInputError(
                    f"Sparsity.{name} is {value!r}; it must be > {max(low, 0.0):g} and < {high:g}."
                    if low >= 0.0
                    else f"Sparsity.{name} is {value!r}; it must be >= 0 and < {high:g}."
                )


@dataclass(frozen=True)
class Training:
    """How the weights are found: Adam from several random starts, then L-BFGS on the best of them.

    Attributes:
        restarts: random starts.
        adam_steps: steps of Adam from each start, with a cosine from `learning_rate` to 1e-3.
        learning_rate: the largest step of Adam.
        lbfgs_steps: iterations of L-BFGS, at most.
        validation: share of the rows that is held back; the weights with the smallest error there are kept.
        patience: iterations of L-BFGS without a better validation error after which it stops.
        energy_weight, stress_weight: weights of the two relative mean square errors; 0 leaves one out.
        robust: whether rows far from what the others say are to count little (see `lse_material.fit.problem.outliers`).
        batch: rows of a step of Adam, at most; they change from step to step.
        rows: rows that second-order methods and discovery work on, at most; the last refit takes all.
        processes: random starts at once, also those of a discovery, with the results of one after another. Above 1 a script
            must call fit below `if __name__ == "__main__":`. Under MPI it is taken as 1.

    Raises:
        InvalidInputError: naming the field.

    >>> lse.fit.Training(restarts=5, stress_weight=10.0).validation
    0.2
    """

    restarts: int = 3
    adam_steps: int = 1000
    learning_rate: float = 0.03
    lbfgs_steps: int = 1500
    validation: float = 0.2
    patience: int = 200
    energy_weight: float = 1.0
    stress_weight: float = 1.0
    robust: bool = False
    batch: int = 4096
    rows: int = 20_000
    processes: int = 1

    def __post_init__(self) -> None:
        whole_numbers(self, restarts=1, adam_steps=0, lbfgs_steps=0, patience=1, batch=1, rows=2, processes=1)
        if not 0.0 < self.learning_rate < 1.0:
            raise InvalidInputError(f"Training.learning_rate is {self.learning_rate!r}; it must lie between 0 and 1.")
        if not 0.0 <= self.validation < 1.0:
            raise InvalidInputError(f"Training.validation is {self.validation!r}; it must be >= 0 and < 1.")
        if min(self.energy_weight, self.stress_weight) < 0.0 or self.energy_weight + self.stress_weight <= 0.0:
            raise InvalidInputError("Training.energy_weight and stress_weight must be >= 0, and one of them > 0.")
