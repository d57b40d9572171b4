"""The transition scale of a fitted model, changed with refits of all other weights."""

from __future__ import annotations

from collections.abc import Callable

from lse_material.fit.model.edit import copy_of, set_scaled_rho
from lse_material.fit.model.trainable import TrainablePotential
from lse_material.fit.optimise.levenberg_marquardt import levenberg_marquardt
from lse_material.fit.problem.loss import Loss


def with_other_scaled_rho(
    model: TrainablePotential, train: Loss, factor: float, target: float = 0.0
) -> TrainablePotential:
    """The model refitted with a transition scale that is `factor` times as large, until the loss is `target`."""
    trial = copy_of(model)
    set_scaled_rho(trial, factor * model.scaled_rho_value)
    levenberg_marquardt(trial, train, 25, free_rho=False, target=target)
    return trial


def driven(
    model: TrainablePotential,
    train: Loss,
    factor: float,
    alike: Callable[[TrainablePotential], bool],
    tell: Callable[[TrainablePotential], None],
) -> TrainablePotential:
    """The transition scale changed by `factor` at a time for as long as the refitted models are `alike`."""
    low, high = model.scaled_rho_bounds
    while 1.05 * low < factor * model.scaled_rho_value < high / 1.05:
        trial = with_other_scaled_rho(model, train, factor, target=1e-12)
        if not alike(trial):
            break
        model = trial
        tell(model)
    return model
