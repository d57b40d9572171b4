"""Residual and Jacobian per cell, as ratios to neo-Hookean in plain UFL on the same mesh with the same quadrature.

    form_operator        energy(material, F) in the form: compiled C called by FFCx's element kernels
    stored               QuadratureStress: dW/dx and d2W/dx2 at quadrature points by one evaluation, then assembly
    stored_line_search   the same with an evaluation each, as a line search has it: it must not pay for tangents
    torch_external       torch.func through dolfinx_external_operator's own evaluation loop (benchmarks/peer_torch.py)

DOLFINx compiles neo-Hookean by its default flags, our forms are compiled for this CPU (-O3 -march=native);
neo_hookean_for_this_cpu is neo-Hookean with the same flags, against the same reference.

One thread; the least time of many calls of each. Quadrature: 1 point for P1, degree 2 for P2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import basix.ufl
import numpy as np
import ufl
from common import arguments, bars, best, finish, material, processor
from dolfinx import fem, mesh
from dolfinx.fem import petsc
from mpi4py import MPI

import lse_material as lse
from lse_material.fem.forms.header import machine_arguments

CASES = {"tri_P1": (2, 1, 1), "tri_P2": (2, 2, 2), "tet_P1": (3, 1, 1), "tet_P2": (3, 2, 2)}  # dim, element, quadrature


class Body:
    """A mesh with a random small displacement, and the two forms of a stress."""

    def __init__(self, case: str, quick: bool) -> None:
        self.dim, element, self.degree = CASES[case]
        n = (24 if self.dim == 2 else 5) if quick else (64 if self.dim == 2 else 10)
        create = mesh.create_unit_square if self.dim == 2 else mesh.create_unit_cube
        self.mesh = create(MPI.COMM_SELF, *(n,) * self.dim)
        self.cells = self.mesh.topology.index_map(self.dim).size_local
        V = fem.functionspace(self.mesh, ("Lagrange", element, (self.dim,)))
        self.u, self.v, self.w = fem.Function(V), ufl.TestFunction(V), ufl.TrialFunction(V)
        self.F = ufl.Identity(self.dim) + ufl.grad(self.u)
        self.dx = ufl.dx(metadata={"quadrature_degree": self.degree, "quadrature_scheme": "default"})
        self.states = 0.1 / n / element * np.random.default_rng(0).normal(size=(2, len(self.u.x.array)))
        self._moves = 0

    def move(self) -> None:
        """Change the displacement, so that nothing of the last call can be used again."""
        self._moves += 1
        np.multiply(self.states[self._moves % 2], 1 + 1e-9 * self._moves, out=self.u.x.array)

    def assembler(
        self,
        residual: Any,
        jacobian: Any,
        before: tuple[Callable[[], Any], Callable[[], Any]] | None = None,
        jit_options: dict[str, Any] | None = None,
    ) -> Callable[[], tuple[Any, Any]]:
        """A call that assembles both, with something to do before each, and returns vector and matrix."""
        r, j = (fem.form(form, jit_options=jit_options) for form in (residual, jacobian))
        b, A = petsc.assemble_vector(r), petsc.assemble_matrix(j)
        A.assemble()

        def assemble() -> tuple[Any, Any]:
            if before is not None:
                before[0]()
            with b.localForm() as local:
                local.set(0.0)
            petsc.assemble_vector(b, r)
            if before is not None:
                before[1]()
            A.zeroEntries()
            petsc.assemble_matrix(A, j)
            A.assemble()
            return b, A

        return assemble


def neo_hookean(body: Body, jit_options: dict[str, Any] | None = None) -> Callable[[], tuple[Any, Any]]:
    """W = mu/2 (tr C - dim) - mu ln J + lambda/2 (ln J)^2."""
    J = ufl.det(body.F)
    W = 0.5 * (ufl.tr(body.F.T * body.F) - body.dim) - ufl.ln(J) + 0.5 * ufl.ln(J) ** 2
    residual = ufl.derivative(W * body.dx, body.u, body.v)
    return body.assembler(residual, ufl.derivative(residual, body.u, body.w), jit_options=jit_options)


def form_operator(body: Body, law: lse.Material) -> Callable[[], tuple[Any, Any]]:
    """The compiled potential inside the form."""
    residual = ufl.derivative(lse.fem.energy(law, body.F) * body.dx, body.u, body.v)
    return body.assembler(residual, ufl.derivative(residual, body.u, body.w))


def stored(body: Body, law: lse.Material, *, fused: bool = True) -> Callable[[], tuple[Any, Any]]:
    """Values at quadrature points; one evaluation gives both."""
    P = lse.fem.QuadratureStress(law, body.F, degree=body.degree)
    problem = lse.fem.MaterialProblem(
        ufl.inner(P.operator, ufl.grad(body.v)) * P.dx, body.u, stresses=[P], petsc_options_prefix="benchmark_"
    )
    return body.assembler(problem.F, problem.J, (P.update_tangent if fused else P.update_stress, P.update_tangent))


def stored_line_search(body: Body, law: lse.Material) -> Callable[[], tuple[Any, Any]]:
    """The same, with an evaluation of the stress for the residual and another for the Jacobian."""
    return stored(body, law, fused=False)


def torch_external(body: Body, law: lse.Material) -> Callable[[], tuple[Any, Any]]:
    """What users would write today."""
    from dolfinx_external_operator import (
        FEMExternalOperator,
        evaluate_external_operators,
        evaluate_operands,
        replace_external_operators,
    )
    from peer_torch import functions

    dim = body.dim
    element = basix.ufl.quadrature_element(body.mesh.basix_cell(), value_shape=(dim, dim), degree=body.degree)
    stress, tangent = functions(law)

    def external(derivatives: tuple[int, ...]) -> Callable[[Any], Any]:
        function = stress if derivatives == (0,) else tangent
        return lambda F: function(F.reshape(-1, dim, dim)).reshape(-1)

    P = FEMExternalOperator(body.F, function_space=fem.functionspace(body.mesh, element), external_function=external)
    dx = ufl.Measure("dx", body.mesh, metadata={"quadrature_degree": body.degree, "quadrature_scheme": "default"})
    residual = ufl.inner(P, ufl.grad(body.v)) * dx
    jacobian = ufl.algorithms.expand_derivatives(ufl.derivative(residual, body.u, body.w))
    residual, first = replace_external_operators(residual)
    jacobian, second = replace_external_operators(jacobian)
    update = [lambda ops=ops: evaluate_external_operators(ops, evaluate_operands(ops)) for ops in (first, second)]
    return body.assembler(residual, jacobian, (update[0], update[1]))


def main() -> None:
    options = arguments(__doc__)
    figures: dict[str, Any] = {}
    seconds = 0.2 if options.quick else 1.0
    for case in ["tri_P1"] if options.quick else CASES:
        body = Body(case, options.quick)
        reference = best(neo_hookean(body), seconds, body.move)
        flags = {"cffi_extra_compile_args": ["-g0", *machine_arguments()]}
        ours = best(neo_hookean(body, flags), seconds, body.move)
        figures[case] = {
            "neo_hookean_us_per_cell": reference / body.cells * 1e6,
            "neo_hookean_for_this_cpu": ours / reference,
        }
        for name in ["N1"] if options.quick else ["N1", "N2", "N3"]:
            law = material(name, body.dim)
            times, answers = {}, []
            for route in (form_operator, stored, stored_line_search, torch_external):
                assemble = route(body, law)
                slow = route is torch_external
                times[route.__name__] = best(assemble, 0.0 if slow else seconds, body.move) / reference
                body.u.x.array[:] = body.states[0]
                b, A = assemble()
                answers.append((b.array.copy(), A.norm()))
            for other, norm in answers[1:]:  # the routes assemble the same
                assert np.abs(other - answers[0][0]).max() < 1e-12 * np.abs(answers[0][0]).max()
                assert abs(norm / answers[0][1] - 1) < 1e-13
            figures[case][name] = times
            print(case, name, {key: round(value, 2) for key, value in times.items()}, flush=True)
    if options.plot:
        table = {f"{c}\n{n}": v for c, rows in figures.items() for n, v in rows.items() if isinstance(v, dict)}
        bars(options.plot, table, "times neo-Hookean", f"Residual + Jacobian, {processor()}", log=True)
    finish({**figures, "cpu": processor()})


if __name__ == "__main__":
    main()
