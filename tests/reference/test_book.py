"""The book and the matching against a plain list without money, event for event."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference.book import Twin
from tests.venues import Desk, perpetual
from zerodebt.exchange.commands import AmendOrder, CancelOrder, Command, PlaceOrder
from zerodebt.exchange.events import Filled, OrderAccepted, OrderClosed, OrderReduced, Rejected

OWNERS = 4


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
