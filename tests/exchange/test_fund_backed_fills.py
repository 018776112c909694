"""dYdX v4: the fund receives or pays for every fill of a forced order, and what it cannot pay is not made."""

from typing import Any

import pytest

from tests.exchange.audit.damage import Edit, edited, rules_broken, without
from tests.venues import USD, Desk, of, perpetual, rulebook
from zerodebt.exchange.audit import audit
from zerodebt.exchange.commands import BUY, SELL, Deposit, SetLeverage
from zerodebt.exchange.events import (
    HOUSE,
    INSURANCE,
    DeficitClosed,
    Deleveraged,
    Filled,
    OrderAccepted,
    Posted,
    StagePaid,
)
from zerodebt.exchange.instruments import Tier
from zerodebt.exchange.rules import RulesError, profile_table, venue_rules
from zerodebt.exchange.units import PPB
from zerodebt.exchange.waterfall.allocation import Closing, can_bear, fund_delta_atoms, fund_deltas

RICH = 10_000_000
TIERS = (Tier(0, 0, 50_000_000, 100_000_000),)  # 10 % initial, 5 % maintenance


@pytest.mark.spec("WFALL-01")
def test_what_the_fund_pays_for_one_fill_is_gone_for_the_next() -> None:
    """Two fills lack 10 each and the fund has 15."""
    fills = [Closing(90, 100, 1), Closing(90, 100, 1)]
    assert fund_deltas(fills, 0, 2, 0, 15) == [-10]
    assert fund_deltas(fills, 0, 2, 0, 20) == [-10, -10]
    assert fund_deltas(fills, 0, 2, 0, None) == [0, 0]


@pytest.mark.spec("WFALL-01")
def test_what_the_fund_pays_stays_with_the_account_for_its_next_fill() -> None:
    """10 of equity is 5 a fill: each may bring 95 and brings 90, so that 5 are left after the first."""
    fills = [Closing(90, 100, 1), Closing(90, 100, 1)]
    assert fund_deltas(fills, 10, 2, 0, 100) == [-5, -5]


@pytest.mark.parametrize(
    ("quote", "bankruptcy", "fee_ppb", "delta"),
    [
        (110, 100, 20_000_000, 2),
        (101, 100, 0, 0),
        (100, 100, PPB, 0),
        (97, 100, PPB, -3),
        (-99, -100, PPB, 1),
    ],
)
def test_the_fund_gets_its_share_of_a_surplus_and_pays_all_of_a_shortfall(
    quote: int, bankruptcy: int, fee_ppb: int, delta: int
) -> None:
    assert fund_delta_atoms(quote, bankruptcy, fee_ppb) == delta


@pytest.mark.parametrize(
    ("balance", "delta", "bears"), [(5, -5, True), (5, -6, False), (-5, 0, True), (-5, 1, True)]
)
def test_a_fund_below_zero_bears_what_costs_it_nothing(balance: int, delta: int, bears: bool) -> None:
    assert can_bear(balance, delta) is bears


def chain(fund: int = 0) -> tuple[Desk, int, int]:
    """Ten lots bought at 100 with 100 USD, and the account that sold them."""
    desk = Desk(venue_rules(profile_table("dydx_v4")), (perpetual(tiers=TIERS),), index=(100,))
    account, maker = desk.open(100, RICH)
    if fund:
        desk.ok(Deposit(0, INSURANCE, (fund * USD,)))
    desk.trade(account, maker, 10, 100)
    return desk, account, maker


def is_sound(desk: Desk) -> bool:
    return not audit(desk.batches).findings


def surplus(events: list[Any]) -> list[int]:
    """What the fund got."""
    return [{a: x for a, _, x in p.legs}[INSURANCE] for p in of(events, Posted) if p.reason == "surplus"]


@pytest.mark.spec("WFALL-01", "LIQ-08")
def test_a_gap_beyond_bankruptcy_is_deleveraged_while_the_fund_is_empty() -> None:
    """At 85 the account lacks 50 USD: nothing is sold to the bid, the seller gives back 5 USD a lot."""
    desk, account, maker = chain()
    (bidder,) = desk.open(RICH)
    desk.order(bidder, BUY, 10, 80)
    events = desk.index(85)
    assert not of(events, Filled)
    assert [(e.winner, e.lots, e.price_ticks) for e in of(events, Deleveraged)] == [(maker, -10, 90)]
    assert [e.residual_atoms for e in of(events, DeficitClosed)] == [0]
    assert (desk.lots(account), desk.equity(account), desk.cash(INSURANCE)) == (0, 0, 0)
    assert is_sound(desk)


@pytest.mark.spec("WFALL-01", "LIQ-08")
def test_a_forced_order_stops_before_the_fill_that_an_empty_fund_cannot_pay_for() -> None:
    """At 92 equity is 20 USD, 2 a lot: a bid at 90 takes all of it, one at 89 would lack a dollar a lot."""
    desk, account, _ = chain()
    (bidder,) = desk.open(RICH)
    desk.order(bidder, BUY, 4, 90)
    desk.order(bidder, BUY, 6, 89)
    events = desk.index(92)
    assert [(e.price_ticks, e.size_lots) for e in of(events, Filled)] == [(90, 4)]
    assert (desk.lots(account), desk.equity(account)) == (6, 6 * 2 * USD)
    assert is_sound(desk)


@pytest.mark.spec("WFALL-01")
def test_a_fund_that_can_pays_what_a_fill_lacks() -> None:
    desk, account, _ = chain(fund=6)
    (bidder,) = desk.open(RICH)
    desk.order(bidder, BUY, 4, 90)
    desk.order(bidder, BUY, 6, 89)
    events = desk.index(92)
    assert [(e.price_ticks, e.size_lots) for e in of(events, Filled)] == [(90, 4), (89, 6)]
    assert surplus(events) == [-6 * USD]
    assert (desk.lots(account), desk.equity(account), desk.cash(INSURANCE)) == (0, 0, 0)
    assert of(events, StagePaid) == [StagePaid(0, "insurance", INSURANCE, 6 * USD)]
    report = audit(desk.batches)
    assert (report.findings, report.paid_by_stage) == ((), {"insurance": 6 * USD})


@pytest.mark.parametrize(
    "edit",
    [
        without(StagePaid),
        edited(StagePaid, atoms=lambda event: event.atoms + 1),
        edited(StagePaid, payer=lambda _: HOUSE),
        edited(StagePaid, stage=lambda _: "house"),
        edited(StagePaid, deficit_id=lambda _: 1),
    ],
    ids=["unsaid", "more", "another payer", "another stage", "a deficit"],
)
def test_a_payment_for_fills_that_is_stated_wrongly_is_named(edit: Edit) -> None:
    desk, _, _ = chain(fund=10)
    (bidder,) = desk.open(RICH)
    desk.order(bidder, BUY, 10, 89)
    desk.index(92)
    assert not audit(desk.batches).findings
    assert "(d)" in rules_broken(audit(edit(desk.batches)))


def test_a_fund_receives_at_most_its_fee_of_a_better_fill() -> None:
    """Ten lots sold at 94 bring 40 USD beyond the bankruptcy price, the fee is 1.5 % of 940."""
    desk, account, _ = chain()
    (bidder,) = desk.open(RICH)
    desk.order(bidder, BUY, 10, 94)
    events = desk.index(94)
    assert surplus(events) == [940 * USD * 15 // 1000]
    assert not of(events, StagePaid)
    assert desk.equity(account) == 40 * USD - 940 * USD * 15 // 1000
    assert is_sound(desk)


@pytest.mark.spec("WFALL-01", "LIQ-08")
def test_what_the_fund_paid_for_one_position_is_gone_from_the_budget_for_the_next() -> None:
    """Twice 10 lots at 96 with 100 - 80 = 20, so that each may go at 95 for its half.

    The first goes at 93: the fund pays 20 of a budget of 30. With 20 - 30 + 20 = 10 of equity and the 10 that
    are left the second may lose 20, 2 a lot.
    """
    limits = {"steps": ["whole"], "shortfall": "fund", "insurance_lost_max_atoms": 30 * USD}
    instruments = (perpetual(), perpetual("ETH"))
    desk = Desk(rulebook("book", "insurance", "adl", liquidation=limits), instruments, index=(100, 100))
    desk.ok(Deposit(0, INSURANCE, (100 * USD,)))
    account, maker = desk.open(100, RICH)
    for n, bid in ((0, 93), (1, 94)):
        desk.trade(account, maker, 10, 100, instrument=n)
        desk.order(maker, BUY, 10, bid, instrument=n)
    events = desk.index(96, 96)
    assert [e.price_ticks for e in of(events, OrderAccepted)] == [91, 94]
    assert surplus(events) == [-20 * USD, -10 * USD]
    assert (desk.equity(account), desk.cash(INSURANCE)) == (0, 70 * USD)
    assert is_sound(desk)


def test_a_fund_that_bears_fills_must_be_in_the_waterfall() -> None:
    with pytest.raises(RulesError, match="shortfall is 'fund'"):
        venue_rules(profile_table("dydx_v4") | {"waterfall": ["book", "adl"]})


def test_margin_that_an_isolated_order_sets_free_leaves_after_its_last_fill() -> None:
    """Closed half at 100 and half at 82, the loss of 90 USD is the position's: 10 of its 100 come back."""
    desk = Desk(venue_rules(profile_table("dydx_v4")), (perpetual(tiers=TIERS),), index=(100,))
    account, maker, bidder = desk.open(100, RICH, RICH)
    desk.ok(SetLeverage(account, 0, 10, "isolated"))
    desk.trade(account, maker, 10, 100)
    desk.order(bidder, BUY, 5, 100)
    desk.order(bidder, BUY, 5, 82)
    desk.order(account, SELL, 10, 82, tif="ioc")
    assert (desk.lots(account), desk.cash(account), desk.cash(account, 2)) == (0, 10 * USD, 0)
    assert is_sound(desk)
