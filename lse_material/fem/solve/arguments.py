"""The arguments of a problem: forms, unknowns and conditions that belong together.

UFL differentiates in a function itself. A form of another function, or of the views that `w.split()` and `w.sub(i)` return, has
no derivative in w: its tangent is zero, and any state without load counts as solved.
"""

from collections.abc import Iterator, Sequence
from numbers import Real
from typing import Any

import basix
import numpy as np
import ufl
from dolfinx import fem
from mpi4py import MPI
from ufl.algorithms import extract_type
from ufl.classes import ExprList, Grad

from lse_material._arrays import positive
from lse_material.errors import InvalidInputError
from lse_material.fem.quadrature.stress import QuadratureStress

ONE_COMPONENT = (
    basix.SobolevSpace.HDiv,
    basix.SobolevSpace.HCurl,
)  # of vectors that are continuous in one component only
RANKS = ("no test function", "a test function", "a test and a trial function")


def conditions(bcs: Sequence[fem.DirichletBC] | None) -> tuple[fem.DirichletBC, ...]:
    """The Dirichlet conditions of a problem; none for None, as in DOLFINx. Raises InvalidInputError for others."""
    given = () if bcs is None else bcs
    if not isinstance(given, Sequence) or not all(isinstance(bc, fem.DirichletBC) for bc in given):
        raise InvalidInputError("bcs is no list of Dirichlet conditions: give bcs=[fem.dirichletbc(...), ...].")
    return tuple(given)


def stored_stresses(stresses: Any) -> tuple[QuadratureStress, ...]:
    """The stresses that are stored at quadrature points. Raises InvalidInputError unless it is a list of them."""
    if not isinstance(stresses, Sequence) or not all(isinstance(P, QuadratureStress) for P in stresses):
        raise InvalidInputError(f"stresses is {stresses!r}: give a list of every QuadratureStress, stresses=[P].")
    return tuple(stresses)


def check_blocks(residual: Any, u: Any, kind: Any) -> None:
    """Raise InvalidInputError unless a list of residuals has as many unknowns, and a form one, which is no part of another."""
    lists = [isinstance(item, Sequence) for item in (residual, u)]
    if lists[0] != lists[1] or (lists[0] and len(residual) != len(u)):
        said = [f"a list of {len(item)}" if isinstance(item, Sequence) else "one" for item in (residual, u)]
        raise InvalidInputError(
            f"residual is {said[0]} and u is {said[1]}: give a form and a function, or a list of forms and as many functions "
            "(ufl.extract_blocks parts a form over a MixedFunctionSpace)."
        )
    if kind == "nest" and not lists[1]:
        raise InvalidInputError('kind="nest" is for lists of residuals and of unknowns: leave it out.')
    for unknown in u if lists[1] else [u]:
        if not isinstance(unknown, fem.Function) or len(unknown.function_space.component()):
            raise InvalidInputError(
                f"the unknown {unknown} is no function of a space of its own: give the whole function w of a mixed space, "
                "with ufl.split(w) in the forms."
            )


def check_functional(form: Any, what: str) -> None:
    """Raise InvalidInputError unless a form is a functional."""
    if not isinstance(form, ufl.Form) or form.arguments():
        raise InvalidInputError(
            f"{what} must be a functional: a UFL form without test function, such as energy(material, F) * dx."
        )


def check_scalar(name: str, value: Any) -> None:
    """Raise InvalidInputError unless a value is a number > 0, or a UFL scalar."""
    if isinstance(value, ufl.core.expr.Expr):
        if value.ufl_shape:
            raise InvalidInputError(
                f"{name} has the shape {value.ufl_shape}; it must be a UFL scalar, or a number > 0."
            )
    else:
        positive(name, value)


def check_displacement(u: fem.Function) -> None:
    """Raise InvalidInputError unless a function is a scalar, or a vector of the dimension of its mesh with nodes."""
    if not isinstance(u, fem.Function):
        raise InvalidInputError(f"u is {u!r}; a displacement is a Function.")
    dim, element = u.function_space.mesh.geometry.dim, u.function_space.ufl_element()
    if u.ufl_shape not in ((), (dim,)) or (u.ufl_shape and element.block_size != dim):
        raise InvalidInputError(
            f"u is of {element}, of shape {u.ufl_shape}; a displacement is a scalar, or a vector of {dim} components."
        )


def check_energy(energy: Any, u: Any, tolerance: Any) -> None:
    """Raise InvalidInputError unless an energy is a functional, of one function, and the tolerance lies between 0 and 1."""
    check_functional(energy, "the energy of an EnergyProblem")
    if not isinstance(u, fem.Function):
        raise InvalidInputError(
            "an EnergyProblem has one unknown: take a Function of a mixed space (basix.ufl.mixed_element) for several "
            "fields, such as displacement and pressure."
        )
    if not isinstance(tolerance, Real) or not 0.0 < float(tolerance) < 1.0:
        raise InvalidInputError(f"tolerance is {tolerance}; it must lie between 0 and 1.")


def check_energy_problem(problem: Any, what: str) -> None:
    """Raise InvalidInputError unless a problem has an energy, of which paths and stability checks know more than a residual."""
    if not hasattr(problem, "functional"):
        raise InvalidInputError(f"{what} takes an EnergyProblem, and not a {type(problem).__name__}.")


def check_rank(form: ufl.Form, rank: int, what: str) -> None:
    """Raise InvalidInputError unless a form has as many arguments as its rank says; one without integrals is zero."""
    found = len(form.arguments())
    if form.integrals() and found != rank:
        raise InvalidInputError(
            f"{what} has {RANKS[min(found, 2)]}, and needs {RANKS[rank]}: of an energy, ufl.derivative(energy, u, v) is the "
            "residual, and the derivative of that in u the Jacobian."
        )


def check_unknowns(residual: ufl.Form | Sequence[ufl.Form], unknowns: Sequence[fem.Function]) -> None:
    """Raise InvalidInputError if residuals, or energies, are not of the unknowns, or of views of them, or are tested in other
    spaces; collective."""
    forms = list(residual) if isinstance(residual, Sequence) else [residual]
    functions = [f for form in forms for integral in form.integrals() for f in _functions(integral.integrand())]
    for unknown, form in zip(unknowns, forms):
        views = any(f is not unknown and np.may_share_memory(f.x.array, unknown.x.array) for f in functions)
        if unknown.function_space.mesh.comm.allreduce(views, MPI.LOR):
            raise InvalidInputError(
                f"the form holds parts of {unknown.name!r} as w.split() or w.sub(i) give them, which UFL takes for other "
                "functions: no derivative would see them. Take ufl.split(w), or a copy of what is not to be differentiated."
            )
        if not any(f is unknown for f in functions):
            raise InvalidInputError(
                f"the unknown {unknown.name!r} does not occur in the form, which would not change with it: write the form of "
                "the function that is solved for."
            )
        _refuse_broken_gradients(unknown, form)
        for argument in form.arguments():
            if argument.ufl_element() != unknown.function_space.ufl_element():
                raise InvalidInputError(
                    f"the test function is of {argument.ufl_element()}, and the unknown {unknown.name!r} of "
                    f"{unknown.function_space.ufl_element()}: take ufl.TestFunction(u.function_space)."
                )


def _refuse_broken_gradients(unknown: fem.Function, form: ufl.Form) -> None:
    """Refuse gradients of an unknown that jumps between cells, where no integral over the faces between them ties it."""
    element = unknown.function_space.ufl_element()
    tied = any(integral.integral_type() == "interior_facet" for integral in form.integrals())
    jumps = getattr(element, "basix_sobolev_space", None) in ONE_COMPONENT or getattr(element, "discontinuous", False)
    if jumps and not tied and any(grad.ufl_operands[0] is unknown for grad in extract_type(form, Grad)):
        raise InvalidInputError(
            f"the form has the gradient of {unknown.name!r}, of {element}, which jumps between cells: no term over interior "
            "facets (dS) ties the cells to each other. Take continuous elements (Lagrange), or add such terms."
        )


def _functions(integrand: Any) -> Iterator[fem.Function]:
    """The functions that an integrand is of; not those that it is only differentiated in."""
    seen, left = set(), [integrand]
    while left:
        node = left.pop()
        if node in seen:
            continue
        seen.add(node)
        if isinstance(node, fem.Function):
            yield node
        operands = node.ufl_operands
        differentiated = len(operands) > 1 and isinstance(operands[1], ExprList)
        left.extend(operands[:1] if differentiated else operands)
