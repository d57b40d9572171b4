"""C functions of one convex network, for a block of points at a time: energy, then gradient, then Hessian.

Networks of the same shape share their functions; weights are data. Three passes, of which a block runs what it needs:
  values    forward: psi, and slope and curvature of every neuron (kept)
  gradient  backward; curvatures become d psi/d z * act'', the weights of the Hessian
  hessian   forward: Jacobians of the preactivations J, adding q * sum_i weight_i J_i J_i^T to the Hessian
Rows are taken in groups whose sums stay in registers. `lse_material.kernel.modes` says what the functions must be like.

An interpolated network has two output rows on the same layers, and its first input t weighs them. The weights hold the first
row and the difference of the two; the derivative in t is the difference, and takes a backward pass of its own.
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
    """What the code of a network depends on; the order of its weights in memory."""

    size: int  # number d of inputs
    widths: tuple[int, ...]  # neurons of each hidden layer
    activation: str  # a name in `lse_material.model.activations.ACTIVATIONS`
    quadratic: int  # rows of each quadratic term (at most d: more are reduced to as many by QR), 0 for none
    outputs: int = 1  # output rows: 2 of an interpolated network, else 1

    @classmethod
    def of(cls, mode: Any) -> NetworkShape:
        """The shape of `mode`."""
        ends = mode.ends
        rows = max(0 if end.quadratic is None else min(len(end.quadratic), end.size) for end in ends)
        widths = tuple(len(b) for b in ends[0].biases[:-1])
        return cls(mode.size, widths, mode.activation, rows, len(ends))

    @property
    def reads(self) -> int:
        """Number of the inputs that layers read: the last ones."""
        return self.size + 1 - self.outputs

    @property
    def name(self) -> str:
        """Prefix of its C functions."""
        widths = "_".join(str(w) for w in self.widths) if self.widths else "affine"
        name = f"{self.activation}_{widths}" + (f"_quadratic_{self.quadratic}" if self.quadratic else "")
        return name if self.outputs == 1 else f"interpolated_{name}"

    @property
    def neurons(self) -> int:
        """Hidden neurons."""
        return sum(self.widths)

    @property
    def kept(self) -> int:
        """Vectors that are kept from pass to pass: slopes and curvatures of all neurons, the derivative in t, its gradient."""
        return 2 * self.neurons + (self.outputs - 1) * (1 + self.reads)

    @property
    def wide(self) -> int:
        """The widest layer, with d vectors for each neuron."""
        return self.reads * max(self.widths, default=0)

    @property
    def scratch(self) -> int:
        """Vectors of scratch: sums of a layer and values of all neurons, or products and Jacobians of a layer."""
        return self.wide + max(self.wide, self.neurons)

    def write(self, text: Text, lanes: int, registers: int) -> None:
        """The functions of this shape."""
        write_layer_activation(text, self.activation, lanes)
        _write_values(text, self, registers)
        _write_gradient(text, self, registers)
        _write_hessian(text, self, registers)

    @cached_property
    def _sizes(self) -> dict[str, int]:
        d, triangle = self.reads, len(upper_triangle(self.reads))
        sizes = {}
        for layer, width in enumerate((*self.widths, self.outputs)):
            sizes[f"bias.{layer}"] = width
            sizes[f"x_weight.{layer}"] = width * d
            if layer:
                sizes[f"z_weight.{layer}"] = width * self.widths[layer - 1]
        if self.widths:
            sizes["products"] = self.widths[0] * triangle  # x_weight.0[i, p] * x_weight.0[i, q], p <= q
        if self.quadratic:
            sizes["quadratic"] = self.outputs * self.quadratic * d
            sizes["quadratic.products"] = self.outputs * triangle  # upper triangle of quadratic^T quadratic
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
        p, q = np.array(upper_triangle(self.reads)).T
        arrays = weights_of(mode, self.quadratic)
        if self.widths:
            arrays["products"] = arrays["x_weight.0"][:, p] * arrays["x_weight.0"][:, q]
        if self.quadratic:
            arrays["quadratic.products"] = arrays["quadratic.products"][:, p, q]
        result = np.empty(self.length)
        for name, start in self.offsets.items():
            result[start : start + self._sizes[name]] = arrays[name].ravel()
        return result


def weights_of(mode: Any, rows: int) -> dict[str, Array]:
    """The arrays of a network by name, of its output layer the first row and what a second one has beyond it.

    Of the quadratic terms: `rows` rows of each, and their products Q^T Q in the way of the output layer.
    """
    ends = mode.ends
    last, first = len(ends[0].z_weights), ends[0]
    arrays = {f"bias.{i}": b for i, b in enumerate(first.biases[:-1])}
    arrays |= {f"x_weight.{i}": w for i, w in enumerate(first.x_weights[:-1])}
    arrays |= {f"z_weight.{i + 1}": w for i, w in enumerate(first.z_weights[:-1])}
    arrays[f"bias.{last}"] = _differences([end.biases[-1] for end in ends])
    arrays[f"x_weight.{last}"] = _differences([end.x_weights[-1] for end in ends])
    if last:
        arrays[f"z_weight.{last}"] = _differences([end.z_weights[-1] for end in ends])
    if rows:
        quadratic = np.zeros((len(ends), rows, first.size))
        for k, end in enumerate(ends):
            if end.quadratic is not None:
                reduced = reduced_quadratic(end.quadratic)
                quadratic[k, : len(reduced)] = reduced
        arrays["quadratic"] = quadratic
        arrays["quadratic.products"] = _differences([each.T @ each for each in quadratic])
    return arrays


def _differences(parts: list[Array]) -> Array:
    """The first part, then what the others have beyond it, stacked."""
    stacked = np.stack(parts)
    stacked[1:] -= stacked[0]
    return stacked


def reduced_quadratic(quadratic: Array) -> Array:
    """A matrix R of at most d rows with |R x| = |quadratic x|: (m, d) -> (min(m, d), d)."""
    if len(quadratic) <= quadratic.shape[1]:
        return quadratic
    return np.asarray(np.linalg.qr(quadratic, mode="r"))


def write_layer_activation(text: Text, activation: str, lanes: int) -> None:
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


def write_input(text: Text, shape: NetworkShape, kind: str) -> None:
    """Of an interpolated network the first input, t, apart from the others; `kind` is that of inputs in C."""
    if shape.outputs > 1:
        text(f"const {kind} t = x[0];", "x++;")


def _write_values(text: Text, shape: NetworkShape, registers: int) -> None:
    d, at = shape.reads, shape.offsets
    activate = activation_function(shape.activation)
    head = (
        f"LSE_FUNCTION lse_vec {shape.name}_values"
        "(const double *restrict w, const lse_vec *x, lse_vec *kept, lse_vec *scratch)"
    )
    with text.function(head, "psi(x); keeps slope and curvature of every neuron"):
        write_input(text, shape, "lse_vec")
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
        for k in range(shape.outputs):
            _write_output(text, shape, k, before)
        if shape.outputs > 1:
            text(f"kept[{2 * shape.neurons}] = psi1;")
        text("return psi0 + t * psi1;" if shape.outputs > 1 else "return psi0;")


def _write_output(text: Text, shape: NetworkShape, k: int, before: int) -> None:
    """psi0 of the first output row, or psi1, by which the second exceeds it; z of the last hidden layer start at `before`."""
    d, at, last = shape.reads, shape.offsets, len(shape.widths)
    row = at[f"x_weight.{last}"] + k * d
    terms = [f"w[{at[f'bias.{last}'] + k}]", *(f"w[{row + c}] * x[{c}]" for c in range(d))]
    text("/* the output */", f"lse_vec psi{k} = {total(terms)};")
    with text.braces():
        if last:
            sums, width = _chains(1), shape.widths[-1]
            text("lse_vec " + ", ".join(f"p{r} = lse_fill(0.0)" for r in range(sums)) + ";")
            for loop, rows in groups(width, sums):
                with text.braces(loop):
                    v = f"w[{at[f'z_weight.{last}'] + k * width} + i"
                    text(*(f"p{r} += {v} + {r}] * z[{before} + i + {r}];" for r in range(rows)))
            text(f"psi{k} += {total([f'p{r}' for r in range(sums)])};")
        write_quadratic(text, shape, k, at.get("quadratic", 0), "lse_vec")


def write_quadratic(text: Text, shape: NetworkShape, k: int, start: int, kind: str) -> None:
    """psi0 with its quadratic term, or psi1 with what the second has beyond it; they start at `start`, `kind` as above."""
    d, rows = shape.reads, shape.quadratic
    for end in range(k + 1) if rows else ():
        with text.braces(f"for (int i = 0; i < {rows}; i++)"):
            text(f"const double *q = w + {start + end * rows * d} + i * {d};")
            text(f"const {kind} y = {total([f'q[{c}] * x[{c}]' for c in range(d)])};")
            text(f"psi{k} {'+=' if end == k else '-='} 0.5 * y * y;")


def _write_gradient(text: Text, shape: NetworkShape, registers: int) -> None:
    head = (
        f"LSE_FUNCTION void {shape.name}_gradient"
        "(const double *restrict w, const lse_vec *x, lse_vec *kept, lse_vec *scratch, lse_vec *g, int second)"
    )
    with text.function(head, "gradient g; if second derivatives follow, curvature is multiplied by d psi/d z"):
        write_input(text, shape, "lse_vec")
        text(
            f"const lse_vec *const slope = kept; lse_vec *const curvature = kept + {shape.neurons}, *const u = scratch;"
        )
        text("(void)slope, (void)curvature, (void)u, (void)second;")
        if shape.outputs == 1:
            _write_sweep(text, shape, registers, "{0}", "g", curvature=True)
            return
        text(f"lse_vec *const difference = kept + {2 * shape.neurons};", "g[0] = difference[0];")
        _write_sweep(text, shape, registers, "{1}", "(difference + 1)", curvature=False)
        _write_sweep(text, shape, registers, "{0} + t * {1}", "(g + 1)", curvature=True)


def _write_sweep(text: Text, shape: NetworkShape, registers: int, weight: str, result: str, *, curvature: bool) -> None:
    """The backward pass to `result` (d) of an output with the weights `weight`, of those of first row and difference."""
    d, at, last = shape.reads, shape.offsets, len(shape.widths)

    def output(name: str, index: str, length: int) -> str:
        return weight.format(*(f"w[{at[name] + k * length}{index}]" for k in range(2)))

    with text.braces():
        text(*(f"lse_vec g{c} = lse_fill(0.0) + ({output(f'x_weight.{last}', f' + {c}', d)});" for c in range(d)))
        start = shape.neurons
        for layer in range(last - 1, -1, -1):
            width, above, start = shape.widths[layer], start, start - shape.widths[layer]
            text(f"/* layer {layer} */")
            v = at[f"z_weight.{layer + 1}"]
            for loop, columns in groups(width, _rows_in_registers(registers, 1) if layer < last - 1 else 1):
                with text.braces(loop):
                    if layer == last - 1:
                        text(f"const lse_vec s0 = lse_fill(0.0) + ({output(f'z_weight.{last}', ' + i', width)});")
                    else:
                        text(*(f"lse_vec s{k} = lse_fill(0.0);" for k in range(columns)))
                        with text.braces(f"for (int j = 0; j < {shape.widths[layer + 1]}; j++)"):
                            text(f"const double *v = w + {v} + j * {width} + i;", f"const lse_vec b = u[{above} + j];")
                            text(*(f"s{k} += v[{k}] * b;" for k in range(columns)))
                    for k in range(columns):
                        n = f"{start} + i + {k}"
                        text(f"u[{n}] = s{k} * slope[{n}];")
                        if curvature:
                            text(f"if (second) curvature[{n}] *= s{k};")
            with text.braces():
                sums = _chains(d)
                text(*(f"lse_vec p{r}_{c} = lse_fill(0.0);" for r in range(1, sums) for c in range(d)))
                for loop, rows in groups(width, sums):
                    with text.braces(loop):
                        text(f"const double *a = w + {at[f'x_weight.{layer}']} + i * {d};")
                        for r in range(rows):
                            text(f"const lse_vec b{r} = u[{start} + i + {r}];")
                            text(*(f"{f'p{r}_{c}' if r else f'g{c}'} += a[{r * d + c}] * b{r};" for c in range(d)))
                if sums > 1:
                    text(*(f"g{c} += {total([f'p{r}_{c}' for r in range(1, sums)])};" for c in range(d)))
        if shape.quadratic:
            products = {pair: n for n, pair in enumerate(upper_triangle(d))}
            for e in range(d):  # each sum in turn: none waits for itself
                for c in range(d):
                    place = f" + {products[min(c, e), max(c, e)]}"
                    text(f"g{c} += ({output('quadratic.products', place, len(products))}) * x[{e}];")
        text(*(f"{result}[{c}] = g{c};" for c in range(d)))


def _write_hessian(text: Text, shape: NetworkShape, registers: int) -> None:
    d, at = shape.reads, shape.offsets
    head = (
        f"LSE_FUNCTION void {shape.name}_hessian"
        "(const double *restrict w, const lse_vec *x, lse_vec q, const lse_vec *kept, lse_vec *scratch, lse_vec *H)"
    )
    with text.function(head, "H += q * Hessian, upper triangle"):
        if shape.outputs > 1:
            write_input(text, shape, "lse_vec")
            text(*(f"H[{1 + c}] += q * kept[{2 * shape.neurons + 1 + c}];" for c in range(d)), f"H += {1 + d};")
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
    d, at, triangle = shape.reads, shape.offsets, upper_triangle(shape.reads)
    h = len(triangle)
    sums = _chains(h)
    with text.braces():
        for k in range(h):
            term = ""
            if shape.quadratic and layers[:1] in ([], [0]):
                first = at["quadratic.products"] + k
                term = f" + (w[{first}] + t * w[{first + h}]) * q" if shape.outputs > 1 else f" + w[{first}] * q"
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
