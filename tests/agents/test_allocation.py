"""Positions of the start."""

import numpy as np
import pytest

from tests.agents.conftest import INSTRUMENTS, USD
from zerodebt.agents.allocation import allowed_notional, draw_weights, opening_margin, round_to_total
from zerodebt.exchange.units import Int64Array


@pytest.mark.parametrize("total", [5, 11, 12, 13, 40])
def test_rounding_meets_the_total_and_never_goes_below_zero(total: int) -> None:
    rounded = round_to_total(np.array([0.5, 2.5, 0.0, 9.2]), total)
    assert int(rounded.sum()) == total
    assert rounded.min() >= 0


def test_rounding_gives_the_units_left_over_to_the_largest_remainders() -> None:
    assert round_to_total(np.array([1.2, 2.7, 3.1]), 7).tolist() == [1, 3, 3]


def test_notional_stops_at_the_border_of_a_tier_that_the_margin_cannot_cross() -> None:
    btc = INSTRUMENTS[0]  # 40x below 150 M, 20x above
    margin = np.array([1.0, 5.0, 8.0]) * 1e6 * USD
    wanted = np.array([30.0, 30.0, 30.0])
    allowed = allowed_notional(btc, margin, wanted, np.ones(3)) / USD
    # 1 M * 30; 5 M * 30 = 150 M is the border; 8 M * 20 = 160 M lies in the upper tier
    assert allowed.tolist() == [30e6, 150e6, 160e6]
    at_maximum = allowed_notional(btc, margin[:1], np.array([1000.0]), np.array([0.8])) / USD
    assert at_maximum.tolist() == pytest.approx([1e6 * 40 * 0.8])


def test_opening_margin_covers_the_requirement_at_the_chosen_leverage() -> None:
    xpl = INSTRUMENTS[1]  # 10x below 3 M, 5x above
    lots: Int64Array = np.array([1_000, 10_000_000], np.int64)
    chosen, required = opening_margin(xpl, np.array([3.2, 8.0]), lots, 500_000)
    assert chosen.tolist() == [4, 5]
    notional = lots * 500_000
    assert np.all(required * chosen >= notional)
    assert np.all(required <= notional / chosen + 10_001)


def test_weights_are_one_to_the_maximum_and_everything_for_the_largest() -> None:
    shares = np.array([0.5, 0.2, 0.2, 0.05, 0.05])
    notional = np.ones(4_000)
    notional[7] = 100.0
    weights = draw_weights(np.random.default_rng(0), notional, shares, 3, 0.01)
    assert weights.sum(axis=1) == pytest.approx(1.0)
    held = (weights > 0).sum(axis=1)
    assert held[7] == 5
    assert set(np.delete(held, 7).tolist()) == {1, 2, 3}
    assert (weights[:, 0] > 0).mean() > 2 * (weights[:, 3] > 0).mean()
