"""Stored stresses under the multi-point constraints of dolfinx_mpc: the periodic state is that of the energy in the form."""

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

import lse_material as lse
from tests.materials import saint_venant_kirchhoff

mpc = pytest.importorskip("dolfinx_mpc")
NEWTON = {
    "snes_type": "newtonls",
    "snes_linesearch_type": "basic",
    "snes_rtol": 1e-12,
    "ksp_type": "preonly",
    "pc_type": "lu",
    "pc_factor_mat_solver_type": "mumps",
}


def periodic(constraint, V):
    """Sides 1 follow sides 0; the corners stand still."""
    corners = fem.locate_dofs_geometrical(
        V, lambda x: np.isclose(x[0] * (1 - x[0]), 0) & np.isclose(x[1] * (1 - x[1]), 0)
    )
    bcs = [fem.dirichletbc(np.zeros(2), corners, V)]
    for axis in range(2):
        shift = np.eye(3)[axis][:, None]
        constraint.create_periodic_constraint_geometrical(
            V, lambda x, axis=axis: np.isclose(x[axis], 1.0), lambda x, shift=shift: x - shift, bcs
        )
    constraint.finalize()
    return bcs


@pytest.mark.mpi
def test_stored_stresses_find_the_periodic_state_of_the_energy():
    """A stiff disk in a soft square, stretched and sheared on average."""
    material = saint_venant_kirchhoff(2, 0.7, 0.4)
    domain = mesh.create_unit_square(MPI.COMM_WORLD, 6, 6)
    V, x = fem.functionspace(domain, ("Lagrange", 1, (2,))), ufl.SpatialCoordinate(domain)
    stiff = ufl.conditional(ufl.lt((x[0] - 0.4) ** 2 + (x[1] - 0.5) ** 2, 0.1), 5.0, 1.0)
    H, v, states = ufl.as_matrix([[0.06, 0.04], [0.01, -0.03]]), ufl.TestFunction(V), []
    for stored in (False, True):
        stresses = []

        class Periodic(mpc.MultiPointConstraint):
            """dolfinx_mpc calls `backsubstitution` at each iterate, before it assembles."""

            def backsubstitution(self, u, stresses=stresses):
                super().backsubstitution(u)
                for stress in stresses:
                    stress.update_tangent()

        constraint = Periodic(V)
        bcs = periodic(constraint, V)
        w = fem.Function(constraint.function_space)
        F, dx = ufl.Identity(2) + H + ufl.grad(w), ufl.dx(degree=1)
        if stored:
            stresses.append(lse.fem.QuadratureStress(material, F, degree=1))
            residual = stiff * ufl.inner(stresses[0].operator, ufl.grad(v)) * stresses[0].dx
        else:
            residual = stiff * ufl.inner(lse.fem.stress(material, F), ufl.grad(v)) * dx
        J = ufl.derivative(residual, w, ufl.TrialFunction(V))
        residual, J = (lse.fem.with_stored_values(form, stresses) for form in (residual, J))
        problem = mpc.NonlinearProblem(residual, w, constraint, bcs=bcs, J=J, petsc_options=NEWTON)
        _, reason, iterations = problem.solve()
        assert reason > 0
        assert iterations <= 6
        states.append(w.x.array.copy())
    largest = MPI.COMM_WORLD.allreduce(np.abs(states[0]).max(), MPI.MAX)
    assert largest > 1e-3
    assert np.abs(states[1] - states[0]).max() < 1e-10 * largest
