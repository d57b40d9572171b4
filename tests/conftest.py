"""Settings of every test."""

import gc

import pytest
from hypothesis import HealthCheck, settings

from tests.fast_compilation import compile_fast

# The machines that run the tests are shared and their clocks noisy: no limit of time; the same examples in every run.
settings.register_profile(
    "repeatable", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True, max_examples=40
)
settings.load_profile("repeatable")

ALONE = ("test_demos", "test_benchmarks")  # whose tests share nothing


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks at the markers
def pytest_collection_modifyitems(items):
    """With several workers (-n 2 --dist loadgroup) the tests of a module stay together: what they share is made once."""
    for item in items:
        if item.path.stem not in ALONE:
            item.add_marker(pytest.mark.xdist_group(str(item.path)))


def pytest_collection_finish():
    """Processes that tests start (demos, scripts of users), the kernels and `tests/translations.py` keep the user's level."""
    compile_fast()


def alone():
    """Whether there is one rank. Tests of the numpy floor load no MPI."""
    from mpi4py import MPI

    return MPI.COMM_WORLD.size == 1


@pytest.fixture(autouse=True)
def _collect_garbage_together(request):
    """Destroying PETSc objects is collective: cycles that pytest's tracebacks make are collected on all ranks at once."""
    if request.node.get_closest_marker("mpi") is None or alone():
        yield
        return
    gc.disable()
    yield
    gc.enable()
    gc.collect()
