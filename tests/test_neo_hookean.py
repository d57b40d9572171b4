"""A single mode learns a neo-Hookean material well enough to stand in for it in DOLFINx."""

import dolfinx
import numpy as np
import pytest
import ufl
from dolfinx import fem
from mpi4py import MPI

import lse_material as lse
from lse_material.fem import MaterialProblem, energy
from lse_material.fit import Architecture, Training, fit

SHEAR, LAME = 1.0, 2.0


def neo_hookean(F, log, trace, det):
    """W = mu/2 (tr C - 2 - 2 ln J) + lambda/2 (ln J)^2, plane strain."""
    log_J = log(det(F))
    return SHEAR / 2 * (trace(F) - 2 - 2 * log_J) + LAME / 2 * log_J**2


def measured(n, rng):
    """Energies and stresses at random F, with the stress mu (F - F^-T) + lambda ln J F^-T.

    J stays below exp(mu/lambda) = 1.65, up to which this energy is convex in E, as a single mode is.
    """
    F = np.eye(2) + rng.uniform(-0.25, 0.25, (n, 2, 2))
    W = neo_hookean(F, np.log, lambda F: (F**2).sum(axis=(1, 2)), np.linalg.det)
    inverse_T = np.swapaxes(np.linalg.inv(F), 1, 2)
    P = SHEAR * (F - inverse_T) + LAME * np.log(np.linalg.det(F))[:, None, None] * inverse_T
    return lse.Samples(F=F, energy=W, stress=P)


def pulled_and_sheared(energy_of):
    """Forces on the right side of a unit square that is stretched by 20 % and sheared by 10 %."""
    domain = dolfinx.mesh.create_unit_square(MPI.COMM_SELF, 8, 8)
    V = fem.functionspace(domain, ("Lagrange", 2, (2,)))
    u, v = fem.Function(V), ufl.TestFunction(V)
    F = ufl.Identity(2) + ufl.grad(u)

    def held(component, side, value):
        dofs = fem.locate_dofs_geometrical(
            (V.sub(component), V.sub(component).collapse()[0]), lambda x: np.isclose(x[0], side)
        )
        g = fem.Function(V.sub(component).collapse()[0])
        g.x.array[:] = value
        return fem.dirichletbc(g, dofs, V.sub(component))

    grips = [held(0, 1.0, 0.2), held(1, 1.0, 0.1)]
    residual = ufl.derivative(energy_of(F) * ufl.dx(degree=4), u, v)
    problem = MaterialProblem(
        residual, u, bcs=[held(0, 0.0, 0.0), held(1, 0.0, 0.0), *grips], petsc_options_prefix="neo_"
    )
    problem.solve()
    return np.array([problem.reaction(bc) for bc in grips])


@pytest.mark.slow
@pytest.mark.parametrize(
    "kinematics", [lse.GreenLagrange(2), lse.IsotropicInvariants(2, squared_volume=False)], ids=["E", "invariants"]
)
def test_one_fitted_mode_gives_the_reactions_of_a_neo_hookean_solve(kinematics):
    train = measured(400, np.random.default_rng(0))
    growth = None if isinstance(kinematics, lse.GreenLagrange) else lse.Growth(0.5)
    result = fit(
        train,
        kinematics=kinematics,
        architecture=Architecture(modes=1, depth=2),
        training=Training(restarts=1),
        growth=growth,
        progress=False,
    )
    exact = pulled_and_sheared(lambda F: neo_hookean(F, ufl.ln, lambda F: ufl.tr(F.T * F), ufl.det))
    fitted = pulled_and_sheared(lambda F: energy(result.material, F))
    assert np.abs(fitted - exact).max() < 0.02 * np.abs(exact).max()
