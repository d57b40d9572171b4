"""Equilibrium of materials by Newton's method: DOLFINx's NonlinearProblem, with stresses at quadrature points kept up to date.

find u:  residual(u; v) = 0 for every v,   residual = inner(P, grad(v)) dx - external work + whatever the user adds
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dolfinx.jit
import numpy as np
import ufl
from dolfinx import fem
from dolfinx.fem.petsc import NonlinearProblem, assign
from dolfinx.la import InsertMode
from dolfinx_external_operator import FEMExternalOperator, replace_external_operators
from petsc4py import PETSc

from lse_material.errors import ConvergenceError, InvalidInputError
from lse_material.fem.disposal import Disposal
from lse_material.fem.header import machine_arguments
from lse_material.fem.quadrature import QuadratureStress

DEFAULT_OPTIONS: Mapping[str, Any] = {
    "snes_type": "newtonls",
    "snes_linesearch_type": "bt",
    "snes_rtol": 1e-10,
    "snes_stol": 1e-12,
    "snes_max_it": 50,
    "ksp_type": "preonly",
    "pc_type": "lu",
    "pc_factor_mat_solver_type": "mumps",
}

ADVICE: Mapping[str, str] = {
    "MAX_IT": "it ran out of iterations: take smaller load steps, or raise snes_max_it if the residual was still falling",
    "LINE_SEARCH": (
        "no step along the Newton direction lowered the residual, as happens where the energy is not convex: take smaller "
        "load steps, add a small viscous term, or use the trust region (snes_type newtontr with an objective)"
    ),
    "LINEAR_SOLVE": (
        "the linear solver failed: check that the Dirichlet conditions exclude rigid motions, and look at it with "
        "ksp_error_if_not_converged, ksp_monitor"
    ),
    "FNORM_NAN": (
        "the residual is not a number: an element was turned inside out (det F <= 0) or the input holds NaN; take smaller "
        "load steps"
    ),
    "FUNCTION_NANORINF": "the residual is not finite: an element was turned inside out (det F <= 0); take smaller load steps",
    "DTOL": "the residual grew without bound: take smaller load steps or start nearer to the solution",
    "LOCAL_MIN": "it is stuck in a minimum of the residual that is no solution: start elsewhere or take smaller steps",
    "INNER": "its inner solver failed: look at it with ksp_monitor",
}


class MaterialProblem(NonlinearProblem):
    """A `dolfinx.fem.petsc.NonlinearProblem` for materials; `solve` raises unless it converged.

    Everything of its base class is there: `solver` is the PETSc SNES, and `petsc_options` are ordinary PETSc options.

    Args:
        residual: UFL form, linear in the test function. It may hold operators of `QuadratureStress`, `lse.fem.stress` or
            derivatives of `lse.fem.energy`, on any subdomains, and terms of the user's own: body forces, tractions,
            contact, viscosity.
        u: the unknown, and the initial guess.
        stresses: every `QuadratureStress` in `residual`.
        bcs: Dirichlet conditions.
        J: the Jacobian, derived from `residual` if left out.
        petsc_options_prefix: as in the base class; mandatory.
        petsc_options: override single entries of `DEFAULT_OPTIONS`.
        jit_options: as DOLFINx takes them. Left out, forms with a `QuadratureStress` are compiled for this CPU.
        kwargs: passed on to the base class (P, kind, form_compiler_options, entity_maps).

    Raises:
        InvalidInputError: a `QuadratureStress` in the form is not among `stresses`, or stands under another measure
            than its own.
    """

    default_options: Mapping[str, Any] = DEFAULT_OPTIONS
    _snes = _A = _P_mat = _b = _x = None  # where the base class's __init__ was never reached

    def __init__(
        self,
        residual: ufl.Form,
        u: fem.Function,
        *,
        petsc_options_prefix: str,
        stresses: Sequence[QuadratureStress] = (),
        bcs: Sequence[fem.DirichletBC] = (),
        J: ufl.Form | None = None,
        petsc_options: Mapping[str, Any] | None = None,
        jit_options: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self._disposal = Disposal(u.function_space.mesh.comm)
        self._failure: str | None = None  # what an evaluation on this rank said when it failed
        self._stresses = tuple(stresses)
        _check_stresses(residual, self._stresses)
        jacobian = ufl.derivative(residual, u, ufl.TrialFunction(u.function_space)) if J is None else J
        residual, _ = replace_external_operators(residual)
        jacobian, differentiated = replace_external_operators(jacobian)
        jacobian = ufl.replace(jacobian, _tangents(differentiated))
        self._bcs = list(bcs)
        super().__init__(
            residual,
            u,
            J=jacobian,
            bcs=self._bcs,
            petsc_options_prefix=petsc_options_prefix,
            petsc_options={**self.default_options, **(petsc_options or {})},
            jit_options=_for_this_cpu() if jit_options is None and self._stresses else jit_options,
            **kwargs,
        )
        if self._stresses:
            self._wrap_callbacks()

    def __del__(self) -> None:
        """In place of the base class, which destroys at once."""
        objects = (self._snes, self._A, self._b, self._x, self._P_mat)
        if any(item is not None for item in objects):
            self._disposal.drop([item for item in objects if item is not None])

    def solve(self) -> fem.Function:
        """Solve from the present values of `u`, and return `u`.

        Raises:
            ConvergenceError: it did not converge; `u` is then as it was before the call (the last iterate is in `x`).
        """
        before = self.u.x.array.copy()
        self._failure = None
        super().solve()
        reason = self.solver.getConvergedReason()
        if reason < 0:
            self.u.x.array[:] = before
            raise ConvergenceError(
                self._explain(reason), reason=int(reason), iterations=int(self.solver.getIterationNumber())
            )
        return self.u

    def reaction(self, bc: fem.DirichletBC) -> float:
        """Sum over the degrees of freedom that `bc` holds of the residual at the present `u`; the same on every rank.

        With a condition on one component, this is the force in that direction that the support exerts on the body
        (per unit thickness in 2D).
        """
        self._update_stresses()
        b = fem.assemble_vector(self.F)
        b.scatter_reverse(InsertMode.add)
        dofs, owned = bc.dof_indices()
        return float(self.u.function_space.mesh.comm.allreduce(b.array[dofs[:owned]].sum()))

    def _wrap_callbacks(self) -> None:
        """Update stresses before the base class assembles the residual, and tangents before the Jacobian.

        The callbacks hold this object weakly: a cycle through the SNES would leave it to the garbage collector.
        """
        weak = weakref.ref(self)
        basic = self.solver.getType() == "newtonls" and self.solver.getLineSearch().getType() == "basic"
        vector, (assemble_residual, args, kargs) = self.solver.getFunction()

        def residual(snes: PETSc.SNES, x: PETSc.Vec, b: PETSc.Vec, *args: Any, **kargs: Any) -> None:
            problem = _alive(weak)
            problem._take_iterate(x)
            # without a line search a Jacobian follows at this iterate: one evaluation then serves both
            if basic or problem._lifting_needs_tangent():
                problem._update_tangents()
            problem._update_stresses()
            assemble_residual(snes, x, b, *args, **kargs)

        self.solver.setFunction(residual, vector, args=args, kargs=kargs)
        A, P, (assemble_jacobian, args, kargs) = self.solver.getJacobian()

        def jacobian(snes: PETSc.SNES, x: PETSc.Vec, A: PETSc.Mat, P: PETSc.Mat, *args: Any, **kargs: Any) -> None:
            problem = _alive(weak)
            problem._take_iterate(x)
            problem._update_tangents()
            assemble_jacobian(snes, x, A, P, *args, **kargs)

        self.solver.setJacobian(jacobian, A, P, args=args, kargs=kargs)

    def _take_iterate(self, x: PETSc.Vec) -> None:
        x.ghostUpdate(addv=PETSc.InsertMode.INSERT, mode=PETSc.ScatterMode.FORWARD)
        assign(x, self.u)

    def _update_stresses(self) -> None:
        for stress in self._stresses:
            self._attempt(stress, stress.update_stress)

    def _update_tangents(self) -> None:
        for stress in self._stresses if self._failure is None else ():
            self._attempt(stress, stress.update_tangent)

    def _attempt(self, stress: QuadratureStress, update: Callable[[], None]) -> None:
        """Update `stress`; an error on one rank alone would leave the others waiting, so go on with NaN."""
        try:
            update()
        except Exception as error:
            self._failure = f"{type(error).__name__}: {error}"
            stress.invalidate()

    def _lifting_needs_tangent(self) -> bool:
        """Whether u differs from the Dirichlet values on this rank: DOLFINx then lifts the residual with the Jacobian."""
        u = self.u.x.array
        held = u.copy()
        for bc in self._bcs:
            bc.set(held, None, 1.0)
        return not np.allclose(held, u, rtol=1e-13, atol=1e-15)

    def _explain(self, reason: int) -> str:
        """Why the solve failed; collective."""
        failures = self.u.function_space.mesh.comm.allgather(self._failure)
        for rank, failure in enumerate(failures):
            if failure is not None:
                return f"the evaluation of a material failed on rank {rank}: {failure}"
        name = _name(PETSc.SNES.ConvergedReason, reason)
        advice = ADVICE.get(name, "see PETSc's SNESConvergedReason")
        if name == "LINEAR_SOLVE":
            advice = f"{_name(PETSc.KSP.ConvergedReason, self.solver.ksp.getConvergedReason())}: {advice}"
        return (
            f"SNES did not converge: {name} ({int(reason)}) after {self.solver.getIterationNumber()} iterations, residual norm "
            f"{self.solver.getFunctionNorm():.3e}; {advice}. The option {self.solver.getOptionsPrefix()}snes_monitor "
            "shows its way."
        )


def _name(reasons: Any, reason: int) -> str:
    """PETSc's name of a reason for divergence."""
    names = {value: name for name, value in vars(reasons).items() if name.startswith("DIVERGED")}
    return names.get(reason, f"reason {reason}").removeprefix("DIVERGED_")


def _for_this_cpu() -> dict[str, Any]:
    """DOLFINx's own options, with the flags for this CPU."""
    arguments = dolfinx.jit.get_options()["cffi_extra_compile_args"]
    return {"cffi_extra_compile_args": [*arguments, *machine_arguments()]}


def _alive(weak: weakref.ref[MaterialProblem]) -> MaterialProblem:
    problem = weak()
    if problem is None:
        raise ReferenceError(
            "this SNES belongs to a MaterialProblem that is gone: keep the problem, not only its solver."
        )
    return problem


def _tangents(operators: Sequence[FEMExternalOperator]) -> dict[fem.Function, Any]:
    """What stands for the coefficient of each differentiated operator: the tangent that its `QuadratureStress` stores."""
    found = {}
    for operator in operators:
        order = sum(operator.derivatives)
        if order > 1:
            raise InvalidInputError(
                "the form differentiates a QuadratureStress twice; only its first derivative is known."
            )
        if order == 1:
            found[operator.ref_coefficient] = operator.external_function.stress.tangent
    return found


def _check_stresses(form: ufl.Form, stresses: Sequence[QuadratureStress]) -> None:
    """Every quadrature stress of the form must be known, and stand under its own measure.

    Any other quadrature rule would read the values of other points.
    """
    for integral in form.integrals():
        for operator in ufl.algorithms.extract_type(integral.integrand(), FEMExternalOperator):
            stress = getattr(operator.external_function, "stress", None)
            if stress is None or not any(stress is known for known in stresses):
                raise InvalidInputError(
                    "the form holds an external operator that is not among `stresses`: pass every QuadratureStress of "
                    "the form to MaterialProblem(..., stresses=[...])."
                )
            degree = integral.metadata().get("quadrature_degree")
            if integral.integral_type() != "cell" or degree != stress.degree:
                raise InvalidInputError(
                    f"a QuadratureStress of degree {stress.degree} stands in an integral of type "
                    f"{integral.integral_type()} with degree {degree}: multiply it by its own measure `.dx`."
                )
