"""Fits of materials that depend on a temperature and on a porosity together: closed forms, met between the data."""

import numpy as np
import pytest
import torch

import lse_material as lse
from lse_material.analysis import check_concavity, check_symmetry, wells
from lse_material.fit import Architecture, Design, Temperature, TrainablePotential, Training, fit
from tests.materials import random_deformations, relative_error, temperature_and_design_material

TOGETHER = {"x1": Temperature(250.0, 310.0), "x2": Design()}


def grid(temperatures, porosities, strains, seed):
    """Each pair of temperature and porosity with as many random strains of an interval."""
    T, p = (each.ravel() for each in np.meshgrid(temperatures, porosities))
    T, p = np.repeat(T, strains[0]), np.repeat(p, strains[0])
    return T, p, np.random.default_rng(seed).uniform(*strains[1], len(T))


def bar(temperatures, porosities, seed):
    """E e^2/2 with E = E_0 (1 - t) + E_1 t, E_0 = 2 + cos(2 p), E_1 = 1 + p^2/2: at high p the bar hardens when heated."""
    T, p, e = grid(temperatures, porosities, (6, (-1.0, 1.0)), seed)
    t, cold, hot = (T - 250.0) / 60.0, 2.0 + np.cos(2.0 * p), 1.0 + 0.5 * p**2
    E, slope = (1.0 - t) * cold + t * hot, (t - 1.0) * 2.0 * np.sin(2.0 * p) + t * p
    gradient = np.column_stack([(hot - cold) / 60.0 * e**2 / 2.0, slope * e**2 / 2.0, E * e])
    return lse.Samples(x=np.column_stack([T, p, e]), energy=E * e**2 / 2.0, gradient=gradient)


def transforming_bar(temperatures, porosities, seed, rho=0.02):
    """Austenite 3 (1 - p)^2 e^2/2, martensite (1 - p)^2 (e - 1)^2 + 0.01 (1 - p) (T - T0), T0 = 275 + 20 p."""
    T, p, e = grid(temperatures, porosities, (10, (-0.5, 1.5)), seed)
    dense, away = 1.0 - p, T - 275.0 - 20.0 * p
    one, other = 1.5 * dense**2 * e**2, dense**2 * (e - 1.0) ** 2 + 0.01 * dense * away
    energy = -rho * np.logaddexp(-one / rho, -other / rho)
    share = np.exp((energy - other) / rho)[:, None]
    first = np.column_stack([0.0 * e, -3.0 * dense * e**2, 3.0 * dense**2 * e])
    by_p = -2.0 * dense * (e - 1.0) ** 2 - 0.01 * away - 0.2 * dense
    second = np.column_stack([0.01 * dense, by_p, 2.0 * dense**2 * (e - 1.0)])
    gradient = (1.0 - share) * first + share * second
    return lse.Samples(x=np.column_stack([T, p, e]), energy=energy, gradient=gradient)


@pytest.mark.slow
def test_a_modulus_of_temperature_and_porosity_is_learnt():
    result = fit(
        bar([250.0, 280.0, 310.0], np.linspace(0.0, 2.0, 8), 0),
        architecture=Architecture(modes=1, width=4),
        parameters={"x2": Design(), "x1": Temperature(250.0, 310.0)},  # in any order
        training=Training(restarts=1, adam_steps=300, lbfgs_steps=400, validation=0.0),
        progress=False,
    )
    assert result.potential.kinds == ("temperature", "design", "convex")
    errors = result.error(bar([262.0, 295.0], [0.4, 1.0, 1.7], 1))
    assert errors.stress < 0.02
    assert errors.energy < 0.02
    model = TrainablePotential.from_potential(result.potential)
    x = np.random.default_rng(2).uniform(size=(5, 3))
    assert relative_error(model(torch.tensor(x))[0].detach().numpy(), model.to_potential().energy(x)) < 1e-12


@pytest.mark.slow
def test_wells_exchange_stability_at_a_temperature_that_depends_on_the_porosity():
    result = fit(
        transforming_bar([250.0, 265.0, 280.0, 295.0, 310.0], np.linspace(0.0, 0.5, 6), 0),
        architecture=Architecture(modes=2, width=4),
        parameters=TOGETHER,
        training=Training(restarts=2, adam_steps=500, lbfgs_steps=500, validation=0.0),
        progress=False,
    )
    assert result.error(transforming_bar([262.0, 287.0], [0.12, 0.33], 1)).stress < 0.02

    def difference(T, p):
        """Energy of the martensite well less that of austenite."""
        found = sorted((float(w.x[0]), w.energy) for w in wells(result.potential.at([T, p]), [-0.5], [1.5]))
        assert len(found) == 2
        return found[1][1] - found[0][1]

    for p in (0.15, 0.35):
        low, high = difference(270.0, p), difference(290.0, p)
        assert 270.0 - 20.0 * low / (high - low) == pytest.approx(275.0 + 20.0 * p, abs=0.3)
        assert (high - low) / 20.0 == pytest.approx(0.01 * (1.0 - p), rel=0.03)  # the entropy of the transformation


def test_a_symmetry_and_a_caloric_term_go_with_both():
    exact = temperature_and_design_material(modes=1)
    rng = np.random.default_rng(3)
    T, p = (np.repeat(each.ravel(), 8) for each in np.meshgrid([255.0, 280.0, 305.0], [0.1, 0.3, 0.5]))
    F, fields = random_deformations(rng, len(T), 2, 0.1), np.column_stack([p, T])  # columns in another order
    F[:, 0, 1] = F[:, 1, 0] = 0.5 * (F[:, 0, 1] + F[:, 1, 0])
    e = F - np.eye(2)
    soft, known = (1.0 - p) ** 2 * (2.0 - (T - 250.0) / 60.0), exact.caloric.energy(T)
    samples = lse.Samples(
        F=F, energy=soft * (e**2).sum(axis=(1, 2)) + known, stress=2.0 * soft[:, None, None] * e, fields=fields,
        field_names=("porosity", "T"),
    )  # fmt: skip
    options = {
        "kinematics": lse.SmallStrain(2),
        "symmetry": lse.Symmetry.crystal("square", "square", dim=2),
        "training": Training(restarts=1, adam_steps=50, lbfgs_steps=150, validation=0.0),
        "progress": False,
    }
    first = fit(
        samples,
        architecture=Architecture(modes=1, width=2),
        parameters={"porosity": Design(), "T": Temperature(250.0, 310.0, heat_capacity="auto", reference=273.0)},
        **options,
    )
    found = first.material
    assert found.kinds == {"T": "temperature", "porosity": "design"}
    assert found.ranges == {"T": (250.0, 310.0)}
    assert first.train_errors.worst < 0.03
    assert found.caloric.heat_capacity == pytest.approx(exact.caloric.heat_capacity, rel=0.2)
    held = found.at(T=290.0, porosity=0.2)
    assert check_symmetry(held, held.symmetry, F).passed
    assert check_concavity(found).passed


def test_a_fit_goes_on_from_both():
    start, rng = temperature_and_design_material(modes=1), np.random.default_rng(5)
    F, fields = random_deformations(rng, 80, 2), np.column_stack([rng.uniform(0.1, 0.5, 80), rng.uniform(255, 305, 80)])
    values = {name: getattr(start, name)(F, fields[:, ::-1]) for name in ("energy", "stress")}
    samples = lse.Samples(F=F, **values, fields=fields, field_names=("porosity", "T"))
    few = Training(restarts=1, lbfgs_steps=5)
    again = fit(samples, kinematics=start.kinematics, start=start, training=few, progress=False)
    assert again.material.kinds == start.kinds
    assert (again.material.ranges, again.material.caloric) == (start.ranges, start.caloric)
    assert again.train_errors.worst < 1e-6


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"x1": Temperature(), "x2": Temperature()}, "one lse.fit.Temperature at most"),
        ({"x1": Design(), "x2": Temperature()}, r"\['x1', 'x2'\], a temperature the first of them, not \['x2', 'x1'\]"),
        ({"x1": Temperature(), "x2": 0.3}, "by their names"),
        ({"x1": Temperature(260.0, 310.0), "x2": Design()}, "x1 in row 0 is 250, outside its range"),
    ],
)
def test_parameters_that_do_not_go_together_are_refused(parameters, message):
    with pytest.raises(lse.InvalidInputError, match=message):
        fit(bar([250.0, 310.0], [0.0, 1.0], 0), parameters=parameters, progress=False)
