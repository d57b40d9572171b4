"""Time to solution: a block of martensite, from a laminate that does not fit the mesh and from random waves, over neo-Hookean.

The block of `benchmarks/large.py`, between ends at the mean of two variants. `..._continued` goes through smoother energies
first (`EnergyProblem(continuation=(8, 4, 2))`). A neo-Hookean block on the same mesh, between the same ends, is solved by
PETSc's Newton method with conjugate gradients and multigrid. CPU seconds of rank 0, compilation left out.

    ./fenicsx python3 benchmarks/solve.py

One line of JSON: {cells along an edge: {problem: {unknowns, iterations, quasi_newton_steps, times_neo_hookean, final_energy,
stable, ..}}}. A benchmark that ends in a state that is not stable fails.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import large
import numpy as np
import ufl
from common import arguments, bars, finish, processor
from dolfinx import fem, mesh
from dolfinx.fem.petsc import NonlinearProblem
from mpi4py import MPI

import lse_material as lse
from lse_material.fem import MULTIGRID, EnergyProblem

COMM = MPI.COMM_WORLD
CONTINUATION = (8.0, 4.0, 2.0)
NEO_HOOKEAN: dict[str, Any] = {
    "snes_linesearch_type": "bt",
    "snes_rtol": 1e-8,
    "ksp_type": "cg",
    "ksp_rtol": 1e-4,
    "pc_type": "gamg",
    "pc_gamg_threshold": 0.01,
    "mg_levels_ksp_type": "chebyshev",
    "mg_levels_pc_type": "jacobi",
}


class Block:
    """The mesh, the unknown and its ends at the mean of two variants."""

    def __init__(self, cells: int) -> None:
        self.mesh = mesh.create_unit_cube(COMM, cells, cells, cells)
        self.V = fem.functionspace(self.mesh, ("Lagrange", 1, (3,)))
        self.u, given = fem.Function(self.V), fem.Function(self.V)
        self.F = ufl.Identity(3) + ufl.grad(self.u)
        a, n = large.twins()
        self.mean = large.well(0) + 0.5 * np.outer(a, n) - np.eye(3)
        given.interpolate(lambda x: self.mean @ x)
        ends = fem.locate_dofs_geometrical(self.V, lambda x: np.isclose(x[0], 0.0) | np.isclose(x[0], 1.0))
        self.bcs = [fem.dirichletbc(given, ends)]

    def laminate(self, x: np.ndarray) -> np.ndarray:
        """Layers of the two variants."""
        a, n = large.twins()
        period = np.sqrt(0.5) / large.LAMINAE
        at = (n @ x) / period
        layers = period * (np.floor(at) * 0.5 + np.maximum(at - np.floor(at) - 0.5, 0.0))
        return (large.well(0) - np.eye(3)) @ x + np.outer(a, layers)

    def waves(self, x: np.ndarray) -> np.ndarray:
        """The mean and twelve random waves, the same on any number of ranks."""
        rng, result = np.random.default_rng(0), self.mean @ x
        for _ in range(12):
            wave, phase = 4.0 * np.pi * rng.normal(size=3), rng.uniform(0.0, 2.0 * np.pi)
            result += 0.02 * np.outer(rng.normal(size=3), np.sin(wave @ x + phase)) * x[0] * (1.0 - x[0])
        return result

    def martensite(self, start: str, continuation: Sequence[float]) -> dict[str, Any]:
        """Minimise from a start; figures of the solve."""
        problem = EnergyProblem(
            lse.fem.energy(large.martensite(), self.F) * ufl.dx(degree=1),
            self.u,
            bcs=self.bcs,
            petsc_options_prefix=f"solve_{start}_{len(continuation)}_",
            petsc_options=MULTIGRID,
            tolerance=1e-6,
            fallback=False,
            continuation=continuation,
        )
        self.u.interpolate(getattr(self, start))
        begin = time.process_time()
        problem.solve()
        return {
            "unknowns": self.V.dofmap.index_map.size_global * 3,
            "iterations": problem.iterations,
            "quasi_newton_steps": problem.quasi_newton_steps,
            "cpu_s": time.process_time() - begin,
            "final_energy": problem.energy(),
            "stable": lse.fem.stability.is_stable(problem),
        }

    def neo_hookean(self) -> float:
        """CPU seconds of a neo-Hookean block, from the mean and a small wave."""
        J = ufl.det(self.F)
        W = 0.5 * (ufl.inner(self.F, self.F) - 3 - 2 * ufl.ln(J)) + 0.75 * (J - 1) ** 2
        residual = ufl.derivative(W * ufl.dx(degree=1), self.u)
        problem = NonlinearProblem(
            residual, self.u, bcs=self.bcs, petsc_options_prefix="solve_neo_", petsc_options=NEO_HOOKEAN
        )
        shape = lambda x: np.array([np.sin(6 * x[1]), np.cos(5 * x[2]), np.sin(7 * x[0])])  # noqa: E731
        self.u.interpolate(lambda x: self.mean @ x + 0.01 * x[0] * (1 - x[0]) * shape(x))
        begin = time.process_time()
        problem.solve()
        assert problem.solver.getConvergedReason() > 0
        return time.process_time() - begin


def main() -> None:
    options = arguments(__doc__)
    figures: dict[str, Any] = {}
    for cells in (8,) if options.quick else (14, 28):
        block = Block(cells)
        neo = block.neo_hookean()
        found = {
            f"{start}{'_continued' if factors else ''}": block.martensite(start, factors)
            for start in ("laminate", "waves")
            for factors in ((), CONTINUATION)
        }
        for values in found.values():
            values["times_neo_hookean"] = values.pop("cpu_s") / neo
            assert values["stable"], "the state is no minimum"
        figures[str(cells)] = found
    if COMM.rank == 0:
        if options.plot:
            table = {
                name: {n: figures[n][name]["times_neo_hookean"] for n in figures}
                for name in next(iter(figures.values()))
            }
            bars(options.plot, table, "CPU time over neo-Hookean", "cells along an edge", log=True)
        finish({**figures, "ranks": COMM.size, "cpu": processor()})


if __name__ == "__main__":
    main()
