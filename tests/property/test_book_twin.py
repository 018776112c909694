"""The book and the matching against a plain list, event for event.

The twin keeps one list of orders by arrival and searches it whole for each fill.
"""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from tests.venues import Desk, perpetual
from zerodebt.exchange.commands import (
    AmendOrder,
    CancelOrder,
    Command,
    PlaceOrder,
    SelfTrade,
)
from zerodebt.exchange.events import Filled, OrderAccepted, OrderClosed, OrderReduced, Rejected

OWNERS = 4


class Resting(Struct):
    order_id: int
    owner: int
    side: int
    price: int
    lots: int
    filled: int = 0


class Twin:
    """Price-time priority by searching a list; `said` has what the venue should say."""

    def __init__(self) -> None:
        self.orders: list[Resting] = []
        self.said: list[tuple[Any, ...]] = []
        self.next_id = 1

    def best(self, side: int, limit: int | None) -> Resting | None:
        found = None
        for order in self.orders:
            if order.side != side or (limit is not None and side * (limit - order.price) > 0):
                continue
            if found is None or side * (order.price - found.price) > 0:
                found = order
        return found

    def find(self, order_id: int) -> Resting | None:
        return next((order for order in self.orders if order.order_id == order_id), None)

    def match(self, order: Resting, limit: int | None, mode: SelfTrade) -> tuple[int, bool]:
        """Lots left and whether self-trade prevention stopped the walk."""
        left = order.lots
        while left:
            maker = self.best(-order.side, limit)
            if maker is None:
                return left, False
            if maker.owner == order.owner:
                if mode == "cancel_newest":
                    return left, True
                if mode == "decrement":
                    lots = min(left, maker.lots)
                    left -= lots
                    self.said.append(("reduced", order.order_id, left))
                    if lots == maker.lots:
                        self.orders.remove(maker)
                        self.said.append(("closed", maker.order_id, maker.lots))
                    else:
                        maker.lots -= lots
                        self.said.append(("reduced", maker.order_id, maker.lots))
                    continue
                self.orders.remove(maker)
                self.said.append(("closed", maker.order_id, maker.lots))
                if mode == "cancel_both":
                    return left, True
                continue
            lots = min(left, maker.lots)
            left -= lots
            maker.lots -= lots
            maker.filled += lots
            order.filled += lots
            self.said.append(("filled", order.order_id, maker.order_id, maker.price, lots))
            if not maker.lots:
                self.orders.remove(maker)
        return left, False

    def place(self, command: PlaceOrder) -> bool:
        """False when the order must be refused."""
        side, price = command.side, command.price_ticks
        if command.post_only and self.best(-side, price) is not None:
            return False
        if price is None and self.best(-side, None) is None:
            return False
        order = Resting(self.next_id, command.account, side, price or 0, command.size_lots)
        before = ([Resting(*(getattr(o, f) for f in o.__struct_fields__)) for o in self.orders], self.said[:])
        self.said.append(("accepted", order.order_id))
        left, stopped = self.match(order, price, command.self_trade)
        if command.tif == "fok" and (order.filled < command.size_lots or self.is_beyond_budget(command)):
            self.orders, self.said = before
            return False
        self.next_id += 1
        if left and (stopped or command.tif != "gtc"):
            self.said.append(("closed", order.order_id, left))
        elif left:
            order.lots = left
            self.orders.append(order)
        return True

    def is_beyond_budget(self, command: PlaceOrder) -> bool:
        """At a tick value of 1."""
        if command.budget_atoms is None:
            return False
        value: int = sum(
            row[3] * row[4] for row in self.said if row[0] == "filled" and row[1] == self.next_id
        )
        return value > command.budget_atoms if command.side > 0 else value < command.budget_atoms

    def cancel(self, command: CancelOrder) -> bool:
        order = self.find(command.order_id)
        if order is None or order.owner != command.account:
            return False
        self.orders.remove(order)
        self.said.append(("closed", order.order_id, order.lots))
        return True

    def amend(self, command: AmendOrder) -> bool:
        order = self.find(command.order_id)
        if order is None or order.owner != command.account:
            return False
        whole = order.lots + order.filled
        price = order.price if command.price_ticks is None else command.price_ticks
        size = whole if command.size_lots is None else command.size_lots
        if (price, size) == (order.price, whole) or size < 1 or size <= order.filled:
            return False
        if price == order.price and size < whole:
            order.lots = size - order.filled
            return True
        self.orders.remove(order)
        order.price, order.lots = price, size - order.filled
        left, _ = self.match(order, price, "cancel_oldest")
        order.lots = left
        if left:
            self.orders.append(order)
        return True

    def levels(self, side: int) -> list[tuple[int, int, int]]:
        """(order, price, lots) by priority."""
        own = [order for order in self.orders if order.side == side]
        own.sort(key=lambda order: -side * order.price)
        return [(order.order_id, order.price, order.lots) for order in own]


def told(events: list[Any]) -> list[tuple[Any, ...]]:
    out: list[tuple[Any, ...]] = []
    for event in events:
        if isinstance(event, OrderAccepted):
            out.append(("accepted", event.order_id))
        elif isinstance(event, Filled):
            row = (event.taker_order, event.maker_order, event.price_ticks, event.size_lots)
            out.append(("filled", *row))
        elif isinstance(event, OrderClosed):
            out.append(("closed", event.order_id, event.open_lots))
        elif isinstance(event, OrderReduced):
            out.append(("reduced", event.order_id, event.open_lots))
    return out


def resting(desk: Desk, side: int) -> list[tuple[int, int, int]]:
    return [(o.order_id, o.price_ticks, o.open_lots) for o in desk.state.books[0].walk(side)]


def market() -> Desk:
    desk = Desk(instruments=(perpetual(price_max_ticks=1000, tick_value_atoms=1),), index=(100,))
    desk.open(*[10**9] * OWNERS)
    return desk


owners = st.integers(16, 16 + OWNERS - 1)
prices = st.integers(97, 103)
sizes = st.sampled_from([1, 2, 3, 5, 8])
places = st.builds(
    PlaceOrder,
    owners,
    st.just(0),
    st.sampled_from([1, -1]),
    sizes,
    prices,
    st.sampled_from(["gtc", "gtc", "gtc", "ioc", "fok"]),
    self_trade=st.sampled_from(["cancel_newest", "cancel_oldest", "cancel_both", "decrement"]),
)
special = st.one_of(
    st.builds(
        PlaceOrder,
        owners,
        st.just(0),
        st.sampled_from([1, -1]),
        sizes,
        st.none(),
        st.sampled_from(["ioc", "fok"]),
    ),
    st.builds(
        PlaceOrder, owners, st.just(0), st.sampled_from([1, -1]), sizes, prices, post_only=st.just(True)
    ),
)
ids = st.integers(1, 15)
cancels = st.builds(CancelOrder, owners, ids)
amends = st.builds(AmendOrder, owners, ids, st.none() | prices, st.none() | sizes)


@pytest.mark.spec(
    "BOOK-01",
    "BOOK-02",
    "BOOK-03",
    "BOOK-04",
    "BOOK-06",
    "BOOK-07",
    "BOOK-08",
    "BOOK-10",
    "BOOK-11",
    "BOOK-12",
    "BOOK-13",
    "BOOK-15",
    kind="WSP",
)
@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(places, places, special, cancels, amends), min_size=5, max_size=40))
def test_venue_says_what_the_plain_list_says(stream: list[Command]) -> None:
    desk, twin = market(), Twin()
    posts: set[int] = set()
    for command in stream:
        if isinstance(command, AmendOrder) and command.order_id in posts:
            continue
        twin.said.clear()
        if isinstance(command, PlaceOrder):
            if command.post_only:
                posts.add(twin.next_id)
            accepted = twin.place(command)
        elif isinstance(command, AmendOrder):
            accepted = twin.amend(command)
        else:
            assert isinstance(command, CancelOrder)
            accepted = twin.cancel(command)
        events = desk.do(command)
        assert isinstance(events[0], Rejected) is not accepted, f"{command}: {events}"
        if accepted:
            assert told(events) == twin.said, command
        for side in (1, -1):
            assert resting(desk, side) == twin.levels(side)
