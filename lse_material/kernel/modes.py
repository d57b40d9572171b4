"""The C of each mode type: what a translation must offer, the tables of those there are, and the one of a mode's own text.

A type that stands in neither table is translated from its `c_text` (`lse_material.model.mode.Mode`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from lse_material._arrays import Array
from lse_material.errors import InvalidInputError
from lse_material.kernel.c_writer import Text, upper_triangle
from lse_material.kernel.convex_network_batch import NetworkShape
from lse_material.kernel.convex_network_point import NetworkLayout
from lse_material.model.mode import Mode


class BatchCode(Protocol):
    """C of a mode for a block of points, one a lane; hashable, and equal for modes that share their functions:

    lse_vec NAME_values(const double *restrict w, const lse_vec *x, lse_vec *kept, lse_vec *scratch)          psi
    void NAME_gradient(const double *restrict w, const lse_vec *x, lse_vec *kept, lse_vec *scratch, lse_vec *g, int second)
    void NAME_hessian(const double *restrict w, const lse_vec *x, lse_vec q, const lse_vec *kept, lse_vec *scratch, lse_vec *H)

    They are called in this order, as far as derivatives are asked for; `second` says whether the last follows. It adds q times
    the upper triangle, row by row.

    Attributes:
        size: number d of inputs.
        name: NAME, different for what is not equal.
        length: doubles w of a mode.
        kept: vectors that each mode keeps from call to call.
        scratch: vectors that a call may write.
    """

    @property
    def size(self) -> int:  # noqa: D102
        ...

    @property
    def name(self) -> str:  # noqa: D102
        ...

    @property
    def length(self) -> int:  # noqa: D102
        ...

    @property
    def kept(self) -> int:  # noqa: D102
        ...

    @property
    def scratch(self) -> int:  # noqa: D102
        ...

    @classmethod
    def of(cls, mode: Mode) -> BatchCode:
        """The code of a mode."""

    def pack(self, mode: Mode) -> Array:
        """w of a mode: (length,)."""

    def write(self, text: Text, lanes: int, registers: int) -> None:
        """The functions, for a CPU with so many doubles in a vector register and so many of these."""


class PointCode(Protocol):
    """C of a mode for one point; hashable, and equal for modes that share their functions:

    void NAME_values_COUNT(const double *w, const double *x, double *kept, double *psi)          of COUNT modes in a row
    void NAME_gradient(const double *w, const double *x, double *kept, double *g)
    void NAME_hessian(const double *w, const double *x, double weight, const double *kept, lse_vec *lanes, double *H)

    The last adds weight times the upper triangle, row by row, to H, or to `lanes` in terms that are summed over lanes later.

    Attributes:
        name: how NAME ends, different for what is not equal.
        length: doubles w of a mode, a multiple of the lanes.
        kept: doubles that each mode keeps from call to call, a multiple of the lanes.
        together: the largest COUNT.
    """

    @property
    def name(self) -> str:  # noqa: D102
        ...

    @property
    def length(self) -> int:  # noqa: D102
        ...

    @property
    def kept(self) -> int:  # noqa: D102
        ...

    @property
    def together(self) -> int:  # noqa: D102
        ...

    @classmethod
    def of(cls, mode: Mode, lanes: int) -> PointCode:
        """The code of a mode, for vectors of `lanes` doubles."""

    def pack(self, mode: Mode) -> Array:
        """w of a mode: (length,)."""

    def write(self, text: Text, name: str, counts: list[int]) -> None:
        """The functions, for each COUNT that is needed; `name` is NAME."""


BATCH_MODES: dict[str, type[BatchCode]] = {"ConvexNetwork": NetworkShape}
POINT_MODES: dict[str, type[PointCode]] = {"ConvexNetwork": NetworkLayout}


def batch_code(mode: Mode) -> BatchCode:
    """The C of a mode for blocks of points.

    Raises:
        InvalidInputError: its type has none.
    """
    return BATCH_MODES.get(mode.type, TextBatch).of(mode)


def point_code(mode: Mode, lanes: int) -> PointCode:
    """The C of a mode for single points. Raises as `batch_code`."""
    return POINT_MODES.get(mode.type, TextPoint).of(mode, lanes)


@dataclass(frozen=True)
class _OwnText:
    """What the C of a mode depends on that brings its own text.

    Attributes:
        type: of the mode.
        size: number d of inputs.
        numbers: doubles in its tensors.
        text: its `c_text`.
    """

    type: str
    size: int
    numbers: int
    text: str
    kept: ClassVar[int] = 0

    @property
    def name(self) -> str:
        """In C."""
        return re.sub(r"\W", "_", f"mode_{self.type}_{self.size}_{self.numbers}", flags=re.ASCII)

    def pack(self, mode: Mode) -> Array:
        """The tensors, one after another."""
        return packed(mode)


class TextBatch(_OwnText):
    """A mode's own text for a block of points."""

    scratch: ClassVar[int] = 0

    @classmethod
    def of(cls, mode: Mode) -> TextBatch:
        """The code of a mode."""
        return cls(mode.type, mode.size, mode.parameters, own_text(mode))

    @property
    def length(self) -> int:
        """Doubles of a mode."""
        return self.numbers

    def write(self, text: Text, lanes: int, registers: int) -> None:
        """The functions."""
        d, name = self.size, self.name
        words = {"real": "lse_vec", "real_exp": "lse_exp", "real_log": "lse_log", "real_of": "lse_fill"}
        text.paste(in_c(self.text, name, words))
        arguments = "const double *restrict w, const lse_vec *x"
        with text.function(f"LSE_INLINE lse_vec {name}_values({arguments}, lse_vec *kept, lse_vec *scratch)", "psi"):
            text("lse_vec psi;", f"{name}(w, x, &psi, 0, 0);", "return psi;")
        head = f"LSE_INLINE void {name}_gradient({arguments}, lse_vec *kept, lse_vec *scratch, lse_vec *g, int second)"
        with text.function(head, "gradient"):
            text("lse_vec psi;", f"{name}(w, x, &psi, g, 0);")
        head = (
            f"LSE_INLINE void {name}_hessian({arguments}, lse_vec q, const lse_vec *kept, lse_vec *scratch, lse_vec *H)"
        )
        with text.function(head, "H += q * Hessian, upper triangle"):
            text(f"lse_vec psi, g[{d}], h[{d * d}];", f"{name}(w, x, &psi, g, h);")
            text(*(f"H[{n}] += q * h[{a * d + b}];" for n, (a, b) in enumerate(upper_triangle(d))))


@dataclass(frozen=True)
class TextPoint(_OwnText):
    """A mode's own text for a single point, by vectors of `lanes` doubles."""

    lanes: int
    together: ClassVar[int] = 1

    @classmethod
    def of(cls, mode: Mode, lanes: int) -> TextPoint:
        """The code of a mode."""
        return cls(mode.type, mode.size, mode.parameters, own_text(mode), lanes)

    @property
    def length(self) -> int:
        """Doubles of a mode, filled up to whole vectors."""
        return -(-self.numbers // self.lanes) * self.lanes

    def pack(self, mode: Mode) -> Array:
        """The tensors, one after another, filled up with zeros."""
        return np.pad(packed(mode), (0, self.length - self.numbers))

    def write(self, text: Text, name: str, counts: list[int]) -> None:
        """The functions."""
        d = self.size
        words = {"real": "double", "real_exp": "lse_exp_1", "real_log": "lse_log_1", "real_of": ""}
        text.paste(_SINGLE)
        text.paste(in_c(self.text, name, words))
        arguments = "const double *w, const double *x"
        with text.function(f"LSE_INLINE void {name}_values_1({arguments}, double *kept, double *psi)", "psi"):
            text("(void)kept;", f"{name}(w, x, psi, 0, 0);")
        with text.function(f"LSE_INLINE void {name}_gradient({arguments}, double *kept, double *g)", "gradient"):
            text("(void)kept;", "double psi;", f"{name}(w, x, &psi, g, 0);")
        head = (
            f"LSE_INLINE void {name}_hessian({arguments}, double weight, const double *kept, lse_vec *lanes, double *H)"
        )
        with text.function(head, "H += weight * Hessian, upper triangle"):
            text("(void)kept, (void)lanes;", f"double psi, g[{d}], h[{d * d}];", f"{name}(w, x, &psi, g, h);")
            text(*(f"H[{n}] += weight * h[{a * d + b}];" for n, (a, b) in enumerate(upper_triangle(d))))


_SINGLE = """
#ifndef LSE_SINGLE
#define LSE_SINGLE
LSE_INLINE double lse_exp_1(double a) { return lse_exp(lse_fill(a))[0]; }
LSE_INLINE double lse_log_1(double a) { return lse_log(lse_fill(a))[0]; }
#endif
"""


def own_text(mode: Mode) -> str:
    """The `c_text` of a mode.

    Raises:
        InvalidInputError: it has none.
    """
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
