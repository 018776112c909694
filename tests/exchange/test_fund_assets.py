"""A fund that holds coins: what it sells for a deficit, at which price, what it pays, and what passes on.

The bankrupt account of most tests bought 180 lots at 100 with 1000 USD; at 94 it has lost 1080, 80 too much.
"""

from typing import Any

import pytest

from tests.venues import ASSETS, USD, Desk, of, perpetual, rulebook, spot
from zerodebt.exchange.audit import audit
from zerodebt.exchange.commands import BUY, Deposit, SetStatus
from zerodebt.exchange.events import (
    HOUSE,
    INSURANCE,
    DeficitClosed,
    DeficitOpened,
    Deleveraged,
    Event,
    ExchangeArmed,
    Filled,
    PoolStatus,
    StagePaid,
    TakenOver,
)
from zerodebt.exchange.reject import RejectReason

RICH = 1_000_000
COIN = 1_000
HALF = {"asset": "COIN", "decimals": 3, "ratio_ppb": 500_000_000}
PAYS: dict[str, Any] = {"insurance": {"takes": "never"}}


def coin_fund(*waterfall: str, coins: int = 2, usd: int = 0, **tables: Any) -> tuple[Desk, int, int]:
    """A fund with coins at 50, sold down to 0.975 * 50 = 48.75, so 49; the debtor, and a rich maker."""
    rules = rulebook(*waterfall, collateral=[HALF], exchange={"price_ratio_ppb": 975_000_000}, **tables)
    desk = Desk(rules, (perpetual(), spot()))
    desk.index(100, 50, later_ns=0)
    desk.ok(Deposit(1, INSURANCE, (coins * COIN,)))
    if usd:
        desk.ok(Deposit(0, INSURANCE, (usd * USD,)))
    desk.ok(Deposit(0, HOUSE, (1000 * USD,)))
    (debtor,) = desk.open(1000)
    (maker,) = desk.open(RICH)
    desk.trade(debtor, maker, 180, 100)
    return desk, debtor, maker


def paid(events: list[Event]) -> list[tuple[str, int]]:
    return [(event.stage, event.atoms) for event in of(events, StagePaid)]


def sold(events: list[Event]) -> list[tuple[int, int]]:
    """(price, lots) of the coins."""
    return [(event.price_ticks, event.size_lots) for event in of(events, Filled) if event.instrument == 1]


@pytest.mark.spec("WFALL-01", "LEDG-01")
@pytest.mark.parametrize(
    ("usd", "bids", "sales", "fund", "house"),
    [
        (0, [(50, 1), (49, 1)], [(50, 1), (49, 1)], 80, 0),
        (0, [(50, 1), (48, 1)], [(50, 1)], 50, 30),
        (0, [(48, 2)], [], 0, 80),
        (0, [], [], 0, 80),
        (60, [(50, 2)], [(50, 1)], 80, 0),
        (60, [(48, 2)], [], 60, 20),
        (200, [(50, 2)], [], 80, 0),
    ],
)
def test_the_fund_pays_what_its_coins_bring_and_the_rest_passes_on(
    usd: int, bids: list[tuple[int, int]], sales: list[tuple[int, int]], fund: int, house: int
) -> None:
    """Of 2 coins it sells what covers the missing money even at 0.975 * 50, and nothing below 49."""
    desk, debtor, maker = coin_fund("book", "insurance", "house", usd=usd, **PAYS)
    desk.order(maker, BUY, 180, 94)
    for price, lots in bids:
        desk.order(maker, BUY, lots, price, instrument=1)
    events = desk.index(94, 50)
    assert sold(events) == sales
    assert paid(events) == [(s, a * USD) for s, a in (("insurance", fund), ("house", house)) if a]
    (deficit,) = of(events, DeficitOpened)
    assert deficit.origins == ((debtor, 80 * USD),)
    assert [event.residual_atoms for event in of(events, DeficitClosed)] == [0]
    proceeds = sum(price * lots for price, lots in sales)
    assert desk.cash(INSURANCE) == (usd + proceeds - fund) * USD
    assert desk.cash(INSURANCE, 1) == (2 - sum(lots for _, lots in sales)) * COIN
    assert desk.cash(HOUSE) == (1000 - house) * USD
    for row in desk.state.accounts.balances.cells[:2]:
        assert sum(row) == 0
    assert audit(desk.batches).findings == ()


def test_what_nobody_pays_after_a_poor_sale_is_a_residual_of_the_debtor() -> None:
    """The coins are worth 100 and bring 50: 30 of 80 are left, and the second coin stays with the fund."""
    desk, debtor, maker = coin_fund("book", "insurance", **PAYS)
    desk.order(maker, BUY, 180, 94)
    desk.order(maker, BUY, 1, 50, instrument=1)
    (closed,) = of(desk.index(94, 50), DeficitClosed)
    assert closed.residual_atoms == 30 * USD
    assert [(r.origin, r.arose_atoms) for r in audit(desk.batches).residuals] == [(debtor, 30 * USD)]


@pytest.mark.parametrize(("bids", "taken"), [([(50, 1), (49, 1)], True), ([(50, 1)], False), ([], False)])
def test_the_fund_takes_positions_only_when_its_sale_brings_what_is_missing(
    bids: list[tuple[int, int]], taken: bool
) -> None:
    """By the index the fund is worth 100 of the 80 that are missing, whatever is bid.

    One bid of 50 does not reach: then it sells nothing, and keeps its coins for a deficit that it pays.
    """
    desk, _, maker = coin_fund("book", "insurance", "adl")
    for price, lots in bids:
        desk.order(maker, BUY, lots, price, instrument=1)
    events = desk.index(94, 50)
    assert bool(of(events, TakenOver)) is taken
    assert bool(of(events, Deleveraged)) is not taken
    assert desk.lots(INSURANCE) == (180 if taken else 0)
    assert desk.cash(INSURANCE) == (50 + 49 - 80 if taken else 0) * USD
    assert desk.cash(INSURANCE, 1) == (0 if taken else 2 * COIN)
    assert audit(desk.batches).findings == ()


@pytest.mark.parametrize(("bids", "deleveraged"), [(2, False), (0, True)])
def test_whether_the_fund_can_pay_is_asked_of_the_book(bids: int, deleveraged: bool) -> None:
    desk, _, maker = coin_fund(
        "book",
        "insurance",
        "adl",
        **PAYS | {"adl": {"trigger": "fund_cannot_pay"}},
        liquidation={"price_limit": "bankruptcy"},
    )
    if bids:
        desk.order(maker, BUY, bids, 50, instrument=1)
    desk.order(maker, BUY, 180, 94)
    events = desk.index(94, 50)
    assert bool(of(events, Deleveraged)) is deleveraged
    assert desk.cash(INSURANCE) == (bids and 100 - 80) * USD
    assert audit(desk.batches).findings == ()


@pytest.mark.parametrize(("coins", "sold_lots", "payer"), [(40, 25, "insurance"), (24, 0, "house")])
def test_losses_of_its_own_inventory_come_before_what_the_fund_pays_for_others(
    coins: int, sold_lots: int, payer: str
) -> None:
    """180 lots that it took at 94 have lost 1080 at 88; the next debtor misses 100 * 6 - 500.

    With 40 coins it sells 2 for the first debt of 80, and has 20. For the second it lacks 100 - 20 + 1080,
    which is 1160 / 0.975 / 49 = 24.3 coins. Of 24 coins 22 are left: 20 - 1080 + 0.975 * 22 * 49 is below
    zero, so that a sale could leave the fund with a debt.
    """
    desk, _, maker = coin_fund("book", "insurance", "house", coins=coins)
    desk.order(maker, BUY, 100, 50, instrument=1)
    desk.index(94, 50)
    assert (desk.lots(INSURANCE), desk.cash(INSURANCE)) == (180, 20 * USD)
    (second,) = desk.open(500)
    desk.trade(second, maker, 100, 94)
    events = desk.index(88, 49)
    assert sold(events) == [(50, sold_lots)] * bool(sold_lots)
    assert paid(events) == [(payer, 100 * USD)]
    assert desk.cash(INSURANCE, 1) == (coins - 2 - sold_lots) * COIN
    assert audit(desk.batches).findings == ()


def test_a_fund_whose_spot_market_is_halted_pays_with_its_money_alone() -> None:
    desk, _, maker = coin_fund("book", "insurance", "house", usd=10, **PAYS)
    desk.order(maker, BUY, 180, 94)
    desk.order(maker, BUY, 2, 50, instrument=1)
    desk.ok(SetStatus(1, open=True, reduce=True, liquidate=False))
    events = desk.index(94, 50)
    assert not of(events, ExchangeArmed)
    assert paid(events) == [("insurance", 10 * USD), ("house", 70 * USD)]
    assert audit(desk.batches).findings == ()


def test_the_funds_coins_count_at_the_index_for_a_pools_peak_and_fall() -> None:
    """100 USD of coins and 20 of money fall to 70 with the index: 50 of 120 are more than 30 percent."""
    drawdown = {"start_ppb": 300_000_000, "stop_ppb": 100_000_000}
    desk, *_ = coin_fund("book", "insurance", "adl", usd=20, insurance={"drawdown": drawdown})
    desk.index(100, 50)
    events = desk.index(94, 25)
    (status,) = of(events, PoolStatus)
    assert (status.peak_atoms, status.equity_atoms, status.is_closed) == (120 * USD, 70 * USD, True)
    assert of(events, Deleveraged)
    assert audit(desk.batches).findings == ()


def unfilled() -> tuple[Desk, int, list[Event]]:
    """Owing 500 on 100 coins at 10, an account is low at 91, and no book takes its 40 lots."""
    desk = Desk(
        rulebook(
            "book",
            "insurance",
            collateral=[HALF | {"ratio_ppb": 900_000_000}],
            exchange={"price_ratio_ppb": 975_000_000},
            insurance={"takes": "unfilled"},
        ),
        (perpetual(), spot()),
    )
    desk.index(100, 10, later_ns=0)
    desk.ok(Deposit(0, INSURANCE, (100 * USD,)))
    (a,), (b,) = desk.open(0), desk.open(RICH)
    desk.ok(Deposit(1, a, (100 * COIN,)))
    desk.trade(a, b, 50, 100)
    desk.order(b, BUY, 50, 90)
    desk.order(a, -1, 50, 90)
    desk.trade(a, b, 40, 100)
    return desk, a, desk.index(91, 10)


def test_the_fund_takes_no_collateral_on_credit_with_unfilled_positions() -> None:
    """The lots go to the fund; the coins stay, and so does what is owed against them."""
    desk, a, events = unfilled()
    assert [(event.taker, event.lots) for event in of(events, TakenOver)] == [(INSURANCE, 40)]
    assert (desk.cash(INSURANCE), desk.cash(INSURANCE, 1)) == (100 * USD, 0)
    assert (desk.cash(a), desk.cash(a, 1)) == (-(500 + 40 * 9) * USD, 100 * COIN)
    assert audit(desk.batches).findings == ()


@pytest.mark.parametrize(
    "tables", [{}, {"collateral": [HALF], "insurance": {"scope": "instrument"}}], ids=["no table", "pools"]
)
def test_what_the_fund_could_not_sell_is_not_brought_in(tables: dict[str, Any]) -> None:
    desk = Desk(rulebook("book", "insurance", **tables), (perpetual(), spot()), assets=ASSETS)
    assert desk.refused(Deposit(1, INSURANCE, (COIN,))) is RejectReason.NOT_IN_RULEBOOK
