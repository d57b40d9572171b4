"""A material as a source file that needs nothing of this package, and gives the same numbers in another code.

    export(material, "cell.c")                    # by the ending: .c is C99, .py is NumPy
    export(material, "cell_ufl.py", language="ufl")
    export(material, "cell_torch.py", language="torch")
    export(material, "cell.f")                    # UMAT of Abaqus, user subroutine of CalculiX

The files are for codes that cannot load this package: a user subroutine, another solver, a paper's supplement. They are
plain loops over the weights, written to be read and to be right; `lse_material.kernel` is the fast way to the same numbers.
"""

import re
from pathlib import Path

from lse_material._files import file_path, write_atomically
from lse_material.errors import InvalidInputError
from lse_material.export.c_source import c_source
from lse_material.export.jax_source import jax_source
from lse_material.export.mfront_source import mfront_source
from lse_material.export.numpy_source import numpy_source
from lse_material.export.torch_source import torch_source
from lse_material.export.ufl_source import ufl_source
from lse_material.export.umat_source import umat_source
from lse_material.model.material import Material
from lse_material.model.soft_minimum import SoftMinimum

__all__ = ["LANGUAGES", "export", "source"]

LANGUAGES = {
    "c": c_source,
    "jax": jax_source,
    "mfront": mfront_source,
    "numpy": numpy_source,
    "torch": torch_source,
    "ufl": ufl_source,
    "umat": umat_source,
}
OF_FIELDS = ("numpy", "ufl")  # of materials that depend on fields too
_BY_ENDING = {".c": "c", ".h": "c", ".py": "numpy", ".f": "umat", ".for": "umat", ".mfront": "mfront"}


def source(material: Material | SoftMinimum, language: str, *, name: str = "material") -> str:
    """The text of a source file for `material`, or for a plain potential.

    Args:
        material: what to write out.
        language: one of `LANGUAGES`.
        name: how its functions begin in C, an identifier; a title in the others.

    Raises:
        InvalidInputError: an unknown language, a name that is no identifier, or a strain measure that has no translation; or
            a material that depends on fields, in a language that takes those of F alone.

    >>> [line for line in lse.export.source(material, "c", name="cell").splitlines() if line.startswith("void cell(")]
    ['void cell(const double *F, double *W, double *P, double *A, double *w)']
    """
    if language not in list(LANGUAGES):
        raise InvalidInputError(f"no export to {language!r}; known are {sorted(LANGUAGES)}.")
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise InvalidInputError(f"the name {name!r} is no identifier: letters, digits and _, beginning with a letter.")
    if isinstance(material, Material) and language not in OF_FIELDS:
        material = material.without_fields(f"export to {language}")
    return LANGUAGES[language](material, name)


def export(material: Material | SoftMinimum, path: str | Path, *, language: str | None = None) -> None:
    """Write `source` to a file, whole or not at all; its name gives the name of the functions.

    Args:
        material: what to write out.
        path: of the new file.
        language: one of `LANGUAGES`; by the ending if None (.c, .h: C; .py: NumPy; .f, .for: UMAT; .mfront).

    Raises:
        InvalidInputError: as `source`, or an ending that tells no language.
        OSError: the file cannot be written.

    >>> lse.export.export(material, "cell.py")  # needs numpy alone
    >>> import runpy
    >>> cell = runpy.run_path("cell.py")
    >>> W, P, A, w = cell["evaluate"](np.eye(2)[None])
    >>> bool(np.abs(A - material.tangent(np.eye(2))).max() < 1e-12)
    True
    """
    path = file_path(path)
    chosen = language or _BY_ENDING.get(path.suffix)
    if chosen is None:
        raise InvalidInputError(f"{path}: the ending tells no language; give language= one of {sorted(LANGUAGES)}.")
    name = re.sub(r"\W", "_", path.stem, flags=re.ASCII)
    name = name if re.match(r"[A-Za-z]", name) else f"material_{name}"
    write_atomically(path, source(material, chosen, name=name).encode())
