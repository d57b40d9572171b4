"""Variational inference: a density exp(-Psi)/Z of a soft minimum fitted to an unnormalised target.

    minimise  Var_q(Psi + ln p) + c E_q |grad Psi + grad ln p|^2

The first term, with samples of the present q held fixed, has the gradient of the reverse divergence KL(q || p), times 2, and
much less noise (L. Richter et al., "VarGrad", NeurIPS 2020); the second is the Fisher divergence of score matching (A.
Hyvarinen, J. Mach. Learn. Res. 6, 695 (2005)), which alone is blind to how much each of several separate modes weighs. The
first points come from particles that are annealed from a box to the target, p^b with b from 0 to 1 (P. Del Moral, A. Doucet, A.
Jasra, J. R. Stat. Soc. B 68, 411 (2006)): they find the modes, and the first modes of the potential are fitted to groups of
them; then q is sampled and fitted again.

The target's normaliser Z is estimated from samples of q, ln Z = ln E_q(p/q), and checked by the particles, which are near p:
ln Z = -ln E_p(q/p). Where q lacks a mode or a tail of p, the first is too low by ln of what q covers, with weights that look
even; the second is not (both in X.-L. Meng, W. H. Wong, Stat. Sinica 6, 831 (1996)). Their difference is part of the error.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy.cluster.hierarchy import linkage
from scipy.cluster.vq import kmeans2
from torch import Tensor

from lse_material._arrays import Array, float_array, generator
from lse_material.analysis.density import Density, importance, mala, summed, systematic
from lse_material.data.samples import Samples
from lse_material.errors import ConvergenceError, InvalidInputError
from lse_material.fit.model.edit import nearest_quadratic
from lse_material.fit.model.initialise import random_start
from lse_material.fit.model.trainable import TrainablePotential
from lse_material.fit.optimise.multistart import multistart
from lse_material.fit.options import Architecture, Options, Training, expect_options, option
from lse_material.fit.problem.loss import Loss
from lse_material.fit.problem.rows import Scales, rows_of, scales_of
from lse_material.fit.session import ENDS, Session, ctrl_c_interrupts, reason_of
from lse_material.model.box import Box

GAP = 3.0  # ratio of successive links between points above which they part groups
KMEANS = 5  # runs, of which the best is taken
RUNAWAY = 1000.0  # half widths of the box, beyond which most particles have left it for good
MOST_TEMPERATURES = 1000  # of an annealing; some 100 find peaks of a millionth of the box
# of differences, in units of the box, of which the best counts at each point
STEPS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
GRADIENT_ERROR = 0.2  # median relative error of a gradient against them, above which it belongs to another function
FEWEST = 10  # points for each input, to which a density is fitted
COINCIDE = 1e-6  # spread of particles along an input, in units of the box, below which they count as one point

Target = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Inference(Options):
    """How a density is found.

    >>> lse.fit.Inference(particles=500).rounds
    2
    """

    particles: int = option(2000, "points of the annealing, and of each sample of q", least=100)
    rounds: int = option(2, "fits to samples of q after the first fit", least=0)
    moves: int = option(10, "steps of each particle at each temperature", least=1)
    even: float = option(0.7, "effective share of particles that each temperature step leaves", above=0.0, below=1.0)
    depth: float = option(
        15.0, "energy above the lowest up to which points count for a fit; beyond it p is next to nothing", above=0.0
    )
    least: float = option(
        0.95,
        "effective sample size, as a share, below which the fit is made once more from other starts, and above 1 always: of "
        "samples of q weighted to p, and of the annealed particles weighted to q, which tell where q misses a mode",
        least=0.0,
    )
    accept: float = option(
        0.9,
        "of the same shares, the least with which the best fit is returned; below it `infer` raises",
        least=0.0,
        below=1.0,
    )
    attempts: int = option(3, "fits, at most; the best is kept", least=1)
    time_limit: float = option(0.0, "seconds after which the search ends with the best so far; 0: no limit", least=0.0)


@dataclass(frozen=True, eq=False)
class Inferred:
    """A density fitted to a target.

    Attributes:
        density: q.
        log_evidence: ln of the target's normaliser, by importance weights of samples of q.
        evidence_error: its standard error: of the weights, of q's own normaliser (`density.error`, most often the largest
            part), and what the annealed particles say is missing. A mode that neither they nor q have found is in no part.
        ess: effective sample size of the weights of samples of q to p, as a share.
        evaluations: of the target and its gradient.
        coverage: effective sample size of the weights of the annealed particles to q, as a share; near the share of p's mass
            that q has where q lacks a mode.
        stopped: what ended the search early: Ctrl-C or the time limit; empty if nothing did.

    >>> target = lambda x: -0.5 * ((x - 1.0) ** 2).sum(1)  # a Gaussian
    >>> one_mode = lse.fit.Architecture(modes=1, depth=0, stiffness=1e-3)
    >>> found = lse.fit.infer(target, [-5.0], [7.0], architecture=one_mode, training=quick)
    >>> bool(abs(found.log_evidence - 0.5 * np.log(2.0 * np.pi)) < 5.0 * found.evidence_error)
    True
    """

    density: Density
    log_evidence: float
    evidence_error: float
    ess: float
    evaluations: int
    coverage: float
    stopped: str = ""

    @property
    def met(self) -> float:
        """The smaller of both shares: how well the density meets its target."""
        return min(self.ess, self.coverage)


class Counted:
    """A target in NumPy: energies -ln p and their gradients, counted."""

    def __init__(self, target: Target, size: int) -> None:
        self.target, self.size, self.evaluations = target, size, 0

    def __call__(self, x: Array) -> tuple[Array, Array]:
        """Energies (n,) and gradients (n, d) at x (n, d).

        Raises InvalidInputError: the target gives another shape, a NaN, or +inf.
        """
        t = torch.tensor(x, dtype=torch.float64, requires_grad=True)
        log_p = self.target(t)
        if not isinstance(log_p, Tensor) or log_p.shape != (len(x),) or log_p.is_complex():
            found = f"a {type(log_p).__name__} of {getattr(log_p, 'dtype', '')} of shape {tuple(getattr(log_p, 'shape', ()))}"
            raise InvalidInputError(
                f"the target returned {found} for points {x.shape}; it must return a real Tensor of shape ({len(x)},)."
            )
        if not log_p.requires_grad:
            raise InvalidInputError("the target has no gradient: it must be made of torch operations on its argument.")
        (score,) = torch.autograd.grad(log_p.sum(), t)
        self.evaluations += len(x)
        energy, gradient = -log_p.detach().double().numpy(), -score.numpy()
        if np.isnan(energy).any():
            row = int(np.argmax(np.isnan(energy)))
            raise InvalidInputError(f"the target is NaN at {x[row].tolist()}; outside its support let it be -inf.")
        if np.isneginf(energy).any():
            row = int(np.argmin(energy))
            raise InvalidInputError(f"the target is +inf at {x[row].tolist()}: exp of it has no finite integral.")
        return energy, np.where(np.isfinite(gradient), gradient, 0.0)


def infer(
    target: Target,
    lower: Any,
    upper: Any,
    *,
    architecture: Architecture | None = None,
    training: Training | None = None,
    inference: Inference | None = None,
    seed: int = 0,
) -> Inferred:
    """Fit a density to an unnormalised target.

    Args:
        target: ln p up to a constant, torch: x (n, d) float64 -> (n,), differentiable.
        lower: lowest corner (d,) of a box that holds nearly all of p; the search starts from points all over it.
        upper: its highest corner.
        architecture: of Psi; 6 modes with a little stiffness if left out.
        training: of each fit; fewer steps than for a material if left out.
        inference: how points are found; `Inference()` if left out.
        seed: of everything random.

    Raises:
        InvalidInputError: a box as it must not be, modes="auto", or a target that gives NaN, +inf or another shape, or
            that is -inf, or the same, all over the box.
        ConvergenceError: no fit covers as much of the target as `Inference.accept` asks for; the message says what was
            reached, and how many separate places the target has. Or the target has no finite integral, no fit can be
            normalised, or the time limit has passed before there was one.
        KeyboardInterrupt: Ctrl-C before there was a fit; later the best fit so far is the result.

    >>> target = lambda x: -0.5 * ((x - 1.0) ** 2).sum(1)  # a Gaussian
    >>> one_mode = lse.fit.Architecture(modes=1, depth=0, stiffness=1e-3)
    >>> found = lse.fit.infer(target, [-5.0], [7.0], architecture=one_mode, training=quick)
    >>> bool(abs(found.density.sample(1000).mean() - 1.0) < 0.1)
    True
    """
    expect_options(architecture=architecture, training=training, inference=inference, seed=seed)
    if not callable(target):
        raise InvalidInputError(f"the target is {target!r}; it must be a function of x (n, d), in torch.")
    size = len(float_array("lower", lower, 1))
    box = Box.of(lower, upper, size)
    assert box is not None
    architecture = architecture or Architecture(modes=6, width=6, stiffness=1e-3)
    if architecture.modes == "auto":
        raise InvalidInputError('the number of modes of a density must be given, not "auto": take rather too many.')
    if training is not None and training.time_limit:
        raise InvalidInputError("an inference takes Inference.time_limit: leave Training.time_limit at 0.")
    training = training or Training(restarts=2, adam_steps=500, lbfgs_steps=300, patience=50, batch=500)
    inference = inference or Inference()
    rng = generator(seed)
    target = Counted(target, size)
    session = Session(time.monotonic() + (inference.time_limit or math.inf))
    best: Inferred | None = None
    stopped = failed = ""
    with ctrl_c_interrupts():
        try:
            search = _Search(target, annealed(target, box, inference, rng, session), inference, rng)
            for _ in range(inference.attempts):
                session.expect_time()
                try:
                    result = search.attempt(Regression(architecture, training, rng, session))
                except ConvergenceError as error:  # another start may end better
                    failed = str(error)
                    continue
                best = result if best is None or result.met > best.met else best
                if best.met >= inference.least or result.stopped:
                    break
        except ENDS as end:
            stopped = reason_of(end)
            if best is None and isinstance(end, KeyboardInterrupt):
                raise
    if best is None:
        raise ConvergenceError(_nothing(failed, inference))
    result = replace(best, evaluations=target.evaluations, stopped=stopped or result.stopped)
    if not result.met >= inference.accept:
        raise ConvergenceError(_missed(result, search.particles, architecture, inference))
    return result


class _Search:
    """Points of a target and what it is there; each attempt adds samples of its densities to points of its own."""

    def __init__(self, target: Counted, x: Array, inference: Inference, rng: np.random.Generator) -> None:
        self.target, self.x, self.inference, self.rng = target, x, inference, rng
        self.energy, self.gradient = target(x)
        self.particles, self.log_p = x[: inference.particles], -self.energy[: inference.particles]

    def attempt(self, regression: Regression) -> Inferred:
        """A density, and how well it meets the target."""
        n, depth = self.inference.particles, self.inference.depth
        density = regression.fit(self.x, self.energy, self.gradient, depth)
        for _ in range(self.inference.rounds):
            if regression.stopped:
                break
            more = density.sample(n, seed=int(self.rng.integers(2**31)))
            points = (more, *self.target(more))
            known = self.x, self.energy, self.gradient
            self.x, self.energy, self.gradient = (np.concatenate(p) for p in zip(known, points))
            density = regression.fit(self.x, self.energy, self.gradient, depth)
        check = density.sample(n, seed=int(self.rng.integers(2**31)))
        forward = importance(-self.target(check)[0], density.log_density(check))
        backward = importance(density.log_density(self.particles), self.log_p)
        error = evidence_error(forward, backward, density.error)
        return Inferred(
            density, forward[0], error, forward[2], self.target.evaluations, backward[2], regression.stopped
        )


def _nothing(failed: str, inference: Inference) -> str:
    """Why there is no density at all; `failed` says why the last fit could not be normalised, if there was one."""
    if failed:
        return (
            f"no attempt gave a density that can be normalised: {failed} Where the target ends abruptly, at the edge of its "
            "support, exp(-Psi) cannot follow: map the support onto the whole space, or let the target fall off smoothly."
        )
    return (
        f"the {inference.time_limit:g} s of Inference.time_limit have passed before there was a fit: give more, or fewer "
        "Inference.particles or moves."
    )


def _missed(result: Inferred, particles: Array, architecture: Architecture, inference: Inference) -> str:
    """What is wrong with a density that its target does not accept."""
    peaks = separate_places(particles)
    more = f" The annealed particles lie in {peaks} separate places, more than the {architecture.count} modes."
    return (
        "the density does not meet its target "
        + (
            f"by the time that {result.stopped} ended the search"
            if result.stopped
            else f"in {inference.attempts} attempts"
        )
        + f": of its samples {result.ess:.1%} count, of the "
        f"annealed particles {result.coverage:.1%} lie where it has mass ({inference.accept:.0%} are asked for)."
        + (more if peaks > architecture.count else "")
        + " Give more modes (Architecture), more Inference.particles, moves or attempts, a box that fits the target better; or "
        "take what there is by a smaller Inference.accept."
    )


def separate_places(x: Array) -> int:
    """How many groups points (n, d) form: single linkage, cut where the next gap is `GAP` times as wide; 1 if none is."""
    some = x[:: max(len(x) // 1000, 1)]
    gaps = linkage(some / np.maximum(some.std(axis=0), np.finfo(float).tiny), "single")[:, 2]
    wider = gaps[1:] / np.maximum(gaps[:-1], np.finfo(float).tiny)
    top = len(wider) - len(wider) // 5  # links within a group are many; those between groups come last
    last = top + int(np.argmax(wider[top:]))
    return len(some) - 1 - last if wider[last] > GAP else 1


def evidence_error(
    forward: tuple[float, float, float], backward: tuple[float, float, float], normaliser: float
) -> float:
    """The standard error of ln Z as samples of q give it.

    `forward` has ln Z and its standard error (and a share) by `importance` of samples of q weighted to p; `backward` the same
    with the parts of q and p exchanged, which gives -ln Z. `normaliser`: standard error of ln of the normaliser of q, in both.
    """
    if not math.isfinite(forward[0] + backward[0]):
        return math.inf
    variance = forward[1] ** 2 + normaliser**2
    difference = (forward[0] + backward[0]) ** 2
    by_chance = forward[1] ** 2 + backward[1] ** 2
    return math.sqrt(variance + max(difference - by_chance, 0.0))


def annealed(target: Counted, box: Box, inference: Inference, rng: np.random.Generator, session: Session) -> Array:
    """Points where p matters and around: particles at p, and those that were at p^b with b >= 1/4 on the way."""
    n = inference.particles
    x = rng.uniform(box.lower, box.upper, (n, target.size))
    power, kept, size = 0.0, [], None
    energy, _ = target(x)
    if np.isposinf(energy).all():
        raise InvalidInputError(
            f"the target is -inf at all {n} points of the box from {box.lower.tolist()} to {box.upper.tolist()}: give a box "
            "that its support fills better, or more Inference.particles."
        )
    if (energy == energy[0]).all():
        raise InvalidInputError(
            f"the target is {-energy[0]:g} at all {n} points of the box: a constant has no finite integral. Let it fall off "
            "outside its support."
        )
    expect_gradient(target, x, box.upper - box.lower)
    half, centre = 0.5 * (box.upper - box.lower), 0.5 * (box.upper + box.lower)
    for _ in range(MOST_TEMPERATURES):
        if power >= 1.0:
            break
        session.expect_time()
        step = _step(energy, 1.0 - power, inference.even)
        power += step
        weights = summed(-step * energy)[2]
        x = x[systematic(weights, n, rng)]

        def tempered(y: Array, power: float = power) -> tuple[Array, Array]:
            value, gradient = target(y)
            return power * value, power * gradient

        scale = np.maximum(x.std(axis=0), COINCIDE * (box.upper - box.lower))
        x, size = mala(tempered, x, inference.moves, rng, scale=scale, step=size)
        if not (np.median(np.abs(x - centre) / half, axis=0) <= RUNAWAY).all():
            raise ConvergenceError(
                f"half of the particles are more than {RUNAWAY:g} half widths away from the box, where the target is larger "
                "still: exp of it has no finite integral, or the box is far from where it has one."
            )
        energy, _ = target(x)
        if power >= 0.25:
            kept.append(x)
    else:
        raise ConvergenceError(
            f"{MOST_TEMPERATURES} temperatures did not bring the particles to the target: it has no finite integral, or peaks "
            "that are too narrow for the box."
        )
    return np.concatenate([kept[-1], *(part[:: len(kept)] for part in kept[:-1])])


def expect_gradient(target: Counted, x: Array, width: Array) -> None:
    """Compare gradients of the target with its differences along random directions, at 100 of the points x (n, d) at most.

    Raises InvalidInputError: they belong to another function: a part is detached, or a backward written by hand is wrong.
    """
    energy, gradient = target(x[:100])
    direction = width * np.random.default_rng(0).normal(size=gradient.shape)
    wanted, errors = (gradient * direction).sum(axis=1), []
    with np.errstate(invalid="ignore"):
        for step in STEPS:
            after, before = (target(x[:100] + sign * step * direction)[0] for sign in (1.0, -1.0))
            found = (after - before) / (2.0 * step)
            errors.append(np.abs(found - wanted) / np.maximum(np.abs(found), np.abs(wanted)))
    known = np.isfinite(energy) & np.isfinite(errors).any(axis=0)
    error = np.median(np.nanmin(np.array(errors)[:, known], axis=0)) if known.any() else 0.0
    if error > GRADIENT_ERROR:
        raise InvalidInputError(
            f"the gradient of the target differs from its differences by {error:.0%} in the median of {known.sum()} points: is "
            "a part of its argument detached, or a backward written by hand wrong?"
        )


def _step(energy: Array, most: float, even: float) -> float:
    """How much the power may grow until the weights' effective share falls to `even`, by bisection."""

    def share(step: float) -> float:
        weights = summed(-step * energy)[2]
        return float(1.0 / (weights**2).sum() / len(weights))

    if share(most) >= even:
        return most
    low, high = 0.0, most
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if share(middle) >= even else (low, middle)
    return max(low, 2.0**-40)


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
        s = self.scales
        potential = self.model.to_potential(s.input_shift, s.input_scale, s.energy_scale, s.energy_shift)
        potential = replace(potential, training_box=Box(x[near].min(axis=0), x[near].max(axis=0)))
        try:
            return Density.of(potential, seed=int(self.rng.integers(2**31)))
        except InvalidInputError as error:
            raise ConvergenceError(str(error)) from None

    def _start(self, loss: Loss, scales: Scales, *, grouped: bool) -> TrainablePotential:
        """A potential whose transition scale is 1: a mixture of its modes, which are random or one for each group of points."""
        start = random_start(self.architecture, loss, self.rng)
        low, high = (math.log(bound) for bound in start.scaled_rho_bounds)
        share = min(max((-math.log(scales.energy_scale) - low) / (high - low), 0.02), 0.98)
        with torch.no_grad():
            start.raw_rho.fill_(math.log(share / (1.0 - share)))
            if grouped and start.layered and start.quadratic is not None:
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
