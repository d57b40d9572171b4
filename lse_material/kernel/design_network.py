"""C text of a design network, for blocks of points, single points and exported files: plain loops over its tensors.

Functions of the sign of v are written without comparisons, which vectors lack: |v| = sqrt(v^2), and v/|v| is the sign.
"""

from __future__ import annotations

from typing import Any

from lse_material.kernel.c_writer import Symbol
from lse_material.model.activations import ACTIVATIONS

_TEXT = r"""
void NAME(const double *w, const real *x, real *psi, real *g, real *H)
{
  const double *A = w, *a = A + @R@ * @M@, *X = a + @R@, *B = X + @N@ * @D@, *V = B + @N@ * @Q@, *S = V + @N@ * @Q@;
  const double *C = S + @D@ * @Q@, *Q = C + @Q@;
  const real *e = x + @M@; /* what the mode is convex in */
  real phi[@Q@], steep[@R1@], curved[@R1@], by_phi[@Q@], by_e[@D@], pp[@Q@][@Q@], ep[@D@][@Q@], ee[@D@][@D@];
  real energy = real_of(0.0);
  phi[0] = real_of(1.0);
  for (int j = 0; j < @M@; j++) phi[1 + j] = x[j];
  for (int i = 0; i < @R@; i++) {
    real v = real_of(a[i]);
    for (int j = 0; j < @M@; j++) v += A[i * @M@ + j] * x[j];
    @POSITIVE@
    phi[1 + @M@ + i] = f; steep[i] = df; curved[i] = d2f;
  }
  for (int c = 0; c < @Q@; c++) { by_phi[c] = real_of(C[c]); energy += C[c] * phi[c]; }
  for (int k = 0; k < @D@; k++) {
    by_e[k] = real_of(0.0);
    for (int c = 0; c < @Q@; c++) { by_e[k] += S[k * @Q@ + c] * phi[c]; by_phi[c] += S[k * @Q@ + c] * e[k]; }
    energy += by_e[k] * e[k];
  }
  if (H) {
    for (int c = 0; c < @Q@; c++) for (int b = 0; b < @Q@; b++) pp[c][b] = real_of(0.0);
    for (int k = 0; k < @D@; k++) for (int c = 0; c < @Q@; c++) ep[k][c] = real_of(S[k * @Q@ + c]);
    for (int k = 0; k < @D@; k++) for (int l = 0; l < @D@; l++) ee[k][l] = real_of(0.0);
  }
  for (int j = 0; j < @N@; j++, X += @D@, B += @Q@, V += @Q@) {
    real u = real_of(0.0), v = real_of(0.0);
    for (int k = 0; k < @D@; k++) u += X[k] * e[k];
    for (int c = 0; c < @Q@; c++) { u += B[c] * phi[c]; v += V[c] * phi[c]; }
    @POSITIVE@
    const real size = real_exp(0.5 * real_log(u * u + 1e-300)), small = real_exp(-size), side = u / size;
    const real s = 0.5 * (u + size) + real_log(1.0 + small), c2 = small / ((1.0 + small) * (1.0 + small));
    const real t = 0.5 * ((1.0 + side) + (1.0 - side) * small) / (1.0 + small);
    const real z = @VALUE@, dz = @SLOPE@, d2z = @CURVATURE@;
    energy += f * z;
    if (g) {
      for (int k = 0; k < @D@; k++) by_e[k] += f * dz * X[k];
      for (int c = 0; c < @Q@; c++) by_phi[c] += df * z * V[c] + f * dz * B[c];
    }
    if (H) {
      for (int k = 0; k < @D@; k++) {
        for (int l = 0; l < @D@; l++) ee[k][l] += f * d2z * (X[k] * X[l]);
        for (int c = 0; c < @Q@; c++) ep[k][c] += (df * dz * V[c] + f * d2z * B[c]) * X[k];
      }
      for (int c = 0; c < @Q@; c++)
        for (int b = 0; b < @Q@; b++)
          pp[c][b] += d2f * z * (V[c] * V[b]) + df * dz * (V[c] * B[b] + B[c] * V[b]) + f * d2z * (B[c] * B[b]);
    }
  }
  for (int i = 0; i < @K@; i++, Q += @D@ * @Q@) {
    real root[@D@], along[@Q@], y = real_of(0.0);
    for (int c = 0; c < @Q@; c++) along[c] = real_of(0.0);
    for (int k = 0; k < @D@; k++) {
      root[k] = real_of(0.0);
      for (int c = 0; c < @Q@; c++) { root[k] += Q[k * @Q@ + c] * phi[c]; along[c] += Q[k * @Q@ + c] * e[k]; }
      y += root[k] * e[k];
    }
    energy += 0.5 * y * y;
    for (int k = 0; k < @D@; k++) by_e[k] += y * root[k];
    for (int c = 0; c < @Q@; c++) by_phi[c] += y * along[c];
    if (H) {
      for (int k = 0; k < @D@; k++) {
        for (int l = 0; l < @D@; l++) ee[k][l] += root[k] * root[l];
        for (int c = 0; c < @Q@; c++) ep[k][c] += root[k] * along[c] + Q[k * @Q@ + c] * y;
      }
      for (int c = 0; c < @Q@; c++) for (int b = 0; b < @Q@; b++) pp[c][b] += along[c] * along[b];
    }
  }
  *psi = energy;
  if (g) {
    for (int k = 0; k < @D@; k++) g[@M@ + k] = by_e[k];
    for (int j = 0; j < @M@; j++) {
      g[j] = by_phi[1 + j];
      for (int i = 0; i < @R@; i++) g[j] += by_phi[1 + @M@ + i] * steep[i] * A[i * @M@ + j];
    }
  }
  if (H) {
    for (int k = 0; k < @D@; k++) for (int l = 0; l < @D@; l++) H[(@M@ + k) * @T@ + @M@ + l] = ee[k][l];
    for (int j = 0; j < @M@; j++) {
      real half[@Q@]; /* pp times dphi/dp_j */
      for (int c = 0; c < @Q@; c++) {
        half[c] = pp[c][1 + j];
        for (int i = 0; i < @R@; i++) half[c] += pp[c][1 + @M@ + i] * steep[i] * A[i * @M@ + j];
      }
      for (int l = 0; l < @M@; l++) {
        real h = half[1 + l];
        for (int i = 0; i < @R@; i++)
          h += (half[1 + @M@ + i] * steep[i] + by_phi[1 + @M@ + i] * curved[i] * A[i * @M@ + j]) * A[i * @M@ + l];
        H[l * @T@ + j] = h;
      }
      for (int k = 0; k < @D@; k++) {
        real h = ep[k][1 + j];
        for (int i = 0; i < @R@; i++) h += ep[k][1 + @M@ + i] * steep[i] * A[i * @M@ + j];
        H[(@M@ + k) * @T@ + j] = H[j * @T@ + @M@ + k] = h;
      }
    }
  }
  (void)A; (void)a; (void)steep; (void)curved; (void)pp; (void)ep; (void)ee;
}
"""

# f of v > 0 and its derivatives: (v + root) / 2 where v > 0, 2 / (root - v) where v < 0
_POSITIVE = """const real root_v = real_exp(0.5 * real_log(v * v + 4.0)), size_v = real_exp(0.5 * real_log(v * v + 1e-300));
    const real sum_v = root_v + size_v, side_v = v / size_v;
    const real f = 0.25 * (1.0 + side_v) * sum_v + (1.0 - side_v) / sum_v;
    const real df = f / root_v, d2f = 2.0 / (root_v * root_v * root_v);"""


def design_text(mode: Any) -> str:
    """The C of a design network, as `lse_material.model.mode.Mode.c_text` says it must be."""
    r, m = mode.feature_weight.shape
    n, d = mode.x_weight.shape
    f = ACTIVATIONS[mode.activation]
    s, t, c = (Symbol(letter) for letter in ("s", "t", "c2"))
    words = {"VALUE": f.value(s), "SLOPE": f.slope(s, t), "CURVATURE": f.curvature(s, t, c), "POSITIVE": _POSITIVE}
    words |= {"R1": max(r, 1), "R": r, "M": m, "N": n, "D": d, "Q": 1 + m + r, "K": len(mode.quadratic), "T": m + d}
    text = _TEXT
    for word, value in words.items():
        text = text.replace(f"@{word}@", str(value))
    return text
