"""The exported user subroutine in CalculiX: one element in tension, in shear and let go, against FEniCSx.

    python3 benchmarks/calculix.py --source CalculiX/ccx_2.23/src --libraries "-lspooles -larpack -llapack -lblas -lpthread"

SOURCE holds CalculiX as its Makefile builds it: ccx_2.23.o and ccx_2.23.a. The exported file is linked before the archive, so
that its `umat` and `umat_user` are taken. Prints one line of JSON: per test the largest difference of displacements, of nodal
forces, of Cauchy stresses and of mode weights, each as a share of the largest one, and the number of Newton's iterations.
CalculiX prints seven digits. After the last step of `relaxation` the forces vanish: its differences are shares of those before.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

import lse_material as lse
from lse_material.export import export
from lse_material.model import mandel

CORNERS = np.array(
    [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)], dtype=float
)
INCREMENTS = 10
Step = dict[tuple[int, int], float]  # (corner, direction) -> displacement


def material() -> lse.Material:
    """Three wells, stretched along one axis each, with barriers between them."""
    stretches = ([0.95, 0.95, 1.12], [1.12, 0.95, 0.95], [0.95, 1.12, 0.95])
    modes = []
    for k, stretch in enumerate(stretches):
        centre, root = mandel(0.5 * (np.diag(stretch) ** 2 - np.eye(3))), np.sqrt(2.0 + 0.3 * k)
        level = 0.01 * k + 0.5 * root**2 * centre @ centre
        modes.append(lse.ConvexNetwork.from_arrays([], [[-(root**2) * centre]], [[level]], quadratic=root * np.eye(6)))
    return lse.Material(lse.SoftMinimum(tuple(modes), 0.02), lse.GreenLagrange(3), lse.Growth(0.5))


def tests() -> dict[str, list[Step]]:
    """Prescribed displacements of each step."""
    sides: Step = {(a, i): 0.0 for a, i in itertools.product(range(8), range(3)) if CORNERS[a, i] == 0.0}
    top = [a for a in range(8) if CORNERS[a, 2] == 1.0]
    shear = {(a, i): 0.0 for a in range(8) for i in range(3) if i != 1 or CORNERS[a, 1] == 0.0}
    return {
        "tension": [sides | {(a, 2): 0.11 for a in top}],
        "shear": [shear | {(a, 0): 0.15 for a in top}],
        "relaxation": [sides | {(a, 2): 0.15 for a in top}, sides],
    }


def deck(steps: list[Step]) -> str:
    """Input of CalculiX."""
    nodes = "\n".join(f"{a + 1}, {x}, {y}, {z}" for a, (x, y, z) in enumerate(CORNERS))
    text = f"*NODE, NSET=ALL\n{nodes}\n*ELEMENT, TYPE=C3D8, ELSET=CUBE\n1, 1, 2, 3, 4, 5, 6, 7, 8\n"
    text += "*MATERIAL, NAME=USERCELL\n*USER MATERIAL, CONSTANTS=1\n0.\n*DEPVAR\n3\n"
    text += "*SOLID SECTION, ELSET=CUBE, MATERIAL=USERCELL\n"
    for step in steps:
        prescribed = "\n".join(f"{a + 1}, {i + 1}, {i + 1}, {value!r}" for (a, i), value in step.items())
        text += f"*STEP, NLGEOM, INC=500\n*STATIC\n{1 / INCREMENTS}, 1., 1e-6, {1 / INCREMENTS}\n"
        text += f"*CONTROLS, PARAMETERS=FIELD\n1e-9, 1e-9\n*BOUNDARY, OP=NEW\n{prescribed}\n"
        text += "".join(f"*NODE PRINT, NSET=ALL, FREQUENCY=1000\n{name}\n" for name in ("U", "RF"))
        text += "*EL PRINT, ELSET=CUBE, FREQUENCY=1000\nS, SDV\n*END STEP\n"
    return text


def by_calculix(program: Path, name: str, steps: list[Step]) -> tuple[list[list[np.ndarray]], int]:
    """Displacements, forces (8, 3), stresses (8, 6) and mode weights (8, 3) after each step, and the number of iterations."""
    (program.parent / f"{name}.inp").write_text(deck(steps))
    done = subprocess.run([program, "-i", name], cwd=program.parent, capture_output=True, text=True, check=True)
    lines = (program.parent / f"{name}.dat").read_text().splitlines()
    rows = [[float(word) for word in line.split()] for line in lines if re.match(r"\s+\d+\s+-?\d", line)]
    blocks = [
        np.array([row[1 if n % 4 < 2 else 2 :] for row in rows[8 * n : 8 * n + 8]]) for n in range(len(rows) // 8)
    ]
    return [blocks[4 * n : 4 * n + 4] for n in range(len(steps))], len(re.findall("iteration +[0-9]", done.stdout))


def by_fenicsx(cell: lse.Material, steps: list[Step]) -> list[list[np.ndarray]]:
    """Displacements, forces, Cauchy stresses and mode weights at the end of each step."""
    domain = mesh.create_unit_cube(MPI.COMM_SELF, 1, 1, 1, mesh.CellType.hexahedron)
    V = fem.functionspace(domain, ("Lagrange", 1, (3,)))
    u = fem.Function(V)
    at = [int(np.argmin(np.abs(V.tabulate_dof_coordinates() - corner).sum(1))) for corner in CORNERS]
    W = lse.fem.energy(cell, ufl.Identity(3) + ufl.grad(u)) * ufl.dx(degree=2)
    forces = fem.form(ufl.derivative(W, u, ufl.TestFunction(V)))
    found, last = [], np.zeros((8, 3))
    for step in steps:
        for share in np.linspace(0.0, 1.0, INCREMENTS + 1)[1:]:
            bcs = [
                fem.dirichletbc(last[a, i] + share * (v - last[a, i]), np.array([3 * at[a] + i], np.int32), V.sub(i))
                for (a, i), v in step.items()
            ]
            lse.fem.EnergyProblem(W, u, bcs=bcs, petsc_options_prefix="cube_").solve()
        last = u.x.array.reshape(-1, 3)[at].copy()
        F = np.eye(3) + np.linalg.lstsq(np.c_[CORNERS, np.ones(8)], last, rcond=None)[0][:3].T
        s = cell.stress(F) @ F.T / np.linalg.det(F)
        stress = np.array([s[0, 0], s[1, 1], s[2, 2], s[0, 1], s[0, 2], s[1, 2]])
        found.append(
            [
                last,
                fem.assemble_vector(forces).array.reshape(-1, 3)[at],
                np.tile(stress, (8, 1)),
                np.tile(cell.mode_weights(F), (8, 1)),
            ]
        )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True, help="folder with ccx_*.o and ccx_*.a")
    parser.add_argument("--libraries", default="-lspooles -larpack -llapack -lblas -lpthread")
    options, figures = parser.parse_args(), {}
    cell = material()
    with tempfile.TemporaryDirectory() as folder:
        text, program = Path(folder, "cell.f"), Path(folder, "ccx")
        export(cell, text)
        parts = [*options.source.glob("ccx_*[0-9].o"), text, *options.source.glob("ccx_*.a")]
        subprocess.run(["gfortran", "-O2", *parts, *options.libraries.split(), "-o", program], check=True)
        for name, steps in tests().items():
            theirs, iterations = by_calculix(program, name, steps)
            ours = by_fenicsx(cell, steps)
            shares = []
            for quantity in range(4):
                largest = max(np.abs(step[quantity]).max() for step in ours)
                shares.append(
                    float(max(np.abs(a[quantity] - b[quantity]).max() for a, b in zip(theirs, ours)) / largest)
                )
            figures[name] = dict(zip(("displacement", "force", "stress", "mode weights"), shares)) | {
                "iterations": iterations
            }
            print(f"{name}: {figures[name]}", file=sys.stderr)
    print(json.dumps(figures))
    return 0 if all(value < 1e-6 for f in figures.values() for key, value in f.items() if key != "iterations") else 1


if __name__ == "__main__":
    sys.exit(main())
