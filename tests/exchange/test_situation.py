"""The situation of a running venue's account stands where the account does, and goes where it would go."""

from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.exchange.test_conversion import COIN, NINETY
from tests.exchange.test_redemption import LAG_NS, bill_desk, redeemed
from tests.venues import ASSETS, USD, Desk, future, of, perpetual, rulebook, spot
from zerodebt.exchange.commands import BUY, SELL, Deposit, PlaceOrder, SetStatus, SettleVariation, Trigger
from zerodebt.exchange.events import (
    Filled,
    InterestCharged,
    MarginCalled,
    RedemptionPaid,
    VariationSettled,
)
from zerodebt.exchange.margin import collateral_initial_atoms, initial_excess_atoms
from zerodebt.exchange.oracle import ASKED, PathStep, Position, Situation
from zerodebt.exchange.units import DAY_NS, HOUR_NS, MINUTE_NS, PPB, SECOND_NS

RICH = 1_000_000
TENTH = 100_000_000
GROUP = [{"underlying": "BTC", "instruments": ["BTC", "BTC-DEC", "XBT"]}]
INVERSE: dict[str, Any] = {"contract": "inverse", "tick_value_atoms": 100 * 100 * USD}


# A grid of price moves


@pytest.mark.spec("LIQ-07")
@settings(deadline=None)
@given(
    lots=st.tuples(st.integers(-20, 20), st.integers(-20, 20), st.integers(-20, 20)),
    marks=st.tuples(*[st.integers(40, 160)] * 3),
    wallet=st.integers(0, 3_000),
    offset=st.sampled_from([0, 4 * TENTH]),
    contingency=st.sampled_from([0, TENTH // 20]),
    inverse=st.booleans(),
    instrument=st.integers(0, 2),
)
def test_under_a_grid_no_nearer_price_changes_the_verdict(
    lots: tuple[int, ...],
    marks: tuple[int, ...],
    wallet: int,
    offset: int,
    contingency: int,
    inverse: bool,
    instrument: int,
) -> None:
    """Against a search over every tick, on both sides of the mark; hedges offset or add to each other."""
    assume(lots[instrument])
    grid = {
        "moves_ppb": [-2 * TENTH, -TENTH, 0, TENTH, 2 * TENTH],
        "groups": GROUP,
        "offset_ppb": offset,
        "contingency_ppb": contingency,
    }
    first = perpetual("BTC", price_max_ticks=400, **(INVERSE if inverse else {}))
    markets = (first, future("BTC-DEC", price_max_ticks=400, price_min_ticks=-50), perpetual("ETH"))
    positions = [
        Position(instrument=n, lots=held, entry_ticks=100, leverage=20) for n, held in enumerate(lots) if held
    ]
    case = Situation(rulebook(portfolio=grid), ASSETS, markets, (wallet * USD, 0), positions, marks)
    mark = marks[instrument]
    assume(not case.is_liquidatable_at(instrument, mark))
    reach = range(markets[instrument].price_min_ticks, 401)
    turned = [ticks for ticks in reach if case.is_liquidatable_at(instrument, ticks)]
    point = case.liquidation_price(instrument)
    if point is None or point.ticks > 400:
        assert not turned
    else:
        assert turned
        assert abs(point.ticks - mark) == min(abs(ticks - mark) for ticks in turned)
        assert point.ticks in turned


def test_standing_and_requirement_are_those_of_the_grid() -> None:
    """Long 10 and short 4 of December at 100: 20 % of 600 and half as much more; alone 20 % of 1000."""
    grid = {"moves_ppb": [-2 * TENTH, 2 * TENTH], "groups": GROUP, "initial_ppb": 15 * TENTH}
    positions = [
        Position(instrument=0, lots=10, entry_ticks=100),
        Position(instrument=1, lots=-4, entry_ticks=100),
    ]
    markets = (perpetual("BTC"), future("BTC-DEC"))
    case = Situation(rulebook(portfolio=grid), ASSETS, markets, (1000 * USD, 0), positions, (100, 100))
    assert case.standing().maintenance_atoms == 600 * USD // 5
    assert case.standing().initial_atoms == 600 * USD // 5 * 15 // 10
    assert case.withdrawable_atoms() == 1000 * USD - case.standing().initial_atoms
    assert case.maintenance_atoms(0) == 1000 * USD // 5


# Orders, open interest, cooldowns


def busy_desk(**tables: Any) -> tuple[Desk, int, int]:
    """Long 10 at 100 with 1000, bids for 20 at 90, offers of 5 at 110, and a stop for all at 95."""
    desk = Desk(rulebook("book", "insurance", **tables), index=(100,))
    account, street = desk.open(1000, RICH)
    desk.trade(account, street, 10, 100)
    desk.order(account, BUY, 20, 90)
    desk.order(account, SELL, 5, 110)
    desk.ok(PlaceOrder(account, 0, SELL, 10, trigger=Trigger("stop", "mark", 95), reduce_only=True))
    return desk, account, street


@pytest.mark.spec("MARG-02")
@pytest.mark.parametrize("side", [BUY, SELL])
def test_resting_orders_take_their_margin_in_the_oracle_too(side: Any) -> None:
    desk, account, _ = busy_desk()
    case = Situation.of(desk.venue, account)
    assert initial_excess_atoms(case.state, ASKED) == initial_excess_atoms(desk.state, account)
    assert case.withdrawable_atoms() == desk.venue.view.withdrawable_atoms(account)
    lots = case.largest_order(0, side, 100)
    assert lots < Situation(
        desk.rules,
        ASSETS,
        desk.instruments,
        (1000 * USD, 0),
        [Position(instrument=0, lots=10, entry_ticks=100)],
        (100,),
    ).largest_order(0, side, 100)
    assert desk.refused(PlaceOrder(account, 0, side, lots + 1, 100))
    desk.ok(PlaceOrder(account, 0, side, lots, 100))


@pytest.mark.parametrize("price", [85, 94, 112])
def test_a_path_fills_resting_orders_and_fires_stops_as_the_venue_does(price: int) -> None:
    desk, account, street = busy_desk()
    case = Situation.of(desk.venue, account)
    before = case.state.hash()
    (outcome,) = case.what_if([PathStep((price,), depth_lots=(100,))])
    desk.order(street, BUY, 100, price - 1)
    desk.order(street, SELL, 100, price + 1)
    desk.index(price)
    assert outcome.lots == (desk.lots(account),)
    assert outcome.lots != (10,)
    assert outcome.balances[0] == desk.cash(account)
    assert of(list(outcome.events), Filled)
    assert case.state.hash() == before


def test_initial_requirement_grows_with_the_venue_s_open_interest() -> None:
    """Between 1000 and 3000 of open interest the rate rises to 1: at 2000 it is (1/20 + 1) / 2."""
    market = perpetual(open_interest_low_atoms=1000 * USD, open_interest_high_atoms=3000 * USD)
    desk = Desk(rulebook(), (market,), index=(100,))
    account, street, other = desk.open(1000, RICH, RICH)
    desk.trade(account, street, 1, 100)
    desk.trade(other, street, 19, 100)
    case = Situation.of(desk.venue, account)
    assert case.standing().initial_atoms == 100 * USD * 525 // 1000
    lots = case.largest_order(0, BUY, 100)
    desk.order(street, SELL, 100, 100)
    assert desk.refused(PlaceOrder(account, 0, BUY, lots + 1, 100))
    desk.ok(PlaceOrder(account, 0, BUY, lots, 100))


def test_no_order_fits_beyond_the_cap_on_open_interest() -> None:
    desk = Desk(rulebook(), (perpetual(open_interest_max_lots=20, size_max_lots=20),), index=(100,))
    account, street, other = desk.open(RICH, RICH, RICH)
    desk.trade(other, street, 15, 100)
    assert Situation.of(desk.venue, account).largest_order(0, BUY, 100) == 5


@pytest.mark.spec("LIQ-05")
def test_a_cooldown_that_runs_goes_on_along_the_path() -> None:
    """160 at 1000 with 8000, at 970: a fifth first; for 30 seconds then every order is for all the rest."""
    chunks = {
        "chunk_threshold_atoms": 100_000 * USD,
        "chunk_ppb": 200_000_000,
        "cooldown_ns": 30 * SECOND_NS,
    }
    desk = Desk(rulebook("book", "insurance", liquidation=chunks), index=(1000,))
    account, street = desk.open(8000, RICH)
    desk.trade(account, street, 160, 1000)
    desk.order(street, BUY, 1, 970)
    desk.index(970)
    case = Situation.of(desk.venue, account)
    for after_s, lots in ((29, 0), (40, 159 - 159 // 5)):
        (outcome,) = case.what_if([PathStep((970,), after_s * SECOND_NS, depth_lots=(1000,))])
        assert outcome.lots == (lots,)


def test_nothing_trades_along_the_path_of_a_halted_instrument() -> None:
    """Its mark stands still, and so nobody is forced to sell."""
    desk, account, _ = busy_desk()
    desk.ok(SetStatus(0, False, False, False))
    (outcome,) = Situation.of(desk.venue, account).what_if([PathStep((10,), depth_lots=(100,))])
    assert outcome.lots == (10,)
    assert outcome.cross.equity_atoms == desk.equity(account)


# Collateral: its age, what issuers owe, what is lent


@pytest.mark.parametrize(("age_s", "coins"), [(59, 90), (61, 0)])
def test_collateral_of_an_old_index_carries_no_more_in_the_oracle_than_at_the_venue(
    age_s: int, coins: int
) -> None:
    """90 coins of 10 at 90 %, and 100 from the issuer that cover what is owed but for a tenth."""
    desk = bill_desk()
    account, _ = redeemed(desk)
    desk.tick(age_s * SECOND_NS)
    case = Situation.of(desk.venue, account)
    assert collateral_initial_atoms(case.state, ASKED) == (coins * 9 + 90) * USD
    assert initial_excess_atoms(case.state, ASKED) == initial_excess_atoms(desk.state, account)


def test_what_an_issuer_owes_counts_and_arrives_along_the_path_when_it_is_due() -> None:
    """100 are owed for 10 coins; a minute of the lag is over."""
    desk = bill_desk()
    account, _ = redeemed(desk)
    desk.tick(MINUTE_NS)
    case = Situation.of(desk.venue, account)
    assert case.standing().equity_atoms == desk.equity(account) == 900 * USD
    assert case.standing().haircut_atoms == (90 + 10) * USD
    path = [PathStep((100, 10), LAG_NS - MINUTE_NS - 1), PathStep((100, 10), 1)]
    before, after = case.what_if(path)
    assert not of(list(before.events), RedemptionPaid)
    assert (before.balances[0], after.balances[0]) == (-100 * USD, 0)
    assert of(list(after.events), RedemptionPaid) == [RedemptionPaid(ASKED, 1, 100 * USD)]
    assert after.cross.equity_atoms == 900 * USD


def test_no_interest_is_charged_along_a_path() -> None:
    """1000 are borrowed on 200 coins of 10; an empty pool would be fully used, and a year costs 100 %."""
    rules = rulebook(collateral=[NINETY], lending={"base_ppb": PPB, "interval_ns": HOUR_NS})
    case = Situation(rules, ASSETS, (perpetual(), spot()), (-1000 * USD, 200 * COIN), (), (100, 10))
    outcomes = list(case.what_if([PathStep((100, 10), HOUR_NS)] * 3))
    assert [outcome.balances[0] for outcome in outcomes] == [-1000 * USD] * 3
    assert not [e for outcome in outcomes for e in of(list(outcome.events), InterestCharged)]


# Daily settlement


def cleared(**tables: Any) -> Desk:
    rules = rulebook("book", "insurance", settlement={"call_to": "initial", "call_due_ns": HOUR_NS} | tables)
    return Desk(rules, (future(),), index=(100,))


def test_a_path_settles_and_calls_each_day_as_a_clearing_house_does() -> None:
    """Long 10 at 100 with 60: at 96 it pays 40 and has 20 for 24; 48 are asked, and an hour is given."""
    desk = cleared()
    account, street = desk.open(60, RICH)
    desk.trade(account, street, 10, 100)
    path = [PathStep((96,), DAY_NS), PathStep((96,), HOUR_NS // 2), PathStep((96,), HOUR_NS, (50,))]
    first, second, third = Situation.of(desk.venue, account).what_if(path)
    desk.index(96)
    events = desk.ok(SettleVariation(0, 96))
    called = [(e.called_atoms, e.equity_atoms) for e in of(events, MarginCalled)]
    assert called == [((48 - 20) * USD, 20 * USD)]
    assert [(e.called_atoms, e.equity_atoms) for e in of(list(first.events), MarginCalled)] == called
    assert first.balances[0] == desk.cash(account) == (60 - 40) * USD
    assert (first.lots, second.lots, third.lots) == ((10,), (10,), (0,))
    assert not of(list(second.events), VariationSettled)


def test_a_call_that_is_open_keeps_its_time_and_one_that_is_met_goes() -> None:
    desk = cleared()
    account, street = desk.open(60, RICH)
    desk.trade(account, street, 10, 100)
    desk.index(96)
    desk.ok(SettleVariation(0, 96))
    desk.tick(HOUR_NS // 2)
    called = Situation.of(desk.venue, account)
    left = [
        outcome.lots[0]
        for after in (HOUR_NS // 2 - 1, HOUR_NS // 2)
        for outcome in called.what_if([PathStep((96,), after, (50,))])
    ]
    assert left == [10, 0]
    desk.ok(Deposit(0, account, (28 * USD,)))
    (outcome,) = Situation.of(desk.venue, account).what_if([PathStep((96,), HOUR_NS, (50,))])
    assert outcome.lots == (10,)
