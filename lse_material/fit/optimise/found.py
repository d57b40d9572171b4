"""What a search for weights found, and how it went."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from lse_material.fit.model.trainable import TrainablePotential


@dataclass(frozen=True)
class Record:
    """One line of a fit's history: losses on the training and validation rows (equal if none are held back)."""

    phase: str
    step: int
    train: float
    validation: float


@dataclass(frozen=True, eq=False)
class Found:
    """The model that a search ends with."""

    model: TrainablePotential  # with the best weights
    history: tuple[Record, ...]  # losses, or errors of a discovery, as the search went
    stopped: str = ""  # what ended it early, in words; empty if nothing did
    # relative error on the validation rows for each number of trained modes, of a discovery
    errors: Mapping[int, float] = field(default_factory=dict)
    # of the transition scales that fit the data alike, in scaled energy, if it was looked for
    scaled_rho_interval: tuple[float, float] | None = None
