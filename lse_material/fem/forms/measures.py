"""One quadrature rule for an energy and for all that is derived from it.

An integral without a quadrature degree is given one by UFL when it is compiled, from an estimate of its own integrand. An
energy, its derivative and its second derivative have different integrands and so get different rules: the residual is then
not the derivative of the energy that is summed, nor the tangent that of the residual, and no minimiser can trust them.
"""

from __future__ import annotations

import ufl
from ufl.algorithms.apply_algebra_lowering import apply_algebra_lowering
from ufl.algorithms.apply_derivatives import apply_derivatives
from ufl.algorithms.estimate_degrees import estimate_total_polynomial_degree


def with_quadrature_degree(form: ufl.Form) -> ufl.Form:
    """The form with a quadrature degree attached to each integral that has none: UFL's estimate for its integrand.

    The factor of a cell's volume, which varies in quadrilaterals and curved cells, is not in the estimate.

    Integrals whose measure names a degree, as `ufl.dx(degree=2)` does, stay as they are. What is derived from the result
    by `ufl.derivative` has the same rule.

    Args:
        form: UFL form of any rank, with cell and facet integrals.
    """
    return ufl.Form([_with_degree(integral) for integral in form.integrals()])


def _with_degree(integral: ufl.Integral) -> ufl.Integral:
    metadata = integral.metadata()
    if metadata.get("quadrature_degree", -1) not in (None, -1):
        return integral
    integrand = apply_derivatives(apply_algebra_lowering(integral.integrand()))
    degree = estimate_total_polynomial_degree(integrand)
    return integral.reconstruct(metadata={**metadata, "quadrature_degree": int(degree)})
