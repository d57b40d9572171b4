"""A material as one Python file that needs NumPy alone: the text of this package that evaluates it, and its numbers."""

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


MATERIAL = SimpleNamespace(
    kinematics=STRAIN, growth=GROWTH, dim=STRAIN.dim, fields=FIELDS, caloric=CALORIC, temperature=lambda what: TEMPERATURE
)
'''

_OF_F = '''

def evaluate(F):
    """W (...), P (..., dim, dim), A = dP/dF (..., dim, dim, dim, dim) and mode weights (..., K) at F (..., dim, dim)."""
    F = np.asarray(F, dtype=np.float64)
    rows = F.reshape(-1, *F.shape[-2:])
    values = MaterialValues(MATERIAL, rows, np.zeros((len(rows), 0)), Evaluated())
    found = values.energy, values.stress, values.tangent, values.mode_weights
    return tuple(value.reshape(*F.shape[:-2], *value.shape[1:]) for value in found)
'''

_OF_FIELDS = '''

def evaluate(F, fields):
    """At F (..., dim, dim) and fields (..., m) or (m,), in the order of FIELDS: W (...), P (..., dim, dim), A = dP/dF
    (..., dim, dim, dim, dim), mode weights (..., K), dW/dfields (..., m), d2W/dfields2 (..., m, m) and
    dP/dfields (..., dim, dim, m).
    """
    F = np.asarray(F, dtype=np.float64)
    rows = F.reshape(-1, *F.shape[-2:])
    at = np.broadcast_to(np.asarray(fields, dtype=np.float64), (*F.shape[:-2], len(FIELDS))).reshape(-1, len(FIELDS))
    values = MaterialValues(MATERIAL, rows, at, Evaluated())
    found = values.energy, values.stress, values.tangent, values.mode_weights
    found += values.conjugates, values.conjugates_by_fields, values.stress_by_fields
    return tuple(value.reshape(*F.shape[:-2], *value.shape[1:]) for value in found)
'''


def numpy_source(material: Material | SoftMinimum, name: str) -> str:
    """A module with `evaluate(F)`, `evaluate(F, fields)`, or `evaluate(x)` for a plain potential."""
    head, text = description(material, name), PythonText()
    text.add("lse_material.model.soft_minimum", "PotentialValues")
    things = {"POTENTIAL": text.potential(potential_of(material), ["values", "formula"])}
    if not isinstance(material, Material):
        return python_file(head, text, things, _PLAIN)
    text.add("lse_material.model.material", "MaterialValues")
    things |= text.terms(
        material,
        strain=["strain", "derivative", "geometric"],
        growth=["energy", "stress", "tangent"],
        caloric=["energy", "derivative", "second_derivative"],
    )
    return python_file(head, text, things, _MATERIAL + (_OF_FIELDS if material.fields else _OF_F))
