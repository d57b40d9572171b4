"""Reading and writing samples: round trips, and errors that name the line and the column."""

import json
import os
import pickle
import zipfile

import numpy as np
import pytest

from lse_material import FormatError, InvalidInputError, LseError, Samples, read_samples, write_samples
from tests.bomb import Bomb
from tests.materials import random_deformations

HEADER = "F11,F12,F21,F22,W,P11,P12,P21,P22\n"
ROW = "1,0,0,1,0.5,1,2,3,4\n"


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def with_gaps(dim=2, n=9):
    rng = np.random.default_rng(0)
    return Samples(
        F=random_deformations(rng, n, dim),
        energy=rng.normal(size=n) * 10.0 ** rng.integers(-300, 300, n),
        stress=rng.normal(size=(n, dim, dim)) / 3.0,
        energy_mask=np.arange(n) % 3 > 0,
        stress_mask=np.arange(n) % 4 > 0,
        units={"energy": "J/m³", "stress": "MPa"},
    )


def of_x():
    rng = np.random.default_rng(1)
    return Samples(x=rng.normal(size=(5, 11)), gradient=rng.normal(size=(5, 11)), stress_mask=np.arange(5) > 1)


def with_everything(group):
    """Stresses in part, fields with conjugates, weights, groups."""
    rng = np.random.default_rng(2)
    known = rng.random((6, 2, 2)) < 0.7
    known[:2] = True
    return Samples(
        F=random_deformations(rng, 6, 2),
        stress=rng.normal(size=(6, 2, 2)),
        stress_known=known,
        weight=rng.random(6),
        fields=rng.random((6, 2)),
        field_names=("c", "T ref [K]"),
        conjugates=rng.normal(size=(6, 2)),
        group=group,
    )


LABELS = ["plain", "with, comma", 'with "quotes"', "with # mark", "-", "Zugversuch für X"]


@pytest.mark.parametrize("ending", [".npz", ".csv"])
@pytest.mark.parametrize(
    "samples",
    [with_gaps(2), with_gaps(3), of_x(), with_everything(LABELS), with_everything([3, 3, -1, 0, 0, 10**12])],
    ids=["2D", "3D", "x", "labels", "numbers"],
)
def test_what_is_written_is_read_back_bitwise(tmp_path, samples, ending):
    path = tmp_path / f"samples{ending}"
    write_samples(samples, path)
    back = read_samples(str(path))
    for name in (
        "F",
        "x",
        "energy",
        "stress",
        "gradient",
        "weight",
        "energy_mask",
        "stress_mask",
        "stress_known",
        "fields",
        "conjugates",
        "group",
    ):
        before, after = getattr(samples, name), getattr(back, name)
        assert (before is None) == (after is None)
        if before is not None:
            np.testing.assert_array_equal(before, after)
    assert back.units == samples.units
    assert back.field_names == samples.field_names
    assert back.digest() == samples.digest()
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_table_in_any_order_with_comments_units_spaces_blank_lines_and_a_byte_order_mark(tmp_path):
    path = write(
        tmp_path / "a.csv",
        '\ufeff# made by hand\n# units: {"energy": "MPa"}\n\n P22 ,F22,P11,F11,F21,F12,P12,P21,energy\n'
        "# between\n4, 1.5 ,1,2,0,0.25,2,3,1e-3\n,,,,,,,,\n8,1,5,1,0,0,6,7,\n",
    )
    samples = read_samples(path)
    np.testing.assert_array_equal(samples.F, [[[2.0, 0.25], [0.0, 1.5]], np.eye(2)])
    np.testing.assert_array_equal(samples.stress, [[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]])
    np.testing.assert_array_equal(samples.energy, [1e-3, np.nan])
    np.testing.assert_array_equal(samples.energy_mask, [True, False])
    assert samples.units == {"energy": "MPa"}


def test_a_stress_is_missing_as_a_whole_or_in_part(tmp_path):
    samples = read_samples(write(tmp_path / "a.csv", HEADER + ROW + "1,0,0,1,0.5,,,,\n1,0,0,1,0.5,1,,3,4\n"))
    np.testing.assert_array_equal(samples.stress_mask, [True, False, False])
    np.testing.assert_array_equal(samples.stress_known.sum(axis=(1, 2)), [4, 0, 3])
    assert np.isnan(samples.stress[2, 0, 1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no header line"),
        ("# only\n", "holds no header line"),
        (HEADER, "holds no rows below its header"),
        (HEADER + ROW + "1,0,0,one,0.5,1,2,3,4\n", "line 3, column F22: 'one' is not a number"),
        (HEADER + "# a comment\n\n" + ROW + "1,0,0,1,0.5,1,2,3\n", "line 5: 8 cells, but the header names 9 columns"),
        (HEADER + ROW + "1,0,0,1,0.5,1,2,3,4,5\n", "line 3: 10 cells"),
        (HEADER + ROW + "1,0,0,,0.5,1,2,3,4\n", "line 3: F22 is missing, and every row needs it"),
        (HEADER + ROW + "1,0,0,1,0.5,1,2,3,-inf\n", "line 3, column P22: '-inf' is not finite"),
        ("F11,F12,F21,F22,W,W\n1,0,0,1,2,2\n", "the column 'W' appears twice"),
        ("F11,F12,F21,F22,W,energy\n1,0,0,1,2,2\n", r"the columns \['W', 'energy'\] are both W"),
        ("F11,F12,F21,W\n1,0,0,1\n", r"\['F11', 'F12', 'F21'\] lack F22 of the deformation gradient"),
        (
            "F11,F12,F21,F22,W,temperature\n1,0,0,1,2,300\n1,0,0,1,3,310\n",
            "the column 'temperature' can be read in 2 ways",
        ),
        (
            "1,0,0,1,0.5\n1,0,0,1,0.5\n",
            "there is no header line.*'F12', 'F21'.*by columns of the tensors.*'F21', 'F12'",
        ),
        ('# units: {"energy"\n' + HEADER + ROW, "units are not JSON"),
        ('# units: {"energy": 3}\n' + HEADER + ROW, "units must map names to texts"),
        (HEADER + '"' + "1" * 200_000 + '"' + ",0,0,1,0.5,1,2,3,4\n", "line 2: field larger than field limit"),
    ],
)
def test_a_bad_table_is_refused_by_line_and_column(tmp_path, text, message):
    path = write(tmp_path / "bad.csv", text)
    with pytest.raises(FormatError, match=message) as caught:
        read_samples(path)
    assert "bad.csv" in str(caught.value)
    assert "\n" not in str(caught.value)  # one paragraph


def test_values_that_cannot_be_samples_are_refused_by_row_and_file(tmp_path):
    path = write(tmp_path / "a.csv", "# c\n" + HEADER + ROW + "1,0,0,-1,0.5,1,2,3,4\n")
    with pytest.raises(InvalidInputError, match=r"a\.csv: F in row 1 has determinant -1.*\(Row 0 stands on line 3.\)"):
        read_samples(path)
    np.savez(tmp_path / "a.npz", F=np.eye(2)[None], energy=np.array([np.nan]))
    with pytest.raises(FormatError, match=r"a\.npz: no column with values is an energy \(W\) or a stress"):
        read_samples(tmp_path / "a.npz")


def test_a_binary_file_is_no_table(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xff\xfe\x00\x80\x01\x00" * 10)
    with pytest.raises(FormatError, match="is not a text file"):
        read_samples(path)


def test_a_file_that_is_not_there(tmp_path):
    for name in ("a.csv", "a.npz"):
        with pytest.raises(FileNotFoundError, match=name):
            read_samples(tmp_path / name)


def test_any_text_is_a_table_and_tables_are_written_as_csv_or_npz(tmp_path):
    assert len(read_samples(write(tmp_path / "a.txt", HEADER + ROW))) == 1
    with pytest.raises(FormatError, match=r"written to \.npz or \.csv"):
        write_samples(of_x(), tmp_path / "a.xlsx")


def test_a_pickle_is_never_loaded(tmp_path):
    proof = tmp_path / "proof"
    plain, inside = tmp_path / "plain.npz", tmp_path / "inside.npz"
    plain.write_bytes(pickle.dumps(Bomb(proof)))
    bombs = np.empty(1, dtype=object)
    bombs[0] = Bomb(proof)
    np.savez(inside, F=np.eye(2)[None], energy=bombs)
    for path in (plain, inside):
        with pytest.raises(FormatError, match="Pickles are not read"):
            read_samples(path)
    assert not proof.exists()


def test_a_truncated_or_damaged_archive_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    write_samples(with_gaps(n=100), path)
    content = path.read_bytes()
    for length in (0, 1, 10, len(content) // 3, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(FormatError, match=r"not a whole \.npz archive"):
            read_samples(path)
    outcomes = set()
    for place in range(0, len(content), 101):  # a changed byte: refused, or in a part of the zip file without meaning
        damaged = bytearray(content)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        try:
            assert read_samples(path).digest() == with_gaps(n=100).digest()
            outcomes.add("read")
        except LseError:
            outcomes.add("refused")
    assert "refused" in outcomes


def test_arrays_that_are_not_needed_are_left_alone_and_named(tmp_path):
    path = tmp_path / "a.npz"
    readings = []
    np.savez(path, F=np.eye(2)[None], energy=[1.0], cell=[3], parameters=np.zeros((7, 4)))
    assert len(read_samples(path, report=readings.append)) == 1
    assert readings[0].left == ("cell", "parameters")
    assert "left alone: cell, parameters" in str(readings[0])


def test_an_archive_of_other_things_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, F=np.eye(2)[None], energy=[1.0], units=np.array(json.dumps(["MPa"])))
    with pytest.raises(FormatError, match="units must map names to texts"):
        read_samples(path)
    with (tmp_path / "single.npz").open("wb") as file:
        np.save(file, np.eye(2))
    with pytest.raises(FormatError, match="a single array without a name"):
        read_samples(tmp_path / "single.npz")


@pytest.mark.parametrize("ending", [".npz", ".csv"])
def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, ending):
    path = tmp_path / f"a{ending}"
    write_samples(of_x(), path)
    before = path.read_bytes()

    def broken(*_):
        raise OSError("disk on fire")

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(OSError, match="disk on fire"):
        write_samples(with_gaps(), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("units", ["9" * 5000, "[" * 100_000, "{", "3"], ids=["digits", "deep", "cut", "number"])
def test_units_that_are_no_json_object_are_refused(tmp_path, units):
    (tmp_path / "data.csv").write_text(f"# units: {units}\nx1,W\n0,1\n")
    with pytest.raises(FormatError, match=r"data.csv: units "):
        read_samples(tmp_path / "data.csv")


def test_a_text_of_characters_that_there_are_not_is_refused(tmp_path):
    units = np.frombuffer(np.array("{}").tobytes()[:4] + b"\xff" * 4, dtype="<U2")
    np.savez(tmp_path / "a.npz", x=[[0.0]], energy=[1.0], units=units)
    with pytest.raises(FormatError, match=r"a\.npz"):
        read_samples(tmp_path / "a.npz")


def test_an_archive_that_claims_terabytes_is_refused(tmp_path):
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776, 2, 2), }".ljust(117) + "\n"
    with zipfile.ZipFile(tmp_path / "data.npz", "w") as archive:
        archive.writestr(
            "F.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(64)
        )
    with pytest.raises(FormatError, match=r"data.npz is not a whole .npz archive"):
        read_samples(tmp_path / "data.npz")


def test_dates_and_overflowing_deformations_are_no_samples(tmp_path):
    dates = np.zeros((3, 2, 2), dtype="datetime64[s]")
    np.savez(tmp_path / "data.npz", F=dates, energy=np.zeros(3))
    with pytest.raises(InvalidInputError, match="F11 cannot be read as an array of real numbers: dates or times"):
        read_samples(tmp_path / "data.npz")
    (tmp_path / "data.csv").write_text("F11,F12,F21,F22,W\n1e308,0,0,1e308,1\n")
    with pytest.raises(InvalidInputError, match="row 0 has determinant inf; it must be positive and finite"):
        read_samples(tmp_path / "data.csv")
