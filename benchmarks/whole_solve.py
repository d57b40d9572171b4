"""A whole solve, Newton steps with assembly and linear solver: torch.func by external operators against the package.

A plate with a hole between rough grips is pulled to 1.4 times its length. Its material has the architecture of the network in
the hyperelasticity demo of dolfinx_external_operator (NN-EUCLID: two layers of 64 neurons, softplus squared, over the isochoric
invariants and the volume), with random weights that are positive, so that every load has a solution that plain Newton finds.

    torch_external   the demo's way: one call of torch.func.vmap(jacfwd(grad)) gives P and dP/dF for every residual
    torch_single     the same with the network in single precision, as the demo has it; residuals then fall to 1e-5 only
    form_operator    energy(material, F) in the form
    stored           QuadratureStress

All take P2 elements, quadrature of degree 2, the same loads, SNES options and direct solver. Each goes through the first load
once before it is timed, so that compilation is left out. CPU seconds of one thread; torch.compile is not used.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import basix.ufl
import gmsh
import numpy as np
import torch
import ufl
from common import arguments, bars, finish, processor
from dolfinx import fem, mesh
from dolfinx.fem.petsc import NonlinearProblem
from dolfinx.io import gmsh as gmshio
from mpi4py import MPI

import lse_material as lse
from lse_material.fit import TrainablePotential

torch.set_num_threads(1)

WIDTH, LENGTH, STRETCH = 64, 2.0, 1.4
MESH = Path(__file__).parents[1] / "meshes" / "plate_with_hole.msh"
OPTIONS: dict[str, Any] = {
    "snes_type": "newtonls",
    "snes_linesearch_type": "basic",
    "snes_rtol": 1e-9,
    "snes_atol": 1e-12,
    "snes_max_it": 30,
    "ksp_type": "preonly",
    "pc_type": "lu",
    "pc_factor_mat_solver_type": "mumps",
}


def network(seed: int = 0) -> lse.Material:
    """W of the invariants, which grows in each of them: the stress vanishes at F = I."""
    rng = np.random.default_rng(seed)
    mode = lse.ConvexNetwork.from_arrays(
        [rng.uniform(0.0, 2.0, (m, n)) / n for m, n in ((WIDTH, WIDTH), (1, WIDTH))],
        [rng.uniform(0.2, 1.0, (n, 3)) for n in (WIDTH, WIDTH, 1)],
        [0.5 * rng.normal(size=n) for n in (WIDTH, WIDTH, 1)],
        activation="squared_softplus",
    )
    return lse.Material(lse.SoftMinimum((mode,), 1.0), lse.IsotropicInvariants(2))


def torch_stress_and_tangent(
    law: lse.Material, precision: torch.dtype
) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """(dP/dF, P) of F, flat, in one pass."""
    p = law.potential
    model = TrainablePotential.from_potential(p).requires_grad_(False).to(precision)

    def energy(F: torch.Tensor) -> torch.Tensor:
        C, J = F.T @ F, F[0, 0] * F[1, 1] - F[0, 1] * F[1, 0]
        I1 = C[0, 0] + C[1, 1] + 1.0
        I2 = C[0, 0] + C[1, 1] + J**2
        x = torch.stack([J ** (-2 / 3) * I1 - 3.0, J ** (-4 / 3) * I2 - 3.0, (J - 1.0) ** 2])
        return p.energy_scale * model(x[None].to(precision))[0][0] + p.energy_shift

    def stress(F: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        P = torch.func.grad(energy)(F)
        return P, P

    both = torch.func.vmap(torch.func.jacfwd(stress, has_aux=True))

    def evaluate(F: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        A, P = both(torch.from_numpy(np.ascontiguousarray(F)).reshape(-1, 2, 2))
        return A.numpy().reshape(-1), P.numpy().reshape(-1)

    return evaluate


class Plate:
    """The unknown, its conditions and what all routes share."""

    def __init__(self, quick: bool) -> None:
        gmsh.initialize()
        gmsh.option.setNumber("General.Terminal", 0)
        gmsh.open(str(MESH))
        data = gmshio.model_to_mesh(gmsh.model, MPI.COMM_SELF, 0, gdim=2)
        gmsh.finalize()
        self.mesh = data.mesh
        if not quick:  # four times the cells
            self.mesh.topology.create_entities(1)
            self.mesh = mesh.refine(self.mesh)[0]
        self.V = fem.functionspace(self.mesh, ("Lagrange", 2, (2,)))
        self.u, self.v = fem.Function(self.V), ufl.TestFunction(self.V)
        self.F = ufl.Identity(2) + ufl.grad(self.u)
        self.dx = ufl.Measure("dx", self.mesh, metadata={"quadrature_degree": 2, "quadrature_scheme": "default"})
        self.pull = fem.Constant(self.mesh, 0.0)
        left, right = (
            mesh.locate_entities_boundary(self.mesh, 1, lambda x, at=at: np.isclose(x[0], at))
            for at in (-LENGTH / 2, LENGTH / 2)
        )

        def held(facets: np.ndarray, i: int) -> np.ndarray:
            return fem.locate_dofs_topological(self.V.sub(i), 1, facets)

        self.bcs = [fem.dirichletbc(0.0, held(left, i), self.V.sub(i)) for i in (0, 1)]
        self.bcs += [fem.dirichletbc(self.pull, held(right, 0), self.V.sub(0))]
        self.bcs += [fem.dirichletbc(0.0, held(right, 1), self.V.sub(1))]


def torch_external(
    plate: Plate, law: lse.Material, precision: torch.dtype = torch.float64, rtol: float = OPTIONS["snes_rtol"]
) -> NonlinearProblem:
    """As the peer's demo has it."""
    from dolfinx_external_operator import (
        FEMExternalOperator,
        evaluate_external_operators,
        evaluate_operands,
        replace_external_operators,
    )
    from dolfinx_external_operator.petsc import assemble_residual_with_callback

    element = basix.ufl.quadrature_element(plate.mesh.basix_cell(), value_shape=(2, 2), degree=2, scheme="default")
    evaluate = torch_stress_and_tangent(law, precision)
    P = FEMExternalOperator(
        plate.F,
        function_space=fem.functionspace(plate.mesh, element),
        external_function=lambda derivatives: evaluate,
    )
    residual = ufl.inner(P, ufl.grad(plate.v)) * plate.dx
    jacobian = ufl.algorithms.expand_derivatives(ufl.derivative(residual, plate.u, ufl.TrialFunction(plate.V)))
    residual, first = replace_external_operators(residual)
    jacobian, second = replace_external_operators(jacobian)

    def update() -> None:
        ((_, stress),) = evaluate_external_operators(second, evaluate_operands(first))
        P.ref_coefficient.x.array[:] = stress

    chosen = OPTIONS | {"snes_rtol": rtol}
    problem = NonlinearProblem(
        residual, plate.u, J=jacobian, bcs=plate.bcs, petsc_options_prefix="torch_", petsc_options=chosen
    )
    callback = partial(assemble_residual_with_callback, problem.u, problem.F, problem.J, plate.bcs, update, [])
    problem.solver.setFunction(callback, problem.b)
    return problem


def torch_single(plate: Plate, law: lse.Material) -> NonlinearProblem:
    """The same in single precision."""
    return torch_external(plate, law, torch.float32, 1e-5)


def form_operator(plate: Plate, law: lse.Material) -> NonlinearProblem:
    """The compiled potential inside the form."""
    residual = ufl.derivative(lse.fem.energy(law, plate.F) * plate.dx, plate.u, plate.v)
    return lse.fem.MaterialProblem(
        residual, plate.u, bcs=plate.bcs, petsc_options_prefix="form_", petsc_options=OPTIONS
    )


def stored(plate: Plate, law: lse.Material) -> NonlinearProblem:
    """Values at quadrature points."""
    P = lse.fem.QuadratureStress(law, plate.F, degree=2)
    residual = ufl.inner(P.operator, ufl.grad(plate.v)) * P.dx
    return lse.fem.MaterialProblem(
        residual, plate.u, bcs=plate.bcs, stresses=[P], petsc_options_prefix="stored_", petsc_options=OPTIONS
    )


def pulled(plate: Plate, problem: NonlinearProblem, loads: np.ndarray) -> tuple[float, int, np.ndarray]:
    """CPU seconds, Newton steps and the last displacement over all loads."""
    iterations = 0
    plate.u.x.array[:] = 0.0
    start = time.process_time()
    for stretch in loads:
        plate.pull.value = (stretch - 1.0) * LENGTH
        problem.solve()
        assert problem.solver.getConvergedReason() > 0, f"no convergence at a stretch of {stretch:.3f}"
        iterations += problem.solver.getIterationNumber()
    return time.process_time() - start, iterations, plate.u.x.array.copy()


def main() -> None:
    options = arguments(__doc__)
    plate, law = Plate(options.quick), network()
    loads = np.linspace(1.0, STRETCH, 11)[1:]
    loads = loads[:2] if options.quick else loads
    seconds, answers, steps = {}, {}, {}
    for route in (stored, form_operator, torch_external, torch_single):
        name, problem = route.__name__, route(plate, law)
        pulled(plate, problem, loads[:1])
        seconds[name], steps[name], answers[name] = pulled(plate, problem, loads)
        print(name, f"{seconds[name]:.2f} s, {steps[name]} Newton steps", flush=True)
    exact = answers["torch_external"]
    away = {name: float(np.abs(answer - exact).max() / np.abs(exact).max()) for name, answer in answers.items()}
    assert max(away["stored"], away["form_operator"]) < 1e-8, f"the routes differ: {away}"
    assert away["torch_single"] < 1e-3, f"single precision differs: {away}"
    figures: dict[str, Any] = {
        "cells": plate.mesh.topology.index_map(2).size_local,
        "unknowns": len(plate.u.x.array),
        "loads": len(loads),
        "newton_steps": steps,
        "difference": max(away["stored"], away["form_operator"]),
        "difference_single": away["torch_single"],
    }
    for ours in ("stored", "form_operator"):
        for theirs in ("torch_external", "torch_single"):
            figures[f"{theirs}_over_{ours}"] = seconds[theirs] / seconds[ours]
    figures["cpu_s"] = seconds
    if options.plot:
        table = {name: {"CPU seconds": value} for name, value in seconds.items()}
        bars(options.plot, table, "CPU seconds", f"A whole solve, {processor()}")
    finish({**figures, "cpu": processor()})


if __name__ == "__main__":
    main()
