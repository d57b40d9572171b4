"""Motions conserve energy and momenta through wells, are of second order, and carry a kink at its exact speed and width."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI
from scipy.optimize import curve_fit

import lse_material as lse
from lse_material.fem import Dissipation, Dynamics, Motion, discrete_gradient
from tests.fem.dynamics.bodies import displacement, stored, thrown
from tests.materials import random_material, square_to_rectangle


@pytest.mark.parametrize(
    ("measure", "moment"),
    [
        (lse.GreenLagrange(2), True),
        (lse.IsotropicInvariants(2), True),
        (lse.GreenLagrange(3), True),
        (lse.IsotropicInvariants(3), True),
        (lse.SmallStrain(2), False),
    ],
)
def test_internal_forces_work_the_difference_of_energies_and_make_no_moment(measure, moment):
    rng = np.random.default_rng(5)
    material = random_material(rng, measure, modes=2)
    u = displacement(measure.dim, cells=2)
    V, before = u.function_space, fem.Function(u.function_space)
    energy = stored(material, u)
    forces = fem.form(discrete_gradient(energy, u, before, ufl.TestFunction(V), objective=measure.objective))
    value = fem.form(energy)
    for size in (1e-1, 1e-3, 1e-6):
        ends = []
        before.x.array[:] = 0.05 * rng.uniform(-1, 1, len(before.x.array))
        step = size * rng.uniform(-1, 1, len(before.x.array))
        for state in (before.x.array + step, before.x.array.copy()):
            u.x.array[:] = state
            ends.append(fem.assemble_scalar(value))
        u.x.array[:] = before.x.array + step
        g = fem.assemble_vector(forces).array
        assert abs(g @ step - (ends[0] - ends[1])) < 1e-13 * abs(ends[1])
        table = g.reshape(-1, measure.dim)
        assert np.abs(table.sum(axis=0)).max() < 1e-13 * np.abs(table).max()
        if moment:
            middle = V.tabulate_dof_coordinates()[:, : measure.dim] + (before.x.array + 0.5 * step).reshape(table.shape)
            turning = middle.T @ table
            assert np.abs(turning - turning.T).max() < 1e-12 * np.abs(table).max()


@pytest.mark.slow
@pytest.mark.parametrize("dt", [0.02, 0.5])
def test_a_free_body_keeps_energy_and_momenta_through_a_thousand_steps(dt):
    """Over wells and back: the kinetic share of the energy swings."""
    u = displacement(2)
    motion = Motion(stored(square_to_rectangle(0.05), u), u, density=1.0, petsc_options_prefix="free_")
    motion.velocity.interpolate(lambda x: (0.4 * x[0] - 0.1 * x[1] + 0.1, -0.4 * x[1] + 0.2 * x[0] ** 2))
    start = motion.momentum()
    table = Dynamics(motion, dt, progress=False).run(1000 * dt)
    total = table["kinetic"] + table["energy"]
    assert len(total) > 1000
    assert np.ptp(table["energy"]) > 0.1 * abs(total[0])
    assert np.abs(np.diff(total)).max() < 1e-10 * abs(total[0])
    assert np.abs(motion.momentum() - start).max() < 1e-9 * np.abs(start).max()


def moved(dt, until=0.4):
    u = displacement(2, cells=2)
    motion = Motion(stored(square_to_rectangle(0.05), u), u, density=1.0, petsc_options_prefix="order_")
    motion.velocity.interpolate(lambda x: (0.2 * x[0] ** 2, -0.2 * x[1]))
    Dynamics(motion, dt, progress=False).run(until)
    return u.x.array.copy()


def test_steps_are_of_second_order():
    coarse, middle, fine = (moved(dt) for dt in (0.02, 0.01, 0.005))
    order = np.log2(np.abs(coarse - middle).max() / np.abs(middle - fine).max())
    assert 1.9 < order < 2.1


class Kink:
    """A boundary between the wells +-WELL of a quartic energy, which runs through a bar with gradient energy.

    rho u_tt = (W'(e) - kappa e_xx)_x with W = A (e^2 - WELL^2)^2 has the solution e = S tanh((x - c t)/d), S^2 = WELL^2 +
    rho c^2/(4 A), d^2 = kappa/(2 A S^2).
    """

    A, WELL, WIDTH, SPEED, START, END = 1.0, 0.5, 0.05, 0.3, -0.3, 1.0

    def __init__(self, cells):
        domain = mesh.create_interval(MPI.COMM_SELF, cells, [-self.END, self.END])
        V = fem.functionspace(domain, ("Lagrange", 2))
        self.strain = np.sqrt(self.WELL**2 + self.SPEED**2 / (4.0 * self.A))
        self.width = self.WIDTH / np.sqrt(2.0 * self.A) / self.strain
        self.u = u = fem.Function(V)
        energy = self.A * (u.dx(0) ** 2 - self.WELL**2) ** 2 * ufl.dx(degree=8)
        energy += lse.fem.interior_penalty(u, length=self.WIDTH, modulus=1.0, degree=8)
        self.ends = {at: fem.Constant(domain, 0.0) for at in (-self.END, self.END)}
        places = {at: fem.locate_dofs_geometrical(V, lambda x, at=at: np.isclose(x[0], at)) for at in self.ends}
        bcs = [fem.dirichletbc(value, places[at], V) for at, value in self.ends.items()]
        u.interpolate(lambda x: self.exact(x[0], 0.0))
        self.motion = Motion(energy, u, density=1.0, bcs=bcs, petsc_options_prefix="kink_")
        self.motion.velocity.interpolate(
            lambda x: -self.SPEED * self.strain * np.tanh((x[0] - self.START) / self.width)
        )

    def exact(self, x, t):
        y = (x - self.START - self.SPEED * t) / self.width
        return self.strain * self.width * (np.logaddexp(y, -y) - np.log(2.0))

    def move(self, t):
        for at, value in self.ends.items():
            value.value = self.exact(at, t)

    def fitted(self):
        """Place and width of the boundary."""
        shape = lambda x, strain, width, at, base: (  # noqa: E731
            strain * width * np.logaddexp((x - at) / width, -(x - at) / width) + base
        )
        x = self.u.function_space.tabulate_dof_coordinates()[:, 0]
        (_, width, at, _), _ = curve_fit(shape, x, self.u.x.array, p0=(self.strain, self.width, 0.0, 0.0))
        return at, width


def test_a_kink_runs_at_the_speed_and_with_the_width_of_the_exact_wave():
    kink = Kink(120)
    run = Dynamics(kink.motion, 0.02, supports=kink.move, progress=False)
    table = run.run(1.0)
    first, _ = kink.fitted()
    table = run.run(2.0)
    second, width = kink.fitted()
    assert abs((second - first) / kink.SPEED - 1.0) < 5e-3
    assert abs(width / kink.width - 1.0) < 5e-3
    balance = table["kinetic"] + table["energy"] - table["work"]
    assert np.ptp(balance) < 1e-9 * balance[0]


def test_supports_that_move_do_the_work_that_the_body_gains():
    u = displacement(2)
    V, pull = u.function_space, fem.Constant(u.function_space.mesh, (0.0, 0.0))
    sides = [fem.locate_dofs_geometrical(V, lambda x, at=at: np.isclose(x[0], at)) for at in (0.0, 1.0)]
    bcs = [fem.dirichletbc(np.zeros(2), sides[0], V), fem.dirichletbc(pull, sides[1], V)]
    motion = Motion(stored(square_to_rectangle(0.05), u), u, density=1.0, bcs=bcs, petsc_options_prefix="pulled_")

    def move(t):
        pull.value[:] = 0.1 * np.sin(t) ** 2, 0.05 * t

    table = Dynamics(motion, 0.1, supports=move, progress=False).run(3.0)
    balance = table["kinetic"] + table["energy"] - table["work"]
    assert np.ptp(table["work"]) > 0.01
    assert np.ptp(balance) < 1e-11


def test_damping_and_hysteresis_take_what_the_body_loses():
    u = displacement(2)
    material = square_to_rectangle(0.05)
    F = ufl.Identity(2) + ufl.grad(u)
    hysteresis = Dissipation(material, F, 0.002, degree=2)
    drag = lambda v: 0.5 * 0.01 * ufl.inner(ufl.sym(ufl.grad(v)), ufl.sym(ufl.grad(v))) * ufl.dx  # noqa: E731
    motion = Motion(
        lse.fem.energy(material, F) * hysteresis.dx + hysteresis.functional,
        u,
        density=1.0,
        damping=drag,
        petsc_options_prefix="damped_",
    )
    motion.velocity.interpolate(lambda x: (0.4 * x[0], -0.4 * x[1]))
    table = Dynamics(motion, 0.05, internal=[hysteresis], progress=False).run(4.0)
    balance = table["kinetic"] + table["energy"] + table["dissipated"]
    assert table["dissipated"][-1] > 0.2 * table["kinetic"][0]
    assert hysteresis.dissipated() > 0.0
    assert np.diff(table["dissipated"]).min() > -1e-15
    assert np.ptp(balance) < 1e-10 * balance[0]


def test_a_drag_on_mode_weights_takes_what_the_body_loses():
    """The rate-dependent part of a transformation: the power viscosity |dw/dt|^2."""
    u, viscosity = displacement(2, cells=1), 0.02
    material = square_to_rectangle(0.05)
    F = ufl.Identity(2) + ufl.grad(u)
    hysteresis = Dissipation(material, F, 0.002, degree=1)

    def drag(v):
        rate = ufl.derivative(hysteresis.weights, u, v)
        return 0.5 * viscosity * ufl.inner(rate, rate) * hysteresis.dx

    motion = Motion(
        lse.fem.energy(material, F) * hysteresis.dx + hysteresis.functional,
        u,
        density=1.0,
        damping=drag,
        petsc_options_prefix="dragged_",
    )
    motion.velocity.interpolate(lambda x: (0.4 * x[0], -0.4 * x[1]))
    table = Dynamics(motion, 0.05, internal=[hysteresis], progress=False).run(1.0)
    balance = table["kinetic"] + table["energy"] + table["dissipated"]
    assert np.diff(table["dissipated"]).min() > -1e-15
    assert table["dissipated"][-1] - hysteresis.dissipated() > 0.02 * balance[0]
    assert np.ptp(balance) < 1e-10 * balance[0]


def test_steps_become_as_short_as_the_tolerance_asks():
    errors = []
    for tolerance in (1e-5, 1e-6):
        u = displacement(2, cells=2)
        motion = Motion(stored(square_to_rectangle(0.05), u), u, density=1.0, petsc_options_prefix="error_")
        motion.velocity.interpolate(lambda x: (0.2 * x[0] ** 2, -0.2 * x[1]))
        table = Dynamics(motion, 0.1, tolerance=tolerance, progress=False).run(0.4)
        assert table["time"][-1] == 0.4
        assert table["error"].max() <= tolerance
        errors.append(np.abs(u.x.array - moved(1e-3)).max())
    assert errors[1] < 0.5 * errors[0]


@pytest.mark.mpi
def test_ranks_share_a_motion():
    found = []
    for comm in (MPI.COMM_WORLD, MPI.COMM_SELF):
        u = displacement(2, comm)
        motion = Motion(stored(square_to_rectangle(0.05), u), u, density=1.0, petsc_options_prefix="ranks_")
        motion.velocity.interpolate(lambda x: (0.3 * x[0] - 0.1 * x[1], -0.3 * x[1]))
        found.append((Dynamics(motion, 0.05, progress=False).run(0.5), motion.momentum()))
    for name in ("kinetic", "energy"):
        np.testing.assert_allclose(found[0][0][name], found[1][0][name], rtol=0.0, atol=1e-11)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=0.0, atol=1e-12)


KILLED = """
import os, signal
from tests.fast_compilation import compile_fast
from tests.fem.dynamics.bodies import thrown
compile_fast()  # as the run that it is compared with
states = []
def die():
    states.append(0)
    if len(states) > 12: os.kill(os.getpid(), signal.SIGKILL)
    return 0.0
thrown(checkpoint={file!r}, every=3, observe={{"states": die}})[1].run(1.0)
"""


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_bit_by_bit(tmp_path):
    """After 11 steps of which 9 are in the checkpoint, with the memory of its hysteresis and the length of the next step."""
    file = tmp_path / "motion.npz"
    alone = {k: v for k, v in os.environ.items() if not k.startswith(("OMPI_", "PMIX_", "PRTE_", "PMI_"))}
    script = [sys.executable, "-c", KILLED.format(file=str(file))]
    done = subprocess.run(script, cwd=Path(__file__).parents[3], check=False, env=alone, timeout=120)
    assert done.returncode == -signal.SIGKILL
    observed = {"states": lambda: 0.0}
    u, whole = thrown(observe=observed)
    table = whole.run(1.0)
    again, rest = thrown(checkpoint=file, observe=observed)
    assert rest.resume() == 9
    resumed = rest.run(1.0)
    assert len(table["time"]) > 12
    for name in table:
        np.testing.assert_array_equal(resumed[name], table[name], err_msg=name)
    np.testing.assert_array_equal(again.x.array, u.x.array)
    for other in ({"density": 2.0}, {"damping": lambda v: ufl.inner(v, v) * ufl.dx}):
        with pytest.raises(
            lse.FormatError, match=f"of another problem; what differs: .*{'kinetic' if 'density' in other else 'damp'}"
        ):
            thrown(checkpoint=file, observe=observed, **other)[1].resume()


def test_a_lumped_mass_is_the_whole_mass_and_of_degree_1_only():
    u = displacement(2)
    energy = stored(square_to_rectangle(0.05), u)
    motion = Motion(energy, u, density=3.0, lumped=True, petsc_options_prefix="lumped_")
    motion.velocity.x.array[:] = 1.0
    np.testing.assert_allclose(motion.kinetic(), 0.5 * 3.0 * 2.0, rtol=1e-14)
    curved = displacement(2, degree=2)
    with pytest.raises(lse.InvalidInputError, match="has degree 2"):
        Motion(stored(square_to_rectangle(0.05), curved), curved, density=1.0, lumped=True, petsc_options_prefix="l2_")


def test_what_is_no_motion_is_refused():
    u = displacement(2)
    energy = stored(square_to_rectangle(0.05), u)
    with pytest.raises(lse.InvalidInputError, match="without test function"):
        Motion(ufl.derivative(energy, u), u, density=1.0, petsc_options_prefix="no_")
    motion = Motion(energy, u, density=1.0, petsc_options_prefix="yes_")
    with pytest.raises(lse.InvalidInputError, match="dt is -1"):
        motion.step(-1.0)
    with pytest.raises(lse.InvalidInputError, match="dt is 0"):
        Dynamics(motion, 0.0)
    for wrong in ({"density": -2.0}, {"density": np.nan}, {"density": u}, {"damping": 0.3}, {"bcs": 1}):
        with pytest.raises(lse.InvalidInputError, match=next(iter(wrong))):
            Motion(energy, u, **{"density": 1.0, **wrong}, petsc_options_prefix="no_")
    with pytest.raises(lse.InvalidInputError, match="does not occur"):
        Motion(energy, fem.Function(u.function_space), density=1.0, petsc_options_prefix="no_")
    for wrong in ({"supports": 0.2}, {"shortest": -0.1}, {"shortest": 0.4}, {"tolerance": "1e-3"}):
        with pytest.raises(lse.InvalidInputError, match=r"supports|shortest is|must lie between|tolerance is"):
            Dynamics(motion, 0.3, **wrong)
    with pytest.raises(lse.InvalidInputError, match="a Motion or an ExplicitMotion"):
        Dynamics(motion.problem, 0.3)
    three = fem.Function(fem.functionspace(u.function_space.mesh, ("Lagrange", 1, (3,))))
    with pytest.raises(lse.InvalidInputError, match="a displacement is a scalar, or a vector of 2"):
        discrete_gradient(ufl.inner(three, three) * ufl.dx, three, fem.Function(three.function_space), three)
