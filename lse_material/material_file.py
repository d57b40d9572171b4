"""One trained material in one file: format 1, a .safetensors file of float64 tensors with text metadata.

Tensors: `mode.{k}.z_weight.{l}`, `mode.{k}.x_weight.{l}`, `mode.{k}.bias.{l}`, `mode.{k}.quadratic` (optional), `rho`,
`input_shift`, `input_scale`, `energy_scale`, `energy_shift`; `network.ConvexNetwork` tells their meaning. Loading never
executes code: such a file holds numbers and text only (https://github.com/huggingface/safetensors).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from lse_material._arrays import Array, expect_shape
from lse_material._files import write_atomically
from lse_material.errors import FormatError, InvalidInputError
from lse_material.model.box import Box
from lse_material.model.convex_network import ConvexNetwork
from lse_material.model.growth import growth_from_dict
from lse_material.model.material import Material
from lse_material.model.soft_minimum import SoftMinimum
from lse_material.model.strain import BUILT_IN, StrainMeasure, expect_one_definition, strain_measure_from_dict
from lse_material.model.symmetry import Symmetry

FORMAT = "lse-material/1"
SOFT_MINIMUM = "-rho*log(sum(exp(-psi/rho)))"
_NUMBER = r"(0|[1-9][0-9]{0,8})"  # one spelling per number, so that no tensor can hide another
_MODE_TENSOR = re.compile(rf"mode\.{_NUMBER}\.(?:(z_weight|x_weight|bias)\.{_NUMBER}|(quadratic))")
_SCALARS = ("rho", "energy_scale", "energy_shift")
_VECTORS = ("input_shift", "input_scale")
_ATTRIBUTES = {"rho": "scaled_rho"}  # of a soft minimum, where they are not called as the tensor


def save(material: Material | SoftMinimum, path: str | Path) -> None:
    """Write a material, or a plain potential, to `path`; whole or not at all.

    Raises:
        InvalidInputError: the name does not end in .safetensors, modes differ in activation, a strain measure of the user's own
            is not defined by its components alone or bears the name of another, or JSON cannot hold it, units or provenance.
        OSError: the file cannot be written.

    >>> lse.save(material, "copy.safetensors")
    >>> lse.load("copy.safetensors").units
    {'energy': 'MPa'}
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise InvalidInputError(f"{path}: the name of a material file ends in .safetensors.")
    potential = material.potential if isinstance(material, Material) else material
    activations = {mode.activation for mode in potential.modes}
    if len(activations) > 1:
        raise InvalidInputError(f"format 1 holds one activation for all modes; these have {sorted(activations)}.")
    metadata = {
        "format": FORMAT,
        "soft_minimum": SOFT_MINIMUM,
        "activation": activations.pop(),
        "kinematics": "null",
        "growth": "null",
        "units": "{}",
        "training_box": "null",
        "provenance": "{}",
    }
    if isinstance(material, Material):
        kinematics = material.kinematics
        expect_one_definition(kinematics, "a file of format 1")
        if BUILT_IN.get(kinematics.name, type(kinematics)) is not type(kinematics):
            raise InvalidInputError(
                f"the strain measure {kinematics.name} is not that of lse_material: give yours another name."
            )
        box = material.training_box
        metadata |= {
            "kinematics": _to_json("kinematics", kinematics.to_dict()),
            "growth": json.dumps(material.growth.to_dict() if material.growth else None),
            "units": _to_json("units", material.units),
            "training_box": json.dumps(None if box is None else [box.lower.tolist(), box.upper.tolist()]),
            "provenance": _to_json("provenance", material.provenance),
        }
        if material.fields:
            metadata["fields"] = json.dumps(list(material.fields))
        if material.symmetry is not None:
            metadata["symmetry"] = json.dumps(material.symmetry.to_dict())
    write_atomically(path, _ordered(safetensors.numpy.save(_tensors(potential), metadata)))


def load(path: str | Path, *, kinematics: Sequence[type[StrainMeasure]] = ()) -> Material:
    """Read a material.

    Args:
        path: of the file.
        kinematics: strain measures of your own, classes, that the file may name.

    Raises:
        FormatError: the file is truncated, foreign, of a newer format, malformed, holds a NaN or a mode that is not
            convex; the tensor and the entry are named.
        FileNotFoundError: there is no such file.

    >>> lse.load("cell.safetensors").kinematics
    GreenLagrange(dim=2)
    """
    tensors, metadata = _read(Path(path))
    try:
        potential = _potential(tensors, metadata)
        measure = _json(metadata, "kinematics")
        if measure is None:
            raise FormatError("it holds a plain potential without a strain measure: read it with load_potential().")
        box = _json(metadata, "training_box")
        material = Material(
            potential,
            strain_measure_from_dict(measure, kinematics),
            growth_from_dict(_json(metadata, "growth")),
            _json(metadata, "units", dict),
            None if box is None else _training_box(box),
            _json(metadata, "provenance", dict),
            tuple(_json(metadata, "fields", list)) if "fields" in metadata else (),
            Symmetry.from_dict(_json(metadata, "symmetry")) if "symmetry" in metadata else None,
        )
        with np.errstate(all="ignore"):
            fields = potential.input_shift[: len(material.fields)] if material.fields else None
            at_rest = material.evaluate(np.eye(material.dim)[None], fields)
            _expect_finite(tensors, "F = I", at_rest.energy, at_rest.stress, at_rest.tangent)
        return material
    except (FormatError, InvalidInputError) as error:
        raise FormatError(f"{path} cannot be used: {error}") from None


def load_potential(path: str | Path) -> SoftMinimum:
    """Read the potential of a file, with or without a strain measure. Raises as `load`.

    >>> lse.load_potential("cell.safetensors").size
    3
    """
    tensors, metadata = _read(Path(path))
    try:
        potential = _potential(tensors, metadata)
        with np.errstate(all="ignore"):
            values = potential.evaluate(potential.input_shift)
            _expect_finite(tensors, "input_shift", values.energy, values.gradient, values.hessian)
        return potential
    except (FormatError, InvalidInputError) as error:
        raise FormatError(f"{path} cannot be used: {error}") from None


def _tensors(potential: SoftMinimum) -> dict[str, Array]:
    tensors: dict[str, Array] = {}
    for k, mode in enumerate(potential.modes):
        for i, (weight, bias) in enumerate(zip(mode.x_weights, mode.biases)):
            tensors[f"mode.{k}.x_weight.{i}"] = weight
            tensors[f"mode.{k}.bias.{i}"] = bias
        for i, weight in enumerate(mode.z_weights, start=1):
            tensors[f"mode.{k}.z_weight.{i}"] = weight
        if mode.quadratic is not None:
            tensors[f"mode.{k}.quadratic"] = mode.quadratic
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
            if version != FORMAT:
                if re.fullmatch(r"lse-material/\d+", version):
                    raise FormatError(
                        f"{path} is of format {version}; this lse_material reads {FORMAT}. Update the package."
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
        raise FormatError(
            f"{path} holds a tensor that is not float64 ({error}); format 1 holds float64 only."
        ) from None
    if metadata.get("soft_minimum") != SOFT_MINIMUM:
        raise FormatError(f"{path} uses the soft minimum {metadata.get('soft_minimum')!r}; known is {SOFT_MINIMUM!r}.")
    for name, tensor in tensors.items():
        if tensor.dtype != np.float64:
            raise FormatError(f"{path}: tensor {name} is {tensor.dtype}; format 1 holds float64 only.")
        if not np.isfinite(tensor).all():
            where = tuple(int(i) for i in np.argwhere(~np.isfinite(tensor))[0])
            raise FormatError(f"{path}: tensor {name} holds {tensor[where]} at entry {where}.")
    return tensors, metadata


def _potential(tensors: dict[str, Array], metadata: dict[str, str]) -> SoftMinimum:
    parts: dict[int, dict[str, dict[int, Array]]] = {}
    for name, tensor in tensors.items():
        match = _MODE_TENSOR.fullmatch(name)
        if match:
            kind, layer = (match[2], int(match[3])) if match[2] else ("quadratic", 0)
            parts.setdefault(int(match[1]), {}).setdefault(kind, {})[layer] = tensor
        elif name not in (*_SCALARS, *_VECTORS):
            raise FormatError(f"tensor {name} is not part of format 1.")
    for name in (*_SCALARS, *_VECTORS):
        if name not in tensors:
            raise FormatError(f"tensor {name} is missing.")
    if sorted(parts) != list(range(len(parts))) or not parts:
        raise FormatError(f"modes are numbered {sorted(parts)}; they must be 0, 1, ... without a gap.")
    modes = []
    for k in range(len(parts)):
        try:
            modes.append(_mode(parts[k], metadata.get("activation", "")))
        except (FormatError, InvalidInputError) as error:
            raise FormatError(f"mode.{k}: {error}") from None
    for name in (*_SCALARS, *_VECTORS):
        expect_shape(f"tensor {name}", tensors[name], () if name in _SCALARS else (modes[0].size,))
    return SoftMinimum(
        tuple(modes),
        scaled_rho=float(tensors["rho"]),
        energy_scale=float(tensors["energy_scale"]),
        energy_shift=float(tensors["energy_shift"]),
        input_shift=tensors["input_shift"],
        input_scale=tensors["input_scale"],
    )


def _mode(parts: dict[str, dict[int, Array]], activation: str) -> ConvexNetwork:
    layers = len(parts.get("x_weight", {}))
    for kind, first in (("x_weight", 0), ("bias", 0), ("z_weight", 1)):
        found = sorted(parts.get(kind, {}))
        if found != list(range(first, layers)):
            raise FormatError(
                f"it has {layers} x_weights, and {kind} of layers {found}; needed are {first} .. {layers - 1}."
            )
    quadratic = parts.get("quadratic", {}).get(0)
    ordered = {kind: tuple(parts[kind][i] for i in sorted(parts[kind])) for kind in parts}
    return ConvexNetwork(ordered.get("z_weight", ()), ordered["x_weight"], ordered["bias"], activation, quadratic)


def _expect_finite(tensors: dict[str, Array], where: str, *values: Array) -> None:
    if all(np.isfinite(value).all() for value in values):
        return
    largest = max((name for name in tensors if tensors[name].size), key=lambda name: np.abs(tensors[name]).max())
    raise FormatError(
        f"its energy or a derivative is not finite at {where}: a number is far too large or too small. The largest is "
        f"{np.abs(tensors[largest]).max():.3g} in tensor {largest}, input_scale is {tensors['input_scale'].tolist()}."
    )


def _to_json(name: str, value: Mapping[str, Any]) -> str:
    try:
        return json.dumps(dict(value))
    except (TypeError, ValueError) as error:
        raise InvalidInputError(
            f"{name} cannot be written as JSON: {error}. Use texts, plain numbers, lists."
        ) from None


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


def _training_box(value: Any) -> Box:
    if not isinstance(value, list) or len(value) != 2:
        raise FormatError(f"its training_box {value!r} is not [lower, upper].")
    try:
        return Box(value[0], value[1])
    except InvalidInputError as error:
        raise FormatError(f"its training_box: {error}") from None
