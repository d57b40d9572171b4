"""Full-field measurements as observations of stresses: displacements all over a body, and the forces on its supports.

A body whose displacement u was measured at every node, by image correlation say, gives one equation for each free degree of
freedom a and one for each support s,

    int P(F) : grad v_a dX = 0,        sum_{a in s} int P(F) : grad v_a dX = R_s,        F = I + grad u,

all linear in the stresses P at the quadrature points: `Observations` holds them, and a fit to them needs no finite elements.

Errors of u, much the same in all degrees of freedom, enter these equations multiplied by the tangent stiffness K. The
equations are therefore combined by the lowest eigenvectors of K, K phi_m = k_m phi_m, and divided by k_m, which leaves the
error of u; high eigenvectors hold little but noise. Without a material, K is that of a linear elastic body whose modulus
follows from the forces.

P is not linear in the noise of F, so that a fit to the measured F is rough. With the material of that fit, u is replaced by the
equilibrium of that material under the measured displacements of the supports,

    phi_m . f(P) / k_m = phi_m . (u_equilibrium - u_measured),        K, f and F at the equilibrium:

a step of the Gauss-Newton method on the distance of the two fields. A few fits, each to the observations that the one before
gives, come to an end. (Finite element model updating and its relatives: S. Avril et al., Exp. Mech. 48, 381 (2008).)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
from lse_material.fem.solve.eigen import lowest_eigenpairs
from lse_material.model.material import Material

Index = npt.NDArray[np.int32]

NEWTON_STEPS = 60
SHORTEST_STEP = 1e-4  # of Newton's method, as a share of a whole one
LAST_STEP = 1e-9  # change of the displacement that ends Newton's method, as a share of the largest displacement
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
        self._F = ufl.Identity(self.dim) + ufl.grad(self._u)
        supported = np.concatenate([support.dofs for support in self.supports])
        self._free = np.setdiff1d(np.arange(len(self._u.x.array), dtype=np.int32), supported)
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
        """Balance in the lowest eigenvectors of the stiffness and forces of the supports; each step is a group.

        Args:
            material: of an earlier fit. Without one, F is that of the measured displacements.

        Raises:
            ConvergenceError: the material has no equilibrium near a measured field; the message names the step.
        """
        if material is None:
            return Observations.joined([self._of_measured(step) for step in range(len(self.displacements))])
        forms = self._forms_of(material)
        return Observations.joined([self._of_equilibrium(step, *forms) for step in range(len(self.displacements))])

    def distances(self, material: Material) -> Array:
        """RMS distance of the equilibria of a material from the measured fields, (steps,): of a right one, their error."""
        forms, result = self._forms_of(material), []
        for step, measured in enumerate(self.displacements):
            self._find_equilibrium(step, *forms).destroy()
            result.append(_rms(self._u.x.array - measured.x.array))
        return np.array(result)

    def _forms_of(self, material: Material) -> tuple[fem.Form, fem.Form]:
        """Residual and tangent of the body of this material."""
        v, w = ufl.TestFunction(self._V), ufl.TrialFunction(self._V)
        f = ufl.derivative(energy(material, self._F) * self._dx, self._u, v)
        return fem.form(f), fem.form(ufl.derivative(f, self._u, w))

    def _of_measured(self, step: int) -> Observations:
        measured = self.displacements[step].x.array
        self._u.x.array[:] = measured
        v, w = ufl.TestFunction(self._V), ufl.TrialFunction(self._V)
        strain = ufl.sym(ufl.grad(w))
        stress = ufl.tr(strain) * ufl.Identity(self.dim) + 2.0 * strain  # both Lame constants are 1
        K = _matrix(ufl.inner(stress, ufl.grad(v)) * self._dx)
        force, displacement = K.createVecLeft(), K.createVecRight()
        displacement.array[:] = measured
        K.mult(displacement, force)
        at_supports = np.array([force.array[support.dofs].sum() for support in self.supports])
        forces = np.array([support.forces[step] for support in self.supports])
        known = np.isfinite(forces)
        modulus = float(np.abs(forces[known]).sum() / np.abs(at_supports[known]).sum())
        K.scale(modulus)
        error = max(self.displacement_error, ROUGHNESS * _rms(measured))
        return self._combined(step, K, np.zeros_like(measured), error)

    def _of_equilibrium(self, step: int, residual: fem.Form, tangent: fem.Form) -> Observations:
        A = self._find_equilibrium(step, residual, tangent)
        distance = self._u.x.array - self.displacements[step].x.array
        return self._combined(step, A, distance, self.displacement_error)

    def _combined(self, step: int, A: PETSc.Mat, target: Array, error: float) -> Observations:
        """Balance combined by the lowest eigenvectors of A, which it destroys, and the forces of the supports."""
        values, vectors = self._lowest_modes(A)
        forces = np.array([support.forces[step] for support in self.supports])
        known = np.isfinite(forces)
        sums = np.zeros((len(forces), len(target)))
        for sum_, support in zip(sums, self.supports):
            sum_[support.dofs] = 1.0
        entries = self._of_stresses(np.concatenate([vectors / values[:, None], sums[known]]))
        row, column = np.nonzero(entries)
        return Observations(
            self._deformation_gradients(step),
            row,
            column,
            entries[row, column],
            np.concatenate([vectors @ target, forces[known]]),
            np.concatenate([np.full(len(values), error), np.full(int(known.sum()), self.force_error)]),
            group=np.full(len(entries), step),
        )

    def _lowest_modes(self, A: PETSc.Mat) -> tuple[Array, Array]:
        """Eigenvalues (modes,) and orthonormal eigenvectors (modes, dofs) of A in the free degrees of freedom."""
        supported = np.setdiff1d(np.arange(A.getSize()[0], dtype=np.int32), self._free)
        A.zeroRowsColumns(supported, 1.0)  # type: ignore[arg-type]
        diagonal = A.createVecLeft()
        diagonal.set(1.0)
        diagonal.array[supported] = 0.0
        M = PETSc.Mat().createDiagonal(diagonal)
        M.convert("aij")
        values, vectors = lowest_eigenpairs(A, M, min(self.modes, len(self._free)))
        found = np.array([vector.array.copy() for vector in vectors])
        for each in (*vectors, M, A, diagonal):
            each.destroy()
        return np.asarray(values), found

    def _find_equilibrium(self, step: int, residual: fem.Form, tangent: fem.Form) -> PETSc.Mat:
        """Newton's method from the measured displacement to balance in the free degrees of freedom; the tangent there."""
        u = self._u.x.array
        u[:] = self.displacements[step].x.array
        supported = np.setdiff1d(np.arange(len(u), dtype=np.int32), self._free)
        change, small = np.inf, LAST_STEP * np.abs(u).max()
        A, solver = dolfinx.fem.petsc.create_matrix(tangent), PETSc.KSP().create(self._V.mesh.comm)
        solver.setType("preonly")
        solver.getPC().setType("lu")
        solver.getPC().setFactorSolverType("mumps")
        right, du = A.createVecRight(), A.createVecLeft()
        force = self._free_forces(residual)
        try:
            for _ in range(NEWTON_STEPS):
                A.zeroEntries()
                dolfinx.fem.petsc.assemble_matrix(A, tangent)
                A.assemble()
                if change <= small:
                    return A
                A.zeroRowsColumns(supported, 1.0)
                right.array[:] = force
                solver.setOperators(A)
                solver.solve(right, du)
                length, before, norm = 1.0, u.copy(), np.linalg.norm(force)
                while True:
                    u[:] = before - length * du.array
                    force = self._free_forces(residual)
                    change = length * np.abs(du.array).max()
                    if np.linalg.norm(force) < (1.0 - 1e-4 * length) * norm or change <= small:
                        break
                    length *= 0.5
                    if not length > SHORTEST_STEP:
                        raise ConvergenceError(
                            f"no equilibrium of the material is near the measured field of step {step}."
                        )
        finally:
            for each in (solver, right, du):
                each.destroy()
        A.destroy()
        raise ConvergenceError(f"no equilibrium of the material was found from the measured field of step {step}.")

    def _free_forces(self, residual: fem.Form) -> Array:
        """The residual, zero at the supports; infinite where a cell is turned inside out."""
        force: Array = np.nan_to_num(fem.assemble_vector(residual).array, nan=np.inf)
        result = np.zeros_like(force)
        result[self._free] = force[self._free]
        return result

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
        self._expression = fem.Expression(self._F, Q.element.interpolation_points)
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
    compiled = fem.form(form)
    A = dolfinx.fem.petsc.create_matrix(compiled)
    dolfinx.fem.petsc.assemble_matrix(A, compiled)
    A.assemble()
    return A


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(values**2)))
