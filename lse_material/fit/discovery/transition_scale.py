"""The transition scale of a fitted twin, changed with refits of all other weights."""

from __future__ import annotations

from collections.abc import Callable

from lse_material.fit.model.edit import copy_of, set_rho
from lse_material.fit.model.trainable import TrainablePotential
from lse_material.fit.optimise.levenberg_marquardt import levenberg_marquardt
from lse_material.fit.problem.loss import Loss


def with_other_rho(twin: TrainablePotential, train: Loss, factor: float, target: float = 0.0) -> TrainablePotential:
    """The twin refitted with a transition scale that is `factor` times as large, until the loss is `target`."""
    trial = copy_of(twin)
    set_rho(trial, factor * twin.rho_value)
    levenberg_marquardt(trial, train, 25, free_rho=False, target=target)
    return trial


def driven(
    twin: TrainablePotential,
    train: Loss,
    factor: float,
    alike: Callable[[TrainablePotential], bool],
    tell: Callable[[TrainablePotential], None],
) -> TrainablePotential:
    """The transition scale changed by `factor` at a time for as long as the refitted twins are `alike`."""
    low, high = twin.rho_bounds
    while 1.05 * low < factor * twin.rho_value < high / 1.05:
        trial = with_other_rho(twin, train, factor, target=1e-12)
        if not alike(trial):
            break
        twin = trial
        tell(twin)
    return twin
