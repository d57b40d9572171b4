"""A potential written out in plain UFL: every weight is a number in the expression.

In plain UFL, softplus and the soft minimum hold for any argument. Neither uses abs, max or min of UFL, whose derivatives
are wrong where the argument vanishes (at F = I with zero biases, say): with s = +-1 the sign of a, a constant of
differentiation,

    softplus(a) = (a + s a)/2 + ln(1 + exp(-s a)).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import ufl

from lse_material.model.activations import ACTIVATIONS

Expr = Any  # a UFL expression


def value(potential: Any, x: list[Expr]) -> Expr:
    """W, a UFL scalar."""
    lowest, *others = _energies(potential, x)
    for other in others:  # exact: softmin(a, b) = a - rho softplus((a - b)/rho), and soft minima associate
        lowest = lowest - potential.scaled_rho * _softplus((lowest - other) / potential.scaled_rho)[0]
    return potential.energy_scale * lowest + potential.energy_shift


def gradient(potential: Any, x: list[Expr]) -> list[Expr]:
    """dW/dx_i."""
    scaled = _scaled(potential, x)
    psi, gradients = zip(*(_written(mode, scaled, with_gradient=True) for mode in potential.modes))
    shares = _softmax(list(psi), potential.scaled_rho)
    return [
        sum((w * g[i] for w, g in zip(shares, gradients)), 0.0) * (potential.energy_scale / float(scale))
        for i, scale in enumerate(potential.input_scale)
    ]


def weights(potential: Any, x: list[Expr]) -> list[Expr]:
    """softmax(-psi_k/rho), one UFL scalar per mode."""
    return _softmax(_energies(potential, x), potential.scaled_rho)


def _energies(potential: Any, x: list[Expr]) -> list[Expr]:
    """psi_k, in scaled energy."""
    scaled = _scaled(potential, x)
    return [_written(mode, scaled)[0] for mode in potential.modes]


def _written(mode: Any, x: list[Expr], *, with_gradient: bool = False) -> tuple[Expr, list[Expr]]:
    """psi of a mode of any type, and its gradient if asked for (else an empty list)."""
    write: Callable[..., tuple[Expr, list[Expr]]] = MODES.get(mode.type, formula)
    return write(mode, x, with_gradient=with_gradient)


def _scaled(potential: Any, x: list[Expr]) -> list[Expr]:
    return [(xi - float(a)) / float(b) for xi, a, b in zip(x, potential.input_shift, potential.input_scale)]


def _softmax(psi: list[Expr], rho: float) -> list[Expr]:
    if len(psi) == 1:
        return [ufl.as_ufl(1.0)]
    lowest = psi[0]
    for other in psi[1:]:
        lowest = ufl.conditional(ufl.lt(ufl.real(other), ufl.real(lowest)), other, lowest)
    shares = [ufl.exp((lowest - value) / rho) for value in psi]
    total = sum(shares[1:], shares[0])
    return [share / total for share in shares]


def _softplus(a: Expr) -> tuple[Expr, Expr]:
    """Softplus and its slope, each differentiable once more and exact at a = 0."""
    positive = ufl.gt(ufl.real(a), 0.0)  # complex builds compare real numbers only
    size = ufl.conditional(positive, 1.0, -1.0) * a
    e = ufl.exp(-size)
    return 0.5 * (a + size) + ufl.ln(1.0 + e), ufl.conditional(positive, 1.0, e) / (1.0 + e)


def network(mode: Any, x: list[Expr], *, with_gradient: bool = False) -> tuple[Expr, list[Expr]]:
    """psi of a convex network, and its gradient by a reverse sweep if asked for (else an empty list)."""
    f = ACTIVATIONS[mode.activation]
    z: list[Expr] = []
    slopes: list[list[Expr]] = []
    last = len(mode.x_weights) - 1
    for i in range(last + 1):
        pre = [_affine(row, x, float(bias)) for row, bias in zip(mode.x_weights[i], mode.biases[i])]
        if i > 0:
            pre = [a + _affine(row, z, 0.0) for row, a in zip(mode.z_weights[i - 1], pre)]
        if i < last:
            both = [_softplus(a) for a in pre]
            z = [f.value(s) for s, _ in both]
            slopes.append([f.slope(s, t) for s, t in both])
    psi = pre[0]
    quadratic = None if mode.quadratic is None else mode.quadratic.T @ mode.quadratic
    if quadratic is not None:
        psi = psi + 0.5 * _affine(np.ones(len(x)), [_affine(row, x, 0.0) * xi for row, xi in zip(quadratic, x)], 0.0)
    if not with_gradient:
        return psi, []
    total = [ufl.as_ufl(float(w)) for w in mode.x_weights[last][0]]
    above: list[Expr] = [1.0]
    for i in range(last - 1, -1, -1):
        adjoints = [_affine(column, above, 0.0) * s for column, s in zip(mode.z_weights[i].T, slopes[i])]
        total = [t + _affine(mode.x_weights[i][:, j], adjoints, 0.0) for j, t in enumerate(total)]
        above = adjoints
    if quadratic is not None:
        total = [t + _affine(row, x, 0.0) for t, row in zip(total, quadratic)]
    return psi, total


def _affine(weights: Any, values: Any, constant: float) -> Expr:
    """weights . values + constant, leaving out weights that are exactly zero (pruned)."""
    terms = [float(w) * v for w, v in zip(weights, values) if w != 0.0]
    return sum(terms, ufl.as_ufl(constant))


def formula(mode: Any, x: list[Expr], *, with_gradient: bool = False) -> tuple[Expr, list[Expr]]:
    """psi of a mode by its formula on scalars of any kind, and its gradient if asked for (else an empty list)."""
    variables = [ufl.variable(xi) for xi in x]
    psi = ufl.as_ufl(mode.formula(variables))
    return psi, [ufl.diff(psi, xi) for xi in variables] if with_gradient else []


def design(mode: Any, x: list[Expr], *, with_gradient: bool = False) -> tuple[Expr, list[Expr]]:
    """psi of a design network, and its gradient if asked for (else an empty list)."""
    m = mode.feature_weight.shape[1]
    x = [ufl.variable(xi) for xi in x]
    p, rest = x[:m], x[m:]
    features = [_affine(row, p, float(b)) for row, b in zip(mode.feature_weight, mode.feature_bias)]
    phi = [ufl.as_ufl(1.0), *p, *(ufl.sqrt(1.0 + a * a) for a in features)]
    f = ACTIVATIONS[mode.activation]
    terms = [_affine(mode.level, phi, 0.0)]
    for weight, bias, acting in zip(mode.x_weight, mode.bias, mode.z_root):
        a = _affine(weight, rest, 0.0) + _affine(bias, phi, 0.0)
        terms.append(_affine(acting, phi, 0.0) ** 2 * f.value(_softplus(a)[0]))
    terms += [_affine(row, phi, 0.0) * xi for row, xi in zip(mode.slope, rest)]
    for root in mode.quadratic:
        y = sum((_affine(row, phi, 0.0) * xi for row, xi in zip(root, rest)), ufl.as_ufl(0.0))
        terms.append(0.5 * y * y)
    psi = sum(terms[1:], terms[0])
    return psi, [ufl.diff(psi, xi) for xi in x] if with_gradient else []


def _between(of_end: Callable[..., Any], mode: Any, x: list[Expr], *, with_gradient: bool) -> tuple[Expr, list[Expr]]:
    """The same of a mode between its ends, x[0] the share of the upper one."""
    t, rest = x[0], x[1:]
    (lower, of_lower), (upper, of_upper) = (
        of_end(end, rest, with_gradient=with_gradient) for end in (mode.lower, mode.upper)
    )
    psi = (1.0 - t) * lower + t * upper
    if not with_gradient:
        return psi, []
    return psi, [upper - lower, *((1.0 - t) * a + t * b for a, b in zip(of_lower, of_upper))]


# by the type of a mode; types that stand here in no line are written out by their formula
MODES: dict[str, Callable[..., tuple[Expr, list[Expr]]]] = {
    "ConvexNetwork": network,
    "InterpolatedNetwork": partial(_between, network),
    "DesignNetwork": design,
    "InterpolatedDesign": partial(_between, design),
}
