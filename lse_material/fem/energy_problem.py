"""Equilibrium as a minimum of an energy with many wells: a trust region first, an inertia-controlled Newton method if it fails.

    find u with dPi(u; v) = 0 for every v, where Pi falls from step to step:      Pi = int W dx - work of loads + ...

Newton's method on the residual is drawn to saddles and maxima of such energies, and the residual must rise on the way from one
well to the next. A. R. Conn, N. I. M. Gould, Ph. L. Toint, Trust-Region Methods, SIAM 2000; T. Steihaug, SIAM J. Numer. Anal.
20, 626 (1983), for the conjugate gradients (PETSc's KSPSTCG) that stop where the tangent is not positive.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import ufl
from dolfinx import fem
from dolfinx.fem.petsc import assign
from dolfinx.la import InsertMode
from mpi4py import MPI
from petsc4py import PETSc

from lse_material.errors import ConvergenceError, InvalidInputError
from lse_material.fem.frozen import frozen_tangent
from lse_material.fem.inertia import SymmetricFactor
from lse_material.fem.minimise import minimise
from lse_material.fem.multigrid import DIRECT, is_direct, keep_dirichlet_values, linear_step, set_rigid_modes
from lse_material.fem.problem import DEFAULT_OPTIONS, MaterialProblem
from lse_material.fem.quadrature import QuadratureStress

TRUST_REGION: Mapping[str, Any] = {
    "snes_type": "newtontr",
    "snes_tr_delta0": 10.0,
    "snes_max_it": 400,
    "snes_stol": 0.0,
    "ksp_type": "stcg",
    "ksp_rtol": 1e-3,
    "pc_type": "cholesky",
    "pc_factor_mat_solver_type": "mumps",
}
FINISH = 3  # iterations after a failure that count as the end of a solve, not as another solver
INFINITE = 1e300  # energy of a state that has none: the trust region steps back from it
ROUNDING = 1e-13  # of the forces that cancel in the residual
UNCANCELLED = 1e-4  # of |diagonal of the tangent| |u|, next to reactions, as a measure of forces

logger = logging.getLogger("lse_material")


class EnergyProblem(MaterialProblem):
    """A minimum of an energy: `MaterialProblem` with an objective, a safe default solver and a fallback.

    Residual, tangent and the frozen-weight tangent, on which the preconditioner is built, are derived from the energy. The
    default is SNES `newtontr` with the energy as objective, `stcg` inside and a Cholesky factor of the frozen-weight tangent
    as preconditioner; every PETSc option can be overridden. Where it fails, `minimise` goes on.

    Args:
        energy: UFL functional, any energies of `lse.fem.energy` in it, expanded or not, minus the work of dead loads.
        u: the unknown, and the initial guess.
        bcs: Dirichlet conditions; `solve` brings u to their values before it starts.
        petsc_options_prefix: mandatory.
        petsc_options: override single entries of `TRUST_REGION`, or those of `MaterialProblem` if snes_type is another.
        residual: in place of the derivative of `energy`, with operators of a `QuadratureStress`, say; it must be equal to it.
        stresses: every `QuadratureStress` in `residual`.
        frozen: bilinear form that the preconditioner is built on; the frozen-weight tangent of the compiled potentials in
            `energy` if left out, the tangent itself if there are none.
        tolerance: of the residual, relative to the reactions (and to a share of the forces that cancel in it).
        fallback: whether `minimise` goes on where the PETSc solver fails.
        predictor: whether changed Dirichlet values are spread over the body by one linear step where the tangent is positive
            definite: with a direct solver if the preconditioner is one, else by conjugate gradients. Otherwise they are
            entered at once, and the cells next to them may be carried over a ridge.
        kwargs: passed on to `MaterialProblem` (jit_options, form_compiler_options).

    Attributes:
        functional: the energy, a UFL form.
        bcs: the Dirichlet conditions.
        fallbacks: how often `minimise` had to take over.
        iterations: of the last solve, both solvers together.
        force_scale: norm of the largest reactions so far, which `tolerance` is relative to; may be set.

    Raises:
        InvalidInputError: the energy is no functional, or there is no Dirichlet condition (rigid motions would be free).
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
        **kwargs: Any,
    ) -> None:
        if not isinstance(energy, ufl.Form) or energy.arguments():
            raise InvalidInputError(
                "an EnergyProblem takes an energy: a UFL form without test function, such as energy(material, F)*dx."
            )
        if not bcs:
            raise InvalidInputError(
                "there is no Dirichlet condition: rigid motions are free, and no minimum is the only one."
            )
        if not 0.0 < tolerance < 1.0:
            raise InvalidInputError(f"tolerance is {tolerance}; it must lie between 0 and 1.")
        chosen = petsc_options or {}
        if chosen.get("snes_type", "newtontr") != "newtontr":
            self.default_options = DEFAULT_OPTIONS
        if chosen.get("pc_type", "lu") not in DIRECT:
            self.default_options = {k: v for k, v in self.default_options.items() if not k.startswith("pc_factor_")}
        self.functional, self.bcs = energy, tuple(bcs)
        self.tolerance, self.fallback, self.predictor = tolerance, fallback, predictor
        self.fallbacks = self.iterations = 0
        self.force_scale = 0.0
        super().__init__(
            ufl.derivative(energy, u) if residual is None else residual,
            u,
            bcs=bcs,
            petsc_options_prefix=petsc_options_prefix,
            stresses=stresses,
            petsc_options=petsc_options,
            P=frozen_tangent(energy, u) if frozen is None else frozen,
            **kwargs,
        )
        self._energy = fem.form(energy, **{k: v for k, v in kwargs.items() if k != "kind"})
        symmetric = PETSc.Mat.Option.SYMMETRIC
        for matrix in (self.A, self.P_mat):
            if matrix is not None:
                matrix.setOption(symmetric, True)
        ksp = self.solver.getKSP()
        if ksp.getPC().getType() == "gamg":
            set_rigid_modes(self.A if self.P_mat is None else self.P_mat, u.function_space)
        if not is_direct(ksp):
            keep_dirichlet_values(ksp, self._bcs)
        weak = weakref.ref(self)

        def objective(snes: PETSc.SNES, x: PETSc.Vec) -> float:
            problem = weak()
            assert problem is not None
            problem._take_iterate(x)
            value = problem.energy()
            return value if np.isfinite(value) else INFINITE

        def converged(snes: PETSc.SNES, iteration: int, norms: tuple[float, float, float]) -> Any:
            problem = weak()
            assert problem is not None
            reason = PETSc.SNES.ConvergedReason
            if not np.isfinite(norms[2]):
                return reason.DIVERGED_FUNCTION_NANORINF
            return reason.CONVERGED_FNORM_ABS if norms[2] <= problem.allowed_residual() else reason.CONVERGED_ITERATING

        self.solver.setObjective(objective)
        self.solver.setConvergenceTest(converged)

    def energy(self) -> float:
        """The energy of the present u, the same on every rank; NaN where an element is turned inside out."""
        return float(self.u.function_space.mesh.comm.allreduce(fem.assemble_scalar(self._energy), MPI.SUM))

    def allowed_residual(self) -> float:
        """Norm of the residual that counts as none at the present u; collective."""
        self._update_stresses()
        b = fem.assemble_vector(self.F)
        b.scatter_reverse(InsertMode.add)
        owned = self.u.function_space.dofmap.index_map.size_local * self.u.function_space.dofmap.index_map_bs
        held = np.zeros(len(b.array), dtype=bool)
        for bc in self._bcs:
            held[bc.dof_indices()[0]] = True
        reactions = (b.array[:owned][held[:owned]] ** 2).sum()
        uncancelled = 0.0
        if self.A.isAssembled():
            uncancelled = ((self.A.getDiagonal().array * self.u.x.array[:owned])[~held[:owned]] ** 2).sum()
        comm = self.u.function_space.mesh.comm
        reactions, uncancelled = (float(np.sqrt(comm.allreduce(v))) for v in (reactions, uncancelled))
        self.force_scale = max(self.force_scale, reactions, UNCANCELLED * uncancelled)
        return self.tolerance * self.force_scale + ROUNDING * uncancelled

    def apply_bcs(self) -> None:
        """Set u to its Dirichlet values."""
        for bc in self._bcs:
            bc.set(self.u.x.array, None, 1.0)
        self.u.x.scatter_forward()

    def solve(self) -> fem.Function:
        """Minimise from the present values of `u`, and return `u`.

        Raises:
            ConvergenceError: neither solver converged; `u` is then as it was before the call.
        """
        before = self.u.x.array.copy()
        self._enter_dirichlet_values()
        start = self.u.x.array.copy(), self.energy()
        try:
            super().solve()
            self.iterations = int(self.solver.getIterationNumber())
        except ConvergenceError as error:
            self.iterations = error.iterations
            if not self.fallback or not np.isfinite(start[1]):
                self.u.x.array[:] = before
                raise
            self._fall_back(error, *start, before)
        return self.u

    def _enter_dirichlet_values(self) -> None:
        """Bring u to its Dirichlet values: by a linear step from where it is if that is stable, else at once."""
        before = self.u.x.array.copy()
        self.apply_bcs()
        comm = self.u.function_space.mesh.comm
        if not self.predictor or not comm.allreduce(bool((self.u.x.array != before).any()), MPI.LOR):
            return
        entered = self.u.x.array.copy()
        self.u.x.array[:] = before
        assign(self.u, self.x)
        self.solver.computeFunction(self.x, self.b)
        self.solver.computeJacobian(self.x, self.A, self.P_mat)
        step = self.x.duplicate()
        if self._predicted(step):
            self.x.axpy(-1.0, step)
            assign(self.x, self.u)
            self.apply_bcs()
            entered = self.u.x.array.copy() if np.isfinite(self.energy()) else entered
        step.destroy()
        self._failure = None
        self.u.x.array[:] = entered

    def _predicted(self, step: PETSc.Vec) -> bool:
        """Solve tangent * step = residual; False if the tangent is not positive definite."""
        ksp = self.solver.getKSP()
        if not is_direct(ksp):
            return linear_step(ksp, self.A, self.P_mat, self.b, step)
        with SymmetricFactor(self.A.comm) as factor:
            if not factor.is_positive(self.A):
                return False
            factor.solve(self.b, step)
        return True

    def _fall_back(self, error: ConvergenceError, start: Any, energy: float, before: Any) -> None:
        """Go on with `minimise` from the last iterate, or from the start if that was better."""
        assign(self.x, self.u)
        self.u.x.scatter_forward()
        if not self.energy() <= energy:
            self.u.x.array[:] = start
        try:  # rounding of the energy may be all that stopped a trust region
            self.iterations += minimise(self, FINISH)
            return
        except ConvergenceError:
            pass
        self.fallbacks += 1
        if self.u.function_space.mesh.comm.rank == 0:
            logger.warning("%s Going on with the inertia-controlled minimiser.", error)
        try:
            self.iterations += minimise(self)
        except ConvergenceError:
            self.u.x.array[:] = before
            raise
