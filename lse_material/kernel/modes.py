"""The C of each mode type: two tables, and the translation of a type that brings its own text (`Mode.c_text`).

A translation is a class whose instances are what the code of a mode depends on: hashable, and equal for modes that share their
functions. It has `of(mode)`, or `of(mode, lanes)`, `name`, `length` (doubles w of a mode), `pack(mode)` (these doubles), `kept`
(vectors, or doubles, that a mode keeps from call to call), and `write`.

BATCH_MODES, for blocks of points, one a lane: `size` (inputs), `scratch` (vectors that a call may write), and
write(text, lanes, registers), which writes

    lse_vec NAME_values(const double *restrict w, const lse_vec *x, lse_vec *kept, lse_vec *scratch)                   psi
    void NAME_gradient(const double *restrict w, const lse_vec *x, lse_vec *kept, lse_vec *scratch, lse_vec *g, int second)
    void NAME_hessian(const double *restrict w, const lse_vec *x, lse_vec q, const lse_vec *kept, lse_vec *scratch, lse_vec *H)

POINT_MODES, for single points: `together` (how many modes in a row one call may take), lengths that are multiples of the lanes,
and write(text, name, counts), which writes for each COUNT of modes

    void NAME_values_COUNT(const double *w, const double *x, double *kept, double *psi)
    void NAME_gradient(const double *w, const double *x, double *kept, double *g)
    void NAME_hessian(const double *w, const double *x, double q, const double *kept, lse_vec *lanes, double *H)

They are called in this order, as far as derivatives are asked for; `second` says whether the last follows. It adds q times the
upper triangle, row by row, to H (or to `lanes`, in terms that are summed over the lanes later).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from lse_material._arrays import Array
from lse_material.errors import InvalidInputError
from lse_material.kernel.c_writer import Text, upper_triangle
from lse_material.kernel.convex_network_batch import NetworkShape
from lse_material.kernel.convex_network_point import NetworkLayout
from lse_material.kernel.design_network import DesignLayout, DesignShape, design_text
from lse_material.model.mode import Mode

BATCH_MODES: dict[str, Any] = {
    "ConvexNetwork": NetworkShape,
    "InterpolatedNetwork": NetworkShape,
    "DesignNetwork": DesignShape,
    "InterpolatedDesign": DesignShape,
}
POINT_MODES: dict[str, Any] = {
    "ConvexNetwork": NetworkLayout,
    "InterpolatedNetwork": NetworkLayout,
    "DesignNetwork": DesignLayout,
    "InterpolatedDesign": DesignLayout,
}

# of types of the package that are exported so
TEXTS: dict[str, Callable[[Any], str]] = {"DesignNetwork": design_text, "InterpolatedDesign": design_text}


def batch_code(mode: Mode) -> Any:
    """The C of a mode for blocks of points. Raises InvalidInputError: its type has none."""
    return BATCH_MODES.get(mode.type, _OwnBatch).of(mode)


def point_code(mode: Mode, lanes: int) -> Any:
    """The C of a mode for single points, by vectors of `lanes` doubles. Raises as `batch_code`."""
    return POINT_MODES.get(mode.type, _OwnPoint).of(mode, lanes)


@dataclass(frozen=True)
class _Own:
    """The C of a mode that brings its own text: its type, number d of inputs, number of doubles, text, and the lanes."""

    type: str
    size: int
    numbers: int
    text: str
    lanes: int
    kept: ClassVar[int] = 0
    scratch: ClassVar[int] = 0
    together: ClassVar[int] = 1

    @classmethod
    def of(cls, mode: Mode, lanes: int = 1) -> _Own:
        return cls(mode.type, mode.size, mode.parameters, own_text(mode), lanes)

    @property
    def name(self) -> str:
        digest = hashlib.sha256(self.text.encode()).hexdigest()[:8]  # two texts of one type may have as many numbers
        return re.sub(r"\W", "_", f"mode_{self.type}_{self.size}_{digest}", flags=re.ASCII)

    @property
    def length(self) -> int:
        return -(-self.numbers // self.lanes) * self.lanes

    def pack(self, mode: Mode) -> Array:
        return np.pad(packed(mode), (0, self.length - self.numbers))

    def _hessian(self, text: Text, name: str, real: str, head: str) -> None:
        d = self.size
        with text.function(f"LSE_INLINE void {name}_hessian({head}", "H += q * Hessian, upper triangle"):
            text(f"(void)kept; {real} psi, g[{d}], h[{d * d}];", f"{name}(w, x, &psi, g, h);")
            text(*(f"H[{n}] += q * h[{a * d + b}];" for n, (a, b) in enumerate(upper_triangle(d))))


class _OwnBatch(_Own):
    def write(self, text: Text, lanes: int, registers: int) -> None:
        name, points = self.name, "const double *restrict w, const lse_vec *x"
        words = {"real": "lse_vec", "real_exp": "lse_exp", "real_log": "lse_log", "real_of": "lse_fill"}
        text.paste(in_c(self.text, name, words))
        with text.function(f"LSE_INLINE lse_vec {name}_values({points}, lse_vec *kept, lse_vec *scratch)", "psi"):
            text("lse_vec psi;", f"{name}(w, x, &psi, 0, 0);", "return psi;")
        head = f"LSE_INLINE void {name}_gradient({points}, lse_vec *kept, lse_vec *scratch, lse_vec *g, int second)"
        with text.function(head, "gradient g"):
            text("lse_vec psi;", f"{name}(w, x, &psi, g, 0);")
        self._hessian(text, name, "lse_vec", f"{points}, lse_vec q, const lse_vec *kept, lse_vec *scratch, lse_vec *H)")


class _OwnPoint(_Own):
    def write(self, text: Text, name: str, counts: list[int]) -> None:
        points = "const double *w, const double *x"
        words = {"real": "double", "real_exp": "lse_exp_1", "real_log": "lse_log_1", "real_of": ""}
        text("#ifndef LSE_SINGLE", "#define LSE_SINGLE")
        text("LSE_INLINE double lse_exp_1(double a) { return lse_exp(lse_fill(a))[0]; }")
        text("LSE_INLINE double lse_log_1(double a) { return lse_log(lse_fill(a))[0]; }", "#endif")
        text.paste(in_c(self.text, name, words))
        with text.function(f"LSE_INLINE void {name}_values_1({points}, double *kept, double *psi)", "psi"):
            text("(void)kept;", f"{name}(w, x, psi, 0, 0);")
        with text.function(f"LSE_INLINE void {name}_gradient({points}, double *kept, double *g)", "gradient g"):
            text("(void)kept; double psi;", f"{name}(w, x, &psi, g, 0);")
        self._hessian(text, name, "double", f"{points}, double q, const double *kept, lse_vec *lanes, double *H)")


def own_text(mode: Mode) -> str:
    """The C of a mode by the table of texts, or its `c_text`. Raises InvalidInputError: it has none."""
    if mode.type in TEXTS:
        return TEXTS[mode.type](mode)
    if not mode.c_text:
        raise InvalidInputError(
            f"the mode type {mode.type} has no translation into C: give it c_text (see lse_material.model.mode.Mode), or write "
            "it into forms by energy(..., expanded=True)."
        )
    return mode.c_text


def packed(mode: Mode) -> Array:
    """The tensors of a mode, one after another, row by row."""
    return np.concatenate([np.ravel(tensor) for tensor in mode.tensors().values()])


def in_c(text: str, name: str, words: dict[str, str], storage: str = "LSE_INLINE") -> str:
    """A mode's own text with a name for its function, and words for `real`, `real_exp`, `real_log` and `real_of`."""
    text = re.sub(r"\bvoid\s+NAME\b", f"{storage} void NAME", text).replace("NAME", name)
    return re.sub(r"\breal(_exp|_log|_of)?\b", lambda match: words[match[0]], text)
