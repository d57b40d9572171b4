"""Rate-independent dissipation of phase transformations: what the change of mode weights costs, with memory at points.

A step from the state n minimises, in u,

    int W(F) + sum_k c_k h(w_k(F) - a_k^n) dx - work of loads,       h(s) = s^2/(2 r) if |s| <= r, else |s| - r/2,

with the mode weights w_k(F), their anchors a_k, and prices c_k. Then each anchor follows its weight to the distance r, as a
slider follows a spring,

    a_k^(n+1) = w_k - clip(w_k - a_k^n, -r, r),       dissipated energy: sum_k c_k |a_k^(n+1) - a_k^n| >= 0.

A change of mode i into mode j costs c_i + c_j. Within r weights change reversibly, and nothing creeps: minor loops close,
however many steps they take. Two phases coexist at the Maxwell stress plus or minus price / transformation strain.
Every state between these stresses is an equilibrium, so that the state after a jump (a nucleation) depends on how it was
reached. While a homogeneous bar transforms, its stress rises by price dw/de, at most price E e_T / (4 rho): prices above 2 rho
delay nucleation more than the barrier does. Such a bar transforms a good deal before it nucleates. Within one step a change
that is taken back is refunded, so that a long step crosses barriers that short steps do not: there, halve the steps until the
dissipated energy does not change.

A. Mielke, T. Roubicek, Rate-Independent Systems, Springer 2015, doi:10.1007/978-1-4939-2706-7, for incremental minimisation; A.
Visintin, Differential Models of Hysteresis, Springer 1994, doi:10.1007/978-3-662-11557-2, for the play operator.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import basix.ufl
import numpy as np
import ufl
from dolfinx import fem
from dolfinx.mesh import MeshTags
from ufl.core.expr import Expr

from lse_material._arrays import Array, float_array, positive
from lse_material.errors import InvalidInputError
from lse_material.fem._cells import functions_of, material_cells, mesh_of, require_degree, require_double, values_at
from lse_material.fem._mpi import integral
from lse_material.fem.forms.energy import inputs
from lse_material.fem.forms.transformation import cost, smooth_weights
from lse_material.model.material import Material
from lse_material.model.soft_minimum import SoftMinimum, expect_potential

ROUNDING = 1e-12  # of prices of pairs, relative to the largest


class Memory(fem.Function):
    """A coefficient of an energy that belongs to internal variables: a path of that energy must let it follow."""


class Dissipation:
    """What a change of mode weights costs: a term of the energy of an `EnergyProblem`, and the memory of where they were.

    Add `functional` to the energy. After each state that is accepted `advance` moves the anchors; `LoadPath`, `ArcLength` and
    `Dynamics` do so if they are given `internal=[dissipation]`, and store them in their checkpoints. A
    `PeriodicCell` takes `internal=lambda F: [Dissipation(material, F, ...)]`, adds the functional itself, and moves them. The
    stress of W may be stored (`QuadratureStress`): the residual is then that with the derivative of `functional`. The
    constructor is collective.

    Args:
        material: of two modes or more.
        F: UFL deformation gradient, (dim, dim).
        price: energy per reference volume that the change from one mode to another costs: one number (or UFL scalar) for all
            pairs, or a symmetric (modes, modes) array with the price of each pair. Prices above twice the transition scale need
            short steps; see the module's text.
        degree: of the quadrature rule, that of the energy W.
        fields: UFL scalars, one for each of the material's fields.
        reversible: change of a weight that is still reversible, r. The energy that it stores is at most price * r / 2.
        tags, tag: cell tags and the value, or values, of the cells of this material; all cells if left out.

    Attributes:
        functional: the cost of going from the anchors to the present weights, a UFL form.
        weights: the mode weights at present, a UFL vector with two derivatives. With rate = ufl.derivative(weights, u, v), the
            `damping` of a `Motion` lambda v: 0.5 * viscosity * inner(rate, rate) * dx is their drag.
        dx: the measure of this quadrature rule on the cells of the material.
        anchors: a_k at the points of the rule.
        density: the energy per reference volume dissipated so far, at the points of the rule.

    Raises:
        InvalidInputError: the material has one mode; a price is negative, or no c_i + c_j; F has the wrong shape or no mesh;
            reversible does not lie between 0 and 1.

    >>> hysteresis = lse.fem.Dissipation(material, F, 0.01, degree=1)
    >>> problem = lse.fem.EnergyProblem(W * dx + hysteresis.functional, u, bcs=bcs, petsc_options_prefix="damped_")
    >>> pull.value[0] = 0.1
    >>> _ = problem.solve()
    >>> hysteresis.advance()
    >>> hysteresis.dissipated() > 0.0
    True
    """

    def __init__(
        self,
        material: Material,
        F: Expr,
        price: Any,
        *,
        degree: int,
        fields: Sequence[Expr] = (),
        reversible: float = 1e-3,
        tags: MeshTags | None = None,
        tag: int | Sequence[int] | None = None,
    ) -> None:
        x = inputs(material, F, fields)
        self._prepare(material.potential, x, price, degree, reversible, tags, tag)

    @classmethod
    def of_potential(
        cls,
        potential: SoftMinimum,
        x: Sequence[Expr],
        price: Any,
        *,
        degree: int,
        reversible: float = 1e-3,
        tags: MeshTags | None = None,
        tag: int | Sequence[int] | None = None,
    ) -> Dissipation:
        """The same for a potential of any UFL scalars x, the strain of a bar, say; arguments and errors as of the class.

        >>> e = u[0].dx(0)
        >>> wells = [lse.ConvexNetwork.from_arrays([], [[[at]]], [[at**2 / 2]], quadratic=[[1.0]]) for at in (0.0, -1.0)]
        >>> bar = lse.fem.Dissipation.of_potential(lse.SoftMinimum(wells, 0.03), [e], 0.1, degree=1)
        >>> bar.dissipated()
        0.0
        """
        self = cls.__new__(cls)
        expect_potential(potential, len(x))
        self._prepare(potential, list(x), price, degree, reversible, tags, tag)
        return self

    def _prepare(
        self,
        potential: SoftMinimum,
        x: list[Expr],
        price: Any,
        degree: int,
        reversible: float,
        tags: MeshTags | None,
        tag: int | Sequence[int] | None,
    ) -> None:
        modes = len(potential.modes)
        if modes < 2:
            raise InvalidInputError("a potential of one mode has no transformation whose price could be given.")
        if not positive("reversible", reversible) < 1.0:
            raise InvalidInputError(f"reversible is {reversible}; it is a share of a mode weight, between 0 and 1.")
        require_degree(degree, 1)
        prices = prices_of_modes(price, modes)
        require_double(*functions_of(ufl.as_vector(x)), what="a Dissipation", real=True)
        self._mesh = domain = mesh_of(ufl.as_vector(x))
        self._cells, self.dx = material_cells(domain, tags, tag, degree=degree)
        self.reversible = reversible

        def at_points(*shape: int) -> fem.FunctionSpace:
            element = basix.ufl.quadrature_element(domain.basix_cell(), value_shape=shape, degree=degree)
            return fem.functionspace(domain, element)

        self.anchors = Memory(at_points(modes), name="anchors")
        self.density = fem.Function(at_points(), name="dissipated_energy")
        weights = smooth_weights(potential, x)
        self.weights = ufl.as_vector(weights)
        changes = [w - self.anchors[k] for k, w in enumerate(weights)]
        self.functional = sum(c * cost(s, reversible) for c, s in zip(prices, changes)) * self.dx
        points = self.anchors.function_space.element.interpolation_points
        self._weights, self._changes = (
            fem.Expression(ufl.as_vector([*each, *map(ufl.as_ufl, prices), *x]), points) for each in (weights, changes)
        )
        self._dissipated = fem.form(self.density * self.dx)
        self._dofs = self.density.function_space.dofmap.list[self._cells].ravel()
        self.reset()

    @property
    def functions(self) -> Mapping[str, fem.Function]:
        """The memory, by names: what a checkpoint must store."""
        return {"anchors": self.anchors, "dissipated": self.density}

    def reset(self) -> None:
        """Put the anchors at the present weights, and the dissipated energy at 0; collective.

        Raises:
            InvalidInputError: the strain is not finite at the present u, or a price is negative.
        """
        self._anchors[self._dofs], _ = self._at_points(self._weights)
        self.density.x.array[:] = 0.0
        self.anchors.x.scatter_forward()

    def advance(self) -> None:
        """Let the anchors follow the present weights, and count what this dissipates; collective.

        Raises:
            InvalidInputError: the strain is not finite at the present u, or a price is negative; nothing is changed then.
        """
        changes, prices = self._at_points(self._changes)
        moved = changes - np.clip(changes, -self.reversible, self.reversible)
        self._anchors[self._dofs] += moved
        self.density.x.array[self._dofs] += (prices * np.abs(moved)).sum(axis=1)
        self.anchors.x.scatter_forward()
        self.density.x.scatter_forward()

    def dissipated(self) -> float:
        """The energy dissipated so far, the same on every rank; collective."""
        return integral(self._mesh.comm, self._dissipated)

    @property
    def _anchors(self) -> Array:
        """The anchors, (points, modes)."""
        return self.anchors.x.array.reshape(-1, self.anchors.function_space.dofmap.bs)

    def _at_points(self, expression: fem.Expression) -> tuple[Array, Array]:
        """Weights or their changes, and prices, (points, modes) each."""
        values, modes = values_at(expression, self._mesh, self._cells), self._anchors.shape[1]
        table = values.reshape(len(self._dofs), values.shape[-1])
        prices = table[:, modes : 2 * modes]
        faults = np.array([~np.isfinite(table).all(axis=1), (prices < 0.0).any(axis=1)]).sum(axis=1)
        wrong, negative = self._mesh.comm.allreduce(faults)
        if wrong:
            raise InvalidInputError(
                f"strain or price are not finite at {wrong} quadrature points of the present state: solve first, or start from "
                "u = 0."
            )
        if negative:
            raise InvalidInputError(f"the price is negative at {negative} quadrature points; prices are >= 0.")
        return table[:, :modes], prices


def prices_of_modes(price: Any, modes: int) -> list[Any]:
    """c_k with c_i + c_j the price of the change from mode i to mode j.

    Raises InvalidInputError: prices are negative, not symmetric, or no such sums.
    """
    if isinstance(price, ufl.core.expr.Expr):
        if price.ufl_shape:
            raise InvalidInputError(f"price has UFL shape {price.ufl_shape}; give a number, a table, or a UFL scalar.")
        return [0.5 * price] * modes
    table = float_array("price", price).copy()
    if table.ndim == 0:
        table = np.where(np.eye(modes) > 0, 0.0, table)
    if table.shape != (modes, modes) or not np.isfinite(table).all():
        raise InvalidInputError(
            f"price has shape {table.shape}; give one finite number, or one for each pair of the {modes} modes, shape "
            f"({modes}, {modes})."
        )
    largest = float(np.abs(table).max())
    if (table < 0.0).any() or np.abs(table - table.T).max() > ROUNDING * largest or np.diag(table).any():
        raise InvalidInputError("prices are >= 0, the same in both directions, and 0 on the diagonal.")
    if modes == 2:
        return [0.5 * float(table[0, 1])] * 2
    i, j = np.triu_indices(modes, 1)
    sums = np.zeros((len(i), modes))
    sums[np.arange(len(i)), i] = sums[np.arange(len(i)), j] = 1.0
    prices = np.linalg.lstsq(sums, table[i, j], rcond=None)[0]
    worst = int(np.argmax(np.abs(sums @ prices - table[i, j])))
    if (
        abs(sums[worst] @ prices - table[i[worst], j[worst]]) > 1e3 * ROUNDING * largest
        or prices.min() < -ROUNDING * largest
    ):
        raise InvalidInputError(
            "the price of each pair must be a sum c_i + c_j of prices >= 0 of its modes; the nearest sums are those of c = "
            f"{prices.round(6).tolist()}, which miss that of modes {i[worst]} and {j[worst]}, {table[i[worst], j[worst]]:g}."
        )
    return [max(float(c), 0.0) for c in prices]
