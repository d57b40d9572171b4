"""Energies that give phase boundaries a width and an energy, so that laminates do not depend on the mesh; and viscosity.

Without a gradient term the microstructure becomes as fine as the mesh. With kappa = modulus * length^2,

    micromorphic:  kappa/2 |grad phi|^2 + penalty/2 |grad u - phi|^2          phi a tensor field of its own, P1 will do
    C0 interior penalty:  kappa/2 |grad grad u|^2 and jumps of grad u at facets                    u of degree 2 or more

a plane boundary costs int sqrt(2 kappa (W - tangent)) de per area (the same for both, as penalty -> infinity for the first).
S. Forest, J. Eng. Mech. 135, 117 (2009); G. Engel et al., Comput. Methods Appl. Mech. Eng. 191, 3669 (2002).
"""

from typing import Any

import numpy as np
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI
from ufl.core.expr import Expr

from lse_material._arrays import positive
from lse_material.errors import InvalidInputError
from lse_material.fem._cells import require_degree, require_one_shape
from lse_material.fem._mpi import warn_together
from lse_material.fem.forms.measures import with_quadrature_degree

CELLS_PER_LENGTH = 4.0  # with fewer cells a boundary is pinned to the mesh


class MeshWarning(UserWarning):
    """A mesh is too coarse for phase boundaries of the given length.

    >>> import warnings
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     cells = lse.fem.check_resolution(domain, 0.1)
    >>> [each.category.__name__ for each in caught]
    ['MeshWarning']
    """


def micromorphic(gradient: Expr, phi: Expr, *, length: float, modulus: float, penalty: float) -> Expr:
    """The energy density of a field phi that follows `gradient` and resists changes over less than `length`.

    Args:
        gradient: of the displacement, any shape; F - I or a strain.
        phi: UFL expression of the same shape, a field of its own.
        length: about the width of a boundary.
        modulus: of the order of the elastic moduli: kappa = modulus length^2.
        penalty: energy per strain^2 that ties phi to `gradient`; 10 moduli or more. Boundaries cost a share of about
            modulus/penalty less than without it.

    Raises:
        InvalidInputError: a number is not positive, or the shapes differ.

    >>> phi = fem.Function(fem.functionspace(domain, ("Lagrange", 1)))  # follows F11 - F22; one of the unknowns
    >>> energy = W + lse.fem.micromorphic(F[0, 0] - F[1, 1], phi, length=0.5, modulus=4.0, penalty=40.0)
    >>> round(fem.assemble_scalar(fem.form(energy * dx)), 6)
    0.004307
    """
    _positive(length=length, modulus=modulus, penalty=penalty)
    _require_shape("phi", phi, gradient)
    difference, change = gradient - phi, ufl.grad(phi)
    return 0.5 * modulus * length**2 * ufl.inner(change, change) + 0.5 * penalty * ufl.inner(difference, difference)


def interior_penalty(u: fem.Function, *, length: float, modulus: float, degree: int, penalty: float = 10.0) -> ufl.Form:
    """The energy of second gradients of u, whose first gradient may jump between cells: a functional with its own measures.

    Args:
        u: of degree 2 or more.
        length: about the width of a boundary.
        modulus: of the order of the elastic moduli: kappa = modulus length^2.
        degree: of the quadrature in cells. On facets the energy and its derivatives have UFL's estimate for the energy.
        penalty: of jumps, in units of kappa / cell size; 10 serves degree 2.

    Raises:
        InvalidInputError: a number is not positive, or u is of degree 1.

    >>> U = fem.Function(fem.functionspace(domain, ("Lagrange", 2, (2,))))
    >>> energy = lse.fem.energy(material, ufl.Identity(2) + ufl.grad(U)) * ufl.dx(degree=2)
    >>> energy += lse.fem.interior_penalty(U, length=0.5, modulus=4.0, degree=2)
    >>> round(fem.assemble_scalar(fem.form(energy)), 6)
    0.004307
    """
    _positive(length=length, modulus=modulus, penalty=penalty)
    require_degree(degree)
    if not isinstance(u, fem.Function):
        raise InvalidInputError(f"u is a {type(u).__name__}; interior_penalty takes a Function of its own space.")
    if u.function_space.element.basix_element.degree < 2:
        raise InvalidInputError("second gradients need u of degree 2 or more; take `micromorphic` for degree 1.")
    kappa, n = modulus * length**2, ufl.FacetNormal(u.function_space.mesh)
    second = ufl.grad(ufl.grad(u))
    bending = ufl.avg(ufl.dot(ufl.dot(second, n), n))
    jump = ufl.jump(ufl.grad(u), n)
    size = ufl.avg(ufl.CellDiameter(u.function_space.mesh))
    return with_quadrature_degree(
        0.5 * kappa * ufl.inner(second, second) * ufl.dx(degree=degree)
        - kappa * ufl.inner(bending, jump) * ufl.dS
        + 0.5 * penalty * kappa / size * ufl.inner(jump, jump) * ufl.dS
    )


def viscous(gradient: Expr, before: Expr, *, viscosity: float, dt: float) -> Expr:
    """The energy density viscosity/(2 dt) |gradient - before|^2, whose minimum is an implicit step of a gradient flow.

    >>> before = fem.Function(V)
    >>> energy = W + lse.fem.viscous(ufl.grad(u), ufl.grad(before), viscosity=1.0, dt=0.1)
    >>> round(fem.assemble_scalar(fem.form(energy * dx)), 6)
    0.004307
    """
    viscosity, dt = positive("viscosity", viscosity), positive("dt", dt)
    _require_shape("before", before, gradient)
    return viscosity / (2.0 * dt) * ufl.inner(gradient - before, gradient - before)


def check_resolution(domain: mesh.Mesh, length: float) -> float:
    """Cells per `length` where the mesh is coarsest, the same on every rank. Collective; call it once for a new mesh.

    Raises:
        InvalidInputError: the mesh has cells of several shapes.

    Warns:
        MeshWarning: they are fewer than 4.

    >>> float(lse.fem.check_resolution(domain, 1.0))
    4.0
    """
    positive("length", length)
    if not isinstance(domain, mesh.Mesh):
        raise InvalidInputError(f"check_resolution takes a dolfinx mesh, and not a {type(domain).__name__}.")
    require_one_shape(domain, "check_resolution")
    tdim = domain.topology.dim
    cells = np.arange(domain.topology.index_map(tdim).size_local, dtype=np.int32)
    largest = float(domain.h(tdim, cells).max()) if len(cells) else 0.0
    largest = domain.comm.allreduce(largest, MPI.MAX)
    if tdim > 1:
        largest /= np.sqrt(tdim)  # the diameter of a cell is its diagonal
    if length < CELLS_PER_LENGTH * largest * (1.0 - 1e-9):
        text = (
            f"the cells are up to {largest:.3g} wide, and a boundary of length {length:.3g} needs "
            f"{length / CELLS_PER_LENGTH:.3g}: it will be pinned to the mesh."
        )
        warn_together(domain.comm, text, MeshWarning)
    return length / largest


def _require_shape(name: str, value: Any, gradient: Any) -> None:
    shape, needed = (getattr(one, "ufl_shape", ()) for one in (value, gradient))
    if shape != needed:
        raise InvalidInputError(f"{name} has the shape {shape}, the gradient {needed}: they must be equal.")


def _positive(**values: float) -> None:
    for name, value in values.items():
        positive(name, value)
