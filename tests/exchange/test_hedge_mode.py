"""Hedge mode: a long and a short leg of one contract at once, each with its own cost and margin."""

from typing import Any

import numpy as np
import pytest

from tests.venues import T0, USD, Desk, of, perpetual, rulebook, spot
from zerodebt.exchange.audit import audit
from zerodebt.exchange.commands import (
    BUY,
    SELL,
    AmendOrder,
    CancelAll,
    Deposit,
    LoadPositions,
    MassQuote,
    PlaceOrder,
    SetLeverage,
    SetPositionMode,
    TransferMargin,
    Trigger,
)
from zerodebt.exchange.events import (
    CLEARING,
    HOUSE,
    INSURANCE,
    Deleveraged,
    Event,
    Filled,
    LiquidationEnded,
    LiquidationStarted,
    OrderClosed,
    PositionModeSet,
    TakenOver,
)
from zerodebt.exchange.instruments import Tier
from zerodebt.exchange.margin import (
    initial_excess_atoms,
    initial_of,
    initial_requirement_atoms,
    maintenance_after,
    maintenance_of,
    pooled_equity,
    risk_of,
)
from zerodebt.exchange.reject import RejectReason as R
from zerodebt.exchange.rules import RulesError, VenueRules
from zerodebt.exchange.units import HOUR_NS, PPB

OFFERED = {"hedge_mode": True}


def hedging(*waterfall: str, margin: dict[str, Any] | None = None, **tables: Any) -> VenueRules:
    return rulebook(*waterfall, margin=OFFERED | (margin or {}), **tables)


def hedged_desk(rules: VenueRules | None = None, *instruments: Any) -> tuple[Desk, int, int]:
    """A desk at 100 with an account in hedge mode and a rich one in net mode."""
    desk = Desk(rules or hedging(), instruments, index=(100,) * max(1, len(instruments)))
    hedger, other = desk.open(1000, 100_000)
    desk.ok(SetPositionMode(hedger, "hedge"))
    return desk, hedger, other


def legs(desk: Desk, account: int, instrument: int = 0) -> tuple[int, ...]:
    return desk.venue.view.legs_lots(instrument, account)


def enter(
    desk: Desk, hedger: int, other: int, leg: Any, side: Any, lots: int, price: int = 100
) -> list[Event]:
    """The net account rests, the account in hedge mode takes."""
    desk.order(other, -side, lots, price)
    return desk.ok(PlaceOrder(hedger, 0, side, lots, price, tif="fok", leg=leg))


def both(desk: Desk, hedger: int, other: int, long: int, short: int) -> None:
    enter(desk, hedger, other, "long", BUY, long)
    enter(desk, hedger, other, "short", SELL, short)


def test_both_legs_are_held_at_once_and_only_their_own_sides_close_them() -> None:
    desk, hedger, other = hedged_desk()
    both(desk, hedger, other, 10, 4)
    assert legs(desk, hedger) == (10, -4)
    assert legs(desk, other) == (-6, 0), "a net account has one position"
    assert desk.lots(hedger) == 10 - 4
    assert desk.venue.view.open_interest_lots(0) == 10, "4 against the own short leg's buyer, 6 of the other"
    enter(desk, hedger, other, "long", SELL, 3)
    enter(desk, hedger, other, "short", BUY, 1)
    assert legs(desk, hedger) == (10 - 3, -4 + 1)


def test_each_leg_pays_its_own_requirement() -> None:
    desk, hedger, other = hedged_desk()
    both(desk, hedger, other, 10, 4)
    # leverage 20: maintenance is 1/40 of the value of each leg
    assert desk.requirement(hedger) == (10 * 100 + 4 * 100) * USD // 40
    desk.index(110)
    assert desk.requirement(hedger) == (10 * 110 + 4 * 110) * USD // 40
    assert desk.equity(hedger) == (1000 + 10 * 10 - 4 * 10) * USD


def test_a_closing_order_never_flips_its_leg() -> None:
    desk, hedger, other = hedged_desk()
    both(desk, hedger, other, 10, 4)
    desk.order(other, BUY, 20, 100)
    events = desk.ok(PlaceOrder(hedger, 0, SELL, 15, 100, leg="long"))
    assert [event.size_lots for event in of(events, Filled)] == [10]
    assert legs(desk, hedger) == (0, -4)
    assert desk.refused(PlaceOrder(hedger, 0, SELL, 1, 100, leg="long")) is R.REDUCE_ONLY_NOTHING


def test_closing_profit_is_paid_by_the_contracts_one_clearing_account() -> None:
    desk, hedger, other = hedged_desk()
    both(desk, hedger, other, 10, 4)
    desk.index(110)
    enter(desk, hedger, other, "short", BUY, 4, 110)
    assert desk.cash(hedger) == (1000 - 4 * 10) * USD
    costs = sum(desk.state.accounts.cost.array[:, : desk.state.accounts.count].sum(axis=1).tolist())
    assert desk.cash(CLEARING, 2) == -costs


def test_resting_orders_of_both_legs_count_at_their_worst() -> None:
    desk, hedger, _ = hedged_desk()
    desk.ok(SetLeverage(hedger, 0, 2))
    desk.ok(PlaceOrder(hedger, 0, BUY, 10, 100, leg="long"))
    # half of 10 * 100 is promised, a short leg of 10 needs the other half and 11 more than there is
    assert desk.refused(PlaceOrder(hedger, 0, SELL, 11, 101, leg="short")) is R.MARGIN_TOO_SMALL
    desk.ok(PlaceOrder(hedger, 0, SELL, 10, 101, leg="short"))


def test_own_legs_do_not_trade_with_each_other() -> None:
    desk, hedger, _ = hedged_desk()
    resting = desk.order(hedger, SELL, 5, 100, leg="short")
    events = desk.ok(PlaceOrder(hedger, 0, BUY, 5, 100, leg="long"))
    assert not of(events, Filled)
    assert [(e.order_id, e.reason) for e in of(events, OrderClosed)] == [(resting, "self_trade")]


def test_a_walk_meets_orders_of_both_legs_of_one_maker() -> None:
    desk, hedger, other = hedged_desk()
    both(desk, hedger, other, 10, 4)
    desk.order(hedger, SELL, 6, 101, leg="short")
    desk.order(hedger, SELL, 12, 101, leg="long")
    desk.ok(PlaceOrder(other, 0, BUY, 18, 101, tif="ioc"))
    # the short leg grows by 6, the reduce-only order is clipped to the long leg's 10
    assert legs(desk, hedger) == (0, -10)


def test_funding_is_paid_by_each_leg() -> None:
    rules = hedging(
        funding={"premium": "mark", "interest_ppt": 10**9, "clamp_ppt": 10**12, "paid_on": "mark"}
    )
    desk, hedger, other = hedged_desk(rules)
    both(desk, hedger, other, 10, 4)
    before = desk.cash(hedger), desk.cash(other)
    desk.tick(HOUR_NS)
    paid = before[0] - desk.cash(hedger)
    assert paid > 0
    assert desk.cash(other) - before[1] == paid, "the 4 of the short leg pay the 4 of the long one"


def test_isolated_legs_have_a_pocket_each_and_are_liquidated_alone() -> None:
    desk, hedger, other = hedged_desk()
    desk.ok(SetLeverage(hedger, 0, 10, "isolated"))
    both(desk, hedger, other, 10, 10)
    long_pocket, short_pocket = 2, 3
    assert desk.cash(hedger, long_pocket) == desk.cash(hedger, short_pocket) == 10 * 100 * USD // 10
    desk.order(other, BUY, 10, 91)
    events = desk.index(91)
    # 100 - 10 * 9 = 10 is less than 10 * 91 / 40
    assert [e.pocket for e in of(events, LiquidationStarted)] == [long_pocket]
    assert legs(desk, hedger) == (0, -10)
    assert desk.cash(hedger, long_pocket) == 0
    assert desk.equity(hedger, short_pocket) == (100 + 10 * 9) * USD


def test_margin_moves_into_the_leg_that_is_named() -> None:
    desk, hedger, other = hedged_desk()
    desk.ok(SetLeverage(hedger, 0, 10, "isolated"))
    both(desk, hedger, other, 10, 10)
    desk.ok(TransferMargin(hedger, 0, 50 * USD, "short"))
    assert (desk.cash(hedger, 2), desk.cash(hedger, 3)) == (100 * USD, 150 * USD)
    assert desk.refused(TransferMargin(hedger, 0, USD)) is R.WRONG_LEG


def test_the_larger_leg_is_liquidated_first_and_the_other_stays_when_that_is_enough() -> None:
    desk, hedger, other = hedged_desk()
    both(desk, hedger, other, 100, 20)
    desk.order(other, BUY, 100, 89)
    events = desk.index(89)
    # 1000 - 80 * 11 = 120 is less than 120 * 89 / 40 = 267
    forced = of(events, Filled)
    assert [(e.taker, e.taker_side, e.size_lots) for e in forced] == [(hedger, SELL, 100)]
    assert of(events, LiquidationEnded)
    assert legs(desk, hedger) == (0, -20)
    assert desk.equity(hedger) == 120 * USD


def test_one_leg_is_closed_in_part_until_the_pool_is_safe() -> None:
    rules = hedging(liquidation={"steps": ["restore"]})
    desk, hedger, other = hedged_desk(rules)
    both(desk, hedger, other, 100, 20)
    desk.order(other, BUY, 100, 89)
    desk.index(89)
    # 120 of equity carries 120 * 40 / 89 = 53.9 lots: 20 of the short leg and 33 of the long one
    assert legs(desk, hedger) == (33, -20)


def test_a_short_leg_taken_over_joins_the_takers_net_position() -> None:
    rules = hedging("book", "insurance", "adl", liquidation={"steps": ["whole"]})
    desk, hedger, other = hedged_desk(rules)
    desk.ok(Deposit(0, INSURANCE, (10_000 * USD,)))
    both(desk, hedger, other, 10, 90)
    events = desk.index(113)
    # 1000 - 80 * 13 = -40: the fund takes both legs, which are 80 short in its one position
    assert [(e.instrument, e.lots) for e in of(events, TakenOver)] == [(0, 10), (0, -90)]
    assert legs(desk, hedger) == (0, 0)
    assert legs(desk, INSURANCE) == (-80, 0)


def test_winning_legs_are_deleveraged_and_nobody_against_himself() -> None:
    desk, hedger, other = hedged_desk(hedging("book", "adl"))
    (loser,) = desk.open(100)
    desk.order(loser, BUY, 10, 100)
    desk.ok(PlaceOrder(hedger, 0, SELL, 10, 100, leg="short"))
    enter(desk, hedger, other, "long", BUY, 5)
    events = desk.index(80)
    done = of(events, Deleveraged)
    assert {(e.account, e.winner, e.lots) for e in done} == {(loser, hedger, -10)}
    assert legs(desk, hedger) == (5, 0)


def test_lots_that_a_policy_shares_out_are_shared_without_the_losers_own_leg() -> None:
    policy = {"policy": "pro_rata", "weights": "contracts", "price": "mark"}
    desk, hedger, other = hedged_desk(hedging("book", "adl", "house", adl=policy))
    desk.ok(Deposit(0, HOUSE, (1000 * USD,)))
    (rich,) = desk.open(100_000)
    both(desk, hedger, other, 70, 10)
    desk.trade(rich, other, 30, 100)
    events = desk.index(80)
    done = of(events, Deleveraged)
    assert (done[0].account, done[0].winner, done[0].lots) == (hedger, other, -70)
    assert desk.lots(other) == -(60 + 30 - 70)
    report = audit(desk.batches)
    assert report.findings == ()


def test_emptying_a_leg_closes_its_own_attached_orders_only() -> None:
    desk, hedger, other = hedged_desk()
    both(desk, hedger, other, 10, 4)
    stop = Trigger("stop", "mark", 90)
    desk.ok(PlaceOrder(hedger, 0, SELL, 10, None, trigger=stop, leg="long"))
    short_stop = Trigger("stop", "mark", 120)
    desk.ok(PlaceOrder(hedger, 0, BUY, 4, None, trigger=short_stop, leg="short"))
    enter(desk, hedger, other, "long", SELL, 10)
    assert [armed.order.trigger for armed in desk.state.armed.values()] == [short_stop]
    desk.order(other, SELL, 4, 120)
    desk.index(120)
    assert legs(desk, hedger) == (0, 0), "the stop of the short leg has closed it"


def test_cancel_all_reaches_the_orders_of_both_legs() -> None:
    desk, hedger, _ = hedged_desk()
    desk.order(hedger, BUY, 1, 99, leg="long")
    desk.order(hedger, SELL, 1, 101, leg="short")
    assert len(of(desk.ok(CancelAll(hedger, 0)), OrderClosed)) == 2
    assert desk.refused(CancelAll(hedger)) is R.NOTHING_TO_DO


@pytest.mark.parametrize("instrument", [0, 1])
def test_amending_an_order_of_a_short_leg_keeps_it_there(instrument: int) -> None:
    desk, hedger, other = hedged_desk(None, perpetual("ETH"), perpetual())
    order = desk.order(hedger, SELL, 5, 105, leg="short", instrument=instrument)
    desk.order(other, BUY, 5, 100, instrument=instrument)
    desk.ok(AmendOrder(hedger, order, price_ticks=100))
    assert legs(desk, hedger, instrument) == (0, -5)


def test_the_mode_is_refused_where_it_does_not_fit() -> None:
    net = Desk(index=(100,))
    (somebody,) = net.open(100)
    assert net.refused(SetPositionMode(somebody, "hedge")) is R.NOT_IN_RULEBOOK
    assert net.refused(PlaceOrder(somebody, 0, BUY, 1, 99, leg="long")) is R.WRONG_LEG
    desk, hedger, other = hedged_desk(None, perpetual(), spot())
    assert desk.refused(SetPositionMode(hedger, "hedge")) is R.NOTHING_TO_DO
    assert desk.refused(PlaceOrder(other, 0, BUY, 1, 99, leg="long")) is R.WRONG_LEG
    assert desk.refused(PlaceOrder(hedger, 0, BUY, 1, 99)) is R.WRONG_LEG
    assert desk.refused(PlaceOrder(hedger, 1, BUY, 1, 99, leg="long")) is R.WRONG_LEG
    assert desk.refused(MassQuote(hedger, 0, ((99, 1),), ())) is R.WRONG_LEG
    opening = PlaceOrder(hedger, 0, BUY, 1, 99, reduce_only=True, leg="long")
    assert desk.refused(opening) is R.CONTRADICTION
    order = desk.order(hedger, BUY, 1, 99, leg="long")
    assert desk.refused(SetPositionMode(hedger, "net")) is R.POSITION_MODE_IN_USE
    desk.ok(CancelAll(hedger))
    assert of(desk.ok(SetPositionMode(hedger, "net")), PositionModeSet) == [PositionModeSet(hedger, "net")]
    assert order not in desk.state.orders
    enter_net = desk.ok(PlaceOrder(hedger, 0, BUY, 1, 99))
    assert not of(enter_net, Filled)


def test_both_legs_can_be_loaded_before_the_start() -> None:
    desk = Desk(hedging())
    hedger, other = desk.open(1000, 1000)
    desk.ok(SetPositionMode(hedger, "hedge"))
    desk.ok(load(hedger, other, 5))
    assert desk.refused(load(hedger, other, 1)) is R.CONTRADICTION
    (third,) = desk.open(1000)
    desk.ok(load(third, hedger, 3))
    assert legs(desk, hedger) == (5, -3)


def load(long: int, short: int, lots: int) -> LoadPositions:
    return LoadPositions(0, 100, (long, short), (lots, -lots), (100, 100), (10, 10), (0, 0))


def test_a_snapshot_keeps_legs_orders_and_mode() -> None:
    desk, hedger, other = hedged_desk()
    both(desk, hedger, other, 10, 4)
    desk.order(hedger, SELL, 2, 105, leg="short")
    desk.ok(PlaceOrder(hedger, 0, BUY, 4, None, trigger=Trigger("stop", "mark", 120), leg="short"))
    twin = desk.restored()
    assert twin.state_hash() == desk.venue.state_hash()
    later = PlaceOrder(hedger, 0, BUY, 1, 101, leg="short")
    assert twin.apply(later, T0) == desk.venue.apply(later, T0)
    assert twin.state_hash() == desk.venue.state_hash()
    twin.check()


def whole(*bounds: int) -> tuple[Tier, ...]:
    """Tiers by lots; the n-th asks for n percent of the whole position."""
    return tuple(Tier(lower, 20, (n + 1) * PPB // 100) for n, lower in enumerate((0, *bounds)))


def gross_desk(*bounds: int) -> tuple[Desk, int, int]:
    tiered = perpetual(tiers=whole(*bounds), tier_unit="lots", tier_form="whole")
    return hedged_desk(hedging(margin={"tier_sum": "gross"}), tiered)


def test_a_gross_tier_is_found_by_both_legs_and_charged_to_each() -> None:
    desk, hedger, other = gross_desk(10)
    enter(desk, hedger, other, "long", BUY, 8)
    assert desk.requirement(hedger) == 8 * 100 * USD // 100
    enter(desk, hedger, other, "short", SELL, 6)
    # 8 + 6 lots lie in the second tier: 2 % of each
    assert desk.requirement(hedger) == (8 + 6) * 100 * USD * 2 // 100


def test_isolated_legs_have_their_own_tiers_even_where_the_rule_is_gross() -> None:
    desk, hedger, other = gross_desk(10)
    desk.ok(SetLeverage(hedger, 0, 10, "isolated"))
    both(desk, hedger, other, 8, 6)
    assert desk.requirement(hedger, 2) == 8 * 100 * USD // 100
    assert desk.requirement(hedger, 3) == 6 * 100 * USD // 100


@pytest.mark.parametrize(("mark", "is_found"), [(27, False), (26, True)])
def test_the_scan_finds_what_gross_tiers_ask_for(mark: int, is_found: bool) -> None:
    desk, hedger, other = gross_desk(60)
    desk.ok(Deposit(0, hedger, (500 * USD,)))
    both(desk, hedger, other, 50, 30)
    # at 27: 1500 - 20 * 73 = 40 against 2 % of 80 * 27 = 43.2
    # at 28: 1500 - 20 * 72 = 60 against 2 % of 80 * 28 = 44.8; 1 %, as each leg alone, would carry 27 too
    assert bool(of(desk.index(mark + 1), LiquidationStarted)) is is_found


def test_rules_that_legs_are_not_modelled_beside_are_refused() -> None:
    with pytest.raises(RulesError, match="hedge_mode"):
        hedging("book", "default_fund")
    with pytest.raises(RulesError, match="tier_sum"):
        hedging(margin={"tier_sum": "gross"}, liquidation={"steps": ["restore"]})
    marginal = perpetual(tiers=(Tier(0, 20), Tier(1000, 10)))
    desk = Desk(hedging(margin={"tier_sum": "gross"}), (marginal,))
    (somebody,) = desk.open(100)
    assert desk.refused(SetPositionMode(somebody, "hedge")) is R.NOT_IN_RULEBOOK


def test_a_run_in_net_mode_is_audited_as_ever_where_hedge_mode_is_offered() -> None:
    desk = Desk(hedging("book", "adl", "house"), index=(100,))
    long, short, other = desk.open(60, 1000, 1000)
    desk.trade(long, short, 10, 100)
    desk.order(other, BUY, 20, 95)
    desk.index(95)
    report = audit(desk.batches)
    assert not report.findings


# Tiers by the size of both legs

SUMMED = (Tier(0, 20), Tier(1000 * USD, 10), Tier(2000 * USD, 5))
"""Maintenance is half of the initial rate: 1/40 up to 1000, 1/20 up to 2000, 1/10 above."""


def summed_desk() -> tuple[Desk, int, int]:
    """Long 8 and short 6 at 100: 1400 together are in the second tier, each alone is in the first."""
    instrument = perpetual(tiers=SUMMED, tier_form="whole")
    desk, hedger, other = hedged_desk(hedging(margin={"tier_sum": "gross"}), instrument)
    both(desk, hedger, other, 8, 6)
    return desk, hedger, other


@pytest.mark.spec("MARG-04")
def test_both_legs_together_find_the_tier_of_each() -> None:
    desk, hedger, _ = summed_desk()
    long, short = desk.state.legs_of(0)
    assert desk.requirement(hedger) == (800 + 600) * USD // 20
    assert maintenance_of(desk.state, long, hedger, 8) == 800 * USD // 20
    assert [initial_of(desk.state, leg, hedger) for leg in (long, short)] == [80 * USD, 60 * USD]
    assert initial_requirement_atoms(desk.state, (hedger, 0)) == (80 + 60) * USD
    assert initial_excess_atoms(desk.state, hedger) == (1000 - 80 - 60) * USD


@pytest.mark.spec("MARG-03")
@pytest.mark.parametrize(
    ("long_lots", "short_lots", "required"),
    [
        (8, None, (800 + 600) / 20),
        (2, None, (200 + 600) / 40),
        (2, -6, (200 + 600) / 40),
        (None, -1, (800 + 100) / 40),
        (15, None, (1500 + 600) / 10),
        (0, 0, 0),
    ],
)
def test_requirement_after_a_change_of_one_leg_counts_the_other_at_its_tier(
    long_lots: int | None, short_lots: int | None, required: float
) -> None:
    desk, hedger, _ = summed_desk()
    wanted = zip(desk.state.legs_of(0), (long_lots, short_lots), strict=True)
    after = [(leg, lots) for leg, lots in wanted if lots is not None]
    risk = risk_of(desk.state, (hedger, 0))
    assert maintenance_after(desk.state, (hedger, 0), risk, after) == required * USD


@pytest.mark.spec("MARG-02")
@pytest.mark.parametrize(
    ("leg", "side", "lots", "price", "required"),
    [
        ("long", BUY, 7, 90, (1500 + 600) / 5),
        ("short", SELL, 9, 110, (800 + 1500) / 5),
        ("long", BUY, 1, 90, (900 + 600) / 10),
    ],
)
def test_resting_orders_of_one_leg_raise_the_tier_of_both(
    leg: Any, side: Any, lots: int, price: int, required: float
) -> None:
    desk, hedger, _ = summed_desk()
    desk.ok(PlaceOrder(hedger, 0, side, lots, price, leg=leg))
    assert initial_excess_atoms(desk.state, hedger) == (1000 - required) * USD


@pytest.mark.spec("LIQ-02", "LIQ-12")
@pytest.mark.parametrize(("tier_sum", "share"), [("gross", 20), ("legs", 40)])
def test_requirement_of_many_accounts_sums_legs_where_the_rulebook_does(tier_sum: str, share: int) -> None:
    """8 and 6 lots at 100 of the second contract; the first one is held by nobody."""
    instruments = [perpetual(name, tiers=SUMMED, tier_form="whole") for name in ("BTC", "ETH")]
    desk, hedger, other = hedged_desk(hedging(margin={"tier_sum": tier_sum}), *instruments)
    for leg, side, lots in (("long", BUY, 8), ("short", SELL, 6)):
        desk.order(other, -side, lots, 100, instrument=1)
        desk.ok(PlaceOrder(hedger, 1, side, lots, 100, tif="fok", leg=leg))  # type: ignore[arg-type]
    equity, required = pooled_equity(desk.state, np.array([hedger]))
    assert (equity.tolist(), required.tolist()) == ([1000 * USD], [(800 + 600) * USD // share])
    assert desk.requirement(hedger) == (800 + 600) * USD // share
    assert initial_excess_atoms(desk.state, hedger) == (1000 - 2 * (800 + 600) // share) * USD


@pytest.mark.spec("LIQ-12")
def test_scan_leaves_isolated_legs_alone_that_only_together_would_be_in_a_higher_tier() -> None:
    """At 98 the long has 40 - 16 = 24: alone it needs 784 / 40 = 19.6, in the second tier 39.2."""
    instrument = perpetual(tiers=SUMMED, tier_form="whole")
    desk, hedger, other = hedged_desk(hedging(margin={"tier_sum": "gross"}), instrument)
    desk.ok(SetLeverage(hedger, 0, 20, "isolated"))
    both(desk, hedger, other, 8, 6)
    assert not of(desk.index(98), LiquidationStarted)
    assert legs(desk, hedger) == (8, -6)


@pytest.mark.spec("MARG-02")
def test_level_that_stops_opening_reads_the_tier_of_both_legs() -> None:
    """800 and 600 need 70 in maintenance, of which the level asks for three times."""
    levels = {"moves_ppb": [], "levels": [{"name": "stop", "at_ppb": 3 * PPB, "opens": False}]}
    rules = hedging(margin={"tier_sum": "gross"}, portfolio=levels)
    desk, hedger, other = hedged_desk(rules, perpetual(tiers=SUMMED, tier_form="whole"))
    both(desk, hedger, other, 8, 6)
    assert initial_excess_atoms(desk.state, hedger) == (1000 - 3 * 70) * USD - 1


def test_a_forced_order_does_not_meet_the_owners_order_for_the_other_leg() -> None:
    """The long leg's margin of 50 has lost 40; the owner's own bid at the mark is for the short leg."""
    desk, hedger, other = hedged_desk()
    desk.ok(SetLeverage(hedger, 0, 20, "isolated"))
    both(desk, hedger, other, 10, 4)
    own = desk.order(hedger, BUY, 3, 96, leg="short")
    bid = desk.order(other, BUY, 10, 95)
    events = desk.index(96)
    assert [(e.maker_order, e.size_lots) for e in of(events, Filled)] == [(bid, 10)]
    assert of(events, OrderClosed) == [OrderClosed(own, 3, "self_trade")]
    assert legs(desk, hedger) == (0, -4)
    assert audit(desk.batches).findings == ()


def test_a_ladder_counts_the_tier_of_both_legs_where_they_are_summed() -> None:
    """8 and 6 lots are in the second tier and need 28; with 4 and 6 both are in the first and need 10."""
    tiered = perpetual(tiers=whole(10), tier_unit="lots", tier_form="whole")
    ladder = {"liquidation": {"steps": ["ladder"]}, "adl": {"trigger": "unfilled"}}
    desk, hedger, other = hedged_desk(hedging(margin={"tier_sum": "gross"}, **ladder), tiered)
    both(desk, hedger, other, 8, 6)
    desk.state.ledger.post("withdrawal", [(hedger, 0, -973 * USD), (0, 0, 973 * USD)])
    desk.order(other, BUY, 8, 100)
    events = desk.index(100)
    assert [e.size_lots for e in of(events, Filled)] == [4]
    assert legs(desk, hedger) == (4, -6)
    assert (desk.equity(hedger), desk.requirement(hedger)) == (27 * USD, 10 * USD)
