"""`lse-material demo`: run one of the demos or studies."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from lse_material.cli.codes import FAILED, need
from lse_material.cli.output import Json, print_json, print_table
from lse_material.errors import InvalidInputError


def demo(
    name: Annotated[str | None, typer.Argument(help="Which; the list if left out.", show_default=False)] = None,
    quick: Annotated[bool, typer.Option("--quick", help="The short form that the tests run.")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder of its files; results/NAME if left out.")] = None,
    ranks: Annotated[int, typer.Option("--ranks", "-n", help="MPI ranks.", min=1)] = 1,
    json: Json = False,
) -> int:
    """Run a demo or a study, which draws a picture and checks a number; exit code 1 if that fails. They need a checkout."""
    known = demos()
    if name is None:
        stories = {key: title(path) for key, path in known.items()}
        if json:
            print_json({"demos": stories})
        else:
            print_table("", ["demo", "story"], [[key, story] for key, story in stories.items()])
        return 0
    if name not in known:
        raise InvalidInputError(f"there is no demo {name!r}; there are {', '.join(known)}.")
    if "dolfinx" in known[name].read_text(encoding="utf-8"):
        need("dolfinx", f"the demo {name}")
    command = [sys.executable, str(known[name]), *(["--quick"] if quick else [])]
    command += [] if out is None else ["--out", str(out)]
    command = command if ranks == 1 else ["mpirun", "-n", str(ranks), *command]
    if not json:
        return FAILED if subprocess.run(command, check=False).returncode else 0
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    print(lines[-1] if lines else "{}")
    return FAILED if done.returncode else 0


def demos() -> dict[str, Path]:
    """The demos and studies of the checkout that this package belongs to, or of the current folder.

    Raises InvalidInputError: there is no folder of demos: an installed wheel has none.
    """
    for root in (Path(__file__).resolve().parents[2], Path.cwd()):
        found = scripts(root / "demos") | scripts(root / "demos" / "studies")
        if found:
            return found
    raise InvalidInputError("there are no demos here: they are part of a checkout of lse_material, not of the wheel.")


def scripts(folder: Path) -> dict[str, Path]:
    """Scripts by name: single files, and in a folder the script that is named like it, or compare.py."""
    found = {path.stem: path for path in sorted(folder.glob("*.py"))}
    for inner in sorted(path for path in folder.glob("*") if path.is_dir()):
        for name in (f"{inner.name}.py", "compare.py"):
            if (inner / name).exists():
                found[inner.name] = inner / name
                break
    return found


def title(path: Path) -> str:
    """The first paragraph of a study's docstring, or the heading of a demo."""
    text = path.read_text(encoding="utf-8")
    start = re.match(r'"""(.*?)(?:\n\n|""")|# %% \[markdown\]\n# # (.*?)\n', text, re.DOTALL)
    return " ".join((start[1] or start[2]).split()) if start else path.stem
