"""Mode weights that can be differentiated, and the cost of changing them, as UFL.

The weights of the modes are softmax(-psi_k / rho). Each psi_k is a compiled operator of its own, and the rest is plain UFL, so
that functions of the weights have two derivatives.

A change s of a weight costs h(s) = |s| - r/2, and s^2/(2 r) where |s| <= r: the least value of |a| + (s - a)^2/(2 r) over a
(Moreau's envelope of |s|). It is convex, with a continuous derivative, and its second derivative is 1/r or 0.
"""

from dataclasses import dataclass, replace
from typing import Any

import ufl
from ufl.core.expr import Expr
from ufl.variable import Variable

from lse_material.fem.forms.lagged import mode_energies
from lse_material.fem.forms.marks import marked, marks_in
from lse_material.model.soft_minimum import SoftMinimum

FARTHEST = 150.0  # exponents are cut off there: the cube of exp(150), which second derivatives hold, is a double


def smooth_weights(potential: SoftMinimum, x: list[Expr]) -> list[Expr]:
    """The mode weights, UFL scalars with two derivatives. A weight below exp(-150) has the derivative 0."""
    psi = mode_energies(replace(potential, energy_shift=0.0), x)  # it cancels, and its rounding would not
    rho = potential.transition_scale
    return [1.0 / sum(ufl.exp(ufl.min_value((p - q) / rho, FARTHEST)) for q in psi) for p in psi]


@dataclass(frozen=True)
class _Cost:
    """The meaning of a mark on h(s) as a whole."""

    reversible: float


@dataclass(frozen=True)
class _Change:
    """The meaning of a mark on s."""

    reversible: float


def cost(change: Expr, reversible: float) -> Variable:
    """h(s), marked for `frozen_tangent`."""
    s = marked(change, _Change(reversible))
    smooth, sharp = s**2 / (2.0 * reversible), abs(s) - 0.5 * reversible
    return marked(ufl.conditional(ufl.lt(abs(s), reversible), smooth, sharp), _Cost(reversible))


def costs_in(item: Any) -> list[Variable]:
    """The costs in a form or expression, each once."""
    return [term for term, _ in marks_in(item, _Cost)]


def cost_curvature(term: Variable, u: Any, v: Expr, du: Expr) -> Expr:
    """The part h''(s) ds ds of the second derivative of a cost in the directions v and du, which is not negative."""
    ((mark, change),) = marks_in(term, _Change)
    s = mark.expression()
    curvature = ufl.conditional(ufl.lt(abs(s), change.reversible), 1.0 / change.reversible, 0.0)
    return curvature * ufl.derivative(s, u, v) * ufl.derivative(s, u, du)
