"""The order book of one instrument: price levels, first in first out. It knows orders, not money."""

from collections.abc import Iterator

from msgspec import Struct
from sortedcontainers import SortedDict

from zerodebt.exchange.commands import BUY, SELL


class Order(Struct, gc=False):
    """A resting order. `open_lots` is at least 1 while it rests; `filled_lots` is what traded before."""

    order_id: int
    account: int
    instrument: int
    side: int
    price_ticks: int
    open_lots: int
    filled_lots: int
    reduce_only: bool
    post_only: bool = False


class Book:
    """Levels by price with their orders by arrival; adding and removing cost O(log levels).

    A level is a dict from order id to order: dicts keep insertion order, so the first key is the oldest.
    """

    def __init__(self) -> None:
        self._levels: dict[int, SortedDict[int, dict[int, Order]]] = {BUY: SortedDict(), SELL: SortedDict()}

    def add(self, order: Order) -> None:
        """Put an order at the end of its level."""
        levels = self._levels[order.side]
        key = -order.side * order.price_ticks
        level = levels.get(key)
        if level is None:
            levels[key] = {order.order_id: order}
        else:
            level[order.order_id] = order

    def remove(self, order: Order) -> None:
        levels = self._levels[order.side]
        key = -order.side * order.price_ticks
        level = levels[key]
        del level[order.order_id]
        if not level:
            del levels[key]

    def best_ticks(self, side: int) -> int | None:
        """Price of the best order of a side, or None."""
        levels = self._levels[side]
        if not levels:
            return None
        return -side * levels.keys()[0]

    def would_take(self, side: int, price_ticks: int) -> bool:
        """Would an order of `side` at this price meet the other side at once?"""
        best = self.best_ticks(-side)
        return best is not None and side * (price_ticks - best) >= 0

    def walk(self, side: int) -> Iterator[Order]:
        """Resting orders of a side in price-time priority; the book may not change meanwhile."""
        for level in self._levels[side].values():
            yield from level.values()

    def depth(self, side: int) -> Iterator[tuple[int, int]]:
        """(price_ticks, open lots) of each level of a side, best first."""
        for key, level in self._levels[side].items():
            yield -side * key, sum(order.open_lots for order in level.values())

    def check(self) -> None:
        """Assert the book's invariants: no empty level, no empty order, not crossed. BOOK-05 to BOOK-07."""
        for side, levels in self._levels.items():
            for key, level in levels.items():
                assert level, "an empty level is left"
                for order_id, order in level.items():
                    assert order.order_id == order_id
                    assert order.side == side
                    assert -side * order.price_ticks == key
                    assert order.open_lots >= 1
        bid, ask = self.best_ticks(BUY), self.best_ticks(SELL)
        assert bid is None or ask is None or bid < ask, f"crossed: {bid} >= {ask}"
