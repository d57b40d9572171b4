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
