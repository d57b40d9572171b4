"""Weights of rows, outliers and many rows: each row counts as it should."""

import numpy as np
import pytest

import lse_material as lse
from lse_material.fit import Architecture, DataWarning, Training, fit
from lse_material.fit.optimise.levenberg_marquardt import normal_equations
from lse_material.fit.problem.loss import Loss
from lse_material.fit.problem.rows import rows_of, scales_of
from tests.fit.short_fits import random_trainable
from tests.materials import relative_error, samples_of, three_wells, two_wells


def with_weight(samples, weight, rows=slice(None)):
    return lse.Samples(x=samples.x[rows], energy=samples.energy[rows], gradient=samples.gradient[rows], weight=weight)


def test_a_weight_of_two_is_a_row_twice():
    data = samples_of(three_wells(), 50, 0)
    count = np.random.default_rng(0).integers(0, 4, 50)
    weighted = rows_of(with_weight(data, count.astype(float)), None, None)
    repeated = rows_of(with_weight(data, None, np.repeat(np.arange(50), count)), None, None)
    scales = scales_of(repeated)
    one, other = scales_of(weighted), scales
    assert one.energy_scale == pytest.approx(other.energy_scale, rel=1e-12)
    assert one.energy_shift == pytest.approx(other.energy_shift, rel=1e-12)
    model = random_trainable(0, size=2, modes=2)
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    first, second = (Loss.on(rows, scales, 1.0, 2.0) for rows in (weighted, repeated))
    assert float(first(model).detach()) == pytest.approx(float(second(model).detach()), rel=1e-12)
    for a, b in zip(normal_equations(model, first, names), normal_equations(model, second, names)):
        assert relative_error(a.numpy(), b.numpy()) < 1e-12


def test_rows_without_weight_do_not_matter():
    data = samples_of(two_wells(2), 80, 0)
    weight = (np.arange(80) % 4 > 0).astype(float)
    results = []
    for junk in (0.0, 1e3):
        energy = np.where(weight > 0.0, data.energy, junk)
        gradient = np.where(weight[:, None] > 0.0, data.gradient, -junk)
        samples = lse.Samples(x=data.x, energy=energy, gradient=gradient, weight=weight)
        training = Training(restarts=1, adam_steps=50, lbfgs_steps=50)
        results.append(fit(samples, training=training, seed=0, progress=False))
    x = np.random.default_rng(1).uniform(-1.0, 1.0, (50, 2))
    assert np.array_equal(results[0].potential.energy(x), results[1].potential.energy(x))
    assert results[0].train_errors == results[1].train_errors


@pytest.mark.slow
def test_outliers_are_named_and_do_not_spoil_the_fit():
    exact = three_wells()
    data, test = samples_of(exact, 400, 0), samples_of(exact, 500, 1)
    rng = np.random.default_rng(2)
    bad = np.sort(rng.choice(400, 12, replace=False))
    energy, gradient = data.energy.copy(), data.gradient.copy()
    energy[bad] += rng.choice([-1.0, 1.0], 12) * rng.uniform(1.0, 30.0, 12) * energy.std()
    gradient[bad] *= rng.uniform(-3.0, 3.0, (12, 2))
    spoilt = lse.Samples(x=data.x, energy=energy, gradient=gradient)
    architecture = Architecture(modes="auto", max_modes=5, width=4)
    with pytest.warns(DataWarning, match="far from what the others say"):
        result = fit(spoilt, architecture=architecture, training=Training(robust=True), progress=False)
    assert len(result.potential.modes) == 3
    assert result.error(test).energy < 2e-3
    (text,) = [d for d in result.warnings() if "did not count" in d]
    named = {int(word) for word in text.split(":")[1].strip(" .").split(", ")[:10] if word.isdigit()}
    assert named <= set(bad.tolist())
    assert text.startswith("12 rows")


@pytest.mark.slow
def test_many_rows_are_fitted_in_batches():
    exact = two_wells(2)
    data, test = samples_of(exact, 60_000, 0), samples_of(exact, 500, 1)
    training = Training(restarts=1, adam_steps=300, lbfgs_steps=100, batch=1000, rows=3000)
    result = fit(data, architecture=Architecture(width=4), training=training, progress=False)
    assert result.error(test).energy < 0.01
    assert result.error(test).stress < 0.02


def test_parts_of_rows_that_follow_a_path_are_like_the_whole():
    """Batches, and the rows that L-BFGS takes, are all along a path that stiffens at its end."""
    x = np.linspace(-1.0, 1.0, 500)[:, None]
    data = lse.Samples(x=x, energy=np.exp(2.0 * x[:, 0]), gradient=2.0 * np.exp(2.0 * x))
    training = Training(restarts=1, adam_steps=150, lbfgs_steps=60, batch=150, rows=150, validation=0.0)
    result = fit(data, architecture=Architecture(modes=1, width=3), training=training, progress=False)
    assert result.error(data.take(np.arange(350, 500))).stress < 0.05


def test_every_row_is_in_a_batch():
    data = samples_of(two_wells(2), 250, 0)
    rows = rows_of(data, None, None)
    loss = Loss.on(rows, scales_of(rows), 1.0, 1.0)
    batches = [loss.batch(step, 100).inputs.numpy() for step in range(3)]
    assert max(map(len, batches)) <= 100
    np.testing.assert_array_equal(np.concatenate(batches), loss.inputs.numpy())


def test_weights_are_written_read_and_checked(tmp_path):
    data = samples_of(two_wells(2), 20, 0)
    weight = np.random.default_rng(0).uniform(0.0, 2.0, 20)
    for name in ("a.csv", "a.npz"):
        lse.write_samples(with_weight(data, weight), tmp_path / name)
        assert np.array_equal(lse.read_samples(tmp_path / name).weight, weight)
    assert with_weight(data, weight).digest() != data.digest()
    assert np.array_equal(with_weight(data, weight).take(np.array([3, 1])).weight, weight[[3, 1]])
    for wrong, match in ((-weight, "row 0 is -"), (0.0 * weight, "all weights are 0"), (weight[:5], "shape")):
        with pytest.raises(lse.InvalidInputError, match=match):
            with_weight(data, wrong)
