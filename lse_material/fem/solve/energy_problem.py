"""Equilibrium as a minimum of an energy with many wells: a trust region, quasi-Newton steps while it is slow, and a fallback.

    find u with dPi(u; v) = 0 for every v, where Pi falls from step to step:      Pi = int W dx - work of loads + ...

Newton's method on the residual also converges to saddles and maxima of such energies, and between two wells the residual must
rise. A. R. Conn, N. I. M. Gould, Ph. L. Toint, Trust-Region Methods, SIAM 2000; T. Steihaug, SIAM J. Numer. Anal. 20, 626
(1983), for conjugate gradients (PETSc's KSPSTCG) that end where the tangent is not positive.

Where they end so, or the residual hardly falls, quasi-Newton steps take over (`lse_material.fem.solve.quasi_newton`).
"""

import contextlib
import functools
import logging
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

import dolfinx.fem.petsc
import numpy as np
import ufl
from dolfinx import fem
from dolfinx.fem.petsc import assign
from mpi4py import MPI
from petsc4py import PETSc

from lse_material._arrays import Array, float_array
from lse_material.errors import ConvergenceError, InvalidInputError
from lse_material.fem._lifetime import collect_garbage, weak_method
from lse_material.fem._mpi import assembled, integral
from lse_material.fem.forms.constants import without_constants
from lse_material.fem.forms.frozen_tangent import frozen_tangent
from lse_material.fem.forms.incompressible import Multiplier
from lse_material.fem.forms.marks import marks_in
from lse_material.fem.forms.measures import with_quadrature_degree
from lse_material.fem.quadrature.stress import QuadratureStress
from lse_material.fem.solve.advice import explain, explain_error, with_cause
from lse_material.fem.solve.arguments import check_energy, check_unknowns, stored_stresses
from lse_material.fem.solve.continuation import SMOOTHER_REMAINDER, SmootherEnergy, positive_preconditioner
from lse_material.fem.solve.convergence import Convergence
from lse_material.fem.solve.dirichlet import enter_dirichlet_values
from lse_material.fem.solve.fields import ROUNDING, with_prescribed
from lse_material.fem.solve.given_residual import check_given_residual
from lse_material.fem.solve.inertia import SymmetricFactor
from lse_material.fem.solve.missing_stiffness import missing_stiffness
from lse_material.fem.solve.multigrid import free_part, is_direct, prepare_multigrid
from lse_material.fem.solve.newton_inertia import blended_and_raised, minimise
from lse_material.fem.solve.options import FAILED_LINEAR, LINEAR, TRUST_REGION, energy_options, run_with_work_space
from lse_material.fem.solve.problem import FINER, MaterialProblem
from lse_material.fem.solve.quasi_newton import REMAINDER, descend
from lse_material.fem.solve.saddle import minimise_eliminated
from lse_material.fem.solve.scaling import FieldScales
from lse_material.fem.solve.trust_region import EnergyDifferences, keep_preconditioner_positive, require_two_matrices

DESCENTS = 20  # at most in a solve, from the trust region to quasi-Newton steps
SLOW = 0.3  # of the last residual norm: an iteration of the trust region that leaves more is slow
FINISHING_ITERATIONS = 3  # of `minimise` after a failure that count as the end of a solve, not as a fallback
AT_BOUNDARY = (PETSc.KSP.ConvergedReason.CONVERGED_NEG_CURVE, PETSc.KSP.ConvergedReason.CONVERGED_STEP_LENGTH)
INFINITE_RESIDUAL = 1e150  # entries of the residual where the energy is not finite; their square is finite

logger = logging.getLogger("lse_material")


class EnergyProblem(MaterialProblem):
    """A minimum of an energy: `MaterialProblem` with an objective, a robust default solver and a fallback.

    Residual, tangent and frozen-weight tangent are derived from the energy with one quadrature rule: integrals without a degree
    get UFL's estimate for the energy. The default solver is SNES `newtontr` with the energy as objective and `stcg` inside; a
    Cholesky factor of the frozen-weight tangent preconditions it. Every PETSc option can be overridden. The first radius of the
    trust region is the size of the body. While the tangent is indefinite, quasi-Newton steps with the last preconditioner lower
    the energy. If the solver fails, `minimise` continues.

    A mixed energy, such as `lse.fem.three_field_energy`, has no minimum: it is stationary in its Lagrange multipliers, and the
    solution is the minimum once they are eliminated. The default is then Newton's method with full steps and a direct solver,
    between states that are stable. Otherwise, or if it fails, `minimise` goes down the energy of u alone, from the start. With
    fallback=False any equilibrium is accepted.

    A state is accepted if its energy is finite, so that det F > 0 at every quadrature point, if det F > 0 also at corners and
    on edges of cells, and if the residual of each field (each part of a mixed space) is below `tolerance` times the reactions
    on that field, or is rounding.

    Args:
        energy: UFL functional of energies of `lse.fem.energy`, expanded or not, minus the work of dead loads.
        u: the unknown, and the initial guess: one function, of a mixed space if there are several fields.
        bcs: Dirichlet conditions; `solve` first sets u to their values. None are needed if springs or inertia in the energy
            prevent rigid motions.
        petsc_options_prefix: mandatory.
        petsc_options: override single entries of `TRUST_REGION`, or those of `MaterialProblem` if snes_type is another. With
            snes_rtol or snes_atol a state is also accepted when the norm of the whole residual has fallen by that factor, or
            below that value. With ksp_type preonly the tangent itself is factored, not the frozen-weight tangent.
        residual: replaces the derivative of `energy`, by a form with operators of a `QuadratureStress`, say. It must be equal,
            which the first solve checks.
        stresses: every `QuadratureStress` in `residual`.
        frozen: bilinear form that the preconditioner is built on. If left out it is the frozen-weight tangent of the compiled
            potentials in `energy`, or the tangent if there are none.
        tolerance: of the residual, relative to the reactions at that state, at least to the forces of a strain of 1e-4.
        fallback: whether `minimise` continues if the PETSc solver fails.
        predictor: whether one linear step extends changed Dirichlet values into the body. Its matrix is the tangent if that is
            positive definite, else the frozen-weight tangent; its solver is direct if the preconditioner is, else conjugate
            gradients. Without it the values are imposed abruptly, which may push the adjacent cells across energy barriers or
            turn them inside out. A guess that is no equilibrium, and whose tangent is indefinite, takes them abruptly.
        continuation: factors of the transition scale, (8, 4, 2) for example. Quasi-Newton steps first lower energies that are
            smoother by these, one after the other, which is faster and finds lower minima from a rough start. The minimum may
            lie in other wells than the start: leave it out where the history of loads decides, as on a path with hysteresis.
        kwargs: passed on to `MaterialProblem` (jit_options, form_compiler_options, entity_maps).

    Attributes:
        functional: the energy, a UFL form.
        convex_form: the frozen-weight tangent, compiled; None if there is none.
        fallbacks: how often `minimise` had to continue.
        iterations: of the last solve, trust region and `minimise` together.
        quasi_newton_steps: of the last solve; each costs about a tenth of an iteration.
        force_scale: norm of forces that `tolerance` is relative to if reactions are smaller; 0 unless it is set.
        energy_scale: an energy whose tiny share `minimise` takes for rounding, also where the energy vanishes; 0 unless set.
        scales: units of the fields of u, in which solvers measure steps.

    Raises:
        InvalidInputError: the energy is no functional, or u is a list, or continuation does not apply (`lse.fem.smoothed`;
            mixed energies); snes_type is one for bounds on u; and as `MaterialProblem`.

    >>> problem = lse.fem.EnergyProblem(W * dx, u, bcs=bcs, petsc_options_prefix="bar_")
    >>> pull.value[:] = 0.1, 0.0
    >>> _ = problem.solve()
    >>> lse.fem.stability.is_stable(problem)
    True
    """

    default_options = TRUST_REGION

    def __init__(
        self,
        energy: ufl.Form,
        u: fem.Function,
        *,
        petsc_options_prefix: str,
        bcs: Sequence[fem.DirichletBC] = (),
        petsc_options: Mapping[str, Any] | None = None,
        residual: ufl.Form | None = None,
        stresses: Sequence[QuadratureStress] = (),
        frozen: ufl.Form | None = None,
        tolerance: float = 1e-9,
        fallback: bool = True,
        predictor: bool = True,
        continuation: Sequence[float] = (),
        **kwargs: Any,
    ) -> None:
        check_energy(energy, u, tolerance)
        saddle = bool(marks_in(energy, Multiplier))
        continuation = float_array("continuation", continuation, 1).tolist()
        if saddle and continuation:
            raise InvalidInputError("a mixed energy has no minimum to which continuation could lead: leave it out.")
        chosen, self.default_options = energy_options(petsc_options_prefix, petsc_options, saddle=saddle)
        self._chosen = chosen
        self.functional = energy
        self.tolerance, self.fallback, self.predictor = tolerance, fallback, predictor
        self.fallbacks = self.iterations = self.quasi_newton_steps = 0
        self._descents_left, self._slow = 0, False
        self.force_scale = self.energy_scale = 0.0
        energy = with_quadrature_degree(energy)
        self._reads_stored_energy = any(
            stress.is_read_by(energy.coefficients()) for stress in stored_stresses(stresses)
        )
        if self._reads_stored_energy and residual is None:
            raise InvalidInputError(
                "the energy holds values stored at points, whose derivative UFL does not know: give residual=, "
                "inner(P.operator, grad(v)) * P.dx for P.energy * P.dx."
            )
        if residual is None:
            check_unknowns(energy, (u,))
        convex = frozen_tangent(energy, u) if frozen is None and not saddle else frozen
        direct = {**self.default_options, **chosen}.get("ksp_type") == "preonly"  # it applies the preconditioner alone
        if convex is not None and not direct:
            require_two_matrices(chosen)
        super().__init__(
            ufl.derivative(energy, u) if residual is None else residual,
            u,
            bcs=bcs,
            petsc_options_prefix=petsc_options_prefix,
            stresses=stresses,
            petsc_options=petsc_options,
            P=None if direct else convex,
            **kwargs,
        )
        self._unchecked = None if residual is None else energy  # until the given residual is found to be its derivative
        self._options = {k: v for k, v in kwargs.items() if k != "kind"}
        energy, constants = without_constants(energy, u)
        self._constants = None if constants is None else self.compiled(constants)
        self._smoother = [SmootherEnergy(energy, f, u, self.fields, self.compiled) for f in continuation]
        self._value = self.compiled(energy)
        self.convex_form = None if convex is None else self.compiled(convex)
        self._convex_matrix: PETSc.Mat | None = None
        self.scales = FieldScales(self.fields)
        self._convergence, self._last_norm = Convergence(self.fields, self.solver, chosen), np.inf
        self._unsupported = not self.comm.allreduce(not self.fields.free[0].all(), MPI.LOR)  # may move rigidly
        for matrix in (self.A, self.P_mat):
            if matrix is not None:
                matrix.setOption(PETSc.Mat.Option.SYMMETRIC, True)
        self._kept = prepare_multigrid(self.solver, u.function_space, self.fields)
        keep_preconditioner_positive(self.solver.getKSP())
        self._work, self._physical, self._slow_iterate = (self.x.duplicate() for _ in range(3))
        self._objective = EnergyDifferences(weak_method(self._energy_at), weak_method(self._gradient_at), self.x)
        self._saddle = saddle
        if not saddle:
            self.solver.setObjective(self._objective)
        self.solver.setConvergenceTest(weak_method(self._converged))

    @property
    def multipliers(self) -> int:
        """Number of free unknowns that are Lagrange multipliers."""
        return self.fields.multipliers

    def compiled(self, form: ufl.Form) -> fem.Form:
        """A form compiled as those of this problem are: with its entity maps and options."""
        return fem.form(form, **self._options)

    def energy(self) -> float:
        """The energy of the present u, the same on every rank; NaN where an element is turned inside out."""
        return self.value() + (0.0 if self._constants is None else integral(self.comm, self._constants))

    def value(self) -> float:
        """The energy less large constants of its potentials, whose rounding would hide how it changes; collective."""
        if self._reads_stored_energy:
            self._update_stresses()
        return integral(self.comm, self._value)

    def residual(self, out: PETSc.Vec) -> None:
        """Write the gradient of the energy to `out`, zero where u is prescribed; collective."""
        out.array[:] = self.fields.where_free(self.forces())

    def tangent(self) -> PETSc.Mat:
        """The second derivative of the energy, with a 1 on the diagonal where u is prescribed; collective.

        It is the matrix `A`: the next call, and the next solve, change it.
        """
        self.update_stored()
        self._assemble(self.A, self.J)
        self._note_tangent(self.A)
        return self.A

    def convex_tangent(self) -> PETSc.Mat | None:
        """The frozen-weight tangent, as `tangent`; None if there is none. The next call changes it."""
        if self.convex_form is None:
            return None
        if self._convex_matrix is None:
            self._convex_matrix = self.P_mat or dolfinx.fem.petsc.create_matrix(self.convex_form)
            self._convex_matrix.setOption(PETSc.Mat.Option.SYMMETRIC, True)  # type: ignore[arg-type]
        self._assemble(self._convex_matrix, self.convex_form)
        return self._convex_matrix

    def positive_tangents(self) -> Generator[PETSc.Mat, None, None]:
        """Matrices near the tangent that was assembled last, each nearer to a positive one; see `Energy`."""
        return blended_and_raised(self.A, self.convex_tangent())

    def iterate(self, out: PETSc.Vec) -> None:
        """Write u to a vector of the layout of `x`; collective."""
        assign(self.u, out)

    def is_converged(self, residual: PETSc.Vec, rounding: float = ROUNDING, *, reactions: Array | None = None) -> bool:
        """Whether the residual of the present u counts as zero: in each field by `tolerance`, or as rounding; collective."""
        if reactions is None:
            reactions = self.fields.norms(self.forces(), prescribed=True)
        return self._convergence.is_reached(
            residual, reactions, tolerance=self.tolerance, force_scale=self.force_scale, rounding=rounding
        )

    def apply_bcs(self) -> None:
        """Set u to its Dirichlet values."""
        self.u.x.array[:] = with_prescribed(self.u.x.array, self.bcs)
        self.u.x.scatter_forward()

    def forces(self) -> Array:
        """The derivative of the energy at the present u, reactions included, with entries for ghosts; collective."""
        self._update_stresses()
        return assembled(self.F)

    def _note_tangent(self, A: PETSc.Mat) -> None:
        self._convergence.note_tangent(A, diagonal_only=not is_direct(self.solver.getKSP()))

    def _assemble(self, matrix: PETSc.Mat, form: fem.Form) -> None:
        matrix.zeroEntries()
        dolfinx.fem.petsc.assemble_matrix(matrix, form, bcs=self.bcs)
        matrix.assemble()

    def solve(self) -> fem.Function:
        """Minimise from the present values of `u`, and return `u`.

        Raises:
            ConvergenceError: neither solver converged, or a cell was turned inside out; `u` is then as it was before the call.
            InvalidInputError: the body can move rigidly: there is no Dirichlet condition, and the tangent is singular. Or
                `residual` was given, and is not the derivative of the energy.
        """
        collect_garbage(self.comm)
        if self._unchecked is not None and check_given_residual(self, self._unchecked, self._stresses):
            self._unchecked = None
        restore = self._restorer()
        try:
            self._minimise_from_here()
        except BaseException as error:
            restore()
            if isinstance(error, (ConvergenceError, PETSc.Error)):
                raise with_cause(self, error, self.iterations) from error
            raise
        self._warn_of_unread_options()
        return self.u

    def _minimise_from_here(self) -> None:
        if self._unsupported and (motion := missing_stiffness(self.fields, self.tangent())) is not None:
            raise InvalidInputError(f"There is no Dirichlet condition, and {motion}.")
        self._unsupported = False
        self._kept.restart()
        indefinite = enter_dirichlet_values(self, rough=bool(self._smoother))
        self._prepare_trust_region()
        self.iterations = self.quasi_newton_steps = 0
        self._descents_left = DESCENTS if self.solver.getType() == "newtontr" and not self._saddle else 0
        if self._smoother or (indefinite and self._descents_left > 0):
            self._descend_first()
        start = self.u.x.array.copy(), self.value()
        try:
            self._require_stable()
            self._solve_scaled()
            self._require_stable()
        except ConvergenceError as error:
            if not self.fallback:
                raise
            self._fall_back(error, *start)
        if not np.isfinite(self.value()):
            raise ConvergenceError(
                "the solver ended in a state whose energy is not finite: a cell is turned inside out (det F <= 0). Take "
                "smaller load steps.",
                iterations=self.iterations,
            )
        self.inverted_cells.refuse(FINER, self.iterations)

    def _solve_scaled(self) -> None:
        """Run the PETSc solver, whose unknowns are those of u divided by their field's scale; u ends as its last iterate."""
        self._convergence.first_norm, self.failure = np.inf, None
        assign(self.u, self.x)
        self.scales.divide(self.x.array)
        failure: PETSc.Error | None = None
        try:
            reason = run_with_work_space(self.solver.getKSP(), self._run_solver)
            while self._slow:
                pc = self.solver.getKSP().getPC()
                steps = self._descend(pc.getOperators()[1], pc.apply)
                self._descents_left = self._descents_left - 1 if steps > 0 else 0
                reason = self._run_solver()
        except PETSc.Error as error:
            reason, failure = FAILED_LINEAR, error
        self.set_iterate(self.scales.to_physical(self.x, self._physical))
        if reason < 0:
            message = explain(self, reason) if failure is None else explain_error(self, failure)
            self.solver.getKSP().getPC().reset()  # a factor that failed would be used again
            raise ConvergenceError(message, reason=reason, iterations=self.iterations)
        if self.solver.getType() in LINEAR:
            self.residual(self._work)
            if not self.is_converged(self._work):
                raise ConvergenceError("one linear solve does not solve this problem.", iterations=self.iterations)

    def _run_solver(self) -> int:
        """Run the PETSc solver from `x` until it ends or is slow; returns PETSc's reason."""
        self._slow, self._last_norm = False, np.inf
        self._objective.restart()
        self._convergence.forget_forces()
        limit = self.solver.getTolerances()[3]
        self.solver.setTolerances(max_it=limit - self.iterations)
        try:
            self.solver.solve(None, self.x)
        finally:
            self.iterations += int(self.solver.getIterationNumber())
            self.solver.setTolerances(max_it=limit)
        if self._slow:
            self._slow_iterate.copy(self.x)
        return self._run_solver() if self._kept.failed(self.solver) else int(self.solver.getConvergedReason())

    def _descend_first(self) -> None:
        """Go down smoother energies, if there are any, and then this one, with the preconditioner of the start."""
        assign(self.u, self.x)
        self.scales.divide(self.x.array)
        with positive_preconditioner(self) as (P, inverse):
            self._kept.note()
            for smoother in self._smoother:
                self._descend(P, inverse, smoother)
            self._descend(P, inverse)
        self.set_iterate(self.scales.to_physical(self.x, self._physical))

    def _descend(self, P: PETSc.Mat, inverse: Callable[..., None], of: SmootherEnergy | None = None) -> int:
        """Lower an energy from `x` by quasi-Newton steps, preconditioned by the inverse of P; returns their number."""
        energy, gradient = functools.partial(self._energy_at, of=of), functools.partial(self._gradient_at, of=of)
        remainder = REMAINDER if of is None else SMOOTHER_REMAINDER
        steps = descend(energy, gradient, P.mult, free_part(inverse, self.fields), self.x, remainder)
        self.quasi_newton_steps += steps
        return steps

    def _residual_at(self, snes: PETSc.SNES, x: PETSc.Vec, b: PETSc.Vec) -> None:
        super()._residual_at(snes, self.scales.to_physical(x, self._physical), b)
        self.scales.multiply(b.array)
        if snes.getType() == "newtontr" and not np.isfinite(b.norm()):
            b.set(INFINITE_RESIDUAL)  # the trial is refused by its energy; NaN would end the solver

    def _assemble_residual(self, x: PETSc.Vec, b: PETSc.Vec) -> None:
        """Assemble the forces once, for the residual and for the reactions that its tolerance is relative to."""
        if self.comm.allreduce(self._lifting_needs_tangent(0.0), MPI.LOR):
            super()._assemble_residual(x, b)
            return
        forces = assembled(self.F)
        self._convergence.note_forces(x, forces)
        b.array[:] = self.fields.where_free(forces)

    def _jacobian_at(self, snes: PETSc.SNES, x: PETSc.Vec, A: PETSc.Mat, P: PETSc.Mat) -> None:
        if self._kept.serves(snes.getKSP()):
            self.set_iterate(self.scales.to_physical(x, self._physical))
            self.scales.scale(self.tangent())
            return
        super()._jacobian_at(snes, self.scales.to_physical(x, self._physical), A, P)
        self._note_tangent(A)
        for matrix in (A, P) if P.handle != A.handle else (A,):
            self.scales.scale(matrix)

    def _energy_at(self, x: PETSc.Vec, of: SmootherEnergy | None = None) -> float:
        self.set_iterate(self.scales.to_physical(x, self._physical))
        return (of or self).value()

    def _gradient_at(self, x: PETSc.Vec, out: PETSc.Vec, of: SmootherEnergy | None = None) -> None:
        self.set_iterate(self.scales.to_physical(x, self._physical))
        (of or self).residual(out)
        self.scales.multiply(out.array)

    def _converged(self, snes: PETSc.SNES, iteration: int, norms: tuple[float, float, float]) -> Any:
        """Whether the iterate is converged. (After a trial that was refused, PETSc's norms are those of the trial.)"""
        reason, residual = PETSc.SNES.ConvergedReason, self._work
        self.set_iterate(self.scales.to_physical(snes.getSolution(), self._physical))
        self.fields.note()
        snes.getFunction()[0].copy(residual)
        self.scales.divide(residual.array)
        norm = float(np.linalg.norm(self.fields.norms(residual)))
        if not norm < INFINITE_RESIDUAL:
            return reason.DIVERGED_FUNCTION_NANORINF
        if not np.isfinite(self._convergence.first_norm):
            self._convergence.first_norm = norm
        falls = iteration > 0 and norm <= SLOW * self._last_norm  # what rounding may have made is none while it falls
        reactions = self._convergence.reactions_at(self._physical)
        if self.is_converged(residual, 0.0 if falls else ROUNDING, reactions=reactions):
            return reason.CONVERGED_FNORM_ABS
        self._slow = self._is_slow(iteration, norm)
        if self._slow:  # the solver would end with its last trial, even if it has refused it
            snes.getSolution().copy(self._slow_iterate)
        return reason.CONVERGED_ITS if self._slow else reason.CONVERGED_ITERATING

    def _is_slow(self, iteration: int, norm: float) -> bool:
        """Whether quasi-Newton steps should go on from here: the tangent is indefinite, or the residual hardly fell."""
        last, self._last_norm = self._last_norm, norm
        if not 0 < iteration < self.solver.getTolerances()[3] or self._descents_left == 0:
            return False
        return self.solver.getKSP().getConvergedReason() in AT_BOUNDARY or norm > SLOW * last

    def _prepare_trust_region(self) -> None:
        """Find the scales of the fields, and set radii in units of the body: the first step may be as large as the body."""
        newtontr, A = self.solver.getType() == "newtontr", self.A
        if not self.scales.known or (newtontr and not self.scales.has_displacement):
            A = self.convex_tangent() or self.tangent()
            if not self.scales.known:
                self.scales.measure(A)
        if newtontr:
            self.residual(self.b)
            size = self.scales.largest_step(self.u, self.b.array_r.copy(), A)
            first = self.solver.getTRTolerances()[2] if "snes_tr_delta0" in self._chosen else size
            self.solver.setTRTolerances(delta_min=1e-12 * size, delta_0=first)

    def _require_stable(self) -> None:
        """Raise ConvergenceError at states from which, or to which, Newton's method is not trusted to go down; collective."""
        if self._saddle and self.fallback:
            with SymmetricFactor(self.comm) as factor:
                if not factor.is_positive(self.tangent(), self.multipliers):
                    raise ConvergenceError("the state is not stable.", iterations=int(self.solver.getIterationNumber()))

    def _fall_back(self, error: ConvergenceError, start: Any, energy: float) -> None:
        """Continue with `minimise` from the last iterate, or from the start if its energy was lower."""
        if self._saddle:
            self.u.x.array[:] = start
            self.fallbacks += 1
            self.iterations += minimise_eliminated(self)
            return
        if not self.value() <= energy:
            self.u.x.array[:] = start
        with contextlib.suppress(ConvergenceError):  # rounding of the energy may be all that stopped a trust region
            self.iterations += minimise(self, FINISHING_ITERATIONS)
            return
        self.fallbacks += 1
        if self.comm.rank == 0:
            logger.warning("%s Going on with the inertia-controlled minimiser.", error)
        self.iterations += minimise(self)
