"""`lse-material doctor`: what is installed, what is missing, and how to get it."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from lse_material._extras import how_to_install
from lse_material.cli.codes import FAILED
from lse_material.cli.output import Json, print_json, print_table

PACKAGES = {  # import name: what for
    "numpy": "everything",
    "safetensors": "everything",
    "torch": "fit",
    "scipy": "fit, periodic cells",
    "pandas": "spreadsheets",
    "cffi": "compiled kernels",
    "matplotlib": "plot",
    "pyvista": "pictures of meshes",
    "dolfinx": "FEniCSx forms and problems",
    "dolfinx_external_operator": "FEniCSx forms and problems",
    "petsc4py": "FEniCSx forms and problems",
    "mpi4py": "FEniCSx forms and problems",
    "slepc4py": "stability: lowest modes",
    "gmsh": "meshes of the demos",
}
# in seconds: a source that is older and not compiled was left by a process that was killed
LONGEST_COMPILATION = 3600.0
_CODE = """
import importlib, importlib.metadata, sys
name = sys.argv[1]
try:
    module = importlib.import_module(name)
except ModuleNotFoundError as error:
    sys.exit(f"missing {error.name}")
version = getattr(module, "__version__", "")
if not version:
    for known in (name, name.replace("_", "-")):
        try:
            version = importlib.metadata.version(known)
        except importlib.metadata.PackageNotFoundError:
            pass
if name == "petsc4py":
    from petsc4py import PETSc
    version += " real" if PETSc.ScalarType is not complex and PETSc.ScalarType(1).dtype.kind == "f" else " complex"
    version += "" if PETSc.Sys.hasExternalPackage("mumps") else ", without MUMPS"
print(version)
"""


@dataclass(frozen=True)
class Finding:
    """What was found of one thing: `state` is "works", "missing" or "broken"."""

    name: str
    purpose: str
    state: str
    version: str
    remedy: str


def doctor(json: Json = False) -> int:
    """Say what is installed, what is missing and how to get it; exit code 1 if something installed does not work."""
    with ThreadPoolExecutor(4) as pool:
        findings = [
            *pool.map(_package, PACKAGES, PACKAGES.values()),
            _package("lse_material.fem", "all of FEniCSx together"),  # it refuses versions that it cannot work with
            _compiler(),
            _cache(),
            _forms(),
        ]
    broken = any(f.state == "broken" for f in findings)
    python = sys.version.split()[0]
    if json:
        print_json({"python": python, "works": not broken, "findings": [vars(f) for f in findings]})
    else:
        rows = [[f.state, f.name, f.version, f.purpose, "" if f.state == "works" else f.remedy] for f in findings]
        print_table(f"Python {python}, {sys.executable}", ["", "what", "version", "for", "how to get it"], list(rows))
    return FAILED if broken else 0


def _package(name: str, purpose: str) -> Finding:
    """Import a package in a process of its own, where it can hang or crash without harm."""
    done = _run([sys.executable, "-W", "ignore", "-c", _CODE, name])
    if done.returncode == 0:
        return Finding(name, purpose, "works", (done.stdout.strip().splitlines() or [""])[-1], "")
    last = (done.stderr.strip().splitlines() or ["it gave no reason"])[-1]
    if last.startswith("missing "):
        lacking = last.removeprefix("missing ").partition(".")[0]
        needed = "" if lacking == name else f"it needs {lacking}: "
        return Finding(name, purpose, "missing", "", needed + how_to_install(lacking))
    return Finding(name, purpose, "broken", "", f"importing it fails: {last}")


def _compiler() -> Finding:
    from lse_material.errors import CompilerNotFoundError
    from lse_material.kernel.compiler import compiler

    try:
        return Finding("C compiler", "compiled kernels, FEniCSx", "works", compiler().command[0], "")
    except CompilerNotFoundError as error:
        return Finding("C compiler", "compiled kernels, FEniCSx", "missing", "", str(error))


def _cache() -> Finding:
    from lse_material.kernel.compiler import cache_directory

    folder = cache_directory()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    writable = _run(["test", "-w", str(existing)]).returncode == 0
    remedy = f"{existing} cannot be written: set XDG_CACHE_HOME to a folder that can"
    return Finding("kernel cache", "compiled kernels", "works" if writable else "broken", _home(folder), remedy)


def _forms() -> Finding:
    """A process that is killed while FFCx compiles leaves a source that others then wait for, until they give up."""
    folder = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "fenics"
    left = [
        path
        for path in folder.glob("libffcx_*.c")
        if not path.with_suffix(".c.cached").exists() and time.time() - path.stat().st_mtime > LONGEST_COMPILATION
    ]
    if not left:
        return Finding("form cache", "compiled forms, FEniCSx", "works", _home(folder), "")
    remedy = "processes that were killed left these, for which others wait in vain: rm " + " ".join(map(_home, left))
    return Finding("form cache", "compiled forms, FEniCSx", "broken", _home(folder), remedy)


def _home(path: Path) -> str:
    return str(path).replace(str(Path.home()), "~", 1)


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", "no answer within 120 s")
