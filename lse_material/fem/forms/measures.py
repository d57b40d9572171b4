"""One quadrature rule for an energy and for all that is derived from it.

If an integral has no quadrature degree, UFL estimates one from its integrand when it compiles it. An energy, its derivative and
its second derivative have different integrands and so get different rules: the residual is then not the derivative of the
energy that is summed, nor the tangent that of the residual, and minimisers fail.
"""

import ufl
from ufl.algorithms.apply_algebra_lowering import apply_algebra_lowering
from ufl.algorithms.apply_derivatives import apply_derivatives
from ufl.algorithms.estimate_degrees import estimate_total_polynomial_degree
from ufl.core.expr import Expr

from lse_material.errors import InvalidInputError
from lse_material.fem._cells import require_points, stored_at_points


def with_quadrature_degree(form: ufl.Form) -> ufl.Form:
    """The form with a quadrature degree attached to each integral that has none: UFL's estimate for its integrand.

    Where a function is stored at quadrature points (`basix.ufl.quadrature_element`), it is the degree of these points.

    The estimate does not include the volume of a cell, which varies in quadrilaterals and curved cells. Integrals whose measure
    names a degree, as `ufl.dx(degree=2)` does, stay as they are. Forms that `ufl.derivative` makes of the result have its rule.

    Args:
        form: UFL form of any rank, with cell and facet integrals.

    Raises:
        InvalidInputError: a function is stored at other points than those of the degree that its integral has.

    >>> form = lse.fem.with_quadrature_degree(ufl.inner(u, u) * ufl.dx)
    >>> form.integrals()[0].metadata()["quadrature_degree"]
    2
    """
    if not isinstance(form, ufl.Form):
        raise InvalidInputError(f"the form is {form!r}; it must be a UFL form, such as W * dx.")
    return ufl.Form([_with_degree(integral) for integral in form.integrals()])


def _with_degree(integral: ufl.Integral) -> ufl.Integral:
    metadata, integrand = integral.metadata(), integral.integrand()
    given = metadata.get("quadrature_degree", -1)
    stored = stored_at_points(integrand) if integral.integral_type() == "cell" else []
    if given in (None, -1):
        own = [function.function_space.ufl_element().embedded_superdegree for function in stored]
        degree = own[0] if own else estimated_degree(integrand)
        integral = integral.reconstruct(metadata={**metadata, "quadrature_degree": degree})
    elif metadata.get("quadrature_scheme") not in (None, "default"):
        return integral
    if stored:
        require_points(integrand, integral.metadata()["quadrature_degree"], "the integral")
    return integral


def estimated_degree(expression: Expr) -> int:
    """UFL's estimate of the polynomial degree of an expression in a cell."""
    return int(estimate_total_polynomial_degree(expanded_derivatives(expression)))


def expanded_derivatives(expression: Expr) -> Expr:
    """The expression with its derivatives carried out."""
    return apply_derivatives(apply_algebra_lowering(expression))
