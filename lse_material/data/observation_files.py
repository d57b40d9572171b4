"""Observations from tables of mechanical tests: stretches and nominal stresses of incompressible materials."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from lse_material._arrays import Array
from lse_material.data.assigned_columns import AssignedColumns, Columns, assigned
from lse_material.data.column_names import Meaning
from lse_material.data.observations import Observations
from lse_material.data.sample_files import table_of_file
from lse_material.data.table_units import common_units, strains_without_unit
from lse_material.errors import FormatError, InvalidInputError

LARGEST = 20.0  # stretch that is believed; rubber breaks before 15
Test = Literal["uniaxial", "equibiaxial", "planar"]
_TESTS: dict[str, Test] = {  # as columns name them, without blanks, hyphens, tension, compression and test
    "uniaxial": "uniaxial",
    "ut": "uniaxial",
    "uc": "uniaxial",
    "simple": "uniaxial",
    "tensile": "uniaxial",
    "equibiaxial": "equibiaxial",
    "et": "equibiaxial",
    "eb": "equibiaxial",
    "ebt": "equibiaxial",
    "planar": "planar",
    "pureshear": "planar",
    "ps": "planar",
    "pt": "planar",
}


def read_observations(
    path: str | Path,
    *,
    test: Test | None = None,
    columns: Columns = None,
    separator: str | None = None,
    decimal: str | None = None,
    missing: str | Sequence[str] | None = None,
    sheet: str | None = None,
) -> Observations:
    """Read tests of an incompressible material: a stretch and a stress in every row, or two of each (biaxial).

    The stretch is a column `stretch` or `lambda`, or `engineering strain`. The stress is nominal, force over undeformed area,
    or Cauchy. A column with the words uniaxial, equibiaxial and planar (or pure shear) says which test a row belongs to.

    Args:
        path: a table of text, a .npz archive or a spreadsheet.
        test: which test it is, if no column says it.
        columns: what names do not tell, as in `read_samples`: {"stretch1": "l", "P11": "F/A", "group": ["source", "test"]}.
        separator: between cells, if it is not to be found.
        decimal: "." or ",", if it is not to be found.
        missing: texts that mark a missing value.
        sheet: of a spreadsheet, if several hold tables.

    Raises:
        FormatError: the table has no stretch or stress, or nothing says which test it is.
        InvalidInputError: a stretch that is not > 0.

    >>> with open("rubber.csv", "w") as file:
    ...     print("test,stretch,nominal stress MPa", "uniaxial,1.1,0.1", "planar,1.2,0.3", sep=chr(10), file=file)
    >>> lse.read_observations("rubber.csv").values
    array([0.1, 0.3])
    """
    if test not in (None, *_TESTS.values()):
        raise InvalidInputError(
            f"test is {test!r}; it must be one of {sorted(set(_TESTS.values()))}. "
            "Observations.inflation makes those of balloons."
        )
    table, columns = table_of_file(path, columns, separator=separator, decimal=decimal, missing=missing, sheet=sheet)
    given = assigned(table, columns)
    for column, found in list(given.ambiguous.items()):
        first = found[0]
        certain = first.quantity == "stretch" or len([m for m in found if m.quantity in ("P", "sigma")]) == 1
        if certain and first.quantity in ("stretch", "P", "sigma"):
            index = first.index * 2 if first.quantity != "stretch" and len(first.index) == 1 else first.index
            given.take(Meaning(first.quantity, index, first.factor), column)
        elif mechanical := tuple(m for m in found if m.quantity in ("P", "sigma")):
            given.ambiguous[column] = mechanical
    given.refuse_ambiguous("stretch", "P", "sigma")
    stretches = [_stretch(given, k) for k in (1, 2)]
    stresses = [_nominal_stress(given, k, stretch) for k, stretch in zip((1, 2), stretches)]
    if stretches[0] is None or all(stress is None for stress in stresses):
        missing_one, name = ("stretch", "stretch1") if stretches[0] is None else ("nominal stress", "P11")
        strain = ', or columns={"H11": NAME} if it is an engineering strain' if name == "stretch1" else ""
        raise FormatError(
            f"{table.source}: no column is a {missing_one}: its columns are {list(table.names)}. Say "
            f'columns={{"{name}": NAME}}{strain}.'
        )
    _refuse_opposite_signs(given, stretches[0], stresses[0])
    for index in given.parts.get("P", {}):  # nominal stresses are taken where both are there
        if index in given.parts.get("sigma", {}):
            given.leave("sigma", index)
    units = common_units(given, {}, {"P": "stress", "sigma": "stress"})
    labels = [[str(label) for label in table.labels(int(k))] for k, _ in given.parts.get("group", {}).values()]
    group = np.array(["/".join(parts) for parts in zip(*labels)]) if labels else None
    if stretches[1] is not None:
        return replace(Observations.biaxial(*stretches, *stresses, group=group), units=units)
    kinds = np.array(_tests(given, test))
    parts = []
    for kind in dict.fromkeys(kinds.tolist()):
        rows = kinds == kind
        build = getattr(Observations, kind)
        parts.append(build(stretches[0][rows], stresses[0][rows], group=kind if group is None else group[rows]))  # type: ignore[index]
    return replace(Observations.joined(parts), units=units)


def _stretch(given: AssignedColumns, axis: int) -> Array | None:
    """The stretches along an axis, if there are any."""
    for quantity, index, reference in (("stretch", (axis,), 0.0), ("H", (axis, axis), 1.0)):
        if index in given.parts.get(quantity, {}):
            strains_without_unit(given, quantity)
            values = reference + given.values(quantity, index)
            if quantity == "H" and np.nanmax(values, initial=0.0) > LARGEST:
                raise FormatError(
                    f"{given.table.source}: engineering strains up to {np.nanmax(values) - 1.0:.3g} are a stretch of "
                    f"{np.nanmax(values):.3g}. If they are in percent, write [%] behind the name of the column."
                )
            given.table.expect_whole("the stretch", values)
            return values
    return None


def _nominal_stress(given: AssignedColumns, axis: int, stretch: Array | None) -> Array | None:
    """The nominal stresses along an axis, if there are any: sigma / l for Cauchy stresses."""
    index = (axis, axis)
    if stretch is None:
        return None
    if index in given.parts.get("P", {}):
        return given.values("P", index)
    return given.values("sigma", index) / stretch if index in given.parts.get("sigma", {}) else None


def _refuse_opposite_signs(given: AssignedColumns, stretch: Array, stress: Array | None) -> None:
    """Raise FormatError if a test in one direction pulls where the material is shortened, or pushes where it is stretched."""
    work = (stretch - 1.0) * (np.nan if stress is None else stress)
    work = work[np.isfinite(work) & (work != 0.0)]
    if work.size and work.max() < 0.0:
        raise FormatError(
            f"{given.table.source}: the stress has the sign of 1 - stretch in every row. If the stretches are strains, say "
            'columns={"H11": NAME}; if compression is positive, say columns={"-P11": NAME} ("-H11" for strains).'
        )


def _tests(given: AssignedColumns, test: Test | None) -> list[Test]:
    """The test that each row belongs to."""
    table = given.table
    if test is not None:
        return [test] * len(table.lines)
    for column, cells in enumerate(table.columns):
        kinds = [_TESTS.get(re.sub(r"[\s_-]|tension|compression|test", "", str(cell).lower())) for cell in cells]
        if all(kinds) and table.names[column]:
            return [kind for kind in kinds if kind]
        if any(kinds) and table.names[column]:
            row = kinds.index(None)
            raise FormatError(
                f"{table.at_row(row)}: {cells[row]!r} in the column {table.names[column]!r} is not one of the tests "
                f"{sorted(set(_TESTS.values()))}."
            )
    raise FormatError(
        f'{table.source}: nothing tells which test it is. Say test="uniaxial", "equibiaxial" or "planar", or add a column with '
        "these words."
    )
