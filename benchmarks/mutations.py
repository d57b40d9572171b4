"""Seeded mutations of good files: bytes, headers, cells, arrays, and pickles where arrays should be."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

Rng = np.random.Generator

JSON_VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1e999, float("nan"), 10**400, "", "null", "\ud800", [], [1], [[]], [None, None], {}, {"type": []},
    {"type": "GreenLagrange", "dim": 10**9}, {"type": "GreenLagrange", "dim": 2.0}, {"type": "Growth", "coefficient": "1"},
    [[0.0] * 3, [1.0]], [["a"] * 3, ["b"] * 3], [[1.0] * 3, [0.0] * 3], {"type": "IsotropicInvariants", "dim": 3},
    [[[0.0]], [[1]]], {"type": "Caloric", "heat_capacity": -1.0, "reference": 300.0}, {"type": "Caloric"}, ["T"], ["T", "T"],
    [{"type": "InterpolatedNetwork", "activation": "softplus"}] * 2, [{"type": "ConvexNetwork", "activation": "softplus"}] * 2,
    [{"type": "InterpolatedNetwork"}], [{"type": "InterpolatedNetwork", "activation": 1}] * 2,
)  # fmt: skip
JSON_TEXTS = (
    "",
    "{",
    "[" * 100_000,
    "{" * 3,
    '"' * 3,
    "9" * 5000,
    "nan",
    "\x00",
    '{"a": ' * 2000,
    "1e400",
    "[NaN, NaN]",
    "'a'",
)
NUMBERS = (np.nan, np.inf, -np.inf, 0.0, -0.0, -1.0, 1e308, -1e308, 5e-324, 1e200, -1e150, 1e16)
CELLS = (
    "nan", "inf", "-inf", "1e999", "", " ", '"', "'", "x", "1_0", "0x10", "\x00", "1;2", "1,2", "1e-400", "9" * 5000, "\u0661",
    "\u2028", "1e308", "-1", "0", "True", "=1+1", "__import__('os')", "1.0.0", "+", "\ufeff", "\r", '"1\n2"', "NaN(1)",
    "1e3000000",
)  # fmt: skip


class Bomb:
    """Unpickling it makes the folder `proof`."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.proof),)


def choose(rng: Rng, values: Any) -> Any:
    """One of some values."""
    return values[int(rng.integers(len(values)))]


def mutate_bytes(content: bytes, rng: Rng) -> bytes:
    """Some bytes changed, cut out, put in or doubled."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 6))):
        at, n = int(rng.integers(len(data) + 1)), int(2 ** rng.integers(0, 8))
        kind = int(rng.integers(6))
        if kind == 0 and at < len(data):
            data[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            data[at : at + n] = rng.bytes(n)
        elif kind == 2:
            del data[at : at + n]
        elif kind == 3:
            data[at:at] = data[at : at + n]
        elif kind == 4:
            data[at:at] = choose(rng, (b"\x00" * n, b"\xff" * n, b"\r\n", b'"', b"{", b"\xef\xbb\xbf", b"-"))
        elif rng.uniform() < 0.3:
            del data[at:]
    return bytes(data)


def mutate_material(content: bytes, rng: Rng, proof: Path) -> bytes:
    """A .safetensors file with its bytes, its header or its numbers changed."""
    kind = int(rng.integers(10))
    if kind < 2:
        return mutate_bytes(content, rng)
    if kind == 2 and rng.uniform() < 0.3:
        return pickle.dumps(Bomb(proof))
    end = 8 + struct.unpack("<Q", content[:8])[0]
    header, body = json.loads(content[8:end]), bytearray(content[end:])
    metadata = header["__metadata__"]
    names = [name for name in header if name != "__metadata__"]
    for _ in range(int(rng.integers(1, 4))):
        if kind < 5:
            key = choose(rng, list(metadata) or ["format"])
            value = choose(rng, JSON_TEXTS) if rng.uniform() < 0.4 else json.dumps(choose(rng, JSON_VALUES))
            metadata[key] = value
            if rng.uniform() < 0.15:
                del metadata[key]
        elif kind < 7:
            name = choose(rng, names)
            entry = header.get(name)
            if entry is None:
                continue
            field = choose(rng, ("dtype", "shape", "data_offsets", "name"))
            if field == "name":
                other = choose(
                    rng, (*names, "mode.9.bias.0", "mode.00.bias.0", "mode.0.bias.-1", "x", "", "mode.0.quadratic")
                )
                header[other] = header.pop(name)
            elif field == "dtype":
                entry["dtype"] = choose(rng, ("F32", "F64", "BF16", "I64", "U8", "F8_E4M3", "BOOL", "Q", None))
            elif field == "shape":
                entry["shape"] = choose(
                    rng,
                    (
                        [],
                        [0],
                        [1],
                        [2**40],
                        [2**63],
                        [-1],
                        [3, 3],
                        (entry["shape"] or [2, 3])[::-1],
                        [1, *(entry["shape"] or [])],
                        None,
                    ),
                )
            else:
                entry["data_offsets"] = choose(rng, ([0, 0], [0, 8], [8, 0], [0, 2**40], [-8, 0], [0, len(body)], None))
        else:
            for _ in range(int(rng.integers(1, 4))):
                at = 8 * int(rng.integers(max(1, len(body) // 8)))
                body[at : at + 8] = struct.pack("<d", choose(rng, NUMBERS) if rng.uniform() < 0.8 else rng.normal())
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(body)


def mutate_csv(content: bytes, rng: Rng) -> bytes:
    """A table with its bytes, cells, columns, lines, header or units changed."""
    if rng.uniform() < 0.15:
        return mutate_bytes(content, rng)
    lines = content.decode().split("\n")
    for _ in range(int(rng.integers(1, 5))):
        i = int(rng.integers(len(lines)))
        cells = lines[i].split(",")
        kind, j = int(rng.integers(7)), int(rng.integers(len(cells)))
        if kind == 0:
            cells[j] = choose(rng, CELLS)
        elif kind == 1:
            del cells[j]
        elif kind == 2:
            cells.insert(j, choose(rng, CELLS))
        elif kind == 3:
            lines.insert(
                i,
                "# units: "
                + (choose(rng, JSON_TEXTS) if rng.uniform() < 0.5 else json.dumps(choose(rng, JSON_VALUES))),
            )
            continue
        elif kind == 4:
            lines = [*lines[:i], *lines[i + 1 :]] or [""]
            continue
        elif kind == 5:
            cells[j] = choose(
                rng, ("W", "energy", "F11", "F33", "P11", "x1", "g1", "weight", "F", "f11", " F11 ", "x0")
            )
        else:
            cells = lines[i].split(",")[::-1]
        lines[i] = choose(rng, (",", ",", ",", ",", ";", "\t")).join(cells)
    return choose(rng, ("\n", "\n", "\n", "\r\n", "\r", "\u2028")).join(lines).encode("utf-8", "surrogatepass")


def mutate_npz(content: bytes, rng: Rng, proof: Path) -> bytes:
    """An archive with its bytes, its arrays or their headers changed."""
    if rng.uniform() < 0.25:
        return mutate_bytes(content, rng)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for _ in range(int(rng.integers(1, 4))):
        name = choose(rng, list(members))
        data, kind = members[name], int(rng.integers(7))
        if kind == 0:
            members[name] = mutate_bytes(data, rng)
        elif kind == 1:
            members[choose(rng, ("F.npy", "x.npy", "z.npy", "energy.npy", "../F.npy", "F", "stress_mask.npy"))] = (
                members.pop(name)
            )
        elif kind == 2:
            shape = choose(
                rng, ("(1099511627776,)", "(-1,)", "(20, 2, 2)", "()", "(0,)", "(2, 2)", "(20,)", "(True,)", "9")
            )
            dtype = choose(rng, ("<f8", "|O", ">f8", "<f4", "<c16", "|b1", "<U4", "<M8[s]", "V8", "<f16"))
            header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
            header += " " * (117 - len(header)) + "\n"
            members[name] = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + data[128:]
        elif kind == 3:
            buffer = io.BytesIO()
            np.save(buffer, np.array([Bomb(proof)], dtype=object), allow_pickle=True)
            members[name] = buffer.getvalue()
        elif kind == 4 and len(data) > 136:
            changed, at = bytearray(data), 128 + 8 * int(rng.integers((len(data) - 128) // 8))
            changed[at : at + 8] = struct.pack("<d", choose(rng, NUMBERS))
            members[name] = bytes(changed)
        elif kind == 5:
            text = choose(rng, JSON_TEXTS) if rng.uniform() < 0.5 else json.dumps(choose(rng, JSON_VALUES))
            buffer = io.BytesIO()
            np.save(buffer, np.array(text.encode("utf-8", "replace").decode()))
            members["units.npy"] = buffer.getvalue()
        else:
            members[name] = pickle.dumps(Bomb(proof))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()
