"""Orders and the two sides of a book, plain."""

import heapq

BUY, SELL = 1, -1


class Order:
    """A live order; `key` is its place among the levels of its side, the best first."""

    __slots__ = (
        "account",
        "filled",
        "forced",
        "instrument",
        "key",
        "open",
        "post_only",
        "price",
        "reduce",
        "side",
        "tif",
    )

    def __init__(
        self, account: int, instrument: int, side: int, price: int | None, open_lots: int, *, reduce: bool
    ) -> None:
        self.account = account
        self.instrument = instrument
        self.side = side
        self.price = price
        self.key = 0 if price is None else -side * price
        self.open = open_lots
        self.filled = 0
        self.reduce = reduce
        self.forced = False
        self.post_only = False
        self.tif = "gtc"


class Levels:
    """One side of a book: orders by level and arrival; the best level by a heap whose stale entries wait."""

    __slots__ = ("by_key", "heap")

    def __init__(self) -> None:
        self.by_key: dict[int, dict[int, Order]] = {}
        self.heap: list[int] = []

    def add(self, order_id: int, order: Order) -> None:
        level = self.by_key.get(order.key)
        if level is not None:
            level[order_id] = order
            return
        self.by_key[order.key] = {order_id: order}
        heapq.heappush(self.heap, order.key)
        if len(self.heap) > 256 + 4 * len(self.by_key):
            self.heap = sorted(self.by_key)

    def remove(self, order_id: int, order: Order) -> None:
        level = self.by_key[order.key]
        del level[order_id]
        if not level:
            del self.by_key[order.key]

    def first(self) -> Order:
        """The order whose turn it is; there must be one."""
        key = self.best_key()
        assert key is not None
        return next(iter(self.by_key[key].values()))

    def best_key(self) -> int | None:
        heap, by_key = self.heap, self.by_key
        while heap:
            if heap[0] in by_key:
                return heap[0]
            heapq.heappop(heap)
        return None
