"""Stop and take-profit orders."""

import pytest

from tests.venues import Desk, fills, of, perpetual, rulebook
from zerodebt.exchange.commands import BUY, SELL, CancelOrder, PlaceOrder, Trigger
from zerodebt.exchange.events import Event, Filled, OrderClosed, Rejected, TriggerArmed, TriggerFired
from zerodebt.exchange.reject import RejectReason
from zerodebt.exchange.triggers import is_met

RICH = 1_000_000


@pytest.mark.spec("TRIG-02")
@pytest.mark.parametrize(
    ("kind", "side", "below"),
    [("stop", SELL, True), ("stop", BUY, False), ("take_profit", SELL, False), ("take_profit", BUY, True)],
)
def test_trigger_is_met_at_its_price_and_beyond(kind: str, side: int, below: bool) -> None:
    trigger = Trigger(kind, "mark", 100)  # type: ignore[arg-type]
    assert is_met(trigger, side, 100)
    assert is_met(trigger, side, 99) is below
    assert is_met(trigger, side, 101) is not below


def arm(desk: Desk, account: int, side: int, price: int, **more: object) -> int:
    kind, reference = more.pop("kind", "stop"), more.pop("reference", "mark")
    trigger = Trigger(kind, reference, price)  # type: ignore[arg-type]
    lots = more.pop("lots", 1)
    events = desk.ok(PlaceOrder(account, 0, side, lots, trigger=trigger, **more))  # type: ignore[arg-type]
    return of(events, TriggerArmed)[0].order_id


def fired(events: list[Event]) -> list[int]:
    return [e.order_id for e in events if isinstance(e, TriggerFired)]


@pytest.fixture
def desk() -> Desk:
    return Desk(rulebook("book", "adl"), (perpetual(),), index=(100,))


@pytest.mark.parametrize(("price", "reduce_only"), [(94, True), (None, False)])
def test_waiting_order_is_announced_as_it_was_sent(desk: Desk, price: int | None, reduce_only: bool) -> None:
    a, b = desk.open(RICH, RICH)
    desk.trade(a, b, 10, 100)
    trigger = Trigger("stop", "mark", 95)
    events = desk.ok(PlaceOrder(a, 0, SELL, 7, price, reduce_only=reduce_only, trigger=trigger))
    (armed,) = of(events, TriggerArmed)
    assert armed == TriggerArmed(armed.order_id, a, 0, SELL, 7, price, reduce_only, trigger)
    assert armed.order_id in desk.state.armed


@pytest.mark.spec("TRIG-02")
def test_stop_on_the_mark_fires_when_the_mark_arrives_and_not_before(desk: Desk) -> None:
    a, b = desk.open(RICH, RICH)
    desk.trade(a, b, 10, 100)
    desk.order(b, BUY, 10, 80)
    stop = arm(desk, a, SELL, 95, lots=10, reduce_only=True)
    assert fired(desk.index(96)) == []
    events = desk.index(95)
    assert fired(events) == [stop]
    assert [(e.price_ticks, e.size_lots) for e in of(events, Filled)] == [(80, 10)]
    assert desk.lots(a) == 0
    assert fired(desk.index(90)) == [], "once each"


@pytest.mark.spec("TRIG-02")
@pytest.mark.parametrize(
    ("kind", "side", "gap"),
    [("stop", SELL, 50), ("stop", BUY, 150), ("take_profit", SELL, 150), ("take_profit", BUY, 50)],
)
def test_price_that_jumps_over_a_trigger_fires_it(desk: Desk, kind: str, side: int, gap: int) -> None:
    a, b = desk.open(RICH, RICH)
    desk.order(b, -side, 10, 100)  # type: ignore[arg-type]
    price = 90 if gap < 100 else 110
    order = arm(desk, a, side, price, kind=kind)
    assert fired(desk.index(gap)) == [order]


@pytest.mark.spec("TRIG-02")
def test_stop_on_the_last_price_looks_at_trades_and_not_at_the_mark(desk: Desk) -> None:
    a, b, c = desk.open(RICH, RICH, RICH)
    desk.trade(a, b, 5, 100)
    stop = arm(desk, a, SELL, 95, reference="last", lots=5, reduce_only=True)
    assert fired(desk.index(90)) == []
    desk.order(b, BUY, 1, 95)
    desk.order(b, BUY, 9, 94)
    events = desk.ok(PlaceOrder(c, 0, SELL, 1, tif="ioc"))
    assert fired(events) == [stop]
    assert desk.lots(a) == 0


@pytest.mark.spec("TRIG-02")
def test_stop_limit_never_trades_beyond_its_limit_and_its_rest_waits(desk: Desk) -> None:
    a, b = desk.open(RICH, RICH)
    desk.trade(a, b, 10, 100)
    desk.order(b, BUY, 4, 94)
    desk.order(b, BUY, 10, 80)
    trigger = Trigger("stop", "mark", 95)
    desk.ok(PlaceOrder(a, 0, SELL, 10, 94, trigger=trigger, reduce_only=True))
    events = desk.index(90)
    assert [(e.price_ticks, e.size_lots) for e in of(events, Filled)] == [(94, 4)]
    assert desk.book(SELL) == [(94, 6)]


@pytest.mark.spec("TRIG-01")
def test_triggers_fire_by_price_and_then_by_age(desk: Desk) -> None:
    a, b = desk.open(RICH, RICH)
    desk.trade(a, b, 50, 100)
    desk.order(b, BUY, 50, 80)
    young_far, far, near, old_near = (
        arm(desk, a, SELL, 85),
        arm(desk, a, SELL, 85),
        arm(desk, a, SELL, 95),
        arm(desk, a, SELL, 95),
    )
    assert fired(desk.index(70)) == [near, old_near, young_far, far]


@pytest.mark.spec("TRIG-01")
def test_cascade_of_stops_reaches_its_fixed_point_in_one_command(desk: Desk) -> None:
    """Each stop sells into the bid that the next one waits for."""
    a, b, c = desk.open(RICH, RICH, RICH)
    desk.trade(a, b, 10, 100)
    for price in (98, 96, 94, 92):
        desk.order(b, BUY, 1, price)
    stops = [arm(desk, a, SELL, price, reference="last") for price in (94, 98, 96)]
    events = desk.ok(PlaceOrder(c, 0, SELL, 1, tif="ioc"))
    assert fired(events) == [stops[1], stops[2], stops[0]]
    assert [price for _, price, _ in fills(events)] == [98, 96, 94, 92]
    assert desk.state.armed == {}


@pytest.mark.spec("TRIG-03")
def test_triggers_of_one_command_are_bounded_by_the_rulebook() -> None:
    desk = Desk(rulebook("book", "adl", orders={"triggers_per_command_max": 2}), index=(100,))
    a, b = desk.open(RICH, RICH)
    desk.trade(a, b, 10, 100)
    desk.order(b, BUY, 10, 80)
    stops = [arm(desk, a, SELL, 95) for _ in range(3)]
    assert fired(desk.index(90)) == stops[:2]
    assert fired(desk.tick(0)) == stops[2:]


@pytest.mark.spec("TRIG-03")
@pytest.mark.parametrize(
    ("kind", "side", "price"),
    [("stop", SELL, 100), ("stop", BUY, 100), ("stop", SELL, 101), ("take_profit", BUY, 101)],
)
def test_trigger_that_is_met_already_is_refused(desk: Desk, kind: str, side: int, price: int) -> None:
    (a,) = desk.open(RICH)
    command = PlaceOrder(a, 0, side, 1, trigger=Trigger(kind, "mark", price))  # type: ignore[arg-type]
    assert desk.refused(command) == RejectReason.TRIGGER_ALREADY_MET


def test_trigger_that_is_met_already_goes_to_the_book_where_the_rulebook_says_so() -> None:
    desk = Desk(rulebook(orders={"met_trigger": "fire"}), index=(100,))
    a, b = desk.open(RICH, RICH)
    desk.order(b, BUY, 2, 99)
    events = desk.ok(PlaceOrder(a, 0, SELL, 2, trigger=Trigger("stop", "mark", 100)))
    assert not of(events, TriggerArmed)
    assert (fills(events), desk.state.armed) == ([(1, 99, 2)], {})


@pytest.mark.spec("TRIG-04")
def test_stop_that_has_nothing_to_reduce_any_more_is_refused_when_it_fires(desk: Desk) -> None:
    a, b = desk.open(RICH, RICH)
    desk.trade(a, b, 5, 100)
    stop = arm(desk, a, SELL, 95, lots=5, reduce_only=True)
    desk.trade(b, a, 5, 100)
    desk.order(b, BUY, 5, 90)
    events = desk.index(90)
    if stop in fired(events):
        assert [e.reason for e in of(events, Rejected)] == [RejectReason.REDUCE_ONLY_NOTHING]
    assert not fills(events)
    assert desk.lots(a) == 0


@pytest.mark.spec("TRIG-04")
def test_emptied_position_takes_its_reduce_only_orders_and_triggers_along(desk: Desk) -> None:
    """The next position of the same size is not closed by the stop of the one before."""
    a, b = desk.open(RICH, RICH)
    desk.trade(a, b, 5, 100)
    stop = arm(desk, a, SELL, 95, lots=5, reduce_only=True)
    resting = desk.order(a, SELL, 5, 120, reduce_only=True)
    adding = desk.order(a, BUY, 1, 80)
    events = desk.trade(b, a, 5, 100)
    assert {(e.order_id, e.open_lots, e.reason) for e in of(events, OrderClosed)} == {
        (stop, 5, "reduce_only"),
        (resting, 5, "reduce_only"),
    }
    assert desk.state.armed == {}
    assert list(desk.state.orders) == [adding]
    desk.trade(a, b, 5, 100)
    desk.order(b, BUY, 5, 90)
    desk.index(90)
    assert desk.lots(a) == 5


def test_waiting_order_can_be_cancelled_by_its_owner_alone(desk: Desk) -> None:
    a, b = desk.open(RICH, RICH)
    desk.order(b, BUY, 5, 90)
    stop = arm(desk, a, SELL, 95)
    assert desk.refused(CancelOrder(b, stop)) == RejectReason.NOT_YOUR_ORDER
    assert of(desk.ok(CancelOrder(a, stop)), OrderClosed) == [OrderClosed(stop, 1, "cancelled")]
    assert fired(desk.index(90)) == []


def test_trigger_that_its_margin_no_longer_carries_is_refused_and_gone(desk: Desk) -> None:
    a, b = desk.open(100, RICH)
    desk.order(b, SELL, 100, 110)
    stop = arm(desk, a, BUY, 105, lots=50)
    events = desk.index(110)
    assert fired(events) == [stop]
    assert [(e.account, e.reason) for e in of(events, Rejected)] == [(a, RejectReason.MARGIN_TOO_SMALL)]
    assert desk.lots(a) == 0
    assert desk.state.armed == {}
