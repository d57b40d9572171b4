"""Rate-independent dissipation: derivatives, the play operator, plateaus off the Maxwell stress, loops that close, memory."""

import basix.ufl
import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

import lse_material as lse
from lse_material.fem.quadrature.dissipation import prices_of_modes
from tests.materials import square_to_rectangle, well

MODULUS, TRANSFORMATION, OFFSET, SCALE = 2.0, 0.8, 0.05, 0.04  # MPa, -, MPa, MPa
PRICE = 0.06  # MPa
MAXWELL = OFFSET / TRANSFORMATION


def wells():
    root = np.array([[np.sqrt(MODULUS)]])
    first = lse.ConvexNetwork.from_arrays([], [[[0.0]]], [[0.0]], quadratic=root)
    second = lse.ConvexNetwork.from_arrays(
        [], [[[-MODULUS * TRANSFORMATION]]], [[0.5 * MODULUS * TRANSFORMATION**2 + OFFSET]], quadratic=root
    )
    return lse.SoftMinimum((first, second), SCALE)


class Bar:
    """A bar of length 1, pulled at one end."""

    def __init__(self, cells=100, *, width=0.05, degree=4, comm=MPI.COMM_WORLD, checkpoint=None):
        domain = mesh.create_interval(comm, cells, [0.0, 1.0])
        V = fem.functionspace(domain, ("Lagrange", 2))
        self.u, self.end = fem.Function(V), fem.Constant(domain, 0.0)
        e = self.u.dx(0)
        self.hysteresis = lse.fem.Dissipation.of_potential(wells(), [e], PRICE, degree=degree)
        W = lse.fem.potential_energy(wells(), [e]) * self.hysteresis.dx
        W += lse.fem.interior_penalty(self.u, length=width, modulus=MODULUS, degree=degree)
        ends = [fem.locate_dofs_geometrical(V, lambda x, at=at: np.isclose(x[0], at)) for at in (0.0, 1.0)]
        pulled = fem.dirichletbc(self.end, ends[1], V)
        bcs = [fem.dirichletbc(0.0, ends[0], V), pulled]
        self.problem = lse.fem.EnergyProblem(
            W + self.hysteresis.functional, self.u, bcs=bcs, petsc_options_prefix="hysteretic_bar_"
        )
        stored = fem.form(W)
        observed = {
            "stress": lambda: self.problem.reaction(pulled),
            "stored": lambda: comm.allreduce(fem.assemble_scalar(stored)),
        }
        self.path = lse.fem.LoadPath(
            self.problem,
            self.pull,
            observed,
            perturbation_size=1e-3,
            internal=[self.hysteresis],
            checkpoint=checkpoint,
            progress=False,
        )

    def pull(self, level):
        self.end.value = level

    def start_with_both_phases(self):
        """A boundary in the middle: no path that begins here jumps."""
        self.u.interpolate(lambda x: 0.05 * TRANSFORMATION * np.logaddexp(0.0, (x[0] - 0.5) / 0.05))
        self.hysteresis.reset()


def cycle(*turns, start=0.0, step=0.025):
    """Levels from one turning point to the next."""
    levels = [start]
    for turn in turns:
        levels.extend(np.linspace(levels[-1], turn, max(1, round(abs(turn - levels[-1]) / step)) + 1)[1:])
    return levels


def play(weights, reach):
    """Anchors of one weight that takes some values in turn."""
    anchors = [weights[0]]
    for w in weights[1:]:
        anchors.append(min(max(anchors[-1], w - reach), w + reach))
    return np.array(anchors)


@pytest.mark.mpi
def test_a_homogeneous_bar_follows_the_play_operator():
    domain = mesh.create_interval(MPI.COMM_WORLD, 6, [0.0, 2.0])
    u = fem.Function(fem.functionspace(domain, ("Lagrange", 1)))
    hysteresis = lse.fem.Dissipation.of_potential(wells(), [u.dx(0)], PRICE, degree=2, reversible=0.02)
    strains = np.array([0.0, 0.3, 0.395, 0.39, 0.42, 0.41, 0.415, 0.1, 0.9, 0.35])
    weights = wells().mode_weights(strains[:, None])
    anchors = np.stack([play(w, 0.02) for w in weights.T], axis=1)
    paid = np.cumsum(np.r_[0.0, 0.5 * PRICE * np.abs(np.diff(anchors, axis=0)).sum(axis=1)])
    for e, a, total in zip(strains, anchors, paid):
        u.interpolate(lambda x, e=e: e * x[0])
        hysteresis.advance()
        own = hysteresis.anchors.x.array.reshape(-1, 2)
        if len(own):
            np.testing.assert_allclose(own, np.tile(a, (len(own), 1)), rtol=0.0, atol=1e-14)
        np.testing.assert_allclose(hysteresis.dissipated(), 2.0 * total, rtol=0.0, atol=1e-15)


@pytest.mark.parametrize("step", [1e-5])
def test_its_derivatives_are_those_of_finite_differences(step):
    material = square_to_rectangle(0.05)
    domain = mesh.create_unit_square(MPI.COMM_SELF, 2, 2)
    V = fem.functionspace(domain, ("Lagrange", 2, (2,)))
    u, v, du = fem.Function(V), ufl.TestFunction(V), ufl.TrialFunction(V)
    rng = np.random.default_rng(3)
    F = ufl.Identity(2) + ufl.grad(u)
    hysteresis = lse.fem.Dissipation(material, F, [[0.0, 0.3], [0.3, 0.0]], degree=2, reversible=0.1)
    u.x.array[:] = 0.02 * rng.normal(size=len(u.x.array))
    first = ufl.derivative(hysteresis.functional, u, v)
    forms = [fem.form(hysteresis.functional), fem.form(first), fem.form(ufl.derivative(first, u, du))]
    start, direction = u.x.array.copy(), rng.normal(size=len(u.x.array))
    tangent = fem.assemble_matrix(forms[2]).to_dense() @ direction
    gradient = fem.assemble_vector(forms[1]).array.copy()
    ends = []
    for sign in (1.0, -1.0):
        u.x.array[:] = start + sign * step * direction
        ends.append((fem.assemble_scalar(forms[0]), fem.assemble_vector(forms[1]).array.copy()))
    (W1, g1), (W2, g2) = ends
    assert abs((W1 - W2) / (2 * step) - gradient @ direction) < 1e-6 * abs(gradient @ direction)
    assert np.abs((g1 - g2) / (2 * step) - tangent).max() < 1e-4 * np.abs(tangent).max()
    frozen = lse.fem.frozen_tangent(hysteresis.functional, u)
    K = fem.assemble_matrix(fem.form(frozen)).to_dense()
    assert np.linalg.eigvalsh(K).min() > -1e-10 * np.abs(K).max()  # a preconditioner that is positive


@pytest.fixture(scope="module")
def looped():
    """Along the plateau and back, twice: a boundary is there from the beginning."""
    bar = Bar(comm=MPI.COMM_SELF)
    bar.start_with_both_phases()
    table = bar.path.run(cycle(0.6, 0.35, 0.5, 0.35, 0.6, start=0.4))
    return bar, table


def test_two_phases_coexist_off_the_maxwell_stress_by_price_over_strain(looped):
    _, table = looped
    load, stress = table["load"], table["stress"]
    turns = np.flatnonzero(np.isclose(load, 0.6))
    down = np.flatnonzero(np.isclose(load, 0.35))
    off = PRICE / TRANSFORMATION
    np.testing.assert_allclose(stress[turns], MAXWELL + off, rtol=0.0, atol=0.01 * off)
    np.testing.assert_allclose(stress[down], MAXWELL - off, rtol=0.0, atol=0.01 * off)


def test_the_price_is_what_its_loops_say(looped):
    _, table = looped
    found = lse.analysis.transformation_price(table["load"], table["stress"], modulus=MODULUS, strain=TRANSFORMATION)
    assert found.price == pytest.approx(PRICE, rel=0.01)
    assert found.maxwell_stress == pytest.approx(MAXWELL, rel=0.01)


def test_minor_loops_close(looped):
    """Return-point memory: at the end of a loop within a loop the stress is what it was at its start."""
    _, table = looped
    load, stress = table["load"], table["stress"]
    turns, down = np.flatnonzero(np.isclose(load, 0.6)), np.flatnonzero(np.isclose(load, 0.35))
    assert np.ptp(stress[down]) < 1e-6 * MODULUS
    assert np.ptp(stress[turns]) < 1e-6 * MODULUS


def test_work_is_stored_dissipated_or_released(looped):
    _, table = looped
    load, stress = table["load"], table["stress"]
    balance = table["energy"] + table["dissipated"] + table["released"] - table["work"]
    assert np.ptp(balance) < 1e-8 * np.abs(np.diff(table["work"])).max()
    assert np.diff(table["dissipated"]).min() >= 0.0
    assert np.diff(table["released"]).min() >= 0.0
    assert table["released"][-1] < 1e-3 * table["dissipated"][-1]  # nothing jumps
    first, last = np.flatnonzero(np.isclose(load, 0.6))
    area = np.trapezoid(stress[first : last + 1], load[first : last + 1])
    assert abs(area - (table["work"][last] - table["work"][first])) < 0.02 * area  # of the trapezoidal rule at corners


def test_what_a_jump_releases_and_what_is_dissipated_do_not_depend_on_the_number_of_load_steps():
    """A phase nucleates: the force falls at one load, at which no work is done."""
    ends = []
    for steps in (3, 15):
        table = Bar(comm=MPI.COMM_SELF).path.run(np.linspace(0.36, 0.51, steps + 1))
        stress, jump = table["stress"], np.argmax(np.diff(table["released"]))
        assert stress[jump + 1] < stress[jump] < stress.max() + 1e-12
        ends.append([table[name][-1] for name in ("work", "dissipated", "released")])
    assert ends[1][2] > 0.05
    np.testing.assert_allclose(ends[0], ends[1], rtol=0.01)
    traced = np.trapezoid(stress, table["load"])
    assert (
        abs(traced - ends[1][0]) < 0.5 * np.diff(table["load"]).max() * stress.max()
    )  # one step of a force that falls


SHEAR, TWIN_PRICE = 0.3, 0.01  # of the two wells I +- SHEAR e1 (x) e2, whose layers fit along e1


@pytest.mark.slow
@pytest.mark.mpi
def test_a_twin_boundary_that_moves_balances_the_work_of_the_support():
    """A layer of each twin under shear: the boundary moves at the resolved shear stress +- price / (2 SHEAR)."""
    domain = mesh.create_rectangle(MPI.COMM_WORLD, [[0.0, 0.0], [0.25, 1.0]], [1, 24], mesh.CellType.quadrilateral)
    V = fem.functionspace(domain, ("Lagrange", 2, (2,)))
    u, top = fem.Function(V), fem.Constant(domain, 0.0)
    centres = [np.array([0.0, 0.5 * SHEAR**2, sign * SHEAR / np.sqrt(2.0)]) for sign in (1.0, -1.0)]
    twins = lse.Material(lse.SoftMinimum([well(2.0, c) for c in centres], 0.01), lse.GreenLagrange(2))
    F = ufl.Identity(2) + ufl.grad(u)
    hysteresis = lse.fem.Dissipation(twins, F, TWIN_PRICE, degree=4)
    W = lse.fem.energy(twins, F) * hysteresis.dx + lse.fem.interior_penalty(u, length=0.1, modulus=1.0, degree=4)

    def condition(component, value, side):
        part = V.sub(component)
        return fem.dirichletbc(value, fem.locate_dofs_geometrical((part, part.collapse()[0]), side)[0], part)

    bottom = condition(0, fem.Constant(domain, 0.0), lambda x: np.isclose(x[1], 0.0))
    guided = condition(1, fem.Constant(domain, 0.0), lambda x: np.isclose(x[0] * (x[0] - 0.25), 0.0))
    moved = condition(0, top, lambda x: np.isclose(x[1], 1.0))
    bcs = [bottom, guided, moved]
    problem = lse.fem.EnergyProblem(W + hysteresis.functional, u, bcs=bcs, petsc_options_prefix="twin_boundary_")
    u.interpolate(lambda x: np.array([SHEAR * (0.5 - np.abs(x[1] - 0.5)), 0.0 * x[1]]))
    hysteresis.reset()

    def shear(level):
        top.value = level

    force = {"force": lambda: problem.reaction(moved)}
    path = lse.fem.LoadPath(problem, shear, force, internal=[hysteresis], progress=False)
    table = path.run(cycle(0.06, -0.06, 0.06, step=0.03))
    balance = np.diff(table["energy"] + table["dissipated"] + table["released"] - table["work"])
    assert np.abs(balance).max() < 1e-8 * np.abs(np.diff(table["work"])).max()
    assert np.diff(table["dissipated"]).min() >= 0.0
    load, stress = table["load"], table["force"] / 0.25
    plateau = TWIN_PRICE / (2.0 * SHEAR)
    np.testing.assert_allclose(stress[load > 0.05], plateau, rtol=0.1)  # the cells pin the boundary a little
    np.testing.assert_allclose(stress[load < -0.05], -plateau, rtol=0.1)
    first, last = np.flatnonzero(load > 0.05)
    assert abs(stress[last] - stress[first]) < 1e-5 * plateau
    lost = table["dissipated"] + table["released"]
    force = table["force"][first : last + 1]
    area, corner = np.trapezoid(force, load[first : last + 1]), 0.5 * np.abs(np.diff(force)).max() * 0.03
    assert (
        abs(area - lost[last] + lost[first]) < corner < 0.2 * area
    )  # the trapezoidal rule does not see where force turns


@pytest.mark.mpi
def test_ranks_share_the_memory_of_one():
    tables = []
    for comm in (MPI.COMM_WORLD, MPI.COMM_SELF):
        bar = Bar(40, comm=comm)
        bar.start_with_both_phases()
        tables.append(bar.path.run([0.4, 0.45, 0.5, 0.55, 0.45, 0.35]))
    assert tables[1]["dissipated"][-1] > 0.01
    for name in ("stress", "stored", "dissipated"):
        np.testing.assert_allclose(tables[0][name], tables[1][name], rtol=0.0, atol=1e-8)


def test_a_path_goes_on_from_its_checkpoint_with_its_memory(tmp_path):
    levels = cycle(0.5, 0.2, step=0.05)
    whole = Bar(40, width=0.05, comm=MPI.COMM_SELF).path.run(levels)
    file = tmp_path / "path.npz"
    Bar(40, width=0.05, comm=MPI.COMM_SELF, checkpoint=file).path.run(levels[:12])
    again = Bar(40, width=0.05, comm=MPI.COMM_SELF, checkpoint=file)
    assert again.path.resume() == 12
    table = again.path.run(levels)
    for name in ("stress", "stored", "dissipated"):
        np.testing.assert_array_equal(table[name], whole[name])


def test_a_stored_stress_takes_the_same_term():
    material = square_to_rectangle(0.05)
    domain = mesh.create_unit_square(MPI.COMM_SELF, 3, 3)
    V = fem.functionspace(domain, ("Lagrange", 1, (2,)))
    left, right = (fem.locate_dofs_geometrical(V, lambda x, at=at: np.isclose(x[0], at)) for at in (0.0, 1.0))
    found = []
    for stored in (False, True):
        u, v = fem.Function(V), ufl.TestFunction(V)
        F = ufl.Identity(2) + ufl.grad(u)
        hysteresis = lse.fem.Dissipation(material, F, 0.002, degree=1)
        options = {}
        if stored:
            P = lse.fem.QuadratureStress(material, F, degree=1)
            residual = ufl.inner(P.operator, ufl.grad(v)) * P.dx + ufl.derivative(hysteresis.functional, u, v)
            options = {"residual": residual, "stresses": [P]}
        pull = fem.Constant(domain, (0.06, 0.0))
        problem = lse.fem.EnergyProblem(
            lse.fem.energy(material, F) * hysteresis.dx + hysteresis.functional,
            u,
            bcs=[fem.dirichletbc(np.zeros(2), left, V), fem.dirichletbc(pull, right, V)],
            petsc_options_prefix=f"damped_{stored}_",
            **options,
        )
        problem.solve()
        hysteresis.advance()
        found.append((problem.energy(), hysteresis.dissipated(), u.x.array.copy()))
    assert found[0][1] > 0.0
    np.testing.assert_allclose(found[1][:2], found[0][:2], rtol=1e-8)
    np.testing.assert_allclose(found[1][2], found[0][2], rtol=0.0, atol=1e-8)


def test_prices_of_pairs_are_sums_of_prices_of_modes():
    assert prices_of_modes(0.3, 3) == pytest.approx([0.15, 0.15, 0.15])
    c = np.array([0.1, 0.4, 0.2, 0.0])
    table = c[:, None] + c
    np.fill_diagonal(table, 0.0)
    np.testing.assert_allclose(prices_of_modes(table, 4), c, atol=1e-14)


@pytest.mark.parametrize(
    ("price", "message"),
    [
        (-1.0, ">= 0"),
        ([[0.0, 1.0], [2.0, 0.0]], "same in both directions"),
        ([[0.0, 1.0, 9.0], [1.0, 0.0, 1.0], [9.0, 1.0, 0.0]], r"sum c_i \+ c_j"),
        (np.ones((2, 3)), "shape"),
        (np.nan, "finite"),
    ],
)
def test_other_prices_are_refused(price, message):
    with pytest.raises(lse.InvalidInputError, match=message):
        prices_of_modes(price, 3 if np.shape(price) == (3, 3) else 2)


def test_one_mode_and_wrong_ranges_are_refused():
    domain = mesh.create_unit_square(MPI.COMM_SELF, 1, 1)
    u = fem.Function(fem.functionspace(domain, ("Lagrange", 1, (2,))))
    F = ufl.Identity(2) + ufl.grad(u)
    material = square_to_rectangle(0.05)
    one = lse.Material(material.potential.alone(0), material.kinematics)
    with pytest.raises(lse.InvalidInputError, match="one mode has no transformation"):
        lse.fem.Dissipation(one, F, 0.1, degree=1)
    with pytest.raises(lse.InvalidInputError, match=r"reversible is 1\.5"):
        lse.fem.Dissipation(material, F, 0.1, degree=1, reversible=1.5)
    with pytest.raises(lse.InvalidInputError, match="degree is 0"):
        lse.fem.Dissipation(material, F, 0.1, degree=0)
    hysteresis = lse.fem.Dissipation(material, F, 0.1, degree=1)
    u.x.array[:] = np.nan
    with pytest.raises(lse.InvalidInputError, match="not finite at 2 quadrature points"):
        hysteresis.advance()


def test_a_price_that_is_a_field_or_a_constant_must_not_be_negative_either():
    domain = mesh.create_unit_square(MPI.COMM_SELF, 1, 1)
    u, price = (
        fem.Function(fem.functionspace(domain, ("Lagrange", 1, (2,)))),
        fem.Function(fem.functionspace(domain, ("DG", 0))),
    )
    F, material = ufl.Identity(2) + ufl.grad(u), square_to_rectangle(0.05)
    price.x.array[:] = 0.1, -0.1
    with pytest.raises(lse.InvalidInputError, match="the price is negative at 1 quadrature points"):
        lse.fem.Dissipation(material, F, price, degree=1)
    constant = fem.Constant(domain, 0.1)
    hysteresis = lse.fem.Dissipation(material, F, constant, degree=1)
    constant.value = -0.1
    with pytest.raises(lse.InvalidInputError, match="the price is negative at 2 quadrature points"):
        hysteresis.advance()
    assert hysteresis.dissipated() == 0.0


def arc_length(checkpoint=None):
    """The path of a bar of one cell that a force pulls."""
    domain = mesh.create_interval(MPI.COMM_WORLD, 1, [0.0, 1.0])
    V = fem.functionspace(domain, ("Lagrange", 1))
    u = fem.Function(V)
    hysteresis = lse.fem.Dissipation.of_potential(wells(), [u.dx(0)], PRICE, degree=1)
    W = lse.fem.potential_energy(wells(), [u.dx(0)]) * hysteresis.dx
    left = fem.locate_dofs_geometrical(V, lambda x: np.isclose(x[0], 0.0))
    problem = lse.fem.EnergyProblem(
        W + hysteresis.functional, u, bcs=[fem.dirichletbc(0.0, left, V)], petsc_options_prefix="hysteretic_arc_"
    )
    end = fem.form(u.dx(0) * ufl.dx)
    observed = {"strain": lambda: domain.comm.allreduce(fem.assemble_scalar(end)), "paid": hysteresis.dissipated}
    return lse.fem.ArcLength(problem, u.dx(0) * ufl.dx, 0.015, observed, internal=[hysteresis], checkpoint=checkpoint)


@pytest.mark.mpi
def test_arc_length_follows_the_force_with_hysteresis_over_its_peak_and_goes_on_from_its_checkpoint(tmp_path):
    """A bar of one cell strains homogeneously: the force is W'(e) + price w'(e) while the second phase grows."""
    file = MPI.COMM_WORLD.bcast(str(tmp_path / "path.npz"))
    whole, path = arc_length(), arc_length(file)
    whole.run(60)
    arc_length(file).run(30)  # it is interrupted while the second phase grows
    assert path.resume() == 31
    table = path.run(30)
    for name in table:
        np.testing.assert_allclose(table[name], whole.table[name], rtol=1e-9, atol=1e-12, err_msg=name)
    assert [point.maximum for point in path.limit_points()] == [True, False]
    e = table["strain"]
    growing = np.flatnonzero(np.diff(table["paid"]) > 1e-6) + 1
    assert len(growing) > 10
    w = wells().mode_weights(e[:, None])[:, 1]
    force = wells().gradient(e[:, None])[:, 0] + PRICE * w * (1.0 - w) * MODULUS * TRANSFORMATION / SCALE
    np.testing.assert_allclose(table["factor"][growing], force[growing], rtol=0.0, atol=1e-8)
    np.testing.assert_allclose(table["paid"][growing], PRICE * (w[growing] - w[0] - 1e-3), rtol=0.0, atol=1e-12)


def test_a_path_refuses_memory_that_would_not_follow_and_memory_that_costs_nothing():
    domain = mesh.create_interval(MPI.COMM_SELF, 1, [0.0, 1.0])
    u = fem.Function(fem.functionspace(domain, ("Lagrange", 1)))
    hysteresis, other = (lse.fem.Dissipation.of_potential(wells(), [u.dx(0)], PRICE, degree=1) for _ in range(2))
    left = fem.locate_dofs_geometrical(u.function_space, lambda x: np.isclose(x[0], 0.0))
    W = lse.fem.potential_energy(wells(), [u.dx(0)]) * hysteresis.dx + hysteresis.functional
    bcs = [fem.dirichletbc(0.0, left, u.function_space)]
    problem = lse.fem.EnergyProblem(W, u, bcs=bcs, petsc_options_prefix="forgotten_")
    motion = lse.fem.Motion(W, u, density=1.0, bcs=bcs, petsc_options_prefix="forgotten_motion_")
    paths = (
        lambda internal: lse.fem.LoadPath(problem, print, internal=internal),
        lambda internal: lse.fem.ArcLength(problem, u.dx(0) * ufl.dx, 0.1, internal=internal),
        lambda internal: lse.fem.Dynamics(motion, 0.1, internal=internal),
    )
    for path in paths:
        path([hysteresis])
        with pytest.raises(lse.InvalidInputError, match="would never follow"):
            path([])
        with pytest.raises(lse.InvalidInputError, match="would cost nothing"):
            path([hysteresis, other])
    P1 = basix.ufl.element("Lagrange", "interval", 1)
    state = fem.Function(fem.functionspace(domain, basix.ufl.mixed_element([P1, P1])))
    c = ufl.split(state)[0]
    demixing = lse.fem.Dissipation.of_potential(wells(), [c], PRICE, degree=2)
    energy = lse.fem.potential_energy(wells(), [c]) * demixing.dx + demixing.functional
    flow = lse.fem.CahnHilliard(energy, state, petsc_options_prefix="forgotten_flow_")
    with pytest.raises(lse.InvalidInputError, match="does not follow in an Evolution"):
        lse.fem.Evolution(flow, dt=0.1)
