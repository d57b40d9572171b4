"""Variational inference: a density exp(-Psi)/Z of a soft minimum fitted to an unnormalised target.

    minimise  Var_q(Psi + ln p) + c E_q |grad Psi + grad ln p|^2

The first term, with samples of the present q held fixed, has the gradient of the reverse divergence KL(q || p), times 2, and
much less noise (L. Richter et al., "VarGrad", NeurIPS 2020); the second is the Fisher divergence of score matching (A.
Hyvarinen, J. Mach. Learn. Res. 6, 695 (2005)), which alone is blind to how much each of several separate modes weighs. The
first points come from particles (`lse_material.fit.annealing`): they find the modes, and the first modes of the potential are
fitted to groups of them; then q is sampled and fitted again.

The target's normaliser Z is estimated from samples of q, ln Z = ln E_q(p/q), and checked by the particles, which are near p:
ln Z = -ln E_p(q/p). Where q lacks a mode or a tail of p, the first is too low by ln of what q covers, with weights that look
even; the second is not (both in X.-L. Meng, W. H. Wong, Stat. Sinica 6, 831 (1996)). Their difference is part of the error.
"""

import math
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lse_material._arrays import Array, float_array, generator
from lse_material.analysis.density import Density, importance
from lse_material.errors import ConvergenceError, InvalidInputError
from lse_material.fit.annealing import Counted, Target, annealed, separate_places
from lse_material.fit.density_regression import Regression
from lse_material.fit.options import Architecture, Inference, Training, expect_options
from lse_material.fit.problem.parameters import architecture_of
from lse_material.fit.session import ENDS, PROCESSOR, Session, ctrl_c_interrupts, made_on, reason_of
from lse_material.model.box import Box


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
        target: ln p up to a constant, torch: x (n, d) float64, on torch's default device -> (n,), differentiable.
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
    if size == 0 or (0.5 * box.upper - 0.5 * box.lower).max() > 0.5 * np.finfo(float).max:
        raise InvalidInputError(f"the box from {lower} to {upper} has no inputs, or one that is wider than any number.")
    architecture = architecture or Architecture(modes=6, width=6, stiffness=1e-3)
    architecture = architecture_of(architecture, None, 0)
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
    with ctrl_c_interrupts(), made_on(PROCESSOR):
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
    peaks, when, more = separate_places(particles), f"in {inference.attempts} attempts", ""
    if result.stopped:
        when = f"by the time that {result.stopped} ended the search"
    if peaks > architecture.count:
        more = f" The annealed particles lie in {peaks} separate places, more than the {architecture.count} modes."
    return (
        f"the density does not meet its target {when}: of its samples {result.ess:.1%} count, of the annealed particles "
        f"{result.coverage:.1%} lie where it has mass ({inference.accept:.0%} are asked for).{more} Give more modes "
        "(Architecture), more Inference.particles, moves or attempts, a box that fits the target better; or take what there is "
        "by a smaller Inference.accept."
    )


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
