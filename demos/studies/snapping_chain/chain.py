"""A chain of rows between two plates: resolved down to its beams, or one bar element per row with the energy of the cell.

Both move in a guide without friction, so that the lateral stretch is 1. The plates press the chain together.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ufl
from dolfinx import fem, mesh
from lattice import HEIGHT, TURNED, energy, lattice, material_tangent
from mpi4py import MPI

import lse_material as lse
from lse_material.fem import EnergyProblem, LoadPath, potential_energy

COMM = MPI.COMM_WORLD
PERTURBATION = 0.01


class Chain:
    """`rows` rows of which u is the displacement: along the guide in its last component, across it in the one before."""

    def __init__(self, u: fem.Function, Pi: ufl.Form, rows: int, *, name: str, frozen: ufl.Form | None = None) -> None:
        self.u, self.rows = u, rows
        V = u.function_space
        domain, self._components = V.mesh, V.dofmap.index_map_bs
        along = V if self._components == 1 else V.sub(1)
        facet = domain.topology.dim - 1

        def side(axis: int, place: float) -> Any:
            return mesh.locate_entities_boundary(domain, facet, lambda x: np.isclose(x[axis], place))

        self._axis = domain.geometry.dim - 1
        self.pressed, zero = fem.Constant(domain, 0.0), fem.Constant(domain, 0.0)
        ends = [fem.locate_dofs_topological(along, facet, side(self._axis, y)) for y in (0.0, rows * HEIGHT)]
        self.plate = fem.dirichletbc(self.pressed, ends[1], along)
        bcs = [fem.dirichletbc(zero, ends[0], along), self.plate]
        if self._components == 2:
            guides = [fem.locate_dofs_topological(V.sub(0), facet, side(0, x)) for x in (0.0, 1.0)]
            bcs += [fem.dirichletbc(zero, dofs, V.sub(0)) for dofs in guides]
        self.problem = EnergyProblem(Pi, u, bcs=bcs, petsc_options_prefix=f"{name}_{rows}_", frozen=frozen)
        self.unknowns = V.dofmap.index_map.size_global * self._components
        self._joints = self._nodes_of_joints()

    def _nodes_of_joints(self) -> list[tuple[int, int]]:
        """Joint between rows and its node in the guide, for those that this rank owns."""
        V = self.u.function_space
        x = V.tabulate_dof_coordinates()[: V.dofmap.index_map.size_local]
        guide = np.isclose(x[:, 0], 0.0) if self._components == 2 else np.full(len(x), True)
        found = [np.flatnonzero(guide & np.isclose(x[:, self._axis], j * HEIGHT)) for j in range(self.rows + 1)]
        return [(joint, int(nodes[0])) for joint, nodes in enumerate(found) if len(nodes)]

    def press(self, strain: float) -> None:
        """Set the nominal strain; compression is positive."""
        self.pressed.value = -strain * self.rows * HEIGHT

    def stress(self) -> float:
        """Force of the plate over the width; compression is positive."""
        return -self.problem.reaction(self.plate)

    def strains(self) -> np.ndarray:
        """Nominal strain of each row, (rows,); compression is positive. Collective."""
        u = self.u.x.array.reshape(-1, self._components)[:, -1]
        moved = np.zeros(self.rows + 1)
        for joint, node in self._joints:
            moved[joint] = u[node]
        return np.asarray(-np.diff(COMM.allreduce(moved, MPI.SUM)) / HEIGHT)

    def turned(self) -> float:
        """How many rows have turned over."""
        return float((self.strains() > 0.5 * TURNED).sum())


def resolved(rows: int, comm: MPI.Comm = COMM) -> Chain:
    """Every beam meshed."""
    domain = lattice(comm, rows)
    V = fem.functionspace(domain, ("Lagrange", 2, (2,)))
    u = fem.Function(V, name="displacement")
    F, dx = ufl.Identity(2) + ufl.grad(u), ufl.dx(degree=4)
    gradients = ufl.grad(ufl.TestFunction(V)), ufl.grad(ufl.TrialFunction(V))
    return Chain(u, energy(F) * dx, rows, name="resolved", frozen=material_tangent(F, *gradients) * dx)


def homogeneous(potential: lse.SoftMinimum, rows: int) -> Chain:
    """A bar of the fitted W(F_22 - 1), an element for each row: below a row there is no structure."""
    domain = mesh.create_interval(COMM, rows, [0.0, rows * HEIGHT])
    u = fem.Function(fem.functionspace(domain, ("Lagrange", 1)), name="displacement")
    return Chain(u, potential_energy(potential, [u.dx(0)]) * ufl.dx(degree=1), rows, name="homogeneous")


@dataclass(frozen=True, eq=False)
class Cycle:
    """A chain pressed together and let go.

    Attributes:
        strain, stress: nominal, compression positive.
        turned: rows that have turned over.
        unknowns: of the finite element problem.
        seconds: CPU time of all ranks together.
    """

    strain: np.ndarray
    stress: np.ndarray
    turned: np.ndarray
    unknowns: int
    seconds: float

    @property
    def turn(self) -> int:
        """The step of largest strain."""
        return int(np.argmax(self.strain))

    def curve(self) -> tuple[np.ndarray, np.ndarray]:
        """Strain and stress of pressing and letting go, from 0."""
        return np.append(0.0, self.strain), np.append(0.0, self.stress)

    @property
    def work(self) -> float:
        """Of pressing the chain together, per volume."""
        strain, stress = (values[: self.turn + 2] for values in self.curve())
        return float(np.trapezoid(stress, strain))

    @property
    def dissipated(self) -> float:
        """Work that is lost in jumps, per volume: the area of the loop."""
        strain, stress = self.curve()
        return float(np.trapezoid(stress, strain))

    @property
    def peak(self) -> float:
        """The highest tooth of the sawtooth, as the first half of pressing shows it."""
        return float(self.stress[: self.turn // 2].max())

    def one_by_one(self, rows: int) -> bool:
        """Whether all rows turn over and back, one at a time."""
        steps = np.diff(np.append(0.0, self.turned))
        there, back = steps[: self.turn + 1], steps[self.turn + 1 :]
        return bool(set(there) <= {0.0, 1.0} and set(back) <= {0.0, -1.0} and there.sum() == -back.sum() == rows)


def cycle(
    chain: Chain, steps: int, checkpoint: Path | None = None, half_way: Callable[[], None] | None = None
) -> Cycle:
    """Press it until all rows have turned over, and back; with a checkpoint, from where an earlier run was killed.

    `half_way` is called when half of the rows have turned over, or about so.
    """
    last = [time.process_time()]

    def seconds() -> float:
        now = time.process_time()
        spent, last[0] = now - last[0], now
        return float(COMM.allreduce(spent, MPI.SUM))

    observed = {"stress": chain.stress, "turned": chain.turned, "seconds": seconds}
    path = LoadPath(chain.problem, chain.press, observed, perturbation_size=PERTURBATION, checkpoint=checkpoint)
    done = path.resume() if checkpoint is not None else 0
    there = 1.05 * TURNED * np.arange(1, steps + 1) / steps
    levels = [*there, *there[-2::-1], 0.0]
    if half_way is not None and done <= steps // 2:
        path.run(levels[: steps // 2])
        half_way()
    table = path.run(levels)
    return Cycle(table["load"], table["stress"], table["turned"], chain.unknowns, float(table["seconds"].sum()))
