"""Rounding is no data: what does not vary but for rounding leaves a fit as it is, and units do not change it."""

import numpy as np
import pytest

import lse_material as lse
from lse_material.fit import Architecture, Training, fit
from lse_material.fit.model.initialise import random_start
from lse_material.fit.problem.diagnostics import data_warnings
from lse_material.fit.problem.loss import Loss
from lse_material.fit.problem.rows import rows_of, scales_of
from lse_material.fit.problem.unseen_shears import seen_inputs

ONE = Architecture(modes=1)
SHORT = Training(restarts=1, adam_steps=300, lbfgs_steps=300)


def saint_venant_kirchhoff(F):
    """Energy and P of W = (tr E)^2 + E:E."""
    E = 0.5 * (np.swapaxes(F, 1, 2) @ F - np.eye(3))
    trace = np.trace(E, axis1=1, axis2=2)
    return trace**2 + (E**2).sum((1, 2)), F @ (2.0 * trace[:, None, None] * np.eye(3) + 2.0 * E)


def stretches(rounding, rows=120):
    rng = np.random.default_rng(0)
    F = np.zeros((rows, 3, 3))
    F[:, range(3), range(3)] = 1.0 + rng.uniform(-0.2, 0.3, (rows, 3))
    F += rounding * rng.standard_normal(F.shape)
    W, P = saint_venant_kirchhoff(F)
    return lse.Samples(F=F, energy=W, stress=P)


@pytest.mark.filterwarnings("ignore::lse_material.fit.DataWarning")
@pytest.mark.parametrize("rounding", [0.0, 1e-8, 1e-6])
def test_stretches_alone_give_the_shear_stiffness_of_an_isotropic_material(rounding):
    """As single precision and every FE program write them; the truth is isotropic, so that it is met."""
    result = fit(stretches(rounding), kinematics=lse.GreenLagrange(3), architecture=ONE, training=SHORT, progress=False)
    F = np.eye(3)[None].copy()
    F[0, 0, 1] = 0.1
    _, P = saint_venant_kirchhoff(F)
    assert result.train_errors.stress < 2e-3
    assert np.linalg.norm(result.material.stress(F) - P) < 0.02 * np.linalg.norm(P)
    assert any("no shear in input 3, 4, 5 " in text for text in result.warnings())


def test_small_shears_are_data_where_their_stress_is():
    """A shear of 1e-3 beside stretches of 0.2, and shear stresses without a shear, are fitted."""
    G = lse.GreenLagrange(3)
    assert seen_inputs(rows_of(stretches(1e-3), G, None)).tolist() == [0, 1, 2, 3, 4, 5]
    data = stretches(0.0)
    P = np.array(data.stress)
    P[:, 0, 1] += 0.05 * P[:, 0, 0]
    P[:, 1, 0] = P[:, 0, 1] * data.F[:, 1, 1] / data.F[:, 0, 0]
    assert seen_inputs(rows_of(lse.Samples(F=data.F, stress=P), G, None)).tolist() == [0, 1, 2, 5]


def test_a_constant_column_with_rounding_is_no_input_that_varies():
    x = np.random.default_rng(0).uniform(-1.0, 1.0, (200, 2))
    x[:, 1] = 0.25 * (1.0 + 1e-8 * np.random.default_rng(1).normal(size=200))
    data = lse.Samples(x=x, energy=x[:, 0] ** 2, gradient=np.stack([2.0 * x[:, 0], 0.0 * x[:, 0]], axis=1))
    rows = rows_of(data, None, None)
    assert scales_of(rows).input_scale[1] > 1e-3
    assert any("input 1 " in text for text in data_warnings(data, rows))


def test_an_incompressible_test_is_refused_where_the_measure_has_no_pressure():
    stretch = np.linspace(1.05, 3.0, 40)
    F = np.stack([np.diag([a, a**-0.5, a**-0.5]) for a in stretch])
    P = np.zeros_like(F)
    P[:, 0, 0] = stretch - stretch**-2
    data = lse.Samples(F=F, stress=P)
    with pytest.raises(lse.InvalidInputError, match=r"Observations\.uniaxial"):
        fit(data, kinematics=lse.IsotropicInvariants(3), progress=False)
    linear = lse.IsotropicInvariants(3, squared_volume=False)  # whose derivative in J is the pressure
    with pytest.warns(match="input 2 "):
        result = fit(data, kinematics=linear, architecture=ONE, training=SHORT, progress=False)
    assert result.train_errors.stress < 0.05


@pytest.mark.parametrize("units", [(1e-13, 1.0, 1e3), (1e6, 1e-9, 1.0)])
def test_other_units_give_the_same_problem(units):
    """A concentration of 1e-13 beside a strain: the loss of the same weights is the same."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2))
    data = x, (x**4).sum(axis=1), 4.0 * x**3
    losses = []
    for a, b, c in ((1.0, 1.0, 1.0), units):
        unit = np.array([a, b])
        rows = rows_of(lse.Samples(x=x * unit, energy=c * data[1], gradient=c * data[2] / unit), None, None)
        loss = Loss.on(rows, scales_of(rows), 1.0, 1.0)
        losses.append(float(loss(random_start(ONE, loss, np.random.default_rng(1))).detach()))
    assert losses[1] == pytest.approx(losses[0], rel=1e-9)


def test_one_load_path_is_no_field_with_circulation():
    """Along a path the stresses say how they change along it, and nothing of the symmetry of their derivative."""
    F = np.tile(np.eye(3), (60, 1, 1))
    F[:, 0, 0] = np.linspace(0.8, 1.3, 60)
    W, P = saint_venant_kirchhoff(F)
    data = lse.Samples(F=F, energy=W, stress=P)
    assert not any(
        "gradient of no energy" in text for text in data_warnings(data, rows_of(data, lse.GreenLagrange(3), None))
    )


@pytest.mark.filterwarnings("ignore::lse_material.fit.DataWarning")
def test_unseen_shears_obey_the_symmetry():
    """Without shears the cubic group acts on three stretches, and the material has its symmetry in all six."""
    cubic = lse.Symmetry.crystal("cubic", "cubic", dim=3)
    options = {"kinematics": lse.GreenLagrange(3), "architecture": ONE, "training": SHORT, "progress": False}
    material = fit(stretches(0.0), symmetry=cubic, **options).material
    x = np.random.default_rng(0).uniform(-0.2, 0.3, (20, 6))
    W = material.potential.energy(x)
    for turn in cubic.group[1:6]:
        assert material.potential.energy(x @ turn.T) == pytest.approx(W, rel=1e-9, abs=1e-12)
