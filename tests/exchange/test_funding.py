"""Premium, rate and what is paid."""

import json
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.venues import USD, Desk, of, perpetual, rulebook
from zerodebt.exchange.book import Book, Order
from zerodebt.exchange.commands import BUY, SELL, SetLeverage
from zerodebt.exchange.events import ROUNDING, FundingSampled, FundingSet, Posted
from zerodebt.exchange.funding import impact_ticks, payment_atoms, premium_ppt, rate_ppt
from zerodebt.exchange.rules import FundingRules
from zerodebt.exchange.units import HOUR_NS, MINUTE_NS, PPT, SECOND_NS

RICH = 1_000_000
GOLDEN = json.loads(
    (Path(__file__).parents[1] / "golden" / "hyperliquid_funding_rate.json").read_text("utf-8")
)
RULES = FundingRules()


@pytest.mark.parametrize("vector", GOLDEN, ids=lambda v: str(v["id"]))
def test_published_rate(vector: Any) -> None:
    premium = int(Decimal(vector["inputs"]["premium"]) * PPT)
    assert rate_ppt(RULES, premium) == int(Decimal(vector["expected"]["rate_hourly"]) * PPT)


def test_rate_is_capped_on_both_sides() -> None:
    assert rate_ppt(RULES, PPT) == 40_000_000_000
    assert rate_ppt(RULES, -PPT) == -40_000_000_000


def book_of(*levels: tuple[int, int, int]) -> Book:
    book = Book()
    for k, (side, price, lots) in enumerate(levels):
        book.add(Order(k, 16, 0, side, price, lots, 0, False, False))
    return book


def test_impact_price_walks_the_levels_until_the_notional_is_reached() -> None:
    book = book_of((BUY, 100, 2), (BUY, 90, 10))
    assert impact_ticks(book, BUY, 200, 1) == 100
    assert impact_ticks(book, BUY, 380, 1) == (2 * 100 + 2 * 90) // 4
    assert impact_ticks(book, BUY, 10_000, 1) is None
    assert impact_ticks(book, SELL, 1, 1) is None


def test_impact_price_of_a_side_below_zero_is_not_to_be_had() -> None:
    assert impact_ticks(book_of((BUY, -5, 10)), BUY, 10, 1) is None


@pytest.mark.parametrize(
    ("bid", "ask", "premium"),
    [
        (101, 103, Fraction(101 - 100, 100)),
        (95, 97, -Fraction(100 - 97, 100)),
        (99, 101, Fraction(0)),
    ],
)
def test_premium_is_how_far_the_impact_prices_leave_the_index(bid: int, ask: int, premium: Fraction) -> None:
    rules = FundingRules(impact_notional_atoms=1)
    book = book_of((BUY, bid, 1), (SELL, ask, 1))
    assert premium_ppt(book, rules, 100, 1) == premium * PPT


@pytest.mark.spec("FUND-04")
def test_missing_side_counts_nothing() -> None:
    rules = FundingRules(impact_notional_atoms=1)
    assert premium_ppt(book_of(), rules, 100, 1) == 0
    assert premium_ppt(book_of((SELL, 110, 1)), rules, 100, 1) == 0
    assert premium_ppt(book_of((BUY, 110, 1)), rules, 100, 1) == PPT // 10
    assert premium_ppt(book_of((BUY, 110, 1)), rules, 0, 1) == 0


@pytest.mark.spec("FUND-01", "FUND-04", "NUM-01")
@given(st.integers(-(10**6), 10**6), st.integers(1, 10**5), st.integers(-(10**10), 10**10))
def test_payers_round_up_and_receivers_down(lots: int, price: int, rate: int) -> None:
    exact = Fraction(lots * price * rate, PPT)
    owed = payment_atoms(lots, price, 1, rate)
    assert 0 <= owed - exact < 1
    if lots and rate:
        assert (exact > 0) == (lots > 0) == (rate > 0) or (exact > 0) == ((lots > 0) == (rate > 0))


def holders(**funding: Any) -> tuple[Desk, int, int, int]:
    """A long of 10 against shorts of 7 and 3 at 100, three quarters of an hour before the hour."""
    desk = Desk(rulebook("book", "adl", funding={"impact_notional_atoms": USD} | funding), index=(100,))
    a, b, c = desk.open(RICH, RICH, RICH)
    desk.trade(a, b, 7, 100)
    desk.trade(a, c, 3, 100)
    return desk, a, b, c


def until_the_hour(desk: Desk) -> int:
    return HOUR_NS - desk.time_ns % HOUR_NS


@pytest.mark.spec("FUND-01", "FUND-04")
def test_positive_rate_debits_longs_and_the_sum_is_zero() -> None:
    """No premium: 0.01 % in eight hours is 1.25e-5 an hour, on 1000, 700 and 300 USD."""
    desk, a, b, c = holders()
    before = [desk.cash(account) for account in (a, b, c, ROUNDING)]
    events = desk.tick(until_the_hour(desk))
    (rate,) = of(events, FundingSet)
    assert rate == FundingSet(0, 12_500_000, 100, 1)
    change = [desk.cash(account) - was for account, was in zip((a, b, c, ROUNDING), before, strict=True)]
    assert change == [-12_500, 8_750, 3_750, 0]
    (posted,) = [e for e in of(events, Posted) if e.reason == "funding"]
    assert sum(atoms for _, _, atoms in posted.legs) == 0


@pytest.mark.spec("FUND-01", "FUND-04")
def test_negative_rate_debits_shorts_and_dust_goes_to_the_rounding_account() -> None:
    desk, a, b, c = holders(interest_ppt=-100_000_000, divisor=7)
    before = [desk.cash(account) for account in (a, b, c, ROUNDING)]
    events = desk.tick(until_the_hour(desk))
    rate = -100_000_000 // 7
    assert of(events, FundingSet)[0].rate_ppt == rate
    received = 1000 * USD * -rate // PPT
    owed = [-(700 * USD * rate // PPT), -(300 * USD * rate // PPT)]
    change = [desk.cash(account) - was for account, was in zip((a, b, c, ROUNDING), before, strict=True)]
    assert change == [received, -owed[0], -owed[1], sum(owed) - received]
    assert 0 <= change[3] <= 3


@pytest.mark.spec("FUND-03")
def test_nothing_is_paid_before_the_hour_and_once_at_it() -> None:
    desk, *_ = holders()
    wait = until_the_hour(desk)
    assert not of(desk.tick(wait - 1), FundingSet)
    assert len(of(desk.tick(1), FundingSet)) == 1
    assert not of(desk.tick(0), FundingSet)
    assert not of(desk.tick(MINUTE_NS), FundingSet)


@pytest.mark.spec("FUND-03")
def test_position_opened_after_the_stamp_or_closed_before_it_pays_nothing() -> None:
    desk, a, _b, c = holders()
    wait = until_the_hour(desk)
    desk.tick(wait - 1)
    desk.trade(c, a, 3, 100)
    before = desk.cash(c)
    desk.tick(1)
    assert desk.cash(c) == before
    desk.trade(a, c, 3, 100)
    before = desk.cash(c)
    desk.tick(MINUTE_NS)
    assert desk.cash(c) == before


@pytest.mark.parametrize(("paid_on", "price"), [("index", 100), ("mark", 110)])
def test_payment_is_on_the_price_that_the_rulebook_names(paid_on: str, price: int) -> None:
    desk = Desk(
        rulebook(funding={"paid_on": paid_on, "impact_notional_atoms": USD}, mark={"formula": "median"}),
        (perpetual(),),
        index=(100,),
    )
    a, b = desk.open(RICH, RICH)
    desk.order(a, BUY, 1, 109)
    desk.order(b, SELL, 1, 111)
    desk.index(100)
    desk.index(100)
    desk.trade(a, b, 5, 110)
    events = desk.tick(until_the_hour(desk))
    assert of(events, FundingSet)[0].price_ticks == price


def test_samples_are_taken_at_most_once_an_interval() -> None:
    desk, *_ = holders(sample_ns=5 * SECOND_NS)
    assert not of(desk.tick(SECOND_NS), FundingSampled)
    assert len(of(desk.tick(4 * SECOND_NS), FundingSampled)) == 1
    assert not of(desk.tick(0), FundingSampled)
    assert len(of(desk.tick(MINUTE_NS), FundingSampled)) == 1


@pytest.mark.spec("LIQ-12")
def test_isolated_position_pays_from_its_own_pocket() -> None:
    desk = Desk(rulebook("book", "adl"), (perpetual(),), index=(100,))
    a, b = desk.open(RICH, RICH)
    desk.ok(SetLeverage(a, 0, 10, "isolated"))
    desk.trade(a, b, 10, 100)
    wallet, margin = desk.cash(a), desk.cash(a, 2)
    desk.tick(until_the_hour(desk))
    assert desk.cash(a) == wallet
    assert desk.cash(a, 2) == margin - 12_500
