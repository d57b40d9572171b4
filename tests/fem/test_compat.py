"""Which versions of DOLFINx are taken: older ones are refused, newer ones taken with a warning."""

import warnings

import pytest

from lse_material.fem._compat import require_dolfinx


@pytest.mark.parametrize("found", ["0.9.0", "0.5.2", "0.9.0.post1"])
def test_older_versions_are_refused_with_what_to_do(found):
    with pytest.raises(ImportError, match=rf"needs DOLFINx >= 0.10; this is {found}. See README"):
        require_dolfinx(found)


@pytest.mark.parametrize("found", ["0.10.0", "0.11.0.post0"])
def test_tested_versions_pass_in_silence(found):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        require_dolfinx(found)


@pytest.mark.parametrize("found", ["0.12.0", "1.0.0.dev0"])
def test_newer_versions_are_taken_with_a_warning(found):
    with pytest.warns(ImportWarning, match="was tested with DOLFINx 0.10 and 0.11"):
        require_dolfinx(found)
