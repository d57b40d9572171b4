"""Is a cell turned inside out? Energies are NaN where det F <= 0 at a quadrature point; this looks between these points.

An energy of F^T F alone does not tell F from its mirror image. `orientation` makes what it multiplies NaN, with all
derivatives, where det F <= 0, so that no solver accepts such a state. Where det F varies within a cell (displacements of degree
2, quadrilaterals) it may still be negative at a corner; `InvertedCells` finds that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import basix
import numpy as np
import ufl
from dolfinx import fem
from dolfinx.mesh import EntityMap
from mpi4py import MPI
from ufl.algorithms.apply_algebra_lowering import apply_algebra_lowering
from ufl.algorithms.apply_derivatives import apply_derivatives
from ufl.algorithms.estimate_degrees import estimate_total_polynomial_degree

from lse_material._arrays import Array
from lse_material.fem.forms.marks import marked, marks_in
from lse_material.model.strain import SmallStrain, StrainMeasure

Expr = Any  # a UFL expression
LATTICE = 2  # corners and middles of edges of each cell are looked at


@dataclass(frozen=True)
class Determinant:
    """The meaning of a mark on det F, where it must be positive."""


def orientation(kinematics: StrainMeasure, F: Expr) -> Expr:
    """1 where det F > 0 and NaN elsewhere, a UFL scalar whose derivative is zero; 1 everywhere at small strain.

    It costs a comparison at each point, and does not raise the estimate of the quadrature degree.
    """
    if isinstance(kinematics, SmallStrain):
        return ufl.as_ufl(1.0)
    kept = ufl.conditional(ufl.gt(ufl.real(marked(ufl.det(F), Determinant())), 0.0), 1.0, 0.0)
    return kept / kept


class InvertedCells:
    """Looks at det F in the cells of a form, at their corners and the middles of their edges.

    Args:
        forms: energies or residuals, as they were given; each det F in a cell integral is looked at where that integral is.
        comm: of the problem.
        entity_maps: between the meshes of the forms.
    """

    def __init__(
        self, forms: Sequence[ufl.Form], comm: MPI.Comm, entity_maps: Sequence[EntityMap] | None = None
    ) -> None:
        self._comm = comm
        self._entity_maps = entity_maps
        self._parts: list[tuple[Expr, Any, Array]] = []
        self._expressions: list[tuple[fem.Expression, Any, Array]] | None = None
        for form in forms:
            for integral in form.integrals():
                if integral.integral_type() != "cell":
                    continue
                domain = _domain(integral)
                for J, _ in marks_in(integral.integrand(), Determinant):
                    det = J.expression()
                    known = any(det == other and domain is mesh for other, mesh, _ in self._parts)
                    if not known and domain is not None and _varies(det):
                        self._parts.append((det, domain, _cells(integral, domain)))

    def smallest(self) -> float:
        """The smallest det F of the present state, infinite where there is nothing to look at; collective."""
        if self._expressions is None:
            self._expressions = [(self._expression(det, domain), domain, cells) for det, domain, cells in self._parts]
        found = np.inf
        for expression, domain, cells in self._expressions:
            if len(cells):
                found = min(found, float(np.min(expression.eval(domain, cells))))
        return float(self._comm.allreduce(found, MPI.MIN))

    def _expression(self, det: Expr, domain: Any) -> fem.Expression:
        cell = domain.basix_cell()
        points = basix.create_lattice(cell, LATTICE, basix.LatticeType.equispaced, True)
        maps = {} if self._entity_maps is None else {"entity_maps": self._entity_maps}
        return fem.Expression(det, points, **maps)


def _varies(det: Expr) -> bool:
    """Whether det F may differ from point to point of a cell."""
    return bool(estimate_total_polynomial_degree(apply_derivatives(apply_algebra_lowering(det))) > 0)


def _domain(integral: ufl.Integral) -> Any:
    """The dolfinx mesh of an integral; None if a function on it does not tell."""
    ufl_domain = integral.ufl_domain()
    for function in ufl.algorithms.extract_coefficients(integral.integrand()):
        if isinstance(function, fem.Function) and function.function_space.mesh.ufl_domain() == ufl_domain:
            return function.function_space.mesh
    return None


def _cells(integral: ufl.Integral, domain: Any) -> Array:
    """The cells of an integral that this rank owns."""
    owned = domain.topology.index_map(domain.topology.dim).size_local
    data, which = integral.subdomain_data(), integral.subdomain_id()
    if data is None or which in ("everywhere", "otherwise") or not hasattr(data, "find"):
        return np.arange(owned, dtype=np.int32)
    numbers = which if isinstance(which, tuple) else (which,)
    cells = np.unique(np.concatenate([data.find(int(number)) for number in numbers]))
    return cells[cells < owned].astype(np.int32)
