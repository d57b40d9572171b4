"""A fit to energies, stresses and chemical potentials of a material that depends on a concentration."""

import numpy as np
import pytest

import lse_material as lse
from lse_material.analysis import check_symmetry
from lse_material.fit import Architecture, Design, Temperature, Training, fit
from tests.materials import quadratic_well


def swelling():
    """A parabola in (c, E11, E22, sqrt2 E12) whose stress-free strain goes with c."""
    K = np.array([[8.0, -3.0, -2.0, 0.0], [-3.0, 4.0, 1.0, 0.0], [-2.0, 1.0, 4.0, 0.5], [0.0, 0.0, 0.5, 2.0]])
    return lse.Material(
        lse.SoftMinimum((quadratic_well([0.4, 0.02, 0.01, 0.0], K),), 1.0),
        lse.GreenLagrange(2),
        fields=("concentration",),
    )


def data(material, n, seed):
    rng = np.random.default_rng(seed)
    F, c = np.eye(2) + rng.uniform(-0.15, 0.15, (n, 2, 2)), rng.uniform(-0.2, 1.2, (n, 1))
    return lse.Samples(
        F=F,
        energy=material.energy(F, c),
        stress=material.stress(F, c),
        conjugates=material.conjugates(F, c),
        fields=c,
        field_names=material.fields,
    )


def test_a_potential_of_concentration_and_strain_is_found_from_its_gradients():
    exact = swelling()
    result = fit(
        data(exact, 200, 0),
        kinematics=exact.kinematics,
        architecture=Architecture(modes=1, depth=0),
        training=Training(restarts=1, adam_steps=300),
        progress=False,
    )
    assert result.material.fields == ("concentration",)
    errors = result.error(data(exact, 200, 1))
    for error in (errors.energy, errors.stress, errors.conjugates):
        assert error < 1e-4
    F, c = np.eye(2)[None], np.array([[0.4]])
    np.testing.assert_allclose(result.material.conjugates(F, c), exact.conjugates(F, c), rtol=1e-3)
    assert "conjugates" in result.summary()
    with pytest.raises(lse.InvalidInputError, match="the samples have the fields"):
        result.error(lse.Samples(F=F, energy=[0.0]))


def test_a_stress_free_state_needs_the_value_of_the_field():
    exact = swelling()
    with pytest.raises(lse.InvalidInputError, match="at which values"):
        fit(
            data(exact, 200, 0),
            kinematics=exact.kinematics,
            architecture=Architecture(stress_free=True),
            progress=False,
        )


@pytest.mark.parametrize(
    "parameters", [None, {"p": Temperature()}, {"p": Design()}], ids=["convex", "temperature", "design"]
)
def test_a_symmetry_of_the_strain_holds_at_every_field(parameters):
    """A square lattice that softens: data of tension along 1 tell what tension along 2 does, at every p."""
    rng, p = np.random.default_rng(0), np.repeat([0.1, 0.3, 0.5], 20)[:, None]
    E = np.zeros((60, 2, 2))
    E[:, 0, 0], E[:, 1, 1] = rng.uniform(0.0, 0.2, 60), rng.uniform(-0.05, 0.02, 60)
    E[:, 0, 1] = E[:, 1, 0] = rng.uniform(-0.05, 0.05, 60)
    F = np.linalg.cholesky(np.eye(2) + 2.0 * E).swapaxes(1, 2)
    soft = 1.0 - p if parameters else np.ones_like(p)
    S = 3.0 * E
    S[:, 0, 1] = S[:, 1, 0] = 2.0 * E[:, 0, 1]
    W = soft[:, 0] * 0.5 * (S * E).sum(axis=(1, 2))
    samples = lse.Samples(F=F, energy=W, stress=F @ (soft[:, :, None] * S), fields=p, field_names=("p",))
    result = fit(
        samples,
        kinematics=lse.GreenLagrange(2),
        parameters=parameters,
        symmetry=lse.Symmetry.crystal("square", "square", dim=2),
        architecture=Architecture(modes=1, depth=0 if not parameters else 1, width=2),
        training=Training(restarts=1, adam_steps=100, lbfgs_steps=150),
        progress=False,
    )
    assert result.train_errors.worst < 0.02
    swap = np.eye(2)[::-1]
    found, turned = result.material.stress(F, p), result.material.stress(swap @ F @ swap, p)
    np.testing.assert_allclose(swap @ turned @ swap, found, atol=1e-12 * np.abs(found).max())
    fixed = result.material.at([0.3])
    assert check_symmetry(fixed, fixed.symmetry, F).passed
