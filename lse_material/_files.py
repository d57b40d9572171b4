"""Files written whole or not at all, and tables of numbers in them: .csv for other programs, .npz to the last bit."""

import contextlib
import csv
import io
import math
import os
import stat
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lse_material.errors import FormatError, InvalidInputError

TEMPORARY = ".lse_material."  # how the names of files begin that are not whole yet


def file_path(path: Any) -> Path:
    """The path that a user gave. Raises InvalidInputError: it is none, or has a character that no name of a file has."""
    if not isinstance(path, (str, os.PathLike)) or "\0" in str(path):
        raise InvalidInputError(f"the path is {path!r}; give the name of a file, a text or a pathlib.Path.")
    return Path(path)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: to a temporary one beside it, flushed to disk, then renamed. A link stays a link."""
    path = expect_place(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=TEMPORARY)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)  # mkstemp's 0600 would hide the file from the user's group
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def expect_place(path: Path) -> Path:
    """Where a file that is to be written will lie, once links are followed.

    Raises OSError: it cannot be written there, before anything is calculated for it.
    """
    path = Path(os.path.realpath(path))
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: give the name of a file.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} for {path.name}: make it first.")
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISREG(os.stat(path).st_mode):  # to rename a file to /dev/null or to a pipe would destroy these
            raise FileExistsError(f"{path} is a device or a pipe: give the name of a file.")
    try:
        with tempfile.TemporaryFile(dir=path.parent, prefix=TEMPORARY):
            return path
    except OSError as error:
        raise type(error)(f"{path} cannot be written: the folder is read-only, or full ({error.strerror}).") from None


def write_figure(figure: Any, path: Path, dpi: int) -> None:
    """Write a figure of matplotlib in the format that the ending of the name says; whole or not at all."""
    content = io.BytesIO()
    figure.savefig(content, format=path.suffix[1:] or None, dpi=dpi)
    write_atomically(path, content.getvalue())


def write_table(path: Path | str, columns: Mapping[str, Sequence[float]]) -> None:
    """Write columns of equal length under their names; whole or not at all.

    Raises FormatError: the name ends neither in .csv nor in .npz; OSError: the file cannot be written.
    """
    path = file_path(path)
    if path.suffix == ".npz":
        write_atomically(path, npz({name: np.array(values) for name, values in columns.items()}))
    elif path.suffix == ".csv":
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
        write_atomically(path, text.getvalue().encode())
    else:
        raise FormatError(f"{path}: a table is written as .csv or .npz, by the ending of the name.")


def npz(arrays: Mapping[str, Any]) -> bytes:
    """The content of a compressed .npz archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, values in arrays.items():  # `savez_compressed` takes some names for its own arguments
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.asarray(values), allow_pickle=False)
    return buffer.getvalue()


def plain(value: Any) -> Any:
    """The same in types that JSON knows; what is not finite becomes null."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
