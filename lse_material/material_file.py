"""One trained material in one file: a .safetensors file of float64 tensors with text metadata.

Tensors: `rho`, `input_shift`, `input_scale`, `energy_scale`, `energy_shift`, and for each mode k those of its type, as
`mode.{k}.{name}`. Format 1 has convex networks of one activation: `mode.{k}.z_weight.{l}`, `mode.{k}.x_weight.{l}`,
`mode.{k}.bias.{l}`, `mode.{k}.quadratic` (optional). Format 2 names the type and options of each mode in its metadata, and is
written where format 1 does not suffice: for modes of other types, those of a temperature among them. Loading never executes
code: such a file holds numbers and text only (https://github.com/huggingface/safetensors).
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from lse_material._arrays import Array, classes, expect_shape, float_array
from lse_material._files import file_path, write_atomically
from lse_material.errors import FormatError, InvalidInputError
from lse_material.model.box import Box
from lse_material.model.caloric import Caloric
from lse_material.model.convex_network import ConvexNetwork
from lse_material.model.growth import Growth
from lse_material.model.material import Material, potential_of
from lse_material.model.mode import BUILT_IN as MODE_TYPES
from lse_material.model.mode import Mode
from lse_material.model.soft_minimum import SoftMinimum
from lse_material.model.strain import BUILT_IN, StrainMeasure, expect_one_definition, strain_measure_from_dict
from lse_material.model.symmetry import Symmetry

FORMATS = ("lse-material/1", "lse-material/2")
SOFT_MINIMUM = "-rho*log(sum(exp(-psi/rho)))"
# one spelling per number, so that no tensor can hide another
_MODE_TENSOR = re.compile(r"mode\.(0|[1-9][0-9]{0,8})\.([A-Za-z0-9_.]+)")
_SCALARS = ("rho", "energy_scale", "energy_shift")
_VECTORS = ("input_shift", "input_scale")
_ATTRIBUTES = {"rho": "scaled_rho"}  # of a soft minimum, where they are not called as the tensor


def save(material: Material | SoftMinimum, path: str | Path) -> None:
    """Write a material, or a plain potential, to `path`; whole or not at all.

    Raises:
        InvalidInputError: the name does not end in .safetensors; a strain measure of the user's own is not defined by its
            components alone, or bears the name of another; or JSON cannot hold a measure, options of a mode, units or
            provenance.
        OSError: the file cannot be written.

    >>> lse.save(material, "copy.safetensors")
    >>> lse.load("copy.safetensors").units
    {'energy': 'MPa'}
    """
    path = file_path(path)
    if path.suffix != ".safetensors":
        raise InvalidInputError(f"{path}: the name of a material file ends in .safetensors.")
    potential, box = potential_of(material), material.training_box
    metadata = {
        **_modes_in_words(potential),
        "soft_minimum": SOFT_MINIMUM,
        "kinematics": "null",
        "growth": "null",
        "units": _to_json("units", material.units),
        "training_box": json.dumps(None if box is None else [box.lower.tolist(), box.upper.tolist()]),
        "provenance": _to_json("provenance", material.provenance),
    }
    if isinstance(material, Material):
        kinematics = material.kinematics
        expect_one_definition(kinematics, "a file")
        if BUILT_IN.get(kinematics.name, type(kinematics)) is not type(kinematics):
            raise InvalidInputError(
                f"the strain measure {kinematics.name} is not that of lse_material: give yours another name."
            )
        metadata |= {
            "kinematics": _to_json("kinematics", kinematics.to_dict()),
            "growth": json.dumps(material.growth.to_dict() if material.growth else None),
        }
        if material.fields:
            metadata["fields"] = json.dumps(list(material.fields))
        for name in ("caloric", "symmetry"):
            if getattr(material, name) is not None:
                metadata[name] = json.dumps(getattr(material, name).to_dict())
    write_atomically(path, _ordered(safetensors.numpy.save(_tensors(potential), metadata)))


def load(
    path: str | Path, *, kinematics: Sequence[type[StrainMeasure]] = (), modes: Sequence[type[Mode]] = ()
) -> Material:
    """Read a material.

    Args:
        path: of the file.
        kinematics: strain measures of your own, classes, that the file may name.
        modes: mode types of your own, classes, that the file may name.

    Raises:
        FormatError: the file is truncated, foreign, of a newer format, malformed, holds a NaN or a mode that is not
            convex; the tensor and the entry are named.
        FileNotFoundError: there is no such file.

    >>> lse.load("cell.safetensors").kinematics
    GreenLagrange(dim=2)
    """
    tensors, metadata = _read(file_path(path))
    try:
        potential = _potential(tensors, metadata, modes)
        measure = _json(metadata, "kinematics")
        if measure is None:
            raise FormatError("it holds a plain potential without a strain measure: read it with load_potential().")
        material = Material(
            potential,
            strain_measure_from_dict(measure, kinematics),
            _term(Growth, _json(metadata, "growth")),
            fields=tuple(_json(metadata, "fields", list)) if "fields" in metadata else (),
            symmetry=Symmetry.from_dict(_json(metadata, "symmetry")) if "symmetry" in metadata else None,
            caloric=_term(Caloric, _json(metadata, "caloric")) if "caloric" in metadata else None,
            **_origin(metadata),
        )
        with np.errstate(all="ignore"):
            fields = potential.input_shift[: len(material.fields)] if material.fields else None
            at_rest = material.evaluate(np.eye(material.dim)[None], fields)
            _expect_finite(tensors, "F = I", at_rest.energy, at_rest.stress, at_rest.tangent)
        return material
    except (FormatError, InvalidInputError) as error:
        raise FormatError(f"{path} cannot be used: {error}") from None


def load_potential(path: str | Path, *, modes: Sequence[type[Mode]] = ()) -> SoftMinimum:
    """Read the potential of a file, with or without a strain measure. Arguments and errors as `load`.

    >>> lse.load_potential("cell.safetensors").size
    3
    """
    tensors, metadata = _read(file_path(path))
    try:
        potential = replace(_potential(tensors, metadata, modes), **_origin(metadata))
        with np.errstate(all="ignore"):
            values = potential.evaluate(potential.input_shift)
            _expect_finite(tensors, "input_shift", values.energy, values.gradient, values.hessian)
        return potential
    except (FormatError, InvalidInputError) as error:
        raise FormatError(f"{path} cannot be used: {error}") from None


def _modes_in_words(potential: SoftMinimum) -> dict[str, str]:
    """Format, and types and options of the modes: format 1 if all are convex networks of one activation."""
    kinds = [{"type": mode.type, **mode.options()} for mode in potential.modes]
    if any("type" in mode.options() for mode in potential.modes):
        raise InvalidInputError(
            "options() of a mode has an entry 'type', which is the type of the mode: name it otherwise."
        )
    if potential.modes[0].type == ConvexNetwork.type and all(kind == kinds[0] for kind in kinds):
        return {"format": FORMATS[0], "activation": kinds[0]["activation"]}
    return {"format": FORMATS[1], "modes": _to_json("options of the modes", kinds)}


def _kinds(metadata: dict[str, str], count: int) -> list[dict[str, Any]]:
    """Type and options of each mode."""
    if metadata["format"] == FORMATS[0]:
        return [{"type": ConvexNetwork.type, "activation": metadata.get("activation", "")}] * count
    kinds: list[dict[str, Any]] = _json(metadata, "modes", list)
    if not all(isinstance(k, dict) and isinstance(k.get("type"), str) for k in kinds):
        raise FormatError(f"its metadata 'modes' name no type for each mode: {kinds!r}.")
    if len(kinds) != count:
        raise FormatError(f"its metadata name {len(kinds)} modes; it has tensors of {count}.")
    return kinds


def _tensors(potential: SoftMinimum) -> dict[str, Array]:
    tensors: dict[str, Array] = {}
    for k, mode in enumerate(potential.modes):
        for name, tensor in mode.tensors().items():
            full = f"mode.{k}.{name}"
            if not _MODE_TENSOR.fullmatch(full):
                raise InvalidInputError(f"mode {k} has a tensor {name!r}: names are of letters, digits, _ and dots.")
            tensors[full] = float_array(f"tensor {full}", tensor)
    for name in (*_SCALARS, *_VECTORS):
        tensors[name] = np.asarray(getattr(potential, _ATTRIBUTES.get(name, name)), dtype=np.float64)
    return tensors


def _ordered(content: bytes) -> bytes:
    """The same .safetensors file with its header sorted, so that the same material always gives the same bytes.

    A file is the header's length (8 bytes, little-endian), the header (JSON, filled up with spaces to a multiple of 8),
    and the tensors, whose places count from the header's end. The library writes the metadata in random order.
    """
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:end]), sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[end:]


def _read(path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    if not path.is_file():
        raise FileNotFoundError(f"there is no material file {path}.")
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = dict(file.metadata() or {})
            version = metadata.get("format", "")
            if version not in FORMATS:
                if re.fullmatch(r"lse-material/\d+", version):
                    raise FormatError(
                        f"{path} is of format {version}; this lse_material reads {', '.join(FORMATS)}. Update the package."
                    )
                raise FormatError(f"{path} is a .safetensors file, but not of lse_material: its format is {version!r}.")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FormatError:
        raise
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise FormatError(
            f"{path} is not a whole .safetensors file ({error}). Pickles and torch checkpoints are never loaded: "
            "bring such a network in with ConvexNetwork.from_arrays."
        ) from None
    except (TypeError, AttributeError) as error:  # safetensors, of number types that NumPy does not have
        raise FormatError(f"{path} holds a tensor that is not float64, as it must be: {error}.") from None
    if metadata.get("soft_minimum") != SOFT_MINIMUM:
        raise FormatError(f"{path} uses the soft minimum {metadata.get('soft_minimum')!r}; known is {SOFT_MINIMUM!r}.")
    for name, tensor in tensors.items():
        if tensor.dtype != np.float64:
            raise FormatError(f"{path}: tensor {name} is {tensor.dtype}; a material file holds float64 only.")
    return tensors, metadata


def _potential(tensors: dict[str, Array], metadata: dict[str, str], own: Sequence[type[Mode]]) -> SoftMinimum:
    parts: dict[int, dict[str, Array]] = {}
    for name, tensor in tensors.items():
        float_array(f"tensor {name}", tensor)  # refuses what is not finite
        match = _MODE_TENSOR.fullmatch(name)
        if match:
            parts.setdefault(int(match[1]), {})[match[2]] = tensor
        elif name not in (*_SCALARS, *_VECTORS):
            raise FormatError(f"tensor {name} is not part of format {metadata['format'].split('/')[1]}.")
    for name in (*_SCALARS, *_VECTORS):
        if name not in tensors:
            raise FormatError(f"tensor {name} is missing.")
    if sorted(parts) != list(range(len(parts))) or not parts:
        raise FormatError(f"modes are numbered {sorted(parts)}; they must be 0, 1, ... without a gap.")
    kinds = _kinds(metadata, len(parts))
    modes = tuple(_mode(k, kinds[k], parts[k], own) for k in range(len(parts)))
    for name in (*_SCALARS, *_VECTORS):
        expect_shape(f"tensor {name}", tensors[name], () if name in _SCALARS else (modes[0].size,))
    numbers: dict[str, Any] = {_ATTRIBUTES.get(name, name): tensors[name] for name in (*_SCALARS, *_VECTORS)}
    return SoftMinimum(modes, **numbers)


def _mode(k: int, kind: dict[str, Any], tensors: dict[str, Array], own: Sequence[type[Mode]]) -> Mode:
    """Mode k, of a type of this package or of one of `own`."""
    known = {mode.type: mode for mode in classes("modes", own, Mode)} | MODE_TYPES
    name, options = kind["type"], {key: value for key, value in kind.items() if key != "type"}
    if name not in known:
        raise FormatError(
            f"mode.{k} is of the type {name!r}, which is not known; this version reads {sorted(known)}. If it is a class of "
            "your own, pass it: lse.load(path, modes=[TheClass])."
        )
    try:
        mode = known[name].from_tensors(tensors, options)
    except (FormatError, InvalidInputError, KeyError, TypeError, ValueError) as error:
        raise FormatError(f"mode.{k}: {error}") from None
    if not isinstance(mode, Mode):
        raise FormatError(f"mode.{k}: {name}.from_tensors gives a {type(mode).__name__}, not a Mode.")
    return mode


def _term(kind: type[Any], data: Any) -> Any:
    """The growth or caloric term that its `to_dict` described, None for none."""
    if data is None:
        return None
    names = [field.name for field in fields(kind)]
    if not isinstance(data, dict) or set(data) != {"type", *names} or data["type"] != kind.__name__:
        raise FormatError(f"the {kind.__name__.lower()} term {data!r} is not known to this version.")
    return kind(*(data[name] for name in names))


def _expect_finite(tensors: dict[str, Array], where: str, *values: Array) -> None:
    if all(np.isfinite(value).all() for value in values):
        return
    largest = max((name for name in tensors if tensors[name].size), key=lambda name: np.abs(tensors[name]).max())
    raise FormatError(
        f"its energy or a derivative is not finite at {where}: a number is far too large or too small. The largest is "
        f"{np.abs(tensors[largest]).max():.3g} in tensor {largest}, input_scale is {tensors['input_scale'].tolist()}."
    )


def _to_json(name: str, value: Mapping[str, Any] | Sequence[Any]) -> str:
    try:
        return json.dumps(dict(value) if isinstance(value, Mapping) else list(value))
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"{name} cannot be written as JSON: {error}. Use texts, numbers, lists.") from None


def _json(metadata: dict[str, str], key: str, kind: type | None = None) -> Any:
    try:
        value = json.loads(metadata[key])
    except KeyError:
        raise FormatError(f"its metadata lack {key!r}.") from None
    except (ValueError, RecursionError) as error:  # also a number of 5,000 digits
        raise FormatError(f"its metadata {key!r} are not JSON: {error}.") from None
    if kind is not None and not isinstance(value, kind):
        raise FormatError(f"its metadata {key!r} are a {type(value).__name__}, not a {kind.__name__}.")
    return value


def _origin(metadata: dict[str, str]) -> dict[str, Any]:
    """Units, training box and provenance, of a material or a potential."""
    box = _json(metadata, "training_box")
    if box is not None and (not isinstance(box, list) or len(box) != 2):
        raise FormatError(f"its training_box {box!r} is not [lower, upper].")
    try:
        known = None if box is None else Box(*box)
    except InvalidInputError as error:
        raise FormatError(f"its training_box: {error}") from None
    found = {name: _json(metadata, name, dict) for name in ("units", "provenance")}
    return {**found, "training_box": known}
