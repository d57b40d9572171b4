"""Settings of every test."""

from hypothesis import settings

# The machines that run the tests are shared and their clocks noisy: no deadline; the same examples in every run.
settings.register_profile("repeatable", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("repeatable")
