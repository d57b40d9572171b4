"""Modes about natural states: psi_k(F U_k^-1), through file, forms, exports and fits."""

import runpy

import numpy as np
import pytest

import lse_material as lse
from lse_material.analysis import verify
from lse_material.export import export
from lse_material.fit import Architecture, Training, fit
from tests.exported import expected
from tests.materials import random_deformations, relative_error
from tests.translations import assert_agreement, by_compiled_c, by_external_operator, by_ufl_stress

VARIANTS = np.array([np.diag([1.15, 0.9]), np.diag([0.9, 1.15])])
STATES = lse.NaturalStates(2, lse.PrincipalInvariants(2), VARIANTS)


def martensite(rho=0.02):
    """Two variants, each a neo-Hookean solid about its own stretch: shear modulus 2, 4 (J - 1)^2 / 2 beside it."""
    neo_hookean = lse.ConvexNetwork.from_arrays([], [[[1.0, 0.0]]], [[0.0]], quadratic=[[0.0, 2.0]])
    modes = tuple(neo_hookean.reading(STATES.block(k), STATES.size) for k in range(2))
    return lse.Material(lse.SoftMinimum(modes, rho), STATES)


def test_each_mode_is_at_rest_in_its_own_state_and_polyconvex():
    material = martensite()
    for k, U in enumerate(VARIANTS):
        alone = lse.Material(material.potential.alone(k), STATES)
        assert alone.energy(U) == pytest.approx(0.0, abs=1e-14)
        np.testing.assert_allclose(alone.stress(U), 0.0, atol=1e-14)
        assert material.mode_weights(U)[k] > 0.95
    assert material.polyconvex_modes == (0, 1)


def test_the_energy_is_that_of_the_formula():
    F, rho = random_deformations(np.random.default_rng(0), 20, 2, 0.2), 0.02
    psi = []
    for U in VARIANTS:
        H = F @ np.linalg.inv(U)
        J = np.linalg.det(H)
        psi.append((H**2).sum(axis=(1, 2)) - 2.0 * J + 2.0 * (J - 1.0) ** 2)
    W = -rho * np.log(np.exp(-np.array(psi) / rho).sum(axis=0))
    np.testing.assert_allclose(martensite(rho).energy(F), W, atol=1e-13)


def test_it_is_checked_saved_loaded_and_translated(tmp_path):
    material = martensite()
    assert all(check.passed for check in verify(material))
    lse.save(material, tmp_path / "martensite.safetensors")
    again = lse.load(tmp_path / "martensite.safetensors")
    assert again.kinematics == STATES
    F = random_deformations(np.random.default_rng(1), 6, 2, 0.2)
    np.testing.assert_array_equal(again.tangent(F), material.tangent(F))
    assert_agreement(again, F, by_ufl_stress, by_external_operator, by_compiled_c)
    export(again, tmp_path / "martensite.py", language="numpy")
    for got, exact in zip(runpy.run_path(str(tmp_path / "martensite.py"))["evaluate"](F), expected(again, F)):
        assert relative_error(got, exact) < 1e-12


@pytest.mark.parametrize("mode_type", ["ConvexNetwork", "PolyconvexNetwork"])
def test_in_a_fit_each_mode_reads_its_own_state(mode_type):
    truth = martensite()
    rng = np.random.default_rng(2)
    F = VARIANTS[np.arange(80) % 2] @ random_deformations(rng, 80, 2, 0.1)
    samples = lse.Samples(F=F, energy=truth.energy(F), stress=truth.stress(F))
    training = Training(restarts=1, adam_steps=100, lbfgs_steps=100)
    architecture = Architecture(modes=2, width=3, mode_type=mode_type)
    result = fit(samples, kinematics=STATES, architecture=architecture, training=training, progress=False)
    material = result.material
    assert result.validation_errors.stress < 0.05
    for k in range(2):
        others = STATES.block(1 - k)
        for weight in (*material.potential.modes[k].x_weights, material.potential.modes[k].quadratic):
            np.testing.assert_array_equal(weight[:, others], 0.0)
        assert material.mode_weights(VARIANTS[k])[k] > 0.9
    assert material.is_polyconvex == (mode_type == "PolyconvexNetwork")
    further = fit(samples, kinematics=STATES, start=material, training=training, progress=False).material
    assert all((further.potential.modes[k].x_weights[0][:, STATES.block(1 - k)] == 0.0).all() for k in range(2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((2, lse.PrincipalInvariants(3), VARIANTS), "must be one of 2D"),
        ((2, "PrincipalInvariants", VARIANTS), "must be one of 2D"),
        ((2, lse.PrincipalInvariants(2), VARIANTS[0]), "stretches has 2 axes"),
        ((2, lse.PrincipalInvariants(2), -np.eye(3)[None]), r"needs \(states, 2, 2\)"),
        ((2, lse.PrincipalInvariants(2), [np.diag([-1.0, 1.0])]), "positive determinants"),
    ],
)
def test_states_that_are_none_are_refused(arguments, message):
    with pytest.raises(lse.InvalidInputError, match=message):
        lse.NaturalStates(*arguments)


def test_another_number_of_modes_than_of_states_is_refused():
    samples = lse.Samples(F=VARIANTS, energy=[0.0, 1.0])
    with pytest.raises(lse.InvalidInputError, match="there are 2 natural states, with a mode for each"):
        fit(samples, kinematics=STATES, architecture=Architecture(modes=3), progress=False)
