"""What a failed solve means, and what to do about it: PETSc's reasons in words, and what the tangent shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from petsc4py import PETSc

from lse_material.fem.solve.force_scale import RoundingForces
from lse_material.fem.solve.loose import free_motion, rows_without_stiffness
from lse_material.fem.solve.options import mumps_error

NOT_FINITE = "the residual is not finite: {}, or a load, coefficient or Dirichlet value holds NaN. {}"
ADVICE: Mapping[str, str] = {
    "LINE_SEARCH": (
        "no step along the Newton direction lowered the residual, as happens where the energy is not convex or the tangent is "
        "nearly singular: take smaller load steps, add a small viscous term, or minimise the energy (lse.fem.EnergyProblem); "
        "where J is your own, see whether it is the derivative of the residual (snes_test_jacobian)"
    ),
    "LINEAR_SOLVE": "the linear solver failed",
    "DTOL": "the residual grew without bound: take smaller load steps or start nearer to the solution",
    "LOCAL_MIN": "it is stuck in a minimum of the residual that is no solution: start elsewhere or take smaller steps",
    "FUNCTION_COUNT": "it used up its evaluations of the residual: raise snes_max_funcs, or take smaller load steps",
    "TR_DELTA": (
        "the trust region shrank to nothing: rounding hides the decrease of the objective (raise the tolerance of the residual "
        "if it is small enough), or the residual is not the derivative of the objective (look at `residual`)"
    ),
    "INNER": "the solver inside it (npc_) failed: look at it with npc_snes_monitor",
}
LINEAR: Mapping[str, str] = {
    "ITS": "it ran out of iterations: raise ksp_max_it, or take a stronger preconditioner (pc_type lu is direct)",
    "MAX_IT": "it ran out of iterations: raise ksp_max_it, or take a stronger preconditioner (pc_type lu is direct)",
    "INDEFINITE_PC": "the preconditioner is not positive, which this ksp_type needs: take gmres, or pc_type lu with preonly",
    "INDEFINITE_MAT": "the tangent is not positive, which this ksp_type needs: take gmres, or pc_type lu with preonly",
    "NANORINF": "the tangent or the residual is not finite",
    "PCSETUP_FAILED": "the preconditioner could not be made of this tangent",
}
MUMPS: Mapping[int, str] = {
    -8: "MUMPS ran out of its own work space: raise mat_mumps_icntl_14 (per cent), or give the fields like units",
    -9: "MUMPS ran out of its own work space: raise mat_mumps_icntl_14 (per cent), or give the fields like units",
    -6: "MUMPS found the tangent singular in structure: it has rows without entries",
    -10: "MUMPS found the tangent singular",
    -13: "MUMPS could not get the memory that it needs: use more ranks, or an iterative solver",
}


class NewtonProblem(Protocol):
    """What is asked of a problem whose solve failed.

    Attributes:
        comm: the communicator.
        solver: the PETSc SNES.
        rounding: the forces that rounding makes in each field.
        norms: of the residual, at the iterates of this solve.
    """

    comm: Any
    solver: PETSc.SNES
    rounding: RoundingForces
    norms: list[float]

    @property
    def failure(self) -> str | None:
        """What the evaluation of a material on this rank said when it failed."""

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
        advice = ADVICE.get(name, "see PETSc's SNESConvergedReason")
    if name == "LINEAR_SOLVE":
        advice = f"{advice}, {_linear(problem)}"
    if name in ("LINE_SEARCH", "LINEAR_SOLVE", "DTOL") or (name == "MAX_IT" and not _falling(problem)):
        advice = unresisted(problem) or advice
    return (
        f"SNES did not converge: {name} ({int(reason)}) after {solver.getIterationNumber()} iterations, residual norm "
        f"{solver.getFunctionNorm():.3e}; {advice}. The option {solver.getOptionsPrefix()}snes_monitor shows its way."
    )


def explain_error(problem: NewtonProblem, error: PETSc.Error) -> str:
    """Why PETSc stopped with an error, where it should have said that it did not converge."""
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
        f"it ran out of iterations (snes_max_it = {limit}) and the residual did not fall any more: take smaller load steps, or "
        "minimise the energy (lse.fem.EnergyProblem) where it is not convex"
    )


def _falling(problem: NewtonProblem) -> bool:
    norms = problem.norms
    return len(norms) > 2 and norms[-1] < 0.5 * norms[-3]


def _not_finite(problem: NewtonProblem) -> str:
    if problem.solver.getIterationNumber() == 0:
        return NOT_FINITE.format(
            "at the start, an element of the initial guess is turned inside out (det F <= 0)", "Start from a sound u"
        )
    return NOT_FINITE.format("a step turned an element inside out (det F <= 0)", "Take smaller load steps")


def _linear(problem: NewtonProblem) -> str:
    """What the linear solver says."""
    ksp = problem.solver.getKSP()
    name = _name(PETSc.KSP.ConvergedReason, ksp.getConvergedReason())
    said = LINEAR.get(name, "see PETSc's KSPConvergedReason, and ksp_monitor")
    pc = ksp.getPC()
    if name == "PCSETUP_FAILED" and pc.getType() in ("lu", "cholesky"):
        package = pc.getFactorSolverType()
        if package == "mumps":
            said = MUMPS.get(mumps_error(ksp), said)
        else:
            said = (
                f"the factorisation of {package} met a zero pivot: it does not exchange rows as tangents with a zero diagonal "
                "(displacement and pressure) need. Take pc_factor_mat_solver_type mumps"
            )
    return f"{name}: {said}"


def unresisted(problem: NewtonProblem) -> str | None:
    """What the tangent at the present u does not resist, and what to do about it; None if there is nothing. Collective."""
    A = problem.tangent()
    slack = rows_without_stiffness(problem.rounding, A)
    if slack is not None:
        count, place = slack
        return (
            f"the tangent has {count} free rows that are zero at the start, one of them at x = {place}: nothing resists "
            "there, as in cells that no integral of the residual goes over (check tags), an unknown that the residual does not "
            "hold, or a slack membrane, which has no stiffness across its plane at F = I. Hold these degrees of freedom, or "
            "start from a state that has stiffness (prestretched)"
        )
    motion = free_motion(problem.rounding, A)
    if motion is not None:
        share, place = motion
        part = "the body" if share == 1.0 else f"a part of the body ({100 * share:.2g} % of its nodes)"
        return (
            f"{part} around x = {place} can move rigidly at no force, for no Dirichlet condition holds it: the tangent is "
            "singular. Hold it, connect it, or put it on springs"
        )
    return None


def _name(reasons: Any, reason: Any) -> str:
    """PETSc's name of a reason for divergence."""
    names = {value: name for name, value in vars(reasons).items() if name.startswith("DIVERGED")}
    return names.get(reason, f"reason {reason}").removeprefix("DIVERGED_")
