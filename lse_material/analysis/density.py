"""A potential as a probability density: its normaliser, and samples of it.

    q(x) = exp(-Psi(x)) / Z

With the transition scale 1 a soft minimum makes q a mixture of its modes, q = sum_k exp(-psi_k) / Z, each log-concave. In any
case a mode has one maximum, about which it is near a Gaussian of the covariance (Hess psi_k)^-1. Draws from the mixture of
these, with the longer tails of a Student density, are weighted to give Z, and drawn again by their weights and moved by the
Metropolis-adjusted Langevin algorithm to give samples (G. O. Roberts, R. L. Tweedie, Bernoulli 2, 341 (1996)).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from lse_material._arrays import Array, expect_shape, float_array, frozen, generator, whole_number
from lse_material.analysis.stationary import follow_eigenvectors
from lse_material.errors import InvalidInputError
from lse_material.model.soft_minimum import SoftMinimum, expect_potential

DEGREES = 5.0  # of freedom of the Student densities
WIDEST = 3.0  # standard deviation of a proposal, at most, in units of input_scale
FLAT = 1e-9  # curvature of a mode, likewise, that is none
LARGEST_ERROR = 0.3  # of ln Z, from weights of which about ten count; one weight alone would give 1, not more
ACCEPTED = 0.57  # share of moves that are best accepted (Roberts & Rosenthal, J. R. Stat. Soc. B 60, 255 (1998))

Walked: TypeAlias = Callable[[Array], tuple[Array, Array]]  # x (n, d) -> energies (n,) and gradients (n, d)


@dataclass(frozen=True, eq=False)
class Density:
    """A normalised density exp(-Psi)/Z. Make one by `Density.of`.

    Attributes:
        potential: Psi.
        log_normaliser: ln Z.
        error: standard error of ln Z.
        mode_masses: mean mode weights (K,), the share of each mode.
        draws: points (n, d) from the proposals.
        weights: of the draws, (n,), summing to 1: together they represent q.

    >>> parabola = lse.ConvexNetwork.from_arrays([], [[[0.0]]], [[0.0]], quadratic=[[1.0]])
    >>> density = lse.analysis.Density.of(lse.SoftMinimum((parabola,), 1.0))  # exp(-x^2 / 2) / sqrt(2 pi)
    >>> bool(abs(density.log_normaliser - 0.5 * np.log(2.0 * np.pi)) < 4.0 * density.error)
    True
    """

    potential: SoftMinimum
    log_normaliser: float
    error: float
    mode_masses: Array
    draws: Array
    weights: Array

    @classmethod
    def of(cls, potential: SoftMinimum, *, draws: int = 20_000, seed: int = 0) -> Density:
        """The density of a potential, with ln Z from this number of draws.

        Raises:
            InvalidInputError: fewer than 100 draws, a mode that does not grow in every direction, or weights too uneven.
        """
        whole_number("draws", draws, 100)
        x, log_proposal = _proposals(expect_potential(potential), draws, generator(seed))
        log_weight = -potential.energy(x) - log_proposal
        log_z, error, weights = summed(log_weight)
        if not error <= LARGEST_ERROR:
            raise InvalidInputError(
                f"the normaliser cannot be estimated (standard error {error:.2g} of its logarithm): give more draws, or modes "
                "that grow in every direction (fit with Architecture(stiffness=1e-3), say)."
            )
        masses = weights @ potential.mode_weights(x)
        return cls(potential, log_z, error, frozen(masses), frozen(x), frozen(weights))

    def log_density(self, x: Any) -> Array:
        """ln q of points (..., d): (...)."""
        return -self.potential.energy(x) - self.log_normaliser

    def sample(self, n: int, *, seed: int = 0, moves: int = 30) -> Array:
        """Samples (n, d): draws chosen by their weights, then moved.

        Raises:
            InvalidInputError: n is no number of samples, or moves no number of moves.
        """
        whole_number("n", n, 1)
        whole_number("moves", moves)
        rng = generator(seed)
        chosen = self.draws[systematic(self.weights, n, rng)]

        def both(x: Array) -> tuple[Array, Array]:
            values = self.potential.evaluate(x)
            return values.energy, values.gradient

        # chosen at random, not by the mode of the point: moves that depend on where they start would not leave q as it is
        which = rng.choice(len(self.mode_masses), n, p=self.mode_masses / self.mode_masses.sum())
        return mala(both, chosen, moves, rng, scale=self._spreads()[which])[0]

    def _spreads(self) -> Array:
        """Standard deviation of each mode's part of q along each input: (K, d)."""
        share = self.weights[:, None] * self.potential.mode_weights(self.draws)
        share = share / np.maximum(share.sum(axis=0), np.finfo(float).tiny)
        variance = share.T @ self.draws**2 - (share.T @ self.draws) ** 2
        result: Array = np.sqrt(np.maximum(variance, 1e-12 * self.potential.input_scale**2))
        return result


def importance(log_target: Array, log_proposal: Array) -> tuple[float, float, float]:
    """ln of the target's normaliser, its standard error, and the effective sample size as a share of the samples.

    These are -inf, inf and 0 where the target is -inf at every sample, which then say nothing of it.

    Args:
        log_target: unnormalised, at samples of the proposal, (n,).
        log_proposal: normalised, (n,).

    Raises:
        InvalidInputError: their shapes differ, or are not (n,), n > 0.

    >>> x = np.linspace(0.0, 1.0, 1000)  # draws of a proposal of density 1
    >>> log_z, error, share = lse.analysis.importance(-x, np.zeros(1000))  # int exp(-x) dx
    >>> round(float(np.exp(log_z)), 3), round(share, 2)
    (0.632, 0.92)
    """
    target = float_array("log_target", log_target, 1, finite=False)
    proposal = float_array("log_proposal", log_proposal, 1, finite=False)
    expect_shape("log_proposal", proposal, (max(len(target), 1),))
    log_z, error, weights = summed(target - proposal)
    return log_z, error, float(1.0 / (weights**2).sum() / len(weights)) if np.isfinite(log_z) else 0.0


def summed(log_weight: Array) -> tuple[float, float, Array]:
    """ln of the mean weight, its standard error, and the weights over their sum; -inf, inf and zeros if all weights are 0."""
    top = float(log_weight.max())
    if np.isneginf(top):
        return top, np.inf, np.zeros_like(log_weight)
    weight = np.exp(log_weight - top)
    mean = float(weight.mean())
    error = float(weight.std() / mean / np.sqrt(len(weight)))
    return top + float(np.log(mean)), error, weight / weight.sum()


def systematic(weights: Array, n: int, rng: np.random.Generator) -> Any:
    """Indices of n draws by weights that sum to 1, with the least spread (systematic resampling), in random order."""
    places = (np.arange(n) + rng.random()) / n
    index = np.minimum(np.searchsorted(np.cumsum(weights), places), len(weights) - 1)
    return rng.permutation(index)


def mala(
    walked: Walked, x: Array, moves: int, rng: np.random.Generator, *, scale: Array, step: float | None = None
) -> tuple[Array, float]:
    """Move points (n, d) by the Metropolis-adjusted Langevin algorithm; returns them and the step at the end.

    The scale, (d,) or (n, d), is about the spread of the density along each input. Steps are a share of it, which begins with
    `step` and is tuned in the first half only.
    """
    size = 0.3 / x.shape[1] ** (1.0 / 3.0) if step is None else step
    energy, gradient = walked(x)
    for move in range(moves):
        mean = x - 0.5 * size**2 * scale**2 * gradient
        there = mean + size * scale * rng.standard_normal(x.shape)
        energy_there, gradient_there = walked(there)
        back = there - 0.5 * size**2 * scale**2 * gradient_there
        forth, home = (((a - b) / (size * scale)) for a, b in ((there, mean), (x, back)))
        log_ratio = energy - energy_there + 0.5 * ((forth**2).sum(axis=1) - (home**2).sum(axis=1))
        taken = np.log(rng.random(len(x))) < log_ratio
        x = np.where(taken[:, None], there, x)
        energy = np.where(taken, energy_there, energy)
        gradient = np.where(taken[:, None], gradient_there, gradient)
        if move < moves // 2:
            size = float(np.clip(size * np.exp(taken.mean() - ACCEPTED), 1e-8, 2.0))
    return x, size


def _proposals(potential: SoftMinimum, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Draws (n, d) from a mixture of Student densities at the modes, and their log density (n,)."""
    d, scale = potential.size, potential.input_scale
    places, roots, depths = [], [], []
    for k in range(len(potential.modes)):
        alone = potential.alone(k)
        at = follow_eigenvectors(alone, potential.input_shift[None], 0, 4.0 * np.sqrt(d))[0][0]
        curvature, vectors = np.linalg.eigh(alone.hessian(at) * np.outer(scale, scale))
        if curvature[0] < FLAT:
            raise InvalidInputError(
                f"mode {k} does not grow in every direction: exp(-Psi) has no finite integral. Fit with "
                "Architecture(stiffness=1e-3), say."
            )
        width = 1.0 / np.sqrt(np.maximum(curvature, WIDEST**-2))
        places.append(at)
        roots.append(scale[:, None] * vectors * width)
        depths.append(-float(alone.energy(at[None])[0]) + np.log(width).sum())
    share = np.exp(np.array(depths) - max(depths))
    share = 0.9 * share / share.sum() + 0.1 / len(share)  # none is left out: their depths are but Laplace's
    which = rng.choice(len(share), n, p=share)
    normal = rng.standard_normal((n, d)) / np.sqrt(rng.chisquare(DEGREES, (n, 1)) / DEGREES)
    x = np.array(places)[which] + np.einsum("nij,nj->ni", np.array(roots)[which], normal)
    logs = [np.log(s) + _student(x, at, root) for s, at, root in zip(share, places, roots)]
    top = np.max(logs, axis=0)
    result: Array = top + np.log(np.exp(np.array(logs) - top).sum(axis=0))
    return x, result


def _student(x: Array, at: Array, root: Array) -> Array:
    """Log density of the Student distribution about `at` with the scale matrix root root^T, (n,)."""
    d = len(at)
    square = (np.linalg.solve(root, (x - at).T) ** 2).sum(axis=0)
    constant = math.lgamma(0.5 * (DEGREES + d)) - math.lgamma(0.5 * DEGREES) - 0.5 * d * np.log(DEGREES * np.pi)
    result: Array = constant - np.linalg.slogdet(root)[1] - 0.5 * (DEGREES + d) * np.log1p(square / DEGREES)
    return result
