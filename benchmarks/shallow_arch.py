"""Limit and minimum load of a shallow clamped arch under a dead load, by arc length on several meshes, and by arch theory.

A neo-Hookean strip of thickness t in plane strain, its middle line y0 = H/2 (1 - cos 2 pi x/L), its ends clamped, is pressed
down by a force q per length. Theory: slender and shallow, deflected by v = sum_j a_j (1 - cos 2 pi j x/L), it has one N:

    (B k_j^4 + N k_j^2) a_j + N k_1^2 H/2 [j = 1] = -2 q,     N = D/L int (y0' v' + v'^2/2) dx,     k_j = 2 pi j/L,

with D = E' t, B = E' t^3/12 (Y. C. Fung, A. Kaplan, NACA TN 2840, 1952): given a_1, the first equation says q(N), the last N.
H/t = 1.5 snaps through before it could buckle sideways. Left out are shear and squares of the slope, less than one per cent.

One line of JSON: loads per q_0 = B H k_1^4 by theory and for each number of cells along the arch, and how far they are apart.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import ufl
from common import arguments, finish, processor
from dolfinx import fem, mesh
from mpi4py import MPI
from scipy.optimize import brentq, minimize_scalar

from lse_material.fem import ArcLength, EnergyProblem

COMM = MPI.COMM_WORLD
LENGTH, RISE, THICKNESS = 1.0, 0.015, 0.01
MU, LAMBDA = 1.0, 1.5
MODULUS = 4.0 * MU * (LAMBDA + MU) / (LAMBDA + 2.0 * MU)  # of plane strain
MEMBRANE, BENDING = MODULUS * THICKNESS, MODULUS * THICKNESS**3 / 12.0
WAVE = 2.0 * np.pi / LENGTH
UNIT = BENDING * RISE * WAVE**4  # of loads


def theory(first: float, terms: int = 12) -> tuple[float, float]:
    """The load q at which a_1 has this value, and the mean deflection."""
    k = WAVE * np.arange(1, terms + 1)

    def load(N: float) -> float:
        return float(-0.5 * ((BENDING * k[0] ** 4 + N * k[0] ** 2) * first + N * k[0] ** 2 * RISE / 2.0))

    def amplitudes(N: float) -> np.ndarray:
        a = -2.0 * load(N) / (BENDING * k**4 + N * k**2)
        a[0] = first
        return a

    def mismatch(N: float) -> float:
        a = amplitudes(N)
        stretch = (k[0] ** 2 * RISE / 2.0 * first + (k**2 * a**2).sum() / 2.0) / 2.0
        return float(N - MEMBRANE * stretch)

    buckling = BENDING * WAVE**2
    N = float(brentq(mismatch, -3.0 * buckling, 30.0 * buckling, xtol=1e-15))
    return load(N), -float(amplitudes(N).sum())


def theoretical_limits() -> tuple[float, float]:
    """The limit load and the minimum load."""
    peak = minimize_scalar(
        lambda a: -theory(a)[0], bounds=(-0.5 * RISE, 0.0), method="bounded", options={"xatol": 1e-9}
    )
    trough = minimize_scalar(
        lambda a: theory(a)[0], bounds=(-1.2 * RISE, peak.x), method="bounded", options={"xatol": 1e-9}
    )
    return -float(peak.fun), float(trough.fun)


class Arch:
    """The strip by quadratic elements, `cells` along it and two across; all lengths times `size`."""

    def __init__(self, cells: int, size: float = 1.0) -> None:
        self.rise = RISE * size
        corners = [[0.0, -THICKNESS / 2], [LENGTH, THICKNESS / 2]]
        domain = mesh.create_rectangle(COMM, corners, [cells, 2], mesh.CellType.quadrilateral)
        x, across = domain.geometry.x[:, 0].copy(), domain.geometry.x[:, 1].copy()
        slope = np.arctan(RISE / 2.0 * WAVE * np.sin(WAVE * x))
        domain.geometry.x[:, 0] = x - across * np.sin(slope)
        domain.geometry.x[:, 1] = RISE / 2.0 * (1.0 - np.cos(WAVE * x)) + across * np.cos(slope)
        domain.geometry.x[:] *= size
        V = fem.functionspace(domain, ("Lagrange", 2, (2,)))
        self.u = fem.Function(V)
        F = ufl.Identity(2) + ufl.grad(self.u)
        log_J = ufl.ln(ufl.det(F))
        W = MU / 2 * (ufl.inner(F, F) - 2.0 - 2.0 * log_J) + LAMBDA / 2 * log_J**2
        ends = fem.locate_dofs_geometrical(V, lambda x: np.isclose(x[0] / size, 0.0) | np.isclose(x[0] / size, LENGTH))
        self.problem = EnergyProblem(
            W * ufl.dx(degree=4),
            self.u,
            bcs=[fem.dirichletbc(np.zeros(2), ends, V)],
            petsc_options_prefix=f"arch_{cells}_{size:g}_",
        )
        work = -UNIT / (THICKNESS * size) * self.u[1] * ufl.dx(degree=2)  # UNIT is a stress: forces go with lengths
        self._mean = fem.form(-self.u[1] / (THICKNESS * LENGTH * size**2) * ufl.dx(degree=2))
        self.path = ArcLength(self.problem, work, 0.05 * self.rise, {"deflection": self.deflection})

    def deflection(self) -> float:
        """Its mean, which is what the load works with."""
        return float(COMM.allreduce(fem.assemble_scalar(self._mean)))

    def limits(self) -> dict[str, float]:
        """Limit load and minimum load in q_0, and the most negative eigenvalues between them."""
        while self.deflection() < self.rise:
            self.path.run(5)
        peak, trough = self.path.limit_points()
        return {"limit_load": peak.factor, "minimum_load": trough.factor, "negative": max(self.path.table["negative"])}


def draw(file: Path, path: ArcLength) -> None:
    """The path of the finest mesh and that of theory."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(5.0, 3.6), layout="constrained")
    axes.plot(np.array(path.table["deflection"]) / RISE, path.table["factor"], "ko", markersize=3, label="arc length")
    curve = np.array([theory(a) for a in np.linspace(0.0, -1.05 * RISE, 200)])
    axes.plot(curve[:, 1] / RISE, curve[:, 0] / UNIT, color="0.6", label="arch theory", zorder=0)
    axes.set(xlabel="mean deflection / H", ylabel="load / q_0", title="a shallow clamped arch snaps through")
    axes.legend(frameon=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=150)


def main() -> None:
    options = arguments(__doc__)
    limit, minimum = (load / UNIT for load in theoretical_limits())
    figures: dict[str, Any] = {"theory": {"limit_load": limit, "minimum_load": minimum}}
    meshes = (12, 24) if options.quick else (24, 48, 96)
    for cells in meshes:
        arch = Arch(cells)
        figures[str(cells)] = arch.limits()
    last, before = (figures[str(cells)] for cells in (meshes[-1], meshes[-2]))
    for name, exact in (("limit_load", limit), ("minimum_load", minimum)):
        figures[f"{name}_change"] = abs(last[name] / before[name] - 1.0)
        figures[f"{name}_from_theory"] = abs(last[name] - exact) / limit
    if options.plot and COMM.rank == 0:
        draw(options.plot, arch.path)
    if COMM.rank == 0:
        finish({**figures, "cpu": processor()}, digits=10)


if __name__ == "__main__":
    main()
