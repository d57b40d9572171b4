"""Every public name has an example in its docstring, and every example gives what it says."""

import importlib
import inspect

import pytest

import lse_material as lse
from tests.examples import run, setup

PACKAGES = ("analysis", "export", "fem", "fit", "kernel", "model", "plotting", "report")


def public(package):
    """The functions and classes of a package, by name; constants have no docstring."""
    module = importlib.import_module(f"lse_material.{package}") if package else lse
    found = {name: getattr(module, name) for name in module.__all__}
    for name, part in list(found.items()):
        if inspect.ismodule(part):
            found.update({f"{name}.{key}": value for key, value in vars(part).items() if is_own(key, value, part)})
    return [
        (package, name, value) for name, value in found.items() if inspect.isroutine(value) or inspect.isclass(value)
    ]


def is_own(name, value, module):
    return not name.startswith("_") and getattr(value, "__module__", None) == module.__name__


NAMES = [entry for package in ("", *PACKAGES) for entry in public(package)]


@pytest.mark.parametrize(("package", "name", "value"), NAMES, ids=[f"{p}.{n}".lstrip(".") for p, n, _ in NAMES])
def test_a_public_name_has_an_example_that_gives_what_it_says(package, name, value):
    text = inspect.getdoc(value)
    assert ">>>" in text, f"the docstring of {name} has no example"
    with setup(package) as names:
        run(text, names, name)


def test_an_example_that_is_wrong_fails():
    with setup() as known, pytest.raises(AssertionError, match=r"Expected:\n *4\nGot:\n *3"):
        run(">>> 1 + 2\n4", known, "wrong")
