"""Multi-well strain energies (LSE-ICNN) as hyperelastic materials in FEniCSx.

This level needs numpy and safetensors alone. `lse_material.fit` needs torch, `lse_material.fem` DOLFINx,
`lse_material.kernel` a C compiler, `lse_material.plotting` and `lse_material.report` matplotlib; they are imported when first
named, as are `analysis` and `export`.

Examples in docstrings take these lines as read; this cell has two wells, at E = diag(0.05, -0.05) and diag(-0.05, 0.05):

    >>> import numpy as np
    >>> import lse_material as lse
    >>> material = lse.load("cell.safetensors")
"""

import importlib
from typing import Any

from lse_material.data.observation_files import read_observations
from lse_material.data.observations import Observations
from lse_material.data.sample_files import read_samples, write_samples
from lse_material.data.samples import Samples
from lse_material.errors import ConvergenceError, FormatError, InvalidInputError, LseError
from lse_material.material_file import load, load_potential, save
from lse_material.model.box import Box
from lse_material.model.caloric import Caloric
from lse_material.model.convex_network import ConvexNetwork
from lse_material.model.design_network import DesignNetwork
from lse_material.model.growth import Growth
from lse_material.model.interpolated_design import InterpolatedDesign
from lse_material.model.interpolated_network import InterpolatedNetwork
from lse_material.model.invariants import (
    CubicInvariants,
    OrthotropicInvariants,
    PrincipalInvariants,
    TransverseInvariants,
)
from lse_material.model.material import Material
from lse_material.model.mode import Mode
from lse_material.model.natural_states import NaturalStates
from lse_material.model.soft_minimum import SoftMinimum
from lse_material.model.strain import GreenLagrange, IsotropicInvariants, SmallStrain, StrainAndVolume, StrainMeasure
from lse_material.model.symmetry import Symmetry

__version__ = "0.2.0"

__all__ = [
    "Box",
    "Caloric",
    "ConvergenceError",
    "ConvexNetwork",
    "CubicInvariants",
    "DesignNetwork",
    "FormatError",
    "GreenLagrange",
    "Growth",
    "InterpolatedDesign",
    "InterpolatedNetwork",
    "InvalidInputError",
    "IsotropicInvariants",
    "LseError",
    "Material",
    "Mode",
    "NaturalStates",
    "Observations",
    "OrthotropicInvariants",
    "PrincipalInvariants",
    "Samples",
    "SmallStrain",
    "SoftMinimum",
    "StrainAndVolume",
    "StrainMeasure",
    "Symmetry",
    "TransverseInvariants",
    "load",
    "load_potential",
    "read_observations",
    "read_samples",
    "save",
    "write_samples",
]

_WHEN_NAMED = ("analysis", "export", "fem", "fit", "kernel", "plotting", "report")


def __getattr__(name: str) -> Any:
    """Packages that need more than numpy, or that most programs do not use, are imported when first named."""
    if name in _WHEN_NAMED:
        return importlib.import_module(f"lse_material.{name}")
    raise AttributeError(f"module 'lse_material' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHEN_NAMED})
