"""Full-field measurements as observations of stresses: displacements all over a body, and the forces on its supports.

A body whose displacement u was measured at every node, by image correlation say, gives one equation for each free degree of
freedom a and one for each support s,

    int P(F) : grad v_a dX = 0,        sum_{a in s} int P(F) : grad v_a dX = R_s,        F = I + grad u,

all linear in the stresses P at the quadrature points: `Observations` has them, and a fit to them needs no finite elements.
Those combinations of the equations are taken whose errors are the least (`fem/field_balance.py`).

Between measured nodes linear elements are too stiff where strains vary, and a fit would put that on the material. Balance is
therefore met in quadratic elements. Their other nodes are not measured; their displacements follow from the balance.

Without a material F is that of the measured field, smoothed by a linear elastic body. P is not linear in F, so that this fit
is rough. With the material of that fit, F is that of the field that goes best with it and with the measurement. A few fits,
each to the observations that the one before gives, come to an end. Where errors are independent of each other and as large
as stated, it is that of the least distance between fields in balance and the measured ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from scipy import sparse

from lse_material._arrays import Array, float_array, frozen, positive, rms, whole_number
from lse_material.data.observations import Observations
from lse_material.errors import ConvergenceError, InvalidInputError
from lse_material.fem._compat import geometry_dofmap
from lse_material.fem.field_balance import Equations, FieldBalance
from lse_material.fem.forms.energy import energy, expect_shape
from lse_material.fem.solve.energy_problem import EnergyProblem
from lse_material.model.material import Material

Index = npt.NDArray[np.int32]

ROUNDING = 1e-12  # of an interpolation, whose entries are of order one


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
        dofs = np.asarray(self.dofs)
        if dofs.size and dofs.dtype.kind not in "iu":
            raise InvalidInputError(f"the degrees of freedom of a support are {dofs.dtype}; give their numbers.")
        object.__setattr__(self, "dofs", np.unique(dofs.astype(np.int32)))
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
        modes: number of combinations of the equations that are taken of each step, those of the least error.
        degree: of the elements in which balance is met. Left out, it is at least 2 in the plane, and that of the displacements
            in space. Take 1 for displacements that linear elements on this very mesh have computed.

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
        degree: int | None = None,
    ) -> None:
        self.displacements, self.supports = list(displacements), list(supports)
        self.displacement_error, self.force_error, self.modes = displacement_error, force_error, modes
        self._check(degree)
        V = self.displacements[0].function_space
        self.dim, own = V.mesh.geometry.dim, V.ufl_element().degree
        self._forces = np.array([support.forces for support in self.supports]).T
        self._balance = _balance(
            V, self.supports, np.full(len(self.displacements[0].x.array), displacement_error), force_error
        )
        self._fine = _Refined.of(V, self.supports, max(own, 2 if self.dim == 2 else 1) if degree is None else degree)
        self._values = [self._fine.interpolation @ u.x.array for u in self.displacements]
        error = np.where(self._fine.measured, displacement_error, self._fine.open_error(self.displacements))
        self._solved: tuple[Material, list[tuple[Array, Array]]] | None = None
        self._fine_balance = _balance(self._fine.V, self._fine.supports, error, force_error)

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
        degree: int | None = None,
    ) -> FullField:
        """The same of nodes and triangles or tetrahedra, as programs for image correlation write them.

        Args:
            points: nodes of the undeformed body, (n, dim).
            cells: numbers of their nodes, (m, dim + 1).
            displacements: (steps, n, dim).
            supports: of each, the numbers of its nodes (or a mask), the component (0 .. dim - 1) and the forces (steps,).
            displacement_error: standard deviation of a measured displacement.
            force_error: standard deviation of a measured force.
            modes: number of combinations of the equations that are taken of each step, those of the least error.
            degree: of the elements in which balance is met; see the class.
        """
        x, u = float_array("points", points, 2), float_array("displacements", displacements, 3)
        if u.shape[1:] != x.shape:
            raise InvalidInputError(
                f"displacements have shape {u.shape}; these points need (steps, {len(x)}, {x.shape[1]})."
            )
        V, node = _nodal_space(x, np.asarray(cells))
        fields = [fem.Function(V) for _ in u]
        for field, values in zip(fields, u):
            field.x.array[:] = values[node].ravel()
        dof = np.argsort(node)
        made = []
        for k, (nodes, component, forces) in enumerate(supports):
            if whole_number(f"the component of support {k}", component) >= x.shape[1]:
                raise InvalidInputError(f"the component of support {k} is {component}; give one below {x.shape[1]}.")
            made.append(Support(dof[_chosen(nodes, len(x), k)] * x.shape[1] + component, forces))
        return cls(
            fields, made, displacement_error=displacement_error, force_error=force_error, modes=modes, degree=degree
        )

    def observations(self, material: Material | None = None) -> Observations:
        """Combinations of balance and of the forces of the supports, with errors of 1; each step is a group.

        Args:
            material: of an earlier fit, which smooths the measured displacements; of F alone. Without one, a linear elastic
                body does.

        Raises:
            InvalidInputError: the displacements of a step turn a cell inside out, or the material has fields.
        """
        if material is not None:
            expect_shape(material, ufl.Identity(self.dim))
        if material is not None and material.fields:
            raise InvalidInputError(
                f"the material has the fields {', '.join(material.fields)}: fix them first, by material.at(...)."
            )
        return Observations.joined([self._of_step(step, material) for step in range(len(self.displacements))])

    def distances(self, material: Material) -> Array:
        """RMS distance of the equilibria of a material from the measured fields, (steps,): of a right one, their error.

        Raises:
            ConvergenceError: the material finds no rest near a measured field; the message names the step.
        """
        return np.array(
            [rms((u - d)[self._fine.measured]) for (u, _), d in zip(self._equilibria(material), self._values)]
        )

    def forces(self, material: Material) -> Array:
        """Forces of the supports in the equilibria of a material near the measured fields, (steps, supports).

        Raises:
            ConvergenceError: the material finds no rest near a measured field; the message names the step.
        """
        return np.array([[f[s.dofs].sum() for s in self._fine.supports] for _, f in self._equilibria(material)])

    def _equilibria(self, material: Material) -> list[tuple[Array, Array]]:
        """Those of the material that was asked for last are kept: forces and distances need the same."""
        if self._solved is None or self._solved[0] is not material:
            self._solved = material, list(self._solve(material))
        return self._solved[1]

    def _solve(self, material: Material) -> Iterator[tuple[Array, Array]]:
        """Displacements and forces of the minima of the energy near the measured fields, whose supports are as measured."""
        V = self._fine.V
        u = fem.Function(V)
        values, bcs = [], []
        for i in range(self.dim):
            space, dofs = V.sub(i).collapse()
            dofs = np.asarray(dofs, dtype=np.int32).ravel()
            which = np.flatnonzero(np.isin(dofs, np.concatenate([s.dofs for s in self._fine.supports]))).astype(
                np.int32
            )
            values.append((fem.Function(space), dofs))
            bcs.append(fem.dirichletbc(values[-1][0], [dofs[which], which], V.sub(i)))
        W = energy(material, ufl.Identity(self.dim) + ufl.grad(u)) * _points(V)
        problem = EnergyProblem(W, u, bcs=bcs, petsc_options_prefix=f"full_field_{id(u)}_", predictor=False)
        for step, measured in enumerate(self._values):
            for value, dofs in values:
                value.x.array[:] = measured[dofs]
            u.x.array[:] = self._filtered(step, material)[0]
            try:
                problem.solve()
            except ConvergenceError as error:
                raise ConvergenceError(
                    f"the material finds no rest near the measured field of step {step}: {error}"
                ) from None
            yield u.x.array.copy(), np.array(problem.forces())

    def _of_step(self, step: int, material: Material | None) -> Observations:
        equations = self._smoothed[step][1] if material is None else self._filtered(step, material)[1]
        entries, values = equations.combined(self.modes)
        row, column = np.nonzero(entries)
        group = np.full(len(values), step)
        return Observations(equations.F, row, column, entries[row, column], values, np.ones(len(values)), group)

    def _filtered(self, step: int, material: Material) -> tuple[Array, Equations]:
        u, _, stress = self._smoothed[step]
        start = self._fine.interpolation @ u
        return self._fine_balance.filtered(material, start, self._values[step], self._forces[step], stress)

    @cached_property
    def _smoothed(self) -> list[tuple[Array, Equations, float]]:
        """Of each step the field smoothed by an elastic body, the equations there, and the size of the stress."""
        found = []
        for step, (measured, forces) in enumerate(zip(self.displacements, self._forces)):
            found.append(self._balance.smoothed(measured.x.array, forces))
            smallest = np.linalg.det(found[-1][1].F).min()
            if not smallest > 0.0:
                raise InvalidInputError(
                    f"the displacements of step {step} turn a cell inside out (det F = {smallest:.3g}): they are too noisy for "
                    "this mesh; take a coarser mesh."
                )
        return found

    def _check(self, degree: int | None) -> None:
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
        whole_number("modes", self.modes, 1)
        dofs = np.concatenate([support.dofs for support in self.supports])
        if dofs.min() < 0 or dofs.max() >= (count := len(self.displacements[0].x.array)):
            raise InvalidInputError(
                f"supports have the degrees of freedom {dofs.min()} to {dofs.max()}, of 0 to {count - 1}."
            )
        if len(np.unique(dofs)) < len(dofs):
            raise InvalidInputError(
                "two supports share a degree of freedom: each belongs to one, the one whose force it adds to."
            )
        still = [step for step, u in enumerate(self.displacements) if not u.x.array.any()]
        if still:
            raise InvalidInputError(f"nothing has moved in step {still[0]}: leave the undeformed body out.")
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
        if degree is not None:
            whole_number("degree", degree, 1)
        for name in ("displacement_error", "force_error"):
            positive(name, getattr(self, name))


@dataclass(frozen=True, eq=False)
class _Refined:
    """Elements of another degree on the mesh of the measured displacements.

    Attributes:
        V: their space.
        supports: the supports, with the degrees of freedom between theirs on the boundary.
        interpolation: takes displacements to this space.
        measured: which degrees of freedom are measured: the nodes, and all of the supports.
    """

    V: fem.FunctionSpace
    supports: list[Support]
    interpolation: sparse.csr_array
    measured: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, V: fem.FunctionSpace, supports: Sequence[Support], degree: int) -> _Refined:
        domain = V.mesh
        dim, facets = domain.geometry.dim, domain.topology.dim - 1
        fine = fem.functionspace(domain, ("Lagrange", degree, (dim,)))
        matrix = dolfinx.fem.petsc.interpolation_matrix(V, fine)
        matrix.assemble()
        rows, columns, values = matrix.getValuesCSR()
        interpolation = sparse.csr_array(
            (np.where(np.abs(values) > ROUNDING, values, 0.0), columns.copy(), rows.copy())
        )
        matrix.destroy()
        interpolation.eliminate_zeros()
        domain.topology.create_connectivity(facets, facets + 1)
        outside = fem.locate_dofs_topological(fine, facets, dolfinx.mesh.exterior_facet_indices(domain.topology))
        count = np.diff(interpolation.indptr)
        measured = count == 1
        eligible = measured.copy()
        eligible[(outside[:, None] * dim + np.arange(dim)).ravel()] = True
        made = []
        for support in supports:
            inside = np.bincount(support.dofs, minlength=interpolation.shape[1])
            whole = (interpolation != 0.0).astype(int) @ inside == count
            made.append(Support(np.flatnonzero(whole & eligible).astype(np.int32), support.forces))
        measured[np.concatenate([support.dofs for support in made])] = True
        return cls(fine, made, interpolation, measured)

    def open_error(self, displacements: Sequence[fem.Function]) -> float:
        """RMS deviation of the measured values around a node from their mean: so far off may be what is not measured."""
        open_nodes = self.interpolation[~self.measured]
        if not open_nodes.shape[0]:
            return np.inf
        spread = [open_nodes @ u.x.array**2 - (open_nodes @ u.x.array) ** 2 for u in displacements]
        return float(np.sqrt(max(np.mean(each) for each in spread)))


def _points(V: fem.FunctionSpace) -> ufl.Measure:
    """The quadrature points at which the stresses are taken."""
    return ufl.dx(domain=V.mesh, degree=max(2 * (V.ufl_element().degree - 1), 1))


def _balance(
    V: fem.FunctionSpace, supports: Sequence[Support], displacement_error: Array, force_error: float
) -> FieldBalance:
    """The equations of balance in a space of displacements."""
    dx = _points(V)
    domain, dim, degree = V.mesh, V.mesh.geometry.dim, dx.metadata()["quadrature_degree"]
    points, tensors = (
        fem.functionspace(domain, basix.ufl.quadrature_element(domain.basix_cell(), value_shape=shape, degree=degree))
        for shape in ((), (dim, dim))
    )
    volumes = fem.assemble_vector(fem.form(ufl.TestFunction(points) * dx)).array.copy()
    form = fem.form(ufl.inner(ufl.TrialFunction(tensors), ufl.grad(ufl.TestFunction(V))) * dx)
    matrix = dolfinx.fem.petsc.create_matrix(form)
    dolfinx.fem.petsc.assemble_matrix(matrix, form)
    matrix.assemble()
    rows, columns, values = matrix.getValuesCSR()
    forces = sparse.csr_array((values.copy(), columns.copy(), rows.copy()), matrix.getSize())
    matrix.destroy()
    return FieldBalance(
        forces,
        volumes,
        [support.dofs for support in supports],
        displacement_error=displacement_error,
        force_error=force_error,
    )


def _chosen(nodes: Any, count: int, k: int) -> npt.NDArray[np.int64]:
    """The numbers of the nodes of support k, given as such or as a mask."""
    found = np.asarray(nodes)
    found = np.flatnonzero(found) if found.dtype == bool and found.shape == (count,) else found
    if found.size and (found.dtype.kind not in "iu" or found.min() < 0 or found.max() >= count):
        raise InvalidInputError(
            f"the nodes of support {k} must be whole numbers from 0 to {count - 1}, or a mask of all nodes."
        )
    return found.astype(np.int64)


def _nodal_space(x: Array, cells: npt.NDArray[np.integer[Any]]) -> tuple[fem.FunctionSpace, npt.NDArray[np.int64]]:
    """Linear vectors on a mesh of these nodes and simplices, and the node that each block of degrees of freedom belongs to."""
    dim = x.shape[1]
    if cells.ndim != 2 or cells.shape[1] != dim + 1 or not len(cells) or cells.dtype.kind not in "iu":
        raise InvalidInputError(
            f"cells must be (m, {dim + 1}) whole numbers of nodes; they have shape {cells.shape} and are {cells.dtype}."
        )
    if cells.min() < 0 or cells.max() >= len(x):
        raise InvalidInputError(
            f"cells have the nodes {cells.min()} to {cells.max()}, and there are the nodes 0 to {len(x) - 1}: count from 0."
        )
    twice = np.flatnonzero((np.diff(np.sort(cells, axis=1)) == 0).any(axis=1))
    if len(twice):
        raise InvalidInputError(f"cell {twice[0]} has one node twice, {cells[twice[0]].tolist()}: leave it out.")
    unused = np.setdiff1d(np.arange(len(x)), cells)
    if len(unused):
        raise InvalidInputError(f"{len(unused)} nodes, {unused[0]} the first, belong to no cell: leave them out.")
    shape = {2: "triangle", 3: "tetrahedron"}[dim]
    element = basix.ufl.element("Lagrange", shape, 1, shape=(dim,))
    domain = dolfinx.mesh.create_mesh(MPI.COMM_SELF, cells.astype(np.int64), element, x)
    V = fem.functionspace(domain, ("Lagrange", 1, (dim,)))
    node = np.empty(len(x), dtype=np.int64)
    corners = geometry_dofmap(domain)
    for cell in range(len(cells)):
        node[V.dofmap.cell_dofs(cell)] = domain.geometry.input_global_indices[corners[cell]]
    return V, node
