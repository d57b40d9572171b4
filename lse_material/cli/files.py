"""Material files, with a strain measure or without, and point groups as commands take them."""

from pathlib import Path
from typing import Annotated

import safetensors
import typer

from lse_material.errors import FormatError, InvalidInputError
from lse_material.material_file import load, load_potential
from lse_material.model.material import Material
from lse_material.model.soft_minimum import SoftMinimum
from lse_material.model.symmetry import Symmetry

MaterialFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="A material file (.safetensors).", show_default=False)
]


def read(path: Path) -> Material | SoftMinimum:
    """The material of a file, or the potential of one without a strain measure. Raises as `load`."""
    try:
        return load(path)
    except FormatError:
        potential = load_potential(path)  # raises by itself what is wrong with the tensors
        with safetensors.safe_open(path, framework="numpy") as file:
            if file.metadata().get("kinematics") != "null":
                raise
        return potential


def read_symmetry(text: str, dim: int) -> Symmetry:
    """The symmetry PARENT:VARIANT, as square:rectangle. Raises typer.BadParameter: it is not written so, or not known."""
    parent, colon, variant = text.partition(":")
    if not colon:
        raise typer.BadParameter(f"the symmetry {text!r} is not written PARENT:VARIANT, as square:rectangle.")
    try:
        return Symmetry.crystal(parent, variant, dim=dim)
    except InvalidInputError as error:
        raise typer.BadParameter(str(error)) from None
