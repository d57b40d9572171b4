"""A bar that transforms: nucleation, a plateau at the Maxwell stress, unloading, hysteresis.

Problem. A bar of length 1 has two phases: W_1 = E e^2/2 and W_2 = E (e - eT)^2/2 + dg. Its energy is their soft minimum with
the transition scale rho, an LSE-ICNN of two modes, not convex for rho < E eT^2/4 (J. L. Ericksen, J. Elasticity 5, 191 (1975)).
Its end is pulled out and released. A second gradient of the displacement gives phase boundaries a width l and an energy.

The way. The energy goes into an EnergyProblem as it is, the load steps into a LoadPath, which leaves a state that has become
unstable along its lowest mode: no imperfection has to be put in.

The check. For any rho both phases coexist at the Maxwell stress dg/eT, where the areas between curve and plateau are equal: the
stress with a boundary in the bar is that, to 1e-3 E eT, with the regularised energy and without; and the boundary costs
int sqrt(2 kappa (W - tangent)) de.

    ./fenicsx python3 demos/studies/phase_transforming_bar.py
    ./fenicsx mpirun -n 2 python3 demos/studies/phase_transforming_bar.py --quick
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import ufl
from dolfinx import fem, mesh
from matplotlib.figure import Figure
from mpi4py import MPI
from scipy.integrate import quad
from scipy.optimize import brentq

import lse_material as lse
from lse_material.fem import EnergyProblem, LoadPath, interior_penalty, potential_energy

COMM = MPI.COMM_WORLD
E, E_T, DG = 1.0, 1.0, 0.05  # modulus, transformation strain, difference of the wells' energies
LENGTH = 0.02  # of a boundary; the bar's is 1


def two_phases(rho: float) -> lse.SoftMinimum:
    """The energy as a function of the strain e: two convex networks without neurons, which are parabolas."""
    root = np.array([[np.sqrt(E)]])
    first = lse.ConvexNetwork.from_arrays([], [[[0.0]]], [[0.0]], quadratic=root)
    second = lse.ConvexNetwork.from_arrays([], [[[-E * E_T]]], [[0.5 * E * E_T**2 + DG]], quadratic=root)
    return lse.SoftMinimum((first, second), rho)


class Theory:
    """What is exact: by symmetry about the ridge W is DG/E_T (e - ridge) plus an even function of e - ridge."""

    def __init__(self, rho: float) -> None:
        self.potential, self.stress, self.ridge = two_phases(rho), DG / E_T, 0.5 * E_T + DG / (E * E_T)
        self.half = float(
            brentq(lambda y: self.stress_at(self.ridge + y) - self.stress, 1e-3 * E_T, 0.6 * E_T, xtol=1e-15)
        )

    def stress_at(self, e: float) -> float:
        """The stress of a homogeneous bar."""
        return float(self.potential.gradient(np.array([[e]]))[0, 0])

    def excess(self, e: float) -> float:
        """W above its common tangent."""
        low = self.ridge - self.half
        W = self.potential.energy(np.array([[e], [low]]))
        return float(W[0] - W[1] - self.stress * (e - low))

    def boundary_energy(self, kappa: float) -> float:
        """int sqrt(2 kappa excess) de between the two strains that coexist."""
        ends = self.ridge - self.half, self.ridge + self.half
        return float(quad(lambda e: np.sqrt(2.0 * kappa * max(self.excess(e), 0.0)), *ends, epsabs=1e-13, limit=300)[0])


class Bar:
    """A bar of `cells` cells of degree 2 with second gradients, or of degree 1 without."""

    def __init__(self, rho: float, cells: int, *, regularised: bool, comm: MPI.Comm = COMM) -> None:
        self._comm = comm
        domain = mesh.create_interval(comm, cells, [0.0, 1.0])
        V = fem.functionspace(domain, ("Lagrange", 2 if regularised else 1))
        self.u = fem.Function(V, name="displacement")
        self.e = self.u.dx(0)
        energy = potential_energy(two_phases(rho), [self.e]) * ufl.dx(degree=6)
        if regularised:
            energy += interior_penalty(self.u, length=LENGTH, modulus=E, degree=6)
        self.end = fem.Constant(domain, 0.0)
        left, right = (fem.locate_dofs_geometrical(V, lambda x, at=at: np.isclose(x[0], at)) for at in (0.0, 1.0))
        self.pulled = fem.dirichletbc(self.end, right, V)
        self.problem = EnergyProblem(
            energy, self.u, bcs=[fem.dirichletbc(0.0, left, V), self.pulled], petsc_options_prefix=f"bar_{id(self)}_"
        )
        # the share of the second phase: where the strain is beyond the ridge, smoothly
        share = 1.0 / (1.0 + ufl.exp(-(E * E_T * self.e - 0.5 * E * E_T**2 - DG) / rho))
        self._share = fem.form(share * ufl.dx(degree=6))

    def pull(self, elongation: float) -> None:
        """Set the elongation; u stays."""
        self.end.value = elongation

    def stress(self) -> float:
        """The force on the end."""
        return self.problem.reaction(self.pulled)

    def fraction(self) -> float:
        """The share of the second phase."""
        return float(self._comm.allreduce(fem.assemble_scalar(self._share)))

    def coexist(self, theory: Theory, fraction: float) -> None:
        """Start from two phases, the second in the right part; the elongation that goes with it is set."""
        low, high, width = theory.ridge - theory.half, theory.ridge + theory.half, 0.2 * LENGTH
        place = 1.0 - fraction
        smooth = self.u.function_space.element.basix_element.degree > 1

        def shape(x: np.ndarray) -> np.ndarray:
            kink = width * np.logaddexp(0.0, (x[0] - place) / width) if smooth else np.maximum(x[0] - place, 0.0)
            return low * x[0] + (high - low) * kink

        self.u.interpolate(shape)
        self.pull(low + (high - low) * fraction)


def plateau(theory: Theory, rho: float, cells: int) -> dict[str, float]:
    """Stress with two phases in the bar, regularised and not, and the energy of the boundary over the exact one."""
    local, bar = (Bar(rho, cells, regularised=flag) for flag in (False, True))
    stresses = []
    for each in (local, bar):
        each.coexist(theory, 0.5)
        each.problem.solve()
        stresses.append(each.stress())
    low = theory.ridge - theory.half
    tangent = float(theory.potential.energy(np.array([[low]]))[0]) + theory.stress * (float(bar.end.value) - low)
    cost = (bar.problem.energy() - tangent) / theory.boundary_energy(E * LENGTH**2)
    return {"local_stress": stresses[0], "plateau_stress": stresses[1], "boundary_energy_ratio": cost}


def cycle(rho: float, cells: int, steps: int) -> tuple[dict[str, np.ndarray], int]:
    """Out and back in `steps` load steps; the table, and how many solves failed."""
    bar = Bar(rho, cells, regularised=True)
    out = np.linspace(0.0, 1.3 * E_T, steps // 2 + 1)
    levels = np.concatenate([out, out[-2::-1]])
    observe = {"stress": bar.stress, "fraction": bar.fraction}
    path = LoadPath(bar.problem, bar.pull, observe, perturbation_size=1e-3)
    return path.run(levels), path.failed


def draw(file: Path, theory: Theory, table: dict[str, np.ndarray]) -> None:
    """The loop, and the theory in the same picture."""
    figure = Figure(figsize=(10.0, 4.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    strains = np.linspace(0.0, 1.3 * E_T, 400)
    left.plot(strains, [theory.stress_at(e) for e in strains], color="0.6", linewidth=1, label="homogeneous bar")
    left.axhline(theory.stress, color="C3", linestyle="--", linewidth=1, label="Maxwell stress")
    turn = int(np.argmax(table["load"])) + 1
    for part, style, name in ((slice(0, turn), "C0o-", "pulled"), (slice(turn - 1, None), "C1o-", "let back")):
        left.plot(table["load"][part], table["stress"][part], style, markersize=3, label=name)
        right.plot(table["load"][part], table["fraction"][part], style, markersize=3, label=name)
    left.set(xlabel="elongation", ylabel="stress / E", title="nucleation, plateau, hysteresis")
    right.set(xlabel="elongation", ylabel="share of the second phase")
    for axes in (left, right):
        axes.legend(frameon=False)
    figure.savefig(file, dpi=150)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer cells and steps")
    parser.add_argument(
        "--sweep", action="store_true", help="the cycle on 100, 200 and 400 cells for four transition scales"
    )
    parser.add_argument("--out", type=Path, default=Path("results/phase_transforming_bar"), help="folder for the files")
    options = parser.parse_args()
    rho, cells, steps = 0.03, 200, 30 if options.quick else 60
    theory = Theory(rho)
    figures: dict[str, Any] = {"maxwell_stress": theory.stress, **plateau(theory, rho, cells)}
    table, figures["failed_steps"] = cycle(rho, cells, steps)
    figures["hysteresis"] = float(np.trapezoid(table["stress"], table["load"]))
    figures["nucleation_stress"] = float(table["stress"].max())
    if options.sweep:
        figures["sweep"] = {f"{r} {n}": cycle(r, n, 60)[1] for r in (0.003, 0.01, 0.03, 0.1) for n in (100, 200, 400)}
    if COMM.rank == 0:
        options.out.mkdir(parents=True, exist_ok=True)
        draw(options.out / "bar.png", theory, table)
        print(json.dumps(figures))
    right = all(abs(figures[name] - theory.stress) < 1e-3 * E * E_T for name in ("local_stress", "plateau_stress"))
    return 0 if right and figures["failed_steps"] == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
