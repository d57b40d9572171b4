"""The transition scale of a fitted model, changed with refits of all other weights."""

from __future__ import annotations

from collections.abc import Callable

from lse_material.fit.discovery.schedule import Refit, Schedule
from lse_material.fit.model.edit import copy_of, set_scaled_rho
from lse_material.fit.model.trainable import TrainablePotential
from lse_material.fit.problem.loss import Loss


def with_other_transition_scale(
    model: TrainablePotential, train: Loss, factor: float, refit: Refit, target: float = 0.0
) -> TrainablePotential:
    """The model refitted with a transition scale that is `factor` times as large, until the loss is `target`."""
    trial = copy_of(model)
    set_scaled_rho(trial, factor * model.scaled_rho_value)
    refit.run(trial, train, free_rho=False, target=target)
    return trial


def profile_transition_scale(
    model: TrainablePotential,
    train: Loss,
    factor: float,
    schedule: Schedule,
    alike: Callable[[TrainablePotential], bool],
) -> TrainablePotential:
    """The transition scale changed by `factor` at a time for as long as the refitted models are `alike`."""
    low, high = model.scaled_rho_bounds
    while schedule.margin * low < factor * model.scaled_rho_value < high / schedule.margin:
        trial = with_other_transition_scale(model, train, factor, schedule.rescaled, schedule.profile_target)
        if not alike(trial):
            break
        model = trial
    return model
