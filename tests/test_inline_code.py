"""Inline code of the documentation names what exists, and calls it with arguments that it takes."""

import ast
from pathlib import Path

import pytest

from lse_material import read_samples
from lse_material.data.column_names import FIELDS
from tests.inline_code import ROOT, MissingError, check, spans

PAGES = [
    *sorted((ROOT / "docs").glob("*.md")),
    *(ROOT / f"{name}.md" for name in ("README", "ARCHITECTURE", "CONTRIBUTING")),
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_inline_code_names_what_exists_and_calls_it_as_it_can_be_called(page: Path):
    wrong = []
    for span in spans(page.read_text()):
        try:
            check(span)
        except MissingError as error:
            wrong.append(f"`{span}`: {error}")
    assert wrong == []


def test_pages_hold_many_names_that_are_looked_up():
    known = {page.stem: sum(check(span) for span in spans(page.read_text())) for page in PAGES}
    assert sum(known.values()) > 100
    for page in ("own_script", "trouble", "own_data", "README", "ARCHITECTURE"):
        assert known[page] >= 8, page


@pytest.mark.parametrize(
    "span",
    [
        "lse.fem.jit_options()",  # it takes the form
        "jit_options=lse.fem.jit_options()",
        "lse.fem.energies(material, F)",
        "lse.fem.energy(material, F, field=[c])",
        "lse_material.fem.solve.stability.stable(problem)",
        "lse_material.fem.stable",
        "LoadPath(perturbationsize=...)",
        "Architecture(mode=2)",
        "Training(process=)",
        "ConvexNetwork.of_arrays",
        "result.doubt()",
        "lse.plotting.discovery_path(result)",
        "result.material.store(path)",
        "material.training_box.excess()",
        "problem.solvers",
        "EnergieProblem",
        "stressfree=True",
        "fem.stabilities",
        "fem/operators.py",
        "benchmarks/nothing.py",
    ],
)
def test_wrong_inline_code_is_found(span):
    with pytest.raises(MissingError):
        check(span)


@pytest.mark.parametrize(
    "span",
    [
        "lse.fem.jit_options(form)",
        "LoadPath(perturbation_size=...)",
        "Sparsity(tolerance=)",
        "lse.save(result.material, path)",
        "material.training_box.excess(x)",
        "problem.solver",
        "ufl.inner(P.operator, ufl.grad(v)) * P.dx",
        "expanded=True",
        "fem/forms/operator.py",
        "resume()",
    ],
)
def test_right_inline_code_is_known(span):
    assert check(span) > 0


def docstrings():
    """The inline code of each module of the package, by its path; exported files speak of their own functions."""
    for path in sorted((ROOT / "lse_material").rglob("*.py")):
        if path.parent.name == "export":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                for span in spans((ast.get_docstring(node) or "").replace("``", "")):
                    yield path, span


def test_inline_code_of_docstrings_names_what_exists():
    wrong, known = [], 0
    for path, span in docstrings():
        try:
            known += check(span)
        except MissingError as error:
            wrong.append(f"{path.name}: `{span}`: {error}")
    assert wrong == []
    assert known > 80


def test_the_columns_of_tables_are_documented_by_the_names_that_are_read(tmp_path):
    lines = (ROOT / "docs" / "own_data.md").read_text().splitlines()
    rows = {name for line in lines if line.startswith("| `") for name in spans(line.split("|")[1])}
    assert {*(f"{prefix}NAME" for prefix in FIELDS), "weight", "W"} <= rows
    table = tmp_path / "rows.csv"
    head = "field c,F11,F12,F21,F22,W,P11,P12,P21,P22,conjugate c,weight"
    table.write_text(f"{head}\n0.1,1,0,0,1,0.5,0,0,0,0,-2,1\n0.2,1,0.1,0,1,0.6,0,0.3,0.3,0,-3,2\n")
    samples = read_samples(table)
    assert samples.field_names == ("c",)
    assert samples.fields.tolist() == [[0.1], [0.2]]
    assert samples.conjugates.tolist() == [[-2.0], [-3.0]]
