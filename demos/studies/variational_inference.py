"""Variational inference with a soft minimum: densities with several modes fitted to targets known up to a constant.

Problem. A posterior p(x) is known but for its normaliser, and has several modes. Wanted is a density q that can be evaluated
and sampled. q = exp(-Psi)/Z with an LSE-ICNN Psi is a mixture of log-concave modes that need not be Gaussian.

The targets. Gaussian mixtures of 2, 3 and 5 components in the plane and of 4 in four dimensions, drawn at random (the truth
is known); the banana of H. Haario, E. Saksman, J. Tamminen, Comput. Stat. 14, 375 (1999); the ring with two thick places of
D. Rezende and S. Mohamed, ICML 2015 (their potential 1); and an inverse problem: where is a source, of which three sensors
nearly on a line measured the distance? Its mirror image fits nearly as well.

The check. KL(p || q), by quadrature in the plane and by exact samples of p in four dimensions; whether every mode is found
(q has at least half of p's height and mass there) and how much mass q gives it; the effective sample size of importance
weights. Against two densities that are given what a fit is not, the moments of p itself: the best of all Gaussians with
independent components in the same KL(p || q), and for the ordinary mixture a Gaussian mixture by expectation maximisation on
weighted points of p, of as many components as q has modes.

    ./fenicsx python3 demos/studies/variational_inference.py
    ./fenicsx python3 demos/studies/variational_inference.py --quick
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from mpi4py import MPI

from lse_material.analysis import Density
from lse_material.fit import Architecture, Inference, Inferred, Training, infer

COMM = MPI.COMM_WORLD
GRID = 400  # points of the quadrature along each axis
SAMPLES = 40_000  # of p, where there is no quadrature


@dataclass(frozen=True, eq=False)
class Target:
    """A density in a box.

    Attributes:
        log_p: torch, up to a constant.
        lower, upper: the box.
        modes: places of the modes (k, d).
        shares: x (n, d) -> how much of a point belongs to each mode (n, k).
        sample: exact samples of p, where there are; log_p is normalised then.
        convex: modes of q.
    """

    log_p: Callable[[torch.Tensor], torch.Tensor]
    lower: np.ndarray
    upper: np.ndarray
    modes: np.ndarray
    shares: Callable[[np.ndarray], np.ndarray]
    sample: Callable[[int, np.random.Generator], np.ndarray] | None = None
    convex: int = 6


def mixture(components: int, d: int, seed: int) -> Target:
    """Gaussians of random places, axes and weights, none of them hidden by another."""
    rng = np.random.default_rng([components, d, seed])
    places: list[np.ndarray] = []
    while len(places) < components:
        place = rng.uniform(-4.0, 4.0, d)
        if all(np.linalg.norm(place - other) > 3.0 for other in places):
            places.append(place)
    roots = np.array([np.linalg.qr(rng.normal(size=(d, d)))[0] * rng.uniform(0.4, 1.0, d) for _ in places])
    weights = rng.dirichlet(np.full(components, 5.0)) + 0.1
    weights, centres = weights / weights.sum(), np.array(places)
    inverses, offset = (
        torch.tensor(np.linalg.inv(roots)),
        torch.tensor(np.log(weights) - np.linalg.slogdet(roots)[1] - 0.5 * d * math.log(2.0 * math.pi)),
    )

    def logs(x: torch.Tensor) -> torch.Tensor:
        z = torch.einsum("kij,nkj->nki", inverses, x[:, None] - torch.tensor(centres))
        return offset - 0.5 * (z**2).sum(2)

    def sample(n: int, rng: np.random.Generator) -> np.ndarray:
        which = rng.choice(components, n, p=weights)
        return centres[which] + np.einsum("nij,nj->ni", roots[which], rng.standard_normal((n, d)))

    return Target(
        lambda x: torch.logsumexp(logs(x), 1),
        np.full(d, -7.0),
        np.full(d, 7.0),
        centres,
        lambda x: torch.softmax(logs(torch.tensor(x)), 1).numpy(),
        sample,
        components + 2,
    )


def banana() -> Target:
    """x_1 of variance 4, and x_2 bent down by 0.25 (x_1^2 - 4)."""
    return Target(
        lambda x: -0.125 * x[:, 0] ** 2 - 0.5 * (x[:, 1] + 0.25 * (x[:, 0] ** 2 - 4.0)) ** 2,
        np.array([-9.0, -16.0]),
        np.array([9.0, 6.0]),
        np.array([[0.0, 1.0]]),
        lambda x: np.ones((len(x), 1)),
    )


def ring() -> Target:
    """The circle |x| = 2, thick at x_1 = +-2."""

    def log_p(x: torch.Tensor) -> torch.Tensor:
        sides = torch.stack([-0.5 * ((x[:, 0] - s) / 0.6) ** 2 for s in (2.0, -2.0)])
        return -0.5 * ((torch.sqrt((x**2).sum(1) + 1e-12) - 2.0) / 0.4) ** 2 + torch.logsumexp(sides, 0)

    halves = lambda x: np.stack([x[:, 0] > 0.0, x[:, 0] <= 0.0], axis=1).astype(float)  # noqa: E731
    return Target(log_p, np.full(2, -4.5), np.full(2, 4.5), np.array([[2.0, 0.0], [-2.0, 0.0]]), halves, None, 8)


def source() -> Target:
    """Distances of a source to three sensors, measured with the error 0.15; a prior of variance 9."""
    sensors = torch.tensor([[-2.0, 0.0], [0.0, 0.2], [2.0, 0.0]], dtype=torch.float64)
    truth = torch.tensor([0.8, 1.6], dtype=torch.float64)
    measured = torch.linalg.norm(truth - sensors, dim=1) + torch.tensor([0.05, -0.1, 0.08])

    def log_p(x: torch.Tensor) -> torch.Tensor:
        distance = torch.sqrt(((x[:, None] - sensors) ** 2).sum(2) + 1e-12)
        return -0.5 * (((distance - measured) / 0.15) ** 2).sum(1) - (x**2).sum(1) / 18.0

    halves = lambda x: np.stack([x[:, 1] > 0.0, x[:, 1] <= 0.0], axis=1).astype(float)  # noqa: E731
    return Target(log_p, np.full(2, -4.0), np.full(2, 4.0), np.array([[0.8, 1.55], [0.8, -1.45]]), halves, None, 4)


class Truth:
    """Points with weights that stand for p, and ln p there, normalised."""

    def __init__(self, target: Target) -> None:
        if target.sample is not None and len(target.lower) > 2:
            self.x = target.sample(SAMPLES, np.random.default_rng(0))
            self.log_z, self.log_p = 0.0, target.log_p(torch.tensor(self.x)).numpy()
            self.weights = np.full(SAMPLES, 1.0 / SAMPLES)
        else:
            axes = [np.linspace(lo, hi, GRID) for lo, hi in zip(target.lower, target.upper)]
            self.x = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)
            cell = math.prod(float(axis[1] - axis[0]) for axis in axes)
            log_p = target.log_p(torch.tensor(self.x)).numpy()
            self.log_z = math.log(np.exp(log_p).sum() * cell)
            self.log_p = log_p - self.log_z
            self.weights = np.exp(self.log_p) * cell
        self.shares = self.weights @ target.shares(self.x)

    def kl(self, log_q: np.ndarray) -> float:
        """KL(p || q)."""
        seen = self.weights > 0.0
        return float(self.weights[seen] @ (self.log_p - log_q)[seen])

    def independent_gaussian(self) -> float:
        """KL of the Gaussian with the means and variances of p: the least of all with independent components."""
        mean = self.weights @ self.x
        variance = self.weights @ (self.x - mean) ** 2
        return self.kl(-0.5 * ((self.x - mean) ** 2 / variance + np.log(2.0 * np.pi * variance)).sum(axis=1))

    def gaussian_mixture(self, components: int, seed: int) -> float:
        """KL of a Gaussian mixture: expectation maximisation on 4,000 points of p, the best of 3 starts."""
        rng = np.random.default_rng(seed)
        x = self.x[rng.choice(len(self.x), 4000, p=self.weights / self.weights.sum())]
        x = x + 1e-3 * rng.standard_normal(x.shape)
        best = np.inf
        for _ in range(3):
            centres = x[rng.choice(len(x), components, replace=False)]
            covariances, shares = np.array([np.cov(x.T)] * components), np.full(components, 1.0 / components)
            for _ in range(150):
                logs = _gaussians(x, centres, covariances) + np.log(shares)
                part = np.exp(logs - logs.max(axis=1, keepdims=True))
                part /= part.sum(axis=1, keepdims=True)
                count = part.sum(axis=0) + 1e-9
                shares, centres = count / count.sum(), (part.T @ x) / count[:, None]
                away = x[:, None] - centres
                covariances = np.einsum("nk,nki,nkj->kij", part, away, away) / count[:, None, None] + 1e-4 * np.eye(
                    x.shape[1]
                )
            logs = _gaussians(self.x, centres, covariances) + np.log(shares)
            top = logs.max(axis=1)
            best = min(best, self.kl(top + np.log(np.exp(logs - top[:, None]).sum(axis=1))))
        return best


def _gaussians(x: np.ndarray, centres: np.ndarray, covariances: np.ndarray) -> np.ndarray:
    """Log densities (n, k)."""
    away = x[:, None] - centres
    square = np.einsum("nki,kij,nkj->nk", away, np.linalg.inv(covariances), away)
    return -0.5 * (square + np.linalg.slogdet(covariances)[1] + x.shape[1] * np.log(2.0 * np.pi))


def inferred(target: Target, quick: bool, seed: int) -> Inferred:
    """The density of a target."""
    training = Training(
        restarts=1, adam_steps=150 if quick else 400, lbfgs_steps=100 if quick else 250, patience=40, batch=500
    )
    inference = Inference(particles=500 if quick else 1000, rounds=1)
    architecture = Architecture(modes=target.convex, width=4, stiffness=1e-3)
    return infer(
        target.log_p,
        target.lower,
        target.upper,
        architecture=architecture,
        training=training,
        inference=inference,
        seed=seed,
    )


def judged(target: Target, result: Inferred, seed: int) -> dict[str, Any]:
    """The figures of one target."""
    truth, q = (
        Truth(target),
        Density.of(result.density.potential, draws=200_000),
    )  # so that ln Z is known better than KL
    mass = q.weights @ target.shares(q.draws)
    peak = target.log_p(torch.tensor(target.modes)).numpy() - truth.log_z
    near = (q.log_density(target.modes) > peak - math.log(2.0)) & (mass > 0.5 * truth.shares)
    return {
        "kl": truth.kl(q.log_density(truth.x)),
        "modes_found": int(near.sum()),
        "modes": len(target.modes),
        "weight_error": float(np.abs(mass - truth.shares).max()),
        "ess": result.ess,
        "baseline_kl": truth.independent_gaussian(),
        "mixture_kl": truth.gaussian_mixture(target.convex, seed),
        "normaliser_error": q.error,
        "evaluations": result.evaluations,
    }


def draw(file: Path, targets: dict[str, Target], results: dict[str, Inferred]) -> None:
    """P as contours, q in grey, samples of q as dots; the targets of the plane."""
    shown = [name for name, target in targets.items() if len(target.lower) == 2]
    columns = min(3, len(shown))
    lines = -(-len(shown) // columns)
    figure = Figure(figsize=(3.7 * columns, 3.5 * lines), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False)
    for ax in axes.flat[len(shown) :]:
        ax.set_axis_off()
    for ax, name in zip(axes.flat, shown):
        target, q = targets[name], results[name].density
        x = q.sample(300, seed=1)
        low, high = x.min(axis=0) - 0.8, x.max(axis=0) + 0.8
        grid = [np.linspace(low[i], high[i], 161) for i in range(2)]
        points = np.stack(np.meshgrid(*grid, indexing="ij"), -1).reshape(-1, 2)
        log_q, log_p = q.log_density(points), target.log_p(torch.tensor(points)).numpy() - results[name].log_evidence
        ax.pcolormesh(*grid, np.exp(log_q).reshape(161, 161).T, cmap="Greys", vmax=1.3 * np.exp(log_q).max())
        levels = np.exp(log_p).max() * np.array([0.02, 0.2, 0.6])
        ax.contour(*grid, np.exp(log_p).reshape(161, 161).T, levels, colors="C3", linewidths=1.0)
        ax.plot(*x.T, ".", color="C0", markersize=2.5)
        ax.set(title=name.replace("_", " "), xlabel="x1", ylabel="x2")
    figure.suptitle("grey: q fitted;  red: target p at 2, 20, 60 % of its maximum;  dots: samples of q")
    figure.savefig(file, dpi=85)


def work(quick: bool, seed: int, out: Path) -> tuple[dict[str, Any], bool]:
    """All targets: the figures, and whether they are right."""
    torch.set_num_threads(1)
    targets = {"mixture_2": mixture(2, 2, seed), "ring": ring()}
    if not quick:
        targets = {
            "mixture_2": mixture(2, 2, seed),
            "mixture_3": mixture(3, 2, seed),
            "mixture_5": mixture(5, 2, seed),
            "banana": banana(),
            "ring": ring(),
            "source": source(),
            "mixture_4d": mixture(4, 4, seed),
        }
    results, figures = {}, {}
    for name, target in targets.items():
        results[name] = inferred(target, quick, seed)
        figures[name] = judged(target, results[name], seed)
    out.mkdir(parents=True, exist_ok=True)
    draw(out / "variational_inference.png", targets, results)
    bound, off = (0.1, 0.06) if quick else (0.05, 0.03)
    right = all(row["kl"] < bound and row["modes_found"] == row["modes"] for row in figures.values())
    right &= all(row["weight_error"] < off for row in figures.values())
    return figures, right


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="two targets, fewer points and steps")
    parser.add_argument("--seed", type=int, default=0, help="of the mixtures and of the search")
    parser.add_argument("--out", type=Path, default=Path("results/variational_inference"), help="folder for the files")
    options = parser.parse_args()
    status = 0
    try:
        if COMM.rank == 0:  # the problem is small: one rank does it, the others wait
            figures, right = work(options.quick, options.seed, options.out)
            print(json.dumps(figures))
            status = 0 if right else 1
    except BaseException:
        COMM.bcast(2)
        raise
    return int(COMM.bcast(status))


if __name__ == "__main__":
    sys.exit(main())
