"""The hypothesis profile of mutation runs: the same few examples every time, so that a verdict repeats.

A pytest plugin (`-p tests.mutants.profile --hypothesis-profile=mutants`).
"""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "mutants",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=25,
    suppress_health_check=list(HealthCheck),
)
