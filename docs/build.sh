#!/usr/bin/env bash
# Build the documentation into docs/_build/html; a warning is a failure. Needs PyPI once, for docs/requirements.txt. The demos
# are run for their pages (about a minute of CPU), and not again until they or the package change (docs/.stories).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
packages=docs/.packages
if ! cmp -s docs/requirements.txt "$packages/stamp"; then
  rm -rf "$packages"
  ./fenicsx python3 -m pip install --quiet --target "$packages" -r docs/requirements.txt
  cp docs/requirements.txt "$packages/stamp"
fi
exec ./fenicsx env PYTHONPATH="$packages" python3 -m sphinx -W --keep-going -q -E -b html docs docs/_build/html "$@"
