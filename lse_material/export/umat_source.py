"""A material as one Fortran file that calls nothing: UMAT of Abaqus, and the user subroutine of CalculiX."""

from lse_material.errors import InvalidInputError
from lse_material.export.fortran_source import fortran_material, integers, laid_out
from lse_material.export.preamble import description, filled
from lse_material.model.material import Material
from lse_material.model.soft_minimum import SoftMinimum

_CLEAR = """do n = 1, 6
  s(n) = 0.0d0
  do m = 1, 6
    D(n,m) = 0.0d0
  end do
end do"""
_FINITE = """
! W, the Cauchy stress s and the tangent D of the Jaumann rate of the Kirchhoff stress, divided by J;
! as Abaqus: 11, 22, 33, 12, 13, 23, D with shear strains of engineers; NaN where J <= 0
subroutine NAME_cauchy(F, W, s, D, weights)
implicit none
integer i, j, k, l, m, n, q
double precision F(@DIM@,@DIM@), W, s(6), D(6,6), P(@DIM@,@DIM@), A(@DIM@,@DIM@,@DIM@,@DIM@)
double precision weights(@MODES@), tau(@DIM@,@DIM@), c(@DIM@,@DIM@,@DIM@,@DIM@), J3, one(3,3)
@PAIRS@
data one / 1.0d0, 3*0.0d0, 1.0d0, 3*0.0d0, 1.0d0 /
call NAME_energy(F, W, P, A, weights)
J3 = @VOLUME@
if (.not. (J3 .gt. 0.0d0)) then
  J3 = sqrt(-1.0d0 - abs(J3))
  W = J3
end if
do i = 1, @DIM@
  do j = 1, @DIM@
    tau(i,j) = 0.0d0
    do m = 1, @DIM@
      tau(i,j) = tau(i,j) + P(i,m) * F(j,m)
    end do
    do k = 1, @DIM@
      do l = 1, @DIM@
        c(i,j,k,l) = 0.0d0
        do m = 1, @DIM@
          do n = 1, @DIM@
            c(i,j,k,l) = c(i,j,k,l) + A(i,m,k,n) * F(j,m) * F(l,n)
          end do
        end do
      end do
    end do
  end do
end do
@CLEAR@
do n = 1, @COUNT@
  i = first(n)
  j = second(n)
  s(place(n)) = 0.5d0 * (tau(i,j) + tau(j,i)) / J3
  do m = 1, @COUNT@
    k = first(m)
    l = second(m)
    q = place(m)
    D(place(n),q) = c(i,j,k,l) + c(i,j,l,k) + c(j,i,k,l) + c(j,i,l,k)
    D(place(n),q) = D(place(n),q) + tau(i,l) * one(j,k) + tau(i,k) * one(j,l)
    D(place(n),q) = D(place(n),q) + tau(j,l) * one(i,k) + tau(j,k) * one(i,l)
    D(place(n),q) = 0.25d0 * D(place(n),q) / J3
  end do
end do
end
"""

_SMALL = """
! W, stress s = dW/de and tangent D at the small strain e;
! as Abaqus: 11, 22, 33, 12, 13, 23, e and D with shear strains of engineers
subroutine NAME_small(e, W, s, D, weights)
implicit none
integer i, j, k, l, m, n
double precision e(6), W, s(6), D(6,6), F(@DIM@,@DIM@), P(@DIM@,@DIM@), A(@DIM@,@DIM@,@DIM@,@DIM@)
double precision weights(@MODES@)
@PAIRS@
do n = 1, @COUNT@
  i = first(n)
  j = second(n)
  F(i,j) = 0.5d0 * e(place(n))
  if (i .eq. j) F(i,j) = 1.0d0 + e(place(n))
  F(j,i) = F(i,j)
end do
call NAME_energy(F, W, P, A, weights)
@CLEAR@
do n = 1, @COUNT@
  i = first(n)
  j = second(n)
  s(place(n)) = 0.5d0 * (P(i,j) + P(j,i))
  do m = 1, @COUNT@
    k = first(m)
    l = second(m)
    D(place(n),place(m)) = 0.25d0 * (A(i,j,k,l) + A(i,j,l,k) + A(j,i,k,l) + A(j,i,l,k))
  end do
end do
end
"""

_UMAT = """
subroutine UMAT(stress, statev, ddsdde, sse, spd, scd, rpl, ddsddt, drplde, drpldt, stran, dstran, time, dtime, temp, \
dtemp, predef, dpred, cmname, ndi, nshr, ntens, nstatv, props, nprops, coords, drot, pnewdt, celent, dfgrd0, dfgrd1, noel, \
npt, layer, kspt, jstep, kinc)
implicit none
character*80 cmname
integer ndi, nshr, ntens, nstatv, nprops, noel, npt, layer, kspt, jstep(4), kinc, i, j
double precision stress(ntens), statev(*), ddsdde(ntens,ntens), sse, spd, scd, rpl, ddsddt(*), drplde(*), drpldt
double precision stran(ntens), dstran(ntens), time(2), dtime, temp, dtemp, predef(*), dpred(*), props(*), coords(3)
double precision drot(3,3), pnewdt, celent, dfgrd0(3,3), dfgrd1(3,3), s(6), D(6,6), weights(@MODES@)
@UMAT@
if (.not. (abs(sse) .le. huge(sse))) pnewdt = 0.25d0
do i = 1, min(nstatv, @MODES@)
  statev(i) = weights(i)
end do
do i = 1, ntens
  stress(i) = s(i)
  do j = 1, ntens
    ddsdde(i,j) = D(i,j)
  end do
end do
end
"""

_CALCULIX = """
! of CalculiX: second Piola-Kirchhoff stress and its derivative in the Green-Lagrange strain (11, 22, 33, 12, 13, 23)
subroutine umat_user(amat, iel, iint, kode, elconloc, emec, emec0, beta, xokl, voj, xkl, vj, ithermal, t1l, dtime, time, \
ttime, icmd, ielas, mi, nstate_, xstateini, xstate, stre, stiff, iorien, pgauss, orab, pnewdt, ipkon)
implicit none
character*80 amat
integer iel, iint, kode, ithermal(*), icmd, ielas, mi(*), nstate_, iorien, ipkon(*), n, m, p
double precision elconloc(*), emec(6), emec0(6), beta(6), xokl(3,3), voj, xkl(3,3), vj, t1l, dtime, time, ttime
double precision xstateini(*), xstate(nstate_,mi(1),*), stre(6), stiff(21), pgauss(3), orab(7,*), pnewdt
double precision W, s(6), D(6,6), weights(@MODES@)
@CALCULIX@
p = 0
do n = 1, 6
  stre(n) = s(n)
  do m = 1, n
    p = p + 1
    if (icmd .ne. 3) stiff(p) = D(m,n)
  end do
end do
do n = 1, min(nstate_, @MODES@)
  xstate(n,iint,iel) = weights(n)
end do
if (.not. (abs(W) .le. huge(W))) pnewdt = 0.25d0
end
"""

_SECOND_PIOLA = """
! W, the second Piola-Kirchhoff stress s and D = ds/dE
subroutine NAME_second_piola(F, W, s, D, weights)
implicit none
integer i, j, k, l, m, n, a, b
double precision F(3,3), W, s(6), D(6,6), P(3,3), A4(3,3,3,3), weights(@MODES@), G(3,3), J3, c, T(3,3)
@PAIRS@
call NAME_energy(F, W, P, A4, weights)
J3 = @VOLUME@
if (.not. (J3 .gt. 0.0d0)) W = sqrt(-1.0d0 - abs(J3))
do i = 1, 3
  j = mod(i, 3) + 1
  k = mod(j, 3) + 1
  do a = 1, 3
    b = mod(a, 3) + 1
    l = mod(b, 3) + 1
    G(a,i) = (F(j,b) * F(k,l) - F(j,l) * F(k,b)) / J3
  end do
end do
do i = 1, 3
  do j = 1, 3
    T(i,j) = G(i,1) * P(1,j) + G(i,2) * P(2,j) + G(i,3) * P(3,j)
  end do
end do
do n = 1, 6
  i = first(n)
  j = second(n)
  s(place(n)) = 0.5d0 * (T(i,j) + T(j,i))
  do m = 1, 6
    k = first(m)
    l = second(m)
    c = 0.0d0
    do a = 1, 3
      do b = 1, 3
        c = c + G(i,a) * G(k,b) * A4(a,j,b,l)
      end do
      c = c - G(i,a) * G(k,a) * T(j,l)
    end do
    D(place(n),place(m)) = c
  end do
end do
end
"""


_LONGEST = 48  # letters of a name; Fortran takes 63, with what is appended to it
_VOLUME = {
    2: "F(1,1) * F(2,2) - F(1,2) * F(2,1)",
    3: "F(1,1) * (F(2,2) * F(3,3) - F(2,3) * F(3,2)) + F(1,2) * (F(2,3) * F(3,1) - F(2,1) * F(3,3)) "
    "+ F(1,3) * (F(2,1) * F(3,2) - F(2,2) * F(3,1))",
}
_PAIRS = {2: [(1, 1), (2, 2), (1, 2)], 3: [(1, 1), (2, 2), (3, 3), (1, 2), (1, 3), (2, 3)]}  # as Abaqus orders them
_PLACES = {2: [1, 2, 4], 3: [1, 2, 3, 4, 5, 6]}
_ELEMENTS = {
    2: """if (ntens .ne. 4 .or. ndi .ne. 3) then
  error stop 'UMAT: 2D materials take plane strain elements'
end if
if (abs(dfgrd1(3,3) - 1.0d0) .gt. 1.0d-6) then
  error stop 'UMAT: F33 must be 1: plane strain'
end if
""",
    3: """if (ndi .ne. 3) then
  error stop 'UMAT: no plane stress elements, shells or beams'
end if
""",
}
_FROM_STRAN = """do i = 1, 6
  e(i) = 0.0d0
  if (i .le. ntens) e(i) = stran(i) + dstran(i)
end do
call NAME_small(e, sse, s, D, weights)"""
_FROM_EMEC = """do n = 1, 6
  e(n) = emec(n)
  if (n .gt. 3) e(n) = 2.0d0 * emec(n)
end do
call NAME_small(e, W, s, D, weights)"""
_FROM_DFGRD1 = """do i = 1, @DIM@
  do j = 1, @DIM@
    F(i,j) = dfgrd1(i,j)
  end do
end do
call NAME_cauchy(F, sse, s, D, weights)"""
_CONVENTIONS = {
    True: "Finite strain: STRESS is the Cauchy stress at DFGRD1, DDSDDE the tangent of the Jaumann rate of J STRESS, over J.",
    False: "Small strain: STRESS = dW/de and DDSDDE = d2W/de2 at e = STRAN + DSTRAN, for steps without NLGEOM.",
}


def umat_source(material: Material | SoftMinimum, name: str) -> str:
    """Fortran text with UMAT of Abaqus, for 3D also umat_user of CalculiX, and below them NAME_energy(F, W, P, A, weights)."""
    if len(name) > _LONGEST:
        raise InvalidInputError(f"the name {name!r} is too long for Fortran: {_LONGEST} letters at most.")
    if not isinstance(material, Material):
        raise InvalidInputError("a plain potential has no strain measure, which a UMAT needs: make a Material of it.")
    text = filled(fortran_material(material) + _interfaces(material), {"DIM": material.dim, "MODES": material.modes})
    return "".join(f"! {line}\n" for line in _head(material, name)) + laid_out(text.replace("NAME", name))


def _head(material: Material, name: str) -> list[str]:
    lines = [
        *description(material, name),
        _CONVENTIONS[material.kinematics.objective],
        f"SSE is W per reference volume. *DEPVAR {material.modes}: the state variables are the mode weights.",
    ]
    if material.dim == 2:
        lines.append("Plane strain (NTENS = 4). The stress across the plane is unknown to a 2D material and left 0.")
        return lines
    return [
        *lines,
        "CalculiX: call the material USER..., with *USER MATERIAL, CONSTANTS=0 or more, and put this file in the place of",
        "umat.f and umat_user.f. (Its ABAQUSNL interface wants stresses in a corotated frame, which UMAT does not give.)",
    ]


def _interfaces(material: Material) -> str:
    """The subroutines that the codes call, and what they need beside NAME."""
    dim, objective = material.dim, material.kinematics.objective
    text = _FINITE if objective else _SMALL
    local = f"double precision F({dim},{dim})\n" if objective else "double precision e(6)\n"
    umat = local + _ELEMENTS[dim] + (_FROM_DFGRD1 if objective else _FROM_STRAN)
    text += _UMAT.replace("@UMAT@", umat)
    if dim == 3:
        found = "call NAME_second_piola(xkl, W, s, D, weights)" if objective else local + _FROM_EMEC
        text += (_SECOND_PIOLA if objective else "") + _CALCULIX.replace("@CALCULIX@", found)
    first, second = zip(*_PAIRS[dim])
    pairs = [integers("first", first), integers("second", second), integers("place", _PLACES[dim])]
    entries = {"PAIRS": "\n".join(pairs), "COUNT": len(first), "VOLUME": _VOLUME[dim], "CLEAR": _CLEAR}
    return filled(text, entries)
