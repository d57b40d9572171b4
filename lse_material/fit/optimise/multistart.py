"""Weights of a given number of modes: Adam from several random starts, then second-order methods from the best weights seen.

First Levenberg-Marquardt, where its normal equations cost little, then L-BFGS: invariants depend on each other to first order
in the strain, so that L-BFGS alone needs thousands of iterations.

"Best" is judged on validation rows (early stopping). Ctrl-C and the time limit end the search and keep what was best by then.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor
from torch.nn.utils import vector_to_parameters

from lse_material._progress import progress_bar
from lse_material.errors import LseError
from lse_material.fit.model.trainable import TrainablePotential
from lse_material.fit.optimise.adam import CHECK_EVERY, adam, flat, trained
from lse_material.fit.optimise.found import Found, Record
from lse_material.fit.optimise.jacobian import is_written_out
from lse_material.fit.optimise.lbfgs import lbfgs
from lse_material.fit.optimise.levenberg_marquardt import levenberg_marquardt
from lse_material.fit.optimise.parallel import one_after_another
from lse_material.fit.options import Training
from lse_material.fit.problem.loss import Loss
from lse_material.fit.session import ENDS, TimeUpError, reason_of

SECOND_ORDER_STEPS = 200  # of Levenberg-Marquardt before L-BFGS, at most
SECOND_ORDER_PATIENCE = 20  # of these steps without a better validation error
SECOND_ORDER_COST = 1.2e7  # numbers in all rows times weights squared, above which L-BFGS is alone
ROW_BY_ROW = 30.0  # times what the same costs if its derivatives are written out
SHARE_OF_STARTS = 0.5  # of the time, where it is limited: the rest is for the best start
PHASES = {-1.0: "levenberg_marquardt", -2.0: "lbfgs"}  # after those of Adam, with their numbers in a checkpoint
IMPROVEMENT = 1e-4  # share by which the validation loss must fall for L-BFGS to stay patient


@dataclass
class BestWeights:
    """The best weights seen, and the history of losses."""

    train: Loss  # the loss on the training rows
    validation: Loss  # the loss that judges
    history: list[Record] = field(default_factory=list)
    weights: Tensor | None = None
    loss: float = math.inf
    out_of_time: bool = False  # whether the time limit has ended the search

    def look(self, model: TrainablePotential, phase: str, step: int, train: float) -> float:
        """Record the losses of the model as it is, and keep its weights if they are the best so far."""
        with torch.no_grad():
            validation = train if self.validation is self.train else float(self.validation(model))
        self.history.append(Record(phase, step, train, validation))
        if validation < self.loss:
            self.weights, self.loss = flat(trained(model)), validation
        return validation

    def restore(self, model: TrainablePotential) -> None:
        """Give the model the best weights."""
        assert self.weights is not None
        vector_to_parameters(self.weights.clone(), trained(model))

    def merge(self, other: BestWeights) -> None:
        """Take over what has been seen elsewhere, on the same rows."""
        self.history += other.history
        if other.loss < self.loss:
            self.weights, self.loss = other.weights, other.loss

    def to_vector(self) -> Tensor:
        """All of it as one vector, for a checkpoint; phases are numbered, those of Adam by their starts."""
        assert self.weights is not None
        number = {phase: k for k, phase in PHASES.items()}
        lines = [[float(number.get(r.phase, r.phase.split()[-1])), r.step, r.train, r.validation] for r in self.history]
        return torch.cat([self.weights, torch.tensor([self.loss, *itertools.chain(*lines)], dtype=torch.float64)])

    def take(self, vector: Tensor, weights: int) -> None:
        """What `to_vector` has made of so many weights."""
        lines = vector[weights + 1 :].reshape(-1, 4).tolist()
        self.history = [Record(PHASES.get(k, f"adam {k:.0f}"), int(step), *losses) for k, step, *losses in lines]
        self.weights, self.loss = vector[:weights], float(vector[weights])


def multistart(
    starts: list[TrainablePotential], train: Loss, validation: Loss, training: Training, *, progress: bool
) -> Found:
    """Train from every start by Adam, and from the best weights by L-BFGS.

    Raises LseError: no start gave a finite loss; KeyboardInterrupt: it came before there was one.
    """
    model, best, stopped = starts[0], BestWeights(train, validation), ""
    with progress_bar("fitting", len(starts) * training.adam_steps + training.lbfgs_steps, show=progress) as bar:

        def advance(steps: int) -> None:
            bar(steps, f"validation error {math.sqrt(best.loss):.2e}")

        try:
            with contextlib.suppress(TimeUpError):
                _train_starts(starts, best, training, advance)
            _refine(model, best, training, advance)
        except ENDS as end:
            stopped = reason_of(end)
            if best.weights is None and isinstance(end, KeyboardInterrupt):
                raise
    if best.weights is None:
        raise LseError("no start of the fit gave a finite loss: lower Training.learning_rate.")
    best.restore(model)
    return Found(model, tuple(best.history), stopped)


def _train_starts(
    starts: list[TrainablePotential], best: BestWeights, training: Training, advance: Callable[[int], None]
) -> None:
    """Adam from every start, for a part of the time if it is limited; each start is a stage of the fit."""
    session, vectors = best.train.session, [flat(trained(start)) for start in starts]
    done = 0
    while done < len(starts) and (known := session.recall(vectors[done])) is not None:
        best.take(known, len(vectors[done]))
        advance(training.adam_steps)
        done += 1
    train = replace(best.train, session=session.part(SHARE_OF_STARTS))
    validation = train if best.validation is best.train else best.validation
    own = (best, advance) if training.processes == 1 else (None, None)
    run = partial(_train_start, train, validation, training, *own)
    with contextlib.closing(one_after_another(run, list(enumerate(starts))[done:], training.processes)) as results:
        for seen, start in zip(results, vectors[done:]):
            if seen is not best:
                best.merge(seen)
                advance(training.adam_steps)
            if seen.out_of_time:
                raise TimeUpError
            if best.weights is not None:
                session.keep(start, best.to_vector())


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

    batches = -(-len(train.inputs) // training.batch)

    def after(step: int, loss: float) -> None:
        if step % (CHECK_EVERY * batches) == 0:
            if batches > 1:  # the loss of a batch cannot be compared with that of all rows
                with torch.no_grad():
                    loss = float(train(model))
            best.look(model, phase, step, loss)
        if advance is not None:
            advance(CHECK_EVERY)

    try:
        adam(model, train, training.adam_steps, training.learning_rate, batch=training.batch, after=after)
    except TimeUpError:
        best.out_of_time = True
        return best
    with torch.no_grad():
        best.look(model, phase, training.adam_steps, float(train(model)))
    return best


def _refine(model: TrainablePotential, best: BestWeights, training: Training, advance: Callable[[int], None]) -> None:
    """Second-order methods from the best weights; each ends when it converges or the validation loss falls no more."""
    if best.weights is None or training.lbfgs_steps == 0:
        return
    train, session = best.train.part(slice(0, training.rows)), best.train.session

    def until(phase: str, patience: int) -> Callable[[float], bool]:
        """To be called after each iteration: whether the validation loss has fallen in the last `patience` ones."""
        least, at, step = best.loss, 0, 0

        def after(loss: float) -> bool:
            nonlocal least, at, step
            step += 1
            validation = best.look(model, phase, step, loss)
            if validation < least * (1.0 - IMPROVEMENT):
                least, at = validation, step
            advance(phase == PHASES[-2])
            return step - at < patience

        return after

    def second_order() -> None:
        steps = min(SECOND_ORDER_STEPS, training.lbfgs_steps)
        levenberg_marquardt(model, train, steps, after=until(PHASES[-1], SECOND_ORDER_PATIENCE))

    def first_order() -> None:
        lbfgs(model, train, training.lbfgs_steps, until(PHASES[-2], training.patience))

    cheap = train.is_of_sums or _second_order_cost(model, train) < SECOND_ORDER_COST
    for stage in (second_order, first_order) if cheap else (first_order,):
        best.restore(model)
        start = flat(trained(model))
        known = session.recall(start)
        if known is None:
            stage()
            session.keep(start, best.to_vector())
        else:
            best.take(known, len(start))


def _second_order_cost(model: TrainablePotential, train: Loss) -> float:
    """Numbers in the rows times weights squared, and more where no derivative is written out."""
    if not isinstance(model, TrainablePotential) or (model.constraints.orbit is not None and not is_written_out(model)):
        return math.inf  # each row would be differentiated at all of its images, if at all: a plain network is a module
    numbers = float(train.inputs.numel() + len(train.inputs))
    return numbers * sum(p.numel() for p in trained(model)) ** 2 * (1.0 if is_written_out(model) else ROW_BY_ROW)
