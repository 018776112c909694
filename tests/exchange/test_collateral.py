"""What an asset counts for as margin: haircut, tiers, buffers, freshness; and what may leave or be sold."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.venues import ASSETS, USD, Desk, future, of, perpetual, rulebook, spot
from zerodebt.exchange.collateral import (
    Collateral,
    counted,
    counted_array,
    maintenance_haircut_array,
    maintenance_haircut_atoms,
    margin_array,
    margin_atoms,
    worth_array,
    worth_atoms,
)
from zerodebt.exchange.commands import (
    BUY,
    SELL,
    Deposit,
    Observation,
    PlaceOrder,
    SettleVariation,
    UpdateIndex,
    Withdraw,
)
from zerodebt.exchange.events import LiquidationStarted, MarginCalled, MarginCallEnded
from zerodebt.exchange.margin import Risk, initial_excess_atoms, withdrawable_collateral_atoms
from zerodebt.exchange.marks import Market
from zerodebt.exchange.oracle import ASKED, Position, Situation
from zerodebt.exchange.reject import RejectReason
from zerodebt.exchange.rules import CollateralRules, CollateralTier, RulesError
from zerodebt.exchange.units import MINUTE_NS, PPB
from zerodebt.exchange.venue import Venue

RICH = 1_000_000
COIN = 1_000
"""Atoms of one coin."""
NINETY = {"asset": "COIN", "decimals": 3, "ratio_ppb": 900_000_000}


def coin_desk(*, price: int = 100, coin: int = 10, rule: dict[str, Any] = NINETY, **tables: Any) -> Desk:
    """A perpetual and COIN/USDC; what COIN counts for is the rule's."""
    desk = Desk(rulebook(collateral=[rule], **tables), (perpetual(), spot()))
    desk.index(price, coin, later_ns=0)
    return desk


def holder(desk: Desk, usd: int, coins: int) -> int:
    (account,) = desk.open(usd)
    if coins:
        desk.ok(Deposit(1, account, (coins * COIN,)))
    return account


def collateral(rule: CollateralRules, price_ticks: int, **changes: Any) -> Collateral:
    market = Market(0, spot(**changes))
    market.prices.index_ticks = price_ticks
    return Collateral(rule, 1, market, 0)


def rule(**changes: Any) -> CollateralRules:
    return CollateralRules(asset="COIN", decimals=3, **changes)


TIERS = (CollateralTier(100, 900_000_000), CollateralTier(300, 500_000_000))


@pytest.mark.parametrize(
    ("amount", "counts"),
    [(0, 0), (100, 90), (101, 90), (102, 91), (300, 90 + 100), (10_000, 190), (-5, -5)],
)
def test_tiers_count_piece_by_piece_and_nothing_above_the_last(amount: int, counts: int) -> None:
    assert counted(rule(tiers=TIERS), amount) == counts


def test_bounds_by_quantity_and_by_value_are_different_bounds() -> None:
    """200 atoms at 2 USD a coin are worth 400,000 settlement atoms."""
    by_quantity = collateral(rule(tiers=TIERS), 2)
    by_value = collateral(rule(tiers=TIERS, tier_unit="value"), 2)
    assert margin_atoms(by_quantity, 200) == (90 + 50) * 2 * USD // COIN
    assert margin_atoms(by_value, 200) == 190


def test_buffers_lower_what_is_held_and_raise_what_is_owed() -> None:
    """10 coins at 10 USD, ratio 90 %, buffers 1 % and 2 %; the ratio does not help what is owed."""
    buffered = collateral(
        rule(ratio_ppb=900_000_000, bid_buffer_ppb=10_000_000, ask_buffer_ppb=20_000_000), 10
    )
    assert margin_atoms(buffered, 10 * COIN) == 100 * USD * 90 // 100 * 99 // 100
    assert margin_atoms(buffered, -10 * COIN) == -100 * USD * 102 // 100


def test_roundings_go_against_the_holder() -> None:
    """One atom at 1 USD a coin of 10^7 atoms is worth a tenth of an atom: nothing, or a whole one owed."""
    fine = collateral(rule(), 1, lot_atoms=10_000_000)
    assert (worth_atoms(fine, 1), worth_atoms(fine, -1)) == (0, -1)
    assert margin_atoms(fine, 19) == 1


rules_drawn = st.builds(
    CollateralRules,
    asset=st.just("COIN"),
    decimals=st.just(3),
    ratio_ppb=st.sampled_from([0, 1, 333_333_333, 900_000_000, PPB]),
    tiers=st.sampled_from([(), TIERS, (CollateralTier(1, PPB),), (CollateralTier(10**15, 123_456_789),)]),
    tier_unit=st.sampled_from(["quantity", "value"]),
    bid_buffer_ppb=st.sampled_from([0, 1, 10_000_000]),
    ask_buffer_ppb=st.sampled_from([0, 1, 10_000_000]),
    haircut_for=st.sampled_from(["both", "initial"]),
)


@given(
    rules_drawn,
    st.sampled_from([1, 7, 1000, 10**9, 10**18]),
    st.integers(1, 100_000),
    st.lists(st.integers(-(10**12), 10**12) | st.integers(-400, 400), min_size=1, max_size=8),
)
def test_arrays_value_as_single_holdings_do(
    drawn: CollateralRules, lot_atoms: int, price: int, held: list[int]
) -> None:
    one = collateral(drawn, price, lot_atoms=lot_atoms, tick_value_atoms=min(lot_atoms, 10**6))
    atoms = np.array(held, np.int64)
    singles = atoms.tolist()
    assert worth_array(one, atoms).tolist() == [worth_atoms(one, a) for a in singles]
    assert counted_array(drawn, atoms).tolist() == [counted(drawn, a) for a in singles]
    assert margin_array(one, atoms).tolist() == [margin_atoms(one, a) for a in singles]
    haircuts = [maintenance_haircut_atoms(one, a) for a in singles]
    assert maintenance_haircut_array(one, atoms).tolist() == haircuts
    assert min(haircuts) >= 0


@given(rules_drawn, st.integers(1, 1000), st.integers(-1000, 1000), st.integers(0, 1000))
def test_more_of_an_asset_never_counts_less(drawn: CollateralRules, price: int, held: int, more: int) -> None:
    one = collateral(drawn, price)
    assert margin_atoms(one, held + more) >= margin_atoms(one, held)


@pytest.mark.spec("MARG-02")
def test_collateral_carries_positions_at_its_haircut_value() -> None:
    """100 coins at 10 USD count 900 USD: with leverage 20 that is 18,000 USD of position."""
    desk = coin_desk()
    a, b = holder(desk, 0, 100), holder(desk, RICH, 0)
    assert initial_excess_atoms(desk.state, a) == 900 * USD
    desk.order(b, SELL, 1000, 100)
    assert desk.refused(PlaceOrder(a, 0, BUY, 181, 100, "ioc")) == RejectReason.MARGIN_TOO_SMALL
    desk.ok(PlaceOrder(a, 0, BUY, 180, 100, "ioc"))
    assert (desk.equity(a), initial_excess_atoms(desk.state, a)) == (1000 * USD, 0)


def test_an_asset_without_a_table_answers_for_nothing() -> None:
    desk = Desk(instruments=(perpetual(), spot()), index=(100, 10))
    a = holder(desk, 0, 100)
    assert (desk.equity(a), initial_excess_atoms(desk.state, a)) == (0, 0)


@pytest.mark.spec("MARG-08")
@pytest.mark.parametrize(("coin", "liquidated"), [(90, False), (89, True)])
def test_falling_collateral_liquidates_at_the_haircut_value_long_before_the_debt(
    coin: int, liquidated: bool
) -> None:
    """Long 324 at 100 with 10 coins: at 90 they count 810, just the requirement of 32,400 / 40."""
    desk = coin_desk(coin=1000)
    a, b = holder(desk, 0, 10), holder(desk, RICH, 0)
    desk.trade(a, b, 324, 100)
    events = desk.index(100, coin)
    started = of(events, LiquidationStarted)
    assert [e.account for e in started] == ([a] if liquidated else [])
    if liquidated:
        assert started[0].equity_atoms == 890 * USD
        assert started[0].haircut_atoms == 89 * USD
        assert started[0].maintenance_atoms == 810 * USD


def test_haircut_for_initial_margin_only_leaves_maintenance_alone() -> None:
    """810 of requirement are met by 10 coins at 81, uncut."""
    desk = coin_desk(coin=1000, rule=NINETY | {"haircut_for": "initial"})
    a, b = holder(desk, 0, 10), holder(desk, RICH, 0)
    desk.trade(a, b, 324, 100)
    assert not of(desk.index(100, 81), LiquidationStarted)
    assert initial_excess_atoms(desk.state, a) == 10 * 81 * USD * 9 // 10 - 324 * 100 // 20 * USD
    assert of(desk.index(100, 80), LiquidationStarted)


def test_bankruptcy_is_measured_without_haircut() -> None:
    assert not Risk(0, 10, haircut_atoms=100).is_bankrupt
    assert Risk(-1, 10, haircut_atoms=100).is_bankrupt
    assert Risk(110, 10, haircut_atoms=100).margin_atoms == 10
    assert not Risk(110, 10, haircut_atoms=100).is_liquidatable
    assert Risk(109, 10, haircut_atoms=100).is_liquidatable


@pytest.mark.spec("MARG-05")
def test_collateral_leaves_as_far_as_the_rest_carries_the_initial_requirement() -> None:
    """90 lots at 100 need 450 initially; 900 - 9 a coin: 50 of 100 coins may leave."""
    desk = coin_desk()
    a, b = holder(desk, 0, 100), holder(desk, RICH, 0)
    desk.trade(a, b, 90, 100)
    most = withdrawable_collateral_atoms(desk.state, a, 1)
    assert initial_excess_atoms(desk.state, a) == 450 * USD
    assert most == 50 * COIN
    assert desk.refused(Withdraw(a, 1, most + 1)) == RejectReason.BALANCE_TOO_SMALL
    desk.ok(Withdraw(a, 1, most))
    assert initial_excess_atoms(desk.state, a) == 0


@pytest.mark.spec("MARG-05")
def test_coins_that_count_nothing_leave_first_and_none_leaves_an_account_that_misses_margin() -> None:
    """Only the first 50 coins count; 45 lots need 225 of 450."""
    tiers = [{"upto": 50 * COIN, "ratio_ppb": 900_000_000}]
    desk = coin_desk(rule=NINETY | {"tiers": tiers})
    a, b = holder(desk, 0, 100), holder(desk, RICH, 0)
    desk.trade(a, b, 45, 100)
    assert withdrawable_collateral_atoms(desk.state, a, 1) == (50 + 25) * COIN
    desk.index(94, 10)
    assert initial_excess_atoms(desk.state, a) < 0
    assert withdrawable_collateral_atoms(desk.state, a, 1) == 0


def test_what_is_owed_stays_covered_by_collateral_and_not_by_unrealised_profit() -> None:
    """A realised loss of 300 and an unrealised profit of 10,000: 300 of 900 stay, 9 a coin."""
    desk = coin_desk()
    a, b = holder(desk, 0, 100), holder(desk, RICH, 0)
    desk.trade(a, b, 50, 100)
    desk.index(94, 10)
    desk.order(b, BUY, 50, 94)
    desk.order(a, SELL, 50, 94)
    assert desk.cash(a) == -300 * USD
    desk.trade(a, b, 50, 94)
    desk.index(294, 10)
    most = withdrawable_collateral_atoms(desk.state, a, 1)
    assert most == (100 * COIN * 9 - 300 * COIN) // 9
    desk.ok(Withdraw(a, 1, most))
    assert desk.refused(Withdraw(a, 0, 1)) == RejectReason.BALANCE_TOO_SMALL


def test_a_stale_index_carries_no_new_risk_and_liquidates_nobody() -> None:
    desk = coin_desk()
    a, b = holder(desk, 0, 100), holder(desk, RICH, 0)
    desk.trade(a, b, 90, 100)
    desk.time_ns += 2 * MINUTE_NS
    events = desk.ok(UpdateIndex((Observation(0, 0, 100, desk.time_ns),)))
    assert not of(events, LiquidationStarted)
    assert desk.equity(a) == 1000 * USD
    assert initial_excess_atoms(desk.state, a) == -450 * USD
    desk.order(b, SELL, 1, 100)
    assert desk.refused(PlaceOrder(a, 0, BUY, 1, 100)) == RejectReason.MARGIN_TOO_SMALL
    assert desk.refused(Withdraw(a, 1, 1)) == RejectReason.BALANCE_TOO_SMALL
    desk.index(100, 10)
    desk.ok(PlaceOrder(a, 0, BUY, 1, 100))


def test_collateral_under_a_sell_order_counts_the_lower_of_coins_and_price() -> None:
    """100 coins count 900; 50 of them offered at 5 would bring 250 instead of 450."""
    desk = coin_desk()
    a = holder(desk, 0, 100)
    desk.order(a, SELL, 50, 20, instrument=1)
    assert initial_excess_atoms(desk.state, a) == 900 * USD
    desk.order(a, SELL, 50, 5, instrument=1)
    assert initial_excess_atoms(desk.state, a) == (450 + 250) * USD


def test_collateral_in_use_is_not_sold_below_what_it_counts_for() -> None:
    desk = coin_desk()
    a, b = holder(desk, 0, 100), holder(desk, RICH, 0)
    desk.trade(a, b, 180, 100)
    desk.order(b, BUY, 100, 8, instrument=1)
    assert desk.refused(PlaceOrder(a, 1, SELL, 100, 8, "ioc")) == RejectReason.MARGIN_TOO_SMALL
    assert desk.refused(PlaceOrder(a, 1, SELL, 100, 8)) == RejectReason.MARGIN_TOO_SMALL
    desk.order(b, BUY, 100, 9, instrument=1)
    desk.ok(PlaceOrder(a, 1, SELL, 100, 9, "ioc"))
    assert (desk.cash(a), desk.cash(a, 1)) == (900 * USD, 0)
    assert initial_excess_atoms(desk.state, a) == 0


def test_a_resting_sale_is_closed_when_its_owner_needs_the_coins_more() -> None:
    """Offered at 10 and then worth 20: the fill would take 800 off a margin that has 600 to spare."""
    desk = coin_desk(coin=10)
    a, b = holder(desk, 0, 100), holder(desk, RICH, 0)
    desk.order(a, SELL, 100, 10, instrument=1)
    desk.index(100, 20)
    desk.trade(a, b, 180, 100)
    desk.index(95, 20)
    assert desk.equity(a) - desk.requirement(a) == (2000 - 900 - 427.5) * USD
    events = desk.ok(PlaceOrder(b, 1, BUY, 100, 10))
    assert desk.cash(a, 1) == 100 * COIN
    assert [e.reason for e in events if hasattr(e, "reason")] == ["maker_below_maintenance"]


def test_collateral_that_could_outgrow_the_arithmetic_is_refused() -> None:
    desk = coin_desk()
    (a,) = desk.open(0)
    assert desk.refused(Deposit(1, a, (2**60,))) == RejectReason.AMOUNT_TOO_LARGE
    desk.ok(Deposit(1, a, (2**60 // 100_000 // 1000,)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decimals": 8}, "venue.collateral.COIN.decimals is 8, the asset has 3"),
        ({"asset": "USDC"}, "the settlement asset never"),
        ({"tiers": [{"upto": 5, "ratio_ppb": 1}, {"upto": 5, "ratio_ppb": 1}]}, "must ascend"),
        ({"tiers": [{"upto": 5, "ratio_ppb": 1}, {"upto": 6, "ratio_ppb": 2}]}, "must not rise"),
        ({"ratio_ppb": PPB + 1}, "ratio_ppb"),
    ],
)
def test_a_wrong_table_is_refused_with_its_place(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RulesError, match=message):
        coin_desk(rule=NINETY | changes)


def test_collateral_needs_a_spot_market_and_an_asset_that_is_not_held_is_passed_over() -> None:
    with pytest.raises(RulesError, match="0 spot markets trade it, allowed is one: COIN/USDC"):
        Venue(rulebook(collateral=[NINETY]), ASSETS, (perpetual(),))
    venue = Venue(rulebook(collateral=[NINETY]), ASSETS[:1], (perpetual(),))
    assert venue._state.collateral == ()


def test_a_margin_call_counts_collateral_after_haircut_and_ends_by_it() -> None:
    """Long 100 at 100 on 40 coins of 10: at 98 they count 360 less 200, and 20 leverage ask for 490 again."""
    rules = rulebook("book", "house", collateral=[NINETY], settlement={"call_to": "initial"})
    desk = Desk(rules, (future(), spot()))
    desk.index(100, 100, later_ns=0)
    a, b = holder(desk, 0, 40), holder(desk, RICH, 0)
    desk.trade(a, b, 100, 100)
    desk.index(98, 10)
    (call,) = of(desk.ok(SettleVariation(0, 98)), MarginCalled)
    assert (call.equity_atoms, call.called_atoms) == (200 * USD, (490 - 160) * USD)
    assert not of(desk.ok(Deposit(0, a, (329 * USD,))), MarginCallEnded)
    assert of(desk.ok(Deposit(0, a, (1 * USD,))), MarginCallEnded)


@pytest.mark.spec("LIQ-07")
@pytest.mark.parametrize(("lots", "coin"), [(100, 100), (100, 83), (-100, 100), (-7, 2)])
def test_liquidation_price_on_collateral_is_where_the_engine_begins(lots: int, coin: int) -> None:
    """By what 10 coins count for; the bankruptcy price by what they are worth."""
    rules = rulebook(collateral=[NINETY])
    position = Position(instrument=0, lots=lots, entry_ticks=10_000)
    case = Situation(
        rules, ASSETS, (perpetual(leverage=50), spot()), (5_000 * USD, 10 * COIN), (position,), (10_000, coin)
    )
    price, nothing = case.liquidation_price(0), case.bankruptcy_price(0)
    assert price is not None
    assert nothing is not None
    step = -1 if lots > 0 else 1
    assert case.is_liquidatable_at(0, price.ticks)
    assert not case.is_liquidatable_at(0, price.ticks - step)
    margin = 5_000 + 9 * coin
    assert price.exact_ticks == (10_000 * lots - margin) / (lots - Fraction(abs(lots), 100))
    assert nothing.exact_ticks == 10_000 - Fraction(5_000 + 10 * coin, lots)
    assert initial_excess_atoms(case.state, ASKED) == (margin - abs(lots) * 200) * USD
