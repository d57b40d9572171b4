"""One material W(F; t1, t2, t3) of many lattice cells: whole cells are left out of the fit, and their stresses predicted.

The file has `F` (n, 9), `stress` P (n, 9), `energy` (n,), `cell` (n,), and `parameters` (cells, 4) = E, t1, t2, t3 of every
cell: the parametric beam lattices of CPShub/sim-data (CC BY 4.0), of which nothing is part of this project.

test             relative RMS of P on the cells left out
jointly_convex   the same of modes that are convex in t1, t2, t3 and the strain together
seconds          of the fit, by this process
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import finish, processor

import lse_material as lse
from lse_material.fit import Architecture, Design, Training, fit

NAMES = ("t1", "t2", "t3")


def samples(data: dict[str, Any], cells: Any, every: int) -> lse.Samples:
    """The rows of some cells, one in `every`."""
    rows = np.flatnonzero(np.isin(data["cell"], cells))[::every]
    F, P, W = (np.asarray(data[name][rows], dtype=float) for name in ("F", "stress", "energy"))
    cell = data["cell"][rows]
    parameters = data["parameters"][cell, 1:]
    return lse.Samples(
        F=F.reshape(-1, 3, 3), energy=W, stress=P.reshape(-1, 3, 3), fields=parameters, field_names=NAMES, group=cell
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("file", type=Path, help="lattice_parametric.npz")
    parser.add_argument("--seed", type=int, default=0, help="of the cells left out and of the fit")
    parser.add_argument("--every", type=int, default=4, help="one row in so many is fitted")
    parser.add_argument("--modes", type=int, default=2)
    parser.add_argument("--width", type=int, default=12)
    parser.add_argument("--steps", type=int, default=2000, help="of Adam, and of L-BFGS")
    parser.add_argument("--baseline", action="store_true", help="fit jointly convex modes too")
    parser.add_argument("--quick", action="store_true", help="a small mode and few steps")
    options = parser.parse_args()
    if options.quick:
        options.modes, options.width, options.steps = 1, 2, 150
    data = dict(np.load(options.file, allow_pickle=False))
    cells = np.unique(data["cell"])
    left_out = np.random.default_rng(options.seed).permutation(cells)[:10]
    train = samples(data, np.setdiff1d(cells, left_out), options.every)
    test = samples(data, left_out, 1)
    training = Training(
        restarts=1, adam_steps=options.steps, lbfgs_steps=options.steps, validation=0.0, rows=len(train)
    )
    figures: dict[str, Any] = {"rows": len(train), "cells_left_out": len(left_out)}
    kinds: list[tuple[str, Any]] = [("test", {name: Design() for name in NAMES})]
    kinds += [("jointly_convex", None)] if options.baseline else []
    for name, parameters in kinds:
        start = time.process_time()
        result = fit(
            train,
            kinematics=lse.GreenLagrange(3),
            architecture=Architecture(options.modes, options.width),
            parameters=parameters,
            training=training,
            seed=options.seed,
            progress=False,
        )
        figures[name], figures[f"train_{name}"] = result.error(test).stress, result.train_errors.stress
        figures[f"seconds_{name}"] = time.process_time() - start
        print(name, figures[name], figures[f"train_{name}"], flush=True)
    finish({**figures, "cpu": processor()})


if __name__ == "__main__":
    main()
