"""C of a design network: for blocks of points, a point a lane; for single points, where the lanes are neurons; and as plain C.

Three passes, of which a point runs what it needs:
  values    features, preactivations u and roots v of the output weights, psi; kept with value and slopes of every neuron
  gradient  d psi/d phi, by which the parameters act, and d psi/dx
  hessian   of the derivatives of u and v along each parameter, and of the features' second derivatives

The text is the same for all three; `_Dialect` says what a number at a point and one of a neuron are. Loops over inputs and
features are written out, so that sums over the neurons stay in registers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from lse_material._arrays import Array
from lse_material.kernel.c_writer import Symbol, Text, groups, total, upper_triangle
from lse_material.kernel.convex_network_batch import write_layer_activation
from lse_material.kernel.mathematics import TOGETHER, activation_function, write_activation
from lse_material.model.activations import ACTIVATIONS

OF_NEURONS = ("x_weight", "bias", "z_root")  # tensors with a row for each neuron


@dataclass(frozen=True)
class _Dialect:
    """C types of a number at a point and of the numbers of neurons, how the latter are summed, and a root of the former."""

    point: str
    lane: str
    sum: str
    inverse_root: str


BATCH = _Dialect("lse_vec", "lse_vec", "{}", "lse_inverse_root({})")
POINT = _Dialect("double", "lse_vec", "lse_sum({})", "lse_inverse_root(lse_fill({}))[0]")
PLAIN = _Dialect("double", "double", "{}", "1.0 / sqrt({})")


@dataclass(frozen=True)
class _Design:
    """What the code of a design network depends on."""

    shapes: tuple[tuple[str, tuple[int, ...]], ...]  # of its tensors, by name, in their order in memory
    activation: str  # a name in `lse_material.model.activations.ACTIVATIONS`
    lanes: int = 1  # neurons that are read at once; 1 where the lanes are points
    scratch = 0
    together = 1

    @classmethod
    def of(cls, mode: Any, lanes: int = 1) -> _Design:
        """The shape of `mode`."""
        return cls(tuple((name, t.shape) for name, t in mode.tensors().items()), mode.activation, lanes)

    @cached_property
    def sizes(self) -> tuple[int, int, int, int, int, int]:
        """Numbers of features r, parameters m, neurons n, other inputs d, entries q of phi, and quadratic rows."""
        shapes = dict(self.shapes)
        r, m = shapes["feature_weight"]
        n, d = shapes["x_weight"]
        return r, m, n, d, 1 + m + r, shapes["quadratic"][0]

    @property
    def size(self) -> int:
        """Number of inputs."""
        return self.sizes[1] + self.sizes[3]

    @property
    def blocks(self) -> int:
        """Vectors that hold the neurons."""
        return -(-self.sizes[2] // self.lanes)

    @property
    def name(self) -> str:
        """Prefix of its C functions."""
        return f"design_{self.activation}_" + "_".join(map(str, self.sizes))

    @cached_property
    def parts(self) -> dict[str, int]:
        """Where the numbers of a point that are kept start, after those of the neurons (v, z and its two slopes)."""
        r, _, _, d, q, rows = self.sizes
        lengths = {"phi": q, "steep": r, "curved": r, "by_phi": q, "root": rows * d, "y": rows, "along": d, "end": 0}
        starts = 4 * self.blocks * self.lanes + np.cumsum([0, *lengths.values()])
        return dict(zip(lengths, (int(start) for start in starts)))

    @property
    def kept(self) -> int:
        """Numbers that a mode keeps from pass to pass."""
        return -(-self.parts["end"] // self.lanes) * self.lanes

    @cached_property
    def offsets(self) -> dict[str, int]:
        """Where each tensor starts; those of the neurons on vector boundaries, a column after another, if lanes are neurons."""
        padded, starts, at = self.blocks * self.lanes, {}, 0
        first = OF_NEURONS if self.lanes > 1 else ()
        for name, shape in sorted(self.shapes, key=lambda item: item[0] not in first):
            starts[name] = at
            at += padded * shape[1] if name in first else int(np.prod(shape))
        return {**starts, "end": -(-at // self.lanes) * self.lanes}

    @property
    def length(self) -> int:
        """Doubles of a mode."""
        return self.offsets["end"]

    def pack(self, mode: Any) -> Array:
        """The tensors of `mode` in this order."""
        result, n = np.zeros(self.length), self.blocks * self.lanes
        for name, tensor in mode.tensors().items():
            if self.lanes > 1 and name in OF_NEURONS:
                tensor = np.pad(tensor, ((0, n - len(tensor)), (0, 0))).T
            result[self.offsets[name] :][: tensor.size] = tensor.ravel()
        return result

    def read(self, name: str, *index: int) -> str:
        """An entry of a tensor; of the neurons of block j, the entries in one column."""
        start, shape = self.offsets[name], dict(self.shapes)[name]
        if name not in OF_NEURONS:
            return f"w[{start + int(np.ravel_multi_index(index, shape))}]"
        if self.lanes == 1:
            return f"w[{start + index[0]} + j * {shape[1]}]"
        return f"LSE_READ(w + {start + index[0] * self.blocks * self.lanes} + j * {self.lanes})"

    def row(self, name: str, factors: Sequence[str], *index: int, first: int = 0) -> list[str]:
        """The entries [*index, first], [*index, first + 1], .. of a tensor, each times its factor."""
        return [f"{self.read(name, *index, c)} * {factor}" for c, factor in enumerate(factors, first)]

    def derivative(self, name: str, along: int, *index: int) -> str:
        """The derivative of a row of a tensor times phi along a parameter; J0_0 and so on are those of the features."""
        m = self.sizes[1]
        of_features = self.row(name, [f"J{i}_{along}" for i in range(self.sizes[0])], *index, first=1 + m)
        return total([self.read(name, *index, 1 + along), *of_features])


class DesignShape(_Design):
    """For blocks of points."""

    def write(self, text: Text, lanes: int, registers: int) -> None:
        """The functions of this shape."""
        write_layer_activation(text, self.activation, lanes)
        points, kept = "(const double *restrict w, const lse_vec *x,", "lse_vec *kept, lse_vec *scratch"
        with text.function(f"LSE_FUNCTION lse_vec {self.name}_values{points} {kept})", "psi"):
            _write_values(text, self, BATCH)
            text("return energy;")
        with text.function(
            f"LSE_FUNCTION void {self.name}_gradient{points} {kept}, lse_vec *g, int second)", "gradient g"
        ):
            _write_gradient(text, self, BATCH)
        head = f"LSE_FUNCTION void {self.name}_hessian{points} lse_vec weight, const {kept}, lse_vec *H)"
        with text.function(head, "H += weight * Hessian, upper triangle"):
            _write_hessian(text, self, BATCH, "H[{0}] += weight * ({3});")


class DesignLayout(_Design):
    """For single points, where the lanes are neurons."""

    def write(self, text: Text, name: str, counts: list[int]) -> None:
        """The functions of this layout."""
        for _, together in groups(self.blocks, TOGETHER):
            write_activation(text, self.activation, together, self.lanes)
        point = "(const double *w, const double *x,"
        with text.function(f"LSE_FUNCTION void {name}_values_1{point} double *kept, double *psi)", "psi"):
            _write_values(text, self, POINT)
            text("*psi = energy;")
        with text.function(f"LSE_FUNCTION void {name}_gradient{point} double *kept, double *g)", "gradient g"):
            _write_gradient(text, self, POINT)
        rest = "double weight, const double *kept, lse_vec *lanes, double *H)"
        with text.function(f"LSE_FUNCTION void {name}_hessian{point} {rest}", "H += weight * Hessian, upper triangle"):
            _write_hessian(text, self, POINT, "H[{0}] += weight * ({3});")


def design_text(mode: Any) -> str:
    """A design network in plain C, as `lse_material.model.mode.Mode.c_text` says it must be."""
    shape, text = DesignShape.of(mode), Text()
    with text.function("void NAME(const double *w, const double *x, double *psi, double *g, double *H)", "one mode"):
        text(f"double kept[{shape.kept}];")
        with text.braces():
            _write_values(text, shape, PLAIN)
            text("*psi = energy;")
        with text.braces("if (g)"):
            _write_gradient(text, shape, PLAIN)
        with text.braces("if (H)"):
            d = shape.size
            _write_hessian(text, shape, PLAIN, f"H[{{1}} * {d} + {{2}}] = H[{{2}} * {d} + {{1}}] = {{3}};")
    return str(text)


def _write_names(text: Text, shape: _Design, x: _Dialect) -> None:
    """Names of what is kept, and of the inputs that the mode is convex in."""
    n, names = shape.blocks, [name for name in shape.parts if name != "end"]
    lane = "lse_in_memory" if x is POINT else x.lane
    text(f"{lane} *const v = ({lane} *)kept, *const z = v + {n}, *const dz = z + {n}, *const d2z = dz + {n};")
    text(f"{x.point} " + ", ".join(f"*const {name} = ({x.point} *)kept + {shape.parts[name]}" for name in names) + ";")
    text(f"const {x.point} *const e = x + {shape.sizes[1]};")
    text(*(f"(void){name};" for name in ("v", "z", "dz", "d2z", *names, "e")))


def _write_values(text: Text, shape: _Design, x: _Dialect) -> None:
    r, m, _, d, q, rows = shape.sizes
    n, phi, e = shape.blocks, [f"phi[{c}]" for c in range(q)], [f"e[{k}]" for k in range(d)]
    _write_names(text, shape, x)
    text(f"phi[0] = ({x.point}){{0.0}} + 1.0;", *(f"phi[{1 + j}] = x[{j}];" for j in range(m)))
    for i in range(r):
        terms = [shape.read("feature_bias", i), *shape.row("feature_weight", [f"x[{j}]" for j in range(m)], i)]
        with text.braces():
            text(f"const {x.point} a = {total(terms)}, square = 1.0 + a * a;")
            text(f"const {x.point} inverse = {x.inverse_root.format('square')};")
            text(f"phi[{1 + m + i}] = square * inverse;", f"steep[{i}] = a * inverse;")
            text(f"curved[{i}] = inverse * inverse * inverse;")
    text(f"{x.lane} u[{max(n, 1)}], sum = {{0.0}};")
    with text.braces(f"for (int j = 0; j < {n}; j++)"):
        of_u, of_v = ([shape.read(name, 0), *shape.row(name, phi[1:], first=1)] for name in ("bias", "z_root"))
        text(f"u[j] = {total([*of_u, *shape.row('x_weight', e)])};", f"v[j] = {total(of_v)};")
    _write_activation(text, shape, x)
    text(f"for (int j = 0; j < {n}; j++) sum += v[j] * v[j] * z[j];")
    text(f"{x.point} energy = {x.sum.format('sum')};", "(void)u;")
    text(f"energy += {total(shape.row('level', phi))};")
    for k in range(d):
        text(f"along[{k}] = {total(shape.row('slope', phi, k))};", f"energy += along[{k}] * e[{k}];")
    for i in range(rows):
        root = [f"root[{i * d + k}]" for k in range(d)]
        text(*(f"{each} = {total(shape.row('quadratic', phi, i, k))};" for k, each in enumerate(root)))
        text(f"y[{i}] = {total([f'{a} * {b}' for a, b in zip(root, e)])};", f"energy += 0.5 * y[{i}] * y[{i}];")


def _write_activation(text: Text, shape: _Design, x: _Dialect) -> None:
    """z, dz and d2z of u."""
    if x is BATCH:
        text(f"{activation_function(shape.activation)}({shape.blocks}, u, z, dz, d2z);")
    elif x is POINT:
        for loop, count in groups(shape.blocks, TOGETHER):
            with text.braces(loop):
                text(f"lse_vec value[{count}], first[{count}], second[{count}];")
                text(f"{activation_function(shape.activation)}_{count}(u + i, value, first, second);")
                for k in range(count):
                    text(f"z[i + {k}] = value[{k}]; dz[i + {k}] = first[{k}]; d2z[i + {k}] = second[{k}];")
    else:
        f, (s, t, c) = ACTIVATIONS[shape.activation], (Symbol(letter) for letter in "stc")
        with text.braces(f"for (int j = 0; j < {shape.blocks}; j++)"):
            text("const double small = exp(-fabs(u[j])), s = (u[j] > 0.0 ? u[j] : 0.0) + log1p(small);")
            text("const double t = (u[j] > 0.0 ? 1.0 : small) / (1.0 + small);")
            text("const double c = small / ((1.0 + small) * (1.0 + small));")
            text(f"z[j] = {f.value(s)}; dz[j] = {f.slope(s, t)}; d2z[j] = {f.curvature(s, t, c)};", "(void)c;")


def _write_gradient(text: Text, shape: _Design, x: _Dialect) -> None:
    r, m, _, d, q, rows = shape.sizes
    read, e = shape.read, [f"e[{k}]" for k in range(d)]
    _write_names(text, shape, x)
    names = [*(f"p{c}" for c in range(1, q)), *(f"e{k}" for k in range(d))]
    text(f"{x.lane} " + ", ".join(f"{name} = {{0.0}}" for name in names) + ";")
    with text.braces(f"for (int j = 0; j < {shape.blocks}; j++)"):
        text(f"const {x.lane} twice = 2.0 * v[j] * z[j], acting = v[j] * v[j] * dz[j];")
        text(*(f"e{k} += acting * {read('x_weight', k)};" for k in range(d)))
        text(*(f"p{c} += acting * {read('bias', c)} + twice * {read('z_root', c)};" for c in range(1, q)))
    for c in range(1, q):
        terms = [x.sum.format(f"p{c}"), read("level", c), *(f"{read('slope', k, c)} * {e[k]}" for k in range(d))]
        for i in range(rows):
            of_row = total([f"{read('quadratic', i, k, c)} * {e[k]}" for k in range(d)])
            terms.append(f"y[{i}] * ({of_row})")
        text(f"by_phi[{c}] = {total(terms)};")
    for k in range(d):
        terms = [x.sum.format(f"e{k}"), f"along[{k}]", *(f"y[{i}] * root[{i * d + k}]" for i in range(rows))]
        text(f"g[{m + k}] = {total(terms)};")
    for j in range(m):
        of_features = [f"by_phi[{1 + m + i}] * steep[{i}] * {read('feature_weight', i, j)}" for i in range(r)]
        text(f"g[{j}] = {total([f'by_phi[{1 + j}]', *of_features])};")


def _write_hessian(text: Text, shape: _Design, x: _Dialect, place: str) -> None:
    """`place` says where an entry goes: {0} is its number in the upper triangle, {1} its row, {2} its column, {3} the entry."""
    r, m, _, d, _, rows = shape.sizes
    read, D, P, triangle = shape.read, range(d), range(m), upper_triangle(m + d)
    _write_names(text, shape, x)
    for i in range(r):
        text(*(f"const {x.point} J{i}_{l} = steep[{i}] * {read('feature_weight', i, l)};" for l in P))
    no_lane, no_point = (
        "" if r else f"({each}){{0.0}} + " for each in (x.lane, x.point)
    )  # else a sum of numbers alone
    text(f"{x.lane} " + ", ".join(f"h{a}_{b} = {{0.0}}" for a, b in triangle) + ";")
    with text.braces(f"for (int j = 0; j < {shape.blocks}; j++)"):
        text(f"const {x.lane} c = v[j] * v[j] * d2z[j], w1 = 2.0 * v[j] * dz[j], w2 = 2.0 * z[j];")
        for l in P:
            of_lanes = (("u", "bias"), ("v", "z_root"))
            text(*(f"const {x.lane} {a}{l} = {no_lane}{shape.derivative(of, l)};" for a, of in of_lanes))
            text(f"const {x.lane} a{l} = c * u{l} + w1 * v{l}, b{l} = w1 * u{l} + w2 * v{l};")
        text(*(f"h{l}_{o} += a{l} * u{o} + b{l} * v{o};" for l, o in upper_triangle(m)))
        text(*(f"h{l}_{m + k} += a{l} * {read('x_weight', k)};" for l in P for k in D))
        for k in D:
            text(f"const {x.lane} c{k} = c * {read('x_weight', k)};")
            text(*(f"h{m + k}_{m + o} += c{k} * {read('x_weight', o)};" for o in range(k, d)))
    for i in range(rows):
        for l in P:
            text(*(f"const {x.point} r{i}_{l}_{k} = {no_point}{shape.derivative('quadratic', l, i, k)};" for k in D))
            text(f"const {x.point} y{i}_{l} = {total([f'r{i}_{l}_{k} * e[{k}]' for k in D])};")
    for n, (a, b) in enumerate(triangle):
        terms = [x.sum.format(f"h{a}_{b}")]
        if b < m:
            terms += [f"y{i}_{a} * y{i}_{b}" for i in range(rows)]
            squares = (f"{read('feature_weight', i, a)} * {read('feature_weight', i, b)}" for i in range(r))
            terms += [f"by_phi[{1 + m + i}] * curved[{i}] * {square}" for i, square in enumerate(squares)]
        elif a < m:
            terms += [shape.derivative("slope", a, b - m)]
            terms += [f"y{i}_{a} * root[{i * d + b - m}] + y[{i}] * r{i}_{a}_{b - m}" for i in range(rows)]
        else:
            terms += [f"root[{i * d + a - m}] * root[{i * d + b - m}]" for i in range(rows)]
        text(place.format(n, a, b, total(terms)))
