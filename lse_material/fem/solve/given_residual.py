"""Whether a residual that stands beside an energy is its derivative, dPi(u; d) = residual(u; d).

Both sides are evaluated for random directions d in each field, at the start and at a perturbed state: forces that vanish at
one of the two show at the other.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import ufl
from dolfinx import fem

from lse_material._arrays import Array
from lse_material.errors import InvalidInputError
from lse_material.fem._mpi import integral
from lse_material.fem.quadrature.derivatives import with_stored_values
from lse_material.fem.quadrature.stress import QuadratureStress
from lse_material.fem.solve._energy import FieldEnergy
from lse_material.fem.solve.fields import Field, restorer
from lse_material.fem.solve.scaling import FieldScales

EQUAL = 1e-6  # of the forces in a field: two residuals that differ by less are one
PERTURBATION = 1e-2  # of the size of the body; displacements are waves as long as it
DIRECTIONS = 3  # in each field: one alone may be almost normal to a difference
HALVINGS = 5  # at most, of a perturbation whose energy is not finite


def check_given_residual(problem: FieldEnergy, energy: ufl.Form, stresses: Sequence[QuadratureStress]) -> bool:
    """Raise InvalidInputError if the residual of a problem is not the derivative of its energy; u is unchanged. Collective.

    Returns False if the energy or the residual is not finite at the present u, so that nothing is known.
    """
    u = problem.u
    before, restore = u.x.array.copy(), restorer((u, *problem.start_values.values()))
    try:
        direction = fem.Function(u.function_space)
        rate = problem.compiled(with_stored_values(ufl.derivative(energy, u, direction), stresses))
        noise = np.random.default_rng(problem.comm.rank)
        states = [_works(problem, rate, direction, noise)]
        if not np.isfinite(states[0]).all():
            return False
        change = _perturbation(problem, noise)
        for halvings in range(HALVINGS):
            u.x.array[: len(change)] = before[: len(change)] + 0.5**halvings * change
            u.x.scatter_forward()
            if np.isfinite(problem.value()) and np.isfinite(found := _works(problem, rate, direction, noise)).all():
                states.append(found)
                break
    finally:
        restore()
    given, exact, size = np.concatenate(states, axis=1)  # (states and directions, fields) each
    scale = np.maximum(size, np.abs(exact)).max(axis=0)
    apart = np.divide(np.abs(given - exact), scale, out=np.zeros_like(given), where=scale > 0.0).max(axis=0)
    if apart.max() > EQUAL:
        raise InvalidInputError(
            f"`residual` is not the derivative of the energy: in field {int(apart.argmax())} of u they differ by "
            f"{apart.max():.2g} of the forces. Both need the same materials, loads and quadrature rule (`P.dx` of a "
            "QuadratureStress, in the energy too). Forces that are no derivative of an energy, such as friction, go into a "
            "MaterialProblem."
        )
    return True


def _works(problem: FieldEnergy, rate: fem.Form, direction: fem.Function, noise: Any) -> Array:
    """Work of the residual at the present u, that of the energy, and their size: (3, directions, fields)."""
    problem.value()  # brings stored values up to date
    forces, values = problem.forces(), direction.x.array
    works = np.zeros((3, DIRECTIONS, len(problem.fields)))
    for k, field in itertools.product(range(DIRECTIONS), range(len(problem.fields))):
        dofs = problem.fields.fields[field].dofs
        values[:] = 0.0
        values[dofs] = noise.standard_normal(len(dofs))
        direction.x.scatter_forward()
        each = forces[dofs] * values[dofs]
        given, squares = problem.comm.allreduce(np.array([each.sum(), each @ each]))
        works[:, k, field] = given, integral(problem.comm, rate), np.sqrt(squares)
    return works


def _perturbation(problem: FieldEnergy, noise: Any) -> Array:
    """A change of the owned entries of u: waves of displacements, random values in the units of the other fields."""
    fields, A = problem.fields, problem.tangent()
    scales, change = FieldScales(fields), np.zeros(fields.sizes[0])
    scales.measure(A)
    size = PERTURBATION * scales.largest_step(problem.u, problem.forces()[: len(change)], A) / np.sqrt(A.getSize()[0])
    nodes = A.getSize()[0] ** (1 / problem.u.function_space.mesh.topology.dim)
    for field in fields.fields:
        change[field.dofs] = (
            _wave(field, fields.diameter) if field.displacement else noise.standard_normal(len(field.dofs)) / nodes
        )
    scales.multiply(change)
    return size * change


def _wave(field: Field, diameter: float) -> Array:
    """One number for each entry of a displacement."""
    dim = field.space.dofmap.index_map_bs
    x = field.space.tabulate_dof_coordinates()[: field.space.dofmap.index_map.size_local, :dim] / diameter
    phases = 1.0 + np.arange(dim)
    wave: Array = np.sin(phases + x @ (2.0 + np.cos(np.outer(phases, phases)))) / 3.0
    return wave.ravel()
