"""From the displacements of one plate to the forces on another: a material of two phases.

Problem. A plate with a hole is pulled until it has gone from one phase to the other. Its displacements are measured at the
nodes of a mesh, with an error of 0.1 % of the largest, and so are the forces on its ends. No stress is known anywhere.

The way. `FullField` makes equations for stresses of the field: its balance, and the forces. A fit to them gives a material,
which smooths the field; the next fit takes the strains of that. The file that is saved is all that goes on to the other plate,
which has two notches and another mesh.

Balance shows little of the difference in energy of the two wells, since no cell stays between them; a fit to balance alone may
give it the wrong sign. It decides at which load a phase begins. So the first plate is simulated along its load path, with
differences of energy around the fitted one, and the one with the nearest forces is taken.

The check. Two modes, wells within 2 % of the strain between them, and forces on the notched plate within a tenth of the largest
one (RMS). `force_of_balance_alone` is the error of these forces before the difference of energy was found.

    ./fenicsx python3 demos/studies/displacement_fields/identify.py
    ./fenicsx python3 demos/studies/displacement_fields/identify.py --noise 0.01
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import ufl
from dolfinx import fem
from matplotlib.figure import Figure
from plates import Record, identified, levelled, plate, steps_of, two_wells, well_errors

import lse_material as lse
from lse_material.fem import draw_cells

SIZES = {False: (0.025, 0.06, 0.04), True: (0.04, 0.08, 0.08)}  # of cells: made, measured, notched; of --quick too
LARGEST = {False: 0.02, True: 0.1}  # error of a well; coarse meshes err by more
LARGEST_FORCE = 0.1  # RMS error of the forces on the other plate, over the largest


def pulled(material: lse.Material, size: float, steps: int) -> tuple[np.ndarray, fem.Function]:
    """Forces on the notched plate in each step, and its last displacement."""
    found = [(force[2], u) for u, force in steps_of(material, plate(size, notched=True), two_wells(steps).paths)]
    return np.array([force for force, _ in found]), found[-1][1]


def strain(u: fem.Function) -> fem.Function:
    """E11 in each cell."""
    V = fem.functionspace(u.function_space.mesh, ("DG", 0))
    F = ufl.Identity(2) + ufl.grad(u)
    found = fem.Function(V)
    found.interpolate(fem.Expression(0.5 * (F.T * F - ufl.Identity(2))[0, 0], V.element.interpolation_points))
    return found


def error(forces: np.ndarray, true: np.ndarray) -> float:
    """RMS over the largest force."""
    return float(np.sqrt(np.mean((forces - true) ** 2)) / np.abs(true).max())


def draw(path: Path, measured: fem.Function, other: fem.Function, forces: dict[str, np.ndarray]) -> None:
    """The strain as it was measured, that of the other plate, and the forces on that."""
    figure = Figure(figsize=(15, 3.8), layout="constrained")
    axes = figure.subplots(1, 3)
    titles = "measured, half way", "another plate, with the fitted material"
    for each, u, title in zip(axes, (measured, other), titles):
        draw_cells(strain(u), axes=each, label="E11", title=title, limits=(-0.05, 0.15))
    for (name, force), style in zip(forces.items(), ("o", "-")):
        axes[2].plot(
            np.arange(1, len(force) + 1) * 14.0 / len(force), force, style, label=name, color="black", mfc="none"
        )
    axes[2].set(xlabel="elongation in %", ylabel="force on the notched plate", ylim=(0.0, None))
    axes[2].legend(frameon=False)
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--quick", action="store_true", help="coarser meshes, fewer steps, rounds and levels, the number of modes given"
    )
    parser.add_argument("--noise", type=float, default=0.001, help="errors, in largest displacements and forces")
    parser.add_argument("--seed", type=int, default=0, help="of the noise")
    parser.add_argument("--out", type=Path, default=Path("out/displacement_fields"), help="of material and picture")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    sizes, steps = SIZES[options.quick], 7 if options.quick else 14

    test = two_wells(steps)
    field = Record.of(test, sizes[0]).measured(options.noise, options.seed, sizes[1])
    modes, rounds, halvings = (2, 1, 2) if options.quick else ("auto", 4, 4)
    result = identified(field, seed=options.seed, rounds=rounds, modes=modes)
    measured = np.array([support.forces for support in field.supports]).T
    domain = field.displacements[0].function_space.mesh
    before = result.material
    after = before
    if len(before.potential.modes) == 2:
        after = levelled(before, domain, test.paths, measured, halvings=halvings)
    file = options.out / "two_phases.safetensors"
    lse.save(after, file)

    material = lse.load(file)  # from here on nothing else is known of the first plate
    forces, u = pulled(material, sizes[2], steps)
    true, _ = pulled(test.material, sizes[2], steps)
    of_balance, _ = pulled(before, sizes[2], steps)
    draw(
        options.out / "displacement_fields.png",
        field.displacements[steps // 2],
        u,
        {"material that made the data": true, "fitted material": forces},
    )
    figures = {
        "modes": len(material.potential.modes),
        "wells": float(well_errors(material, test.wells).max()),
        "force": error(forces, true),
        "force_of_balance_alone": error(of_balance, true),
    }
    print(json.dumps({name: round(value, 5) for name, value in figures.items()}))
    right = figures["modes"] == 2 and figures["wells"] < LARGEST[options.quick] and figures["force"] < LARGEST_FORCE
    sys.exit(0 if right else 1)


if __name__ == "__main__":
    main()
