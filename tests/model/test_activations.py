"""Activations: their limits, their derivatives, and what makes a network convex."""

from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lse_material.model import ACTIVATIONS
from lse_material.model.activations import activated

NAMES = sorted(ACTIVATIONS)
MODERATE = st.floats(-700.0, 700.0)


def arrays(*values):
    return np.array(values, dtype=float)


def exact_values(name, a):
    """Value, slope and curvature in 400-digit arithmetic; the derivatives by differences that err by 1e-30."""
    h = Decimal("1e-15")

    def value(v):
        s = (1 + v.exp()).ln()
        return {"softplus": s, "squared_softplus": s * s / 2}[name]

    with localcontext() as context:
        context.prec = 400  # 1 + exp(-300) needs 131 digits, and its second difference 30 more
        v = Decimal(a)
        low, middle, high = value(v - h), value(v), value(v + h)
        return float(middle), float((high - low) / (2 * h)), float((high - 2 * middle + low) / (h * h))


@pytest.mark.parametrize("name", NAMES)
def test_value_slope_and_curvature_are_exact_to_rounding_against_many_digits(name):
    a = np.concatenate([np.linspace(-40.0, 40.0, 33), arrays(-300.0, -100.0, 0.1, 100.0, 300.0)])
    value, slope, curvature = np.array([exact_values(name, v) for v in a]).T
    for got, exact in zip(activated(name, a), (value, slope, curvature)):
        np.testing.assert_allclose(got, exact, rtol=2e-15)


def test_limits_of_softplus_for_any_argument():
    a = arrays(-1e300, -1e3, 1e3, 1e300)
    value, slope, curvature = activated("softplus", a)
    np.testing.assert_array_equal(value, [0.0, 0.0, 1e3, 1e300])
    np.testing.assert_array_equal(slope, [0.0, 0.0, 1.0, 1.0])
    np.testing.assert_array_equal(curvature, np.zeros(4))


def test_limits_of_squared_softplus_for_any_argument():
    value = activated("squared_softplus", arrays(-1e300, -1e3, 1e3, 1e150))[0]
    np.testing.assert_allclose(value, [0.0, 0.0, 5e5, 5e299], rtol=1e-15)
    a = arrays(-1e300, -1e3, 1e3, 1e300)  # 1e300 squared is no float64, but slope and curvature are
    with np.errstate(over="ignore"):
        _, slope, curvature = activated("squared_softplus", a)
    np.testing.assert_array_equal(slope, [0.0, 0.0, 1e3, 1e300])
    np.testing.assert_array_equal(curvature, [0.0, 0.0, 1.0, 1.0])


@given(MODERATE)
def test_identities_of_softplus_and_sigmoid(a):
    a = arrays(a)
    (value, sigmoid, curvature), (mirrored, other, _) = activated("softplus", a), activated("softplus", -a)
    np.testing.assert_allclose(value - mirrored, a, rtol=1e-15, atol=1e-15)
    np.testing.assert_allclose(sigmoid + other, 1.0, rtol=1e-15)
    np.testing.assert_allclose(curvature, sigmoid * other, rtol=1e-14, atol=1e-300)


@pytest.mark.parametrize("name", NAMES)
@given(a=st.floats(-1e3, 1e3), b=st.floats(-1e3, 1e3), t=st.floats(0.0, 1.0))
def test_activations_are_convex_and_non_decreasing(name, a, b, t):
    left, right = sorted((a, b))
    (low, *_), (high, steepest, _) = activated(name, arrays(left)), activated(name, arrays(right))
    assert low <= high * (1.0 + 1e-15)
    between = activated(name, arrays(t * left + (1.0 - t) * right))[0]
    # rounding of t left + (1-t) right moves the argument by eps |a|, hence f by eps |a| f'
    slack = 1e-15 * (high + 2e3 * steepest)
    assert between <= t * low + (1.0 - t) * high + slack
    _, slope, curvature = activated(name, arrays(a))
    assert slope >= 0.0
    assert curvature >= 0.0


@pytest.mark.parametrize("name", NAMES)
def test_nan_goes_in_and_comes_out(name):
    assert np.isnan(activated(name, arrays(np.nan))).all()
