"""Material files as commands take them: with a strain measure or without."""

from pathlib import Path
from typing import Annotated

import safetensors
import typer

from lse_material.errors import FormatError
from lse_material.material_file import load, load_potential
from lse_material.model.material import Material
from lse_material.model.soft_minimum import SoftMinimum

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
