"""The gallery: one section for each demo, from its docstring, with the picture it has drawn."""

from __future__ import annotations

import ast
import re
import shutil
from pathlib import Path

from lse_material.cli.demo import scripts

HEAD = """# Gallery

Each demo is a script that reads from top to bottom: a problem, data, a fit, a solve, a picture and one number that is checked
against theory or measurement. It prints its figures as one line of JSON and fails if the check fails. Run one by

    ./fenicsx python3 demos/NAME.py [--quick]
    ./fenicsx mpirun -n 2 python3 demos/NAME.py --quick

or by `lse-material demo NAME`. The tests run each on one rank and on two.
"""


def section(name: str, script: Path, picture: Path | None) -> str:
    """Title, picture and docstring of a demo, as Markdown."""
    text = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or ""
    first, *rest = re.split(r"\n\n", text)
    lines = [f"## {name.replace('_', ' ').capitalize()}", "", " ".join(first.split()), ""]
    if picture is not None:
        lines += [f"![{name}]({picture.name})", ""]
    for paragraph in rest:
        if paragraph.startswith("    "):
            lines += ["```text", *(line[4:] for line in paragraph.splitlines()), "```", ""]
        else:
            lines += [paragraph.replace("*", r"\*").replace("_", r"\_").replace("$", r"\$"), ""]
    return "\n".join(lines)


def write_gallery(demos: Path, out: Path) -> None:
    """Write `gallery.md` and copies of the pictures to a folder."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    parts = [HEAD]
    for name, script in scripts(demos).items():
        picture = demos / "pictures" / f"{name}.png"
        if picture.exists():
            shutil.copy(picture, out / picture.name)
        parts.append(section(name, script, picture if picture.exists() else None))
    (out / "gallery.md").write_text("\n".join(parts), encoding="utf-8")
