"""Daily settlement, margin calls, expiry, price limits and sessions of dated futures."""

from typing import Any

import pytest

from tests.venues import T0, USD, Desk, future, of, perpetual, rulebook
from zerodebt.exchange.audit import audit
from zerodebt.exchange.commands import (
    BUY,
    SELL,
    AmendOrder,
    Deposit,
    LoadPositions,
    MassQuote,
    PlaceOrder,
    SetLeverage,
    SettleInstrument,
    SettleVariation,
    Tick,
    Withdraw,
)
from zerodebt.exchange.events import (
    CLEARING,
    DeficitOpened,
    Filled,
    LiquidationStarted,
    MarginCalled,
    MarginCallEnded,
    Marked,
    OrderClosed,
    Settled,
    VariationSettled,
)
from zerodebt.exchange.reject import RejectReason
from zerodebt.exchange.rules import RulesError, Session
from zerodebt.exchange.sessions import is_within
from zerodebt.exchange.units import DAY_NS, HOUR_NS, MINUTE_NS, SECOND_NS

FLOOR = 10 * USD
"""Maintenance of a lot; its initial requirement is twice that."""
MONDAY = 1_760_313_600 * SECOND_NS
"""13 October 2025, 00:00 UTC."""


def desk(*, leverage: int = 1000, instrument: dict[str, Any] | None = None, **settlement: Any) -> Desk:
    """Margin per lot: 10 USD maintenance and 20 USD initial, at an index of 100."""
    contract = future(leverage=leverage, margin_floor_atoms_per_lot=FLOOR, **(instrument or {}))
    return Desk(rulebook("book", "house", settlement=settlement), (contract,), index=(100,))


def agrees(desk: Desk) -> None:
    report = audit(desk.batches)
    assert report.findings == ()
    assert report.holdings_digest == desk.venue.view.statement().holdings_digest


def called(**settlement: Any) -> tuple[Desk, int, int]:
    """A long of 10 lots with 200 USD, all of it needed, and a rich short; the price falls to 85."""
    d = desk(call_to="initial", call_due_ns=HOUR_NS, **settlement)
    long, short = d.open(200, 10_000)
    d.trade(long, short, 10, 100)
    d.index(85)
    return d, long, short


# Variation


def test_settlement_pays_the_move_in_cash_and_restarts_the_cost() -> None:
    d = desk()
    long, short = d.open(500, 500)
    d.trade(long, short, 10, 100)
    d.index(97)
    entry = d.state.accounts.entry_cost.cells[0][long]
    d.ok(SettleVariation(0, 96))
    assert d.cash(long) == (500 + 10 * (96 - 100)) * USD
    assert d.cash(short) == (500 - 10 * (96 - 100)) * USD
    assert d.state.accounts.cost.cells[0][long] == 10 * 96 * USD
    assert d.state.accounts.entry_cost.cells[0][long] == entry == 10 * 100 * USD
    assert d.cash(CLEARING, d.state.pocket(0)) == 0
    agrees(d)


def test_settlement_changes_nobodys_equity() -> None:
    d = desk()
    long, short, other = d.open(500, 500, 500)
    d.trade(long, short, 10, 100)
    d.index(93)
    d.trade(other, long, 4, 93)
    before = [d.equity(account) for account in (long, short, other)]
    d.ok(SettleVariation(0, 120))
    assert [d.equity(account) for account in (long, short, other)] == before
    agrees(d)


def test_settling_twice_at_a_price_moves_nothing_the_second_time() -> None:
    d = desk()
    long, short = d.open(500, 500)
    d.trade(long, short, 10, 100)
    d.ok(SettleVariation(0, 110))
    cash = d.cash(long)
    events = d.ok(SettleVariation(0, 110))
    assert [type(event) for event in events] == [VariationSettled]
    assert d.cash(long) == cash


def test_only_dated_futures_are_settled() -> None:
    d = Desk(rulebook("book", "house"), (perpetual(), future()), index=(100, 100))
    assert d.refused(SettleVariation(0, 100)) is RejectReason.WRONG_KIND
    assert d.refused(SettleVariation(1, 200_000)) is RejectReason.PRICE_OUT_OF_RANGE
    assert d.refused(SettleVariation(2, 100)) is RejectReason.UNKNOWN_INSTRUMENT
    fresh = Desk(rulebook("book", "house"), (future(),))
    assert fresh.refused(SettleVariation(0, 100)) is RejectReason.NO_PRICE


# Margin calls


def test_who_is_below_maintenance_is_called_and_left_alone_until_then() -> None:
    d, long, _ = called()
    # 200 + 10 * (85 - 100) = 50, below 10 * 10, and nobody was called yet
    assert d.equity(long) == 50 * USD
    assert not d.state.in_liquidation
    (call,) = of(d.ok(SettleVariation(0, 85)), MarginCalled)
    assert (call.account, call.equity_atoms, call.maintenance_atoms) == (long, 50 * USD, 100 * USD)
    assert call.called_atoms == (10 * 20 - 50) * USD
    assert call.due_ns == d.time_ns + HOUR_NS
    d.tick(HOUR_NS - SECOND_NS)
    assert not d.state.in_liquidation
    agrees(d)


def test_a_call_to_maintenance_asks_for_less() -> None:
    d = desk(call_to="maintenance")
    long, short = d.open(200, 10_000)
    d.trade(long, short, 10, 100)
    d.index(85)
    (call,) = of(d.ok(SettleVariation(0, 85)), MarginCalled)
    assert call.called_atoms == (10 * 10 - 50) * USD
    agrees(d)


def test_a_call_that_is_met_ends_at_once() -> None:
    d, long, _ = called()
    d.ok(SettleVariation(0, 85))
    (ended,) = of(d.ok(Deposit(0, long, (150 * USD,))), MarginCallEnded)
    assert (ended.account, ended.equity_atoms, ended.required_atoms) == (long, 200 * USD, 200 * USD)
    d.tick(2 * HOUR_NS)
    assert not d.state.in_liquidation
    agrees(d)


def test_an_unmet_call_is_liquidated_when_it_is_due() -> None:
    d, long, short = called()
    d.ok(SettleVariation(0, 85))
    d.order(short, BUY, 10, 84)
    events = d.tick(HOUR_NS)
    assert [event.account for event in of(events, LiquidationStarted)] == [long]
    assert d.lots(long) == 0
    # 50 left at 85, sold 1 lower
    assert d.cash(long) == (50 - 10) * USD
    assert [type(event) for event in of(events, MarginCallEnded)] == [MarginCallEnded]
    agrees(d)


def test_a_part_of_what_was_called_does_not_end_the_call() -> None:
    d, long, _ = called()
    d.ok(SettleVariation(0, 85))
    d.ok(Deposit(0, long, (100 * USD,)))
    assert d.state.calls
    d.tick(2 * HOUR_NS)
    assert not d.state.in_liquidation, "above maintenance"
    events = d.index(79)
    assert of(events, LiquidationStarted), "overdue: no second grace"
    agrees(d)


def test_a_second_settlement_does_not_give_more_time() -> None:
    d, _, _ = called()
    d.ok(SettleVariation(0, 85))
    assert not of(d.ok(SettleVariation(0, 84), later_ns=MINUTE_NS), MarginCalled)
    assert of(d.tick(HOUR_NS - MINUTE_NS), LiquidationStarted)
    agrees(d)


def test_a_winner_whose_gain_pays_for_a_debt_is_called_in_the_same_settlement() -> None:
    settlement = {"call_to": "maintenance", "call_due_ns": HOUR_NS}
    contracts = tuple(future(s, leverage=1000, margin_floor_atoms_per_lot=FLOOR) for s in ("A", "B"))
    d = Desk(rulebook("book", "adl", settlement=settlement), contracts, index=(100, 100))
    winner, loser, other = d.open(300, 80, 10_000)
    d.trade(winner, loser, 4, 100, instrument=0)
    d.trade(winner, other, 10, 100, instrument=1)
    d.index(200, 65)
    assert [call.account for call in of(d.ok(SettleVariation(0, 100)), MarginCalled)] == [loser]
    assert d.equity(winner) == (300 + 4 * 100 - 10 * 35) * USD
    (call,) = of(d.ok(SettleVariation(1, 65), later_ns=HOUR_NS), MarginCalled)
    # the loser has 80 and is deleveraged at 120: of 4 * 100 the winner keeps 4 * 20
    assert (call.account, call.equity_atoms) == (winner, (300 + 4 * 20 - 10 * 35) * USD)
    assert call.called_atoms == (10 * 10 - 30) * USD
    agrees(d)


@pytest.mark.parametrize(("call_to", "called_usd"), [("maintenance", []), ("initial", [100])])
def test_who_just_has_his_requirement_is_called_for_what_he_misses(
    call_to: str, called_usd: list[int]
) -> None:
    contract = future(leverage=1000, margin_floor_atoms_per_lot=FLOOR)
    tables = {
        "settlement": {"call_to": call_to, "call_due_ns": HOUR_NS},
        "liquidation": {"trigger": "at_or_below"},
    }
    d = Desk(rulebook("book", "house", **tables), (contract,), index=(100,))
    long, short = d.open(200, 10_000)
    d.trade(long, short, 10, 100)
    d.index(90)
    assert d.equity(long) == 10 * FLOOR
    calls = of(d.ok(SettleVariation(0, 90)), MarginCalled)
    assert [call.called_atoms for call in calls] == [usd * USD for usd in called_usd]
    assert bool(of(d.tick(HOUR_NS), LiquidationStarted)) == bool(called_usd)
    agrees(d)


@pytest.mark.parametrize("maker", ["long", "other"])
def test_an_order_that_turns_a_position_below_zero_into_a_sound_one_brings_its_margin(maker: str) -> None:
    d = desk(call_to="maintenance", call_due_ns=HOUR_NS)
    long, short, other = d.open(1000, 10_000, 10_000)
    d.ok(SetLeverage(long, 0, 5, "isolated"))
    d.trade(long, short, 1, 100)
    margin = d.cash(long, d.state.pocket(0))
    turn = d.order(long, SELL, 3, 140) if maker == "long" else d.order(other, BUY, 3, 140)
    d.index(30)
    assert d.equity(long, d.state.pocket(0)) == margin + (30 - 100) * USD < 0
    d.order(*((other, BUY, 3, 140) if maker == "long" else (long, SELL, 3, 140)))
    assert turn not in d.state.orders
    assert d.lots(long) == -2
    # sold 110 above the mark, three times
    own = d.equity(long, d.state.pocket(0)) + d.cash(long)
    assert own == 1000 * USD + (30 - 100) * USD + 3 * 110 * USD
    agrees(d)


def test_new_margin_does_not_pay_for_the_debt_that_a_closed_isolated_position_left() -> None:
    d = desk(call_to="initial", call_due_ns=HOUR_NS)
    long, short, other = d.open(1000, 10_000, 10_000)
    d.ok(SetLeverage(long, 0, 5, "isolated"))
    d.trade(long, short, 1, 100)
    margin = d.cash(long, d.state.pocket(0))
    d.index(70)
    assert of(d.ok(SettleVariation(0, 100)), MarginCalled)
    d.order(long, SELL, 1, 70)
    d.order(other, BUY, 1, 70)
    owed = 30 * USD - margin
    assert (d.lots(long), d.equity(long, d.state.pocket(0))) == (0, -owed)
    d.order(other, SELL, 1, 70)
    assert d.refused(PlaceOrder(long, 0, BUY, 1, 70, tif="ioc")) is RejectReason.MARGIN_TOO_SMALL
    (deficit,) = of(d.tick(HOUR_NS), DeficitOpened)
    assert (deficit.account, deficit.atoms) == (long, owed)
    agrees(d)


def test_a_margin_mode_stays_while_an_isolated_position_that_ended_left_a_debt() -> None:
    """Short at 100, settled at 191 and ended there, before its call is due: it leaves a debt of its own."""
    d = desk(call_to="initial", call_due_ns=HOUR_NS)
    long, short = d.open(10_000, 300)
    d.ok(SetLeverage(short, 0, 5, "isolated"))
    d.trade(long, short, 1, 100)
    margin = d.cash(short, d.state.pocket(0))
    d.index(191)
    assert of(d.ok(SettleVariation(0, 191)), MarginCalled)
    d.ok(SettleInstrument(0, 191))
    owed = 91 * USD - margin
    assert (d.lots(short), d.equity(short, d.state.pocket(0))) == (0, -owed)
    assert d.refused(SetLeverage(short, 0, 2, "cross")) is RejectReason.MODE_HAS_POSITION
    (deficit,) = of(d.tick(HOUR_NS), DeficitOpened)
    assert (deficit.account, deficit.atoms) == (short, owed)
    agrees(d)


def test_who_is_called_can_neither_withdraw_nor_add() -> None:
    d, long, short = called()
    d.ok(SettleVariation(0, 85))
    assert d.refused(Withdraw(long, 0, 1)) is RejectReason.BALANCE_TOO_SMALL
    d.order(short, SELL, 1, 85)
    assert d.refused(PlaceOrder(long, 0, BUY, 1, 85, tif="ioc")) is RejectReason.MARGIN_TOO_SMALL


def test_without_calls_who_is_below_maintenance_goes_at_once() -> None:
    d = desk()
    long, short = d.open(200, 10_000)
    d.trade(long, short, 10, 100)
    assert of(d.index(85), LiquidationStarted)


def test_calls_and_settlement_prices_survive_a_snapshot() -> None:
    d, _, _ = called()
    d.ok(SettleVariation(0, 85))
    again = d.restored()
    assert again.state_hash() == d.venue.state_hash()
    later = d.time_ns + HOUR_NS
    assert again.apply(Tick(), later).events == d.venue.apply(Tick(), later).events


# Expiry


@pytest.mark.parametrize(("stated", "paid"), [(None, 90), (-37, -37)])
def test_a_future_ends_at_its_time(stated: int | None, paid: int) -> None:
    terms = {"symbol": "WTI", "expires_at_ns": T0 + HOUR_NS}
    if stated is not None:
        terms["final_price_ticks"] = stated
    d = desk(contracts=[terms])
    long, short = d.open(20_000, 20_000)
    d.trade(long, short, 10, 100)
    d.index(90)
    assert d.lots(long) == 10
    d.order(long, SELL, 1, 120)
    events = d.tick(HOUR_NS)
    assert [event.price_ticks for event in of(events, Settled)] == [paid]
    assert d.lots(long) == d.lots(short) == 0
    assert d.cash(long) == (20_000 + 10 * (paid - 100)) * USD
    assert [event.reason for event in of(events, OrderClosed)] == ["settlement"]
    assert not of(d.tick(HOUR_NS), Settled)
    assert d.refused(PlaceOrder(long, 0, BUY, 1, 90)) is RejectReason.HALTED
    assert d.refused(SettleVariation(0, 90)) is RejectReason.NOTHING_TO_DO
    agrees(d)


def test_a_future_that_was_settled_before_does_not_expire_again() -> None:
    d = desk(contracts=[{"symbol": "WTI", "expires_at_ns": T0 + HOUR_NS}])
    long, short = d.open(20_000, 20_000)
    d.trade(long, short, 10, 100)
    d.ok(SettleInstrument(0, 95))
    assert not of(d.tick(2 * HOUR_NS), Settled)
    agrees(d)


def test_terms_of_what_is_no_dated_future_are_refused() -> None:
    rules = rulebook("book", "house", settlement={"contracts": [{"symbol": "BTC", "limit_ticks": 5}]})
    with pytest.raises(RulesError, match="'BTC' is no dated future"):
        Desk(rules, (perpetual(),))
    far = {"contracts": [{"symbol": "WTI", "final_price_ticks": 10**6}]}
    with pytest.raises(RulesError, match="final_price_ticks: found 1000000, allowed"):
        Desk(rulebook("book", "house", settlement=far), (future(),))


# Price limits


def limited() -> tuple[Desk, int, int]:
    """Settled at 100, limits 20 ticks away; the index runs further."""
    d = desk(contracts=[{"symbol": "WTI", "limit_ticks": 20}])
    a, b = d.open(50_000, 50_000)
    d.trade(a, b, 1, 100)
    d.ok(SettleVariation(0, 100))
    d.index(130)
    return d, a, b


def test_orders_beyond_the_limit_are_refused() -> None:
    d, a, _ = limited()
    for price in (79, 121):
        assert d.refused(PlaceOrder(a, 0, BUY, 1, price)) is RejectReason.PRICE_BEYOND_LIMIT
    assert d.refused(MassQuote(a, 0, ((79, 1),), ())) is RejectReason.PRICE_BEYOND_LIMIT
    order = d.order(a, SELL, 1, 120)
    assert d.refused(AmendOrder(a, order, price_ticks=121)) is RejectReason.PRICE_BEYOND_LIMIT


def test_a_market_order_goes_no_further_than_the_limit() -> None:
    d, a, b = limited()
    d.order(b, SELL, 1, 120)
    assert [event.price_ticks for event in of(d.ok(PlaceOrder(a, 0, BUY, 2, tif="ioc")), Filled)] == [120]
    agrees(d)


def test_a_new_settlement_moves_the_band_and_what_lies_outside_leaves_the_book() -> None:
    d, a, b = limited()
    low, high = d.order(a, BUY, 1, 85), d.order(b, SELL, 1, 118)
    closed = of(d.ok(SettleVariation(0, 130)), OrderClosed)
    assert [(event.order_id, event.reason) for event in closed] == [(low, "price_limit")]
    assert high in d.state.orders
    d.order(a, SELL, 1, 150)
    agrees(d)


def test_a_forced_order_stops_at_the_limit() -> None:
    d, _, b = limited()
    poor = d.open(25)[0]
    d.trade(poor, b, 1, 100)
    d.order(b, BUY, 1, 80)
    d.index(60)
    # 25 - 40 is below zero: the order may go at any price, but the day's band ends at 80
    assert d.lots(poor) == 0
    d.order(d.open(50_000)[0], BUY, 1, 81)
    agrees(d)


def test_positions_of_the_start_count_as_just_settled() -> None:
    contract = future(margin_floor_atoms_per_lot=FLOOR)
    terms = {"contracts": [{"symbol": "WTI", "limit_ticks": 20}]}
    d = Desk(rulebook("book", "house", settlement=terms), (contract,))
    a, b = d.open(5_000, 5_000)
    d.ok(LoadPositions(0, 100, (a, b), (1, -1), (100, 100), (1, 1), (0, 0)))
    d.index(100)
    assert d.refused(PlaceOrder(a, 0, SELL, 1, 121)) is RejectReason.PRICE_BEYOND_LIMIT
    agrees(d)


# Sessions


@pytest.mark.parametrize(
    ("since_monday", "is_open"),
    [
        (-1, False),
        (8 * HOUR_NS - 1, False),
        (8 * HOUR_NS, True),
        (16 * HOUR_NS - 1, True),
        (16 * HOUR_NS, False),
        (4 * DAY_NS + 9 * HOUR_NS, True),
        (5 * DAY_NS + 9 * HOUR_NS, False),
    ],
)
def test_a_session_opens_on_its_weekdays(since_monday: int, is_open: bool) -> None:
    assert is_within(Session(8 * HOUR_NS, 16 * HOUR_NS), MONDAY + since_monday) is is_open


@pytest.mark.parametrize(("hour", "is_open"), [(22, False), (23, True), (24, True), (44, True), (45, False)])
def test_a_session_may_last_into_the_next_day(hour: int, is_open: bool) -> None:
    overnight = Session(23 * HOUR_NS, 45 * HOUR_NS, (6,))
    assert is_within(overnight, MONDAY - DAY_NS + hour * HOUR_NS) is is_open


def test_outside_of_a_session_nothing_trades_and_the_mark_stands_still() -> None:
    """It closes an hour after T0."""
    hour = (T0 // HOUR_NS + 1) % 24 * HOUR_NS
    opens = {"opens_ns": hour - 2 * HOUR_NS, "closes_ns": hour, "weekdays": list(range(7))}
    d = desk(sessions=[opens])
    long, short = d.open(200, 10_000)
    d.trade(long, short, 10, 100)
    bid = d.order(short, BUY, 10, 70)
    events = d.index(60, later_ns=HOUR_NS)
    (marked,) = of(events, Marked)
    assert (marked.index_ticks, marked.mark_ticks) == (60, 100)
    assert not d.state.in_liquidation
    assert d.refused(PlaceOrder(long, 0, SELL, 10, 70, tif="ioc")) is RejectReason.SESSION_CLOSED
    assert d.refused(MassQuote(short, 0, ((70, 1),), ())) is RejectReason.SESSION_CLOSED
    assert d.refused(AmendOrder(short, bid, price_ticks=71)) is RejectReason.SESSION_CLOSED
    d.ok(AmendOrder(short, bid, size_lots=9))
    reopened = d.index(60, later_ns=22 * HOUR_NS)
    assert of(reopened, Marked)[0].mark_ticks == 60
    assert [event.price_ticks for event in of(reopened, Filled)] == [70]
    agrees(d)


@pytest.mark.parametrize(("opens", "closes"), [(10, 10), (10, 9), (10, 10 + DAY_NS + 1)])
def test_a_session_that_closes_before_it_opens_is_refused(opens: int, closes: int) -> None:
    session = {"opens_ns": opens, "closes_ns": closes}
    with pytest.raises(RulesError, match=r"sessions: a session from 10 to"):
        rulebook("book", settlement={"sessions": [session]})
