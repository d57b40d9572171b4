"""Energies of iron's Bain path, alone and with stresses: modes and errors over seeds.

    ./fenicsx python3 benchmarks/bain_path.py --seeds 0 1 2 3 4

The 60 cells of demos/bain_path.py, with the same energies; stresses are their derivatives. The number of modes is found. Errors
are relative RMS errors over all rows.

One line of JSON: {"energies" or "with_stresses": {"modes", "energy", "stress": of each seed, "cpu_s": of a fit}}. Exits with 1
where a fit does not have two modes, or misses the energies by more than 0.5 %.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from common import finish

import lse_material as lse
from lse_material.fit import Architecture, DataWarning, Training, fit

FCC = 0.5 * np.log(2.0)  # ln(c/a) of the face-centred cell
UNIT = 160.2 / 11.6  # GPa of one eV per atom of the body-centred cell
LARGEST = {False: 0.005, True: 0.02}  # error of the energies; of --quick too
QUICK = Training(restarts=1, adam_steps=200, lbfgs_steps=200, validation=0.0)


def cells() -> lse.Samples:
    """Cells with the edges a, a, c: energies and stresses."""
    shape, volume = np.meshgrid(np.linspace(-0.12, FCC + 0.12, 15), np.linspace(-0.05, 0.06, 4), indexing="ij")
    a, c = np.exp((volume - shape) / 3.0).ravel(), np.exp((volume + 2.0 * shape) / 3.0).ravel()
    way, swollen = np.log(c / a) / FCC, np.tanh(3.0 * (np.log(c / a) / FCC - 0.5))
    before, beyond, off = np.minimum(way, 0.0), np.maximum(way - 1.0, 0.0), np.log(a * a * c) - 0.03 * swollen
    energy = 0.1 * way**2 * (3.0 - 2.0 * way) + 0.48 * way**2 * (1.0 - way) ** 2
    energy = energy + 1.2 * before**2 + 2.0 * beyond**2 + 5.0 * off**2
    by_way = 0.6 * way * (1.0 - way) + 0.96 * way * (1.0 - way) * (1.0 - 2.0 * way)
    by_way = by_way + 2.4 * before + 4.0 * beyond - 0.9 * off * (1.0 - swollen**2)
    F, P = np.zeros((2, len(a), 3, 3))
    F[:, 0, 0], F[:, 1, 1], F[:, 2, 2] = a, a, c
    P[:, 0, 0] = P[:, 1, 1] = (10.0 * off - 0.5 * by_way / FCC) / a
    P[:, 2, 2] = (10.0 * off + by_way / FCC) / c
    return lse.Samples(F=F, energy=UNIT * energy, stress=UNIT * P, units={"energy": "GPa", "stress": "GPa"})


def study(samples: lse.Samples, seeds: list[int], quick: bool) -> dict[str, object]:
    """Modes and errors of each seed."""
    begun, modes, energies, stresses = time.process_time(), [], [], []
    architecture, training = Architecture(modes=2 if quick else "auto"), QUICK if quick else Training()
    options = {"kinematics": lse.GreenLagrange(3), "architecture": architecture, "training": training}
    for seed in seeds:
        result = fit(samples, **options, seed=seed, progress=False)
        error = result.error(cells())
        modes.append(result.material.modes)
        energies.append(error.energy)
        stresses.append(error.stress)
    cpu = (time.process_time() - begun) / len(seeds)
    return {"modes": modes, "energy": energies, "stress": stresses, "cpu_s": cpu}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--quick", action="store_true", help="one seed, two modes are given, short fits")
    options = parser.parse_args()
    warnings.simplefilter("ignore", DataWarning)  # the table has no shear
    both = cells()
    kinds = {"energies": lse.Samples(F=both.F, energy=both.energy, units=both.units), "with_stresses": both}
    seeds = options.seeds[:1] if options.quick else options.seeds
    figures = {name: study(samples, seeds, options.quick) for name, samples in kinds.items()}
    finish(figures)
    least = LARGEST[options.quick]
    right = all(set(each["modes"]) == {2} and max(each["energy"]) <= least for each in figures.values())
    sys.exit(0 if right else 1)


if __name__ == "__main__":
    main()
