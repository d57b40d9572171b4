"""Conditions, mixed spaces and a square with diffusion that several tests of fem use."""

import basix.ufl
import numpy as np
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

import lse_material as lse
from lse_material.fem import CahnHilliard, Evolution, micromorphic, potential_energy
from tests.materials import quadratic_well

WORLD = MPI.COMM_WORLD


def clamped(V, displacement):
    """Displacements given on the whole boundary."""
    domain = V.mesh
    tdim = domain.topology.dim
    domain.topology.create_connectivity(tdim - 1, tdim)
    rim = fem.Function(V)
    rim.interpolate(displacement)
    return fem.dirichletbc(rim, fem.locate_dofs_topological(V, tdim - 1, mesh.exterior_facet_indices(domain.topology)))


def mixed(domain, *parts):
    """A function of a mixed space; parts are degrees of scalars, or (degree, shape)."""
    cell = domain.basix_cell()
    elements = [
        basix.ufl.element("Lagrange", cell, part)
        if isinstance(part, int)
        else basix.ufl.element("Lagrange", cell, part[0], shape=part[1])
        for part in parts
    ]
    return fem.Function(fem.functionspace(domain, basix.ufl.mixed_element(elements)))


def set_part(state, index, values):
    """Interpolate `values` of x into one part of the state."""
    V, dofs = state.function_space.sub(index).collapse()
    part = fem.Function(V)
    part.interpolate(values)
    state.x.array[dofs] = part.x.array
    state.x.scatter_forward()


def total(form, comm=WORLD):
    """The integral over all ranks."""
    return comm.allreduce(fem.assemble_scalar(fem.form(form)))


STRAIN = 0.1  # of the variants


def variants(rho=1.5):
    """Wells at (c, e2) = (0, 0) and (1, +-STRAIN), of (c, e1, e2, e6)."""
    K = np.diag([64.0, 40.0, 80.0, 40.0])
    centres = [[0.0, 0.0, 0.0, 0.0], [1.0, 0.0, STRAIN, 0.0], [1.0, 0.0, -STRAIN, 0.0]]
    return lse.SoftMinimum(tuple(quadratic_well(centre, K) for centre in centres), rho)


class Solid:
    """A square that is held at its boundary, with a wave in c and a smaller one in u."""

    def __init__(self, comm, cells=8, name="solid", supply=None, mean=0.46, **kwargs):
        self.domain = mesh.create_unit_square(comm, cells, cells)
        self.state = mixed(self.domain, 1, 1, (2, (2,)), 1)
        c, _, u, eta = ufl.split(self.state)
        E = ufl.sym(ufl.grad(u))
        root = np.sqrt(2.0)
        self.x = [c, (E[0, 0] + E[1, 1]) / root, (E[0, 0] - E[1, 1]) / root, root * E[0, 1]]
        energy = potential_energy(variants(), self.x) + 0.03 * ufl.inner(ufl.grad(c), ufl.grad(c))
        energy += micromorphic(self.x[2], eta, length=0.03, modulus=80.0, penalty=80.0)
        V = self.state.function_space.sub(2)
        self.domain.topology.create_connectivity(1, 2)
        sides = mesh.exterior_facet_indices(self.domain.topology)
        held = fem.locate_dofs_topological((V, V.collapse()[0]), 1, sides)
        set_part(
            self.state,
            0,
            lambda x: mean + 0.05 * np.cos(2 * np.pi * x[0]) * np.cos(np.pi * x[1]) + 0.02 * np.cos(np.pi * x[0]),
        )
        set_part(
            self.state,
            2,
            lambda x: 1e-3 * np.vstack([np.sin(np.pi * x[0]) * np.sin(2 * np.pi * x[1]), np.zeros_like(x[0])]),
        )
        self.flow = CahnHilliard(
            energy * ufl.dx(degree=4),
            self.state,
            petsc_options_prefix=f"{name}_{comm.size}_",
            bcs=[fem.dirichletbc(fem.Function(V.collapse()[0]), held, V)],
            supply=None if supply is None else supply(self.domain, self.state),
            **kwargs,
        )

    def evolution(self, **kwargs):
        return Evolution(self.flow, 1e-5, tolerance=5e-3, **kwargs)
