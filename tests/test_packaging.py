"""The wheel: what is in it, what it requires, and that it works where NumPy and safetensors are all there is."""

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import lse_material
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
def archives(tmp_path_factory):
    """The folder of the sdist of the checkout, and of the wheel that is built from it, both without a network."""
    folder = tmp_path_factory.mktemp("archives")
    source = folder / "source"
    source.mkdir()
    for name in ("lse_material", "pyproject.toml", "README.md", "LICENSE"):
        (source / name).symlink_to(ROOT / name)
    code = "from setuptools.build_meta import build_sdist; build_sdist('..')"
    done = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    (sdist,) = folder.glob("*.tar.gz")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        str(sdist),
        "-w",
        folder,
    ]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.fixture(scope="module")
def wheel(archives):
    """The wheel, unpacked."""
    (archive,) = archives.glob("*.whl")
    with zipfile.ZipFile(archive) as content:
        content.extractall(archives / "unpacked")
    return archives / "unpacked"


def test_the_wheel_holds_every_module_and_requires_the_floor_only(wheel):
    packed = {str(path.relative_to(wheel)) for path in (wheel / "lse_material").rglob("*.py")}
    assert packed == {str(path.relative_to(ROOT)) for path in (ROOT / "lse_material").rglob("*.py")}
    assert (wheel / "lse_material" / "py.typed").exists()
    (metadata,) = wheel.glob("*.dist-info/METADATA")
    required = re.findall(r"^Requires-Dist: ([\w-]+)[^;\n]*$", metadata.read_text(), re.MULTILINE)
    assert sorted(required) == ["numpy", "safetensors"]
    extras = set(re.findall(r"^Provides-Extra: (\w+)$", metadata.read_text(), re.MULTILINE))
    assert {"fit", "fem", "kernel", "plot", "cli", "test", "dev"} <= extras
    text = metadata.read_text()
    assert f"Version: {lse_material.__version__}\n" in text
    assert "License-Expression: MIT\n" in text
    assert "Description-Content-Type: text/markdown\n" in text
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


@pytest.mark.slow
def test_a_clean_environment_installs_the_wheel_with_numpy_and_safetensors_alone_and_evaluates_a_material(
    archives, tmp_path
):
    """By pip from PyPI, in a virtual environment that sees no other package."""
    save(square_to_rectangle(0.05), tmp_path / "cell.safetensors")
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    environment |= {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "clean"], check=True, capture_output=True)
    python = tmp_path / "clean" / "bin" / "python"
    (archive,) = archives.glob("*.whl")
    pip = [python, "-m", "pip", "install", "--quiet", archive]
    done = subprocess.run(pip, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    code = """
import importlib.metadata as metadata, json
import lse_material as lse, numpy as np
material = lse.load("cell.safetensors")
F = np.diag([1.05, 0.98])
names = sorted(each.metadata["Name"] for each in metadata.distributions())
print(json.dumps([names, material.energy(F).item(), material.stress(F).tolist(), lse.__file__]))
"""
    done = subprocess.run(
        [python, "-c", code], cwd=tmp_path, capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    names, energy, stress, file = json.loads(done.stdout)
    assert set(names) - {"pip", "setuptools"} == {"lse-material", "numpy", "safetensors"}
    F = np.diag([1.05, 0.98])
    assert energy == pytest.approx(float(square_to_rectangle(0.05).energy(F)), rel=1e-12)
    assert np.allclose(stress, square_to_rectangle(0.05).stress(F), rtol=1e-12, atol=0.0)
    assert file.startswith(str(tmp_path))


def requirements(name):
    """The requirements of an extra of pyproject.toml, or of the package itself, by package; tomllib is not in Python 3.10."""
    text = (ROOT / "pyproject.toml").read_text()
    block = re.search(rf"^{name} = \[(.*?)\]", text, re.MULTILINE | re.DOTALL).group(1)
    return dict(re.fullmatch(r"([\w-]+)(.*)", entry).groups() for entry in re.findall(r'"([^"]+)"', block))


def listed(text, below):
    """The entries of a list of YAML, by package."""
    block = re.search(rf"^( *){below}:\n((?:\1 +- .*\n)+)", text, re.MULTILINE).group(2)
    return dict(re.match(r" *- ([\w-]+) ?([^ #]*)", line).groups() for line in block.splitlines())


def test_the_conda_recipe_says_what_pyproject_does():
    recipe = (ROOT / "conda" / "recipe.yaml").read_text()
    assert f'version: "{lse_material.__version__}"' in recipe
    floor = requirements("dependencies") | requirements("cli")
    assert listed(recipe, "run") == {"python": ">=3.10", **floor}


def test_the_conda_environment_has_what_the_extras_need():
    text = (ROOT / "environment.yml").read_text()
    packages = listed(text, "dependencies")
    names = {"torch": "pytorch-cpu", "dolfinx-external-operator": "pip"}
    names |= dict.fromkeys(("cffi", "mpi4py"), "fenics-dolfinx")  # which brings both
    for extra in ("dependencies", "data", "fit", "kernel", "fem", "plot", "cli", "test", "dev"):
        for name in requirements(extra):
            assert names.get(name, name) in packages, f"{name} of {extra}"


def test_the_container_installs_extras_that_exist_and_the_citation_has_the_version():
    wanted = re.search(r"/opt/lse_material\[([\w,]+)\]", (ROOT / "container" / "Dockerfile").read_text()).group(1)
    assert all(requirements(extra) for extra in wanted.split(","))
    assert f"\nversion: {lse_material.__version__}\n" in (ROOT / "CITATION.cff").read_text()
