"""A material evaluated at quadrature points: its stress as an external operator of a UFL form.

For a `Material` the external operator is dW/dx at the quadrature points, x = x(F) the strain measure, and the stress is
written in UFL: P = sum_i dW/dx_i dx_i/dF, plus the growth term. So d values are stored per point for the residual and
d(d+1)/2 for the Jacobian (3 and 6 in 2D, 6 and 21 in 3D, where P and dP/dF would be 9 and 81), and UFL supplies the
geometric part of the tangent. Any other evaluator has P and dP/dF stored.

The operator is a stress, never W: differentiating W through an external operator twice silently gives a zero Jacobian
(FEniCS/ufl issue 456).
"""

from __future__ import annotations

import weakref
from typing import Any

import basix.ufl
import numpy as np
import ufl
from dolfinx import fem
from dolfinx.mesh import MeshTags
from dolfinx_external_operator import FEMExternalOperator

from lse_material.checks import Array
from lse_material.errors import InvalidInputError
from lse_material.fem.law import Evaluator, EvaluatorLaw, Law, PotentialLaw
from lse_material.material import Material


class QuadratureStress:
    """First Piola-Kirchhoff stress of a material at quadrature points, for forms such as

        inner(P.operator, grad(v)) * P.dx

    Residual and Jacobian evaluate the compiled kernel once each per iterate, the residual without second derivatives. Cells
    owned by this rank only are evaluated; nothing is allocated per call. Making one is collective over the mesh.

    Attributes:
        operator: P, a UFL tensor of shape (dim, dim) that holds an external operator; use it with `dx` only.
        dx: measure with this quadrature rule, on the cells of `tags` that hold `tag` if these were given.
        stress_evaluations, tangent_evaluations: at how many iterates each was computed so far.

    Args:
        material: a Material, or any `Evaluator` (then dim is that of F).
        F: UFL deformation gradient, (dim, dim), on one mesh; its coefficients may change between solves.
        degree: degree of the quadrature rule, >= 1.
        tags, tag: cell tags and the value that marks the cells of this material; all cells if left out.

    Raises:
        InvalidInputError: F of the wrong shape, without a mesh, or degree < 1.
        CompilationError: the kernel of the material could not be compiled; on every rank.
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
        self._mesh = mesh = mesh_of(F)
        self._law: Law = (
            PotentialLaw(material, mesh.comm) if isinstance(material, Material) else EvaluatorLaw(material, dim)
        )
        inputs = self._law.inputs(F)
        space = self._space(self._law.shape)
        self._external = FEMExternalOperator(inputs, function_space=space, external_function=Owner(self), name="dW")
        self.operator = self._law.stress(F, self._external)
        metadata = {"quadrature_degree": degree, "quadrature_scheme": "default"}
        measure = ufl.Measure("dx", domain=mesh, subdomain_data=tags, metadata=metadata)
        self.dx = measure if tag is None else measure(tag)
        owned = mesh.topology.index_map(mesh.topology.dim).size_local
        cells = np.arange(owned, dtype=np.int32) if tags is None else tags.find(tag)
        self._cells = cells[cells < owned]
        dofs = space.dofmap.list[self._cells].ravel()  # scalar positions of the evaluated points
        self._tangent = fem.Function(self._space(self._law.tangent_shape))
        self._first = _Target(self._external.ref_coefficient, dofs)
        self._second = _Target(self._tangent, dofs)
        self._inputs = fem.Expression(inputs, space.element.interpolation_points)
        self._values = self._inputs.eval(mesh, self._cells)  # of the shape that this version of DOLFINx fills
        self._points = self._values.reshape(len(dofs), *inputs.ufl_shape)
        self._state = _State(F, mesh)
        self._known = 0  # derivatives of W that belong to the present state: 0 none, 1 stress, 2 also tangent
        self.stress_evaluations = self.tangent_evaluations = 0

    def update_stress(self) -> None:
        """Bring the stress at the quadrature points up to date with the coefficients of F."""
        self._update_inputs()
        if self._known < 1:
            self._law.evaluate(self._points, self._first.array)
            self._first.store()
            self._known = 1
            self.stress_evaluations += 1

    def update_tangent(self) -> None:
        """Bring its derivative up to date, and the stress with it."""
        self._update_inputs()
        if self._known < 2:
            self.stress_evaluations += self._known == 0
            self._law.evaluate_tangent(self._points, self._first.array, self._second.array)
            self._first.store()
            self._second.store()
            self._known = 2
            self.tangent_evaluations += 1

    def invalidate(self) -> None:
        """Make the stress NaN, after a failed evaluation."""
        self._external.ref_coefficient.x.array[:] = np.nan
        self._known = 0
        self._state.forget()

    @property
    def tangent(self) -> Any:
        """The derivative of the external operator, a UFL tensor: what stands for it in the Jacobian."""
        return self._law.tangent(self._tangent)

    def _update_inputs(self) -> None:
        if self._state.changed():
            self._known = 0
            self._inputs.eval(self._mesh, self._cells, self._values)

    def _space(self, shape: tuple[int, ...]) -> fem.FunctionSpace:
        element = basix.ufl.quadrature_element(self._mesh.basix_cell(), value_shape=shape, degree=self.degree)
        return fem.functionspace(self._mesh, element)


class Owner:
    """What an external operator knows of its `QuadratureStress`: held weakly, so that the two make no cycle."""

    def __init__(self, stress: QuadratureStress) -> None:
        self._weak = weakref.ref(stress)

    @property
    def stress(self) -> QuadratureStress | None:
        """The owner, None if it is gone."""
        return self._weak()

    def __call__(self, derivatives: tuple[int, ...]) -> Any:
        """Refuse the evaluation loop of dolfinx_external_operator, which would compute tangents that nobody reads."""
        raise InvalidInputError("a QuadratureStress is evaluated by MaterialProblem: pass it in `stresses`.")


class _Target:
    """Where values at the evaluated points go: straight into the function where its points lie one after another."""

    def __init__(self, function: fem.Function, dofs: Array) -> None:
        size = function.function_space.dofmap.bs
        self._whole, self._dofs = function.x.array.reshape(-1, size), dofs
        self._direct = np.array_equal(dofs, np.arange(len(dofs)))
        self.array = self._whole[: len(dofs)] if self._direct else np.empty((len(dofs), size))

    def store(self) -> None:
        """Bring what was written to `array` into the function."""
        if not self._direct:
            self._whole[self._dofs] = self.array


class _State:
    """What F depends on: its coefficients, its constants, and the positions of the mesh's nodes."""

    def __init__(self, F: Any, mesh: Any) -> None:
        functions = [c.x.array for c in ufl.algorithms.extract_coefficients(F)]
        constants = [c.value for c in ufl.algorithms.analysis.extract_constants(F)]
        self._arrays = [*functions, *constants, mesh.geometry.x]
        self._seen: list[Array] | None = None

    def changed(self) -> bool:
        """Whether anything differs from the last call; NaN always does."""
        if self._seen is None:
            self._seen = [array.copy() for array in self._arrays]
            return True
        if all(np.array_equal(a, b) for a, b in zip(self._arrays, self._seen)):
            return False
        for array, seen in zip(self._arrays, self._seen):
            np.copyto(seen, array)
        return True

    def forget(self) -> None:
        """The next call says changed."""
        self._seen = None


def mesh_of(F: Any) -> Any:
    """The dolfinx mesh that F lives on, found through its coefficients."""
    spaces = [c.function_space for c in ufl.algorithms.extract_coefficients(F) if isinstance(c, fem.Function)]
    if not spaces:
        raise InvalidInputError("F holds no dolfinx Function, so its mesh is not known: F = Identity(dim) + grad(u).")
    return spaces[0].mesh
