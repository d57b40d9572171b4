"""C functions of one mode, for a block of points at a time: energy, then gradient, then Hessian.

Modes of the same shape share their functions; weights are data. Three passes, of which a block runs what it needs:
  values    forward: psi, and slope and curvature of every neuron (kept)
  reverse   backward: gradient; curvatures become d psi/d z * act'', the weights of the Hessian
  hessian   forward: Jacobians of the preactivations J, adding q * sum_i weight_i J_i J_i^T to the Hessian
Rows are taken in groups whose sums stay in registers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lse_material.checks import Array
from lse_material.kernel.mathematics import ACTIVATION_FUNCTIONS
from lse_material.kernel.text import Text, groups, total, upper_triangle
from lse_material.network import ConvexNetwork


@dataclass(frozen=True)
class ModeShape:
    """What the code of a mode depends on; the order of its weights in memory.

    Attributes:
        size: number d of inputs.
        widths: neurons of each hidden layer.
        activation: a name in `lse_material.activations.ACTIVATIONS`.
        quadratic: rows of the quadratic term (at most d: more are reduced to as many by QR), 0 for none.
    """

    size: int
    widths: tuple[int, ...]
    activation: str
    quadratic: int

    @classmethod
    def of(cls, mode: ConvexNetwork) -> ModeShape:
        """The shape of `mode`."""
        rows = 0 if mode.quadratic is None else min(len(mode.quadratic), mode.size)
        return cls(mode.size, tuple(len(b) for b in mode.biases[:-1]), mode.activation, rows)

    @property
    def name(self) -> str:
        """Prefix of its C functions."""
        widths = "_".join(str(w) for w in self.widths) if self.widths else "affine"
        return f"{self.activation}_{widths}" + (f"_quadratic_{self.quadratic}" if self.quadratic else "")

    @property
    def neurons(self) -> int:
        """Hidden neurons."""
        return sum(self.widths)

    @cached_property
    def _sizes(self) -> dict[str, int]:
        d, triangle = self.size, len(upper_triangle(self.size))
        sizes = {}
        for layer, width in enumerate((*self.widths, 1)):
            sizes[f"bias.{layer}"] = width
            sizes[f"x_weight.{layer}"] = width * d
            if layer:
                sizes[f"z_weight.{layer}"] = width * self.widths[layer - 1]
        if self.widths:
            sizes["products"] = self.widths[0] * triangle  # x_weight.0[i, p] * x_weight.0[i, q], p <= q
        if self.quadratic:
            sizes["quadratic"] = self.quadratic * d
            sizes["quadratic.products"] = triangle  # upper triangle of quadratic^T quadratic
        return sizes

    @cached_property
    def offsets(self) -> dict[str, int]:
        """Where each array starts in the weights of the mode."""
        ends = np.cumsum(list(self._sizes.values()))
        return dict(zip(self._sizes, [0, *(int(e) for e in ends[:-1])]))

    @property
    def length(self) -> int:
        """Number of doubles of the mode."""
        return sum(self._sizes.values())

    def pack(self, mode: ConvexNetwork) -> Array:
        """The weights of `mode` in this order: (length,)."""
        p, q = np.array(upper_triangle(self.size)).T
        arrays = {f"bias.{i}": b for i, b in enumerate(mode.biases)}
        arrays |= {f"x_weight.{i}": w for i, w in enumerate(mode.x_weights)}
        arrays |= {f"z_weight.{i + 1}": w for i, w in enumerate(mode.z_weights)}
        if self.widths:
            arrays["products"] = mode.x_weights[0][:, p] * mode.x_weights[0][:, q]
        if mode.quadratic is not None:
            arrays["quadratic"] = reduced_quadratic(mode.quadratic)
            arrays["quadratic.products"] = (mode.quadratic.T @ mode.quadratic)[p, q]
        result = np.empty(self.length)
        for name, start in self.offsets.items():
            result[start : start + self._sizes[name]] = arrays[name].ravel()
        return result


def reduced_quadratic(quadratic: Array) -> Array:
    """A matrix R of at most d rows with |R x| = |quadratic x|: (m, d) -> (min(m, d), d)."""
    if len(quadratic) <= quadratic.shape[1]:
        return quadratic
    return np.asarray(np.linalg.qr(quadratic, mode="r"))


def write_mode(text: Text, shape: ModeShape, registers: int) -> None:
    """The three functions of `shape`, for a CPU with this many vector registers."""
    _write_values(text, shape)
    _write_reverse(text, shape)
    _write_hessian(text, shape, registers)


def rows_in_registers(registers: int, columns: int) -> int:
    """How many rows of `columns` sums to take at a time: 8, 4, 2 or 1."""
    return next((rows for rows in (8, 4, 2) if rows * columns <= registers - registers // 4), 1)


def _write_values(text: Text, shape: ModeShape) -> None:
    d, at = shape.size, shape.offsets
    activate = ACTIVATION_FUNCTIONS[shape.activation]
    head = (
        f"LSE_FUNCTION lse_vec {shape.name}_values"
        "(const double *w, const lse_vec *x, lse_vec *z, lse_vec *slope, lse_vec *curvature)"
    )
    with text.function(head, "psi(x); keeps slope and (unless NULL) curvature of every neuron; z is scratch"):
        start, before = 0, 0
        for layer, width in enumerate(shape.widths):
            text(f"/* layer {layer}: {width} neurons */")
            for loop, rows in groups(width, 4):
                with text.braces(loop):
                    text(
                        f"const double *a = w + {at[f'x_weight.{layer}']} + i * {d}, *b = w + {at[f'bias.{layer}']} + i;"
                    )
                    for r in range(rows):
                        text(f"lse_vec s{r} = {total([f'b[{r}]', *(f'a[{r * d + c}] * x[{c}]' for c in range(d))])};")
                    if layer:
                        n = shape.widths[layer - 1]
                        text(f"const double *v = w + {at[f'z_weight.{layer}']} + i * {n};")
                        with text.braces(f"for (int j = 0; j < {n}; j++)"):
                            text(f"const lse_vec u = z[{before} + j];")
                            text(*(f"s{r} += v[{r * n} + j] * u;" for r in range(rows)))
                    text("lse_vec c;")
                    for r in range(rows):
                        neuron = f"{start} + i + {r}"
                        text(
                            f"z[{neuron}] = {activate}(s{r}, &slope[{neuron}], &c);",
                            f"if (curvature) curvature[{neuron}] = c;",
                        )
            before, start = start, start + width
        last = len(shape.widths)
        text("/* the output */", f"const double *a = w + {at[f'x_weight.{last}']};")
        bias = f"w[{at[f'bias.{last}']}]"
        text(f"lse_vec psi = {total([bias, *(f'a[{c}] * x[{c}]' for c in range(d))])};")
        if last:
            loop = f"for (int i = 0; i < {shape.widths[-1]}; i++)"
            text(f"{loop} psi += w[{at[f'z_weight.{last}']} + i] * z[{before} + i];")
        if shape.quadratic:
            with text.braces(f"for (int i = 0; i < {shape.quadratic}; i++)"):
                text(f"const double *m = w + {at['quadratic']} + i * {d};")
                text(f"const lse_vec y = {total([f'm[{c}] * x[{c}]' for c in range(d)])};", "psi += 0.5 * y * y;")
        text("return psi;")


def _write_reverse(text: Text, shape: ModeShape) -> None:
    d, at, last = shape.size, shape.offsets, len(shape.widths)
    head = (
        f"LSE_FUNCTION void {shape.name}_reverse"
        "(const double *w, const lse_vec *x, const lse_vec *slope, lse_vec *curvature, lse_vec *t, lse_vec *g)"
    )
    with text.function(head, "gradient g; curvature (unless NULL) is multiplied by d psi/d z; t is scratch"):
        text(f"const double *a = w + {at[f'x_weight.{last}']};")
        text(*(f"lse_vec g{c} = lse_fill(a[{c}]);" for c in range(d)))
        start = shape.neurons
        for layer in range(last - 1, -1, -1):
            width, above, start = shape.widths[layer], start, start - shape.widths[layer]
            text(f"/* layer {layer} */")
            v = at[f"z_weight.{layer + 1}"]
            for loop, columns in groups(width, 8 if layer < last - 1 else 1):
                with text.braces(loop):
                    if layer == last - 1:
                        text(f"const lse_vec s0 = lse_fill(w[{v} + i]);")
                    else:
                        text(*(f"lse_vec s{k} = lse_fill(0.0);" for k in range(columns)))
                        with text.braces(f"for (int j = 0; j < {shape.widths[layer + 1]}; j++)"):
                            text(f"const double *v = w + {v} + j * {width} + i;", f"const lse_vec u = t[{above} + j];")
                            text(*(f"s{k} += v[{k}] * u;" for k in range(columns)))
                    for k in range(columns):
                        n = f"{start} + i + {k}"
                        text(f"t[{n}] = s{k} * slope[{n}];", f"if (curvature) curvature[{n}] *= s{k};")
            with text.braces(f"for (int i = 0; i < {width}; i++)"):
                text(
                    f"const double *a = w + {at[f'x_weight.{layer}']} + i * {d};", f"const lse_vec u = t[{start} + i];"
                )
                text(*(f"g{c} += a[{c}] * u;" for c in range(d)))
        if shape.quadratic:
            with text.braces(f"for (int i = 0; i < {shape.quadratic}; i++)"):
                text(f"const double *m = w + {at['quadratic']} + i * {d};")
                text(f"const lse_vec y = {total([f'm[{c}] * x[{c}]' for c in range(d)])};")
                text(*(f"g{c} += m[{c}] * y;" for c in range(d)))
        text(*(f"g[{c}] = g{c};" for c in range(d)))


def _write_hessian(text: Text, shape: ModeShape, registers: int) -> None:
    d, at, triangle = shape.size, shape.offsets, upper_triangle(shape.size)
    h = len(triangle)
    head = (
        f"LSE_FUNCTION void {shape.name}_hessian(const double *w, lse_vec q, const lse_vec *slope,"
        " const lse_vec *curvature, lse_vec *u, lse_vec *J, lse_vec *H)"
    )
    with text.function(head, "H += q * Hessian, upper triangle; u and J are scratch"):
        start = 0
        for layer, width in enumerate(shape.widths):
            text(f"/* layer {layer} */")
            deeper = layer < len(shape.widths) - 1
            if layer:
                n = shape.widths[layer - 1]
                for loop, rows in groups(width, rows_in_registers(registers, d)):
                    with text.braces(loop):
                        text(f"const double *a = w + {at[f'x_weight.{layer}']} + i * {d};")
                        text(f"const double *v = w + {at[f'z_weight.{layer}']} + i * {n};")
                        for r in range(rows):
                            text("lse_vec " + ", ".join(f"J{r}_{c} = lse_fill(a[{r * d + c}])" for c in range(d)) + ";")
                        with text.braces(f"for (int j = 0; j < {n}; j++)"):
                            text("const lse_vec " + ", ".join(f"u{c} = u[j * {d} + {c}]" for c in range(d)) + ";")
                            for r in range(rows):
                                text(f"const double v{r} = v[{r * n} + j];")
                                text(" ".join(f"J{r}_{c} += v{r} * u{c};" for c in range(d)))
                        for r in range(rows):
                            text(" ".join(f"J[(i + {r}) * {d} + {c}] = J{r}_{c};" for c in range(d)))
            with text.braces():
                text("lse_vec " + ", ".join(f"h{k} = H[{k}]" for k in range(h)) + ";")
                with text.braces(f"for (int i = 0; i < {width}; i++)"):
                    text(f"const lse_vec c = q * curvature[{start} + i];")
                    if layer:
                        text("const lse_vec " + ", ".join(f"j{c} = J[i * {d} + {c}]" for c in range(d)) + ";")
                        for p in range(d):
                            text(f"const lse_vec k{p} = c * j{p};")
                            text(" ".join(f"h{triangle.index((p, m))} += k{p} * j{m};" for m in range(p, d)))
                    else:
                        text(f"const double *m = w + {at['products']} + i * {h};")
                        text(*(f"h{k} += m[{k}] * c;" for k in range(h)))
                text(" ".join(f"H[{k}] = h{k};" for k in range(h)))
            if deeper:
                factor = "J[k]" if layer else f"w[{at[f'x_weight.{layer}']} + k]"
                with text.braces(f"for (int i = 0, k = 0; i < {width}; i++)"):
                    text(f"for (int c = 0; c < {d}; c++, k++) u[k] = slope[{start} + i] * {factor};")
            start += width
        if shape.quadratic:
            text(f"for (int k = 0; k < {h}; k++) H[k] += w[{at['quadratic.products']} + k] * q;")
