"""A state goes through a file to the last bit, from any number of ranks to any other."""

import basix.ufl
import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

import lse_material as lse
from lse_material.fem import load_state, save_state

WORLD = MPI.COMM_WORLD


def square(comm, cells=4):
    return mesh.create_unit_square(comm, cells, cells)


def quadrature(domain):
    return fem.functionspace(domain, basix.ufl.quadrature_element(domain.basix_cell(), (2,), degree=2))


def mixed(domain):
    cell = domain.basix_cell()
    scalar, vector = basix.ufl.element("P", cell, 1), basix.ufl.element("P", cell, 2, shape=(2,))
    return fem.functionspace(domain, basix.ufl.mixed_element([scalar, scalar, vector]))


SPACES = {
    "P1": lambda domain: fem.functionspace(domain, ("P", 1)),
    "P2 vector": lambda domain: fem.functionspace(domain, ("P", 2, (2,))),
    "DG1": lambda domain: fem.functionspace(domain, ("DG", 1)),
    "quadrature": quadrature,
    "mixed": mixed,
}


def folder(tmp_path_factory):
    return WORLD.bcast(tmp_path_factory.mktemp("state") if WORLD.rank == 0 else None)


@pytest.mark.mpi
@pytest.mark.parametrize("name", SPACES)
def test_a_state_goes_from_one_rank_to_all_and_back_to_the_last_bit(name, tmp_path_factory):
    here = folder(tmp_path_factory)
    alone, among = SPACES[name](square(MPI.COMM_SELF)), SPACES[name](square(WORLD))
    u, v, w = fem.Function(alone), fem.Function(among), fem.Function(alone)
    u.x.array[:] = np.random.default_rng(0).normal(size=u.x.array.size)
    if WORLD.rank == 0:
        save_state(here / "one.npz", u, {"load": np.array([0.1, 0.2])})
    WORLD.barrier()
    data = load_state(here / "one.npz", v, {"load"})
    assert data is not None
    assert data["load"].tolist() == [0.1, 0.2]
    norms = [fem.assemble_scalar(fem.form(ufl.inner(f, f) * ufl.dx(degree=2))) for f in (v, u)]
    assert WORLD.allreduce(norms[0], MPI.SUM) == pytest.approx(norms[1], rel=1e-13)
    save_state(here / "all.npz", v, {})
    load_state(here / "all.npz", w, set())
    assert np.array_equal(u.x.array, w.x.array)


@pytest.mark.mpi
def test_values_are_where_they_were(tmp_path_factory):
    path = folder(tmp_path_factory) / "state.npz"
    alone, among = (fem.Function(SPACES["P2 vector"](square(comm))) for comm in (MPI.COMM_SELF, WORLD))
    expected = fem.Function(among.function_space)
    for u in (alone, expected):
        u.interpolate(lambda x: np.stack([np.sin(3.0 * x[0]) + x[1], np.exp(x[0] - x[1])]))
    if WORLD.rank == 0:
        save_state(path, alone, {})
    WORLD.barrier()
    load_state(path, among, set())
    np.testing.assert_allclose(among.x.array, expected.x.array, rtol=1e-14)


@pytest.mark.mpi
def test_refined_meshes_and_submeshes_keep_their_states(tmp_path_factory):
    here = folder(tmp_path_factory)
    domain = square(WORLD)
    domain.topology.create_entities(1)
    cells = np.arange(domain.topology.index_map(2).size_local, dtype=np.int32)
    for other in (mesh.refine(domain)[0], mesh.create_submesh(domain, 2, cells[: len(cells) // 2])[0]):
        V = fem.functionspace(other, ("P", 1))
        u, v = fem.Function(V), fem.Function(V)
        u.interpolate(lambda x: np.sin(3.0 * x[0]) + x[1])
        u.x.scatter_forward()
        save_state(here / "state.npz", u, {})
        load_state(here / "state.npz", v, set())
        assert np.array_equal(u.x.array, v.x.array)


@pytest.mark.mpi
def test_what_does_not_fit_is_refused_on_all_ranks(tmp_path_factory):
    path = folder(tmp_path_factory) / "state.npz"
    u = fem.Function(SPACES["P1"](square(WORLD)))
    assert load_state(path, u, set()) is None
    save_state(path, u, {"load": np.zeros(2)})
    moved = square(WORLD)
    moved.geometry.x[:] *= 1.0 + 1e-6
    others = {
        "another mesh, of 32 cells, not 50": fem.Function(SPACES["P1"](square(WORLD, 5))),
        "another mesh. ": fem.Function(SPACES["P1"](moved)),
        "another function space": fem.Function(SPACES["DG1"](square(WORLD))),
    }
    for problem, other in others.items():
        with pytest.raises(lse.FormatError, match=problem):
            load_state(path, other, {"load"})
    with pytest.raises(lse.FormatError, match=r"holds \['load'\], not \['time'\]"):
        load_state(path, u, {"time"})
    if WORLD.rank == 0:
        path.write_bytes(path.read_bytes()[:-40])
    WORLD.barrier()
    with pytest.raises(lse.FormatError, match="cannot be read"):
        load_state(path, u, {"load"})
    if WORLD.rank == 0:
        with path.open("wb") as file:
            np.save(file, np.arange(3.0))
    WORLD.barrier()
    with pytest.raises(lse.FormatError, match="cannot be read"):
        load_state(path, u, {"load"})
    for values in ({"load": None}, {"load": [[1.0], [2.0, 3.0]]}, {2: 1.0}, [1.0]):
        with pytest.raises(lse.InvalidInputError, match=r"load is|values is"):
            save_state(path, u, values)
    with pytest.raises(OSError, match="folder"):
        save_state(path / "no folder" / "state.npz", u, {})
    with pytest.raises(lse.InvalidInputError, match="'function:u' does"):
        save_state(path, u, {"function:u": np.zeros(1)})
    for family, degree in (("P", 3), ("N1curl", 1)):
        with pytest.raises(lse.InvalidInputError, match="orientation of edges and faces"):
            save_state(path, fem.Function(fem.functionspace(square(WORLD), (family, degree))), {})


def test_numbers_come_back_under_any_name(tmp_path_factory):
    """Also under those of the arguments of the function of NumPy that writes archives."""
    path = folder(tmp_path_factory) / "state.npz"
    u = fem.Function(SPACES["P1"](square(WORLD)))
    save_state(path, u, {"file": 2.5, "allow_pickle": 0.5, "args": "text"})
    found = load_state(path, u)
    assert (float(found["file"]), float(found["allow_pickle"]), str(found["args"])) == (2.5, 0.5, "text")


@pytest.mark.mpi
def test_a_time_loop_keeps_several_functions_and_a_table(tmp_path_factory):
    """Two meshes, three spaces, one file; on all ranks from one rank, and back."""
    here = folder(tmp_path_factory)

    def functions(comm):
        first, second = square(comm), mesh.create_box(comm, [[0.0] * 3, [2e-3] * 3], [3, 2, 2])
        return {
            "u": fem.Function(SPACES["P2 vector"](first)),
            "damage/history": fem.Function(SPACES["quadrature"](first)),
            "T": fem.Function(fem.functionspace(second, ("P", 1))),
        }

    alone, among, back = functions(MPI.COMM_SELF), functions(WORLD), functions(MPI.COMM_SELF)
    rng = np.random.default_rng(3)
    for f in alone.values():
        f.x.array[:] = rng.normal(size=f.x.array.size)
    table = rng.normal(size=(4, 2))
    if WORLD.rank == 0:
        lse.fem.save_state(str(here / "one.npz"), alone, {"time": 0.7, "table": table})
    WORLD.barrier()
    data = lse.fem.load_state(here / "one.npz", among)
    assert sorted(data) == ["table", "time"]
    assert float(data["time"]) == 0.7
    assert np.array_equal(data["table"], WORLD.bcast(table))
    lse.fem.save_state(here / "all.npz", dict(reversed(among.items())))
    assert lse.fem.load_state(here / "all.npz", back) == {}
    assert all(np.array_equal(back[name].x.array, WORLD.bcast(alone[name].x.array)) for name in alone)
    with pytest.raises(lse.FormatError, match=r"functions \['T', 'damage/history', 'u'\], not \['u'\]"):
        lse.fem.load_state(here / "one.npz", {"u": among["u"]})
    moved = functions(WORLD)
    moved["T"].function_space.mesh.geometry.x[:] *= 1.001
    with pytest.raises(lse.FormatError, match="another mesh, as the vertices under 'T' say"):
        lse.fem.load_state(here / "one.npz", moved)
    assert all((f.x.array == 0.0).all() for f in moved.values())  # nothing is taken of a file that does not fit
    with pytest.raises(lse.InvalidInputError, match="no function"):
        lse.fem.save_state(here / "none.npz", {})
    if WORLD.size > 1:
        with pytest.raises(lse.InvalidInputError, match="on the same ranks"):
            lse.fem.save_state(here / "none.npz", {"u": among["u"], "v": alone["u"]})
