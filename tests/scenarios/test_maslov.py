"""Maslov's book on streams of draws that are worked by hand."""

import numpy as np
import pytest

from zerodebt.scenarios.models import maslov


class Draws:
    """In place of luck: `side` below a half is an ask or a sale, `kind` below a half a limit order."""

    def __init__(self, *values: float) -> None:
        self.values = iter(values)

    def random(self) -> float:
        return next(self.values)


BID, ASK = 0.9, 0.1
LIMIT, MARKET = 0.1, 0.9


def prices(trades: int, *values: float) -> list[int]:
    plain = maslov.trade_prices.py_func  # type: ignore[attr-defined]
    found: list[int] = plain(Draws(*values), trades, 4).tolist()
    return found


def test_market_orders_take_the_best_ask_first() -> None:
    """Asks 4 and 1 ticks above 0; two purchases at 1 and 4. A side is drawn as the side of the book."""
    assert prices(2, ASK, LIMIT, 0.99, ASK, LIMIT, 0.0, ASK, MARKET, ASK, MARKET) == [1, 4]


def test_limit_orders_follow_the_last_trade() -> None:
    """A bid 1 below 0 is hit; the next bid stands 2 below that. An empty side trades nothing."""
    assert prices(2, ASK, MARKET, BID, LIMIT, 0.0, BID, MARKET, BID, LIMIT, 0.25, BID, MARKET) == [-1, -3]


def test_hurst_of_a_random_walk_is_a_half() -> None:
    walk = np.cumsum(np.random.default_rng(0).normal(size=200_000))
    assert maslov.hurst(walk) == pytest.approx(0.5, abs=0.03)
