"""Samples: what is refused and how it is named, missing values, and splits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lse_material import GreenLagrange, InvalidInputError, Samples
from tests.materials import random_deformations

N = 12


def samples_of_F(n=N, dim=2, **options):
    rng = np.random.default_rng(0)
    F = random_deformations(rng, n, dim)
    return Samples(F=F, energy=rng.normal(size=n), stress=rng.normal(size=(n, dim, dim)), **options)


def samples_of_x(n=N, d=3):
    rng = np.random.default_rng(1)
    return Samples(x=rng.normal(size=(n, d)), energy=rng.normal(size=n), gradient=rng.normal(size=(n, d)))


def test_inputs_are_strains_or_points():
    samples = samples_of_F(dim=3)
    kinematics = GreenLagrange(3)
    np.testing.assert_array_equal(samples.inputs(kinematics), kinematics.strain(samples.F))
    assert (samples.dim, len(samples)) == (3, N)
    points = samples_of_x()
    np.testing.assert_array_equal(points.inputs(None), points.x)
    assert points.dim is None


def test_a_strain_measure_that_does_not_fit_is_refused():
    with pytest.raises(InvalidInputError, match="GreenLagrange is 3D, the samples' F are 2D"):
        samples_of_F().inputs(GreenLagrange(3))
    with pytest.raises(InvalidInputError, match="need a strain measure"):
        samples_of_F().inputs(None)
    with pytest.raises(InvalidInputError, match="take no strain measure"):
        samples_of_x().inputs(GreenLagrange(2))


F = np.tile(np.eye(2), (3, 1, 1))
FLIPPED = F.copy()
FLIPPED[1] = np.diag([1.0, -2.0])
HOLED = F.copy()
HOLED[2, 0, 1] = np.nan
X = np.zeros((3, 2))
E = np.zeros(3)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"energy": E}, "either F .* or x .* and not both"),
        ({"F": F, "x": X, "energy": E}, "either F .* or x .* and not both"),
        ({"F": F}, "samples need `energy` or `stress`, or both"),
        ({"x": X}, "samples need `energy` or `gradient`, or both"),
        ({"F": F, "gradient": X}, "take `stress` .* not `gradient`"),
        ({"x": X, "stress": F}, "take `gradient` .* not `stress`"),
        ({"F": FLIPPED, "energy": E}, r"F in row 1 has determinant -2; .* \[\[1.0, 0.0\], \[0.0, -2.0\]\]"),
        ({"F": HOLED, "energy": E}, "F in row 2 is not finite"),
        ({"F": np.ones((3, 4)), "energy": E}, "F has 2 axes"),
        ({"F": np.ones((3, 4, 4)), "energy": E}, r"F has shape \(3, 4, 4\)"),
        ({"F": np.eye(2), "energy": [1.0]}, "F has 2 axes"),
        ({"F": np.empty((0, 2, 2)), "energy": []}, "no samples: 0 rows"),
        ({"x": [[0.0], [np.inf]], "energy": [0.0, 1.0]}, "x in row 1 is not finite"),
        ({"F": F, "energy": np.zeros(4)}, r"energy has shape \(4,\); it should be \(3,\)"),
        ({"F": F, "stress": np.zeros((3, 3, 3))}, r"stress has shape \(3, 3, 3\); it should be \(3, 2, 2\)"),
        ({"x": X, "gradient": np.zeros((3, 3))}, r"gradient has shape \(3, 3\); it should be \(3, 2\)"),
        ({"F": F, "energy": [0.0, np.nan, 1.0]}, r"energy in row 1 is not finite.*energy_mask\[1\] = False"),
        ({"F": F, "stress": HOLED}, "stress in row 2 is not finite"),
        ({"F": F, "energy": E, "energy_mask": [True, False]}, r"energy_mask must be 3 booleans; .* shape \(2,\)"),
        ({"F": F, "energy": E, "energy_mask": [1, 0, 1]}, "energy_mask must be 3 booleans; it is int64"),
        ({"F": F, "energy": E, "energy_mask": np.zeros(3, bool)}, "marks every row as missing"),
        ({"F": F, "energy": E, "stress_mask": np.ones(3, bool)}, "stress_mask is given, but there is no stress"),
        ({"x": np.ma.masked_array(X, X == 0.0), "energy": E}, "x is a masked array"),
        ({"F": F, "energy": "W"}, "energy cannot be read as an array of real numbers"),
    ],
)
def test_what_cannot_be_samples_is_refused_by_field_and_row(fields, message):
    with pytest.raises(InvalidInputError, match=message):
        Samples(**fields)


def test_missing_rows_are_nan_whatever_stood_there():
    energy_mask = np.array([True, False, True])
    stress_mask = np.array([False, True, True])
    samples = Samples(
        F=F, energy=[1.0, np.nan, 3.0], stress=np.ones((3, 2, 2)), energy_mask=energy_mask, stress_mask=stress_mask
    )
    np.testing.assert_array_equal(samples.energy, [1.0, np.nan, 3.0])
    assert np.isnan(samples.stress[0]).all()
    np.testing.assert_array_equal(samples.stress[1:], 1.0)
    np.testing.assert_array_equal(samples.energy_mask, energy_mask)
    np.testing.assert_array_equal(samples.stress_mask, stress_mask)


def test_without_a_mask_every_row_has_its_value():
    samples = samples_of_F()
    assert samples.energy_mask.all()
    assert samples.stress_mask.all()


def test_samples_are_copies_that_cannot_be_written():
    given_F, energy = F.copy(), np.zeros(3)
    samples = Samples(F=given_F, energy=energy)
    given_F[:], energy[:] = 5.0, 5.0
    np.testing.assert_array_equal(samples.F, F)
    np.testing.assert_array_equal(samples.energy, 0.0)
    for array in (samples.F, samples.energy, samples.energy_mask):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


@given(n=st.integers(2, 40), fraction=st.floats(0.01, 0.99), seed=st.integers(0, 1000))
def test_a_split_is_a_partition_of_the_rows_that_only_depends_on_the_seed(n, fraction, seed):
    samples = Samples(x=np.arange(n, dtype=float)[:, None], energy=np.arange(n) * 10.0)
    first, second = samples.split(fraction, seed=seed)
    assert len(first) == min(max(round(fraction * n), 1), n - 1)
    rows = np.concatenate([first.x[:, 0], second.x[:, 0]])
    np.testing.assert_array_equal(np.sort(rows), np.arange(n))
    np.testing.assert_array_equal(first.energy, 10.0 * first.x[:, 0])  # values stay with their rows
    again, _ = samples.split(fraction, seed=seed)
    np.testing.assert_array_equal(again.x, first.x)


def test_another_seed_splits_otherwise():
    samples = samples_of_x(50)
    assert (samples.split(0.5, seed=0)[0].x != samples.split(0.5, seed=1)[0].x).any()


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5, 2.0, np.nan])
def test_a_fraction_lies_between_zero_and_one(fraction):
    with pytest.raises(InvalidInputError, match="it must lie between 0 and 1"):
        samples_of_x().split(fraction, seed=0)


def test_one_sample_cannot_be_split():
    with pytest.raises(InvalidInputError, match="one sample cannot be split"):
        samples_of_x(1).split(0.5, seed=0)


def test_take_keeps_order_units_and_masks_and_leaves_out_what_no_row_has():
    mask = np.array([True, False, True])
    samples = Samples(
        F=F, energy=[1.0, 0.0, 3.0], stress=np.arange(12.0).reshape(3, 2, 2), energy_mask=mask, units={"energy": "MPa"}
    )
    taken = samples.take(np.array([2, 1]))
    np.testing.assert_array_equal(taken.energy, [3.0, np.nan])
    np.testing.assert_array_equal(taken.stress, samples.stress[[2, 1]])
    assert taken.units == {"energy": "MPa"}
    without = samples.take(np.array([1]))
    assert without.energy is None
    assert without.energy_mask is None
    assert without.stress is not None


def test_the_digest_tells_data_apart():
    samples = samples_of_F()
    assert samples.digest() == samples_of_F().digest()
    assert len(samples.digest()) == 16
    others = [
        samples.take(np.arange(N)[::-1]),
        samples.take(np.arange(N - 1)),
        Samples(F=samples.F, energy=samples.energy),
        Samples(F=samples.F, energy=np.nextafter(samples.energy, np.inf), stress=samples.stress),
    ]
    assert len({samples.digest(), *(other.digest() for other in others)}) == 5


def test_a_stress_can_be_known_by_components():
    """P11 alone of a row: the row has no whole stress, and its other components are NaN."""
    known = np.zeros((3, 2, 2), dtype=bool)
    known[:2, 0, 0] = True
    known[2] = True
    samples = Samples(F=F, stress=np.ones((3, 2, 2)), stress_known=known)
    np.testing.assert_array_equal(samples.stress, np.where(known, 1.0, np.nan))
    np.testing.assert_array_equal(samples.stress_mask, [False, False, True])
    part = samples.take(np.array([1, 0]))
    np.testing.assert_array_equal(part.stress_known, known[[1, 0]])
    assert not part.stress_mask.any()
    gradient = Samples(x=X, gradient=[[1.0, np.nan]] * 3, stress_known=[[True, False]] * 3)  # dW/dP without dW/dT
    np.testing.assert_array_equal(gradient.gradient[:, 0], 1.0)


def test_components_follow_from_rows_and_contradictions_are_refused():
    by_rows = Samples(F=F, stress=np.ones((3, 2, 2)), stress_mask=[True, False, True])
    np.testing.assert_array_equal(by_rows.stress_known, np.broadcast_to(by_rows.stress_mask[:, None, None], (3, 2, 2)))
    with pytest.raises(InvalidInputError, match="contradict each other"):
        Samples(F=F, stress=F, stress_mask=[True, True, True], stress_known=by_rows.stress_known)
    with pytest.raises(InvalidInputError, match=r"stress_known must be \(3, 2, 2\) booleans"):
        Samples(F=F, stress=F, stress_known=[True, True, True])
