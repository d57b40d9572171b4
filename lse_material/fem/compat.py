"""The one place that knows how versions of UFL and dolfinx_external_operator differ from what the package needs.

Importing dolfinx_external_operator registers a new UFL type. UFL's visitors cache one handler per registered type; a
visitor that has run before (because a form was compiled) then lacks the new entry, and the next form ends in
`IndexError: list index out of range`. The stale caches are emptied here; UFL fills them again when they are needed.
"""

from __future__ import annotations

import dolfinx
import dolfinx_external_operator  # noqa: F401  (registers its UFL type, before the caches are emptied)
from ufl.algorithms.transformer import Transformer
from ufl.corealg.multifunction import MultiFunction

OLDEST = (0, 10)


def empty_visitor_caches() -> None:
    """Make UFL look its handlers up again, for all types registered by now."""
    for visitor in (MultiFunction, Transformer):
        visitor._handlers_cache.clear()


def require_dolfinx() -> None:
    """Raise ImportError if DOLFINx is older than the package can work with."""
    version = tuple(int(part) for part in dolfinx.__version__.split(".")[:2])
    if version < OLDEST:
        raise ImportError(
            f"lse_material.fem needs DOLFINx >= 0.10; this is {dolfinx.__version__}. See README: ./fenicsx."
        )


require_dolfinx()
empty_visitor_caches()
