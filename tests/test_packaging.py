"""The wheel: what is in it, what it requires, and that it works where NumPy and safetensors are all there is."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from lse_material import save
from tests.materials import square_to_rectangle

ROOT = Path(__file__).parents[1]
FLOOR = ("numpy", "safetensors", "lse_material")
# refuses every import from site-packages but the floor's, as if nothing else were installed
GUARD = f"""
import importlib.abc, importlib.machinery, sys
class Floor(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if path is not None or top in sys.stdlib_module_names or top in {FLOOR}:
            return None
        raise ModuleNotFoundError(f"No module named {{top!r}}", name=top)
sys.meta_path.insert(0, Floor())
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of the checkout, built without a network, and unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("lse_material", "pyproject.toml", "README.md", "LICENSE"):
        (source / name).symlink_to(ROOT / name)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        str(source),
        "-w",
        folder,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    (archive,) = folder.glob("*.whl")
    with zipfile.ZipFile(archive) as content:
        content.extractall(folder / "unpacked")
    return folder / "unpacked"


def test_the_wheel_holds_every_module_and_requires_the_floor_only(wheel):
    packed = {str(path.relative_to(wheel)) for path in (wheel / "lse_material").rglob("*.py")}
    assert packed == {str(path.relative_to(ROOT)) for path in (ROOT / "lse_material").rglob("*.py")}
    assert (wheel / "lse_material" / "py.typed").exists()
    (metadata,) = wheel.glob("*.dist-info/METADATA")
    required = re.findall(r"^Requires-Dist: ([\w-]+)[^;\n]*$", metadata.read_text(), re.MULTILINE)
    assert sorted(required) == ["numpy", "safetensors"]
    extras = set(re.findall(r"^Provides-Extra: (\w+)$", metadata.read_text(), re.MULTILINE))
    assert {"fit", "fem", "kernel", "plot", "cli", "test", "dev"} <= extras
    (scripts,) = wheel.glob("*.dist-info/entry_points.txt")
    assert "lse-material = lse_material.cli:main" in scripts.read_text()


def run_on_the_floor(wheel, code, folder):
    environment = os.environ | {"PYTHONPATH": str(wheel)}
    return subprocess.run(
        [sys.executable, "-c", GUARD + code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_the_wheel_loads_checks_and_exports_with_numpy_and_safetensors_alone(wheel, tmp_path):
    save(square_to_rectangle(0.05), tmp_path / "cell.safetensors")
    code = """
import lse_material as lse, numpy as np
from lse_material.export import export
from lse_material.analysis import landscape
assert "unpacked" in lse.__file__
material = lse.load("cell.safetensors")
assert all(check.passed for check in lse.analysis.verify(material))
assert len(landscape(material.potential).wells) == 2
export(material, "cell.c")
samples = lse.Samples(F=np.eye(2)[None], energy=material.energy(np.eye(2)[None]))
lse.write_samples(samples, "rows.csv"); lse.read_samples("rows.csv")
for package in ("fit", "fem"):
    try:
        getattr(lse, package)
    except ImportError as error:
        print(error)
"""
    done = run_on_the_floor(wheel, code, tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    for_fit, for_fem = done.stdout.splitlines()
    assert re.match(r"lse_material.fit needs (torch|scipy|rich), .*: pip install 'lse-material\[fit\]'", for_fit)
    assert re.match(r"lse_material.fem needs dolfinx, .*conda install -c conda-forge fenics-dolfinx", for_fem)
    done = run_on_the_floor(
        wheel, "from lse_material.cli import run; sys.exit(run(['show', 'cell.safetensors']))", tmp_path
    )
    assert (done.returncode, done.stderr.count("\n")) == (4, 1)
    assert "pip install 'lse-material[cli]'" in done.stderr
