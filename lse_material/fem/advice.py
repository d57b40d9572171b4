"""What a failed solve means, and what to do about it: PETSc's reasons in words, and what the tangent shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from petsc4py import PETSc

if TYPE_CHECKING:
    from lse_material.fem.problem import MaterialProblem

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
    "TR_DELTA": (
        "the trust region shrank to nothing: no step lowered the energy. Is `residual` the derivative of the energy? If the "
        "residual is as small as can be hoped for, raise `tolerance`"
    ),
    "LOCAL_MIN": "it is stuck in a minimum of the residual that is no solution: start elsewhere or take smaller steps",
    "INNER": "its inner solver failed: look at it with ksp_monitor",
}


def explain(problem: MaterialProblem, reason: int) -> str:
    """Why a solve failed; collective."""
    solver = problem.solver
    for rank, failure in enumerate(problem.comm.allgather(problem._failure)):
        if failure is not None:
            return f"the evaluation of a material failed on rank {rank}: {failure}"
    name = _name(PETSc.SNES.ConvergedReason, reason)
    advice = ADVICE.get(name, "see PETSc's SNESConvergedReason")
    if name == "LINEAR_SOLVE":
        advice = f"{_name(PETSc.KSP.ConvergedReason, solver.ksp.getConvergedReason())}: {advice}"
    return (
        f"SNES did not converge: {name} ({int(reason)}) after {solver.getIterationNumber()} iterations, residual norm "
        f"{solver.getFunctionNorm():.3e}; {advice}. The option {solver.getOptionsPrefix()}snes_monitor shows its way."
    )


def _name(reasons: Any, reason: int) -> str:
    """PETSc's name of a reason for divergence."""
    names = {value: name for name, value in vars(reasons).items() if name.startswith("DIVERGED")}
    return names.get(reason, f"reason {reason}").removeprefix("DIVERGED_")
