"""Cahn-Hilliard steps against what is exact: interfaces, growth of small waves, mass, energy, restarts."""

import contextlib

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI
from scipy.integrate import quad

import lse_material as lse
from lse_material.fem import (
    CahnHilliard,
    Evolution,
    ExtrapolationMonitor,
    ExtrapolationWarning,
    micromorphic,
    potential_energy,
)
from tests.fem.problems import Solid, mixed, set_part, total, variants
from tests.materials import mild_network, quadratic_well

WORLD = MPI.COMM_WORLD


def two_wells(rho, stiffness=32.0):
    """Phases at c = 0 and c = 1."""
    K = np.array([[stiffness]])
    return lse.SoftMinimum((quadratic_well([0.0], K), quadratic_well([1.0], K)), rho)


# ---- exact solutions -----------------------------------------------------------------------------------------------------


def relaxed_interface(W, kappa, cells, profile, implicit):
    """Energy of the interface in a bar of length 1, and the state, after long steps."""
    domain = mesh.create_unit_interval(WORLD, cells)
    state = mixed(domain, 1, 1)
    set_part(state, 0, profile)
    c = ufl.split(state)[0]
    energy = (W(c) + 0.5 * kappa * ufl.inner(ufl.grad(c), ufl.grad(c))) * ufl.dx(degree=6)
    flow = CahnHilliard(energy, state, petsc_options_prefix=f"interface_{implicit}_", implicit=implicit)
    for _ in range(10 if implicit else 60):
        flow.step(1e3)
    return flow.energy(), state


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_interface_of_the_quartic_is_a_tanh_with_its_energy(shift):
    """W = A c^2 (1 - c)^2: c = (1 + tanh(x/l))/2, l = sqrt(2 kappa/A), energy sqrt(2 kappa A)/6, at h = l/3."""
    A, length = 32.0, 0.03
    kappa = 0.5 * A * length**2
    cells = 100  # h = l/3
    place = 0.5 + shift / cells

    def start(x):
        return np.clip(0.5 + (x[0] - place) / (6.0 * length), 0.0, 1.0)

    energy, state = relaxed_interface(lambda c: A * c**2 * (1.0 - c) ** 2, kappa, cells, start, implicit=True)
    assert energy == pytest.approx(np.sqrt(2.0 * kappa * A) / 6.0, rel=1e-2)
    x = ufl.SpatialCoordinate(state.function_space.mesh)
    exact = 0.5 * (1.0 + ufl.tanh((x[0] - place) / length))
    away = total((ufl.split(state)[0] - exact) ** 2 * ufl.dx(degree=8))
    assert np.sqrt(away / length) < 1e-2


def test_interface_of_a_soft_minimum_costs_what_theory_says():
    """int sqrt(2 kappa (W - W_wells)) dc between the wells; lagged weights reach the same state."""
    p, length = two_wells(0.5), 0.03
    kappa = 32.0 * length**2
    grid = np.linspace(-0.05, 0.3, 4001)
    W = p.energy(grid[:, None])
    low, well = float(W.min()), float(grid[W.argmin()])  # a little off 0
    exact = quad(lambda c: np.sqrt(2.0 * kappa * max(float(p.energy([[c]])[0]) - low, 0.0)), well, 1.0 - well)[0]

    def start(x):
        return np.clip(0.5 + (x[0] - 0.5) / (6.0 * length), well, 1.0 - well)

    energy, _ = relaxed_interface(lambda c: potential_energy(p, [c]), kappa, 100, start, implicit=False)
    assert energy - low == pytest.approx(exact, rel=1e-2)


@pytest.mark.parametrize("implicit", [True, False])
def test_small_waves_grow_as_linear_theory_says(implicit):
    """dc/dt = s c, s = -M q^2 (W_cc - W_ce^2/W_ee + kappa q^2), with a strain e that follows without delay."""
    rng = np.random.default_rng(5)
    stiffness = np.array([[20.0, 4.0], [4.0, 10.0]])
    wells = tuple(quadratic_well(centre, stiffness) for centre in ([0.1, -0.05], [0.9, 0.1]))
    p = lse.SoftMinimum(wells, 0.6)
    mean, mobility, kappa, q = 0.45, 0.7, 0.02, 2.0 * np.pi
    H = p.hessian([[mean, 0.0]])[0]
    s = -mobility * q**2 * (H[0, 0] - H[0, 1] ** 2 / H[1, 1] + kappa * q**2)
    assert s > 0.0
    domain = mesh.create_unit_interval(WORLD, 40)
    state = mixed(domain, 2, 2, 2)
    c, _, u = ufl.split(state)
    energy = (potential_energy(p, [c, u.dx(0)]) + 0.5 * kappa * c.dx(0) ** 2) * ufl.dx(degree=6)
    V = state.function_space.sub(2)
    ends = fem.locate_dofs_geometrical((V, V.collapse()[0]), lambda x: np.isclose(x[0] * (1.0 - x[0]), 0.0))
    zero = fem.Function(V.collapse()[0])
    flow = CahnHilliard(
        energy,
        state,
        petsc_options_prefix=f"growth_{implicit}_",
        mobility=mobility,
        bcs=[fem.dirichletbc(zero, ends, V)],
        implicit=implicit,
    )
    amplitude = 1e-4 * (1.0 + 0.1 * rng.random())
    set_part(state, 0, lambda x: mean + amplitude * np.cos(q * x[0]))
    set_part(state, 2, lambda x: -H[0, 1] / H[1, 1] * amplitude * np.sin(q * x[0]) / q)
    wave = fem.form(2.0 * (c - mean) * ufl.cos(q * ufl.SpatialCoordinate(domain)[0]) * ufl.dx(degree=8))
    dt = 1e-3 / s if implicit else 2e-7 / s
    steps = 10
    flow.step(dt)  # from which on c and u belong together
    before = WORLD.allreduce(fem.assemble_scalar(wave))
    for _ in range(steps):
        flow.step(dt)
    factor = WORLD.allreduce(fem.assemble_scalar(wave)) / before
    rate = (1.0 - factor ** (-1.0 / steps)) / dt  # an implicit step multiplies by 1/(1 - s dt)
    assert rate == pytest.approx(s, rel=1e-3)


# ---- a solid with two variants -------------------------------------------------------------------------------------------


@pytest.mark.mpi
@pytest.mark.slow
def test_mass_stays_energy_falls_and_any_number_of_ranks_gives_the_same():
    tables = []
    for comm in (WORLD, MPI.COMM_SELF) if WORLD.size > 1 else (WORLD,):
        run = Solid(comm, name="ranks").evolution()
        tables.append(run.run(1.0, steps=30))
        assert run.increases == 0
        assert np.abs(tables[-1]["mass"] - tables[-1]["mass"][0]).max() < 1e-12
        assert (np.diff(tables[-1]["energy"]) < 0.0).all()
    table = tables[0]
    assert table["energy"][-1] < 0.8 * table["energy"][0]  # something happened
    for name in ("time", "energy", "error"):
        np.testing.assert_allclose(table[name], tables[-1][name], rtol=1e-8)


@pytest.mark.mpi
def test_a_resumed_run_repeats_the_uninterrupted_one(tmp_path_factory):
    """To the last bit on one rank; where sums may be taken in another order, to what is left of rounding."""
    folder = WORLD.bcast(str(tmp_path_factory.mktemp("run")) if WORLD.rank == 0 else None)
    whole = Solid(WORLD, cells=6, name="whole").evolution(checkpoint=f"{folder}/a.npz", every=4)
    first = whole.run(1.0, steps=4)
    expected = whole.run(1.0, steps=2)
    other = Solid(WORLD, cells=6, name="other")
    rest = other.evolution(checkpoint=f"{folder}/a.npz", every=4)
    assert rest.resume() == 4
    assert all(np.array_equal(rest.arrays()[name], first[name]) for name in first)
    table = rest.run(1.0, steps=2)
    assert len(table["time"]) == len(expected["time"]) == 7
    for name in expected:
        scale = np.abs(expected[name]).max()
        np.testing.assert_allclose(table[name], expected[name], rtol=0.0, atol=1e-12 * scale, err_msg=name)
    if WORLD.size == 1:
        assert all(np.array_equal(table[name], expected[name]) for name in expected)
        assert np.array_equal(other.state.x.array, whole.flow.state.x.array)
    with pytest.raises(lse.FormatError, match="another mesh"):
        Solid(WORLD, cells=5, name="third").evolution(checkpoint=f"{folder}/a.npz").resume()


@pytest.mark.mpi
def test_what_flows_in_is_what_is_there_and_the_energy_rises_by_no_more_than_its_work():
    def influx(domain, state):
        return (0.3 - 0.2 * ufl.split(state)[0]) * ufl.ds  # less where there is much

    solid = Solid(WORLD, cells=5, name="influx", supply=influx, mean=0.05)
    run = solid.evolution()
    table = run.run(0.05, steps=12)
    assert table["supplied"][-1] > 1e-4
    np.testing.assert_allclose(table["mass"] - table["mass"][0], table["supplied"], atol=1e-13)
    assert (np.diff(table["energy"]) <= np.diff(table["work"]) + 1e-12).all()
    assert run.increases == 0


def test_the_estimated_error_of_a_step_is_its_error_and_bounds_the_step():
    """Against 64 small steps; most of the error is the lag of the weights."""
    domain = mesh.create_unit_interval(WORLD, 20)
    state = mixed(domain, 1, 1)
    set_part(state, 0, lambda x: 0.45 + 0.05 * np.cos(np.pi * x[0]))
    c = ufl.split(state)[0]
    energy = (potential_energy(two_wells(2.0), [c]) + 0.01 * c.dx(0) ** 2) * ufl.dx(degree=4)
    flow = CahnHilliard(energy, state, petsc_options_prefix="error_")
    run = Evolution(flow, 1e-5, tolerance=1e-2, longest=1e-5)
    estimate = run.run(1.0, steps=1)["error"][-1]
    stepped = fem.Function(state.function_space)
    stepped.x.array[:] = state.x.array
    set_part(state, 0, lambda x: 0.45 + 0.05 * np.cos(np.pi * x[0]))
    for _ in range(64):
        flow.step(1e-5 / 64)
    error = np.sqrt(total((ufl.split(stepped)[0] - c) ** 2 * ufl.dx))
    assert estimate == pytest.approx(error, rel=0.1)
    strict = Evolution(flow, 1e-3, tolerance=1e-5)
    table = strict.run(1.0, steps=3)
    assert strict.rejected > 0
    assert (table["error"] <= 1e-5).all()


@pytest.mark.mpi
def test_leaving_the_training_box_is_told_once_and_recorded():
    solid = Solid(WORLD, cells=4, name="box")
    box = lse.Box([0.0, -0.1, -0.1, -0.1], [0.4, 0.1, 0.1, 0.1])
    watch = ExtrapolationMonitor(solid.x, box, names=["c", "e1", "e2", "e6"])
    run = Evolution(solid.flow, 1e-5, watch=watch)
    warns = pytest.warns(ExtrapolationWarning, match=r"c is 0\.[45].*outside the box \[0, 0\.4\]")
    with warns if WORLD.rank == 0 else contextlib.nullcontext():  # which warns for all
        run.run(1e-5)
    assert run.table["excess"][0] == pytest.approx((0.53 - 0.4) / 0.4, rel=0.1)
    run.run(2e-5)  # no second warning
    with pytest.raises(lse.InvalidInputError, match="4 components"):
        ExtrapolationMonitor(solid.x[:2], box)


# ---- one quadrature rule, any units, order in dt -----------------------------------------------------------------------------


def in_plain_dx(cells=3, implicit=False, supply=None, name="plain"):
    """Wells of networks, in c and the strain of a bar, with measures that name no degree."""
    rng = np.random.default_rng(11)
    p = lse.SoftMinimum(tuple(mild_network(rng, 2, (4,)) for _ in range(3)), 0.05, [0.4, 0.0], [0.3, 0.1])
    domain = mesh.create_unit_interval(WORLD, cells)
    state = mixed(domain, 2, 2, 2)
    c, _, u = ufl.split(state)
    energy = (potential_energy(p, [c, u.dx(0)]) + 0.02 * c.dx(0) ** 2 + 0.1 * u**4) * ufl.dx
    options = {"viscous": [(u.dx(0), 1e-3)], "implicit": implicit, "mobility": 1.0 + 0.2 * c**2}
    flow = CahnHilliard(
        energy, state, petsc_options_prefix=f"{name}_", supply=None if supply is None else supply(c), **options
    )
    set_part(state, 0, lambda x: 0.5 + 0.4 * np.sin(4.0 * x[0]))
    set_part(state, 2, lambda x: 0.1 * np.cos(3.0 * x[0]))
    flow.before.x.array[:] = state.x.array
    return flow


def test_with_plain_dx_the_step_is_derived_from_the_energy_that_is_summed():
    """At the state where a step begins, with mu = 0, the residual is the derivative of the energy."""
    flow = in_plain_dx()
    x, V = flow.state.x.array, flow.state.function_space
    way = np.random.default_rng(12).normal(size=x.size)
    way[V.sub(1).collapse()[1]] = 0.0
    start, h = x.copy(), 1e-4
    slope = float(fem.assemble_vector(flow.problem.F).array @ way)
    values = []
    for share in (-2.0, -1.0, 1.0, 2.0):
        x[:] = start + share * h * way
        values.append(flow.energy())
    found = (values[0] - 8.0 * values[1] + 8.0 * values[2] - values[3]) / (12.0 * h)
    assert found == pytest.approx(slope, rel=1e-8)


@pytest.mark.parametrize("dt", [1e-4, 1e-2, 1.0, 1e3])
def test_with_plain_dx_the_energy_never_rises(dt):
    flow = in_plain_dx()
    values = [flow.energy()]
    for _ in range(8):
        flow.step(dt)
        values.append(flow.energy())
    assert (np.diff(values) <= 1e-12 * flow.energy_size()).all()
    assert values[-1] < values[0] - 1e-3 * flow.energy_size()


def test_with_plain_ds_the_mass_is_what_was_supplied():
    """The supply is no polynomial, so that another rule would say another mass."""
    domain = mesh.create_unit_square(WORLD, 2, 2)
    state = mixed(domain, 2, 2)
    c, _ = ufl.split(state)
    energy = (potential_energy(two_wells(1.5), [c]) + 0.05 * ufl.inner(ufl.grad(c), ufl.grad(c))) * ufl.dx
    supply = 0.3 * ufl.exp(-20.0 * c**2) * ufl.ds - 0.1 * ufl.sqrt(0.01 + (c - 0.4) ** 2) * ufl.dx
    flow = CahnHilliard(energy, state, petsc_options_prefix="balance_", supply=supply)
    set_part(state, 0, lambda x: 0.3 + 0.2 * np.cos(3.0 * x[0]) * x[1])
    before, energy_before = flow.mass(), flow.energy()
    flow.step(0.01)
    assert abs(flow.supplied()) > 1e-4
    assert flow.mass() - before == pytest.approx(flow.supplied(), rel=1e-9)
    assert flow.energy() <= energy_before + flow.work() + 1e-13


def particle(length, stress, implicit):
    """A square of 20 um and 3 GPa in units of which `length` make a metre and `stress` a pascal; sizes are dimensionless."""
    L, E, hour = 2e-5 * length, 3e9 * stress, 3600.0
    base = variants(2.0)
    W = lse.SoftMinimum(base.modes, base.scaled_rho, energy_scale=E)
    domain = mesh.create_rectangle(WORLD, [[0.0, 0.0], [L, L]], [5, 5])
    state = mixed(domain, 1, 1, (2, (2,)), 1)
    c, mu, u, eta = ufl.split(state)
    e, root = ufl.sym(ufl.grad(u)), np.sqrt(2.0)
    x = [c, (e[0, 0] + e[1, 1]) / root, (e[0, 0] - e[1, 1]) / root, root * e[0, 1]]
    density = potential_energy(W, x) + 0.05 * E * L**2 * ufl.inner(ufl.grad(c), ufl.grad(c))
    density += micromorphic(x[2], eta, length=0.1 * L, modulus=40.0 * E, penalty=90.0 * E)
    V = state.function_space.sub(2)
    domain.topology.create_connectivity(1, 2)
    sides = fem.locate_dofs_topological((V, V.collapse()[0]), 1, mesh.exterior_facet_indices(domain.topology))
    set_part(state, 0, lambda x: 0.4 + 0.1 * np.cos(np.pi * x[0] / L) * np.cos(2.0 * np.pi * x[1] / L))
    bump = lambda x: np.sin(np.pi * x[0] / L) * np.sin(np.pi * x[1] / L)  # noqa: E731
    set_part(state, 2, lambda x: 2e-3 * L * np.vstack([bump(x), -0.5 * bump(x)]))
    flow = CahnHilliard(
        density * ufl.dx,
        state,
        petsc_options_prefix=f"units_{length}_{stress}_{implicit}_",
        mobility=L**2 / (E * hour),
        bcs=[fem.dirichletbc(fem.Function(V.collapse()[0]), sides, V)],
        supply=0.05 * L / hour * (1.0 - c) * ufl.ds,
        implicit=implicit,
    )
    table = Evolution(flow, 1e-5 * hour, tolerance=5e-3).run(1e3 * hour, steps=4)
    sizes = {
        "time": hour,
        "dt": hour,
        "energy": E * L**2,
        "mass": L**2,
        "supplied": L**2,
        "work": E * L**2,
        "error": 1.0,
    }
    found = {name: table[name] / size for name, size in sizes.items()}
    for name, form, size in (
        ("c", c**2, L**2),
        ("mu", mu**2, (E * L) ** 2),
        ("u", ufl.inner(u, u), L**4),
        ("eta", eta**2, L**2),
    ):
        found[name] = np.sqrt(total(form * ufl.dx) / size)
    return found, table["iterations"]


@pytest.mark.parametrize("implicit", [pytest.param(False, marks=pytest.mark.slow), True])
def test_units_change_no_iteration_and_no_digit(implicit):
    """m and Pa, mm and MPa, um and GPa, um and Pa."""
    exact, iterations = particle(1.0, 1.0, implicit)
    for length, stress in ((1e3, 1e-6), (1e6, 1e-9), (1e6, 1.0)):
        found, others = particle(length, stress, implicit)
        assert np.array_equal(others, iterations)
        for name, value in exact.items():
            np.testing.assert_allclose(
                found[name], value, rtol=1e-8, atol=1e-12, err_msg=f"{name} at {length}, {stress}"
            )


def wave_after(until, steps, implicit):
    """Concentrations of a wave that grows to about twice its size."""
    domain = mesh.create_unit_interval(WORLD, 12)
    state = mixed(domain, 1, 1)
    c = ufl.split(state)[0]
    energy = (potential_energy(two_wells(6.0), [c]) + 0.02 * c.dx(0) ** 2) * ufl.dx
    flow = CahnHilliard(energy, state, petsc_options_prefix=f"order_{implicit}_{steps}_", implicit=implicit)
    set_part(state, 0, lambda x: 0.35 + 0.1 * np.cos(np.pi * x[0]))
    for _ in range(steps):
        flow.step(until / steps)
    return state.x.array[state.function_space.sub(0).collapse()[1]]


def test_steps_are_of_first_order_in_dt_with_lagged_weights_too():
    """Against the implicit steps, extrapolated to dt = 0: both ways lead to the same state."""
    until = 1e-3
    exact = 2.0 * wave_after(until, 256, True) - wave_after(until, 128, True)
    for implicit, counts in ((True, (32, 64)), (False, (128, 256))):
        errors = [np.abs(wave_after(until, n, implicit) - exact).max() for n in counts]
        assert 1e-5 < errors[0] < 1e-3
        assert np.log2(errors[0] / errors[1]) == pytest.approx(1.0, abs=0.04)


def test_what_cannot_flow_is_refused():
    domain = mesh.create_unit_square(MPI.COMM_SELF, 2, 2)
    state = mixed(domain, (1, (2,)), 1)
    with pytest.raises(lse.InvalidInputError, match="two scalars"):
        CahnHilliard(ufl.split(state)[1] ** 2 * ufl.dx, state, petsc_options_prefix="refused_")
    state = mixed(domain, 1, 1)
    with pytest.raises(lse.InvalidInputError, match="functional"):
        CahnHilliard(ufl.TestFunction(state.function_space)[0] * ufl.dx, state, petsc_options_prefix="refused_")
    flow = CahnHilliard(ufl.split(state)[0] ** 2 * ufl.dx, state, petsc_options_prefix="refused_")
    with pytest.raises(lse.InvalidInputError, match="dt is"):
        flow.step(-1.0)
    with pytest.raises(lse.InvalidInputError, match="tolerance"):
        Evolution(flow, 1.0, tolerance=0.0)
    with pytest.raises(lse.InvalidInputError, match="column"):
        Evolution(flow, 1.0, observe={"mass": flow.mass})
    c = ufl.split(state)[0]
    for wrong in (
        {"mobility": -0.4},
        {"mobility": "2"},
        {"mobility": ufl.as_vector([1.0, 2.0])},
        {"viscous": [0.3]},
        {"viscous": [(c, -0.3)]},
        {"bcs": 3},
    ):
        with pytest.raises(lse.InvalidInputError, match=r"mobility|visco|bcs"):
            CahnHilliard(c**2 * ufl.dx, state, petsc_options_prefix="refused_", **wrong)
    with pytest.raises(lse.InvalidInputError, match="does not occur"):
        CahnHilliard(fem.Function(state.function_space)[0] ** 2 * ufl.dx, state, petsc_options_prefix="refused_")
    for wrong in ({"compare": c}, {"watch": 2}, {"shortest": -0.5}, {"shortest": "1e-3"}):
        with pytest.raises(lse.InvalidInputError, match=next(iter(wrong))):
            Evolution(flow, 1.0, **wrong)
    with pytest.raises(lse.InvalidInputError, match="takes a CahnHilliard"):
        Evolution(flow.problem, 1.0)
