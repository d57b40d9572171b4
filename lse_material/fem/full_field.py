"""Full-field measurements as observations of stresses: displacements all over a body, and the forces on its supports.

A body whose displacement u was measured at every node, by image correlation say, gives one equation for each free degree of
freedom a and one for each support s,

    int P(F) : grad v_a dX = 0,        sum_{a in s} int P(F) : grad v_a dX = R_s,        F = I + grad u,

all linear in the stresses P at the quadrature points: `Observations` holds them, and a fit to them needs no finite elements.

Let u0 be a field near the true one and K the tangent stiffness there. For any virtual displacement w

    w . f(P(F0)) = w . R + (K w) . (u0 - u_measured) + error,        error^2 = |K w|^2 error_u^2 + error_R^2,

up to the square of the distance. Two kinds of w have small errors. The lowest eigenvectors of K, over |K w|, leave the error
of u: high eigenvectors hold little but noise. A w that is 1 on a support, 0 on the others and in balance with K between them
has K w = 0 inside the body: errors of u there do not matter to the force of a support.

Without a material, u0 is the measured field and K that of a linear elastic body whose modulus follows from the forces. P is not
linear in the noise of F, so that this fit is rough. With the material of that fit, u0 is its equilibrium under springs to the
measured field, as stiff as the body in the highest of the eigenvectors: a step of the Gauss-Newton method on the distance of
the two fields and on the forces. A few fits, each to the observations that the one before gives, come to an end. Where K is not
positive, mode weights are frozen in the K that gives w. (Finite element model updating and its relatives: S. Avril et al., Exp.
Mech. 48, 381 (2008).)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import basix.ufl
import dolfinx.fem.petsc
import dolfinx.mesh
import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem
from mpi4py import MPI
from petsc4py import PETSc

from lse_material._arrays import Array, float_array, frozen
from lse_material.data.observations import Observations
from lse_material.errors import ConvergenceError, InvalidInputError
from lse_material.fem._compat import geometry_dofmap
from lse_material.fem.forms.energy import energy
from lse_material.fem.forms.frozen_tangent import frozen_tangent
from lse_material.fem.solve.eigen import lowest_eigenpairs
from lse_material.fem.solve.energy_problem import EnergyProblem
from lse_material.model.material import Material

Index = npt.NDArray[np.int32]

ROUGHNESS = 0.15  # error of balance at measured F, as a share of the displacement: noise through the curvature of P(F)


@dataclass(frozen=True, eq=False)
class Support:
    """Degrees of freedom that a machine holds or moves, and the sum of the forces on them in each step.

    Attributes:
        dofs: as `fem.locate_dofs_topological(V.sub(i), ...)` gives them: of one component of the displacement.
        forces: (steps,), NaN where they were not measured; in 2D per thickness.

    >>> along_x = fem.locate_dofs_geometrical((V.sub(0), V.sub(0).collapse()[0]), lambda x: np.isclose(x[0], 1.0))[0]
    >>> len(lse.fem.Support(along_x, [0.0, 1.5]).dofs)  # the forces of two steps
    5
    """

    dofs: Index
    forces: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "dofs", np.unique(np.asarray(self.dofs, dtype=np.int32)))
        object.__setattr__(self, "forces", frozen(float_array("forces of a support", self.forces, 1, finite=False)))
        if len(self.dofs) == 0:
            raise InvalidInputError("a support has no degree of freedom: see that its facets lie on the boundary.")


class FullField:
    """The displacements of a body in several steps of a test, and the forces on its supports. In serial.

    Args:
        displacements: one function for each step, all of one Lagrange space of vectors.
        supports: degrees of freedom that belong to none of them are free of force.
        displacement_error: standard deviation of a measured displacement.
        force_error: standard deviation of a measured force.
        modes: number of eigenvectors by which the equations of balance are combined.

    Raises:
        InvalidInputError: naming what does not fit together.

    Example:
        >>> field = FullField([u], [Support(left, [-1.0]), Support(right, [1.0])],
        ...                   displacement_error=1e-4, force_error=1e-2)            # doctest: +SKIP
        >>> first = fit(field.observations(), kinematics=measure)                  # doctest: +SKIP
        >>> second = fit(field.observations(first.material), kinematics=measure)   # doctest: +SKIP
    """

    def __init__(
        self,
        displacements: Sequence[fem.Function],
        supports: Sequence[Support],
        *,
        displacement_error: float,
        force_error: float,
        modes: int = 60,
    ) -> None:
        self.displacements, self.supports = list(displacements), list(supports)
        self.displacement_error, self.force_error, self.modes = displacement_error, force_error, modes
        self._check()
        V = self._V = self.displacements[0].function_space
        self.dim = V.mesh.geometry.dim
        self._u = fem.Function(V, name="u")
        self._supported = np.sort(np.concatenate([support.dofs for support in self.supports]))
        degree = max(2 * (V.ufl_element().degree - 1), 1)
        self._dx = ufl.dx(domain=V.mesh, degree=degree)
        self._set_up_points(degree)

    @classmethod
    def from_arrays(
        cls,
        points: Any,
        cells: Any,
        displacements: Any,
        supports: Sequence[tuple[Any, int, Any]],
        *,
        displacement_error: float,
        force_error: float,
        modes: int = 60,
    ) -> FullField:
        """The same of nodes and triangles or tetrahedra, as programs for image correlation write them.

        Args:
            points: nodes of the undeformed body, (n, dim).
            cells: numbers of their nodes, (m, dim + 1).
            displacements: (steps, n, dim).
            supports: of each, the numbers of its nodes, the component (0 .. dim - 1) and the forces (steps,).
            displacement_error: standard deviation of a measured displacement.
            force_error: standard deviation of a measured force.
            modes: number of eigenvectors by which the equations of balance are combined.
        """
        x, u = float_array("points", points, 2), float_array("displacements", displacements, 3)
        if u.shape[1:] != x.shape:
            raise InvalidInputError(
                f"displacements have shape {u.shape}; these points need (steps, {len(x)}, {x.shape[1]})."
            )
        V, node = _nodal_space(x, np.asarray(cells, dtype=np.int64))
        fields = [fem.Function(V) for _ in u]
        for field, values in zip(fields, u):
            field.x.array[:] = values[node].ravel()
        dof = np.argsort(node)
        made = [
            Support(dof[np.asarray(nodes)] * x.shape[1] + component, forces) for nodes, component, forces in supports
        ]
        return cls(fields, made, displacement_error=displacement_error, force_error=force_error, modes=modes)

    def observations(self, material: Material | None = None) -> Observations:
        """Balance against the lowest eigenvectors of the stiffness and forces of the supports; each step is a group.

        Args:
            material: of an earlier fit, which smooths the measured displacements. Without one, F is that of the measured ones.

        Raises:
            ConvergenceError: the material finds no rest near a measured field; the message names the step.
        """
        steps = range(len(self.displacements))
        if material is None:
            return Observations.joined([self._of_measured(step) for step in steps])
        body = _Body(material, self.displacements, self._supported, self._dx)
        return Observations.joined([self._of_smoothed(step, body) for step in steps])

    def distances(self, material: Material) -> Array:
        """RMS distance of the equilibria of a material from the measured fields, (steps,): of a right one, their error."""
        body, result = _Body(material, self.displacements, self._supported, self._dx), []
        for step, measured in enumerate(self.displacements):
            body.rest(step, self.springs)
            body.rest(step, 0.0)
            result.append(_rms(body.u.x.array - measured.x.array))
        return np.array(result)

    @cached_property
    def springs(self) -> float:
        """Stiffness of the springs to the measured field per volume: as stiff as the body in the highest of the modes."""
        volume = fem.assemble_scalar(fem.form(fem.Constant(self._V.mesh, 1.0) * self._dx))
        modulus = float(np.mean([self._modulus(step) for step in range(len(self.displacements))]))
        return modulus * float(self._elastic_modes[0][-1]) * len(self._u.x.array) / self.dim / volume

    @cached_property
    def _elastic(self) -> PETSc.Mat:
        """The stiffness of the body if it is linear elastic and both Lame constants are 1."""
        v, w = ufl.TestFunction(self._V), ufl.TrialFunction(self._V)
        strain = ufl.sym(ufl.grad(w))
        return _matrix(ufl.inner(ufl.tr(strain) * ufl.Identity(self.dim) + 2.0 * strain, ufl.grad(v)) * self._dx)

    @cached_property
    def _elastic_modes(self) -> tuple[Array, Array]:
        return self._lowest_modes(self._elastic)

    def _modulus(self, step: int) -> float:
        """The modulus with which the linear elastic body has forces as large as those measured."""
        force = _product(self._elastic, self.displacements[step].x.array[None])[0]
        of_elastic = np.array([force[support.dofs].sum() for support in self.supports])
        forces = np.array([support.forces[step] for support in self.supports])
        known = np.isfinite(forces)
        return float(np.abs(forces[known]).sum() / np.abs(of_elastic[known]).sum())

    def _of_measured(self, step: int) -> Observations:
        measured = self.displacements[step].x.array
        self._u.x.array[:] = measured
        K = self._elastic.copy()
        K.scale(self._modulus(step))
        error = max(self.displacement_error, ROUGHNESS * _rms(measured))
        try:
            return self._combined(step, K, K, self._elastic_modes[1], error)
        finally:
            K.destroy()

    def _of_smoothed(self, step: int, body: _Body) -> Observations:
        body.rest(step, self.springs)
        self._u.x.array[:] = body.u.x.array
        K, convex = body.tangent(), body.convex_tangent()
        try:
            values, vectors = self._lowest_modes(K)
            if values[0] > 0.0:
                return self._combined(step, K, K, vectors, self.displacement_error)
            return self._combined(step, K, convex, self._lowest_modes(convex)[1], self.displacement_error)
        finally:
            K.destroy()
            convex.destroy()

    def _combined(self, step: int, K: PETSc.Mat, positive: PETSc.Mat, modes: Array, error: float) -> Observations:
        """Balance against virtual displacements: the modes, and one that is 1 on each support whose force is known."""
        forces = np.array([support.forces[step] for support in self.supports])
        known = np.flatnonzero(np.isfinite(forces))
        lifted = self._lifted(positive, [self.supports[k] for k in known])
        of_modes, of_supports = _product(K, modes), _product(K, lifted)
        size = np.linalg.norm(of_modes, axis=1)
        distance = self._u.x.array - self.displacements[step].x.array
        entries = self._of_stresses(np.concatenate([modes / size[:, None], lifted]))
        row, column = np.nonzero(entries)
        noise = self.displacement_error * np.linalg.norm(of_supports, axis=1)
        return Observations(
            self._deformation_gradients(step),
            row,
            column,
            entries[row, column],
            np.concatenate([of_modes @ distance / size, forces[known] + of_supports @ distance]),
            np.concatenate([np.full(len(modes), error), np.hypot(self.force_error, noise)]),
            group=np.full(len(entries), step),
        )

    def _lowest_modes(self, A: PETSc.Mat) -> tuple[Array, Array]:
        """Eigenvalues (modes,) and orthonormal eigenvectors (modes, dofs) of A in the free degrees of freedom."""
        K = self._of_free(A)
        diagonal = A.createVecLeft()
        diagonal.set(1.0)
        diagonal.array[self._supported] = 0.0
        M = PETSc.Mat().createDiagonal(diagonal)
        M.convert("aij")
        values, vectors = lowest_eigenpairs(K, M, min(self.modes, len(diagonal.array) - len(self._supported)))
        found = np.array([vector.array.copy() for vector in vectors])
        for each in (*vectors, M, K, diagonal):
            each.destroy()
        return np.asarray(values), found

    def _lifted(self, A: PETSc.Mat, supports: Sequence[Support]) -> Array:
        """Of each support the displacement that is 1 there, 0 at the others, and in balance with the stiffness A between."""
        result = np.zeros((len(supports), A.getSize()[0]))
        for lifted, support in zip(result, supports):
            lifted[support.dofs] = 1.0
        right, found = A.createVecRight(), A.createVecLeft()
        solver = PETSc.KSP().create(self._V.mesh.comm)
        solver.setType("preonly")
        solver.getPC().setType("lu")
        solver.getPC().setFactorSolverType("mumps")
        K = self._of_free(A)
        solver.setOperators(K)
        for lifted, force in zip(result, _product(A, result)):
            right.array[:] = -force
            right.array[self._supported] = 0.0
            solver.solve(right, found)
            lifted += found.array
        for each in (solver, right, found, K):
            each.destroy()
        return result

    def _of_free(self, A: PETSc.Mat) -> PETSc.Mat:
        """A copy of A with the rows of the supports replaced by 1 on the diagonal."""
        K = A.copy()
        K.zeroRowsColumns(self._supported, 1.0)  # type: ignore[arg-type]
        return K

    def _of_stresses(self, combinations: Array) -> Array:
        """Combinations (k, dofs) of forces as combinations of stresses at the quadrature points, (k, points dim^2)."""
        forces, stresses = self._forces_of_stress.createVecLeft(), self._forces_of_stress.createVecRight()
        result = np.empty((len(combinations), stresses.getSize()))
        for combination, row in zip(combinations, result):
            forces.array[:] = combination
            self._forces_of_stress.multTranspose(forces, stresses)
            row[:] = stresses.array
        return result

    def _set_up_points(self, degree: int) -> None:
        """The matrix that takes stresses at the quadrature points to forces on degrees of freedom."""
        domain = self._V.mesh
        element = basix.ufl.quadrature_element(domain.basix_cell(), value_shape=(self.dim, self.dim), degree=degree)
        Q = fem.functionspace(domain, element)
        P, v = ufl.TrialFunction(Q), ufl.TestFunction(self._V)
        self._forces_of_stress = _matrix(ufl.inner(P, ufl.grad(v)) * self._dx)
        self._at_points = fem.Function(Q)
        self._expression = fem.Expression(ufl.Identity(self.dim) + ufl.grad(self._u), Q.element.interpolation_points)
        for step, measured in enumerate(self.displacements):
            self._u.x.array[:] = measured.x.array
            self._deformation_gradients(step)

    def _deformation_gradients(self, step: int) -> Array:
        """F at the quadrature points, (n, dim, dim)."""
        self._at_points.interpolate(self._expression)
        F: Array = self._at_points.x.array.reshape(-1, self.dim, self.dim).copy()
        smallest = np.linalg.det(F).min()
        if not smallest > 0.0:
            raise InvalidInputError(
                f"the displacements of step {step} turn a cell inside out (det F = {smallest:.3g}): they are too noisy for "
                "this mesh; smooth them, or take a coarser mesh."
            )
        return F

    def _check(self) -> None:
        if not self.displacements or not self.supports:
            raise InvalidInputError("a full field needs one displacement field and one support at least.")
        V = self.displacements[0].function_space
        if any(u.function_space != V for u in self.displacements):
            raise InvalidInputError("the displacements are functions of different spaces; make them of one.")
        if V.mesh.comm.size > 1:
            raise InvalidInputError("a full field is taken in serial: make its mesh on MPI.COMM_SELF, on one rank.")
        if V.value_shape != (V.mesh.geometry.dim,):
            raise InvalidInputError(
                f"the displacements have the shape {V.value_shape}; the mesh has {V.mesh.geometry.dim} dimensions."
            )
        dofs = np.concatenate([support.dofs for support in self.supports])
        if len(np.unique(dofs)) < len(dofs):
            raise InvalidInputError(
                "two supports share a degree of freedom: each belongs to one, the one whose force it adds to."
            )
        steps = len(self.displacements)
        for k, support in enumerate(self.supports):
            if len(support.forces) != steps:
                raise InvalidInputError(f"support {k} has {len(support.forces)} forces for {steps} steps.")
        forces = np.array([support.forces for support in self.supports])
        silent = ~(np.isfinite(forces) & (forces != 0.0)).any(axis=0)
        if silent.any():
            raise InvalidInputError(
                f"step {int(np.argmax(silent))} has no force that is known and not 0: nothing fixes the stresses' size."
            )
        for name in ("displacement_error", "force_error"):
            if not 0.0 < getattr(self, name) < np.inf:
                raise InvalidInputError(f"{name} is {getattr(self, name)!r}; it must be > 0 and finite.")


class _Body:
    """The body of a material on its supports, with springs that draw it to the displacements measured in a step.

    Args:
        material: its energy.
        displacements: measured in each step.
        supported: degrees of freedom whose displacement is as measured.
        dx: measure with the quadrature of the observations.
    """

    def __init__(
        self, material: Material, displacements: Sequence[fem.Function], supported: Index, dx: ufl.Measure
    ) -> None:
        self.displacements = displacements
        V = displacements[0].function_space
        self.u, self._measured = fem.Function(V, name="u"), fem.Function(V)
        self._stiffness = fem.Constant(V.mesh, 0.0)
        W = energy(material, ufl.Identity(V.mesh.geometry.dim) + ufl.grad(self.u)) * dx
        away = self.u - self._measured
        springs = 0.5 * self._stiffness * ufl.inner(away, away) * ufl.dx(degree=2 * V.ufl_element().degree)
        self._conditions, bcs = [], []
        for i in range(V.mesh.geometry.dim):
            space, dofs = V.sub(i).collapse()
            dofs = np.asarray(dofs, dtype=np.int32).ravel()
            which = np.flatnonzero(np.isin(dofs, supported)).astype(np.int32)
            value = fem.Function(space)
            self._conditions.append((value, dofs))
            bcs.append(fem.dirichletbc(value, [dofs[which], which], V.sub(i)))
        self._problem = EnergyProblem(
            W + springs, self.u, bcs=bcs, petsc_options_prefix=f"full_field_{id(self)}_", predictor=False
        )
        v, w = ufl.TestFunction(V), ufl.TrialFunction(V)
        self._tangent = fem.form(ufl.derivative(ufl.derivative(W, self.u, v), self.u, w))
        self._frozen = fem.form(frozen_tangent(W, self.u))

    def rest(self, step: int, springs: float) -> None:
        """Set u to a minimum of the energy, from the measured field on with springs, else from the present u on.

        Raises:
            ConvergenceError: there is none near.
        """
        self._measured.x.array[:] = self.displacements[step].x.array
        for value, dofs in self._conditions:
            value.x.array[:] = self._measured.x.array[dofs]
        self._stiffness.value = springs
        if springs:
            self.u.x.array[:] = self._measured.x.array
        try:
            self._problem.solve()
        except ConvergenceError as error:
            raise ConvergenceError(
                f"the material finds no rest near the measured field of step {step}: {error}"
            ) from None

    def tangent(self) -> PETSc.Mat:
        """The stiffness at u, without springs and with the rows of the supports."""
        return _assembled(self._tangent)

    def convex_tangent(self) -> PETSc.Mat:
        """The same with frozen mode weights, which is not negative."""
        return _assembled(self._frozen)


def _nodal_space(x: Array, cells: npt.NDArray[np.int64]) -> tuple[fem.FunctionSpace, npt.NDArray[np.int64]]:
    """Linear vectors on a mesh of these nodes and simplices, and the node that each block of degrees of freedom belongs to."""
    dim = x.shape[1]
    if cells.ndim != 2 or cells.shape[1] != dim + 1 or cells.min() < 0 or cells.max() >= len(x):
        raise InvalidInputError(
            f"cells must be (m, {dim + 1}) numbers of the {len(x)} nodes; they have shape {cells.shape}."
        )
    unused = np.setdiff1d(np.arange(len(x)), cells)
    if len(unused):
        raise InvalidInputError(f"{len(unused)} nodes, {unused[0]} the first, belong to no cell: leave them out.")
    shape = {2: "triangle", 3: "tetrahedron"}[dim]
    element = basix.ufl.element("Lagrange", shape, 1, shape=(dim,))
    domain = dolfinx.mesh.create_mesh(MPI.COMM_SELF, cells, element, x)
    V = fem.functionspace(domain, ("Lagrange", 1, (dim,)))
    node = np.empty(len(x), dtype=np.int64)
    corners = geometry_dofmap(domain)
    for cell in range(len(cells)):
        node[V.dofmap.cell_dofs(cell)] = domain.geometry.input_global_indices[corners[cell]]
    return V, node


def _matrix(form: Any) -> PETSc.Mat:
    return _assembled(fem.form(form))


def _assembled(compiled: fem.Form) -> PETSc.Mat:
    A = dolfinx.fem.petsc.create_matrix(compiled)
    dolfinx.fem.petsc.assemble_matrix(A, compiled)
    A.assemble()
    return A


def _product(A: PETSc.Mat, rows: Array) -> Array:
    """A applied to each row (k, dofs)."""
    x, y = A.createVecRight(), A.createVecLeft()
    result = np.empty_like(rows)
    for row, product in zip(rows, result):
        x.array[:] = row
        A.mult(x, y)
        product[:] = y.array
    x.destroy()
    y.destroy()
    return result


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(values**2)))
