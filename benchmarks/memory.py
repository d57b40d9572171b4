"""Resident memory of long runs: does it grow from solve to solve?

petsc4py does not destroy what Python drops on two ranks or more; it files it until somebody calls PETSc.garbage_cleanup on the
communicator. A long run that leaves matrices behind then dies of it. Each part solves again and again and looks at the resident
memory of every rank, once the first solves have filled the caches.

`cell`: minima of a periodic cell with a stiff layer that wrinkles, compressed to and fro across the bifurcation: Newton steps,
perturbations along modes, homogenised tangents.

`fallback`: minima of an energy with two wells from random starts, by a solver that is stopped after one iteration, so that the
inertia-controlled minimiser takes over: indefinite tangents, blends and raised diagonals; then the lowest mode of each.

    ./fenicsx mpirun -n 2 python3 benchmarks/memory.py

One line of JSON: {part: {solves, growth_mb: of the rank that grows most, resident_mb: of the largest, ...}}. It exits with 1
where a part grows by 5 MB or more.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import ufl
from common import arguments, finish
from dolfinx import fem, mesh
from mpi4py import MPI

import lse_material as lse
from lse_material.fem import PeriodicCell

COMM = MPI.COMM_WORLD
FIRST = 20  # solves after which memory is looked at
MOST = 5.0  # MB that it may grow by after them


def resident() -> float:
    """Memory of this process, in MB; 0 where Linux does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def growth(solve: Callable[[int], None], count: int) -> dict[str, Any]:
    """Call solve(0), solve(1), ...; what the resident memory does after the first of them. Collective."""
    history = []
    for i in range(count):
        solve(i)
        history.append(resident())
    grown = max(history[-5:]) - max(history[FIRST - 5 : FIRST])
    return {
        "solves": count,
        "growth_mb": float(COMM.allreduce(grown, MPI.MAX)),
        "resident_mb": float(COMM.allreduce(history[-1], MPI.MAX)),
    }


def cell(count: int, divisions: int) -> dict[str, Any]:
    """Minima of a P2 cell of two stiffnesses; a stiff layer in a soft matrix wrinkles when it is compressed."""
    domain = mesh.create_rectangle(COMM, [[0.0, 0.0], [1.0, 1.0]], [divisions, divisions])
    height = ufl.SpatialCoordinate(domain)[1]
    layer = ufl.conditional(ufl.lt(abs(height - 0.5), 1.0 / 12.0), 60.0, 1.0)

    def energy(F: Any) -> Any:
        J = ufl.det(F)
        return layer * (0.5 * (ufl.inner(F, F) - 2.0 - 2.0 * ufl.ln(J)) + 2.0 * ufl.ln(J) ** 2)

    periodic, perturbations = PeriodicCell(domain, energy), 0

    def solve(i: int) -> None:
        nonlocal perturbations
        strain = 0.16 * abs(((i + 1) % 8) / 4.0 - 1.0)
        if i % 8 == 3:
            periodic.reset()
        perturbations += periodic.minimum(np.array([[1.0 - strain, 0.01], [0.0, 1.0]]), {(1, 1): 0.0}).perturbations

    return {**growth(solve, count), "perturbations": perturbations}


def fallback(count: int, divisions: int) -> dict[str, Any]:
    """Minima of two variants in a square whose rim is held, each by `minimise`."""
    logging.getLogger("lse_material").setLevel(logging.ERROR)
    stiffness = np.array([[3.0, 1.0, 0.0], [1.0, 3.0, 0.0], [0.0, 0.0, 2.0]])
    modes = [
        lse.ConvexNetwork.from_arrays(
            [], [-(stiffness @ c)[None]], [np.array([c @ stiffness @ c / 2])], quadratic=np.linalg.cholesky(stiffness).T
        )
        for c in (np.array([0.05, -0.05, 0.0]), np.array([-0.05, 0.05, 0.0]))
    ]
    material = lse.Material(lse.SoftMinimum(tuple(modes), 5e-4), lse.GreenLagrange(2))
    domain = mesh.create_unit_square(COMM, divisions, divisions)
    V = fem.functionspace(domain, ("Lagrange", 1, (2,)))
    u = fem.Function(V)
    domain.topology.create_connectivity(1, 2)
    rim = fem.locate_dofs_topological(V, 1, mesh.exterior_facet_indices(domain.topology))
    problem = lse.fem.EnergyProblem(
        lse.fem.energy(material, ufl.Identity(2) + ufl.grad(u)) * ufl.dx,
        u,
        bcs=[fem.dirichletbc(np.zeros(2), rim, V)],
        petsc_options_prefix="memory_",
        petsc_options={"snes_max_it": 1},
    )

    def solve(i: int) -> None:
        rng = np.random.default_rng(i)
        u.interpolate(lambda x: sum(0.01 * np.sin(k * x[0] + a) * np.cos(k * x[1] + b) for k, a, b in waves(rng)))
        problem.solve()
        lse.fem.stability.lowest_modes(problem)

    return {**growth(solve, count), "fallbacks": problem.fallbacks}


def waves(rng: np.random.Generator) -> list[tuple[float, Any, Any]]:
    """Wave numbers and phases, a phase for each component."""
    return [(k, rng.uniform(0, 6, (2, 1)), rng.uniform(0, 6, (2, 1))) for k in (3.0, 9.0, 20.0)]


PARTS: dict[str, Callable[[bool], dict[str, Any]]] = {
    "cell": lambda quick: cell(40 if quick else 200, 8 if quick else 24),
    "fallback": lambda quick: fallback(40 if quick else 100, 8 if quick else 16),
}


def main() -> int:
    options = arguments(__doc__)
    figures = {name: part(options.quick) for name, part in PARTS.items()}
    if COMM.rank == 0:
        finish(figures)
    return 0 if all(part["growth_mb"] < MOST for part in figures.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
