"""Stored stresses in a form: stored values replace operators, and the chain rule differentiates them.

With N the stored values, x(u) their argument and T = dN/dx the stored tangent,

    d/du f(u, N(x(u))) [du] = df/du [du] + df/dN [T dx/du [du]]

Both terms are derivatives of ordinary UFL expressions, so the rule is valid wherever N stands: in products and conditionals,
next to derivatives of F, with several stored stresses in one integrand. UFL's own rule for external operators works on whole
forms and loses terms if a form contains a derivative that is not yet expanded.
"""

from collections.abc import Iterable
from typing import Any

import ufl
from dolfinx_external_operator import FEMExternalOperator
from ufl.algorithms.map_integrands import map_integrands
from ufl.classes import CoefficientDerivative, ExprList, ExprMapping, Label, VariableDerivative
from ufl.core.expr import Expr
from ufl.corealg.map_dag import map_expr_dag
from ufl.corealg.multifunction import MultiFunction

from lse_material.errors import InvalidInputError
from lse_material.fem.forms.measures import expanded_derivatives
from lse_material.fem.quadrature.stress import QuadratureStress

EXPANDED = (
    "a form {} was given; MaterialProblem takes a ufl.Form, and derivatives of a QuadratureStress as ufl.derivative makes "
    "them, without expand_derivatives."
)


def with_stored_values(form: ufl.Form, stresses: Iterable[QuadratureStress]) -> ufl.Form:
    """The form with stored values in place of the operators of `stresses`, also within each `ufl.derivative`.

    `MaterialProblem` and `EnergyProblem` do this themselves. Other solvers, of dolfinx_mpc say, take the result as any form:
    call `update_stress` of each stress before the residual is assembled, and `update_tangent` before the Jacobian is.

    Args:
        form: UFL form of any rank, its derivatives (of `ufl.derivative`) as UFL leaves them.
        stresses: those that the form may contain.

    Raises:
        InvalidInputError: it differentiates a stored stress twice, or by `ufl.diff`.

    >>> P = lse.fem.QuadratureStress(material, F, degree=1)
    >>> residual = ufl.inner(P.operator, ufl.grad(v)) * P.dx
    >>> J = fem.form(lse.fem.with_stored_values(ufl.derivative(residual, u), [P]))
    >>> P.update_tangent()
    >>> A = fem.assemble_matrix(J)
    """
    known = list(stresses)
    if not known:
        return form
    rule = _StoredValues(known)
    result = map_integrands(lambda integrand: map_expr_dag(rule, integrand), form)
    known.clear()  # UFL's visitors are cycles: the stresses must not live on in one
    return result


def operators_in(item: Any) -> list[FEMExternalOperator]:
    """The external operators in a form, integrand or expression."""
    return sorted(ufl.algorithms.extract_type(item, FEMExternalOperator), key=lambda o: o.ref_coefficient.count())


def check_operators(form: Any, stresses: Iterable[QuadratureStress]) -> None:
    """Check that every stored stress of a form is known, of the F that it was made of, and under its own measure. Collective.

    Under another quadrature rule the form would read the values of other points.

    Raises InvalidInputError: one is not, or the form is no `ufl.Form`; on every rank.
    """
    if not isinstance(form, ufl.Form):
        raise InvalidInputError(EXPANDED.format(f"of type {type(form).__name__}"))
    known = tuple(stresses)
    for integral in form.integrals():
        for operator in operators_in(integral.integrand()):
            stress = getattr(operator.external_function, "stress", None)
            if stress is None or not any(stress is one for one in known):
                raise InvalidInputError(
                    "the form holds an external operator that is not among `stresses`: pass every QuadratureStress of "
                    "the form to MaterialProblem(..., stresses=[...])."
                )
            if sum(operator.derivatives):
                raise InvalidInputError(EXPANDED.format("with an expanded derivative of a QuadratureStress"))
            if operator.ufl_operands[0] != stress.inputs:
                raise InvalidInputError(
                    "the form holds a QuadratureStress of another F than it was made of, as ufl.replace leaves it: it would be "
                    "evaluated at the old one. Make a QuadratureStress of the F that the form needs."
                )
            stress.check_integral(integral)


class _StoredValues(MultiFunction):
    """The rule for each node of an integrand."""

    expr = MultiFunction.reuse_if_untouched

    def __init__(self, stresses: list[QuadratureStress]) -> None:
        super().__init__()
        self._stresses = stresses

    def external_operator(self, o: FEMExternalOperator) -> Expr:
        return o.ref_coefficient

    def coefficient_derivative(self, o: Any) -> Expr:
        f, w, v, given = o.ufl_operands
        values = map_expr_dag(self, f)
        result = CoefficientDerivative(values, w, v, given)
        found = set(ufl.algorithms.extract_coefficients(values))
        for stress in self._stresses:
            reads_energy = stress.is_read_by(found)
            if not reads_energy and found.isdisjoint((stress.values, stress.tangent_values)):
                continue
            moved = expanded_derivatives(CoefficientDerivative(stress.inputs, w, v, given))
            if isinstance(moved, ufl.constantvalue.Zero):
                continue
            if stress.tangent_values in found:
                raise InvalidInputError(
                    "the form differentiates a QuadratureStress twice; only its first derivative is known. Use "
                    "lse.fem.stress or lse.fem.energy, which are UFL, where second derivatives of a stress are needed."
                )
            if reads_energy:  # of an `Evaluator`: dW = P : dF
                work = ExprList(ufl.inner(stress.values, moved))
                result += CoefficientDerivative(values, ExprList(stress.energy), work, ExprMapping())
            change = _contract(stress.tangent, moved)
            result += CoefficientDerivative(values, ExprList(stress.values), ExprList(change), ExprMapping())
        return result

    base_form_operator_derivative = coefficient_derivative  # where the operator itself is what is differentiated

    def coordinate_derivative(self, o: Any) -> Expr:
        if not operators_in(o.ufl_operands[0]):
            return self.reuse_if_untouched(o, *(map_expr_dag(self, operand) for operand in o.ufl_operands))
        raise InvalidInputError(
            "the form contains a derivative of a QuadratureStress in the coordinates of the mesh, which is unknown: use "
            "lse.fem.stress, which is UFL."
        )

    def variable_derivative(self, o: Any) -> Expr:
        f, variable = o.ufl_operands
        for operator in operators_in(f):
            if variable.ufl_operands[1] in ufl.algorithms.extract_type(operator.ufl_operands[0], Label):
                raise InvalidInputError(
                    "the form holds ufl.diff of a QuadratureStress, whose stored values are no UFL function of that variable: "
                    "use ufl.derivative in a direction of u, or lse.fem.stress, which is UFL."
                )
        return VariableDerivative(map_expr_dag(self, f), variable)


def _contract(tangent: Expr, direction: Expr) -> Expr:
    """sum_j tangent[i, j] direction[j], for i and j of any and the same shape."""
    order = len(direction.ufl_shape)
    i, j = ufl.indices(order), ufl.indices(order)
    return ufl.as_tensor(tangent[(*i, *j)] * direction[j], i)
