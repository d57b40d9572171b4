"""A material evaluated at quadrature points: its stress as an external operator of a UFL form.

For a `Material` d values of dW/dx are stored per point for the residual and d(d+1)/2 of d2W/dx2 for the Jacobian (3 and 6 in
2D, 6 and 21 in 3D; P and dP/dF in 3D have 9 and 81), and UFL adds the geometric part of the tangent.

The operator is a stress, never W, because two derivatives of W through an external operator silently give a zero Jacobian
(FEniCS/ufl issue 449).
"""

import weakref
from collections.abc import Collection, Sequence
from functools import cached_property
from typing import Any

import basix
import basix.ufl
import numpy as np
import ufl
from dolfinx import fem
from dolfinx.mesh import EntityMap, Mesh, MeshTags
from dolfinx_external_operator import FEMExternalOperator

from lse_material._arrays import Array, whole_number
from lse_material.errors import InvalidInputError
from lse_material.fem._cells import (
    covered_cells,
    functions_of,
    material_cells,
    mesh_of,
    require_degree,
    require_double,
    require_known,
    require_points,
    values_at,
)
from lse_material.fem.forms.energy import expect_shape, expect_solid_cells, from_axes, in_axes, scalar_fields
from lse_material.fem.quadrature.evaluators import Evaluator, EvaluatorStress, PotentialStress, Target
from lse_material.fem.quadrature.plane_stress import UNDEFORMED, PlaneStress
from lse_material.model.material import Material


class QuadratureStress:
    """First Piola-Kirchhoff stress of a material at quadrature points, for forms such as

        inner(P.operator, grad(v)) * P.dx

    Residual and Jacobian evaluate the compiled kernel once each per iterate, the residual without second derivatives, in owned
    cells only. Nothing is allocated per call. The constructor is collective over the mesh.

    Attributes:
        operator: P, a UFL tensor of shape (dim, dim) with an external operator in it; use it with `dx` only. `stress_function`
            gives its values, for files and pictures.
        conjugates: dW/dfields, a UFL vector of the same stored values; None for a material of F alone.
        dx: measure with this quadrature rule, on the cells of `tags` that have `tag` if these were given.
        inputs: UFL tensor that is evaluated at the points: the fields and x(F), or F for an `Evaluator`, in its axes.
        values: the stored stress: dW/dx of a Material, P of an `Evaluator`.
        tangent_values: the stored derivative of it.
        across: of a `PlaneStress`, the third columns of F that were found last at the points, from which the next search
            starts; None of others. Write a start of your own there. A solve that fails, and a step that a `LoadPath` repeats,
            leave it as it was; the path's checkpoints contain it.
        stress_evaluations, tangent_evaluations: number of iterates at which each was computed.

    Args:
        material: a Material, or any `Evaluator` (then dim is that of F).
        F: UFL deformation gradient, (dim, dim); its coefficients may change between solves.
        degree: degree of the quadrature rule, >= 1.
        fields: as `lse.fem.energy` takes them; functions among them may be unknowns.
        orientation: a rotation, as `lse.fem.energy` takes it; of an `Evaluator` too.
        tags, tag: cell tags and the value, or values, of the cells of this material; all cells if left out.
        domain: the mesh of the integral, if it is not that of the coefficients of F.
        entity_maps: as `dolfinx.fem.form` takes them, if F lives on another mesh than `domain`.

    Raises:
        InvalidInputError: fields too few or too many; F of the wrong shape, without a mesh or of another precision than
            float64; degree < 1; tags of facets or of another mesh, or values that mark no cell on any rank.
        CompilationError: the kernel of the material could not be compiled; on every rank.

    >>> P = lse.fem.QuadratureStress(material, F, degree=1)
    >>> residual = ufl.inner(P.operator, ufl.grad(v)) * P.dx
    >>> stored = lse.fem.MaterialProblem(residual, u, stresses=[P], bcs=bcs, petsc_options_prefix="stored_")
    >>> pull.value[:] = 0.1, 0.0
    >>> _ = stored.solve()
    >>> round(float(u.x.array.max()), 6)
    0.1
    """

    _energy_type: type[fem.Function] = fem.Function

    def __init__(
        self,
        material: Material | Evaluator,
        F: Any,
        *,
        degree: int,
        fields: Sequence[Any] = (),
        orientation: Any = None,
        tags: MeshTags | None = None,
        tag: int | Sequence[int] | None = None,
        domain: Mesh | None = None,
        entity_maps: Sequence[EntityMap] | None = None,
    ) -> None:
        if isinstance(material, Material):
            expect_shape(material, F)
        elif len(set(shape := getattr(F, "ufl_shape", ()))) != 1 or len(shape) != 2:
            raise InvalidInputError(f"F has UFL shape {shape}; an Evaluator needs (dim, dim).")
        expect_solid_cells(F)
        require_degree(degree, 1)
        self._material, self._degree = material, degree
        self._mesh = mesh = mesh_of(F, domain)
        if isinstance(material, Material):
            fields = scalar_fields(material, fields)
        elif fields:
            raise InvalidInputError("fields go with a Material that depends on them; an Evaluator is one of F alone.")
        F, self._orientation = in_axes(F, orientation), orientation
        read = [f for expression in (F, *fields) for f in functions_of(expression)]
        require_double(*read, what="a QuadratureStress", real=True)
        self._cells, self.dx = material_cells(mesh, tags, tag, degree=degree)
        for expression in (F, *fields):
            require_points(expression, degree, "this QuadratureStress")
            require_known(expression, mesh, self._cells, entity_maps or ())
        self._stored: PotentialStress | EvaluatorStress = (
            PotentialStress(material, mesh.comm, fields)
            if isinstance(material, Material)
            else EvaluatorStress(material, F.ufl_shape[0])
        )
        space = self._space(self._stored.shape)
        self._external = FEMExternalOperator(
            self._stored.inputs(F), function_space=space, external_function=Owner(self), name="dW", dtype=np.float64
        )
        self.operator = from_axes(self._stored.stress(F, self._external), orientation)
        self.conjugates: Any = None
        if isinstance(self._stored, PotentialStress) and fields:
            self.conjugates = self._stored.conjugates(F, self._external)
        dofs = space.dofmap.list[self._cells].ravel()  # scalar positions of the evaluated points
        self.inputs = self._external.ufl_operands[0]
        self.values = self._external.ref_coefficient
        self.tangent_values = fem.Function(self._space(self._stored.tangent_shape), name="d2W", dtype=np.float64)
        self._first = Target(self.values, dofs)
        self._second = Target(self.tangent_values, dofs)
        self._F, self._maps = F, None if entity_maps is None else list(entity_maps)
        self._inputs = self._at_points(self.inputs)
        self._buffer = self._inputs.eval(mesh, self._cells)  # its shape differs between versions of DOLFINx
        self._points = self._buffer.reshape(len(dofs), *self.inputs.ufl_shape)
        self._state = _State(self.inputs, mesh)
        self.across: fem.Function | None = None
        if isinstance(material, PlaneStress) and isinstance(self._stored, EvaluatorStress):
            self.across = fem.Function(self._space((3,)), name="across", dtype=np.float64)
            self.across.x.array.reshape(-1, 3)[:] = UNDEFORMED
            self._stored.across = Target(self.across, dofs)
        self._known = 0  # derivatives of W that are up to date: 0 none, 1 stress, 2 also tangent
        self._energies: Target | None = None
        self._dofs = dofs
        self.stress_evaluations = self.tangent_evaluations = 0

    def update_stress(self) -> None:
        """Evaluate the stress at the quadrature points if the coefficients of F have changed."""
        self._update_inputs()
        if self._known < 1:
            self._stored.evaluate(self._points, self._first.array)
            self._first.store()
            self._store_energy()
            self._known = 1
            self.stress_evaluations += 1

    def update_tangent(self) -> None:
        """Evaluate stress and tangent if the coefficients of F have changed."""
        self._update_inputs()
        if self._known < 2:
            self.stress_evaluations += self._known == 0
            self._stored.evaluate_tangent(self._points, self._first.array, self._second.array)
            self._first.store()
            self._second.store()
            self._store_energy()
            self._known = 2
            self.tangent_evaluations += 1

    def invalidate(self) -> None:
        """Make the stress NaN, after a failed evaluation."""
        self.values.x.array[:] = np.nan
        if self._energies is not None:
            self.energy.x.array[:] = np.nan
        self._known = 0
        self._state.forget()

    @cached_property
    def energy(self) -> fem.Function:
        """W at the points, of an `Evaluator` that also returns `energy` (n,): `EnergyProblem` minimises `P.energy * P.dx`.

        Its `residual` is then `inner(P.operator, grad(v)) * P.dx`.

        Raises:
            InvalidInputError: the stress is that of a Material.
        """
        if isinstance(self.material, Material):
            raise InvalidInputError("the energy of a Material stands in the form: lse.fem.energy(material, F) * P.dx.")
        function = self._energy_type(self._space(()), name="W", dtype=np.float64)
        self._energies = Target(function, self._dofs)
        self._known = 0
        return function

    def is_read_by(self, coefficients: Collection[Any]) -> bool:
        """Whether `energy` is among the coefficients of a form, which is then right only after `update_stress`."""
        return self._energies is not None and self.energy in coefficients

    @property
    def material(self) -> Material | Evaluator:
        """The material; another one needs another QuadratureStress, and a problem with it."""
        return self._material

    @property
    def degree(self) -> int:
        """The degree of the quadrature rule."""
        return self._degree

    @property
    def tangent(self) -> Any:
        """The derivative of the external operator in the Jacobian, a UFL tensor."""
        return self._stored.tangent(self.tangent_values)

    def stress_function(self, degree: int = 0) -> fem.Function:
        """P at the present coefficients of F, projected cell by cell to a discontinuous function, for files. Collective.

        The projection uses the stored points: of degree 0 it is the mean over the cell. It is zero in cells of other materials.

        Args:
            degree: of the function, at most half the degree of the quadrature rule, which must integrate its square.

        Raises:
            InvalidInputError: degree < 0, or more than that.
        """
        if 2 * whole_number("degree", degree) > self.degree:
            raise InvalidInputError(
                f"a stress function of degree {degree} needs a QuadratureStress of degree >= {2 * degree}, "
                f"this one's is {self.degree}: make the stress with degree={max(1, 2 * degree)}, or project to a lower degree."
            )
        self.update_stress()
        cell, shape = self._mesh.basix_cell(), self.operator.ufl_shape
        result = fem.Function(fem.functionspace(self._mesh, ("DG", degree, shape)), name="stress", dtype=np.float64)
        points, weights = basix.make_quadrature(cell, self.degree)
        basis = basix.ufl.element("DG", cell, degree).tabulate(0, points)[0]
        stress = from_axes(self._stored.stress(self._F, self.values), self._orientation)
        P, volume = (
            values_at(self._at_points(each), self._mesh, self._cells)
            for each in (stress, abs(ufl.JacobianDeterminant(self._mesh)))
        )
        volume = volume * weights
        mass = np.einsum("cq,qi,qj->cij", volume, basis, basis)
        moments = np.einsum("cq,qi,cqk->cik", volume, basis, P.reshape(*volume.shape, int(np.prod(shape))))
        dofs = result.function_space.dofmap.list[self._cells]
        result.x.array.reshape(-1, moments.shape[-1])[dofs] = np.linalg.solve(mass, moments)
        result.x.scatter_forward()
        return result

    def check_integral(self, integral: ufl.Integral) -> None:
        """Refuse an integral that would read values of other points, or of cells that are not evaluated; collective.

        Raises:
            InvalidInputError: on every rank.
        """
        metadata = integral.metadata()
        degree, scheme = metadata.get("quadrature_degree"), metadata.get("quadrature_scheme") or "default"
        if integral.integral_type() != "cell" or degree != self.degree or scheme != "default":
            raise InvalidInputError(
                f"a QuadratureStress of degree {self.degree} stands in an integral of type {integral.integral_type()} with "
                f"degree {degree} and scheme {scheme!r}: multiply it by its own measure `.dx`."
            )
        if integral.ufl_domain() != self._mesh.ufl_domain():
            raise InvalidInputError(
                "a QuadratureStress stands in an integral over another mesh than it is evaluated on: multiply it by its own "
                "measure `.dx`, or make it with domain= that mesh and entity_maps=."
            )
        over = covered_cells(integral, self._mesh)
        missing = np.array([len(np.setdiff1d(over, self._cells)), len(over)])
        missing = self._mesh.comm.allreduce(missing)
        if missing[0]:
            raise InvalidInputError(
                f"a QuadratureStress stands in an integral over {missing[1]} cells, but it is not evaluated in "
                f"{missing[0]} of them, which are not of its tags: multiply it by its own measure `.dx`."
            )

    def _at_points(self, expression: Any) -> fem.Expression:
        points = self.values.function_space.element.interpolation_points
        return fem.Expression(expression, points, dtype=np.float64, entity_maps=self._maps)

    def _update_inputs(self) -> None:
        if self._state.changed() or (isinstance(self._stored, EvaluatorStress) and self._stored.moved()):
            self._known = 0
            self._inputs.eval(self._mesh, self._cells, self._buffer)

    def _store_energy(self) -> None:
        if self._energies is not None and isinstance(self._stored, EvaluatorStress):
            self._energies.array[:, 0] = self._stored.energy()
            self._energies.store()

    def _space(self, shape: tuple[int, ...]) -> fem.FunctionSpace:
        element = basix.ufl.quadrature_element(self._mesh.basix_cell(), value_shape=shape, degree=self.degree)
        return fem.functionspace(self._mesh, element)


class Owner:
    """A weak reference from an external operator to its `QuadratureStress`, so that the two make no cycle."""

    def __init__(self, stress: QuadratureStress) -> None:
        self._weak = weakref.ref(stress)

    @property
    def stress(self) -> QuadratureStress | None:
        """The owner, None if it is gone."""
        return self._weak()

    def __call__(self, derivatives: tuple[int, ...]) -> Any:
        """Refuse the evaluation loop of dolfinx_external_operator, which would compute tangents that nobody reads."""
        raise InvalidInputError("a QuadratureStress is evaluated by MaterialProblem: pass it in `stresses`.")


class _State:
    """The state that F depends on: its coefficients, its constants, and the coordinates of the mesh."""

    def __init__(self, F: Any, mesh: Any) -> None:
        functions = ufl.algorithms.extract_coefficients(F)
        constants = [c.value for c in ufl.algorithms.analysis.extract_constants(F)]
        places = {id(m.geometry.x): m.geometry.x for m in (mesh, *(f.function_space.mesh for f in functions))}
        self._arrays = [*(f.x.array for f in functions), *constants, *places.values()]
        self._seen: list[Array] | None = None

    def changed(self) -> bool:
        """Whether anything has changed since the last call; NaN counts as changed."""
        if self._seen is None:
            self._seen = [array.copy() for array in self._arrays]
            return True
        if all(np.array_equal(a, b) for a, b in zip(self._arrays, self._seen)):
            return False
        for array, seen in zip(self._arrays, self._seen):
            np.copyto(seen, array)
        return True

    def forget(self) -> None:
        """Make the next call of `changed` return True."""
        self._seen = None
