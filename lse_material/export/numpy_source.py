"""A material as one Python file that needs NumPy alone: the text of this package that evaluates it, and its numbers."""

from __future__ import annotations

from lse_material.export.preamble import description
from lse_material.export.python_text import PythonText, python_file
from lse_material.model.material import Material, potential_of
from lse_material.model.soft_minimum import SoftMinimum

_PLAIN = '''

def evaluate(x):
    """W (...), dW/dx (..., d), d2W/dx2 (..., d, d) and mode weights (..., K) at x (..., d)."""
    x = np.asarray(x, dtype=np.float64)
    values = PotentialValues(POTENTIAL, x.reshape(-1, x.shape[-1]))
    found = values.energy, values.gradient, values.hessian, values.mode_weights
    return tuple(value.reshape(*x.shape[:-1], *value.shape[1:]) for value in found)
'''

_MATERIAL = '''

class Evaluated(SimpleNamespace):
    """The potential, as what `MaterialValues` evaluates."""

    def evaluate(self, x):
        return PotentialValues(POTENTIAL, x)


MATERIAL = SimpleNamespace(kinematics=STRAIN, growth=GROWTH, dim=STRAIN.dim, fields=(), caloric=None)


def evaluate(F):
    """W (...), P (..., dim, dim), A = dP/dF (..., dim, dim, dim, dim) and mode weights (..., K) at F (..., dim, dim)."""
    F = np.asarray(F, dtype=np.float64)
    rows = F.reshape(-1, *F.shape[-2:])
    values = MaterialValues(MATERIAL, rows, np.zeros((len(rows), 0)), Evaluated())
    found = values.energy, values.stress, values.tangent, values.mode_weights
    return tuple(value.reshape(*F.shape[:-2], *value.shape[1:]) for value in found)
'''


def numpy_source(material: Material | SoftMinimum, name: str) -> str:
    """A module with `evaluate(F)`, or `evaluate(x)` for a plain potential."""
    head, text = description(material, name), PythonText()
    text.add("lse_material.model.soft_minimum", "PotentialValues")
    things = {"POTENTIAL": text.potential(potential_of(material), ["values", "formula"])}
    if not isinstance(material, Material):
        return python_file(head, text, things, _PLAIN)
    text.add("lse_material.model.material", "MaterialValues")
    things["STRAIN"] = text.instance(material.kinematics, ["strain", "derivative", "geometric"])
    growth = material.growth
    things["GROWTH"] = "None" if growth is None else text.instance(growth, ["energy", "stress", "tangent"])
    return python_file(head, text, things, _MATERIAL)
