"""Premium, rate and what is paid."""

import json
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.venues import USD, Desk, of, perpetual, rulebook
from zerodebt.exchange.book import Book, Order
from zerodebt.exchange.commands import BUY, SELL, MassQuote, SetLeverage
from zerodebt.exchange.events import ROUNDING, FundingSampled, FundingSet, Posted
from zerodebt.exchange.funding import (
    PPM,
    add_premium,
    cap_ppt,
    exposure_atoms,
    impact_notional_atoms,
    impact_ticks,
    index_delta_ppm,
    payment_atoms,
    period_rate_ppt,
    premium_average_ppt,
    premium_ppt,
    rate_ppt,
    settled_atoms,
    settlement_ppm,
    stepped_ppt,
    top_rates_ppt,
    without_tails,
)
from zerodebt.exchange.instruments import Tier
from zerodebt.exchange.marks import Prices
from zerodebt.exchange.rules import FundingRules, RulesError, SymbolCap, profile_table, venue_rules
from zerodebt.exchange.units import HOUR_NS, MINUTE_NS, PPB, PPT, SECOND_NS

RICH = 1_000_000
GOLDEN = json.loads(
    (Path(__file__).parents[1] / "golden" / "hyperliquid_funding_rate.json").read_text("utf-8")
)
RULES = FundingRules()
ATOM = perpetual(tick_value_atoms=1)
"""One lot at a price of one tick is worth one atom."""


@pytest.mark.parametrize("vector", GOLDEN, ids=lambda v: str(v["id"]))
def test_published_rate(vector: Any) -> None:
    premium = int(Decimal(vector["inputs"]["premium"]) * PPT)
    assert rate_ppt(RULES, premium, RULES.cap_ppt) == int(Decimal(vector["expected"]["rate_hourly"]) * PPT)


def test_rate_is_capped_on_both_sides() -> None:
    assert rate_ppt(RULES, PPT, RULES.cap_ppt) == 40_000_000_000
    assert rate_ppt(RULES, -PPT, RULES.cap_ppt) == -40_000_000_000


def book_of(*levels: tuple[int, int, int]) -> Book:
    book = Book()
    for k, (side, price, lots) in enumerate(levels):
        book.add(Order(k, 16, 0, side, price, lots, 0, False, False))
    return book


def test_impact_price_walks_the_levels_until_the_notional_is_reached() -> None:
    book = book_of((BUY, 100, 2), (BUY, 90, 10))
    assert impact_ticks(book, BUY, 200, ATOM) == 100
    assert impact_ticks(book, BUY, 380, ATOM) == (2 * 100 + 2 * 90) // 4
    assert impact_ticks(book, BUY, 10_000, ATOM) is None
    assert impact_ticks(book, SELL, 1, ATOM) is None


def test_impact_price_of_a_level_that_is_just_enough_is_its_price() -> None:
    assert impact_ticks(book_of((BUY, 100, 2)), BUY, 200, ATOM) == 100


def test_impact_price_takes_a_lot_of_the_next_level_for_the_last_atom_and_rounds_towards_the_mid() -> None:
    """201 atoms are two lots at 100 and one at the next price: (200 + 90) / 3 and (200 + 111) / 3."""
    assert impact_ticks(book_of((BUY, 100, 2), (BUY, 90, 10)), BUY, 201, ATOM) == 97
    assert impact_ticks(book_of((SELL, 100, 2), (SELL, 111, 10)), SELL, 201, ATOM) == 103


def test_impact_price_of_a_side_below_zero_is_not_to_be_had() -> None:
    assert impact_ticks(book_of((BUY, -5, 10)), BUY, 10, ATOM) is None
    assert impact_ticks(book_of((SELL, 0, 10), (SELL, 5, 10)), SELL, 10, ATOM) is None
    assert impact_ticks(book_of((BUY, 1, 10)), BUY, 10, ATOM) == 1


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
    assert premium_ppt(book, rules, ATOM, 100, 100) == premium * PPT


@pytest.mark.spec("FUND-04")
def test_missing_side_counts_nothing() -> None:
    rules = FundingRules(impact_notional_atoms=1)
    assert premium_ppt(book_of(), rules, ATOM, 100, 100) == 0
    assert premium_ppt(book_of((SELL, 110, 1)), rules, ATOM, 100, 100) == 0
    assert premium_ppt(book_of((BUY, 110, 1)), rules, ATOM, 100, 100) == PPT // 10
    assert premium_ppt(book_of((BUY, 110, 1)), rules, ATOM, 0, 0) == 0
    assert premium_ppt(book_of((BUY, 3, 1)), rules, ATOM, 1, 1) == (3 - 1) * PPT


def test_premium_is_measured_by_the_impact_notional_of_the_instrument() -> None:
    """A margin of 10 at leverage 20 trades 200 atoms: one lot at 110 and one at 90."""
    rules = FundingRules(impact_margin_atoms=10)
    book = book_of((BUY, 110, 1), (BUY, 90, 1))
    assert premium_ppt(book, rules, ATOM, 99, 99) == (100 - 99) * PPT // 99


def test_price_of_zero_exposes_nobody() -> None:
    assert exposure_atoms(ATOM, 0, 5) == exposure_atoms(ATOM, 0, -5) == 0
    assert index_delta_ppm(5, 0, 10) == index_delta_ppm(-5, 0, 10) == 0


@pytest.mark.spec("FUND-01", "FUND-04", "NUM-01")
@given(st.integers(-(10**6), 10**6), st.integers(1, 10**5), st.integers(-(10**10), 10**10))
def test_payers_round_up_and_receivers_down(lots: int, price: int, rate: int) -> None:
    exact = Fraction(lots * price * rate, PPT)
    owed = payment_atoms(exposure_atoms(ATOM, price, lots), rate)
    assert 0 <= owed - exact < 1
    if lots and rate:
        assert (owed > 0) is ((lots > 0) == (rate > 0))


def holders(**funding: Any) -> tuple[Desk, int, int, int]:
    """A long of 10 against shorts of 7 and 3 at 100, at a full hour."""
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


# Premium, average, rate and cap by their forms


@pytest.mark.parametrize(
    ("form", "premium"),
    [
        ("impact", Fraction(103 - 100, 100)),
        ("mid", Fraction(103 + 106 - 200, 200)),
        ("mark", Fraction(7, 100)),
    ],
)
def test_premium_forms_on_one_book(form: Any, premium: Fraction) -> None:
    rules = FundingRules(premium=form, impact_notional_atoms=1)
    book = book_of((BUY, 103, 1), (SELL, 106, 1))
    assert premium_ppt(book, rules, ATOM, 100, 107) == premium * PPT


def test_mid_premium_of_a_book_without_a_side_is_nothing() -> None:
    assert premium_ppt(book_of((BUY, 103, 1)), FundingRules(premium="mid"), ATOM, 100, 107) == 0


@pytest.mark.parametrize(("leverage", "notional"), [(20, 200 * 20), (3, 600), (1, 200)])
def test_impact_notional_from_a_margin_grows_with_the_leverage(leverage: int, notional: int) -> None:
    instrument = perpetual(tiers=(Tier(0, leverage),))
    assert impact_notional_atoms(FundingRules(impact_margin_atoms=200), instrument) == notional
    assert impact_notional_atoms(FundingRules(impact_notional_atoms=7), instrument) == 7


def averaged(samples: list[int], **form: Any) -> int:
    rules = FundingRules(**form)
    prices = Prices()
    for sample in samples:
        add_premium(prices, rules, sample)
    return premium_average_ppt(prices, rules)


@pytest.mark.parametrize("name", ["binance_usdm", "binance_usdm_multi_assets", "binance_coinm", "bybit_uta"])
def test_where_premiums_are_weighted_by_time_the_newest_weighs_most(name: str) -> None:
    rules = venue_rules(profile_table(name)).funding
    prices = Prices()
    for sample in (10, 20, 60):
        add_premium(prices, rules, sample)
    assert premium_average_ppt(prices, rules) == (1 * 10 + 2 * 20 + 3 * 60) // (1 + 2 + 3)


def test_averages_of_an_interval() -> None:
    """Four samples are expected: one every quarter of an hour."""
    samples, quarter = [10, 20, 60], {"sample_ns": 15 * MINUTE_NS}
    assert averaged(samples, average="mean") == (10 + 20 + 60) // 3
    assert averaged(samples, average="linear") == (1 * 10 + 2 * 20 + 3 * 60) // (1 + 2 + 3)
    assert averaged(samples, average="padded", **quarter) == (10 + 20 + 60 + 0) // 4
    assert averaged([*samples, 80, 90], average="padded", **quarter) == (10 + 20 + 60 + 80 + 90) // 5
    trimmed = {"average": "padded", "tail_trim_ppm": 250_000, **quarter}
    assert averaged(samples, **trimmed) == (10 + 20) // 2
    assert averaged([], **trimmed) == averaged([], average="mean") == averaged([], average="linear") == 0


def test_an_interval_forgets_the_samples_of_the_one_before() -> None:
    """The mark is 10 % above the index from half an hour on, and on it in the second hour.

    Of five samples 0, 0, 10, 10 and 10 % the largest goes.
    """
    rules = {"premium": "mark", "average": "padded", "tail_trim_ppm": 100_000, "sample_ns": 15 * MINUTE_NS}
    rules |= {"rate": "plain", "interest_ppt": 0, "divisor": 1, "cap": "none"}
    desk = Desk(rulebook(mark={"formula": "basis_ema"}, funding=rules), (perpetual(),), index=(100,))
    (a,) = desk.open(RICH)
    desk.order(a, BUY, 1, 109)
    desk.order(a, SELL, 1, 111)
    first = [of(desk.index(100, later_ns=15 * MINUTE_NS), FundingSet) for _ in range(4)][-1][0]
    assert first.rate_ppt == (0 + 0 + 10 + 10) * PPT // 100 // 4
    second = [of(desk.index(110, later_ns=15 * MINUTE_NS), FundingSet) for _ in range(4)][-1][0]
    assert second.rate_ppt == 0


@pytest.mark.spec("FUND-05")
@pytest.mark.parametrize("accrual", ["payment", "index"])
def test_what_accrued_before_the_rate_changed_is_paid_at_the_old_rate(accrual: str) -> None:
    """The book's middle is 2 % above the index for three quarters of an hour, then 2 % below it.

    A sample each quarter, the first before anybody quotes. A long position of 10 lots at 100 pays at the
    stamp for what has been, though the premium is negative by then; an hour later it gets the new rate.
    """
    funding = {"premium": "mid", "rate": "plain", "interest_ppt": 0, "divisor": 1, "cap": "none"}
    funding |= {"sample_ns": 15 * MINUTE_NS, "accrual": accrual}
    desk = Desk(rulebook(funding=funding), index=(100,))
    a, b, maker = desk.open(RICH, RICH, RICH)
    desk.trade(a, b, 10, 100)
    desk.ok(MassQuote(maker, 0, ((101, 1),), ((103, 1),)))
    for _ in range(3):
        desk.tick(15 * MINUTE_NS)
    desk.ok(MassQuote(maker, 0, ((97, 1),), ((99, 1),)))
    before = desk.cash(a)
    (first,) = of(desk.tick(15 * MINUTE_NS), FundingSet)
    paid = before - desk.cash(a)
    assert first.rate_ppt == (0 + 2 + 2 + 2 - 2) * PPT // 100 // 5
    assert paid == 10 * 100 * USD * (0 + 2 + 2 + 2 - 2) // 100 // 5
    before = desk.cash(a)
    second = [event for _ in range(4) for event in of(desk.tick(15 * MINUTE_NS), FundingSet)][-1]
    assert second.rate_ppt == -2 * PPT // 100
    assert before - desk.cash(a) == -10 * 100 * USD * 2 // 100


@given(st.lists(st.integers(-100, 100), max_size=12), st.integers(0, 499_999))
def test_tails_go_from_both_ends_and_something_stays(samples: list[int], tail_trim_ppm: int) -> None:
    kept = without_tails(samples, tail_trim_ppm)
    removed = len(samples) - len(kept)
    assert removed == 2 * len(samples) * tail_trim_ppm // PPM
    assert kept == sorted(samples)[removed // 2 : removed // 2 + len(kept)]
    assert bool(kept) == bool(samples)


def test_steps_are_cut_off_towards_zero_and_parts_of_a_trillion_rounded_down() -> None:
    for numerator, step, result in ((7, 1, 2), (-7, 1, -3), (-7, 2, -2), (7, 2, 2), (-5, 2, 0)):
        assert stepped_ppt(numerator, 3, step) == result
    assert averaged([-PPM, -PPM, -PPM + 1], rate_step_ppt=PPM) == 0


@pytest.mark.parametrize(
    ("form", "premium", "rate"),
    [
        ("dampened", 30, 30 - 5),
        ("dampened", 2, 1),
        ("dampened", -30, -30 + 5),
        ("deadband", 30, 30 - 5),
        ("deadband", 5, 0),
        ("deadband", -4, 0),
        ("deadband", -30, -30 + 5),
        ("plain", 30, 30 + 1),
        ("plain", -30, -30 + 1),
    ],
)
def test_rate_forms(form: Any, premium: int, rate: int) -> None:
    assert period_rate_ppt(FundingRules(rate=form, interest_ppt=1, clamp_ppt=5), premium) == rate


def test_caps_from_the_margin_rates_of_the_largest_leverage() -> None:
    """Leverage 20 asks for 5 % initially and 2.5 % in maintenance."""
    rates = top_rates_ppt(perpetual(leverage=20))
    assert rates == (PPT // 20, PPT // 40)
    assert (
        cap_ppt(FundingRules(cap="maintenance", cap_factor_ppb=PPB * 3 // 4), "BTC", *rates) == PPT * 3 // 160
    )
    assert cap_ppt(FundingRules(cap="margin_gap", cap_factor_ppb=6 * PPB), "BTC", *rates) == 6 * PPT // 40
    gap = FundingRules(cap="margin_gap", cap_factor_ppb=6 * PPB)
    assert cap_ppt(gap, "BTC", PPT // 40, PPT // 20) == 0
    assert cap_ppt(FundingRules(cap="none"), "BTC", *rates) is None
    own = FundingRules(cap_ppt=9, caps=(SymbolCap("ETH", 5),))
    assert [cap_ppt(own, symbol, *rates) for symbol in ("BTC", "ETH")] == [9, 5]


def test_margin_rates_come_from_what_the_first_tier_states() -> None:
    stated = perpetual(tiers=(Tier(0, 20, PPB * 24 // 1000), Tier(1000, 10, PPB * 5 // 100)))
    assert top_rates_ppt(stated) == (PPT // 20, PPT * 24 // 1000)
    share = perpetual(tiers=(Tier(0, 0, 0, PPB // 5),), maintenance_of_initial_ppb=PPB * 9 // 10)
    assert top_rates_ppt(share) == (PPT // 5, PPT * 18 // 100)


def test_inverse_position_pays_on_its_value_and_longs_pay_a_positive_rate() -> None:
    inverse = perpetual(contract="inverse", tick_value_atoms=1000)
    assert exposure_atoms(inverse, 7, 2) == 2 * 1000 // 7
    assert exposure_atoms(inverse, 7, -2) == -(2 * 1000 // 7)
    assert impact_ticks(book_of((SELL, 7, 2), (SELL, 9, 5)), SELL, 2 * 1000 // 7 + 111, inverse) == 23 // 3


def test_gap_of_margins_bounds_the_period_and_other_caps_the_interval() -> None:
    gap = FundingRules(rate="plain", interest_ppt=0, divisor=8, cap="margin_gap")
    assert rate_ppt(gap, 1000, 80) == 80 // 8
    assert rate_ppt(FundingRules(rate="plain", interest_ppt=0, divisor=8), 1000, 80) == 80


FORMS = st.fixed_dictionaries(
    {
        "premium": st.sampled_from(["impact", "mid", "mark"]),
        "average": st.sampled_from(["mean", "linear", "padded"]),
        "rate": st.sampled_from(["dampened", "deadband", "plain"]),
        "cap": st.sampled_from(["rate", "maintenance", "margin_gap", "none"]),
        "paid_on": st.sampled_from(["index", "mark"]),
        "accrual": st.sampled_from(["payment", "index"]),
        "rate_step_ppt": st.sampled_from([1, PPM]),
        "divisor": st.sampled_from([1, 7, 480]),
        "quanta_per_lot": st.sampled_from([1, 10**6]),
        "interest_ppt": st.sampled_from([-(10**9), 0, 10**8 + 1]),
    }
)


@given(FORMS, st.integers(-(10**13), 10**13))
def test_no_form_goes_beyond_its_cap(form: dict[str, Any], premium: int) -> None:
    rules = FundingRules(**form)
    cap = cap_ppt(rules, "BTC", *top_rates_ppt(perpetual()))
    rate = rate_ppt(rules, premium, cap)
    if cap is not None:
        assert abs(rate) <= cap
    again = rate_ppt(rules, premium + 1, cap)
    assert rate <= again, "a larger premium never asks less"


@pytest.mark.spec("FUND-01", "FUND-02")
@settings(max_examples=60, deadline=None)
@given(FORMS, st.sampled_from([93, 99, 100, 113]), st.integers(1, 6))
def test_every_form_sums_to_zero_and_rounding_takes_less_than_an_atom_a_position(
    form: dict[str, Any], mid: int, bought: int
) -> None:
    funding = form | {"impact_notional_atoms": USD, "sample_ns": 15 * MINUTE_NS}
    desk = Desk(rulebook("book", "adl", funding=funding, mark={"formula": "basis_ema"}), index=(100,))
    a, b, c = desk.open(RICH, RICH, RICH)
    desk.trade(a, b, 7, 100)
    desk.trade(c, a, bought, 100)
    desk.order(a, BUY, 1, mid - 2)
    desk.order(b, SELL, 1, mid + 2)
    desk.index(100)
    before = [desk.cash(account) for account in (a, b, c, ROUNDING)]
    held = [desk.lots(account) for account in (a, b, c)]
    events = desk.index(100, later_ns=2 * HOUR_NS)
    (paid,) = of(events, FundingSet)
    assert paid.intervals == 2
    change = [desk.cash(account) - was for account, was in zip((a, b, c, ROUNDING), before, strict=True)]
    assert sum(change) == 0
    assert 0 <= change[-1] < len(held)
    value = paid.price_ticks * USD * paid.rate_ppt * paid.intervals
    for lots, gained in zip(held, change, strict=False):
        if form["accrual"] == "payment":
            assert 0 <= Fraction(-lots * value, PPT) - gained < 1
        else:
            assert paid.funding_index_ppm is not None
            assert -gained == -(-lots * form["quanta_per_lot"] * paid.funding_index_ppm // PPM)


@pytest.mark.spec("FUND-02")
@given(st.integers(-(10**9), 10**9), st.integers(1, 10**8), st.integers(1, 1000), st.integers(-1000, 1000))
def test_index_cuts_off_less_than_a_millionth_of_an_atom_a_quantum(
    rate: int, lot_value: int, quanta: int, lots: int
) -> None:
    delta = index_delta_ppm(rate, lot_value, quanta)
    exact = Fraction(rate * lot_value * PPM, PPT * quanta)
    assert abs(delta) <= abs(exact) < abs(delta) + 1
    received = settlement_ppm(lots * quanta, delta, 0)
    assert 0 <= settled_atoms(received) + Fraction(received, PPM) < 1


@pytest.mark.spec("FUND-02", kind="MP")
@settings(max_examples=40, deadline=None)
@given(st.permutations(range(3)), st.lists(st.integers(1, 5), min_size=1, max_size=5))
def test_neither_who_was_opened_first_nor_how_often_time_passes_changes_what_is_paid(
    order: list[int], hours: list[int]
) -> None:
    """Stamps that are paid together round once, each alone up to an atom more against whom they concern."""
    ends = []
    for people, passing in ((range(3), hours), (order, hours), (range(3), [sum(hours)])):
        desk = Desk(rulebook("book", "adl"), (perpetual(tick_value_atoms=777),), index=(101,))
        opened = desk.open(RICH, RICH, RICH)
        a, b, c = (opened[k] for k in people)
        desk.trade(a, b, 7, 101)
        desk.trade(c, a, 2, 101)
        before = [desk.cash(account) for account in (a, b, c)]
        for later in passing:
            desk.tick(later * HOUR_NS)
        ends.append([desk.cash(account) - was for account, was in zip((a, b, c), before, strict=True)])
    each, other_order, at_once = ends
    assert each[0] < 0 < each[1]
    assert other_order == each
    assert all(0 <= once - often < len(hours) for often, once in zip(each, at_once, strict=True))


def test_index_accumulates_over_intervals_and_is_paid_once() -> None:
    """0.01 % in eight hours on lots of 100 USD: 1,250 atoms a lot and hour, in millionths."""
    desk, a, _, _ = holders(accrual="index", rate="plain", rate_step_ppt=PPM)
    first = of(desk.tick(until_the_hour(desk)), FundingSet)[0]
    assert first.funding_index_ppm == 1250 * PPM
    before = desk.cash(a)
    second = of(desk.tick(2 * HOUR_NS), FundingSet)[0]
    assert second.intervals == 2
    assert second.funding_index_ppm == 3 * 1250 * PPM
    assert desk.cash(a) - before == -10 * 2 * 1250


@pytest.mark.spec("FUND-03")
def test_continuous_funding_is_an_interval_as_short_as_its_samples() -> None:
    """Deribit's form by the minute: a mark 0.1 % above the index for an hour pays 60/480 of 0.075 %."""
    rules = {
        "premium": "mark",
        "rate": "deadband",
        "clamp_ppt": 250_000_000,
        "divisor": 480,
        "paid_on": "mark",
    }
    rules |= {"interval_ns": MINUTE_NS, "sample_ns": MINUTE_NS}
    desk = Desk(rulebook(mark={"formula": "basis_ema"}, funding=rules), (perpetual(),), index=(1000,))
    a, b = desk.open(RICH, RICH)
    desk.trade(a, b, 10, 1001)
    desk.order(a, BUY, 1, 1000)
    desk.order(b, SELL, 1, 1002)
    desk.index(1000)
    desk.index(1000, later_ns=MINUTE_NS)
    before = desk.cash(b)
    rates = [of(desk.index(1000, later_ns=MINUTE_NS), FundingSet)[0].rate_ppt for _ in range(60)]
    assert rates == [750_000_000 // 480] * 60
    assert desk.cash(b) - before == 60 * (10 * 1001 * USD * (750_000_000 // 480) // PPT)


def test_tails_without_padding_are_refused() -> None:
    with pytest.raises(RulesError, match="tail_trim_ppm is 5, but the average is 'mean'"):
        rulebook(funding={"tail_trim_ppm": 5})
