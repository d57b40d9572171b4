"""Heat in a deforming body, from the same W(F, T) as its stress: latent heat and elastocaloric effect are in it.

Of a material with one temperature, per reference volume,

    S = -dW/dT,      U = W + T S,      heat taken up in a step = U - U_old - P : (F - F_old)

the first law, with P at the end of the step. With k the conductivity and q the test function of T, a step of length dt is

    inner(P, grad(v)) * dx + (heat_taken_up(...) * q + dt * k * dot(grad(T), grad(q))) * dx = 0.

Because the mechanical equation is tested with the displacements of the step too, the energies of steps add up to external work
and heat flux, to the tolerance of the solver, whatever dt is. What a step dissipates by its length it turns into heat.
"""

from collections.abc import Sequence

import ufl
from ufl.core.expr import Expr

from lse_material.fem.forms.energy import conjugates, energy, stress
from lse_material.model.material import Material


def entropy(material: Material, F: Expr, *, fields: Sequence[Expr], expanded: bool = False) -> Expr:
    """-dW/dT, a UFL scalar per reference volume. Arguments and errors as `energy`.

    Raises:
        InvalidInputError: the material has no temperature, or several.

    >>> round(fem.assemble_scalar(fem.form(lse.fem.entropy(gas, F, fields=[fem.Constant(domain, 0.3)]) * dx)), 6)
    0.5
    """
    k = material.temperature("an entropy")
    return -conjugates(material, F, fields=fields, expanded=expanded)[k]


def internal_energy(material: Material, F: Expr, *, fields: Sequence[Expr], expanded: bool = False) -> Expr:
    """W + T S, a UFL scalar per reference volume; T is absolute. Arguments and errors as `entropy`.

    >>> U = lse.fem.internal_energy(gas, F, fields=[fem.Constant(domain, 0.3)])
    >>> abs(fem.assemble_scalar(fem.form(U * dx))) < 1e-12  # W = -0.5 T
    True
    """
    W = energy(material, F, fields=fields, expanded=expanded)
    T = fields[material.temperature("an internal energy")]
    return W + T * entropy(material, F, fields=fields, expanded=expanded)


def heat_taken_up(
    material: Material,
    F: Expr,
    F_old: Expr,
    *,
    fields: Sequence[Expr],
    fields_old: Sequence[Expr],
    expanded: bool = False,
) -> Expr:
    """The heat that a step from the old state to this one takes up, a UFL scalar per reference volume: T dS for short steps.

    Args:
        material: one with a temperature.
        F: UFL deformation gradient at the end of the step.
        F_old: at its beginning.
        fields: of the material at the end, the temperature among them.
        fields_old: at its beginning.
        expanded: as in `energy`.

    Raises:
        InvalidInputError: as `entropy`.

    >>> warm, cold = fem.Constant(domain, 0.3), fem.Constant(domain, 0.1)
    >>> Q = lse.fem.heat_taken_up(gas, F, F, fields=[warm], fields_old=[cold])
    >>> abs(fem.assemble_scalar(fem.form(Q * dx))) < 1e-12  # it has no heat capacity
    True
    """
    now = internal_energy(material, F, fields=fields, expanded=expanded)
    then = internal_energy(material, F_old, fields=fields_old, expanded=expanded)
    return now - then - ufl.inner(stress(material, F, fields=fields, expanded=expanded), F - F_old)
