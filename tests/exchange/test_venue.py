"""Commands through the front door: what is refused and why, and what follows from what is not."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.venues import USD, Desk, fills, future, of, perpetual, rulebook, spot
from zerodebt.exchange.book import Order
from zerodebt.exchange.clearing import isolation_atoms
from zerodebt.exchange.commands import (
    BUY,
    SELL,
    AmendOrder,
    CancelAll,
    CancelOrder,
    Command,
    Deposit,
    LoadPositions,
    MassQuote,
    Observation,
    OpenAccounts,
    PlaceOrder,
    SetBackstop,
    SetLeverage,
    SetStatus,
    SettleInstrument,
    Side,
    Tick,
    TransferMargin,
    Trigger,
    UpdateIndex,
    Withdraw,
)
from zerodebt.exchange.events import (
    CLEARING,
    EXTERNAL,
    FEES,
    HOUSE,
    INSURANCE,
    DeficitOpened,
    Filled,
    OrderClosed,
    Posted,
    Quoted,
    Rejected,
    Settled,
    StatusSet,
)
from zerodebt.exchange.reject import RejectReason as R

RICH = 1_000_000
A, B = 16, 17


@pytest.fixture
def desk() -> Desk:
    """Accounts 16 and 17, a perpetual, a future and a spot market at 100, 50 and 10."""
    desk = Desk(
        rulebook("book", "adl", orders={"value_min_atoms": 10 * USD, "open_orders_max": 3}),
        (perpetual(significant_figures=2, tick_decimals=2), future(), spot()),
        index=(100, 50, 10),
    )
    desk.open(1000, RICH)
    return desk


ORDER = PlaceOrder(A, 0, BUY, 1, 90)


@pytest.mark.spec("LEDG-04")
@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (OpenAccounts(0), R.SIZE_NOT_POSITIVE),
        (OpenAccounts(10_000_001), R.SIZE_NOT_POSITIVE),
        (Deposit(0, 99, (1,)), R.UNKNOWN_ACCOUNT),
        (Deposit(0, A, (1, 1, 1)), R.UNKNOWN_ACCOUNT),
        (Deposit(0, HOUSE, (1, 1)), R.NOT_A_CUSTOMER),
        (Deposit(0, A, ()), R.AMOUNT_NOT_POSITIVE),
        (Deposit(0, B, ()), R.AMOUNT_NOT_POSITIVE),
        (Deposit(0, HOUSE, ()), R.AMOUNT_NOT_POSITIVE),
        (Deposit(9, A, (1,)), R.UNKNOWN_ASSET),
        (Deposit(-1, A, (1,)), R.UNKNOWN_ASSET),
        (Deposit(0, A, (0,)), R.AMOUNT_NOT_POSITIVE),
        (Deposit(0, A, (5, -5)), R.AMOUNT_NOT_POSITIVE),
        (Deposit(0, A, (2**60 + 1,)), R.AMOUNT_TOO_LARGE),
        (Deposit(0, A, (2**60,)), R.AMOUNT_TOO_LARGE),
        (Withdraw(99, 0, 1), R.UNKNOWN_ACCOUNT),
        (Withdraw(INSURANCE, 0, 1), R.NOT_A_CUSTOMER),
        (Withdraw(A, 9, 1), R.UNKNOWN_ASSET),
        (Withdraw(A, 0, 0), R.AMOUNT_NOT_POSITIVE),
        (Withdraw(A, 0, -1), R.AMOUNT_NOT_POSITIVE),
        (Withdraw(A, 0, 1000 * USD + 1), R.BALANCE_TOO_SMALL),
        (Withdraw(A, 1, 1), R.BALANCE_TOO_SMALL),
        (LoadPositions(0, 100, (A, B), (1, -1), (100, 100), (1, 1), (0, 0)), R.ALREADY_STARTED),
        (SetBackstop(99, (0,)), R.UNKNOWN_ACCOUNT),
        (SetBackstop(A, (0,)), R.UNKNOWN_ACCOUNT),
        (SetLeverage(A, 9, 5), R.UNKNOWN_INSTRUMENT),
        (SetLeverage(A, -1, 5), R.UNKNOWN_INSTRUMENT),
        (SetLeverage(A, 2, 5), R.WRONG_KIND),
        (SetLeverage(A, 0, 0), R.LEVERAGE_OUT_OF_RANGE),
        (TransferMargin(A, 0, 5), R.WRONG_KIND),
        (PlaceOrder(99, 0, BUY, 1, 90), R.UNKNOWN_ACCOUNT),
        (PlaceOrder(-1, 0, BUY, 1, 90), R.UNKNOWN_ACCOUNT),
        (PlaceOrder(HOUSE, 0, BUY, 1, 90), R.NOT_A_CUSTOMER),
        (PlaceOrder(A, 3, BUY, 1, 90), R.UNKNOWN_INSTRUMENT),
        (PlaceOrder(A, 2, BUY, 5, 10, reduce_only=True), R.WRONG_KIND),
        (PlaceOrder(A, 2, BUY, 5, 10, trigger=Trigger("stop", "mark", 20)), R.WRONG_KIND),
        (PlaceOrder(A, 0, BUY, 0, 90), R.SIZE_NOT_POSITIVE),
        (PlaceOrder(A, 0, BUY, -5, 90), R.SIZE_NOT_POSITIVE),
        (PlaceOrder(A, 0, BUY, 100_001, 90), R.SIZE_TOO_LARGE),
        (PlaceOrder(A, 0, BUY, 1, 0), R.PRICE_OUT_OF_RANGE),
        (PlaceOrder(A, 0, BUY, 1, 100_001), R.PRICE_OUT_OF_RANGE),
        (PlaceOrder(A, 0, BUY, 1, 101), R.PRICE_OFF_STEP),
        (PlaceOrder(A, 0, BUY, 1, 9), R.VALUE_TOO_SMALL),
        (PlaceOrder(A, 0, BUY, 1), R.CONTRADICTION),
        (PlaceOrder(A, 0, BUY, 1, None, "ioc", True), R.CONTRADICTION),
        (PlaceOrder(A, 0, BUY, 1, 90, "ioc", True), R.CONTRADICTION),
        (PlaceOrder(A, 0, BUY, 1, 90, "ioc", budget_atoms=10**9), R.CONTRADICTION),
        (PlaceOrder(A, 0, BUY, 1, 90, post_only=True, trigger=Trigger("stop", "mark", 120)), R.CONTRADICTION),
        (PlaceOrder(A, 0, BUY, 1, 90, trigger=Trigger("stop", "mark", 90)), R.TRIGGER_ALREADY_MET),
        (PlaceOrder(A, 0, BUY, 1, 90, trigger=Trigger("stop", "mark", 0)), R.PRICE_OUT_OF_RANGE),
        (PlaceOrder(A, 0, BUY, 1, 90, reduce_only=True), R.REDUCE_ONLY_NOTHING),
        (PlaceOrder(A, 0, BUY, 1, 90, "fok"), R.CANNOT_FILL),
        (PlaceOrder(A, 0, BUY, 1, None, "ioc"), R.NO_LIQUIDITY),
        (PlaceOrder(A, 0, BUY, 1000, 90), R.MARGIN_TOO_SMALL),
        (PlaceOrder(A, 2, BUY, 101, 10), R.BALANCE_TOO_SMALL),
        (PlaceOrder(A, 2, SELL, 1, 10), R.BALANCE_TOO_SMALL),
        (AmendOrder(A, 12345, 90), R.UNKNOWN_ORDER),
        (CancelOrder(A, 12345), R.UNKNOWN_ORDER),
        (CancelAll(A), R.NOTHING_TO_DO),
        (CancelAll(A, 9), R.UNKNOWN_INSTRUMENT),
        (CancelAll(99), R.UNKNOWN_ACCOUNT),
        (MassQuote(99, 0, (), ()), R.UNKNOWN_ACCOUNT),
        (MassQuote(A, 9, (), ()), R.UNKNOWN_INSTRUMENT),
        (MassQuote(A, 0, ((90, 0),), ()), R.SIZE_NOT_POSITIVE),
        (MassQuote(A, 0, ((101, 1),), ()), R.PRICE_OFF_STEP),
        (MassQuote(A, 0, ((5, 1),), ()), R.VALUE_TOO_SMALL),
        (MassQuote(A, 0, ((90, 1),) * 4, ()), R.TOO_MANY_ORDERS),
        (MassQuote(A, 0, ((90, 1),), ((90, 1),)), R.CONTRADICTION),
        (MassQuote(A, 0, ((90, 1000),), ()), R.MARGIN_TOO_SMALL),
        (UpdateIndex((Observation(9, 0, 100, 0),)), R.UNKNOWN_INSTRUMENT),
        (UpdateIndex((Observation(0, 0, 0, 0),)), R.PRICE_OUT_OF_RANGE),
        (UpdateIndex((Observation(0, 7, 100, 0),)), R.NO_PRICE),
        (SetStatus(9, True, True, True), R.UNKNOWN_INSTRUMENT),
        (SettleInstrument(0, 100), R.WRONG_KIND),
        (SettleInstrument(2, 100), R.WRONG_KIND),
        (SettleInstrument(9, 100), R.UNKNOWN_INSTRUMENT),
        (SettleInstrument(1, 50), R.NOTHING_TO_DO),
    ],
    ids=str,
)
def test_wrong_command_is_refused_for_its_reason_and_leaves_no_trace(
    desk: Desk, command: Command, reason: R
) -> None:
    assert desk.refused(command) == reason


FAULTS: list[tuple[R, dict[str, object]]] = [
    (R.UNKNOWN_ACCOUNT, {"account": 99}),
    (R.UNKNOWN_INSTRUMENT, {"instrument": 9}),
    (R.SIZE_NOT_POSITIVE, {"size_lots": 0}),
    (R.PRICE_OUT_OF_RANGE, {"price_ticks": 200_000}),
    (R.CONTRADICTION, {"post_only": True, "tif": "ioc"}),
    (R.REDUCE_ONLY_NOTHING, {"reduce_only": True}),
]


@pytest.mark.parametrize("first", range(len(FAULTS)))
@pytest.mark.parametrize("second", range(len(FAULTS)))
def test_of_two_faults_the_one_declared_first_answers(desk: Desk, first: int, second: int) -> None:
    fields: dict[str, object] = {
        "account": A,
        "instrument": 0,
        "side": BUY,
        "size_lots": 1,
        "price_ticks": 90,
    }
    command = PlaceOrder(**(fields | FAULTS[second][1] | FAULTS[first][1]))  # type: ignore[arg-type]
    assert desk.refused(command) == FAULTS[min(first, second)][0]
    declared = list(R)
    assert [declared.index(reason) for reason, _ in FAULTS] == sorted(declared.index(r) for r, _ in FAULTS)


@pytest.mark.spec("MARK-03")
def test_time_never_runs_back(desk: Desk) -> None:
    before = desk.venue.state_hash()
    batch = desk.venue.apply(Tick(), desk.time_ns - 1)
    assert [type(e) for e in batch.events] == [Rejected]
    assert desk.venue.state_hash() == before
    assert batch.time_ns == desk.time_ns


def test_refused_command_still_takes_its_number(desk: Desk) -> None:
    seq = desk.venue.seq
    desk.refused(CancelAll(A))
    assert desk.venue.seq == seq + 1


def test_open_orders_and_triggers_count_against_one_limit(desk: Desk) -> None:
    desk.ok(ORDER)
    desk.ok(ORDER)
    desk.ok(PlaceOrder(A, 0, BUY, 1, trigger=Trigger("stop", "mark", 120)))
    assert desk.refused(ORDER) == R.TOO_MANY_ORDERS


@pytest.mark.spec("NUM-06")
def test_open_interest_stops_at_its_cap_and_closing_is_still_possible() -> None:
    desk = Desk(instruments=(perpetual(open_interest_max_lots=10, size_max_lots=10),), index=(100,))
    a, b, c, d = desk.open(RICH, RICH, RICH, RICH)
    desk.trade(a, b, 10, 100)
    desk.order(c, SELL, 5, 100)
    assert desk.refused(PlaceOrder(d, 0, BUY, 5, 100)) == R.OPEN_INTEREST_CAP
    desk.ok(PlaceOrder(b, 0, BUY, 5, 100))
    assert desk.venue.view.open_interest_lots(0) == 10


# Fees, spot and quotes


@pytest.mark.spec("FEE-01", "NUM-01")
def test_fees_round_up_and_go_to_the_fee_account() -> None:
    """1 lot at 7 ticks of one atom: 7 * 0.045 % and 7 * 0.015 % are each less than an atom."""
    instrument = perpetual(tick_value_atoms=1)
    desk = Desk(rulebook(fees={"maker_ppb": 150_000, "taker_ppb": 450_000}), (instrument,), index=(7,))
    a, b = desk.open(1, 1)
    (filled,) = of(desk.trade(a, b, 1, 7), Filled)
    assert (filled.taker_fee_atoms, filled.maker_fee_atoms) == (1, 1)
    assert desk.cash(FEES) == 2
    assert desk.cash(a) == desk.cash(b) == USD - 1


@pytest.mark.spec("FEE-01", "POS-02")
def test_rebate_rounds_down_and_comes_out_of_the_takers_fee() -> None:
    desk = Desk(rulebook(fees={"maker_ppb": -100_000, "taker_ppb": 450_000}), index=(100,))
    a, b = desk.open(RICH, RICH)
    (filled,) = of(desk.trade(a, b, 10, 100), Filled)
    taker, rebate = 1000 * USD * 45 // 100_000, 1000 * USD // 10_000
    assert (filled.taker_fee_atoms, filled.maker_fee_atoms) == (taker, -rebate)
    assert desk.cash(FEES) == taker - rebate


@pytest.mark.spec("BOOK-15")
def test_spot_delivers_coins_against_cash(desk: Desk) -> None:
    desk.ok(Deposit(1, B, (50_000,)))
    desk.order(B, SELL, 30, 10, instrument=2)
    events = desk.ok(PlaceOrder(A, 2, BUY, 40, 10, "ioc"))
    assert [lots for _, _, lots in fills(events)] == [30]
    assert (desk.cash(A), desk.cash(A, 1)) == ((1000 - 300) * USD, 30 * 1000)
    assert (desk.cash(B), desk.cash(B, 1)) == ((RICH + 300) * USD, 20_000)
    assert desk.lots(A, 2) == 0
    desk.ok(Withdraw(A, 1, 30_000))


def test_coins_promised_to_a_resting_sale_stay(desk: Desk) -> None:
    desk.ok(Deposit(1, A, (5_000,)))
    desk.order(A, SELL, 3, 20, instrument=2)
    assert desk.refused(Withdraw(A, 1, 2_001)) == R.BALANCE_TOO_SMALL
    assert desk.refused(PlaceOrder(A, 2, SELL, 3, 20)) == R.BALANCE_TOO_SMALL
    desk.ok(Withdraw(A, 1, 2_000))


def test_resting_order_counts_what_was_filled_of_it(desk: Desk) -> None:
    number = desk.order(B, SELL, 10, 100)
    for lots in (2, 3):
        desk.order(A, BUY, lots, 100)
    order = desk.state.orders[number]
    assert (order.open_lots, order.filled_lots) == (10 - 2 - 3, 2 + 3)


def test_spot_trade_moves_the_zero_of_both_sides_session_profit(desk: Desk) -> None:
    """A buys 20 coins for 10 each: coins are no profit, and the money that went for them is no loss."""
    desk.ok(Deposit(1, B, (20_000,)))
    base = desk.state.accounts.session_base.cells[0]
    before = base[A], base[B]
    desk.trade(A, B, 20, 10, instrument=2)
    assert (base[A], base[B]) == (before[0] - 200 * USD, before[1] + 200 * USD)


@pytest.mark.parametrize(
    ("side", "price", "usd"), [(1, 104, 50 + 40), (1, 96, 50), (-1, 96, 50 + 40), (-1, 104, 50)]
)
def test_isolated_lots_bring_their_requirement_and_what_they_lose_at_the_mark(
    side: int, price: int, usd: int
) -> None:
    """10 lots at a mark of 100 and leverage 20 ask for 50; bought at 104 or sold at 96 they have lost 40."""
    state = Desk(rulebook(), index=(100,)).state
    state.accounts.leverage.cells[0][A] = 20
    assert isolation_atoms(state, state.markets[0], A, 10, side, price) == usd * USD


@pytest.mark.parametrize("lots", [1, 10])
@pytest.mark.parametrize(("side", "off"), [(BUY, 4), (SELL, -4), (BUY, -4), (SELL, 4)])
def test_fill_off_the_mark_pays_what_it_loses_into_its_isolated_margin(
    side: Side, off: int, lots: int
) -> None:
    """At leverage 20 and a mark of 100 a lot needs 5; 4 more where it was bought above or sold below."""
    desk = Desk(rulebook(), index=(100,))
    account, other = desk.open(1000, RICH)
    desk.ok(SetLeverage(account, 0, 20, "isolated"))
    desk.order(other, SELL if side == BUY else BUY, lots, 100 + off)
    desk.order(account, side, lots, 100 + off)
    assert desk.lots(account) == side * lots
    assert desk.cash(account, 2) == lots * (9 if side * off > 0 else 5) * USD


def test_isolated_position_that_grows_or_turns_brings_margin_for_the_lots_it_opens_alone() -> None:
    """5 a lot at leverage 20: for 10, for 4 more, and of 20 lots against these 14 for the 6 beyond them."""
    desk = Desk(rulebook(), index=(100,))
    account, maker = desk.open(1000, RICH)
    desk.ok(SetLeverage(account, 0, 20, "isolated"))
    for lots, usd in ((10, 50), (4, 70)):
        desk.trade(account, maker, lots, 100)
        assert desk.cash(account, 2) == usd * USD
    desk.trade(maker, account, 20, 100)
    assert (desk.lots(account), desk.cash(account, 2), desk.cash(account)) == (-6, 100 * USD, 900 * USD)


def test_isolated_lots_bring_more_where_the_open_interest_asks_for_more() -> None:
    """500 USD are open, half way to 1,000: the rate of 1/20 has risen to 0.525."""
    bounds: dict[str, Any] = {"open_interest_low_atoms": 0, "open_interest_high_atoms": 1_000 * USD}
    desk = Desk(rulebook(), (perpetual(**bounds),), index=(100,))
    a, b = desk.open(1000, 1000)
    desk.trade(a, b, 5, 100)
    desk.state.accounts.leverage.cells[0][a] = 20
    assert isolation_atoms(desk.state, desk.state.markets[0], a, 10, 1, 100) == 525 * USD


def test_mass_quote_replaces_all_and_names_what_would_take(desk: Desk) -> None:
    foreign = desk.order(B, SELL, 1, 100)
    own = desk.order(A, BUY, 1, 80)
    (quoted,) = of(desk.ok(MassQuote(A, 0, ((100, 1), (90, 2)), ((110, 1),))), Quoted)
    assert quoted.removed == (own,)
    assert [(side, price, lots) for _, side, price, lots in quoted.placed] == [(BUY, 90, 2), (SELL, 110, 1)]
    assert quoted.refused == ((BUY, 100, 1),)
    assert foreign in desk.state.orders
    assert desk.book(BUY) == [(90, 2)]
    number = quoted.placed[0][0]
    assert desk.state.orders[number] == Order(number, A, 0, BUY, 90, 2, 0, reduce_only=False, post_only=True)
    (quoted,) = of(desk.ok(MassQuote(A, 0, (), ())), Quoted)
    assert len(quoted.removed) == 2
    assert desk.book(BUY) == []


def test_cancel_all_takes_orders_and_triggers_of_one_account_alone(desk: Desk) -> None:
    desk.order(B, BUY, 1, 80)
    mine = desk.order(A, BUY, 1, 90)
    desk.ok(PlaceOrder(A, 1, BUY, 1, trigger=Trigger("stop", "mark", 120)))
    closed = of(desk.ok(CancelAll(A, 1)), OrderClosed)
    assert [e.reason for e in closed] == ["cancelled"]
    closed = of(desk.ok(CancelAll(A)), OrderClosed)
    assert [e.order_id for e in closed] == [mine]
    assert desk.book(BUY) == [(80, 1)]


# Positions that a run starts with


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"accounts": (A,)}, R.CONTRADICTION),
        ({"accounts": (A, A)}, R.CONTRADICTION),
        ({"lots": (5, -4)}, R.CONTRADICTION),
        ({"lots": (0, 0)}, R.CONTRADICTION),
        ({"lots": (2_000_000, -2_000_000)}, R.OPEN_INTEREST_CAP),
        ({"price_ticks": 0}, R.PRICE_OUT_OF_RANGE),
        ({"accounts": (A, 99)}, R.UNKNOWN_ACCOUNT),
        ({"entry_ticks": (100, 0)}, R.PRICE_OUT_OF_RANGE),
        ({"leverage": (1, 21)}, R.LEVERAGE_OUT_OF_RANGE),
        ({"isolated_atoms": (1000 * USD + 1, 0)}, R.BALANCE_TOO_SMALL),
        ({"isolated_atoms": (-1, 0)}, R.BALANCE_TOO_SMALL),
        ({"instrument": 1}, R.WRONG_KIND),
    ],
    ids=str,
)
def test_positions_of_the_start_are_checked_before_anything_changes(
    change: dict[str, object], reason: R
) -> None:
    desk = Desk(instruments=(perpetual(), spot()))
    desk.open(1000, RICH)
    fields: dict[str, object] = {
        "instrument": 0,
        "price_ticks": 100,
        "accounts": (A, B),
        "lots": (5, -5),
        "entry_ticks": (100, 100),
        "leverage": (1, 1),
        "isolated_atoms": (0, 0),
    }
    assert desk.refused(LoadPositions(**(fields | change))) == reason  # type: ignore[arg-type]
    desk.ok(LoadPositions(**fields))  # type: ignore[arg-type]
    assert desk.lots(A) == 5


def test_loaded_position_is_carried_at_its_price_whatever_was_paid_for_it() -> None:
    desk = Desk()
    a, b = desk.open(1000, RICH)
    desk.ok(LoadPositions(0, 100, (a, b), (5, -5), (300, 20), (10, 5), (200 * USD, 0)))
    desk.index(110)
    assert (desk.cash(a), desk.cash(a, 2)) == (800 * USD, 200 * USD)
    assert desk.equity(a, 2) == (200 + 5 * 10) * USD
    assert desk.equity(b) == (RICH - 5 * 10) * USD
    assert desk.cash(CLEARING, 2) == 0


# Settlement


@pytest.mark.spec("NUM-08", "LEDG-02")
def test_future_settles_below_zero_and_every_position_is_paid() -> None:
    """50 lots bought at 20 and settled at -37: 57 a lot change hands."""
    desk = Desk(instruments=(future(),), index=(20,))
    a, b = desk.open(10_000, 10_000)
    desk.trade(a, b, 50, 20)
    resting = desk.order(a, SELL, 1, 30)
    events = desk.ok(SettleInstrument(0, -37))
    assert of(events, Settled) == [Settled(0, -37)]
    assert of(events, OrderClosed)[0] == OrderClosed(resting, 1, "settlement")
    assert (desk.lots(a), desk.lots(b)) == (0, 0)
    assert desk.cash(a) == (10_000 - 50 * 57) * USD
    assert desk.cash(b) == (10_000 + 50 * 57) * USD
    assert desk.cash(CLEARING, 2) == 0
    assert desk.refused(PlaceOrder(a, 0, BUY, 1, 20)) == R.HALTED


@pytest.mark.spec("NUM-08", "WFALL-02")
def test_long_without_the_money_for_a_negative_settlement_is_a_deficit_of_its_own() -> None:
    desk = Desk(rulebook("book", "house"), (future(),), index=(20,))
    a, b = desk.open(1000, 10_000)
    desk.ok(Deposit(0, HOUSE, (RICH * USD,)))
    desk.trade(a, b, 50, 20)
    events = desk.ok(SettleInstrument(0, -37))
    (opened,) = of(events, DeficitOpened)
    assert (opened.account, opened.atoms) == (a, (50 * 57 - 1000) * USD)
    assert desk.cash(a) == 0
    assert desk.cash(HOUSE) == (RICH - (50 * 57 - 1000)) * USD


# Halts

ALLOWED_WHILE_CLOSED: list[tuple[str, Callable[[Desk], Command], bool]] = [
    ("open", lambda desk: PlaceOrder(A, 0, BUY, 1, 90), False),
    ("reduce", lambda desk: PlaceOrder(A, 0, SELL, 2, 110, reduce_only=True), True),
    ("reduce without saying so", lambda desk: PlaceOrder(A, 0, SELL, 2, 110), True),
    ("flip", lambda desk: PlaceOrder(A, 0, SELL, 6, 110), False),
    ("quote", lambda desk: MassQuote(A, 0, ((90, 1),), ()), False),
    ("cancel", lambda desk: CancelOrder(A, next(iter(desk.state.orders))), True),
    ("cancel all", lambda desk: CancelAll(A), True),
    ("amend down", lambda desk: AmendOrder(A, next(iter(desk.state.orders)), size_lots=1), True),
    ("amend up", lambda desk: AmendOrder(A, next(iter(desk.state.orders)), size_lots=9), False),
    ("deposit", lambda desk: Deposit(0, A, (1,)), True),
    ("withdraw", lambda desk: Withdraw(A, 0, 1), True),
    ("another instrument", lambda desk: PlaceOrder(A, 1, BUY, 1, 90), True),
]


@pytest.mark.spec("HALT-01")
@pytest.mark.parametrize(
    ("name", "make", "allowed"), ALLOWED_WHILE_CLOSED, ids=[c[0] for c in ALLOWED_WHILE_CLOSED]
)
def test_halt_for_opening_leaves_the_way_out_open(
    name: str, make: Callable[[Desk], Command], allowed: bool
) -> None:
    desk = Desk(instruments=(perpetual(), perpetual("ETH")), index=(100, 100))
    a, b = desk.open(1000, RICH)
    desk.trade(a, b, 5, 100)
    desk.order(a, BUY, 3, 80)
    assert of(desk.ok(SetStatus(0, False, True, True)), StatusSet)
    if allowed:
        desk.ok(make(desk))
    else:
        assert desk.refused(make(desk)) == R.HALTED


@pytest.mark.spec("HALT-01")
def test_full_halt_stops_reducing_orders_too() -> None:
    desk = Desk(index=(100,))
    a, b = desk.open(1000, RICH)
    desk.trade(a, b, 5, 100)
    desk.ok(SetStatus(0, False, False, False))
    assert desk.refused(PlaceOrder(a, 0, SELL, 2, 110, reduce_only=True)) == R.HALTED
    desk.ok(SetStatus(0, True, True, True))
    desk.ok(PlaceOrder(a, 0, SELL, 2, 110, reduce_only=True))


@pytest.mark.spec("ACC-01")
def test_nobody_touches_the_orders_of_another(desk: Desk) -> None:
    mine = desk.order(A, BUY, 1, 90)
    stop = desk.do(PlaceOrder(A, 0, BUY, 1, trigger=Trigger("stop", "mark", 120)))[0].order_id  # type: ignore[union-attr]
    for command in (CancelOrder(B, mine), AmendOrder(B, mine, 80), CancelOrder(B, stop)):
        assert desk.refused(command) == R.NOT_YOUR_ORDER
    assert desk.refused(CancelAll(B)) == R.NOTHING_TO_DO


def test_money_comes_from_and_goes_to_the_outside(desk: Desk) -> None:
    brought = (1000 + RICH) * USD
    assert desk.cash(EXTERNAL) == -brought
    (posted,) = of(desk.ok(Withdraw(A, 0, 5)), Posted)
    assert posted == Posted("withdrawal", ((A, 0, -5), (EXTERNAL, 0, 5)))
