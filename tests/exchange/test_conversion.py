"""What an account owes is paid from its collateral: when, how much, in which order, and to whom it goes."""

from typing import Any

import pytest

from tests.venues import ASSETS, USD, Desk, fills, of, perpetual, rulebook, spot
from zerodebt.exchange.assets import Asset
from zerodebt.exchange.audit import audit
from zerodebt.exchange.commands import (
    BUY,
    SELL,
    Deposit,
    Observation,
    SetBackstop,
    SetStatus,
    UpdateIndex,
)
from zerodebt.exchange.events import (
    HOUSE,
    INSURANCE,
    Converted,
    DeficitClosed,
    DeficitOpened,
    Deleveraged,
    Event,
    ExchangeArmed,
    Filled,
    LiquidationEnded,
    LiquidationStarted,
    OrderAccepted,
    OrderClosed,
    StagePaid,
    TakenOver,
)
from zerodebt.exchange.instruments import Tier
from zerodebt.exchange.units import SECOND_NS

RICH = 1_000_000
COIN = 1_000
RATIO = {"price_ratio_ppb": 975_000_000}
NINETY = {"asset": "COIN", "decimals": 3, "ratio_ppb": 900_000_000}
TWO = (*ASSETS, Asset("ALT", 3))


def coin_desk(
    *waterfall: str, exchange: dict[str, Any] | None = None, price: int = 100, coin: int = 10, **tables: Any
) -> Desk:
    rules = rulebook(*waterfall, collateral=[NINETY], exchange=RATIO | (exchange or {}), **tables)
    desk = Desk(rules, (perpetual(), spot()))
    desk.index(price, coin, later_ns=0)
    return desk


def holder(desk: Desk, usd: int, coins: int, asset: int = 1) -> int:
    (account,) = desk.open(usd)
    if coins:
        desk.ok(Deposit(asset, account, (coins * COIN,)))
    return account


def lose(desk: Desk, loser: int, winner: int, usd: int, gap: int = 1) -> None:
    """The loser buys at 100 and sells again `gap` lower."""
    desk.trade(loser, winner, usd // gap, 100)
    desk.order(winner, BUY, usd // gap, 100 - gap)
    desk.order(loser, SELL, usd // gap, 100 - gap)


def because(events: list[Event]) -> list[tuple[int, str]]:
    return [(e.account, e.because) for e in of(events, ExchangeArmed)]


@pytest.mark.parametrize(("trigger", "armed"), [(100, True), (101, False), (0, False)])
def test_collateral_is_sold_once_enough_is_owed(trigger: int, armed: bool) -> None:
    """100 USD owed: 100/0.975 = 102.56 USD of coins at 10, in whole lots 11 coins."""
    desk = coin_desk(exchange={"trigger_atoms": trigger * USD})
    a, b = holder(desk, 0, 100), holder(desk, RICH, 0)
    lose(desk, a, b, 100)
    assert desk.cash(a) == -100 * USD
    desk.order(b, BUY, 50, 10, instrument=1)
    events = desk.index(100, 10)
    assert because(events) == ([(a, "owed")] if armed else [])
    if armed:
        assert (desk.cash(a), desk.cash(a, 1)) == ((110 - 100) * USD, 89 * COIN)
        assert not of(events, LiquidationStarted)


def test_collateral_is_sold_once_the_debt_is_a_share_of_it() -> None:
    """98 coins count 882; at 9.05 times ... at an index of 1 they count 88.2 for 88 owed."""
    desk = coin_desk(exchange={"trigger_ltv_ppb": 995_000_000})
    a, b = holder(desk, 0, 98), holder(desk, RICH, 0)
    lose(desk, a, b, 88)
    desk.order(b, BUY, 200, 1, instrument=1)
    assert because(desk.index(100, 2)) == []
    events = desk.index(100, 1)
    assert because(events) == [(a, "loan_to_value")]
    assert (desk.cash(a), desk.cash(a, 1)) == ((91 - 88) * USD, (98 - 91) * COIN)


def test_what_the_book_does_not_buy_at_the_limit_waits_for_the_next_instant() -> None:
    """The limit is 0.975 * 1000 = 975: a bid of 974 buys nothing, one of 975 does."""
    desk = coin_desk(coin=1000, exchange={"trigger_atoms": 1})
    a, b = holder(desk, 0, 10), holder(desk, 2 * RICH, 0)
    lose(desk, a, b, 3000, gap=10)
    desk.order(b, BUY, 1, 975, instrument=1)
    desk.order(b, BUY, 9, 974, instrument=1)
    first = desk.index(100, 1000)
    assert [(price, lots) for _, price, lots in fills(first)] == [(975, 1)]
    (order,) = of(first, OrderAccepted)
    assert (order.size_lots, order.price_ticks, order.forced) == (4, 975, True)
    assert [e.open_lots for e in of(first, OrderClosed)] == [3]
    assert desk.cash(a) == (975 - 3000) * USD
    desk.order(b, BUY, 9, 990, instrument=1)
    second = desk.index(100, 1000)
    assert [(price, lots) for _, price, lots in fills(second)] == [(990, 3)]
    assert desk.cash(a) == (975 + 3 * 990 - 3000) * USD


def test_assets_are_sold_in_the_order_of_the_tables() -> None:
    """ALT is named first: its 5 coins of 10 go before COIN pays the other 50 owed."""
    tables = [NINETY | {"asset": "ALT"}, NINETY]
    rules = rulebook(collateral=tables, exchange={"trigger_atoms": 1})
    desk = Desk(rules, (perpetual(), spot(), spot("ALT/USDC", base_asset=2)), assets=TWO)
    desk.index(100, 10, 10, later_ns=0)
    a, b = holder(desk, 0, 100), holder(desk, RICH, 0)
    desk.ok(Deposit(2, a, (5 * COIN,)))
    lose(desk, a, b, 100)
    desk.order(b, BUY, 50, 10, instrument=1)
    desk.order(b, BUY, 50, 10, instrument=2)
    events = desk.index(100, 10, 10)
    assert [(e.instrument, e.lots) for e in of(events, ExchangeArmed)] == [(2, 5), (1, 5)]
    assert (desk.cash(a), desk.cash(a, 1), desk.cash(a, 2)) == (0, 95 * COIN, 0)


def test_own_offers_of_the_collateral_are_withdrawn_before_it_is_sold() -> None:
    desk = coin_desk(exchange={"trigger_atoms": 1})
    a, b = holder(desk, 0, 20), holder(desk, RICH, 0)
    lose(desk, a, b, 100, gap=10)
    desk.order(a, SELL, 20, 50, instrument=1)
    desk.order(b, BUY, 20, 10, instrument=1)
    events = desk.index(100, 10)
    assert [e.reason for e in of(events, OrderClosed)] == ["conversion"]
    assert desk.cash(a) == 10 * USD


def test_a_forced_sale_of_collateral_is_free_for_its_owner() -> None:
    fees = {"maker_ppb": 0, "taker_ppb": 10_000_000, "liquidation_ppb": 50_000_000}
    desk = coin_desk(exchange={"trigger_atoms": 1}, fees=fees)
    a, b = holder(desk, 0, 100), holder(desk, RICH, 0)
    lose(desk, a, b, 100)
    owed = -desk.cash(a)
    assert owed == (100 + 100 + 99) * USD
    desk.order(b, BUY, 50, 10, instrument=1)
    desk.index(100, 10)
    assert desk.cash(a) == 31 * 10 * USD - owed
    assert desk.cash(INSURANCE) == 0


@pytest.mark.spec("LIQ-01")
def test_long_perpetual_on_coins_is_liquidated_by_haircut_and_pays_its_loss_in_coins() -> None:
    """Long 324 at 100 with 10 coins at 1000: at 89 a coin they count 801 of the 810 that are required.

    The position sells at 98 and loses 648; coins worth 648/0.975 = 664.6 at 89 are 8 coins, sold at 88.
    """
    desk = coin_desk(coin=1000)
    a, b = holder(desk, 0, 10), holder(desk, RICH, 0)
    desk.trade(a, b, 324, 100)
    desk.order(b, BUY, 400, 98)
    desk.order(b, BUY, 20, 88, instrument=1)
    events = desk.index(100, 89)
    assert [e.account for e in of(events, LiquidationStarted)] == [a]
    orders = [(e.instrument, e.size_lots, e.price_ticks) for e in of(events, OrderAccepted) if e.forced]
    assert orders == [(0, 324, None), (1, 8, 87)]
    assert because(events) == [(a, "liquidation")]
    assert [e.account for e in of(events, LiquidationEnded)] == [a]
    assert (desk.lots(a), desk.cash(a), desk.cash(a, 1)) == (0, (8 * 88 - 648) * USD, 2 * COIN)
    assert not of(events, DeficitOpened)


@pytest.mark.parametrize(("before", "kept"), [(True, 324), (False, 0)])
def test_repaying_before_positions_are_reduced_can_save_them(before: bool, kept: int) -> None:
    """Owing 100, 10 coins at 101 count 909: 809 for 810. Selling 2 coins uncut gains their haircut."""
    desk = coin_desk(coin=1000, exchange={"before_positions": before})
    a, b = holder(desk, 0, 10), holder(desk, RICH, 0)
    lose(desk, a, b, 100)
    desk.index(100, 1000)
    desk.trade(a, b, 324, 100)
    desk.order(b, BUY, 400, 100)
    desk.order(b, BUY, 20, 101, instrument=1)
    events = desk.index(100, 101)
    assert [e.account for e in of(events, LiquidationStarted)] == [a]
    assert desk.lots(a) == kept
    assert (
        (desk.cash(a), desk.cash(a, 1)) == ((2 * 101 - 100) * USD, 8 * COIN)
        if before
        else (-100 * USD, 10 * COIN)
    )


@pytest.mark.spec("WFALL-01")
def test_collateral_is_used_up_before_the_fund_pays_and_the_fund_takes_what_nobody_buys() -> None:
    """Long 180 at 100 with 100 coins at 10; at 94 and 10 a coin the loss of 1080 exceeds 1000.

    The book buys 40 coins at 10, the fund takes 60 at 9.75: the deficit is 1080 - 400 - 585 = 95.
    """
    desk = coin_desk("book", "insurance")
    desk.ok(Deposit(0, INSURANCE, (10_000 * USD,)))
    a, b = holder(desk, 0, 100), holder(desk, RICH, 0)
    desk.trade(a, b, 180, 100)
    desk.order(b, BUY, 40, 10, instrument=1)
    events = desk.index(94, 10)
    (converted,) = of(events, Converted)
    assert (converted.taker, converted.atoms, converted.paid_atoms) == (INSURANCE, 60 * COIN, 585 * USD)
    assert [e.atoms for e in of(events, DeficitOpened)] == [95 * USD]
    assert [(e.stage, e.atoms) for e in of(events, StagePaid)] == [("insurance", 95 * USD)]
    assert (desk.cash(a), desk.cash(a, 1), desk.lots(a)) == (0, 0, 0)
    assert desk.cash(INSURANCE, 1) == 60 * COIN
    assert desk.cash(INSURANCE) == (10_000 - 585 - 95) * USD
    assert desk.lots(INSURANCE) == 180


@pytest.mark.spec("WFALL-04")
def test_winners_are_deleveraged_only_for_what_the_collateral_left_open() -> None:
    desk = coin_desk("book", "adl")
    a, b = holder(desk, 0, 100), holder(desk, RICH, 0)
    desk.trade(a, b, 180, 100)
    desk.order(b, BUY, 100, 10, instrument=1)
    events = desk.index(94, 10)
    assert not of(events, Converted)
    assert sum(e.transfer_atoms for e in of(events, Deleveraged)) >= 80 * USD
    (closed,) = of(events, DeficitClosed)
    assert closed.residual_atoms == 0
    assert desk.equity(a) == closed.overcharge_atoms < 180 * USD
    assert desk.cash(a, 1) == 0


@pytest.mark.parametrize(("named", "cash", "bought"), [(True, 100, 10_256), (True, 0, 0), (False, 5000, 0)])
def test_the_fund_buys_collateral_where_the_waterfall_names_it_and_for_money_it_has(
    named: bool, cash: int, bought: int
) -> None:
    """100 USD buy 100 / 9.75 = 10.256 coins; the rest waits in the account that owes, for a bid."""
    desk = coin_desk("book", *(["insurance"] if named else []), "adl")
    if cash:
        desk.ok(Deposit(0, INSURANCE, (cash * USD,)))
    a, b = holder(desk, 0, 100), holder(desk, RICH, 0)
    desk.trade(a, b, 180, 100)
    events = desk.index(94, 10)
    paid = bought * 10 * USD // COIN * 975 // 1000
    assert [(e.atoms, e.paid_atoms) for e in of(events, Converted)] == [(bought, paid)] * bool(bought)
    assert (desk.cash(a, 1), desk.cash(INSURANCE, 1)) == (100 * COIN - bought, bought)
    assert desk.cash(INSURANCE) >= 0
    assert desk.lots(a) == 0
    assert desk.equity(a) >= 0
    assert audit(desk.batches).findings == ()


@pytest.mark.spec("WFALL-01")
def test_what_unsold_collateral_loses_later_is_the_deficit_of_its_owner() -> None:
    """100 coins at 10 stay with who lost 180 lots; at 8 they have lost 200, and the house pays for him.

    A bid of 8 then buys them all: nothing is owed any more, and nothing is left.
    """
    desk = coin_desk("book", "adl", "house")
    desk.ok(Deposit(0, HOUSE, (1000 * USD,)))
    a, b = holder(desk, 0, 100), holder(desk, RICH, 0)
    desk.trade(a, b, 180, 100)
    desk.index(94, 10)
    spare = desk.equity(a)
    events = desk.index(94, 8)
    (deficit,) = of(events, DeficitOpened)
    assert deficit.origins == ((a, 200 * USD - spare),)
    assert [(e.stage, e.atoms) for e in of(events, StagePaid)] == [("house", 200 * USD - spare)]
    assert (desk.cash(INSURANCE), desk.cash(a, 1), desk.equity(a)) == (0, 100 * COIN, 0)
    desk.order(b, BUY, 100, 8, instrument=1)
    assert because(desk.index(94, 8)) == [(a, "liquidation")]
    assert (desk.cash(a), desk.cash(a, 1)) == (0, 0)
    assert audit(desk.batches).findings == ()


def test_a_liquidated_account_without_positions_is_cleared_by_the_fund() -> None:
    """91 owed on 100 coins: at 1 they count 90. 91/0.975 = 93.3 coins go to the fund, nothing waits."""
    desk = coin_desk("book", "insurance")
    desk.ok(Deposit(0, INSURANCE, (100 * USD,)))
    a, b = holder(desk, 0, 100), holder(desk, RICH, 0)
    lose(desk, a, b, 91)
    events = desk.index(100, 1)
    assert [e.account for e in of(events, LiquidationEnded)] == [a]
    (converted,) = of(events, Converted)
    assert converted.atoms == -(-91 * COIN * 1000 // 975)
    assert 0 <= desk.cash(a) < USD // COIN
    assert desk.cash(a, 1) == 100 * COIN - converted.atoms
    assert not of(events, DeficitOpened)


def test_no_deficit_is_declared_while_the_collateral_may_not_be_sold() -> None:
    desk = coin_desk("book", "insurance")
    desk.ok(Deposit(0, INSURANCE, (10_000 * USD,)))
    a, b = holder(desk, 0, 100), holder(desk, RICH, 0)
    desk.trade(a, b, 180, 100)
    desk.ok(SetStatus(1, open=False, reduce=False, liquidate=False))
    events = desk.index(94, 10)
    assert desk.equity(a) == -80 * USD
    assert not of(events, DeficitOpened)
    desk.ok(SetStatus(1, open=True, reduce=True, liquidate=True))
    assert of(desk.index(94, 10), DeficitClosed)
    assert desk.equity(a) == 0


def test_a_backstop_takes_collateral_and_what_is_owed_against_it() -> None:
    """Owing 500 on 100 coins at 10; 40 lots lose 40 a tick: margin 80 for 92 at 92, and 40 for 91 at 91."""
    desk = coin_desk("book", "backstop", "adl")
    (vault,) = desk.open(RICH, role="vault")
    desk.ok(SetBackstop(vault, (0,)))
    a, b = holder(desk, 0, 100), holder(desk, RICH, 0)
    lose(desk, a, b, 500, gap=10)
    desk.trade(a, b, 40, 100)
    events = desk.index(92, 10)
    assert of(events, LiquidationStarted)
    assert not of(events, TakenOver)
    events = desk.index(91, 10)
    (taken,) = of(events, TakenOver)
    assert (taken.taker, taken.lots) == (vault, 40)
    assert (desk.cash(a), desk.cash(a, 1), desk.equity(a)) == (0, 0, 0)
    assert desk.cash(vault, 1) == 100 * COIN
    assert desk.cash(vault) == (RICH - 500 - 360) * USD


@pytest.mark.parametrize(("weights", "liquidated"), [((9, 1), True), ((1, 9), False)])
def test_depeg_liquidates_by_the_own_book_and_nobody_by_the_redemption_ratio(
    weights: tuple[int, int], liquidated: bool
) -> None:
    """A staked dollar trades at 65 cents here and redeems at 100: 1000 of them carry 180 lots at 100.

    By the redemption ratio they count 900 for a requirement of 4 %, 720, and nothing is sold. By the own book
    they count 585: the position goes at 99, and its loss of 180 costs 180/0.975/0.65 coins, sold at 64 cents.
    """
    sources = [
        {"name": name, "weight": w} for name, w in zip(("own book", "redemption"), weights, strict=True)
    ]
    rules = rulebook("book", "insurance", collateral=[NINETY], exchange=RATIO, sources=sources)
    tiers = (Tier(0, 20, maintenance_ppb=40_000_000),)
    desk = Desk(rules, (perpetual(tiers=tiers), spot(tick_value_atoms=USD // 100)))
    desk.index(100, 100, later_ns=0)
    a, b = holder(desk, 0, 1000), holder(desk, RICH, 0)
    desk.trade(a, b, 180, 100)
    desk.order(b, BUY, 180, 99)
    desk.order(b, BUY, 1000, 64, instrument=1)
    desk.time_ns += SECOND_NS
    prices = [(0, 0, 100), (0, 1, 100), (1, 0, 65), (1, 1, 100)]
    events = desk.ok(UpdateIndex(tuple(Observation(n, s, p, desk.time_ns) for n, s, p in prices)))
    assert bool(of(events, LiquidationStarted)) is liquidated
    sold = sum(e.size_lots for e in of(events, Filled) if e.instrument == 1)
    assert sold == (285 if liquidated else 0)
    assert desk.cash(a, 1) == (1000 - sold) * COIN
    assert desk.lots(a) == (0 if liquidated else 180)
