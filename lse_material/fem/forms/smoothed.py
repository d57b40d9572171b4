"""Energies whose transition scale is larger: smoother, with lower barriers and the same wells.

    W_f(x) = -f rho ln sum_k exp(-psi_k(x) / (f rho))

Where f rho exceeds a barrier the wells merge. Minimised one after the other for falling factors f, such energies lead from a
rough start to a minimum that is lower than the one next to the start.
"""

import dataclasses

import ufl
from ufl.core.expr import Expr

from lse_material._arrays import float_array
from lse_material.errors import InvalidInputError
from lse_material.fem.forms import operator
from lse_material.fem.forms.measures import expect_functional
from lse_material.fem.forms.operator import PotentialComponent, energies_in


def smoothed(energy: ufl.Form, factor: float) -> ufl.Form:
    """The functional with the transition scale of every compiled potential in it multiplied by `factor`.

    Args:
        energy: functional in which energies of `lse.fem.energy` or `potential_energy` stand as they are.
        factor: at least 1.

    Raises:
        InvalidInputError: the factor is below 1, or the energy holds no compiled potential, or derivatives of one.

    >>> smoother = lse.fem.smoothed(W * dx, 4.0)
    >>> fem.assemble_scalar(fem.form(smoother)) < fem.assemble_scalar(fem.form(W * dx))
    True
    """
    factor = float(float_array("a factor of the transition scale", factor, 0))
    expect_functional(energy, "smoothed")
    if not factor >= 1.0:
        raise InvalidInputError(f"a factor of the transition scale is {factor}; it must be at least 1.")
    found = energies_in(energy, "only energies can be smoothed")
    if not found:
        raise InvalidInputError("the energy holds no compiled potential (lse.fem.energy): there is nothing to smooth.")

    def smoother(W: PotentialComponent) -> Expr:
        potential = W.numbered.potential
        return operator.value(dataclasses.replace(potential, scaled_rho=factor * potential.scaled_rho), list(W.x))

    return ufl.replace(energy, {W: smoother(W) for W in found})
