"""Whatever program writes the table, the samples that are read are those that were written, to the last bit."""

from dataclasses import dataclass

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lse_material import Samples, read_samples

MISSING = ("", "NaN", "nan", "NA", "N/A", "null", "-", "--", "None", "#N/A")


@dataclass(frozen=True)
class Dialect:
    """How a program writes a table."""

    separator: str
    decimal: str
    ending: str
    encoding: str
    comment: str
    comments: int
    preamble: bool
    quotes: bool
    trailing: bool
    blank_lines: bool
    missing: str
    minus: str
    exponent: str
    component: str
    letters: bool
    lower: bool
    unit: str
    index: bool
    order: int


@st.composite
def dialects(draw):
    separator = draw(st.sampled_from([",", ";", "\t", "|", " ", "   ", " ; ", ", "]))
    alone = separator.strip(" ")
    decimal = draw(st.sampled_from([".", ","])) if alone != "," else "."
    by_blanks = alone == ""
    return Dialect(
        separator=separator,
        decimal=decimal,
        ending=draw(st.sampled_from(["\n", "\r\n", "\r"])),
        encoding=draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"])),
        comment=draw(st.sampled_from(["#", "%", "!", "//", "  # "])),
        comments=draw(st.integers(0, 3)),
        preamble=draw(st.booleans()),
        quotes=draw(st.booleans()),
        trailing=not by_blanks and draw(st.booleans()),
        blank_lines=draw(st.booleans()),
        missing=draw(st.sampled_from(MISSING[1:] if by_blanks else MISSING)),
        minus=draw(st.sampled_from("-−–")),
        exponent=draw(st.sampled_from("eEdD")),
        component=draw(
            st.sampled_from(["{q}{i}{j}", "{q}_{i}{j}", "{q}_{i}_{j}", "{q}.{i}{j}", "{q}[{i}][{j}]", "{q}{{{i}{j}}}"])
        ),
        letters=draw(st.booleans()),
        lower=draw(st.booleans()),
        unit=draw(st.sampled_from(["", " [MPa]", "(MPa)", " / MPa"])),
        index=draw(st.booleans()),
        order=draw(st.integers(0, 1000)),
    )


@st.composite
def samples_of_F(draw):
    """2D or 3D, with energies, stresses in part, weights, fields and groups at will."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    n, dim = draw(st.integers(3, 8)), draw(st.sampled_from([2, 3]))
    F = np.eye(dim) + rng.uniform(-0.2, 0.2, (n, dim, dim))
    scale = 10.0 ** draw(st.integers(-12, 12))
    known = rng.random((n, dim, dim)) < draw(st.sampled_from([0.6, 1.0]))
    known[0] = True
    energy_mask = rng.random(n) < 0.8
    energy_mask[0] = True
    options = {}
    if draw(st.booleans()):
        options["weight"] = rng.uniform(0.1, 1.0, n)
    if draw(st.booleans()):
        options.update(fields=rng.uniform(0.1, 1.0, (n, 1)), field_names=("c",))
    if draw(st.booleans()):
        labels = [["a b", "sheet 1", "uniaxial"], [0, 1, -2]][draw(st.integers(0, 1))]
        options["group"] = [labels[k] for k in rng.integers(0, 3, n)]
    return Samples(
        F=F,
        energy=scale * rng.normal(size=n),
        energy_mask=energy_mask,
        stress=scale * rng.normal(size=(n, dim, dim)),
        stress_known=known,
        **options,
    )


def cell(value, dialect):
    """A number to the last bit, or a missing value."""
    if np.isnan(value):
        return dialect.missing
    text = repr(float(value)).replace("e", dialect.exponent).replace(".", dialect.decimal)
    return text.replace("-", dialect.minus, 1) if text.startswith("-") else text


def columns_of(samples, dialect):
    """Names and cells of every column, in the order of the dialect."""
    dim, n = samples.dim, len(samples)
    columns = []
    for letter, tensor in (("F", samples.F), ("P", samples.stress)):
        for i in range(dim):
            for j in range(dim):
                a, b = ("xyz"[i], "xyz"[j]) if dialect.letters else (i + 1, j + 1)
                name = dialect.component.format(q=letter, i=a, j=b)
                name = name.lower() if dialect.lower else name
                columns.append(
                    (name + (dialect.unit if letter == "P" else ""), [cell(v, dialect) for v in tensor[:, i, j]])
                )
    columns.append((("w" if dialect.lower else "W") + dialect.unit, [cell(v, dialect) for v in samples.energy]))
    if samples.weight is not None:
        columns.append(("weight", [cell(v, dialect) for v in samples.weight]))
    if samples.fields is not None:
        columns.append(("field c", [cell(v, dialect) for v in samples.fields[:, 0]]))
    if samples.group is not None:
        columns.append(("path", [str(label) for label in samples.group]))
    np.random.default_rng(dialect.order).shuffle(columns)
    return [("", [str(k) for k in range(n)]), *columns] if dialect.index else columns


def written(samples, dialect):
    columns = columns_of(samples, dialect)
    rows = [[name for name, _ in columns], *zip(*(cells for _, cells in columns))]
    by_blanks = dialect.separator.strip(" ") == ""
    lines = []
    for row in rows:
        quoted = [f'"{c}"' if dialect.quotes or (by_blanks and (" " in c or c == "")) else c for c in row]
        lines.append(dialect.separator.join(quoted) + (dialect.separator.strip(" ") if dialect.trailing else ""))
        lines += [""] if dialect.blank_lines else []
    head = [f"{dialect.comment} made by a program, step {k}" for k in range(dialect.comments)]
    head += ["Exported by a program", ""] if dialect.preamble else []
    return (dialect.ending.join([*head, *lines]) + dialect.ending).encode(dialect.encoding)


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(samples=samples_of_F(), dialect=dialects())
def test_samples_come_back_to_the_last_bit_from_any_dialect(tmp_path, samples, dialect):
    path = tmp_path / "table.txt"
    path.write_bytes(written(samples, dialect))
    back = read_samples(path)
    for name in ("F", "energy", "stress", "weight", "fields", "group", "energy_mask", "stress_known"):
        before, after = getattr(samples, name), getattr(back, name)
        assert (before is None) == (after is None), name
        if before is not None:
            np.testing.assert_array_equal(before, after, err_msg=name)
    assert back.units == ({"energy": "MPa", "stress": "MPa"} if dialect.unit else {})
    assert back.field_names == samples.field_names
