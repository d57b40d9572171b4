"""The solid: concentration, chemical potential, displacement and a micromorphic strain e2 on a mesh, and how they evolve."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import basix.ufl
import numpy as np
import ufl
from dolfinx import fem, mesh
from free_energy import BOX, D_C, D_E, NAMES, S_E
from mpi4py import MPI

import lse_material as lse
from lse_material.fem import (
    CahnHilliard,
    Cells,
    Evolution,
    ExtrapolationMonitor,
    gather_cells,
    micromorphic,
    mode_energies,
)

COMM = MPI.COMM_WORLD
MODULUS = 4.0 * D_E / S_E**2  # of the strains
VISCOSITY = 1e-3  # of strains: their delay is short against that of diffusion
RESIDUAL = 0.02  # stress left in the body, of both signs: it picks the rectangles, where rounding would


class Solid:
    """A body with W(c, e1, e2, e6) and boundaries between phases of width `length`.

    Args:
        domain: the mesh.
        density: W of four UFL scalars.
        length: l; a boundary in c alone is (1 + tanh(x/l))/2, since kappa = 8 d_c l^2.
        name: prefix of PETSc options.
        influx: of c through the boundary, per length and time.
        guided: whether the body is the unit square, cut from a large one: its sides stay straight and slide; else it is free.
        implicit: steps without lagged weights, for energies that have none.
    """

    def __init__(
        self,
        domain: mesh.Mesh,
        density: Callable[..., Any],
        *,
        length: float,
        name: str,
        influx: float = 0.0,
        guided: bool = True,
        implicit: bool = False,
    ) -> None:
        cell = domain.basix_cell()
        P = basix.ufl.element("Lagrange", cell, 1)
        vector = basix.ufl.element("Lagrange", cell, 1, shape=(2,))
        self.V = fem.functionspace(domain, basix.ufl.mixed_element([P, P, vector, P]))
        self.state = fem.Function(self.V)
        c, _, u, eta = ufl.split(self.state)
        G = ufl.grad(u)
        E = 0.5 * (G + G.T + G.T * G)
        root = float(np.sqrt(2.0))
        self.x = [c, (E[0, 0] + E[1, 1]) / root, (E[0, 0] - E[1, 1]) / root, root * E[0, 1]]
        self.e2, self.eta, dx = self.x[2], eta, ufl.dx(degree=2)
        place = ufl.SpatialCoordinate(domain)
        residual = RESIDUAL * ufl.cos(2.0 * np.pi * place[0]) * ufl.cos(2.0 * np.pi * place[1])
        W = density(*self.x) - residual * self.e2 + 8.0 * D_C * length**2 * 0.5 * ufl.inner(ufl.grad(c), ufl.grad(c))
        W += micromorphic(self.e2, eta, length=0.5 * length, modulus=MODULUS, penalty=5.0 * MODULUS)
        bcs, viscous = [], [(G, VISCOSITY)]
        if guided:
            for i in range(2):
                part = self.V.sub(2).sub(i)
                side = mesh.locate_entities_boundary(domain, 1, lambda x, i=i: np.isclose(x[i] * (1.0 - x[i]), 0.0))
                bcs.append(fem.dirichletbc(0.0, fem.locate_dofs_topological(part, 1, side), part))
        else:
            viscous.append((u, VISCOSITY))  # no rigid motion
        self.flow = CahnHilliard(
            W * dx,
            self.state,
            petsc_options_prefix=f"{name}_",
            viscous=viscous,
            bcs=bcs,
            supply=fem.Constant(domain, influx) * ufl.ds if influx else None,
            implicit=implicit,
        )
        one = fem.Constant(domain, 1.0)
        self.area = self._total(fem.form(one * ufl.dx))
        rich = ufl.conditional(ufl.gt(c, 0.5), 1.0, 0.0)
        wide, tall = (ufl.conditional(ufl.gt(sign * self.e2, 0.5 * S_E), 1.0, 0.0) for sign in (1.0, -1.0))
        self._shares = [fem.form(part * ufl.dx(degree=2)) for part in (rich, wide, tall)]

    def start(self, c: Callable[[np.ndarray], np.ndarray], u: Callable[[np.ndarray], np.ndarray]) -> None:
        """Initial concentration and displacement, functions of the place: the same on any mesh partition."""
        for index, values in ((0, c), (2, u)):
            part, dofs = self.V.sub(index).collapse()
            function = fem.Function(part)
            function.interpolate(values)
            self.state.x.array[dofs] = function.x.array
        self.state.x.scatter_forward()

    def rich(self) -> float:
        """Share of the area with c > 1/2."""
        return self._total(self._shares[0]) / self.area

    def wide(self) -> float:
        """Share of the area with e2 > s_e/2: the rectangle that is longer in the direction 1."""
        return self._total(self._shares[1]) / self.area

    def tall(self) -> float:
        """Share of the area with e2 < -s_e/2: the other one."""
        return self._total(self._shares[2]) / self.area

    def evolution(self, dt: float, tolerance: float, checkpoint: Path | None = None) -> Evolution:
        """Steps whose error is measured in c and e2/s_e."""
        return Evolution(
            self.flow,
            dt,
            tolerance=tolerance,
            compare=[self.x[0], self.e2 / S_E],
            watch=ExtrapolationMonitor(self.x, BOX, names=NAMES, tolerance=0.02),
            observe={"rich": self.rich, "wide": self.wide, "tall": self.tall},
            checkpoint=checkpoint,
            every=10,
        )

    def gathered(self, potential: lse.SoftMinimum | None = None) -> dict[str, Cells] | None:
        """On rank 0 what is drawn: c, e2, and the mode of largest weight of a potential; None elsewhere. Collective."""
        drawn = {"c": gather_cells(self.state.sub(0).collapse()), "e2": gather_cells(self.state.sub(3).collapse())}
        if potential is not None:
            V = fem.functionspace(self.V.mesh, ("DG", 0, (len(potential.modes),)))
            psi, largest = fem.Function(V), fem.Function(fem.functionspace(self.V.mesh, ("DG", 0)))
            energies = ufl.as_vector(list(mode_energies(potential, self.x)))  # the lowest has the largest weight
            psi.interpolate(fem.Expression(energies, V.element.interpolation_points))
            largest.x.array[:] = psi.x.array.reshape(-1, len(potential.modes)).argmin(axis=1)
            drawn["modes"] = gather_cells(largest)
        return drawn if COMM.rank == 0 else None

    def _total(self, form: fem.Form) -> float:
        return float(COMM.allreduce(fem.assemble_scalar(form), MPI.SUM))
