"""Materials of every mode type of the package, in every language: the numbers of the package to 1e-12."""

import numpy as np
import pytest
import torch

import lse_material as lse
from lse_material.export import export
from lse_material.fit import Architecture, Training, fit
from tests.export.umat import GFORTRAN, VOIGT, library, umat
from tests.exported import COMPILER, compiled, expected, python_module
from tests.materials import (
    material_with_fields,
    random_deformations,
    random_design,
    random_interpolated,
    random_network,
    relative_error,
    temperature_and_design_material,
)


def fitted(mode_type, kinematics):
    """A fit of a few steps: what matters here is which weights there are."""
    F = random_deformations(np.random.default_rng(0), 40, 2)
    data = lse.Samples(F=F, energy=((F**2).sum(axis=(1, 2)) - 2.0) - 2.0 * np.log(np.linalg.det(F)))
    few = Training(restarts=1, adam_steps=3, lbfgs_steps=3)
    architecture = Architecture(modes=2, width=3, mode_type=mode_type)
    return fit(data, kinematics=kinematics, architecture=architecture, training=few, progress=False).material


def of_designs(dim=3):
    rng, size = np.random.default_rng(2), dim * (dim + 1) // 2
    modes = tuple(random_design(rng, 2, size, width=3, features=2) for _ in range(2))
    scales = np.append([0.1, 2.0], 0.1 * rng.normal(size=size)), np.append([0.5, 3.0], rng.uniform(0.5, 2.0, size))
    potential = lse.SoftMinimum(modes, 0.4, *scales, energy_scale=1.3, energy_shift=0.2)
    return lse.Material(potential, lse.GreenLagrange(dim), lse.Growth(0.3), fields=("porosity", "ratio"))


def of_temperature():
    rng = np.random.default_rng(4)
    modes = tuple(random_interpolated(rng, 4, depths=(1, 2), width=3) for _ in range(2))
    potential = lse.SoftMinimum(modes, 0.4, [300.0, 0.1, -0.1, 0.0], [100.0, 0.5, 2.0, 1.0], energy_scale=1.3)
    return lse.Material(potential, lse.GreenLagrange(2), fields=("T",), caloric=lse.Caloric(0.02, 320.0))


def of_natural_states():
    states = lse.NaturalStates(2, lse.PrincipalInvariants(2), [np.diag([1.1, 0.9]), np.diag([0.9, 1.1])])
    rng = np.random.default_rng(5)
    modes = [random_network(rng, 2, depth=1, width=3).reading(states.block(k), states.size) for k in (0, 1)]
    return lse.Material(lse.SoftMinimum(tuple(modes), 0.2), states, lse.Growth(0.2))


WITH_FIELDS = {
    "DesignNetwork": (of_designs, [0.3, 2.5]),
    "InterpolatedNetwork": (of_temperature, [345.0]),
    "InterpolatedDesign": (temperature_and_design_material, [271.0, 0.32]),
    "fields with strain": (material_with_fields, [0.1, -0.05]),
}
MATERIALS = {
    **{name: lambda make=make, at=at: make().at(at) for name, (make, at) in WITH_FIELDS.items()},
    "FibreNetwork": lambda: fitted("FibreNetwork", lse.StrainAndVolume(2)),
    "PolyconvexNetwork": lambda: fitted("PolyconvexNetwork", lse.PrincipalInvariants(2)),
    "NaturalStates": of_natural_states,
}


@pytest.fixture(scope="module", params=MATERIALS)
def case(request):
    """A material, deformations, and what the package says there."""
    material = MATERIALS[request.param]()
    F = random_deformations(np.random.default_rng(1), 20, material.dim)
    return material, F, expected(material, F)


def test_numpy_and_torch(case, tmp_path):
    material, F, exact = case
    export(material, tmp_path / "cell.py")
    export(material, tmp_path / "cell_torch.py", language="torch")
    by_torch = python_module(tmp_path / "cell_torch.py").Material().evaluate(torch.tensor(F))
    for found in (python_module(tmp_path / "cell.py").evaluate(F), [values.detach().numpy() for values in by_torch]):
        for got, value in zip(found, exact, strict=True):
            assert relative_error(got, value) < 1e-12


@pytest.mark.skipif(COMPILER is None, reason="no C compiler")
def test_c(case, tmp_path):
    material, F, exact = case
    export(material, tmp_path / "cell.c")
    shapes = [value.shape[1:] for value in exact]
    for got, value in zip(compiled(tmp_path / "cell.c", "cell", F, shapes), exact, strict=True):
        assert relative_error(got, value) < 1e-12


@pytest.mark.skipif(GFORTRAN is None, reason="no gfortran")
def test_umat(case, tmp_path):
    material, F, (W, P, *_) = case
    ntens = {2: 4, 3: 6}[material.dim]
    subroutine = library(material, tmp_path)
    found = [umat(subroutine, each, ntens=ntens)[:2] for each in F]
    sigma = np.einsum("niJ,njJ->nij", P, F) / np.linalg.det(F)[:, None, None]
    in_plane = [(k, *ij) for k, ij in enumerate(VOIGT[ntens]) if max(ij) < material.dim]
    assert relative_error(np.array([each[0] for each in found]), W) < 1e-12
    for k, i, j in in_plane:
        assert np.abs(np.array([each[1][k] for each in found]) - sigma[:, i, j]).max() < 1e-12 * np.abs(sigma).max()


@pytest.mark.parametrize("name", WITH_FIELDS)
def test_numpy_keeps_the_fields(name, tmp_path):
    make, at = WITH_FIELDS[name]
    material = make()
    export(material, tmp_path / "cell.py")
    F = random_deformations(np.random.default_rng(1), 20, material.dim)
    fields = np.asarray(at) * np.random.default_rng(2).uniform(0.95, 1.05, (20, len(at)))
    values = material.evaluate(F, fields)
    exact = [values.energy, values.stress, values.tangent, material.mode_weights(F, fields)]
    exact += [values.conjugates, values.conjugates_by_fields, values.stress_by_fields]
    for got, value in zip(python_module(tmp_path / "cell.py").evaluate(F, fields), exact, strict=True):
        assert relative_error(got, value) < 1e-12
