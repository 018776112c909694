"""Index, mark and the averages between them."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.venues import T0, Desk, hyperliquid, of, perpetual, rulebook
from zerodebt.exchange.commands import BUY, SELL, Observation, PlaceOrder, SetLeverage, Tick, UpdateIndex
from zerodebt.exchange.events import Marked
from zerodebt.exchange.marks import Average, Market, MarkInputs, mark_ticks, move_ppb, source_median
from zerodebt.exchange.reject import RejectReason
from zerodebt.exchange.units import MINUTE_NS, SECOND_NS, weighted_median

RICH = 1_000_000
GOLDEN = Path(__file__).parents[1] / "golden"
MARKS = {v["id"]: v for v in json.loads((GOLDEN / "hyperliquid_mark_price.json").read_text("utf-8"))}


def inputs(basis: int, book: int | None, perp: int | None, ema: int | None) -> MarkInputs:
    return MarkInputs((None, None, None), basis, book, perp, ema)


@pytest.mark.parametrize(
    ("basis", "book", "perp", "ema", "mark"),
    [
        (100, 104, 102, 500, 102),
        (100, 104, None, 103, 103),
        (100, None, 104, 101, 101),
        (100, 104, None, None, (100 + 104) // 2),
        (100, None, 105, None, (100 + 105) // 2),
        (100, None, None, 900, 100),
        (-37, -36, -40, None, -37),
    ],
)
def test_mark_is_the_median_of_what_there_is(
    basis: int, book: int | None, perp: int | None, ema: int | None, mark: int
) -> None:
    assert mark_ticks(inputs(basis, book, perp, ema)) == mark


def test_published_example_of_two_inputs_and_the_book_average() -> None:
    """hl-mark-02: oracle 10000 less 30, the book's median of 9950, 9960 and 9900, its 30 s average 9955."""
    given = MARKS["hl-mark-02"]["inputs"]
    basis = int(given["oracle"]) + int(given["ema150s_mid_minus_oracle"])
    book = sorted(int(given[key]) for key in ("best_bid", "best_ask", "last_trade"))[1]
    mark = mark_ticks(inputs(basis, book, None, int(given["ema30s_of_book_median"])))
    assert mark == int(MARKS["hl-mark-02"]["expected"]["mark_price"])


def test_published_example_of_the_average() -> None:
    """hl-ema-01: 10, 20 and 5 held for 1, 1 and half a minute, with a lifetime of 2.5 minutes."""
    vector = MARKS["hl-ema-01"]
    average = Average(sampled_at_ns=0)
    time_ns = 0
    scale = 10**9
    for value, minutes in vector["inputs"]["samples"]:
        time_ns += round(float(minutes) * MINUTE_NS)
        average.add(int(value) * scale, time_ns, 150 * SECOND_NS)
    result = average.value()
    assert result is not None
    assert result / scale == pytest.approx(float(vector["expected"]["ema"]), abs=1e-8)


def test_average_has_no_value_before_time_has_passed_and_ignores_repeats() -> None:
    average = Average()
    average.add(10, 5, SECOND_NS)
    assert average.value() is None
    average.add(10, 5, SECOND_NS)
    assert average.value() is None
    average.add(30, 6, SECOND_NS)
    assert average.value() == 30


def test_constant_value_averages_to_itself() -> None:
    average = Average(sampled_at_ns=0)
    for k in range(1, 50):
        average.add(-37, k * SECOND_NS, 30 * SECOND_NS)
    assert average.value() in (-37, -38)


@pytest.mark.spec("MARK-05")
def test_index_is_the_weighted_median_of_the_published_example() -> None:
    vector = json.loads((GOLDEN / "hyperliquid_oracle_price.json").read_text("utf-8"))[0]
    prices = [(int(price), int(weight)) for price, weight in vector["inputs"]["spot_weighted"]]
    assert weighted_median(prices) == int(vector["expected"]["oracle_price"])
    desk = Desk(hyperliquid(), (perpetual(),))
    at = desk.time_ns
    desk.ok(UpdateIndex(tuple(Observation(0, k, price, at) for k, (price, _) in enumerate(prices))))
    assert desk.venue.view.index_ticks(0) == 100


def three_sources() -> Desk:
    sources: Any = [{"name": name, "weight": 1} for name in "abc"]
    return Desk(rulebook(sources=sources), (perpetual(),), index=(100,))


def say(desk: Desk, *prices: tuple[int, int, int]) -> None:
    """Sources say (source, price, age in seconds)."""
    at = desk.time_ns
    desk.ok(
        UpdateIndex(
            tuple(Observation(0, source, price, at - age * SECOND_NS) for source, price, age in prices)
        )
    )


@pytest.mark.spec("MARK-04", "MARK-05")
def test_one_wild_source_does_not_move_the_index() -> None:
    desk = three_sources()
    desk.time_ns += SECOND_NS
    say(desk, (0, 100, 0), (1, 6, 0), (2, 101, 0))
    assert desk.venue.view.index_ticks(0) == 100


@pytest.mark.spec("MARK-02")
def test_source_that_is_too_old_does_not_count_and_the_others_weigh_more() -> None:
    desk = three_sources()
    desk.time_ns += 61 * SECOND_NS
    say(desk, (2, 200, 0))
    assert desk.venue.view.index_ticks(0) == 200
    desk = three_sources()
    desk.time_ns += 60 * SECOND_NS
    say(desk, (2, 200, 0))
    assert desk.venue.view.index_ticks(0) == 100


@pytest.mark.spec("MARK-02", "NUM-08")
def test_index_stays_as_it_was_when_every_source_is_too_old() -> None:
    desk = three_sources()
    desk.tick(10 * MINUTE_NS)
    assert desk.venue.view.index_ticks(0) == 100


@pytest.mark.spec("MARK-03")
def test_observation_that_is_not_newer_is_ignored() -> None:
    desk = three_sources()
    desk.time_ns += SECOND_NS
    say(desk, (0, 500, 1), (1, 500, 2), (2, 500, 1))
    assert desk.venue.view.index_ticks(0) == 100
    say(desk, (0, 500, 0), (1, 500, 0), (2, 500, 0))
    assert desk.venue.view.index_ticks(0) == 500


@pytest.mark.spec("MARK-02")
def test_observation_from_the_future_is_refused() -> None:
    desk = three_sources()
    command = UpdateIndex((Observation(0, 0, 100, desk.time_ns + 1),))
    assert desk.refused(command) == RejectReason.TIME_RUNS_BACK


def test_only_spot_sources_make_the_index() -> None:
    desk = Desk(hyperliquid(), (perpetual(),), index=(100,))
    market = desk.state.markets[0]
    desk.time_ns += SECOND_NS
    perps = [k for k, source in enumerate(desk.rules.sources) if source.kind == "perp"]
    say(desk, *[(k, 90, 0) for k in perps])
    assert desk.venue.view.index_ticks(0) == 100
    assert source_median(market, desk.rules, "perp", desk.time_ns) == 90


@pytest.mark.spec("MARK-04")
def test_mark_reads_the_book_as_it_stood_before_the_command() -> None:
    """A bid is in the marks of the next index, and what the command itself trades is not."""
    desk = Desk(rulebook(mark={"formula": "median"}), (perpetual(),), index=(100,))
    a, b = desk.open(RICH, RICH)
    desk.order(a, BUY, 1, 90)
    desk.order(b, SELL, 1, 120)
    (marked,) = of(desk.index(100), Marked)
    assert marked.spread == (90, 120, None)
    (marked,) = of(desk.index(100), Marked)
    assert marked.index_basis_ticks == 100 + (90 + 120 - 200) // 2


@pytest.mark.spec("MARK-04")
def test_trades_and_quotes_never_move_the_mark_by_themselves() -> None:
    desk = Desk(rulebook(mark={"formula": "median"}), (perpetual(),), index=(100,))
    a, b = desk.open(RICH, RICH)
    desk.trade(a, b, 1, 50)
    desk.trade(a, b, 1, 200)
    assert desk.venue.view.mark_ticks(0) == 100
    desk.ok(SetLeverage(a, 0, 5))
    assert desk.venue.view.mark_ticks(0) == 100


def test_mark_stays_inside_the_instruments_range() -> None:
    desk = Desk(rulebook(mark={"formula": "median"}), (perpetual(price_max_ticks=100),), index=(100,))
    a, b = desk.open(RICH, RICH)
    desk.order(a, BUY, 1, 99)
    desk.order(b, SELL, 1, 100)
    for _ in range(3):
        (marked,) = of(desk.index(100), Marked)
        assert 1 <= marked.mark_ticks <= 100


def test_previous_mark_is_the_one_before() -> None:
    desk = Desk(index=(100,))
    (marked,) = of(desk.index(90), Marked)
    assert (marked.previous_mark_ticks, marked.mark_ticks) == (100, 90)
    (marked,) = of(desk.tick(0), Marked)
    assert (marked.previous_mark_ticks, marked.mark_ticks) == (90, 90)


def test_first_update_must_name_every_instrument() -> None:
    desk = Desk(instruments=(perpetual(), perpetual("ETH")))
    desk.open(RICH)
    assert desk.refused(Tick()) == RejectReason.NO_PRICE
    assert desk.refused(PlaceOrder(16, 0, BUY, 1, 100)) == RejectReason.NO_PRICE
    assert desk.refused(UpdateIndex((Observation(0, 0, 100, T0),))) == RejectReason.NO_PRICE


def test_meter_counts_moves_against_the_first_mark_rounded_up() -> None:
    market = Market(0, perpetual())
    assert move_ppb(market, 300) == 0
    market.prices.mark_ticks = 300
    assert move_ppb(market, 301) == 10**9 // 300 + 1
    assert move_ppb(market, 299) == 10**9 // 300 + 1
