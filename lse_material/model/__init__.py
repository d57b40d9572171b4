"""What the material is: convex networks, their soft minimum, strain measures, growth terms; needs numpy alone.

A strain measure of one's own is written with `tensor`, `determinant`, `inverse`, `mandel`, `sqrt`, `log` and `exp`, which take
scalars of any kind; see `StrainMeasure` and docs/own_script.md.
"""

from lse_material.model.activations import ACTIVATIONS, Activation
from lse_material.model.box import Box
from lse_material.model.caloric import Caloric
from lse_material.model.convex_network import ConvexNetwork
from lse_material.model.design_network import DesignNetwork
from lse_material.model.growth import Growth
from lse_material.model.hyperdual import exp, log, sqrt
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
from lse_material.model.periodic_network import PeriodicNetwork
from lse_material.model.soft_minimum import SoftMinimum
from lse_material.model.strain import (
    GreenLagrange,
    IsotropicInvariants,
    SmallStrain,
    StrainAndVolume,
    StrainMeasure,
    adjugate,
    determinant,
    from_mandel,
    inverse,
    mandel,
    right_cauchy_green,
    tensor,
)
from lse_material.model.symmetry import Symmetry

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "Box",
    "Caloric",
    "ConvexNetwork",
    "CubicInvariants",
    "DesignNetwork",
    "GreenLagrange",
    "Growth",
    "InterpolatedDesign",
    "InterpolatedNetwork",
    "IsotropicInvariants",
    "Material",
    "Mode",
    "NaturalStates",
    "OrthotropicInvariants",
    "PeriodicNetwork",
    "PrincipalInvariants",
    "SmallStrain",
    "SoftMinimum",
    "StrainAndVolume",
    "StrainMeasure",
    "Symmetry",
    "TransverseInvariants",
    "adjugate",
    "determinant",
    "exp",
    "from_mandel",
    "inverse",
    "log",
    "mandel",
    "right_cauchy_green",
    "sqrt",
    "tensor",
]
