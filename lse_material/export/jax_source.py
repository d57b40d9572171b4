"""A material as one Python file that needs JAX alone: W in jax.numpy, its derivatives by jax."""

from collections.abc import Sequence
from textwrap import indent
from typing import Any

from lse_material.export.preamble import description, filled, number
from lse_material.export.python_body import entries_of_F, layers, listed, python_body, quadratic
from lse_material.export.recorder import recorded_activation, recorded_kinematics, recorded_mode
from lse_material.model.material import Material, potential_of
from lse_material.model.soft_minimum import SoftMinimum

_HEAD = '''
import jax
import jax.numpy as jnp

jax.config.update("jax_enable_x64", True)  # before any array is made: all numbers are doubles


def table(rows, columns, values):
    """A matrix, from its rows one after another."""
    return jnp.array(values, dtype=jnp.float64).reshape(rows, columns)


def network(x, activation, layers, quadratic):
    """psi (...) of an input convex network at x (..., d): layers (x_weight, z_weight, bias), the last one of output."""
    z = x[..., :0]
    for x_weight, z_weight, bias in layers:
        a = x @ x_weight.T + z @ z_weight.T + bias[0]
        z = activation(a)
    return a[..., 0] + 0.5 * ((x @ quadratic.T) ** 2).sum(-1)
'''

_ACTIVATION = '''

def activation_@K@(a):
    """@NAME@."""
@TEXT@
'''

_MODE = '''
@TABLES@

def mode_@K@(x):
    """psi (...) at scaled x (..., d)."""
@TEXT@
'''

_POTENTIAL = '''

MODES = (@MODES@)
SHIFT = jnp.array(@SHIFT@)
SCALE = jnp.array(@SCALE@)


def energies(x):
    """psi_k / -rho (..., K)."""
    scaled = (x - SHIFT) / SCALE
    return jnp.stack([mode(scaled) for mode in MODES], -1) / -@RHO@


def potential(x):
    """W (...) of inputs x (..., d)."""
    return -@ENERGY_RHO@ * jax.nn.logsumexp(energies(x), -1) + @ENERGY_SHIFT@


def potential_weights(x):
    """Mode weights (..., K)."""
    return jax.nn.softmax(energies(x), -1)


potential_gradient = jnp.vectorize(jax.grad(potential), signature="(d)->(d)")
potential_hessian = jnp.vectorize(jax.jacfwd(jax.grad(potential)), signature="(d)->(d,d)")
'''

_MATERIAL = '''

def strain(F):
    """x (..., d) at F (..., dim, dim)."""
@X@


def growth(F):
    """What a growth term adds to W."""
@GROWTH@


def energy(F):
    """W (...) per reference volume at F (..., dim, dim)."""
    F = jnp.asarray(F)
    return potential(strain(F)) + growth(F)


def mode_weights(F):
    """Mode weights (..., K)."""
    return potential_weights(strain(jnp.asarray(F)))


stress = jnp.vectorize(jax.grad(energy), signature="(i,j)->(i,j)")  # P = dW/dF
tangent = jnp.vectorize(jax.jacfwd(jax.grad(energy)), signature="(i,j)->(i,j,i,j)")  # A = dP/dF
'''


def jax_source(material: Material | SoftMinimum, name: str) -> str:
    """A module with `energy`, `stress`, `tangent`, `mode_weights` of F, or `potential` and its derivatives of x."""
    p = potential_of(material)
    use = "Use: potential(x), potential_gradient(x), potential_hessian(x), potential_weights(x) at x (..., d)."
    if isinstance(material, Material):
        use = "Use: energy(F), stress(F), tangent(F), mode_weights(F) at F (..., dim, dim), under jax.jit and jax.vmap too."
    text = '"""' + "\n".join([*description(material, name), use]) + '\n"""\n' + _HEAD
    names = list(dict.fromkeys(mode.options()["activation"] for mode in p.modes if mode.type == "ConvexNetwork"))
    for i, activation in enumerate(names):
        recorder, value, _, _ = recorded_activation(activation, "stc")
        body = python_body(recorder, {"s": "jax.nn.softplus(a)"}, "jnp", value)
        text += filled(_ACTIVATION, {"K": i, "NAME": activation, "TEXT": body})
    text += "".join(_mode(i, mode, names) for i, mode in enumerate(p.modes))
    replacements = {
        "MODES": "".join(f"mode_{k}, " for k in range(len(p.modes))).strip(),
        "SHIFT": listed(p.input_shift),
        "SCALE": listed(p.input_scale),
        "RHO": number(p.scaled_rho),
        "ENERGY_RHO": number(p.energy_scale * p.scaled_rho),
        "ENERGY_SHIFT": f"({number(p.energy_shift)})",
    }
    text += _POTENTIAL
    if isinstance(material, Material):
        text += _MATERIAL
        inputs = entries_of_F(material.dim)
        k = recorded_kinematics(material, list(inputs), [f"g{i}" for i in range(material.kinematics.size)])
        replacements["X"] = python_body(k.recorder, inputs, "jnp", k.x)
        replacements["GROWTH"] = python_body(k.recorder, inputs, "jnp", k.energy)
    return filled(text, replacements)


def _mode(k: int, mode: Any, activations: Sequence[str]) -> str:
    """The function of a mode, and its tables."""
    if mode.type != "ConvexNetwork":
        names = [f"x{i + 1}" for i in range(mode.size)]
        recorder, psi, _, _ = recorded_mode(mode, names, "exported JAX")
        tables, body = "", python_body(recorder, {name: f"x[..., {i}]" for i, name in enumerate(names)}, "jnp", psi)
    else:
        listed_layers = indent("".join("(\n" + indent(f"{each},", "    ") + "\n),\n" for each in layers(mode)), "    ")
        tables = f"LAYERS_{k} = [\n{listed_layers}]\nQUADRATIC_{k} = {quadratic(mode)}\n"
        which = activations.index(mode.activation)
        body = f"    return network(x, activation_{which}, LAYERS_{k}, QUADRATIC_{k})"
    return filled(_MODE, {"K": k, "TABLES": tables, "TEXT": body})
