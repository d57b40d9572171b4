"""The gallery: one section for each study, from its docstring, with the picture that it has drawn."""

from __future__ import annotations

import ast
import re
import shutil
from pathlib import Path

from lse_material.cli.demo import scripts

HEAD = """# Studies

A study goes from data or a model of the physics through a fit and a solve to figures that are checked against theory or
measurement. It prints them as one line of JSON, and fails if a check fails. The scripts are in `demos/studies`, and
`demos/fit_then_simulate.py` is the one that the README starts with. Run one by

    lse-material demo NAME [--quick] [--ranks 2]
"""


def section(name: str, script: Path, picture: Path | None) -> str:
    """Title, picture and docstring of a study, as Markdown."""
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


def studies(demos: Path) -> dict[str, Path]:
    """The scripts by name: the README's first, then those of the folder of studies."""
    return {"fit_then_simulate": demos / "fit_then_simulate.py", **scripts(demos / "studies")}


def write_gallery(demos: Path, out: Path) -> None:
    """Write `gallery.md` and copies of the pictures to a folder."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    parts = [HEAD]
    for name, script in studies(demos).items():
        picture = demos / "pictures" / f"{name}.png"
        if picture.exists():
            shutil.copy(picture, out / picture.name)
        parts.append(section(name, script, picture if picture.exists() else None))
    (out / "gallery.md").write_text("\n".join(parts), encoding="utf-8")
