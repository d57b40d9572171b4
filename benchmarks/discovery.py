"""Does the fit find the number of modes and the transition scale? Targets with known truth, fresh data for each seed.

600 samples of energy and gradient; each fit in one process on one core. `--noise 0.01` adds 1 % noise, `--random N` draws N
arrangements of wells in 2D and N in 3D instead. Fits of different seeds run at once in `--processes` (all cores if left
out); each is printed to the error stream as it ends.

One line of JSON: {target: {true_modes, found, success, energy_error, gradient_error, rho_ratio, seconds, weights}}.
Errors (relative RMS on 2,000 fresh rows without noise) and rho_ratio (found over true, the one farthest from 1) are the
worst of the seeds that found the right number; success is their share; weights are the median of what pruning has left.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from common import bars, finish, processor
from targets import TARGETS, random_arrangement

SAMPLES = 600
QUICK = ("three_wells_rho_0.02", "four_wells_rho_0.1")


def run(job: tuple[str, int, float]) -> dict[str, Any]:
    """One fit: a target by name, or "2d" / "3d" for a random arrangement."""
    import torch

    from lse_material.fit import Architecture, DataWarning, fit

    warnings.simplefilter("ignore", DataWarning)
    torch.set_num_threads(1)
    name, seed, noise = job
    target = TARGETS[name]() if name in TARGETS else random_arrangement(seed, int(name[0]))
    data, test = target.samples(SAMPLES, seed, noise), target.samples(2000, 10_000 + seed)
    start = time.process_time()
    result = fit(data, architecture=Architecture(modes="auto"), seed=seed, progress=False, **target.options)
    seconds = time.process_time() - start
    errors, modes = result.error(test), len(result.potential.modes)
    ratio = result.transition_scale / target.rho if target.rho and modes > 1 else None
    print(
        f"{name:24s} seed {seed:3d}: {modes} of {target.modes} modes, error {errors.energy:.1e} / {errors.stress:.1e}, "
        f"rho ratio {'-' if ratio is None else f'{ratio:.3f}'}, {seconds:.1f} s, "
        f"path {' '.join(f'{k}:{e:.0e}' for k, e in result.path)}",
        file=sys.stderr,
        flush=True,
    )
    return {
        "name": name,
        "true": target.modes,
        "found": modes,
        "energy": errors.energy,
        "gradient": errors.stress,
        "ratio": ratio,
        "seconds": seconds,
        "weights": sum(mode.active_parameters for mode in result.potential.modes),
    }


def table(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What the docstring says, for each target."""
    result: dict[str, Any] = {}
    for name in dict.fromkeys(row["name"] for row in rows):
        mine = [row for row in rows if row["name"] == name]
        right = [row for row in mine if row["true"] in (None, row["found"])]
        ratios = [row["ratio"] for row in right if row["ratio"] is not None]
        same = len({row["true"] for row in mine}) == 1
        result[name] = {
            "true_modes": mine[0]["true"] if same else [row["true"] for row in mine],
            "found": [row["found"] for row in mine],
            "success": None if mine[0]["true"] is None else len(right) / len(mine),
            "energy_error": max((row["energy"] for row in right), default=None),
            "gradient_error": max((row["gradient"] for row in right), default=None),
            "rho_ratio": max(ratios, key=lambda r: abs(np.log(r)), default=None),
            "seconds": float(np.median([row["seconds"] for row in mine])),
            "slowest_seconds": max(row["seconds"] for row in mine),
            "weights": float(np.median([row["weights"] for row in mine])),
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one seed of a polynomial, three of two soft minima")
    parser.add_argument("--seeds", type=int, default=10, help="seeds of each target")
    parser.add_argument("--only", nargs="*", default=list(TARGETS), help="names of targets")
    parser.add_argument("--noise", type=float, default=0.0, help="relative noise")
    parser.add_argument("--random", type=int, metavar="N", help="N random arrangements in 2D and in 3D")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the result as PNG")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="fits at once")
    options = parser.parse_args()
    seeds = range(options.first, options.first + (options.random or options.seeds))
    if options.quick:
        jobs = [
            ("double_well", 0, options.noise),
            *((name, seed, options.noise) for name in QUICK for seed in range(3)),
        ]
    elif options.random:
        jobs = [(f"{d}d", seed, options.noise) for seed in seeds for d in (2, 3)]
    else:
        jobs = [(name, seed, options.noise) for seed in seeds for name in options.only]
    with multiprocessing.get_context("spawn").Pool(min(len(jobs), options.processes)) as pool:
        figures = table(pool.map(run, jobs, chunksize=1))
    if options.plot:
        drawn = {name: {"success": row["success"]} for name, row in figures.items() if row["success"] is not None}
        bars(options.plot, drawn, "share of seeds", f"Right number of modes, {processor()}")
    finish({**figures, "noise": options.noise, "cpu": processor()})


if __name__ == "__main__":
    main()
