"""A superelastic damper: a plate with holes that is pulled and released, with a loop within a loop.

Problem. Superelastic alloys dissipate energy because martensite forms at a higher stress than that at which it turns back into
austenite. The plate has holes, at which martensite begins. Its ends are pulled apart, released in part, pulled, and released:
an earthquake has such loops within loops.

The way. The energy is the soft minimum of two modes: austenite, and the martensite that is stretched by e_T along the pull and
lies higher by g. `Dissipation` puts a price D on the change from one to the other. A second gradient of the displacement gives
phase boundaries a width. `LoadPath` lets the memory follow, and balances the energy.

The check. In every step, work = stored + dissipated + released, to 1e-8 of the work. The area under the measured force is that
work, around the outer loop and around the loop within it, at whose end the force is what it was at its start. Dissipation
never falls. A damper is judged by its loss factor: what a loop dissipates over 2 pi times the largest stored energy.

    ./fenicsx python3 demos/studies/superelastic_damper.py
    ./fenicsx mpirun -n 2 python3 demos/studies/superelastic_damper.py --quick
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from pathlib import Path

import gmsh
import numpy as np
import ufl
from dolfinx import fem, mesh
from dolfinx.io.gmsh import model_to_mesh
from matplotlib.figure import Figure
from mpi4py import MPI

import lse_material as lse
from lse_material.fem import Cells, Dissipation, EnergyProblem, LoadPath, MaterialFields, gather_cells

COMM = MPI.COMM_WORLD
LENGTH, HEIGHT, RADIUS = 60.0, 24.0, 4.0  # mm
HOLES = ((15.0, 9.0), (30.0, 15.0), (45.0, 9.0))  # their centres, mm
YOUNG, POISSON = 40e3, 0.33  # MPa, -
STRAIN, OFFSET, SCALE, PRICE = 0.05, 15.0, 16.0, 5.0  # of the transformation: -, MPa, MPa, MPa
WIDTH = 2.0  # of phase boundaries, mm
TURNS = (
    0.0,
    2.4,
    1.6,
    2.1,
    1.6,
    2.4,
    0.0,
)  # elongations at which the grip turns, mm; from the third to the fifth a minor loop


def superelastic() -> lse.Material:
    """Austenite and martensite in plane stress, each linear in Green-Lagrange strain with the same moduli."""
    shear = 0.5 * YOUNG / (1.0 + POISSON)
    lame = YOUNG * POISSON / (1.0 - POISSON**2)
    C = lame * np.outer([1.0, 1.0, 0.0], [1.0, 1.0, 0.0]) + 2.0 * shear * np.eye(3)
    stretches = np.array([1.0 + STRAIN, 1.0 / (1.0 + STRAIN)])
    transformed = np.append(0.5 * (stretches**2 - 1.0), 0.0)
    root = np.linalg.cholesky(C).T
    modes = [
        lse.ConvexNetwork.from_arrays([], [[-C @ x]], [[0.5 * x @ C @ x + level]], quadratic=root)
        for x, level in ((np.zeros(3), 0.0), (transformed, OFFSET))
    ]
    return lse.Material(lse.SoftMinimum(modes, SCALE), lse.GreenLagrange(2), units={"energy": "MPa", "stress": "MPa"})


def perforated(size: float) -> mesh.Mesh:
    """The plate, with elements of a size in mm."""
    gmsh.initialize()
    gmsh.option.setNumber("General.Terminal", 0)
    if COMM.rank == 0:
        occ = gmsh.model.occ
        plate = occ.addRectangle(0.0, 0.0, 0.0, LENGTH, HEIGHT)
        holes = [(2, occ.addDisk(x, y, 0.0, RADIUS, RADIUS)) for x, y in HOLES]
        ((_, solid),), _ = occ.cut([(2, plate)], holes)
        occ.synchronize()
        gmsh.model.addPhysicalGroup(2, [solid], name="plate")
        gmsh.option.setNumber("Mesh.MeshSizeMin", size)
        gmsh.option.setNumber("Mesh.MeshSizeMax", size)
        gmsh.model.mesh.generate(2)
    domain = model_to_mesh(gmsh.model, COMM, 0, gdim=2).mesh
    gmsh.finalize()
    return domain


class Damper:
    """The plate between grips that are pulled apart."""

    def __init__(self, size: float) -> None:
        material, domain = superelastic(), perforated(size)
        V = fem.functionspace(domain, ("Lagrange", 2, (2,)))
        self.u = fem.Function(V, name="displacement")
        F = ufl.Identity(2) + ufl.grad(self.u)
        self.hysteresis = Dissipation(material, F, PRICE, degree=2)
        self.fields = MaterialFields(material, F, ellipticity=False)
        energy = lse.fem.energy(material, F) * self.hysteresis.dx + self.hysteresis.functional
        energy += lse.fem.interior_penalty(self.u, length=WIDTH, modulus=YOUNG, degree=2)
        self._pull, zero = fem.Constant(domain, 0.0), fem.Constant(domain, 0.0)

        def gripped(component: int, at: float, value: fem.Constant) -> fem.DirichletBC:
            part = V.sub(component)
            there = fem.locate_dofs_geometrical((part, part.collapse()[0]), lambda x: np.isclose(x[0], at))[0]
            return fem.dirichletbc(value, there, part)

        self._grip = gripped(0, LENGTH, self._pull)
        bcs = [gripped(0, 0.0, zero), gripped(1, 0.0, zero), gripped(1, LENGTH, zero), self._grip]
        self.problem = EnergyProblem(energy, self.u, bcs=bcs, petsc_options_prefix="damper_")
        self._share = fem.form(self.hysteresis.anchors[1] / (HEIGHT * LENGTH) * self.hysteresis.dx)
        self.path = LoadPath(
            self.problem,
            self.pull,
            {"force": self.force, "martensite": self.martensite},
            perturbation_size=1e-2,
            internal=[self.hysteresis],
        )

    def pull(self, elongation: float) -> None:
        """Move the grip."""
        self._pull.value = elongation

    def force(self) -> float:
        """On the grip, N per mm of thickness."""
        return self.problem.reaction(self._grip)

    def martensite(self) -> float:
        """Its share of the plate, holes included."""
        return float(COMM.allreduce(fem.assemble_scalar(self._share)))

    def shape(self) -> Cells | None:
        """The deformed plate with its martensite, on rank 0."""
        self.fields.update()
        return gather_cells(self.fields.mode_weights, displacement=self.u, component=1)


def cycle(step: float) -> tuple[np.ndarray, np.ndarray]:
    """The levels of the elongation, closer in the minor loop, and the numbers of those at which the grip turns."""
    legs = []
    for k, (a, b) in enumerate(itertools.pairwise(TURNS)):
        parts = round(abs(b - a) / (step / 4.0 if k in (2, 3) else step))
        legs.append(np.linspace(a, b, parts + 1)[1:])
    return np.concatenate([[0.0], *legs]), np.cumsum([0, *map(len, legs)])


def loop(table: dict[str, np.ndarray], first: int, last: int) -> tuple[float, float]:
    """The area that the force encloses between two rows at the same elongation, and the work that the path recorded there."""
    rows = slice(first, last + 1)
    area = np.trapezoid(table["force"][rows], table["load"][rows])
    return float(area), float(table["work"][last] - table["work"][first])


def checked(table: dict[str, np.ndarray], turns: np.ndarray) -> dict[str, float]:
    """The figures."""
    balance = np.diff(table["energy"] + table["dissipated"] + table["released"] - table["work"])
    start, _, down, _, again, _, end = turns
    outer, work = loop(table, start, end)
    minor, minor_work = loop(table, down, again)
    lost = float(table["dissipated"][-1] + table["released"][-1])
    return {
        "peak_force": float(table["force"].max()),
        "balance_error": float(np.abs(balance).max() / np.abs(np.diff(table["work"])).max()),
        "loop_area": outer,
        "loop_area_error": outer / work - 1.0,
        "minor_loop_area": minor,
        "minor_loop_area_error": minor / minor_work - 1.0,
        "minor_loop_gap": float(abs(table["force"][again] - table["force"][down]) / table["force"].max()),
        "least_dissipation": float(np.diff(table["dissipated"]).min()),
        "released_share": float(table["released"][-1] / lost),
        "loss_factor": lost / (2.0 * np.pi * float((table["energy"] - table["energy"][0]).max())),
        "martensite": float(table["martensite"].max()),
    }


def draw(file: Path, table: dict[str, np.ndarray], shapes: list[Cells]) -> None:
    """Loops, where the work goes, and the plate at its turns."""
    figure = Figure(figsize=(12.0, 7.0), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=(1.35, 1.0))
    left, right = top.subplots(1, 2)
    left.plot(table["load"], table["force"], "k.-", linewidth=1.0, markersize=3)
    left.set(xlabel="elongation [mm]", ylabel="force [N per mm]", title="a loop within a loop")
    steps = np.arange(len(table["load"]))
    lost = table["dissipated"] + table["released"]
    right.plot(steps, table["work"] - table["work"][0], "k", linewidth=1.2, label="work of the grips")
    right.fill_between(steps, table["dissipated"], color="C1", alpha=0.6, label="dissipated")
    right.fill_between(steps, table["dissipated"], lost, color="C3", alpha=0.8, label="released in jumps")
    right.fill_between(steps, lost, lost + table["energy"] - table["energy"][0], color="C0", alpha=0.4, label="stored")
    right.set(xlabel="load step", ylabel="energy [N]", title="the work is stored, dissipated, or released")
    right.set_ylim(0.0, 1.3 * float(np.ptp(table["work"])))
    right.legend(frameon=False, loc="upper left", ncols=2)
    panels = bottom.subplots(1, len(shapes))
    for axes, shape, name in zip(panels, shapes, ("pulled", "released in part", "released")):
        drawn = shape.draw(axes, limits=(0.0, 1.0))
        axes.set_aspect("equal")
        axes.set_axis_off()
        axes.set_title(name, fontsize=10)
    bottom.colorbar(drawn, ax=list(panels), label="martensite", shrink=0.8)
    figure.savefig(file, dpi=110)


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="larger elements and steps")
    parser.add_argument("--out", type=Path, default=Path("results/superelastic_damper"), help="folder for the files")
    options = parser.parse_args()
    size, step, bound = (3.0, 0.25, 0.05) if options.quick else (2.0, 0.1, 0.03)
    damper = Damper(size)
    levels, turns = cycle(step)
    shapes = []
    for stop in (turns[1], turns[2], turns[6]):
        damper.path.run(levels[: stop + 1])
        shapes.append(damper.shape())
    table = damper.path.run(levels)
    figures = checked(table, turns)
    if COMM.rank == 0:
        options.out.mkdir(parents=True, exist_ok=True)
        draw(options.out / "superelastic_damper.png", table, [shape for shape in shapes if shape is not None])
        print(json.dumps(figures))
    right = (
        figures["balance_error"] < 1e-8
        and abs(figures["loop_area_error"]) < bound
        and abs(figures["minor_loop_area_error"]) < bound
        and figures["minor_loop_gap"] < 1e-6
        and figures["least_dissipation"] >= 0.0
    )
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
