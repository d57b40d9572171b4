"""A fit is the same whatever device torch makes its tensors on by default: a script may have the GPU set for its own."""

import numpy as np
import pytest
import torch

from lse_material.fit import Architecture, Sparsity, fit
from tests.fit.short_fits import SHORT, parameters
from tests.materials import samples_of, two_wells


@pytest.fixture
def nowhere():
    """Tensors that name no device have no values."""
    torch.set_default_device("meta")
    yield
    torch.set_default_device("cpu")


AUTO = {
    "architecture": Architecture(modes="auto", max_modes=2, width=2),
    "sparsity": Sparsity(restarts=1, adam_steps=20),
}
FITS = [{"architecture": Architecture(modes=2, width=3)}, AUTO]


@pytest.fixture(scope="module", params=FITS, ids=["two modes", "auto"])
def on_the_processor(request):
    options = {"training": SHORT, "progress": False, **request.param}
    return options, parameters(fit(samples_of(two_wells(2), 60, 0), **options))


@pytest.mark.usefixtures("nowhere")
def test_weights_do_not_depend_on_the_default_device(on_the_processor):
    options, expected = on_the_processor
    found = parameters(fit(samples_of(two_wells(2), 60, 0), **options))
    assert len(found) == len(expected)
    assert all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))
    assert torch.empty(0).device.type == "meta"
