"""Fits that begin with an earlier one: what goes on, and what is refused because it would change it."""

import numpy as np
import pytest

import lse_material as lse
from lse_material.fit import Design, Temperature, Training, fit
from tests.fit.short_fits import SHORT
from tests.materials import random_deformations, samples_of, two_variants, two_wells

G = lse.GreenLagrange(2)
STILL = Training(restarts=1, adam_steps=0, lbfgs_steps=0, validation=0.0)
F = random_deformations(np.random.default_rng(5), 40, 2, 0.1)
T = np.linspace(250.0, 350.0, 40)[:, None]
ENERGY, STRESS = two_variants().energy(F), two_variants().stress(F)
PLAIN = lse.Samples(F=F, energy=ENERGY, stress=STRESS)
HOT = lse.Samples(F=F, energy=ENERGY, stress=STRESS, fields=T, field_names=("T",))


def short(samples, **options):
    return fit(samples, **{"kinematics": G, "training": SHORT, "progress": False, **options})


def test_without_a_step_a_fit_is_its_start():
    first = short(PLAIN, growth=lse.Growth(0.3)).material
    again = short(PLAIN, start=first, training=STILL).material
    assert again.growth == lse.Growth(0.3)
    np.testing.assert_allclose(again.energy(F), first.energy(F), rtol=1e-12, atol=1e-13 * np.ptp(ENERGY))
    np.testing.assert_allclose(again.stress(F), first.stress(F), rtol=1e-10, atol=1e-11 * np.abs(STRESS).max())


def test_a_temperature_goes_on_with_its_range_and_its_heat_capacity():
    first = short(HOT, parameters={"T": Temperature(200.0, 400.0, heat_capacity=1e-3)}).material
    for parameters in (None, {"T": Temperature()}, {"T": Temperature(200.0, 400.0)}):
        again = short(HOT, start=first, training=STILL, parameters=parameters).material
        assert again.ranges == {"T": (200.0, 400.0)}
        assert again.caloric == first.caloric
    with pytest.raises(lse.InvalidInputError, match="convex for T from 200 to 400"):
        short(HOT, start=first, parameters={"T": Temperature(200.0, 500.0)})


@pytest.mark.parametrize(
    ("of_start", "again"), [(None, Temperature()), (Temperature(), Design()), (Design(), Temperature())]
)
def test_a_parameter_of_another_kind_is_refused(of_start, again):
    first = short(HOT, parameters=None if of_start is None else {"T": of_start}).material
    with pytest.raises(lse.InvalidInputError, match=r"keeps its parameters, and T is not the .* of any"):
        short(HOT, start=first, parameters={"T": again})


def test_a_start_of_other_inputs_is_refused():
    options = {"kinematics": None, "training": SHORT}
    of_two = short(samples_of(two_wells(2), 30, 0), **options)
    with pytest.raises(lse.InvalidInputError, match=r"`start` is of 2 inputs .* the data have 3"):
        short(samples_of(two_wells(3), 30, 0), start=of_two.potential, **options)
    with pytest.raises(lse.InvalidInputError, match=r"give the material, result\.material"):
        short(PLAIN, start=short(PLAIN).potential)
    x = np.random.default_rng(0).uniform(0.0, 360.0, (30, 1))
    round_a_circle = lse.Samples(x=x, energy=np.cos(np.deg2rad(x[:, 0])))
    periodic = short(round_a_circle, periods=[360.0], **options)
    with pytest.raises(lse.InvalidInputError, match="`start` is periodic"):
        short(round_a_circle, start=periodic.potential, **options)
