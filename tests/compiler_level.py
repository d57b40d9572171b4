"""The level at which forms are compiled in tests: none, in a third of the time. What gcc makes faster is no fact of them."""

import sys


def compile_unoptimised():
    """Let DOLFINx, if it is loaded, compile without optimisation. Results differ from other levels in their last digits."""
    if jit := sys.modules.get("dolfinx.jit"):
        jit.DOLFINX_DEFAULT_JIT_OPTIONS["cffi_extra_compile_args"] = (["-O0", "-g0"], "of the tests")
