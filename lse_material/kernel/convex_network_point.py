"""C functions of convex networks at one point, where the lanes of a vector are neurons, and the order of the weights there.

The passes are those of `lse_material.kernel.convex_network_batch`; `lse_material.kernel.modes` says how functions must be.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from lse_material._arrays import Array
from lse_material.kernel.c_writer import Text, groups, total, upper_triangle
from lse_material.kernel.convex_network_batch import NetworkShape, weights_of, write_input, write_quadratic
from lse_material.kernel.mathematics import activation_function, write_activation

CHAINS = 8  # independent sums that keep the multiply-add units busy


def whole(count: int, lanes: int) -> int:
    """Vectors of this many lanes that hold `count` numbers."""
    return -(-count // lanes)


@dataclass(frozen=True)
class NetworkLayout:
    """Order of the weights of one mode: rows of lanes, padded with zeros to whole vectors."""

    shape: NetworkShape  # of the mode
    lanes: int  # doubles per vector

    @classmethod
    def of(cls, mode: Any, lanes: int) -> NetworkLayout:
        """The layout of `mode`."""
        return cls(NetworkShape.of(mode), lanes)

    def blocks(self, layer: int) -> int:
        """Vectors that hold the neurons of a hidden layer."""
        return whole(self.shape.widths[layer], self.lanes)

    def padded(self, layer: int) -> int:
        """Neurons of a hidden layer, up to whole vectors."""
        return self.blocks(layer) * self.lanes

    @property
    def together(self) -> int:
        """How many modes of this layout to take at a time, so that short layers give enough independent sums."""
        return max(1, CHAINS // max([self.blocks(layer) for layer in range(len(self.shape.widths))], default=1))

    def groups(self, layer: int, count: int) -> list[tuple[str, int]]:
        """Loops over the vectors of a layer of `count` modes, as many at a time as give enough independent sums."""
        return groups(self.blocks(layer), max(1, CHAINS // count))

    @property
    def name(self) -> str:
        """In C."""
        return self.shape.name

    @property
    def length(self) -> int:
        """Doubles of a mode."""
        return self.offsets["end"]

    @property
    def kept(self) -> int:
        """Doubles that a mode keeps: value, slope, curvature of each neuron, then the derivative in t and its gradient."""
        return 3 * self.neurons + whole((self.shape.outputs - 1) * (1 + self.shape.reads), self.lanes) * self.lanes

    def write(self, text: Text, name: str, counts: list[int]) -> None:
        """The functions of this layout."""
        layers = range(len(self.shape.widths))
        sizes = {count * blocks for count in counts for n in layers for _, blocks in self.groups(n, count)}
        for together in sorted(sizes):
            write_activation(text, self.shape.activation, together, self.lanes)
        for count in counts:
            _write_values(text, self, name, count)
        _write_gradient(text, self, name)
        _write_hessian(text, self, name)

    @property
    def neurons(self) -> int:
        """Hidden neurons with padding."""
        return sum(self.padded(layer) for layer in range(len(self.shape.widths)))

    def start(self, layer: int) -> int:
        """Where the neurons of a layer start."""
        return sum(self.padded(below) for below in range(layer))

    @cached_property
    def _rows(self) -> dict[str, tuple[int, int]]:
        """Name -> (rows, length of a row); "forward" holds the columns of a z-weight, "backward" its rows."""
        d, last, outputs, rows = self.shape.reads, len(self.shape.widths), self.shape.outputs, {}
        for layer, width in enumerate(self.shape.widths):
            rows[f"bias.{layer}"] = (1, self.padded(layer))
            rows[f"x_weight.{layer}"] = (d, self.padded(layer))
            if layer:
                rows[f"forward.{layer}"] = (self.shape.widths[layer - 1], self.padded(layer))
                rows[f"backward.{layer}"] = (width, self.padded(layer - 1))
        if last:
            rows["products"] = (len(upper_triangle(d)), self.padded(0))
            rows["output"] = (outputs, self.padded(last - 1))
        rows["x_output"] = (outputs, d + 1)  # x-weights, then the bias
        if self.shape.quadratic:
            rows["quadratic"] = (outputs * self.shape.quadratic, d)
            rows["quadratic.products"] = (outputs, len(upper_triangle(d)))
        return rows

    @cached_property
    def offsets(self) -> dict[str, int]:
        """Where each array starts: on a vector boundary."""
        result, at = {}, 0
        for name, (count, length) in self._rows.items():
            result[name] = at
            at += whole(count * length, self.lanes) * self.lanes
        return {**result, "end": at}

    def pack(self, mode: Any) -> Array:
        """The weights of `mode` in this order: (offsets["end"],)."""
        d, last, weights = self.shape.reads, len(self.shape.widths), weights_of(mode, self.shape.quadratic)
        p, q = np.array(upper_triangle(d)).T
        arrays = {"x_output": np.concatenate([weights[f"x_weight.{last}"][:, 0], weights[f"bias.{last}"]], axis=1)}
        for layer in range(last):
            arrays[f"bias.{layer}"] = weights[f"bias.{layer}"]
            arrays[f"x_weight.{layer}"] = weights[f"x_weight.{layer}"].T
            if layer:
                arrays[f"forward.{layer}"] = weights[f"z_weight.{layer}"].T
                arrays[f"backward.{layer}"] = weights[f"z_weight.{layer}"]
        if last:
            arrays["products"] = (weights["x_weight.0"][:, p] * weights["x_weight.0"][:, q]).T
            arrays["output"] = weights[f"z_weight.{last}"][:, 0]
        if self.shape.quadratic:
            arrays["quadratic"] = weights["quadratic"].reshape(-1, d)
            arrays["quadratic.products"] = weights["quadratic.products"][:, p, q]
        result = np.zeros(self.offsets["end"])
        for name, (count, length) in self._rows.items():
            rows = result[self.offsets[name] :][: count * length].reshape(count, length)
            array = np.atleast_2d(arrays[name])
            rows[:, : array.shape[1]] = array
        return result


def _write_values(text: Text, layout: NetworkLayout, prefix: str, count: int) -> None:
    d, at, end, neurons, shape = layout.shape.reads, layout.offsets, layout.offsets["end"], layout.neurons, layout.shape
    lanes = layout.lanes
    modes = range(count)
    activate = activation_function(shape.activation)
    head = f"LSE_FUNCTION void {prefix}_values_{count}(const double *w, const double *x, double *kept, double *psi)"
    with text.function(head, f"psi(x) of {count} successive modes; keeps slope and curvature of every neuron"):
        write_input(text, shape, "double")
        text(f"double *const z = kept, *const slope = kept + {neurons}, *const curvature = kept + {2 * neurons};")
        for layer, width in enumerate(shape.widths):
            padded, start = layout.padded(layer), layout.start(layer)
            text(f"/* layer {layer}: {width} neurons */")
            for loop, blocks in layout.groups(layer, count):
                with text.braces(loop):
                    sums = [(m, b, f"s{m}_{b}") for m in modes for b in range(blocks)]
                    for m, b, s in sums:

                        def here(name: str, row: int = 0, m: int = m, b: int = b, padded: int = padded) -> str:
                            return f"LSE_READ(w + {m * end + at[name] + row * padded + b * lanes} + i * {lanes})"

                        terms = [here(f"bias.{layer}")] + [f"x[{c}] * {here(f'x_weight.{layer}', c)}" for c in range(d)]
                        text(f"lse_vec {s} = {total(terms)};")
                    if layer:
                        with text.braces(f"for (int j = 0; j < {shape.widths[layer - 1]}; j++)"):
                            text(f"const double *v = w + {at[f'forward.{layer}']} + j * {padded} + i * {lanes};")
                            before = layout.start(layer - 1)
                            for m in modes:
                                text(f"const double z{m} = z[{m * layout.kept + before} + j];")
                            text(*(f"{s} += z{m} * LSE_READ(v + {m * end + b * lanes});" for m, b, s in sums))
                    text(f"const lse_vec a[] = {{{', '.join(s for _, _, s in sums)}}};")
                    together = len(sums)
                    text(f"lse_vec value[{together}], first[{together}], second[{together}];")
                    text(f"{activate}_{together}(a, value, first, second);")
                    for k, (m, b, _) in enumerate(sums):
                        n = f"{m * layout.kept + start + b * lanes} + i * {lanes}"
                        for array, result in (("z", "value"), ("slope", "first"), ("curvature", "second")):
                            text(f"LSE_AT({array} + {n}) = {result}[{k}];")
        for m in modes:
            with text.braces():
                for k in range(shape.outputs):
                    _write_output(text, layout, m, k)
                text(f"psi[{m}] = psi0" + (" + t * psi1;" if shape.outputs > 1 else ";"))
                if shape.outputs > 1:
                    text(f"kept[{m * layout.kept + 3 * neurons}] = psi1;")
        text("(void)z, (void)slope, (void)curvature;")


def _write_output(text: Text, layout: NetworkLayout, m: int, k: int) -> None:
    """psi0 of the first output row of mode m, or psi1, by which the second exceeds it."""
    shape, at, d, lanes = layout.shape, layout.offsets, layout.shape.reads, layout.lanes
    start = m * at["end"]
    row = start + at["x_output"] + k * (d + 1)
    text(f"double psi{k} = {total([f'w[{row + d}]', *(f'w[{row + c}] * x[{c}]' for c in range(d))])};")
    with text.braces():
        if shape.widths:
            last = len(shape.widths) - 1
            text("lse_vec s = lse_fill(0.0);")
            with text.braces(f"for (int i = 0; i < {layout.padded(last)}; i += {lanes})"):
                neuron = f"z + {m * layout.kept + layout.start(last)} + i"
                text(f"s += LSE_READ(w + {start + at['output'] + k * layout.padded(last)} + i) * LSE_READ({neuron});")
            text(f"psi{k} += lse_sum(s);")
        write_quadratic(text, shape, k, start + at.get("quadratic", 0), "double")


def _write_gradient(text: Text, layout: NetworkLayout, prefix: str) -> None:
    head = f"LSE_FUNCTION void {prefix}_gradient(const double *w, const double *x, double *kept, double *g)"
    with text.function(head, "gradient g; curvature is multiplied by d psi/d z"):
        write_input(text, layout.shape, "double")
        text(f"const double *const slope = kept + {layout.neurons};")
        text(f"double *const curvature = kept + {2 * layout.neurons};")
        if layout.shape.widths:
            text(f"double u[{layout.neurons}] __attribute__((aligned(64)));")
        if layout.shape.outputs == 1:
            _write_sweep(text, layout, "{0}", "g", curvature=True)
        else:
            text(f"double *const difference = kept + {3 * layout.neurons};", "g[0] = difference[0];")
            _write_sweep(text, layout, "{1}", "(difference + 1)", curvature=False)
            _write_sweep(text, layout, "{0} + t * {1}", "(g + 1)", curvature=True)
        text("(void)x, (void)slope, (void)curvature;")


def _write_sweep(text: Text, layout: NetworkLayout, weight: str, result: str, *, curvature: bool) -> None:
    """The backward pass to `result` (d) of an output with the weights `weight`, of those of first row and difference."""
    shape, at, d, last = layout.shape, layout.offsets, layout.shape.reads, len(layout.shape.widths)
    lanes, triangle = layout.lanes, upper_triangle(layout.shape.reads)

    def output(form: str, start: int, length: int) -> str:
        return weight.format(*(form.format(start + k * length) for k in range(2)))

    with text.braces():
        text(*(f"lse_vec g{c} = lse_fill(0.0);" for c in range(d)) if last else ())
        for layer in range(last - 1, -1, -1):
            top, padded = layer == last - 1, layout.padded(layer)
            for loop, blocks in groups(layout.blocks(layer), CHAINS):
                with text.braces(loop):
                    for b in range(blocks):
                        form = f"LSE_READ(w + {{}} + i * {lanes})"
                        start = output(form, at["output"] + b * lanes, padded) if top else "lse_fill(0.0)"
                        text(f"lse_vec s{b} = {start};")
                    if not top:
                        with text.braces(f"for (int j = 0; j < {shape.widths[layer + 1]}; j++)"):
                            text(f"const double *v = w + {at[f'backward.{layer + 1}']} + j * {padded} + i * {lanes};")
                            text(f"const double b = u[{layout.start(layer + 1)} + j];")
                            text(*(f"s{b} += b * LSE_READ(v + {b * lanes});" for b in range(blocks)))
                    for b in range(blocks):
                        with text.braces():
                            text(f"const int n = {b * lanes} + i * {lanes};")
                            text(f"const lse_vec b = s{b} * LSE_READ(slope + {layout.start(layer)} + n);")
                            text(f"LSE_AT(u + {layout.start(layer)} + n) = b;")
                            if curvature:
                                text(f"LSE_AT(curvature + {layout.start(layer)} + n) *= s{b};")
                            for c in range(d):
                                text(f"g{c} += b * LSE_READ(w + {at[f'x_weight.{layer}'] + c * padded} + n);")
        for c in range(d):
            own = output("w[{}]", at["x_output"] + c, d + 1)
            text(f"{result}[{c}] = {own}" + (f" + lse_sum(g{c});" if last else ";"))
        for c in range(d) if shape.quadratic else ():
            for e in range(d):
                n = at["quadratic.products"] + triangle.index((min(c, e), max(c, e)))
                text(f"{result}[{c}] += ({output('w[{}]', n, len(triangle))}) * x[{e}];")


def _write_hessian(text: Text, layout: NetworkLayout, prefix: str) -> None:
    shape, at, d, triangle = layout.shape, layout.offsets, layout.shape.reads, upper_triangle(layout.shape.reads)
    lanes = layout.lanes
    h, last = len(triangle), len(layout.shape.widths)
    head = (
        f"LSE_FUNCTION void {prefix}_hessian"
        "(const double *w, const double *x, double weight, const double *kept, lse_vec *lanes, double *H)"
    )
    comment = "lanes += weight * Hessian, its upper triangle in terms to be summed over lanes; H += the quadratic part"
    with text.function(head, comment):
        text(f"const double *const slope = kept + {layout.neurons}, *const curvature = kept + {2 * layout.neurons};")
        if shape.outputs > 1:
            write_input(text, shape, "double")
            text(*(f"H[{1 + c}] += weight * kept[{3 * layout.neurons + 1 + c}];" for c in range(d)))
            text(f"H += {1 + d}, lanes += {1 + d};")
        wide = d * max((layout.padded(layer) for layer in range(last - 1)), default=0)
        if last > 1:  # u = slope * J of the layer below, component by component; two, to be written while read
            text(f"double u[2][{wide}] __attribute__((aligned(64)));")
        for layer in range(last):
            padded, deeper = layout.padded(layer), layer < last - 1
            for loop, blocks in groups(layout.blocks(layer), 2 if layer and d <= 4 else 1):
                with text.braces(loop):
                    columns = [(b, c, f"J{b}_{c}") for b in range(blocks) for c in range(d)]
                    for b, c, J in columns if layer or deeper else ():
                        offset = at[f"x_weight.{layer}"] + c * padded + b * lanes
                        text(f"lse_vec {J} = LSE_READ(w + {offset} + i * {lanes});")
                    if layer:
                        below = layout.padded(layer - 1)
                        with text.braces(f"for (int j = 0; j < {shape.widths[layer - 1]}; j++)"):
                            text(f"const double *v = w + {at[f'forward.{layer}']} + j * {padded} + i * {lanes};")
                            text(*(f"const lse_vec v{b} = LSE_READ(v + {b * lanes});" for b in range(blocks)))
                            text(*(f"{J} += u[{(layer - 1) % 2}][{c * below} + j] * v{b};" for b, c, J in columns))
                    for b in range(blocks):
                        with text.braces():
                            text(f"const int n = {b * lanes} + i * {lanes};")
                            text(f"const lse_vec c = weight * LSE_READ(curvature + {layout.start(layer)} + n);")
                            if layer:
                                for p in range(d):
                                    text(f"const lse_vec k{p} = c * J{b}_{p};")
                                    for m in range(p, d):
                                        text(f"lanes[{triangle.index((p, m))}] += k{p} * J{b}_{m};")
                            else:
                                for k in range(h):
                                    text(f"lanes[{k}] += c * LSE_READ(w + {at['products'] + k * padded} + n);")
                            if deeper:
                                text(f"const lse_vec s = LSE_READ(slope + {layout.start(layer)} + n);")
                                for c in range(d):
                                    text(f"LSE_AT(u[{layer % 2}] + {c * padded} + n) = s * J{b}_{c};")
        if shape.quadratic:
            products = f"w[{at['quadratic.products']} + k]"
            if shape.outputs > 1:
                products = f"({products} + t * w[{at['quadratic.products'] + h} + k])"
            text(f"for (int k = 0; k < {h}; k++) H[k] += weight * {products};")
        text("(void)w, (void)x, (void)weight, (void)slope, (void)curvature, (void)lanes, (void)H;")
