"""The strain x(F) of a material in UFL, and the stress that its conjugates make: P = sum_i g_i dx_i/dF."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import ufl
from ufl.core.expr import Expr

from lse_material.fem.forms.marks import marked, marks_in
from lse_material.model.hyperdual import exp, log, sqrt
from lse_material.model.strain import (
    MANDEL,
    GreenLagrange,
    IsotropicInvariants,
    SmallStrain,
    StrainMeasure,
    expect_components,
    expect_one_definition,
    tensor,
)


def strain(kinematics: StrainMeasure, F: Expr) -> list[Expr]:
    """The components of x(F) as UFL scalars, of an F that is marked with the strain measure.

    Raises InvalidInputError: the strain measure is not defined by its components alone.
    """
    expect_one_definition(kinematics, "UFL")
    return strain_components(kinematics, marked(F, kinematics))


def strain_components(kinematics: StrainMeasure, F: Expr) -> list[Expr]:
    """The components of x(F) as the strain measure writes them."""
    dim = kinematics.dim
    found = kinematics.components(tensor([F[i, j] for i in range(dim) for j in range(dim)], dim))
    return [ufl.as_ufl(x) for x in expect_components(kinematics, found)]


def pull_back(kinematics: StrainMeasure, F: Expr, g: list[Expr]) -> Expr:
    """sum_i g_i dx_i/dF, a UFL tensor.

    Raises InvalidInputError: the strain measure is not defined by its components alone.
    """
    expect_one_definition(kinematics, "UFL")
    short = _PULL_BACKS.get(type(kinematics).components)
    if short is not None:
        return short(kinematics, F, g)
    variable = marked(F, _Differentiated(kinematics))
    terms = [gi * ufl.diff(x, variable) for gi, x in zip(g, strain_components(kinematics, variable))]
    return sum(terms[1:], terms[0])


def multiple(factor: Expr, F: Expr) -> Expr:
    """factor F, a tensor of which `parts_of_multiple` finds the factor and F again: its derivative needs both."""
    factor, F = marked(factor, _Factor()), marked(F, _Tensor())
    rows, columns = (range(n) for n in F.ufl_shape)
    return ufl.as_matrix([[factor * F[i, j] for j in columns] for i in rows])


def parts_of_multiple(expression: Expr) -> tuple[Expr, Expr] | None:
    """The factor and the tensor of a `multiple`; None for other expressions."""
    factors, tensors = (marks_in(expression, kind) for kind in (_Factor, _Tensor))
    for (factor, _), (F, _) in itertools.product(factors, tensors):
        if F.ufl_shape == expression.ufl_shape and expression == multiple(factor.expression(), F.expression()):
            return factor, F
    return None


for _any_kind, _of_ufl in ((sqrt, ufl.sqrt), (log, ufl.ln), (exp, ufl.exp)):
    _any_kind.register(Expr, _of_ufl)


@dataclass(frozen=True)
class _Factor:
    """The meaning of a mark on the factor of a `multiple`."""


@dataclass(frozen=True)
class _Tensor:
    """The meaning of a mark on the tensor of a `multiple`."""


@dataclass(frozen=True)
class _Differentiated:
    """The meaning of a mark on the F in which a strain is differentiated."""

    kinematics: StrainMeasure


def _pull_back_invariants(kinematics: IsotropicInvariants, F: Expr, g: list[Expr]) -> Expr:
    J, C = ufl.det(F), F.T * F
    plane = 1.0 if kinematics.dim == 2 else 0.0
    I1 = ufl.tr(C) + plane
    I2 = 0.5 * (I1**2 - ufl.inner(C, ufl.conj(C)) - plane)
    volume = 2.0 * (J - 1.0) if kinematics.squared_volume else 1.0
    dJ = -2 / 3 * g[0] * J ** (-5 / 3) * I1 - 4 / 3 * g[1] * J ** (-7 / 3) * I2 + g[2] * volume
    dI1, dI2 = g[0] * J ** (-2 / 3), g[1] * J ** (-4 / 3)
    return 2.0 * dI1 * F + 2.0 * dI2 * (I1 * F - F * C) + dJ * ufl.cofac(F)


# by the definition of the components: shorter than their derivatives by UFL, and faster to compile
_PULL_BACKS: dict[Any, Callable[[Any, Expr, list[Expr]], Expr]] = {
    GreenLagrange.components: lambda kinematics, F, g: F * _from_mandel(kinematics.dim, g),
    SmallStrain.components: lambda kinematics, F, g: _from_mandel(kinematics.dim, g),
    IsotropicInvariants.components: _pull_back_invariants,
}


def _from_mandel(dim: int, g: list[Expr]) -> Expr:
    rows: list[list[Expr]] = [[0.0] * dim for _ in range(dim)]
    for value, (a, b) in zip(g, MANDEL[dim]):
        rows[a][b] = rows[b][a] = value if a == b else float(np.sqrt(0.5)) * value
    return ufl.as_matrix(rows)
