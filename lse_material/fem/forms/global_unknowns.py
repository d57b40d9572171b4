"""Unknowns of the whole body, one number each, beside the fields of a space: multipliers of what is prescribed in the mean.

    Pi(u, p) = int W dx - p (G(u) - g):      dPi/dp = 0 prescribes G = g, and p = dPi/dg is the force that does work on g

With the enclosed volume for G, p is the pressure in a cavity; with the mean of a displacement, a force. DOLFINx's mixed spaces
have no such unknowns. Here each is a constant of every cell (degree 0, discontinuous), of which the map of degrees of freedom
makes one for all cells. Forms, Dirichlet conditions, solvers and checkpoints take it as any other field.
"""

from typing import Any

import numpy as np
import ufl
from basix.ufl import element, mixed_element
from dolfinx import fem, la
from dolfinx.common import IndexMap
from dolfinx.graph import adjacencylist
from mpi4py import MPI
from ufl.core.expr import Expr
from ufl.indexed import Indexed

from lse_material._arrays import Array, whole_number
from lse_material.errors import InvalidInputError
from lse_material.fem._mpi import integral
from lse_material.fem.forms.incompressible import Multiplier
from lse_material.fem.forms.marks import marked
from lse_material.fem.forms.measures import with_quadrature_degree

TAG = 2186  # of MPI messages while an index map is made, unlike those of DOLFINx


def with_global_unknowns(V: fem.FunctionSpace, count: int = 1) -> fem.FunctionSpace:
    """The mixed space of the fields of V and of further unknowns that are each one number for the whole body; collective.

    `ufl.split` of a function gives the fields and then the numbers; conditions on the fields stand on sub-spaces, as in any
    mixed space. The first process with cells has the numbers; the row and column of each couple to every other unknown.

    Args:
        V: a space of one field, or a mixed space.
        count: of the numbers.

    Raises:
        InvalidInputError: count is below 1, or V is a sub-space or has global unknowns already.

    >>> space = lse.fem.with_global_unknowns(V)
    >>> space.dofmap.index_map.size_global - V.dofmap.index_map.size_global * V.dofmap.index_map_bs
    1
    """
    whole_number("count", count, 1)
    if not isinstance(V, fem.FunctionSpace):
        raise InvalidInputError(f"V is a {type(V).__name__}; give the function space of the fields.")
    if V.component():
        raise InvalidInputError("V is a sub-space: collapse it first, or give the whole space.")
    domain, own = V.mesh, V.ufl_element()
    fields = list(own.sub_elements) if own.num_sub_elements > 0 and own.block_size == 1 else [own]
    if V.dofmap.index_map.size_global != fem.functionspace(domain, own).dofmap.index_map.size_global:
        raise InvalidInputError("V has global unknowns already: take all of them in one call, count=.")
    number = element("DG", domain.basix_cell(), 0, dtype=domain.geometry.x.dtype)
    whole = fem.functionspace(domain, mixed_element([*fields, *[number] * count]))
    parts = [whole.sub(i).dofmap.list for i in range(len(fields), len(fields) + count)]
    dofmap = _with_common_entries(whole.dofmap, parts)
    made = type(whole._cpp_object)(domain._cpp_object, whole.element._cpp_object, dofmap)
    return fem.FunctionSpace(domain, whole.ufl_element(), made)


def global_constraint(multiplier: Expr, functional: ufl.Form, value: Expr | float) -> ufl.Form:
    """-p (G(u) - g), a functional to add to an energy, which prescribes G = g; collective.

    `EnergyProblem` knows p as a Lagrange multiplier. At a solution p is the derivative of the energy by g, and the term
    vanishes. g may be the load of a `LoadPath` or an `ArcLength`, which passes the limit points of p; stability is that under
    given g.

    Args:
        multiplier: p, a global unknown.
        functional: G, a UFL form without test function: an `enclosed_volume`, the mean of a displacement.
        value: g, a number, `fem.Constant`, or expression of these.

    Raises:
        InvalidInputError: the functional is no form without test function, or integrates over nothing, or the multiplier is no
            scalar part of a function.

    >>> state = fem.Function(lse.fem.with_global_unknowns(V))
    >>> w, p = ufl.split(state)
    >>> Pi = lse.fem.energy(material, ufl.Identity(2) + ufl.grad(w)) * dx
    >>> Pi += lse.fem.global_constraint(p, w[0] * dx, 0.1)  # the mean of w[0] is 0.1, and p the force that makes it so
    """
    if not isinstance(functional, ufl.Form) or functional.arguments() or not functional.integrals():
        raise InvalidInputError("the functional is a UFL form without test function, such as enclosed_volume(u, ds).")
    comm = _comm_of_global_unknown(multiplier)
    p = marked(multiplier, Multiplier())
    functional = with_quadrature_degree(functional)
    ones = [i.reconstruct(integrand=ufl.as_ufl(1.0)) for i in functional.integrals()]
    sizes = [integral(comm, fem.form(ufl.Form([one]))) for one in ones]
    largest = int(np.argmax(sizes))
    if not sizes[largest] > 0.0:
        raise InvalidInputError("the functional integrates over nothing: do its tags mark any cell or facet?")
    work = ufl.Form([i.reconstruct(integrand=-p * i.integrand()) for i in functional.integrals()])
    return work + ufl.Form([ones[largest].reconstruct(integrand=p * value / sizes[largest])])


def _comm_of_global_unknown(p: Expr) -> Any:
    """The communicator of the function that p is a part of; refuses what is no global unknown. Collective."""
    f, start = (p.ufl_operands[0], int(p.ufl_operands[1][0])) if isinstance(p, Indexed) else (p, 0)
    if isinstance(f, fem.Function) and p.ufl_shape == ():
        V = f.function_space
        spaces = [V.sub(i) for i in range(V.num_sub_spaces)] if f.ufl_shape else [V]
        starts = np.cumsum([0, *(int(np.prod(s.value_shape, dtype=int)) for s in spaces)]).tolist()
        dofs = spaces[starts.index(start)].dofmap.list if start in starts[:-1] else np.arange(2)
        if V.mesh.comm.allreduce(len(np.unique(dofs)) <= 1, MPI.LAND):
            return V.mesh.comm
    raise InvalidInputError(
        "the multiplier is no global unknown: take a scalar that ufl.split gives of a function in with_global_unknowns(V)."
    )


def _with_common_entries(dofmap: fem.DofMap, parts: list[Array]) -> Any:
    """The map in which all entries of each part are one, which the first rank with cells owns; collective."""
    old = dofmap.index_map
    comm, owned = old.comm, old.size_local
    owner = comm.allreduce(comm.rank if owned else comm.size, MPI.MIN)
    kept = np.ones(owned + old.num_ghosts, dtype=bool)
    for part in parts:
        kept[part.ravel()] = False
    first, own = comm.rank == owner, int(kept[:owned].sum())
    size = own + first * len(parts)
    start = comm.exscan(size) or 0  # None on rank 0
    numbers = la.vector(old, dtype=np.int64)  # of the entries that stay, in the new map
    numbers.array[:owned][kept[:owned]] = start + np.arange(own)
    numbers.scatter_forward()
    ghosts, owners = numbers.array[owned:][kept[owned:]], old.owners[kept[owned:]]
    common = comm.bcast(start + own, owner) + np.arange(len(parts), dtype=np.int64)
    if not first:
        ghosts, owners = np.append(ghosts, common), np.append(owners, np.full_like(owners, owner, shape=len(parts)))
    index_map = IndexMap(comm, size, ghosts, owners, TAG)
    places = np.zeros(len(kept), dtype=np.int32)
    places[:owned][kept[:owned]] = np.arange(own)
    places[owned:][kept[owned:]] = size + np.arange(int(kept[owned:].sum()))
    for k, part in enumerate(parts):
        places[part.ravel()] = own + k if first else size + int(kept[owned:].sum()) + k
    cells = adjacencylist(places[dofmap.list])
    return type(dofmap._cpp_object)(dofmap.dof_layout, index_map, 1, cells._cpp_object, 1)
