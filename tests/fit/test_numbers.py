"""The size of numbers: units and weights of any size that squares can hold, and refusals beyond."""

import numpy as np
import pytest

import lse_material as lse
from lse_material.fit import fit, leave_one_group_out
from tests.fit.short_fits import SHORT
from tests.materials import random_deformations, two_variants

G = lse.GreenLagrange(2)
F = random_deformations(np.random.default_rng(8), 40, 2, 0.1)
W, P = two_variants().energy(F), two_variants().stress(F)
OPTIONS = {"kinematics": G, "training": SHORT, "progress": False}


@pytest.mark.parametrize("size", [5e-324, 1e-310, 1e308])
def test_only_ratios_of_weights_matter(size):
    weight = size * np.ones(40)
    plain, weighted = (fit(lse.Samples(F=F, energy=W, stress=P, weight=w), **OPTIONS) for w in (None, weight))
    assert weighted.train_errors == plain.train_errors
    np.testing.assert_allclose(weighted.material.energy(F), plain.material.energy(F), rtol=1e-9)


@pytest.mark.parametrize("unit", [1e-200, 1e200])
def test_values_whose_squares_are_no_numbers_are_refused(unit):
    with pytest.raises(lse.InvalidInputError, match=r"energies are up to .* give another unit"):
        fit(lse.Samples(F=F, energy=unit * W, stress=unit * P), **OPTIONS)
    with pytest.raises(lse.InvalidInputError, match=r"inputs x are up to .* give another unit"):
        fit(lse.Samples(x=unit * F[:, 0], energy=W), progress=False)
    tests = lse.Observations.uniaxial(np.linspace(0.8, 1.4, 12), unit * np.linspace(-0.2, 0.4, 12))
    with pytest.raises(lse.InvalidInputError, match=r"observed values .* give another unit"):
        fit(tests, kinematics=lse.PrincipalInvariants(3), progress=False)


def test_errors_of_rows_without_stress_do_not_depend_on_the_unit():
    """A group at rest, left out: its error is measured by the scales of the fit."""
    at_rest = np.arange(40) < 12
    stress, energy = np.where(at_rest[:, None, None], 0.0, P), np.where(at_rest, 0.0, W)
    found = []
    for unit in (1.0, 1e-18, 1e9):
        samples = lse.Samples(F=F, energy=unit * energy, stress=unit * stress, group=np.minimum(np.arange(40) // 12, 2))
        left_out = leave_one_group_out(samples, **OPTIONS)
        found.append([left_out.errors["0"].energy, left_out.errors["0"].stress, left_out.stress])
    np.testing.assert_allclose(found[1:], [found[0]] * 2, rtol=1e-3)
    assert found[0][2] > 0.05  # what is wrong with stresses that should be 0 counts among all
