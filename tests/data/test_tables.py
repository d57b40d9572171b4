"""Tables as people have them are read right or refused with the ways to read them; none is read wrongly."""

import gzip
import json
import re
import sys

import numpy as np
import pytest

from lse_material import LseError, Samples, read_samples
from tests.data.tables import READ, REFUSED, SIGMA, E, F, P, S, U, W


def written(folder, text):
    path = folder / "table.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("name", READ)
def test_a_table_is_read_right(tmp_path, name):
    text, options, expected = READ[name]
    readings = []
    samples = read_samples(written(tmp_path, text), report=readings.append, **options)
    for array in ("F", "x", "energy", "stress", "gradient", "weight", "fields", "conjugates", "group"):
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


ARRAYS = {"F": F, "energy": W, "stress": P}
BY_COLUMNS = np.swapaxes(F, 1, 2).reshape(2, 4)


@pytest.mark.parametrize(
    ("arrays", "options"),
    [
        (ARRAYS, {}),
        ({"F": F, "W": W[:, None], "P": P}, {}),
        ({"F11": F[:, 0, 0], "F12": F[:, 0, 1], "F21": F[:, 1, 0], "F22": F[:, 1, 1], "psi": W, "P": P}, {}),
        ({"F": BY_COLUMNS, "energy": W, "P": P}, {"columns": {"F11 F21 F12 F22": "F"}}),
        ({"F": F.reshape(2, 4), "energy": W, "P": P}, {"columns": {"F11 F12 F21 F22": "F"}}),
        ({"defgrad": F, "w": W, "PK1_": P}, {}),
        ({"A": F, "W": W, "B": P}, {"columns": {"F": "A", "P": "B"}}),
        ({"F": F, "W": W, "q": P.reshape(2, 4)}, {"columns": {"P11 P12 P21 P22": "q"}}),
        ({"F": F, "W": W, "stress": P, "cell": [1, 1], "mesh": np.zeros((9, 3))}, {}),
        ({**ARRAYS, "stress_mask": [True, True], "energy_mask": [True, True]}, {}),
    ],
)
def test_archives_have_the_names_of_tables(tmp_path, arrays, options):
    np.savez(tmp_path / "rows.npz", **arrays)
    samples = read_samples(tmp_path / "rows.npz", **options)
    for name, right in ARRAYS.items():
        np.testing.assert_array_equal(getattr(samples, name), right)


COLUMNS = {"F": F.tolist(), "W": [W[0], None], "P": P.tolist(), "path": ["a", "b"], "units": {"energy": "J"}}
BY_ROWS = [{name: COLUMNS[name][k] for name in ("F", "W", "P", "path")} for k in (0, 1)]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(COLUMNS),
        json.dumps(BY_ROWS),
        "\n".join(map(json.dumps, BY_ROWS)),
        json.dumps({name: dict(enumerate(values)) for name, values in COLUMNS.items() if name != "units"}),  # pandas
    ],
    ids=["columns", "rows", "lines", "data frame"],
)
def test_json_has_columns_or_rows(tmp_path, text):
    (tmp_path / "rows.json").write_text(text)
    samples = read_samples(tmp_path / "rows.json")
    np.testing.assert_array_equal(samples.F, F)
    np.testing.assert_array_equal(samples.energy, [W[0], np.nan])
    np.testing.assert_array_equal(samples.stress, P)
    assert samples.group.tolist() == ["a", "b"]
    assert samples.units == ({"energy": "J"} if "units" in text else {})


def test_json_may_be_compressed(tmp_path):
    (tmp_path / "rows.json.gz").write_bytes(gzip.compress(b'{"x1": [1.0], "W": [2.0]}'))
    assert read_samples(tmp_path / "rows.json.gz").energy.tolist() == [2.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[1, 2]", "neither columns"),
        ('{"x1": [[1], 2], "W": [1, 2]}', "the rows of x1 differ"),
        ('{"x1": [1, "a"], "W": [1, 2]}', "x1 cannot be read as an array"),
        ("[" * 5000, "is not JSON"),
    ],
)
def test_json_that_is_no_table_is_refused(tmp_path, text, message):
    (tmp_path / "rows.json").write_text(text)
    with pytest.raises(LseError, match=message):
        read_samples(tmp_path / "rows.json")


def test_an_array_with_names_is_a_table(tmp_path):
    rows = np.zeros(2, [("F", float, (2, 2)), ("W", float), ("P", float, (2, 2))])
    rows["F"], rows["W"], rows["P"] = F, W, P
    np.save(tmp_path / "rows.npy", rows)
    np.testing.assert_array_equal(read_samples(tmp_path / "rows.npy").stress, P)


@pytest.mark.parametrize("labels", [["a", "b"], [b"a", b"b"], [0.0, 1.0], [3, 4]])
def test_groups_of_archives_are_texts_or_whole_numbers(tmp_path, labels):
    np.savez(tmp_path / "rows.npz", F=F, W=W, path=np.array(labels))
    right = ["a", "b"] if labels[0] in ("a", b"a") else labels
    assert read_samples(tmp_path / "rows.npz").group.tolist() == right


def test_archives_of_strains_with_both_shears_are_tensors(tmp_path):
    np.savez(tmp_path / "rows.npz", E=E, S=S, W=W)
    samples = read_samples(tmp_path / "rows.npz")
    np.testing.assert_allclose(samples.F, U, rtol=1e-14)
    np.testing.assert_allclose(samples.stress, U @ S, rtol=1e-13)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"F": F.reshape(2, 4), "W": W},
            r"nothing tells the order.*\"F11 F12 F21 F22\": \"F\".*\"F11 F21 F12 F22\": \"F\"",
        ),
        ({"F": F, "W": W, "S": np.zeros((2, 3))}, "nothing tells the order"),
        (
            {"F": np.zeros((2, 3, 2, 2)), "W": np.zeros((2, 3))},
            r"\(n, 2, 2\) or \(n, 3, 3\), one tensor in each of n rows",
        ),
        ({"E": E, "stress": S}, "'stress11' can be read in 3 ways"),
        ({"F": F, "W": [1.0, np.inf]}, "W in row 1 is infinite"),
        ({"F": F, "W": np.zeros(3)}, r"W has shape \(3,\); it should be \(2,\)"),
        ({"F": F, "W": W, "stress": P, "stress_mask": [1, 0]}, "stress_mask is int64 .* does not fit"),
        ({"F": F, "W": W, "sigma": SIGMA, "T": [300.0, 310.0]}, "'T' can be read in 2 ways"),
    ],
)
def test_archives_that_can_be_read_in_two_ways_are_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "rows.npz", **arrays)
    with pytest.raises(LseError, match=message):
        read_samples(tmp_path / "rows.npz")


def test_spreadsheets_are_read_as_tables_of_text(tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("openpyxl")
    columns = {
        "step": [1, 2],
        "W [MPa]": W,
        **{f"{q}_{i}{j}": t[:, i, j] for q, t in (("F", F), ("P", P)) for i in (0, 1) for j in (0, 1)},
    }
    pandas.DataFrame(columns).to_excel(tmp_path / "rows.xlsx", index=False, startrow=3)
    readings = []
    samples = read_samples(tmp_path / "rows.xlsx", report=readings.append)
    assert readings[0].source == f"{tmp_path / 'rows.xlsx'}, sheet Sheet1"
    assert readings[0].dialect == "header in line 4, 2 rows from line 5"
    for name, right in ARRAYS.items():
        np.testing.assert_array_equal(getattr(samples, name), right)
    assert samples.units == {"energy": "MPa"}
    pandas.DataFrame({"E11": [0.1], "E22": [0.0], "2E12": [0.0], "W": [1.0]}).to_excel(
        tmp_path / "2E12.xlsx", index=False
    )
    np.testing.assert_allclose(read_samples(tmp_path / "2E12.xlsx").F[0], np.diag([np.sqrt(1.2), 1.0]))
    (tmp_path / "broken.xlsx").write_bytes(b"PK")
    with pytest.raises(LseError, match="cannot be read by pandas"):
        read_samples(tmp_path / "broken.xlsx")


@pytest.mark.parametrize(
    ("name", "reader", "package"),
    [
        ("rows.parquet", "read_parquet", "pyarrow"),
        ("rows.feather", "read_feather", "pyarrow"),
        ("rows.ods", "read_excel", "odfpy"),
        ("ROWS.XLS", "read_excel", "xlrd"),
    ],
)
def test_what_pandas_lacks_for_a_kind_of_file_is_named(name, reader, package, tmp_path, monkeypatch):
    pandas = pytest.importorskip("pandas")

    def lacks(*_, **__):
        raise ImportError("a long story")

    monkeypatch.setattr(pandas, reader, lacks)
    (tmp_path / name).write_bytes(b"PK\x03\x04")
    with pytest.raises(LseError, match=f"by {package}: pip install {package}"):
        read_samples(tmp_path / name)


def test_sheets_are_read_as_groups_or_by_their_name(tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("openpyxl")
    path = tmp_path / "rows.xlsx"
    with pandas.ExcelWriter(path) as file:
        pandas.DataFrame({"written by": ["a laboratory"]}).to_excel(file, sheet_name="notes", index=False)
        pandas.DataFrame({"x1": ["1,5", "2,5"], "W": ["1,234", "3,456"]}).to_excel(file, sheet_name="a", index=False)
    assert read_samples(path).x.tolist() == [
        [1.5],
        [2.5],
    ]  # numbers that were typed as text, and one sheet with a table
    assert read_samples(path).energy.tolist() == [1.234, 3.456]
    with pandas.ExcelWriter(path, mode="a") as file:
        pandas.DataFrame({"x1": [7.0], "W": [8.0]}).to_excel(file, sheet_name="b", index=False)
    with pytest.raises(LseError, match=r"the sheets \['a', 'b'\] hold tables. Say sheet='a'"):
        read_samples(path)
    assert read_samples(path, sheet="b").energy.tolist() == [8.0]
    both = read_samples(path, sheet=["a", "b"])
    assert both.group.tolist() == ["a", "a", "b"]
    with pytest.raises(LseError, match=r"no sheet 'c': its sheets are \['notes', 'a', 'b'\]"):
        read_samples(path, sheet="c")


def test_a_text_is_read_under_the_name_of_a_spreadsheet(tmp_path):
    (tmp_path / "rows.xls").write_text("x1\tW\n1\t2\n")
    assert read_samples(tmp_path / "rows.xls").energy.tolist() == [2.0]


def test_without_pandas_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    (tmp_path / "rows.xlsx").write_bytes(b"PK")
    with pytest.raises(LseError, match=r"pip install 'lse-material\[data\]'"):
        read_samples(tmp_path / "rows.xlsx")
