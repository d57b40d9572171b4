"""The C mathematics, compiled and called by itself: accuracy of the activations for any argument."""

import ctypes
import shutil
import subprocess

import numpy as np
import pytest

from lse_material.kernel.c_writer import Text
from lse_material.kernel.compiler import FLAGS, compiler
from lse_material.kernel.mathematics import mathematics, write_activation

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
COUNTS = (1, 2, 3, 4, 5, 8, 16)  # vectors that are activated together


@pytest.fixture(scope="module", params=(2, 4, 8))
def softplus(request, tmp_path_factory):
    """(a, count) -> value, slope, curvature: by `count` vectors of 2, 4 or 8 doubles together."""
    lanes, text = request.param, Text()
    text.paste(mathematics(lanes))
    for count in COUNTS:
        inner = write_activation(text, "softplus", count, lanes)
        text(f"void run_{count}(long n, const double *a, double *value, double *slope, double *curvature)")
        with text.braces(), text.braces(f"for (long i = 0; i < n; i += {count} * LSE_LANES)"):
            text(f"{inner}((const lse_vec *)(a + i), (lse_vec *)(value + i), (lse_vec *)(slope + i),")
            text("  (lse_vec *)(curvature + i));")
    directory = tmp_path_factory.mktemp("mathematics")
    (directory / "m.c").write_text(str(text))
    library = directory / "m.so"
    subprocess.run([*compiler().command, *FLAGS, str(directory / "m.c"), "-o", str(library)], check=True)
    loaded = ctypes.CDLL(str(library))

    def call(a, count):
        block = count * lanes
        arrays = [_aligned(-(-len(a) // block) * block) for _ in range(4)]
        arrays[0][: len(a)] = a
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in arrays]
        getattr(loaded, f"run_{count}")(ctypes.c_long(len(arrays[0])), *pointers)
        return [array[: len(a)] for array in arrays[1:]]

    return call


def _aligned(n):
    memory = np.zeros(n + 8)
    return memory[-memory.ctypes.data % 64 // 8 :][:n]


def _exact(a):
    x = a.astype(np.longdouble)
    t = np.exp(-np.abs(x))
    larger = 1 / (1 + t)
    return np.log1p(t) + np.maximum(x, 0), np.where(x < 0, t * larger, larger), t * larger * larger


@pytest.mark.skipif(np.finfo(np.longdouble).eps > 1e-18, reason="needs a longer floating-point type")
@pytest.mark.parametrize("count", COUNTS)
def test_softplus_to_a_few_units_in_the_last_place(softplus, count):
    """Beyond what a unit in the last place of the argument does to exp(-|a|), which is |a| units or less."""
    rng = np.random.default_rng(count)
    a = np.concatenate(
        [
            np.linspace(-40.0, 40.0, 40_001),
            rng.uniform(-703.0, 703.0, 20_000),
            rng.normal(size=20_000) * 10.0 ** rng.uniform(-300.0, 0.0, 20_000),
        ]
    )
    for got, exact, bound in zip(softplus(a, count), _exact(a), (8.0, 7.0, 8.0)):
        units = np.abs(got - exact) / np.spacing(exact.astype(float))
        assert np.all(units < bound + np.abs(a) / 3)


@pytest.mark.parametrize("count", COUNTS)
def test_softplus_where_it_is_constant_or_linear(softplus, count):
    large = np.array([709.0, 1e3, 1e15, 1e300, np.inf])
    tiny = np.array([0.0, 5e-324, 2e-308, 1e-17])
    for a, expected in (
        (large, (large, 1.0, 0.0)),
        (-large, (0.0, 0.0, 0.0)),
        (np.concatenate([tiny, -tiny]), (np.log(2.0), 0.5, 0.25)),
    ):
        for got, exact in zip(softplus(a, count), expected):
            np.testing.assert_allclose(got, exact * np.ones(len(a)), rtol=4e-16, atol=1e-307)
    with_sign = np.copysign(np.nan, [1.0, -1.0])
    assert np.isnan(softplus(with_sign, count)).all()
