"""Imports point down: what each floor may load is seen in a process of its own, and what modules import in their text."""

import ast
import importlib.util
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

FLOORS = {
    "lse_material": ("torch", "dolfinx", "ufl", "basix", "ffcx", "scipy", "mpi4py", "petsc4py", "lse_material.fit"),
    "lse_material.analysis": ("torch", "dolfinx", "ufl", "scipy", "mpi4py", "petsc4py"),
    "lse_material.export": ("torch", "dolfinx", "ufl", "scipy", "mpi4py", "petsc4py"),
    "lse_material.report": ("torch", "dolfinx", "ufl", "scipy", "mpi4py", "petsc4py", "matplotlib"),
    "lse_material.cli.app": ("torch", "dolfinx", "ufl", "scipy", "mpi4py", "petsc4py", "matplotlib"),
    "lse_material.fit": ("dolfinx", "ufl", "basix", "ffcx", "mpi4py", "petsc4py", "lse_material.fem"),
    "lse_material.fem": ("torch", "lse_material.fit"),
}

UPPER = {  # loaded when first named
    floor: f"import lse_material\nassert {floor!r} not in sys.modules\n{floor}"
    for floor in ("lse_material.fit", "lse_material.fem")
}

PACKAGE = Path(importlib.util.find_spec("lse_material").origin).parent


def modules():
    """Name -> syntax tree of every module of the package."""
    paths = {
        ".".join(("lse_material", *p.relative_to(PACKAGE).with_suffix("").parts)): p for p in PACKAGE.rglob("*.py")
    }
    return {name.removesuffix(".__init__"): ast.parse(path.read_text()) for name, path in paths.items()}


def imports(trees):
    """(importing module, imported module of the package, imported name or None), under TYPE_CHECKING and in functions, too."""
    for module, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                yield from ((module, alias.name, None) for alias in node.names if alias.name in trees)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, module
                for alias in node.names:
                    submodule = f"{node.module}.{alias.name}"
                    if submodule in trees:
                        yield module, submodule, None
                    elif node.module in trees:
                        yield module, node.module, alias.name


def test_no_modules_import_each_other_in_a_circle():
    trees = modules()
    assert len(trees) > 100
    needs = {module: set() for module in trees}
    for module, imported, _ in imports(trees):
        needs[module].add(imported)
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as circle:
        pytest.fail(" needs ".join(reversed(circle.args[1])))


def test_no_module_imports_a_private_name_of_another():
    """Attributes are seen by ruff (SLF001)."""
    private = [edge for edge in imports(modules()) if (edge[2] or "").startswith("_") and edge[2] != "__version__"]
    assert private == []


def loaded_after(statement):
    """Names of the modules in `sys.modules` of a fresh Python after `statement`."""
    code = f"import sys\n{statement}\nprint('MODULES', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.partition("MODULES")[2].split())


@pytest.mark.parametrize("floor", FLOORS)
def test_a_floor_loads_nothing_of_the_floors_beside_and_above_it(floor):
    assert importlib.util.find_spec(floor).origin is not None  # a package of its own, not an empty folder
    modules = loaded_after(UPPER.get(floor, f"import {floor}"))
    assert floor in modules
    assert [name for name in FLOORS[floor] if name in modules] == []


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


def test_no_test_imports_another_test_or_a_demo():
    """What several tests use stands in modules of its own: tests/materials.py, say."""
    for file in Path(__file__).parent.rglob("*.py"):
        text = file.read_text()
        assert not re.search(r"^\s*(from|import) tests\.(\w+\.)*test_", text, re.MULTILINE), file
        assert not re.search(r"^\s*(from|import) demos\b", text, re.MULTILINE), file
        assert not re.search(r"sys\.path[.[]", text), file
