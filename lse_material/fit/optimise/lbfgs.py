"""Finding the weights: Adam from several random starts, then L-BFGS on the best of them, keeping the best weights seen.

"Best" is judged on rows that are held back (early stopping). Ctrl-C ends the search and keeps what was best by then.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from scipy.optimize import minimize
from torch import Tensor

from lse_material._arrays import Array
from lse_material.errors import LseError
from lse_material.fit.discovery.search import Discovery
from lse_material.fit.model.trainable import TrainablePotential
from lse_material.fit.optimise.parallel import one_after_another
from lse_material.fit.options import Training
from lse_material.fit.problem.loss import Loss

CHECK_EVERY = 10  # steps of Adam between two looks at the validation rows


@dataclass
class Record:
    """One line of a fit's history: losses on the training and validation rows (equal if none are held back)."""

    phase: str
    step: int
    train: float
    validation: float


@dataclass
class Search:
    """The state of a search: the best weights seen, and the history."""

    train: Loss
    validation: Loss
    history: list[Record] = field(default_factory=list)
    best: Array | None = None
    best_loss: float = math.inf
    interrupted: bool = False

    def look(self, model: TrainablePotential, phase: str, step: int, train: float) -> float:
        """Record the losses of the model as it is; keep its weights if they are the best so far."""
        with torch.no_grad():
            validation = train if self.validation is self.train else float(self.validation(model))
        self.history.append(Record(phase, step, train, validation))
        if validation < self.best_loss:
            self.best, self.best_loss = _weights(model), validation
        return validation

    def take_over(self, other: Search) -> None:
        """What a search elsewhere, on the same rows, has seen."""
        self.history += other.history
        if other.best_loss < self.best_loss:
            self.best, self.best_loss = other.best, other.best_loss


@dataclass
class _Start:
    """What one start needs, for a process of its own."""

    model: TrainablePotential
    state: Search
    training: Training
    phase: str


def _run(start: _Start) -> Search:
    _adam(start.model, start.state, start.training, start.phase, lambda steps: None)
    return start.state


def search(
    starts: list[TrainablePotential], train: Loss, validation: Loss, training: Training, *, progress: bool
) -> tuple[TrainablePotential, Search]:
    """Train from every start; returns the model with the best weights, and how it went.

    Raises:
        LseError: no start gave a finite loss.
    """
    state = Search(train, validation)
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("validation error {task.fields[error]}"),
        console=console,
        disable=not (progress and console.is_terminal),
        transient=True,
    ) as bar:
        total = len(starts) * training.adam_steps + training.lbfgs_steps
        task = bar.add_task("fitting", total=total, error="-")

        def advance(steps: int) -> None:
            bar.update(task, advance=steps, error=f"{math.sqrt(state.best_loss):.2e}")

        model = starts[0]
        try:
            jobs = [_Start(model, Search(train, validation), training, f"adam {i}") for i, model in enumerate(starts)]
            if training.processes == 1:
                for job in jobs:
                    _adam(job.model, state, training, job.phase, advance)
            else:
                for found in one_after_another(_run, jobs, training.processes):
                    state.take_over(found)
                    advance(training.adam_steps)
            if state.best is not None:
                _set_weights(model, state.best)
                _lbfgs(model, state, training, advance)
        except KeyboardInterrupt:
            state.interrupted = True
    if state.best is None:
        raise LseError(
            "no start of the fit gave a finite loss"
            + (" before it was interrupted." if state.interrupted else ": lower Training.learning_rate.")
        )
    _set_weights(model, state.best)
    return model, state


def discover(found: Discovery, *, progress: bool) -> tuple[TrainablePotential, Search]:
    """Run a discovery with a line of progress; returns the model, and how it went. Ctrl-C keeps the best number so far.

    Raises:
        LseError: it was interrupted before anything was found.
    """
    state = Search(found.train, found.validation)
    console = Console(stderr=True)
    columns = TextColumn("discovery"), TimeElapsedColumn(), TextColumn("{task.description}")
    with Progress(*columns, console=console, disable=not (progress and console.is_terminal), transient=True) as bar:
        task = bar.add_task("sparse start", total=None)

        def tell(what: str, error: float) -> None:
            state.history.append(Record(what, len(state.history), error, error))
            bar.update(task, description=f"{what}: validation error {error:.2e}")

        found.tell = tell
        try:
            return found.run(), state
        except KeyboardInterrupt:
            state.interrupted = True
            model = found.chosen()
    if model is None:
        raise LseError("the discovery was interrupted before its first model was fitted: nothing can be kept.")
    return model, state


def _adam(
    model: TrainablePotential, state: Search, training: Training, phase: str, advance: Callable[[int], None]
) -> None:
    """Adam on batches of rows, the learning rate falling along a cosine; after a loss that is not finite, back and slower."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    rate = training.learning_rate
    optimiser = torch.optim.Adam(parameters, lr=rate, betas=(0.9, 0.99))
    good = _weights(model)
    for step in range(training.adam_steps):
        fall = 0.5 * (1.0 + math.cos(math.pi * step / training.adam_steps))
        optimiser.param_groups[0]["lr"] = 1e-3 + (rate - 1e-3) * fall
        optimiser.zero_grad()
        loss = state.train.batch(step, training.batch)(model)
        loss.backward()
        if not (math.isfinite(loss.item()) and all(torch.isfinite(_slope(p)).all() for p in parameters)):
            _set_weights(model, good)
            rate *= 0.3
            optimiser = torch.optim.Adam(parameters, lr=rate, betas=(0.9, 0.99))
            continue
        if step % CHECK_EVERY == 0:
            good = _weights(model)
            state.look(model, phase, step, loss.item())
            advance(CHECK_EVERY)
        optimiser.step()
    with torch.no_grad():
        state.look(model, phase, training.adam_steps, float(state.train(model)))


def _lbfgs(model: TrainablePotential, state: Search, training: Training, advance: Callable[[int], None]) -> None:
    """SciPy's L-BFGS-B on the flat vector of weights, until it converges or the validation error stops falling."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    train = state.train.part(slice(0, training.rows))
    seen = {"train": math.nan, "step": 0, "best": state.best_loss, "best_step": 0}

    def value_and_gradient(weights: Array) -> tuple[float, Array]:
        _set_weights(model, weights)
        model.zero_grad()
        loss = train(model)
        loss.backward()
        seen["train"] = loss.item()
        gradient = torch.cat([_slope(p).reshape(-1) for p in parameters]).numpy()
        if not (math.isfinite(loss.item()) and np.isfinite(gradient).all()):
            return 1e300, np.zeros_like(weights)  # a step that overflowed: the line search goes back
        return loss.item(), gradient

    def after_iteration(intermediate_result: object) -> None:
        seen["step"] += 1
        _set_weights(model, intermediate_result.x)  # type: ignore[attr-defined]
        train = float(intermediate_result.fun)  # type: ignore[attr-defined]
        validation = state.look(model, "lbfgs", int(seen["step"]), train)
        advance(1)
        if validation < seen["best"] * (1.0 - 1e-4):
            seen["best"], seen["best_step"] = validation, seen["step"]
        elif seen["step"] - seen["best_step"] >= training.patience:
            raise StopIteration

    minimize(
        value_and_gradient,
        _weights(model),
        jac=True,
        method="L-BFGS-B",
        callback=after_iteration,
        options={
            "maxiter": training.lbfgs_steps,
            "maxfun": 3 * training.lbfgs_steps,
            "maxcor": 30,
            "ftol": 1e-12,
            "gtol": 1e-10,
        },
    )


def _slope(parameter: Tensor) -> Tensor:
    """The gradient of the loss, zero where it does not depend on the parameter."""
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


def _weights(model: TrainablePotential) -> Array:
    """All trainable weights as one vector (a copy)."""
    return torch.cat([p.detach().reshape(-1) for p in model.parameters() if p.requires_grad]).numpy().copy()


def _set_weights(model: TrainablePotential, weights: Array) -> None:
    with torch.no_grad():
        position = 0
        for p in model.parameters():
            if p.requires_grad:
                p.copy_(torch.tensor(weights[position : position + p.numel()]).reshape(p.shape))
                position += p.numel()
