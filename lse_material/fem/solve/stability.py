"""Is an equilibrium a minimum? Negative eigenvalues of its tangent, its lowest modes, and the way out of a saddle.

The lowest modes solve A m = s M m with the tangent A and M of int grad(m).grad(v) + m.v/l^2 (l the diameter of the body). They
vanish where u is prescribed. `lse_material.fem.solve.eigen` finds them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import dolfinx.fem.petsc
import numpy as np
import ufl
from dolfinx import fem
from dolfinx.fem.petsc import assign
from mpi4py import MPI
from petsc4py import PETSc
from scipy.optimize import brentq

from lse_material._arrays import Array, float_array, positive, whole_number
from lse_material.errors import ConvergenceError, InvalidInputError
from lse_material.fem._lifetime import temporary
from lse_material.fem.solve._energy import FieldEnergy
from lse_material.fem.solve.arguments import check_energy_problem
from lse_material.fem.solve.eigen import lowest_eigenpairs
from lse_material.fem.solve.inertia import SymmetricFactor
from lse_material.fem.solve.iterative_inertia import iterative_inertia
from lse_material.fem.solve.missing_stiffness import isostatic_supports, prescribe_rows
from lse_material.fem.solve.multigrid import is_direct
from lse_material.fem.solve.newton_inertia import perturb
from lse_material.fem.solve.scaling import FieldScales

MOST_ROWS = 100_000  # of a tangent that is factored although the problem has an iterative solver
NO_DISPLACEMENT = 1e-6  # of the largest entry of a mode, in one unit: a smaller displacement is rounding


class StabilityWarning(UserWarning):
    """A path follows states that are no minima; the first process alone prints it.

    >>> import warnings
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     table = lse.fem.LoadPath(problem, lambda load: None, progress=False).run([0.0])  # F = I lies between the wells
    >>> [each.category.__name__ for each in caught]
    ['StabilityWarning']
    """


@dataclass(frozen=True, eq=False)
class Modes:
    """The modes nearest to instability.

    Attributes:
        values: eigenvalues s, lowest first; negative for directions in which the energy falls.
        shapes: one function of u's space for each; the largest entry of the displacement is 1.

    >>> modes = lse.fem.stability.lowest_modes(problem, 2)
    >>> len(modes.values), len(modes.shapes)
    (2, 2)
    """

    values: Array
    shapes: Sequence[fem.Function]


def negative_eigenvalues(problem: FieldEnergy, *, factor: bool | None = None) -> int:
    """Number of negative eigenvalues of the tangent at the present u: 0 at a minimum; collective.

    In a mixed energy (`lse.fem.three_field_energy`) those of the Lagrange multipliers do not count: the number is that of the
    tangent from which they, and the fields that they determine, are eliminated. Rigid motions that nothing resists do not
    count, as those of a body that slides between rollers.

    Args:
        problem: at an equilibrium, usually.
        factor: whether a factor of the tangent counts them. Otherwise an iteration finds the lowest ones, which needs as much
            memory as a solve by multigrid does, and is no proof that there are no others; where more than a fifth of all are
            negative, a factor counts them after all. Left out, there is a factor unless the problem has an iterative solver
            and more than 100,000 unknowns.

    Raises:
        ConvergenceError: the tangent is singular, or not finite, or the iteration failed.
        InvalidInputError: factor=False for a problem without an iterative solver or a frozen-weight tangent.

    >>> lse.fem.stability.negative_eigenvalues(problem) > 0  # F = I lies between the wells
    True
    """
    negative, zero = _inertia(problem, factor, count_all=True)
    if zero:
        raise ConvergenceError(
            f"the tangent has {zero} eigenvalues that vanish, beside those of rigid motions: this is a critical point."
        )
    return negative


def is_stable(problem: FieldEnergy, *, factor: bool | None = None) -> bool:
    """Whether the present u is a minimum by its second derivatives; collective.

    Arguments and errors are those of `negative_eigenvalues`; a state with eigenvalues that vanish is not stable.

    >>> lse.fem.stability.is_stable(problem)  # F = I lies between the wells
    False
    """
    return _inertia(problem, factor, count_all=False) == (0, 0)


def _inertia(problem: FieldEnergy, use_factor: bool | None, *, count_all: bool) -> tuple[int, int]:
    """Numbers of negative and of vanishing eigenvalues of the tangent."""
    check_energy_problem(problem, "a check of stability")
    iterative = not is_direct(problem.solver.getKSP()) and problem.convex_form is not None and not problem.multipliers
    if use_factor is False and not iterative:
        raise InvalidInputError(
            "negative eigenvalues are found without a factor if the problem has an iterative solver (petsc_options=MULTIGRID), "
            "a frozen-weight tangent and no multipliers."
        )
    A = problem.tangent()
    if not np.isfinite(A.norm()):
        raise ConvergenceError("the tangent is not finite at this state: is a cell turned inside out (det F <= 0)?")
    supports = isostatic_supports(problem.fields, A)
    if iterative and not (A.getSize()[0] <= MOST_ROWS if use_factor is None else use_factor):
        found = iterative_inertia(problem, supports, count_all=count_all)
        if found is not None:
            return found
    prescribe_rows(A, supports)
    with SymmetricFactor(A.comm) as factor:
        negative, zero, _ = factor.inertia(A)
    return negative - problem.multipliers, zero


def lowest_modes(problem: FieldEnergy, count: int = 1, *, target: float | None = None) -> Modes:
    """The `count` modes of lowest eigenvalue at the present u, by shift and invert; collective.

    In a mixed space the inner product is that of the displacement alone, and the other fields follow it: eigenvalues belong to
    the energy that is minimal in the other fields. If the energy is not convex in them, they are in the inner product too, in
    units in which their mean stiffness is that of the displacement.

    Args:
        problem: at equilibrium, usually.
        count: how many.
        target: the modes nearest to this value are returned, instead of the lowest.

    Raises:
        InvalidInputError: count is below 1, or the problem has fewer modes.
        ConvergenceError: they were not found.

    >>> bool(lse.fem.stability.lowest_modes(problem).values[0] < 0.0)  # F = I lies between the wells
    True
    """
    count = whole_number("count", count, 1)
    if target is not None:
        target = float(float_array("target", target, 0))
    check_energy_problem(problem, "lowest_modes")
    A = problem.tangent()
    scales = FieldScales(problem.fields)
    if problem.multipliers:
        scales.measure(A)
        scales.scale(A)  # the displacement, which alone is in the inner product, keeps its unit
        M = _inner_product(problem, scales, others=False)
        modes = _modes(problem, A, M, count, target, FieldScales(problem.fields))
        for shape in modes.shapes:
            scales.multiply(shape.x.array[: A.getLocalSize()[0]])
            shape.x.scatter_forward()
        return modes
    if len(problem.fields) > 1 and scales.has_displacement:
        try:
            return _modes(problem, A, _inner_product(problem, scales, others=False), count, target, scales)
        except ConvergenceError:
            pass
    scales.measure(A)
    return _modes(problem, A, _inner_product(problem, scales, others=True), count, target, scales)


def _modes(
    problem: FieldEnergy, A: PETSc.Mat, M: PETSc.Mat, count: int, target: float | None, scales: FieldScales
) -> Modes:
    """The modes of A in the inner product M, which is destroyed; the scales are those of the fields."""
    with temporary(A.createVecRight(), M) as (start, _):
        start.set(1.0)  # the same on any number of ranks
        values, vectors = lowest_eigenpairs(A, M, count, target=target, start=start, multipliers=problem.multipliers)
    with temporary(*vectors):
        return Modes(values, tuple(_shape(problem, x, scales) for x in vectors))


def critical_load(
    problem: FieldEnergy, apply: Callable[[float], None], low: float, high: float, *, tolerance: float = 1e-8
) -> tuple[float, fem.Function]:
    """The load between `low` and `high` at which an eigenvalue of the tangent vanishes, and its mode; collective.

    The path must stay on one branch beyond that load: start each solve from a state of its symmetry, or use Newton's method on
    the tangent (snes_type newtonls, ksp_type preonly), which converges to saddles as well as to minima.

    Args:
        problem: whose conditions `apply` changes.
        apply: sets the load, and the initial guess of the solve if it is not the last state.
        low: a load.
        high: another load. Between them an odd number of eigenvalues changes sign.
        tolerance: of the load, as a share of |high - low|.

    Raises:
        InvalidInputError: the eigenvalue nearest to zero has the same sign at both ends.
        ConvergenceError: a solve failed.

    >>> side = lambda x: x[0] * (1.0 - x[0]) * x[1] * (1.0 - x[1])
    >>> given = fem.Function(V)
    >>> bc = fem.dirichletbc(given, fem.locate_dofs_geometrical(V, lambda x: np.isclose(side(x), 0.0)))
    >>> square = lse.fem.EnergyProblem(W * dx, u, bcs=[bc], petsc_options_prefix="critical_")
    >>> def stretch(e):  # from between the wells into one
    ...     for field in (given, u):
    ...         field.interpolate(lambda x: e * np.stack([x[0], -x[1]]))
    >>> load, mode = lse.fem.stability.critical_load(square, stretch, 0.0, 0.05)
    >>> round(load, 3)
    0.009
    """
    if not callable(apply):
        raise InvalidInputError(f"apply is {apply!r}; it must be a function of the load.")
    low, high = (float(float_array(name, load, 0)) for name, load in (("low", low), ("high", high)))
    tolerance = positive("tolerance", tolerance)
    nearest: dict[float, Modes] = {}

    def eigenvalue(load: float) -> float:
        if load in nearest:  # an end, which another solve might find on another branch
            return float(nearest[load].values[0])
        apply(load)
        problem.solve()
        nearest[load] = lowest_modes(problem, 1, target=0.0)
        return float(nearest[load].values[0])

    ends = eigenvalue(low), eigenvalue(high)
    if ends[0] * ends[1] > 0.0:
        raise InvalidInputError(
            f"the eigenvalue nearest to zero is {ends[0]:.3g} at the load {low:g} and {ends[1]:.3g} at {high:g}: none changes "
            "its sign between them, or two do. Take other ends."
        )
    # brentq never asks for less than a few roundings of the load itself
    load = float(brentq(eigenvalue, low, high, xtol=tolerance * abs(high - low), rtol=4 * np.finfo(float).eps))
    return load, nearest[load].shapes[0] if load in nearest else lowest_modes(problem, 1, target=0.0).shapes[0]


def perturb_along_mode(problem: FieldEnergy, size: float, mode: fem.Function | None = None) -> fem.Function:
    """Move u along its lowest mode by `size`, to the side of lower energy; returns the mode. Collective.

    Args:
        problem: at a saddle.
        size: largest entry of the change of the displacement, or of u if there is none.
        mode: another than the lowest.

    >>> before = problem.energy()
    >>> mode = lse.fem.stability.perturb_along_mode(problem, 0.01)
    >>> problem.energy() < before
    True
    """
    size = float(float_array("size", size, 0))
    mode = lowest_modes(problem).shapes[0] if mode is None else mode
    if not isinstance(mode, fem.Function) or mode.function_space != problem.u.function_space:
        raise InvalidInputError(
            "the mode is of another function space than u: take one of lowest_modes(problem).shapes."
        )
    with temporary(problem.x.duplicate()) as (direction,):
        assign(mode, direction)
        if not perturb(problem, direction, size):
            raise InvalidInputError(f"a perturbation of {size:g} turns elements inside out; take a smaller one.")
    return mode


def solve_to_minimum(problem: FieldEnergy, *, size: float, perturbations: int = 5) -> int:
    """Solve; while the result is a saddle, perturb u along its lowest mode and solve once more.

    Returns:
        The number of perturbations.

    Raises:
        ConvergenceError: a solve failed, or the state is still a saddle after so many perturbations.

    >>> perturbations = lse.fem.stability.solve_to_minimum(problem, size=0.01)
    >>> lse.fem.stability.is_stable(problem)
    True
    """
    size, perturbations = positive("size", size), whole_number("perturbations", perturbations)
    for done in range(perturbations + 1):
        problem.solve()
        if is_stable(problem):
            return done
        if done < perturbations:
            perturb_along_mode(problem, size)
    raise ConvergenceError(
        f"still {negative_eigenvalues(problem)} negative eigenvalues after {perturbations} perturbations of {size:g} along "
        "the lowest mode; take larger ones."
    )


def _inner_product(problem: FieldEnergy, scales: FieldScales, *, others: bool) -> PETSc.Mat:
    """M of the displacement, without the rows and columns where u is prescribed; also of the `others`, each in its unit."""
    V = problem.u.function_space
    m, v = ufl.TrialFunction(V), ufl.TestFunction(V)
    parts = list(zip(ufl.split(m), ufl.split(v))) if V.num_sub_spaces > 0 and len(problem.fields) > 1 else [(m, v)]
    if len(parts) > 1 and not others:
        dim = V.mesh.geometry.dim
        parts = [(a, b) for a, b in parts if a.ufl_shape == (dim,) or (dim == 1 and a.ufl_shape == ())][:1]
    products = [ufl.inner(ufl.grad(a), ufl.grad(b)) + ufl.inner(a, b) / problem.fields.diameter**2 for a, b in parts]
    M = dolfinx.fem.petsc.assemble_matrix(
        fem.form(sum(products[1:], products[0]) * ufl.dx), bcs=list(problem.bcs), diag=0.0
    )
    M.assemble()
    if others:
        scales.scale(M, power=-1)
    M.setOption(PETSc.Mat.Option.SYMMETRIC, True)
    return M


def _shape(problem: FieldEnergy, x: PETSc.Vec, scales: FieldScales) -> fem.Function:
    """A mode as a function; the largest entry of the displacement, or of all if it has none but rounding, is 1."""
    mode = fem.Function(problem.u.function_space, name="mode")
    mode.x.array[: x.getLocalSize()] = x.array_r
    mode.x.scatter_forward()
    displacements = [field.dofs for field in problem.fields.fields if field.displacement]
    in_one_unit = x.array_r.copy()
    scales.divide(in_one_unit)
    parts = [x.array_r[dofs] for dofs in displacements[:1] if _share(problem, in_one_unit, dofs) > NO_DISPLACEMENT]
    values = parts[0] if parts else x.array_r
    largest = float(values[np.abs(values).argmax()]) if len(values) else 0.0
    sizes = problem.comm.allgather(largest)
    mode.x.array[:] /= max(sizes, key=abs) or 1.0
    return mode


def _share(problem: FieldEnergy, values: Array, dofs: Array) -> float:
    """The largest of some entries as a share of the largest of all; collective."""
    part, whole = (problem.comm.allreduce(float(np.abs(v).max(initial=0.0)), MPI.MAX) for v in (values[dofs], values))
    return part / whole if whole > 0.0 else 0.0
