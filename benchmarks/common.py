"""What the benchmarks share: networks of the stated sizes, timing, and how results are printed and drawn."""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import lse_material as lse

SIZES = {"N1": (3, (8, 8)), "N2": (4, (16, 16)), "N3": (4, (32, 32)), "N4": (8, (32, 32, 32))}  # modes, hidden layers
RHO = 0.05


def potential(name: str, d: int) -> lse.SoftMinimum:
    """A random soft minimum of d inputs, all of whose modes matter somewhere near x = 0."""
    modes, widths = SIZES[name]
    rng = np.random.default_rng(len(name) + d)
    layers = [*widths, 1]
    networks = tuple(
        lse.ConvexNetwork.from_arrays(
            [rng.uniform(0.0, 2.0, (n, m)) / m for m, n in itertools.pairwise(layers)],
            [rng.normal(size=(n, d)) / np.sqrt(d) for n in layers],
            [0.5 * rng.normal(size=n) for n in layers[:-1]] + [np.zeros(1)],
            activation="softplus",
            quadratic=np.eye(d),
        )
        for _ in range(modes)
    )
    level = [float(network_value(network, d)) for network in networks]
    raised = tuple(
        lse.ConvexNetwork.from_arrays(n.z_weights, n.x_weights, [*n.biases[:-1], n.biases[-1] - value],
                                      activation=n.activation, quadratic=n.quadratic)
        for n, value in zip(networks, level)
    )  # fmt: skip
    return lse.SoftMinimum(raised, RHO, input_scale=np.full(d, 0.1))


def network_value(network: lse.ConvexNetwork, d: int) -> float:
    """Psi at x = 0."""
    return float(lse.SoftMinimum((network,), 1.0).energy(np.zeros((1, d)))[0])


def material(name: str, dim: int) -> lse.Material:
    """The same in Green-Lagrange strain."""
    return lse.Material(potential(name, 3 if dim == 2 else 6), lse.GreenLagrange(dim))


def best(function: Callable[[], Any], seconds: float = 0.5, before: Callable[[], Any] | None = None) -> float:
    """The least time in seconds, of this thread, that a call takes; `before` runs untimed before each call."""
    result, calls, start = np.inf, 0, time.perf_counter()
    while calls < 4 or time.perf_counter() - start < seconds:
        if before is not None:
            before()
        t = time.thread_time()
        function()
        result, calls = min(result, time.thread_time() - t), calls + 1
    return result


def processor() -> str:
    """The CPU's name, as Linux knows it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def arguments(doc: str | None) -> argparse.Namespace:
    """--quick for a short form, --plot FILE for a picture."""
    parser = argparse.ArgumentParser(description=(doc or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer sizes and repetitions")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the result as PNG")
    return parser.parse_args()


def bars(path: Path, table: dict[str, dict[str, float]], ylabel: str, title: str, *, log: bool = False) -> None:
    """Groups of bars: {group: {bar: height}}."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    names = list(next(iter(table.values())))
    figure, axes = plt.subplots(figsize=(1.5 + 1.5 * len(table), 3.6), layout="constrained")
    width = 0.8 / len(names)
    for k, name in enumerate(names):
        heights = [group[name] for group in table.values()]
        places = np.arange(len(table)) + (k - (len(names) - 1) / 2) * width
        drawn = axes.bar(places, heights, width, label=name)
        axes.bar_label(drawn, fmt="%.2g", fontsize=7)
    axes.set(xticks=range(len(table)), xticklabels=list(table), ylabel=ylabel, title=title)
    if log:
        axes.set_yscale("log")
    axes.legend(frameon=False, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def short(value: Any, digits: int = 4) -> Any:
    """Figures with numbers to so many digits."""
    if isinstance(value, dict):
        return {key: short(entry, digits) for key, entry in value.items()}
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value


def finish(figures: dict[str, Any], digits: int = 4) -> None:
    """Print the figures as one line of JSON, numbers to so many digits."""
    print(json.dumps(short(figures, digits)))
