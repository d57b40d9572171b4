"""Three variants from one network: a martensitic block that is pulled until another variant has taken over.

Problem. A cubic crystal has become tetragonal: three variants, one long along each axis of the cube. A block of the one that is
long along y is pulled along x, its sides free, and the one long along x grows in bands at 45 degrees, the planes of the twins.

The data. Rows of F, W and P with 1 % noise, made here: psi_k = q_k + q_k^2/q0 with q_k = (E - E_k).K(E - E_k)/2 about each
variant's strain E_k, and their soft minimum, sampled between the wells and around them.

The way. One convex network is trained, and the symmetry of the cube makes three exactly equal variants of it (`symmetry=`). The
block is solved on any number of ranks without a factor of a matrix: a trust region, multigrid on the frozen-weight tangent.

The check. Both variants bear one stress sigma, so that the mean strain e says how much of the block has changed (lever
rule): f = (e - e_short - sigma/Y_short) / (e_long + sigma/Y_long - e_short - sigma/Y_short), Y Young's modulus at the
wells. The share of cells whose largest mode weight is that of the long variant agrees with it to 0.05 in every state.
Round-off alone decides where a homogeneous block has its bands: they differ from one number of ranks to another, and the
rule is met on each.

    ./fenicsx mpirun -n 2 python3 demos/studies/martensite_3d.py
    ./fenicsx python3 demos/studies/martensite_3d.py --quick
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import ufl
from dolfinx import fem, mesh
from dolfinx.io import XDMFFile
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from mpi4py import MPI

import lse_material as lse
from lse_material import Symmetry
from lse_material.analysis import StationaryPoint, wells
from lse_material.fem import MULTIGRID, Cells, EnergyProblem, LoadPath, MaterialFields, energy, gather_cells, on_rank_0
from lse_material.model import from_mandel

COMM = MPI.COMM_WORLD
STRAIN = 0.03  # of a variant across its long axis, with the sign changed; twice that along it
STIFFNESS = 30.0 * np.pad(np.ones((3, 3)), (0, 3)) + 40.0 * np.diag([1.0, 1.0, 1.0, 0.6, 0.6, 0.6])  # GPa, Mandel
WELLS = STRAIN * np.pad(3.0 * np.eye(3) - 1.0, ((0, 0), (0, 3)))  # Green-Lagrange strains E_k
STIFFENING, TRANSITION = 3.0, 0.05  # GPa: q0, and rho of the soft minimum


def measure(rows: int, seed: int = 0) -> lse.Samples:
    """The data: F (symmetric), W and P with noise."""
    rng = np.random.default_rng(seed)
    x = 1.2 * rng.dirichlet([0.7] * 3, rows) @ WELLS + 0.015 * rng.normal(size=(rows, 6))
    away = x[:, None] - WELLS
    q = 0.5 * np.einsum("nki,ij,nkj->nk", away, STIFFNESS, away)
    psi, gradient = q + q**2 / STIFFENING, (1.0 + 2.0 * q / STIFFENING)[:, :, None] * (away @ STIFFNESS)
    weights = np.exp(-(psi - psi.min(axis=1, keepdims=True)) / TRANSITION)
    W = psi.min(axis=1) - TRANSITION * np.log(weights.sum(axis=1))
    S = np.einsum("nk,nki->ni", weights / weights.sum(axis=1, keepdims=True), gradient)
    squares, axes = np.linalg.eigh(np.eye(3) + 2.0 * from_mandel(x))
    F = np.einsum("nik,nk,njk->nij", axes, np.sqrt(squares), axes)
    P = F @ from_mandel(S)
    noisy_P, noisy_W = (v + 0.01 * v.std() * rng.normal(size=v.shape) for v in (P, W))
    return lse.Samples(F=F, energy=noisy_W, stress=noisy_P)


def fit_material(path: Path, quick: bool) -> dict[str, Any]:
    """Fit one mode and its variants, save the material to `path`, and return the figures of the fit."""
    from lse_material.fit import Architecture, Training, fit

    result = fit(
        measure(200 if quick else 300),
        kinematics=lse.GreenLagrange(3),
        architecture=Architecture(modes=1, width=1, depth=1, stiffness=0.01),
        training=Training(restarts=1 if quick else 2, adam_steps=200, lbfgs_steps=150 if quick else 400),
        symmetry=Symmetry.crystal("cubic", "tetragonal", dim=3),
        progress=not quick,
    )
    print(result.summary())
    lse.save(result.material, path)
    error = result.error(measure(500, seed=1))
    return {"variants": result.material.modes, "test_error_energy": error.energy, "test_error_stress": error.stress}


class Variant:
    """A variant of the fitted material: its stretch, its mode, and Young's modulus dP11/dF11 along x."""

    def __init__(self, material: lse.Material, well: StationaryPoint) -> None:
        self.stretch = np.diag(np.sqrt(1.0 + 2.0 * well.x[:3]))
        self.mode = int(np.argmax(material.potential.mode_weights(well.x[None])))
        compliance = np.linalg.inv(material.potential.hessian(well.x[None])[0])
        self.modulus = self.stretch[0, 0] ** 2 / float(compliance[0, 0])


class Block:
    """A block 2 x 1 x 1 with `cells` cells across; its ends stay plane and slide, its sides are free."""

    def __init__(self, material: lse.Material, cells: int) -> None:
        found = wells(material.potential, WELLS.min(axis=0) - STRAIN, WELLS.max(axis=0) + STRAIN)
        self.long, self.short = (Variant(material, max(found, key=lambda well: well.x[i])) for i in (0, 1))
        domain = mesh.create_box(COMM, [[0.0, 0.0, 0.0], [2.0, 1.0, 1.0]], [2 * cells, cells, cells])
        V = fem.functionspace(domain, ("Lagrange", 1, (3,)))
        self.u = fem.Function(V, name="displacement")
        F = ufl.Identity(3) + ufl.grad(self.u)
        self.pulled, zeros = fem.Constant(domain, 0.0), fem.Constant(domain, 0.0)

        def fixed(component: int, where: Callable[[np.ndarray], np.ndarray], value: fem.Constant) -> fem.DirichletBC:
            Vi = V.sub(component).collapse()[0]
            return fem.dirichletbc(
                value, fem.locate_dofs_geometrical((V.sub(component), Vi), where)[0], V.sub(component)
            )

        def corner(x: np.ndarray) -> np.ndarray:
            return np.isclose(x[0], 0.0) & np.isclose(x[1], 0.0) & np.isclose(x[2], 0.0)

        self.end = fixed(0, lambda x: np.isclose(x[0], 2.0), self.pulled)
        self.problem = EnergyProblem(
            energy(material, F) * ufl.dx(degree=1),
            self.u,
            bcs=[
                fixed(0, lambda x: np.isclose(x[0], 0.0), zeros),
                self.end,
                fixed(1, corner, zeros),
                fixed(2, corner, zeros),
                fixed(2, lambda x: np.isclose(x[0], 0.0) & np.isclose(x[1], 1.0) & np.isclose(x[2], 0.0), zeros),
            ],
            petsc_options_prefix="block_",
            petsc_options=MULTIGRID,
            tolerance=1e-6,
            fallback=False,
        )
        self.u.interpolate(lambda x: (self.short.stretch - np.eye(3)) @ x)
        self.fields = MaterialFields(material, F, ellipticity=False)
        self.largest = fem.Function(self.fields.energy.function_space, name="largest_mode")
        self.dofs = 3 * V.dofmap.index_map.size_global

    def pull(self, strain: float) -> None:
        """Set the mean strain along x, which counts from the cube; u stays."""
        self.pulled.value = 2.0 * strain

    def stress(self) -> float:
        """The mean of P11 in GPa."""
        return self.problem.reaction(self.end)

    def fractions(self) -> np.ndarray:
        """Shares of the cells in which each mode has the largest weight; all cells have the same volume."""
        self.fields.update()
        modes = self.fields.mode_weights.function_space.dofmap.bs
        self.largest.x.array[:] = self.fields.mode_weights.x.array.reshape(-1, modes).argmax(axis=1)
        owned = self.largest.function_space.dofmap.index_map.size_local
        counts = COMM.allreduce(np.bincount(self.largest.x.array[:owned].astype(int), minlength=modes))
        return counts / counts.sum()

    def lever(self, strain: float, stress: float) -> float:
        """The share of the long variant that strain and stress say, both variants bearing that stress."""
        ends = (s.stretch[0, 0] - 1.0 + stress / s.modulus for s in (self.short, self.long))
        low, high = ends
        return (strain - low) / (high - low)


def draw(file: Path, block: Block, surface: Cells, table: dict[str, np.ndarray]) -> None:
    """The block half way, and the curves of stress and share."""
    figure = Figure(figsize=(11.0, 3.8), layout="constrained")
    grid = figure.add_gridspec(1, 3, width_ratios=[1.6, 1.0, 1.0])
    space = figure.add_subplot(grid[0], projection="3d")
    shades = {block.short.mode: "0.85", block.long.mode: "#1f5a99"}
    colours = ListedColormap([shades.get(mode, "#e08030") for mode in range(3)])
    surface.draw(space, limits=(-0.5, 2.5), cmap=colours, edgecolors="0.4", linewidths=0.15)
    space.set(xlim=(0, 2.05), ylim=(0, 1.1), zlim=(0, 1.0), xlabel="x / width", ylabel="y / width")
    space.set(xticks=(0, 1, 2), yticks=(0, 1), zticks=(0, 1))
    space.set_box_aspect((2.05, 1.1, 1.0), zoom=1.05)
    space.view_init(elev=28, azim=-62)
    space.set_title("bands of the variant long along x")
    labels = [Patch(color="0.85", label="long along y"), Patch(color="#1f5a99", label="long along x")]
    labels += [Patch(color="#e08030", label="long along z")]
    space.legend(handles=labels, frameon=False, fontsize=8, loc="upper center", ncols=3, bbox_to_anchor=(0.5, 1.0))
    left, right = figure.add_subplot(grid[1]), figure.add_subplot(grid[2])
    strain = 100.0 * table["load"]
    left.plot(strain, table["stress"], "ko-", markersize=3)
    left.set(xlabel="mean strain along x in %", ylabel="stress in GPa", title="elastic, a burst, then band by band")
    right.plot(strain, table["long"], "ko", markersize=4, mfc="none", label="counted")
    right.plot(strain, table["lever"], "C0-", linewidth=1, label="lever rule")
    right.set(xlabel="mean strain along x in %", ylabel="share long along x", title="the lever rule is met")
    right.legend(frameon=False)
    figure.savefig(file, dpi=110)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer rows, cells and steps")
    parser.add_argument("--cells", type=int, help="cells across the block")
    parser.add_argument("--out", type=Path, default=Path("results/martensite_3d"), help="folder for the files")
    options = parser.parse_args()
    file = options.out / "martensite_3d.safetensors"
    on_rank_0(COMM, lambda: options.out.mkdir(parents=True, exist_ok=True))
    figures = on_rank_0(COMM, lambda: fit_material(file, options.quick))
    material = lse.load(file)
    block = Block(material, options.cells or (4 if options.quick else 8))

    def share_lever() -> float:
        return block.lever(float(block.pulled.value) / 2.0, block.stress())

    observe = {
        "stress": block.stress,
        "long": lambda: float(block.fractions()[block.long.mode]),
        "lever": share_lever,
    }
    path = LoadPath(block.problem, block.pull, observe, checkpoint=options.out / "path.npz")
    low, high = (well.stretch[0, 0] - 1.0 for well in (block.short, block.long))
    shares = np.array([0.0, 0.2, 0.5, 0.8]) if options.quick else np.linspace(0.0, 1.1, 12)
    table, surface = {}, None
    with XDMFFile(COMM, options.out / "block.xdmf", "w") as xdmf:
        xdmf.write_mesh(block.u.function_space.mesh)
        for step in range(1, len(shares) + 1):
            table = path.run(low + shares[:step] * (high - low))
            xdmf.write_function(block.u, float(shares[step - 1]))
            block.fields.write(xdmf, float(shares[step - 1]))
            if shares[step - 1] <= 0.62:
                surface = gather_cells(block.largest, displacement=block.u)
    error = float(np.abs(table["long"] - table["lever"]).max())
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    figures |= {
        "dofs": block.dofs,
        "phase_fractions": [round(float(f), 4) for f in block.fractions()],
        "iterations": int(table["iterations"].sum()),
        "peak_memory_gb": COMM.allreduce(memory, MPI.MAX),
        "lever_rule_error": error,
        "failed_steps": path.failed,
        "largest_stress": float(table["stress"].max()),
    }
    if COMM.rank == 0:
        assert surface is not None
        draw(options.out / "martensite_3d.png", block, surface, table)
        print(json.dumps(figures))
    return 0 if error < 0.05 and table["long"][-1] > 0.5 else 1


if __name__ == "__main__":
    sys.exit(main())
