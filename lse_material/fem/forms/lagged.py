"""Energies with lagged mode weights: convex functionals that lie above and touch, so that minimising them goes downhill.

For every x, and for the mode weights w_k taken at any other point x0,

    W(x) = -rho ln sum_k exp(-psi_k(x)/rho)  <=  W(x0) + sum_k w_k(x0) (psi_k(x) - psi_k(x0)),      equal at x = x0,

because W is the least value of sum_k w_k psi_k + rho sum_k w_k ln w_k over all w. The right-hand side is convex in x, and its
slope at x0 is that of W. An implicit step with lagged weights therefore has one solution and never raises the energy, however
long it is; it lags behind where the weights change fast. The same idea as the splitting of D. J. Eyre, MRS Proc. 529, 39
(1998), with the modes in place of a polynomial's convex part, and as majorise-minimise: D. R. Hunter and K. Lange,
Am. Stat. 58, 30 (2004).
"""

import ufl
from dolfinx import fem
from ufl.core.expr import Expr

from lse_material.errors import InvalidInputError
from lse_material.fem.forms import operator
from lse_material.fem.forms.marks import factor_of
from lse_material.fem.forms.measures import expect_functional
from lse_material.fem.forms.operator import energies_in
from lse_material.model.soft_minimum import SoftMinimum, expect_potential


def mode_energies(potential: SoftMinimum, x: list[Expr]) -> list[Expr]:
    """psi_k(x) in energy units, one UFL scalar for each mode: their soft minimum with `transition_scale` is W(x).

    >>> psi = lse.fem.mode_energies(material.potential, x)
    >>> [round(fem.assemble_scalar(fem.form(p * dx)), 6) for p in psi]
    [0.005, 0.005]
    """
    expect_potential(potential, len(x))
    return [operator.value(potential.alone(k), x) for k in range(len(potential.modes))]


def lagged(energy: ufl.Form, state: fem.Function, before: fem.Function) -> ufl.Form:
    """The functional with the mode weights of every compiled potential in it fixed at those of `before`.

    It differs from `energy` by a number that depends on `before` alone, is never below it, and has the same derivative at
    `before`. Terms without a potential stay as they are.

    Args:
        energy: functional of `state` in which energies of `lse.fem.energy` or `potential_energy` stand as they are.
        state: what it is a functional of.
        before: of the same space.

    Raises:
        InvalidInputError: the energy holds derivatives or mode weights of a compiled potential, is not linear in one, or is no
            functional of the state.

    >>> before = fem.Function(V)
    >>> above = lse.fem.lagged(W * dx, u, before)
    >>> u.interpolate(lambda x: 0.05 * x[:2])
    >>> fem.assemble_scalar(fem.form(above)) > fem.assemble_scalar(fem.form(W * dx))
    True
    """
    expect_functional(energy, "lagged")
    if state not in energy.coefficients():
        raise InvalidInputError("the energy does not depend on the state: give the whole function, not a part of it.")
    above = {}
    for W in energies_in(energy, "weights can be lagged of energies only"):
        potential, x = W.numbered.potential, list(W.x)
        factors = [factor_of(W, integral.integrand()) for integral in energy.integrals()]
        if len(potential.modes) > 1 and any(factor is None for factor in factors):
            raise InvalidInputError("weights are lagged of an energy that is linear in its compiled potentials alone.")
        then = operator.weights(potential, [ufl.replace(xi, {state: before}) for xi in x])
        above[W] = sum(w * psi for w, psi in zip(then, mode_energies(potential, x)))
    return ufl.replace(energy, above)
