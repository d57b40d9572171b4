"""The public names of the numpy floor: a change of this list is a change for users."""

import importlib
import inspect
import re
from pathlib import Path

import pytest

import lse_material as lse

PUBLIC = [
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
FLOORS = {
    "fit": ["Architecture", "DataWarning", "Errors", "FitResult", "Sparsity", "TorchPotential", "Training", "fit"],
    "fem": [
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
    ],
    "export": ["LANGUAGES", "export", "source"],
    "kernel": [
        "Architecture",
        "CompiledEvaluator",
        "CompiledPotential",
        "InterpretedPotential",
        "build",
        "cache_directory",
        "compilations",
        "evaluator",
        "kernel_source",
        "load",
        "point_function",
        "point_header",
        "potential_evaluator",
    ],
    "landscape": [
        "Landscape",
        "Pass",
        "Path",
        "StationaryPoint",
        "barrier",
        "basins",
        "descend",
        "descents",
        "kramers_rate",
        "landscape",
        "minimum_energy_path",
        "plot",
        "saddles",
        "stationary_point",
        "wells",
    ],
}
VERIFY = [
    "Check",
    "check_convexity",
    "check_derivatives",
    "check_objectivity",
    "check_reference",
    "check_symmetry_of_tangent",
    "random_rotations",
    "sample_deformations",
    "verify",
]


def test_the_public_names_are_these():
    assert lse.__all__ == PUBLIC
    defined = [
        name
        for name, value in vars(lse.verify).items()
        if not name.startswith("_") and inspect.getmodule(value) is lse.verify
    ]
    assert sorted(defined) == VERIFY


@pytest.mark.parametrize("floor", FLOORS)
def test_the_public_names_of_the_floors_are_these_and_documented(floor):
    module = importlib.import_module(f"lse_material.{floor}")
    assert sorted(module.__all__) == FLOORS[floor]
    for name in FLOORS[floor]:
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
            member.fget if isinstance(member, property) else member
            for key, member in vars(value).items()
            if not key.startswith("_") and (inspect.isroutine(member) or isinstance(member, property))
        ]
    elif inspect.ismodule(value):
        members = [getattr(value, key) for key in VERIFY]
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
