"""Arguments of fits that are no numbers of their kind are refused by name, before anything is fitted."""

import numpy as np
import pytest

import lse_material as lse
from lse_material.fit import (
    Architecture,
    Inference,
    Sparsity,
    Temperature,
    Training,
    fit,
    fit_ensemble,
    fit_states,
    infer,
    leave_one_group_out,
    select,
)
from tests.materials import random_deformations, two_variants

F = random_deformations(np.random.default_rng(0), 20, 2, 0.1)
SAMPLES = lse.Samples(F=F, energy=two_variants().energy(F), group=np.arange(20) // 5)
NO_COUNTS = [
    float("nan"),
    float("inf"),
    -1,
    -1.5,
    1.5,
    2.0,
    True,
    np.bool_(True),
    np.float32(2.0),
    "2",
    [2],
    np.array(2),
    1j,
]


def named(value):
    """Names that are the same in all workers."""
    return "object" if type(value) is object else repr(value)


OF_F = {"kinematics": lse.GreenLagrange(2), "progress": False}
CALLS = {
    "fit": lambda **given: fit(SAMPLES, **{**OF_F, **given}),
    "infer": lambda **given: infer(**{"target": lambda x: -(x**2).sum(1), "lower": [-1.0], "upper": [1.0], **given}),
    "fit_ensemble": lambda **given: fit_ensemble(SAMPLES, **{**OF_F, **given}),
    "select": lambda **given: select(SAMPLES, {"one": {}}, **{**OF_F, **given}),
    "fit_states": lambda **given: fit_states(SAMPLES, **{"measure": lse.PrincipalInvariants(2), "states": 1, **given}),
    "split": lambda **given: SAMPLES.split(0.5, **given),
    "check_extrapolation": lambda **given: lse.analysis.check_extrapolation(
        two_variants(), (-np.ones(3), np.ones(3)), **given
    ),
}


@pytest.mark.parametrize("value", NO_COUNTS, ids=repr)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_a_seed_is_a_whole_number(call, value):
    with pytest.raises(lse.InvalidInputError, match=r"^seed is .* it must be a whole number >= 0"):
        call(seed=value)


@pytest.mark.parametrize("value", [*NO_COUNTS, 1], ids=repr)
@pytest.mark.parametrize(("name", "calls"), [("members", ["fit_ensemble", "select"]), ("folds", ["select"])])
def test_a_count_is_a_whole_number(name, calls, value):
    for call in calls:
        with pytest.raises(lse.InvalidInputError, match=f"^{name} is .* it must be a whole number >= 2"):
            CALLS[call](**{name: value})


@pytest.mark.parametrize("value", [float("nan"), 1.5, True, "abc", b"a", [1], np.array([1, 2]), object()], ids=named)
@pytest.mark.parametrize(
    "name", ["kinematics", "symmetry", "parameters", "growth", "architecture", "training", "sparsity"]
)
def test_what_is_of_another_kind_is_named(name, value):
    with pytest.raises(lse.InvalidInputError, match=f"{name} is "):
        CALLS["fit"](**{name: value})


@pytest.mark.parametrize(("call", "name"), [("fit", "checkpoint"), ("infer", "target"), ("fit_states", "measure")])
def test_a_number_is_no_file_no_function_and_no_strain_measure(call, name):
    with pytest.raises(lse.InvalidInputError, match=f"{name} is 3"):
        CALLS[call](**{name: 3})


@pytest.mark.parametrize("value", [float("nan"), -1, True, "x", [1], np.array([1, 2]), None, 1j], ids=repr)
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (Architecture, "modes"),
        (Architecture, "stiffness"),
        (Training, "batch"),
        (Training, "energy_weight"),
        (Sparsity, "tolerance"),
        (Inference, "attempts"),
    ],
)
def test_options_are_numbers_of_their_kind(kind, name, value):
    with pytest.raises(lse.InvalidInputError, match=rf"{kind.__name__}\.{name}.* is "):
        kind(**{name: value})


@pytest.mark.parametrize("value", [float("nan"), True, "x", [1], np.array([1, 2]), 1j, object()], ids=named)
@pytest.mark.parametrize("name", ["lower", "upper", "heat_capacity", "reference"])
def test_the_range_of_a_temperature_is_of_numbers(name, value):
    with pytest.raises(lse.InvalidInputError, match=rf"Temperature\.{name} is "):
        Temperature(**{name: value})


def test_numbers_of_numpy_are_numbers_of_python():
    """So that a checkpoint's name and other processes see the same options."""
    training = Training(restarts=np.int64(3), learning_rate=np.float32(0.5), robust=np.bool_(True))
    assert repr(training) == repr(Training(restarts=3, learning_rate=0.5, robust=True))
    assert repr(Architecture(modes=np.int32(2))) == repr(Architecture(modes=2))


@pytest.mark.parametrize(
    "options", [{"modes": 2**70}, {"width": 10**6, "depth": 2}, {"depth": 10**7}, {"modes": "auto", "max_modes": 10**9}]
)
def test_more_weights_than_memory_are_refused_at_once(options):
    with pytest.raises(lse.InvalidInputError, match=r"modes of .* neurons, .* at most"):
        Architecture(**options)
    assert Architecture(modes=20, width=512, depth=2).width == 512


@pytest.mark.parametrize(("kind", "name"), [(Training, "restarts"), (Inference, "particles")])
def test_more_starts_or_particles_than_memory_are_refused_at_once(kind, name):
    with pytest.raises(lse.InvalidInputError, match=rf"{kind.__name__}\.{name} is .*< 1"):
        kind(**{name: 2**60})


@pytest.mark.parametrize("function", [fit, fit_ensemble, leave_one_group_out, select])
def test_samples_and_candidates_are_of_their_kind(function):
    for value in (None, F):
        with pytest.raises(lse.InvalidInputError, match=r"samples must be Samples or Observations, not a \w+"):
            function(value, **OF_F)
    for candidates in (["one"], {"one": "two"}):
        with pytest.raises(lse.InvalidInputError, match="candidates is "):
            select(SAMPLES, candidates, **OF_F)


@pytest.mark.parametrize("seed", [np.uint8(255), np.int32(3), np.uint64(7)], ids=repr)
@pytest.mark.filterwarnings("ignore::lse_material.fit.DataWarning")
def test_a_seed_of_numpy_goes_into_a_file(seed, tmp_path):
    short = Training(restarts=1, adam_steps=2, lbfgs_steps=1)
    ensemble = fit_ensemble(SAMPLES, members=2, seed=seed, training=short, **OF_F)
    assert {r.material.provenance["seed"] for r in ensemble.results} == {int(seed), int(seed) + 1}
    lse.save(ensemble.material, tmp_path / "m.safetensors")


@pytest.mark.filterwarnings("ignore::lse_material.fit.DataWarning")
def test_a_folder_is_no_checkpoint(tmp_path):
    with pytest.raises(lse.InvalidInputError, match="is a folder: give the name of a file"):
        fit(SAMPLES, checkpoint=tmp_path, **OF_F)
