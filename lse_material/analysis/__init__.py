"""What a material does: wells and barriers, checks of the formula and of its use, densities; needs numpy alone."""

from lse_material.analysis.density import Density, importance
from lse_material.analysis.descent import Pass, basins, descend, descents
from lse_material.analysis.ellipticity import AcousticMinimum, acoustic_minimum
from lse_material.analysis.landscape import (
    Landscape,
    at_middle_of_fields,
    at_values,
    field_to_vary,
    landscape,
    search_box,
)
from lse_material.analysis.langevin import Dynamics, first_passage_times, kramers_rate, stationary_samples, trajectories
from lse_material.analysis.merged_wells import MergedModes, merged_modes
from lse_material.analysis.minimum_energy_path import MinimumEnergyPath, barrier, minimum_energy_path
from lse_material.analysis.stationary import StationaryPoint, saddles, stationary_point, wells
from lse_material.analysis.stress_curves import DEFORMATIONS, Deformation, StressCurve, stress_curve
from lse_material.analysis.transformation_price import TransformationPrice, transformation_price
from lse_material.analysis.validation import check_data, check_ellipticity, check_extrapolation, check_symmetry
from lse_material.analysis.verification import (
    Check,
    check_concavity,
    check_convexity,
    check_derivatives,
    check_objectivity,
    check_polyconvexity,
    check_reference,
    check_symmetry_of_tangent,
    random_rotations,
    sample_deformations,
    verify,
)

__all__ = [
    "DEFORMATIONS",
    "AcousticMinimum",
    "Check",
    "Deformation",
    "Density",
    "Dynamics",
    "Landscape",
    "MergedModes",
    "MinimumEnergyPath",
    "Pass",
    "StationaryPoint",
    "StressCurve",
    "TransformationPrice",
    "acoustic_minimum",
    "at_middle_of_fields",
    "at_values",
    "barrier",
    "basins",
    "check_concavity",
    "check_convexity",
    "check_data",
    "check_derivatives",
    "check_ellipticity",
    "check_extrapolation",
    "check_objectivity",
    "check_polyconvexity",
    "check_reference",
    "check_symmetry",
    "check_symmetry_of_tangent",
    "descend",
    "descents",
    "field_to_vary",
    "first_passage_times",
    "importance",
    "kramers_rate",
    "landscape",
    "merged_modes",
    "minimum_energy_path",
    "random_rotations",
    "saddles",
    "sample_deformations",
    "search_box",
    "stationary_point",
    "stationary_samples",
    "stress_curve",
    "trajectories",
    "transformation_price",
    "verify",
    "wells",
]
