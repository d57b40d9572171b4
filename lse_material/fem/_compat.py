"""Differences between versions of DOLFINx, and the versions that the package accepts."""

import warnings
from typing import Any

import dolfinx
import dolfinx.mesh

OLDEST = (0, 10)
NEWEST = (0, 11)


def geometry_dofmap(domain: dolfinx.mesh.Mesh) -> Any:
    """Nodes of each cell, shape (cells, nodes of a cell), whose name differs in DOLFINx 0.10."""
    geometry = domain.geometry
    return geometry.dofmaps[0] if hasattr(geometry, "dofmaps") else geometry.dofmap


def require_dolfinx(found: str = dolfinx.__version__) -> None:
    """Refuse a DOLFINx that is too old, and warn of one that the package was not tested with.

    Raises:
        ImportError: DOLFINx is too old.

    Warns:
        ImportWarning: DOLFINx is newer than what the tests have run with.
    """
    version = tuple(int(part) for part in found.split(".")[:2])
    if version < OLDEST:
        raise ImportError(f"lse_material.fem needs DOLFINx >= 0.10; this is {found}. See README: ./fenicsx.")
    if version > NEWEST:
        warnings.warn(
            f"lse_material.fem was tested with DOLFINx 0.10 and 0.11; this is {found}. Before you trust it run "
            "tests/fem/forms/test_operator.py, which tests every internal that the package uses.",
            ImportWarning,
            stacklevel=2,
        )


require_dolfinx()
