"""2. From the samples of the cell to a material: an LSE-ICNN, and a single convex network beside it.

Problem. Where the ligaments buckle, the tangent of the cell's energy falls to almost nothing at once. How well does a soft
minimum of convex networks follow that, and how well a single one?

The way. Whole paths are left for the test, so that no test row has a neighbour on its own path. Every mode is given the
symmetry of the square; rho is found from the data, anew for each seed. The single network gets as many neurons as the
mixture has in all.

The check. Energies of the test within 2 % and stresses within 5 %, also of the rows next to the bifurcation alone. Over the
seeds, the numbers of modes, rho and the errors are given one by one, rho with its standard deviation as a share of the
mean. These data do not fix it: it lies between 7e-6 and 7e-3 shear moduli for five seeds, with errors of 0.11 to 0.15 % in
energy and of 0.4 to 0.8 % in stress, since the energies before and after buckling meet without a ridge. Found by --modes
auto, the numbers of modes were 2, 3, 2, 2 and 2, and rho between 4e-5 and 9e-4.

    ./fenicsx python3 demos/studies/buckling_metamaterial/fit.py
    ./fenicsx python3 demos/studies/buckling_metamaterial/fit.py --quick

--ship puts the two materials to demos/materials.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from elastomer import MATERIAL, SAMPLES, SINGLE_MODE, STATES
from mpi4py import MPI

import lse_material as lse
from lse_material import Symmetry
from lse_material.fit import Architecture, FitResult, Sparsity, Training, fit

COMM = MPI.COMM_WORLD
IMAGES = 4  # of a strain under the symmetry of the square: copies of each neuron
NEAR = 0.06  # amplitude of the pattern up to which a buckled row counts as next to the bifurcation


def split(samples: lse.Samples, path: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of four paths of five, and of the fifth; the path of uniaxial compression is among the first."""
    held_back = path % 5 == 3
    return np.flatnonzero(~held_back), np.flatnonzero(held_back)


def near_bifurcation(path: np.ndarray, order: np.ndarray) -> np.ndarray:
    """The rows up to NEAR beyond the bifurcation of each path, and the two before it."""
    buckled = np.abs(order) > 1e-6 * np.abs(order).max()
    near = buckled & (np.abs(order) < NEAR)
    first = np.flatnonzero(buckled[1:] & ~buckled[:-1] & (path[1:] == path[:-1])) + 1
    for before in (0, 1, 2):
        near[np.maximum(first - before, 0)] = True
    return near


def fitted(train: lse.Samples, seed: int, *, modes: Any, width: int, quick: bool) -> FitResult:
    """One fit."""
    return fit(
        train,
        kinematics=lse.GreenLagrange(dim=2),
        architecture=Architecture(modes=modes, width=width, stress_free=True, max_modes=4),
        training=Training(restarts=1, adam_steps=100 if quick else 600, lbfgs_steps=150 if quick else 3000),
        sparsity=Sparsity(restarts=1, adam_steps=500, trials=2, trial_rows=150, prune=1.0),
        symmetry=Symmetry.crystal("square", "square", dim=2),
        seed=seed,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one seed, few rows and steps")
    parser.add_argument("--modes", default="2", help="number of modes, or auto")
    parser.add_argument("--seeds", type=int, default=5, help="how often the fit of the mixture is repeated")
    parser.add_argument("--ship", action="store_true", help="put the materials to demos/materials")
    parser.add_argument("--out", type=Path, default=Path("results/buckling_metamaterial"), help="folder for the files")
    options = parser.parse_args()
    if COMM.rank > 0:  # a fit is serial
        return int(COMM.bcast(None, root=0))
    status = run(options)
    return int(COMM.bcast(status, root=0))


def run(options: argparse.Namespace) -> int:
    samples = lse.read_samples(SAMPLES)
    with np.load(STATES) as states:
        path, order = states["path"], states["order"]
    rows, held_back = split(samples, path)
    if options.quick:
        rows = rows[::6]
    near = np.intersect1d(held_back, np.flatnonzero(near_bifurcation(path, order)))
    train, test, critical = (samples.take(r) for r in (rows, held_back, near))
    modes, width = options.modes if options.modes == "auto" else int(options.modes), 4 if options.quick else 8
    mixtures, errors = [], []
    for seed in range(1 if options.quick else options.seeds):
        result = fitted(train, seed, modes=modes, width=width, quick=options.quick)
        mixtures.append(result)
        errors.append(result.error(test))
        print(
            f"seed {seed}: {len(result.potential.modes)} modes, rho {result.transition_scale:.3e}, {errors[-1]}",
            flush=True,
        )
    best = mixtures[int(np.argmin([e.energy + e.stress for e in errors]))]
    neurons = sum(len(mode.biases[0]) for mode in best.potential.modes) // IMAGES
    single = fitted(train, 0, modes=1, width=max(neurons, 1), quick=options.quick)
    options.out.mkdir(parents=True, exist_ok=True)
    for result, shipped in ((best, MATERIAL), (single, SINGLE_MODE)):
        lse.save(result.material, options.out / shipped.name)
        if options.ship:
            lse.save(result.material, shipped)
    rho = np.array([r.transition_scale for r in mixtures])
    figures: dict[str, Any] = {
        "modes": [len(r.potential.modes) for r in mixtures],
        "rho": rho.tolist(),
        "rho_spread": float(rho.std() / rho.mean()),
        "seeds_energy_error": [e.energy for e in errors],
        "seeds_stress_error": [e.stress for e in errors],
    }
    for name, result in (("", best), ("single_mode_", single)):
        for where, part in (("", test), ("near_bifurcation_", critical)):
            error = result.error(part)
            figures[f"{name}{where}energy_error"], figures[f"{name}{where}stress_error"] = error.energy, error.stress
    print(best.summary(test))
    print(single.summary(test))
    print(json.dumps(figures))
    parts = ("", "near_bifurcation_")
    right = all(figures[f"{where}energy_error"] < 0.02 and figures[f"{where}stress_error"] < 0.05 for where in parts)
    return 0 if right or options.quick else 1


if __name__ == "__main__":
    sys.exit(main())
