"""Cook's membrane, 48 long and tapered from 44 to 16, clamped on the left and sheared on the right."""

import numpy as np
import ufl
from basix.ufl import element, mixed_element
from dolfinx import fem, mesh
from mpi4py import MPI

import lse_material as lse

TIP = (
    6.932  # of neo-Hookean MU, BULK under LOAD: Q2-P1 of 64 x 64 gives 6.9307, P2-P1 of 32 x 32 6.9302, both from below
)
MU, BULK, LOAD = 80.1938, 80.1938e4, 6.25
SPACES = {
    "P2-P1": ("triangle", 2, ("Lagrange", 1)),
    "Q2-P1": ("quadrilateral", 2, ("DPC", 1)),
    "Q1-P0": ("quadrilateral", 1, ("DG", 0)),
    "F-bar": ("quadrilateral", 1, ("DG", 0)),
    "P1-P1": ("triangle", 1, ("Lagrange", 1)),
}


def neo_hookean(dim=2, mu=MU, bulk=BULK):
    """W = mu/2 (J^(-2/3) I1 - 3) + bulk/2 (J - 1)^2."""
    mode = lse.ConvexNetwork.from_arrays([], [[[mu / 2, 0.0, bulk / 2]]], [[0.0]])
    return lse.Material(lse.SoftMinimum((mode,), 1.0), lse.IsotropicInvariants(dim))


class Cook:
    """The problem of displacement, pressure and (without a bulk modulus of its own) dilatation, under the load q = 0."""

    def __init__(self, n, kind, material=None, bulk=None, stabilised=True, comm=MPI.COMM_WORLD, **options):
        material = neo_hookean() if material is None else material
        cell, self.degree, pressure = SPACES[kind]
        diagonal = mesh.DiagonalType.left
        domain = mesh.create_unit_square(comm, n, n, mesh.CellType[cell], diagonal=diagonal)
        X, Y = domain.geometry.x[:, 0].copy(), domain.geometry.x[:, 1].copy()
        domain.geometry.x[:, 0], domain.geometry.x[:, 1] = 48 * X, 44 * X + Y * (44 - 28 * X)
        scalars = [element(pressure[0], cell, pressure[1])] * (2 if bulk is None else 1)
        V = fem.functionspace(domain, mixed_element([element("Lagrange", cell, self.degree, shape=(2,)), *scalars]))
        self.domain, self.state = domain, fem.Function(V)
        u, p, *e = ufl.split(self.state)
        self.F = ufl.Identity(2) + ufl.grad(u)
        dx = ufl.dx(degree=2 * self.degree, domain=domain)
        if bulk is not None:
            Pi = lse.fem.two_field_energy(material, self.F, p, bulk=bulk) * dx
        elif kind == "F-bar":
            Pi = lse.fem.f_bar_energy(material, self.F, p, *e, dx)
        else:
            Pi = lse.fem.three_field_energy(material, self.F, p, *e) * dx
        if stabilised and self.degree == 1:
            measure = ufl.dx if kind == "P1-P1" else ufl.dS
            Pi += lse.fem.pressure_stabilisation(p, MU, measure(domain=domain))
        self.load = fem.Constant(domain, 0.0)
        right = mesh.locate_entities_boundary(domain, 1, lambda x: np.isclose(x[0], 48.0))
        tags = mesh.meshtags(domain, 1, right, np.ones(len(right), dtype=np.int32))
        self.energy = Pi - self.load * u[1] * ufl.Measure("ds", domain, subdomain_data=tags)(1)
        space = V.sub(0).collapse()[0]
        left = mesh.locate_entities_boundary(domain, 1, lambda x: np.isclose(x[0], 0.0))
        dofs = fem.locate_dofs_topological((V.sub(0), space), 1, left)
        self.bcs = [fem.dirichletbc(fem.Function(space), dofs, V.sub(0))]
        prefix = f"cook_{n}_{kind}_{id(self)}_"
        self.problem = lse.fem.EnergyProblem(
            self.energy, self.state, bcs=self.bcs, petsc_options_prefix=prefix, **options
        )

    def apply(self, load):
        """Set the load."""
        self.load.value = load

    def tip(self):
        """Vertical displacement of the upper right corner."""
        u = self.state.sub(0).collapse()
        x = u.function_space.tabulate_dof_coordinates()
        at = np.flatnonzero(np.abs(x - [48.0, 60.0, 0.0]).max(axis=1) < 1e-9)
        values = u.function_space.mesh.comm.allgather(u.x.array[2 * at + 1])
        return float(np.concatenate(values)[0])
