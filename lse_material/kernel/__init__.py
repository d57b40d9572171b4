"""Compiled evaluation: C generated from a potential, compiled once with the system's compiler, loaded through cffi.

    material = lse.load("cell.safetensors")
    fast = evaluator(material)            # compiled, or the material itself where there is no compiler
    P = fast.evaluate(F).stress

`CompiledPotential` writes into arrays of the caller. `kernel_source`, `build` and `load` are the steps by themselves.
"""

from lse_material.kernel.batch import KernelShape
from lse_material.kernel.compiler import build, cache_directory
from lse_material.kernel.evaluator import (
    CompiledEvaluator,
    CompiledPotential,
    InterpretedPotential,
    evaluator,
    kernel_source,
    load,
    potential_evaluator,
)
from lse_material.kernel.point import point_function, point_header

__all__ = [
    "CompiledEvaluator",
    "CompiledPotential",
    "InterpretedPotential",
    "KernelShape",
    "build",
    "cache_directory",
    "evaluator",
    "kernel_source",
    "load",
    "point_function",
    "point_header",
    "potential_evaluator",
]
