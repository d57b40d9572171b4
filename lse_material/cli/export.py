"""`lse-material export`: the material as a source file that stands alone."""

from pathlib import Path
from typing import Annotated, Literal

from lse_material.cli.files import MaterialFile, read
from lse_material.cli.options import option
from lse_material.cli.output import Json, print_json
from lse_material.errors import InvalidInputError
from lse_material.model.material import Material

ENDINGS = {
    "c": ".c",
    "jax": "_jax.py",
    "mfront": ".mfront",
    "numpy": ".py",
    "torch": "_torch.py",
    "ufl": "_ufl.py",
    "umat": ".f",
}


def export(
    file: MaterialFile,
    to: Annotated[Literal["c", "jax", "mfront", "numpy", "torch", "ufl", "umat"], option(help="Language of the file.")],
    output: Annotated[Path | None, option("--output", "-o", help="The new file; beside FILE if left out.")] = None,
    field: Annotated[
        list[float] | None, option(help="Value of a field, one for each in their order: the source is then of F alone.")
    ] = None,
    json: Json = False,
) -> None:
    """Write a source file that needs nothing of this package and gives the same numbers."""
    from lse_material.export import OF_FIELDS
    from lse_material.export import export as write

    material = read(file)
    fields = material.fields if isinstance(material, Material) else ()
    if field:
        if not isinstance(material, Material) or not fields:
            raise InvalidInputError(f"{file} has no fields: leave --field out.")
        material = material.at(field)
    elif fields and to not in OF_FIELDS:
        raise InvalidInputError(
            f"{file} depends on {', '.join(fields)}: say --field VALUE for each, in this order, for a source in {to}; "
            f"{' and '.join(OF_FIELDS)} take the fields as they are."
        )
    path = output or file.with_name(file.stem + ENDINGS[to])
    if path.suffix.lower() == ".safetensors":
        raise InvalidInputError(f"{path} is the name of a material, which a source file would replace: give another.")
    write(material, path, language=to)
    size = path.stat().st_size
    if json:
        print_json({"file": str(path), "language": to, "bytes": size})
    else:
        print(f"wrote {path} ({size} bytes); its first lines say how to use it.")
