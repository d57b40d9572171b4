"""Every number of the search for the number of modes, with its reason: how long refits are, and what counts as good enough.

Errors are relative RMS errors on the validation rows; "tolerances" are multiples of `Sparsity.tolerance`. What users choose is
in `lse_material.fit.options.Sparsity`; these numbers are not options. They are those behind the README's figures of
benchmarks/discovery.py. Two have been varied: with half and twice `first_rho`, four_wells_rho_0.5 and double_well (seed 0) come
out with the right number of modes alike; without `significance`, 4 of 8 double wells under noise of 10 and 30 % get a mode too
many (tests/fit/test_noise.py). Where a reason stands alone, other values were not measured.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.utils import vector_to_parameters

from lse_material.fit.model.trainable import TrainablePotential
from lse_material.fit.optimise.adam import adam, flat, trained
from lse_material.fit.optimise.levenberg_marquardt import levenberg_marquardt
from lse_material.fit.problem.loss import Loss

LEARNING_RATE = 0.02  # of Adam in refits: less than at the start, so that modes stay where they are


@dataclass(frozen=True)
class Refit:
    """How far a model is refitted: steps of Adam, then Levenberg-Marquardt."""

    iterations: int  # of Levenberg-Marquardt, at most
    tolerance: float = 2e-4  # share of the loss that an iteration should win
    patience: int = 10  # iterations after which less than that makes it stop
    adam_steps: int = 0  # before it

    def run(
        self,
        model: TrainablePotential,
        loss: Loss,
        *,
        free_rho: bool = True,
        rho_weight: float = 0.0,
        target: float = 0.0,
    ) -> float:
        """Refit a model in place; returns the loss. See `levenberg_marquardt` for the arguments."""
        ends: dict[str, Any] = {"tolerance": self.tolerance, "patience": self.patience, "target": target}

        def work() -> float:
            adam(model, loss, self.adam_steps, LEARNING_RATE, rho_weight=rho_weight)
            return levenberg_marquardt(model, loss, self.iterations, free_rho=free_rho, rho_weight=rho_weight, **ends)

        return as_stage(model, loss, work)


def as_stage(model: TrainablePotential, loss: Loss, work: Callable[[], float]) -> float:
    """The value of work on the weights of a model, done now or, with the weights that it ended with, by an earlier session."""
    parameters = trained(model)
    start = flat(parameters)
    known = loss.session.recall(start)
    if known is None:
        value = work()
        loss.session.keep(start, torch.cat([flat(parameters), torch.tensor([value], dtype=torch.float64)]))
        return value
    vector_to_parameters(known[:-1], parameters)
    return float(known[-1])


@dataclass(frozen=True)
class Schedule:
    """The numbers of the search, in the order of its steps."""

    # What an error means, in tolerances.
    exact: float = 0.01  # below it nothing is left to explain: no neurons, no other transition scale is tried
    noise: float = 0.3  # above it what is missed counts as noise: models are compared row by row
    satisfied: float = 0.5  # if the best error is above it, a tolerance is added to it as independent errors add
    significance: float = 2.0  # standard errors by which noisy models must differ, from a constant too
    converged: float = 0.05  # below it no new neurons are sought
    well_fitted: float = 0.1  # what a final refit should meet; else twice the neurons are tried
    hopeless: float = 8.0  # beyond it no second candidate of the same number of modes is refitted
    near: float = 5.0  # within it a model may lack neurons rather than a mode

    # What an improvement means, as a ratio of two errors.
    same: float = 0.9  # an error that another start does not lower below this share is the data's own
    better: float = 0.5  # a costlier model, or another start, must lower the error to this share
    decisive: float = 30.0  # factor that one mode more must win where the smaller number met the tolerance

    # Between two moves.
    target: float = 0.15  # error, in tolerances, at which a refit stops: more is not needed to compare

    # The sparse start.
    first_rho: float = 1.0  # transition scale, in spreads of the energy: so smooth that all modes see all rows
    sparse: Refit = Refit(60)  # of the modes that are used
    # factors of the transition scale: the loss has minima in it
    other_scales: tuple[float, ...] = (4.0, 0.25, 0.5, 2.0)
    first_scales: int = 2  # of these factors, the extreme ones, at a start that misses the tolerance
    rescaled: Refit = Refit(25, tolerance=1e-4, patience=6)  # of all weights but rho: a step changes little
    after_rescaling: Refit = Refit(60)  # as the sparse start that it competes with

    # Whether modes without neurons suffice.
    without_neurons: Refit = Refit(60)  # few weights: they converge soon
    many_modes: float = 0.5  # share of max_modes beyond which modes without neurons may imitate networks
    with_neurons: Refit = Refit(100, adam_steps=200)  # as long as for other candidates, so that only the neurons differ

    # Adding modes.
    most_added: int = 2  # to a start: it has max_modes to lose and rarely lacks more than one
    added_trial: Refit = Refit(10, tolerance=1e-3, patience=6, adam_steps=100)  # only to tell two trials apart
    added: Refit = Refit(60, adam_steps=200)  # Adam first: the new mode is far from its place

    # Leaving modes out.
    dropped_trial: Refit = Refit(12, tolerance=1e-3, patience=6, adam_steps=100)  # only to rank up to four trials
    dropped: Refit = Refit(100, adam_steps=200)  # Adam first: the others must take over a region
    dropped_refits: int = 2  # candidates of one number of modes that are refitted on all rows: ranks by few rows err
    widened: Refit = Refit(100, adam_steps=100)  # new neurons act little at first
    restarted_trial: Refit = Refit(15, tolerance=1e-3, patience=6, adam_steps=200)  # longer: it starts from nothing
    restarted: Refit = Refit(100, adam_steps=200)  # as the candidates that it competes with

    # The final refit.
    final: Refit = Refit(250)  # to convergence: the last decades of the error come late
    renewals: int = 3  # of neurons without effect: each is worth a refit only if the one before has helped
    renewed: Refit = Refit(125)  # half: most weights stay where they are
    finally_widened: Refit = Refit(60)  # only to see whether the error is halved

    # A mode for each well.
    temperatures: int = 5  # at which wells are counted: those that coexist do so over a range

    # The transition scale.
    other_scale: Refit = Refit(100)  # with the transition scale free
    lower: float = 0.8  # factor of one step down; the interval that fits alike is known to this ratio
    higher: float = 1.25  # of one step up, its inverse
    margin: float = 1.05  # ratio to its bounds at which the transition scale stops: the sigmoid saturates there
    profile_target: float = 1e-12  # loss at which a refit stops: errors of 1e-6 are far below any tolerance

    # What depends on designs.
    independent: Refit = Refit(30, tolerance=5e-3, patience=5)  # some dozens of groups are tried, and most fail

    # Pruning.
    pruned: Refit = Refit(60, tolerance=2e-3, patience=6)  # most attempts fail: an early end costs little
    prune_target: float = 0.4  # of the loss of an exact fit, at which a refit stops: the limit is met with room
    first_batch: float = 0.25  # share of the weights that are taken out at once; a batch that fails is halved
