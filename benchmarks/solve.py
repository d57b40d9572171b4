"""Time to solution: bodies that transform, over neo-Hookean bodies on the same meshes, and beside Newton's method.

The block of `large.py` between ends at the mean of two variants, from a laminate that does not fit the mesh and from random
waves; `..._continued` goes through smoother energies first (`EnergyProblem(continuation=(8, 4, 2))`). A plate with a hole goes
through its whole transformation in 100 load steps. A specimen buckles inside. A square of twins starts from random waves.
"newton" is what a FEniCSx user would write: PETSc's Newton method with line search and MUMPS on the same energy, at the same
loads, until a step fails. CPU seconds of the slowest rank, compilation left out.

    ./fenicsx python3 benchmarks/solve.py                            all of it, for half an hour
    ./fenicsx python3 benchmarks/solve.py --problems plate --ranks   one problem, on one rank and on two

One line of JSON: {problem: {unknowns, iterations, linear_iterations, quasi_newton_steps, failed_steps, cpu_s,
times_neo_hookean, final_energy, stable, newton}}, with --ranks {ranks: that}. A run in which a step fails or the end is not
stable fails.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import large
import solve_problems
import ufl
from common import bars, finish, processor
from dolfinx.fem.petsc import NonlinearProblem
from mpi4py import MPI
from solve_problems import Body

import lse_material as lse
from lse_material.fem import EnergyProblem

COMM = MPI.COMM_WORLD
LINE_SEARCH = {"snes_type": "newtonls", "snes_linesearch_type": "bt", "snes_rtol": 1e-8, "snes_max_it": 50}
DIRECT = {"ksp_type": "preonly", "pc_type": "lu", "pc_factor_mat_solver_type": "mumps"}
MOST_FOR_NEWTON = 15_000  # unknowns in 3D, of which MUMPS factors fifty tangents here
LARGEST_OF_BOTH = 28  # cells along an edge of a block that goes from both starts, with continuation and without
Figures = dict[str, Any]


class LinearIterations:
    """Counts the iterations of a solver's linear solver over all its solves."""

    def __init__(self, solver: Any) -> None:
        self.count = 0
        solver.getKSP().setMonitor(self._add)

    def _add(self, ksp: Any, iteration: int, norm: float) -> None:
        self.count += iteration > 0


def cpu_seconds(function: Callable[[], Any]) -> float:
    """CPU time of the slowest rank."""
    begin = time.process_time()
    function()
    return float(COMM.allreduce(time.process_time() - begin, MPI.MAX))


def minimised(body: Body, name: str, continuation: Sequence[float] = ()) -> Figures:
    """Figures of a body whose energy is minimised at each load."""
    problem = EnergyProblem(
        body.functional(partial(lse.fem.energy, body.material)),
        body.u,
        bcs=body.bcs,
        petsc_options_prefix=f"{name}_",
        petsc_options=body.options,
        tolerance=body.tolerance,
        continuation=continuation,
    )
    linear, totals = LinearIterations(problem.solver), {"iterations": 0, "quasi_newton_steps": 0, "failed_steps": 0}

    def run() -> None:
        body.start()
        for level in body.levels:
            body.apply(level)
            try:
                problem.solve()
            except lse.ConvergenceError:
                totals["failed_steps"] += 1
            totals["iterations"] += problem.iterations
            totals["quasi_newton_steps"] += problem.quasi_newton_steps

    seconds = cpu_seconds(run)
    return {
        "unknowns": unknowns(body),
        **totals,
        "linear_iterations": linear.count,
        "cpu_s": seconds,
        "final_energy": problem.energy(),
        "stable": lse.fem.stability.is_stable(problem),
    }


def newton(body: Body, name: str, energy: Callable[[Any], Any], linear: Any) -> Figures:
    """Figures of Newton's method with line search, from load to load until a step fails."""
    functional = body.functional(energy)
    problem = NonlinearProblem(
        ufl.derivative(functional, body.u),
        body.u,
        bcs=body.bcs,
        petsc_options_prefix=f"{name}_",
        petsc_options={**LINE_SEARCH, **linear},
    )
    done, iterations = [], []

    def run() -> None:
        body.start()
        for level in body.levels:
            body.apply(level)
            problem.solve()
            iterations.append(problem.solver.getIterationNumber())
            if problem.solver.getConvergedReason() <= 0:
                break
            done.append(level)

    seconds = cpu_seconds(run)
    return {"steps": len(done), "of": len(body.levels), "iterations": sum(iterations), "cpu_s": seconds}


def unknowns(body: Body) -> int:
    """Number of degrees of freedom."""
    V = body.u.function_space
    return int(V.dofmap.index_map.size_global * V.dofmap.index_map_bs)


def neo_hookean(F: Any) -> Any:
    """Shear modulus 1, Lame's first parameter 1.5; in the plane with F33 = 1."""
    J = ufl.det(F)
    return 0.5 * (ufl.inner(F, F) - F.ufl_shape[0] - 2 * ufl.ln(J)) + 0.75 * (J - 1) ** 2


def compared(name: str, body: Body, reference: Body, continuations: Sequence[Sequence[float]] = ((),)) -> Figures:
    """A body by this package, with each continuation, and by Newton's method, over a neo-Hookean body."""
    neo = newton(reference, f"{name}_neo", neo_hookean, reference.linear or DIRECT)
    assert neo["steps"] == neo["of"], "Newton's method failed on a neo-Hookean body"
    found = {}
    for factors in continuations:
        key = f"{name}_continued" if factors else name
        found[key] = minimised(body, key, factors)
    if len(body.u) == 2 or unknowns(body) < MOST_FOR_NEWTON:
        found[name]["newton"] = newton(body, f"{name}_newton", partial(lse.fem.energy, body.material), DIRECT)
    for figures in found.values():
        for part in (figures, figures.get("newton", {"cpu_s": 0.0})):
            part["times_neo_hookean"] = part["cpu_s"] / neo["cpu_s"]
        figures["neo_hookean_iterations"] = neo["iterations"]
    return found


def blocks(cells: int) -> Figures:
    """The block from both starts, as it is and with continuation; the large one from the laminate, with continuation."""
    large_one, ripple = cells > LARGEST_OF_BOTH, solve_problems.block(cells, "ripple")
    continuations = (large.CONTINUATION,) if large_one else ((), large.CONTINUATION)
    bodies = {
        f"block_{cells}_{s}": solve_problems.block(cells, s) for s in ("laminate", "waves")[: 1 if large_one else 2]
    }
    return {k: v for name, body in bodies.items() for k, v in compared(name, body, ripple, continuations).items()}


def squares(cells: int, starts: int) -> Figures:
    """Twins from random starts: the largest figures of all."""
    found = [minimised(solve_problems.square(cells, seed), f"square_{seed}") for seed in range(starts)]
    worst = {key: max(f[key] for f in found) for key in found[0] if key not in ("stable", "final_energy")}
    energies = sorted(f["final_energy"] for f in found)
    return {
        f"square_{cells}": {
            **worst,
            "starts": starts,
            "final_energies": [energies[0], energies[-1]],
            "stable": all(f["stable"] for f in found),
        }
    }


def stepped(name: str, body: Body) -> Figures:
    """A body that goes through load steps; a neo-Hookean one goes through the same."""
    return compared(name, body, body)


def problems(quick: bool) -> dict[str, Callable[[], Figures]]:
    """What can be run, by name."""
    return {
        "plate": lambda: stepped("plate", solve_problems.plate(10 if quick else 100, 0)),
        **({} if quick else {"plate_fine": lambda: stepped("plate_fine", solve_problems.plate(100, 1))}),
        "specimen": lambda: stepped("specimen", solve_problems.specimen(4 if quick else 30)),
        "square": lambda: squares(*((16, 2) if quick else (64, 10))),
        **{f"block_{n}": partial(blocks, n) for n in ((8,) if quick else (14, 28, 56))},
    }


def on_ranks(ranks: int, arguments: Sequence[str]) -> Figures:
    """The figures of this script on so many ranks."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PMIX_", "PRTE_MCA_ess"))}
    command = ["mpirun", "-n", str(ranks), sys.executable, "-W", "ignore", str(Path(__file__).resolve()), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    result: Figures = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small meshes and few steps")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the result as PNG")
    parser.add_argument("--ranks", action="store_true", help="run on one rank and on two")
    parser.add_argument(
        "--problems",
        nargs="+",
        metavar="NAME",
        help="which (plate plate_fine specimen square block_14 block_28 block_56)",
    )
    options = parser.parse_args()
    chosen = problems(options.quick)
    if options.ranks:
        passed = [*(["--quick"] * options.quick), *(["--problems", *options.problems] if options.problems else [])]
        finish({str(ranks): on_ranks(ranks, passed) for ranks in (1, 2)})
        return
    figures: Figures = {}
    for name in options.problems or chosen:
        found = chosen[name]()
        figures |= found
        if COMM.rank == 0:
            print(json.dumps(found), file=sys.stderr, flush=True)
    for name, values in figures.items():
        assert values["stable"], f"{name}: the state is no minimum"
        assert values["failed_steps"] == 0, f"{name}: a step failed"
    if COMM.rank == 0:
        if options.plot:
            table = {name: {"": v["times_neo_hookean"]} for name, v in figures.items() if "times_neo_hookean" in v}
            bars(options.plot, table, "CPU time over neo-Hookean", "time to solution", log=True)
        finish({**figures, "ranks": COMM.size, "load_average": os.getloadavg()[0], "cpu": processor()})


if __name__ == "__main__":
    main()
