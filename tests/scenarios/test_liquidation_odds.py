"""Distances of the largest longs of each tier, worked by hand, and odds on paths that stand still."""

import pytest

from zerodebt.scenarios.models.liquidation_odds import distance, measure


def test_distance_in_the_first_tier_is_margin_less_maintenance_over_what_is_left() -> None:
    """Margin 1/125, maintenance .4 % of the value then: (1/125 - .004) / (1 - .004)."""
    assert distance(125) == pytest.approx((1 / 125 - 0.004) / (1 - 0.004), rel=1e-4)


def test_distance_in_the_second_tier_counts_what_the_first_charges_less() -> None:
    """At a value just under 250,000, maintenance is .5 % of the value less 50,000 x .1 % = 50."""
    value = 250_000.0
    expected = (value / 100 - (0.005 * value - 50)) / (value * (1 - 0.005))
    assert distance(100) == pytest.approx(expected, rel=1e-3)


def test_nobody_is_liquidated_where_nothing_moves() -> None:
    found = measure(0, volatility=0.0, paths=20_000)
    assert all(found[f"odds_{leverage}"] == 0.0 for leverage in (125, 50, 10))
