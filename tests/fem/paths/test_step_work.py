"""The work of a load step under supports and dead loads, and the energy that a jump releases."""

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

from lse_material.fem import EnergyProblem, LoadPath

STIFFNESS, WELL = 2.0, 0.5


def bar(energy, *, pulled):
    """The path of a bar of length 1 with the energy of the strain e, elongated or under a dead load at its end."""
    domain = mesh.create_interval(MPI.COMM_WORLD, 4, [0.0, 1.0])
    u = fem.Function(fem.functionspace(domain, ("Lagrange", 1)))
    V, load = u.function_space, fem.Constant(domain, 0.0)
    ends = [fem.locate_dofs_geometrical(V, lambda x, at=at: np.isclose(x[0], at)) for at in (0.0, 1.0)]
    Pi, bcs = energy(u.dx(0)) * ufl.dx(degree=1), [fem.dirichletbc(0.0, ends[0], V)]
    if pulled:
        bcs.append(fem.dirichletbc(load, ends[1], V))
    else:
        Pi = Pi - load * u * ufl.ds(degree=1)
    problem = EnergyProblem(Pi, u, bcs=bcs, petsc_options_prefix=f"work_{pulled}_")

    def apply(value):
        load.value = value

    return LoadPath(problem, apply, perturbation_size=1e-4, progress=False)


@pytest.mark.mpi
@pytest.mark.parametrize("pulled", [True, False])
def test_the_work_on_an_elastic_bar_is_its_energy(pulled):
    """1/2 E e^2 of supports; a dead load f changes the energy by -f^2 / 2 E."""
    table = bar(lambda e: 0.5 * STIFFNESS * e**2, pulled=pulled).run([0.0, 0.3, 0.1, -0.2])
    load = table["load"]
    exact = 0.5 * STIFFNESS * load**2 if pulled else -0.5 * load**2 / STIFFNESS
    np.testing.assert_allclose(table["work"], exact, rtol=0.0, atol=1e-10)
    assert np.abs(table["released"]).max() < 1e-12
    assert not table["dissipated"].any()


@pytest.mark.mpi
def test_a_bar_that_jumps_under_a_dead_load_releases_what_its_energy_falls():
    """W = (e^2 - WELL^2)^2 loses its well at e = -WELL / sqrt(3), at the load that a fine path knows to one step."""
    table = bar(lambda e: (e**2 - WELL**2) ** 2, pulled=False).run(np.linspace(-0.25, 0.25, 101))
    jump = int(np.argmax(np.diff(table["released"])))
    e = -WELL / np.sqrt(3.0)
    force = 4.0 * e * (e**2 - WELL**2)
    assert abs(table["load"][jump + 1] - force) < 0.01
    after = max(np.roots([4.0, 0.0, -4.0 * WELL**2, -force]).real)
    fall = (e**2 - WELL**2) ** 2 - force * e - (after**2 - WELL**2) ** 2 + force * after
    assert abs(table["released"][-1] - fall) < 0.01 * WELL  # of one step of the load, times the jump of the end
    balance = table["energy"] + table["released"] - table["work"]
    assert np.ptp(balance) < 1e-14
