"""C of a design network: for blocks of points, a point a lane; for single points, where the lanes are neurons; and as plain C.

A mode that a temperature weighs, (1 - t) psi_0 + t psi_1, has the functions of both ends, which share features and neurons, and
functions that weigh their results.

Three passes, of which a point runs what it needs:
  values    features, preactivations u and roots v of the output weights, psi; kept with value and slopes of every neuron
  gradient  d psi/d phi, by which the parameters act, and d psi/dx
  hessian   of the derivatives of u and v along each parameter, and of the features' second derivatives

The text is the same for all three; `_Dialect` says what a number at a point and one of a neuron are. Loops over inputs and
features are written out, so that sums over the neurons stay in registers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
    """What the code of a design network depends on, or of one end of a mode between two, whose inputs lack the temperature."""

    shapes: tuple[tuple[str, tuple[int, ...]], ...]  # of its tensors, by name, in their order in memory
    activation: str  # a name in `lse_material.model.activations.ACTIVATIONS`
    lanes: int = 1  # neurons that are read at once; 1 where the lanes are points
    end: int | None = None  # the end that is written, of a mode between two
    scratch = 0
    together = 1

    @classmethod
    def of(cls, mode: Any, lanes: int = 1) -> _Design:
        """The shape of `mode`."""
        return cls(tuple((name, t.shape) for name, t in mode.tensors().items()), mode.activation, lanes)

    @cached_property
    def ends(self) -> tuple[_Design, ...]:
        """Of each end of a mode between two; it alone of another."""
        return tuple(replace(self, end=k) for k in (0, 1)) if "z_root.1" in dict(self.shapes) else (self,)

    def tensor(self, name: str) -> tuple[str, tuple[int, ...]]:
        """Name and shape of a tensor, of the end that is written."""
        shapes = dict(self.shapes)
        name = name if name in shapes else f"{name}.{self.end or 0}"
        return name, shapes[name]

    @cached_property
    def sizes(self) -> tuple[int, int, int, int, int, int]:
        """Numbers of features r, parameters m, neurons n, other inputs d, entries q of phi, and quadratic rows."""
        r, m = self.tensor("feature_weight")[1]
        n, d = self.tensor("x_weight")[1]
        return r, m, n, d, 1 + m + r, self.tensor("quadratic")[1][0]

    @property
    def size(self) -> int:
        """Number of inputs."""
        return self.inner + len(self.ends) - 1

    @property
    def inner(self) -> int:
        """Number of inputs of an end."""
        return self.sizes[1] + self.sizes[3]

    @property
    def blocks(self) -> int:
        """Vectors that hold the neurons."""
        return -(-self.sizes[2] // self.lanes)

    @property
    def name(self) -> str:
        """Prefix of its C functions."""
        sizes = [*self.sizes, *(end.sizes[5] for end in self.ends[1:])]
        return f"design_{self.activation}_" + "_".join(map(str, sizes))

    @cached_property
    def parts(self) -> dict[str, int]:
        """Where what is kept of a point starts, after what is of its neurons (z and its two slopes, v of each end)."""
        r, _, _, d, q, _ = self.sizes
        lengths = {"phi": q, "steep": r, "curved": r}
        for k, end in enumerate(self.ends):
            rows = end.sizes[5]
            lengths |= {f"by_phi.{k}": q, f"root.{k}": rows * d, f"y.{k}": rows, f"along.{k}": d}
        lengths |= {"apart": 1 + self.inner, "end": 0} if len(self.ends) > 1 else {"end": 0}
        starts = (3 + len(self.ends)) * self.blocks * self.lanes + np.cumsum([0, *lengths.values()])
        return dict(zip(lengths, (int(start) for start in starts)))

    @property
    def kept(self) -> int:
        """Numbers that a mode keeps from pass to pass."""
        return -(-self.parts["end"] // self.lanes) * self.lanes

    @cached_property
    def offsets(self) -> dict[str, int]:
        """Where each tensor starts; those of the neurons on vector boundaries, a column after another, if lanes are neurons."""
        padded, starts, at = self.blocks * self.lanes, {}, 0
        for name, shape in sorted(self.shapes, key=lambda item: not self.in_columns(item[0])):
            starts[name] = at
            at += padded * shape[1] if self.in_columns(name) else int(np.prod(shape))
        return {**starts, "end": -(-at // self.lanes) * self.lanes}

    def in_columns(self, name: str) -> bool:
        """Whether a tensor is read by vectors of neurons."""
        return self.lanes > 1 and name.split(".")[0] in OF_NEURONS

    @property
    def length(self) -> int:
        """Doubles of a mode."""
        return self.offsets["end"]

    def pack(self, mode: Any) -> Array:
        """The tensors of `mode` in this order."""
        result, n = np.zeros(self.length), self.blocks * self.lanes
        for name, tensor in mode.tensors().items():
            if self.in_columns(name):
                tensor = np.pad(tensor, ((0, n - len(tensor)), (0, 0))).T
            result[self.offsets[name] :][: tensor.size] = tensor.ravel()
        return result

    def read(self, name: str, *index: int) -> str:
        """An entry of a tensor; of the neurons of block j, the entries in one column."""
        own, shape = self.tensor(name)
        start = self.offsets[own]
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

    def _write_functions(
        self, text: Text, x: _Dialect, heads: Sequence[str], result: str, calls: Sequence[str]
    ) -> None:
        """The functions of a mode, or of both ends of a mode between two and those that weigh their results.

        `heads` have {} where the name of an end stands, `result` where psi does; `calls` are of the functions of end {k}.
        """
        for end, name in zip(self.ends, [""] if len(self.ends) == 1 else ["_end0", "_end1"]):
            values, gradient, hessian = (f"LSE_FUNCTION {head.format(name)}" for head in heads)
            with text.function(values, "psi"):
                _write_values(text, end, x)
                text(result.format("energy"))
            with text.function(gradient, "gradient g"):
                _write_gradient(text, end, x)
            with text.function(hessian, "H += weight * Hessian, upper triangle"):
                _write_hessian(text, end, x, "H[{0}] += weight * ({3});")
        if len(self.ends) == 1:
            return
        values, gradient, hessian = (f"LSE_FUNCTION {head.format('')}" for head in heads)
        of_values, of_gradient, of_hessian = calls
        apart, d = self.parts["apart"], self.inner  # the difference of both ends is kept, and its gradient
        with text.function(values, "psi"):
            text(*(of_values.format(k=k) for k in (0, 1)), f"kept[{apart}] = psi1 - psi0;")
            text(result.format(f"psi0 + x[0] * kept[{apart}]"))
        with text.function(gradient, "gradient g"):
            text(f"{x.point} g0[{d}], g1[{d}];", *(of_gradient.format(k=k) for k in (0, 1)), f"g[0] = kept[{apart}];")
            for i in range(1, 1 + d):
                text(
                    f"kept[{apart + i}] = g1[{i - 1}] - g0[{i - 1}];",
                    f"g[{i}] = g0[{i - 1}] + x[0] * kept[{apart + i}];",
                )
        with text.function(hessian, "H += weight * Hessian, upper triangle"):
            text(*(f"H[{i}] += weight * kept[{apart + i}];" for i in range(1, 1 + d)))
            for k, share in enumerate(("1.0 - x[0]", "x[0]")):
                text(of_hessian.format(k=k, weight=f"weight * ({share})", H=f"H + {1 + d}"))


class DesignShape(_Design):
    """For blocks of points."""

    def write(self, text: Text, lanes: int, registers: int) -> None:
        """The functions of this shape."""
        write_layer_activation(text, self.activation, lanes)
        name, points, kept = (
            self.name,
            "(const double *restrict w, const lse_vec *x,",
            "lse_vec *kept, lse_vec *scratch",
        )
        heads = (
            f"lse_vec {name}{{}}_values{points} {kept})",
            f"void {name}{{}}_gradient{points} {kept}, lse_vec *g, int second)",
            f"void {name}{{}}_hessian{points} lse_vec weight, const {kept}, lse_vec *H)",
        )
        calls = (
            f"const lse_vec psi{{k}} = {name}_end{{k}}_values(w, x + 1, kept, scratch);",
            f"{name}_end{{k}}_gradient(w, x + 1, kept, scratch, g{{k}}, second);",
            f"{name}_end{{k}}_hessian(w, x + 1, {{weight}}, kept, scratch, {{H}});",
        )
        self._write_functions(text, BATCH, heads, "return {};", calls)


class DesignLayout(_Design):
    """For single points, where the lanes are neurons."""

    def write(self, text: Text, name: str, counts: list[int]) -> None:
        """The functions of this layout."""
        for _, together in groups(self.blocks, TOGETHER):
            write_activation(text, self.activation, together, self.lanes)
        points = "(const double *w, const double *x,"
        heads = (
            f"void {name}{{}}_values_1{points} double *kept, double *psi)",
            f"void {name}{{}}_gradient{points} double *kept, double *g)",
            f"void {name}{{}}_hessian{points} double weight, const double *kept, lse_vec *lanes, double *H)",
        )
        calls = (
            f"double psi{{k}}; {name}_end{{k}}_values_1(w, x + 1, kept, &psi{{k}});",
            f"{name}_end{{k}}_gradient(w, x + 1, kept, g{{k}});",
            f"{name}_end{{k}}_hessian(w, x + 1, {{weight}}, kept, lanes, {{H}});",
        )
        self._write_functions(text, POINT, heads, "*psi = {};", calls)


def design_text(mode: Any) -> str:
    """A design network in plain C, or a mode between two, as `lse_material.model.mode.Mode.c_text` says it must be."""
    shape, text = DesignShape.of(mode), Text()
    if len(shape.ends) == 1:
        with text.function(
            "void NAME(const double *w, const double *x, double *psi, double *g, double *H)", "one mode"
        ):
            text(f"double kept[{shape.kept}];")
            _write_plain(text, shape)
        return str(text)
    for k, end in enumerate(shape.ends):
        arguments = "const double *w, const double *x, double *kept, double *psi, double *g, double *H"
        with text.function(f"static void NAME_end{k}({arguments})", f"the end t = {k}"):
            _write_plain(text, end)
    d, D = shape.inner, shape.size
    with text.function("void NAME(const double *w, const double *x, double *psi, double *g, double *H)", "one mode"):
        text(f"double kept[{shape.kept}], psi0, psi1, g0[{d}], g1[{d}], H0[{d * d}], H1[{d * d}];")
        text(*(f"NAME_end{k}(w, x + 1, kept, &psi{k}, g ? g{k} : 0, H ? H{k} : 0);" for k in (0, 1)))
        text("const double t = x[0], apart = psi1 - psi0;", "*psi = psi0 + t * apart;")
        with text.braces("if (g)"):
            text("g[0] = apart;", f"for (int i = 0; i < {d}; i++) g[1 + i] = g0[i] + t * (g1[i] - g0[i]);")
        with text.braces("if (H)"):
            text("H[0] = 0.0;")
            with text.braces(f"for (int i = 0; i < {d}; i++)"):
                text(f"H[1 + i] = H[{D} * (1 + i)] = g1[i] - g0[i];")
                text(f"for (int j = 0; j < {d}; j++)")
                text(f"  H[{D} * (1 + i) + 1 + j] = (1.0 - t) * H0[{d} * i + j] + t * H1[{d} * i + j];")
    return str(text)


def _write_plain(text: Text, shape: _Design) -> None:
    """psi, and where they are asked for g and H, of a design network or of one end."""
    with text.braces():
        _write_values(text, shape, PLAIN)
        text("*psi = energy;")
    with text.braces("if (g)"):
        _write_gradient(text, shape, PLAIN)
    with text.braces("if (H)"):
        d = shape.inner
        _write_hessian(text, shape, PLAIN, f"H[{{1}} * {d} + {{2}}] = {{3}};")
        text(f"for (int a = 0; a < {d}; a++)", f"  for (int b = 0; b < a; b++) H[a * {d} + b] = H[b * {d} + a];")


def _write_names(text: Text, shape: _Design, x: _Dialect) -> None:
    """Names of what is kept, and of the inputs that the mode is convex in."""
    n, end = shape.blocks, shape.end or 0
    names = {each.split(".")[0]: start for each, start in shape.parts.items() if each.endswith(f".{end}")}
    names |= {each: shape.parts[each] for each in ("phi", "steep", "curved")}
    lane = "lse_in_memory" if x is POINT else x.lane
    text(
        f"{lane} *const z = ({lane} *)kept, *const dz = z + {n}, *const d2z = dz + {n}, *const v = d2z + {(1 + end) * n};"
    )
    text(
        f"{x.point} " + ", ".join(f"*const {name} = ({x.point} *)kept + {start}" for name, start in names.items()) + ";"
    )
    text(f"const {x.point} *const e = x + {shape.sizes[1]};")
    text(*(f"(void){name};" for name in ("v", "z", "dz", "d2z", *names, "e")))


def _write_values(text: Text, shape: _Design, x: _Dialect) -> None:
    """psi; the second of two ends takes features and neurons from the first."""
    _, _, _, d, q, rows = shape.sizes
    n, phi, e = shape.blocks, [f"phi[{c}]" for c in range(q)], [f"e[{k}]" for k in range(d)]
    _write_names(text, shape, x)
    if not shape.end:
        _write_features(text, shape, x)
    text(f"{x.lane} u[{max(n, 1)}], sum = {{0.0}};")
    with text.braces(f"for (int j = 0; j < {n}; j++)"):
        of_u, of_v = ([shape.read(name, 0), *shape.row(name, phi[1:], first=1)] for name in ("bias", "z_root"))
        if not shape.end:
            text(f"u[j] = {total([*of_u, *shape.row('x_weight', e)])};")
        text(f"v[j] = {total(of_v)};")
    if not shape.end:
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


def _write_features(text: Text, shape: _Design, x: _Dialect) -> None:
    """phi, and first and second derivatives of its features."""
    r, m = shape.sizes[:2]
    text(f"phi[0] = ({x.point}){{0.0}} + 1.0;", *(f"phi[{1 + j}] = x[{j}];" for j in range(m)))
    for i in range(r):
        terms = [shape.read("feature_bias", i), *shape.row("feature_weight", [f"x[{j}]" for j in range(m)], i)]
        with text.braces():
            text(f"const {x.point} a = {total(terms)}, square = 1.0 + a * a;")
            text(f"const {x.point} inverse = {x.inverse_root.format('square')};")
            text(f"phi[{1 + m + i}] = square * inverse;", f"steep[{i}] = a * inverse;")
            text(f"curved[{i}] = inverse * inverse * inverse;")


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
