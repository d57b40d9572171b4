"""Periodic inputs: a torsional potential with three wells comes back exactly periodic, from its angles as people write them."""

import numpy as np
import pytest

import lse_material as lse
from lse_material.cli import run
from lse_material.cli.codes import OK
from lse_material.fit import Architecture, Training, fit
from tests.fit.short_fits import SHORT
from tests.materials import relative_error

QUICK = Training(restarts=1, adam_steps=300, lbfgs_steps=600)


def torsion(degrees):
    """W and dW/dx in kJ/mol and degrees, of three wells of different depth."""
    t = np.radians(degrees)
    return 5.0 * (1.0 + np.cos(3.0 * t)) + 2.0 * np.cos(t - 0.4), np.radians(
        -15.0 * np.sin(3.0 * t) - 2.0 * np.sin(t - 0.4)
    )


@pytest.fixture(scope="module")
def fitted():
    x = np.random.default_rng(0).uniform(-180.0, 180.0, (150, 1))
    W, g = torsion(x[:, 0])
    data = lse.Samples(x=x, energy=W, gradient=g[:, None])
    return fit(data, periods=[360.0], architecture=Architecture(modes=3), training=QUICK, progress=False)


def test_energy_gradient_and_hessian_are_right_and_periodic(fitted):
    x = np.random.default_rng(1).uniform(-180.0, 180.0, (200, 1))
    W, g = torsion(x[:, 0])
    potential = fitted.potential
    assert relative_error(potential.energy(x), W) < 1e-3
    assert relative_error(potential.gradient(x)[:, 0], g) < 3e-3
    curvature = np.radians(1.0) ** 2 * (-45.0 * np.cos(3.0 * np.radians(x)) - 2.0 * np.cos(np.radians(x) - 0.4))
    assert relative_error(potential.hessian(x)[:, 0], curvature) < 0.02
    for name in ("energy", "gradient", "hessian"):
        value = getattr(potential, name)
        assert relative_error(value(x + 720.0), value(x)) < 1e-11


def test_the_three_wells_and_all_barriers_between_them_are_found_also_across_the_period(fitted):
    box = fitted.potential.training_box
    assert box.upper[0] - box.lower[0] == pytest.approx(360.0)  # the data go all the way round
    land = lse.analysis.landscape(fitted.potential, box.lower, box.upper)
    degrees = np.linspace(-180.0, 180.0, 36_000, endpoint=False)
    W = torsion(degrees)[0]
    before, after = np.roll(W, 1), np.roll(W, -1)
    inner = np.flatnonzero((before > W) & (after > W))
    assert len(land.wells) == len(inner) == 3
    places = np.sort([np.mod(well.x[0], 360.0) for well in land.wells])
    np.testing.assert_allclose(places, np.sort(np.mod(degrees[inner], 360.0)), atol=0.3)
    tops = np.sort(W[(before < W) & (after < W)])
    np.testing.assert_allclose([saddle.energy for saddle in land.saddles], tops, atol=0.02)
    assert np.isfinite(land.barriers).all()


def test_a_file_of_it_is_read_shown_and_drawn(fitted, tmp_path, capsys):
    path = tmp_path / "torsion.safetensors"
    lse.save(fitted.potential, path)
    back, x = lse.load_potential(path), np.linspace(-300.0, 300.0, 50)[:, None]
    assert np.array_equal(back.hessian(x), fitted.potential.hessian(x))
    for command in (["show"], ["check"], ["plot", "-o", str(tmp_path / "t.png")]):
        assert run([command[0], str(path), *command[1:]]) == OK
    assert "periods" in capsys.readouterr().out


def test_an_angle_beside_a_length_and_a_table_of_both(tmp_path):
    rng = np.random.default_rng(2)
    x = np.stack([rng.uniform(-180.0, 180.0, 120), rng.normal(size=120) * 1e-3], axis=1)  # degrees and metres
    energy = np.cos(np.radians(x[:, 0])) * (1.0 + 100.0 * x[:, 1]) + 2e5 * x[:, 1] ** 2
    one = Architecture(modes=1, width=4)
    result = fit(
        lse.Samples(x=x, energy=energy), periods=(360.0, None), architecture=one, training=QUICK, progress=False
    )
    assert result.error(lse.Samples(x=x + np.array([360.0, 0.0]), energy=energy)).energy < 0.02
    assert result.potential.modes[0].convex_inputs == (1,)
    lse.write_samples(lse.Samples(x=x, energy=energy), tmp_path / "rows.csv")
    short = ["--training-restarts", "1", "--training-adam-steps", "100", "--modes", "1", "--periods", "360,none"]
    assert run(["fit", str(tmp_path / "rows.csv"), "-o", str(tmp_path / "p.safetensors"), *short]) == OK
    np.testing.assert_array_equal(
        lse.load_potential(tmp_path / "p.safetensors").modes[0].periods, [2.0 * np.pi, np.inf]
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"periods": [360.0, 360.0]}, "2 entries for 1 inputs"),
        ({"periods": [-1.0]}, "a number > 0, or None"),
        ({"periods": ["360"]}, "a number > 0, or None"),
        ({"periods": 360.0}, "must be a list with an entry for each input"),
        ({"periods": [360.0], "architecture": Architecture(1, stress_free=True)}, "stress_free"),
    ],
)
def test_periods_that_make_no_sense_are_refused(options, message):
    x = np.linspace(0.0, 1.0, 30)[:, None]
    with pytest.raises(lse.InvalidInputError, match=message):
        fit(lse.Samples(x=x, energy=x[:, 0] ** 2), **options, training=SHORT, progress=False)


def test_inputs_and_periods_in_other_units_are_reported():
    x = np.linspace(0.0, 360.0, 40)[:, None]
    for data, period, share in ((x, 2.0 * np.pi, "57"), (np.radians(x), 360.0, "0.017")):
        samples = lse.Samples(x=data, energy=np.cos(np.radians(x[:, 0])))
        with pytest.warns(
            lse.fit.DataWarning, match=f"spans {share} of its periods of .*in degrees, or both in radians"
        ):
            fit(samples, periods=[period], training=SHORT, progress=False)


def test_a_network_that_does_not_fit_its_circles_is_refused():
    bowl = lse.ConvexNetwork.from_arrays([], [[[-1.0, 0.0]]], [[0.0]])
    for angles, scale, message in (
        ((True, False), np.ones(2), "network has 2 inputs"),
        ((True,), np.array([1.0, 0.0]), "> 0"),
        ((1,), np.ones(2), "True or False"),
    ):
        with pytest.raises(lse.InvalidInputError, match=message):
            lse.model.PeriodicNetwork(bowl, angles, np.zeros(2), scale)
