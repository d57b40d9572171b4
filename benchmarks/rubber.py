"""Do two tests of a rubber tell the third? The uniaxial, equibiaxial and planar test is each predicted by a fit to the others.

    ./fenicsx python3 benchmarks/rubber.py rubber.csv

The table has columns source, test, stretch and nominal stress, of Treloar (1944), Kawabata et al. (1981) and Meunier et al.
(2008), say. Without one, three tests of a Mooney-Rivlin rubber are made up. Shapes: one polyconvex mode in the principal
invariants, which is the advice of docs/own_data.md, and two modes in the isotropic invariants, the default.

One line of JSON: {source: {test left out: {shape: {"r2", "rms" (error over the RMS of the stress), "rms_inside" (of the states
inside the training box), "outside" (share of the other states), "train"}}}}. Exits with 1 where the polyconvex mode misses the
made-up planar test by 5 %.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from common import finish

import lse_material as lse
from lse_material.fit import Architecture, DataWarning, Training, fit

SHAPES: dict[str, dict[str, Any]] = {
    "polyconvex": {
        "kinematics": lse.PrincipalInvariants(dim=3),
        "architecture": Architecture(modes=1, mode_type="PolyconvexNetwork"),
    },
    "default": {"kinematics": lse.IsotropicInvariants(dim=3)},
}


def made_up() -> lse.Observations:
    """A Mooney-Rivlin rubber, W = 0.15 (I1 - 3) + 0.02 (I2 - 3) MPa, in the three tests to a stretch of 3."""
    l = np.linspace(1.05, 3.0, 15)
    shear, other = 0.3, 0.04
    stresses = {
        "uniaxial": (shear + other / l) * (l - l**-2),
        "equibiaxial": (shear + other * l**2) * (l - l**-5),
        "planar": (shear + other) * (l - l**-3),
    }
    tests = [getattr(lse.Observations, test)(l, P, group=f"made up/{test}") for test, P in stresses.items()]
    return lse.Observations.joined(tests)


def predicted(rubber: lse.Observations, test: str, shapes: list[str], seed: int, training: Training) -> dict[str, Any]:
    """Errors on one test of fits to the other tests of a rubber."""
    assert rubber.group is not None
    left_out = np.char.endswith(rubber.group.astype(str), test)
    seen, unseen = (rubber.take(np.flatnonzero(part)) for part in (~left_out, left_out))
    figures = {}
    for name in shapes:
        result = fit(seen, **SHAPES[name], training=training, seed=seed, progress=False)
        wrong = unseen.of_stress(result.material.stress(unseen.F)) - unseen.values
        box = result.material.training_box
        assert box is not None
        outside = box.excess(result.material.kinematics.strain(unseen.F)) > 1e-6  # one value for each state
        figures[name] = {
            "r2": 1.0 - float((wrong**2).sum() / ((unseen.values - unseen.values.mean()) ** 2).sum()),
            "rms": float(np.linalg.norm(wrong) / np.linalg.norm(unseen.values)),
            "rms_inside": float(np.linalg.norm(wrong[~outside]) / np.linalg.norm(unseen.values[~outside])),
            "train": result.train_errors.stress,
            "outside": float(outside.mean()),
        }
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("table", type=Path, nargs="?")
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="the planar test alone, a short fit")
    options = parser.parse_args()
    warnings.simplefilter("ignore", DataWarning)
    tests = (
        made_up()
        if options.table is None
        else lse.read_observations(options.table, columns={"group": ["source", "test"]})
    )
    quick = Training(restarts=1, adam_steps=100, lbfgs_steps=200, validation=0.0)
    training, left_out = (quick, ["planar"]) if options.quick else (Training(), ["uniaxial", "equibiaxial", "planar"])
    assert tests.group is not None
    source = np.array([str(label).rpartition("/")[0] for label in tests.group])
    figures = {}
    for name in dict.fromkeys(source.tolist()):
        rubber = tests.take(np.flatnonzero(source == name))
        figures[name] = {test: predicted(rubber, test, options.shapes, options.seed, training) for test in left_out}
    finish(figures)
    if "made up" in figures and figures["made up"]["planar"]["polyconvex"]["rms"] > 0.05:
        sys.exit(1)


if __name__ == "__main__":
    main()
