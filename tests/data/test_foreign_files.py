"""Files of other programs are read, or refused with Python that makes a table of them: what it makes has the same rows."""

import json
import re

import numpy as np
import pytest

import lse_material as lse

N = 5
F = np.eye(2) + np.random.default_rng(8).uniform(-0.1, 0.1, (N, 2, 2))
W = ((np.swapaxes(F, 1, 2) @ F - np.eye(2)) ** 2).sum(axis=(1, 2))


def code_in(message):
    return message.split("Python makes a table of it, ", 1)[1]


@pytest.mark.parametrize("rows_first", [True, False])
@pytest.mark.parametrize("vector", [(N, 1), (1, N)])
def test_the_line_for_a_matlab_file_makes_its_table(tmp_path, monkeypatch, rows_first, vector):
    """MATLAB has vectors of two dimensions, and its users F of 2 x 2 x n."""
    savemat = pytest.importorskip("scipy.io").savemat
    monkeypatch.chdir(tmp_path)
    savemat("cell.mat", {"F": F if rows_first else np.moveaxis(F, 0, -1), "W": W.reshape(vector)})
    with pytest.raises(lse.FormatError, match="a MATLAB file") as refused:
        lse.read_samples("cell.mat")
    exec(code_in(str(refused.value)), {})
    samples = lse.read_samples("cell.npz")
    np.testing.assert_allclose(samples.F, F, rtol=0.0, atol=0.0)
    np.testing.assert_allclose(samples.energy, W, rtol=0.0, atol=0.0)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("cell.h5", b"\x89HDF\r\n\x1a\n" + bytes(99), r"h5py.File\('"),
        (
            "cell.mat",
            b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(384) + b"\x89HDF" + bytes(99),
            r"\[\(\)\]\.T",
        ),
        ("cell.pkl", b"\x80\x04\x95" + bytes(99), "trust only your own"),
        ("cell.db", b"SQLite format 3\x00\x10\x00\x01\x01" + bytes(99), "read_sql"),
        ("cell.vtu", b"<VTKFile>\n</VTKFile>\n", "meshio"),
        ("cell.yaml", b"F11: [1.0, 1.1]\nW: [0, 1]\n", "yaml"),
        ("cell.odb", b"HKSRD\x00" + bytes(99), "field report"),
        ("cell.csv", b" \n\n", "is empty"),
    ],
)
def test_a_file_that_is_no_table_is_refused_with_the_way_to_one(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(lse.FormatError, match=words):
        lse.read_samples(tmp_path / name)


def test_the_lines_for_printed_output_of_abaqus_make_a_table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    head = "    ELEMENT  PT FOOT-    DG11     DG12     DG21    DG22   SENER\n                NOTE\n\n"
    rows = [f"     {k + 1}   1    " + "  ".join(f"{v:.6E}" for v in [*F[k].ravel(), W[k]]) + "\n" for k in range(N)]
    title = " THE FOLLOWING TABLE IS PRINTED AT THE INTEGRATION POINTS FOR ELEMENT TYPE CPE4\n\n"
    blocks = [f"\n INCREMENT {k + 1} SUMMARY\n\n{title}{head}{row}\n MAXIMUM   1.0\n" for k, row in enumerate(rows)]
    (tmp_path / "job.dat").write_text("".join(blocks))
    with pytest.raises(lse.FormatError, match="printed output of Abaqus") as refused:
        lse.read_samples("job.dat")
    exec(re.search(r"import re; .*re\.M\)\)\)", str(refused.value)).group(), {})
    samples = lse.read_samples("rows.txt", columns=[None, None, "F11", "F12", "F21", "F22", "W"])
    np.testing.assert_allclose(samples.F, F, atol=1e-6)
    np.testing.assert_allclose(samples.energy, W, rtol=1e-6)


def test_a_log_of_lammps_gives_the_states_of_all_runs_once(tmp_path):
    """Each run prints the state that the run before has ended in."""

    def states(rows):
        return "".join(f"{100 * k:8d} {F[k, 0, 0]} {F[k, 0, 1]} {F[k, 1, 0]} {F[k, 1, 1]} {W[k]}\n" for k in rows)

    head = "   Step  v_F11 v_F12 v_F21 v_F22 v_W\n"
    end = "Loop time of 0.1 on 1 procs for 200 steps with 64 atoms\n\nPerformance: 7000 ns/day\nNeighs: 5 ave 6 max 4 min\n"
    runs = [f"run 200\n{head}{states(rows)}{end}" for rows in (range(3), range(2, N))]
    (tmp_path / "log.lammps").write_text("LAMMPS (2 Aug 2023)\n" + "".join(runs) + "Total wall time: 0:00:01\n")
    samples = lse.read_samples(tmp_path / "log.lammps")
    np.testing.assert_allclose(samples.F, F)
    np.testing.assert_allclose(samples.energy, W)


@pytest.mark.parametrize("orient", ["split", "index", "table"])
def test_json_as_pandas_writes_it(tmp_path, orient):
    names = ["F11", "F12", "F21", "F22", "W"]
    table = np.column_stack([F.reshape(N, 4), W]).tolist()
    rows = [dict(zip(names, row)) for row in table]
    data = {
        "split": {"columns": names, "index": list(range(N)), "data": table},
        "index": {str(k): row for k, row in enumerate(rows)},
        "table": {"schema": {"fields": [{"name": name, "type": "number"} for name in names]}, "data": rows},
    }[orient]
    (tmp_path / "cell.json").write_text(json.dumps(data))
    samples = lse.read_samples(tmp_path / "cell.json")
    np.testing.assert_allclose(samples.F, F)
    np.testing.assert_allclose(samples.energy, W)


def test_tensors_with_rows_last_are_refused_with_the_way(tmp_path):
    np.savez(tmp_path / "cell.npz", F=np.moveaxis(F, 0, -1), W=W)
    with pytest.raises(lse.FormatError, match=r"numpy.moveaxis\(F, -1, 0\)"):
        lse.read_samples(tmp_path / "cell.npz")
