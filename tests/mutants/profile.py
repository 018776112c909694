"""A pytest plugin for mutation runs: the same few cases every time, so that verdicts are fast and repeat.

`-p tests.mutants.profile --hypothesis-profile=mutants`
"""

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "mutants",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=25,
    suppress_health_check=list(HealthCheck),
)


SLOW = (
    "test_every_form_only_reduces_and_leaves_nobody_below_zero",
    "test_each_fault_happens_and_the_seeds_reach_what_a_venue_does",
)
"""Each takes as long as all the others of its file together."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of a test that runs under several seeds the first is kept, and slow ones are left out."""
    left_out = [item for item in items if is_left_out(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not is_left_out(item)]


def is_left_out(item: pytest.Item) -> bool:
    callspec = getattr(item, "callspec", None)
    is_another_seed = callspec is not None and callspec.indices.get("seed", 0) > 0
    return is_another_seed or item.name.startswith(SLOW)
