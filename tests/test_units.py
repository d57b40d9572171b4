"""No result depends on the unit of length: the short form of the table in docs/units.md."""

import pytest

from tests.scripts import run_benchmark

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def figures():
    return run_benchmark("units")


@pytest.mark.parametrize("name", ["plate", "arch", "spinodal"])
def test_where_the_path_is_unique_all_figures_agree(figures, name):
    assert figures[name]["difference"] < 1e-8
    assert figures[name]["counts_agree"]


@pytest.mark.parametrize("name", ["bar", "twins", "cell"])
def test_where_minima_compete_the_same_ones_are_found(figures, name):
    assert figures[name]["difference"] < 1e-6
    assert figures[name]["counts_agree"]  # variants, boundaries, buckled states, negative eigenvalues


def test_iterations_are_alike(figures):
    for name in ("plate", "bar", "twins", "cell", "arch", "spinodal"):
        metres, millimetres, micrometres = figures[name]["iterations"]
        assert min(metres, millimetres, micrometres) > 0
        assert max(metres, millimetres, micrometres) <= 1.1 * min(metres, millimetres, micrometres) + 3


def test_all_is_right(figures):
    assert figures["right"] is True
