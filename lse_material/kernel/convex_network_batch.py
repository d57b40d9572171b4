"""C functions of one convex network, for a block of points at a time: energy, then gradient, then Hessian.

Networks of the same shape share their functions; weights are data. Three passes, of which a block runs what it needs:
  values    forward: psi, and slope and curvature of every neuron (kept)
  gradient  backward; curvatures become d psi/d z * act'', the weights of the Hessian
  hessian   forward: Jacobians of the preactivations J, adding q * sum_i weight_i J_i J_i^T to the Hessian
Rows are taken in groups whose sums stay in registers. `lse_material.kernel.modes` says what the functions must be like.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from lse_material._arrays import Array
from lse_material.kernel.c_writer import Text, groups, total, upper_triangle
from lse_material.kernel.mathematics import activation_function, write_activation


@dataclass(frozen=True)
class NetworkShape:
    """What the code of a network depends on; the order of its weights in memory.

    Attributes:
        size: number d of inputs.
        widths: neurons of each hidden layer.
        activation: a name in `lse_material.model.activations.ACTIVATIONS`.
        quadratic: rows of the quadratic term (at most d: more are reduced to as many by QR), 0 for none.
    """

    size: int
    widths: tuple[int, ...]
    activation: str
    quadratic: int

    @classmethod
    def of(cls, mode: Any) -> NetworkShape:
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

    @property
    def kept(self) -> int:
        """Vectors that are kept from pass to pass: slopes, then curvatures of all neurons."""
        return 2 * self.neurons

    @property
    def wide(self) -> int:
        """The widest layer, with d vectors for each neuron."""
        return self.size * max(self.widths, default=0)

    @property
    def scratch(self) -> int:
        """Vectors of scratch: sums of a layer and values of all neurons, or products and Jacobians of a layer."""
        return self.wide + max(self.wide, self.neurons)

    def write(self, text: Text, lanes: int, registers: int) -> None:
        """The functions of this shape."""
        _write_activations(text, self.activation, lanes)
        _write_values(text, self, registers)
        _write_gradient(text, self, registers)
        _write_hessian(text, self, registers)

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

    def pack(self, mode: Any) -> Array:
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


def _write_activations(text: Text, activation: str, lanes: int) -> None:
    """A function that activates all neurons of a layer, as many together as keep the CPU busy."""
    text(f"#ifndef LSE_{activation.upper()}", f"#define LSE_{activation.upper()}")
    head = f"LSE_FUNCTION void {activation_function(activation)}(int n, const lse_vec *a,"
    head += " lse_vec *restrict z, lse_vec *restrict slope, lse_vec *restrict curvature)"
    counts = (16, 8, 2, 1) if lanes == 8 else (4, 2, 1)
    inner = {count: write_activation(text, activation, count, lanes) for count in counts}
    with text.function(head, "activations z of n preactivations a; slope and curvature"):
        text("int i = 0;")
        for count, function in inner.items():
            text(f"for (; i + {count} <= n; i += {count}) {function}(a + i, z + i, slope + i, curvature + i);")
    text("#endif")


def _rows_in_registers(registers: int, columns: int) -> int:
    """How many rows of `columns` sums to take at a time: 16, 8, 4, 2 or 1."""
    return next((rows for rows in (16, 8, 4, 2) if rows * columns <= registers - registers // 4), 1)


def _chains(sums: int) -> int:
    """Into how many partial sums to split each of so many: a sum waits for its last term, four cycles; two can end in each."""
    return next((parts for parts in (4, 2) if parts * sums <= 12), 1)


def _write_values(text: Text, shape: NetworkShape, registers: int) -> None:
    d, at = shape.size, shape.offsets
    activate = activation_function(shape.activation)
    head = (
        f"LSE_FUNCTION lse_vec {shape.name}_values"
        "(const double *restrict w, const lse_vec *x, lse_vec *kept, lse_vec *scratch)"
    )
    with text.function(head, "psi(x); keeps slope and curvature of every neuron"):
        text(f"lse_vec *const slope = kept, *const curvature = kept + {shape.neurons};")
        text(f"lse_vec *const sums = scratch, *const z = scratch + {shape.wide};")
        start, before = 0, 0
        for layer, width in enumerate(shape.widths):
            text(f"/* layer {layer}: {width} neurons */")
            for loop, rows in groups(width, _rows_in_registers(registers, 1)):
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
                    text(*(f"sums[i + {r}] = s{r};" for r in range(rows)))
            text(f"{activate}({width}, sums, z + {start}, slope + {start}, curvature + {start});")
            before, start = start, start + width
        last = len(shape.widths)
        text("/* the output */", f"const double *a = w + {at[f'x_weight.{last}']};")
        bias = f"w[{at[f'bias.{last}']}]"
        text(f"lse_vec psi = {total([bias, *(f'a[{c}] * x[{c}]' for c in range(d))])};")
        if last:
            sums = _chains(1)
            text("lse_vec " + ", ".join(f"p{r} = lse_fill(0.0)" for r in range(sums)) + ";")
            for loop, rows in groups(shape.widths[-1], sums):
                with text.braces(loop):
                    v = f"w[{at[f'z_weight.{last}']} + i"
                    text(*(f"p{r} += {v} + {r}] * z[{before} + i + {r}];" for r in range(rows)))
            text(f"psi += {total([f'p{r}' for r in range(sums)])};")
        if shape.quadratic:
            with text.braces(f"for (int i = 0; i < {shape.quadratic}; i++)"):
                text(f"const double *m = w + {at['quadratic']} + i * {d};")
                text(f"const lse_vec y = {total([f'm[{c}] * x[{c}]' for c in range(d)])};", "psi += 0.5 * y * y;")
        text("return psi;")


def _write_gradient(text: Text, shape: NetworkShape, registers: int) -> None:
    d, at, last = shape.size, shape.offsets, len(shape.widths)
    head = (
        f"LSE_FUNCTION void {shape.name}_gradient"
        "(const double *restrict w, const lse_vec *x, lse_vec *kept, lse_vec *scratch, lse_vec *g, int second)"
    )
    with text.function(head, "gradient g; if second derivatives follow, curvature is multiplied by d psi/d z"):
        text(
            f"const lse_vec *const slope = kept; lse_vec *const curvature = kept + {shape.neurons}, *const t = scratch;"
        )
        text(f"const double *a = w + {at[f'x_weight.{last}']};")
        text(*(f"lse_vec g{c} = lse_fill(a[{c}]);" for c in range(d)))
        start = shape.neurons
        for layer in range(last - 1, -1, -1):
            width, above, start = shape.widths[layer], start, start - shape.widths[layer]
            text(f"/* layer {layer} */")
            v = at[f"z_weight.{layer + 1}"]
            for loop, columns in groups(width, _rows_in_registers(registers, 1) if layer < last - 1 else 1):
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
                        text(f"t[{n}] = s{k} * slope[{n}];", f"if (second) curvature[{n}] *= s{k};")
            with text.braces():
                sums = _chains(d)
                text(*(f"lse_vec p{r}_{c} = lse_fill(0.0);" for r in range(1, sums) for c in range(d)))
                for loop, rows in groups(width, sums):
                    with text.braces(loop):
                        text(f"const double *a = w + {at[f'x_weight.{layer}']} + i * {d};")
                        for r in range(rows):
                            text(f"const lse_vec u{r} = t[{start} + i + {r}];")
                            text(*(f"{f'p{r}_{c}' if r else f'g{c}'} += a[{r * d + c}] * u{r};" for c in range(d)))
                if sums > 1:
                    text(*(f"g{c} += {total([f'p{r}_{c}' for r in range(1, sums)])};" for c in range(d)))
        if shape.quadratic:
            text(f"const double *m = w + {at['quadratic.products']};")
            products = {pair: n for n, pair in enumerate(upper_triangle(d))}
            for e in range(d):  # each sum in turn: none waits for itself
                text(*(f"g{c} += m[{products[min(c, e), max(c, e)]}] * x[{e}];" for c in range(d)))
        text(*(f"g[{c}] = g{c};" for c in range(d)))


def _write_hessian(text: Text, shape: NetworkShape, registers: int) -> None:
    d, at = shape.size, shape.offsets
    head = (
        f"LSE_FUNCTION void {shape.name}_hessian"
        "(const double *restrict w, const lse_vec *x, lse_vec q, const lse_vec *kept, lse_vec *scratch, lse_vec *H)"
    )
    with text.function(head, "H += q * Hessian, upper triangle"):
        text(f"const lse_vec *const slope = kept, *const curvature = kept + {shape.neurons};")
        text(f"lse_vec *const u = scratch, *const J = scratch + {shape.wide};")
        start = 0
        for layer, width in enumerate(shape.widths):
            text(f"/* layer {layer} */")
            deeper = layer < len(shape.widths) - 1
            if layer:
                n = shape.widths[layer - 1]
                for loop, rows in groups(width, _rows_in_registers(registers, d)):
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
            if layer or not deeper:  # the first layer's sums stay in registers for the second
                _write_outer_products(text, shape, [0, 1][: layer + 1] if layer < 2 else [layer])
            if deeper:
                factor = "J[k]" if layer else f"w[{at[f'x_weight.{layer}']} + k]"
                with text.braces(f"for (int i = 0, k = 0; i < {width}; i++)"):
                    text(f"for (int c = 0; c < {d}; c++, k++) u[k] = slope[{start} + i] * {factor};")
            start += width
        if not shape.widths:
            _write_outer_products(text, shape, [])


def _write_outer_products(text: Text, shape: NetworkShape, layers: list[int]) -> None:
    """H += q * weight_i J_i J_i^T over the neurons of these layers; with the first, the quadratic term."""
    d, at, triangle = shape.size, shape.offsets, upper_triangle(shape.size)
    h = len(triangle)
    sums = _chains(h)
    with text.braces():
        for k in range(h):
            term = f" + w[{at['quadratic.products'] + k}] * q" if shape.quadratic and layers[:1] in ([], [0]) else ""
            text(f"lse_vec h0_{k} = H[{k}]{term};")
        text(*(f"lse_vec h{r}_{k} = lse_fill(0.0);" for r in range(1, sums) for k in range(h)))
        for layer in layers:
            start = sum(shape.widths[:layer])
            for loop, rows in groups(shape.widths[layer], sums):
                with text.braces(loop):
                    for r in range(rows):
                        text(f"const lse_vec c{r} = q * curvature[{start} + i + {r}];")
                        if layer:
                            text(
                                "const lse_vec "
                                + ", ".join(f"j{r}_{c} = J[(i + {r}) * {d} + {c}]" for c in range(d))
                                + ";"
                            )
                            for p in range(d):
                                text(f"const lse_vec k{r}_{p} = c{r} * j{r}_{p};")
                                for m in range(p, d):
                                    text(f"h{r}_{triangle.index((p, m))} += k{r}_{p} * j{r}_{m};")
                        else:
                            text(f"const double *m{r} = w + {at['products']} + (i + {r}) * {h};")
                            text(*(f"h{r}_{k} += m{r}[{k}] * c{r};" for k in range(h)))
        text(*(f"H[{k}] = {total([f'h{r}_{k}' for r in range(sums)])};" for k in range(h)))
