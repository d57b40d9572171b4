"""Forms are compiled for tests at less cost: gcc does not optimise, FFCx and setuptools look things up instead of searching."""

import functools
import sys
from importlib import metadata


def compile_fast():
    """Make what DOLFINx, if it is loaded, compiles from now on cheaper. Results differ from a user's in their last digits.

    - gcc is given no level of optimisation, which takes a third of the time.
    - FFCx finds the symbols of an expression by comparing it with every node: n^2 steps for n nodes. They are looked up.
    - setuptools reads what all installed packages announce, seven times for each form. They announce the same each time.
    """
    if not (jit := sys.modules.get("dolfinx.jit")):
        return
    from ffcx.ir.analysis.valuenumbering import ValueNumberer

    jit.DOLFINX_DEFAULT_JIT_OPTIONS["cffi_extra_compile_args"] = (["-O0", "-g0"], "of the tests")
    ValueNumberer.get_node_symbols = _symbols
    metadata.entry_points = functools.cache(metadata.entry_points)


def _symbols(self, expression):
    if "_number_of" not in vars(self):  # of equal nodes the first, as FFCx has it
        self._number_of = {node["expression"]: number for number, node in reversed(self.G.nodes.items())}
    return self.V_symbols[self._number_of[expression]]
