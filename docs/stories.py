"""The demos as pages: each is run, and its text, its code, what it prints and the picture that it draws become Markdown.

A demo is a script of cells in the percent format: `# %% [markdown]` starts text, `# %%` code. Code that is tagged "hide" is run
and not shown. What a demo gave is kept, and used again while neither the demo nor the package has changed.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NAMES = (  # in the order in which they are read
    "potential_and_wells",
    "fit_a_material",
    "bain_path",
    "form_and_problem",
    "energy_under_an_operator",
    "transforming_bar",
    "hysteretic_bar",
    "memory_strip",
    "twinned_crystal",
    "inflated_actuator",
    "periodic_cell",
)
MARK = "\x00"  # between the outputs of two cells


def cells(text: str) -> list[tuple[str, str]]:
    """Kind ("text", "code" or "hide") and content of each cell of a script."""
    found = []
    for head, body in re.findall(r"^# %%(.*)\n((?:(?!^# %%).*\n?)*)", text, re.MULTILINE):
        if "[markdown]" in head:
            lines = [line.removeprefix("#").removeprefix(" ") for line in body.strip().splitlines()]
            found.append(("text", "\n".join(lines)))
        else:
            found.append(("hide" if "hide" in head else "code", body.strip()))
    return found


def outputs(script: Path, out: Path) -> list[str]:
    """Run a script in a process of its own; what each of its cells of code printed.

    Raises:
        RuntimeError: it failed, with what it wrote.
    """
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, __file__, str(script), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=out, env=environment)
    if done.returncode:
        raise RuntimeError(f"{script.name} fails in the documentation: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    printed = done.stdout.split(MARK)[1:]
    return ["\n".join(line for line in text.splitlines() if not line.startswith("Info    :")) for text in printed]


def page(script: Path, printed: list[str]) -> str:
    """The Markdown of a demo."""
    parts = []
    code = iter(printed)
    for kind, content in cells(script.read_text(encoding="utf-8")):
        if kind == "text":
            parts.append(content)
            continue
        output = next(code).strip("\n")
        if kind == "code":
            parts.append(f"```{{code-block}} python\n{content}\n```")
            parts += [f"```{{code-block}} text\n{output}\n```"] if output else []
        if "savefig" in content:
            parts.append(f"![{script.stem.replace('_', ' ')}]({script.stem}.png)")
    parts.append(f"*The script: `demos/{script.name}`, or `lse-material demo {script.stem}`.*")
    return "\n\n".join(parts) + "\n"


def state(script: Path) -> str:
    """A hash of the script and of the package that it runs."""
    sources = [script, Path(__file__), *sorted((ROOT / "lse_material").rglob("*.py"))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()


def write_stories(demos: Path, out: Path, kept: Path) -> None:
    """Write a page and a picture for each demo to a folder; `kept` holds those of earlier builds."""
    for name in NAMES:
        script, stored = demos / f"{name}.py", kept / name
        stamp = stored / "state"
        if not stamp.exists() or stamp.read_text() != state(script):
            shutil.rmtree(stored, ignore_errors=True)
            stored.mkdir(parents=True)
            (stored / f"{name}.md").write_text(page(script, outputs(script, stored)), encoding="utf-8")
            stamp.write_text(state(script))
        for suffix in ("md", "png"):
            shutil.copy(stored / f"{name}.{suffix}", out / f"{name}.{suffix}")


def run_cells(script: Path) -> None:
    """In the process of its own: execute the cells one after another, a mark before what each of them prints."""
    known: dict[str, object] = {"__name__": "__main__", "__file__": str(script)}
    for kind, content in cells(script.read_text(encoding="utf-8")):
        if kind != "text":
            print(MARK, end="", flush=True)
            exec(compile(content, str(script), "exec"), known)
            sys.stdout.flush()


if __name__ == "__main__":
    run_cells(Path(sys.argv[1]))
