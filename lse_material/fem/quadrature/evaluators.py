"""Stresses at quadrature points: what is evaluated and stored, and how P follows from it in UFL."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import ufl
from dolfinx import fem
from mpi4py import MPI
from ufl.core.expr import Expr

from lse_material._arrays import Array
from lse_material.errors import InvalidInputError
from lse_material.fem._mpi import expect_one_material, on_every_rank
from lse_material.fem.forms.energy import growth_stress, inputs, with_caloric
from lse_material.fem.forms.orientation import not_inverted
from lse_material.fem.forms.strain import pull_back
from lse_material.fem.quadrature.plane_stress import PlaneValues
from lse_material.kernel import CompiledPotential, InterpretedPotential, point_function, potential_evaluator
from lse_material.kernel.c_writer import upper_triangle
from lse_material.model.material import Material
from lse_material.model.soft_minimum import SoftMinimum


class Values(Protocol):
    """What an evaluator returns for n points. The tangent is read only where it is needed.

    An evaluator that also returns `energy` (n,) has a `QuadratureStress.energy`.
    """

    @property
    def stress(self) -> Array:
        """(n, dim, dim)."""

    @property
    def tangent(self) -> Array:
        """(n, dim, dim, dim, dim), index [n, i, J, k, L]."""


class Evaluator(Protocol):
    """Anything that gives P and dP/dF of F: a network in another framework, a table, a homogenised cell."""

    def evaluate(self, F: Array) -> Values:
        """F (n, dim, dim)."""


class Target:
    """The destination of values at the evaluated points: the function itself if its points are contiguous."""

    def __init__(self, function: fem.Function, dofs: Array) -> None:
        size = function.function_space.dofmap.bs
        self._whole, self._dofs = function.x.array.reshape(-1, size), dofs
        self._direct = np.array_equal(dofs, np.arange(len(dofs)))
        self.array = self._whole[: len(dofs)] if self._direct else np.empty((len(dofs), size))

    def load(self) -> Array:
        """Copy the function's values into `array`, and return it."""
        if not self._direct:
            self.array[:] = self._whole[self._dofs]
        return self.array

    def store(self) -> None:
        """Copy `array` into the function."""
        if not self._direct:
            self._whole[self._dofs] = self.array


class PotentialStress:
    """The stress of a `Material`: dW/dx and the upper triangle of d2W/dx2 are stored, and UFL makes P of them.

    x are the fields that W depends on, if any, and the components of the strain. `shape` and `tangent_shape` are those of the
    first and second derivative that are stored at each point.
    """

    def __init__(self, material: Material, comm: MPI.Comm, fields: Sequence[Expr]) -> None:
        d = material.potential.size
        self._material, self._fields = material, [ufl.as_ufl(value) for value in fields]
        self._potential = compile_together(material.potential, comm)
        self.shape: tuple[int, ...] = (d,)
        self.tangent_shape: tuple[int, ...] = (d * (d + 1) // 2,)

    def inputs(self, F: Expr) -> Expr:
        """What is evaluated: the fields and x(F), a UFL vector."""
        return ufl.as_vector(inputs(self._material, F, self._fields))

    def stress(self, F: Expr, first: Expr) -> Expr:
        """P = sum_i dW/dx_i dx_i/dF and the growth term, NaN where det F <= 0; `first` is dW/dx."""
        P = pull_back(self._material.kinematics, F, [first[i] for i in range(len(self._fields), self.shape[0])])
        if self._material.growth is not None:
            P = P + growth_stress(self._material.growth, F)
        return not_inverted(self._material.kinematics, F) * P

    def conjugates(self, F: Expr, first: Expr) -> Expr:
        """dW/dfields, a UFL vector, NaN where det F <= 0; `first` is dW/dx."""
        found = with_caloric(self._material, [first[i] for i in range(len(self._fields))], self._fields)
        return not_inverted(self._material.kinematics, F) * ufl.as_vector(found)

    def tangent(self, second: Expr) -> Expr:
        """The derivative of dW/dx in x, the symmetric matrix whose upper triangle is `second`."""
        d = self.shape[0]
        at = {pair: second[k] for k, pair in enumerate(upper_triangle(d))}
        return ufl.as_matrix([[at[min(i, j), max(i, j)] for j in range(d)] for i in range(d)])

    def evaluate(self, inputs: Array, first: Array) -> None:
        """Write the first derivative at the inputs (n, d) to `first` (n, d), straight from the kernel."""
        self._potential.energy_gradient_hessian(inputs, None, first)

    def evaluate_tangent(self, inputs: Array, first: Array, second: Array) -> None:
        """Write both derivatives in one pass of the kernel."""
        self._potential.energy_gradient_hessian(inputs, None, first, second)


class EvaluatorStress:
    """The stress of an `Evaluator`: P and dP/dF are stored. Its attributes and methods are those of `PotentialStress`.

    Attributes:
        across: of a `PlaneStress`, the third columns (n, 3) from which it starts, and which it then changes; None of others.

    Raises:
        InvalidInputError: the object is no evaluator.
    """

    def __init__(self, evaluator: Evaluator, dim: int) -> None:
        given: Any = evaluator  # whatever its annotation says
        if isinstance(given, SoftMinimum) or not callable(getattr(given, "evaluate", None)):
            raise InvalidInputError(
                f"a stress is made of a Material or of an object whose evaluate(F) returns stress and tangent; this is a "
                f"{type(given).__name__}. A potential takes a strain measure: Material(potential, GreenLagrange(dim))."
            )
        self._evaluator = evaluator
        self.across: Target | None = None
        self._left: Array = np.empty(0)  # `across` after the last evaluation
        self._values: Values | None = None
        self._inputs: Array = np.empty(0)
        self.shape: tuple[int, ...] = (dim,) * 2
        self.tangent_shape: tuple[int, ...] = (dim,) * 4

    def inputs(self, F: Expr) -> Expr:
        """F itself."""
        return F

    def stress(self, F: Expr, first: Expr) -> Expr:
        """P itself."""
        return first

    def tangent(self, second: Expr) -> Expr:
        """dP/dF itself."""
        return second

    def energy(self) -> Array:
        """W (n,) of the last evaluation. Raises InvalidInputError: the evaluator returns none."""
        found = getattr(self._values, "energy", None)
        if found is None:
            raise InvalidInputError(
                f"evaluate(F) of {type(self._evaluator).__name__} returns no `energy` (n,), which QuadratureStress.energy is."
            )
        return np.asarray(found)

    def evaluate(self, inputs: Array, first: Array) -> None:
        """Write P; the evaluator's result also serves the tangent at the same inputs."""
        self._inputs, self._values = inputs.copy(), None  # no older values remain if the evaluator fails
        self._values = self._evaluate()
        first[:] = self._values.stress.reshape(first.shape)

    def evaluate_tangent(self, inputs: Array, first: Array, second: Array) -> None:
        """Write P and dP/dF, from the last evaluation if it was at the same inputs."""
        if self._values is None or self.moved() or not np.array_equal(inputs, self._inputs):
            self.evaluate(inputs, first)
        assert self._values is not None
        first[:] = self._values.stress.reshape(first.shape)
        second[:] = self._values.tangent.reshape(second.shape)

    def moved(self) -> bool:
        """Whether `across` has changed since the last evaluation: another path, or a user's own start."""
        return self.across is not None and not np.array_equal(self.across.load(), self._left)

    def _evaluate(self) -> Values:
        if self.across is None:
            return self._evaluator.evaluate(self._inputs)
        plane: Any = self._evaluator
        start = self.across.load()
        found: PlaneValues = plane.evaluate(self._inputs, start)
        start[:] = self._left = np.where(np.isfinite(found.across), found.across, start)
        self.across.store()
        return found


def compile_together(potential: SoftMinimum, comm: MPI.Comm) -> CompiledPotential | InterpretedPotential:
    """The potential's evaluator on every rank: one rank of each node compiles it, the others load it.

    (`dolfinx.jit.mpi_jit_decorator` compiles on one rank of all, but nodes may differ in CPU and cache.)

    Raises CompilationError: on every rank, if it failed on any; RuntimeWarning: likewise, if there is no compiler and a
    filter makes this an error; InvalidInputError: likewise, if ranks have different potentials.
    """
    node = comm.Split_type(MPI.COMM_TYPE_SHARED)
    first = node.rank == 0
    node.Free()
    made = on_every_rank(comm, lambda: potential_evaluator(potential, warn=comm.rank == 0) if first else None)
    loaded = on_every_rank(comm, lambda: None if first else potential_evaluator(potential, warn=False))
    result: CompiledPotential | InterpretedPotential = made or loaded
    expect_one_material(comm, [point_function(potential)] if isinstance(result, CompiledPotential) else None)
    return result
