"""Constants of energies: no derivative sees them, and their rounding hides the differences that minimisers compare.

An energy of an ab-initio calculation may be 1e9 times what it varies by. Then half the digits of a sum over a body, and more of
its differences, are rounding; without the constant none are.
"""

import dataclasses
from typing import Any

import ufl

from lse_material.fem.forms import operator
from lse_material.fem.forms.marks import factor_of, marks_in
from lse_material.fem.forms.operator import PotentialComponent
from lse_material.fem.forms.orientation import Determinant

SMALL = 1e3  # transition scales: a smaller constant costs fewer digits than wells have beyond this scale, and stays


def without_constants(functional: ufl.Form, u: Any) -> tuple[ufl.Form, ufl.Form | None]:
    """A functional of u less the large constants of its compiled potentials, and these constants, None if there are none.

    A constant that is multiplied by what depends on u stays.
    """
    potentials = {
        W: W.numbered.potential for W in ufl.algorithms.extract_type(functional, PotentialComponent) if not W.code
    }
    large = {W: p for W, p in potentials.items() if abs(p.energy_shift) > SMALL * p.transition_scale}
    shares = {W: _share(functional, W) for W in sorted(large, key=repr)}
    kept = {W: share for W, share in shares.items() if share is not None and u not in share.coefficients()}
    if not kept:
        return functional, None
    less = {W: operator.value(dataclasses.replace(large[W], energy_shift=0.0), list(W.x)) for W in kept}
    constants = [large[W].energy_shift * share for W, share in kept.items()]
    return ufl.replace(functional, less), sum(constants[1:], constants[0])


def _share(functional: ufl.Form, W: PotentialComponent) -> ufl.Form | None:
    """The derivative of a functional by a potential, where no cell is turned inside out; None if it is not affine in it."""
    upright = {J: ufl.as_ufl(1.0) for J, _ in marks_in(functional, Determinant)}
    parts = []
    for integral in functional.integrals():
        factor = factor_of(W, integral.integrand(), upright)
        if factor is None:
            return None
        parts.append(integral.reconstruct(integrand=factor))
    return ufl.Form([part for part in parts if part.integrand() != 0])
