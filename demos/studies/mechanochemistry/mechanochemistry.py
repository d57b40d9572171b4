"""Mechanochemistry: a free energy of composition and strain, learnt from data, makes microstructure.

Problem. A solid has a poor square phase (c = 0) and a rich phase (c = 1) that is stretched into one of two rectangles. Its free
energy W(c, e1, e2, e6) is known at 600 points only, with chemical potentials and stresses (from a polynomial after Rudraraju,
Van der Ven and Garikipati, see free_energy.py).

The way. The energy is fitted by a soft minimum of convex modes, whose number is found from the data. Mode weights of the
old state make each implicit time step convex: its energy falls however long the step is, so that accuracy alone decides on
the steps. A square unmixes; a particle takes up lithium through its boundary. The square is a piece of a large body: its
sides stay straight, so that both rectangles must form, as twins in one grain or in grains of their own. The particle is
free: one of them will do.

The check. From the same start, the polynomial itself (fully implicit steps) comes to the same energy, to 2 %, and to the same
shares of phases, to 0.02. No mass is lost, and no step raises the energy.

    ./fenicsx python3 demos/studies/mechanochemistry/mechanochemistry.py                      # fits first; takes some minutes
    ./fenicsx mpirun -n 2 python3 demos/studies/mechanochemistry/mechanochemistry.py --quick    # with the shipped file
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from dolfinx import mesh
from dolfinx.io import gmsh as gmshio
from free_energy import S_E, polynomial, samples, well_errors
from matplotlib import colormaps
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from mpi4py import MPI
from solid import Solid

import lse_material as lse
from lse_material.fem import Cells, Evolution, on_rank_0, potential_energy

COMM = MPI.COMM_WORLD
SHIPPED = Path(__file__).parents[2] / "materials" / "mechanochemistry.safetensors"
MEAN = 0.45  # concentration of the square
INFLUX, FILLED = 1.5, 0.5  # of the particle: per length and time, and the mean concentration at which it ends


def discover(rows: int, seed: int) -> lse.SoftMinimum:
    """Number of modes, transition scale and weights from the data; on rank 0, the same on all."""

    def fitting() -> lse.SoftMinimum:
        from lse_material.fit import Architecture, Sparsity, fit

        architecture = Architecture(modes="auto", max_modes=4)
        sparsity = Sparsity(restarts=1, prune=1.0, adam_steps=600, trials=2, trial_rows=200)
        return fit(samples(rows, seed), architecture=architecture, sparsity=sparsity, seed=seed).potential

    return on_rank_0(COMM, fitting)


def quality(potential: lse.SoftMinimum) -> dict[str, Any]:
    """Errors on data that the fit has not seen, errors of the wells, and modes that matter."""
    test = samples(4000, seed=12345)
    W, g = potential.energy(test.x), potential.gradient(test.x)
    scale = np.array([1.0, S_E, S_E, S_E])  # gradients in c and e/s_e
    place, energy = well_errors(potential)
    return {
        "test_error_energy": float(np.sqrt(((W - test.energy) ** 2).mean()) / test.energy.std()),
        "test_error_gradient": float(
            np.linalg.norm((g - test.gradient) * scale) / np.linalg.norm(test.gradient * scale)
        ),
        "active_modes": int((potential.mode_weights(test.x).mean(axis=0) > 0.01).sum()),
        "well_place_error": place,
        "well_energy_error": energy,
    }


def start_of_square(x: np.ndarray) -> np.ndarray:
    """A few waves about the mean."""
    waves = [(3, 2, 0.0, 0.02), (5, 4, 1.0, 0.015), (2, 6, 0.5, 0.015), (6, 5, 2.0, 0.015), (1, 0, 0.0, 0.005)]
    return MEAN + sum(a * np.cos(np.pi * m * x[0] + p) * np.cos(np.pi * n * x[1] + p) for m, n, p, a in waves)


def start_of_strain(x: np.ndarray) -> np.ndarray:
    """A small displacement that vanishes at the boundary."""
    s, t = np.pi * x[0], np.pi * x[1]
    return 2e-3 * np.vstack([np.sin(3 * s) * np.sin(4 * t), np.sin(5 * s) * np.sin(2 * t)])


def square(density: Callable[..., Any], cells: int, length: float, *, exact: bool) -> Solid:
    domain = mesh.create_unit_square(COMM, cells, cells, diagonal=mesh.DiagonalType.crossed)
    solid = Solid(domain, density, length=length, name="exact" if exact else "fitted", implicit=exact)
    solid.start(start_of_square, start_of_strain)
    return solid


def particle(density: Callable[..., Any], size: float, length: float) -> Solid:
    """A free disc of diameter 1, poor, with lithium coming in."""
    import gmsh

    gmsh.initialize()
    gmsh.option.setNumber("General.Verbosity", 1)
    if COMM.rank == 0:
        disc = gmsh.model.occ.addDisk(0.0, 0.0, 0.0, 0.5, 0.5)
        gmsh.model.occ.synchronize()
        gmsh.model.addPhysicalGroup(2, [disc])
        gmsh.option.setNumber("Mesh.MeshSizeMax", size)
        gmsh.model.mesh.generate(2)
    domain = gmshio.model_to_mesh(gmsh.model, COMM, 0, gdim=2).mesh
    gmsh.finalize()
    solid = Solid(domain, density, length=length, name="particle", influx=INFLUX, guided=False)
    solid.start(
        lambda x: 0.05 + 0.01 * np.cos(7.0 * x[0]) * np.sin(5.0 * x[1] + 1.0),
        lambda x: (
            1e-3 * np.vstack([np.sin(9.0 * x[0]) * np.cos(4.0 * x[1]), np.cos(8.0 * x[0] + 1.0) * np.sin(6.0 * x[1])])
        ),
    )
    return solid


def follow(run: Evolution, until: float, frame: Callable[[int], None] | None) -> dict[str, np.ndarray]:
    """The run to its end, with a picture every 10 steps if asked for."""
    if frame is None:
        return run.run(until)
    count = 0
    while not run.table["time"] or run.table["time"][-1] < until * (1.0 - 1e-12):
        run.run(until, steps=10)
        frame(count)
        count += 1
    return run.arrays()


C_STYLE = {"cmap": "cividis", "limits": (0.0, 1.0)}
E_STYLE = {"cmap": "viridis", "limits": (-1.2 * S_E, 1.2 * S_E)}


def show(axes: Any, cells: Cells, title: str, **style: Any) -> Any:
    drawn = cells.draw(axes, **style)
    ends = [
        float(np.round(end)) if abs(end - np.round(end)) < 1e-9 else end
        for end in (cells.corners.min(), cells.corners.max())
    ]
    axes.set(title=title, aspect="equal", xticks=ends, yticks=ends, xlabel="x$_1$ / L", ylabel="x$_2$ / L")
    return drawn


def draw(file: Path, drawn: dict[str, dict[str, Cells]], tables: dict[str, dict[str, np.ndarray]], modes: int) -> None:
    """Both squares, the particle, the modes of the fit, and the energies."""
    figure = Figure(figsize=(13.0, 6.0), layout="constrained")
    axes = figure.subplots(2, 4)
    for column, (name, title) in enumerate((("fitted", "fitted"), ("exact", "exact polynomial"))):
        in_c = show(axes[0, column], drawn[name]["c"], f"c, {title}", **C_STYLE)
        in_e = show(axes[0, column + 2], drawn[name]["e2"], f"e$_2$, {title}", **E_STYLE)
    figure.colorbar(in_c, ax=axes[0, :2], shrink=0.8, label="concentration c")
    figure.colorbar(in_e, ax=axes[0, 2:], shrink=0.8, label="strain e$_2$")
    greys = ListedColormap(colormaps["Greys"](np.linspace(0.1, 0.9, modes)))
    style = {"cmap": greys, "limits": (-0.5, modes - 0.5), "edgecolors": "none", "antialiased": False}
    largest = show(axes[1, 0], drawn["fitted"]["modes"], "largest mode weight", **style)
    figure.colorbar(largest, ax=axes[1, 0], ticks=range(modes), shrink=0.8, label="mode")
    for name, line in (("fitted", "k-"), ("exact", "C1--")):
        table = tables[name]
        axes[1, 1].semilogx(table["time"][1:], table["energy"][1:], line, label=name)
    axes[1, 1].set(xlabel="time / (L$^2$/M)", ylabel="free energy of the square / L$^2$", title="energy falls alike")
    axes[1, 1].legend(frameon=False)
    show(axes[1, 2], drawn["particle"]["c"], f"particle filled to {FILLED:.0%}: c", **C_STYLE)
    show(axes[1, 3], drawn["particle"]["e2"], "particle: e$_2$", **E_STYLE)
    figure.savefig(file, dpi=85)


def frame_of(solid: Solid, folder: Path) -> Callable[[int], None]:
    """A function that draws c and e2 as they are now."""

    def frame(count: int) -> None:
        drawn = solid.gathered()
        if drawn is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        figure = Figure(figsize=(8.0, 4.0), layout="constrained")
        left, right = figure.subplots(1, 2)
        show(left, drawn["c"], "c", **C_STYLE)
        show(right, drawn["e2"], "e$_2$", **E_STYLE)
        figure.savefig(folder / f"{count:04d}.png", dpi=100)

    return frame


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="coarse meshes, the potential that is shipped")
    parser.add_argument("--shipped", action="store_true", help="do not fit: take the potential that is shipped")
    parser.add_argument("--seeds", type=int, default=1, help="fits from so many draws of the data; the first is used")
    parser.add_argument("--frames", action="store_true", help="a picture every 10 steps, for a film")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoints in the folder")
    parser.add_argument(
        "--only", choices=("fitted", "exact", "particle"), help="make this run and its checkpoint, no more"
    )
    parser.add_argument("--out", type=Path, default=Path("results/mechanochemistry"), help="folder for the files")
    options = parser.parse_args()
    cells, until, tolerance = (8, 0.2, 8e-3) if options.quick else (24, 0.03, 2e-3)
    length = 1.5 / cells  # three sides of a crossed cell

    figures: dict[str, Any] = {}
    if options.quick or options.shipped:
        potential = lse.load_potential(SHIPPED)
    else:
        found = [discover(600, seed) for seed in range(options.seeds)]
        potential = found[0]
        figures["modes_by_seed"] = [quality(p)["active_modes"] for p in found]
    figures |= quality(potential)

    def density(*x: Any) -> Any:
        return potential_energy(potential, list(x))

    make = {
        "fitted": lambda: square(density, cells, length, exact=False),
        "exact": lambda: square(polynomial, cells, length, exact=True),
        "particle": lambda: particle(density, 1.0 / (1.4 * cells), length),
    }
    if COMM.rank == 0:
        options.out.mkdir(parents=True, exist_ok=True)
    COMM.barrier()
    solids, runs, tables = {}, {}, {}
    for name in [options.only] if options.only else make:
        solid = solids[name] = make[name]()
        runs[name] = solid.evolution(
            1e-6, max(tolerance, 4e-3) if name == "particle" else tolerance, options.out / f"{name}.npz"
        )
        if options.resume:
            runs[name].resume()
        end = (FILLED - 0.05) * 0.25 / INFLUX if name == "particle" else until  # perimeter/area = 4
        tables[name] = follow(runs[name], end, frame_of(solid, options.out / name) if options.frames else None)

    if options.only:
        runs[options.only].save()
        return 0
    fitted, exact, grain = (tables[name] for name in ("fitted", "exact", "particle"))
    figures |= {
        "mass_drift": float(np.abs(fitted["mass"] - fitted["mass"][0]).max()),
        "energy_increases": runs["fitted"].increases + runs["particle"].increases,
        "steps": len(fitted["time"]) - 1,
        "rejected_steps": runs["fitted"].rejected,
        "final_energy_difference": float(abs(fitted["energy"][-1] / exact["energy"][-1] - 1.0)),
        "phase_difference": float(max(abs(fitted[name][-1] - exact[name][-1]) for name in ("rich", "wide", "tall"))),
        "exact_steps": len(exact["time"]) - 1,
        "exact_rejected_steps": runs["exact"].rejected,
        "particle_steps": len(grain["time"]) - 1,
        "particle_rejected_steps": runs["particle"].rejected,
        "particle_mass_error": float(np.abs(grain["mass"] - grain["mass"][0] - grain["supplied"]).max()),
        "outside_box": float(max(fitted["excess"].max(), grain["excess"].max())),
    }
    drawn = {name: solid.gathered(None if name == "exact" else potential) for name, solid in solids.items()}
    for name, run in runs.items():
        run.save_table(options.out / f"{name}.csv")
    del solids, runs, solid, run  # on all ranks at once, before rank 0 goes on alone
    if COMM.rank == 0:
        lse.save(potential, options.out / "mechanochemistry.safetensors")
        draw(options.out / "mechanochemistry.png", drawn, tables, len(potential.modes))
        print(json.dumps(figures))
    right = (
        max(figures["test_error_energy"], figures["test_error_gradient"]) <= 0.02
        and max(figures["well_place_error"], figures["well_energy_error"]) <= 0.02
        and max(figures["mass_drift"], figures["particle_mass_error"]) <= 1e-12
        and figures["energy_increases"] == 0
        and (options.quick or figures["rejected_steps"] <= 0.03 * (figures["steps"] + figures["rejected_steps"]))
        and figures["final_energy_difference"] <= 0.02
        and figures["phase_difference"] <= 0.02
    )
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
