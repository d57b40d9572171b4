"""Samples from the columns of a table: each by its name, or by what the user says that it is."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from lse_material._arrays import Array
from lse_material.data.assigned_columns import AssignedColumns, Columns, assigned, sources_of
from lse_material.data.column_names import (
    DEFORMATIONS,
    MEANINGS,
    STRESSES,
    Meaning,
    component_names,
    is_logarithmic,
    meanings,
    name_and_unit,
)
from lse_material.data.samples import Samples
from lse_material.data.stress_measures import first_piola_kirchhoff, stretch_of, symmetric
from lse_material.data.table_reader import Table
from lse_material.data.table_units import common_units, strains_without_unit
from lse_material.errors import FormatError, InvalidInputError


@dataclass(frozen=True)
class Reading:
    """What was taken for what: `str` of it is a report to read."""

    source: str  # the file
    dialect: str = ""  # separator, decimal mark, header and rows, in words; empty for arrays
    # names of columns, each with the component that it was taken for, and what that is
    taken: tuple[tuple[str, str, str], ...] = ()
    left: tuple[str, ...] = ()  # columns that were left alone
    notes: tuple[str, ...] = ()  # conversions

    def __str__(self) -> str:
        lines = [f"{self.source}: {self.dialect}" if self.dialect else self.source]
        for meaning in dict.fromkeys(meaning for _, _, meaning in self.taken):
            columns = [(name, component) for name, component, m in self.taken if m == meaning]
            named = ", ".join(name if name == component else f"{name} ({component})" for name, component in columns)
            lines.append(f"  {meaning}: {named}")
        lines += [f"  left alone: {', '.join(self.left)}"] if self.left else []
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])


def samples_of_table(table: Table, columns: Columns = None, *, plane_strain: bool = False) -> tuple[Samples, Reading]:
    """Samples and what was taken for what. Other arguments and errors are those of `read_samples`."""
    given = assigned(table, columns)
    strain = _deformation(given, plane_strain)
    data: dict[str, Any] = {}
    if strain is not None:
        quantity, F, rotation_known = strain
        dim = 2 if plane_strain else F.shape[-1]
        try:
            _add_stress(given, data, F, rotation_known, dim)
        except InvalidInputError as error:
            raise InvalidInputError(_with_line(table, error)) from None
        if "stress" not in data:
            given.refuse_unread_stresses()
        data["F"] = F[:, :dim, :dim]
        if not rotation_known:
            given.notes.append(
                f"F is the right stretch tensor U of {quantity}: no rotation is given, and objective energies need none."
            )
    else:
        _add_potential(given, data)
    _add_energy(given, data, strain is None)
    if strain is None:
        given.refuse_fields(len(data["x"][0]))
    _add_the_rest(given, data)
    if not {"energy", "stress", "gradient"} & set(data):
        other = "stress (P11, ...)" if strain is not None else "gradient (g1, ...)"
        raise FormatError(
            f"{table.source}: no column with values is an energy (W) or a {other}: "
            f'its columns are {list(table.names)}. Say which are, by columns={{"W": NAME, ...}}.'
        )
    stresses = dict.fromkeys(STRESSES, "stress")
    data["units"] = common_units(
        given, data, {"W": "energy", **stresses, "x": "x", "g": "gradient", "field": "", "conjugate": "conjugate "}
    )
    try:
        samples = Samples(**data)
    except InvalidInputError as error:
        raise InvalidInputError(_with_line(table, error)) from None
    names = [name or f"column {k + 1}" for k, name in enumerate(table.names)]
    taken = tuple(
        (names[source], str(Meaning(quantity, index, factor)), MEANINGS[quantity])
        for quantity, parts in given.parts.items()
        for index, (source, factor) in parts.items()
        if isinstance(source, int)
    )
    left = tuple(names[k] for k in sorted({*given.left, *given.ambiguous}))
    return samples, Reading(table.source, table.dialect, taken, left, tuple(given.notes))


def _with_line(table: Table, error: Exception) -> str:
    return f"{table.source}: {error}" + (f" (Row 0 stands on line {table.lines[0]}.)" if table.dialect else "")


def _deformation(given: AssignedColumns, plane_strain: bool) -> tuple[str, Array, bool] | None:
    """The quantity that gives F, F (n, dim, dim), and whether its rotation is known; None for samples of x."""
    given.settle_displacement_gradients()
    given.settle_shears()
    found = [q for q in DEFORMATIONS if given.has(q)]
    complete = [q for q in found if _dimension(given, q, plane_strain)]
    if not complete:
        if given.has("x") and not found:
            given.refuse_ambiguous(*(q for q in DEFORMATIONS if q != "stretch"))
            return None
        alone = [given.table.names[k] for k, each in given.ambiguous.items() if each[0].quantity == "stretch"]
        if alone:
            raise FormatError(_of_stretch(given, alone))
        given.refuse_ambiguous(*DEFORMATIONS)
        raise FormatError(_no_deformation(given, found))
    quantity = complete[0]
    for other in found:
        if other != quantity:
            given.leave(other)
    given.leave("x")
    given.leave("g")
    dim = _dimension(given, quantity, plane_strain)
    strains_without_unit(given, quantity)
    if quantity == "stretch":
        given.take_principal_stresses()
        stretches = np.stack([given.values("stretch", (k,)) for k in (1, 2, 3)], axis=1)
        tensor = stretches[:, :, None] * np.eye(3)
    else:
        tensor = _tensor(given, quantity, dim, is_symmetric=quantity not in ("F", "H"))
        if plane_strain and dim == 3:
            given.notes.append("plane strain: the components 11, 12, 21, 22 of 3D columns")
    if plane_strain:
        tensor = _in_plane(given, tensor, quantity)
    for i, j in np.ndindex(tensor.shape[1:]):
        given.table.expect_whole(f"{quantity}{i + 1}{j + 1}", tensor[:, i, j])
    identity = np.eye(tensor.shape[-1])
    if quantity in ("F", "H", "U", "stretch"):
        return quantity, tensor + (identity if quantity == "H" else 0.0), quantity in ("F", "H", "stretch")
    try:
        return quantity, stretch_of(tensor if quantity == "C" else identity + 2.0 * tensor), False
    except InvalidInputError as error:
        percent = " Strains in percent have the unit % or percent in their name." if quantity == "E" else ""
        raise InvalidInputError(_with_line(given.table, error) + percent) from None


def _dimension(given: AssignedColumns, quantity: str, plane_strain: bool) -> int:
    """2 or 3 if the components are there, 0 if some are missing."""
    have = set(given.parts.get(quantity, {}))
    if quantity == "stretch":
        return 3 if have >= {(1,), (2,), (3,)} else 0
    if quantity not in ("F", "H"):
        have |= {index[::-1] for index in have if not isinstance(index, str)}
    if have >= {(i, j) for i in (1, 2, 3) for j in (1, 2, 3)}:
        return 3
    in_plane = have >= {(i, j) for i in (1, 2) for j in (1, 2)}
    return 2 if in_plane and (plane_strain or not any(3 in index for index in have)) else 0


def _no_deformation(given: AssignedColumns, found: list[str]) -> str:
    """The message for a table without a whole deformation."""
    where = f"{given.table.source}: "
    if not found:
        if ways := _orders(given):
            return f"{where}{ways}"
        if logarithmic := [name for name in given.table.names if is_logarithmic(name_and_unit(name)[0])]:
            return (
                f"{where}{logarithmic} are logarithmic strains, which are not read (their shears can be the engineer's): write "
                "the stretch U = exp(ln U), as columns U11, U22, U12, ..., or F."
            )
        return (
            f"{where}no column is a deformation gradient (F11, ...), a strain (E11, C11, U11, ...) or an input of a potential "
            f'(x1, ...): its columns are {list(given.table.names)}. Say which are, by columns={{"F11": NAME, ...}}.'
        )
    quantity = found[0]
    if quantity == "stretch":
        return _of_stretch(given, sources_of(given, "stretch"))
    have = {index for index in given.parts[quantity] if not isinstance(index, str)}
    in_3d = any(3 in index for index in have)
    size = (1, 2, 3) if in_3d else (1, 2)
    pairs = [(i, j) for i in size for j in size if quantity in ("F", "H") or i <= j]
    missing = [
        f"{quantity}{i}{j}" for i, j in pairs if (i, j) not in have and (quantity in ("F", "H") or (j, i) not in have)
    ]
    zeros = ", ".join(f'"{name}": {"..." if name[-1] == name[-2] else 0}' for name in missing)
    plane = " plane_strain=True where F33 = 1," if in_3d and {(1, 1), (2, 2)} <= have else ""
    return (
        f"{where}the columns {sources_of(given, quantity)} lack {', '.join(missing)} of the {MEANINGS[quantity]}. Say{plane} "
        f"columns={{{zeros}}}: the number that each has in every row, or the name of its column."
    )


def _orders(given: AssignedColumns) -> str:
    """The message for 4 or 9 columns of F that are numbered one after the other; empty if there are none."""
    numbered: dict[str, list[str]] = {}
    for name in given.table.names:
        if match := re.fullmatch(r"(.*?)\W?_?\d", name_and_unit(name)[0]):
            numbered.setdefault(match[1], []).append(name)
    for stem, names in numbered.items():
        dim = {4: 2, 9: 3}.get(len(names), 0)
        if dim and any(m.quantity == "F" for m in meanings(f"{stem} 11")):
            ways = [dict(zip(component_names("F", dim, transposed=k), names)) for k in (False, True)]
            return (
                f"nothing tells the order of the components {names[0]!r} to {names[-1]!r} of F. Say columns={ways[0]} or "
                f"columns={ways[1]}."
            )
    return ""


def _of_stretch(given: AssignedColumns, names: list[str]) -> str:
    """The message for a table with one stretch or two."""
    return (
        f"{given.table.source}: {names} alone do not tell the deformation. Read a test of an incompressible material by "
        'read_observations(path, test="uniaxial"), "equibiaxial" or "planar"; or say columns={"stretch1": ..., "stretch2": '
        f'..., "stretch3": ...}} (names, or numbers) for principal stretches, or columns={{"x1": "{names[0]}", "g1": ...}} for '
        "a potential of this stretch with its derivative."
    )


def _tensor(given: AssignedColumns, quantity: str, dim: int, *, is_symmetric: bool) -> Array:
    """Components (n, dim, dim), NaN where they are missing."""
    tensor = np.full((len(given.table.lines), dim, dim), np.nan)
    for i in range(dim):
        for j in range(dim):
            tensor[:, i, j] = given.values(quantity, (i + 1, j + 1))
    if is_symmetric:
        for i in range(dim):
            for j in range(i):
                try:
                    both = symmetric(tensor[:, j, i], tensor[:, i, j], quantity)
                except InvalidInputError as error:
                    raise InvalidInputError(_with_line(given.table, error)) from None
                tensor[:, i, j] = tensor[:, j, i] = both
    return tensor


def _in_plane(given: AssignedColumns, tensor: Array, quantity: str) -> Array:
    """3D components after a check that the deformation is plane; 2D components as they are, 33 checked if it is there."""
    unit = 0.0 if quantity in ("H", "E") else 1.0
    normal = tensor[:, 2, 2] if tensor.shape[-1] == 3 else given.values(quantity, (3, 3))
    wrong = np.abs(np.where(np.isfinite(normal), normal, unit) - unit)
    if tensor.shape[-1] == 3:
        wrong = np.maximum(wrong, np.abs(np.nan_to_num(tensor[:, [0, 1, 2, 2], [2, 2, 0, 1]])).max(axis=1))
    if wrong.max() > 1e-9:
        raise FormatError(
            f"{given.table.at_row(int(np.argmax(wrong)))}: the deformation is no plane strain: {quantity}33 is not {unit:g} "
            "or a shear with 3 is not 0."
        )
    return tensor


def _add_stress(given: AssignedColumns, data: dict[str, Any], F: Array, rotation_known: bool, dim: int) -> None:
    """P of the stresses of one measure; stresses of other measures are left alone."""
    found = [q for q in STRESSES if given.has(q)]
    if not found:
        given.refuse_ambiguous(*STRESSES)
        return
    in_plane = F.shape[-1] == 2
    sizes = {
        q: len({tuple(sorted(i)) if q != "P" else i for i in given.parts[q] if not (in_plane and 3 in i)})
        for q in found
    }
    whole = F.shape[-1] ** 2
    complete = [q for q in found if sizes[q] == (whole if q == "P" else (3 if in_plane else 6))]
    if not complete:
        given.refuse_ambiguous(*STRESSES)
    measure = (complete or found)[0]
    for other in found:
        if other != measure:
            given.leave(other)
    for index in list(given.parts[measure]):
        if in_plane and 3 in index:
            given.leave(measure, index)
    stress = _tensor(given, measure, F.shape[-1], is_symmetric=measure != "P")
    P = first_piola_kirchhoff(measure, stress, F, rotation_known=rotation_known)[:, :dim, :dim]
    if not np.isfinite(P).any():
        if np.isfinite(stress).any():
            raise FormatError(
                f"{given.table.source}: {sources_of(given, measure)} ({MEANINGS[measure]}) do not give any component of P "
                "where F has shears: all components are needed."
            )
        given.notes.append(f"{sources_of(given, measure)}: no row has a value")
        return
    if measure != "P":
        given.notes.append(f"P is calculated from the {MEANINGS[measure]}")
    data["stress"], data["stress_known"] = P, np.isfinite(P)


def _add_potential(given: AssignedColumns, data: dict[str, Any]) -> None:
    """Inputs and gradients of a potential."""
    for quantity, name in (("x", "x"), ("g", "gradient")):
        have = sorted(index for index in given.parts.get(quantity, {}) if not isinstance(index, str))
        if quantity == "x":
            d = len(have)
        elif not have:
            given.refuse_ambiguous("g")
            continue
        wanted = [(k + 1,) for k in range(d)]
        if have != wanted if quantity == "x" else not set(have) <= set(wanted):
            raise FormatError(
                f"{given.table.source}: {sources_of(given, quantity)} are no {name} of {d} components, numbered 1 to {d} or "
                "from 0."
            )
        values = np.stack([given.values(quantity, index) for index in wanted], axis=1)
        known = ~np.isnan(values)
        if quantity == "x":
            given.table.expect_whole("a component of x", values)
        elif known.any():
            data["stress_known"] = known
        if known.any():
            data[name] = values


def _add_energy(given: AssignedColumns, data: dict[str, Any], of_points: bool) -> None:
    if not given.has("W"):
        ambiguous = [k for k, found in given.ambiguous.items() if found[0].quantity == "W"]
        if of_points and len(ambiguous) == 1 and all(m.factor > 0.0 for m in given.ambiguous[ambiguous[0]]):
            given.take(Meaning("W"), ambiguous[0])
        else:
            given.refuse_ambiguous("W")
    if not given.has("W"):
        return
    W = given.values("W", ())
    if np.isfinite(W).any():
        data["energy"], data["energy_mask"] = W, np.isfinite(W)
    else:
        given.notes.append(f"{sources_of(given, 'W')}: no row has a value")


def _add_the_rest(given: AssignedColumns, data: dict[str, Any]) -> None:
    """Weights, groups, and fields with their conjugates."""
    given.refuse_ambiguous("field")
    table = given.table
    if given.has("weight"):
        data["weight"] = given.values("weight", ())
    if groups := [int(source) for source, _ in given.parts.get("group", {}).values()]:
        labels = [table.labels(column) for column in groups]
        data["group"] = labels[0] if len(labels) == 1 else ["/".join(map(str, parts)) for parts in zip(*labels)]
    names = tuple(str(name) for name in given.parts.get("field", {}))
    if not names:
        return
    data["field_names"] = names
    data["fields"] = np.stack([given.values("field", name) for name in names], axis=1)
    table.expect_whole("a field", data["fields"])
    conjugates = set(given.parts.get("conjugate", {}))
    if conjugates and conjugates != set(names):
        raise FormatError(
            f"{table.source}: conjugates are given of {sorted(map(str, conjugates))}, fields are {list(names)}."
        )
    if conjugates:
        data["conjugates"] = np.stack([given.values("conjugate", name) for name in names], axis=1)
