"""A transition scale at a bound of its search is said to be there, and no value that was found."""

from dataclasses import replace

from lse_material.fit import Architecture, Training, fit
from tests.materials import samples_of, three_wells


def test_a_transition_scale_at_a_bound_is_not_reported_as_found():
    """Three wells of rho 0.1; the same result with bounds that rho lies at."""
    training = Training(restarts=2, adam_steps=300, lbfgs_steps=300)
    result = fit(
        samples_of(three_wells(), 300, 0), architecture=Architecture(modes=3), training=training, progress=False
    )
    rho = result.transition_scale
    low, high = result.transition_scale_bounds
    assert 2.0 * low < rho < 0.5 * high
    assert not any("looked for" in text for text in result.warnings())
    for bounds, word in (((low, 1.1 * rho), "largest"), ((0.9 * rho, high), "least")):
        at_bound = replace(result, transition_scale_bounds=bounds)
        (text,) = [text for text in at_bound.warnings() if "looked for" in text]
        assert f"at the {word} value" in text
        assert "not found" in at_bound.summary()
