"""A material evaluated at quadrature points: its stress as an external operator of a UFL form.

The operator is P, not W: differentiating W through an external operator twice silently gives a zero Jacobian
(FEniCS/ufl issue 456). P and A = dP/dF are stored in quadrature functions and brought up to date before each assembly.
"""

from __future__ import annotations

from typing import Any, Protocol

import basix.ufl
import numpy as np
import ufl
from dolfinx import fem
from dolfinx.mesh import MeshTags
from dolfinx_external_operator import FEMExternalOperator

from lse_material.checks import Array
from lse_material.errors import InvalidInputError
from lse_material.material import Material


class Values(Protocol):
    """What an evaluator returns for n points: read when needed, so that a tangent nobody reads costs nothing."""

    @property
    def stress(self) -> Array:
        """(n, dim, dim)."""

    @property
    def tangent(self) -> Array:
        """(n, dim, dim, dim, dim), index [n, i, J, k, L]."""


class Evaluator(Protocol):
    """Anything that says P and dP/dF of F; `lse_material.Material` is one."""

    def evaluate(self, F: Array) -> Values:
        """F (n, dim, dim)."""


class QuadratureStress:
    """First Piola-Kirchhoff stress of a material at quadrature points, for forms such as

        inner(P.operator, grad(v)) * P.dx

    Residual and Jacobian of one iterate share one evaluation: the stress is computed for the residual, and the tangent is
    finished from what was kept when the Jacobian asks for it. Cells owned by this rank only are evaluated.

    Attributes:
        operator: the external operator P, a UFL tensor of shape (dim, dim); use it with `dx` only.
        dx: measure with this quadrature rule, on the cells of `tags` that hold `tag` if these were given.
        stress_evaluations, tangent_evaluations: at how many iterates each was computed so far.

    Args:
        material: a Material, or any `Evaluator` (then dim is that of F).
        F: UFL deformation gradient, (dim, dim), on one mesh; its coefficients may change between solves.
        degree: degree of the quadrature rule, >= 1.
        tags, tag: cell tags and the value that marks the cells of this material; all cells if left out.

    Raises:
        InvalidInputError: F of the wrong shape, without a mesh, or degree < 1.
    """

    def __init__(
        self,
        material: Material | Evaluator,
        F: Any,
        *,
        degree: int,
        tags: MeshTags | None = None,
        tag: int | None = None,
    ) -> None:
        dim = F.ufl_shape[0]
        if F.ufl_shape != (dim, dim) or (isinstance(material, Material) and material.dim != dim):
            wanted = f"({material.dim}, {material.dim})" if isinstance(material, Material) else "(dim, dim)"
            raise InvalidInputError(f"F has UFL shape {F.ufl_shape}; this material needs {wanted}.")
        if degree < 1:
            raise InvalidInputError(f"quadrature degree is {degree}; it must be at least 1 (one point on a simplex).")
        if (tags is None) != (tag is None):
            raise InvalidInputError("give both tags and tag, or neither.")
        self.material, self.degree = material, degree
        mesh = _mesh_of(F)
        element = basix.ufl.quadrature_element(mesh.basix_cell(), value_shape=(dim, dim), degree=degree)
        space = fem.functionspace(mesh, element)
        self.operator = FEMExternalOperator(F, function_space=space, external_function=self, name="P")
        metadata = {"quadrature_degree": degree, "quadrature_scheme": "default"}
        measure = ufl.Measure("dx", domain=mesh, subdomain_data=tags, metadata=metadata)
        self.dx = measure if tag is None else measure(tag)
        owned = mesh.topology.index_map(mesh.topology.dim).size_local
        cells = np.arange(owned, dtype=np.int32) if tags is None else tags.find(tag)
        self._cells = cells[cells < owned]
        self._mesh = mesh
        self._dofs = space.dofmap.list[self._cells].ravel()  # scalar positions of the evaluated points
        self._gradient = fem.Expression(F, space.element.interpolation_points)
        self._values: Values | None = None
        self._F: Array | None = None
        self._has_tangent = False
        self.stress_evaluations = self.tangent_evaluations = 0

    def update_stress(self) -> None:
        """Bring P at the quadrature points up to date with the coefficients of F, in the function of `operator`."""
        self._store(self._evaluate().stress, self.operator.ref_coefficient)

    def update_tangent(self, targets: list[fem.Function]) -> None:
        """Bring dP/dF up to date, in each of `targets`."""
        values = self._evaluate()
        self.tangent_evaluations += not self._has_tangent
        self._has_tangent = True
        for target in targets:
            self._store(values.tangent, target)

    def _evaluate(self) -> Values:
        """The material at the present F: kept values if F has not changed since."""
        dim = self.operator.ufl_shape[0]
        F = self._gradient.eval(self._mesh, self._cells).reshape(-1, dim, dim)
        if self._values is None or self._F is None or not np.array_equal(F, self._F, equal_nan=True):
            self._F, self._values, self._has_tangent = F, self.material.evaluate(F), False
            self.stress_evaluations += 1
        return self._values

    def _store(self, values: Array, target: fem.Function) -> None:
        size = target.function_space.dofmap.bs
        target.x.array.reshape(-1, size)[self._dofs] = values.reshape(-1, size)

    def __call__(self, derivatives: tuple[int, ...]) -> Any:
        """Refuse the evaluation loop of dolfinx_external_operator, which would compute tangents that nobody reads."""
        raise InvalidInputError("a QuadratureStress is evaluated by MaterialProblem: pass it in `stresses`.")


def _mesh_of(F: Any) -> Any:
    """The dolfinx mesh that F lives on, found through its coefficients."""
    spaces = [c.function_space for c in ufl.algorithms.extract_coefficients(F) if isinstance(c, fem.Function)]
    if not spaces:
        raise InvalidInputError("F holds no dolfinx Function, so its mesh is not known: F = Identity(dim) + grad(u).")
    return spaces[0].mesh
