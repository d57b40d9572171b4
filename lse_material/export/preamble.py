"""What every exported file says of itself, and numbers as text that read back to the same bits."""

import inspect
import json
import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np

import lse_material
from lse_material.model.material import Material, potential_of
from lse_material.model.soft_minimum import SoftMinimum
from lse_material.model.strain import expect_one_definition

_INDENT = "    "  # of lines of numbers


def description(material: Material | SoftMinimum, name: str) -> list[str]:
    """Lines for the head of a file: what it is, in which variables and units, where it came from."""
    potential = potential_of(material)
    lines = [
        f"{name}: W = -rho log sum_k exp(-psi_k/rho), {len(potential.modes)} convex modes of {potential.size} inputs,",
        f"transition scale {potential.transition_scale:.6g} in energy units.",
    ]
    if not isinstance(material, Material):
        return [*lines, f"Written by lse_material {lse_material.__version__}."]
    measure = material.kinematics
    expect_one_definition(measure, "exported source")
    said = (inspect.getdoc(measure) or "").split("\n")[0]
    plane = ", plane strain" if material.dim == 2 else ""
    lines.append(f"Inputs: {measure.name}: {_words(said)} {material.dim}D{plane}. P = dW/dF, W per reference volume.")
    for title, content in (("Units", material.units), ("Provenance", material.provenance)):
        if content:
            lines.append(f"{title}: {_words(json.dumps(dict(content)))}")
    return [*lines, f"Written by lse_material {lse_material.__version__}."]


def _words(text: str) -> str:
    """Text that can neither end a comment nor a docstring."""
    return text.replace("\\", "/").replace('"', "'").replace("'''", "").replace("*/", "* /").replace("/*", "/ *")


def filled(text: str, entries: Mapping[str, object]) -> str:
    """A text with its entries in the place of @NAME@."""
    for name, entry in entries.items():
        text = text.replace(f"@{name}@", str(entry))
    return text


def number(value: float) -> str:
    """The shortest text that reads back to the same double."""
    return repr(float(value))


def numbers(values: Any) -> list[str]:
    """The entries of an array, row-major, as comma-separated lines."""
    listed = "".join(f"{number(value)}, " for value in np.ravel(values))
    return textwrap.wrap(listed, 111, initial_indent=_INDENT, subsequent_indent=_INDENT, break_on_hyphens=False)
