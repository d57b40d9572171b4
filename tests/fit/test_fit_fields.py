"""A fit to energies, stresses and chemical potentials of a material that depends on a concentration."""

import numpy as np
import pytest

import lse_material as lse
from lse_material.fit import Architecture, Training, fit
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
