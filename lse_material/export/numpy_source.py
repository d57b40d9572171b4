"""A material as one Python file that needs NumPy alone."""

from __future__ import annotations

from lse_material.export.preamble import activation_of, description, number, potential_of, python_modes, python_scales
from lse_material.model.activations import translation
from lse_material.model.material import Material
from lse_material.model.soft_minimum import SoftMinimum
from lse_material.model.strain import IsotropicInvariants

ACTIVATIONS = {
    "softplus": "    return s, slope, e / (1.0 + e) ** 2",
    "squared_softplus": "    return 0.5 * s**2, s * slope, slope**2 + s * e / (1.0 + e) ** 2",
}

_POTENTIAL = '''
def activation(a):
    """The activation with its first and second derivative, without overflow."""
    e = np.exp(-np.abs(a))
    s = np.maximum(a, 0.0) + np.log1p(e)
    slope = np.where(a >= 0.0, 1.0, e) / (1.0 + e)
@ACTIVATION@


def mode(weights, x):
    """psi, its gradient and its Hessian, of one convex network at scaled x (n, d)."""
    n, d = x.shape
    last = len(weights["x_weights"]) - 1
    layers = []  # of each hidden layer: slope, curvature, derivative of its argument, weights of the next one
    for i in range(last + 1):
        W, b = np.array(weights["x_weights"][i]), np.array(weights["biases"][i])
        a = x @ W.T + b
        jacobian = np.broadcast_to(W, (n, *W.shape))
        if i > 0:
            Z = np.array(weights["z_weights"][i - 1])
            a = a + z @ Z.T
            jacobian = jacobian + Z @ (slope[:, :, None] * jacobian_below)
            layers.append((slope, curvature, jacobian_below, Z))
        if i < last:
            z, slope, curvature = activation(a)
            jacobian_below = jacobian
    psi, gradient, hessian = a[:, 0], jacobian[:, 0], np.zeros((n, d, d))
    above = np.ones((n, 1))
    for slope, curvature, jacobian, Z in reversed(layers):
        adjoint = above @ Z
        hessian = hessian + np.swapaxes(jacobian * (adjoint * curvature)[:, :, None], 1, 2) @ jacobian
        above = adjoint * slope
    if weights["quadratic"] is not None:
        Q = np.array(weights["quadratic"])
        psi = psi + 0.5 * ((x @ Q.T) ** 2).sum(axis=1)
        gradient, hessian = gradient + x @ (Q.T @ Q), hessian + Q.T @ Q
    return psi, gradient, hessian


def potential(x):
    """W, dW/dx, d2W/dx2 and the mode weights at x (n, d)."""
    scale = np.array(INPUT_SCALE)
    psi, g, H = zip(*[mode(weights, (x - np.array(INPUT_SHIFT)) / scale) for weights in MODES])
    psi = np.stack(psi, axis=1)
    lowest = psi.min(axis=1, keepdims=True)
    share = np.exp(-(psi - lowest) / RHO)
    total = share.sum(axis=1)
    weight = share / total[:, None]
    energy = ENERGY_SCALE * (lowest[:, 0] - RHO * np.log(total)) + ENERGY_SHIFT
    gradient = sum(w[:, None] * gk for w, gk in zip(weight.T, g))
    hessian = 0.0
    for w, gk, Hk in zip(weight.T, g, H):
        off = gk - gradient
        hessian = hessian + w[:, None, None] * (Hk - off[:, :, None] * off[:, None, :] / RHO)
    return energy, gradient * (ENERGY_SCALE / scale), hessian * (ENERGY_SCALE / np.outer(scale, scale)), weight
'''

_PLAIN = '''
def evaluate(x):
    """W (...), dW/dx (..., d), d2W/dx2 (..., d, d) and mode weights (..., K) at x (..., d)."""
    x = np.asarray(x, dtype=np.float64)
    values = potential(x.reshape(-1, x.shape[-1]))
    return tuple(value.reshape(*x.shape[:-1], *value.shape[1:]) for value in values)
'''

_MANDEL = """
PAIRS = {2: [(0, 0), (1, 1), (0, 1)], 3: [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]}[DIM]
BASIS = np.zeros((len(PAIRS), DIM, DIM))  # x_i = BASIS[i] : strain
for i, (a, b) in enumerate(PAIRS):
    BASIS[i, a, b] = BASIS[i, b, a] = 1.0 if a == b else np.sqrt(0.5)
"""

_GREEN_LAGRANGE = (
    _MANDEL
    + '''

def strain(F):
    """x and dx/dF at F (n, DIM, DIM)."""
    E = 0.5 * (np.swapaxes(F, 1, 2) @ F - np.eye(DIM))
    x = np.stack([E[:, a, b] * (1.0 if a == b else np.sqrt(2.0)) for a, b in PAIRS], axis=1)
    return x, F[:, None] @ BASIS


def geometric(F, g):
    """sum_i g_i d2x_i/dF dF."""
    return np.einsum("ik,nJL->niJkL", np.eye(DIM), np.einsum("ni,iJL->nJL", g, BASIS))
'''
)

_SMALL_STRAIN = (
    _MANDEL
    + '''

def strain(F):
    """x and dx/dF at F (n, DIM, DIM)."""
    e = 0.5 * (F + np.swapaxes(F, 1, 2)) - np.eye(DIM)
    x = np.stack([e[:, a, b] * (1.0 if a == b else np.sqrt(2.0)) for a, b in PAIRS], axis=1)
    return x, np.broadcast_to(BASIS, (len(F), *BASIS.shape))


def geometric(F, g):
    """sum_i g_i d2x_i/dF dF."""
    return np.zeros((len(F), DIM, DIM, DIM, DIM))
'''
)

_STRAIN = {"GreenLagrange": _GREEN_LAGRANGE, "SmallStrain": _SMALL_STRAIN}

_VOLUME = '''
LEVI_CIVITA = np.zeros((3, 3, 3))
for i in range(3):
    j, k = (i + 1) % 3, (i + 2) % 3
    LEVI_CIVITA[i, j, k], LEVI_CIVITA[i, k, j] = 1.0, -1.0


def solid(F):
    """F in 3D: plane strain has F33 = 1."""
    full = np.tile(np.eye(3), (len(F), 1, 1))
    full[:, :DIM, :DIM] = F
    return full


def volume(F):
    """J (NaN where it is not positive), dJ/dF and d2J/dF dF at F (n, 3, 3)."""
    cofactor = np.stack([np.cross(F[:, (i + 1) % 3], F[:, (i + 2) % 3]) for i in range(3)], axis=1)
    J = np.einsum("nJ,nJ->n", F[:, 0], cofactor[:, 0])
    return np.where(J > 0.0, J, np.nan), cofactor, np.einsum("ikm,JLN,nmN->niJkL", LEVI_CIVITA, LEVI_CIVITA, F)


def times(scalar, tensor):
    return scalar.reshape(-1, *(1,) * (tensor.ndim - 1)) * tensor
'''

_INVARIANTS = '''

def strain(F):
    """x and dx/dF at F (n, DIM, DIM)."""
    F = solid(F)
    C = np.swapaxes(F, 1, 2) @ F
    J, dJ, _ = volume(F)
    I1 = np.trace(C, axis1=1, axis2=2)
    I2 = 0.5 * (I1**2 - (C * C).sum(axis=(1, 2)))
    dI1, dI2 = 2.0 * F, 2.0 * (times(I1, F) - F @ C)
    x = np.stack([J ** (-2 / 3) * I1 - 3.0, J ** (-4 / 3) * I2 - 3.0, @VOLUME@], axis=1)
    derivative = np.stack(
        [
            times(J ** (-2 / 3), dI1) - times(2 / 3 * J ** (-5 / 3) * I1, dJ),
            times(J ** (-4 / 3), dI2) - times(4 / 3 * J ** (-7 / 3) * I2, dJ),
            times(@VOLUME1@, dJ),
        ],
        axis=1,
    )
    return x, derivative[:, :, :DIM, :DIM]


def geometric(F, g):
    """sum_i g_i d2x_i/dF dF."""
    F = solid(F)
    C, B = np.swapaxes(F, 1, 2) @ F, F @ np.swapaxes(F, 1, 2)
    J, dJ, d2J = volume(F)
    I1 = np.trace(C, axis1=1, axis2=2)
    I2 = 0.5 * (I1**2 - (C * C).sum(axis=(1, 2)))
    dI1, dI2, eye = 2.0 * F, 2.0 * (times(I1, F) - F @ C), np.eye(3)
    identity = np.einsum("ik,JL->iJkL", eye, eye)[None]
    d2I2 = 2.0 * (
        2.0 * np.einsum("niJ,nkL->niJkL", F, F) + times(I1, identity) - np.einsum("ik,nJL->niJkL", eye, C)
        - np.einsum("niL,nkJ->niJkL", F, F) - np.einsum("JL,nik->niJkL", eye, B)
    )
    g1, g2, g3 = g.T
    wJ = -2 / 3 * g1 * J ** (-5 / 3) * I1 - 4 / 3 * g2 * J ** (-7 / 3) * I2 + g3 * @VOLUME1@
    wJJ = 10 / 9 * g1 * J ** (-8 / 3) * I1 + 28 / 9 * g2 * J ** (-10 / 3) * I2 + g3 * @VOLUME2@
    mixed = times(-2 / 3 * g1 * J ** (-5 / 3), dI1) + times(-4 / 3 * g2 * J ** (-7 / 3), dI2) + times(0.5 * wJJ, dJ)
    product = np.einsum("niJ,nkL->niJkL", mixed, dJ)
    result = times(2.0 * g1 * J ** (-2 / 3), identity) + times(g2 * J ** (-4 / 3), d2I2) + times(wJ, d2J)
    return (result + product + np.moveaxis(product, (1, 2), (3, 4)))[:, :DIM, :DIM, :DIM, :DIM]
'''

_GROWTH = '''

def growth(F):
    """GROWTH (J - 1 - ln J) with its derivatives, at F (n, DIM, DIM)."""
    J, dJ, d2J = volume(solid(F))
    A = times(J**-2, np.einsum("niJ,nkL->niJkL", dJ, dJ)) + times(1.0 - 1.0 / J, d2J)
    P = times(1.0 - 1.0 / J, dJ)
    return GROWTH * (J - 1.0 - np.log(J)), GROWTH * P[:, :DIM, :DIM], GROWTH * A[:, :DIM, :DIM, :DIM, :DIM]
'''

_MATERIAL = '''

def evaluate(F):
    """W (...), P (..., DIM, DIM), A = dP/dF (..., DIM, DIM, DIM, DIM) and mode weights (..., K) at F (..., DIM, DIM)."""
    F = np.asarray(F, dtype=np.float64)
    shape, F = F.shape[:-2], F.reshape(-1, DIM, DIM)
    x, derivative = strain(F)
    W, g, H, weight = potential(x)
    P = np.einsum("ni,nikL->nkL", g, derivative)
    A = np.einsum("niaB,nij,njcD->naBcD", derivative, H, derivative, optimize=True) + geometric(F, g)
@ADD@
    return tuple(value.reshape(*shape, *value.shape[1:]) for value in (W, P, A, weight))
'''

_ADD_GROWTH = """    W, P, A = (value + term for value, term in zip((W, P, A), growth(F)))"""


def numpy_source(material: Material | SoftMinimum, name: str) -> str:
    """A module with `evaluate(F)`, or `evaluate(x)` for a plain potential, and the weights as nested lists."""
    p = potential_of(material)
    head = ['"""' + "\n".join(description(material, name)) + '\n"""', "", "import numpy as np", ""]
    parts = [_POTENTIAL.replace("@ACTIVATION@", translation(ACTIVATIONS, activation_of(p), "exported NumPy"))]
    if isinstance(material, Material):
        head.append(f"DIM = {material.dim}")
        kinematics = material.kinematics
        invariants = isinstance(kinematics, IsotropicInvariants)
        if invariants or material.growth is not None:
            parts.append(_VOLUME)
        if isinstance(kinematics, IsotropicInvariants):
            squared = kinematics.squared_volume
            text = _INVARIANTS.replace("@VOLUME@", "(J - 1.0) ** 2" if squared else "J - 1.0")
            text = text.replace("@VOLUME1@", "2.0 * (J - 1.0)" if squared else "np.ones_like(J)")
            parts.append(text.replace("@VOLUME2@", "2.0" if squared else "0.0"))
        else:
            parts.append(_STRAIN[type(kinematics).__name__])
        if material.growth is not None:
            head.append(f"GROWTH = {number(material.growth.coefficient)}")
            parts.append(_GROWTH)
        parts.append(_MATERIAL.replace("@ADD@\n", "" if material.growth is None else _ADD_GROWTH + "\n"))
    else:
        parts.append("\n" + _PLAIN)
    return "\n".join([*head, *python_scales(p), *python_modes(p.modes), ""]) + "".join(parts)
