"""A genetic toggle switch from noisy rates of change: its states, how cells are spread over them, and how often they switch.

Problem. Two genes repress each other, and may activate themselves; x_i is the amount of the protein of gene i. A dimer of
each protein speeds up the decay of the other, and the noise is additive:

    dx_1/dt = b + s x_1^4 / (S^4 + x_1^4) - (1 + c x_2^2) x_1 + noise,      and the same with 1 and 2 exchanged;

    Psi = sum_i [x_i^2/2 - b x_i - s int x_i^4/(S^4 + x_i^4)] + c x_1^2 x_2^2 / 2      is the potential of these rates.

Toggle: b = 2.75, s = 0, c = 1. Its steady states are those of the switch of T. S. Gardner, C. R. Cantor, J. J. Collins,
Nature 403, 339 (2000), du/dt = b/(1 + v^2) - u with both cooperativities 2, since the rates differ by the factor 1 + v^2 >
0: one gene on, the other off, with x_1 + x_2 = b, x_1 x_2 = 1, for b > 2. Progenitor: b = 0.2, s = 1.5, c = 0.4, a third
state in which both genes are on; the activation with S = 0.5, the power 4 and decay 1 is that of J. Wang, K. Zhang, L. Xu,
E. Wang, PNAS 108, 8257 (2011). The values of b, s and c, and the temperature T of the noise, are choices of this demo.

The way. Rates of change at random states, with noise, go into `fit`, which finds the number of modes. Wells, saddles and
paths come from `landscape`. The fitted potential, as UFL, goes into the Fokker-Planck equation

    dp/dt = div(p grad Psi + T grad p),    no flux through the boundary,

in finite volumes with the fluxes of D. L. Scharfetter, H. K. Gummel, IEEE Trans. Electron Devices 16, 64 (1969): mass is
conserved to rounding, p stays positive. Its adjoint gives the mean time of a switch.

The check. Wells and barriers against the circuit's own; the density against 1e6 samples of Langevin dynamics; the rate of
switching against first passage times in the true circuit, and against the formula of Kramers and Langer.

    ./fenicsx python3 demos/studies/gene_circuit.py
    ./fenicsx mpirun -n 2 python3 demos/studies/gene_circuit.py --quick
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ufl
from dolfinx import fem, mesh
from dolfinx.fem.petsc import assemble_matrix, assemble_vector, set_bc
from matplotlib.figure import Figure
from mpi4py import MPI
from petsc4py import PETSc
from scipy.optimize import root

import lse_material as lse
from lse_material import analysis
from lse_material.analysis import Dynamics, StationaryPoint, first_passage_times, kramers_rate, stationary_samples
from lse_material.fem import on_rank_0, potential_energy
from lse_material.kernel import potential_evaluator

COMM = MPI.COMM_WORLD
UPPER = 4.0  # amounts are searched and shown from 0 to this
TEMPERATURE = 0.05
NOISE = 0.03  # standard deviation of a measured rate of change
SLOW = 1.0  # rates below this are measured: they are so along the valleys between states
CORE = 0.3  # a cell has switched when it comes this near to the other state
STEP = 0.02  # of Langevin dynamics
LONGEST = 400.0  # step of the Fokker-Planck equation: of the order of a switch, for the rounding of mass grows with it
BATCHES = 4  # of walkers, shared among the ranks


@dataclass(frozen=True)
class Circuit:
    """Two genes; parameters as in the module's docstring. It has the methods of a potential."""

    b: float
    s: float
    c: float
    S: float = 0.5

    def energy(self, x: np.ndarray) -> np.ndarray:
        u, r = x / self.S, np.sqrt(2.0)
        # int_0^x y^4/(S^4 + y^4) dy = x - S int_0^u dv/(1 + v^4)
        rational = np.log((u**2 + r * u + 1.0) / (u**2 - r * u + 1.0)) / (4.0 * r)
        rational += (np.arctan(r * u + 1.0) + np.arctan(r * u - 1.0)) / (2.0 * r)
        own = 0.5 * x**2 - self.b * x - self.s * (x - self.S * rational)
        return own.sum(axis=-1) + 0.5 * self.c * (x**2).prod(axis=-1)

    def gradient(self, x: np.ndarray) -> np.ndarray:
        square = x * x
        gradient = (1.0 + self.c * square[..., ::-1]) * x - self.b
        return gradient - self.s * square**2 / (self.S**4 + square**2) if self.s else gradient

    def measured(self, rows: int, seed: int) -> lse.Samples:
        """Gradients, which are minus rates of change, at random states where these are slow; with noise in them."""
        rng = np.random.default_rng(seed)
        x = rng.uniform(0.0, 3.4, (80 * rows, 2))
        x = x[np.linalg.norm(self.gradient(x), axis=1) < SLOW][:rows]
        return lse.Samples(x=x, gradient=self.gradient(x) + NOISE * rng.normal(size=x.shape))

    def nearest(self, point: StationaryPoint) -> np.ndarray:
        """The circuit's own stationary point next to one of a fit."""
        return root(self.gradient, point.x, tol=1e-13).x


TOGGLE, PROGENITOR = Circuit(b=2.75, s=0.0, c=1.0), Circuit(b=0.2, s=1.5, c=0.4)


def learn(circuit: Circuit, modes: int | str, seed: int) -> lse.SoftMinimum:
    """The potential of a circuit from its rates of change. The number of modes is found, but in the short form."""
    from lse_material.fit import Architecture, DataWarning, Sparsity, Training, fit

    warnings.simplefilter("ignore", DataWarning)
    samples = circuit.measured(1200 if modes == "auto" else 600, seed)
    # a model is good enough when what it misses is within the noise of the data
    sparsity = Sparsity(tolerance=1.1 * NOISE / float(np.sqrt((samples.gradient**2).mean())), restarts=1)
    training = Training(restarts=1, adam_steps=200, lbfgs_steps=200)
    architecture = Architecture(modes=modes, max_modes=5)
    return fit(
        samples, architecture=architecture, training=training, sparsity=sparsity, seed=seed, progress=False
    ).potential


def compared(circuit: Circuit, potential: lse.SoftMinimum) -> dict[str, Any]:
    """Wells and barriers of the fit against those of the circuit."""
    land = analysis.landscape(potential, [0.0, 0.0], [UPPER, UPPER], starts=16)
    barriers, errors = [], []
    for well in land.wells:
        true = circuit.nearest(well)
        errors.append(float(np.linalg.norm(well.x - true) / np.linalg.norm(true)))
    for (i, j), saddle in zip(land.links, land.saddles):
        top = circuit.energy(circuit.nearest(saddle))
        for end in (i, j):
            true = top - circuit.energy(circuit.nearest(land.wells[end]))
            barriers.append(float(abs(saddle.energy - land.wells[end].energy - true) / true))
    return {
        "potential": potential,
        "land": land,
        "wells": len(land.wells),
        "active_modes": len(potential.modes),
        "wells_error": max(errors),
        "barrier_error": max(barriers, default=np.inf),
    }


class FokkerPlanck:
    """The density of cells in a box of n x n cells, by finite volumes with exponentially fitted fluxes.

    Between two cells at the distance h the flux is T/h (B(d) p_- - B(-d) p_+), d = (Psi_+ - Psi_-)/T, B(d) = d/(exp(d) - 1):
    exact where Psi is linear between the centres, and zero for p ~ exp(-Psi/T) in any case.
    """

    def __init__(self, potential: lse.SoftMinimum, temperature: float, cells: int) -> None:
        self.h = UPPER / cells
        domain = mesh.create_rectangle(COMM, [[0.0, 0.0], [UPPER, UPPER]], [cells, cells], mesh.CellType.quadrilateral,
                                       ghost_mode=mesh.GhostMode.shared_facet)  # fmt: skip
        self.V = fem.functionspace(domain, ("DG", 0))
        self.p, self.psi = fem.Function(self.V, name="density"), fem.Function(self.V, name="potential")
        x = ufl.SpatialCoordinate(domain)
        expression = potential_energy(potential, [x[0], x[1]])
        self.psi.interpolate(fem.Expression(expression, self.V.element.interpolation_points))
        self.psi.x.scatter_forward()
        d = (self.psi("+") - self.psi("-")) / temperature
        p, v = ufl.TrialFunction(self.V), ufl.TestFunction(self.V)
        flux = temperature / self.h * (bernoulli(d) * p("-") - bernoulli(-d) * p("+"))  # from - to +
        self.rate = flux * (v("-") - v("+")) * ufl.dS
        self.mass = p * v * ufl.dx
        self.domain = domain

    def total(self) -> float:
        """Mass of the density, the same on every rank."""
        return float(COMM.allreduce(fem.assemble_scalar(fem.form(self.p * ufl.dx))))

    def spread(self, start: np.ndarray, first_step: float, steps: int) -> float:
        """From all cells around `start` to the stationary density, by implicit Euler; the largest change of mass on the way."""
        self.p.interpolate(lambda x: np.exp(-((x[0] - start[0]) ** 2 + (x[1] - start[1]) ** 2) / 0.02))
        self.p.x.array[:] /= self.total()
        worst = 0.0
        for step in np.minimum(first_step * 4.0 ** np.arange(steps), LONGEST):
            A = assemble_matrix(fem.form(self.mass + step * self.rate))
            A.assemble()
            b = assemble_vector(fem.form(self.p * ufl.TestFunction(self.V) * ufl.dx))
            b.ghostUpdate(addv=PETSc.InsertMode.ADD, mode=PETSc.ScatterMode.REVERSE)
            self._solve(A, b, self.p)
            worst = max(worst, abs(self.total() - 1.0))
        return worst

    def switching_time(self, start: np.ndarray, target: np.ndarray) -> float:
        """Mean time from `start` until a cell comes within CORE of `target`: the adjoint equation with 1 on the right."""
        time = fem.Function(self.V)
        core = fem.locate_dofs_geometrical(
            self.V, lambda x: (x[0] - target[0]) ** 2 + (x[1] - target[1]) ** 2 <= CORE**2
        )
        arrived = fem.dirichletbc(0.0, core, self.V)
        A = assemble_matrix(fem.form(ufl.adjoint(self.rate)), bcs=[arrived])
        A.assemble()
        b = assemble_vector(fem.form(ufl.TestFunction(self.V) * ufl.dx(self.domain)))
        b.ghostUpdate(addv=PETSc.InsertMode.ADD, mode=PETSc.ScatterMode.REVERSE)
        set_bc(b, [arrived])
        self._solve(A, b, time)
        owned = self.V.dofmap.index_map.size_local
        away = np.linalg.norm(self.V.tabulate_dof_coordinates()[:owned, :2] - start, axis=1)
        k = int(away.argmin()) if owned else 0
        nearest = (float(away[k]), float(time.x.array[k])) if owned else (np.inf, 0.0)
        return min(COMM.allgather(nearest))[1]

    def on_grid(self, blocks: int) -> np.ndarray | None:
        """Probabilities of blocks x blocks squares, on rank 0."""
        owned = self.V.dofmap.index_map.size_local
        x = self.V.tabulate_dof_coordinates()[:owned, :2]
        parts = COMM.gather((x, self.p.x.array[:owned]))
        if parts is None:
            return None
        x, p = (np.concatenate(part) for part in zip(*parts))
        edges = [np.linspace(0.0, UPPER, blocks + 1)] * 2
        return np.histogram2d(x[:, 0], x[:, 1], edges, weights=p * self.h**2)[0]

    @staticmethod
    def _solve(A: PETSc.Mat, b: PETSc.Vec, into: fem.Function) -> None:
        solver = PETSc.KSP().create(COMM)
        solver.setOperators(A)
        solver.setType("preonly")
        solver.getPC().setType("lu")
        solver.getPC().setFactorSolverType("mumps")
        solver.setErrorIfNotConverged(True)
        solver.solve(b, into.x.petsc_vec)
        into.x.scatter_forward()
        for each in (solver, A, b):
            each.destroy()


def bernoulli(d: Any) -> Any:
    """d / (exp(d) - 1) in UFL, by its series where d is small."""
    small = ufl.lt(d * d, 1e-4)
    safe = ufl.conditional(small, 1.0, d)
    return ufl.conditional(small, 1.0 - d / 2.0 + d**2 / 12.0, safe / (ufl.exp(safe) - 1.0))


def shared(work: Callable[[int], np.ndarray]) -> np.ndarray:
    """What `work` returns for each batch, one after another, on every rank: the same for any number of ranks."""
    mine = [(batch, work(batch)) for batch in range(COMM.rank, BATCHES, COMM.size)]
    return np.concatenate([x for _, x in sorted(itertools.chain(*COMM.allgather(mine)), key=lambda entry: entry[0])])


def histogram(
    landscape: Any, blocks: int, walkers: int, records: int, burn_in: int, seed: int
) -> tuple[np.ndarray, int]:
    """Shares of Langevin samples in blocks x blocks squares, and the number of samples."""
    edges = [np.linspace(0.0, UPPER, blocks + 1)] * 2

    def counts(batch: int) -> np.ndarray:
        start = np.random.default_rng([seed, batch]).uniform(0.0, 2.5, (walkers // BATCHES, 2))
        dynamics = Dynamics(TEMPERATURE, STEP)
        x = stationary_samples(
            landscape, start, dynamics, records=records, every=50, burn_in=burn_in, seed=100 * seed + batch
        )
        return np.histogram2d(x[:, 0], x[:, 1], edges)[0][None]

    n = walkers // BATCHES * BATCHES * records
    return shared(counts).sum(axis=0) / n, n


def passages(circuit: Any, wells: np.ndarray, walkers: int, longest: float, seed: int) -> np.ndarray:
    """Times of the switch from well 0 to well 1 in a landscape, inf where there was none before `longest`."""

    def times(batch: int) -> np.ndarray:
        start = np.tile(wells[0], (walkers // BATCHES, 1))
        dynamics, seeds = Dynamics(TEMPERATURE, STEP), 100 * seed + 50 + batch
        return first_passage_times(
            circuit, start, dynamics, target=wells[1:2], radius=CORE, longest=longest, seed=seeds
        )

    return shared(times)


def draw(
    file: Path, potential: lse.SoftMinimum, land: analysis.Landscape, p: np.ndarray, times: np.ndarray, mean: float
) -> None:
    """The landscape, the density, and the times of switches."""
    figure = Figure(figsize=(13.0, 4.0), layout="constrained")
    axes = figure.subplots(1, 3)
    lowest, barrier = land.wells[0].energy, land.saddles[0].energy - land.wells[0].energy
    labels, box = ("protein 1", "protein 2"), lse.Box([0.0, 0.0], [3.5, 3.5])
    lse.plotting.landscape(
        axes[0], potential, land, box=box, labels=labels, energy_label="Psi", top=lowest + 5.0 * barrier, modes=False
    )
    axes[0].set(title="landscape from noisy rates")
    edges = np.linspace(0.0, UPPER, len(p) + 1)
    shown = axes[1].pcolormesh(edges, edges, p.T / (edges[1] - edges[0]) ** 2, cmap="Greys")
    figure.colorbar(shown, ax=axes[1], label="probability per area")
    axes[1].set(title="cells at rest, by Fokker-Planck")
    for ax in axes[:2]:
        ax.set(xlabel=labels[0], ylabel=labels[1], xlim=(0.0, 3.5), ylim=(0.0, 3.5), aspect="equal")
    late = np.sort(times)
    axes[2].semilogy(
        late, 1.0 - np.arange(len(late)) / len(late), color="0.5", linewidth=3, label="true circuit, simulated"
    )
    axes[2].semilogy(late, np.exp(-late / mean), "--", color="C3", label="Fokker-Planck with the fit")
    axes[2].set(xlabel="time / lifetime of a protein", ylabel="share of cells not yet switched", ylim=(0.05, 1.1),
                title="switching")  # fmt: skip
    axes[2].legend(frameon=False)
    figure.savefig(file, dpi=110)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="given numbers of modes, fewer cells and walkers")
    parser.add_argument("--seed", type=int, default=0, help="of data, fit and simulation")
    parser.add_argument("--out", type=Path, default=Path("results/gene_circuit"), help="folder for the files")
    options = parser.parse_args()
    quick, seed = options.quick, options.seed
    cells, blocks = (60, 30) if quick else (160, 40)
    found = {}
    for name, circuit, modes in (("toggle", TOGGLE, 2), ("progenitor", PROGENITOR, 4)):
        found[name] = on_rank_0(COMM, lambda c=circuit, m=modes: compared(c, learn(c, m if quick else "auto", seed)))
    potential, land = found["toggle"].pop("potential"), found["toggle"].pop("land")
    wells = np.array([well.x for well in land.wells[:2]])

    density = FokkerPlanck(potential, TEMPERATURE, cells)
    drift = density.spread(wells[0], 0.1, 17)
    p = density.on_grid(blocks)
    fast = potential_evaluator(potential)
    shares, count = histogram(fast, blocks, *((400, 100, 10_000) if quick else (4000, 250, 20_000)), seed)
    mean_time = density.switching_time(wells[0], wells[1])
    longest = 100.0 if quick else 600.0
    own = np.array([TOGGLE.nearest(well) for well in land.wells[:2]])
    times = passages(TOGGLE, own, 400 if quick else 2000, longest, seed)
    arrived = np.isfinite(times)
    rate = float(
        arrived.sum() / np.where(arrived, times, longest).sum()
    )  # of an exponential distribution that is cut off

    status = 0
    if COMM.rank == 0:
        third = found["progenitor"]
        figures = {
            **found["toggle"],
            "total_variation": float(0.5 * np.abs(shares - p).sum()),
            "mass_drift": drift,
            "switching_rate_error": abs(1.0 / mean_time / rate - 1.0),
            "kramers_error": abs(kramers_rate(land.wells[0], land.saddles[0], TEMPERATURE) / rate - 1.0),
            "samples": count,
            "switches": int(arrived.sum()),
            "progenitor": {key: third[key] for key in ("wells", "active_modes", "wells_error", "barrier_error")},
        }
        options.out.mkdir(parents=True, exist_ok=True)
        lse.save(potential, options.out / "toggle.safetensors")
        draw(options.out / "gene_circuit.png", potential, land, p, times, mean_time)
        print(json.dumps(figures))
        loose = 3.0 if quick else 1.0  # few rows and walkers
        right = (
            figures["wells"] == figures["active_modes"] == 2
            and third["wells"] == 3
            and max(figures["wells_error"], third["wells_error"]) < 0.02 * loose
            and figures["barrier_error"] < 0.05 * loose
            and figures["total_variation"] < 0.03 * loose
            and drift < 1e-10
            and figures["switching_rate_error"] < 0.15 * loose
        )
        status = 0 if right else 1
    return int(COMM.bcast(status))


if __name__ == "__main__":
    sys.exit(main())
