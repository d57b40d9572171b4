"""What the search compares: models with their errors, the best of each number of modes, and when one is good enough."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lse_material.fit.discovery.schedule import Refit, Schedule
from lse_material.fit.model.constraints import Constraints
from lse_material.fit.model.initialise import random_start
from lse_material.fit.model.trainable import TrainablePotential
from lse_material.fit.options import Architecture, Sparsity
from lse_material.fit.problem.loss import Loss
from lse_material.fit.session import TimeUpError

Report = Callable[[str, float], None]


def silent(step: str, error: float) -> None:
    """Report nothing."""


def attempt(edit: Callable[..., TrainablePotential | None], *arguments: Any) -> TrainablePotential | None:
    """An edit of a model; None where it does not apply or a matrix cannot be factored: the step was no good then."""
    try:
        return edit(*arguments)
    except (torch.linalg.LinAlgError, np.linalg.LinAlgError):
        return None


def alike(squares: Tensor, others: Tensor, standard_errors: float) -> bool:
    """Whether squares of errors, row by row, exceed others by no more than some standard errors of their mean difference.

    So must their roots: of few rows, of which one has nearly all of the error, the squares tell nothing.
    """
    differences = squares - others, squares.sqrt() - others.sqrt()
    return all(float(d.mean()) <= standard_errors * float(d.std()) / math.sqrt(len(d)) for d in differences)


@dataclass(frozen=True, eq=False)
class Candidate:
    """A model, which is not changed any more.

    Attributes:
        error: relative, on the validation rows.
        squares: of the errors of each of these rows.
        explained: whether the stated errors of the data are as large as its errors, so that nothing is left to be found.
    """

    model: TrainablePotential
    error: float
    squares: Tensor
    explained: bool

    @property
    def modes(self) -> int:
        """Number of trained modes; a symmetry makes several of each."""
        return self.model.architecture.count


class Candidates:
    """The best candidate of each number of modes so far. Within the tolerance a smaller model is as good as a larger one."""

    def __init__(self, tolerance: float, schedule: Schedule) -> None:
        self.tolerance, self.schedule = tolerance, schedule
        self.best: dict[int, Candidate] = {}

    def add(self, *candidates: Candidate) -> None:
        """Keep those that are better than what is known of their number of modes."""
        for candidate in candidates:
            known = self.best.get(candidate.modes)
            if known is None or candidate.error < known.error:
                self.best[candidate.modes] = candidate

    def acceptable(self, candidate: Candidate) -> bool:
        """Whether an error is within the tolerance of the best found, as independent errors add.

        An error that is larger than that is mostly noise, so that the validation rows may also fail to tell the two apart.
        """
        best = self.least
        if candidate.explained:
            return True
        if best.error <= self.schedule.satisfied * self.tolerance:
            return candidate.error <= self.tolerance
        added = math.sqrt(max(candidate.error**2 - best.error**2, 0.0))
        return added <= self.tolerance or alike(candidate.squares, best.squares, self.schedule.significance)

    @property
    def least(self) -> Candidate:
        """The candidate of the least error."""
        return min(self.best.values(), key=attrgetter("error"))

    def smallest_acceptable(self) -> Candidate | None:
        """The fewest modes that are acceptable; None before there is any candidate."""
        numbers = [modes for modes, candidate in self.best.items() if self.acceptable(candidate)]
        return self.best[min(numbers)] if numbers else None

    @property
    def errors(self) -> dict[int, float]:
        """The least error of each number of modes."""
        return {modes: self.best[modes].error for modes in sorted(self.best)}


@dataclass(frozen=True, eq=False)
class Discovery:
    """What each move of the search works with."""

    architecture: Architecture  # of the modes; `max_modes` of them to start with
    train: Loss  # the loss that refits minimise
    validation: Loss  # the loss on the validation rows, whose error decides
    constraints: Constraints  # what the potential obeys by construction
    sparsity: Sparsity  # options of the search
    rng: np.random.Generator  # source of random numbers, which moves advance
    report: Report  # called with a line and an error after each refit
    schedule: Schedule  # numbers of the search
    candidates: Candidates  # what has been found; moves add to it
    # relative errors that the two losses are known to have; 0 where they are not
    noise: tuple[float, float] = (0.0, 0.0)

    @property
    def few(self) -> Loss:
        """The loss on the rows on which trials are compared."""
        return self.train.part(slice(0, self.sparsity.trial_rows))

    def random_start(self, modes: int) -> TrainablePotential:
        """A random model of so many modes."""
        return random_start(replace(self.architecture, modes=modes), self.train, self.rng, self.constraints)

    def candidate(self, model: TrainablePotential, step: str) -> Candidate:
        """The model with its error, reported and kept if it is the best of its number of modes."""
        candidate = Candidate(
            model, self.validation.worst_error(model), self.validation.by_row(model), self.explained(model)
        )
        self.report(f"{step}, {candidate.modes} modes", candidate.error)
        self.candidates.add(candidate)
        return candidate

    def explained(self, model: TrainablePotential) -> bool:
        """Whether the errors of all rows are, in the mean square, within those that are known."""
        if not all(self.noise):
            return False
        losses = self.train, self.validation
        count = np.array([len(loss.known_stresses) for loss in losses])
        errors = np.array([loss.worst_error(model) / noise for loss, noise in zip(losses, self.noise)])
        return bool(count @ errors**2 <= count.sum())

    def refitted(self, model: TrainablePotential, refit: Refit, step: str) -> Candidate:
        """A model refitted, with a weak pull towards sharp transitions, until its error is well below the tolerance."""
        target = (self.schedule.target * self.sparsity.tolerance) ** 2
        return self.converged(model, refit, step, rho_weight=self.sparsity.rho_weight, target=target)

    def converged(self, model: TrainablePotential, refit: Refit, step: str, **options: float) -> Candidate:
        """A model refitted to convergence, or as far as it came: what is found when time is up may be the best so far."""
        try:
            refit.run(model, self.train, **options)  # type: ignore[arg-type]
        except TimeUpError:
            self.candidate(model, step)
            raise
        return self.candidate(model, step)

    def in_order(self, models: list[TrainablePotential], trial: Refit) -> list[TrainablePotential]:
        """The models by their losses after a short refit on a few rows, the best first."""
        losses = [trial.run(model, self.few, rho_weight=self.sparsity.rho_weight) for model in models]
        return [models[i] for i in np.argsort(losses)]
