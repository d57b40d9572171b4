"""A name that a floor does not know is refused there; none takes it for another that it knows."""

import numpy as np
import pytest
import ufl

import lse_material as lse
from lse_material import fem as symbolic
from lse_material.export import source
from lse_material.fem.quadrature.evaluators import EvaluatorStress
from lse_material.fit import Architecture
from lse_material.model import ACTIVATIONS
from lse_material.plotting import input_labels
from tests.materials import random_material, random_potential


@pytest.mark.parametrize("name", ["relu", "Softplus", "softplus ", ""])
def test_an_activation_that_nobody_knows_is_refused_when_a_network_or_an_architecture_is_made(name):
    with pytest.raises(lse.InvalidInputError, match="activation"):
        lse.ConvexNetwork.from_arrays([], [np.ones((1, 3))], [np.zeros(1)], activation=name)
    with pytest.raises(lse.InvalidInputError, match="activation"):
        Architecture(activation=name)


def test_a_file_with_an_activation_of_another_version_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(ACTIVATIONS, "shifted_softplus", ACTIVATIONS["softplus"])
    novel = random_potential(np.random.default_rng(7), 3, modes=2, activation="shifted_softplus")
    lse.save(novel, tmp_path / "novel.safetensors")
    monkeypatch.delitem(ACTIVATIONS, "shifted_softplus")
    with pytest.raises(lse.FormatError, match="'shifted_softplus'"):
        lse.load_potential(tmp_path / "novel.safetensors")


class Hencky(lse.GreenLagrange):
    """A user's own measure: it has the components of its parent but not its values."""

    def strain(self, F):
        """Half the logarithm of F^T F, to first order what its parent gives."""
        x = super().strain(F)
        return x - (x**2).sum(axis=1, keepdims=True) * x


@pytest.fixture
def own_measure():
    law = random_material(np.random.default_rng(9), lse.GreenLagrange(2), modes=2)
    return lse.Material(law.potential, Hencky(2)), law


def test_a_measure_that_inherits_from_a_known_one_is_not_taken_for_it(own_measure, tmp_path):
    own, known = own_measure
    F = ufl.Identity(2)
    for write in (
        lambda law: symbolic.energy(law, F),
        lambda law: symbolic.energy(law, F, expanded=True),
        lambda law: symbolic.stress(law, F),
        lambda law: source(law, "c"),
        lambda law: source(law, "numpy"),
        lambda law: source(law, "ufl"),
        lambda law: lse.save(law, tmp_path / "own.safetensors"),
    ):
        write(known)
        with pytest.raises(lse.InvalidInputError, match="the strain measure Hencky has no translation into"):
            write(own)


def test_a_picture_names_the_inputs_of_each_measure_and_none_wrongly(own_measure):
    own, known = own_measure
    assert input_labels(known) == ["E11", "E22", "√2 E12"]
    assert input_labels(lse.Material(known.potential, lse.SmallStrain(2))) == ["ε11", "ε22", "√2 ε12"]
    assert input_labels(lse.Material(known.potential, lse.IsotropicInvariants(2)))[2] == "(J-1)²"
    assert input_labels(own) == ["x1", "x2", "x3"]


def test_a_growth_term_of_another_kind_is_no_growth_term(own_measure):
    class Quadratic(lse.Growth):
        """Another function of J."""

    _, known = own_measure
    for growth in ("auto", 3.0, Quadratic(1.0)):
        with pytest.raises(lse.InvalidInputError, match=f"growth is a {type(growth).__name__}"):
            lse.Material(known.potential, known.kinematics, growth)


def test_what_is_neither_a_material_nor_an_evaluator_is_not_taken_for_one(own_measure):
    _, known = own_measure
    for thing in (known.potential, "neo-Hookean", None):
        with pytest.raises(lse.InvalidInputError, match=f"this is a {type(thing).__name__}"):
            EvaluatorStress(thing, 2)
    EvaluatorStress(known, 2)  # NumPy's own evaluation of a material is one
