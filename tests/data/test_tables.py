"""Tables as people have them are read right or refused with the ways to read them; none is read wrongly."""

import re

import numpy as np
import pytest

from lse_material import LseError, Samples, read_samples
from tests.data.tables import READ, REFUSED


def written(folder, text):
    path = folder / "table.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("name", READ)
def test_a_table_is_read_right(tmp_path, name):
    text, options, expected = READ[name]
    readings = []
    samples = read_samples(written(tmp_path, text), report=readings.append, **options)
    for array in ("F", "x", "energy", "stress", "gradient", "weight", "fields", "group"):
        got, right = getattr(samples, array), expected.get(array)
        assert (got is None) == (right is None), f"{array}\n{readings[0]}"
        if right is not None and array != "group":
            np.testing.assert_allclose(
                got, right, rtol=0.0, atol=2e-15 * np.nanmax(np.abs(right)), err_msg=f"{array}\n{readings[0]}"
            )
        elif right is not None:
            assert got.tolist() == list(right)
    assert samples.units == expected.get("units", {})
    assert samples.field_names == expected.get("field_names", ())


@pytest.mark.parametrize("name", REFUSED)
def test_a_table_that_can_be_read_in_two_ways_or_not_at_all_is_refused(tmp_path, name):
    text, options, message = REFUSED[name]
    with pytest.raises(LseError) as caught:
        read_samples(written(tmp_path, text), **options)
    assert re.search(message, str(caught.value)), str(caught.value)
    assert "table.txt" in str(caught.value) or "columns" in options
    assert "\n" not in str(caught.value)


def test_a_reading_says_what_was_taken_for_what(tmp_path):
    text = "time;F11;F12;F21;F22;W [kPa];S11;S22;S12\n0;1,1;0;0;1;2;3;4;5\n1;1,2;0;0;1;2;3;4;5\n"
    readings = []
    read_samples(written(tmp_path, text), report=readings.append)
    report = str(readings[0])
    for part in (
        "columns between semicolons, decimal comma, header in line 1, 2 rows from line 2",
        "deformation gradient: F11, F12, F21, F22\n",
        "energy per reference volume: W [kPa] (W)\n",
        "second Piola-Kirchhoff stress: S11, S22, S12\n",
        "left alone: time",
        "P is calculated from the second Piola-Kirchhoff stress",
    ):
        assert part in report, report


def test_several_files_are_groups(tmp_path):
    for name, rows in (("shear", 2), ("tension", 3)):
        (tmp_path / f"{name}.csv").write_text("x1,W\n" + "1,2\n" * rows)
    samples = read_samples([tmp_path / "shear.csv", tmp_path / "tension.csv"])
    assert samples.group.tolist() == ["shear"] * 2 + ["tension"] * 3
    (tmp_path / "both.csv").write_text("x1,W,path\n1,2,7\n1,,8\n")
    samples = read_samples([tmp_path / "both.csv", tmp_path / "shear.csv"])
    assert samples.group.tolist() == ["both/7", "both/8", "shear", "shear"]
    np.testing.assert_array_equal(samples.energy, [2.0, np.nan, 2.0, 2.0])
    assert isinstance(samples, Samples)


def test_files_that_do_not_fit_together_are_refused(tmp_path):
    (tmp_path / "a.csv").write_text("x1,W\n1,2\n")
    (tmp_path / "b.csv").write_text("F11,F12,F21,F22,W\n1,0,0,1,2\n")
    with pytest.raises(LseError, match="differ in dim: 2 and None"):
        read_samples([tmp_path / "a.csv", tmp_path / "b.csv"])
