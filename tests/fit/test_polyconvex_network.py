"""Polyconvex modes: they do not decrease in the inputs that the measure names, in training, after it, and in the file."""

import numpy as np
import pytest
import torch

import lse_material as lse
from lse_material.analysis import acoustic_minimum
from lse_material.fit import Architecture, Training, fit
from lse_material.fit.model.constraints import Constraints, Reference, monotone_inputs
from lse_material.fit.model.edit import copy_of
from lse_material.fit.model.trainable import TrainablePotential
from lse_material.fit.optimise.levenberg_marquardt import levenberg_marquardt
from tests.materials import random_deformations

POLYCONVEX = Architecture(modes=2, width=4, mode_type="PolyconvexNetwork")
SHORT = Training(restarts=1, adam_steps=60, lbfgs_steps=60)
MEASURES = [
    lse.PrincipalInvariants(2),
    lse.TransverseInvariants(3),
    lse.OrthotropicInvariants(3),
    lse.CubicInvariants(3),
]


def two_phases(n=60):
    """A neo-Hookean solid, and a swollen phase of it."""
    F = random_deformations(np.random.default_rng(1), n, 2, 0.3)
    modes = [
        lse.ConvexNetwork.from_arrays([], [[[1.0, -4.0 * c]]], [[2.0 * c * c + 0.05 * k]], quadratic=[[0.0, 2.0]])
        for k, c in enumerate((0.0, 0.5))
    ]
    truth = lse.Material(lse.SoftMinimum(modes, 0.1), lse.PrincipalInvariants(2))
    return lse.Samples(F=F, energy=truth.energy(F), stress=truth.stress(F))


def random_model(measure, rng, **options):
    scale, shift = rng.uniform(0.3, 2.0, measure.size), rng.normal(size=measure.size)
    reference = Reference.of(
        measure.strain(np.eye(measure.dim)[None]),
        measure.derivative(np.eye(measure.dim)[None]).reshape(1, measure.size, -1),
        shift,
        scale,
    )
    constraints = Constraints(None, reference, torch.tensor(scale), monotone_inputs(measure, measure.size))
    architecture = Architecture(modes=2, width=4, depth=2, mode_type="PolyconvexNetwork", stiffness=0.1, **options)
    model = TrainablePotential.of(architecture, measure.size, constraints=constraints)
    with torch.no_grad():
        model.start(rng.normal(size=(2, measure.size)), np.zeros(2), rng)
    return model, shift, scale


@pytest.mark.parametrize("measure", MEASURES, ids=repr)
def test_the_material_is_the_trained_model_polyconvex_and_free_of_stress_at_rest(measure):
    rng = np.random.default_rng(2)
    model, shift, scale = random_model(measure, rng, stress_free=True)
    material = lse.Material(model.to_potential(shift, scale), measure)
    x = rng.normal(size=(20, measure.size))
    energy, gradient, _ = (value.detach().numpy() for value in model(torch.tensor((x - shift) / scale)))
    np.testing.assert_allclose(material.potential.energy(x), energy, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(material.potential.gradient(x) * scale, gradient, rtol=1e-10, atol=1e-10)
    assert material.is_polyconvex
    assert [len(mode.z_weights) for mode in material.potential.modes] == [2, 2]
    tangent = material.tangent(np.eye(measure.dim))
    assert np.abs(material.stress(np.eye(measure.dim))).max() < 1e-13 * np.abs(tangent).max()


def test_every_optimiser_keeps_modes_polyconvex(tmp_path):
    samples, measure = two_phases(), lse.PrincipalInvariants(2)
    result = fit(samples, kinematics=measure, architecture=POLYCONVEX, training=SHORT, progress=False)
    assert result.validation_errors.stress < 0.1
    assert result.material.is_polyconvex
    lse.save(result.material, tmp_path / "polyconvex.safetensors")
    again = lse.load(tmp_path / "polyconvex.safetensors")
    assert again.polyconvex_modes == (0, 1)
    further = fit(samples, kinematics=measure, start=again, training=SHORT, progress=False)
    assert further.material.is_polyconvex
    assert further.train_errors.stress <= 1.01 * result.train_errors.stress


def test_levenberg_marquardt_and_copies_keep_the_constraint():
    from lse_material.fit.problem.loss import Loss
    from lse_material.fit.problem.rows import rows_of, scales_of

    samples, measure = two_phases(30), lse.PrincipalInvariants(2)
    rows = rows_of(samples, measure, None)
    scales = scales_of(rows)
    loss = Loss.on(rows, scales, 1.0, 1.0)
    constraints = Constraints(unit=torch.tensor(scales.input_scale), monotone=monotone_inputs(measure, 2))
    model = TrainablePotential.of(POLYCONVEX, 2, constraints=constraints)
    with torch.no_grad():
        model.start(loss.inputs[:2].numpy(), np.zeros(2), np.random.default_rng(0))
    before = float(loss(model).detach())
    after = levenberg_marquardt(model, loss, 10)
    assert after < 0.1 * before
    assert float(loss(copy_of(model)).detach()) == pytest.approx(after, rel=1e-12)
    potential = copy_of(model).to_potential(scales.input_shift, scales.input_scale)
    assert lse.Material(potential, measure).is_polyconvex


def test_a_robust_fit_keeps_modes_polyconvex():
    training = Training(restarts=1, adam_steps=20, lbfgs_steps=20, robust=True)
    measure = lse.PrincipalInvariants(2)
    result = fit(two_phases(24), kinematics=measure, architecture=POLYCONVEX, training=training, progress=False)
    assert result.material.is_polyconvex


def test_a_measure_that_does_not_say_which_is_refused():
    with pytest.raises(
        lse.InvalidInputError, match="PolyconvexNetwork needs a strain measure that says in which inputs"
    ):
        fit(two_phases(), kinematics=lse.GreenLagrange(2), architecture=POLYCONVEX, training=SHORT, progress=False)


def test_weights_of_either_sign_are_not_called_polyconvex():
    measure = lse.PrincipalInvariants(2)
    for mode, expected in (
        (lse.ConvexNetwork.from_arrays([], [[[1.0, -1.0]]], [[0.0]]), (0,)),
        (lse.ConvexNetwork.from_arrays([], [[[-1e-9, 1.0]]], [[0.0]]), ()),
        (lse.ConvexNetwork.from_arrays([], [[[1.0, 0.0]]], [[0.0]], quadratic=[[0.1, 1.0]]), ()),
        (lse.ConvexNetwork.from_arrays([[[1.0]]], [[[-1.0, 0.0]], [[5.0, 0.0]]], [[0.0], [0.0]]), ()),
    ):
        assert lse.Material(lse.SoftMinimum((mode,), 1.0), measure).polyconvex_modes == expected
    convex = lse.ConvexNetwork.from_arrays([], [[[0.0, 0.0, 0.0]]], [[0.0]], quadratic=np.eye(3))
    small = lse.Material(lse.SoftMinimum((convex,), 1.0), lse.SmallStrain(2))
    assert small.is_polyconvex  # convex in F itself
    assert (acoustic_minimum(small.tangent(np.eye(2)[None])).value > 0.0).all()
    assert not lse.Material(small.potential, lse.GreenLagrange(2)).is_polyconvex
