"""The command line: every command in process, with its exit code, its JSON, and errors in one paragraph on stderr."""

import dataclasses
import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from scipy.integrate import simpson

import lse_material as lse
from lse_material.cli import run
from lse_material.cli.codes import FAILED, INTERRUPTED, MEANINGS, MISSING, OK, TERMINATED, UNEXPECTED, UNUSABLE, USAGE
from tests.materials import random_deformations, random_potential, softening, square_to_rectangle
from tests.pictures import colours

RHO = 0.01
DATA = Path(__file__).parents[1] / "demos" / "data" / "martensite.csv"


@pytest.fixture
def material(tmp_path):
    plain = square_to_rectangle(RHO)
    box = lse.Box(np.full(3, -0.3), np.full(3, 0.3))
    known = {"units": {"energy": "MPa"}, "training_box": box, "provenance": {"rows": 10}}
    whole = dataclasses.replace(plain, **known, symmetry=lse.Symmetry.crystal("square", "rectangle", dim=2))
    lse.save(whole, tmp_path / "cell.safetensors")
    return tmp_path / "cell.safetensors"


@pytest.fixture
def potential(tmp_path):
    lse.save(random_potential(np.random.default_rng(0), 4), tmp_path / "circuit.safetensors")
    return tmp_path / "circuit.safetensors"


def figures(capsys, *arguments, code=OK):
    """The JSON object that a command prints."""
    assert run([*map(str, arguments), "--json"]) == code or code is None
    printed = capsys.readouterr()
    assert printed.err == ""
    assert printed.out.count("\n") == 1
    return json.loads(printed.out)


def refusal(capsys, *arguments):
    """The exit code, and the one paragraph on stderr."""
    code = run([*map(str, arguments)])
    printed = capsys.readouterr()
    assert printed.err.startswith("lse-material: ")
    assert printed.err.count("\n") == 1
    assert "Traceback" not in printed.err
    said = printed.err.removeprefix("lse-material: ").strip()
    if "--json" in arguments:
        assert json.loads(printed.out) == {"error": said, "exit_code": code}
    else:
        assert printed.out == ""
    return code, printed.err


def test_check_passes_a_sound_material(material, capsys):
    found = figures(capsys, "check", material)
    assert found["passed"] is True
    names = [c["name"] for c in found["checks"]]
    assert {"convexity of every mode", "derivatives", "objectivity", "material symmetry"} <= set(names)
    assert {"ellipticity", "extrapolation"} <= set(names)
    assert run(["check", str(material)]) == OK
    assert "convexity of every mode" in capsys.readouterr().out


def test_check_with_data_fails_where_the_errors_are_too_large(material, tmp_path, capsys):
    made = lse.load(material)
    F = random_deformations(np.random.default_rng(1), 30, 2)
    lse.write_samples(lse.Samples(F=F, energy=made.energy(F), stress=made.stress(F)), tmp_path / "good.csv")
    lse.write_samples(lse.Samples(F=F, energy=made.energy(F), stress=1.2 * made.stress(F)), tmp_path / "bad.npz")
    found = figures(capsys, "check", material, "--data", tmp_path / "good.csv")
    errors = {c["name"]: c["value"] for c in found["checks"]}
    assert errors["energies of the data"] < 1e-12
    found = figures(capsys, "check", material, "--data", tmp_path / "bad.npz", code=FAILED)
    (failed,) = [c for c in found["checks"] if not c["passed"]]
    assert failed["name"] == "stresses of the data"
    assert failed["value"] == pytest.approx(0.2 / 1.2)


def test_check_fails_a_material_that_lacks_the_symmetry_it_is_asked_for(material, capsys):
    found = figures(capsys, "check", material, "--symmetry", "hexagon:rectangle", code=FAILED)
    assert [c["name"] for c in found["checks"] if not c["passed"]] == ["material symmetry"]


def test_check_of_a_plain_potential(potential, capsys):
    assert figures(capsys, "check", potential)["passed"] is True


def test_show_finds_the_wells_and_the_barrier_between_them(material, capsys):
    found = figures(capsys, "show", material)
    well = 0.5 * (np.array([0.9, 1.15]) ** 2 - 1.0)  # W is the squared distance from (well, 0) or its mirror image
    places = sorted(w["x"] for w in found["wells"])
    np.testing.assert_allclose(places, [[*well, 0.0], [*well[::-1], 0.0]], atol=1e-5)
    (barrier,) = found["barriers"]
    apart = 2.0 * (well[1] - well[0]) ** 2
    assert found["transition_scale"] == pytest.approx(RHO)
    assert barrier["barrier"] == pytest.approx(0.25 * apart - RHO * np.log(2.0), rel=1e-3)
    assert barrier["below_transition_scale"] is False
    assert found["units"] == {"energy": "MPa"}
    assert found["training_box"] == [[-0.3] * 3, [0.3] * 3]
    assert found["microseconds_per_point"]["numpy"] > 0.0
    assert run(["show", str(material)]) == OK
    assert "square to rectangle, 2D" in capsys.readouterr().out


def test_show_of_a_material_of_invariants_tells_the_well_at_rest(tmp_path, capsys):
    """W = |F|^2 - 2 J + 2 (J - 1)^2 = 2 |dev e|^2 + 2 (tr e)^2 + ... for small strains e; it has no well in its invariants."""
    mode = lse.ConvexNetwork.from_arrays([], [[[1.0, 0.0]]], [[0.0]], quadratic=np.diag([0.0, 2.0]))
    lse.save(lse.Material(lse.SoftMinimum((mode,), 1.0), lse.PrincipalInvariants(2)), tmp_path / "rubber.safetensors")
    found = figures(capsys, "show", tmp_path / "rubber.safetensors")
    assert found["wells"] == []
    assert found["reference"] == pytest.approx(
        {"energy": 0.0, "largest_stress": 0.0, "least_curvature": 4.0}, abs=1e-12
    )
    assert run(["show", str(tmp_path / "rubber.safetensors")]) == OK
    assert "largest |P| 0, least curvature over strains 4" in capsys.readouterr().out


def test_show_of_a_plain_potential(potential, capsys):
    assert figures(capsys, "show", potential, "--no-barriers")["inputs"] == 4


def test_a_material_with_fields_is_shown_checked_drawn_and_exported_where_they_are_held(tmp_path, capsys):
    plain = random_potential(np.random.default_rng(1), 4)
    box = lse.Box(np.full(4, -0.2), np.full(4, 0.4))
    material = lse.Material(plain, lse.GreenLagrange(2), training_box=box, fields=("concentration",))
    path = tmp_path / "cell.safetensors"
    lse.save(material, path)
    assert figures(capsys, "show", path)["fields"] == ["concentration"]
    names = [c["name"] for c in figures(capsys, "check", path, code=None)["checks"]]
    assert {"derivatives", "ellipticity", "extrapolation"} <= set(names)
    assert any("concentration" in pair for pair in figures(capsys, "plot", path)["sections"])
    code, text = refusal(capsys, "export", path, "--to", "c")
    assert (code, "depends on concentration: say --field VALUE" in text) == (UNUSABLE, True)
    figures(capsys, "export", path, "--to", "numpy", "--field", "0.3")
    F = random_deformations(np.random.default_rng(2), 4, 2)
    module = runpy.run_path(str(tmp_path / "cell.py"))
    np.testing.assert_allclose(module["evaluate"](F)[0], material.energy(F, [0.3]), rtol=1e-12)


def test_a_material_of_a_design_is_fitted_and_shown_at_several(tmp_path, capsys):
    rng = np.random.default_rng(3)
    F, p = random_deformations(rng, 90, 2), np.repeat([0.1, 0.3, 0.5], 30)[:, None]
    e = 0.5 * (F + F.swapaxes(1, 2)) - np.eye(2)
    soft = (1.0 - p[:, 0]) ** 2
    samples = lse.Samples(
        F=F, energy=soft * (e**2).sum(axis=(1, 2)), stress=2.0 * soft[:, None, None] * e, fields=p, field_names=("p",)
    )
    table, path = tmp_path / "rows.csv", tmp_path / "cell.safetensors"
    lse.write_samples(samples, table)
    short = ["--modes", "1", "--width", "1", "--kinematics", "small-strain", "--symmetry", "square:square"]
    short += ["--training-restarts", "1", "--training-adam-steps", "50", "--training-lbfgs-steps", "100"]
    assert figures(capsys, "fit", table, "-o", path, "--design", "p", *short)["errors"]["training"]["stress"] < 0.02
    found = figures(capsys, "show", path)
    assert found["kinds"] == {"p": "design"}
    assert [(land["field"], round(land["value"], 9)) for land in found["landscapes"]] == [
        ("p", 0.1),
        ("p", 0.3),
        ("p", 0.5),
    ]
    for land in found["landscapes"]:
        (well,) = land["wells"]
        np.testing.assert_allclose(well["x"], 0.0, atol=0.01)
    assert run(["show", str(path)]) == OK
    assert "p = 0.3" in capsys.readouterr().out
    assert (
        "'p' is given as a temperature and as a design"
        in refusal(capsys, "fit", table, "-o", path, "--design", "p", "--temperature", "p")[1]
    )


@pytest.mark.slow
def test_a_material_of_a_temperature_is_fitted_shown_checked_and_drawn_at_several(tmp_path, capsys):
    exact, rng = softening(3.0, 2.0), np.random.default_rng(3)
    F, T = random_deformations(rng, 120, 2), np.repeat([300.0, 340.0, 400.0], 40)[:, None]
    samples = lse.Samples(F=F, energy=exact.energy(F, T), stress=exact.stress(F, T), fields=T, field_names=("T",))
    table, path = tmp_path / "rows.csv", tmp_path / "soft.safetensors"
    lse.write_samples(samples, table)
    table.write_text(table.read_text().replace("field T", "T"))
    code, text = refusal(capsys, "fit", table, "-o", path)
    assert (code, "can be read in 2 ways" in text) == (UNUSABLE, True)
    options = ["--temperature", "T", "--modes", "1", "--depth", "0", "--kinematics", "small-strain"]
    figures(capsys, "fit", table, "-o", path, *options)
    found = figures(capsys, "show", path)
    assert (found["kinds"], found["ranges"]) == ({"T": "temperature"}, {"T": [300.0, 400.0]})
    assert [(land["value"], len(land["wells"])) for land in found["landscapes"]] == [(300, 1), (350, 1), (400, 1)]
    assert run(["show", str(path)]) == OK
    assert "T (temperature, 300 to 400)" in capsys.readouterr().out
    checks = {check["name"]: check for check in figures(capsys, "check", path)["checks"]}
    assert checks["concavity in temperature"]["passed"]
    assert {"energies of the data", "stresses of the data"} <= {
        check["name"] for check in figures(capsys, "check", path, "--data", table)["checks"] if check["passed"]
    }
    pictures = figures(capsys, "plot", path)["pictures"]
    assert [one["file"] for one in pictures] == [str(tmp_path / f"soft-T{T}.png") for T in (300, 350, 400)]
    stiffness = [np.diff(one["paths"]["uniaxial"]["stress"])[0] for one in pictures]
    assert stiffness[0] == pytest.approx(1.5 * stiffness[2], rel=1e-4)
    code, text = refusal(capsys, "export", path, "--to", "c", "--field", "500")
    assert (code, "outside its range, 300 to 400" in text) == (UNUSABLE, True)


@pytest.mark.slow
def test_a_material_of_a_temperature_and_a_design_is_fitted_shown_checked_and_drawn(tmp_path, capsys):
    rng = np.random.default_rng(5)
    T, p = (np.repeat(each.ravel(), 8)[:, None] for each in np.meshgrid([260.0, 300.0], [0.1, 0.3, 0.5]))
    F = random_deformations(rng, len(T), 2)
    e = 0.5 * (F + F.swapaxes(1, 2)) - np.eye(2)
    soft = ((1.0 - p) * (2.0 - (T - 260.0) / 40.0))[:, 0]
    W, P = soft * (e**2).sum(axis=(1, 2)), 2.0 * soft[:, None, None] * e
    table, path = tmp_path / "rows.csv", tmp_path / "cell.safetensors"
    fields = {"fields": np.concatenate([p, T], axis=1), "field_names": ("p", "T")}
    lse.write_samples(lse.Samples(F=F, energy=W, stress=P, **fields), table)
    short = ["--modes", "1", "--width", "1", "--kinematics", "small-strain", "--symmetry", "square:square"]
    short += ["--training-restarts", "1", "--training-adam-steps", "50", "--training-lbfgs-steps", "150"]
    together = ["--design", "p", "--temperature", "T"]
    assert figures(capsys, "fit", table, "-o", path, *together, *short)["errors"]["training"]["stress"] < 0.03
    found = figures(capsys, "show", path)
    assert (found["kinds"], found["ranges"]) == ({"T": "temperature", "p": "design"}, {"T": [260.0, 300.0]})
    assert run(["show", str(path)]) == OK
    text = capsys.readouterr().out
    assert "T (temperature, 260 to 300)" in text
    assert "p (design)" in text
    checks = {check["name"]: check["passed"] for check in figures(capsys, "check", path, "--data", table)["checks"]}
    assert {"concavity in temperature", "stresses of the data"} <= {name for name, passed in checks.items() if passed}
    curve = figures(capsys, "plot", path)["paths"]["uniaxial"]
    stiffness = np.diff(curve["stress"])[0] / np.diff(curve["amount"])[0]
    assert stiffness == pytest.approx(2.0 * 0.7 * 1.5, rel=0.05)  # at the middle of both
    F1 = np.diag([1.02, 1.0])
    assert lse.load(path).at(T=290.0, p=0.2).stress(F1)[0, 0] == pytest.approx(2.0 * 0.8 * 1.25 * 0.02, rel=0.05)
    code, text = refusal(capsys, "export", path, "--to", "c", "--field", "310", "--field", "0.2")
    assert (code, "outside its range, 260 to 300" in text) == (UNUSABLE, True)


def test_wells_of_a_plain_potential_of_a_temperature_are_those_of_its_other_inputs(tmp_path, capsys):
    """psi = (1 - t) (x2^2 + 3 x3^2) + t ((x2 - 1)^2 + x3^2) has its well at (t, 0); beyond t = 1.5 it is not convex."""
    ends = [
        lse.ConvexNetwork.from_arrays([], [[[0.0, 0.0]]], [[0.0]], quadratic=np.diag(np.sqrt([2.0, 6.0]))),
        lse.ConvexNetwork.from_arrays([], [[[-2.0, 0.0]]], [[1.0]], quadratic=np.diag(np.sqrt([2.0, 2.0]))),
    ]
    potential = lse.SoftMinimum((lse.InterpolatedNetwork(*ends),), 1.0, [300.0, 0.0, 0.0], [100.0, 1.0, 1.0])
    path = tmp_path / "soft.safetensors"
    lse.save(dataclasses.replace(potential, training_box=lse.Box([300.0, -2.0, -2.0], [400.0, 2.0, 2.0])), path)
    for land in figures(capsys, "show", path)["landscapes"]:
        (only,) = land["wells"]
        assert land["field"] == "x1"
        np.testing.assert_allclose(only["x"], [(land["value"] - 300.0) / 100.0, 0.0], atol=1e-9)
    assert figures(capsys, "check", path)["passed"]
    pictures = figures(capsys, "plot", path)["pictures"]
    assert [one["file"] for one in pictures] == [str(tmp_path / f"soft-x1={T}.png") for T in (300, 350, 400)]
    assert pictures[0]["sections"] == [["x2", "x3"]]


def test_plot_draws_sections_and_curves(material, potential, tmp_path, capsys):
    found = figures(capsys, "plot", material, "--path", "biaxial")
    assert len(found["sections"]) == 3
    assert len(colours(tmp_path / "cell.png")) > 3
    curve = found["paths"]["biaxial"]
    amount, energy, stress = (np.array(curve[key]) for key in ("amount", "energy", "stress"))
    work = 2.0 * simpson(stress, x=amount)  # of P11 and of P22, which are equal here
    assert energy[-1] - energy[0] == pytest.approx(work, rel=1e-5)
    figures(capsys, "plot", potential, "-o", tmp_path / "circuit.pdf")
    assert (tmp_path / "circuit.pdf").exists()
    code, text = refusal(capsys, "plot", material, "--path", "diagonal")
    assert (code, "there are uniaxial" in text) == (UNUSABLE, True)


KINDS = {
    "c": ".c",
    "jax": "_jax.py",
    "mfront": ".mfront",
    "numpy": ".py",
    "torch": "_torch.py",
    "ufl": "_ufl.py",
    "umat": ".f",
}


@pytest.mark.parametrize(("kind", "ending"), KINDS.items())
def test_export_writes_beside_the_material_or_where_it_is_told(kind, ending, material, tmp_path, capsys):
    found, path = figures(capsys, "export", material, "--to", kind), tmp_path / f"cell{ending}"
    assert found["file"] == str(path)
    assert path.stat().st_size == found["bytes"]
    assert run(["export", str(material), "--to", kind, "-o", str(tmp_path / "other.txt")]) == OK
    assert "other.txt" in capsys.readouterr().out


def test_fit_takes_every_field_of_its_dataclasses_and_writes_a_material(tmp_path, capsys):
    out = tmp_path / "m.safetensors"
    rows = "\n".join(DATA.read_text().splitlines()[:62])
    (tmp_path / "data.csv").write_text(rows)
    short = ["--training-adam-steps", "5", "--training-restarts", "1", "--training-lbfgs-steps", "2", "--width", "2"]
    options = ["--modes", "3", "--no-quadratic", "--growth", "0.5", "--test", "0.2", "--seed", "3", "--even-if-useless"]
    found = figures(capsys, "fit", tmp_path / "data.csv", "-o", out, *short, *options)
    made = lse.load(out)
    assert (made.modes, made.growth.coefficient) == (3, 0.5)
    assert all(mode.quadratic is None and len(mode.biases[0]) == 2 for mode in made.potential.modes)
    assert made.units["energy"] == "MPa"
    assert made.provenance["seed"] == 3
    assert found["modes"] == 3
    assert set(found["errors"]) == {"training", "validation", "test"}
    code, text = refusal(capsys, "fit", tmp_path / "data.csv", "-o", out, *short, "--growth", "much")
    assert code == UNUSABLE
    assert "--growth is 'much'" in text


def test_fit_reads_tables_of_other_names_and_says_what_it_took_for_what(tmp_path, capsys):
    """Two files with decimal commas and names of their own, each a load path: one of them is held back as a whole."""
    head, *lines = [line for line in DATA.read_text().splitlines() if not line.startswith("#")]
    head = head.replace("P", "stress_").replace("F", "grad ").replace(",", ";")
    for name, rows in (("a", lines[:30]), ("b", lines[30:60])):
        (tmp_path / f"{name}.txt").write_text(
            "\n".join([head, *(row.replace(",", ";").replace(".", ",") for row in rows)])
        )
    columns = ",".join(
        f"{q}{ij}={n}{ij}" for q, n in (("F", "grad "), ("P", "stress_")) for ij in ("11", "12", "21", "22")
    )
    out = tmp_path / "m.safetensors"
    short = ["--training-adam-steps", "3", "--training-restarts", "1", "--training-lbfgs-steps", "2", "--modes", "1"]
    short += ["--even-if-useless"]
    files = [str(tmp_path / "a.txt"), str(tmp_path / "b.txt")]
    assert run(["fit", *files, "-o", str(out), "--columns", columns, "--test", "0.5", *short]) == OK
    text = capsys.readouterr().out
    assert "deformation gradient: grad 11 (F11)" in text
    assert "columns between semicolons, decimal comma" in text
    assert "fit to 30 rows (30 are kept for the test), number of modes 1: 1 times 3 steps from a random start" in text
    assert lse.load(out).dim == 2
    checked = tmp_path / "a.txt"
    assert run(["check", str(out), "--data", str(checked), "--columns", columns, "--tolerance", "1e9", "--json"]) in (
        OK,
        FAILED,
    )
    assert "energies of the data" in capsys.readouterr().out


@pytest.mark.parametrize("columns", ["F11", "F11=", "=a", "F11=a,b"])
def test_columns_that_are_not_written_right_are_refused(columns, tmp_path, capsys):
    code, text = refusal(capsys, "fit", DATA, "-o", tmp_path / "m.safetensors", "--columns", columns)
    assert code in (USAGE, UNUSABLE)
    assert "olumns" in text


def test_fit_finds_the_coefficient_of_the_growth_term(tmp_path, capsys):
    """One quadratic mode in E and c (J - 1 - ln J): all of it is in the class."""
    F = np.eye(2) + np.random.default_rng(0).uniform(-0.3, 0.3, (120, 2, 2))
    mode = lse.ConvexNetwork.from_arrays([], [np.zeros((1, 3))], [[0.0]], quadratic=np.eye(3))
    exact = lse.Material(lse.SoftMinimum((mode,), 1.0), lse.GreenLagrange(2), lse.Growth(0.7))
    lse.write_samples(lse.Samples(F=F, energy=exact.energy(F), stress=exact.stress(F)), tmp_path / "rows.npz")
    out, shape = tmp_path / "m.safetensors", ["--modes", "auto", "--depth", "0", "--max-modes", "2"]
    figures(capsys, "fit", tmp_path / "rows.npz", "-o", out, *shape, "--growth", "auto")
    assert lse.load(out).growth.coefficient == pytest.approx(0.7, rel=1e-6)


@pytest.mark.slow
def test_a_design_may_be_the_first_of_the_inputs_x(tmp_path, capsys):
    x = np.random.default_rng(0).uniform(-1.0, 1.0, (60, 2))
    lse.write_samples(lse.Samples(x=x, energy=(2.0 + x[:, 0]) * x[:, 1] ** 2), tmp_path / "rows.csv")
    short = ["--modes", "1", "--width", "2", "--training-restarts", "1", "--training-adam-steps", "20"]
    figures(capsys, "fit", tmp_path / "rows.csv", "-o", tmp_path / "m.safetensors", "--design", "x1", *short, code=None)
    assert lse.load_potential(tmp_path / "m.safetensors").kinds == ("design", "convex")


def test_fit_of_rows_of_x_saves_a_plain_potential(tmp_path, capsys):
    x = np.random.default_rng(0).normal(size=(60, 2))
    lse.write_samples(lse.Samples(x=x, energy=(x**2).sum(axis=1)), tmp_path / "rows.npz")
    short = ["--training-adam-steps", "20", "--training-restarts", "1", "--training-lbfgs-steps", "20", "--modes", "1"]
    figures(capsys, "fit", tmp_path / "rows.npz", "-o", tmp_path / "p.safetensors", *short)
    assert lse.load_potential(tmp_path / "p.safetensors").size == 2
    code, text = refusal(capsys, "fit", tmp_path / "rows.npz", "-o", tmp_path / "p.safetensors", "--growth", "1")
    assert code == UNUSABLE
    assert "rows of x" in text


def test_a_potential_keeps_its_box_units_and_origin_and_its_wells_outside_the_data_are_told_apart(tmp_path, capsys):
    """The rows end on the way down from a ridge: any well of the fit lies outside them."""
    x, file = np.linspace(-1.0, 1.0, 41)[:, None], tmp_path / "box.safetensors"
    rows = lse.Samples(x=x, energy=np.cos(2 * x[:, 0]), gradient=-2 * np.sin(2 * x), units={"energy": "kJ/mol"})
    lse.write_samples(rows, tmp_path / "box.csv")
    figures(capsys, "fit", tmp_path / "box.csv", "-o", file, "--training-restarts", "1", "--seed", "3")
    potential, found = lse.load_potential(file), figures(capsys, "show", file)
    assert [*potential.training_box.lower, *potential.training_box.upper] == [-1.0, 1.0]
    assert potential.units == found["units"] == {"energy": "kJ/mol"}
    assert found["training_box"] == [[-1.0], [1.0]]
    assert (found["provenance"]["rows"], found["provenance"]["seed"]) == (41, 3)
    assert len(found["wells"]) > 0
    assert all(well["inside_box"] is (abs(well["x"][0]) <= 1.0) for well in found["wells"])
    assert "kJ/mol" in show_text(capsys, file)
    checks = figures(capsys, "check", file, "--data", tmp_path / "box.csv", code=None)["checks"]
    assert {"extrapolation", "rows outside the training box"} <= {check["name"] for check in checks}
    assert figures(capsys, "plot", file, "-o", tmp_path / "box.png")["wells"] == 0


def show_text(capsys, file):
    """What `show` prints for people."""
    assert run(["show", str(file)]) == OK
    return capsys.readouterr().out


def test_a_potential_without_a_box_does_not_say_where_its_wells_lie(potential, capsys):
    assert {well["inside_box"] for well in figures(capsys, "show", potential)["wells"]} <= {None}
    assert "not known" in show_text(capsys, potential)


def test_the_options_of_fit_are_the_fields_of_its_dataclasses(capsys):
    from lse_material.fit import Architecture, Sparsity, Training

    assert run(["fit", "--help"]) == OK
    text = capsys.readouterr().out
    assert "[required]" in text
    assert "\\" not in text
    for kind, prefix in ((Architecture, ""), (Training, "training-"), (Sparsity, "sparsity-")):
        for field in dataclasses.fields(kind):
            assert f"--{prefix}{field.name.replace('_', '-')}" in text
            assert f"{field.name}: {field.metadata['help']}" in kind.__doc__


def test_demo_lists_what_there_is_and_refuses_what_there_is_not(capsys):
    found = figures(capsys, "demo")["demos"]
    assert "fit_then_simulate" in found
    code, text = refusal(capsys, "demo", "nothing")
    assert code == UNUSABLE
    assert "fit_then_simulate" in text


@pytest.mark.slow
def test_doctor_says_what_is_there_what_is_not_and_what_is_broken(tmp_path, monkeypatch, capsys):
    packages = {"numpy": "everything", "none_such": "nothing"}
    monkeypatch.setattr("lse_material.cli.doctor.PACKAGES", packages)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = figures(capsys, "doctor")
    assert found["works"] is True
    states = {f["name"]: (f["state"], f["remedy"]) for f in found["findings"]}
    assert states["numpy"] == states["lse_material.fem"] == states["C compiler"] == ("works", "")
    assert states["none_such"] == ("missing", "pip install none_such")
    (tmp_path / "none_such.py").write_text("raise RuntimeError('too old')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    broken = figures(capsys, "doctor", code=FAILED)["findings"][1]
    assert (broken["state"], "too old" in broken["remedy"]) == ("broken", True)


def test_doctor_calls_missing_what_a_missing_package_keeps_from_working(tmp_path, monkeypatch, capsys):
    (tmp_path / "user.py").write_text("import none_such")
    (tmp_path / "dolfinx.py").write_text("import dolfinx_core_none")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("lse_material.cli.doctor.PACKAGES", {"user": "its users"})
    states = {f["name"]: (f["state"], f["remedy"]) for f in figures(capsys, "doctor")["findings"]}
    assert states["user"] == ("missing", "it needs none_such: pip install none_such")
    assert states["lse_material.fem"][0] == "missing"


def test_doctor_finds_what_killed_compilations_left(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("lse_material.cli.doctor.PACKAGES", {})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder, old = tmp_path / "fenics", (1e9, 1e9)
    folder.mkdir()
    for name in ("libffcx_forms_a.c", "libffcx_forms_b.c", "libffcx_forms_b.c.cached", "libffcx_forms_c.c"):
        (folder / name).touch()
        os.utime(folder / name, None if name.endswith("c.c") else old)  # c may still be on its way
    (found,) = [f for f in figures(capsys, "doctor", code=FAILED)["findings"] if f["name"] == "form cache"]
    assert found["remedy"].endswith(f"rm {folder / 'libffcx_forms_a.c'}")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["check", "nowhere.safetensors"], UNUSABLE, "there is no material file nowhere.safetensors"),
        (["check", "BAD"], UNUSABLE, "rho holds nan"),
        (["check", "CELL", "--symmetry", "square"], USAGE, "PARENT:VARIANT"),
        (["check", "CELL", "--symmetry", "cubic:square"], USAGE, "no symmetry 'cubic' in 2D"),
        (["check", "CELL", "--data", "none.csv"], UNUSABLE, "none.csv"),
        (["check", "CELL", "--data", "POINTS", "--json"], UNUSABLE, "has rows of x, and"),
        (["check", "POTENTIAL", "--data", "DATA", "--json"], UNUSABLE, "has rows of F in 2D, and"),
        (["check", "POTENTIAL", "--symmetry", "square:rectangle"], UNUSABLE, "is a plain potential: leave it out"),
        (["export", "POTENTIAL", "--to", "c", "--field", "1"], UNUSABLE, "leave --field out"),
        (["export", "CELL", "--to", "c", "-o", "CELL"], UNUSABLE, "is the name of a material"),
        (["fit", "DATA", "-o", "FOLDER"], UNUSABLE, "is a folder: give the name of a file"),
        (["fit", "DATA", "-o", "m.safetensors", "--heat-capacity", "1"], UNUSABLE, "needs --temperature"),
        (["fit", "POINTS", "-o", "m.safetensors", "--kinematics", "small-strain"], UNUSABLE, "nor --kinematics"),
        (["check"], USAGE, "Missing argument"),
        (["frobnicate"], USAGE, "No such command"),
        (["show", "--json"], USAGE, "Missing argument"),
        (["export", "CELL", "--to", "c", "--field", "1"], UNUSABLE, "has no fields: leave --field out"),
        (["export", "CELL", "--to", "fortran"], USAGE, "'fortran' is not one of"),
        (["fit", "DATA", "-o", "cell.txt"], UNUSABLE, "must end in .safetensors"),
        (["fit", "DATA", "-o", "/nowhere/m.safetensors"], UNUSABLE, "lie in a folder that is there"),
        (["fit", "DATA", "-o", f"{'m' * 300}.safetensors"], UNUSABLE, "too long"),
        (["fit", "DATA", "-o", "m.safetensors", "--test", "nan"], USAGE, "nan is no number"),
        (["check", "CELL", "--data", "DATA", "--tolerance", "nan"], USAGE, "nan is no number"),
        (["plot", "CELL", "-o", "/nowhere/cell.png"], UNUSABLE, "there is no folder /nowhere"),
        (["fit", "DATA", "-o", "m.safetensors", "--width", "0"], USAGE, "Architecture.width is 0"),
        (["fit", "DATA", "-o", "m.safetensors", "--modes", "few"], USAGE, "neither a whole number nor auto"),
        (["fit", "CELL", "-o", "m.safetensors"], UNUSABLE, "is not a text file. Samples are read from tables"),
    ],
)
def test_errors_are_one_paragraph_with_a_documented_code(arguments, code, says, material, potential, tmp_path, capsys):
    (tmp_path / "folder.safetensors").mkdir()
    (tmp_path / "points.csv").write_text("x1,W\n1,2\n2,3\n")
    tensors = safetensors.numpy.load_file(material)
    with safetensors.safe_open(material, framework="numpy") as file:
        metadata = file.metadata()
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(safetensors.numpy.save(tensors | {"rho": np.array(np.nan)}, metadata))
    given = {"CELL": str(material), "BAD": str(bad), "DATA": str(DATA), "POTENTIAL": str(potential)}
    given |= {"FOLDER": str(tmp_path / "folder.safetensors"), "POINTS": str(tmp_path / "points.csv")}
    found, text = refusal(capsys, *(given.get(a, a) for a in arguments))
    assert found == code
    assert found in MEANINGS
    assert says in text


@pytest.mark.parametrize(
    ("number", "code", "says"), [(signal.SIGINT, INTERRUPTED, "interrupted"), (signal.SIGTERM, TERMINATED, "SIGTERM")]
)
def test_a_search_that_is_ended_before_it_has_found_anything_says_by_what(
    number, code, says, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("lse_material.fit.fit", lambda *_, **__: signal.raise_signal(number))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    assert run(["fit", str(DATA), "-o", str(tmp_path / "m.safetensors")]) == code
    signal.signal(signal.SIGINT, before)
    assert says in capsys.readouterr().err


def test_debug_raises_the_error_itself():
    with pytest.raises(FileNotFoundError):
        run(["check", "nowhere.safetensors", "--debug"])


def test_a_defect_has_its_own_code(material, monkeypatch, capsys):
    monkeypatch.setattr("lse_material.analysis.validation.verify", lambda *_, **__: 1 / 0)
    code, text = refusal(capsys, "check", material)
    assert code == UNEXPECTED
    assert "ZeroDivisionError" in text


@pytest.mark.parametrize(
    ("hidden", "arguments", "says"),
    [
        (
            "torch",
            ["fit", "rows.csv", "-o", "m.safetensors"],
            "fitting needs torch, which is not installed: pip install",
        ),
        ("typer", ["doctor"], "pip install 'lse-material[cli]'"),
    ],
)
def test_what_is_not_installed_is_named_with_its_remedy(hidden, arguments, says):
    code = f"import sys; sys.modules[{hidden!r}] = None; from lse_material.cli import run; sys.exit(run({arguments!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == MISSING, done.stderr
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_checking_and_exporting_load_neither_torch_nor_scipy(material):
    code = (
        "import sys; from lse_material.cli import run; "
        f"assert run(['check', {str(material)!r}]) == 0; assert run(['export', {str(material)!r}, '--to', 'c']) == 0; "
        "print([m for m in ('torch', 'scipy', 'dolfinx', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_python_m_and_the_installed_script_are_the_command_line():
    done = subprocess.run(
        [sys.executable, "-m", "lse_material", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == f"lse_material {lse.__version__}"


def test_a_terminal_without_the_letters_of_a_name_is_told_all_the_same(material, tmp_path):
    file = shutil.copy(material, tmp_path / "Matériau.safetensors")
    command = [sys.executable, "-m", "lse_material", "export", str(file), "--to", "c"]
    ascii_only = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=ascii_only)
    assert r"Mat\xe9riau.c" in done.stdout
