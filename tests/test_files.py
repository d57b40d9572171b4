"""Files written whole or not at all, and tables in them."""

import os
from pathlib import Path

import numpy as np
import pytest

import lse_material as lse
from lse_material._files import write_atomically, write_table
from tests.materials import square_to_rectangle


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


def test_what_a_link_leads_to_is_written_and_a_pipe_stays_a_pipe(tmp_path):
    (tmp_path / "scratch").mkdir()
    (tmp_path / "link.txt").symlink_to(tmp_path / "scratch" / "there.txt")
    write_atomically(tmp_path / "link.txt", b"whole")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "scratch" / "there.txt").read_bytes() == b"whole"
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileExistsError, match="pipe is a device or a pipe: give the name of a file"):
        write_atomically(tmp_path / "pipe", b"whole")
    assert (tmp_path / "pipe").is_fifo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.txt", "pipe", "scratch"]


def test_a_name_may_be_as_long_as_the_file_system_takes(tmp_path):
    name = "a" * os.pathconf(tmp_path, "PC_NAME_MAX")
    write_atomically(tmp_path / name, b"whole")
    assert (tmp_path / name).read_bytes() == b"whole"
    with pytest.raises(OSError, match="too long"):
        write_atomically(tmp_path / f"{name}a", b"whole")
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="/proc, which takes no file, is Linux's")
def test_a_folder_that_takes_no_file_is_named_with_the_file():
    with pytest.raises(OSError, match=r"/proc/new\.txt cannot be written: the folder is read-only"):  # not even by root
        write_atomically(Path("/proc/new.txt"), b"whole")


@pytest.mark.parametrize("path", [5, None, 2.5, b"cell.csv", "cell\0.csv"])
def test_what_is_no_path_is_refused_by_all_that_read_and_write(path):
    material = square_to_rectangle(0.1)
    calls = (
        lambda: lse.load(path),
        lambda: lse.load_potential(path),
        lambda: lse.save(material, path),
        lambda: lse.export.export(material, path),
        lambda: lse.read_samples(path),
        lambda: lse.read_observations(path),
        lambda: lse.write_samples(lse.Samples(x=[[0.0]], energy=[0.0]), path),
        lambda: write_table(path, {"load": [0.0]}),
    )
    for call in calls:
        with pytest.raises(lse.InvalidInputError, match="path is"):
            call()
