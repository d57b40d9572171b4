"""The DOLFINx floor: materials in UFL forms and at quadrature points, and the problems they make."""

from __future__ import annotations

from lse_material.fem import compat as _compat  # isort: skip  (refuses a DOLFINx that is too old before anything else)
from lse_material.fem.checkpoint import load_state, save_state
from lse_material.fem.energy_problem import EnergyProblem
from lse_material.fem.operator import jit_options
from lse_material.fem.problem import MaterialProblem
from lse_material.fem.quadrature import QuadratureStress
from lse_material.fem.symbolic import conjugates, energy, mode_weights, potential_energy, stress

__all__ = [
    "EnergyProblem",
    "MaterialProblem",
    "QuadratureStress",
    "conjugates",
    "energy",
    "jit_options",
    "load_state",
    "mode_weights",
    "potential_energy",
    "save_state",
    "stress",
]

del _compat
