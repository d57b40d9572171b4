"""Tables in files."""

import numpy as np
import pytest

import lse_material as lse
from lse_material._files import write_table


def test_a_table_is_read_back_and_another_ending_is_refused(tmp_path):
    columns = {"load": [0.0, 0.1], "energy": [1.0 / 3.0, 1e-300]}
    write_table(tmp_path / "table.npz", columns)
    assert np.load(tmp_path / "table.npz")["energy"].tolist() == columns["energy"]
    write_table(tmp_path / "table.csv", columns)
    read = np.genfromtxt(tmp_path / "table.csv", delimiter=",", names=True)
    assert read["energy"].tolist() == columns["energy"]
    with pytest.raises(lse.FormatError, match=r"\.csv or \.npz"):
        write_table(tmp_path / "table.txt", columns)


def test_a_place_where_no_file_can_be_is_named(tmp_path):
    (tmp_path / "table.csv").mkdir()
    with pytest.raises(IsADirectoryError, match=r"table\.csv is a folder"):
        write_table(tmp_path / "table.csv", {"load": [0.0]})
    with pytest.raises(FileNotFoundError, match=r"no folder .*none for table\.csv: make it first"):
        write_table(tmp_path / "none" / "table.csv", {"load": [0.0]})
