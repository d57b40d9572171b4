"""Ranks without cells take part in everything: what is found is what one rank finds, and nobody waits for ever."""

import faulthandler
import sys
from pathlib import Path

import basix.ufl
import numpy as np
import pytest
import ufl
from dolfinx import fem, graph, io, mesh
from mpi4py import MPI

import lse_material as lse
from lse_material.fem import (
    MULTIGRID,
    ArcLength,
    CahnHilliard,
    EnergyProblem,
    Evolution,
    ExtrapolationMonitor,
    LoadPath,
    MaterialFields,
    MaterialProblem,
    PeriodicCell,
    QuadratureStress,
    check_resolution,
    draw_cells,
    interior_penalty,
    load_state,
    micromorphic,
    potential_energy,
    save_state,
    share_not_elliptic,
)
from lse_material.fem import stability as stable
from tests.materials import quadratic_well, saint_venant_kirchhoff, two_variants

WORLD, SELF = MPI.COMM_WORLD, MPI.COMM_SELF
pytestmark = pytest.mark.mpi


@pytest.fixture(autouse=True)
def _nobody_waits_for_ever():
    faulthandler.dump_traceback_later(120, exit=True, file=sys.__stderr__)
    yield
    faulthandler.cancel_dump_traceback_later()


def on_the_last_rank(comm, parts, types, cells):
    """A partitioner that gives every cell to the last rank."""
    count = len(cells[0]) // {mesh.CellType.triangle: 3, mesh.CellType.quadrilateral: 4}[types[0]]
    return graph.adjacencylist(np.full((count, 1), parts - 1, dtype=np.int32))._cpp_object


def square(comm=WORLD, n=3, kind=mesh.CellType.triangle):
    """A unit square whose cells are all of the last rank."""
    domain = mesh.create_unit_square(comm, n, n, kind, partitioner=on_the_last_rank)
    owned = domain.topology.index_map(2).size_local
    assert (owned > 0) == (comm.rank == comm.size - 1)
    return domain


def folder(tmp_path_factory):
    return WORLD.bcast(str(tmp_path_factory.mktemp("empty")) if WORLD.rank == 0 else None)


class Pulled:
    """A square that is pulled to the right."""

    def __init__(self, comm, material, degree=1):
        self.domain = square(comm)
        self.V = fem.functionspace(self.domain, ("Lagrange", degree, (2,)))
        self.u, self.v = fem.Function(self.V), ufl.TestFunction(self.V)
        self.F = ufl.Identity(2) + ufl.grad(self.u)
        self.load = fem.Constant(self.domain, 0.0)
        self.end = fem.Function(self.V)
        ends = [fem.locate_dofs_geometrical(self.V, lambda x, at=at: np.isclose(x[0], at)) for at in (0.0, 1.0)]
        self.bcs = [fem.dirichletbc(np.zeros(2), ends[0], self.V), fem.dirichletbc(self.end, ends[1])]
        self.material = material

    def pull(self, e):
        self.end.x.array[0::2], self.end.x.array[1::2] = e, 0.3 * e

    def problem(self, name, **kwargs):
        W = lse.fem.energy(self.material, self.F) * ufl.dx(degree=2)
        return EnergyProblem(W, self.u, bcs=self.bcs, petsc_options_prefix=f"{name}_{id(self)}_", **kwargs)


def same_on_one_rank(values):
    """The values of `values(comm)` on all ranks, and on each alone."""
    found, alone = values(WORLD), values(SELF)
    assert found == pytest.approx(alone, rel=1e-8, abs=1e-10)
    return found


@pytest.mark.parametrize("route", ["form", "stored"])
def test_equilibrium(route):
    def values(comm):
        body = Pulled(comm, saint_venant_kirchhoff(2))
        if route == "stored":
            S = QuadratureStress(body.material, body.F, degree=2)
            residual, stresses = ufl.inner(S.operator, ufl.grad(body.v)) * S.dx, [S]
        else:
            W = lse.fem.energy(body.material, body.F) * ufl.dx(degree=2)
            residual, stresses = ufl.derivative(W, body.u, body.v), []
        problem = MaterialProblem(
            residual, body.u, bcs=body.bcs, stresses=stresses, petsc_options_prefix=f"e{route}_{id(body)}_"
        )
        body.pull(0.1)
        problem.solve()
        return [problem.reaction(body.bcs[1])]

    assert same_on_one_rank(values)[0] != 0.0


@pytest.mark.parametrize("solver", ["direct", "multigrid", "fallback"])
def test_minimum_and_its_stability(solver):
    options = {"direct": {}, "multigrid": MULTIGRID, "fallback": {"snes_max_it": 1}}[solver]

    def values(comm):
        body = Pulled(comm, two_variants(rho=3e-3))
        problem = body.problem(solver, petsc_options=options)
        body.pull(0.06)
        problem.solve()
        modes = stable.lowest_modes(problem)
        return [
            problem.energy(),
            float(stable.is_stable(problem)),
            stable.negative_eigenvalues(problem),
            modes.values[0],
        ]

    assert same_on_one_rank(values)[1] == 1.0


def test_load_path_and_arc_length(tmp_path_factory):
    place = folder(tmp_path_factory)

    def path(comm):
        body = Pulled(comm, two_variants(rho=3e-3))
        file = f"{place}/path_{comm.size}_{WORLD.rank if comm.size == 1 else 0}.npz"
        observed = {"energy again": lambda: 1.0}  # between the wells: the path follows saddles
        steps = LoadPath(body.problem("path"), body.pull, observed, perturbation_size=0, checkpoint=file)
        table = steps.run([0.0, 0.02, 0.04])
        steps.save_table(file.replace(".npz", ".csv"))
        again = LoadPath(body.problem("again"), body.pull, {"energy again": lambda: 1.0}, checkpoint=file)
        assert again.resume() == 3
        return [*table["energy"], *table["reaction"]] if "reaction" in table else [*table["energy"]]

    same_on_one_rank(path)

    def arc(comm):
        body = Pulled(comm, saint_venant_kirchhoff(2))
        W = lse.fem.energy(body.material, body.F) * ufl.dx(degree=2)
        problem = EnergyProblem(W, body.u, bcs=body.bcs[:1], petsc_options_prefix=f"arc_{id(body)}_")
        table = ArcLength(problem, ufl.inner(ufl.as_vector([1.0, 0.2]), body.u) * ufl.ds, 0.01).run(3)
        return [*table["factor"], *table["energy"]]

    same_on_one_rank(arc)


def test_fields_pictures_and_files(tmp_path_factory):
    place = folder(tmp_path_factory)

    def values(comm):
        body = Pulled(comm, two_variants(rho=3e-3), degree=2)
        body.u.interpolate(lambda x: np.stack([0.05 * x[0] * x[1], -0.03 * x[1] ** 2]))
        fields = MaterialFields(body.material, body.F, degree=2)
        assert check_resolution(body.domain, 10.0) > 4.0
        name = f"{place}/fields_{comm.size}_{WORLD.rank if comm.size == 1 else 0}"
        with io.XDMFFile(comm, f"{name}.xdmf", "w") as file:
            file.write_mesh(body.domain)
            fields.write(file, 0.0)
        draw_cells(fields.mode_weights, f"{name}.png", label="", displacement=body.u)
        box = lse.Box([-0.1, -0.1], [0.02, 0.1])
        watch = ExtrapolationMonitor([body.F[0, 0] - 1.0, body.F[1, 1] - 1.0], box)
        watch.warned = True
        count = body.domain.topology.index_map(2).size_local
        tags = mesh.meshtags(
            body.domain, 2, np.arange(count, dtype=np.int32), np.where(np.arange(count) % 2, 7, 4).astype(np.int32)
        )
        parts = MaterialFields({7: body.material, 4: saint_venant_kirchhoff(2)}, body.F, tags=tags)
        return [
            *fields.phase_fractions(),
            float(fields.integral(fields.energy)),
            fields.smallest_det_F(),
            share_not_elliptic(fields),
            watch.excess(),
            parts.smallest_det_F(),
            float(parts.integral(parts.energy)),
            *parts.phase_fractions(7),
        ]

    same_on_one_rank(values)


def test_states_are_saved_and_loaded(tmp_path_factory):
    path = f"{folder(tmp_path_factory)}/state.npz"
    body = Pulled(WORLD, saint_venant_kirchhoff(2))
    body.u.interpolate(lambda x: np.stack([x[0] ** 2, x[0] - x[1]]))
    save_state(Path(path), body.u, {"load": np.array([0.3])})
    again = Pulled(WORLD, saint_venant_kirchhoff(2))
    assert load_state(Path(path), again.u, {"load"})["load"] == pytest.approx([0.3])
    assert np.array_equal(again.u.x.array, body.u.x.array)


def test_a_periodic_cell():
    def values(comm):
        cell = PeriodicCell(square(comm), lambda F: lse.fem.energy(saint_venant_kirchhoff(2), F))
        state = cell.minimum(np.array([[1.02, 0.01], [0.0, 0.97]]), {(0, 0): 0.0})
        value, _ = cell.lowest_mode()
        return [state.energy, *state.stress.ravel(), *state.tangent.ravel(), value]

    same_on_one_rank(values)


def test_cahn_hilliard_and_its_evolution(tmp_path_factory):
    place = folder(tmp_path_factory)
    p = lse.SoftMinimum((quadratic_well([0.0], np.array([[32.0]])), quadratic_well([1.0], np.array([[32.0]]))), 1.5)

    def values(comm):
        domain = square(comm, n=4)
        P1 = basix.ufl.element("Lagrange", domain.basix_cell(), 1)
        state = fem.Function(fem.functionspace(domain, basix.ufl.mixed_element([P1, P1])))
        c, _ = ufl.split(state)
        energy = (potential_energy(p, [c]) + 0.05 * ufl.inner(ufl.grad(c), ufl.grad(c))) * ufl.dx(degree=4)
        V, dofs = state.function_space.sub(0).collapse()
        start = fem.Function(V)
        start.interpolate(lambda x: 0.45 + 0.1 * np.cos(np.pi * x[0]))
        state.x.array[dofs] = start.x.array
        flow = CahnHilliard(energy, state, petsc_options_prefix=f"flow_{id(state)}_", supply=0.1 * ufl.ds(domain))
        file = f"{place}/flow_{comm.size}_{WORLD.rank if comm.size == 1 else 0}.npz"
        run = Evolution(flow, 1e-4, watch=ExtrapolationMonitor([c], lse.Box([-1.0], [2.0])), checkpoint=file)
        table = run.run(1.0, steps=2)
        assert Evolution(flow, 1e-4, checkpoint=file).resume() == 2
        return [*table["energy"], *table["mass"], *table["time"]]

    same_on_one_rank(values)


def test_regularised_energies():
    def values(comm):
        domain = square(comm)
        V = fem.functionspace(domain, ("Lagrange", 2, (2,)))
        T = fem.functionspace(domain, ("Lagrange", 1, (2, 2)))
        u, phi = fem.Function(V), fem.Function(T)
        u.interpolate(lambda x: np.stack([x[0] ** 2, x[0] * x[1]]))
        bending = interior_penalty(u, length=0.1, modulus=1.0, degree=4)
        following = micromorphic(ufl.grad(u), phi, length=0.1, modulus=1.0, penalty=10.0) * ufl.dx(degree=4)
        return [comm.allreduce(fem.assemble_scalar(fem.form(form))) for form in (bending, following)]

    same_on_one_rank(values)


def test_a_number_for_the_whole_body():
    """The mean displacement of the upper side is prescribed; a rank without cells cannot have the traction on it."""

    def values(comm):
        body = Pulled(comm, saint_venant_kirchhoff(2))
        space = lse.fem.with_global_unknowns(body.V)
        state, given = fem.Function(space), fem.Constant(body.domain, 0.05)
        u, traction = ufl.split(state)
        top = np.sort(mesh.locate_entities_boundary(body.domain, 1, lambda x: np.isclose(x[1], 1.0)))
        ds = ufl.Measure("ds", subdomain_data=mesh.meshtags(body.domain, 1, top, np.ones(len(top), dtype=np.int32)))(1)
        W = lse.fem.energy(body.material, ufl.Identity(2) + ufl.grad(u)) * ufl.dx(degree=2)
        below = fem.Function(body.V)
        dofs = fem.locate_dofs_geometrical((space.sub(0), body.V), lambda x: np.isclose(x[1], 0.0))
        bcs = [fem.dirichletbc(below, dofs, space.sub(0))]
        pull = W + lse.fem.global_constraint(traction, u[1] * ds, given)
        problem = EnergyProblem(pull, state, bcs=bcs, petsc_options_prefix=f"mean_{id(state)}_")
        problem.solve()
        mean = comm.allreduce(fem.assemble_scalar(fem.form(u[1] * ds)))
        return [problem.energy(), mean, comm.allreduce(fem.assemble_scalar(fem.form(traction * ufl.dx)))]

    assert same_on_one_rank(values)[1] == pytest.approx(0.05, rel=1e-10)


@pytest.mark.parametrize("place", ["load", "observe"])
def test_what_a_users_function_raises_on_one_rank_ends_the_path_on_all(place):
    body, last = Pulled(WORLD, saint_venant_kirchhoff(2)), WORLD.rank == WORLD.size - 1

    def pull(e):
        body.pull(1.0 / 0.0 if last and place == "load" else e)

    path = LoadPath(
        body.problem("one"), pull, {"one": lambda: 1.0 / 0.0 if last and place == "observe" else 1.0}, progress=False
    )
    with pytest.raises(ZeroDivisionError):
        path.run([0.01])
