"""C text shared by every generated kernel: vectors of doubles, exp, log, and the activations with two derivatives.

Only vector extensions of GCC and Clang are used, so the code runs on any CPU the compiler knows. A vector of 8 doubles is
one AVX-512 register, two AVX or four SSE/NEON registers. Everything is correct to a few units in the last place for normal
numbers, and NaN stays NaN wherever a result of the network depends on it.

An activation is one long chain of dependent operations, so a single one leaves the units of the CPU idle. Several are therefore
written together, statement by statement, and the exponentials of the next group stand before the results of the last.
"""

from collections.abc import Sequence

from lse_material.kernel.c_writer import Symbol, Text
from lse_material.model.activations import ACTIVATIONS

TOGETHER = 8  # activations that are written statement by statement

# r coth(r/2) in powers of r^2 for |r| <= ln(2)/2: exp(r) = (c + r)/(c - r) to 2e-19
_COTH = (
    2.0,
    0.16666666666666555,
    -0.002777777777669604,
    6.613756250050129e-05,
    -1.6533837085970372e-06,
    4.136044887986942e-08,
)
# log((1 + s)/(1 - s))/s in powers of s^2 for |s| <= 1/3, to 5e-17
_LOG_RATIO = (
    *(2.0, 0.666666666666777, 0.39999999996049646, 0.2857142905800676, 0.22222192904033453),
    *(0.18182814092684912, 0.15364295164890995, 0.13586317831160596, 0.09902802312073528, 0.17739798600772963),
)

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

#define LSE_SHIFT 6755399441055744.0 /* 1.5 * 2^52: adding it leaves the nearest integer in the low bits */
#define LSE_LOG2E 1.4426950408889634074
#define LSE_LN2 0.69314718055994530942

/* exp(x) for x <= 709, zero below -708, NaN stays NaN: x = n ln 2 + r */
LSE_INLINE lse_vec lse_exp(lse_vec x)
{
  const lse_vec shifted = x * LSE_LOG2E + LSE_SHIFT, r = x - (shifted - LSE_SHIFT) * LSE_LN2, z = r * r;
  @COTH@
  const lse_vec p = (c + r) / (c - r);
  const lse_bits scaled = (lse_bits)p + ((lse_bits)shifted << 52); /* times 2^n */
  return lse_choose(x == x, (lse_vec)(scaled & (x > -708.0)), x);
}

/* log(u) for u > 0, finite and normal: u = 2^n m, sqrt(1/2) <= m <= sqrt(2) */
LSE_INLINE lse_vec lse_log(lse_vec u)
{
  lse_bits exponent = ((lse_bits)u >> 52) - 1023;
  lse_vec m = (lse_vec)(((lse_bits)u & 0x000fffffffffffffLL) | 0x3ff0000000000000LL);
  const lse_bits big = m > 1.41421356237309504880;
  m = lse_choose(big, 0.5 * m, m);
  exponent -= big; /* true is -1 */
  const lse_vec n = __builtin_convertvector(exponent, lse_vec), s = (m - 1.0) / (m + 1.0), y = s * s;
  @LOG@
  return n * LSE_LN2 + s * l;
}

/* 1/sqrt(u) for u > 0, finite and normal, by Newton's method: 3e-2, 2e-3, 5e-6, 3e-11, rounding */
LSE_INLINE lse_vec lse_inverse_root(lse_vec u)
{
  lse_vec y = (lse_vec)(0x5fe6eb50c7b537a9LL - ((lse_bits)u >> 1));
  for (int i = 0; i < 4; i++) y += y * (0.5 - 0.5 * u * y * y);
  return y;
}
#endif
"""

# exp(-|a|) is kept as a quotient N/D, so that one division serves it, both slopes and the argument of the logarithm. Where
# numbers would be below the normal ones, it is zero. $ is the number of the vector.
_SOFTPLUS = r"""
const lse_vec full$ = (lse_vec)((lse_bits)a[$] | INT64_MIN);
const lse_bits normal$ = ~(full$ < -704.0);
const lse_vec x$ = (lse_vec)((lse_bits)full$ & normal$);
const lse_vec shifted$ = x$ * LSE_LOG2E + LSE_SHIFT;
const lse_vec whole$ = shifted$ - LSE_SHIFT;
const lse_vec r$ = x$ - whole$ * LSE_LN2;
const lse_vec z$ = r$ * r$;
@COTH@
const lse_vec D$ = c$ - r$;
const lse_vec N$ = (lse_vec)(((lse_bits)(c$ + r$) + ((lse_bits)shifted$ << 52)) & normal$);
const lse_vec one$ = D$ + N$;
const lse_vec two$ = D$ + one$;
const lse_vec product$ = one$ * two$;
"""
_SOFTPLUS_RESULTS = r"""
const lse_vec u$ = N$ * inverse$;
const lse_vec small$ = u$ * two$;
const lse_vec s$ = u$ * one$;
const lse_vec large$ = 1.0 - small$;
const lse_bits negative$ = (lse_bits)a[$] < 0;
curvature[$] = small$ * large$;
slope[$] = lse_choose(negative$, small$, large$);
const lse_vec y$ = s$ * s$;
@LOG@
value[$] = s$ * l$ + (lse_vec)((lse_bits)a[$] & ~negative$);
"""


def activation_function(name: str) -> str:
    """The name in C of an activation."""
    return f"lse_{name}"


def _made_of_softplus(name: str) -> str:
    """Statements that make the activation, its slope and its curvature of those of softplus, in place."""
    f = ACTIVATIONS[name]
    s, t, c = (Symbol(f"{array}[$]") for array in ("value", "slope", "curvature"))
    results = (c, f.curvature(s, t, c)), (t, f.slope(s, t)), (s, f.value(s))  # each before what it is made of
    return "\n".join(f"{place} = {result};" for place, result in results if result is not place)


def mathematics(lanes: int) -> str:
    """The C text, for vectors of `lanes` doubles."""
    text = _TEXT.replace("@LANES@", str(lanes))
    return text.replace("@COTH@", _horner("c", "z", _COTH)).replace("@LOG@", _horner("l", "y", _LOG_RATIO))


def _horner(name: str, argument: str, coefficients: Sequence[float]) -> str:
    """C for a polynomial, one multiply-add a line."""
    last, *rest = reversed(coefficients)
    steps = [f"lse_vec {name} = {rest[0]!r} + {last!r} * {argument};"]
    return "\n".join([*steps, *(f"{name} = {a!r} + {argument} * {name};" for a in rest[1:])])


def write_activation(text: Text, name: str, count: int, lanes: int) -> str:
    """An inline function of `count` vectors at a time; its name. No two of its arrays overlap."""
    function = f"{activation_function(name)}_{count}"
    text(f"#ifndef {function.upper()}", f"#define {function.upper()}")
    head = f"LSE_INLINE void {function}(const lse_vec *a, lse_vec *restrict value, lse_vec *restrict slope,"
    head += " lse_vec *restrict curvature)"
    with text.function(head, f"{name}, its slope and its curvature"):
        groups = [range(first, min(first + TOGETHER, count)) for first in range(0, count, TOGETHER)]
        for group, before in zip([*groups, range(0)], [range(0), *groups]):  # a division beside the next exponentials
            _together(text, _SOFTPLUS, group)
            _write_inverses(text, group, 4 if lanes == 8 else 1)
            _together(text, _SOFTPLUS_RESULTS, before)
        _together(text, _made_of_softplus(name), range(count))
    text("#endif")
    return function


def _write_inverses(text: Text, vectors: range, shared: int) -> None:
    """1/product of each vector. A division of 8 doubles keeps its unit busy for 16 cycles, so that four vectors share one.

    All belong to one point, or to modes at one point: where a NaN spreads to a neighbour, the result is NaN anyway.
    """
    for first in range(vectors.start, vectors.stop, shared):
        names = [str(k) for k in range(first, min(first + shared, vectors.stop))]
        steps = []  # products of pairs, of pairs of pairs, ..
        while len(names) > 1:
            pairs = [(names[k], names[k + 1], f"{names[k]}_{names[k + 1]}") for k in range(0, len(names) - 1, 2)]
            text(*(f"const lse_vec product{both} = product{a} * product{b};" for a, b, both in pairs))
            steps.append(pairs)
            names = [both for _, _, both in pairs] + names[2 * len(pairs) :]
        text(f"const lse_vec inverse{names[0]} = 1.0 / product{names[0]};")
        for pairs in reversed(steps):
            for a, b, both in pairs:
                text(f"const lse_vec inverse{a} = inverse{both} * product{b}, inverse{b} = inverse{both} * product{a};")


def _together(text: Text, statements: str, vectors: range) -> None:
    """Each statement for all these vectors before the next statement."""
    polynomials = {"@COTH@": _horner("c$", "z$", _COTH), "@LOG@": _horner("l$", "y$", _LOG_RATIO)}
    for statement in statements.strip().splitlines():
        for line in polynomials.get(statement, statement).splitlines():
            text(*(line.replace("$", str(k)) for k in vectors))
