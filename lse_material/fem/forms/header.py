"""Potentials as C headers that compiled forms include: written to the cache once, found by a number in the form."""

import functools
import hashlib
import os
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dolfinx.jit

from lse_material.errors import CompilationError
from lse_material.kernel import cache_directory, point_function, point_header
from lse_material.kernel.compiler import FLAGS, compiler
from lse_material.model.soft_minimum import SoftMinimum

MATHEMATICS_FLAGS = [flag for flag in FLAGS if flag.startswith(("-fno-", "-ffp-", "-Wno-"))]
MEMORY = 3  # points remembered per potential: both sides of an interior facet; ends and middle of a step in time


@dataclass(frozen=True, eq=False)
class Numbered:
    """A potential in forms."""

    potential: SoftMinimum
    frozen: bool  # whether its second derivatives leave out that the mode weights change
    number: int  # that stands for it in forms: a hash of its weights, so that it enters their signature


_numbered: weakref.WeakValueDictionary[int, Numbered] = weakref.WeakValueDictionary()  # forms keep what they hold


def numbered(potential: SoftMinimum, *, frozen: bool = False) -> Numbered:
    """The potential with its number; whoever keeps it can be found by `by_number`."""
    number = int(point_function(potential, frozen=frozen).removeprefix("lse_"), 16)
    return _numbered.setdefault(number, Numbered(potential, frozen, number))


def by_number(number: int) -> Numbered:
    """The potential of this number that a form holds."""
    return _numbered[number]


def component_function(number: int) -> str:
    """Name of the C function `double NAME(double x0, .., double x(d-1), int code)` in the header of this potential.

    Codes: 0 is W, then dW/dx_i, then the upper triangle of d2W/dx2 row by row, then the mode weights.
    """
    return f"lse_{number:016x}_at"


def include_arguments(number: int) -> list[str]:
    """Arguments for the C compiler with which a form can call `component_function(number)`."""
    return ["-include", str(_header(number, str(cache_directory())))]


def for_this_cpu() -> dict[str, Any]:
    """DOLFINx's own options of its compiler, with the flags for this CPU."""
    arguments = dolfinx.jit.get_options()["cffi_extra_compile_args"]
    return {"cffi_extra_compile_args": [*arguments, *machine_arguments(arguments)]}


def machine_arguments(given: Sequence[str] = ()) -> list[str]:
    """Arguments for the C compiler, behind those `given`, with which element kernels are made for this CPU; they name it, as
    DOLFINx's cache may be shared by machines."""
    cpu = hashlib.sha256(compiler().macros.encode()).hexdigest()[:16]
    return [*machine_flags(given), f"-DLSE_CPU=0x{cpu}"]


def machine_flags(given: Sequence[str]) -> list[str]:
    """Flags for this CPU behind those `given`: -O3 in place of DOLFINx's -O2. Another level is the user's, and stays."""
    chosen = any(flag.startswith("-O") and flag != "-O2" for flag in given)
    flags = (flag for flag in compiler().command[1:] if flag.startswith("-"))
    return [*([] if chosen else ["-O3"]), *flags, *MATHEMATICS_FLAGS]


@functools.cache
def _header(number: int, cache: str) -> Path:
    """The header's file, written unless it is there; named by its content and the CPU, as compiled forms are kept by name."""
    text = _text(by_number(number).potential, by_number(number).frozen)
    name = hashlib.sha256("\0".join((text, *compiler().command, compiler().macros)).encode()).hexdigest()[:24]
    path = Path(cache) / f"point-{name}.h"
    if path.exists():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".h", delete=False) as file:
            file.write(text)
        os.replace(file.name, path)
    except OSError as error:
        raise CompilationError(
            f"the header of a potential cannot be written to {path.parent}: {error}. Set XDG_CACHE_HOME to a directory you "
            "can write."
        ) from None
    return path


def _text(potential: SoftMinimum, frozen: bool) -> str:
    """The header of a potential: its point function, and component by component with a memory of the last points.

    A form asks for each component by itself; the first call at a point evaluates, the others read. Points take their turns in
    the places of the memory. Once a form has asked for a second derivative it will at the next point in that place too, so
    they are computed together from then on.
    """
    name, d, modes = point_function(potential, frozen=frozen), potential.size, len(potential.modes)
    h = d * (d + 1) // 2
    values = 1 + d + h + modes
    same = " & ".join(f"(m->x[{i}] == x{i})" for i in range(d))
    arguments = ", ".join(f"double x{i}" for i in range(d))
    return (
        point_header(potential, lanes=compiler().lanes, frozen=frozen)
        + f"""
#ifndef {name.upper()}_AT
#define {name.upper()}_AT
typedef struct {{ double x[{d}]; double v[{values}]; int known, order; }} {name}_point; /* orders known: 0 is none */
static _Thread_local struct {{ {name}_point points[{MEMORY}]; int next; }} {name}_memory;

__attribute__((noinline, unused)) static double {name}_new({arguments}, int code, int order, {name}_point *m)
{{
  const double x[{d}] = {{{", ".join(f"x{i}" for i in range(d))}}};
  if (!m) {{
    m = &{name}_memory.points[{name}_memory.next];
    {name}_memory.next = ({name}_memory.next + 1) % {MEMORY};
  }}
  if (order > m->order) m->order = order;
  m->known = 1 + m->order;
  for (int i = 0; i < {d}; i++) m->x[i] = x[i];
  m->v[0] = {name}(x, m->v + {1 + d + h}, m->known > 1 ? m->v + 1 : 0, m->known > 2 ? m->v + {1 + d} : 0);
  return m->v[code];
}}

__attribute__((noinline, unused)) static double {name}_at({arguments}, int code)
{{
  const int order = code == 0 || code > {d + h} ? 0 : code > {d} ? 2 : 1;
  {name}_point *found = 0;
  for (int k = 0; k < {MEMORY}; k++) {{
    {name}_point *m = &{name}_memory.points[k];
    if ((m->known > order) & {same}) return m->v[code];
    if ((m->known > 0) & {same}) found = m;
  }}
  return {name}_new({", ".join(f"x{i}" for i in range(d))}, code, order, found);
}}
#endif
"""
    )
