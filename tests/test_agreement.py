"""One formula, several translations: NumPy, torch, compiled UFL, external operators and compiled C say the same."""

from itertools import product

import numpy as np
import pytest

import lse_material as lse
from tests.materials import STRAIN_MEASURES, random_deformations, random_material, random_potential
from tests.translations import (
    BOUNDS,
    TRANSLATIONS,
    assert_agreement,
    by_compiled_c,
    by_expanded_ufl,
    by_expanded_ufl_stress,
    by_external_operator,
    by_torch,
    by_ufl,
    by_ufl_stress,
    compiled_potential,
    expanded_ufl_potential,
    torch_potential,
    ufl_potential,
)

POINTS = 24
RHOS = (1e-3, 0.1, 10.0)


def deformations_near_ridges(rng, material, n):
    """Half of the points anywhere, half by bisection on ridges, where two modes weigh the same."""
    F = random_deformations(rng, n, material.dim)
    k = material.mode_weights(F).argmax(axis=1)
    for i in range(n // 2):
        others = np.flatnonzero(k != k[i])
        if not len(others):
            break
        a, b = F[i], F[others[0]]
        for _ in range(60):
            middle = (a + b) / 2
            a, b = (middle, b) if material.mode_weights(middle[None]).argmax() == k[i] else (a, middle)
        F[i] = a
    return F


EVERY = [
    pytest.param(*pair, marks=[] if sum(numbers) % 2 else pytest.mark.slow)
    for numbers, pair in zip(
        np.ndindex(len(STRAIN_MEASURES), 2), product(STRAIN_MEASURES, ("softplus", "squared_softplus"))
    )
]


@pytest.mark.parametrize("rho", RHOS)
@pytest.mark.parametrize(("kinematics", "activation"), EVERY, ids=repr)
def test_what_evaluates_arrays_agrees(kinematics, activation, rho):
    rng = np.random.default_rng(kinematics.size)
    material = random_material(rng, kinematics, activation=activation, rho=rho, width=5, depth=2, equal_widths=True)
    F = deformations_near_ridges(rng, material, 40)
    assert_agreement(material, F, by_torch, by_external_operator, by_compiled_c)


@pytest.mark.parametrize(("number", "kinematics"), list(enumerate(STRAIN_MEASURES)))
def test_compiled_ufl_agrees(number, kinematics):
    rng = np.random.default_rng(number)
    activation = ("softplus", "squared_softplus")[(number + number // 2) % 2]
    growth = lse.Growth(0.5) if number % 3 == 0 else None
    material = random_material(
        rng, kinematics, modes=2, width=3, depth=1, activation=activation, rho=RHOS[number % 3], growth=growth
    )
    F = deformations_near_ridges(rng, material, 40)
    if kinematics.monotone_inputs:  # written once on scalars, as all the others: one route of each kind is enough
        assert_agreement(material, F, by_ufl_stress, *([by_expanded_ufl_stress] if kinematics.dim == 2 else []))
        return
    assert_agreement(material, F, by_ufl, by_ufl_stress, by_expanded_ufl, by_expanded_ufl_stress)


@pytest.mark.parametrize("rho", RHOS)
@pytest.mark.parametrize("activation", ["softplus", "squared_softplus"])
def test_arguments_up_to_a_thousand_agree_and_stay_finite(activation, rho):
    """Energy, gradient and Hessian in x itself, for x from 1e-3 to 1e3 in every direction."""
    rng = np.random.default_rng(7)
    potential = random_potential(rng, 3, rho=rho, activation=activation, depth=1, width=4, scaled=False)
    x = rng.normal(size=(60, 3)) * np.logspace(-3, 3, 60)[:, None]
    x[-3:] = [1e3, 1e3, 1e3], [-1e3, -1e3, -1e3], [1e3, -1e3, 0.0]
    exact = {"W": potential.energy(x), "P": potential.gradient(x), "A": potential.hessian(x)}
    for translation in (torch_potential, ufl_potential, expanded_ufl_potential, compiled_potential):
        got = translation(potential, x)
        for name, values in exact.items():
            assert np.isfinite(values).all()
            error = np.abs(got[name] - values).max(axis=tuple(range(1, values.ndim)))
            size = np.abs(values).max(axis=tuple(range(1, values.ndim)))
            assert (error <= BOUNDS[name] * size).all(), f"{name} by {translation.__name__}: {(error / size).max():.1e}"


def test_vanishing_arguments_keep_their_second_derivatives():
    """At F = I with zero biases every softplus argument and every difference of modes is 0: where UFL's abs has no slope."""
    rng = np.random.default_rng(3)
    weights = rng.normal(size=(4, 3))
    modes = tuple(
        lse.ConvexNetwork.from_arrays(
            [np.full((1, 4), 0.7)], [s * weights, np.zeros((1, 3))], [np.zeros(4), np.zeros(1)]
        )
        for s in (1.0, -0.5)
    )
    material = lse.Material(lse.SoftMinimum(modes, 0.2), lse.GreenLagrange(2))
    assert_agreement(material, np.eye(2)[None], *TRANSLATIONS)
