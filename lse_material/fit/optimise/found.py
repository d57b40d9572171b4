"""What a search for weights found, and how it went."""

from __future__ import annotations

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
    """The model that a search ends with.

    Attributes:
        model: with the best weights.
        history: losses, or errors of a discovery, as the search went.
        stopped: what ended it early, in words; empty if nothing did.
        errors: relative error on the validation rows for each number of trained modes, of a discovery.
        scaled_rho_interval: of the transition scales that fit the data alike, in scaled energy, if it was looked for.
    """

    model: TrainablePotential
    history: tuple[Record, ...]
    stopped: str = ""
    errors: Mapping[int, float] = field(default_factory=dict)
    scaled_rho_interval: tuple[float, float] | None = None
