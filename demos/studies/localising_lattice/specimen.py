"""A specimen in a channel between two plates, of every beam or of a homogenised material.

The plates press lower and upper side together, and the walls of the channel hold the other two; all are smooth. (At a free side
the beams of the last cells push their feet outwards, which a homogenised body does not know.) One row is weak by a hundredth:
its energy is WEAK times that of the others, with every beam and in the homogenised specimen alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import ufl
from dolfinx import fem, mesh
from lattice import HEIGHT, block, energy, material_tangent
from mpi4py import MPI

import lse_material as lse
from lse_material.fem import Cells, EnergyProblem, LoadPath, gather_cells, interior_penalty

COMM = MPI.COMM_WORLD
WEAK = 0.99
LENGTH = 0.05 * HEIGHT  # of the gradient energy: collapsed and upright rows meet within the bar between them
PERTURBATION = 0.005
EQUAL = 1e-9  # of coordinates


class Specimen:
    """[0, columns] x [0, rows HEIGHT], in which the row `weak`, from below, is weak.

    `kappa` > 0 adds the energy of second gradients kappa/2 |grad grad u|^2. `positive` is a bilinear form in place of the
    frozen-weight tangent, for an energy that is no LSE-ICNN.
    """

    def __init__(
        self,
        domain: mesh.Mesh,
        energy: Callable[[Any], Any],
        size: tuple[int, int],
        weak: int,
        *,
        name: str,
        kappa: float = 0.0,
        positive: Callable[[Any, Any, Any], Any] | None = None,
    ) -> None:
        self.domain, (self.columns, self.rows) = domain, size
        V = fem.functionspace(domain, ("Lagrange", 2, (2,)))
        self.u = fem.Function(V, name="displacement")
        strength = fem.Function(fem.functionspace(domain, ("DG", 0)))
        strength.x.array[:] = 1.0
        low, high = weak * HEIGHT - EQUAL, (weak + 1) * HEIGHT + EQUAL
        strength.x.array[mesh.locate_entities(domain, 2, lambda x: (x[1] > low) & (x[1] < high))] = WEAK
        F, dx = ufl.Identity(2) + ufl.grad(self.u), ufl.dx(degree=4)
        Pi = strength * energy(F) * dx
        gradients = [ufl.grad(argument(V)) for argument in (ufl.TestFunction, ufl.TrialFunction)]
        frozen = None if positive is None else strength * positive(F, *gradients) * dx
        if kappa > 0.0:
            Pi += interior_penalty(self.u, length=LENGTH, modulus=kappa / LENGTH**2, degree=4)
        self.pressed, zero = fem.Constant(domain, 0.0), fem.Constant(domain, 0.0)
        self.upper = self._fixed(1, self.rows * HEIGHT, self.pressed)
        walls = [self._fixed(0, x, zero) for x in (0.0, self.columns)]
        bcs = [self._fixed(1, 0.0, zero), self.upper, *walls]
        self.problem = EnergyProblem(Pi, self.u, bcs=bcs, petsc_options_prefix=f"{name}_", frozen=frozen)
        self.unknowns = V.dofmap.index_map.size_global * V.dofmap.index_map_bs

    def _fixed(self, axis: int, place: float, value: fem.Constant) -> fem.DirichletBC:
        """A smooth plate or wall across an axis."""
        V = self.u.function_space.sub(axis)
        facets = mesh.locate_entities_boundary(self.domain, 1, lambda x: np.isclose(x[axis], place))
        return fem.dirichletbc(value, fem.locate_dofs_topological(V, 1, facets), V)

    def press(self, strain: float) -> None:
        """Set the nominal strain; compression is positive."""
        self.pressed.value = -strain * self.rows * HEIGHT

    def stress(self) -> float:
        """Force of a plate over the width; compression is positive."""
        return -self.problem.reaction(self.upper) / self.columns

    def strains(self) -> np.ndarray:
        """Nominal strain of each row, from the mean displacement of the nodes between rows, (rows,). Collective."""
        V = self.u.function_space
        own = V.dofmap.index_map.size_local
        y, u = V.tabulate_dof_coordinates()[:own, 1], self.u.x.array[1 : 2 * own : 2]
        border = np.round(y / HEIGHT).astype(int)
        on = np.abs(y - border * HEIGHT) < EQUAL
        sums = [np.bincount(border[on], values, self.rows + 1) for values in (u[on], np.ones(on.sum()))]
        moved, count = COMM.allreduce(np.array(sums), MPI.SUM)
        return np.asarray(-np.diff(moved / count) / HEIGHT)

    def drawn(self) -> Cells | None:
        """The deformed specimen and the strain of the row of each element, on rank 0; None elsewhere. Collective."""
        of_row = fem.Function(fem.functionspace(self.domain, ("DG", 0)))
        strains = self.strains()
        of_row.interpolate(lambda x: strains[np.clip(np.floor(x[1] / HEIGHT).astype(int), 0, self.rows - 1)])
        return gather_cells(of_row, displacement=self.u)


@dataclass(frozen=True, eq=False)
class Compression:
    """What a specimen showed.

    Attributes:
        strain, stress: nominal, compression positive.
        rows: strain of each row, (steps, rows).
        shape: the specimen at the end, on rank 0.
        unknowns: of the finite element problem.
        seconds: CPU time of all ranks together.
    """

    strain: np.ndarray
    stress: np.ndarray
    rows: np.ndarray
    shape: Cells | None
    unknowns: int
    seconds: float

    @property
    def peak(self) -> float:
        """The largest stress up to the first fall by a tenth; of all if it never falls so far."""
        fallen = np.flatnonzero(self.stress < 0.9 * np.maximum.accumulate(self.stress))
        return float(self.stress[: fallen[0] if len(fallen) else None].max())

    def band(self) -> list[int]:
        """Rows that are shorter at the end by more than the mean strain of all, while others have become longer again."""
        longer = self.rows[-1] < self.rows.max(axis=0) - 0.1 * self.strain[-1]
        shorter = self.rows[-1] > 2.0 * self.strain[-1]
        return [int(row) for row in np.flatnonzero(shorter)] if longer.any() else []


def compress(specimen: Specimen, levels: np.ndarray) -> Compression:
    """Press it through the levels."""
    start, rows = time.process_time(), []

    def look() -> float:
        rows.append(specimen.strains())
        return float(rows[-1].max())

    observed = {"stress": specimen.stress, "largest": look}
    path = LoadPath(specimen.problem, specimen.press, observed, perturbation_size=PERTURBATION, progress=False)
    table = path.run(list(levels))
    seconds = COMM.allreduce(time.process_time() - start, MPI.SUM)
    return Compression(
        table["load"], table["stress"], np.array(rows), specimen.drawn(), specimen.unknowns, float(seconds)
    )


def resolved(size: tuple[int, int], weak: int) -> Specimen:
    """Every beam meshed."""
    return Specimen(block(COMM, *size), energy, size, weak, name="resolved", positive=material_tangent)


def homogeneous(
    material: lse.Material, size: tuple[int, int], weak: int, kappa: float, *, name: str, refined: int = 1
) -> Specimen:
    """The same rectangle of a material, `refined` x `refined` elements for each cell."""
    corners, counts = [[0.0, 0.0], [float(size[0]), size[1] * HEIGHT]], [refined * n for n in size]
    domain = mesh.create_rectangle(COMM, corners, counts, mesh.CellType.quadrilateral)
    return Specimen(domain, lambda F: lse.fem.energy(material, F), size, weak, name=name, kappa=kappa)
