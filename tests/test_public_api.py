"""The public names: a change of these lists is a change for users."""

import importlib
import inspect
import re
from functools import cached_property
from pathlib import Path

import pytest

import lse_material as lse

PUBLIC = [
    "Box",
    "ConvergenceError",
    "ConvexNetwork",
    "FormatError",
    "GreenLagrange",
    "Growth",
    "InvalidInputError",
    "IsotropicInvariants",
    "LseError",
    "Material",
    "Mode",
    "Samples",
    "SmallStrain",
    "SoftMinimum",
    "StrainMeasure",
    "Symmetry",
    "load",
    "load_potential",
    "read_samples",
    "save",
    "write_samples",
]
PACKAGES = {
    "analysis": [
        "AcousticMinimum",
        "Check",
        "Density",
        "Dynamics",
        "Landscape",
        "MergedModes",
        "MinimumEnergyPath",
        "Pass",
        "StationaryPoint",
        "acoustic_minimum",
        "barrier",
        "basins",
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
        "plot",
        "random_rotations",
        "saddles",
        "sample_deformations",
        "stationary_point",
        "stationary_samples",
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
        "EnergyProblem",
        "Evolution",
        "ExtrapolationMonitor",
        "ExtrapolationWarning",
        "History",
        "LimitPoint",
        "LoadPath",
        "MULTIGRID",
        "MaterialFields",
        "MaterialProblem",
        "MeshWarning",
        "PeriodicCell",
        "PeriodicMap",
        "QuadratureStress",
        "Rejected",
        "check_resolution",
        "conjugates",
        "draw_cells",
        "energy",
        "frozen_tangent",
        "gather_cells",
        "interior_penalty",
        "jit_options",
        "lagged",
        "load_state",
        "micromorphic",
        "mode_energies",
        "mode_weights",
        "on_rank_0",
        "potential_energy",
        "sample",
        "save_state",
        "share_not_elliptic",
        "stability",
        "stress",
        "viscous",
        "with_quadrature_degree",
    ],
    "fit": [
        "Architecture",
        "DataWarning",
        "Errors",
        "FitResult",
        "Inference",
        "Inferred",
        "MODES",
        "Sparsity",
        "TrainablePotential",
        "Training",
        "fit",
        "infer",
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
        "ConvexNetwork",
        "GreenLagrange",
        "Growth",
        "IsotropicInvariants",
        "Material",
        "Mode",
        "SmallStrain",
        "SoftMinimum",
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
}


def test_the_public_names_are_these():
    assert sorted(lse.__all__) == PUBLIC


@pytest.mark.parametrize("package", PACKAGES)
def test_the_public_names_of_the_packages_are_these_and_documented(package):
    module = importlib.import_module(f"lse_material.{package}")
    assert sorted(module.__all__) == PACKAGES[package]
    for name in PACKAGES[package]:
        value = getattr(module, name)
        if inspect.isclass(value) or inspect.isroutine(value):
            assert inspect.getdoc(value).strip(), name


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_and_its_public_members_are_documented(name):
    value = getattr(lse, name)
    assert inspect.getdoc(value).strip()
    members = [value]
    if inspect.isclass(value):
        members = [
            getattr(member, "fget", None) or getattr(member, "func", member)
            for key, member in vars(value).items()
            if not key.startswith("_") and (inspect.isroutine(member) or isinstance(member, property | cached_property))
        ]
    owner = value if inspect.isclass(value) else None
    for member in members:
        text = inspect.getdoc(getattr(owner, member.__name__)) if owner else inspect.getdoc(member)
        assert text, member
        assert text.strip(), member


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
