"""Importing the package after a form was compiled must leave UFL in working order."""

import os
import subprocess
import sys

SCRIPT = """
import sys
import numpy as np, ufl
from mpi4py import MPI
from dolfinx import fem, mesh
square = mesh.create_unit_square(MPI.COMM_SELF, 2, 2)
V = fem.functionspace(square, ("Lagrange", 1, (2,)))
u, v = fem.Function(V), ufl.TestFunction(V)
residual = ufl.derivative(ufl.exp(ufl.inner(ufl.grad(u), ufl.grad(u))) * ufl.dx, u, v)
fem.form(residual), fem.form(ufl.derivative(residual, u))          # unrelated forms come first
assert "dolfinx_external_operator" not in sys.modules
import lse_material as lse
mode = lse.ConvexNetwork.from_arrays([], [np.zeros((1, 3))], [np.zeros(1)], quadratic=np.eye(3))
material = lse.Material(lse.SoftMinimum((mode,), scaled_rho=1.0), lse.SmallStrain(2))       # W = |eps|^2 / 2
P = lse.fem.QuadratureStress(material, ufl.Identity(2) + ufl.grad(u), degree=1)
x = ufl.SpatialCoordinate(square)
square.topology.create_connectivity(1, 2)
edge = fem.locate_dofs_topological(V, 1, mesh.exterior_facet_indices(square.topology))
rim = fem.Function(V)
rim.interpolate(lambda x: (0.3 * x[0], 0.1 * x[1]))
problem = lse.fem.MaterialProblem(ufl.inner(P.operator, ufl.grad(v)) * P.dx, u, stresses=[P],
                                  bcs=[fem.dirichletbc(rim, edge)], petsc_options_prefix="trap_")
problem.solve()
centre = [i for i, p in enumerate(V.tabulate_dof_coordinates()) if np.allclose(p[:2], 0.5)][0]
assert np.allclose(u.x.array[2 * centre : 2 * centre + 2], [0.15, 0.05], atol=1e-14)
"""


def test_the_fem_floor_may_be_imported_after_a_form_was_compiled(tmp_path):
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}  # no form is compiled yet: UFL has to work
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
