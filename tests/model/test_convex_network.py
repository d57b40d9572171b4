"""One mode: convex by construction, with exact derivatives, for any batch."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lse_material import ConvexNetwork, InvalidInputError
from lse_material.model.mode import CHUNK
from tests.materials import central_difference, random_network, relative_error

KINDS = [
    (depth, activation, quadratic)
    for depth in (0, 1, 2, 3)
    for activation in ("softplus", "squared_softplus")
    for quadratic in (False, True)
]
POINT = st.lists(st.floats(-30.0, 30.0), min_size=3, max_size=3)


def by_hand(network, x):
    """psi at one point, neuron by neuron."""
    act = {
        "softplus": lambda a: np.logaddexp(0.0, a),
        "squared_softplus": lambda a: np.logaddexp(0.0, a) ** 2 / 2.0,
    }[network.activation]
    z = []
    for layer, (weight, bias) in enumerate(zip(network.x_weights, network.biases)):
        a = []
        for j in range(len(bias)):
            s = bias[j] + sum(weight[j, i] * x[i] for i in range(len(x)))
            if layer > 0:
                s += sum(network.z_weights[layer - 1][j, i] * z[i] for i in range(len(z)))
            a.append(s)
        z = [act(s) for s in a]
    extra = 0.0 if network.quadratic is None else 0.5 * np.linalg.norm(network.quadratic @ x) ** 2
    return a[0] + extra


@pytest.mark.parametrize(("depth", "activation", "quadratic"), KINDS)
def test_energy_is_the_formula_written_out_neuron_by_neuron(depth, activation, quadratic):
    rng = np.random.default_rng(depth)
    network = random_network(rng, 3, depth=depth, activation=activation, quadratic=quadratic)
    x = rng.normal(size=(7, 3))
    np.testing.assert_allclose(network.energy(x), [by_hand(network, p) for p in x], rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(("depth", "activation", "quadratic"), KINDS)
def test_gradient_and_hessian_against_central_differences(depth, activation, quadratic):
    rng = np.random.default_rng(10 + depth)
    network = random_network(rng, 3, depth=depth, activation=activation, quadratic=quadratic)
    x = rng.normal(size=(11, 3))
    # fourth-order stencil with h = 1e-3: see central_difference; energies are a few units
    assert relative_error(central_difference(network.energy, x, 1, 1e-3), network.gradient(x)) < 1e-10
    hessian = network.hessian(x)
    if depth == 0 and not quadratic:  # affine: a constant slope
        np.testing.assert_array_equal(hessian, 0.0)
        np.testing.assert_array_equal(network.gradient(x), np.tile(network.x_weights[0], (11, 1)))
    else:
        assert relative_error(central_difference(network.gradient, x, 1, 1e-3), hessian) < 1e-9


@pytest.mark.parametrize(("depth", "activation", "quadratic"), KINDS)
@given(x=POINT, y=POINT, t=st.floats(0.0, 1.0), seed=st.integers(0, 2**16))
def test_a_mode_lies_below_its_chords(depth, activation, quadratic, x, y, t, seed):
    network = random_network(np.random.default_rng(seed), 3, depth=depth, activation=activation, quadratic=quadratic)
    x, y = np.array(x), np.array(y)
    ends = network.energy([x, y])
    chord = t * ends[0] + (1.0 - t) * ends[1]
    slopes = np.abs(network.gradient([x, y])).sum()
    rounding = 1e-13 * (1.0 + np.abs(ends).max() + 30.0 * slopes)  # of psi, and of the point between
    assert network.energy(t * x + (1.0 - t) * y) <= chord + rounding


@pytest.mark.parametrize(("depth", "activation", "quadratic"), KINDS)
@given(x=POINT, seed=st.integers(0, 2**16))
def test_hessians_are_positive_semidefinite_and_symmetric(depth, activation, quadratic, x, seed):
    network = random_network(np.random.default_rng(seed), 3, depth=depth, activation=activation, quadratic=quadratic)
    hessian = network.hessian(np.array(x))
    largest = np.abs(hessian).max()
    np.testing.assert_allclose(hessian, hessian.T, rtol=0.0, atol=1e-14 * largest)
    assert np.linalg.eigvalsh(hessian).min() >= -1e-14 * largest


@pytest.mark.parametrize(("depth", "activation", "quadratic"), KINDS)
def test_a_nan_in_a_point_makes_its_values_nan_and_no_others(depth, activation, quadratic):
    rng = np.random.default_rng(3)
    network = random_network(rng, 3, depth=depth, activation=activation, quadratic=quadratic)
    clean = rng.normal(size=(4, 3))
    x = clean.copy()
    x[2, 1] = np.nan
    for method in (network.energy, network.gradient, network.hessian):
        got, expected = method(x), method(clean)
        assert np.isnan(got[2]).all()
        np.testing.assert_allclose(np.delete(got, 2, 0), np.delete(expected, 2, 0), rtol=1e-14, atol=1e-300)


@pytest.mark.parametrize("batch", [(), (1,), (4,), (2, 3), (0,), (3, 0), (2, 1, 2)])
def test_any_batch_shape(batch):
    rng = np.random.default_rng(4)
    network = random_network(rng, 3)
    x = rng.normal(size=(*batch, 3))
    for method, shape in ((network.energy, ()), (network.gradient, (3,)), (network.hessian, (3, 3))):
        got = method(x)
        assert got.shape == (*batch, *shape)
        assert got.dtype == np.float64
        for index in np.ndindex(*batch):
            np.testing.assert_allclose(got[index], method(x[index]), rtol=1e-13)


def test_chunks_do_not_show():
    rng = np.random.default_rng(5)
    network = random_network(rng, 2, depth=1, width=3)
    x = rng.normal(size=(2 * CHUNK + 3, 2))
    around = np.r_[0:2, CHUNK - 2 : CHUNK + 2, 2 * CHUNK - 2 : 2 * CHUNK + 3]
    for method in (network.energy, network.gradient, network.hessian):
        np.testing.assert_allclose(method(x)[around], method(x[around]), rtol=1e-13, atol=1e-13)


def test_inputs_may_be_lists_integers_readonly_or_strided():
    network = random_network(np.random.default_rng(6), 2)
    x = np.array([[1.0, -2.0], [0.0, 3.0]])
    expected = network.energy(x)
    readonly = x.copy()
    readonly.flags.writeable = False
    strided = np.repeat(x, 2, axis=0)[::2]
    for same in (x.tolist(), x.astype(int), x.astype(np.float32), readonly, np.asfortranarray(x), strided):
        np.testing.assert_array_equal(network.energy(same), expected)
    np.testing.assert_array_equal(x, [[1.0, -2.0], [0.0, 3.0]])


def test_weights_are_copied_and_cannot_be_written():
    weight = np.ones((1, 2))
    network = ConvexNetwork.from_arrays([], [weight], [[0.0]])
    weight[:] = 7.0
    assert network.energy([1.0, 1.0]) == 2.0
    with pytest.raises(ValueError, match="read-only"):
        network.x_weights[0][0, 0] = 3.0


def test_a_network_of_the_nn_euclid_family_is_brought_in_exactly():
    """The example of `from_arrays` with the state_dict as plain arrays, against the formula of the network itself."""
    rng = np.random.default_rng(7)
    state = {
        "layers.0.weight": rng.normal(size=(6, 3)),
        "layers.0.bias": rng.normal(size=6),
        "layers.1.weights": rng.normal(size=(5, 6)),
        "skip_layers.1.weight": rng.normal(size=(5, 3)),
        "skip_layers.1.bias": rng.normal(size=5),
        "layers.2.weights": rng.normal(size=(1, 5)),
        "skip_layers.2.weights": rng.normal(size=(1, 3)),
    }

    def positive(raw):
        return np.logaddexp(0.0, raw)

    first = positive(state["layers.1.weights"])
    mode = ConvexNetwork.from_arrays(
        z_weights=[positive(state["layers.2.weights"]) / 6],
        x_weights=[
            first @ state["layers.0.weight"] + state["skip_layers.1.weight"],
            positive(state["skip_layers.2.weights"]),
        ],
        biases=[first @ state["layers.0.bias"] + state["skip_layers.1.bias"], np.zeros(1)],
        activation="squared_softplus",
    )

    def theirs(x):
        z = state["layers.0.weight"] @ x + state["layers.0.bias"]
        z = positive(state["layers.1.weights"]) @ z
        z = z + state["skip_layers.1.weight"] @ x + state["skip_layers.1.bias"]
        z = np.log1p(np.exp(z)) ** 2 / 12
        return (positive(state["layers.2.weights"]) @ z + positive(state["skip_layers.2.weights"]) @ x)[0]

    x = rng.uniform(0.0, 2.0, (50, 3))
    exact = np.array([theirs(p) for p in x])
    assert relative_error(mode.energy(x), exact) < 1e-14


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"activation": "relu"}, "activation 'relu' is not known"),
        ({"z_weights": ()}, "needs as many biases and one z_weight less"),
        ({"x_weights": ()}, "needs as many biases"),
        ({"x_weights": (np.ones((4, 2)), np.ones((1, 3)))}, r"x_weight.1 has shape \(1, 3\); it should be \(1, 2\)"),
        ({"biases": (np.zeros(3), np.zeros(1))}, r"bias.0 has shape \(3,\); it should be \(4,\)"),
        ({"biases": (np.full(4, np.inf), np.zeros(1))}, r"bias.0 holds inf at entry \(0,\)"),
        ({"z_weights": ([[1.0, 2.0, -1e-9, 0.0]],)}, r"z_weight.1 is -1.000e-09 at entry \(0, 2\)"),
        ({"z_weights": ([[1.0, 2.0, np.nan, 0.0]],)}, r"z_weight.1 holds nan at entry \(0, 2\)"),
        ({"z_weights": (np.ones((2, 4)),)}, r"z_weight.1 has shape \(2, 4\); it should be \(1, 4\)"),
        ({"quadratic": np.eye(3)}, r"quadratic has shape \(3, 3\); it should be \(3, 2\)"),
        ({"quadratic": 1j * np.eye(2)}, "quadratic cannot be read as an array of real numbers"),
        ({"biases": ([[0.0], [0.0, 1.0]], [0.0])}, "bias.0 cannot be read"),
        ({"x_weights": (np.ones((4, 0)), np.ones((1, 0)))}, "x_weight.0 has no columns"),
    ],
)
def test_a_malformed_network_is_refused_by_name(change, message):
    good = {
        "z_weights": (np.ones((1, 4)),),
        "x_weights": (np.ones((4, 2)), np.ones((1, 2))),
        "biases": (np.zeros(4), np.zeros(1)),
    }
    ConvexNetwork(**good)
    with pytest.raises(InvalidInputError, match=message):
        ConvexNetwork(**{**good, **change})


@pytest.mark.parametrize("inputs", [[0, 0], [1], [0, 1, 2], [0, 3], [-1, 0], [0.5, 1.0], 1, "01"])
def test_a_mode_reads_as_many_different_inputs_as_it_has(inputs):
    """x1 + 2 x2 that reads one input twice would be 2 x1, without the first term."""
    sum_of_two = ConvexNetwork.from_arrays([], [[[1.0, 2.0]]], [[0.0]])
    assert sum_of_two.reading([2, 0], 3).energy([10.0, 7.0, 1.0]) == 21.0
    with pytest.raises(InvalidInputError, match=r"a mode of 2 reads as many different ones of 0 \.\. 2"):
        sum_of_two.reading(inputs, 3)


def test_points_of_the_wrong_size_are_refused():
    network = random_network(np.random.default_rng(8), 3)
    with pytest.raises(InvalidInputError, match=r"x has shape \(5, 2\); its last axis must hold the 3 components"):
        network.energy(np.zeros((5, 2)))
    with pytest.raises(InvalidInputError, match=r"x has shape \(\)"):
        network.gradient(1.0)
    with pytest.raises(InvalidInputError, match="masked array with hidden entries"):
        network.energy(np.ma.masked_array([0.0, 1.0, 2.0], [False, True, False]))


def test_parameters_are_counted():
    network = random_network(np.random.default_rng(9), 3, depth=2, width=5)  # layers of 5, 6, 1; quadratic 4 x 3
    assert network.parameters == (5 * 3 + 5) + (6 * 3 + 6 + 6 * 5) + (3 + 1 + 6) + 12
