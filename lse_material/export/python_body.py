"""What was recorded as the body of a Python function, and tables of numbers as Python text."""

from collections.abc import Mapping
from textwrap import indent
from typing import Any

import numpy as np

from lse_material._arrays import Array
from lse_material.export.preamble import number, numbers
from lse_material.export.recorder import Language, Recorder, Scalar


def python_language(module: str) -> Language:
    """Python, with functions of this module."""
    return Language(number, lambda name: f"{module}.{name}", "{} ** {}", "t{}")


def listed(values: Any) -> str:
    """A flat list of numbers as Python text, on several lines where it is long."""
    lines = numbers(values)
    return "[" + lines[0].strip().rstrip(",") + "]" if len(lines) == 1 else "[\n" + "\n".join(lines) + "\n]"


def table(matrix: Array) -> str:
    """A matrix (n, m) as a call of `table(n, m, values)`, which also makes matrices without entries."""
    return f"table({len(matrix)}, {matrix.shape[1]}, {listed(matrix)})"


def layers(mode: Any) -> list[str]:
    """The layers of a convex network: x_weight, z_weight and bias (one row) as tables; z_weight of the first has no columns."""
    first = np.zeros((len(mode.biases[0]), 0))
    rows = zip(mode.x_weights, (first, *mode.z_weights), mode.biases)
    return [f"{table(x)},\n{table(z)},\n{table(bias[None])}" for x, z, bias in rows]


def quadratic(mode: Any) -> str:
    """The table of the quadratic term of a convex network, without rows if it has none."""
    return table(np.zeros((0, mode.size)) if mode.quadratic is None else mode.quadratic)


def entries_of_F(dim: int) -> dict[str, str]:
    """Names of the entries of F (..., dim, dim), row by row, and how Python finds each."""
    return {f"F{i + 1}{j + 1}": f"F[..., {i}, {j}]" for i in range(dim) for j in range(dim)}


def python_body(recorder: Recorder, inputs: Mapping[str, str], module: str, *results: Any) -> str:
    """Statements that end with `return` of these results: scalars, and arrays of one or two axes."""
    flat = {f"r{n}_{i}": value for n, each in enumerate(results) for i, value in enumerate(np.ravel(each))}
    recorded = {name: value for name, value in flat.items() if isinstance(value, Scalar)}
    statements, _ = recorder.written(recorded, python_language(module))
    lines = [f"{name} = {text}" for name, text in inputs.items()]
    lines += [f"zero = 0.0 * {next(iter(inputs))}", *statements]
    found = []
    for n, each in enumerate(results):
        names = [f"r{n}_{i}" for i in range(np.size(each))]
        texts = [name if name in recorded else f"zero + {number(float(flat[name]))}" for name in names]
        text = texts[0] if np.ndim(each) == 0 else f"{module}.stack([{', '.join(texts)}], -1)"
        found.append(f"{text}.unflatten(-1, {np.shape(each)})" if np.ndim(each) == 2 else text)
    return indent("\n".join([*lines, f"return {', '.join(found)}"]), "    ")
