"""Weights of a given number of modes: Adam from several random starts, then L-BFGS from the best weights seen.

Sums of stresses, each of which costs as much as all of them, go through Levenberg-Marquardt in between.

"Best" is judged on validation rows (early stopping). Ctrl-C ends the search and keeps what was best by then.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor
from torch.nn.utils import vector_to_parameters

from lse_material._progress import progress_bar
from lse_material.errors import LseError
from lse_material.fit.model.trainable import TrainablePotential
from lse_material.fit.optimise.adam import CHECK_EVERY, adam, flat, trained
from lse_material.fit.optimise.found import Found, Record
from lse_material.fit.optimise.lbfgs import lbfgs
from lse_material.fit.optimise.levenberg_marquardt import levenberg_marquardt
from lse_material.fit.optimise.parallel import one_after_another
from lse_material.fit.options import Training
from lse_material.fit.problem.loss import Loss

SECOND_ORDER_STEPS = 40  # of Levenberg-Marquardt before L-BFGS, for sums of stresses
IMPROVEMENT = 1e-4  # share by which the validation loss must fall for L-BFGS to stay patient


@dataclass
class BestWeights:
    """The best weights seen, and the history of losses.

    Attributes:
        train: the loss on the training rows.
        validation: the loss that judges.
    """

    train: Loss
    validation: Loss
    history: list[Record] = field(default_factory=list)
    weights: Tensor | None = None
    loss: float = math.inf

    def look(self, model: TrainablePotential, phase: str, step: int, train: float) -> float:
        """Record the losses of the model as it is, and keep its weights if they are the best so far."""
        with torch.no_grad():
            validation = train if self.validation is self.train else float(self.validation(model))
        self.history.append(Record(phase, step, train, validation))
        if validation < self.loss:
            self.weights, self.loss = flat(trained(model)), validation
        return validation

    def merge(self, other: BestWeights) -> None:
        """Take over what has been seen elsewhere, on the same rows."""
        self.history += other.history
        if other.loss < self.loss:
            self.weights, self.loss = other.weights, other.loss


def multistart(
    starts: list[TrainablePotential], train: Loss, validation: Loss, training: Training, *, progress: bool
) -> Found:
    """Train from every start by Adam, and from the best weights by L-BFGS.

    Raises:
        LseError: no start gave a finite loss.
    """
    model, best, interrupted = starts[0], BestWeights(train, validation), False
    with progress_bar("fitting", len(starts) * training.adam_steps + training.lbfgs_steps, show=progress) as bar:

        def advance(steps: int) -> None:
            bar(steps, f"validation error {math.sqrt(best.loss):.2e}")

        own = (best, advance) if training.processes == 1 else (None, None)
        run = partial(_train_start, train, validation, training, *own)
        try:
            for seen in one_after_another(run, list(enumerate(starts)), training.processes):
                if seen is not best:
                    best.merge(seen)
                    advance(training.adam_steps)
            _refine(model, best, training, advance)
        except KeyboardInterrupt:
            interrupted = True
    if best.weights is None:
        raise LseError(
            "no start of the fit gave a finite loss"
            + (" before it was interrupted." if interrupted else ": lower Training.learning_rate.")
        )
    vector_to_parameters(best.weights, trained(model))
    return Found(model, tuple(best.history), interrupted)


def _train_start(
    train: Loss,
    validation: Loss,
    training: Training,
    best: BestWeights | None,
    advance: Callable[[int], None] | None,
    job: tuple[int, TrainablePotential],
) -> BestWeights:
    """Adam from one start; in a process of its own, weights and history are its own too."""
    best, phase, model = best or BestWeights(train, validation), f"adam {job[0]}", job[1]

    def after(step: int, loss: float) -> None:
        best.look(model, phase, step, loss)
        if advance is not None:
            advance(CHECK_EVERY)

    adam(model, train, training.adam_steps, training.learning_rate, batch=training.batch, after=after)
    with torch.no_grad():
        best.look(model, phase, training.adam_steps, float(train(model)))
    return best


def _refine(model: TrainablePotential, best: BestWeights, training: Training, advance: Callable[[int], None]) -> None:
    """L-BFGS from the best weights, until it converges or the validation loss has not fallen for `patience` iterations."""
    if best.weights is None:
        return
    vector_to_parameters(best.weights.clone(), trained(model))
    if best.train.is_of_sums:  # an evaluation costs as much as a Jacobian
        levenberg_marquardt(model, best.train, SECOND_ORDER_STEPS, after=lambda loss: _look_on(best, model, loss))
    least, at = best.loss, 0

    def after(step: int, loss: float) -> bool:
        nonlocal least, at
        validation = best.look(model, "lbfgs", step, loss)
        advance(1)
        if validation < least * (1.0 - IMPROVEMENT):
            least, at = validation, step
        return step - at < training.patience

    lbfgs(model, best.train.part(slice(0, training.rows)), training.lbfgs_steps, after)


def _look_on(best: BestWeights, model: TrainablePotential, loss: float) -> None:
    best.look(model, "levenberg_marquardt", len(best.history), loss)
