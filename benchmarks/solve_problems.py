"""The bodies of `solve.py`: a block of twins in 3D, a plate with a hole, a square of twins, a specimen that buckles inside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import large
import numpy as np
import ufl
from dolfinx import fem, mesh
from dolfinx.io import gmsh
from mpi4py import MPI

import lse_material as lse
from lse_material.fem import MULTIGRID, interior_penalty

COMM = MPI.COMM_WORLD
ROOT = Path(__file__).parents[1]
STRETCH, SCALE = 0.05, 2e-4  # of two variants in the plane: E11 - E22 = +-2 STRETCH; their transition scale
COMPRESSION, CELLS, LENGTH = 0.06, 6, 0.5  # of the specimen: nominal strain, cells across, width of a boundary in cells


@dataclass(frozen=True, eq=False)
class Body:
    """A body, its load, and where its unknown starts.

    Attributes:
        u: the displacement.
        degree: of the quadrature.
        bcs: Dirichlet conditions.
        material: whose energy is minimised.
        start: sets u.
        apply: sets the load.
        levels: of the load.
        extra: a functional of u that is added to the energy; None for none.
        options: of PETSc, for an `EnergyProblem`.
        linear: options of the linear solver of Newton's method for a neo-Hookean body.
        tolerance: of an `EnergyProblem`.
    """

    u: fem.Function
    degree: int
    bcs: Sequence[fem.DirichletBC]
    material: lse.Material
    start: Callable[[], None]
    apply: Callable[[float], None] = lambda level: None
    levels: Sequence[float] = (1.0,)
    extra: ufl.Form | None = None
    options: Mapping[str, Any] | None = None
    linear: Mapping[str, Any] | None = None
    tolerance: float = 1e-6

    def functional(self, energy: Callable[[Any], Any]) -> ufl.Form:
        """The energy of the body with an energy density W(F)."""
        F = ufl.Identity(len(self.u)) + ufl.grad(self.u)
        Pi = energy(F) * ufl.dx(degree=self.degree)
        return Pi if self.extra is None else Pi + self.extra


def block(cells: int, start: str) -> Body:
    """The block of `large.py` between ends at the mean of two variants: from their laminate, or from random waves."""
    V = fem.functionspace(mesh.create_unit_cube(COMM, cells, cells, cells), ("Lagrange", 1, (3,)))
    u, given = fem.Function(V), fem.Function(V)
    a, n = large.twins()
    mean = large.well(0) + 0.5 * np.outer(a, n) - np.eye(3)
    given.interpolate(lambda x: mean @ x)
    ends = fem.locate_dofs_geometrical(V, lambda x: np.isclose(x[0], 0.0) | np.isclose(x[0], 1.0))

    def laminate(x: np.ndarray) -> np.ndarray:
        period = np.sqrt(0.5) / large.LAMINAE
        at = (n @ x) / period
        layers = period * (np.floor(at) * 0.5 + np.maximum(at - np.floor(at) - 0.5, 0.0))
        return (large.well(0) - np.eye(3)) @ x + np.outer(a, layers)

    def waves(x: np.ndarray) -> np.ndarray:
        return mean @ x + random_waves(x, 0, 3, 4.0 * np.pi, 0.02) * x[0] * (1.0 - x[0])

    def ripple(x: np.ndarray) -> np.ndarray:
        wave = np.array([np.sin(6 * x[1]), np.cos(5 * x[2]), np.sin(7 * x[0])])
        return mean @ x + 0.01 * x[0] * (1 - x[0]) * wave

    shape = {"laminate": laminate, "waves": waves, "ripple": ripple}[start]
    gamg = {key: value for key, value in MULTIGRID.items() if key.startswith(("pc_", "mg_")) and "reuse" not in key}
    return Body(
        u,
        1,
        [fem.dirichletbc(given, ends)],
        large.martensite(),
        lambda: u.interpolate(shape),
        options=MULTIGRID,
        linear={"ksp_type": "cg", "ksp_rtol": 1e-4, **gamg},
    )


def two_variants() -> lse.Material:
    """Two wells in the plane, lame = shear = 1."""
    stiffness = np.pad(np.ones((2, 2)), (0, 1)) + 2.0 * np.eye(3)
    centre = np.array([STRETCH, -STRETCH, 0.0])
    return large.quadratic_wells([centre, -centre], stiffness, SCALE)


def plate(steps: int, refinements: int) -> Body:
    """A plate with a hole, all of it in the variant that is short along its axis, pulled into the other."""
    domain = gmsh.read_from_msh(ROOT / "meshes" / "plate_with_hole.msh", COMM, gdim=2).mesh
    for _ in range(refinements):
        domain.topology.create_entities(1)
        domain = mesh.refine(domain)[0]
    V = fem.functionspace(domain, ("Lagrange", 1, (2,)))
    u, pulled, zero = fem.Function(V), fem.Constant(domain, 0.0), fem.Constant(domain, 0.0)
    short, long = np.sqrt(1.0 - 2.0 * STRETCH), np.sqrt(1.0 + 2.0 * STRETCH)
    bcs = [
        fixed(V, 0, lambda x: np.isclose(x[0], -1.0), zero),
        fixed(V, 0, lambda x: np.isclose(x[0], 1.0), pulled),
        fixed(V, 1, lambda x: np.isclose(x[0], -1.0) & np.isclose(x[1], 0.0, atol=1e-8), zero),
    ]

    def apply(stretch: float) -> None:
        pulled.value = 2.0 * (stretch - 1.0)

    return Body(
        u,
        1,
        bcs,
        two_variants(),
        lambda: u.interpolate(lambda x: np.stack([(short - 1.0) * (x[0] + 1.0), (long - 1.0) * x[1]])),
        apply,
        [float(s) for s in np.linspace(short, long, steps + 1)[1:]],
    )


def square(cells: int, seed: int) -> Body:
    """A square whose boundary is at the mean of two variants, from random waves."""
    domain = mesh.create_unit_square(COMM, cells, cells)
    V = fem.functionspace(domain, ("Lagrange", 1, (2,)))
    u, zero = fem.Function(V), fem.Function(V)
    rim = fem.locate_dofs_geometrical(V, lambda x: np.isclose(x[0] * (1 - x[0]) * x[1] * (1 - x[1]), 0.0))
    inside = lambda x: x[0] * (1.0 - x[0]) * x[1] * (1.0 - x[1])  # noqa: E731
    waves = lambda x: 16.0 * random_waves(x, seed, 2, 8.0 * np.pi, 2e-3) * inside(x)  # noqa: E731
    return Body(u, 1, [fem.dirichletbc(zero, rim)], two_variants(), lambda: u.interpolate(waves))


def specimen(steps: int) -> Body:
    """A square of the fitted porous cell, whose holes buckle, between plates to which it is bonded."""
    domain = mesh.create_rectangle(COMM, [[0.0, 0.0], [CELLS, CELLS]], [2 * CELLS, 2 * CELLS])
    V = fem.functionspace(domain, ("Lagrange", 2, (2,)))
    u, pressed, zero = fem.Function(V), fem.Constant(domain, 0.0), fem.Constant(domain, 0.0)
    bcs = [fixed(V, i, lambda x: np.isclose(x[1], 0.0), zero) for i in range(2)]
    bcs += [fixed(V, i, lambda x: np.isclose(x[1], CELLS), pressed if i else zero) for i in range(2)]

    def apply(strain: float) -> None:
        pressed.value = -strain * CELLS

    material = lse.load(ROOT / "demos" / "materials" / "porous_cell.safetensors")
    return Body(
        u,
        2,
        bcs,
        material,
        lambda: u.x.array.fill(0.0),
        apply,
        [float(e) for e in np.linspace(0.0, COMPRESSION, steps + 1)[1:]],
        extra=interior_penalty(u, length=LENGTH, modulus=1.0, degree=2),
    )


def fixed(V: fem.FunctionSpace, component: int, where: Callable[..., Any], value: fem.Constant) -> fem.DirichletBC:
    """A condition on one component."""
    dofs = fem.locate_dofs_geometrical((V.sub(component), V.sub(component).collapse()[0]), where)[0]
    return fem.dirichletbc(value, dofs, V.sub(component))


def random_waves(x: np.ndarray, seed: int, dim: int, number: float, size: float) -> np.ndarray:
    """Twelve random waves, the same on any number of ranks."""
    rng, result = np.random.default_rng(seed), np.zeros((dim, x.shape[1]))
    for _ in range(12):
        wave, phase = number * rng.normal(size=dim), rng.uniform(0.0, 2.0 * np.pi)
        result += size * np.outer(rng.normal(size=dim), np.sin(wave @ x[:dim] + phase))
    return result
