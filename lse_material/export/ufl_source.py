"""A material as one Python file that needs UFL alone."""

from __future__ import annotations

from lse_material.export.preamble import activation_of, description, number, potential_of, python_modes, python_scales
from lse_material.model.activations import translation
from lse_material.model.material import Material
from lse_material.model.soft_minimum import SoftMinimum
from lse_material.model.strain import MANDEL, IsotropicInvariants

ACTIVATIONS = {"softplus": "return s", "squared_softplus": "return 0.5 * s**2"}

_POTENTIAL = '''

def softplus(a):
    """ln(1 + exp(a)): twice differentiable, and exact where a = 0, where UFL's abs and max are not."""
    size = ufl.conditional(ufl.gt(a, 0.0), 1.0, -1.0) * a
    return 0.5 * (a + size) + ufl.ln(1.0 + ufl.exp(-size))


def activation(a):
    s = softplus(a)
    @ACTIVATION@


def affine(weights, values, constant=0.0):
    return sum((w * v for w, v in zip(weights, values) if w != 0.0), ufl.as_ufl(constant))


def mode(weights, x):
    """psi of one convex network, of scaled x."""
    z = []
    for i, (W, b) in enumerate(zip(weights["x_weights"], weights["biases"])):
        a = [affine(row, x, constant) for row, constant in zip(W, b)]
        if i > 0:
            a = [value + affine(row, z) for value, row in zip(a, weights["z_weights"][i - 1])]
        z = [activation(value) for value in a]
    psi = a[0]
    for row in weights["quadratic"] or ():
        psi = psi + 0.5 * affine(row, x) ** 2
    return psi


def modes(x):
    scaled = [(value - shift) / scale for value, shift, scale in zip(x, INPUT_SHIFT, INPUT_SCALE)]
    return [mode(weights, scaled) for weights in MODES]


def potential(x):
    """W of a list of UFL scalars x. Soft minima associate: softmin(a, b) = a - rho softplus((a - b)/rho)."""
    lowest, *others = modes(x)
    for other in others:
        lowest = lowest - RHO * softplus((lowest - other) / RHO)
    return ENERGY_SCALE * lowest + ENERGY_SHIFT


def potential_weights(x):
    """The mode weights exp(-psi_k/rho) / sum, a UFL vector."""
    psi = modes(x)
    lowest = psi[0]
    for other in psi[1:]:
        lowest = ufl.conditional(ufl.lt(other, lowest), other, lowest)
    shares = [ufl.exp((lowest - value) / RHO) for value in psi]
    return ufl.as_vector([share / sum(shares[1:], shares[0]) for share in shares])
'''

_STRAIN = {
    "GreenLagrange": """
def strain(F):
    C = F.T * F
    return [@LIST@]
""",
    "SmallStrain": """
def strain(F):
    return [@LIST@]
""",
    "IsotropicInvariants": """
def strain(F):
    C = F.T * F
    J, I1 = ufl.det(F), ufl.tr(C) + @PLANE@
    I2 = 0.5 * (I1**2 - ufl.inner(C, C) - @PLANE@)
    return [I1 * J ** (-2 / 3) - 3.0, I2 * J ** (-4 / 3) - 3.0, @VOLUME@]
""",
}

_COMPONENTS = {  # a factor, and what loses 1 on the diagonal
    "GreenLagrange": ("0.5 * ", "C[a, b]"),
    "SmallStrain": ("", "0.5 * (F[a, b] + F[b, a])"),
}

_MATERIAL = '''

def energy(F):
    """W(F). P is ufl.diff(energy(F), F) with F = ufl.variable(...), or take ufl.derivative of energy(F) * ufl.dx."""
    @GROWTH@


def mode_weights(F):
    """The mode weights at F."""
    return potential_weights(strain(F))
'''


def ufl_source(material: Material | SoftMinimum, name: str) -> str:
    """A module with `energy(F)` and `mode_weights(F)` of a UFL F, or `potential(x)` of UFL scalars for a plain potential."""
    p = potential_of(material)
    head = ['"""' + "\n".join(description(material, name)) + '\n"""', "", "import ufl", ""]
    parts = [_POTENTIAL.replace("@ACTIVATION@", translation(ACTIVATIONS, activation_of(p), "exported UFL"))]
    if isinstance(material, Material):
        parts += ["\n", _strain(material)]
        growth = "return potential(strain(F))"
        if material.growth is not None:
            head.append(f"GROWTH = {number(material.growth.coefficient)}")
            growth = (
                "J = ufl.det(F)\n"
                "    return potential(strain(F)) + GROWTH * (J - 1.0 - 2.0 * ufl.ln(ufl.sqrt(J)))  # NaN where J < 0"
            )
        parts.append(_MATERIAL.replace("@GROWTH@", growth))
    return "\n".join([*head, *python_scales(p), *python_modes(p.modes)]) + "\n" + "".join(parts)


def _strain(material: Material) -> str:
    kinematics = material.kinematics
    kind = type(kinematics).__name__
    if isinstance(kinematics, IsotropicInvariants):
        text = _STRAIN[kind].replace("@PLANE@", "1.0" if kinematics.dim == 2 else "0.0")
        return text.replace("@VOLUME@", "(J - 1.0) ** 2" if kinematics.squared_volume else "J - 1.0")
    entries = []
    for a, b in MANDEL[kinematics.dim]:
        factor, value = _COMPONENTS[kind]
        value = value.replace("a", str(a)).replace("b", str(b))
        entries.append(factor + (f"({value} - 1.0)" if a == b else f"2.0**0.5 * {value}"))
    return _STRAIN[kind].replace("@LIST@", ", ".join(entries))
