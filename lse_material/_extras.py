"""Which extra brings a package, and the ImportError that says so."""

import contextlib
from collections.abc import Iterator

FENICSX = (
    "DOLFINx is not on PyPI: conda install -c conda-forge fenics-dolfinx, apt install fenicsx, "
    "the container dolfinx/dolfinx:stable, or ./fenicsx of a checkout"
)
_EXTRAS = {
    "torch": "fit",
    "scipy": "fit",
    "rich": "fit",
    "pandas": "data",
    "matplotlib": "plot",
    "pyvista": "plot",
    "cffi": "kernel",
    "dolfinx_external_operator": "fem",
}
_FENICSX = ("dolfinx", "basix", "ffcx", "mpi4py", "petsc4py", "slepc4py", "ufl")


def how_to_install(package: str) -> str:
    """The command that brings a package."""
    if package in _FENICSX:
        return FENICSX
    extra = _EXTRAS.get(package)
    return f"pip install 'lse-material[{extra}]'" if extra else f"pip install {package}"


@contextlib.contextmanager
def needed_by(user: str) -> Iterator[None]:
    """Say, where an import fails inside the block, which package `user` lacks and how to install it.

    Raises ModuleNotFoundError: a package outside lse_material is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "lse_material"):
            raise
        message = f"{user} needs {package}, which is not installed: {how_to_install(package)}."
        raise ModuleNotFoundError(message, name=package) from None
