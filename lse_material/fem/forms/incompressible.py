"""Mixed energies of nearly incompressible bodies: displacement, pressure and, in three fields, dilatation.

    three fields    W((theta/J)^(1/d) F) + p (J - theta)               stationary in u, p and theta
    two fields      W(J^(-1/d) F) + p (J - 1) - p^2 / (2 kappa)        stationary in u and p

J = det F, in d dimensions. The three fields take any energy as it is: its dependence on the volume is evaluated at theta, and
p becomes dW/dtheta, both in the spaces of these fields. The two fields replace that dependence by kappa (J - 1)^2 / 2. J. C.
Simo, R. L. Taylor, K. S. Pister, Comput. Methods Appl. Mech. Eng. 51, 177 (1985).

Spaces that neither lock nor oscillate: u of degree 2 with continuous p of degree 1 (triangles, tetrahedra, quadrilaterals,
hexahedra); u of degree 2 with discontinuous p of degree 1 ("DPC", quadrilaterals and hexahedra); and, with
`pressure_stabilisation`, u of degree 1 with constant p in each cell (quadrilaterals, hexahedra: mean dilatation, or F-bar), and
u and p of degree 1 (triangles, tetrahedra). theta has the space of p. D. Boffi, F. Brezzi, M. Fortin, Mixed Finite Element
Methods and Applications, Springer 2013, ch. 8.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import ufl
from ufl.core.expr import Expr

from lse_material.errors import InvalidInputError
from lse_material.fem.forms.energy import energy, expect_shape
from lse_material.fem.forms.marks import marked
from lse_material.fem.forms.orientation import not_inverted
from lse_material.fem.forms.strain import multiple
from lse_material.model.material import Material
from lse_material.model.strain import SmallStrain

JUMPS = 0.1  # weight of the jumps: the least that leaves 1 % of alternating pressures on Cook's membrane


@dataclass(frozen=True)
class Multiplier:
    """The meaning of a mark on a Lagrange multiplier, in which an energy has a saddle."""


@dataclass(frozen=True)
class Dilatation:
    """The meaning of a mark on a field that is added to 1."""


def with_volume(material: Material, F: Expr, dilatation: Expr | float = 0.0) -> Expr:
    """F with another volume: ((1 + dilatation) / J)^(1/d) F, for any energy or `QuadratureStress` of the material.

    At small strain it is F + (dilatation - tr(F - I)) I / d.

    Args:
        material: whose strain measure says whether strains are small.
        F: UFL deformation gradient, (d, d).
        dilatation: J - 1 of the result, zero for the distortion alone.

    >>> e = fem.Function(fem.functionspace(domain, ("DG", 0)))
    >>> P = lse.fem.QuadratureStress(material, lse.fem.with_volume(material, F, e), degree=1)
    >>> P.operator.ufl_shape
    (2, 2)
    """
    expect_shape(material, F)
    d, dilatation = material.dim, marked(ufl.as_ufl(dilatation), Dilatation())
    if isinstance(material.kinematics, SmallStrain):
        return F + (dilatation - _dilatation(material, F)) / d * ufl.Identity(d)
    return multiple(((1.0 + dilatation) / ufl.det(F)) ** (1.0 / d), F)


def volume_constraint(material: Material, F: Expr, p: Expr, dilatation: Expr | float = 0.0) -> Expr:
    """p (J - 1 - dilatation), NaN where J <= 0; at small strain p (tr(F - I) - dilatation).

    It makes the dilatation that of F, in the space of the pressure p. A form of stored stresses adds its derivative:

        residual = inner(P.operator, derivative(Fv, state, test)) * P.dx + derivative(constraint * dx, state, test)

    with the constraint, and P the `QuadratureStress` of Fv = with_volume(material, F, e).

    >>> constant = fem.functionspace(domain, ("DG", 0))
    >>> p, e = fem.Function(constant), fem.Function(constant)
    >>> work = lse.fem.volume_constraint(material, F, p, e) * dx
    """
    change = _dilatation(material, F) - marked(ufl.as_ufl(dilatation), Dilatation())
    work = marked(p, Multiplier()) * change
    return not_inverted(material.kinematics, F) * work


def three_field_energy(material: Material, F: Expr, p: Expr, dilatation: Expr, **options: Any) -> Expr:
    """W((theta/J)^(1/d) F) + p (J - theta) of theta = 1 + dilatation, a UFL scalar: `energy` without volumetric locking.

    p and the dilatation are zero in the undeformed body. An `EnergyProblem` finds its saddle, and knows p as its multiplier.

    Args:
        material: any material; one with a high bulk modulus is what this is for.
        F: UFL deformation gradient.
        p: pressure, positive in tension; the Lagrange multiplier.
        dilatation: theta - 1, of the same space as p.
        options: of `lse.fem.energy`.

    Raises:
        InvalidInputError: as `lse.fem.energy`.

    >>> from basix.ufl import element, mixed_element
    >>> squares = mesh.create_unit_square(MPI.COMM_WORLD, 4, 4, mesh.CellType.quadrilateral)
    >>> parts = [element("Lagrange", "quadrilateral", 1, shape=(2,)), *[element("DG", "quadrilateral", 0)] * 2]
    >>> state = fem.Function(fem.functionspace(squares, mixed_element(parts)))
    >>> w, p, e = ufl.split(state)
    >>> Pi = lse.fem.three_field_energy(material, ufl.Identity(2) + ufl.grad(w), p, e) * ufl.dx(degree=2)
    >>> saddle = lse.fem.EnergyProblem(Pi, state, petsc_options_prefix="saddle_")
    >>> saddle.multipliers  # as many negative eigenvalues belong to p, one in each cell
    16
    """
    W = energy(material, with_volume(material, F, dilatation), **options)
    return W + volume_constraint(material, F, p, dilatation)


def two_field_energy(material: Material, F: Expr, p: Expr, *, bulk: Expr | float = np.inf, **options: Any) -> Expr:
    """W(J^(-1/d) F) + p (J - 1) - p^2 / (2 bulk), a UFL scalar: the distortion's part of W, and a bulk modulus.

    Args:
        material: any material. How W depends on the volume has no effect.
        F: UFL deformation gradient.
        p: pressure, positive in tension.
        bulk: bulk modulus, a number or a UFL scalar; infinite for a body that keeps its volume.
        options: of `lse.fem.energy`.

    Raises:
        InvalidInputError: bulk is not positive; and as `lse.fem.energy`.

    >>> p = fem.Function(fem.functionspace(domain, ("DG", 0)))
    >>> W = lse.fem.two_field_energy(material, F, p, bulk=1e4)
    """
    number = isinstance(bulk, (int, float, np.number))
    if number and not bulk > 0.0:
        raise InvalidInputError(f"bulk is {bulk!r}; it must be a positive modulus, or infinite.")
    W = energy(material, with_volume(material, F), **options) + volume_constraint(material, F, p)
    return W if number and np.isinf(bulk) else W - p**2 / (2.0 * bulk)


def f_bar_energy(material: Material, F: Expr, p: Expr, dilatation: Expr, dx: ufl.Measure, **options: Any) -> ufl.Form:
    """The three-field energy with the volume of each cell's centre, a functional: F-bar with an energy.

    u is of degree 1 on quadrilaterals or hexahedra; p and the dilatation are constant in each cell. F at a point gets the
    determinant that it has in the centre, as in E. A. de Souza Neto et al., Int. J. Solids Struct. 33, 3277 (1996); the stress
    is here the derivative of an energy, so that the tangent is symmetric.

    Args:
        material: any material.
        F: UFL deformation gradient.
        p: pressure, positive in tension.
        dilatation: theta - 1.
        dx: measure with the rule of W.
        options: of `lse.fem.energy`.

    >>> constant = fem.functionspace(domain, ("DG", 0))
    >>> p, e = fem.Function(constant), fem.Function(constant)
    >>> Pi = lse.fem.f_bar_energy(material, F, p, e, ufl.dx(degree=2))
    """
    W = energy(material, with_volume(material, F, dilatation), **options) * dx
    return W + volume_constraint(material, F, p, dilatation) * dx(degree=1)


def pressure_stabilisation(p: Expr, modulus: Expr | float, dx: ufl.Measure = ufl.dx) -> ufl.Form:
    """A functional to add for pairs of u and p that are not stable; it vanishes with the size of the cells.

    -int (p - mean of p)^2 / (2 modulus) dx, with the mean over each cell, for u and p of degree 1 on triangles and tetrahedra.
    P. Bochev, C. Dohrmann, M. Gunzburger, SIAM J. Numer. Anal. 44, 82 (2006).

    -int h [p]^2 / (2 modulus) dS, with the jump from cell to cell, for p constant in each cell: pressures alternate without it.
    D. Silvester, N. Kechkar, Comput. Methods Appl. Mech. Eng. 79, 71 (1990).

    Args:
        p: pressure.
        modulus: of the size of the shear modulus.
        dx: measure of the cells, or of the facets between them, `ufl.dS`; a quadrature degree has no effect.

    >>> p = fem.Function(fem.functionspace(domain, ("Lagrange", 1)))
    >>> fem.assemble_scalar(fem.form(lse.fem.pressure_stabilisation(p, 1.0)))
    0.0
    """
    if dx.integral_type() == "interior_facet":
        domain = ufl.domain.extract_unique_domain(p)
        size = ufl.avg(abs(ufl.JacobianDeterminant(domain))) ** (1.0 / domain.geometric_dimension)
        return -JUMPS * size * ufl.jump(p) ** 2 / (2.0 * modulus) * dx(degree=2)
    density = -(p**2) / (2.0 * modulus)
    return density * dx(degree=2) - density * dx(degree=1)  # a rule of one point takes the square of the mean


def _dilatation(material: Material, F: Expr) -> Expr:
    """J - 1, or its linear part at small strain."""
    if isinstance(material.kinematics, SmallStrain):
        return ufl.tr(F) - material.dim
    return ufl.det(F) - 1.0
