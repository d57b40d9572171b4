"""A density exp(-Psi) fitted to energies and gradients of -ln p at points: a fit like any other, with transition scale 1.

The first modes of Psi are fitted to groups of the points, by k-means; later fits go on from the one before.
"""

from dataclasses import replace

import numpy as np
import torch
from scipy.cluster.vq import kmeans2

from lse_material._arrays import Array
from lse_material.analysis.density import Density
from lse_material.data.samples import Samples
from lse_material.errors import ConvergenceError, InvalidInputError
from lse_material.fit.model.edit import nearest_quadratic
from lse_material.fit.model.initialise import random_start
from lse_material.fit.model.trainable import TrainablePotential
from lse_material.fit.optimise.multistart import multistart
from lse_material.fit.options import Architecture, Training
from lse_material.fit.problem.loss import Loss
from lse_material.fit.problem.rows import Scales, rows_of, scales_of
from lse_material.fit.session import Session
from lse_material.model.box import Box

KMEANS = 5  # runs, of which the best is taken
FEWEST = 10  # points for each input, to which a density is fitted


class Regression:
    """Fits to energies and gradients, each of which starts from the one before."""

    def __init__(
        self, architecture: Architecture, training: Training, rng: np.random.Generator, session: Session
    ) -> None:
        self.architecture, self.training, self.rng, self.session = architecture, training, rng, session
        self.stopped = ""  # what ended the last fit early
        self.model: TrainablePotential | None = None
        self.scales: Scales | None = None

    def fit(self, x: Array, energy: Array, gradient: Array, depth: float) -> Density:
        """The density of the potential fitted to points whose energy lies at most `depth` above the lowest."""
        near = np.flatnonzero(energy < energy.min() + depth)
        if len(near) < FEWEST * x.shape[1]:
            raise ConvergenceError(
                f"only {len(near)} of {len(x)} points lie at most {depth:g} (Inference.depth) above the lowest energy: either "
                "exp of the target has no finite integral, or Inference.particles are too few."
            )
        if np.ptp(energy[near]) == 0.0 and not gradient[near].any():
            raise InvalidInputError(
                "the target is the same wherever it has mass. exp(-Psi) cannot follow a uniform density to its abrupt end: map "
                "the support onto the whole space, or let the target fall off smoothly."
            )
        near = self.rng.permutation(near)
        samples = Samples(x=x[near], energy=energy[near], gradient=gradient[near])
        held = max(round(self.training.validation * len(near)), 1)
        order = np.arange(len(near))
        rows, others = (rows_of(samples.take(part), None, None) for part in (order[held:], order[:held]))
        self.scales = self.scales or scales_of(rows)
        weights = self.training.energy_weight, self.training.stress_weight
        train, validation = (Loss.on(each, self.scales, *weights) for each in (rows, others))
        if self.model is None:
            starts = [self._start(train, self.scales, grouped=k == 0) for k in range(self.training.restarts)]
            training = self.training
        else:
            starts, training = [self.model], replace(self.training, adam_steps=0)
        found = multistart(starts, replace(train, session=self.session), validation, training, progress=False)
        self.model, self.stopped = found.model, found.stopped
        potential = self.model.to_potential(*self.scales)
        potential = replace(potential, training_box=Box(x[near].min(axis=0), x[near].max(axis=0)))
        try:
            return Density.of(potential, seed=int(self.rng.integers(2**31)))
        except InvalidInputError as error:
            raise ConvergenceError(str(error)) from None

    def _start(self, loss: Loss, scales: Scales, *, grouped: bool) -> TrainablePotential:
        """A potential whose transition scale is 1: a mixture of its modes, which are random or one for each group of points."""
        start = random_start(self.architecture, loss, self.rng)
        start.set_scaled_rho(1.0 / scales.energy_scale, 0.02)
        if grouped and start.layered and start.quadratic is not None:
            with torch.no_grad():
                self._fit_groups(start, loss)
        return start

    def _fit_groups(self, start: TrainablePotential, loss: Loss) -> None:
        """Make the quadratic terms of the modes those of the energies in groups of points, found by k-means."""
        assert loss.energies is not None
        assert start.quadratic is not None
        x, energies, k = loss.inputs, loss.energies, self.architecture.count
        seeds = self.rng.integers(2**31, size=KMEANS)
        found = [kmeans2(x.numpy(), k, minit="++", seed=int(seed), missing="warn") for seed in seeds]
        square = [float(((x.numpy() - centres[label]) ** 2).sum()) for centres, label in found]
        label = torch.tensor(found[int(np.argmin(square))][1])
        start.quadratic.zero_()
        for mode in range(k):
            inside = label == mode
            if int(inside.sum()) <= 2 * x.shape[1] ** 2:
                continue
            share = torch.exp(-0.5 * (energies[inside] - energies[inside].min()).clamp(max=40.0))
            missing = energies[inside] - start.trained_modes(x[inside])[0][mode]
            R, gradient, level, _ = nearest_quadratic(start, x[inside], missing, share)
            start.quadratic[mode].copy_(R)
            start.x_weights[-1][mode] += gradient
            start.biases[-1][mode] += level
