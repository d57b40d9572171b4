"""One quadrature rule for an energy and for all that is derived from it.

If an integral has no quadrature degree, UFL estimates one from its integrand when it compiles it. An energy, its derivative and
its second derivative have different integrands and so get different rules: the residual is then not the derivative of the
energy that is summed, nor the tangent that of the residual, and minimisers fail.
"""

from typing import Any

import ufl
from ufl.algorithms.apply_algebra_lowering import apply_algebra_lowering
from ufl.algorithms.apply_derivatives import apply_derivatives
from ufl.algorithms.estimate_degrees import estimate_total_polynomial_degree
from ufl.core.expr import Expr
from ufl.measure import integral_type_to_measure_name

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
        InvalidInputError: a function is stored at other points than those of the degree that its integral has, or a measure
            without tags is restricted to some.

    >>> form = lse.fem.with_quadrature_degree(ufl.inner(u, u) * ufl.dx)
    >>> form.integrals()[0].metadata()["quadrature_degree"]
    2
    """
    if not isinstance(form, ufl.Form):
        raise InvalidInputError(f"the form is a {type(form).__name__}; it must be a UFL form, such as W * dx.")
    tagged = {integral.integral_type() for integral in form.integrals() if integral.subdomain_data() is not None}
    for integral in form.integrals():
        tags, kind = integral.subdomain_id(), integral.integral_type()
        if not isinstance(tags, str) and kind not in tagged:
            name = integral_type_to_measure_name[kind]
            raise InvalidInputError(
                f"the form has an integral over {name}({tags}), and this measure knows no tags, so that the integral would be "
                f"zero: give them, ufl.Measure({name!r}, mesh, subdomain_data=tags)."
            )
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


def expect_functional(energy: Any, purpose: str) -> None:
    """Raise InvalidInputError unless this is a UFL form without test function."""
    if not isinstance(energy, ufl.Form) or energy.arguments():
        what = "a form with a test function" if isinstance(energy, ufl.Form) else f"a {type(energy).__name__}"
        raise InvalidInputError(f"only a functional, such as W * dx, can be {purpose}, and this is {what}.")


def estimated_degree(expression: Expr) -> int:
    """UFL's estimate of the polynomial degree of an expression in a cell."""
    return int(estimate_total_polynomial_degree(expanded_derivatives(expression)))


def expanded_derivatives(expression: Expr) -> Expr:
    """The expression with its derivatives carried out."""
    return apply_derivatives(apply_algebra_lowering(expression))
