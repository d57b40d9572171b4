"""Discovery finds how many modes made the data and how sharp their transitions are, and says what it cannot know."""

import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

import lse_material as lse
from lse_material.fit import Architecture, Errors, Sparsity, TrainablePotential, Training, fit
from lse_material.fit.model import edit
from lse_material.fit.optimise.levenberg_marquardt import levenberg_marquardt, normal_equations
from lse_material.fit.problem.loss import Loss
from lse_material.fit.problem.rows import Scales, rows_of
from tests.fit.short_fits import ctrl_c_after_stages, loss_of, random_trainable
from tests.materials import relative_error, samples_of, three_wells, two_wells

AUTO = Architecture(modes="auto", max_modes=5, width=4)


@pytest.mark.slow
def test_three_wells_and_their_transition_scale_are_found():
    exact = three_wells()
    result = fit(samples_of(exact, 400, 0), architecture=AUTO, seed=0, progress=False)
    error = result.error(samples_of(exact, 500, 1))
    assert len(result.potential.modes) == result.active_modes == 3
    assert result.transition_scale == pytest.approx(
        0.1, rel=1e-6
    )  # quadratic modes are tried first: these data they meet to rounding
    assert error.energy < 1e-9
    assert error.stress < 1e-9
    assert result.transition_scale_interval[0] <= result.transition_scale <= result.transition_scale_interval[1]
    errors = dict(result.path)
    assert errors[2] > 5 * Sparsity().tolerance  # two modes were tried, and are not enough
    left, right = Figure().subplots(1, 2)
    lse.plotting.discovery_path(left, right, result)
    assert left.lines[0].get_xydata().tolist() == [list(step) for step in result.path]
    assert [bar.get_height() for bar in right.patches] == result.usage.tolist()


def test_one_convex_well_needs_one_mode_and_has_no_transition_scale():
    c = np.array([[0.3, -0.2]])
    mode = lse.ConvexNetwork.from_arrays([], [-4.0 * c], [[0.2]], quadratic=2.0 * np.eye(2))
    exact = lse.SoftMinimum((mode,), 1.0)
    result = fit(samples_of(exact, 150, 0), architecture=AUTO, seed=0, progress=False)
    assert len(result.potential.modes) == 1
    assert result.transition_scale_interval is None
    assert "transition" not in result.summary()
    assert result.error(samples_of(exact, 200, 1)).energy < 1e-3


@pytest.mark.slow
def test_discovery_is_deterministic_and_noise_adds_no_modes():
    exact = two_wells(1)
    data = samples_of(exact, 200, 0)
    rng = np.random.default_rng(5)
    noisy = lse.Samples(
        x=data.x,
        energy=data.energy + 0.01 * data.energy.std() * rng.normal(size=200),
        gradient=data.gradient + 0.01 * data.gradient.std() * rng.normal(size=(200, 1)),
    )
    first, second = (fit(noisy, architecture=AUTO, seed=1, progress=False) for _ in range(2))
    assert len(first.potential.modes) == 2
    x = np.linspace(-1.2, 1.2, 50)[:, None]
    assert np.array_equal(first.potential.energy(x), second.potential.energy(x))
    assert first.error(samples_of(exact, 300, 1)).energy < 0.01


def test_what_the_data_leave_open_is_said():
    short = Training(restarts=1, adam_steps=5, lbfgs_steps=2)
    result = fit(samples_of(two_wells(1), 60, 0), training=short, progress=False)
    plain = replace(
        result,
        path=((1, 0.3), (2, 0.001)),
        transition_scale_interval=(0.14, 0.16),
        usage=np.full(2, 0.5),
        peak=np.full(2, 0.99),
        validation_errors=Errors(0.001, 0.5),
        misfits=(),
        useless=False,
    )
    assert plain.warnings() == []
    (sentence,) = replace(plain, validation_errors=Errors(0.95, 1.02)).warnings()
    assert "nothing was found: on validation rows the error is 95%" in sentence
    (sentence,) = replace(plain, transition_scale_interval=(0.1, 0.3)).warnings()
    assert "do not fix the transition scale" in sentence
    (sentence,) = replace(plain, path=((1, 0.015), (2, 0.001))).warnings()
    assert "with 1 the tolerance of 1.00% is missed only just (1.50%)" in sentence
    (sentence,) = replace(plain, path=((2, 0.008), (3, 0.0001))).warnings()
    assert "3 fit better (0.01%)" in sentence
    assert replace(plain, path=((2, 0.008), (3, 0.007))).warnings() == []
    (sentence,) = replace(plain, peak=np.array([0.99, 0.4])).warnings()
    assert "mode 1 dominates nowhere" in sentence
    assert sentence in replace(plain, peak=np.array([0.99, 0.4])).summary()


def test_ctrl_c_ends_a_discovery_with_the_best_so_far(tmp_path):
    data = samples_of(two_wells(2), 300, 0)
    noise = 0.05 * data.energy.std() * np.random.default_rng(0).normal(size=300)
    data = lse.Samples(x=data.x, energy=data.energy + noise, gradient=data.gradient)
    long = Sparsity(adam_steps=50, tolerance=1e-6, restarts=50)  # 20 s
    options = {"sparsity": long, "seed": 0, "progress": False, "checkpoint": tmp_path / "stages"}
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)  # as gmsh leaves it: Ctrl-C would end the process
    with ctrl_c_after_stages(tmp_path / "stages", 3):
        result = fit(data, architecture=Architecture(modes="auto", width=8), **options)
    signal.signal(signal.SIGINT, before)
    assert result.interrupted
    assert result.error(samples_of(two_wells(2), 100, 1)).energy < 0.2


# ---- Levenberg-Marquardt and changes of a model ------------------------------------------------------------------------


def test_levenberg_marquardt_goes_to_rounding_where_the_data_can_be_met_exactly():
    """A tenth of a per cent away from weights that made the data: five steps win eight orders of the loss, thirty twenty."""
    exact = random_trainable(3, size=2, modes=2, width=3, scale=0.7)
    x = np.random.default_rng(0).normal(size=(200, 2))
    energy, gradient, _ = (value.detach().numpy() for value in exact(torch.tensor(x)))
    rows = rows_of(lse.Samples(x=x, energy=energy, gradient=gradient), None, None)
    loss = Loss.on(rows, Scales(np.zeros(2), np.ones(2), 1.0, 0.0), 1.0, 1.0)
    start = edit.copy_of(exact)
    with torch.no_grad():
        for p in start.parameters():
            p.mul_(1.0 + 1e-3)
    losses = [float(loss(start).detach())]
    levenberg_marquardt(start, loss, 30, after=losses.append)
    assert losses[5] < 1e-8 * losses[0]
    assert losses[-1] < 1e-20 * losses[0]


def test_normal_equations_are_those_of_the_loss():
    """J^T r is half the gradient of the loss, whatever rows lack an energy or a gradient."""
    data = samples_of(two_wells(2), 50, 0)
    energy_mask, stress_mask = np.arange(50) % 3 > 0, np.arange(50) % 4 > 0
    loss = loss_of(
        lse.Samples(
            x=data.x,
            energy=data.energy,
            gradient=data.gradient,
            energy_mask=energy_mask,
            stress_mask=stress_mask,
        )
    )
    model = random_trainable(0, size=2, modes=3, width=3)
    names = [name for name, _ in model.named_parameters()]
    _, b = normal_equations(model, loss, names)
    gradient = torch.autograd.grad(loss(model), list(model.parameters()))
    exact = 0.5 * torch.cat([g.reshape(-1) for g in gradient])
    assert relative_error(b.numpy(), exact.numpy()) < 1e-12


def test_leaving_out_an_unused_mode_or_adding_neurons_without_weight_changes_nothing():
    model = random_trainable(1, size=2, modes=3, width=4)
    with torch.no_grad():
        model.biases[-1][2] += 1e3  # so high that it has no weight
    x = torch.randn(20, 2, dtype=torch.float64)
    for other in (edit.copy_of(model), edit.select(model, [0, 1]), edit.select(model, [1, 2, 0])):
        assert relative_error(other(x)[0].detach().numpy(), model(x)[0].detach().numpy()) < 1e-14
    whole = edit.join(edit.select(model, [0]), edit.select(model, [1, 2]))
    assert relative_error(whole(x)[0].detach().numpy(), model(x)[0].detach().numpy()) < 1e-14


@pytest.mark.parametrize(("before", "after"), [(0, 1), (0, 2), (1, 1), (2, 2)])
def test_modes_become_wider_or_get_their_first_neurons_without_another_energy(before, after):
    """New neurons begin with weights >= 0 of some 0.01 on the way to the energy: they lift it by a little, or not at all."""
    model = random_trainable(3, size=2, modes=2, width=3, depth=before)
    wider = edit.widened(model, Architecture(width=5, depth=after), np.random.default_rng(0))
    assert wider.architecture.width == (5 if before == 0 else 6)
    assert wider.architecture.depth == after
    x = torch.randn(20, 2, dtype=torch.float64)
    with torch.no_grad():
        added = (wider(x)[0] - model(x)[0]) / model(x)[0].abs().max()
    assert added.min() > -1e-14
    assert added.max() < 0.05


def test_two_modes_that_share_a_convex_well_are_merged_into_it():
    """A quadratic well cut in two by equal modes: the merged one is the well, and the third mode stays as it is."""
    exact = three_wells(0.02)
    loss = loss_of(samples_of(exact, 300, 0))
    model = TrainablePotential.from_potential(exact)
    double = edit.select(model, [0, 1, 1, 2])
    with torch.no_grad():
        double.biases[-1][1:3] += double.scaled_rho_value * np.log(2.0)  # two equal modes lie rho ln 2 lower than one
    merged = edit.with_pair_merged(double, loss)
    assert merged.architecture.modes == 3
    x = loss.inputs
    assert relative_error(merged(x)[0].detach().numpy(), model(x)[0].detach().numpy()) < 1e-9


class Still:
    """A random generator that leaves weights where they are."""

    def random(self):
        return 0.5

    def standard_normal(self, shape):
        return np.zeros(shape)


def test_a_split_mode_is_two_that_lean_apart_about_its_centre():
    """psi +- l.(x - c) + rho ln 2 have the soft minimum psi - rho ln cosh(l.(x - c) / rho)."""
    loss = loss_of(samples_of(two_wells(2), 60, 0))
    whole = random_trainable(2, size=2, modes=1, width=4, rho=0.5, scale=0.3)
    split = edit.with_mode_split(whole, loss, Still())
    assert split.architecture.modes == 2
    centre, away = loss.inputs.mean(0), torch.randn(50, 2, dtype=torch.float64)
    with torch.no_grad():
        lean = 0.5 * (split.x_weights[-1][0, 0] - split.x_weights[-1][1, 0])
        lowered = whole(centre + away)[0] - split(centre + away)[0]
        expected = split.scaled_rho_value * torch.log(torch.cosh(away @ lean / split.scaled_rho_value))
    assert lean.norm() > 0.01
    assert torch.allclose(lowered, expected, rtol=0.0, atol=1e-13)


@pytest.mark.parametrize(
    ("field", "value"),
    [("tolerance", 0.0), ("usage_weight", -1.0), ("restarts", 0), ("trials", 1.5), ("rho_slack", 0.5)],
)
def test_options_of_sparsity_are_checked(field, value):
    with pytest.raises(lse.InvalidInputError, match=rf"Sparsity\.{field}"):
        Sparsity(**{field: value})


def test_a_path_is_drawn_only_where_there_is_one():
    result = fit(
        samples_of(two_wells(1), 30, 0), training=Training(restarts=1, adam_steps=5, lbfgs_steps=2), progress=False
    )
    with pytest.raises(lse.InvalidInputError, match="auto"):
        lse.plotting.discovery_path(*Figure().subplots(1, 2), result)
