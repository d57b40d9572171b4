"""Which column of a table is what: by what the user says, then by its name; what a name leaves open is never guessed."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lse_material._arrays import Array
from lse_material.data.column_names import (
    DEFORMATIONS,
    MEANINGS,
    STRESSES,
    Index,
    Meaning,
    component_names,
    declared,
    meanings,
    name_and_unit,
)
from lse_material.data.table_reader import Table
from lse_material.errors import FormatError, InvalidInputError

Columns = Mapping[str, Any] | Sequence[str | None] | None
SENTINELS = (999.0, 9999.0, 99999.0, 999999.0, 1e20, 1e30)  # numbers that some programs write for a missing value
SENTINEL_SIZE = 100.0  # they are suspected if the largest other value is smaller by this factor
# dimension and quantities of tables with so many columns
LAYOUTS = {5: (2, "FW"), 8: (2, "FP"), 9: (2, "FWP"), 10: (3, "FW"), 18: (3, "FP"), 19: (3, "FWP")}
ALSO_CAUCHY = {  # names beside which S is the Cauchy stress, and P minus it, for what the factors are
    "S": (
        re.compile(r"(?:DG|LE|NE)\W?[1-3]{2}|SENER|ESEDEN|(?:S\W ?)?Mises|S[xyz]|(\w+)\W+\1[1-3]{2}.*", re.IGNORECASE),
        1.0,
    ),
    "P": (re.compile(r"(?:Pot|Kin|Tot)Eng|Press|L[xyz]|[xyz](?:lo|hi)"), -1.0),
}  # of Abaqus, ANSYS and LAMMPS
SIGNED = re.compile(r"\b(?:compress|tensi|neg|pos|minus|plus)", re.IGNORECASE)  # where a unit stands
_STRESS_COMPONENT = re.compile(r"(?:stress|sigma|piola|pk[12]|kirchhoff).*?[\W_]?(?:[xyz]{2}|[0-3]{2})\W*$", re.I)


@dataclass
class AssignedColumns:
    """Columns and constants by quantity and index."""

    table: Table  # names and columns
    # quantity -> index -> column (int) or constant (float), and its factor
    parts: dict[str, dict[Index, tuple[int | float, float]]] = field(default_factory=dict)
    ambiguous: dict[int, tuple[Meaning, ...]] = field(default_factory=dict)  # column -> what it can be
    left: list[int] = field(default_factory=list)  # columns that are left alone
    unknown: list[int] = field(default_factory=list)  # those of them whose names have no meaning
    notes: list[str] = field(default_factory=list)  # what the user should know

    def add(self, meaning: Meaning, source: int | float) -> None:
        """Take a column (int) or a constant (float) for one component of a quantity."""
        parts = self.parts.setdefault(meaning.quantity, {})
        if meaning.index in parts:
            names = [self.table.names[k] for k in (parts[meaning.index][0], source) if isinstance(k, int)]
            raise FormatError(
                f"{self.table.source}: the columns {names} are both {meaning} ({MEANINGS[meaning.quantity]}). Say which one "
                f'it is by columns={{"{meaning}": "{names[-1]}"}}, and columns={{"unused": ...}} for the other.'
            )
        parts[meaning.index] = (source, meaning.factor)

    def has(self, *quantities: str) -> bool:
        """Whether one of the quantities has a component."""
        return any(self.parts.get(quantity) for quantity in quantities)

    def take(self, meaning: Meaning, column: int) -> None:
        """Take an ambiguous column for one of its meanings."""
        del self.ambiguous[column]
        self.add(meaning, column)

    def leave(self, quantity: str, index: Index | None = None) -> None:
        """Leave all columns of a quantity alone, or one of them."""
        parts = self.parts.get(quantity, {})
        for key in [index] if index is not None else list(parts):
            source, _ = parts.pop(key)
            if isinstance(source, int):
                self.left.append(source)

    def values(self, quantity: str, index: Index) -> Array:
        """The values of one component (n,), NaN where they are missing or there is no such column."""
        source, factor = self.parts.get(quantity, {}).get(index, (np.nan, 1.0))
        if not isinstance(source, int):
            return np.full(len(self.table.lines), factor * source)
        values = self.table.numbers(source)
        self._refuse_sentinels(values, self.table.names[source])
        return values if factor == 1.0 else values / (1.0 / factor)  # 95 % are 0.95 to the last bit

    def _refuse_sentinels(self, values: Array, name: str) -> None:
        known = values[np.isfinite(values)]
        for number in SENTINELS if self.table.missing is None else ():
            suspected = np.abs(known) == number
            largest = np.abs(known[~suspected]).max(initial=0.0)
            if suspected.any() and not suspected.all() and largest * SENTINEL_SIZE < number:
                text = f"{known[suspected][0]:.15g}"
                raise FormatError(
                    f"{self.table.source}: the column {name!r} has {suspected.sum()} values {text}; no other is larger than "
                    f'{largest:.3g}. Say missing=["{text}"], as it stands in the file, if it marks a missing value, and '
                    "missing=[] if it is one."
                )

    def unit(self, column: int) -> str:
        """The unit of a column, from its name or the line of units; empty if there is none."""
        return name_and_unit(self.table.names[column])[1] or (self.table.units[column] if self.table.units else "")

    def settle_shears(self) -> None:
        """Take columns whose meanings differ by a factor alone if their values are zero, or if 12 and 21 are both given."""
        by_factor = {
            k: of[0]
            for k, of in self.ambiguous.items()
            if len({(m.quantity, m.index) for m in of}) == 1 and all(m.factor > 0.0 for m in of)
        }
        for column, meaning in by_factor.items():
            transposed = any(
                m.quantity == meaning.quantity and m.index == meaning.index[::-1]
                for k, m in by_factor.items()
                if k != column
            )
            if transposed or not self.table.numbers(column).any():
                self.take(meaning, column)

    def settle_displacement_gradients(self) -> None:
        """Take columns that can be strains or F - I for F - I if their components 12 and 21 differ."""
        both = {k: found for k, found in self.ambiguous.items() if {"E", "H"} <= {m.quantity for m in found}}
        gradients = {k: next(m for m in found if m.quantity == "H") for k, found in both.items()}
        by_index = {gradient.index: k for k, gradient in gradients.items()}
        differ = any(
            index[::-1] in by_index
            and not np.array_equal(self.table.numbers(k), self.table.numbers(by_index[index[::-1]]), equal_nan=True)
            for index, k in by_index.items()
        )
        for k, gradient in gradients.items() if differ and len(by_index) == len(gradients) else ():
            self.take(gradient, k)

    def take_principal_stresses(self) -> None:
        """Take P1, sigma2, ... beside principal stretches for principal stresses, which have no shears."""
        for column, found in list(self.ambiguous.items()):
            quantity, index = found[0].quantity, found[0].index
            if quantity in STRESSES and len(index) == 1 and index[0] in (1, 2, 3):
                self.take(Meaning(quantity, (index[0], index[0]), found[0].factor), column)
                for i, j in ((1, 2), (2, 1), (1, 3), (3, 1), (2, 3), (3, 2)):
                    self.parts[quantity].setdefault((i, j), (0.0, 1.0))

    def refuse_fields(self, inputs: int) -> None:
        """Raise FormatError if a state variable beside `inputs` inputs of a potential can be one more of them."""
        for column, found in self.ambiguous.items():
            if found[0].quantity == "field":
                self.ambiguous[column] = (Meaning("x", (inputs + 1,)), Meaning("unused"))
        self.refuse_ambiguous("x")

    def refuse_unread_stresses(self) -> None:
        """Raise FormatError if a column that has no meaning is named as a component of a stress."""
        names = [self.table.names[k] for k in self.unknown]
        if unread := [name for name in names if _STRESS_COMPONENT.search(name_and_unit(name)[0])]:
            raise FormatError(
                f"{self.table.source}: the columns {unread} are named as components of a stress, but of which? Say "
                f'columns={{"P11": "{unread[0]}", ...}} (or S11, sigma11, tau11, Biot11), or columns={{"unused": {unread}}}.'
            )

    def refuse_ambiguous(self, *quantities: str) -> None:
        """Raise FormatError with the ways to read them if ambiguous columns can be one of these quantities."""
        ambiguous = {k: found for k, found in self.ambiguous.items() if any(m.quantity in quantities for m in found)}
        if not ambiguous:
            return
        column, found = next(iter(ambiguous.items()))
        name = self.table.names[column]
        if found[0].quantity in (*DEFORMATIONS, *STRESSES) and len(found[0].index) == 1:
            of = found[0].quantity
            shear = "2E23" if of == "E" else f"{of}23"
            raise FormatError(
                f"{self.table.source}: the column {name!r} can be a component of the {MEANINGS[of]} in an order that its name "
                f'does not say, or a principal value. Say columns={{"{of}11": "{name}", "{shear}": ...}}, or '
                f'columns={{"unused": "{name}"}} if it is not needed.'
            )
        ways = [f'columns={{"{m}": "{name}"}} if it is {_in_words(m)}' for m in found]
        others = [self.table.names[k] for k in list(ambiguous)[1:]]
        also = f" The same goes for {others}." if others else ""
        raise FormatError(
            f"{self.table.source}: the column {name!r} can be read in {len(ways)} ways. Say {', '.join(ways)}.{also}"
        )


def _in_words(meaning: Meaning) -> str:
    if meaning.quantity == "unused":
        return "not needed"
    multiple = {0.5: "twice a component of ", 0.5**0.5: "sqrt(2) times a component of ", -1.0: "minus "}
    return f"{multiple.get(meaning.factor, '')}the {MEANINGS[meaning.quantity]}"


def sources_of(given: AssignedColumns, quantity: str) -> list[str]:
    """The names of the columns of a quantity."""
    return [given.table.names[k] for k, _ in given.parts.get(quantity, {}).values() if isinstance(k, int)]


def assigned(table: Table, columns: Columns) -> AssignedColumns:
    """Every column of a table assigned to a quantity, ambiguous, or left alone.

    Raises FormatError: two columns are the same, or there is no header; InvalidInputError: `columns` names a column that is
    not there, or a quantity that there is not.
    """
    given = AssignedColumns(table)
    names = table.names
    used: set[int] = set()
    if columns is not None and not isinstance(columns, Mapping):
        if len(columns) != len(names):
            raise InvalidInputError(f"columns names {len(columns)} columns; {table.source} has {len(names)}.")
        used = set(range(len(names)))
        for column, name in enumerate(columns):
            if name in (None, "", "unused"):
                given.left.append(column)
            else:
                given.add(declared(str(name)), column)
    elif not any(names):
        raise FormatError(_without_names(table))
    for quantity, source in columns.items() if isinstance(columns, Mapping) else ():
        meaning = declared(quantity)
        several = source if isinstance(source, (list, tuple)) else [source]
        if len(several) > 1 and meaning.quantity not in ("group", "unused"):
            raise InvalidInputError(f"columns gives {quantity} the columns {list(source)}; it takes one.")
        for k, one in enumerate(several):
            if isinstance(one, (int, float)) and not isinstance(one, bool):
                given.add(meaning, float(one))
                continue
            column = _find(table, str(one))
            used.add(column)
            if meaning.quantity == "unused":
                given.left.append(column)
            else:
                given.add(meaning if k == 0 else Meaning("group", str(k)), column)
    _assign_by_name(given, [k for k in range(len(names)) if k not in used])
    return given


def _assign_by_name(given: AssignedColumns, columns: Sequence[int]) -> None:
    """Assign the columns that the user has not named."""
    table = given.table
    plain = {k: name_and_unit(table.names[k])[0] for k in columns}
    found = {k: meanings(name) for k, name in plain.items()}
    for k, each in found.items():
        if len(each) == 1 and SIGNED.search(name_and_unit(table.names[k])[1]):  # P11 (compression positive)
            found[k] = (*each, Meaning(each[0].quantity, each[0].index, -each[0].factor))
    if len(set(table.names)) < len(table.names):
        name = next(n for n in table.names if table.names.count(n) > 1)
        if name and found.get(table.names.index(name)):
            raise FormatError(f"{table.source}: the column {name!r} appears twice.")
    shifted: dict[int, int] = {}
    for quantities in ((*DEFORMATIONS, *STRESSES), ("x",), ("g",)):
        numbered = {
            k: m
            for k, each in found.items()
            for m in each
            if m.quantity in quantities and any(c.isdigit() for c in plain[k])
        }
        counts = Counter((m.quantity, len(m.index)) for m in numbered.values())
        from_zero = {  # E0 alone is no component of a tensor
            m.quantity
            for m in numbered.values()
            if 0 in m.index and (m.quantity in ("x", "g") or counts[m.quantity, len(m.index)] > 1)
        }
        shifted.update({k: 1 for k, m in numbered.items() if m.quantity in from_zero})
        for k, m in numbered.items() if from_zero else ():
            if m.quantity not in from_zero:  # P11 beside F00: the first component, or the one that P00 would be before
                found[k] = (m, Meaning(m.quantity, tuple(int(i) + 1 for i in m.index), m.factor))
    declared_before = {(q, index) for q, parts in given.parts.items() for index in parts}
    for k, each in found.items():
        each = tuple(
            Meaning(m.quantity, tuple(i + 1 for i in m.index), m.factor)  # counted from 0
            if k in shifted and not isinstance(m.index, str)
            else m
            for m in each
        )
        if not each or any((m.quantity, m.index) in declared_before for m in each):
            given.left.append(k)
            given.unknown += [] if each else [k]
        elif len(each) == 1:
            given.add(each[0], k)
        elif each[0].quantity == "field" and np.ptp(np.nan_to_num(table.numbers(k))) == 0.0:
            given.left.append(k)
            given.notes.append(f"{table.names[k]} is the same in every row")
        else:
            given.ambiguous[k] = each
    fields = given.parts.get("field", {})
    for k in list(given.left):  # dW/dT beside the field T
        name = re.sub(r"^d(W|psi|ψ) ?/ ?d", "", plain.get(k, ""))
        if name != plain.get(k) and name in fields and name not in given.parts.get("conjugate", {}):
            given.left.remove(k)
            given.add(Meaning("conjugate", name), k)
    for quantity, (beside, sign) in ALSO_CAUCHY.items():
        if not any(beside.fullmatch(name) for name in plain.values()):
            continue
        for index, (source, factor) in list(given.parts.get(quantity, {}).items()):
            if isinstance(source, int) and source in columns:
                del given.parts[quantity][index]
                given.ambiguous[source] = (Meaning(quantity, index, factor), Meaning("sigma", index, sign * factor))
    kirchhoff = given.parts.get("tau", {})
    if all(index[0] != index[1] for index in kirchhoff):  # tau_xy beside sigma_x is a shear of the Cauchy stress
        for index, (source, _) in list(kirchhoff.items()):
            if isinstance(source, int) and source in columns:
                del kirchhoff[index]
                given.ambiguous[source] = (Meaning("tau", index), Meaning("sigma", index))


def _find(table: Table, name: str) -> int:
    """The column of a name: as it stands, without its unit, or in other case."""
    exact, plain = list(table.names), [name_and_unit(n)[0] for n in table.names]
    lower = [[n.lower() for n in names] for names in (exact, plain)]
    for names, wanted in ((exact, name), (plain, name), (lower[0], name.lower()), (lower[1], name.lower())):
        if names.count(wanted) == 1:
            return names.index(wanted)
    raise InvalidInputError(f"columns names {name!r}, which {table.source} has not: it has {list(table.names)}.")


def _without_names(table: Table) -> str:
    """The message for a table without a header."""
    size = len(table.names)
    dim, parts = LAYOUTS.get(size, (0, ""))
    ways = []
    for transposed in (False, True) if dim else ():
        names: list[str] = []
        for part in parts:
            names += ["W"] if part == "W" else component_names(part, dim, transposed=transposed)
        ways.append(f"columns={names}")
    example = f" It can be {ways[0]}, or by columns of the tensors {ways[1]}, or others." if ways else ""
    return (
        f"{table.source}: there is no header line, so that nothing tells what the {size} columns are.{example} Name them in "
        "their order, None for those to be left alone."
    )
