"""Pools of the insurance fund: by instrument, with drawdown, and what they answer for.

The bankrupt account of most tests bought 10 lots at 100 with 60 USD; at 90 it has lost 100 and misses 40.
"""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.venues import USD, Desk, future, of, paid, perpetual, rulebook, spot
from zerodebt.exchange.commands import BUY, SELL, Deposit, SetBackstop, SetLeverage, SettleInstrument
from zerodebt.exchange.events import (
    DEFICIT,
    HOUSE,
    INSURANCE,
    DeficitClosed,
    DeficitOpened,
    Deleveraged,
    Filled,
    PoolStatus,
    Posted,
    StagePaid,
    TakenOver,
)
from zerodebt.exchange.rules import DrawdownRules
from zerodebt.exchange.units import HOUR_NS, MINUTE_NS, PPB, SECOND_NS
from zerodebt.exchange.waterfall import pools, socialise
from zerodebt.exchange.waterfall.pools import is_drawn_down
from zerodebt.exchange.waterfall.socialise import Payer

RICH = 10_000_000
TWO = (perpetual(), perpetual("ETH"))
BY_INSTRUMENT: dict[str, Any] = {"insurance": {"scope": "instrument"}}
BYBIT: dict[str, Any] = {
    "insurance": {
        "scope": "instrument",
        "takes": "unfilled",
        "price": "bankruptcy",
        "drawdown": {"start_ppb": 300_000_000, "stop_ppb": 250_000_000},
    },
    "adl": {"trigger": "unfilled"},
}


def pool(desk: Desk, instrument: int) -> int:
    return desk.equity(INSURANCE, 2 + instrument)


# Which pools there are, what they hold and what they may do


@pytest.mark.spec("WFALL-05")
def test_shared_fund_is_one_pool_and_a_fund_by_instrument_one_for_each() -> None:
    shared = Desk(rulebook("book", "insurance"), TWO).state
    wallet = (INSURANCE, shared.settle)
    assert pools.pools(shared) == pools.bearers(shared, shared.markets) == [wallet]
    own = Desk(rulebook("book", "insurance", **BY_INSTRUMENT), TWO).state
    assert pools.pools(own) == [wallet, (INSURANCE, 2), (INSURANCE, 3)]
    assert pools.bearers(own, own.markets[1:]) == [(INSURANCE, 3)]
    assert pools.bearers(own, []) == [(INSURANCE, 2), (INSURANCE, 3)]


@pytest.mark.spec("WFALL-01")
def test_what_a_fund_can_pay_and_buy_for_is_never_below_zero() -> None:
    desk = Desk(rulebook("book", "insurance"), index=(100,))
    wallet = (INSURANCE, 0)
    assert (pools.payable_atoms(desk.state, wallet), pools.cash_atoms(desk.state)) == (0, 0)
    desk.ok(Deposit(0, INSURANCE, (70 * USD,)))
    assert (pools.payable_atoms(desk.state, wallet), pools.cash_atoms(desk.state)) == (70 * USD, 70 * USD)
    desk.state.accounts.balances.cells[0][INSURANCE] = -5
    assert (pools.payable_atoms(desk.state, wallet), pools.cash_atoms(desk.state)) == (0, 0)


@pytest.mark.spec("WFALL-07")
@pytest.mark.parametrize(
    ("held", "lots", "takes"),
    [(0, 5, True), (0, 6, False), (0, -6, False), (3, 2, True), (3, 3, False), (3, -8, True), (3, -9, False)],
)
def test_pool_takes_positions_up_to_the_value_of_its_cap(held: int, lots: int, takes: bool) -> None:
    """A cap of 500 USD at a mark of 100, whatever the sign."""
    cap = {"takes": "bankrupt", "net_notional_max_atoms": 500 * USD}
    state = Desk(rulebook("book", "insurance", insurance=cap), index=(100,)).state
    state.accounts.lots.cells[0][INSURANCE] = held
    assert pools.takes_position(state, state.markets[0], lots) is takes


@pytest.mark.parametrize("scope", ["shared", "instrument"])
def test_fund_may_hold_what_it_can_sell(scope: str) -> None:
    coin = {"asset": "COIN", "decimals": 3, "ratio_ppb": 500_000_000}
    rules = rulebook("book", "insurance", collateral=[coin], insurance={"scope": scope})
    state = Desk(rules, (perpetual(), spot())).state
    assert (pools.may_hold(state, 0), pools.may_hold(state, 1)) == (True, scope == "shared")
    plain = Desk(rulebook("book", "insurance"), (perpetual(), spot())).state
    assert (pools.may_hold(plain, 0), pools.may_hold(plain, 1)) == (True, False)


def test_largest_equity_counts_as_long_as_its_interval_is_in_the_window() -> None:
    """Intervals of 10 ns and a window of 20: what was there at 5 counts up to 29."""
    desk = Desk(rulebook("book", "insurance"), index=(100,))
    state, pool = desk.state, (INSURANCE, 0)
    rules = DrawdownRules(window_ns=20, sample_ns=10)
    cell = state.accounts.balances.cells[0]
    assert pools.peak_atoms(state, pool) == 0
    peaks = []
    for now, equity in ((5, 70), (9, 60), (12, 40), (29, 50), (30, 30)):
        state.time_ns, cell[INSURANCE] = now, equity
        pools.sample_peaks(state, rules)
        peaks.append(pools.peak_atoms(state, pool))
    assert peaks == [70, 70, 70, 70, 50]


def test_empty_pool_is_drawn_down_whatever_its_smallest_fall_and_a_steady_one_is_not() -> None:
    rules = DrawdownRules(fall_min_atoms=100)
    assert is_drawn_down(rules, 10, 0, was_drawn_down=False)
    assert not is_drawn_down(DrawdownRules(), 1, 1, was_drawn_down=False)


# By instrument


def test_endowment_is_split_evenly_over_the_pools_and_the_first_gets_the_odd_atom() -> None:
    desk = Desk(rulebook("book", "insurance", **BY_INSTRUMENT), TWO)
    events = desk.ok(Deposit(0, INSURANCE, (101,)))
    assert [e.reason for e in of(events, Posted)] == ["deposit", "endowment"]
    assert [desk.cash(INSURANCE, pocket) for pocket in (0, 2, 3)] == [0, 51, 50]


@pytest.mark.spec("WFALL-05")
@pytest.mark.parametrize(("isolated", "missing"), [(True, 100 - 50), (False, 100 - 60)])
def test_pool_pays_for_its_own_instrument_only(isolated: bool, missing: int) -> None:
    """Each pool has 30, which is what the instrument's pool pays; the house pays the rest."""
    desk = Desk(rulebook("book", "insurance", "house", **BY_INSTRUMENT), TWO, index=(100, 100))
    desk.ok(Deposit(0, INSURANCE, (60 * USD,)))
    desk.ok(Deposit(0, HOUSE, (RICH * USD,)))
    account, maker = desk.open(60, RICH)
    if isolated:
        desk.ok(SetLeverage(account, 1, 20, "isolated"))
    desk.trade(account, maker, 10, 100, instrument=1)
    events = desk.index(100, 90)
    assert [e.atoms for e in of(events, DeficitOpened)] == [missing * USD]
    assert paid(events) == [("insurance", INSURANCE, 30 * USD), ("house", HOUSE, (missing - 30) * USD)]
    assert (pool(desk, 0), pool(desk, 1)) == (30 * USD, 0)


@pytest.mark.spec("WFALL-01", "WFALL-05")
def test_cross_account_is_borne_by_the_pools_in_proportion_to_its_positions() -> None:
    """20 and 10 lots at 90 miss 90: 60 from the first pool and 30 from the second."""
    desk = Desk(rulebook("book", "insurance", "adl", **BY_INSTRUMENT), TWO, index=(100, 100))
    desk.ok(Deposit(0, INSURANCE, (200 * USD,)))
    account, maker = desk.open(210, RICH)
    desk.trade(account, maker, 20, 100)
    desk.trade(account, maker, 10, 100, instrument=1)
    events = desk.index(90, 90)
    assert paid(events) == [("insurance", INSURANCE, 60 * USD), ("insurance", INSURANCE, 30 * USD)]
    assert [(e.instrument, e.lots, e.price_ticks) for e in of(events, TakenOver)] == [
        (0, 20, 90),
        (1, 10, 90),
    ]
    assert (pool(desk, 0), pool(desk, 1)) == (40 * USD, 70 * USD)
    assert desk.equity(account) == 0
    assert of(events, DeficitClosed) == [DeficitClosed(1, 0, 0)]


@pytest.mark.spec("WFALL-07")
@pytest.mark.parametrize(("cap", "taken"), [(900, True), (899, False)])
def test_fund_leaves_what_would_bring_it_above_its_cap_to_deleveraging(cap: int, taken: bool) -> None:
    """10 lots at 90."""
    capped = {"net_notional_max_atoms": cap * USD}
    desk = Desk(rulebook("book", "insurance", "adl", insurance=capped), index=(100,))
    desk.ok(Deposit(0, INSURANCE, (100 * USD,)))
    account, maker = desk.open(60, RICH)
    desk.trade(account, maker, 10, 100)
    events = desk.index(90)
    assert (bool(of(events, TakenOver)), bool(of(events, Deleveraged))) == (taken, not taken)


@pytest.mark.spec("WFALL-05")
def test_margin_of_a_position_that_is_taken_over_goes_to_its_instruments_pool() -> None:
    """10 lots at 96 with 20 find no bid: the pool takes them at the mark, and the 20."""
    unfilled = {"insurance": {"scope": "instrument", "takes": "unfilled"}}
    desk = Desk(rulebook("book", "insurance", "adl", **unfilled), TWO, index=(100, 100))
    account, maker = desk.open(60, RICH)
    desk.trade(account, maker, 10, 100, instrument=1)
    desk.index(100, 96)
    assert (desk.lots(INSURANCE, 1), desk.equity(account)) == (10, 0)
    assert [desk.cash(INSURANCE, pocket) for pocket in (0, 2, 3)] == [0, 0, 20 * USD]


@pytest.mark.spec("WFALL-01", "WFALL-05")
def test_one_pool_that_cannot_bear_its_part_leaves_the_account_to_deleveraging() -> None:
    desk = Desk(rulebook("book", "insurance", "adl", **BY_INSTRUMENT), TWO, index=(100, 100))
    desk.ok(Deposit(0, INSURANCE, (2 * 59 * USD,)))
    account, maker = desk.open(210, RICH)
    desk.trade(account, maker, 20, 100)
    desk.trade(account, maker, 10, 100, instrument=1)
    events = desk.index(90, 90)
    assert not of(events, TakenOver)
    assert [(e.instrument, e.price_ticks) for e in of(events, Deleveraged)] == [(0, 93), (1, 93)]
    assert (pool(desk, 0), pool(desk, 1)) == (59 * USD, 59 * USD)


@pytest.mark.spec("WFALL-01", "WFALL-05")
def test_pool_with_a_position_under_water_is_deleveraged_alone() -> None:
    desk = Desk(rulebook("book", "insurance", "adl", **BY_INSTRUMENT), TWO, index=(100, 100))
    desk.ok(Deposit(0, INSURANCE, (2 * 50 * USD,)))
    account, maker = desk.open(60, RICH)
    desk.trade(account, maker, 10, 100)
    desk.index(90, 100)
    assert (desk.lots(INSURANCE), pool(desk, 0)) == (10, 10 * USD)
    events = desk.index(85, 100)
    (opened,) = of(events, DeficitOpened)
    assert (opened.account, opened.pocket, opened.atoms) == (INSURANCE, 2, 40 * USD)
    assert [(e.winner, e.price_ticks) for e in of(events, Deleveraged)] == [(maker, 85 + 4)]
    assert (pool(desk, 0), pool(desk, 1)) == (0, 50 * USD)


@pytest.mark.spec("LIQ-03", "WFALL-05")
def test_liquidation_fee_and_surplus_go_to_the_instruments_pool() -> None:
    """10 lots at 98 in the second instrument: 1 % of 980, and what is left is the fund's."""
    rules = rulebook(
        "book",
        "insurance",
        "adl",
        fees={"liquidation_ppb": PPB // 100},
        liquidation={"steps": ["whole"], "surplus_max_ppb": PPB},
        **BY_INSTRUMENT,
    )
    desk = Desk(rules, TWO, index=(100, 100))
    account, maker = desk.open(50, RICH)
    desk.trade(account, maker, 10, 100, instrument=1)
    desk.order(maker, BUY, 10, 97, instrument=1)
    events = desk.index(100, 97)
    assert [e.taker_fee_atoms for e in of(events, Filled)] == [round(9.7 * USD)]
    assert [sum(a for who, _, a in p.legs if who == INSURANCE) for p in of(events, Posted)][-1] == round(
        (20 - 9.7) * USD
    )
    assert (pool(desk, 0), pool(desk, 1), desk.equity(account)) == (0, 20 * USD, 0)


@pytest.mark.spec("WFALL-05")
def test_pool_keeps_its_money_when_its_instrument_settles() -> None:
    desk = Desk(
        rulebook("book", "insurance", "adl", **BY_INSTRUMENT), (future(), perpetual()), index=(100, 100)
    )
    desk.ok(Deposit(0, INSURANCE, (2 * 50 * USD,)))
    account, maker = desk.open(60, RICH)
    desk.trade(account, maker, 10, 100)
    desk.index(90, 100)
    assert desk.lots(INSURANCE) == 10
    desk.ok(SettleInstrument(0, 92))
    assert (desk.lots(INSURANCE), pool(desk, 0), desk.cash(INSURANCE)) == (0, (50 - 40 + 20) * USD, 0)


# Drawdown


@pytest.mark.parametrize(
    ("peak", "now", "was", "drawn"),
    [
        (100, 71, False, False),
        (100, 70, False, True),
        (100, 74, True, True),
        (100, 75, True, True),
        (100, 76, True, False),
        (0, 0, False, True),
        (-5, -5, False, True),
    ],
)
def test_pool_closes_at_its_start_and_opens_above_its_stop(
    peak: int, now: int, was: bool, drawn: bool
) -> None:
    rules = DrawdownRules(start_ppb=300_000_000, stop_ppb=250_000_000)
    assert is_drawn_down(rules, peak, now, was_drawn_down=was) is drawn


@given(st.integers(1, 10**12), st.integers(-(10**12), 10**12), st.integers(0, 10**11), st.booleans())
def test_small_falls_never_close_a_pool(peak: int, now: int, least: int, was: bool) -> None:
    rules = DrawdownRules(fall_min_atoms=least)
    drawn = is_drawn_down(rules, peak, now, was_drawn_down=was)
    assert drawn == (now <= 0 or peak - now >= max(least, -(-peak * 3 // 10)))


def drawn(fund: int = 100) -> tuple[Desk, list[int], int]:
    """Three accounts with 10 lots at 100, no book; each pool has `fund`."""
    rules = rulebook("book", "insurance", "adl", funding={"interest_ppt": 0}, **BYBIT)
    desk = Desk(rules, TWO, index=(100, 100))
    desk.ok(Deposit(0, INSURANCE, (2 * fund * USD,)))
    *losers, maker = desk.open(60, 84, 85, RICH)
    for loser in losers:
        desk.trade(loser, maker, 10, 100)
    desk.tick()
    return desk, losers, maker


@pytest.mark.spec("WFALL-01", "WFALL-03", "WFALL-05")
def test_bybit_deleverages_although_its_pool_is_positive() -> None:
    """At 94 the first account has 0 left: the pool takes its 10 lots. At 91 they have cost it 30 of 100, and
    the second and third, with -6 and -5, are closed at 91.6 and 91.5, rounded up to 92."""
    desk, (first, second, third), maker = drawn()
    events = desk.index(94, 100)
    assert [(e.account, e.price_ticks) for e in of(events, TakenOver)] == [(first, 94)]
    assert not of(events, PoolStatus)
    events = desk.index(91, 100)
    assert of(events, PoolStatus) == [PoolStatus(2, True, 100 * USD, 70 * USD)]
    assert not of(events, TakenOver)
    assert not paid(events)
    assert [(e.account, e.winner, e.price_ticks) for e in of(events, Deleveraged)] == [
        (second, maker, 92),
        (third, maker, 92),
    ]
    assert pool(desk, 0) == 70 * USD
    assert (desk.equity(second), desk.equity(third)) == (4 * USD, 5 * USD)


@pytest.mark.parametrize(
    ("later_ns", "opens"), [(8 * HOUR_NS - MINUTE_NS, False), (8 * HOUR_NS + MINUTE_NS, True)]
)
def test_peak_counts_until_the_window_has_passed(later_ns: int, opens: bool) -> None:
    """100 before the fall, 70 since: without the peak there is no fall, and the pool takes again."""
    desk, _, maker = drawn()
    desk.index(94, 100)
    desk.index(91, 100)
    assert desk.state.closed_pools == {2: None}
    (account,) = desk.open(1000)
    desk.trade(account, maker, 10, 91)
    surplus = desk.equity(account) - 10 * USD
    desk.state.ledger.post("withdrawal", [(account, 0, -surplus), (0, 0, surplus)])
    events = desk.index(91, 100, later_ns=later_ns)
    assert of(events, PoolStatus) == ([PoolStatus(2, False, 70 * USD, 70 * USD)] if opens else [])
    assert [e.account for e in of(events, TakenOver)] == ([account] if opens else [])
    assert bool(of(events, Deleveraged)) is not opens


def test_closed_pool_stays_closed_until_its_fall_is_below_the_stop() -> None:
    """72 of 100 is a fall of 28 %: too little to close at 30 %, too much to open at 25 %. 76 opens it."""
    desk, _, maker = drawn()
    desk.index(94, 100)
    desk.index(91, 100)
    for brought, opens in ((2, False), (4, True)):
        desk.ok(Deposit(0, INSURANCE, (2 * brought * USD,)))
        (account,) = desk.open(1000)
        desk.trade(account, maker, 10, 91)
        surplus = desk.equity(account) - 10 * USD
        desk.state.ledger.post("withdrawal", [(account, 0, -surplus), (0, 0, surplus)])
        now = (70 + (6 if opens else 2)) * USD
        events = desk.index(91, 100)
        assert of(events, PoolStatus) == ([PoolStatus(2, False, 100 * USD, now)] if opens else [])
        assert [e.account for e in of(events, TakenOver)] == ([account] if opens else [])


def test_drawdown_outlives_a_snapshot() -> None:
    desk, _, _ = drawn()
    desk.index(94, 100)
    desk.index(91, 100)
    twin = desk.restored()
    assert twin.state_hash() == desk.venue.state_hash()
    assert twin._state.closed_pools == {2: None}
    assert twin._state.pool_peaks == desk.state.pool_peaks
    assert max(peak for _, peak in desk.state.pool_peaks[2]) == 100 * USD


@pytest.mark.spec("WFALL-01")
def test_closed_pool_still_pays_for_a_debt_that_deleveraging_cannot_reach() -> None:
    """The pool has fallen by half; a fill at any price leaves a debt of 8 without lots, and it pays that."""
    rules = rulebook(
        "book", "insurance", "adl", insurance={"drawdown": {}}, liquidation={"price_limit": "none"}
    )
    desk = Desk(rules, index=(100,))
    desk.ok(Deposit(0, INSURANCE, (100 * USD,)))
    account, maker = desk.open(60, RICH)
    desk.trade(account, maker, 10, 100)
    desk.tick()
    desk.state.ledger.post("insurance", [(INSURANCE, 0, -50 * USD), (HOUSE, 0, 50 * USD)])
    desk.order(maker, BUY, 9, 95)
    desk.order(maker, BUY, 1, 77)
    events = desk.index(96)
    assert [e.atoms for e in of(events, DeficitOpened)] == [8 * USD]
    assert paid(events) == [("insurance", INSURANCE, 8 * USD)]


# When deleveraging is armed


@pytest.mark.spec("WFALL-01")
@pytest.mark.parametrize(("fund", "deleveraged"), [(40, False), (39, True)])
def test_deleveraging_waits_until_the_fund_cannot_pay(fund: int, deleveraged: bool) -> None:
    """The fund takes no positions: as long as it can pay, they go to the book at any price."""
    rules = rulebook(
        "book", "adl", "insurance", insurance={"takes": "never"}, adl={"trigger": "fund_cannot_pay"}
    )
    desk = Desk(rules, index=(100,))
    desk.ok(Deposit(0, INSURANCE, (fund * USD,)))
    account, maker = desk.open(60, RICH)
    desk.trade(account, maker, 10, 100)
    desk.order(maker, BUY, 10, 90)
    events = desk.index(90)
    assert bool(of(events, Deleveraged)) is deleveraged
    assert bool(of(events, Filled)) is not deleveraged
    assert desk.cash(INSURANCE) == (fund if deleveraged else 0) * USD
    assert (desk.lots(account), desk.equity(account)) == (0, 0)


@pytest.mark.spec("WFALL-01", "WFALL-05")
@pytest.mark.parametrize("lacking", [0, 1])
def test_deleveraging_waits_for_all_the_pools_that_bear_an_account(lacking: int) -> None:
    """Twice 10 lots from 100 to 90 leave 110 - 200 = -90, and the two pools have 45 each: just enough.

    The first lots find a bid at 95, so that 40 are missing when the pool of the second is asked alone.
    """
    rules = rulebook(
        "book",
        "adl",
        "insurance",
        insurance={"takes": "never", "scope": "instrument"},
        adl={"trigger": "fund_cannot_pay"},
    )
    desk = Desk(rules, TWO, index=(100, 100))
    desk.ok(Deposit(0, INSURANCE, (90 * USD - lacking,)))
    account, maker = desk.open(110, RICH)
    for n in (0, 1):
        desk.trade(account, maker, 10, 100, instrument=n)
        desk.order(maker, BUY, 10, 90 if n else 95, instrument=n)
    events = desk.index(90, 90)
    assert (bool(of(events, Filled)), bool(of(events, Deleveraged))) == (not lacking, bool(lacking))
    assert (desk.lots(account), desk.lots(account, 1), desk.equity(account)) == (0, 0, 0)


@pytest.mark.spec("WFALL-01")
def test_position_below_zero_that_the_book_cannot_fill_is_deleveraged_although_the_fund_could_pay() -> None:
    rules = rulebook(
        "book", "adl", "insurance", insurance={"takes": "never"}, adl={"trigger": "fund_cannot_pay"}
    )
    desk = Desk(rules, index=(100,))
    desk.ok(Deposit(0, INSURANCE, (1000 * USD,)))
    account, maker = desk.open(60, RICH)
    desk.trade(account, maker, 10, 100)
    desk.order(maker, BUY, 4, 90)
    events = desk.index(90)
    assert [e.size_lots for e in of(events, Filled)] == [4]
    assert [(e.lots, e.price_ticks) for e in of(events, Deleveraged)] == [(-6, 97)]
    assert (desk.lots(account), desk.cash(INSURANCE)) == (0, 1000 * USD)


@pytest.mark.spec("WFALL-06")
@pytest.mark.parametrize(("bids", "deleveraged"), [(5, 0), (4, 1)])
def test_who_falls_below_zero_by_half_an_order_is_sold_whole_before_the_command_ends(
    bids: int, deleveraged: int
) -> None:
    """60 + 5 * (60 - 100) - 5 * 5 is 165 below zero: the other half goes too, and the fund pays the debt.

    What the book has no bid for is deleveraged, although the fund could pay.
    """
    rules = rulebook(
        "book",
        "adl",
        "insurance",
        liquidation={"portion_max_ppb": PPB // 2},
        insurance={"takes": "never"},
        adl={"trigger": "fund_cannot_pay"},
    )
    desk = Desk(rules, index=(100,))
    desk.ok(Deposit(0, INSURANCE, (1000 * USD,)))
    account, maker = desk.open(60, RICH)
    desk.trade(account, maker, 10, 100)
    desk.order(maker, BUY, 5, 60)
    desk.order(maker, BUY, bids, 59)
    events = desk.index(95)
    assert [(e.size_lots, e.price_ticks) for e in of(events, Filled)] == [(5, 60), (bids, 59)]
    assert [abs(e.lots) for e in of(events, Deleveraged)] == [1] * deleveraged
    assert (desk.lots(account), desk.equity(account), desk.state.open_deficits) == (0, 0, {})


@pytest.mark.spec("WFALL-01")
def test_dydx_deleverages_below_zero_although_the_fund_is_healthy() -> None:
    desk = Desk(rulebook("book", "adl", "insurance"), index=(100,))
    desk.ok(Deposit(0, INSURANCE, (RICH * USD,)))
    account, maker = desk.open(60, RICH)
    desk.trade(account, maker, 10, 100)
    events = desk.index(90)
    assert [(e.winner, e.price_ticks) for e in of(events, Deleveraged)] == [(maker, 94)]
    assert desk.cash(INSURANCE) == RICH * USD


# Shared losses


@pytest.mark.spec("WFALL-08")
def test_drift_spreads_a_loss_over_every_open_lot_long_or_short() -> None:
    """40 are missing; others hold 12 + 10, -8 and -14 lots after the fill, and 5 in another instrument."""
    rules = rulebook("book", "socialise", socialise={"form": "funding_index"})
    desk = Desk(rules, TWO, index=(100, 100))
    account, long, short, maker, elsewhere = desk.open(60, 1000, 1000, RICH, 1000)
    desk.trade(account, maker, 10, 100)
    desk.trade(long, maker, 12, 100)
    desk.trade(maker, short, 8, 100)
    desk.trade(elsewhere, maker, 5, 100, instrument=1)
    desk.order(long, BUY, 10, 90)
    events = desk.index(90, 100)
    assert desk.lots(account) == 0
    open_lots = {long: 22, short: 8, maker: 14}
    assert {e.payer: e.base_atoms for e in of(events, StagePaid)} == {
        who: lots * 90 * USD for who, lots in open_lots.items()
    }
    for event in of(events, StagePaid):
        assert abs(event.atoms - 40 * USD * open_lots[event.payer] // 44) <= 1
    assert sum(e.atoms for e in of(events, StagePaid)) == 40 * USD
    assert of(events, DeficitClosed) == [DeficitClosed(1, 0, 0)]


@pytest.mark.spec("WFALL-04", "WFALL-08")
def test_drift_takes_no_more_than_a_position_has_and_an_isolated_one_pays_from_its_own_margin() -> None:
    rules = rulebook("book", "socialise", "house", socialise={"form": "funding_index"})
    desk = Desk(rules, index=(100,))
    desk.ok(Deposit(0, HOUSE, (RICH * USD,)))
    account, poor, maker = desk.open(60, 1000, RICH)
    desk.ok(SetLeverage(poor, 0, 20, "isolated"))
    desk.trade(account, maker, 10, 100)
    desk.order(maker, BUY, 10, 100)
    desk.order(poor, SELL, 10, 100, tif="fok")
    desk.order(maker, BUY, 10, 90)
    desk.state.ledger.post("isolate", [(poor, 2, -149 * USD), (poor, 0, 149 * USD)])
    events = desk.index(90)
    assert desk.lots(account) == 0
    assert desk.equity(poor, 2) == 0, "50 of margin and 100 of profit less 149 were 1"
    assert desk.cash(poor) == (1000 - 50 + 149) * USD
    assert ("socialise", poor, 1 * USD) in paid(events)
    assert [stage for stage, _, _ in paid(events)].count("house") == 1
    assert desk.equity(account) == 0


@pytest.mark.spec("WFALL-08")
def test_holders_share_by_the_value_of_all_their_lots_and_neither_the_fund_nor_the_loser_does() -> None:
    """At 100 and 90: the first holds 3 and 2 lots, the second -2 of the other and has nothing left."""
    desk = Desk(rulebook("book", "socialise", socialise={"form": "funding_index"}), TWO, index=(100, 90))
    first, second, loser = desk.open(1000, 1000, 1000)
    desk.trade(first, loser, 3, 100)
    desk.trade(first, second, 2, 90, instrument=1)
    desk.state.ledger.post("withdrawal", [(second, 0, -1000 * USD), (0, 0, 1000 * USD)])
    desk.state.accounts.lots.cells[0][INSURANCE] = 5
    assert socialise.holders(desk.state, (loser, 0), desk.state.markets) == [
        Payer(first, 0, (3 * 100 + 2 * 90) * USD, 1000 * USD),
        Payer(second, 0, 2 * 90 * USD, 0),
    ]


@pytest.mark.spec("WFALL-08")
def test_session_taxes_gains_that_the_cross_wallet_has_and_no_vault_no_fund_and_not_the_loser() -> None:
    """Gains of 40, 0 and one atom; another's whole gain lies in an isolated margin."""
    desk = Desk(rulebook("book", "backstop", "socialise"), index=(100,))
    first, _, penny, isolated, loser = desk.open(100, 50, 30, 10, 20)
    (vault,) = desk.open(40, role="vault")
    desk.ok(SetBackstop(vault, (0,)))
    desk.ok(Deposit(0, INSURANCE, (70 * USD,)))
    desk.state.ledger.post("isolate", [(isolated, 0, -10 * USD), (isolated, 2, 10 * USD)])
    base = desk.state.accounts.session_base.cells[0]
    for who, atoms in ((first, 60 * USD), (penny, 30 * USD - 1), (isolated, 0), (loser, 0), (vault, 0)):
        base[who] = atoms
    base[INSURANCE] = 0
    assert socialise.session_winners(desk.state, loser) == [
        Payer(first, 0, 40 * USD, 40 * USD),
        Payer(penny, 0, 1, 1),
    ]


@pytest.mark.spec("WFALL-08")
def test_settlements_winners_pay_for_its_losers() -> None:
    """Settled at 85 instead of 100 the account misses 90; the shorts of 6 and 4 have won 90 and 60."""
    rules = rulebook("book", "settlement_haircut")
    desk = Desk(rules, (future(), perpetual()), index=(100, 100))
    account, six, four, other, loser = desk.open(60, RICH, RICH, RICH, 1000)
    desk.trade(account, six, 6, 100)
    desk.trade(account, four, 4, 100)
    desk.trade(loser, other, 4, 100, instrument=1)
    events = desk.ok(SettleInstrument(0, 85))
    assert paid(events) == [("settlement_haircut", six, 54 * USD), ("settlement_haircut", four, 36 * USD)]
    assert [e.base_atoms for e in of(events, StagePaid)] == [90 * USD, 60 * USD]
    assert desk.equity(account) == 0
    assert desk.cash(DEFICIT) == 0
    assert desk.equity(other) == RICH * USD


def test_only_who_lost_at_the_settlement_is_helped_by_its_winners() -> None:
    desk = Desk()
    winner, loser, fallen, even, penny, poor = desk.open(7, 0, 3, 8, 6, 0)
    profits = {loser: -9, winner: 5 * USD, fallen: -1, even: 0, penny: 1, poor: 2, INSURANCE: 4}
    assert socialise.settled_winners(desk.state, loser, profits) == [
        Payer(winner, 0, 5 * USD, 7 * USD),
        Payer(penny, 0, 1, 6 * USD),
        Payer(poor, 0, 2, 0),
    ]
    assert socialise.settled_winners(desk.state, winner, profits) == []
    assert socialise.settled_winners(desk.state, 99, profits) == []


@pytest.mark.spec("WFALL-08")
def test_no_settlement_no_haircut() -> None:
    desk = Desk(rulebook("book", "settlement_haircut"), index=(100,))
    account, maker = desk.open(60, RICH)
    desk.trade(account, maker, 10, 100)
    desk.order(maker, BUY, 10, 90)
    events = desk.index(90)
    assert not paid(events)
    assert desk.cash(DEFICIT) == -40 * USD


@pytest.mark.spec("WFALL-01")
@pytest.mark.parametrize(("cap", "by_house"), [(None, 40), (15, 15), (0, 0)])
def test_house_pays_up_to_its_cap_for_each_deficit(cap: int | None, by_house: int) -> None:
    house = {} if cap is None else {"deficit_max_atoms": cap * USD}
    desk = Desk(rulebook("book", "house", house=house), index=(100,))
    desk.ok(Deposit(0, HOUSE, (1000 * USD,)))
    account, other, maker = desk.open(60, 60, RICH)
    for who in (account, other):
        desk.trade(who, maker, 10, 100)
    desk.order(maker, BUY, 20, 90)
    events = desk.index(90)
    assert sum(atoms for _, _, atoms in paid(events)) == 2 * by_house * USD
    assert [e.residual_atoms for e in of(events, DeficitClosed)] == [(40 - by_house) * USD] * 2
    assert desk.cash(DEFICIT) == -2 * (40 - by_house) * USD


WATERFALLS = [
    ("book", "insurance", "adl", "socialise", "house"),
    ("book", "adl", "insurance", "house"),
    ("book", "insurance", "socialise", "house"),
    ("book", "insurance", "house"),
    ("book", "socialise", "adl", "insurance", "house"),
]


@pytest.mark.spec("WFALL-01", "WFALL-02", "LEDG-02")
@settings(deadline=None, max_examples=60)
@given(
    path=st.lists(st.sampled_from([80, 88, 93, 96, 98, 100, 104, 112]), min_size=1, max_size=5),
    waterfall=st.sampled_from(WATERFALLS),
    insurance=st.fixed_dictionaries(
        {
            "scope": st.sampled_from(["shared", "instrument"]),
            "takes": st.sampled_from(["bankrupt", "unfilled", "never"]),
            "price": st.sampled_from(["mark", "bankruptcy"]),
        },
        optional={
            "drawdown": st.just({"start_ppb": 300_000_000, "stop_ppb": 250_000_000}),
            "net_notional_max_atoms": st.just(900 * USD),
        },
    ),
    form=st.sampled_from(["session_winners", "funding_index"]),
    trigger=st.sampled_from(["bankrupt", "fund_cannot_pay", "unfilled"]),
    adl_price=st.sampled_from(["bankruptcy", "mark", "previous_mark"]),
)
def test_every_deficit_is_what_its_stages_paid_and_no_pool_goes_below_zero(
    path: list[int],
    waterfall: tuple[str, ...],
    insurance: dict[str, Any],
    form: str,
    trigger: str,
    adl_price: str,
) -> None:
    """Per deficit: atoms = transfers + payments + residual - overcharge. The desk checks the ledger."""
    rules = rulebook(
        *waterfall,
        insurance=insurance,
        socialise={"form": form},
        adl={"trigger": trigger if "adl" in waterfall else "bankrupt", "price": adl_price},
        liquidation={"steps": ["whole"], "price_limit": "bankruptcy"},
    )
    desk = Desk(rules, TWO, index=(100, 100))
    desk.ok(Deposit(0, INSURANCE, (120 * USD,)))
    desk.ok(Deposit(0, HOUSE, (RICH * USD,)))
    a, b, c, maker = desk.open(200, 210, 150, RICH)
    desk.ok(SetLeverage(c, 0, 20, "isolated"))
    desk.trade(a, maker, 12, 100)
    desk.trade(maker, b, 14, 100)
    desk.trade(a, b, 8, 100, instrument=1)
    desk.trade(c, maker, 9, 100)
    for mark in path:
        desk.order(maker, BUY, 2, max(1, mark - 1))
        desk.order(maker, SELL, 3, mark + 1)
        events = desk.index(mark, 200 - mark)
        for opened in of(events, DeficitOpened):
            (closed,) = [e for e in of(events, DeficitClosed) if e.deficit_id == opened.deficit_id]
            brought = sum(e.atoms for e in of(events, StagePaid) if e.deficit_id == opened.deficit_id)
            brought += sum(
                e.transfer_atoms for e in of(events, Deleveraged) if e.deficit_id == opened.deficit_id
            )
            assert opened.atoms == brought + closed.residual_atoms - closed.overcharge_atoms
        by_instrument = insurance["scope"] == "instrument"
        assert desk.equity(INSURANCE) >= 0
        assert not by_instrument or min(pool(desk, 0), pool(desk, 1)) >= 0
        assert desk.cash(DEFICIT) == 0, "the house pays what is left"
        desk.time_ns += SECOND_NS
