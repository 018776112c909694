"""The oracle says what the engine does: closed forms against a search, paths against the venue's events."""

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.venues import ASSETS, USD, Desk, future, hyperliquid, of, perpetual, rulebook
from zerodebt.exchange.commands import BUY, SELL, PlaceOrder
from zerodebt.exchange.events import Deleveraged, Filled, LiquidationStarted, Rejected, StageArmed, TakenOver
from zerodebt.exchange.instruments import Instrument, Tier, value_atoms
from zerodebt.exchange.oracle import PathStep, Position, Situation
from zerodebt.exchange.reject import RejectReason
from zerodebt.exchange.units import PPB

COIN = 10**8
TABLES: dict[str, Instrument] = {
    "marginal": perpetual(tiers=(Tier(0, 40), Tier(50_000 * USD, 20), Tier(400_000 * USD, 5))),
    "rates": perpetual(
        tiers=(
            Tier(0, 125, 4_000_000),
            Tier(50_000 * USD, 100, 5_000_000),
            Tier(250_000 * USD, 50, 10_000_000),
        )
    ),
    "whole by value": perpetual(
        tiers=(Tier(0, 100, 4_000_000), Tier(200_000 * USD, 50, 15_000_000)), tier_form="whole"
    ),
    "whole by lots": perpetual(
        tiers=(Tier(0, 100, 4_000_000), Tier(30, 50, 15_000_000)), tier_form="whole", tier_unit="lots"
    ),
    "slope": perpetual(tiers=(Tier(0, 50, 10_000_000),), slope_ppb=50_000),
    "share of initial": perpetual(
        tiers=(Tier(0, 0, 0, 200_000_000),), maintenance_of_initial_ppb=600_000_000
    ),
    "crosses zero": future(margin_floor_atoms_per_lot=40 * USD),
    "at entry": perpetual(
        tiers=(Tier(0, 50, 10_000_000), Tier(200_000 * USD, 20, 25_000_000)), maintenance_basis="entry"
    ),
    "inverse at entry": perpetual(
        contract="inverse",
        tick_value_atoms=100 * COIN,
        tiers=(Tier(0, 100, 5_000_000),),
        maintenance_basis="entry",
    ),
    "inverse": perpetual(
        contract="inverse",
        tick_value_atoms=100 * COIN,
        tiers=(Tier(0, 100, 5_000_000), Tier(COIN // 5, 50, 10_000_000)),
    ),
    "inverse slope": perpetual(
        contract="inverse",
        tick_value_atoms=100 * COIN,
        tiers=(Tier(0, 50, 10_000_000),),
        slope_ppb=50_000,
        slope_size=COIN // 100,
    ),
    "slope to the whole value": perpetual(
        tiers=(Tier(0, 50, 10_000_000), Tier(200_000 * USD, 20, 25_000_000)), slope_ppb=PPB // 60
    ),
    "inverse slope to the whole value": perpetual(
        contract="inverse",
        tick_value_atoms=100 * COIN,
        tiers=(Tier(0, 50, 10_000_000), Tier(COIN // 5, 20, 25_000_000)),
        slope_ppb=PPB // 2,
        slope_size=COIN,
    ),
}


def situation(
    instrument: Instrument,
    lots: int,
    entry: int,
    mark: int,
    wallet: int,
    isolated: int | None = None,
    **rules: Any,
) -> Situation:
    position = Position(instrument=0, lots=lots, entry_ticks=entry, isolated_atoms=isolated)
    return Situation(rulebook(**rules), ASSETS, (instrument,), (wallet, 0), (position,), (mark,))


def search(case: Situation, mark: int, spec: Instrument) -> int | None:
    """First tick on the losing side of the mark at which the engine says liquidatable."""
    step = -1 if case.lots(0) > 0 else 1
    low = max(spec.price_min_ticks, 1) if spec.contract == "inverse" else spec.price_min_ticks
    high = min(spec.price_max_ticks, 60_000)
    for ticks in range(mark, (low - 1) if step < 0 else high + 1, step):
        if case.is_liquidatable_at(0, ticks):
            return ticks
    return None


@pytest.mark.spec("LIQ-07")
@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("isolated", [False, True])
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_closed_form_and_search_over_the_engine_agree_within_a_tick(
    name: str, side: int, isolated: bool, data: st.DataObject
) -> None:
    """Within a tick; an inverse contract's value is rounded to atoms, which may shift it by three of them."""
    instrument = TABLES[name]
    lots = side * data.draw(st.integers(1, 90))
    entry = data.draw(st.integers(2_000, 9_000))
    mark = data.draw(st.integers(2_000, 9_000))
    share = data.draw(st.integers(1, 120))
    scale = abs(lots) * entry * USD if instrument.contract == "linear" else abs(lots) * 100 * COIN // entry
    wallet = scale * share // 100 + 1
    case = situation(instrument, lots, entry, mark, wallet, wallet if isolated else None)
    assume(not case.is_liquidatable_at(0, mark))
    found = search(case, mark, instrument)
    point = case.liquidation_price(0)
    if found is None:
        reachable = point is not None and instrument.price_min_ticks <= point.ticks <= 60_000
        assert not reachable, point
        return
    assert point is not None
    atom = Fraction(found**2, abs(lots) * instrument.tick_value_atoms) if found > 0 else 0
    assert abs(point.exact_ticks - found) <= 1 + 3 * (atom if instrument.contract == "inverse" else 0)
    assert point.ticks == found
    assert point.falls == (side > 0)


def test_path_runs_through_the_venue_s_own_stages() -> None:
    """10 coins at 100 with 120 in the wallet: below 1/40 at 90, and at 88 below 2/3 of it: taken over."""
    rules = hyperliquid(orders={"value_min_atoms": 0})
    position = Position(instrument=0, lots=10, entry_ticks=100)
    case = Situation(rules, ASSETS, (perpetual(),), (120 * USD, 0), (position,), (100,))
    point = case.liquidation_price(0)
    assert point is not None
    assert point.exact_ticks == Fraction(880 * 40, 390)
    steps = [PathStep((90,), depth_lots=(4,)), PathStep((88,))]
    first, second = case.what_if(steps)
    assert [event.stage for event in of(list(first.events), StageArmed)] == ["book"]
    assert [(e.size_lots, e.price_ticks) for e in of(list(first.events), Filled)] == [(4, 89)]
    assert first.lots == (6,)
    assert first.balances[0] == (120 - 4 * 11) * USD
    assert [event.lots for event in of(list(second.events), TakenOver)] == [6]
    assert (second.lots, second.cross.equity_atoms) == ((0,), 0)


def test_asking_changes_neither_the_situation_nor_the_venue() -> None:
    desk = Desk(index=(100,))
    long, short = desk.open(1000, 1000)
    desk.trade(long, short, 10, 100)
    before = desk.venue.state_hash()
    case = Situation.of(desk.venue, long)
    own = case.state.hash()
    assert case.standing().equity_atoms == desk.equity(long)
    assert case.standing().maintenance_atoms == desk.requirement(long)
    case.liquidation_price(0)
    case.bankruptcy_price(0)
    case.largest_order(0, BUY, 100)
    case.adl_score_ppb(0)
    list(case.what_if([PathStep((50,)), PathStep((1,))], fund_atoms=10**12))
    assert (desk.venue.state_hash(), case.state.hash()) == (before, own)


@pytest.mark.parametrize("side", [BUY, SELL])
@pytest.mark.parametrize("wallet", [10, 57, 1000])
def test_largest_order_is_taken_by_the_venue_and_one_lot_more_is_not(side: Any, wallet: int) -> None:
    """Filled at once and resting; one lot more is refused as one of both."""
    filling, resting = (Desk(rulebook(fees={"taker_ppb": 500_000}), index=(100,)) for _ in range(2))
    account, street = filling.open(wallet, 10**9)
    filling.order(street, -side, 5000, 101)
    assert resting.open(wallet, 10**9)[0] == account
    lots = Situation.of(filling.venue, account).largest_order(0, side, 101)
    more = PlaceOrder(account, 0, side, lots + 1, 101)
    refused = filling if side == BUY else resting
    assert refused.refused(more) == RejectReason.MARGIN_TOO_SMALL
    for desk in (filling, resting):
        assert not isinstance(desk.do(PlaceOrder(account, 0, side, lots, 101))[0], Rejected)


@pytest.mark.spec("MARG-03")
@pytest.mark.parametrize(
    ("side", "price", "lots"), [(SELL, 96, 10), (SELL, 93, 10), (SELL, 92, 0), (BUY, 96, 0)]
)
def test_an_account_short_of_margin_may_reduce_unless_that_leaves_it_worse_off(
    side: Any, price: int, lots: int
) -> None:
    """Long 10 at 100 with 72, at 96: 32, where opening asks for 48 and holding for 24.

    A lot has 3.2 of equity behind it, which a sale at 93 leaves and one at 92 does not.
    """
    filling, resting = (Desk(rulebook("book", "insurance"), index=(100,)) for _ in range(2))
    account, street = filling.open(72, 10**6)
    assert resting.open(72, 10**6) == [account, street]
    for desk in (filling, resting):
        desk.trade(account, street, 10, 100)
        desk.index(96)
    assert Situation.of(filling.venue, account).largest_order(0, side, price) == lots
    filling.order(street, -side, 50, price)
    order = PlaceOrder(account, 0, side, lots or 1, price, reduce_only=side == SELL)
    assert isinstance(filling.do(order)[0], Rejected) == (not lots)
    if lots:
        resting.ok(order)


@pytest.mark.spec("LIQ-08")
@given(
    st.sampled_from(sorted(TABLES)), st.sampled_from([1, -1]), st.integers(1, 50), st.integers(2_000, 9_000)
)
def test_closing_at_the_bankruptcy_tick_leaves_no_debt_and_a_tick_further_does(
    name: str, side: int, lots: int, entry: int
) -> None:
    instrument = TABLES[name]
    wallet = abs(value_atoms(instrument, entry, lots)) // 7
    case = situation(instrument, side * lots, entry, entry, wallet)
    point = case.bankruptcy_price(0)
    assert point is not None
    cost = value_atoms(instrument, entry, side * lots)
    left = [wallet + value_atoms(instrument, point.ticks - side * k, side * lots) - cost for k in (0, 1)]
    assert left[0] >= -1
    assert left[1] <= 1


def test_adl_score_is_the_rulebook_s() -> None:
    """Short 3 at 1100 with 1000 at 900: (2700 / 1600) * (600 / 3300)."""
    position = Position(instrument=0, lots=-3, entry_ticks=1100)
    case = Situation(hyperliquid(), ASSETS, (perpetual(),), (1000 * USD, 0), (position,), (900,))
    assert case.adl_score_ppb(0) == 306_818_181
    position = Position(instrument=0, lots=3, entry_ticks=1100)
    case = Situation(hyperliquid(), ASSETS, (perpetual(),), (1000 * USD, 0), (position,), (900,))
    assert case.adl_score_ppb(0) == 0


def test_whatever_a_bankrupt_account_owes_is_told() -> None:
    rules = rulebook("book", "adl")
    position = Position(instrument=0, lots=10, entry_ticks=100)
    case = Situation(rules, ASSETS, (perpetual(),), (50 * USD, 0), (position,), (100,))
    (outcome,) = case.what_if([PathStep((90,))])
    assert len(of(list(outcome.events), LiquidationStarted)) == 1
    assert [(e.lots, e.price_ticks) for e in of(list(outcome.events), Deleveraged)] == [(-10, 95)]
    assert (outcome.lots, outcome.balances[0]) == ((0,), 0)
