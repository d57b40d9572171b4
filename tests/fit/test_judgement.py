"""A fit says of itself whether it is good: misfits have a pattern and noise has none, and a useless fit is called so."""

import numpy as np
import pytest

import lse_material as lse
from lse_material.cli import run
from lse_material.cli.codes import OK, USELESS
from lse_material.fit import Architecture, Training, fit
from tests.materials import random_deformations

pytestmark = pytest.mark.filterwarnings("ignore::lse_material.fit.DataWarning")
GREEN = lse.GreenLagrange(2)
ONE = {
    "kinematics": GREEN,
    "architecture": Architecture(modes=1, width=2),
    "training": Training(restarts=2, adam_steps=100, lbfgs_steps=100),
    "progress": False,
}
STIFFNESS = np.array([[3.0, 1.0, 0.0], [1.0, 3.0, 0.0], [0.0, 0.0, 2.0]])  # in Mandel components


def saint_venant(n=150, shear=1.0):
    """F, W and P of a quadratic energy; the shear stress times `shear`."""
    F = random_deformations(np.random.default_rng(0), n, 2)
    x = GREEN.strain(F)
    s = x @ STIFFNESS
    energy = 0.5 * (x * s).sum(axis=1)
    s = s * [1.0, 1.0, shear]
    return F, energy, np.einsum("nd,ndij->nij", s, GREEN.derivative(F))


def judged(F, energy, stress, **options):
    return fit(lse.Samples(F=F, energy=energy, stress=stress), **(ONE | options))


def of_pattern(result):
    return [text for text in result.warnings() if "at near rows alike" in text]


def test_a_right_fit_and_noise_have_no_pattern():
    F, energy, stress = saint_venant()
    right, rng = judged(F, energy, stress), np.random.default_rng(1)
    assert right.warnings() == []
    assert not right.useless
    noisy = judged(
        F,
        energy + 0.3 * energy.std() * rng.normal(size=energy.shape),
        stress + 0.3 * stress.std() * rng.normal(size=stress.shape),
    )
    assert noisy.train_errors.worst > 0.2
    assert of_pattern(noisy) == []
    assert not noisy.useless


def test_engineering_shear_taken_for_the_tensor_component_is_a_misfit():
    result = judged(*saint_venant(shear=2.0))
    assert 0.1 < result.train_errors.stress < 0.5
    assert any("of the stress" in text for text in of_pattern(result))
    assert not result.useless


def test_stresses_of_the_wrong_sign_make_a_fit_that_calls_itself_useless_also_on_the_command_line(tmp_path, capsys):
    F, energy, stress = saint_venant()
    result = judged(F, energy, -stress)
    assert result.useless
    assert of_pattern(result)
    assert "useless" in result.summary()
    lse.write_samples(lse.Samples(F=F, energy=energy, stress=-stress), tmp_path / "rows.npz")
    out = tmp_path / "m.safetensors"
    short = ["--modes", "1", "--width", "2", "--training-restarts", "1", "--training-adam-steps", "100"]
    command = ["fit", str(tmp_path / "rows.npz"), "-o", str(out), *short]
    assert run(command) == USELESS
    assert "useless" in capsys.readouterr().out
    assert lse.load(out).modes == 1
    assert run([*command, "--even-if-useless"]) == OK


def test_energies_that_have_no_weight_do_not_judge():
    F, energy, stress = saint_venant()
    result = judged(F, 1000.0 * energy, stress, training=Training(1, 100, lbfgs_steps=100, energy_weight=0.0))
    assert result.train_errors.energy > 0.9
    assert not result.useless
    assert of_pattern(result) == []


def test_noise_alone_is_useless_without_a_pattern():
    F, rng = saint_venant()[0], np.random.default_rng(2)
    result = judged(F, rng.normal(size=len(F)), rng.normal(size=F.shape))
    assert result.useless
    assert of_pattern(result) == []


def test_a_start_that_is_better_than_all_others_by_chance_is_said():
    F, energy, stress = saint_venant()
    rough = judged(F, energy, stress, training=Training(2, 30, lbfgs_steps=0))
    ends = [record for record in rough.history if record.step == 30]
    assert len(ends) == 2
    low, high = sorted(np.sqrt(record.validation) for record in ends)
    said = [text for text in rough.warnings() if "by chance" in text]
    assert (len(said) == 1) == (high >= 2.0 * low and rough.validation_errors.worst > 0.02)


def rubber(factor):
    """Two uniaxial tests of a neo-Hookean body, the stresses of the second times a factor, one for each stretch."""
    l = np.linspace(1.05, 2.5, 14)
    data = lse.Observations.joined(
        [lse.Observations.uniaxial(l, by * (l - l**-2)) for by in (np.ones_like(l), factor(l))]
    )
    options = {**ONE, "kinematics": lse.IsotropicInvariants(3), "architecture": Architecture(modes=1, depth=0)}
    return fit(data, **options)


def test_a_cauchy_stress_taken_for_a_nominal_one_is_a_misfit_of_observations_and_noise_is_none():
    wrong = rubber(lambda l: l)
    assert wrong.train_errors.stress > 0.15
    assert any("of the stress" in text for text in of_pattern(wrong))
    noisy = rubber(lambda l: 1.0 + 0.5 * np.random.default_rng(0).normal(size=l.shape))
    assert noisy.train_errors.stress > 0.15
    assert of_pattern(noisy) == []
    assert of_pattern(rubber(np.ones_like)) == []


def test_errors_are_those_of_samples():
    result = judged(*saint_venant(20), training=Training(restarts=1, adam_steps=1, lbfgs_steps=1))
    for given in (None, np.eye(2)):
        with pytest.raises(lse.InvalidInputError, match="samples must be Samples or Observations"):
            result.error(given)
