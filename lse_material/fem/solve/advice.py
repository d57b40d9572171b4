"""Why a solve failed and what to do about it: PETSc's reasons in words, and the diagnosis of the tangent."""

import math
from collections.abc import Mapping
from typing import Any, Protocol

from petsc4py import PETSc

from lse_material.errors import ConvergenceError
from lse_material.fem.solve.fields import Fields
from lse_material.fem.solve.missing_stiffness import missing_stiffness, unmarked_multipliers
from lse_material.fem.solve.options import FAILED_LINEAR, NEEDS_WORK_SPACE, mumps_error

NAN_RESIDUAL = "the residual is not finite: {}, or a load, coefficient or Dirichlet value holds NaN. {}"
SNES_ADVICE: Mapping[str, str] = {
    "LINE_SEARCH": (
        "no step along the Newton direction lowered the residual, as happens where the energy is not convex or the tangent is "
        "nearly singular: take smaller load steps, add a small viscous term, or minimise the energy (lse.fem.EnergyProblem); "
        "if J is your own, check that it is the derivative of the residual (snes_test_jacobian)"
    ),
    "LINEAR_SOLVE": "the linear solver failed",
    "DTOL": "the residual grew without bound: take smaller load steps or start nearer to the solution",
    "LOCAL_MIN": "it ended in a minimum of the residual that is no solution: start elsewhere or take smaller steps",
    "FUNCTION_COUNT": "it used up its evaluations of the residual: raise snes_max_funcs, or take smaller load steps",
    "TR_DELTA": (
        "the trust region shrank to nothing: rounding hides the decrease of the objective (raise the tolerance of the residual "
        "if it is small enough), or the residual is not the derivative of the objective (check `residual`)"
    ),
    "INNER": "the solver inside it (npc_) failed: npc_snes_monitor shows its iterations",
}
OUT_OF_ITERATIONS = (
    "it ran out of iterations: raise ksp_max_it, or take a stronger preconditioner (pc_type lu is direct)"
)
KSP_ADVICE: Mapping[str, str] = {
    "ITS": OUT_OF_ITERATIONS,
    "MAX_IT": OUT_OF_ITERATIONS,
    "INDEFINITE_PC": "the preconditioner is not positive, which this ksp_type needs: take gmres, or pc_type lu with preonly",
    "INDEFINITE_MAT": "the tangent is not positive, which this ksp_type needs: take gmres, or pc_type lu with preonly",
    "NANORINF": "the tangent or the residual is not finite",
    "PCSETUP_FAILED": "the preconditioner could not be set up with this tangent",
}
OUT_OF_SPACE = (
    "MUMPS ran out of its own work space: raise mat_mumps_icntl_14 (per cent), or give the fields similar units"
)
MUMPS_ADVICE: Mapping[int, str] = {
    **dict.fromkeys(NEEDS_WORK_SPACE, OUT_OF_SPACE),
    -6: "MUMPS found that the tangent has empty rows",
    -10: "MUMPS found the tangent singular",
    -13: "MUMPS could not get the memory that it needs: use more ranks, or an iterative solver",
}


class NewtonProblem(Protocol):
    """What is needed of a problem whose solve failed."""

    comm: Any
    solver: PETSc.SNES
    fields: Fields  # of the unknowns
    norms: list[float]  # of the residual, at the iterates of this solve
    failure: str | None  # error of a material's evaluation on this rank, None if there was none

    def tangent(self) -> PETSc.Mat:
        """The tangent at the present u; collective."""


def explain(problem: NewtonProblem, reason: int) -> str:
    """Why a solve failed from the present u; collective."""
    solver = problem.solver
    for rank, failure in enumerate(problem.comm.allgather(problem.failure)):
        if failure is not None:
            return f"the evaluation of a material failed on rank {rank}: {failure}"
    name = _name(PETSc.SNES.ConvergedReason, reason)
    if name == "MAX_IT":
        advice = _out_of_iterations(problem)
    elif name in ("FNORM_NAN", "FUNCTION_NANORINF", "FUNCTION_DOMAIN"):
        advice = _not_finite(problem)
    else:
        advice = SNES_ADVICE.get(name, "see PETSc's SNESConvergedReason")
    if name == "LINEAR_SOLVE":
        advice = f"{advice}, {_linear(problem)}"
    if name in ("LINE_SEARCH", "LINEAR_SOLVE", "DTOL") or (name == "MAX_IT" and not _falling(problem)):
        advice = missing_stiffness(problem.fields, problem.tangent()) or advice
    return (
        f"SNES did not converge: {name} ({int(reason)}) after {solver.getIterationNumber()} iterations, residual norm "
        f"{solver.getFunctionNorm():.3e}; {advice}. The option {solver.getOptionsPrefix()}snes_monitor shows its iterations."
    )


def with_cause(problem: NewtonProblem, error: ConvergenceError | PETSc.Error, iterations: int) -> ConvergenceError:
    """The error of a solve, with its cause where the tangent at the present u shows it; collective."""
    said = str(error) if isinstance(error, ConvergenceError) else explain_error(problem, error)
    A = problem.tangent()
    cause = missing_stiffness(problem.fields, A) or unmarked_multipliers(problem.fields, A)
    if cause is not None:
        said = f"{said} {cause}."
    elif isinstance(error, ConvergenceError):
        iterations = error.iterations
    return ConvergenceError(said, reason=getattr(error, "reason", FAILED_LINEAR), iterations=iterations)


def explain_error(problem: NewtonProblem, error: PETSc.Error) -> str:
    """Why PETSc stopped with an error instead of a reason for divergence."""
    said = str(error)
    pc = problem.solver.getKSP().getPC()
    if "missing diagonal" in said:
        return (
            f"pc_type {pc.getType()} of {pc.getFactorSolverType()} needs an entry in every place of the diagonal, and the "
            "tangent has none in rows of an unknown such as a pressure: take pc_factor_mat_solver_type mumps."
        )
    return f"PETSc cannot solve this problem with these options: {said}"


def _out_of_iterations(problem: NewtonProblem) -> str:
    limit = problem.solver.getTolerances()[3]
    if _falling(problem):
        return f"it ran out of iterations (snes_max_it = {limit}) while the residual was falling: raise snes_max_it"
    return (
        f"it ran out of iterations (snes_max_it = {limit}) and the residual no longer fell: take smaller load steps, or "
        "minimise the energy (lse.fem.EnergyProblem) where it is not convex"
    )


def _falling(problem: NewtonProblem) -> bool:
    norms = problem.norms
    return len(norms) > 2 and norms[-1] < 0.5 * norms[-3]


def _not_finite(problem: NewtonProblem) -> str:
    if not (problem.norms and math.isfinite(problem.norms[0])):
        return NAN_RESIDUAL.format(
            "at the start, an element of the initial guess is turned inside out (det F <= 0)",
            "Start from a u with det F > 0",
        )
    return NAN_RESIDUAL.format("in a step an element was turned inside out (det F <= 0)", "Take smaller load steps")


def _linear(problem: NewtonProblem) -> str:
    """The reason that the linear solver reports."""
    ksp = problem.solver.getKSP()
    name = _name(PETSc.KSP.ConvergedReason, ksp.getConvergedReason())
    said = KSP_ADVICE.get(name, "see PETSc's KSPConvergedReason, and ksp_monitor")
    pc = ksp.getPC()
    if name == "PCSETUP_FAILED" and pc.getType() in ("lu", "cholesky"):
        package = pc.getFactorSolverType()
        if package == "mumps":
            said = MUMPS_ADVICE.get(mumps_error(ksp), said)
        else:
            said = (
                f"the factorisation of {package} met a zero pivot: it does not exchange rows as tangents with a zero diagonal "
                "(displacement and pressure) need. Take pc_factor_mat_solver_type mumps"
            )
    return f"{name}: {said}"


def _name(reasons: Any, reason: Any) -> str:
    """PETSc's name of a reason for divergence."""
    names = {value: name for name, value in vars(reasons).items() if name.startswith("DIVERGED")}
    return names.get(reason, f"reason {reason}").removeprefix("DIVERGED_")
