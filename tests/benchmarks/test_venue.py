"""How long the venue's hot paths take, beside a yardstick of plain Python measured in the same run.

`make bench` prints all; compare the ratio of a group's rows, not the microseconds.
"""

from collections.abc import Callable, Iterator
from itertools import cycle

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from tests.venues import USD, Desk, of, perpetual, rulebook
from zerodebt.exchange.commands import (
    BUY,
    SELL,
    LoadPositions,
    MassQuote,
    Observation,
    PlaceOrder,
    Side,
    UpdateIndex,
)
from zerodebt.exchange.events import Batch, Filled, LiquidationStarted, Marked, Quoted
from zerodebt.exchange.units import SECOND_NS

ACCOUNTS = 20_000
LEVELS = 10
YARDSTICK = 999 * 1_000 // 2
"""The last of the sums 0, 1, 3, 6, ..."""


def yardstick() -> int:
    """A thousand dictionary writes and reads."""
    table: dict[int, int] = {}
    for k in range(1_000):
        table[k] = table.get(k - 1, 0) + k
    return table[999]


def crowded_desk() -> Desk:
    """20,000 accounts, half long and half short, on one perpetual at 10,000."""
    desk = Desk(rulebook(), (perpetual(price_max_ticks=100_000, open_interest_max_lots=10**6),))
    accounts = desk.open(*[1_000] * ACCOUNTS)
    lots = np.ones(ACCOUNTS, np.int64)
    lots[ACCOUNTS // 2 :] = -1
    ones = (1,) * ACCOUNTS
    entries = (10_000,) * ACCOUNTS
    desk.ok(LoadPositions(0, 10_000, tuple(accounts), tuple(lots.tolist()), entries, ones, (0,) * ACCOUNTS))
    desk.index(10_000)
    return desk


@pytest.mark.benchmark(group="index over 20,000 accounts")
def test_index_that_reaches_nobody(benchmark: BenchmarkFixture) -> None:
    desk = crowded_desk()
    prices = iter(range(1, 10**9))
    now_ns = desk.time_ns

    def index() -> Batch:
        k = next(prices)
        at_ns = now_ns + k * SECOND_NS
        return desk.venue.apply(UpdateIndex((Observation(0, 0, 10_000 + k % 2, at_ns),)), at_ns)

    batch = benchmark(index)
    (marked,) = of(batch.events, Marked)
    assert not of(batch.events, LiquidationStarted)
    assert (marked.index_ticks, marked.mark_ticks) == (desk.state.markets[0].prices.index_ticks,) * 2


@pytest.mark.benchmark(group="index over 20,000 accounts")
def test_index_yardstick(benchmark: BenchmarkFixture) -> None:
    assert benchmark(yardstick) == YARDSTICK


def quoting(desk: Desk) -> Callable[[], Batch]:
    (maker,) = desk.open(1_000_000)
    turn = iter(range(10**9))

    def requote() -> Batch:
        shift = next(turn) % 2
        bids = tuple((9_990 - 10 * k - shift, 5) for k in range(LEVELS))
        asks = tuple((10_010 + 10 * k + shift, 5) for k in range(LEVELS))
        return desk.venue.apply(MassQuote(maker, 0, bids, asks), desk.time_ns)

    return requote


@pytest.mark.benchmark(group="20 quotes replaced")
def test_mass_quote(benchmark: BenchmarkFixture) -> None:
    desk = Desk(rulebook(), (perpetual(price_max_ticks=1_000_000),), index=(10_000,))
    batch = benchmark(quoting(desk))
    assert [type(event) for event in batch.events] == [Quoted]
    assert len(desk.state.orders) == 2 * LEVELS


@pytest.mark.benchmark(group="20 quotes replaced")
def test_mass_quote_yardstick(benchmark: BenchmarkFixture) -> None:
    assert benchmark(yardstick) == YARDSTICK


@pytest.mark.benchmark(group="an order and its fill")
def test_order_that_takes(benchmark: BenchmarkFixture) -> None:
    desk = Desk(rulebook(), (perpetual(price_max_ticks=1_000_000),), index=(10_000,))
    a, b = desk.open(10**6, 10**6)
    assert desk.cash(a) == 10**6 * USD
    sides: Iterator[Side] = cycle((SELL, BUY))

    def trade() -> Batch:
        side = next(sides)
        desk.venue.apply(PlaceOrder(a, 0, side, 1, 10_000), desk.time_ns)
        return desk.venue.apply(
            PlaceOrder(b, 0, BUY if side == SELL else SELL, 1, 10_000, "ioc"), desk.time_ns
        )

    batch = benchmark(trade)
    (filled,) = of(batch.events, Filled)
    assert (filled.taker, filled.maker, filled.price_ticks, filled.size_lots) == (b, a, 10_000, 1)


@pytest.mark.benchmark(group="an order and its fill")
def test_order_yardstick(benchmark: BenchmarkFixture) -> None:
    assert benchmark(yardstick) == YARDSTICK
