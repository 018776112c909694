"""Walk the book for an order and plan what would happen; nothing changes here."""

from collections.abc import Container, Sequence
from typing import Literal

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
    positions: Sequence[int] | memoryview,
    below_maintenance: Container[int],
) -> Plan:
    """Plan a taker's fills in price-time priority, each at the resting order's price.

    positions           signed lots by account in this instrument; an overlay follows the planned fills, so
                        that two reduce-only orders of one maker clip in queue order
    below_maintenance   accounts whose resting orders may only reduce; the rest of such an order is closed
    """
    steps: list[Step] = []
    overlay: dict[int, int] = {}
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
        if maker.reduce_only or maker.account in below_maintenance:
            position = overlay.get(maker.account, positions[maker.account])
            allowed = reducible_lots(position, maker.side)
            if allowed < maker.open_lots and allowed <= lots:
                lots = allowed
                close = "reduce_only" if maker.reduce_only else "maker_below_maintenance"
        if lots:
            overlay[maker.account] = overlay.get(maker.account, positions[maker.account]) + lots * maker.side
        steps.append(Step(maker, lots, 0, close))
        left -= lots
        filled += lots
    return Plan(tuple(steps), filled, left)
