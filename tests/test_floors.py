"""Imports point down: what each floor may load is seen in a process of its own."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

FLOORS = {
    "lse_material": ("torch", "dolfinx", "ufl", "basix", "ffcx", "scipy", "mpi4py", "petsc4py", "lse_material.fit"),
    "lse_material.verify": ("torch", "dolfinx", "ufl", "scipy", "mpi4py", "petsc4py"),
    "lse_material.export": ("torch", "dolfinx", "ufl", "scipy", "mpi4py", "petsc4py"),
    "lse_material.cli.app": ("torch", "dolfinx", "ufl", "scipy", "mpi4py", "petsc4py", "matplotlib"),
    "lse_material.fit": ("dolfinx", "ufl", "basix", "ffcx", "mpi4py", "petsc4py", "lse_material.fem"),
    "lse_material.fem": ("torch", "lse_material.fit"),
}


def loaded_after(statement):
    """Names of the modules in `sys.modules` of a fresh Python after `statement`."""
    code = f"import sys\n{statement}\nprint('MODULES', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.partition("MODULES")[2].split())


@pytest.mark.parametrize("floor", FLOORS)
def test_a_floor_loads_nothing_of_the_floors_beside_and_above_it(floor):
    assert importlib.util.find_spec(floor).origin is not None  # a package of its own, not an empty folder
    modules = loaded_after(f"import {floor}")
    assert floor in modules
    assert [name for name in FLOORS[floor] if name in modules] == []


def test_the_upper_floors_are_loaded_when_first_named():
    modules = loaded_after("import lse_material\nassert 'lse_material.fem' not in sys.modules\nlse_material.fem")
    assert "lse_material.fem" in modules
    assert "torch" not in modules
    modules = loaded_after("import lse_material\nassert 'lse_material.fit' not in sys.modules\nlse_material.fit")
    assert "lse_material.fit" in modules
    assert "dolfinx" not in modules


@pytest.mark.parametrize("folder", ["lse_material", "demos"])
def test_nothing_selects_a_backend_of_matplotlib(folder):
    """pyplot does so when it is imported, `matplotlib.use` when it is called."""
    for file in (Path(__file__).parents[1] / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            source = getattr(node, "module", None) or ""
            assert "pyplot" not in source, file
            assert not any("pyplot" in name for name in names), file
            assert not (isinstance(node, ast.Call) and ast.unparse(node.func) == "matplotlib.use"), file
