"""A wave of transitions through a chain of cells that snap, against every beam resolved dynamically.

Problem. All rows of the chain of `snapping_chain.py` are turned over, which stores energy. A plate pulls one end away with a
constant velocity. Rows snap back one after another: a front runs through the chain, and each transition releases the energy of
the second well (N. Nadkarni et al., Phys. Rev. Lett. 116, 244501 (2016)).

The way. Both chains move in steps that conserve energy (`Motion`), with the same drag per mass: every beam meshed, and one bar
element per row with the fitted energy and the mean density of the cell. The mass of the bar is at its nodes, as the horizontal
bars and posts carry most of the cell's. It knows nothing of how beams vibrate, which takes energy out of the motion of rows.

The check. The speed of the front, and the energy that a transition releases, are those of the resolved chain to 3 %.

    ./fenicsx python3 demos/studies/snapping_chain/wave.py
    ./fenicsx python3 demos/studies/snapping_chain/wave.py --quick
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import ufl
from chain import Chain, homogeneous, resolved
from dolfinx import fem
from lattice import HEIGHT, TURNED
from matplotlib.figure import Figure
from mpi4py import MPI
from scipy.spatial import cKDTree
from snapping_chain import PRESSED, PULLED, SHIPPED, draw_chain, drawn

import lse_material as lse
from lse_material.fem import Cells, Dynamics, LoadPath, Motion

COMM = MPI.COMM_WORLD
VELOCITY, DRAG = 0.01, 0.03  # of the plate, in units of sqrt(shear modulus / density); per time and mass


@dataclass(frozen=True, eq=False)
class Wave:
    """What happened in a chain.

    Attributes:
        time: of each step, and `stored` the energy then.
        strain: of each row, compression positive, (steps, rows).
        seconds: CPU time of all ranks.
    """

    time: np.ndarray
    stored: np.ndarray
    strain: np.ndarray
    seconds: float

    def arrivals(self) -> np.ndarray:
        """When each row is half way back, from the plate on; NaN if it does not come so far."""
        found = np.full(self.strain.shape[1], np.nan)
        for k, strain in enumerate(self.strain.T[::-1]):
            back = np.flatnonzero(strain < 0.5 * TURNED)
            if len(back):
                step = slice(back[0] - 1, back[0] + 1)
                found[k] = np.interp(-0.5 * TURNED, -strain[step], self.time[step])
        return found

    def speed(self) -> float:
        """Of the front, in rows: the line through the arrivals."""
        arrivals = self.arrivals()
        there = np.flatnonzero(np.isfinite(arrivals))
        return float(1.0 / np.polyfit(there, arrivals[there], 1)[0])


def turned_over(chain: Chain, strain: float, steps: int) -> None:
    """Press a resolved chain to a strain at which all rows have turned over: one row is pressed, the others are its copies."""
    row = resolved(1, MPI.COMM_SELF)
    LoadPath(row.problem, row.press, progress=False).run(strain * np.arange(1, steps + 1) / steps)
    V, W = chain.u.function_space, row.u.function_space
    x = V.tabulate_dof_coordinates()
    number = np.clip(np.floor(x[:, 1] / HEIGHT + 1e-6), 0, chain.rows - 1)
    x[:, 1] -= number * HEIGHT
    distance, same = cKDTree(W.tabulate_dof_coordinates()).query(x)
    assert distance.max() < 1e-8, "the rows of the chain are not meshed as the single row is"
    u = row.u.x.array.reshape(-1, 2)[same]
    u[:, 1] -= number * strain * HEIGHT
    chain.u.x.array[:] = u.ravel()
    chain.press(strain)
    chain.problem.solve()


def run(chain: Chain, density: float, strain: float, until: float, dt: float) -> tuple[Wave, Cells | None]:
    """Pull the plate away; the motion, and a resolved chain half way."""
    start, u = time.process_time(), chain.u
    motion = Motion(
        chain.problem.functional,
        u,
        density=density,
        bcs=chain.problem.bcs,
        damping=lambda v: 0.5 * DRAG * density * ufl.inner(v, v) * ufl.dx(u.function_space.mesh),
        lumped=not u.ufl_shape,
        petsc_options_prefix="wave_of_beams_" if u.ufl_shape else "wave_of_bar_",
    )
    top = chain.rows * HEIGHT
    parts = 2 if u.ufl_shape else 1
    motion.velocity.interpolate(lambda x: np.array([[0.0], [VELOCITY]])[-parts:] * np.isclose(x[parts - 1], top))
    strains: list[np.ndarray] = []

    def look() -> float:
        strains.append(chain.strains())
        return float(strains[-1].mean())

    dynamics = Dynamics(
        motion, dt, supports=lambda t: chain.press(strain - VELOCITY * t / top), observe={"strain": look}
    )
    dynamics.run(0.5 * until)
    shape = drawn(chain) if u.ufl_shape else None
    table = dynamics.run(until)
    seconds = COMM.allreduce(time.process_time() - start)
    return Wave(table["time"], table["energy"], np.array(strains), seconds), shape


def draw(file: Path, waves: dict[str, Wave], chain: Cells) -> None:
    """Arrivals, stored energies, and the resolved chain half way."""
    figure = Figure(figsize=(12.0, 4.2), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.2, 1.2, 0.5))
    styles = {"every beam resolved": "ko", "fitted LSE-ICNN, an element per row": "C0x"}
    for (name, style), wave in zip(styles.items(), waves.values()):
        arrivals = wave.arrivals()
        left.plot(arrivals, np.arange(1, len(arrivals) + 1), style, markerfacecolor="none", markersize=8, label=name)
        middle.plot(wave.time, 1e6 * wave.stored, color=style[:-1], linewidth=1.2, label=name)
    unit = r"time $\sqrt{\mu/\varrho}$ / cell width"
    rows = np.arange(1, len(arrivals) + 1)
    left.set(xlabel=unit, ylabel="row, from the plate", yticks=rows, title="rows snap back one after another")
    middle.set(xlabel=unit, ylabel=r"stored energy / shear modulus [$10^{-6}$]", title="each releases its energy")
    left.legend(frameon=False, loc="upper left")
    draw_chain(right, chain)
    figure.savefig(file, dpi=110)


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="2 rows: a rough speed")
    parser.add_argument("--rows", type=int, help="of the chain")
    parser.add_argument("--out", type=Path, default=Path("results/snapping_chain"), help="folder for the files")
    options = parser.parse_args()
    rows, dt, bound = (2, 0.5, 0.15) if options.quick else (5, 0.5, 0.03)
    rows = options.rows or rows
    if COMM.rank == 0:
        options.out.mkdir(parents=True, exist_ok=True)
    potential = lse.load_potential(SHIPPED)
    wells = lse.analysis.landscape(potential, [-PRESSED], [PULLED]).wells
    strain = max(-well.x[0] for well in wells)
    until = dt * round(rows * strain * HEIGHT / VELOCITY / dt)
    beams, bar = resolved(rows), homogeneous(potential, rows)
    turned_over(beams, strain, 10 if options.quick else 20)
    bar.u.interpolate(lambda x: -strain * x[0])
    bar.press(strain)
    solid = fem.form(fem.Constant(beams.u.function_space.mesh, 1.0) * ufl.dx)
    density = COMM.allreduce(fem.assemble_scalar(solid)) / (rows * HEIGHT)
    exact, shape = run(beams, 1.0, strain, until, dt)
    fitted, _ = run(bar, density, strain, until, dt)
    figures = {
        "rows": rows,
        "front_speed": exact.speed(),
        "front_speed_error": fitted.speed() / exact.speed() - 1.0,
        "arrivals": exact.arrivals().tolist(),
        "arrivals_fitted": fitted.arrivals().tolist(),
        "energy_per_transition": float(exact.stored[0] / rows),
        "energy_error": float(fitted.stored[0] / exact.stored[0] - 1.0),
        "cpu_ratio": exact.seconds / fitted.seconds,
    }
    if COMM.rank == 0:
        assert shape is not None
        draw(options.out / "wave.png", {"resolved": exact, "fitted": fitted}, shape)
        print(json.dumps(figures))
    return 0 if abs(figures["front_speed_error"]) < bound and abs(figures["energy_error"]) < 0.03 else 1


if __name__ == "__main__":
    sys.exit(main())
