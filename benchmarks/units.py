"""The same bodies in metres, millimetres and micrometres: no result may depend on the unit of length.

Six problems whose lengths differ by a factor of 1e3 from one unit to the next while stresses stay in MPa, so that gradient
lengths go with the unit, mobilities with its square, and moduli, viscosities and rates not at all:

    plate   a martensite plate with a hole, pulled through its transformation with a viscosity (demos/fit_then_simulate.py)
    bar     a bar of two phases, pulled out and let back, with a second gradient (demos/studies/phase_transforming_bar.py)
    twins   a martensite that makes twins from random starts, micromorphic (demos/studies/martensite_twins.py)
    cell    the porous cell under compression, past its critical strain (demos/studies/buckling_metamaterial)
    arch    a shallow clamped arch that snaps through under a dead load (benchmarks/shallow_arch.py)
    spinodal   a square that unmixes, with the free energy of demos/studies/mechanochemistry, by steps whose error is controlled

Dimensionless results of plate, arch and spinodal, whose paths are unique, agree to 1e-8, limit loads included; those of bar,
twins and cell, where minima compete, to 1e-6, with as many variants, boundaries and buckled states. Iterations are alike.

A table, and one line of JSON: {"plate": {"difference", "counts", "iterations": [m, mm, um], "allowed"}, ..., "right"}.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import basix.ufl
import gmsh
import numpy as np
import ufl
from common import short
from dolfinx import fem, mesh
from dolfinx.io import gmsh as gmshio
from mpi4py import MPI
from shallow_arch import Arch

import lse_material as lse
from lse_material.fem import (
    CahnHilliard,
    EnergyProblem,
    Evolution,
    LoadPath,
    MaterialProblem,
    PeriodicCell,
    energy,
    interior_penalty,
    micromorphic,
    mode_weights,
    potential_energy,
)

COMM = MPI.COMM_WORLD
HERE = Path(__file__).resolve().parent
MESHES, MATERIALS = HERE.parent / "meshes", HERE.parent / "demos" / "materials"
UNITS = {"m": 1e-3, "mm": 1.0, "um": 1e3}  # a millimetre
UNIQUE, COMPETING = 1e-8, 1e-6  # relative differences that are allowed


@dataclass
class Figures:
    """What a problem gave in one unit.

    Attributes:
        values: dimensionless, compared to the largest of their kind.
        counts: equal in all units: variants, boundaries, buckled states, negative eigenvalues.
        iterations: of all solves together.
    """

    values: dict[str, list[float]] = field(default_factory=dict)
    counts: list[int] = field(default_factory=list)
    iterations: int = 0


def total(form: fem.Form) -> float:
    """Over all ranks."""
    return float(COMM.allreduce(fem.assemble_scalar(form), MPI.SUM))


def martensite(rho: float) -> lse.Material:
    """Two wells, diag(a, b) and diag(b, a), of 100 MPa."""
    a, b = 0.95, 1.05
    trace = np.array([1.0, 1.0, 0.0])
    K = 40.0 * np.outer(trace, trace) + 60.0 * np.eye(3)
    modes = []
    for first, second in ((a, b), (b, a)):
        e = np.array([0.5 * (first**2 - 1.0), 0.5 * (second**2 - 1.0), 0.0])
        root = np.linalg.cholesky(K).T
        modes.append(lse.ConvexNetwork.from_arrays([], [-(K @ e)[None]], [np.array([0.5 * e @ K @ e])], quadratic=root))
    return lse.Material(lse.SoftMinimum(tuple(modes), rho), lse.GreenLagrange(2))


def read(name: str, scale: float) -> tuple[mesh.Mesh, Any, dict[str, int]]:
    """A mesh of the folder with its sides, made larger."""
    gmsh.initialize()
    gmsh.option.setNumber("General.Terminal", 0)
    if COMM.rank == 0:
        gmsh.open(str(MESHES / name))
    data = gmshio.model_to_mesh(gmsh.model, COMM, 0, gdim=2)
    gmsh.finalize()
    data.mesh.geometry.x[:] *= scale
    return data.mesh, data.facet_tags, {key: group.tag for key, group in data.physical_groups.items()}


def plate(mm: float, quick: bool) -> Figures:
    """2 mm long, between smooth grips; forces on the grip over the modulus, and the largest displacement over the length."""
    domain, sides, names = read("plate_with_hole.msh", mm)
    length, modulus, viscosity, found = 2.0 * mm, 100.0, 100.0, Figures()
    material = martensite(0.15)
    V = fem.functionspace(domain, ("Lagrange", 1 if quick else 2, (2,)))
    u, before, v = fem.Function(V), fem.Function(V), ufl.TestFunction(V)
    elastic = ufl.derivative(energy(material, ufl.Identity(2) + ufl.grad(u)) * ufl.dx(degree=2), u, v)
    viscous = viscosity * ufl.inner(ufl.grad(u - before), ufl.grad(v)) * ufl.dx(degree=2)
    pull = fem.Constant(domain, 0.0)
    left, right = (fem.locate_dofs_topological(V.sub(0), 1, sides.find(names[side])) for side in ("left", "right"))
    space = V.sub(1).collapse()[0]
    near = 1e-6 * length
    corner = fem.locate_dofs_geometrical(
        (V.sub(1), space), lambda x: np.isclose(x[0], -0.5 * length, atol=near) & np.isclose(x[1], 0.0, atol=near)
    )
    grip = fem.dirichletbc(pull, right, V.sub(0))
    pin = fem.dirichletbc(fem.Function(space), corner, V.sub(1))
    bcs = [fem.dirichletbc(0.0, left, V.sub(0)), grip, pin]
    problem = MaterialProblem(elastic + viscous, u, bcs=bcs, petsc_options_prefix=f"plate_{mm:g}_")
    u.interpolate(lambda x: np.vstack([-0.05 * (x[0] + 0.5 * length), 0.05 * x[1]]))
    forces, largest = [], []
    for strain in np.linspace(-0.05, 0.06, 23 if quick else 45):
        pull.value = length * strain
        before.x.array[:] = u.x.array
        problem.solve()
        found.iterations += int(problem.solver.getIterationNumber())
        forces.append(problem.reaction(grip) / modulus / length)
        largest.append(COMM.allreduce(float(np.abs(u.x.array).max(initial=0.0)), MPI.MAX) / length)
    found.values = {"force": forces, "displacement": largest}
    return found


def two_phases(rho: float) -> lse.SoftMinimum:
    """Parabolas E/2 e^2 and E/2 (e - 1)^2 + dg, E = 1 MPa."""
    first = lse.ConvexNetwork.from_arrays([], [[[0.0]]], [[0.0]], quadratic=[[1.0]])
    second = lse.ConvexNetwork.from_arrays([], [[[-1.0]]], [[0.55]], quadratic=[[1.0]])
    return lse.SoftMinimum((first, second), rho)


def bar(mm: float, quick: bool) -> Figures:
    """1 mm long; its energy and the share of the second phase at each elongation, out and back.

    A residual stress that rises along the bar says where boundaries begin: in a uniform bar rounding would.
    """
    cells, width, found = (50, 0.05 * mm, Figures()) if quick else (200, 0.02 * mm, Figures())
    domain = mesh.create_interval(COMM, cells, [0.0, mm])
    V = fem.functionspace(domain, ("Lagrange", 2))
    u = fem.Function(V)
    residual = 0.02 * ufl.SpatialCoordinate(domain)[0] / mm
    W = (potential_energy(two_phases(0.03), [u.dx(0)]) - residual * u.dx(0)) * ufl.dx(degree=6)
    W += interior_penalty(u, length=width, modulus=1.0, degree=6)
    end = fem.Constant(domain, 0.0)
    left, right = (
        fem.locate_dofs_geometrical(V, lambda x, at=at: np.isclose(x[0], at, atol=1e-6 * mm)) for at in (0.0, mm)
    )
    bcs = [fem.dirichletbc(0.0, left, V), fem.dirichletbc(end, right, V)]
    problem = EnergyProblem(W, u, bcs=bcs, petsc_options_prefix=f"bar_{mm:g}_")
    share = fem.form(ufl.conditional(ufl.gt(u.dx(0), 0.55), 1.0, 0.0) * ufl.dx(degree=6))

    def pull(elongation: float) -> None:
        end.value = elongation * mm

    out = np.linspace(0.0, 1.2, 7 if quick else 25)
    path = LoadPath(problem, pull, {"share": lambda: total(share) / mm}, perturbation_size=1e-3 * mm, progress=False)
    table = path.run([*out, *out[-2::-1]])
    found.values = {"energy": (table["energy"] / mm).tolist()}
    found.counts = [path.failed, *(int(0.02 < s < 0.98) for s in table["share"])]
    found.iterations = int(table["iterations"].sum())
    return found


def twins(mm: float, quick: bool) -> Figures:
    """A square of 1 mm held half way between two variants; energies and shares of the minima from random starts."""
    cells, material, found = 16 if quick else 32, martensite(0.03), Figures()
    length = (0.04 if quick else 0.025) * mm
    domain = mesh.create_rectangle(COMM, [[0.0, 0.0], [mm, mm]], [cells, cells], mesh.CellType.quadrilateral)
    parts = [basix.ufl.element("Lagrange", domain.basix_cell(), 1, shape=shape) for shape in ((2,), (2, 2))]
    V = fem.functionspace(domain, basix.ufl.mixed_element(parts))
    w = fem.Function(V)
    u, phi = ufl.split(w)
    F = ufl.Identity(2) + ufl.grad(u)
    space, dofs = V.sub(0).collapse()
    shown, held = fem.Function(space), fem.Function(space)
    domain.topology.create_connectivity(1, 2)
    rim = fem.locate_dofs_topological((V.sub(0), space), 1, mesh.exterior_facet_indices(domain.topology))
    ties = micromorphic(ufl.grad(u), phi, length=length, modulus=100.0, penalty=1000.0)
    problem = EnergyProblem(
        (energy(material, F) + ties) * ufl.dx(degree=2),
        w,
        bcs=[fem.dirichletbc(held, rim, V.sub(0))],
        petsc_options_prefix=f"twins_{mm:g}_",
    )
    share = fem.form(ufl.conditional(ufl.gt(mode_weights(material, F)[0], 0.5), 1.0, 0.0) * ufl.dx(degree=4))
    energies = []
    for seed in range(3 if quick else 6):
        rng = np.random.default_rng(seed)
        waves, phases = rng.normal(size=(30, 2)) * 0.6 * cells / mm, rng.uniform(0.0, 2.0 * np.pi, 30)
        sizes = rng.normal(size=(2, 30)) * 2e-3 * mm
        shown.interpolate(lambda x, k=waves, p=phases, a=sizes: a @ np.sin(k @ x[:2] + p[:, None]))
        w.x.array[:] = 0.0
        w.x.array[dofs] = shown.x.array
        perturbations = lse.fem.stability.solve_to_minimum(problem, size=1e-2 * mm)
        found.iterations += problem.iterations
        energies.append(problem.energy() / mm**2 / 100.0)
        first = total(share) / mm**2
        found.counts += [
            lse.fem.stability.negative_eigenvalues(problem),
            perturbations,
            int(first > 0.05) + int(first < 0.95),
        ]
    found.values = {"energy": energies}
    return found


def cell(mm: float, quick: bool) -> Figures:
    """Unit cells of 1 mm, two by two, compressed with free sides: critical strain, energy and stress on the buckled branch."""
    domain, _, _ = read("porous_cell.msh", mm)
    modulus, found = 0.05, Figures()

    def neo_hookean(F: Any) -> Any:
        J = ufl.det(F)
        return modulus / 2 * (ufl.inner(F, F) - 2.0 - 2.0 * ufl.ln(J) + (50.0 - 2.0 / 3.0) * (J - 1.0) ** 2)

    periodic = PeriodicCell(domain, neo_hookean, degree=1 if quick else 2)
    free = {(0, 0): 0.0}
    low, high = (0.02, 0.08) if quick else (0.02, 0.05)
    critical = periodic.critical(lambda e: np.diag([1.0, 1.0 - e]), low, high, free, tolerance=1e-10)
    periodic.reset()
    energies, stresses, orders = [], [], []
    for strain in (0.01, 0.02, 0.04, 0.06, 0.08, 0.1)[:: 2 if quick else 1]:
        state = periodic.minimum(np.diag([1.0, 1.0 - strain]), free)
        energies.append(state.energy / modulus)
        stresses.append(float(state.stress[1, 1]) / modulus)
        orders.append(abs(state.order) / mm)
        found.counts += [int(state.buckled), state.negative]
        found.iterations += state.iterations
    found.values = {"critical": [critical], "energy": energies, "stress": stresses, "order": orders}
    return found


def arch(mm: float, quick: bool) -> Figures:
    """The arch of shallow_arch.py, 1 mm long: limit load and minimum load, loads and energies along the path."""
    found = Figures()
    body = Arch(8 if quick else 24, size=mm)
    limits = body.limits()
    table = body.path.table
    found.values = {
        "limit": [limits["limit_load"], limits["minimum_load"]],
        "load": list(table["factor"]),
        "energy": [value / mm**2 for value in table["energy"]],
        "deflection": [value / mm for value in table["deflection"]],
    }
    found.counts = [int(value) for value in table["negative"]] + [body.path.failed]
    found.iterations = int(sum(table["iterations"]))
    return found


def spinodal(mm: float, quick: bool) -> Figures:
    """A square of 1 mm with straight sides: energies and shares of the rich phase, and the steps that were made."""
    cells, found = 8 if quick else 16, Figures()
    potential = lse.load_potential(MATERIALS / "mechanochemistry.safetensors")
    domain = mesh.create_rectangle(COMM, [[0.0, 0.0], [mm, mm]], [cells, cells], diagonal=mesh.DiagonalType.crossed)
    basis = domain.basix_cell()
    P, vector = basix.ufl.element("Lagrange", basis, 1), basix.ufl.element("Lagrange", basis, 1, shape=(2,))
    V = fem.functionspace(domain, basix.ufl.mixed_element([P, P, vector]))
    state = fem.Function(V)
    c, _, u = ufl.split(state)
    G, root = ufl.grad(u), float(np.sqrt(2.0))
    E = 0.5 * (G + G.T + G.T * G)
    e2 = (E[0, 0] - E[1, 1]) / root
    place = 2.0 * np.pi / mm * ufl.SpatialCoordinate(domain)
    width = 1.5 / cells * mm
    W = potential_energy(potential, [c, (E[0, 0] + E[1, 1]) / root, e2, root * E[0, 1]])
    W += 8.0 * width**2 * ufl.inner(ufl.grad(c), ufl.grad(c)) - 0.02 * ufl.cos(place[0]) * ufl.cos(place[1]) * e2
    bcs = []
    for i in range(2):
        part = V.sub(2).sub(i)
        side = mesh.locate_entities_boundary(
            domain, 1, lambda x, i=i: np.isclose(x[i] * (mm - x[i]), 0.0, atol=1e-9 * mm**2)
        )
        bcs.append(fem.dirichletbc(0.0, fem.locate_dofs_topological(part, 1, side), part))
    flow = CahnHilliard(
        W * ufl.dx(degree=2),
        state,
        petsc_options_prefix=f"spinodal_{mm:g}_",
        mobility=mm**2,
        viscous=[(G, 1e-3)],
        bcs=bcs,
    )
    part, dofs = V.sub(0).collapse()
    start = fem.Function(part)
    start.interpolate(lambda x: 0.45 + 0.02 * np.cos(3.0 * np.pi * x[0] / mm) * np.cos(2.0 * np.pi * x[1] / mm + 1.0))
    state.x.array[dofs] = start.x.array
    state.x.scatter_forward()
    rich = fem.form(ufl.conditional(ufl.gt(c, 0.5), 1.0, 0.0) * ufl.dx(degree=2))
    run = Evolution(flow, 1e-5, tolerance=2e-2 if quick else 8e-3, observe={"rich": lambda: total(rich) / mm**2})
    table = run.run(0.1, steps=25 if quick else 80)
    found.values = {"energy": (table["energy"] / mm**2).tolist(), "mass": (table["mass"] / mm**2).tolist(),
                    "time": table["time"].tolist(), "rich": table["rich"].tolist()}  # fmt: skip
    found.counts = [len(table["time"]), run.rejected]
    found.iterations = int(table["iterations"].sum())
    return found


CASES: dict[str, tuple[Callable[[float, bool], Figures], float]] = {
    "plate": (plate, UNIQUE),
    "bar": (bar, COMPETING),
    "twins": (twins, COMPETING),
    "cell": (cell, COMPETING),
    "arch": (arch, UNIQUE),
    "spinodal": (spinodal, UNIQUE),
}


def compared(found: dict[str, Figures]) -> dict[str, Any]:
    """The largest difference to the figures in mm, as a share of the largest figure of its kind; and the counts."""
    base, differences = found["mm"], {}
    for name, values in base.values.items():
        worst, size = 0.0, max(np.abs(values).max(), np.finfo(float).tiny)
        for other in found.values():
            theirs = other.values[name]
            alike = len(theirs) == len(values)
            worst = max(worst, float(np.abs(np.subtract(theirs, values)).max() / size) if alike else np.inf)
        differences[name] = worst
    return {
        "difference": max(differences.values()),
        "differences": differences,
        "counts_agree": all(other.counts == base.counts for other in found.values()),
        "iterations": [found[unit].iterations for unit in UNITS if unit in found],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="coarse meshes, few steps")
    parser.add_argument("--only", nargs="+", choices=list(CASES), default=list(CASES), help="these problems")
    parser.add_argument("--out", type=Path, help="write the table to units.md in this folder")
    options = parser.parse_args()
    logging.getLogger("lse_material").setLevel(logging.ERROR)
    figures: dict[str, Any] = {}
    rows = ["| problem | largest difference | allowed | counts | iterations in m, mm, um |", "|---|---|---|---|---|"]
    right = True
    for name in options.only:
        make, allowed = CASES[name]
        start, found, errors = time.perf_counter(), {}, {}
        for unit, mm in UNITS.items():
            try:
                found[unit] = make(mm, options.quick)
            except lse.LseError as error:
                errors[unit] = str(error)
        if errors:
            figures[name] = {"errors": errors}
            right = False
            row = f"| {name} | " + "; ".join(f"{unit}: {text[:120]}" for unit, text in errors.items()) + " | | | |"
        else:
            figure = figures[name] = {**compared(found), "allowed": allowed}
            least, most = min(figure["iterations"]), max(figure["iterations"])
            figure["right"] = bool(
                figure["difference"] <= allowed and figure["counts_agree"] and most <= 1.1 * least + 3
            )
            right = right and figure["right"]
            iterations = ", ".join(str(count) for count in figure["iterations"])
            counts = "equal" if figure["counts_agree"] else "differ"
            row = f"| {name} | {figure['difference']:.1e} | {allowed:.0e} | {counts} | {iterations} |"
        rows.append(row)
        if COMM.rank == 0:
            print(f"{row} {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    if COMM.rank == 0:
        print("\n".join(rows))
        if options.out:
            options.out.mkdir(parents=True, exist_ok=True)
            (options.out / "units.md").write_text("\n".join(rows) + "\n")
        print(json.dumps({**short(figures), "right": right}))
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
