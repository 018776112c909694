"""Forced orders, by the documented rule and through the venue."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.venues import USD, Desk, future, hyperliquid, of, perpetual, rulebook
from zerodebt.exchange.commands import (
    BUY,
    SELL,
    Deposit,
    PlaceOrder,
    SetLeverage,
    SetStatus,
    Trigger,
    Withdraw,
)
from zerodebt.exchange.events import (
    FEES,
    INSURANCE,
    DeficitOpened,
    Filled,
    LiquidationEnded,
    LiquidationStarted,
    OrderAccepted,
    OrderClosed,
    StageArmed,
)
from zerodebt.exchange.liquidation import share_lots
from zerodebt.exchange.reject import RejectReason
from zerodebt.exchange.rules import LiquidationRules
from zerodebt.exchange.units import SECOND_NS

RICH = 10_000_000
CHUNKS: dict[str, Any] = {
    "chunk_threshold_atoms": 100_000 * USD,
    "chunk_ppb": 200_000_000,
    "cooldown_ns": 30 * SECOND_NS,
}
GOLDEN = json.loads(
    (Path(__file__).parents[1] / "golden" / "hyperliquid_partial_liquidation.json").read_text("utf-8")
)
HL = hyperliquid(fees={"maker_ppb": 0, "taker_ppb": 0}, orders={"value_min_atoms": 0})


@pytest.mark.parametrize(
    "vector", [v for v in GOLDEN if v["id"].startswith("hl-chunk")], ids=lambda v: str(v["id"])
)
def test_first_order_of_a_large_position_is_a_fifth(vector: Any) -> None:
    size, mark = int(vector["inputs"]["position_size"]), int(vector["inputs"]["mark"])
    lots = share_lots(HL.liquidation, size, size * mark * USD, vector["inputs"]["in_cooldown"])
    assert lots == int(vector["expected"]["order_size"])


@pytest.mark.parametrize(
    ("size", "notional_usd", "cooling", "lots"),
    [
        (100, 100_000, False, 100),
        (100, 100_001, False, 100 // 5),
        (100, 100_001, True, 100),
        (4, 100_001, False, 1),
        (9, 100_001, False, 9 // 5),
    ],
)
def test_threshold_itself_goes_whole_and_a_share_is_at_least_one_lot(
    size: int, notional_usd: int, cooling: bool, lots: int
) -> None:
    rules = LiquidationRules(**CHUNKS)
    assert share_lots(rules, size, notional_usd * USD, cooling) == lots


def forced(events: list[Any]) -> list[tuple[int, int]]:
    """(account, lots) of each forced order."""
    return [(e.account, e.size_lots) for e in of(events, OrderAccepted) if e.forced]


@pytest.mark.spec("LIQ-05")
def test_large_position_sends_a_fifth_then_within_the_cooldown_all_that_is_left() -> None:
    """160 lots bought at 1000 with 8000; at 970 they have lost 4800 and need 155,200 / 40 = 3880."""
    desk = Desk(rulebook("book", "adl", liquidation=CHUNKS), index=(1000,))
    a, b, taker = desk.open(8000, RICH, RICH)
    desk.trade(a, b, 160, 1000)
    desk.order(taker, BUY, 1, 970)
    assert forced(desk.index(970)) == [(a, 160 // 5)]
    assert desk.lots(a) == 160 - 1
    assert forced(desk.tick(SECOND_NS)) == [], "nobody buys"
    desk.order(taker, BUY, 2, 970)
    assert forced(desk.tick(29 * SECOND_NS)) == [(a, 159)]
    desk.order(taker, BUY, 3, 970)
    assert forced(desk.tick(SECOND_NS)) == [(a, (159 - 2) // 5)]
    assert desk.lots(a) == 160 - 1 - 2 - 3


@pytest.mark.spec("LIQ-05")
def test_position_at_the_threshold_goes_whole_and_starts_no_cooldown() -> None:
    """100 lots sold at 960 with 6000; at 1000 they are worth 100,000 and 6000 - 4000 < 100,000 / 40.

    One is bought; at 1015 the other 99 are worth 100,485, and no fifth was sent before: 99 // 5.
    """
    desk = Desk(rulebook("book", "adl", liquidation=CHUNKS), index=(960,))
    a, b, maker = desk.open(6000, RICH, RICH)
    desk.trade(b, a, 100, 960)
    desk.order(maker, SELL, 1, 1000)
    assert forced(desk.index(1000)) == [(a, 100)]
    assert desk.lots(a) == -99
    desk.order(maker, SELL, 1, 1015)
    assert forced(desk.index(1015)) == [(a, 99 // 5)]


@pytest.mark.spec("LIQ-06")
def test_liquidation_stops_as_soon_as_the_account_is_safe() -> None:
    """Two positions need 40 * 960 / 40 and 8 * 960 / 40; closing the larger one is enough."""
    desk = Desk(
        rulebook("book", "adl", liquidation=CHUNKS), (perpetual(), perpetual("ETH")), index=(1000, 1000)
    )
    a, b = desk.open(2900, RICH)
    desk.trade(a, b, 40, 1000)
    desk.trade(a, b, 8, 1000, instrument=1)
    desk.order(b, BUY, 100, 960)
    desk.order(b, BUY, 100, 960, instrument=1)
    events = desk.index(960, 960)
    started, ended = of(events, LiquidationStarted), of(events, LiquidationEnded)
    assert started == [LiquidationStarted(a, 0, (2900 - 48 * 40) * USD, 48 * 960 * USD // 40)]
    assert ended == [LiquidationEnded(a, 0, (2900 - 48 * 40) * USD, 8 * 960 * USD // 40)]
    assert (desk.lots(a), desk.lots(a, 1)) == (0, 8)


@pytest.mark.spec("LIQ-05")
def test_forced_order_is_never_larger_than_the_position_and_never_flips_it() -> None:
    desk = Desk(index=(100,))
    a, b = desk.open(50, RICH)
    desk.trade(b, a, 10, 100)
    desk.order(b, SELL, 500, 103)
    events = desk.index(103)
    assert [e.size_lots for e in of(events, Filled)] == [10]
    assert desk.lots(a) == 0
    assert desk.cash(a) == (50 - 10 * 3) * USD


@pytest.mark.spec("LIQ-04")
def test_orders_and_triggers_are_cancelled_before_anything_is_sold() -> None:
    desk = Desk(index=(100,))
    a, b = desk.open(60, RICH)
    desk.trade(a, b, 10, 100)
    resting = desk.order(a, SELL, 5, 120)
    stop = PlaceOrder(a, 0, SELL, 5, trigger=Trigger("stop", "mark", 50))
    desk.ok(stop)
    events = desk.index(96)
    kinds = [type(e) for e in events if isinstance(e, LiquidationStarted | OrderClosed | StageArmed)]
    assert kinds[:3] == [LiquidationStarted, OrderClosed, OrderClosed]
    closed = of(events, OrderClosed)
    assert closed[0] == OrderClosed(resting, 5, "liquidation")
    assert closed[1].reason == "liquidation"
    assert not desk.state.armed


@pytest.mark.spec("LIQ-04", "WFALL-06")
def test_account_in_liquidation_may_only_reduce() -> None:
    desk = Desk(rulebook("book"), index=(100,))
    a, b = desk.open(60, RICH)
    desk.trade(a, b, 10, 100)
    desk.index(96)
    assert (a, 0) in desk.state.in_liquidation
    assert desk.refused(PlaceOrder(a, 0, BUY, 1, 90)) == RejectReason.IN_LIQUIDATION
    assert desk.refused(Withdraw(a, 0, 1)) == RejectReason.IN_LIQUIDATION
    desk.order(b, BUY, 10, 96)
    desk.order(a, SELL, 10, 96)
    assert desk.lots(a) == 0


@pytest.mark.spec("LIQ-10")
def test_most_underwater_account_is_sold_first() -> None:
    """Equities 64 - 40 = 24 less what was taken out, against a requirement of 24 each."""
    desk = Desk(rulebook("book"), index=(100,))
    accounts = desk.open(64, 64, 64)
    (b,) = desk.open(RICH)
    for account, less in zip(accounts, (1, 7, 3), strict=True):
        desk.trade(account, b, 10, 100)
        desk.ok(Withdraw(account, 0, less * USD))
    desk.order(b, BUY, 30, 96)
    order = [account for account, _ in forced(desk.index(96))]
    assert order == [accounts[1], accounts[2], accounts[0]]


@pytest.mark.spec("LIQ-12")
def test_accounts_that_are_not_involved_are_left_alone() -> None:
    desk = Desk(index=(100,))
    a, b, bystander, other = desk.open(50, RICH, 1000, 1000)
    desk.trade(a, b, 10, 100)
    desk.trade(bystander, other, 5, 100)
    kept = desk.order(bystander, SELL, 3, 150)
    desk.order(b, BUY, 10, 96)
    desk.index(96)
    assert desk.lots(a) == 0
    assert (desk.lots(bystander), desk.cash(bystander)) == (5, 1000 * USD)
    assert kept in desk.state.orders


@pytest.mark.spec("LIQ-03", "FEE-01")
@pytest.mark.parametrize(
    ("deposit", "price", "fee_usd"),
    [
        (60, 96, 9.6),  # 1 % of 960, and 20 of equity are left after the loss of 40
        (52, 95, 2.0),  # 1 % of 950 would be 9.5, and only 52 - 50 are left
        (50, 95, 0.0),
    ],
)
def test_liquidation_fee_goes_to_the_fund_and_never_below_zero(
    deposit: int, price: int, fee_usd: float
) -> None:
    desk = Desk(rulebook("book", "insurance", "adl", fees={"liquidation_ppb": 10_000_000}), index=(100,))
    a, b = desk.open(deposit, RICH)
    desk.trade(a, b, 10, 100)
    desk.order(b, BUY, 10, price)
    events = desk.index(price)
    assert desk.lots(a) == 0
    assert desk.cash(INSURANCE) == round(fee_usd * USD)
    assert desk.cash(a) == (deposit - 10 * (100 - price)) * USD - round(fee_usd * USD)
    assert not of(events, DeficitOpened)


@pytest.mark.spec("FEE-01")
def test_maker_of_a_forced_order_gets_no_rebate() -> None:
    fees = {"maker_ppb": -1_000_000, "taker_ppb": 2_000_000, "liquidation_ppb": 10_000_000}
    desk = Desk(rulebook("book", "insurance", "adl", fees=fees), index=(100,))
    a, b = desk.open(70, RICH)
    desk.trade(a, b, 10, 100)
    desk.order(b, BUY, 10, 95)
    collected, received = desk.cash(FEES), desk.cash(b)
    (filled,) = of(desk.index(95), Filled)
    assert filled.maker_fee_atoms == 0
    assert desk.cash(FEES) == collected
    assert desk.cash(b) == received + 10 * (100 - 95) * USD


@pytest.mark.spec("FEE-01")
def test_maker_gets_no_rebate_out_of_a_fee_that_the_venue_waives() -> None:
    """51 USD less 60 at 94: still below zero after a lot sold 5 above the mark, the taker pays no fee."""
    fees = {"maker_ppb": -3_000_000, "taker_ppb": 4_000_000}
    desk = Desk(rulebook("book", fees=fees), index=(100,))
    a, b = desk.open(55, RICH)
    desk.trade(a, b, 10, 100)
    desk.index(94)
    assert desk.equity(a) == (55 - 4 - 60) * USD
    desk.order(b, BUY, 1, 99)
    (filled,) = of(desk.ok(PlaceOrder(a, 0, SELL, 1, 99, "ioc", reduce_only=True)), Filled)
    assert (filled.taker_fee_atoms, filled.maker_fee_atoms) == (0, 0)
    assert desk.equity(a) == (55 - 4 - 60 + 5) * USD


@pytest.mark.spec("LIQ-02")
def test_position_is_sold_at_a_price_of_zero_and_below() -> None:
    desk = Desk(rulebook("book", "house"), (future(margin_floor_atoms_per_lot=USD),), index=(20,))
    a, b = desk.open(300, RICH)
    desk.trade(a, b, 10, 20)
    desk.order(b, BUY, 10, -5)
    events = desk.index(0)
    assert not of(events, LiquidationStarted), "100 of equity against a floor of 10"
    events = desk.index(-10)
    assert [e.price_ticks for e in of(events, Filled)] == [-5]
    assert desk.cash(a) == (300 - 10 * 25) * USD


@pytest.mark.spec("HALT-01")
def test_nobody_is_sold_while_the_instrument_is_halted_for_liquidation() -> None:
    desk = Desk(index=(100,))
    a, b = desk.open(50, RICH)
    desk.trade(a, b, 10, 100)
    desk.order(b, BUY, 10, 96)
    desk.ok(SetStatus(0, False, True, False))
    assert forced(desk.index(96)) == []
    assert desk.lots(a) == 10
    desk.ok(SetStatus(0, True, True, True))
    assert forced(desk.tick(0)) == [(a, 10)]


@pytest.mark.spec("LIQ-12")
def test_isolated_position_is_sold_alone() -> None:
    desk = Desk(rulebook("book", "adl"), (perpetual(), perpetual("ETH")), index=(100, 100))
    a, b = desk.open(1000, RICH)
    desk.ok(SetLeverage(a, 0, 20, "isolated"))
    desk.trade(a, b, 10, 100)
    desk.trade(a, b, 10, 100, instrument=1)
    desk.order(b, BUY, 10, 97)
    events = desk.index(97, 97)
    assert [(e.account, e.pocket) for e in of(events, LiquidationStarted)] == [(a, 2)]
    assert (desk.lots(a), desk.lots(a, 1)) == (0, 10)
    assert (desk.cash(a), desk.cash(a, 2)) == ((1000 - 30) * USD, 0)


@pytest.mark.spec("LIQ-09")
def test_selling_oneself_out_brings_nothing() -> None:
    """The same owner behind both accounts ends with what he had, whatever the forced price."""
    desk = Desk(rulebook("book", "adl", fees={"liquidation_ppb": 5_000_000}), index=(100,))
    a, own = desk.open(60, 10_000)
    (b,) = desk.open(RICH)
    desk.trade(a, b, 10, 100)
    desk.order(own, BUY, 10, 94)
    desk.index(95)
    assert desk.equity(a) + desk.equity(own) <= (60 + 10_000 - 10 * 5) * USD


@pytest.mark.parametrize(
    "vector",
    [v for v in GOLDEN if v["id"] in ("hl-seq-01", "hl-seq-03", "hl-seq-05")],
    ids=lambda v: str(v["id"]),
)
def test_published_sequence_of_one_round(vector: Any) -> None:
    """Balance, position and fills of a third-party parity suite, in dollars and coins."""
    given, expected = vector["inputs"], vector["expected"]
    size, entry, mark = int(given["size"]), int(given["entry"]), int(given["mark"])
    desk = Desk(HL, index=(entry,))
    a, b = desk.open(RICH, RICH)
    desk.trade(a, b, size, entry)
    ((price, lots),) = given["fills"]
    desk.order(b, BUY, int(lots), int(price))
    surplus = desk.cash(a) - int(given["balance"]) * USD
    desk.state.ledger.post("withdrawal", [(a, 0, -surplus), (0, 0, surplus)])
    desk.state.accounts.recheck_at.cells[0][a] = -1
    events = desk.index(mark)
    assert [(e.price_ticks, e.size_lots) for e in of(events, Filled)] == [(int(price), int(lots))]
    assert desk.lots(a) == int(expected["size"])
    assert desk.cash(a) == int(expected["balance"]) * USD


@pytest.mark.spec("LIQ-11", kind="X")
def test_after_a_halt_the_account_may_act_before_it_is_judged_at_a_new_price() -> None:
    """At 96 it would be sold; reopening alone sells nobody, and with 30 more it is safe."""
    desk, a = reopened_at_96()
    desk.ok(Deposit(0, a, (30 * USD,)))
    assert forced(desk.tick(0)) == []
    assert desk.lots(a) == 10


@pytest.mark.spec("LIQ-11", kind="X")
@pytest.mark.parametrize("by_index", [False, True])
def test_the_time_to_act_after_a_halt_ends_with_the_next_index_or_tick(by_index: bool) -> None:
    """In the same instant: there is no grace beside it. 50 - 10 * 4 is below the 24 that 960 ask for."""
    desk, a = reopened_at_96()
    events = desk.index(96, later_ns=0) if by_index else desk.tick(0)
    assert forced(events) == [(a, 10)]
    assert desk.lots(a) == 0


def reopened_at_96() -> tuple[Desk, int]:
    """10 lots long from 100 with 50; liquidation stood still while the index fell, and nobody is sold yet."""
    desk = Desk(index=(100,))
    a, b = desk.open(50, RICH)
    desk.trade(a, b, 10, 100)
    desk.order(b, BUY, 10, 96)
    desk.ok(SetStatus(0, False, True, False))
    desk.index(96)
    assert forced(desk.ok(SetStatus(0, True, True, True))) == []
    return desk, a


@pytest.mark.spec("LIQ-13", kind="X")
def test_bid_placed_ahead_of_a_known_liquidation_gets_its_place_in_the_queue_and_no_more() -> None:
    """The bankruptcy price is 94. Who bids there in advance stands behind better and behind earlier bids."""
    desk = Desk(rulebook("book", "adl", liquidation={"price_limit": "bankruptcy"}), index=(100,))
    a, b, early, better, late = desk.open(60, RICH, RICH, RICH, RICH)
    desk.trade(a, b, 10, 100)
    for bidder, lots, price in ((early, 3, 94), (better, 4, 96), (late, 9, 94)):
        desk.order(bidder, BUY, lots, price)
    events = desk.index(96)
    assert [(e.maker, e.price_ticks, e.size_lots) for e in of(events, Filled)] == [
        (better, 96, 4),
        (early, 94, 3),
        (late, 94, 3),
    ]
    assert desk.equity(a) == (60 - 4 * 4 - 6 * 6) * USD
