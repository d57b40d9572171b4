"""Bodies that a plane describes: displacement gradients in three dimensions of displacements in two.

    F = I + H,    H = [[grad u, c_12], [0, c_3]]      plane strain (c = 0), plane stress (c makes the stress across vanish)
    H = [[grad u, 0], [0, u_r / r]]                   axisymmetric, on a mesh of (x, y) = (r, z)

Each takes a displacement or a test function, so that the virtual work is inner(P, H(v)), and F goes into every energy and
stress of a material in three dimensions. The third axis is across the plane: the thickness, or the circumference.
"""

from typing import Any

import numpy as np
import ufl
from dolfinx.mesh import Mesh
from mpi4py import MPI
from ufl.core.expr import Expr

from lse_material.errors import InvalidInputError

ON_AXIS = 1e-10  # of the size of a cell: a smaller radius is zero up to rounding


def plane_gradient(u: Expr, across: Expr | float = 0.0) -> Expr:
    """The displacement gradient (3, 3) of a body in the plane of its mesh.

    Args:
        u: displacement, or a test function for it: a UFL vector with two components.
        across: c, the change of the third column of F. A scalar c_3 = F33 - 1, zero in plane strain, or (F13, F23, F33 - 1). In
            plane stress it is an unknown field, in which the energy is stationary at each point. A scalar suffices if the
            plane is a plane of symmetry of the material; without it, the stress across vanishes only with all three.

    Raises:
        InvalidInputError: u has not two components, or lives on a mesh of another dimension; or across is no such field.

    >>> W3 = lse.fem.energy(solid, ufl.Identity(3) + lse.fem.plane_gradient(u))  # plane strain
    """
    _expect_plane(u)
    across = ufl.as_ufl(across)
    if across.ufl_shape not in ((), (3,)):
        raise InvalidInputError(
            f"across has UFL shape {across.ufl_shape}: give the scalar F33 - 1, or the vector (F13, F23, F33 - 1)."
        )
    c = [across[i] for i in range(3)] if across.ufl_shape else [0.0, 0.0, across]
    H = ufl.grad(u)
    return ufl.as_matrix([[H[0, 0], H[0, 1], c[0]], [H[1, 0], H[1, 1], c[1]], [0.0, 0.0, c[2]]])


def axisymmetric_gradient(u: Expr) -> Expr:
    """The displacement gradient (3, 3) of a body of revolution in the axes (r, z, circumference).

    On the axis the stretch of the circumference is that of the radius: prescribe u_r = 0 there. Integrals take `circumference`
    as a factor.

    Args:
        u: displacement (u_r, u_z), or a test function for it, on a mesh of (r, z), r >= 0.

    Raises:
        InvalidInputError: u has not two components, or the mesh is not of two dimensions or reaches to r < 0.

    >>> H = lse.fem.axisymmetric_gradient(u)
    >>> H.ufl_shape
    (3, 3)
    """
    domain = _expect_plane(u)
    r, H = _radius(domain), ufl.grad(u)
    off_axis = ufl.gt(ufl.real(r**2), ufl.real(ON_AXIS**2 * abs(ufl.JacobianDeterminant(domain))))
    around = ufl.conditional(off_axis, u[0] / r, H[0, 0])
    return ufl.as_matrix([[H[0, 0], H[0, 1], 0.0], [H[1, 0], H[1, 1], 0.0], [0.0, 0.0, around]])


def circumference(domain: Any) -> Expr:
    """2 pi r on a mesh of (r, z), a UFL scalar: the volume of a body of revolution is that of its factor times `ufl.dx`.

    The same factor belongs into integrals over facets (tractions).

    Raises:
        InvalidInputError: the mesh is not of two dimensions, or reaches to r < 0.

    >>> ring = lse.fem.circumference(domain)
    >>> round(fem.assemble_scalar(fem.form(ring * dx)) / np.pi, 6)  # a cylinder of radius 1 and height 1
    1.0
    """
    if not isinstance(domain, (Mesh, ufl.Mesh)):
        raise InvalidInputError(f"the domain is a {type(domain).__name__}; it must be a mesh of (r, z).")
    return 2.0 * ufl.pi * _radius(domain.ufl_domain() if isinstance(domain, Mesh) else domain)


def _expect_plane(u: Expr) -> Any:
    """The UFL domain of a displacement in a plane."""
    if not isinstance(u, Expr):
        raise InvalidInputError(
            f"the displacement is a {type(u).__name__}; it must be a UFL expression: a Function, or a part of one."
        )
    domain = ufl.domain.extract_unique_domain(u)
    if u.ufl_shape != (2,) or domain is None or domain.geometric_dimension != 2:
        raise InvalidInputError(
            f"the displacement has UFL shape {u.ufl_shape}"
            + ("" if domain is None else f" on a mesh of dimension {domain.geometric_dimension}")
            + ": a body in a plane has two components on a mesh of dimension 2, as ufl.split of a mixed function gives them."
        )
    return domain


def _radius(domain: Any) -> Expr:
    """The first coordinate, on a mesh on which it is not negative; collective."""
    mesh = domain.ufl_cargo()
    x = mesh.geometry.x
    least = mesh.comm.allreduce(float(x[:, 0].min(initial=0.0)), MPI.MIN)
    size = mesh.comm.allreduce(float(np.abs(x).max(initial=0.0)), MPI.MAX)
    if domain.geometric_dimension != 2 or least < -ON_AXIS * size:
        raise InvalidInputError(
            f"the mesh has dimension {domain.geometric_dimension} and reaches to r = {least:.6g}: a body of revolution is "
            "meshed in (r, z), r >= 0, with r as first coordinate."
        )
    return ufl.SpatialCoordinate(domain)[0]
