"""`python -m lse_material` is the command line."""

from lse_material.cli import main

main()
