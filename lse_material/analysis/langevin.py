"""Overdamped Langevin dynamics in a potential, and the rate at which it changes wells.

    gamma dx = -grad Psi dt + sqrt(2 gamma T) dB,        stationary density  exp(-Psi/T) / Z

T is in the unit of Psi (k_B times temperature). Paths are made by the Euler-Maruyama scheme; samples of the stationary density
by its variant of B. Leimkuhler and C. Matthews, Appl. Math. Res. Express 2013, 34 (2013), whose error is O(dt^2) there.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from lse_material._arrays import Array, expect_shape, float_array, frozen, generator, positive, whole_number
from lse_material.analysis.stationary import StationaryPoint
from lse_material.errors import InvalidInputError


class HasGradient(Protocol):
    """A landscape: `SoftMinimum` or anything else that gives dW/dx of points (n, d)."""

    def gradient(self, x: Any) -> Array:
        """(n, d)."""


@dataclass(frozen=True)
class Dynamics:
    """Temperature, friction and time step.

    Attributes:
        temperature: T > 0, in the unit of the potential.
        step: dt > 0; a small part of gamma / largest curvature.
        friction: gamma > 0.

    Raises:
        InvalidInputError: naming the field.

    >>> lse.analysis.Dynamics(temperature=1e-3, step=1e-2)
    Dynamics(temperature=0.001, step=0.01, friction=1.0)
    """

    temperature: float
    step: float
    friction: float = 1.0

    def __post_init__(self) -> None:
        for name in ("temperature", "step", "friction"):
            positive(name, getattr(self, name))


def trajectories(
    potential: HasGradient, start: Any, dynamics: Dynamics, *, records: int, every: int = 1, seed: int = 0
) -> Array:
    """Paths of n walkers: positions (records + 1, n, d), the start among them, `every` steps apart.

    Args:
        potential: the landscape.
        start: (n, d).
        dynamics: temperature, friction, time step.
        records: positions to keep of each walker.
        every: steps from one to the next.
        seed: of the noise.

    Raises:
        InvalidInputError: a number below 1, or a walker that has left all bounds (the step is too long).

    >>> dynamics = lse.analysis.Dynamics(temperature=1e-4, step=1e-2)
    >>> paths = lse.analysis.trajectories(material.potential, np.zeros((5, 3)), dynamics, records=10)
    >>> paths.shape
    (11, 5, 3)
    """
    return _run(potential, start, dynamics, records, every, generator(seed), averaged=False)


def stationary_samples(
    potential: HasGradient, start: Any, dynamics: Dynamics, *, records: int, every: int, burn_in: int, seed: int = 0
) -> Array:
    """Samples of exp(-Psi/T)/Z, (records * n, d): as `trajectories`, after `burn_in` steps that are not kept.

    The walkers must have changed wells several times by then, or the start shows. Other arguments and errors as `trajectories`.

    >>> dynamics, often = lse.analysis.Dynamics(temperature=1e-3, step=1e-2), {"records": 4, "every": 10, "burn_in": 50}
    >>> x = lse.analysis.stationary_samples(material.potential, np.zeros((5, 3)), dynamics, **often)
    >>> x.shape
    (20, 3)
    """
    rng = generator(seed)
    x = (
        _run(potential, start, dynamics, 1, burn_in, rng, averaged=True)[-1]
        if whole_number("burn_in", burn_in)
        else start
    )
    kept = _run(potential, x, dynamics, records, every, rng, averaged=True)[1:]
    return kept.reshape(-1, kept.shape[-1])


def first_passage_times(
    potential: HasGradient, start: Any, dynamics: Dynamics, *, target: Any, radius: float, longest: float, seed: int = 0
) -> Array:
    """Times (n,) at which walkers first come within `radius` of one of the points `target` (m, d); inf after `longest`.

    The mean over walkers from one well to another is 1/rate for barriers above a few T. Walkers are looked at after each step.
    Other arguments as `trajectories`.

    Raises:
        InvalidInputError: radius or longest not > 0, targets of another dimension, or a walker that has left all bounds.

    >>> goal = {"target": [[0.05, -0.05, 0.0]], "radius": 0.05, "longest": 500.0}
    >>> dynamics = lse.analysis.Dynamics(temperature=2e-3, step=5e-2)
    >>> times = lse.analysis.first_passage_times(material.potential, np.zeros((5, 3)), dynamics, **goal)
    >>> bool(np.isfinite(times).all())
    True
    """
    x = float_array("start", start, 2).copy()
    goals = float_array("target", target, 2)
    expect_shape("target", goals, (len(goals), x.shape[1]))
    radius, longest = positive("radius", radius), positive("longest", longest)
    rng = generator(seed)
    drift = dynamics.step / dynamics.friction
    noise = np.sqrt(2.0 * dynamics.temperature * drift)
    times, left = np.full(len(x), np.inf), np.arange(len(x))
    for n in range(1, int(np.ceil(longest / dynamics.step)) + 1):
        x = x - drift * potential.gradient(x) + noise * rng.standard_normal(x.shape)
        near = (((x[:, None] - goals) ** 2).sum(axis=2) <= radius**2).any(axis=1)
        if near.any():
            times[left[near]] = n * dynamics.step
            x, left = x[~near], left[~near]
            if len(left) == 0:
                break
    _check_bounds(x)
    return times


def kramers_rate(well: StationaryPoint, saddle: StationaryPoint, temperature: float, *, friction: float = 1.0) -> float:
    """Rate of leaving a well over one saddle, per time: the formula of Kramers and Langer, for barriers well above T.

        k = |lambda_-| / (2 pi gamma) sqrt( det H_well / |det H_saddle| ) exp( -(W_saddle - W_well) / T )

    J. S. Langer, Ann. Phys. 54, 258 (1969). Rates over several saddles add.

    Raises:
        InvalidInputError: no well, no saddle of index 1 above it, or a number that is not > 0.

    >>> well, saddle = lse.analysis.wells(material.potential)[0], lse.analysis.saddles(material.potential)[0]
    >>> rates = [lse.analysis.kramers_rate(well, saddle, T) for T in (1e-3, 2e-3)]
    >>> rates[0] < rates[1]
    True
    """
    if well.index != 0 or not (well.eigenvalues > 0.0).all():
        raise InvalidInputError(f"the point at {well.x.tolist()} is no well: its curvatures are {well.eigenvalues}.")
    if saddle.index != 1 or not (saddle.eigenvalues[1:] > 0.0).all():
        raise InvalidInputError(f"the point at {saddle.x.tolist()} is no saddle of index 1.")
    if not saddle.energy > well.energy:
        raise InvalidInputError("the saddle does not lie above the well.")
    temperature, friction = positive("temperature", temperature), positive("friction", friction)
    log_ratio = np.log(well.eigenvalues).sum() - np.log(np.abs(saddle.eigenvalues)).sum()
    frequency = -saddle.eigenvalues[0] / (2.0 * np.pi * friction)
    return float(frequency * np.exp(0.5 * log_ratio - (saddle.energy - well.energy) / temperature))


def _run(
    potential: HasGradient,
    start: Any,
    dynamics: Dynamics,
    records: int,
    every: int,
    rng: np.random.Generator,
    *,
    averaged: bool,
) -> Array:
    """Positions (records + 1, n, d); `averaged` takes the mean of two successive random forces for each step."""
    x = float_array("start", start, 2).copy()
    whole_number("records", records, 1)
    whole_number("every", every, 1)
    drift = dynamics.step / dynamics.friction
    noise = np.sqrt(2.0 * dynamics.temperature * drift)
    kept = np.empty((records + 1, *x.shape))
    kept[0] = x
    force = rng.standard_normal(x.shape)
    for n in range(1, records * every + 1):
        ahead = rng.standard_normal(x.shape)
        x = x - drift * potential.gradient(x) + noise * (0.5 * (force + ahead) if averaged else ahead)
        force = ahead
        if n % every == 0:
            kept[n // every] = x
    _check_bounds(x)
    return frozen(kept)


def _check_bounds(x: Array) -> None:
    if not np.isfinite(x).all():
        raise InvalidInputError(
            "a walker has left all bounds: shorten Dynamics.step, or the potential falls without bound "
            "(fit it with Architecture(stiffness=...))."
        )
