"""Requirement as the worst of a grid of price moves, and levels of margin."""

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.exchange.test_margin import crowd, scan_all
from tests.venues import USD, Desk, future, of, perpetual, rulebook
from zerodebt.exchange.audit import audit
from zerodebt.exchange.commands import BUY, SELL, PlaceOrder, SettleVariation, Withdraw
from zerodebt.exchange.events import FIRST_ACCOUNT, LiquidationStarted, MarginCalled
from zerodebt.exchange.margin import (
    find_liquidatable,
    initial_excess_atoms,
    maintenance_after,
    pooled_equity,
    risk_of,
)
from zerodebt.exchange.marks import Market
from zerodebt.exchange.portfolio import (
    Portfolio,
    level_of,
    loss_atoms,
    requirement_atoms,
    requirements_array,
    resolve,
)
from zerodebt.exchange.reject import RejectReason
from zerodebt.exchange.rules import MarginLevel, PortfolioGroup, PortfolioRules, RulesError

RICH = 1_000_000
TENTH = 100_000_000
"""A tenth in parts per billion."""
GRID = {
    "moves_ppb": [-2 * TENTH, -TENTH, 0, TENTH, 2 * TENTH],
    "groups": [{"underlying": "BTC", "instruments": ["BTC", "BTC-DEC"]}],
}
LEVELS = [
    {"name": "warning", "at_ppb": 15 * TENTH},
    {"name": "reduce_only", "at_ppb": 12 * TENTH, "opens": False},
]
CONTRACTS = (perpetual("BTC"), future("BTC-DEC"), perpetual("ETH"))


def grid_desk(**changes: Any) -> Desk:
    return Desk(rulebook(portfolio=GRID | changes), CONTRACTS, index=(100, 100, 100))


def test_contracts_of_one_underlying_offset_in_full_and_others_do_not() -> None:
    """Long 10 BTC, short 10 BTC of December: nothing. Long 10 ETH: 20 % of 1000."""
    desk = grid_desk()
    a, b = desk.open(1000, RICH)
    desk.trade(a, b, 10, 100)
    assert desk.requirement(a) == 200 * USD
    desk.trade(b, a, 10, 100, instrument=1)
    assert desk.requirement(a) == 0
    desk.trade(b, a, 10, 100, instrument=2)
    assert desk.requirement(a) == 200 * USD


@pytest.mark.parametrize(("share_tenths", "required"), [(0, 400), (5, 200), (10, 0)])
def test_between_groups_a_stated_share_of_a_common_move_is_given(share_tenths: int, required: int) -> None:
    """Long 10 BTC and short 10 ETH: 200 each alone, 0 if both always moved alike."""
    desk = grid_desk(offset_ppb=share_tenths * TENTH)
    a, b = desk.open(1000, RICH)
    desk.trade(a, b, 10, 100)
    desk.trade(b, a, 10, 100, instrument=2)
    assert desk.requirement(a) == required * USD


def test_contingency_is_asked_for_gross_value_even_of_a_hedge() -> None:
    desk = grid_desk(contingency_ppb=TENTH // 10, initial_ppb=15 * TENTH)
    a, b = desk.open(1000, RICH)
    desk.trade(a, b, 10, 100)
    desk.trade(b, a, 10, 100, instrument=1)
    assert desk.requirement(a) == 2 * 10 * 100 // 100 * USD
    assert initial_excess_atoms(desk.state, a) == (1000 - 30) * USD


def test_an_inverse_contract_loses_more_when_the_price_falls() -> None:
    """A face of 1000 at 100 is 10 coins; a fifth lower it is 12.5, a fifth higher 8.33 coins."""
    market = Market(0, perpetual(contract="inverse", tick_value_atoms=1_000_000))
    market.prices.mark_ticks = 100
    assert loss_atoms(market, 1000, -2 * TENTH) == 10_000_000 * 25 // 100
    assert loss_atoms(market, -1000, 2 * TENTH) == -(-10_000_000 * 2 // 12)
    assert loss_atoms(market, -1000, -2 * TENTH) == -2_500_000


def test_a_margin_call_asks_for_the_grid_s_initial_requirement() -> None:
    """Long 10 at 73 and short 5 of December at 100: 310 - 270 = 40 for a fifth of 230, half as much more.

    The sum of the positions' own requirements, 1230 / 20 = 61.5, is not asked.
    """
    rules = rulebook(portfolio=GRID | {"initial_ppb": 15 * TENTH}, settlement={"call_to": "initial"})
    desk = Desk(rules, (future("BTC"), future("BTC-DEC")), index=(100, 100))
    account, other = desk.open(310, RICH)
    desk.trade(account, other, 10, 100)
    desk.order(other, BUY, 5, 100, instrument=1)
    desk.ok(PlaceOrder(account, 1, SELL, 5, 100, "ioc"))
    desk.index(73, 100)
    (call,) = of(desk.ok(SettleVariation(0, 73)), MarginCalled)
    assert (call.equity_atoms, call.maintenance_atoms) == (40 * USD, 46 * USD)
    assert call.called_atoms == (46 * 15 // 10 - 40) * USD
    assert not audit(desk.batches).findings


@pytest.mark.spec("LIQ-01")
def test_a_hedged_pool_survives_what_liquidates_the_same_position_alone() -> None:
    """Long 40 at 100 with 1000: at 85 the one has 400 for 40 * 85 / 5 = 680, the other all of it for 0."""
    desk = grid_desk()
    alone, hedged, b = desk.open(1000, 1000, RICH)
    for account in (alone, hedged):
        desk.trade(account, b, 40, 100)
    desk.order(b, BUY, 40, 100, instrument=1)
    desk.ok(PlaceOrder(hedged, 1, SELL, 40, 100, "ioc"))
    events = desk.index(85, 85, 100)
    assert [e.account for e in of(events, LiquidationStarted)] == [alone]


@pytest.mark.spec("MARG-02")
def test_orders_are_judged_by_what_they_would_add_and_hedges_are_cheap() -> None:
    """1000 carry 50 lots at 20 %; a hedge of 20 in December frees the margin of 20 more."""
    desk = grid_desk()
    a, b = desk.open(1000, RICH)
    desk.order(b, SELL, 200, 100)
    assert desk.refused(PlaceOrder(a, 0, BUY, 51, 100, "ioc")) == RejectReason.MARGIN_TOO_SMALL
    desk.ok(PlaceOrder(a, 0, BUY, 50, 100, "ioc"))
    desk.order(b, BUY, 20, 100, instrument=1)
    desk.ok(PlaceOrder(a, 1, SELL, 20, 100, "ioc"))
    assert initial_excess_atoms(desk.state, a) == 20 * 100 // 5 * USD
    desk.ok(PlaceOrder(a, 0, BUY, 20, 100, "ioc"))
    assert desk.refused(PlaceOrder(a, 0, BUY, 1, 100, "ioc")) == RejectReason.MARGIN_TOO_SMALL


def test_resting_orders_are_added_as_portfolios_of_their_own() -> None:
    """Long 10; bids for 5 and offers of 20 of it, bids for 3 ETH: 200 + 400 + 60."""
    desk = grid_desk()
    a, b = desk.open(1000, RICH)
    desk.trade(a, b, 10, 100)
    desk.order(a, BUY, 5, 100)
    desk.order(a, SELL, 20, 101)
    desk.order(a, BUY, 3, 100, instrument=2)
    assert initial_excess_atoms(desk.state, a) == (1000 - 200 - 400 - 60) * USD


def portfolio(offset: int, contingency: int) -> tuple[Portfolio, list[Market]]:
    rules = PortfolioRules(
        moves_ppb=(-2 * TENTH, -33_333_333, 0, TENTH, 15 * TENTH),
        groups=(PortfolioGroup("BTC", ("BTC", "BTC-DEC")),),
        offset_ppb=offset,
        contingency_ppb=contingency,
    )
    instruments = (*CONTRACTS, perpetual("XBT", contract="inverse"))
    markets = [Market(n, instrument) for n, instrument in enumerate(instruments)]
    for market, mark in zip(markets, (101, 99, 7, 100), strict=True):
        market.prices.mark_ticks = mark
    found = resolve(rules, instruments)
    assert found is not None
    return found, markets


lots_drawn = st.lists(st.sampled_from([0, 1, -1, 7, -9, 1000, -999]), min_size=4, max_size=4)
shares = st.sampled_from([0, 1, 333_333_333, 10**9])


@given(shares, shares, st.lists(lots_drawn, min_size=1, max_size=5))
def test_arrays_ask_for_what_single_pools_do(offset: int, contingency: int, pools: list[list[int]]) -> None:
    grid, markets = portfolio(offset, contingency)
    columns = [(m, np.array([pool[m.number] for pool in pools], np.int64)) for m in markets]
    singles = [requirement_atoms(grid, zip(markets, pool, strict=True)) for pool in pools]
    assert requirements_array(grid, columns, len(pools)).tolist() == singles
    assert min(singles) >= 0


@given(shares, shares, lots_drawn, lots_drawn)
def test_a_whole_never_needs_more_than_its_parts(
    offset: int, contingency: int, one: list[int], other: list[int]
) -> None:
    """Up to an atom for each rounding of the three portfolios."""
    grid, markets = portfolio(offset, contingency)
    both = [x + y for x, y in zip(one, other, strict=True)]
    whole, first, second = (
        requirement_atoms(grid, zip(markets, lots, strict=True)) for lots in (both, one, other)
    )
    assert whole <= first + second + 12


@pytest.mark.spec("LIQ-02", "LIQ-10", kind="S")
@pytest.mark.parametrize("seed", range(6))
def test_scan_over_a_grid_equals_the_scalar_one_on_every_step_of_a_random_walk(seed: int) -> None:
    rng = random.Random(seed)
    grid = GRID | {"offset_ppb": rng.choice([0, 4 * TENTH]), "contingency_ppb": rng.choice([0, TENTH // 20])}
    grid["groups"] = [{"underlying": "BTC", "instruments": ["BTC", "WTI"]}]
    desk = crowd(rng, 60, portfolio=grid)
    everybody = np.arange(FIRST_ACCOUNT, desk.state.accounts.count)
    prices = [100, 100, rng.choice([1, 20, -3]), 10]
    skipped = liquidatable = 0
    for _ in range(60):
        jump = rng.choice([0, 0, 1, 1, 2, 20])
        for n in range(4):
            low = -500 if n == 2 else 1
            prices[n] = max(low, min(900, prices[n] + rng.randint(-jump, jump)))
        desk.index(*prices)
        recheck = desk.state.accounts.recheck_at.array[0, everybody]
        skipped += int((recheck >= desk.state.counters.meter_ppb).sum())
        found = scan_all(desk.state)
        liquidatable += len(found)
        assert find_liquidatable(desk.state) == found
        required = pooled_equity(desk.state, everybody)[1].tolist()
        assert required == [risk_of(desk.state, (a, 0)).maintenance_atoms for a in everybody.tolist()]
    assert skipped
    assert liquidatable


def test_level_is_the_lowest_whose_share_is_not_exceeded() -> None:
    levels = (MarginLevel("low", 15), MarginLevel("lower", 12))
    unit = 10**9
    assert [level_of(levels, margin, unit) for margin in (16, 15, 13, 12, 0, -1)] == [
        "ok",
        "low",
        "low",
        "lower",
        "lower",
        "lower",
    ]
    assert level_of(levels, 0, 0) == "ok"


@pytest.mark.parametrize("moves", [[], [-TENTH // 4, TENTH // 4]])
def test_an_account_at_a_level_that_stops_opening_may_only_reduce(moves: list[int]) -> None:
    """With and without a grid 100 lots need 2.5 %: 340 for 232.5 is a warning, 240 for 230 too little."""
    desk = Desk(rulebook(portfolio={"moves_ppb": moves, "levels": LEVELS}), (perpetual(leverage=20),))
    desk.index(100)
    a, b = desk.open(1040, RICH)
    desk.trade(a, b, 100, 100)
    assert desk.requirement(a) == 250 * USD
    desk.index(93)
    assert desk.equity(a) == 340 * USD
    assert desk.venue.view.margin_level(a) == "warning"
    desk.index(92)
    assert desk.venue.view.margin_level(a) == "reduce_only"
    desk.order(b, BUY, 300, 92)
    desk.order(b, SELL, 300, 93)
    assert desk.refused(PlaceOrder(a, 0, BUY, 1, 93)) == RejectReason.MARGIN_TOO_SMALL
    assert desk.refused(Withdraw(a, 0, 1)) == RejectReason.BALANCE_TOO_SMALL
    desk.order(a, SELL, 90, 92)
    assert desk.venue.view.margin_level(a) == "ok"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"groups": [{"underlying": "A", "instruments": ["BTC", "BTC"]}]}, "name an instrument twice"),
        ({"moves_ppb": []}, "moves_ppb is empty"),
        ({"moves_ppb": [-(10**9)]}, "moves_ppb"),
        ({"levels": LEVELS[::-1]}, "must fall"),
    ],
)
def test_a_wrong_grid_is_refused_with_its_place(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RulesError, match=message):
        grid_desk(**changes)


@pytest.mark.spec("MARG-03")
def test_requirement_after_a_change_is_that_of_the_grid_with_the_position_changed() -> None:
    desk = grid_desk()
    a, b = desk.open(RICH, RICH)
    desk.trade(a, b, 10, 100)
    desk.trade(b, a, 4, 100, instrument=2)
    market = desk.state.markets[0]
    before = risk_of(desk.state, (a, 0))
    expected = maintenance_after(desk.state, (a, 0), before, [(market, 3)])
    desk.trade(b, a, 7, 100)
    assert desk.lots(a) == 3
    assert desk.requirement(a) == expected != before.maintenance_atoms
