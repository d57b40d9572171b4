"""Before the minimisation from a rough start: quasi-Newton steps on smoother energies, then on the energy itself.

An energy with a larger transition scale has lower barriers (`lse_material.fem.forms.smoothed`). Quasi-Newton steps on a few
such energies, one after the other, lead past the nearest minima to a lower one. All use one preconditioner, made of the
frozen-weight tangent at the start: what differs between these energies, the mode weights, differs by more from step to step.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager

import ufl
from dolfinx import fem
from petsc4py import PETSc

from lse_material.errors import ConvergenceError
from lse_material.fem._mpi import assembled, integral
from lse_material.fem.forms.smoothed import smoothed
from lse_material.fem.solve._energy import FieldEnergy
from lse_material.fem.solve.fields import Fields
from lse_material.fem.solve.inertia import SymmetricFactor, with_raised_diagonal
from lse_material.fem.solve.missing_stiffness import prescribe_rows
from lse_material.fem.solve.multigrid import is_direct
from lse_material.fem.solve.newton_inertia import DIAGONAL_SHARES

SMOOTHER_REMAINDER = 1e-3  # of the decrease so far: less than that is left to gain where steps on a smoother energy end


class SmootherEnergy:
    """An energy with a transition scale larger by a factor, and its gradient; the functional has quadrature degrees."""

    def __init__(
        self,
        functional: ufl.Form,
        factor: float,
        u: fem.Function,
        fields: Fields,
        compile: Callable[[ufl.Form], fem.Form],
    ) -> None:
        smoother = smoothed(functional, factor)
        self._fields = fields
        self._energy, self._gradient = compile(smoother), compile(ufl.derivative(smoother, u))

    def value(self) -> float:
        """The energy at the present u, the same on every rank."""
        return integral(self._fields.comm, self._energy)

    def residual(self, out: PETSc.Vec) -> None:
        """Write its gradient to `out`, zero where u is prescribed; collective."""
        out.array[:] = self._fields.where_free(assembled(self._gradient))


@contextmanager
def positive_preconditioner(
    problem: FieldEnergy, prescribed: Sequence[int] = ()
) -> Generator[tuple[PETSc.Mat, Callable[[PETSc.Vec, PETSc.Vec], None]]]:
    """The frozen-weight tangent at the present u in units of `problem.scales`, made positive definite, and its inverse.

    The inverse is a factor where the solver of the problem has one, else the solver's preconditioner. Rows that a rank
    owns may be `prescribed` beside those of conditions. Collective.
    """
    P = problem.convex_tangent() or problem.tangent()
    prescribe_rows(P, prescribed)
    problem.scales.scale(P)
    ksp = problem.solver.getKSP()
    if not is_direct(ksp):
        pc = ksp.getPC()
        pc.setOperators(P, P)
        pc.setUp()
        yield P, pc.apply
        return
    with SymmetricFactor(P.comm) as factor:
        if not factor.is_positive(P):
            with closing(with_raised_diagonal(P, DIAGONAL_SHARES)) as matrices:
                if not any(factor.is_positive(C) for C in matrices):
                    raise ConvergenceError(
                        "no matrix near the tangent is positive definite: an entry of it is not finite."
                    )
        yield P, factor.solve
