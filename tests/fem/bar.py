"""A bar of length 1 with two phases, W_1 = e^2/2 and W_2 = (e - 1)^2/2 + 0.05, and what is known of it exactly.

J. L. Ericksen, J. Elasticity 5, 191 (1975): both phases coexist at the Maxwell stress 0.05, for any transition scale.
"""

import numpy as np
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI
from scipy.integrate import quad
from scipy.optimize import brentq

import lse_material as lse
from lse_material.fem import EnergyProblem, LoadPath, interior_penalty, potential_energy
from tests.materials import well

LENGTH = 0.02  # of a boundary between the phases
MAXWELL = 0.05  # the difference of the wells' energies over their distance
POTENTIAL = lse.SoftMinimum((well(1.0, 0.0), well(1.0, 1.0, MAXWELL)), 0.03)
RIDGE = 0.5 + MAXWELL  # W - MAXWELL e is even about it
LEVELS = np.concatenate([np.linspace(0.0, 1.3, 14), np.linspace(1.2, 0.0, 13)])


def homogeneous_stress(e):
    """Of a bar in which the strain is the same everywhere."""
    return float(POTENTIAL.gradient([[e]])[0, 0])


HALF = brentq(lambda y: homogeneous_stress(RIDGE + y) - MAXWELL, 1e-3, 0.6, xtol=1e-15)
LOW, HIGH = RIDGE - HALF, RIDGE + HALF  # the strains that coexist


def common_tangent(e):
    """The energy of a bar of both phases, without that of the boundary."""
    return float(POTENTIAL.energy([[LOW]])[0]) + MAXWELL * (e - LOW)


def boundary_energy():
    """int sqrt(2 LENGTH^2 (W - tangent)) de between the two strains that coexist."""
    excess = lambda e: max(float(POTENTIAL.energy([[e]])[0]) - common_tangent(e), 0.0)  # noqa: E731
    return quad(lambda e: np.sqrt(2.0 * LENGTH**2 * excess(e)), LOW, HIGH, epsabs=1e-13, limit=300)[0]


class Bar:
    """`cells` cells of degree 2; second gradients give boundaries their energy. The end `end` is moved."""

    def __init__(self, cells, comm=MPI.COMM_WORLD):
        domain = mesh.create_interval(comm, cells, [0.0, 1.0])
        V = fem.functionspace(domain, ("Lagrange", 2))
        self.u = fem.Function(V, name="displacement")
        self.end = fem.Constant(domain, 0.0)
        left, right = (fem.locate_dofs_geometrical(V, lambda x, at=at: np.isclose(x[0], at)) for at in (0.0, 1.0))
        self.moved = fem.dirichletbc(self.end, right, V)
        W = potential_energy(POTENTIAL, [self.u.dx(0)]) * ufl.dx(degree=6)
        self.problem = EnergyProblem(
            W + interior_penalty(self.u, length=LENGTH, modulus=1.0, degree=6),
            self.u,
            bcs=[fem.dirichletbc(0.0, left, V), self.moved],
            petsc_options_prefix=f"bar_{id(self)}_",
        )
        share = 1.0 / (1.0 + ufl.exp((RIDGE - self.u.dx(0)) / POTENTIAL.transition_scale))
        self._share = fem.form(share * ufl.dx(degree=6))

    def move(self, elongation):
        self.end.value = elongation

    def stress(self):
        return self.problem.reaction(self.moved)

    def fraction(self):
        """The share of the second phase."""
        return self.u.function_space.mesh.comm.allreduce(fem.assemble_scalar(self._share))

    def start_with_both_phases(self):
        """Half of each, with the elongation that goes with it."""
        width = 0.2 * LENGTH
        self.u.interpolate(lambda x: LOW * x[0] + (HIGH - LOW) * width * np.logaddexp(0.0, (x[0] - 0.5) / width))
        self.move(0.5 * (LOW + HIGH))


def load_path(cells=60, comm=MPI.COMM_WORLD, **options):
    """The bar and the path of its end."""
    bar = Bar(cells, comm)
    path = LoadPath(
        bar.problem, bar.move, {"stress": bar.stress, "fraction": bar.fraction}, perturbation_size=1e-3, **options
    )
    return bar, path
