"""What a single convex network and a plain network of equal size make of data with wells, trained alike.

For each target: relative errors of energy and gradient on 2,000 fresh rows; of the points inside basins (where the true energy
is convex), the share where the model is not; and of the points where the truth is not convex, the share where the model is.

One line of JSON: {target: {model: {weights, energy_error, gradient_error, convexity_lost, convexity_added}}}.
"""

from __future__ import annotations

import argparse
import itertools
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import bars, finish, processor
from targets import TARGETS, Target

from lse_material.fit import Architecture, DataWarning, Sparsity, Training, fit
from lse_material.fit.optimise.multistart import multistart
from lse_material.fit.problem.loss import Loss
from lse_material.fit.problem.rows import rows_of, scales_of

NAMES = ("double_well", "three_wells_rho_0.1", "square_to_rectangle", "mechanochemical")
STEP = 1e-5  # of central differences of gradients, in units of the box
ALIKE = Training(restarts=3, adam_steps=2000, lbfgs_steps=2000)
SHORT = Training(restarts=1, adam_steps=500, lbfgs_steps=300)

Gradient = Callable[[Any], Any]


class Plain(torch.nn.Module):
    """A network of two hidden layers of softplus, x (n, d) -> energy (n,); its gradient by automatic differentiation."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        sizes = [size, width, width, 1]
        layers = [torch.nn.Linear(a, b, dtype=torch.float64) for a, b in itertools.pairwise(sizes)]
        self.net = torch.nn.Sequential(layers[0], torch.nn.Softplus(), layers[1], torch.nn.Softplus(), layers[2])

    def restraint(self) -> float:
        """No restraint on the weights."""
        return 1.0

    def forward(self, x: Any) -> Any:
        """Energy, gradient, and one mode weight of 1."""
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            energy = self.net(x)[:, 0]
            (gradient,) = torch.autograd.grad(energy.sum(), x, create_graph=True)
        return energy, gradient, torch.ones(len(x), 1, dtype=torch.float64)


def plain_network(data: Any, weights: int, seed: int, training: Training) -> tuple[Gradient, Gradient, int]:
    """Energy and gradient of a plain network of about so many weights, and their number; trained as a convex one is."""
    torch.manual_seed(seed)
    d = data.x.shape[1]
    width = next(w for w in range(2, 200) if w * (w + d + 3) + 1 >= weights)
    held = len(data) // 5
    rows = [rows_of(data.take(part), None, None) for part in (np.arange(held, len(data)), np.arange(held))]
    scales = scales_of(rows[0])
    train, validation = (Loss.on(part, scales, 1.0, 1.0) for part in rows)
    starts: list[Any] = [Plain(d, width) for _ in range(training.restarts)]
    net: Any = multistart(starts, train, validation, training, progress=False).model

    def values(x: Any) -> Any:
        return net(torch.tensor((x - scales.input_shift) / scales.input_scale))

    return (
        lambda x: scales.energy_scale * values(x)[0].detach().numpy() + scales.energy_shift,
        lambda x: scales.energy_scale * values(x)[1].detach().numpy() / scales.input_scale,
        sum(p.numel() for p in net.parameters()),
    )


def least_curvature(gradient: Gradient, x: Any, size: Any) -> Any:
    """Smallest eigenvalue of the Hessian in inputs scaled by the box, by central differences: (n,)."""
    n, d = x.shape
    H = np.empty((n, d, d))
    for i in range(d):
        step = np.zeros(d)
        step[i] = STEP * size[i]
        H[:, i] = (gradient(x + step) - gradient(x - step)) * size / (2.0 * STEP)
    return np.linalg.eigvalsh(0.5 * (H + H.swapaxes(1, 2)))[:, 0]


def compare(name: str, seed: int, training: Training) -> dict[str, Any]:
    """The figures of one target."""
    target = TARGETS[name]()
    assert isinstance(target, Target)
    data, test = target.samples(600, seed), target.samples(2000, 10_000 + seed)
    size = target.upper - target.lower
    truth = least_curvature(target.gradient, test.x, size)
    clear = 1e-3 * np.abs(truth).max()
    mixture = fit(
        data, architecture=Architecture(modes="auto"), sparsity=Sparsity(prune=1.0), seed=seed, progress=False
    )
    weights = sum(mode.parameters for mode in mixture.potential.modes)
    d = data.x.shape[1]
    width = max(2, (weights - d * d - d - 1) // (d + 2))
    convex = fit(data, architecture=Architecture(modes=1, width=width), training=training, seed=seed, progress=False)
    models = {
        f"{len(result.potential.modes)}_modes" if result is mixture else "one_icnn": (
            result.potential.energy,
            result.potential.gradient,
            sum(mode.parameters for mode in result.potential.modes),
        )
        for result in (mixture, convex)
    }
    models["plain_network"] = plain_network(data, weights, seed, training)
    figures = {}
    for model, (energy, gradient, count) in models.items():
        curvature = least_curvature(gradient, test.x, size)
        figures["lse_icnn" if model.endswith("modes") else model] = {
            "weights": count,
            "energy_error": float(np.sqrt(((energy(test.x) - test.energy) ** 2).mean()) / test.energy.std()),
            "gradient_error": float(
                np.sqrt(((gradient(test.x) - test.gradient) ** 2).mean() / (test.gradient**2).mean())
            ),
            "convexity_lost": float((curvature[truth > clear] < -clear).mean()),
            "convexity_added": float((curvature[truth < -clear] > -clear).mean()) if (truth < -clear).any() else 0.0,
        }
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one target, short training")
    parser.add_argument("--only", nargs="*", default=list(NAMES), help="names of targets")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the errors as PNG")
    options = parser.parse_args()
    warnings.simplefilter("ignore", DataWarning)
    torch.set_num_threads(1)
    training = SHORT if options.quick else ALIKE
    names = NAMES[:1] if options.quick else options.only
    figures = {name: compare(name, options.seed, training) for name in names}
    if options.plot:
        drawn = {name: {m: row["gradient_error"] for m, row in table.items()} for name, table in figures.items()}
        bars(options.plot, drawn, "relative gradient error", "600 samples of energy and gradient", log=True)
    finish({**figures, "cpu": processor()})


if __name__ == "__main__":
    main()
