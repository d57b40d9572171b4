"""The compiled kernel says what the NumPy floor says."""

import numpy as np
import pytest

from lse_material import Growth
from lse_material.kernel import CompiledMaterial
from tests.core.factories import STRAIN_MEASURES, random_deformations, random_material, relative_error


@pytest.mark.parametrize("kinematics", STRAIN_MEASURES, ids=repr)
@pytest.mark.parametrize(("activation", "growth"), [("softplus", None), ("squared_softplus", Growth(0.7))])
def test_compiled_energy_stress_and_tangent_are_those_of_the_material(kinematics, activation, growth):
    rng = np.random.default_rng(kinematics.size)
    material = random_material(rng, kinematics, activation=activation, growth=growth)
    F = random_deformations(rng, 37, kinematics.dim)
    values, exact = CompiledMaterial(material).evaluate(F), material.evaluate(F)
    assert relative_error(values.energy, exact.energy) < 1e-13
    assert relative_error(values.stress, exact.stress) < 1e-13
    assert relative_error(values.tangent, exact.tangent) < 1e-12
    assert np.abs(values.mode_weights - exact.mode_weights).max() < 1e-13
