"""The plain book: one list of orders by arrival, searched whole. Price first, then time.

`walk` is the only rule of matching here. The clearing model uses it, and `Twin`, a book without money.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from msgspec import Struct

from zerodebt.exchange.commands import AmendOrder, CancelOrder, PlaceOrder, SelfTrade
from zerodebt.exchange.events import CloseReason


class Resting(Struct):
    """An order that rests; `lots` are open, `filled` is what it traded before."""

    order_id: int
    owner: int
    side: int
    price: int
    lots: int
    filled: int = 0
    instrument: int = 0
    reduce_only: bool = False
    post_only: bool = False


class Met(Struct):
    """A resting order on the walk: `traded` lots, or `taken` off without a trade; why it leaves, if so."""

    maker: Resting
    traded: int = 0
    taken: int = 0
    closes: CloseReason | None = None


class Walk(Struct):
    met: list[Met]
    left: int
    stopped: bool = False

    @property
    def traded(self) -> int:
        return sum(step.traded for step in self.met)


Allowed = Callable[[Resting, int], tuple[int, CloseReason | None]]
"""How many of these lots a maker may trade, and why the rest of his order closes, if it does."""


def queue(orders: Iterable[Resting], side: int) -> list[Resting]:
    """One side by priority; `orders` stand by arrival, and a sort keeps the order of equals."""
    return sorted((o for o in orders if o.side == side), key=lambda o: -side * o.price)


def walk(
    orders: Sequence[Resting],
    owner: int,
    side: int,
    lots: int,
    limit: int | None,
    mode: SelfTrade,
    allowed: Allowed = lambda _, lots: (lots, None),
) -> Walk:
    """Whom an order would meet, in price-time priority and each at the resting price. Changes nothing."""
    result = Walk([], lots)
    for maker in queue(orders, -side):
        if not result.left or (limit is not None and side * (maker.price - limit) > 0):
            break
        step = Met(maker)
        if maker.owner == owner:
            if mode == "cancel_newest":
                result.stopped = True
                break
            if mode == "decrement":
                step.taken = min(result.left, maker.lots)
                result.left -= step.taken
            if mode != "decrement" or step.taken == maker.lots:
                step.closes = "self_trade"
            result.met.append(step)
            if mode == "cancel_both":
                result.stopped = True
                break
            continue
        step.traded, step.closes = allowed(maker, min(result.left, maker.lots))
        result.left -= step.traded
        result.met.append(step)
    return result


def first_fills(walked: Walk, count: int) -> Walk:
    """The walk as far as its first trades; the lots of the others are left."""
    met: list[Met] = []
    for step in walked.met:
        if step.traded and not count:
            break
        count -= step.traded > 0
        met.append(step)
    left = walked.left + walked.traded - sum(step.traded for step in met)
    return Walk(met, left, walked.stopped)


class Twin:
    """A book without money; `said` has what the venue should say."""

    def __init__(self) -> None:
        self.orders: list[Resting] = []
        self.said: list[tuple[Any, ...]] = []
        self.next_id = 1

    def find(self, order_id: int) -> Resting | None:
        return next((order for order in self.orders if order.order_id == order_id), None)

    def trade(self, order: Resting, plan: Walk) -> None:
        """Trade as planned."""
        left = order.lots
        for step in plan.met:
            maker = step.maker
            left -= step.traded + step.taken
            maker.lots -= step.traded + step.taken
            maker.filled += step.traded
            order.filled += step.traded
            if step.traded:
                self.said.append(("filled", order.order_id, maker.order_id, maker.price, step.traded))
            if step.taken:
                self.said.append(("reduced", order.order_id, left))
            if step.closes:
                self.said.append(("closed", maker.order_id, maker.lots + step.taken))
            elif step.taken:
                self.said.append(("reduced", maker.order_id, maker.lots))
            if step.closes or not maker.lots:
                self.orders.remove(maker)

    def place(self, command: PlaceOrder) -> bool:
        """False when the order must be refused."""
        side, price, size = command.side, command.price_ticks, command.size_lots
        best = [
            o for o in self.orders if o.side == -side and (price is None or side * (price - o.price) >= 0)
        ]
        if (command.post_only and best) or (price is None and not best):
            return False
        plan = walk(self.orders, command.account, side, size, price, command.self_trade)
        if command.tif == "fok" and (plan.traded < size or self.is_beyond_budget(command, plan)):
            return False
        order = Resting(self.next_id, command.account, side, price or 0, size)
        self.next_id += 1
        self.said.append(("accepted", order.order_id))
        self.trade(order, plan)
        if plan.left and (plan.stopped or command.tif != "gtc"):
            self.said.append(("closed", order.order_id, plan.left))
        elif plan.left:
            order.lots = plan.left
            self.orders.append(order)
        return True

    def is_beyond_budget(self, command: PlaceOrder, plan: Walk) -> bool:
        """At a tick value of 1."""
        if command.budget_atoms is None:
            return False
        value = sum(step.maker.price * step.traded for step in plan.met)
        return command.side * (value - command.budget_atoms) > 0

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
        plan = walk(self.orders, order.owner, order.side, order.lots, price, "cancel_oldest")
        self.trade(order, plan)
        order.lots = plan.left
        if plan.left:
            self.orders.append(order)
        return True

    def levels(self, side: int) -> list[tuple[int, int, int]]:
        """(order, price, lots) by priority."""
        return [(order.order_id, order.price, order.lots) for order in queue(self.orders, side)]
