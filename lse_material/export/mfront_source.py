"""A material as an MFront behaviour: the exported C, and the stress and tangent that TFEL asks for."""

import lse_material
from lse_material.errors import InvalidInputError
from lse_material.export.c_source import c_source
from lse_material.export.preamble import description, filled
from lse_material.model.material import Material
from lse_material.model.soft_minimum import SoftMinimum

# S = F^-1 P and dS/dE = F^-1 F^-1 (A - 1 S), in the components of TFEL: 11, 22, 33, sqrt2 12, sqrt2 13, sqrt2 23
_FINITE = r"""
/* W, second Piola-Kirchhoff stress S[6] and its derivative K[36] in the Green-Lagrange strain, at F[9], row by row */
static inline void NAME_second_piola(const double *F, double *W, double *S, double *K)
{
  const int row[6] = {0, 1, 2, 0, 0, 1}, column[6] = {0, 1, 2, 1, 2, 2};
  double f[@M@], P[@M@], A[@M@ * @M@], w[@K@], G[9], T[9] = {0.0};
  for (int i = 0; i < @DIM@; ++i) for (int j = 0; j < @DIM@; ++j) f[i * @DIM@ + j] = F[3 * i + j];
  NAME(f, W, P, A, w);
  double J = 0.0;
  for (int i = 0; i < 3; ++i)
    for (int j = 0; j < 3; ++j) {
      const int a = (i + 1) % 3, b = (i + 2) % 3, k = (j + 1) % 3, l = (j + 2) % 3;
      G[3 * j + i] = F[3 * a + k] * F[3 * b + l] - F[3 * a + l] * F[3 * b + k];
      if (i == 0) J += F[j] * G[3 * j];
    }
  if (!(J > 0.0)) *W = J = std::nan("");
  for (int n = 0; n < 9; ++n) G[n] /= J;
  for (int i = 0; i < @DIM@; ++i)
    for (int j = 0; j < @DIM@; ++j)
      for (int k = 0; k < @DIM@; ++k) T[3 * i + j] += G[3 * i + k] * P[k * @DIM@ + j];
  for (int n = 0; n < 6; ++n) {
    const int i = row[n], j = column[n];
    S[n] = (i == j ? 0.5 : std::sqrt(0.5)) * (T[3 * i + j] + T[3 * j + i]);
    for (int m = 0; m < 6; ++m) {
      const int k = row[m], l = column[m];
      double sum = 0.0;
      if (j < @DIM@ && l < @DIM@)
        for (int a = 0; a < @DIM@; ++a) {
          for (int b = 0; b < @DIM@; ++b)
            sum += G[3 * i + a] * G[3 * k + b] * A[(a * @DIM@ + j) * @M@ + b * @DIM@ + l];
          sum -= G[3 * i + a] * G[3 * k + a] * T[3 * j + l];
        }
      K[6 * n + m] = sum * (i == j ? 1.0 : std::sqrt(2.0)) * (k == l ? 1.0 : std::sqrt(2.0));
    }
  }
}
"""

_SMALL = r"""
/* W, stress S[6] and its derivative K[36] in the small strain e[6] */
static inline void NAME_small(const double *e, double *W, double *S, double *K)
{
  const int row[6] = {0, 1, 2, 0, 0, 1}, column[6] = {0, 1, 2, 1, 2, 2};
  double f[@M@], P[@M@], A[@M@ * @M@], w[@K@];
  for (int n = 0; n < 6; ++n)
    if (column[n] < @DIM@) {
      const int i = row[n], j = column[n];
      f[i * @DIM@ + j] = f[j * @DIM@ + i] = i == j ? 1.0 + e[n] : std::sqrt(0.5) * e[n];
    }
  NAME(f, W, P, A, w);
  for (int n = 0; n < 6; ++n) {
    const int i = row[n], j = column[n];
    S[n] = j < @DIM@ ? (i == j ? 0.5 : std::sqrt(0.5)) * (P[i * @DIM@ + j] + P[j * @DIM@ + i]) : 0.0;
    for (int m = 0; m < 6; ++m) {
      const int k = row[m], l = column[m];
      double sum = 0.0;
      if (j < @DIM@ && l < @DIM@)
        sum = A[(i * @DIM@ + j) * @M@ + k * @DIM@ + l] + A[(i * @DIM@ + j) * @M@ + l * @DIM@ + k]
              + A[(j * @DIM@ + i) * @M@ + k * @DIM@ + l] + A[(j * @DIM@ + i) * @M@ + l * @DIM@ + k];
      K[6 * n + m] = 0.25 * sum * (i == j ? 1.0 : std::sqrt(2.0)) * (k == l ? 1.0 : std::sqrt(2.0));
    }
  }
}
"""

_BEHAVIOUR = """@DSL @DSL@;
@Behaviour NAME;
@Author lse_material @VERSION@;
@Description{
  "Multi-well energy, soft minimum of convex modes. W per reference volume.@PLANE@"
}
@ModellingHypothesis @HYPOTHESIS@;

@Includes{
#include <cmath>
@C@
}

@LocalVariable real W;
@LocalVariable StressStensor S;
@LocalVariable StiffnessTensor K;

@Integrator{
  double s[6], k[36];
@CALL@
  for (unsigned short n = 0; n != S.size(); ++n) {
    S[n] = s[n];
    for (unsigned short m = 0; m != S.size(); ++m) K(n, m) = k[6 * n + m];
  }
@RESULT@
}
@TANGENT@
@InternalEnergy{
  Psi_s = W;
}
"""

_FINITE_CALL = """  double F[9];
  for (unsigned short i = 0; i != 3; ++i)
    for (unsigned short j = 0; j != 3; ++j) F[3 * i + j] = F1(i, j);
  NAME_second_piola(F, &W, s, k);"""
_SMALL_CALL = """  double e[6] = {0.0, 0.0, 0.0, 0.0, 0.0, 0.0};
  for (unsigned short n = 0; n != S.size(); ++n) e[n] = eto[n] + deto[n];
  NAME_small(e, &W, s, k);"""
_FINITE_RESULT = "  sig = convertSecondPiolaKirchhoffStressToCauchyStress(S, F1);"
_SMALL_RESULT = "  sig = S;\n  if (computeTangentOperator_) Dt = K;"
_FINITE_TANGENT = """
@TangentOperator<DS_DEGL>{
  static_cast<void>(smt);
  Dt = K;
}
"""


def mfront_source(material: Material | SoftMinimum, name: str) -> str:
    """MFront text of a behaviour NAME, in 3D or in plane strain; its C++ calls nothing but <cmath>."""
    if not isinstance(material, Material):
        raise InvalidInputError("a plain potential has no strain measure, which MFront needs: make a Material of it.")
    finite, dim = material.kinematics.objective, material.dim
    c = c_source(material, name).split("*/\n", 1)[1].replace("\nvoid ", "\nstatic inline void ")
    head = [*description(material, name), "Compile: mfront --obuild --interface=generic FILE, or another interface."]
    replacements = {
        "C": _FINITE if finite else _SMALL,
        "CALL": _FINITE_CALL if finite else _SMALL_CALL,
        "RESULT": _FINITE_RESULT if finite else _SMALL_RESULT,
        "TANGENT": _FINITE_TANGENT if finite else "",
        "DSL": "DefaultFiniteStrain" if finite else "Default",
        "VERSION": lse_material.__version__,
        "PLANE": " The stress across the plane is left 0." if dim == 2 else "",
        "HYPOTHESIS": "Tridimensional" if dim == 3 else "PlaneStrain",
        "DIM": str(dim),
        "M": str(dim**2),
        "K": str(material.modes),
    }
    text = "".join(f"// {line}\n" for line in head) + filled(_BEHAVIOUR, replacements)
    return text.replace("NAME", name).replace("#include <cmath>\n", "#include <cmath>\n" + c, 1)
