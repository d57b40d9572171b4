"""Examples in docstrings: what they take as read, and the files that they find in the folder where they run."""

import contextlib
import doctest
import functools
import importlib
import inspect
import os
import tempfile
import textwrap

import lse_material as lse
from tests.materials import samples_of_material, two_variants

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@contextlib.contextmanager
def setup(package=""):
    """The names that an example of a package may use, in a new folder with `cell.safetensors` and `cell.csv`.

    They are what the examples in the docstrings of `lse_material` and of the package itself define.
    """
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            material = two_variants(rho=1e-3)
            box = lse.Box([-0.1, -0.1, -0.1], [0.1, 0.1, 0.1])
            material = lse.Material(material.potential, material.kinematics, units={"energy": "MPa"}, training_box=box)
            lse.save(material, "cell.safetensors")
            lse.write_samples(samples_of_material(material, 200, seed=0), "cell.csv")
            # examples of `fem` change the functions that they are given; what the others are given is made once
            yield taken_as_read.__wrapped__(package) if package == "fem" else dict(taken_as_read(package))
        finally:
            os.chdir(before)


@functools.cache
def taken_as_read(package):
    """The names that the docstrings of `lse_material` and of the package define."""
    names = {}
    for module in ["lse_material", *([f"lse_material.{package}"] if package else [])]:
        run(inspect.getdoc(importlib.import_module(module)), names, module)
    return names


def run(text, names, where):
    """Run the examples of a docstring in `names`; a difference is an AssertionError."""
    test = doctest.DocTestParser().get_doctest(textwrap.dedent(text), names, where, None, None)
    report = []
    doctest.DocTestRunner(optionflags=OPTIONS).run(test, out=report.append, clear_globs=False)
    assert not report, "".join(report)
    names.update(test.globs)
