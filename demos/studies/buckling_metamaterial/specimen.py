"""A specimen between two plates, of any energy: resolved down to its holes, or homogeneous.

The plates press its lower and upper side together by a given share of its height. Sliding plates leave its ends free to widen
about their middles, which stay in line; bonded ones do not. The other two sides are free.
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
from elastomer import MU, neo_hookean, positive_part, specimen_mesh
from mpi4py import MPI

import lse_material as lse
from lse_material.fem import EnergyProblem, LoadPath, interior_penalty

LEVELS = np.array([0.005, 0.01, 0.02, 0.025, 0.03, 0.035, 0.04, 0.05, 0.06])
FEW = 8  # of them show the plateau
LENGTH = 0.5  # in the energy of second gradients of a homogeneous specimen: half a cell
KNEE = 0.02, 0.035, 0.06  # strains: the first line ends at the first, the plateau lies between the others


class Specimen:
    """The problem of a domain [0, width] x [0, height]; `size` has both.

    `length` > 0 adds an energy of second gradients, so that no layer is thinner than about that; `positive` is a bilinear form
    in place of the frozen-weight tangent, for an energy that is no LSE-ICNN.
    """

    def __init__(
        self,
        domain: mesh.Mesh,
        energy: Callable[[Any], Any],
        size: tuple[float, float],
        *,
        bonded: bool,
        degree: int,
        quadrature_degree: int,
        name: str,
        positive: Callable[[Any, Any, Any], Any] | None = None,
        length: float = 0.0,
    ) -> None:
        (self.width, self.height), self.domain = size, domain
        V = fem.functionspace(domain, ("Lagrange", degree, (2,)))
        self.u = fem.Function(V, name="displacement")
        self.F = ufl.Identity(2) + ufl.grad(self.u)
        self.pressed = fem.Constant(domain, 0.0)
        zero = fem.Constant(domain, 0.0)
        line = domain.topology.dim - 1

        def end(component: int, height: float) -> Any:
            facets = mesh.locate_entities_boundary(domain, line, lambda x: np.isclose(x[1], height))
            return fem.locate_dofs_topological(V.sub(component), line, facets)

        self.top = fem.dirichletbc(self.pressed, end(1, self.height), V.sub(1))
        bcs = [fem.dirichletbc(zero, end(1, 0.0), V.sub(1)), self.top]
        if bonded:
            bcs += [fem.dirichletbc(zero, end(0, height), V.sub(0)) for height in (0.0, self.height)]
        else:  # one node of each plate
            bcs += [fem.dirichletbc(zero, self._one_node(V, height), V.sub(0)) for height in (0.0, self.height)]
        dx = ufl.dx(degree=quadrature_degree)
        gradients = [ufl.grad(argument(V)) for argument in (ufl.TestFunction, ufl.TrialFunction)]
        frozen = None if positive is None else positive(self.F, *gradients) * dx
        Pi = energy(self.F) * dx
        if length > 0.0:
            Pi += interior_penalty(self.u, length=length, modulus=MU, degree=quadrature_degree)
        self.problem = EnergyProblem(Pi, self.u, bcs=bcs, petsc_options_prefix=f"{name}_", frozen=frozen)
        self.unknowns = V.dofmap.index_map.size_global * V.dofmap.index_map_bs

    def _one_node(self, V: fem.FunctionSpace, height: float) -> Any:
        """The degree of freedom of u_x at a node next to the middle of a plate."""
        space, _ = V.sub(0).collapse()
        x = space.tabulate_dof_coordinates()
        low = np.flatnonzero(np.isclose(x[:, 1], height))
        comm = self.domain.comm
        distances = comm.allgather(float(np.abs(x[low, 0] - 0.501 * self.width).min()) if len(low) else np.inf)
        nearest = min(distances)
        found = fem.locate_dofs_geometrical(
            (V.sub(0), space),
            lambda x: np.isclose(x[1], height) & np.isclose(np.abs(x[0] - 0.501 * self.width), nearest),
        )
        return found[0]

    def press(self, strain: float) -> None:
        """Set the nominal strain of the specimen; compression is positive."""
        self.pressed.value = -strain * self.height

    def stress(self) -> float:
        """Force of the plate over the width of the specimen; compression is positive."""
        return -self.problem.reaction(self.top) / self.width


@dataclass(frozen=True, eq=False)
class Curve:
    """Stress against strain, and what it cost.

    Attributes:
        strain, stress: nominal, compression positive.
        unknowns: of the finite element problem.
        seconds: CPU time of all ranks together.
        perturbations: saddles that were left along their lowest mode.
    """

    strain: np.ndarray
    stress: np.ndarray
    unknowns: int
    seconds: float
    perturbations: int

    @property
    def knee(self) -> tuple[float, float]:
        """Strain at which the line through the start and that through the plateau meet, and the plateau's mean stress."""
        stiff = self.strain <= KNEE[0] + 1e-12
        stiffness = float(self.strain[stiff] @ self.stress[stiff] / (self.strain[stiff] @ self.strain[stiff]))
        flat = (self.strain >= KNEE[1] - 1e-12) & (self.strain <= KNEE[2] + 1e-12)
        a, b = np.polyfit(self.strain[flat], self.stress[flat], 1)
        return float(b / (stiffness - a)), float(self.stress[flat].mean())


def compress(
    specimen: Specimen, levels: np.ndarray, *, perturbation_size: float, checkpoint: Path | None = None
) -> Curve:
    """Press it through the levels; with a checkpoint, from where an earlier run was killed."""
    comm, last = specimen.domain.comm, [time.process_time()]

    def seconds() -> float:
        now = time.process_time()
        spent, last[0] = now - last[0], now
        return comm.allreduce(spent, MPI.SUM)

    observed = {"stress": specimen.stress, "seconds": seconds}
    path = LoadPath(
        specimen.problem, specimen.press, observed, perturbation_size=perturbation_size, checkpoint=checkpoint
    )
    if checkpoint is not None:
        path.resume()
    table = path.run(list(levels))
    return Curve(
        table["load"],
        table["stress"],
        specimen.unknowns,
        float(table["seconds"].sum()),
        int(table["perturbations"].sum()),
    )


def resolved(cells: tuple[int, int], fineness: tuple[int, int], *, bonded: bool) -> Specimen:
    """The porous elastomer, every hole meshed."""
    return Specimen(
        specimen_mesh(MPI.COMM_WORLD, cells, fineness), neo_hookean, cells,
        bonded=bonded, degree=2, quadrature_degree=4, name=f"resolved_{cells[0]}_{cells[1]}_{bonded}", positive=positive_part,
    )  # fmt: skip


def homogeneous(material: lse.Material, cells: int, elements: int, *, bonded: bool, name: str) -> Specimen:
    """A square of a homogeneous material, `elements` squares of four triangles to a side."""
    corners = [[0.0, 0.0], [float(cells)] * 2]
    domain = mesh.create_rectangle(MPI.COMM_WORLD, corners, [elements] * 2, diagonal=mesh.DiagonalType.crossed)
    return Specimen(
        domain, lambda F: lse.fem.energy(material, F), (cells, cells),
        bonded=bonded, degree=2, quadrature_degree=4, name=f"{name}_{bonded}", length=LENGTH,
    )  # fmt: skip
