"""From a data file to a converged simulation: a martensite plate with a hole, pulled through its transformation.

Problem. A two-variant martensite (square to rectangle, finite strain) has an energy with two wells and a ridge between
them. We have 1,000 measured rows of F, W and P with 1 % noise (demos/data/martensite.csv) and want the response of a
plate with a hole that starts in the variant that is short along x and is pulled into the one that is long along x.

The way. Fit an LSE-ICNN of two modes, save it, load it, and solve equilibrium by load steps twice: with the energy in the
form, as UFL, and with the stress at quadrature points through an external operator. A viscous term eta grad(du/dt), added as
ordinary UFL, carries the solution across the ridge where the elastic energy alone would jump.

The check. Both routes are translations of one formula: their displacements agree to 1e-9 (relative to the plate's length).

    ./fenicsx python3 demos/fit_then_simulate.py
    ./fenicsx mpirun -n 2 python3 demos/fit_then_simulate.py --quick
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import gmsh
import numpy as np
import ufl
from dolfinx import fem, mesh
from dolfinx.io import XDMFFile
from dolfinx.io import gmsh as gmshio
from mpi4py import MPI

import lse_material as lse
from lse_material.fem import MaterialProblem, QuadratureStress, energy, mode_weights
from lse_material.fem.ranks import on_rank_0

HERE = Path(__file__).resolve().parent
COMM = MPI.COMM_WORLD
LENGTH = 2.0  # mm, of the plate
VISCOSITY = 60.0  # MPa per unit of du/dt; the unit of time is one load step
STEPS = 60


def fit_material(path: Path, quick: bool) -> dict[str, Any]:
    """Fit the two variants, save the material to `path`, and return the figures of the fit."""
    from lse_material.fit import Architecture, Training, fit

    samples = lse.read_samples(HERE / "data" / "martensite.csv")
    train, test = samples.split(0.8, seed=0)
    result = fit(
        train,
        kinematics=lse.GreenLagrange(dim=2),
        architecture=Architecture(modes=2, width=8, depth=1),
        training=Training(restarts=1 if quick else 3),
        seed=0,
    )
    print(result.summary(test))
    result.material.save(path)
    error = result.error(test)
    return {
        "active_modes": result.active_modes,
        "rho": result.rho,
        "test_error_energy": error.energy,
        "test_error_stress": error.stress,
    }


def read_plate() -> tuple[mesh.Mesh, mesh.MeshTags, dict[str, int]]:
    """The plate, its tagged sides, and the tag of each side's name."""
    gmsh.initialize()
    gmsh.option.setNumber("General.Terminal", 0)
    if COMM.rank == 0:
        gmsh.open(str(HERE.parent / "meshes" / "plate_with_hole.msh"))
    data = gmshio.model_to_mesh(gmsh.model, COMM, 0, gdim=2)
    gmsh.finalize()
    return data.mesh, data.facet_tags, {name: group.tag for name, group in data.physical_groups.items()}


class Plate:
    """The plate between smooth grips, its left side held and its right side pulled along x."""

    def __init__(self, material: lse.Material, route: str) -> None:
        domain, sides, names = read_plate()
        V = fem.functionspace(domain, ("Lagrange", 2, (2,)))
        self.u, self.before = fem.Function(V, name="displacement"), fem.Function(V)
        v = ufl.TestFunction(V)
        self.F = ufl.Identity(2) + ufl.grad(self.u)
        viscous = VISCOSITY * ufl.inner(ufl.grad(self.u - self.before), ufl.grad(v)) * ufl.dx(degree=2)

        def held(side: str, component: int) -> np.ndarray:
            return fem.locate_dofs_topological(V.sub(component), 1, sides.find(names[side]))

        self.pull = fem.Constant(domain, 0.0)
        self.grip = fem.dirichletbc(self.pull, held("right", 0), V.sub(0))
        corner = fem.locate_dofs_geometrical(
            (V.sub(1), V.sub(1).collapse()[0]), lambda x: np.isclose(x[0], -LENGTH / 2) & np.isclose(x[1], 0.0)
        )
        pin = fem.dirichletbc(fem.Function(V.sub(1).collapse()[0]), corner, V.sub(1))
        self.bcs = [fem.dirichletbc(0.0, held("left", 0), V.sub(0)), self.grip, pin]
        stresses = []
        if route == "ufl":
            elastic = ufl.derivative(energy(material, self.F) * ufl.dx(degree=2), self.u, v)
        else:
            stresses = [QuadratureStress(material, self.F, degree=2)]
            elastic = ufl.inner(stresses[0].operator, ufl.grad(v)) * stresses[0].dx
        self.problem = MaterialProblem(
            elastic + viscous,
            self.u,
            bcs=self.bcs,
            stresses=stresses,
            petsc_options_prefix=f"{route}_",
            petsc_options={"snes_atol": 1e-12, "snes_rtol": 1e-12},
        )
        self.residuals: list[float] = []
        self.problem.solver.setMonitor(lambda snes, iteration, norm: self.residuals.append(norm))

    def start(self, stretch: np.ndarray) -> None:
        """Put the whole plate into the state u = (stretch - 1) X."""
        self.u.interpolate(lambda x: np.vstack([(stretch[0] - 1) * (x[0] + LENGTH / 2), (stretch[1] - 1) * x[1]]))

    def step(self, elongation: float) -> float:
        """One load step to this elongation; returns the force on the grip in N per mm of thickness."""
        self.residuals.clear()
        self.pull.value = elongation
        self.before.x.array[:] = self.u.x.array
        self.problem.solve()
        return self.problem.reaction(self.grip)


def well_stretch(material: lse.Material) -> np.ndarray:
    """Principal stretches (l1, l2) of the well that is short along x: the stress-free state below l1 = 1."""
    from scipy.optimize import minimize

    def objective(stretch: np.ndarray) -> tuple[float, np.ndarray]:
        F = np.diag(stretch)
        return float(material.energy(F)), np.diagonal(material.stress(F)).copy()

    return minimize(objective, [0.93, 1.07], jac=True, method="L-BFGS-B", bounds=[(0.8, 1.0), (1.0, 1.2)], tol=1e-14).x


class Fields:
    """Displacement and mode weights of a plate: for ParaView, and as coloured triangles for the picture."""

    def __init__(self, plate: Plate, material: lse.Material, path: Path) -> None:
        domain = plate.u.function_space.mesh
        self._plate = plate
        cellwise = fem.functionspace(domain, ("DG", 0, (material.modes,)))
        self._weights = fem.Function(cellwise, name="mode_weights")
        self._expression = fem.Expression(mode_weights(material, plate.F), cellwise.element.interpolation_points)
        self._nodal = fem.Function(fem.functionspace(domain, ("Lagrange", 1, (2,))), name="displacement")
        self._file = XDMFFile(COMM, path, "w")
        self._file.write_mesh(domain)
        self._long = int(np.argmax(material.mode_weights(np.diag(well_stretch(material)[::-1]))))

    def write(self, step: int) -> None:
        """Bring both fields up to date and add them to the file."""
        self._nodal.interpolate(self._plate.u)
        self._weights.interpolate(self._expression)
        self._file.write_function(self._nodal, float(step))
        self._file.write_function(self._weights, float(step))

    def triangles(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Deformed cells (n, 3, 2) and the weight of the mode long along x (n,) of the last write; None off rank 0."""
        V = self._nodal.function_space
        owned = V.mesh.topology.index_map(2).size_local
        x = V.tabulate_dof_coordinates()[:, :2] + self._nodal.x.array.reshape(-1, 2)
        weight = self._weights.x.array.reshape(-1, self._weights.function_space.dofmap.bs)[:owned, self._long]
        parts = COMM.gather((x[V.dofmap.list[:owned]], weight))
        if parts is None:
            return None
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])

    def close(self) -> None:
        self._file.close()


def simulate(material: lse.Material, route: str, steps: int, xdmf: Path) -> tuple[Plate, np.ndarray, Any]:
    """Pull the plate for the first `steps` of STEPS steps, writing the fields of every third step.

    Returns the plate, the curve (steps + 1, 2) of mean strain and force, and the coloured triangles half way.
    """
    plate = Plate(material, route)
    wells = well_stretch(material)
    plate.start(wells)
    fields = Fields(plate, material, xdmf)
    curve, picture = [], None
    for step, strain in enumerate(np.linspace(wells[0] - 1, wells[1] - 1 + 0.01, STEPS + 1)[: steps + 1]):
        curve.append((strain, plate.step(LENGTH * strain)))
        if step % 3 == 0:
            fields.write(step)
        if step == steps // 2 // 3 * 3:
            picture = fields.triangles()
        show(f"\r{route}: step {step}/{steps}, mean strain {strain:+.4f}, force {curve[-1][1]:+.4f} N/mm")
    show("\n")
    fields.close()
    return plate, np.array(curve), picture


def show(text: str) -> None:
    """Progress, on a terminal only, by rank 0 only."""
    if COMM.rank == 0 and sys.stderr.isatty():
        print(text, end="", file=sys.stderr, flush=True)


def draw(picture: Any, curves: dict[str, np.ndarray], path: Path) -> None:
    """The deformed plate coloured by mode weight, beside the load-displacement curve of both routes."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.collections import PolyCollection

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.6), layout="constrained", width_ratios=[1.5, 1])
    cells = PolyCollection(picture[0], array=picture[1], cmap="cividis", edgecolors="face", linewidths=0.2)
    cells.set_clim(0, 1)
    left.add_collection(cells)
    left.autoscale()
    left.set(aspect="equal", xlabel="x in mm", ylabel="y in mm", title="Half way: the long variant grows from the hole")
    figure.colorbar(cells, ax=left, label="weight of the mode long along x", shrink=0.85)
    for (name, curve), style in zip(curves.items(), ("-", "o"), strict=True):
        right.plot(
            100 * curve[:, 0], curve[:, 1], style, ms=4, mfc="none", color="k" if style == "o" else "C0", label=name
        )
    right.axhline(0, color="0.8", lw=0.8, zorder=0)
    right.set(xlabel="mean strain u/L in %", ylabel="force in N per mm of thickness", title="Two routes, one curve")
    right.legend(frameon=False, loc="lower right")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the short form that the tests run")
    parser.add_argument("--out", type=Path, default=Path("results/fit_then_simulate"), help="directory for the files")
    options = parser.parse_args()
    start = time.perf_counter()
    file = options.out / "martensite.safetensors"
    on_rank_0(COMM, lambda: options.out.mkdir(parents=True, exist_ok=True))
    figures = on_rank_0(COMM, lambda: fit_material(file, options.quick))

    material = lse.load(file)
    steps = 15 if options.quick else STEPS
    plate, curve, picture = simulate(material, "ufl", steps, options.out / "plate.xdmf")
    twin, twin_curve, _ = simulate(material, "quadrature", steps, options.out / "plate_quadrature.xdmf")
    if COMM.rank == 0:
        draw(
            picture,
            {"energy as UFL": curve, "stress as external operator": twin_curve},
            options.out / "plate.png",
        )

    difference = np.abs(plate.u.x.array - twin.u.x.array).max(initial=0.0) / LENGTH
    figures |= {
        "route_difference": COMM.allreduce(difference, MPI.MAX),
        "newton_last_residuals": {"ufl": plate.residuals[-3:], "quadrature": twin.residuals[-3:]},
        "peak_reaction": float(curve[:, 1].max()),
        "seconds": round(time.perf_counter() - start, 1),
    }
    if COMM.rank == 0:
        print(json.dumps(figures))
    sys.exit(0 if figures["route_difference"] <= 1e-9 else 1)


if __name__ == "__main__":
    main()
