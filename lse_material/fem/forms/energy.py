"""A material in UFL: energy, stress and mode weights as expressions of a UFL deformation gradient.

By default the potential is one UFL operator that FFCx compiles into a call of generated C (`lse_material.fem.forms.operator`).
It costs little more than neo-Hookean for any network size and can be differentiated twice. With expanded=True every weight is
written out in plain UFL, which needs no C header and can be differentiated any number of times; it is sensible up to about
1,000 non-zero weights in 2D.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np
import ufl
from ufl.classes import Grad, Identity, Sum, Variable
from ufl.core.expr import Expr

from lse_material._arrays import float_array
from lse_material.errors import InvalidInputError
from lse_material.fem.forms import expanded as networks
from lse_material.fem.forms import operator
from lse_material.fem.forms.frozen_tangent import growth_energy
from lse_material.fem.forms.marks import marked
from lse_material.fem.forms.orientation import not_inverted
from lse_material.fem.forms.strain import pull_back, strain
from lse_material.model.growth import Growth
from lse_material.model.material import Material
from lse_material.model.soft_minimum import SoftMinimum, expect_potential


def energy(
    material: Material,
    F: Expr,
    *,
    fields: Sequence[Expr] = (),
    orientation: Expr | None = None,
    expanded: bool = False,
    inverted: bool = False,
) -> Expr:
    """W(F), a UFL scalar in energy units per reference volume.

    W and its derivatives are NaN where det F <= 0, except at small strain: an energy of F^T F alone is the same for a cell and
    its mirror image, so that an inverted cell could be a minimum.

    Args:
        material: any material.
        F: UFL expression of shape (dim, dim); wrap it in ufl.variable to use ufl.diff.
        fields: UFL scalars, one for each of the material's fields, in their order. Numbers are checked as by
            `Material.at`; where functions leave the data, an `ExtrapolationMonitor` says.
        orientation: a rotation Q, a UFL tensor (dim, dim) that may differ from point to point. The material's axes lie along
            the columns of Q, and W is that of Q^T F Q. `lse.fem.rotation` makes one of angles. Functions without this argument
            take Q.T * F * Q in the place of F.
        expanded: write the networks out in plain UFL instead of calling compiled C.
        inverted: where det F <= 0, use the value that follows from the strain measure.

    Raises:
        InvalidInputError: F or the orientation does not have the shape for the material's dimension, or fields are too few or
            too many, or no scalars.

    >>> W = lse.fem.energy(material, F)
    >>> round(fem.assemble_scalar(fem.form(W * dx)), 6)  # at F = I, between the wells
    0.004307
    """
    expect_shape(material, F)
    turned, fields = in_axes(F, orientation), scalar_fields(material, fields)
    W = potential_energy(material.potential, inputs(material, turned, fields), expanded=expanded)
    if material.growth is not None:
        W = W + growth_energy(material.growth, F)
    if material.caloric is not None:
        W = W + material.caloric.energy(fields[material.temperature("a caloric term")])
    return W if inverted else not_inverted(material.kinematics, F) * W


def stress(
    material: Material,
    F: Expr,
    *,
    fields: Sequence[Expr] = (),
    orientation: Expr | None = None,
    expanded: bool = False,
    inverted: bool = False,
) -> Expr:
    """P = dW/dF, first Piola-Kirchhoff stress of shape (dim, dim); NaN where W is.

    Arguments and errors are those of `energy`. If expanded, a reverse sweep writes out the networks' gradients: the Jacobian is
    then differentiated once instead of twice and compiles faster.

    >>> residual = ufl.inner(lse.fem.stress(material, F), ufl.grad(v)) * dx
    >>> bool(np.abs(fem.assemble_vector(fem.form(residual)).array).max() < 1e-12)  # F = I is in equilibrium
    True
    """
    expect_shape(material, F)
    turned = in_axes(F, orientation)
    x = inputs(material, turned, fields)
    gradient = (networks if expanded else operator).gradient(material.potential, x)
    P = from_axes(pull_back(material.kinematics, turned, gradient[len(material.fields) :]), orientation)
    if material.growth is not None:
        P = P + growth_stress(material.growth, F)
    return P if inverted else not_inverted(material.kinematics, F) * P


def conjugates(
    material: Material, F: Expr, *, fields: Sequence[Expr], expanded: bool = False, inverted: bool = False
) -> Expr:
    """dW/dfields, a UFL vector with one entry for each field. Arguments and errors as in `energy`.

    >>> mode = lse.ConvexNetwork.from_arrays([], [np.zeros((1, 4))], [[0.0]], quadratic=np.eye(4))  # (c^2 + E:E) / 2
    >>> swelling = lse.Material(lse.SoftMinimum((mode,), 1.0), lse.GreenLagrange(2), fields=("c",))
    >>> mu = lse.fem.conjugates(swelling, F, fields=[fem.Constant(domain, 0.3)])
    >>> round(fem.assemble_scalar(fem.form(mu[0] * dx)), 6)  # dW/dc
    0.3
    """
    expect_shape(material, F)
    if not material.fields:
        raise InvalidInputError("the energy depends on F alone: it has no fields, and no conjugates of any.")
    fields = scalar_fields(material, fields)
    x = inputs(material, F, fields)
    gradient = (networks if expanded else operator).gradient(material.potential, x)
    of_fields = gradient[: len(material.fields)]
    result = ufl.as_vector(with_caloric(material, of_fields, fields))
    return result if inverted else not_inverted(material.kinematics, F) * result


def with_caloric(material: Material, conjugates: Sequence[Expr], fields: Sequence[Expr]) -> list[Expr]:
    """dW/dfields of the potential, with the derivative of the caloric term added to that of the temperature."""
    result = list(conjugates)
    if material.caloric is not None:
        k = material.temperature("a caloric term")
        result[k] = result[k] + material.caloric.derivative(fields[k])
    return result


def growth_stress(growth: Growth, F: Expr) -> Expr:
    """Derivative of the growth term in F, NaN where J < 0."""
    J = marked(ufl.det(F), _VolumeRatio(growth))
    return ufl.diff(growth.of_volume(J), J) * ufl.cofac(F)


def mode_weights(material: Material, F: Expr, *, fields: Sequence[Expr] = (), expanded: bool = False) -> Expr:
    """Phase fractions softmax(-psi_k/rho), a UFL vector with one entry per mode. Arguments and errors as in `energy`.

    Only the expanded ones can be differentiated.

    >>> first, second = lse.fem.mode_weights(material, F)
    >>> round(fem.assemble_scalar(fem.form(first * dx)), 6)
    0.5
    """
    x = inputs(material, F, fields)
    return ufl.as_vector((networks if expanded else operator).weights(material.potential, x))


def potential_energy(potential: SoftMinimum, x: list[Expr], *, expanded: bool = False) -> Expr:
    """W of a potential of any UFL scalars x (d of them), compiled or expanded as `energy`.

    >>> W = lse.fem.potential_energy(material.potential, x)
    >>> round(fem.assemble_scalar(fem.form(W * dx)), 6)
    0.004307
    """
    expect_potential(potential, len(x))
    return (networks if expanded else operator).value(potential, x)


def inputs(material: Material, F: Expr, fields: Sequence[Expr]) -> list[Expr]:
    """The inputs of the potential, UFL scalars: the fields, then the components of x(F). Errors as in `energy`."""
    expect_shape(material, F)
    return [*scalar_fields(material, fields), *strain(material.kinematics, F)]


def scalar_fields(material: Material, fields: Sequence[Expr]) -> list[Expr]:
    """The values of the material's fields, one UFL scalar for each.

    Raises InvalidInputError: there are too few or too many, or one is no scalar, or a number that `Material.at` refuses.
    """
    wanted = f"the energy depends on {list(material.fields)}: give fields=[...], a list with one scalar for each"
    if len(getattr(fields, "ufl_shape", ())) == 1:
        fields = list(fields)
    if not isinstance(fields, (list, tuple)):
        raise InvalidInputError(f"fields is a {type(fields).__name__}; {wanted}.")
    if len(fields) != len(material.fields):
        raise InvalidInputError(f"{len(fields)} fields are given; {wanted}.")
    for name, value in zip(material.fields, fields):
        shape = getattr(value, "ufl_shape", value.shape if isinstance(value, np.ndarray) else None)
        if not isinstance(value, Real) and shape != ():
            said = f"a {type(value).__name__}" + ("" if shape is None else f" of shape {shape}")
            raise InvalidInputError(f"the field {name!r} is {said}; it must be a number or a UFL scalar.")
    values = [float(value) if isinstance(value, (Real, np.ndarray)) else value for value in fields]
    material.check_fields({name: value for name, value in zip(material.fields, values) if isinstance(value, float)})
    return [ufl.as_ufl(value) for value in values]


def in_axes(F: Expr, orientation: Expr | None) -> Expr:
    """Q^T F Q: F in the axes of the material; F itself without an orientation Q.

    Raises InvalidInputError: Q has another shape than F.
    """
    if orientation is None:
        return F
    if getattr(orientation, "ufl_shape", None) != F.ufl_shape:
        raise InvalidInputError(
            f"orientation has UFL shape {getattr(orientation, 'ufl_shape', None)}; F has {F.ufl_shape}, and it needs the same: "
            "a rotation, as lse.fem.rotation(angle) gives it."
        )
    return orientation.T * F * orientation


def from_axes(P: Expr, orientation: Expr | None) -> Expr:
    """Q P Q^T: a stress in the axes of the material as one of the body."""
    return P if orientation is None else orientation * P * orientation.T


def rotation(angle: Expr | float, axis: Sequence[float] | None = None) -> Expr:
    """The rotation by an angle in radians, a UFL tensor: in the plane, or about an axis in space.

    For grains the angle is a function with one value in each cell; orthogonal it is everywhere, also where the angle varies in
    a cell. Rotations in space are products of such.

    Args:
        angle: a UFL scalar, or a number.
        axis: three numbers, the direction in space; left out for a rotation in the plane.

    Raises:
        InvalidInputError: the angle is no scalar, or the axis is not a direction in space.

    >>> grains = fem.Function(fem.functionspace(domain, ("DG", 0)))
    >>> grains.x.array[: len(grains.x.array) // 2] = np.pi / 6
    >>> W = lse.fem.energy(material, F, orientation=lse.fem.rotation(grains))
    >>> round(fem.assemble_scalar(fem.form(W * dx)), 6)  # at F = I
    0.004307
    """
    if not isinstance(angle, Real) and getattr(angle, "ufl_shape", None) != ():
        raise InvalidInputError(f"the angle is a {type(angle).__name__}; it must be a number or a UFL scalar.")
    angle = ufl.as_ufl(angle)
    c, s = ufl.cos(angle), ufl.sin(angle)
    if axis is None:
        return ufl.as_matrix([[c, -s], [s, c]])
    n = float_array("axis", axis, 1)
    if n.shape != (3,) or not n.any():
        raise InvalidInputError(f"the axis of a rotation is {axis!r}; it must be three numbers, not all 0.")
    n = n / np.linalg.norm(n)
    outer, cross, one = (ufl.as_matrix(A.tolist()) for A in (np.outer(n, n), np.cross(np.eye(3), n), np.eye(3)))
    return c * one + s * cross + (1.0 - c) * outer


@dataclass(frozen=True)
class _VolumeRatio:
    """The meaning of a mark on the J in which a growth term is differentiated."""

    growth: Growth


def expect_shape(material: Material, F: Expr) -> None:
    """Raise InvalidInputError unless F is a tensor of the dimension of the material."""
    if not isinstance(material, Material):
        raise InvalidInputError(
            f"this is a {type(material).__name__}, and no Material: load a file by lse.load(file), and give a potential its "
            "strain measure, Material(potential, GreenLagrange(dim))."
        )
    if not isinstance(F, Expr):
        raise InvalidInputError(f"F is a {type(F).__name__}, and no UFL tensor such as ufl.Identity(2) + ufl.grad(u).")
    if F.ufl_shape != (material.dim, material.dim):
        raise InvalidInputError(
            f"F has UFL shape {F.ufl_shape}; a {material.dim}D material needs ({material.dim}, {material.dim}), "
            "as ufl.Identity(dim) + ufl.grad(u) gives it on a mesh of that dimension, and ufl.Identity(3) + "
            "lse.fem.plane_gradient(u), or axisymmetric_gradient(u), for a solid on a mesh of two."
        )
    expect_solid_cells(F)


def expect_solid_cells(F: Expr) -> None:
    """Raise InvalidInputError if F is Identity + grad(u) of cells of a lower dimension than their space.

    There grad(u) is a gradient along the surface: F would leave its normal as it is, and every rotation of the surface would be
    a shear.
    """
    while isinstance(F, Variable):
        F = F.ufl_operands[0]
    if not isinstance(F, Sum) or {type(part) for part in F.ufl_operands} != {Identity, Grad}:
        return
    for domain in ufl.domain.extract_domains(F):
        tdim, gdim = domain.topological_dimension, domain.geometric_dimension
        if tdim < gdim:
            raise InvalidInputError(
                f"F is Identity + grad(u) on cells of dimension {tdim} in a space of {gdim}: their normal would stay as it is, "
                "and each rotation of the surface would count as shear. Mesh the body with solid cells, or write F of a "
                "membrane or shell by its tangents and its director."
            )
