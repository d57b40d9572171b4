"""Checks of arrays given by users: one place for the wording of shape and finiteness errors."""

import hashlib
from collections.abc import Mapping
from numbers import Integral
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from lse_material.errors import InvalidInputError

Array: TypeAlias = npt.NDArray[np.float64]
Mask: TypeAlias = npt.NDArray[np.bool_]
AnyArray = TypeVar("AnyArray", bound=npt.NDArray[Any])


def float_array(name: str, value: Any, ndim: int | None = None, *, finite: bool = True) -> Array:
    """Return `value` as a contiguous float64 array, or raise InvalidInputError naming `name` and the entry at fault."""
    if np.ma.is_masked(value):
        raise InvalidInputError(f"{name} is a masked array with hidden entries: give a plain array (and a row mask).")
    try:
        raw = np.asarray(value)
        if np.iscomplexobj(raw) or raw.dtype.kind in "mM":
            raise TypeError("complex numbers" if np.iscomplexobj(raw) else "dates or times")
        with np.errstate(over="ignore", invalid="ignore"):  # of wider numbers, which are then infinite
            array: Array = np.ascontiguousarray(raw, dtype=np.float64)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise InvalidInputError(f"{name} cannot be read as an array of real numbers: {error}.") from None
    if raw.ndim == 0:
        array = array.reshape(())
    if ndim is not None and array.ndim != ndim:
        raise InvalidInputError(f"{name} has {array.ndim} axes (shape {array.shape}); it needs {ndim}.")
    if finite and not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise InvalidInputError(f"{name} holds {array[where]} at entry {where}; every entry must be finite.")
    return array


def entries(name: str, value: Any) -> tuple[Any, ...]:
    """Return the entries of a list, or of what else holds several things, or raise InvalidInputError naming `name`."""
    try:
        return tuple(value)
    except TypeError:
        raise InvalidInputError(f"{name} is {value!r}; give a list, of one entry for a single one.") from None


def classes(name: str, value: Any, parent: type[Any]) -> tuple[Any, ...]:
    """Return the classes of a list, or raise InvalidInputError unless each is one of `parent`."""
    found = entries(name, value)
    for each in found:
        if not isinstance(each, type) or not issubclass(each, parent):
            raise InvalidInputError(f"{name} holds {each!r}; it must hold classes of {parent.__name__} only.")
    return found


def whole_number(name: str, value: Any, least: int = 0) -> int:
    """Return `value` as an int, or raise InvalidInputError naming `name`: for seeds and counts."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise InvalidInputError(f"{name} is {value!r}; it must be a whole number >= {least}.")
    return int(value)


def positive(name: str, value: Any, *, finite: bool = True) -> float:
    """Return `value` as a float, or raise InvalidInputError naming `name` unless it is one number > 0."""
    number = np.asarray(value)
    if number.shape != () or number.dtype.kind not in "iuf" or not number > 0.0 or (finite and np.isinf(number)):
        raise InvalidInputError(f"{name} is {_said(value)}; it must be {'a finite' if finite else 'a'} number > 0.")
    return float(number)


def not_negative(name: str, value: Any) -> float:
    """Return `value` as a float, or raise InvalidInputError naming `name` unless it is one finite number >= 0."""
    number = np.asarray(value)
    if number.shape != () or number.dtype.kind not in "iuf" or not 0.0 <= number < np.inf:
        raise InvalidInputError(f"{name} is {_said(value)}; it must be a finite number >= 0.")
    return float(number)


def _said(value: Any) -> str:
    """How a message says what was given: a number of NumPy as a number."""
    return repr(value.item() if isinstance(value, np.generic | np.ndarray) and value.ndim == 0 else value)


def rms(values: Array) -> float:
    """The root of the mean square."""
    return float(np.sqrt(np.mean(values**2)))


def generator(seed: Any) -> np.random.Generator:
    """Random numbers of a seed, or InvalidInputError unless it is a whole number >= 0."""
    return np.random.default_rng(whole_number("seed", seed))


def digest_of(named: Mapping[str, Array | None], labels: Any = None) -> str:
    """A hash of arrays and of labels, 16 hexadecimal digits: the same rows in the same order give the same."""
    h = hashlib.sha256()
    for name, value in named.items():
        if value is not None:
            h.update(name.encode() + str(value.shape).encode() + np.ascontiguousarray(value).tobytes())
    if labels is not None:
        h.update("\n".join(["group", *map(str, labels)]).encode())
    return h.hexdigest()[:16]


def frozen(array: AnyArray) -> AnyArray:
    """Return a read-only copy, so that validated arrays stay as they were validated."""
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def points(name: str, value: Any, size: int) -> Array:
    """Return points of `size` components: shape (..., size), float64. NaN passes: it must come out as NaN."""
    array = float_array(name, value, finite=False)
    if array.ndim == 0 or array.shape[-1] != size:
        raise InvalidInputError(f"{name} has shape {array.shape}; its last axis must hold the {size} components.")
    return array


def deformation_gradients(value: Any, dim: int) -> Array:
    """Return deformation gradients F of shape (..., dim, dim), float64. NaN passes: it must come out as NaN."""
    array = float_array("F", value, finite=False)
    if array.ndim < 2 or array.shape[-2:] != (dim, dim):
        raise InvalidInputError(f"F has shape {array.shape}; a {dim}D strain measure needs (..., {dim}, {dim}).")
    return array


def expect_shape(name: str, array: Array, shape: tuple[int, ...]) -> None:
    """Raise InvalidInputError unless `array` has `shape`."""
    if array.shape != shape:
        raise InvalidInputError(f"{name} has shape {array.shape}; it should be {shape}.")


def field_names(names: Any) -> tuple[str, ...]:
    """Names of fields, checked: texts without commas, each once."""
    if isinstance(names, str):
        raise InvalidInputError(f"fields is the text {names!r}; give a tuple of names, ({names!r},) for one.")
    checked = entries("fields", names)
    if not all(isinstance(name, str) and name.strip() == name != "" and "," not in name for name in checked):
        raise InvalidInputError(f"fields are {checked!r}; they must be names: texts, not empty, without commas.")
    if len(set(checked)) < len(checked):
        raise InvalidInputError(f"fields are {checked!r}; each name may appear once.")
    return checked
