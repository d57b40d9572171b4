"""The frozen-weight tangent of an energy: symmetric, positive where the rest is, and right up to how mode weights change.

With W = -rho ln sum_k exp(-psi_k/rho) and w_k the mode weights,

    d2W/dx2 = sum_k w_k d2psi_k/dx2 - (sum_k w_k g_k g_k^T - g g^T)/rho.

The tangent keeps the first sum and leaves the second out, and at finite strain also dW/dx . d2x. It is the second derivative of
a majoriser (each mode is convex), so it serves as preconditioner and as fallback where the true one is indefinite.
"""

from __future__ import annotations

from typing import Any

import ufl
from dolfinx import fem
from ufl.algorithms.apply_algebra_lowering import apply_algebra_lowering
from ufl.algorithms.apply_derivatives import apply_derivatives
from ufl.algorithms.map_integrands import map_integrands
from ufl.corealg.map_dag import map_expr_dag
from ufl.corealg.multifunction import MultiFunction

from lse_material.errors import InvalidInputError
from lse_material.fem.operator import PotentialComponent, frozen_hessian

Expr = Any  # a UFL expression


def frozen_tangent(energy: ufl.Form, u: fem.Function) -> ufl.Form | None:
    """The frozen-weight tangent of an energy functional, a bilinear form; None if it holds no compiled potential.

    Terms without a potential (elastic foundations, gradient energies, loads, growth) keep their full second derivative.

    Args:
        energy: functional in which energies of `lse.fem.energy` (or `potential_energy`) stand as they are: times anything that
            does not depend on them, and summed.
        u: what it is differentiated in.

    Raises:
        InvalidInputError: it holds derivatives or mode weights of a compiled potential, or is not linear in its energy.
    """
    found = sorted(ufl.algorithms.extract_type(energy, PotentialComponent), key=repr)
    if not found:
        return None
    if any(W.code for W in found):
        raise InvalidInputError(
            "the energy holds a stress or mode weights of a compiled potential; a frozen-weight tangent is known of energies "
            "only. Pass frozen= with a bilinear form of your own."
        )
    v, du = ufl.TestFunction(u.function_space), ufl.TrialFunction(u.function_space)
    rest = map_integrands(lambda integrand: replaced(integrand, dict.fromkeys(found, ufl.as_ufl(0.0))), energy)
    form = ufl.derivative(ufl.derivative(rest, u, v), u, du) if rest.integrals() else ufl.Form([])
    amount = ufl.variable(fem.Constant(u.function_space.mesh, 1.0))
    for W in found:
        H = frozen_hessian(W)
        dv, ddu = ([ufl.derivative(x, u, direction) for x in W.x] for direction in (v, du))
        second = sum(H[i][j] * dv[i] * ddu[j] for i in range(len(dv)) for j in range(len(dv)))
        for integral in energy.integrals():
            if W in ufl.algorithms.extract_type(integral.integrand(), PotentialComponent):
                factor = _factor(replaced(integral.integrand(), {W: amount}), amount)
                form += ufl.Form([integral.reconstruct(integrand=factor * second)])
    return form


def _factor(integrand: Expr, amount: Expr) -> Expr:
    """What `amount` is multiplied by in the integrand."""
    factor = apply_derivatives(apply_algebra_lowering(ufl.diff(integrand, amount)))
    if amount in ufl.algorithms.extract_type(factor, type(amount)):
        raise InvalidInputError(
            "the energy is not linear in a compiled potential, so that its frozen-weight tangent is not known. Pass frozen= "
            "with a bilinear form of your own."
        )
    return factor


def replaced(integrand: Expr, values: dict[PotentialComponent, Expr]) -> Expr:
    """The integrand with expressions in place of some potentials."""
    return map_expr_dag(_Replaced(values), integrand)


class _Replaced(MultiFunction):
    """An expression with some potentials replaced."""

    def __init__(self, values: dict[PotentialComponent, Expr]) -> None:
        super().__init__()
        self._values = values

    def expr(self, o: Expr, *operands: Expr) -> Expr:
        """Any other node, with its operands replaced."""
        return self.reuse_if_untouched(o, *operands)

    def _component(self, o: PotentialComponent, *operands: Expr) -> Expr:
        return self._values[o] if o in self._values else self.reuse_if_untouched(o, *operands)


setattr(_Replaced, PotentialComponent._ufl_handler_name_, _Replaced._component)
