"""Energy, residual, tangent, stability and equilibria of a periodic cell, as functions of the unknowns q of its `PeriodicMap`.

If the tangent K is not positive definite, K + share M is, with M the inner product of the cell.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import dolfinx.fem.petsc
import numpy as np
import ufl
from basix.ufl import element, mixed_element
from dolfinx import fem, mesh
from mpi4py import MPI
from petsc4py import PETSc

from lse_material._arrays import Array, whole_number
from lse_material.errors import ConvergenceError, InvalidInputError
from lse_material.fem._cells import require_degree, require_double, require_one_shape
from lse_material.fem._mpi import integral
from lse_material.fem.forms.constants import without_constants
from lse_material.fem.forms.incompressible import Multiplier
from lse_material.fem.forms.marks import marks_in
from lse_material.fem.forms.measures import with_quadrature_degree
from lse_material.fem.forms.orientation import InvertedCells
from lse_material.fem.homogenise.periodic_map import PeriodicMap
from lse_material.fem.quadrature.derivatives import with_stored_values
from lse_material.fem.quadrature.dissipation import Dissipation, Memory
from lse_material.fem.quadrature.stress import QuadratureStress
from lse_material.fem.solve.eigen import lowest_eigenpairs
from lse_material.fem.solve.fields import diagonal_of
from lse_material.fem.solve.folded_mesh import refuse_folded
from lse_material.fem.solve.inertia import SymmetricFactor
from lse_material.fem.solve.newton_inertia import minimise, newton

TOLERANCE_STRAIN = 1e-2  # the tolerance is a share of the forces that it makes
FORCE_ROUNDING = 1e-15  # of the forces that cancel in the residual
BRANCH_ITERATIONS = 60  # of Newton's method
DESCENT_ITERATIONS = 400  # near a degenerate minimum each of them halves the residual only
CHECKED_STRAIN = 1e-3  # of a state at which stored stresses are checked
STRESS_ERROR = 1e-2  # of the energy of that strain
ENERGY_ROUNDING = 1e-12  # of the energy, in the difference that is compared with the stresses
PRODUCT_SHARES = 1e-3, 1e-2, 1e-1, 1.0, 10.0  # of the inner product, added to a tangent, in units of the modulus

Free = dict[tuple[int, int], float]
Made = TypeVar("Made")


class CellSystem:
    """The discrete cell, an `Energy` of its q. Its arguments are those of `PeriodicCell`.

    All unknowns are lengths, so that all entries of a gradient are forces and all of a tangent are stiffnesses.

    Attributes:
        u: the displacement; with further fields a part of `state`, which is T q.
        q: fluctuation and average gradient, a PETSc vector.
        multipliers: number of the unknowns that are Lagrange multipliers.
        internal: what changes of mode weights cost; the energy contains it.
        free: (i, J) -> average P_iJ, for components of the average gradient that are unknown; the others are prescribed.
        inverted_cells: checks det F between the quadrature points.
        inner_product: of int grad v . grad w + v . w/L^2, in q.
        modulus: the largest that an affine deformation meets at q = 0.
        energy_scale: that times the volume of the cell: of a strain of order one.
        force_scale: energy_scale / L.
    """

    def __init__(
        self,
        domain: mesh.Mesh,
        energy: Callable[[Any], Any],
        degree: int,
        quadrature_degree: int,
        lattice: Any = None,
        tolerance: float = 1e-10,
        stresses: Callable[[Any], Sequence[QuadratureStress]] | None = None,
        fields: Sequence[Any] = (),
        internal: Callable[..., Sequence[Dissipation]] | None = None,
    ) -> None:
        if not isinstance(domain, mesh.Mesh) or not callable(energy):
            raise InvalidInputError(
                f"the domain is a {type(domain).__name__} and the energy a {type(energy).__name__}: a cell takes a mesh, and a "
                "function of F that returns its energy density."
            )
        whole_number("degree", degree, 1)
        require_degree(quadrature_degree)
        require_double(what="a PeriodicCell", domain=domain)
        require_one_shape(domain, "a PeriodicCell", facets=True)
        refuse_folded(domain)
        dim = self.dim = domain.geometry.dim
        shape = element("Lagrange", domain.basix_cell(), degree, shape=(dim,))
        V = fem.functionspace(domain, mixed_element([shape, *fields]) if fields else shape)
        self.comm = domain.comm
        self.map = PeriodicMap(V, lattice)
        self.volume = self.map.volume
        self.state = fem.Function(V, name="displacement")
        self.u = self.state.sub(0) if fields else self.state
        u, *others = ufl.split(self.state) if fields else [self.state]
        dx = ufl.dx(domain, degree=quadrature_degree)
        F = ufl.Identity(dim) + ufl.grad(u)
        W = self._functional(energy(F, *others), dx)
        self.internal = () if internal is None else _made(Dissipation, "internal", internal, F, *others)
        costs = sum((one.functional for one in self.internal), ufl.Form([]))
        if any(self.state not in one.functional.coefficients() for one in self.internal):
            raise InvalidInputError("a Dissipation of a cell must be made of the F that `internal` is given.")
        W += costs
        self.functional, self.inverted_cells = W, InvertedCells([W], self.comm)
        test, trial = ufl.TestFunction(V), ufl.TrialFunction(V)
        v, du = (ufl.split(test)[0], ufl.split(trial)[0]) if fields else (test, trial)
        self._stresses = () if stresses is None else _made(QuadratureStress, "stresses", stresses, F)
        residual = ufl.derivative(W, self.state, test)
        if self._stresses:
            residual = sum((ufl.inner(P.operator, ufl.grad(v)) * P.dx for P in self._stresses), ufl.Form([]))
            residual += ufl.derivative(costs, self.state, test) if self.internal else ufl.Form([])
        less, constants = without_constants(W, self.state)
        self._constants = None if constants is None else fem.form(constants)
        self._value_form = fem.form(less)
        self._residual_form = fem.form(with_stored_values(residual, self._stresses))
        self._tangent_form = fem.form(with_stored_values(ufl.derivative(residual, self.state, trial), self._stresses))
        self.solid_volume = integral(self.comm, fem.form(fem.Constant(domain, 1.0) * dx))
        self._A = dolfinx.fem.petsc.create_matrix(self._tangent_form)
        self._b = dolfinx.fem.petsc.create_vector(V)
        self._x = self.map.T.createVecLeft()
        self._Tt = self.map.T.copy()
        self._Tt.transpose()
        self._products: tuple[PETSc.Mat, PETSc.Mat] | None = None  # A T and T^T A T
        self._tangent: PETSc.Mat | None = None
        product = ufl.inner(ufl.grad(v), ufl.grad(du)) + ufl.inner(v, du) / self.map.length**2
        M = dolfinx.fem.petsc.assemble_matrix(fem.form(product * ufl.dx))
        M.assemble()
        self.inner_product = self._Tt.matMult(M.matMult(self.map.T))
        self.q = self.x = self.map.T.createVecRight()
        self.free: Free = {}
        self.multipliers = 0
        affine = self._average_stiffness(self._average_columns(self.stiffness()))
        self.modulus = np.abs(np.diag(affine)).max() / self.volume
        if not (np.isfinite(self.modulus) and self.modulus > 0.0):
            raise InvalidInputError(
                f"the largest modulus of the cell at F = I is {self.modulus:g}: its energy must have a finite second "
                "derivative there that does not vanish, because it is the measure of forces."
            )
        self.energy_scale = self.modulus * self.volume
        self.force_scale = self.energy_scale / self.map.length
        self._allowed = tolerance * TOLERANCE_STRAIN * self.force_scale
        self._scale_fields(others)
        if self._stresses:
            self._check_stresses()

    def _functional(self, energy: Any, dx: ufl.Measure) -> ufl.Form:
        """The energy, a density or a functional, as a functional of the state without the cost of internal variables."""
        if isinstance(energy, ufl.Form):
            W = with_quadrature_degree(energy)
        else:
            W = energy * dx if getattr(energy, "ufl_shape", None) == () else ufl.Form([])
        if W.arguments() or self.state not in W.coefficients():
            raise InvalidInputError(
                "the energy of a cell is a UFL scalar of the F that it is given, or a functional of it with its own measures."
            )
        if any(isinstance(f, Memory) for f in W.coefficients()):
            raise InvalidInputError(
                "the energy of the cell contains the cost of a Dissipation, whose memory would never follow: leave it out, and "
                "give internal=lambda F: [Dissipation(material, F, ...)]."
            )
        return W

    def _scale_fields(self, others: Sequence[Any]) -> None:
        """Make lengths of the unknowns of further fields, and count the Lagrange multipliers among them; collective."""
        multipliers = {mark.expression() for mark, _ in marks_in(self.functional, Multiplier)}
        scale = self.q.duplicate()
        scale.set(1.0)
        for part, place in zip(others, self.map.others):
            scale.array[place] = (self.modulus if part in multipliers else 1.0) / self.map.length
            self.multipliers += self.comm.allreduce(place.stop - place.start) if part in multipliers else 0
        self.map.T.diagonalScale(None, scale)
        self._Tt.diagonalScale(scale, None)

    def _check_stresses(self) -> None:
        """Refuse stored stresses that are not the derivative of the energy, by a difference at a small strain; collective."""
        direction, image, energies = self.map.irregular(), self.q.duplicate(), []
        self.inner_product.mult(direction, image)
        direction.scale(CHECKED_STRAIN * (self.volume / direction.dot(image)) ** 0.5)
        for factor in (0.99, 1.01, 1.0):
            direction.copy(self.q)
            self.q.scale(factor)
            energies.append(self.value())
        self.gradient(image)
        error = abs(image.dot(direction) - (energies[1] - energies[0]) / 0.02)
        self.q.set(0.0)
        if error > STRESS_ERROR * self.energy_scale * CHECKED_STRAIN**2 + ENERGY_ROUNDING * abs(energies[0]):
            raise InvalidInputError(
                "the stored stresses are not the derivative of the energy: give those of all its materials, in the cells of "
                "each, and the energy the quadrature degree of the stresses."
            )

    def average(self) -> Array:
        """The average deformation gradient F, (dim, dim)."""
        return np.asarray(np.eye(self.dim) + self.map.gather_average(self.q))

    def push(self) -> None:
        """Set u, and further fields, to T q."""
        self.map.T.mult(self.q, self._x)
        self.state.x.array[: self._x.getLocalSize()] = self._x.array_r
        self.state.x.scatter_forward()

    def gradient(self, g: PETSc.Vec | None = None) -> PETSc.Vec:
        """T^T b at the present q, in g if that is given."""
        self.push()
        for stress in self._stresses:
            stress.update_stress()
        with self._b.localForm() as local:
            local.set(0.0)
        dolfinx.fem.petsc.assemble_vector(self._b, self._residual_form)
        self._b.ghostUpdate(addv=PETSc.InsertMode.ADD, mode=PETSc.ScatterMode.REVERSE)
        g = self.q.duplicate() if g is None else g
        self.map.T.multTranspose(self._b, g)
        return g

    def stiffness(self) -> PETSc.Mat:
        """T^T A T at the present q, nothing prescribed; the same matrix each time, with new values."""
        self.push()
        for stress in self._stresses:
            stress.update_tangent()
        self._A.zeroEntries()
        dolfinx.fem.petsc.assemble_matrix(self._A, self._tangent_form)
        self._A.assemble()
        if self._products is None:
            AT = self._A.matMult(self.map.T)
            self._products = AT, self._Tt.matMult(AT)  # PETSc's PtAP takes 100 times as long for dense columns of T
        else:
            self._A.matMult(self.map.T, self._products[0])
            self._Tt.matMult(*self._products)
        return self._products[1]

    def uncancelled_force(self) -> float:
        """Norm of |A_ii u_i|, A as it was assembled last: the size of the forces that cancel in the residual."""
        self.push()
        forces = (self._x.array_r * diagonal_of(self._A))[self.map.displacements]
        return float(np.sqrt(self.comm.allreduce(float(forces @ forces))))

    def average_stress(self) -> Array:
        """Average P at the present q, (dim, dim)."""
        return np.asarray(self.map.gather_average_force(self.gradient()) / self.volume)

    # ---- as an `Energy` --------------------------------------------------------------------------------------------------

    def iterate(self, out: PETSc.Vec) -> None:
        """Write q to `out`."""
        self.q.copy(out)

    def set_iterate(self, x: PETSc.Vec) -> None:
        """Take q from x."""
        x.copy(self.q)

    def energy(self) -> float:
        """Energy of the cell; collective."""
        self.push()
        constants = 0.0 if self._constants is None else integral(self.comm, self._constants)
        return integral(self.comm, self._value_form) + constants

    def value(self) -> float:
        """Energy less the work of the average stresses and large constants; collective."""
        self.push()
        value = integral(self.comm, self._value_form)
        if self.free:
            H = self.map.gather_average(self.q)
            value -= self.volume * sum(P * H[place] for place, P in self.free.items())
        return value

    def residual(self, out: PETSc.Vec) -> None:
        """Write the gradient of `value` to `out`, zero where F is prescribed; collective."""
        self.project_out(self.gradient(out))

    def tangent(self) -> PETSc.Mat:
        """The second derivative of `value`, a stiffness on the diagonal where F is prescribed; the next call destroys it."""
        if self._tangent is not None:
            self._tangent.destroy()
        self._tangent = self.with_dirichlet(self.stiffness())
        return self._tangent

    def positive_tangents(self) -> Generator[PETSc.Mat, None, None]:
        """K + share M for growing shares, with K the tangent that was assembled last, which changes."""
        assert self._tangent is not None
        M = self.with_dirichlet(self.inner_product, diagonal=0.0)
        for share, before in zip(PRODUCT_SHARES, (0.0, *PRODUCT_SHARES)):
            self._tangent.axpy((share - before) * self.modulus, M)
            yield self._tangent

    def is_converged(self, residual: PETSc.Vec) -> bool:
        """Whether the residual of the present q counts as zero; collective."""
        return bool(residual.norm() <= self._allowed + FORCE_ROUNDING * self.uncancelled_force())

    # ---- prescribed components of F --------------------------------------------------------------------------------------

    @contextmanager
    def all_prescribed(self) -> Iterator[None]:
        """All components of F are prescribed meanwhile."""
        free, self.free = self.free, {}
        try:
            yield
        finally:
            self.free = free

    def _prescribed(self) -> Any:
        """Indices of what is prescribed, components of F and the spin of a rod, on the rank that owns them."""
        all_places = [(i, int(J)) for i in range(self.dim) for J in self.map.axes]
        places = [
            self.map.place(*at) for at in all_places if at not in self.free and self.comm.rank == self.comm.size - 1
        ]
        return np.array(places + ([] if self.map.fixed is None else [self.map.fixed]), dtype=PETSc.IntType)

    def with_dirichlet(self, K: PETSc.Mat, diagonal: float | None = None) -> PETSc.Mat:
        """A copy of K with zero rows and columns where F is prescribed, but `diagonal` (a stiffness) on the diagonal."""
        K = K.copy()
        stiffness = self.energy_scale / self.map.length**2 if diagonal is None else diagonal
        K.zeroRowsColumns(self._prescribed(), stiffness)
        return K

    def project_out(self, g: PETSc.Vec) -> PETSc.Vec:
        """Change g in place: subtract the work of the average stresses, zero where F is prescribed. Returns g."""
        first = g.getOwnershipRange()[0]
        if self.comm.rank == self.comm.size - 1:
            for place, stress in self.free.items():
                g.array[self.map.place(*place) - first] -= self.volume * stress / self.map.length
        g.array[self._prescribed() - first] = 0.0
        return g

    # ---- homogenisation --------------------------------------------------------------------------------------------------

    def _average_columns(self, K: PETSc.Mat) -> list[PETSc.Vec]:
        """K times unit average gradients."""
        columns, unit = [], self.q.duplicate()
        for component in range(self.dim**2):
            unit.set(0.0)
            self.map.set_average(unit, np.eye(self.dim**2)[component].reshape(self.dim, self.dim))
            column = self.q.duplicate()
            K.mult(unit, column)
            columns.append(column)
        return columns

    def _average_stiffness(self, columns: Sequence[PETSc.Vec]) -> Array:
        """Second derivatives of the energy by F without relaxation, (dim^2, dim^2), of the average columns of K."""
        return np.array([self.map.gather_average_force(column).reshape(-1) for column in columns])

    def homogenised_tangent(self) -> Array:
        """(K_FF - K_Fw K_ww^-1 K_wF)/|V|, all components of F prescribed: (dim, dim, dim, dim)."""
        n = self.dim**2
        with self.all_prescribed():
            K = self.stiffness()
            columns = self._average_columns(K)
            A, x = self._average_stiffness(columns), self.q.duplicate()
            with SymmetricFactor(self.comm) as factor:
                factor.inertia(self.with_dirichlet(K))
                sides = [self.project_out(column) for column in columns]
                for j, side in enumerate(sides):
                    factor.solve(side, x)
                    for i in range(n):
                        A[i, j] -= sides[i].dot(x)
        return (0.5 * (A + A.T) / self.volume).reshape((self.dim,) * 4)

    # ---- stability -------------------------------------------------------------------------------------------------------

    def lowest_mode(self) -> tuple[float, PETSc.Vec]:
        """The lowest eigenvalue of the tangent, a modulus, and its mode, as unknowns q; collective.

        The largest entry of the mode's displacement is 1, and its sign the same on any number of ranks.
        """
        K, M = self.with_dirichlet(self.stiffness()), self.with_dirichlet(self.inner_product, diagonal=0.0)
        start, image = self.map.irregular(), self.q.duplicate()
        values, (mode,) = lowest_eigenpairs(K, M, 1, start=start, multipliers=self.multipliers)
        M.mult(start, image)
        self.map.T.mult(mode, self._x)
        displacements = self._x.array_r[self.map.displacements]
        largest = self.comm.allreduce(float(np.abs(displacements).max(initial=0.0)), MPI.MAX)
        mode.scale(np.copysign(1.0 / largest, image.dot(mode)))
        return float(values[0]), mode

    # ---- equilibria ------------------------------------------------------------------------------------------------------

    def change_average(self, change: Array) -> None:
        """Change the prescribed components of F by (dim, dim), and extend the change into the cell by one linear step.

        Raises ConvergenceError: elements would be turned inside out.
        """
        change = change.copy()
        for place in self.free:
            change[place] = 0.0
        before, affine, right, step = (self.q.duplicate() for _ in range(4))
        self.q.copy(before)
        K = self.stiffness()
        affine.set(0.0)
        self.map.set_average(affine, change)
        K.multAdd(affine, self.gradient(step), right)
        self.project_out(right)
        with SymmetricFactor(self.comm) as factor:
            stable = factor.is_positive(self.with_dirichlet(K), self.multipliers)
            if stable:
                factor.solve(right, step)
        self.q.axpy(1.0, affine)
        if stable:
            self.q.axpy(-1.0, step)
            if not np.isfinite(self.value()):
                before.copy(self.q)
                self.q.axpy(1.0, affine)
        if not np.isfinite(self.value()):
            raise ConvergenceError("the step turns elements inside out.")

    def solve(self, *, descend: bool) -> int:
        """Find an equilibrium from the present q; returns the iterations. Collective. Raises ConvergenceError: there is none.

        `descend` lowers the energy in every step, with a positive definite tangent. Without it, and for mixed energies, which
        have no minimum, Newton's method follows its branch.
        """
        try:
            iterations = (
                minimise(self, DESCENT_ITERATIONS)
                if descend and not self.multipliers
                else newton(self, BRANCH_ITERATIONS)
            )
        except ConvergenceError as error:
            residual = self.q.duplicate()
            self.residual(residual)
            norm = residual.norm()
            where = (
                f"the residual is {norm / self.force_scale:.2e} of the force of a strain of one"
                if np.isfinite(norm)
                else "the residual is not finite: an element was turned inside out"
            )
            raise ConvergenceError(
                f"the cell did not converge; {where}. Take smaller steps of F, or a smoother energy. ({error})",
                iterations=error.iterations,
            ) from error
        self.inverted_cells.refuse("smaller steps of F, a higher quadrature_degree, or a finer mesh", iterations)
        return iterations


def _made(kind: type[Made], name: str, make: Any, *of: Any) -> tuple[Made, ...]:
    """What the function of a user that is called `name` makes of F and of further fields: a list of objects of one class."""
    made = make(*of) if callable(make) else None
    if not isinstance(made, Sequence) or not all(isinstance(one, kind) for one in made):
        raise InvalidInputError(
            f"{name} must be a function of F that returns a list of {kind.__name__}: lambda F: [...]."
        )
    return tuple(made)
