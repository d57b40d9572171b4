"""A material in Fortran: W, P, A and mode weights at F, by subroutines that call nothing outside of them.

The text is right in fixed and in free form: statements in columns 7 to 72, `&` in column 73 and in column 6 of the next line.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lse_material.export.preamble import filled
from lse_material.export.recorder import Language, Recorder, recorded_activation, recorded_kinematics, recorded_mode
from lse_material.model.material import Material

_WIDTH = 72  # the last column of a statement
_AT_A_TIME = 32  # numbers in one DATA statement, which old compilers allow 19 continued lines
_NETWORK = """
! an activation v with its derivatives s and c, by those of softplus: p, t, q
subroutine NAME_activation(which, a, v, s, c)
implicit none
integer which
double precision a, v, s, c, e, u, p, t, q
e = exp(-abs(a))
u = 1.0d0 + e
p = e
if (u .gt. 1.0d0) p = log(u) * (e / (u - 1.0d0))
p = p + max(a, 0.0d0)
t = 1.0d0 / u
if (a .lt. 0.0d0) t = e / u
q = e / (u * u)
@ACTIVATIONS@
end

! psi, its gradient g and its Hessian H of a convex network at scaled x;
! layer l = 0 .. hidden has widths(l) rows, each with its part of xw, zw and b; rows: of q
subroutine NAME_network(hidden, widths, rows, which, xw, zw, b, q, x, psi, g, H)
implicit none
integer hidden, widths(0:hidden), rows, which
double precision xw(@D@,*), zw(*), b(*), q(@D@,*), x(@D@)
double precision psi, g(@D@), H(@D@,@D@)
double precision value(@WIDTH@,0:@LAST@), slope(@WIDTH@,0:@LAST@)
double precision curvature(@WIDTH@,0:@LAST@), above(@WIDTH@)
double precision jac(@D@,@WIDTH@,0:@LAST@), adjoint(@WIDTH@), a
integer l, r, c, i, j, n, m, before
n = 0
m = 0
before = 0
a = 0.0d0
do l = 0, hidden
  do r = 1, widths(l)
    n = n + 1
    a = b(n)
    do j = 1, @D@
      jac(j,r,l) = xw(j,n)
      a = a + xw(j,n) * x(j)
    end do
    do c = 1, before
      m = m + 1
      a = a + zw(m) * value(c,l-1)
      do j = 1, @D@
        jac(j,r,l) = jac(j,r,l) + zw(m) * slope(c,l-1) * jac(j,c,l-1)
      end do
    end do
    if (l .lt. hidden) then
      call NAME_activation(which, a, value(r,l), slope(r,l), curvature(r,l))
    end if
  end do
  before = widths(l)
end do
psi = a
do i = 1, @D@
  g(i) = jac(i,1,hidden)
  do j = 1, @D@
    H(i,j) = 0.0d0
  end do
end do
above(1) = 1.0d0
do l = hidden - 1, 0, -1
  m = m - widths(l+1) * widths(l)
  do c = 1, widths(l)
    adjoint(c) = 0.0d0
    do r = 1, widths(l+1)
      adjoint(c) = adjoint(c) + zw(m + (r - 1) * widths(l) + c) * above(r)
    end do
    do i = 1, @D@
      do j = 1, @D@
        H(i,j) = H(i,j) + adjoint(c) * curvature(c,l) * jac(i,c,l) * jac(j,c,l)
      end do
    end do
  end do
  do c = 1, widths(l)
    above(c) = adjoint(c) * slope(c,l)
  end do
end do
do r = 1, rows
  a = 0.0d0
  do j = 1, @D@
    a = a + q(j,r) * x(j)
  end do
  psi = psi + 0.5d0 * a * a
  do i = 1, @D@
    g(i) = g(i) + q(i,r) * a
    do j = 1, @D@
      H(i,j) = H(i,j) + q(i,r) * q(j,r)
    end do
  end do
end do
end
"""

_MODE = """
subroutine NAME_mode_@K@(x, psi, g, H)
implicit none
double precision x(@D@), psi, g(@D@), H(@D@,@D@)
@TEXT@
end
"""

_POTENTIAL = """
! W, dW/dx (g), d2W/dx2 (H) and mode weights at x
subroutine NAME_potential(x, W, g, H, weights)
implicit none
integer i, j, k, low
double precision x(@D@), W, g(@D@), H(@D@,@D@), weights(@MODES@)
double precision xh(@D@), psi(@MODES@), gk(@D@,@MODES@)
double precision Hk(@D@,@D@,@MODES@), total, s, rho
@SCALES@
rho = @RHO@
s = @ENERGY_SCALE@
do i = 1, @D@
  xh(i) = (x(i) - shift(i)) / scale(i)
end do
@CALLS@
low = 1
do k = 1, @MODES@
  if (psi(k) .lt. psi(low)) low = k
end do
total = 0.0d0
do k = 1, @MODES@
  weights(k) = exp(-(psi(k) - psi(low)) / rho)
  total = total + weights(k)
end do
do k = 1, @MODES@
  weights(k) = weights(k) / total
end do
W = s * (psi(low) - rho * log(total)) + @ENERGY_SHIFT@
do i = 1, @D@
  g(i) = 0.0d0
  do k = 1, @MODES@
    g(i) = g(i) + weights(k) * gk(i,k)
  end do
end do
do i = 1, @D@
  do j = 1, @D@
    H(i,j) = 0.0d0
    do k = 1, @MODES@
      H(i,j) = H(i,j) + weights(k) * (Hk(i,j,k) - (gk(i,k) - g(i)) * (gk(j,k) - g(j)) / rho)
    end do
    H(i,j) = H(i,j) * s / (scale(i) * scale(j))
  end do
end do
do i = 1, @D@
  g(i) = g(i) * s / scale(i)
end do
end

! x and dx/dF at F
subroutine NAME_strain(F, x, dx)
implicit none
double precision F(@DIM@,@DIM@), x(@D@), dx(@D@,@DIM@,@DIM@)
@STRAIN@
end

! sum_i g_i d2x_i/dF dF (A), and what a growth term adds to W, P and A
subroutine NAME_geometric(F, g, W, P, A)
implicit none
double precision F(@DIM@,@DIM@), g(@D@), W, P(@DIM@,@DIM@)
double precision A(@DIM@,@DIM@,@DIM@,@DIM@)
@GEOMETRIC@
end

! W per reference volume, P = dW/dF, A(i,J,k,L) = dP(i,J)/dF(k,L) and mode weights at F(i,J)
subroutine NAME_energy(F, W, P, A, weights)
implicit none
integer i, j, k, l, m, n
double precision F(@DIM@,@DIM@), W, P(@DIM@,@DIM@)
double precision A(@DIM@,@DIM@,@DIM@,@DIM@), weights(@MODES@)
double precision x(@D@), dx(@D@,@DIM@,@DIM@), g(@D@), H(@D@,@D@), growth
call NAME_strain(F, x, dx)
call NAME_potential(x, W, g, H, weights)
call NAME_geometric(F, g, growth, P, A)
W = W + growth
do i = 1, @DIM@
  do j = 1, @DIM@
    do n = 1, @D@
      P(i,j) = P(i,j) + g(n) * dx(n,i,j)
      do k = 1, @DIM@
        do l = 1, @DIM@
          do m = 1, @D@
            A(i,j,k,l) = A(i,j,k,l) + dx(n,i,j) * H(n,m) * dx(m,k,l)
          end do
        end do
      end do
    end do
  end do
end do
end
"""


def fortran_material(material: Material) -> str:
    """Statements of NAME_energy(F, W, P, A, weights) and of the subroutines that it calls; NAME stands for its name."""
    p = material.potential
    networks: list[Any] = [mode for mode in p.modes if mode.type == "ConvexNetwork"]
    names = list(dict.fromkeys(mode.activation for mode in networks))
    text = _NETWORK if networks else ""
    for i, mode in enumerate(p.modes):
        text += filled(_MODE, {"K": i + 1, "TEXT": _mode(mode, names)})
    calls = [f"call NAME_mode_{k}(xh, psi({k}), gk(1,{k}), Hk(1,1,{k}))" for k in range(1, len(p.modes) + 1)]
    replacements = {
        "ACTIVATIONS": _activations(names),
        "WIDTH": max((len(bias) for mode in networks for bias in mode.biases), default=1),
        "LAST": max((len(mode.z_weights) for mode in networks), default=0),
        "SCALES": "\n".join([data("shift", p.input_shift), data("scale", p.input_scale)]),
        "RHO": fortran_number(p.scaled_rho),
        "ENERGY_SCALE": fortran_number(p.energy_scale),
        "ENERGY_SHIFT": f"({fortran_number(p.energy_shift)})",
        "CALLS": "\n".join(calls),
        **_kinematics(material),
        "D": p.size,
        "DIM": material.dim,
        "MODES": len(p.modes),
    }
    return filled(text + _POTENTIAL, replacements)


def _kinematics(material: Material) -> dict[str, str]:
    """The bodies of NAME_strain and NAME_geometric."""
    dim = material.dim
    pairs = [f"{i},{j}" for i in range(1, dim + 1) for j in range(1, dim + 1)]
    g = [f"g({i + 1})" for i in range(material.kinematics.size)]
    k = recorded_kinematics(material, [f"F({ij})" for ij in pairs], g)
    strain = {f"x({i + 1})": value for i, value in enumerate(k.x)}
    strain |= {f"dx({i + 1},{ij})": value for i, row in enumerate(k.dx) for ij, value in zip(pairs, row)}
    more = {"W": k.energy} | {f"P({ij})": value for ij, value in zip(pairs, k.stress)}
    more |= {f"A({ij},{kl})": value for ij, row in zip(pairs, k.geometric) for kl, value in zip(pairs, row)}
    return {"STRAIN": _body(k.recorder, strain), "GEOMETRIC": _body(k.recorder, more)}


def _body(recorder: Recorder, results: dict[str, Any]) -> str:
    """Declaration and statements of what was recorded."""
    statements, count = recorder.written(results, FORTRAN)
    return "\n".join([f"double precision t({count})"] * (count > 0) + statements)


def _activations(names: Sequence[str]) -> str:
    lines = []
    for i, name in enumerate(names):
        recorder, *values = recorded_activation(name, ["p", "t", "q"])
        statements, _ = recorder.written(dict(zip("vsc", values)), FORTRAN)
        lines += [f"if (which .eq. {i}) then", *statements, "end if"]
    return "\n".join(lines)


def _mode(mode: Any, names: Sequence[str]) -> str:
    """The body of NAME_mode_k."""
    if mode.type != "ConvexNetwork":
        recorder, psi, gradient, hessian = recorded_mode(mode, [f"x({i + 1})" for i in range(mode.size)], "UMAT")
        results = {"psi": psi} | {f"g({i + 1})": value for i, value in enumerate(gradient)}
        results |= {f"H({i + 1},{j + 1})": value for (i, j), value in np.ndenumerate(hessian)}
        return _body(recorder, results)
    quadratic = np.zeros((0, mode.size)) if mode.quadratic is None else mode.quadratic
    tables = {"xw": mode.x_weights, "zw": mode.z_weights, "b": mode.biases, "q": (quadratic,)}
    return "\n".join(
        [
            "integer i",
            integers("widths", [len(bias) for bias in mode.biases], 0),
            *(data(key, [value for array in arrays for value in np.ravel(array)]) for key, arrays in tables.items()),
            f"call NAME_network({len(mode.z_weights)}, widths, {len(quadratic)}, {names.index(mode.activation)}, "
            "xw, zw, b, q, x, psi, g, H)",
        ]
    )


def fortran_number(value: float) -> str:
    """The shortest text that reads back to the same double."""
    text = repr(float(value))
    return text.replace("e", "d") if "e" in text else text + "d0"


FORTRAN = Language(fortran_number, lambda name: name, "{} ** {}", "t({})")


def laid_out(text: str) -> str:
    """Statements in columns 7 to 72, long ones continued where they have a space; lines that begin with `!` as they are."""
    lines: list[str] = []
    for line in text.splitlines():
        lines += [line] if line.startswith("!") or not line.strip() else _in_columns(line)
    return "\n".join(lines) + "\n"


def _in_columns(statement: str) -> Iterator[str]:
    line = " " * 6 + statement
    while len(line) > _WIDTH:
        cut = line.rfind(" ", 12, _WIDTH + 1)
        yield line[:cut].ljust(_WIDTH) + "&"
        line = " " * 5 + "&    " + line[cut + 1 :]
    yield line


def data(name: str, values: Any) -> str:
    """A table of doubles, declared and filled; the implied loops need an integer `i`."""
    flat = np.ravel(values) if np.size(values) else np.zeros(1)
    statements = [f"double precision {name}({len(flat)})"]
    for start in range(0, len(flat), _AT_A_TIME):
        part = flat[start : start + _AT_A_TIME]
        listed = ", ".join(fortran_number(value) for value in part)
        statements.append(f"data ({name}(i), i = {start + 1}, {start + len(part)}) / {listed} /")
    return "\n".join(statements)


def integers(name: str, values: Sequence[int], first: int = 1) -> str:
    """The same for a table of integers, whose index begins at `first`."""
    bounds = f"{first}:{first + len(values) - 1}"
    return f"integer {name}({bounds})\ndata {name} / {', '.join(str(value) for value in values)} /"
