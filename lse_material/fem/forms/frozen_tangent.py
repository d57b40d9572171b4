"""The tangent of an energy with mode weights that do not change: symmetric, and positive if the other terms are.

With W = -rho ln sum_k exp(-psi_k(x)/rho), the strain x(F), w_k the mode weights and g = dW/dx,

    d2W = dx . [sum_k w_k d2psi_k/dx2] . dx  -  dx . [sum_k w_k g_k g_k^T - g g^T] . dx / rho  +  g . d2x.

The frozen-weight tangent keeps the first sum, which is positive since each mode is convex, and leaves the second out. Of the
third it keeps what is positive for certain. For strains that are affine in F^T F that is nothing. Isotropic invariants have dx
= 0 at F = I, where all stiffness is in the third sum; with L = dF F^-1, D = sym(dev L), b = J^(-2/3) F F^T (F33 = 1 in 2D),

    d2(I1 J^(-2/3)) ~ 4 tr(D b D),    d2(I2 J^(-4/3)) ~ 4 tr(D b^-1 D),    d2((J-1)^2) ~ 2 J^2 tr(L)^2,

the second derivatives along logarithmic strains of fixed axes, exact at F = I, each times the positive part of its g. Of other
measures with such components (`StrainMeasure.volume_shares`) it keeps what is convex along these. Of the growth term
a (J - 1 - ln J) it keeps a tr(L)^2, and of the cost h(s) of a change s of a mode weight h''(s) ds ds. The result serves as
preconditioner and as fallback where the true tangent is indefinite.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import ufl
from dolfinx import fem
from ufl.core.expr import Expr
from ufl.variable import Variable

from lse_material.errors import InvalidInputError
from lse_material.fem.forms.marks import factor_of, marked, marks_in
from lse_material.fem.forms.measures import expect_functional
from lse_material.fem.forms.operator import PotentialComponent, energies_in, frozen_hessian
from lse_material.fem.forms.transformation import cost_curvature, costs_in
from lse_material.model.growth import Growth
from lse_material.model.strain import IsotropicInvariants, StrainMeasure, tensor


def frozen_tangent(energy: ufl.Form, u: fem.Function) -> ufl.Form | None:
    """The frozen-weight tangent of an energy functional, a bilinear form; None if it holds no compiled potential.

    Terms of the user's own (elastic foundations, gradient energies, loads) keep their full second derivative.

    Args:
        energy: functional in which energies of `lse.fem.energy` (or `potential_energy`) stand as they are: times anything that
            does not depend on them, and summed.
        u: what it is differentiated in.

    Raises:
        InvalidInputError: it holds derivatives or mode weights of a compiled potential, is not linear in its energy, or is no
            functional of u.

    >>> tangent = lse.fem.frozen_tangent(W * dx, u)
    >>> len(tangent.arguments())
    2
    """
    expect_functional(energy, "given a frozen-weight tangent")
    costs = costs_in(energy)
    purpose = "a frozen-weight tangent is known of energies only. Pass frozen= with a bilinear form of your own"
    found = energies_in(_without(energy, costs), purpose)
    if not found and not costs:
        return None
    if u not in energy.coefficients():
        raise InvalidInputError("the energy does not depend on u: give the whole function, not a part of it.")
    v, du = ufl.TestFunction(u.function_space), ufl.TrialFunction(u.function_space)
    terms = {W: _potential_curvature(W, u, v, du) for W in found}
    terms |= {term: _growth_curvature(term, u, v, du) for term, _ in marks_in(energy, _Term)}
    terms |= {term: cost_curvature(term, u, v, du) for term in costs}
    rest = _without(energy, terms)
    form = ufl.derivative(ufl.derivative(rest, u, v), u, du) if rest.integrals() else ufl.Form([])
    for term, curvature in terms.items():
        for integral in energy.integrals():
            if term in ufl.algorithms.extract_type(integral.integrand(), type(term)):
                factor = factor_of(term, integral.integrand())
                if factor is None:
                    raise InvalidInputError(
                        "the energy is not linear in a compiled potential, so that its frozen-weight tangent is not known. "
                        "Pass frozen= with a bilinear form of your own."
                    )
                form += ufl.Form([integral.reconstruct(integrand=factor * curvature)])
    return form


def _without(energy: ufl.Form, terms: Iterable[Expr]) -> ufl.Form:
    """The energy with 0 in place of some terms."""
    return ufl.replace(energy, dict.fromkeys(terms, ufl.as_ufl(0.0)))


def _potential_curvature(W: PotentialComponent, u: fem.Function, v: Expr, du: Expr) -> Expr:
    """The bilinear form that stands for the second derivative of one potential in the directions v and du."""
    H = frozen_hessian(W)
    dv, ddu = ([ufl.derivative(x, u, direction) for x in W.x] for direction in (v, du))
    second = sum(dvi * sum(Hij * dduj for Hij, dduj in zip(row, ddu)) for dvi, row in zip(dv, H))
    for mark, kinematics in marks_in(W, StrainMeasure):
        known = type(kinematics).components is IsotropicInvariants.components
        if not known and kinematics.volume_shares is None:
            continue
        F = mark.expression()
        curvature: Any = _invariant_curvature if known else _logarithmic_curvature
        first = len(W.x) - kinematics.size  # after the fields
        g = [W.at(1 + first + i) for i in range(kinematics.size)]
        second += curvature(kinematics, F, g, *(ufl.derivative(F, u, direction) for direction in (v, du)))
    return second


def _invariant_curvature(kinematics: IsotropicInvariants, F: Expr, g: list[Expr], h: Expr, k: Expr) -> Expr:
    """The positive part of sum_i g_i d2x_i/dF2 in the directions h and k: see the module's text."""
    positive = [ufl.conditional(ufl.gt(gi, 0.0), gi, 0.0) for gi in g]
    inverse = ufl.inv(F)
    L, M = h * inverse, k * inverse
    D, E = (_three(ufl.sym(A), kinematics.dim, 0.0) - ufl.tr(A) / 3.0 * ufl.Identity(3) for A in (L, M))
    b = ufl.det(F) ** (-2 / 3) * _three(F * F.T, kinematics.dim, 1.0)
    curvature = 4.0 * positive[0] * ufl.inner(D * b, E) + 4.0 * positive[1] * ufl.inner(D * ufl.inv(b), E)
    if kinematics.squared_volume:
        curvature += 2.0 * positive[2] * ufl.det(F) ** 2 * ufl.tr(L) * ufl.tr(M)
    return curvature


def _logarithmic_curvature(kinematics: StrainMeasure, F: Expr, g: list[Expr], h: Expr, k: Expr) -> Expr:
    """Positive parts of dW/dy_i times the second derivatives of y_i along exp(s L + t M) F; L, M symmetric, of h and k.

    y_i = x_i + c_i (J - 1), and J - 1, are convex along these lines.
    """
    inverse, at = ufl.inv(F), ufl.variable(F)
    L, M = ufl.sym(h * inverse), ufl.sym(k * inverse)
    dim, shares = range(kinematics.dim), kinematics.volume_shares or ()
    *x, volume = kinematics.components(tensor([at[i, j] for i in dim for j in dim], kinematics.dim))
    y = [*(xi + c * volume for xi, c in zip(x, shares)), volume]
    by_y = [*g[:-1], g[-1] - sum(c * gi for c, gi in zip(shares, g))]
    first = ufl.diff(sum(ufl.conditional(ufl.gt(gi, 0.0), gi, 0.0) * yi for gi, yi in zip(by_y, y)), at)
    B = first * F.T
    along = 0.5 * ufl.inner(L, B * M + M * B)  # first : (L M + M L) F / 2
    return ufl.inner(ufl.diff(ufl.inner(first, L * F), at), M * F) + along


def _three(A: Expr, dim: int, last: float) -> Expr:
    """A as a tensor in three dimensions, with `last` as the third diagonal entry of plane strain."""
    if dim == 3:
        return A
    return ufl.as_matrix([[A[0, 0], A[0, 1], 0.0], [A[1, 0], A[1, 1], 0.0], [0.0, 0.0, last]])


def growth_energy(growth: Growth, F: Expr) -> Variable:
    """The growth term a (J - 1 - ln J), NaN with its derivatives where J < 0, marked for `frozen_tangent`."""
    return marked(growth.of_volume(ufl.det(marked(F, growth))), _Term(growth))


def _growth_curvature(term: Variable, u: fem.Function, v: Expr, du: Expr) -> Expr:
    """The positive part of the second derivative of a growth term: a tr(dF F^-1)^2."""
    ((mark, growth),) = marks_in(term, Growth)
    F = mark.expression()
    inverse = ufl.inv(F)
    traces = [ufl.tr(ufl.derivative(F, u, direction) * inverse) for direction in (v, du)]
    return growth.coefficient * traces[0] * traces[1]


@dataclass(frozen=True)
class _Term:
    """The meaning of a mark on a growth term as a whole."""

    growth: Growth
