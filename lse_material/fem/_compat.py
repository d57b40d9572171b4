"""The one place that knows how versions of DOLFINx differ from each other, and which the package takes."""

from __future__ import annotations

import warnings
from typing import Any

import dolfinx
import dolfinx.mesh

OLDEST = (0, 10)
NEWEST = (0, 11)


def geometry_dofmap(domain: dolfinx.mesh.Mesh) -> Any:
    """Nodes of each cell, shape (cells, nodes of a cell); DOLFINx 0.10 has them under another name."""
    geometry = domain.geometry
    return geometry.dofmaps[0] if hasattr(geometry, "dofmaps") else geometry.dofmap


def require_dolfinx(found: str = dolfinx.__version__) -> None:
    """Refuse a DOLFINx that is older than the package can work with, and warn of one that it was not tested with.

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
            "tests/fem/forms/test_operator.py, which looks at every internal that the package hooks into.",
            ImportWarning,
            stacklevel=2,
        )


require_dolfinx()
