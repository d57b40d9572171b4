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

/* exp(x) for x <= 709, zero below -708 (and for NaN): x = n ln 2 + r, |r| <= ln(2)/2, and a polynomial to 2e-17 */
LSE_INLINE lse_vec lse_exp_or_zero(lse_vec x)
{
  const double shift = 6755399441055744.0; /* 1.5 * 2^52: adding it leaves the nearest integer in the low bits */
  const lse_vec shifted = x * 1.4426950408889634074 + shift;
  const lse_vec r = x - (shifted - shift) * 0.69314718055994530942, r2 = r * r;
  const lse_vec even = 0.5 + r2 * (0.04166666666662413 + r2 * (0.0013888888917213717
                       + r2 * (2.4801521295954376e-05 + r2 * 2.7620088445409746e-07)));
  const lse_vec odd = 0.16666666666666669 + r2 * (0.008333333333330062 + r2 * (0.00019841269863053618
                      + r2 * (2.7557268459997064e-06 + r2 * 2.510038549551032e-08)));
  const lse_vec p = (1.0 + r) + r2 * (even + r * odd);
  const lse_vec scaled = (lse_vec)((lse_bits)p + ((lse_bits)shifted << 52)); /* times 2^n */
  return (lse_vec)((lse_bits)scaled & (x > -708.0));
}

/* as above, and NaN stays NaN */
LSE_INLINE lse_vec lse_exp(lse_vec x) { return lse_choose(x == x, lse_exp_or_zero(x), x); }

/* log((1 + s)/(1 - s)) for |s| <= 1/3: an odd polynomial to 7e-18 */
LSE_INLINE lse_vec lse_log_ratio(lse_vec s)
{
  const lse_vec z = s * s, w = z * z;
  const lse_vec even = 2.0 + w * (0.40000000000014596 + w * (0.22222222717801782 + w * (0.15385570592912243
                       + w * (0.12001155182857778 + w * 0.16164938169471338))));
  const lse_vec odd = 0.6666666666666666 + w * (0.2857142856710506 + w * (0.18181789417326447
                      + w * (0.13314135550881162 + w * 0.08800317650868773)));
  return s * (even + z * odd);
}

/* log(u) for u > 0, finite and normal: u = 2^n m, sqrt(1/2) <= m <= sqrt(2) */
LSE_INLINE lse_vec lse_log(lse_vec u)
{
  lse_bits exponent = ((lse_bits)u >> 52) - 1023;
  lse_vec m = (lse_vec)(((lse_bits)u & 0x000fffffffffffffLL) | 0x3ff0000000000000LL);
  const lse_bits big = m > 1.41421356237309504880;
  m = lse_choose(big, 0.5 * m, m);
  exponent -= big; /* true is -1 */
  const lse_vec n = __builtin_convertvector(exponent, lse_vec);
  return n * 0.69314718055994530942 + lse_log_ratio((m - 1.0) / (m + 1.0));
}

/* log(1 + exp(a)), its slope 1/(1 + exp(-a)) and its curvature, all from t = exp(-|a|) */
LSE_INLINE lse_vec lse_softplus(lse_vec a, lse_vec *slope, lse_vec *curvature)
{
  const lse_bits negative = a < 0.0;
  const lse_vec t = lse_exp_or_zero((lse_vec)((lse_bits)a | INT64_MIN));
  const lse_vec one = 1.0 + t, two = 2.0 + t, inverse = 1.0 / (one * two); /* one division serves both quotients */
  const lse_vec r = two * inverse, tr = t * r;
  *slope = lse_choose(negative, tr, r);
  *curvature = tr * r;
  return lse_log_ratio(t * (one * inverse)) + lse_choose(negative, lse_fill(0.0), a); /* NaN is not negative: it stays */
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
