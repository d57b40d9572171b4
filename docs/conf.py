"""Sphinx: pages in Markdown (MyST), the reference from docstrings, pages of the demos from what they print and draw."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from docstrings import readable  # noqa: E402
from gallery import write_gallery  # noqa: E402
from stories import write_stories  # noqa: E402

import lse_material  # noqa: E402

project = "lse_material"
author = "The lse_material developers"
release = lse_material.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
exclude_patterns = ["_build", ".packages", ".stories", "requirements.txt"]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["cards.css"]
html_title = f"lse_material {release}"
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_class_signature = "mixed"
napoleon_use_ivar = True
suppress_warnings = ["ref.python"]  # a name that is exported twice

write_gallery(HERE.parent / "demos", HERE / "_generated")
write_stories(HERE.parent / "demos", HERE / "_generated", HERE / ".stories")


def setup(app):
    """Sphinx calls this."""
    app.connect("autodoc-process-docstring", readable, priority=100)
