"""The mesh error of what the demos check: each figure on the demo's mesh, and on one twice as fine.

The error of the demo's mesh is about the difference of the two where the figure converges like h^2 (a third more). Figures of
microstructures that a start or rounding chooses (martensite_twins, martensite_3d) are those that the theory holds for.
`demos/studies/snapping_chain/lattice.py` states the error of its own mesh, `benchmarks/porous_cell.py` refines the porous cell.

    ./fenicsx python3 benchmarks/mesh_errors.py --only phase_transforming_bar gene_circuit
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import finish, processor
from dolfinx import mesh
from dolfinx.io import gmsh
from mpi4py import MPI

import lse_material as lse

DEMOS = Path(__file__).resolve().parents[1] / "demos"
sys.path[:0] = [str(DEMOS), str(DEMOS / "studies"), str(DEMOS / "studies" / "mechanochemistry")]
Pair = dict[str, list[float]]  # of a figure: on the demo's mesh, and on the finer one


def paired(rows: list[dict[str, float]]) -> Pair:
    """Figures side by side."""
    return {name: [float(row[name]) for row in rows] for name in rows[0]}


def phase_transforming_bar(folder: Path) -> Pair:
    """200 and 400 cells of degree 2."""
    import phase_transforming_bar as demo

    del folder
    return paired([demo.plateau(demo.Theory(0.03), 0.03, cells) for cells in (200, 400)])


def fit_then_simulate(folder: Path) -> Pair:
    """The plate's mesh, and each cell in four; fewer load steps than the demo's."""
    import fit_then_simulate as demo

    file = folder / "martensite.safetensors"
    demo.fit_material(file, True)
    coarse = gmsh.read_from_msh(DEMOS.parent / "meshes" / "plate_with_hole.msh", MPI.COMM_WORLD, gdim=2)
    coarse.mesh.topology.create_entities(1)
    domain = mesh.refine(coarse.mesh)[0]
    domain.topology.create_connectivity(1, 2)
    sides = {
        coarse.physical_groups[side].tag: mesh.locate_entities_boundary(
            domain, 1, lambda x, at=at: np.isclose(x[0], at)
        )
        for side, at in (("left", -demo.LENGTH / 2), ("right", demo.LENGTH / 2))
    }
    facets = np.concatenate(list(sides.values()))
    values = np.concatenate([np.full(len(f), tag, dtype=np.int32) for tag, f in sides.items()])
    order = np.argsort(facets)
    fine = coarse._replace(mesh=domain, facet_tags=mesh.meshtags(domain, 1, facets[order], values[order]))
    rows = []
    for plate in (coarse, fine):
        _, curve, _ = demo.pull(plate, lse.load(file), "quadrature", 15, folder / "plate.xdmf")
        rows.append({"peak_reaction": curve[:, 1].max(), "last_reaction": curve[-1, 1]})
    return paired(rows)


def gene_circuit(folder: Path) -> Pair:
    """160 x 160 and 320 x 320 finite volumes, for the toggle as the short form fits it."""
    import gene_circuit as demo

    del folder
    found = demo.compared(demo.TOGGLE, demo.learn(demo.TOGGLE, 2, 0))
    wells = [well.x for well in found["land"].wells[:2]]
    rows, shares = [], []
    for cells in (160, 320):
        density = demo.FokkerPlanck(found["potential"], demo.TEMPERATURE, cells)
        density.spread(wells[0], 0.1, 17)
        shares.append(density.on_grid(20))
        rows.append({"switching_time": density.switching_time(*wells)})
    return {**paired(rows), "total_variation": [float(0.5 * np.abs(shares[0] - shares[1]).sum()), 0.0]}


def martensite_twins(folder: Path) -> Pair:
    """64 x 64 and 128 x 128 cells, the demo's first start."""
    import martensite_twins as demo

    file = folder / "martensite.safetensors"
    demo.fit_material(file)
    material = lse.load(file)
    a, b = demo.well(material)
    c, normal = demo.jump_and_normal(a, b)
    rows = []
    for cells in (64, 128):
        crystal = demo.Crystal(material, cells, 0.0125, np.diag([a, b]) + 0.5 * np.outer(c, normal))
        crystal.start(0)
        row = crystal.solve()
        lowest = float(material.energy(np.diag([a, b])[None])[0])
        rows.append({name: row[name] for name in ("angle", "fraction")} | {"above_wells": row["energy"] - lowest})
    return paired(rows)


def mechanochemistry(folder: Path) -> Pair:
    """The square of the short form, 8 x 8 and 16 x 16 crossed cells, with the same width of boundaries."""
    import mechanochemistry as demo

    from lse_material.fem import potential_energy

    potential = lse.load_potential(demo.SHIPPED)
    rows = []
    for cells in (8, 16):
        ends = []
        for exact in (False, True):
            density = demo.polynomial if exact else lambda *x: potential_energy(potential, list(x))
            solid = demo.square(density, cells, 1.5 / 8, exact=exact)
            run = solid.evolution(1e-6, 8e-3, folder / f"{cells}_{exact}.npz")
            table = demo.follow(run, 0.2, None)
            ends.append({name: float(table[name][-1]) for name in ("energy", "rich", "wide", "tall")})
        fitted, true = ends
        rows.append(
            {
                "final_energy": fitted["energy"],
                **{name: fitted[name] for name in ("rich", "wide", "tall")},
                "final_energy_difference": abs(fitted["energy"] / true["energy"] - 1.0),
                "phase_difference": max(abs(fitted[name] - true[name]) for name in ("rich", "wide", "tall")),
            }
        )
    return paired(rows)


CASES: dict[str, Callable[[Path], Pair]] = {
    case.__name__: case
    for case in (phase_transforming_bar, fit_then_simulate, gene_circuit, martensite_twins, mechanochemistry)
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="the bar alone")
    parser.add_argument("--only", nargs="*", default=list(CASES), choices=list(CASES))
    options = parser.parse_args()
    figures: dict[str, Any] = {}
    for name in ["phase_transforming_bar"] if options.quick else options.only:
        with tempfile.TemporaryDirectory() as folder:
            figures[name] = CASES[name](Path(folder))
        print(name, figures[name], flush=True)
    finish({**figures, "cpu": processor()}, digits=6)


if __name__ == "__main__":
    main()
