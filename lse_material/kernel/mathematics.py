"""C text shared by every generated kernel: vectors of doubles, exp, log, and the activations with two derivatives.

Only vector extensions of GCC and Clang are used, so the code runs on any CPU the compiler knows. A vector of 8 doubles is
one AVX-512 register, two AVX or four SSE/NEON registers. Everything is correct to a few units in the last place for normal
numbers, and NaN stays NaN wherever a result of the network depends on it.
"""

from __future__ import annotations

from lse_material.activations import ACTIVATIONS

ACTIVATION_FUNCTIONS = {name: f"lse_{name}" for name in ACTIVATIONS}

_TEXT = r"""
#ifndef LSE_MATHEMATICS
#define LSE_MATHEMATICS
#include <stdint.h>

#define LSE_LANES @LANES@
#define LSE_INLINE static inline __attribute__((always_inline, unused))
#define LSE_FUNCTION static __attribute__((noinline, unused))
typedef double lse_vec __attribute__((vector_size(8 * LSE_LANES)));
typedef int64_t lse_bits __attribute__((vector_size(8 * LSE_LANES)));

LSE_INLINE lse_vec lse_fill(double a) { return a - (lse_vec){0.0}; }

LSE_INLINE lse_vec lse_choose(lse_bits where, lse_vec yes, lse_vec no)
{
  return (lse_vec)((where & (lse_bits)yes) | (~where & (lse_bits)no));
}

/* exp(x) for x <= 709, zero below -708 (and for NaN): x = n ln 2 + r, |r| <= ln(2)/2, Taylor's polynomial of degree 12 */
LSE_INLINE lse_vec lse_exp_or_zero(lse_vec x)
{
  const double shift = 6755399441055744.0; /* 1.5 * 2^52: adding it leaves the nearest integer in the low bits */
  const lse_vec shifted = x * 1.4426950408889634074 + shift;
  const lse_vec n = shifted - shift;
  const lse_vec r = (x - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10;
  const lse_vec r2 = r * r, r4 = r2 * r2;
  const lse_vec low = (1.0 + r) + r2 * (0.5 + r * (1.0 / 6));
  const lse_vec middle = (1.0 / 24 + r * (1.0 / 120)) + r2 * (1.0 / 720 + r * (1.0 / 5040));
  const lse_vec high = (1.0 / 40320 + r * (1.0 / 362880)) + r2 * (1.0 / 3628800 + r * (1.0 / 39916800))
                       + r4 * (1.0 / 479001600);
  const lse_vec p = low + r4 * (middle + r4 * high);
  const lse_vec scaled = (lse_vec)((lse_bits)p + ((lse_bits)shifted << 52)); /* times 2^n */
  return (lse_vec)((lse_bits)scaled & (x > -708.0));
}

/* as above, and NaN stays NaN */
LSE_INLINE lse_vec lse_exp(lse_vec x) { return lse_choose(x == x, lse_exp_or_zero(x), x); }

/* log(1 + f) - f + f^2/2 - ... by s = f/(2+f), for f in [sqrt(1/2) - 1, sqrt(2) - 1] (the odd series of W. Cody and fdlibm) */
LSE_INLINE lse_vec lse_log_series(lse_vec f, lse_vec s)
{
  const lse_vec z = s * s, w = z * z;
  const lse_vec even = w * (3.999999999940941908e-01 + w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01));
  const lse_vec odd = z * (6.666666666666735130e-01
                           + w * (2.857142874366239149e-01 + w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01)));
  return f - s * (f - (even + odd));
}

/* log(u) for u > 0, finite and normal */
LSE_INLINE lse_vec lse_log(lse_vec u)
{
  lse_bits exponent = ((lse_bits)u >> 52) - 1023;
  lse_vec m = (lse_vec)(((lse_bits)u & 0x000fffffffffffffLL) | 0x3ff0000000000000LL);
  const lse_bits big = m > 1.41421356237309504880;
  m = lse_choose(big, 0.5 * m, m);
  exponent -= big;
  const lse_vec n = __builtin_convertvector(exponent, lse_vec), f = m - 1.0;
  return n * 6.93147180369123816490e-01 + (lse_log_series(f, f / (2.0 + f)) + n * 1.90821492927058770002e-10);
}

/* log(1 + exp(a)), its slope 1/(1 + exp(-a)) and its curvature, all from t = exp(-|a|) and one division */
LSE_INLINE lse_vec lse_softplus(lse_vec a, lse_vec *slope, lse_vec *curvature)
{
  const lse_bits negative = a < 0.0;
  const lse_vec t = lse_exp_or_zero((lse_vec)((lse_bits)a | INT64_MIN));
  const lse_vec whole = 1.0 + t;
  const lse_bits big = t > 0.41421356237309504880;
  const lse_vec f = lse_choose(big, 0.5 * (t - 1.0), t); /* 1 + t = (1 + f) or 2 (1 + f) */
  const lse_vec twice = 2.0 + f;
  const lse_vec both = 1.0 / (whole * twice);
  const lse_vec r = both * twice, tr = t * r; /* 1/(1 + t) and t/(1 + t) */
  const lse_vec log1p = lse_log_series(f, f * (both * whole)) + (lse_vec)((lse_bits)lse_fill(6.93147180559945309417e-01) & big);
  *slope = lse_choose(negative, tr, r);
  *curvature = tr * r;
  return log1p + lse_choose(negative, lse_fill(0.0), a); /* NaN is not negative: it stays */
}

/* softplus(a)^2 / 2 */
LSE_INLINE lse_vec lse_squared_softplus(lse_vec a, lse_vec *slope, lse_vec *curvature)
{
  lse_vec inner_slope, inner_curvature;
  const lse_vec inner = lse_softplus(a, &inner_slope, &inner_curvature);
  *slope = inner * inner_slope;
  *curvature = inner_slope * inner_slope + inner * inner_curvature;
  return 0.5 * inner * inner;
}
#endif
"""


def mathematics(lanes: int) -> str:
    """The C text, for vectors of `lanes` doubles."""
    return _TEXT.replace("@LANES@", str(lanes))
