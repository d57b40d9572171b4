"""A fingerprint changes with all that numbers depend on, and with nothing else; caches and checkpoints are refused by it."""

from dataclasses import replace
from pathlib import Path

import basix.ufl
import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

import lse_material as lse
from lse_material.fem import CellPath, EnergyProblem, Evolution, LoadPath, PeriodicCell, sample
from lse_material.fem.paths.fingerprint import differences, differences_from, fingerprint, to_text
from tests.fem.problems import Solid
from tests.materials import saint_venant_kirchhoff

WORLD = MPI.COMM_WORLD


def folder(tmp_path_factory):
    return Path(WORLD.bcast(str(tmp_path_factory.mktemp("run")) if WORLD.rank == 0 else None))


def by_place(u):
    """The values of u at the nodes of all ranks, in the order of their places."""
    owned = u.function_space.dofmap.index_map.size_local
    x = u.function_space.tabulate_dof_coordinates()[:owned]
    table = np.concatenate([x, u.x.array.reshape(-1, u.function_space.dofmap.index_map_bs)[:owned]], axis=1)
    table = np.concatenate(WORLD.allgather(table))
    return table[np.lexsort(table[:, :3].round(9).T)][:, 3:]


class Square:
    """A strip of the square's cells has other tags; a field, a constant, and a body force in a space of edges."""

    def __init__(
        self, comm=WORLD, *, cells=6, shear=1.0, stiffness=2.0, tagged=0.4, bump=0.0, moved=0.0, edge=1.0, degree=2
    ):
        domain = self.domain = mesh.create_unit_square(comm, cells, cells)
        domain.geometry.x[:] *= 1e-3
        domain.geometry.x[:, 0] *= 1.0 + moved
        self.u = fem.Function(fem.functionspace(domain, ("Lagrange", 1, (2,))))
        self.field = fem.Function(fem.functionspace(domain, ("DG", 0)), name="field")
        self.field.interpolate(lambda x: 1.0 + 300.0 * x[0] + bump * ((x[0] < 2e-4) & (x[1] < 2e-4)))
        self.constant = fem.Constant(domain, stiffness)
        self.flow = fem.Function(fem.functionspace(domain, ("N1curl", 1)), name="flow")
        self.flow.interpolate(lambda x: np.stack([edge * (1.0 + x[1]), x[0]]))
        self.points = fem.Function(
            fem.functionspace(domain, basix.ufl.quadrature_element(domain.basix_cell(), (), degree=2)), name="points"
        )
        self.points.x.array[:] = 1.0
        owned = np.arange(domain.topology.index_map(2).size_local, dtype=np.int32)
        middles = mesh.compute_midpoints(domain, 2, owned)
        tags = mesh.meshtags(domain, 2, owned, (1 + (middles[:, 0] > tagged * 1e-3)).astype(np.int32))
        domain.topology.create_connectivity(1, 2)
        top = mesh.locate_entities_boundary(domain, 1, lambda x: np.isclose(x[1], 1e-3))
        sides = mesh.meshtags(domain, 1, top, np.full(len(top), 7, dtype=np.int32))
        dx, ds = ufl.Measure("dx", domain, subdomain_data=tags), ufl.Measure("ds", domain, subdomain_data=sides)
        F = ufl.Identity(2) + ufl.grad(self.u)
        W = lse.fem.energy(saint_venant_kirchhoff(2, 1.0, shear), F)
        self.form = self.constant * self.field * W * dx(1, degree=degree) + W * dx(2, degree=degree)
        self.form += 1e-9 * ufl.inner(self.flow, self.u) * dx(1, degree=2) + 1e-9 * self.u[1] * ds(7, degree=2)
        self.form += 1e-9 * self.points * ufl.inner(self.u, self.u) * ufl.dx(degree=2)

    def fingerprint(self):
        return fingerprint({"energy": self.form}, unknown=self.u)


CHANGES = {
    "mesh": [{"cells": 7}, {"moved": 1e-6}],
    "formula of the energy": [{"shear": 1.0 + 1e-9}, {"degree": 3}],
    "constant 0 of the energy": [{"stiffness": 2.0 + 1e-7}],
    "coefficient 1 of the energy (field)": [{"bump": 1e-5}],
    "coefficient 2 of the energy (flow)": [{"edge": 1.0 + 1e-7}],
    "tags of the energy (cell)": [{"tagged": 0.6}],
}


@pytest.mark.mpi
def test_it_is_the_same_on_any_number_of_ranks_and_after_a_file():
    alone, among = Square(MPI.COMM_SELF).fingerprint(), Square().fingerprint()
    assert len(alone) == 8
    assert differences(alone, among) == []
    assert differences_from(to_text(alone), among) == []
    assert differences_from("no fingerprint", among) == sorted(among)


@pytest.mark.mpi
@pytest.mark.parametrize(("part", "change"), [(part, c) for part, all_of in CHANGES.items() for c in all_of])
def test_each_part_shows_its_changes_and_no_other_does(part, change):
    found = differences(Square().fingerprint(), Square(**change).fingerprint())
    if change == {"cells": 7}:
        assert part in found
    elif part == "mesh":  # the fields follow the mesh
        assert part in found
        assert "formula of the energy" not in found
    else:
        assert found == [part]


@pytest.mark.mpi
def test_the_unknown_does_not_count():
    one, other = Square(), Square()
    other.u.x.array[:] = 1.0
    assert differences(one.fingerprint(), other.fingerprint()) == []


# ---- checkpoints of load paths --------------------------------------------------------------------------------------------


class Pulled(Square):
    """The square, pulled at its right side; a pressure grows with the load."""

    number = 0

    def __init__(self, path, *, side=1.0, further=False, rate=0.02, **options):
        super().__init__(**options)
        Pulled.number += 1
        V, self.rate = self.u.function_space, rate
        self.pull = fem.Constant(self.domain, np.zeros(2))
        left = fem.locate_dofs_geometrical(V, lambda x: np.isclose(x[0], 0.0))
        right = fem.locate_dofs_geometrical(
            V, lambda x: (x[0] > 0.999e-3) & (x[1] < (0.6e-3 if further else 2e-3)) & (x[1] > -1.0)
        )
        bcs = [fem.dirichletbc(np.zeros(2), left, V), fem.dirichletbc(self.pull, right, V)]
        self.side = fem.Constant(self.domain, 0.0)
        self.problem = EnergyProblem(
            self.form - self.side * self.u[1] * ufl.ds, self.u, bcs=bcs, petsc_options_prefix=f"pulled{Pulled.number}_"
        )
        self.slope = side
        self.path = LoadPath(self.problem, self.apply, {"stretch": lambda: float(self.pull.value[0])}, checkpoint=path)

    def apply(self, load):
        self.pull.value[0] = 1e-3 * self.rate * load
        self.side.value = 1e-3 * self.slope * load


@pytest.mark.mpi
def test_a_path_goes_on_with_its_own_problem_only(tmp_path_factory):
    file = folder(tmp_path_factory) / "path.npz"
    first = Pulled(file)
    first.path.run([1.0, 2.0])
    again = Pulled(file)
    again.path = replace(again.path, halvings=3)  # options of the solution may differ
    again.problem.tolerance = 1e-8
    assert again.path.resume() == 2
    np.testing.assert_allclose(by_place(again.u), by_place(first.u), rtol=0.0, atol=1e-18)  # partitions may differ
    table, expected = again.path.run([1.0, 2.0, 3.0]), first.path.run([1.0, 2.0, 3.0])
    np.testing.assert_allclose(table["energy"], expected["energy"], rtol=1e-9)
    others = {
        "formula of the energy": {"shear": 1.3},
        "constant 0 of the energy": {"stiffness": 2.2},
        r"coefficient 1 of the energy \(field\)": {"bump": 0.3},
        r"tags of the energy \(cell\)": {"tagged": 0.6},
        "constant 1 of the energy": {"side": 1.5},
        "Dirichlet values": {"rate": 0.03},
        "places of Dirichlet conditions": {"further": True},
    }
    for part, change in others.items():
        other = Pulled(file, **change)
        with pytest.raises(lse.FormatError, match=f"what differs: {part}"):
            other.path.resume()
        assert (other.u.x.array == 0.0).all()
        assert other.path.table["load"] == []
    other = Pulled(file, shear=1.3)
    assert other.path.resume(changed=["formula of the energy"]) == 3
    with pytest.raises(lse.InvalidInputError, match="column 'fingerprint'"):
        LoadPath(first.problem, first.apply, {"fingerprint": lambda: 0.0})


@pytest.mark.mpi
def test_an_evolution_goes_on_with_its_own_problem_only(tmp_path_factory):
    file = folder(tmp_path_factory) / "evolution.npz"

    def supplied(value):
        def influx(domain, state):
            return fem.Constant(domain, value) * ufl.ds(domain)

        return influx

    def run(name, value, **options):
        return Solid(WORLD, cells=4, name=name, supply=supplied(value), **options).evolution(checkpoint=file)

    first = run("first", 0.3)
    first.run(1.0, steps=2)
    assert run("second", 0.3).resume() == 2
    for name, part, other in (
        ("third", "constant .* of the step", run("third", 0.31)),
        ("fourth", "formula of the step", run("fourth", 0.3, mobility=2.0)),
    ):
        start = other.flow.state.x.array.copy()
        with pytest.raises(lse.FormatError, match=f"what differs: {part}"):
            other.resume()
        assert np.array_equal(other.flow.state.x.array, start), name
        assert other.arrays()["time"].size == 0
    with pytest.raises(lse.InvalidInputError, match="column 'next_dt'"):
        Evolution(first.flow, 1e-5, observe={"next_dt": lambda: 0.0})


# ---- samples of cells -----------------------------------------------------------------------------------------------------


def laminate(share=0.5, factor=4.0, shift=0.0, **options):
    def make(comm):
        domain = mesh.create_rectangle(comm, [[0.0, 0.0], [2e-6, 1e-6]], [8, 4])
        domain.geometry.x[:, 1] += shift * 1e-7 * np.sin(2e6 * np.pi * domain.geometry.x[:, 1])
        indicator = fem.Function(fem.functionspace(domain, ("DG", 0)))
        owned = domain.topology.index_map(2)
        cells = np.arange(owned.size_local + owned.num_ghosts, dtype=np.int32)
        indicator.x.array[:] = mesh.compute_midpoints(domain, 2, cells)[:, 0] < share * 2e-6
        stiff = fem.Constant(domain, factor)
        material = saint_venant_kirchhoff(2, 1.0, 0.5)
        energy = lambda F: (1.0 + stiff * indicator) * lse.fem.energy(material, F)  # noqa: E731
        return PeriodicCell(domain, energy, degree=1, quadrature_degree=1, **options)

    return make


@pytest.mark.mpi
def test_samples_of_another_cell_are_not_taken_for_those_of_this_one(tmp_path_factory):
    file = folder(tmp_path_factory) / "cell.npz"
    F = np.array([[1.03, 0.0], [0.0, 1.0]])
    path = CellPath(F[None])
    stresses = []
    makers = [laminate(), laminate(0.25), laminate(factor=2.0), laminate(shift=1.0)]
    for make in makers:
        found = sample(make, [path], file, progress=False)
        expected = make(MPI.COMM_SELF).minimum(F).stress
        np.testing.assert_allclose(found.samples.stress[0], expected, rtol=1e-8, atol=1e-10)
        stresses.append(found.samples.stress[0, 0, 0])
        again = sample(make, [path], file, progress=False)
        assert again.seconds[0] == found.seconds[0]  # read
    assert len(set(np.round(stresses[:3], 6))) == 3
    for other in (laminate(shift=1.0, perturbation_size=1e-9), laminate(shift=1.0, tolerance=1e-9)):
        assert sample(other, [path], file, progress=False).seconds[0] != found.seconds[0]
        found = sample(makers[-1], [path], file, progress=False)
    free = CellPath(F[None], {(1, 1): 0.01})
    assert sample(makers[-1], [free], file, progress=False).samples.stress[0, 1, 1] == pytest.approx(0.01, abs=1e-9)
