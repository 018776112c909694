"""Plans of fills, and the same rules through the venue."""

import sys
from types import FrameType

import pytest

from tests.venues import USD, Desk, fills, of
from zerodebt.exchange.book import Book, Order
from zerodebt.exchange.commands import BUY, SELL, AmendOrder, CancelOrder, PlaceOrder, Side
from zerodebt.exchange.events import Event, OrderClosed, OrderReduced
from zerodebt.exchange.matching import Plan, Step, first_fills, plan_fills, reducible_lots
from zerodebt.exchange.reject import RejectReason

RICH = 1_000_000


class Holding:
    """Makers with these positions; the weak ones may only reduce."""

    def __init__(self, lots: dict[int, int], weak: set[int] | None = None) -> None:
        self.lots = lots
        self.weak = weak or set()

    def position_lots(self, maker: Order) -> int:
        return self.lots.get(maker.account, 0)

    def bearable_lots(self, maker: Order, lots: int) -> int:
        if maker.account not in self.weak:
            return lots
        return min(lots, reducible_lots(self.position_lots(maker), maker.side))

    def take(self, maker: Order, lots: int) -> None:
        self.lots[maker.account] = self.position_lots(maker) + maker.side * lots


@pytest.fixture
def desk() -> Desk:
    return Desk(index=(100,))


def closed(events: list[Event]) -> list[tuple[int, int, str]]:
    return [(e.order_id, e.open_lots, e.reason) for e in events if isinstance(e, OrderClosed)]


@pytest.mark.parametrize(
    ("position", "side", "lots"), [(5, SELL, 5), (5, BUY, 0), (-5, BUY, 5), (-5, SELL, 0), (0, BUY, 0)]
)
def test_only_the_other_side_reduces(position: int, side: int, lots: int) -> None:
    assert reducible_lots(position, side) == lots


def test_planning_changes_nothing() -> None:
    book = Book()
    makers = [Order(k, 17, 0, SELL, 100 + k, 2, 0, False, False) for k in range(3)]
    for maker in makers:
        book.add(maker)
    plan = plan_fills(book, 16, BUY, 5, 102, "cancel_oldest", Holding({}))
    assert [(step.maker.order_id, step.fill_lots) for step in plan.steps] == [(0, 2), (1, 2), (2, 1)]
    assert (plan.filled_lots, plan.open_lots) == (5, 0)
    assert [o.open_lots for o in book.walk(SELL)] == [2, 2, 2]


@pytest.mark.spec("BOOK-13")
@pytest.mark.parametrize(
    ("mode", "met", "filled", "left", "stopped"),
    [
        # The book: 2 of another, 3 own, 4 of another; a buy of 6 comes in.
        ("cancel_newest", [(2, 0, None)], 2, 6 - 2, "self_trade"),
        ("cancel_both", [(2, 0, None), (0, 0, "self_trade")], 2, 6 - 2, "self_trade"),
        ("cancel_oldest", [(2, 0, None), (0, 0, "self_trade"), (4, 0, None)], 6, 0, None),
        ("decrement", [(2, 0, None), (0, 3, "self_trade"), (1, 0, None)], 3, 0, None),
    ],
)
def test_plan_says_what_becomes_of_an_own_order_and_of_the_taker(
    mode: str, met: list[tuple[int, int, str | None]], filled: int, left: int, stopped: str | None
) -> None:
    book = Book()
    for k, (account, lots) in enumerate([(17, 2), (16, 3), (17, 4)]):
        book.add(Order(k, account, 0, SELL, 100, lots, 0, False, False))
    plan = plan_fills(book, 16, BUY, 6, 100, mode, Holding({}))  # type: ignore[arg-type]
    assert [(step.fill_lots, step.self_lots, step.close) for step in plan.steps] == met
    assert (plan.filled_lots, plan.open_lots, plan.stopped) == (filled, left, stopped)


@pytest.mark.spec("RO-01")
@pytest.mark.parametrize(("position", "close"), [(5, None), (3, "reduce_only")])
def test_reduce_only_maker_is_closed_when_its_position_ends_before_it_does(
    position: int, close: str | None
) -> None:
    """Five lots of an order that reduces five, and of one that can reduce three, are all asked for."""
    book = Book()
    maker = Order(1, 17, 0, SELL, 100, 5, 0, True, False)
    book.add(maker)
    plan = plan_fills(book, 16, BUY, position, 100, "cancel_oldest", Holding({17: position}))
    assert plan.steps == (Step(maker, position, 0, close),)  # type: ignore[arg-type]


def test_first_fills_of_a_plan_keep_why_it_stopped() -> None:
    maker = Order(1, 17, 0, SELL, 100, 5, 0, False, False)
    steps = (Step(maker, 2), Step(maker, 0, 0, "self_trade"), Step(maker, 3))
    plan = Plan(steps, 5, 4, "self_trade")
    assert first_fills(plan, 1) == Plan(steps[:2], 2, 4 + 3, "self_trade")
    assert first_fills(plan, 2) == plan


@pytest.mark.spec("BOOK-03", "BOOK-04")
def test_fills_are_at_the_resting_prices_and_never_beyond_the_limit(desk: Desk) -> None:
    maker, taker = desk.open(RICH, RICH)
    first, second, third = (desk.order(maker, SELL, 2, price) for price in (101, 102, 103))
    events = desk.ok(PlaceOrder(taker, 0, BUY, 10, 102))
    assert fills(events) == [(first, 101, 2), (second, 102, 2)]
    assert desk.book(BUY) == [(102, 10 - 2 - 2)]
    assert desk.book(SELL) == [(103, 2)]
    assert third in desk.state.orders


@pytest.mark.spec("BOOK-02")
def test_partly_filled_maker_keeps_its_place_between_takers(desk: Desk) -> None:
    a, b, taker = desk.open(RICH, RICH, RICH)
    first = desk.order(a, SELL, 5, 100)
    second = desk.order(b, SELL, 5, 100)
    assert fills(desk.ok(PlaceOrder(taker, 0, BUY, 2, 100))) == [(first, 100, 2)]
    assert fills(desk.ok(PlaceOrder(taker, 0, BUY, 4, 100))) == [(first, 100, 3), (second, 100, 1)]


@pytest.mark.spec("BOOK-12")
@pytest.mark.parametrize("price", [101, None])
def test_what_an_immediate_order_leaves_never_rests(desk: Desk, price: int | None) -> None:
    maker, taker = desk.open(RICH, RICH)
    resting = desk.order(maker, SELL, 2, 101)
    events = desk.ok(PlaceOrder(taker, 0, BUY, 5, price, "ioc"))
    assert fills(events) == [(resting, 101, 2)]
    assert [(lots, why) for _, lots, why in closed(events)] == [(5 - 2, "unfilled")]
    assert desk.book(BUY) == []


def test_immediate_limit_order_that_meets_nothing_is_closed(desk: Desk) -> None:
    taker, _ = desk.open(RICH, RICH)
    events = desk.ok(PlaceOrder(taker, 0, BUY, 5, 99, "ioc"))
    assert [(lots, why) for _, lots, why in closed(events)] == [(5, "unfilled")]


def test_market_order_without_another_side_is_refused(desk: Desk) -> None:
    taker, _ = desk.open(RICH, RICH)
    assert desk.refused(PlaceOrder(taker, 0, BUY, 5, tif="ioc")) == RejectReason.NO_LIQUIDITY


@pytest.mark.spec("BOOK-11")
def test_fill_or_kill_over_several_makers_fills_whole_or_leaves_no_trace(desk: Desk) -> None:
    a, b, taker = desk.open(RICH, RICH, RICH)
    first, second = desk.order(a, SELL, 2, 101), desk.order(b, SELL, 3, 102)
    assert desk.refused(PlaceOrder(taker, 0, BUY, 6, 102, "fok")) == RejectReason.CANNOT_FILL
    assert desk.refused(PlaceOrder(taker, 0, BUY, 5, 101, "fok")) == RejectReason.CANNOT_FILL
    events = desk.ok(PlaceOrder(taker, 0, BUY, 5, 102, "fok"))
    assert fills(events) == [(first, 101, 2), (second, 102, 3)]


@pytest.mark.parametrize(("side", "price", "worse"), [(BUY, 101, -1), (SELL, 99, 1)])
def test_budget_is_the_most_that_a_buyer_pays_and_the_least_that_a_seller_gets(
    desk: Desk, side: Side, price: int, worse: int
) -> None:
    """5 at 100 and 5 a tick further: 5 * 100 + 5 * price, and one atom short of it nothing is filled."""
    maker, taker = desk.open(RICH, RICH)
    for at in (100, price):
        desk.order(maker, -side, 5, at)
    value = (5 * 100 + 5 * price) * USD
    order = PlaceOrder(taker, 0, side, 10, price, "fok", budget_atoms=value + worse)
    assert desk.refused(order) == RejectReason.CANNOT_FILL
    desk.ok(PlaceOrder(taker, 0, side, 10, price, "fok", budget_atoms=value))
    assert desk.lots(taker) == 10 * side


@pytest.mark.spec("BOOK-11", "BOOK-13")
@pytest.mark.parametrize("mode", ["cancel_newest", "cancel_both", "decrement"])
def test_fill_or_kill_that_would_need_its_own_lots_is_refused(desk: Desk, mode: str) -> None:
    other, taker = desk.open(RICH, RICH)
    desk.order(other, SELL, 3, 101)
    desk.order(taker, SELL, 3, 101)
    command = PlaceOrder(taker, 0, BUY, 5, 101, "fok", self_trade=mode)  # type: ignore[arg-type]
    assert desk.refused(command) == RejectReason.CANNOT_FILL


@pytest.mark.spec("BOOK-11", "BOOK-13")
def test_fill_or_kill_goes_past_its_own_order_where_the_oldest_is_cancelled(desk: Desk) -> None:
    other, taker = desk.open(RICH, RICH)
    own = desk.order(taker, SELL, 3, 101)
    resting = desk.order(other, SELL, 5, 101)
    events = desk.ok(PlaceOrder(taker, 0, BUY, 5, 101, "fok", self_trade="cancel_oldest"))
    assert fills(events) == [(resting, 101, 5)]
    assert closed(events) == [(own, 3, "self_trade")]
    other_own = desk.order(taker, SELL, 1, 101)
    command = PlaceOrder(taker, 0, BUY, 1, 101, "fok", self_trade="cancel_oldest")
    assert desk.refused(command) == RejectReason.CANNOT_FILL
    assert other_own in desk.state.orders


@pytest.mark.spec("BOOK-12")
@pytest.mark.parametrize("price", [101, 105])
def test_post_only_order_never_takes_not_even_partly(desk: Desk, price: int) -> None:
    maker, taker = desk.open(RICH, RICH)
    desk.order(maker, SELL, 1, 101)
    assert desk.refused(PlaceOrder(taker, 0, BUY, 5, price, post_only=True)) == RejectReason.WOULD_TAKE
    desk.order(taker, BUY, 5, 100, post_only=True)
    assert desk.book(BUY) == [(100, 5)]


@pytest.mark.spec("BOOK-13")
@pytest.mark.parametrize(
    ("mode", "filled", "own_left", "rests", "ended"),
    [
        # The book: 2 of another, 3 own, 4 of another, all at 101; a limit buy of 8 comes in.
        ("cancel_newest", [2], 3, 0, 6),
        ("cancel_oldest", [2, 4], 0, 8 - 2 - 4, None),
        ("cancel_both", [2], 0, 0, 6),
        ("decrement", [2, 8 - 2 - 3], 0, 0, None),
    ],
)
def test_nobody_trades_with_himself_and_the_rest_follows_the_mode(
    desk: Desk, mode: str, filled: list[int], own_left: int, rests: int, ended: int | None
) -> None:
    other, taker = desk.open(RICH, RICH)
    desk.order(other, SELL, 2, 101)
    own = desk.order(taker, SELL, 3, 101)
    desk.order(other, SELL, 4, 101)
    events = desk.ok(PlaceOrder(taker, 0, BUY, 8, 101, self_trade=mode))  # type: ignore[arg-type]
    assert [lots for _, _, lots in fills(events)] == filled
    assert own not in [maker for maker, _, _ in fills(events)]
    assert (own in desk.state.orders) == (own_left > 0)
    assert sum(lots for _, lots in desk.book(BUY)) == rests
    leftovers = [lots for order_id, lots, _ in closed(events) if order_id != own]
    assert leftovers == ([] if ended is None else [ended])


@pytest.mark.spec("BOOK-13")
def test_decrement_shrinks_the_larger_own_order_without_a_trade(desk: Desk) -> None:
    (taker,) = desk.open(RICH)
    own = desk.order(taker, SELL, 10, 101)
    events = desk.ok(PlaceOrder(taker, 0, BUY, 4, 101, self_trade="decrement"))
    assert fills(events) == []
    assert of(events, OrderReduced) == [OrderReduced(own + 1, 4 - 4), OrderReduced(own, 10 - 4)]
    assert desk.book(SELL) == [(101, 10 - 4)]
    assert desk.book(BUY) == []


@pytest.mark.spec("RO-01")
def test_reduce_only_order_over_two_levels_is_clipped_to_the_position(desk: Desk) -> None:
    a, b = desk.open(RICH, RICH)
    desk.trade(a, b, 5, 100)
    desk.order(b, BUY, 3, 100)
    desk.order(b, BUY, 9, 99)
    events = desk.ok(PlaceOrder(a, 0, SELL, 50, tif="ioc", reduce_only=True))
    assert [lots for _, _, lots in fills(events)] == [3, 5 - 3]
    assert desk.lots(a) == 0


def test_reduce_only_order_without_a_position_is_refused(desk: Desk) -> None:
    a, b = desk.open(RICH, RICH)
    command = PlaceOrder(a, 0, SELL, 5, 110, reduce_only=True)
    assert desk.refused(command) == RejectReason.REDUCE_ONLY_NOTHING
    desk.trade(a, b, 5, 100)
    command = PlaceOrder(a, 0, BUY, 5, 90, reduce_only=True)
    assert desk.refused(command) == RejectReason.REDUCE_ONLY_NOTHING


@pytest.mark.spec("RO-01", "RO-02")
def test_two_reduce_only_makers_of_one_account_are_clipped_in_queue_order(desk: Desk) -> None:
    a, b, taker = desk.open(RICH, RICH, RICH)
    desk.trade(a, b, 5, 100)
    first = desk.order(a, SELL, 4, 101, reduce_only=True)
    second = desk.order(a, SELL, 4, 101, reduce_only=True)
    behind = desk.order(b, SELL, 10, 101)
    events = desk.ok(PlaceOrder(taker, 0, BUY, 8, 101))
    assert fills(events) == [(first, 101, 4), (second, 101, 5 - 4), (behind, 101, 8 - 5)]
    assert closed(events) == [(second, 4 - 1, "reduce_only")]
    assert desk.lots(a) == 0


@pytest.mark.spec("RO-01")
def test_reduce_only_maker_whose_position_is_gone_is_closed_when_it_is_met(desk: Desk) -> None:
    a, b, taker = desk.open(RICH, RICH, RICH)
    desk.trade(a, b, 5, 100)
    stale = desk.order(a, SELL, 5, 101, reduce_only=True)
    desk.trade(b, a, 5, 100)
    behind = desk.order(b, SELL, 2, 101)
    events = desk.ok(PlaceOrder(taker, 0, BUY, 2, 101))
    assert fills(events) == [(behind, 101, 2)]
    assert stale not in desk.state.orders
    assert desk.lots(a) == 0


@pytest.mark.spec("RO-01")
def test_reduce_only_maker_never_flips_however_often_it_is_met(desk: Desk) -> None:
    a, b, taker = desk.open(RICH, RICH, RICH)
    desk.trade(a, b, 5, 100)
    desk.order(a, SELL, 5, 103, reduce_only=True)
    desk.trade(b, a, 3, 100)
    assert [lots for _, _, lots in fills(desk.ok(PlaceOrder(taker, 0, BUY, 1, 103, "ioc")))] == [1]
    assert [lots for _, _, lots in fills(desk.ok(PlaceOrder(taker, 0, BUY, 9, 103, "ioc")))] == [1]
    assert desk.lots(a) == 0


def test_maker_below_maintenance_may_only_reduce(desk: Desk) -> None:
    """An account whose liquidation is not allowed yet keeps no order that would add to its risk."""
    book = Book()
    adding = Order(1, 17, 0, BUY, 100, 5, 0, False, False)
    book.add(adding)
    plan = plan_fills(book, 16, SELL, 5, 100, "cancel_oldest", Holding({17: 3}, {17}))
    assert [(step.fill_lots, step.close) for step in plan.steps] == [(0, "maker_below_maintenance")]
    plan = plan_fills(book, 16, SELL, 5, 100, "cancel_oldest", Holding({17: -3}, {17}))
    assert [(step.fill_lots, step.close) for step in plan.steps] == [(3, "maker_below_maintenance")]


@pytest.mark.spec("BOOK-10")
def test_smaller_amend_keeps_the_place_and_larger_or_other_price_loses_it(desk: Desk) -> None:
    a, b, taker = desk.open(RICH, RICH, RICH)
    first, second = desk.order(a, SELL, 5, 101), desk.order(b, SELL, 5, 101)
    desk.ok(AmendOrder(a, first, size_lots=3))
    assert fills(desk.ok(PlaceOrder(taker, 0, BUY, 1, 101))) == [(first, 101, 1)]
    desk.ok(AmendOrder(a, first, size_lots=4))
    assert desk.book(SELL) == [(101, (4 - 1) + 5)]
    assert fills(desk.ok(PlaceOrder(taker, 0, BUY, 1, 101))) == [(second, 101, 1)]
    desk.ok(AmendOrder(b, second, price_ticks=102))
    desk.ok(AmendOrder(b, second, price_ticks=101))
    assert fills(desk.ok(PlaceOrder(taker, 0, BUY, 1, 101))) == [(first, 101, 1)]


@pytest.mark.spec("BOOK-10")
def test_amend_cannot_go_to_what_is_filled_or_stay_the_same(desk: Desk) -> None:
    a, taker = desk.open(RICH, RICH)
    order_id = desk.order(a, SELL, 5, 101)
    desk.order(taker, BUY, 2, 101)
    assert desk.refused(AmendOrder(a, order_id, size_lots=2)) == RejectReason.SIZE_BELOW_FILLED
    assert desk.refused(AmendOrder(a, order_id, size_lots=5)) == RejectReason.NOTHING_TO_DO
    assert desk.refused(AmendOrder(a, order_id)) == RejectReason.NOTHING_TO_DO
    assert desk.refused(AmendOrder(a, order_id, size_lots=0)) == RejectReason.SIZE_NOT_POSITIVE
    assert desk.refused(AmendOrder(taker, order_id, size_lots=4)) == RejectReason.NOT_YOUR_ORDER


@pytest.mark.spec("BOOK-03", "BOOK-05")
def test_amend_through_the_spread_trades_at_the_resting_prices(desk: Desk) -> None:
    a, b = desk.open(RICH, RICH)
    resting = desk.order(b, SELL, 2, 101)
    order_id = desk.order(a, BUY, 5, 99)
    events = desk.ok(AmendOrder(a, order_id, price_ticks=105))
    assert fills(events) == [(resting, 101, 2)]
    assert desk.book(BUY) == [(105, 5 - 2)]
    desk.ok(AmendOrder(a, order_id, size_lots=4))
    assert desk.book(BUY) == [(105, 4 - 2)]


@pytest.mark.spec("BOOK-08")
def test_cancel_of_filled_cancelled_and_unknown_orders_is_refused(desk: Desk) -> None:
    a, b = desk.open(RICH, RICH)
    order_id = desk.order(a, SELL, 5, 101)
    assert desk.refused(CancelOrder(b, order_id)) == RejectReason.NOT_YOUR_ORDER
    assert closed(desk.ok(CancelOrder(a, order_id))) == [(order_id, 5, "cancelled")]
    assert desk.refused(CancelOrder(a, order_id)) == RejectReason.UNKNOWN_ORDER
    assert desk.refused(AmendOrder(a, order_id, 99)) == RejectReason.UNKNOWN_ORDER
    filled = desk.order(a, SELL, 5, 101)
    desk.order(b, BUY, 5, 101)
    assert desk.refused(CancelOrder(a, filled)) == RejectReason.UNKNOWN_ORDER
    assert desk.refused(CancelOrder(a, 10**9)) == RejectReason.UNKNOWN_ORDER


@pytest.mark.spec("BOOK-09")
def test_order_numbers_are_never_given_twice(desk: Desk) -> None:
    a, b = desk.open(RICH, RICH)
    seen = [desk.order(a, SELL, 5, 101)]
    desk.ok(CancelOrder(a, seen[0]))
    seen += [desk.order(a, SELL, 5, 101), desk.order(b, BUY, 5, 101), desk.order(a, SELL, 1, 101)]
    assert len(set(seen)) == 4


def calls_of(desk: Desk, command: PlaceOrder) -> tuple[int, list[Event]]:
    """Calls of functions that a command takes, which do not depend on the machine; and its events."""
    calls = 0

    def count(frame: FrameType, event: str, arg: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        batch = desk.venue.apply(command, desk.time_ns)
    finally:
        sys.setprofile(None)
    return calls, list(batch.events)


@pytest.mark.spec("BOOK-16", kind="X")
@pytest.mark.parametrize(("makers", "by_level"), [(5_000, 500), (10_000, 1)])
def test_sweep_is_one_command_whose_work_grows_with_the_orders_that_it_meets(
    makers: int, by_level: int
) -> None:
    """5,000 makers at ten prices, 10,000 at a price each. A tenth of the walk takes a tenth of the calls."""
    desk = Desk(index=(20_000,))
    desk.venue.check = lambda: None  # type: ignore[method-assign]
    owners = desk.open(*[RICH * 100] * 10)
    (taker,) = desk.open(1_000_000_000)
    for k in range(makers):
        desk.order(owners[k % 10], SELL, 1, 20_001 + k // by_level)
    few, events = calls_of(desk, PlaceOrder(taker, 0, BUY, makers // 11, tif="ioc"))
    assert len(fills(events)) == makers // 11
    left = makers - makers // 11
    many, events = calls_of(desk, PlaceOrder(taker, 0, BUY, makers, tif="ioc"))
    assert [price for _, price, _ in fills(events)] == [
        20_001 + k // by_level for k in range(makers // 11, makers)
    ]
    assert desk.book(SELL) == []
    assert desk.lots(taker) == makers
    assert many * (makers // 11) < 1.2 * few * left
