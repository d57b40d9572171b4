"""Assembly of residual and Jacobian on 1 and 2 ranks of this machine: the same mesh, wall time of the slowest rank.

./fenicsx python3 benchmarks/strong_scaling.py          runs mpirun -n 1 and -n 2 of itself
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import ufl
from common import arguments, bars, finish, material, processor
from dolfinx import fem, mesh
from dolfinx.fem import petsc
from mpi4py import MPI
from petsc4py import PETSc

import lse_material as lse

COMM = MPI.COMM_WORLD


def slowest(function: Callable[[], Any], repeats: int) -> float:
    """The least over `repeats` of the time of the slowest rank, in seconds."""
    result = np.inf
    for _ in range(repeats):
        COMM.barrier()
        t = time.perf_counter()
        function()
        result = min(result, COMM.allreduce(time.perf_counter() - t, MPI.MAX))
    return result


def measure(quick: bool) -> dict[str, Any]:
    """Both routes on a square of P2 triangles with N2."""
    n = 48 if quick else 160
    domain = mesh.create_unit_square(COMM, n, n)
    V = fem.functionspace(domain, ("Lagrange", 2, (2,)))
    u, v, w = fem.Function(V), ufl.TestFunction(V), ufl.TrialFunction(V)
    F, law = ufl.Identity(2) + ufl.grad(u), material("N2", 2)
    P = lse.fem.QuadratureStress(law, F, degree=2)
    problem = lse.fem.MaterialProblem(
        ufl.inner(P.operator, ufl.grad(v)) * P.dx, u, stresses=[P], petsc_options_prefix="scaling_"
    )
    residual = ufl.derivative(lse.fem.energy(law, F) * ufl.dx(degree=2), u, v)
    forms = {
        "stored": (problem.F, problem.J, P.update_tangent),
        "form_operator": (fem.form(residual), fem.form(ufl.derivative(residual, u, w)), lambda: None),
    }
    figures: dict[str, Any] = {}
    for name, (r, j, update) in forms.items():
        b, A = petsc.create_vector(V), petsc.create_matrix(j)
        sign = [1.0]

        def assemble(r: Any = r, j: Any = j, update: Any = update, b: Any = b, A: Any = A, sign: Any = sign) -> None:
            sign[0] *= -1.0
            u.interpolate(lambda x: 0.05 * sign[0] * np.stack([np.sin(7 * x[0] * x[1]), np.cos(5 * x[0])]))
            update()
            with b.localForm() as local:
                local.set(0.0)
            petsc.assemble_vector(b, r)
            b.ghostUpdate(addv=PETSc.InsertMode.ADD, mode=PETSc.ScatterMode.REVERSE)
            A.zeroEntries()
            petsc.assemble_matrix(A, j)
            A.assemble()

        seconds = slowest(assemble, 4 if quick else 20)
        sign[0] = -1.0
        assemble()
        figures[name] = {"seconds": seconds, "residual": b.norm(), "jacobian": A.norm()}
    return figures


def main() -> None:
    options = arguments(__doc__)
    if "LSE_SCALING_RANKS" in os.environ:
        figures = measure(options.quick)
        if COMM.rank == 0:
            print(json.dumps(figures))
        return
    runs = {}
    for ranks in (1, 2):
        command = ["mpirun", "-n", str(ranks), sys.executable, "-W", "ignore", __file__, *(["--quick"] * options.quick)]
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("PMIX_", "PRTE_MCA_ess"))}
        done = subprocess.run(
            command,
            env={**environment, "LSE_SCALING_RANKS": str(ranks)},
            capture_output=True,
            text=True,
            check=True,
            timeout=500,
        )
        runs[ranks] = json.loads(done.stdout.splitlines()[-1])
    figures: dict[str, Any] = {}
    for route in runs[1]:
        one, two = runs[1][route], runs[2][route]
        figures[route] = {
            "seconds_1": one["seconds"],
            "seconds_2": two["seconds"],
            "speedup": one["seconds"] / two["seconds"],
            "difference": max(abs(two[key] / one[key] - 1.0) for key in ("residual", "jacobian")),
        }
    if options.plot:
        bars(options.plot, {r: {"2 ranks": v["speedup"]} for r, v in figures.items()}, "speed-up", processor())
    finish({**figures, "cpu": processor()})


if __name__ == "__main__":
    main()
