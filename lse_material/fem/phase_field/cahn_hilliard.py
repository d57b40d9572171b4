"""Diffusion in a solid that deforms: one time step of a Cahn-Hilliard equation whose energy has wells.

With an energy functional Pi(c, u, ...), for all fields together and implicitly in time,

    dc/dt = div(M grad mu) + supply,    mu = dPi/dc,    0 = dPi/du (and for every further field).

The mechanical fields are in equilibrium at all times (or follow with a viscosity). One step is the stationary point, in all
fields, of

    G(c, u, ...) - int mu (c - c_old) - dt/2 int M |grad mu|^2 + dt int supply mu

with G = Pi (fully implicit; the solution is unique for short steps only) or Pi with lagged mode weights
(`lse_material.fem.forms.lagged`): the solution is unique for any dt, Pi never rises by more than the supply brings, and
Newton's method is nearly linear. Mass is exact in both.

Energy, steps and recorded quantities have one quadrature rule: integrals without a degree get UFL's estimate for the energy
density, for supply times mu, and for c mu (`lse_material.fem.forms.measures`).
J. W. Cahn and J. E. Hilliard, J. Chem. Phys. 28, 258 (1958); coupled with strain: S. Rudraraju, A. Van der Ven and
K. Garikipati, npj Comput. Mater. 2, 16012 (2016).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import ufl
from dolfinx import fem
from mpi4py import MPI
from petsc4py import PETSc
from ufl.core.expr import Expr

from lse_material._arrays import not_negative, positive
from lse_material.errors import InvalidInputError
from lse_material.fem._cells import require_double
from lse_material.fem._mpi import integral
from lse_material.fem.forms.lagged import lagged
from lse_material.fem.forms.measures import with_quadrature_degree
from lse_material.fem.phase_field.fieldwise import FieldwiseTest
from lse_material.fem.solve.arguments import check_functional, check_unknowns
from lse_material.fem.solve.options import checked_options
from lse_material.fem.solve.problem import MaterialProblem

# Convergence is a small last Newton step in each field (`lse_material.fem.phase_field.fieldwise`); the remaining error is its
# square. Residuals near equilibrium are rounding, and norms over fields of different units have no meaning. The analysis of
# MUMPS depends on the pattern of the matrix alone (icntl_6, icntl_12), so that a resumed run repeats the other bit by bit.
STEP_OPTIONS: Mapping[str, Any] = {
    "snes_type": "newtonls",
    "snes_linesearch_type": "basic",
    "snes_rtol": 0.0,
    "snes_atol": 0.0,
    "snes_stol": 1e-7,
    "snes_max_it": 15,
    "mat_mumps_icntl_6": 0,
    "mat_mumps_icntl_12": 1,
    "mat_mumps_icntl_14": 80,
}


class CahnHilliard:
    """Time steps of a concentration, its chemical potential, and whatever else the energy depends on.

    Args:
        energy: functional Pi of `state`: energies of potentials, gradient energies (`regularise`), minus the work of dead
            loads. It does not depend on mu.
        state: of a mixed space whose first two parts are the scalars c and mu; a displacement, a micromorphic strain and so on
            may follow. Its present values are the initial ones.
        petsc_options_prefix: mandatory.
        mobility: M >= 0, UFL scalar or tensor; if it depends on `state`, its value at the beginning of each step counts.
        supply: functional whose value is the mass that comes in per time: `j * ufl.ds` for an influx j, negative for an
            outflux. If it depends on `state`, its value at the end of each step counts.
        viscous: pairs (y, viscosity) of UFL expressions of `state`: the fields in y, grad(u) say, follow with the dissipation
            viscosity |dy/dt|^2, by viscosity/(2 dt) |y - y_old|^2 in G. It selects one state where equilibrium is not unique,
            as at the onset of twinning.
        bcs: Dirichlet conditions, on parts of the mixed space. Conditions on c or mu change the mass balance.
        implicit: do not lag the mode weights.
        petsc_options: override single entries of `STEP_OPTIONS`. snes_stol is the tolerance of the last Newton step in each
            field; snes_rtol and snes_atol, of the residual over all fields, whose units differ, are 0 unless given.
        kwargs: passed on to `MaterialProblem` (jit_options, form_compiler_options).

    Attributes:
        problem: the `MaterialProblem` of one step; its `solver` is the PETSc SNES.
        residual: of one step, a UFL form.
        bcs: the Dirichlet conditions.
        before: the state at the beginning of the last step.
        iterations: Newton iterations of the last step.

    Raises:
        InvalidInputError: energy or supply is no functional, or the space does not begin with two scalars.

    >>> state = fem.Function(V)
    >>> state.sub(0).interpolate(lambda x: 0.5 + 0.1 * np.cos(np.pi * x[0]))
    >>> c, mu = ufl.split(state)
    >>> energy = (c**2 * (1.0 - c) ** 2 + 0.005 * ufl.inner(ufl.grad(c), ufl.grad(c))) * ufl.dx(degree=4)
    >>> flow = lse.fem.CahnHilliard(energy, state, petsc_options_prefix="flow_")
    >>> mass, before = flow.mass(), flow.energy()
    >>> flow.step(0.1)
    >>> bool(abs(flow.mass() - mass) < 1e-12), flow.energy() < before
    (True, True)
    """

    def __init__(
        self,
        energy: ufl.Form,
        state: fem.Function,
        *,
        petsc_options_prefix: str,
        mobility: Expr = 1.0,
        supply: ufl.Form | None = None,
        viscous: Sequence[tuple[Expr, float]] = (),
        bcs: Sequence[fem.DirichletBC] = (),
        implicit: bool = False,
        petsc_options: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        check_functional(energy, "the energy")
        if supply is not None:
            check_functional(supply, "the supply")
        given = checked_options(petsc_options_prefix, petsc_options)
        require_double(state, what="a CahnHilliard problem")
        V = state.function_space
        parts = ufl.split(state)
        if len(parts) < 2 or parts[0].ufl_shape or parts[1].ufl_shape:
            raise InvalidInputError(
                "the state must begin with two scalars, concentration and chemical potential: a function of "
                "basix.ufl.mixed_element([P1, P1, ...])."
            )
        check_unknowns(energy, (state,))
        _check_coefficients(mobility, viscous, V.mesh.geometry.dim)
        self.state, self.before = state, fem.Function(V)
        self.before.x.array[:] = state.x.array
        self.comm: MPI.Comm = V.mesh.comm
        self.iterations = 0
        self.dt = fem.Constant(V.mesh, 1.0)
        energy = with_quadrature_degree(energy)
        c, mu, dx = parts[0], parts[1], self._mass_measure()
        test = ufl.TestFunction(V)
        exchanged = self._exchanged(mobility, viscous)
        residual = ufl.derivative((energy if implicit else lagged(energy, state, self.before)) - exchanged, state, test)
        symmetric, work = True, None
        if supply is not None:
            symmetric = state not in supply.coefficients()
            work = with_quadrature_degree(_times(supply, mu))
            pairs = zip(supply.integrals(), work.integrals(), strict=True)
            supply = ufl.Form([integral.reconstruct(metadata=with_mu.metadata()) for integral, with_mu in pairs])
            residual += _times(supply, self.dt * ufl.split(test)[1])
        self.residual = residual
        options = {**STEP_OPTIONS, "pc_type": "cholesky" if symmetric else "lu", **given}
        self.problem = MaterialProblem(
            residual, state, bcs=bcs, petsc_options_prefix=petsc_options_prefix, petsc_options=options, **kwargs
        )
        self.bcs = self.problem.bcs
        self.problem.solver.setConvergenceTest(FieldwiseTest(self.problem.fields))
        self.problem.scales_rows = False  # the test judges each field in its own unit
        if symmetric:
            self.problem.A.setOption(PETSc.Mat.Option.SYMMETRIC, True)
        compiled = {k: v for k, v in kwargs.items() if k != "kind"}
        self._energy = fem.form(energy, **compiled)
        sizes = [integral.reconstruct(integrand=abs(integral.integrand())) for integral in energy.integrals()]
        self._size = fem.form(ufl.Form(sizes), **compiled)
        self._mass = fem.form(c * dx, **compiled)
        self._supply = None if supply is None else fem.form(supply, **compiled)
        self._work = None if work is None else fem.form(work, **compiled)

    def _mass_measure(self) -> ufl.Measure:
        """dx with UFL's quadrature degree for c mu."""
        c, mu = ufl.split(self.state)[:2]
        (integral,) = with_quadrature_degree(c * mu * ufl.dx(self.state.function_space.mesh)).integrals()
        return ufl.dx(integral.ufl_domain(), metadata=integral.metadata())

    def _exchanged(self, mobility: Expr, viscous: Sequence[tuple[Expr, float]]) -> ufl.Form:
        """int mu (c - c_old) + dt/2 int M |grad mu|^2 - sum of int viscosity/(2 dt) |y - y_old|^2."""
        (c, mu), c_old = ufl.split(self.state)[:2], ufl.split(self.before)[0]
        dx = ufl.dx(self.state.function_space.mesh)
        M = ufl.replace(ufl.as_ufl(mobility), {self.state: self.before})
        exchanged = mu * (c - c_old) * self._mass_measure()
        exchanged += with_quadrature_degree(0.5 * self.dt * ufl.inner(M * ufl.grad(mu), ufl.grad(mu)) * dx)
        for y, viscosity in viscous:
            change = y - ufl.replace(y, {self.state: self.before})
            exchanged -= with_quadrature_degree(0.5 * viscosity / self.dt * ufl.inner(change, change) * dx)
        return exchanged

    def step(self, dt: float, guess: Any = None) -> None:
        """One step of length dt from the present state.

        Args:
            dt: > 0.
            guess: initial values of the state for Newton's method, on this rank; the present ones if left out.

        Raises:
            InvalidInputError: dt is not positive.
            ConvergenceError: Newton did not converge; the state is as before.
        """
        dt = positive("dt", dt)
        self.dt.value = dt
        now = self.before.x.array
        now[:] = self.state.x.array
        if guess is not None:
            self.state.x.array[:] = guess
        try:
            self.problem.solve()
        except BaseException:
            self.state.x.array[:] = now
            raise
        self.iterations = int(self.problem.solver.getIterationNumber())

    def energy(self) -> float:
        """Pi of the present state, the same on every rank; collective, as the following."""
        return self._total(self._energy)

    def energy_size(self) -> float:
        """The integrals in Pi with the absolute values of their integrands, the measure of rounding in Pi."""
        return self._total(self._size)

    def mass(self) -> float:
        """Integral of the concentration."""
        return self._total(self._mass)

    def supplied(self) -> float:
        """Mass that came in during the last step."""
        return float(self.dt.value) * self._total(self._supply)

    def work(self) -> float:
        """Energy that came in during the last step, dt int supply mu: Pi rises by no more."""
        return float(self.dt.value) * self._total(self._work)

    def _total(self, form: fem.Form | None) -> float:
        return 0.0 if form is None else integral(self.comm, form)


def _check_coefficients(mobility: Any, viscous: Any, dim: int) -> None:
    """The mobility is a number, a UFL scalar or a tensor; viscosities belong to UFL expressions. No number is negative."""
    if not isinstance(mobility, Expr):
        not_negative("mobility", mobility)
    elif mobility.ufl_shape not in ((), (dim, dim)):
        raise InvalidInputError(
            f"mobility has the shape {mobility.ufl_shape}; it must be a scalar, or a tensor of {dim} x {dim}."
        )
    if not isinstance(viscous, Sequence) or not all(isinstance(p, Sequence) and len(p) == 2 for p in viscous):
        raise InvalidInputError("viscous is no list of pairs: give viscous=[(ufl.grad(u), viscosity)], say.")
    for y, viscosity in viscous:
        if not isinstance(y, Expr):
            raise InvalidInputError(f"viscous has {y!r}, which is no UFL expression of the state.")
        if not isinstance(viscosity, Expr):
            not_negative("viscosity", viscosity)


def _times(form: ufl.Form, factor: Expr) -> ufl.Form:
    """The form with each integrand multiplied."""
    return ufl.Form([integral.reconstruct(integrand=factor * integral.integrand()) for integral in form.integrals()])
