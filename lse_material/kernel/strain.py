"""C functions of the strain measures, for a block of points: x(F), and P, A (or S, D) from the derivatives in x.

F, P are arrays of dim*dim vectors, row by row; A of dim^4, index [i, J, k, L]; H and D are upper triangles, row by row.
The functions translate `lse_material.kinematics` and `lse_material.growth`.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from lse_material.kernel.text import Text, total, upper_triangle
from lse_material.kinematics import MANDEL, GreenLagrange, IsotropicInvariants, Kinematics, known_measure

ROOT_HALF = float(np.sqrt(0.5))
PIOLA = (
    "LSE_FUNCTION void first_piola"
    "(double growth, const lse_vec *F, const lse_vec *g, const lse_vec *H, lse_vec *P, lse_vec *A)"
)


def write_strain(text: Text, kinematics: Kinematics, growth: bool) -> None:
    """Functions `strain`, `first_piola`, for GreenLagrange `second_piola`, and with a growth term `growth_energy`."""
    known_measure(kinematics, "C (the Material itself evaluates it with NumPy)")
    if growth or isinstance(kinematics, IsotropicInvariants):
        _write_volume(text, kinematics.dim)
    if growth:
        head = "LSE_INLINE lse_vec growth_energy(double growth, const lse_vec *F)"
        with text.function(head, "growth * (J - 1 - log J)"):
            text(f"lse_vec cofactor[{kinematics.dim**2}];", "const lse_vec J = volume(F, cofactor);")
            text("return growth * (J - 1.0 - log_volume(J));")
    if isinstance(kinematics, IsotropicInvariants):
        _write_invariants(text, kinematics, growth)
    else:
        _write_linear(text, kinematics, growth)
    if isinstance(kinematics, GreenLagrange):
        _write_second_piola(text, kinematics.dim, growth)


def _entry(i: int, J: int, dim: int) -> int:
    return i * dim + J


def cofactor_terms(dim: int) -> list[list[tuple[int, int, int]]]:
    """Entry by entry, dJ/dF as a sum of sign * F[a] * F[b]; in 2D b is -1 for a missing factor."""
    if dim == 2:
        return [[(1, 3, -1)], [(-1, 2, -1)], [(-1, 1, -1)], [(1, 0, -1)]]
    terms = []
    for i, J in product(range(3), repeat=2):
        a, b, c, e = (i + 1) % 3, (i + 2) % 3, (J + 1) % 3, (J + 2) % 3
        terms.append([(1, _entry(a, c, 3), _entry(b, e, 3)), (-1, _entry(a, e, 3), _entry(b, c, 3))])
    return terms


def second_volume_term(i: int, J: int, k: int, L: int, dim: int) -> str | None:
    """C expression of d2J/dF_iJ dF_kL, None where it is zero."""
    for sign, a, b in cofactor_terms(dim)[_entry(i, J, dim)]:
        mark = "" if sign > 0 else "-"
        for one, other in ((a, b), (b, a)):
            if one == _entry(k, L, dim):
                return f"{mark}1.0" if other < 0 else f"{mark}F[{other}]"
    return None


def _write_volume(text: Text, dim: int) -> None:
    def factors(a: int, b: int) -> str:
        return f"F[{a}]" if b < 0 else f"F[{a}] * F[{b}]"

    with text.function(
        "LSE_INLINE lse_vec volume(const lse_vec *F, lse_vec *cofactor)", "J, NaN unless > 0, and dJ/dF"
    ):
        for n, terms in enumerate(cofactor_terms(dim)):
            signed = [("" if sign > 0 else "-") + factors(a, b) for sign, a, b in terms]
            text(f"cofactor[{n}] = {total(signed).replace('+ -', '- ')};")
        text(f"const lse_vec J = {total([f'F[{n}] * cofactor[{n}]' for n in range(dim)])};")
        text('return lse_choose(J > 0.0, J, lse_fill(__builtin_nan("")));')
    with text.function("LSE_INLINE lse_vec log_volume(lse_vec J)", "log J; NaN stays"):
        text("return lse_choose(J > 0.0, lse_log(J), J);")


def _write_linear(text: Text, kinematics: Kinematics, growth: bool) -> None:
    """Green-Lagrange and small strain: x is (the Mandel form of) a symmetric tensor conjugate to S."""
    dim, finite = kinematics.dim, isinstance(kinematics, GreenLagrange)
    pairs, d = MANDEL[dim], kinematics.size
    at = {pair: n for n, (a, b) in enumerate(pairs) for pair in ((a, b), (b, a))}
    factor = [1.0 if a == b else ROOT_HALF for a, b in pairs]
    triangle = upper_triangle(d)
    place = {pair: n for n, (p, q) in enumerate(triangle) for pair in ((p, q), (q, p))}
    with text.function("LSE_INLINE void strain(const lse_vec *F, lse_vec *x)", "strain in Mandel order"):
        for n, (a, b) in enumerate(pairs):
            if finite:
                value = total([f"F[{_entry(m, a, dim)}] * F[{_entry(m, b, dim)}]" for m in range(dim)])
                text(f"x[{n}] = 0.5 * ({value} - 1.0);" if a == b else f"x[{n}] = {ROOT_HALF!r} * ({value});")
            elif a == b:
                text(f"x[{n}] = F[{_entry(a, a, dim)}] - 1.0;")
            else:
                text(f"x[{n}] = {ROOT_HALF!r} * (F[{_entry(a, b, dim)}] + F[{_entry(b, a, dim)}]);")
    head = PIOLA
    with text.function(head, "P and (unless NULL) A from gradient and Hessian in x; adds the growth term"):
        text(*(f"const lse_vec S{n} = {f!r} * g[{n}];" for n, f in enumerate(factor)))
        for i, J in product(range(dim), repeat=2):
            rows = [f"F[{_entry(i, m, dim)}] * S{at[m, J]}" for m in range(dim)] if finite else [f"S{at[i, J]}"]
            text(f"P[{_entry(i, J, dim)}] = {total(rows)};")
        with text.braces("if (A)"):
            for n, (p, q) in enumerate(triangle):
                text(f"const lse_vec D{n} = {factor[p] * factor[q]!r} * H[{n}];")
            for i, J in product(range(dim), repeat=2):
                if finite:  # half[q] = F_iM D_(MJ)q
                    for q in range(d):
                        value = total([f"F[{_entry(i, m, dim)}] * D{place[at[m, J], q]}" for m in range(dim)])
                        text(f"const lse_vec half{i}{J}{q} = {value};")
                for k, L in product(range(dim), repeat=2):
                    row, column = _entry(i, J, dim), _entry(k, L, dim)
                    if row > column:
                        text(f"A[{row * dim**2 + column}] = A[{column * dim**2 + row}];")
                        continue
                    if finite:
                        terms = [f"half{i}{J}{at[m, L]} * F[{_entry(k, m, dim)}]" for m in range(dim)]
                        terms += [f"S{at[J, L]}"] if i == k else []
                    else:
                        terms = [f"D{place[at[i, J], at[k, L]]}"]
                    text(f"A[{row * dim**2 + column}] = {total(terms)};")
        if growth:
            text(f"lse_vec cofactor[{dim**2}];", "const lse_vec J = volume(F, cofactor), inverse = 1.0 / J;")
            text("const lse_vec first = growth * (1.0 - inverse), second = growth * inverse * inverse;")
            text(*(f"P[{n}] += first * cofactor[{n}];" for n in range(dim**2)))
            with text.braces("if (A)"):
                _write_volume_tangent(text, dim)
        else:
            text("(void)growth;")


def _write_volume_tangent(text: Text, dim: int) -> None:
    """A += second * cofactor x cofactor + first * d2J/dF dF."""
    for i, J, k, L in product(range(dim), repeat=4):
        row, column = _entry(i, J, dim), _entry(k, L, dim)
        term = second_volume_term(i, J, k, L, dim)
        extra = f" + first * ({term})" if term else ""
        text(f"A[{row * dim**2 + column}] += second * cofactor[{row}] * cofactor[{column}]{extra};")


def _write_second_piola(text: Text, dim: int, growth: bool) -> None:
    pairs = MANDEL[dim]
    d, n2 = len(pairs), dim**2
    head = "LSE_FUNCTION void second_piola(double growth, const lse_vec *F, lse_vec *S, lse_vec *D)"
    comment = "S and D (unless NULL) come in as gradient and Hessian in x, in Mandel order; adds the growth term"
    with text.function(head, comment):
        if not growth:
            text("(void)growth, (void)F, (void)S, (void)D;")
            return
        text(f"lse_vec cofactor[{n2}];", "const lse_vec J = volume(F, cofactor), inverse = 1.0 / J;")
        # C^-1 = (cof F)^T (cof F) / J^2, because F^-T = cof F / J
        text("const lse_vec square = inverse * inverse;")
        for n, (a, b) in enumerate(pairs):
            value = total([f"cofactor[{_entry(m, a, dim)}] * cofactor[{_entry(m, b, dim)}]" for m in range(dim)])
            text(f"const lse_vec C{n} = ({value}) * square;")
        at = {pair: n for n, (a, b) in enumerate(pairs) for pair in ((a, b), (b, a))}
        weight = [1.0 if a == b else float(np.sqrt(2.0)) for a, b in pairs]
        text(*(f"S[{n}] += ({weight[n]!r} * growth) * (J - 1.0) * C{n};" for n in range(d)))
        with text.braces("if (D)"):
            for n, (p, q) in enumerate(upper_triangle(d)):
                (a, b), (c, e) = pairs[p], pairs[q]
                value = f"J * C{p} * C{q} - (J - 1.0) * (C{at[a, c]} * C{at[b, e]} + C{at[a, e]} * C{at[b, c]})"
                text(f"D[{n}] += ({weight[p] * weight[q]!r} * growth) * ({value});")


def _write_invariants(text: Text, kinematics: IsotropicInvariants, growth: bool) -> None:
    dim, n2 = kinematics.dim, kinematics.dim**2
    plane = 1.0 if dim == 2 else 0.0
    pairs = [(a, b) for a, b in product(range(dim), repeat=2)]

    def gram(a: int, b: int) -> str:
        return total([f"F[{_entry(m, a, dim)}] * F[{_entry(m, b, dim)}]" for m in range(dim)])

    head = "LSE_INLINE lse_vec invariants(const lse_vec *F, lse_vec *cofactor, lse_vec *C, lse_vec *I, lse_vec *root)"
    with text.function(head, "J, C = F^T F, I1 and I2, and J^(-1/3)"):
        text("const lse_vec J = volume(F, cofactor);")
        text(*(f"C[{_entry(a, b, dim)}] = {gram(a, b)};" for a, b in pairs))
        text(f"I[0] = {total([f'C[{_entry(a, a, dim)}]' for a in range(dim)])} + {plane};")
        text(f"I[1] = 0.5 * (I[0] * I[0] - ({total([f'C[{n}] * C[{n}]' for n in range(n2)])}) - {plane});")
        text("const lse_vec y = lse_exp(log_volume(J) * (-1.0 / 3));")
        text("*root = y + y * (1.0 - J * y * y * y) * (1.0 / 3); /* one step of Newton's method */", "return J;")
    with text.function(
        "LSE_INLINE void strain(const lse_vec *F, lse_vec *x)", "isochoric invariants and volume change"
    ):
        text(f"lse_vec cofactor[{n2}], C[{n2}], I[2], y;", "const lse_vec J = invariants(F, cofactor, C, I, &y);")
        text("const lse_vec y2 = y * y;", "x[0] = y2 * I[0] - 3.0;", "x[1] = y2 * y2 * I[1] - 3.0;")
        text("x[2] = (J - 1.0) * (J - 1.0);" if kinematics.squared_volume else "x[2] = J - 1.0;")
    head = PIOLA
    with text.function(head, "P and (unless NULL) A from gradient and Hessian in x; adds the growth term"):
        text(f"lse_vec cofactor[{n2}], C[{n2}], I[2], y;", "const lse_vec J = invariants(F, cofactor, C, I, &y);")
        text("const lse_vec inverse = 1.0 / J, y2 = y * y, y4 = y2 * y2;")
        text("/* dx = slope * (dI1 or dI2) + turn * dJ */")
        text("const lse_vec turn0 = (-2.0 / 3) * y2 * inverse * I[0], turn1 = (-4.0 / 3) * y4 * inverse * I[1];")
        text(
            "const lse_vec turn2 = 2.0 * (J - 1.0);"
            if kinematics.squared_volume
            else "const lse_vec turn2 = lse_fill(1.0);"
        )
        text(f"lse_vec dI2[{n2}];")
        for i, J in pairs:
            value = total([f"F[{_entry(i, m, dim)}] * C[{_entry(m, J, dim)}]" for m in range(dim)])
            n = _entry(i, J, dim)
            text(f"dI2[{n}] = 2.0 * (I[0] * F[{n}] - ({value}));")
        text("lse_vec first = g[0] * turn0 + g[1] * turn1 + g[2] * turn2; /* slope in J at fixed I1, I2 */")
        if growth:
            text("first += growth * (1.0 - inverse);")
        else:
            text("(void)growth;")
        for n in range(n2):
            text(f"P[{n}] = (2.0 * g[0] * y2) * F[{n}] + (g[1] * y4) * dI2[{n}] + first * cofactor[{n}];")
        text("if (!A) return;")
        text("lse_vec second = inverse * inverse * ((10.0 / 9) * g[0] * y2 * I[0] + (28.0 / 9) * g[1] * y4 * I[1]);")
        if kinematics.squared_volume:
            text("second += 2.0 * g[2];")
        if growth:
            text("second += growth * inverse * inverse;")
        text("const lse_vec mixed1 = (-4.0 / 3) * g[0] * y2 * inverse, mixed2 = (-4.0 / 3) * g[1] * y4 * inverse;")
        text(f"lse_vec dx[3][{n2}], Hdx[3][{n2}], cross[{n2}];", f"for (int n = 0; n < {n2}; n++)")
        with text.braces():
            text("dx[0][n] = (2.0 * y2) * F[n] + turn0 * cofactor[n];", "dx[1][n] = y4 * dI2[n] + turn1 * cofactor[n];")
            text("dx[2][n] = turn2 * cofactor[n];")
            for p, entries in enumerate(((0, 1, 2), (1, 3, 4), (2, 4, 5))):
                text(f"Hdx[{p}][n] = {total([f'H[{k}] * dx[{q}][n]' for q, k in enumerate(entries)])};")
            text("cross[n] = mixed1 * F[n] + mixed2 * dI2[n] + (0.5 * second) * cofactor[n];")
        text(f"lse_vec B[{n2}]; /* F F^T */")
        for a, b in pairs:
            value = total([f"F[{_entry(a, m, dim)}] * F[{_entry(b, m, dim)}]" for m in range(dim)])
            text(f"B[{_entry(a, b, dim)}] = {value};")
        text(
            "const lse_vec one = 2.0 * g[0] * y2, two = 2.0 * g[1] * y4; /* weights of the second derivatives of I1, I2 */"
        )
        for i, J, k, L in product(range(dim), repeat=4):
            row, column = _entry(i, J, dim), _entry(k, L, dim)
            if row > column:
                text(f"A[{row * n2 + column}] = A[{column * n2 + row}];")
                continue
            d2 = [f"2.0 * F[{row}] * F[{column}]", f"- F[{_entry(i, L, dim)}] * F[{_entry(k, J, dim)}]"]
            d2 += [f"- C[{_entry(J, L, dim)}]"] if i == k else []
            d2 += [f"- B[{_entry(i, k, dim)}]"] if J == L else []
            d2 += ["I[0]"] if row == column else []
            terms = [f"dx[{p}][{row}] * Hdx[{p}][{column}]" for p in range(3)]
            terms += [f"two * ({total(d2)})".replace("+ -", "-")]
            terms += [f"cross[{row}] * cofactor[{column}]", f"cofactor[{row}] * cross[{column}]"]
            terms += ["one"] if row == column else []
            second = second_volume_term(i, J, k, L, dim)
            terms += [f"first * ({second})"] if second else []
            text(f"A[{row * n2 + column}] = {total(terms)};")
