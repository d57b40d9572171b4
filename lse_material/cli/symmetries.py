"""Point groups as they are written on a command line."""

import typer

from lse_material.errors import InvalidInputError
from lse_material.model.symmetry import Symmetry


def parse(text: str, dim: int) -> Symmetry:
    """The symmetry PARENT:VARIANT, as square:rectangle. Raises typer.BadParameter: it is not written so, or not known."""
    parent, colon, variant = text.partition(":")
    if not colon:
        raise typer.BadParameter(f"the symmetry {text!r} is not written PARENT:VARIANT, as square:rectangle.")
    try:
        return Symmetry.crystal(parent, variant, dim=dim)
    except InvalidInputError as error:
        raise typer.BadParameter(str(error)) from None
