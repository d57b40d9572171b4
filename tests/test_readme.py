"""The snippet in README runs as it stands."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_snippet_of_readme_fits_saves_loads_and_solves(tmp_path):
    (snippet,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (tmp_path / "demos").symlink_to(ROOT / "demos")
    check = "\nassert abs(u.x.array).max() > 0.05 and material.modes == 2\n"
    done = subprocess.run(
        [sys.executable, "-c", snippet + check],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "martensite.safetensors").exists()
