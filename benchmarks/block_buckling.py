"""The first critical stretch of a block under plane-strain compression, by the package's stability tools and exactly.

A compressible neo-Hookean block, W = mu/2 (tr C - 2 - 2 ln J) + lambda/2 (ln J)^2, between ends that slide without friction,
its long sides free. Exact: displacements a(Y) sin(k X), c(Y) cos(k X) upon the homogeneous state obey y' = M y, linear, for
y = (a, c, a', c'); with B y the incremental tractions and N the states of no traction, buckling needs det(B exp(M h) N) = 0.
M. A. Biot, Mechanics of Incremental Deformations, Wiley 1965.

One line of JSON: {"L/h": {critical_stretch, exact, error}}, the error in the stretch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import ufl
from common import arguments, bars, finish, processor
from dolfinx import fem, mesh
from mpi4py import MPI
from scipy.linalg import expm, null_space
from scipy.optimize import brentq

import lse_material as lse
from lse_material.fem import EnergyProblem

MU, LAMBDA = 1.0, 2.0
NEWTON = {
    "snes_type": "newtonls",
    "snes_linesearch_type": "basic",
    "ksp_type": "preonly",
}  # stays on the straight branch


def lateral(stretch: float) -> float:
    """The stretch across at which the long sides are free."""
    return float(brentq(lambda s: MU * (s - 1.0 / s) + LAMBDA * np.log(stretch * s) / s, 0.3, 5.0, xtol=1e-15))


def moduli(stretch: float) -> Any:
    """A_iJkL = d2W/dF dF at the homogeneous state."""
    F = np.diag([stretch, lateral(stretch)])
    inverse, one = np.linalg.inv(F), np.eye(2)
    log_J = np.log(np.linalg.det(F))
    return (
        MU * np.einsum("ik,JL->iJkL", one, one)
        + (MU - LAMBDA * log_J) * np.einsum("Li,Jk->iJkL", inverse, inverse)
        + LAMBDA * np.einsum("Ji,Lk->iJkL", inverse, inverse)
    )


def determinant(stretch: float, k: float, h: float) -> float:
    """det(B exp(M h) N)."""
    A = moduli(stretch)
    M = np.zeros((4, 4))
    M[0, 2] = M[1, 3] = 1.0
    M[2, 0], M[2, 3] = k**2 * A[0, 0, 0, 0] / A[0, 1, 0, 1], k * (A[0, 0, 1, 1] + A[0, 1, 1, 0]) / A[0, 1, 0, 1]
    M[3, 1], M[3, 2] = k**2 * A[1, 0, 1, 0] / A[1, 1, 1, 1], -k * (A[1, 0, 0, 1] + A[1, 1, 0, 0]) / A[1, 1, 1, 1]
    B = np.array([[0.0, -k * A[0, 1, 1, 0], A[0, 1, 0, 1], 0.0], [k * A[1, 1, 0, 0], 0.0, 0.0, A[1, 1, 1, 1]]])
    scale = np.diag([1.0, 1.0, 1.0 / k, 1.0 / k])
    N = null_space(B @ np.linalg.inv(scale))
    N = np.linalg.inv(scale) @ N * np.sign(np.linalg.det(np.vstack([B @ np.linalg.inv(scale), N.T])))
    return float(np.linalg.det(B @ expm(M * h) @ N))


def exact(length: float, h: float) -> float:
    """The largest stretch below 1 at which a mode of any number of half waves appears."""
    found = []
    for waves in range(1, 6):
        stretches = 1.0 - np.geomspace(1e-4, 0.6, 400)
        values = [determinant(s, waves * np.pi / length, h) for s in stretches]
        for left, right, a, b in zip(stretches, stretches[1:], values, values[1:]):
            if a * b < 0.0:
                found.append(brentq(determinant, left, right, args=(waves * np.pi / length, h), xtol=1e-14))
                break
    return float(max(found))


def computed(length: float, h: float, cells: int, guess: float) -> float:
    """The same by finite elements (quadratic, quadrilaterals), `cells` across."""
    corners = [[0.0, -h / 2], [length, h / 2]]
    n = round(cells * length / h)
    domain = mesh.create_rectangle(MPI.COMM_WORLD, corners, [n, cells], mesh.CellType.quadrilateral)
    V = fem.functionspace(domain, ("Lagrange", 2, (2,)))
    u = fem.Function(V)
    F = ufl.Identity(2) + ufl.grad(u)
    log_J = ufl.ln(ufl.det(F))
    W = MU / 2 * (ufl.inner(F, F) - 2.0 - 2.0 * log_J) + LAMBDA / 2 * log_J**2
    V0, V1 = (V.sub(i).collapse()[0] for i in range(2))
    end, zero, floor = fem.Function(V0), fem.Function(V0), fem.Function(V1)

    def held(i: int, space: Any, value: fem.Function, where: Any) -> fem.DirichletBC:
        return fem.dirichletbc(value, fem.locate_dofs_geometrical((V.sub(i), space), where), V.sub(i))

    bcs = [
        held(0, V0, zero, lambda x: np.isclose(x[0], 0.0)),
        held(0, V0, end, lambda x: np.isclose(x[0], length)),
        held(1, V1, floor, lambda x: np.isclose(x[0], 0.0) & np.isclose(x[1], -h / 2)),
    ]
    energy = W * ufl.dx(degree=5)
    problem = EnergyProblem(energy, u, bcs=bcs, petsc_options_prefix=f"block_{length}_{cells}_", petsc_options=NEWTON)

    def compress(stretch: float) -> None:
        end.x.array[:] = (stretch - 1.0) * length
        across = lateral(stretch)
        u.interpolate(lambda x: np.stack([(stretch - 1.0) * x[0], (across - 1.0) * (x[1] + h / 2)]))

    strain = 1.0 - guess
    return lse.fem.stability.critical_load(problem, compress, 1.0 - 0.8 * strain, 1.0 - 1.15 * strain, tolerance=1e-9)[
        0
    ]


def main() -> None:
    options = arguments(__doc__)
    figures: dict[str, Any] = {}
    for ratio in (5.0,) if options.quick else (10.0, 5.0, 2.5):
        truth = exact(ratio, 1.0)
        value = computed(ratio, 1.0, 4 if options.quick else 8, truth)
        figures[f"{ratio:g}"] = {"critical_stretch": value, "exact": truth, "error": abs(value - truth)}
    if options.plot and MPI.COMM_WORLD.rank == 0:
        bars(
            options.plot,
            {k: {"error": v["error"]} for k, v in figures.items()},
            "error of the stretch",
            "L/h",
            log=True,
        )
    if MPI.COMM_WORLD.rank == 0:
        finish({**figures, "cpu": processor()}, digits=8)


if __name__ == "__main__":
    main()
