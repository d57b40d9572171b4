"""What every exported file says of itself, and numbers as text that read back to the same bits."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import numpy as np

import lse_material
from lse_material.errors import InvalidInputError
from lse_material.model.convex_network import ConvexNetwork
from lse_material.model.material import Material
from lse_material.model.soft_minimum import SoftMinimum
from lse_material.model.strain import known_measure

MEASURES = {
    "GreenLagrange": "Green-Lagrange strain (F^T F - I)/2, in Mandel order",
    "SmallStrain": "small strain (F + F^T)/2 - I, in Mandel order",
    "IsotropicInvariants": "(J^(-2/3) I1 - 3, J^(-4/3) I2 - 3, volume)",
}


def potential_of(material: Material | SoftMinimum) -> SoftMinimum:
    """The potential itself."""
    return material.potential if isinstance(material, Material) else material


def activation_of(potential: SoftMinimum) -> str:
    """The activation that all modes share.

    Raises:
        InvalidInputError: they do not.
    """
    names = {mode.activation for mode in potential.modes}
    if len(names) > 1:
        raise InvalidInputError(f"an exported file holds one activation for all modes; these have {sorted(names)}.")
    return names.pop()


def description(material: Material | SoftMinimum, name: str) -> list[str]:
    """Lines for the head of a file: what it is, in which variables and units, where it came from."""
    potential = potential_of(material)
    lines = [
        f"{name}: W = -rho log sum_k exp(-psi_k/rho), {len(potential.modes)} convex modes of {potential.size} inputs,",
        f"transition scale {potential.transition_scale:.6g} in energy units.",
    ]
    if not isinstance(material, Material):
        return [*lines, f"Written by lse_material {lse_material.__version__}."]
    kind = known_measure(material.kinematics, "exported source")
    plane = ", plane strain" if material.dim == 2 else ""
    lines.append(f"Inputs: {MEASURES[kind]}; {material.dim}D{plane}. P = dW/dF, W per reference volume.")
    for title, content in (("Units", material.units), ("Provenance", material.provenance)):
        if content:
            lines.append(f"{title}: {_plain(content)}")
    return [*lines, f"Written by lse_material {lse_material.__version__}."]


def _plain(content: Any) -> str:
    """JSON in ASCII that can neither end a comment nor a docstring."""
    return json.dumps(dict(content)).replace("\\", "/").replace('"', "'").replace("'''", "").replace("*/", "* /")


def number(value: float) -> str:
    """The shortest text that reads back to the same double."""
    return repr(float(value))


def numbers(values: Any, *, width: int = 112, indent: str = "    ") -> list[str]:
    """The entries of an array, row-major, as comma-separated lines."""
    lines, line = [], indent
    for text in (number(v) for v in np.ravel(values)):
        if len(line) + len(text) + 2 > width and line.strip():
            lines.append(line.rstrip())
            line = indent
        line += f"{text}, "
    return [*lines, line.rstrip()] if line.strip() else lines


def nested(values: Any) -> str:
    """A vector or matrix as nested Python lists."""
    array = np.asarray(values)
    if array.ndim == 1:
        return "[" + ", ".join(number(v) for v in array) + "]"
    return "[" + ", ".join(nested(row) for row in array) + "]"


def python_modes(modes: Iterable[ConvexNetwork]) -> list[str]:
    """The weights as a Python literal: a list with one dictionary per mode."""
    lines = ["MODES = ["]
    for mode in modes:
        lines.append("    {")
        for key, arrays in (("x_weights", mode.x_weights), ("z_weights", mode.z_weights), ("biases", mode.biases)):
            lines.append(f"        {key!r}: [")
            lines += [f"            {nested(array)}," for array in arrays]
            lines.append("        ],")
        lines.append(f"        'quadratic': {'None' if mode.quadratic is None else nested(mode.quadratic)},")
        lines.append("    },")
    return [*lines, "]"]


def python_scales(potential: SoftMinimum) -> list[str]:
    """The scales as Python assignments."""
    return [
        f"RHO = {number(potential.scaled_rho)}  # transition scale, in scaled energy",
        f"INPUT_SHIFT = {nested(potential.input_shift)}",
        f"INPUT_SCALE = {nested(potential.input_scale)}",
        f"ENERGY_SCALE = {number(potential.energy_scale)}",
        f"ENERGY_SHIFT = {number(potential.energy_shift)}",
    ]
