"""Exported modules in finite element codes that are not ours: FElupe with the JAX file, torch-fem with the torch file.

A unit cube of 3 x 3 x 3 trilinear elements is clamped below and pulled by 12 % through the transformation of a material with
three wells. FEniCSx solves it by the energy in the form; the others have the exported file alone. Codes that are not installed
(felupe and jax; torch-fem) are left out. One line of JSON: the largest difference of displacements of each from FEniCSx,
divided by the largest displacement.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import ufl
from calculix import material
from dolfinx import fem, mesh
from mpi4py import MPI

import lse_material as lse
from lse_material.export import export

CELLS, PULL, STEPS = 3, 0.12, 6


def by_fenicsx() -> tuple[np.ndarray, np.ndarray]:
    """Nodes and their displacements, (n, 3)."""
    domain = mesh.create_unit_cube(MPI.COMM_SELF, CELLS, CELLS, CELLS, mesh.CellType.hexahedron)
    V = fem.functionspace(domain, ("Lagrange", 1, (3,)))
    u = fem.Function(V)
    W = lse.fem.energy(material(), ufl.Identity(3) + ufl.grad(u)) * ufl.dx(degree=3)
    below = fem.locate_dofs_geometrical(V, lambda x: np.isclose(x[2], 0.0))
    above = fem.locate_dofs_geometrical(V, lambda x: np.isclose(x[2], 1.0))
    for pull in np.linspace(0.0, PULL, STEPS + 1)[1:]:
        bcs = [fem.dirichletbc(np.zeros(3), below, V), fem.dirichletbc(np.array([0.0, 0.0, pull]), above, V)]
        lse.fem.EnergyProblem(W, u, bcs=bcs, petsc_options_prefix="cube_").solve()
    return V.tabulate_dof_coordinates(), u.x.array.reshape(-1, 3)


def by_felupe(cell: Any) -> tuple[np.ndarray, np.ndarray]:
    """The same by FElupe; `cell` is the exported JAX module."""
    import felupe
    import jax

    stress, tangent = jax.jit(cell.stress), jax.jit(cell.tangent)

    def points_first(F: np.ndarray) -> np.ndarray:
        return np.moveaxis(F, (0, 1), (-2, -1))

    def points_last(values: Any, axes: int) -> np.ndarray:
        return np.ascontiguousarray(np.moveaxis(np.asarray(values), range(-axes, 0), range(axes)))

    given = felupe.Material(
        stress=lambda x, **_: [points_last(stress(points_first(x[0])), 2), x[-1]],
        elasticity=lambda x, **_: [points_last(tangent(points_first(x[0])), 4)],
    )
    cube = felupe.Cube(n=CELLS + 1)
    field = felupe.FieldContainer([felupe.Field(felupe.RegionHexahedron(cube), dim=3)])
    body = felupe.SolidBody(given, field)
    bounds = {
        "below": felupe.Boundary(field[0], fz=0.0),
        "aside": felupe.Boundary(field[0], fz=1.0, skip=(0, 0, 1)),
        "above": felupe.Boundary(field[0], fz=1.0, skip=(1, 1, 0)),
    }
    for pull in np.linspace(0.0, PULL, STEPS + 1)[1:]:
        bounds["above"].value = pull
        dof0, dof1 = felupe.dof.partition(field, bounds)
        prescribed = felupe.dof.apply(field, bounds, dof0)
        felupe.newtonrhapson(items=[body], dof0=dof0, dof1=dof1, ext0=prescribed, tol=1e-12, verbose=0)
    return cube.points, field[0].values


def by_torch_fem(cell: Any) -> tuple[np.ndarray, np.ndarray]:
    """The same by torch-fem; `cell` is the exported torch module."""
    import torch
    from torchfem import Solid
    from torchfem.materials import Hyperelastic3D
    from torchfem.mesh import cube_hexa

    torch.set_default_dtype(torch.float64)
    energy = cell.Material()
    nodes, elements = cube_hexa(CELLS + 1, CELLS + 1, CELLS + 1)
    nodes = nodes.double()
    body = Solid(nodes, elements, Hyperelastic3D(lambda F, _: energy(F), [0.0]))
    below, above = nodes[:, 2] == 0.0, nodes[:, 2] == 1.0
    body.constraints[below | above, :] = True
    body.displacements[above, 2] = PULL
    u, *_ = body.solve(increments=torch.linspace(0.0, 1.0, STEPS + 1), rtol=1e-10, atol=1e-12)
    return nodes.numpy(), u.detach().numpy()


def main() -> int:
    nodes, exact = by_fenicsx()
    codes = {"felupe": ("jax", by_felupe), "torchfem": ("torch", by_torch_fem)}
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        for code, (language, solve) in codes.items():
            if importlib.util.find_spec(code) is None:
                continue
            path = Path(folder, f"exported_{language}.py")
            export(material(), path, language=language)
            sys.path.insert(0, folder)
            theirs, u = solve(importlib.import_module(path.stem))
            at = [int(np.argmin(np.abs(nodes - node).sum(1))) for node in theirs]
            figures[code] = float(np.abs(u - exact[at]).max() / np.abs(exact).max())
    print(json.dumps(figures))
    return 0 if all(difference < 1e-9 for difference in figures.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
