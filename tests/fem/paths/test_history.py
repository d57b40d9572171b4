"""What happened on a path goes into its history and nowhere else: methods do not change, and take no past as an argument."""

import dataclasses

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

import lse_material as lse
from lse_material.fem import ArcLength, EnergyProblem, Evolution, History, LoadPath

SELF = MPI.COMM_SELF


def function(comm=SELF):
    return fem.Function(fem.functionspace(mesh.create_interval(comm, 4, [0.0, 1.0]), ("Lagrange", 1)))


@pytest.mark.parametrize("method", [LoadPath, ArcLength, Evolution])
def test_methods_are_frozen_and_take_no_past(method):
    names = {field.name for field in dataclasses.fields(method) if field.init}
    assert names.isdisjoint({"table", "failed", "rejected", "increases", "history"})
    assert method.__dataclass_params__.frozen


def test_a_path_shows_its_history_and_a_copy_of_it_begins_anew():
    u = function()
    pull = fem.Constant(u.function_space.mesh, 0.0)
    energy = 0.5 * u.dx(0) ** 2 * ufl.dx + 0.5 * u**2 * ufl.dx - pull * u * ufl.dx
    problem = EnergyProblem(energy, u, petsc_options_prefix="history_")
    path = LoadPath(
        problem, lambda load: setattr(pull, "value", load), {"mean": lambda: u.x.array.mean()}, progress=False
    )
    path.run([1.0, 2.0])
    assert path.table is path.history.table
    np.testing.assert_allclose(path.history.arrays()["mean"], [1.0, 2.0], rtol=1e-8)
    assert (path.failed, path.history.failed, path.history.rejected, len(path.history)) == (0, 0, 0, 2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        path.perturbation_size = 1.0
    assert len(dataclasses.replace(path, halvings=2).history) == 0
    with pytest.raises(lse.InvalidInputError, match="there is no checkpoint"):
        path.resume()


@pytest.mark.mpi
def test_a_history_comes_back_from_its_checkpoint_or_stays_as_it_was(tmp_path):
    folder = MPI.COMM_WORLD.bcast(str(tmp_path))
    u, parts = function(MPI.COMM_WORLD), {"law": "quadratic"}
    first = History(u, ("load",), {"half": lambda: 0.5}, numbers=("extra",), checkpoint=f"{folder}/run.npz")
    assert first.last("load", default=7.0) == 7.0
    first.add(load=1.0)
    first.add(load=3.0)
    u.x.array[:] = 2.0
    first.save(parts, extra=11.0)
    u.x.array[:] = 0.0
    second = History(u, ("load",), {"half": lambda: 0.5}, numbers=("extra",), checkpoint=f"{folder}/run.npz")
    with pytest.raises(lse.FormatError, match="what differs: law"):
        second.resume(lambda data: ["law"], ())
    assert len(second) == 0
    assert (u.x.array == 0.0).all()
    data = second.resume(lambda data: ["law"], ("law",))
    assert float(data["extra"]) == 11.0
    assert second.table == {"load": [1.0, 3.0], "half": [0.5, 0.5]}
    assert (u.x.array == 2.0).all()
    other = History(u, ("time",), {}, checkpoint=f"{folder}/run.npz")
    with pytest.raises(lse.FormatError):
        other.resume(lambda data: [], ())
    none = History(u, ("load",), {}, checkpoint=f"{folder}/none.npz")
    assert none.resume(lambda data: [], ()) is None


@pytest.mark.parametrize("name", ["load", "extra", "fingerprint"])
def test_names_that_are_taken_are_refused(name):
    with pytest.raises(lse.InvalidInputError, match="a column"):
        History(function(), ("load",), {name: lambda: 0.0}, numbers=("extra",))
