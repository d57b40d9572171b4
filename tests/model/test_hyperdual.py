"""Hyper-dual numbers: derivatives of known functions, to rounding."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lse_material as lse
from lse_material.model import determinant, exp, inverse, log, sqrt, tensor
from lse_material.model.hyperdual import HyperDual, variables
from tests.materials import random_deformations

X, Y = np.array([0.3, 1.2, 2.5]), np.array([1.7, -0.4, 0.9])
# function, its gradient and its Hessian's entries 00, 01, 11, all in closed form
KNOWN = {
    "product": (lambda x, y: x * y, (Y, X), (0 * X, 1 + 0 * X, 0 * X)),
    "quotient": (lambda x, y: y / x, (-Y / X**2, 1 / X), (2 * Y / X**3, -1 / X**2, 0 * X)),
    "reciprocal": (lambda x, y: 2.0 / x - 3.0, (-2 / X**2, 0 * X), (4 / X**3, 0 * X, 0 * X)),
    "square": (lambda x, y: (x - y) ** 2, (2 * (X - Y), -2 * (X - Y)), (2 + 0 * X, -2 + 0 * X, 2 + 0 * X)),
    "cube": (lambda x, y: y**3, (0 * X, 3 * Y**2), (0 * X, 0 * X, 6 * Y)),
    "power": (lambda x, y: y * x ** (-2 / 3), (-2 / 3 * Y * X ** (-5 / 3), X ** (-2 / 3)), (
        10 / 9 * Y * X ** (-8 / 3), -2 / 3 * X ** (-5 / 3), 0 * X)),
    "root": (lambda x, y: sqrt(x), (0.5 / np.sqrt(X), 0 * X), (-0.25 * X**-1.5, 0 * X, 0 * X)),
    "logarithm": (lambda x, y: -log(x), (-1 / X, 0 * X), (1 / X**2, 0 * X, 0 * X)),
    "exponential": (lambda x, y: exp(x * y), (Y * np.exp(X * Y), X * np.exp(X * Y)), (
        Y**2 * np.exp(X * Y), (1 + X * Y) * np.exp(X * Y), X**2 * np.exp(X * Y))),
}  # fmt: skip


def derivatives(number, m, n):
    """Value, gradient and Hessian as full arrays."""
    first = np.zeros((m, n)) if number.first is None else number.first
    second = np.zeros((m, m, n)) if number.second is None else number.second
    return number.value, np.broadcast_to(first, (m, n)), np.broadcast_to(second, (m, m, n))


@pytest.mark.parametrize("name", KNOWN)
def test_known_functions_have_their_known_derivatives(name):
    function, gradient, (xx, xy, yy) = KNOWN[name]
    value, first, second = derivatives(function(*variables([X, Y], 2)), 2, 3)
    close = {"rtol": 2e-15, "atol": 1e-15}
    np.testing.assert_allclose(value, function(X, Y), **close)
    np.testing.assert_allclose(first, gradient, **close)
    np.testing.assert_allclose(second, [[xx, xy], [xy, yy]], **close)


@given(st.lists(st.floats(0.1, 10.0), min_size=4, max_size=4))
def test_exponential_and_logarithm_undo_each_other_with_all_derivatives(values):
    numbers = variables([np.array([v]) for v in values], 2)
    product = numbers[0] * numbers[1] / numbers[2] + numbers[3]
    for got, exact in zip(derivatives(exp(log(product)), 4, 1), derivatives(product, 4, 1)):
        np.testing.assert_allclose(got, exact, rtol=1e-11, atol=1e-11 * np.abs(exact).max())
    for got, exact in zip(derivatives(sqrt(product) ** 2, 4, 1), derivatives(product, 4, 1)):
        np.testing.assert_allclose(got, exact, rtol=1e-11, atol=1e-11 * np.abs(exact).max())


def test_powers_that_are_polynomials_are_exact_where_their_base_vanishes():
    (x,) = variables([np.zeros(1)], 2)
    for power, expected in ((0, (1, 0, 0)), (1, (0, 1, 0)), (2, (0, 0, 2)), (3, (0, 0, 0))):
        assert tuple(float(part.squeeze()) for part in derivatives(x**power, 1, 1)) == expected
    with pytest.raises(TypeError, match=r"exp\(b \* log\(a\)\)"):
        x**x


def test_what_is_the_same_at_all_points_is_kept_once():
    """The Hessian of a quadratic form is one matrix, however many points there are; that of a linear form is none."""
    x, y = variables([X, Y], 2)
    assert (x * y + 3.0 * x**2).second.shape == (2, 2, 1)
    assert (2.0 * x - y / 4.0).second is None
    assert (x * y).first.shape == (2, 3)
    x, y = variables([X, Y], 1)
    assert (x * y).second is None


@pytest.mark.parametrize("dim", [2, 3])
def test_a_matrix_times_its_inverse_is_the_identity_with_all_derivatives(dim):
    F = random_deformations(np.random.default_rng(0), 5, dim)
    A = tensor(variables(list(F.reshape(5, -1).T), 2), dim)
    for i, row in enumerate(A @ inverse(A)):
        for j, entry in enumerate(row):
            value, first, second = derivatives(entry, dim**2, 5)
            np.testing.assert_allclose(value, float(i == j), atol=1e-14)
            np.testing.assert_allclose(first, 0.0, atol=1e-13)
            np.testing.assert_allclose(second, 0.0, atol=1e-12)
    np.testing.assert_allclose(determinant(A).value, np.linalg.det(F), rtol=1e-13)


def test_a_tensor_times_a_number_is_taken_entry_by_entry_from_either_side():
    A = tensor(variables([X, X, Y, Y], 1), 2)
    number = A[0, 0] + 1.0
    for product in (A * number, number * A, A / (1.0 / number)):
        assert product.shape == (2, 2)
        np.testing.assert_allclose(product[1, 0].value, Y * (X + 1.0), rtol=1e-15)
    np.testing.assert_allclose((number - A)[1, 1].value, X + 1.0 - Y)
    np.testing.assert_allclose((A - number)[1, 1].value, Y - X - 1.0)
    assert isinstance(X * number, HyperDual)  # an array is a number at each point, not a tensor


def own(parent, **attributes):
    return type("Own", (parent,), {"__module__": "script", **attributes})


@pytest.mark.parametrize(
    "formula",
    [lambda a: np.sqrt(a[0]), lambda a: max(a[0], 0.0), lambda a: abs(a[0]), lambda a: [a[0]], lambda a: None],
    ids=["numpy", "comparison", "abs", "list", "no return"],
)
def test_a_formula_that_takes_numbers_alone_is_named_with_what_it_may_use(formula):
    """max and abs have no second derivative at a kink; functions of NumPy give none at all."""
    mode = own(
        lse.Mode,
        size=1,
        formula=lambda self, x: formula(x),
        tensors=lambda self: {"one": np.ones(1)},
        from_tensors=classmethod(lambda cls, tensors, options: cls()),
    )()
    measure = own(lse.StrainMeasure, size=1, components=lambda self, F: [formula(F[0])])(2)
    for name, call in (("formula", lambda: mode.gradient([1.5])), ("components", lambda: measure.strain(np.eye(2)))):
        with pytest.raises(lse.InvalidInputError, match=rf"Own\.{name} fails on scalars .*sqrt, log, exp of the"):
            call()
