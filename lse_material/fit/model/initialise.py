"""Random starts of a fit: modes that have their minima at data points of low energy."""

import numpy as np
import torch

from lse_material._arrays import Array
from lse_material.fit.model.constraints import Constraints
from lse_material.fit.model.trainable import TrainablePotential
from lse_material.fit.options import Architecture
from lse_material.fit.problem.loss import Loss


def random_start(
    architecture: Architecture, loss: Loss, rng: np.random.Generator, constraints: Constraints | None = None
) -> TrainablePotential:
    """A model whose modes are bowls: each with its minimum, of zero gradient, at a data point of its own.

    The points are drawn one after another, far from those drawn before and rather where the energy is low (k-means++,
    Arthur and Vassilvitskii, 2007, weighted by exp(-energy)). With a symmetry they are moved to where one variant may have
    its minimum.
    """
    x = loss.inputs.numpy()
    energy = np.zeros(len(x)) if loss.energies is None else loss.energies.numpy()
    model = TrainablePotential.of(architecture, x.shape[1], constraints=constraints)
    chosen = _spread(x[:, model.temperatures :], np.exp(-(energy - energy.min())), architecture.count, rng)
    reads, rest = model.constraints.reads, model.constraints.rest
    if reads is not None and rest is not None:  # each mode starts at the data nearest to its own state
        away = ((x - rest.at.numpy()[:, None]) * reads.numpy()[:, None]) ** 2
        chosen = away.sum(axis=2).argmin(axis=1).tolist()
    centres = x[chosen] + 0.1 * rng.standard_normal((architecture.count, x.shape[1]))
    nearest = np.array([int(((x - c) ** 2).sum(axis=1).argmin()) for c in centres])
    if model.constraints.orbit is not None:
        centres = model.constraints.orbit.home(centres)
    with torch.no_grad():
        model.start(centres, energy[nearest], rng)
    return model


def _spread(x: Array, weight: Array, count: int, rng: np.random.Generator) -> list[int]:
    """Numbers of `count` points of x (n, d), each drawn with probability weight times squared distance to the ones before."""
    chosen, distance = [int(rng.choice(len(x), p=weight / weight.sum()))], np.full(len(x), np.inf)
    for _ in range(count - 1):
        distance = np.minimum(distance, ((x - x[chosen[-1]]) ** 2).sum(axis=1))
        share = weight * distance
        chosen.append(int(rng.choice(len(x), p=share / share.sum()) if share.sum() > 0 else rng.integers(len(x))))
    return chosen
