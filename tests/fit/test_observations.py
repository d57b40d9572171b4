"""Fits to sums of stresses: rubber tests with the pressure eliminated, stresses known in part."""

import numpy as np
import pytest
import torch

import lse_material as lse
from lse_material.data.observations import Observations
from lse_material.fit import Architecture, Training, fit
from lse_material.fit.model.trainable import TrainablePotential
from lse_material.fit.optimise.jacobian import values_and_jacobian
from lse_material.fit.problem.loss import Loss
from lse_material.fit.problem.sums import Sums, scales_of_observations
from tests.materials import random_deformations, saint_venant_kirchhoff

QUICK = Training(restarts=1, adam_steps=200, lbfgs_steps=200, validation=0.0)


def mooney_rivlin(c1=0.3, c2=0.1):
    """W = c1 (I1 - 3) + c2 (I2 - 3), which is linear in the invariants."""
    mode = lse.ConvexNetwork.from_arrays([], [[[c1, c2, 0.0]]], [[0.0]])
    return lse.Material(lse.SoftMinimum((mode,), 1.0), lse.IsotropicInvariants(dim=3))


def nominal(test, l, c1=0.3, c2=0.1):
    """R. S. Rivlin's closed forms (Phil. Trans. R. Soc. A 241, 379 (1948))."""
    return {
        "uniaxial": 2.0 * (c1 + c2 / l) * (l - l**-2),
        "equibiaxial": 2.0 * (c1 + c2 * l**2) * (l - l**-5),
        "planar": 2.0 * (c1 + c2) * (l - l**-3),
    }[test]


STRETCHES = np.linspace(1.05, 3.0, 25)


def rubber_tests(*tests):
    make = {"uniaxial": Observations.uniaxial, "equibiaxial": Observations.equibiaxial, "planar": Observations.planar}
    return Observations.joined([make[t](STRETCHES, nominal(t, STRETCHES), group=t) for t in tests])


def test_two_rubber_tests_give_the_third():
    seen, unseen = rubber_tests("uniaxial", "equibiaxial"), rubber_tests("planar")
    measure = lse.IsotropicInvariants(dim=3)
    result = fit(seen, kinematics=measure, architecture=Architecture(modes=1, width=2), training=QUICK, progress=False)
    assert result.train_errors.stress < 2e-3
    assert result.error(unseen).stress < 0.02
    assert result.error(unseen).energy is None
    assert mooney_rivlin().energy(np.eye(3)[None]) == pytest.approx(result.material.energy(np.eye(3)[None]), abs=1e-12)


def test_the_rounding_of_a_volume_that_does_not_change_lies_inside_the_training_box():
    training = Training(restarts=1, adam_steps=1, lbfgs_steps=1, validation=0.0)
    shape = {"kinematics": lse.PrincipalInvariants(dim=3), "architecture": Architecture(modes=1, width=2)}
    seen = Observations.planar([1.0, 2.0, 4.0], [0.0, 0.5, 1.0])  # det F is 1 to the last bit
    box = fit(seen, **shape, training=training, progress=False).material.training_box
    between = Observations.uniaxial(STRETCHES, STRETCHES).F
    x = shape["kinematics"].strain(between)
    assert 0.0 < np.abs(x[:, 2]).max() < 1e-15
    assert box.excess(x).max() == 0.0
    assert box.excess(shape["kinematics"].strain(1.001 * between)).min() > 1e3  # a volume that changes is new


@pytest.mark.parametrize("unit", [1e-6, 1e9])
def test_units_of_stress_change_no_fit(unit):
    results = []
    for u in (1.0, unit):
        seen = Observations.uniaxial(STRETCHES, u * nominal("uniaxial", STRETCHES), errors=0.01 * u)
        architecture = Architecture(modes=1, width=2)
        training = Training(restarts=1, adam_steps=60, lbfgs_steps=60, validation=0.0)
        results.append(fit(seen, kinematics=lse.IsotropicInvariants(dim=3), architecture=architecture, training=training,
                           progress=False))  # fmt: skip
    P = [result.material.stress(np.diag([1.5, 0.9, 0.8])[None]) for result in results]
    np.testing.assert_allclose(P[1] / unit, P[0], rtol=1e-5, atol=1e-8)


def test_single_components_of_a_stress_are_enough_where_the_paths_differ():
    """P11 of one half of the rows and P12 of the other; P22 is never seen."""
    rng = np.random.default_rng(3)
    material, F = saint_venant_kirchhoff(2, 1.3, 0.7), random_deformations(np.random.default_rng(3), 80, 2)
    P = material.stress(F)
    column = np.arange(80) * 4 + np.where(rng.random(80) < 0.5, 0, 1)
    seen = Observations(F, np.arange(80), column, np.ones(80), P.reshape(-1)[column])
    result = fit(seen, kinematics=lse.GreenLagrange(2), architecture=Architecture(modes=1, width=2, depth=0), training=QUICK,
                 progress=False)  # fmt: skip
    assert result.train_errors.stress < 1e-3
    found = result.material.stress(F)
    for a, b in ((0, 0), (0, 1)):
        assert np.abs(found - P)[:, a, b].max() < 0.01 * np.abs(P).max()


@pytest.mark.parametrize("growth", [None, "auto", lse.Growth(0.2)])
def test_the_jacobian_of_the_residuals_is_that_of_differences(growth):
    rng = np.random.default_rng(0)
    F = random_deformations(rng, 1003, 2)  # more than the rows of one block
    row, column = rng.integers(12, size=9000), rng.integers(F.size, size=9000)
    row[:12] = np.arange(12)
    seen = Observations(F, row, column, rng.normal(size=9000), rng.normal(size=12), errors=rng.uniform(0.5, 2.0, 12))
    measure = lse.GreenLagrange(2)
    scales = scales_of_observations(seen, measure)
    loss = Loss.on_sums(measure.strain(F), Sums.of(seen, measure, growth, scales), scales)
    model = TrainablePotential.of(Architecture(modes=2, width=3), 3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.tensor(rng.normal(size=parameter.shape))
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    residual, J, h = next(iter(loss.residuals(lambda x: values_and_jacobian(model, x, names), 0.1)))
    assert (h is None) == (growth != "auto")
    assert float((next(iter(loss.residuals(lambda x: values_and_jacobian(model, x, names), loss.growth_coefficient(model))))[0] ** 2).sum()) == pytest.approx(float(loss(model).detach()), rel=1e-12)  # fmt: skip  # noqa: E501
    start = 0
    for name in names:
        parameter = model.get_parameter(name)
        flat, step = parameter.detach().reshape(-1), 1e-6
        for i in (0, len(flat) - 1):
            ends = []
            for sign in (1.0, -1.0):
                flat[i] += sign * step
                ends.append(next(iter(loss.residuals(lambda x: values_and_jacobian(model, x, names), 0.1)))[0].clone())
                flat[i] -= sign * step
            np.testing.assert_allclose((ends[0] - ends[1]) / (2.0 * step), J[:, start + i], rtol=1e-5, atol=1e-7)
        start += len(flat)
    assert residual.shape == (12,)


def test_what_cannot_be_fitted_is_refused():
    seen = rubber_tests("uniaxial")
    with pytest.raises(lse.InvalidInputError, match="need a strain measure in 3D"):
        fit(seen, progress=False)
    with pytest.raises(lse.InvalidInputError, match="need a strain measure in 3D; there is one in 2D"):
        fit(seen, kinematics=lse.GreenLagrange(2), progress=False)
    with pytest.raises(lse.InvalidInputError, match="all observed values are zero"):
        fit(Observations.uniaxial([1.5, 2.0], [0.0, 0.0]), kinematics=lse.GreenLagrange(3), progress=False)
    with pytest.raises(lse.InvalidInputError, match="leave robust out"):
        fit(seen, kinematics=lse.GreenLagrange(3), training=Training(robust=True), progress=False)


@pytest.mark.parametrize(("error", "tolerance"), [(0.0005, 0.01), (0.1, 0.07)])
def test_a_discovery_is_not_finer_than_the_errors_of_observations(error, tolerance):
    l = STRETCHES[::5]
    tests = Observations.uniaxial(l, nominal("uniaxial", l), errors=error * nominal("uniaxial", l))
    one = Architecture(modes="auto", max_modes=1, depth=0)
    result = fit(tests, kinematics=lse.IsotropicInvariants(3), architecture=one, training=QUICK, progress=False)
    assert result.tolerance == pytest.approx(tolerance)
