"""The studies beyond elasticity for many seeds: is every state and mode found, with the right barriers and weights?

Each seed draws new data for demos/studies/gene_circuit.py (toggle: wells, barrier, number of modes), and new Gaussian mixtures
for demos/studies/variational_inference.py (mixtures of 2, 3, 5 components in 2D and 4 in 4D: KL(p || q), modes, weights). Fits
of different seeds run at once on the available cores; `--only` picks targets.

One line of JSON: {target: {success, ...}}; success is the share of seeds within `BOUNDS`, other figures are the
worst of all seeds, and gain is the least ratio of the baseline's KL to ours.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from pathlib import Path
from typing import Any

from common import finish, processor

sys.path.insert(0, str(Path(__file__).parents[1] / "demos" / "studies"))
TARGETS = {"toggle": (), "mixture_2": (2, 2), "mixture_3": (3, 2), "mixture_5": (5, 2), "mixture_4d": (4, 4)}
BOUNDS = {"wells_error": 0.02, "barrier_error": 0.05, "kl": 0.05, "weight_error": 0.03}


def run(job: tuple[str, int, bool]) -> dict[str, Any]:
    """One fit."""
    import torch

    torch.set_num_threads(1)
    name, seed, quick = job
    start = time.process_time()
    if name == "toggle":
        import gene_circuit

        potential = gene_circuit.learn(gene_circuit.TOGGLE, 2 if quick else "auto", seed)
        row = gene_circuit.compared(gene_circuit.TOGGLE, potential)
        row = {key: row[key] for key in ("wells", "active_modes", "wells_error", "barrier_error")}
        whole = row["wells"] == row["active_modes"] == 2
    else:
        import variational_inference

        target = variational_inference.mixture(*TARGETS[name], seed)
        row = variational_inference.judged(target, variational_inference.inferred(target, quick, seed), seed)
        whole = row["modes_found"] == row["modes"]
        row["gain"] = row["baseline_kl"] / max(abs(row["kl"]), 1e-12)
    right = whole and all(row[key] <= bound for key, bound in BOUNDS.items() if key in row)
    print(name, seed, "right" if right else "WRONG", row, f"{time.process_time() - start:.0f} s", flush=True)
    return {"name": name, "success": float(right), **row}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one target, one seed, the demo's short form")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--only", nargs="*", default=list(TARGETS), choices=list(TARGETS))
    options = parser.parse_args()
    names = ["mixture_2"] if options.quick else options.only
    jobs = [(name, seed, options.quick) for seed in range(1 if options.quick else options.seeds) for name in names]
    with multiprocessing.get_context("spawn").Pool(min(len(jobs), os.cpu_count() or 1)) as pool:
        rows = pool.map(run, jobs, chunksize=1)
    figures: dict[str, Any] = {}
    for name in names:
        mine = [row for row in rows if row["name"] == name]
        figures[name] = {"success": sum(row["success"] for row in mine) / len(mine)}
        for key in ("wells_error", "barrier_error", "kl", "weight_error"):
            if key in mine[0]:
                figures[name][key] = max(row[key] for row in mine)
        for key in ("ess", "gain"):
            if key in mine[0]:
                figures[name][key] = min(row[key] for row in mine)
    finish({**figures, "cpu": processor()})


if __name__ == "__main__":
    main()
