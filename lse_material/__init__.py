"""Multi-well strain energies (LSE-ICNN) as hyperelastic materials in FEniCSx.

The floors: this level needs numpy and safetensors only, `lse_material.fit` needs torch, `lse_material.fem` DOLFINx.
"""

from __future__ import annotations

import importlib
from typing import Any

from lse_material import verify
from lse_material.errors import ConvergenceError, FormatError, InvalidInputError, LseError
from lse_material.growth import Growth
from lse_material.kinematics import GreenLagrange, IsotropicInvariants, Kinematics, SmallStrain
from lse_material.material import Material, TrainingBox
from lse_material.network import ConvexNetwork
from lse_material.potential import SoftMinimum
from lse_material.reading import read_samples, write_samples
from lse_material.samples import Samples
from lse_material.storage import load, load_potential, save

__version__ = "0.1.0.dev0"

__all__ = [
    "ConvergenceError",
    "ConvexNetwork",
    "FormatError",
    "GreenLagrange",
    "Growth",
    "InvalidInputError",
    "IsotropicInvariants",
    "Kinematics",
    "LseError",
    "Material",
    "Samples",
    "SmallStrain",
    "SoftMinimum",
    "TrainingBox",
    "load",
    "load_potential",
    "read_samples",
    "save",
    "verify",
    "write_samples",
]

_FLOORS = ("fem", "fit")


def __getattr__(name: str) -> Any:
    """`lse_material.fem` and `lse_material.fit` are imported when first named: they need DOLFINx and torch."""
    if name in _FLOORS:
        return importlib.import_module(f"lse_material.{name}")
    raise AttributeError(f"module 'lse_material' has no attribute {name!r}")
