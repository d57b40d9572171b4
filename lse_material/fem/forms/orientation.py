"""Inverted cells: energies are NaN where det F <= 0 at a quadrature point, so that no solver accepts such a state.

If det F varies within a cell (displacements of degree 2, quadrilaterals), it may still be negative at a corner; `InvertedCells`
finds that.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import basix
import numpy as np
import ufl
from dolfinx import fem
from dolfinx.mesh import EntityMap
from mpi4py import MPI
from ufl.core.expr import Expr

from lse_material._arrays import Array
from lse_material.errors import ConvergenceError
from lse_material.fem._cells import covered_cells, functions_of, stored_at_points, values_at
from lse_material.fem.forms.marks import marked, marks_in
from lse_material.fem.forms.measures import estimated_degree
from lse_material.model.strain import SmallStrain, StrainMeasure

LATTICE = 2  # intervals along an edge of a cell: det F is checked at corners and middles of edges


@dataclass(frozen=True)
class Determinant:
    """The meaning of a mark on a det F that must be positive."""


def not_inverted(kinematics: StrainMeasure, F: Expr) -> Expr:
    """1 where det F > 0 and NaN elsewhere, a UFL scalar whose derivative is zero; 1 everywhere at small strain.

    It costs one comparison at each point, and does not raise the estimated quadrature degree.
    """
    if isinstance(kinematics, SmallStrain):
        return ufl.as_ufl(1.0)
    positive = ufl.conditional(ufl.gt(ufl.real(marked(ufl.det(F), Determinant())), 0.0), 1.0, 0.0)
    return positive / positive


class InvertedCells:
    """Checks det F in the cells of forms, at their corners and the middles of their edges.

    Forms are energies or residuals as the user gave them. Each det F in a cell integral is checked in the integral's cells,
    unless F has parts that are stored at quadrature points alone.
    """

    def __init__(
        self, forms: Sequence[ufl.Form], comm: MPI.Comm, entity_maps: Sequence[EntityMap] | None = None
    ) -> None:
        self._comm = comm
        self._entity_maps = entity_maps
        self._parts: list[tuple[Expr, Any, Array]] = []
        for form in forms:
            for integral in form.integrals():
                if integral.integral_type() != "cell":
                    continue
                domain = _domain(integral)
                for J, _ in marks_in(integral.integrand(), Determinant):
                    det = J.expression()
                    known = any(det == other and domain is mesh for other, mesh, _ in self._parts)
                    if not known and domain is not None and _varies(det, domain):
                        self._parts.append((det, domain, covered_cells(integral, domain)))

    def refuse(self, remedy: str, iterations: int) -> None:
        """Raise ConvergenceError if det F <= 0 at a corner or a middle of an edge of a cell; collective."""
        smallest = self.smallest()
        if not smallest > 0.0:
            raise ConvergenceError(
                f"the state that was found turns a cell inside out between its quadrature points: det F is {smallest:.3g} at a "
                f"corner or an edge of it. Take {remedy}.",
                iterations=iterations,
            )

    def smallest(self) -> float:
        """The smallest det F of the present state, infinite if no cell is checked; collective."""
        found = [values_at(*each).min(initial=np.inf) for each in self._expressions]
        return float(self._comm.allreduce(min(found, default=np.inf), MPI.MIN))

    @cached_property
    def _expressions(self) -> list[tuple[fem.Expression, Any, Array]]:
        """Each det F, compiled when it is first asked for, with its mesh and cells."""
        found = []
        for det, domain, cells in self._parts:
            points = basix.create_lattice(domain.basix_cell(), LATTICE, basix.LatticeType.equispaced, True)
            found.append((fem.Expression(det, points, entity_maps=self._entity_maps), domain, cells))
        return found


def _varies(det: Expr, domain: Any) -> bool:
    """Whether det F may differ from point to point of a cell, and has values between the quadrature points."""
    if stored_at_points(det):
        return False
    return estimated_degree(det) > 0 or not domain.ufl_domain().is_piecewise_linear_simplex_domain()


def _domain(integral: ufl.Integral) -> Any:
    """The dolfinx mesh of an integral; None if no function in it lives there."""
    ufl_domain = integral.ufl_domain()
    meshes = (function.function_space.mesh for function in functions_of(integral.integrand()))
    return next((mesh for mesh in meshes if mesh.ufl_domain() == ufl_domain), None)
