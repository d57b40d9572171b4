"""Resident memory of long runs: does it grow from solve to solve?

petsc4py does not destroy what Python drops on two ranks or more; it files it until somebody calls PETSc.garbage_cleanup on the
communicator. A long run that leaves matrices behind then dies of it. Each part solves again and again and looks at the resident
memory of every rank, once the first solves have filled the caches.

`cell`: minima of a periodic cell with a stiff layer that wrinkles, compressed to and fro across the bifurcation: Newton steps,
kicks along modes, homogenised tangents.

    ./fenicsx mpirun -n 2 python3 benchmarks/memory.py

One line of JSON: {part: {solves, growth_mb: of the rank that grows most, resident_mb: of the largest, ...}}. It exits with 1
where a part grows by 5 MB or more.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import ufl
from common import arguments, finish
from dolfinx import mesh
from mpi4py import MPI

from lse_material.fem.homogenise import PeriodicCell

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

    periodic, kicks = PeriodicCell(domain, energy), 0

    def solve(i: int) -> None:
        nonlocal kicks
        strain = 0.16 * abs(((i + 1) % 8) / 4.0 - 1.0)
        if i % 8 == 3:
            periodic.reset()
        kicks += periodic.minimum(np.array([[1.0 - strain, 0.01], [0.0, 1.0]]), {(1, 1): 0.0}).kicks

    return {**growth(solve, count), "kicks": kicks}


PARTS: dict[str, Callable[[bool], dict[str, Any]]] = {
    "cell": lambda quick: cell(40 if quick else 200, 8 if quick else 24),
}


def main() -> int:
    options = arguments(__doc__)
    figures = {name: part(options.quick) for name, part in PARTS.items()}
    if COMM.rank == 0:
        finish(figures)
    return 0 if all(part["growth_mb"] < MOST for part in figures.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
