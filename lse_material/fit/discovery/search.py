"""Discovery of the number of modes and of the transition scale, by sparse regression and refits.

An over-complete soft minimum is trained with a penalty on the entropy of the usage u_k = mean over the data of the mode
weight w_k, so that few modes carry the data; unused modes are dropped. This is done for modes without neurons (convex
quadratic functions) first, and for networks unless those explain the data. Then modes are left out one after another, each
time with a refit, for as long as the error on rows held back stays within the tolerance. A second-order polish follows,
and the transition scale is driven down as far as the data do not contradict; what is not needed is pruned.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace

import numpy as np

from lse_material.fit.discovery.prune import prune
from lse_material.fit.discovery.transition_scale import driven, with_other_scaled_rho
from lse_material.fit.model import edit
from lse_material.fit.model.constraints import Constraints
from lse_material.fit.model.initialise import random_start
from lse_material.fit.model.trainable import TrainablePotential
from lse_material.fit.optimise.adam import adam
from lse_material.fit.optimise.levenberg_marquardt import levenberg_marquardt
from lse_material.fit.optimise.parallel import one_after_another
from lse_material.fit.options import Architecture, Sparsity
from lse_material.fit.problem.loss import Loss

WIDER_THAN = 5.0  # a model within this many tolerances may be mended by neurons instead of a mode
NOTHING = 0.01  # tolerances below which an error counts as none
NOISE = 0.3  # tolerances above which what is left of the error counts as noise
OTHER_RHO = 4.0, 0.25, 0.5, 2.0  # factors that are tried
FINE = 0.1  # tolerances that a polished fit should meet, by twice the neurons if they halve the error
DECISIVE = 30.0  # by this factor one mode more must lower the error of a number that is good enough
RATE = 0.02  # of Adam in refits
SAME = 0.9  # an error that another start does not bring below this share is the data's own
HOPELESS = 8.0  # tolerances beyond which other candidates of the same size are not tried


def _silent(what: str, error: float) -> None:
    """Nobody is told."""


@dataclass
class Discovery:
    """The search and what it has found.

    Attributes:
        best: for each number of modes (of orbits, with a symmetry), the error on the rows held back and the model.
        transition_scale_interval: smallest and largest transition scale, in scaled energy, with which the data are fitted
            alike; NaN for one mode, where it has no meaning.
    """

    architecture: Architecture
    train: Loss
    validation: Loss
    sparsity: Sparsity
    rng: np.random.Generator
    constraints: Constraints = field(default_factory=Constraints)
    tell: Callable[[str, float], None] = _silent
    processes: int = 1
    best: dict[int, tuple[float, TrainablePotential]] = field(default_factory=dict)
    transition_scale_interval: tuple[float, float] = (math.nan, math.nan)

    def run(self) -> TrainablePotential:
        """The whole search; returns the model that was chosen."""
        if self._quadratic_modes_suffice():  # fewer modes by more weights would be no simpler
            self.architecture = replace(self.architecture, depth=0)
        else:
            last = math.inf
            for error in self._starts():
                if error <= self.sparsity.tolerance or SAME * last < error < last / SAME:
                    break
                last = min(error, last)
        return self._prune(self._lower_rho(self._larger(self._again(self._polish(self._eliminate())))))

    def _quadratic_modes_suffice(self) -> bool:
        """Whether modes without neurons explain the data, exactly or but for noise, which is cheap to find out."""
        if not (self.architecture.depth and self.architecture.quadratic):
            return False
        plain = replace(self, architecture=replace(self.architecture, depth=0), rng=self.rng.spawn(1)[0])  # same `best`
        plain.begin()
        model = self.chosen()
        assert model is not None
        error = self._error(self._refit(edit.copy_of(model), 60, "polish", finely=True))
        if error <= NOTHING * self.sparsity.tolerance:
            return True
        many = model.architecture.count > self.architecture.max_modes // 2  # so many can imitate neurons
        if many or error >= WIDER_THAN * self.sparsity.tolerance:
            return False
        wider = edit.widened(model, self.architecture, self.rng)  # only to see: neurons would do with fewer modes
        adam(wider, self.train, 200, RATE)
        levenberg_marquardt(wider, self.train, 100, tolerance=2e-4, patience=10)
        # what is missed is noise if neither neurons nor another start with them can do anything about it
        return self._error(wider) > SAME * error and self._error(self._sparse_start()) > SAME * error

    def _starts(self) -> Iterator[float]:
        """The error of each random start, with random numbers of its own."""
        each = self.rng.spawn(self.sparsity.restarts)
        if self.processes == 1:
            for rng in each:
                yield replace(self, rng=rng).begin()[0]  # shares `best`
            return
        jobs = [replace(self, rng=rng, best={}, tell=_silent) for rng in each]
        with closing(one_after_another(Discovery.begin, jobs, self.processes)) as starts:
            for error, best in starts:
                for modes, found in best.items():
                    if modes not in self.best or found[0] < self.best[modes][0]:
                        self.best[modes] = found
                yield error

    def begin(self) -> tuple[float, dict[int, tuple[float, TrainablePotential]]]:
        """The first step of the search alone: a sparse start; its error, and the best of each number of modes so far."""
        return self._error(self._grow(self._sparse_start())), self.best

    def chosen(self) -> TrainablePotential | None:
        """The smallest model so far whose error is within the tolerance of the best: what an interrupted search keeps."""
        good = [modes for modes, (error, _) in self.best.items() if self._good(error)]
        return self.best[min(good)][1] if good else None

    # ---- steps of the search -------------------------------------------------------------------------------------------

    def _sparse_start(self) -> TrainablePotential:
        """Adam on `max_modes` modes with the usage penalty, then only the used ones, refitted."""
        o = self.sparsity
        model = self._random(self.architecture.max_modes)
        edit.set_scaled_rho(model, 1.0)
        adam(model, self.train, o.adam_steps, o.learning_rate, rho_weight=o.rho_weight, usage_weight=o.usage_weight)
        model = self._refit(edit.without_unused(model, self.train, o.least_usage), 60, "sparse")
        for factor in OTHER_RHO[:2]:
            if self._error(model) <= o.tolerance or not model.raw_rho.requires_grad:
                break
            model = self._better(self._refit(with_other_scaled_rho(model, self.train, factor), 60, "rho"), model)
        return model

    def _grow(self, model: TrainablePotential) -> TrainablePotential:
        """At most two more modes while the error is above the tolerance."""
        few = self.train.part(slice(0, self.sparsity.trial_rows))
        for _ in range(2):
            if self._error(model) <= self.sparsity.tolerance or model.architecture.count >= self.architecture.max_modes:
                break
            added = edit.with_mode_added(model, self.train, self.rng)
            trials = [] if added is None else [added]
            split = edit.with_mode_split(model, self.train, self.rng) if self.constraints.orbit is None else None
            trials = trials if split is None else [split, *trials]
            if not trials:
                break
            values = [self._improve(trial, few, 100, 10) for trial in trials]
            model = self._refit(trials[int(np.argmin(values))], 60, "add", adam_steps=200)
        return model

    def _eliminate(self) -> TrainablePotential:
        """Backward elimination from the smallest number of modes that is good enough so far."""
        o, few = self.sparsity, self.train.part(slice(0, self.sparsity.trial_rows))
        modes = min(k for k, (error, _) in self.best.items() if self._good(error))
        while modes > 1:
            model = self.best[modes][1]
            cheapest = np.argsort(edit.losses_without(model, self.train))[: o.trials]
            smaller = [edit.select(model, [j for j in range(modes) if j != k]) for k in cheapest]
            merged = edit.with_pair_merged(model, self.train)
            if merged is not None:
                smaller.append(merged)
            values = [self._improve(trial, few, 100, 12) for trial in smaller]
            found = False
            for i in np.argsort(values)[:2]:
                error = self._error(self._refit(smaller[i], 100, "drop", adam_steps=200))
                found = found or self._good(error)
                if found or error > HOPELESS * o.tolerance:
                    break
            if not found and self.best[modes - 1][0] < WIDER_THAN * o.tolerance and self.architecture.depth:
                wider = edit.widened(self.best[modes - 1][1], self.architecture, self.rng)
                found = self._good(self._error(self._refit(wider, 100, "widen", adam_steps=100)))
            several = (modes - 1) * self.constraints.variants > 1  # one convex mode has no minima beside the best
            if not found and not (several and self._good(self._error(self._fresh(modes - 1, few)))):
                break
            modes -= 1
        return self.best[modes][1]

    def _fresh(self, modes: int, few: Loss) -> TrainablePotential:
        """The best of some random starts with so many modes: leaving one out may have ended in a local minimum."""
        starts = [self._random(modes) for _ in range(self.sparsity.trials)]
        values = [self._improve(start, few, 200, 15) for start in starts]
        return self._refit(starts[int(np.argmin(values))], 100, "fresh", adam_steps=200)

    def _random(self, modes: int) -> TrainablePotential:
        return random_start(self.architecture.with_modes(modes), self.train, self.rng, self.constraints)

    def _polish(self, model: TrainablePotential) -> TrainablePotential:
        """Levenberg-Marquardt to the end; neurons without effect get new hinges, thrice at most."""
        model = self._better(self._refit(edit.copy_of(model), 250, "polish", finely=True), model)
        for _ in range(3):
            if self._error(model) < 0.05 * self.sparsity.tolerance:
                break
            renewed = edit.with_dead_neurons_renewed(model, self.train, self.rng)
            if renewed is None:
                break
            if self._error(self._refit(renewed, 125, "renew", finely=True)) >= self._error(model):
                break
            model = renewed
        if self._error(model) > FINE * self.sparsity.tolerance and self.architecture.depth:
            wider = self._refit(edit.widened(model, self.architecture, self.rng), 60, "widen", finely=True)
            model = wider if self._error(wider) < 0.5 * self._error(model) else model
        return model

    def _again(self, model: TrainablePotential) -> TrainablePotential:
        """Another start with as many modes if it is much better: what is missed may be noise, or a minimum beside the best."""
        modes = model.architecture.count
        if self._error(model) <= NOISE * self.sparsity.tolerance or modes * self.constraints.variants == 1:
            return model
        again = self._polish(self._fresh(modes, self.train.part(slice(0, self.sparsity.trial_rows))))
        return again if self._error(again) < 0.5 * self._error(model) else model

    def _larger(self, model: TrainablePotential) -> TrainablePotential:
        """One mode more if that is decisively better: the smaller number only just met the tolerance then."""
        error, more = self._error(model), model.architecture.count + 1
        if error <= NOISE * self.sparsity.tolerance or more not in self.best or self.best[more][0] > 0.5 * error:
            return model
        larger = self._polish(self.best[more][1])
        return larger if self._error(larger) <= error / DECISIVE else model

    def _lower_rho(self, model: TrainablePotential) -> TrainablePotential:
        """The transition scale lowered as far as the data allow; how far it could be raised is found too."""
        if not model.raw_rho.requires_grad:
            return model
        model = self._other_rho(model)
        sharpest = self._change_rho(model, 0.8)
        smoothest = self._change_rho(model, 1.25)
        self.transition_scale_interval = (sharpest.scaled_rho_value, smoothest.scaled_rho_value)
        self._note(sharpest, "rho")
        return sharpest

    def _other_rho(self, model: TrainablePotential) -> TrainablePotential:
        """Another transition scale if the data want one: where few rows lie on ridges, the error has minima beside the best."""
        floor = NOTHING * self.sparsity.tolerance
        for factor in OTHER_RHO:
            if not floor < self._error(model) < NOISE * self.sparsity.tolerance:
                break
            trial = with_other_scaled_rho(model, self.train, factor)
            levenberg_marquardt(trial, self.train, 100, tolerance=2e-4, patience=10)
            if self._error(trial) < max(0.5 * self._error(model), floor):
                model = trial
                self._note(model, "rho")
        return model

    def _change_rho(self, model: TrainablePotential, factor: float) -> TrainablePotential:
        """The transition scale changed by `factor` at a time, with refits, for as long as the errors stay as they are."""
        alike = self._alike(model, self.sparsity.rho_slack, NOTHING * self.sparsity.tolerance)
        tell = lambda model: self.tell(f"rho {model.scaled_rho_value:.2g}", self._error(model))  # noqa: E731
        return driven(model, self.train, factor, alike, tell)

    def _prune(self, model: TrainablePotential) -> TrainablePotential:
        """Weights and neurons left out for as long as the errors stay within the factor that is allowed."""
        factor, floor = self.sparsity.prune, NOTHING * self.sparsity.tolerance
        if factor <= 1.0:
            return model
        tell = lambda what: self.tell(what, self._error(model))  # noqa: E731
        return prune(model, self.train, self._alike(model, factor, floor), 0.4 * floor**2, tell)

    def _alike(
        self, model: TrainablePotential, factor: float, floor: float = 0.0
    ) -> Callable[[TrainablePotential], bool]:
        """Whether a candidate fits as well as `model`: its errors are within `factor` of the model's, or below `floor`.

        Where the error is near the tolerance or above it is mostly noise, and a factor would hide a misfit of that size: the
        rows held back must then not tell the two apart, by one standard error of the mean difference of their squares.
        """
        losses = self.validation, self.train
        limits = [max(factor * loss.worst_error(model), floor) for loss in losses]
        rows = self.validation.by_row(model)
        noisy = self._error(model) > NOISE * self.sparsity.tolerance

        def alike(trial: TrainablePotential) -> bool:
            if any(loss.worst_error(trial) > limit for loss, limit in zip(losses, limits)):
                return False
            worse = self.validation.by_row(trial) - rows
            return not noisy or float(worse.mean()) <= float(worse.std()) / math.sqrt(len(worse))

        return alike

    # ---- what they are made of -----------------------------------------------------------------------------------------

    def _error(self, model: TrainablePotential) -> float:
        return self.validation.worst_error(model)

    def _better(self, model: TrainablePotential, other: TrainablePotential) -> TrainablePotential:
        return model if self._error(model) <= self._error(other) else other

    def _good(self, error: float) -> bool:
        """Whether an error is within the tolerance of the best found, as independent errors add."""
        best = min(e for e, _ in self.best.values())
        if best <= self.sparsity.tolerance / 2:
            return error <= self.sparsity.tolerance
        return math.sqrt(max(error**2 - best**2, 0.0)) <= self.sparsity.tolerance

    def _note(self, model: TrainablePotential, what: str) -> None:
        error, modes = self._error(model), model.architecture.count
        self.tell(f"{what}, {modes} modes", error)
        if modes not in self.best or error < self.best[modes][0]:
            self.best[modes] = (error, edit.copy_of(model))

    def _refit(
        self, model: TrainablePotential, iterations: int, what: str, *, adam_steps: int = 0, finely: bool = False
    ) -> TrainablePotential:
        if adam_steps:
            adam(model, self.train, adam_steps, RATE, rho_weight=self.sparsity.rho_weight)
        target = 0.0 if finely else (0.15 * self.sparsity.tolerance) ** 2
        levenberg_marquardt(
            model,
            self.train,
            iterations,
            rho_weight=0.0 if finely else self.sparsity.rho_weight,
            target=target,
            tolerance=2e-4,
            patience=10,
        )
        self._note(model, what)
        return model

    def _improve(self, model: TrainablePotential, loss: Loss, steps: int, iterations: int) -> float:
        """A short refit on a few rows, to compare candidates."""
        weight = self.sparsity.rho_weight
        adam(model, loss, steps, RATE, rho_weight=weight)
        return levenberg_marquardt(model, loss, iterations, rho_weight=weight, tolerance=1e-3)
