"""What a conservative step costs and what it keeps, beside static Newton iterations and generalised-alpha.

A body of two variants (a square of side 1, density 1) is thrown so that it snaps to and fro, in steps of a tenth, one and ten
times the period of its highest mode: the largest change of the energy in a step and over all steps, relative to the first.
Generalised-alpha (J. Chung and G. M. Hulbert, J. Appl. Mech. 60, 371 (1993), doi:10.1115/1.2900803), written as a FEniCSx user
would, has the spectral radii 1 and 0.8; it stops where Newton's method fails or its energy exceeds ten times the first.

    motion.py [--quick]      {"iteration": {size: times a static Newton iteration}, "drift": {steps: {method: {...}}}}

An iteration is assembly of residual and tangent, and a factor by MUMPS, on 64 x 64 squares of two triangles, CPU time.
"""

from __future__ import annotations

import sys
from typing import Any

import dolfinx.fem.petsc
import numpy as np
import scipy.linalg
import ufl
from common import arguments, best, finish, material
from dolfinx import fem, mesh
from mpi4py import MPI
from petsc4py import PETSc

import lse_material as lse

STIFFNESS, VARIANT, SCALE = 4.0, 0.08, 1e-3


def variants() -> lse.Material:
    """Two variants of a stretch along an axis, at E = +-VARIANT (1, -1)."""
    root = np.sqrt(STIFFNESS) * np.eye(3)
    modes = []
    for sign in (1.0, -1.0):
        at = sign * VARIANT * np.array([1.0, -1.0, 0.0])
        modes.append(
            lse.ConvexNetwork.from_arrays([], [-STIFFNESS * at[None]], [[0.5 * STIFFNESS * at @ at]], quadratic=root)
        )
    return lse.Material(lse.SoftMinimum(tuple(modes), SCALE), lse.GreenLagrange(2))


def body(cells: int, law: lse.Material) -> tuple[fem.Function, ufl.Form]:
    """The displacement, in one variant, and the energy."""
    domain = mesh.create_unit_square(MPI.COMM_SELF, cells, cells)
    u = fem.Function(fem.functionspace(domain, ("Lagrange", 1, (2,))))
    stretches = np.sqrt(1.0 + 2.0 * VARIANT * np.array([1.0, -1.0]))
    u.interpolate(lambda x: (stretches[:, None] - 1.0) * x[:2])
    return u, lse.fem.energy(law, ufl.Identity(2) + ufl.grad(u)) * ufl.dx(degree=1)


def throw(velocity: fem.Function) -> None:
    """Towards the other variant, faster at one end, and turning."""
    velocity.interpolate(lambda x: (-0.5 * x[0] - 0.1 * x[1], 0.5 * x[1] + 0.2 * x[0] ** 2))


def highest_period() -> float:
    """Of the smallest body, linearised about the well."""
    u, energy = body(4, variants())
    v, w = ufl.TestFunction(u.function_space), ufl.TrialFunction(u.function_space)
    K = fem.assemble_matrix(fem.form(ufl.derivative(ufl.derivative(energy, u, v), u, w))).to_dense()
    M = fem.assemble_matrix(fem.form(ufl.inner(v, w) * ufl.dx)).to_dense()
    return float(2.0 * np.pi / np.sqrt(scipy.linalg.eigh(K, M, eigvals_only=True)[-1]))


def conservative(dt: float, steps: int) -> dict[str, float]:
    """Drift of `Motion`."""
    u, energy = body(4, variants())
    motion = lse.fem.Motion(energy, u, density=1.0, petsc_options_prefix="conservative_")
    throw(motion.velocity)
    run = lse.fem.Dynamics(motion, dt, progress=False)
    start = motion.momentum()
    table = run.run(steps * dt)
    change = np.abs(motion.momentum() - start) / np.abs(start).max()
    return {
        **drift(table["kinetic"] + table["energy"]),
        "steps": len(table["time"]) - 1,
        "linear_momentum": float(change[:2].max()),
        "angular_momentum": float(change[2]),
        "stored_share": float(np.ptp(table["energy"]) / (table["kinetic"] + table["energy"])[0]),
    }


def generalised_alpha(dt: float, steps: int, radius: float) -> dict[str, float]:
    """Drift of generalised-alpha."""
    u, energy = body(4, variants())
    V = u.function_space
    am, af = (2.0 * radius - 1.0) / (radius + 1.0), radius / (radius + 1.0)
    gamma = 0.5 - am + af
    beta = 0.25 * (1.0 - am + af) ** 2
    before, velocity, acceleration, middle = (fem.Function(V) for _ in range(4))
    before.x.array[:] = u.x.array
    throw(velocity)
    v = ufl.TestFunction(V)
    new = (u - before - dt * velocity) / (beta * dt**2) - (0.5 / beta - 1.0) * acceleration
    forces = ufl.replace(ufl.derivative(energy, u, v), {u: (1.0 - af) * u + af * before})
    residual = ufl.inner((1.0 - am) * new + am * acceleration, v) * ufl.dx + forces
    problem = lse.fem.MaterialProblem(
        residual, u, petsc_options_prefix="alpha_", petsc_options={"snes_linesearch_type": "basic", "snes_rtol": 1e-12}
    )
    first = dolfinx.fem.petsc.LinearProblem(
        ufl.inner(ufl.TrialFunction(V), v) * ufl.dx, -ufl.derivative(energy, u, v), u=acceleration,
        petsc_options_prefix="first_", petsc_options={"ksp_type": "preonly", "pc_type": "lu"},
    )  # fmt: skip
    first.solve()
    total = fem.form(0.5 * ufl.inner(velocity, velocity) * ufl.dx + energy)
    energies = [fem.assemble_scalar(total)]
    for _ in range(steps):
        before.x.array[:] = u.x.array
        try:
            problem.solve()
        except lse.ConvergenceError:
            break
        middle.x.array[:] = (u.x.array - before.x.array - dt * velocity.x.array) / (beta * dt**2)
        middle.x.array[:] -= (0.5 / beta - 1.0) * acceleration.x.array
        velocity.x.array[:] += dt * ((1.0 - gamma) * acceleration.x.array + gamma * middle.x.array)
        acceleration.x.array[:] = middle.x.array
        energies.append(fem.assemble_scalar(total))
        if not energies[-1] < 10.0 * energies[0]:
            break
    return {**drift(np.array(energies)), "steps": len(energies) - 1}


def drift(total: Any) -> dict[str, float]:
    """Largest change of an energy in a step, and from the first state, relative to the first."""
    return {
        "in_a_step": float(np.abs(np.diff(total)).max() / abs(total[0])),
        "from_the_first": float(np.abs(total - total[0]).max() / abs(total[0])),
    }


def iteration(name: str) -> float:
    """CPU time of an iteration of a conservative step over that of a static one."""
    u, energy = body(64, material(name, 2))
    R = ufl.derivative(energy, u)
    static = [fem.form(R), fem.form(ufl.derivative(R, u))]
    motion = lse.fem.Motion(energy, u, density=1.0, petsc_options_prefix="cost_")
    rng = np.random.default_rng(
        0
    )  # no two cells alike: a compiled form does not evaluate a point again that it has just seen
    for state in (motion.before, u):
        state.x.array[:] += 1e-3 * rng.normal(size=len(state.x.array))
    throw(motion.velocity)
    motion.dt.value = 0.01
    times = [cost(*forms) for forms in (static, (motion.problem.F, motion.problem.J))]
    return times[1] / times[0]


def cost(residual: fem.Form, tangent: fem.Form) -> float:
    """CPU time of one assembly of both and one factor."""
    A = dolfinx.fem.petsc.create_matrix(tangent)
    solver = PETSc.PC().create(MPI.COMM_SELF)
    solver.setType("lu")
    solver.setFactorSolverType("mumps")

    def once() -> None:
        fem.assemble_vector(residual)
        A.zeroEntries()
        dolfinx.fem.petsc.assemble_matrix(A, tangent)
        for i in range(3):  # the static body is free: any three supports make its tangent regular
            A.setValue(i, i, 1e3, addv=PETSc.InsertMode.ADD_VALUES)
        A.assemble()
        solver.setOperators(A)
        solver.setUp()

    return best(once)


def main() -> int:
    """Print the figures."""
    options = arguments(__doc__)
    period, steps = highest_period(), 50 if options.quick else 1000
    figures: dict[str, Any] = {
        "iteration": {name: iteration(name) for name in (["N1"] if options.quick else ["N1", "N2"])}
    }
    figures["drift"] = {}
    for times in (0.1, 1.0, 10.0):
        figures["drift"][f"{times:g} periods"] = {
            "conservative": conservative(times * period, steps),
            "generalised_alpha_1": generalised_alpha(times * period, steps, 1.0),
            "generalised_alpha_0.8": generalised_alpha(times * period, steps, 0.8),
        }
    finish(figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
