"""3. A specimen of the fitted material between two plates, and one of the single convex network.

Problem. A square of 12 x 12 unit cells is pressed together by 6 % of its height, between plates on which it slides and
between plates to which it is bonded. Now it is a homogeneous body: no hole is meshed.

The way. The energy of the material goes into an `EnergyProblem`, load steps and stability checks are those of any material.

The check. Sliding plates leave the state homogeneous: the plate's stress is that of the material under uniaxial compression,
which the samples of the cell know.

    ./fenicsx python3 demos/studies/buckling_metamaterial/simulate.py
    ./fenicsx mpirun -n 2 python3 demos/studies/buckling_metamaterial/simulate.py --quick
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from elastomer import MATERIAL, SAMPLES, SINGLE_MODE, STATES
from mpi4py import MPI
from specimen import FEW, KNEE, LEVELS, Curve, compress, homogeneous

import lse_material as lse

COMM = MPI.COMM_WORLD
CELLS = 12


def of_the_cell() -> tuple[np.ndarray, np.ndarray]:
    """Strain and stress of the samples under uniaxial compression, compression positive."""
    samples = lse.read_samples(SAMPLES)
    with np.load(STATES) as states:
        uniaxial = states["path"] == 0
    assert samples.F is not None
    assert samples.stress is not None
    return 1.0 - samples.F[uniaxial, 1, 1], -samples.stress[uniaxial, 1, 1]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a coarse mesh, sliding plates only")
    parser.add_argument("--out", type=Path, default=Path("results/buckling_metamaterial"), help="folder for the files")
    options = parser.parse_args()
    if COMM.rank == 0:
        options.out.mkdir(parents=True, exist_ok=True)
    elements = 2 if options.quick else CELLS // 2
    levels = LEVELS[:FEW] if options.quick else LEVELS
    curves: dict[str, Curve] = {}
    for name, file in (("lse", MATERIAL), ("single_mode", SINGLE_MODE)):
        material = lse.load(file)
        for bonded in (False,) if options.quick else (False, True):
            key = f"{name}_bonded" if bonded else name
            specimen = homogeneous(material, CELLS, elements, bonded=bonded, name=name)
            curves[key] = compress(specimen, levels, perturbation_size=1e-3)
    strain, stress = of_the_cell()
    expected = np.interp(levels, np.append(0.0, strain), np.append(0.0, stress))
    plateau = (levels >= KNEE[1] - 1e-9) & (levels <= KNEE[2] + 1e-9)
    figures: dict[str, float] = {}
    for key, curve in curves.items():
        figures[f"{key}_critical_strain"], figures[f"{key}_plateau_stress"] = curve.knee
        figures[f"{key}_seconds"], figures[f"{key}_dofs"] = curve.seconds, curve.unknowns
    for name in ("lse", "single_mode"):
        figures[f"{name}_against_cell"] = float(abs(curves[name].stress[plateau] / expected[plateau] - 1.0).max())
    if COMM.rank == 0:
        np.savez(
            options.out / "homogeneous.npz",
            **{f"{k}_{n}": getattr(c, n) for k, c in curves.items() for n in ("strain", "stress")},
        )
        print(json.dumps(figures))
    return 0 if figures["lse_against_cell"] < 0.05 else 1


if __name__ == "__main__":
    sys.exit(main())
