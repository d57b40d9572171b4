"""Every snippet of the documentation runs, page by page, as a reader would run it in a checkout."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = (
    "start",
    "own_data",
    "own_script",
    "mechanics",
    "other_codes",
    "own_cluster",
    "format",
)  # the first one fits what the others load
pytestmark = pytest.mark.slow


def blocks(page):
    """Language and text of each fenced block."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", (DOCS / f"{page}.md").read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A folder that looks like a checkout to commands, and holds what earlier pages have made."""
    folder = tmp_path_factory.mktemp("checkout")
    (folder / "demos").symlink_to(ROOT / "demos")
    return folder


def run(command, folder):
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("page", PAGES)
def test_the_snippets_of_a_page_run(page, checkout):
    python = ""
    for language, text in blocks(page):
        if language == "bash" and text.strip() != "lse-material doctor":  # test_cli runs that, which takes long
            run(["bash", "-e", "-c", text], checkout)
        elif language == "python":
            python += text + "\n"
    (checkout / f"{page}.out").write_text(run([sys.executable, "-c", python], checkout))


def test_the_script_of_the_first_page_gives_the_same_on_two_ranks_and_its_exports_exist(checkout):
    (script,) = [text for language, text in blocks("start") if language == "python"]
    (checkout / "strip.py").write_text(script)
    outside = ("OMPI_", "PMIX_", "PRTE_", "PMI_")
    clean = [
        f"unset {name};"
        for name in os.environ
        if name.startswith(outside) and "ALLOW" not in name and "MCA" not in name
    ]
    one = (checkout / "start.out").read_text()
    two = run(["bash", "-c", f"{' '.join(clean)} mpirun -n 2 {sys.executable} strip.py"], checkout)
    assert one == two
    assert one.count("stretch") == 3
    written = {path.name for path in checkout.iterdir()}
    assert {"martensite.png", "martensite.c", "martensite.o", "martensite_numpy.py", "martensite_ufl.py"} <= written


def test_pages_without_snippets_have_none_and_links_lead_somewhere():
    pages = {path.stem for path in DOCS.glob("*.md")}
    assert set(PAGES) <= pages
    for page in sorted(pages):
        runnable = [language for language, _ in blocks(page) if language in ("bash", "python")]
        assert bool(runnable) == (page in PAGES), page
        for target in re.findall(r"\]\((\w+)\.md\)", (DOCS / f"{page}.md").read_text()):
            assert target in pages


def module_of_docs(name):
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_demo_becomes_a_page_with_its_text_code_output_and_picture(tmp_path):
    stories = module_of_docs("stories")
    script = ROOT / "demos" / "potential_and_wells.py"
    text = stories.page(script, stories.outputs(script, tmp_path))
    kinds = [kind for kind, _ in stories.cells(script.read_text())]
    assert text.count("{code-block} python") == kinds.count("code")
    assert "import argparse" not in text  # a hidden cell
    order = ["# A potential and its wells", "## Modes", "well 0: x = ", "](potential_and_wells.png)", '"barrier_error"']
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    assert (tmp_path / "potential_and_wells.png").exists()
    index = (DOCS / "index.md").read_text()
    assert re.findall(r"^_generated/(\w+)$", index, re.MULTILINE) == [*stories.NAMES, "gallery"]
    assert re.findall(r"^:target: _generated/(\w+)\.html$", index, re.MULTILINE) == [*stories.NAMES]  # a card each
    broken = tmp_path / "broken.py"
    broken.write_text("# %%\nassert 1 + 1 == 3, 'arithmetic'\n")
    with pytest.raises(RuntimeError, match=r"(?s)broken\.py fails in the documentation.*arithmetic"):
        stories.outputs(broken, tmp_path)


def test_the_gallery_has_a_section_and_a_picture_for_every_study(tmp_path):
    gallery = module_of_docs("gallery")
    gallery.write_gallery(ROOT / "demos", tmp_path / "out")
    text = (tmp_path / "out" / "gallery.md").read_text()
    for name in gallery.studies(ROOT / "demos"):
        assert f"\n## {name.replace('_', ' ').capitalize()}\n" in text
        assert f"![{name}]({name}.png)" in text, f"demos/pictures/{name}.png is missing"
        assert (tmp_path / "out" / f"{name}.png").exists()


def test_the_documented_exit_codes_are_those_of_the_command_line():
    from lse_material.cli.codes import MEANINGS

    table = dict(re.findall(r"^\| (\d+) \| (.*) \|$", (DOCS / "cli.md").read_text(), re.MULTILINE))
    assert table == {str(code): meaning for code, meaning in MEANINGS.items()}


def test_the_reference_describes_each_module_once():
    modules = re.findall(r"automodule:: (\S+)", (DOCS / "api.md").read_text())
    assert len(modules) == len(set(modules))
