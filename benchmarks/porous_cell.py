"""The critical strain of the porous 2 x 2 cell under refinement, and the cell by a second way: dolfinx_mpc.

Uniaxial compression with free lateral contraction, on three meshes. On the finest of them W and P at three deformations by
the package's projection (`PeriodicCell`) and with periodicity as multi-point constraints, where dolfinx_mpc is there (J. S.
Dokken, https://github.com/jorgensd/dolfinx_mpc).

One line of JSON: {critical_strain: [coarse, ..., fine], change: of the last two, mpc_difference: the largest relative one}.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import gmsh
import numpy as np
import ufl
from common import arguments, finish
from dolfinx import fem, mesh
from dolfinx.io import gmsh as gmshio
from mpi4py import MPI

from lse_material.fem import PeriodicCell

sys.path.insert(0, str(Path(__file__).parents[1] / "meshes"))
import porous_cell

SIDE = 2.0
MU, K = 1.0, 50.0
UNIAXIAL = {(0, 0): 0.0}
NEWTON = {
    "snes_type": "newtonls", "snes_linesearch_type": "basic", "snes_atol": 1e-10, "snes_rtol": 1e-12,
    "ksp_type": "preonly", "pc_type": "lu", "pc_factor_mat_solver_type": "mumps",
}  # fmt: skip


def neo_hookean(F: Any) -> Any:
    """Plane strain."""
    J = ufl.det(F)
    return MU / 2 * (ufl.inner(F, F) - 2.0 - 2.0 * ufl.ln(J)) + (K - 2 * MU / 3) / 2 * (J - 1.0) ** 2


def domain_of(fineness: tuple[int, int]) -> mesh.Mesh:
    """The cell, meshed with gmsh."""
    gmsh.initialize()
    gmsh.option.setNumber("General.Terminal", 0)
    porous_cell.build((2, 2), fineness=fineness)
    domain = gmshio.model_to_mesh(gmsh.model, MPI.COMM_WORLD, 0, gdim=2).mesh
    gmsh.finalize()
    return domain


def constrained(domain: mesh.Mesh, gradients: list[np.ndarray]) -> list[tuple[float, np.ndarray]]:
    """W and P per volume of the box at F - I, by dolfinx_mpc; each solve starts from the one before."""
    import dolfinx_mpc

    V = fem.functionspace(domain, ("Lagrange", 2, (2,)))

    def corners(x: np.ndarray) -> np.ndarray:
        return (np.isclose(x[0], 0.0) | np.isclose(x[0], SIDE)) & (np.isclose(x[1], 0.0) | np.isclose(x[1], SIDE))

    bcs = [fem.dirichletbc(np.zeros(2), fem.locate_dofs_geometrical(V, corners), V)]
    mpc = dolfinx_mpc.MultiPointConstraint(V)
    for axis in range(2):

        def opposite(x: np.ndarray, axis: int = axis) -> np.ndarray:
            y = x.copy()
            y[axis] -= SIDE
            return y

        mpc.create_periodic_constraint_geometrical(V, lambda x, axis=axis: np.isclose(x[axis], SIDE), opposite, bcs)
    mpc.finalize()
    w, H = fem.Function(mpc.function_space), fem.Constant(domain, np.zeros((2, 2)))
    F = ufl.variable(ufl.Identity(2) + H + ufl.grad(w))
    W, dx = neo_hookean(F), ufl.dx(degree=4)
    P = ufl.diff(W, F)
    residual = ufl.inner(P, ufl.grad(ufl.TestFunction(V))) * dx
    J = ufl.derivative(residual, w, ufl.TrialFunction(V))
    problem = dolfinx_mpc.NonlinearProblem(residual, w, mpc, bcs=bcs, J=J, petsc_options=NEWTON)
    energy = fem.form(W * dx)
    stress = [fem.form(P[i, j] * dx) for i in range(2) for j in range(2)]
    found = []
    for gradient in gradients:
        start = H.value.copy()
        for share in (0.5, 1.0):
            H.value[:] = start + share * (gradient - start)
            _, reason, _ = problem.solve()
            if reason < 0:
                raise RuntimeError(f"dolfinx_mpc's solver did not converge at {H.value.tolist()}: reason {reason}.")
        values = [domain.comm.allreduce(fem.assemble_scalar(f)) / SIDE**2 for f in (energy, *stress)]
        found.append((values[0], np.array(values[1:]).reshape(2, 2)))
    return found


def main() -> None:
    options = arguments(__doc__)
    meshes = [(2, 1), (4, 2)] if options.quick else [(4, 2), (6, 3), (8, 4)]
    strains = []
    for fineness in meshes:
        domain = domain_of(fineness)
        cell = PeriodicCell(domain, neo_hookean)
        compress = lambda e: np.diag([1.0, 1.0 - e])  # noqa: E731
        strains.append(cell.critical(compress, 0.02, 0.05, UNIAXIAL, tolerance=1e-7))
    figures: dict[str, Any] = {"critical_strain": strains, "change": abs(strains[-1] / strains[-2] - 1.0)}
    if importlib.util.find_spec("dolfinx_mpc") is not None:
        gradients = [
            np.diag([0.0, -0.02]),
            np.array([[0.03, 0.05], [0.05, -0.02]]),
            np.array([[0.02, 0.02], [0.0, -0.03]]),
        ]
        differences = []
        for gradient, (W, P) in zip(gradients, constrained(domain, gradients)):
            cell.reset()
            cell.equilibrium(np.eye(2) + gradient)
            state = cell.state(tangent=False)
            differences += [abs(W / state.energy - 1.0), np.abs(P - state.stress).max() / np.abs(state.stress).max()]
        figures["mpc_difference"] = float(max(differences))
    if MPI.COMM_WORLD.rank == 0:
        finish(figures, digits=7)


if __name__ == "__main__":
    main()
