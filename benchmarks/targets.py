"""Potentials with known truth for benchmarks/discovery.py: energy, gradient, box of the data, number of modes, rho.

A number of modes is the smallest number of convex pieces whose soft minimum the energy is, or (polynomials) the number of
its wells that no convex function can hold together. rho is known for soft minima only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

import lse_material as lse

Array = Any


@dataclass(frozen=True)
class Target:
    """A potential on a box.

    Attributes:
        modes: the true number, None where it is not well defined.
        rho: the true transition scale, None where there is none.
    """

    energy: Callable[[Array], Array]
    gradient: Callable[[Array], Array]
    lower: Array
    upper: Array
    modes: int | None
    rho: float | None = None
    options: ClassVar[dict[str, Any]] = {}  # of the fit

    def samples(self, n: int, seed: int, noise: float = 0.0) -> lse.Samples:
        """Rows drawn uniformly from the box; noise is relative to the spread of energies and to the size of gradients."""
        rng = np.random.default_rng(seed)
        x = rng.uniform(self.lower, self.upper, (n, len(self.lower)))
        W, g = self.energy(x), self.gradient(x)
        W = W + noise * W.std() * rng.normal(size=W.shape)
        return lse.Samples(x=x, energy=W, gradient=g + noise * np.sqrt((g**2).mean()) * rng.normal(size=g.shape))


@dataclass(frozen=True)
class Bain:
    """Three tetragonal wells in Green-Lagrange strain with growth as J -> 0: W of deformation gradients F."""

    modes: int = 3
    rho: float = 0.002
    growth: ClassVar[lse.Growth] = lse.Growth(0.1)

    @property
    def options(self) -> dict[str, Any]:
        return {"kinematics": lse.GreenLagrange(3), "growth": self.growth}

    @property
    def material(self) -> lse.Material:
        stretches = np.array([[1.12, 0.95, 0.95], [0.95, 1.12, 0.95], [0.95, 0.95, 1.12]])  # lambda_c, lambda_a
        networks = []
        for stretch in stretches:
            centre = np.concatenate([0.5 * (stretch**2 - 1.0), np.zeros(3)])
            K = np.diag([4.0, 4.0, 4.0, 2.0, 2.0, 2.0]) + np.pad(np.ones((3, 3)), (0, 3))
            Q = np.linalg.cholesky(K).T
            level = [[0.5 * centre @ K @ centre]]
            networks.append(lse.ConvexNetwork.from_arrays([], [-(K @ centre)[None]], level, quadratic=Q))
        return lse.Material(lse.SoftMinimum(tuple(networks), self.rho), lse.GreenLagrange(3), self.growth)

    def samples(self, n: int, seed: int, noise: float = 0.0) -> lse.Samples:
        rng = np.random.default_rng(seed)
        F = np.eye(3) + rng.uniform(-0.2, 0.2, (n, 3, 3))
        W, P = self.material.energy(F), self.material.stress(F)
        W = W + noise * W.std() * rng.normal(size=W.shape)
        return lse.Samples(F=F, energy=W, stress=P + noise * np.sqrt((P**2).mean()) * rng.normal(size=P.shape))


def polynomial(function: Callable[[Any], Any], bound: list[tuple[float, float]], modes: int | None) -> Target:
    """A target from W of the components of x, differentiated by torch."""

    def energy(x: Array) -> Array:
        return function(torch.tensor(x).T).numpy()

    def gradient(x: Array) -> Array:
        t = torch.tensor(x, requires_grad=True)
        (g,) = torch.autograd.grad(function(t.T).sum(), t)
        return g.numpy()

    lower, upper = np.array(bound).T
    return Target(energy, gradient, lower, upper, modes)


def quadratic_wells(rng: np.random.Generator, modes: int, d: int, rho: float) -> Target:
    """Soft minimum of wells of random places, depths, stiffnesses and axes; each its own in the box [-1.5, 1.5]^d."""
    centres: list[Array] = []
    while len(centres) < modes:
        place = rng.uniform(-1.0, 1.0, d)
        if all(np.linalg.norm(place - other) > 0.9 for other in centres):
            centres.append(place)
    networks = []
    for c in centres:
        axes = np.linalg.qr(rng.normal(size=(d, d)))[0]
        Q = np.sqrt(rng.uniform(2.0, 8.0, d))[:, None] * axes
        K = Q.T @ Q
        level = 0.5 * c @ K @ c + 0.1 * rng.random()
        networks.append(lse.ConvexNetwork.from_arrays([], [-(K @ c)[None]], [[level]], quadratic=Q))
    p = lse.SoftMinimum(tuple(networks), rho)
    return Target(p.energy, p.gradient, np.full(d, -1.5), np.full(d, 1.5), modes, rho)


def triangle_to_rectangle(x: Any) -> Any:
    """Landau energy in (e2, e3) with three rectangles 120 degrees apart; e1 elastic."""
    e1, e2, e3 = x
    r = e2**2 + e3**2
    return e1**2 - 0.6 * r - (e2**3 - 3.0 * e2 * e3**2) + r**2


def mechanochemical(x: Any) -> Any:
    """Wells at (c, e2) = (0, 0) and (1, +-1), after Rudraraju et al., npj Comput. Mater. 2, 16012 (2016), in 2D."""
    c, e1, e2, e6 = x
    return 16.0 * c**2 * (c - 1.0) ** 2 + 2.0 * (e1**2 + e6**2) + e2**4 + 2.0 * (1.0 - 2.0 * c) * e2**2


def fixed(modes: int, rho: float) -> Target:
    """Wells of one arrangement, the same in every run."""
    return quadratic_wells(np.random.default_rng(modes), modes, 2, rho)


TARGETS: dict[str, Callable[[], Target | Bain]] = {
    "double_well": lambda: polynomial(lambda x: (x[0] ** 2 - 1.0) ** 2, [(-1.5, 1.5)], 2),
    "asymmetric_double_well": lambda: polynomial(lambda x: (x[0] ** 2 - 1.0) ** 2 + 0.3 * x[0], [(-1.5, 1.5)], 2),
    "triple_well": lambda: polynomial(lambda x: 4.0 * x[0] ** 2 * (x[0] ** 2 - 1.0) ** 2, [(-1.3, 1.3)], 3),
    "three_wells_rho_0.02": lambda: fixed(3, 0.02),
    "three_wells_rho_0.1": lambda: fixed(3, 0.1),
    "four_wells_rho_0.02": lambda: fixed(4, 0.02),
    "four_wells_rho_0.1": lambda: fixed(4, 0.1),
    "four_wells_rho_0.5": lambda: fixed(4, 0.5),  # so smooth that three modes of another rho fit it to 1 %
    "square_to_rectangle": lambda: polynomial(
        lambda x: 1.5 * x[0] ** 2 + 2.0 * x[2] ** 2 + (x[1] ** 2 - 1.0) ** 2, [(-1.0, 1.0), (-1.5, 1.5), (-1.0, 1.0)], 2
    ),
    "triangle_to_rectangle": lambda: polynomial(triangle_to_rectangle, [(-1.0, 1.0), (-1.5, 1.5), (-1.5, 1.5)], 3),
    "mechanochemical": lambda: polynomial(mechanochemical, [(-0.2, 1.2), (-1.0, 1.0), (-1.4, 1.4), (-1.0, 1.0)], 3),
    "one_convex_well": lambda: quadratic_wells(np.random.default_rng(1), 1, 2, 1.0),
    "bain": Bain,
    "saddle": lambda: polynomial(lambda x: x[0] ** 2 - x[1] ** 2, [(-1.0, 1.0), (-1.0, 1.0)], None),
}


def random_arrangement(seed: int, d: int) -> Target:
    """Two to four wells, drawn anew for each seed."""
    rng = np.random.default_rng([seed, d])
    return quadratic_wells(rng, int(rng.integers(2, 5)), d, float(rng.choice([0.02, 0.05, 0.1])))
