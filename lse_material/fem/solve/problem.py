"""Equilibrium of materials by Newton's method: DOLFINx's NonlinearProblem, with stresses at quadrature points kept up to date.

find u:  residual(u; v) = 0 for every v,   residual = inner(P, grad(v)) dx - external work + whatever the user adds
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import ufl
from dolfinx import fem
from dolfinx.fem.petsc import NonlinearProblem, assign, derivative_block
from mpi4py import MPI
from petsc4py import PETSc

from lse_material._arrays import Array
from lse_material.errors import ConvergenceError, InvalidInputError
from lse_material.fem._cells import require_double
from lse_material.fem._lifetime import collect_garbage, keeper_of, weak_method
from lse_material.fem._mpi import assembled
from lse_material.fem.forms.header import for_this_cpu
from lse_material.fem.forms.measures import with_quadrature_degree
from lse_material.fem.forms.orientation import InvertedCells
from lse_material.fem.quadrature.derivatives import check_operators, with_stored_values
from lse_material.fem.quadrature.stress import QuadratureStress
from lse_material.fem.solve.advice import explain, explain_error
from lse_material.fem.solve.arguments import (
    check_blocks,
    check_rank,
    check_unknowns,
    conditions,
    stored_stresses,
)
from lse_material.fem.solve.fields import ROUNDING, Fields, bcs_by_block, owned_entries, restorer, with_prescribed
from lse_material.fem.solve.folded_mesh import refuse_folded
from lse_material.fem.solve.options import (
    DEFAULT_OPTIONS,
    FAILED_LINEAR,
    LINEAR,
    checked_options,
    in_database,
    needs_symmetry,
    run_with_work_space,
    set_outside,
    solver_options,
    warn_of_unread_options,
)
from lse_material.fem.solve.scaling import condition_factors, field_factors, multiply_rows, scale_rows

__all__ = ["DEFAULT_OPTIONS", "MaterialProblem"]

STALLED = 0.5  # of the last residual norm: an iteration that leaves more has not lowered the residual
FINER = "smaller load steps, a quadrature rule of higher degree, or a finer mesh there"
FORMS = ("an energy", "the residual", "a Jacobian")  # by the number of arguments
Forms = Any  # a UFL form, a list of them, or a list of lists


class MaterialProblem(NonlinearProblem):
    """A `dolfinx.fem.petsc.NonlinearProblem` for materials; `solve` raises unless it converged.

    Everything of its base class is there: `solver` is the PETSc SNES, and `petsc_options` are ordinary PETSc options.

    A state is accepted by PETSc's criteria (snes_rtol, snes_atol, snes_stol), in each field of a mixed problem; or, where the
    residual no longer falls, if it is no larger than what rounding makes (`lse_material.fem.solve.fields`). So a load of zero
    and a state that is solved already are accepted.

    During a solve the rows of Dirichlet conditions are multiplied by the mean diagonal of the tangent, and the rows of a second
    and further fields by the ratio of their forces to those of the first. The norm of the residual is then one of forces, in
    any unit of length. (Solvers for symmetric matrices get the rows of all fields unscaled.)

    Args:
        residual: UFL form, linear in the test function, or a list of forms, one for each unknown. It may contain operators of
            `QuadratureStress`, `lse.fem.stress` or derivatives of `lse.fem.energy`, on any subdomains, and terms of the user's
            own: body forces, tractions, contact, viscosity. Integrals without a quadrature degree get the degree that UFL
            estimates for the residual, and the Jacobian that is derived from it has the same.
        u: the unknown, and the initial guess; a list of unknowns where `residual` is a list.
        stresses: every `QuadratureStress` in `residual`.
        bcs: Dirichlet conditions. Where two of them prescribe one entry of u, the last one counts.
        J: the Jacobian, derived from `residual` if left out. It may be derived by `ufl.derivative` from a form with operators
            of a `QuadratureStress`; leave it unexpanded.
        P: what the preconditioner is built on, the Jacobian if left out.
        petsc_options_prefix: as in the base class; mandatory.
        petsc_options: override single entries of `DEFAULT_OPTIONS`, as PETSc options of this prefix on the command line do.
        jit_options: as DOLFINx takes them. Left out, forms with a `QuadratureStress` are compiled for this CPU.
        kwargs: passed on to the base class (kind, form_compiler_options, entity_maps).

    Attributes:
        bcs: the Dirichlet conditions.
        fields: of the unknowns, with the residual that rounding makes in each.
        norms: of the residual, at the iterates of the last solve.
        failure: error of the last evaluation of a material on this rank, None if it succeeded; a trial that fails is refused.
        inverted_cells: checks det F between the quadrature points.
        start_values: functions beside u from which a solve starts, by names: `across` of a stress of plane stress.
        scales_rows: whether rows of different units are scaled to one unit before a solve; set it to false if your own
            convergence test tells the fields apart.

    Raises:
        InvalidInputError: a `QuadratureStress` in the form is not among `stresses`, or stands under another measure
            than its own, or was made for another u; the mesh is not of double precision; PETSc refuses an option; forms,
            unknowns and conditions do not belong together (`lse_material.fem.solve.arguments`).

    >>> residual = ufl.inner(lse.fem.stress(material, F), ufl.grad(v)) * dx
    >>> pulled = lse.fem.MaterialProblem(residual, u, bcs=bcs, petsc_options_prefix="pulled_")
    >>> pull.value[:] = 0.1, 0.0
    >>> _ = pulled.solve()
    >>> pulled.reaction(bcs[1]) > 0.0  # the force on the right side
    True
    """

    default_options: Mapping[str, Any] = DEFAULT_OPTIONS

    def __init__(
        self,
        residual: ufl.Form | Sequence[ufl.Form],
        u: fem.Function | Sequence[fem.Function],
        *,
        petsc_options_prefix: str,
        stresses: Sequence[QuadratureStress] = (),
        bcs: Sequence[fem.DirichletBC] = (),
        J: Forms | None = None,
        P: Forms | None = None,
        petsc_options: Mapping[str, Any] | None = None,
        jit_options: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self._unknowns: tuple[fem.Function, ...] = tuple(u) if isinstance(u, Sequence) else (u,)
        given = checked_options(petsc_options_prefix, petsc_options)
        check_blocks(residual, u, kwargs.get("kind"))
        self.comm = self._unknowns[0].function_space.mesh.comm
        collect_garbage(self.comm)
        require_double(*self._unknowns, what="a MaterialProblem")
        refuse_folded(*(unknown.function_space.mesh for unknown in self._unknowns))
        self.failure: str | None = None
        self._stresses = stored_stresses(stresses)
        self.start_values = {f"across {k}": P.across for k, P in enumerate(self._stresses) if P.across is not None}
        residual = _each(lambda form: self._checked(form, 1, with_quadrature_degree), residual)
        check_unknowns(residual, self._unknowns)
        jacobian = derivative_block(residual, u) if J is None else J
        self._bcs = conditions(bcs)
        forms = residual if isinstance(residual, Sequence) else [residual]
        self.fields = Fields(u, self.bcs, forms)
        self.inverted_cells = InvertedCells(forms, self.comm, kwargs.get("entity_maps"))
        self.scales_rows = True
        self._row_scale: Array | None = None  # of the rows of conditions, while a solve lasts that needs it
        self._assembled_at: Array | None = None  # the iterate that A belongs to already
        self.norms: list[float] = []
        self._first_norms: Array = np.zeros(len(self.fields))
        self._given_options, self._options_checked = tuple(given), False
        outside = set_outside(petsc_options_prefix)
        options = solver_options(self.default_options, {**outside, **given})
        own_options = {name: value for name, value in options.items() if name in given or name not in outside}
        with in_database(petsc_options_prefix, own_options):
            super().__init__(
                _each(self._with_values, residual),
                u,
                J=_each(lambda form: self._with_values(self._checked(form, 2)), jacobian),
                P=_each(lambda form: self._with_values(self._checked(form, 2)), P),
                bcs=self.bcs,
                petsc_options_prefix=petsc_options_prefix,
                petsc_options=own_options,
                jit_options=for_this_cpu() if jit_options is None and self._stresses else jit_options,
                **kwargs,
            )
        self._keeper = keeper_of(self.solver, self.comm)
        self._wrap_callbacks()
        if "snes_convergence_test" not in options:
            self.solver.setConvergenceTest(weak_method(self._converged))

    @property
    def bcs(self) -> tuple[fem.DirichletBC, ...]:
        """The Dirichlet conditions."""
        return self._bcs

    def __del__(self) -> None:
        """Nothing: the base class destroys at once, here `lse_material.fem._lifetime` does it when all ranks can."""

    def solve(self) -> fem.Function | Sequence[fem.Function]:
        """Solve from the present values of `u`, and return `u`.

        Raises:
            ConvergenceError: it did not converge; `u` is then as it was before the call (the last iterate is in `x`).
        """
        collect_garbage(self.comm)
        restore = self._restorer()
        self.failure = None
        self.norms = []
        self.fields.note()
        try:
            self._scale_rows()
            start = self._residual_norms() if self.solver.getType() in LINEAR else None
            reason = run_with_work_space(self.solver.ksp, functools.partial(self._run_from, restore))
            if reason < 0 and self._failed_at_rounding():
                reason = PETSc.SNES.ConvergedReason.CONVERGED_FNORM_ABS
                self.solver.setConvergedReason(reason)
            if start is not None and reason > 0:
                self._require_linear(start)
            if reason > 0:
                self.inverted_cells.refuse(FINER, int(self.solver.getIterationNumber()))
        except PETSc.Error as error:
            restore()
            if self.solver.getErrorIfNotConverged() or self.solver.getKSP().getErrorIfNotConverged():
                raise
            raise ConvergenceError(explain_error(self, error), reason=FAILED_LINEAR, iterations=0) from error
        except BaseException:
            restore()
            raise
        finally:
            self._row_scale = self._assembled_at = None
        if reason < 0:
            iterations = int(self.solver.getIterationNumber())
            restore()
            message = explain(self, int(reason))
            if reason == FAILED_LINEAR:
                self.solver.ksp.getPC().reset()  # MUMPS does not start anew after an analysis that failed
            raise ConvergenceError(message, reason=int(reason), iterations=iterations)
        self.fields.note()
        self._warn_of_unread_options()
        return self.u

    def tangent(self) -> PETSc.Mat:
        """The tangent, assembled at the present u into `A`; collective."""
        assign(self.u, self.x)
        self._assemble_tangent(self.x)
        return self.A

    def reaction(self, bc: fem.DirichletBC) -> float:
        """Sum of the residual at the present `u` over the degrees of freedom of `bc`; the same on every rank.

        With a condition on one component, this is the force in that direction that the support exerts on the body
        (per unit thickness in 2D).
        """
        if not isinstance(bc, fem.DirichletBC):
            raise InvalidInputError(
                f"a reaction is that of one Dirichlet condition, of problem.bcs say, and not of {bc!r}."
            )
        self._update_stresses()
        spaces = [unknown.function_space for unknown in self._unknowns]
        total = 0.0
        for block, found in enumerate(bcs_by_block(spaces, [bc])):
            if found:
                b = assembled(self.F[block] if isinstance(self.F, Sequence) else self.F)
                dofs, owned = bc.dof_indices()
                total += b[dofs[:owned]].sum()
        return float(self.comm.allreduce(total))

    def update_stored(self) -> None:
        """Bring stored stresses and tangents to the present u, for assemblies of `J` of one's own; collective."""
        self._update_stresses(QuadratureStress.update_tangent)

    def _checked(self, form: Any, rank: int, prepare: Callable[[ufl.Form], ufl.Form] = lambda form: form) -> Any:
        """The form, prepared, if its stored stresses are known and under their own measure; collective."""
        if form is None and rank > 1:
            return None
        if isinstance(form, ufl.form.BaseForm):
            check_operators(form, self._stresses)
        if not isinstance(form, ufl.Form):
            name = type(form).__name__
            raise InvalidInputError(f"{FORMS[rank]} is a {name}; it must be a UFL form, or a list of forms.")
        check_rank(form, rank, FORMS[rank])
        return prepare(form)

    def _with_values(self, form: Any) -> Any:
        return None if form is None else with_stored_values(form, self._stresses)

    # ---- what the solver calls -------------------------------------------------------------------------------------------

    def _wrap_callbacks(self) -> None:
        """Update stresses before the base class assembles the residual, and tangents before the Jacobian."""
        snes = self.solver
        vector, (assemble_residual, args, kargs) = snes.getFunction()
        A, P, (assemble_jacobian, more_args, more_kargs) = self.solver.getJacobian()
        self._dolfinx_residual: Callable[..., None] = lambda x, b: assemble_residual(snes, x, b, *args, **kargs)
        self._assemble_jacobian: Callable[..., None] = lambda snes, x, A, P: assemble_jacobian(
            snes, x, A, P, *more_args, **more_kargs
        )
        # without a line search each residual is followed by a Jacobian: one evaluation serves both
        self._full_steps = self.solver.getType() == "newtonls" and self.solver.getLineSearch().getType() == "basic"
        self.solver.setFunction(weak_method(self._residual_at), vector)
        self.solver.setJacobian(weak_method(self._jacobian_at), A, P)

    def _residual_at(self, snes: PETSc.SNES, x: PETSc.Vec, b: PETSc.Vec) -> None:
        self.set_iterate(x)
        if self._stresses and (self._full_steps or self._lifting_needs_tangent()):
            self.update_stored()
        else:
            self._update_stresses()
        self._assemble_residual(x, b)
        if self._row_scale is not None:
            multiply_rows(b, self._row_scale)

    def _assemble_residual(self, x: PETSc.Vec, b: PETSc.Vec) -> None:
        """Assemble the residual of x, which is in u; in rows of conditions it is u less the prescribed value."""
        self._dolfinx_residual(x, b)

    def _jacobian_at(self, snes: PETSc.SNES, x: PETSc.Vec, A: PETSc.Mat, P: PETSc.Mat) -> None:
        self.set_iterate(x)
        if self._assembled(x):
            return
        self.update_stored()
        self._assemble_jacobian(snes, x, A, P)
        if self._row_scale is not None:
            scale_rows((A, P), x, self._row_scale)

    def _converged(self, snes: PETSc.SNES, iteration: int, norms: tuple[float, float, float]) -> Any:
        """PETSc's own test in each field, or a residual that is rounding alone."""
        reasons = PETSc.SNES.ConvergedReason
        size, step, residual = norms
        rtol, atol, stol, _ = snes.getTolerances()
        self.norms = [*self.norms[:iteration], residual]
        if not np.isfinite(residual):
            return reasons.DIVERGED_FUNCTION_NANORINF
        if residual <= atol:
            return reasons.CONVERGED_FNORM_ABS
        if 0 <= snes.getMaxFunctionEvaluations() <= snes.getFunctionEvaluations():
            return reasons.DIVERGED_FUNCTION_COUNT
        if len(self.fields) > 1 and iteration <= 1:  # the larger after one step: a pressure's may vanish at the start
            norms_of_fields = self.fields.norms(snes.getFunction()[0])
            self._first_norms = np.maximum(norms_of_fields, self._first_norms if iteration else 0.0)
        if iteration == 0:
            return reasons.CONVERGED_ITERATING
        if residual <= rtol * self.norms[0] and self._each_field_converged(rtol):
            return reasons.CONVERGED_FNORM_RELATIVE
        if residual > STALLED * self.norms[-2] and self._is_rounding():
            return reasons.CONVERGED_FNORM_ABS
        if step < stol * size and self._each_step_small(stol):
            return reasons.CONVERGED_SNORM_RELATIVE
        limit = snes.getDivergenceTolerance()
        return reasons.DIVERGED_DTOL if 0.0 < limit * self.norms[0] < residual else reasons.CONVERGED_ITERATING

    def _each_field_converged(self, rtol: float) -> bool:
        """Whether the residual of each field has fallen enough, or is rounding; collective."""
        if len(self.fields) == 1:
            return True
        fallen = self.fields.norms(self.solver.getFunction()[0]) <= rtol * self._first_norms
        return bool(fallen.all()) or self._is_rounding(fallen)

    def _each_step_small(self, stol: float) -> bool:
        """Whether Newton's step, before a line search shortened it, is small in each field, or the residual is rounding."""
        update = self.solver.getSolutionUpdate()
        if not update:
            return True
        small = self.fields.norms(update) <= stol * self.fields.norms(self.solver.getSolution())
        return bool(small.all()) or self._is_rounding(small)

    def _is_rounding(self, fallen: Any = False) -> bool:
        """Whether the residual of the solver's iterate is rounding in the fields that have not `fallen`; collective."""
        x = self.solver.getSolution()
        if not self.A.isAssembled():
            self._assemble_tangent(x)
        norms, allowed = self.fields.norms(self.solver.getFunction()[0]), self.fields.rounding(self.A, x)
        return bool((fallen | (norms <= allowed)).all()) and not self.comm.allreduce(
            self._lifting_needs_tangent(), MPI.LOR
        )

    def _warn_of_unread_options(self) -> None:
        """Warn, once, of options that the solver has not read although it has made a step; collective."""
        if self._options_checked or self.solver.getIterationNumber() == 0:
            return
        self._options_checked = True
        warn_of_unread_options(self.solver, self._given_options, stacklevel=4)

    def _failed_at_rounding(self) -> bool:
        """Whether only rounding stopped the solver, so that its last iterate, which is in u, is a solution; collective."""
        if self.comm.allreduce(self.failure is not None, MPI.LOR):
            return False
        self._residual_norms()
        return self._is_rounding()

    def _residual_norms(self) -> Array:
        """Norms of the fields at the present u, without counting as an evaluation of the solver's; collective."""
        assign(self.u, self.x)
        vector = self.solver.getFunction()[0]
        self._residual_at(self.solver, self.x, vector)
        return self.fields.norms(vector)

    def _require_linear(self, start: Array) -> None:
        """Check the residual after a single linear solve, which does not do so itself; collective."""
        ksp = self.solver.getKSP()
        tolerance = self.solver.getTolerances()[0] if ksp.getType() == "preonly" else 10 * ksp.getTolerances()[0]
        norms = self._residual_norms()
        if not (norms <= tolerance * start.max()).all() and not self._failed_at_rounding():
            raise ConvergenceError(
                f"snes_type {self.solver.getType()} solved one linear problem, but the residual fell from {start} to {norms} "
                "only: the problem is not linear. Take snes_type newtonls.",
                reason=int(PETSc.SNES.ConvergedReason.DIVERGED_MAX_IT),
                iterations=1,
            )

    def _scale_rows(self) -> None:
        """Scale all rows to one unit, for the norm of the residual that the solver minimises; collective.

        Rows of Dirichlet conditions become forces. Rows of other fields are scaled to the forces of the first, unless the
        linear solver needs the matrix to be symmetric.
        """
        if not self.scales_rows or self.solver.getObjective() is not None:  # the objective's derivative is the residual
            return
        lifted = self.comm.allreduce(self._lifting_needs_tangent(), MPI.LOR)
        several = len(self.fields) > 1 and not needs_symmetry(self.solver.getKSP())
        if not lifted and not several:
            return
        self._row_scale = condition_factors(self.fields, self.tangent())
        if several:
            self._row_scale *= field_factors(self.fields, self.A)
        scale_rows((self.A, self.P_mat), self.x, self._row_scale)
        self._assembled_at = owned_entries(self.x).copy()

    def _assemble_tangent(self, x: PETSc.Vec) -> None:
        self.set_iterate(x)
        self.update_stored()
        self._assemble_jacobian(self.solver, x, self.A, self.P_mat)

    def _assembled(self, x: PETSc.Vec) -> bool:
        """Whether the tangent at x was assembled before the solve; true once only. Collective."""
        before, self._assembled_at = self._assembled_at, None
        if before is None:
            return False
        return bool(self.comm.allreduce(np.array_equal(before, owned_entries(x)), MPI.LAND))

    def set_iterate(self, x: PETSc.Vec) -> None:
        """Set the unknowns, ghosts included, to the values of a vector of their layout; collective."""
        parts: Any = x.getNestSubVecs() if x.getType() == PETSc.Vec.Type.NEST else [x]
        for part in parts:
            part.ghostUpdate(addv=PETSc.InsertMode.INSERT, mode=PETSc.ScatterMode.FORWARD)
        assign(x, self.u)

    def _run_from(self, restore: Callable[[], None]) -> int:
        restore()
        super().solve()
        return int(self.solver.getConvergedReason())

    def _restorer(self) -> Callable[[], None]:
        """What restores the unknowns, and what else a solve starts from."""
        return restorer((*self._unknowns, *self.start_values.values()))

    def _update_stresses(self, update: Callable[[QuadratureStress], None] = QuadratureStress.update_stress) -> None:
        """Update the stored stresses. An error on one rank alone would leave the others waiting, so it becomes NaN."""
        self.failure = None
        for stress in self._stresses:
            try:
                update(stress)
            except Exception as error:
                self.failure = f"{type(error).__name__}: {error}"
                stress.invalidate()

    def _lifting_needs_tangent(self, rounding: float = ROUNDING) -> bool:
        """Whether u differs from the Dirichlet values on this rank by more than rounding of both, as a share of them.

        DOLFINx then lifts the residual with the Jacobian.
        """
        spaces = [unknown.function_space for unknown in self._unknowns]
        for unknown, bcs in zip(self._unknowns, bcs_by_block(spaces, self.bcs)):
            u = unknown.x.array
            prescribed = with_prescribed(u, bcs)
            for bc in bcs:
                dofs = bc.dof_indices()[0]
                gap = np.abs(prescribed[dofs] - u[dofs])
                size = np.maximum(np.abs(prescribed[dofs]), np.abs(u[dofs])).max(initial=0.0)
                if (gap > rounding * size).any():
                    return True
        return False


def _each(change: Callable[[Any], Any], forms: Any) -> Any:
    """A form, or each of a nested list of forms, changed."""
    if isinstance(forms, Sequence) and not isinstance(forms, str):
        return [_each(change, form) for form in forms]
    return change(forms)
