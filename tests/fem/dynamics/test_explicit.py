"""Central differences: stable below the estimate, bounded energy, exact momenta, and the same motion as conservative steps."""

import numpy as np
import pytest
import scipy.linalg
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

import lse_material as lse
from lse_material.fem import Dynamics, ExplicitMotion, Motion
from tests.fem.dynamics.bodies import displacement, stored
from tests.materials import square_to_rectangle

MATERIAL = square_to_rectangle(0.05)


def thrown(u, **options):
    motion = ExplicitMotion(stored(MATERIAL, u), u, density=1.3, **options)
    motion.velocity.interpolate(lambda x: (0.3 * x[0] - 0.1 * x[1], -0.3 * x[1] + 0.1 * x[0] ** 2))
    return motion


def test_the_stable_step_is_below_the_true_limit_and_not_far():
    u = displacement(2)
    u.interpolate(lambda x: (0.05 * x[0], -0.05 * x[1]))
    energy, v = stored(MATERIAL, u), ufl.TestFunction(u.function_space)
    K = fem.assemble_matrix(fem.form(ufl.derivative(ufl.derivative(energy, u, v), u))).to_dense()
    lumped = ufl.Measure("dx", metadata={"quadrature_rule": "vertex", "quadrature_degree": 1})
    M = fem.assemble_matrix(fem.form(1.3 * ufl.inner(v, ufl.TrialFunction(u.function_space)) * lumped)).to_dense()
    limit = 2.0 / np.sqrt(scipy.linalg.eigh(K, M, eigvals_only=True)[-1])
    step = ExplicitMotion(energy, u, density=1.3).stable_step()
    assert 0.4 * limit < step < limit


def test_a_free_body_keeps_its_momenta_and_nearly_its_energy():
    u = displacement(2)
    motion = thrown(u)
    start, dt = motion.momentum(), 0.5 * motion.stable_step()
    table = Dynamics(motion, dt, progress=False).run(500 * dt)
    total = table["kinetic"] + table["energy"]
    assert np.abs(motion.momentum() - start).max() < 1e-12 * np.abs(start).max()
    assert np.abs(total - total[0]).max() < 0.02 * total[0]
    assert abs(total[-100:].mean() - total[:100].mean()) < 2e-3 * total[0]  # it does not drift


def test_short_steps_of_both_kinds_make_the_same_motion():
    differences = []
    for share in (0.4, 0.2):
        u = displacement(2)
        explicit = thrown(u)
        dt = share * explicit.stable_step()
        Dynamics(explicit, dt, progress=False).run(0.5)
        w = displacement(2)
        implicit = Motion(stored(MATERIAL, w), w, density=1.3, lumped=True, petsc_options_prefix="implicit_")
        implicit.velocity.interpolate(lambda x: (0.3 * x[0] - 0.1 * x[1], -0.3 * x[1] + 0.1 * x[0] ** 2))
        Dynamics(implicit, dt, progress=False).run(0.5)
        differences.append(np.abs(u.x.array - w.x.array).max())
    assert differences[1] < 0.3 * differences[0]  # both are of second order


def test_a_pulse_runs_at_the_speed_of_sound_and_supports_do_its_work():
    domain = mesh.create_interval(MPI.COMM_SELF, 200, [0.0, 1.0])
    V = fem.functionspace(domain, ("Lagrange", 1))
    u, end = fem.Function(V), fem.Constant(domain, 0.0)
    left = fem.locate_dofs_geometrical(V, lambda x: np.isclose(x[0], 0.0))
    motion = ExplicitMotion(2.0 * u.dx(0) ** 2 * ufl.dx, u, density=1.0, bcs=[fem.dirichletbc(end, left, V)])
    pulse = lambda t: 0.01 * np.sin(np.pi * np.clip(t, 0.0, 0.2) / 0.2) ** 2  # noqa: E731

    def move(t):
        end.value = pulse(t)

    dt = motion.stable_step()
    table = Dynamics(motion, dt, supports=move, progress=False).run(0.4)
    x = V.tabulate_dof_coordinates()[:, 0]
    assert np.abs(u.x.array - pulse(0.4 - x / 2.0)).max() < 0.01 * 0.01  # speed sqrt(4 / 1)
    total = table["kinetic"] + table["energy"]
    assert total[-1] == pytest.approx(table["work"][-1], rel=1e-3)


def test_a_load_that_changes_acts_at_once():
    u = displacement(2)
    load = fem.Constant(u.function_space.mesh, (0.0, 0.0))
    motion = ExplicitMotion(stored(MATERIAL, u) - ufl.dot(load, u) * ufl.dx, u, density=2.0)
    before = motion.momentum()[0]
    motion.step(0.01)
    load.value[:] = 3.0, 0.0
    motion.step(0.01)
    assert motion.momentum()[0] - before == pytest.approx(0.01 * 3.0, rel=1e-12)


def test_a_step_far_too_long_is_halved_or_refused():
    u = displacement(2)
    motion = thrown(u)
    with pytest.raises(lse.ConvergenceError, match="not finite after a step"):
        motion.step(1e3)
    assert not u.x.array.any()


@pytest.mark.mpi
def test_ranks_share_the_waves():
    found = []
    for comm in (MPI.COMM_WORLD, MPI.COMM_SELF):
        motion = thrown(displacement(2, comm))
        dt = motion.stable_step()
        found.append((dt, Dynamics(motion, dt, progress=False).run(20 * dt)))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-12)
    for name in ("kinetic", "energy"):
        np.testing.assert_allclose(found[0][1][name], found[1][1][name], rtol=0.0, atol=1e-12)


def test_degree_2_is_refused():
    with pytest.raises(lse.InvalidInputError, match="has degree 2"):
        thrown(displacement(2, degree=2))


def test_what_explicit_steps_cannot_take_is_refused():
    u = displacement(2)
    domain = u.function_space.mesh
    finer = fem.functionspace(domain, ("Lagrange", 2, (2,)))
    elsewhere = fem.dirichletbc(np.ones(2), fem.locate_dofs_geometrical(finer, lambda x: np.isclose(x[1], 0.0)), finer)
    with pytest.raises(lse.InvalidInputError, match="another function space"):
        thrown(u, bcs=[elsewhere])
    for element in (
        ("DG", 1, (2,)),
        ("CR", 1, (2,)),
        ("N1curl", 1),
    ):  # masses at vertices are not those of their entries
        w = fem.Function(fem.functionspace(domain, element))
        with pytest.raises(lse.InvalidInputError, match=r"continuous Lagrange|a displacement is"):
            ExplicitMotion(ufl.inner(w, w) * ufl.dx, w, density=1.0)


def test_every_step_is_stable_without_stiffness():
    u = displacement(2)
    stiffness = fem.Constant(u.function_space.mesh, 0.0)
    motion = ExplicitMotion(stiffness * ufl.inner(ufl.grad(u), ufl.grad(u)) * ufl.dx, u, density=2.0)
    assert motion.stable_step() == np.inf
