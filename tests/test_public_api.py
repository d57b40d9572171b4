"""The public names: a change of these lists is a change for users."""

import importlib
import re
from pathlib import Path

import pytest

import lse_material as lse

PUBLIC = [
    "Box",
    "Caloric",
    "ConvergenceError",
    "ConvexNetwork",
    "DesignNetwork",
    "FormatError",
    "GreenLagrange",
    "Growth",
    "InterpolatedNetwork",
    "InvalidInputError",
    "IsotropicInvariants",
    "LseError",
    "Material",
    "Mode",
    "Observations",
    "Samples",
    "SmallStrain",
    "SoftMinimum",
    "StrainAndVolume",
    "StrainMeasure",
    "Symmetry",
    "load",
    "load_potential",
    "read_observations",
    "read_samples",
    "save",
    "write_samples",
]
PACKAGES = {
    "analysis": [
        "AcousticMinimum",
        "Check",
        "DEFORMATIONS",
        "Deformation",
        "Density",
        "Dynamics",
        "Landscape",
        "MergedModes",
        "MinimumEnergyPath",
        "Pass",
        "StationaryPoint",
        "StressCurve",
        "acoustic_minimum",
        "at_middle_of_fields",
        "at_temperatures",
        "barrier",
        "basins",
        "check_concavity",
        "check_convexity",
        "check_data",
        "check_derivatives",
        "check_ellipticity",
        "check_extrapolation",
        "check_objectivity",
        "check_reference",
        "check_symmetry",
        "check_symmetry_of_tangent",
        "descend",
        "descents",
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
        "verify",
        "wells",
    ],
    "export": [
        "LANGUAGES",
        "export",
        "source",
    ],
    "fem": [
        "ArcLength",
        "CahnHilliard",
        "CellPath",
        "CellSamples",
        "CellState",
        "Cells",
        "Dissipation",
        "Dynamics",
        "EnergyProblem",
        "Evolution",
        "ExplicitMotion",
        "ExtrapolationMonitor",
        "ExtrapolationWarning",
        "FullField",
        "History",
        "LimitPoint",
        "LoadPath",
        "MULTIGRID",
        "MaterialFields",
        "MaterialProblem",
        "MeshWarning",
        "Motion",
        "PeriodicCell",
        "PeriodicMap",
        "PlaneStress",
        "PlaneValues",
        "QuadratureStress",
        "Rejected",
        "Support",
        "axisymmetric_gradient",
        "check_resolution",
        "circumference",
        "conjugates",
        "discrete_gradient",
        "draw_cells",
        "energy",
        "entropy",
        "f_bar_energy",
        "frozen_tangent",
        "gather_cells",
        "heat_taken_up",
        "interior_penalty",
        "internal_energy",
        "jit_options",
        "lagged",
        "load_state",
        "micromorphic",
        "mode_energies",
        "mode_weights",
        "on_rank_0",
        "plane_gradient",
        "potential_energy",
        "pressure_stabilisation",
        "sample",
        "save_state",
        "share_not_elliptic",
        "smoothed",
        "stability",
        "stress",
        "three_field_energy",
        "two_field_energy",
        "viscous",
        "volume_constraint",
        "with_quadrature_degree",
        "with_volume",
    ],
    "fit": [
        "Architecture",
        "DataWarning",
        "Design",
        "Ensemble",
        "Errors",
        "FitResult",
        "FitWarning",
        "Inference",
        "Inferred",
        "LeftOut",
        "MODES",
        "Sparsity",
        "Temperature",
        "TrainablePotential",
        "Training",
        "fit",
        "fit_ensemble",
        "infer",
        "leave_one_group_out",
    ],
    "kernel": [
        "CompiledEvaluator",
        "CompiledPotential",
        "InterpretedPotential",
        "KernelShape",
        "build",
        "cache_directory",
        "evaluator",
        "kernel_source",
        "load",
        "point_function",
        "point_header",
        "potential_evaluator",
    ],
    "model": [
        "ACTIVATIONS",
        "Activation",
        "Box",
        "Caloric",
        "ConvexNetwork",
        "DesignNetwork",
        "GreenLagrange",
        "Growth",
        "InterpolatedNetwork",
        "IsotropicInvariants",
        "Material",
        "Mode",
        "PeriodicNetwork",
        "SmallStrain",
        "SoftMinimum",
        "StrainAndVolume",
        "StrainMeasure",
        "Symmetry",
        "determinant",
        "exp",
        "from_mandel",
        "inverse",
        "log",
        "mandel",
        "right_cauchy_green",
        "sqrt",
        "tensor",
    ],
    "plotting": ["discovery_path", "input_labels", "landscape", "picture", "planes", "stress_curve"],
    "report": ["write_report"],
}


def test_the_public_names_are_these():
    assert sorted(lse.__all__) == PUBLIC


@pytest.mark.parametrize("package", PACKAGES)
def test_the_public_names_of_the_packages_are_these(package):
    module = importlib.import_module(f"lse_material.{package}")
    assert sorted(module.__all__) == PACKAGES[package]
    assert all(hasattr(module, name) for name in module.__all__)


@pytest.mark.parametrize("error", [lse.InvalidInputError, lse.FormatError, lse.ConvergenceError])
def test_every_error_of_the_package_can_be_caught_as_one(error):
    assert issubclass(error, lse.LseError)


def test_a_convergence_error_tells_the_solvers_reason():
    error = lse.ConvergenceError("stopped", reason=-5, iterations=7)
    assert (str(error), error.reason, error.iterations) == ("stopped", -5, 7)


def test_the_version_is_that_of_the_package():
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text()  # tomllib is not in Python 3.10
    assert re.findall(r'^version = "(.*)"$', text, flags=re.MULTILINE) == [lse.__version__]


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'lse_material' has no attribute 'fitt'"):
        _ = lse.fitt
