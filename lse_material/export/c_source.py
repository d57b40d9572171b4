"""A material as one C99 file that needs <math.h> alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from lse_material.export.c_text import (
    ACTIVATIONS,
    COMPONENTS,
    GEOMETRIC,
    GROWTH,
    INVARIANTS,
    MATERIAL,
    POTENTIAL,
    STRAIN,
    VOLUME,
)
from lse_material.export.preamble import activation_of, description, number, numbers, potential_of
from lse_material.model.activations import translation
from lse_material.model.convex_network import ConvexNetwork
from lse_material.model.material import Material
from lse_material.model.soft_minimum import SoftMinimum
from lse_material.model.strain import MANDEL, IsotropicInvariants


def c_source(material: Material | SoftMinimum, name: str) -> str:
    """C99 text with `NAME(F, W, P, A, w)` and `NAME_potential(x, W, g, H, w)`; compile with any compiler, link with -lm."""
    p = potential_of(material)
    lines = description(material, name)
    text = (
        "/* " + "\n   ".join(lines) + f"\n   {_declarations(material)}\n   Compile: cc -std=c99 -O2 -c FILE (-lm). */\n"
    )
    text += "#include <math.h>\n#include <stddef.h>\n" + POTENTIAL
    replacements: dict[str, object] = {
        "DATA": "\n".join(_data(p)),
        "ACTIVATION": translation(ACTIVATIONS, activation_of(p), "exported C"),
        "LAYERS": max(2, *(len(mode.biases) for mode in p.modes)),  # 2: GCC 16 warns of a bound that it cannot see
        "WIDTH": max(len(bias) for mode in p.modes for bias in mode.biases),
        "D": p.size,
        "K": len(p.modes),
        "RHO": number(p.scaled_rho),
        "ENERGY_SCALE": number(p.energy_scale),
        "ENERGY_SHIFT": f"({number(p.energy_shift)})",
    }
    if isinstance(material, Material):
        text += _strain(material)
        replacements["DIM"] = material.dim
    for key, value in replacements.items():
        text = text.replace(f"@{key}@", str(value))
    return text.replace("NAME", name)


def _declarations(material: Material | SoftMinimum) -> str:
    if isinstance(material, Material):
        return "void NAME(const double *F, double *W, double *P, double *A, double *w);"
    return "void NAME_potential(const double *x, double *W, double *g, double *H, double *w);"


def _strain(material: Material) -> str:
    kinematics = material.kinematics
    text = VOLUME if isinstance(kinematics, IsotropicInvariants) or material.growth is not None else ""
    if isinstance(kinematics, IsotropicInvariants):
        squared = kinematics.squared_volume
        volume = ("(J - 1.0) * (J - 1.0)", "2.0 * (J - 1.0)", "2.0") if squared else ("J - 1.0", "1.0", "0.0")
        invariants = INVARIANTS
        for key, value in zip(("V", "V1", "V2"), volume):
            invariants = invariants.replace(f"@{key}@", value)
        text += invariants
        first, more = "NAME_strain(F, x, dx, NULL, NULL);", ["NAME_strain(F, x, dx, g, A);"]
    else:
        x, dx, d2x = COMPONENTS[type(kinematics).__name__]
        pairs = ", ".join(f"{{{a}, {b}}}" for a, b in MANDEL[kinematics.dim])
        text += STRAIN.replace("@X@", x).replace("@DX@", dx).replace("@PAIRS@", pairs)
        text += GEOMETRIC.replace("@D2X@", d2x) if d2x else ""
        first, more = "NAME_strain(F, x, dx);", ["NAME_geometric(g, A);"] if d2x else []
    if material.growth is not None:
        text += GROWTH.replace("@GROWTH@", number(material.growth.coefficient))
        more.append("NAME_growth(F, W, P, A);")
    return text + MATERIAL.replace("@STRAIN@", first).replace("@MORE@", "\n  ".join(more))


def _data(potential: SoftMinimum) -> list[str]:
    lines = []
    for k, mode in enumerate(potential.modes):
        lines.append(f"static const int NAME_{k}_widths[] = {{{', '.join(str(len(b)) for b in mode.biases)}}};")
        for field, arrays in _arrays(mode):
            values = np.concatenate([np.ravel(array) for array in arrays]) if arrays else np.zeros(1)
            lines += [f"static const double NAME_{k}_{field}[] = {{", *numbers(values), "};"]
    for key, vector in (("shift", potential.input_shift), ("scale", potential.input_scale)):
        lines += [f"static const double NAME_{key}[] = {{", *numbers(vector), "};"]
    lines.append(f"static const NAME_mode_data NAME_modes[{len(potential.modes)}] = {{")
    for k, mode in enumerate(potential.modes):
        rows = 0 if mode.quadratic is None else len(mode.quadratic)
        fields = ", ".join(f"NAME_{k}_{field}" for field in ("widths", "x", "z", "bias", "quadratic"))
        lines.append(f"  {{{len(mode.z_weights)}, {rows}, {fields}}},")
    return [*lines, "};"]


def _arrays(mode: ConvexNetwork) -> Iterable[tuple[str, list[Any]]]:
    yield "x", list(mode.x_weights)
    yield "z", list(mode.z_weights)
    yield "bias", list(mode.biases)
    yield "quadratic", [] if mode.quadratic is None or mode.quadratic.size == 0 else [mode.quadratic]
