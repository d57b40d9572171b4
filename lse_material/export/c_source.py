"""A material as one C99 file that needs <math.h> alone."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lse_material.errors import InvalidInputError
from lse_material.export.preamble import description, filled, number, numbers
from lse_material.export.recorder import Language, Recorder, recorded_kinematics, recorded_mode
from lse_material.kernel.c_writer import Symbol
from lse_material.kernel.modes import in_c, own_text, packed
from lse_material.model.activations import ACTIVATIONS
from lse_material.model.convex_network import ConvexNetwork
from lse_material.model.interpolated_network import InterpolatedNetwork
from lse_material.model.material import Material, potential_of
from lse_material.model.mode import Mode
from lse_material.model.soft_minimum import SoftMinimum

_NETWORKS = r"""
/* layers 0 .. hidden; layer l has widths[l] rows; x: rows of d, z: rows of widths[l - 1], all layers one after another */
typedef struct { int hidden, rows, activation; const int *widths; const double *x, *z, *bias, *quadratic; } NAME_network_data;

@DATA@
/* an activation with its derivatives, by softplus s and its derivatives t and c, without overflow */
static void NAME_activation(int which, double a, double *value, double *slope, double *curvature)
{
  const double e = exp(-fabs(a)), s = (a > 0.0 ? a : 0.0) + log1p(e), t = (a >= 0.0 ? 1.0 : e) / (1.0 + e);
  const double c = e / ((1.0 + e) * (1.0 + e));
  if (isnan(a)) { *value = *slope = *curvature = a; return; }
  @ACTIVATIONS@
}

/* psi, its gradient g[d] and its Hessian H[d*d], of one convex network at scaled x */
static void NAME_network(const NAME_network_data *m, const double *x, double *psi, double *g, double *H)
{
  double value[@LAYERS@][@WIDTH@] = {{0.0}}, slope[@LAYERS@][@WIDTH@] = {{0.0}}, curvature[@LAYERS@][@WIDTH@] = {{0.0}};
  double jacobian[@LAYERS@][@WIDTH@][@D@] = {{{0.0}}}, above[@WIDTH@] = {0.0}, adjoint[@WIDTH@] = {0.0};
  const double *W = m->x, *Z = m->z, *b = m->bias;
  *psi = 0.0;
  for (int l = 0; l <= m->hidden; ++l)
    for (int r = 0; r < m->widths[l]; ++r) {
      double a = *b++;
      for (int j = 0; j < @D@; ++j) { jacobian[l][r][j] = *W; a += *W++ * x[j]; }
      for (int c = 0; l > 0 && c < m->widths[l - 1]; ++c, ++Z) {
        a += *Z * value[l - 1][c];
        for (int j = 0; j < @D@; ++j) jacobian[l][r][j] += *Z * slope[l - 1][c] * jacobian[l - 1][c][j];
      }
      if (l < m->hidden) NAME_activation(m->activation, a, &value[l][r], &slope[l][r], &curvature[l][r]);
      else {
        *psi = a;
        for (int j = 0; j < @D@; ++j) g[j] = jacobian[l][r][j];
      }
    }
  for (int j = 0; j < @D@ * @D@; ++j) H[j] = 0.0;
  above[0] = 1.0;
  for (int l = m->hidden - 1; l >= 0; --l) {
    Z -= m->widths[l + 1] * m->widths[l];
    for (int c = 0; c < m->widths[l]; ++c) {
      adjoint[c] = 0.0;
      for (int r = 0; r < m->widths[l + 1]; ++r) adjoint[c] += Z[r * m->widths[l] + c] * above[r];
      for (int i = 0; i < @D@; ++i)
        for (int j = 0; j < @D@; ++j)
          H[i * @D@ + j] += adjoint[c] * curvature[l][c] * jacobian[l][c][i] * jacobian[l][c][j];
    }
    for (int c = 0; c < m->widths[l]; ++c) above[c] = adjoint[c] * slope[l][c];
  }
  for (int r = 0; r < m->rows; ++r) {
    const double *q = m->quadratic + r * @D@;
    double a = 0.0;
    for (int j = 0; j < @D@; ++j) a += q[j] * x[j];
    *psi += 0.5 * a * a;
    for (int i = 0; i < @D@; ++i) {
      g[i] += q[i] * a;
      for (int j = 0; j < @D@; ++j) H[i * @D@ + j] += q[i] * q[j];
    }
  }
}

"""

_INTERPOLATED = r"""
/* the same of (1 - t) psi_0 + t psi_1, t = x[0], of two convex networks m that do not read t */
static void NAME_interpolated(const NAME_network_data *m, const double *x, double *psi, double *g, double *H)
{
  const double t = x[0];
  double upper, slope[@D@], curvature[@D@ * @D@];
  NAME_network(m, x, psi, g, H);
  NAME_network(m + 1, x, &upper, slope, curvature);
  for (int i = 0; i < @D@ * @D@; ++i) H[i] = (1.0 - t) * H[i] + t * curvature[i];
  for (int i = 1; i < @D@; ++i) { H[i] += slope[i] - g[i]; H[i * @D@] += slope[i] - g[i]; }
  for (int i = 0; i < @D@; ++i) g[i] = (1.0 - t) * g[i] + t * slope[i];
  g[0] += upper - *psi;
  *psi = (1.0 - t) * *psi + t * upper;
}

"""

_POTENTIAL = r"""
@SCALES@
/* W, dW/dx (g[d]), d2W/dx2 (H[d*d]) and the mode weights (w[K]) at x[d] */
void NAME_potential(const double *x, double *W, double *g, double *H, double *w)
{
  double xh[@D@], psi[@K@], gk[@K@][@D@], Hk[@K@][@D@ * @D@], total = 0.0;
  int low = 0;
  for (int j = 0; j < @D@; ++j) xh[j] = (x[j] - NAME_shift[j]) / NAME_scale[j];
  @MODES@
  for (int k = 1; k < @K@; ++k) if (psi[k] < psi[low]) low = k;
  for (int k = 0; k < @K@; ++k) total += w[k] = exp(-(psi[k] - psi[low]) / @RHO@);
  for (int k = 0; k < @K@; ++k) w[k] /= total;
  *W = @ENERGY_SCALE@ * (psi[low] - @RHO@ * log(total)) + @ENERGY_SHIFT@;
  for (int i = 0; i < @D@; ++i) {
    g[i] = 0.0;
    for (int k = 0; k < @K@; ++k) g[i] += w[k] * gk[k][i];
  }
  for (int i = 0; i < @D@; ++i)
    for (int j = 0; j < @D@; ++j) {
      double h = 0.0;
      for (int k = 0; k < @K@; ++k)
        h += w[k] * (Hk[k][i * @D@ + j] - (gk[k][i] - g[i]) * (gk[k][j] - g[j]) / @RHO@);
      H[i * @D@ + j] = h * @ENERGY_SCALE@ / (NAME_scale[i] * NAME_scale[j]);
    }
  for (int i = 0; i < @D@; ++i) g[i] *= @ENERGY_SCALE@ / NAME_scale[i];
}
"""

_MATERIAL = r"""
/* x[d] and dx/dF [d*dim*dim] at F */
static void NAME_strain(const double *F, double *x, double *dx)
{
  @STRAIN@
}

/* sum_i g_i d2x_i/dF dF (A), and what a growth term adds to W, P and A */
static void NAME_geometric(const double *F, const double *g, double *W, double *P, double *A)
{
  (void)F; (void)g;
  @GEOMETRIC@
}

/* at F[dim*dim], row-major: W; P = dW/dF [dim*dim]; A = dP/dF [iJkL]; mode weights w[K] */
void NAME(const double *F, double *W, double *P, double *A, double *w)
{
  double x[@D@], dx[@D@ * @M@], g[@D@], H[@D@ * @D@], growth;
  NAME_strain(F, x, dx);
  NAME_potential(x, W, g, H, w);
  NAME_geometric(F, g, &growth, P, A);
  *W += growth;
  for (int a = 0; a < @M@; ++a) {
    for (int i = 0; i < @D@; ++i) P[a] += g[i] * dx[i * @M@ + a];
    for (int b = 0; b < @M@; ++b)
      for (int i = 0; i < @D@; ++i)
        for (int j = 0; j < @D@; ++j) A[a * @M@ + b] += dx[i * @M@ + a] * H[i * @D@ + j] * dx[j * @M@ + b];
  }
}
"""
_RESERVED = re.compile(  # words of C, and functions that the text calls
    "auto|break|case|char|const|continue|default|do|double|else|enum|extern|float|for|goto|if|inline|int|long|register|"
    "restrict|return|short|signed|sizeof|static|struct|switch|typedef|union|unsigned|void|volatile|while|"
    "main|exp|fabs|isnan|log|log1p|pow|sqrt"
)
_C = Language(number, lambda name: name, "pow({}, {})", "t[{}]")


def c_source(material: Material | SoftMinimum, name: str) -> str:
    """C99 text with `NAME(F, W, P, A, w)` and `NAME_potential(x, W, g, H, w)`; compile with any compiler, link with -lm."""
    if _RESERVED.fullmatch(name):
        raise InvalidInputError(f"the name {name!r} has a meaning in C: give another.")
    p = potential_of(material)
    lines = description(material, name)
    declaration = "void NAME_potential(const double *x, double *W, double *g, double *H, double *w);"
    if isinstance(material, Material):
        declaration = "void NAME(const double *F, double *W, double *P, double *A, double *w);"
    text = "/* " + "\n   ".join([*lines, declaration, "Compile: cc -std=c99 -O2 -c FILE (-lm). */\n"])
    text += "#include <math.h>\n#include <stddef.h>\n"
    calls: dict[int, str] = {}
    writers = [MODES.get(mode.type, _by_own_text) for mode in p.modes]
    for writer in dict.fromkeys(writers):
        written, of_these = writer({k: mode for k, mode in enumerate(p.modes) if writers[k] is writer})
        text, calls = text + written, calls | of_these
    scales = (("shift", p.input_shift), ("scale", p.input_scale))
    replacements: dict[str, object] = {
        "SCALES": "\n".join(line for key, vector in scales for line in _array(key, vector)),
        "MODES": "\n  ".join(f"{calls[k]}, xh, &psi[{k}], gk[{k}], Hk[{k}]);" for k in range(len(p.modes))),
        "D": p.size,
        "K": len(p.modes),
        "RHO": number(p.scaled_rho),
        "ENERGY_SCALE": number(p.energy_scale),
        "ENERGY_SHIFT": f"({number(p.energy_shift)})",
    }
    text += _POTENTIAL
    if isinstance(material, Material):
        text += _MATERIAL
        replacements |= _kinematics(material)
    return filled(text, replacements).replace("NAME", name)


def _kinematics(material: Material) -> dict[str, object]:
    """The bodies of NAME_strain and NAME_geometric."""
    m = material.dim**2
    g = [f"g[{i}]" for i in range(material.kinematics.size)]
    k = recorded_kinematics(material, [f"F[{a}]" for a in range(m)], g)
    strain = {f"x[{i}]": value for i, value in enumerate(k.x)}
    strain |= {f"dx[{i}]": value for i, value in enumerate(k.dx.ravel())}
    more = {"*W": k.energy} | {f"P[{a}]": value for a, value in enumerate(k.stress)}
    more |= {f"A[{i}]": value for i, value in enumerate(k.geometric.ravel())}
    return {"STRAIN": _body(k.recorder, strain), "GEOMETRIC": _body(k.recorder, more), "M": m}


def _body(recorder: Recorder, results: dict[str, Any]) -> str:
    """Statements of what was recorded."""
    statements, count = recorder.written(results, _C)
    return "\n  ".join([f"double t[{count + 1}];"] * (count > 0) + [f"{statement};" for statement in statements])


def _text(mode: Any) -> str:
    """The `c_text` of a mode, or what its formula comes to, with its numbers."""
    if mode.c_text or type(mode).formula is Mode.formula:
        return own_text(mode)
    recorder, psi, gradient, hessian = recorded_mode(mode, [f"x[{i}]" for i in range(mode.size)], "C")
    results = {"*psi": psi} | {f"g[{i}]": value for i, value in enumerate(gradient)}
    results |= {f"H[{i}]": value for i, value in enumerate(hessian.ravel())}
    head = "void NAME(const double *w, const double *x, double *psi, double *g, double *H)"
    return f"/* psi, gradient and Hessian of one mode */\n{head}\n{{\n  (void)w; (void)x;\n  {_body(recorder, results)}\n}}\n"


def _array(name: str, values: Any) -> list[str]:
    """A table of doubles, not empty."""
    return [f"static const double NAME_{name}[] = {{", *numbers(values if np.size(values) else np.zeros(1)), "};"]


def _networks(modes: dict[int, Any]) -> tuple[str, dict[int, str]]:
    """Tables and functions of the convex networks, of which an interpolated one has two, and how the call of each begins."""
    lines: list[str] = []
    rows: list[str] = []
    calls: dict[int, str] = {}
    names = list(dict.fromkeys(mode.activation for mode in modes.values()))
    networks: list[ConvexNetwork] = []
    for k, mode in modes.items():
        ends = [mode]
        if isinstance(mode, InterpolatedNetwork):
            ends = [end.reading(np.arange(1, mode.size), mode.size) for end in mode.ends]
        calls[k] = f"NAME_{'network' if len(ends) == 1 else 'interpolated'}(&NAME_networks[{len(networks)}]"
        for end in ends:
            n = len(networks)
            networks.append(end)
            lines.append(f"static const int NAME_{n}_widths[] = {{{', '.join(str(len(b)) for b in end.biases)}}};")
            quadratic = np.zeros((0, 1)) if end.quadratic is None else end.quadratic
            parts = {"x": end.x_weights, "z": end.z_weights, "bias": end.biases, "quadratic": [quadratic]}
            for field, arrays in parts.items():
                lines += _array(f"{n}_{field}", np.concatenate([np.ravel(a) for a in arrays]) if arrays else [])
            fields = ", ".join(f"NAME_{n}_{field}" for field in ("widths", *parts))
            rows.append(f"  {{{len(end.z_weights)}, {len(quadratic)}, {names.index(end.activation)}, {fields}}},")
    lines += [f"static const NAME_network_data NAME_networks[{len(rows)}] = {{", *rows, "};"]
    layers = max(2, *(len(network.biases) for network in networks))  # 2: for GCC 16's warnings
    width = max(len(bias) for network in networks for bias in network.biases)
    entries = {"DATA": "\n".join(lines), "ACTIVATIONS": _activations(names), "LAYERS": layers, "WIDTH": width}
    return filled(_NETWORKS, entries) + (_INTERPOLATED if len(networks) > len(modes) else ""), calls


def _activations(names: Sequence[str]) -> str:
    cases = []
    for i, name in enumerate(names):
        f, (s, t, c) = ACTIVATIONS[name], (Symbol(letter) for letter in "stc")
        found = f"*value = {f.value(s)}; *slope = {f.slope(s, t)}; *curvature = {f.curvature(s, t, c)};"
        cases.append(f"if (which == {i}) {{ {found} }} /* {name} */")
    return "\n  ".join(cases)


def _by_own_text(modes: dict[int, Any]) -> tuple[str, dict[int, str]]:
    """Tables of modes that bring their own C or a formula, each text as a function once, and how the call of each begins."""
    words = {"real": "double", "real_exp": "exp", "real_log": "log", "real_of": ""}
    text_of = {k: _text(mode) for k, mode in modes.items()}
    texts = list(dict.fromkeys(text_of.values()))
    first = min(modes)
    functions = [in_c(each, f"NAME_mode_{first}_{i}", words, "static") for i, each in enumerate(texts)]
    tables = [line for k, mode in modes.items() for line in _array(f"{k}_w", packed(mode))]
    calls = {k: f"NAME_mode_{first}_{texts.index(text)}(NAME_{k}_w" for k, text in text_of.items()}
    return "\n".join(["", *tables, *functions, ""]), calls


# by the type of a mode; types that stand here in no line bring their own text
MODES: dict[str, Callable[[dict[int, Any]], tuple[str, dict[int, str]]]] = {
    "ConvexNetwork": _networks,
    "InterpolatedNetwork": _networks,
}
