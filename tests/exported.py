"""What exported files give: a Python module, or a function of compiled C, and the numbers of the package."""

import ctypes
import importlib.util
import shutil
import subprocess

import numpy as np

COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


def python_module(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def compiled(path, function, inputs, shapes):
    """The function of a compiled C file at rows of inputs: it writes one array of each shape per row."""
    library = path.with_suffix(".so")
    strict = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-O2", "-shared", "-fPIC"]
    subprocess.run([COMPILER, *strict, str(path), "-o", str(library), "-lm"], check=True)
    call = getattr(ctypes.CDLL(str(library)), function)
    call.restype = None
    results = [np.empty((len(inputs), *shape)) for shape in shapes]
    pointer = ctypes.POINTER(ctypes.c_double)
    for n, row in enumerate(np.ascontiguousarray(inputs)):
        outputs = [np.empty(shape) for shape in shapes]
        call(row.ctypes.data_as(pointer), *(a.ctypes.data_as(pointer) for a in outputs))
        for result, output in zip(results, outputs):
            result[n] = output
    return results


def expected(material, F):
    return material.energy(F), material.stress(F), material.tangent(F), material.mode_weights(F)
