"""A material in UFL: energy, stress and mode weights as expressions of a UFL deformation gradient.

By default the potential is one UFL operator that FFCx compiles into a call of generated C (`lse_material.fem.operator`): it
costs little more than neo-Hookean at any network size and differentiates twice. With expanded=True every weight is written
out in plain UFL, which needs no C header and differentiates as often as you like; it is sensible up to about 1,000 non-zero
weights in 2D.

In plain UFL, softplus and the soft minimum hold for any argument. Neither uses abs, max or min of UFL, whose derivatives
are wrong where the argument vanishes (at F = I with zero biases, say): with s = +-1 the sign of a, a constant of
differentiation,

    softplus(a) = (a + s a)/2 + ln(1 + exp(-s a)).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import ufl
from ufl.core.expr import Expr as Expression

from lse_material.activations import translation
from lse_material.errors import InvalidInputError
from lse_material.fem import operator
from lse_material.fem.frozen import growth_energy
from lse_material.fem.marks import marked
from lse_material.fem.orientation import orientation
from lse_material.growth import Growth
from lse_material.hyperdual import exp, log, sqrt
from lse_material.kinematics import (
    MANDEL,
    GreenLagrange,
    IsotropicInvariants,
    Kinematics,
    SmallStrain,
    expect_components,
    expect_one_definition,
    tensor,
)
from lse_material.material import Material
from lse_material.network import ConvexNetwork
from lse_material.potential import SoftMinimum

Expr = Any  # a UFL expression


def energy(
    material: Material, F: Expr, *, fields: Sequence[Expr] = (), expanded: bool = False, inverted: bool = False
) -> Expr:
    """W(F), a UFL scalar in energy units per reference volume.

    W and its derivatives are NaN where det F <= 0 (at small strain, det F is not looked at): an energy of F^T F alone does
    not tell a cell from its mirror image, and would take one that is turned inside out for a minimum.

    Args:
        material: any material.
        F: UFL expression of shape (dim, dim); wrap it in ufl.variable to use ufl.diff.
        fields: UFL scalars, one for each of the material's fields, in their order.
        expanded: write the networks out in plain UFL instead of calling compiled C.
        inverted: let the strain measure say what W is where det F <= 0.

    Raises:
        InvalidInputError: F has another shape than the material's dimension asks for, or fields are too few or too many.
    """
    expect_shape(material, F)
    W = potential_energy(material.potential, inputs(material, F, fields), expanded=expanded)
    if material.growth is not None:
        W = W + growth_energy(material.growth, F)
    return W if inverted else orientation(material.kinematics, F) * W


def stress(
    material: Material, F: Expr, *, fields: Sequence[Expr] = (), expanded: bool = False, inverted: bool = False
) -> Expr:
    """P = dW/dF, first Piola-Kirchhoff stress of shape (dim, dim); NaN where W is.

    The arguments and errors are those of `energy`. Expanded, the networks' gradients are written out by a reverse sweep: a
    Jacobian derived from it is differentiated once instead of twice and compiles faster.
    """
    expect_shape(material, F)
    x = inputs(material, F, fields)
    gradient = (_potential_gradient if expanded else operator.gradient)(material.potential, x)
    P = pull_back(material.kinematics, F, gradient[len(material.fields) :])
    if material.growth is not None:
        P = P + growth_stress(material.growth, F)
    return P if inverted else orientation(material.kinematics, F) * P


def conjugates(
    material: Material, F: Expr, *, fields: Sequence[Expr], expanded: bool = False, inverted: bool = False
) -> Expr:
    """dW/dfields, a UFL vector with one entry for each field. Arguments and errors as in `energy`."""
    expect_shape(material, F)
    x = inputs(material, F, fields)
    gradient = (_potential_gradient if expanded else operator.gradient)(material.potential, x)
    result = ufl.as_vector(gradient[: len(material.fields)])
    return result if inverted else orientation(material.kinematics, F) * result


def growth_stress(growth: Growth, F: Expr) -> Expr:
    """Derivative of the growth term in F, NaN where J < 0."""
    J = marked(ufl.det(F), _DifferentiatedIn(growth))
    return ufl.diff(growth.of_volume(J), J) * ufl.cofac(F)


def mode_weights(material: Material, F: Expr, *, fields: Sequence[Expr] = (), expanded: bool = False) -> Expr:
    """Phase fractions softmax(-psi_k/rho), a UFL vector with one entry per mode. Arguments and errors as in `energy`.

    Only the expanded ones can be differentiated.
    """
    expect_shape(material, F)
    p, x = material.potential, inputs(material, F, fields)
    if not expanded:
        return ufl.as_vector(operator.weights(p, x))
    xh = _scaled(p, x)
    return ufl.as_vector(_weights([_mode(mode, xh)[0] for mode in p.modes], p.rho))


def potential_energy(potential: SoftMinimum, x: list[Expr], *, expanded: bool = False) -> Expr:
    """W of a potential of any UFL scalars x (d of them), compiled or expanded as `energy`."""
    if len(x) != potential.size:
        raise InvalidInputError(f"the potential has {potential.size} inputs; it was given {len(x)} expressions.")
    if not expanded:
        return operator.value(potential, x)
    psi = [_mode(mode, _scaled(potential, x))[0] for mode in potential.modes]
    lowest = psi[0]
    for other in psi[1:]:  # exact: softmin(a, b) = a - rho softplus((a - b)/rho), and soft minima associate
        lowest = lowest - potential.rho * _softplus((lowest - other) / potential.rho)[0]
    return potential.energy_scale * lowest + potential.energy_shift


def inputs(material: Material, F: Expr, fields: Sequence[Expr]) -> list[Expr]:
    """What the potential takes, UFL scalars: the fields, then the components of x(F)."""
    if len(fields) != len(material.fields):
        raise InvalidInputError(
            f"{len(fields)} fields are given; the energy depends on {list(material.fields)}: energy(material, F, fields=[...])."
        )
    return [*fields, *strain(material.kinematics, F)]


def strain(kinematics: Kinematics, F: Expr) -> list[Expr]:
    """The components of x(F) as UFL scalars.

    Raises:
        InvalidInputError: the strain measure is not defined by its components alone.
    """
    expect_one_definition(kinematics, "UFL")
    if type(kinematics).components is IsotropicInvariants.components:
        F = marked(F, kinematics)  # for `frozen_tangent`, which knows their curvature
    return _components(kinematics, F)


def pull_back(kinematics: Kinematics, F: Expr, g: list[Expr]) -> Expr:
    """sum_i g_i dx_i/dF, a UFL tensor.

    Raises:
        InvalidInputError: the strain measure is not defined by its components alone.
    """
    expect_one_definition(kinematics, "UFL")
    short = _PULL_BACKS.get(type(kinematics).components)
    if short is not None:
        return short(kinematics, F, g)
    variable = marked(F, _DifferentiatedIn(kinematics))
    terms = [gi * ufl.diff(x, variable) for gi, x in zip(g, _components(kinematics, variable))]
    return sum(terms[1:], terms[0])


def _components(kinematics: Kinematics, F: Expr) -> list[Expr]:
    dim = kinematics.dim
    found = kinematics.components(tensor([F[i, j] for i in range(dim) for j in range(dim)], dim))
    expect_components(kinematics, found)
    return [ufl.as_ufl(x) for x in found]


for _any_kind, _of_ufl in ((sqrt, ufl.sqrt), (log, ufl.ln), (exp, ufl.exp)):
    _any_kind.register(Expression, _of_ufl)


@dataclass(frozen=True)
class _DifferentiatedIn:
    """The meaning of a mark on what a strain measure (F) or a growth term (J) is differentiated in."""

    what: Kinematics | Growth


def _pull_back_green_lagrange(kinematics: Kinematics, F: Expr, g: list[Expr]) -> Expr:
    return F * _from_mandel(kinematics.dim, g)


def _pull_back_small_strain(kinematics: Kinematics, F: Expr, g: list[Expr]) -> Expr:
    return _from_mandel(kinematics.dim, g)


def _pull_back_invariants(kinematics: IsotropicInvariants, F: Expr, g: list[Expr]) -> Expr:
    J, C = ufl.det(F), F.T * F
    plane = 1.0 if kinematics.dim == 2 else 0.0
    I1 = ufl.tr(C) + plane
    I2 = 0.5 * (I1**2 - ufl.inner(C, ufl.conj(C)) - plane)
    volume = 2.0 * (J - 1.0) if kinematics.squared_volume else 1.0
    dJ = -2 / 3 * g[0] * J ** (-5 / 3) * I1 - 4 / 3 * g[1] * J ** (-7 / 3) * I2 + g[2] * volume
    dI1, dI2 = g[0] * J ** (-2 / 3), g[1] * J ** (-4 / 3)
    return 2.0 * dI1 * F + 2.0 * dI2 * (I1 * F - F * C) + dJ * ufl.cofac(F)


# by the definition that they follow from: shorter than what differentiation of the components gives, and quicker to compile
_PULL_BACKS: dict[Any, Callable[[Any, Expr, list[Expr]], Expr]] = {
    GreenLagrange.components: _pull_back_green_lagrange,
    SmallStrain.components: _pull_back_small_strain,
    IsotropicInvariants.components: _pull_back_invariants,
}


def _potential_gradient(potential: SoftMinimum, x: list[Expr]) -> list[Expr]:
    """dW/dx_i."""
    psi, gradients = zip(*[_mode(mode, _scaled(potential, x), gradient=True) for mode in potential.modes])
    weights = _weights(list(psi), potential.rho)
    return [
        sum((w * g[i] for w, g in zip(weights, gradients)), 0.0) * (potential.energy_scale / float(scale))
        for i, scale in enumerate(potential.input_scale)
    ]


def _weights(psi: list[Expr], rho: float) -> list[Expr]:
    if len(psi) == 1:
        return [ufl.as_ufl(1.0)]
    lowest = psi[0]
    for other in psi[1:]:
        lowest = ufl.conditional(ufl.lt(ufl.real(other), ufl.real(lowest)), other, lowest)
    shares = [ufl.exp((lowest - value) / rho) for value in psi]
    total = sum(shares[1:], shares[0])
    return [share / total for share in shares]


def _mode(net: ConvexNetwork, x: list[Expr], *, gradient: bool = False) -> tuple[Expr, list[Expr]]:
    """Psi of one network, and its gradient by a reverse sweep if asked for (else an empty list)."""
    z: list[Expr] = []
    slopes: list[list[Expr]] = []
    last = len(net.x_weights) - 1
    for i in range(last + 1):
        rows = net.x_weights[i].shape[0]
        pre = [_affine(net.x_weights[i][r], x, float(net.biases[i][r])) for r in range(rows)]
        if i > 0:
            pre = [a + _affine(net.z_weights[i - 1][r], z, 0.0) for r, a in enumerate(pre)]
        if i < last:
            both = [_activation(net.activation, a) for a in pre]
            z = [value for value, _ in both]
            slopes.append([slope for _, slope in both])
    psi = pre[0]
    quadratic = None if net.quadratic is None else net.quadratic.T @ net.quadratic
    if quadratic is not None:
        psi = psi + 0.5 * _affine(np.ones(len(x)), [_affine(row, x, 0.0) * xi for row, xi in zip(quadratic, x)], 0.0)
    if not gradient:
        return psi, []
    total = [ufl.as_ufl(float(w)) for w in net.x_weights[last][0]]
    above: list[Expr] = [1.0]
    for i in range(last - 1, -1, -1):
        adjoints = [_affine(column, above, 0.0) * s for column, s in zip(net.z_weights[i].T, slopes[i])]
        total = [t + _affine(net.x_weights[i][:, j], adjoints, 0.0) for j, t in enumerate(total)]
        above = adjoints
    if quadratic is not None:
        total = [t + _affine(row, x, 0.0) for t, row in zip(total, quadratic)]
    return psi, total


def _affine(weights: Any, values: Any, constant: float) -> Expr:
    """weights . values + constant, leaving out weights that are exactly zero (pruned)."""
    terms = [float(w) * v for w, v in zip(weights, values) if w != 0.0]
    return sum(terms, ufl.as_ufl(constant))


def _softplus(a: Expr) -> tuple[Expr, Expr]:
    """Softplus and its slope, each differentiable once more and exact at a = 0."""
    positive = ufl.gt(ufl.real(a), 0.0)  # complex builds compare real numbers only
    size = ufl.conditional(positive, 1.0, -1.0) * a
    e = ufl.exp(-size)
    return 0.5 * (a + size) + ufl.ln(1.0 + e), ufl.conditional(positive, 1.0, e) / (1.0 + e)


def _activation(name: str, a: Expr) -> tuple[Expr, Expr]:
    """An activation of `lse_material.activations` and its slope."""
    value, slope = _softplus(a)
    return translation(_ACTIVATIONS, name, "UFL")(value, slope)


# value and slope from those of softplus
_ACTIVATIONS: dict[str, Callable[[Expr, Expr], tuple[Expr, Expr]]] = {
    "softplus": lambda value, slope: (value, slope),
    "squared_softplus": lambda value, slope: (0.5 * value**2, value * slope),
}


def _scaled(potential: SoftMinimum, x: list[Expr]) -> list[Expr]:
    return [(xi - float(a)) / float(b) for xi, a, b in zip(x, potential.input_shift, potential.input_scale)]


def _from_mandel(dim: int, g: list[Expr]) -> Expr:
    rows: list[list[Expr]] = [[0.0] * dim for _ in range(dim)]
    for value, (a, b) in zip(g, MANDEL[dim]):
        rows[a][b] = rows[b][a] = value if a == b else float(np.sqrt(0.5)) * value
    return ufl.as_matrix(rows)


def expect_shape(material: Material, F: Expr) -> None:
    """Raise InvalidInputError unless F is a tensor of the dimension of the material."""
    shape = getattr(F, "ufl_shape", None)
    if shape != (material.dim, material.dim):
        raise InvalidInputError(
            f"F has UFL shape {shape}; a {material.dim}D material needs ({material.dim}, {material.dim}), "
            "as ufl.Identity(dim) + ufl.grad(u) gives it on a mesh of that dimension."
        )
