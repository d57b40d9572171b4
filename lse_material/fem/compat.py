"""The one place that knows how versions of UFL, DOLFINx and dolfinx_external_operator differ from what the package needs.

Importing dolfinx_external_operator registers a new UFL type. UFL's visitors cache one handler per registered type; a
visitor that has run before (because a form was compiled) then lacks the new entry, and the next form ends in
`IndexError: list index out of range`. The stale caches are emptied here; UFL fills them again when they are needed.
"""

from __future__ import annotations

import warnings
from typing import Any

import dolfinx
import dolfinx.mesh
import dolfinx_external_operator  # noqa: F401  (registers its UFL type, before the caches are emptied)
from ufl.algorithms.transformer import Transformer
from ufl.corealg.multifunction import MultiFunction

OLDEST = (0, 10)
NEWEST = (0, 11)


def empty_visitor_caches() -> None:
    """Make UFL look its handlers up again, for all types registered by now."""
    for visitor in (MultiFunction, Transformer):
        visitor._handlers_cache.clear()


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
            "tests/fem/test_operator.py, which looks at every internal that the package hooks into.",
            ImportWarning,
            stacklevel=2,
        )


require_dolfinx()
empty_visitor_caches()
