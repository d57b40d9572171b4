"""Choices of a fit, as frozen dataclasses that are checked when they are made.

Each field has its help and its bounds beside it, once: the docstrings and the command line are made of the help.
"""

from __future__ import annotations

import builtins
import dataclasses
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from numbers import Integral, Real
from os import PathLike
from typing import Any, Literal

import numpy as np

from lse_material._arrays import whole_number
from lse_material.data.observations import Observations
from lse_material.data.samples import Samples
from lse_material.errors import InvalidInputError
from lse_material.model.activations import ACTIVATIONS
from lse_material.model.growth import Growth
from lse_material.model.strain import StrainMeasure
from lse_material.model.symmetry import Symmetry

MOST_MODES, MOST_WEIGHTS = 10_000, 10**7  # beyond which memory ends before the first step
KINDS: dict[str, tuple[Any, str]] = {
    "str": (str, "a text"),
    "int": (Integral, "a whole number"),
    "float": (Real, "a number"),
    "bool": ((bool, np.bool_), "True or False"),
}


def option(default: Any, text: str, *, least: float = -inf, above: float = -inf, below: float = inf) -> Any:
    """A field of `Options`: its default, its help, and its bounds least <= value, above < value < below."""
    return dataclasses.field(default=default, metadata={"help": text, "least": least, "above": above, "below": below})


class Options:
    """A dataclass of options: their help ends its docstring, and their types and bounds are checked.

    Raises InvalidInputError: naming the field.
    """

    def __init_subclass__(cls) -> None:
        helps = {name: each.metadata["help"] for name, each in vars(cls).items() if isinstance(each, dataclasses.Field)}
        lines = ["Attributes:", *(f"    {name}: {text}" for name, text in helps.items())]
        lines += ["", "Raises:", "    InvalidInputError: a value is of another type or out of its bounds; it is named."]
        cls.__doc__ = "\n".join([inspect.cleandoc(cls.__doc__ or ""), "", *lines])

    def __post_init__(self) -> None:
        for each in dataclasses.fields(self):  # type: ignore[arg-type]
            value, bounds = getattr(self, each.name), each.metadata
            kind, words = KINDS.get(str(each.type), (object, ""))
            name = f"{type(self).__name__}.{each.name} is {value!r}; it must be"
            if not isinstance(value, kind) or (isinstance(value, bool) and kind in (Integral, Real)):
                raise InvalidInputError(f"{name} {words}.")
            least, above, below = bounds["least"], bounds["above"], bounds["below"]
            if kind in (Integral, Real) and not (least <= value < below and value > above):
                low = f">= {least:g}" if above == -inf else f"> {above:g}"
                raise InvalidInputError(f"{name} {low} and " + ("finite." if below == inf else f"< {below:g}."))
            if words:  # Python's own numbers, which checkpoints and processes compare
                object.__setattr__(self, each.name, getattr(builtins, str(each.type))(value))


@dataclass(frozen=True)
class Architecture(Options):
    """The shape of the potential: a soft minimum of `modes` modes of one type and shape.

    The default grows quadratically beyond the data. For lattices of beams on few load paths take mode_type "FibreNetwork", in
    `StrainAndVolume`: sums over fibres and of the volume, which grow linearly. See docs/own_data.md. For modes that are
    polyconvex, and so elliptic in their wells and outside the data, take "PolyconvexNetwork" in `PrincipalInvariants`, say.

    >>> lse.fit.Architecture(modes="auto", max_modes=4, width=6).activation
    'squared_softplus'
    """

    modes: int | Literal["auto"] = option(2, 'number of modes, >= 1, or "auto": found from the data (see `Sparsity`)')
    width: int = option(8, "neurons per hidden layer", least=1)
    depth: int = option(1, "hidden layers; 0 leaves affine modes, with their quadratic terms", least=0)
    activation: str = option("squared_softplus", "a name in `lse_material.model.activations.ACTIVATIONS`")
    quadratic: bool = option(
        True, "whether each mode has a term |Q x|^2 / 2, which is convex for any Q; it matters as much as the network"
    )
    max_modes: int = option(8, "number of modes that discovery starts with", least=1)
    stiffness: float = option(
        0.0,
        "least second derivative of each mode, in inputs and energies scaled by their spread. Above 0 W grows without bound in "
        "every direction outside the data (it is coercive); 0.01 is little. The data must bear it",
        least=0.0,
    )
    stress_free: bool = option(False, "whether the stress vanishes at F = I (at x = 0 for samples of x), exactly")
    design: int = option(0, "number of the first inputs that are designs; `fit` sets it", least=0)
    mode_type: str = option(
        "ConvexNetwork",
        "name of the mode type, one of `lse_material.fit.MODES`; width, depth, activation and quadratic are of convex networks "
        "(of a FibreNetwork the width alone; the quadratic term of a PolyconvexNetwork reads J alone)",
    )
    features: int = option(
        4,
        "functions sqrt(1 + (a.p + b)^2) of the designs p that weights read, beside 1 and p. With 0 the factors of neurons and "
        "quadratic terms are squares of linear functions of p: where designs are few, that says more of others",
        least=0,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (isinstance(self.modes, str) and self.modes == "auto"):
            object.__setattr__(self, "modes", whole_number('Architecture.modes (or "auto")', self.modes, 1))
        modes = self.max_modes if self.modes == "auto" else self.modes
        weights = modes * (self.width * (1 + (self.depth - 1) * (self.width + 1)) if self.depth else 1)
        if modes > MOST_MODES or weights > MOST_WEIGHTS:
            raise InvalidInputError(
                f"Architecture has {modes} modes of {self.depth} x {self.width} neurons, which is {weights:.3g} weights or "
                f"more: at most {MOST_MODES} modes and {MOST_WEIGHTS:.0e} weights are fitted. Usual are 1 to 20 of 8 to 64."
            )
        if self.activation not in ACTIVATIONS:
            raise InvalidInputError(f"Architecture.activation is {self.activation!r}; known are {sorted(ACTIVATIONS)}.")

    @property
    def count(self) -> int:
        """The number of modes, where it is given."""
        if self.modes == "auto":
            raise InvalidInputError('the number of modes is "auto": it is not known before the fit.')
        return self.modes


@dataclass(frozen=True)
class Sparsity(Options):
    """How the number of modes and the transition scale are discovered.

    >>> lse.fit.Sparsity(tolerance=0.02).prune
    1.5
    """

    tolerance: float = option(
        0.01,
        "relative RMS error on the validation rows within which a smaller model is as good as a larger one",
        above=0.0,
        below=1.0,
    )
    usage_weight: float = option(0.01, "weight of the entropy of the mode usage in the loss", least=0.0)
    least_usage: float = option(0.01, "mean mode weight below which a mode is dropped", least=0.0, below=1.0)
    rho_weight: float = option(1e-6, "weight of ln(rho) in the loss, a weak pull towards sharp transitions", least=0.0)
    rho_slack: float = option(1.2, "factor by which the error may rise while rho is lowered", least=1.0)
    prune: float = option(
        1.5,
        "factor by which the errors may rise (or up to a hundredth of the tolerance) while weights and neurons are left out; 1 "
        "keeps them all",
        least=1.0,
    )
    restarts: int = option(
        3, "random starts, at most; no further one is made once the tolerance is met or two of them end alike", least=1
    )
    adam_steps: int = option(1000, "steps of Adam of the over-complete start", least=0)
    learning_rate: float = option(0.03, "the first learning rate of these steps", above=0.0, below=1.0)
    trials: int = option(3, "modes that are tried for leaving out, at each number", least=1)
    trial_rows: int = option(300, "rows on which candidates are compared", least=2)


@dataclass(frozen=True)
class Training(Options):
    """How the weights are found: Adam from several random starts, then second-order methods on the best of them.

    These are Levenberg-Marquardt, where rows and weights are few, and L-BFGS.

    >>> lse.fit.Training(restarts=5, stress_weight=10.0).validation
    0.2
    """

    restarts: int = option(3, "random starts", least=1, below=1e5)
    adam_steps: int = option(1000, "steps of Adam from each start, with a cosine from `learning_rate` to 1e-3", least=0)
    learning_rate: float = option(0.03, "the first learning rate of Adam", above=0.0, below=1.0)
    lbfgs_steps: int = option(1500, "most iterations of L-BFGS; so many and 200 of Levenberg-Marquardt", least=0)
    validation: float = option(
        0.2,
        "share of the rows that is held back, whole groups if there are five or more; the weights with the smallest error "
        "there are kept",
        least=0.0,
        below=1.0,
    )
    patience: int = option(200, "iterations of L-BFGS without a better validation error after which it stops", least=1)
    energy_weight: float = option(
        1.0, "weight of the relative mean square error of W; 0 leaves it out", least=0.0, below=1e100
    )
    stress_weight: float = option(
        1.0, "weight of that of stresses (or gradients); 0 leaves them out", least=0.0, below=1e100
    )
    robust: bool = option(
        False, "whether rows far from what the others say are to count little (see `lse_material.fit.problem.outliers`)"
    )
    batch: int = option(
        4096,
        "rows of a step of Adam, at most; they change from step to step. With many rows, small ones come further in less time",
        least=1,
    )
    rows: int = option(20_000, "most rows of second-order methods and discovery; the last refit takes all", least=2)
    processes: int = option(
        1,
        "random starts at once, also those of a discovery, with the results of one after another. Above 1 a script must call "
        'fit below `if __name__ == "__main__":`. Under MPI it is taken as 1',
        least=1,
    )
    time_limit: float = option(0.0, "seconds after which the search ends with the best so far; 0: no limit", least=0.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.energy_weight + self.stress_weight <= 0.0:
            raise InvalidInputError("Training.energy_weight and stress_weight are both 0; one of them must be > 0.")


ARGUMENTS: dict[str, tuple[Any, str]] = {
    "samples": ((Samples, Observations), "Samples or Observations"),
    "candidates": (Mapping, 'options of `fit` by a name of your own, {"one": {"architecture": Architecture(modes=1)}}'),
    "kinematics": (StrainMeasure, "a strain measure, lse.GreenLagrange(2), say"),
    "symmetry": (Symmetry, "a lse.Symmetry"),
    "growth": ((Growth, str), 'a lse.Growth, or "auto"'),
    "parameters": (Mapping, 'kinds by name, such as {"T": lse.fit.Temperature()}'),
    "checkpoint": ((str, PathLike), "the name of a file"),
}


def expect_options(**given: Any) -> None:
    """Check that each argument is None or of its kind, an architecture an `Architecture`, and a seed a whole number.

    Raises InvalidInputError: naming the argument.
    """
    for name, value in given.items():
        if name == "seed":
            whole_number(name, value)
        elif name in ARGUMENTS:
            kind, words = ARGUMENTS[name]
            if name == "samples" and not isinstance(value, kind):
                raise InvalidInputError(
                    f"samples must be {words}, not a {type(value).__name__}: lse.read_samples(path), say."
                )
            if value is not None and not isinstance(value, kind):
                raise InvalidInputError(f"{name} is {value!r}; it must be {words}.")
        elif value is not None and name.capitalize() not in [kind.__name__ for kind in type(value).__mro__]:
            raise InvalidInputError(f"{name} is {value!r}; it must be a lse.fit.{name.capitalize()}(...).")


@dataclass(frozen=True)
class Inference(Options):
    """How a density is found.

    >>> lse.fit.Inference(particles=500).rounds
    2
    """

    particles: int = option(2000, "points of the annealing, and of each sample of q", least=100, below=1e7)
    rounds: int = option(2, "fits to samples of q after the first fit", least=0)
    moves: int = option(10, "steps of each particle at each temperature", least=1)
    even: float = option(0.7, "effective share of particles that each temperature step leaves", above=0.0, below=1.0)
    depth: float = option(
        15.0, "energy above the lowest up to which points count for a fit; beyond it p is next to nothing", above=0.0
    )
    least: float = option(
        0.95,
        "effective sample size, as a share, below which the fit is made once more from other starts, and above 1 always: of "
        "samples of q weighted to p, and of the annealed particles weighted to q, which tell where q misses a mode",
        least=0.0,
    )
    accept: float = option(
        0.9,
        "of the same shares, the least with which the best fit is returned; below it `infer` raises",
        least=0.0,
        below=1.0,
    )
    attempts: int = option(3, "fits, at most; the best is kept", least=1)
    time_limit: float = option(0.0, "seconds after which the search ends with the best so far; 0: no limit", least=0.0)
