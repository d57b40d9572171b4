"""The material file: bitwise round trips, and every damaged, foreign or malformed file refused by name."""

import json
import os
import pickle
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import lse_material as lse
from lse_material import (
    Box,
    FormatError,
    GreenLagrange,
    Growth,
    InvalidInputError,
    Material,
    SoftMinimum,
    Symmetry,
    load,
    load_potential,
    save,
)
from tests.bomb import Bomb
from tests.materials import (
    STRAIN_MEASURES,
    measure_name,
    random_deformations,
    random_design,
    random_material,
    random_network,
    random_potential,
    temperature_and_design_material,
    temperature_material,
)


def full_material(kinematics=GreenLagrange(2), **options):  # noqa: B008
    rng = np.random.default_rng(0)
    material = random_material(rng, kinematics, **{"modes": 2, "growth": Growth(0.3), **options})
    lower = rng.normal(size=kinematics.size)
    return Material(
        material.potential,
        kinematics,
        material.growth,
        units={"energy": "J/m³", "stress": "MPa"},
        training_box=Box(lower, lower + 1.0),
        provenance={"package": "0.1", "errors": {"energy": 1e-3, "runs": [1, 2.5, None, True]}},
    )


def parts(material):
    """The tensors and the metadata of the file, read independently of `load`."""
    content = written(material)
    size = int.from_bytes(content[:8], "little")
    return safetensors.numpy.load(content), json.loads(content[8 : 8 + size])["__metadata__"]


def written(material):
    """The bytes of the material's file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.safetensors"
        save(material, path)
        return path.read_bytes()


def rewritten(path, tensors=None, metadata=None, remove=()):
    """The file of a good material with some tensors and metadata changed or removed."""
    good_tensors, good_metadata = parts(full_material())
    good_tensors |= tensors or {}
    good_metadata |= metadata or {}
    for key in remove:
        good_tensors.pop(key, None)
        good_metadata.pop(key, None)
    path.write_bytes(safetensors.numpy.save(good_tensors, good_metadata))
    return path


@pytest.mark.parametrize("kinematics", STRAIN_MEASURES, ids=measure_name)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"depth": 0},
        {"depth": 3, "quadratic": False},
        {"activation": "squared_softplus", "growth": None, "modes": 12},
    ],
    ids=["full", "affine", "deep", "squared"],
)
def test_a_material_comes_back_bitwise(tmp_path, kinematics, options):
    material = full_material(kinematics, **options)
    path = tmp_path / "m.safetensors"
    save(material, str(path))
    back = load(str(path))
    assert back.kinematics == material.kinematics
    assert back.growth == material.growth
    assert back.units == material.units
    assert back.provenance == material.provenance
    for side in ("lower", "upper"):
        np.testing.assert_array_equal(getattr(back.training_box, side), getattr(material.training_box, side))
    F = random_deformations(np.random.default_rng(1), 20, material.dim)
    for method in ("energy", "stress", "tangent", "mode_weights"):
        np.testing.assert_array_equal(getattr(back, method)(F), getattr(material, method)(F))
    assert written(back) == written(material) == path.read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_symmetry_comes_back_and_a_key_that_format_1_does_not_know_is_passed_over(tmp_path):
    symmetry = Symmetry.crystal("square", "rectangle", dim=2)
    material = replace(full_material(), symmetry=symmetry)
    back = load(
        rewritten(tmp_path / "m.safetensors", metadata={"symmetry": json.dumps(symmetry.to_dict()), "new": "1"})
    )
    assert back.symmetry.name == "square to rectangle, 2D"
    assert len(back.symmetry.variants) == 2
    assert written(back) == written(material)


def test_a_plain_potential_comes_back_bitwise(tmp_path):
    known = {"units": {"energy": "eV"}, "training_box": Box(-np.ones(4), np.ones(4)), "provenance": {"rows": 7}}
    potential = replace(random_potential(np.random.default_rng(2), 4), **known)
    path = tmp_path / "p.safetensors"
    save(potential, path)
    back = load_potential(path)
    assert (back.units, back.provenance) == (known["units"], known["provenance"])
    np.testing.assert_array_equal([back.training_box.lower, back.training_box.upper], [-np.ones(4), np.ones(4)])
    x = np.random.default_rng(3).normal(size=(20, 4))
    np.testing.assert_array_equal(load_potential(path).hessian(x), potential.hessian(x))
    with pytest.raises(FormatError, match=r"read it with load_potential\(\)"):
        load(path)


def test_the_potential_of_a_material_file_can_be_read_alone(tmp_path):
    material = full_material()
    save(material, tmp_path / "m.safetensors")
    potential = load_potential(tmp_path / "m.safetensors")
    assert potential.scaled_rho == material.potential.scaled_rho


def test_the_tensors_have_the_names_and_types_of_format_1():
    tensors, metadata = parts(full_material(depth=1))
    names = {"rho", "input_shift", "input_scale", "energy_scale", "energy_shift"}
    for k in range(2):
        names |= {f"mode.{k}.{part}" for part in ("x_weight.0", "bias.0", "z_weight.1", "x_weight.1", "bias.1")}
        names.add(f"mode.{k}.quadratic")
    assert set(tensors) == names
    assert {tensor.dtype for tensor in tensors.values()} == {np.dtype("float64")}
    assert tensors["rho"].shape == ()
    assert metadata["format"] == "lse-material/1"
    assert metadata["soft_minimum"] == "-rho*log(sum(exp(-psi/rho)))"
    assert metadata["activation"] == "softplus"
    assert json.loads(metadata["kinematics"]) == {"type": "GreenLagrange", "dim": 2}


NAN = np.array([0.0, np.nan, 0.0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tensors": {"input_shift": NAN}}, r"tensor input_shift holds nan at entry \(1,\)"),
        ({"tensors": {"rho": np.array(np.inf)}}, r"tensor rho holds inf at entry \(\)"),
        ({"tensors": {"rho": np.array(-0.1)}}, "rho, the transition scale, is -0.1; it must be a finite number > 0"),
        ({"tensors": {"rho": np.array([0.1])}}, r"tensor rho has shape \(1,\); it should be \(\)"),
        ({"tensors": {"rho": np.array(0.1, np.float32)}}, "tensor rho is float32; a material file holds float64 only"),
        ({"tensors": {"rho": np.array(1)}}, "tensor rho is int64"),
        ({"tensors": {"energy_scale": np.array(-1.0)}}, "energy_scale is -1.0; it must be a finite number > 0"),
        ({"tensors": {"input_scale": np.zeros(3)}}, "every entry must be > 0"),
        ({"tensors": {"input_scale": np.ones(2)}}, r"tensor input_scale has shape \(2,\); it should be \(3,\)"),
        (
            {"tensors": {"mode.1.z_weight.2": np.array([[0.0, 0.0, -1.0, 0.0, 0.0, 0.0]])}},
            r"mode.1: z_weight.2 is -1.000e\+00 at entry \(0, 2\): the mode is not convex",
        ),
        ({"tensors": {"mode.0.bias.1": np.zeros(4)}}, r"mode.0: bias.1 has shape \(4,\); it should be \(6,\)"),
        ({"tensors": {"mode.0.bias.0": np.zeros((5, 1))}}, "mode.0: bias.0 has 2 axes"),
        ({"tensors": {"mode.0.quadratic": np.zeros((2, 2))}}, r"mode.0: quadratic has shape \(2, 2\)"),
        ({"tensors": {"mode.0.gate": np.zeros(1)}}, "mode.0: tensor gate is not part of a ConvexNetwork"),
        ({"tensors": {"mode.00.bias.0": np.zeros(5)}}, "tensor mode.00.bias.0 is not part of format 1"),
        ({"tensors": {"mode.3.bias.0": np.zeros(5)}}, r"modes are numbered \[0, 1, 3\]"),
        ({"tensors": {"mode.0.x_weight.4": np.zeros((1, 3))}}, r"mode.0: .* x_weight of layers \[0, 1, 2, 4\]"),
        ({"remove": ["rho"]}, "tensor rho is missing"),
        ({"remove": ["input_shift"]}, "tensor input_shift is missing"),
        ({"remove": ["mode.1.bias.0"]}, r"mode.1: it has 3 x_weights, and bias of layers \[1, 2\]; needed are 0 .. 2"),
        ({"remove": ["mode.0.z_weight.1"]}, r"mode.0: .* z_weight of layers \[2\]; needed are 1 .. 2"),
        ({"metadata": {"activation": "relu"}}, "activation 'relu' is not known"),
        ({"metadata": {"soft_minimum": "min(psi)"}}, r"uses the soft minimum 'min\(psi\)'"),
        ({"metadata": {"format": "lse-material/3"}}, "is of format lse-material/3; this lse_material reads .*Update"),
        ({"metadata": {"format": "other/1"}}, "not of lse_material: its format is 'other/1'"),
        ({"remove": ["format"]}, "not of lse_material: its format is ''"),
        ({"remove": ["kinematics"]}, "metadata lack 'kinematics'"),
        ({"metadata": {"kinematics": "{"}}, "metadata 'kinematics' are not JSON"),
        ({"metadata": {"kinematics": "[" * 100_000}}, "metadata 'kinematics' are not JSON"),
        ({"metadata": {"kinematics": '{"type": "Hencky", "dim": 2}'}}, "the strain measure .*Hencky.* is not known"),
        ({"metadata": {"kinematics": '{"type": "GreenLagrange", "dim": 3}'}}, "GreenLagrange in 3D gives 6"),
        ({"metadata": {"growth": '{"type": "Growth", "coefficient": NaN}'}}, "growth coefficient is nan"),
        ({"metadata": {"growth": "1"}}, "the growth term 1 is not known"),
        ({"metadata": {"growth": "[]"}}, r"the growth term \[\] is not known"),
        ({"metadata": {"growth": '{"type": "Growth"}'}}, "the growth term .* is not known"),
        ({"metadata": {"growth": '{"type": "Log", "coefficient": 1.0}'}}, "the growth term .* is not known"),
        ({"metadata": {"caloric": '{"type": "Caloric", "heat_capacity": 1.0}'}}, "the caloric term .* is not known"),
        ({"metadata": {"units": "[]"}}, "metadata 'units' are a list, not a dict"),
        ({"metadata": {"provenance": "3"}}, "metadata 'provenance' are a int, not a dict"),
        ({"metadata": {"training_box": "[1]"}}, r"training_box \[1\] is not \[lower, upper\]"),
        ({"metadata": {"training_box": "[[0, 0], [1, 1]]"}}, "training_box has 2 components; the potential has 3"),
        ({"metadata": {"training_box": "[[0, 0, NaN], [1, 1, 1]]"}}, "training_box: box lower holds nan"),
        ({"metadata": {"symmetry": '{"name": 1}'}}, "a symmetry has a name, a size and generators"),
        (
            {"metadata": {"symmetry": '{"name": "a", "size": 2, "group": [], "invariance": []}'}},
            "symmetry has 2 components; the potential has 3",
        ),
        ({"metadata": {"training_box": "[[2, 0, 0], [1, 1, 1]]"}}, "training_box: the box is empty"),
    ],
)
def test_a_malformed_file_is_refused_by_name(tmp_path, change, message):
    load(rewritten(tmp_path / "good.safetensors"))
    path = rewritten(tmp_path / "bad.safetensors", **change)
    with pytest.raises(FormatError, match=message) as caught:
        load(path)
    assert "bad.safetensors" in str(caught.value)
    assert "\n" not in str(caught.value)  # one paragraph


def test_a_file_cut_off_anywhere_is_refused(tmp_path):
    content = written(full_material())
    path = tmp_path / "cut.safetensors"
    for length in [0, 1, 7, 8, 9, 100, *range(200, len(content), 211), len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(FormatError, match=r"cut.safetensors is not a whole \.safetensors file"):
            load(path)
    path.write_bytes(content + b"more")
    with pytest.raises(FormatError, match="is not a whole"):
        load(path)


def material_of_designs():
    rng = np.random.default_rng(3)
    modes = tuple(random_design(rng, 2, 3, width=2, features=1, rows=1) for _ in range(2))
    return Material(SoftMinimum(modes, 0.3), GreenLagrange(2), fields=("a", "b"))


DAMAGED = {
    "ConvexNetwork": lambda: full_material(depth=1, width=2, modes=1),
    "DesignNetwork": material_of_designs,
    "InterpolatedDesign": lambda: temperature_and_design_material(modes=1),
    "InterpolatedNetwork": lambda: temperature_material(modes=1, depths=(0, 0)),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_changed_byte_gives_a_format_error_or_other_numbers_but_nothing_else(kind, tmp_path):
    content = written(DAMAGED[kind]())
    path = tmp_path / "changed.safetensors"
    refused = 0
    for place in range(0, len(content), 7):
        damaged = bytearray(content)
        damaged[place] ^= 0x91
        path.write_bytes(damaged)
        try:
            load(path)
        except FormatError:
            refused += 1
    assert refused > 50


def test_pickles_and_torch_checkpoints_are_never_loaded(tmp_path):
    proof, path = tmp_path / "proof", tmp_path / "m.safetensors"
    path.write_bytes(pickle.dumps(Bomb(proof)))
    with pytest.raises(FormatError, match=r"Pickles and torch checkpoints are never loaded.*from_arrays"):
        load(path)
    with zipfile.ZipFile(path, "w") as archive:  # the layout of torch.save
        archive.writestr("archive/data.pkl", pickle.dumps(Bomb(proof)))
        archive.writestr("archive/version", "3\n")
    with pytest.raises(FormatError, match="Pickles and torch checkpoints are never loaded"):
        load(path)
    assert not proof.exists()


@pytest.mark.parametrize("content", [b"hello", b"\x89PNG\r\n\x1a\n" + bytes(50), bytes(8), b"\xff" * 64])
def test_a_foreign_file_is_refused(tmp_path, content):
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=r"m.safetensors is"):
        load(path)


@pytest.mark.parametrize(("dtype", "size"), [("BF16", 2), ("F16", 2), ("F8_E4M3", 1), ("BOOL", 1), ("I64", 8)])
def test_tensors_of_other_number_types_are_refused(tmp_path, dtype, size):
    header = {
        "__metadata__": {"format": "lse-material/1", "soft_minimum": "-rho*log(sum(exp(-psi/rho)))"},
        "rho": {"dtype": dtype, "shape": [], "data_offsets": [0, size]},
    }
    text = json.dumps(header).encode()
    path = tmp_path / "m.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(size))
    with pytest.raises(FormatError, match="float64"):
        load(path)


def test_a_file_that_is_not_there(tmp_path):
    for path in (tmp_path / "m.safetensors", tmp_path):
        with pytest.raises(FileNotFoundError, match="there is no material file"):
            load(path)


def test_a_failed_save_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "m.safetensors"
    save(full_material(), path)
    before = path.read_bytes()

    def broken(*_):
        raise OSError("disk on fire")

    for step in ("replace", "fsync"):
        with monkeypatch.context() as patch:
            patch.setattr(os, step, broken)
            with pytest.raises(OSError, match="disk on fire"):
                save(full_material(modes=3), path)
            with pytest.raises(OSError, match="disk on fire"):
                save(full_material(), tmp_path / "new.safetensors")
        assert path.read_bytes() == before
        assert [p.name for p in tmp_path.iterdir()] == [path.name]
    save(full_material(modes=3), path)
    assert load(path).modes == 3


def test_what_cannot_be_saved_is_refused_before_a_file_is_touched(tmp_path):
    path = tmp_path / "m.safetensors"
    material = full_material()
    cases = [
        (material, tmp_path / "m.pt", r"ends in \.safetensors"),
        (
            Material(material.potential, GreenLagrange(2), provenance={"F": np.eye(2)}),
            path,
            "provenance cannot be written",
        ),
        (
            Material(material.potential, GreenLagrange(2), units={"energy": {1}}),
            path,
            "units cannot be written as JSON",
        ),
    ]
    for what, where, message in cases:
        with pytest.raises(InvalidInputError, match=message):
            save(what, where)
    assert list(tmp_path.iterdir()) == []


def test_a_saved_file_has_the_permissions_of_any_new_file(tmp_path):
    save(full_material(), tmp_path / "m.safetensors")
    (tmp_path / "plain").touch()
    assert (tmp_path / "m.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_finite_numbers_that_overflow_are_refused_when_they_are_loaded(tmp_path):
    tensors, _ = parts(full_material())
    name = "mode.0.quadratic"
    path = rewritten(tmp_path / "m.safetensors", {name: np.full_like(tensors[name], 1e200)})
    with pytest.raises(FormatError, match=f"not finite at F = I.* 1e\\+200 in tensor {name}"):
        load(path)
    with pytest.raises(FormatError, match="not finite at input_shift"):
        load_potential(
            rewritten(tmp_path / "p.safetensors", {"mode.0.bias.2": np.full(1, 1e308), "energy_scale": np.array(1e308)})
        )


@pytest.mark.parametrize("text", ["9" * 5000, "[" * 100_000], ids=["digits", "deep"])
def test_metadata_that_json_cannot_hold_are_refused(tmp_path, text):
    with pytest.raises(FormatError, match="its metadata 'provenance' are not JSON"):
        load(rewritten(tmp_path / "m.safetensors", metadata={"provenance": text}))


def test_modes_of_two_activations_are_of_format_2_and_come_back_bitwise(tmp_path):
    path = tmp_path / "two.safetensors"
    rng = np.random.default_rng(0)
    modes = tuple(random_network(rng, 3, activation=a) for a in ("softplus", "squared_softplus"))
    save(Material(SoftMinimum(modes, 0.1), GreenLagrange(2)), path)
    with safetensors.safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    assert metadata["format"] == "lse-material/2"
    assert "activation" not in metadata
    F = random_deformations(rng, 5, 2)
    np.testing.assert_array_equal(load(path).tangent(F), Material(SoftMinimum(modes, 0.1), GreenLagrange(2)).tangent(F))


@pytest.mark.parametrize(
    ("modes", "message"),
    [
        (None, "its metadata lack 'modes'"),
        ("3", "'modes' are a int, not a list"),
        ('[{"type": "ConvexNetwork"}]', "its metadata name 1 modes; it has tensors of 2"),
        ("[1, 2]", "name no type for each mode"),
        ('[{"type": "ConvexNetwork"}, {"type": "Cubic"}]', "mode.0: activation '' is not known"),
        ('[{"type": "Cubic"}, {"type": "Cubic"}]', "mode.0 is of the type 'Cubic', which is not known"),
    ],
)
def test_metadata_of_modes_that_do_not_say_what_they_are_are_refused(modes, message, tmp_path):
    rng, path = np.random.default_rng(0), tmp_path / "bad.safetensors"
    two = SoftMinimum(tuple(random_network(rng, 3, activation=a) for a in ("softplus", "squared_softplus")), 0.1)
    save(Material(two, GreenLagrange(2)), path)
    tensors, metadata = safetensors.numpy.load_file(path), {}
    with safetensors.safe_open(path, framework="numpy") as file:
        metadata = {key: value for key, value in file.metadata().items() if key != "modes"}
    metadata |= {} if modes is None else {"modes": modes}
    path.write_bytes(safetensors.numpy.save(tensors, metadata))
    with pytest.raises(FormatError, match=message):
        load(path)


class Line(lse.Mode):
    """a x, with tensors and options as they are given."""

    size = 1

    def __init__(self, tensors, options=None):
        self.given, self.chosen = tensors, options or {}

    def tensors(self):
        return self.given

    def options(self):
        return self.chosen

    @classmethod
    def from_tensors(cls, tensors, options):
        return cls(tensors, options)

    def formula(self, x):
        return x[0]


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        (Line({"a": np.array([np.nan])}), r"tensor mode\.0\.a holds nan"),
        (Line({"a": np.array([1.0 + 2.0j])}), "complex numbers"),
        (Line({"a": "one"}), "cannot be read as an array of real numbers"),
        (Line({"a": np.ones(1)}, {"type": "ConvexNetwork"}), "an entry 'type'"),
    ],
)
def test_a_mode_that_no_file_could_give_back_is_not_written(mode, message, tmp_path):
    with pytest.raises(lse.InvalidInputError, match=message):
        lse.save(lse.SoftMinimum((mode,), 0.1), tmp_path / "line.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("key", ["kinematics", "modes"])
@pytest.mark.parametrize("value", [5, lse.GreenLagrange, ["GreenLagrange"], [lse.GreenLagrange(2)], [int]])
def test_what_is_no_list_of_classes_is_refused(key, value, tmp_path):
    path = tmp_path / "cell.safetensors"
    lse.save(full_material(), path)
    with pytest.raises(lse.LseError, match=rf"{key} (is|holds) "):
        lse.load(path, **{key: value})
