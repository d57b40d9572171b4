"""A material as one C99 file that needs <math.h> alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lse_material.export.preamble import description, number, numbers
from lse_material.kernel.c_writer import Symbol
from lse_material.kernel.modes import in_c, own_text, packed
from lse_material.model.activations import ACTIVATIONS
from lse_material.model.convex_network import ConvexNetwork
from lse_material.model.interpolated_network import InterpolatedNetwork
from lse_material.model.material import Material, potential_of
from lse_material.model.soft_minimum import SoftMinimum
from lse_material.model.strain import MANDEL, IsotropicInvariants, known_measure

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

_COMPONENTS = {
    "GreenLagrange": (
        "double C = 0.0; for (int m = 0; m < @DIM@; ++m) C += F[m][a] * F[m][b];\n    x[i] = f * 0.5 * (C - (a == b));",
        "0.5 * f * ((a == L) * F[k][b] + (b == L) * F[k][a])",
        "0.5 * f * (i == k) * ((a == J && b == L) + (b == J && a == L))",
    ),
    "SmallStrain": (
        "x[i] = f * (0.5 * (F[a][b] + F[b][a]) - (a == b));",
        "0.5 * f * ((a == k && b == L) + (b == k && a == L))",
        "",
    ),
}

_STRAIN = r"""
static const int NAME_pairs[@D@][2] = {@PAIRS@}; /* Mandel order; off-diagonal components times sqrt(2) */

/* x[d] and dx/dF at F */
static void NAME_strain(const double (*F)[@DIM@], double *x, double (*dx)[@DIM@][@DIM@])
{
  for (int i = 0; i < @D@; ++i) {
    const int a = NAME_pairs[i][0], b = NAME_pairs[i][1];
    const double f = a == b ? 1.0 : sqrt(2.0);
    @X@
    for (int k = 0; k < @DIM@; ++k)
      for (int L = 0; L < @DIM@; ++L) dx[i][k][L] = @DX@;
  }
}
"""

_GEOMETRIC = r"""
/* adds sum_i g_i d2x_i/dF dF to A */
static void NAME_geometric(const double *g, double *A)
{
  for (int n = 0; n < @D@; ++n) {
    const int a = NAME_pairs[n][0], b = NAME_pairs[n][1];
    const double f = a == b ? 1.0 : sqrt(2.0);
    for (int i = 0; i < @DIM@; ++i) for (int J = 0; J < @DIM@; ++J)
      for (int k = 0; k < @DIM@; ++k) for (int L = 0; L < @DIM@; ++L)
        A[((i * @DIM@ + J) * @DIM@ + k) * @DIM@ + L] += g[n] * @D2X@;
  }
}
"""

_VOLUME = r"""
/* J (NaN where it is not positive), dJ/dF and d2J/dF dF; F in 3D, plane strain has F33 = 1 */
static double NAME_volume(const double (*F)[@DIM@], double (*G)[3], double (*dJ)[3], double (*d2J)[3][3][3])
{
  double J = 0.0;
  for (int i = 0; i < 3; ++i)
    for (int j = 0; j < 3; ++j) G[i][j] = i < @DIM@ && j < @DIM@ ? F[i][j] : (double)(i == j);
  for (int i = 0; i < 3; ++i)
    for (int j = 0; j < 3; ++j) {
      const int i1 = (i + 1) % 3, i2 = (i + 2) % 3, j1 = (j + 1) % 3, j2 = (j + 2) % 3;
      dJ[i][j] = G[i1][j1] * G[i2][j2] - G[i1][j2] * G[i2][j1];
      for (int k = 0; k < 3; ++k)
        for (int l = 0; l < 3; ++l) d2J[i][j][k][l] = 0.0;
      d2J[i][j][i1][j1] = G[i2][j2]; d2J[i][j][i2][j2] = G[i1][j1];
      d2J[i][j][i1][j2] = -G[i2][j1]; d2J[i][j][i2][j1] = -G[i1][j2];
    }
  for (int j = 0; j < 3; ++j) J += G[0][j] * dJ[0][j];
  return J > 0.0 ? J : nan("");
}
"""

_INVARIANTS = r"""
/* x[3] and dx/dF at F; adds sum_i g_i d2x_i/dF dF to A if g is given */
static void NAME_strain(const double (*F)[@DIM@], double *x, double (*dx)[@DIM@][@DIM@], const double *g, double *A)
{
  double G[3][3], dJ[3][3], d2J[3][3][3][3], C[3][3], B[3][3], dI2[3][3], I1 = 0.0, CC = 0.0;
  const double J = NAME_volume(F, G, dJ, d2J);
  for (int i = 0; i < 3; ++i)
    for (int j = 0; j < 3; ++j) {
      C[i][j] = B[i][j] = 0.0;
      for (int m = 0; m < 3; ++m) { C[i][j] += G[m][i] * G[m][j]; B[i][j] += G[i][m] * G[j][m]; }
    }
  for (int i = 0; i < 3; ++i) {
    I1 += C[i][i];
    for (int j = 0; j < 3; ++j) CC += C[i][j] * C[i][j];
  }
  const double I2 = 0.5 * (I1 * I1 - CC), p = pow(J, -2.0 / 3.0), q = pow(J, -4.0 / 3.0);
  const double v = @V@, v1 = @V1@, v2 = @V2@;
  x[0] = p * I1 - 3.0; x[1] = q * I2 - 3.0; x[2] = v;
  for (int i = 0; i < 3; ++i)
    for (int j = 0; j < 3; ++j) {
      double FC = 0.0;
      for (int m = 0; m < 3; ++m) FC += G[i][m] * C[m][j];
      dI2[i][j] = 2.0 * (I1 * G[i][j] - FC);
    }
  for (int i = 0; i < @DIM@; ++i)
    for (int j = 0; j < @DIM@; ++j) {
      dx[0][i][j] = 2.0 * p * G[i][j] - 2.0 / 3.0 * p / J * I1 * dJ[i][j];
      dx[1][i][j] = q * dI2[i][j] - 4.0 / 3.0 * q / J * I2 * dJ[i][j];
      dx[2][i][j] = v1 * dJ[i][j];
    }
  if (!g) return;
  const double wJ = -2.0 / 3.0 * g[0] * p / J * I1 - 4.0 / 3.0 * g[1] * q / J * I2 + g[2] * v1;
  const double wJJ = 10.0 / 9.0 * g[0] * p / (J * J) * I1 + 28.0 / 9.0 * g[1] * q / (J * J) * I2 + g[2] * v2;
  const double c1 = -2.0 / 3.0 * g[0] * p / J, c2 = -4.0 / 3.0 * g[1] * q / J;
  for (int i = 0; i < @DIM@; ++i) for (int j = 0; j < @DIM@; ++j)
    for (int k = 0; k < @DIM@; ++k) for (int l = 0; l < @DIM@; ++l) {
      const double d2I2 = 2.0 * (2.0 * G[i][j] * G[k][l] + I1 * (i == k && j == l) - (i == k) * C[j][l]
                                 - G[i][l] * G[k][j] - (j == l) * B[i][k]);
      const double left = 2.0 * c1 * G[i][j] + c2 * dI2[i][j] + 0.5 * wJJ * dJ[i][j];
      const double right = 2.0 * c1 * G[k][l] + c2 * dI2[k][l] + 0.5 * wJJ * dJ[k][l];
      A[((i * @DIM@ + j) * @DIM@ + k) * @DIM@ + l] += 2.0 * g[0] * p * (i == k && j == l) + g[1] * q * d2I2
        + wJ * d2J[i][j][k][l] + left * dJ[k][l] + dJ[i][j] * right;
    }
}
"""

_GROWTH = r"""
/* adds GROWTH (J - 1 - ln J) and its derivatives */
static void NAME_growth(const double (*F)[@DIM@], double *W, double *P, double *A)
{
  double G[3][3], dJ[3][3], d2J[3][3][3][3];
  const double J = NAME_volume(F, G, dJ, d2J);
  *W += @GROWTH@ * (J - 1.0 - log(J));
  for (int i = 0; i < @DIM@; ++i) for (int j = 0; j < @DIM@; ++j) {
    P[i * @DIM@ + j] += @GROWTH@ * (1.0 - 1.0 / J) * dJ[i][j];
    for (int k = 0; k < @DIM@; ++k) for (int l = 0; l < @DIM@; ++l)
      A[((i * @DIM@ + j) * @DIM@ + k) * @DIM@ + l] +=
        @GROWTH@ * (dJ[i][j] * dJ[k][l] / (J * J) + (1.0 - 1.0 / J) * d2J[i][j][k][l]);
  }
}
"""

_MATERIAL = r"""
/* at F[dim*dim], row-major: W; P = dW/dF [dim*dim]; A = dP/dF [iJkL]; mode weights w[K] */
void NAME(const double *deformation, double *W, double *P, double *A, double *w)
{
  const double (*F)[@DIM@] = (const double (*)[@DIM@])deformation;
  double x[@D@], dx[@D@][@DIM@][@DIM@], g[@D@], H[@D@ * @D@];
  @STRAIN@
  NAME_potential(x, W, g, H, w);
  for (int a = 0; a < @DIM@ * @DIM@; ++a) {
    P[a] = 0.0;
    for (int i = 0; i < @D@; ++i) P[a] += g[i] * (&dx[i][0][0])[a];
    for (int b = 0; b < @DIM@ * @DIM@; ++b) {
      double sum = 0.0;
      for (int i = 0; i < @D@; ++i)
        for (int j = 0; j < @D@; ++j) sum += (&dx[i][0][0])[a] * H[i * @D@ + j] * (&dx[j][0][0])[b];
      A[a * @DIM@ * @DIM@ + b] = sum;
    }
  }
  @MORE@
}
"""


def c_source(material: Material | SoftMinimum, name: str) -> str:
    """C99 text with `NAME(F, W, P, A, w)` and `NAME_potential(x, W, g, H, w)`; compile with any compiler, link with -lm."""
    p = potential_of(material)
    lines = description(material, name)
    text = (
        "/* " + "\n   ".join(lines) + f"\n   {_declarations(material)}\n   Compile: cc -std=c99 -O2 -c FILE (-lm). */\n"
    )
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
        known_measure(material.kinematics, "exported C")
        text += _strain(material)
        replacements["DIM"] = material.dim
    for key, value in replacements.items():
        text = text.replace(f"@{key}@", str(value))
    return text.replace("NAME", name)


def _declarations(material: Material | SoftMinimum) -> str:
    if isinstance(material, Material):
        return "void NAME(const double *F, double *W, double *P, double *A, double *w);"
    return "void NAME_potential(const double *x, double *W, double *g, double *H, double *w);"


def _strain(material: Material) -> str:
    kinematics = material.kinematics
    text = _VOLUME if isinstance(kinematics, IsotropicInvariants) or material.growth is not None else ""
    if isinstance(kinematics, IsotropicInvariants):
        squared = kinematics.squared_volume
        volume = ("(J - 1.0) * (J - 1.0)", "2.0 * (J - 1.0)", "2.0") if squared else ("J - 1.0", "1.0", "0.0")
        invariants = _INVARIANTS
        for key, value in zip(("V", "V1", "V2"), volume):
            invariants = invariants.replace(f"@{key}@", value)
        text += invariants
        first, more = "NAME_strain(F, x, dx, NULL, NULL);", ["NAME_strain(F, x, dx, g, A);"]
    else:
        x, dx, d2x = _COMPONENTS[type(kinematics).__name__]
        pairs = ", ".join(f"{{{a}, {b}}}" for a, b in MANDEL[kinematics.dim])
        text += _STRAIN.replace("@X@", x).replace("@DX@", dx).replace("@PAIRS@", pairs)
        text += _GEOMETRIC.replace("@D2X@", d2x) if d2x else ""
        first, more = "NAME_strain(F, x, dx);", ["NAME_geometric(g, A);"] if d2x else []
    if material.growth is not None:
        text += _GROWTH.replace("@GROWTH@", number(material.growth.coefficient))
        more.append("NAME_growth(F, W, P, A);")
    return text + _MATERIAL.replace("@STRAIN@", first).replace("@MORE@", "\n  ".join(more))


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
    text = _NETWORKS.replace("@DATA@", "\n".join(lines)).replace("@ACTIVATIONS@", _activations(names))
    layers = max(2, *(len(network.biases) for network in networks))  # 2: for GCC 16's warnings
    text = text.replace("@LAYERS@", str(layers))
    text = text.replace("@WIDTH@", str(max(len(bias) for network in networks for bias in network.biases)))
    return text + (_INTERPOLATED if len(networks) > len(modes) else ""), calls


def _activations(names: Sequence[str]) -> str:
    cases = []
    for i, name in enumerate(names):
        f, (s, t, c) = ACTIVATIONS[name], (Symbol(letter) for letter in "stc")
        found = f"*value = {f.value(s)}; *slope = {f.slope(s, t)}; *curvature = {f.curvature(s, t, c)};"
        cases.append(f"if (which == {i}) {{ {found} }} /* {name} */")
    return "\n  ".join(cases)


def _by_own_text(modes: dict[int, Any]) -> tuple[str, dict[int, str]]:
    """Tables of modes that bring their own C, each different text of it as a function, and how the call of each begins."""
    words = {"real": "double", "real_exp": "exp", "real_log": "log", "real_of": ""}
    texts = list(dict.fromkeys(own_text(mode) for mode in modes.values()))
    first = min(modes)
    functions = [in_c(each, f"NAME_mode_{first}_{i}", words, "static") for i, each in enumerate(texts)]
    tables = [line for k, mode in modes.items() for line in _array(f"{k}_w", packed(mode))]
    calls = {k: f"NAME_mode_{first}_{texts.index(own_text(mode))}(NAME_{k}_w" for k, mode in modes.items()}
    return "\n".join(["", *tables, *functions, ""]), calls


# by the type of a mode; types that stand here in no line bring their own text
MODES: dict[str, Callable[[dict[int, Any]], tuple[str, dict[int, str]]]] = {
    "ConvexNetwork": _networks,
    "InterpolatedNetwork": _networks,
}
