"""Half a million unknowns: a twinned block whose ends are moved, by a trust region with multigrid and no factor of any matrix.

Three tetragonal wells U = diag(1 + 2e, 1 - e, 1 - e) to first order, and what the cube's symmetry makes of it, three quadratic
modes in Green-Lagrange strain. The block starts as a laminate of two variants, R U2 - U1 = a n^T with n = (1, -1, 0)/sqrt(2);
the faces x = 0 and x = 1 are held at the average U1 + s a n^T, first with the share s = 0.5, then (24 cells) with s = 0.55.

    ./fenicsx mpirun -n 2 python3 benchmarks/large.py

Seen on two cores of an AMD EPYC with AVX2, before `continuation` was used: 555,579 unknowns in 271 s, 11 trust-region and 33
linear iterations, 1.39 GB per rank.

One line of JSON: {cells along an edge: {dofs, iterations, linear_iterations, seconds, gb_per_rank, fractions of variants, ..}}.
"""

from __future__ import annotations

import resource
import sys
import time
from typing import Any

import numpy as np
import ufl
from common import arguments, bars, finish, processor
from dolfinx import fem, mesh
from mpi4py import MPI

import lse_material as lse
from lse_material.fem import MULTIGRID, EnergyProblem

COMM = MPI.COMM_WORLD
EIGEN, RHO = 0.03, 5e-4  # transformation strain; transition scale, in units of the shear modulus
CONTINUATION = (8.0, 4.0, 2.0)  # of the transition scale: the laminate that is the start need not fit the mesh
BOTH = (0.5, 0.55)
LAMINAE = 4  # pairs of them along an edge


def well(axis: int) -> np.ndarray:
    """The stretch of a variant whose long axis is this one."""
    E = np.full(3, -EIGEN)
    E[axis] = 2.0 * EIGEN
    return np.diag(np.sqrt(1.0 + 2.0 * E))


def quadratic_wells(centres: list[np.ndarray], stiffness: np.ndarray, scale: float) -> lse.Material:
    """A mode (E - centre) . stiffness . (E - centre) / 2 for each centre, in components of Green-Lagrange strain."""
    root = np.linalg.cholesky(stiffness).T
    modes = []
    for centre in centres:
        gradient = -stiffness @ centre  # at E = 0
        constant = np.array([-gradient @ centre / 2])
        modes.append(lse.ConvexNetwork.from_arrays([], [gradient[None]], [constant], quadratic=root))
    return lse.Material(lse.SoftMinimum(tuple(modes), scale), lse.GreenLagrange(2 if len(stiffness) == 3 else 3))


def martensite() -> lse.Material:
    """Three wells of one depth, their stiffness cubic: lame 1.5, shear 1 along the axes and 0.6 between them."""
    stiffness = 1.5 * np.pad(np.ones((3, 3)), (0, 3)) + 2.0 * np.diag([1.0, 1.0, 1.0, 0.6, 0.6, 0.6])
    centres = [lse.GreenLagrange(3).strain(well(axis)[None])[0] for axis in range(3)]
    return quadratic_wells(centres, stiffness, RHO)


def twins() -> tuple[np.ndarray, np.ndarray]:
    """The shear a and the normal n of the twins of variants 0 and 1."""
    long, short = well(0)[0, 0], well(0)[1, 1]
    angle, n = np.arccos(2.0 * long * short / (long**2 + short**2)), np.array([1.0, -1.0, 0.0]) / np.sqrt(2.0)
    for sign in (1.0, -1.0):
        c, s = np.cos(angle), sign * np.sin(angle)
        gap = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]) @ well(1) - well(0)
        if np.allclose(gap, np.outer(gap @ n, n), atol=1e-12):
            return gap @ n, n
    raise ArithmeticError("the variants make no twins across this plane")


def solve(cells: int, shares: tuple[float, ...]) -> dict[str, Any]:
    """The block with `cells` cells along an edge, each of six tetrahedra."""
    start = time.perf_counter()
    domain = mesh.create_unit_cube(COMM, cells, cells, cells)
    V = fem.functionspace(domain, ("Lagrange", 1, (3,)))
    u, held = fem.Function(V), fem.Function(V)
    material, (a, n) = martensite(), twins()
    F = ufl.Identity(3) + ufl.grad(u)
    ends = fem.locate_dofs_geometrical(V, lambda x: np.isclose(x[0], 0.0) | np.isclose(x[0], 1.0))
    problem = EnergyProblem(
        lse.fem.energy(material, F) * ufl.dx(degree=1),
        u,
        bcs=[fem.dirichletbc(held, ends)],
        petsc_options_prefix="large_",
        petsc_options=MULTIGRID,
        tolerance=1e-6,
        fallback=False,
        continuation=CONTINUATION,
    )

    def average(share: float) -> Any:
        G = well(0) + share * np.outer(a, n) - np.eye(3)
        return lambda x: G @ x

    def laminate(x: np.ndarray) -> np.ndarray:
        period = 1.0 / LAMINAE * np.sqrt(0.5)
        at = (n @ x) / period
        return (well(0) - np.eye(3)) @ x + np.outer(
            a, period * (np.floor(at) * 0.5 + np.maximum(at - np.floor(at) - 0.5, 0.0))
        )

    u.interpolate(laminate)
    ready, iterations, linear = time.perf_counter(), 0, 0
    for share in shares:
        held.interpolate(average(share))
        problem.solve()
        iterations += problem.iterations
        linear += problem.solver.getLinearSolveIterations()
        if COMM.rank == 0:
            print(
                f"share {share}: {iterations} iterations, {time.perf_counter() - start:.0f} s",
                file=sys.stderr,
                flush=True,
            )
    end = time.perf_counter()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    weights = [fem.assemble_scalar(fem.form(w * ufl.dx(degree=1))) for w in lse.fem.mode_weights(material, F)]
    return {
        "dofs": V.dofmap.index_map.size_global * 3,
        "ranks": COMM.size,
        "iterations": iterations,
        "linear_iterations": linear,
        "seconds": COMM.allreduce(end - start, MPI.MAX),
        "seconds_of_solves": COMM.allreduce(end - ready, MPI.MAX),
        "processor_seconds_per_rank": COMM.allreduce(time.process_time(), MPI.MAX),
        "gb_per_rank": COMM.allreduce(memory, MPI.MAX),
        "fractions": [float(COMM.allreduce(w)) for w in weights],
        "energy": problem.energy(),
    }


def main() -> None:
    options = arguments(__doc__)
    figures = {
        str(cells): solve(cells, shares)
        for cells, shares in (((8, BOTH),) if options.quick else ((24, BOTH), (56, (0.5,))))
    }
    if options.plot and COMM.rank == 0:
        bars(
            options.plot,
            {n: {"GB per rank": v["gb_per_rank"]} for n, v in figures.items()},
            "GB",
            "cells along an edge",
        )
    if COMM.rank == 0:
        finish({**figures, "cpu": processor()}, digits=8)


if __name__ == "__main__":
    main()
