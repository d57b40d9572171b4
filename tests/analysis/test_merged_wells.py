"""Two equal parabolas share a well from rho = E e^2/4 on, exactly."""

import numpy as np
import pytest

import lse_material as lse
from lse_material.analysis import merged_modes


def parabola(centre, level=0.0, stiffness=2.0):
    root = np.array([[np.sqrt(stiffness)]])
    height = 0.5 * stiffness * centre**2 + level
    return lse.ConvexNetwork.from_arrays([], [[[-stiffness * centre]]], [[height]], quadratic=root)


@pytest.mark.parametrize(("share", "merged"), [(0.5, False), (0.97, False), (1.03, True), (4.0, True)])
def test_two_parabolas_merge_at_the_exact_scale(share, merged):
    critical = 2.0 * 0.6**2 / 4.0
    potential = lse.SoftMinimum((parabola(0.1), parabola(0.7)), share * critical, energy_scale=3.0)
    found = merged_modes(potential)
    assert bool(found) == merged
    if merged:
        assert found[0].modes == (0, 1)
        assert found[0].ridge == pytest.approx(3.0 * critical / 2.0, rel=1e-3)
        assert found[0].transition_scale == pytest.approx(3.0 * share * critical)


def test_three_modes_of_which_two_merge_are_named():
    modes = parabola(-1.0), parabola(0.0), parabola(0.25)
    (pair,) = merged_modes(lse.SoftMinimum(modes, 0.1), [-2.0], [2.0])
    assert pair.modes == (1, 2)
    assert str(pair).startswith("modes 1 and 2 share a well: the ridge")
    assert merged_modes(lse.SoftMinimum(modes[:2], 0.1)) == ()


def test_a_mode_above_another_has_no_well_at_any_scale():
    potential = lse.SoftMinimum((parabola(0.0), parabola(0.1, level=1.0)), 1e-3)
    (pair,) = merged_modes(potential)
    assert pair.ridge == 0.0
    assert "at any transition scale" in str(pair)
    slope = lse.ConvexNetwork.from_arrays([], [[[1.0]]], [[0.0]])
    assert merged_modes(lse.SoftMinimum((parabola(0.0), slope), 1e-3)) == ()
    with pytest.raises(lse.InvalidInputError, match="corner"):
        merged_modes(potential, lower=[0.0])
