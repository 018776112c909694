"""Walk the book for an order and plan what would happen; nothing changes here."""

from typing import Literal, Protocol

from msgspec import Struct

from zerodebt.exchange.book import Book, Order
from zerodebt.exchange.commands import SelfTrade
from zerodebt.exchange.events import CloseReason


class Step(Struct, frozen=True, gc=False):
    """One resting order met on the walk: `fill_lots` trade; then it is left, shrunk or closed.

    `self_lots` are taken off without a trade (self-trade prevention by decrement).
    """

    maker: Order
    fill_lots: int
    self_lots: int = 0
    close: CloseReason | None = None


class Plan(Struct, frozen=True, gc=False):
    """What a walk would do. `stopped` says why the taker went no further although lots were left."""

    steps: tuple[Step, ...]
    filled_lots: int
    open_lots: int
    stopped: Literal["self_trade"] | None = None


class Makers(Protocol):
    """What the owners of orders met on a walk hold and can bear; it follows the planned fills."""

    def position_lots(self, maker: Order) -> int:
        """Signed position that the order is for, after the fills planned so far."""

    def bearable_lots(self, maker: Order, lots: int) -> int:
        """How many of these lots the owner may trade."""

    def take(self, maker: Order, lots: int) -> None:
        """Plan these lots."""


def reducible_lots(position_lots: int, side: int) -> int:
    """How many lots an order of `side` may trade before it would increase or flip the position."""
    return max(0, -position_lots * side)


def plan_fills(
    book: Book,
    account: int,
    side: int,
    size_lots: int,
    limit_ticks: int | None,
    self_trade: SelfTrade,
    makers: Makers,
) -> Plan:
    """Plan a taker's fills in price-time priority, each at the resting order's price.

    Two reduce-only orders of one maker clip in queue order, since `makers` follows the planned fills. An
    order whose fill its owner could not bear trades only what reduces his position; its rest is closed.
    """
    steps: list[Step] = []
    left = size_lots
    filled = 0
    for maker in book.walk(-side):
        if not left or (limit_ticks is not None and side * (maker.price_ticks - limit_ticks) > 0):
            break
        if maker.account == account:
            if self_trade == "cancel_newest":
                return Plan(tuple(steps), filled, left, "self_trade")
            if self_trade == "decrement":
                lots = min(left, maker.open_lots)
                left -= lots
                steps.append(Step(maker, 0, lots, "self_trade" if lots == maker.open_lots else None))
                continue
            steps.append(Step(maker, 0, 0, "self_trade"))
            if self_trade == "cancel_both":
                return Plan(tuple(steps), filled, left, "self_trade")
            continue
        lots = min(left, maker.open_lots)
        close: CloseReason | None = None
        if maker.reduce_only:
            allowed = reducible_lots(makers.position_lots(maker), maker.side)
            if allowed < maker.open_lots and allowed <= lots:
                lots, close = allowed, "reduce_only"
        bearable = makers.bearable_lots(maker, lots) if lots else 0
        if bearable < lots:
            lots, close = bearable, "maker_below_maintenance"
        if lots:
            makers.take(maker, lots)
        steps.append(Step(maker, lots, 0, close))
        left -= lots
        filled += lots
    return Plan(tuple(steps), filled, left)


def first_fills(plan: Plan, count: int) -> Plan:
    """The plan up to its first `count` fills; the lots of the others stay open."""
    steps: list[Step] = []
    filled = 0
    for step in plan.steps:
        if step.fill_lots:
            if not count:
                break
            count -= 1
        steps.append(step)
        filled += step.fill_lots
    open_lots = plan.open_lots + plan.filled_lots - filled
    return Plan(tuple(steps), filled, open_lots, plan.stopped)
