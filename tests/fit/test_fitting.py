"""Fits recover what made their data, whatever kind of data it is, and do not depend on what they should not."""

import copy

import numpy as np
import pytest
import torch

import lse_material as lse
from lse_material.analysis import verify
from lse_material.fit import Architecture, TrainablePotential, Training, fit
from lse_material.fit.optimise.levenberg_marquardt import normal_equations
from lse_material.fit.problem.loss import Loss
from lse_material.fit.problem.rows import rows_of, scales_of
from tests.fit.short_fits import SHORT, ctrl_c_after, parameters
from tests.materials import samples_of, two_wells


@pytest.mark.parametrize(("energy", "gradient"), [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("d", [1, 2])
def test_two_wells_are_recovered_from_energies_gradients_or_both(d, energy, gradient):
    exact = two_wells(d)
    train, test = samples_of(exact, 300, 0, energy, gradient), samples_of(exact, 300, 1)
    training = Training(restarts=2, adam_steps=300)
    result = fit(train, architecture=Architecture(width=4), training=training, seed=0, progress=False)
    assert result.active_modes == 2
    assert np.abs(result.potential.gradient(test.x) - test.gradient).max() < 0.02 * np.abs(test.gradient).max()
    shift = result.potential.energy(test.x) - test.energy
    assert shift.std() < 0.01 * test.energy.std()  # known up to a constant from gradients alone
    if energy:
        assert abs(shift.mean()) < 0.01 * test.energy.std()
    assert exact.transition_scale / 1.5 < result.transition_scale < 1.5 * exact.transition_scale


def test_the_same_seed_gives_the_same_bits_and_another_seed_another_fit():
    train = samples_of(two_wells(2), 60, 0)
    first, second, other = (fit(train, training=SHORT, seed=seed, progress=False) for seed in (3, 3, 4))
    assert all(np.array_equal(a, b) for a, b in zip(parameters(first), parameters(second)))
    assert first.transition_scale == second.transition_scale
    assert not all(np.array_equal(a, b) for a, b in zip(parameters(first), parameters(other)))


def test_units_do_not_matter():
    """Energies in other units and with another zero, inputs in another length: the same potential, bar rounding."""
    exact = two_wells(2)
    x = np.random.default_rng(0).uniform(-1.3, 1.3, (60, 2))
    unit, length, zero = 2.0**20, 2.0**-10, 2.0**18  # powers of two, so that data are scaled without rounding
    plain = lse.Samples(x=x, energy=exact.energy(x), gradient=exact.gradient(x))
    scaled = lse.Samples(x=x * length, energy=unit * plain.energy + zero, gradient=plain.gradient * unit / length)
    one, other = (fit(s, training=SHORT, seed=0, progress=False) for s in (plain, scaled))
    assert np.allclose((other.potential.energy(x * length) - zero) / unit, one.potential.energy(x), rtol=0, atol=1e-6)
    assert other.transition_scale == pytest.approx(unit * one.transition_scale, rel=1e-5)


def test_what_stands_in_rows_marked_as_missing_does_not_matter():
    full = samples_of(two_wells(2), 60, 0)
    energy_mask, stress_mask = np.arange(60) % 3 > 0, np.arange(60) % 4 > 0
    results = []
    for junk in (0.0, 1e6):
        energy, gradient = full.energy.copy(), full.gradient.copy()
        energy[~energy_mask], gradient[~stress_mask] = junk, -junk
        data = lse.Samples(x=full.x, energy=energy, gradient=gradient, energy_mask=energy_mask, stress_mask=stress_mask)
        results.append(fit(data, training=SHORT, seed=0, progress=False))
    assert all(np.array_equal(a, b) for a, b in zip(*map(parameters, results)))
    assert results[0].train_errors == results[1].train_errors


def test_ctrl_c_keeps_the_best_so_far():
    train = samples_of(two_wells(2), 60, 0)
    with ctrl_c_after(3.0):
        result = fit(train, training=Training(restarts=3, adam_steps=1_000_000), seed=0, progress=False)
    assert result.interrupted
    assert "interrupted" in result.summary()
    best = min(record.validation for record in result.history)
    rerun = fit(train, training=Training(restarts=1, adam_steps=0, lbfgs_steps=0), seed=0, progress=False)
    assert best < rerun.history[0].validation  # better than where it started
    assert np.isfinite(result.potential.energy(train.x)).all()


def test_nothing_is_printed_where_there_is_no_terminal(capfd):
    fit(samples_of(two_wells(2), 30, 0), training=SHORT)
    assert capfd.readouterr() == ("", "")


# ---- samples of F -------------------------------------------------------------------------------------------------------


def strained(material, n=150, seed=0):
    F = np.eye(2) + np.random.default_rng(seed).uniform(-0.2, 0.2, (n, 2, 2))
    return lse.Samples(F=F, energy=material.energy(F), stress=material.stress(F), units={"energy": "MPa"})


def martensite(growth=None):
    """Two wells in Green-Lagrange strain."""
    return lse.Material(two_wells(3, rho=0.01, distance=0.12, stiffness=10.0), lse.GreenLagrange(2), growth)


def test_a_material_is_fitted_with_its_growth_term_and_knows_where_it_comes_from():
    exact = martensite(lse.Growth(0.5))
    train = strained(exact)
    result = fit(
        train, kinematics=exact.kinematics, growth=lse.Growth(0.5), training=Training(restarts=1), progress=False
    )
    test = strained(exact, seed=1)
    assert result.material.growth == lse.Growth(0.5)
    assert max(result.error(test).energy, result.error(test).stress) < 0.02
    assert result.material.units == {"energy": "MPa"}
    x = exact.kinematics.strain(train.F)
    assert np.array_equal(result.material.training_box.lower, x.min(axis=0))
    assert np.array_equal(result.material.training_box.upper, x.max(axis=0))
    assert result.material.provenance["data"] == train.digest()
    assert result.material.provenance["rows"] == len(train)
    for name in ("training", "validation", "test"):
        assert name in result.summary(test)
    assert all(check.passed for check in verify(result.material))


def deep(material, n=200, seed=0, **left_out):
    """As `strained`, with J down to a fifth."""
    F = np.eye(2) + np.random.default_rng(seed).uniform(-0.5, 0.5, (n, 2, 2))
    F = F[np.linalg.det(F) > 0.15]
    values = {"energy": material.energy(F), "stress": material.stress(F)}
    return lse.Samples(F=F, **{**values, **left_out})


@pytest.mark.parametrize("left_out", [{}, {"energy": None}, {"stress": None}], ids=["both", "stress", "energy"])
def test_a_growth_coefficient_is_fitted_along(left_out):
    """With the term the truth is in the class, modes without neurons; without it, it is not."""
    exact = lse.Material(two_wells(3, rho=0.1, distance=0.12, stiffness=10.0), lse.GreenLagrange(2), lse.Growth(0.5))
    training = Training(restarts=3, adam_steps=300, lbfgs_steps=300)
    options = {"kinematics": exact.kinematics, "architecture": Architecture(depth=0), "progress": False}
    data, test = deep(exact, **left_out), deep(exact, seed=1, energy=None)
    with_it, without = (fit(data, growth=growth, training=training, **options) for growth in ("auto", None))
    assert with_it.material.growth.coefficient == pytest.approx(0.5, rel=1e-3)
    assert with_it.error(test).stress < 0.1 * without.error(test).stress
    assert without.material.growth is None


def test_no_growth_is_found_where_there_is_none():
    exact = martensite()
    result = fit(strained(exact), kinematics=exact.kinematics, growth="auto", training=SHORT, progress=False)
    found = result.material.growth
    assert found is None or found.coefficient < 0.1 * np.abs(exact.tangent(np.eye(2)[None])).max()


@pytest.mark.parametrize("constant", [0.5, -0.5])
def test_the_loss_with_a_growth_coefficient_is_the_least_over_it(constant):
    """Its gradient in the weights is that of finite differences, where the coefficient is free and where it is held at 0."""
    exact = lse.Material(two_wells(3, rho=0.1, distance=0.12, stiffness=10.0), lse.GreenLagrange(2), lse.Growth(0.5))
    data = deep(exact, 40)
    h = lse.Growth(abs(constant))
    data = lse.Samples(
        F=data.F, energy=np.sign(constant) * h.energy(data.F), stress=np.sign(constant) * h.stress(data.F)
    )
    rows = rows_of(data, exact.kinematics, "auto")
    scales = scales_of(rows)
    loss = Loss.on(rows, scales, 1.0, 2.0)
    model = TrainablePotential.of(Architecture(2, 3), 3)
    torch.manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(0.3 * torch.randn_like(p))
    c = loss.growth_coefficient(model)
    assert (c > 0.0) == (constant > 0.0)
    fixed = [Loss.on(rows_of(data, exact.kinematics, lse.Growth(c + d)), scales, 1.0, 2.0) for d in (1e-3, 2e-3)]
    assert float(loss(model).detach()) < float(fixed[0](model).detach()) < float(fixed[1](model).detach())
    names = [name for name, _ in model.named_parameters()]
    gradient, step = 2.0 * normal_equations(model, loss, names)[1], 1e-6
    direction = torch.randn(len(gradient), dtype=torch.float64)
    values = []
    for sign in (1.0, -1.0):
        moved = copy.deepcopy(model)
        with torch.no_grad():
            for p, d in zip(moved.parameters(), direction.split([p.numel() for p in moved.parameters()])):
                p += sign * step * d.reshape(p.shape)
        values.append(float(loss(moved).detach()))
    assert (values[0] - values[1]) / (2.0 * step) == pytest.approx(float(gradient @ direction), rel=1e-5)


def test_stresses_alone_leave_the_undeformed_state_at_zero_energy():
    exact = martensite()
    data = strained(exact)
    result = fit(lse.Samples(F=data.F, stress=data.stress), kinematics=exact.kinematics, training=SHORT, progress=False)
    assert abs(result.material.energy(np.eye(2)[None])[0]) < 1e-14


# ---- what cannot be fitted ----------------------------------------------------------------------------------------------

X = np.linspace(-1.0, 1.0, 20)[:, None]
F = np.eye(2) + np.random.default_rng(0).uniform(-0.1, 0.1, (20, 2, 2))
W = (F**2).sum(axis=(1, 2))


@pytest.mark.parametrize(
    ("samples", "options", "message"),
    [
        (lambda: lse.Samples(x=X[:1], energy=X[:1, 0]), {}, "one sample"),
        (lambda: lse.Samples(x=X, energy=np.ones(20)), {}, "all energies are equal"),
        (lambda: lse.Samples(x=X, gradient=np.zeros((20, 1))), {}, "all stresses are zero"),
        (lambda: lse.Samples(x=X, energy=X[:, 0] ** 2), {"growth": lse.Growth(1.0)}, "growth term"),
        (lambda: lse.Samples(F=F, energy=W), {"kinematics": lse.GreenLagrange(3)}, "is 3D, the samples' F are 2D"),
        (lambda: lse.Samples(F=F, energy=W), {}, "strain measure|kinematics"),
        (lambda: lse.Samples(x=X, energy=X[:, 0] ** 2), {"growth": "auto"}, "growth term"),
        (lambda: lse.Samples(F=F, energy=W), {"kinematics": lse.GreenLagrange(2), "growth": 0.5}, "growth is 0.5"),
        (lambda: {"x": X}, {}, "Samples or Observations, not a dict"),
        (lambda: lse.Samples(x=X, energy=X[:, 0] ** 2), {"training": Training(energy_weight=0.0)}, "weight 0"),
    ],
)
def test_what_cannot_be_fitted_is_refused_by_name(samples, options, message):
    with pytest.raises(lse.InvalidInputError, match=message):
        fit(samples(), progress=False, **options)


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        (Architecture, "modes", 0),
        (Architecture, "width", 2.5),
        (Architecture, "depth", -1),
        (Architecture, "activation", "relu"),
        (Training, "restarts", 0),
        (Training, "adam_steps", -1),
        (Training, "learning_rate", 0.0),
        (Training, "validation", 1.0),
        (Training, "patience", True),
        (Training, "energy_weight", -1.0),
    ],
)
def test_options_that_make_no_sense_are_refused_by_name(kind, field, value):
    with pytest.raises(lse.InvalidInputError, match=rf"{kind.__name__}\.{field}"):
        kind(**{field: value})


def test_a_fit_of_x_has_a_potential_and_no_material():
    result = fit(samples_of(two_wells(1), 30, 0), training=SHORT, progress=False)
    with pytest.raises(lse.InvalidInputError, match=r"result\.potential"):
        _ = result.material
