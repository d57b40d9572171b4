"""A material as one Python file that needs UFL alone: the text of this package that writes it out, and its numbers."""

from lse_material.errors import InvalidInputError
from lse_material.export.preamble import description
from lse_material.export.python_text import PythonText, python_file
from lse_material.model.material import Material, potential_of
from lse_material.model.mode import BUILT_IN, Mode
from lse_material.model.soft_minimum import SoftMinimum

_SCALARS = "lse_material.model.hyperdual"  # its functions of scalars of any kind are those of UFL here
_OF_UFL = {(_SCALARS, "sqrt"): "sqrt = ufl.sqrt", (_SCALARS, "log"): "log = ufl.ln", (_SCALARS, "exp"): "exp = ufl.exp"}

_POTENTIAL = '''

def potential(x):
    """W of a list of UFL scalars x."""
    return value(POTENTIAL, x)


def potential_weights(x):
    """The mode weights exp(-psi_k/rho) / sum, a UFL vector."""
    return ufl.as_vector(weights(POTENTIAL, x))
'''

_MATERIAL = '''

def strain(F):
    """The inputs x(F), a list of UFL scalars."""
    entries = [F[i, j] for i in range(STRAIN.dim) for j in range(STRAIN.dim)]
    return [ufl.as_ufl(x) for x in STRAIN.components(tensor(entries, STRAIN.dim))]


def energy(F, fields=()):
    """W(F), or of F and UFL scalars in the order of FIELDS. P is ufl.diff(energy(F), F) with F = ufl.variable(...), or take
    ufl.derivative of energy(F) * ufl.dx.
    """
    W = potential([*fields, *strain(F)])
    W = W if CALORIC is None else W + CALORIC.energy(fields[TEMPERATURE])
    return W if GROWTH is None else W + GROWTH.of_volume(ufl.det(F))


def mode_weights(F, fields=()):
    """The mode weights at F."""
    return potential_weights([*fields, *strain(F)])
'''


def ufl_source(material: Material | SoftMinimum, name: str) -> str:
    """A module with `energy(F)` and `mode_weights(F)` of a UFL F, or `potential(x)` of UFL scalars for a plain potential."""
    head, text = description(material, name), PythonText(instead=_OF_UFL)
    for mode in potential_of(material).modes:
        if mode.type not in BUILT_IN and type(mode).formula is Mode.formula:
            raise InvalidInputError(f"mode type {mode.type} has no translation into exported UFL: write formula(x).")
    for function in ("value", "weights"):
        text.add("lse_material.fem.forms.expanded", function)
    things = {"POTENTIAL": text.potential(potential_of(material), ["formula"])}
    if not isinstance(material, Material):
        return python_file(head, text, things, _POTENTIAL)
    text.add("lse_material.model.strain", "tensor")
    things |= text.terms(material, strain=["components"], growth=["of_volume"], caloric=["energy"])
    return python_file(head, text, things, _POTENTIAL + _MATERIAL)
