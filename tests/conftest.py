"""Settings of every test."""

import gc

import pytest
from hypothesis import settings

# The machines that run the tests are shared and their clocks noisy: no deadline; the same examples in every run.
settings.register_profile("repeatable", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def _collect_garbage_together(request):
    """Destroying PETSc objects is collective: cycles that pytest's tracebacks make are collected on all ranks at once."""
    if request.node.get_closest_marker("mpi") is None:
        yield
        return
    gc.disable()
    yield
    gc.enable()
    gc.collect()
