"""Loads of one factor f that arc length follows: how they enter residual and tangent, and how the residual changes with f.

    work of a form W      r(u, f) = dPi(u) - f dW(u),                     q = -dr/df = dW(u)
    function apply(f)     r(u, f) = dPi(u; f) with u = g(f) on the rim,   q = -(d/df dPi(u; f) + A dg/df)

A dead load has W linear in u. A pressure has the enclosed volume for W: it follows the surface, and f d2W is part of the
tangent. What `apply` sets is affine in f: Dirichlet values g, and constants of the energy, so that differences are derivatives.
"""

from collections.abc import Callable
from functools import partial

import dolfinx.fem.petsc
import numpy as np
import ufl
from dolfinx import fem
from dolfinx.la import InsertMode
from petsc4py import PETSc

from lse_material._arrays import Array
from lse_material.errors import InvalidInputError
from lse_material.fem._lifetime import temporary
from lse_material.fem._mpi import assembled, on_every_rank
from lse_material.fem.solve._energy import FieldEnergy
from lse_material.fem.solve.arguments import check_functional

AFFINE = 1e-7  # of the norm of q, by which it may change from one step of the factor to another


class Load:
    """A load of a problem. All methods are collective and refer to the problem's present u, and to the factor set last."""

    has_given_forces = False  # whether forces that are small beside q count as zero

    def __init__(self, problem: FieldEnergy) -> None:
        self._problem, self._factor = problem, 0.0

    def set(self, factor: float) -> None:
        """Set the factor, and u to its Dirichlet values."""
        self._factor = factor

    def residual(self, out: PETSc.Vec) -> None:
        """Write the residual to `out`, zero where u is prescribed."""
        self._problem.residual(out)

    def tangent(self) -> PETSc.Mat:
        """The derivative of the residual by u: the matrix A of the problem, with a 1 on the diagonal where u is prescribed."""
        return self._problem.tangent()

    def rate(self, out: PETSc.Vec) -> None:
        """Write q, minus the derivative of the residual by the factor, to `out`; zero where u is prescribed."""
        raise NotImplementedError

    def check(self) -> None:
        """Raise InvalidInputError for what is not affine in the factor; the work of a form is."""


class WorkOfLoad(Load):
    """The load with the work f W(u), which the energy of the problem does not contain."""

    has_given_forces = True

    def __init__(self, problem: FieldEnergy, work: ufl.Form) -> None:
        super().__init__(problem)
        check_functional(work, "the load, if it is no function that sets it,")
        first = ufl.algorithms.expand_derivatives(ufl.derivative(work, problem.u))
        self._first = problem.compiled(first) if first.integrals() else None
        second = ufl.algorithms.expand_derivatives(ufl.derivative(first, problem.u)) if first.integrals() else first
        self._second = problem.compiled(second) if second.integrals() else None

    def residual(self, out: PETSc.Vec) -> None:
        """Write the residual to `out`."""
        super().residual(out)
        out.array[:] -= self._factor * self._forces()

    def tangent(self) -> PETSc.Mat:
        """A - f d2W."""
        A = super().tangent()
        if self._second is not None and self._factor != 0.0:
            B = dolfinx.fem.petsc.assemble_matrix(self._second, bcs=list(self._problem.bcs), diag=0.0)
            with temporary(B):
                B.assemble()
                A.axpy(-self._factor, B, PETSc.Mat.Structure.SUBSET_NONZERO_PATTERN)  # type: ignore[arg-type]
        return A

    def rate(self, out: PETSc.Vec) -> None:
        """Write dW to `out`."""
        out.array[:] = self._forces()

    def _forces(self) -> Array:
        fields = self._problem.fields
        return np.zeros(fields.sizes[0]) if self._first is None else fields.where_free(assembled(self._first))


class AppliedLoad(Load):
    """The load that a function sets, as in `LoadPath`: Dirichlet values of the problem, or constants in its energy."""

    def __init__(self, problem: FieldEnergy, apply: Callable[[float], None]) -> None:
        super().__init__(problem)
        self._apply = apply

    def set(self, factor: float) -> None:
        """Set the factor, and u to its Dirichlet values."""
        super().set(factor)
        u = self._problem.u.x.array.copy()
        on_every_rank(self._problem.comm, partial(self._apply, factor))
        self._problem.u.x.array[:] = u  # whatever `apply` made of it
        self._problem.apply_bcs()

    def rate(self, out: PETSc.Vec) -> None:
        """Write q to `out`."""
        out.array[:] = self._rate(max(1.0, abs(self._factor)))

    def check(self) -> None:
        """Raise InvalidInputError if q is not the same from steps of 1 and of 2; collective."""
        comm, (one, two) = self._problem.comm, (self._rate(step) for step in (1.0, 2.0))
        squares = comm.allreduce(np.array([(one - two) @ (one - two), one @ one]))
        if not squares[0] <= AFFINE**2 * squares[1]:
            raise InvalidInputError(
                "what the function of the load sets is not affine in the factor: with the factor 2 it must change Dirichlet "
                "values, and constants that enter the energy linearly, twice as much as with 1."
            )

    def _rate(self, step: float) -> Array:
        """q by the difference over a step of the factor: exact for what is affine in it, up to rounding."""
        problem = self._problem
        u = problem.u.x.array.copy()
        problem.update_stored()
        before = problem.forces()
        self._apply(self._factor + step)
        problem.u.x.array[:] = u
        moved = fem.Function(problem.u.function_space)
        fem.apply_lifting(moved.x.array, [problem.J], [list(problem.bcs)], x0=[u], alpha=1.0)
        moved.x.scatter_reverse(InsertMode.add)
        change = moved.x.array - (problem.forces() - before)
        self._apply(self._factor)
        problem.u.x.array[:] = u
        return problem.fields.where_free(change) / step


def load_of(problem: FieldEnergy, load: ufl.Form | Callable[[float], None]) -> Load:
    """The load that a form or a function describes."""
    if callable(load) and not isinstance(load, ufl.Form):
        return AppliedLoad(problem, load)
    return WorkOfLoad(problem, load)
