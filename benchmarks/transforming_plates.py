"""Materials that transform, from displacement fields: their number and their wells, over seeds of the noise.

    ./fenicsx python3 benchmarks/transforming_plates.py --materials two three --noise 0.001 0.01 --seeds 10

Materials, plate and fits are those of demos/studies/displacement_fields. The displacements are made in cells of 0.025 and
interpolated to the nodes of another mesh, of cells of 0.06 (the hole's radius is 0.25). Noise is a share of the largest
displacement at each node, and of the largest force on each end. A well is off by its distance from the minimum of the nearest
mode, over the strain between the wells.

One line of JSON: {material: {noise: {"modes", "wells": (largest) of each seed, "right": share of seeds, "cpu_s"}}}. A seed is
right with the number of modes and wells within 2 %. Exits with 1 where less than nine tenths are.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1] / "demos" / "studies" / "displacement_fields"))

import numpy as np
from common import finish
from plates import TESTS, Record, Test, identified, two_wells, well_errors

SIZES = {False: (0.025, 0.06), True: (0.04, 0.1)}  # of cells: made, measured; of --quick too
LARGEST = 0.02
ROUNDS = 4  # at most


def study(test: Test, record: Record, noise: float, seeds: int, size: float, rounds: int) -> dict[str, object]:
    """Wells of each seed."""
    begun, wells, modes = time.process_time(), [], []
    for seed in range(seeds):
        result = identified(record.measured(noise, seed, size), seed=seed, rounds=rounds)
        modes.append(len(result.material.potential.modes))
        wells.append(round(float(well_errors(result.material, test.wells).max()), 4))
        print(
            f"noise {noise:g}, seed {seed}: {modes[-1]} modes, wells off by {wells[-1]:.2%}",
            file=sys.stderr,
            flush=True,
        )
    right = float(np.mean((np.array(modes) == len(test.wells)) & (np.array(wells) < LARGEST)))
    return {"modes": modes, "wells": wells, "right": right, "cpu_s": (time.process_time() - begun) / seeds}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--materials", nargs="*", default=list(TESTS), choices=list(TESTS))
    parser.add_argument("--noise", nargs="*", type=float, default=[0.001, 0.01])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument(
        "--quick", action="store_true", help="one seed of two wells, fewer steps, coarser meshes, one round"
    )
    options = parser.parse_args()
    names, levels, seeds, rounds = options.materials, options.noise, options.seeds, ROUNDS
    if options.quick:
        names, levels, seeds, rounds = ["two"], levels[:1], 1, 1
    made, measured = SIZES[options.quick]
    figures = {}
    for name in names:
        test = two_wells(steps=7) if options.quick else TESTS[name]()
        record = Record.of(test, made)
        figures[name] = {str(noise): study(test, record, noise, seeds, measured, rounds) for noise in levels}
    finish(figures)
    sys.exit(0 if all(each["right"] >= 0.9 for of_noise in figures.values() for each in of_noise.values()) else 1)


if __name__ == "__main__":
    main()
