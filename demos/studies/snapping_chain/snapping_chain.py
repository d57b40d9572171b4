"""A chain of cells that snap through, from one cell to the chain and against every beam resolved.

Problem. A lattice of clamped curved beams. Pressed together, the beams of a row turn over and stay so: a second well of its
energy (S. Shan et al., Adv. Mater. 27, 4296 (2015)). A chain of such rows between two plates turns over row by row, in a
sawtooth. In a long chain the rows that are not turning are a soft machine, each turn is a jump, and energy is lost though the
solid is elastic (G. Puglisi, L. Truskinovsky, J. Mech. Phys. Solids 48, 1 (2000)); a short one comes back as it went.

The way. `PeriodicCell` gives energy and stress of a cell from F_22 = 1 over the ridge to beyond the second well: its
average F is prescribed, so that it does not jump. The number of modes and the transition scale are found from these data. A
chain of the fitted material is one bar element per row: W has no length scale, and a row is the smallest part that can turn
alone. Both chains are pressed together and let go as an `EnergyProblem`, with a perturbation along the lowest mode where a
state has become unstable.

The check. Rows turn over and back one by one in both, and the work of pressing the chain together is that of the resolved one
to 5 %.

    ./fenicsx python3 demos/studies/snapping_chain/snapping_chain.py
    ./fenicsx mpirun -n 2 python3 demos/studies/snapping_chain/snapping_chain.py --quick
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from chain import Chain, Cycle, cycle, homogeneous, resolved
from dolfinx import fem
from lattice import HEIGHT, TURNED, UNITS, energy, lattice
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from mpi4py import MPI

import lse_material as lse
from lse_material.analysis import landscape
from lse_material.fem import CellPath, Cells, PeriodicCell, gather_cells, on_rank_0, sample

COMM = MPI.COMM_WORLD
SHIPPED = Path(__file__).parents[2] / "materials" / "snapping_cell.safetensors"
PULLED, PRESSED = 0.03, 1.15 * TURNED  # ends of the data, strains


def samples_of_the_cell(points: int, out: Path) -> lse.Samples:
    """Energy and stress P_22 against x = F_22 - 1, the lateral stretch fixed at 1."""

    def make_cell(comm: MPI.Comm) -> PeriodicCell:
        return PeriodicCell(lattice(comm, 1), energy)

    few = max(2, points // 15)
    paths = [
        CellPath.straight(np.diag([1.0, 1.0 + end]), steps) for end, steps in ((-PRESSED, points - few), (PULLED, few))
    ]
    found = sample(make_cell, paths, out / "snapping_cell.npz", units=UNITS)
    assert found.samples.F is not None
    assert found.samples.stress is not None
    stress = found.samples.stress[:, 1, 1:]
    return lse.Samples(x=found.samples.F[:, 1, 1:] - 1.0, energy=found.samples.energy, gradient=stress, units=UNITS)


def fitted(samples: lse.Samples) -> lse.SoftMinimum:
    """Modes, transition scale and weights from two rows of three; a serial fit, the same potential on all ranks."""

    def fitting() -> lse.SoftMinimum:
        from lse_material.fit import Architecture, Sparsity, fit

        rows = np.arange(len(samples))
        train = samples.take(rows[rows % 3 != 1])
        architecture = Architecture(modes="auto", stress_free=True)
        return fit(train, architecture=architecture, sparsity=Sparsity(restarts=1)).potential

    return on_rank_0(COMM, fitting)


def quality(potential: lse.SoftMinimum, samples: lse.Samples) -> dict[str, Any]:
    """Modes, transition scale, and relative errors on the rows that a fit does not see."""
    rows = np.arange(len(samples))
    test = samples.take(rows[rows % 3 == 1])
    assert test.x is not None
    assert test.energy is not None
    assert test.gradient is not None
    energy, stress = potential.energy(test.x) - test.energy, potential.gradient(test.x) - test.gradient
    found = landscape(potential, [-PRESSED], [PULLED])
    return {
        "modes": len(potential.modes),
        "rho": potential.transition_scale,
        "test_error_energy": float(np.sqrt(np.mean(energy**2)) / np.std(test.energy)),
        "test_error_stress": float(np.sqrt(np.mean(stress**2) / np.mean(test.gradient**2))),
        "wells": len(found.wells),
        "second_well_strain": float(max(-well.x[0] for well in found.wells)),
    }


def compared(resolved: Cycle, fitted: Cycle) -> dict[str, float]:
    """Relative errors of the fitted chain; dissipation as a share of the resolved one's work."""
    return {
        "work_error": fitted.work / resolved.work - 1.0,
        "peak_stress_error": fitted.peak / resolved.peak - 1.0,
        "dissipated_share": resolved.dissipated / resolved.work,
        "dissipated_share_fitted": fitted.dissipated / resolved.work,
        "dofs_ratio": resolved.unknowns / fitted.unknowns,
        "cpu_ratio": resolved.seconds / fitted.seconds,
    }


def both(potential: lse.SoftMinimum, rows: int, steps: int, out: Path, picture: Path) -> dict[str, Cycle]:
    """The two chains, of which nothing is left on any rank when this returns: rank 0 goes on alone."""
    chain = resolved(rows)

    def half_way() -> None:
        shape = drawn(chain)
        if shape is not None:
            np.savez(picture, corners=shape.corners, strain=shape.values)

    exact = cycle(chain, steps, out / f"resolved_{rows}_{steps}.npz", half_way)
    return {"resolved": exact, "fitted": cycle(homogeneous(potential, rows), steps)}


def draw_chain(axes: Axes, chain: Cells) -> None:
    """A resolved chain half way, coloured by the strain of its rows."""
    cells = Cells(chain.corners, 100 * chain.values).draw(axes, cmap="cividis_r", linewidths=0.2)
    axes.set(aspect="equal", xlabel="cell widths", ylabel="cell widths", title="half way")
    axes.figure.colorbar(cells, ax=axes, label="strain of the row [%]", shrink=0.8)


def drawn(chain: Chain) -> Cells | None:
    """The deformed chain and the strain of the row of each element, on rank 0; None elsewhere. Collective."""
    of_row = fem.Function(fem.functionspace(chain.u.function_space.mesh, ("DG", 0)))
    strains = chain.strains()
    of_row.interpolate(lambda x: strains[np.floor(x[1] / HEIGHT).astype(int)])
    return gather_cells(of_row, displacement=chain.u)


def draw(file: Path, samples: lse.Samples, potential: lse.SoftMinimum, cycles: dict[str, Cycle], chain: Cells) -> None:
    """The energy of the cell, the sawtooth, and the chain half way."""
    figure = Figure(figsize=(12.5, 4.4), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.0, 1.5, 0.5))
    assert samples.x is not None
    assert samples.energy is not None
    x = np.linspace(-PRESSED, PULLED, 400)[:, None]
    data, fit = -100 * samples.x[:, 0], -100 * x[:, 0]
    left.plot(data, 1e6 * samples.energy, "ko", markersize=3.5, markerfacecolor="none", label="periodic cell")
    left.plot(fit, 1e6 * potential.energy(x), color="C0", linewidth=1.5, label="fitted LSE-ICNN")
    left.set(
        xlabel="strain of the cell [%]", ylabel=r"energy / shear modulus [$10^{-6}$]", title="a cell with two wells"
    )
    left.legend(frameon=False, loc="upper center")
    names = {"resolved": "every beam resolved", "fitted": "fitted LSE-ICNN, an element per row"}
    styles = {"resolved": {"color": "k", "linewidth": 3.0, "alpha": 0.35}, "fitted": {"color": "C0", "linewidth": 1.3}}
    for name, c in cycles.items():
        strain, stress = c.curve()
        turn = c.turn + 2
        middle.plot(100 * strain[:turn], 1e4 * stress[:turn], label=names[name], **styles[name])
        middle.plot(100 * strain[turn - 1 :], 1e4 * stress[turn - 1 :], linestyle="--", **styles[name])
    middle.axhline(0.0, color="0.7", linewidth=0.8, zorder=0)
    middle.set(xlabel="nominal strain of the chain [%]", ylabel=r"stress of the plate / shear modulus [$10^{-4}$]")
    middle.set(title="rows turn over one by one (dashed: let go)")
    middle.set_ylim(top=1.4e4 * max(c.stress.max() for c in cycles.values()))
    middle.legend(frameon=False, loc="upper center")
    draw_chain(right, chain)
    figure.savefig(file, dpi=110)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="2 rows, few samples, the fit that is shipped")
    parser.add_argument("--rows", type=int, help="of the chain")
    parser.add_argument("--ship", action="store_true", help="put the fit to demos/materials")
    parser.add_argument("--out", type=Path, default=Path("results/snapping_chain"), help="folder for the files")
    options = parser.parse_args()
    rows, steps, points = (2, 14, 10) if options.quick else (8, 100, 64)
    rows, out = options.rows or rows, options.out
    if COMM.rank == 0:
        out.mkdir(parents=True, exist_ok=True)
    COMM.barrier()
    samples = samples_of_the_cell(points, out)
    potential = lse.load_potential(SHIPPED) if options.quick else fitted(samples)
    if COMM.rank == 0 and not options.quick:
        for file in (out / SHIPPED.name, *([SHIPPED] if options.ship else [])):
            lse.save(potential, file)
    figures: dict[str, Any] = {"rows": rows, "points": len(samples), **quality(potential, samples)}
    picture = out / f"half_way_{rows}.npz"
    cycles = both(potential, rows, steps, out, picture)
    figures |= compared(**cycles)
    figures["one_by_one"] = right = all(c.one_by_one(rows) for c in cycles.values())
    if COMM.rank == 0:
        with np.load(picture) as shape:
            draw(out / "snapping_chain.png", samples, potential, cycles, Cells(shape["corners"], shape["strain"]))
        print(json.dumps(figures))
    return 0 if right and figures["wells"] == 2 and abs(figures["work_error"]) < 0.05 else 1


if __name__ == "__main__":
    sys.exit(main())
