"""Files of format 1 as lse_material wrote them on 26 November 2026 (c7c8e94) are read, with the numbers of that day.

`tests/frozen` holds them and, in values.json, what that code said of them. They are never written anew: a version that cannot
read them has broken the files of its users.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors

import lse_material as lse

FROZEN = Path(__file__).parent / "frozen"
VALUES = json.loads((FROZEN / "values.json").read_text())
MATERIALS = {
    "two_wells": (lse.GreenLagrange(2), lse.Growth(0.7), ()),
    "invariants": (lse.IsotropicInvariants(3), None, ()),
    "with_a_field": (lse.SmallStrain(3), None, ("concentration",)),
}


@pytest.mark.parametrize("name", MATERIALS)
def test_a_material_is_what_it_was(name):
    material, values = lse.load(FROZEN / f"{name}.safetensors"), VALUES[name]
    assert (material.kinematics, material.growth, material.fields) == MATERIALS[name]
    at = [np.array(values[key]) for key in ("F", "fields") if key in values]
    for quantity, tolerance in (("energy", 1e-14), ("stress", 1e-13), ("tangent", 1e-12)):
        expected = np.array(values[quantity])
        found = getattr(material, quantity)(*at)
        np.testing.assert_allclose(found, expected, rtol=0.0, atol=tolerance * max(1.0, np.abs(expected).max()))


def test_units_box_and_provenance_are_what_they_were():
    material = lse.load(FROZEN / "two_wells.safetensors")
    assert material.units == {"energy": "MPa", "stress": "MPa"}
    assert (material.training_box.lower == -0.2).all()
    assert (material.training_box.upper == 0.3).all()
    assert material.provenance["made by"] == "lse_material at c7c8e94"


def test_a_potential_is_what_it_was():
    potential, values = lse.load_potential(FROZEN / "potential.safetensors"), VALUES["potential"]
    for quantity in ("energy", "gradient", "hessian"):
        np.testing.assert_allclose(getattr(potential, quantity)(values["x"]), values[quantity], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", MATERIALS)
def test_a_file_that_needs_no_more_is_written_as_format_1_with_the_same_tensors(name, tmp_path):
    lse.save(lse.load(FROZEN / f"{name}.safetensors"), tmp_path / "again.safetensors")
    files = [
        safetensors.safe_open(path, "numpy")
        for path in (FROZEN / f"{name}.safetensors", tmp_path / "again.safetensors")
    ]
    old, new = ({key: file.get_tensor(key) for key in file.keys()} for file in files)  # noqa: SIM118
    assert all(file.metadata()["format"] == "lse-material/1" for file in files)
    assert old.keys() == new.keys()
    assert all(np.array_equal(old[key], new[key]) for key in old)
