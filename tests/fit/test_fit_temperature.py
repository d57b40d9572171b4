"""Fits of materials that depend on a temperature: a falling modulus, wells that exchange stability, a heat capacity."""

import numpy as np
import pytest

import lse_material as lse
from lse_material.analysis import verify
from lse_material.fit import Architecture, Temperature, TrainablePotential, Training, fit
from lse_material.fit.optimise import jacobian
from tests.fit.short_fits import random_trainable
from tests.materials import quadratic_well, random_deformations, relative_error, softening

import torch  # isort: skip

QUICK = Training(restarts=1, adam_steps=300, lbfgs_steps=300)
TEMPERATURES = (300.0, 330.0, 350.0, 380.0, 400.0)


def samples_of(material, temperatures=TEMPERATURES, n=40, seed=0, caloric=None, **fields):
    """Rows of a material of T, or of T and other fields, at some temperatures."""
    rng = np.random.default_rng(seed)
    T = np.repeat(temperatures, n)[:, None]
    F = random_deformations(rng, len(T), material.dim, 0.1)
    values = np.concatenate([T, *(rng.uniform(*between, (len(T), 1)) for between in fields.values())], axis=1)
    arrays = {name: getattr(material, name)(F, values) for name in ("energy", "stress", "conjugates")}
    return lse.Samples(F=F, **arrays, fields=values, field_names=material.fields)


def transforming(entropy=0.002, caloric=None):
    """Two wells in E11, of which one has the lower energy below 350, the other above."""
    stiffness = np.diag([4.0, 4.0, 2.0])
    modes = [
        lse.InterpolatedNetwork(
            *(quadratic_well(centre, stiffness, sign * entropy * 50.0 * end) for end in (-1.0, 1.0))
        )
        for centre, sign in (([0.1, 0.0, 0.0], 1.0), ([-0.1, 0.0, 0.0], -1.0))
    ]
    scales = [300.0, 0.0, 0.0, 0.0], [100.0, 1.0, 1.0, 1.0]
    potential = lse.SoftMinimum(tuple(modes), 0.005, *scales)
    return lse.Material(potential, lse.GreenLagrange(2), fields=("T",), caloric=caloric)


@pytest.mark.parametrize("depth", [0, 1, 2])
@pytest.mark.parametrize("quadratic", [True, False])
def test_the_jacobian_of_its_modes_is_that_of_reverse_differentiation(depth, quadratic):
    model = random_trainable(
        3, size=4, modes=3, depth=depth, width=5, quadratic=quadratic, mode_type="InterpolatedNetwork"
    )
    x, names = torch.rand(30, 4, dtype=torch.float64), [name for name, _ in model.named_parameters()]
    energy, gradient, J = jacobian.values_and_jacobian(model, x, names)
    assert relative_error(J.numpy(), jacobian.differentiated(model, x, names).numpy()) < 1e-13
    again = TrainablePotential.from_potential(model.to_potential())
    np.testing.assert_allclose(again(x)[1].detach().numpy(), gradient.numpy(), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(model.to_potential().energy(x.numpy()), energy.numpy(), rtol=1e-9, atol=1e-9)


def test_a_falling_modulus_is_met_between_the_temperatures_of_the_data():
    exact = softening(2.0, 1.0)
    result = fit(
        samples_of(exact),
        kinematics=exact.kinematics,
        architecture=Architecture(modes=1, depth=0),
        parameters={"T": Temperature()},
        training=Training(restarts=1, adam_steps=300),
        progress=False,
    )
    fitted, test = result.material, samples_of(exact, (312.0, 341.0, 377.0), seed=1)
    assert (fitted.fields, fitted.kinds, fitted.ranges) == (("T",), {"T": "temperature"}, {"T": (300.0, 400.0)})
    errors = result.error(test)
    assert max(errors.energy, errors.stress, errors.conjugates) < 1e-6
    modulus = fitted.at(T=325.0).tangent(np.eye(2))[0, 0, 0, 0]
    assert modulus == pytest.approx(1.75, rel=1e-6)


def test_wells_exchange_stability_at_the_transition_temperature():
    exact = transforming()
    result = fit(
        samples_of(exact),
        kinematics=exact.kinematics,
        architecture=Architecture(modes="auto", max_modes=4),
        parameters={"T": Temperature()},
        progress=False,
    )
    fitted = result.material
    assert fitted.modes == 2
    assert all(check.passed for check in verify(fitted))
    F = [np.diag([np.sqrt(1.0 + 2.0 * e), 1.0]) for e in (0.1, -0.1)]

    def gap(T):
        return float(fitted.energy(F[0], [T]) - fitted.energy(F[1], [T]))

    assert gap(349.5) < 0.0 < gap(350.5)
    entropy = np.ptp([float(fitted.entropy(each, [350.0])) for each in F])
    assert entropy == pytest.approx(2.0 * 0.002, rel=0.02)
    assert fitted.transition_scale == pytest.approx(0.005, rel=0.05)


@pytest.mark.parametrize("given", ["auto", 0.05])
def test_a_heat_capacity_is_fitted_or_taken_off(given):
    exact = transforming(caloric=lse.Caloric(0.05, 300.0))
    result = fit(
        samples_of(exact),
        kinematics=exact.kinematics,
        architecture=Architecture(modes=2, depth=0),
        parameters={"T": Temperature(heat_capacity=given, reference=300.0)},
        training=Training(restarts=2, adam_steps=300),
        progress=False,
    )
    assert result.material.caloric.heat_capacity == pytest.approx(0.05, rel=1e-3 if given == "auto" else 1e-15)
    errors = result.error(samples_of(exact, (315.0, 370.0), seed=3))
    assert max(errors.energy, errors.stress, errors.conjugates) < 5e-3


def test_other_fields_come_after_the_temperature_and_names_say_which_is_which():
    rng = np.random.default_rng(5)
    ends = (quadratic_well(0.1 * rng.normal(size=4), np.diag(rng.uniform(1.0, 3.0, 4))) for _ in range(2))
    potential = lse.SoftMinimum((lse.InterpolatedNetwork(*ends),), 1.0, [300.0, 0, 0, 0, 0], [100.0, 1, 1, 1, 1])
    exact = lse.Material(potential, lse.GreenLagrange(2), fields=("T", "c"))
    samples = samples_of(exact, c=(0.0, 0.5)).with_fields(("c", "T"))
    result = fit(
        samples,
        kinematics=exact.kinematics,
        architecture=Architecture(modes=1, depth=0),
        parameters={"T": Temperature(290.0, 410.0)},
        training=QUICK,
        progress=False,
    )
    assert result.material.fields == ("T", "c")
    assert result.material.kinds == {"T": "temperature", "c": "convex"}
    assert result.material.ranges == {"T": (290.0, 410.0)}
    assert result.error(samples).worst < 1e-5


def test_a_fit_goes_on_from_an_earlier_one_and_keeps_its_range():
    exact = transforming(caloric=lse.Caloric(0.05, 300.0))
    samples = samples_of(exact)
    options = {"kinematics": exact.kinematics, "training": QUICK, "progress": False}
    parameters = {"T": Temperature(290.0, 410.0, heat_capacity=0.05, reference=300.0)}
    first = fit(samples, **options, parameters=parameters, architecture=Architecture(modes=2, depth=0))
    second = fit(samples, **options, start=first.material)
    with pytest.raises(lse.InvalidInputError, match=r"have the fields \['T'\], not \['c'\]"):
        fit(samples, **options, start=lse.Material(first.potential, exact.kinematics, fields=("c",)))
    assert second.material.ranges == {"T": (290.0, 410.0)}
    assert second.material.caloric == first.material.caloric
    assert second.train_errors.worst <= 1.01 * first.train_errors.worst


def test_a_potential_of_points_takes_its_first_input():
    rng = np.random.default_rng(6)
    x = np.column_stack([rng.uniform(0.0, 2.0, 200), rng.uniform(-1.0, 1.0, 200)])
    T, e = x.T
    samples = lse.Samples(x=x, energy=0.5 * (3.0 - T) * e**2, gradient=np.column_stack([-0.5 * e**2, (3.0 - T) * e]))
    options = {"architecture": Architecture(modes=1, depth=0), "training": QUICK, "progress": False}
    result = fit(samples, parameters={"x1": Temperature(0.0, 2.0)}, **options)
    assert result.error(samples).worst < 1e-6
    assert result.potential.kinds == ("temperature", "convex")
    convex = fit(samples, **options)
    assert convex.error(samples).worst > 0.05


@pytest.mark.parametrize(
    ("parameters", "options", "message"),
    [
        ({"t": Temperature()}, {}, r"no field 't'; their fields are \['T'\]"),
        ({"T": "temperature"}, {}, "take one lse.fit.Temperature"),
        ({"T": Temperature(310.0, 400.0)}, {}, "T in row 0 is 300, outside its range, 310 to 400"),
        ({"T": Temperature(heat_capacity="auto")}, {"growth": "auto"}, "not fitted together with a growth"),
        ({"T": Temperature()}, {"architecture": Architecture(stress_free=True)}, "at which values"),
        (None, {"architecture": Architecture(mode_type="InterpolatedNetwork")}, "need the names of parameters"),
    ],
)
def test_what_cannot_be_is_said(parameters, options, message):
    exact = transforming()
    with pytest.raises(lse.InvalidInputError, match=message):
        fit(samples_of(exact), kinematics=exact.kinematics, parameters=parameters, progress=False, **options)


def test_a_range_must_be_one():
    exact = transforming()
    one = samples_of(exact, (300.0,))
    with pytest.raises(lse.InvalidInputError, match="is 300 in all rows"):
        fit(one, kinematics=exact.kinematics, parameters={"T": Temperature()}, progress=False)
    with pytest.raises(lse.InvalidInputError, match="it is empty"):
        Temperature(400.0, 300.0)
    with pytest.raises(lse.InvalidInputError, match="must be a number"):
        Temperature("low")
