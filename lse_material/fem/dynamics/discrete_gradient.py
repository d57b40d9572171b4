"""Internal forces between two states whose work is the difference of the stored energies, exactly.

For an energy int w(F) dx and states u0, u1, with F_m the mean of F0 and F1 and dC = F1^T F1 - F0^T F0,

    G(u0, u1; v) = int P(F_m) : grad v + a (F_m dC) : grad v dx,     a = 2 [w(F1) - w(F0) - P(F_m) : (F1 - F0)] / |dC|^2.

(F_m dC) : (F1 - F0) = |dC|^2 / 2, so that G(u0, u1; u1 - u0) is the difference of the energies. F_m dC F_m^T is symmetric, and
so is P(F_m) F_m^T if w is objective: G then makes no moment. G is the derivative of the energy at the mean state up to terms of
second order in u1 - u0. After O. Gonzalez, J. Nonlinear Sci. 6, 449 (1996), doi:10.1007/BF02440162, and Comput. Methods Appl.
Mech. Eng. 190, 1763 (2000), doi:10.1016/S0045-7825(00)00189-4.
"""

from typing import Any

import ufl
from dolfinx import fem
from ufl.core.expr import Expr

from lse_material.fem.forms.constants import without_constants
from lse_material.fem.forms.measures import expanded_derivatives, with_quadrature_degree
from lse_material.fem.solve.arguments import check_displacement, check_functional

SMALLEST_CHANGE = 1e-5  # of a strain; below it the term with a is left out: its work is of fourth order in the strain


def discrete_gradient(
    energy: ufl.Form, u: fem.Function, before: fem.Function, v: Expr, *, objective: bool = True
) -> ufl.Form:
    """G(before, u; v), linear in v, whose value at v = u - before is energy(u) - energy(before).

    Integrals over cells have this property for any energy. Others, and those that are at most quadratic in u, are
    differentiated at the mean state, which gives it if they are quadratic: loads, springs, penalties on facets.

    Args:
        energy: functional of u.
        u: the displacement at the end of the step: a scalar field, or a vector field of the dimension of the mesh.
        before: that at its beginning, in the same space.
        v: test function of that space.
        objective: whether the energy depends on F^T F alone. If it does not (small strains), the correction is along grad(u -
            before) instead, and moments are not conserved.

    Raises:
        InvalidInputError: u is no displacement, or the energy is no functional.

    >>> before = fem.Function(V)
    >>> u.interpolate(lambda x: 0.05 * x[:2])
    >>> forces = lse.fem.discrete_gradient(W * dx, u, before, u - before)
    >>> at = [fem.assemble_scalar(fem.form(ufl.replace(W * dx, {u: state}))) for state in (u, before)]
    >>> bool(abs(fem.assemble_scalar(fem.form(forces)) - (at[0] - at[1])) < 1e-14)
    True
    """
    check_functional(energy, "the energy of a discrete gradient")
    check_displacement(u)
    energy, _ = without_constants(with_quadrature_degree(energy), u)
    parts = [_of_integral(integral, u, before, v, objective) for integral in energy.integrals()]
    return sum(parts[1:], parts[0])


def _of_integral(integral: Any, u: fem.Function, before: fem.Function, v: Expr, objective: bool) -> ufl.Form:
    """G of one integral."""
    middle, step = 0.5 * (before + u), u - before
    w = integral.integrand()
    direction = ufl.TestFunction(u.function_space)
    slope = expanded_derivatives(ufl.derivative(w, u, direction))
    at_middle = ufl.replace(slope, {u: middle})
    forces = _along(at_middle, direction, v)
    curvature = expanded_derivatives(ufl.derivative(slope, u, ufl.TrialFunction(u.function_space)))
    if integral.integral_type() == "cell" and u in ufl.algorithms.extract_coefficients(curvature):
        reach, size = _reach(u, before, v, objective)
        missing = w - ufl.replace(w, {u: before}) - _along(at_middle, direction, step)
        factor = ufl.conditional(ufl.gt(size, SMALLEST_CHANGE**2), missing / size, 0.0)
        forces = forces + factor * reach
    return ufl.Form([integral.reconstruct(integrand=forces)])


def _along(linear: Expr, direction: Expr, of: Expr) -> Expr:
    """A linear functional of one direction as that of another."""
    return expanded_derivatives(ufl.replace(linear, {direction: of}))


def _reach(u: fem.Function, before: fem.Function, v: Expr, objective: bool) -> tuple[Expr, Expr]:
    """A linear functional of v along which forces are corrected, and its value at v = u - before, which is >= 0."""
    step = u - before
    if not u.ufl_shape or not objective:
        return ufl.inner(ufl.grad(step), ufl.grad(v)), ufl.inner(ufl.grad(step), ufl.grad(step))
    F0, F1 = (ufl.Identity(len(u)) + ufl.grad(state) for state in (before, u))
    dC = F1.T * F1 - F0.T * F0
    return ufl.inner(0.5 * (F0 + F1) * dC, ufl.grad(v)), 0.5 * ufl.inner(dC, dC)
