"""Margin, calls and failures of clearing members."""

import numpy as np
import pytest

from zerodebt.agents.clearing_members import calls, margin_path, margin_rate, sizes, variance_next


def test_buffer_holds_in_calm_and_is_eaten_up_as_volatility_rises() -> None:
    """2.326 deviations and a quarter more; at 1.25 times the calm deviation nothing is left of it."""
    calm = 0.01**2
    assert margin_rate(calm, calm) == pytest.approx(2.326 * 0.0125)
    assert margin_rate(0.0125**2, calm) == pytest.approx(2.326 * 0.0125)
    assert margin_rate(0.02**2, calm) == pytest.approx(2.326 * 0.02)
    assert margin_rate(0.008**2, calm) == pytest.approx(2.326 * 0.01)
    assert margin_rate(calm, calm, buffer=0.0) == pytest.approx(2.326 * 0.01)


def test_variance_remembers_99_parts_of_100() -> None:
    assert variance_next(0.0004, 0.04) == pytest.approx(0.99 * 0.0004 + 0.01 * 0.0016)
    assert margin_path(np.array([0.0, 0.1]), 0.01)[1] > margin_path(np.array([0.0, 0.1]), 0.01)[0]


def test_called_at_half_of_the_margin_and_failing_where_the_call_is_beyond_reach() -> None:
    """Margin 100: 50 used is not yet called, 51 is; beyond 150 he fails."""
    answer = calls(np.array([-80.0, 50.0, 51.0, 150.0, 151.0]), np.full(5, 100.0))
    assert answer.called.tolist() == [False, False, True, True, True]
    assert answer.fails.tolist() == [False, False, False, False, True]


def test_sizes_fall_as_pareto_from_the_largest_to_one() -> None:
    """Two members at quantiles 1/4 and 3/4: (3)^(1/1.2) apart."""
    assert sizes(2).tolist() == pytest.approx([3 ** (1 / 1.2), 1.0])
